/**
 * How many numbers npol's pools have given out, and how many of them may be in use: written down before the first beyond it is given out, so
 * that who begins anew knows what to look for. VPP gives what is free first.
 */
import type { ObjectKind } from '../objects/object.js';
import { type NpolMarks, type NpolPool, npol_pools } from '../objects/policy.js';
import type { Operation } from '../reconcile/operation.js';
import type { Snapshot } from '../reconcile/snapshot.js';

type OfPools = Record<NpolPool, number>;

/** The least that a pool is said to have had. */
const mark_min = 64;
/** Numbers of a pool that one operation looks at. */
const remains_piece = 16;

export const pool_of_kind: Readonly<Partial<Record<ObjectKind, NpolPool>>> = {
  npol_rule: 'rules',
  npol_policy: 'policies',
  npol_set: 'sets',
};

/** The power of two, of some at least, that is no less. */
function stepOf(count: number): number {
  let step = mark_min;
  while (step < count) step *= 2;
  return step;
}

export class NpolNumbers {
  /** Numbers below these may have been given out. */
  #below: OfPools = { rules: 0, policies: 0, sets: 0 };
  /** So many of each may be in VPP, as it is written down. */
  #held: OfPools = { rules: 0, policies: 0, sets: 0 };
  /** Of these some are an earlier life's. */
  #remains: OfPools | undefined;

  /** What an earlier life has written down. */
  heard({ objects }: Pick<Snapshot, 'objects'>): void {
    const marks = objects.find((object) => object.kind === 'npol_marks');
    this.#below = { rules: 0, policies: 0, sets: 0, ...marks?.below };
    this.#held = { ...this.#below, ...marks?.held };
    this.#remains = marks === undefined ? undefined : { ...this.#held };
  }

  /** What is to be written before so many are added to those that are there; undefined: nothing. */
  grow(there: Readonly<OfPools>, coming: Readonly<OfPools>): Operation | undefined {
    const below = { ...this.#below };
    const held = { ...this.#held };
    for (const pool of npol_pools) {
      const needed = stepOf(there[pool] + coming[pool] + (this.#remains?.[pool] ?? 0));
      below[pool] = Math.max(below[pool], needed);
      held[pool] = Math.max(held[pool], needed);
    }
    if (npol_pools.every((pool) => below[pool] === this.#below[pool] && held[pool] === this.#held[pool]))
      return undefined;
    this.#below = below;
    this.#held = held;
    return this.#written();
  }

  /** One of a pool is in VPP that has no name any more. */
  leaves(pool: NpolPool): void {
    this.#remains ??= { rules: 0, policies: 0, sets: 0 };
    this.#remains[pool] += 1;
  }

  get hasRemains(): boolean {
    return this.#remains !== undefined;
  }

  /** All that has no name is removed; then nothing is there but this. */
  sweep(there: Readonly<OfPools>): Operation[] {
    const operations: Operation[] = [];
    for (const pool of ['policies', 'rules', 'sets'] as const)
      for (let first = 0; first < this.#below[pool]; first += remains_piece) {
        const object = { kind: 'npol_remains', pool, first, count: remains_piece } as const;
        operations.push({ action: 'remove', object });
      }
    // Who comes after needs no numbers beyond these for as long as there is no more at a time.
    this.#held = {
      rules: stepOf(there.rules),
      policies: stepOf(there.policies),
      sets: stepOf(there.sets),
    };
    return [...operations, this.#written()];
  }

  isSwept(): void {
    this.#remains = undefined;
  }

  #written(): Operation {
    const object: NpolMarks = { kind: 'npol_marks', below: this.#below, held: this.#held };
    return { action: 'add', object };
  }
}
