/** Requests as data: the short forms that the sequences of the contract are written in. */
import type { Dump, Request, Stream } from 'vpp-binapi-ts';
import { af_packet_create_v3 } from 'vpp-binapi-ts/af_packet';
import { af_xdp_create_v3 } from 'vpp-binapi-ts/af_xdp';
import { proxy_arp_intfc_enable_disable } from 'vpp-binapi-ts/arp';
import {
  classify_add_del_session,
  classify_add_del_table,
  input_acl_set_interface,
  output_acl_set_interface,
  punt_acl_add_del,
} from 'vpp-binapi-ts/classify';
import {
  cnat_set_snat_addresses_v2,
  cnat_translation_update,
  feature_cnat_enable_disable,
} from 'vpp-binapi-ts/cnat';
import { feature_is_enabled } from 'vpp-binapi-ts/feature';
import { fib_source_add, fib_source_dump } from 'vpp-binapi-ts/fib';
import type { fib_path } from 'vpp-binapi-ts/fib_types';
import {
  create_loopback_instance,
  type create_loopback_instance as create_loopback_instance_request,
  sw_interface_add_del_address,
  sw_interface_dump,
  sw_interface_rx_placement_dump,
  sw_interface_set_flags,
  sw_interface_set_mac_address,
  sw_interface_set_rx_mode,
  sw_interface_set_table,
  sw_interface_set_unnumbered,
} from 'vpp-binapi-ts/interface';
import {
  add_del_ip_punt_redirect_v2,
  ip_address_dump,
  ip_mroute_add_del,
  ip_mroute_dump,
  ip_mtable_dump,
  ip_path_mtu_update,
  ip_punt_redirect_v2_dump,
  ip_route_add_del_v2,
  ip_route_lookup_v2,
  ip_route_v2_dump,
  ip_table_add_del_v2,
  ip_table_dump,
  ip_unnumbered_dump,
  sw_interface_ip6_enable_disable,
  sw_interface_ip6_get_link_local_address,
} from 'vpp-binapi-ts/ip';
import { ip_neighbor_add_del, ip_neighbor_dump } from 'vpp-binapi-ts/ip_neighbor';
import { ip_session_redirect_add_v2 } from 'vpp-binapi-ts/ip_session_redirect';
import { sw_interface_ip6nd_ra_config } from 'vpp-binapi-ts/ip6_nd';
import { ipip_add_tunnel, ipip_del_tunnel, ipip_tunnel_dump } from 'vpp-binapi-ts/ipip';
import { punt_socket_deregister, set_punt } from 'vpp-binapi-ts/punt';
import {
  sw_interface_tap_v2_dump,
  tap_create_v3,
  type tap_create_v3_in,
  tap_delete_v2,
} from 'vpp-binapi-ts/tapv2';
import { urpf_interface_dump, urpf_update_v2 } from 'vpp-binapi-ts/urpf';
import { add_node_next } from 'vpp-binapi-ts/vlib';
import {
  vxlan_add_del_tunnel_v3,
  type vxlan_add_del_tunnel_v3_in,
  vxlan_tunnel_v2_dump,
} from 'vpp-binapi-ts/vxlan';

export type Asked<In> = Request<In, unknown> | Dump<In, unknown> | Stream<In, unknown, unknown>;

export interface Step {
  readonly message: Asked<never>;
  readonly fields: object;
  /** VPP answers nothing to this one. */
  readonly unanswered?: true;
}

/** Packets from the pod's device `eth0`, where VPP is a real one: in the stand-in they come whenever they could. */
export const traffic = 'traffic';

export interface Sequence {
  readonly name: string;
  readonly steps: readonly (Step | typeof traffic)[];
  /** The answers depend on real namespaces and devices. */
  readonly devices?: true;
  /** A plugin that VPP has only where somebody has built it: VPP_RDMA_PLUGIN is its path. */
  readonly plugin?: 'rdma';
  /** VPP's start-up file has a punt section with a socket. */
  readonly punt_socket?: true;
  /** The last step kills VPP. */
  readonly dies?: true;
  /** Its main thread spins for ever from some step on: that one is not answered, and none is sent behind it. */
  readonly spins?: true;
}

