import type { Fault } from './fault-lab.js';

export const fault: Fault = {
  name: 'vpp-crashes-five-times',
  what: 'VPP is killed five times, as soon as it runs or as soon as the node is ready: the sixth one serves',
  run: (lab) =>
    lab.watching(async () => {
      let pid = lab.node.vppPid()!;
      for (let crash = 1; crash <= 5; crash++) {
        if (crash % 2 === 0) await lab.node.untilReady();
        process.kill(pid, 'SIGKILL');
        pid = await lab.node.untilOtherVpp(pid);
      }
      await lab.node.untilReady();
    }),
};
