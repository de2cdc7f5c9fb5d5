import { type BriefPath, families, type Path, type PathInput } from 'gobgp-grpc-stubs';
import t from 'tap';
import { type BgpState, diffBgp } from '../../src/bgp/diff.js';
import { type LocalPath, localPathOf, pathMessage, samePath } from '../../src/bgp/local-paths.js';
import { peerChange, peerMessage, toldPeer } from '../../src/bgp/peer-state.js';
import type { Srv6Inputs } from '../../src/bgp/plan.js';
import { RemoteTable } from '../../src/bgp/remote-table.js';
import { srPath, srPolicyTexts } from '../../src/bgp/sr-paths.js';
import { candidateOf, srPolicyKey } from '../../src/desired/sr-policy.js';
import { type OwnSids, ownSids } from '../../src/desired/srv6.js';
import { at, planOf } from './cluster.js';

const pools = { localsid_pool: 'fcff::/48', policy_pool: 'cafe::/118' };
const own = ownSids(pools, 'n1', undefined) as OwnSids;
const [sid4, sid6] = own.sids as [OwnSids['sids'][number], OwnSids['sids'][number]];
const endpoint = 'fd00::1';

/** As gobgpd tells what it was told. */
const asTold = (path: PathInput, more: object = {}): Path =>
  ({ neighbor_ip: '', identifier: 0, is_withdraw: false, ...path, ...more }) as unknown as Path;

/** As the watch says it. */
const briefly = (whole: Path): BriefPath => {
  const { neighbor_ip, identifier, is_withdraw } = whole;
  return { prefix: undefined, next_hop: '', neighbor_ip, identifier, is_withdraw, whole };
};

const tlvs = (path: Path) =>
  path.pattrs.flatMap((attribute) =>
    attribute.type === 'tunnel_encap' ? attribute.tlvs.flatMap((each) => each.tlvs) : [],
  );

t.test('an own policy is as the Go implementation announces it, and is read back', (t) => {
  for (const [sid, color] of [
    [sid4, 4],
    [sid6, 6],
  ] as const) {
    const path = srPath(sid, endpoint);
    t.equal(path.prefix, srPolicyKey({ endpoint, color, distinguisher: 0 }));
    const message = asTold(pathMessage(path));
    t.match(message, {
      family: families.ipv6_sr_policy,
      nlri: { type: 'sr_policy', color, distinguisher: 0 },
    });
    t.strictSame(
      tlvs(message).map(({ type }) => type),
      ['sr_binding_sid', 'sr_segment_list', 'sr_preference', 'sr_priority'],
    );
    const back = localPathOf(message)!;
    t.ok(samePath(back, path) && back.prefix === path.prefix);
    const [key, text] = srPolicyTexts(message)!;
    t.match(candidateOf(key, text), {
      endpoint,
      families: [color],
      bsid: sid.bsid,
      preference: 11,
      priority: 10,
      lists: [{ weight: 12, sids: [sid.sid] }],
    });
  }
  t.notOk(samePath(srPath(sid4, endpoint), srPath({ ...sid4, bsid: 'cafe::1' }, endpoint)));
  t.end();
});

t.test('what is not understood is told as that', (t) => {
  const message = (list: object, nlri: object = {}) =>
    asTold({
      family: families.ipv6_sr_policy,
      nlri: { type: 'sr_policy', distinguisher: 1, color: 4, endpoint: Buffer.alloc(16, 1), ...nlri },
      pattrs: [{ type: 'tunnel_encap', tlvs: [{ type: 15, tlvs: [{ type: 'sr_segment_list', ...list }] }] }],
    } as unknown as PathInput);
  const why = (list: object, nlri?: object): unknown => candidateOf(...srPolicyTexts(message(list, nlri))!);
  const b = (more: object = {}) => ({ type: 'b', sid: Buffer.alloc(16, 2), ...more });
  const ends = b({ endpoint_behavior_structure: { behavior: 'end_dt4' } });
  t.match(why({ segments: [b(), ends] }), { lists: [{ weight: 1 }], preference: 100, priority: 128 });
  t.match(
    why({ segments: Array.from({ length: 200 }, () => ends) }),
    /17 segments/,
    'of more no more is kept',
  );
  t.match(why({ segments: [{ type: 'a', label: 16 }, ends] }), /no SID/);
  t.match(why({ segments: [b({ sid: Buffer.alloc(3) }), ends] }), /no SID/);
  t.match(why({ segments: [ends, { type: 'unknown' }] }), /no SID/);
  t.match(why({ segments: [b()] }), /does not say/);
  t.match(why({ segments: [ends] }, { endpoint: Buffer.alloc(4, 10) }), /no IPv6 address/);
  t.match(why({ segments: [ends] }, { endpoint: Buffer.alloc(3) }), /no IPv6 address/);
  t.equal(
    srPolicyTexts(
      asTold({ family: families.ipv4_unicast, nlri: { type: 'prefix', prefix: '10.0.0.0', prefix_len: 8 } }),
    ),
    undefined,
  );
  t.end();
});

