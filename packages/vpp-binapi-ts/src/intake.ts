import type { FrameReader } from './frames.js';
import type { Timers } from './timers.js';
import type { Transport } from './transport.js';

/** No more is read in one turn of the event loop once this long was spent on decoding and on handlers. */
const piece_ms = 4;
/** A look at the clock every so many messages: it costs a tenth of a small one. */
const look_messages = 8;
/**
 * Nor more than a chunk of this size: what answers wake runs when the chunk is read, and is not seen by the clock until then. Two
 * thousand of the smallest answers.
 */
const piece_bytes = 32 * 1024;

interface Reading {
  begins(now_ms: number): void;
  ends(): void;
  failed(error: unknown): void;
}

/**
 * Reads in pieces, so that others have their turns of the event loop while VPP sends a flood. Between two pieces the transport is
 * stopped: what VPP sends meanwhile waits in the kernel.
 */
export class Intake {
  readonly #transport: Transport;
  readonly #timers: Timers;
  readonly #reader: FrameReader;
  readonly #reading: Reading;
  #ends_ms = 0;
  #messages = 0;
  #stopped = false;
  #closed = false;

  constructor(transport: Transport, timers: Timers, reader: FrameReader, reading: Reading) {
    this.#transport = transport;
    this.#timers = timers;
    this.#reader = reader;
    this.#reading = reading;
  }

  get bytes_read(): number {
    return this.#reader.bytes_read;
  }

  /** Whether a part of a message has come whose end has not. */
  get incomplete(): boolean {
    return this.#reader.incomplete;
  }

  /** Asked once behind every message: whether this piece has time for one more. */
  more(): boolean {
    this.#messages += 1;
    return this.#messages % look_messages !== 0 || this.#timers.now_ms() < this.#ends_ms;
  }

  /** As of a Receiver. */
  data(chunk: Uint8Array): boolean {
    if (this.#closed) return true;
    this.#piece(chunk);
    return !this.#stopped;
  }

  /** Runs once what lies in the socket by now was read, or as much of it as is read in one turn. */
  afterRead(run: () => void): void {
    const read = () => this.#timers.afterPoll(run);
    // Between two pieces the next poll phase reads nothing.
    if (this.#stopped) this.#timers.afterPoll(read);
    else read();
  }

  /** Reads no more, also not what was kept. */
  close(): void {
    this.#closed = true;
  }

  readonly #goOn = (): void => {
    if (this.#closed) return;
    this.#piece(undefined);
    if (!this.#stopped) this.#transport.resume();
  };

  /** The chunk, or what an earlier one has left. */
  #piece(chunk: Uint8Array | undefined): void {
    const now_ms = this.#timers.now_ms();
    this.#ends_ms = now_ms + piece_ms;
    this.#stopped = false;
    try {
      this.#reading.begins(now_ms);
      const all = chunk === undefined ? this.#reader.goOn() : this.#reader.push(chunk);
      this.#stopped = !all || (chunk !== undefined && chunk.length >= piece_bytes);
      this.#reading.ends();
    } catch (error) {
      this.#reading.failed(error);
    }
    if (this.#stopped) this.#timers.afterPoll(this.#goOn);
  }
}
