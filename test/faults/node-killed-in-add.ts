import { strict as assert } from 'node:assert';
import type { Fault } from './fault-lab.js';
import { add_milestones } from './milestones.js';

export const fault: Fault = {
  name: 'node-killed-in-add',
  what: 'the node process is killed at each step of an ADD: the repeated ADD works, a DEL in its place leaves nothing',
  async run(lab) {
    const { node } = lab;
    const [p1] = lab.pods;
    await node.del(p1);
    for (const then of ['del', 'add'] as const) {
      for (const { reached } of add_milestones) {
        const adding = node.add(p1).catch(() => undefined);
        await reached(node);
        await node.kill('SIGKILL');
        await adding;
        await node.restart();
        assert.deepEqual(await node.differences(), [], 'a node that is ready has dealt with what it found');
        await node[then](p1);
        await node.untilConverged();
        if (then === 'add') {
          await lab.connected();
          await node.del(p1);
        }
      }
    }
    await node.add(p1);
    return undefined;
  },
};
