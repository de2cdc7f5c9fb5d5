import { MalformedError } from './errors.js';
import type { Bytes } from './message.js';

/**
 * Bytes before every message on the socket, `msgbuf_t` of VPP: u64 queue pointer and u32 garbage collector mark, of no meaning
 * to the peer and sent as 0, with the u32 length of the message between them, in network order.
 */
export const frame_header_bytes = 16;
const length_at = 8;

/** Fills in the header of the frame at `at`. */
export function writeFrameHeader(view: DataView, at: number, message_bytes: number): void {
  view.setUint32(at, 0);
  view.setUint32(at + 4, 0);
  view.setUint32(at + length_at, message_bytes);
  view.setUint32(at + 12, 0);
}

/** Receives one whole message, `[at, end)` of `from`, to be read before it returns. False: read no further for now. */
export type MessageSink = (from: Bytes, at: number, end: number) => boolean;

/**
 * Cuts the byte stream into messages. A message that lies whole in a chunk is handed on where it lies; only one that a chunk's
 * end cuts is copied together first.
 */
export class FrameReader {
  readonly #max_message_bytes: number;
  readonly #sink: MessageSink;
  bytes_read = 0;
  /** A frame whose end has not come, or less than its header: the first `#partial_bytes` bytes. */
  #partial = bytesOf(new Uint8Array(512));
  #partial_bytes = 0;
  /** The memory of the last chunk: a transport that reads into one buffer costs no view per chunk. */
  #chunk = this.#partial;
  /** A copy of what the sink did not want yet. */
  #rest: Uint8Array | undefined;

  constructor(max_message_bytes: number, sink: MessageSink) {
    this.#max_message_bytes = max_message_bytes;
    this.#sink = sink;
  }

  /** Whether a part of a message has come whose end has not. */
  get incomplete(): boolean {
    return this.#partial_bytes > 0;
  }

  /**
   * False: the sink has stopped it; the rest of the chunk is kept, and nothing more may be pushed before `goOn` has returned true.
   * Throws MalformedError on a length that no message has.
   */
  push(chunk: Uint8Array): boolean {
    this.bytes_read += chunk.length;
    return this.#read(chunk);
  }

  /** Hands on what a stopped `push` has kept; like it. */
  goOn(): boolean {
    const rest = this.#rest;
    this.#rest = undefined;
    return rest === undefined || this.#read(rest);
  }

  #read(chunk: Uint8Array): boolean {
    let at = 0;
    while (this.#partial_bytes > 0) {
      if (at === chunk.length) return true;
      const have = this.#partial_bytes;
      const need = have < frame_header_bytes ? frame_header_bytes : this.#frameBytes(this.#partial.view, 0);
      const take = Math.min(need - have, chunk.length - at);
      this.#keep(chunk.subarray(at, at + take));
      at += take;
      if (this.#partial_bytes < frame_header_bytes) return true;
      const frame_bytes = this.#frameBytes(this.#partial.view, 0);
      if (this.#partial_bytes < frame_bytes) continue;
      const whole = this.#partial;
      this.#partial_bytes = 0;
      if (frame_bytes > keep_bytes) this.#partial = bytesOf(new Uint8Array(512));
      if (!this.#sink(whole, frame_header_bytes, frame_bytes)) return this.#stop(chunk.subarray(at));
    }

    const from = this.#view(chunk);
    const offset = chunk.byteOffset - from.bytes.byteOffset;
    const end = offset + chunk.length;
    at += offset;
    while (end - at >= frame_header_bytes) {
      const next = at + this.#frameBytes(from.view, at);
      if (next > end) break;
      const on = this.#sink(from, at + frame_header_bytes, next);
      at = next;
      if (!on) return this.#stop(from.bytes.subarray(at, end));
    }
    if (at < end) this.#keep(from.bytes.subarray(at, end));
    return true;
  }

  #stop(rest: Uint8Array): false {
    this.#rest = rest.slice();
    return false;
  }

  #frameBytes(view: DataView, at: number): number {
    const message_bytes = view.getUint32(at + length_at);
    if (message_bytes < 2 || message_bytes > this.#max_message_bytes) {
      throw new MalformedError(
        `frame of ${message_bytes} bytes: a message has 2 to ${this.#max_message_bytes}`,
      );
    }
    return frame_header_bytes + message_bytes;
  }

  /** Grows with the bytes that have come, not with the length that a header claims. */
  #keep(bytes: Uint8Array): void {
    const have = this.#partial_bytes;
    if (have + bytes.length > this.#partial.bytes.length) {
      const grown = new Uint8Array(2 * (have + bytes.length));
      grown.set(this.#partial.bytes.subarray(0, have));
      this.#partial = bytesOf(grown);
    }
    this.#partial.bytes.set(bytes, have);
    this.#partial_bytes = have + bytes.length;
  }

  #view(chunk: Uint8Array): Bytes {
    if (this.#chunk.bytes.buffer !== chunk.buffer) this.#chunk = bytesOf(new Uint8Array(chunk.buffer));
    return this.#chunk;
  }
}

/** A buffer that grew beyond this for one message is not kept. */
const keep_bytes = 64 * 1024;

export function bytesOf(bytes: Uint8Array): Bytes {
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
}
