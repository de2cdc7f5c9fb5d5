/** Whether pods are where they were made. */
import type { PodNamespaces } from './pod-namespaces.js';
import type { PodRecords } from './pod-records.js';
import type { PodEntry, PodTable } from './pod-table.js';

/**
 * At one look for namespaces that have gone: nobody gets into one without a path, to remove the device first, so that each
 * of these pods stops VPP for some 20 ms. None of them is waited for.
 */
export const collected_max = 16;

export class Whereabouts {
  constructor(
    private readonly namespaces: PodNamespaces,
    private readonly records: PodRecords,
  ) {}

  /** Its namespace stands at its path, or one that may become its own. */
  isThere({ spec }: PodEntry): boolean {
    const record = this.records.get(spec.key);
    return record === undefined
      ? this.namespaces.mayBePods(spec.netns)
      : this.namespaces.of(record) !== undefined;
  }

  /** Another namespace than its own stands at its path. */
  isReplaced(pod: PodEntry): boolean {
    return !this.isThere(pod) && this.namespaces.at(pod.spec.netns) !== undefined;
  }

  /** Pods whose namespace has been missing for `missing_ms`: at most `collected_max`. To be asked regularly. */
  *lost(pods: PodTable, now_ms: number, missing_ms: number): Iterable<PodEntry> {
    let collected = 0;
    for (const pod of pods.values()) {
      const for_ms = pod.missingFor(this.isThere(pod), now_ms);
      // An intent that could not be written down is tried again.
      const leaves = this.records.get(pod.spec.key)?.phase === 'deleting';
      if (for_ms === undefined || for_ms < missing_ms || leaves) continue;
      if (collected === collected_max) return;
      collected += 1;
      yield pod;
    }
  }
}
