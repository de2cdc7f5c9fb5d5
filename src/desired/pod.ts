/**
 * What VPP holds for one pod interface, and what Linux holds in the pod's namespace. Pure.
 *
 *   pod table: 0/0 → pods table → default table        packets of the pod
 *   default table: pod/32 → tun                         packets to the pod
 *   uRPF of the tun: strict against the default table, or loose against a table of allowed sources; while the pod may not
 *   send, strict against the pods table, which has no route through the tun
 *
 * With a memif beside the tun it is otherwise (pod-memif.ts), and with VPP's host stack (pod-vcl.ts). In another network than the default one these
 * tables are that network's: it leads to no other. A pod whose network is not there has its interface, and no way in or out.
 *
 * The tun carries 169.254.1.1 (and a unique-local address for IPv6) itself, the same in every pod's table: VPP sources its
 * ICMP errors from it. With the pod's own address there, Linux discards them and path MTU discovery never works.
 */

import { type Family, familyOf } from '../ip/text.js';
import type { NetworkChange, NewRoute } from '../linux/network.js';
import type { Translation } from '../objects/cnat.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import type { VppObject } from '../objects/object.js';
import { podInterfaceTag, podLoopbackTag, podTableName } from '../pod/names.js';
import { addressesOf, familiesOf, type PodSpec } from '../pod/spec.js';
import type { NetworkHere } from './networks.js';
import { memifObjects, routesTo } from './pod-memif.js';
import { flags, ip6Enabled, settings, sourceTables, verdictOf } from './pod-settings.js';
import { inObjects, outObjects, stackObjects } from './pod-vcl.js';
import type { NatPools } from './source-nat.js';
import {
  allOf,
  default_table,
  hostPrefix,
  networkTables,
  type PodTableIds,
  pods_table,
  table,
} from './tables.js';

/** The address of VPP's side of every pod interface; a link-local one would leave VPP without a source for ICMPv6 errors. */
export const pod_gateway: Readonly<Record<Family, string>> = { 4: '169.254.1.1', 6: 'fdca:11c0::1' };
/** The MAC of the Linux side of a pod's tap; VPP has it as static neighbour. */
export const pod_mac = '02:00:00:00:00:01';
/** The MAC of VPP's side of a pod's tap. */
export const pod_tap_mac = '02:ca:11:c0:fe:01';
/** The least that Linux (IPv4) and RFC 8200 (IPv6) let an interface have. */
const mtu_min: Readonly<Record<Family, number>> = { 4: 68, 6: 1280 };
/** Without it an address of a tap stays tentative, and unusable, for a second. */
const ifa_f_nodad = 0x02;
const nud_permanent = 0x80;
const rtprot_boot = 3;

/** What the pod's objects depend on beside its spec. */
export interface PodInputs {
  readonly tables: PodTableIds;
  readonly mtu: number;
  readonly gso: boolean;
  /** Node addresses for host ports without one of their own. */
  readonly node: { readonly ip4?: string; readonly ip6?: string };
  /** Families for which the node has a table of redirect rules. */
  readonly redirects: readonly Family[];
  /** Worker threads that receive queues are spread over. */
  readonly workers: number;
  /** Undefined: not known yet. What VPP has been told of them stays. */
  readonly pools?: NatPools;
  /**
   * It may receive and not send: VPP judges a flow with its first packet, and one that has no way out yet is never judged again, as long as it
   * goes on.
   */
  readonly held: boolean;
  /** Of flows for which Felix has configured no policy yet. */
  readonly default_verdict: 'allow' | 'deny';
  /** The pod gets no packets of protocols that npol does not judge. */
  readonly drop_other_protocols?: boolean;
  /** Beside the default one, those that there are; undefined: not known. */
  readonly networks?: readonly NetworkHere[];
}

/** The tables of the network that a pod is in. */
export interface PodHome {
  /** Where its addresses are. */
  readonly main: number;
  /** Where it looks for its way. */
  readonly pods: number;
}

const default_home: PodHome = { main: default_table, pods: pods_table };

/** That of the pod's interface; undefined: it is not there, or not known. The default network always is. */
export function networkOfPod(
  { network_name }: Pick<PodSpec, 'network_name'>,
  networks: readonly NetworkHere[] | undefined,
): NetworkHere | 'default' | undefined {
  return network_name === '' ? 'default' : networks?.find(({ name }) => name === network_name);
}

function homeOf(spec: PodSpec, networks: readonly NetworkHere[] | undefined): PodHome | undefined {
  const network = networkOfPod(spec, networks);
  return network === 'default' ? default_home : network && networkTables(network.vni);
}

