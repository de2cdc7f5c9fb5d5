/** The sequences of requests that a real VPP and the stand-in have to answer alike, each on a VPP that was just started. */
import type { Dump, Request, Stream } from 'vpp-binapi-ts';
import { af_packet_create_v3, af_packet_delete, af_packet_dump } from 'vpp-binapi-ts/af_packet';
import { af_xdp_create_v3, af_xdp_delete } from 'vpp-binapi-ts/af_xdp';
import {
  proxy_arp_add_del,
  proxy_arp_dump,
  proxy_arp_intfc_dump,
  proxy_arp_intfc_enable_disable,
} from 'vpp-binapi-ts/arp';
import {
  classify_add_del_table,
  classify_session_dump,
  classify_table_by_interface,
  classify_table_ids,
  classify_table_info,
  input_acl_set_interface,
} from 'vpp-binapi-ts/classify';
import {
  cnat_get_snat_addresses,
  cnat_session_dump,
  cnat_session_purge,
  cnat_set_snat_addresses_v2,
  cnat_set_snat_policy,
  cnat_snat_addresses_dump,
  cnat_snat_policy_add_del_exclude_pfx,
  cnat_snat_policy_add_del_if,
  cnat_translation_del,
  cnat_translation_dump,
  cnat_translation_update,
  feature_cnat_enable_disable,
} from 'vpp-binapi-ts/cnat';
import { feature_is_enabled } from 'vpp-binapi-ts/feature';
import type { fib_path } from 'vpp-binapi-ts/fib_types';
import { feature_gso_enable_disable } from 'vpp-binapi-ts/gso';
import {
  create_loopback,
  delete_loopback,
  sw_interface_add_del_address,
  sw_interface_dump,
  sw_interface_get_mac_address,
  sw_interface_get_table,
  sw_interface_rx_placement_dump,
  sw_interface_set_flags,
  sw_interface_set_mac_address,
  sw_interface_set_mtu,
  sw_interface_set_promisc,
  sw_interface_set_rx_mode,
  sw_interface_set_rx_placement,
  sw_interface_set_table,
  sw_interface_tag_add_del,
  sw_interface_tx_placement_get,
} from 'vpp-binapi-ts/interface';
import {
  add_del_ip_punt_redirect_v2,
  ip_address_dump,
  ip_mroute_add_del,
  ip_mroute_dump,
  ip_mtable_dump,
  ip_punt_redirect_v2_dump,
  ip_route_add_del,
  ip_route_lookup_v2,
  ip_route_v2_dump,
  ip_table_add_del_v2,
  ip_table_allocate,
  ip_table_dump,
  sw_interface_ip6_enable_disable,
  sw_interface_ip6_get_link_local_address,
  sw_interface_ip6_set_link_local_address,
} from 'vpp-binapi-ts/ip';
import {
  ip_neighbor_add_del,
  ip_neighbor_config,
  ip_neighbor_config_get,
  ip_neighbor_dump,
} from 'vpp-binapi-ts/ip_neighbor';
import {
  ip_session_redirect_add_v2,
  ip_session_redirect_del,
  ip_session_redirect_dump,
} from 'vpp-binapi-ts/ip_session_redirect';
import { ip_ttl_fixup_configure } from 'vpp-binapi-ts/ip_ttl_fixup';
import { sw_interface_ip6nd_ra_config, sw_interface_ip6nd_ra_dump } from 'vpp-binapi-ts/ip6_nd';
import { punt_reason_dump, set_punt } from 'vpp-binapi-ts/punt';
import {
  sw_interface_tap_v2_dump,
  tap_create_v3,
  type tap_create_v3_in,
  tap_delete_v2,
} from 'vpp-binapi-ts/tapv2';
import { urpf_interface_dump, urpf_update_v2 } from 'vpp-binapi-ts/urpf';
import { cli_inband } from 'vpp-binapi-ts/vlib';

type Asked<In> = Request<In, unknown> | Dump<In, unknown> | Stream<In, unknown, unknown>;

export interface Step {
  readonly message: Asked<never>;
  readonly fields: object;
  /** VPP answers nothing to this one. */
  readonly unanswered?: true;
}

export interface Sequence {
  readonly name: string;
  readonly steps: readonly Step[];
  /** The answers depend on real namespaces and devices. */
  readonly devices?: true;
  /** The last step kills VPP. */
  readonly dies?: true;
}

function ask<In extends object>(message: Asked<In>, fields: NoInfer<In>): Step {
  return { message: message as Asked<never>, fields };
}

/** The namespace that taps go to: replaced by the path of one that exists. */
export const namespace_placeholder = '<pod>';

const none = 0xffff_ffff;
const ip4 = 'ADDRESS_IP4';
const ip6 = 'ADDRESS_IP6';

// Short forms for what most sequences do.

function path(more: Partial<Omit<fib_path, 'nh'>> & { readonly nh?: string } = {}): fib_path {
  const { nh, ...rest } = more;
  const v6 = nh?.includes(':') ?? rest.proto === 'FIB_API_PATH_NH_PROTO_IP6';
  return {
    sw_if_index: none,
    table_id: 0,
    rpf_id: none,
    weight: 1,
    preference: 0,
    type: 'FIB_API_PATH_TYPE_NORMAL',
    flags: 0,
    proto: v6 ? 'FIB_API_PATH_NH_PROTO_IP6' : 'FIB_API_PATH_NH_PROTO_IP4',
    nh: { address: nh ?? (v6 ? '::' : '0.0.0.0'), via_label: 0, obj_id: 0, classify_table_index: 0 },
    label_stack: [],
    ...rest,
  };
}

const via = (sw_if_index: number, nh?: string): fib_path => path({ sw_if_index, ...(nh && { nh }) });
const proto6 = { proto: 'FIB_API_PATH_NH_PROTO_IP6' } as const;

const table = (table_id: number, is_ip6: boolean, name: string, create_mfib = true): Step =>
  ask(ip_table_add_del_v2, { table: { table_id, is_ip6, name }, create_mfib, is_add: true });
const no_table = (table_id: number, is_ip6: boolean): Step =>
  ask(ip_table_add_del_v2, { table: { table_id, is_ip6, name: '' }, create_mfib: true, is_add: false });
const route = (table_id: number, prefix: string, paths: readonly fib_path[], is_multipath = false): Step =>
  ask(ip_route_add_del, { is_add: true, is_multipath, route: { table_id, stats_index: 0, prefix, paths } });
const no_route = (
  table_id: number,
  prefix: string,
  paths: readonly fib_path[] = [],
  is_multipath = false,
): Step =>
  ask(ip_route_add_del, { is_add: false, is_multipath, route: { table_id, stats_index: 0, prefix, paths } });
const routes = (table_id: number, is_ip6 = false): Step =>
  ask(ip_route_v2_dump, { src: 0, table: { table_id, is_ip6, name: '' } });
const mroutes = (table_id: number, is_ip6 = false): Step =>
  ask(ip_mroute_dump, { table: { table_id, is_ip6, name: '' } });
