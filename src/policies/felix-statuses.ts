/** What each endpoint is by now: what of it Felix has still to hear, and the files that the CNI plugin waits for. */

import { statusFileName, statusFileText } from '../felix/status-file.js';
import type { EndpointStatus } from './endpoint-statuses.js';

/** The files that the CNI plugin waits for. */
export interface EndpointFiles {
  set(name: string, text: string | undefined): void;
  sweep(): void;
  retry(): void;
  readonly faults: ReadonlyMap<string, string>;
  readonly count: number;
}

/** More endpoints are no node's; those beyond have no file and no status. */
export const statuses_max = 10_000;

export class FelixStatuses {
  readonly #files: Pick<EndpointFiles, 'set' | 'sweep'>;
  readonly #all = new Map<string, EndpointStatus>();
  /** What Felix is to hear of them: the last of each, of those that are gone `statuses_max` at most. */
  readonly #due = new Map<string, EndpointStatus>();
  /** Of `#due`, from one status to the next: an iterator that begins anew walks over all that have been taken out. */
  #cursor: MapIterator<[string, EndpointStatus]> | undefined;
  #left_out = 0;

  constructor(files: Pick<EndpointFiles, 'set' | 'sweep'>) {
    this.#files = files;
  }

  get size(): number {
    return this.#all.size;
  }

  get due(): number {
    return this.#due.size;
  }

  /** So many were beyond `statuses_max`. */
  get left_out(): number {
    return this.#left_out;
  }

  /** `whole`: these are all. `is_heard`: a Felix knows its endpoints, and is to be told. */
  take(statuses: readonly EndpointStatus[], whole: boolean, is_heard: boolean): void {
    const named = new Set<string>();
    for (const status of statuses) {
      const key = keyOf(status);
      named.add(key);
      this.#set(key, status, is_heard);
    }
    if (!whole) return;
    for (const [key, status] of this.#all) if (!named.has(key)) this.#set(key, removalOf(status), is_heard);
    this.#files.sweep();
  }

  /** Another Felix, which has not told its endpoints yet. */
  unheard(): void {
    this.#due.clear();
  }

  /** A Felix that knows its endpoints is told what became of them before its time. */
  greet(): void {
    for (const [key, status] of this.#all) this.#due.set(key, status);
  }

  /** Takes out what Felix is to hear next. */
  next(): EndpointStatus | undefined {
    this.#cursor ??= this.#due.entries();
    const { value, done } = this.#cursor.next();
    if (done) {
      this.#cursor = undefined;
      return undefined;
    }
    const [key, status] = value;
    this.#due.delete(key);
    return status;
  }

  #set(key: string, status: EndpointStatus, is_heard: boolean): void {
    const is_removed = status.kind === 'workload_removed' || status.kind === 'host_removed';
    if (is_removed) {
      if (!this.#all.delete(key)) return;
    } else {
      if (this.#all.size >= statuses_max && !this.#all.has(key)) {
        this.#left_out += 1;
        return;
      }
      this.#all.set(key, status);
    }
    if (is_heard) {
      // A Felix that does not listen is not told of everything that has come and gone: of what is gone it has told itself.
      if (is_removed && this.#due.size >= statuses_max) this.#due.delete(key);
      else this.#due.set(key, status);
    }
    if (status.kind === 'workload') {
      const { endpoint, state } = status;
      this.#files.set(statusFileName(endpoint.id), state === 'up' ? statusFileText(endpoint) : undefined);
    } else if (status.kind === 'workload_removed') this.#files.set(statusFileName(status.id), undefined);
  }
}

function keyOf(status: EndpointStatus): string {
  if (status.kind === 'host' || status.kind === 'host_removed') return `host ${status.id}`;
  const { orchestrator, workload, endpoint } = status.kind === 'workload' ? status.endpoint.id : status.id;
  return `workload ${orchestrator} ${workload} ${endpoint}`;
}

function removalOf(status: EndpointStatus): EndpointStatus {
  switch (status.kind) {
    case 'workload':
      return { kind: 'workload_removed', id: status.endpoint.id };
    case 'host':
      return { kind: 'host_removed', id: status.id };
    default:
      return status;
  }
}
