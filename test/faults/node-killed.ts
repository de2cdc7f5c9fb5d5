import { strict as assert } from 'node:assert';
import type { Fault } from './fault-lab.js';

export const fault: Fault = {
  name: 'node-killed',
  what: 'the node process is killed: VPP forwards on, the next life adopts it, no packet is lost',
  async run(lab) {
    const { node } = lab;
    const vpp = node.vppPid();
    const gaps = await lab.watching(async () => {
      await node.kill('SIGKILL');
      // How fast is measured by the benchmark `recovery`.
      await node.restart();
      await node.untilConverged();
    });
    assert.equal(node.vppPid(), vpp, 'the same VPP');
    assert.equal(gaps.lost, 0, 'no packet is lost');
    return gaps;
  },
};
