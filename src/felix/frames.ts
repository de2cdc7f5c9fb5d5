/** The stream in frames: 8 bytes of length, little-endian, and a message of that length. The same in both directions. */

const header_bytes = 8;

/**
 * What is longer is no message of Felix: the largest is a set of as many members as it allows, 1,048,576, with the longest text
 * (`ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128`) and 2 bytes around each.
 */
export const frame_bytes_max = 64 * 2 ** 20;

/** Cuts a stream into messages. Keeps what is not complete, at most one frame. Not to be used again after a fault. */
export class FrameReader {
  #chunks: Uint8Array[] = [];
  /** Bytes in `#chunks`. */
  #held = 0;
  /** Of the frame that is awaited, with its header; undefined while the header is not complete. */
  #awaited: number | undefined;

  readonly #frame_bytes_max: number;

  constructor(options: { readonly frame_bytes_max?: number } = {}) {
    this.#frame_bytes_max = options.frame_bytes_max ?? frame_bytes_max;
  }

  /** True between two messages: a stream that ends otherwise was cut. */
  get whole(): boolean {
    return this.#held === 0;
  }

  /**
   * The messages that `chunk` completes; the chunk must not be written to afterwards, messages may be a part of it. A `fault` is a
   * length that no message has: the connection has to be closed, what follows is not known.
   */
  read(chunk: Uint8Array): { readonly messages: readonly Uint8Array[]; readonly fault?: string } {
    if (chunk.length > 0) this.#chunks.push(chunk);
    this.#held += chunk.length;
    const messages: Uint8Array[] = [];
    for (;;) {
      if (this.#awaited === undefined) {
        if (this.#held < header_bytes) break;
        const header = this.#first(header_bytes);
        const length = new DataView(header.buffer, header.byteOffset, header_bytes).getBigUint64(0, true);
        if (length > this.#frame_bytes_max) {
          return {
            messages,
            fault: `a frame of ${length} bytes, more than the ${this.#frame_bytes_max} of the largest message: what connected is no Felix`,
          };
        }
        this.#awaited = header_bytes + Number(length);
      }
      if (this.#held < this.#awaited) break;
      messages.push(this.#first(this.#awaited).subarray(header_bytes));
      this.#drop(this.#awaited);
      this.#awaited = undefined;
    }
    return { messages };
  }

  /** The first bytes of what is held, in one piece. Chunks are joined when a frame is complete, not for each that comes. */
  #first(length: number): Uint8Array {
    const [first] = this.#chunks;
    if (first !== undefined && first.length >= length) return first.subarray(0, length);
    const joined = Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined.subarray(0, length);
  }

  #drop(length: number): void {
    const [first] = this.#chunks;
    this.#held -= length;
    if (first === undefined || first.length === length) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(length);
  }
}

/** A message with its length in front, as it is written to the socket. */
export function frame(message: Uint8Array): Buffer {
  const bytes = Buffer.alloc(header_bytes + message.length);
  bytes.writeBigUInt64LE(BigInt(message.length));
  bytes.set(message, header_bytes);
  return bytes;
}
