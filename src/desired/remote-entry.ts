/** What the plan of connectivity knows: prefixes, the next hops that lead to them, and the tunnels to those. */
import { type Bits, bitsOf } from '../ip/bits.js';
import type { Path, Route } from '../objects/routing.js';
import type { Srv6Steering } from '../objects/srv6.js';
import type { GonePool } from './pools.js';
import type { Course } from './remote-policies.js';
import {
  type Paths,
  pathBy,
  type RouteFault,
  routeFaultText,
  type Tunnel,
  type TunnelKind,
  type Way,
} from './remote-route.js';
import type { SharedLists } from './shared-lists.js';

/**
 * Why what has no longer route in a prefix is dropped: it is an own block, one of services that this node announces, or, where encryption is required, of
 * pods of whom nobody says where they are.
 */
export interface Drop {
  readonly source: 'block' | 'service' | 'pool';
  /** The object that says so, as people name it. */
  readonly by: string;
}

/** A way to a next hop, the same for all prefixes that go so. It may turn out to lead nowhere: see `faultOf`. */
export interface Leg {
  readonly hop: Hop;
  readonly way: Way;
  /** This one alone. */
  readonly alone: readonly Leg[];
}

/** Of the next hops of one route that are faulty, so many are told. */
const texts_max = 4;

const no_hops: readonly Hop[] = [];
const no_legs: readonly Leg[] = [];
export const no_uses: readonly Use[] = [];

/** A prefix that somebody has told of. */
export class Entry implements Bits {
  readonly bytes: string;
  readonly length: number;
  /** As they were told, by their addresses. */
  hops: readonly Hop[] = no_hops;
  /** How it was last found to go by each of them, whether it may or not. */
  legs: readonly Leg[] = no_legs;
  /** Where no route holds, its packets are dropped. */
  drop: Drop | undefined;
  /** Likewise, as it is a pool's. */
  pool_drop: Drop | undefined;
  /** What is wanted for it by now, and the tunnels that it goes by. */
  route: Route | undefined;
  uses: readonly Use[] = no_uses;
  /** It goes by SRv6, whatever route there is. */
  steered: { readonly course: Course; readonly object: Srv6Steering } | undefined;
  /** Flat by one of them, and routers are between. */
  far = false;
  /** It is to be planned. */
  is_touched = false;
  /** It would be of this pool, which is deleted. */
  gone_pool: GonePool | undefined;

  constructor(
    readonly prefix: string,
    { bytes, length }: Bits,
  ) {
    this.bytes = bytes;
    this.length = length;
  }

  /** Where no route holds, whoever says so. */
  get is_dropped(): boolean {
    return this.drop !== undefined || this.pool_drop !== undefined;
  }

  /** Why it does not go by this leg. */
  faultOf({ hop, way }: Leg): RouteFault | undefined {
    if (way === 'flat') return undefined;
    if (!isByTunnel(way)) return this.steered === undefined ? way : undefined;
    const use = this.#useOf(hop);
    if (use === undefined) return 'through_tunnel';
    return use.refused && this.legs.length > 1 ? 'tunnel_refused' : undefined;
  }

  /** By the legs that lead somewhere. A faulty one takes nothing from the others; where there are no others it is tried. */
  paths(lists: SharedLists<Path>): Paths | undefined {
    const [only] = this.legs;
    if (only !== undefined && this.legs.length === 1) return this.#pathsOf(only);
    const sound = this.legs.filter(({ hop }) => this.#useOf(hop)?.refused !== true);
    return this.#pathsBy(sound, lists) ?? this.#pathsBy(this.legs, lists);
  }

  /** What is wrong with it. `withIt`: the prefix, or the node, that a fault is about. */
  faultText(withIt: (leg: Leg, fault: RouteFault) => string | undefined): string {
    const texts = this.legs.flatMap((leg) => {
      const fault = this.faultOf(leg);
      return fault === undefined ? [] : [routeFaultText(fault, leg.hop.address, withIt(leg, fault))];
    });
    const more = texts.length - texts_max;
    return [...texts.slice(0, texts_max), ...(more > 0 ? [`and so by ${more} more`] : [])].join('; ');
  }

  #pathsBy(legs: readonly Leg[], lists: SharedLists<Path>): Paths | undefined {
    const paths = legs.flatMap((leg) => this.#pathsOf(leg) ?? []);
    return paths.length === 0 ? undefined : lists.of(paths);
  }

  #pathsOf({ hop, way }: Leg): Paths | undefined {
    return way === 'flat' ? hop.flat : this.#useOf(hop)?.paths;
  }

