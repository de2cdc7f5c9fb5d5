/** Which pods can be on one node together, and which tables each is given. Pure. */

import type { VppObject } from '../objects/object.js';
import type { PodTables } from '../pod/record.js';
import { addressesOf, buffersNeeded, familiesOf, type PodKey, type PodSpec } from '../pod/spec.js';
import { podSlot, podTables } from './tables.js';

type Claim = Pick<PodSpec, 'key' | 'addresses' | 'network_name'>;

export interface Conflict<C> {
  readonly address: string;
  readonly holder: C;
}

/** The first address of `spec` that another pod of the same network has. */
export function conflictOf<C extends Claim>(spec: Claim, others: Iterable<C>): Conflict<C> | undefined {
  const wanted = new Set(addressesOf(spec));
  const isWanted = (held: string): boolean => wanted.has(held);
  for (const holder of others) {
    if (holder.key === spec.key || holder.network_name !== spec.network_name) continue;
    const { ip4, ip6 } = holder.addresses;
    const address = ip4.find(isWanted) ?? ip6.find(isWanted);
    if (address !== undefined) return { address, holder };
  }
  return undefined;
}

/** For packets on their way. */
const buffers_on_their_way = 2048;

/** The packet buffers of a VPP, of the pool that is to suffice for all. */
export interface BufferPool {
  readonly total: number;
  /** By the rings of uplinks and host taps. */
  readonly taken: number;
}

type Ring = Pick<PodSpec, 'key' | 'interface_spec'>;

/**
 * How many buffers are missing for one more pod; 0 when it fits. VPP makes an interface without any buffers, answers that all
 * is well, and the pod never receives a packet from its namespace.
 */
export function buffersMissing(spec: Ring, others: Iterable<Ring>, { total, taken }: BufferPool): number {
  let needed = buffers_on_their_way + taken + buffersNeeded(spec);
  for (const other of others) if (other.key !== spec.key) needed += buffersNeeded(other);
  return Math.max(0, needed - total);
}

/** Of `waiting`, those for whom nothing is left, with what is missing: `made` have theirs, then the others in their order. */
export function starved(
  made: Iterable<Ring>,
  waiting: Iterable<Ring>,
  pool: BufferPool,
): ReadonlyMap<PodKey, number> {
  const fed: Ring[] = [...made];
  const missing = new Map<PodKey, number>();
  for (const spec of waiting) {
    const lack = buffersMissing(spec, fed, pool);
    if (lack > 0) missing.set(spec.key, lack);
    else fed.push(spec);
  }
  return missing;
}

export function buffersText({ total }: BufferPool, missing: number): string {
  return `of VPP's ${total} packet buffers ${missing} are missing for one more pod: raise buffers-per-numa in the start-up template, or ask for smaller receive rings`;
}

export function lowestFreeSlot(taken: ReadonlySet<number>): number {
  let slot = 0;
  while (taken.has(slot)) slot += 1;
  return slot;
}

/** The tables of a slot as the pod's record has them. */
export function tablesOf(spec: PodSpec, slot: number): PodTables {
  const { pod, rpf } = podTables(slot);
  return Object.assign(
    {},
    ...familiesOf(spec).map((family) => ({ [`ip${family}`]: pod, [`rpf${family}`]: rpf })),
  );
}

/** The slot that a record names; undefined when its tables are not of our numbering. */
export function recordedSlot(tables: PodTables): number | undefined {
  const table_id = tables.ip4 ?? tables.ip6;
  return table_id === undefined ? undefined : podSlot(table_id);
}

export interface SlotClaim {
  readonly key: string;
  /** Of the tables that VPP holds for the pod. */
  readonly held?: number;
  readonly wished: number;
}

/**
 * A slot for each pod: that of the tables which VPP holds for it, else the one it wishes, else the lowest free one. A slot
 * that an orphan has (`taken`) is nobody's.
 */
export function assignSlots(pods: readonly SlotClaim[], taken: readonly number[]): Map<string, number> {
  const slots = new Map<string, number>();
  const used = new Set(taken);
  const give = ({ key }: SlotClaim, slot: number): void => {
    slots.set(key, slot);
    used.add(slot);
  };
  for (const pod of pods) if (pod.held !== undefined && !used.has(pod.held)) give(pod, pod.held);
  for (const pod of pods) if (!slots.has(pod.key) && !used.has(pod.wished)) give(pod, pod.wished);
  for (const pod of pods) if (!slots.has(pod.key)) give(pod, lowestFreeSlot(used));
  return slots;
}

/** The slot of the pod tables among these objects. */
export function heldSlot(objects: readonly VppObject[]): number | undefined {
  for (const object of objects) {
    const slot = object.kind === 'table' ? podSlot(object.table_id) : undefined;
    if (slot !== undefined) return slot;
  }
  return undefined;
}
