/** What the stand-in's npol says of packets where the plugin surprises: each of these was seen on a real VPP. */
import t from 'tap';
import type { npol_policy_default, npol_rule, npol_rule_entry, npol_rule_filter } from 'vpp-binapi-ts/npol';
import { type InterfacePolicies, Npol } from '../../lab/vpp/npol.js';
import { type Flow, verdict } from '../../lab/vpp/npol-verdict.js';

const none: npol_rule_filter = { type: 'NPOL_RULE_FILTER_NONE_TYPE', value: 0, should_match: 0 };
const tcp: npol_rule_filter = { type: 'NPOL_RULE_FILTER_L4_PROTO', value: 6, should_match: 1 };

function ruleOf(action: npol_rule['action'], matches: npol_rule_entry[] = [], filter = none): npol_rule {
  return { action, filters: [filter, none, none], matches };
}

const flow: Flow = {
  source: '10.0.0.1',
  destination: '10.0.0.2',
  protocol: 6,
  source_port: 1024,
  destination_port: 80,
};

/** An interface whose packets of either direction are judged by these rules; one policy each list. */
function judged(
  policies: readonly (readonly npol_rule[])[],
  profiles: readonly (readonly npol_rule[])[] = [],
  config: Partial<InterfacePolicies> = {},
): { npol: Npol; rules: number[]; ids: number[]; say: (flow: Flow, inbound?: boolean) => string } {
  const npol = new Npol();
  const rules: number[] = [];
  const ids = [...policies, ...profiles].map((list) => {
    const items = list.flatMap((rule) => {
      const rule_id = npol.setRule(undefined, rule);
      rules.push(rule_id);
      return [true, false].map((is_inbound) => ({ is_inbound, rule_id }));
    });
    return npol.setPolicy(undefined, items);
  });
  const listed = ids.slice(0, policies.length);
  npol.configure(1, {
    num_rx_policies: listed.length,
    num_tx_policies: listed.length,
    invert_rx_tx: 0,
    policy_default_rx: 'NPOL_DEFAULT_DENY',
    policy_default_tx: 'NPOL_DEFAULT_DENY',
    profile_default_rx: 'NPOL_DEFAULT_DENY',
    profile_default_tx: 'NPOL_DEFAULT_DENY',
    policy_ids: [...listed, ...listed, ...ids.slice(policies.length)],
    ...config,
  });
  return { npol, rules, ids, say: (flow, inbound = true) => verdict(npol, 1, inbound, flow) };
}

const allow = ruleOf('NPOL_ALLOW');
const deny = ruleOf('NPOL_DENY');
const cidr = (prefix: string, is_src = true, is_not = false): npol_rule_entry => ({
  is_src,
  is_not,
  type: 'NPOL_CIDR',
  data: { cidr: prefix },
});

t.test('log ends its policy, pass goes to the profiles and not to the next policy', async (t) => {
  t.equal(judged([[ruleOf('NPOL_LOG'), allow]]).say(flow), 'deny');
  t.equal(judged([[ruleOf('NPOL_LOG')], [allow]]).say(flow), 'allow');
  t.equal(judged([[ruleOf('NPOL_PASS')], [deny]], [[allow]]).say(flow), 'allow');
  t.equal(judged([[ruleOf('NPOL_PASS')], [allow]]).say(flow), 'deny');
  t.equal(judged([[ruleOf('NPOL_PASS')]], [[ruleOf('NPOL_PASS')], [allow]]).say(flow), 'deny');
  const passing: Partial<InterfacePolicies> = { policy_default_rx: 'NPOL_DEFAULT_PASS' };
  t.equal(judged([], [[allow]], passing).say(flow), 'allow');
  t.equal(judged([], [], { ...passing, profile_default_rx: 'NPOL_DEFAULT_PASS' }).say(flow), 'deny');
  t.equal(judged([], [], { policy_default_rx: 7 as unknown as npol_policy_default }).say(flow), 'deny');
});

t.test('an interface without policies, and a protocol that cnat does not know, pass', async (t) => {
  const { npol, say } = judged([[deny]]);
  t.equal(verdict(npol, 2, true, flow), 'allow');
  for (const protocol of [0, 2, 47, 50, 89, 136])
    t.equal(say({ ...flow, protocol }), 'allow', String(protocol));
  t.equal(say(flow), 'deny');
});

t.test('an inverted interface has the lists the other way round', async (t) => {
  const npol = new Npol();
  const rx = npol.setPolicy(undefined, [{ is_inbound: true, rule_id: npol.setRule(undefined, allow) }]);
  const config = (invert_rx_tx: number) =>
    npol.configure(1, {
      num_rx_policies: 1,
      num_tx_policies: 0,
      invert_rx_tx,
      policy_default_rx: 'NPOL_DEFAULT_DENY',
      policy_default_tx: 'NPOL_DEFAULT_DENY',
      profile_default_rx: 'NPOL_DEFAULT_DENY',
      profile_default_tx: 'NPOL_DEFAULT_DENY',
      policy_ids: [rx],
    });
  config(0);
  t.strictSame([verdict(npol, 1, true, flow), verdict(npol, 1, false, flow)], ['allow', 'deny']);
  config(1);
  t.strictSame([verdict(npol, 1, true, flow), verdict(npol, 1, false, flow)], ['deny', 'allow']);
});

