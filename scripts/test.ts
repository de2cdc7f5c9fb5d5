/**
 * Runs test files, all unless some are named, and has tap report on them. Options are tap's, and `.taprc` has their defaults:
 * `[--jobs=3] [--timeout=600] [--reporter=terse] [FILE …]`.
 *
 * `tap run` is not used for it: it loads what counts coverage and mocks modules into every process of a test, asked for or not, which
 * took a test file two to four times as much CPU time as it takes as the plain program that it is. `NODE_OPTIONS` reaches the files:
 * with --enable-source-maps a failure names the line of the source.
 */
import type { ChildProcess } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { TapConfig } from '@tapjs/config';
import { report } from '@tapjs/reporter';
import { t } from 'tap';

/** What takes longest begins first: at the end it would leave a CPU idle. */
const long = [
  'host/odd-hosts-killed-root',
  'host/odd-hosts-root',
  'vpp/routes',
  'debug/debug',
  'main-root',
].map((name) => `out/test/${name}.test.js`);

const tests = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => join(directory, name));

const config = await TapConfig.load();
const { positionals } = config.parse();
const packages = readdirSync('packages').map((name) => join('packages', name, 'dist/test'));
const all = new Set([...long, ...['out/test', ...packages].flatMap(tests)]);
const files = positionals.length > 0 ? positionals : [...all];

t.setTimeout(0);
t.jobs = config.get('jobs') ?? 1;
const reporter = config.get('reporter') ?? 'tap';
if (reporter !== 'tap') {
  await report(reporter, t, config);
}
t.plan(files.length);

/** Files under way end with their runner, as `tap run` has it. */
const running = new Set<ChildProcess>();
t.on('spawn', (file) =>
  file.on('process', (child: ChildProcess) => {
    running.add(child);
    child.once('close', () => running.delete(child));
  }),
);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    for (const child of running) child.kill(signal);
    process.kill(process.pid, signal);
  });
}

/** What no reporter shows, as a line `not ok` that a program of a test has written, is named at least by its file. */
process.once('exit', () => {
  for (const [file, run] of runs)
    if (run.subtest?.results?.ok !== true) process.stderr.write(`FAIL ${file}\n`);
});
const runs = new Map<string, ReturnType<typeof t.spawn>>();
for (const file of files) {
  // tap puts its reader of coverage into NODE_OPTIONS of what it starts.
  const command = [`NODE_OPTIONS=${process.env.NODE_OPTIONS ?? ''}`, process.execPath, file];
  const run = t.spawn('env', command, {
    name: file,
    at: null,
    stack: '',
    buffered: t.jobs > 1,
    timeout: (config.get('timeout') ?? 30) * 1000,
    stdio: reporter === 'tap' ? 'inherit' : 'pipe',
  });
  runs.set(file, run);
}
