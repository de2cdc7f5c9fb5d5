import type { Fault } from './fault-lab.js';
import { forgetMilestones, start_milestones } from './milestones.js';

export const fault: Fault = {
  name: 'node-killed-in-start',
  what: 'the node process is killed at each step of its start: `restore` gives Linux its network back, or the next life goes on',
  by_itself: true,
  async run(lab) {
    const { node } = lab;
    for (const [at, { reached }] of start_milestones.entries()) {
      forgetMilestones(node);
      node.launch();
      await reached(node);
      await node.kill('SIGKILL');
      if (at % 2 === 0) node.restore();
      else {
        await node.restart();
        await node.untilConverged();
        await node.stop();
      }
      await lab.isLinuxAgain();
    }
    return undefined;
  },
};