  #useOf(hop: Hop): Use | undefined {
    return this.uses.find((use) => use.hop === hop);
  }
}

/** A node, or a router, by the address that leads to it. */
export class Hop implements Bits {
  readonly bytes: string;
  readonly length: number;
  readonly flat: Paths;
  /** This one alone. */
  readonly alone: readonly Hop[] = [this];
  /** Those that lead to it, as they are told or as they were last planned. */
  readonly entries = new Set<Entry>();
  /** Those that have it in their prefix. */
  readonly holders = new Set<Entry>();
  /** By tag: those by which routes go. */
  readonly tunnels = new Map<string, Use>();
  /** Of the node itself. */
  route: Route | undefined;
  readonly #legs = new Map<Way, Leg>();

  constructor(readonly address: string) {
    const { bytes, length } = bitsOf(address);
    this.bytes = bytes;
    this.length = length;
    this.flat = [pathBy(address, undefined)];
  }

  leg(way: Way): Leg {
    const known = this.#legs.get(way);
    if (known !== undefined) return known;
    const alone: Leg[] = [];
    const leg: Leg = { hop: this, way, alone };
    alone.push(leg);
    this.#legs.set(way, leg);
    return leg;
  }
}

/** A tunnel that is in use. */
export class Use {
  readonly paths: Paths;
  /** This one alone. */
  readonly alone: readonly Use[] = [this];
  routes = 0;
  /** VPP does not make it, or does not set it up. It is tried again, and until then no route that has another way waits for it. */
  refused = false;

  constructor(
    readonly hop: Hop,
    readonly kind: TunnelKind,
    public tunnel: Tunnel,
  ) {
    this.paths = [pathBy(hop.address, tunnel)];
  }
}

export function isByTunnel(way: Way | undefined): way is TunnelKind {
  return way === 'ipip' || way === 'vxlan' || way === 'wireguard';
}

/**
 * SRv6 carries either family to a node that has IPv6, and needs no subnet to be told by: whether there is such a route does not matter to it. `is_for_ipsec`:
 * by IPIP it would be encrypted, and then it does not go in clear, whether that can be or not.
 */
export const maySteer = (way: Way, is_for_ipsec: boolean): boolean =>
  way === 'flat' ||
  way === 'vxlan' ||
  way === 'other_family' ||
  (!is_for_ipsec && (way === 'ipip' || way === 'no_own_address' || way === 'no_own_subnet'));

export const goesBefore = (one: Use, other: Use): boolean =>
  one.refused === other.refused ? one.tunnel.tag < other.tunnel.tag : other.refused;

export const sameAddresses = (hops: readonly Hop[], addresses: readonly string[]): boolean =>
  hops.length === addresses.length && hops.every(({ address }, at) => address === addresses[at]);

/**
 * A route that leads packets for this address into a tunnel, at once or by its next hop; undefined: none. Of all that hold it, and not of
 * the longest alone: so nothing depends on the order in which VPP hears of them.
 */
export function tunnelTo(hop: Hop): Entry | undefined {
  if (hop.holders.size === 0) return undefined;
  let first: Entry | undefined;
  const around = new Set([hop]);
  for (const each of around) {
    for (const holder of each.holders)
      for (const { hop: next, way } of holder.legs) {
        if (way === 'flat') around.add(next);
        else if (isByTunnel(way) && (first === undefined || holder.prefix < first.prefix)) first = holder;
      }
  }
  return first;
}

/** It may be kept back, for what it would go by or for a node in it: where encryption is required it may not go by the default route either. */
export const isKeptBack = ({ legs }: Entry): boolean =>
  legs.some(({ way }) => way === 'not_encrypted' || way === 'holds_node' || isByTunnel(way));

/** `cut_off`: the address in it for whose sake nothing is dropped there. */
export function undroppedFault(
  { prefix, drop, pool_drop }: Entry,
  cut_off: string | undefined,
): readonly [object: string, text: string] {
  const why =
    drop === undefined
      ? 'what no route leads to goes in clear, though encryption is required (CALICOVPP_ENCRYPTION); keep pools apart from nodes'
      : 'what no service has is not dropped; take that address out';
  const has = `has ${prefix}, with ${cut_off} in it, to which packets go from here`;
  return [(drop ?? pool_drop)?.by ?? `route ${prefix}`, `${has}: ${why}`];
}
