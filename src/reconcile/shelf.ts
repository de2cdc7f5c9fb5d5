/** Items by the place in which their turn comes: the next one is found without sorting, whatever waits, and each one can leave at any time. */

/** Those of one place, the one that has waited longest first; among them some that have left it since, or come back. */
class Row<T> {
  items: T[] = [];
  /** What is before it was given, or had left. */
  next = 0;
  standing = 0;

  constructor(readonly place: number) {}
}

/** A row is tidied when more than half of it, and so many, do not stand there any more. */
const left_max = 1024;

/** An item says itself where it stands: a hundred thousand of them need nothing beside them. */
export class Shelf<T> {
  /** Ascending by place. */
  #rows: Row<T>[] = [];
  #size = 0;
  readonly #placeOf: (item: T) => number | undefined;
  readonly #setPlace: (item: T, place: number | undefined) => void;

  constructor(
    placeOf: (item: T) => number | undefined,
    setPlace: (item: T, place: number | undefined) => void,
  ) {
    this.#placeOf = placeOf;
    this.#setPlace = setPlace;
  }

  get size(): number {
    return this.#size;
  }

  /** It stands here from now on, and nowhere else; undefined: nowhere. One that comes back to its place may have its old turn there. */
  put(item: T, place: number | undefined): void {
    const before = this.#placeOf(item);
    if (before === place) return;
    this.#setPlace(item, place);
    if (before !== undefined) this.#left(this.#row(before));
    if (place === undefined) return;
    const row = this.#row(place);
    row.items.push(item);
    row.standing += 1;
    this.#size += 1;
  }

  /** The first one: lowest place, and the one that has waited longest there. */
  first(): T | undefined {
    const row = this.#rows.find(({ standing }) => standing > 0);
    if (row === undefined) return undefined;
    for (;;) {
      const item = row.items[row.next]!;
      if (this.#placeOf(item) === row.place) return item;
      row.next += 1;
    }
  }

  /** Takes the first one off. */
  shift(): T | undefined {
    const item = this.first();
    if (item !== undefined) this.put(item, undefined);
    return item;
  }

  /** All items are to have left, or to be forgotten. */
  clear(): void {
    this.#rows = [];
    this.#size = 0;
  }

  #left(row: Row<T>): void {
    row.standing -= 1;
    this.#size -= 1;
    if (row.standing === 0) {
      row.items = [];
      row.next = 0;
    } else if (row.items.length > 2 * row.standing + left_max) this.#tidy(row);
  }

  #tidy(row: Row<T>): void {
    const here: T[] = [];
    for (let at = row.next; at < row.items.length; at += 1) {
      const item = row.items[at]!;
      if (this.#placeOf(item) !== row.place) continue;
      // One that has come back is there twice.
      this.#setPlace(item, undefined);
      here.push(item);
    }
    for (const item of here) this.#setPlace(item, row.place);
    row.items = here;
    row.next = 0;
  }

  #row(place: number): Row<T> {
    const known = this.#rows.find((row) => row.place === place);
    if (known !== undefined) return known;
    const row = new Row<T>(place);
    this.#rows = [...this.#rows, row].sort((a, b) => a.place - b.place);
    return row;
  }
}