t.test('policies of others are in the table as routes are, and held for a peer that restarts', (t) => {
  const table = new RemoteTable();
  const path = (bsid: string, more: object = {}) =>
    briefly(asTold(pathMessage(srPath({ ...sid4, bsid }, 'fd00::2')), { neighbor_ip: 'fd00::2', ...more }));
  const key = srPolicyKey({ endpoint: 'fd00::2', color: 4, distinguisher: 0 });
  const changes = () => [...table.changes(10)].map(([name, told]) => [name, told?.next_hops.length]);
  table.begin();
  table.take({ paths: [path('cafe::1')], initial: true, whole: true });
  table.complete();
  t.strictSame(changes(), [[key, 1]]);
  t.strictSame([...table.prefixes()], [], 'no prefix that a rule could be about');
  table.take({ paths: [path('cafe::1')], initial: false, whole: true });
  t.strictSame(changes(), [], 'the same again');
  const route = { prefix: '10.44.2.0/26', next_hop: '10.0.0.2', neighbor_ip: 'fd00::2', identifier: 0 };
  table.take({ paths: [{ ...route, is_withdraw: false }, path('cafe::3')], initial: false, whole: true });
  t.strictSame(
    changes(),
    [
      [key, 1],
      ['10.44.2.0/26', 1],
    ],
    'a policy is told before the routes that came with it',
  );
  table.take({ paths: [{ ...route, is_withdraw: true }, path('cafe::1')], initial: false, whole: true });
  changes();
  table.take({ paths: [path('cafe::2')], initial: false, whole: true });
  t.strictSame(changes(), [[key, 1]]);
  table.await('fd00::2', 1000);
  table.take({ paths: [path('cafe::2', { is_withdraw: true })], initial: false, whole: true });
  t.strictSame(changes(), [], 'its peer is waited for');
  table.expire(1000);
  t.strictSame(changes(), [[key, undefined]]);
  t.end();
});

t.test('a policy that is meant for other nodes is none here', (t) => {
  const table = new RemoteTable();
  const path = (neighbour: string, targets: readonly string[], bsid = 'cafe::1') => {
    const message = pathMessage(srPath({ ...sid4, bsid }, 'fd00::2'));
    const target = { type: 'ipv4_address_specific', is_transitive: true, local_admin: 0 };
    const communities = [
      ...targets.map((address) => ({ ...target, sub_type: 2, address })),
      { ...target, sub_type: 3, address: '10.0.0.1' },
      { type: 'two_octet_as_specific', is_transitive: true, sub_type: 2, asn: 64512, local_admin: 1 },
    ];
    const pattrs = [...(message.pattrs ?? []), { type: 'extended_communities', communities }];
    return briefly(asTold({ ...message, pattrs } as PathInput, { neighbor_ip: neighbour }));
  };
  const changes = () => [...table.changes(10).values()].map((told) => told?.next_hops.length);
  const take = (...paths: readonly BriefPath[]) => table.take({ paths, initial: false, whole: true });
  table.begin();
  take(path('fd00::2', ['10.0.0.9', '10.0.0.1']));
  table.complete();
  t.strictSame(changes(), [undefined], 'nobody knows yet who this node is');
  table.identify('10.0.0.1');
  t.strictSame(changes(), [1]);
  table.identify('10.0.0.1');
  t.strictSame(changes(), [], 'the same again');
  take(path('fd00::2', ['10.0.0.9']));
  t.strictSame(changes(), [undefined], 'for another one');
  take(path('fd00::2', ['10.0.0.9']), path('fd00::3', ['10.0.0.1'], 'cafe::3'));
  t.strictSame(changes(), [1], 'of two the one that is meant for it');
  table.identify('10.0.0.9');
  t.strictSame(changes(), [1], 'another identifier');
  take(path('fd00::2', []));
  t.strictSame(changes(), [1], 'for all');
  const of_many = srPolicyTexts(
    path(
      'fd00::2',
      Array.from({ length: 1000 }, (_, at) => `10.1.${at >> 8}.${at & 255}`),
    ).whole!,
  )!;
  t.ok(of_many[1].length < 8192, 'of many targets not all are kept');
  t.match(candidateOf(...of_many), { families: [4] });
  t.end();
});

