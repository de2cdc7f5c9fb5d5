/** Reads a stats segment that VPP goes on changing: until nothing of its structure has changed meanwhile, and not for ever. */
import type { Clock } from '../clock.js';
import { type NameIndex, readHeader, type SegmentSource, SegmentView } from './segment.js';

/** A segment, and whether its VPP lives. */
export interface LiveSegment extends SegmentSource {
  readonly pid: number;
  readonly isLive: boolean;
  close(): void;
}

/** Of one reading; `took_ms` without what was waited for. */
export type Reading<T> =
  | {
      readonly ok: true;
      readonly value: T;
      readonly epoch: number;
      readonly took_ms: number;
      readonly read_bytes: number;
      readonly faults: SegmentView['faults'];
    }
  /** `is_dead`: there is no such process, or no VPP; otherwise it may live. */
  | { readonly ok: false; readonly reason: string; readonly is_dead: boolean };

type Failure = Extract<Reading<unknown>, { ok: false }>;
const failed = (reason: string, is_dead = false): Failure => ({ ok: false, reason, is_dead });

export interface StatsReaderOptions {
  /** Throws where this process has no segment. */
  readonly open: (pid: number) => LiveSegment;
  readonly clock: Clock;
}

/** While VPP changes the structure it is looked at again so often, and for so long. */
const poll_ms = 1;
export const within_ms = 1000;
/** Readings that a change of the structure has spoiled. */
const spoiled_max = 5;
/** VPP counts it up every `update-interval`, 10 s at most: for longer than three of them its main thread has done nothing. */
export const heartbeat_silent_ms = 30_000;

export class StatsReader {
  readonly #options: StatsReaderOptions;
  #segment: LiveSegment | undefined;
  #names: { readonly epoch: bigint; readonly index: NameIndex } | undefined;
  #heartbeat = { value: -1, since_ms: 0 };
  /** Readings that were spoiled, and waits. Only grows. */
  retries = 0;

  constructor(options: StatsReaderOptions) {
    this.#options = options;
  }

  /**
   * What `pick` makes of the segment of the process with this pid, or why there is nothing: it is dead, its segment is of another version, its main
   * thread has been silent for 30 s, or it changes all the time. Takes 1 s at most; never rejects unless `pick` throws, which may be called more than once.
   */
  async read<T>(pid: number, pick: (view: SegmentView) => T): Promise<Reading<T>> {
    const { clock } = this.#options;
    const until_ms = clock.now_ms() + within_ms;
    for (let spoiled = 0; spoiled < spoiled_max; ) {
      const began_ms = clock.now_ms();
      // Anew after each wait, in which another reading may have closed it.
      const segment = this.#segmentOf(pid);
      if ('reason' in segment) return segment;
      const header = readHeader(segment);
      if (typeof header === 'string') return failed(header);
      if (header.in_progress) {
        if (began_ms >= until_ms)
          return failed(`VPP has been changing its stats segment for ${within_ms} ms`);
        this.retries += 1;
        await clock.sleep(poll_ms);
        continue;
      }
      const known = this.#names?.epoch === header.epoch ? this.#names.index : undefined;
      const view = new SegmentView(segment, header, known);
      const value = pick(view);
      const heartbeat = view.scalar('/sys/heartbeat');
      const after = readHeader(segment);
      if (typeof after === 'string' || after.epoch !== header.epoch || after.in_progress) {
        spoiled += 1;
        this.retries += 1;
        continue;
      }
      this.#names = { epoch: header.epoch, index: view.names };
      if (!segment.isLive) return this.#dead(pid);
      const silent_ms = this.#silent_ms(heartbeat);
      if (silent_ms > heartbeat_silent_ms)
        return failed(
          `VPP's main thread has not counted its heartbeat up for ${Math.floor(silent_ms / 1000)} s`,
        );
      return {
        ok: true,
        value,
        epoch: Number(header.epoch),
        took_ms: clock.now_ms() - began_ms,
        read_bytes: view.read_bytes,
        faults: view.faults,
      };
    }
    return failed(`VPP has changed its stats segment during ${spoiled_max} readings`);
  }

  close(): void {
    this.#segment?.close();
    this.#segment = undefined;
    this.#names = undefined;
    this.#heartbeat = { value: -1, since_ms: 0 };
  }

  #dead(pid: number): Failure {
    this.close();
    return failed(`VPP ${pid} is dead`, true);
  }

  #segmentOf(pid: number): LiveSegment | Failure {
    if (pid <= 0) {
      this.close();
      return failed('VPP does not run', true);
    }
    if (this.#segment?.pid === pid && this.#segment.isLive) return this.#segment;
    this.close();
    try {
      this.#segment = this.#options.open(pid);
      return this.#segment;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      return code === 'ENOENT' ? this.#dead(pid) : failed(message);
    }
  }

  /** For how long readings have shown the same heartbeat. A VPP without one is not judged by it. */
  #silent_ms(value: number | undefined): number {
    const now_ms = this.#options.clock.now_ms();
    if (value === undefined || value !== this.#heartbeat.value)
      this.#heartbeat = { value: value ?? -1, since_ms: now_ms };
    return now_ms - this.#heartbeat.since_ms;
  }
}
