/** The queue of removals of pod interfaces: one at a time, see pacing.ts for when. */
import { nextRemoval } from './pacing.js';

interface Waiting {
  readonly since_ms: number;
  readonly go: () => void;
}

export class RemovalLane {
  readonly #waiting = new Map<string, Waiting>();
  #busy: string | undefined;
  #ended_ms = -Infinity;

  get size(): number {
    return this.#waiting.size;
  }

  has(id: string): boolean {
    return this.#busy === id || this.#waiting.has(id);
  }

  isBusy(id: string): boolean {
    return this.#busy === id;
  }

  /** `since_ms`: see Lane.waiting; Infinity: nobody waits for it. Asked again, the earlier time counts. */
  want(id: string, since_ms: number, go: () => void): void {
    const earlier = this.#waiting.get(id)?.since_ms ?? Infinity;
    this.#waiting.set(id, { since_ms: Math.min(since_ms, earlier), go });
  }

  /** The removal is over, or not wanted any more. */
  end(id: string, now_ms: number): void {
    this.#waiting.delete(id);
    if (this.#busy !== id) return;
    this.#busy = undefined;
    this.#ended_ms = now_ms;
  }

  clear(): void {
    this.#waiting.clear();
    this.#busy = undefined;
  }

  /** Starts the next removal if it is due. Answers when to ask again; undefined: when something has changed. */
  pump(now_ms: number, adds: number): number | undefined {
    const order = [...this.#waiting].sort(([, a], [, b]) =>
      a.since_ms < b.since_ms ? -1 : a.since_ms > b.since_ms ? 1 : 0,
    );
    const wait_ms = nextRemoval({
      now_ms,
      busy: this.#busy !== undefined,
      ended_ms: this.#ended_ms,
      adds,
      waiting: order.map(([, { since_ms }]) => since_ms),
    });
    if (wait_ms !== 0) return wait_ms === Infinity ? undefined : wait_ms;
    const [id, { go }] = order[0]!;
    this.#waiting.delete(id);
    this.#busy = id;
    go();
    return undefined;
  }
}
