import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import t from 'tap';
import { JournalError, type JournalFiles, openJournal } from '../../../src/host/undo/undo-journal.js';
import type { UndoStep } from '../../../src/host/undo/undo-step.js';

const BOOT = '11111111-1111-1111-1111-111111111111';
const LATER_BOOT = '22222222-2222-2222-2222-222222222222';

/** A disk in memory that can be full, and that can lose power after any number of bytes. */
class MemoryFiles implements JournalFiles {
  readonly files = new Map<string, string>();
  readonly operations: string[] = [];
  /** Bytes that still fit; a write that does not fit leaves its first part, as a disk does. */
  room_bytes = Number.POSITIVE_INFINITY;
  read_only = false;

  read(path: string): string | undefined {
    return this.files.get(path);
  }

  replace(path: string, text: string): void {
    this.#write('replace');
    if (text.length > this.room_bytes) throw new Error('ENOSPC');
    this.room_bytes -= text.length;
    this.files.set(path, text);
  }

  append(path: string, text: string): void {
    this.#write('append');
    const fits = text.slice(0, this.room_bytes);
    this.room_bytes -= fits.length;
    this.files.set(path, this.files.get(path)! + fits);
    if (fits.length < text.length) throw new Error('ENOSPC');
  }

  truncate(path: string, length_bytes: number): void {
    this.#write('truncate');
    const bytes = Buffer.from(this.files.get(path)!);
    this.files.set(path, bytes.subarray(0, length_bytes).toString());
  }

  copy(path: string, to: string): void {
    this.#write('copy');
    this.files.set(to, this.files.get(path)!);
  }

  remove(path: string): void {
    this.#write('remove');
    this.files.delete(path);
  }

  #write(operation: string): void {
    if (this.read_only) throw new Error('EROFS');
    this.operations.push(operation);
  }
}

const PATH = '/var/lib/node/undo.journal';
const file = (path: string): UndoStep => ({ kind: 'write_file', path, content: null, mode: 0o644 });
const sysctl = (value: string): UndoStep => ({ kind: 'write_kernel_file', path: '/proc/sys/x', value });

t.test('the journal gives back what was recorded, in order, to the next process', async (t) => {
  const files = new MemoryFiles();
  const { journal } = openJournal(PATH, BOOT, 0, files);
  t.equal(files.files.size, 0, 'nothing is written before there is something to undo');
  journal.record([file('/a'), sysctl('ü')]);
  journal.record([]);
  journal.record([file('/b')]);
  t.strictSame(files.operations, ['replace', 'append'], 'one durable write for each record');
  const next = openJournal(PATH, BOOT, 1, files);
  t.strictSame(next.journal.pending(), [file('/a'), sysctl('ü'), file('/b')]);
  t.equal(next.set_aside, undefined);
  next.journal.record([file('/c')]);
  t.equal(openJournal(PATH, BOOT, 2, files).journal.pending().length, 4);
  next.journal.replace([file('/b')]);
  t.strictSame(openJournal(PATH, BOOT, 3, files).journal.pending(), [file('/b')], 'what failed stays');
  next.journal.clear();
  t.equal(files.files.size, 0);
  t.strictSame(next.journal.pending(), []);
  next.journal.record([file('/d')]);
  t.strictSame(openJournal(PATH, BOOT, 4, files).journal.pending(), [file('/d')], 'and goes on after that');
});

t.test('what was recorded while steps were taken stays when they are done', async (t) => {
  const files = new MemoryFiles();
  const { journal } = openJournal(PATH, BOOT, 0, files);
  journal.record([file('/a'), file('/b')]);
  const [first] = journal.pending();
  journal.record([file('/a')]);
  journal.undone(new Set([first!]));
  t.strictSame(openJournal(PATH, BOOT, 1, files).journal.pending(), [file('/b'), file('/a')]);
  files.read_only = true;
  t.throws(() => journal.undone(new Set(journal.pending())), JournalError);
  t.equal(journal.pending().length, 2);
});

t.test('power lost at any byte of a record loses that record alone', async (t) => {
  const files = new MemoryFiles();
  const { journal } = openJournal(PATH, BOOT, 0, files);
  journal.record([file('/a')]);
  const before = files.files.get(PATH)!;
  journal.record([file('/b')]);
  const whole = files.files.get(PATH)!;
  for (let length = before.length; length < whole.length; length++) {
    files.files.set(PATH, whole.slice(0, length));
    const opened = openJournal(PATH, BOOT, 1, files);
    assert.deepEqual(opened.journal.pending(), [file('/a')]);
    assert.equal(opened.set_aside, undefined);
    opened.journal.record([file('/c')]);
    assert.deepEqual(openJournal(PATH, BOOT, 1, files).journal.pending(), [file('/a'), file('/c')]);
  }
  t.pass();
});

