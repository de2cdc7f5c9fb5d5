/** What VPP holds of one pod, as far as a reading and outcomes tell, and what has to be done about it: one model, kept in place. */
import { keyOf, type ObjectKey, type VppObject } from '../objects/object.js';
import { Model } from '../reconcile/model.js';
import type { Operation } from '../reconcile/operation.js';
import type { TransactionResult } from '../reconcile/transaction.js';

const shown_max = 100;

export class PodObjects {
  readonly #model = new Model();
  #wanted: readonly VppObject[] | undefined;
  #sw_if_index: number | undefined;

  /** `sw_if_index`: of its interface, if VPP has it. */
  constructor(objects: Iterable<VppObject>, sw_if_index: number | undefined) {
    for (const object of objects) this.#model.seen(object);
    this.#sw_if_index = sw_if_index;
  }

  all(): Iterable<VppObject> {
    return this.#model.allThere();
  }

  get count(): number {
    return this.#model.there_count;
  }

  /** How many it was to hold when that was asked last. */
  get wanted_count(): number {
    return this.#model.wanted_count;
  }

  /** For people: each object that is wanted or there: `programmed`, `waiting`, `refused: …`, `going`. Bounded. */
  states(): Readonly<Record<ObjectKey, string>> {
    const states: Record<ObjectKey, string> = {};
    for (const object of (this.#wanted ?? []).slice(0, shown_max)) {
      const key = keyOf(object);
      const error = this.#model.failed.get(key);
      if (error !== undefined) states[key] = `refused: ${error.message}`;
      else states[key] = this.#model.there(key) === undefined ? 'waiting' : 'programmed';
    }
    let left = shown_max;
    for (const object of this.all()) {
      if (left === 0) break;
      left -= 1;
      states[keyOf(object)] ??= this.#wanted === undefined ? 'programmed' : 'going';
    }
    return states;
  }

  get sw_if_index(): number | undefined {
    return this.#sw_if_index;
  }

  get has_tap(): boolean {
    return this.#tap !== undefined;
  }

  /** True: VPP is to hold these and nothing else, and does not. What it has refused before is tried again. */
  differsFrom(wanted: readonly VppObject[]): boolean {
    if (this.#wanted !== wanted) this.#model.wantOnly(wanted);
    this.#wanted = wanted;
    this.#model.retry();
    return this.#model.waiting > 0;
  }

  /** What makes VPP hold what `differsFrom` was asked about last. To be settled or given back, before it is asked again. */
  take(): readonly Operation[] {
    return this.#model.take(Number.POSITIVE_INFINITY);
  }

  settle({ outcomes, interfaces }: TransactionResult): void {
    this.#model.settle(outcomes);
    const tag = this.#tap;
    this.#sw_if_index = tag === undefined ? undefined : (interfaces.get(tag) ?? this.#sw_if_index);
  }

  /** They have not been carried out. */
  giveBack(operations: readonly Operation[], error: Error): void {
    this.#model.settle(operations.map((operation) => ({ operation, error })));
  }

  get #tap(): string | undefined {
    for (const object of this.#model.allThere()) if (object.kind === 'tap') return object.tag;
    return undefined;
  }
}
