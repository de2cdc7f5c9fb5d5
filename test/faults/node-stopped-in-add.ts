import { strict as assert } from 'node:assert';
import type { Fault } from './fault-lab.js';
import { add_milestones } from './milestones.js';

export const fault: Fault = {
  name: 'node-stopped-in-add',
  what: 'SIGTERM at each step of an ADD: Linux has its network back; the next life connects the pods again',
  async run(lab) {
    const { node } = lab;
    const [p1] = lab.pods;
    for (const { name, reached } of add_milestones) {
      await node.del(p1);
      const adding = node.add(p1).catch(() => undefined);
      await reached(node);
      assert.deepEqual(await node.stop(), { code: 0, signal: null }, `stopped when ${name}`);
      await adding;
      await lab.isLinuxAgain();
      await node.restart();
      await node.add(p1);
    }
    return undefined;
  },
};
