import fc from 'fast-check';
import t from 'tap';
import { type Bits, bitsOf, firstBits, holds, isGlobalUnicast } from '../../src/ip/bits.js';
import { isLinkLocal } from '../../src/ip/prefix.js';
import { PrefixIndex } from '../../src/ip/prefix-index.js';
import { PrefixTable } from '../../src/ip/prefix-table.js';
import { canonicalPrefix, isUnicast } from '../../src/ip/spelling.js';
import { addressBits, familyOf, formatAddress, parsePrefix } from '../../src/ip/text.js';

/** Few different ones, so that they hold each other. */
const prefix = fc
  .record({
    is4: fc.boolean(),
    bytes: fc.array(fc.constantFrom(0, 1, 10, 127, 128, 169, 224, 254, 255), {
      minLength: 16,
      maxLength: 16,
    }),
    same: fc.integer({ min: 0, max: 16 }),
    length: fc.integer({ min: 0, max: 128 }),
  })
  .map(({ is4, bytes, same, length }) => {
    const address = Buffer.from(bytes.map((byte, at) => (at < same ? 10 : byte))).subarray(0, is4 ? 4 : 16);
    return canonicalPrefix(`${formatAddress(address)}/${is4 ? length % 33 : length}`);
  })
  .filter((text) => text !== undefined);

/** As a number, without any of the code under test. */
function network(text: string): { readonly family: 4 | 6; readonly value: bigint; readonly length: number } {
  const { bytes, length } = parsePrefix(text);
  return { family: familyOf(text), value: BigInt(`0x${bytes.toString('hex')}`), length };
}

function isHeld(outer: string, inner: string): boolean {
  const [a, b] = [network(outer), network(inner)];
  if (a.family !== b.family || a.length > b.length) return false;
  const shift = BigInt(addressBits(a.family) - a.length);
  return a.value >> shift === b.value >> shift;
}

t.test('a prefix holds what has its first bits and is no shorter', async (t) => {
  fc.assert(
    fc.property(prefix, prefix, (a, b) => {
      if (holds(bitsOf(a), bitsOf(b)) !== isHeld(a, b)) throw new Error(`${a} ${b}`);
      if (!holds(bitsOf(a), bitsOf(a))) throw new Error(a);
    }),
    { numRuns: 5000 },
  );
  t.equal(firstBits('\xff\xff\xff\xff', 12), '\xff\xf0');
  t.strictSame(bitsOf('10.1.2.3'), { bytes: '\x0a\x01\x02\x03', length: 32 });
  t.equal(bitsOf('::1').length, 128);
});

t.test('text that is no prefix is refused', async (t) => {
  for (const text of [
    '',
    '10.0.0',
    '10.0.0.0.0/8',
    '10.0.0.256/32',
    '10.0.0.0/33',
    '10.0.0.x/8',
    'fd00::/129',
    '1.5.0.1.1',
  ])
    t.throws(() => bitsOf(text), RangeError, text);
});

t.test(
  'what is global unicast of an address is what interfaces may have, but for link-local ones',
  async () => {
    fc.assert(
      fc.property(prefix, (text) => {
        const address = text.slice(0, text.indexOf('/'));
        const should = isUnicast(address) && !isLinkLocal(address);
        if (isGlobalUnicast(bitsOf(address)) !== should) throw new Error(`${address}: ${!should}`);
      }),
      { numRuns: 5000 },
    );
  },
);

t.test('the longest prefix that holds another is found, whatever has come and gone', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(prefix, fc.boolean()), { size: 'max', maxLength: 20 }),
      fc.array(prefix, { minLength: 5 }),
      fc.integer({ min: 0, max: 32 }),
      (steps, questions, below) => {
        const table = new PrefixTable<string>();
        const there = new Set<string>();
        for (const [text, is_there] of steps) {
          if (is_there) table.set(bitsOf(text), text);
          else table.delete(bitsOf(text));
          if (is_there) there.add(text);
          else there.delete(text);
        }
        for (const question of [...questions, ...there]) {
          for (const limit of [below, undefined]) {
            const holding = [...there].filter(
              (outer) => isHeld(outer, question) && (limit === undefined || network(outer).length < limit),
            );
            const longest = holding.sort((a, b) => network(b).length - network(a).length)[0];
            const found = table.longest(bitsOf(question), limit);
            if (found !== longest) throw new Error(`${question}: ${found}, not ${longest}`);
          }
        }
      },
    ),
    { numRuns: 500 },
  );
});

class Item implements Bits {
  readonly bytes: string;
  readonly length: number;

  constructor(readonly prefix: string) {
    const { bytes, length } = bitsOf(prefix);
    this.bytes = bytes;
    this.length = length;
  }
}

t.test('all that lies within a prefix is found, whatever has come and gone', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(prefix, fc.boolean()), { size: 'max', maxLength: 40 }),
      fc.array(prefix, { minLength: 5 }),
      (steps, questions) => {
        const index = new PrefixIndex<Item>();
        const there = new Map<string, Item>();
        for (const [text, is_there] of steps) {
          const known = there.get(text);
          if (known !== undefined && !is_there) {
            index.delete(known);
            there.delete(text);
          } else if (known === undefined && is_there) {
            const item = new Item(text);
            index.add(item);
            there.set(text, item);
          }
        }
        for (const question of [...questions, '0.0.0.0/0', '::/0', ...there.keys()]) {
          const found = [...index.within(bitsOf(question))].map((item) => item.prefix).sort();
          const should = [...there.keys()].filter((text) => isHeld(question, text)).sort();
          if (found.join() !== should.join()) throw new Error(`${question}: ${found}, not ${should}`);
        }
      },
    ),
    { numRuns: 500 },
  );
});
