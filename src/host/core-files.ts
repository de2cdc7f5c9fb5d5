/**
 * Where VPP's core files go, and that they do not fill the disk. The kernel's core pattern is one for the whole machine: what
 * it was is recorded before it is changed, and comes back when the node stops.
 */
import { readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { readIfExists } from './files.js';
import type { UndoStep } from './undo/undo-step.js';

const pattern_path = '/proc/sys/kernel/core_pattern';
/** The newest ones: the first crash and the last usually tell the story. */
const kept_max = 2;

interface Journal {
  pending(): readonly UndoStep[];
  record(steps: readonly UndoStep[]): void;
}

/** Sets the pattern. Throws when its undo cannot be recorded or the kernel refuses it; nothing is changed then. */
export function setCorePattern(pattern: string, journal: Journal, path = pattern_path): void {
  const before = readIfExists(path)?.trim();
  if (before === undefined || before === pattern) return;
  if (journal.pending().length === 0) journal.record([{ kind: 'write_kernel_file', path, value: before }]);
  writeFileSync(path, `${pattern}\n`, { flag: 'r+' });
}

/** Removes all core files of that pattern but the newest; answers the names of those removed. */
export function pruneCoreFiles(pattern: string): readonly string[] {
  const directory = dirname(pattern);
  const prefix = basename(pattern).split('%')[0] ?? '';
  if (prefix === '' || !pattern.startsWith('/')) return [];
  const cores = namesIn(directory)
    .filter((name) => name.startsWith(prefix))
    .map((name) => ({ name, at: statSync(join(directory, name)).mtimeMs }))
    .sort((a, b) => b.at - a.at);
  const superfluous = cores.slice(kept_max).map(({ name }) => name);
  for (const name of superfluous) rmSync(join(directory, name), { force: true });
  return superfluous;
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
