/** What each interface of VPP gets from the endpoint that governs it. What is not known, or not to be expressed, denies. */
import type { HostEndpoint, PolicyRef, Tier, WorkloadEndpoint } from '../felix/messages.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import {
  isEmpty,
  local_pods,
  match_all,
  type NpolDirection,
  type NpolInterface,
  type NpolPolicy,
  type NpolRule,
  no_entries,
} from '../objects/npol.js';
import type { PolicyConfig } from './failsafe.js';
import { type After, type CompiledTiers, compileTiers, type Direction, type TierPolicies } from './tiers.js';
import { deny_all, type Refusal } from './translate.js';
import type { Translation } from './translations.js';

/** What the node is: not Felix's to say. */
export interface Surroundings {
  /** All addresses that the host has on its uplinks, without a length. */
  readonly node_addresses: readonly string[];
  /** VPP's IKE listens at these addresses, and takes more for another node than it should. */
  readonly does_ike: boolean;
  readonly config: PolicyConfig;
}

export interface Lookup extends Surroundings {
  /** In another one nobody has the node's addresses but pods. */
  readonly in_default_network: boolean;
  /** What of it is for the interface's network. */
  policy(key: string): Translation | undefined;
  profile(name: string): Translation | undefined;
}

export interface CompiledInterface {
  readonly npol: NpolInterface;
  readonly refusals: readonly Refusal[];
}

const directions = ['rx', 'tx'] as const;

/** Of one interface. */
const refusals_max = 200;

/** Collects what is refused on the way. */
class Compilation {
  readonly #refusals: Refusal[] = [];
  readonly #lookup: Lookup;

  constructor(lookup: Lookup) {
    this.#lookup = lookup;
  }

  /** Each once: a policy that is in both directions refuses what it refuses. */
  get refusals(): readonly Refusal[] {
    return [
      ...new Map(this.#refusals.map((refusal) => [`${refusal.where} ${refusal.why}`, refusal])).values(),
    ];
  }

  /** So many are enough to say that something is refused: a policy may have a hundred thousand. */
  refuse(refusals: readonly Refusal[]): void {
    for (const refusal of refusals) {
      if (this.#refusals.length >= refusals_max) return;
      this.#refusals.push(refusal);
    }
  }

  /** A policy that is not there denies: Felix sends it before it is referred to. */
  #policy({ key }: PolicyRef): NpolPolicy {
    return this.#found(this.#lookup.policy(key), key);
  }

  profile(name: string): NpolPolicy {
    return this.#found(this.#lookup.profile(name), `profile ${name}`);
  }

  #found(translation: Translation | undefined, name: string): NpolPolicy {
    if (translation !== undefined) {
      this.refuse(translation.refusals);
      return translation.policy;
    }
    this.refuse([{ where: name, why: 'it was never told', effect: 'closed' }]);
    return { name: `missing ${name}`, rx: [deny_all], tx: [deny_all] };
  }

