/** What each owner of objects is to have in VPP, and has: from the tree and from what the owners report. Pure. */
import type { ShownNode } from './tree-filter.js';

export interface Owner {
  /** Objects that follow from what is known by now; absent where the owner does not count them. */
  readonly desired?: number;
  /** Of which VPP has said yes, or which it has shown. */
  readonly programmed: number;
  /** As VPP showed at the last reading: `programmed`, less what differed. Absent: nobody reads them again. */
  readonly dumped?: number;
  readonly waiting: number;
  readonly refused: number;
  /** By object, why VPP has refused it. A hundred at most: `refused` counts all. */
  readonly objects: Readonly<Record<string, string>>;
}

const objects_max = 100;

const numberOf = (node: ShownNode, gauge: string): number | undefined => {
  const value = node.gauges[gauge];
  return typeof value === 'number' ? value : undefined;
};

/** Among the reports at /debug/sync: those that name what was refused. */
function refusedOf(sync: unknown, name: string): Readonly<Record<string, string>> {
  const report = (sync as Readonly<Record<string, { readonly refused?: unknown } | undefined>> | null)?.[
    name
  ];
  const refused = report?.refused;
  if (typeof refused !== 'object' || refused === null) return {};
  const texts = Object.entries(refused).filter(
    (each): each is [string, string] => typeof each[1] === 'string',
  );
  return Object.fromEntries(texts.slice(0, objects_max));
}

/** All pods of the node are one owner: what each of them says, together. */
function podsOf(cni: ShownNode): Owner {
  const pods = cni.children;
  const sum = (gauge: string): number => pods.reduce((all, pod) => all + (numberOf(pod, gauge) ?? 0), 0);
  const faulty = pods.filter(({ gauges }) => typeof gauges.fault === 'string' && gauges.fault !== '');
  const desired = sum('desired');
  const programmed = sum('in_vpp');
  return {
    desired,
    programmed,
    waiting: Math.max(0, desired - programmed),
    refused: faulty.length,
    objects: Object.fromEntries(
      faulty
        .slice(0, objects_max)
        .map(({ name, gauges }) => [String(gauges.pod ?? name), String(gauges.fault)]),
    ),
  };
}

function ownerOf(node: ShownNode, sync: unknown): Owner | undefined {
  const programmed = numberOf(node, 'in_vpp');
  if (programmed === undefined) return undefined;
  const desired = numberOf(node, 'desired');
  const drift = numberOf(node, 'drift');
  return {
    ...(desired !== undefined && { desired }),
    programmed,
    ...(drift !== undefined && { dumped: Math.max(0, programmed - drift) }),
    waiting: numberOf(node, 'waiting') ?? 0,
    refused: numberOf(node, 'refused') ?? 0,
    objects: refusedOf(sync, node.name),
  };
}

/** By the name of the actor that owns them; the pods' as `pods`. */
export function ownersOf(root: ShownNode, sync: unknown): Readonly<Record<string, Owner>> {
  const owners: Record<string, Owner> = {};
  for (const node of root.children) {
    const owner = node.name === 'cni' ? podsOf(node) : ownerOf(node, sync);
    if (owner !== undefined) owners[node.name === 'cni' ? 'pods' : node.name] = owner;
  }
  return owners;
}
