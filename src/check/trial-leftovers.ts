/**
 * What a VPP that doors were tried on leaves behind where nobody was there to remove it: a directory, and segments of memory of the same name. The name
 * says whose they are, so that the next trial removes those of the dead, and nothing of one that goes on beside it.
 */
import { lstatSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HOST_ROOTS, processRunningAs, processStartTime } from '../host/devices/sysfs.js';

const marker = 'calico-vpp-doors';
/** Namespace of process numbers, number, start time in clock ticks since boot. */
const name_form = new RegExp(`^${marker}-(\\d+)-(\\d+)-(\\d+)-\\w+`);
/** What VPP makes in /dev/shm, behind the prefix. */
const segments_of = ['global_vm', 'vpe-api'];

export const startup_name = 'startup.conf';

export interface TrialRoots {
  readonly directories: string;
  readonly segments: string;
  readonly proc: string;
}

export const trialRoots = (): TrialRoots => ({
  directories: tmpdir(),
  segments: '/dev/shm',
  proc: HOST_ROOTS.proc,
});

/** What names of this process's trials begin with. */
export function ownTrialPrefix({ proc }: TrialRoots = trialRoots(), pid: number = process.pid): string {
  return `${marker}-${pidNamespace(proc)}-${pid}-${startTime(pid, proc) ?? 0}-`;
}

/** Of one trial, whose VPP is dead. */
export function removeTrial(name: string, roots: TrialRoots = trialRoots()): void {
  const segments = segments_of.map((segment) => join(roots.segments, `${name}-${segment}`));
  for (const left of [join(roots.directories, name), ...segments])
    rmSync(left, { recursive: true, force: true });
}

/**
 * Removes what is left of trials of dead processes, and answers their names. What cannot be read or removed stays: it costs a little disk and memory, and is no
 * reason not to try.
 */
export function sweepTrials(roots: TrialRoots = trialRoots()): readonly string[] {
  const there = [...entries(roots.directories), ...entries(roots.segments)];
  const names = new Set(there.flatMap((entry) => name_form.exec(entry)?.[0] ?? []));
  return [...names].filter((name) => {
    try {
      const is_dead = isDead(name, roots);
      if (is_dead) removeTrial(name, roots);
      return is_dead;
    } catch {
      return false;
    }
  });
}

/** A process of another namespace cannot be seen from here, so that nobody knows of it. Another user's name may say anything. */
function isDead(name: string, roots: TrialRoots): boolean {
  const [, namespace, pid, start_time] = name_form.exec(name)!;
  if (namespace !== pidNamespace(roots.proc)) return false;
  if (startTime(Number(pid), roots.proc) === Number(start_time)) return false;
  const directory = join(roots.directories, name);
  // A VPP ends when its starter has, which takes it a moment.
  if (
    processRunningAs(['-c', join(directory, startup_name)], { ...HOST_ROOTS, proc: roots.proc }) !== undefined
  )
    return false;
  return (lstatSync(directory, { throwIfNoEntry: false })?.uid ?? process.getuid?.()) === process.getuid?.();
}

const startTime = (pid: number, proc: string): number | undefined =>
  processStartTime(pid, { ...HOST_ROOTS, proc });

/** By its number: `pid:[4026531836]`. */
function pidNamespace(proc: string): string {
  return /\d+/.exec(readlinkSync(join(proc, 'self/ns/pid')))![0];
}

function entries(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