t.test('any damage is reported and the file kept; the records that are whole stay pending', async (t) => {
  const files = new MemoryFiles();
  const { journal } = openJournal(PATH, BOOT, 0, files);
  for (const name of ['/a', '/b', '/c']) journal.record([file(name)]);
  const good = files.files.get(PATH)!;
  const lines = good.trimEnd().split('\n');
  fc.assert(
    fc.property(fc.nat(good.length - 2), fc.integer({ min: 1, max: 127 }), (at, flip) => {
      const bytes = Buffer.from(good);
      bytes[at] = bytes[at]! ^ flip;
      const bad = bytes.toString('latin1');
      files.files.clear();
      files.files.set(PATH, bad);
      const opened = openJournal(PATH, BOOT, 99, files);
      assert.ok(opened.set_aside, `byte ${at} flipped by ${flip}`);
      assert.equal(files.files.get(opened.set_aside.path), bad);
      const line = good.slice(0, at).split('\n').length - 1;
      const pending = opened.journal.pending().length;
      assert.ok(line === 0 ? pending >= 2 : pending >= 1 && pending < 3, `line ${line}: ${pending} left`);
      assert.equal(opened.set_aside.steps_kept, pending);
      assert.equal(opened.whole, false);
    }),
  );
  const reasons: [string, string, RegExp][] = [
    ['a foreign file', 'hello\n', /not an undo journal/],
    ['a missing record', [lines[0], lines[2], lines[3], ''].join('\n'), /line 2 is damaged or out of order/],
    ['a repeated record', [lines[0], lines[1], lines[1], ''].join('\n'), /line 3 /],
  ];
  for (const [what, text, reason] of reasons) {
    files.files.set(PATH, text);
    t.match(openJournal(PATH, BOOT, 7, files).set_aside, { reason }, what);
  }
});

t.test('without its header a journal is what its lines are, each of its own boot', async (t) => {
  const files = new MemoryFiles();
  const { journal, whole } = openJournal(PATH, BOOT, 0, files);
  t.equal(whole, false, 'there is none');
  journal.record([file('/a'), sysctl('1')]);
  journal.record([sysctl('2')]);
  t.equal(openJournal(PATH, BOOT, 1, files).whole, true);
  const [, ...records] = files.files.get(PATH)!.split('\n');
  const headless = (boot: string) => {
    files.files.set(PATH, records.join('\n'));
    return openJournal(PATH, boot, 9, files).journal.pending();
  };
  t.strictSame(headless(BOOT), [file('/a'), sysctl('1'), sysctl('2')]);
  t.strictSame(headless(LATER_BOOT), [file('/a')]);
});

t.test('steps that only a later version knows are left out, and the others taken', async (t) => {
  const files = new MemoryFiles();
  openJournal(PATH, BOOT, 0, files).journal.record([file('/a'), { kind: 'later' } as never, file('/b')]);
  const { journal, set_aside } = openJournal(PATH, BOOT, 1, files);
  t.strictSame(journal.pending(), [file('/a'), file('/b')]);
  t.match(set_aside, { reason: /line 2/, steps_kept: 2 });
});

t.test('a file that cannot be read is told, and written, removed and recorded to by nobody', async (t) => {
  const files = new MemoryFiles();
  openJournal(PATH, BOOT, 0, files).journal.record([file('/a')]);
  const text = files.files.get(PATH);
  files.operations.length = 0;
  files.read = () => {
    throw new Error('EIO');
  };
  const { journal, set_aside, whole } = openJournal(PATH, BOOT, 0, files);
  t.match(set_aside, { path: PATH, reason: /cannot read undo journal .*EIO/ });
  t.equal(whole, false);
  t.equal(journal.unreadable, set_aside?.reason);
  for (const change of [
    () => journal.record([file('/b')]),
    () => journal.replace([file('/b')]),
    () => journal.replace([]),
  ])
    t.throws(change, { name: 'JournalError', message: /cannot read undo journal/ });
  journal.restart([file('/c')]);
  t.strictSame(journal.pending(), [file('/c')], 'what is known otherwise can be undone');
  t.throws(() => journal.undone(new Set(journal.pending())), JournalError);
  t.strictSame([files.operations, files.files.get(PATH)], [[], text]);
});

