/** Which interfaces each workload has. */
import type { WorkloadKey } from '../felix/messages.js';
import type { InterfaceTag } from '../objects/interfaces.js';

export class WorkloadTags {
  readonly #tags = new Map<WorkloadKey, Set<InterfaceTag>>();

  of(endpoint: WorkloadKey): Iterable<InterfaceTag> {
    return this.#tags.get(endpoint) ?? [];
  }

  /** Whose interface it was, and is now; undefined: nobody's. */
  move(tag: InterfaceTag, before: WorkloadKey | undefined, now: WorkloadKey | undefined): void {
    if (before !== undefined) {
      const tags = this.#tags.get(before);
      tags?.delete(tag);
      if (tags?.size === 0) this.#tags.delete(before);
    }
    if (now === undefined) return;
    const tags = this.#tags.get(now);
    if (tags === undefined) this.#tags.set(now, new Set([tag]));
    else tags.add(tag);
  }
}
