import t from 'tap';
import { canUseNetns } from '../../lab/netns.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { type Fault, runFault } from './fault-lab.js';

/** Each fault once, as a test of its own. Skipped where there is no real VPP. */
export function testOnce(faults: readonly Fault[]): void {
  const vpp = findRealVpp();
  const lack = vpp.usable ? canUseNetns() : vpp.why;
  t.setTimeout(290_000);
  for (const fault of faults) {
    const skip = lack ?? fault.skip;
    t.test(`${fault.name}: ${fault.what}`, skip === undefined ? {} : { skip }, async (t) => {
      if (!vpp.usable) return;
      const gaps = await runFault(vpp, fault);
      if (gaps)
        t.comment(`host silent ${gaps.host_ms} ms, pods ${gaps.pods_ms} ms, ${gaps.lost} packets lost`);
      t.pass('the node has got over it');
    });
  }
}
