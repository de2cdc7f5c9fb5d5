import type { Peer } from 'gobgp-grpc-stubs';
import t from 'tap';
import { assignmentOf, type BgpState, type BgpStep, diffBgp } from '../../src/bgp/diff.js';
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
    paths: plan.paths,
    statements: { import: names('import'), export: names('export') },
    assigned: { import: assignmentOf('import'), export: assignmentOf('export') },
  };
}

const nothing: BgpState = {
  peers: new Map(),
  paths: new Map(),
  statements: { import: undefined, export: undefined },
  assigned: { import: 'accept', export: 'accept' },
};

const newest = { updates: true, withdraws: true, may_withdraw: true };
const oldest = { updates: false, withdraws: false, may_withdraw: true };

const shown = (steps: readonly BgpStep[]) =>
  steps.map((step): string => {
    switch (step.type) {
      case 'delete_peer':
        return `${step.type} ${step.address}${step.comes_back ? ' comes back' : ''}`;
      case 'add_peer':
      case 'update_peer':
        return `${step.type} ${step.peer.address}`;
      case 'delete_path':
        return `${step.type} ${step.path.prefix}`;
      case 'add_paths':
        return `${step.type} ${step.paths.map(({ prefix }) => prefix).join(' ')}`;
      case 'assign_policy':
        return `${step.type} ${step.direction}`;
      case 'judge_imports':
      case 'judge_exports':
        return `${step.type} ${step.address}`;
      default:
        return step.type;
    }
  });

/** From what gobgpd has by the one to the other. */
function change(before: Cluster, after: Cluster, options = newest): readonly string[] {
  return shown(diffBgp(planOf(after), stateOf(planOf(before)), options));
}

t.test('a new gobgpd gets policies before paths, and paths before peers', async (t) => {
  t.strictSame(shown(diffBgp(planOf(base), nothing, newest)), [
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
    'judge_exports 10.0.0.8',
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
  ])
    t.strictSame(one(more), anew, JSON.stringify(more));
});

t.test('a password that changes changes its peer alone; one that is gone leaves it', async (t) => {
  const secret = { secretKeyRef: { name: 's', key: 'k' } };
  const locked = { ...base, peers: { ...peers, a: { ...peers.a, password: secret } } };
  const has = (k: string) => ({ ...locked, secrets: { s: { k } } });
  t.strictSame(change(has('one'), has('one')), []);
  t.strictSame(change(has('one'), has('two')), ['update_peer 10.0.0.8']);
  t.strictSame(change(has('one'), has('two'), oldest), [
    'delete_peer 10.0.0.8 comes back',
    'add_peer 10.0.0.8',
  ]);
  t.strictSame(
    change(has('one'), { ...locked, secrets: { s: undefined } }),
    [],
    'the session stays as it is',
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
    ['delete_peer 10.0.0.9 comes back', 'set_policies', 'add_peer 10.0.0.9'],
    'before 4.6 what is no longer let through is not withdrawn: the peer gets a new session',
  );
  t.strictSame(
    change(base, { ...base, pools: { p: { cidr: '10.1.0.0/15' } } }, oldest),
    ['set_policies', 'judge_exports 10.0.0.8', 'judge_exports 10.0.0.9'],
    'what is said to all costs nobody a session',
  );
  t.strictSame(
    change(
      { ...base, peers: { b: peers.b } },
      { ...base, peers: { a: { ...peers.a, filters: ['f'] }, b: peers.b } },
    ),
    ['set_policies', 'add_peer 10.0.0.8'],
    'the place of a peer’s rules among those of others is no change of them',
  );
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
    { prefix: 'fd01::/122', next_hop: 'fd00::1', communities: [] },
  ];
  for (const path of paths) t.strictSame(localPathOf(pathMessage(path) as never), path);
});

t.test('a peer that this program has not made is removed', async (t) => {
  const state = stateOf(planOf(base));
  const stranger = { ...told(planOf(base).peers.get('10.0.0.8')!), address: '10.0.0.77', mark: 'by hand' };
  const with_it = { ...state, peers: new Map([...state.peers, ['10.0.0.77', stranger]]) };
  t.strictSame(shown(diffBgp(planOf(base), with_it, newest)), ['delete_peer 10.0.0.77']);
});
