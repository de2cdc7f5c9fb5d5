import fc from 'fast-check';
import t from 'tap';
import { bitsOf, holds } from '../../src/ip/bits.js';
import { prefixesOutside } from '../../src/ip/outside.js';
import { networkOf } from '../../src/ip/prefix.js';

t.test('the rest of a family', async (t) => {
  t.strictSame(prefixesOutside([], 4), ['0.0.0.0/1', '128.0.0.0/1']);
  t.strictSame(prefixesOutside([], 6), ['::/1', '8000::/1']);
  t.strictSame(prefixesOutside(['0.0.0.0/0'], 4), []);
  t.strictSame(prefixesOutside(['64.0.0.0/2', '192.0.0.0/3'], 4), [
    '0.0.0.0/2',
    '128.0.0.0/2',
    '224.0.0.0/3',
  ]);
  t.equal(prefixesOutside(['fd00::1/128'], 6).length, 128);
});

t.test('each address is inside or outside, and outside once', async () => {
  const address = fc.tuple(...Array.from({ length: 4 }, () => fc.nat(255))).map((bytes) => bytes.join('.'));
  const prefix = fc
    .tuple(address, fc.integer({ min: 0, max: 32 }))
    .map(([at, length]) => networkOf(`${at}/${length}`));
  fc.assert(
    fc.property(
      fc.array(prefix, { maxLength: 6 }),
      fc.array(address, { minLength: 1, maxLength: 20 }),
      (inside, asked) => {
        const outside = prefixesOutside(inside, 4).map(bitsOf);
        for (const one of asked) {
          const holding = (all: readonly ReturnType<typeof bitsOf>[]) =>
            all.filter((each) => holds(each, bitsOf(one)));
          const expected = holding(inside.map(bitsOf)).length === 0 ? 1 : 0;
          if (holding(outside).length !== expected) return false;
        }
        return true;
      },
    ),
  );
});