export function ask<In extends object>(message: Asked<In>, fields: NoInfer<In>): Step {
  return { message: message as Asked<never>, fields };
}

/** The namespace that taps go to: replaced by the path of one that exists. */
export const namespace_placeholder = '<pod>';

/**
 * FIB sources that a sequence makes, in their order: VPP's own numbers begin where those of its plugins end. A sequence writes
 * `own(0)` where VPP's number of the first one goes, and reads it in the answers.
 */
const own_first = 240;
export const own = (index: number): number => own_first + index;
export const isOwn = (source: number): boolean => source >= own_first;

export const none = 0xffff_ffff;
export const ip4 = 'ADDRESS_IP4';
export const ip6 = 'ADDRESS_IP6';

// Short forms for what most sequences do.

export function path(more: Partial<Omit<fib_path, 'nh'>> & { readonly nh?: string } = {}): fib_path {
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

export const via = (sw_if_index: number, nh?: string): fib_path => path({ sw_if_index, ...(nh && { nh }) });
export const proto6 = { proto: 'FIB_API_PATH_NH_PROTO_IP6' } as const;

export const table = (table_id: number, is_ip6: boolean, name: string, create_mfib = true): Step =>
  ask(ip_table_add_del_v2, { table: { table_id, is_ip6, name }, create_mfib, is_add: true });
export const no_table = (table_id: number, is_ip6: boolean): Step =>
  ask(ip_table_add_del_v2, { table: { table_id, is_ip6, name: '' }, create_mfib: true, is_add: false });
/** `src` 0 is VPP's own source of routes from the API. */
export const route = (
  table_id: number,
  prefix: string,
  paths: readonly fib_path[],
  is_multipath = false,
  src = 0,
): Step =>
  ask(ip_route_add_del_v2, {
    is_add: true,
    is_multipath,
    route: { table_id, stats_index: 0, prefix, src, paths },
  });
export const no_route = (
  table_id: number,
  prefix: string,
  paths: readonly fib_path[] = [],
  is_multipath = false,
  src = 0,
): Step =>
  ask(ip_route_add_del_v2, {
    is_add: false,
    is_multipath,
    route: { table_id, stats_index: 0, prefix, src, paths },
  });
export const route_of = (src: number, prefix: string, paths: readonly fib_path[]): Step =>
  route(0, prefix, paths, false, src);
export const no_route_of = (src: number, prefix: string): Step => no_route(0, prefix, [], false, src);
/** Of all sources; those of one are those where it is the best. */
export const routes = (table_id: number, is_ip6 = false, src = 0): Step =>
  ask(ip_route_v2_dump, { src, table: { table_id, is_ip6, name: '' } });
export const routes_of = (src: number): Step => routes(0, false, src);
export const lookup = (prefix: string): Step => ask(ip_route_lookup_v2, { table_id: 0, exact: 0, prefix });
export const source = (name: string, priority: number): Step =>
  ask(fib_source_add, { src: { name, priority, id: 0 } });
export const sources = (): Step => ask(fib_source_dump, {});
export const loopback = (more: Partial<create_loopback_instance_request> = {}): Step =>
  ask(create_loopback_instance, {
    mac_address: '00:00:00:00:00:00',
    is_specified: false,
    user_instance: 0,
    ...more,
  });
export const path_mtu = (table_id: number, nh: string, path_mtu: number): Step =>
  ask(ip_path_mtu_update, { pmtu: { client_index: 0, context: 0, table_id, nh, path_mtu } });
export const mroutes = (table_id: number, is_ip6 = false): Step =>
  ask(ip_mroute_dump, { table: { table_id, is_ip6, name: '' } });
export const address = (sw_if_index: number, prefix: string): Step =>
  ask(sw_interface_add_del_address, { sw_if_index, is_add: true, del_all: false, prefix });
export const no_address = (sw_if_index: number, prefix: string): Step =>
  ask(sw_interface_add_del_address, { sw_if_index, is_add: false, del_all: false, prefix });
export const addresses = (sw_if_index: number, is_ipv6 = false): Step =>
  ask(ip_address_dump, { sw_if_index, is_ipv6 });
export const bind = (sw_if_index: number, is_ipv6: boolean, vrf_id: number): Step =>
  ask(sw_interface_set_table, { sw_if_index, is_ipv6, vrf_id });
export const up = (sw_if_index: number, on = true): Step =>
  ask(sw_interface_set_flags, { sw_if_index, flags: on ? 1 : 0 });
export const interfaces = (): Step => ask(sw_interface_dump, { name_filter_valid: false, name_filter: '' });
export const tables = (): Step => ask(ip_table_dump, {});
export const mtables = (): Step => ask(ip_mtable_dump, {});
export const enable6 = (sw_if_index: number, enable = true): Step =>
  ask(sw_interface_ip6_enable_disable, { sw_if_index, enable });
export const link_local = (sw_if_index: number): Step =>
  ask(sw_interface_ip6_get_link_local_address, { sw_if_index });
export const neighbour = (
  sw_if_index: number,
  ip_address: string,
  mac_address: string,
  flags = 1,
  is_add = true,
): Step => ask(ip_neighbor_add_del, { is_add, neighbor: { sw_if_index, flags, mac_address, ip_address } });
export const neighbours = (af: typeof ip4 | typeof ip6): Step =>
  ask(ip_neighbor_dump, { sw_if_index: none, af });
export const rx_mode = (sw_if_index: number, mode: 'ADAPTIVE' | 'DEFAULT' | 'INTERRUPT' | 'POLLING'): Step =>
  ask(sw_interface_set_rx_mode, {
    sw_if_index,
    queue_id_valid: false,
    queue_id: none,
    mode: `RX_MODE_API_${mode}`,
  });
export const placements = (sw_if_index: number = none): Step =>
  ask(sw_interface_rx_placement_dump, { sw_if_index });
export const proxy_arp = (sw_if_index: number, enable: boolean): Step =>
  ask(proxy_arp_intfc_enable_disable, { sw_if_index, enable });
export const ra = (sw_if_index: number, is_no = false): Step =>
  ra_config(sw_if_index, { suppress: 1, is_no });
export const ra_config = (
  sw_if_index: number,
  fields: Partial<Parameters<typeof sw_interface_ip6nd_ra_config.encode>[2]>,
): Step =>
  ask(sw_interface_ip6nd_ra_config, {
    sw_if_index,
    suppress: 0,
    managed: 0,
    other: 0,
    ll_option: 0,
    send_unicast: 0,
    cease: 0,
    is_no: false,
    default_router: 0,
    max_interval: 0,
    min_interval: 0,
    lifetime: 0,
    initial_count: 0,
    initial_interval: 0,
    ...fields,
  });
export const is_on = (sw_if_index: number, feature: string): Step => {
  const [arc_name = '', feature_name = ''] = feature.split('/');
  return ask(feature_is_enabled, { arc_name, feature_name, sw_if_index });
};
export const cnat_feature = (sw_if_index: number, enable_disable = true): Step =>
  ask(feature_cnat_enable_disable, { sw_if_index, enable_disable });
export const snat_addresses = (snat_ip4: string, snat_ip6: string, flags = 3): Step =>
  ask(cnat_set_snat_addresses_v2, {
    snat_ip4,
    snat_ip6,
    sw_if_index: none,
    fwd_fib_index: 0,
    ret_fib_index: 0,
    flags,
  });
export const urpf = (
  sw_if_index: number,
  mode: 'OFF' | 'LOOSE' | 'STRICT',
  table_id: number,
  af: typeof ip4 | typeof ip6 = ip4,
): Step => ask(urpf_update_v2, { is_input: true, mode: `URPF_API_MODE_${mode}`, af, sw_if_index, table_id });
export const urpfs = (): Step => ask(urpf_interface_dump, {});
export const unicast = ['ip4-unicast/ip4-rx-urpf-loose', 'ip4-unicast/ip4-rx-urpf-strict'] as const;

export function tap(more: Partial<tap_create_v3_in> = {}): Step {
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
    ...more,
    // Without the NUL, dumps read on into whatever lies behind.
    tag: `${more.tag ?? 'tag'}\0`,
  });
}
export const tun = (more: Partial<tap_create_v3_in> = {}): Step => tap({ tap_flags: 61, ...more });
export const no_tap = (sw_if_index: number): Step => ask(tap_delete_v2, { sw_if_index });
export const taps = (): Step => ask(sw_interface_tap_v2_dump, {});

