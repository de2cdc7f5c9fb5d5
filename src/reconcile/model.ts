/**
 * One owner's objects: what it wants and what VPP has, by key, kept in place. A change costs what it touches: the operations that
 * lead from the one to the other are found per key, and nothing is ever compared as a whole but after a reading. Pure.
 *
 *   want, unwant ──▶ wanted ─┐                        ┌─▶ take(n): the next operations, in the order that VPP survives
 *                            ├─▶ touched keys, filed ─┤
 *   reading, settle ─▶ there ─┘                       └─▶ settle(outcomes)
 *
 * An owner has one transaction under way at a time: `take`, send, `settle`, until `take` gives nothing. The next one may be taken and
 * sent before the first is settled: it waits for its turn, and is no other than if it had been the end of the first. What is
 * wanted in between counts from the next `take` on, the last version of it alone.
 */
import { familyOf } from '../ip/text.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import {
  addPlace,
  canonical,
  carries,
  changeOf,
  diesWithInterface,
  flattened,
  goesLast,
  hangsOn,
  interfaceMade,
  interfacesUsed,
  isDangling,
  isSetting,
  keyOf,
  type ObjectKey,
  outlives,
  removePlace,
  same,
  type VppObject,
} from '../objects/object.js';
import {
  bindingOf,
  Entry,
  isOfInterface,
  isReplaced,
  known,
  type Life,
  nowhere,
  type Places,
  split,
  Taken,
} from './entry.js';
import type { Operation, Outcome } from './operation.js';
import { Shelf } from './shelf.js';

