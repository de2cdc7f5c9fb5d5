/** Policies and profiles of Felix as policies of npol, each translated once for all endpoints that have it, policies once for each network. */
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
  readonly #policies = new Map<PolicyKey, Map<string | undefined, Translation>>();
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
    const depends = ({ sets }: Translation): boolean => [...sets].some((id) => reshaped.has(id));
    const policies = new Set(touched.policies);
    const profiles = new Set(touched.profiles);
    if (reshaped.size > 0) {
      for (const [key, by_network] of this.#policies)
        if ([...by_network.values()].some(depends)) policies.add(key);
      for (const [key, translation] of this.#profiles) if (depends(translation)) profiles.add(key);
    }
    for (const key of policies) this.#policies.delete(key);
    for (const key of profiles) this.#profiles.delete(key);
    return { policies, profiles };
  }

  /** Whether it is made already, for interfaces in this network; undefined: in the default one. */
  has(key: PolicyKey, network: string | undefined): boolean {
    return this.#policies.get(key)?.has(network) === true;
  }

  policy(state: FelixState, key: PolicyKey, network: string | undefined): Translation | undefined {
    const policy = state.policies.get(key);
    if (policy === undefined) return undefined;
    const by_network = this.#policies.get(key) ?? new Map<string | undefined, Translation>();
    this.#policies.set(key, by_network);
    const name = network === undefined ? key : `${key} in network ${network}`;
    return known(by_network, network, () => translation(name, translatePolicy(policy, state.sets, network)));
  }

  profile(state: FelixState, name: string): Translation | undefined {
    const profile = state.profiles.get(name);
    if (profile === undefined) return undefined;
    return known(this.#profiles, name, () =>
      translation(`profile ${name}`, translateProfile(profile, state.sets)),
    );
  }
}

function known<K>(table: Map<K, Translation>, key: K, make: () => Translation): Translation {
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
