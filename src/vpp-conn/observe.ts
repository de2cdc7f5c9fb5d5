/**
 * Reads what a VPP holds, in two waves of pipelined dumps, and turns it into objects: the other direction of program.ts.
 * Only what this product makes is read: our tagged interfaces and what hangs on them, named tables, API routes.
 */
import { type Client, RetvalError } from 'vpp-binapi-ts';
import { af_packet_dump } from 'vpp-binapi-ts/af_packet';
import { proxy_arp_dump, proxy_arp_intfc_dump } from 'vpp-binapi-ts/arp';
import {
  classify_session_dump,
  classify_table_by_interface,
  classify_table_ids,
  classify_table_info,
} from 'vpp-binapi-ts/classify';
import { cnat_snat_addresses_dump, type cnat_translation, cnat_translation_dump } from 'vpp-binapi-ts/cnat';
import { feature_is_enabled } from 'vpp-binapi-ts/feature';
import {
  type sw_interface_details,
  sw_interface_dump,
  sw_interface_get_table,
  sw_interface_rx_placement_dump,
} from 'vpp-binapi-ts/interface';
import { if_status_flags, type rx_mode } from 'vpp-binapi-ts/interface_types';
import {
  ip_address_dump,
  ip_mroute_dump,
  ip_punt_redirect_v2_dump,
  ip_route_v2_dump,
  type ip_table,
  ip_table_dump,
  sw_interface_ip6_get_link_local_address,
} from 'vpp-binapi-ts/ip';
import { ip_neighbor_config_get, ip_neighbor_dump, ip_neighbor_flags } from 'vpp-binapi-ts/ip_neighbor';
import type { address_family, ip_proto } from 'vpp-binapi-ts/ip_types';
import { sw_interface_ip6nd_ra_dump } from 'vpp-binapi-ts/ip6_nd';
import { sw_interface_tap_v2_dump, tap_flags } from 'vpp-binapi-ts/tapv2';
import { urpf_interface_dump } from 'vpp-binapi-ts/urpf';
import { cli_inband, show_threads } from 'vpp-binapi-ts/vlib';
import type { InterfaceSwitch, InterfaceTag, ObjectOf, RxMode, VppObject } from '../desired/objects.js';
import type { Family } from '../ip/text.js';
import type { Snapshot, SnapshotInterface } from '../reconcile/snapshot.js';
import { Handles } from './handles.js';
import { danglingTag, no_interface, pathFrom } from './paths.js';
import { redirectFrom, redirectMask } from './redirect-match.js';

/** VPP's name for the class of these devices. */
const af_xdp_dev_type = 'AF_XDP interface';

/** FIB_SOURCE_API of VPP's fib_source.h: the routes that came through the API, hence ours. */
const route_source_api = 8;
const families: readonly Family[] = [4, 6];
const af: Readonly<Record<Family, address_family>> = { 4: 'ADDRESS_IP4', 6: 'ADDRESS_IP6' };
const familyOfAf = (value: address_family): Family => (value === 'ADDRESS_IP6' ? 6 : 4);

/** A node of each feature's arc, by which VPP tells whether the feature is on. The dumps of some features are no proof. */
const feature_nodes: readonly {
  readonly flag: InterfaceSwitch;
  readonly arc_name: string;
  readonly feature_name: string;
}[] = [
  { flag: 'cnat_feature', arc_name: 'ip4-unicast', feature_name: 'cnat-input-ip4' },
  { flag: 'gso_feature', arc_name: 'ip4-output', feature_name: 'gso-ip4' },
];

export interface Observation {
  readonly snapshot: Snapshot;
  readonly handles: Handles;
}

type Reader = Pick<Client, 'dump' | 'request'>;

