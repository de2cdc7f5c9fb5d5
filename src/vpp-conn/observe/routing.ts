/** Tables, routes, neighbours, and what else decides where a packet goes, back from VPP. */
import { proxy_arp_dump } from 'vpp-binapi-ts/arp';
import {
  ip_mroute_dump,
  ip_punt_redirect_v2_dump,
  type ip_route_v2,
  ip_route_v2_dump,
  type ip_table,
  ip_table_dump,
} from 'vpp-binapi-ts/ip';
import { ip_neighbor_config_get, ip_neighbor_dump, ip_neighbor_flags } from 'vpp-binapi-ts/ip_neighbor';
import { default_table, pods_table, punt_table } from '../../desired/tables.js';
import type { Family } from '../../ip/text.js';
import type { InterfaceTag } from '../../objects/interfaces.js';
import { isDangling, type VppObject } from '../../objects/object.js';
import type { Route, RouteSource, Table } from '../../objects/routing.js';
import { no_interface, pathFrom } from '../paths.js';
import { af, families, familyOfAf, type Reader, type TagOf } from './reader.js';

/** All tables but those that every VPP has. */
export async function observeTables(reader: Reader): Promise<Table[]> {
  const tables = await reader.dump(ip_table_dump, {});
  return tables
    .filter(({ table }) => table.table_id !== default_table)
    .map(({ table }) => ({
      kind: 'table',
      family: table.is_ip6 ? 6 : 4,
      table_id: table.table_id,
      name: printable(table.name),
      multicast: true,
    }));
}

/** VPP has been seen to send a byte of garbage behind a table's name. */
function printable(name: string): string {
  return name.replace(/[^!-~].*$/s, '');
}

export interface RoutesWanted {
  readonly source: RouteSource;
  /** VPP's number of the source. */
  readonly source_id: number;
  readonly tables: readonly Pick<Table, 'family' | 'table_id'>[];
  /** Only those that refer to an interface that VPP has no more. */
  readonly dangling: boolean;
}

/**
 * Hands on the routes of one source, each as it comes. VPP walks the whole table for it, and shows only the prefixes where this source is the best. No message
 * shows what is behind: `observeHidden`.
 */
export async function observeRoutes(
  reader: Reader,
  { source, source_id, tables, dangling }: RoutesWanted,
  tagOf: TagOf,
  take: (route: Route) => void,
): Promise<void> {
  await Promise.all(
    tables.map(({ family, table_id }) =>
      routesIn(reader, source_id, family, table_id, (route) => {
        const paths = route.paths.map((path) => pathFrom(path, tagOf));
        const seen: Route = { kind: 'route', source, table_id: route.table_id, prefix: route.prefix, paths };
        if (!dangling || isDangling(seen)) take(seen);
      }),
    ),
  );
}

/** Of a pod's own table there are hundreds, and few routes in each. */
function routesIn(
  reader: Reader,
  src: number,
  family: Family,
  table_id: number,
  take: (route: ip_route_v2) => void,
): Promise<void> {
  const fields = { src, table: tableOf(family, table_id) };
  const each = ({ route }: { readonly route: ip_route_v2 }): void => take(route);
  return shared_tables.has(table_id)
    ? reader.walk(ip_route_v2_dump, fields, each)
    : reader.each(ip_route_v2_dump, fields, each);
}

/**
 * Hands on what a source may have behind the routes of another, which comes before it: a route without paths for each of those. VPP takes it
 * for no error when such a route is removed and is not there.
 */
export async function observeHidden(
  reader: Reader,
  { source, by, tables }: { source: RouteSource; by: readonly number[] } & Pick<RoutesWanted, 'tables'>,
  take: (route: Route) => void,
): Promise<void> {
  await Promise.all(
    tables.flatMap(({ family, table_id }) =>
      by.map((src) =>
        routesIn(reader, src, family, table_id, ({ prefix }) =>
          take({ kind: 'route', source, table_id, prefix, paths: [] }),
        ),
      ),
    ),
  );
}

