/** What a model knows of one key, and of an operation that was taken from it. */
import type { InterfaceTag } from '../objects/interfaces.js';
import {
  changeOf,
  isDangling,
  isMadeAnew,
  isSetting,
  type ObjectKey,
  ownerRule,
  same,
  type VppObject,
} from '../objects/object.js';
import type { Operation } from './operation.js';

/** What is known of one key. */
export class Entry {
  wanted: VppObject | undefined;
  there: VppObject | undefined;
  /** May or may not be there: added again. */
  unsure = false;
  /** Operations taken and not settled. */
  in_flight = 0;
  /** Something has become of it since one was taken: what is to be done about that is not known before they are settled. */
  is_late = false;
  /** The last of them. */
  given: 'add' | 'remove' | undefined;
  /** The last reading that has shown it. */
  seen = 0;
  /** The reading that had begun last when it changed: what that one shows of it is of no use. */
  changed = 0;
  /** The places in which its removal and its addition wait for their turns. */
  going: number | undefined;
  coming: number | undefined;

  constructor(readonly key: ObjectKey) {}
}

export type Places = Pick<Entry, 'going' | 'coming'>;

export const nowhere: Places = { going: undefined, coming: undefined };

/** Of one VPP, as one model sees it: `of` stands for that model, which nobody has to keep who keeps an operation. */
export interface Life {
  readonly of: object;
}

/** An operation that was taken, and of which it is not known what came. */
export class Taken implements Operation {
  settled = false;
  declare readonly anew?: true;

  constructor(
    readonly action: 'add' | 'remove',
    readonly object: VppObject,
    readonly entry: Entry,
    readonly life: Life,
  ) {
    if (action === 'add' && entry.there !== undefined && isMadeAnew(object, entry.there)) this.anew = true;
  }
}

/** An equal object that is kept already: the one that has been read is then nobody's. */
export function known({ wanted, there }: Entry, seen: VppObject): VppObject {
  if (wanted !== undefined && !isDangling(seen) && same(wanted, seen)) return wanted;
  return there !== undefined && same(there, seen) && same(seen, there) ? there : seen;
}

/** Belongs to its interface, and does not just lead by it. */
export function isOfInterface(object: VppObject): boolean {
  return ownerRule(object).by === 'interface';
}

export function isReplaced({ there, wanted }: Entry): boolean {
  if (there === undefined) return false;
  if (wanted === undefined) return !isSetting(there);
  return !same(wanted, there) && changeOf(there) === 'remove_first';
}

/** It is wanted, and neither there nor on its way there: it goes away, or VPP refuses it. */
export function isMissing({ wanted, there, in_flight, given }: Entry): boolean {
  if (wanted === undefined) return false;
  const is_there = there !== undefined && same(wanted, there);
  return in_flight === 0 ? !is_there : given === 'remove' || (there !== undefined && !is_there);
}

export function bindingOf(binding: { readonly interface: InterfaceTag; readonly family: 4 | 6 }): string {
  return `${binding.interface}/${binding.family}`;
}

export function split(key: ObjectKey): readonly [kind: string, name: string] {
  const at = key.indexOf(':');
  return [key.slice(0, at), key.slice(at + 1)];
}
