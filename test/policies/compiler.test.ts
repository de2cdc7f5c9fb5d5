import fc from 'fast-check';
import t from 'tap';
import { verdict } from '../../lab/vpp/npol-verdict.js';
import { addressText, prefixText } from '../../src/felix/address-set.js';
import type { FelixMessage, HostEndpoint, Rule, Tier } from '../../src/felix/messages.js';
import { type FelixSet, no_port } from '../../src/felix/set.js';
import {
  type Action,
  type Match,
  match_all,
  type NpolPolicy,
  type NpolRule,
  no_entries,
} from '../../src/objects/npol.js';
import { PolicyCompiler } from '../../src/policies/compiler.js';
import { policyConfig } from '../../src/policies/failsafe.js';
import { governing } from '../../src/policies/host-endpoints.js';
import { membersOf } from '../../src/policies/set-members.js';
import { compileTiers, type TierPolicies } from '../../src/policies/tiers.js';
import { modelOf, recorded, setMessage, tell } from '../felix/stream.js';
import { atOnce, loaded } from '../kit/npol-load.js';
import {
  judgeForwarded,
  judgeHost,
  judgeWorkload,
  type Packet,
  type Verdict,
  type World,
} from '../kit/policy-evaluator.js';

import {
  built,
  compiled,
  config,
  eth0,
  flowOf,
  hostOf,
  keys,
  member_net,
  member_port,
  messagesOf,
  net_sets,
  network_points,
  networkPlaces,
  node_addresses,
  npolOf,
  packet,
  places,
  pod_key,
  podOf,
  points,
  policyOf,
  port_sets,
  rule,
  ruleOf,
  rules,
  type Scene,
  scene,
  side,
  smallest,
  tierOf,
  tiers,
  with_profiles,
} from './scenes.js';

t.test('npol says of every packet what Calico says', async (t) => {
  let allowed = 0;
  let denied = 0;
  const runs = Number(process.env.POLICY_RUNS ?? 120);
  fc.assert(
    fc.property(scene, fc.array(packet, { minLength: 1, maxLength: 40 }), (scene, packets) => {
      const { npol, compiler } = built(scene);
      for (const packet of packets) {
        for (const { where, calico, npol: said } of places(scene, npol, packet)) {
          if (calico === 'allow') allowed += 1;
          else denied += 1;
          if (calico === said) continue;
          const refused = points.flatMap(([tag]) => compiler.refusals(tag));
          // What is refused may deny more, never allow more.
          if (said === 'deny' && refused.some(({ effect }) => effect === 'closed')) continue;
          throw new Error(`${where}: Calico ${calico}, npol ${said}: ${JSON.stringify(packet)}`);
        }
      }
    }),
    { numRuns: runs, reporter: smallest },
  );
  t.ok(allowed > runs * 10 && denied > runs * 10, `${allowed} allowed, ${denied} denied`);
});

t.test('of a policy the rules for a network hold in that network, and nowhere else', async (t) => {
  const counts = { allow: 0, deny: 0 };
  fc.assert(
    fc.property(scene, fc.array(packet, { minLength: 1, maxLength: 20 }), (scene, packets) => {
      const model = modelOf(messagesOf(scene));
      const compiler = compiled(model, undefined, network_points);
      const npol = npolOf(compiler, model, network_points);
      for (const packet of packets)
        for (const { where, calico, npol: said } of [
          ...places(scene, npol, packet),
          ...networkPlaces(scene, npol, packet),
        ]) {
          counts[calico as Verdict] += 1;
          if (calico === said) continue;
          const refused = network_points.flatMap(([tag]) => compiler.refusals(tag));
          if (said === 'deny' && refused.some(({ effect }) => effect === 'closed')) continue;
          throw new Error(`${where}: Calico ${calico}, npol ${said}: ${JSON.stringify(packet)}`);
        }
    }),
    { numRuns: Number(process.env.POLICY_RUNS ?? 60), reporter: smallest },
  );
  t.ok(counts.allow > 500 && counts.deny > 500, JSON.stringify(counts));
});

t.test('a pod in a network: its policy there, and the node, which has no address there', async (t) => {
  const key = 'NetworkPolicy a/1';
  const scene = {
    policies: {
      [key]: policyOf([
        ruleOf('allow', { protocol: 'tcp', dst: side({ ports: [{ first: 80, last: 80 }] }) }),
        ruleOf('allow', { protocol: 'tcp', dst: side({ ports: [{ first: 81, last: 81 }] }), network: 'red' }),
        ruleOf('allow', { protocol: 'nonsense', network: 'blue' }),
      ]),
    },
    profiles: { kns: open_profile },
    sets: {},
    config,
  };
  const at = (pod: Scene['pod'], more: readonly FelixMessage[] = []) => {
    const model = modelOf(messagesOf({ ...scene, ...(pod && { pod }) }));
    const compiler = compiled(model, undefined, network_points);
    for (const message of more) tell(model, [message]);
    compiler.felix(model.live!, model.take());
    compiler.compile(Number.POSITIVE_INFINITY);
    const npol = npolOf(compiler, model, network_points);
    const of = (index: number, inbound: boolean) =>
      [80, 81].map((port) => verdict(npol, index, inbound, flowOf({ ...tcp80, destination_port: port })));
    return { compiler, npol, in: of(1, false), in_red: of(4, false), out_red: of(4, true) };
  };
  const isolated = at(web([tierOf('default', 'deny', [key], [])]));
  t.strictSame(
    [isolated.in, isolated.in_red],
    [
      ['allow', 'deny'],
      ['deny', 'allow'],
    ],
  );
  t.strictSame(isolated.out_red, ['allow', 'allow'], 'profiles hold in all networks');
  t.strictSame(isolated.compiler.refusals('pod-red'), [], 'what is refused for another network');
  const from_node = flowOf({ ...tcp80, source: '10.0.0.6' });
  t.strictSame(
    [1, 4].map((index) => verdict(at(undefined).npol, index, false, from_node)),
    ['allow', 'deny'],
    'the address of the node is nobody in particular there',
  );
  const changed: FelixMessage = {
    kind: 'policy',
    key,
    policy: policyOf([ruleOf('allow', { network: 'red' })]),
  };
  const edited = at(web([tierOf('default', 'deny', [key], [])]), [changed]);
  t.strictSame(
    [edited.in, edited.in_red],
    [
      ['deny', 'deny'],
      ['allow', 'allow'],
    ],
  );
});

