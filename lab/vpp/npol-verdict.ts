/** What VPP's npol says of the first packet of a flow: rules, policies and interfaces as they are in the stand-in, their defects included. */
import type { npol_policy_default, npol_rule, npol_rule_entry, npol_rule_filter } from 'vpp-binapi-ts/npol';
import type { IpSet, Npol } from './npol.js';
import { Death } from './outcome.js';
import { contains, familyOf } from './prefix.js';

/** As cnat reads it. Of an echo of ICMP both ports are its identifier. */
export interface Flow {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly source_port: number;
  readonly destination_port: number;
}

export type Verdict = 'allow' | 'deny';

/** Of other protocols cnat makes no session, and nothing asks npol. */
const judged = new Set([1, 6, 17, 58, 132]);

/**
 * `inbound`: the packet comes from the interface. Death where VPP would read what was never there: a rule beyond the pool, a set beyond
 * the pool.
 */
export function verdict(npol: Npol, sw_if_index: number, inbound: boolean, flow: Flow): Verdict {
  const config = npol.interfaces.get(sw_if_index);
  if (config === undefined || !judged.has(flow.protocol)) return 'allow';
  const { num_rx_policies: rx, num_tx_policies: tx, policy_ids, invert_rx_tx } = config;
  const is_rx = inbound !== (invert_rx_tx === 1);
  const policies = is_rx ? policy_ids.slice(0, rx) : policy_ids.slice(rx, rx + tx);
  const decided = listVerdict(npol, policies, is_rx, flow);
  if (decided === 'allow' || decided === 'deny') return decided;
  if (decided === undefined) {
    const by_default = is_rx ? config.policy_default_rx : config.policy_default_tx;
    if (by_default !== 'NPOL_DEFAULT_PASS') return defaultVerdict(by_default);
  }
  const by_profile = listVerdict(npol, policy_ids.slice(rx + tx), is_rx, flow);
  if (by_profile === 'allow') return 'allow';
  if (by_profile !== undefined) return 'deny';
  return defaultVerdict(is_rx ? config.profile_default_rx : config.profile_default_tx);
}

/** Anything but `allow` drops; so does `pass` behind the profiles. */
function defaultVerdict(by_default: npol_policy_default): Verdict {
  return by_default === 'NPOL_DEFAULT_ALLOW' ? 'allow' : 'deny';
}

/** What the list decides; undefined: nothing. A rule that logs ends its policy, and decides nothing. */
function listVerdict(
  npol: Npol,
  policies: readonly number[],
  is_rx: boolean,
  flow: Flow,
): Verdict | 'pass' | undefined {
  for (const id of policies) {
    // A policy that was deleted while an interface has it is empty.
    for (const { is_inbound, rule_id } of npol.policies.get(id)?.value ?? []) {
      if (is_inbound !== is_rx) continue;
      const action = ruleVerdict(npol, rule_id, flow);
      if (action === undefined) continue;
      if (action === 'NPOL_LOG') break;
      if (action === 'NPOL_PASS') return 'pass';
      return action === 'NPOL_ALLOW' ? 'allow' : 'deny';
    }
  }
  return undefined;
}

function ruleVerdict(npol: Npol, id: number, flow: Flow): npol_rule['action'] | undefined {
  if (id >= npol.rules.end) throw new Death(`a packet is judged by rule ${id}, which does not exist`);
  const rule = npol.rules.get(id)?.value;
  // A rule that was deleted while a policy has it keeps its action and matches everything.
  if (rule === undefined) return npol.deletedAction(id);
  return matches(npol, rule, flow) ? rule.action : undefined;
}

function matches(npol: Npol, { filters, matches: entries }: npol_rule, flow: Flow): boolean {
  if (!filters.every((filter) => meets(filter, flow))) return false;
  const of = (type: npol_rule_entry['type'], is_src: boolean, is_not: boolean): npol_rule_entry[] =>
    entries.filter((entry) => entry.type === type && entry.is_src === is_src && entry.is_not === is_not);
  const isIn = (entry: npol_rule_entry): boolean => holds(npol, entry, flow);
  for (const is_src of [true, false]) {
    for (const type of ['NPOL_CIDR', 'NPOL_IP_SET'] as const) {
      const wanted = of(type, is_src, false);
      if (wanted.length > 0 && !wanted.some(isIn)) return false;
      if (of(type, is_src, true).some(isIn)) return false;
    }
    const excluded = [...of('NPOL_PORT_RANGE', is_src, true), ...of('NPOL_PORT_IP_SET', is_src, true)];
    if (excluded.some(isIn)) return false;
    const wanted = [...of('NPOL_PORT_RANGE', is_src, false), ...of('NPOL_PORT_IP_SET', is_src, false)];
    if (wanted.length > 0 && !wanted.some(isIn)) return false;
  }
  return true;
}

/** Types and codes of ICMP are compared with what stands where other protocols have ports. */
function meets({ type, value, should_match }: npol_rule_filter, flow: Flow): boolean {
  const is_icmp = flow.protocol === 1 || flow.protocol === 58;
  const equal = (found: number): boolean => (found === value) === (should_match !== 0);
  switch (type) {
    case 'NPOL_RULE_FILTER_L4_PROTO':
      return equal(flow.protocol);
    case 'NPOL_RULE_FILTER_ICMP_TYPE':
      return is_icmp && equal(flow.source_port);
    case 'NPOL_RULE_FILTER_ICMP_CODE':
      return is_icmp && equal(flow.destination_port);
    default:
      return true;
  }
}

function holds(npol: Npol, { is_src, type, data }: npol_rule_entry, flow: Flow): boolean {
  const address = is_src ? flow.source : flow.destination;
  const port = is_src ? flow.source_port : flow.destination_port;
  if ('cidr' in data) return within(data.cidr, address);
  if ('port_range' in data) return data.port_range.start <= port && port <= data.port_range.end;
  if (!('set_id' in data)) return false;
  const { set_id } = data.set_id;
  if (set_id >= npol.sets.end)
    throw new Death(`a packet is compared with IP set ${set_id}, which does not exist`);
  const set = npol.sets.get(set_id);
  return set !== undefined && hasMember(set, type === 'NPOL_PORT_IP_SET', address, flow.protocol, port);
}

/** A set is asked in the manner of the entry; one of the other manner has nobody in it. */
function hasMember(set: IpSet, by_port: boolean, address: string, protocol: number, port: number): boolean {
  return set.members.some((member) => {
    if (typeof member !== 'string')
      return by_port && member.address === address && member.l4_proto === protocol && member.port === port;
    return !by_port && (member.includes('/') ? within(member, address) : member === address);
  });
}

function within(prefix: string, address: string): boolean {
  return familyOf(prefix) === familyOf(address) && contains(prefix, address);
}
