import type { Family } from '../src/ip/text.js';
import { formatAddress, parseMac, parsePrefix } from '../src/ip/text.js';
import {
  type Address,
  type Channels,
  type Link,
  type Neighbour,
  NetlinkError,
  type NewAddress,
  type NewRoute,
  type NextHop,
  type Route,
  type Rule,
} from '../src/linux/network.js';

/**
 * The state of one namespace as Linux would keep it: what a change of a link does to addresses and routes, and the errors
 * that the kernel answers. Left out: the tables that the kernel fills for itself (local), and duplicate address detection.
 */

export interface FakeLink {
  index: number;
  name: string;
  kind?: string;
  mac?: string;
  permanent_mac?: string;
  port_id?: string;
  parent_device?: string;
  mtu: number;
  up: boolean;
  promisc: boolean;
  queues: number;
  master?: number;
  addrgen_mode: number;
  channels?: Channels;
  features?: readonly string[];
  /** The other end of a veth, wherever it is. */
  peer?: FakeLink;
  lower?: number;
  altnames?: string[];
  txqlen?: number;
  group?: number;
  alias?: string;
}

const TABLE_MAIN = 254;
const RTPROT_KERNEL = 2;
const SCOPE = { universe: 0, link: 253, host: 254 } as const;
const IFA_F = { secondary: 0x01, permanent: 0x80, noprefixroute: 0x200 } as const;
const IFF = { up: 0x1, loopback: 0x8, running: 0x40, promisc: 0x100 } as const;

/** The kernel's refusal; the caller adds what was asked. */
export class Refusal extends Error {
  constructor(readonly code: string) {
    super(code);
  }
}

export function isRunning(link: FakeLink): boolean {
  // A bridge without ports has no carrier either, and here none has ports with traffic.
  if (link.kind === 'bridge') return false;
  return link.up && (link.kind !== 'veth' || link.peer?.up === true);
}

export function toLink(link: FakeLink): Link {
  const running = isRunning(link);
  const loopback = link.name === 'lo';
  const flags =
    (link.up ? IFF.up : 0) |
    (running ? IFF.running : 0) |
    (link.promisc ? IFF.promisc : 0) |
    (loopback ? IFF.loopback : 0);
  const { index, name, kind, mac, permanent_mac, port_id, mtu, up, promisc, queues, master, addrgen_mode } =
    link;
  return {
    index,
    name,
    ...(kind === undefined ? {} : { kind }),
    ...(mac === undefined ? {} : { mac }),
    ...(permanent_mac === undefined ? {} : { permanent_mac }),
    ...(port_id === undefined ? {} : { port_id }),
    ...(link.parent_device === undefined ? {} : { parent_device: link.parent_device }),
    mtu,
    up,
    running,
    carrier: running,
    promiscuity: promisc ? 1 : 0,
    promisc,
    rx_queues: queues,
    tx_queues: queues,
    ...(master === undefined ? {} : { master }),
    ...(link.lower === undefined ? {} : { link: link.lower }),
    flags,
    type: loopback ? 772 : 1,
    altnames: link.altnames ?? [],
    txqlen: link.txqlen ?? 1000,
    ...(link.group && { group: link.group }),
    ...(link.alias && { alias: link.alias }),
    addrgen_mode,
  };
}

export class FakeNamespaceState {
  /** Links of which the sender computes checksums. */
  readonly software_checksums = new Set<number>();
  readonly links = new Map<number, FakeLink>();
  addresses: Address[] = [];
  routes: Route[] = [];
  rules: Rule[] = [];
  neighbours: Neighbour[] = [];
  readonly sysctls = new Map<string, string>();
  #last_index = 0;

  /** As NamespaceId. */
  id: string;

  constructor(readonly path: string) {
    FakeNamespaceState.#last_id += 1;
    this.id = `4:${FakeNamespaceState.#last_id}`;
    this.insert({ name: 'lo', mac: '00:00:00:00:00:00', mtu: 65536, queues: 1 });
  }

  insert(link: Partial<FakeLink> & Pick<FakeLink, 'name' | 'mtu' | 'queues'>): FakeLink {
    const index = link.index !== undefined && !this.links.has(link.index) ? link.index : this.#last_index + 1;
    this.#last_index = Math.max(this.#last_index, index);
    // The object keeps its identity when it moves: the other end of a veth points at it.
    const inserted: FakeLink = Object.assign(link, {
      index,
      up: link.up ?? false,
      promisc: link.promisc ?? false,
      addrgen_mode: link.addrgen_mode ?? 0,
    });
    this.links.set(index, inserted);
    return inserted;
  }

