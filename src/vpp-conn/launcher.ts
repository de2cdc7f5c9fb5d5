/**
 * Starts VPP, adopts one that is alive, ends it. VPP gets a session of its own, so that it outlives this process; it is
 * started inside its network namespace by `nsenter`, which execs in place: the pid is VPP's.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { readIfExists, removeIfExists, writeAtomic } from '../host/files.js';
import type { Log } from '../log.js';
import { isOfMemifPeer } from './death.js';
import { type RunRecord, readRunRecord, removeRunRecord, runIdentity, writeRunRecord } from './run-record.js';

export interface VppExit {
  readonly pid: number;
  /** For a human: signal or exit code, and what VPP said last. */
  readonly reason: string;
  /** That ended it. Absent when it ended by itself, and when nobody knows: of an adopted VPP this process is not the parent. */
  readonly signal?: NodeJS.Signals;
  /**
   * The kernel has killed it for want of memory: it ended by a SIGKILL that is not this process's, or nobody knows how, and the
   * kernel has counted such a kill since VPP was started or adopted (see ProcessTable.oomCounter).
   */
  readonly oom?: true;
  /** A program at the other end of a memif has ended it, as far as its last output tells: nothing that VPP was told has. */
  readonly by_memif_peer?: true;
  /** That it ended with: 0 after SIGTERM, SIGINT and SIGHUP, and never by itself. Absent as above, and when a signal ended it. */
  readonly code?: number;
}

/** One life of VPP. */
export interface VppRun {
  readonly pid: number;
  /** Of this one process: pid, start time and boot. */
  readonly identity: string;
  readonly api_socket: string;
  readonly adopted: boolean;
  /** Its clock was found to be wrong in an earlier life, and it was kept (vpp-clock.ts). */
  readonly clock_kept?: true;
  /** Resolves once, when the process is gone. Never rejects. */
  readonly exited: Promise<VppExit>;
}

export interface Launcher {
  /** Is there a VPP of an earlier life to adopt? Changes nothing. */
  isRunning(): boolean;
  /** The VPP of an earlier life of this process, if it is alive. */
  adopt(): VppRun | undefined;
  /** Writes the start-up files, clears what a dead VPP left behind, and starts VPP. Throws when it cannot be started. */
  start(): VppRun;
  signal(run: VppRun, signal: 'SIGINT' | 'SIGKILL'): void;
  /** Its clock is wrong, and it is kept: a later life is to know. */
  keepClock(run: VppRun): void;
  /** VPP is dead: forgets the run, so that no later life adopts it, and removes what it left behind. */
  forget(): void;
}

/** What the launcher needs from the kernel, so that tests need none. */
export interface ProcessTable {
  readonly boot_id: string;
  /** Field 22 of /proc/<pid>/stat; undefined when there is no such process (a zombie counts as none). */
  startTime(pid: number): string | undefined;
  /** The process whose command line ends in these words, if there is one. */
  runningAs(words: readonly string[]): number | undefined;
  /** Calls back once when the process has ended; works for processes that are not our children. */
  watchExit(pid: number, ended: () => void): void;
  /**
   * How many processes the kernel has killed for want of memory where `pid` lives: of its cgroup, or of the machine where that is all
   * that is told. Asked for while the process lives, read again after its end. Undefined: not told.
   */
  oomCounter(pid: number): () => number | undefined;
  /** Makes VPP's namespace, lifts the limit of locked memory, which the child inherits, and sees to the core files. */
  prepare(): void;
}

/** Of which VPP the text of a start-up file is asked. Of the next one it is asked once. */
export type VppOfFile = 'the next VPP' | 'the one that runs';

/** Without text it is that of the VPP that is there: none can be started. */
interface StartupFile {
  readonly path: string;
  /** A function: VPP is given other devices in one life than in the next. */
  readonly text?: string | ((of: VppOfFile) => string);
}

const textOf = ({ text }: StartupFile, of: VppOfFile): string | undefined =>
  typeof text === 'function' ? text(of) : text;
