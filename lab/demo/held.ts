/** What VPP holds, in few lines for a reader. */
import type { ObjectKind, ObjectOf } from '../../src/objects/object.js';
import type { Path } from '../../src/objects/routing.js';
import type { Snapshot } from '../../src/reconcile/snapshot.js';
import type { Pod } from '../topology.js';

/**
 * What the node has programmed, as text, in any order. Not so the link-local addresses of tuns: VPP draws them by lot.
 */
function programmed(snapshot: Snapshot): readonly string[] {
  const tuns = of(snapshot, 'tap').flatMap(({ type, tag }) => (type === 'tun' ? [tag] : []));
  return snapshot.objects
    .filter((object) => object.kind !== 'link_local' || !tuns.includes(object.interface))
    .map((object) => JSON.stringify(object));
}

export interface Comparison {
  readonly objects: number;
  /** One line for each object that only one of them holds. */
  readonly differences: readonly string[];
}

export function compare(old: Snapshot, now: Snapshot): Comparison {
  const [before, after] = [programmed(old), programmed(now)];
  return {
    objects: before.length,
    differences: [
      ...before.filter((text) => !after.includes(text)).map((text) => `gone: ${text}`),
      ...after.filter((text) => !before.includes(text)).map((text) => `new:  ${text}`),
    ],
  };
}

function of<K extends ObjectKind>({ objects }: Snapshot, kind: K): ObjectOf<K>[] {
  return objects.filter((object): object is ObjectOf<K> => object.kind === kind);
}

/** Interfaces by the tags that the node gives them, then how many objects there are of which kind. */
export function heldText(snapshot: Snapshot): string {
  const counts = new Map<ObjectKind, number>();
  for (const { kind } of snapshot.objects) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  const kinds = [...counts].sort(([, a], [, b]) => b - a).map(([kind, count]) => `${count} ${kind}`);
  const lines: string[] = [''];
  for (const kind of kinds) {
    const line = lines.at(-1)!;
    if (line.length + kind.length > 88) lines.push(kind);
    else lines[lines.length - 1] = line === '' ? kind : `${line}, ${kind}`;
  }
  const interfaces = snapshot.interfaces
    .filter(({ tag }) => tag !== '')
    .map(({ name, tag }) => `${name.padEnd(12)} ${tag.padEnd(20)} ${roleOf(tag)}`);
  return [...interfaces, '', ...lines].join('\n');
}

function roleOf(tag: string): string {
  if (tag.startsWith('main-')) return 'uplink';
  return tag.startsWith('host-') ? 'tap of the host' : 'tun of a pod';
}

/** The routes by which VPP finds the pod. */
export function podRoutes(snapshot: Snapshot, { ip4, ip6 }: Pod): readonly string[] {
  const prefixes = [`${ip4}/32`, `${ip6}/128`];
  return of(snapshot, 'route')
    .filter(({ prefix, paths }) => prefixes.includes(prefix) && paths.some(({ via }) => via === 'interface'))
    .map(
      ({ table_id, prefix, paths }) => `${prefix} in table ${table_id}: ${paths.map(pathText).join(', ')}`,
    );
}

function pathText(path: Path): string {
  switch (path.via) {
    case 'interface':
      return `to ${path.interface}`;
    case 'next_hop':
      return `by way of ${path.next_hop}`;
    case 'lookup':
      return `as table ${path.table_id} says`;
    case 'drop':
      return 'dropped';
    case 'unreachable':
      return 'refused';
  }
}
