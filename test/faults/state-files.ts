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

const files: Readonly<Record<string, (node: RunningNode) => string>> = {
  'undo.journal': (node) => join(node.config.paths.state_dir, 'undo.journal'),
  'uplinks.json': (node) => join(node.config.paths.state_dir, 'uplinks.json'),
  'vpp-run.json': (node) => join(node.config.paths.run_dir, 'vpp-run.json'),
  'pod-record': (node) => {
    const directory = join(node.config.paths.run_dir, 'pods');
    const file = readdirSync(directory).find((name) =>
      readFileSync(join(directory, name), 'utf8').includes('"p1"'),
    );
    return join(directory, file!);
  },
};

export const faults: readonly Fault[] = Object.entries(files).map(([name, pathOf]) => ({
  name: `state-${name.replace('.', '-')}`,
  what: `${name} is cut, empty, foreign or of an older version when the node starts again: it serves, and gives Linux back in the end`,
  async run(lab) {
    const { node } = lab;
    for (const damage of Object.values(damages)) {
      await node.kill('SIGKILL');
      const path = pathOf(node);
      writeFileSync(path, damage(readFileSync(path, 'utf8')));
      await node.restart();
      // What the runtime does for a pod that is not there any more, and may do for every other one.
      for (const pod of lab.pods) await node.add(pod);
      await lab.settled();
      await lab.end();
      await node.restart();
    }
    return undefined;
  },
}));
