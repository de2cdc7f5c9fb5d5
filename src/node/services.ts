/** The services actor, with its settings. */
import { connect } from 'node:net';
import type { ActorRef } from '../actor-system.js';
import { services_settings_default, servicesActor } from '../actors/services.js';
import type { ClusterMessage } from '../messages/cluster.js';
import type { UplinkMessage } from '../messages/uplink.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { HostServicesStatus } from '../services/host-services.js';
import type { ProbeTcp } from '../services/probe.js';
import type { Wiring } from './wiring.js';

export function servicesOf(
  { parts, board, sync, translations, healthPorts, serviceNames }: Wiring,
  vpp: ActorRef<VppConnectionMessage>,
  uplink: ActorRef<UplinkMessage>,
  cluster: ActorRef<ClusterMessage>,
) {
  const { hostServices, hostSilence } = parts;
  const { node_name, service_prefixes } = parts.config;
  healthPorts.begin();
  sync.set('services of the host', () =>
    hostReport(hostServices.status(), hostSilence.fault, healthPorts.faults()),
  );
  return servicesActor(
    {
      vpp,
      uplink,
      cluster,
      translations,
      host: {
        translate: (vips) => {
          void hostServices.set(vips);
          hostSilence.set('services', () => vips);
        },
        serveHealth: (ports) => healthPorts.set(ports),
        programs: (vpp, has_all) => healthPorts.programs(vpp, has_all),
        eligible: (is_eligible) => healthPorts.eligible(is_eligible),
        programming: (is_pending, is_progress) => healthPorts.pending(is_pending, is_progress),
      },
      probe: probeTcp,
      ready: (ok, reason) => board.set('services', ok, reason),
      report: (ask) => sync.set('services', ask),
      names: (serviceOf) => serviceNames.by(serviceOf),
    },
    { ...services_settings_default, node_name, service_prefixes },
  );
}

/** What Linux does not translate, and where load balancers cannot ask. */
function hostReport(
  { faults, ...table }: HostServicesStatus,
  silence_fault: string | undefined,
  health: ReadonlyMap<string, string>,
) {
  return {
    table,
    ...(silence_fault !== undefined && { silence: { fault: silence_fault } }),
    faults: Object.fromEntries(faults),
    health: Object.fromEntries(health),
  };
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
