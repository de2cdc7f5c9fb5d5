/** Runs a node: starts the tree over its parts, serves until it is told to stop, and has the last word. */
import { basename, join } from 'node:path';
import { createActorSystem } from './actor-system.js';
import { cniActor } from './actors/cni.js';
import { type UplinkReport, uplink } from './actors/uplink.js';
import { vppConnection } from './actors/vpp-connection.js';
import { vppProcess } from './actors/vpp-process.js';
import { go_state_paths } from './cni/go-state.js';
import { startCniServer } from './cni/server.js';
import type { Config } from './config.js';
import { conditionBoard } from './debug/conditions.js';
import { startDebug } from './debug/debug.js';
import { readIfExists, writeAtomic } from './host/files.js';
import { lastWord, restoreHost } from './last-word.js';
import type { HostNetwork, NetworkEvent } from './linux/network.js';
import type { Log } from './log.js';
import type { RedirectMatch } from './objects/redirect.js';
import type { NodeParts } from './parts.js';
import { cni_settings_default } from './pods/cni-deps.js';
import { PodState } from './pods/pod-state.js';
import { root_supervision, startTree } from './supervisor.js';
import { largeSegments } from './uplink/drivers.js';
import { infoFile } from './uplink/info-file.js';
import { hostNamespacePath } from './uplink/uplink-host.js';
import { sessionOpener } from './vpp-conn/open-session.js';

/** Deadline of one request to VPP. */
const request_ms = 15_000;

export const exit_code = { stopped: 0, gave_up: 1, not_restored: 3 } as const;

