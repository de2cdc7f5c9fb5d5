/** Rules, policies and IP sets of npol. It has no dumps: ids and return codes are all that can be seen. */
import {
  npol_configure_policies,
  npol_get_version,
  npol_ipset_add_del_members,
  npol_ipset_create,
  npol_ipset_delete,
  type npol_ipset_member_val,
  npol_policy_create,
  npol_policy_delete,
  npol_policy_update,
  npol_rule_create,
  npol_rule_delete,
  type npol_rule_entry,
  npol_rule_update,
} from 'vpp-binapi-ts/npol';
import { ask, no_tap, type Sequence, type Step, tun } from './steps.js';

const no_filter = { value: 0, type: 'NPOL_RULE_FILTER_NONE_TYPE', should_match: 0 } as const;
const ruleOf = (matches: readonly npol_rule_entry[]) =>
  ({ action: 'NPOL_ALLOW', filters: [no_filter, no_filter, no_filter], matches }) as const;
const cidr = (prefix: string): npol_rule_entry => ({
  is_src: true,
  is_not: false,
  type: 'NPOL_CIDR',
  data: { cidr: prefix },
});
export const rule = (...matches: npol_rule_entry[]): Step => ask(npol_rule_create, { rule: ruleOf(matches) });
export const changed_rule = (rule_id: number, ...matches: npol_rule_entry[]): Step =>
  ask(npol_rule_update, { rule_id, rule: ruleOf(matches) });
export const no_rule = (rule_id: number): Step => ask(npol_rule_delete, { rule_id });

const items = (rule_ids: readonly number[]) => rule_ids.map((rule_id) => ({ is_inbound: true, rule_id }));
export const policy = (...rule_ids: number[]): Step => ask(npol_policy_create, { rules: items(rule_ids) });
export const changed_policy = (policy_id: number, ...rule_ids: number[]): Step =>
  ask(npol_policy_update, { policy_id, rules: items(rule_ids) });
export const no_policy = (policy_id: number): Step => ask(npol_policy_delete, { policy_id });

export const set = (type: 'NPOL_IP' | 'NPOL_IP_AND_PORT' | 'NPOL_NET'): Step =>
  ask(npol_ipset_create, { type });
export const no_set = (set_id: number): Step => ask(npol_ipset_delete, { set_id });
export const members = (set_id: number, is_add: boolean, ...values: npol_ipset_member_val[]): Step =>
  ask(npol_ipset_add_del_members, { set_id, is_add, members: values.map((val) => ({ val })) });

export const configure = (sw_if_index: number, rx: number, tx: number, policy_ids: readonly number[]): Step =>
  ask(npol_configure_policies, {
    sw_if_index,
    num_rx_policies: rx,
    num_tx_policies: tx,
    invert_rx_tx: 0,
    policy_default_rx: 'NPOL_DEFAULT_DENY',
    policy_default_tx: 'NPOL_DEFAULT_DENY',
    profile_default_rx: 'NPOL_DEFAULT_ALLOW',
    profile_default_tx: 'NPOL_DEFAULT_ALLOW',
    policy_ids,
  });

export const sequences: readonly Sequence[] = [
  {
    name: 'npol: ids are reused, the last one first; updating an unknown one makes another',
    steps: [
      ask(npol_get_version, {}),
      rule(cidr('10.0.0.0/8')),
      rule(),
      rule(cidr('fd00::/8')),
      no_rule(0),
      no_rule(1),
      no_rule(1),
      rule(),
      rule(),
      changed_rule(77),
      rule(),
      changed_rule(2, cidr('10.0.0.1/8')),
      rule(cidr('10.0.0.1/8')),
      policy(0, 1),
      policy(77),
      changed_policy(0),
      changed_policy(77, 0),
      policy(),
      no_policy(0),
      no_policy(0),
      policy(),
    ],
  },
  {
    name: 'npol: IP sets',
    steps: [
      set('NPOL_IP'),
      set('NPOL_NET'),
      set('NPOL_IP_AND_PORT'),
      members(0, true, { address: '10.0.0.1' }, { address: 'fd00::1' }),
      members(0, false, { address: '10.0.0.9' }),
      members(1, true, { prefix: '10.0.0.0/8' }, { prefix: '10.0.0.1/8' }, { prefix: '11.0.0.0/8' }),
      members(1, false, { prefix: '10.0.0.0/8' }),
      members(2, true, { tuple: { address: '10.0.0.1', l4_proto: 6, port: 80 } }),
      members(2, false, { tuple: { address: '10.0.0.1', l4_proto: 6, port: 80 } }),
      members(77, true, { address: '10.0.0.1' }),
      no_set(1),
      no_set(1),
      set('NPOL_IP'),
    ],
  },
  {
    name: 'npol: an interface takes only policies that are there',
    steps: [
      tun(),
      policy(),
      policy(),
      configure(1, 1, 1, [0, 1]),
      configure(1, 1, 1, [0, 1, 0]),
      configure(1, 1, 0, [77]),
      configure(1, 0, 0, []),
      configure(99, 0, 0, []),
      no_tap(1),
      configure(1, 0, 0, []),
    ],
  },
  {
    name: 'npol: fewer ids than announced',
    dies: true,
    steps: [tun(), policy(), configure(1, 1, 1, [])],
  },
];
