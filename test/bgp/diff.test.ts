import type { Peer } from 'gobgp-grpc-stubs';
import t from 'tap';
import {
  assignmentOf,
  type BgpState,
  type BgpStep,
  type DiffOptions,
  diffBgp,
  stateAfter,
} from '../../src/bgp/diff.js';
import { type LocalPath, localPathOf, pathMessage } from '../../src/bgp/local-paths.js';
import { type ActualPeer, actualPeer, peerMessage } from '../../src/bgp/peer-state.js';
import type { BgpPlan } from '../../src/bgp/plan.js';
import { type Cluster, planOf } from './cluster.js';

const peers = {
  a: { peerIP: '10.0.0.8', asNumber: 65_001 },
  b: { peerIP: '10.0.0.9', asNumber: 64_512, filters: ['f'] },
};
const base: Cluster = {
  peers,
  filters: { f: { importV4: [{ action: 'Accept' }], exportV4: [{ action: 'Accept' }] } },
  pools: { p: { cidr: '10.1.0.0/16' } },
  local: [{ prefix: '10.1.1.0/26' }, { prefix: '10.1.2.0/26' }],
};

/** A peer as gobgpd would tell it after it was added. */
function told(peer: BgpPlan['peers'] extends ReadonlyMap<string, infer P> ? P : never): ActualPeer {
  const { conf, timers, transport, ttl_security, ebgp_multihop } = peerMessage(peer, false);
  return actualPeer({
    conf: { auth_password: '', ...conf },
    timers,
    transport,
    ttl_security,
    ebgp_multihop,
    afi_safis: [],
  } as unknown as Peer)!;
}

/** What gobgpd has once the plan is carried out. */
function stateOf(plan: Pick<BgpPlan, 'peers' | 'paths' | 'policies'>): BgpState {
  const names = (direction: string) =>
    [...(plan.policies.policies.find(({ name }) => name === `calico-${direction}`)?.statements ?? [])].map(
      ({ name }) => name,
    );
  return {
    peers: new Map([...plan.peers].map(([address, peer]) => [address, told(peer)])),
    statements: { import: names('import'), export: names('export') },
    rules: plan.policies.rules,
    assigned: { import: assignmentOf('import'), export: assignmentOf('export') },
    owed: new Map(),
  };
}

const nothing: BgpState = {
  peers: new Map(),
  statements: { import: undefined, export: undefined },
  rules: undefined,
  assigned: { import: 'accept', export: 'accept' },
  owed: new Map(),
};

const newest: DiffOptions = {
  updates: true,
  withdraws: true,
  may_withdraw: true,
  learned: () => [],
  owed: false,
};
const oldest: DiffOptions = { ...newest, updates: false, withdraws: false };

const shown = (steps: readonly BgpStep[]) =>
  steps.map((step): string => {
    switch (step.type) {
      case 'delete_peer':
        return `${step.type} ${step.address}${step.comes_back ? ' comes back' : ''}`;
      case 'update_peer':
        return `${step.type} ${step.peer.address}${step.ends_session ? ' new session' : ''}`;
      case 'add_peer':
        return `${step.type} ${step.peer.address}`;
      case 'delete_path':
        return `${step.type} ${step.path.prefix}`;
      case 'add_paths':
        return `${step.type} ${step.paths.map(({ prefix }) => prefix).join(' ')}`;
      case 'assign_policy':
        return `${step.type} ${step.direction}`;
      case 'note_told':
        return `${step.type} ${step.addresses.join(' ')}`;
      case 'withdraw_rejected':
        return [step.type, ...step.learned].join(' ');
      case 'judge_imports':
      case 'judge_exports':
        return `${step.type} ${step.address}`;
      default:
        return step.type;
    }
  });

/** From what gobgpd has by the one to the other. */
function change(before: Cluster, after: Cluster, options = newest): readonly string[] {
  const had = planOf(before);
  return shown(diffBgp(planOf(after), stateOf(had), had.paths, options));
}

t.test('a new gobgpd gets policies before paths, and paths before peers', async (t) => {
  t.strictSame(shown(diffBgp(planOf(base), nothing, new Map(), newest)), [
    'set_policies',
    'assign_policy import',
    'assign_policy export',
    'add_paths 10.1.1.0/26 10.1.2.0/26',
    'add_peer 10.0.0.8',
    'add_peer 10.0.0.9',
  ]);
});

