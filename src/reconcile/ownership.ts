/**
 * Whose an object of a snapshot is: a pod's, nobody's (left by a pod that is gone), the services', or the node's. A fresh
 * process tells by interface tags and table names alone.
 */

import type { InterfaceTag, VppObject } from '../desired/objects.js';
import { podSlot } from '../desired/tables.js';
import { type Family, familyOf } from '../ip/text.js';
import { isPodInterfaceTag, isPodTableName, podInterfaceTag, podTableName } from '../pod/names.js';
import type { PodSpec } from '../pod/spec.js';
import { interfaceMade, interfacesUsed, isDangling, keyOf } from './order.js';
import type { Snapshot } from './snapshot.js';

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

export interface Ownership {
  /** By the pod's tag; a pod that owns nothing is not in it. */
  readonly pods: ReadonlyMap<InterfaceTag, readonly VppObject[]>;
  /** Of pods that nobody knows, and everything on interfaces that VPP no longer has. */
  readonly orphans: readonly VppObject[];
  /** Translations that are no host port of a known pod. */
  readonly services: readonly VppObject[];
  readonly node: readonly VppObject[];
}

type Owner = { readonly pod: InterfaceTag } | 'orphan' | 'services' | 'node';

export function assignOwners(snapshot: Snapshot, known: readonly PodIdentity[]): Ownership {
  const tags = new Set(known.map(({ tag }) => tag));
  const byTable = byName(known, ({ table_names }) => table_names);
  const byTranslation = byName(known, ({ host_ports }) => host_ports);

  const interfaces = new Map<InterfaceTag, Owner>();
  const tables = new Map<string, Owner>();
  for (const object of snapshot.objects) {
    if (object.kind === 'tap')
      interfaces.set(object.tag, ownerOfTap(object.tag, object.host_namespace, object.host_if_name));
    if (object.kind === 'table')
      tables.set(tableKey(object.family, object.table_id), ownerOfTable(object.name, object.family));
  }

  const pods = new Map<InterfaceTag, VppObject[]>();
  const rest = { orphan: [] as VppObject[], services: [] as VppObject[], node: [] as VppObject[] };
  for (const object of snapshot.objects) {
    const owner = ownerOf(object);
    if (typeof owner === 'string') rest[owner].push(object);
    else {
      const part = pods.get(owner.pod);
      if (part === undefined) pods.set(owner.pod, [object]);
      else part.push(object);
    }
  }
  return { pods, orphans: rest.orphan, services: rest.services, node: rest.node };

  function ownerOfTap(tag: InterfaceTag, netns: string, name: string): Owner {
    if (tags.has(tag)) return { pod: tag };
    return isPodInterfaceTag(tag, netns, name) ? 'orphan' : 'node';
  }

  function ownerOfTable(name: string, family: Family): Owner {
    // VPP's dump may show one byte of garbage behind a name.
    const pod = byTable.get(name) ?? byTable.get(name.slice(0, -1));
    if (pod !== undefined) return { pod };
    return isPodTableName(name, family) ? 'orphan' : 'node';
  }

  function ownerOf(object: VppObject): Owner {
    // First of all, whatever table it is in: it has to go before another interface gets that index.
    if (isDangling(object)) return 'orphan';
    const made = interfaceMade(object);
    if (made !== undefined) return interfaces.get(made) ?? 'node';
    if (object.kind === 'table') return tables.get(tableKey(object.family, object.table_id)) ?? 'node';
    if (object.kind === 'route' || object.kind === 'mroute') {
      const family = familyOf(object.kind === 'route' ? object.prefix : object.group);
      const owner = tables.get(tableKey(family, object.table_id));
      if (owner !== undefined && owner !== 'node') return owner;
    }
    if (object.kind === 'translation') {
      const pod = byTranslation.get(keyOf(object));
      return pod === undefined ? 'services' : { pod };
    }
    for (const tag of interfacesUsed(object)) {
      const owner = interfaces.get(tag);
      if (owner !== undefined && owner !== 'node') return owner;
    }
    return 'node';
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
