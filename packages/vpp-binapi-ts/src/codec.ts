/** What generated code calls: checked numbers, strings, byte arrays, a bounded reader, and the constructors of descriptors. */
import { MalformedError } from './errors.js';
import type { Bytes, Dump, Header, Message, OneWay, Request, Stream, Subscription } from './message.js';

function out_of_range(field: string, value: unknown, kind: string): never {
  throw new MalformedError(`${field}: ${String(value)} is not ${kind}`);
}

// Each returns its value, so that a generated line reads `view.setUint32(at, c.u32(value.table_id, 'ip_table.table_id'))`.

export function u8(value: number, field: string): number {
  return (value & 0xff) === value ? value : out_of_range(field, value, 'a u8');
}

export function i8(value: number, field: string): number {
  return (value << 24) >> 24 === value ? value : out_of_range(field, value, 'an i8');
}

export function u16(value: number, field: string): number {
  return (value & 0xffff) === value ? value : out_of_range(field, value, 'a u16');
}

export function i16(value: number, field: string): number {
  return (value << 16) >> 16 === value ? value : out_of_range(field, value, 'an i16');
}

export function u32(value: number, field: string): number {
  return value >>> 0 === value ? value : out_of_range(field, value, 'a u32');
}

export function i32(value: number, field: string): number {
  return (value | 0) === value ? value : out_of_range(field, value, 'an i32');
}

export function u64(value: bigint, field: string): bigint {
  return typeof value === 'bigint' && BigInt.asUintN(64, value) === value
    ? value
    : out_of_range(field, value, 'a u64 (bigint)');
}

export function i64(value: bigint, field: string): bigint {
  return typeof value === 'bigint' && BigInt.asIntN(64, value) === value
    ? value
    : out_of_range(field, value, 'an i64 (bigint)');
}

export function f64(value: number, field: string): number {
  return typeof value === 'number' ? value : out_of_range(field, value, 'a number');
}

/** Number and name of an enum's values. A number without a name is `unknown_<n>`, both ways. */
export interface Enumeration<Name extends string> {
  value(name: Name | Unknown, field: string): number;
  name(value: number): Name | Unknown;
}

/** A value that VPP's definition does not name. */
export type Unknown = `unknown_${number}`;

export function enumeration<Name extends string>(
  max: number,
  values: Readonly<Record<Name, number>>,
): Enumeration<Name> {
  const numbers = new Map<string, number>(Object.entries<number>(values));
  const names = new Map<number, Name>();
  for (const [name, value] of Object.entries<number>(values))
    if (!names.has(value)) names.set(value, name as Name);
  return {
    value: (name, field) => numbers.get(name) ?? unknown_value(name, max, field),
    name: (value) => names.get(value) ?? `unknown_${value}`,
  };
}

function unknown_value(name: string, max: number, field: string): number {
  const digits = /^unknown_(0|[1-9][0-9]{0,9})$/.exec(name)?.[1];
  const value = Number(digits);
  return digits !== undefined && value <= max ? value : out_of_range(field, name, 'one of its names');
}

const utf8_encoder = new TextEncoder();
const utf8_decoder = new TextDecoder();

/** Over this a TextDecoder is faster than adding characters. */
const ascii_loop_max = 48;

/** Bytes of the text in UTF-8. */
export function text_size(text: string): number {
  for (let i = 0; i < text.length; i++)
    if (text.charCodeAt(i) >= 0x80) return utf8_encoder.encode(text).length;
  return text.length;
}

/** Writes UTF-8 in at most `room` bytes and returns how many, or -1 where they do not suffice. */
function put_text(bytes: Uint8Array, at: number, text: string, room: number): number {
  const length = text.length;
  if (length > room) return -1;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0x80) {
      const { read, written } = utf8_encoder.encodeInto(text, bytes.subarray(at, at + room));
      return read === length ? written : -1;
    }
    bytes[at + i] = code;
  }
  return length;
}

function get_text(bytes: Uint8Array, at: number, length: number): string {
  if (length > ascii_loop_max) return utf8_decoder.decode(bytes.subarray(at, at + length));
  let text = '';
  for (let i = at; i < at + length; i++) {
    const code = bytes[i]!;
    if (code >= 0x80) return utf8_decoder.decode(bytes.subarray(at, at + length));
    text += String.fromCharCode(code);
  }
  return text;
}

/** `string name[room]`: padded with zeros, of which VPP wants one at least. */
export function write_fixed_string(
  bytes: Uint8Array,
  at: number,
  room: number,
  text: string,
  field: string,
): void {
  if (typeof text !== 'string' || text.includes('\0'))
    out_of_range(field, JSON.stringify(text), 'a text without NUL');
  const length = put_text(bytes, at, text, room - 1);
  if (length < 0) out_of_range(field, JSON.stringify(text), `a text of at most ${room - 1} bytes`);
  bytes.fill(0, at + length, at + room);
}

export function read_fixed_string(bytes: Uint8Array, at: number, room: number): string {
  let length = 0;
  while (length < room && bytes[at + length] !== 0) length++;
  return get_text(bytes, at, length);
}

