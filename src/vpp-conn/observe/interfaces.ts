/** Interfaces and what is set on them, back from VPP. */
import { af_packet_dump } from 'vpp-binapi-ts/af_packet';
import { proxy_arp_intfc_dump } from 'vpp-binapi-ts/arp';
import { classify_table_by_interface } from 'vpp-binapi-ts/classify';
import { feature_is_enabled } from 'vpp-binapi-ts/feature';
import {
  type sw_interface_details,
  sw_interface_get_table,
  sw_interface_rx_placement_dump,
} from 'vpp-binapi-ts/interface';
import { if_status_flags, type rx_mode } from 'vpp-binapi-ts/interface_types';
import { ip_address_dump, sw_interface_ip6_get_link_local_address } from 'vpp-binapi-ts/ip';
import { type sw_interface_ip6nd_ra_details, sw_interface_ip6nd_ra_dump } from 'vpp-binapi-ts/ip6_nd';
import { sw_interface_tap_v2_dump, tap_flags } from 'vpp-binapi-ts/tapv2';
import { type urpf_interface_details, urpf_interface_dump } from 'vpp-binapi-ts/urpf';
import type { InterfaceSwitch, InterfaceTag, RxMode } from '../../objects/interfaces.js';
import type { ObjectOf, VppObject } from '../../objects/object.js';
import { isHostTapTag, isUplinkTag } from '../../objects/owner.js';
import type { Handles } from '../handles.js';
import { danglingTag, no_interface } from '../paths.js';
import { observeMemifs } from './memif.js';
import { families, familyOfAf, type Reader, type TagOf } from './reader.js';
import { halfMade, observeTunnels, observeUnnumbered } from './tunnels.js';
import { observeUplinkDevices } from './uplink-devices.js';

/** VPP's names for the classes of these devices. */
const dev_types: Readonly<Record<string, 'af_xdp' | 'loopback'>> = {
  'AF_XDP interface': 'af_xdp',
  Loopback: 'loopback',
};

/** A node of each feature's arc, by which VPP tells whether the feature is on. The dumps of some features are no proof. */
const feature_nodes = [
  { arc_name: 'ip4-unicast', feature_name: 'cnat-input-ip4' },
  { arc_name: 'ip4-output', feature_name: 'cnat-output-ip4' },
  { arc_name: 'ip4-output', feature_name: 'gso-ip4' },
] as const;

const rx_modes: Readonly<Partial<Record<rx_mode, RxMode>>> = {
  RX_MODE_API_POLLING: 'polling',
  RX_MODE_API_INTERRUPT: 'interrupt',
  RX_MODE_API_ADAPTIVE: 'adaptive',
  RX_MODE_API_DEFAULT: 'default',
};

const isUp = ({ flags }: Pick<sw_interface_details, 'flags'>): boolean =>
  (flags & if_status_flags.IF_STATUS_API_FLAG_ADMIN_UP) !== 0;

/** A tagged interface: the object that it is, and what VPP says of every interface. */
export interface ObservedInterface {
  readonly object: VppObject;
  readonly details: sw_interface_details;
}

/**
 * All interfaces that somebody tagged, each as the object that it is, and those without a tag that are in `announced`: made by us, who did
 * not come to tag them.
 */
export async function observeLinks(
  reader: Reader,
  interfaces: readonly sw_interface_details[],
  announced: readonly VppObject[],
  handles: Handles,
): Promise<ObservedInterface[]> {
  const [taps, af_packets, device_of, tunnel_of, memif_of] = await Promise.all([
    reader.dump(sw_interface_tap_v2_dump, {}),
    reader.dump(af_packet_dump, {}),
    observeUplinkDevices(reader, interfaces),
    observeTunnels(reader),
    observeMemifs(reader, handles),
  ]);
  const tap_of = new Map(taps.map((details) => [details.sw_if_index, details]));
  const af_packet_of = new Map(af_packets.map((details) => [details.sw_if_index, details]));
  return interfaces.flatMap((details): ObservedInterface[] => {
    const { sw_if_index, tag, interface_dev_type } = details;
    const memif = memif_of.get(sw_if_index);
    if (memif !== undefined) {
      // One that nobody has come to tag is told by its socket, and is nobody's.
      const own = tag === '' ? danglingTag(sw_if_index) : tag;
      handles.memif_sockets.set(own, memif.socket_id);
      return [{ object: { ...memif.memif, tag: own }, details }];
    }
    const tunnel = tunnel_of.get(sw_if_index);
    if (tag === '') {
      const object = tunnel
        ? halfMade(tunnel, sw_if_index, announced)
        : dev_types[interface_dev_type] === 'loopback' && halfMadeLoopback(details, announced);
      return object === undefined || object === false ? [] : [{ object, details }];
    }
    if (tunnel !== undefined) return [{ object: { ...tunnel, tag }, details }];
    // The node's own taps and loopbacks are no uplinks: one with such a tag is of VPP's start-up files.
    const is_uplink = isUplinkTag(tag);
    const tap = is_uplink ? undefined : tap_of.get(sw_if_index);
    const af_packet = af_packet_of.get(sw_if_index);
    if (tap !== undefined) {
      const has = (bit: number): boolean => (tap.tap_flags & bit) !== 0;
      const object = {
        kind: 'tap',
        tag,
        host_namespace: tap.host_namespace,
        host_if_name: tap.host_if_name,
        host_mtu: tap.host_mtu_size,
        type: has(tap_flags.TAP_API_FLAG_TUN) ? 'tun' : 'tap',
        gso: has(tap_flags.TAP_API_FLAG_GSO),
        persistent: has(tap_flags.TAP_API_FLAG_PERSIST),
        rx_ring_size: tap.rx_ring_sz,
        tx_ring_size: tap.tx_ring_sz,
      } satisfies Partial<ObjectOf<'tap'>> as ObjectOf<'tap'>;
      return [{ object, details }];
    }
    if (af_packet !== undefined) {
      const object = {
        kind: 'af_packet',
        tag,
        host_if_name: af_packet.host_if_name,
      } as ObjectOf<'af_packet'>;
      return [{ object, details }];
    }
    const device = is_uplink ? device_of.get(sw_if_index) : undefined;
    if (device !== undefined) return [{ object: { ...device, tag } as VppObject, details }];
    const made = dev_types[interface_dev_type] ?? 'existing_interface';
    const kind = made === 'loopback' && is_uplink ? 'existing_interface' : made;
    return [{ object: { kind, tag } as VppObject, details }];
  });
}

