import fc from 'fast-check';
import t from 'tap';
import type { IpPool } from '../../src/calico/kinds/ip-pool.js';
import { Secret } from '../../src/config/secret.js';
import { Connectivity } from '../../src/desired/connectivity.js';
import {
  Outlook,
  type OwnNode,
  type TunnelSettings,
  tunnel_settings_default,
} from '../../src/desired/remote-route.js';
import { lists_max, srPolicyKey, srPolicyText, type ToldSrPolicy } from '../../src/desired/sr-policy.js';
import { type OwnSids, ownSids, srv6HeadersOf, within } from '../../src/desired/srv6.js';
import { bitsOf, holds } from '../../src/ip/bits.js';
import { keyOf, type VppObject } from '../../src/objects/object.js';
import type { Route } from '../../src/objects/routing.js';
import { listsText, type Srv6Policy, type Srv6Steering } from '../../src/objects/srv6.js';

const pools = { localsid_pool: 'fcff::/48', policy_pool: 'cafe::/118' };
const sidsOf = (name: string): OwnSids => ownSids(pools, name, undefined) as OwnSids;

const pool = (name: string, prefix: string, changes: Partial<IpPool> = {}): IpPool => ({
  name,
  prefix,
  ipip: 'Never',
  vxlan: 'Never',
  nat_outgoing: false,
  disabled: false,
  disable_bgp_export: false,
  allowed_uses: [],
  ...changes,
});

t.test('own SIDs follow from the pools and the name', (t) => {
  const [one, other] = [sidsOf('n1'), sidsOf('n2')];
  t.strictSame(sidsOf('n1'), one, 'the same in each life');
  t.not(one.locator, other.locator);
  t.strictSame(
    one.sids.map(({ family, behavior }) => [family, behavior]),
    [
      [4, 'end_dt4'],
      [6, 'end_dt6'],
    ],
  );
  for (const { sid, bsid } of one.sids) {
    t.ok(holds(bitsOf(one.locator), bitsOf(sid)), sid);
    t.ok(holds(bitsOf(pools.localsid_pool), bitsOf(sid)), sid);
    t.ok(holds(bitsOf(pools.policy_pool), bitsOf(bsid)), bsid);
  }
  const own = ownSids(pools, 'n1', { name: 'sr-localsids-pool-n1', prefix: 'fcff:0:0:11aa::/64' }) as OwnSids;
  t.strictSame(
    [own.locator, ...own.sids.map(({ sid }) => sid)],
    ['fcff:0:0:11aa::/64', 'fcff:0:0:11aa::d4', 'fcff:0:0:11aa::d6'],
  );
  for (const [changes, own_pool, why] of [
    [{ localsid_pool: '10.0.0.0/8' }, undefined, /localsidPool .* is no IPv6 prefix/],
    [{ policy_pool: '10.0.0.0/8' }, undefined, /policyPool .* is no IPv6 prefix/],
    [
      { localsid_pool: 'fcff::/96' },
      undefined,
      /no room for a part of each node: .* IPPool sr-localsids-pool-n1/,
    ],
    [{}, { name: 'p', prefix: 'fcff::/120' }, /IPPool p .* no room for SIDs/],
    [{}, { name: 'p', prefix: '10.1.0.0/16' }, /IPPool p .* is no IPv6 prefix/],
  ] as const)
    t.match(ownSids({ ...pools, ...changes }, 'n1', own_pool), why);
  t.equal(within('cafe::5/128', 'anything'), 'cafe::5');
  t.strictSame([1, 2, 3].map(srv6HeadersOf), [40, 80, 96]);
  t.end();
});

const own: OwnNode = {
  node: { ip4: '10.0.0.1', ip6: 'fd00::1' },
  subnets: { ip4: '10.0.0.0/24', ip6: 'fd00::/64' },
  main_uplink: 'main-eth0',
  mtu: 1500,
};

const policy = (changes: Partial<ToldSrPolicy> = {}): ToldSrPolicy => ({
  bsid: 'cafe::77',
  preference: 11,
  priority: 10,
  lists: [{ weight: 12, segments: ['fcff::2:d4'], behavior: 'end_dt4' }],
  ...changes,
});
const policy6 = policy({
  bsid: 'cafe::76',
  lists: [{ weight: 12, segments: ['fcff::2:d6'], behavior: 'end_dt6' }],
});
const key = (color: number, distinguisher = 0, endpoint = 'fd00::2') =>
  srPolicyKey({ endpoint, color, distinguisher });

