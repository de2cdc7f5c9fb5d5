/**
 * Objects to API requests: for each kind how it is added and how it is removed. Everything here can be sent without
 * waiting for what was sent before it, but for the handles that a request makes.
 */
import { af_packet_create_v3, af_packet_delete, af_packet_flags } from 'vpp-binapi-ts/af_packet';
import { af_xdp_create_v3, af_xdp_delete } from 'vpp-binapi-ts/af_xdp';
import { proxy_arp_add_del, proxy_arp_intfc_enable_disable } from 'vpp-binapi-ts/arp';
import { classify_add_del_table, input_acl_set_interface } from 'vpp-binapi-ts/classify';
import {
  type cnat_endpoint,
  cnat_set_snat_addresses_v2,
  cnat_set_snat_policy,
  cnat_snat_policy_add_del_exclude_pfx,
  cnat_snat_policy_add_del_if,
  cnat_snat_policy_flags,
  type cnat_snat_policy_table,
  cnat_translation_del,
  cnat_translation_flags,
  cnat_translation_update,
  feature_cnat_enable_disable,
} from 'vpp-binapi-ts/cnat';
import { feature_gso_enable_disable } from 'vpp-binapi-ts/gso';
import {
  sw_interface_add_del_address,
  sw_interface_set_flags,
  sw_interface_set_mac_address,
  sw_interface_set_mtu,
  sw_interface_set_promisc,
  sw_interface_set_rx_mode,
  sw_interface_set_rx_placement,
  sw_interface_set_table,
  sw_interface_tag_add_del,
} from 'vpp-binapi-ts/interface';
import { if_status_flags, type rx_mode } from 'vpp-binapi-ts/interface_types';
import {
  add_del_ip_punt_redirect_v2,
  ip_mroute_add_del,
  ip_route_add_del,
  ip_table_add_del_v2,
  sw_interface_ip6_enable_disable,
  sw_interface_ip6_set_link_local_address,
} from 'vpp-binapi-ts/ip';
import { ip_neighbor_add_del, ip_neighbor_config, ip_neighbor_flags } from 'vpp-binapi-ts/ip_neighbor';
import { ip_session_redirect_add_v2, ip_session_redirect_del } from 'vpp-binapi-ts/ip_session_redirect';
import { ip_ttl_fixup_configure } from 'vpp-binapi-ts/ip_ttl_fixup';
import type { address_family, ip_proto } from 'vpp-binapi-ts/ip_types';
import { sw_interface_ip6nd_ra_config } from 'vpp-binapi-ts/ip6_nd';
import { mfib_entry_flags, mfib_itf_flags } from 'vpp-binapi-ts/mfib_types';
import { set_punt } from 'vpp-binapi-ts/punt';
import { tap_create_v3, tap_delete_v2, tap_flags } from 'vpp-binapi-ts/tapv2';
import { urpf_update_v2 } from 'vpp-binapi-ts/urpf';
import {
  type Family,
  familyOf,
  type InterfaceSwitch,
  type ObjectKind,
  type ObjectOf,
  type VppObject,
} from '../desired/objects.js';
import { type Call, call } from './call.js';
import type { Handles } from './handles.js';
import { no_interface, pathsTo, pathTo } from './paths.js';
import { redirectMask, redirectMatch } from './redirect-match.js';

interface Program<O> {
  readonly add: (o: O, at: Handles) => readonly Call[];
  /** What can only be sent once VPP has told the handle of `o`. */
  readonly follow?: (o: O, at: Handles) => readonly Call[];
  /** Nothing where VPP keeps what cannot be taken back, or where it goes with what holds it. */
  readonly remove: (o: O, at: Handles) => readonly Call[];
}

const afOf = (family: Family): address_family => (family === 4 ? 'ADDRESS_IP4' : 'ADDRESS_IP6');
const protocols: Readonly<Record<'tcp' | 'udp' | 'sctp', ip_proto>> = {
  tcp: 'IP_API_PROTO_TCP',
  udp: 'IP_API_PROTO_UDP',
  sctp: 'IP_API_PROTO_SCTP',
};
const rx_modes: Readonly<Record<ObjectOf<'interface_rx_mode'>['mode'], rx_mode>> = {
  polling: 'RX_MODE_API_POLLING',
  interrupt: 'RX_MODE_API_INTERRUPT',
  adaptive: 'RX_MODE_API_ADAPTIVE',
  default: 'RX_MODE_API_DEFAULT',
};

