/**
 * Whose an object of a snapshot is: a pod's, nobody's (left by a pod that is gone), or the node's. A fresh process tells by
 * interface tags and table names alone.
 */
import { isPodInterfaceTag, isPodTableName } from '../cni/names.js';
import { dangling_prefix, type Family, type InterfaceTag, type VppObject } from '../desired/objects.js';
import { interfaceMade, interfacesUsed } from './order.js';
import type { Snapshot } from './snapshot.js';

/** How a pod interface that is known to be wanted is recognised. */
export interface PodIdentity {
  readonly tag: InterfaceTag;
  /** Of its tables, in both families and roles. */
  readonly table_names: readonly string[];
  /** Backends of its host ports. */
  readonly addresses: readonly string[];
}

export interface Ownership {
  /** By the pod's tag; a pod that owns nothing is not in it. */
  readonly pods: ReadonlyMap<InterfaceTag, readonly VppObject[]>;
  /** Of pods that nobody knows, and routes through interfaces that VPP no longer has. */
  readonly orphans: readonly VppObject[];
  readonly node: readonly VppObject[];
}

type Owner = { readonly pod: InterfaceTag } | 'orphan' | 'node';

export function assignOwners(snapshot: Snapshot, known: readonly PodIdentity[]): Ownership {
  const tags = new Set(known.map(({ tag }) => tag));
  const byTable = new Map(
    known.flatMap(({ tag, table_names }) => table_names.map((name) => [name, tag] as const)),
  );
  const byAddress = new Map(
    known.flatMap(({ tag, addresses }) => addresses.map((address) => [address, tag] as const)),
  );

  const interfaces = new Map<InterfaceTag, Owner>();
  const tables = new Map<string, Owner>();
  for (const object of snapshot.objects) {
    if (object.kind === 'tap')
      interfaces.set(object.tag, ownerOfTap(object.tag, object.host_namespace, object.host_if_name));
    if (object.kind === 'table')
      tables.set(tableKey(object.family, object.table_id), ownerOfTable(object.name, object.family));
  }

  const pods = new Map<InterfaceTag, VppObject[]>();
  const orphans: VppObject[] = [];
  const node: VppObject[] = [];
  for (const object of snapshot.objects) {
    const owner = ownerOf(object);
    if (owner === 'orphan') orphans.push(object);
    else if (owner === 'node') node.push(object);
    else pods.set(owner.pod, [...(pods.get(owner.pod) ?? []), object]);
  }
  return { pods, orphans, node };

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
    const made = interfaceMade(object);
    if (made !== undefined) return interfaces.get(made) ?? 'node';
    if (object.kind === 'table') return tables.get(tableKey(object.family, object.table_id)) ?? 'node';
    if (object.kind === 'route' || object.kind === 'mroute') {
      const family = (object.kind === 'route' ? object.prefix : object.group).includes(':') ? 6 : 4;
      const owner = tables.get(tableKey(family, object.table_id));
      if (owner !== undefined && owner !== 'node') return owner;
    }
    if (object.kind === 'translation') {
      const pod = object.backends
        .map(({ address }) => byAddress.get(address))
        .find((tag) => tag !== undefined);
      return pod === undefined ? 'orphan' : { pod };
    }
    for (const tag of interfacesUsed(object)) {
      if (tag.startsWith(dangling_prefix)) return 'orphan';
      const owner = interfaces.get(tag);
      if (owner !== undefined && owner !== 'node') return owner;
    }
    return 'node';
  }
}

function tableKey(family: Family, table_id: number): string {
  return `${family}/${table_id}`;
}