export class Model {
  /** A key stays as long as it is wanted, there, or on its way, and until a reading that may still show it is over. */
  readonly #entries = new Map<ObjectKey, Entry>();
  /** What refers to an interface, wanted or there. */
  readonly #on = new Map<InterfaceTag, Set<Entry>>();
  /** Interfaces that go, for good or to be made anew: all that hangs on them is removed with them. */
  readonly #remade = new Set<InterfaceTag>();
  /**
   * Of these, by its tag, each of many alike that is to come back at once: it goes and comes with all that is on it or leads by it, in one
   * piece, before the next one does. Nothing of that waits on the shelves.
   */
  readonly #renewed = new Map<InterfaceTag, Entry>();
  /** Interfaces that go when what leads by them leads elsewhere, and are wanted no more. */
  readonly #leaving = new Map<InterfaceTag, Entry>();
  /** Those of them by which something still leads that is on its way elsewhere: they stay till then, with all that is on them. */
  readonly #kept = new Set<InterfaceTag>();
  /** Bindings that change: VPP does not bind an interface that has an address, so its addresses go and come back. */
  readonly #rebound = new Set<string>();
  readonly #removals = new Shelf<Entry>(
    (entry) => entry.going,
    (entry, place) => {
      entry.going = place;
    },
  );
  readonly #additions = new Shelf<Entry>(
    (entry) => entry.coming,
    (entry, place) => {
      entry.coming = place;
    },
  );
  /** Operations taken and not settled. */
  #in_flight = 0;
  readonly #self = {};
  #life: Life = { of: this.#self };
  readonly #failed = new Map<ObjectKey, Error>();
  #there_count = 0;
  #wanted_count = 0;
  /** Readings are numbered; 0 is none. */
  #readings = 0;
  #reading = 0;
  /** What `scan` has still to look at. */
  #unseen: { readonly entries: Iterator<Entry>; readonly reading: number } | undefined;
  #unfiled: Iterator<Entry> | undefined;

  /** The version that is wanted. */
  wanted(key: ObjectKey): VppObject | undefined {
    return this.#entries.get(key)?.wanted;
  }

  /** What VPP has under this key, as far as readings and outcomes tell. */
  there(key: ObjectKey): VppObject | undefined {
    return this.#entries.get(key)?.there;
  }

  /** An operation of this key was taken, and it is not known what came of it. */
  isUnderWay(key: ObjectKey): boolean {
    return (this.#entries.get(key)?.in_flight ?? 0) > 0;
  }

  /** All that VPP has. */
  *allThere(): Iterable<VppObject> {
    for (const { there } of this.#entries.values()) if (there !== undefined) yield there;
  }

  /** What refers to this interface, as it is wanted, and as VPP has it. */
  *on(
    tag: InterfaceTag,
  ): Iterable<{ readonly wanted: VppObject | undefined; readonly there: VppObject | undefined }> {
    for (const { wanted, there } of this.#on.get(tag) ?? []) yield { wanted, there };
  }

  /** How many are wanted. */
  get wanted_count(): number {
    return this.#wanted_count;
  }

  /** How many VPP has. */
  get there_count(): number {
    return this.#there_count;
  }

  /** Objects that VPP refused, and why; not tried again before `retry`, or before they change. */
  get failed(): ReadonlyMap<ObjectKey, Error> {
    return this.#failed;
  }

  /** Operations that `take` would give by now, at least. */
  get waiting(): number {
    return this.#removals.size + this.#additions.size + this.#renewed.size;
  }

  /** Something stays only until what leads by it leads elsewhere. */
  get keeps(): boolean {
    return this.#kept.size > 0;
  }

  get inFlight(): number {
    return this.#in_flight;
  }

  /** From now on this is wanted, in this version. */
  want(object: VppObject): void {
    const now = canonical(object);
    const entry = this.#entry(keyOf(now));
    const before = entry.wanted;
    if (before === now) return;
    entry.wanted = now;
    if (before === undefined) this.#wanted_count += 1;
    // What a reading has shown is nobody's any more: who wants by the thousand shares what is alike.
    const { there } = entry;
    if (there !== undefined && !isDangling(there) && same(now, there) && same(there, now)) entry.there = now;
    if (before !== undefined) this.#leave(entry, before);
    this.#index(entry, now);
    if (before === undefined || !same(now, before) || !same(before, now)) this.#failed.delete(entry.key);
    this.#touch(entry);
  }

  unwant(key: ObjectKey): void {
    const entry = this.#entries.get(key);
    if (entry?.wanted === undefined) return;
    const before = entry.wanted;
    entry.wanted = undefined;
    this.#wanted_count -= 1;
    this.#leave(entry, before);
    this.#failed.delete(key);
    this.#touch(entry);
  }

  /** It turns out to be another owner's: nothing is done about it, and nothing known. None of its operations is on its way. */
  disown(key: ObjectKey): void {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.in_flight > 0) return;
    const { wanted, there } = entry;
    if (wanted !== undefined) this.#wanted_count -= 1;
    entry.wanted = undefined;
    entry.there = undefined;
    entry.unsure = false;
    if (there !== undefined) this.#there_count -= 1;
    for (const object of [wanted, there]) if (object !== undefined) this.#leave(entry, object);
    this.#failed.delete(key);
    this.#touch(entry);
  }

  /** Exactly these are wanted. */
  wantOnly(objects: Iterable<VppObject>): void {
    const keys = new Set<ObjectKey>();
    for (const object of objects) {
      this.want(object);
      keys.add(keyOf(canonical(object)));
    }
    for (const key of this.#entries.keys()) if (!keys.has(key)) this.unwant(key);
  }

  // --- what VPP has

  /** Another VPP, of which nothing is known but that it has nothing of this: `scan` files what is wanted. */
  forget(): void {
    this.#on.clear();
    this.#remade.clear();
    this.#renewed.clear();
    this.#leaving.clear();
    this.#kept.clear();
    this.#rebound.clear();
    this.#removals.clear();
    this.#additions.clear();
    this.#in_flight = 0;
    this.#life = { of: this.#self };
    this.#failed.clear();
    this.#there_count = 0;
    this.#reading = 0;
    this.#unseen = undefined;
    for (const entry of this.#entries.values()) {
      entry.there = undefined;
      entry.unsure = false;
      entry.in_flight = 0;
      entry.going = undefined;
      entry.coming = undefined;
      if (entry.wanted === undefined) this.#entries.delete(entry.key);
    }
    this.#unfiled = this.#entries.values();
  }

  /** From here on objects are `seen`; what changes meanwhile is not touched by them. It takes the place of an earlier reading. */
  beginReading(): void {
    this.#unseen = undefined;
    this.#readings += 1;
    this.#reading = this.#readings;
  }

  /** VPP has this. `unsure`: the registry says that it may have. */
  seen(object: VppObject, unsure = false): void {
    const now = canonical(object);
    const entry = this.#entry(keyOf(now));
    if (this.#reading !== 0) {
      entry.seen = this.#reading;
      if (entry.changed === this.#reading || entry.in_flight > 0) return;
    }
    entry.unsure = unsure;
    this.#set(entry, known(entry, now));
    this.#touch(entry);
  }

  /** All has been seen; what the reading covers and has not shown is gone, once `scan` has looked. */
  endReading(): void {
    if (this.#reading === 0) return;
    this.#unseen = { entries: this.#entries.values(), reading: this.#reading };
    this.#reading = 0;
  }

  /** Looks at so many more of the keys that a reading, or `forget`, has left to be looked at. True: none is left. */
  scan(max: number): boolean {
    let left = max;
    for (; this.#unseen !== undefined && left > 0; left -= 1) {
      const { entries, reading } = this.#unseen;
      const { value: entry, done } = entries.next();
      if (done === true) this.#unseen = undefined;
      else if (entry.seen === reading || entry.changed >= reading || entry.in_flight > 0) this.#drop(entry);
      else this.#gone(entry);
    }
    for (; this.#unfiled !== undefined && left > 0; left -= 1) {
      const { value: entry, done } = this.#unfiled.next();
      if (done === true) this.#unfiled = undefined;
      else {
        if (entry.wanted !== undefined) this.#index(entry, entry.wanted);
        this.#file(entry);
      }
    }
    return this.#unseen === undefined && this.#unfiled === undefined;
  }

  // --- what is to be done

  /**
   * The next operations, at most `max`: removals before additions, each in the order of its place; between the two what is renewed, one
   * after the other. An interface goes together with what has to be taken off it, and a tunnel that is renewed with all that leads by it, which
   * may be some more. It and a table go when nothing is in flight: of what hangs on them VPP may refuse to let go; until then
   * nothing is given.
   */
  take(max: number): Operation[] {
    while (!this.scan(Number.MAX_SAFE_INTEGER));
    this.#reviewLeaving();
    const operations: Operation[] = [];
    const ahead = this.#in_flight > 0;
    const give = (action: 'add' | 'remove', entry: Entry, object: VppObject): void => {
      entry.in_flight += 1;
      this.#in_flight += 1;
      operations.push(new Taken(action, object, entry, this.#life));
    };
    while (operations.length < max) {
      const entry = this.#removals.first();
      if (entry === undefined) break;
      const object = entry.there!;
      if (carries(object)) {
        if (this.#isHeld(entry, object)) continue;
        if (ahead) return operations;
      }
      // Taken off whether they were seen there or not.
      const also = outlives(object).filter((left) => this.#entry(keyOf(left)).there === undefined);
      if (operations.length > 0 && operations.length + also.length >= max) return operations;
      this.#removals.shift();
      for (const left of also) give('remove', this.#entry(keyOf(left)), left);
      give('remove', entry, object);
    }
    for (const [tag, made] of [...this.#renewed]) {
      if (operations.length >= max) break;
      if (made.there === undefined || made.in_flight > 0 || this.#isHeld(made, made.there)) continue;
      if (ahead) return operations;
      const { removals, additions } = this.#renewal(tag, made);
      if (operations.length > 0 && operations.length + removals.length + additions.length > max)
        return operations;
      for (const entry of removals) give('remove', entry, entry.there!);
      for (const entry of additions) give('add', entry, entry.wanted!);
    }
    while (operations.length < max) {
      const entry = this.#additions.shift();
      if (entry === undefined) break;
      give('add', entry, entry.wanted!);
    }
    return operations;
  }

  /** What came of operations that were taken. One that was not carried out and has no fault of its own (`isLost`) is taken again. */
  settle(outcomes: Iterable<Outcome>, isLost: (error: Error) => boolean = () => false): void {
    for (const { operation, error } of outcomes) {
      const { action, object } = operation;
      if (this.#isStale(operation)) continue;
      const entry = this.#landed(operation) ?? this.#entry(keyOf(object));
      entry.changed = this.#readings;
      if (error === undefined) this.#done(action, entry, object);
      else {
        // The old version may be gone.
        if (operation.anew && entry.there !== undefined) entry.unsure = true;
        if (!isLost(error)) this.#failed.set(entry.key, error);
      }
      if (entry.in_flight === 0) this.#touch(entry);
    }
    this.#reviewLeaving();
  }

  /** What has to be done for an interface to go and come back, each in the order of its place. */
  #renewal(tag: InterfaceTag, made: Entry): { readonly removals: Entry[]; readonly additions: Entry[] } {
    const all = [made, ...(this.#on.get(tag) ?? [])].map((entry) => ({ entry, ...this.#places(entry) }));
    const inOrder = (place: 'going' | 'coming'): Entry[] =>
      all
        .filter((each) => each[place] !== undefined)
        .sort((a, b) => a[place]! - b[place]!)
        .map(({ entry }) => entry);
    return { removals: inOrder('going'), additions: inOrder('coming') };
  }

  /** VPP would not let go of what hangs on it: it is not tried. */
  #isHeld(entry: Entry, object: VppObject): boolean {
    const holder = this.#holderOf(object);
    if (holder === undefined) return false;
    this.#failed.set(entry.key, new Error(`not sent: ${keyOf(holder)} is still there`));
    this.#touch(entry);
    return true;
  }

  /** What VPP would not let go of, and hangs on this interface or table. */
  #holderOf(object: VppObject): VppObject | undefined {
    for (const key of this.#failed.keys()) {
      const there = this.#entries.get(key)?.there;
      if (there !== undefined && there !== object && hangsOn(there, object)) return there;
    }
    return undefined;
  }

  /** It was taken for a VPP that is gone, and says nothing of this one. */
  #isStale(operation: Operation): boolean {
    return operation instanceof Taken && operation.life.of === this.#self && operation.life !== this.#life;
  }

  /** Its entry, where it was taken from this model and is settled for the first time. */
  #landed(operation: Operation): Entry | undefined {
    if (!(operation instanceof Taken) || operation.life !== this.#life || operation.settled) return undefined;
    operation.settled = true;
    operation.entry.in_flight -= 1;
    this.#in_flight -= 1;
    return operation.entry;
  }

  /** What was refused is tried again. */
  retry(): void {
    const keys = [...this.#failed.keys()];
    this.#failed.clear();
    for (const key of keys) this.#touch(this.#entry(key));
  }

  #done(action: 'add' | 'remove', entry: Entry, object: VppObject): void {
    if (this.#failed.size > 0) this.#failed.delete(entry.key);
    entry.unsure = false;
    if (action === 'add') this.#set(entry, object);
    else this.#gone(entry);
  }

  #entry(key: ObjectKey): Entry {
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    const flat = flattened(key);
    const entry = new Entry(flat);
    this.#entries.set(flat, entry);
    return entry;
  }

  /** Nothing is left to be known of it. */
  #drop(entry: Entry): void {
    if (entry.wanted !== undefined || entry.there !== undefined || entry.in_flight > 0) return;
    if (this.#reading !== 0 && entry.changed === this.#reading) return;
    this.#entries.delete(entry.key);
    this.#failed.delete(entry.key);
  }

  #set(entry: Entry, object: VppObject): void {
    const before = entry.there;
    if (before === object) return;
    entry.there = object;
    if (before === undefined) this.#there_count += 1;
    else this.#leave(entry, before);
    if (object !== entry.wanted) this.#index(entry, object);
  }

  #gone(entry: Entry): void {
    const before = entry.there;
    if (before === undefined) return this.#drop(entry);
    entry.there = undefined;
    entry.unsure = false;
    this.#there_count -= 1;
    this.#leave(entry, before);
    const tag = interfaceMade(before);
    if (tag !== undefined) {
      for (const other of [...(this.#on.get(tag) ?? [])]) {
        if (other.there !== undefined && diesWithInterface(other.there)) this.#gone(other);
      }
    }
    this.#touch(entry);
  }

  #index(entry: Entry, object: VppObject): void {
    for (const tag of interfacesUsed(object)) {
      const entries = this.#on.get(tag);
      if (entries === undefined) this.#on.set(tag, new Set([entry]));
      else entries.add(entry);
    }
  }

  /** One version of it refers to its interfaces no more; the other one may. */
  #leave(entry: Entry, object: VppObject): void {
    const { wanted, there } = entry;
    if (object === wanted || object === there) return;
    for (const tag of interfacesUsed(object)) {
      const kept = [wanted, there].some(
        (other) => other !== undefined && interfacesUsed(other).includes(tag),
      );
      if (kept) continue;
      const entries = this.#on.get(tag);
      entries?.delete(entry);
      if (entries?.size === 0) this.#on.delete(tag);
    }
  }

  #touch(entry: Entry): void {
    this.#file(entry);
    const object = entry.there ?? entry.wanted;
    if (object === undefined) {
      this.#unhang(entry.key);
      this.#drop(entry);
      return;
    }
    const tag = interfaceMade(object);
    if (tag !== undefined) this.#markInterface(entry, tag);
    if (object.kind === 'interface_table') {
      const { there, wanted } = entry;
      const changes = there !== undefined && wanted !== undefined && !same(wanted, there);
      this.#mark(this.#rebound, bindingOf(object), changes, object.interface);
    }
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
    const changes = renewed !== this.#renewed.has(tag);
    if (renewed) this.#renewed.set(tag, entry);
    else this.#renewed.delete(tag);
    this.#mark(this.#remade, tag, goes, tag);
    if (changes) this.#fileAll(tag);
    this.#file(entry);
  }

  /** Something leads by it in VPP, and is to lead elsewhere. */
  #isLeft(tag: InterfaceTag): boolean {
    for (const { there, wanted } of this.#on.get(tag) ?? []) {
      if (there === undefined || wanted === undefined || changeOf(wanted) !== 'overwrite') continue;
      if (interfacesUsed(there).includes(tag) && !interfacesUsed(wanted).includes(tag)) return true;
    }
    return false;
  }

  /** What leads by them may have been wanted elsewhere since they were wanted no more, or has gone there. */
  #reviewLeaving(): void {
    for (const entry of [...this.#leaving.values()]) this.#touch(entry);
  }

  /** An interface that is neither wanted nor there is not on its way to be remade. */
  #unhang(key: ObjectKey): void {
    if (this.#remade.size === 0 && this.#rebound.size === 0 && this.#leaving.size === 0) return;
    const [kind, name = ''] = split(key);
    if (kind === 'interface_table') this.#rebound.delete(name);
    else {
      this.#leaving.delete(name);
      this.#renewed.delete(name);
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
    for (const entry of this.#on.get(tag) ?? []) this.#file(entry);
  }

  /** Puts the key where what has to be done with it waits for its turn, or nowhere. */
  #file(entry: Entry): void {
    if (entry.in_flight > 0) return;
    const { going, coming } = this.#isRenewed(entry) ? nowhere : this.#places(entry);
    this.#removals.put(entry, going);
    this.#additions.put(entry, coming);
  }

  /** Where its removal and its addition have their places; undefined: there is nothing to be done. */
  #places(entry: Entry): Places {
    const { there: old, wanted: now, unsure } = entry;
    if (old === now && this.#remade.size === 0 && this.#rebound.size === 0 && !unsure) return nowhere;
    const failed = this.#failed.size > 0 && this.#failed.has(entry.key);
    const fresh = old !== undefined && now !== undefined && !isDangling(old) && same(now, old);
    const goes =
      old !== undefined &&
      (now === undefined
        ? !isSetting(old) && !this.#isKept(old)
        : (!fresh && (changeOf(now) === 'remove_first' || isDangling(old))) || this.#isRemade(old));
    const remade = (old !== undefined && this.#isRemade(old)) || (now !== undefined && this.#isRemade(now));
    const comes = now !== undefined && (!fresh || remade || unsure);
    return {
      going: goes && !failed && !this.#diesAnyway(old) ? removePlace(old) : undefined,
      coming: comes && !failed ? addPlace(now) : undefined,
    };
  }

  #isRenewed({ there, wanted }: Entry): boolean {
    if (this.#renewed.size === 0) return false;
    return [there, wanted].some((object) => {
      if (object === undefined) return false;
      const tag = interfaceMade(object);
      return tag !== undefined
        ? this.#renewed.has(tag)
        : interfacesUsed(object).some((used) => this.#renewed.has(used));
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
