/**
 * Routes under the addresses of services. A translation acts before any route: what has none is refused at once by these, and does not leave the
 * node by the default route. None of them is to lead anybody else's packets away: no address of a node, of a pod, or of a subnet that this
 * node is on is ever refused. Pure.
 */
import type { IpPool } from '../../calico/kinds/ip-pool.js';
import type { ServiceCidr } from '../../calico/kinds/service-cidr.js';
import { type Bits, bitsOf, holds } from '../../ip/bits.js';
import { networkOf, splitPrefix } from '../../ip/prefix.js';
import type { Route } from '../../objects/routing.js';
import type { Sink } from '../sink.js';
import { default_table, hostPrefix } from '../tables.js';
import { type Standing, sinks } from './vips.js';

/** Of the prefixes of services, so many are taken. */
const prefixes_max = 256;

function servicesRoute(prefix: string, via: 'drop' | 'unreachable'): Route {
  return { kind: 'route', source: 'services', table_id: default_table, prefix, paths: [{ via }] };
}

const sink_routes: ReadonlyMap<string, Route> = new Map(
  Object.values(sinks).map((address) => [hostPrefix(address), servicesRoute(hostPrefix(address), 'drop')]),
);

export class Underlay {
  readonly #fallback: readonly string[];
  readonly #cidrs = new Map<string, ServiceCidr>();
  readonly #pools = new Map<string, Bits>();
  /** How many nodes have it. */
  readonly #node_addresses = new Map<string, { readonly bits: Bits; count: number }>();
  readonly #addresses_of = new Map<string, readonly string[]>();
  #own: ReadonlyMap<string, Bits> = new Map();
  #own_text = '';
  #subnets: readonly Bits[] = [];
  /** Of the API server, by which all else is known. */
  #api: ReadonlyMap<string, Bits> = new Map();
  #prefixes: readonly string[];
  /** Prefixes of services under which there is a route; and those that have none, with what forbids it. */
  readonly #covering = new Map<string, Bits>();
  readonly #barred = new Map<string, string>();
  /** Of one address each: how many VIPs of it have nothing but what is under them. */
  readonly #refused = new Map<string, number>();
  readonly #told = new Map<string, Route>();
  readonly #touched = new Set<string>(sink_routes.keys());
  #is_stale = true;
  #is_guarded = false;

  constructor(service_prefixes: readonly string[]) {
    this.#fallback = [...new Set(service_prefixes.map(networkOf))].sort();
    this.#prefixes = this.#fallback;
  }

  // --- what is told

