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
import type { InterfaceTag } from '../objects/interfaces.js';
import {
  canonical,
  carries,
  diesWithInterface,
  flattened,
  goesBehind,
  hangsOn,
  interfaceMade,
  isDangling,
  keyOf,
  leadsTo,
  type ObjectKey,
  outlives,
  same,
  type VppObject,
} from '../objects/object.js';
import { ChangingInterfaces } from './changing-interfaces.js';
import { Entry, isMissing, known, type Life, nowhere, Taken } from './entry.js';
import type { Operation, Outcome } from './operation.js';
import { Referrers } from './referrers.js';
import { Shelf } from './shelf.js';

export class Model {
  /** A key stays as long as it is wanted, there, or on its way, and until a reading that may still show it is over. */
  readonly #entries = new Map<ObjectKey, Entry>();
  /** What refers to an interface, wanted or there. */
  readonly #referrers = new Referrers();
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
  /** Entries of these that are late. */
  #late = 0;
  readonly #self = {};
  #life: Life = { of: this.#self };
  readonly #failed = new Map<ObjectKey, Error>();
  readonly #interfaces = new ChangingInterfaces(this.#referrers, this.#failed, (entry) => this.#file(entry));
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
    for (const { wanted, there } of this.#referrers.of(tag)) yield { wanted, there };
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
    return this.#removals.size + this.#additions.size + this.#interfaces.renewed.size;
  }

  /** Something stays only until what leads by it leads elsewhere. */
  get keeps(): boolean {
    return this.#interfaces.keeps;
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
    if (before !== undefined) this.#referrers.leave(entry, before);
    this.#referrers.add(entry, now);
    if (before === undefined || !same(now, before) || !same(before, now)) this.#failed.delete(entry.key);
    this.#touch(entry);
  }

