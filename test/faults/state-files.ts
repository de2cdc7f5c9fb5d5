/** A file of the node's state is damaged while it does not run. One fault for each file. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunningNode } from '../../lab/running-node.js';
import type { Fault } from './fault-lab.js';

/** What can have become of a file. */
const damages: Readonly<Record<string, (text: string) => string>> = {
  cut: (text) => text.slice(0, text.length / 2),
  empty: () => '',
  foreign: () => '{"hello":"world"}\n',
  older: (text) => text.replace(/"version": ?\d+/, '"version":0'),
};

interface StateFile {
  readonly name: string;
  path(node: RunningNode): string;
  /** Linux gets its network back with its help. */
  readonly undoes?: true;
}

const files: readonly StateFile[] = [
  { name: 'undo.journal', path: ({ config }) => join(config.paths.state_dir, 'undo.journal'), undoes: true },
  { name: 'uplinks.json', path: ({ config }) => join(config.paths.state_dir, 'uplinks.json'), undoes: true },
  { name: 'vpp-run.json', path: ({ config }) => join(config.paths.run_dir, 'vpp-run.json') },
  { name: 'pod-record', path: ({ config }) => recordOf('p1', join(config.paths.run_dir, 'pods')) },
];

function recordOf(pod: string, directory: string): string {
  const records = readdirSync(directory).map((name) => join(directory, name));
  return records.find((path) => readFileSync(path, 'utf8').includes(`"${pod}"`))!;
}

export const faults: readonly Fault[] = files.map(({ name, path, undoes }) => ({
  name: `state-${name.replace('.', '-')}`,
  what: `${name} is cut, empty, foreign or of an older version when the node starts again: it serves, and gives Linux back`,
  async run(lab) {
    const { node } = lab;
    for (const damage of Object.values(damages)) {
      await node.kill('SIGKILL');
      const file = path(node);
      writeFileSync(file, damage(readFileSync(file, 'utf8')));
      await node.restart();
      // What the runtime does for a pod that is not there any more, and may do for every other one.
      for (const pod of lab.pods) await node.add(pod);
      await lab.settled();
      if (!undoes) continue;
      await lab.end();
      await node.restart();
    }
    return undefined;
  },
}));
