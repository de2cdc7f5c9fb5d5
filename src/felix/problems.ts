/** What of Felix's messages was not taken in, by object: a hundred of them, each told once although the next Felix says the same again. */
import type { Problem } from './model.js';

const named_max = 100;

export class Problems {
  #now = new Map<string, string>();
  #before: ReadonlyMap<string, string> = new Map();

  /** Another Felix tells everything anew. */
  begin(): void {
    this.#before = this.#now;
    this.#now = new Map();
  }

  /** True: nobody was told of it yet. */
  note({ object, why }: Problem): boolean {
    const is_known = this.#now.has(object);
    if (!is_known && this.#now.size >= named_max) return false;
    this.#now.set(object, why);
    return !is_known && this.#before.get(object) !== why;
  }

  /** For people. */
  named(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#now);
  }
}