const sw_if_index = (reply: { readonly sw_if_index: number }): number => reply.sw_if_index;
const none: readonly Call[] = [];
const no_mac = '00:00:00:00:00:00';
/** Bytes of a packet ring frame: holds a whole GSO packet. */
const af_packet_frame_bytes = 65536;
/** Size of the redirect classifier: ample, a rule takes some hundred bytes. */
const redirect_buckets = 64;
const redirect_table_bytes = 1 << 20;
/** VNET_API_ERROR_IF_ALREADY_EXISTS and friends are errors: an object that is there twice is not what was asked for. */
const address_exists = -105;
const address_not_there = -60;

/** How each switch is turned. */
const switches: { readonly [S in InterfaceSwitch]: (sw_if_index: number, on: boolean) => readonly Call[] } = {
  admin_up: (index, on) => [
    call(sw_interface_set_flags, {
      sw_if_index: index,
      flags: on ? if_status_flags.IF_STATUS_API_FLAG_ADMIN_UP : 0,
    }),
  ],
  promisc: (index, on) => [call(sw_interface_set_promisc, { sw_if_index: index, promisc_on: on })],
  ip6_enabled: (index, on) => [call(sw_interface_ip6_enable_disable, { sw_if_index: index, enable: on })],
  ra_suppressed: (index, on) => [
    call(sw_interface_ip6nd_ra_config, {
      sw_if_index: index,
      suppress: 1,
      managed: 0,
      other: 0,
      ll_option: 0,
      send_unicast: 0,
      cease: 0,
      is_no: !on,
      default_router: 0,
      max_interval: 0,
      min_interval: 0,
      lifetime: 0,
      initial_count: 0,
      initial_interval: 0,
    }),
  ],
  cnat_feature: (index, on) => [
    call(feature_cnat_enable_disable, { sw_if_index: index, enable_disable: on }),
  ],
  gso_feature: (index, on) => [call(feature_gso_enable_disable, { sw_if_index: index, enable_disable: on })],
  proxy_arp: (index, on) => [call(proxy_arp_intfc_enable_disable, { sw_if_index: index, enable: on })],
  snat_pod: (index, on) => [snatInterface(index, on, 'CNAT_POLICY_POD')],
  snat_host: (index, on) => [snatInterface(index, on, 'CNAT_POLICY_HOST')],
  snat_include_ip4: (index, on) => [snatInterface(index, on, 'CNAT_POLICY_INCLUDE_V4')],
  snat_include_ip6: (index, on) => [snatInterface(index, on, 'CNAT_POLICY_INCLUDE_V6')],
};

function snatInterface(index: number, on: boolean, table: cnat_snat_policy_table): Call {
  return call(cnat_snat_policy_add_del_if, { sw_if_index: index, is_add: Number(on), table });
}