/** `string name[]`: a u32 with the length, then the text. Returns the offset behind it. */
export function write_string(to: Bytes, at: number, text: string, field: string): number {
  if (typeof text !== 'string') out_of_range(field, text, 'a text');
  const length = put_text(to.bytes, at + 4, text, to.bytes.length - at - 4);
  if (length < 0) throw new RangeError(`${field}: no room for ${text.length} characters`);
  to.view.setUint32(at, length);
  return at + 4 + length;
}

/** `u8 name[size]`: exactly so many. */
export function write_bytes(
  bytes: Uint8Array,
  at: number,
  value: Uint8Array,
  size: number,
  field: string,
): void {
  if (value.length !== size) out_of_range(field, `an array of ${value.length} bytes`, `one of ${size}`);
  bytes.set(value, at);
}

/** Over this a subarray pays for itself. */
const byte_loop_max = 64;

/** A copy, which does not pin the buffer the message came in. Not `slice`: that of a Buffer is a view. */
export function read_bytes(bytes: Uint8Array, at: number, size: number): Uint8Array {
  const copy = new Uint8Array(size);
  if (size > byte_loop_max) copy.set(bytes.subarray(at, at + size));
  else for (let i = 0; i < size; i++) copy[i] = bytes[at + i]!;
  return copy;
}

/** `type name[size]`: exactly so many. */
export function exactly(value: ArrayLike<unknown>, size: number, field: string): void {
  if (value.length !== size) out_of_range(field, `an array of ${value.length}`, `one of ${size}`);
}

/** A fixed array of which a count tells how many are in use. */
export function at_most(length: number, size: number, field: string): number {
  return length <= size ? length : out_of_range(field, `a count of ${length}`, `at most ${size}`);
}

/** A union's arm under a discriminator that calls for another. */
export function wrong_arm(field: string, tag: number): never {
  throw new MalformedError(`${field}: the discriminator is ${tag}, which calls for another member`);
}

export function sum<T>(values: readonly T[], size: (value: T) => number): number {
  let total = 0;
  for (const value of values) total += size(value);
  return total;
}

export function cut(at: number, end: number, size: number): never {
  throw new MalformedError(`${size} bytes wanted at offset ${at}, ${Math.max(0, end - at)} left`);
}

/** Hands out the offsets of runs of bytes, each of which lies before `end` as a whole. */
export class Reader implements Bytes {
  readonly view: DataView;
  readonly bytes: Uint8Array;
  #at: number;
  readonly #end: number;

  constructor(from: Bytes, at: number, end: number) {
    this.view = from.view;
    this.bytes = from.bytes;
    this.#at = at;
    this.#end = end;
  }

  take(size: number): number {
    const at = this.#at;
    if (size > this.#end - at) cut(at, this.#end, size);
    this.#at = at + size;
    return at;
  }

  /** `count` elements of variable size, of which each has `size_min` bytes at least: refuses a count that cannot be true. */
  expect(count: number, size_min: number): void {
    if (count * size_min > this.#end - this.#at) cut(this.#at, this.#end, count * size_min);
  }

  string(): string {
    const length = this.view.getUint32(this.take(4));
    return get_text(this.bytes, this.take(length), length);
  }
}

/** What the generator writes of a message. */
export interface Definition<T, In> {
  readonly name: string;
  readonly crc: string;
  readonly header: Header;
  size(value: In): number;
  encode(to: Bytes, at: number, value: In): number;
  decode(from: Bytes, at: number, end: number): T;
}

/** Puts the message's name before an error; a value that is not of its type at all (a list that is not there) is malformed too. */
function named(name: string, error: unknown): unknown {
  if (error instanceof MalformedError || error instanceof TypeError) {
    return new MalformedError(`${name}: ${error.message}`, { cause: error });
  }
  return error;
}

export function message<T, In = T>(definition: Definition<T, In>): Message<T, In> {
  const { name, crc, header } = definition;
  return {
    name,
    crc,
    header,
    size(value) {
      try {
        return definition.size(value);
      } catch (error) {
        throw named(name, error);
      }
    },
    encode(to, at, value) {
      try {
        return definition.encode(to, at, value);
      } catch (error) {
        throw named(name, error);
      }
    },
    decode(from, at, end) {
      try {
        return definition.decode(from, at, end);
      } catch (error) {
        throw named(name, error);
      }
    },
  };
}

export function request<T, In, Reply>(
  definition: Definition<T, In>,
  reply: Message<Reply, never>,
): Request<In, Reply, T> {
  return { ...message(definition), kind: 'request', reply };
}

export function dump<T, In, Details>(
  definition: Definition<T, In>,
  details: Message<Details, never>,
): Dump<In, Details, T> {
  return { ...message(definition), kind: 'dump', details };
}

export function stream<T, In, Details, Reply>(
  definition: Definition<T, In>,
  details: Message<Details, never>,
  reply: Message<Reply, never>,
): Stream<In, Details, Reply, T> {
  return { ...message(definition), kind: 'stream', details, reply };
}

export function subscription<T, In, Reply, Event>(
  definition: Definition<T, In>,
  reply: Message<Reply, never>,
  events: readonly Message<Event, never>[],
): Subscription<In, Reply, Event, T> {
  return { ...request(definition, reply), events };
}

export function one_way<T, In>(definition: Definition<T, In>): OneWay<In, T> {
  return { ...message(definition), kind: 'one_way' };
}