t.test('a network that comes behind its policies, and policies that go', async (t) => {
  const key = 'NetworkPolicy a/1';
  const policy = policyOf([ruleOf('allow', { network: 'red' })]);
  const scene = {
    profiles: { kns: open_profile },
    sets: {},
    config,
    pod: web([tierOf('default', 'deny', [key], [])]),
  };
  const model = modelOf(messagesOf({ ...scene, policies: { [key]: policy } }));
  const compiler = compiled(model);
  const judged = () => verdict(npolOf(compiler, model, network_points), 4, false, flowOf(tcp80));
  for (const [tag, attachment] of network_points) compiler.attach(tag, attachment);
  compiler.compile(Number.POSITIVE_INFINITY);
  t.equal(judged(), 'allow', 'its variant is there');
  tell(model, [
    { kind: 'workload', key: pod_key, endpoint: web([]) },
    { kind: 'policy_removed', key },
  ]);
  compiler.felix(model.live!, model.take());
  compiler.compile(Number.POSITIVE_INFINITY);
  t.equal(judged(), 'allow', 'by the profile');
  t.notOk(
    compiler.objects.interface('pod-red')!.tx.policies.some(({ name }) => name.includes(key)),
    'nothing of the policy is left',
  );
  tell(model, [{ kind: 'workload_removed', key: pod_key }]);
  compiler.felix(model.live!, model.take());
  compiler.compile(Number.POSITIVE_INFINITY);
  t.equal(judged(), 'deny', 'an endpoint that is gone is closed in each network');
});

t.test('an interface that is told again as it is costs nothing', async (t) => {
  const model = modelOf(messagesOf({ policies: {}, profiles: { kns: open_profile }, sets: {}, config }));
  const compiler = compiled(model, undefined, network_points);
  for (const [tag, attachment] of network_points) compiler.attach(tag, structuredClone(attachment));
  t.equal(compiler.left, 0);
  compiler.attach('pod-red', { kind: 'workload', endpoint: pod_key, network: 'blue' });
  t.equal(compiler.left, 1);
});

t.test('what cannot be expressed never allows, whatever it was to say', async (t) => {
  const damages: ((rule: Rule) => Rule)[] = [
    (rule) => ({ ...rule, protocol: 'nonsense' }),
    (rule) => ({ ...rule, src: { ...rule.src, nets: [...rule.src.nets, 'nonsense'] } }),
    (rule) => ({ ...rule, dst: { ...rule.dst, sets: [...rule.dst.sets, 's:nowhere'] } }),
    (rule) => ({ ...rule, not_dst: { ...rule.not_dst, named_ports: ['s:a'] } }),
    (rule) => ({ ...rule, src: { ...rule.src, ports: [{ first: 9, last: 8 }] } }),
    (rule) => ({ ...rule, unknown: [300] }),
    (rule) => ({ ...rule, ip_version: 5 }),
  ];
  let closed = 0;
  fc.assert(
    fc.property(
      scene,
      fc.array(packet, { minLength: 1, maxLength: 20 }),
      rule,
      fc.constantFrom(...keys),
      fc.nat(3),
      fc.constantFrom(...damages),
      (scene, packets, rule, key, at, damage) => {
        const policy = scene.policies[key]!;
        const inbound = (more: readonly Rule[]): Scene => ({
          ...scene,
          policies: {
            ...scene.policies,
            [key]: { ...policy, inbound: policy.inbound.toSpliced(at, 0, ...more) },
          },
        });
        const { npol } = built(inbound([damage(rule)]));
        for (const packet of packets) {
          const meanings = [inbound([]), inbound([rule])].map((meaning) => places(meaning, npol, packet));
          for (const [i, { where, npol: said }] of meanings[0]!.entries()) {
            if (said === 'deny') closed += 1;
            else if (meanings.some((places) => places[i]!.calico === 'deny'))
              throw new Error(`${where}: npol allows ${JSON.stringify(packet)}`);
          }
        }
      },
    ),
    { numRuns: 60, reporter: smallest },
  );
  t.ok(closed > 0);
});

const web = (tiers: readonly Tier[], profiles: readonly string[] = ['kns']) => podOf(tiers, profiles);
const open_profile = { inbound: [ruleOf('allow')], outbound: [ruleOf('allow')] };
const tcp80: Packet = {
  family: 4,
  source: '10.0.0.1',
  destination: '10.0.0.2',
  protocol: 6,
  source_port: 79,
  destination_port: 80,
};

