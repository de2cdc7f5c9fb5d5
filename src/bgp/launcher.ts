/**
 * Starts gobgpd, adopts one that is alive, ends it. It gets a session of its own, so that it outlives this process, and its API is a unix socket
 * that the owner alone can open: passwords can be read there.
 */
import { type ChildProcess, type ExecFileException, execFile, spawn } from 'node:child_process';
import { chmodSync, closeSync, copyFileSync, mkdirSync, openSync, statSync, truncateSync } from 'node:fs';
import { dirname } from 'node:path';
import { has, parseVersion } from 'gobgp-grpc-stubs';
import { readIfExists, removeIfExists, writeAtomic } from '../host/files.js';
import { parseJson } from '../json.js';
import type { Log } from '../log.js';
import { lastWords, type ProcessTable } from '../vpp-conn/launcher.js';

export interface GobgpdExit {
  readonly pid: number;
  /** For a human: signal or exit code, and what it said last. */
  readonly reason: string;
}

/** One life of gobgpd. */
export interface GobgpdRun {
  readonly pid: number;
  readonly api_socket: string;
  /** What `gobgpd --version` said when it was started. */
  readonly version: string;
  readonly adopted: boolean;
  /** Another one was there before it since the machine was started: VPP may forward by what that one knew. */
  readonly succeeds: boolean;
  /** Resolves once, when the process is gone. Never rejects. */
  readonly exited: Promise<GobgpdExit>;
}

export interface GobgpdLauncher {
  /** The gobgpd of an earlier life of this process, if it is alive. Never rejects. */
  adopt(): Promise<GobgpdRun | undefined>;
  /** Rejects when it cannot be started; and when `signal` is aborted, upon which none is. */
  start(signal: AbortSignal): Promise<GobgpdRun>;
  /**
   * SIGKILL: it has nothing on disk. After a connection that just ends peers keep its routes for the time of a graceful restart; a SIGTERM would have
   * it say good-bye, upon which they are gone (4.x takes its own back, and of 3.x only those keep them that know RFC 8538).
   */
  end(run: GobgpdRun): void;
  /** It is dead: no later life adopts it. */
  buried(run: GobgpdRun): void;
  /** Nothing is to be adopted, nor succeeded, any more. */
  forget(): void;
  /** Keeps the file of its output within bounds. */
  trimOutput(): void;
}

export interface GobgpdSettings {
  readonly binary: string;
  readonly api_socket: string;
  readonly log_level: string;
  readonly record: string;
  /** Its standard output and error. */
  readonly output: string;
  /** Words before the command: for tests, which run it in a namespace of its own. */
  readonly within?: readonly string[];
}

interface Record {
  readonly version: 1;
  readonly pid: number;
  readonly start_time: string;
  readonly boot_id: string;
  readonly api_socket: string;
  readonly gobgpd_version: string;
  /** It has died, and its routes may still be in use. */
  readonly dead?: true;
}

const output_bytes_max = 2 ** 20;
const version_ms = 5000;
const version_bytes_max = 4096;

/** What it may learn of this process's environment: what a Go program is tuned by, and nothing secret. */
const handed_on = (name: string): boolean => name === 'PATH' || name === 'TZ' || /^GO[A-Z]+$/.test(name);

/**
 * How much its heap may grow before Go collects, in percent; Go's own is 100. With it a fourth to a third of gobgpd's CPU is collecting while a table
 * comes: seen of 10,000 prefixes 0.22 s in place of 0.39, for 66 MB in place of 42; of 100,000 2.2 to 3.2 s in place of 3.9, for 320 MB in place of 184.
 */
const go_gc_percent = '300';

export interface Processes extends Pick<ProcessTable, 'boot_id' | 'startTime' | 'runningAs' | 'watchExit'> {
  /** Whether some process takes connections at this path. */
  isListening(path: string): boolean;
}

