/** Items by the place in which their turn comes: the next one is found without sorting, whatever waits, and each one can leave at any time. */

/** Where an item stands: what it is given back by. */
export class Spot<T> {
  before: Spot<T> | undefined;
  behind: Spot<T> | undefined;

  constructor(
    readonly item: T,
    readonly row: Row<T>,
  ) {}
}

/** Those of one place, the one that has waited longest first. */
class Row<T> {
  first: Spot<T> | undefined;
  last: Spot<T> | undefined;

  constructor(readonly place: number) {}
}

export class Shelf<T> {
  /** Ascending by place. */
  #rows: Row<T>[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  put(item: T, place: number): Spot<T> {
    const row = this.#row(place);
    const spot = new Spot(item, row);
    spot.before = row.last;
    if (row.last === undefined) row.first = spot;
    else row.last.behind = spot;
    row.last = spot;
    this.#size += 1;
    return spot;
  }

  /** The item leaves; it must stand there. */
  take({ row, before, behind }: Spot<T>): void {
    if (before === undefined) row.first = behind;
    else before.behind = behind;
    if (behind === undefined) row.last = before;
    else behind.before = before;
    this.#size -= 1;
  }

  /** Takes the first one off: lowest place, and the one that has waited longest there. */
  shift(): T | undefined {
    for (const { first } of this.#rows) {
      if (first === undefined) continue;
      this.take(first);
      return first.item;
    }
    return undefined;
  }

  clear(): void {
    this.#rows = [];
    this.#size = 0;
  }

  #row(place: number): Row<T> {
    const known = this.#rows.find((row) => row.place === place);
    if (known !== undefined) return known;
    const row = new Row<T>(place);
    this.#rows = [...this.#rows, row].sort((a, b) => a.place - b.place);
    return row;
  }
}
