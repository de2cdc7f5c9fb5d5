/** What refers to each interface. */
import type { InterfaceTag } from '../objects/interfaces.js';
import { interfacesUsed, type VppObject } from '../objects/object.js';
import type { Entry } from './entry.js';

const nobody: ReadonlySet<Entry> = new Set();

/** Keys by the interfaces that they refer to, as they are wanted or as VPP has them. */
export class Referrers {
  readonly #entries = new Map<InterfaceTag, Set<Entry>>();

  of(tag: InterfaceTag): ReadonlySet<Entry> {
    return this.#entries.get(tag) ?? nobody;
  }

  clear(): void {
    this.#entries.clear();
  }

  /** One version of it refers to its interfaces. */
  add(entry: Entry, object: VppObject): void {
    for (const tag of interfacesUsed(object)) {
      const entries = this.#entries.get(tag);
      if (entries === undefined) this.#entries.set(tag, new Set([entry]));
      else entries.add(entry);
    }
  }

  /** One version of it refers to its interfaces no more; the other one may. */
  leave(entry: Entry, object: VppObject): void {
    const { wanted, there } = entry;
    if (object === wanted || object === there) return;
    for (const tag of interfacesUsed(object)) {
      const kept = [wanted, there].some(
        (other) => other !== undefined && interfacesUsed(other).includes(tag),
      );
      if (kept) continue;
      const entries = this.#entries.get(tag);
      entries?.delete(entry);
      if (entries?.size === 0) this.#entries.delete(tag);
    }
  }
}
