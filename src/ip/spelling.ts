/**
 * IP addresses and prefixes in the one spelling that is compared and stored: canonical text, host bits of a prefix
 * cleared. IPv4-mapped IPv6 addresses are refused, they would be a second spelling; so are zone ids.
 */
import { isIP } from 'node:net';
import { isGroup } from './prefix.js';
import { quad } from './quad.js';
import { formatAddress, parseAddress } from './text.js';

function addressBytes(text: string): Buffer | undefined {
  if (isIP(text) === 0 || text.includes('%')) return undefined;
  const bytes = parseAddress(text);
  const mapped = bytes.length === 16 && bytes.readBigUInt64BE(0) === 0n && bytes.readUInt32BE(8) === 0xffff;
  return mapped ? undefined : bytes;
}

const slash = 47;
const zero = 48;

/** True for IPv4 prefixes in canonical spelling, most of all that there are: nothing has to be taken apart. */
function isPlainPrefix(text: string): boolean {
  let at = text.length - 2;
  let length = text.charCodeAt(at + 1) - zero;
  if (!(length >= 0 && length <= 9)) return false;
  if (text.charCodeAt(at) !== slash) {
    const tens = text.charCodeAt(at) - zero;
    if (!(tens >= 1 && tens <= 3)) return false;
    length += 10 * tens;
    at -= 1;
    if (length > 32 || text.charCodeAt(at) !== slash) return false;
  }
  const address = quad(text, at);
  // A shift by 32 would be none.
  return address >= 0 && (length === 32 || address << length === 0);
}

/** The canonical spelling of an address without length; undefined when it is none. */
export function canonicalAddress(text: string): string | undefined {
  if (quad(text, text.length) >= 0) return text;
  const bytes = addressBytes(text);
  return bytes && formatAddress(bytes);
}

/** `address/length` taken apart: the address with its host bits, and the canonical prefix. */
export function splitPrefix(text: string): { readonly address: string; readonly prefix: string } | undefined {
  const [, address_text = '', length_text = ''] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const bytes = addressBytes(address_text);
  const length = Number(length_text);
  if (bytes === undefined || length > bytes.length * 8) return undefined;
  const network = bytes.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, length - 8 * i))));
  return { address: formatAddress(bytes), prefix: `${formatAddress(Buffer.from(network))}/${length}` };
}

/** The canonical prefix of a prefix, or of a bare address (whose length is then 32 or 128). */
export function canonicalPrefix(text: string): string | undefined {
  if (isPlainPrefix(text)) return text;
  const bytes = addressBytes(text);
  return splitPrefix(bytes ? `${text}/${bytes.length * 8}` : text)?.prefix;
}

export function isUnspecified(canonical: string): boolean {
  return canonical === '0.0.0.0' || canonical === '::';
}

/** Whether an interface can own this canonical address: neither unspecified, loopback, multicast nor broadcast. */
export function isUnicast(canonical: string): boolean {
  if (isUnspecified(canonical) || canonical === '::1' || isGroup(canonical)) return false;
  const first_octet = Number(/^(\d+)\./.exec(canonical)?.[1] ?? 0);
  // Linux and VPP take 240.0.0.0/4 for addresses like any.
  return first_octet !== 127 && canonical !== '255.255.255.255';
}