export const default_tables: readonly Pick<Table, 'family' | 'table_id'>[] = families.map((family) => ({
  family,
  table_id: default_table,
}));

/** Where packets of pods look for their way: routes of connectivity are in it, too. */
export const pods_tables: readonly Pick<Table, 'family' | 'table_id'>[] = families.map((family) => ({
  family,
  table_id: pods_table,
}));

/** Where punted packets look for their way: routes of pods are in it, too. */
export const punt_tables: readonly Pick<Table, 'family' | 'table_id'>[] = families.map((family) => ({
  family,
  table_id: punt_table,
}));

const shared_tables: ReadonlySet<number> = new Set([default_table, pods_table]);

const tableOf = (family: Family, table_id: number): ip_table => ({
  table_id,
  is_ip6: family === 6,
  name: '',
});

/** VPP's own entries deliver locally; its dump has no entry flags and not all of a path's, so only the group is told. */
export async function observeGroups(
  reader: Reader,
  tables: readonly Pick<Table, 'family' | 'table_id'>[],
  tagOf: TagOf,
): Promise<VppObject[]> {
  const groups = await Promise.all(
    tables.map(({ family, table_id }) => reader.dump(ip_mroute_dump, { table: tableOf(family, table_id) })),
  );
  return groups.flat().flatMap(({ route }): VppObject[] => {
    const { paths, prefix, table_id } = route;
    if (paths.length === 0 || paths.some(({ path }) => path.type !== 'FIB_API_PATH_TYPE_NORMAL')) return [];
    return [
      {
        kind: 'mroute',
        table_id,
        group: `${prefix.grp_address}/${prefix.grp_address_length}`,
        accept_all_interfaces: false,
        paths: paths.flatMap(({ path }) =>
          path.sw_if_index === no_interface
            ? []
            : [{ interface: tagOf(path.sw_if_index), accept: false, forward: false }],
        ),
      },
    ];
  });
}

/** The static ones; the others VPP has learned. */
export async function observeNeighbours(
  reader: Reader,
  tags: ReadonlyMap<number, InterfaceTag>,
): Promise<VppObject[]> {
  const dumps = await Promise.all(
    families.map((family) => reader.dump(ip_neighbor_dump, { af: af[family] })),
  );
  return dumps.flat().flatMap(({ neighbor }): VppObject[] => {
    const is_static = (neighbor.flags & ip_neighbor_flags.IP_API_NEIGHBOR_FLAG_STATIC) !== 0;
    const tag = tags.get(neighbor.sw_if_index);
    if (!is_static || tag === undefined) return [];
    return [{ kind: 'neighbour', interface: tag, address: neighbor.ip_address, mac: neighbor.mac_address }];
  });
}

export async function observeProxyRanges(reader: Reader): Promise<VppObject[]> {
  const ranges = await reader.dump(proxy_arp_dump, {});
  return ranges.map(({ proxy }) => ({
    kind: 'proxy_arp_range',
    table_id: proxy.table_id,
    low: proxy.low,
    high: proxy.hi,
  }));
}

/** What concerns no table and no interface. */
export async function observeGlobals(reader: Reader): Promise<VppObject[]> {
  const [limits, punts] = await Promise.all([
    reader.askAll(
      ip_neighbor_config_get,
      families.map((family) => ({ af: af[family] })),
    ),
    Promise.all(
      families.map((family) =>
        reader.dump(ip_punt_redirect_v2_dump, { sw_if_index: no_interface, af: af[family] }),
      ),
    ),
  ]);
  return [
    ...limits.flatMap((answer): VppObject[] => {
      if (answer === undefined) return [];
      const { af: family, max_number, max_age } = answer;
      return [{ kind: 'neighbour_limits', family: familyOfAf(family), max_number, max_age_s: max_age }];
    }),
    ...punts.flat().flatMap(({ punt }): VppObject[] => {
      const [path] = punt.paths;
      if (punt.rx_sw_if_index !== no_interface || path === undefined) return [];
      return [{ kind: 'punt_redirect', family: familyOfAf(punt.af), table_id: path.table_id }];
    }),
  ];
}
