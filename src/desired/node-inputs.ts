/** What the objects of the node follow from: its uplinks as Linux had them, and what was configured. */
import type { RepeatedAdvertisement } from '../ip/advertisement.js';
import type { Address, Neighbour as LinuxNeighbour, Route as LinuxRoute } from '../linux/network.js';
import type { InterfaceTag, RxMode, UplinkDevice } from '../objects/interfaces.js';
import type { RedirectMatch } from '../objects/redirect.js';
import type { CnatMake, NeverNatted, UplinkEntry } from './source-nat.js';

/** VPP's side of every host tap; the last byte is the uplink's index. */
const tap_mac_prefix = '02:ca:11:c0:fd';

/** A device as it was found, with what was asked for it. */
export interface Uplink {
  readonly name: string;
  readonly index: number;
  readonly is_main: boolean;
  readonly mac: string;
  readonly mtu: number;
  /** All addresses that Linux had on it, in kernel order. */
  readonly addresses: readonly Address[];
  /** The routes of Linux through it, of all tables; VPP gets those of the main table. */
  readonly routes: readonly LinuxRoute[];
  /** Its ifindex in Linux: which next hops of `routes` are meant. */
  readonly link: number;
  /** Addresses of the host that no uplink has (of its loopback, of dummies), without length; of the main uplink alone. */
  readonly host_addresses: readonly string[];
  /** Neighbours that somebody has set in Linux, and those that Linux answers for. */
  readonly neighbours: readonly LinuxNeighbour[];
  /** A DHCP server may lend it other addresses (IPv4) than it has. */
  readonly leased?: boolean;
  readonly physical_network: string;
  readonly rx_mode: RxMode;
  /** The VPP interface itself, as its driver wants it. */
  readonly device: UplinkDevice;
}

export interface NodeInputs {
  readonly uplinks: readonly Uplink[];
  /** Put on VPP's side of every host tap, e.g. `169.254.0.1/32`. */
  readonly tap_address: string;
  readonly tap: { readonly rx_ring_size: number; readonly tx_ring_size: number; readonly rx_mode: RxMode };
  /** The network namespace of the host. */
  readonly host_namespace: string;
  readonly gso: boolean;
  readonly neighbours: Readonly<
    Record<'ip4' | 'ip6', { readonly max_number: number; readonly max_age_s: number }>
  >;
  readonly service_prefixes: readonly string[];
  readonly cnat: CnatMake;
  /** Where what pods and the outside send keeps its source. */
  readonly not_natted?: NeverNatted;
  /** The entry for uplinks that this VPP has, or is to have. */
  readonly uplink_entry?: UplinkEntry | undefined;
  /** One default route per family through the main uplink, beside those that Linux had. */
  readonly default_gateways: readonly string[];
  readonly redirects: readonly RedirectMatch[];
  /** IPv4 packets with options do not go to the host, whom no policy of VPP's would keep them from. */
  readonly drop_ip_options?: boolean;
  /** VPP does IKE with other nodes. */
  readonly does_ike?: boolean;
  /** Tables for pods that get what npol judges, and nothing else. */
  readonly drop_other_protocols?: boolean;
  /** What routers say, by the name of the uplink that they are behind; to be told again on its tap. Absent: none has been heard. */
  readonly repeated?: ReadonlyMap<string, RepeatedAdvertisement>;
  /** Gives an IPv6 /128 of an uplink to VPP as /64: VPP does not learn the on-link prefix from router advertisements. */
  readonly uplink_128_to_64: boolean;
  /** Of networks beside the default one that VPP is to have tables for. */
  readonly network_vnis?: readonly number[];
}

const uplink_prefix = 'main-';
export const uplinkTag = (name: string): InterfaceTag => `${uplink_prefix}${name}`;
export const hostTapTag = (name: string): InterfaceTag => `host-${name}`;
export const hostTapMac = (index: number): string =>
  `${tap_mac_prefix}:${index.toString(16).padStart(2, '0')}`;