  unwant(key: ObjectKey): void {
    const entry = this.#entries.get(key);
    if (entry?.wanted === undefined) return;
    const before = entry.wanted;
    entry.wanted = undefined;
    this.#wanted_count -= 1;
    this.#referrers.leave(entry, before);
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
    for (const object of [wanted, there]) if (object !== undefined) this.#referrers.leave(entry, object);
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
    this.#referrers.clear();
    this.#interfaces.clear();
    this.#removals.clear();
    this.#additions.clear();
    this.#in_flight = 0;
    this.#late = 0;
    this.#life = { of: this.#self };
    this.#failed.clear();
    this.#there_count = 0;
    this.#reading = 0;
    this.#unseen = undefined;
    for (const entry of this.#entries.values()) {
      entry.there = undefined;
      entry.unsure = false;
      entry.in_flight = 0;
      entry.is_late = false;
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
        if (entry.wanted !== undefined) this.#referrers.add(entry, entry.wanted);
        this.#file(entry);
      }
    }
    return this.#unseen === undefined && this.#unfiled === undefined;
  }

  // --- what is to be done

  /**
   * The next operations, at most `max`: removals before additions, each in the order of its place, but for what goes behind these; between the two what
   * is renewed, one after the other. An interface goes together with what has to be taken off it, and a tunnel that is renewed with all that leads by it, which
   * may be some more. It and a table go when nothing is in flight: of what hangs on them VPP may refuse to let go; until then
   * nothing is given. What leads to something that is missing waits for that.
   */
  take(max: number): Operation[] {
    while (!this.scan(Number.MAX_SAFE_INTEGER));
    this.#reviewLeaving();
    const behind: Entry[] = [];
    const held: Entry[] = [];
    const operations = this.#take(max, behind, held);
    for (const entry of behind) this.#file(entry);
    for (const entry of held) this.#file(entry);
    return operations;
  }

  /** `behind` is what has been taken off and not given; so is `held`: what it leads to is not there yet. */
  #take(max: number, behind: Entry[], held: Entry[]): Operation[] {
    const operations: Operation[] = [];
    const ahead = this.#in_flight > 0;
    const give = (action: 'add' | 'remove', entry: Entry, object: VppObject): void => {
      entry.in_flight += 1;
      entry.given = action;
      this.#in_flight += 1;
      operations.push(new Taken(action, object, entry, this.#life));
    };
    while (operations.length < max) {
      const entry = this.#removals.first();
      if (entry === undefined) break;
      const object = entry.there!;
      if ((this.#additions.size > 0 || this.#late > 0) && goesBehind(object)) {
        this.#removals.shift();
        behind.push(entry);
        continue;
      }
      if (carries(object)) {
        if (behind.some(({ there }) => hangsOn(there!, object))) {
          this.#removals.shift();
          behind.push(entry);
          continue;
        }
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
    for (const [tag, made] of [...this.#interfaces.renewed]) {
      if (operations.length >= max) break;
      if (made.there === undefined || made.in_flight > 0 || this.#isHeld(made, made.there)) continue;
      if (ahead) return operations;
      const { removals, additions } = this.#interfaces.renewal(tag, made);
      if (operations.length > 0 && operations.length + removals.length + additions.length > max)
        return operations;
      for (const entry of removals) give('remove', entry, entry.there!);
      for (const entry of additions) give('add', entry, entry.wanted!);
    }
    while (operations.length < max) {
      const entry = this.#additions.shift();
      if (entry === undefined) break;
      if (this.#leadsToNothing(entry.wanted!)) held.push(entry);
      else give('add', entry, entry.wanted!);
    }
    // What is still to move may lead by it.
    const moves = this.#late > 0 || (ahead && held.length > 0);
    while (operations.length < max && this.#additions.size === 0 && !moves) {
      const [entry] = behind;
      if (entry === undefined) break;
      const object = entry.there!;
      if (carries(object)) {
        // What leads by it is still to move, and VPP may refuse that.
        if (ahead || operations.some(({ action }) => action === 'add')) break;
        if (held.some(({ there }) => there !== undefined && hangsOn(there, object))) {
          held.push(entry);
          behind.shift();
          continue;
        }
        if (this.#isHeld(entry, object)) {
          behind.shift();
          continue;
        }
      }
      behind.shift();
      give('remove', entry, object);
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
        if (!isLost(error) && !this.#isOutdated(entry, operation)) this.#failed.set(entry.key, error);
      }
      if (entry.in_flight === 0) this.#touch(entry);
    }
    this.#reviewLeaving();
  }

  #leadsToNothing(object: VppObject): boolean {
    const key = leadsTo(object);
    const entry = key === undefined ? undefined : this.#entries.get(key);
    return entry !== undefined && isMissing(entry);
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

  /** Another version is wanted by now, of which nothing is known yet. */
  #isOutdated({ wanted }: Entry, { action, object }: Operation): boolean {
    if (action === 'remove' || wanted === undefined || wanted === object) return false;
    return !same(wanted, object) || !same(object, wanted);
  }

  /** It was taken for a VPP that is gone, and says nothing of this one. */
  #isStale(operation: Operation): boolean {
    return operation instanceof Taken && operation.life.of === this.#self && operation.life !== this.#life;
  }

  /** Its entry, where it was taken from this model and is settled for the first time. */
  #landed(operation: Operation): Entry | undefined {
    if (!(operation instanceof Taken) || operation.life !== this.#life || operation.settled) return undefined;
    operation.settled = true;
    const { entry } = operation;
    entry.in_flight -= 1;
    this.#in_flight -= 1;
    if (entry.is_late && entry.in_flight === 0) {
      entry.is_late = false;
      this.#late -= 1;
    }
    return entry;
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
    else this.#referrers.leave(entry, before);
    if (object !== entry.wanted) this.#referrers.add(entry, object);
  }

  #gone(entry: Entry): void {
    const before = entry.there;
    if (before === undefined) return this.#drop(entry);
    entry.there = undefined;
    entry.unsure = false;
    this.#there_count -= 1;
    this.#referrers.leave(entry, before);
    const tag = interfaceMade(before);
    if (tag !== undefined) {
      for (const other of [...this.#referrers.of(tag)]) {
        if (other.there !== undefined && diesWithInterface(other.there)) this.#gone(other);
      }
    }
    this.#touch(entry);
  }

  #touch(entry: Entry): void {
    this.#file(entry);
    const object = entry.there ?? entry.wanted;
    if (object === undefined) {
      this.#interfaces.gone(entry.key);
      this.#drop(entry);
    } else this.#interfaces.touched(entry, object);
  }

  /** What leads by them may have been wanted elsewhere since they were wanted no more, or has gone there. */
  #reviewLeaving(): void {
    for (const entry of this.#interfaces.leaving) this.#touch(entry);
  }

  /** Puts the key where what has to be done with it waits for its turn, or nowhere. */
  #file(entry: Entry): void {
    if (entry.in_flight > 0) {
      if (!entry.is_late) this.#late += 1;
      entry.is_late = true;
      return;
    }
    const { going, coming } = this.#interfaces.isRenewed(entry) ? nowhere : this.#interfaces.placesOf(entry);
    this.#removals.put(entry, going);
    this.#additions.put(entry, coming);
  }
}
