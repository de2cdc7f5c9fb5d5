/**
 * What npol enforces. Its objects are named here, never numbered: numbers are of one session with one VPP (`vpp-conn/handles.ts`). No
 * dump shows any of them, so whoever writes them knows what VPP has from the outcomes alone (`writer/npol-writer.ts`).
 */
import type { ProtocolPort } from '../felix/members.js';
import type { InterfaceTag } from './interfaces.js';
import { always, type Kinds, remove } from './kind.js';
import type { Default, NpolRule, RuleName, SetName } from './npol.js';

/** What npol says of a flow, in either direction, while no policy of Felix is configured on the interface. */
export interface DefaultVerdict {
  readonly kind: 'default_verdict';
  readonly interface: InterfaceTag;
  /** `unknown`: only of one that is there. An interface that is up was told one, and what it was nobody has written down. */
  readonly verdict: 'allow' | 'deny' | 'unknown';
  /** Whose interface it is: what is kept for another endpoint is not for this one. */
  readonly endpoint?: string;
}

/** One that was made to be filled: a set's name, and which copy of it, for whoever may not see the other half changed. */
export type SetKey = string;

export interface NpolSetObject {
  readonly kind: 'npol_set';
  readonly name: SetKey;
  /** Its members are addresses with protocol and port, else prefixes. */
  readonly ports: boolean;
}

/** Some members of a set: added, or removed. At most `members_max`. */
export interface NpolMembers {
  readonly kind: 'npol_members';
  readonly set: SetKey;
  /** Of each of them; absent in a set of prefixes. */
  readonly port?: ProtocolPort;
  /** Without bits behind their length; in a set with ports of whole addresses. */
  readonly prefixes: readonly string[];
}

/** VPP's main thread, and each worker, stands still while it takes one message: about a millisecond for so many. */
export const members_max = 1000;

export interface NpolRuleObject {
  readonly kind: 'npol_rule';
  /** Of the rule and the copies of its sets. */
  readonly name: RuleName;
  readonly rule: NpolRule;
  /** Which copy of each set that it names. */
  readonly sets: Readonly<Record<SetName, SetKey>>;
}

export interface NpolPolicyObject {
  readonly kind: 'npol_policy';
  readonly name: string;
  readonly rx: readonly RuleName[];
  readonly tx: readonly RuleName[];
}

export interface NpolDirectionNames {
  readonly policies: readonly string[];
  readonly policy_default: Default;
  readonly profile_default: 'allow' | 'deny';
}

/** Takes the place of the default verdict. Of an interface that VPP does not have yet it is kept, and given to it when it is made. */
export interface NpolInterfaceObject {
  readonly kind: 'npol_interface';
  readonly interface: InterfaceTag;
  /** Of a pod: an interface that is by now another's does not get it. */
  readonly endpoint?: string;
  readonly rx: NpolDirectionNames;
  readonly tx: NpolDirectionNames;
  readonly profiles: readonly string[];
  readonly invert: boolean;
}

export const npol_pools = ['rules', 'policies', 'sets'] as const;
export type NpolPool = (typeof npol_pools)[number];

/** No number that VPP has ever given out in its pools is as large. Nothing for VPP: it is for who comes after. */
export interface NpolMarks {
  readonly kind: 'npol_marks';
  readonly below: Readonly<Record<NpolPool, number>>;
  /** So many it has now, at most. Absent: as many as there are numbers. */
  readonly held?: Readonly<Record<NpolPool, number>>;
}

/** Numbers of a pool: what of them an earlier life has given names is to go. Only to be removed. */
export interface NpolRemains {
  readonly kind: 'npol_remains';
  readonly pool: NpolPool;
  readonly first: number;
  readonly count: number;
}

export type PolicyObject =
  | DefaultVerdict
  | NpolSetObject
  | NpolMembers
  | NpolRuleObject
  | NpolPolicyObject
  | NpolInterfaceObject
  | NpolMarks
  | NpolRemains;

const of_policies = { by: 'kind', owner: 'policies' } as const;

/** Nobody compares them: what VPP has of them is known from outcomes. */
const never = (): false => false;

export const policy_kinds: Kinds<PolicyObject> = {
  // Before the interface is up: a verdict holds for the life of a flow, so none may be made before this one.
  default_verdict: {
    key: (o) => o.interface,
    on: (o) => [o.interface],
    owner: { by: 'interface', of: (o) => o.interface },
    // Of one that an earlier release has made nobody knows whose it is.
    same: (wanted, there) =>
      (wanted.verdict === there.verdict || there.verdict === 'unknown') &&
      (there.endpoint ?? wanted.endpoint) === wanted.endpoint,
    add: 45,
    remove: remove.bound,
    change: 'overwrite',
    dies_with_interface: true,
    recorded: always,
  },
  // What is referred to comes before what refers to it, and goes after it: VPP keeps no references, and takes a rule without its set, or
  // a policy without its rule, for one that matches nothing, or everything.
  npol_set: {
    key: (o) => o.name,
    owner: of_policies,
    same: never,
    add: 100,
    remove: remove.global + 3,
    change: 'overwrite',
  },
  npol_members: {
    key: (o) => o.set,
    owner: of_policies,
    same: never,
    add: 101,
    remove: remove.global,
    change: 'overwrite',
  },
  npol_rule: {
    key: (o) => o.name,
    owner: of_policies,
    same: never,
    add: 102,
    remove: remove.global + 2,
    change: 'overwrite',
  },
  npol_policy: {
    key: (o) => o.name,
    owner: of_policies,
    same: never,
    add: 103,
    remove: remove.global + 1,
    change: 'overwrite',
  },
  npol_interface: {
    key: (o) => o.interface,
    owner: of_policies,
    same: never,
    add: 104,
    remove: remove.bound,
    change: 'overwrite',
    dies_with_interface: true,
  },
  npol_marks: {
    key: () => '',
    owner: of_policies,
    same: never,
    add: 99,
    remove: remove.global,
    change: 'overwrite',
    recorded: always,
  },
  npol_remains: {
    key: (o) => `${o.pool} ${o.first}`,
    owner: of_policies,
    same: never,
    add: 105,
    remove: remove.global + 4,
    change: 'overwrite',
  },
};
