/** Runs a node: makes the concrete parts from the configuration, starts the tree, and has the last word when it ends. */
import { statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { createActorSystem } from './actor-system.js';
import { cni_settings_default, cniActor } from './actors/cni.js';
import { nudgeByDatagram, type UplinkReport, uplink } from './actors/uplink.js';
import { vppConnection } from './actors/vpp-connection.js';
import { vppProcess } from './actors/vpp-process.js';
import { go_state_paths } from './cni/go-state.js';
import { PodState } from './cni/pod-state.js';
import { startCniServer } from './cni/server.js';
import type { Config } from './config.js';
import { conditionBoard } from './debug/conditions.js';
import { startDebug } from './debug/debug.js';
import type { RedirectMatch } from './desired/objects.js';
import { memoryBytes } from './host/check-facts.js';
import { type Clock, systemClock } from './host/clock.js';
import { runCommand } from './host/command.js';
import { pruneCoreFiles, setCorePattern } from './host/core-files.js';
import { makeDirectory, readIfExists, writeAtomic } from './host/files.js';
import { Hooks } from './host/hooks.js';
import { unlimitLockedMemory } from './host/libc.js';
import { LinuxHost } from './host/linux-host.js';
import { watchExit } from './host/process-exit.js';
import { bootId, HOST_ROOTS, hugepages, pciDeviceOfLink, processStartTime } from './host/sysfs.js';
import type { HostNetwork } from './host/types.js';
import { undo } from './host/undo.js';
import { openJournal, type UndoJournal } from './host/undo-journal.js';
import type { Cluster } from './k8s/cluster.js';
import { createLog, type Log, type RootLog } from './log.js';
import { root_supervision, startTree } from './supervisor.js';
import { CapturedStore } from './uplink/captured.js';
import { infoFile } from './uplink/info-file.js';
import { hostNamespacePath, UplinkHost } from './uplink/uplink-host.js';
import { createLauncher, type Launcher, type ProcessTable } from './vpp-conn/launcher.js';
import { sessionOpener } from './vpp-conn/open-session.js';
import { firstCpu, startupConfig, startupExec, type TemplateFacts } from './vpp-conn/startup-config.js';

export const exit_code = { stopped: 0, gave_up: 1 } as const;

/** The concrete parts of a node: all that touches the machine. `restore` needs no more than these. */
export interface NodeParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: RootLog;
  readonly host: HostNetwork;
  readonly launcher: Launcher;
  readonly uplinkHost: UplinkHost;
  readonly hooks: Pick<Hooks, 'run'>;
  /** Makes Linux resolve the gateway. */
  readonly nudge: (gateway: string) => void;
  readonly cluster: Cluster;
  /** What undoes the kernel's core pattern, when the node stops for good. */
  readonly core_journal: UndoJournal;
  /** Identity of the namespace at a path; undefined when there is none. */
  readonly namespaceId: (path: string) => bigint | undefined;
}

