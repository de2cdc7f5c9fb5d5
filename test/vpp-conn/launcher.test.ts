import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { processStartTime } from '../../src/host/devices/sysfs.js';
import { watchExit } from '../../src/host/process-exit.js';
import { isOfMemifPeer } from '../../src/vpp-conn/death.js';
import {
  createLauncher,
  type LaunchSettings,
  type ProcessTable,
  type VppRun,
} from '../../src/vpp-conn/launcher.js';
import { readRunRecord, removeRunRecord, writeRunRecord } from '../../src/vpp-conn/run-record.js';
import { KeptLog } from '../kit/actor-kit.js';

const boot_id = '11111111-1111-1111-1111-111111111111';
const whole = {
  version: 1,
  pid: 42,
  start_time: '4242',
  boot_id,
  api_socket: '/run/vpp/api.sock',
  config_hash: '0123456789abcdef',
} as const;

t.test('a record is read as it was written, and one that is damaged or foreign is none', async (t) => {
  const path = join(t.testdir(), 'run.json');
  t.equal(readRunRecord(path), undefined, 'absent');
  writeRunRecord(path, whole);
  t.same(readRunRecord(path), whole);
  t.equal(statSync(path).mode & 0o777, 0o600);
  const text = readFileSync(path, 'utf8');
  for (let length = 0; length < text.trimEnd().length; length++) {
    writeFileSync(path, text.slice(0, length));
    if (readRunRecord(path) !== undefined) t.fail(`cut after ${length} bytes`);
  }
  for (const key of Object.keys(whole)) {
    writeFileSync(path, JSON.stringify({ ...whole, [key]: null }));
    t.equal(readRunRecord(path), undefined, `without ${key}`);
  }
  for (const other of [
    'null',
    '7',
    '[]',
    JSON.stringify({ ...whole, version: 2 }),
    JSON.stringify({ ...whole, pid: 1.5 }),
  ]) {
    writeFileSync(path, other);
    t.equal(readRunRecord(path), undefined, other);
  }
  removeRunRecord(path);
  removeRunRecord(path);
  t.notOk(existsSync(path));
});

const usable = process.getuid?.() === 0 && spawnSync('nsenter', ['--version']).status === 0;

interface Lab {
  readonly directory: string;
  readonly log: KeptLog;
  readonly settings: LaunchSettings;
  /** Pids that were asked for. */
  readonly pids: number[];
  launcher(
    changes?: Partial<LaunchSettings>,
    table?: Partial<ProcessTable>,
  ): ReturnType<typeof createLauncher>;
}

/** A stand-in for VPP's executable: a shell script that lives in this process's own network namespace. */
function lab(t: { testdir(): string; teardown(run: () => void): void }, script: string): Lab {
  const directory = t.testdir();
  const binary = join(directory, 'vpp');
  writeFileSync(binary, `#!/bin/sh\n${script}\n`);
  chmodSync(binary, 0o755);
  const log = new KeptLog();
  const pids: number[] = [];
  const settings: LaunchSettings = {
    binary,
    startup_conf: { path: join(directory, 'etc', 'startup.conf'), text: 'unix { nodaemon }\n' },
    startup_exec: { path: join(directory, 'etc', 'startup.exec'), text: 'show version\n' },
    netns: '/proc/self/ns/net',
    api_socket: join(directory, 'run', 'api.sock'),
    leftovers: [join(directory, 'run', 'api.sock'), join(directory, 'run', 'vpp.pid')],
    environment: { LD_PRELOAD_TEST: 'shim' },
    record: join(directory, 'vpp-run.json'),
    output: join(directory, 'log', 'vpp.log'),
  };
  const started = new Map<number, string>();
  const table: ProcessTable = {
    boot_id,
    startTime: (pid) => {
      const start_time = processStartTime(pid)?.toString();
      pids.push(pid);
      if (start_time !== undefined && !started.has(pid)) started.set(pid, start_time);
      return start_time;
    },
    runningAs: () => undefined,
    oomCounter: () => () => undefined,
    watchExit: (pid, ended) => {
      if (watchExit(pid, ended) === undefined) setImmediate(ended);
    },
    prepare: () => undefined,
  };
  t.teardown(() => {
    for (const [pid, start_time] of started)
      if (processStartTime(pid)?.toString() === start_time) process.kill(pid, 'SIGKILL');
  });
  return {
    directory,
    log,
    settings,
    pids,
    launcher: (changes = {}, other = {}) =>
      createLauncher({ ...settings, ...changes }, { ...table, ...other }, log),
  };
}