t.test('what it has already is not done again', async (t) => {
  t.strictSame(change(base, base), []);
  t.strictSame(
    change(base, { ...base, peers: { ...peers, a: { ...peers.a, reachableBy: '10.0.0.7' } } }),
    [],
  );
});

t.test('what goes goes in reverse', async (t) => {
  t.strictSame(change(base, { ...base, peers: { a: peers.a }, local: [{ prefix: '10.1.1.0/26' }] }), [
    'delete_peer 10.0.0.9',
    'delete_path 10.1.2.0/26',
    'set_policies',
  ]);
});

t.test('with an own path goes its place: no peer is told of another node’s path to the same', async (t) => {
  const vip = { prefix: '203.0.113.1/32', source: 'service' } as const;
  const serving = { ...base, local: [...base.local!, vip, { ...vip, prefix: 'fd00:1::1/128' }] };
  const had = planOf(serving);
  for (const options of [newest, oldest]) {
    const steps = diffBgp(planOf(base), stateOf(had), had.paths, options);
    t.strictSame(shown(steps), [
      'set_policies',
      'delete_path 203.0.113.1/32',
      'delete_path fd00:1::1/128',
      'set_policies',
    ]);
    const [meanwhile, after] = steps.flatMap((step) => (step.type === 'set_policies' ? [step.policies] : []));
    t.strictSame(after, planOf(base).policies);
    const exported = meanwhile!.policies.find(({ name }) => name === 'calico-export')!;
    const statements = [...exported.statements!];
    const first = statements.findIndex(({ name }) => name!.startsWith('export all'));
    t.match(statements.slice(first, first + 2), [
      {
        conditions: { route_type: 'local', prefix_set: { name: 'export all leaving-4' } },
        actions: { route_action: 'accept' },
      },
      { conditions: { route_type: 'local', prefix_set: { name: 'export all leaving-6' } } },
    ]);
    t.equal(first, 1, 'after what filters say');
    t.match(
      meanwhile!.sets.find(({ name }) => name === 'export all leaving-4'),
      { prefixes: [{ ip_prefix: '203.0.113.1/32', mask_length_min: 32, mask_length_max: 32 }] },
    );
  }
  t.strictSame(change({ ...serving, peers: {} }, { ...base, peers: {} }), [
    'delete_path 203.0.113.1/32',
    'delete_path fd00:1::1/128',
    'set_policies',
  ]);
});

t.test('who is not known as a whole removes nothing', async (t) => {
  const options = { ...newest, may_withdraw: false };
  t.strictSame(
    change(base, { ...base, local: [] }, options).filter((step) => step.startsWith('delete')),
    [],
  );
});

t.test('a peer is changed in place where gobgpd can, and made anew where it cannot', async (t) => {
  const one = (more: object, options = newest) =>
    change(base, { ...base, peers: { ...peers, a: { ...peers.a, ...more } } }, options);
  const anew = ['delete_peer 10.0.0.8 comes back', 'add_peer 10.0.0.8'];
  for (const more of [{ keepaliveTime: '9s' }, { ttlSecurity: 3 }]) {
    t.strictSame(one(more), ['update_peer 10.0.0.8'], JSON.stringify(more));
    t.strictSame(one(more, oldest), anew);
  }
  for (const more of [
    { asNumber: 65_009 },
    { localASNumber: 65_010 },
    { peerIP: '10.0.0.8:1790' },
    { sourceAddress: 'None' },
    { maxRestartTime: '30s' },
    { numAllowedLocalASNumbers: 1 },
  ]) {
    t.strictSame(one(more), ['update_peer 10.0.0.8 new session'], JSON.stringify(more));
    t.strictSame(one(more, oldest), anew, JSON.stringify(more));
  }
});

