/**
 * Interfaces that go, come back or are bound elsewhere, and what that means for all that refers to them: when it is removed, and when it is
 * added. Pure.
 */
import { familyOf } from '../ip/text.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import {
  addPlace,
  changeOf,
  diesWithInterface,
  goesLast,
  interfaceMade,
  interfacesUsed,
  isDangling,
  isSetting,
  type ObjectKey,
  removePlace,
  same,
  type VppObject,
} from '../objects/object.js';
import { bindingOf, type Entry, isOfInterface, isReplaced, nowhere, type Places, split } from './entry.js';
import type { Referrers } from './referrers.js';

export class ChangingInterfaces {
  /** Interfaces that go, for good or to be made anew: all that hangs on them is removed with them. */
  readonly #remade = new Set<InterfaceTag>();
  /**
   * Of these, by its tag, each of many alike that is to come back at once: it goes and comes with all that is on it or leads by it, in one
   * piece, before the next one does. Nothing of that waits on the shelves.
   */
  readonly renewed = new Map<InterfaceTag, Entry>();
  /** Interfaces that go when what leads by them leads elsewhere, and are wanted no more. */
  readonly #leaving = new Map<InterfaceTag, Entry>();
  /** Those of them by which something still leads that is on its way elsewhere: they stay till then, with all that is on them. */
  readonly #kept = new Set<InterfaceTag>();
  /** Bindings that change: VPP does not bind an interface that has an address, so its addresses go and come back. */
  readonly #rebound = new Set<string>();
  readonly #referrers: Referrers;
  readonly #failed: ReadonlyMap<ObjectKey, Error>;
  readonly #refile: (entry: Entry) => void;

  /** `failed`: what VPP refused, by now. `refile`: what has to be done with it may be another thing by now, or at another time. */
  constructor(referrers: Referrers, failed: ReadonlyMap<ObjectKey, Error>, refile: (entry: Entry) => void) {
    this.#referrers = referrers;
    this.#failed = failed;
    this.#refile = refile;
  }

  get keeps(): boolean {
    return this.#kept.size > 0;
  }

  /** As they are now. */
  get leaving(): readonly Entry[] {
    return [...this.#leaving.values()];
  }

  clear(): void {
    this.#remade.clear();
    this.renewed.clear();
    this.#leaving.clear();
    this.#kept.clear();
    this.#rebound.clear();
  }

  /** Something of this key is another by now: `object` is what is there of it, or else wanted. */
  touched(entry: Entry, object: VppObject): void {
    const tag = interfaceMade(object);
    if (tag !== undefined) this.#markInterface(entry, tag);
    if (object.kind === 'interface_table') {
      const { there, wanted } = entry;
      const changes = there !== undefined && wanted !== undefined && !same(wanted, there);
      this.#mark(this.#rebound, bindingOf(object), changes, object.interface);
    }
  }

  /** What has to be done for an interface to go and come back, each in the order of its place. */
  renewal(tag: InterfaceTag, made: Entry): { readonly removals: Entry[]; readonly additions: Entry[] } {
    const all = [made, ...this.#referrers.of(tag)].map((entry) => ({ entry, ...this.placesOf(entry) }));
    const inOrder = (place: 'going' | 'coming'): Entry[] =>
      all
        .filter((each) => each[place] !== undefined)
        .sort((a, b) => a[place]! - b[place]!)
        .map(({ entry }) => entry);
    return { removals: inOrder('going'), additions: inOrder('coming') };
  }

  #markInterface(entry: Entry, tag: InterfaceTag): void {
    const { there, wanted } = entry;
    const leaves = there !== undefined && wanted === undefined && goesLast(there);
    if (leaves) this.#leaving.set(tag, entry);
    else this.#leaving.delete(tag);
    const kept = leaves && this.#isLeft(tag);
    this.#mark(this.#kept, tag, kept, tag);
    // One that VPP would not let go stays, and with it what is on it: that would be added again and again.
    const goes = isReplaced(entry) && !kept && !this.#failed.has(entry.key);
    const renewed = goes && wanted !== undefined && goesLast(wanted);
    const changes = renewed !== this.renewed.has(tag);
    if (renewed) this.renewed.set(tag, entry);
    else this.renewed.delete(tag);
    this.#mark(this.#remade, tag, goes, tag);
    if (changes) this.#fileAll(tag);
    this.#refile(entry);
  }

  /** Something leads by it in VPP, and is to lead elsewhere. */
  #isLeft(tag: InterfaceTag): boolean {
    for (const { there, wanted } of this.#referrers.of(tag)) {
      if (there === undefined || wanted === undefined || changeOf(there) !== 'overwrite') continue;
      if (interfacesUsed(there).includes(tag) && !interfacesUsed(wanted).includes(tag)) return true;
    }
    return false;
  }

