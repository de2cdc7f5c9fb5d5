/**
 * Whether what was there when the node became ready has been dealt with: every pod of the records, and what VPP held of pods that
 * nobody knows. A pod is dealt with when it is connected or removed, or when it is known why it cannot be: one whose namespace
 * has gone must not keep the node from others. Pods that come later are settled by the answer to their ADD.
 */
import type { PodKey } from '../pod/spec.js';

/** For the readiness condition of the pods. */
export interface Settledness {
  readonly settled: boolean;
  /** For a person. */
  readonly reason: string;
}

/** So many pods are named in a reason; the tree has them all. */
const named_max = 3;

export class Settling {
  /** Why nothing can be said of this VPP yet. */
  #blocked: string | undefined;
  /** Pods of the records that have not come to rest. */
  readonly #open = new Set<PodKey>();
  /** Why a pod is not as it should be. */
  readonly #faults = new Map<PodKey, string>();
  #pods = 0;
  #settled = false;

  constructor(reason: string) {
    this.#blocked = reason;
  }

  /** There is no VPP to settle anything on, or it has not said what it holds. */
  block(reason: string): void {
    this.#blocked = reason;
    this.#settled = false;
    this.#open.clear();
    this.#faults.clear();
  }

  /** What VPP holds is known: these pods are to be settled on it. */
  begin(pods: Iterable<PodKey>): void {
    this.#blocked = undefined;
    for (const key of pods) this.#open.add(key);
    this.#pods = this.#open.size;
  }

  /** It has come to rest. `fault`: what it lacks and why, empty when it is as it should be. */
  pod(key: PodKey, fault: string): void {
    this.#open.delete(key);
    if (fault === '') this.#faults.delete(key);
    else this.#faults.set(key, fault);
  }

  /** VPP has said what it holds, and no pod of the records is being dealt with. */
  get isAtRest(): boolean {
    return this.#blocked === undefined && this.#open.size === 0;
  }

  gone(key: PodKey): void {
    this.pod(key, '');
  }

  /** Those that have not come to rest are waited for no longer. Answers them. */
  giveUp(): readonly PodKey[] {
    if (this.#blocked !== undefined || this.#settled) return [];
    const left = [...this.#open];
    for (const key of left) this.pod(key, `${key} has not been dealt with yet`);
    this.#settled = true;
    return left;
  }

  /** `sweeping`: what belongs to no pod is being removed. */
  state(sweeping: boolean): Settledness {
    if (this.#blocked !== undefined) return { settled: false, reason: this.#blocked };
    if (this.#open.size > 0)
      return { settled: false, reason: `${this.#open.size} of ${this.#pods} pods are being dealt with` };
    if (sweeping && !this.#settled)
      return { settled: false, reason: 'what is left of unknown pods is being removed' };
    this.#settled = true;
    return { settled: true, reason: this.#faults.size === 0 ? 'pods are settled' : this.#troubles() };
  }

  #troubles(): string {
    const faults = [...this.#faults.values()];
    const more = faults.length > named_max ? `; and ${faults.length - named_max} more` : '';
    return `pods are settled, but not ${faults.slice(0, named_max).join('; ')}${more}`;
  }
}
