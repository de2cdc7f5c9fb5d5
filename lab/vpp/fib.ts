/**
 * VPP's unicast forwarding tables: entries with their sources, shared path lists, and what keeps a table alive.
 * Left out: the entries that VPP makes for itself to follow recursive next hops and cnat clients.
 */
import type { fib_path } from 'vpp-binapi-ts/fib_types';
import { parseAddress } from '../../src/ip/text.js';
import { FibSources, type SourceId, source } from './fib-sources.js';
import { Death, refuse, retval } from './outcome.js';
import {
  addressOf,
  type Family,
  familyOf,
  isHost,
  isUnspecified,
  lengthOf,
  networkOf,
  unspecified,
} from './prefix.js';

export const none = 0xffff_ffff;

/** A path as VPP holds it: the table of a lookup is a table, not an id, and lives as long as the path. */
interface Path {
  readonly shown: fib_path;
  readonly table: FibTable | undefined;
  /** An interface path without a next hop: it makes the interface's table export into the route's. */
  readonly attached: boolean;
}

/** Equal path lists are one, so that all that use it share its state. */
class PathList {
  users = 0;

  constructor(
    readonly key: string,
    readonly paths: readonly Path[],
    /** False for ever once an interface of it was deleted: it drops. */
    public resolved = true,
  ) {}

  /** Those that VPP has to look for a route to. */
  get nextHops(): string[] {
    return this.paths.flatMap(({ shown: { type, sw_if_index, nh } }) =>
      type === 'FIB_API_PATH_TYPE_NORMAL' && sw_if_index === none && !isUnspecified(nh.address)
        ? [nh.address]
        : [],
    );
  }

  uses(sw_if_index: number): boolean {
    return this.paths.some(({ shown }) => shown.sw_if_index === sw_if_index);
  }
}

export interface Entry {
  /** As first written, with the bits behind the length. */
  readonly prefix: string;
  readonly stats_index: number;
  readonly sources: Map<SourceId, PathList>;
}

export class FibTable {
  readonly entries = new Map<string, Entry>();
  /** Held by the API: set by adding the table, cleared by deleting it. */
  held = false;
  bound_interfaces = 0;
  lookups = 0;

  constructor(
    readonly family: Family,
    readonly slot: number,
    public table_id: number,
    public name: string,
  ) {}
}

/** What the tables need to know of the interfaces. */
export interface InterfaceView {
  exists(sw_if_index: number): boolean;
  tableOf(sw_if_index: number, family: Family): FibTable | undefined;
}

export class Fib {
  readonly #tables: Record<Family, (FibTable | undefined)[]> = { 4: [], 6: [] };
  readonly #by_id: Record<Family, Map<number, FibTable>> = { 4: new Map(), 6: new Map() };
  readonly #free_slots: Record<Family, number[]> = { 4: [], 6: [] };
  /** Ids of the last tables in each slot: what is asked by slot shows them until another table takes it. */
  readonly #last_id: Record<Family, number[]> = { 4: [], 6: [] };
  /** By slot: routes that were left in an IPv4 table when it was freed. The next one in that slot has them. */
  readonly #inherited = new Map<number, Map<string, Entry>>();
  readonly #path_lists = new Map<string, PathList>();
  #stats_index = 0;

  readonly sources = new FibSources();

  constructor(readonly interfaces: InterfaceView) {
    for (const family of [4, 6] as const) this.addTable(family, 0, `ipv${family}-VRF:0`);
  }

  // Tables.

  tables(family: Family): FibTable[] {
    return this.#tables[family].filter((table) => table !== undefined);
  }

  table(family: Family, table_id: number): FibTable | undefined {
    return this.#by_id[family].get(table_id);
  }

  tableIdOfSlot(family: Family, slot: number): number {
    return this.#last_id[family][slot] ?? none;
  }

