import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import t from 'tap';
import { lineWriter, type Output } from '../../src/host/line-writer.js';

/** A pipe with so much room. */
class Pipe implements Output {
  taken = '';
  readonly waits: number[] = [];
  failing: Error | undefined;

  constructor(public room: number) {}

  isWritable(ms: number): boolean {
    this.waits.push(ms);
    return this.failing !== undefined || this.room > 0;
  }

  write(bytes: Uint8Array): number {
    if (this.failing !== undefined) throw this.failing;
    const taken = bytes.subarray(0, this.room);
    this.room -= taken.length;
    this.taken += Buffer.from(taken).toString();
    return taken.length;
  }
}

t.test('a line goes out at once', async (t) => {
  const pipe = new Pipe(10_000);
  t.ok(lineWriter(pipe)(`${'x'.repeat(9000)}\n`));
  t.equal(pipe.taken.length, 9001);
});

t.test('a reader that does not read is waited for once, and costs lines alone', async (t) => {
  const pipe = new Pipe(0);
  const write = lineWriter(pipe);
  for (let line = 0; line < 5; line += 1) t.notOk(write('lost\n'));
  t.same(pipe.waits, [20, 0, 0, 0, 0]);
  pipe.room = 100;
  t.ok(write('there\n'));
  t.equal(pipe.taken, 'there\n');
});

t.test('a line that is begun is finished before the next one', async (t) => {
  const pipe = new Pipe(3);
  const write = lineWriter(pipe);
  t.ok(write('begun\n'), 'it is on its way');
  t.notOk(write('lost\n'));
  pipe.room = 100;
  t.ok(write('next\n'));
  t.equal(pipe.taken, 'begun\nnext\n');
});

t.test('a full disk and a closed pipe cost lines alone', async (t) => {
  const pipe = new Pipe(100);
  const write = lineWriter(pipe);
  pipe.failing = new Error('ENOSPC');
  t.notOk(write('lost\n'));
  pipe.failing = undefined;
  t.ok(write('there\n'));
  t.equal(pipe.taken, 'there\n');
});

/** A process that logs a thousand lines to this descriptor, and then says on its third one that it has come to the end. */
async function comesToItsEnd(stdout: number | 'pipe', spoil?: (reader: { destroy(): void }) => void) {
  const module = new URL('../../src/host/line-writer.js', import.meta.url).href;
  const log = new URL('../../src/log.js', import.meta.url).href;
  const clock = new URL('../../src/clock.js', import.meta.url).href;
  const program = `
    import { writeSync } from 'node:fs';
    const { lineWriter, standard_output } = await import('${module}');
    const { createLog } = await import('${log}');
    const { systemClock: clock } = await import('${clock}');
    const log = createLog({ level: 'info', format: 'text', clock, write: lineWriter(standard_output) });
    for (let n = 0; n < 1000; n += 1) log.fatal({ n }, 'x'.repeat(500));
    writeSync(3, 'restored');
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', stdout, 'ignore', 'pipe'],
  });
  if (child.stdout !== null) {
    child.stdout.pause();
    spoil?.(child.stdout);
  }
  let said = '';
  child.stdio[3]!.on('data', (data: Buffer) => {
    said += data.toString();
  });
  const code = await new Promise((resolve) => child.once('exit', resolve));
  child.stdout?.destroy();
  return { said, code };
}

t.test('a process whose log goes nowhere comes to its end', async (t) => {
  const full = openSync('/dev/full', 'w');
  t.same(await comesToItsEnd(full), { said: 'restored', code: 0 }, 'a full disk');
  closeSync(full);
  t.same(await comesToItsEnd('pipe'), { said: 'restored', code: 0 }, 'a pipe that nobody reads');
  const closed = await comesToItsEnd('pipe', (reader) => reader.destroy());
  t.same(closed, { said: 'restored', code: 0 }, 'a closed pipe');
});
