/** Builds a real API server and runs the tests that need it. Fails where it cannot be built: silence would look like success. */
import { spawnSync } from 'node:child_process';
import { buildRealApiServer, findRealApiServer } from '../lab/k8s/real-apiserver.js';

process.env.API_SERVER_BIN ??= buildRealApiServer();
const programs = findRealApiServer();
if (typeof programs === 'string') {
  process.stderr.write(`test:apiserver ${programs}\n`);
  process.exit(1);
}
const file = 'out/test/k8s/real-apiserver.test.js';
const { status } = spawnSync(
  process.execPath,
  ['out/scripts/test.js', '--timeout=1200', file, ...process.argv.slice(2)],
  {
    stdio: 'inherit',
  },
);
process.exit(status ?? 1);