/** One that is on its way has a MAC of its own, by which it is told before it has its tag: shown by a name that nobody wants, it is removed. */
function halfMadeLoopback(
  { sw_if_index, l2_address }: sw_interface_details,
  announced: readonly VppObject[],
): ObjectOf<'loopback'> | undefined {
  const is_ours = announced.some(
    ({ kind, ...of }) => kind === 'loopback' && 'mac' in of && of.mac === l2_address,
  );
  return is_ours ? { kind: 'loopback', tag: danglingTag(sw_if_index) } : undefined;
}

/** What is set on these interfaces, which VPP may be losing meanwhile. */
export async function observeSettings(
  reader: Reader,
  links: readonly sw_interface_details[],
  tagOf: TagOf,
): Promise<VppObject[]> {
  const tags = new Map(links.map(({ sw_if_index, tag }) => [sw_if_index, tag]));
  const [each, proxy_arp, urpfs, unnumbered] = await Promise.all([
    Promise.all(links.map((details) => observeInterface(reader, details))),
    reader.dump(proxy_arp_intfc_dump, {}),
    reader.dump(urpf_interface_dump, {}),
    links.length === 0 ? [] : observeUnnumbered(reader, tags, tagOf),
  ]);
  return [
    ...each.flat(),
    ...unnumbered,
    ...proxy_arp.flatMap(({ sw_if_index }): VppObject[] => {
      const tag = tags.get(sw_if_index);
      return tag === undefined ? [] : [{ kind: 'interface_flag', interface: tag, flag: 'proxy_arp' }];
    }),
    ...(await observeUrpf(reader, urpfs, tags)),
  ];
}

async function observeInterface(reader: Reader, details: sw_interface_details): Promise<VppObject[]> {
  const { sw_if_index, tag } = details;
  const [tables, addresses, placements, features, link_local, advertisements, acl] = await Promise.all([
    reader.askAll(
      sw_interface_get_table,
      families.map((family) => ({ sw_if_index, is_ipv6: family === 6 })),
    ),
    Promise.all(
      families.map((family) => reader.dump(ip_address_dump, { sw_if_index, is_ipv6: family === 6 })),
    ),
    reader.dump(sw_interface_rx_placement_dump, { sw_if_index }),
    reader.askAll(
      feature_is_enabled,
      feature_nodes.map((node) => ({ ...node, sw_if_index })),
    ),
    // Refused for an interface without IPv6.
    reader.ask(sw_interface_ip6_get_link_local_address, { sw_if_index }),
    reader.dump(sw_interface_ip6nd_ra_dump, { sw_if_index }),
    reader.ask(classify_table_by_interface, { sw_if_index }),
  ]);
  // Gone since it was listed.
  if (tables.every((answer) => answer === undefined)) return [];
  const [cnat_in = false, cnat_out = false, gso = false] = features.map(
    (answer) => answer?.is_enabled === true,
  );
  const flag = (name: InterfaceSwitch): VppObject => ({ kind: 'interface_flag', interface: tag, flag: name });
  return [
    ...(isUp(details) ? [flag('admin_up')] : []),
    ...(details.mtu[0] === 0 ? [] : [mtuOf(tag, details.mtu)]),
    ...families.flatMap((family, at): VppObject[] => {
      const table_id = tables[at]?.vrf_id ?? 0;
      return table_id === 0 ? [] : [{ kind: 'interface_table', interface: tag, family, table_id }];
    }),
    ...addresses
      .flat()
      .map(({ prefix }): VppObject => ({ kind: 'interface_address', interface: tag, prefix })),
    ...placements.flatMap((placement) => observePlacement(tag, placement)),
    ...featuresOf({ cnat_in, cnat_out, gso }).map(flag),
    ...(link_local === undefined || link_local.ip === '::'
      ? []
      : [flag('ip6_enabled'), { kind: 'link_local', interface: tag, address: link_local.ip } as const]),
    ...(advertisements.some(({ send_radv }) => !send_radv) ? [flag('ra_suppressed')] : []),
    ...(isHostTapTag(tag) ? advertisements.flatMap((details) => observeAdvertisement(tag, details)) : []),
    ...families.flatMap((family): VppObject[] => {
      const index = family === 4 ? acl?.ip4_table_id : acl?.ip6_table_id;
      return index === undefined || index === no_interface
        ? []
        : [{ kind: 'redirect_acl', interface: tag, family }];
    }),
  ];
}

