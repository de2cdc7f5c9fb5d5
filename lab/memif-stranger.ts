/** A program at a memif that means no good (memif-stranger.c), built once with cc. */
import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Topology } from './topology.js';

/** The directory that compiled files go to: this one is <out>/lab/memif-stranger.js. */
const out_dir = fileURLToPath(new URL('..', import.meta.url));
const source = fileURLToPath(new URL('../../lab/memif-stranger.c', import.meta.url));

export type Mischief = 'close' | 'hello' | 'garbage' | 'introduce' | 'queues' | 'nowhere';

/** Where the program is, or why it is not. */
export function findStranger(): { readonly path: string } | { readonly why: string } {
  const path = join(out_dir, 'memif-stranger');
  if (existsSync(path) && statSync(path).mtimeMs >= statSync(source).mtimeMs) return { path };
  mkdirSync(out_dir, { recursive: true });
  const built = `${path}.${process.pid}`;
  const { error, status, stderr } = spawnSync('cc', ['-O1', '-o', built, source], { encoding: 'utf8' });
  if (error) return { why: `cc cannot be started: ${error.message}` };
  if (status !== 0) return { why: `cc failed: ${stderr.trim()}` };
  renameSync(built, path);
  return { path };
}

/** Has the name of the socket in this namespace, until it is ended. */
export async function squat(
  topology: Topology,
  stranger: { readonly path: string },
  name: string,
): Promise<ChildProcess> {
  const child = topology.spawn(name, [stranger.path, 'squat', '1'], { stdio: ['ignore', 'pipe', 'ignore'] });
  await once(child.stdout!, 'data');
  return child;
}

/** Does it so many times in this namespace. Answers what it wrote: a line for each message that VPP refused. */
export function molest(
  topology: Topology,
  stranger: { readonly path: string },
  name: string,
  what: Mischief,
  times = 1,
): string[] {
  const text = topology.lab.run(name, stranger.path, what, String(times));
  return text.split('\n').filter((line) => line !== '');
}