  /** Adding one that is there is no error, and its name stays. */
  addTable(family: Family, table_id: number, name: string): FibTable {
    const known = this.table(family, table_id);
    if (known !== undefined) {
      known.held = true;
      return known;
    }
    const slot = this.#free_slots[family].pop() ?? this.#tables[family].length;
    const table = new FibTable(family, slot, table_id, name === '' ? `ipv${family}-VRF:${table_id}` : name);
    table.held = true;
    this.#tables[family][slot] = table;
    this.#last_id[family][slot] = table_id;
    this.#by_id[family].set(table_id, table);
    this.#addSpecials(table);
    if (family === 4) {
      for (const [key, entry] of this.#inherited.get(slot) ?? []) table.entries.set(key, entry);
      this.#inherited.delete(slot);
    }
    return table;
  }

  /** Gives up the API's hold. The table lives on while an interface or a route needs it. */
  deleteTable(table: FibTable): void {
    if (table.table_id === 0) return;
    table.held = false;
    this.#freeIfUnused(table);
  }

  bind(table: FibTable): void {
    table.bound_interfaces += 1;
  }

  unbind(table: FibTable): void {
    table.bound_interfaces -= 1;
    this.#freeIfUnused(table);
  }

  #freeIfUnused(table: FibTable): void {
    if (table.table_id === 0 || table.held || table.bound_interfaces > 0 || table.lookups > 0) return;
    if (this.#by_id[table.family].get(table.table_id) !== table) return;
    if (this.#isExportedTo(table)) {
      throw new Death(
        'a table is freed to which an attached route (no next hop) through a deleted interface still refers',
      );
    }
    this.#by_id[table.family].delete(table.table_id);
    this.#tables[table.family][table.slot] = undefined;
    this.#free_slots[table.family].push(table.slot);
    const left = new Map(
      [...table.entries].filter(([, { sources }]) => [...sources.keys()].some(isOfRoutes)),
    );
    if (table.family === 4 && left.size > 0) this.#inherited.set(table.slot, left);
  }

  #isExportedTo(table: FibTable): boolean {
    return [...this.#exports].some(
      (made) => made.from === table && !this.interfaces.exists(made.sw_if_index),
    );
  }