const programs: { readonly [K in ObjectKind]: Program<ObjectOf<K>> } = {
  snat_addresses: {
    add: (o) => [
      call(cnat_set_snat_addresses_v2, {
        fwd_fib_index: 0,
        ret_fib_index: 0,
        snat_ip4: o.ip4 ?? '0.0.0.0',
        snat_ip6: o.ip6 ?? '::',
        sw_if_index: no_interface,
        flags:
          cnat_snat_policy_flags.CNAT_SNAT_POLICY_F_NO_CLIENT |
          cnat_snat_policy_flags.CNAT_SNAT_POLICY_F_USE_AS_DEFAULT,
      }),
    ],
    // To set all of them to zero frees a policy that VPP goes on using.
    remove: () => none,
  },
  snat_policy: { add: () => [call(cnat_set_snat_policy, { policy: 'CNAT_POLICY_K8S' })], remove: () => none },
  snat_exclude: {
    add: (o) => [call(cnat_snat_policy_add_del_exclude_pfx, { is_add: 1, prefix: o.prefix })],
    remove: (o) => [call(cnat_snat_policy_add_del_exclude_pfx, { is_add: 0, prefix: o.prefix })],
  },
  neighbour_limits: {
    add: (o) => [
      call(ip_neighbor_config, {
        af: afOf(o.family),
        max_number: o.max_number,
        max_age: o.max_age_s,
        recycle: false,
      }),
    ],
    remove: () => none,
  },
  table: {
    add: (o) => [
      call(ip_table_add_del_v2, {
        is_add: true,
        create_mfib: o.multicast,
        table: { table_id: o.table_id, is_ip6: o.family === 6, name: o.name },
      }),
    ],
    remove: (o) => [
      call(ip_table_add_del_v2, {
        is_add: false,
        create_mfib: o.multicast,
        table: { table_id: o.table_id, is_ip6: o.family === 6, name: o.name },
      }),
    ],
  },
  af_packet: {
    add: (o) => [
      call(
        af_packet_create_v3,
        {
          mode: 'AF_PACKET_API_MODE_ETHERNET',
          hw_addr: o.mac,
          use_random_hw_addr: false,
          host_if_name: o.host_if_name,
          rx_frame_size: af_packet_frame_bytes,
          tx_frame_size: af_packet_frame_bytes,
          rx_frames_per_block: o.rx_frames_per_block,
          tx_frames_per_block: o.tx_frames_per_block,
          num_rx_queues: o.rx_queues,
          num_tx_queues: o.tx_queues,
          flags:
            (o.gso ? af_packet_flags.AF_PACKET_API_FLAG_CKSUM_GSO : 0) |
            (o.qdisc_bypass ? af_packet_flags.AF_PACKET_API_FLAG_QDISC_BYPASS : 0) |
            (o.version_3 ? 0 : af_packet_flags.AF_PACKET_API_FLAG_VERSION_2),
        },
        { made: sw_if_index },
      ),
    ],
    follow: (o, at) => [tag(o.tag, at)],
    remove: (o) => [call(af_packet_delete, { host_if_name: o.host_if_name })],
  },
  af_xdp: {
    add: (o) => [
      call(
        af_xdp_create_v3,
        {
          host_if: o.host_if_name,
          name: '',
          rxq_num: o.rx_queues,
          rxq_size: o.rx_queue_size,
          txq_size: o.tx_queue_size,
          prog: '',
          netns: '',
        },
        { made: sw_if_index },
      ),
    ],
    follow: (o, at) => [
      tag(o.tag, at),
      call(sw_interface_set_mac_address, { sw_if_index: at.interface(o.tag), mac_address: o.mac }),
    ],
    remove: (o, at) => [call(af_xdp_delete, { sw_if_index: at.interface(o.tag) })],
  },
  existing_interface: {
    add: (o, at) => {
      at.interface(o.tag);
      return none;
    },
    remove: () => none,
  },
  tap: {
    add: (o) => [
      call(
        tap_create_v3,
        {
          use_random_mac: o.mac === undefined,
          mac_address: o.mac ?? no_mac,
          num_rx_queues: o.rx_queues,
          num_tx_queues: o.tx_queues,
          rx_ring_sz: o.rx_ring_size,
          tx_ring_sz: o.tx_ring_size,
          host_mtu_set: true,
          host_mtu_size: o.host_mtu,
          host_mac_addr_set: o.host_mac !== undefined,
          host_mac_addr: o.host_mac ?? no_mac,
          host_ip4_prefix_set: false,
          host_ip4_prefix: '0.0.0.0/0',
          host_ip6_prefix_set: false,
          host_ip6_prefix: '::/0',
          host_ip4_gw_set: false,
          host_ip4_gw: '0.0.0.0',
          host_ip6_gw_set: false,
          host_ip6_gw: '::',
          tap_flags:
            (o.type === 'tun' ? tap_flags.TAP_API_FLAG_TUN : 0) |
            (o.gso ? tap_flags.TAP_API_FLAG_GSO | tap_flags.TAP_API_FLAG_GRO_COALESCE : 0) |
            (o.persistent ? tap_flags.TAP_API_FLAG_PERSIST | tap_flags.TAP_API_FLAG_ATTACH : 0),
          host_namespace_set: true,
          host_namespace: o.host_namespace,
          host_if_name_set: true,
          host_if_name: o.host_if_name,
          host_bridge_set: false,
          host_bridge: '',
          tag: o.tag,
        },
        { made: sw_if_index },
      ),
    ],
    remove: (o, at) => [call(tap_delete_v2, { sw_if_index: at.interface(o.tag) })],
  },
  interface_table: {
    add: (o, at) => [
      call(sw_interface_set_table, {
        sw_if_index: at.interface(o.interface),
        is_ipv6: o.family === 6,
        vrf_id: o.table_id,
      }),
    ],
    remove: (o, at) => [
      call(sw_interface_set_table, {
        sw_if_index: at.interface(o.interface),
        is_ipv6: o.family === 6,
        vrf_id: 0,
      }),
    ],
  },
  interface_address: {
    add: (o, at) => [
      call(
        sw_interface_add_del_address,
        { sw_if_index: at.interface(o.interface), is_add: true, del_all: false, prefix: o.prefix },
        { tolerated: [address_exists] },
      ),
    ],
    remove: (o, at) => [
      call(
        sw_interface_add_del_address,
        { sw_if_index: at.interface(o.interface), is_add: false, del_all: false, prefix: o.prefix },
        { tolerated: [address_not_there] },
      ),
    ],
  },
  link_local: {
    add: (o, at) => [
      call(sw_interface_ip6_set_link_local_address, {
        sw_if_index: at.interface(o.interface),
        ip: o.address,
      }),
    ],
    remove: () => none,
  },
  interface_mtu: {
    add: (o, at) => [
      call(sw_interface_set_mtu, { sw_if_index: at.interface(o.interface), mtu: [o.mtu, 0, 0, 0] }),
    ],
    remove: () => none,
  },
  interface_rx_mode: {
    add: (o, at) => [
      call(sw_interface_set_rx_mode, {
        sw_if_index: at.interface(o.interface),
        queue_id_valid: false,
        queue_id: no_interface,
        mode: rx_modes[o.mode],
      }),
    ],
    remove: () => none,
  },
  rx_placement: {
    add: (o, at) => [
      call(sw_interface_set_rx_placement, {
        sw_if_index: at.interface(o.interface),
        queue_id: o.queue_id,
        worker_id: o.worker_id,
        is_main: false,
      }),
    ],
    remove: () => none,
  },
  interface_flag: {
    add: (o, at) => switches[o.flag](at.interface(o.interface), true),
    remove: (o, at) => switches[o.flag](at.interface(o.interface), false),
  },
  urpf: {
    // VPP remembers uRPF beyond the life of an interface and then takes the new request for no change: off comes first.
    add: (o, at) => [
      urpf(o, at, 'URPF_API_MODE_OFF'),
      urpf(o, at, o.mode === 'strict' ? 'URPF_API_MODE_STRICT' : 'URPF_API_MODE_LOOSE'),
    ],
    remove: (o, at) => [urpf(o, at, 'URPF_API_MODE_OFF')],
  },
  ttl_fixup: {
    add: (o, at) => [ttlFixup(o, at, true)],
    remove: (o, at) => [ttlFixup(o, at, false)],
  },
  proxy_arp_range: {
    add: (o) => [
      call(proxy_arp_add_del, { is_add: true, proxy: { table_id: o.table_id, low: o.low, hi: o.high } }),
    ],
    remove: (o) => [
      call(proxy_arp_add_del, { is_add: false, proxy: { table_id: o.table_id, low: o.low, hi: o.high } }),
    ],
  },
  route: {
    add: (o, at) => [
      call(ip_route_add_del, {
        is_add: true,
        is_multipath: false,
        route: { table_id: o.table_id, stats_index: 0, prefix: o.prefix, paths: pathsTo(o, at) },
      }),
    ],
    // A path without interface: VPP refuses to remove a route by an interface that is gone, and takes the whole route anyway.
    remove: (o) => [
      call(ip_route_add_del, {
        is_add: false,
        is_multipath: false,
        route: {
          table_id: o.table_id,
          stats_index: 0,
          prefix: o.prefix,
          paths: [pathTo(familyOf(o.prefix), {})],
        },
      }),
    ],
  },
  mroute: {
    add: (o, at) => [mroute(o, at, true)],
    remove: (o, at) => [mroute(o, at, false)],
  },
  neighbour: {
    add: (o, at) => [neighbour(o, at, true)],
    remove: (o, at) => [neighbour(o, at, false)],
  },
  punt_redirect: {
    add: (o) => [puntRedirect(o, true)],
    remove: (o) => [puntRedirect(o, false)],
  },
  punt_l4: {
    add: (o) => [puntL4(o, true)],
    remove: (o) => [puntL4(o, false)],
  },
  translation: {
    add: (o) => [
      call(
        cnat_translation_update,
        {
          translation: {
            vip: endpoint(o.address, o.port),
            id: no_interface,
            ip_proto: protocols[o.protocol],
            is_real_ip: 1,
            flags:
              cnat_translation_flags.CNAT_TRANSLATION_ALLOC_PORT |
              cnat_translation_flags.CNAT_TRANSLATION_NO_CLIENT,
            lb_type: 'CNAT_LB_TYPE_DEFAULT',
            flow_hash_config: 0,
            paths: o.backends.map((backend) => ({
              dst_ep: endpoint(backend.address, backend.port),
              src_ep: endpoint(familyOf(backend.address) === 4 ? '0.0.0.0' : '::', 0),
              flags: 0,
            })),
          },
        },
        { made: (reply) => reply.id },
      ),
    ],
    remove: (o, at) => [call(cnat_translation_del, { id: at.of(o) })],
  },
  redirect_table: {
    add: (o) => [
      call(
        classify_add_del_table,
        {
          is_add: true,
          del_chain: false,
          table_index: no_interface,
          nbuckets: redirect_buckets,
          memory_size: redirect_table_bytes,
          skip_n_vectors: 0,
          match_n_vectors: redirectMask(o.family).length / 16,
          next_table_index: no_interface,
          miss_next_index: no_interface,
          current_data_flag: 1,
          current_data_offset: 0,
          mask: redirectMask(o.family),
        },
        { made: (reply) => reply.new_table_index },
      ),
    ],
    // Pod interfaces may still look it up; VPP would read freed memory.
    remove: () => none,
  },
  redirect_rule: {
    add: (o, at) => {
      const { match, length } = redirectMatch(o);
      return [
        call(ip_session_redirect_add_v2, {
          table_index: redirectTable(familyOf(o.address), at),
          opaque_index: 0,
          proto: familyOf(o.address) === 4 ? 'FIB_API_PATH_NH_PROTO_IP4' : 'FIB_API_PATH_NH_PROTO_IP6',
          is_punt: false,
          match_len: length,
          match,
          paths: [
            pathTo(familyOf(o.address), { sw_if_index: at.interface(o.interface), next_hop: o.next_hop }),
          ],
        }),
      ];
    },
    remove: (o, at) => {
      const { match } = redirectMatch(o);
      return [
        call(ip_session_redirect_del, {
          table_index: redirectTable(familyOf(o.address), at),

          match,
        }),
      ];
    },
  },
  redirect_acl: {
    add: (o, at) => [redirectAcl(o, at, true)],
    remove: (o, at) => [redirectAcl(o, at, false)],
  },
};

