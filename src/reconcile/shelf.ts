/** Keys by the place in which their turn comes: the next one is found without sorting, whatever waits. */
export class Shelf {
  readonly #places = new Map<number, Set<string>>();
  /** Where each place is read on: from the beginning, a set would be searched again past all that was taken from it. */
  readonly #at = new Map<number, Iterator<string>>();
  /** The places that there are, ascending. */
  #order: number[] = [];
  readonly #of = new Map<string, number>();

  get size(): number {
    return this.#of.size;
  }

  has(key: string): boolean {
    return this.#of.has(key);
  }

  /** A key stands in one place: the last one that it was put to. */
  put(key: string, place: number): void {
    const before = this.#of.get(key);
    if (before === place) return;
    if (before !== undefined) this.#places.get(before)!.delete(key);
    this.#of.set(key, place);
    let keys = this.#places.get(place);
    if (keys === undefined) {
      keys = new Set();
      this.#places.set(place, keys);
      this.#order = [...this.#order, place].sort((a, b) => a - b);
    }
    keys.add(key);
  }

  delete(key: string): void {
    const place = this.#of.get(key);
    if (place === undefined) return;
    this.#of.delete(key);
    this.#places.get(place)!.delete(key);
  }

  /** Takes the first key off: lowest place, and the one that has waited longest there. */
  shift(): string | undefined {
    for (const place of this.#order) {
      const keys = this.#places.get(place)!;
      if (keys.size === 0) continue;
      const key = this.#next(place, keys);
      keys.delete(key);
      this.#of.delete(key);
      return key;
    }
    return undefined;
  }

  #next(place: number, keys: Set<string>): string {
    for (;;) {
      let at = this.#at.get(place);
      if (at === undefined) {
        at = keys.values();
        this.#at.set(place, at);
      }
      const { value, done } = at.next();
      if (done !== true) return value;
      this.#at.delete(place);
    }
  }

  clear(): void {
    this.#at.clear();
    this.#places.clear();
    this.#order = [];
    this.#of.clear();
  }
}
