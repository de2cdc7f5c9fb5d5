/** Segment routing: own SIDs, policies, and what is steered into them. */
import {
  sr_localsid_add_del,
  sr_localsids_dump,
  sr_policies_v2_dump,
  sr_policy_add_v2,
  sr_policy_del,
  sr_policy_mod_v2,
  sr_steering_add_del,
  sr_steering_pol_dump,
} from 'vpp-binapi-ts/sr';
import { ask, none, type Sequence, table } from './steps.js';

const sid = (localsid: string, behavior: 'SR_BEHAVIOR_API_DT4' | 'SR_BEHAVIOR_API_DT6', is_del = false) =>
  ask(sr_localsid_add_del, {
    is_del,
    localsid,
    end_psp: false,
    behavior,
    sw_if_index: 4,
    vlan_index: 0,
    fib_table: 0,
    nh_addr: '::',
  });
const list = (weight: number, ...sids: string[]) => ({ weight, sids });
const policy = (bsid_addr: string, sids: ReturnType<typeof list>) =>
  ask(sr_policy_add_v2, {
    bsid_addr,
    weight: sids.weight,
    is_encap: true,
    type: 'SR_API_POLICY_TYPE_DEFAULT',
    fib_table: 0,
    sids,
    encap_src: 'fd00::2',
  });
const another = (bsid_addr: string, sids: ReturnType<typeof list>) =>
  ask(sr_policy_mod_v2, {
    bsid_addr,
    sr_policy_index: none,
    fib_table: 0,
    operation: 'SR_POLICY_OP_API_ADD',
    sl_index: none,
    weight: sids.weight,
    sids,
    encap_src: 'fd00::2',
  });
const no_policy = (bsid_addr: string) => ask(sr_policy_del, { bsid_addr, sr_policy_index: none });
const steer = (prefix: string, bsid_addr: string, { table_id = 3, is_del = false } = {}) =>
  ask(sr_steering_add_del, {
    is_del,
    bsid_addr,
    sr_policy_index: none,
    table_id,
    prefix,
    sw_if_index: none,
    traffic_type: prefix.includes(':') ? 'SR_STEER_API_IPV6' : 'SR_STEER_API_IPV4',
  });
const both_tables = [table(3, false, 'srv6-steered-ip4', false), table(3, true, 'srv6-steered-ip6', false)];

export const sequences: readonly Sequence[] = [
  {
    name: 'SRv6: SIDs of this node',
    steps: [
      table(4, false, 'srv6-received-ip4', false),
      table(4, true, 'srv6-received-ip6', false),
      sid('fcff::d4', 'SR_BEHAVIOR_API_DT4'),
      sid('fcff::d6', 'SR_BEHAVIOR_API_DT6'),
      sid('fcff::d4', 'SR_BEHAVIOR_API_DT4'),
      ask(sr_localsids_dump, {}),
      sid('fcff::d4', 'SR_BEHAVIOR_API_DT4', true),
      sid('fcff::d4', 'SR_BEHAVIOR_API_DT4', true),
      ask(sr_localsids_dump, {}),
    ],
  },
  {
    name: 'SRv6: policies, and what is steered into them',
    steps: [
      ...both_tables,
      policy('cafe::1', list(12, 'fcff::1:d4')),
      policy('cafe::1', list(12, 'fcff::1:d4')),
      another('cafe::1', list(3, 'fcff::7', 'fcff::1:d4')),
      another('cafe::9', list(3, 'fcff::1:d4')),
      policy('cafe::2', list(1, 'fcff::2:d6')),
      ask(sr_policies_v2_dump, {}),
      steer('10.1.0.0/26', 'cafe::1'),
      steer('fd44::/122', 'cafe::2'),
      steer('10.1.0.0/26', 'cafe::1'),
      steer('10.2.0.0/26', 'cafe::9'),
      ask(sr_steering_pol_dump, {}),
      steer('10.1.0.0/26', 'cafe::2'),
      ask(sr_steering_pol_dump, {}),
      steer('10.1.0.0/26', 'cafe::2', { is_del: true }),
      steer('10.1.0.0/26', 'cafe::2', { is_del: true }),
      steer('fd44::/122', 'cafe::2', { is_del: true }),
      no_policy('cafe::1'),
      no_policy('cafe::1'),
      no_policy('cafe::2'),
      ask(sr_policies_v2_dump, {}),
      ask(sr_steering_pol_dump, {}),
    ],
  },
  {
    name: 'SRv6: steered in a table that is not there',
    steps: [policy('cafe::1', list(12, 'fcff::1:d4')), steer('10.1.0.0/26', 'cafe::1', { table_id: 77 })],
    dies: true,
  },
  {
    name: 'SRv6: a list without segments',
    steps: [policy('cafe::1', list(12))],
    dies: true,
  },
];
