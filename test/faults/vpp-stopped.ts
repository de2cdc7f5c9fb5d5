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
      await lab.node.untilOtherVpp(old, noticed_ms_max);
      await lab.node.untilReady();
    }),
};
