/**
 * What VPP's npol enforces, as data. Nothing has a number here: a set is named by what it has in it, a rule by what it says, a policy by
 * what it is made of, an interface by its tag. Numbers are of one VPP, and whoever writes gives them.
 */
import { createHash } from 'node:crypto';
import type { ProtocolPort } from '../felix/members.js';
import type { PortRange } from '../felix/messages.js';
import type { InterfaceTag } from './interfaces.js';

/** All that VPP judges: of other protocols, and of ICMP other than echo, it lets everything pass. */
export const judged_protocols = [1, 6, 17, 58, 132] as const;

/** What has ports. */
export const port_protocols = [6, 17, 132] as const;

/** The set of pods of this node, which is no set of Felix's. */
export const local_pods = '@pods';

/**
 * A set of VPP's: the addresses that are in all of these sets of Felix's. With a port it has of each its members with that protocol and
 * port, so that one of VPP's sets never has members of two ports: a removal would take more than it names.
 */
export interface SetRef {
  /** In order, each once. */
  readonly ids: readonly string[];
  readonly port?: ProtocolPort;
}

export type SetName = string;

/** Ids are hashes with a prefix, or begin with `@`: neither has a space. */
export function setName({ ids, port }: SetRef): SetName {
  return port === undefined ? ids.join('&') : `${ids.join('&')} ${port >>> 16}:${port & 0xffff}`;
}

/** Entries of one end of a flow; of each list one is enough, and an empty one asks nothing. Ranges and sets with ports are one list. */
export interface Entries {
  readonly nets: readonly string[];
  readonly sets: readonly SetRef[];
  readonly ports: readonly PortRange[];
  readonly port_sets: readonly SetRef[];
}

export interface Match {
  readonly protocol?: number;
  /** At most three, and none beside a protocol. */
  readonly not_protocols: readonly number[];
  readonly src: Entries;
  readonly dst: Entries;
  /** None of these. */
  readonly not_src: Entries;
  readonly not_dst: Entries;
}

export const no_entries: Entries = { nets: [], sets: [], ports: [], port_sets: [] };

export const match_all: Match = {
  not_protocols: [],
  src: no_entries,
  dst: no_entries,
  not_src: no_entries,
  not_dst: no_entries,
};

/** Npol's own `log` ends a policy, and is used for nothing. */
export type Action = 'allow' | 'deny' | 'pass';

/** Npol leaves the list of policies at `pass` and goes on with that of profiles. */
export interface NpolRule {
  readonly action: Action;
  readonly match: Match;
}

export type RuleName = string;

/** The same for rules that say the same. */
export function ruleName(rule: NpolRule): RuleName {
  let name = names.get(rule);
  if (name === undefined) {
    const { protocol = '', not_protocols, src, dst, not_src, not_dst } = rule.match;
    const ends = [src, dst, not_src, not_dst].map(endText).join('\n');
    const said = `${rule.action}\n${protocol}\n${not_protocols}\n${ends}`;
    name = createHash('sha256').update(said).digest('base64url').slice(0, 22);
    names.set(rule, name);
  }
  return name;
}

/** A line: nothing in it has a tab, or ends one. */
function endText({ nets, sets, ports, port_sets }: Entries): string {
  const ranges = ports.map(({ first, last }) => `${first}-${last}`);
  return `${nets}\t${sets.map(setName)}\t${ranges}\t${port_sets.map(setName)}`;
}

const names = new WeakMap<NpolRule, RuleName>();

/** VPP's sense of direction: `rx` are rules for what comes from the interface, `tx` for what goes out by it. */
export interface NpolPolicy {
  readonly name: string;
  readonly rx: readonly NpolRule[];
  readonly tx: readonly NpolRule[];
}

export type Default = 'allow' | 'deny' | 'pass';

export interface NpolDirection {
  readonly policies: readonly NpolPolicy[];
  /** Where no rule of a policy matches; `pass` goes on with the profiles. */
  readonly policy_default: Default;
  readonly profile_default: 'allow' | 'deny';
}

export interface NpolInterface {
  readonly tag: InterfaceTag;
  /** Of a pod. */
  readonly endpoint?: string;
  readonly rx: NpolDirection;
  readonly tx: NpolDirection;
  /** Of both directions. */
  readonly profiles: readonly NpolPolicy[];
  /** `tx` is for what comes from the interface: an uplink, of which the endpoint is the node. */
  readonly invert: boolean;
}

export function isUnconditional({ protocol, not_protocols, src, dst, not_src, not_dst }: Match): boolean {
  if (protocol !== undefined || not_protocols.length > 0) return false;
  return [src, dst, not_src, not_dst].every(isEmpty);
}

export function isEmpty({ nets, sets, ports, port_sets }: Entries): boolean {
  return nets.length + sets.length + ports.length + port_sets.length === 0;
}

export function setsOf({ src, dst, not_src, not_dst }: Match): SetRef[] {
  return [src, dst, not_src, not_dst].flatMap(({ sets, port_sets }) => [...sets, ...port_sets]);
}
