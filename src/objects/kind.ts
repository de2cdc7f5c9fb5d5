/**
 * What is said of each kind of object, once: its identity, its one form, when two versions are the same, whose it is, what it
 * needs, and its place in the order of adding and of removing. The orders are those that VPP survives; each one that is not
 * obvious says why, where the kind is described.
 */
import type { InterfaceTag } from './interfaces.js';
import type { OwnerRule } from './owner.js';

export interface Kind<O> {
  /** Identity within its kind: two objects with one key are the same object in two versions. */
  readonly key: (o: O) => string;
  /** The object in the one form in which it is compared, kept and sent; absent: it has no other. Answers `o` itself when it has that form. */
  readonly canonical?: (o: O) => O;
  /** True when VPP, which shows `there`, need not be told of `wanted`. Both are canonical and have one key. Only what a dump shows counts. */
  readonly same: (wanted: O, there: O) => boolean;
  /** How a fresh process knows whose it is. */
  readonly owner: OwnerRule<O>;
  /** Lower is added first. */
  readonly add: number | ((o: O) => number);
  /** Lower is removed first. */
  readonly remove: number | ((o: O) => number);
  /** Interfaces that must be there. */
  readonly on?: (o: O) => readonly InterfaceTag[];
  /** The object, by its whole key, without which it would lead to nothing: where that is wanted, it is there first. */
  readonly leads_to?: (o: O) => string | undefined;
  /** The interface that this object is. */
  readonly is?: (o: O) => InterfaceTag;
  /** A changed object: `overwrite` adds the new version over the old, `remove_first` removes the old one before. It may be for the old one to say. */
  readonly change: 'overwrite' | 'remove_first' | ((there: O) => 'overwrite' | 'remove_first');
  /** A change that VPP takes no notice of when it is told over the old version: one operation then removes that and adds the new one. */
  readonly anew?: (wanted: O, there: O) => boolean;
  /** Goes with its interface, so that it need not be removed before it. */
  readonly dies_with_interface?: true;
  /** An interface that goes when what leads by it leads elsewhere: make before break. */
  readonly goes_last?: true;
  /** Removed behind all additions: what takes its place is there before it goes. */
  readonly goes_behind?: true;
  /** Always has some value: one that nobody asked for is left as it is. */
  readonly setting?: (o: O) => boolean;
  /** VPP shows whose it is only once it is tagged, a moment after it was made: until then the registry has it. */
  readonly announced?: true;
  /** No dump shows it: the registry of the VPP says what is there, and adding it again is harmless. */
  readonly recorded?: (o: O) => boolean;
  /** A dump shows it, but not all of it. The registry has `part`, as long as it `hides` something. */
  readonly in_part?: { readonly hides: (o: O) => boolean; readonly part: (o: O) => O };
}

export type Kinds<Objects extends { readonly kind: string }> = {
  readonly [K in Objects['kind']]: Kind<Extract<Objects, { kind: K }>>;
};

/** Removal, in this order: routes through interfaces, interface down, features off, addresses, bindings, interface gone, tables emptied, tables gone. */
export const remove = {
  through: 10,
  down: 20,
  feature: 30,
  address: 39,
  bound: 40,
  interface: 50,
  in_table: 60,
  table: 70,
  global: 80,
} as const;

export const always = (): true => true;