/** Requests that add `object`; the first one makes its handle, where it has one. */
export function programAdd(object: VppObject, at: Handles): readonly Call[] {
  return (programs[object.kind] as Program<VppObject>).add(object, at);
}

/** Requests that complete an added object once its handle is known. */
export function programFollow(object: VppObject, at: Handles): readonly Call[] {
  return (programs[object.kind] as Program<VppObject>).follow?.(object, at) ?? none;
}

export function programRemove(object: VppObject, at: Handles): readonly Call[] {
  return (programs[object.kind] as Program<VppObject>).remove(object, at);
}

function tag(name: string, at: Handles): Call {
  return call(sw_interface_tag_add_del, { is_add: true, sw_if_index: at.interface(name), tag: name });
}

function urpf(
  o: ObjectOf<'urpf'>,
  at: Handles,
  mode: 'URPF_API_MODE_OFF' | 'URPF_API_MODE_LOOSE' | 'URPF_API_MODE_STRICT',
): Call {
  return call(urpf_update_v2, {
    is_input: true,
    mode,
    af: afOf(o.family),
    sw_if_index: at.interface(o.interface),
    table_id: o.table_id,
  });
}

function ttlFixup(o: ObjectOf<'ttl_fixup'>, at: Handles, enable: boolean): Call {
  return call(ip_ttl_fixup_configure, {
    src_sw_if_index: at.interface(o.interface),
    dst_sw_if_index: at.interface(o.towards),
    enable,
  });
}

