/** Writes a stats segment of the layout that VPP 26.10 has, and spoils it: for tests of who reads one. */
import {
  entry_bytes,
  entry_types,
  heap_offset,
  name_offset,
  readHeader,
  type SegmentSource,
  SegmentView,
  segment_version,
} from '../../src/stats/segment.js';

/** Combined counters as pairs of packets and bytes. */
export type EntryContent =
  | { readonly scalar: number | bigint }
  | { readonly gauge: number | bigint }
  | { readonly simple: readonly (readonly number[])[] }
  | { readonly combined: readonly (readonly (readonly [packets: number, bytes: number])[])[] }
  | { readonly names: readonly (string | undefined)[] }
  | { readonly histogram: readonly (readonly number[])[] }
  | { readonly symlink: readonly [index: number, column: number] }
  | { readonly empty: true }
  /** As it is: for types that there are not, and pointers that lead nowhere. */
  | { readonly type: number; readonly raw: bigint };

export interface SegmentContent {
  readonly epoch?: bigint;
  readonly entries: readonly (readonly [name: string, content: EntryContent])[];
}

export const base = 0x7f00_0000_0000n;

export class SegmentBuilder {
  readonly bytes: Buffer;
  #next = heap_offset;

  constructor(size = 64 * 1024) {
    this.bytes = Buffer.alloc(size);
  }

  /** VPP's pointer to the vector. */
  vector(length: number, element_bytes: number, write: (at: number, i: number) => void): bigint {
    const at = this.#next + 8;
    this.bytes.writeUInt32LE(length, at - 8);
    this.bytes[at - 4] = 1;
    for (let i = 0; i < length; i += 1) write(at + i * element_bytes, i);
    this.#next = (at + length * element_bytes + 7) & ~7;
    return base + BigInt(at);
  }

  pointers(of: readonly bigint[]): bigint {
    return this.vector(of.length, 8, (at, i) => this.bytes.writeBigUInt64LE(of[i]!, at));
  }

  counters(of: readonly number[]): bigint {
    if (of.length === 0) return 0n;
    return this.vector(of.length, 8, (at, i) => this.bytes.writeBigUInt64LE(BigInt(of[i]!), at));
  }

  text(text: string | undefined): bigint {
    if (text === undefined) return 0n;
    const bytes = Buffer.from(`${text}\0`);
    return this.vector(bytes.length, 1, (at, i) => {
      this.bytes[at] = bytes[i]!;
    });
  }

