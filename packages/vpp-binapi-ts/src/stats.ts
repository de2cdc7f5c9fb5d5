/** Powers of two from 1 µs: bucket n counts answers that took less than 2^n µs; the last one all that took longer (over 4 s). */
export const latency_buckets = 24;

/** Plain counters of one message name, for as long as the connection lives. */
export interface MessageStats {
  readonly message: string;
  sent: number;
  answered: number;
  /** Answered with a retval that is not 0. */
  refused: number;
  /** Given up because VPP did not answer. */
  expired: number;
  /** From encoding to decoding, of what was answered; of an interrupted stream its last part. */
  readonly latency_us_log2: number[];
}

export interface ClientStats {
  /** Sent and not yet answered: oldest first. */
  readonly in_flight: readonly {
    readonly message: string;
    readonly age_ms: number;
    /** The caller has been told that there is no answer, or its handler has thrown. */
    readonly given_up: boolean;
  }[];
  /** Waiting for the window. */
  readonly waiting: number;
  readonly messages: readonly Readonly<MessageStats>[];
  readonly bytes_read: number;
  readonly bytes_written: number;
  /** Answers to requests that had been given up. */
  readonly late: number;
  readonly events: number;
  /** Events that nobody listens to. */
  readonly events_ignored: number;
  /** Exceptions of event handlers. */
  readonly handler_errors: number;
}

export function messageStats(message: string): MessageStats {
  return {
    message,
    sent: 0,
    answered: 0,
    refused: 0,
    expired: 0,
    latency_us_log2: new Array<number>(latency_buckets).fill(0),
  };
}

export function countLatency(stats: MessageStats, latency_ms: number): void {
  const bucket = Math.min(latency_buckets - 1, 32 - Math.clz32(latency_ms * 1000));
  stats.latency_us_log2[bucket] = (stats.latency_us_log2[bucket] ?? 0) + 1;
}
