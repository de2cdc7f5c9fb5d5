/**
 * The VPP objects that this product programs, as data: what `desired` functions return, what is read from VPP is turned into, and
 * what is compared. An interface is named by its tag, never by its sw_if_index: tags survive a restart of VPP and of this
 * process, indexes do not. Tables are named by their id. Each area describes its kinds in a file of its own.
 */
import { isPodLoopbackTag } from '../pod/names.js';
import { type AdvertisementObject, advertisement_kinds } from './advertisement.js';
import { type CnatObject, cnat_kinds } from './cnat.js';
import {
  dangling_prefix,
  type InterfaceObject,
  type InterfaceTag,
  interface_kinds,
  snat_flags,
} from './interfaces.js';
import { type IpsecObject, ipsec_kinds } from './ipsec.js';
import type { Kind } from './kind.js';
import { type MemifObject, memif_kinds } from './memif.js';
import type { OwnerName, OwnerRule } from './owner.js';
import { type PolicyObject, policy_kinds } from './policy.js';
import { type RedirectObject, redirect_kinds } from './redirect.js';
import { type RoutingObject, routing_kinds } from './routing.js';
import { type Srv6Object, srv6_kinds } from './srv6.js';
import { type TunnelObject, tunnel_kinds } from './tunnels.js';
import { type VclObject, vcl_kinds } from './vcl.js';
import { type WireguardObject, wireguard_kinds } from './wireguard.js';

export type VppObject =
  | InterfaceObject
  | TunnelObject
  | WireguardObject
  | IpsecObject
  | Srv6Object
  | MemifObject
  | VclObject
  | RoutingObject
  | CnatObject
  | PolicyObject
  | RedirectObject
  | AdvertisementObject;
export type ObjectKind = VppObject['kind'];
export type ObjectOf<K extends ObjectKind> = Extract<VppObject, { kind: K }>;

/** `keyOf` of an object. */
export type ObjectKey = string;

const kinds: { readonly [K in ObjectKind]: Kind<ObjectOf<K>> } = {
  ...interface_kinds,
  ...tunnel_kinds,
  ...wireguard_kinds,
  ...ipsec_kinds,
  ...srv6_kinds,
  ...memif_kinds,
  ...vcl_kinds,
  ...routing_kinds,
  ...cnat_kinds,
  ...policy_kinds,
  ...redirect_kinds,
  ...advertisement_kinds,
};

/** What was asked for last: of a hundred thousand objects of one kind each is asked for twenty times. */
let last_name: ObjectKind | undefined;
let last_kind: Kind<VppObject>;

function kindOf({ kind: name }: VppObject): Kind<VppObject> {
  if (name !== last_name) {
    last_kind = kinds[name] as Kind<VppObject>;
    last_name = name;
  }
  return last_kind;
}

/** How the owner of each kind is told: the table of ARCHITECTURE.md as data. */
export const ownership: readonly {
  readonly kind: ObjectKind;
  readonly by: OwnerRule<never>['by'];
  readonly owner?: OwnerName;
}[] = (Object.keys(kinds) as ObjectKind[]).map((kind) => {
  const { owner } = kinds[kind];
  return { kind, by: owner.by, ...(owner.by === 'kind' && { owner: owner.owner }) };
});

export function ownerRule(object: VppObject): OwnerRule<VppObject> {
  return kindOf(object).owner;
}

export function keyOf(object: VppObject): ObjectKey {
  return `${object.kind}:${kindOf(object).key(object)}`;
}

/** The same text, for who keeps it: one that was put together is a tree of its parts, three times as large, until a character of it is asked for. */
export function flattened(text: string): string {
  text.charCodeAt(0);
  return text;
}

/** The object in its one form; `object` itself when it has that. */
export function canonical<O extends VppObject>(object: O): O {
  return (kindOf(object).canonical?.(object) ?? object) as O;
}

/** Whether VPP, which shows `there`, need not be told of `wanted`: two canonical objects with one key. */
export function same(wanted: VppObject, there: VppObject): boolean {
  return wanted === there || kindOf(wanted).same(wanted, there);
}

export function addPlace(object: VppObject): number {
  const { add } = kindOf(object);
  return typeof add === 'number' ? add : add(object);
}

export function removePlace(object: VppObject): number {
  const { remove } = kindOf(object);
  return typeof remove === 'number' ? remove : remove(object);
}

