/** Which networks beside the default one policies have rules for: what is said of those that this node does not have. */
import type { PolicyKey } from '../felix/messages.js';
import type { FelixState } from '../felix/model.js';

/** Faults that are shown. */
const shown_max = 100;

export class NamedNetworks {
  /** Of policies that have such rules. */
  readonly #by_policy = new Map<PolicyKey, ReadonlySet<string>>();

  /** These policies may have changed, or be gone. */
  take(state: FelixState, keys: Iterable<PolicyKey>): void {
    for (const key of keys) {
      const policy = state.policies.get(key);
      const named = new Set(
        [...(policy?.inbound ?? []), ...(policy?.outbound ?? [])].flatMap(({ network }) => network ?? []),
      );
      if (named.size === 0) this.#by_policy.delete(key);
      else this.#by_policy.set(key, named);
    }
  }

  /** By policy, what is wrong and what to do. Bounded. */
  faults(known: ReadonlySet<string>): Readonly<Record<string, string>> {
    const faults: Record<string, string> = {};
    let count = 0;
    for (const [key, named] of this.#by_policy) {
      const missing = [...named].filter((name) => !known.has(name));
      if (missing.length === 0) continue;
      if (++count > shown_max) break;
      faults[key] =
        `has rules for ${missing.slice(0, 5).join(', ').slice(0, 300)}, of which this node has no network: they hold nowhere; create a Network of that name, see what is said of it, or correct the annotation extensions.projectcalico.org/network`;
    }
    return faults;
  }
}
