/** Objects of npol as VPP's API has them. Whoever writes knows under which number this VPP has a set, a rule or a policy. */
import type {
  npol_configure_policies,
  npol_policy_default,
  npol_policy_item,
  npol_rule,
  npol_rule_action,
  npol_rule_entry,
  npol_rule_filter,
} from 'vpp-binapi-ts/npol';
import {
  type Action,
  type Default,
  type Entries,
  type Match,
  type NpolRule,
  type RuleName,
  type SetName,
  setName,
} from '../../objects/npol.js';
import type { NpolInterfaceObject, NpolPolicyObject } from '../../objects/policy.js';

const actions: Readonly<Record<Action, npol_rule_action>> = {
  allow: 'NPOL_ALLOW',
  deny: 'NPOL_DENY',
  pass: 'NPOL_PASS',
};

const defaults: Readonly<Record<Default, npol_policy_default>> = {
  allow: 'NPOL_DEFAULT_ALLOW',
  deny: 'NPOL_DEFAULT_DENY',
  pass: 'NPOL_DEFAULT_PASS',
};

const no_filter: npol_rule_filter = { type: 'NPOL_RULE_FILTER_NONE_TYPE', value: 0, should_match: 0 };

export function ruleMessage({ action, match }: NpolRule, set: (name: SetName) => number): npol_rule {
  return {
    action: actions[action],
    filters: filtersOf(match),
    matches: [
      ...entriesOf(match.src, true, false, set),
      ...entriesOf(match.not_src, true, true, set),
      ...entriesOf(match.dst, false, false, set),
      ...entriesOf(match.not_dst, false, true, set),
    ],
  };
}

function filtersOf({ protocol, not_protocols }: Match): npol_rule['filters'] {
  const filter = (value: number, should_match: number): npol_rule_filter => ({
    type: 'NPOL_RULE_FILTER_L4_PROTO',
    value,
    should_match,
  });
  const filters = [
    ...(protocol === undefined ? [] : [filter(protocol, 1)]),
    ...not_protocols.map((value) => filter(value, 0)),
  ];
  const [a = no_filter, b = no_filter, c = no_filter, ...more] = filters;
  if (more.length > 0) throw new RangeError(`a rule has ${filters.length} filters, and npol room for three`);
  return [a, b, c];
}

function entriesOf(
  { nets, sets, ports, port_sets }: Entries,
  is_src: boolean,
  is_not: boolean,
  set: (name: SetName) => number,
): npol_rule_entry[] {
  const ref = (name: SetName) => ({ set_id: { set_id: set(name) } });
  return [
    ...nets.map((cidr) => ({ is_src, is_not, type: 'NPOL_CIDR', data: { cidr } }) as const),
    ...sets.map((of) => ({ is_src, is_not, type: 'NPOL_IP_SET', data: ref(setName(of)) }) as const),
    ...ports.map(
      ({ first: start, last: end }) =>
        ({ is_src, is_not, type: 'NPOL_PORT_RANGE', data: { port_range: { start, end } } }) as const,
    ),
    ...port_sets.map((of) => ({ is_src, is_not, type: 'NPOL_PORT_IP_SET', data: ref(setName(of)) }) as const),
  ];
}

export function policyMessage(
  { rx, tx }: Pick<NpolPolicyObject, 'rx' | 'tx'>,
  rule: (name: RuleName) => number,
): npol_policy_item[] {
  return [
    ...rx.map((name) => ({ is_inbound: true, rule_id: rule(name) })),
    ...tx.map((name) => ({ is_inbound: false, rule_id: rule(name) })),
  ];
}

export function interfaceMessage(
  { rx, tx, profiles, invert }: Omit<NpolInterfaceObject, 'kind' | 'interface'>,
  policy: (name: string) => number,
): Omit<npol_configure_policies, 'sw_if_index'> {
  return {
    num_rx_policies: rx.policies.length,
    num_tx_policies: tx.policies.length,
    invert_rx_tx: invert ? 1 : 0,
    policy_default_rx: defaults[rx.policy_default],
    policy_default_tx: defaults[tx.policy_default],
    profile_default_rx: defaults[rx.profile_default],
    profile_default_tx: defaults[tx.profile_default],
    policy_ids: [...rx.policies, ...tx.policies, ...profiles].map(policy),
  };
}
