/** A shell script stands in for gobgpd: what is looked at is how a process is started, found again and ended. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  createGobgpdLauncher,
  type GobgpdLauncher,
  type GobgpdRun,
  versionOf,
} from '../../src/bgp/launcher.js';
import { listensAt, processRunningAs, processStartTime } from '../../src/host/devices/sysfs.js';
import { watchExit } from '../../src/host/process-exit.js';
import { KeptLog } from '../kit/actor-kit.js';

const never = new AbortController().signal;

function lab(t: Test, script = 'exec sleep 1000') {
  // The path of a socket has 108 bytes.
  const directory = mkdtempSync(join(tmpdir(), 'gobgpd-'));
  const binary = join(directory, 'gobgpd');
  const write = (text: string) => {
    writeFileSync(binary, text);
    chmodSync(binary, 0o700);
  };
  write(`#!/bin/sh\nif [ "$1" = --version ]; then echo gobgpd version 3.10.0; exit; fi\n${script}\n`);
  const started: GobgpdRun[] = [];
  // Nobody waits for a gobgpd to end, so that nothing else keeps this process.
  const kept = setInterval(() => undefined, 1000);
  t.teardown(async () => {
    for (const { pid, exited } of started) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
      await exited;
    }
    clearInterval(kept);
    rmSync(directory, { recursive: true, force: true });
  });
  const processes = {
    boot_id: 'boot',
    startTime: (pid: number) => processStartTime(pid)?.toString(),
    runningAs: (words: readonly string[]) => processRunningAs(words),
    watchExit: (pid: number, ended: () => void) => void watchExit(pid, ended),
    isListening: (path: string) => listensAt(path),
  };
  const settings = {
    binary,
    api_socket: join(directory, 'api', 'gobgp.sock'),
    log_level: 'info',
    record: join(directory, 'run', 'gobgpd-run.json'),
    output: join(directory, 'run', 'gobgpd.log'),
  };
  const launcher = (more: Partial<typeof processes> = {}): GobgpdLauncher =>
    createGobgpdLauncher(settings, { ...processes, ...more }, new KeptLog());
  const start = async (by = launcher(), signal = never) => {
    const run = await by.start(signal);
    started.push(run);
    return run;
  };
  return { directory, settings, launcher, start, write };
}

t.test('a gobgpd is started, found again by its record, and ended', async (t) => {
  const { launcher, start, settings } = lab(t);
  const run = await start();
  t.match(run, { version: 'gobgpd version 3.10.0', adopted: false, succeeds: false });
  const later = launcher();
  const adopted = (await later.adopt())!;
  t.match(adopted, { pid: run.pid, adopted: true, version: run.version });
  later.end(adopted);
  t.match((await run.exited).reason, /SIGKILL/);
  await adopted.exited;
  later.buried(adopted);
  t.equal(await later.adopt(), undefined);
  t.match(JSON.parse(readFileSync(settings.record, 'utf8')), { dead: true });
  t.equal((await start(later)).succeeds, true);
});

t.test('it learns nothing of this process’s environment but what a program of Go is tuned by', async (t) => {
  process.env.CALICOVPP_IPSEC_IKEV2_PSK = 'hidden';
  process.env.GOMAXPROCS = '2';
  t.teardown(() => {
    delete process.env.CALICOVPP_IPSEC_IKEV2_PSK;
    delete process.env.GOMAXPROCS;
    delete process.env.GOGC;
  });
  const environment = async (): Promise<string> => {
    const { directory, start } = lab(t, 'env > "$(dirname "$0")/environment"');
    await (await start()).exited;
    return readFileSync(join(directory, 'environment'), 'utf8');
  };
  delete process.env.GOGC;
  const usual = await environment();
  t.notMatch(usual, /hidden/);
  t.match(usual, /^GOMAXPROCS=2$/m);
  t.match(usual, /^PATH=/m);
  t.match(usual, /^GOGC=300$/m, 'its heap may grow more than Go lets it');
  process.env.GOGC = '50';
  t.match(await environment(), /^GOGC=50$/m, 'who asks for another has it');
});

t.test('a socket at which another program takes connections stays that program’s', async (t) => {
  const { launcher, start, settings } = lab(t);
  const before = launcher();
  const first = await start(before);
  before.end(first);
  await first.exited;
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(settings.api_socket, resolve));
  await t.rejects(launcher().start(never), { message: /another program takes connections at .*gobgp\.sock/ });
  t.ok(existsSync(settings.api_socket));
  await new Promise((resolve) => server.close(resolve));
  writeFileSync(settings.api_socket, '');
  await start();
});

t.test('one of which /proc could not be read is ended all the same, being a child', async (t) => {
  const { launcher, start } = lab(t);
  const blind = launcher({ startTime: () => undefined });
  const run = await start(blind);
  blind.end(run);
  t.match((await run.exited).reason, /SIGKILL/);
});

t.test('who has ended meanwhile starts none', async (t) => {
  const { launcher, settings } = lab(t);
  const ended = new AbortController();
  const start = launcher().start(ended.signal);
  ended.abort(new Error('stopped'));
  await t.rejects(start, { message: 'stopped' });
  t.notOk(existsSync(settings.record));
});

t.test('what is no gobgpd says why, and costs the loop nothing', async (t) => {
  const { settings, write } = lab(t);
  t.match(await versionOf('/nowhere/gobgpd'), { reason: /is not there: install gobgpd/ });
  write('#!/bin/sh\necho gobgpd version 2.0.0\n');
  t.match(await versionOf(settings.binary), { reason: /names no GoBGP 3\.x or 4\.x/ });
  write('#!/bin/sh\nexit 3\n');
  t.match(await versionOf(settings.binary), { reason: /Command failed/ });
  let turns = 0;
  const timer = setInterval(() => {
    turns += 1;
  }, 5);
  write('#!/bin/sh\nsleep 0.3\necho gobgpd version 4.8.0\n');
  t.match(await versionOf(settings.binary), { version: 'gobgpd version 4.8.0' });
  clearInterval(timer);
  t.ok(turns > 5, 'the loop went on');
});
