/**
 * VPP's own numbers for what we name: sw_if_index by tag, translation id, classify table index, FIB source. Valid for one session.
 *
 * A reading takes time, and what it shows may be gone when it ends: VPP gives a freed number to the next object. So each change here
 * is stamped, and a reading teaches only what has not changed since it began.
 */
import type { Family } from '../ip/text.js';
import { dangling_prefix, type InterfaceTag } from '../objects/interfaces.js';
import {
  flattened,
  interfaceMade,
  keyOf,
  type ObjectKey,
  type ObjectKind,
  type VppObject,
} from '../objects/object.js';
import type { NpolInterfaceObject } from '../objects/policy.js';
import type { RouteSource } from '../objects/routing.js';
import { type ApiTrace, api_trace_default } from './api-trace.js';
import { AppNamespaceTries } from './app-namespace-ids.js';
import { MemifSockets } from './memif-sockets.js';
import { TranslationIds } from './translation-ids.js';
import { UnknownHandle } from './unknown-handle.js';

export { UnknownHandle };

/** Of a reading: what was known when it began. */
export type Stamp = number;

export class Handles {
  readonly #interfaces = new Map<InterfaceTag, number>();
  readonly #others = new Map<string, number>();
  /** Of which kinds they are, or were: nobody looks for a number of one of the hundred thousand that have none. */
  readonly #numbered = new Set<ObjectKind>();
  readonly #fib_sources = new Map<RouteSource, number>();
  readonly #vxlan_decap = new Map<Family, number>();
  /** Numbers that npol's objects have: whatever else is in its pools nobody knows. */
  readonly #numbers = new Map<ObjectKind, Set<number>>();
  /** When a name was made or forgotten last, as long as a reading is under way that began before. */
  readonly #changed = new Map<string, Stamp>();
  readonly #readings = new Set<Stamp>();
  #now: Stamp = 0;
  /** Messages of drivers for uplinks that this VPP does not know: it has no such plugin, or another one. */
  lacks: ReadonlySet<string> = new Set();
  /** As this VPP was found. */
  api_trace: ApiTrace = api_trace_default;

  /** `translations`: those of this VPP that earlier sessions have learned. */
  constructor(readonly translations = new TranslationIds()) {}

  interface(tag: InterfaceTag): number {
    const index = tag.startsWith(dangling_prefix) ? Number(tag.slice(1)) : this.#interfaces.get(tag);
    if (index === undefined) throw new UnknownHandle(`VPP has no interface with tag ${tag}`);
    return index;
  }

  /** Undefined: VPP does not have it, as far as is known. */
  findInterface(tag: InterfaceTag): number | undefined {
    return this.#interfaces.get(tag);
  }

  /** The interface that VPP knows by this number, if it is one of ours. */
  tagOf(sw_if_index: number): InterfaceTag | undefined {
    for (const [tag, index] of this.#interfaces) if (index === sw_if_index) return tag;
    return undefined;
  }

  of(object: VppObject): number {
    const handle = this.find(object);
    if (handle === undefined) throw new UnknownHandle(`VPP's id of ${keyOf(object)} is not known`);
    return handle;
  }

  find(object: VppObject): number | undefined {
    return this.#numbered.has(object.kind) ? this.#others.get(keyOf(object)) : undefined;
  }

  /** Of what another object refers to by name. */
  named(key: ObjectKey): number {
    const handle = this.#others.get(key);
    if (handle === undefined) throw new UnknownHandle(`VPP has no ${key}`);
    return handle;
  }

  /** Whether VPP calls something of this kind so. */
  hasNumber(kind: ObjectKind, handle: number): boolean {
    return this.#numbers.get(kind)?.has(handle) === true;
  }

  /**
   * Who writes npol's objects begins anew, and knows none of them: what it makes is made beside what is there, whatever it calls it. What
   * was there has no name any more.
   */
  forgetNpol(): void {
    this.#numbers.clear();
    for (const key of this.#others.keys())
      if (npol_names.some((name) => key.startsWith(name))) this.#others.delete(key);
  }

  /** What an interface is to be judged by as soon as it is made. */
  readonly awaited = new Map<InterfaceTag, NpolInterfaceObject>();
  /** Whose interface each is, as far as was told in this session. */
  readonly endpoints = new Map<InterfaceTag, string>();

  readonly memif_sockets = new MemifSockets();

  readonly app_namespaces = new AppNamespaceTries();

  fibSource(source: RouteSource): number {
    const id = this.#fib_sources.get(source);
    if (id === undefined) throw new UnknownHandle(`VPP has no FIB source for routes of ${source}`);
    return id;
  }

  /** VPP's number of the arc by which what a VXLAN tunnel of this outer family brings goes on as IP. */
  vxlanDecap(family: Family): number {
    const next = this.#vxlan_decap.get(family);
    if (next === undefined) throw new UnknownHandle('VPP has no VXLAN: its plugin is not loaded');
    return next;
  }

  setVxlanDecap(family: Family, next_index: number): void {
    this.#vxlan_decap.set(family, next_index);
  }

  setFibSource(source: RouteSource, id: number): void {
    this.#fib_sources.set(source, id);
  }

  /** `object` was made and VPP calls it `handle`. */
  made(object: VppObject, handle: number): void {
    const [handles, name] = this.#place(object);
    this.#unnumber(object, handles.get(name));
    this.#put(handles, name, object, handle);
    if (isOfNpol(object)) this.#numbersOf(object.kind).add(handle);
    this.#change(name);
  }

  #numbersOf(kind: ObjectKind): Set<number> {
    let numbers = this.#numbers.get(kind);
    if (numbers === undefined) {
      numbers = new Set();
      this.#numbers.set(kind, numbers);
    }
    return numbers;
  }

  #unnumber(object: VppObject, handle: number | undefined): void {
    if (handle !== undefined && isOfNpol(object)) this.#numbersOf(object.kind).delete(handle);
  }

