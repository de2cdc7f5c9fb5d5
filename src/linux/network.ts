/**
 * What Linux tells and takes about networking, as plain data, and the two interfaces through which it is reached.
 * Names and numbers are those of rtnetlink. Addresses are canonical strings, MACs lower case with colons,
 * a missing lifetime means "for ever". Everything here survives JSON, so that it can stand in the undo journal.
 */
import type { Family } from '../ip/text.js';

/** Kernel names of `IFLA_INFO_KIND`; a physical device has none. */
export type LinkKind =
  | 'veth'
  | 'tun'
  | 'bridge'
  | 'bond'
  | 'vlan'
  | 'dummy'
  | 'macvlan'
  | 'ipvlan'
  | 'team'
  | 'vrf'
  | (string & {});

export interface Link {
  readonly index: number;
  readonly name: string;
  /** Absent for a physical device. Every device with a kind dies with its namespace. */
  readonly kind?: LinkKind;
  /** Absent for devices without a link-layer address (a tun in IP mode). */
  readonly mac?: string;
  /** The address burnt into the device, where it has one: survives a changed `mac`. */
  readonly permanent_mac?: string;
  readonly mtu: number;
  /** Administratively up (`IFF_UP`). */
  readonly up: boolean;
  /** `IFF_RUNNING`: up and the carrier is there. */
  readonly running: boolean;
  readonly carrier: boolean;
  /** A counter: 0 is off. Each holder (a bridge, a packet socket, `ip link set promisc on`) counts one. */
  readonly promiscuity: number;
  /** `IFF_PROMISC`: promiscuous by an explicit request of the administrator. */
  readonly promisc: boolean;
  readonly rx_queues: number;
  readonly tx_queues: number;
  /** Index of the bridge, bond or VRF that this link is a member of. */
  readonly master?: number;
  /** Index of the lower device (VLAN, macvlan, VXLAN), or of the peer (veth); in another namespace if `link_netnsid` is there. */
  readonly link?: number;
  readonly link_netnsid?: number;
  /** `IFF_*` bits. */
  readonly flags: number;
  /** `ARPHRD_*`: 1 Ethernet, 772 loopback, 65534 none. */
  readonly type: number;
  readonly altnames: readonly string[];
  readonly qdisc?: string;
  readonly txqlen: number;
  /** Of `ip link set group`; absent: 0, the default one. */
  readonly group?: number;
  /** What an administrator has written to it. */
  readonly alias?: string;
  /** IPv6 address generation: 0 eui64, 1 none, 2 stable secret, 3 random. Absent where IPv6 is off. */
  readonly addrgen_mode?: number;
  /** An XDP program is attached. */
  readonly xdp?: true;
  /** The name under which the device's parent bus knows it, e.g. its PCI address. Kernel 5.14 and later. */
  readonly parent_device?: string;
  /** PCI address of the device, where it is on such a bus and somebody has looked: netlink does not tell. */
  readonly pci?: string;
  /** `phys_port_id`, in hexadecimal: which port of a card with several it is, where the driver tells. */
  readonly port_id?: string;
}

export interface Address {
  readonly link: number;
  readonly family: Family;
  /** The local address and prefix length, e.g. `10.0.0.2/24`. With a `peer`, the length is that of the peer's prefix. */
  readonly prefix: string;
  /** The other end of a point-to-point address, without length. */
  readonly peer?: string;
  readonly broadcast?: string;
  /** IPv4 only. */
  readonly label?: string;
  /** `RT_SCOPE_*`: 0 universe, 200 site, 253 link, 254 host. */
  readonly scope: number;
  /** `IFA_F_*` bits. */
  readonly flags: number;
  /** Absent: for ever. */
  readonly valid_s?: number;
  /** Absent: for ever. 0: deprecated. */
  readonly preferred_s?: number;
  /** Metric of the prefix route that the kernel makes. */
  readonly metric?: number;
  /** `IFAPROT_*`: who made it, 1 the loopback, 2 a router advertisement, 3 the kernel as link-local. */
  readonly protocol?: number;
}