export const af_packet = (host_if_name: string): Step =>
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

export const af_xdp = (host_if: string, rxq_size = 1024): Step =>
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
export const mac = (sw_if_index: number, mac_address: string): Step =>
  ask(sw_interface_set_mac_address, { sw_if_index, mac_address });

export const ipip = (
  src: string,
  dst: string,
  more: { readonly instance?: number; readonly table_id?: number } = {},
): Step =>
  ask(ipip_add_tunnel, {
    tunnel: {
      instance: none,
      src,
      dst,
      sw_if_index: none,
      table_id: 0,
      flags: 0,
      mode: 'TUNNEL_API_MODE_P2P',
      dscp: 'IP_API_DSCP_CS0',
      ...more,
    },
  });
export const no_ipip = (sw_if_index: number): Step => ask(ipip_del_tunnel, { sw_if_index });
export const ipips = (sw_if_index = none): Step => ask(ipip_tunnel_dump, { sw_if_index });

/** Makes what comes by VXLAN of this outer family go on as IP of the same. */
export const decap = (family: 4 | 6): Step =>
  ask(add_node_next, { node_name: `vxlan${family}-input`, next_name: `ip${family}-input` });
export const vxlan = (
  src_address: string,
  dst_address: string,
  more: Partial<vxlan_add_del_tunnel_v3_in> = {},
): Step =>
  ask(vxlan_add_del_tunnel_v3, {
    is_add: true,
    instance: none,
    src_address,
    dst_address,
    src_port: 4789,
    dst_port: 4789,
    mcast_sw_if_index: none,
    encap_vrf_id: 0,
    decap_next_index: vxlan4_decap,
    vni: 4096,
    is_l3: true,
    ...more,
  });
