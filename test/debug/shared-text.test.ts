import t from 'tap';
import { sharedTextMemory, TextReader, TextWriter } from '../../src/debug/shared-text.js';

t.test('a reader sees the last text whole, and whether it is new', async (t) => {
  const memory = sharedTextMemory(16);
  const writer = new TextWriter(memory);
  const reader = new TextReader(memory);
  t.strictSame(reader.read(), { sequence: 0, text: '' });
  for (const text of ['a', 'Grüße', '', 'b'.repeat(16)]) {
    t.ok(writer.write(text));
    t.equal(reader.read().text, text);
  }
  const { sequence } = reader.read();
  t.equal(reader.read().sequence, sequence);
  t.equal(new TextReader(memory).read().text, 'b'.repeat(16), 'a reader that comes later sees it, too');
});

t.test('a text without room is refused and the one before it stays', async (t) => {
  const memory = sharedTextMemory(4);
  const writer = new TextWriter(memory);
  t.ok(writer.write('four'));
  t.notOk(writer.write('über!'));
  t.equal(new TextReader(memory).read().text, 'four');
});

t.test('a reader that the writer has caught up with keeps what it knew', async (t) => {
  const memory = sharedTextMemory(4);
  const writer = new TextWriter(memory);
  const reader = new TextReader(memory);
  writer.write('one');
  reader.read();
  writer.write('two');
  // The write after the next one has begun: it goes to the buffer that "two" is in.
  const begun = new Int32Array(memory, 0, 1);
  begun[0] = begun[0]! + 1;
  t.equal(reader.read().text, 'two', 'the other buffer is being written, this one is whole');
  writer.write('tri');
  begun[0] = begun[0]! + 2;
  t.equal(reader.read().text, 'two');
});
