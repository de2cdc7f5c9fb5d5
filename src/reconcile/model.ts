/**
 * One owner's objects: what it wants and what VPP has, by key, kept in place. A change costs what it touches: the operations that
 * lead from the one to the other are found per key, and nothing is ever compared as a whole but after a reading. Pure.
 *
 *   want, unwant ──▶ wanted ─┐                        ┌─▶ take(n): the next operations, in the order that VPP survives
 *                            ├─▶ touched keys, filed ─┤
 *   reading, settle ─▶ there ─┘                       └─▶ settle(outcomes)
 *
 * An owner has one transaction under way at a time: `take`, send, `settle`, until `take` gives nothing. What is wanted in
 * between counts from the next `take` on, the last version of it alone.
 */
import { familyOf } from '../ip/text.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import {
  addPlace,
  canonical,
  changeOf,
  diesWithInterface,
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
import type { Operation, Outcome } from './operation.js';
import { Shelf } from './shelf.js';

interface Reading {
  readonly seen: Set<ObjectKey>;
  /** Changed since it began: what it shows of them is of no use. */
  readonly changed: Set<ObjectKey>;
}

export class Model {
  readonly #wanted = new Map<ObjectKey, VppObject>();
  #there = new Map<ObjectKey, VppObject>();
  /** Keys of what refers to an interface, wanted or there. */
  #on = new Map<InterfaceTag, Set<ObjectKey>>();
  /** Interfaces that go, for good or to be made anew: all that hangs on them is removed with them. */
  readonly #remade = new Set<InterfaceTag>();
  /** Bindings that change: VPP does not bind an interface that has an address, so its addresses go and come back. */
  readonly #rebound = new Set<string>();
  readonly #removals = new Shelf();
  readonly #additions = new Shelf();
  /** Operations taken and not settled. */
  readonly #flight = new Map<ObjectKey, number>();
  readonly #failed = new Map<ObjectKey, Error>();
  /** May or may not be there: added again. */
  readonly #unsure = new Set<ObjectKey>();
  #reading: Reading | undefined;
  /** What `scan` has still to look at. */
  #unseen: { readonly keys: Iterator<ObjectKey>; readonly reading: Reading } | undefined;
  #unfiled: Iterator<ObjectKey> | undefined;

  get wanted(): ReadonlyMap<ObjectKey, VppObject> {
    return this.#wanted;
  }

  /** What VPP has, as far as readings and outcomes tell. */
  get there(): ReadonlyMap<ObjectKey, VppObject> {
    return this.#there;
  }

  /** Objects that VPP refused, and why; not tried again before `retry`, or before they change. */
  get failed(): ReadonlyMap<ObjectKey, Error> {
    return this.#failed;
  }

  /** Operations that `take` would give by now, at least. */
  get waiting(): number {
    return this.#removals.size + this.#additions.size;
  }

  get inFlight(): number {
    return this.#flight.size;
  }

  /** From now on this is wanted, in this version. */
  want(object: VppObject): void {
    const now = canonical(object);
    const key = keyOf(now);
    const before = this.#wanted.get(key);
    if (before === now) return;
    this.#wanted.set(key, now);
    if (before !== undefined) this.#leave(key, before);
    this.#index(key, now);
    if (before === undefined || !same(now, before) || !same(before, now)) this.#failed.delete(key);
    this.#touch(key);
  }

  unwant(key: ObjectKey): void {
    const before = this.#wanted.get(key);
    if (before === undefined) return;
    this.#wanted.delete(key);
    this.#leave(key, before);
    this.#failed.delete(key);
    this.#touch(key);
  }

