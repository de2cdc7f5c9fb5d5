/** gobgpd's process and the session with it, with their settings. */
import { connect } from 'gobgp-grpc-stubs';
import type { ActorRef } from '../actor-system.js';
import { bgp } from '../actors/bgp.js';
import { bgpProcess } from '../actors/bgp-process.js';
import { canListenOn6 } from '../bgp/listening.js';
import { bgp_pace } from '../bgp/pace.js';
import { threadsWaitedForCpuMs } from '../host/devices/sysfs.js';
import type { BgpProcessMessage } from '../messages/bgp.js';
import type { ClusterMessage } from '../messages/cluster.js';
import type { RemoteRoutes, SubscribeSids } from '../messages/connectivity.js';
import type { SubscribeNode } from '../messages/node.js';
import type { SubscribeProgrammed } from '../messages/services.js';
import type { Wiring } from './wiring.js';

/** Deadline of one call to gobgpd. */
const call_ms = 10_000;

export function bgpProcessOf({ parts }: Wiring) {
  return bgpProcess(parts.gobgpd);
}

export function bgpOf(
  { parts: { config }, sync, networkAddresses }: Wiring,
  process: ActorRef<BgpProcessMessage>,
  uplink: ActorRef<SubscribeNode>,
  cluster: ActorRef<ClusterMessage>,
  connectivity: ActorRef<RemoteRoutes | SubscribeSids>,
  services: ActorRef<SubscribeProgrammed> | undefined,
) {
  return bgp(
    {
      process,
      uplink,
      cluster,
      connectivity,
      ...(config.gates.srv6 && { sids: connectivity }),
      ...(services !== undefined && { services }),
      ...(config.gates.multinet && { networks: networkAddresses }),
      report: (status) => sync.set('bgp', status),
      waited_ms: threadsWaitedForCpuMs,
      canListenOn6,
      connect: ({ api_socket, version }, signal) =>
        connect({ target: api_socket, version, signal, deadline_ms: call_ms }),
    },
    {
      ...bgp_pace,
      node_name: config.node_name,
      ...(config.bgp.router_id !== undefined && { router_id: config.bgp.router_id }),
      ip4_only: config.bgp.server_mode === 'v4Only',
      log_level: config.bgp.log_level,
    },
  );
}