  /** Type and union of an entry. */
  #entry(content: EntryContent): readonly [type: number, union: bigint] {
    if ('type' in content) return [content.type, content.raw];
    if ('scalar' in content) return [entry_types.scalar, BigInt(content.scalar)];
    if ('gauge' in content) return [entry_types.gauge, BigInt(content.gauge)];
    if ('empty' in content) return [entry_types.empty, 0n];
    if ('symlink' in content)
      return [entry_types.symlink, BigInt(content.symlink[0]) | (BigInt(content.symlink[1]) << 32n)];
    if ('names' in content)
      return [entry_types.names, this.pointers(content.names.map((name) => this.text(name)))];
    if ('simple' in content)
      return [entry_types.simple, this.pointers(content.simple.map((thread) => this.counters(thread)))];
    if ('histogram' in content)
      return [entry_types.histogram, this.pointers(content.histogram.map((thread) => this.counters(thread)))];
    const { bytes } = this;
    const threads = content.combined.map((thread) =>
      this.vector(thread.length, 16, (at, i) => {
        bytes.writeBigUInt64LE(BigInt(thread[i]![0]), at);
        bytes.writeBigUInt64LE(BigInt(thread[i]![1]), at + 8);
      }),
    );
    return [entry_types.combined, this.pointers(threads)];
  }

  build({ epoch = 1n, entries }: SegmentContent): Buffer {
    const { bytes } = this;
    const encoded = entries.map(([name, content]) => [name, ...this.#entry(content)] as const);
    const directory = this.vector(entries.length, entry_bytes, (at, i) => {
      const [name, type, union] = encoded[i]!;
      bytes.writeUInt32LE(type, at);
      bytes.writeBigUInt64LE(union, at + 8);
      bytes.write(name, at + name_offset, 127);
    });
    bytes.writeBigUInt64LE(BigInt(segment_version), 0);
    bytes.writeBigUInt64LE(base, 8);
    bytes.writeBigUInt64LE(epoch, 16);
    bytes.writeBigUInt64LE(0n, 24);
    bytes.writeBigUInt64LE(directory, 32);
    return bytes;
  }
}

export function segmentOf(content: SegmentContent, size?: number): Buffer {
  return new SegmentBuilder(size).build(content);
}

/** Reads from these bytes, whatever becomes of them meanwhile. */
export function sourceOf(bytes: Buffer): SegmentSource {
  return {
    size: bytes.length,
    read: (offset, length) =>
      offset < 0 || offset + length > bytes.length
        ? undefined
        : Buffer.from(bytes.subarray(offset, offset + length)),
  };
}

/** One reading of these bytes, which have a header. */
export function viewOf(bytes: Buffer): SegmentView {
  const source = sourceOf(bytes);
  const header = readHeader(source);
  if (typeof header === 'string') throw new Error(header);
  return new SegmentView(source, header);
}

/** What a VPP with two threads, an uplink, its tap, two pods and a deleted interface has, as far as it is read. */
export const node_content: SegmentContent = {
  epoch: 7n,
  entries: [
    ['/sys/heartbeat', { scalar: 12 }],
    ['/sys/boottime', { scalar: 1_900_000_000 }],
    ['/sys/last_stats_clear', { scalar: 0 }],
    ['/sys/num_worker_threads', { gauge: 1 }],
    ['/sys/vector_rate', { gauge: 3 }],
    ['/sys/vector_rate_per_worker', { simple: [[2, 4]] }],
    ['/sys/loops_per_worker', { simple: [[1000, 2000]] }],
    ['/if/names', { names: ['local0', 'host-eth0', 'tap0', 'tun1', 'deleted', 'tun2'] }],
    [
      '/if/rx',
      {
        combined: [
          [
            [0, 0],
            [10, 1000],
            [5, 500],
            [3, 300],
            [9, 900],
            [1, 100],
          ],
          [
            [0, 0],
            [20, 2000],
            [0, 0],
            [4, 400],
            [9, 900],
          ],
        ],
      },
    ],
    [
      '/if/tx',
      {
        combined: [
          [
            [0, 0],
            [11, 1100],
            [6, 600],
            [2, 200],
            [0, 0],
            [7, 700],
          ],
          [],
        ],
      },
    ],
    [
      '/if/drops',
      {
        simple: [
          [0, 1, 0, 2, 50, 0],
          [0, 1],
        ],
      },
    ],
    ['/if/punt', { simple: [[0, 0, 0, 0, 0, 0]] }],
    ['/if/rx-no-buf', { simple: [[0, 4, 0, 0, 0, 0]] }],
    ['/if/rx-miss', { simple: [[0, 0, 0, 0, 0, 0]] }],
    ['/if/rx-error', { simple: [[0, 0, 0, 0, 0, 0]] }],
    ['/if/tx-error', { simple: [[0, 0, 8, 0, 0, 0]] }],
    ['/if/ip4', { simple: [[0, 100, 0, 30, 0, 0]] }],
    ['/if/ip6', { simple: [[0, 50, 0, 0, 0, 0]] }],
    ['/buffer-pools/default-numa-0/cached', { gauge: 10 }],
    ['/buffer-pools/default-numa-0/used', { gauge: 600 }],
    ['/buffer-pools/default-numa-0/available', { gauge: 15_000 }],
    ['/mem/main heap', { simple: [[1000, 400, 600, 0, 0, 3, 100]] }],
    ['/mem/main heap/used', { symlink: [21, 1] }],
    [
      '/node/errors',
      {
        simple: [
          [0, 5, 2],
          [0, 6, 0],
        ],
      },
    ],
    ['/err/ip4-input/ip4 ttl <= 1', { symlink: [23, 1] }],
    ['/err/cnat-snat-ip4/no more free ports', { symlink: [23, 2] }],
    ['/err/ip4-input/never', { symlink: [23, 0] }],
    ['/cnat/sessions/total', { gauge: 42 }],
    ['gone', { empty: true }],
    ['/sys/session/sessions_total', { gauge: 3 }],
    ['/sys/session/sessions_per_worker', { simple: [[1, 2]] }],
    ['/sys/tcp', { simple: [[7, 8]] }],
    ['/sys/tcp/timer_expirations', { symlink: [31, 0] }],
    ['/err/tcp4-input/syns rcvd', { symlink: [23, 1] }],
    [
      '/net/cnat-translation',
      {
        combined: [
          [
            [1, 60],
            [0, 0],
            [9, 540],
          ],
          [
            [2, 120],
            [5, 300],
          ],
        ],
      },
    ],
  ],
};
