/** Runs the tests that need a real gobgpd and real routers. Fails where there is none: silence would look like success. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gobgpds } from '../test/conformance/bgp-node.js';
import { program } from '../test/conformance/routers.js';

const missing = [
  (await gobgpds()).length === 0 && 'gobgpd',
  program('bird') === undefined && 'bird2',
  program('bgpd') === undefined && 'frr',
].filter((name) => name !== false);
if (missing.length > 0) {
  process.stderr.write(`test:bgp needs ${missing.join(', ')}: apt-get install ${missing.join(' ')}\n`);
  process.exit(1);
}
const directory = 'out/test/conformance';
const files = [
  ...readdirSync(directory)
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => join(directory, name)),
  'packages/gobgp-grpc-stubs/dist/test/live.test.js',
];
// One at a time: what is measured are times.
const { status } = spawnSync(
  process.execPath,
  ['out/scripts/test.js', '--jobs=1', '--timeout=1200', ...files, ...process.argv.slice(2)],
  { stdio: 'inherit', env: { ...process.env, BGP_TESTS: '1' } },
);
process.exit(status ?? 1);