  /** Staged policies are not there; a tier without others neither. */
  tiers(tiers: readonly Tier[], direction: Direction): TierPolicies[] {
    return tiers.flatMap(({ ingress, egress, end }) => {
      const refs = (direction === 'rx' ? egress : ingress).filter(({ staged }) => !staged);
      return refs.length === 0 ? [] : [{ policies: refs.map((ref) => this.#policy(ref)), end }];
    });
  }

  compiled(tiers: readonly Tier[], after: After, direction: Direction): CompiledTiers {
    const compiled = compileTiers(this.tiers(tiers, direction), after, direction);
    if (compiled !== undefined) return compiled;
    this.refuse([
      {
        where: `tiers, ${direction === 'rx' ? 'egress' : 'ingress'}`,
        why: 'several of them hand flows on under conditions: together too many rules',
        effect: 'closed',
      },
    ]);
    return { policies: [], policy_default: 'deny', profile_default: 'deny' };
  }
}

function finished(
  tag: InterfaceTag,
  directions: Readonly<Record<Direction, CompiledTiers>>,
  before: Readonly<Record<Direction, readonly NpolPolicy[]>>,
  profiles: readonly NpolPolicy[],
  invert: boolean,
): NpolInterface {
  const direction = (of: Direction): NpolDirection => ({
    policies: [...before[of].filter((policy) => policy[of].length > 0), ...directions[of].policies],
    policy_default: directions[of].policy_default,
    profile_default: directions[of].profile_default,
  });
  const composites = [directions.rx.composite, directions.tx.composite].filter(
    (policy) => policy !== undefined,
  );
  return { tag, rx: direction('rx'), tx: direction('tx'), profiles: [...composites, ...profiles], invert };
}

/**
 * A pod's interface. Undefined: Felix has not spoken of its endpoint, or has removed it; like one that is not active it gets nothing but
 * what comes from the node, and nothing at all in a network beside the default one.
 */
export function workloadInterface(
  tag: InterfaceTag,
  endpoint: WorkloadEndpoint | undefined,
  lookup: Lookup,
): CompiledInterface {
  const before = lookup.in_default_network
    ? { rx: [vxlanGuard(lookup.config), ikeGuard(lookup)], tx: [fromHost(lookup)] }
    : { rx: [vxlanGuard(lookup.config)], tx: [] };
  if (endpoint?.active !== true) {
    const closed = { policies: [], policy_default: 'deny', profile_default: 'deny' } as const;
    return { npol: finished(tag, { rx: closed, tx: closed }, before, [], false), refusals: [] };
  }
  const compilation = new Compilation(lookup);
  const profiles = endpoint.profiles.map((name) => compilation.profile(name));
  const [rx, tx] = directions.map((of) => compilation.compiled(endpoint.tiers, { profiles }, of)) as [
    CompiledTiers,
    CompiledTiers,
  ];
  return {
    npol: finished(tag, { rx, tx }, before, profiles, false),
    refusals: compilation.refusals,
  };
}

/** The host's end of an uplink: what ends at the node or begins there. Undefined: no host endpoint governs it, and all is allowed. */
export function tapInterface(
  tag: InterfaceTag,
  host: { readonly id: string; readonly endpoint: HostEndpoint } | undefined,
  lookup: Lookup,
): CompiledInterface {
  const to_host = endpointToHost(lookup.config);
  if (host === undefined) {
    const open = { policies: [], policy_default: 'allow', profile_default: 'allow' } as const;
    const npol = finished(tag, { rx: open, tx: open }, { rx: [], tx: [to_host] }, [], false);
    return { npol, refusals: [] };
  }
  const { id, endpoint } = host;
  const compilation = new Compilation(lookup);
  const profiles = endpoint.profiles.map((name) => compilation.profile(name));
  const [rx, tx] = directions.map((of) => compilation.compiled(endpoint.tiers, { profiles }, of)) as [
    CompiledTiers,
    CompiledTiers,
  ];
  const { failsafe_inbound, failsafe_outbound } = lookup.config;
  const failsafe = { name: '@failsafe', rx: failsafe_outbound, tx: failsafe_inbound };
  const stages = stagesOf(id, endpoint, compilation);
  const before = {
    rx: [to_local_pods, failsafe, ...stages],
    tx: [to_host, failsafe, ...stages],
  };
  return { npol: finished(tag, { rx, tx }, before, profiles, false), refusals: compilation.refusals };
}

/**
 * An uplink or a tunnel: what passes the node. What ends at the node or begins there passes here, too, and is judged at the tap.
 * Profiles are not for what passes; where there is no policy for it, it is allowed.
 */
export function forwardInterface(
  tag: InterfaceTag,
  host: { readonly id: string; readonly endpoint: HostEndpoint } | undefined,
  lookup: Lookup,
): CompiledInterface {
  const compilation = new Compilation(lookup);
  const tiers = host?.endpoint.forward ?? [];
  const [rx, tx] = directions.map((of) => compilation.compiled(tiers, 'allow', of)) as [
    CompiledTiers,
    CompiledTiers,
  ];
  const stages = host === undefined ? [] : stagesOf(host.id, host.endpoint, compilation);
  // Nothing is to be let past where nothing is held.
  const before = (of: Direction) => {
    const closes = tiers.length > 0 || stages.some((stage) => stage[of].length > 0);
    if (!closes) return [];
    return lookup.in_default_network ? [ofHost(lookup), ...stages] : stages;
  };
  const npol = finished(tag, { rx, tx }, { rx: before('rx'), tx: before('tx') }, [], true);
  return { npol, refusals: compilation.refusals };
}

/**
 * Policies for packets before their connection is known (`doNotTrack`) and before their destination is translated (`preDNAT`). VPP judges
 * behind both. So a stage is enforced where it is the same there: where it asks nothing of the destination, and does not let packets past
 * that are to be without a connection. Otherwise all of the stage is told as not enforced: to close it would close the node.
 */
function stagesOf(id: string, endpoint: HostEndpoint, compilation: Compilation): NpolPolicy[] {
  const stage = (name: string, tiers: readonly Tier[], direction: Direction): readonly NpolRule[] => {
    const policies = compilation.tiers(tiers, direction);
    const rules: NpolRule[] = [];
    for (const { policies: ordered } of policies) {
      const of_tier: NpolRule[] = ordered.flatMap((policy) => policy[direction]);
      const end = of_tier.findIndex(
        ({ action, match }) => action === 'pass' && JSON.stringify(match) === JSON.stringify(match_all),
      );
      for (const rule of end < 0 ? of_tier : of_tier.slice(0, end)) rules.push(rule);
    }
    const why = obstacle(name, rules);
    if (why === undefined) return rules;
    compilation.refuse([{ where: `${name} of ${id}`, why, effect: 'open' }]);
    return [];
  };
  return [
    {
      name: `@untracked ${id}`,
      rx: stage('doNotTrack', endpoint.untracked, 'rx'),
      tx: stage('doNotTrack', endpoint.untracked, 'tx'),
    },
    { name: `@preDNAT ${id}`, rx: [], tx: stage('preDNAT', endpoint.pre_dnat, 'tx') },
  ];
}

function obstacle(name: string, rules: readonly NpolRule[]): string | undefined {
  if (rules.some(({ action }) => action === 'pass')) return 'it hands flows on under conditions';
  if (name === 'doNotTrack' && rules.some(({ action }) => action === 'allow'))
    return 'VPP forwards nothing without a connection';
  if (rules.some(({ match }) => !isEmpty(match.dst) || !isEmpty(match.not_dst)))
    return 'it asks for the destination, which VPP has translated before it judges';
  return undefined;
}

const to_pods: NpolRule = {
  action: 'allow',
  match: { ...match_all, dst: { ...no_entries, sets: [{ ids: [local_pods] }] } },
};

/** From the host to its own pods: their policies decide. */
const to_local_pods: NpolPolicy = { name: '@to-local-pods', rx: [to_pods], tx: [] };

function endpointToHost({ endpoint_to_host }: PolicyConfig): NpolPolicy {
  const match = { ...match_all, src: { ...no_entries, sets: [{ ids: [local_pods] }] } };
  return { name: '@endpoint-to-host', rx: [], tx: [{ action: endpoint_to_host, match }] };
}

function hostNets({ node_addresses }: Surroundings): string[] {
  return node_addresses.map((address) => `${address}/${address.includes(':') ? 128 : 32}`).sort();
}

/** The kubelet's probes, and all else that the node says to its pods. Without an address no rule: it would match everything. */
function fromHost(surroundings: Surroundings): NpolPolicy {
  const nets = hostNets(surroundings);
  const rule: NpolRule = { action: 'allow', match: { ...match_all, src: { ...no_entries, nets } } };
  return { name: '@from-host', rx: [], tx: nets.length === 0 ? [] : [rule] };
}

/** What ends at the node or begins there is judged at the tap. */
function ofHost(surroundings: Surroundings): NpolPolicy {
  const nets = hostNets(surroundings);
  const rule = (end: 'src' | 'dst'): NpolRule[] =>
    nets.length === 0 ? [] : [{ action: 'allow', match: { ...match_all, [end]: { ...no_entries, nets } } }];
  return { name: '@of-host', rx: rule('src'), tx: rule('dst') };
}

/** A pod that sends VXLAN would speak for a node. */
function vxlanGuard({ vxlan_port: port }: PolicyConfig): NpolPolicy {
  const rule = (first: number): NpolRule => ({
    action: 'deny',
    match: { ...match_all, protocol: 17, dst: { ...no_entries, ports: [{ first, last: first }] } },
  });
  return { name: '@vxlan', rx: port === undefined ? [] : [rule(port)], tx: [] };
}

/** IKE's, and the one that it goes to where there is NAT. */
const ike_ports = [500, 4500].map((port) => ({ first: port, last: port }));

/** A pod that speaks IKE with the node may pose as another one. Without an address no rule: it would match everything. */
function ikeGuard(surroundings: Surroundings): NpolPolicy {
  const nets = hostNets(surroundings);
  const dst = { ...no_entries, nets, ports: ike_ports };
  const rule: NpolRule = { action: 'deny', match: { ...match_all, protocol: 17, dst } };
  return { name: '@ike', rx: surroundings.does_ike && nets.length > 0 ? [rule] : [], tx: [] };
}
