/** The concrete parts of a node, made from its configuration: the only place where they meet. */
import { join } from 'node:path';
import { createGobgpdLauncher, type GobgpdLauncher } from '../bgp/launcher.js';
import { startupFacts, vppFacts } from '../check/startup-facts.js';
import { tryDoorsOf } from '../check/trial-vpp.js';
import { type Clock, systemClock } from '../clock.js';
import { firstCpu, type TemplateFacts } from '../config/placeholders.js';
import type { Config, RestoreConfig } from '../config.js';
import { LogRing } from '../debug/log-ring.js';
import { runCommand } from '../host/command.js';
import { pruneCoreFiles, setCorePattern } from '../host/core-files.js';
import { oomCounter } from '../host/devices/oom.js';
import type { MachineFacts } from '../host/devices/pci-facts.js';
import { bootId, HOST_ROOTS, listensAt, processRunningAs, processStartTime } from '../host/devices/sysfs.js';
import { makeDirectory, readIfExists } from '../host/files.js';
import { isFirstNetwork } from '../host/host-namespace.js';
import { findHostRoot } from '../host/host-root.js';
import { unlimitLockedMemory } from '../host/libc.js';
import { lineWriter, standard_output } from '../host/line-writer.js';
import { LinuxHost } from '../host/netlink/linux-host.js';
import { watchExit } from '../host/process-exit.js';
import { Hooks } from '../host/services/hooks.js';
import { type OpenedJournal, openJournal, type UndoJournal } from '../host/undo/undo-journal.js';
import { comeBackThemselves, type VppNetns, vppNetns } from '../host/vpp-netns.js';
import type { Cluster } from '../k8s/cluster.js';
import type { HostNetwork } from '../linux/network.js';
import { within } from '../linux/within.js';
import { createLog, type Log, type RootLog } from '../log.js';
import type { DoorTrial } from '../policies/door-trial.js';
import { HostServices, removeHostTables } from '../services/host-services.js';
import { HostSilence } from '../services/host-silence.js';
import { CapturedStore } from '../uplink/captured.js';
import { largeSegments } from '../uplink/drivers.js';
import { nudgeByDatagram } from '../uplink/nudge.js';
import { UplinkHost } from '../uplink/uplink-host.js';
import {
  createLauncher,
  type Launcher,
  type LaunchSettings,
  type ProcessTable,
  type VppOfFile,
} from '../vpp-conn/launcher.js';
import { Quarantine } from '../vpp-conn/quarantine.js';
import type { RegistryFile } from '../vpp-conn/registry.js';
import { startupConfig, startupExec } from '../vpp-conn/startup-config.js';
import { quarantineFile, registryFile } from '../vpp-conn/state-files.js';
import { clusterOf } from './cluster.js';
import { forStart, pastIommuOf, pciOf } from './start-devices.js';

/** What ends VPP and gives the host its network back. Needs no configuration but paths. */
export interface RestoreParts {
  readonly config: RestoreConfig;
  readonly clock: Clock;
  readonly log: RootLog;
  /** What the log has said last. */
  readonly logRing: LogRing;
  readonly host: HostNetwork;
  readonly launcher: Pick<Launcher, 'isRunning' | 'adopt' | 'signal' | 'forget'>;
  readonly gobgpd: GobgpdLauncher;
  readonly uplinkHost: UplinkHost;
  readonly vpp_netns: VppNetns;
  /** What is undone when the node stops for good, and not when VPP dies: the kernel's core pattern, Linux's silence. */
  readonly core_journal: UndoJournal;
  /** Removes what no journal tells of; see `removeHostTables`. */
  readonly removeHostTables: () => Promise<readonly string[]>;
}

