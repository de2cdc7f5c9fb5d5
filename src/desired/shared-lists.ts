/** The same objects in the same order. */
export function sameList<T extends object>(
  a: readonly T[] | undefined,
  b: readonly T[] | undefined,
): boolean {
  if (a === b) return true;
  return a?.length === b?.length && a !== undefined && a.every((each, at) => each === b?.[at]);
}

/** Lists that begin with the same object, of which the last are known. */
const lists_max = 8;

/**
 * One list for all that have the same objects in the same order: a hundred thousand prefixes lead to the same two routers. What was not seen for
 * a while is another list: nothing follows from whether two are one.
 */
export class SharedLists<T extends object> {
  readonly #by_first = new WeakMap<T, (readonly T[])[]>();

  of(list: readonly T[]): readonly T[] {
    const [first] = list;
    if (first === undefined) return list;
    const known = this.#by_first.get(first);
    if (known === undefined) {
      this.#by_first.set(first, [list]);
      return list;
    }
    const at = known.findIndex((each) => sameList(each, list));
    const [one] = at < 0 ? [list] : known.splice(at, 1);
    if (known.length === lists_max) known.shift();
    known.push(one!);
    return one!;
  }
}