  /** Exactly these are wanted. */
  wantOnly(objects: Iterable<VppObject>): void {
    const keys = new Set<ObjectKey>();
    for (const object of objects) {
      this.want(object);
      keys.add(keyOf(canonical(object)));
    }
    for (const key of [...this.#wanted.keys()]) if (!keys.has(key)) this.unwant(key);
  }

  // --- what VPP has

  /** Another VPP, of which nothing is known but that it has nothing of this: `scan` files what is wanted. */
  forget(): void {
    this.#there = new Map();
    this.#on = new Map();
    this.#remade.clear();
    this.#rebound.clear();
    this.#removals.clear();
    this.#additions.clear();
    this.#flight.clear();
    this.#failed.clear();
    this.#unsure.clear();
    this.#reading = undefined;
    this.#unseen = undefined;
    this.#unfiled = this.#wanted.keys();
  }

  /** From here on objects are `seen`; what changes meanwhile is not touched by them. */
  beginReading(): void {
    this.#reading = { seen: new Set(), changed: new Set(this.#flight.keys()) };
  }

  /** VPP has this. `unsure`: the registry says that it may have. */
  seen(object: VppObject, unsure = false): void {
    const now = canonical(object);
    const key = keyOf(now);
    const reading = this.#reading;
    reading?.seen.add(key);
    if (reading?.changed.has(key)) return;
    if (unsure) this.#unsure.add(key);
    else this.#unsure.delete(key);
    this.#set(key, this.#known(key, now));
    this.#touch(key);
  }

  /** An equal object that is kept already: the one that has been read is then nobody's. */
  #known(key: ObjectKey, seen: VppObject): VppObject {
    const wanted = this.#wanted.get(key);
    if (wanted !== undefined && !isDangling(seen) && same(wanted, seen)) return wanted;
    const there = this.#there.get(key);
    return there !== undefined && same(there, seen) && same(seen, there) ? there : seen;
  }

  /** All has been seen; what the reading covers and has not shown is gone, once `scan` has looked. */
  endReading(): void {
    const reading = this.#reading;
    if (reading === undefined) return;
    this.#reading = undefined;
    this.#unseen = { keys: this.#there.keys(), reading };
  }

  /** Looks at so many more of the keys that a reading, or `forget`, has left to be looked at. True: none is left. */
  scan(max: number): boolean {
    let left = max;
    for (; this.#unseen !== undefined && left > 0; left -= 1) {
      const { keys, reading } = this.#unseen;
      const { value: key, done } = keys.next();
      if (done === true) this.#unseen = undefined;
      else if (!reading.seen.has(key) && !reading.changed.has(key)) this.#gone(key);
    }
    for (; this.#unfiled !== undefined && left > 0; left -= 1) {
      const { value: key, done } = this.#unfiled.next();
      if (done === true) this.#unfiled = undefined;
      else {
        this.#index(key, this.#wanted.get(key)!);
        this.#file(key);
      }
    }
    return this.#unseen === undefined && this.#unfiled === undefined;
  }

  // --- what is to be done

  /** The next operations, at most `max`: removals before additions, each in the order of its place. */
  take(max: number): Operation[] {
    while (!this.scan(Number.MAX_SAFE_INTEGER));
    const operations: Operation[] = [];
    const give = (action: 'add' | 'remove', key: ObjectKey, object: VppObject): void => {
      this.#flight.set(key, (this.#flight.get(key) ?? 0) + 1);
      this.#reading?.changed.add(key);
      operations.push({ action, object });
    };
    while (operations.length < max) {
      const key = this.#removals.shift();
      if (key === undefined) break;
      const object = this.#there.get(key)!;
      // Taken off whether they were seen there or not.
      for (const left of outlives(object)) {
        const left_key = keyOf(left);
        if (!this.#there.has(left_key)) give('remove', left_key, left);
      }
      give('remove', key, object);
    }
    while (operations.length < max) {
      const key = this.#additions.shift();
      if (key === undefined) break;
      give('add', key, this.#wanted.get(key)!);
    }
    return operations;
  }

  /** What came of operations that were taken. One that was not carried out and has no fault of its own (`isLost`) is taken again. */
  settle(outcomes: Iterable<Outcome>, isLost: (error: Error) => boolean = () => false): void {
    for (const { operation, error } of outcomes) {
      const { action, object } = operation;
      const key = keyOf(object);
      if (error === undefined) this.#done(action, key, object);
      else if (!isLost(error)) this.#failed.set(key, error);
      const under_way = (this.#flight.get(key) ?? 0) - 1;
      if (under_way > 0) this.#flight.set(key, under_way);
      else {
        this.#flight.delete(key);
        this.#touch(key);
      }
    }
  }

  /** What was refused is tried again. */
  retry(): void {
    const keys = [...this.#failed.keys()];
    this.#failed.clear();
    for (const key of keys) this.#touch(key);
  }

  #done(action: 'add' | 'remove', key: ObjectKey, object: VppObject): void {
    this.#failed.delete(key);
    this.#unsure.delete(key);
    if (action === 'add') return this.#set(key, object);
    this.#gone(key);
  }

  #set(key: ObjectKey, object: VppObject): void {
    const before = this.#there.get(key);
    if (before === object) return;
    this.#there.set(key, object);
    if (before !== undefined) this.#leave(key, before);
    if (object !== this.#wanted.get(key)) this.#index(key, object);
  }

  #gone(key: ObjectKey): void {
    const before = this.#there.get(key);
    if (before === undefined) return;
    this.#there.delete(key);
    this.#unsure.delete(key);
    this.#leave(key, before);
    const tag = interfaceMade(before);
    if (tag !== undefined) {
      for (const other of [...(this.#on.get(tag) ?? [])]) {
        const object = this.#there.get(other);
        if (object !== undefined && diesWithInterface(object)) this.#gone(other);
      }
    }
    this.#touch(key);
  }

  #index(key: ObjectKey, object: VppObject): void {
    for (const tag of interfacesUsed(object)) {
      const keys = this.#on.get(tag);
      if (keys === undefined) this.#on.set(tag, new Set([key]));
      else keys.add(key);
    }
  }

  /** One version of it refers to its interfaces no more; the other one may. */
  #leave(key: ObjectKey, object: VppObject): void {
    const kept = [this.#wanted.get(key), this.#there.get(key)].flatMap((other) =>
      other === undefined ? [] : interfacesUsed(other),
    );
    for (const tag of interfacesUsed(object)) {
      if (kept.includes(tag)) continue;
      const keys = this.#on.get(tag);
      keys?.delete(key);
      if (keys?.size === 0) this.#on.delete(tag);
    }
  }

  #touch(key: ObjectKey): void {
    this.#file(key);
    const object = this.#there.get(key) ?? this.#wanted.get(key);
    if (object === undefined) {
      this.#unhang(key);
      return;
    }
    const tag = interfaceMade(object);
    // One that VPP would not let go stays, and with it what is on it: that would be added again and again.
    if (tag !== undefined) {
      this.#mark(this.#remade, tag, this.#isReplaced(key) && !this.#failed.has(key), tag);
    }
    if (object.kind === 'interface_table') {
      const old = this.#there.get(key);
      const now = this.#wanted.get(key);
      const changes = old !== undefined && now !== undefined && !same(now, old);
      this.#mark(this.#rebound, bindingOf(object), changes, object.interface);
    }
  }

  /** An interface that is neither wanted nor there is not on its way to be remade. */
  #unhang(key: ObjectKey): void {
    const [kind, name = ''] = split(key);
    if (kind === 'interface_table') this.#rebound.delete(name);
    else this.#mark(this.#remade, name, false, name);
  }

  #mark(marks: Set<string>, mark: string, on: boolean, tag: InterfaceTag): void {
    if (marks.has(mark) === on) return;
    if (on) marks.add(mark);
    else marks.delete(mark);
    for (const key of this.#on.get(tag) ?? []) this.#file(key);
  }

  #isReplaced(key: ObjectKey): boolean {
    const old = this.#there.get(key);
    if (old === undefined) return false;
    const now = this.#wanted.get(key);
    if (now === undefined) return !isSetting(old);
    return !same(now, old) && changeOf(now) === 'remove_first';
  }

