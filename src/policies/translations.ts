/** Policies and profiles of Felix as policies of npol, each translated once for all endpoints that have it. */
import type { PolicyKey } from '../felix/messages.js';
import type { FelixState, Touched } from '../felix/model.js';
import type { FelixSet } from '../felix/set.js';
import type { NpolPolicy } from '../objects/npol.js';
import { type Refusal, type TranslatedPolicy, translatePolicy, translateProfile } from './translate.js';

export interface Translation {
  readonly policy: NpolPolicy;
  readonly refusals: readonly Refusal[];
  /** Sets that it names. */
  readonly sets: ReadonlySet<string>;
}

/** What an endpoint that has it may have become. */
export interface Stale {
  readonly policies: ReadonlySet<PolicyKey>;
  readonly profiles: ReadonlySet<string>;
}

export class Translations {
  readonly #policies = new Map<PolicyKey, Translation>();
  readonly #profiles = new Map<string, Translation>();
  /** What rules depend on of each set: not its members, but their ports. */
  readonly #shapes = new Map<string, string>();

  /** Forgets what is no longer true. Costs the translations that there are, once for a batch. */
  forget(state: FelixState, touched: Touched): Stale {
    const reshaped = new Set<string>();
    for (const id of touched.sets) {
      const shape = shapeOf(state.sets.get(id));
      if (this.#shapes.get(id) === shape) continue;
      reshaped.add(id);
      if (shape === undefined) this.#shapes.delete(id);
      else this.#shapes.set(id, shape);
    }
    const stale = (table: Map<string, Translation>, keys: ReadonlySet<string>): Set<string> => {
      const gone = new Set(keys);
      if (reshaped.size > 0)
        for (const [key, { sets }] of table) if ([...sets].some((id) => reshaped.has(id))) gone.add(key);
      for (const key of gone) table.delete(key);
      return gone;
    };
    return {
      policies: stale(this.#policies, touched.policies),
      profiles: stale(this.#profiles, touched.profiles),
    };
  }

  /** Whether it is made already. */
  has(key: PolicyKey): boolean {
    return this.#policies.has(key);
  }

  policy(state: FelixState, key: PolicyKey): Translation | undefined {
    const policy = state.policies.get(key);
    if (policy === undefined) return undefined;
    return known(this.#policies, key, () => translation(key, translatePolicy(policy, state.sets)));
  }

  profile(state: FelixState, name: string): Translation | undefined {
    const profile = state.profiles.get(name);
    if (profile === undefined) return undefined;
    return known(this.#profiles, name, () =>
      translation(`profile ${name}`, translateProfile(profile, state.sets)),
    );
  }
}

function known(table: Map<string, Translation>, key: string, make: () => Translation): Translation {
  const there = table.get(key);
  if (there !== undefined) return there;
  const made = make();
  table.set(key, made);
  return made;
}

/** VPP receives from a pod what leaves it, and sends it what enters: egress is `rx`. So it is on an inverted interface. */
function translation(name: string, { ingress, egress, sets }: TranslatedPolicy): Translation {
  return {
    policy: { name, rx: egress.rules, tx: ingress.rules },
    refusals: [
      ...ingress.refusals.map((refusal) => ({ ...refusal, where: `${name}, ingress ${refusal.where}` })),
      ...egress.refusals.map((refusal) => ({ ...refusal, where: `${name}, egress ${refusal.where}` })),
    ],
    sets,
  };
}

function shapeOf(set: FelixSet | undefined): string | undefined {
  return set && JSON.stringify([set.type, set.fault, [...set.ports].sort((a, b) => a - b)]);
}
