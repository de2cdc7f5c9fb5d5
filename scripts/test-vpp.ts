/** Runs the tests that need a real VPP. Fails where there is none: silence would look like success. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { findRealVpp } from '../lab/real-vpp.js';

const vpp = findRealVpp();
if (!vpp.usable) {
  process.stderr.write(`test:vpp needs a real VPP: ${vpp.why}\n`);
  process.exit(1);
}
const directory = 'out/test/vpp';
const files = [
  ...readdirSync(directory)
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => join(directory, name)),
  // Of those that compare with others these need a VPP, and nothing else that may be missing.
  'out/test/conformance/services.test.js',
  'out/test/conformance/wire.test.js',
  'packages/vpp-binapi-ts/dist/test/live.test.js',
];
// One at a time: each starts a VPP of its own, and two polling VPPs on two cores are not what is to be tested.
const { status } = spawnSync(
  process.execPath,
  ['out/scripts/test.js', '--jobs=1', '--timeout=1200', ...files, ...process.argv.slice(2)],
  {
    stdio: 'inherit',
  },
);
process.exit(status ?? 1);