/** The concrete parts of a node: all that touches the machine. */
export interface NodeParts extends RestoreParts {
  readonly config: Config;
  readonly launcher: Launcher;
  /** Of what VPP holds and does not show. */
  readonly registry: RegistryFile;
  readonly quarantine: Quarantine;
  readonly hooks: Pick<Hooks, 'run'>;
  readonly hostServices: Pick<HostServices, 'set' | 'serve' | 'status' | 'close'>;
  readonly hostSilence: Pick<HostSilence, 'set' | 'serve' | 'fault' | 'close'>;
  /** Makes Linux resolve the gateway. */
  readonly nudge: (gateway: string) => void;
  readonly cluster: Cluster;
  /** Absent: VPP is none of which anybody could try another. */
  readonly tryDoors?: (signal: AbortSignal) => Promise<DoorTrial>;
}

/** What there is on this machine before the configuration is looked at, apart from its paths; opened once in a life. */
export interface Machine {
  readonly clock: Clock;
  readonly log: RootLog;
  /** What the log has said last. */
  readonly logRing: LogRing;
  readonly host: HostNetwork;
  readonly boot_id: string;
  readonly journal: UndoJournal;
  readonly core_journal: UndoJournal;
  /** False: steps of the journal may be lost. */
  readonly is_whole: boolean;
}

export function openMachine(config: RestoreConfig): Machine {
  const { paths } = config;
  const clock = systemClock;
  const { level, format } = config.log;
  const logRing = new LogRing();
  const toOutput = lineWriter(standard_output);
  const write = (line: string): boolean => {
    logRing.add(line);
    return toOutput(line);
  };
  const log = createLog({ level, format, clock, write });
  const host = new LinuxHost(paths.netns_dir);
  const boot_id = bootId() ?? 'unknown';
  const open = (name: string): OpenedJournal => {
    const path = join(paths.state_dir, name);
    const opened = openJournal(path, boot_id, clock.wall_ms());
    const { set_aside, dropped_steps } = opened;
    if (set_aside !== undefined) {
      log.error({ ...set_aside }, `journal(open) ${set_aside.reason}; kept at ${set_aside.path}`);
    }
    if (dropped_steps > 0) {
      log.info(
        { dropped_steps },
        `journal(open) ${path}: the machine was restarted, nothing of its network to undo`,
      );
    }
    return opened;
  };
  const { journal, whole } = open('undo.journal');
  const core_journal = open('core-pattern.journal').journal;
  return { clock, log, logRing, host, boot_id, journal, core_journal, is_whole: whole };
}

/** See UplinkHost. */
interface UplinkSettings {
  readonly serves?: boolean;
  readonly gso?: boolean;
  readonly vpp_facts?: Partial<MachineFacts>;
}

/** The uplinks' Linux side, and the namespace that VPP has or is to have. */
function uplinkParts(
  { clock, host, boot_id, journal }: Machine,
  config: RestoreConfig,
  uplinks: readonly string[],
  { serves = false, gso = true, vpp_facts = {} }: UplinkSettings = {},
) {
  const { paths, vpp } = config;
  const places = { machine: paths.netns_dir, container: join(paths.run_dir, 'netns') };
  // A device that the kernel gives back goes to the first namespace: of use where that is the host's.
  const vpp_netns = vppNetns(
    vpp.netns,
    places,
    (network) => isFirstNetwork() && within(network.open(), (own) => comeBackThemselves(own, uplinks)),
  );
  const uplinkHost = new UplinkHost(
    host,
    journal,
    new CapturedStore(join(paths.state_dir, 'uplinks.json'), boot_id),
    { host, clock, run: runCommand },
    vpp_netns.path,
    serves,
    gso,
    vpp_facts,
  );
  return { vpp_netns, uplinkHost };
}

/** The journal was lost, or a part of it: the uplinks as they were captured tell what is to be undone. */
function recoverJournal(uplinkHost: UplinkHost, log: Log): void {
  try {
    const uplinks = uplinkHost.recoverJournal();
    if (uplinks.length > 0) {
      log.error({ uplinks }, 'journal(open) steps are lost: uplinks are given back as they were captured');
    }
  } catch (error) {
    log.error(
      { err: error },
      `journal(open) the captured uplinks are of no use: ${(error as Error).message}`,
    );
  }
}