  /** `object` goes; answers what VPP called it. An interface that others have made stays. */
  forget(object: VppObject): number | undefined {
    if (object.kind === 'existing_interface' || this.#hasNone(object)) return undefined;
    const [handles, name] = this.#place(object);
    const handle = handles.get(name);
    if (handle === undefined) return undefined;
    this.#drop(handles, name, object, handle);
    if (handles === this.#interfaces) this.endpoints.delete(name);
    this.#unnumber(object, handle);
    this.#change(name);
    return handle;
  }

  /**
   * VPP has answered that what it called `handle` is gone. A reading that began before may still show it, and one that went by
   * another connection, and ended before this answer came, has taught it again.
   */
  gone(object: VppObject, handle: number): void {
    const [handles, name] = this.#place(object);
    if (handles.get(name) === handle) this.#drop(handles, name, object, handle);
    if (object.kind === 'memif') this.memif_sockets.gone(object.tag);
    this.#change(name);
  }

  /** A reading begins; it has to end by `learn` or `unread`. */
  reading(): Stamp {
    this.#now += 1;
    this.#readings.add(this.#now);
    return this.#now;
  }

  /** A reading under way has seen this. What was made or forgotten here since it began is newer. */
  sees(begun: Stamp, object: VppObject, handle: number): void {
    const [handles, name] = this.#place(object);
    if ((this.#changed.get(name) ?? -1) < begun) this.#put(handles, name, object, handle);
  }

  /** Takes over what a reading has seen, and ends it. */
  learn(begun: Stamp, seen: Iterable<readonly [object: VppObject, handle: number]>): void {
    for (const [object, handle] of seen) this.sees(begun, object, handle);
    this.unread(begun);
  }

  /** A reading came to nothing. */
  unread(begun: Stamp): void {
    this.#readings.delete(begun);
    if (this.#readings.size === 0) this.#changed.clear();
  }

  #change(name: string): void {
    if (this.#readings.size === 0) return;
    this.#now += 1;
    this.#changed.set(name, this.#now);
  }

  #put(handles: Map<string, number>, name: string, object: VppObject, handle: number): void {
    const before = handles.get(name);
    if (before === handle) return;
    if (before !== undefined) this.#drop(handles, name, object, before);
    handles.set(flattened(name), handle);
    if (handles === this.#others) this.#numbered.add(object.kind);
    if (object.kind === 'translation') this.translations.set(handle, vipOf(name));
  }

  #drop(handles: Map<string, number>, name: string, object: VppObject, handle: number): void {
    handles.delete(name);
    if (object.kind === 'translation') this.translations.delete(handle, vipOf(name));
  }

  /** It is no interface, and VPP has no number of any of its kind. */
  #hasNone(object: VppObject): boolean {
    return !this.#numbered.has(object.kind) && interfaceMade(object) === undefined;
  }

  /** Tags and keys do not look alike: one map of changes serves both. */
  #place(object: VppObject): readonly [handles: Map<string, number>, name: string] {
    const tag = interfaceMade(object);
    return tag === undefined ? [this.#others, keyOf(object)] : [this.#interfaces, tag];
  }
}

/** Protocol, address and port, by which a translation's key ends. */
const vipOf = (key: ObjectKey): string => key.slice('translation:'.length);

const npol_kinds: readonly ObjectKind[] = ['npol_set', 'npol_rule', 'npol_policy'];
const npol_names = npol_kinds.map((kind) => `${kind}:`);

const isOfNpol = ({ kind }: VppObject): boolean => npol_kinds.includes(kind);