  static #last_id = 4_026_531_840;

  named(name: string): FakeLink | undefined {
    return [...this.links.values()].find((link) => link.name === name || link.altnames?.includes(name));
  }

  require(index: number): FakeLink {
    const link = this.links.get(index);
    if (!link) throw new Refusal('ENODEV');
    return link;
  }

  /** Takes the link out with everything on it. */
  remove(link: FakeLink): void {
    this.setUp(link, false);
    this.links.delete(link.index);
    const elsewhere = ({ link: index }: { link: number }) => index !== link.index;
    this.addresses = this.addresses.filter(elsewhere);
    this.neighbours = this.neighbours.filter(elsewhere);
    this.#dropRoutes((hop) => hop.oif === link.index, true);
    for (const member of this.links.values()) if (member.master === link.index) delete member.master;
  }

  /** Down takes IPv4 routes, IPv6 routes and IPv6 addresses with it; IPv4 addresses stay. */
  setUp(link: FakeLink, up: boolean): void {
    if (link.up === up) return;
    link.up = up;
    if (!up) {
      this.addresses = this.addresses.filter((a) => a.link !== link.index || a.family === 4);
      this.neighbours = this.neighbours.filter((n) => n.link !== link.index);
      this.#dropRoutes((hop) => hop.oif === link.index);
      return;
    }
    for (const address of this.addresses.filter((a) => a.link === link.index)) this.#connect(address);
    if (link.name === 'lo') this.#addLoopbackAddresses(link);
    this.settle(link);
  }