/** The parts that `restore` needs. */
export function restoreParts(config: RestoreConfig, machine: Machine): RestoreParts {
  const { boot_id, log, is_whole } = machine;
  const parts = uplinkParts(machine, config, []);
  if (!is_whole) recoverJournal(parts.uplinkHost, log);
  const processes = processTable(boot_id, () => undefined);
  const { paths } = config;
  const launcher = launcherOf(config, parts.vpp_netns.path, processes, log, {
    startup_conf: { path: paths.startup_config },
    startup_exec: { path: paths.startup_exec },
    environment: {},
  });
  const gobgpd = gobgpdOf(config, processes, machine.log);
  return { config, ...machine, ...parts, launcher, gobgpd, removeHostTables: removeOwnTables };
}

/** The parts of a node on this machine, once `restoreParts` has looked at what an earlier life has left. */
export async function linuxParts(config: Config, machine: Machine): Promise<NodeParts> {
  makeDirectory(config.paths.run_dir);
  makeDirectory(config.paths.state_dir, 0o700);
  const { clock, log, host, boot_id, journal, core_journal } = machine;
  const uplinks = config.uplinks.map(({ interface_name }) => interface_name);
  const gso = largeSegments(config.gates.gso, config.uplinks);
  const serves = config.gates.services && config.kubernetes;
  const parts = uplinkParts(machine, config, uplinks, {
    serves,
    gso,
    vpp_facts: vppFacts(config),
  });
  const { vpp_netns } = parts;
  const cluster = clusterOf(config, clock, log);
  // An API server that does not answer keeps nobody waiting for what nobody wants to know.
  const annotations = namesAnnotation(config) ? await cluster.nodeAnnotations() : {};
  const pciAddress = pciOf(parts.uplinkHost);
  const placeholders = placeholdersOf(config, pciAddress, annotations);
  const host_root = hostRootOf(config);
  if (host_root === undefined) {
    log.warn(
      { host_root: config.paths.host_root },
      "host(root) the host's file system is not there: its network services are not told of the tap, nor asked who renews leases; mount it, or set CALICOVPP_HOST_ROOT",
    );
  }
  return {
    config,
    ...machine,
    ...parts,
    removeHostTables: removeOwnTables,
    cluster,
    gobgpd: gobgpdOf(
      config,
      processTable(boot_id, () => undefined),
      log,
    ),
    launcher: makeLauncher(
      config,
      boot_id,
      vpp_netns,
      { placeholders, pciAddress, uplinkHost: parts.uplinkHost },
      core_journal,
      log,
    ),
    registry: registryFile(join(config.paths.run_dir, 'vpp-objects.jsonl')),
    quarantine: new Quarantine(quarantineFile(join(config.paths.state_dir, 'quarantine.json')), (error) =>
      log.warn({ err: error }, `vpp(quarantine) not kept: ${error.message}`),
    ),
    nudge: nudgeByDatagram,
    tryDoors: (signal) => tryDoorsOf(config.vpp, clock, signal),
    hostServices: new HostServices({ journal, host_root, run: runCommand, clock, log }),
    hostSilence: new HostSilence({ journal: core_journal, host_root, run: runCommand, clock, log }),
    hooks: new Hooks({
      config,
      host_root,
      placeholders,
      journal,
      openNetwork: () => host.open(),
      run: runCommand,
      clock,
      log,
    }),
  };
}

/** The journal knows where nft is. Without it there is the one of the image. */
const removeOwnTables = () => removeHostTables({ run: runCommand, host_root: undefined });

/** See findHostRoot. */
export function hostRootOf({ paths, origins }: Config): string | undefined {
  return findHostRoot(paths.host_root, origins.CALICOVPP_HOST_ROOT?.origin === 'default');
}

/** What VPP's start-up file has of uplinks. */
interface UplinkFacts {
  readonly placeholders: TemplateFacts;
  readonly pciAddress: (name: string) => string;
  readonly uplinkHost: UplinkHost;
}

