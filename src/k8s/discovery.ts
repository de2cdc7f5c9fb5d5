import { isRecord } from '../calico/fields.js';
import type { Kind } from '../calico/kinds/kind.js';
import { type ApiClient, ApiError } from './api-client.js';

/** Which of the versions of a kind this API server has. A version is asked for once; reflectors share the answer. */
export class Discovery {
  readonly #client: ApiClient;
  readonly #only: string | undefined;
  readonly #served = new Map<string, Promise<ReadonlySet<string>>>();

  /** `only` is the one version of Calico's API to use, where a cluster serves a second that is out of date. */
  constructor(client: ApiClient, only?: string) {
    this.#client = client;
    this.#only = only;
  }

  /** Path of the kind's objects; undefined when no version of it is served. Rejects with ApiError. */
  async pathOf(kind: Kind<unknown>, signal: AbortSignal): Promise<string | undefined> {
    for (const version of kind.versions) {
      if (version === 'v1')
        return `/api/v1${kind.namespace ? `/namespaces/${encodeURIComponent(kind.namespace)}` : ''}/${kind.plural}`;
      if (this.#only !== undefined && version !== this.#only) continue;
      if ((await this.#resources(version, signal)).has(kind.plural)) return `/apis/${version}/${kind.plural}`;
    }
    return undefined;
  }

  /** Asks anew next time: what was served is not, or is to be. */
  forget(kind: Kind<unknown>): void {
    for (const version of kind.versions) this.#served.delete(version);
  }

  async #resources(version: string, signal: AbortSignal): Promise<ReadonlySet<string>> {
    for (;;) {
      const asked = this.#served.get(version) ?? this.#ask(version, signal);
      this.#served.set(version, asked);
      try {
        return await asked;
      } catch (error) {
        if (this.#served.get(version) === asked) this.#served.delete(version);
        // Whoever asked for all has stopped; who else waits asks itself.
        if ((error as Error).name !== 'AbortError' || signal.aborted) throw error;
      }
    }
  }

  async #ask(version: string, signal: AbortSignal): Promise<ReadonlySet<string>> {
    try {
      const list = await this.#client.document('GET', `/apis/${version}`, { signal });
      const resources = isRecord(list) && Array.isArray(list.resources) ? (list.resources as unknown[]) : [];
      return new Set(resources.flatMap((each) => (isRecord(each) ? String(each.name) : [])));
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return new Set();
      throw error;
    }
  }
}
