import { fib_source_add, fib_source_dump } from 'vpp-binapi-ts/fib';
import type { fib_path } from 'vpp-binapi-ts/fib_types';
import {
  add_del_ip_punt_redirect_v2,
  ip_mroute_add_del,
  ip_mroute_dump,
  ip_mtable_dump,
  ip_path_mtu_update,
  ip_punt_redirect_v2_dump,
  ip_route_add_del_v2,
  ip_route_dump,
  ip_route_lookup,
  ip_route_lookup_v2,
  ip_route_v2_dump,
  ip_table_add_del,
  ip_table_add_del_v2,
  ip_table_allocate,
  ip_table_dump,
} from 'vpp-binapi-ts/ip';
import { type FibTable, hasRpfId, none } from '../fib.js';
import { source } from '../fib-sources.js';
import { type Handler, on, onDump, onPlain } from '../handler.js';
import { Death, refuse, retval, Spin } from '../outcome.js';
import { afOf, type Family, families, familyFrom, familyOf, hostPrefix, isHost } from '../prefix.js';
import type { VppState } from '../state.js';

const no_route = { table_id: 0, stats_index: 0, prefix: '0.0.0.0/0', paths: [] };

export const routes: readonly Handler[] = [
  onPlain(ip_table_add_del, (vpp, { is_add, table }) => {
    changeTable(vpp, is_add, table.is_ip6 ? 6 : 4, table.table_id, table.name, true);
  }),
  onPlain(ip_table_add_del_v2, (vpp, { is_add, table, create_mfib }) => {
    changeTable(vpp, is_add, table.is_ip6 ? 6 : 4, table.table_id, table.name, create_mfib);
  }),
  on(ip_table_allocate, { table: { table_id: none, is_ip6: false, name: '' } }, (vpp, { table }) => {
    const family: Family = table.is_ip6 ? 6 : 4;
    const table_id = table.table_id === none ? unusedId(vpp, family) : table.table_id;
    changeTable(vpp, true, family, table_id, table.name, true);
    return { table: { ...table, table_id } };
  }),
  onDump(ip_table_dump, (vpp) =>
    families.flatMap((family) =>
      vpp.fib
        .tables(family)
        .map(({ table_id, name }) => ({ table: { table_id, is_ip6: family === 6, name } })),
    ),
  ),
  onDump(ip_mtable_dump, (vpp) =>
    families.flatMap((family) =>
      vpp.interfaces
        .mtables(family)
        .map(({ table_id }) => ({ table: { table_id, is_ip6: family === 6, name: '' } })),
    ),
  ),
  // 0, which is no source, when none is left; and no error.
  on(fib_source_add, { id: 0 }, (vpp, { src: { name, priority } }) => ({
    id: vpp.fib.sources.add(name, priority) ?? 0,
  })),
  onDump(fib_source_dump, ({ fib }) =>
    fib.sources.all.map(({ id, name, priority }) => ({ src: { id, name, priority } })),
  ),
  on(ip_route_add_del_v2, { stats_index: none }, (vpp, { is_add, is_multipath, route }) => ({
    stats_index: changeRoute(vpp, is_add, is_multipath, route),
  })),
  onDump(ip_route_dump, (vpp, { table }) => entries(vpp, table).map(({ src: _, ...route }) => ({ route }))),
  onDump(ip_route_v2_dump, (vpp, { table, src }) =>
    entries(vpp, table)
      .filter((route) => src === 0 || route.src === src)
      .map((route) => ({ route })),
  ),
  on(ip_route_lookup, { route: no_route }, (vpp, { table_id, exact, prefix }) => {
    const { src: _, ...route } = lookup(vpp, table_id, exact, prefix);
    return { route };
  }),
  on(ip_route_lookup_v2, { route: { ...no_route, src: 0 } }, (vpp, { table_id, exact, prefix }) => ({
    route: lookup(vpp, table_id, exact, prefix),
  })),
  onPlain(ip_path_mtu_update, (vpp, { pmtu: { table_id, nh, path_mtu } }) => {
    setPathMtu(vpp, table_id, nh, path_mtu);
  }),
  on(ip_mroute_add_del, { stats_index: none }, (vpp, { is_add, route }) => {
    const { prefix: group, paths, entry_flags, rpf_id } = route;
    const family = familyFrom(group.af);
    const table = vpp.interfaces.mtable(family, route.table_id) ?? refuse(retval.NO_SUCH_FIB);
    for (const { path } of paths) checkMulticastPath(vpp, path, family);
    if (paths.length === 0) table.setFlags(group, entry_flags, rpf_id);
    else if (is_add) table.addPaths(group, entry_flags, rpf_id, paths);
    else table.removePaths(group, paths);
    return { stats_index: is_add ? 0 : none };
  }),
  onDump(ip_mroute_dump, (vpp, { table: { table_id, is_ip6 } }) => {
    const table = vpp.interfaces.mtable(is_ip6 ? 6 : 4, table_id);
    return [...(table?.entries.values() ?? [])].map((entry) => ({
      route: {
        table_id,
        entry_flags: 0,
        rpf_id: 0,
        prefix: { af: afOf(table!.family), ...entry.group },
        paths: table!.shown(entry),
      },
    }));
  }),
  onPlain(add_del_ip_punt_redirect_v2, (vpp, { is_add, punt: { rx_sw_if_index, af, paths } }) => {
    const family = familyFrom(af);
    // Index 0 stands for any interface, as ~0 does.
    const key = `${family}/${rx_sw_if_index === none ? 0 : rx_sw_if_index}`;
    const held = is_add ? vpp.fib.hold(paths) : undefined;
    vpp.punt_redirects.get(key)?.release();
    if (held) vpp.punt_redirects.set(key, { ...held, rx_sw_if_index, family });
    else vpp.punt_redirects.delete(key);
  }),
  onDump(ip_punt_redirect_v2_dump, (vpp, { sw_if_index, af }) => {
    const family = familyFrom(af);
    return [...vpp.punt_redirects]
      .filter(
        ([key]) =>
          key === `${family}/${sw_if_index}` || (sw_if_index === none && key.startsWith(`${family}/`)),
      )
      .map(([, { paths, rx_sw_if_index }]) => ({
        punt: { rx_sw_if_index: sw_if_index === none ? rx_sw_if_index : sw_if_index, af, paths },
      }));
  }),
];

