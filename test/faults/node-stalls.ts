import { strict as assert } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from './fault-lab.js';

const stall_ms = 5000;

export const fault: Fault = {
  name: 'node-stalls',
  what: 'the node process stands still for 5 s: VPP forwards on and is not taken for dead afterwards',
  async run(lab) {
    const { node } = lab;
    const vpp = node.vppPid();
    const gaps = await lab.watching(async () => {
      process.kill(node.pid, 'SIGSTOP');
      await sleep(stall_ms);
      process.kill(node.pid, 'SIGCONT');
      await node.untilReady();
    });
    assert.equal(node.vppPid(), vpp, 'the same VPP');
    assert.equal(gaps.lost, 0, 'no packet is lost');
    return gaps;
  },
};
