/**
 * What VPP holds for the way to pods of other nodes in networks beside the default one: a route in the network's own table for each prefix, by VXLAN with
 * the network's VNI, a tunnel per network and node. Kept in place, and pure: what is wanted is told to a `Sink`.
 *
 *   setNetworks, setRoute, setBlock, setOutlook ──▶ entries to be planned ──plan(n, sink)──▶ want, unwant
 */
import { isDeepStrictEqual } from 'node:util';
import { type Bits, bitsOf, holds, isGlobalUnicast } from '../ip/bits.js';
import { canonicalAddress, canonicalPrefix } from '../ip/spelling.js';
import { familyOf } from '../ip/text.js';
import type { InterfaceSwitch } from '../objects/interfaces.js';
import type { VppObject } from '../objects/object.js';
import type { Route } from '../objects/routing.js';
import { type VxlanTunnel, vxlanTag } from '../objects/tunnels.js';
import { type NetworkHere, networkLoopback } from './networks.js';
import { type OwnNode, type TunnelSettings, tunnelMtu } from './remote-route.js';
import type { Sink } from './sink.js';
import { default_table, networkTables } from './tables.js';
import { Touched } from './touched.js';

/** Of what comes by BGP the network's VNI, the prefix, and who is told apart by the rest: `network 4097 10.20.0.5/32 two_octet_asn:64512`. */
export type NetworkRouteKey = string;

const key_start = 'network ';

export function networkRouteKey(vni: number, prefix: string, teller = ''): NetworkRouteKey {
  return `${key_start}${vni} ${prefix}${teller === '' ? '' : ` ${teller}`}`;
}

export function isNetworkRouteKey(key: string): boolean {
  return key.startsWith(key_start);
}

/** Undefined for what is no such key. The prefix is canonical. */
export function networkRouteOf(
  key: NetworkRouteKey,
): { readonly vni: number; readonly prefix: string } | undefined {
  const [, vni, text = ''] = /^network (\d{1,10}) (\S+)(?: \S+)?$/.exec(key) ?? [];
  const prefix = canonicalPrefix(text);
  return vni === undefined || prefix === undefined ? undefined : { vni: Number(vni), prefix };
}

class Entry {
  is_touched = false;
  /** Not empty; who has told last comes last. */
  readonly told = new Map<NetworkRouteKey, readonly string[]>();
  route: Route | undefined;
  tunnels: readonly Use[] = [];
  fault: string | undefined;

  constructor(
    readonly vni: number,
    readonly prefix: string,
  ) {}

  /** An address is with one node: with the one that has said so last. */
  get next_hops(): readonly string[] {
    return [...this.told.values()].at(-1) ?? [];
  }
}

interface Use {
  tunnel: VxlanTunnel;
  /** What these follow from. */
  of: readonly unknown[];
  routes: number;
}

type Settings = Pick<
  TunnelSettings,
  'vxlan_port' | 'vxlan_mtu' | 'vxlan_mtu6' | 'gso' | 'policed' | 'encryption_required'
>;

/** Entries kept: a peer that tells without end is not to fill this process. */
const entries_max = 100_000;

export class NetworkRoutes {
  #networks: ReadonlyMap<number, NetworkHere> = new Map();
  readonly #entries = new Map<string, Entry>();
  readonly #of_network = new Map<number, Set<Entry>>();
  /** What IPAM says, whatever networks there are: by prefix. */
  readonly #blocks = new Map<string, { readonly bits: Bits; readonly next_hop: string }>();
  readonly #touched = new Touched<Entry>();
  readonly #faulty = new Set<Entry>();
  readonly #tunnels = new Map<string, Use>();
  #settings: Settings | undefined;
  #refused = 0;

  // --- what is told

