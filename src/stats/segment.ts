/**
 * VPP's stats segment, version 2, decoded from bytes that VPP may be changing meanwhile. Pure: what is read is given.
 *
 * Every pointer and length is hostile: one that leads outside costs its own entry and nothing else. Layout: `vlib/stats/shared.h` and
 * `vppinfra/vec_bootstrap.h` of VPP 26.10; little endian.
 */

/** The bytes at this place; undefined where there are not so many. Never throws. */
export type ReadAt = (offset: number, length: number) => Buffer | undefined;

/** What is read from: all of it may differ from one call to the next. */
export interface SegmentSource {
  readonly size: number;
  readonly read: ReadAt;
}

export const segment_version = 2;
export const header_bytes = 40;
/** The heap begins a page behind the header. */
export const heap_offset = 4096;
export const entry_bytes = 144;
export const name_offset = 16;

/** A VPP with a hundred interfaces has 4000 entries. */
const entries_max = 65_536;
const elements_max = 16 * 2 ** 20;
const threads_max = 1024;
const text_bytes_max = 256;
/** Of one reading, all entries together: many that lead to one large vector are not to cost more than they could be worth. */
export const read_bytes_max = 64 * 2 ** 20;
const faults_kept = 16;

export const entry_types = {
  scalar: 1,
  simple: 2,
  combined: 3,
  names: 4,
  empty: 5,
  symlink: 6,
  histogram: 7,
  ring: 8,
  gauge: 9,
} as const;

export interface Header {
  /** Address of the segment in VPP; pointers are relative to it. */
  readonly base: bigint;
  readonly epoch: bigint;
  /** VPP is changing the structure just now. */
  readonly in_progress: boolean;
  readonly directory: bigint;
}

/** The header, or why there is none to go by. */
export function readHeader({ size, read }: SegmentSource): Header | string {
  const bytes = size < heap_offset ? undefined : read(0, header_bytes);
  if (bytes === undefined) return 'the segment has no header';
  const version = bytes.readBigUInt64LE(0);
  if (version !== BigInt(segment_version))
    return `the segment has version ${version}, and ${segment_version} is what is understood`;
  return {
    base: bytes.readBigUInt64LE(8),
    epoch: bytes.readBigUInt64LE(16),
    in_progress: bytes.readBigUInt64LE(24) !== 0n,
    directory: bytes.readBigUInt64LE(32),
  };
}

/** Counters of one thread by index. */
export interface Combined {
  readonly packets: Float64Array;
  readonly bytes: Float64Array;
}

/** Counters by thread, 0 is the main one; the threads' vectors may have different lengths. Above 2^53 they are rounded. */
export type Value =
  | { readonly kind: 'scalar' | 'gauge'; readonly value: number }
  | { readonly kind: 'simple'; readonly threads: readonly Float64Array[] }
  | { readonly kind: 'combined'; readonly threads: readonly Combined[] }
  | { readonly kind: 'names'; readonly names: readonly (string | undefined)[] }
  /** Bucket i counts what lies between 2^(min_exponent + i) and twice that. */
  | {
      readonly kind: 'histogram';
      readonly threads: readonly { readonly min_exponent: number; readonly counts: Float64Array }[];
    };

/** Where entries are, by name: the same as long as the epoch is. */
export type NameIndex = ReadonlyMap<string, number>;

/** What is wrong with one entry. */
class BadEntry extends Error {}

interface Vector {
  readonly length: number;
  readonly bytes: Buffer;
}

const empty: Vector = { length: 0, bytes: Buffer.alloc(0) };

function u64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at + 4) * 2 ** 32 + bytes.readUInt32LE(at);
}

/** One reading of a segment. It belongs to one epoch, which only the header read again afterwards can tell. */
export class SegmentView {
  readonly #source: SegmentSource;
  readonly #header: Header;
  readonly #directory: Vector;
  readonly #values = new Map<number, Value | undefined>();
  readonly #faults: string[] = [];
  readonly names: NameIndex;
  #fault_count = 0;
  #read_bytes = 0;