export async function observe(vpp: Reader): Promise<Observation> {
  const [
    all_interfaces,
    tables,
    taps,
    af_packets,
    proxy_ranges,
    proxy_interfaces,
    snat,
    translations,
    classify,
    neighbours,
    limits,
    punts,
    urpfs,
    threads,
    pools,
  ] = await Promise.all([
    vpp.dump(sw_interface_dump, { name_filter_valid: false, name_filter: '' }),
    vpp.dump(ip_table_dump, {}),
    vpp.dump(sw_interface_tap_v2_dump, {}),
    vpp.dump(af_packet_dump, {}),
    vpp.dump(proxy_arp_dump, {}),
    vpp.dump(proxy_arp_intfc_dump, {}),
    vpp.dump(cnat_snat_addresses_dump, {}),
    vpp.dump(cnat_translation_dump, {}),
    vpp.request(classify_table_ids, {}),
    Promise.all(families.map((family) => vpp.dump(ip_neighbor_dump, { af: af[family] }))),
    Promise.all(families.map((family) => vpp.request(ip_neighbor_config_get, { af: af[family] }))),
    Promise.all(
      families.map((family) =>
        vpp.dump(ip_punt_redirect_v2_dump, { sw_if_index: no_interface, af: af[family] }),
      ),
    ),
    vpp.dump(urpf_interface_dump, {}),
    vpp.request(show_threads, {}),
    vpp.request(cli_inband, { cmd: 'show buffers' }).catch(unlessRefused),
  ]);

  const handles = new Handles();
  const ours = all_interfaces.filter(({ tag }) => tag !== '');
  const tags = new Map<number, InterfaceTag>(ours.map(({ sw_if_index, tag }) => [sw_if_index, tag]));
  for (const { sw_if_index, tag } of ours) handles.setInterface(tag, sw_if_index);
  const tagOf = (sw_if_index: number): InterfaceTag => tags.get(sw_if_index) ?? danglingTag(sw_if_index);
  const named = tables.filter(({ table }) => table.table_id !== 0);

  const [per_interface, per_table, per_family_of_default, redirects] = await Promise.all([
    Promise.all(ours.map((details) => observeInterface(vpp, details, tagOf))),
    Promise.all(named.map(({ table }) => observeTable(vpp, table, tagOf))),
    Promise.all(
      families.map((family) => routesOf(vpp, { table_id: 0, is_ip6: family === 6, name: '' }, tagOf)),
    ),
    observeRedirects(vpp, classify.ids, handles),
  ]);

  const objects: VppObject[] = [
    ...taps.flatMap((details): VppObject[] => {
      const tag = tags.get(details.sw_if_index);
      const link = ours.find(({ sw_if_index }) => sw_if_index === details.sw_if_index);
      if (tag === undefined || link === undefined) return [];
      const has = (bit: number): boolean => (details.tap_flags & bit) !== 0;
      return [
        {
          kind: 'tap',
          tag,
          host_namespace: details.host_namespace,
          host_if_name: details.host_if_name,
          host_mtu: details.host_mtu_size,
          type: has(tap_flags.TAP_API_FLAG_TUN) ? 'tun' : 'tap',
          gso: has(tap_flags.TAP_API_FLAG_GSO),
          persistent: has(tap_flags.TAP_API_FLAG_PERSIST),
          rx_ring_size: details.rx_ring_sz,
          tx_ring_size: details.tx_ring_sz,
        } satisfies Partial<ObjectOf<'tap'>> as ObjectOf<'tap'>,
      ];
    }),
    ...af_packets.flatMap((details): VppObject[] => {
      const tag = tags.get(details.sw_if_index);
      if (tag === undefined) return [];
      return [{ kind: 'af_packet', tag, host_if_name: details.host_if_name } as ObjectOf<'af_packet'>];
    }),
    // There is no dump of them.
    ...ours
      .filter(({ interface_dev_type }) => interface_dev_type === af_xdp_dev_type)
      .map(({ tag }): VppObject => ({ kind: 'af_xdp', tag }) as ObjectOf<'af_xdp'>),
    ...named.map(
      ({ table }): VppObject => ({
        kind: 'table',
        family: table.is_ip6 ? 6 : 4,
        table_id: table.table_id,
        name: printable(table.name),
        multicast: true,
      }),
    ),
    ...per_interface.flat(),
    ...per_table.flat(),
    ...per_family_of_default.flat(),
    ...proxy_ranges.map(
      ({ proxy }): VppObject => ({
        kind: 'proxy_arp_range',
        table_id: proxy.table_id,
        low: proxy.low,
        high: proxy.hi,
      }),
    ),
    ...proxy_interfaces.flatMap(({ sw_if_index }): VppObject[] => {
      const tag = tags.get(sw_if_index);
      return tag === undefined ? [] : [{ kind: 'interface_flag', interface: tag, flag: 'proxy_arp' }];
    }),
    ...neighbours.flat().flatMap(({ neighbor }): VppObject[] => {
      const is_static = (neighbor.flags & ip_neighbor_flags.IP_API_NEIGHBOR_FLAG_STATIC) !== 0;
      const tag = tags.get(neighbor.sw_if_index);
      if (!is_static || tag === undefined) return [];
      return [{ kind: 'neighbour', interface: tag, address: neighbor.ip_address, mac: neighbor.mac_address }];
    }),
    ...limits.map(
      ({ af: family, max_number, max_age }): VppObject => ({
        kind: 'neighbour_limits',
        family: familyOfAf(family),
        max_number,
        max_age_s: max_age,
      }),
    ),
    ...punts.flat().flatMap(({ punt }): VppObject[] => {
      const [path] = punt.paths;
      if (punt.rx_sw_if_index !== no_interface || path === undefined) return [];
      return [{ kind: 'punt_redirect', family: familyOfAf(punt.af), table_id: path.table_id }];
    }),
    ...(await observeUrpf(vpp, urpfs, tags)),
    ...snat.slice(0, 1).map(
      (details): VppObject => ({
        kind: 'snat_addresses',
        ...(details.snat_ip4 !== '0.0.0.0' && { ip4: details.snat_ip4 }),
        ...(details.snat_ip6 !== '::' && { ip6: details.snat_ip6 }),
      }),
    ),
    ...translations.map(({ translation }) => {
      const object = observeTranslation(translation);
      handles.made(object, translation.id);
      return object;
    }),
    ...redirects,
  ];
  const interfaces = all_interfaces.map(
    ({ sw_if_index, tag, interface_name, interface_dev_type }): SnapshotInterface => ({
      sw_if_index,
      tag,
      name: interface_name,
      dev_type: interface_dev_type,
    }),
  );
  const buffers = pools && buffersIn(pools.reply);
  const workers = threads.thread_data.length - 1;
  return {
    snapshot: { objects, interfaces, workers, ...(buffers !== undefined && { buffers }) },
    handles,
  };
}

