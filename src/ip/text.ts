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
  const [head = '', tail = ''] = text.split('::');
  const bytes = Buffer.alloc(16);
  writeGroups(head, bytes, 0);
  writeGroups(tail, bytes, 16 - groupBytes(tail));
  return bytes;
}

function writeGroups(text: string, bytes: Buffer, at: number): void {
  if (text === '') return;
  let end = at;
  for (const part of text.split(':')) {
    if (part.includes('.')) for (const byte of part.split('.')) bytes[end++] = Number(byte);
    else end = bytes.writeUInt16BE(Number.parseInt(part, 16), end);
  }
}

function groupBytes(text: string): number {
  if (text === '') return 0;
  return text.split(':').length * 2 + (text.includes('.') ? 2 : 0);
}

export function formatAddress(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) throw new RangeError(`an address has 4 or 16 bytes, not ${bytes.length}`);
  const { start, end } = longestZeroRun(bytes);
  let text = '';
  for (let at = 0; at < 16; at += 2) {
    if (at === start) {
      text += '::';
      at = end - 2;
      continue;
    }
    if (at > 0 && at !== end) text += ':';
    text += bytes.readUInt16BE(at).toString(16);
  }
  return text;
}

/** By bytes, from `start` to before `end`; -1 where there is none: a single group is not shortened. */
function longestZeroRun(bytes: Buffer): { start: number; end: number } {
  let best = { start: -1, end: -1 };
  let start = 0;
  for (let at = 0; at < 16; at += 2) {
    if (bytes[at] !== 0 || bytes[at + 1] !== 0) start = at + 2;
    else if (at > start && at + 2 - start > best.end - best.start) best = { start, end: at + 2 };
  }
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
  const { family, bytes, length } = prefixBits(text);
  return { family, address: formatAddress(bytes), bytes, length };
}

/** As `parsePrefix`, for whom the spelling does not matter. */
export function prefixBits(text: string): Omit<Prefix, 'address'> {
  const [address = '', length_text] = text.split('/', 2);
  const family = familyOf(address);
  const bytes = parseAddress(address, family);
  const length = length_text === undefined ? addressBits(family) : Number(length_text);
  if (!Number.isInteger(length) || length_text === '' || length < 0 || length > addressBits(family))
    throw new RangeError(`'${text}' has no prefix length from 0 to ${addressBits(family)}`);
  return { family, bytes, length };
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