export function desiredPod(spec: PodSpec, inputs: PodInputs): VppObject[] {
  const tag = podInterfaceTag(spec);
  const families = familiesOf(spec);
  const { tables } = inputs;
  const { interface_spec: queues } = spec;
  const is_tap = spec.interface_type === 'tap';
  const home = homeOf(spec, inputs.networks);
  return [
    ...families.flatMap((family): VppObject[] => [
      table(family, tables.pod, podTableName(spec, family)),
      ...(home === undefined ? [] : waysOut(spec, family, tables.pod, home)),
    ]),
    {
      kind: 'tap',
      tag,
      host_namespace: spec.netns,
      host_if_name: spec.interface_name,
      host_mtu: inputs.mtu,
      ...(is_tap && { host_mac: pod_mac, mac: pod_tap_mac }),
      rx_queues: queues.rx_queues,
      tx_queues: queues.tx_queues,
      rx_ring_size: queues.rx_ring_size,
      tx_ring_size: queues.tx_ring_size,
      type: spec.interface_type,
      gso: inputs.gso,
      persistent: true,
    },
    ...families.flatMap((family): VppObject[] => [
      { kind: 'interface_table', interface: tag, family, table_id: tables.pod },
      { kind: 'interface_address', interface: tag, prefix: hostPrefix(pod_gateway[family]) },
    ]),
    ...(queues.rx_mode === 'default'
      ? []
      : [{ kind: 'interface_rx_mode', interface: tag, mode: queues.rx_mode } as const]),
    ...(is_tap
      ? addressesOf(spec).map(
          (address): VppObject => ({ kind: 'neighbour', interface: tag, address, mac: pod_mac }),
        )
      : []),
    ...routesTo(spec, tag, tables, home?.main),
    ...settings(
      spec,
      tag,
      { is_ethernet: is_tap, cnat: spec.vcl ? 'cnat_in' : 'cnat_feature' },
      inputs,
      home,
    ),
    ...(inputs.held || home === undefined ? [] : sourceTables(spec, tag, tables)),
    ...hostPorts(spec, inputs),
    ...placements(spec, tag, inputs.workers),
    ...besides(spec, inputs, home),
  ];
}

/** Of groups VPP keeps not enough that another table could take their place: a network that is made anew would not have them. */
function waysOut(spec: PodSpec, family: Family, table_id: number, { pods }: PodHome): VppObject[] {
  const routes = allOf(family).map(
    (prefix): VppObject => ({
      kind: 'route',
      source: 'pods',
      table_id,
      prefix,
      paths: [{ via: 'lookup', table_id: pods }],
    }),
  );
  if (spec.network_name !== '') return routes;
  return [
    ...routes,
    {
      kind: 'mroute',
      table_id,
      group: family === 4 ? '224.0.0.0/4' : 'ff00::/8',
      accept_all_interfaces: true,
      paths: [{ table_id: pods, accept: false, forward: true }],
    },
  ];
}

function besides(spec: PodSpec, inputs: PodInputs, home: PodHome | undefined): VppObject[] {
  const { memif } = spec;
  return [...(spec.vcl ? vclObjects(spec, inputs, home) : []), ...(memif ? memifAndSettings(memif) : [])];

  function memifAndSettings(own: NonNullable<typeof memif>): VppObject[] {
    const tag = podInterfaceTag(spec, 'memif');
    return [
      ...memifObjects({ ...spec, memif: own }, inputs.tables.pod, { mac: pod_tap_mac, pod_mac }),
      ...settings(spec, tag, { is_ethernet: !own.is_l3, cnat: 'cnat_feature' }, inputs, home),
    ];
  }
}

/** What the host stack sends is judged, translated and checked as what comes by the device, and what it is sent as what leaves by that. */
function vclObjects(spec: PodSpec, inputs: PodInputs, home: PodHome | undefined): VppObject[] {
  const out = podLoopbackTag(spec, 'out');
  const to_it = podLoopbackTag(spec, 'in');
  return [
    ...stackObjects(spec, inputs.tables),
    ...outObjects(spec, inputs.tables),
    ...settings(spec, out, { is_ethernet: false, cnat: 'cnat_in' }, inputs, home),
    ...inObjects(spec, inputs.tables),
    ...flags(to_it, ['snat_pod', 'cnat_out', ...ip6Enabled(spec), 'admin_up']),
    verdictOf(spec, to_it, inputs),
  ];
}

/** A host port listens on the address it names, or on the node's own, per family of the pod. */
export function hostPorts(spec: PodSpec, inputs: Pick<PodInputs, 'node'>): Translation[] {
  const byListener = new Map<string, Translation>();
  for (const { protocol, host_port, container_port, host_ip } of spec.host_ports) {
    for (const backend of addressesOf(spec)) {
      const family = familyOf(backend);
      const address = host_ip ?? inputs.node[`ip${family}`];
      if (address === undefined || familyOf(address) !== family) continue;
      const key = `${protocol}/${address}/${host_port}`;
      if (byListener.has(key)) continue;
      byListener.set(key, {
        kind: 'translation',
        address,
        port: host_port,
        protocol,
        backends: [{ address: backend, port: container_port }],
        real: true,
      });
    }
  }
  return [...byListener.values()];
}

