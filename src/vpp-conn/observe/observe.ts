/**
 * Reads what a VPP holds of some owners and turns it into objects: the other direction of program.ts. Nobody pays for what others
 * have: routes are asked for by their FIB source, interfaces and tables one by one, the rest by kind.
 */
import type { Client } from 'vpp-binapi-ts';
import { sw_interface_dump } from 'vpp-binapi-ts/interface';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import type { InterfaceTag } from '../../objects/interfaces.js';
import { interfacesUsed, isDangling, keyOf, type VppObject } from '../../objects/object.js';
import { isNetworkTable, type Ownership } from '../../objects/owner.js';
import type { RouteSource } from '../../objects/routing.js';
import { OwnerIndex } from '../../reconcile/ownership.js';
import type { Scope, Snapshot, Take } from '../../reconcile/snapshot.js';
import { before_own, route_sources } from '../fib-sources.js';
import type { Handles } from '../handles.js';
import { danglingTag } from '../paths.js';
import type { Registry } from '../registry.js';
import { observeSnat, observeTranslations } from './cnat.js';
import { observeLinks, observeSettings } from './interfaces.js';
import { observeIke } from './ipsec.js';
import { observePbl } from './memif.js';
import { Reader } from './reader.js';
import { observeRedirects } from './redirect.js';
import {
  default_tables,
  observeGlobals,
  observeGroups,
  observeHidden,
  observeNeighbours,
  observeProxyRanges,
  observeRoutes,
  observeTables,
  pods_tables,
  punt_tables,
} from './routing.js';
import { observeSrv6 } from './srv6.js';
import { observeUnnumbered } from './tunnels.js';
import { observeAppNamespaces } from './vcl.js';
import { observePeers } from './wireguard.js';

/**
 * What VPP holds of these scopes. Learns the handles of what it sees. Rejects only with the connection.
 *
 * `take`: is handed the routes and translations, of which there may be many, as they come; they are not in the snapshot then. But for those
 * that refer to an interface that VPP has no more: whether that is so shows in the end.
 */
export async function observe(
  vpp: Pick<Client, 'dump' | 'request' | 'compatible'>,
  scopes: readonly Scope[],
  handles: Handles,
  registry: Registry,
  take?: Take,
): Promise<Snapshot> {
  const begun = handles.reading();
  // A reading shows nothing of npol: it is asked for by who begins anew.
  if (scopes.includes('policies')) handles.forgetNpol();
  try {
    const many: VppObject[] = [];
    const keep = (object: VppObject): void => {
      if (take === undefined || isDangling(object)) many.push(object);
      else take(object);
    };
    const keepTranslation = (object: VppObject, id: number): void => {
      handles.sees(begun, object, id);
      keep(object);
    };
    const reader = new Reader(vpp);
    const { snapshot, seen } = await read(reader, new Set(scopes), handles, registry, {
      keep,
      keepTranslation,
      many,
    });
    handles.learn(begun, seen);
    return snapshot;
  } catch (error) {
    handles.unread(begun);
    throw error;
  }
}

type Seen = readonly [object: VppObject, handle: number];

/** What becomes of routes and translations; `many` are those that have been kept. */
interface Many {
  keep(object: VppObject): void;
  keepTranslation(object: VppObject, id: number): void;
  readonly many: readonly VppObject[];
}

