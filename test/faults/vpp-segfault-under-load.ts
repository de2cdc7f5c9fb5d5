import { strict as assert } from 'node:assert';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from './fault-lab.js';

const load_bytes = 2_000_000_000;

export const fault: Fault = {
  name: 'vpp-segfault-under-load',
  what: 'VPP dies of a segmentation fault while TCP fills it: the transfer goes on through the next VPP',
  async run(lab) {
    const { node, traffic, topology } = lab;
    const load = traffic.tcp('p1', 'outside', topology.outside.ip4!, {
      bytes: load_bytes,
      deadline_ms: 50_000,
    });
    const gaps = await lab.watching(async () => {
      await sleep(300);
      const old = node.vppPid()!;
      process.kill(old, 'SIGSEGV');
      await node.untilOtherVpp(old);
      await node.untilReady();
    });
    const transfer = await load;
    assert.ok(transfer.whole, `the transfer ended whole: ${transfer.error}`);
    return gaps;
  },
};