class Lab {
  readonly plan = new Connectivity();
  readonly wanted = new Map<string, VppObject>();
  orders: string[] = [];

  constructor(settings: Partial<TunnelSettings> = {}) {
    this.plan.setPool('four', pool('four', '10.244.0.0/16'));
    this.plan.setPool('six', pool('six', 'fd10::/48'));
    this.plan.setNodeAddresses('own', own.node);
    this.plan.setNodeAddresses('two', { ip4: '10.0.0.2', ip6: 'fd00::2' });
    for (const address of ['10.0.0.1', 'fd00::1', '10.0.0.2', 'fd00::2']) this.plan.setNode(address, true);
    this.plan.setRoute('10.244.2.0/26', ['10.0.0.2']);
    this.plan.setRoute('fd10::2:0/122', ['fd00::2']);
    this.look(settings);
  }

  look(settings: Partial<TunnelSettings> = {}, changes: Partial<OwnNode> = {}): void {
    const srv6 = { pools, own: sidsOf('own') };
    this.plan.setOutlook(
      new Outlook({ ...own, ...changes }, { ...tunnel_settings_default, srv6, ...settings }),
    );
  }

  tell(color: number, says: ToldSrPolicy | undefined, distinguisher = 0): void {
    this.plan.setPolicy(key(color, distinguisher), says && srPolicyText(says));
  }

  all(): readonly string[] {
    this.orders = [];
    const sink = {
      want: (object: VppObject): void => {
        this.orders.push(`want ${keyOf(object)}`);
        this.wanted.set(keyOf(object), object);
      },
      unwant: (object: VppObject): void => {
        this.orders.push(`unwant ${keyOf(object)}`);
        if (!this.wanted.delete(keyOf(object))) throw new Error(`${keyOf(object)} was not wanted`);
      },
    };
    while (!this.plan.plan(2, sink));
    this.check();
    return this.orders;
  }

  /** What is steered is steered into a policy that is wanted, and what leads to be steered is. */
  check(): void {
    const steered = new Map(this.of<Srv6Steering>('srv6_steering').map(({ prefix, bsid }) => [prefix, bsid]));
    for (const [prefix, bsid] of steered)
      if (!this.wanted.has(`srv6_policy:${bsid}`)) throw new Error(`${prefix} is steered into nothing`);
    for (const { prefix, paths, table_id } of this.of<Route>('route'))
      if (table_id !== 4 && paths.some(({ via }) => via === 'lookup') && !steered.has(prefix))
        throw new Error(`${prefix} leads to a table in which it is not`);
    const used = new Set(steered.values());
    for (const { bsid } of this.of<Srv6Policy>('srv6_policy'))
      if (!used.has(bsid)) throw new Error(`nothing goes by ${bsid}`);
  }

  of<O extends VppObject>(kind: O['kind']): readonly O[] {
    return [...this.wanted.values()].filter((object): object is O => object.kind === kind);
  }

  get steered(): Readonly<Record<string, string>> {
    return Object.fromEntries(
      this.of<Srv6Steering>('srv6_steering').map(({ prefix, bsid }) => [prefix, bsid]),
    );
  }

  get policies(): Readonly<Record<string, string>> {
    return Object.fromEntries(
      this.of<Srv6Policy>('srv6_policy').map(({ bsid, lists }) => [bsid, listsText(lists)]),
    );
  }

  path(prefix: string, table_id = 0): string | undefined {
    const route = this.wanted.get(`route:connectivity/${table_id}/${prefix}`) as Route | undefined;
    return route?.paths.map((path) => ('next_hop' in path ? path.next_hop : path.via)).join();
  }
}

