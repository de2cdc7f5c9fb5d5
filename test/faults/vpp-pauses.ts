import { strict as assert } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from './fault-lab.js';

/** Less than the deadline of the probe. */
const pause_ms = 1200;

export const fault: Fault = {
  name: 'vpp-pauses',
  what: 'VPP answers nothing for 1.2 s: calls wait, nothing is restarted',
  run: (lab) =>
    lab.watching(async () => {
      const { node } = lab;
      const [p1] = lab.pods;
      const pid = node.vppPid()!;
      await node.del(p1);
      process.kill(pid, 'SIGSTOP');
      const adding = node.add(p1);
      await sleep(pause_ms);
      process.kill(pid, 'SIGCONT');
      await adding;
      assert.equal(node.vppPid(), pid, 'the same VPP');
    }),
};
