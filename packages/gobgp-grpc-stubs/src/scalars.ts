import { isIP, isIPv4 } from 'node:net';
import { isPrefix } from './prefix.js';
import type { ScalarTag } from './schema.js';
import { type Reader, type Writer, wire_32bit, wire_bytes, wire_varint } from './wire.js';

/** How each kind of value that is no message is checked, written and read. */

export type Encode = (writer: Writer, value: unknown) => void;
export type Decode = (reader: Reader) => unknown;

export interface KindCodec {
  readonly wire_type: number;
  /** What is not sent: the zero of a scalar. */
  readonly isZero: (value: unknown) => boolean;
  readonly encode: Encode;
  readonly decode: Decode;
  /** What a field that did not come is. */
  readonly zero: () => unknown;
}

/** A value that its field cannot hold. The message that has the field gives it its place. */
export class BadValue extends Error {}

export const no_bytes = new Uint8Array();

/** A value in an error's text: short, and never the content of an object. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 64 ? `${value.slice(0, 64)}…` : value);
  if (typeof value === 'object' && value !== null) return 'an object';
  return String(value);
}

export const copy = (from: Buffer, start: number, end: number): Uint8Array =>
  new Uint8Array(from.subarray(start, end));

const whole = (low: number, high: number, write: (writer: Writer, value: number) => void): Encode => {
  return (writer, value) => {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value > high)
      throw new BadValue(`${describe(value)} is not a whole number from ${low} to ${high}`);
    write(writer, value);
  };
};

const string = (show: (value: unknown) => string): Encode => {
  return (writer, value) => {
    if (typeof value !== 'string') throw new BadValue(`${show(value)} is not text`);
    writer.text(value);
  };
};

const readText: Decode = (reader) => {
  const limit = reader.limit();
  const value = reader.bytes.toString('utf8', reader.at, limit);
  reader.at = limit;
  return value;
};

const addressOf = (fits: (value: string) => unknown, what: string): Encode => {
  return (writer, value) => {
    if (typeof value !== 'string' || !fits(value)) throw new BadValue(`${describe(value)} is not ${what}`);
    writer.text(value);
  };
};

/** How GoBGP writes that there is no address: Go's words for a nil IP. */
const no_address = new Set(['<nil>', 'invalid IP']);

const readAddress: Decode = (reader) => {
  const value = readText(reader) as string;
  return no_address.has(value) ? '' : value;
};

const number = (encode: Encode, decode: Decode): KindCodec => ({
  wire_type: wire_varint,
  isZero: (value) => value === 0,
  encode,
  decode,
  zero: () => 0,
});

const textCodec = (encode: Encode, decode: Decode = readText): KindCodec => ({
  wire_type: wire_bytes,
  isZero: (value) => value === '',
  encode,
  decode,
  zero: () => '',
});

const max_exact = Number.MAX_SAFE_INTEGER;
const unsigned = (writer: Writer, value: number) => writer.varint(value);
const signed = (writer: Writer, value: number) => writer.signed(value);

export const scalars: Readonly<Record<ScalarTag, KindCodec>> = {
  u8: number(whole(0, 2 ** 8 - 1, unsigned), (reader) => reader.varint()),
  u16: number(whole(0, 2 ** 16 - 1, unsigned), (reader) => reader.varint()),
  u32: number(whole(0, 2 ** 32 - 1, unsigned), (reader) => reader.varint()),
  u64: number(whole(0, max_exact, unsigned), (reader) => reader.varint()),
  i32: number(whole(-(2 ** 31), 2 ** 31 - 1, signed), (reader) => reader.signed()),
  i64: number(whole(-max_exact, max_exact, signed), (reader) => reader.signed()),
  f32: {
    wire_type: wire_32bit,
    isZero: (value) => value === 0,
    encode: (writer, value) => {
      if (typeof value !== 'number') throw new BadValue(`${describe(value)} is not a number`);
      writer.float(value);
    },
    decode: (reader) => reader.float(),
    zero: () => 0,
  },
  bool: {
    wire_type: wire_varint,
    isZero: (value) => value === false,
    encode: (writer, value) => {
      if (typeof value !== 'boolean') throw new BadValue(`${describe(value)} is neither true nor false`);
      writer.varint(value ? 1 : 0);
    },
    decode: (reader) => reader.varint() !== 0,
    zero: () => false,
  },
  text: textCodec(string(describe)),
  secret: textCodec((writer, value) => {
    string(() => 'this secret')(writer, value);
    writer.secrets.push(value as string);
  }),
  address: textCodec(addressOf(isIP, 'an IP address'), readAddress),
  ipv4: textCodec(addressOf(isIPv4, 'an IPv4 address'), readAddress),
  prefix: textCodec(addressOf(isPrefix, 'an IP address with a prefix length')),
  mac: textCodec(addressOf((value) => /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(value), 'a MAC address')),
  bytes: {
    wire_type: wire_bytes,
    isZero: (value) => value instanceof Uint8Array && value.length === 0,
    encode: (writer, value) => {
      if (!(value instanceof Uint8Array)) throw new BadValue(`${describe(value)} is not bytes`);
      writer.raw(value);
    },
    decode: (reader) => {
      const limit = reader.limit();
      const value = copy(reader.bytes, reader.at, limit);
      reader.at = limit;
      return value;
    },
    zero: () => no_bytes,
  },
  /** google.protobuf.Timestamp: seconds 1, nanos 2. */
  timestamp: {
    wire_type: wire_bytes,
    isZero: (value) => value === 0,
    encode: (writer, value) => {
      if (typeof value !== 'number' || !Number.isSafeInteger(Math.trunc(value)))
        throw new BadValue(`${describe(value)} is not a time in milliseconds`);
      const seconds = Math.floor(value / 1000);
      writer.nested(() => {
        writer.varint((1 << 3) | wire_varint);
        writer.signed(seconds);
        writer.varint((2 << 3) | wire_varint);
        writer.varint(Math.round((value - 1000 * seconds) * 1e6));
      });
    },
    decode: (reader) =>
      reader.within((inner) => {
        let time = 0;
        while (inner.at < inner.end) {
          const key = inner.varint();
          if (key === ((1 << 3) | wire_varint)) time += inner.signed() * 1000;
          else if (key === ((2 << 3) | wire_varint)) time += inner.varint() / 1e6;
          else inner.skip(key & 7);
        }
        return time;
      }),
    zero: () => 0,
  },
};

/** Bytes of which there are so many. */
export function sizedBytes(lengths: readonly number[]): KindCodec {
  const encode: Encode = (writer, value) => {
    if (value instanceof Uint8Array && !lengths.includes(value.length))
      throw new BadValue(`${value.length} bytes, instead of ${lengths.join(' or ')}`);
    scalars.bytes.encode(writer, value);
  };
  return { ...scalars.bytes, encode, isZero: () => false };
}