function said(scene: Partial<Scene>, index: number, inbound: boolean, packet: Packet = tcp80): string {
  const { npol } = built({ policies: {}, profiles: { kns: open_profile }, sets: {}, config, ...scene });
  return verdict(npol, index, inbound, flowOf(packet));
}

t.test('what Felix has not spoken of is closed, but for the node itself', async (t) => {
  t.equal(said({}, 1, false), 'deny');
  t.equal(said({}, 1, true), 'deny');
  t.equal(said({}, 1, false, { ...tcp80, source: '10.0.0.6' }), 'allow');
  t.equal(said({ pod: { ...web([]), active: false } }, 1, false), 'deny');
  t.equal(said({ pod: web([]) }, 1, false), 'allow');
  t.equal(said({ pod: web([], []) }, 1, false), 'deny');
  t.equal(said({ pod: web([], ['never-told']) }, 1, false), 'deny');
  t.equal(said({ pod: web([tierOf('default', 'pass', ['NetworkPolicy never/told'])]) }, 1, false), 'deny');
  // Staged alone: the tier is not there. Beside another of the same name it is told by its kind.
  t.equal(said({ pod: web([tierOf('default', 'deny', ['StagedNetworkPolicy a/1'])]) }, 1, false), 'allow');
  const both = web([tierOf('default', 'deny', ['StagedNetworkPolicy a/1', 'NetworkPolicy a/1'])]);
  t.equal(said({ pod: both, policies: { 'NetworkPolicy a/1': policyOf([]) } }, 1, false), 'deny');
});

t.test('a failed expansion closes the endpoint and says so', async (t) => {
  const many = (action: string) =>
    policyOf(
      Array.from({ length: 80 }, (_, i) =>
        ruleOf(action, { protocol: 'tcp', dst: side({ ports: [{ first: i, last: i + 200 }] }) }),
      ),
    );
  const scene: Scene = {
    policies: {
      'GlobalNetworkPolicy a': many('pass'),
      'GlobalNetworkPolicy b': many('pass'),
      'GlobalNetworkPolicy c': many('allow'),
    },
    profiles: { kns: open_profile },
    sets: {},
    pod: web([
      tierOf('a', 'deny', ['GlobalNetworkPolicy a'], []),
      tierOf('b', 'deny', ['GlobalNetworkPolicy b'], []),
      tierOf('c', 'deny', ['GlobalNetworkPolicy c'], []),
    ]),
  };
  const { compiler, npol } = built(scene);
  t.equal(verdict(npol, 1, false, flowOf(tcp80)), 'deny');
  t.equal(verdict(npol, 1, true, flowOf(tcp80)), 'allow', 'the other direction is not concerned');
  t.match(compiler.refusals('pod'), [{ where: 'tiers, ingress', effect: 'closed', why: /too many rules/ }]);
});

/** Tiers of which each rule of the first hands on, and none has a flow in common with one of the second. */
const disjointTiers = (count: number): TierPolicies[] => {
  const policy = (name: string, action: Action, first: number): NpolPolicy => ({
    name,
    rx: Array.from({ length: count }, (_, n): NpolRule => {
      const ports = [{ first: first + n, last: first + n }];
      return { action, match: { ...match_all, protocol: 6, dst: { ...no_entries, ports } } };
    }),
    tx: [],
  });
  return [
    { policies: [policy('z', 'pass', 0)], end: 'deny' },
    { policies: [policy('a', 'pass', 0)], end: 'deny' },
    { policies: [policy('b', 'allow', 20_000)], end: 'deny' },
  ];
};

t.test(
  'tiers that would take too long to multiply out are refused, however few rules come of it',
  async (t) => {
    const few = disjointTiers(100);
    const compiled = compileTiers(few, 'allow', 'rx');
    t.equal(compiled?.composite?.rx.length, 101);
    t.equal(
      compileTiers(few, 'allow', 'rx')?.composite?.rx,
      compiled?.composite?.rx,
      'once for all endpoints',
    );
    const [z, a] = few;
    t.equal(compileTiers([z!, a!], 'allow', 'rx')?.composite?.rx.length, 101, 'of other tiers anew');
    t.equal(compileTiers(disjointTiers(1000), 'allow', 'rx'), undefined);
  },
);

t.test('a hundred thousand rules that are refused end nothing', async (t) => {
  const bad = ruleOf('allow', { protocol: 'nonsense' });
  const name = 'GlobalNetworkPolicy large';
  const inbound = Array.from({ length: 150_000 }, () => bad);
  const { compiler, npol } = built({
    policies: { [name]: policyOf(inbound) },
    profiles: { kns: open_profile },
    sets: {},
    pod: web([tierOf('a', 'deny', [name], [])]),
    host: hostOf({ pre_dnat: [tierOf('a', 'pass', [name], [])] }),
  });
  t.equal(verdict(npol, 1, false, flowOf(tcp80)), 'deny');
  t.ok(compiler.refusals('pod').length > 0 && compiler.refusals('pod').length <= 200);
});