function placements(spec: PodSpec, tag: InterfaceTag, workers: number): VppObject[] {
  if (workers === 0) return [];
  const first = [...tag].reduce((sum, letter) => sum + letter.charCodeAt(0), 0);
  return Array.from({ length: spec.interface_spec.rx_queues }, (_, queue_id) => ({
    kind: 'rx_placement' as const,
    interface: tag,
    queue_id,
    worker_id: (first + queue_id) % workers,
  }));
}

/** Sysctls inside the pod's namespace, written before addresses are added. */
export function podSysctls(spec: PodSpec): readonly { readonly path: string; readonly value: string }[] {
  const forwarding = spec.allow_ip_forwarding ? '1' : '0';
  const families = familiesOf(spec);
  return [
    ...(families.includes(4) ? [{ path: 'net/ipv4/ip_forward', value: forwarding }] : []),
    ...(families.includes(6)
      ? [
          ...['all', 'default', 'lo'].map((name) => ({
            path: `net/ipv6/conf/${name}/disable_ipv6`,
            value: '0',
          })),
          { path: 'net/ipv6/conf/all/forwarding', value: forwarding },
        ]
      : []),
  ];
}

/**
 * What the pod's interface has as MTU: what was asked for or the node's, never more than the node's or less than the family needs. Never odd: VPP damages
 * segments of an odd length when it cuts them for a tunnel (docs/vpp-notes.md).
 */
export function podMtu(spec: Pick<PodSpec, 'mtu' | 'addresses'>, node_mtu: number): number {
  const min = spec.addresses.ip6.length > 0 ? mtu_min[6] : mtu_min[4];
  const mtu = Math.max(min, Math.min(spec.mtu === 0 ? node_mtu : spec.mtu, node_mtu));
  return mtu - (mtu % 2);
}

/** Headers around what goes to other nodes by VXLAN without Ethernet, in bytes: those of IP, UDP and VXLAN. */
const carried_max_headers: Readonly<Record<Family, number>> = { 4: 36, 6: 56 };

/** Of what a pod sends nothing is longer than what its network carries to other nodes. `node_mtu`: of the default network. In bytes. */
export function mtuOfNetwork(
  spec: PodSpec,
  { mtu: node_mtu, networks }: { readonly mtu: number; readonly networks?: readonly NetworkHere[] },
): number {
  const network = networkOfPod(spec, networks);
  if (network === 'default' || network === undefined) return node_mtu;
  const headers = Math.max(...familiesOf(spec).map((family) => carried_max_headers[family]));
  return network.underlay.mtu - headers;
}

/** The Linux side of a pod interface with ifindex `link`. Every change can be repeated; see `isHarmless` for routes. */
export function podChanges(spec: PodSpec, link: number, mtu: number): NetworkChange[] {
  const is_tap = spec.interface_type === 'tap';
  return [
    { do: 'set_link', link, up: true, mtu },
    ...addressesOf(spec).map(
      (address): NetworkChange => ({
        do: 'replace_address',
        address: {
          link,
          family: familyOf(address),
          prefix: hostPrefix(address),
          flags: familyOf(address) === 6 ? ifa_f_nodad : 0,
        },
      }),
    ),
    ...(is_tap
      ? familiesOf(spec).map(
          (family): NetworkChange => ({
            do: 'set_neighbour',
            neighbour: { link, family, address: pod_gateway[family], mac: pod_tap_mac, state: nud_permanent },
          }),
        )
      : []),
    ...spec.routes.map((prefix): NetworkChange => ({ do: 'add_route', route: podRoute(spec, link, prefix) })),
  ];
}

/** What an earlier spec of the pod put into Linux and the present one does not want. */
export function staleChanges(before: PodSpec, now: PodSpec, link: number): NetworkChange[] {
  const wanted = new Set([...addressesOf(now), ...now.routes]);
  return [
    ...before.routes
      .filter((prefix) => !wanted.has(prefix))
      .map((prefix): NetworkChange => ({ do: 'delete_route', route: podRoute(before, link, prefix) })),
    ...addressesOf(before)
      .filter((address) => !wanted.has(address))
      .map(
        (address): NetworkChange => ({
          do: 'delete_address',
          address: { link, family: familyOf(address), prefix: hostPrefix(address) },
        }),
      ),
  ];
}

/**
 * Whether a refused change leaves the pod as it should be: a route that is there already. It may lead through another
 * interface of the pod (the default route of a secondary one): the first to come keeps it.
 */
export function isHarmless(change: NetworkChange, code: string): boolean {
  return change.do === 'add_route' && code === 'EEXIST';
}

function podRoute(spec: PodSpec, link: number, prefix: string): NewRoute {
  const family = familyOf(prefix);
  const is_tap = spec.interface_type === 'tap';
  const next_hop = is_tap ? { oif: link, gateway: pod_gateway[family], onlink: true } : { oif: link };
  return { family, prefix, protocol: rtprot_boot, next_hops: [next_hop] };
}