/** What VPP does not tell is absent; without a connection there is nothing to be read. */
function unlessRefused(error: unknown): undefined {
  if (!(error instanceof RetvalError)) throw error;
}

const rx_modes: Readonly<Partial<Record<rx_mode, RxMode>>> = {
  RX_MODE_API_POLLING: 'polling',
  RX_MODE_API_INTERRUPT: 'interrupt',
  RX_MODE_API_ADAPTIVE: 'adaptive',
  RX_MODE_API_DEFAULT: 'default',
};

async function observeInterface(
  vpp: Reader,
  details: sw_interface_details,
  tagOf: (sw_if_index: number) => InterfaceTag,
): Promise<VppObject[]> {
  const { sw_if_index } = details;
  const tag = tagOf(sw_if_index);
  const [tables, addresses, placements, features, link_local, advertisements, acl] = await Promise.all([
    Promise.all(
      families.map((family) => vpp.request(sw_interface_get_table, { sw_if_index, is_ipv6: family === 6 })),
    ),
    Promise.all(families.map((family) => vpp.dump(ip_address_dump, { sw_if_index, is_ipv6: family === 6 }))),
    vpp.dump(sw_interface_rx_placement_dump, { sw_if_index }),
    Promise.all(
      feature_nodes.map(({ arc_name, feature_name }) =>
        vpp.request(feature_is_enabled, { arc_name, feature_name, sw_if_index }),
      ),
    ),
    // Refused for an interface without IPv6.
    vpp.request(sw_interface_ip6_get_link_local_address, { sw_if_index }).catch(unlessRefused),
    vpp.dump(sw_interface_ip6nd_ra_dump, { sw_if_index }),
    vpp.request(classify_table_by_interface, { sw_if_index }),
  ]);
  const flag = (name: InterfaceSwitch): VppObject => ({ kind: 'interface_flag', interface: tag, flag: name });
  return [
    ...((details.flags & if_status_flags.IF_STATUS_API_FLAG_ADMIN_UP) === 0 ? [] : [flag('admin_up')]),
    ...(details.mtu[0] === 0
      ? []
      : [{ kind: 'interface_mtu', interface: tag, mtu: details.mtu[0] } as const]),
    ...families.flatMap((family, at): VppObject[] => {
      const table_id = tables[at]!.vrf_id;
      return table_id === 0 ? [] : [{ kind: 'interface_table', interface: tag, family, table_id }];
    }),
    ...addresses
      .flat()
      .map(({ prefix }): VppObject => ({ kind: 'interface_address', interface: tag, prefix })),
    ...placements.flatMap((placement): VppObject[] => {
      const mode = rx_modes[placement.mode];
      return [
        {
          kind: 'rx_placement',
          interface: tag,
          queue_id: placement.queue_id,
          worker_id: placement.worker_id,
        },
        ...(mode === undefined || placement.queue_id !== 0
          ? []
          : [{ kind: 'interface_rx_mode', interface: tag, mode } as const]),
      ];
    }),
    ...features.flatMap(({ is_enabled }, at) => (is_enabled ? [flag(feature_nodes[at]!.flag)] : [])),
    ...(link_local === undefined || link_local.ip === '::'
      ? []
      : [flag('ip6_enabled'), { kind: 'link_local', interface: tag, address: link_local.ip } as const]),
    ...(advertisements.some(({ send_radv }) => !send_radv) ? [flag('ra_suppressed')] : []),
    ...(acl.ip4_table_id === no_interface
      ? []
      : [{ kind: 'redirect_acl', interface: tag, family: 4 } as const]),
    ...(acl.ip6_table_id === no_interface
      ? []
      : [{ kind: 'redirect_acl', interface: tag, family: 6 } as const]),
  ];
}

