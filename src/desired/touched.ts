/** Things that are to be looked at, each once, in the order in which they were touched first. They say themselves whether they are among them. */
export class Touched<T extends { is_touched: boolean }> {
  #items: T[] = [];
  /** What is before it was taken. */
  #next = 0;

  add(item: T): void {
    if (item.is_touched) return;
    item.is_touched = true;
    this.#items.push(item);
  }

  /** Takes the first one out. */
  take(): T | undefined {
    const item = this.#items[this.#next];
    if (item === undefined) return undefined;
    item.is_touched = false;
    this.#next += 1;
    if (this.#next === this.#items.length) {
      this.#items = [];
      this.#next = 0;
    }
    return item;
  }

  get size(): number {
    return this.#items.length - this.#next;
  }
}