t.test(
  'a rule that is deleted while it is in use matches everything, until its number is given out again',
  async (t) => {
    const never = ruleOf('NPOL_ALLOW', [cidr('192.0.2.0/24')]);
    const { npol, rules, say } = judged([[never]]);
    t.equal(say(flow), 'deny');
    npol.remove(npol.rules, rules[0]!);
    t.equal(say(flow), 'allow');
    t.equal(npol.setRule(undefined, deny), rules[0]);
    t.equal(say(flow), 'deny');
  },
);

t.test('a policy that is deleted is empty, a set that is deleted has nobody', async (t) => {
  const gone = judged([[allow]]);
  gone.npol.remove(gone.npol.policies, gone.ids[0]!);
  t.equal(gone.say(flow), 'deny');
  const npol = new Npol();
  const set = npol.sets.add((id) => ({ id, type: 'NPOL_NET', members: ['10.0.0.0/8'] }));
  const by_set = judged([]);
  const entry: npol_rule_entry = {
    is_src: true,
    is_not: false,
    type: 'NPOL_IP_SET',
    data: { set_id: { set_id: 0 } },
  };
  by_set.npol.sets.add(() => set);
  const policy = by_set.npol.setPolicy(undefined, [
    { is_inbound: true, rule_id: by_set.npol.setRule(undefined, ruleOf('NPOL_ALLOW', [entry])) },
  ]);
  by_set.npol.configure(1, { ...by_set.npol.interfaces.get(1)!, num_rx_policies: 1, policy_ids: [policy] });
  t.equal(by_set.say(flow), 'allow');
  by_set.npol.remove(by_set.npol.sets, 0);
  t.equal(by_set.say(flow), 'deny');
  by_set.npol.setRule(0, ruleOf('NPOL_ALLOW', [{ ...entry, data: { set_id: { set_id: 9 } } }]));
  t.throws(() => by_set.say(flow), /IP set 9, which does not exist/);
  by_set.npol.setPolicy(0, [{ is_inbound: true, rule_id: 77 }]);
  t.throws(() => by_set.say(flow), /rule 77, which does not exist/);
});

t.test('type and code of ICMP are compared with the identifier of an echo, as ports are', async (t) => {
  const echo = (id: number): Flow => ({ ...flow, protocol: 1, source_port: id, destination_port: id });
  const type: npol_rule_filter = { type: 'NPOL_RULE_FILTER_ICMP_TYPE', value: 8, should_match: 1 };
  const by_type = judged([[ruleOf('NPOL_ALLOW', [], type)]]);
  t.strictSame(
    [echo(8), echo(9), flow].map((of) => by_type.say(of)),
    ['allow', 'deny', 'deny'],
  );
  const range: npol_rule_entry = {
    is_src: false,
    is_not: false,
    type: 'NPOL_PORT_RANGE',
    data: { port_range: { start: 4000, end: 5000 } },
  };
  t.strictSame(
    [echo(4500), echo(80)].map((of) => judged([[ruleOf('NPOL_ALLOW', [range])]]).say(of)),
    ['allow', 'deny'],
  );
});

t.test(
  'lists: one of several is enough, of ranges and sets with ports together; what is excluded is none',
  async (t) => {
    const only = (...entries: npol_rule_entry[]) => judged([[ruleOf('NPOL_ALLOW', entries, tcp)]]).say(flow);
    t.equal(only(cidr('192.0.2.0/24'), cidr('10.0.0.0/30')), 'allow');
    t.equal(only(cidr('::/0')), 'deny', 'a family guard');
    t.equal(only(cidr('::/0', true, true)), 'allow');
    t.equal(only(cidr('10.0.0.0/30'), cidr('10.0.0.1/32', true, true)), 'deny');
    t.equal(only(cidr('10.0.0.0/30'), cidr('10.0.0.1/32', false)), 'deny');
    const npol = judged([
      [
        ruleOf('NPOL_ALLOW', [
          {
            is_src: false,
            is_not: false,
            type: 'NPOL_PORT_RANGE',
            data: { port_range: { start: 1, end: 2 } },
          },
          { is_src: false, is_not: false, type: 'NPOL_PORT_IP_SET', data: { set_id: { set_id: 0 } } },
        ]),
      ],
    ]);
    npol.npol.sets.add((id) => ({
      id,
      type: 'NPOL_IP_AND_PORT',
      members: [{ address: '10.0.0.2', l4_proto: 6, port: 80 }],
    }));
    t.strictSame(
      [
        flow,
        { ...flow, destination_port: 2 },
        { ...flow, destination_port: 3 },
        { ...flow, protocol: 17 },
      ].map((of) => npol.say(of)),
      ['allow', 'allow', 'deny', 'deny'],
    );
  },
);