/** L3, IPv4, IPv6, MPLS; 0: that of L3. */
function mtuOf(tag: InterfaceTag, [mtu = 0, , mtu6 = 0]: readonly number[]): ObjectOf<'interface_mtu'> {
  return { kind: 'interface_mtu', interface: tag, mtu, ...(mtu6 !== 0 && { mtu6 }) };
}

/** Of VPP's own: a pod's interface may advertise because nobody told it not to. */
function observeAdvertisement(tag: InterfaceTag, details: sw_interface_ip6nd_ra_details): VppObject[] {
  if (!details.send_radv) return [];
  return [
    {
      kind: 'ra_config',
      interface: tag,
      lifetime_s: details.adv_router_lifetime,
      managed: details.adv_managed_flag,
      other: details.adv_other_flag,
    },
    ...details.prefixes.map(
      ({ prefix, onlink_flag, autonomous_flag, val_lifetime, pref_lifetime }): VppObject => ({
        kind: 'ra_prefix',
        interface: tag,
        prefix,
        on_link: onlink_flag,
        autonomous: autonomous_flag,
        valid_s: val_lifetime,
        preferred_s: pref_lifetime,
      }),
    ),
  ];
}

/**
 * Of an interface that nothing of an arc was ever configured for, VPP answers that all is on. That is so of the way out alone: where cnat is off
 * for what comes in, and both that leave are said to be on, neither is.
 */
function featuresOf(on: {
  readonly cnat_in: boolean;
  readonly cnat_out: boolean;
  readonly gso: boolean;
}): InterfaceSwitch[] {
  const { cnat_in, cnat_out, gso } = on;
  if (!cnat_in && cnat_out && gso) return [];
  return [...cnatOf(cnat_in, cnat_out), ...(gso ? (['gso_feature'] as const) : [])];
}

function cnatOf(is_in: boolean, is_out: boolean): InterfaceSwitch[] {
  if (is_in) return [is_out ? 'cnat_feature' : 'cnat_in'];
  return is_out ? ['cnat_out'] : [];
}

function observePlacement(
  tag: InterfaceTag,
  placement: { readonly queue_id: number; readonly worker_id: number; readonly mode: rx_mode },
): VppObject[] {
  const { queue_id } = placement;
  // VPP shows its thread, of which the first is the main one, in place of the worker that it was told. No queue is the main thread's where there are workers.
  const worker_id = Math.max(0, placement.worker_id - 1);
  const mode = rx_modes[placement.mode];
  return [
    { kind: 'rx_placement', interface: tag, queue_id, worker_id },
    ...(mode === undefined || queue_id !== 0
      ? []
      : [{ kind: 'interface_rx_mode', interface: tag, mode } as const]),
  ];
}

/** VPP's uRPF dump also shows what it forgot with a deleted interface: only a feature on the arc counts. */
async function observeUrpf(
  reader: Reader,
  dumped: readonly urpf_interface_details[],
  tags: ReadonlyMap<number, InterfaceTag>,
): Promise<VppObject[]> {
  const modes = { URPF_API_MODE_LOOSE: 'loose', URPF_API_MODE_STRICT: 'strict' } as const;
  const candidates = dumped.flatMap(({ sw_if_index, mode, af, table_id }) => {
    const tag = tags.get(sw_if_index);
    const known = modes[mode as keyof typeof modes];
    return tag === undefined || known === undefined
      ? []
      : [{ sw_if_index, tag, mode: known, family: familyOfAf(af), table_id }];
  });
  const enabled = await reader.askAll(
    feature_is_enabled,
    candidates.map(({ sw_if_index, family, mode }) => ({
      arc_name: `ip${family}-unicast`,
      feature_name: `ip${family}-rx-urpf-${mode}`,
      sw_if_index,
    })),
  );
  return candidates.flatMap(({ tag, mode, family, table_id }, at): VppObject[] =>
    enabled[at]?.is_enabled ? [{ kind: 'urpf', interface: tag, family, mode, table_id }] : [],
  );
}
