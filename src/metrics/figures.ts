/** What only the main thread can say, gathered there when it is asked for and read in the debug thread. */
import type { HistogramFigures } from './samples.js';

/** Of one connection to VPP: as the client of VPP's API counts. */
export interface ApiFigures {
  readonly in_flight: readonly unknown[];
  readonly waiting: number;
  readonly messages: readonly {
    readonly message: string;
    readonly sent: number;
    readonly answered: number;
    readonly refused: number;
    readonly expired: number;
    /** Bucket n counts what took less than 2^n µs. */
    readonly latency_us_log2: readonly number[];
  }[];
}

export interface Figures {
  readonly handle: readonly (HistogramFigures & { readonly path: string })[];
  /** What VPP has died of and is refused. */
  readonly quarantined?: number;
  /** Deaths of VPP by cause. */
  readonly deaths?: Readonly<Record<string, number>>;
  /** By connection. */
  readonly api?: Readonly<Record<string, ApiFigures>>;
  readonly services?: {
    readonly event_to_vpp: HistogramFigures;
    readonly network_programming: HistogramFigures;
  };
  readonly bgp_peers?: readonly {
    readonly address: string;
    readonly state: string;
    readonly received: number;
  }[];
  /** By kind. */
  readonly kinds?: Readonly<
    Record<
      string,
      { readonly synced: boolean; readonly objects: number; readonly lists: number; readonly watches: number }
    >
  >;
  readonly cni?: readonly {
    readonly op: string;
    readonly results: Readonly<Record<string, number>>;
    readonly seconds: HistogramFigures;
  }[];
}

/** Whose paths are always the same. Those of pods come and go, and a sum of them would fall. */
export const isStatic = (path: string): boolean => !/^[^/]+\/cni\//.test(path);

/** Each second power of two, from 16 µs to 16 s, is close enough. */
const api_buckets = [4, 6, 8, 10, 12, 14, 16, 18, 20, 22];

/** Of all messages of a connection. The sum is not measured: each answer counts with the middle of its bucket. */
export function apiHistogram({ messages }: ApiFigures): HistogramFigures {
  const counts: number[] = [];
  for (const { latency_us_log2 } of messages)
    for (const [n, count] of latency_us_log2.entries()) counts[n] = (counts[n] ?? 0) + count;
  const upTo = (n: number): number => counts.slice(0, n + 1).reduce((all, one) => all + one, 0);
  return {
    count: upTo(counts.length),
    sum_seconds: counts.reduce((all, count, n) => all + (count * 0.75 * 2 ** n) / 1e6, 0),
    buckets: api_buckets.map((n) => [2 ** n / 1e6, upTo(n)]),
  };
}