  /** Those that VPP has tables of. Undefined: not known; nothing is changed. */
  setNetworks(networks: readonly NetworkHere[] | undefined): void {
    if (networks === undefined) return;
    const before = this.#networks;
    this.#networks = new Map(networks.map((network) => [network.vni, network]));
    for (const vni of new Set([...before.keys(), ...this.#networks.keys()])) {
      const [was, is] = [before.get(vni), this.#networks.get(vni)];
      if (isDeepStrictEqual(was, is)) continue;
      for (const entry of this.#of_network.get(vni) ?? []) this.#touched.add(entry);
      for (const [prefix, { bits, next_hop }] of this.#blocks) this.#setIn(vni, prefix, bits, next_hop);
    }
  }

  setSettings(settings: Settings): void {
    if (isDeepStrictEqual(settings, this.#settings)) return;
    this.#settings = settings;
    for (const entry of this.#entries.values()) this.#touched.add(entry);
  }

  /** By its key; none: there is no route. What makes no sense is none. */
  setRoute(key: NetworkRouteKey, next_hops: readonly string[]): void {
    const told = networkRouteOf(key);
    if (told !== undefined) this.#set(told.vni, told.prefix, next_hops, key);
  }

  /** A block of addresses of another node's: it is led to in each network that has it in its range. Canonical; undefined: it is no other node's. */
  setBlock(prefix: string, next_hop: string | undefined): void {
    const bits = bitsOf(prefix);
    if (next_hop === undefined) this.#blocks.delete(prefix);
    else this.#blocks.set(prefix, { bits, next_hop });
    for (const vni of this.#networks.keys()) this.#setIn(vni, prefix, bits, next_hop);
  }

  *keys(): Iterable<NetworkRouteKey> {
    for (const { told } of this.#entries.values()) yield* told.keys();
  }

  nextHops(key: NetworkRouteKey): readonly string[] {
    const of = networkRouteOf(key);
    const entry = of && this.#entries.get(networkRouteKey(of.vni, of.prefix));
    return entry?.told.get(key) ?? [];
  }

  #setIn(vni: number, prefix: string, bits: Bits, next_hop: string | undefined): void {
    const range = this.#networks.get(vni)?.range;
    const is_in = range !== undefined && holds(bitsOf(range), bits);
    this.#set(vni, prefix, is_in && next_hop !== undefined ? [next_hop] : []);
  }

  #set(vni: number, prefix: string, next_hops: readonly string[], teller?: NetworkRouteKey): void {
    const key = networkRouteKey(vni, prefix);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      if (next_hops.length === 0) return;
      if (this.#entries.size >= entries_max) {
        this.#refused += 1;
        return;
      }
      entry = new Entry(vni, prefix);
      this.#entries.set(key, entry);
      const others = this.#of_network.get(vni);
      if (others === undefined) this.#of_network.set(vni, new Set([entry]));
      else others.add(entry);
    }
    const before = entry.next_hops;
    const of = teller ?? key;
    if (isDeepStrictEqual(entry.told.get(of) ?? [], next_hops)) return;
    entry.told.delete(of);
    if (next_hops.length > 0) entry.told.set(of, next_hops);
    if (!isDeepStrictEqual(before, entry.next_hops)) this.#touched.add(entry);
  }

  // --- what follows

  /** Plans at most so many prefixes. True: nothing is left to be planned. */
  plan(max: number, sink: Sink): boolean {
    const settings = this.#settings;
    if (settings === undefined) return true;
    for (let left = max; this.#touched.size > 0; left -= 1) {
      if (left === 0) return false;
      this.#planEntry(this.#touched.take()!, settings, sink);
    }
    return true;
  }

  #planEntry(entry: Entry, settings: Settings, sink: Sink): void {
    const network = this.#networks.get(entry.vni);
    const before = entry.tunnels;
    entry.fault = undefined;
    const ends =
      network === undefined ? [] : entry.next_hops.flatMap((hop) => this.#end(entry, hop, network));
    // A tunnel is wanted before what goes by it, and is wanted no more behind it.
    entry.tunnels = ends.map((dst) => this.#use(network!, dst, settings, sink));
    this.#wantRoute(entry, ends, sink);
    for (const use of before) this.#leave(use, sink);
    if (entry.fault === undefined) this.#faulty.delete(entry);
    else this.#faulty.add(entry);
    if (entry.next_hops.length > 0) return;
    this.#entries.delete(networkRouteKey(entry.vni, entry.prefix));
    const others = this.#of_network.get(entry.vni);
    others?.delete(entry);
    if (others?.size === 0) this.#of_network.delete(entry.vni);
  }

  /** Where the tunnel to it ends; nothing, and a fault, where there can be none. */
  #end(entry: Entry, text: string, { name, underlay, physical_network }: NetworkHere): readonly string[] {
    const fail = (fault: string): readonly string[] => {
      entry.fault = fault;
      return [];
    };
    if (this.#settings?.encryption_required === true)
      return fail(
        'would be in clear, and CALICOVPP_ENCRYPTION is required: what networks send to other nodes is not encrypted; no pod reaches another node by it',
      );
    const address = canonicalAddress(text);
    if (address === undefined || !isGlobalUnicast(bitsOf(address)))
      return fail(`has the next hop ${text.slice(0, 64)}, to which VPP cannot forward`);
    const bits = bitsOf(entry.prefix);
    if (bits.length === 0) return fail(`by ${address} is a default route: filter it out`);
    if (!isGlobalUnicast(bits)) return fail(`by ${address} is no unicast prefix: filter it out`);
    const family = familyOf(entry.prefix);
    if (familyOf(address) !== family)
      return fail(
        `has the next hop ${address} of the other address family, which VXLAN does not carry: give that node an address of this family`,
      );
    const own = underlay[`ip${family}`];
    const where = physical_network === '' ? 'the main uplink' : `an uplink of ${physical_network}`;
    if (own === undefined)
      return fail(
        `needs a tunnel to ${address}, and this node has no address of that family for network ${name}: give ${where} one`,
      );
    // What this node has told itself.
    if (own === address) return [];
    return [address];
  }

  #wantRoute(entry: Entry, ends: readonly string[], sink: Sink): void {
    const before = entry.route;
    if (ends.length === 0) {
      entry.route = undefined;
      if (before !== undefined) sink.unwant(before);
      return;
    }
    const route: Route = {
      kind: 'route',
      source: 'connectivity',
      table_id: networkTables(entry.vni).main,
      prefix: entry.prefix,
      paths: entry.tunnels.map(({ tunnel }) => ({
        via: 'interface',
        interface: tunnel.tag,
        next_hop: tunnel.dst,
      })),
    };
    if (isDeepStrictEqual(route, before)) return;
    entry.route = route;
    sink.want(route);
  }

  #use({ vni, underlay }: NetworkHere, dst: string, settings: Settings, sink: Sink): Use {
    const src = underlay[`ip${familyOf(dst)}`]!;
    const ends = { src, dst, vni, port: settings.vxlan_port };
    const tag = vxlanTag(ends);
    const tunnel: VxlanTunnel = {
      kind: 'vxlan_tunnel',
      tag,
      ...ends,
      ...(underlay.table_id !== default_table && { encap_table_id: underlay.table_id }),
    };
    const of = [tunnel, underlay.mtu, settings];
    const known = this.#tunnels.get(tag);
    const is_same = known !== undefined && isDeepStrictEqual(known.of, of);
    const use = known ?? { tunnel, of, routes: 0 };
    use.routes += 1;
    if (is_same) return use;
    use.tunnel = tunnel;
    use.of = of;
    this.#tunnels.set(tag, use);
    for (const object of objectsOf(tunnel, underlay.mtu, settings)) sink.want(object);
    return use;
  }

  #leave(use: Use, sink: Sink): void {
    use.routes -= 1;
    if (use.routes > 0) return;
    this.#tunnels.delete(use.tunnel.tag);
    sink.unwant(use.tunnel);
  }

  // --- for people

  get counts() {
    return {
      prefixes: this.#entries.size,
      tunnels: this.#tunnels.size,
      faulty: this.#faulty.size + (this.#refused > 0 ? 1 : 0),
    };
  }

  /** By object, what is wrong and what to do. */
  *faults(): Iterable<readonly [object: string, text: string]> {
    if (this.#refused > 0)
      yield ['networks', `there are more than ${entries_max} routes of networks: the others are left out`];
    for (const { vni, prefix, fault } of this.#faulty)
      yield [`route ${prefix} of network ${this.#networks.get(vni)?.name ?? vni}`, fault!];
  }
}

/** The tunnel with all that it needs before a packet goes through it. */
function objectsOf(tunnel: VxlanTunnel, uplink_mtu: number, settings: Settings): VppObject[] {
  const { tag, vni } = tunnel;
  const { main: table_id } = networkTables(vni);
  const flag = (name: InterfaceSwitch): VppObject => ({ kind: 'interface_flag', interface: tag, flag: name });
  const own: Pick<OwnNode, 'mtu'> = { mtu: uplink_mtu };
  return [
    tunnel,
    // VPP lends an address where both are in one table, for both families.
    ...([4, 6] as const).map(
      (family): VppObject => ({ kind: 'interface_table', interface: tag, family, table_id }),
    ),
    { kind: 'unnumbered', interface: tag, of: networkLoopback(vni) },
    ...(settings.gso ? [flag('gso_feature')] : []),
    flag('cnat_feature'),
    { kind: 'interface_mtu', interface: tag, mtu: tunnelMtu(tunnel, own, settings) },
    ...(settings.policed ? [{ kind: 'default_verdict', interface: tag, verdict: 'allow' } as const] : []),
    flag('admin_up'),
  ];
}