t.test('prefixes of a node go by its policies, of each family its own, and the node itself, too', (t) => {
  const lab = new Lab();
  lab.all();
  t.equal(lab.path('10.244.2.0/26'), '10.0.0.2', 'nothing is told of it: as the pool says');
  t.equal(lab.of('srv6_local_sid').length, 2);
  lab.tell(4, policy());
  lab.tell(6, policy6);
  const orders = lab.all();
  t.strictSame(lab.steered, {
    '10.244.2.0/26': 'cafe::77',
    '10.0.0.2/32': 'cafe::77',
    'fd10::2:0/122': 'cafe::76',
    'fd00::2/128': 'cafe::76',
  });
  t.equal(lab.path('10.244.2.0/26'), 'lookup');
  t.ok(
    orders.indexOf('want srv6_policy:cafe::77') < orders.indexOf('want srv6_steering:3/10.244.2.0/26'),
    'the policy first',
  );
  t.strictSame(lab.all(), [], 'nothing more');
  lab.plan.setRoute('10.244.2.64/26', ['10.0.0.2']);
  t.strictSame(lab.all(), [
    'want srv6_steering:3/10.244.2.64/26',
    'want route:connectivity/0/10.244.2.64/26',
  ]);
  t.match(Object.fromEntries(lab.plan.policies.status()), {
    two: 'IPv4: 2 prefixes by fcff::2:d4 (binding SID cafe::77); IPv6: 1 prefixes by fcff::2:d6 (binding SID cafe::76)',
  });
  t.end();
});

t.test('a policy that says something else gets another binding SID, and what goes by it moves', (t) => {
  const lab = new Lab();
  lab.tell(4, policy());
  lab.all();
  const other = policy({ lists: [{ weight: 1, segments: ['fcff::9', 'fcff::2:d4'], behavior: 'end_dt4' }] });
  lab.tell(4, other);
  const orders = lab.all();
  const [bsid = ''] = Object.keys(lab.policies);
  t.not(bsid, 'cafe::77');
  t.ok(holds(bitsOf(pools.policy_pool), bitsOf(bsid)));
  t.strictSame(
    [orders[0], orders.at(-1)],
    [`want srv6_policy:${bsid}`, 'unwant srv6_policy:cafe::77'],
    'the new one first, the old one last',
  );
  t.match([...lab.plan.faults()].map(String), [/80 bytes around each packet, and pods leave 60/]);
  lab.tell(4, policy());
  lab.all();
  t.strictSame(lab.policies, { 'cafe::77': '12 fcff::2:d4' }, 'the one that is asked for is free again');
  lab.tell(4, undefined);
  t.strictSame(lab.all().slice(-1), ['unwant srv6_policy:cafe::77']);
  t.equal(lab.path('10.244.2.0/26'), '10.0.0.2');
  t.strictSame(lab.steered, {});
  t.end();
});

t.test('the best of several, whatever the order', (t) => {
  const by = (weight: number) => [{ weight, segments: ['fcff::2:d4'], behavior: 'end_dt4' }];
  const better = policy({ preference: 12, bsid: 'cafe::12', lists: by(1) });
  const sooner = policy({ priority: 11, bsid: 'cafe::11', lists: by(2) });
  for (const order of [
    [policy(), better, sooner],
    [sooner, policy(), better],
  ]) {
    const lab = new Lab();
    for (const [at, each] of order.entries()) lab.tell(4, each, at);
    lab.all();
    t.strictSame(Object.keys(lab.policies), ['cafe::12']);
    lab.tell(4, undefined, order.indexOf(better));
    lab.all();
    t.strictSame(Object.keys(lab.policies), ['cafe::11'], 'then by priority');
  }
  t.end();
});

t.test('binding SIDs that VPP refuses are remembered as long as it is that VPP, and so many of them', (t) => {
  const lab = new Lab({ srv6: { pools: { ...pools, policy_pool: 'cafe::/64' }, own: sidsOf('own') } });
  lab.tell(4, policy());
  lab.all();
  lab.plan.setPolicyRefused('cafe::77');
  lab.all();
  t.not(lab.steered['10.244.2.0/26'], 'cafe::77');
  const away_and_back = (): void => {
    lab.tell(4, undefined);
    lab.all();
    lab.tell(4, policy());
    lab.all();
  };
  away_and_back();
  t.not(lab.steered['10.244.2.0/26'], 'cafe::77');
  lab.plan.forgetPolicyRefusals();
  away_and_back();
  t.equal(lab.steered['10.244.2.0/26'], 'cafe::77');

  const tell = (weight: number): void =>
    lab.tell(4, policy({ lists: [{ weight, segments: ['fcff::2:d4'], behavior: 'end_dt4' }] }));
  let told = 0;
  const used = (): string | undefined => lab.steered['10.244.2.0/26'];
  for (; told < 2000; told += 1) {
    tell(told + 1);
    lab.all();
    if (used() === undefined) break;
    lab.plan.setPolicyRefused(used()!);
    lab.all();
    if (used() === undefined) break;
  }
  t.equal(told, 1024);
  t.equal(lab.path('10.244.2.0/26'), '10.0.0.2', 'then it goes as the pool says');
  t.match([...lab.plan.faults()].map(String), [/VPP has refused 1024 binding SIDs: see who has routes/]);
  t.equal(lab.plan.counts.faulty, 1);
  lab.plan.forgetPolicyRefusals();
  lab.all();
  t.equal(lab.path('10.244.2.0/26'), 'lookup');
  t.end();
});