t.test('a password that changes changes its peer alone; one that is gone leaves it', async (t) => {
  const secret = { secretKeyRef: { name: 's', key: 'k' } };
  const locked = { ...base, peers: { ...peers, a: { ...peers.a, password: secret, filters: ['f'] } } };
  const has = (k: string, more: object = {}) => ({
    ...locked,
    ...more,
    secrets: { s: { k } },
  });
  t.strictSame(change(has('one'), has('one')), []);
  t.strictSame(change(has('one'), has('two')), ['update_peer 10.0.0.8 new session']);
  t.strictSame(change(has('one'), has('two'), oldest), [
    'delete_peer 10.0.0.8 comes back',
    'add_peer 10.0.0.8',
  ]);
  const nothing_known = { ...locked, secrets: {} };
  for (const options of [newest, oldest])
    for (const secrets of [{}, { s: undefined }]) {
      t.strictSame(
        change(has('one'), { ...locked, secrets }, options),
        [],
        'the session stays as it is, and so do its policies',
      );
      t.strictSame(change({ ...locked, secrets }, has('one'), options), [
        ...(options === newest
          ? ['update_peer 10.0.0.8 new session']
          : ['delete_peer 10.0.0.8 comes back', 'add_peer 10.0.0.8']),
      ]);
    }
  t.strictSame(
    change(has('one'), { ...nothing_known, filters: { f: { importV4: [{ action: 'Reject' }] } } }),
    [
      'set_policies',
      'judge_imports 10.0.0.8',
      'judge_imports 10.0.0.9',
      ...['8', '9'].map((n) => `judge_exports 10.0.0.${n}`),
    ],
    'another filter holds for it all the same',
  );
  const other_as = { ...nothing_known, peers: { ...peers, a: { ...locked.peers.a, asNumber: 65_009 } } };
  const moved = diffBgp(planOf(other_as), stateOf(planOf(has('one'))), planOf(base).paths, newest);
  t.strictSame(shown(moved), ['update_peer 10.0.0.8 new session']);
  const added = moved.find((step) => step.type === 'update_peer');
  t.equal(added?.peer.password?.reveal(), 'one', 'it keeps the password that it has');
  t.strictSame(
    shown(diffBgp(planOf(nothing_known), nothing, planOf(base).paths, newest)),
    ['set_policies', 'assign_policy import', 'assign_policy export', 'add_peer 10.0.0.9'],
    'it is not made without',
  );
  t.strictSame(
    change(base, nothing_known).some((step) => step.startsWith('update_peer')),
    false,
    'nor is one without changed',
  );
});

t.test('filters that change are judged anew at their peer, and nowhere else', async (t) => {
  const other = (filters: object) => ({ ...base, filters: { f: filters } });
  const accept = [{ action: 'Accept' }];
  const reject = [{ action: 'Reject' }];
  t.strictSame(change(base, other({ importV4: reject, exportV4: accept })), [
    'set_policies',
    'judge_imports 10.0.0.9',
  ]);
  t.strictSame(change(base, other({ importV4: accept, exportV4: reject })), [
    'set_policies',
    'judge_exports 10.0.0.9',
  ]);
  t.strictSame(
    change(base, other({ importV4: accept, exportV4: reject }), oldest),
    ['note_told 10.0.0.9', 'set_policies', 'withdraw_rejected', 'judge_exports 10.0.0.9'],
    'before 4.6 gobgpd does not withdraw what is let out no more: it is withdrawn here, and the session lasts',
  );
  t.strictSame(change(base, other({ importV4: reject, exportV4: accept }), oldest), [
    'set_policies',
    'judge_imports 10.0.0.9',
  ]);
  t.strictSame(
    change(
      { ...base, peers: { b: peers.b } },
      { ...base, peers: { a: { ...peers.a, filters: ['f'] }, b: peers.b } },
    ),
    ['set_policies', 'add_peer 10.0.0.8'],
    'the place of a peer’s rules among those of others is no change of them',
  );
});

