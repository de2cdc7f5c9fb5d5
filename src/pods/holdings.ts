/**
 * Which pod an object of the pods' is: a pod's that is known, or an orphan's, left by a pod that is gone. A fresh process
 * tells by interface tags and table names alone.
 */

import { default_table, podSlot, podTableRole, podTables, punt_table } from '../desired/tables.js';
import { type Family, familyOf } from '../ip/text.js';
import type { Translation } from '../objects/cnat.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import { interfaceMade, interfacesUsed, isDangling, keyOf, type VppObject } from '../objects/object.js';
import type { Table } from '../objects/routing.js';
import { type PodTableRole, podInterfaceTag, podLoopbackTags, podTableName } from '../pod/names.js';
import { addressesOf, type PodKey, type PodSpec } from '../pod/spec.js';
import { OwnerIndex } from '../reconcile/ownership.js';
import type { TranslationOwners } from '../reconcile/translation-owners.js';

/** How a pod interface that is known to be wanted is recognised. */
export interface PodIdentity {
  readonly tag: InterfaceTag;
  /** Of its memif, whether it has one by now or not. */
  readonly memif_tag: InterfaceTag;
  /** Of its loopbacks for VPP's host stack, likewise. */
  readonly loopback_tags: readonly InterfaceTag[];
  readonly key: PodKey;
  /**
   * Of its tables, in both families, by their role: the name of an interface may end as a role does, so that the tables of two interfaces of a pod
   * have one name.
   */
  readonly table_names: Readonly<Record<PodTableRole, readonly string[]>>;
  /** In the default table: a translation to one of them is the pod's, unless somebody else has claimed it. */
  readonly addresses: readonly string[];
}

export function podIdentity(spec: PodSpec): PodIdentity {
  const tableNames = (role: PodTableRole) =>
    ([4, 6] as const).map((family) => podTableName(spec, family, role));
  return {
    tag: podInterfaceTag(spec),
    memif_tag: podInterfaceTag(spec, 'memif'),
    loopback_tags: podLoopbackTags(spec),
    key: spec.key,
    table_names: { pod: tableNames('pod'), rpf: tableNames('rpf'), stack: tableNames('stack') },
    addresses: spec.network_name === '' ? addressesOf(spec) : [],
  };
}

export interface Holdings {
  /** By the pod's tag; a pod that owns nothing is not in it. */
  readonly pods: ReadonlyMap<InterfaceTag, readonly VppObject[]>;
  /** Of pods that nobody knows, and what has no owner at all. */
  readonly orphans: readonly VppObject[];
  /** Translations that nobody has claimed, to addresses that no pod has: they would lead to the next pod with such an address. */
  readonly strays: readonly Translation[];
}

type Holder = { readonly pod: InterfaceTag } | 'orphan' | 'other';

