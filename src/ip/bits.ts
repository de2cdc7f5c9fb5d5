/** Prefixes by their bits: which one holds which. For those who have many of them and ask often. */
import { quad } from './quad.js';
import { parsePrefix } from './text.js';

/** A prefix, taken apart once. */
export interface Bits {
  /** The bytes of the network, a character each: 4 of them or 16. */
  readonly bytes: string;
  readonly length: number;
}

/** Of a canonical prefix, or of an address. Throws RangeError where the text is neither. */
export function bitsOf(prefix: string): Bits {
  if (prefix.includes(':')) {
    const { bytes, length } = parsePrefix(prefix);
    return { bytes: bytes.toString('latin1'), length };
  }
  const slash = prefix.indexOf('/');
  const value = quad(prefix, slash < 0 ? prefix.length : slash);
  const length = slash < 0 ? 32 : Number(prefix.slice(slash + 1));
  if (value < 0 || !(length >= 0 && length <= 32)) throw new RangeError(`'${prefix}' is no IPv4 prefix`);
  const bytes = String.fromCharCode(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
  return { bytes, length };
}

/** The first `length` bits, in as few characters as hold them. */
export function firstBits(bytes: string, length: number): string {
  const whole = length >> 3;
  const rest = length & 7;
  const start = bytes.slice(0, whole);
  return rest === 0 ? start : start + String.fromCharCode(bytes.charCodeAt(whole) & (0xff00 >> rest));
}

/**
 * Whether packets go to one place by it: it begins with no unspecified, loopback, multicast, broadcast or link-local address. IPv4's
 * 169.254.0.0/16 is an ordinary prefix, which clouds give to nodes.
 */
export function isGlobalUnicast({ bytes, length }: Bits): boolean {
  const first = bytes.charCodeAt(0);
  if (bytes.length === 4) {
    if (bytes === '\0\0\0\0' || first === 127 || (first >= 224 && first < 240)) return false;
    return !(length === 32 && bytes === '\xff\xff\xff\xff');
  }
  if (first === 0xff || bytes === unspecified6 || bytes === loopback6) return false;
  return !(first === 0xfe && (bytes.charCodeAt(1) & 0xc0) === 0x80);
}

const unspecified6 = '\0'.repeat(16);
const loopback6 = `${'\0'.repeat(15)}\x01`;

/** Whether every address of `inner` is one of `outer`. */
export function holds(outer: Bits, inner: Bits): boolean {
  if (outer.bytes.length !== inner.bytes.length || outer.length > inner.length) return false;
  return firstBits(inner.bytes, outer.length) === firstBits(outer.bytes, outer.length);
}