  /** Puts the key where what has to be done with it waits for its turn, or nowhere. */
  #file(key: ObjectKey): void {
    if (this.#flight.has(key)) return;
    const old = this.#there.get(key);
    const now = this.#wanted.get(key);
    if (old === now && this.#remade.size === 0 && this.#rebound.size === 0 && !this.#unsure.has(key)) {
      this.#removals.delete(key);
      this.#additions.delete(key);
      return;
    }
    const fresh = old !== undefined && now !== undefined && !isDangling(old) && same(now, old);
    const remade = (old !== undefined && this.#isRemade(old)) || (now !== undefined && this.#isRemade(now));
    const failed = this.#failed.has(key);

    const goes =
      old !== undefined &&
      (now === undefined
        ? !isSetting(old)
        : (!fresh && (changeOf(now) === 'remove_first' || isDangling(old))) || this.#isRemade(old));
    if (goes && !failed && !this.#diesAnyway(old)) this.#removals.put(key, removePlace(old));
    else this.#removals.delete(key);

    const comes = now !== undefined && (!fresh || remade || this.#unsure.has(key));
    if (comes && !failed) this.#additions.put(key, addPlace(now));
    else this.#additions.delete(key);
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

function bindingOf(binding: { readonly interface: InterfaceTag; readonly family: 4 | 6 }): string {
  return `${binding.interface}/${binding.family}`;
}

function split(key: ObjectKey): readonly [kind: string, name: string] {
  const at = key.indexOf(':');
  return [key.slice(0, at), key.slice(at + 1)];
}