/** Resolves with the exit code once the node has been stopped or has given up, and the host has its network back. */
export async function runNode(parts: NodeParts, warnings: readonly string[]): Promise<number> {
  const { config, clock, log, host, launcher, uplinkHost } = parts;
  for (const warning of warnings) log.warn({}, `config(read) ${warning}`);
  if (!launcher.isRunning()) await restoreHost(parts, 'an earlier life left the host changed');

  let publish = (): void => undefined;
  const board = conditionBoard(clock, ['vpp', 'uplink', 'cni'], () => publish());
  let gaveUp: string | undefined;
  const ended = new Promise<number>((resolve) => {
    const system = createActorSystem({
      name: 'root',
      clock,
      log,
      supervision: root_supervision,
      escalated: (reason) => giveUp(reason),
    });
    const debug = startDebug({
      config,
      warnings,
      system,
      conditions: () => board.list(),
      sync: () => Object.fromEntries(board.list().map(({ name, ...condition }) => [name, condition])),
      vppApi: () => system.describe(`${system.root.path}/vpp/vpp-connection`, 500),
      describe: (path) => system.describe(path, 500),
      failed: () => gaveUp,
      clock,
      log,
    });
    publish = () => debug.publish();

    // Nothing that goes wrong on the way to the end keeps the host from its network.
    const finished = (what: string, promise: Promise<void>): Promise<void> =>
      promise.catch((error: Error) => log.error({ err: error }, `node(stop) ${what}: ${error.message}`));

    let stopping = false;
    const stop = async (why: string, code: number): Promise<void> => {
      if (stopping) return;
      stopping = true;
      log.info({}, `node(stop) ${why}`);
      await finished('tree', system.stop());
      const restored = await lastWord(parts);
      await finished('debug', debug.close());
      resolve(restored ? code : exit_code.not_restored);
    };
    const giveUp = (reason: Error): void => {
      gaveUp = reason.message;
      log.fatal({ err: reason }, `node(give up) ${reason.message}`);
      stop(reason.message, exit_code.gave_up);
    };
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP'] as const)
      process.on(signal, () => stop(signal, exit_code.stopped));

    const gso = largeSegments(config.gates.gso, config.uplinks);
    if (gso !== config.gates.gso)
      log.info({}, 'config(gso) off: the driver of an uplink cannot cut large segments');

    startTree(system, {
      vppProcess: vppProcess(
        launcher,
        {
          deaths_max: config.vpp.restarts.count,
          deaths_window_ms: config.vpp.restarts.within_ms,
          backoff_first_ms: 250,
          backoff_max_ms: 10_000,
          interrupt_ms: 2000,
          kill_ms: 10_000,
        },
        giveUp,
      ),
      vppConnection: (vpp_process) =>
        vppConnection(
          vpp_process,
          sessionOpener({ request_ms, registry: parts.registry, quarantine: parts.quarantine, clock, log }),
          parts.quarantine,
          {
            open_ms: config.vpp.connect_timeout_ms,
            probe_interval_ms: config.vpp.probe.interval_ms,
            probe_deadline_ms: config.vpp.probe.timeout_ms * config.vpp.probe.failures,
            transactions_max: 4096,
          },
          board,
        ),
      uplink: (vpp_process, vpp) =>
        uplink(
          {
            process: vpp_process,
            vpp,
            isVppRunning: () => launcher.isRunning(),
            host: uplinkHost,
            hooks: parts.hooks,
            watchLink: (name, changed) => watchLink(host, name, changed),
            nudge: parts.nudge,
            cluster: parts.cluster,
            report: (report) => {
              board.set('uplink', report.state === 'vpp', report.reason);
              writeInfoFile(config, report, log);
            },
          },
          {
            specs: config.uplinks,
            inputs: {
              tap_address: config.tap_address,
              tap: {
                rx_ring_size: config.host_tap.rx_ring_size,
                tx_ring_size: config.host_tap.tx_ring_size,
                rx_mode: config.host_tap.rx_mode ?? 'adaptive',
              },
              host_namespace: hostNamespacePath(),
              gso,
              neighbours: config.neighbours,
              service_prefixes: config.service_prefixes,
              default_gateways: config.default_gateways,
              redirects: redirectsOf(config, log),
              uplink_128_to_64: config.gates.uplink_128_to_64,
            },
            transaction_ms: 20_000,
            survey_ms: 500,
            verify_ms: 2000,
            retry_ms: 2000,
            retry_max_ms: 30_000,
            failures_max: 3,
            // Services of the host may have to be started again: each has its own limit in the journal.
            shutdown_ms: 60_000,
          },
        ),
      cni: (vpp, node) =>
        cniActor({
          vpp,
          uplink: node,
          host,
          // Pods do not outlive a restart of the machine, nor does the run directory.
          store: new PodState(join(config.paths.run_dir, 'pods')),
          startServer: (handlers) => startCniServer({ path: config.paths.cni_socket, handlers, log, clock }),
          report: ({ settled, reason }) => board.set('cni', settled, reason),
          readGoState: () => firstContent(goStateFiles(config)),
          namespaceId: parts.namespaceId,
          limits: {
            default_spec: config.pods.spec,
            max_spec: config.pods.limits,
            // Without tables of its own a secondary network would be the default one under another name.
            gates: { ...config.gates, multinet: false },
          },
          settings: {
            ...cni_settings_default,
            gso,
            default_verdict: config.pods.default_verdict,
          },
        }),
    }).catch((error: Error) => {
      log.fatal({ err: error }, `node(start) ${error.message}`);
      stop('a part could not be started', exit_code.gave_up);
    });
  });
  return ended;
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
    case 'address':
    case 'address_removed':
      return event.address.link === index;
    case 'route':
    case 'route_removed':
      return event.route.next_hops.some((hop) => hop.oif === index);
    default:
      return false;
  }
}

/** Where the Go implementation keeps them: beside its sockets, which are here too. */
function goStateFiles({ paths }: Config): string[] {
  return [paths.go_state_file, ...go_state_paths.map((path) => join(paths.run_dir, basename(path)))];
}

function firstContent(paths: readonly string[]): string | undefined {
  for (const path of paths) {
    const text = readIfExists(path);
    if (text !== undefined) return text;
  }
  return undefined;
}