  #addLoopbackAddresses({ index: link }: FakeLink): void {
    const present = this.addresses.some((a) => a.link === link && a.family === 4);
    if (!present) this.addAddress({ link, family: 4, prefix: '127.0.0.1/8', scope: SCOPE.host }, 'add');
    this.addAddress({ link, family: 6, prefix: '::1/128', scope: SCOPE.host }, 'add');
  }

  /** A link with a carrier gets its link-local IPv6 address by itself. */
  settle(link: FakeLink): void {
    if (link.name === 'lo' || link.mac === undefined || link.addrgen_mode !== 0 || !isRunning(link)) return;
    const prefix = `${linkLocal(link.mac)}/64`;
    if (this.addresses.some((a) => a.link === link.index && a.prefix.startsWith('fe80:'))) return;
    this.addAddress({ link: link.index, family: 6, prefix, scope: SCOPE.link, protocol: 3 }, 'add');
  }

  addAddress(wanted: NewAddress, mode: 'add' | 'replace'): void {
    const link = this.require(wanted.link);
    const present = this.addresses.find((a) => sameAddress(a, wanted));
    if (present && mode === 'add') throw new Refusal('EEXIST');
    if (present) this.addresses = this.addresses.filter((a) => a !== present);
    const secondary = wanted.family === 4 && this.addresses.some((a) => sameSubnet(a, wanted));
    const lasting = wanted.valid_s === undefined ? IFA_F.permanent : 0;
    const address: Address = {
      ...wanted,
      scope: wanted.scope ?? 0,
      // Which is the secondary one, the kernel decides by the order in which they come.
      flags: ((wanted.flags ?? 0) & ~IFA_F.secondary) | lasting | (secondary ? IFA_F.secondary : 0),
      ...(wanted.family === 4 ? { label: wanted.label ?? link.name } : {}),
    };
    this.addresses.push(address);
    if (link.up) this.#connect(address);
  }

  #connect(address: Address): void {
    if (address.flags & (IFA_F.noprefixroute | IFA_F.secondary)) return;
    const { length } = parsePrefix(address.prefix);
    if (this.links.get(address.link)?.name === 'lo') return;
    if (address.family === 4 && length === 32 && address.peer === undefined) return;
    const [local = ''] = address.prefix.split('/');
    const route: Route = {
      family: address.family,
      prefix: maskedPrefix(`${address.peer ?? local}/${length}`),
      table: TABLE_MAIN,
      type: 'unicast',
      protocol: RTPROT_KERNEL,
      scope: address.family === 4 ? SCOPE.link : 0,
      metric: address.metric ?? (address.family === 6 ? 256 : 0),
      ...(address.family === 4 ? { prefsrc: local } : {}),
      next_hops: [{ oif: address.link }],
    };
    if (!this.routes.some((present) => sameRoute(present, route))) this.routes.push(route);
  }

  deleteAddress(wanted: NewAddress): void {
    const link = this.require(wanted.link);
    const present = this.addresses.find((a) => sameAddress(a, wanted));
    if (!present) throw new Refusal('EADDRNOTAVAIL');
    const primary = present.family === 4 && !(present.flags & IFA_F.secondary);
    const promotes = this.sysctls.get(`net/ipv4/conf/${link.name}/promote_secondaries`) === '1';
    const gone = this.addresses.filter(
      (a) => a === present || (primary && !promotes && sameSubnet(a, present)),
    );
    const heir =
      primary && promotes ? this.addresses.find((a) => a !== present && sameSubnet(a, present)) : undefined;
    this.addresses = this.addresses.filter((a) => !gone.includes(a));
    const locals = new Set(gone.map((a) => a.prefix.split('/')[0]));
    const prefix = maskedPrefix(present.prefix);
    const shared = this.addresses.some((a) => a.link === link.index && maskedPrefix(a.prefix) === prefix);
    this.routes = this.routes.filter((route) => {
      if (route.prefsrc !== undefined && locals.has(route.prefsrc)) return false;
      const connected =
        !shared && route.family === 6 && route.protocol === RTPROT_KERNEL && route.prefix === prefix;
      return !(connected && route.next_hops[0]?.oif === link.index);
    });
    if (heir === undefined) return;
    const promoted = { ...heir, flags: heir.flags & ~IFA_F.secondary };
    this.addresses = this.addresses.map((a) => (a === heir ? promoted : a));
    this.#connect(promoted);
  }

  addRoute(wanted: NewRoute, mode: 'add' | 'append' | 'prepend' | 'replace'): void {
    const route = this.#completeRoute(wanted);
    const rivals = this.routes.filter((present) => samePlace(present, route));
    if (mode === 'add' && rivals.length > 0) throw new Refusal('EEXIST');
    if (mode !== 'replace' && rivals.some((present) => sameRoute(present, route)))
      throw new Refusal('EEXIST');
    if (mode === 'replace') this.routes = this.routes.filter((present) => present !== rivals[0]);
    if (mode === 'prepend' && rivals[0]) {
      this.routes.splice(this.routes.indexOf(rivals[0]), 0, route);
      return;
    }
    const sibling = mode === 'append' && route.family === 6 ? rivals[0] : undefined;
    if (!sibling) {
      this.routes.push(route);
      return;
    }
    const next_hops = [...sibling.next_hops, ...route.next_hops];
    this.routes = this.routes.map((present) => (present === sibling ? { ...sibling, next_hops } : present));
  }

  deleteRoute(wanted: NewRoute): void {
    const prefix = maskedPrefix(wanted.prefix);
    const hops = wanted.next_hops ?? [];
    const found = this.routes.find(
      (route) =>
        route.prefix === prefix &&
        route.table === (wanted.table ?? TABLE_MAIN) &&
        (!wanted.metric || route.metric === wanted.metric) &&
        hops.every((hop) => route.next_hops.some((present) => hopMatches(present, hop))),
    );
    if (!found) throw new Refusal('ESRCH');
    this.routes = this.routes.filter((route) => route !== found);
  }

  #completeRoute(wanted: NewRoute): Route {
    const prefix = maskedPrefix(wanted.prefix);
    if (wanted.family === 4 && prefix !== parsePrefixText(wanted.prefix)) throw new Refusal('EINVAL');
    const next_hops = (wanted.next_hops ?? []).map((hop) => this.#completeHop(hop, wanted.family));
    const { prefsrc } = wanted;
    if (prefsrc !== undefined && !this.addresses.some((a) => a.prefix.startsWith(`${prefsrc}/`)))
      throw new Refusal('EINVAL');
    const direct = next_hops.every((hop) => hop.gateway === undefined);
    return {
      ...wanted,
      prefix,
      table: wanted.table ?? TABLE_MAIN,
      type: wanted.type ?? 'unicast',
      protocol: wanted.protocol ?? 3,
      scope: wanted.scope ?? (wanted.family === 4 && direct ? SCOPE.link : SCOPE.universe),
      metric: wanted.metric || (wanted.family === 6 ? 1024 : 0),
      next_hops,
    };
  }

  #completeHop(hop: NextHop, family: Family): NextHop {
    const { flags: _, ...kept } = hop;
    const through = kept.oif ?? this.routes.find((route) => this.#reaches(route, kept))?.next_hops[0]?.oif;
    if (through === undefined) throw new Refusal(family === 4 ? 'ENETUNREACH' : 'EHOSTUNREACH');
    const { up } = this.require(through);
    const complete = { ...kept, oif: through };
    const reachable =
      kept.gateway === undefined ||
      kept.onlink === true ||
      kept.gateway.startsWith('fe80:') ||
      this.routes.some((route) => this.#reaches(route, complete));
    if (!reachable) throw new Refusal(family === 4 ? 'ENETUNREACH' : 'EHOSTUNREACH');
    if (!up) throw new Refusal('ENETDOWN');
    return complete;
  }

  #reaches(route: Route, { gateway, oif }: NextHop): boolean {
    const [hop] = route.next_hops;
    if (gateway === undefined || !hop || hop.gateway !== undefined) return false;
    return (oif === undefined || hop.oif === oif) && contains(route.prefix, gateway);
  }

  #dropRoutes(through: (hop: NextHop) => boolean, gone = false): void {
    this.routes = this.routes.flatMap((route) => {
      const left = route.next_hops.filter((hop) => !through(hop));
      if (left.length === route.next_hops.length) return [route];
      // A multipath route of IPv4 stays until one of its links is gone or all are down; each hop of an IPv6 one goes by itself.
      if (gone && route.family === 4) return [];
      if (!left.some((hop) => hop.oif !== undefined && this.links.get(hop.oif)?.up)) return [];
      return [route.family === 6 ? { ...route, next_hops: left } : route];
    });
  }
}

