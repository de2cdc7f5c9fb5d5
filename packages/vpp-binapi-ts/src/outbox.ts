import { bytesOf, frame_header_bytes, writeFrameHeader } from './frames.js';
import type { Bytes } from './message.js';
import type { Transport } from './transport.js';

/** To begin with: whoever waits for a VPP to start dials it a hundred times. */
const arena_bytes = 4 * 1024;
/** Enough for the kernel to be given at once; VPP reads 4096 bytes at a time, and more in one write makes it no faster. */
const flush_bytes = 64 * 1024;
/** An arena that one large message made grow beyond this is not kept. */
const keep_bytes = 1024 * 1024;
/** With this much waiting for a transport that does not drain, no more is encoded. */
const full_bytes = 1024 * 1024;

/**
 * Messages on their way out. They are encoded one behind the other into an arena, and all that is asked for in one turn of the
 * event loop leaves in one write. There are two arenas: while a transport still reads from the one, the other is filled.
 */
export class Outbox {
  readonly #transport: Transport;
  #filling: Bytes = bytesOf(new Uint8Array(arena_bytes));
  #spare: Bytes = bytesOf(new Uint8Array(arena_bytes));
  #used = 0;
  #draining = false;
  #scheduled = false;
  #closed = false;
  bytes_written = 0;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** True: the transport does not keep up. */
  get full(): boolean {
    return this.#draining && this.#used >= full_bytes;
  }

  /** Room for a message of so many bytes: write it into `bytes` from the returned offset on, then `commit` its end. */
  reserve(message_bytes: number): number {
    const at = this.#used + frame_header_bytes;
    const need = at + message_bytes;
    if (need > this.#filling.bytes.length) {
      const grown = new Uint8Array(2 * need);
      grown.set(this.#filling.bytes.subarray(0, this.#used));
      this.#filling = bytesOf(grown);
    }
    return at;
  }

  get bytes(): Bytes {
    return this.#filling;
  }

  /** What was reserved at `at` ends at `end`. A reservation that is not committed is taken back by the next one. */
  commit(at: number, end: number): void {
    writeFrameHeader(this.#filling.view, at - frame_header_bytes, end - at);
    this.#used = end;
    if (this.#scheduled) {
      if (this.#used >= flush_bytes) this.flush();
      return;
    }
    this.#scheduled = true;
    // A tick queued by a microtask runs when no microtask is left: behind every continuation that an answer has woken.
    queueMicrotask(() => process.nextTick(this.#endOfTurn));
  }

  drained(): void {
    this.#draining = false;
    this.flush();
  }

  /** Forgets what was not written yet. */
  discard(): void {
    this.#used = 0;
  }

  close(): void {
    this.#closed = true;
    this.#used = 0;
  }

  readonly #endOfTurn = (): void => {
    this.#scheduled = false;
    this.flush();
  };

  /** Now, not at the end of the turn. */
  flush(): void {
    if (this.#draining || this.#closed || this.#used === 0) return;
    const arena = this.#filling;
    const used = this.#used;
    this.#used = 0;
    this.bytes_written += used;
    this.#draining = !this.#transport.write(arena.bytes.subarray(0, used));
    if (this.#draining || arena.bytes.length > keep_bytes) {
      this.#filling = this.#spare;
      this.#spare = arena.bytes.length > keep_bytes ? bytesOf(new Uint8Array(arena_bytes)) : arena;
    }
  }
}