export type RouteType =
  | 'unspec'
  | 'unicast'
  | 'local'
  | 'broadcast'
  | 'anycast'
  | 'multicast'
  | 'blackhole'
  | 'unreachable'
  | 'prohibit'
  | 'throw'
  | 'nat'
  | 'xresolve';

export interface NextHop {
  /** Output device. Absent only on routes that the kernel resolves itself, never in a dump. */
  readonly oif?: number;
  /** May be of the other family (`via inet6`, an IPv4 route over an IPv6 gateway). */
  readonly gateway?: string;
  /** The gateway is reachable although no prefix of the device covers it. */
  readonly onlink?: boolean;
  /** 1 to 256; 1 when absent. */
  readonly weight?: number;
  /** `RTNH_F_*` bits as the kernel shows them (16: link down). Ignored when a route is added. */
  readonly flags?: number;
  /** For classification: where from in the upper half, where to in the lower. IPv4 only. */
  readonly realm?: number;
  /** What it wraps packets in: `LWTUNNEL_ENCAP_*`, and its attributes as the kernel writes them, in hexadecimal. */
  readonly encap?: { readonly type: number; readonly data: string };
}

/** `RTAX_*` values by name; the kernel's own units (mtu in bytes, rto_min in ms). `lock` is a bit set of their numbers. */
export type RouteMetrics = Readonly<Partial<Record<RouteMetric, number>>>;
export type RouteMetric =
  | 'lock'
  | 'mtu'
  | 'window'
  | 'rtt'
  | 'rttvar'
  | 'ssthresh'
  | 'cwnd'
  | 'advmss'
  | 'reordering'
  | 'hoplimit'
  | 'initcwnd'
  | 'features'
  | 'rto_min'
  | 'initrwnd'
  | 'quickack'
  | 'fastopen_no_cookie';

export interface Route {
  readonly family: Family;
  /** Canonical, e.g. `0.0.0.0/0` for a default route. */
  readonly prefix: string;
  /** 254 is main, 255 local. */
  readonly table: number;
  readonly type: RouteType;
  /** `RTPROT_*`: 2 kernel, 3 boot, 4 static, 9 ra, 16 dhcp. */
  readonly protocol: number;
  /** `RT_SCOPE_*`; always 0 for IPv6. */
  readonly scope: number;
  /** The priority: lower wins. IPv6 shows 1024 where none was asked for, IPv4 0. */
  readonly metric: number;
  readonly tos?: number;
  /** Source-specific routes of IPv6. */
  readonly source?: string;
  readonly prefsrc?: string;
  /** One, or several for multipath; none for blackhole and its kin of IPv4. */
  readonly next_hops: readonly NextHop[];
  readonly metrics?: RouteMetrics;
  /** Congestion control algorithm. */
  readonly congctl?: string;
  /** Router preference of IPv6: 0 medium, 1 high, 3 low. */
  readonly preference?: number;
  /** Remaining life of an IPv6 route learned from a router. Absent: for ever. */
  readonly expires_s?: number;
  /**
   * A default route that the kernel itself has of a router's advertisement: it renews and removes such a one by itself. It takes nothing of an
   * advertisement, prefixes neither, while a route of others is in the place of the one that it would make.
   */
  readonly advertised?: true;
  /** `RTM_F_*` and `RTNH_F_*` bits as the kernel shows them (0x200: a cloned cache entry). Ignored when a route is added. */
  readonly flags?: number;
  /** A nexthop object. What it leads to stands beside it in `next_hops`; a route is added by the object alone. */
  readonly nexthop_id?: number;
  /** Names of attributes that this module cannot give back: a route with any would be re-created wrongly. */
  readonly unsupported?: readonly string[];
}