const address = (sw_if_index: number, prefix: string): Step =>
  ask(sw_interface_add_del_address, { sw_if_index, is_add: true, del_all: false, prefix });
const no_address = (sw_if_index: number, prefix: string): Step =>
  ask(sw_interface_add_del_address, { sw_if_index, is_add: false, del_all: false, prefix });
const addresses = (sw_if_index: number, is_ipv6 = false): Step =>
  ask(ip_address_dump, { sw_if_index, is_ipv6 });
const bind = (sw_if_index: number, is_ipv6: boolean, vrf_id: number): Step =>
  ask(sw_interface_set_table, { sw_if_index, is_ipv6, vrf_id });
const up = (sw_if_index: number, on = true): Step =>
  ask(sw_interface_set_flags, { sw_if_index, flags: on ? 1 : 0 });
const interfaces = (): Step => ask(sw_interface_dump, { name_filter_valid: false, name_filter: '' });
const tables = (): Step => ask(ip_table_dump, {});
const mtables = (): Step => ask(ip_mtable_dump, {});
const enable6 = (sw_if_index: number, enable = true): Step =>
  ask(sw_interface_ip6_enable_disable, { sw_if_index, enable });
const link_local = (sw_if_index: number): Step =>
  ask(sw_interface_ip6_get_link_local_address, { sw_if_index });
const neighbour = (
  sw_if_index: number,
  ip_address: string,
  mac_address: string,
  flags = 1,
  is_add = true,
): Step => ask(ip_neighbor_add_del, { is_add, neighbor: { sw_if_index, flags, mac_address, ip_address } });
const neighbours = (af: typeof ip4 | typeof ip6): Step => ask(ip_neighbor_dump, { sw_if_index: none, af });
const rx_mode = (sw_if_index: number, mode: 'ADAPTIVE' | 'DEFAULT' | 'INTERRUPT' | 'POLLING'): Step =>
  ask(sw_interface_set_rx_mode, {
    sw_if_index,
    queue_id_valid: false,
    queue_id: none,
    mode: `RX_MODE_API_${mode}`,
  });
const placements = (sw_if_index: number = none): Step => ask(sw_interface_rx_placement_dump, { sw_if_index });
const proxy_arp = (sw_if_index: number, enable: boolean): Step =>
  ask(proxy_arp_intfc_enable_disable, { sw_if_index, enable });
const ra = (sw_if_index: number, is_no = false): Step =>
  ask(sw_interface_ip6nd_ra_config, {
    sw_if_index,
    suppress: 1,
    managed: 0,
    other: 0,
    ll_option: 0,
    send_unicast: 0,
    cease: 0,
    is_no,
    default_router: 0,
    max_interval: 0,
    min_interval: 0,
    lifetime: 0,
    initial_count: 0,
    initial_interval: 0,
  });
const is_on = (sw_if_index: number, feature: string): Step => {
  const [arc_name = '', feature_name = ''] = feature.split('/');
  return ask(feature_is_enabled, { arc_name, feature_name, sw_if_index });
};
const cnat_feature = (sw_if_index: number, enable_disable = true): Step =>
  ask(feature_cnat_enable_disable, { sw_if_index, enable_disable });
const snat_addresses = (snat_ip4: string, snat_ip6: string, flags = 3): Step =>
  ask(cnat_set_snat_addresses_v2, {
    snat_ip4,
    snat_ip6,
    sw_if_index: none,
    fwd_fib_index: 0,
    ret_fib_index: 0,
    flags,
  });
const urpf = (
  sw_if_index: number,
  mode: 'OFF' | 'LOOSE' | 'STRICT',
  table_id: number,
  af: typeof ip4 | typeof ip6 = ip4,
): Step => ask(urpf_update_v2, { is_input: true, mode: `URPF_API_MODE_${mode}`, af, sw_if_index, table_id });
const urpfs = (): Step => ask(urpf_interface_dump, {});
const unicast = ['ip4-unicast/ip4-rx-urpf-loose', 'ip4-unicast/ip4-rx-urpf-strict'] as const;

function tap(more: Partial<tap_create_v3_in> = {}): Step {
  return ask(tap_create_v3, {
    use_random_mac: true,
    mac_address: '00:00:00:00:00:00',
    num_rx_queues: 1,
    num_tx_queues: 1,
    rx_ring_sz: 1024,
    tx_ring_sz: 1024,
    host_mtu_set: true,
    host_mtu_size: 1500,
    host_mac_addr_set: false,
    host_mac_addr: '00:00:00:00:00:00',
    host_ip4_prefix_set: false,
    host_ip4_prefix: '0.0.0.0/0',
    host_ip6_prefix_set: false,
    host_ip6_prefix: '::/0',
    host_ip4_gw_set: false,
    host_ip4_gw: '0.0.0.0',
    host_ip6_gw_set: false,
    host_ip6_gw: '::',
    tap_flags: 0,
    host_namespace_set: true,
    host_namespace: namespace_placeholder,
    host_if_name_set: true,
    host_if_name: 'eth0',
    host_bridge_set: false,
    host_bridge: '',
    tag: 'tag',
    ...more,
  });
}
const tun = (more: Partial<tap_create_v3_in> = {}): Step => tap({ tap_flags: 61, ...more });
const no_tap = (sw_if_index: number): Step => ask(tap_delete_v2, { sw_if_index });
const taps = (): Step => ask(sw_interface_tap_v2_dump, {});

const af_packet = (host_if_name: string): Step =>
  ask(af_packet_create_v3, {
    mode: 'AF_PACKET_API_MODE_ETHERNET',
    hw_addr: '02:11:22:33:44:55',
    use_random_hw_addr: false,
    host_if_name,
    rx_frame_size: 0,
    tx_frame_size: 0,
    rx_frames_per_block: 1024,
    tx_frames_per_block: 1024,
    flags: 0,
    num_rx_queues: 1,
    num_tx_queues: 1,
  });

const af_xdp = (host_if: string, rxq_size = 1024): Step =>
  ask(af_xdp_create_v3, {
    host_if,
    name: '',
    rxq_num: 1,
    rxq_size,
    txq_size: 1024,
    mode: 'AF_XDP_API_MODE_AUTO',
    flags: 0,
    prog: '',
    netns: '',
  });
const mac = (sw_if_index: number, mac_address: string): Step =>
  ask(sw_interface_set_mac_address, { sw_if_index, mac_address });

function mroute(
  table_id: number,
  group: string,
  paths: readonly { readonly itf_flags: number; readonly path: fib_path }[],
  more: { readonly is_add?: boolean; readonly entry_flags?: number } = {},
): Step {
  const [grp_address = '', length] = group.split('/');
  const v6 = grp_address.includes(':');
  return ask(ip_mroute_add_del, {
    is_add: more.is_add ?? true,
    is_multipath: false,
    route: {
      table_id,
      entry_flags: more.entry_flags ?? 0,
      rpf_id: 0,
      prefix: {
        af: v6 ? ip6 : ip4,
        grp_address_length: Number(length),
        grp_address,
        src_address: v6 ? '::' : '0.0.0.0',
      },
      paths,
    },
  });
}

