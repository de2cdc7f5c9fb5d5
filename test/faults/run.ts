/** `run.js [NAME …] [--times N]`: makes faults happen to a node on a real VPP and tells how it gets over them. */
import { parseArgs } from 'node:util';
import { canUseNetns } from '../../lab/netns.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { runFault } from './fault-lab.js';
import { faults } from './faults.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { times: { type: 'string', default: '1' }, list: { type: 'boolean', default: false } },
});

function chosen() {
  const unknown = positionals.filter((name) => !faults.some((fault) => fault.name === name));
  if (unknown.length > 0)
    throw new Error(
      `no fault is called ${unknown.join(', ')}; there are ${faults.map(({ name }) => name).join(', ')}`,
    );
  return positionals.length === 0 ? faults : faults.filter(({ name }) => positionals.includes(name));
}

async function main(): Promise<number> {
  const selected = chosen();
  if (values.list) {
    for (const { name, what } of selected) console.log(`${name.padEnd(26)}${what}`);
    return 0;
  }
  const vpp = findRealVpp();
  const why_not = vpp.usable ? canUseNetns() : vpp.why;
  if (!vpp.usable || why_not !== undefined) {
    console.error(`faults need a real VPP and network namespaces: ${why_not}`);
    return 1;
  }
  let failed = 0;
  for (let time = 1; time <= Number(values.times); time++) {
    for (const fault of selected) {
      const began = performance.now();
      const seconds = () => `${((performance.now() - began) / 1000).toFixed(1).padStart(5)} s`;
      try {
        const gaps = await runFault(vpp, fault);
        const told = gaps
          ? `host silent ${gaps.host_ms} ms, pods ${gaps.pods_ms} ms, ${gaps.lost} packets lost`
          : '';
        console.log(`PASS ${fault.name.padEnd(26)}${seconds()}  ${told}`);
      } catch (error) {
        failed += 1;
        console.log(`FAIL ${fault.name.padEnd(26)}${seconds()}  ${(error as Error).message}`);
      }
    }
  }
  console.log(failed === 0 ? 'all passed' : `${failed} failed`);
  return failed === 0 ? 0 : 1;
}

process.exit(await main());
