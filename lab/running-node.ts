/**
 * The real program in the namespace of a site, with files of its own and a VPP: started, killed, started again,
 * asked. What it has programmed can be compared with what it should have.
 */

import { type ChildProcess, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Client, connect, unixTransport } from 'vpp-binapi-ts';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import { type Config, loadConfig } from '../src/config.js';
import { DebugUnreachable, fetchDebug } from '../src/debug/client.js';
import type { Status } from '../src/debug/status.js';
import { processStartTime } from '../src/host/devices/sysfs.js';
import { readIfExists } from '../src/host/files.js';
import { type CniAdd, cniAdd, cniDel } from './cni-driver.js';
import {
  differencesOf,
  fingerprintOf,
  networksIn,
  type Segments,
  segmentsOf,
  servicesOf,
  type Ways,
  waysOf,
} from './node-held.js';
import { patience } from './patience.js';
import type { RealVpp } from './real-vpp.js';
import type { Site } from './site.js';
import type { Pod, Topology } from './topology.js';
import { type ProgramSettings, programEnvironment, writeStandInBinary } from './vpp/program.js';
import { type ApiCounts, changesSent } from './vpp-changes.js';

const program = fileURLToPath(new URL('../src/main.js', import.meta.url));
const cni_deadline_ms = 5000 * patience;
const look_interval_ms = 10;
/** From SIGTERM to SIGKILL. */
const stop_deadline_ms = 25_000 * patience;

export interface NodeOptions {
  readonly vpp: Extract<RealVpp, { usable: true }> | { readonly stand_in: ProgramSettings };
  /** `af_packet` when absent. */
  readonly driver?: 'af_packet' | 'af_xdp';
  /** Beside, or in place of, what is set here. */
  readonly environment?: Readonly<Record<string, string>>;
  /** These directories become file systems of their own, of so many bytes. */
  readonly file_systems?: Readonly<Partial<Record<'run' | 'state', number>>>;
}

export type PodOptions = Partial<Omit<CniAdd, 'socket' | 'netns'>>;

/** How a life of the node ended. */
export interface NodeExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Starts the node and waits until it is ready. */
export async function startNode<S extends Site>(topology: S, options: NodeOptions): Promise<RunningNode<S>> {
  const node = new RunningNode(topology, options);
  node.launch();
  try {
    await node.untilReady();
  } catch (error) {
    await node.close();
    throw error;
  }
  return node;
}

export class RunningNode<S extends Site = Topology> {
  readonly topology: S;
  /** Of all files of the node: `run`, `state`, `etc`. */
  readonly directory: string;
  /** Of the first life. */
  config: Config;
  #environment: Readonly<Record<string, string>>;
  readonly #mounted: readonly string[];
  #child: ChildProcess | undefined;
  #exit: Promise<NodeExit> = Promise.resolve({ code: 0, signal: null });
  #log: string[] = [];
  readonly #looking = new Set<(line: string) => void>();

