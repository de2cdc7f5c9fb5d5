/**
 * Netlink framing: messages and attributes as bytes. A message is a header of 16 bytes (length, type, flags, sequence,
 * port), a fixed part and attributes; an attribute is length, type and value. All is little-endian and padded to 4 bytes.
 */

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_DUMP = 0x300;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;
/** The table changed while it was dumped: what was read may miss entries. */
export const NLM_F_DUMP_INTR = 0x10;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

const HEADER_BYTES = 16;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
const NLMSGERR_ATTR_MSG = 1;

function align(length: number): number {
  return (length + 3) & ~3;
}

/** Writes one message after the other into a buffer that grows. `begin`, fixed part, attributes, `end`. */
export class MessageWriter {
  #bytes = Buffer.alloc(4096);
  #length = 0;
  #message = 0;

  get length(): number {
    return this.#length;
  }

  /** All messages so far; valid until the next write. */
  bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
  }

  /** Throws away everything written after `length` bytes. */
  truncate(length: number): void {
    this.#length = length;
  }

  begin(type: number, flags: number, sequence: number): this {
    this.#message = this.#length;
    return this.u32(0).u16(type).u16(flags).u32(sequence).u32(0);
  }

  end(): void {
    this.#bytes.writeUInt32LE(this.#length - this.#message, this.#message);
  }

  u8(value: number): this {
    const at = this.#reserve(1);
    this.#bytes.writeUInt8(value, at);
    return this;
  }

  u16(value: number): this {
    const at = this.#reserve(2);
    this.#bytes.writeUInt16LE(value, at);
    return this;
  }

  u32(value: number): this {
    const at = this.#reserve(4);
    this.#bytes.writeUInt32LE(value >>> 0, at);
    return this;
  }

  attribute(type: number, value: Uint8Array): this {
    this.u16(4 + value.length).u16(type);
    const at = this.#reserve(align(value.length));
    this.#bytes.fill(0, at, this.#length);
    this.#bytes.set(value, at);
    return this;
  }

  attributeU8(type: number, value: number): this {
    return this.u16(5)
      .u16(type)
      .u32(value & 0xff);
  }

  attributeU16(type: number, value: number): this {
    return this.u16(6)
      .u16(type)
      .u32(value & 0xffff);
  }

  attributeU32(type: number, value: number): this {
    return this.u16(8).u16(type).u32(value);
  }

  /** With the closing zero byte that the kernel asks for in names. */
  attributeText(type: number, value: string): this {
    return this.attribute(type, Buffer.from(`${value}\0`));
  }

  /** An attribute whose value is what `content` writes. */
  nested(type: number, content: () => void): this {
    const start = this.#length;
    this.u16(0).u16(type | NLA_F_NESTED);
    content();
    this.#bytes.writeUInt16LE(this.#length - start, start);
    return this;
  }

  /** A structure that begins with its own length (`struct rtnexthop`), as what `content` writes after it. */
  sized(content: () => void): this {
    const start = this.#length;
    this.u16(0);
    content();
    this.#bytes.writeUInt16LE(this.#length - start, start);
    return this;
  }

  #reserve(count: number): number {
    const at = this.#length;
    if (at + count > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(this.#bytes.length * 2, at + count));
      this.#bytes.copy(larger, 0, 0, at);
      this.#bytes = larger;
    }
    this.#length += count;
    return at;
  }
}

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** What follows the header. */
  readonly payload: Buffer;
}

/** The messages of one datagram. A length that does not fit ends the walk with an error: nothing behind it can be trusted. */
export function* messagesOf(datagram: Buffer): Generator<Message> {
  let at = 0;
  while (at < datagram.length) {
    const length = datagram.length - at >= HEADER_BYTES ? datagram.readUInt32LE(at) : 0;
    if (length < HEADER_BYTES || at + length > datagram.length)
      throw new RangeError(`netlink message at byte ${at} of ${datagram.length} has a bad length ${length}`);
    yield {
      type: datagram.readUInt16LE(at + 4),
      flags: datagram.readUInt16LE(at + 6),
      sequence: datagram.readUInt32LE(at + 8),
      payload: datagram.subarray(at + HEADER_BYTES, at + length),
    };
    at += align(length);
  }
}

/** The attributes of a payload, read by type. A type that occurs twice keeps its last value; see `attributesOf` for lists. */
export class Attributes {
  readonly #values = new Map<number, Buffer>();

  constructor(bytes: Buffer) {
    for (const [type, value] of attributesOf(bytes)) this.#values.set(type, value);
  }

  types(): IterableIterator<number> {
    return this.#values.keys();
  }

  bytes(type: number): Buffer | undefined {
    return this.#values.get(type);
  }

  u8(type: number): number | undefined {
    return this.#sized(type, 1)?.readUInt8();
  }

  u16(type: number): number | undefined {
    return this.#sized(type, 2)?.readUInt16LE();
  }

  u32(type: number): number | undefined {
    return this.#sized(type, 4)?.readUInt32LE();
  }

  text(type: number): string | undefined {
    const value = this.#values.get(type);
    if (!value) return undefined;
    const end = value.indexOf(0);
    return value.toString('utf8', 0, end < 0 ? value.length : end);
  }

  nested(type: number): Attributes | undefined {
    const value = this.#values.get(type);
    return value && new Attributes(value);
  }

  #sized(type: number, length: number): Buffer | undefined {
    const value = this.#values.get(type);
    return value && value.length >= length ? value : undefined;
  }
}

export function* attributesOf(bytes: Buffer): Generator<[type: number, value: Buffer]> {
  let at = 0;
  // Fewer than four bytes at the end are padding.
  while (bytes.length - at >= 4) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length)
      throw new RangeError(`netlink attribute at byte ${at} of ${bytes.length} has a bad length ${length}`);
    yield [bytes.readUInt16LE(at + 2) & NLA_TYPE_MASK, bytes.subarray(at + 4, at + length)];
    at += align(length);
  }
}

export interface Acknowledgement {
  /** 0: done. */
  readonly errno: number;
  /** The kernel's own words (extended acknowledgement). */
  readonly detail?: string;
}

/** Reads the payload of NLMSG_ERROR, or of an NLMSG_DONE, which has no copy of the request in it. */
export function acknowledgementOf(message: Message): Acknowledgement {
  const { payload, flags, type } = message;
  const errno = payload.length >= 4 ? -payload.readInt32LE(0) : 0;
  if (!(flags & NLM_F_ACK_TLVS)) return { errno };
  let start = 4;
  if (type === NLMSG_ERROR) {
    const request_bytes = flags & NLM_F_CAPPED ? HEADER_BYTES : payload.readUInt32LE(4);
    start += align(request_bytes);
  }
  const detail = new Attributes(payload.subarray(start)).text(NLMSGERR_ATTR_MSG);
  return detail === undefined ? { errno } : { errno, detail };
}
