/** Message types counted by name; later ones share one entry, so that a sender cannot make the table grow. */
const TYPES_MAX = 48;
const OTHER = '(other)';

/** The `type` of a message, for statistics. */
export function typeOf(message: unknown): string {
  if (typeof message === 'object' && message !== null) {
    const { type } = message as { type?: unknown };
    if (typeof type === 'string') return type;
  }
  return '(untyped)';
}

interface TypeCount {
  waiting: number;
  handled: number;
}

/**
 * What is known about a mailbox without looking into it: a first-in-first-out queue kept elsewhere. Counting allocates
 * nothing, except when the queue is longer than ever before.
 */
export class MailboxStats {
  #depth = 0;
  #highWater = 0;
  #handled = 0;
  /** Messages refused because the mailbox was full. */
  dropped = 0;
  readonly #types = new Map<string, TypeCount>();
  /** Times at which the waiting messages came, as a ring: a power of two long. */
  #times = new Float64Array(16);
  #head = 0;

  get depth(): number {
    return this.#depth;
  }

  get highWater(): number {
    return this.#highWater;
  }

  get handled(): number {
    return this.#handled;
  }

  put(type: string, now_ms: number): void {
    if (this.#depth === this.#times.length) this.#grow();
    this.#times[(this.#head + this.#depth) & (this.#times.length - 1)] = now_ms;
    this.#depth += 1;
    if (this.#depth > this.#highWater) this.#highWater = this.#depth;
    this.#type(type).waiting += 1;
  }

  /** Counts the oldest message out; `handled` is false for one that was thrown away. */
  take(type: string, handled: boolean): void {
    this.#head = (this.#head + 1) & (this.#times.length - 1);
    this.#depth -= 1;
    this.#type(type).waiting -= 1;
    if (handled) this.passed(type);
  }

  /** Counts a message that is handled, also one that has not waited here. */
  passed(type: string): void {
    this.#type(type).handled += 1;
    this.#handled += 1;
  }

  /** Counts all waiting messages out and returns how many there were. */
  clear(): number {
    const depth = this.#depth;
    this.#depth = 0;
    for (const count of this.#types.values()) count.waiting = 0;
    return depth;
  }

  /** Age in ms of the oldest waiting message; 0 when there is none. */
  oldest_ms(now_ms: number): number {
    return this.#depth === 0 ? 0 : now_ms - this.#times[this.#head]!;
  }

  /** The types that most waiting messages have. */
  waitingByType(top: number): Record<string, number> {
    const waiting = [...this.#types].filter(([, count]) => count.waiting > 0);
    waiting.sort(([, a], [, b]) => b.waiting - a.waiting);
    return Object.fromEntries(waiting.slice(0, top).map(([type, count]) => [type, count.waiting]));
  }

  handledByType(): Record<string, number> {
    return Object.fromEntries([...this.#types].map(([type, count]) => [type, count.handled]));
  }

  #type(type: string): TypeCount {
    return this.#types.get(type) ?? this.#newType(type);
  }

  #newType(type: string): TypeCount {
    const key = this.#types.size < TYPES_MAX ? type : OTHER;
    let count = this.#types.get(key);
    if (count === undefined) {
      count = { waiting: 0, handled: 0 };
      this.#types.set(key, count);
    }
    return count;
  }

  #grow(): void {
    const old = this.#times;
    const times = new Float64Array(old.length * 2);
    for (let i = 0; i < old.length; i += 1) times[i] = old[(this.#head + i) & (old.length - 1)]!;
    this.#times = times;
    this.#head = 0;
  }
}
