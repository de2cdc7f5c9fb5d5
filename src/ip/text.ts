import { isIPv4, isIPv6 } from 'node:net';

/** Addresses as the kernel has them (4 or 16 bytes) and as text (canonical: lower case, longest run of zeros shortened). */

export type Family = 4 | 6;

export function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4;
}

export function addressBits(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

/** Throws RangeError naming the text where it is no address of this family. */
export function parseAddress(text: string, family: Family = familyOf(text)): Buffer {
  if (family === 4) {
    if (!isIPv4(text)) throw new RangeError(`'${text}' is not an IPv4 address`);
    return Buffer.from(text.split('.').map(Number));
  }
  if (!isIPv6(text) || text.includes('%')) throw new RangeError(`'${text}' is not an IPv6 address`);
  const [head = '', tail] = text.split('::');
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const bytes = Buffer.alloc(16);
  for (const [i, group] of front.entries()) bytes.writeUInt16BE(group, i * 2);
  for (const [i, group] of back.entries()) bytes.writeUInt16BE(group, 16 - (back.length - i) * 2);
  return bytes;
}

function groups(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((part) => {
    if (!part.includes('.')) return [Number.parseInt(part, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}

export function formatAddress(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) throw new RangeError(`an address has 4 or 16 bytes, not ${bytes.length}`);
  const words = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2));
  const { start, length } = longestZeroRun(words);
  const hex = (part: number[]) => part.map((word) => word.toString(16)).join(':');
  return length < 2 ? hex(words) : `${hex(words.slice(0, start))}::${hex(words.slice(start + length))}`;
}

function longestZeroRun(words: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  words.forEach((word, i) => {
    if (word !== 0) start = i + 1;
    else if (i + 1 - start > best.length) best = { start, length: i + 1 - start };
  });
  return best;
}

export interface Prefix {
  readonly family: Family;
  readonly address: string;
  readonly bytes: Buffer;
  readonly length: number;
}

/** `10.0.0.0/8`; a bare address has its full length. Bits behind the length are kept. */
export function parsePrefix(text: string): Prefix {
  const [address = '', length_text] = text.split('/', 2);
  const family = familyOf(address);
  const bytes = parseAddress(address, family);
  const length = length_text === undefined ? addressBits(family) : Number(length_text);
  if (!Number.isInteger(length) || length_text === '' || length < 0 || length > addressBits(family))
    throw new RangeError(`'${text}' has no prefix length from 0 to ${addressBits(family)}`);
  return { family, address: formatAddress(bytes), bytes, length };
}

export function parseMac(text: string): Buffer {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) throw new RangeError(`'${text}' is not a MAC address`);
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

export function formatMac(bytes: Buffer): string {
  return bytes.toString('hex').replace(/(..)(?=.)/g, '$1:');
}

/** The link-local address that an interface derives from its MAC (RFC 4291, modified EUI-64). */
export function linkLocalOf(mac = '00:00:00:00:00:00'): string {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = parseMac(mac);
  return formatAddress(Buffer.from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 0x02, b, c, 0xff, 0xfe, d, e, f]));
}
