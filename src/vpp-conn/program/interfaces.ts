/** Interfaces and what is set on them. */
import { af_packet_create_v3, af_packet_delete, af_packet_flags } from 'vpp-binapi-ts/af_packet';
import { af_xdp_create_v3, af_xdp_delete } from 'vpp-binapi-ts/af_xdp';
import { proxy_arp_intfc_enable_disable } from 'vpp-binapi-ts/arp';
import {
  cnat_snat_policy_add_del_if,
  type cnat_snat_policy_table,
  feature_cnat_enable_disable,
} from 'vpp-binapi-ts/cnat';
import { feature_enable_disable } from 'vpp-binapi-ts/feature';
import { feature_gso_enable_disable } from 'vpp-binapi-ts/gso';
import {
  create_loopback_instance,
  delete_loopback,
  sw_interface_add_del_address,
  sw_interface_set_flags,
  sw_interface_set_mac_address,
  sw_interface_set_mtu,
  sw_interface_set_promisc,
  sw_interface_set_rx_mode,
  sw_interface_set_rx_placement,
  sw_interface_set_table,
} from 'vpp-binapi-ts/interface';
import { if_status_flags, type rx_mode } from 'vpp-binapi-ts/interface_types';
import { sw_interface_ip6_enable_disable, sw_interface_ip6_set_link_local_address } from 'vpp-binapi-ts/ip';
import { sw_interface_ip6nd_ra_config } from 'vpp-binapi-ts/ip6_nd';
import { tap_create_v3, tap_delete_v2, tap_flags } from 'vpp-binapi-ts/tapv2';
import type { InterfaceSwitch } from '../../objects/interfaces.js';
import type { ObjectOf } from '../../objects/object.js';
import { type Call, call } from '../call.js';
import { no_interface } from '../paths.js';
import { none, type Programs, tag } from './common.js';

const rx_modes: Readonly<Record<ObjectOf<'interface_rx_mode'>['mode'], rx_mode>> = {
  polling: 'RX_MODE_API_POLLING',
  interrupt: 'RX_MODE_API_INTERRUPT',
  adaptive: 'RX_MODE_API_ADAPTIVE',
  default: 'RX_MODE_API_DEFAULT',
};

const sw_if_index = (reply: { readonly sw_if_index: number }): number => reply.sw_if_index;
const no_mac = '00:00:00:00:00:00';
/** Bytes of a packet ring frame: holds a whole GSO packet. */
const af_packet_frame_bytes = 65536;
/** VNET_API_ERROR_IF_ALREADY_EXISTS and friends are errors: an object that is there twice is not what was asked for. */
const address_exists = -105;
const address_not_there = -60;
const ip6_not_enabled = -62;
/** The device keeps its MAC. */
const unimplemented = -9;
/** Of feature_enable_disable: VPP has no such feature. */
const no_such_feature = -7;

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
    call(
      sw_interface_ip6nd_ra_config,
      {
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
      },
      // It went with IPv6.
      on ? {} : { tolerated: [ip6_not_enabled] },
    ),
  ],
  cnat_feature: (index, on) => [
    call(feature_cnat_enable_disable, { sw_if_index: index, enable_disable: on }),
  ],
  cnat_in: (index, on) => cnatWithout(index, on, 'out'),
  cnat_out: (index, on) => cnatWithout(index, on, 'in'),
  gso_feature: (index, on) => [call(feature_gso_enable_disable, { sw_if_index: index, enable_disable: on })],
  // VPP counts how often: off comes first.
  dhcp_client_detect: (index, on) => [
    dhcpClientDetect(index, false),
    ...(on ? [dhcpClientDetect(index, true)] : []),
  ],
  // VPP remembers it beyond the life of an interface, and then does nothing for the next one of that index: off comes first.
  proxy_arp: (index, on) => [
    call(proxy_arp_intfc_enable_disable, { sw_if_index: index, enable: false }),
    ...(on ? [call(proxy_arp_intfc_enable_disable, { sw_if_index: index, enable: true })] : []),
  ],
  snat_pod: (index, on) => [snatInterface(index, on, 'CNAT_POLICY_POD')],
  snat_host: (index, on) => [snatInterface(index, on, 'CNAT_POLICY_HOST')],
  snat_include_ip4: (index, on) => [snatInterface(index, on, 'CNAT_POLICY_INCLUDE_V4')],
  snat_include_ip6: (index, on) => [snatInterface(index, on, 'CNAT_POLICY_INCLUDE_V6')],
};

/** Without VPP's dhcp plugin a host keeps the lease that it has, and is not reached with an offer of another. */
function dhcpClientDetect(index: number, on: boolean): Call {
  const feature = { arc_name: 'ip4-unicast', feature_name: 'ip4-dhcp-client-detect' };
  return call(
    feature_enable_disable,
    { sw_if_index: index, enable: on, ...feature },
    { tolerated: [no_such_feature] },
  );
}

/** What `feature_cnat_enable_disable` puts on an interface. */
const cnat_nodes = {
  in: { arc: 'unicast', nodes: ['cnat-lookup', 'cnat-input'] },
  out: { arc: 'output', nodes: ['cnat-writeback', 'cnat-output'] },
} as const;

/**
 * By way of the whole: VPP then says of either half whether it is on, and makes its cnat ready when it is asked for the first time. What a reading asks
 * after goes last: where this process dies in between, the next one sees the whole, and begins anew.
 */
function cnatWithout(sw_if_index: number, on: boolean, half: keyof typeof cnat_nodes): Call[] {
  const whole = call(feature_cnat_enable_disable, { sw_if_index, enable_disable: on });
  if (!on) return [whole];
  const { arc, nodes } = cnat_nodes[half];
  return [
    whole,
    ...(['ip6', 'ip4'] as const).flatMap((family) =>
      nodes.map((node) =>
        call(feature_enable_disable, {
          sw_if_index,
          enable: false,
          arc_name: `${family}-${arc}`,
          feature_name: `${node}-${family}`,
        }),
      ),
    ),
  ];
}

function snatInterface(index: number, on: boolean, table: cnat_snat_policy_table): Call {
  return call(cnat_snat_policy_add_del_if, { sw_if_index: index, is_add: Number(on), table });
}

export const interfaces: Programs<
  | 'af_packet'
  | 'af_xdp'
  | 'loopback'
  | 'existing_interface'
  | 'tap'
  | 'interface_table'
  | 'interface_address'
  | 'link_local'
  | 'interface_mtu'
  | 'interface_rx_mode'
  | 'rx_placement'
  | 'interface_flag'
> = {
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
  loopback: {
    add: ({ mac = no_mac }) => [
      call(
        create_loopback_instance,
        { mac_address: mac, is_specified: false, user_instance: 0 },
        { made: sw_if_index },
      ),
    ],
    follow: (o, at) => [tag(o.tag, at)],
    remove: (o, at) => [call(delete_loopback, { sw_if_index: at.interface(o.tag) })],
  },
  existing_interface: {
    add: (o, at) => {
      const index = at.interface(o.tag);
      if (o.mac === undefined) return none;
      const asked = { sw_if_index: index, mac_address: o.mac };
      return [call(sw_interface_set_mac_address, asked, { tolerated: [unimplemented] })];
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
          // VPP keeps the bytes that it gets, and its dumps read on to the next NUL.
          tag: `${o.tag}\0`,
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
      call(sw_interface_set_mtu, { sw_if_index: at.interface(o.interface), mtu: [o.mtu, 0, o.mtu6 ?? 0, 0] }),
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
};
