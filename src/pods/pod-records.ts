/** The records of all pods, in memory and on disk: what a pod actor that starts again knows about itself. */
import type { PodGates, PodLimits } from '../cni/annotations.js';
import { type PodRecord, recordFileName } from '../pod/record.js';
import type { PodKey } from '../pod/spec.js';
import type { PodStateProblem } from './pod-state.js';

/** Where records are kept; PodState is one. `put` and `remove` throw PodStateError and have then changed nothing. */
export interface PodStore {
  load(): { readonly records: readonly PodRecord[]; readonly problems: readonly PodStateProblem[] };
  put(record: PodRecord): void;
  remove(key: PodKey): void;
  /** Writes again what is there no more; answers how many were missing. Never throws. */
  mend(records: Iterable<PodRecord>): number;
}

export type Permits = Pick<PodGates, 'memif' | 'vcl'>;

/** What pods may have of what they were once permitted. */
export function permitsOf({ gates, vcl_obstacle }: Pick<PodLimits, 'gates' | 'vcl_obstacle'>): Permits {
  return { memif: gates.memif, vcl: gates.vcl && vcl_obstacle === undefined };
}

export class PodRecords {
  readonly problems: readonly PodStateProblem[];
  /** Pods that had a memif, and go without. */
  without_memif = 0;
  /** Pods that had VPP's host stack, and go without. */
  without_vcl = 0;
  readonly #store: PodStore;
  readonly #permits: Permits;
  readonly #records = new Map<PodKey, PodRecord>();

  /** Reads the store. One that cannot be read at all is a problem like a record that cannot: each pod then tells why. */
  constructor(store: PodStore, permits: Permits) {
    this.#store = store;
    this.#permits = permits;
    const { records, problems } = load(store);
    for (const record of records) this.#records.set(record.spec.key, this.#permitted(record));
    this.problems = problems;
  }

  get(key: PodKey): PodRecord | undefined {
    return this.#records.get(key);
  }

  list(): readonly PodRecord[] {
    return [...this.#records.values()];
  }

  put(record: PodRecord): void {
    const permitted = this.#permitted(record);
    this.#store.put(permitted);
    this.#records.set(record.spec.key, permitted);
  }

  /** What was permitted when the pod was added, or to the Go implementation, may not be by now. */
  #permitted(record: PodRecord): PodRecord {
    const { memif, vcl, ...spec } = record.spec;
    const loses_memif = memif !== undefined && !this.#permits.memif;
    const loses_vcl = vcl !== undefined && !this.#permits.vcl;
    if (!loses_memif && !loses_vcl) return record;
    if (loses_memif) this.without_memif += 1;
    if (loses_vcl) this.without_vcl += 1;
    return {
      ...record,
      spec: {
        ...spec,
        ...(memif !== undefined && !loses_memif && { memif }),
        ...(vcl !== undefined && !loses_vcl && { vcl }),
      },
    };
  }

  /** The pod has gone, of which there may be a record that is not for this release. Best effort: a later one sees that it has gone. */
  forget(key: PodKey): void {
    if (!this.problems.some(({ file }) => file === recordFileName(key))) return;
    try {
      this.#store.remove(key);
    } catch {
      // As above.
    }
  }

  mend(): number {
    return this.#store.mend(this.#records.values());
  }

  remove(key: PodKey): void {
    this.#store.remove(key);
    this.#records.delete(key);
  }
}

function load(store: PodStore): ReturnType<PodStore['load']> {
  try {
    return store.load();
  } catch (error) {
    const text = `cannot be read: ${(error as Error).message}`;
    return { records: [], problems: [{ file: 'the directory of the records', fault: 'unreadable', text }] };
  }
}
