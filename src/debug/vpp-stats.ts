/** Entries of VPP's stats segment as JSON, bounded. Pure. */
import type { SegmentView, Value } from '../stats/segment.js';

/** Names of entries that are told; of values, those that are decoded. A VPP with a hundred interfaces has 4000 entries. */
const names_max = 10_000;
const values_max = 1000;
/** Counters of one thread, by index. */
const counters_max = 256;
/** All counters of an answer: as text half a megabyte. */
const numbers_max = 50_000;

export interface ShownEntry {
  readonly kind: Value['kind'];
  readonly value?: number;
  readonly names?: readonly (string | null)[];
  /** By thread, 0 is the main one, then by index. Of combined counters pairs of packets and bytes; of histograms the buckets. */
  readonly threads?: readonly (readonly (number | readonly [packets: number, bytes: number])[])[];
  /** Of a histogram, by thread: bucket i counts what lies between 2^(min_exponent + i) and twice that. */
  readonly min_exponents?: readonly number[];
  /** Of the longest vector, where not all of it is shown. */
  readonly length?: number;
}

export interface ShownStats {
  /** How many there are in the segment, and how many of them match. */
  readonly entry_count: number;
  readonly matched: number;
  /** Without anything to match: names alone. */
  readonly names?: readonly string[];
  /** By name; null: it is empty, or cannot be decoded. */
  readonly entries?: Readonly<Record<string, ShownEntry | null>>;
  /** Of those that match, for want of room. */
  readonly omitted: number;
}

/** `match`: part of the names of the entries whose values are wanted; empty: all names, and no values. */
export function shownStats(view: SegmentView, match: string): ShownStats {
  const all = [...view.names.keys()].sort();
  const matched = all.filter((name) => name.includes(match));
  const head = { entry_count: all.length, matched: matched.length };
  if (match === '') {
    const names = matched.slice(0, names_max);
    return { ...head, names, omitted: matched.length - names.length };
  }
  const entries: [string, ShownEntry | null][] = [];
  let numbers = 0;
  for (const name of matched) {
    if (entries.length >= values_max || numbers >= numbers_max) break;
    const value = view.value(name);
    const shown = value === undefined ? null : shownEntry(value);
    numbers += sizeOf(shown);
    entries.push([name, shown]);
  }
  return { ...head, entries: Object.fromEntries(entries), omitted: matched.length - entries.length };
}

const sizeOf = (shown: ShownEntry | null): number =>
  1 + (shown?.names?.length ?? 0) + (shown?.threads ?? []).reduce((sum, { length }) => sum + length, 0);

const threads_max = 64;

function shownEntry(value: Value): ShownEntry {
  const { kind } = value;
  switch (kind) {
    case 'scalar':
    case 'gauge':
      return { kind, value: value.value };
    case 'names':
      return {
        kind,
        names: value.names.slice(0, counters_max).map((name) => name ?? null),
        ...lengthOf([value.names.length]),
      };
    case 'simple':
      return {
        kind,
        threads: value.threads
          .slice(0, threads_max)
          .map((counters) => [...counters.subarray(0, counters_max)]),
        ...lengthOf(value.threads.map(({ length }) => length)),
      };
    case 'combined':
      return {
        kind,
        threads: value.threads
          .slice(0, threads_max)
          .map(({ packets, bytes }) =>
            [...packets.subarray(0, counters_max)].map((count, at) => [count, bytes[at] ?? 0] as const),
          ),
        ...lengthOf(value.threads.map(({ packets }) => packets.length)),
      };
    case 'histogram':
      return {
        kind,
        threads: value.threads
          .slice(0, threads_max)
          .map(({ counts }) => [...counts.subarray(0, counters_max)]),
        min_exponents: value.threads.slice(0, threads_max).map(({ min_exponent }) => min_exponent),
        ...lengthOf(value.threads.map(({ counts }) => counts.length)),
      };
  }
}

function lengthOf(lengths: readonly number[]): { readonly length?: number } {
  const length = lengths.reduce((most, each) => Math.max(most, each), 0);
  return length > counters_max ? { length } : {};
}