t.test('two nodes that ask for one binding SID get one each', (t) => {
  const lab = new Lab();
  lab.plan.setNodeAddresses('three', { ip4: '10.0.0.3', ip6: 'fd00::3' });
  lab.plan.setRoute('10.244.3.0/26', ['10.0.0.3']);
  lab.tell(4, policy());
  const of_three = policy({ lists: [{ weight: 12, segments: ['fcff::3:d4'], behavior: 'end_dt4' }] });
  lab.plan.setPolicy(key(4, 0, 'fd00::3'), srPolicyText(of_three));
  lab.all();
  t.strictSame(Object.values(lab.policies).sort(), ['12 fcff::2:d4', '12 fcff::3:d4']);
  t.not(lab.steered['10.244.2.0/26'], lab.steered['10.244.3.0/26']);
  t.end();
});

t.test('a node that is gone leaves nothing', (t) => {
  const lab = new Lab();
  lab.all();
  const before = [...lab.wanted.keys()].sort();
  lab.plan.setNodeAddresses('three', { ip4: '10.0.0.3', ip6: 'fd00::3' });
  lab.plan.setRoute('10.244.3.0/26', ['10.0.0.3']);
  lab.plan.setPolicy(key(4, 0, 'fd00::3'), srPolicyText(policy()));
  lab.all();
  t.ok(lab.steered['10.244.3.0/26']);
  lab.plan.setRoute('10.244.3.0/26', []);
  lab.plan.setNodeAddresses('three', undefined);
  lab.plan.setPolicy(key(4, 0, 'fd00::3'), undefined);
  lab.all();
  t.strictSame([...lab.wanted.keys()].sort(), before);
  t.equal(lab.plan.counts.policies, 0);
  t.end();
});

t.test('the last prefix that goes by a policy takes it along; one that comes in its place keeps it', (t) => {
  const lab = new Lab();
  lab.tell(4, policy());
  lab.all();
  lab.plan.setRoute('10.244.2.0/26', []);
  lab.plan.setRoute('10.244.2.64/26', ['10.0.0.2']);
  const orders = lab.all();
  t.notOk(orders.includes('unwant srv6_policy:cafe::77'), 'it is never wanted no more');
  t.strictSame(lab.steered, { '10.244.2.64/26': 'cafe::77', '10.0.0.2/32': 'cafe::77' });
  lab.plan.setRoute('10.244.2.64/26', []);
  t.strictSame(lab.all().slice(-1), ['unwant srv6_policy:cafe::77']);
  t.strictSame(lab.steered, {});
  t.equal(lab.path('10.0.0.2/32', 2), undefined, 'nor is there a route to the node');
  lab.plan.setRoute('10.244.2.64/26', ['10.0.0.2']);
  lab.all();
  t.equal(lab.path('10.0.0.2/32', 2), 'lookup', 'and it comes back');
  t.end();
});