function makeLauncher(
  config: Config,
  boot_id: string,
  netns: VppNetns,
  { placeholders, pciAddress, uplinkHost }: UplinkFacts,
  core_journal: UndoJournal,
  log: Log,
): Launcher {
  const { paths, vpp } = config;
  const facts = startupFacts(config);
  const pastIommu = pastIommuOf(uplinkHost);
  const fileFor = (uplinks: ReturnType<typeof forStart>) =>
    startupConfig(
      vpp.config_template,
      placeholders,
      uplinks.map((spec) => ({
        ...spec,
        pci_address: pciAddress(spec.interface_name),
        past_iommu: pastIommu(spec.interface_name),
      })),
      facts,
    );
  const startup = fileFor(config.uplinks);
  const text = (of: VppOfFile): string => fileFor(forStart(uplinkHost, config.uplinks, of)).text;
  for (const warning of startup.warnings) log.warn({}, `vpp(config) ${warning}`);
  for (const { section, why } of startup.added) log.info({ section }, `vpp(config) added ${section}: ${why}`);
  const processes = processTable(boot_id, () => {
    netns.create();
    keepCoreFiles(vpp.core_pattern, core_journal, log);
    try {
      unlimitLockedMemory(0);
    } catch (error) {
      log.warn(
        { err: error },
        'vpp(start) the limit of locked memory cannot be lifted (CAP_SYS_RESOURCE); DPDK and RDMA need it',
      );
    }
  });
  return launcherOf(config, netns.path, processes, log, {
    startup_conf: { path: paths.startup_config, text },
    startup_exec: { path: paths.startup_exec, text: startupExec(vpp.exec_template, placeholders) },
    environment: vpp.environment,
  });
}

function processTable(boot_id: string, prepare: () => void): ProcessTable {
  return {
    boot_id,
    startTime: (pid) => processStartTime(pid)?.toString(),
    runningAs: (words) => processRunningAs(words),
    watchExit: (pid, ended) => {
      if (watchExit(pid, ended) === undefined) setImmediate(ended);
    },
    oomCounter,
    prepare,
  };
}

function launcherOf(
  { vpp, paths }: RestoreConfig,
  netns: string,
  processes: ProcessTable,
  log: Log,
  startup: Pick<LaunchSettings, 'startup_conf' | 'startup_exec' | 'environment'>,
): Launcher {
  const settings: LaunchSettings = {
    ...startup,
    binary: vpp.binary,
    netns,
    api_socket: paths.api_socket,
    leftovers: [paths.api_socket, paths.cli_socket, paths.stats_socket, paths.vpp_pid_file],
    record: join(paths.run_dir, 'vpp-run.json'),
    output: join(paths.run_dir, 'vpp-output.log'),
  };
  return createLauncher(settings, processes, log);
}

function namesAnnotation({ vpp, hooks }: Config): boolean {
  const texts = [vpp.config_template ?? '', vpp.exec_template, ...Object.values(hooks.scripts)];
  return texts.some((text) => text.includes('__NODE_ANNOTATION:'));
}

function gobgpdOf({ bgp, paths }: RestoreConfig, processes: ProcessTable, log: Log): GobgpdLauncher {
  return createGobgpdLauncher(
    {
      binary: bgp.binary,
      log_level: bgp.log_level,
      api_socket: paths.gobgpd_socket,
      record: join(paths.run_dir, 'gobgpd-run.json'),
      output: join(paths.run_dir, 'gobgpd.log'),
    },
    { ...processes, isListening: listensAt },
    log,
  );
}

function placeholdersOf(
  config: Config,
  pciAddress: (name: string) => string,
  node_annotations: Readonly<Record<string, string>>,
): TemplateFacts {
  const uplinks = config.uplinks.map(({ interface_name }) => interface_name);
  return {
    uplinks,
    pci_addresses: uplinks.map(pciAddress),
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