/** What has to be there before it is added, if that is wanted. */
export function leadsTo(object: VppObject): ObjectKey | undefined {
  return kindOf(object).leads_to?.(object);
}

const no_interfaces: readonly InterfaceTag[] = [];

/** The interfaces that this object refers to. */
export function interfacesUsed(object: VppObject): readonly InterfaceTag[] {
  return kindOf(object).on?.(object) ?? no_interfaces;
}

/** The tag of the interface that this object is, if it is one. */
export function interfaceMade(object: VppObject): InterfaceTag | undefined {
  return kindOf(object).is?.(object);
}

/** A setting of an interface goes with it, as what its kind says so of. */
export function diesWithInterface(object: VppObject): boolean {
  return (
    kindOf(object).dies_with_interface === true || (isSetting(object) && interfacesUsed(object).length > 0)
  );
}

/** How what VPP has becomes another version of itself. */
export function changeOf(there: VppObject): 'overwrite' | 'remove_first' {
  const { change } = kindOf(there);
  return typeof change === 'function' ? change(there) : change;
}

/** Whether VPP, which shows `there`, would answer an update to `wanted` and not do it. */
export function isMadeAnew(wanted: VppObject, there: VppObject): boolean {
  return kindOf(wanted).anew?.(wanted, there) === true;
}

/** True for an interface that goes when what leads by it leads elsewhere. */
export function goesLast(object: VppObject): boolean {
  return kindOf(object).goes_last === true;
}

/** True for what is removed when all that is to be added has been. */
export function goesBehind(object: VppObject): boolean {
  return kindOf(object).goes_behind === true;
}

/** True for what has a value in VPP whether anybody asked for one or not. */
export function isSetting(object: VppObject): boolean {
  return kindOf(object).setting?.(object) === true;
}

/** True for what no dump shows: the registry of the VPP says whether it is there. */
export function isRecorded(object: VppObject): boolean {
  return kindOf(object).recorded?.(object) === true;
}

/** True for what dumps show, but not all of it. */
export function hidesPart(object: VppObject): boolean {
  return kindOf(object).in_part?.hides(object) === true;
}

/** What the registry says of an object that hides a part; undefined: none of this kind does. */
export function partRecorded(object: VppObject): VppObject | undefined {
  return kindOf(object).in_part?.part(object);
}

/** True for what VPP shows to be ours only a moment after it was made. */
export function isAnnounced(object: VppObject): boolean {
  return kindOf(object).announced === true;
}

/** What has to be taken off an interface before it goes, whether it was seen there or not. */
export function outlives(object: VppObject): readonly VppObject[] {
  const has_some =
    object.kind === 'tap' ||
    object.kind === 'memif' ||
    (object.kind === 'loopback' && isPodLoopbackTag(object.tag));
  if (!has_some) return [];
  return snat_flags.map((flag) => ({ kind: 'interface_flag', interface: object.tag, flag }));
}

/** An interface, a table, or a policy of SRv6: it goes after all that hangs on it. */
export function carries(object: VppObject): boolean {
  return object.kind === 'table' || object.kind === 'srv6_policy' || interfaceMade(object) !== undefined;
}

/** As long as VPP has `other`, this carrier has to stay. Which table an interface is bound to an object alone does not say. */
export function hangsOn(other: VppObject, carrier: VppObject): boolean {
  if (carrier.kind === 'srv6_policy') return other.kind === 'srv6_steering' && other.bsid === carrier.bsid;
  const tag = interfaceMade(carrier);
  if (tag !== undefined) return interfacesUsed(other).includes(tag) && !diesWithInterface(other);
  if (interfaceMade(other) !== undefined) return true;
  return 'table_id' in other && 'table_id' in carrier && other.table_id === carrier.table_id;
}

/**
 * Refers to an interface that VPP no longer has. VPP shares the path list of such a route with the next one that looks
 * alike and drops its packets for ever, so it has to be removed before anything like it is added.
 */
export function isDangling(object: VppObject): boolean {
  return interfacesUsed(object).some((tag) => tag.startsWith(dangling_prefix));
}

/** An interface that VPP has and that nobody has completed: without a tag, so that it is shown by its index (`vpp-conn/observe`). */
export function isHalfMade(object: VppObject): boolean {
  return interfaceMade(object)?.startsWith(dangling_prefix) === true;
}
