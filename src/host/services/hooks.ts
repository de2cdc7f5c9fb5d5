/**
 * The five points of VPP's life at which the host is told. At each, a script of the user runs if there is one, else the built-in
 * work is done. Nothing here is ever fatal: what fails is a warning.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants, readdirSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Readable } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../../clock.js';
import { substitute, type TemplateFacts } from '../../config/placeholders.js';
import type { Config, HookPoint } from '../../config.js';
import type { NetworkNamespace } from '../../linux/network.js';
import type { Log } from '../../log.js';
import type { RunCommand } from '../command.js';
import { errorCode, makeDirectory, readIfExists, writeAtomic } from '../files.js';
import type { UndoStep } from '../undo/undo-step.js';
import {
  type ActiveConnection,
  activeConnections,
  dns_file,
  type FilesBase,
  type HookPlan,
  type HostChange,
  type HostFacts,
  makesDevice,
  netNames,
  networkFilePaths,
  onHost,
  planGiveBack,
  planHook,
  resolvedWords,
  saysDnsNone,
  type UplinkFacts,
} from './network-managers.js';
import { networkServices, Questions, question_ms, udevProperties } from './network-service.js';
import { tapConnection } from './tap-connection.js';

export interface HookTools {
  readonly config: Pick<Config, 'hooks' | 'gates' | 'uplinks' | 'main_uplink'>;
  /** See findHostRoot. */
  readonly host_root: string | undefined;
  readonly placeholders: TemplateFacts;
  readonly journal: { pending(): UndoStep[]; record(steps: readonly UndoStep[]): void };
  /** Opens the namespace that has the uplinks. */
  readonly openNetwork: () => Pick<NetworkNamespace, 'link' | 'addresses' | 'close'>;
  readonly run: RunCommand;
  readonly clock: Clock;
  readonly log: Log;
}

const nothing_known = { unreachable: true, root: '', active: [], has_udev: false, dns_none: false } as const;

const unknownUplink = ({ openNetwork }: Pick<HookTools, 'openNetwork'>, name: string): UplinkFacts => ({
  name,
  ...linkFacts(openNetwork, name),
  net_names: {},
});

/** Looks at the host. Without systemd and udev there is nothing to see, and nothing will be done. */
export async function gatherHostFacts(
  tools: Pick<HookTools, 'host_root' | 'openNetwork' | 'run'>,
  uplink_names: readonly string[],
): Promise<HostFacts> {
  const { host_root: root } = tools;
  if (root === undefined)
    return { ...nothing_known, uplinks: uplink_names.map((name) => unknownUplink(tools, name)) };
  const questions = new Questions(tools.run, onHost(root));
  const ask = (...argv: string[]) => questions.ask(...argv);
  const { systemd, active } = await networkServices(questions);
  const has_udev = systemd && (await ask('udevadm', '--version')).code === 0;
  const has_nft = systemd && (await ask('nft', '--version')).code === 0;
  const by_network_manager = active.includes('NetworkManager');
  const connections = by_network_manager
    ? activeConnections(
        (await ask('nmcli', '--terse', '--fields', 'UUID,DEVICE,FILENAME', 'connection', 'show', '--active'))
          .stdout,
      )
    : new Map<string, ActiveConnection>();
  const files_base = filesBase(root);
  const netdevs = active.includes('systemd-networkd') ? netdevFiles(root) : [];

  const uplinks = uplink_names.map(async (name): Promise<UplinkFacts> => {
    const properties = has_udev ? await udevProperties(name, questions) : new Map();
    const status = active.includes('systemd-networkd')
      ? await ask('networkctl', '--no-pager', 'status', name)
      : undefined;
    const paths = networkFilePaths(status?.stdout ?? '');
    const files = paths.map((path) => readIfExists(root + path) ?? '');
    const connection = connections.get(name);
    const servers =
      by_network_manager || paths.length > 0
        ? resolvedWords((await ask('resolvectl', 'dns', name)).stdout)
        : [];
    const domains = servers.length > 0 ? resolvedWords((await ask('resolvectl', 'domain', name)).stdout) : [];
    const link_facts = linkFacts(tools.openNetwork, name);
    const profile = link_facts.has_lease && connection?.path ? readIfExists(root + connection.path) : '';
    const tap_connection = tapConnection(profile ?? '', name, servers);
    const netdev_file_names = netdevs
      .filter(({ text }) => makesDevice(text, name))
      .map(({ file_name }) => file_name);
    return {
      name,
      ...link_facts,
      net_names: netNames(properties),
      ...(files.length > 0 && { network_file: files.join('\n'), network_file_name: basename(paths[0]!) }),
      ...(netdev_file_names.length > 0 && { netdev_file_names }),
      ...(connection !== undefined && { connection: connection.uuid }),
      ...(tap_connection !== undefined && { tap_connection }),
      ...(servers.length > 0 && { resolved: { servers, domains } }),
    };
  });
  const known = await Promise.all(uplinks);
  const { unanswered } = questions;
  return {
    root,
    active,
    has_udev,
    has_nft,
    dns_none: networkManagerConfigs(root).some(saysDnsNone),
    ...(files_base && { files_base }),
    ...(unanswered.length > 0 && { unanswered }),
    uplinks: known,
  };
}

