/** deploy/calico-vpp-init, with a program in the place of calico-vpp-node, and one in that of VPP, which it starts in a session of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { missing } from '../../lab/programs.js';

const init = fileURLToPath(new URL('../../../deploy/calico-vpp-init', import.meta.url));

/** `run` tells its pid, and that of VPP; by SIGTERM it ends as the product does: VPP is ended, nothing is left behind. */
const program = `#!/bin/sh
record=$CALICOVPP_RUN_DIR/vpp-run.json
echo "$1 $$"
[ "$1" = run ] || { rm -f "$record"; exit 0; }
[ -z "\${FAILS:-}" ] || exit "$FAILS"
end() { kill "$(cat "$record")" "$waits"; rm -f "$record"; exit 0; }
trap end TERM
[ -e "$record" ] || { setsid sleep 1000 > /dev/null 2>&1 & echo $! > "$record"; }
sleep 1000 > /dev/null 2>&1 & waits=$!
echo "vpp $(cat "$record")"
wait
`;

interface Started {
  readonly child: ChildProcess;
  /** Ends with the output's end. */
  readonly lines: AsyncIterator<string>;
  readonly record: string;
  readonly exited: Promise<unknown[]>;
}

function start(
  t: Test,
  how: { readonly fails?: number; readonly left?: boolean; readonly by?: string[] },
): Started {
  const directory = mkdtempSync(join(tmpdir(), 'init-'));
  const record = join(directory, 'vpp-run.json');
  writeFileSync(join(directory, 'calico-vpp-node'), program);
  chmodSync(join(directory, 'calico-vpp-node'), 0o755);
  mkdirSync(join(directory, 'state'));
  if (how.left) writeFileSync(record, '0');
  const [file, ...args] = [...(how.by ?? []), init];
  const child = spawn(file!, args, {
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
    env: {
      PATH: `${directory}:${process.env.PATH}`,
      CALICOVPP_RUN_DIR: directory,
      CALICOVPP_STATE_DIR: join(directory, 'state'),
      ...(how.fails !== undefined && { FAILS: String(how.fails) }),
    },
  });
  const exited = once(child, 'exit');
  t.teardown(() => {
    // Those of its group, and VPP, which is in none of ours.
    for (const pid of [-child.pid!, existsSync(record) ? Number(readFileSync(record, 'utf8')) : 0])
      try {
        if (pid !== 0) process.kill(pid, 'SIGKILL');
      } catch {}
    rmSync(directory, { recursive: true, force: true });
  });
  return { child, lines: createInterface(child.stdout!)[Symbol.asyncIterator](), record, exited };
}

async function pidOf(name: string, { lines }: Started): Promise<number> {
  const { value } = await lines.next();
  const [said, pid] = String(value).split(' ');
  if (said !== name) throw new Error(`${value} came where ${name} was expected`);
  return Number(pid);
}

async function rest({ lines }: Started): Promise<string[]> {
  const said: string[] = [];
  for (let line = await lines.next(); !line.done; line = await lines.next())
    said.push(line.value.split(' ')[0]!);
  return said;
}

function state(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /s, '')[0];
  } catch {
    // ENOENT, or ESRCH where it has gone since the file was opened.
    return undefined;
  }
}

t.test('a process that is killed is started again, and VPP goes on', async (t) => {
  const started = start(t, {});
  const first = await pidOf('run', started);
  const vpp = await pidOf('vpp', started);
  process.kill(first, 'SIGKILL');
  t.not(await pidOf('run', started), first, 'another one');
  t.equal(await pidOf('vpp', started), vpp, 'finds the VPP that was there');
  t.equal(state(vpp), 'S', 'which lives');

  started.child.kill('SIGTERM');
  t.strictSame(await rest(started), [], 'nothing is started, or restored, after an end that left nothing');
  t.strictSame(
    await started.exited,
    [0, null],
    'SIGTERM reached it, and its exit code is that of the container',
  );
  t.not(state(vpp), 'S', 'VPP has ended with it');
});

t.test('a process that left nothing behind is the end of the container, with its code', async (t) => {
  const started = start(t, { fails: 3 });
  t.strictSame(await rest(started), ['run']);
  t.strictSame(await started.exited, [3, null]);
});

t.test('one that dies too often is not started again: the host is restored', async (t) => {
  const started = start(t, { fails: 1, left: true });
  t.strictSame(await rest(started), ['run', 'run', 'run', 'run', 'run', 'run', 'restore']);
  t.strictSame(await started.exited, [1, null]);
});

const tini = missing('tini');
t.test('what has lost its parent is reaped', tini ? { skip: tini } : {}, async (t) => {
  const entrypoint = /^ENTRYPOINT (.*)$/m.exec(
    readFileSync(init.replace('calico-vpp-init', 'Dockerfile'), 'utf8'),
  );
  const [, ...options] = JSON.parse(entrypoint![1]!) as string[];
  const started = start(t, { by: ['tini', ...options.slice(0, -1)] });
  const first = await pidOf('run', started);
  const vpp = await pidOf('vpp', started);
  process.kill(first, 'SIGKILL');
  await pidOf('run', started);
  await pidOf('vpp', started);
  const [, parent] = readFileSync(`/proc/${vpp}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ');
  t.equal(Number(parent), started.child.pid, 'it is the child of the first program');
  process.kill(vpp, 'SIGKILL');
  // Ends by the time limit of the test where it stays one.
  while (state(vpp) !== undefined) await new Promise(setImmediate);
  started.child.kill('SIGTERM');
  await rest(started);
  t.strictSame(await started.exited, [0, null]);
});
