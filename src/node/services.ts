/** The services actor, with its settings. */
import { connect } from 'node:net';
import type { ActorRef } from '../actor-system.js';
import { services_settings_default, servicesActor } from '../actors/services.js';
import type { ClusterMessage } from '../messages/cluster.js';
import type { UplinkMessage } from '../messages/uplink.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { ProbeTcp } from '../services/probe.js';
import type { Wiring } from './wiring.js';

export function servicesOf(
  { parts, board, sync, translations }: Wiring,
  vpp: ActorRef<VppConnectionMessage>,
  uplink: ActorRef<UplinkMessage>,
  cluster: ActorRef<ClusterMessage>,
) {
  const { node_name, service_prefixes } = parts.config;
  return servicesActor(
    {
      vpp,
      uplink,
      cluster,
      translations,
      host: { translate: () => undefined, serveHealth: () => undefined },
      probe: probeTcp,
      ready: (ok, reason) => board.set('services', ok, reason),
      report: (ask) => sync.set('services', ask),
    },
    { ...services_settings_default, node_name, service_prefixes },
  );
}

/** As any process of the host connects. */
const probeTcp: ProbeTcp = ({ address, port }, within_ms) =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: address, port });
    const end = (error?: Error): void => {
      socket.destroy();
      if (error === undefined) resolve();
      else reject(error);
    };
    socket.setTimeout(within_ms, () =>
      end(new Error(`no answer from ${address} port ${port} within ${within_ms} ms`)),
    );
    socket.once('connect', () => end());
    socket.once('error', end);
  });
