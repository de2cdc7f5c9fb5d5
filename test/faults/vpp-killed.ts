import type { Fault } from './fault-lab.js';

export const fault: Fault = {
  name: 'vpp-killed',
  what: 'VPP is killed while idle: the host is back on Linux at once, then on a new VPP with all pods',
  run: (lab) =>
    lab.watching(async () => {
      const old = lab.node.vppPid()!;
      process.kill(old, 'SIGKILL');
      await lab.node.untilOtherVpp(old);
      await lab.node.untilReady();
    }),
};
