/** The last `max` items. */
export class Ring<T> {
  readonly #items: T[] = [];
  #next = 0;

  constructor(readonly max: number) {}

  push(item: T): void {
    this.#items[this.#next] = item;
    this.#next = (this.#next + 1) % this.max;
  }

  /** Oldest first. */
  toArray(): T[] {
    if (this.#items.length < this.max) return [...this.#items];
    return [...this.#items.slice(this.#next), ...this.#items.slice(0, this.#next)];
  }
}
