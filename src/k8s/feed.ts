import type { Clock, Timer } from '../clock.js';
import { backoffDelay } from '../supervision/backoff.js';
import type { Backoff } from '../supervision/types.js';
import type { Change } from './reflector.js';

export interface FeedOptions<C extends Change<unknown>> {
  readonly clock: Clock;
  /** Gives [0, 1). */
  readonly random: () => number;
  /** Hands over one piece; resolves when it is taken in, rejects when that is not certain: the piece is handed over again. */
  send(piece: C): Promise<void>;
  /** Whether such an error means that nobody is there any more. */
  isOver(error: unknown): boolean;
}

interface Waiting {
  readonly changed: Map<string, unknown>;
  synced: boolean;
}

/** Objects in one piece: what a receiver works through in one go. */
export const piece_max = 1000;
const backoff: Backoff = { first_ms: 100, max_ms: 5000, jitter: 0.5 };
/** So long a slow receiver holds the API server back, and with it the others; then only where this much waits for it. */
const patience_ms = 10_000;
const waiting_max = 50_000;

/**
 * What one receiver is still to be told, by kind: in order, in pieces, later news of an object in place of earlier. Nothing is lost, however
 * slow the receiver is, until it is gone.
 */
export class Feed<C extends Change<unknown>> {
  readonly #options: FeedOptions<C>;
  readonly #kinds = new Map<string, Waiting>();
  /** Kinds of which a whole has been told. */
  readonly #synced = new Set<string>();
  readonly #over = new AbortController();
  #running = false;
  /** What is being handed over, which is not in `#kinds`. */
  #sending = 0;
  readonly #waiters = new Set<() => void>();

  constructor(options: FeedOptions<C>) {
    this.#options = options;
  }

  put(change: C): void {
    if (this.isOver) return;
    const waiting = this.#kinds.get(change.kind);
    if (waiting === undefined)
      this.#kinds.set(change.kind, { changed: new Map(change.changed), synced: change.synced });
    else {
      for (const [key, value] of change.changed) waiting.changed.set(key, value);
      waiting.synced = change.synced;
    }
    if (!this.#running) void this.#run();
  }

  get isOver(): boolean {
    return this.#over.signal.aborted;
  }

  /** Objects of which the receiver has not heard yet. */
  get waiting(): number {
    let sum = this.#sending;
    for (const { changed } of this.#kinds.values()) sum += changed.size;
    return sum;
  }

  /** Resolves when nothing waits any more; for a slow receiver when its time is up and not too much waits. */
  async room(): Promise<void> {
    if (!this.#running) return;
    let late = false;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        if (this.#running && !this.isOver && !(late && this.waiting < waiting_max)) return;
        timer.cancel();
        this.#waiters.delete(done);
        resolve();
      };
      const timer: Timer = this.#options.clock.after(patience_ms, () => {
        late = true;
        done();
      });
      this.#waiters.add(done);
    });
  }

  /** Nothing is handed over from now on. */
  close(): void {
    this.#over.abort();
    this.#kinds.clear();
    this.#look();
  }

  async #run(): Promise<void> {
    const { clock, random } = this.#options;
    const { signal } = this.#over;
    this.#running = true;
    let failures = 0;
    while (!this.isOver) {
      const piece = this.#take();
      if (piece === undefined) break;
      try {
        await this.#options.send(piece);
        failures = 0;
        if (piece.synced) this.#synced.add(piece.kind);
      } catch (error) {
        if (this.#options.isOver(error)) this.close();
        if (this.isOver) break;
        this.#putBack(piece);
        failures += 1;
        await clock.sleep(backoffDelay(failures, backoff, random), signal).catch(() => {});
      }
      this.#sending = 0;
      this.#look();
    }
    this.#sending = 0;
    this.#running = false;
    this.#look();
  }

  #take(): C | undefined {
    const [next] = this.#kinds;
    if (next === undefined) return undefined;
    const [kind, waiting] = next;
    if (waiting.changed.size <= piece_max) {
      this.#kinds.delete(kind);
      this.#sending = waiting.changed.size;
      return { kind, ...waiting } as unknown as C;
    }
    const changed = new Map([...take(waiting.changed, piece_max)]);
    for (const key of changed.keys()) waiting.changed.delete(key);
    this.#sending = changed.size;
    return { kind, changed, synced: this.#synced.has(kind) } as unknown as C;
  }

  /** What has been heard since stays in force. */
  #putBack({ kind, changed, synced }: C): void {
    const newer = this.#kinds.get(kind);
    const merged = new Map(changed);
    for (const [key, value] of newer?.changed ?? []) merged.set(key, value);
    this.#kinds.set(kind, { changed: merged, synced: newer?.synced ?? synced });
  }

  #look(): void {
    for (const waiter of [...this.#waiters]) waiter();
  }
}

function* take<T>(items: Iterable<T>, count: number): Generator<T, void, void> {
  let left = count;
  for (const item of items) {
    if (left === 0) return;
    left -= 1;
    yield item;
  }
}