t.test('tiers that hand on without a condition, or decide all, cost no rule', async (t) => {
  const policies = {
    'GlobalNetworkPolicy a': policyOf([ruleOf('deny', { protocol: 'udp' })]),
    'GlobalNetworkPolicy b': policyOf([ruleOf('pass', { src: side({ nets: ['10.0.0.0/30'] }) })]),
    'GlobalNetworkPolicy c': policyOf([ruleOf('allow', { protocol: 'tcp' })]),
  };
  const tiers = [
    tierOf('a', 'pass', ['GlobalNetworkPolicy a'], []),
    tierOf('b', 'deny', ['GlobalNetworkPolicy b'], []),
    tierOf('c', 'deny', ['GlobalNetworkPolicy c'], []),
  ];
  const { compiler } = built({ policies, profiles: { kns: open_profile }, sets: {}, pod: web(tiers) });
  const { tx, profiles } = compiler.objects.interface('pod')!;
  t.strictSame(
    tx.policies.map(({ name }) => name),
    ['@from-host', 'GlobalNetworkPolicy a', 'GlobalNetworkPolicy b'],
    'what hands on to the next tier is in the list, and shared',
  );
  t.match(
    profiles.map(({ name }) => name),
    [/^tiers tx /, 'profile kns'],
  );
  t.equal(profiles[0]!.tx.length, 2, 'the next tier, and its end');
  t.strictSame(profiles[0]!.rx, [], 'nothing of the other direction');
});

t.test('a tier hands on whichever of its policies does', async (t) => {
  const policies = {
    'GlobalNetworkPolicy a': policyOf([ruleOf('pass', { src: side({ nets: ['10.0.0.0/30'] }) })]),
    'GlobalNetworkPolicy b': policyOf([ruleOf('allow', { protocol: 'udp' })]),
    'GlobalNetworkPolicy c': policyOf([ruleOf('allow', { protocol: 'tcp' })]),
  };
  const pod = web([
    tierOf('a', 'deny', ['GlobalNetworkPolicy a', 'GlobalNetworkPolicy b'], []),
    tierOf('c', 'deny', ['GlobalNetworkPolicy c'], []),
  ]);
  t.equal(said({ policies, pod }, 1, false), 'allow');
  t.equal(said({ policies, pod }, 1, false, { ...tcp80, protocol: 132 }), 'deny', 'and not to the profiles');
});

t.test('an echo is no port, and the only message of ICMP that is judged', async (t) => {
  const echo: Packet = {
    family: 4,
    source: '10.0.0.1',
    destination: '10.0.0.2',
    protocol: 1,
    source_port: 0,
    destination_port: 0,
    icmp: { type: 8, code: 0 },
  };
  const with_rule = (...rules: Rule[]): Partial<Scene> => ({
    policies: { 'NetworkPolicy a/1': policyOf(rules) },
    pod: web([tierOf('default', 'deny', ['NetworkPolicy a/1'])]),
  });
  const at80 = side({ ports: [{ first: 80, last: 80 }] });
  t.equal(
    said(with_rule(ruleOf('allow', { dst: at80 })), 1, false, echo),
    'deny',
    'identifier 80 is not port 80',
  );
  t.equal(said(with_rule(ruleOf('allow', { dst: at80 })), 1, false), 'allow');
  const icmp = (type: number, code?: number) => ruleOf('allow', { protocol: 'icmp', icmp: { type, code } });
  t.equal(said(with_rule(icmp(8)), 1, false, echo), 'allow');
  t.equal(said(with_rule(icmp(8, 0)), 1, false, echo), 'allow');
  t.equal(said(with_rule(icmp(8, 1)), 1, false, echo), 'deny');
  t.equal(said(with_rule(icmp(80)), 1, false, echo), 'deny');
  t.equal(said(with_rule({ ...icmp(8), protocol: 1 }), 1, false, echo), 'allow');
  t.equal(said(with_rule({ ...icmp(128), protocol: 58 }), 1, false, echo), 'deny');
  const { compiler } = built({
    profiles: { kns: open_profile },
    sets: {},
    policies: {},
    ...with_rule(ruleOf('deny', { protocol: 47 })),
  } as Scene);
  t.match(compiler.refusals('pod'), [{ where: /^NetworkPolicy a\/1, ingress rule 1$/, effect: 'open' }]);
});

t.test('doNotTrack and preDNAT are honoured where VPP sees the same, and told where not', async (t) => {
  const drop = (criteria: Partial<Rule>) => ruleOf('deny', criteria);
  const attacker = side({ nets: ['10.0.0.1/32'] });
  const scene = (what: Partial<HostEndpoint>, rules: readonly Rule[]): Scene => ({
    policies: { 'GlobalNetworkPolicy x': policyOf(rules) },
    profiles: { kns: open_profile },
    sets: {},
    host: hostOf({ profiles: ['kns'], ...what }),
    config,
  });
  const tier = tierOf('default', 'pass', ['GlobalNetworkPolicy x'], []);
  for (const [name, what] of Object.entries({
    doNotTrack: { untracked: [tier] },
    preDNAT: { pre_dnat: [tier] },
  })) {
    const { npol, compiler } = built(scene(what, [drop({ src: attacker })]));
    t.strictSame(compiler.refusals('host-eth0'), []);
    t.equal(verdict(npol, 2, false, flowOf(tcp80)), 'deny', `${name}, at the host`);
    t.equal(verdict(npol, 3, true, flowOf(tcp80)), 'deny', `${name}, on the way`);
    t.equal(verdict(npol, 3, true, flowOf({ ...tcp80, source: '10.0.0.3' })), 'allow');
    t.equal(
      verdict(npol, 2, false, flowOf({ ...tcp80, destination_port: 81 })),
      'allow',
      'failsafe goes before',
    );
    const asks = built(
      scene(what, [
        drop({ src: attacker }),
        drop({ protocol: 'tcp', dst: side({ ports: [{ first: 30000, last: 32767 }] }) }),
      ]),
    );
    t.match(asks.compiler.refusals('host-eth0'), [
      { where: `${name} of node-eth0`, effect: 'open', why: /destination/ },
    ]);
    t.equal(verdict(asks.npol, 2, false, flowOf(tcp80)), 'allow', 'not in part');
  }
  const past = built(
    scene({ pre_dnat: [tier], tiers: [tierOf('default', 'deny', ['GlobalNetworkPolicy none'])] }, [
      ruleOf('allow', { src: attacker }),
    ]),
  );
  t.equal(
    verdict(past.npol, 2, false, flowOf(tcp80)),
    'allow',
    'what preDNAT allows is past the policies of the host',
  );
  const untracked = built(scene({ untracked: [tier] }, [ruleOf('allow', { src: attacker })]));
  t.match(untracked.compiler.refusals('main-eth0'), [
    { where: 'doNotTrack of node-eth0', effect: 'open', why: /connection/ },
  ]);
});