function changeTable(
  vpp: VppState,
  is_add: boolean,
  family: Family,
  table_id: number,
  name: string,
  multicast: boolean,
): void {
  if (table_id === 0) return;
  if (is_add) {
    vpp.fib.addTable(family, table_id, name);
    if (multicast) vpp.interfaces.addMtable(family, table_id);
    return;
  }
  const table = vpp.fib.table(family, table_id);
  if (table !== undefined) vpp.fib.deleteTable(table);
  vpp.interfaces.deleteMtable(family, table_id);
}

/** VPP takes random ids; these are from a generator without surprises. */
function unusedId(vpp: VppState, family: Family): number {
  let id = 0x3c6e_f35f;
  while (vpp.fib.table(family, id) !== undefined) id = (Math.imul(id, 1_664_525) + 1_013_904_223) >>> 0;
  return id;
}

interface Change {
  readonly table_id: number;
  readonly prefix: string;
  readonly src: number;
  readonly paths: readonly fib_path[];
}

function changeRoute(
  vpp: VppState,
  is_add: boolean,
  is_multipath: boolean,
  { table_id, prefix, src, paths }: Change,
) {
  const from = src === 0 ? source.api : src;
  const table = vpp.fib.table(familyOf(prefix), table_id) ?? refuse(retval.NO_SUCH_FIB);
  if (!is_add && !is_multipath) {
    // VPP decodes the paths of a deletion too, and refuses what it cannot resolve.
    if (paths.length > 0) vpp.fib.hold(paths).release();
    checkSource(vpp, from);
    vpp.cnat.checkRoute(prefix);
    vpp.fib.remove(table, prefix, from);
    return none;
  }
  if (paths.length === 0) refuse(retval.NO_PATHS_IN_ROUTE);
  checkSource(vpp, from);
  vpp.cnat.checkRoute(prefix);
  if (is_add) {
    const entry = is_multipath
      ? vpp.fib.addPaths(table, prefix, from, paths)
      : vpp.fib.set(table, prefix, from, paths);
    vpp.doom ??= vpp.tunnels.doomBy(prefix, paths) ?? (table_id === 0 ? doomAround(vpp, paths) : undefined);
    return entry.stats_index;
  }
  vpp.fib.removePaths(table, prefix, from, paths);
  return none;
}