  /** Attached routes whose interface is bound to another table: that table exports to the route's. */
  readonly #exports = new Set<{
    readonly entry: Entry;
    readonly from: FibTable;
    readonly sw_if_index: number;
  }>();

  // Entries.

  /** The best source and its paths; undefined when there is no such entry. */
  best(entry: Entry): { readonly source: SourceId; readonly paths: readonly fib_path[] } | undefined {
    const found = this.sources.best(entry.sources.keys());
    if (found === undefined) return undefined;
    return { source: found, paths: entry.sources.get(found)!.paths.map((path) => showPath(path)) };
  }

  /** The paths of the best source but this one. */
  behind(table: FibTable, prefix: string, front: SourceId): readonly fib_path[] | undefined {
    const entry = table.entries.get(networkOf(prefix));
    const found = this.sources.best([...(entry?.sources.keys() ?? [])].filter((id) => id !== front));
    return found === undefined ? undefined : entry?.sources.get(found)?.paths.map((path) => showPath(path));
  }

  /** Replaces the paths of this source. */
  set(table: FibTable, prefix: string, from: SourceId, paths: readonly fib_path[]): Entry {
    const list = this.#share(paths.map((path) => this.#decode(path, prefix)));
    const key = networkOf(prefix);
    let entry = table.entries.get(key);
    if (entry !== undefined) this.#checkRecursive(entry, from, list);
    if (entry === undefined) {
      entry = { prefix, stats_index: this.#stats_index++, sources: new Map() };
      table.entries.set(key, entry);
    }
    list.users += 1;
    this.#release(entry.sources.get(from));
    entry.sources.set(from, list);
    this.#forgetExports(entry);
    this.#noteExports(table, entry, list);
    return entry;
  }

  /** A better source takes over from one that has the same recursive next hop, and the rest of their paths differs in number. */
  #checkRecursive(entry: Entry, from: SourceId, list: PathList): void {
    const old = this.sources.best(entry.sources.keys());
    if (old === undefined || old === from || this.sources.best([old, from]) !== from) return;
    const before = entry.sources.get(old)!;
    const shared = list.nextHops.some((next_hop) => before.nextHops.includes(next_hop));
    if (shared && before.paths.length !== list.paths.length) {
      throw new Death('two sources have a route to one prefix by one next hop without an interface');
    }
  }

  /** Adds to the paths of this source, or changes their weights. */
  addPaths(table: FibTable, prefix: string, from: SourceId, paths: readonly fib_path[]): Entry {
    const old = table.entries.get(networkOf(prefix))?.sources.get(from);
    if (old === undefined) return this.set(table, prefix, from, paths);
    if (
      old.paths.some(({ shown }) => shown.sw_if_index !== none && !this.interfaces.exists(shown.sw_if_index))
    ) {
      throw new Death('a path is added to a route that has one through a deleted interface');
    }
    const added = paths.map((path) => this.#decode(path, prefix).shown);
    const kept = old.paths
      .map(({ shown }) => shown)
      .filter((path) => !added.some((other) => isSamePath(path, other)));
    return this.set(table, prefix, from, [...kept, ...added]);
  }

  removePaths(table: FibTable, prefix: string, from: SourceId, paths: readonly fib_path[]): void {
    const old = table.entries.get(networkOf(prefix))?.sources.get(from);
    if (old === undefined) return;
    const removed = paths.map((path) => this.#decode(path, prefix).shown);
    const kept = old.paths
      .map(({ shown }) => shown)
      .filter((path) => !removed.some((other) => isSamePath(path, other)));
    if (kept.length === 0) this.remove(table, prefix, from);
    else this.set(table, prefix, from, kept);
  }

  /** No error when there is none. */
  remove(table: FibTable, prefix: string, from: SourceId): void {
    const key = networkOf(prefix);
    const entry = table.entries.get(key);
    if (entry === undefined) return;
    const list = entry.sources.get(from);
    if (!entry.sources.delete(from)) return;
    if (entry.sources.size === 0) table.entries.delete(key);
    this.#forgetExports(entry);
    this.#release(list);
  }

  /** The entry that a packet to the first address of the prefix would take. */
  lookup(table: FibTable, prefix: string, exact: boolean): Entry | undefined {
    if (exact) return table.entries.get(networkOf(prefix));
    for (let length = lengthOf(prefix); length >= 0; length -= 1) {
      const entry = table.entries.get(networkOf(`${addressOf(prefix)}/${length}`));
      if (entry !== undefined) return entry;
    }
    return undefined;
  }

  /**
   * Whether packets are dropped although the dump shows a path: the path list was shared with one of an interface that was
   * deleted.
   */
  isDead(table: FibTable, prefix: string): boolean {
    const entry = table.entries.get(networkOf(prefix));
    const best = entry && this.sources.best(entry.sources.keys());
    return best !== undefined && entry?.sources.get(best)?.resolved === false;
  }

  /** Path lists through the interface drop from now on, and are never resolved again. */
  interfaceDeleted(sw_if_index: number): void {
    for (const list of this.#path_lists.values()) if (list.uses(sw_if_index)) list.resolved = false;
  }

  /** Keeps paths for something other than a route: a punt redirect, a redirect session. */
  hold(paths: readonly fib_path[]): { readonly paths: readonly fib_path[]; release(): void } {
    const list = this.#share(paths.map((path) => this.#decode(path, undefined)));
    list.users += 1;
    return { paths: list.paths.map((path) => showPath(path)), release: () => this.#release(list) };
  }

  // Paths.

  #decode(path: fib_path, prefix: string | undefined): Path {
    const weight = path.weight === 0 ? 1 : path.weight;
    const rest = {
      weight,
      preference: path.preference,
      flags: path.flags & ~4,
      label_stack: path.label_stack,
    };
    const family = path.proto === 'FIB_API_PATH_NH_PROTO_IP6' ? 6 : 4;
    const nowhere: fib_path = {
      ...rest,
      sw_if_index: none,
      table_id: 0,
      rpf_id: 0,
      type: path.type,
      proto: path.proto,
      nh: { address: unspecified(family), via_label: 0, obj_id: 0, classify_table_index: 0 },
    };
    switch (path.type) {
      case 'FIB_API_PATH_TYPE_BIER_IMP':
        throw new Death(`a path of type BIER with id ${path.nh.obj_id}, which does not exist`);
      case 'FIB_API_PATH_TYPE_DROP':
      case 'FIB_API_PATH_TYPE_ICMP_UNREACH':
      case 'FIB_API_PATH_TYPE_ICMP_PROHIBIT':
        return { shown: nowhere, table: undefined, attached: false };
      case 'FIB_API_PATH_TYPE_NORMAL':
        return path.sw_if_index === none
          ? this.#lookupPath(path, nowhere, family)
          : this.#interfacePath(path, nowhere, prefix);
      default:
        return {
          shown: {
            ...nowhere,
            sw_if_index: path.sw_if_index,
            nh: { ...nowhere.nh, address: path.nh.address },
          },
          table: undefined,
          attached: false,
        };
    }
  }

  /** Goes on in a table: with an address as next hop, or with the packet's own. */
  #lookupPath(path: fib_path, nowhere: fib_path, family: Family): Path {
    const table = this.table(family, path.table_id) ?? refuse(retval.NO_SUCH_FIB);
    const nh = { ...nowhere.nh, address: path.nh.address };
    return { shown: { ...nowhere, table_id: path.table_id, nh }, table, attached: false };
  }

  #interfacePath(path: fib_path, nowhere: fib_path, prefix: string | undefined): Path {
    if (!this.interfaces.exists(path.sw_if_index)) refuse(retval.NO_MATCHING_INTERFACE);
    // Only a multicast route has a use for an RPF id: here VPP loses the path over it.
    if (hasRpfId(path)) return { shown: nowhere, table: undefined, attached: false };
    const attached = isUnspecified(path.nh.address);
    const family = path.proto === 'FIB_API_PATH_NH_PROTO_IP6' ? 6 : 4;
    const completed = attached && prefix !== undefined && isHost(prefix) && familyOf(prefix) === family;
    const address = completed ? addressOf(prefix) : path.nh.address;
    const shown = { ...nowhere, sw_if_index: path.sw_if_index, nh: { ...nowhere.nh, address } };
    return { shown, table: undefined, attached };
  }

  #share(unsorted: readonly Path[]): PathList {
    const paths = unsorted.length === 1 ? unsorted : [...unsorted].sort(compareForSort);
    const key = paths.map(({ shown }) => pathKey(shown)).join(';');
    const known = this.#path_lists.get(key);
    if (known !== undefined) return known;
    const list = new PathList(key, paths);
    this.#path_lists.set(key, list);
    for (const { table } of paths) if (table !== undefined) table.lookups += 1;
    return list;
  }

  #release(list: PathList | undefined): void {
    if (list === undefined) return;
    list.users -= 1;
    if (list.users > 0) return;
    this.#path_lists.delete(list.key);
    for (const { table } of list.paths) {
      if (table === undefined) continue;
      table.lookups -= 1;
      this.#freeIfUnused(table);
    }
  }

  #noteExports(table: FibTable, entry: Entry, list: PathList): void {
    for (const { shown, attached } of list.paths) {
      if (!attached) continue;
      const from = this.interfaces.tableOf(shown.sw_if_index, table.family);
      if (from === undefined || from === table) continue;
      this.#exports.add({ entry, from, sw_if_index: shown.sw_if_index });
    }
  }

  #forgetExports(entry: Entry): void {
    for (const made of this.#exports) if (made.entry === entry) this.#exports.delete(made);
  }

  /** An IPv4 table is born with its drops, an IPv6 one with its link-local prefix. */
  #addSpecials(table: FibTable): void {
    const family = table.family;
    const add = (prefix: string, from: SourceId, type: fib_path['type']) => {
      const shown = specialPath(family, type);
      const list = this.#share([{ shown, table: undefined, attached: false }]);
      list.users += 1;
      table.entries.set(prefix, {
        prefix,
        stats_index: this.#stats_index++,
        sources: new Map([[from, list]]),
      });
    };
    const drop = 'FIB_API_PATH_TYPE_DROP';
    add(`${unspecified(family)}/0`, source.default_route, drop);
    if (family === 6) {
      add('fe80::/10', source.special, 'FIB_API_PATH_TYPE_NORMAL');
      return;
    }
    for (const prefix of ['240.0.0.0/4', '224.0.0.0/4']) add(prefix, source.special, drop);
    for (const prefix of ['0.0.0.0/32', '255.255.255.255/32']) add(prefix, source.default_route, drop);
  }
}

