import type { Fault } from './fault-lab.js';

export const fault: Fault = {
  name: 'node-and-vpp-killed',
  what: 'the node process and VPP are killed together: the next life gives Linux its network back, then takes over',
  run: (lab) =>
    lab.watching(async () => {
      const vpp = lab.node.vppPid()!;
      await lab.node.kill('SIGKILL');
      process.kill(vpp, 'SIGKILL');
      await lab.node.restart();
    }),
};