/** Why VPP dies of a packet by this route: tunnels that are led to their far ends by each other. */
function doomAround(vpp: VppState, paths: readonly fib_path[]): string | undefined {
  for (const { sw_if_index } of paths) {
    const seen = new Set([sw_if_index]);
    for (const tunnel of seen) {
      const end = vpp.tunnels.farEnd(tunnel);
      const table = end === undefined ? undefined : vpp.fib.table(familyOf(end), 0);
      if (end === undefined || table === undefined) break;
      const entry = vpp.fib.lookup(table, hostPrefix(end), false);
      const [by] = (entry && vpp.fib.best(entry)?.paths) ?? [];
      // Its own far end by itself: nothing passes, and VPP lives.
      if (by === undefined || by.sw_if_index === tunnel) break;
      if (seen.has(by.sw_if_index)) return `tunnels ${[...seen].join()} lead to their far ends by each other`;
      seen.add(by.sw_if_index);
    }
  }
  return undefined;
}

/** VPP looks up what it knows of a source behind the end of its list: it has been seen to die of it, and not to. */
function checkSource(vpp: VppState, id: number): void {
  if (!vpp.fib.sources.has(id)) throw new Death(`a route of FIB source ${id}, which does not exist`);
}

export function entries(
  vpp: VppState,
  { table_id, is_ip6 }: { readonly table_id: number; readonly is_ip6: boolean },
) {
  const table = vpp.fib.table(is_ip6 ? 6 : 4, table_id);
  if (table === undefined) return [];
  return [...table.entries.values()].map((entry) => shown(vpp, table, entry));
}

function shown(vpp: VppState, { table_id }: FibTable, entry: Parameters<VppState['fib']['best']>[0]) {
  const { source: src, paths } = vpp.fib.best(entry)!;
  return { table_id, stats_index: entry.stats_index, prefix: entry.prefix, src, paths };
}

function lookup(vpp: VppState, table_id: number, exact: number, prefix: string) {
  const table = vpp.fib.table(familyOf(prefix), table_id) ?? refuse(retval.NO_SUCH_FIB);
  const entry = vpp.fib.lookup(table, prefix, exact !== 0) ?? refuse(retval.NO_SUCH_ENTRY);
  return shown(vpp, table, entry);
}

/** More path MTUs than these, of addresses that have no route of their own and are not on link, make VPP spin. */
const remote_path_mtus_max = 62;

function setPathMtu(vpp: VppState, table_id: number, nh: string, path_mtu: number): void {
  const table = vpp.fib.table(familyOf(nh), table_id) ?? refuse(retval.NO_SUCH_TABLE);
  const key = `${table_id}/${nh}`;
  const cover = vpp.fib.lookup(table, hostPrefix(nh), false);
  const near = cover !== undefined && (isHost(cover.prefix) || cover.sources.has(source.interface));
  if (path_mtu === 0 || near) vpp.remote_path_mtus.delete(key);
  else vpp.remote_path_mtus.add(key);
  if (vpp.remote_path_mtus.size > remote_path_mtus_max) {
    throw new Spin(`path MTUs of more than ${remote_path_mtus_max} addresses that are not on link`);
  }
}

function checkMulticastPath(vpp: VppState, path: fib_path, family: Family): void {
  if (path.sw_if_index !== none) {
    if (vpp.interfaces.all.get(path.sw_if_index) === undefined) refuse(retval.NO_MATCHING_INTERFACE);
    return;
  }
  // A path with an RPF id goes on in a multicast table.
  const found = hasRpfId(path)
    ? vpp.interfaces.mtable(family, path.table_id)
    : vpp.fib.table(family, path.table_id);
  if (found === undefined) refuse(retval.NO_SUCH_FIB);
}
