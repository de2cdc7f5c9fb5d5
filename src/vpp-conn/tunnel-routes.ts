/**
 * Which routes lead by the tunnels of this session: VPP gives the index of a deleted interface to the next one, and a route that was left
 * behind drops its packets for ever. A route that leads by no tunnel is not kept.
 */

import type { ip_route } from 'vpp-binapi-ts/ip';
import { AddressIndex } from '../ip/address-index.js';
import { type Bits, bitsOf } from '../ip/bits.js';
import { flattened } from '../objects/object.js';

export type SentRoute = Pick<ip_route, 'table_id' | 'prefix' | 'paths'> & { readonly src: number };

/** Names one route, as a person would look for it in VPP. */
type RouteName = string;

interface Tunnel {
  /** For the routes that lead by it alone, as most do: one list for all of them. */
  readonly alone: readonly number[];
  /** Its far end, where that is reached by the default table. */
  readonly end: End | undefined;
  /** How many routes lead by it. */
  routes: number;
}

interface End extends Bits {
  readonly sw_if_index: number;
}

const nowhere: readonly number[] = [];

export class TunnelRoutes {
  /** By sw_if_index. */
  readonly #tunnels = new Map<number, Tunnel>();
  readonly #ends = new AddressIndex<End>();
  readonly #by_route = new Map<RouteName, readonly number[]>();

  /** `dst`: its far end, where that is reached by the default table. */
  made(sw_if_index: number, dst: string | undefined): void {
    const end = dst === undefined ? undefined : { sw_if_index, ...bitsOf(dst) };
    this.#tunnels.set(sw_if_index, { alone: [sw_if_index], end, routes: 0 });
    if (end !== undefined) this.#ends.add(end);
  }

  /** Answers what brings it back. */
  deleted(sw_if_index: number): () => void {
    const tunnel = this.#tunnels.get(sw_if_index);
    if (!this.#tunnels.delete(sw_if_index) || tunnel === undefined) return () => undefined;
    const { end } = tunnel;
    if (end !== undefined) this.#ends.delete(end);
    return () => {
      this.#tunnels.set(sw_if_index, tunnel);
      if (end !== undefined) this.#ends.add(end);
    };
  }

  /**
   * Another tunnel that has routes, whose far end this one would lead into a tunnel, by whichever of its paths. Where tunnels lead to their far
   * ends by each other the last route of the round is such a one.
   */
  through({ table_id, prefix, paths }: Pick<SentRoute, 'table_id' | 'prefix' | 'paths'>): number | undefined {
    if (table_id !== 0 || this.#tunnels.size < 2) return undefined;
    if (!paths.some(({ sw_if_index }) => this.#tunnels.has(sw_if_index))) return undefined;
    for (const { sw_if_index } of this.#ends.within(bitsOf(prefix))) {
      const has_routes = this.#tunnels.get(sw_if_index)!.routes > 0;
      const others = paths.filter((by) => by.sw_if_index !== sw_if_index);
      // This one is the first where it leads by that tunnel itself.
      if (!has_routes && others.length === paths.length) continue;
      if (others.some((by) => this.#tunnels.has(by.sw_if_index))) return sw_if_index;
    }
    return undefined;
  }

  /** The request leaves. Answers what brings back what was before; undefined where nothing of this changes. */
  sent(is_add: boolean, route: SentRoute): (() => void) | undefined {
    if (this.#tunnels.size === 0) return undefined;
    const by = is_add ? this.#among(route) : nowhere;
    if (by.length === 0 && this.#by_route.size === 0) return undefined;
    const name = nameOf(route);
    const before = this.#by_route.get(name) ?? nowhere;
    if (by.length === 0 && before.length === 0) return undefined;
    this.#put(name, before, by);
    return () => this.#put(name, this.#by_route.get(name) ?? nowhere, before);
  }

  /** A route that leads by it. */
  oneBy(sw_if_index: number): RouteName | undefined {
    if ((this.#tunnels.get(sw_if_index)?.routes ?? 0) === 0) return undefined;
    for (const [name, by] of this.#by_route) if (by.includes(sw_if_index)) return name;
    return undefined;
  }

  #among({ paths }: SentRoute): readonly number[] {
    let by = nowhere;
    for (const { sw_if_index } of paths) {
      const tunnel = this.#tunnels.get(sw_if_index);
      if (tunnel !== undefined) by = by === nowhere ? tunnel.alone : [...by, sw_if_index];
    }
    return by;
  }

  #put(name: RouteName, before: readonly number[], after: readonly number[]): void {
    for (const index of before) this.#count(index, -1);
    for (const index of after) this.#count(index, 1);
    if (after.length === 0) this.#by_route.delete(name);
    else this.#by_route.set(before.length === 0 ? flattened(name) : name, after);
  }

  #count(sw_if_index: number, by: number): void {
    const tunnel = this.#tunnels.get(sw_if_index);
    if (tunnel !== undefined) tunnel.routes += by;
  }
}

function nameOf({ table_id, prefix, src }: SentRoute): RouteName {
  return `${prefix} of table ${table_id} (source ${src})`;
}
