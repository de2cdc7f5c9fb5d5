import { strict as assert } from 'node:assert';
import type { Fault } from './fault-lab.js';

/** From the last answer of VPP to the probe's deadline, and a probe's interval. */
const noticed_ms_max = 3000;

export const fault: Fault = {
  name: 'vpp-stopped',
  what: 'VPP stops without dying (SIGSTOP): it is noticed within 3 s and killed, and the next one serves',
  run: (lab) =>
    lab.watching(async () => {
      const old = lab.node.vppPid()!;
      process.kill(old, 'SIGSTOP');
      const noticed_ms = await lab.node.untilOtherVpp(old);
      assert.ok(noticed_ms <= noticed_ms_max, `replaced after ${noticed_ms} ms`);
      await lab.node.untilReady();
    }),
};
