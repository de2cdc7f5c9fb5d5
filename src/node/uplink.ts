/** The uplink actor, with its settings. */
import type { ActorRef } from '../actor-system.js';
import { uplink } from '../actors/uplink.js';
import type { Config } from '../config.js';
import { writeAtomic } from '../host/files.js';
import { hostNamespacePath } from '../host/host-namespace.js';
import type { HostNetwork, NetworkEvent } from '../linux/network.js';
import type { Log } from '../log.js';
import type { VppConnectionMessage, VppProcessMessage } from '../messages/vpp.js';
import type { RedirectMatch } from '../objects/redirect.js';
import { infoFile } from '../uplink/info-file.js';
import type { UplinkReport } from '../uplink/uplink-settings.js';
import { newVppMs, requestMs } from './vpp.js';
import type { Wiring } from './wiring.js';

export function uplinkOf(
  { parts, board, sync, gso, translations, healthPorts }: Wiring,
  process: ActorRef<VppProcessMessage>,
  vpp: ActorRef<VppConnectionMessage>,
) {
  const { config, log, host, launcher, uplinkHost, hooks, nudge, cluster, hostServices, hostSilence } = parts;
  const { host_tap } = config;
  return uplink(
    {
      process,
      vpp,
      isVppRunning: () => launcher.isRunning(),
      host: uplinkHost,
      hooks,
      watchLink: (name, changed) => watchLink(host, name, changed),
      nudge,
      cluster,
      report: (report) => {
        const is_on = report.state === 'vpp';
        board.set('uplink', is_on, report.reason);
        void hostServices.serve(is_on);
        hostSilence.serve(is_on);
        healthPorts.serve(is_on);
        writeInfoFile(config, report, log);
      },
      reportFaults: (ask) => sync.set('uplink', () => ({ faults: ask() })),
    },
    {
      node_name: config.node_name,
      asked_gso: config.gates.gso,
      specs: config.uplinks,
      inputs: {
        tap_address: config.tap_address,
        tap: {
          rx_ring_size: host_tap.rx_ring_size,
          tx_ring_size: host_tap.tx_ring_size,
          rx_mode: host_tap.rx_mode ?? 'adaptive',
        },
        host_namespace: hostNamespacePath(),
        gso,
        neighbours: config.neighbours,
        service_prefixes: config.service_prefixes,
        cnat: config.vpp.cnat,
        default_gateways: config.default_gateways,
        redirects: redirectsOf(config, log),
        drop_ip_options: config.drop_ip_options,
        does_ike: config.gates.ipsec,
        drop_other_protocols: config.drop_other_protocols,
        uplink_128_to_64: config.gates.uplink_128_to_64,
      },
      // A request that is late is told first.
      transaction_ms: requestMs(config.vpp) + 5000,
      new_vpp_ms: newVppMs(config.vpp),
      survey_ms: 500,
      verify_ms: 2000,
      // A lease that is asked for anew, in place of one that is known.
      services_ms: 15_000,
      retry_ms: 2000,
      retry_max_ms: 30_000,
      failures_max: 3,
      pause_ms: 5 * 60_000,
      pause_max_ms: 60 * 60_000,
      // Services of the host may have to be started again: each has its own limit in the journal.
      shutdown_ms: 60_000,
      prepared_by: [
        ...translations.owners,
        ...(config.encryption === 'required' ? (['connectivity'] as const) : []),
      ],
      // Longer than cni waits for policies, and with a full node's pods behind that.
      prepare_ms: 6000,
      policed_by: config.felix ? ['policies'] : [],
      police_ms: 500,
    },
  );
}

/** VPP's classifier matches ports, so that only protocols with ports can be redirected. */
function redirectsOf(config: Config, log: Log): RedirectMatch[] {
  return config.redirect_to_host.flatMap(({ protocol: proto, port, ip }) => {
    if (proto === 'tcp' || proto === 'udp') return [{ protocol: proto, port, address: ip }];
    log.warn(
      { proto, port, ip },
      `config(redirect) redirectToHostRules: ${proto} cannot be redirected, only tcp and udp`,
    );
    return [];
  });
}

/** For tools that read the Go implementation's file; nothing here depends on it. */
function writeInfoFile(config: Config, { state, uplinks }: UplinkReport, log: Log): void {
  const status = state === 'vpp' ? 'ready' : 'starting';
  try {
    writeAtomic(config.paths.info_file, infoFile(status, uplinks, config.gates.uplink_128_to_64));
  } catch (error) {
    log.warn({ err: error }, `uplink(info) ${config.paths.info_file} cannot be written`);
  }
}

function watchLink(host: HostNetwork, name: string, changed: () => void) {
  const namespace = host.open();
  try {
    const index = namespace.link(name)?.index;
    return namespace.watch(['link', 'address', 'route'], (event) => {
      if (concerns(event, index)) changed();
    });
  } finally {
    namespace.close();
  }
}

function concerns(event: NetworkEvent, index: number | undefined): boolean {
  switch (event.event) {
    case 'overrun':
      return true;
    case 'link':
    case 'link_removed':
      return event.link.index === index;
    // Those of the loopback and of dummies are routed to the tap.
    case 'address':
    case 'address_removed':
      return true;
    // Those from an address of the tap go with it, whatever they lead through.
    case 'route':
    case 'route_removed':
      return event.route.prefsrc !== undefined || event.route.next_hops.some((hop) => hop.oif === index);
    default:
      return false;
  }
}
