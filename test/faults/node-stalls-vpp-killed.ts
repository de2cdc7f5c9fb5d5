import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from './fault-lab.js';

const stall_ms = 1000;

export const fault: Fault = {
  name: 'node-stalls-vpp-killed',
  what: 'VPP dies while the node process stands still for 1 s: all is mended once it moves again',
  run: (lab) =>
    lab.watching(async () => {
      const { node } = lab;
      const old = node.vppPid()!;
      process.kill(node.pid, 'SIGSTOP');
      process.kill(old, 'SIGKILL');
      await sleep(stall_ms);
      process.kill(node.pid, 'SIGCONT');
      await node.untilOtherVpp(old);
      await node.untilReady();
    }),
};