async function observeTable(
  vpp: Reader,
  table: ip_table,
  tagOf: (sw_if_index: number) => InterfaceTag,
): Promise<VppObject[]> {
  const [routes, groups] = await Promise.all([
    routesOf(vpp, table, tagOf),
    vpp.dump(ip_mroute_dump, { table }),
  ]);
  return [
    ...routes,
    // VPP's own entries deliver locally; its dump has no entry flags and not all of a path's, so only the group is told.
    ...groups
      .filter(
        ({ route }) =>
          route.paths.length > 0 && route.paths.every(({ path }) => path.type === 'FIB_API_PATH_TYPE_NORMAL'),
      )
      .map(
        ({ route }): VppObject => ({
          kind: 'mroute',
          table_id: table.table_id,
          group: `${route.prefix.grp_address}/${route.prefix.grp_address_length}`,
          accept_all_interfaces: false,
          paths: route.paths.flatMap(({ path }) =>
            path.sw_if_index === no_interface
              ? []
              : [{ interface: tagOf(path.sw_if_index), accept: false, forward: false }],
          ),
        }),
      ),
  ];
}

/** VPP has been seen to send a byte of garbage behind a table's name. */
function printable(name: string): string {
  return name.replace(/[^!-~].*$/s, '');
}

async function routesOf(
  vpp: Reader,
  table: ip_table,
  tagOf: (sw_if_index: number) => InterfaceTag,
): Promise<VppObject[]> {
  const routes = await vpp.dump(ip_route_v2_dump, { src: route_source_api, table });
  return routes.map(
    ({ route }): VppObject => ({
      kind: 'route',
      table_id: route.table_id,
      prefix: route.prefix,
      paths: route.paths.map((path) => pathFrom(path, tagOf)),
    }),
  );
}

/** VPP's uRPF dump also shows what it forgot with a deleted interface: only a feature on the arc counts. */
async function observeUrpf(
  vpp: Reader,
  dumped: readonly { sw_if_index: number; mode: string; af: address_family; table_id: number }[],
  tags: ReadonlyMap<number, InterfaceTag>,
): Promise<VppObject[]> {
  const modes = { URPF_API_MODE_LOOSE: 'loose', URPF_API_MODE_STRICT: 'strict' } as const;
  const candidates = dumped.flatMap(({ sw_if_index, mode, af: family_name, table_id }) => {
    const tag = tags.get(sw_if_index);
    const known = modes[mode as keyof typeof modes];
    return tag === undefined || known === undefined
      ? []
      : [{ sw_if_index, tag, mode: known, family: familyOfAf(family_name), table_id }];
  });
  const enabled = await Promise.all(
    candidates.map(({ sw_if_index, family, mode }) =>
      vpp.request(feature_is_enabled, {
        arc_name: `ip${family}-unicast`,
        feature_name: `ip${family}-rx-urpf-${mode}`,
        sw_if_index,
      }),
    ),
  );
  return candidates.flatMap(({ tag, mode, family, table_id }, at): VppObject[] =>
    enabled[at]!.is_enabled ? [{ kind: 'urpf', interface: tag, family, mode, table_id }] : [],
  );
}

function observeTranslation(translation: cnat_translation): ObjectOf<'translation'> {
  const names: Readonly<Partial<Record<ip_proto, ObjectOf<'translation'>['protocol']>>> = {
    IP_API_PROTO_TCP: 'tcp',
    IP_API_PROTO_UDP: 'udp',
    IP_API_PROTO_SCTP: 'sctp',
  };
  return {
    kind: 'translation',
    address: translation.vip.addr,
    port: translation.vip.port,
    protocol: names[translation.ip_proto] ?? 'tcp',
    backends: translation.paths.map(({ dst_ep }) => ({ address: dst_ep.addr, port: dst_ep.port })),
  };
}

/** Classifier tables have no name: ours have our mask. */
async function observeRedirects(vpp: Reader, ids: readonly number[], handles: Handles): Promise<VppObject[]> {
  const infos = await Promise.all(ids.map((table_id) => vpp.request(classify_table_info, { table_id })));
  const observed = await Promise.all(
    infos.map(async (info): Promise<VppObject[]> => {
      const family = families.find((each) => Buffer.compare(redirectMask(each), info.mask) === 0);
      if (family === undefined) return [];
      const table: VppObject = { kind: 'redirect_table', family };
      handles.made(table, info.table_id);
      const sessions = await vpp.dump(classify_session_dump, { table_id: info.table_id });
      return [
        table,
        ...sessions.flatMap(({ match }): VppObject[] => {
          const rule = redirectFrom(family, match);
          return rule === undefined ? [] : [{ kind: 'redirect_rule', ...rule, interface: '', next_hop: '' }];
        }),
      ];
    }),
  );
  return observed.flat();
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
