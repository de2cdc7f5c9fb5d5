/**
 * Which routes lead by the tunnels of this session: VPP gives the index of a deleted interface to the next one, and a route that was left
 * behind drops its packets for ever. A route that leads by no tunnel is not kept.
 */

import type { ip_route } from 'vpp-binapi-ts/ip';
import { flattened } from '../objects/object.js';

export type SentRoute = Pick<ip_route, 'table_id' | 'prefix' | 'paths'> & { readonly src: number };

/** Names one route, as a person would look for it in VPP. */
type RouteName = string;

interface Tunnel {
  /** For the routes that lead by it alone, as most do: one list for all of them. */
  readonly alone: readonly number[];
  /** How many routes lead by it. */
  routes: number;
}

const nowhere: readonly number[] = [];

export class TunnelRoutes {
  /** By sw_if_index. */
  readonly #tunnels = new Map<number, Tunnel>();
  readonly #by_route = new Map<RouteName, readonly number[]>();

  made(sw_if_index: number): void {
    this.#tunnels.set(sw_if_index, { alone: [sw_if_index], routes: 0 });
  }

  /** Answers what brings it back. */
  deleted(sw_if_index: number): () => void {
    const tunnel = this.#tunnels.get(sw_if_index);
    if (!this.#tunnels.delete(sw_if_index) || tunnel === undefined) return () => undefined;
    return () => this.#tunnels.set(sw_if_index, tunnel);
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
