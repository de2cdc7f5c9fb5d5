/**
 * Which pod an object of the pods' is: a pod's that is known, or an orphan's, left by a pod that is gone. A fresh process
 * tells by interface tags and table names alone.
 */

import { podSlot } from '../desired/tables.js';
import { type Family, familyOf } from '../ip/text.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import { interfaceMade, interfacesUsed, isDangling, keyOf, type VppObject } from '../objects/object.js';
import { podInterfaceTag, podTableName } from '../pod/names.js';
import type { PodSpec } from '../pod/spec.js';
import { OwnerIndex } from '../reconcile/ownership.js';

/** How a pod interface that is known to be wanted is recognised. */
export interface PodIdentity {
  readonly tag: InterfaceTag;
  /** Of its tables, in both families and roles. */
  readonly table_names: readonly string[];
  /** Keys of the translations of its host ports. */
  readonly host_ports: readonly string[];
}

/** The identity of a pod, of whose objects only the host ports have to be known: `desired` as desiredPod makes them. */
export function podIdentity(spec: PodSpec, desired: readonly VppObject[]): PodIdentity {
  return {
    tag: podInterfaceTag(spec),
    table_names: ([4, 6] as const).flatMap((family) => [
      podTableName(spec, family),
      podTableName(spec, family, 'rpf'),
    ]),
    host_ports: desired.filter(({ kind }) => kind === 'translation').map(keyOf),
  };
}

export interface Holdings {
  /** By the pod's tag; a pod that owns nothing is not in it. */
  readonly pods: ReadonlyMap<InterfaceTag, readonly VppObject[]>;
  /** Of pods that nobody knows, and what has no owner at all. */
  readonly orphans: readonly VppObject[];
}

type Holder = { readonly pod: InterfaceTag } | 'orphan' | 'other';

/** Divides what a reading of the pods' scope, or a wider one, has shown. What is others' is left out. */
export function assignPods(objects: readonly VppObject[], known: readonly PodIdentity[]): Holdings {
  const owners = new OwnerIndex(objects);
  const tags = new Set(known.map(({ tag }) => tag));
  const byTable = byName(known, ({ table_names }) => table_names);
  const byTranslation = byName(known, ({ host_ports }) => host_ports);
  const tables = new Map<string, Holder>();
  for (const object of objects) {
    if (object.kind !== 'table' || owners.of(object) !== 'pods') continue;
    // VPP's dump may show one byte of garbage behind a name.
    const pod = byTable.get(object.name) ?? byTable.get(object.name.slice(0, -1));
    tables.set(tableKey(object.family, object.table_id), pod === undefined ? 'orphan' : { pod });
  }

  const pods = new Map<InterfaceTag, VppObject[]>();
  const orphans: VppObject[] = [];
  for (const object of objects) {
    const holder = holderOf(object);
    if (holder === 'orphan') orphans.push(object);
    else if (holder !== 'other') {
      const part = pods.get(holder.pod);
      if (part === undefined) pods.set(holder.pod, [object]);
      else part.push(object);
    }
  }
  return { pods, orphans };

  function holderOf(object: VppObject): Holder {
    if (object.kind === 'translation') {
      const pod = byTranslation.get(keyOf(object));
      return pod === undefined ? 'other' : { pod };
    }
    // First of all, whatever table it is in: it has to go before another interface gets that index.
    if (isDangling(object)) return 'orphan';
    const owner = owners.of(object);
    if (owner === 'nobody') return 'orphan';
    if (owner !== 'pods') return 'other';
    const made = interfaceMade(object);
    if (made !== undefined) return ofTag(made);
    if (object.kind === 'table') return tables.get(tableKey(object.family, object.table_id)) ?? 'orphan';
    if (object.kind === 'route' || object.kind === 'mroute') {
      const family = familyOf(object.kind === 'route' ? object.prefix : object.group);
      const holder = tables.get(tableKey(family, object.table_id));
      if (holder !== undefined) return holder;
    }
    const used = interfacesUsed(object).find((tag) => tags.has(tag));
    return used === undefined ? 'orphan' : { pod: used };
  }

  function ofTag(tag: InterfaceTag): Holder {
    return tags.has(tag) ? { pod: tag } : 'orphan';
  }
}

/** What is left of one pod that nobody knows. */
export interface OrphanGroup {
  /** Of its interface, if that is there. */
  readonly tag?: InterfaceTag;
  /** The namespace of its interface. */
  readonly netns?: string;
  /** The slot of its tables, if they have one (see podTables). */
  readonly slot?: number;
  readonly objects: readonly VppObject[];
}

/** Orphans by the pod that they were of, as far as bindings and table ids tell; without the dangling ones. */
export function groupOrphans(orphans: readonly VppObject[]): OrphanGroup[] {
  const slotOfTag = new Map<InterfaceTag, number>();
  for (const object of orphans) {
    if (object.kind !== 'interface_table') continue;
    const slot = podSlot(object.table_id);
    if (slot !== undefined) slotOfTag.set(object.interface, slot);
  }
  const groups = new Map<
    string,
    { tag?: InterfaceTag; netns?: string; slot?: number; objects: VppObject[] }
  >();
  for (const object of orphans) {
    if (isDangling(object)) continue;
    const tag = interfaceMade(object) ?? interfacesUsed(object)[0];
    const table_id = 'table_id' in object ? object.table_id : undefined;
    const slot = slotOfTag.get(tag ?? '') ?? (table_id === undefined ? undefined : podSlot(table_id));
    const key = slot === undefined ? (tag ?? `${table_id}`) : `${slot}`;
    let group = groups.get(key);
    if (group === undefined) {
      group = { objects: [], ...(slot !== undefined && { slot }) };
      groups.set(key, group);
    }
    group.objects.push(object);
    if (object.kind === 'tap') {
      group.tag = object.tag;
      group.netns = object.host_namespace;
    }
  }
  return [...groups.values()];
}

function byName(
  known: readonly PodIdentity[],
  names: (pod: PodIdentity) => readonly string[],
): Map<string, InterfaceTag> {
  return new Map(known.flatMap((pod) => names(pod).map((name) => [name, pod.tag] as const)));
}

function tableKey(family: Family, table_id: number): string {
  return `${family}/${table_id}`;
}
