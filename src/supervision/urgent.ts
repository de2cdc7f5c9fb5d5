interface Waiting {
  readonly message: unknown;
  readonly told_ms: number;
}

/**
 * What passes an actor's mailbox, in the order in which it was told. Of each type only the latest message waits, at the place
 * where it was told last: so the number of types in the actor's union bounds the queue, and no room has to be left for it.
 */
export class UrgentQueue {
  readonly #waiting = new Map<string, Waiting>();

  get depth(): number {
    return this.#waiting.size;
  }

  /** Takes the place of an earlier message of the type that still waits. */
  put(type: string, message: unknown, now_ms: number): void {
    this.#waiting.delete(type);
    this.#waiting.set(type, { message, told_ms: now_ms });
  }

  /** The oldest message, and its type; undefined when there is none. */
  take(): { readonly type: string; readonly message: unknown } | undefined {
    for (const [type, { message }] of this.#waiting) {
      this.#waiting.delete(type);
      return { type, message };
    }
    return undefined;
  }

  /** Age in ms of the oldest message; 0 when there is none. */
  oldest_ms(now_ms: number): number {
    for (const { told_ms } of this.#waiting.values()) return now_ms - told_ms;
    return 0;
  }

  get types(): string[] {
    return [...this.#waiting.keys()];
  }

  /** Throws away what waits, and returns how many messages that were. */
  clear(): number {
    const depth = this.#waiting.size;
    this.#waiting.clear();
    return depth;
  }
}