const endpoint = (addr: string, port: number) => ({ addr, port, sw_if_index: none, if_af: ip4 }) as const;
function translation(
  vip: string,
  port: number,
  backends: readonly string[],
  more: { readonly lb_type?: 'CNAT_LB_TYPE_MAGLEV' } = {},
): Step {
  return ask(cnat_translation_update, {
    translation: {
      vip: endpoint(vip, port),
      id: none,
      ip_proto: 'IP_API_PROTO_TCP',
      is_real_ip: 1,
      flags: 9,
      lb_type: more.lb_type ?? 'CNAT_LB_TYPE_DEFAULT',
      flow_hash_config: 0,
      paths: backends.map((backend) => ({
        dst_ep: endpoint(backend, 8080),
        src_ep: endpoint('0.0.0.0', 0),
        flags: 0,
      })),
    },
  });
}

const mask = Uint8Array.from({ length: 32 }, (_, at) =>
  at === 9 || (at >= 16 && at < 20) || at === 22 || at === 23 ? 0xff : 0,
);
const match = Uint8Array.from(
  { length: 80 },
  (_, at) => ({ 9: 17, 16: 10, 17: 96, 19: 10, 23: 53 })[at] ?? 0,
);
const classifier = (more: { readonly is_add?: boolean; readonly table_index?: number } = {}): Step =>
  ask(classify_add_del_table, {
    is_add: more.is_add ?? true,
    del_chain: false,
    table_index: more.table_index ?? none,
    nbuckets: 2,
    memory_size: 65536,
    skip_n_vectors: 0,
    match_n_vectors: 2,
    next_table_index: none,
    miss_next_index: none,
    current_data_flag: 1,
    current_data_offset: 0,
    mask,
  });
const redirect = (table_index: number, paths: readonly fib_path[]): Step =>
  ask(ip_session_redirect_add_v2, {
    table_index,
    opaque_index: 0,
    proto: 'FIB_API_PATH_NH_PROTO_IP4',
    is_punt: false,
    match_len: 28,
    match,
    paths,
  });
const input_acl = (sw_if_index: number, ip4_table_index: number, is_add = true): Step =>
  ask(input_acl_set_interface, {
    sw_if_index,
    ip4_table_index,
    ip6_table_index: none,
    l2_table_index: none,
    is_add,
  });

const punt_redirect = (af: typeof ip4 | typeof ip6, paths: readonly fib_path[], is_add = true): Step =>
  ask(add_del_ip_punt_redirect_v2, { is_add, punt: { rx_sw_if_index: none, af, paths } });
const punt_redirects = (af: typeof ip4 | typeof ip6): Step =>
  ask(ip_punt_redirect_v2_dump, { sw_if_index: none, af });
const punt_l4 = (
  protocol: 'IP_API_PROTO_TCP' | 'IP_API_PROTO_UDP' | 'IP_API_PROTO_SCTP',
  is_add = true,
): Step =>
  ask(set_punt, {
    is_add,
    punt: { type: 'PUNT_API_TYPE_L4', punt: { l4: { af: ip4, protocol, port: 65535 } } },
  });

/** A request whose count of paths is larger than the message. */
const truncated_route: typeof ip_route_add_del = {
  ...ip_route_add_del,
  encode(to, at, value) {
    const n_paths_at = at + 28;
    const end = ip_route_add_del.encode(to, at, value);
    to.bytes[n_paths_at] = 5;
    return end;
  },
};