/** A shared next hop, or a group of them, which routes name by its id. */
export interface NexthopObject {
  readonly id: number;
  /** Absent for groups. */
  readonly family?: Family;
  readonly protocol?: number;
  readonly hop?: NextHop;
  readonly blackhole?: true;
  /** Weights from 1 to 256. */
  readonly group?: readonly { readonly id: number; readonly weight: number }[];
  /** Names of attributes that this module cannot give back. */
  readonly unsupported?: readonly string[];
}

export interface Rule {
  readonly family: Family;
  readonly priority: number;
  /** `FR_ACT_*`: 1 to table, 2 goto, 3 nop, 6 blackhole, 7 unreachable, 8 prohibit. */
  readonly action: number;
  readonly table: number;
  readonly source?: string;
  readonly destination?: string;
  readonly iif?: string;
  readonly oif?: string;
  readonly fwmark?: number;
  readonly fwmask?: number;
  readonly tos?: number;
  readonly invert?: boolean;
  readonly goto?: number;
  readonly suppress_prefixlength?: number;
  readonly l3mdev?: boolean;
  readonly protocol?: number;
  readonly ip_protocol?: number;
  readonly unsupported?: readonly string[];
}

export interface Neighbour {
  readonly link: number;
  readonly family: Family;
  readonly address: string;
  readonly mac?: string;
  /** `NUD_*` bits: 0x02 reachable, 0x04 stale, 0x20 failed, 0x40 noarp, 0x80 permanent. */
  readonly state: number;
  /** `NTF_*` bits: 0x08 proxy (we answer for it), 0x10 learned by another, 0x80 router. */
  readonly flags: number;
  /** `RTPROT_*`: whose it is. */
  readonly protocol?: number;
}

/** What a new link is. A tun or tap is made through /dev/net/tun by its user (VPP), not here. */
export type NewLink = {
  readonly name: string;
  readonly mac?: string;
  readonly mtu?: number;
  readonly up?: boolean;
} & (
  | { readonly kind: 'dummy' | 'bridge' }
  | {
      readonly kind: 'veth';
      readonly queues?: number;
      readonly peer: {
        readonly name: string;
        readonly mac?: string;
        readonly mtu?: number;
        /** Path of the namespace in which the peer is born. */
        readonly netns?: string;
      };
    }
  | { readonly kind: 'vlan'; readonly link: number; readonly id: number }
  | { readonly kind: 'macvlan'; readonly link: number }
);

/** Addresses and routes as they are given to the kernel: what it decides itself may be left out. */
export type NewAddress = Omit<Address, 'scope' | 'flags'> & {
  readonly scope?: number;
  readonly flags?: number;
};
export type NewRoute = Pick<Route, 'family' | 'prefix'> & Partial<Omit<Route, 'family' | 'prefix'>>;
export type NewNeighbour = Pick<Neighbour, 'link' | 'family' | 'address'> & Partial<Neighbour>;
export type NewRule = Pick<Rule, 'family' | 'priority'> & Partial<Omit<Rule, 'family' | 'priority'>>;

/**
 * One change of one object. Each is a single kernel request: it happens wholly or not at all.
 * `add_*` answers EEXIST where the object is there; `replace_*` does not.
 */