// ---- by difference

/** All that is there, by name. */
function contents(compiler: PolicyCompiler): unknown {
  const { objects } = compiler;
  const shown = points.map(([tag]) => objects.interface(tag));
  return { shown, counts: objects.counts, refusals: points.map(([tag]) => compiler.refusals(tag)) };
}

t.test(
  'after any edits there is what a new compiler makes, and nothing else; and what is touched is told',
  async (t) => {
    const edit = fc.oneof(
      fc.tuple(fc.constantFrom(...keys), rules).map(
        ([key, of]): FelixMessage => ({
          kind: 'policy',
          key,
          policy: { ...of, untracked: false, pre_dnat: false },
        }),
      ),
      fc.constantFrom(...keys).map((key): FelixMessage => ({ kind: 'policy_removed', key })),
      fc
        .tuple(fc.constantFrom('kns', 'ksa'), rules)
        .map(([name, profile]): FelixMessage => ({ kind: 'profile', name, profile })),
      fc
        .tuple(fc.constantFrom(...port_sets), fc.uniqueArray(member_port, { maxLength: 6 }))
        .map(([id, members]) => setMessage(id, members, 'address_and_port')),
      fc
        .tuple(fc.constantFrom(...net_sets), fc.uniqueArray(member_net, { maxLength: 4 }))
        .map(([id, members]) => setMessage(id, members)),
      fc.constantFrom(...net_sets, ...port_sets).map((id): FelixMessage => ({ kind: 'set_removed', id })),
      fc
        .record({ tiers, profiles: with_profiles })
        .map(
          (of): FelixMessage => ({ kind: 'workload', key: pod_key, endpoint: podOf(of.tiers, of.profiles) }),
        ),
      fc.constant<FelixMessage>({ kind: 'workload_removed', key: pod_key }),
      fc
        .record({ tiers, forward: tiers })
        .map((of): FelixMessage => ({ kind: 'host', id: 'node-eth0', endpoint: hostOf(of) })),
      fc.constant<FelixMessage>({ kind: 'host_removed', id: 'node-eth0' }),
      fc.constantFrom('DROP', 'RETURN').map(
        (action): FelixMessage => ({
          kind: 'config',
          config: new Map([['DefaultEndpointToHostAction', action]]),
        }),
      ),
    );
    fc.assert(
      fc.property(
        scene,
        fc.array(fc.array(edit, { minLength: 1, maxLength: 4 }), { maxLength: 5 }),
        (scene, batches) => {
          const { compiler, model } = built(scene);
          const { objects } = compiler;
          const all = {
            policies: new Map<string, unknown>(),
            rules: new Set<string>(),
            sets: new Set<string>(),
          };
          const follow = () => {
            const touched = objects.take();
            for (const name of touched.policies) {
              const policy = objects.policy(name);
              if (policy === undefined) all.policies.delete(name);
              else all.policies.set(name, JSON.stringify(policy));
            }
            for (const name of touched.rules)
              objects.rule(name) ? all.rules.add(name) : all.rules.delete(name);
            for (const name of touched.sets) objects.set(name) ? all.sets.add(name) : all.sets.delete(name);
          };
          follow();
          for (const messages of batches) {
            tell(model, messages);
            compiler.felix(model.live!, model.take());
            while (compiler.left > 0) compiler.compile(1);
            follow();
            const fresh = new PolicyCompiler();
            for (const [tag, attachment] of points) fresh.attach(tag, attachment);
            fresh.node(node_addresses);
            const everything = {
              config: true,
              sets: new Set(model.live!.sets.keys()),
              policies: new Set<string>(),
              profiles: new Set<string>(),
              workloads: new Set<string>(),
              hosts: new Set<string>(),
            };
            fresh.felix(model.live!, everything);
            fresh.compile(Number.POSITIVE_INFINITY);
            if (JSON.stringify(contents(compiler)) !== JSON.stringify(contents(fresh)))
              throw new Error(`${JSON.stringify(contents(compiler))}\n${JSON.stringify(contents(fresh))}`);
            const { policies, rules, sets } = objects.counts;
            const followed = [all.policies.size, all.rules.size, all.sets.size];
            if (JSON.stringify(followed) !== JSON.stringify([policies, rules, sets]))
              throw new Error(`told ${followed}, there are ${[policies, rules, sets]}`);
            for (const [name, shown] of all.policies)
              if (shown !== JSON.stringify(objects.policy(name)))
                throw new Error(`${name} has changed untold`);
          }
          for (const [tag] of points) compiler.attach(tag, undefined);
          const { counts } = objects;
          if (Object.values(counts).some((count) => count !== 0)) throw new Error(JSON.stringify(counts));
        },
      ),
      { numRuns: 50, reporter: smallest },
    );
    t.pass();
  },
);