export const sequences: readonly Sequence[] = [
  {
    name: 'a VPP that was just started has the default tables, local0 and the routes of its own',
    steps: [
      interfaces(),
      tables(),
      mtables(),
      ...[false, true].flatMap((v6) => [routes(0, v6), mroutes(0, v6)]),
      ask(ip_neighbor_config_get, { af: ip4 }),
      ask(punt_reason_dump, { reason: { id: 0, name: '' } }),
      ask(punt_reason_dump, { reason: { id: 0, name: 'ipsec4-no-such-tunnel' } }),
      punt_redirects(ip4),
      ask(cnat_get_snat_addresses, {}),
      ask(cnat_snat_addresses_dump, {}),
      ask(cnat_translation_dump, {}),
      ask(classify_table_ids, {}),
      urpfs(),
      taps(),
      placements(),
      ask(cli_inband, { cmd: 'nonsense' }),
    ],
  },
  {
    name: 'a table is added once, keeps its name, and goes when nothing needs it',
    steps: [
      table(7, false, 'first'),
      table(7, false, 'second'),
      table(8, true, ''),
      table(9, false, 'no multicast', false),
      table(0, false, 'default'),
      ask(ip_table_allocate, { table: { table_id: 7, is_ip6: false, name: 'third' } }),
      tables(),
      mtables(),
      routes(7),
      routes(8, true),
      no_table(7, false),
      no_table(99, false),
      no_table(0, false),
      tables(),
      mtables(),
      routes(7),
      route(7, '10.0.0.0/8', [path()]),
      route(0, '10.0.0.0/8', [path({ table_id: 7 })]),
    ],
  },
  {
    name: 'a table that was deleted lives on while a route or an interface leads into it',
    steps: [
      tun(),
      table(7, false, 'looked up'),
      route(0, '10.7.0.0/16', [path({ table_id: 7 })]),
      no_table(7, false),
      tables(),
      routes(0),
      no_route(0, '10.7.0.0/16'),
      tables(),
      table(8, false, 'bound'),
      bind(1, false, 8),
      no_table(8, false),
      tables(),
      mtables(),
      table(8, false, 'again'),
      tables(),
      no_table(8, false),
      bind(1, false, 0),
      tables(),
      table(9, false, 'redirected to'),
      punt_redirect(ip4, [path({ table_id: 9 })]),
      no_table(9, false),
      tables(),
      punt_redirects(ip4),
      punt_redirect(ip4, [], false),
      tables(),
    ],
  },
  {
    name: 'the next IPv4 table in the slot of one that was deleted with routes has these routes',
    steps: [
      table(7, false, 'with a route'),
      route(7, '10.7.0.0/16', [path()]),
      no_table(7, false),
      tables(),
      table(8, false, 'another'),
      routes(8),
      table(7, true, 'with a route'),
      route(7, 'fd07::/16', [path(proto6)]),
      no_table(7, true),
      table(8, true, 'another'),
      routes(8, true),
    ],
  },
  {
    name: 'a tap is shown as it was asked for',
    steps: [
      tap({
        use_random_mac: false,
        mac_address: '02:ca:11:c0:fd:00',
        host_mac_addr_set: true,
        host_mac_addr: '02:11:22:33:44:55',
      }),
      tun({ host_if_name: 'eth1', tag: 'pod' }),
      tap({
        host_if_name: 'eth2',
        num_rx_queues: 2,
        num_tx_queues: 2,
        rx_ring_sz: 0,
        tx_ring_sz: 0,
        host_mtu_set: false,
        tap_flags: 33,
        tag: '',
      }),
      interfaces(),
      taps(),
      placements(),
      placements(2),
      ask(sw_interface_tx_placement_get, { cursor: 0, sw_if_index: none }),
      ask(sw_interface_dump, { name_filter_valid: true, name_filter: 'tun' }),
      ask(sw_interface_get_mac_address, { sw_if_index: 1 }),
      rx_mode(1, 'ADAPTIVE'),
      rx_mode(2, 'INTERRUPT'),
      rx_mode(2, 'DEFAULT'),
      rx_mode(99, 'ADAPTIVE'),
      ask(sw_interface_set_rx_placement, { sw_if_index: 1, queue_id: 0, worker_id: 0, is_main: false }),
      ask(sw_interface_set_rx_placement, { sw_if_index: 1, queue_id: 5, worker_id: 0, is_main: false }),
      ask(sw_interface_set_rx_placement, { sw_if_index: 1, queue_id: 0, worker_id: 4, is_main: false }),
      placements(),
      ask(sw_interface_set_mtu, { sw_if_index: 2, mtu: [9216, 0, 0, 0] }),
      ask(sw_interface_set_promisc, { sw_if_index: 1, promisc_on: true }),
      ask(sw_interface_tag_add_del, { is_add: true, sw_if_index: 3, tag: 'new' }),
      up(1),
      interfaces(),
      ask(sw_interface_tag_add_del, { is_add: false, sw_if_index: 3, tag: '' }),
      no_tap(2),
      no_tap(2),
      no_tap(0),
      interfaces(),
      tap({ host_if_name: 'eth3', id: 0 }),
      tap({ host_if_name: 'eth3', id: 7 }),
      tun({ host_if_name: 'eth4' }),
      tun({ host_if_name_set: false }),
      tun({ host_if_name: 'a-name-of-20-letters' }),
      interfaces(),
      taps(),
    ],
  },
  {
    name: 'what the kernel refuses is told by the retval',
    devices: true,
    steps: [
      tap(),
      tap(),
      tap({ host_if_name: 'lo' }),
      tap({ host_if_name: 'eth1', host_namespace: '/no/such/namespace' }),
      tap({ host_if_name: 'eth1', host_namespace: 'no-such-name' }),
      tap({ host_if_name: 'eth1', host_namespace: '/etc/passwd' }),
      tap({ host_if_name: 'eth1', rx_ring_sz: 1000 }),
      tap({ host_if_name: 'eth1', rx_ring_sz: 32 }),
      tap({ host_if_name: 'eth2', host_mtu_size: 0 }),
      tap({ host_if_name: 'eth2', host_mtu_size: 70_000 }),
      tap({ host_if_name: 'eth2', host_mtu_size: 9500 }),
      interfaces(),
    ],
  },
  {
    name: 'every message that names an interface refuses one that is not there',
    steps: [
      up(99),
      bind(99, false, 0),
      bind(0, false, 77),
      address(99, '10.0.0.1/32'),
      address(0, '10.0.0.1/32'),
      addresses(99),
      enable6(99),
      ra(99),
      link_local(99),
      ask(sw_interface_ip6_set_link_local_address, { sw_if_index: 99, ip: 'fe80::1' }),
      ask(sw_interface_set_mtu, { sw_if_index: 99, mtu: [9216, 0, 0, 0] }),
      ask(sw_interface_set_promisc, { sw_if_index: 99, promisc_on: true }),
      ask(sw_interface_tag_add_del, { is_add: true, sw_if_index: 99, tag: 'x' }),
      ask(sw_interface_get_table, { sw_if_index: 99, is_ipv6: true }),
      cnat_feature(99),
      ask(feature_gso_enable_disable, { sw_if_index: 99, enable_disable: true }),
      is_on(99, 'ip4-unicast/ip4-not-enabled'),
      proxy_arp(99, true),
      urpf(99, 'LOOSE', 0),
      input_acl(99, 0),
      neighbour(99, '10.0.0.1', '02:00:00:00:00:01'),
      route(0, '10.0.0.0/8', [via(99, '10.0.0.1')]),
      no_route(0, '10.0.0.0/8', [via(99, '10.0.0.1')]),
      mroute(0, '232.0.0.0/8', [{ itf_flags: 4, path: path({ sw_if_index: 99 }) }]),
      placements(99),
      ask(sw_interface_dump, { sw_if_index: 99, name_filter_valid: false, name_filter: '' }),
      ask(cnat_snat_policy_add_del_if, { sw_if_index: 99, is_add: 1, table: 'CNAT_POLICY_POD' }),
    ],
  },
  {
    name: 'addresses bring their routes while the interface is up, and may not overlap',
    steps: [
      tap(),
      tap({ host_if_name: 'eth1' }),
      address(1, '10.0.0.2/24'),
      routes(0),
      mroutes(0),
      up(1),
      routes(0),
      address(1, 'fd00::2/64'),
      routes(0, true),
      mroutes(0, true),
      link_local(2),
      address(1, '10.0.0.2/24'),
      address(1, '10.0.0.9/24'),
      address(1, '10.0.0.9/32'),
      address(1, '10.0.0.2/25'),
      address(2, '10.0.0.7/24'),
      address(2, '10.0.0.0/16'),
      address(1, 'fd00::2/64'),
      address(1, 'fd00::9/128'),
      address(1, 'fd00::9/64'),
      addresses(1),
      addresses(1, true),
      routes(0),
      no_address(1, '10.0.0.77/24'),
      no_address(1, '10.0.0.2/24'),
      routes(0),
      address(2, '10.1.0.0/31'),
      address(2, '10.2.0.1/30'),
      address(2, '10.3.0.1/32'),
      address(2, 'fd01::1/127'),
      address(2, 'fd02::1/128'),
      up(2),
      routes(0),
      routes(0, true),
      up(2, false),
      routes(0),
      bind(1, false, 0),
      ask(sw_interface_add_del_address, {
        sw_if_index: 2,
        is_add: false,
        del_all: true,
        prefix: '0.0.0.0/0',
      }),
      addresses(2),
      addresses(2, true),
      no_tap(1),
      routes(0),
      routes(0, true),
      mroutes(0),
    ],
  },
  {
    name: 'IPv6 is on as long as something needs it, with a link-local address that can be set',
    steps: [
      tap({ use_random_mac: false, mac_address: '02:ca:11:c0:fd:00' }),
      tun({ host_if_name: 'eth1' }),
      link_local(1),
      ra(1),
      enable6(1),
      enable6(1),
      link_local(1),
      mroutes(0, true),
      ask(sw_interface_ip6nd_ra_dump, { sw_if_index: 1 }),
      ra(1, true),
      ask(sw_interface_ip6nd_ra_dump, { sw_if_index: none }),
      ra(1),
      ask(sw_interface_ip6nd_ra_dump, { sw_if_index: 1 }),
      ask(sw_interface_ip6_set_link_local_address, { sw_if_index: 1, ip: 'fe80::1' }),
      link_local(1),
      address(1, 'fe80::2/128'),
      link_local(1),
      address(1, 'fe80::3/64'),
      no_address(1, 'fe80::2/128'),
      no_address(1, 'fe80::9/128'),
      addresses(1, true),
      address(1, 'fd00::1/128'),
      enable6(1, false),
      enable6(1, false),
      link_local(1),
      no_address(1, 'fd00::1/128'),
      link_local(1),
      enable6(1, false),
      enable6(2),
      ra(2),
      ask(sw_interface_ip6nd_ra_dump, { sw_if_index: 2 }),
      ask(sw_interface_ip6_set_link_local_address, { sw_if_index: 2, ip: 'fe80::5' }),
      link_local(2),
    ],
  },
  {
    name: 'routes are replaced whole, completed, and masked only when they are compared',
    steps: [
      tap(),
      up(1),
      address(1, '10.0.0.2/24'),
      table(5, false, 'other'),
      route(0, '0.0.0.0/0', [via(1, '10.0.0.1')]),
      route(0, '::/0', [via(1, 'fd00::1')]),
      route(0, '10.5.0.0/16', [via(1)]),
      route(0, '10.6.0.1/32', [via(1)]),
      route(0, 'fd06::1/128', [path({ sw_if_index: 1, ...proto6 })]),
      route(0, 'fd07::1/64', [path({ sw_if_index: 1, ...proto6 })]),
      route(0, '10.7.0.0/16', [path({ type: 'FIB_API_PATH_TYPE_DROP' })]),
      route(0, '10.8.1.2/16', [via(1, '10.0.0.1'), path({ sw_if_index: 1, nh: '10.0.0.5', weight: 2 })]),
      route(0, '10.9.0.0/16', [path({ table_id: 5 })]),
      route(0, '10.9.1.0/24', [path({ table_id: 77 })]),
      route(0, '10.9.2.0/24', []),
      route(77, '10.9.2.0/24', [path()]),
      route(0, '10.9.3.0/24', [path({ sw_if_index: 1, nh: '10.0.0.1', weight: 0 })]),
      route(0, '10.9.4.0/24', [path({ sw_if_index: 1, nh: '10.0.0.1', rpf_id: 0 })]),
      route(0, '10.9.5.0/24', [path({ sw_if_index: 1, nh: '10.0.0.1', rpf_id: 5 })]),
      route(0, '10.9.6.0/24', [path({ nh: '10.0.0.1' })]),
      route(0, '10.9.7.0/24', [path({ type: 'FIB_API_PATH_TYPE_ICMP_UNREACH' })]),
      route(0, '255.255.255.255/32', [
        path({ sw_if_index: 1, ...proto6, nh: 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff' }),
      ]),
      routes(0),
      routes(0, true),
      route(0, '10.8.0.0/16', [via(1, '10.0.0.7')]),
      no_route(0, '10.44.0.0/16', [via(1, '10.0.0.1')]),
      no_route(0, '10.5.0.0/16', [path({ table_id: 77 })]),
      no_route(0, '10.5.0.0/16'),
      no_route(0, '10.6.0.1/32', [path()]),
      no_route(0, '0.0.0.0/0'),
      routes(0),
      ask(ip_route_lookup_v2, { table_id: 0, exact: 1, prefix: '10.7.0.0/16' }),
      ask(ip_route_lookup_v2, { table_id: 0, exact: 1, prefix: '10.7.0.0/17' }),
      ask(ip_route_lookup_v2, { table_id: 0, exact: 0, prefix: '10.7.0.0/17' }),
      ask(ip_route_lookup_v2, { table_id: 77, exact: 0, prefix: '10.7.0.0/17' }),
      route(0, '10.3.0.0/24', [via(1, '10.0.0.1')]),
      route(0, '10.3.0.0/24', [via(1, '10.0.0.5')], true),
      routes(0),
      no_route(0, '10.3.0.0/24', [via(1, '10.0.0.1')], true),
      no_route(0, '10.3.0.0/24', [], true),
      routes(0),
      no_route(0, '10.3.0.0/24', [via(1, '10.0.0.5')], true),
      routes(0),
    ],
  },
  {
    name: 'routes through a deleted interface stay, and the next interface takes its index',
    steps: [
      tun(),
      tun({ host_if_name: 'eth1' }),
      route(0, '10.1.0.1/32', [via(1, '10.1.0.1')]),
      route(0, '10.1.0.2/32', [via(2, '10.1.0.2')]),
      no_tap(1),
      no_tap(2),
      routes(0),
      route(0, '10.1.0.3/32', [via(1, '10.1.0.3')]),
      no_route(0, '10.1.0.1/32', [via(1, '10.1.0.1')]),
      routes(0),
      no_route(0, '10.1.0.1/32', [path()]),
      routes(0),
      tun({ host_if_name: 'eth2', tag: 'third' }),
      interfaces(),
      route(0, '10.1.0.2/32', [via(2, '10.1.0.2')]),
      no_route(0, '10.1.0.2/32'),
      routes(0),
    ],
  },
  {
    name: 'multicast routes are added to, need two messages to go, and are hidden by those of VPP',
    steps: [
      tap(),
      tap({ host_if_name: 'eth1' }),
      table(7, false, 'm4'),
      table(7, true, 'm6'),
      table(8, false, 'unicast', false),
      ...['ff02::1/128', 'ff02::1:2/128'].map((group) =>
        mroute(7, group, [
          { itf_flags: 6, path: path({ sw_if_index: 2, ...proto6 }) },
          { itf_flags: 2, path: path({ sw_if_index: 1, ...proto6 }) },
        ]),
      ),
      mroute(7, '224.0.0.0/4', [{ itf_flags: 4, path: path({ rpf_id: 7 }) }], { entry_flags: 8 }),
      mroute(7, '232.0.0.0/8', [{ itf_flags: 4, path: path({ table_id: 8, rpf_id: 7 }) }], {
        entry_flags: 8,
      }),
      mroute(77, '232.0.0.0/8', [{ itf_flags: 4, path: path() }]),
      mroute(7, 'ff00::/8', [{ itf_flags: 4, path: path({ rpf_id: 7, ...proto6 }) }], { entry_flags: 8 }),
      mroutes(7),
      mroutes(7, true),
      mroute(7, 'ff02::1:2/128', [{ itf_flags: 6, path: path({ sw_if_index: 2, ...proto6 }) }], {
        is_add: false,
      }),
      mroutes(7, true),
      mroute(7, 'ff02::1:2/128', [{ itf_flags: 2, path: path({ sw_if_index: 1, ...proto6 }) }], {
        is_add: false,
      }),
      mroutes(7, true),
      mroute(7, '224.0.0.0/4', [{ itf_flags: 4, path: path({ rpf_id: 7 }) }], { is_add: false }),
      mroutes(7),
      mroute(7, '224.0.0.0/4', [], { is_add: false }),
      mroutes(7),
      mroute(7, '226.0.0.0/8', [], { is_add: false }),
      bind(1, true, 7),
      enable6(1),
      mroutes(7, true),
      no_tap(1),
      no_table(7, false),
      no_table(7, true),
      mtables(),
      table(7, false, 'm4'),
      table(7, true, 'm6'),
      mroutes(7),
      mroutes(7, true),
    ],
  },
  {
    name: 'neighbours: a static one is not overwritten by a dynamic one, and all go with the interface',
    steps: [
      tap(),
      up(1),
      address(1, '10.0.0.2/24'),
      neighbour(1, '10.0.0.50', '02:00:00:00:00:01'),
      neighbour(1, '10.0.0.50', '02:00:00:00:00:02'),
      neighbour(1, '10.0.0.50', '02:00:00:00:00:03', 0),
      neighbour(1, '10.66.0.50', '02:00:00:00:00:01'),
      neighbour(1, '10.67.0.50', '02:00:00:00:00:01', 3),
      neighbour(1, '10.0.0.51', '02:00:00:00:00:01', 0),
      neighbour(1, 'fe80::77', '02:00:00:00:00:01'),
      neighbour(1, 'fd00::77', '02:00:00:00:00:01'),
      neighbours(ip4),
      neighbours(ip6),
      routes(0),
      routes(0, true),
      neighbour(1, '10.0.0.50', '02:00:00:00:00:02', 1, false),
      neighbour(1, '10.0.0.99', '02:00:00:00:00:02', 1, false),
      neighbours(ip4),
      routes(0),
      no_tap(1),
      neighbours(ip4),
      neighbours(ip6),
      routes(0),
      routes(0, true),
      ask(ip_neighbor_config, { af: ip4, max_number: 4000, max_age: 30, recycle: true }),
      ask(ip_neighbor_config_get, { af: ip4 }),
      ask(ip_neighbor_config_get, { af: ip6 }),
    ],
  },
  {
    name: 'punting: redirects and protocols',
    steps: [
      table(1, false, 'punt-table-ip4'),
      punt_redirect(ip4, [path({ table_id: 1 })]),
      punt_redirect(ip4, [path({ table_id: 1 })]),
      punt_redirect(ip6, [path({ table_id: 77, ...proto6 })]),
      punt_redirects(ip4),
      punt_redirects(ip6),
      ask(ip_punt_redirect_v2_dump, { sw_if_index: 0, af: ip4 }),
      punt_redirect(ip4, [], false),
      punt_redirect(ip4, [], false),
      punt_redirects(ip4),
      punt_l4('IP_API_PROTO_TCP'),
      punt_l4('IP_API_PROTO_TCP'),
      punt_l4('IP_API_PROTO_UDP'),
      punt_l4('IP_API_PROTO_SCTP'),
      punt_l4('IP_API_PROTO_UDP', false),
    ],
  },
  {
    name: 'proxy ARP that was not turned off stays off on the next interface with that index',
    steps: [
      tap(),
      table(7, false, 'proxied'),
      ask(proxy_arp_add_del, { is_add: true, proxy: { table_id: 7, low: '0.0.0.0', hi: '255.255.255.255' } }),
      ask(proxy_arp_add_del, { is_add: true, proxy: { table_id: 7, low: '0.0.0.0', hi: '255.255.255.255' } }),
      ask(proxy_arp_add_del, {
        is_add: true,
        proxy: { table_id: 77, low: '0.0.0.0', hi: '255.255.255.255' },
      }),
      ask(proxy_arp_dump, {}),
      ask(proxy_arp_add_del, {
        is_add: false,
        proxy: { table_id: 7, low: '0.0.0.0', hi: '255.255.255.254' },
      }),
      proxy_arp(1, true),
      ask(proxy_arp_intfc_dump, {}),
      is_on(1, 'arp/arp-proxy'),
      no_tap(1),
      ask(proxy_arp_intfc_dump, {}),
      tap(),
      proxy_arp(1, true),
      is_on(1, 'arp/arp-proxy'),
      proxy_arp(1, false),
      proxy_arp(1, true),
      is_on(1, 'arp/arp-proxy'),
      no_table(7, false),
      ask(proxy_arp_dump, {}),
      table(8, false, 'in its slot'),
      ask(proxy_arp_dump, {}),
    ],
  },
  {
    name: 'uRPF that was not turned off stays off on the next interface with that index, and follows the slot of its table',
    steps: [
      tun(),
      table(7, false, 'sources'),
      urpf(1, 'LOOSE', 7),
      urpf(1, 'STRICT', 0, ip6),
      urpf(1, 'STRICT', 77, ip6),
      urpfs(),
      ...unicast.map((feature) => is_on(1, feature)),
      urpf(1, 'STRICT', 0),
      ...unicast.map((feature) => is_on(1, feature)),
      urpf(1, 'OFF', 0),
      urpfs(),
      ...unicast.map((feature) => is_on(1, feature)),
      urpf(1, 'LOOSE', 7),
      no_table(7, false),
      urpfs(),
      table(8, false, 'in its slot'),
      urpfs(),
      no_tap(1),
      urpfs(),
      tun(),
      urpfs(),
      urpf(1, 'LOOSE', 8),
      ...unicast.map((feature) => is_on(1, feature)),
      urpf(1, 'OFF', 0),
      urpf(1, 'LOOSE', 8),
      ...unicast.map((feature) => is_on(1, feature)),
      ask(urpf_interface_dump, { sw_if_index: 0 }),
    ],
  },
  {
    name: 'features are counted, and what VPP knows nothing about counts as enabled',
    steps: [
      tun(),
      is_on(1, 'ip4-output/cnat-output-ip4'),
      is_on(1, 'ip4-output/gso-ip4'),
      is_on(1, 'ip4-unicast/ip4-not-enabled'),
      is_on(1, 'no-such-arc/no-such-node'),
      is_on(1, 'ip4-unicast/no-such-node'),
      cnat_feature(1),
      cnat_feature(1),
      is_on(1, 'ip4-output/gso-ip4'),
      cnat_feature(1, false),
      ...[
        'ip4-unicast/cnat-input-ip4',
        'ip6-unicast/cnat-lookup-ip6',
        'ip6-output/cnat-output-ip6',
        'ip4-output/cnat-writeback-ip4',
      ].map((feature) => is_on(1, feature)),
      cnat_feature(1, false),
      is_on(1, 'ip4-unicast/cnat-input-ip4'),
      cnat_feature(1, false),
      cnat_feature(1),
      is_on(1, 'ip4-unicast/cnat-input-ip4'),
      ask(feature_gso_enable_disable, { sw_if_index: 1, enable_disable: true }),
      ask(feature_gso_enable_disable, { sw_if_index: 1, enable_disable: true }),
      ask(feature_gso_enable_disable, { sw_if_index: 1, enable_disable: false }),
      is_on(1, 'ip6-output/gso-ip6'),
      address(1, '10.0.0.1/32'),
      is_on(1, 'ip4-unicast/ip4-not-enabled'),
      is_on(1, 'ip6-unicast/ip6-not-enabled'),
      is_on(1, 'arp/arp-proxy'),
      no_tap(1),
      tun(),
      is_on(1, 'ip4-unicast/cnat-input-ip4'),
      is_on(1, 'ip4-output/gso-ip4'),
      is_on(1, 'ip4-unicast/ip4-not-enabled'),
    ],
  },
  {
    name: 'source NAT wants its addresses first',
    steps: [
      tun(),
      ask(cnat_set_snat_policy, { policy: 'CNAT_POLICY_K8S' }),
      ask(cnat_snat_policy_add_del_exclude_pfx, { is_add: 1, prefix: '10.0.0.0/8' }),
      ask(cnat_snat_policy_add_del_if, { sw_if_index: 1, is_add: 1, table: 'CNAT_POLICY_POD' }),
      snat_addresses('0.0.0.0', '::'),
      snat_addresses('10.0.0.2', 'fd00::2'),
      ask(cnat_get_snat_addresses, {}),
      ask(cnat_snat_addresses_dump, {}),
      ask(cnat_set_snat_policy, { policy: 'CNAT_POLICY_K8S' }),
      ...[1, 1, 0, 0].map((is_add) =>
        ask(cnat_snat_policy_add_del_exclude_pfx, { is_add, prefix: '10.96.0.0/12' }),
      ),
      ask(cnat_snat_policy_add_del_if, { sw_if_index: 1, is_add: 1, table: 'CNAT_POLICY_INCLUDE_V4' }),
      snat_addresses('10.0.0.3', 'fd00::3'),
      ask(cnat_get_snat_addresses, {}),
    ],
  },
  {
    name: 'translations: an update keeps the id and ignores what cannot change',
    steps: [
      snat_addresses('10.0.0.2', 'fd00::2'),
      translation('10.0.0.2', 80, ['10.1.0.5']),
      translation('10.0.0.2', 81, ['10.1.0.5', '10.1.0.6'], { lb_type: 'CNAT_LB_TYPE_MAGLEV' }),
      translation('10.0.0.2', 80, ['10.1.0.7'], { lb_type: 'CNAT_LB_TYPE_MAGLEV' }),
      ask(cnat_translation_dump, {}),
      ask(cnat_translation_del, { id: 0 }),
      ask(cnat_translation_del, { id: 0 }),
      translation('10.0.0.3', 80, ['10.1.0.5']),
      ask(cnat_translation_dump, {}),
      ask(cnat_session_dump, {}),
      ask(cnat_session_purge, {}),
    ],
  },
  {
    name: 'the classifier: tables and sessions outlive what uses them, and so does the input ACL of an interface',
    steps: [
      tun(),
      classifier(),
      classifier(),
      ask(classify_table_ids, {}),
      ask(classify_table_info, { table_id: 0 }),
      ask(classify_table_info, { table_id: 9 }),
      redirect(0, [via(1, '10.0.0.2')]),
      redirect(0, [via(1, '10.0.0.3')]),
      redirect(9, [via(1, '10.0.0.2')]),
      redirect(0, []),
      ask(ip_session_redirect_dump, { table_index: 0 }),
      ask(ip_session_redirect_dump, { table_index: none }),
      ask(classify_table_info, { table_id: 0 }),
      ask(classify_session_dump, { table_id: 0 }),
      ask(ip_session_redirect_del, { table_index: 0, match: match.slice(0, 32) }),
      ask(ip_session_redirect_del, { table_index: 0, match: match.slice(0, 28) }),
      ask(classify_table_info, { table_id: 0 }),
      input_acl(1, 0),
      input_acl(1, 1),
      input_acl(1, 9),
      is_on(1, 'ip4-unicast/ip4-inacl'),
      ask(classify_table_by_interface, { sw_if_index: 1 }),
      input_acl(1, 1, false),
      input_acl(1, 0, false),
      input_acl(1, 0, false),
      ask(classify_table_by_interface, { sw_if_index: 1 }),
      input_acl(1, 0),
      no_tap(1),
      tun(),
      ask(classify_table_by_interface, { sw_if_index: 1 }),
      input_acl(1, 0),
      is_on(1, 'ip4-unicast/ip4-inacl'),
      classifier({ is_add: false, table_index: 1 }),
      classifier({ is_add: false, table_index: 1 }),
      classifier(),
      ask(classify_table_ids, {}),
    ],
  },
  {
    name: 'a multicast table that was added twice has to be deleted twice',
    steps: [
      table(7, false, 'a'),
      table(7, false, 'a'),
      no_table(7, false),
      tables(),
      mtables(),
      no_table(7, false),
      mtables(),
    ],
  },
  {
    name: 'loopbacks',
    steps: [
      ask(create_loopback, { mac_address: '00:00:00:00:00:00' }),
      ask(create_loopback, { mac_address: '02:00:00:00:00:01' }),
      up(1),
      interfaces(),
      ask(delete_loopback, { sw_if_index: 1 }),
      ask(delete_loopback, { sw_if_index: 1 }),
      ask(create_loopback, { mac_address: '00:00:00:00:00:00' }),
      interfaces(),
      no_tap(1),
    ],
  },
  {
    name: 'af_xdp: one for each device',
    devices: true,
    steps: [
      af_xdp('up0'),
      af_xdp('up0'),
      af_xdp('no-such-device'),
      interfaces(),
      placements(),
      rx_mode(1, 'ADAPTIVE'),
      placements(),
      mac(1, '02:11:22:33:44:66'),
      interfaces(),
      no_tap(1),
      ask(af_xdp_delete, { sw_if_index: 1 }),
      ask(af_xdp_delete, { sw_if_index: 1 }),
      ask(af_xdp_delete, { sw_if_index: 0 }),
      interfaces(),
      af_xdp('up0', 1000),
    ],
  },
  {
    name: 'MACs of Ethernet interfaces can be changed, others have none',
    steps: [
      tap(),
      tun({ host_if_name: 'eth1' }),
      ask(create_loopback, { mac_address: '00:00:00:00:00:00' }),
      ...[0, 1, 2, 3, 99].map((sw_if_index) => mac(sw_if_index, '02:11:22:33:44:66')),
      enable6(1),
      link_local(1),
      mac(1, '02:11:22:33:44:77'),
      link_local(1),
      interfaces(),
    ],
  },
  {
    name: 'af_packet: one for each device',
    devices: true,
    steps: [
      af_packet('up0'),
      af_packet('up0'),
      af_packet('no-such-device'),
      ask(af_packet_dump, {}),
      interfaces(),
      placements(),
      rx_mode(1, 'ADAPTIVE'),
      rx_mode(1, 'POLLING'),
      rx_mode(1, 'DEFAULT'),
      placements(),
      ask(af_packet_delete, { host_if_name: 'no-such-device' }),
      ask(af_packet_delete, { host_if_name: 'up0' }),
      interfaces(),
    ],
  },
  {
    name: 'a pod, made and removed in the order of this product',
    steps: [
      snat_addresses('10.0.0.2', 'fd00::2'),
      table(2, false, 'calico-pods-ip4'),
      table(2, true, 'calico-pods-ip6'),
      table(16_777_216, false, 'pod-ip4'),
      table(16_777_216, true, 'pod-ip6'),
      tun({ tag: 'pod' }),
      bind(1, false, 16_777_216),
      bind(1, true, 16_777_216),
      ask(sw_interface_set_mtu, { sw_if_index: 1, mtu: [9216, 0, 0, 0] }),
      rx_mode(1, 'ADAPTIVE'),
      ask(cnat_snat_policy_add_del_if, { sw_if_index: 1, is_add: 1, table: 'CNAT_POLICY_POD' }),
      cnat_feature(1),
      up(1),
      address(1, '169.254.1.1/32'),
      address(1, 'fdca:11c0::1/128'),
      route(16_777_216, '0.0.0.0/0', [path({ table_id: 2, rpf_id: 0 })]),
      route(16_777_216, '::/0', [path({ table_id: 2, rpf_id: 0, ...proto6 })]),
      mroute(16_777_216, '224.0.0.0/4', [{ itf_flags: 4, path: path({ table_id: 2, rpf_id: 16_777_216 }) }], {
        entry_flags: 8,
      }),
      route(0, '10.1.0.5/32', [path({ sw_if_index: 1, nh: '10.1.0.5', rpf_id: 0 })]),
      route(0, 'fd10::5/128', [path({ sw_if_index: 1, nh: 'fd10::5', rpf_id: 0 })]),
      urpf(1, 'STRICT', 0),
      urpf(1, 'STRICT', 0, ip6),
      ask(ip_ttl_fixup_configure, { src_sw_if_index: 1, dst_sw_if_index: 1, enable: true }),
      translation('10.0.0.2', 8080, ['10.1.0.5']),
      interfaces(),
      tables(),
      ...[0, 16_777_216].flatMap((id) => [routes(id), routes(id, true), mroutes(id), mroutes(id, true)]),
      addresses(1),
      addresses(1, true),
      urpfs(),
      ask(cnat_translation_del, { id: 0 }),
      no_route(0, '10.1.0.5/32', [path()]),
      no_route(0, 'fd10::5/128', [path(proto6)]),
      up(1, false),
      urpf(1, 'OFF', 0),
      urpf(1, 'OFF', 0, ip6),
      cnat_feature(1, false),
      ask(cnat_snat_policy_add_del_if, { sw_if_index: 1, is_add: 0, table: 'CNAT_POLICY_POD' }),
      no_tap(1),
      no_route(16_777_216, '0.0.0.0/0', [path()]),
      no_route(16_777_216, '::/0', [path(proto6)]),
      mroute(16_777_216, '224.0.0.0/4', [{ itf_flags: 4, path: path({ table_id: 2, rpf_id: 16_777_216 }) }], {
        is_add: false,
      }),
      mroute(16_777_216, '224.0.0.0/4', [], { is_add: false }),
      no_table(16_777_216, false),
      no_table(16_777_216, true),
      interfaces(),
      tables(),
      mtables(),
      routes(0),
      routes(0, true),
    ],
  },
  {
    name: 'a message with more paths announced than it has is dropped without an answer',
    steps: [
      {
        message: truncated_route as Asked<never>,
        fields: {
          is_add: true,
          is_multipath: false,
          route: { table_id: 0, stats_index: 0, prefix: '10.0.0.0/8', paths: [path()] },
        },
        unanswered: true,
      },
      tables(),
    ],
  },
  { name: 'P1: a translation without back ends', dies: true, steps: [translation('10.0.0.2', 80, [])] },
  {
    name: 'P2: a back end twice in a translation, updated and deleted, then a route to it',
    dies: true,
    steps: [
      tun(),
      translation('10.0.0.2', 80, ['10.1.0.5', '10.1.0.5']),
      translation('10.0.0.2', 80, ['10.1.0.5']),
      ask(cnat_translation_del, { id: 0 }),
      route(0, '10.1.0.5/32', [via(1, '10.1.0.5')]),
    ],
  },
  {
    name: 'P2 without the update is survived',
    steps: [
      tun(),
      translation('10.0.0.2', 80, ['10.1.0.5', '10.1.0.5']),
      ask(cnat_translation_del, { id: 0 }),
      route(0, '10.1.0.5/32', [via(1, '10.1.0.5')]),
      routes(0),
    ],
  },
  {
    name: 'P4: a second path beside one through a deleted interface',
    dies: true,
    steps: [
      tun(),
      tun({ host_if_name: 'eth1' }),
      route(0, '10.1.0.5/32', [via(1, '10.1.0.5')]),
      no_tap(1),
      route(0, '10.1.0.5/32', [via(2, '10.1.0.5')], true),
    ],
  },
  {
    name: 'P4 without multipath is survived',
    steps: [
      tun(),
      tun({ host_if_name: 'eth1' }),
      route(0, '10.1.0.5/32', [via(1, '10.1.0.5')]),
      no_tap(1),
      route(0, '10.1.0.5/32', [via(2, '10.1.0.5')]),
      routes(0),
    ],
  },
  {
    name: 'P5: a table is deleted whose interface is gone and has an attached route elsewhere',
    dies: true,
    steps: [
      tun(),
      table(7, false, 'pod'),
      bind(1, false, 7),
      route(0, '10.1.0.5/32', [via(1)]),
      no_tap(1),
      no_table(7, false),
    ],
  },
  {
    name: 'P5: an interface is deleted whose table is, and that has an attached route elsewhere',
    dies: true,
    steps: [
      tun(),
      table(7, false, 'pod'),
      bind(1, false, 7),
      no_table(7, false),
      route(0, '10.1.0.5/32', [via(1)]),
      no_tap(1),
    ],
  },
  {
    name: 'P5 with a next hop is survived',
    steps: [
      tun(),
      table(7, false, 'pod'),
      bind(1, false, 7),
      route(0, '10.1.0.5/32', [via(1, '10.1.0.5')]),
      no_tap(1),
      no_table(7, false),
      tables(),
      mtables(),
    ],
  },
  {
    name: 'P6: a path of type BIER',
    dies: true,
    steps: [route(0, '10.1.0.0/16', [path({ type: 'FIB_API_PATH_TYPE_BIER_IMP' })])],
  },
  ...[0, 3].map(
    (flags): Sequence => ({
      name: `P7: SNAT addresses with flags ${flags} are taken away`,
      steps: [
        snat_addresses('10.0.0.2', 'fd00::2', flags),
        snat_addresses('0.0.0.0', '::', flags),
        ask(cnat_get_snat_addresses, {}),
        ask(cnat_snat_addresses_dump, {}),
        ask(cnat_set_snat_policy, { policy: 'CNAT_POLICY_K8S' }),
        snat_addresses('0.0.0.0', '::', flags),
        snat_addresses('10.0.0.3', '::', flags),
        ask(cnat_get_snat_addresses, {}),
        ask(cnat_snat_addresses_dump, {}),
      ],
    }),
  ),
];