const alive = (run: VppRun): boolean => processStartTime(run.pid) !== undefined;

t.test('whose doing a death was', async (t) => {
  const frame = (n: number, what: string, library: string): string =>
    `#${n}  0x00007fbf0457ad60 ${what} + 0xa0\n     from /usr/lib/x86_64-linux-gnu/${library}\n`;
  const signal = 'received signal SIGSEGV, PC 0x7fbf0457ad60, faulting address 0x60\nCode:  41 ff 54 24\n';
  const loop = frame(2, 'vlib_file_poll', 'libvlib.so.26.10') + frame(3, 'vlib_main', 'libvlib.so.26.10');
  const memif = 'vpp_plugins/memif_plugin.so';
  const message = frame(0, 'memif_msg_receive', memif) + frame(1, 'memif_master_conn_fd_read_ready', memif);
  const request =
    frame(0, 'memif_create_if', memif) +
    frame(1, 'vl_api_memif_create_v2_t_handler', memif) +
    frame(2, 'msg_handler_internal', 'libvlibapi.so.26.10');
  for (const [output, is, what] of [
    [signal + message + loop, true, 'what came from the other end'],
    [`of before\n${signal}${message}${signal}${request}`, false, 'a request: the last one counts'],
    [signal + frame(0, 'cnat_lookup', 'vpp_plugins/cnat_plugin.so') + message, false, 'another plugin'],
    [message + loop, false, 'no signal'],
    [signal, false, 'no stack'],
    ['', false, 'nothing'],
  ] as const)
    t.equal(isOfMemifPeer(output), is, what);
});

