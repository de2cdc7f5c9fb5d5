/** Steps of the node's work as they show outside of it, in order: a fault strikes at each of them. */

import { existsSync, readdirSync, readFileSync, rmSync, watch } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { patience } from '../../lab/patience.js';
import type { RunningNode } from '../../lab/running-node.js';
import type { Topology } from '../../lab/topology.js';
import type { Link } from '../../src/linux/network.js';

export interface Milestone {
  readonly name: string;
  /** Resolves as soon as it is reached, rejects after the deadline. */
  reached(node: RunningNode): Promise<void>;
}

const deadline_ms = 15_000 * patience;

/** Of a start, from the first file to readiness. */
export const start_milestones: readonly Milestone[] = [
  file('the start-up file of VPP is written', (node) => node.config.paths.startup_config),
  file('VPP is started', (node) => join(node.config.paths.run_dir, 'vpp-run.json')),
  file('the API socket of VPP is there', (node) => node.config.paths.api_socket),
  file('VPP is being prepared', registry),
  file('the journal has its first record', (node) => join(node.config.paths.state_dir, 'undo.journal')),
  link('the uplink has left Linux', 'node', (found) => found === undefined),
  link('the host tap is there', 'node', (found) => found?.kind === 'tun'),
  link('the host tap is up', 'node', (found) => found?.kind === 'tun' && found.up),
  file(
    'the node says that it is ready',
    (node) => node.config.paths.info_file,
    (text) => text.includes('"ready"'),
  ),
];

/** Of the connection of the first pod. */
export const add_milestones: readonly Milestone[] = [
  record('the pod is recorded as intended', 'intended'),
  link('the device is in the pod', 'p1', (found) => found?.kind === 'tun'),
  link('the device is up', 'p1', (found) => found?.up === true),
  record('the pod is recorded as done', 'done'),
];

function file(
  name: string,
  pathOf: (node: RunningNode) => string,
  holds: (text: string) => boolean = () => true,
): Milestone {
  return {
    name,
    reached: (node) => {
      const path = pathOf(node);
      return untilChanged(
        dirname(path),
        name,
        () => existsSync(path) && holdsNow(path, holds),
        basename(path),
      );
    },
  };
}

/** A socket cannot be read. */
function holdsNow(path: string, holds: (text: string) => boolean): boolean {
  try {
    return holds(readFileSync(path, 'utf8'));
  } catch {
    return existsSync(path);
  }
}

function record(name: string, phase: string): Milestone {
  return {
    name,
    reached: (node) => {
      const directory = join(node.config.paths.run_dir, 'pods');
      return untilChanged(directory, name, () =>
        readdirSync(directory).some((each) =>
          readFileSync(join(directory, each), 'utf8').includes(`"${phase}"`),
        ),
      );
    },
  };
}

function untilChanged(directory: string, name: string, holds: () => boolean, only?: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      let now = false;
      try {
        now = holds();
      } catch {
        // Renamed or removed while it was read.
      }
      if (now) done(resolve);
    };
    const watcher = watch(directory, (_event, changed) => {
      if (only === undefined || changed === null || changed === only) look();
    });
    const late = setTimeout(() => done(() => reject(new Error(`never: ${name}`))), deadline_ms);
    function done(run: () => void): void {
      clearTimeout(late);
      watcher.close();
      run();
    }
    look();
  });
}

function link(name: string, namespace: string, holds: (found: Link | undefined) => boolean): Milestone {
  return { name, reached: ({ topology }) => untilLink(topology, namespace, name, holds) };
}

/** Waits until the device `eth0` of a namespace is as wanted. */
export function untilLink(
  topology: Topology,
  name: string,
  what: string,
  holds: (found: Link | undefined) => boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const namespace = topology.lab.host.open(topology.lab.namespace(name));
    const look = (): void => {
      if (holds(namespace.link('eth0'))) done(resolve);
    };
    const watching = namespace.watch(['link'], look);
    const late = setTimeout(() => done(() => reject(new Error(`never: ${what}`))), deadline_ms);
    let over = false;
    function done(run: () => void): void {
      if (over) return;
      over = true;
      clearTimeout(late);
      watching.close();
      namespace.close();
      run();
    }
    look();
  });
}

/** What VPP shows to nobody is noted there, ahead of being programmed. */
function registry({ config: { paths } }: RunningNode): string {
  return join(paths.run_dir, 'vpp-objects.jsonl');
}

/** Removes the files of an earlier life, whose VPP has ended, by which a start is followed. */
export function forgetMilestones(node: RunningNode): void {
  const { startup_config, info_file } = node.config.paths;
  for (const path of [startup_config, info_file, registry(node)]) rmSync(path, { force: true });
}
