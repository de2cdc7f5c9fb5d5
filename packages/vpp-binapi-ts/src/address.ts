/**
 * Addresses, prefixes and MACs as text. Reading from a message never fails but for an address family or a prefix length that does
 * not exist; writing throws MalformedError, which names the field and the text.
 *
 * IPv6 is printed as RFC 5952 says (longest run of zeros cut, lower case, IPv4-mapped with dots) and accepted in every form of RFC 4291
 * but with a zone. IPv4 is four decimal numbers without leading zeros. A MAC is printed as `02:fe:00:00:00:01` and accepted with
 * colons, hyphens or as three groups with dots.
 */
import { MalformedError } from './errors.js';

/** `vl_api_address_family_t` */
const family_ip4 = 0;
const family_ip6 = 1;

const dot = 0x2e;
const colon = 0x3a;
const hyphen = 0x2d;
const zero = 0x30;

const decimal: readonly string[] = Array.from({ length: 256 }, (_, n) => String(n));
const hex_byte: readonly string[] = Array.from({ length: 256 }, (_, n) => n.toString(16).padStart(2, '0'));

function hex_digit(code: number): number {
  if (code >= zero && code <= 0x39) return code - zero;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** Writes 4 bytes; false where text[from, to) is no IPv4 address. */
function parse_ip4(bytes: Uint8Array, at: number, text: string, from: number, to: number): boolean {
  let i = from;
  for (let part = 0; part < 4; part++) {
    if (part > 0 && text.charCodeAt(i++) !== dot) return false;
    const start = i;
    let n = 0;
    while (i < to && i - start < 3) {
      const digit = text.charCodeAt(i) - zero;
      if (digit < 0 || digit > 9) break;
      n = n * 10 + digit;
      i++;
    }
    const length = i - start;
    if (length === 0 || n > 255 || (length > 1 && text.charCodeAt(start) === zero)) return false;
    bytes[at + part] = n;
  }
  return i === to;
}

/** Writes 16 bytes; false where text[0, to) is no IPv6 address. */
function parse_ip6(bytes: Uint8Array, at: number, text: string, to: number): boolean {
  let i = 0;
  let out = 0;
  let gap = -1;
  if (to >= 2 && text.charCodeAt(0) === colon) {
    if (text.charCodeAt(1) !== colon) return false;
    gap = 0;
    i = 2;
  }
  while (i < to) {
    if (out === 16) return false;
    const start = i;
    let group = 0;
    while (i < to && i - start < 4) {
      const digit = hex_digit(text.charCodeAt(i));
      if (digit < 0) break;
      group = (group << 4) | digit;
      i++;
    }
    if (i === start) return false;
    if (i < to && text.charCodeAt(i) === dot) {
      if (out > 12 || !parse_ip4(bytes, at + out, text, start, to)) return false;
      out += 4;
      i = to;
      break;
    }
    bytes[at + out++] = group >> 8;
    bytes[at + out++] = group & 0xff;
    if (i === to) break;
    if (text.charCodeAt(i++) !== colon) return false;
    if (i < to && text.charCodeAt(i) === colon) {
      if (gap >= 0) return false;
      gap = out;
      i++;
    } else if (i === to) return false;
  }
  if (gap < 0) return out === 16;
  if (out === 16) return false;
  const tail = out - gap;
  bytes.copyWithin(at + 16 - tail, at + gap, at + out);
  bytes.fill(0, at + gap, at + 16 - tail);
  return true;
}

function bad(field: string, text: unknown, kind: string): never {
  throw new MalformedError(
    `${field}: ${typeof text === 'string' ? JSON.stringify(text) : String(text)} is not ${kind}`,
  );
}

export function write_ip4_address(bytes: Uint8Array, at: number, text: string, field: string): void {
  if (typeof text !== 'string' || !parse_ip4(bytes, at, text, 0, text.length))
    bad(field, text, 'an IPv4 address');
}

export function write_ip6_address(bytes: Uint8Array, at: number, text: string, field: string): void {
  if (typeof text !== 'string' || !parse_ip6(bytes, at, text, text.length))
    bad(field, text, 'an IPv6 address');
}

/** The union of 16 bytes: IPv4 in front, the rest zero. Returns the family, or -1 where text[0, to) is no address. */
function parse_either(bytes: Uint8Array, at: number, text: string, to: number): number {
  if (parse_ip4(bytes, at, text, 0, to)) {
    bytes.fill(0, at + 4, at + 16);
    return family_ip4;
  }
  return parse_ip6(bytes, at, text, to) ? family_ip6 : -1;
}

/** family, union: 17 bytes */
export function write_address(bytes: Uint8Array, at: number, text: string, field: string): void {
  const family = typeof text === 'string' ? parse_either(bytes, at + 1, text, text.length) : -1;
  if (family < 0) bad(field, text, 'an IP address');
  bytes[at] = family;
}

/**
 * The bare union of 16 bytes, whose family another field tells: that of IPv4 and of IPv6 want an address of their own; every other value of it
 * (an MPLS path has one) takes either, and IPv6 text stands for 16 bytes of any meaning.
 */
export function write_address_union(
  bytes: Uint8Array,
  at: number,
  text: string,
  tag: number,
  ip4: number,
  ip6: number,
  field: string,
): void {
  if (tag === ip6) return write_ip6_address(bytes, at, text, field);
  if (tag === ip4) {
    write_ip4_address(bytes, at, text, field);
    bytes.fill(0, at + 4, at + 16);
  } else if (typeof text !== 'string' || parse_either(bytes, at, text, text.length) < 0)
    bad(field, text, 'an IP address');
}

/** Where the slash of `address/length` is, or -1. */
function slash_in(text: unknown): number {
  return typeof text === 'string' ? text.lastIndexOf('/') : -1;
}

/** The number behind the slash, or -1 where it is none or over `max`. */
function prefix_length(text: string, slash: number, max: number): number {
  const digits = text.length - slash - 1;
  if (digits < 1 || digits > 3 || (digits > 1 && text.charCodeAt(slash + 1) === zero)) return -1;
  let n = 0;
  for (let i = slash + 1; i < text.length; i++) {
    const digit = text.charCodeAt(i) - zero;
    if (digit < 0 || digit > 9) return -1;
    n = n * 10 + digit;
  }
  return n <= max ? n : -1;
}

/** family, union, length: 18 bytes. Bits behind the length are kept as they are. */
export function write_prefix(bytes: Uint8Array, at: number, text: string, field: string): void {
  const slash = slash_in(text);
  const family = slash < 0 ? -1 : parse_either(bytes, at + 1, text, slash);
  const length = family < 0 ? -1 : prefix_length(text, slash, family === family_ip4 ? 32 : 128);
  if (length < 0) bad(field, text, 'an IP address with a prefix length');
  bytes[at] = family;
  bytes[at + 17] = length;
}

/** address, length: 5 bytes */
export function write_ip4_prefix(bytes: Uint8Array, at: number, text: string, field: string): void {
  const slash = slash_in(text);
  const length = slash >= 0 && parse_ip4(bytes, at, text, 0, slash) ? prefix_length(text, slash, 32) : -1;
  if (length < 0) bad(field, text, 'an IPv4 address with a prefix length');
  bytes[at + 4] = length;
}

/** address, length: 17 bytes */
export function write_ip6_prefix(bytes: Uint8Array, at: number, text: string, field: string): void {
  const slash = slash_in(text);
  const length = slash >= 0 && parse_ip6(bytes, at, text, slash) ? prefix_length(text, slash, 128) : -1;
  if (length < 0) bad(field, text, 'an IPv6 address with a prefix length');
  bytes[at + 16] = length;
}

/** Hex digits between separators: bytes with colons or hyphens (17 characters), or 16-bit groups with dots (14). */
function parse_mac(bytes: Uint8Array, at: number, text: string): boolean {
  const dotted = text.length === 14;
  const separator = dotted ? dot : text.charCodeAt(2);
  if (!dotted && (text.length !== 17 || (separator !== colon && separator !== hyphen))) return false;
  let i = 0;
  for (let out = 0; out < 6; out++) {
    if (out > 0 && !(dotted && out % 2 === 1) && text.charCodeAt(i++) !== separator) return false;
    const high = hex_digit(text.charCodeAt(i++));
    const low = hex_digit(text.charCodeAt(i++));
    if (high < 0 || low < 0) return false;
    bytes[at + out] = (high << 4) | low;
  }
  return true;
}

/** 6 bytes */
export function write_mac_address(bytes: Uint8Array, at: number, text: string, field: string): void {
  if (typeof text !== 'string' || !parse_mac(bytes, at, text)) bad(field, text, 'a MAC address');
}

export function read_ip4_address(bytes: Uint8Array, at: number): string {
  return `${decimal[bytes[at]!]}.${decimal[bytes[at + 1]!]}.${decimal[bytes[at + 2]!]}.${decimal[bytes[at + 3]!]}`;
}

export function read_ip6_address(bytes: Uint8Array, at: number): string {
  let run_at = -1;
  let run = 1;
  for (let i = 0; i < 8; ) {
    let n = 0;
    while (i + n < 8 && bytes[at + 2 * (i + n)] === 0 && bytes[at + 2 * (i + n) + 1] === 0) n++;
    if (n > run) {
      run_at = i;
      run = n;
    }
    i += n + 1;
  }
  if (run_at === 0 && run === 5 && bytes[at + 10] === 0xff && bytes[at + 11] === 0xff) {
    return `::ffff:${read_ip4_address(bytes, at + 12)}`;
  }
  let text = '';
  for (let i = 0; i < 8; i++) {
    if (i === run_at) {
      text += '::';
      i += run - 1;
      continue;
    }
    if (i > 0 && i !== run_at + run) text += ':';
    text += ((bytes[at + 2 * i]! << 8) | bytes[at + 2 * i + 1]!).toString(16);
  }
  return text;
}

function family_of(bytes: Uint8Array, at: number): number {
  const family = bytes[at]!;
  if (family !== family_ip4 && family !== family_ip6)
    throw new MalformedError(`address family ${family} does not exist`);
  return family;
}

function length_of(bytes: Uint8Array, at: number, max: number): number {
  const length = bytes[at]!;
  if (length > max) throw new MalformedError(`prefix length ${length} is over ${max}`);
  return length;
}

export function read_address(bytes: Uint8Array, at: number): string {
  return family_of(bytes, at) === family_ip4
    ? read_ip4_address(bytes, at + 1)
    : read_ip6_address(bytes, at + 1);
}

/** The counterpart of write_address_union: IPv4 text for `ip4`, else the 16 bytes as IPv6 text. */
export function read_address_union(bytes: Uint8Array, at: number, tag: number, ip4: number): string {
  return tag === ip4 ? read_ip4_address(bytes, at) : read_ip6_address(bytes, at);
}

export function read_prefix(bytes: Uint8Array, at: number): string {
  return family_of(bytes, at) === family_ip4
    ? `${read_ip4_address(bytes, at + 1)}/${length_of(bytes, at + 17, 32)}`
    : `${read_ip6_address(bytes, at + 1)}/${length_of(bytes, at + 17, 128)}`;
}

export function read_ip4_prefix(bytes: Uint8Array, at: number): string {
  return `${read_ip4_address(bytes, at)}/${length_of(bytes, at + 4, 32)}`;
}

export function read_ip6_prefix(bytes: Uint8Array, at: number): string {
  return `${read_ip6_address(bytes, at)}/${length_of(bytes, at + 16, 128)}`;
}

export function read_mac_address(bytes: Uint8Array, at: number): string {
  let text = hex_byte[bytes[at]!]!;
  for (let i = 1; i < 6; i++) text += `:${hex_byte[bytes[at + i]!]}`;
  return text;
}
