/** Addresses and prefixes as VPP's tables compare them. Texts are canonical, as the codecs decode them. */
import { networkOf as masked } from '../../src/ip/prefix.js';
import { formatAddress, parseAddress } from '../../src/ip/text.js';

export type Family = 4 | 6;
export const families: readonly Family[] = [4, 6];

export function familyOf(text: string): Family {
  return text.includes(':') ? 6 : 4;
}

export function familyFrom(af: string): Family {
  return af === 'ADDRESS_IP6' ? 6 : 4;
}

export function afOf(family: Family): 'ADDRESS_IP4' | 'ADDRESS_IP6' {
  return family === 4 ? 'ADDRESS_IP4' : 'ADDRESS_IP6';
}

export function hostLength(family: Family): number {
  return family === 4 ? 32 : 128;
}

export function unspecified(family: Family): string {
  return family === 4 ? '0.0.0.0' : '::';
}

export function isUnspecified(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

export function addressOf(prefix: string): string {
  return prefix.slice(0, prefix.indexOf('/'));
}

export function lengthOf(prefix: string): number {
  return Number(prefix.slice(prefix.indexOf('/') + 1));
}

export function isHost(prefix: string): boolean {
  return prefix.endsWith('/128') || (prefix.endsWith('/32') && !prefix.includes(':'));
}

export function hostPrefix(address: string): string {
  return `${address}/${hostLength(familyOf(address))}`;
}

/** With the bits behind its length cleared. */
export function networkOf(prefix: string): string {
  return isHost(prefix) ? prefix : masked(prefix);
}

/** Whether `prefix` (of the same family) holds the address. */
export function contains(prefix: string, address: string): boolean {
  const length = lengthOf(prefix);
  return networkOf(`${address}/${length}`) === networkOf(prefix);
}

/** Whether one of the two holds the other. */
export function overlap(a: string, b: string): boolean {
  return familyOf(a) === familyOf(b) && (contains(a, addressOf(b)) || contains(b, addressOf(a)));
}

/** The last address of the prefix. */
export function broadcastOf(prefix: string): string {
  const length = lengthOf(prefix);
  const bytes = parseAddress(addressOf(prefix));
  for (let bit = length; bit < bytes.length * 8; bit += 1) bytes[bit >> 3]! |= 0x80 >> (bit & 7);
  return formatAddress(bytes);
}

/** The other address of a /31. */
export function otherOf31(address: string): string {
  const bytes = parseAddress(address);
  bytes[bytes.length - 1]! ^= 1;
  return formatAddress(bytes);
}

/** The link-local address that VPP derives from a MAC (RFC 4291, modified EUI-64). */
export function linkLocalFrom(mac: string): string {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = mac.split(':').map((byte) => Number.parseInt(byte, 16));
  return formatAddress(Buffer.from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f]));
}
