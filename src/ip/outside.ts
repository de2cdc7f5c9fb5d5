/** The rest of a family's addresses. */
import { bitsOf } from './bits.js';
import { addressBits, type Family, formatAddress } from './text.js';

/**
 * The fewest prefixes that hold every address of the family that is in none of these (canonical, of that family), each once and in order; but
 * halves in place of everything: VPP takes no prefix without length.
 */
export function prefixesOutside(inside: readonly string[], family: Family): string[] {
  const bits = addressBits(family);
  const end = 1n << BigInt(bits);
  const ranges = inside
    .map((prefix) => {
      const { bytes, length } = bitsOf(prefix);
      const from = BigInt(`0x${Buffer.from(bytes, 'latin1').toString('hex')}`);
      return { from, to: from + (1n << BigInt(bits - length)) };
    })
    .sort((a, b) => (a.from < b.from ? -1 : 1));
  const outside: string[] = [];
  let at = 0n;
  for (const { from, to } of [...ranges, { from: end, to: end }]) {
    while (at < from) {
      let length = 1;
      let size = end >> 1n;
      while (at % size !== 0n || at + size > from) {
        size >>= 1n;
        length += 1;
      }
      outside.push(`${textOf(at, bits)}/${length}`);
      at += size;
    }
    if (to > at) at = to;
  }
  return outside;
}

function textOf(address: bigint, bits: number): string {
  return formatAddress(Buffer.from(address.toString(16).padStart(bits / 4, '0'), 'hex'));
}
