/** What Felix wants and what the node is, to what npol is to have: by difference, and without knowing VPP. */
import { isDeepStrictEqual } from 'node:util';
import type { HostEndpoint, PolicyKey, WorkloadEndpoint, WorkloadKey } from '../felix/messages.js';
import { FelixState, type Touched } from '../felix/model.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import { ruleName } from '../objects/npol.js';
import { policyConfig } from './failsafe.js';
import { governing, type HostInterface, tunnelGoverning } from './host-endpoints.js';
import {
  type CompiledInterface,
  forwardInterface,
  type Lookup,
  type Surroundings,
  tapInterface,
  workloadInterface,
} from './interfaces.js';
import { NpolObjects } from './objects.js';
import type { Refusal } from './translate.js';
import { type Translation, Translations } from './translations.js';

/** An interface of VPP, and of which endpoint it is. `network`: the one beside the default one that it is in. */
export type Attachment =
  /** Of a pod: each interface that traffic of the pod may take. */
  | { readonly kind: 'workload'; readonly endpoint: WorkloadKey; readonly network?: string }
  /** The host's end of an uplink, which Linux knows by this name and addresses. */
  | { readonly kind: 'tap'; readonly host: HostInterface }
  | { readonly kind: 'uplink'; readonly host: HostInterface }
  /** The uplink that carries it. The endpoint for all interfaces governs it before that of the uplink. */
  | { readonly kind: 'tunnel'; readonly host: HostInterface; readonly network?: string };

type HostAttachment = Exclude<Attachment, { readonly kind: 'workload' }>;

/** What an interface's policies were made from. */
interface Uses {
  readonly policies: Set<string>;
  readonly profiles: Set<string>;
  refusals: readonly Refusal[];
}

export class PolicyCompiler {
  readonly objects = new NpolObjects();
  readonly #translations = new Translations();
  readonly #attachments = new Map<InterfaceTag, Attachment>();
  readonly #uses = new Map<InterfaceTag, Uses>();
  readonly #dirty = new Set<InterfaceTag>();
  #state = new FelixState();
  #surroundings: Surroundings;

  /** `does_ike`: pods do not reach the node's ports of IKE. */
  constructor({ does_ike }: { readonly does_ike: boolean } = { does_ike: false }) {
    this.#surroundings = { node_addresses: [], does_ike, config: policyConfig(new Map()) };
  }