const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16);

export interface LaunchSettings {
  readonly binary: string;
  readonly startup_conf: StartupFile;
  readonly startup_exec: StartupFile;
  /** Path of the network namespace that VPP lives in. */
  readonly netns: string;
  readonly api_socket: string;
  /** Sockets and pid files that a dead VPP may have left, and that would stop the next one. */
  readonly leftovers: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly record: string;
  /** VPP's standard output and error: begun anew at each start. */
  readonly output: string;
}

const output_tail_bytes = 4096;

export function createLauncher(settings: LaunchSettings, processes: ProcessTable, log: Log): Launcher {
  const command = [settings.binary, '-c', settings.startup_conf.path];

  /** By which a process is told from another one that got its number later. */
  const start_times = new WeakMap<VppRun, string>();

  /** Processes that were sent SIGKILL here. */
  const killed = new Set<string>();

  function followed(run: VppRun, start_time: string | undefined): VppRun {
    if (start_time !== undefined) start_times.set(run, start_time);
    return run;
  }

  function identityOf(pid: number, start_time = 'unknown'): string {
    return runIdentity({ pid, start_time, boot_id: processes.boot_id });
  }

  /** Says, after the end of that process, whether the kernel has killed it for want of memory. */
  function oomWatch(pid: number, start_time: string): () => boolean {
    const count = processes.oomCounter(pid);
    const before = count();
    return () => (count() ?? 0) > (before ?? Infinity) && !killed.has(`${pid} ${start_time}`);
  }

  function isAlive(pid: number, start_time: string): boolean {
    return processes.startTime(pid) === start_time;
  }

  /** The record of a VPP that is alive. */
  function recorded(): RunRecord | undefined {
    const record = readRunRecord(settings.record);
    return record?.boot_id === processes.boot_id && isAlive(record.pid, record.start_time)
      ? record
      : undefined;
  }

  /** A VPP whose record was lost, or not written in time: a second one beside it could have neither uplinks nor pods. */
  function unrecorded(): RunRecord | undefined {
    const pid = processes.runningAs(command);
    const start_time = pid === undefined ? undefined : processes.startTime(pid);
    if (pid === undefined || start_time === undefined) return undefined;
    const { boot_id } = processes;
    return {
      version: 1,
      pid,
      start_time,
      boot_id,
      api_socket: settings.api_socket,
      config_hash: 'not recorded',
    };
  }

  function adopt(): VppRun | undefined {
    const known = recorded();
    const record = known ?? unrecorded();
    if (record === undefined) return undefined;
    const text = textOf(settings.startup_conf, 'the one that runs');
    if (text !== undefined && record.config_hash !== hashOf(text)) {
      log.warn(
        { pid: record.pid },
        'vpp(adopt) runs with an older start-up file; the new one takes effect when VPP is started next',
      );
    }
    if (known === undefined) keepRecord(record);
    const { pid, api_socket, start_time, clock } = record;
    const oom = oomWatch(pid, start_time);
    const exited = new Promise<VppExit>((resolve) => {
      processes.watchExit(pid, () => resolve(exitOf(pid, null, null, oom())));
    });
    return followed(
      {
        pid,
        identity: identityOf(pid, start_time),
        api_socket,
        adopted: true,
        ...(clock === 'kept' && { clock_kept: true }),
        exited,
      },
      start_time,
    );
  }

  /** VPP is told by its command line, too, so that it can be held, and ended, where nothing can be written. */
  function keepRecord(record: RunRecord): void {
    try {
      writeRunRecord(settings.record, record);
    } catch (error) {
      log.error({ pid: record.pid, err: error }, `vpp(record) ${settings.record} cannot be written`);
    }
  }

  function start(): VppRun {
    const text = textOf(settings.startup_conf, 'the next VPP');
    if (text === undefined) throw new Error('VPP has no start-up file');
    for (const path of settings.leftovers) removeIfExists(path);
    for (const path of [settings.api_socket, settings.output, settings.startup_conf.path]) {
      mkdirSync(dirname(path), { recursive: true });
    }
    writeIfOther({ path: settings.startup_conf.path, text }, 0o644);
    writeIfOther(settings.startup_exec, 0o744);
    processes.prepare();

    const output = openSync(settings.output, 'w', 0o644);
    let child: ChildProcess;
    try {
      child = spawn('nsenter', [`--net=${settings.netns}`, '--', ...command], {
        detached: true,
        stdio: ['ignore', output, output],
        env: { ...process.env, ...settings.environment },
      });
    } finally {
      closeSync(output);
    }
    const pid = child.pid ?? 0;
    const start_time = processes.startTime(pid);
    const oom = start_time === undefined ? () => false : oomWatch(pid, start_time);
    const exited = new Promise<VppExit>((resolve) => {
      child.once('error', (error) => resolve({ pid, reason: `cannot be started: ${error.message}` }));
      child.once('exit', (code, signal) => resolve(exitOf(pid, code, signal, signal === 'SIGKILL' && oom())));
    });
    child.unref();
    if (start_time !== undefined) {
      const { boot_id } = processes;
      const { api_socket } = settings;
      keepRecord({ version: 1, pid, start_time, boot_id, api_socket, config_hash: hashOf(text) });
    }
    return followed(
      {
        pid,
        identity: identityOf(pid, start_time),
        api_socket: settings.api_socket,
        adopted: false,
        exited,
      },
      start_time,
    );
  }

  function exitOf(pid: number, code: number | null, signal: NodeJS.Signals | null, oom: boolean): VppExit {
    const how = signal ?? (code === null ? 'ended' : `exit code ${code}`);
    const why = oom ? `${how}: the kernel has killed it for want of memory` : how;
    const output = lastOutput(settings.output);
    const by_memif_peer = isOfMemifPeer(output);
    const whose = by_memif_peer ? `${why}, of what a program at a memif has sent it` : why;
    const said = wordsIn(output);
    return {
      pid,
      reason: said === '' ? whose : `${whose}; its last output: ${said}`,
      ...(signal && { signal }),
      ...(code !== null && { code }),
      ...(oom && { oom }),
      ...(by_memif_peer && { by_memif_peer }),
    };
  }

  return {
    isRunning: () => (recorded() ?? unrecorded()) !== undefined,
    adopt,
    start,
    signal(run, signal) {
      const start_time = start_times.get(run);
      if (start_time === undefined || !isAlive(run.pid, start_time)) return;
      if (signal === 'SIGKILL') killed.add(`${run.pid} ${start_time}`);
      try {
        process.kill(run.pid, signal);
      } catch (error) {
        log.debug({ pid: run.pid, err: error }, 'vpp(signal) process is gone already');
      }
    },
    keepClock({ pid }) {
      const record = recorded();
      if (record?.pid === pid) keepRecord({ ...record, clock: 'kept' });
    },
    forget() {
      killed.clear();
      removeRunRecord(settings.record);
      for (const path of settings.leftovers) removeIfExists(path);
    },
  };
}

/** Where there is no room for a file, the one of the VPP before is as good if it says the same. */
function writeIfOther(file: StartupFile, mode: number): void {
  const { path } = file;
  const text = textOf(file, 'the next VPP') ?? '';
  if (readIfExists(path) !== text) writeAtomic(path, text, mode);
}

/** The end of what VPP printed, on one line. */
export function lastWords(path: string): string {
  return wordsIn(lastOutput(path));
}

const wordsIn = (output: string): string => output.trim().split('\n').slice(-6).join(' | ');

/** Without colours; empty where there is none. */
function lastOutput(path: string): string {
  try {
    const { size } = statSync(path);
    const length = Math.min(size, output_tail_bytes);
    const buffer = Buffer.alloc(length);
    const fd = openSync(path, 'r');
    try {
      readSync(fd, buffer, 0, length, size - length);
    } finally {
      closeSync(fd);
    }
    return stripVTControlCharacters(buffer.toString('utf8'));
  } catch {
    return '';
  }
}