export function createGobgpdLauncher(
  settings: GobgpdSettings,
  processes: Processes,
  log: Log,
): GobgpdLauncher {
  const { binary, api_socket, record, output, within = [] } = settings;
  const { boot_id } = processes;
  /** By which a process is told from another one that got its number later. */
  const start_times = new WeakMap<GobgpdRun, string>();
  /** Of the lives that began here: Node signals none of them after its end. */
  const children = new WeakMap<GobgpdRun, ChildProcess>();

  function recorded(): Record | undefined {
    const found = readRecord(record);
    return found?.boot_id === boot_id ? found : undefined;
  }

  function isAlive({ pid, start_time }: Record): boolean {
    return processes.startTime(pid) === start_time;
  }

  /** One whose record was lost, or not written in time: it has the port of BGP. */
  async function unrecorded(): Promise<Record | undefined> {
    const found = await versionOf(binary);
    if ('reason' in found) return undefined;
    const pid = processes.runningAs(command(settings, found.version));
    const start_time = pid === undefined ? undefined : processes.startTime(pid);
    if (pid === undefined || start_time === undefined) return undefined;
    return { version: 1, pid, start_time, boot_id, api_socket, gobgpd_version: found.version };
  }

  function keep(kept: Record): void {
    try {
      writeAtomic(record, `${JSON.stringify(kept)}\n`, 0o600);
    } catch (error) {
      log.error({ pid: kept.pid, err: error }, `bgp(record) ${record} cannot be written`);
    }
  }

  return {
    async adopt() {
      const known = recorded();
      const found = known !== undefined && isAlive(known) ? known : await unrecorded();
      if (found === undefined || found.api_socket !== api_socket) return undefined;
      if (found !== known) keep(found);
      const { pid, start_time, gobgpd_version } = found;
      const exited = new Promise<GobgpdExit>((resolve) => {
        processes.watchExit(pid, () => resolve(exitOf(pid, 'ended', output)));
      });
      const run = { pid, api_socket, version: gobgpd_version, adopted: true, succeeds: false, exited };
      start_times.set(run, start_time);
      return run;
    },
    async start(signal) {
      const found = await versionOf(binary);
      signal.throwIfAborted();
      if ('reason' in found) throw new Error(found.reason);
      if (processes.isListening(api_socket))
        throw new Error(
          `another program takes connections at ${api_socket}: end it, or set CALICOVPP_GOBGPD_SOCKET`,
        );
      const succeeds = recorded() !== undefined;
      for (const path of [api_socket, output, record])
        mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      removeIfExists(api_socket);
      const file = openSync(output, 'a', 0o600);
      const [first = '', ...rest] = [
        ...within,
        'sh',
        '-c',
        'umask 077; exec "$0" "$@"',
        ...command(settings, found.version),
      ];
      const told = Object.entries(process.env).filter(([name]) => handed_on(name));
      const env = { GOGC: go_gc_percent, ...Object.fromEntries(told) };
      let child: ChildProcess;
      try {
        child = spawn(first, rest, { detached: true, stdio: ['ignore', file, file], env });
      } finally {
        closeSync(file);
      }
      const pid = child.pid ?? 0;
      const exited = new Promise<GobgpdExit>((resolve) => {
        child.once('error', (error) => resolve({ pid, reason: `cannot be started: ${error.message}` }));
        child.once('exit', (code, signal) => resolve(exitOf(pid, signal ?? `exit code ${code}`, output)));
      });
      child.unref();
      const run = { pid, api_socket, version: found.version, adopted: false, succeeds, exited };
      children.set(run, child);
      const start_time = processes.startTime(pid);
      if (start_time !== undefined) {
        start_times.set(run, start_time);
        keep({ version: 1, pid, start_time, boot_id, api_socket, gobgpd_version: found.version });
      }
      return run;
    },
    end(run) {
      const child = children.get(run);
      if (child !== undefined) {
        child.kill('SIGKILL');
        return;
      }
      const start_time = start_times.get(run);
      if (start_time === undefined || processes.startTime(run.pid) !== start_time) return;
      try {
        process.kill(run.pid, 'SIGKILL');
      } catch (error) {
        log.debug({ pid: run.pid, err: error }, 'bgp(end) gobgpd is gone already');
      }
    },
    buried(run) {
      const found = recorded();
      if (found?.pid === run.pid) keep({ ...found, dead: true });
      removeIfExists(api_socket);
    },
    forget() {
      removeIfExists(record);
      removeIfExists(api_socket);
    },
    trimOutput() {
      try {
        if (statSync(output).size <= output_bytes_max) return;
        copyFileSync(output, `${output}.1`);
        chmodSync(`${output}.1`, 0o600);
        truncateSync(output);
      } catch (error) {
        log.debug({ err: error }, `bgp(output) ${output} cannot be trimmed`);
      }
    },
  };
}

/** From 3.36 on metrics have a listener that only an empty path closes. */
function command({ binary, api_socket, log_level }: GobgpdSettings, version: string): readonly string[] {
  const parsed = parseVersion(version);
  const metrics = parsed !== undefined && has(parsed, '3.36') ? ['--metrics-path='] : [];
  return [
    binary,
    '--api-hosts',
    `unix://${api_socket}`,
    '--pprof-disable',
    ...metrics,
    '-p',
    '-l',
    log_level,
  ];
}

/** The version in gobgpd's words, or why there is no gobgpd that can be used. Never rejects; a binary that hangs is given 5 s. */
export async function versionOf(
  binary: string,
): Promise<{ readonly version: string } | { readonly reason: string }> {
  const { error, stdout } = await new Promise<{ error: ExecFileException | null; stdout: string }>(
    (resolve) =>
      execFile(
        binary,
        ['--version'],
        { encoding: 'utf8', timeout: version_ms, killSignal: 'SIGKILL', maxBuffer: version_bytes_max },
        (error, stdout) => resolve({ error, stdout }),
      ),
  );
  const version = stdout.trim();
  if (parseVersion(version) !== undefined) return { version };
  if (error !== null) {
    const there = error.code === 'ENOENT' ? 'is not there' : error.message;
    return { reason: `${binary}: ${there}: install gobgpd, or set CALICOVPP_GOBGPD_BINARY` };
  }
  return { reason: `${binary}: ${JSON.stringify(version.slice(0, 60))} names no GoBGP 3.x or 4.x` };
}

function exitOf(pid: number, how: string, output: string): GobgpdExit {
  const said = lastWords(output);
  return { pid, reason: said === '' ? how : `${how}; its last output: ${said}` };
}

function readRecord(path: string): Record | undefined {
  const text = readIfExists(path);
  if (text === undefined) return undefined;
  try {
    const found = parseJson(text) as Partial<Record>;
    const whole =
      found.version === 1 &&
      Number.isInteger(found.pid) &&
      [found.start_time, found.boot_id, found.api_socket, found.gobgpd_version].every(
        (each) => typeof each === 'string',
      );
    return whole ? (found as Record) : undefined;
  } catch {
    return undefined;
  }
}
