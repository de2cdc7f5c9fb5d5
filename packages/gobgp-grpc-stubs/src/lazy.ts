/** A list in the message that it came in: an element is decoded when it is asked for, each time anew. Keeps the message's bytes. */
export class Lazy<T> implements Iterable<T> {
  readonly #places: readonly number[];
  readonly #decode: (start: number, end: number) => T;

  /** @param places start and end of each element, one after the other. */
  constructor(places: readonly number[], decode: (start: number, end: number) => T) {
    this.#places = places;
    this.#decode = decode;
  }

  get length(): number {
    return this.#places.length / 2;
  }

  /** The elements from `start` up to `end`, decoded. Throws MalformedError for one that cannot be read. */
  slice(start = 0, end = this.length): T[] {
    const elements: T[] = [];
    for (let i = start; i < Math.min(end, this.length); i++)
      elements.push(this.#decode(this.#places[2 * i]!, this.#places[2 * i + 1]!));
    return elements;
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let i = 0; i < this.length; i++) yield this.#decode(this.#places[2 * i]!, this.#places[2 * i + 1]!);
  }
}
