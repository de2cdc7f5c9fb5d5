/** A real VPP's npol, without the product between: what the stand-in has is told to it, and its CLI asked for verdicts. */
import type { Client } from 'vpp-binapi-ts';
import {
  npol_configure_policies,
  npol_ipset_add_del_members,
  npol_ipset_create,
  npol_ipset_delete,
  npol_policy_create,
  npol_policy_delete,
  npol_rule_create,
  npol_rule_delete,
} from 'vpp-binapi-ts/npol';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import type { Npol } from '../../lab/vpp/npol.js';
import type { Flow } from '../../lab/vpp/npol-verdict.js';

/** Tells all of it for these interfaces, of which the stand-in's are 1, 2 and so on; answers how to take it back. Numbers may differ. */
export async function program(
  vpp: Client,
  { npol }: { readonly npol: Npol },
  indexes: readonly number[],
): Promise<() => Promise<void>> {
  const sets = new Map<number, number>();
  const rules = new Map<number, number>();
  const policies = new Map<number, number>();
  for (const { id, type, members } of npol.sets) {
    const { set_id } = await vpp.request(npol_ipset_create, { type });
    sets.set(id, set_id);
    if (members.length === 0) continue;
    await vpp.request(npol_ipset_add_del_members, {
      set_id,
      is_add: true,
      members: members.map((member) => ({
        val: typeof member === 'string' ? { prefix: member } : { tuple: member },
      })),
    });
  }
  for (const { id, value } of npol.rules) {
    const matches = value.matches.map((entry) =>
      'set_id' in entry.data
        ? { ...entry, data: { set_id: { set_id: sets.get(entry.data.set_id.set_id)! } } }
        : entry,
    ) as typeof value.matches;
    rules.set(id, (await vpp.request(npol_rule_create, { rule: { ...value, matches } })).rule_id);
  }
  for (const { id, value } of npol.policies) {
    const items = value.map((item) => ({ ...item, rule_id: rules.get(item.rule_id)! }));
    policies.set(id, (await vpp.request(npol_policy_create, { rules: items })).policy_id);
  }
  for (const [i, sw_if_index] of indexes.entries()) {
    const of = npol.interfaces.get(i + 1)!;
    await vpp.request(npol_configure_policies, {
      sw_if_index,
      ...of,
      policy_ids: of.policy_ids.map((id) => policies.get(id)!),
    });
  }
  return async () => {
    for (const sw_if_index of indexes) {
      const of = { ...npol.interfaces.get(1)!, num_rx_policies: 0, num_tx_policies: 0, policy_ids: [] };
      await vpp.request(npol_configure_policies, { sw_if_index, ...of });
    }
    for (const policy_id of policies.values()) await vpp.request(npol_policy_delete, { policy_id });
    for (const rule_id of rules.values()) await vpp.request(npol_rule_delete, { rule_id });
    for (const set_id of sets.values()) await vpp.request(npol_ipset_delete, { set_id });
  };
}

const protocols: Readonly<Record<number, string>> = {
  1: 'ICMP',
  6: 'TCP',
  17: 'UDP',
  58: 'ICMP6',
  132: 'SCTP',
};

export async function said(vpp: Client, sw_if_index: number, inbound: boolean, flow: Flow): Promise<string> {
  const family = flow.source.includes(':') ? 'ip6' : 'ip4';
  const ends = `${flow.source};${flow.source_port}->${flow.destination};${flow.destination_port}`;
  const cmd = `npol match sw_if_index ${sw_if_index} ${family} ${inbound ? 'inbound' : 'outbound'} ${ends} ${protocols[flow.protocol]}`;
  const { reply } = await vpp.request(cli_inband, { cmd });
  const [, action] = /action:(\w+)/.exec(reply) ?? [];
  if (action === undefined) throw new Error(`${cmd}: ${reply}`);
  return action.toLowerCase();
}
