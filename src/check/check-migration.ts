/** The part of the check for a node that changes over from the Go implementation: what of it is there, and what becomes of it. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { goStateFiles, importGoState } from '../cni/go-state.js';
import type { Config } from '../config.js';
import { HOST_ROOTS, type HostRoots, processesOf } from '../host/devices/sysfs.js';
import { readIfExists } from '../host/files.js';
import { type Finding, ok, warning } from './finding.js';

export interface GoFacts {
  /** Its programs that run, as far as this process may see those of others. */
  readonly processes: readonly { readonly pid: number; readonly name: string }[];
  /** Its newest state file, as `run` would read it. Absent, too, where this product has pods of its own on the node: it was read then. */
  readonly state?: { readonly path: string; readonly text: string };
}

const programs: readonly string[] = ['vpp-manager', 'calico-vpp-agent'];
/** Of the problems of its state file, which names each pod. */
const problems_shown = 20;

export function gatherGoFacts({ paths }: Pick<Config, 'paths'>, roots: HostRoots = HOST_ROOTS): GoFacts {
  const processes = processesOf(programs, roots);
  if (hasRecords(join(paths.run_dir, 'pods'))) return { processes };
  for (const path of goStateFiles(paths.run_dir)) {
    const text = readIfExists(path);
    if (text !== undefined) return { processes, state: { path, text } };
  }
  return { processes };
}

function hasRecords(directory: string): boolean {
  try {
    return readdirSync(directory).length > 0;
  } catch {
    return false;
  }
}

export function goFindings({ processes, state }: GoFacts): Finding[] {
  const running = processes.map(({ pid, name }) =>
    warning(
      name,
      `of the Go implementation runs (process ${pid})`,
      'it has the uplink, in whose place there is a tap of its own: what is said of the uplink here is said of that',
      'take its DaemonSet off this node, wait until the uplink is back, and check again',
    ),
  );
  if (state === undefined) return running;
  const { specs, problems } = importGoState(state.text);
  const lost = problems
    .slice(0, problems_shown)
    .map((problem) =>
      warning(
        state.path,
        problem,
        'what this state file of the Go implementation has of its pods is taken over as far as it can be read',
        're-create the pods that are named, once this node runs',
      ),
    );
  const more = problems.length - lost.length;
  return [
    ...running,
    ok(
      state.path,
      `has ${specs.length} pod(s) of the Go implementation that are taken over with their addresses, where they still run`,
    ),
    ...lost,
    ...(more > 0
      ? [
          warning(
            state.path,
            `has ${more} problem(s) more`,
            'only the first are shown',
            'see the log of the start',
          ),
        ]
      : []),
  ];
}