function mroute(o: ObjectOf<'mroute'>, at: Handles, is_add: boolean): Call {
  const family = familyOf(o.group);
  const [grp_address = '', length = '0'] = o.group.split('/');
  return call(ip_mroute_add_del, {
    is_add,
    is_multipath: false,
    route: {
      table_id: o.table_id,
      entry_flags: o.accept_all_interfaces ? mfib_entry_flags.MFIB_API_ENTRY_FLAG_ACCEPT_ALL_ITF : 0,
      rpf_id: 0,
      prefix: {
        af: afOf(family),
        grp_address_length: Number(length),
        grp_address,
        src_address: family === 4 ? '0.0.0.0' : '::',
      },
      paths: o.paths.map((path) => ({
        itf_flags:
          (path.accept ? mfib_itf_flags.MFIB_API_ITF_FLAG_ACCEPT : 0) |
          (path.forward ? mfib_itf_flags.MFIB_API_ITF_FLAG_FORWARD : 0),
        path: {
          ...pathTo(family, {
            ...(path.interface !== undefined && { sw_if_index: at.interface(path.interface) }),
            ...(path.table_id !== undefined && { table_id: path.table_id }),
          }),
          // A path with an rpf_id continues in the multicast table of that id, one without in the unicast table.
          rpf_id: path.table_id === undefined ? 0 : o.table_id,
        },
      })),
    },
  });
}

