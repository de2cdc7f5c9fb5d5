import { MalformedError } from './errors.js';

/** Protobuf's wire format: varints, and what tells one field from the next. */

export const wire_varint = 0;
export const wire_64bit = 1;
export const wire_bytes = 2;
export const wire_32bit = 5;

const two_to_32 = 0x1_0000_0000;

/** Reads one message, or a part of one: from `at` to `end`. Throws MalformedError where the bytes end too early. */
export class Reader {
  constructor(
    readonly bytes: Buffer,
    public at = 0,
    public end = bytes.length,
  ) {}

  /** A varint as an unsigned number; exact to 2^53. */
  varint(): number {
    const { bytes } = this;
    let at = this.at;
    let byte = 0x80;
    let low = 0;
    let shift = 0;
    while (at < this.end && shift < 28) {
      byte = bytes[at++]!;
      low |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        this.at = at;
        return low;
      }
      shift += 7;
    }
    let value = low;
    for (let factor = 2 ** shift; at < this.end && shift < 70; factor *= 128, shift += 7) {
      byte = bytes[at++]!;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        this.at = at;
        return value;
      }
    }
    throw new MalformedError('a number without an end');
  }

  /** A varint that holds a signed number in two's complement of 64 bits; exact within ±2^53. */
  signed(): number {
    const start = this.at;
    const value = this.varint();
    if (value < 2 ** 63) return value;
    // Near 2^64 a double has lost the low bits: they are read once more, inverted.
    let magnitude = 0;
    for (let at = start, factor = 1; at < this.at; at++, factor *= 128) {
      const bits = ~this.bytes[at]! & 0x7f;
      magnitude += (at - start === 9 ? bits & 1 : bits) * factor;
    }
    return -magnitude - 1;
  }

  /** Enters a length-delimited field: the position behind it. */
  limit(): number {
    const length = this.varint();
    const limit = this.at + length;
    if (limit > this.end) throw new MalformedError(`${length} bytes announced, ${this.end - this.at} left`);
    return limit;
  }

  /** What `read` reads of a length-delimited field. */
  within<T>(read: (reader: this) => T): T {
    const outer = this.end;
    this.end = this.limit();
    const value = read(this);
    this.end = outer;
    return value;
  }

  float(): number {
    const at = this.#fixed(4);
    return this.bytes.readFloatLE(at);
  }

  skip(wire_type: number): void {
    if (wire_type === wire_varint) this.varint();
    else if (wire_type === wire_bytes) this.at = this.limit();
    else if (wire_type === wire_32bit) this.#fixed(4);
    else if (wire_type === wire_64bit) this.#fixed(8);
    else throw new MalformedError(`wire type ${wire_type}`);
  }

  #fixed(length: number): number {
    const at = this.at;
    if (at + length > this.end) throw new MalformedError(`${length} bytes needed, ${this.end - at} left`);
    this.at = at + length;
    return at;
  }
}

/** Writes one message. Grows as needed. */
export class Writer {
  #bytes = Buffer.allocUnsafe(256);
  #at = 0;
  /** What was written as a secret, so that an answer which repeats it can be cleaned. */
  readonly secrets: string[] = [];

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  /** An unsigned number below 2^53. */
  varint(value: number): void {
    this.#room(10);
    let rest = value;
    while (rest >= two_to_32) {
      this.#bytes[this.#at++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    rest >>>= 0;
    while (rest > 0x7f) {
      this.#bytes[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.#at++] = rest;
  }

  /** A signed number within ±2^53, in two's complement of 64 bits. */
  signed(value: number): void {
    if (value >= 0) {
      this.varint(value);
      return;
    }
    this.#room(10);
    let rest = -value - 1;
    for (let i = 0; i < 9; i++) {
      this.#bytes[this.#at++] = (~(rest % 128) & 0x7f) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#at++] = 1;
  }

  float(value: number): void {
    this.#room(4);
    this.#at = this.#bytes.writeFloatLE(value, this.#at);
  }

  text(value: string): void {
    const length = Buffer.byteLength(value);
    this.varint(length);
    this.#room(length);
    this.#at += this.#bytes.write(value, this.#at);
  }

  raw(value: Uint8Array): void {
    this.varint(value.length);
    this.bytes(value);
  }

  /** Bytes without their length. */
  bytes(value: Uint8Array): void {
    this.#room(value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
  }

  /** What `write` writes, behind its length. */
  nested(write: () => void): void {
    this.#room(1);
    const start = ++this.#at;
    write();
    const length = this.#at - start;
    if (length < 0x80) {
      this.#bytes[start - 1] = length;
      return;
    }
    // The length needs more than the byte that was left for it.
    const more = length < 0x4000 ? 1 : length < 0x20_0000 ? 2 : length < 0x1000_0000 ? 3 : 4;
    this.#room(more);
    this.#bytes.copyWithin(start + more, start, this.#at);
    this.#at = start - 1;
    this.varint(length);
    this.#at += length;
  }

  /** A field that holds what `write` writes; none where that is nothing. */
  unlessEmpty(key: number, write: () => void): void {
    const start = this.#at;
    this.varint(key);
    const before = this.#at;
    this.nested(write);
    if (this.#at === before + 1) this.#at = start;
  }

  #room(length: number): void {
    if (this.#at + length <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(2 * this.#bytes.length, this.#at + length));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }
}
