/** Compiled policies on a real VPP, by its own word (`npol match`): it says of every packet what the stand-in says, and Calico. */
import fc from 'fast-check';
import t from 'tap';
import { type Client, connect, unixTransport } from 'vpp-binapi-ts';
import { create_loopback } from 'vpp-binapi-ts/interface';
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
import { findRealVpp, startRealVpp } from '../../lab/real-vpp.js';
import { type Flow, verdict } from '../../lab/vpp/npol-verdict.js';
import type { Packet } from '../kit/policy-evaluator.js';
import { built, flowOf, packet, places, points, type Scene, scene, smallest } from '../policies/scenes.js';

const found = findRealVpp();

/** The stand-in's objects, told to a real VPP: numbers may differ. */
async function program(
  vpp: Client,
  { npol }: ReturnType<typeof built>,
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

async function said(vpp: Client, sw_if_index: number, inbound: boolean, flow: Flow): Promise<string> {
  const family = flow.source.includes(':') ? 'ip6' : 'ip4';
  const ends = `${flow.source};${flow.source_port}->${flow.destination};${flow.destination_port}`;
  const cmd = `npol match sw_if_index ${sw_if_index} ${family} ${inbound ? 'inbound' : 'outbound'} ${ends} ${protocols[flow.protocol]}`;
  const { reply } = await vpp.request(cli_inband, { cmd });
  const [, action] = /action:(\w+)/.exec(reply) ?? [];
  if (action === undefined) throw new Error(`${cmd}: ${reply}`);
  return action.toLowerCase();
}

t.test(
  'a real VPP says of every packet what Calico says',
  { skip: found.usable ? false : found.why },
  async (t) => {
    if (!found.usable) return;
    const running = await startRealVpp(found);
    t.teardown(() => running.stop());
    const vpp = await connect({
      transport: unixTransport(running.api_socket),
      name: 'policies',
      deadline_ms: 10_000,
    });
    t.teardown(() => vpp.close());
    const indexes: number[] = [];
    for (const _ of points)
      indexes.push((await vpp.request(create_loopback, { mac_address: '00:00:00:00:00:00' })).sw_if_index);
    let compared = 0;
    const check = async (scene: Scene, packets: readonly Packet[]): Promise<void> => {
      const all = built(scene);
      const undo = await program(vpp, all, indexes);
      const refused = points.some(([tag]) =>
        all.compiler.refusals(tag).some(({ effect }) => effect === 'closed'),
      );
      try {
        for (const packet of packets) {
          const flow = flowOf(packet);
          for (const [i, { where, calico, inbound, index, npol }] of places(
            scene,
            all.npol,
            packet,
          ).entries()) {
            const real = await said(vpp, indexes[index - 1]!, inbound, flow);
            compared += 1;
            if (real !== npol || (real !== calico && !(refused && real === 'deny')))
              throw new Error(
                `${i} ${where}: Calico ${calico}, stand-in ${npol}, VPP ${real}: ${JSON.stringify(packet)}`,
              );
          }
          if (verdict(all.npol, 99, true, flow) !== 'allow') throw new Error('an interface without policies');
        }
      } finally {
        await undo();
      }
    };
    await fc.assert(fc.asyncProperty(scene, fc.array(packet, { minLength: 1, maxLength: 15 }), check), {
      numRuns: Number(process.env.POLICY_RUNS ?? 100),
      asyncReporter: async (details) => smallest(details),
    });
    t.ok(compared > 1000, `${compared} verdicts compared`);
  },
);