  /** An interface that is neither wanted nor there is not on its way to be remade. */
  gone(key: ObjectKey): void {
    if (this.#remade.size === 0 && this.#rebound.size === 0 && this.#leaving.size === 0) return;
    const [kind, name = ''] = split(key);
    if (kind === 'interface_table') this.#rebound.delete(name);
    else {
      this.#leaving.delete(name);
      this.renewed.delete(name);
      this.#mark(this.#kept, name, false, name);
      this.#mark(this.#remade, name, false, name);
    }
  }

  #mark(marks: Set<string>, mark: string, on: boolean, tag: InterfaceTag): void {
    if (marks.has(mark) === on) return;
    if (on) marks.add(mark);
    else marks.delete(mark);
    this.#fileAll(tag);
  }

  /** What refers to it may be done at another time by now. */
  #fileAll(tag: InterfaceTag): void {
    for (const entry of this.#referrers.of(tag)) this.#refile(entry);
  }

  /** Where its removal and its addition have their places; undefined: there is nothing to be done. */
  placesOf(entry: Entry): Places {
    const { there: old, wanted: now, unsure } = entry;
    if (old === now && this.#remade.size === 0 && this.#rebound.size === 0 && !unsure) return nowhere;
    const failed = this.#failed.size > 0 && this.#failed.has(entry.key);
    const fresh = old !== undefined && now !== undefined && !isDangling(old) && same(now, old);
    const goes =
      old !== undefined &&
      (now === undefined
        ? !isSetting(old) && !this.#isKept(old)
        : (!fresh && (changeOf(old) === 'remove_first' || isDangling(old))) || this.#isRemade(old));
    const remade = (old !== undefined && this.#isRemade(old)) || (now !== undefined && this.#isRemade(now));
    const comes = now !== undefined && (!fresh || remade || unsure);
    return {
      going: goes && !failed && !this.#diesAnyway(old) ? removePlace(old) : undefined,
      coming: comes && !failed ? addPlace(now) : undefined,
    };
  }

  isRenewed({ there, wanted }: Entry): boolean {
    if (this.renewed.size === 0) return false;
    return [there, wanted].some((object) => {
      if (object === undefined) return false;
      const tag = interfaceMade(object);
      return tag !== undefined
        ? this.renewed.has(tag)
        : interfacesUsed(object).some((used) => this.renewed.has(used));
    });
  }

  #isKept(object: VppObject): boolean {
    if (this.#kept.size === 0) return false;
    const tag = interfaceMade(object);
    if (tag !== undefined) return this.#kept.has(tag);
    return isOfInterface(object) && interfacesUsed(object).some((used) => this.#kept.has(used));
  }

  #isRemade(object: VppObject): boolean {
    if (this.#remade.size === 0 && this.#rebound.size === 0) return false;
    if (interfacesUsed(object).some((tag) => this.#remade.has(tag))) return true;
    return (
      object.kind === 'interface_address' &&
      this.#rebound.has(bindingOf({ interface: object.interface, family: familyOf(object.prefix) }))
    );
  }

  #diesAnyway(object: VppObject): boolean {
    if (!diesWithInterface(object)) return false;
    return interfacesUsed(object).every((tag) => this.#remade.has(tag));
  }
}