  /** Addresses of this node, and prefixes that it is on. */
  setOwn(addresses: readonly string[], subnets: readonly string[]): void {
    const text = [addresses, subnets].map((each) => each.join()).join(' ');
    if (text === this.#own_text) return;
    this.#own_text = text;
    this.#own = new Map(addresses.map((address) => [address, bitsOf(address)]));
    this.#subnets = subnets.map(bitsOf);
    this.#is_stale = true;
  }

  /** Of a node of the cluster; none: it is gone. */
  setNode(name: string, addresses: readonly string[]): void {
    const before = this.#addresses_of.get(name) ?? [];
    if (before.join() === addresses.join()) return;
    for (const address of before) {
      const known = this.#node_addresses.get(address)!;
      known.count -= 1;
      if (known.count === 0) this.#node_addresses.delete(address);
    }
    for (const address of addresses) {
      const known = this.#node_addresses.get(address) ?? { bits: bitsOf(address), count: 0 };
      known.count += 1;
      this.#node_addresses.set(address, known);
    }
    if (addresses.length === 0) this.#addresses_of.delete(name);
    else this.#addresses_of.set(name, addresses);
    this.#is_stale = true;
  }

  setPool(name: string, pool: IpPool | undefined): void {
    // One of load balancers has addresses of services alone.
    const has_others =
      pool?.allowed_uses.some((use) => use !== 'LoadBalancer') || pool?.allowed_uses.length === 0;
    if (pool === undefined || !has_others) this.#pools.delete(name);
    else this.#pools.set(name, bitsOf(pool.prefix));
    this.#is_stale = true;
  }

  setCidr(name: string, cidr: ServiceCidr | undefined): void {
    if (cidr === undefined) this.#cidrs.delete(name);
    else this.#cidrs.set(name, cidr);
    this.#is_stale = true;
  }

  setApi(addresses: readonly string[]): void {
    this.#api = new Map(addresses.map((address) => [address, bitsOf(address)]));
    this.#is_stale = true;
  }

  /** Whose an address is, all nodes and pools have said: before that no route of ours could be known to do no harm. */
  allTold(): void {
    this.#is_guarded = true;
    this.#is_stale = true;
  }

  /** One VIP more, or less, of this address has no translation. */
  refuse(address: string, by: 1 | -1): void {
    const prefix = hostPrefix(address);
    const count = (this.#refused.get(prefix) ?? 0) + by;
    if (count > 0) this.#refused.set(prefix, count);
    else this.#refused.delete(prefix);
    this.#touched.add(prefix);
  }

  // --- what follows

  /** Nothing is stale any more. True: what an address is may be another than before. */
  refresh(): boolean {
    if (!this.#is_stale) return false;
    this.#is_stale = false;
    const named = [...new Set([...this.#cidrs.values()].flatMap(({ prefixes }) => prefixes))].sort();
    this.#prefixes = (named.length > 0 ? named : this.#fallback).slice(0, prefixes_max);
    this.#barred.clear();
    this.#covering.clear();
    for (const prefix of this.#prefixes) {
      const bits = bitsOf(prefix);
      const cause = this.#cutOff(bits);
      if (cause === undefined) this.#covering.set(prefix, bits);
      else this.#barred.set(prefix, cause);
    }
    for (const prefixes of [this.#told, this.#covering, this.#refused])
      for (const prefix of prefixes.keys()) this.#touched.add(prefix);
    return true;
  }

  /** Whose packets a route of this prefix would take, so that there is none. */
  #cutOff(bits: Bits): string | undefined {
    for (const [address, node] of this.#node_addresses)
      if (holds(bits, node.bits)) return `node address ${address}`;
    for (const [address, own] of this.#own) if (holds(bits, own)) return `node address ${address}`;
    for (const [address, api] of this.#api) if (holds(bits, api)) return `API server ${address}`;
    if (this.#subnets.some((subnet) => holds(subnet, bits))) return 'a subnet of this node';
    for (const [name, pool] of this.#pools) if (holds(pool, bits)) return `IPPool ${name}`;
    return undefined;
  }

  /** What it is to send packets for this address away. */
  standing(address: string): Standing {
    if (this.#own.has(address)) return 'own';
    if (this.#node_addresses.has(address) || this.#api.has(address)) return 'kept';
    const bits = bitsOf(address);
    for (const prefixes of [this.#subnets, this.#pools.values()])
      for (const prefix of prefixes) if (holds(prefix, bits)) return 'kept';
    return 'free';
  }

  get prefixes(): readonly string[] {
    return this.#prefixes;
  }

  /** Prefixes of services that have no route, and what forbids it. */
  get barred(): ReadonlyMap<string, string> {
    return this.#barred;
  }

  /** Tells the sink what is wanted otherwise than before. */
  plan(sink: Sink): void {
    for (const prefix of this.#touched) {
      const before = this.#told.get(prefix);
      const route = this.#routeOf(prefix);
      if (route === before) continue;
      if (route !== undefined) {
        this.#told.set(prefix, route);
        sink.want(route);
      } else if (before !== undefined) {
        this.#told.delete(prefix);
        sink.unwant(before);
      }
    }
    this.#touched.clear();
  }

  #routeOf(prefix: string): Route | undefined {
    const sink_route = sink_routes.get(prefix);
    if (sink_route !== undefined) return sink_route;
    if (!this.#is_guarded) return undefined;
    const bits = bitsOf(prefix);
    const is_covering = this.#covering.has(prefix);
    const is_refused = () =>
      this.#refused.has(prefix) &&
      ![...this.#covering.values()].some((covering) => holds(covering, bits)) &&
      this.standing(splitPrefix(prefix).address) === 'free';
    if (!is_covering && !is_refused()) return undefined;
    return this.#told.get(prefix) ?? servicesRoute(prefix, 'unreachable');
  }
}