export type NetworkChange =
  | {
      readonly do: 'set_link';
      readonly link: number;
      readonly up?: boolean;
      readonly mtu?: number;
      readonly mac?: string;
      /** The link must be down, except on recent kernels. */
      readonly name?: string;
      readonly promisc?: boolean;
      readonly txqlen?: number;
      readonly group?: number;
      readonly alias?: string;
      /** Index of a bridge, bond or VRF; 0 leaves it. */
      readonly master?: number;
      /** See `Link.addrgen_mode`. */
      readonly addrgen_mode?: number;
      /** Takes an XDP program off. */
      readonly xdp?: false;
    }
  /**
   * To the namespace at `netns`, under another name if `name` is given. Linux drops the link's addresses and routes and sets it down. EEXIST where
   * its name, or an alternative one of it, is taken there.
   */
  | { readonly do: 'move_link'; readonly link: number; readonly netns: string; readonly name?: string }
  /** A virtual function of the device, by its number. Goes with the function. */
  | {
      readonly do: 'set_vf';
      readonly link: number;
      readonly vf: number;
      readonly mac: string;
      readonly trust: boolean;
      readonly spoof_check: boolean;
    }
  | { readonly do: 'add_link'; readonly link: NewLink }
  | { readonly do: 'delete_link'; readonly link: number }
  | { readonly do: 'add_altname' | 'delete_altname'; readonly link: number; readonly altname: string }
  | { readonly do: 'add_address' | 'replace_address' | 'delete_address'; readonly address: NewAddress }
  /**
   * `add_route` answers EEXIST for any route with this prefix, tos and metric; `append_route` only for the very same one,
   * and puts a different one behind it (IPv4) or makes a multipath route of both (IPv6). `prepend_route` puts it in front
   * (IPv4). `replace_route` takes the place of the first, whatever link it leads through.
   */
  | {
      readonly do: 'add_route' | 'append_route' | 'prepend_route' | 'replace_route' | 'delete_route';
      readonly route: NewRoute;
    }
  /** Always creates or replaces; of a group all members must be there. */
  | { readonly do: 'set_nexthop'; readonly nexthop: NexthopObject }
  /** Always creates or replaces. */
  | { readonly do: 'set_neighbour' | 'delete_neighbour'; readonly neighbour: NewNeighbour }
  /** Has the kernel ask one that it knows, with the MAC that it knows, and changes nothing else of it. ENOENT where it knows none. */
  | { readonly do: 'probe_neighbour'; readonly neighbour: Pick<Neighbour, 'link' | 'family' | 'address'> }
  | { readonly do: 'add_rule' | 'delete_rule'; readonly rule: NewRule };

/** Channel counts of a device as `ethtool -l` shows them. */
export interface Channels {
  readonly rx: number;
  readonly tx: number;
  readonly combined: number;
  readonly max_rx: number;
  readonly max_tx: number;
  readonly max_combined: number;
}

/** What is not named stays as it is. */
export type NewChannels = Partial<Pick<Channels, 'rx' | 'tx' | 'combined'>>;

export type EventGroup = 'link' | 'address' | 'route' | 'neighbour';

export type NetworkEvent =
  | { readonly event: 'link'; readonly link: Link }
  | { readonly event: 'link_removed'; readonly link: Link }
  | { readonly event: 'address' | 'address_removed'; readonly address: Address }
  | { readonly event: 'route' | 'route_removed'; readonly route: Route }
  | { readonly event: 'neighbour' | 'neighbour_removed'; readonly neighbour: Neighbour }
  /** The kernel dropped events: dump again what you rely on. */
  | { readonly event: 'overrun' };

export interface Watch {
  close(): void;
}

/**
 * One network namespace, reached through a socket born in it. All calls are synchronous (tens of microseconds)
 * and throw NetlinkError. An open one keeps the namespace alive: close it as soon as the work is done.
 */
