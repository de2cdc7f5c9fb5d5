import { strict as assert } from 'node:assert';
import type { Fault } from './fault-lab.js';
import { forgetMilestones, start_milestones } from './milestones.js';

export const fault: Fault = {
  name: 'node-stopped-in-start',
  what: 'SIGTERM at each step of the start: the node ends well and Linux has its network back',
  by_itself: true,
  async run(lab) {
    const { node } = lab;
    for (const { name, reached } of start_milestones) {
      forgetMilestones(node);
      node.launch();
      await reached(node);
      assert.deepEqual(await node.stop(), { code: 0, signal: null }, `stopped when ${name}`);
      await lab.isLinuxAgain();
    }
    return undefined;
  },
};
