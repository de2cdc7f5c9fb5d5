/** What has no longer route in a prefix is dropped there, unless an address would be cut off by that. Kept in place. Pure. */
import { bitsOf } from '../ip/bits.js';
import type { Route } from '../objects/routing.js';
import type { NodeIndex } from './node-index.js';
import type { Pools } from './pools.js';
import { type Drop, type Entry, undroppedFault } from './remote-entry.js';
import { drop_paths, type Outlook, type Paths, routeTo } from './remote-route.js';
import type { RemoteTable } from './remote-table.js';
import { default_table } from './tables.js';

export class RemoteDrops {
  readonly #table: RemoteTable;
  readonly #nodes: NodeIndex;
  readonly #pools: Pools;
  /** Drops that would cut something off. */
  readonly #undropped = new Set<Entry>();
  /** Those that are dropped as they are a pool's. */
  #of_pools = new Set<Entry>();
  #pools_changed = true;

  constructor(table: RemoteTable, nodes: NodeIndex, pools: Pools) {
    this.#table = table;
    this.#nodes = nodes;
    this.#pools = pools;
  }

  set(prefix: string, drop: Drop | undefined): void {
    const before = this.#table.get(prefix)?.drop;
    if (before?.source === drop?.source && before?.by === drop?.by) return;
    const entry = this.#table.entry(prefix);
    entry.drop = drop;
    this.#table.touched.add(entry);
  }

  /** Pools have changed, or whether encryption is required may have. */
  poolsChanged(): void {
    this.#pools_changed = true;
  }

  /** Where encryption is required: what has no route there may not go by the default route. */
  planPools({ encrypts_only }: Outlook): void {
    if (!this.#pools_changed) return;
    this.#pools_changed = false;
    const before = this.#of_pools;
    this.#of_pools = new Set();
    const pools = encrypts_only ? this.#pools.ofPods() : [];
    for (const [prefix, name] of pools) {
      const entry = this.#table.entry(prefix);
      if (entry.pool_drop === undefined) this.#table.touched.add(entry);
      entry.pool_drop = { source: 'pool', by: `IPPool ${name}` };
      this.#of_pools.add(entry);
    }
    for (const entry of before) {
      if (this.#of_pools.has(entry)) continue;
      entry.pool_drop = undefined;
      this.#table.touched.add(entry);
    }
  }

  /** Where encryption is required, drops that a new VPP has before it has any other way. Of a pool with a node in it there is none: that would be cut off. */
  *ofPools(): Iterable<Route> {
    for (const prefix of this.#pools.ofPods().keys())
      if (this.#nodes.firstIn(bitsOf(prefix)) === undefined) yield routeTo(prefix, drop_paths, default_table);
  }

  /** Where it may be dropped. Of an address in it that may not, it is told. */
  pathsOf(entry: Entry): Paths | undefined {
    const is_harmful = entry.is_dropped && this.#cutOff(entry) !== undefined;
    if (is_harmful) this.#undropped.add(entry);
    else this.#undropped.delete(entry);
    return !entry.is_dropped || is_harmful ? undefined : drop_paths;
  }

  /** It has a route: whether it may be dropped does not matter. */
  isLed(entry: Entry): void {
    this.#undropped.delete(entry);
  }

  /** What would not be reached any more: a node, or the next hop of a route. One in an own block, or in a pool, is a pod, which has a longer route. */
  #cutOff(entry: Entry): string | undefined {
    const node = this.#nodes.firstIn(entry);
    const end = entry.drop?.source === 'service' ? this.#table.firstHopIn(entry) : undefined;
    return node === undefined || (end !== undefined && end < node) ? end : node;
  }

  // --- for people

  get fault_count(): number {
    return this.#undropped.size;
  }

  /** By object, what is wrong with it and what to do. */
  *faults(): Iterable<readonly [object: string, text: string]> {
    for (const entry of this.#undropped) yield undroppedFault(entry, this.#cutOff(entry));
  }
}
