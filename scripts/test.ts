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
import { Failures } from './failures.js';

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

/** Seconds that a file has, as it knows itself: it names the test that was under way. One that is stuck is ended a little later. */
const timeout_s = config.get('timeout') ?? 600;
const grace_s = 15;

/** Files under way end with their runner, as `tap run` has it. */
const running = new Set<ChildProcess>();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    for (const child of running) child.kill(signal);
    process.kill(process.pid, signal);
  });
}

/** Milliseconds of each file that has run. */
const took = new Map<string, number>();
/** What is known of those that have not come to their end. */
const unfinished = new Map<string, Failures>(files.map((file) => [file, new Failures()]));

function fail(file: string, failures: Failures): void {
  process.exitCode = 1;
  process.stderr.write([`FAIL ${file}`, ...failures.shown(), '\n'].join('\n'));
}

process.once('exit', () => {
  const slowest = [...took].sort(([, a], [, b]) => b - a).slice(0, 10);
  process.stderr.write(
    `# longest, in seconds: ${slowest.map(([file, ms]) => `${file} ${Math.round(ms / 1000)}`).join(', ')}\n`,
  );
  for (const [file, failures] of unfinished) fail(file, failures);
});

t.on('spawn', (file) =>
  file.on('process', (child: ChildProcess) => {
    running.add(child);
    const start = performance.now();
    child.once('close', () => {
      running.delete(child);
      took.set(file.name, performance.now() - start);
    });
    // What it started and left behind may hold its output open for ever.
    child.once('exit', () => setTimeout(() => child.stdout?.destroy(), 2000).unref());
    const failures = unfinished.get(file.name);
    child.stdout?.setEncoding('utf8').on('data', (text: string) => failures?.read(text));
  }),
);
for (const file of files) {
  // tap puts its reader of coverage into NODE_OPTIONS of what it starts.
  const command = [
    `NODE_OPTIONS=${process.env.NODE_OPTIONS ?? ''}`,
    `TAP_TIMEOUT=${timeout_s}`,
    process.execPath,
    file,
  ];
  const run = t.spawn('env', command, {
    name: file,
    at: null,
    stack: '',
    buffered: t.jobs > 1,
    timeout: (timeout_s + grace_s) * 1000,
    stdio: reporter === 'tap' ? 'inherit' : 'pipe',
  });
  const ended = (): void => {
    const failures = unfinished.get(file);
    if (failures === undefined) return;
    unfinished.delete(file);
    if (run.subtest?.results?.ok !== true || !failures.planned) fail(file, failures);
  };
  run.then(ended, ended);
}