t.test(
  'a snapshot that says the same touches nothing; members of a set of prefixes, nothing either',
  async (t) => {
    const messages = recorded('k8s-basic').slice(0, 90);
    const model = modelOf(messages);
    const compiler = new PolicyCompiler();
    for (const key of model.live!.workloads.keys()) compiler.attach(key, { kind: 'workload', endpoint: key });
    compiler.felix(model.live!, model.take());
    compiler.compile(Number.POSITIVE_INFINITY);
    t.ok(compiler.objects.take().policies.size > 3);
    model.connected();
    tell(model, messages);
    compiler.felix(model.live!, model.take());
    compiler.compile(Number.POSITIVE_INFINITY);
    const none = { interfaces: new Set(), policies: new Set(), rules: new Set(), sets: new Set() };
    t.strictSame({ ...compiler.objects.take() }, none);
    const [id] = model.live!.sets.keys();
    tell(model, [setMessage(id!, ['192.0.2.1'])]);
    compiler.felix(model.live!, model.take());
    t.equal(compiler.left, 0, 'members are for who writes sets');
  },
);

const uplink = { name: 'eth0', addresses: ['192.0.2.11/24', '2001:db8:1::11/64'] };

t.test('recordings of a real Felix: npol says of every packet what Calico says', async (t) => {
  for (const name of [
    'k8s-basic',
    'k8s-basic-v331',
    'tiers',
    'tiers-v331',
    'hostendpoints',
    'icmp-and-negation',
    'sets-services',
    'profiles',
  ]) {
    const messages = recorded(name);
    let judged = 0;
    let allows = 0;
    for (
      let end = messages.findIndex(({ kind }) => kind === 'in_sync') + 1;
      end <= messages.length;
      end += 17
    ) {
      const model = modelOf(messages.slice(0, end));
      const state = model.live!;
      const compiler = new PolicyCompiler();
      const keys = [...state.workloads.keys()];
      for (const key of keys) compiler.attach(key, { kind: 'workload', endpoint: key });
      compiler.attach('tap', { kind: 'tap', host: uplink });
      compiler.attach('uplink', { kind: 'uplink', host: uplink });
      compiler.node(['192.0.2.11']);
      compiler.felix(state, model.take());
      compiler.compile(Number.POSITIVE_INFINITY);
      const npol = loaded(
        [...keys, 'tap', 'uplink'].map((tag) => compiler.objects.interface(tag)!),
        state.sets,
      );
      const sets = new Map([...state.sets].map(([id, set]) => [id, membersAsText(set)]));
      const world: World = {
        policies: state.policies,
        profiles: state.profiles,
        sets,
        local_pods: [],
        node_addresses: ['192.0.2.11'],
        endpoint_to_host: 'deny',
        failsafe_inbound: [],
        failsafe_outbound: [],
        vxlan_port: 4789,
      };
      const closed = new Set(
        keys.filter((key) => compiler.refusals(key).some(({ effect }) => effect === 'closed')),
      );
      for (const [i, key] of keys.entries()) {
        for (const packet of packetsOf([...sets.values()].flat())) {
          for (const direction of ['ingress', 'egress'] as const) {
            const calico = judgeWorkload(world, state.workloads.get(key), direction, packet);
            const npol_says = verdict(npol, i + 1, direction === 'egress', flowOf(packet, 4789));
            judged += 1;
            if (calico === 'allow') allows += 1;
            if (calico !== npol_says && !(closed.has(key) && npol_says === 'deny'))
              t.fail(
                `${name} ${end} ${key} ${direction}: Calico ${calico}, npol ${npol_says}: ${JSON.stringify(packet)}`,
              );
          }
        }
      }
      const host = state.hosts.get(governing(uplink, state.hosts) ?? '');
      // What is before connections and translation the evaluator does not know.
      if (host === undefined || host.untracked.length + host.pre_dnat.length === 0) {
        for (const packet of packetsOf([...sets.values()].flat())) {
          for (const direction of ['ingress', 'egress'] as const) {
            const is_egress = direction === 'egress';
            const flow = flowOf(packet, 4789);
            const calico = [
              judgeHost(world, host, direction, packet),
              judgeForwarded(world, host, direction, packet),
            ];
            const said = [
              verdict(npol, keys.length + 1, is_egress, flow),
              verdict(npol, keys.length + 2, !is_egress, flow),
            ];
            judged += 2;
            allows += calico.filter((decided) => decided === 'allow').length;
            if (`${calico}` !== `${said}`)
              t.fail(
                `${name} ${end} host ${direction}: Calico ${calico}, npol ${said}: ${JSON.stringify(packet)}`,
              );
          }
        }
      }
      t.equal(closed.size, 0, `${name}: nothing that Felix sends of valid policies is refused`);
    }
    t.ok(judged > 1000 && allows > 100 && allows < judged, `${name}: ${judged} judged, ${allows} allowed`);
  }
});

/** Of which object a message is; messages of one object keep their order, whatever becomes of that of others. */
function objectOf(message: FelixMessage): string {
  if ('update' in message) return `set ${message.update.id}`;
  if ('key' in message) return `${message.kind.replace('_removed', '')} ${message.key}`;
  if ('name' in message) return `profile ${message.name}`;
  if ('id' in message) return `${message.kind.replace('_removed', '')} ${message.id}`;
  return message.kind;
}

