/** Every fault once, on a real VPP. `npm run faults` repeats them, one or all. */
import t from 'tap';
import { canUseNetns } from '../../lab/netns.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { runFault } from '../faults/fault-lab.js';
import { faults } from '../faults/faults.js';

const vpp = findRealVpp();
const skip = vpp.usable ? canUseNetns() : vpp.why;

t.setTimeout(290_000);

for (const fault of faults) {
  t.test(`${fault.name}: ${fault.what}`, skip === undefined ? {} : { skip }, async (t) => {
    if (!vpp.usable) return;
    const gaps = await runFault(vpp, fault);
    if (gaps) t.comment(`host silent ${gaps.host_ms} ms, pods ${gaps.pods_ms} ms, ${gaps.lost} packets lost`);
    t.pass('the node has got over it');
  });
}
