/**
 * A real VPP for the tests and the demo, where one is installed: `VPP_BIN` names its executable, its plugins are found by
 * itself. Where the kernel has no /dev/vhost-net, which VPP's tap driver needs, packets of taps are moved by
 * `vhost-shim.c`, built once with cc.
 */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { patience } from './patience.js';
import { missing } from './programs.js';

export type RealVpp =
  | {
      readonly usable: true;
      /** Path of the executable. */
      readonly binary: string;
      /** To be added to the environment of VPP. */
      readonly environment: Readonly<Record<string, string>>;
    }
  | { readonly usable: false; readonly why: string };

/** Looks for the VPP named by VPP_BIN. Builds the shim when it is needed and not there yet. */
export function findRealVpp(env: NodeJS.ProcessEnv = process.env): RealVpp {
  const binary = env.VPP_BIN ?? '';
  if (binary === '') return { usable: false, why: 'needs VPP_BIN, the path of a VPP executable' };
  if (!existsSync(binary)) return { usable: false, why: `VPP_BIN: there is no ${binary}` };
  if (process.getuid?.() !== 0) return { usable: false, why: 'needs root to run VPP' };
  const program = missing('ip', 'nsenter', 'ping');
  if (program !== undefined) return { usable: false, why: program };
  const vhost = vhostNet();
  return 'why' in vhost
    ? { usable: false, why: vhost.why }
    : { usable: true, binary, environment: vhost.shim === undefined ? {} : { LD_PRELOAD: vhost.shim } };
}

/** What VPP's taps need here: nothing more than the kernel has, or the shim, whose path is to be in LD_PRELOAD. */
export function vhostNet(): { readonly shim: string | undefined } | { readonly why: string } {
  if (existsSync('/dev/vhost-net')) return { shim: undefined };
  const shim = buildShim('vhost-shim');
  return 'why' in shim
    ? { why: `no /dev/vhost-net, and no stand-in for it: ${shim.why}` }
    : { shim: shim.path };
}

/** The directory that compiled files go to: this one is <out>/lab/real-vpp.js. */
const out_dir = fileURLToPath(new URL('..', import.meta.url));
const sources_dir = fileURLToPath(new URL('../../lab/', import.meta.url));

/** What is loaded into VPP with LD_PRELOAD, of the source of that name. */
export function buildShim(
  name: 'vhost-shim' | 'clock-shim',
): { readonly path: string } | { readonly why: string } {
  const shim_source = join(sources_dir, `${name}.c`);
  const path = join(out_dir, `${name}.so`);
  if (existsSync(path) && statSync(path).mtimeMs >= statSync(shim_source).mtimeMs) return { path };
  mkdirSync(out_dir, { recursive: true });
  // Renamed into place: several test files may build it at the same time.
  const built = `${path}.${process.pid}`;
  const flags = ['-O2', '-shared', '-fPIC', '-o', built, shim_source, '-ldl', '-lpthread'];
  const { error, status, stderr } = spawnSync('cc', flags, { encoding: 'utf8' });
  if (error) return { why: `cc cannot be started: ${error.message}` };
  if (status !== 0) return { why: `cc failed: ${stderr.trim()}` };
  renameSync(built, path);
  return { path };
}

export interface RunningVpp {
  readonly pid: number;
  readonly api_socket: string;
  readonly cli_socket: string;
  readonly directory: string;
  /** Resolves with the signal or exit code when the process is gone. */
  readonly exited: Promise<string>;
  /** Ends it, with SIGKILL after a second, and removes its directory. */
  stop(): Promise<void>;
}

export interface RealVppOptions {
  /** Path of the network namespace to run in: an af_packet device is looked for there. This process's own when absent. */
  readonly netns?: string;
  /** More sections of startup.conf. */
  readonly sections?: string;
}

/** Starts VPP for one test, with all its files in a directory of its own. Resolves when its API socket is there. */
export async function startRealVpp(
  vpp: Extract<RealVpp, { usable: true }>,
  options: RealVppOptions = {},
): Promise<RunningVpp> {
  const directory = mkdtempSync(join(tmpdir(), 'vpp-'));
  const api_socket = join(directory, 'api.sock');
  const cli_socket = join(directory, 'cli.sock');
  const conf = join(directory, 'startup.conf');
  writeFileSync(conf, startupConf(directory, options.sections ?? ''));
  const argv = [vpp.binary, '-c', conf];
  if (options.netns) argv.unshift('nsenter', `--net=${options.netns}`, '--');
  const child = spawn(argv[0]!, argv.slice(1), {
    cwd: directory,
    env: { ...process.env, ...vpp.environment },
    stdio: 'ignore',
  });
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  const running: RunningVpp = {
    pid: child.pid ?? 0,
    api_socket,
    cli_socket,
    directory,
    exited,
    async stop() {
      await stop(child, exited);
      rmSync(directory, { recursive: true, force: true });
    },
  };
  try {
    await untilListening(running.pid, api_socket, exited);
  } catch (error) {
    await running.stop();
    throw error;
  }
  return running;
}

function startupConf(directory: string, sections: string): string {
  return `unix {
  nodaemon
  nosyslog
  runtime-dir ${directory}
  cli-listen ${join(directory, 'cli.sock')}
  poll-sleep-usec 100
}
socksvr { socket-name ${join(directory, 'api.sock')} }
statseg { socket-name ${join(directory, 'stats.sock')} }
cpu { workers 0 }
buffers { buffers-per-numa 16384 page-size 4K }
plugins {
  plugin dpdk_plugin.so { disable }
  plugin ping_plugin.so { disable }
}
${sections}
`;
}

const start_deadline_ms = 20_000 * patience;
const look_interval_ms = 20;

async function untilListening(pid: number, socket: string, exited: Promise<string>): Promise<void> {
  let gone: string | undefined;
  void exited.then((how) => {
    gone = how;
  });
  const deadline = Date.now() + start_deadline_ms;
  while (!isListening(pid, socket)) {
    if (gone !== undefined) throw new Error(`VPP ended before its API socket was there: ${gone}`);
    if (Date.now() > deadline) throw new Error(`VPP made no API socket within ${start_deadline_ms} ms`);
    await sleep(look_interval_ms);
  }
}

/** The file is there before VPP listens; a connection made to find out would stay open in VPP. */
function isListening(pid: number, socket: string): boolean {
  if (!existsSync(socket)) return false;
  const all = readFileSync(`/proc/${pid}/net/unix`, 'utf8').split('\n');
  return all.some((line) => line.endsWith(` ${socket}`) && line.split(' ')[3] === accepting);
}

/** __SO_ACCEPTCON, the column Flags of /proc/net/unix. */
const accepting = '00010000';

async function stop(child: ChildProcess, exited: Promise<string>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGINT');
  const late = setTimeout(() => child.kill('SIGKILL'), 1000);
  await exited;
  clearTimeout(late);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