export const no_vxlan = (
  src_address: string,
  dst_address: string,
  more: Partial<vxlan_add_del_tunnel_v3_in> = {},
): Step => vxlan(src_address, dst_address, { ...more, is_add: false });
export const vxlans = (sw_if_index = none): Step => ask(vxlan_tunnel_v2_dump, { sw_if_index });
/** What `decap(4)` answers. */
const vxlan4_decap = 2;

export const unnumbered = (unnumbered_sw_if_index: number, sw_if_index: number, is_add = true): Step =>
  ask(sw_interface_set_unnumbered, { sw_if_index, unnumbered_sw_if_index, is_add });
export const unnumbereds = (sw_if_index = none): Step => ask(ip_unnumbered_dump, { sw_if_index });

export function mroute(
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

export const endpoint = (addr: string, port: number, sw_if_index = none) =>
  ({ addr, port, sw_if_index, if_af: addr.includes(':') ? ip6 : ip4 }) as const;
export function translation(
  vip: string,
  port: number,
  backends: readonly string[],
  more: {
    readonly lb_type?: 'CNAT_LB_TYPE_MAGLEV';
    readonly hash?: number;
    readonly flags?: number;
    readonly src?: string;
    readonly sw_if_index?: number;
  } = {},
): Step {
  return ask(cnat_translation_update, {
    translation: {
      vip: endpoint(vip, port),
      id: none,
      ip_proto: 'IP_API_PROTO_TCP',
      is_real_ip: 1,
      flags: 9,
      lb_type: more.lb_type ?? 'CNAT_LB_TYPE_DEFAULT',
      flow_hash_config: more.hash ?? 0,
      paths: backends.map((backend) => ({
        dst_ep: endpoint(backend, 8080, more.sw_if_index),
        src_ep: endpoint(more.src ?? '::', 0),
        flags: more.flags ?? 0,
      })),
    },
  });
}

export const mask = Uint8Array.from({ length: 32 }, (_, at) =>
  at === 9 || (at >= 16 && at < 20) || at === 22 || at === 23 ? 0xff : 0,
);
export const match = Uint8Array.from(
  { length: 80 },
  (_, at) => ({ 9: 17, 16: 10, 17: 96, 19: 10, 23: 53 })[at] ?? 0,
);
export const classifier = (more: { readonly is_add?: boolean; readonly table_index?: number } = {}): Step =>
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
export const redirect = (table_index: number, paths: readonly fib_path[]): Step =>
  ask(ip_session_redirect_add_v2, {
    table_index,
    opaque_index: 0,
    proto: 'FIB_API_PATH_NH_PROTO_IP4',
    is_punt: false,
    match_len: 28,
    match,
    paths,
  });
export const classifier_session = (table_index: number, is_add = true): Step =>
  ask(classify_add_del_session, { is_add, table_index, hit_next_index: 0, match: match.slice(0, 32) });
export const punt_acl = (ip4_table_index: number, is_add = true): Step =>
  ask(punt_acl_add_del, { ip4_table_index, is_add });
export const input_acl = (sw_if_index: number, ip4_table_index: number, is_add = true): Step =>
  ask(input_acl_set_interface, {
    sw_if_index,
    ip4_table_index,
    ip6_table_index: none,
    l2_table_index: none,
    is_add,
  });

export const output_acl = (sw_if_index: number, ip4_table_index: number, is_add = true): Step =>
  ask(output_acl_set_interface, {
    sw_if_index,
    ip4_table_index,
    ip6_table_index: none,
    l2_table_index: none,
    is_add,
  });

export const punt_redirect = (af: typeof ip4 | typeof ip6, paths: readonly fib_path[], is_add = true): Step =>
  ask(add_del_ip_punt_redirect_v2, { is_add, punt: { rx_sw_if_index: none, af, paths } });
export const punt_redirects = (af: typeof ip4 | typeof ip6): Step =>
  ask(ip_punt_redirect_v2_dump, { sw_if_index: none, af });
export const punt_l4 = (
  protocol: 'IP_API_PROTO_TCP' | 'IP_API_PROTO_UDP' | 'IP_API_PROTO_SCTP',
  is_add = true,
): Step =>
  ask(set_punt, {
    is_add,
    punt: { type: 'PUNT_API_TYPE_L4', punt: { l4: { af: ip4, protocol, port: 65535 } } },
  });

export const no_punt_socket = (
  protocol: 'IP_API_PROTO_ICMP' | 'IP_API_PROTO_TCP',
  af: typeof ip4 | typeof ip6 = ip4,
): Step =>
  ask(punt_socket_deregister, {
    punt: { type: 'PUNT_API_TYPE_IP_PROTO', punt: { ip_proto: { af, protocol } } },
  });

/** A request whose count of paths is larger than the message. */
export const truncated_route: typeof ip_route_add_del_v2 = {
  ...ip_route_add_del_v2,
  encode(to, at, value) {
    const n_paths_at = at + 28;
    const end = ip_route_add_del_v2.encode(to, at, value);
    to.bytes[n_paths_at] = 5;
    return end;
  },
};