t.test('what cannot be used is named, and changes nothing', (t) => {
  const lab = new Lab();
  lab.tell(4, policy());
  lab.tell(6, policy6);
  lab.all();
  const before = [...lab.wanted.keys()];
  const list = (segments: readonly string[], behavior?: string) => ({
    weight: 1,
    segments,
    ...(behavior && { behavior }),
  });
  const better = (lists: ToldSrPolicy['lists']) => policy({ preference: 200, lists });
  const long = Array.from({ length: 17 }, (_, at) => `fcff::${at + 1}`);
  const bad: readonly (readonly [ToldSrPolicy['lists'], RegExp])[] = [
    [[], /no segment list/],
    [[list([], 'end_dt4')], /no segments/],
    [[list(long, 'end_dt4')], /17 segments, and VPP takes 16/],
    [[list(['mpls'], 'end_dt4')], /no SID of SRv6/],
    [[list(['fcff::2:d4'])], /does not say what it does/],
    [[list(['fcff::2:d4'], 'end_dt4'), list(['fcff::2:d4'], 'end_dt6')], /end with end_dt4 and with end_dt6/],
    [[list(['fcff::2:d4'], 'end_dx2')], /ends with end_dx2/],
    [
      Array.from({ length: lists_max + 1 }, () => list(['fcff::2:d4'], 'end_dt4')),
      /more than 32 segment lists/,
    ],
    [[list(['fd10::2:9'], 'end_dt4')], /keep SIDs apart from pods/],
    [[list(['cafe::77'], 'end_dt4')], /keep SIDs apart from binding SIDs/],
    [[list(['fd00::1'], 'end_dt4')], /an address of this node/],
    [[list([sidsOf('own').sids[0]!.sid], 'end_dt4')], /an address of this node/],
  ];
  for (const [at, [lists]] of bad.entries()) lab.tell(4, better(lists), at + 1);
  lab.plan.setPolicy(key(4, 99, 'c0a80001'), srPolicyText(policy()));
  lab.all();
  const faults = Object.fromEntries(lab.plan.faults());
  for (const [at, [, why]] of bad.entries())
    t.match(faults[`SR policy of fd00::2, color 4, distinguisher ${at + 1}`], why);
  t.match(faults['SR policy of c0a80001, color 4, distinguisher 99'], /endpoint is no IPv6 address/);
  t.strictSame([...lab.wanted.keys()], before);
  t.equal(lab.plan.counts.faulty, bad.length + 1);
  t.end();
});

t.test('what is not steered', (t) => {
  const lab = new Lab();
  lab.tell(4, policy());
  lab.tell(6, policy6);
  lab.plan.setRoute('192.0.2.0/24', ['10.0.0.2']);
  lab.plan.setRoute('10.244.9.0/26', ['10.0.0.2', '10.0.0.3']);
  lab.plan.setRoute('fcff::2:0/112', ['fd00::2']);
  lab.plan.setRoute('10.0.0.0/30', ['10.0.0.2']);
  lab.plan.setPool('sr-localsids-pool-two', pool('sr-localsids-pool-two', 'fc00:2::/64'));
  lab.plan.setRoute('fc00:2::/64', ['fd00::2']);
  lab.all();
  t.strictSame(Object.keys(lab.steered).sort(), [
    '10.0.0.2/32',
    '10.244.2.0/26',
    'fd00::2/128',
    'fd10::2:0/122',
  ]);
  t.equal(lab.path('fcff::2:0/112'), 'fd00::2', 'what leads to SIDs');
  const required = new Lab({ encryption_required: true });
  required.tell(4, policy());
  required.all();
  t.strictSame(required.steered, {}, 'where encryption is required');
  lab.look({}, { node: { ip4: '10.0.0.1' } });
  lab.all();
  t.strictSame(lab.steered, {}, 'without an address of IPv6');
  t.end();
});

t.test('IPv4 goes to a node that is told by its IPv6 address', (t) => {
  const lab = new Lab();
  lab.plan.setRoute('10.244.2.0/26', ['fd00::2']);
  lab.all();
  t.match([...lab.plan.faults()].map(String), [/other address family/]);
  lab.tell(4, policy());
  lab.all();
  t.equal(lab.steered['10.244.2.0/26'], 'cafe::77');
  t.strictSame([...lab.plan.faults()], []);
  t.end();
});

