/** The record of one pod: what it knows about itself, as it stands on the disk. */
import { isDeepStrictEqual } from 'node:util';
import { tablesOf } from '../desired/admission.js';
import type { NamespaceId } from '../linux/network.js';
import type { GivenDevice, PodPhase, PodRecord } from '../pod/record.js';
import type { PodKey, PodSpec } from '../pod/spec.js';
import type { PodRecords } from './pod-records.js';

/** What is to be known about it; what is absent stays as it was, but the device. */
export interface RecordChange {
  readonly spec: PodSpec;
  readonly phase: PodPhase;
  /** Of its tables. */
  readonly slot: number | undefined;
  readonly namespace: NamespaceId | undefined;
  readonly device: GivenDevice | undefined;
}

export class OwnRecord {
  readonly #key: PodKey;
  readonly #records: PodRecords;
  #now: PodRecord | undefined;

  constructor(key: PodKey, records: PodRecords) {
    this.#key = key;
    this.#records = records;
    this.#now = records.get(key);
  }

  get now(): PodRecord | undefined {
    return this.#now;
  }

  /** Answers why it could not be written; it is then as before. */
  write({ spec, phase, slot, namespace = this.#now?.namespace, device }: RecordChange): string | undefined {
    const record: PodRecord = {
      phase,
      spec,
      tables: slot === undefined ? (this.#now?.tables ?? {}) : tablesOf(spec, slot),
      ...(namespace !== undefined && { namespace }),
      ...(device !== undefined && { device }),
    };
    if (isDeepStrictEqual(record, this.#now)) return undefined;
    const fault = this.#try(() => this.#records.put(record));
    if (fault === undefined) this.#now = record;
    return fault;
  }

  /** Likewise. */
  remove(): string | undefined {
    const fault = this.#try(() => this.#records.remove(this.#key));
    if (fault === undefined) this.#now = undefined;
    return fault;
  }

  #try(run: () => void): string | undefined {
    try {
      run();
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  }
}