  /** A new interface, or one of another endpoint; undefined: it is no more. */
  attach(tag: InterfaceTag, attachment: Attachment | undefined): void {
    if (attachment === undefined) {
      this.#attachments.delete(tag);
      this.#uses.delete(tag);
      this.#dirty.delete(tag);
      this.objects.configure(tag, undefined);
      return;
    }
    // All that the node has are told again when one fact of it has changed.
    if (isDeepStrictEqual(attachment, this.#attachments.get(tag))) return;
    this.#attachments.set(tag, attachment);
    this.#dirty.add(tag);
  }

  /** All interfaces depend on the node's addresses. */
  node(addresses: readonly string[]): void {
    if (isDeepStrictEqual(addresses, this.#surroundings.node_addresses)) return;
    this.#surroundings = { ...this.#surroundings, node_addresses: addresses };
    this.#allDirty();
  }

  /** What Felix has in force, and what of it may have changed. Before the first there is nothing, and pods are closed. */
  felix(state: FelixState, touched: Touched): void {
    this.#state = state;
    if (touched.config) {
      this.#surroundings = { ...this.#surroundings, config: policyConfig(state.config) };
      this.#allDirty();
    }
    const stale = this.#translations.forget(state, touched);
    for (const [tag, attachment] of this.#attachments) {
      const uses = this.#uses.get(tag);
      const is_stale =
        attachment.kind === 'workload' ? touched.workloads.has(attachment.endpoint) : touched.hosts.size > 0;
      if (is_stale || meet(uses?.policies, stale.policies) || meet(uses?.profiles, stale.profiles))
        this.#dirty.add(tag);
    }
  }

  /** Interfaces whose policies are to be made anew. */
  get left(): number {
    return this.#dirty.size;
  }

  /**
   * Makes some of them: so many rules that are translated, policies that an interface has, and interfaces together, and at least one. What has
   * become of them is in `objects`.
   */
  compile(count: number): void {
    let left = count;
    for (const tag of this.#dirty) {
      // What it has of policies first, over as many calls as that takes.
      for (const cost of this.#translated(this.#attachments.get(tag)!)) {
        left -= cost;
        if (left <= 0) return;
      }
      this.#dirty.delete(tag);
      const { npol, refusals } = this.#compiled(tag, this.#attachments.get(tag)!);
      const uses = this.#uses.get(tag)!;
      uses.refusals = refusals;
      this.objects.configure(tag, npol);
      left -= 1 + uses.policies.size;
      if (left <= 0) return;
    }
  }

  /** Translates what of an endpoint's policies was not; of each, how many rules it has. */
  *#translated(attachment: Attachment): Generator<number> {
    const state = this.#state;
    const endpoint =
      attachment.kind === 'workload'
        ? state.workloads.get(attachment.endpoint)
        : state.hosts.get(this.#governing(attachment) ?? '');
    if (endpoint === undefined) return;
    const network = networkOf(attachment);
    for (const key of policiesOf(endpoint)) {
      if (this.#translations.has(key, network)) continue;
      const translation = this.#translations.policy(state, key, network);
      if (translation !== undefined) yield 1 + sizeOf(translation);
    }
  }

  /** Values of Felix's configuration that could not be read. */
  get problems(): readonly string[] {
    return this.#surroundings.config.problems;
  }

  /** What is refused on an interface: its endpoint is in error. */
  refusals(tag: InterfaceTag): readonly Refusal[] {
    return this.#uses.get(tag)?.refusals ?? [];
  }

  /** Policies and profiles that an interface was made from, by name. */
  uses(tag: InterfaceTag): readonly string[] {
    const { policies = [], profiles = [] } = this.#uses.get(tag) ?? {};
    return [...policies, ...[...profiles].map((name) => `profile ${name}`)];
  }

  /** Interfaces of the node, by the host endpoint that governs them. Costs all of them. */
  governed(): ReadonlyMap<string, readonly InterfaceTag[]> {
    const governed = new Map<string, InterfaceTag[]>();
    for (const [tag, attachment] of this.#attachments) {
      if (attachment.kind === 'workload') continue;
      const id = this.#governing(attachment);
      if (id === undefined) continue;
      const tags = governed.get(id);
      if (tags === undefined) governed.set(id, [tag]);
      else tags.push(tag);
    }
    return governed;
  }

  #allDirty(): void {
    for (const tag of this.#attachments.keys()) this.#dirty.add(tag);
  }

  #compiled(tag: InterfaceTag, attachment: Attachment): CompiledInterface {
    const uses: Uses = { policies: new Set(), profiles: new Set(), refusals: [] };
    this.#uses.set(tag, uses);
    const state = this.#state;
    const network = networkOf(attachment);
    const lookup: Lookup = {
      ...this.#surroundings,
      in_default_network: network === undefined,
      policy: (key) => {
        uses.policies.add(key);
        return this.#translations.policy(state, key, network);
      },
      profile: (name) => {
        uses.profiles.add(name);
        return this.#translations.profile(state, name);
      },
    };
    switch (attachment.kind) {
      case 'workload':
        return ofEndpoint(
          attachment.endpoint,
          workloadInterface(tag, state.workloads.get(attachment.endpoint), lookup),
        );
      case 'tap':
        return tapInterface(tag, this.#host(attachment), lookup);
      case 'uplink':
      case 'tunnel':
        return forwardInterface(tag, this.#host(attachment), lookup);
    }
  }

  #governing({ kind, host }: HostAttachment): string | undefined {
    const of = kind === 'tunnel' ? tunnelGoverning : governing;
    return of(host, this.#state.hosts);
  }

  #host(attachment: HostAttachment): { readonly id: string; readonly endpoint: HostEndpoint } | undefined {
    const id = this.#governing(attachment);
    const endpoint = id === undefined ? undefined : this.#state.hosts.get(id);
    return id === undefined || endpoint === undefined ? undefined : { id, endpoint };
  }
}

function networkOf(attachment: Attachment): string | undefined {
  return 'network' in attachment ? attachment.network : undefined;
}

function ofEndpoint(endpoint: WorkloadKey, { npol, refusals }: CompiledInterface): CompiledInterface {
  return { npol: { ...npol, endpoint }, refusals };
}

function meet(used: ReadonlySet<string> | undefined, stale: ReadonlySet<string>): boolean {
  if (used === undefined) return false;
  const [fewer, more] = used.size < stale.size ? [used, stale] : [stale, used];
  for (const name of fewer) if (more.has(name)) return true;
  return false;
}

/** Those of all its tiers, staged ones left out. */
function* policiesOf(endpoint: WorkloadEndpoint | HostEndpoint): Generator<PolicyKey> {
  const more = 'forward' in endpoint ? [endpoint.forward, endpoint.untracked, endpoint.pre_dnat] : [];
  for (const { ingress, egress } of [endpoint.tiers, ...more].flat())
    for (const { key, staged } of [...ingress, ...egress]) if (!staged) yield key;
}

/** Rules, whose names are made of what they say, and are known then. */
function sizeOf({ policy: { rx, tx } }: Translation): number {
  for (const rule of [...rx, ...tx]) ruleName(rule);
  return rx.length + tx.length;
}