  constructor(topology: S, options: NodeOptions) {
    this.topology = topology;
    // A path of a Unix socket has at most 107 bytes.
    this.directory = mkdtempSync(join(tmpdir(), `cvn-${process.pid}-`));
    for (const name of ['run', 'state', 'etc']) mkdirSync(join(this.directory, name));
    this.#mounted = Object.entries(options.file_systems ?? {}).map(([name, bytes]) => {
      const path = join(this.directory, name);
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path]);
      return path;
    });
    this.#environment = { ...this.#defaults(options), ...options.environment };
    this.config = loadConfig(this.#environment).config;
  }

  #defaults({ vpp, driver = 'af_packet' }: NodeOptions): Record<string, string> {
    const [binary, vpp_environment] =
      'stand_in' in vpp
        ? [writeStandInBinary(this.directory), programEnvironment(vpp.stand_in)]
        : [vpp.binary, vpp.environment];
    return {
      PATH: process.env.PATH ?? '',
      NODENAME: this.topology.name,
      CALICOVPP_RUN_DIR: join(this.directory, 'run'),
      CALICOVPP_STATE_DIR: join(this.directory, 'state'),
      CALICOVPP_CONFIG_DIR: join(this.directory, 'etc'),
      // There is none: nothing of this machine is looked at.
      CALICOVPP_HOST_ROOT: join(this.directory, 'host'),
      CALICOVPP_NETNS_DIR: this.topology.lab.directory,
      CALICOVPP_VPP_NETNS: this.topology.vpp_netns,
      CALICOVPP_CNI_SOCKET: join(this.directory, 'run', 'cni.sock'),
      CALICOVPP_FELIX_SOCKET: join(this.directory, 'run', 'felix.sock'),
      CALICOVPP_FELIX_PLUGINS_DIR: join(this.directory, 'felix-plugins'),
      CALICOVPP_ENDPOINT_STATUS_DIR: join(this.directory, 'run', 'endpoint-status'),
      CALICOVPP_KUBERNETES: 'off',
      CALICOVPP_FELIX: 'off',
      CALICOVPP_WORKLOAD_SOURCE_SPOOFING: 'Any',
      CALICOVPP_VPP_BINARY: binary,
      CALICOVPP_VPP_ENVIRONMENT: JSON.stringify(vpp_environment),
      CALICOVPP_INTERFACES: JSON.stringify({
        uplinkInterfaces: this.topology.uplinks.map((interfaceName, index) => ({
          interfaceName,
          vppDriver: driver,
          isMain: index === 0,
          rxqsz: 256,
          txqsz: 256,
        })),
      }),
      // Fewer buffers: VPP touches all of them when it starts.
      CALICOVPP_MAX_PODS: '16',
      // As in the image.
      UV_THREADPOOL_SIZE: '16',
    };
  }

  get environment(): Readonly<Record<string, string>> {
    return this.#environment;
  }

  /** For the lives to come. */
  setEnvironment(changes: Readonly<Record<string, string>>): void {
    this.#environment = { ...this.#environment, ...changes };
    this.config = loadConfig(this.#environment).config;
  }

  /** Starts a life without waiting for it. */
  launch(): void {
    const child = this.topology.spawn(this.topology.name, [process.execPath, program, 'run'], {
      env: this.#environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.#exit = new Promise((resolve) => {
      child.once('close', (code, signal) => resolve({ code, signal }));
    });
    for (const stream of [child.stdout!, child.stderr!]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.#log.push(line);
        for (const look of this.#looking) look(line);
      });
    }
  }

  /** The last that the node has written, one short line each. */
  lastWords(lines = 20): string {
    return this.#log
      .slice(-lines)
      .map((line) => {
        try {
          const { level, actor = '', msg, pod = '', reason = '' } = JSON.parse(line);
          return `${level} ${actor} ${msg} ${pod} ${reason}`.slice(0, 200);
        } catch {
          return line.slice(0, 200);
        }
      })
      .join('\n');
  }

  /** Resolves with the next line, from now on, that has `text`; rejects after the deadline. */
  untilLogged(text: string | RegExp, deadline_ms = 10_000 * patience): Promise<string> {
    return new Promise((resolve, reject) => {
      const done = (run: () => void): void => {
        clearTimeout(late);
        this.#looking.delete(look);
        run();
      };
      const look = (line: string): void => {
        if (typeof text === 'string' ? line.includes(text) : text.test(line)) done(() => resolve(line));
      };
      const late = setTimeout(
        () => done(() => reject(new Error(`the node has not logged ${text} within ${deadline_ms} ms`))),
        deadline_ms,
      );
      this.#looking.add(look);
    });
  }

  /** Resolves when all conditions of readiness hold, with the time it took; throws with the last answer otherwise. */
  async untilReady(deadline_ms = 20_000 * patience): Promise<number> {
    return this.untilStatus(({ ready }) => ready, 'is not ready', deadline_ms);
  }

  async untilStatus(
    holds: (status: Status) => boolean,
    otherwise: string,
    deadline_ms = 20_000 * patience,
  ): Promise<number> {
    let said = 'nothing';
    return waitFor(
      async () => {
        const status = await this.status();
        said = status?.message ?? 'nothing';
        return status !== undefined && holds(status);
      },
      deadline_ms,
      () => `the node ${otherwise} after ${deadline_ms} ms: ${said}\n${this.lastWords()}`,
    );
  }

  /** Undefined while nobody answers. */
  async status(): Promise<Status | undefined> {
    try {
      const { body } = await fetchDebug(this.config.paths.debug_socket, '/status');
      return JSON.parse(body) as Status;
    } catch (error) {
      if (error instanceof DebugUnreachable) return undefined;
      throw error;
    }
  }

  /** What the debug endpoint answers. */
  async debug(path: string): Promise<string> {
    return (await fetchDebug(this.config.paths.debug_socket, path)).body;
  }

  /** The requests by which the node has changed VPP since it connected to it last. */
  async changesSent(): Promise<string[]> {
    return changesSent((await this.vppApi()).vpp);
  }

  /** What the node says of its connection to VPP. */
  async vppApi(): Promise<{ readonly vpp: ApiCounts & { readonly quarantined: readonly string[] } }> {
    const { body } = await fetchDebug(this.config.paths.debug_socket, '/debug/vpp/api');
    return JSON.parse(body);
  }

  /** Connects a pod; throws what the node refused it for. Answers the time it took. */
  async add(pod: Pod, options: PodOptions = {}): Promise<number> {
    const began = performance.now();
    const reply = await cniAdd({
      socket: this.config.paths.cni_socket,
      netns: pod.netns,
      pod: pod.name,
      ips: this.addressesOf(pod).map((address) => `${address}/${address.includes(':') ? 128 : 32}`),
      deadline_ms: cni_deadline_ms,
      ...options,
    });
    if (!reply.successful) throw new Error(reply.errorMessage);
    return Math.round(performance.now() - began);
  }

  async del(
    pod: Pod,
    options: { readonly deadline_ms?: number; readonly ifname?: string } = {},
  ): Promise<void> {
    const reply = await cniDel({
      socket: this.config.paths.cni_socket,
      netns: pod.netns,
      deadline_ms: cni_deadline_ms,
      ...options,
    });
    if (!reply.successful) throw new Error(reply.errorMessage);
  }

  /** Of the families that the node has. */
  addressesOf({ ip4, ip6 }: Pod): string[] {
    const { node } = this.topology;
    return [...(node.ip4 ? [ip4] : []), ...(node.ip6 ? [ip6] : [])];
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** How the present life ends; resolved once it has. */
  get exited(): Promise<NodeExit> {
    return this.#exit;
  }

  /** Sends a signal to the node and waits for its end. */
  async kill(signal: NodeJS.Signals): Promise<NodeExit> {
    this.#child?.kill(signal);
    return within(this.#exit, stop_deadline_ms, `the node has not ended by ${signal}`);
  }

  /** Begins a new life and waits until it is ready; answers how long that took. */
  async restart(): Promise<number> {
    this.launch();
    return this.untilReady();
  }

  /** As an operator who wants the network back while nothing runs. */
  restore(): void {
    const [command, argv] = this.topology.inside(this.topology.name, [process.execPath, program, 'restore']);
    execFileSync(command, argv, { env: this.#environment, stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Process id of the VPP that this node has started, if that lives. */
  vppPid(): number | undefined {
    return this.#living('vpp-run.json');
  }

  /** Process id of the BGP speaker that this node has started, if that lives. */
  gobgpdPid(): number | undefined {
    return this.#living('gobgpd-run.json');
  }

  /** Of which a life of the node has written this record. */
  #living(name: string): number | undefined {
    const text = readIfExists(join(this.config.paths.run_dir, name));
    if (text === undefined) return undefined;
    const { pid, start_time } = JSON.parse(text) as { readonly pid: number; readonly start_time: string };
    return processStartTime(pid)?.toString() === start_time ? pid : undefined;
  }

  /** Waits until the present VPP is another one than `old`; answers its process id. */
  async untilOtherVpp(old: number, deadline_ms = 15_000 * patience): Promise<number> {
    let pid: number | undefined;
    await waitFor(
      async () => {
        pid = this.vppPid();
        return pid !== undefined && pid !== old;
      },
      deadline_ms,
      () => `there is no VPP but ${old} after ${deadline_ms} ms`,
    );
    return pid!;
  }

  /** What VPP has and should not have, or should have and has not: see `differencesOf`. */
  differences(): Promise<string[]> {
    const in_cluster = this.#environment.KUBECONFIG !== undefined;
    return this.#withVpp((vpp) => differencesOf(vpp, this.config, in_cluster));
  }

  ways(): Promise<Ways> {
    return this.#withVpp(waysOf);
  }

  /** By VNI, what VPP has of networks, and in them. */
  networks(): Promise<ReadonlyMap<number, readonly string[]>> {
    return this.#withVpp(networksIn);
  }

  segments(): Promise<Segments> {
    return this.#withVpp(segmentsOf);
  }

  services(): Promise<Readonly<Record<string, string>>> {
    return this.#withVpp((vpp) => servicesOf(vpp, this.config));
  }

  fingerprint(): Promise<Readonly<Record<string, string>>> {
    return this.#withVpp(fingerprintOf);
  }

  /** Waits until VPP holds what it should; answers the time it took. */
  async untilConverged(deadline_ms = 15_000 * patience): Promise<number> {
    let found: string[] = [];
    return waitFor(
      async () => {
        try {
          found = await this.differences();
        } catch (error) {
          found = [(error as Error).message];
        }
        return found.length === 0;
      },
      deadline_ms,
      () => `VPP differs after ${deadline_ms} ms:\n${found.join('\n')}`,
    );
  }

  /** What VPP answers to a command of its command line. */
  cli(cmd: string): Promise<string> {
    return this.#withVpp(async (vpp) => (await vpp.request(cli_inband, { cmd })).reply);
  }

  async #withVpp<T>(run: (vpp: Client) => Promise<T>): Promise<T> {
    const vpp = await connect({
      transport: unixTransport(this.config.paths.api_socket),
      name: 'lab',
      deadline_ms: 5000 * patience,
    });
    try {
      return await run(vpp);
    } finally {
      vpp.close();
    }
  }

  /** SIGTERM, and the rest of what the node has started. Answers how its life ended. */
  async stop(): Promise<NodeExit> {
    return this.kill('SIGTERM');
  }

  /** Ends everything, whatever state it is in, and removes the files. */
  async close(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#exit;
    for (const pid of [this.vppPid(), this.gobgpdPid()]) {
      if (pid === undefined) continue;
      process.kill(pid, 'SIGKILL');
      await waitFor(
        async () => processStartTime(pid) === undefined,
        5000 * patience,
        () => `process ${pid} does not end`,
      );
    }
    this.topology.lab.host.removeNamed(this.config.vpp.netns);
    for (const path of this.#mounted) if (existsSync(path)) execFileSync('umount', [path]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Looks every 10 ms until it holds; answers the time it took. Throws `otherwise()` after the deadline. */
export async function waitFor(
  holds: () => Promise<boolean>,
  deadline_ms: number,
  otherwise: () => string,
): Promise<number> {
  const began = performance.now();
  while (!(await holds())) {
    if (performance.now() - began > deadline_ms) throw new Error(otherwise());
    await sleep(look_interval_ms);
  }
  return Math.round(performance.now() - began);
}

async function within<T>(promise: Promise<T>, deadline_ms: number, otherwise: string): Promise<T> {
  const late = new AbortController();
  const timeout = sleep(deadline_ms, undefined, { signal: late.signal }).then(() => {
    throw new Error(`${otherwise} after ${deadline_ms} ms`);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    late.abort();
    timeout.catch(() => undefined);
  }
}