/** The parts of a node on this machine. */
export function linuxParts(
  config: Config,
  cluster: Cluster,
  annotations: Readonly<Record<string, string>>,
): NodeParts {
  const clock = systemClock;
  const log = createLog({ level: config.log.level, format: config.log.format, clock });
  const host = new LinuxHost(config.paths.netns_dir);
  const boot_id = bootId() ?? 'unknown';
  makeDirectory(config.paths.run_dir);
  makeDirectory(config.paths.state_dir, 0o700);
  const vpp_netns = host.createNamed(config.vpp.netns);

  const open = (name: string): UndoJournal => {
    const path = join(config.paths.state_dir, name);
    const { journal, set_aside, dropped_steps } = openJournal(path, boot_id, clock.wall_ms());
    if (set_aside !== undefined) {
      log.error({ ...set_aside }, `journal(open) ${set_aside.reason}; kept at ${set_aside.path}`);
    }
    if (dropped_steps > 0) {
      log.info(
        { dropped_steps },
        `journal(open) ${path}: the machine was restarted, nothing of its network to undo`,
      );
    }
    return journal;
  };
  const journal = open('undo.journal');
  const core_journal = open('core-pattern.journal');
  const placeholders = placeholdersOf(config, annotations);
  return {
    config,
    clock,
    log,
    host,
    cluster,
    launcher: makeLauncher(config, boot_id, vpp_netns, placeholders, core_journal, log),
    core_journal,
    uplinkHost: new UplinkHost(
      host,
      journal,
      new CapturedStore(join(config.paths.state_dir, 'uplinks.json'), boot_id),
      { host, clock, run: runCommand },
      vpp_netns,
    ),
    nudge: nudgeByDatagram,
    namespaceId: (path) => statSync(path, { bigint: true, throwIfNoEntry: false })?.ino,
    hooks: new Hooks({
      config,
      host_root: config.paths.host_root,
      placeholders,
      journal,
      openNetwork: () => host.open(),
      run: runCommand,
      clock,
      log,
    }),
  };
}

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
      escalated: (reason) => {
        gaveUp = reason.message;
        log.fatal({ err: reason }, `node(give up) ${reason.message}`);
        lastWord(parts).then(() => resolve(exit_code.gave_up));
      },
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

    let stopping = false;
    const stop = (why: string, code: number): void => {
      if (stopping) return;
      stopping = true;
      log.info({}, `node(stop) ${why}`);
      system
        .stop()
        .then(() => lastWord(parts))
        .then(() => debug.close())
        .then(() => resolve(code));
    };
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP'] as const)
      process.on(signal, () => stop(signal, exit_code.stopped));

    startTree(system, {
      vppProcess: vppProcess(launcher, {
        deaths_max: config.vpp.restarts.count,
        deaths_window_ms: config.vpp.restarts.within_ms,
        backoff_first_ms: 250,
        backoff_max_ms: 10_000,
        interrupt_ms: 2000,
      }),
      vppConnection: (vpp_process) =>
        vppConnection(
          vpp_process,
          sessionOpener({ open_ms: config.vpp.connect_timeout_ms, request_ms: 15_000 }, clock, log),
          {
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
              gso: config.gates.gso,
              neighbours: config.neighbours,
              service_prefixes: config.service_prefixes,
              default_gateways: config.default_gateways,
              redirects: redirectsOf(config, log),
              uplink_128_to_64: config.gates.uplink_128_to_64,
            },
            transaction_ms: 20_000,
            verify_ms: 2000,
            retry_ms: 5000,
            tries_max: 3,
            shutdown_ms: 8000,
          },
        ),
      cni: (vpp, node) =>
        cniActor({
          vpp,
          uplink: node,
          host,
          // Pods do not outlive a restart of the machine, nor does the run directory.
          store: new PodState(join(config.paths.run_dir, 'pods')),
          startServer: async (handlers) => {
            const server = await startCniServer({ path: config.paths.cni_socket, handlers, log, clock });
            board.set('cni', true, `listening on ${config.paths.cni_socket}`);
            return server;
          },
          readGoState: () => firstContent(goStateFiles(config)),
          namespaceId: parts.namespaceId,
          limits: {
            default_spec: config.pods.spec,
            max_spec: config.pods.limits,
            gates: config.gates,
          },
          settings: {
            ...cni_settings_default,
            gso: config.gates.gso,
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

/** VPP ended, if it still runs, and the host restored: needs nothing of the tree. */
export async function lastWord(parts: NodeParts): Promise<boolean> {
  const { launcher, clock } = parts;
  const run = launcher.adopt();
  if (run !== undefined) {
    launcher.signal(run, 'SIGINT');
    const killed = clock.after(2000, () => launcher.signal(run, 'SIGKILL'));
    await run.exited;
    killed.cancel();
    launcher.forget();
  }
  const restored = await restoreHost(parts, 'VPP has ended');
  const { host, core_journal } = parts;
  const { remaining } = await undo(core_journal.pending(), { host, clock, run: runCommand });
  core_journal.replace(remaining);
  if (restored) parts.host.removeNamed(parts.config.vpp.netns);
  return restored;
}

/** False when something could not be undone; it stays in the journal and is told. */
async function restoreHost({ uplinkHost, log }: NodeParts, why: string): Promise<boolean> {
  if (!uplinkHost.isChanged()) return true;
  const { results, remaining } = await uplinkHost.restore();
  log.info({ steps: results.length, failed: remaining.length }, `host(restore) ${why}`);
  for (const result of results) {
    if (result.outcome === 'failed') log.error({}, `host(restore) ${result.reason}`);
  }
  return remaining.length === 0;
}

function makeLauncher(
  config: Config,
  boot_id: string,
  netns: string,
  placeholders: TemplateFacts,
  core_journal: UndoJournal,
  log: Log,
): Launcher {
  const { paths, vpp } = config;
  const total = hugepages().reduce((bytes, { size_bytes, total }) => bytes + size_bytes * total, 0);
  const startup = startupConfig(
    vpp.config_template,
    placeholders,
    config.uplinks.map((spec) => ({
      ...spec,
      pci_address: pciDeviceOfLink(spec.interface_name)?.address ?? '',
    })),
    {
      cpus: availableParallelism(),
      hugepages_bytes: total,
      memory_bytes: memoryBytes('MemTotal'),
      pods_max: config.pods.count_max,
      pod_rx_buffers: config.pods.spec.rx_queues * config.pods.spec.rx_ring_size,
      core_dumps: vpp.core_pattern !== '',
      paths,
    },
  );
  for (const warning of startup.warnings) log.warn({}, `vpp(config) ${warning}`);
  for (const { section, why } of startup.added) log.info({ section }, `vpp(config) added ${section}: ${why}`);
  const processes: ProcessTable = {
    boot_id,
    startTime: (pid) => processStartTime(pid)?.toString(),
    watchExit: (pid, ended) => {
      if (watchExit(pid, ended) === undefined) setImmediate(ended);
    },
    prepare: () => {
      keepCoreFiles(vpp.core_pattern, core_journal, log);
      try {
        unlimitLockedMemory(0);
      } catch (error) {
        log.warn(
          { err: error },
          'vpp(start) the limit of locked memory cannot be lifted (CAP_SYS_RESOURCE); DPDK and RDMA need it',
        );
      }
    },
  };
  return createLauncher(
    {
      binary: vpp.binary,
      startup_conf: { path: paths.startup_config, text: startup.text },
      startup_exec: { path: paths.startup_exec, text: startupExec(vpp.exec_template, placeholders) },
      netns,
      api_socket: paths.api_socket,
      leftovers: [paths.api_socket, paths.cli_socket, paths.stats_socket, paths.vpp_pid_file],
      environment: vpp.environment,
      record: join(paths.run_dir, 'vpp-run.json'),
      output: join(paths.run_dir, 'vpp-output.log'),
    },
    processes,
    log,
  );
}

function placeholdersOf(config: Config, node_annotations: Readonly<Record<string, string>>): TemplateFacts {
  const uplinks = config.uplinks.map(({ interface_name }) => interface_name);
  return {
    uplinks,
    pci_addresses: uplinks.map((name) => pciDeviceOfLink(name)?.address ?? ''),
    first_cpu: firstCpu(readIfExists(`${HOST_ROOTS.sys}/fs/cgroup/cpuset.cpus`) ?? ''),
    node_annotations,
  };
}

/** Core files are a help after a crash; that they cannot be had is no reason to be without VPP. */
function keepCoreFiles(pattern: string, journal: UndoJournal, log: Log): void {
  if (pattern === '') return;
  try {
    setCorePattern(pattern, journal);
    const removed = pruneCoreFiles(pattern);
    if (removed.length > 0) log.info({ removed }, 'vpp(start) old core files removed');
  } catch (error) {
    log.warn({ err: error }, `vpp(start) the core pattern ${pattern} cannot be set`);
  }
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
    return namespace.watch(['link'], (event) => {
      if (event.event === 'overrun' || (event.event === 'link' && event.link.name === name)) changed();
    });
  } finally {
    namespace.close();
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
