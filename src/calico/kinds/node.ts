import { canonicalAddress, canonicalPrefix, splitPrefix } from '../../ip/spelling.js';
import { type Family, familyOf } from '../../ip/text.js';
import { type Fields, isRecord } from '../fields.js';
import type { Labels } from '../selector.js';
import { asNumber, expected_as_number, type Kind, pickFields, present } from './kind.js';

/** An address of a node and the prefix that it is on: `10.0.0.2` on `10.0.0.0/24`. */
export interface NodeAddress {
  readonly address: string;
  readonly prefix: string;
}

/** Calico's Node, which is Kubernetes' Node with annotations of Calico. */
export interface CalicoNode {
  readonly name: string;
  /** Kubernetes' labels over those of Calico's annotation: what selectors see. */
  readonly labels: Labels;
  /** Address for BGP and tunnels, by annotation. */
  readonly ip4?: NodeAddress;
  readonly ip6?: NodeAddress;
  /** The first InternalIP, or else ExternalIP, of the status: for nodes without BGP. */
  readonly status_ip4?: string;
  readonly status_ip6?: string;
  /** It is being deleted, or is to be taken away by the cluster's autoscaler: load balancers are to leave it. */
  readonly going?: true;
  readonly as_number?: number;
  /** The node is a route reflector of this cluster. */
  readonly cluster_id?: string;
  /** Ends of tunnels of nodes with Linux' dataplane. */
  readonly ipip_tunnel_ip4?: string;
  readonly vxlan_tunnel_ip4?: string;
  readonly vxlan_tunnel_ip6?: string;
  readonly vxlan_mac?: string;
  readonly vxlan_mac6?: string;
  readonly wireguard_ip4?: string;
  readonly wireguard_ip6?: string;
  /** Base64 of 32 bytes. */
  readonly wireguard_key?: string;
  readonly wireguard_key6?: string;
}

const domain = 'projectcalico.org/';

export const node_annotation = {
  ip4: `${domain}IPv4Address`,
  ip6: `${domain}IPv6Address`,
  wireguard_key: `${domain}WireguardPublicKey`,
  wireguard_key6: `${domain}WireguardPublicKeyV6`,
} as const;

/** Without a length it is on a link of its own. */
function nodeAddress(family: Family): (value: unknown) => NodeAddress | undefined {
  return (value) => {
    if (typeof value !== 'string' || familyOf(value) !== family) return undefined;
    const text = value.trim();
    return splitPrefix(text.includes('/') ? text : (canonicalPrefix(text) ?? ''));
  };
}

const ofFamily = (family: Family) => (value: unknown) =>
  typeof value === 'string' && familyOf(value) === family ? canonicalAddress(value) : undefined;

const mac = (value: unknown) =>
  typeof value === 'string' && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(value)
    ? value.toLowerCase()
    : undefined;

/** Base64 of 32 bytes; undefined: it is no key. */
export const wireguardKey = (value: unknown) =>
  typeof value === 'string' && /^[A-Za-z0-9+/]{43}=$/.test(value) ? value : undefined;

function calicoLabels(value: unknown): Labels | undefined {
  if (typeof value !== 'string') return undefined;
  try {
    const labels: unknown = JSON.parse(value);
    if (!isRecord(labels)) return undefined;
    return Object.fromEntries(
      Object.entries(labels).flatMap(([key, label]) => (typeof label === 'string' ? [[key, label]] : [])),
    );
  } catch {
    return undefined;
  }
}

/** The address of one family that the status has, an InternalIP before an ExternalIP. */
function statusAddress(status: Fields, family: Family): string | undefined {
  const addresses = status.list('addresses', (entry) => {
    const type = entry.text('type');
    // Others are names.
    if (type !== 'InternalIP' && type !== 'ExternalIP') return undefined;
    const address = ofFamily(family)(entry.raw('address'));
    return address === undefined ? undefined : { type, address };
  });
  return (addresses.find(({ type }) => type === 'InternalIP') ?? addresses[0])?.address;
}

const going_taint = 'ToBeDeletedByClusterAutoscaler';

export const node_kind: Kind<CalicoNode> = {
  name: 'Node',
  plural: 'nodes',
  versions: ['v1'],
  absence: 'wait',
  // The status lists images: 20 kB and more.
  page: 50,
  objects_max: 20_000,
  pick: (name, object) =>
    pickFields(object, (fields) => {
      const metadata = fields.object('metadata');
      const annotations = metadata.object('annotations');
      const status = fields.object('status');
      const taints = fields.object('spec').list('taints', (taint) => taint.text('key'));
      const going = metadata.raw('deletionTimestamp') !== undefined || taints.includes(going_taint);
      const ip4 = ofFamily(4);
      const ip6 = ofFamily(6);
      return present<CalicoNode>({
        name,
        labels: {
          ...annotations.read(`${domain}labels`, 'a JSON object of labels', calicoLabels),
          ...metadata.texts('labels'),
        },
        ip4: annotations.read(node_annotation.ip4, 'an IPv4 address with its mask', nodeAddress(4)),
        ip6: annotations.read(node_annotation.ip6, 'an IPv6 address with its mask', nodeAddress(6)),
        status_ip4: statusAddress(status, 4),
        status_ip6: statusAddress(status, 6),
        going: going ? true : undefined,
        as_number: annotations.read(`${domain}ASNumber`, expected_as_number, asNumber),
        cluster_id: annotations.read(`${domain}RouteReflectorClusterID`, 'a dotted quad', ip4),
        ipip_tunnel_ip4: annotations.read(`${domain}IPv4IPIPTunnelAddr`, 'an IPv4 address', ip4),
        vxlan_tunnel_ip4: annotations.read(`${domain}IPv4VXLANTunnelAddr`, 'an IPv4 address', ip4),
        vxlan_tunnel_ip6: annotations.read(`${domain}IPv6VXLANTunnelAddr`, 'an IPv6 address', ip6),
        vxlan_mac: annotations.read(`${domain}VXLANTunnelMACAddr`, 'a MAC address', mac),
        vxlan_mac6: annotations.read(`${domain}VXLANTunnelMACAddrV6`, 'a MAC address', mac),
        wireguard_ip4: annotations.read(`${domain}IPv4WireguardInterfaceAddr`, 'an IPv4 address', ip4),
        wireguard_ip6: annotations.read(`${domain}IPv6WireguardInterfaceAddr`, 'an IPv6 address', ip6),
        wireguard_key: annotations.read(node_annotation.wireguard_key, 'a WireGuard key', wireguardKey),
        wireguard_key6: annotations.read(node_annotation.wireguard_key6, 'a WireGuard key', wireguardKey),
      });
    }),
};
