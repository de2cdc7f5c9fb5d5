/** What Felix was told last of each endpoint, and what of it has changed. */
import type { EndpointState, FelixAnswer } from '../felix/encode.js';
import type { WorkloadKey } from '../felix/messages.js';
import type { FelixState } from '../felix/model.js';

export type EndpointStatus = Extract<
  FelixAnswer,
  { readonly kind: 'workload' | 'workload_removed' | 'host' | 'host_removed' }
>;

/** How endpoints are by now; undefined: VPP is being told of it, and what was said of it before holds. */
export interface EndpointStates {
  workload(key: WorkloadKey): EndpointState | undefined;
  /** Of each that there is. */
  host(id: string): EndpointState | undefined;
}

export class EndpointStatuses {
  readonly #told = new Map<string, EndpointStatus>();
  readonly #doubtful = new Set<WorkloadKey>();
  #hosts_doubtful = false;
  #has_told = false;

  /** Its state may have changed. */
  doubt(key: WorkloadKey): void {
    this.#doubtful.add(key);
  }

  doubtHosts(): void {
    this.#hosts_doubtful = true;
  }

  /** Nothing is known of endpoints: the first time all are told. */
  forget(): void {
    this.#doubtful.clear();
  }

  /** What is to be told, and is taken for told: the first time `whole`, of all that there is. Undefined: nothing. */
  take(
    live: FelixState,
    { workload, host }: EndpointStates,
  ): { readonly whole: boolean; readonly statuses: readonly EndpointStatus[] } | undefined {
    const whole = !this.#has_told;
    if (!whole && !this.#hosts_doubtful && this.#doubtful.size === 0) return undefined;
    const statuses: EndpointStatus[] = [];
    const is = (key: string, status: EndpointStatus): void => {
      const before = this.#told.get(key);
      if (before !== undefined && isSame(before, status)) return;
      if (status.kind === 'workload_removed' || status.kind === 'host_removed') this.#told.delete(key);
      else this.#told.set(key, status);
      statuses.push(status);
    };
    for (const key of whole ? live.workloads.keys() : this.#doubtful) {
      const endpoint = live.workloads.get(key);
      const before = this.#told.get(`workload ${key}`);
      if (endpoint !== undefined) {
        const state = workload(key);
        if (state !== undefined)
          is(`workload ${key}`, { kind: 'workload', endpoint, state: endpoint.active ? state : 'down' });
      } else if (before?.kind === 'workload')
        is(`workload ${key}`, { kind: 'workload_removed', id: before.endpoint.id });
    }
    this.#doubtful.clear();
    if (whole || this.#hosts_doubtful) {
      for (const id of live.hosts.keys()) {
        const state = host(id);
        if (state !== undefined) is(`host ${id}`, { kind: 'host', id, state });
      }
      for (const status of [...this.#told.values()])
        if (status.kind === 'host' && !live.hosts.has(status.id))
          is(`host ${status.id}`, { kind: 'host_removed', id: status.id });
    }
    this.#hosts_doubtful = false;
    this.#has_told = true;
    return whole || statuses.length > 0 ? { whole, statuses } : undefined;
  }
}

function isSame(a: EndpointStatus, b: EndpointStatus): boolean {
  if (a.kind === 'workload' && b.kind === 'workload') return a.state === b.state && a.endpoint === b.endpoint;
  if (a.kind === 'host' && b.kind === 'host') return a.state === b.state;
  return false;
}