t.test('a journal of another version is kept aside', async (t) => {
  const files = new MemoryFiles();
  const { journal } = openJournal(PATH, BOOT, 0, files);
  journal.record([file('/a')]);
  const text = JSON.stringify({ format: 'calico-vpp-node undo journal', version: 2 }).slice(0, -1);
  const line = `${text},"crc32":"${crc32(text).toString(16).padStart(8, '0')}"}\n`;
  files.files.set(PATH, line);
  const opened = openJournal(PATH, BOOT, 5, files);
  t.match(opened.set_aside, { path: `${PATH}.5.aside`, reason: /version 2/, steps_kept: 0 });
  t.equal(files.files.get(`${PATH}.5.aside`), line);
  t.equal(files.files.get(PATH), undefined);
});

t.test('after a restart of the machine only steps on what lasts are pending', async (t) => {
  const files = new MemoryFiles();
  const { journal } = openJournal(PATH, BOOT, 0, files);
  const command = (after_boot: boolean): UndoStep => ({
    kind: 'run_command',
    argv: ['true'],
    timeout_ms: 1,
    after_boot,
  });
  journal.record([file('/a'), sysctl('1'), command(true), command(false)]);
  const opened = openJournal(PATH, LATER_BOOT, 1, files);
  t.strictSame(opened.journal.pending(), [file('/a'), command(true)]);
  t.equal(opened.dropped_steps, 2);
  opened.journal.record([sysctl('2')]);
  t.equal(
    openJournal(PATH, LATER_BOOT, 2, files).journal.pending().length,
    3,
    'the file is of this boot now',
  );
});

t.test('a full disk refuses the record, and the records before it stay whole', async (t) => {
  const files = new MemoryFiles();
  const { journal } = openJournal(PATH, BOOT, 0, files);
  files.room_bytes = 10;
  t.throws(() => journal.record([file('/a')]), JournalError);
  t.equal(files.files.size, 0);
  files.room_bytes = Number.POSITIVE_INFINITY;
  journal.record([file('/a')]);
  for (let room = 0; room < 40; room++) {
    files.room_bytes = room;
    assert.throws(() => journal.record([file('/b')]), /cannot record undo journal .*ENOSPC/);
  }
  files.room_bytes = Number.POSITIVE_INFINITY;
  journal.record([file('/c')]);
  t.strictSame(openJournal(PATH, BOOT, 1, files).journal.pending(), [file('/a'), file('/c')]);
  t.throws(() => journal.record([file('x'.repeat(9_000_000))]), /would exceed/);
});

t.test('what is pending can be undone from a disk that takes nothing any more', async (t) => {
  const files = new MemoryFiles();
  openJournal(PATH, BOOT, 0, files).journal.record([file('/a'), sysctl('1')]);
  const whole = files.files.get(PATH)!;
  files.files.set(PATH, `${whole}half a li`);
  files.read_only = true;
  const cut = openJournal(PATH, BOOT, 1, files).journal;
  t.equal(cut.pending().length, 2, 'cut last line');
  t.throws(() => cut.record([file('/b')]), JournalError, 'but nothing is recorded behind it');
  files.files.set(PATH, whole);
  t.equal(openJournal(PATH, LATER_BOOT, 1, files).journal.pending().length, 1, 'another boot');
  files.files.set(PATH, whole.replace('/a', '/x'));
  const damaged = openJournal(PATH, BOOT, 1, files);
  t.ok(damaged.set_aside, 'damage');
  t.throws(() => damaged.journal.record([file('/b')]), JournalError);
});

t.test('the real file is private, durable at each record, and gone at the end', async (t) => {
  const path = join(t.testdir(), 'below', 'undo.journal');
  const { journal } = openJournal(path, BOOT, 0);
  journal.record([file('/a')]);
  journal.record([file('/b')]);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.strictSame(openJournal(path, BOOT, 0).journal.pending(), [file('/a'), file('/b')]);
  for (const line of readFileSync(path, 'utf8').trimEnd().split('\n')) t.ok(JSON.parse(line).crc32);
  writeFileSync(path, '\u0000\u0000', { flag: 'a' });
  t.strictSame(openJournal(path, BOOT, 0).journal.pending(), [file('/a'), file('/b')], 'a torn end');
  writeFileSync(path, 'garbage\n');
  const { set_aside } = openJournal(path, BOOT, 6);
  t.equal(readFileSync(set_aside!.path, 'utf8'), 'garbage\n');
  journal.clear();
  t.strictSame(readdirSync(join(path, '..')), ['undo.journal.6.aside']);
});