export interface NetworkNamespace {
  links(): Link[];
  /** By name (also an alternative name) or index; undefined when there is none. */
  link(name_or_index: string | number): Link | undefined;
  addresses(link?: number): Address[];
  /** Of all tables unless one is named; without the kernel's cache entries. `link`: any next hop leaves through it. */
  routes(filter?: { readonly table?: number; readonly link?: number }): Route[];
  rules(): Rule[];
  /** None on a kernel that has no such objects. */
  nexthops(): NexthopObject[];
  /** Those that are answered for (proxies) among them. */
  neighbours(link?: number): Neighbour[];
  /** Throws where the change fails. */
  apply(change: NetworkChange): void;
  /**
   * All changes in order, each on its own: a failed one does not stop the next.
   * The answer has one entry per change: undefined, or why it failed.
   */
  batch(changes: readonly NetworkChange[]): (NetlinkError | undefined)[];
  /** Undefined where the driver has no channels. */
  channels(link_name: string): Channels | undefined;
  setChannels(link_name: string, channels: NewChannels): void;
  /** Takes the device packets that lack a checksum, or that are to be cut (`ethtool -k`)? */
  offloads(link_name: string): boolean;
  /** Names of what the device does by itself, as the kernel has them (`ethtool -k`). None where it has no such answer. */
  featuresOn(link_name: string): readonly string[];
  /** Those of these names that the kernel does not know, or that the device has no say in, stay as they are. */
  setFeatures(link_name: string, names: readonly string[], on: boolean): void;
  /** Whether it computes the checksums of what is sent by it, as `ethtool -K … tx` says it. Harmless where that is so already. */
  setChecksums(link_name: string, by_device: boolean): void;
  /** `path` below /proc/sys, e.g. `net/ipv4/ip_forward`. Undefined when there is no such file, or no value in it. */
  readSysctl(path: string): string | undefined;
  /** All that can be read and written in one directory, by name. Empty when there is no such directory. */
  readSysctls(directory: string): ReadonlyMap<string, string>;
  writeSysctl(path: string, value: string): void;
  /** Calls back on the main thread for each event of these groups until closed. Survives `close()` of this namespace. */
  watch(groups: readonly EventGroup[], on_event: (event: NetworkEvent) => void): Watch;
  close(): void;
}

/** The namespace that this process was started in, as a path: the target of a link that comes home. */
export const OWN_NAMESPACE_PATH = '/proc/thread-self/ns/net';

/**
 * Which namespace it is, by whatever path: device and inode of its file, which one that has gone leaves to a later one, and from kernel 5.14 on
 * its cookie, which no other has until the machine is restarted: `4:4026531840:1`.
 */
export type NamespaceId = string;

/** An earlier release, or kernel, has told no cookie. */
export function isSameNamespace(a: NamespaceId, b: NamespaceId): boolean {
  const [of_a, of_b] = [a.split(':'), b.split(':')];
  return of_a.every((part, at) => of_b[at] === undefined || of_b[at] === part);
}

export interface HostNetwork {
  /** The namespace at `path`, or the one that this process was started in. Throws where it is another than `id`. */
  open(path?: string, id?: NamespaceId): NetworkNamespace;
  /** Of the live namespace at `path`; undefined where there is none. */
  identify(path: string): NamespaceId | undefined;
  /** Runs `run` with this thread inside the namespace. It must not start anything asynchronous; a promise as result is an error. */
  inNamespace<T>(path: string, run: () => T): T;
  /**
   * Removes the tun or tap with this index from the namespace at `path`, beside the main loop: see LinkRemovals, also for what
   * `urgent` means and what it rejects with. Resolves when whoever holds the device can let go of it at no cost; also when
   * there is no such namespace or device, or one of another kind, or when the namespace is another than `id`. By index, since its turn
   * may come when another device has its name.
   */
  removeTun(path: string, link: number, id: NamespaceId, urgent?: boolean): Promise<void>;
  /** Is there a live namespace at this path? A left-over empty file is none. */
  exists(path: string): boolean;
  /** Makes a namespace that lives on without processes, and answers its path. One that is there is kept. */
  createNamed(name: string): string;
  /** No error when there is none. Virtual links inside are destroyed, physical ones fall back to the initial namespace. */
  removeNamed(name: string): void;
}

/** The kernel refused a request. `code` is the name of the errno, e.g. `EEXIST`; 'ETIMEDOUT' when no answer came. */
export class NetlinkError extends Error {
  override readonly name = 'NetlinkError';
  constructor(
    readonly code: string,
    /** The change or read that was asked for, e.g. `add_route`. */
    readonly operation: string,
    /** The object, e.g. `10.0.0.0/8 table 254`. */
    readonly object: string,
    /** The kernel's own words, where it gave any. */
    readonly detail?: string,
  ) {
    super(`${operation} ${object}: ${code}${detail ? ` (${detail})` : ''}`);
  }
}