t.test(
  'a recording ends in the same objects whatever stands before what, in one snapshot or in parts',
  async (t) => {
    for (const name of [
      'k8s-basic',
      'tiers',
      'hostendpoints',
      'icmp-and-negation',
      'sets-services',
      'burst',
    ]) {
      const messages = recorded(name).filter(({ kind }) => kind !== 'in_sync' && kind !== 'ignored');
      const workloads = new Set(
        messages.flatMap((message) => (message.kind === 'workload' ? [message.key] : [])),
      );
      /** Messages told, those from `synced` on to what is in force, and compiled each few of them. */
      const end = (told: readonly FelixMessage[], synced: number): string => {
        const compiler = new PolicyCompiler();
        for (const key of workloads) compiler.attach(key, { kind: 'workload', endpoint: key });
        compiler.attach('tap', { kind: 'tap', host: uplink });
        compiler.attach('uplink', { kind: 'uplink', host: uplink });
        compiler.node(['192.0.2.11']);
        const model = modelOf([...told.slice(0, synced), { kind: 'in_sync' }]);
        for (let at = synced; at <= told.length; at += 4) {
          tell(model, told.slice(at, at + 4));
          compiler.felix(model.live!, model.take());
          compiler.compile(Number.POSITIVE_INFINITY);
        }
        const { objects } = compiler;
        const shown = [...workloads, 'tap', 'uplink'].map((tag) => objects.interface(tag));
        return JSON.stringify([shown, objects.counts, [...workloads].map((key) => compiler.refusals(key))]);
      };
      const as_recorded = end(messages, messages.length);
      t.ok(as_recorded.includes('NetworkPolicy') || name !== 'tiers', name);
      fc.assert(
        fc.property(
          fc.array(fc.nat(1000), { minLength: messages.length, maxLength: messages.length }),
          fc.nat(messages.length),
          (order, synced) => {
            const queues = new Map<string, FelixMessage[]>();
            for (const message of messages) {
              const object = objectOf(message);
              queues.set(object, [...(queues.get(object) ?? []), message]);
            }
            const told = order.map((pick) => {
              const waiting = [...queues.values()].filter(({ length }) => length > 0);
              return waiting[pick % waiting.length]!.shift()!;
            });
            if (end(told, synced) !== as_recorded) throw new Error(`${name}: another end`);
          },
        ),
        { numRuns: 6, endOnFailure: true },
      );
    }
  },
);

function membersAsText(set: FelixSet): string[] {
  const names: Readonly<Record<number, string>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' };
  return [...set.ports].flatMap((port) =>
    [...set.members(port)!].map((prefix) =>
      port === no_port ? prefixText(prefix) : `${addressText(prefix)},${names[port >>> 16]}:${port & 0xffff}`,
    ),
  );
}

/** From and to what the sets name and some that nobody does, by some ports of each protocol. */
function packetsOf(members: readonly string[]): Packet[] {
  const addresses = [...new Set(members.map((member) => member.split(/[,/]/)[0]!))].slice(0, 8);
  const packets: Packet[] = [];
  for (const [family, others] of [
    [4, ['203.0.113.9', '198.18.0.10']],
    [6, ['2001:db8::9', '2001:db8:44:a::a']],
  ] as const) {
    const ends = [
      ...addresses.filter((address) => address.includes(':') === (family === 6)),
      ...others,
    ].slice(-4);
    for (const source of ends)
      for (const destination of ends) {
        const of = { family, source, destination };
        for (const [protocol, destination_port] of [
          [6, 80],
          [6, 8080],
          [17, 53],
          [132, 5000],
        ] as const)
          packets.push({ ...of, protocol, source_port: 40000, destination_port });
        const icmp = { type: family === 4 ? 8 : 128, code: 0 };
        packets.push({ ...of, protocol: family === 4 ? 1 : 58, source_port: 0, destination_port: 0, icmp });
      }
  }
  return packets;
}

t.test('which host endpoint governs an interface', async (t) => {
  const hosts = (all: Record<string, Partial<HostEndpoint>>) =>
    new Map(Object.entries(all).map(([id, of]) => [id, hostOf({ name: '', ...of })]));
  t.equal(governing(eth0, hosts({})), undefined);
  t.equal(governing(eth0, hosts({ b: { name: 'eth0' }, a: { name: 'eth1' }, c: { name: '*' } })), 'b');
  t.equal(governing(eth0, hosts({ b: { name: 'eth0' }, a: { addresses: ['10.0.0.6'] } })), 'a');
  t.equal(
    governing(eth0, hosts({ a: { name: 'eth1', addresses: ['10.0.0.6'] } })),
    undefined,
    'a name is not given up',
  );
  t.equal(
    governing(eth0, hosts({ z: { name: '*' }, y: { name: '*' }, a: { addresses: ['10.9.9.9'] } })),
    'y',
  );
  t.equal(governing(eth0, hosts({ a: { addresses: ['FD00:0::6'] } })), 'a', 'addresses, not their spelling');
  t.equal(governing(eth0, hosts({ a: { addresses: [] } })), undefined);
});