t.test('a rule of all is judged anew where it concerns a route of others, and nowhere else', async (t) => {
  const learned = ['10.1.9.0/26', '10.2.0.0/24', '203.0.113.0/24'];
  const of = (more: Partial<DiffOptions> = {}) => ({ ...newest, learned: () => learned, ...more });
  const judged = ['judge_exports 10.0.0.8', 'judge_exports 10.0.0.9'];
  const blocks = { ...base, local: [...base.local!, { prefix: '10.1.3.0/26' }] };
  t.strictSame(
    change(base, blocks, of()),
    ['set_policies', 'add_paths 10.1.3.0/26'],
    'a block is claimed: nobody has told anything within it',
  );
  t.strictSame(change(blocks, base, of()), ['delete_path 10.1.3.0/26', 'set_policies']);
  const pool = (cidr: string, more: object = {}) => ({ ...base, pools: { p: { cidr, ...more } } });
  t.strictSame(change(base, pool('10.1.0.0/15'), of()), ['set_policies']);
  t.strictSame(change(pool('10.1.0.0/16'), pool('10.0.0.0/8'), of()), ['set_policies', ...judged]);
  t.strictSame(change(base, pool('10.1.0.0/16', { disableBGPExport: true }), of()), [
    'set_policies',
    ...judged,
  ]);
  t.strictSame(
    change(base, pool('10.1.0.0/16', { disableBGPExport: true }), of({ withdraws: false })),
    ['set_policies', 'withdraw_rejected 10.1.9.0/26', ...judged],
    'what nobody is to be told any more is withdrawn where gobgpd does not do so itself',
  );
  t.strictSame(change(pool('10.0.0.0/8'), base, of({ withdraws: false })).slice(0, 2), [
    'set_policies',
    'withdraw_rejected 10.2.0.0/24',
  ]);
  const claimed = { ...base, local: [...base.local!, { prefix: '10.1.9.0/25' }] };
  t.strictSame(
    change(base, claimed, of({ withdraws: false })).slice(0, 2),
    ['set_policies', 'withdraw_rejected 10.1.9.0/26'],
    'a route within a block of this node',
  );
  const unknown = { ...stateOf(planOf(base)), rules: undefined };
  t.strictSame(
    shown(diffBgp(planOf(blocks), unknown, planOf(base).paths, of())),
    ['set_policies', 'add_paths 10.1.3.0/26', ...judged],
    'where nobody knows what held before all is judged',
  );
  t.strictSame(
    change(base, base, of({ owed: true })),
    ['withdraw_rejected'],
    'what was not come to is not forgotten',
  );
});

t.test('what gobgpd has after a round is what it is told', async (t) => {
  const secret = { secretKeyRef: { name: 's', key: 'k' } };
  const locked = { ...base, peers: { ...peers, a: { ...peers.a, password: secret } } };
  const before = stateOf(planOf({ ...locked, secrets: { s: { k: 'one' } } }));
  for (const cluster of [base, { ...locked, secrets: { s: { k: 'two' } } }, { ...locked, secrets: {} }]) {
    const after = stateAfter(planOf(cluster), before);
    t.strictSame(diffBgp(planOf(cluster), after, planOf(cluster).paths, newest), []);
    for (const peer of planOf(cluster).peers.values())
      if (peer.pending !== true)
        t.strictSame({ ...told(peer), session: 'unknown' }, after.peers.get(peer.address));
  }
});

t.test('a path with other attributes replaces the one that is there', async (t) => {
  const advertised = {
    default: { prefixAdvertisements: [{ cidr: '10.1.1.0/24', communities: ['65000:1'] }] },
  };
  t.strictSame(change(base, { ...base, configurations: advertised }), ['add_paths 10.1.1.0/26']);
});

t.test('an own path comes back from gobgpd as it went', async (t) => {
  const paths: LocalPath[] = [
    { prefix: '10.1.1.0/26', next_hop: '10.0.0.1', communities: ['65000:1', '65000:1:2'], local_pref: 7 },
    { prefix: 'fd01::/122', next_hop: 'fd00::1', communities: [], local_pref: 100 },
  ];
  for (const path of paths) t.strictSame(localPathOf(pathMessage(path) as never), path);
});

t.test('a peer that this program has not made is removed', async (t) => {
  const state = stateOf(planOf(base));
  const stranger = { ...told(planOf(base).peers.get('10.0.0.8')!), address: '10.0.0.77', mark: 'by hand' };
  const with_it = { ...state, peers: new Map([...state.peers, ['10.0.0.77', stranger]]) };
  t.strictSame(shown(diffBgp(planOf(base), with_it, planOf(base).paths, newest)), ['delete_peer 10.0.0.77']);
});

t.test('a peer has told all when it has of each family that it restarts gracefully with', (t) => {
  const hasTold = (...states: readonly object[]): unknown =>
    actualPeer({
      conf: { neighbor_address: '10.0.0.2', description: '', auth_password: '', peer_asn: 64512 },
      afi_safis: states.map((state) => ({ mp_graceful_restart: { state } })),
    } as unknown as Peer)?.end_of_rib;
  const over = { received: true, end_of_rib_received: true };
  t.equal(hasTold(over, { received: true, end_of_rib_received: false }), false, 'SR policies come later');
  t.equal(hasTold(over, over), true);
  t.equal(
    hasTold(over, { received: false, end_of_rib_received: false }),
    true,
    'it does not have that family',
  );
  t.equal(hasTold({ end_of_rib_received: true }, {}), true, 'of one that does not say with which');
  t.equal(hasTold({}, {}), false);
  t.equal(hasTold(), false);
  t.end();
});
