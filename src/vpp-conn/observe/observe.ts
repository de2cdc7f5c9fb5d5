/**
 * Reads what a VPP holds of some owners and turns it into objects: the other direction of program.ts. Nobody pays for what others
 * have: routes are asked for by their FIB source, interfaces and tables one by one, the rest by kind.
 */
import type { Client } from 'vpp-binapi-ts';
import { sw_interface_dump } from 'vpp-binapi-ts/interface';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import type { InterfaceTag } from '../../objects/interfaces.js';
import { isDangling, keyOf, type VppObject } from '../../objects/object.js';
import type { Ownership } from '../../objects/owner.js';
import type { RouteSource } from '../../objects/routing.js';
import { OwnerIndex } from '../../reconcile/ownership.js';
import type { Scope, Snapshot } from '../../reconcile/snapshot.js';
import { route_sources } from '../fib-sources.js';
import type { Handles } from '../handles.js';
import { danglingTag } from '../paths.js';
import type { Registry } from '../registry.js';
import { observeSnat, observeTranslations } from './cnat.js';
import { observeLinks, observeSettings } from './interfaces.js';
import { Reader } from './reader.js';
import { observeRedirects } from './redirect.js';
import {
  default_tables,
  observeGlobals,
  observeGroups,
  observeNeighbours,
  observeProxyRanges,
  observeRoutes,
  observeTables,
} from './routing.js';

/** What VPP holds of these scopes. Learns the handles of what it sees. Rejects only with the connection. */
export async function observe(
  vpp: Pick<Client, 'dump' | 'request' | 'compatible'>,
  scopes: readonly Scope[],
  handles: Handles,
  registry: Registry,
): Promise<Snapshot> {
  const begun = handles.reading();
  try {
    const { snapshot, seen } = await read(new Reader(vpp), new Set(scopes), handles, registry);
    handles.learn(begun, seen);
    return snapshot;
  } catch (error) {
    handles.unread(begun);
    throw error;
  }
}

type Seen = readonly [object: VppObject, handle: number];

async function read(
  reader: Reader,
  scopes: ReadonlySet<Scope>,
  handles: Handles,
  registry: Registry,
): Promise<{ readonly snapshot: Snapshot; readonly seen: readonly Seen[] }> {
  const [all_interfaces, all_tables, pools] = await Promise.all([
    reader.dump(sw_interface_dump, { name_filter_valid: false, name_filter: '' }),
    observeTables(reader),
    scopes.has('node') || scopes.has('pods') ? reader.ask(cli_inband, { cmd: 'show buffers' }) : undefined,
  ]);
  const tagged = all_interfaces.filter(({ tag }) => tag !== '');
  const tags = new Map<number, InterfaceTag>(tagged.map(({ sw_if_index, tag }) => [sw_if_index, tag]));
  const indexes = new Set(all_interfaces.map(({ sw_if_index }) => sw_if_index));
  const tagOf = (sw_if_index: number): InterfaceTag =>
    tags.get(sw_if_index) ?? (indexes.has(sw_if_index) ? '' : danglingTag(sw_if_index));

  const links = await observeLinks(reader, tagged);
  const owners = new OwnerIndex([...links.map(({ object }) => object), ...all_tables]);
  const wanted = (owner: Ownership): boolean => owner !== 'foreign' && scopes.has(owner);
  const own_links = links.filter(({ object }) => wanted(owners.of(object)));
  const own_tables = all_tables.filter((table) => wanted(owners.of(table)));
  const handle_of_interface: Seen[] = links.map(({ object, details }) => [object, details.sw_if_index]);

  const [settings, groups, routes, neighbours, ranges, globals, snat, redirects, translations] =
    await Promise.all([
      observeSettings(
        reader,
        own_links.map(({ details }) => details),
      ),
      observeGroups(reader, own_tables, tagOf),
      Promise.all(
        route_sources.map((source) =>
          routesOf(reader, source, scopes, handles, scopes.has('nobody') ? all_tables : own_tables, tagOf),
        ),
      ),
      own_links.length === 0 ? [] : observeNeighbours(reader, tags),
      scopes.has('node') ? observeProxyRanges(reader) : [],
      scopes.has('node') ? observeGlobals(reader) : [],
      scopes.has('node') ? observeSnat(reader) : [],
      scopes.has('node') || scopes.has('pods') ? observeRedirects(reader) : { rules: [], tables: [] },
      scopes.has('services') ? observeTranslations(reader) : [],
    ]);
  const dumped = [
    ...own_links.map(({ object }) => object),
    ...own_tables,
    ...settings,
    ...groups,
    ...neighbours,
    ...ranges,
    ...globals,
    ...snat,
    ...redirects.rules,
    ...redirects.tables.map(([object]) => object),
  ].filter((object) => wanted(owners.of(object)) || (scopes.has('nobody') && isDangling(object)));
  // Of these, which may be many, nothing was asked for that is not wanted.
  const by_source = routes.flat();
  const recorded = registry.list().filter(({ object }) => wanted(owners.of(object)));

  const buffers = pools && buffersIn(pools.reply);
  return {
    seen: [...handle_of_interface, ...redirects.tables, ...translations],
    snapshot: {
      objects: [
        ...dumped,
        ...by_source,
        ...translations.map(([object]) => object),
        ...recorded.map(({ object }) => object),
      ],
      unsure: new Set(recorded.filter(({ sure }) => !sure).map(({ object }) => keyOf(object))),
      interfaces: all_interfaces.map(({ sw_if_index, tag, interface_name, interface_dev_type }) => ({
        sw_if_index,
        tag,
        name: interface_name,
        dev_type: interface_dev_type,
      })),
      ...(buffers !== undefined && { buffers }),
    },
  };
}

/** Routes of a source that is not asked for are looked through for those that refer to an interface that is gone. */
async function routesOf(
  reader: Reader,
  source: RouteSource,
  scopes: ReadonlySet<Scope>,
  handles: Handles,
  tables: Parameters<typeof observeRoutes>[1]['tables'],
  tagOf: (sw_if_index: number) => InterfaceTag,
) {
  const whole = scopes.has(source);
  const everywhere = scopes.has('nobody');
  if (!whole && !everywhere) return [];
  const beside = source === 'pods' && !scopes.has('pod_routes') && !everywhere ? [] : default_tables;
  const source_id = handles.fibSource(source);
  return observeRoutes(
    reader,
    { source, source_id, tables: [...beside, ...tables], dangling: !whole },
    tagOf,
  );
}

/**
 * The column Total of `show buffers`; no message tells it.
 *
 *     Pool Name            Index NUMA  Size  Data Size  Total  Avail  Cached   Used
 *     default-numa-0         0     0   2304     2048    23912  23912     0       0
 */
export function buffersIn(text: string): number | undefined {
  const totals = [...text.matchAll(/^\s*\S+\s+\d+\s+\d+\s+\d+\s+\d+\s+(\d+)(?:\s+\d+){3}\s*$/gm)].map(
    ([, total]) => Number(total),
  );
  return totals.length === 0 ? undefined : totals.reduce((sum, total) => sum + total);
}
