/** How many requests the CNI plugin has made, how they ended, and how long they took. */

import type { Clock } from '../clock.js';
import type { CniHandlers } from '../cni/server.js';
import { DurationCounts } from '../services/latencies.js';
import type { Figures } from './figures.js';

const ops = ['add', 'del'] as const;
type Op = (typeof ops)[number];

/** Of the process, not of a life of the actor that answers. */
export class CniCounts {
  readonly #clock: Clock;
  readonly #of = Object.fromEntries(
    ops.map((op) => [op, { results: { ok: 0, refused: 0, failed: 0 }, seconds: new DurationCounts() }]),
  ) as Record<Op, { results: { ok: number; refused: number; failed: number }; seconds: DurationCounts }>;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The same handlers, counted. */
  counted(handlers: CniHandlers): CniHandlers {
    return {
      add: (request, call) => this.#count('add', handlers.add(request, call)),
      del: (request, call) => this.#count('del', handlers.del(request, call)),
    };
  }

  figures(): NonNullable<Figures['cni']> {
    return ops.map((op) => {
      const { results, seconds } = this.#of[op];
      return { op, results: { ...results }, seconds: seconds.histogram() };
    });
  }

  async #count<R extends { readonly successful?: boolean | undefined }>(
    op: Op,
    answer: Promise<R>,
  ): Promise<R> {
    const began_ms = this.#clock.now_ms();
    const { results, seconds } = this.#of[op];
    try {
      const reply = await answer;
      if (reply.successful) results.ok += 1;
      else results.refused += 1;
      return reply;
    } catch (error) {
      results.failed += 1;
      throw error;
    } finally {
      seconds.record(this.#clock.now_ms() - began_ms);
    }
  }
}