  /** `known`: the names of an earlier reading of the same epoch. A directory that cannot be read has no entries, and is a fault. */
  constructor(source: SegmentSource, header: Header, known?: NameIndex) {
    this.#source = source;
    this.#header = header;
    this.#directory = this.#guarded('the directory', () =>
      this.#vector(header.directory, entry_bytes, entries_max),
    ) ?? { ...empty };
    this.names = known ?? this.#namesOfAll();
  }

  /** What could not be decoded, the first of it in words. */
  get faults(): { readonly count: number; readonly first: readonly string[] } {
    return { count: this.#fault_count, first: this.#faults };
  }

  get read_bytes(): number {
    return this.#read_bytes;
  }

  /** Decoded once in a reading; undefined where there is no such entry, it is empty, or cannot be decoded. Of a symlink the one column it leads to. */
  value(name: string): Value | undefined {
    const index = this.names.get(name);
    return index === undefined ? undefined : this.#valueAt(index, name);
  }

  scalar(name: string): number | undefined {
    const value = this.value(name);
    return value?.kind === 'scalar' || value?.kind === 'gauge' ? value.value : undefined;
  }

  #valueAt(index: number, name: string): Value | undefined {
    if (!this.#values.has(index)) {
      // An entry that is asked for while it is decoded would lead to itself.
      this.#values.set(index, undefined);
      this.#values.set(
        index,
        this.#guarded(name, () => this.#decode(index)),
      );
    }
    return this.#values.get(index);
  }

  #guarded<T>(what: string, decode: () => T): T | undefined {
    try {
      return decode();
    } catch (error) {
      if (!(error instanceof BadEntry)) throw error;
      this.#fault_count += 1;
      if (this.#faults.length < faults_kept) this.#faults.push(`${what.slice(0, 128)}: ${error.message}`);
      return undefined;
    }
  }

  #namesOfAll(): NameIndex {
    const names = new Map<string, number>();
    const { length, bytes } = this.#directory;
    for (let index = 0; index < length; index += 1) {
      const at = index * entry_bytes;
      const type = bytes.readUInt32LE(at);
      if (type === 0 || type === entry_types.empty) continue;
      const name = textIn(bytes.subarray(at + name_offset, at + entry_bytes));
      if (name !== '') names.set(name, index);
    }
    return names;
  }

  #decode(index: number): Value | undefined {
    const { length, bytes } = this.#directory;
    if (index >= length) throw new BadEntry(`entry ${index} of ${length}`);
    const at = index * entry_bytes;
    const pointer = (): bigint => bytes.readBigUInt64LE(at + 8);
    const type = bytes.readUInt32LE(at);
    switch (type) {
      case 0:
      case entry_types.empty:
      case entry_types.ring:
        return undefined;
      case entry_types.scalar:
        return { kind: 'scalar', value: u64(bytes, at + 8) };
      case entry_types.gauge:
        return { kind: 'gauge', value: u64(bytes, at + 8) };
      case entry_types.simple:
        return { kind: 'simple', threads: this.#threads(pointer(), 8, simpleOf) };
      case entry_types.combined:
        return { kind: 'combined', threads: this.#threads(pointer(), 16, combinedOf) };
      case entry_types.histogram:
        return { kind: 'histogram', threads: this.#threads(pointer(), 8, histogramOf) };
      case entry_types.names:
        return { kind: 'names', names: this.#texts(pointer()) };
      case entry_types.symlink:
        return this.#column(bytes.readUInt32LE(at + 8), bytes.readUInt32LE(at + 12));
      default:
        throw new BadEntry(`type ${type} is not known`);
    }
  }

  #threads<T>(pointer: bigint, element_bytes: number, decode: (vector: Vector) => T): T[] {
    const outer = this.#vector(pointer, 8, threads_max);
    return Array.from({ length: outer.length }, (_, thread) =>
      decode(this.#vector(outer.bytes.readBigUInt64LE(thread * 8), element_bytes, elements_max)),
    );
  }

  #texts(pointer: bigint): (string | undefined)[] {
    const outer = this.#vector(pointer, 8, entries_max);
    return Array.from({ length: outer.length }, (_, i) => {
      const text = outer.bytes.readBigUInt64LE(i * 8);
      if (text === 0n) return undefined;
      // One name that cannot be read is not to cost the others.
      return this.#guarded(`name ${i}`, () => textIn(this.#vector(text, 1, text_bytes_max).bytes));
    });
  }

  #column(index: number, column: number): Value | undefined {
    if (index >= this.#directory.length)
      throw new BadEntry(`leads to entry ${index} of ${this.#directory.length}`);
    if (this.#directory.bytes.readUInt32LE(index * entry_bytes) === entry_types.symlink)
      throw new BadEntry('leads to a symlink');
    const whole = this.#valueAt(index, `entry ${index}`);
    if (whole?.kind === 'simple')
      return { kind: 'simple', threads: whole.threads.map((thread) => thread.subarray(column, column + 1)) };
    if (whole?.kind === 'combined')
      return {
        kind: 'combined',
        threads: whole.threads.map(({ packets, bytes }) => ({
          packets: packets.subarray(column, column + 1),
          bytes: bytes.subarray(column, column + 1),
        })),
      };
    throw new BadEntry(`leads to ${whole?.kind ?? 'nothing'}`);
  }

  /** VPP has the number of elements in the 8 bytes before the first; the pointer 0 is the vector without any. */
  #vector(pointer: bigint, element_bytes: number, length_max: number): Vector {
    if (pointer === 0n) return empty;
    const { size } = this.#source;
    const offset = pointer - this.#header.base;
    if (offset < BigInt(heap_offset + 8) || offset > BigInt(size))
      throw new BadEntry(`0x${pointer.toString(16)} is outside of the segment`);
    const at = Number(offset);
    const length = this.#read(at - 8, 8).readUInt32LE(0);
    if (length > length_max || at + length * element_bytes > size)
      throw new BadEntry(`a vector of ${length} elements`);
    return length === 0 ? empty : { length, bytes: this.#read(at, length * element_bytes) };
  }

  #read(offset: number, length: number): Buffer {
    this.#read_bytes += length;
    if (this.#read_bytes > read_bytes_max)
      throw new BadEntry(`more than ${read_bytes_max} bytes in one reading`);
    const bytes = this.#source.read(offset, length);
    if (bytes?.length !== length) throw new BadEntry(`${length} bytes at ${offset} cannot be read`);
    return bytes;
  }
}

function textIn(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.subarray(0, end < 0 ? bytes.length : end).toString('utf8');
}

function simpleOf({ length, bytes }: Vector): Float64Array {
  const counters = new Float64Array(length);
  for (let i = 0; i < length; i += 1) counters[i] = u64(bytes, i * 8);
  return counters;
}

function combinedOf({ length, bytes }: Vector): Combined {
  const combined = { packets: new Float64Array(length), bytes: new Float64Array(length) };
  for (let i = 0; i < length; i += 1) {
    combined.packets[i] = u64(bytes, i * 16);
    combined.bytes[i] = u64(bytes, i * 16 + 8);
  }
  return combined;
}

function histogramOf(vector: Vector) {
  const [min_exponent = 0, ...counts] = simpleOf(vector);
  return { min_exponent, counts: Float64Array.from(counts) };
}