/** Divides what a reading of the pods' scope, or a wider one, has shown. What is others' is left out. */
export function assignPods(
  objects: readonly VppObject[],
  known: readonly PodIdentity[],
  translations: TranslationOwners,
): Holdings {
  const owners = new OwnerIndex(objects);
  const tags = new Map(
    known.flatMap(({ tag, memif_tag, loopback_tags }) =>
      [tag, memif_tag, ...loopback_tags].map((each) => [each, tag] as const),
    ),
  );
  const byTable = {
    pod: byName(known, ({ table_names }) => table_names.pod),
    rpf: byName(known, ({ table_names }) => table_names.rpf),
    stack: byName(known, ({ table_names }) => table_names.stack),
  };
  const byAddress = byName(known, ({ addresses }) => addresses);
  const byKey = byName(known, ({ key }) => [key]);
  const tables = new Map<string, Holder>();
  for (const object of objects) {
    if (object.kind !== 'table' || owners.of(object) !== 'pods') continue;
    // VPP's dump may show one byte of garbage behind a name.
    const pod = podOfTable(object, object.name) ?? podOfTable(object, object.name.slice(0, -1));
    tables.set(tableKey(object.family, object.table_id), pod === undefined ? 'orphan' : { pod });
  }

  const pods = new Map<InterfaceTag, VppObject[]>();
  const orphans: VppObject[] = [];
  const strays: Translation[] = [];
  const abandoned = new Set(objects.flatMap((object) => addressesLedTo(object, (tag) => !tags.has(tag))));
  for (const object of objects) {
    const holder = holderOf(object);
    if (holder === 'orphan') orphans.push(object);
    else if (holder !== 'other') {
      const part = pods.get(holder.pod);
      if (part === undefined) pods.set(holder.pod, [object]);
      else part.push(object);
    }
  }
  return { pods, orphans, strays };

  function holderOf(object: VppObject): Holder {
    if (object.kind === 'translation') return holderOfTranslation(object);
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
      const holder = tables.get(tableKey(family, tableOf(object) ?? object.table_id));
      if (holder !== undefined) return holder;
    }
    const used = interfacesUsed(object).find((tag) => tags.has(tag));
    return used === undefined ? 'orphan' : { pod: tags.get(used)! };
  }

  function holderOfTranslation(object: Translation): Holder {
    const owner = translations.of(keyOf(object));
    if (owner !== undefined) {
      const pod = owner.by === 'pods' ? byKey.get(owner.id) : undefined;
      return pod === undefined ? 'other' : { pod };
    }
    if (!translations.isComplete) return 'other';
    const backends = object.backends.map(({ address }) => address);
    const pods = new Set(backends.map((address) => byAddress.get(address)));
    const [pod] = pods;
    if (pod !== undefined && pods.size === 1) return { pod };
    if (pods.size > 1) return 'other';
    if (backends.length > 0 && backends.every((address) => abandoned.has(address))) return 'orphan';
    strays.push(object);
    return 'other';
  }

  /** One of another numbering is told by its name alone. */
  function podOfTable({ table_id }: Table, name: string): InterfaceTag | undefined {
    const role = podTableRole(table_id);
    if (role !== undefined) return byTable[role].get(name);
    return byTable.pod.get(name) ?? byTable.rpf.get(name) ?? byTable.stack.get(name);
  }

  function ofTag(tag: InterfaceTag): Holder {
    const pod = tags.get(tag);
    return pod === undefined ? 'orphan' : { pod };
  }
}

/** The pod's table that it is in, or that others are led to by it. */
function tableOf(object: VppObject): number | undefined {
  if (object.kind === 'route') {
    const [path] = object.paths;
    if (path?.via === 'lookup' && podSlot(path.table_id) !== undefined) return path.table_id;
  }
  return 'table_id' in object ? object.table_id : undefined;
}

/** Addresses of pods whose packets this object leads to an interface of such a tag. */
function addressesLedTo(object: VppObject, is: (tag: InterfaceTag) => boolean): string[] {
  if (object.kind !== 'route' || object.source !== 'pods' || !leadsToPods(object.table_id)) return [];
  const [path] = object.paths;
  return path?.via === 'interface' && is(path.interface) ? [object.prefix.replace(/\/.*/, '')] : [];
}

/** That of a pod that has a memif, too, and that of what the host stack does not take; not one of sources. */
function leadsToPods(table_id: number): boolean {
  const slot = podSlot(table_id);
  return (
    table_id === default_table ||
    table_id === punt_table ||
    (slot !== undefined && podTables(slot).pod === table_id)
  );
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
  const tagOfAddress = new Map<string, InterfaceTag>();
  for (const object of orphans) {
    const [tag] = interfacesUsed(object);
    if (tag !== undefined)
      for (const address of addressesLedTo(object, () => true)) tagOfAddress.set(address, tag);
  }
  const groups = new Map<
    string,
    { tag?: InterfaceTag; netns?: string; slot?: number; objects: VppObject[] }
  >();
  for (const object of orphans) {
    if (isDangling(object)) continue;
    const tag =
      object.kind === 'translation'
        ? tagOfAddress.get(object.backends[0]?.address ?? '')
        : (interfaceMade(object) ?? interfacesUsed(object)[0]);
    const table_id = tableOf(object);
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
