/** Matches of npol as sets of flows: both of two, and in a form that npol can hold. */
import { AddressSet, type PackedPrefix } from '../felix/address-set.js';
import { parsePrefixText, portOf } from '../felix/members.js';
import type { PortRange } from '../felix/messages.js';
import {
  type Entries,
  judged_protocols,
  type Match,
  no_entries,
  type SetRef,
  setName,
} from '../objects/npol.js';

/** In one order, and each once: what says the same is the same. */
export function sortedEntries({ nets, sets, ports, port_sets }: Entries): Entries {
  if (nets.length + sets.length + ports.length + port_sets.length === 0) return no_entries;
  return {
    nets: [...new Set(nets)].sort(),
    sets: sortedSets(sets),
    ports: [...new Map(ports.map((range) => [`${range.first}-${range.last}`, range])).values()].sort(
      (a, b) => a.first - b.first || a.last - b.last,
    ),
    port_sets: sortedSets(port_sets),
  };
}

function sortedSets(sets: readonly SetRef[]): SetRef[] {
  const by_name = new Map(sets.map((set) => [setName(set), set]));
  return [...by_name.keys()].sort().map((name) => by_name.get(name)!);
}

/** Flows that both match; undefined: there is none. Not every one of them fits npol: see `fitting`. */
export function both(a: Match, b: Match): Match | undefined {
  const protocol = a.protocol ?? b.protocol;
  if (protocol !== (b.protocol ?? a.protocol)) return undefined;
  const not_protocols = [...new Set([...a.not_protocols, ...b.not_protocols])].sort((x, y) => x - y);
  if (protocol !== undefined && not_protocols.includes(protocol)) return undefined;
  const src = bothEntries(a.src, b.src);
  const dst = bothEntries(a.dst, b.dst);
  if (src === undefined || dst === undefined) return undefined;
  return {
    ...(protocol !== undefined && { protocol }),
    not_protocols: protocol === undefined ? not_protocols : [],
    src,
    dst,
    not_src: eitherEntries(a.not_src, b.not_src),
    not_dst: eitherEntries(a.not_dst, b.not_dst),
  };
}

function bothEntries(a: Entries, b: Entries): Entries | undefined {
  // Of tiers multiplied out most pairs end here.
  const ports = bothPorts(a, b);
  if (ports === undefined) return undefined;
  const nets = bothNets(a.nets, b.nets);
  if (nets === undefined) return undefined;
  const sets = bothLists(a.sets, b.sets, (x, y) => [joined(x, y)]);
  if (sets === undefined) return undefined;
  return sortedEntries({ nets, sets, ...ports });
}

function eitherEntries(a: Entries, b: Entries): Entries {
  return sortedEntries({
    nets: [...a.nets, ...b.nets],
    sets: [...a.sets, ...b.sets],
    ports: [...a.ports, ...b.ports],
    port_sets: [...a.port_sets, ...b.port_sets],
  });
}

/** An empty list asks nothing; one that becomes empty is never met. */
function bothLists<T>(a: readonly T[], b: readonly T[], pair: (x: T, y: T) => T[]): readonly T[] | undefined {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  const all = a.flatMap((x) => b.flatMap((y) => pair(x, y)));
  return all.length === 0 ? undefined : all;
}

/** Of two prefixes that meet one holds the other. */
function bothNets(a: readonly string[], b: readonly string[]): readonly string[] | undefined {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  const [of_a, of_b] = [packed(a), packed(b)];
  const within = (inner: Packed, outer: Packed) =>
    inner.nets.filter((_net, at) => outer.set.covers(inner.prefixes[at]!));
  const nets = [...within(of_a, of_b), ...within(of_b, of_a)];
  return nets.length === 0 ? undefined : nets;
}

interface Packed {
  readonly nets: readonly string[];
  readonly prefixes: readonly PackedPrefix[];
  readonly set: AddressSet;
}

/** A list is compared with many. */
const packed_lists = new WeakMap<readonly string[], Packed>();

function packed(nets: readonly string[]): Packed {
  const known = packed_lists.get(nets);
  if (known !== undefined) return known;
  const prefixes = nets.map((net) => parsePrefixText(net)!);
  const set = new AddressSet();
  for (const prefix of prefixes) set.add(prefix);
  const made = { nets, prefixes, set };
  packed_lists.set(nets, made);
  return made;
}

/** What is in both: a set of VPP's of its own. */
export function joined(a: SetRef, b: SetRef): SetRef {
  return { ...a, ids: [...new Set([...a.ids, ...b.ids])].sort() };
}

type Ports = Pick<Entries, 'ports' | 'port_sets'>;

/** Port ranges and sets with ports are one list, of which one is enough. A set has one port, so a range holds all of it or nothing. */
export function bothPorts(a: Ports, b: Ports): Ports | undefined {
  // Not `a` and `b` themselves, which may have more in them than ports.
  if (a.ports.length + a.port_sets.length === 0) return { ports: b.ports, port_sets: b.port_sets };
  if (b.ports.length + b.port_sets.length === 0) return { ports: a.ports, port_sets: a.port_sets };
  const ports = a.ports.flatMap((x) => b.ports.flatMap((y) => common(x, y)));
  const inside = (set: SetRef, { ports }: Ports) =>
    ports.some(({ first, last }) => first <= portOf(set.port!) && portOf(set.port!) <= last);
  const port_sets = [
    ...a.port_sets.filter((set) => inside(set, b)),
    ...b.port_sets.filter((set) => inside(set, a)),
    ...a.port_sets.flatMap((x) => b.port_sets.filter((y) => x.port === y.port).map((y) => joined(x, y))),
  ];
  return ports.length + port_sets.length === 0 ? undefined : { ports, port_sets };
}

function common(a: PortRange, b: PortRange): PortRange[] {
  const first = Math.max(a.first, b.first);
  const last = Math.min(a.last, b.last);
  return first <= last ? [{ first, last }] : [];
}

/** A rule of npol has three filters: more protocols that it must not be are the ones that are left. */
export function fitting(match: Match): Match[] {
  if (match.not_protocols.length <= 3) return [match];
  const left = judged_protocols.filter((protocol) => !match.not_protocols.includes(protocol));
  return left.map((protocol) => ({ ...match, protocol, not_protocols: [] }));
}