async function read(
  reader: Reader,
  scopes: ReadonlySet<Scope>,
  handles: Handles,
  registry: Registry,
  { keep, keepTranslation, many }: Many,
): Promise<{ readonly snapshot: Snapshot; readonly seen: readonly Seen[] }> {
  const [all_interfaces, all_tables, pools] = await Promise.all([
    reader.dump(sw_interface_dump, { name_filter_valid: false, name_filter: '' }),
    observeTables(reader),
    scopes.has('node') || scopes.has('pods') ? reader.ask(cli_inband, { cmd: 'show buffers' }) : undefined,
  ]);
  const tagged = all_interfaces.filter(({ tag }) => tag !== '');
  const tags = new Map<number, InterfaceTag>(tagged.map(({ sw_if_index, tag }) => [sw_if_index, tag]));
  const tag_of_name = new Map(tagged.map(({ interface_name, tag }) => [interface_name, tag]));
  const indexes = new Set(all_interfaces.map(({ sw_if_index }) => sw_if_index));
  const tagOf = (sw_if_index: number): InterfaceTag =>
    tags.get(sw_if_index) ?? (indexes.has(sw_if_index) ? '' : danglingTag(sw_if_index));

  const links = await observeLinks(reader, all_interfaces, registry.announced(), handles);
  const owners = new OwnerIndex([...links.map(({ object }) => object), ...all_tables]);
  const wanted = (owner: Ownership): boolean => owner !== 'foreign' && scopes.has(owner);
  const own_links = links.filter(({ object }) => wanted(owners.of(object)));
  const own_tables = all_tables.filter((table) => wanted(owners.of(table)));
  // The node's, and others have routes in them.
  const network_tables = all_tables.filter(({ name }) => isNetworkTable(name));
  const handle_of_interface: Seen[] = links.map(({ object, details }) => [object, details.sw_if_index]);

  const [settings, lent, groups, neighbours, ranges, globals, snat, redirects, peers, ike, srv6, pbl, vcl] =
    await Promise.all([
      observeSettings(
        reader,
        own_links.flatMap(({ details }) => (details.tag === '' ? [] : details)),
        tagOf,
      ),
      scopes.has('nobody') ? observeUnnumbered(reader, tags, tagOf) : [],
      observeGroups(reader, own_tables, tagOf),
      own_links.length === 0 ? [] : observeNeighbours(reader, tags),
      scopes.has('node') ? observeProxyRanges(reader) : [],
      scopes.has('node') ? observeGlobals(reader) : [],
      scopes.has('node') ? observeSnat(reader) : [],
      scopes.has('node') || scopes.has('pods') ? observeRedirects(reader) : { rules: [], tables: [] },
      scopes.has('connectivity') ? observePeers(reader, tagOf) : [],
      scopes.has('connectivity') ? observeIke(reader, tagOf) : [],
      scopes.has('connectivity') ? observeSrv6(reader) : [],
      scopes.has('pods')
        ? observePbl(reader, registry, (name) => tag_of_name.get(name))
        : { clients: [], routes: [] },
      scopes.has('pods') ? observeAppNamespaces(reader, handles, (name) => tag_of_name.get(name)) : [],
      scopes.has('services') ? observeTranslations(reader, registry, keepTranslation) : undefined,
      ...route_sources.map((source) =>
        routesOf(
          reader,
          source,
          scopes,
          handles,
          scopes.has('nobody') ? all_tables : [...new Set([...own_tables, ...network_tables])],
          tagOf,
          keep,
        ),
      ),
      ...(['services', 'connectivity'] as const).map((source) =>
        scopes.has('hidden') && scopes.has(source)
          ? observeHidden(
              reader,
              {
                source,
                by: before_own[source].map((other) => handles.fibSource(other)),
                tables:
                  source === 'connectivity'
                    ? [...default_tables, ...pods_tables, ...network_tables]
                    : default_tables,
              },
              keep,
            )
          : undefined,
      ),
    ]);
  // Whether those are up is IKE's matter, and nobody's wish.
  const of_ike = new Set(
    own_links.flatMap(({ object }) => (object.kind === 'ipip_tunnel' && object.ike ? object.tag : [])),
  );
  const isOfIke = (object: VppObject): boolean =>
    object.kind === 'interface_flag' && object.flag === 'admin_up' && of_ike.has(object.interface);
  const dumped = [
    ...own_links.map(({ object }) => object),
    ...own_tables,
    ...settings.filter((setting) => !isOfIke(setting)),
    ...lent.filter((object) => isDangling(object) && !wanted(owners.of(object))),
    ...groups,
    ...neighbours,
    ...ranges,
    ...globals,
    ...snat,
    ...redirects.rules,
    ...redirects.tables.map(([object]) => object),
    ...peers.map(([peer]) => peer),
    ...ike,
    ...srv6,
    ...pbl.clients.map(([client]) => client),
    ...pbl.routes,
    ...vcl.map(([namespace]) => namespace),
  ].filter((object) => wanted(owners.of(object)) || (scopes.has('nobody') && isDangling(object)));
  // Of routes, which may be many, nothing was asked for that is not wanted.
  const shown = await withoutLate(reader, dumped.concat(many), indexes);
  presumeVerdicts(settings, owners, registry);
  const recorded = registry.list().filter(({ object }) => wanted(owners.of(object)));

  const buffers = pools && buffersIn(pools.reply);
  return {
    seen: [...handle_of_interface, ...redirects.tables, ...peers, ...pbl.clients, ...vcl],
    snapshot: {
      objects: [...shown, ...recorded.map(({ object }) => object)],
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

/**
 * An interface that is up was told a verdict before, and by now may be judged by policies: to tell it again, because nothing was written
 * down of it, would close what is open.
 */
function presumeVerdicts(settings: readonly VppObject[], owners: OwnerIndex, registry: Registry): void {
  for (const object of settings) {
    const is_up = object.kind === 'interface_flag' && object.flag === 'admin_up';
    if (!is_up || !['pods', 'connectivity'].includes(owners.of(object))) continue;
    registry.presume({ kind: 'default_verdict', interface: object.interface, verdict: 'unknown' });
  }
}

/**
 * What refers to an interface that was made since the list of them was read looks as if it referred to one that is gone, and would be
 * removed for that: it is left for the next reading.
 */
async function withoutLate(
  reader: Reader,
  objects: readonly VppObject[],
  indexes: ReadonlySet<number>,
): Promise<readonly VppObject[]> {
  if (!objects.some(isDangling)) return objects;
  const interfaces = await reader.dump(sw_interface_dump, { name_filter_valid: false, name_filter: '' });
  const late = new Set(
    interfaces.flatMap(({ sw_if_index }) => (indexes.has(sw_if_index) ? [] : danglingTag(sw_if_index))),
  );
  return late.size === 0
    ? objects
    : objects.filter((object) => !interfacesUsed(object).some((tag) => late.has(tag)));
}

/** Routes of a source that is not asked for are looked through for those that refer to an interface that is gone. */
async function routesOf(
  reader: Reader,
  source: RouteSource,
  scopes: ReadonlySet<Scope>,
  handles: Handles,
  tables: Parameters<typeof observeRoutes>[1]['tables'],
  tagOf: (sw_if_index: number) => InterfaceTag,
  keep: (route: VppObject) => void,
): Promise<void> {
  const whole = scopes.has(source);
  const everywhere = scopes.has('nobody');
  if (!whole && !everywhere) return;
  const beside = source === 'pods' && !scopes.has('pod_routes') && !everywhere ? [] : default_tables;
  // The table is the node's, and read already where that is asked for.
  const shared = source === 'connectivity' && !scopes.has('node') && !everywhere ? pods_tables : [];
  // The node's, too: what the host stack does not take of a pod's leads from there to its device.
  const punted = source === 'pods' && whole ? punt_tables.filter((table) => !includes(tables, table)) : [];
  const source_id = handles.fibSource(source);
  return observeRoutes(
    reader,
    { source, source_id, tables: [...beside, ...shared, ...punted, ...tables], dangling: !whole },
    tagOf,
    keep,
  );
}

const includes = (
  tables: Parameters<typeof observeRoutes>[1]['tables'],
  { family, table_id }: (typeof punt_tables)[number],
): boolean => tables.some((table) => table.family === family && table.table_id === table_id);

/**
 * The column Total of `show buffers`, of the smallest pool; no message tells it.
 *
 *     Pool Name            Index NUMA  Size  Data Size  Total  Avail  Cached   Used
 *     default-numa-0         0     0   2304     2048    23912  23912     0       0
 */
export function buffersIn(text: string): number | undefined {
  const totals = [...text.matchAll(/^\s*\S+\s+\d+\s+\d+\s+\d+\s+\d+\s+(\d+)(?:\s+\d+){3}\s*$/gm)].map(
    ([, total]) => Number(total),
  );
  return totals.length === 0 ? undefined : Math.min(...totals);
}