t.test('a policy that is withdrawn is no prefix to any rule', (t) => {
  const path = srPath(sid4, endpoint);
  const state: BgpState = {
    peers: new Map(),
    statements: { import: [], export: [] },
    rules: [],
    assigned: { import: '', export: '' },
    owed: new Map(),
  };
  const policies = { sets: [], policies: [], rules: [] };
  const options = { updates: true, withdraws: true, may_withdraw: true, learned: () => [], owed: false };
  const none = { peers: new Map(), policies, paths: new Map() };
  const steps = diffBgp(none, state, new Map([[path.prefix, path]]), options);
  t.match(
    steps.filter(({ type }) => type === 'delete_path'),
    [{ path: { prefix: path.prefix } }],
  );
  t.end();
});

t.test('what a node announces of itself: its locator, and a policy for each SID that VPP has', (t) => {
  const nodes = { n: at(1), m: at(2) };
  const mine = ownSids(pools, 'n', undefined) as OwnSids;
  const keys = [4, 6].map((color) => srPolicyKey({ endpoint, color, distinguisher: 0 }));
  const cidr = 'fcff:0:0:11aa::/64';
  const plan = (programmed: Srv6Inputs['programmed'], paths: ReadonlyMap<string, LocalPath> = new Map()) =>
    planOf({
      nodes,
      // Which of them counts connectivity says: VPP has to have it first.
      pools: { 'sr-localsids-pool-n': { cidr } },
      more: { srv6: { programmed, paths } },
    });
  const all = { own: mine };
  const announced = plan(all).paths;
  t.strictSame([...announced.keys()], [mine.locator, ...keys]);
  t.strictSame([...plan({ own: undefined }, announced).paths.keys()], [], 'there is to be none');
  t.strictSame([...plan(undefined).paths.keys()], [], 'nobody has said');
  const of_others = new Map([
    ['fd10::/48', { prefix: 'fd10::/48', next_hop: endpoint, communities: [], local_pref: 100 }],
    [
      srPolicyKey({ endpoint: 'fd00::9', color: 4, distinguisher: 0 }),
      srPath({ ...sid4, sid: 'fd10::9' }, 'fd00::9'),
    ],
  ]);
  t.strictSame(
    plan(undefined, new Map([...of_others, ...announced])).paths,
    announced,
    'but gobgpd has it of an earlier life',
  );
  const next = ownSids(pools, 'n', { name: 'sr-localsids-pool-n', prefix: cidr }) as OwnSids;
  t.strictSame([...plan({ own: next }, announced).paths.keys()], [cidr, ...keys], 'in place of that');

  const statements = (of: ReturnType<typeof plan>) =>
    of.policies.policies.flatMap(({ statements = [] }) => [...statements]).map(({ name }) => name ?? '');
  t.ok(statements(plan(all)).some((name) => name.startsWith('export sr-policies')));
  t.match(peerMessage(plan(all).peers.get('fd00::2')!, false).afi_safis, [
    { config: { family: families.ipv6_unicast } },
    { config: { family: families.ipv6_sr_policy, enabled: true } },
  ]);
  const without = planOf({ nodes });
  t.notOk(statements(without).some((name) => name.includes('sr-policies')));
  t.equal([...peerMessage(without.peers.get('fd00::2')!, false).afi_safis!].length, 1);
  t.equal(
    peerChange(plan(all).peers.get('fd00::2')!, toldPeer(without.peers.get('fd00::2')!)),
    'new_session',
    'a family is of the session',
  );
  t.end();
});

t.test('of two sessions with one node that of IPv6 has the policies', async (t) => {
  const srv6: Srv6Inputs = { programmed: { own }, paths: new Map() };
  const has = (more: Parameters<typeof planOf>[0]) =>
    Object.fromEntries(
      [...planOf({ ...more, more: { srv6, ...more.more } }).peers].map(([address, peer]) => [
        address,
        peer.sr_policies === true,
      ]),
    );
  const nodes = { n: at(1), m: at(2) };
  t.strictSame(has({ nodes }), { '10.0.0.2': false, 'fd00::2': true });
  const one = has({ nodes, more: { addresses: { ip4: '10.0.0.1' } } });
  t.strictSame(one, { '10.0.0.2': true }, 'where there is one it has them');
  const by_objects = has({
    nodes,
    configurations: { default: { nodeToNodeMeshEnabled: false } },
    peers: {
      reflector: { peerIP: '10.0.0.2', asNumber: 64_512 },
      router: { peerIP: '10.0.0.9', asNumber: 64_512 },
      router6: { peerIP: 'fd00::9', asNumber: 64_512 },
    },
  });
  t.strictSame(
    by_objects,
    { '10.0.0.2': true, '10.0.0.9': true, 'fd00::9': true },
    'of others nothing is known',
  );
});