function neighbour(o: ObjectOf<'neighbour'>, at: Handles, is_add: boolean): Call {
  return call(ip_neighbor_add_del, {
    is_add,
    neighbor: {
      sw_if_index: at.interface(o.interface),
      flags: ip_neighbor_flags.IP_API_NEIGHBOR_FLAG_STATIC,
      mac_address: o.mac,
      ip_address: o.address,
    },
  });
}

function puntRedirect(o: ObjectOf<'punt_redirect'>, is_add: boolean): Call {
  return call(add_del_ip_punt_redirect_v2, {
    is_add,
    punt: {
      rx_sw_if_index: no_interface,
      af: afOf(o.family),
      paths: [pathTo(o.family, { table_id: o.table_id })],
    },
  });
}

function puntL4(o: ObjectOf<'punt_l4'>, is_add: boolean): Call {
  const all_ports = 65535;
  return call(set_punt, {
    is_add,
    punt: {
      type: 'PUNT_API_TYPE_L4',
      punt: { l4: { af: afOf(o.family), protocol: protocols[o.protocol], port: all_ports } },
    },
  });
}

function redirectTable(family: Family, at: Handles): number {
  return at.of({ kind: 'redirect_table', family });
}

function redirectAcl(o: ObjectOf<'redirect_acl'>, at: Handles, is_add: boolean): Call {
  const index = redirectTable(o.family, at);
  return call(input_acl_set_interface, {
    sw_if_index: at.interface(o.interface),
    ip4_table_index: o.family === 4 ? index : no_interface,
    ip6_table_index: o.family === 6 ? index : no_interface,
    l2_table_index: no_interface,
    is_add,
  });
}

function endpoint(addr: string, port: number): cnat_endpoint {
  return { addr, sw_if_index: no_interface, if_af: afOf(familyOf(addr)), port };
}
