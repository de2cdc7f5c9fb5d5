/**
 * A text in memory that two threads share: one writes, the other reads, neither waits. Two buffers take turns; the reader
 * notices when the writer has caught up with the one that it was copying, and copies again.
 *
 * Header, 32-bit words: number of the write under way, number of the last finished write, byte length in either buffer.
 */
const BEGUN = 0;
const DONE = 1;
const LENGTH = 2;
const HEADER_BYTES = 16;

/** A reader that the writer overtakes so often leaves it at what it knew. */
const READS_MAX = 3;

export function sharedTextMemory(capacity_bytes: number): SharedArrayBuffer {
  return new SharedArrayBuffer(HEADER_BYTES + 2 * capacity_bytes);
}

function views(memory: SharedArrayBuffer) {
  const capacity_bytes = (memory.byteLength - HEADER_BYTES) / 2;
  const header = new Int32Array(memory, 0, HEADER_BYTES / 4);
  const buffers = [0, 1].map((i) => Buffer.from(memory, HEADER_BYTES + i * capacity_bytes, capacity_bytes));
  return { capacity_bytes, header, buffers };
}

/** The one writer of a shared text. */
export class TextWriter {
  readonly #views;

  constructor(memory: SharedArrayBuffer) {
    this.#views = views(memory);
  }

  /** False when the text does not fit; the one before it then stays. */
  write(text: string): boolean {
    const { capacity_bytes, header, buffers } = this.#views;
    const bytes = Buffer.byteLength(text);
    if (bytes > capacity_bytes) return false;
    const next = (Atomics.load(header, DONE) + 1) | 0;
    const slot = next & 1;
    Atomics.store(header, BEGUN, next);
    buffers[slot]!.write(text);
    Atomics.store(header, LENGTH + slot, bytes);
    Atomics.store(header, DONE, next);
    return true;
  }
}

/** A reader of a shared text. */
export class TextReader {
  readonly #views;
  #known = { sequence: 0, text: '' };

  constructor(memory: SharedArrayBuffer) {
    this.#views = views(memory);
  }

  /** The last text written, empty before the first; `sequence` tells whether it is a new one. */
  read(): { readonly sequence: number; readonly text: string } {
    const { header, buffers } = this.#views;
    for (let i = 0; i < READS_MAX; i += 1) {
      const sequence = Atomics.load(header, DONE);
      if (sequence === this.#known.sequence) break;
      const slot = sequence & 1;
      const copy = Buffer.from(buffers[slot]!.subarray(0, Atomics.load(header, LENGTH + slot)));
      const ahead = (Atomics.load(header, BEGUN) - sequence) | 0;
      if (ahead > 1) continue;
      this.#known = { sequence, text: copy.toString() };
      break;
    }
    return this.#known;
  }
}