t.test('whatever is told in whatever order, nothing is steered into nothing, and nothing is left', (t) => {
  const bsid = fc.constantFrom('cafe::1', 'cafe::2', undefined);
  const sid = fc.constantFrom('fcff::2:d4', 'fcff::3:d4', 'fd10::2:1');
  const endpoint = fc.constantFrom('fd00::2', 'fd00::3');
  const says = fc.record({ bsid, sid, weight: fc.nat(2), preference: fc.nat(2) });
  const step = fc.oneof(
    fc.record({ do: fc.constant('policy' as const), endpoint, at: fc.nat(1), says: fc.option(says) }),
    fc.record({
      do: fc.constant('route' as const),
      prefix: fc.constantFrom('10.244.2.0/26', '10.244.3.0/26', '10.0.0.0/30'),
      hops: fc.constantFrom([], ['10.0.0.2'], ['10.0.0.3'], ['fd00::2'], ['10.0.0.2', '10.0.0.3']),
    }),
    fc.record({
      do: fc.constant('node' as const),
      name: fc.constantFrom('two', 'three'),
      is: fc.option(
        fc.constantFrom(
          { ip4: '10.0.0.2', ip6: 'fd00::2' },
          { ip4: '10.0.0.3', ip6: 'fd00::3' },
          { ip4: '10.0.0.2' },
        ),
      ),
    }),
    fc.record({ do: fc.constant('pool' as const), there: fc.boolean() }),
    fc.record({
      do: fc.constantFrom('refuse' as const, 'give up' as const),
      bsid: fc.constantFrom('cafe::1', 'cafe::2'),
    }),
    fc.record({ do: fc.constant('forget' as const) }),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(step, fc.boolean()), { maxLength: 24 }), (steps) => {
      const lab = new Lab();
      lab.plan.setRoute('10.244.2.0/26', []);
      lab.plan.setRoute('fd10::2:0/122', []);
      lab.all();
      const base = [...lab.wanted.keys()].sort();
      for (const [each, plans] of steps) {
        if (each.do === 'policy') {
          const { says: told } = each;
          const text =
            told &&
            srPolicyText({
              ...(told.bsid && { bsid: told.bsid }),
              preference: told.preference,
              priority: 1,
              lists: [{ weight: told.weight, segments: [told.sid], behavior: 'end_dt4' }],
            });
          lab.plan.setPolicy(key(4, each.at, each.endpoint), text ?? undefined);
        } else if (each.do === 'route') lab.plan.setRoute(each.prefix, each.hops);
        else if (each.do === 'node') lab.plan.setNodeAddresses(each.name, each.is ?? undefined);
        else if (each.do === 'pool')
          lab.plan.setPool('four', each.there ? pool('four', '10.244.0.0/16') : undefined);
        else if (each.do === 'forget') lab.plan.forgetPolicyRefusals();
        else if (each.do === 'refuse') lab.plan.setPolicyRefused(each.bsid);
        else lab.plan.givePolicyUp(each.bsid, 'refused');
        if (plans) lab.all();
      }
      for (const each of ['fd00::2', 'fd00::3'])
        for (const at of [0, 1]) lab.plan.setPolicy(key(4, at, each), undefined);
      for (const prefix of ['10.244.2.0/26', '10.244.3.0/26', '10.0.0.0/30']) lab.plan.setRoute(prefix, []);
      lab.all();
      t.strictSame([...lab.wanted.keys()].sort(), base);
    }),
    { numRuns: 300 },
  );
  t.end();
});

t.test('what IPsec encrypts does not go by SRv6, nor what pods send to that node itself', (t) => {
  const lab = new Lab({ ipsec: { psk: new Secret('a key'), psk_version: 1 } });
  lab.plan.setPool('flat', pool('flat', '10.245.0.0/16'));
  lab.plan.setPool('four', { ...pool('four', '10.244.0.0/16'), ipip: 'Always' });
  lab.plan.setRoute('10.245.2.0/26', ['10.0.0.2']);
  lab.tell(4, policy());
  lab.tell(6, policy6);
  lab.all();
  const via = (prefix: string, table_id: number) =>
    (lab.wanted.get(`route:connectivity/${table_id}/${prefix}`) as Route | undefined)?.paths[0];
  const tunnel = { via: 'interface', interface: 'ipip-10.0.0.2' };
  t.match(via('10.244.2.0/26', 0), tunnel);
  t.match(via('10.0.0.2/32', 2), tunnel, 'the node itself, though others of its prefixes are steered');
  t.match(via('10.245.2.0/26', 0), { via: 'lookup' }, 'what would go in clear goes by SRv6');
  t.match(via('fd00::2/128', 2), { via: 'lookup' });
  lab.plan.setRoute('10.244.2.0/26', []);
  lab.all();
  t.match(via('10.0.0.2/32', 2), { via: 'lookup' }, 'nothing of it is encrypted any more');
  lab.plan.setRoute('10.244.2.0/26', ['10.0.0.2']);
  lab.look({ ipsec: { psk: new Secret('a key'), psk_version: 1 } }, { node: { ip6: 'fd00::1' } });
  lab.all();
  t.notOk(lab.steered['10.244.2.0/26'], 'nor where IPsec cannot carry it');
  t.end();
});