/** Some hosts have an `/etc` that nobody can write. */
function filesBase(root: string): FilesBase | undefined {
  return (['/run', '/etc'] as const).find((base) => {
    try {
      accessSync(`${root}${base}`, constants.W_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function linkFacts(
  openNetwork: HookTools['openNetwork'],
  name: string,
): Pick<UplinkFacts, 'mac' | 'has_lease' | 'has_lease6'> {
  const network = openNetwork();
  try {
    const link = network.link(name);
    if (!link) return { has_lease: false };
    const leased = network.addresses(link.index).filter(({ valid_s }) => valid_s !== undefined);
    const has_lease6 = leased.some(({ family }) => family === 6);
    return { has_lease: leased.length > 0, has_lease6, ...(link.mac !== undefined && { mac: link.mac }) };
  } finally {
    network.close();
  }
}

/** Apart from ours, which an undo that failed may have left. */
function networkManagerConfigs(root: string): string[] {
  const paths = [
    '/etc/NetworkManager/NetworkManager.conf',
    ...['/usr/lib', '/run', '/etc'].flatMap((base) => {
      const directory = `${base}/NetworkManager/conf.d`;
      return namesIn(root + directory, '.conf').map((name) => `${directory}/${name}`);
    }),
  ];
  return paths
    .filter((path) => !path.endsWith(`/${dns_file}`))
    .flatMap((path) => readIfExists(root + path) ?? []);
}

/** The first of a name counts, as systemd-networkd has it. */
function netdevFiles(root: string): { file_name: string; text: string }[] {
  const found = new Map<string, string>();
  for (const base of ['/etc', '/run', '/usr/local/lib', '/usr/lib']) {
    const directory = `${root}${base}/systemd/network`;
    for (const name of namesIn(directory, '.netdev')) {
      if (!found.has(name)) found.set(name, readIfExists(`${directory}/${name}`) ?? '');
    }
  }
  return [...found].map(([file_name, text]) => ({ file_name, text }));
}

function namesIn(directory: string, ending: string): string[] {
  try {
    return readdirSync(directory).filter((name) => name.endsWith(ending));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

export class Hooks {
  readonly #tools: HookTools;
  /** As the host was at BEFORE_VPP_RUN, the last moment at which the uplink is there to be asked. */
  #facts: HostFacts | undefined;
  /** The point under way, or the last one. */
  #last: Promise<void> = Promise.resolve();

  constructor(tools: HookTools) {
    this.#tools = tools;
  }

  /**
   * One point at a time: what is asked for meanwhile waits. Where the signal is raised the script is killed, and of the built-in work no further
   * change is begun: that under way has its own limit. It never rejects.
   */
  run(point: HookPoint, signal?: AbortSignal): Promise<void> {
    const mine = this.#last.then(() => this.#runNow(point, signal));
    this.#last = mine;
    return mine;
  }

  async #runNow(point: HookPoint, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return;
    const { config, log } = this.#tools;
    const script = config.hooks.scripts[point];
    try {
      if (point === 'BEFORE_VPP_RUN') {
        this.#facts = await this.#look();
        await this.#apply(point, planGiveBack(this.#facts), signal);
      }
      if (script !== '') await this.#runScript(point, script, signal);
      else await this.#runBuiltIn(point, signal);
    } catch (error) {
      log.warn({ err: error, point }, `hook(${point}) failed`);
    }
  }

  async #look(): Promise<HostFacts> {
    const { config, log } = this.#tools;
    const names = config.uplinks.map(({ interface_name }) => interface_name);
    const facts = await gatherHostFacts(this.#tools, names);
    for (const question of facts.unanswered ?? []) {
      log.warn(
        { question },
        `hook(look) the host did not answer "${question}" within ${question_ms} ms, twice: nothing is done about what it would have told; see what keeps it busy`,
      );
    }
    // The shell script that the built-in work replaced knew one uplink and no gate.
    return config.hooks.built_in ? facts : { ...facts, uplinks: facts.uplinks.slice(0, 1) };
  }

  async #runBuiltIn(point: HookPoint, signal: AbortSignal | undefined): Promise<void> {
    if (this.#facts === undefined) return;
    const { config } = this.#tools;
    const net_name_rules = !config.hooks.built_in || config.gates.udev_net_name_rules;
    await this.#apply(point, planHook(point, this.#facts, net_name_rules), signal);
  }

  async #apply(
    point: HookPoint,
    { changes, undo }: HookPlan,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { journal, log } = this.#tools;
    if (signal?.aborted) return;
    const pending = journal.pending();
    journal.record(undo.filter((step) => !pending.some((other) => isDeepStrictEqual(other, step))));
    for (const change of changes) {
      if (signal?.aborted) return;
      try {
        await this.#make(change);
        log.info({ point, change: changeText(change) }, `hook(${point}) ${changeText(change)}`);
      } catch (error) {
        log.warn(
          { err: error, point },
          `hook(${point}) ${changeText(change)} failed: ${(error as Error).message}`,
        );
      }
    }
  }

  async #make(change: HostChange): Promise<void> {
    if (change.do === 'write_file') {
      makeDirectory(dirname(change.path));
      writeAtomic(change.path, change.content, change.mode);
      return;
    }
    const { code, stderr } = await this.#tools.run(change.argv, change);
    if (code !== 0)
      throw new Error(`exit status ${code}${stderr === '' ? '' : `: ${stderr.trim().slice(0, 500)}`}`);
  }

  /** `$0` is the point, `$1` the name of the main uplink. The script has its own process group, which is killed when its time is up. */
  async #runScript(point: HookPoint, script: string, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return;
    const { config, placeholders, clock, log } = this.#tools;
    const { text, unknown } = substitute(script, placeholders);
    for (const name of unknown) log.warn({ point }, `hook(${point}) the placeholder ${name} has no value`);
    const child = spawn('/bin/bash', ['-c', text, point, config.main_uplink.interface_name], {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const say = (line: string): void => log.info({ point }, `hook(${point}) ${line}`);
    const output = Promise.all([followLines(child.stdout, say), followLines(child.stderr, say)]);
    const { timeout_ms } = config.hooks;
    const kill = (): void => {
      if (child.pid !== undefined) killGroup(child.pid);
    };
    signal?.addEventListener('abort', kill, { once: true });
    await new Promise<void>((resolve) => {
      const deadline = clock.after(timeout_ms, () => {
        log.warn(
          { point },
          `hook(${point}) is killed: it ran longer than ${timeout_ms} ms; raise CALICOVPP_HOOK_TIMEOUT if it needs more`,
        );
        kill();
      });
      const done = (failure: string | undefined): void => {
        if (failure !== undefined) log.warn({ point }, `hook(${point}) ${failure}; it goes on all the same`);
        resolve();
      };
      child.once('error', (error) => {
        deadline.cancel();
        done(`could not be started: ${error.message}`);
      });
      child.once('exit', (code, killed_by) => {
        deadline.cancel();
        signal?.removeEventListener('abort', kill);
        const failure = code === 0 ? undefined : `ended with ${killed_by ?? `exit status ${code}`}`;
        // Something that the script left in the background may keep its output open for ever.
        const grace = clock.after(output_grace_ms, () => done(failure));
        void output.then(() => {
          grace.cancel();
          done(failure);
        });
      });
    });
  }
}

/** From the end of a script to the end of its output. */
const output_grace_ms = 200;

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (errorCode(error) !== 'ESRCH') throw error;
  }
}

const line_length_max = 2000;

/** Calls back with each line; longer ones are cut, so that a script without newlines costs no memory. Resolves at the end. */
function followLines(stream: Readable, say: (line: string) => void): Promise<void> {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop()!.slice(0, line_length_max);
    for (const line of lines) say(line.slice(0, line_length_max));
  });
  return new Promise((resolve) => {
    stream.once('close', () => {
      if (rest !== '') say(rest);
      resolve();
    });
  });
}

function changeText(change: HostChange): string {
  return change.do === 'write_file' ? `write ${change.path}` : `run ${change.argv.join(' ')}`;
}
