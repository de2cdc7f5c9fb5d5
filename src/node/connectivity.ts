/** The connectivity actor, with its settings. */
import type { ActorRef } from '../actor-system.js';
import { connectivityActor } from '../actors/connectivity.js';
import type { ClusterMessage } from '../messages/cluster.js';
import type { UplinkMessage } from '../messages/uplink.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import { route_writer_settings_default } from '../routes/route-writer.js';
import type { Wiring } from './wiring.js';

export function connectivityOf(
  { parts, sync, gso, route_source, policed }: Wiring,
  vpp: ActorRef<VppConnectionMessage>,
  uplink: ActorRef<UplinkMessage>,
  cluster: ActorRef<ClusterMessage>,
) {
  return connectivityActor(
    {
      vpp,
      uplink,
      cluster,
      ...(parts.config.felix && { policed }),
      report: (ask) => sync.set('connectivity', ask),
    },
    {
      node_name: parts.config.node_name,
      route_source,
      gso,
      coalesce_ms: 20,
      writer: route_writer_settings_default,
    },
  );
}
