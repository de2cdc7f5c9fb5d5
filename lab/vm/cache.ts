/** What takes long to make and is the same until what it is made of changes: kept in a directory of the user. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** A directory for images, which outlives reboots and may be removed at any time. */
export function cacheDirectory(env: NodeJS.ProcessEnv = process.env): string {
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'calico-vpp-node', 'vm');
}

/** Another run may be at it. */
const in_use_ms = 6 * 3600 * 1000;

/**
 * A directory with what `make` puts there, named by a hash of what it is made of. Made elsewhere and renamed into place: half of
 * it is never taken for the whole. What nobody has used for a while is removed.
 */
export async function cached(
  name: string,
  made_of: readonly string[],
  make: (directory: string) => void | Promise<void>,
): Promise<string> {
  const cache = cacheDirectory();
  const hash = createHash('sha256').update(made_of.join('\n')).digest('hex').slice(0, 12);
  const directory = join(cache, `${name}-${hash}`);
  if (existsSync(directory)) {
    utimesSync(directory, new Date(), new Date());
    return directory;
  }
  mkdirSync(cache, { recursive: true });
  const scratch = mkdtempSync(join(cache, `making-${name}-`));
  const old = readdirSync(cache)
    .filter((entry) => entry.startsWith(`${name}-`))
    .filter((entry) => Date.now() - statSync(join(cache, entry)).mtimeMs > in_use_ms);
  try {
    await make(join(scratch, 'made'));
    // Another run may have made the same meanwhile.
    if (!existsSync(directory)) renameSync(join(scratch, 'made'), directory);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  for (const entry of old) rmSync(join(cache, entry), { recursive: true, force: true });
  return directory;
}

/** Runs a tool with little priority. Throws with what it said last. */
export function tool(...argv: readonly string[]): string {
  const { error, status, stdout, stderr } = spawnSync('nice', ['-n', '5', ...argv], {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  if (error) throw new Error(`${argv[0]} cannot be started: ${error.message}`);
  if (status !== 0) {
    const last = stderr.trim().split('\n').slice(-5).join('\n');
    throw new Error(`${argv.slice(0, 4).join(' ')} … ended with status ${status}: ${last}`);
  }
  return stdout;
}
