/** The members of Felix's sets: from the text that the stream carries to packed prefixes, without a string for each. */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { type PackedPrefix, packPrefix } from './address-set.js';

/** The protocol in the high bits, the port in the low 16. */
export type ProtocolPort = number;

export function protocolPort(protocol: number, port: number): ProtocolPort {
  return protocol * 65536 + port;
}

export function protocolOf(port: ProtocolPort): number {
  return port >>> 16;
}

export function portOf(port: ProtocolPort): number {
  return port & 0xffff;
}

export interface Member {
  readonly prefix: PackedPrefix;
  /** Of an address with protocol and port. */
  readonly port?: ProtocolPort;
}

const protocols: ReadonlyMap<string, number> = new Map([
  ['tcp', 6],
  ['udp', 17],
  ['sctp', 132],
]);

/** `10.0.0.0/8`, `fd00::1`, `10.0.0.1,tcp:80`. Undefined: it is none of them. */
export function parseMember(text: Uint8Array): Member | undefined {
  const comma = text.indexOf(0x2c);
  if (comma < 0) {
    const prefix = prefixOf(text);
    return prefix && { prefix };
  }
  const prefix = prefixOf(text.subarray(0, comma));
  const [name = '', number = '', more] = latin1(text.subarray(comma + 1)).split(':');
  const protocol = protocols.get(name.toLowerCase());
  if (prefix === undefined || protocol === undefined || more !== undefined) return undefined;
  if (!/^\d{1,5}$/.test(number) || Number(number) > 65535) return undefined;
  return { prefix, port: protocolPort(protocol, Number(number)) };
}

function latin1(text: Uint8Array): string {
  return Buffer.from(text.buffer, text.byteOffset, text.byteLength).toString('latin1');
}

const colon = 0x3a;
const dot = 0x2e;
const slash = 0x2f;
const zero = 0x30;

function prefixOf(text: Uint8Array): PackedPrefix | undefined {
  return text.includes(colon) ? prefixV6(text) : prefixV4(text);
}

/** By hand: there may be a hundred thousand of them. */
function prefixV4(text: Uint8Array): PackedPrefix | undefined {
  const numbers = [-1, -1, -1, -1, -1];
  let field = 0;
  for (const byte of text) {
    if (byte >= zero && byte <= zero + 9) {
      const known = numbers[field]!;
      numbers[field] = (known < 0 ? 0 : known * 10) + byte - zero;
      if (numbers[field]! > 255) return undefined;
    } else if ((byte === dot && field < 3) || (byte === slash && field === 3)) field += 1;
    else return undefined;
  }
  const [a = 0, b = 0, c = 0, d = 0, length = 0] = numbers;
  if (field < 3 || Math.min(a, b, c, d) < 0 || (field === 4 && length < 0) || length > 32) return undefined;
  return packPrefix([a, b, c, d], field === 4 ? length : 32);
}

/** By hand, too. Groups of hexadecimal digits, at most one run of zeros left out; an end in IPv4's spelling is Felix's for nothing. */
function prefixV6(text: Uint8Array): PackedPrefix | undefined {
  let end = text.indexOf(slash);
  const length = end < 0 ? 128 : decimal(text, end + 1);
  if (length === undefined || length > 128) return undefined;
  if (end < 0) end = text.length;
  const bytes = new Uint8Array(16);
  let at = 0;
  /** Where the zeros are that were left out. */
  let gap = -1;
  let i = 0;
  if (text[0] === colon) {
    if (text[1] !== colon) return undefined;
    gap = 0;
    i = 2;
  }
  while (i < end) {
    let group = 0;
    const start = i;
    for (; i < end && text[i] !== colon; i += 1) {
      const digit = hexDigit(text[i]!);
      if (digit < 0 || i - start === 4) return undefined;
      group = group * 16 + digit;
    }
    if (i === start || at === 16) return undefined;
    bytes[at] = group >> 8;
    bytes[at + 1] = group & 255;
    at += 2;
    if (i === end) break;
    i += 1;
    if (text[i] === colon && i < end) {
      if (gap >= 0) return undefined;
      gap = at;
      i += 1;
    } else if (i === end) return undefined;
  }
  if (gap < 0) return at === 16 ? packPrefix(bytes, length) : undefined;
  if (at === 16) return undefined;
  bytes.copyWithin(16 - (at - gap), gap, at);
  bytes.fill(0, gap, 16 - (at - gap));
  return packPrefix(bytes, length);
}

function hexDigit(byte: number): number {
  if (byte >= zero && byte <= zero + 9) return byte - zero;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** Of one to three digits, up to the end. */
function decimal(text: Uint8Array, from: number): number | undefined {
  if (text.length === from || text.length > from + 3) return undefined;
  let value = 0;
  for (let i = from; i < text.length; i += 1) {
    const digit = text[i]! - zero;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value;
}

/** A prefix of a rule or an endpoint. */
export function parsePrefixText(text: string): PackedPrefix | undefined {
  const member = parseMember(Buffer.from(text));
  return member?.port === undefined ? member?.prefix : undefined;
}

/** The types that sets have on the wire. */
const set_types = ['address', 'address_and_port', 'prefix'] as const;
export type SetType = (typeof set_types)[number];

/** The bytes of a set's update, of which the head is read. */
export interface SetUpdate {
  readonly id: string;
  readonly type: SetType | undefined;
  readonly bytes: Uint8Array;
}

/** Throws what the reader throws where the bytes are no message. */
export function readSetHead(bytes: Uint8Array): SetUpdate {
  let id = '';
  let type = 0;
  for (const field of fieldsOf(bytes)) {
    if (field.number === 1 && field.wire === WireType.LengthDelimited) id = field.reader.string();
    else if (field.number === 3 && field.wire === WireType.Varint) type = field.reader.int32();
    else field.reader.skip(field.wire, field.number);
  }
  return { id, type: set_types[type], bytes };
}

/** Each member's text in the fields of this number: 2 has the members of an update, or what a delta adds, 3 what a delta removes. */
export function* memberTexts(bytes: Uint8Array, number: 2 | 3): Generator<Uint8Array> {
  for (const field of fieldsOf(bytes)) {
    if (field.number === number && field.wire === WireType.LengthDelimited) yield field.reader.bytes();
    else field.reader.skip(field.wire, field.number);
  }
}

function* fieldsOf(
  bytes: Uint8Array,
): Generator<{ readonly number: number; readonly wire: WireType; readonly reader: BinaryReader }> {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag();
    yield { number, wire, reader };
  }
}