export function refused(operation: string, object: string, error: unknown): NetlinkError {
  if (error instanceof Refusal) return new NetlinkError(error.code, operation, object);
  // What the encoder for the kernel refuses: text that is no address.
  if (error instanceof RangeError) return new NetlinkError('EINVAL', operation, object, error.message);
  throw error;
}

function parsePrefixText(text: string): string {
  const { address, length } = parsePrefix(text);
  return `${address}/${length}`;
}

function maskBytes(bytes: Buffer, length: number): Buffer {
  return Buffer.from(bytes.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, length - i * 8)))));
}

function maskedPrefix(text: string): string {
  const { bytes, length } = parsePrefix(text);
  return `${formatAddress(maskBytes(bytes, length))}/${length}`;
}

function contains(prefix: string, address: string): boolean {
  const outer = parsePrefix(prefix);
  const inner = parsePrefix(address);
  return outer.family === inner.family && maskBytes(inner.bytes, outer.length).equals(outer.bytes);
}

function sameAddress(a: Address, b: NewAddress): boolean {
  if (a.link !== b.link || a.family !== b.family) return false;
  return a.family === 6 ? a.prefix.split('/')[0] === b.prefix.split('/')[0] : a.prefix === b.prefix;
}

function sameSubnet(a: Address, b: NewAddress): boolean {
  if (a.link !== b.link || a.family !== b.family || a.family !== 4) return false;
  return maskedPrefix(a.prefix) === maskedPrefix(b.prefix);
}

function samePlace(a: Route, b: Route): boolean {
  return (
    a.prefix === b.prefix && a.table === b.table && a.metric === b.metric && (a.tos ?? 0) === (b.tos ?? 0)
  );
}

function sameRoute(a: Route, b: Route): boolean {
  if (!samePlace(a, b) || a.next_hops.length !== b.next_hops.length) return false;
  if (a.family === 4 && (a.prefsrc !== b.prefsrc || a.protocol !== b.protocol || a.scope !== b.scope))
    return false;
  return b.next_hops.every((hop) => a.next_hops.some((present) => hopMatches(present, hop)));
}

function hopMatches(present: NextHop, wanted: NextHop): boolean {
  if (wanted.oif !== undefined && present.oif !== wanted.oif) return false;
  return wanted.gateway === undefined || present.gateway === wanted.gateway;
}

function linkLocal(mac: string): string {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = parseMac(mac);
  return formatAddress(Buffer.from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 0x02, b, c, 0xff, 0xfe, d, e, f]));
}