/** A path that goes nowhere, as VPP shows it. */
export function specialPath(
  family: Family,
  type: fib_path['type'],
  more: { readonly sw_if_index?: number; readonly nh?: string } = {},
): fib_path {
  return {
    sw_if_index: more.sw_if_index ?? none,
    table_id: 0,
    rpf_id: 0,
    weight: 1,
    preference: 0,
    type,
    flags: 0,
    proto: family === 4 ? 'FIB_API_PATH_NH_PROTO_IP4' : 'FIB_API_PATH_NH_PROTO_IP6',
    nh: { address: more.nh ?? unspecified(family), via_label: 0, obj_id: 0, classify_table_index: 0 },
    label_stack: [],
  };
}

/** By one who adds routes: the API, or a source that it has made. */
function isOfRoutes(from: SourceId): boolean {
  return from === source.api || from > source.default_route;
}

/** 0 stands for none, as ~0 does. */
export function hasRpfId({ rpf_id }: fib_path): boolean {
  return rpf_id !== 0 && rpf_id !== none;
}

/** The table's present id: VPP asks for it when it dumps. */
function showPath({ shown, table }: Path): fib_path {
  return table === undefined ? shown : { ...shown, table_id: table.table_id };
}

/** VPP keeps the paths of a list in this order: preference, kind, family, next hop, interface or table. */
function compareForSort(
  { shown: a, attached: a_attached }: Path,
  { shown: b, attached: b_attached }: Path,
): number {
  return (
    a.preference - b.preference ||
    kindOf(a, a_attached) - kindOf(b, b_attached) ||
    familyOf(a.nh.address) - familyOf(b.nh.address) ||
    Buffer.compare(parseAddress(a.nh.address), parseAddress(b.nh.address)) ||
    a.sw_if_index - b.sw_if_index ||
    a.table_id - b.table_id
  );
}

/** fib_path_type_t, as far as there are such paths here. */
function kindOf({ type, sw_if_index, nh }: fib_path, attached: boolean): number {
  if (type === 'FIB_API_PATH_TYPE_LOCAL') return 10;
  if (type !== 'FIB_API_PATH_TYPE_NORMAL') return 4;
  if (sw_if_index !== none) return attached ? 2 : 1;
  return isUnspecified(nh.address) ? 6 : 3;
}

function pathKey(path: fib_path): string {
  return `${identity(path)},${path.weight},${path.preference}`;
}

function identity({ type, proto, sw_if_index, table_id, nh, flags, label_stack }: fib_path): string {
  const labels = label_stack.map(({ label }) => label).join('+');
  return `${type},${proto},${sw_if_index},${table_id},${nh.address},${flags},${labels}`;
}

function isSamePath(a: fib_path, b: fib_path): boolean {
  return identity(a) === identity(b);
}
