/** Prefixes by their bits: which one holds which. For those who have many of them and ask often. */
import { parsePrefix } from './text.js';

/** A prefix, taken apart once. */
export interface Bits {
  /** The bytes of the network, a character each: 4 of them or 16. */
  readonly bytes: string;
  readonly length: number;
}

/** Of a canonical prefix, or of an address. Throws RangeError where the text is neither. */
export function bitsOf(prefix: string): Bits {
  const { bytes, length } = parsePrefix(prefix);
  return { bytes: bytes.toString('latin1'), length };
}

/** The first `length` bits, in as few characters as hold them. */
export function firstBits(bytes: string, length: number): string {
  const whole = length >> 3;
  const rest = length & 7;
  const start = bytes.slice(0, whole);
  return rest === 0 ? start : start + String.fromCharCode(bytes.charCodeAt(whole) & (0xff00 >> rest));
}

/** Whether every address of `inner` is one of `outer`. */
export function holds(outer: Bits, inner: Bits): boolean {
  if (outer.bytes.length !== inner.bytes.length || outer.length > inner.length) return false;
  return firstBits(inner.bytes, outer.length) === firstBits(outer.bytes, outer.length);
}
