import { strict as assert } from 'node:assert';
import type { Fault } from './fault-lab.js';

export const fault: Fault = {
  name: 'vpp-keeps-crashing',
  what: 'VPP is killed more often than its budget allows: the node gives up, Linux has its network back, a new life works',
  by_itself: true,
  node: { environment: { CALICOVPP_VPP_RESTARTS: '1' } },
  async run(lab) {
    const { node } = lab;
    await lab.begin();
    // Each level above has a budget of its own before the last one ends the process.
    let over = false;
    const ended = node.exited.finally(() => {
      over = true;
    });
    let pid = node.vppPid();
    while (!over && pid !== undefined) {
      process.kill(pid, 'SIGKILL');
      const old = pid;
      pid = await Promise.race([ended.then(() => undefined), node.untilOtherVpp(old, 60_000)]);
    }
    assert.deepEqual(await ended, { code: 1, signal: null }, 'the node exits with 1');
    await lab.isLinuxAgain();
    await node.restart();
    await lab.settled();
    await lab.end();
    return undefined;
  },
};
