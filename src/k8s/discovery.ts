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
  async pathOf(kind: Kind<unknown>): Promise<string | undefined> {
    for (const version of kind.versions) {
      if (version === 'v1')
        return `/api/v1${kind.namespace ? `/namespaces/${encodeURIComponent(kind.namespace)}` : ''}/${kind.plural}`;
      if (this.#only !== undefined && version !== this.#only) continue;
      if ((await this.#resources(version)).has(kind.plural)) return `/apis/${version}/${kind.plural}`;
    }
    return undefined;
  }

  /** Asks anew next time: what was served is not, or is to be. */
  forget(kind: Kind<unknown>): void {
    for (const version of kind.versions) this.#served.delete(version);
  }

  #resources(version: string): Promise<ReadonlySet<string>> {
    let served = this.#served.get(version);
    if (served === undefined) {
      served = this.#ask(version);
      this.#served.set(version, served);
      served.catch(() => this.#served.delete(version));
    }
    return served;
  }

  async #ask(version: string): Promise<ReadonlySet<string>> {
    try {
      const list = await this.#client.document('GET', `/apis/${version}`);
      const resources = isRecord(list) && Array.isArray(list.resources) ? (list.resources as unknown[]) : [];
      return new Set(resources.flatMap((each) => (isRecord(each) ? String(each.name) : [])));
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return new Set();
      throw error;
    }
  }
}