t.test('failsafe ports and the other values of the configuration', async (t) => {
  const of = (values: Record<string, string>) => policyConfig(new Map(Object.entries(values)));
  const ports = (rules: readonly { match: Match }[]) =>
    rules.map(
      ({ match: { protocol, src, dst } }) =>
        `${protocol}:${[...src.nets, ...dst.nets]}:${dst.ports.map(({ first }) => first)}`,
    );
  const by_default = of({});
  t.equal(by_default.endpoint_to_host, 'deny');
  t.strictSame(ports(by_default.failsafe_inbound).slice(0, 3), ['6::22', '17::68', '6::179']);
  t.equal(by_default.failsafe_outbound.length, 9);
  t.strictSame(ports(of({ FailsafeInboundHostPorts: 'none' }).failsafe_inbound), []);
  const some = of({
    FailsafeInboundHostPorts:
      '22, udp:68,tcp:192.0.2.9/24:6443,tcp:[2001:db8:1::/64]:6443,sctp:1,tcp:70000,tcp:x:1,[10.0.0.0/8]:1',
    DefaultEndpointToHostAction: 'Return',
    VXLANPort: 'many',
  });
  t.strictSame(ports(some.failsafe_inbound), [
    '6::22',
    '17::68',
    '6:192.0.2.0/24:6443',
    '6:2001:db8:1::/64:6443',
  ]);
  t.equal(some.problems.length, 5, 'four ports and the VXLAN port');
  t.equal(some.endpoint_to_host, 'allow');
  t.equal(some.vxlan_port, 4789);
  t.equal(of({ AllowVXLANPacketsFromWorkloads: 'true' }).vxlan_port, undefined);
  t.match(of({ DefaultEndpointToHostAction: 'maybe' }), { endpoint_to_host: 'deny', problems: [/maybe/i] });
});

t.test(
  'an endpoint with many policies is compiled over many calls, and is there when all of it is',
  async (t) => {
    const names = Array.from({ length: 1000 }, (_, n) => `NetworkPolicy a/${n}`);
    const rulesOfPort = (n: number) =>
      [1, 2].map((of) =>
        ruleOf('allow', {
          protocol: 'tcp',
          dst: side({ ports: [{ first: of * 1000 + n, last: of * 1000 + n }] }),
        }),
      );
    const model = modelOf([
      ...names.map((key, n) => ({ kind: 'policy', key, policy: policyOf(rulesOfPort(n)) }) as const),
      {
        kind: 'workload',
        key: pod_key,
        endpoint: podOf([tierOf('default', 'deny', names, [])], []),
      },
      { kind: 'in_sync' },
    ]);
    const compiler = new PolicyCompiler();
    compiler.attach('pod', { kind: 'workload', endpoint: pod_key });
    compiler.felix(model.live!, model.take());
    let calls = 0;
    for (; compiler.left > 0; calls += 1) {
      t.equal(compiler.objects.interface('pod'), undefined);
      compiler.compile(60);
    }
    // Each policy counts as its rules and one more.
    t.equal(calls, 51);
    t.equal(compiler.objects.interface('pod')?.tx.policies.length, names.length);
  },
);

t.test('what is in several sets is found in pieces, whichever of them has the larger prefix', async (t) => {
  const many = Array.from({ length: 3000 }, (_, n) => `10.1.${n >> 8}.${n & 255}`);
  const { live } = modelOf([
    setMessage('s:a', [...many, '10.2.0.0/16']),
    setMessage('s:b', ['10.1.0.0/24', '10.2.3.0/24', '10.3.0.0/24']),
    { kind: 'in_sync' },
  ]);
  const steps = membersOf({ ids: ['s:a', 's:b'] }, live!.sets);
  for (let n = 0; n < 2; n += 1) t.equal(steps.next().done, false);
  const common = [...atOnce(steps)].map(prefixText);
  t.strictSame(common.sort(), [...many.slice(0, 256).map((ip) => `${ip}/32`), '10.2.3.0/24'].sort());
});

t.test(
  'a pod does not speak IKE with its node where that is for nodes, whatever its policies allow',
  async (t) => {
    const key = 'NetworkPolicy a/all';
    const model = modelOf([
      { kind: 'policy', key, policy: policyOf([], [ruleOf('allow')]) },
      { kind: 'workload', key: pod_key, endpoint: podOf([tierOf('default', 'deny', [], [key])], []) },
      { kind: 'in_sync' },
    ]);
    const out = (does_ike: boolean, destination: string, destination_port: number, protocol = 17): string => {
      const source = destination.includes(':') ? 'fd00::2' : '10.0.0.2';
      const npol = npolOf(compiled(model, new PolicyCompiler({ does_ike })), model);
      return verdict(npol, 1, true, { source, destination, protocol, source_port: 500, destination_port });
    };
    for (const address of node_addresses) {
      t.equal(out(true, address, 500), 'deny');
      t.equal(out(true, address, 4500), 'deny');
      t.equal(out(true, address, 501), 'allow');
      t.equal(out(true, address, 500, 6), 'allow', 'TCP');
      t.equal(out(false, address, 500), 'allow', 'IPsec is off');
    }
    t.equal(out(true, '192.0.2.9', 500), 'allow', 'a pod may have its own');
    const fresh = new PolicyCompiler({ does_ike: true });
    fresh.attach('pod', { kind: 'workload', endpoint: pod_key });
    fresh.felix(model.live!, model.take());
    fresh.compile(Number.POSITIVE_INFINITY);
    t.notOk(
      fresh.objects.interface('pod')!.rx.policies.some(({ name }) => name === '@ike'),
      'an unknown node has no addresses to keep',
    );
  },
);
