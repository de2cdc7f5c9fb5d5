/** VPP's pool: an index that was freed last is given out first. */
export class Pool<T> {
  readonly #items: (T | undefined)[] = [];
  readonly #free: number[] = [];

  add(make: (index: number) => T): T {
    const index = this.#free.pop() ?? this.#items.length;
    const item = make(index);
    this.#items[index] = item;
    return item;
  }

  get(index: number): T | undefined {
    return this.#items[index];
  }

  /** Indexes at and beyond it were never given out: what VPP finds there is no item. */
  get end(): number {
    return this.#items.length;
  }

  replace(index: number, item: T): void {
    if (this.#items[index] !== undefined) this.#items[index] = item;
  }

  remove(index: number): void {
    if (this.#items[index] === undefined) return;
    this.#items[index] = undefined;
    this.#free.push(index);
  }

  *[Symbol.iterator](): Iterator<T> {
    for (const item of this.#items) if (item !== undefined) yield item;
  }
}

/** VPP's bitmap of instance numbers: the lowest free one is taken. */
export class Instances {
  readonly #used = new Set<number>();

  has(instance: number): boolean {
    return this.#used.has(instance);
  }

  take(wanted?: number): number {
    let instance = wanted ?? 0;
    if (wanted === undefined) while (this.#used.has(instance)) instance += 1;
    this.#used.add(instance);
    return instance;
  }

  free(instance: number): void {
    this.#used.delete(instance);
  }
}
