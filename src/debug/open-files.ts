/** How many files a process has open. VPP keeps one for each memif, and each application namespace, that a pod has had (docs/vpp-notes.md). */
import { readdirSync, readFileSync } from 'node:fs';

export interface OpenFiles {
  readonly open: number;
  /** It gets no more of them. */
  readonly max: number;
}

/** Of the process with this pid; undefined: there is none, or the kernel does not tell. */
export function openFiles(pid: number): OpenFiles | undefined {
  try {
    const open = readdirSync(`/proc/${pid}/fd`).length;
    const max = maxOpenFiles(readFileSync(`/proc/${pid}/limits`, 'utf8'));
    return max === undefined ? undefined : { open, max };
  } catch {
    return undefined;
  }
}

/** In the text of `/proc/<pid>/limits`: the soft limit, which the kernel holds a process to. */
export function maxOpenFiles(limits: string): number | undefined {
  const [, soft] = /^Max open files\s+(\d+|unlimited)\s/m.exec(limits) ?? [];
  if (soft === undefined) return undefined;
  return soft === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(soft);
}
