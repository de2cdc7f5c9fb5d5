/**
 * Tries which doors VPP has, on a VPP of its own that lives for a second or two and has no interface of the machine's: nice, without hugepages, 95 MB.
 * It ends with whoever has started it. The kernel is not asked to end it first where memory is short: where it ends one process of a container it
 * may end all.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { constants, setPriority, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { runVppCommands } from '../cli/vpp-cli.js';
import type { Clock } from '../clock.js';
import type { Config } from '../config.js';
import { type DoorTrial, tryDoors } from '../policies/door-trial.js';
import { wordsIn } from '../vpp-conn/startup-sections.js';
import { ownTrialPrefix, removeTrial, startup_name, sweepTrials } from './trial-leftovers.js';

/** A second on a machine that is not busy. */
const deadline_ms = 60_000;
const start_look_ms = 100;
const silent_ms = 10_000;
/** Of what it says before it ends. */
const words_max = 500;

/** `interactive`: the end of its standard input is VPP's. */
const startupText = (directory: string, segments: string, plugins: readonly string[]): string => `unix {
  nodaemon
  interactive
  nosyslog
  cli-no-banner
  runtime-dir ${directory}
  cli-listen ${join(directory, 'cli.sock')}
  poll-sleep-usec 100
}
socksvr { socket-name ${join(directory, 'api.sock')} }
api-segment { prefix ${segments} }
statseg { socket-name ${join(directory, 'stats.sock')} size 4M }
cpu { workers 0 }
buffers { buffers-per-numa 2048 page-size 4K }
plugins {
  ${plugins.join('\n  ')}
  plugin default { disable }
  plugin cnat_plugin.so { enable }
  plugin npol_plugin.so { enable }
}
cnat { session-max 4096 }
`;

/** Rejects with what has failed; nothing of it is left, nor of one that was killed before, and nothing of the machine was touched. */
export async function tryDoorsOf(
  {
    binary,
    environment,
    config_template = '',
  }: Pick<Config['vpp'], 'binary' | 'environment' | 'config_template'>,
  clock: Clock,
  signal: AbortSignal = new AbortController().signal,
): Promise<DoorTrial> {
  sweepTrials();
  const directory = mkdtempSync(join(tmpdir(), ownTrialPrefix()));
  const startup = join(directory, startup_name);
  // Without a name of its own it would take theirs from those of a VPP that uses the same /dev/shm.
  const segments = basename(directory);
  writeFileSync(startup, startupText(directory, segments, pluginPaths(config_template)));
  const child = spawn(binary, ['-c', startup], {
    cwd: directory,
    env: { ...process.env, ...environment },
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  let words = '';
  child.stderr.on('data', (piece) => {
    words = `${words}${piece}`.slice(-words_max);
  });
  // It may have ended.
  child.stdin.on('error', () => undefined);
  const ended = new Promise<never>((_resolve, reject) => {
    child.once('error', (error) => reject(new Error(`${binary}: ${error.message}`)));
    child.once('close', (code, by) =>
      reject(
        new Error(`${binary}: it has ended: ${by ?? `exit code ${code}`}${words && `: ${words.trim()}`}`),
      ),
    );
  });
  ended.catch(() => undefined);
  const over = new AbortController();
  const late = clock.sleep(deadline_ms, AbortSignal.any([signal, over.signal])).then((): never => {
    throw new Error(`${binary}: not tried within ${deadline_ms} ms`);
  });
  late.catch(() => undefined);
  try {
    if (child.pid !== undefined) stepBack(child.pid);
    const socket = join(directory, 'cli.sock');
    await Promise.race([untilItAnswers(socket, clock, over.signal), ended, late]);
    return await Promise.race([tryDoors((command) => ask(socket, command)), ended, late]);
  } finally {
    over.abort();
    child.kill('SIGKILL');
    await ended.catch(() => undefined);
    removeTrial(segments);
  }
}

/** Where the VPP of this node has its plugins: a mended one is named there. */
function pluginPaths(template: string): string[] {
  const words = wordsIn(template, 'plugins');
  return words.flatMap((word, at) => {
    const [path, is_path] = [words[at + 1], word === 'path' || word === 'add-path'];
    return is_path && path !== undefined ? [`${word} ${path}`] : [];
  });
}

/** Whoever forwards packets goes before. */
function stepBack(pid: number): void {
  try {
    setPriority(pid, constants.priority.PRIORITY_LOW);
  } catch {
    // It is a second.
  }
}

async function untilItAnswers(socket: string, clock: Clock, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    try {
      await ask(socket, 'show version');
      return;
    } catch {
      await clock.sleep(start_look_ms);
    }
  }
}

async function ask(socket: string, command: string): Promise<string> {
  const output: Buffer[] = [];
  await runVppCommands(socket, [command], (piece) => output.push(piece), silent_ms);
  return Buffer.concat(output).toString();
}