t.test('starting and adopting processes', { skip: usable ? false : 'needs root and nsenter' }, async (t) => {
  // A child of the launcher does not keep this process alive.
  const awake = setInterval(() => undefined, 60_000);
  t.teardown(() => clearInterval(awake));

  t.test('VPP gets its files, its environment and a record', async (t) => {
    const { launcher, settings, directory } = lab(t, 'echo "$@" $LD_PRELOAD_TEST; exec sleep 100');
    mkdirSync(join(directory, 'run'));
    for (const path of settings.leftovers) writeFileSync(path, 'left by a dead one');
    const run = launcher().start();
    t.match(run, { adopted: false, api_socket: settings.api_socket });
    for (const path of settings.leftovers) t.notOk(existsSync(path), `${path} would stop the next one`);
    t.equal(readFileSync(settings.startup_conf.path, 'utf8'), settings.startup_conf.text);
    t.equal(readFileSync(settings.startup_exec.path, 'utf8'), settings.startup_exec.text);
    t.equal(statSync(settings.startup_exec.path).mode & 0o777, 0o744);
    t.match(readRunRecord(settings.record), { pid: run.pid, boot_id, api_socket: settings.api_socket });
    const { exited } = launcher().adopt()!;
    launcher().signal(run, 'SIGINT');
    t.ok(alive(run), 'a launcher that has not started or adopted this run does not signal it');
    const again = launcher();
    again.signal(again.adopt()!, 'SIGKILL');
    const said = `its last output: -c ${settings.startup_conf.path} shim`;
    const { pid, reason } = await run.exited;
    t.equal(pid, run.pid);
    t.ok(reason === `SIGKILL; ${said}` || reason === 'SIGKILL', reason);
    t.match(await exited, { pid: run.pid, reason: /^ended/ }, 'who has adopted it is told, too');
  });

  t.test('the exit code and the last lines that VPP has printed are the reason', async (t) => {
    const { launcher } = lab(t, 'for i in 1 2 3 4 5 6 7 8; do echo "line $i"; done; echo fatal >&2; exit 7');
    t.equal(
      (await launcher().start().exited).reason,
      'exit code 7; its last output: line 4 | line 5 | line 6 | line 7 | line 8 | fatal',
    );
  });

  t.test('what an earlier VPP has printed is not the reason', async (t) => {
    const { launcher } = lab(t, 'echo once; exit 1');
    const each = launcher();
    for (let life = 1; life <= 2; life++)
      t.equal((await each.start().exited).reason, 'exit code 1; its last output: once');
  });

  t.test('of much output the end is the reason', async (t) => {
    const { launcher } = lab(t, 'yes x | head -c 100000; echo end; exit 1');
    const { reason } = await launcher().start().exited;
    t.match(reason, /x \| end$/);
    t.ok(reason.length < 4300);
  });

  t.test('an executable that is not there is a death with a reason', async (t) => {
    const { launcher, directory } = lab(t, 'exit 0');
    const { reason } = await launcher({ binary: join(directory, 'missing') }).start().exited;
    t.match(reason, /exit code 127.*missing.*No such file/);
  });

  t.test('so is a nsenter that cannot be started', async (t) => {
    const { launcher, settings } = lab(t, 'exit 0');
    const each = launcher({ environment: { PATH: '/nonexistent' } });
    const run = each.start();
    t.equal(run.pid, 0);
    t.match(await run.exited, { pid: 0, reason: /cannot be started: .*ENOENT/ });
    t.notOk(existsSync(settings.record));
    each.signal(run, 'SIGKILL');
    t.pass('and nobody is signalled: 0 would be this process group');
  });

  t.test('a launcher of the next life adopts a VPP that is alive, and ends it', async (t) => {
    const { launcher, log, settings } = lab(t, 'exec sleep 100');
    const first = launcher();
    t.equal(first.adopt(), undefined);
    t.notOk(first.isRunning());
    const run = first.start();
    const { ino } = statSync(settings.record);
    const next = launcher();
    t.ok(next.isRunning());
    const adopted = next.adopt()!;
    t.match(adopted, { pid: run.pid, adopted: true, api_socket: settings.api_socket });
    t.same(log.lines, []);
    t.equal(statSync(settings.record).ino, ino, 'and does not write what is written already');
    t.equal(adopted.clock_kept, undefined);
    next.keepClock({ ...adopted, pid: adopted.pid + 1 });
    t.equal(launcher().adopt()?.clock_kept, undefined, 'it is of another');
    next.keepClock(adopted);
    t.equal(launcher().adopt()?.clock_kept, true, 'what is known of its clock is written down');
    next.signal(adopted, 'SIGINT');
    t.equal((await adopted.exited).pid, run.pid);
    t.equal((await run.exited).reason, 'SIGINT');
    t.notOk(next.isRunning(), 'a dead one is not adopted');
    t.equal(next.adopt(), undefined);
  });

  t.test('an adopted VPP with an older start-up file is told of', async (t) => {
    const { launcher, log, settings } = lab(t, 'exec sleep 100');
    const run = launcher().start();
    const next = launcher({ startup_conf: { ...settings.startup_conf, text: 'unix { } cpu { }' } });
    t.equal(next.adopt()?.pid, run.pid);
    t.match(log.lines, [{ level: 'warn', text: /older start-up file/ }]);
    t.equal(
      readFileSync(settings.startup_conf.path, 'utf8'),
      settings.startup_conf.text,
      'to adopt changes nothing',
    );
  });

  t.test('a process that is not the one of the record is not adopted', async (t) => {
    const { launcher, settings } = lab(t, 'exec sleep 100');
    launcher().start();
    t.equal(launcher({}, { boot_id: 'another' }).adopt(), undefined, 'the machine was restarted');
    t.notOk(launcher({}, { boot_id: 'another' }).isRunning());
    t.equal(launcher({}, { startTime: () => '1' }).adopt(), undefined, 'the pid belongs to another process');
    const text = readFileSync(settings.record, 'utf8');
    writeFileSync(settings.record, text.slice(0, -20));
    t.equal(launcher().adopt(), undefined, 'the record is cut');
    writeFileSync(settings.record, text);
    t.ok(launcher().adopt());
  });

  t.test('a VPP without a usable record is found by its command line, and recorded again', async (t) => {
    const { launcher, settings } = lab(t, 'exec sleep 100');
    const run = launcher().start();
    writeFileSync(settings.record, '{');
    const asked: (readonly string[])[] = [];
    const next = launcher(
      {},
      {
        runningAs: (words) => {
          asked.push(words);
          return run.pid;
        },
      },
    );
    t.equal(next.adopt()?.pid, run.pid);
    t.strictSame(asked, [[settings.binary, '-c', settings.startup_conf.path]]);
    t.equal(launcher().adopt()?.pid, run.pid, 'from then on by its record');
  });

  t.test('a process that got the number of a dead VPP is not signalled', async (t) => {
    const { launcher } = lab(t, 'exec sleep 100');
    let start_time: string | undefined = '1';
    const each = launcher({}, { startTime: () => start_time });
    const run = each.start();
    for (const now of ['2', undefined]) {
      start_time = now;
      each.signal(run, 'SIGKILL');
    }
    t.ok(alive(run));
    start_time = '1';
    each.forget();
    each.signal(run, 'SIGKILL');
    t.equal((await run.exited).reason, 'SIGKILL', 'it itself is, also when its record is gone');
  });

  t.test(
    'a VPP that cannot be recorded is held all the same, adopted by the next life, and ended',
    async (t) => {
      const { launcher, settings, log } = lab(t, 'exec sleep 100');
      mkdirSync(settings.record);
      const run = launcher().start();
      t.match(log.lines, [
        { level: 'error', text: /vpp-run.json cannot be written/, fields: { pid: run.pid } },
      ]);
      const next = launcher({}, { runningAs: () => run.pid });
      t.ok(next.isRunning());
      const adopted = next.adopt()!;
      t.match(adopted, { pid: run.pid, adopted: true });
      next.signal(adopted, 'SIGKILL');
      t.equal((await adopted.exited).pid, run.pid);
      t.notOk(alive(run));
    },
  );

  t.test('start-up files that say what they have to say are not written again', async (t) => {
    const { launcher, settings } = lab(t, 'exit 0');
    const files = [settings.startup_conf.path, settings.startup_exec.path];
    await launcher().start().exited;
    const before = files.map((path) => statSync(path).ino);
    await launcher().start().exited;
    t.same(
      files.map((path) => statSync(path).ino),
      before,
      'so that VPP can be started where there is no room',
    );
  });

  t.test('the kernel kills VPP for want of memory, and it is told', async (t) => {
    const { launcher } = lab(t, 'exec sleep 100');
    let count: number | undefined = 3;
    const asked: number[] = [];
    const oomCounter = (pid: number) => {
      asked.push(pid);
      return () => count;
    };
    const first = launcher({}, { oomCounter });
    const told = async (end: (run: VppRun) => void): Promise<boolean | undefined> => {
      const run = first.start();
      const adopted = first.adopt()!;
      t.same(asked.splice(0), [run.pid, run.pid]);
      end(run);
      const [exit, of_adopted] = await Promise.all([run.exited, adopted.exited]);
      t.equal(/for want of memory/.test(exit.reason), exit.oom === true);
      t.equal(of_adopted.oom, count === 4 || count === 7 ? true : undefined, 'also of one that is no child');
      return exit.oom;
    };
    t.equal(await told(({ pid }) => process.kill(pid, 'SIGKILL')), undefined, 'an operator');
    t.equal(
      await told(({ pid }) => {
        count = 4;
        process.kill(pid, 'SIGKILL');
      }),
      true,
    );
    count = 6;
    t.equal(
      await told(({ pid }) => {
        count = 7;
        process.kill(pid, 'SIGSEGV');
      }),
      undefined,
      'another end while somebody else was killed so',
    );
    t.equal(
      await told((run) => {
        count = 8;
        first.signal(run, 'SIGKILL');
      }),
      undefined,
      'its own SIGKILL',
    );
    count = undefined;
    t.equal(await told(({ pid }) => process.kill(pid, 'SIGKILL')), undefined, 'nobody counts');
  });

  t.test('a start-up file that cannot be written starts nothing', async (t) => {
    const { launcher, settings, pids } = lab(t, 'exec sleep 100');
    mkdirSync(settings.startup_conf.path, { recursive: true });
    t.throws(() => launcher().start(), { code: 'EISDIR' });
    t.same(pids, []);
  });

  t.test('to forget VPP is to remove its record and what it left behind', async (t) => {
    const { launcher, settings, directory } = lab(t, 'exit 0');
    const each = launcher();
    await each.start().exited;
    mkdirSync(join(directory, 'run'), { recursive: true });
    for (const path of settings.leftovers) writeFileSync(path, '');
    each.forget();
    each.forget();
    for (const path of [settings.record, ...settings.leftovers]) t.notOk(existsSync(path));
  });
});
