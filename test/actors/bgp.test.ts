import { type BriefPath, DeadlineError, DisconnectedError, RefusedError } from 'gobgp-grpc-stubs';
import t from 'tap';
import { bgp } from '../../src/actors/bgp.js';
import type { GobgpdRun } from '../../src/bgp/launcher.js';
import { pathMessage } from '../../src/bgp/local-paths.js';
import { bgp_pace } from '../../src/bgp/pace.js';
import { type KindName, kinds, type ListedKind } from '../../src/calico/kinds/kinds.js';
import { Secret } from '../../src/config/secret.js';
import type { BgpMessage, BgpProcessMessage } from '../../src/messages/bgp.js';
import type { AnyChange, ClusterMessage } from '../../src/messages/cluster.js';
import type { RemoteRoutes } from '../../src/messages/connectivity.js';
import type { NodeReady, SubscribeNode } from '../../src/messages/node.js';
import type { SubscribeProgrammed } from '../../src/messages/services.js';
import { FakeGobgp } from '../bgp/fake-gobgp.js';
import { actorKit, type Teardown } from '../kit/actor-kit.js';

const ready: NodeReady = {
  type: 'NodeReady',
  generation: 1,
  vpp: 'vpp',
  mtu: 1500,
  node: { ip4: '10.0.0.1' },
  main_uplink: 'main-eth0',
  subnets: {},
  redirects: [],
  buffers_taken: 0,
  workers: 0,
};

const listed = [
  'Node',
  'IPPool',
  'BGPConfiguration',
  'BGPPeer',
  'BGPFilter',
  'BlockAffinity',
  'IPAMBlock',
] as const;
const later = ['Service', 'EndpointSlice'] as const;

async function started(t: Teardown, { services = false }: { readonly services?: boolean } = {}) {
  const daemons = new Map<number, FakeGobgp>();
  let pid = 100;
  let has_ip6 = false;
  let waited_ms = (): number => 0;
  const kit = await actorKit<BgpMessage>(t, (neighbours) =>
    bgp(
      {
        process: neighbours.mailbox<BgpProcessMessage>('bgp-process').ref,
        uplink: neighbours.mailbox<SubscribeNode>('uplink').ref,
        cluster: neighbours.mailbox<ClusterMessage>('cluster').ref,
        connectivity: neighbours.mailbox<RemoteRoutes>('connectivity').ref,
        ...(services && { services: neighbours.mailbox<SubscribeProgrammed>('services').ref }),
        connect: async (run) => {
          const daemon = daemons.get(run.pid);
          if (daemon === undefined) throw new DisconnectedError(run.api_socket, 'nobody listens');
          return daemon.gobgp;
        },
        waited_ms: () => waited_ms(),
        canListenOn6: async () => has_ip6,
        report: () => undefined,
      },
      { ...bgp_pace, node_name: 'n', ip4_only: false, log_level: 'info' },
    ),
  );
  const { clock } = kit;
  /** Of what is told without saying more this node's own Node is a part. */
  const nothing_more = (kind: KindName) =>
    new Map<string, unknown>(
      kind === 'Node' ? [['n', kinds.Node.pick('n', { metadata: { name: 'n' } }).value]] : [],
    );
  const tell = (kind: KindName, changed: ReadonlyMap<string, unknown> = nothing_more(kind), synced = true) =>
    kit.ask((reply) => ({ type: 'ClusterChange', change: { kind, synced, changed } as AnyChange, reply }));
  const object = async (kind: ListedKind, name: string, manifest: object | undefined) => {
    const { value } =
      manifest === undefined ? {} : kinds[kind].pick(name, { metadata: { name }, ...manifest });
    await tell(kind, new Map([[name, value]]));
    await clock.advance(bgp_pace.debounce_ms);
  };
  /** A gobgpd that runs from now on. */
  const launch = async (daemon: FakeGobgp | undefined, more: Partial<GobgpdRun> = {}): Promise<GobgpdRun> => {
    pid += 1;
    if (daemon !== undefined) daemons.set(pid, daemon);
    const run: GobgpdRun = {
      pid,
      api_socket: '/run/api.sock',
      version: daemon?.version_text ?? '',
      adopted: false,
      succeeds: false,
      exited: new Promise(() => undefined),
      ...more,
    };
    kit.ref.tellUrgent({ type: 'Started', run });
    await kit.settle();
    await clock.advance(bgp_pace.debounce_ms);
    return run;
  };
  const connectivity = kit.mailbox<RemoteRoutes>('connectivity');
  const process = kit.mailbox<BgpProcessMessage>('bgp-process');
  const cluster = kit.mailbox<ClusterMessage>('cluster');
  /** What connectivity was told since the last time, and takes in now. */
  const routes = async (): Promise<readonly string[]> => {
    const lines: string[] = [];
    for (;;) {
      const messages = await connectivity.messages();
      if (messages.length === 0) return lines;
      for (const { changed, synced, reply } of messages) {
        for (const [prefix, route] of changed)
          lines.push(`${prefix} ${route?.next_hops.join(' ') ?? 'gone'}`);
        if (synced) lines.push('synced');
        reply.resolve();
      }
      await kit.settle();
    }
  };
  const ip6 = () => {
    has_ip6 = true;
  };
  /** Of each millisecond gobgpd's threads wait for a CPU so long. */
  const waitsForCpu = (share: number): void => {
    waited_ms = () => share * clock.now_ms();
  };
  return { ip6, kit, clock, tell, object, launch, routes, connectivity, process, cluster, waitsForCpu };
}

/** A node that peers with 10.0.0.9 and has a block, with its gobgpd. */
async function peered(t: Teardown, daemon = new FakeGobgp(), options: Parameters<typeof started>[1] = {}) {
  const all = await started(t, options);
  for (const kind of [...listed, ...later]) await all.tell(kind);
  await all.object('BGPPeer', 'tor', { spec: { peerIP: '10.0.0.9', asNumber: 65_001 } });
  await all.object('BlockAffinity', 'b', { spec: { cidr: '10.1.1.0/26', node: 'n', state: 'confirmed' } });
  await all.kit.tell(ready);
  const run = await all.launch(daemon);
  await all.clock.advance(bgp_pace.debounce_ms);
  return { ...all, daemon, run };
}

const remote = (prefix: string, next_hop = '10.0.0.9', is_withdraw = false): BriefPath => ({
  prefix,
  next_hop,
  neighbor_ip: '10.0.0.9',
  identifier: 0,
  is_withdraw,
});

t.test('BGP is started when the node has its addresses and the objects are known', async (t) => {
  const daemon = new FakeGobgp();
  const { kit, tell, launch, clock, process, cluster } = await started(t);
  t.match(await process.messages(), [{ type: 'Attach' }]);
  t.match(await cluster.messages(), [{ type: 'Subscribe' }]);
  await launch(daemon);
  await clock.advance(1000);
  t.same(daemon.take(), []);
  for (const kind of listed) await tell(kind);
  await clock.advance(1000);
  t.same(daemon.take(), [], 'the address of the node is not there');
  const without_peers = await started(t);
  for (const kind of listed.filter((each) => each !== 'BGPPeer')) await without_peers.tell(kind);
  await without_peers.kit.tell(ready);
  const waiting = new FakeGobgp();
  await without_peers.launch(waiting);
  await without_peers.clock.advance(1000);
  t.same(waiting.take(), [], 'nobody knows whom to peer with');
  await kit.tell(ready);
  await clock.advance(1000);
  t.same(daemon.take(), [
    ...['startBgp 64512', 'setPolicies', 'assign import accept', 'assign export reject', 'setLogLevel info'],
  ]);
  t.equal(kit.node().gauges.pid, 101);
});

t.test('policies come before paths, and paths before peers', async (t) => {
  const { daemon } = await peered(t);
  t.same(daemon.take().slice(1, -1), [
    ...[
      'setPolicies',
      'assign import accept',
      'assign export reject',
      'addPathStream 10.1.1.0/26',
      'addPeer 10.0.0.9',
    ],
  ]);
});

t.test(
  'a port that is taken is told, and tried again by another gobgpd: this one holds half of it',
  async (t) => {
    const daemon = new FakeGobgp();
    daemon.absent.add('0.0.0.0');
    const { kit, clock, process, launch, object } = await peered(t, daemon);
    const described = async () =>
      (await kit.system.describe('root/bgp-session', 500)) as { trouble?: string };
    t.match((await described()).trouble, /BGP cannot be started on port 179: 0\.0\.0\.0: cannot assign/);
    t.same(daemon.take(), ['startBgp 64512', 'startBgp 64512'], 'with IPv6 and without');
    t.match(await process.messages(), [{ type: 'Attach' }, { type: 'Renew', pid: 101 }]);
    await clock.advance(60_000);
    const warned = kit.log.lines.filter((line) => JSON.stringify(line).includes('cannot be started on port'));
    t.equal(warned.length, 1, 'once for a cause');
    const next = new FakeGobgp();
    await launch(next);
    await clock.advance(1000);
    t.ok(next.take().includes('addPeer 10.0.0.9'));
    t.notOk((await described()).trouble);

    await object('BGPConfiguration', 'default', { spec: { bindMode: 'NodeIP' } });
    t.match((await process.messages()).at(-1), { type: 'Renew' });
    const only4 = new FakeGobgp();
    only4.refuse('startBgp');
    await launch(only4);
    await process.messages();
    await clock.advance(200);
    t.ok(only4.take().includes('addPeer 10.0.0.9'), 'one address: nothing of it is left open');
    t.same(await process.messages(), []);
  },
);

t.test('without IPv6 BGP is on IPv4 alone, and IPv6 is looked for again, ever more seldom', async (t) => {
  const daemon = new FakeGobgp();
  daemon.absent.add('::');
  const { kit, clock, process, launch, ip6 } = await peered(t, daemon);
  t.ok(daemon.take().includes('addPeer 10.0.0.9'));
  t.match(await kit.system.describe('root/bgp-session', 500), {
    objects: { 'BGPConfiguration default': [/IPv6 addresses cannot be listened on/] },
  });
  await process.messages();
  await clock.advance(bgp_pace.look6_first_ms * 2);
  t.same(await process.messages(), []);
  ip6();
  await clock.advance(bgp_pace.look6_first_ms);
  t.same(await process.messages(), [], 'the second look is later');
  await clock.advance(bgp_pace.look6_first_ms * 2);
  t.match(await process.messages(), [{ type: 'Renew', reason: /IPv6/ }]);
  // Somebody else has the port: it is not begun anew again and again.
  const again = new FakeGobgp();
  again.absent.add('::');
  await launch(again);
  await clock.advance(3_600_000);
  const renewed = (await process.messages()).length;
  t.ok(renewed > 0 && renewed < 8, `${renewed} times in an hour`);
});

t.test('best paths are told, one message at a time, and synced when the peers have told all', async (t) => {
  const { daemon, routes, connectivity, clock } = await peered(t);
  daemon.up('10.0.0.9', false, clock.wall_ms());
  daemon.paths(remote('10.1.8.0/26'));
  daemon.paths(remote('10.1.9.0/26'));
  const first = await connectivity.message('RemoteRoutes');
  t.same([...first.changed], [['10.1.8.0/26', { prefix: '10.1.8.0/26', next_hops: ['10.0.0.9'] }]]);
  t.equal(first.synced, false);
  t.equal(first.begins, true);
  await connectivity.none();
  first.reply.resolve();
  t.same(await routes(), ['10.1.9.0/26 10.0.0.9']);
  await clock.advance(10_000);
  t.same(await routes(), [], 'the peer is up and has not told all');
  daemon.up('10.0.0.9', true, clock.wall_ms());
  await clock.advance(4000);
  t.same(await routes(), [], 'gobgpd says so a moment too early');
  await clock.advance(3000);
  t.same(await routes(), ['synced']);
  daemon.paths(remote('10.1.8.0/26', '10.0.0.9', true));
  t.same(await routes(), ['10.1.8.0/26 gone', 'synced']);
});

t.test('what comes while connectivity is busy goes with the next message, and not without end', async (t) => {
  const { daemon, connectivity, kit } = await peered(t);
  const taken = daemon.taken;
  const many = (second: number) =>
    Array.from({ length: 1500 }, (_, n) => remote(`10.${second}.${n >> 8}.${n & 255}/32`));
  for (const second of [1, 2, 3]) daemon.paths(...many(second));
  const first = await connectivity.message('RemoteRoutes');
  t.equal(first.changed.size, bgp_pace.routes_max);
  await connectivity.none();
  t.equal(daemon.taken - taken, 2, 'gobgpd is read on when less is untold');
  first.reply.resolve();
  let told = first.changed.size;
  let messages = 1;
  for (let next = await connectivity.messages(); next.length > 0; next = await connectivity.messages()) {
    for (const { changed, reply } of next) {
      told += changed.size;
      messages += 1;
      reply.resolve();
    }
    await kit.settle();
  }
  t.equal(told, 4500);
  t.ok(messages <= 6, `${messages} messages`);
});

t.test('a peer that does not come is waited for no longer than it may take', async (t) => {
  const { routes, clock } = await peered(t);
  await clock.advance(119_000);
  t.same(await routes(), []);
  await clock.advance(3000);
  t.same(await routes(), ['synced']);
});

t.test('what connectivity does not take in is told again', async (t) => {
  const { daemon, connectivity, routes, clock } = await peered(t);
  daemon.paths(remote('10.1.8.0/26'));
  await connectivity.refuse('RemoteRoutes', new Error('busy'));
  await connectivity.none();
  await clock.advance(1000);
  const again = await connectivity.message('RemoteRoutes');
  t.same([...again.changed.keys()], ['10.1.8.0/26']);
  t.equal(again.begins, true, 'nobody knows of this life yet');
  again.reply.resolve();
  daemon.paths(remote('10.1.9.0/26'));
  const next = await connectivity.message('RemoteRoutes');
  t.equal(next.begins, false);
  next.reply.resolve();
  t.same(await routes(), []);
});

t.test('a gobgpd that dies costs no route; what its peers do not tell again goes', async (t) => {
  const { daemon, kit, routes, launch, clock } = await peered(t);
  daemon.paths(remote('10.1.8.0/26'), remote('10.1.9.0/26'));
  await routes();
  daemon.up('10.0.0.9', true, clock.wall_ms());
  await clock.advance(7000);
  t.same(await routes(), ['synced']);
  kit.ref.tellUrgent({ type: 'Gone', exit: { pid: 101, reason: 'SIGKILL' } });
  daemon.lose(new DisconnectedError('', 'lost'));
  await clock.advance(5000);
  const next = new FakeGobgp();
  await launch(next, { succeeds: true });
  await clock.advance(200);
  t.match(
    next.added,
    [{ graceful_restart: { local_restarting: true } }],
    'peers are told that VPP forwards on',
  );
  t.same(await routes(), []);
  next.up('10.0.0.9', false, clock.wall_ms());
  next.paths(remote('10.1.8.0/26'));
  await clock.advance(5000);
  t.same(await routes(), []);
  next.up('10.0.0.9', true, clock.wall_ms());
  await clock.advance(7000);
  t.same(await routes(), ['10.1.9.0/26 gone', 'synced']);
});

t.test('a gobgpd that stays away has its routes withdrawn when the peers’ time is over', async (t) => {
  const { daemon, kit, routes, clock } = await peered(t);
  daemon.paths(remote('10.1.8.0/26'));
  await routes();
  kit.ref.tellUrgent({ type: 'Gone', exit: { pid: 101, reason: 'SIGKILL' } });
  await clock.advance(100_000);
  t.same(await routes(), []);
  await clock.advance(35_000);
  t.same(await routes(), ['10.1.8.0/26 gone']);
});

t.test('one that runs is adopted: what it has is not told it again', async (t) => {
  const daemon = new FakeGobgp();
  const { kit, object, launch, routes, clock } = await peered(t, daemon);
  daemon.up('10.0.0.9', true, clock.wall_ms());
  daemon.paths(remote('10.1.8.0/26'));
  await routes();
  daemon.take();
  // The connection is lost, gobgpd is not; meanwhile a block has become another.
  kit.ref.tellUrgent({ type: 'Gone', exit: { pid: 101, reason: 'not known' } });
  await object('BlockAffinity', 'b', { spec: { cidr: '10.1.2.0/26', node: 'n', state: 'confirmed' } });
  const adopted = daemon.again();
  await launch(adopted, { adopted: true });
  t.same(adopted.take(), [], 'before it has told its table nothing is changed');
  // The own path is not the best of its prefix: its table has it, what it tells of the best ones has not.
  adopted.tell(
    {
      type: 'paths',
      paths: [remote('10.1.1.0/26', '10.0.0.9'), remote('10.1.8.0/26')],
      initial: true,
      whole: true,
    },
    { type: 'paths_complete' },
  );
  await routes();
  await clock.advance(1000);
  const calls = adopted.take();
  t.ok(calls.includes('deletePath 10.1.1.0'));
  t.ok(calls.indexOf('deletePath 10.1.1.0') < calls.indexOf('addPathStream 10.1.2.0/26'));
  t.ok(calls.includes('addPathStream 10.1.2.0/26'));
  t.notOk(
    calls.some((call) => /^(add|delete|update)Peer/.test(call)),
    'no session is touched',
  );
  t.same(await routes(), []);
});

t.test('an actor that crashes alone tells nothing before it has read gobgpd’s table again', async (t) => {
  const daemon = new FakeGobgp();
  const { kit, launch, connectivity, routes, clock, tell, object } = await peered(t, daemon);
  const twice = [remote('10.1.8.0/26'), { ...remote('10.1.8.0/26', '10.0.0.8'), identifier: 1 }];
  daemon.up('10.0.0.9', true, clock.wall_ms());
  daemon.paths(...twice);
  t.same(await routes(), ['10.1.8.0/26 10.0.0.8 10.0.0.9']);
  await clock.advance(10_000);
  t.same(await routes(), ['synced']);

  await kit.crash(new Error('a broken invariant'));
  await clock.advance(1000);
  for (const kind of [...listed, ...later]) await tell(kind);
  await object('BGPPeer', 'tor', { spec: { peerIP: '10.0.0.9', asNumber: 65_001 } });
  await object('BlockAffinity', 'b', { spec: { cidr: '10.1.1.0/26', node: 'n', state: 'confirmed' } });
  await kit.tell(ready);
  const adopted = daemon.again();
  await launch(adopted, { adopted: true });
  const initial = (...paths: readonly BriefPath[]) =>
    adopted.tell({ type: 'paths', paths, initial: true, whole: true });
  initial(twice[0]!);
  // More than may be untold later on: the table is read to its end.
  initial(...Array.from({ length: 3000 }, (_, n) => remote(`10.2.${n >> 8}.${n & 255}/32`)));
  await clock.advance(20_000);
  await connectivity.none();
  initial(twice[1]!);
  adopted.tell({ type: 'paths_complete' });
  const lines = await routes();
  t.equal(lines.length, 3001);
  t.equal(lines[0], '10.1.8.0/26 10.0.0.8 10.0.0.9', 'with all of its next hops at once');
  await clock.advance(10_000);
  t.same(await routes(), ['synced']);
});

t.test('an address of a service outlasts the time in which nobody knows what VPP serves', async (t) => {
  const daemon = new FakeGobgp();
  const { kit, object, launch, clock } = await peered(t, daemon, { services: true });
  const programmed = async (changed: object, more: object = {}) => {
    const message = { type: 'ServicesProgrammed', whole: false, known: true, ...more } as const;
    await kit.tell({ ...message, changed: new Map(Object.entries(changed)) });
    await clock.advance(bgp_pace.debounce_ms);
  };
  await object('BGPConfiguration', 'default', { spec: { serviceExternalIPs: [{ cidr: '192.0.2.9/32' }] } });
  await object('Service', 'default/web', {
    metadata: { name: 'web', namespace: 'default' },
    spec: { type: 'ClusterIP', clusterIP: '10.96.0.9', externalIPs: ['192.0.2.9'], ports: [{ port: 80 }] },
  });
  // What an earlier life of this program has announced.
  const earlier = {
    prefix: '192.0.2.9/32',
    next_hop: '10.0.0.1',
    communities: [],
    local_pref: 2_147_482_623,
  };
  await daemon.addPath({ path: pathMessage(earlier) as never });
  daemon.take();
  kit.ref.tellUrgent({ type: 'Gone', exit: { pid: 101, reason: 'not known' } });
  const adopted = daemon.again();
  await launch(adopted, { adopted: true });
  adopted.tell({ type: 'paths_complete' });
  await programmed({}, { whole: true, known: false });
  await clock.advance(10_000);
  t.notOk(adopted.take().includes('deletePath 192.0.2.9'), 'VPP may serve it');
  await programmed({ '192.0.2.9': true });
  t.notOk(adopted.take().includes('deletePath 192.0.2.9'), 'it does');
  await programmed({ '192.0.2.9': false });
  t.ok(adopted.take().includes('deletePath 192.0.2.9'));
});

t.test('what gobgpd refuses is told on its object, tried again, and costs no other', async (t) => {
  const daemon = new FakeGobgp();
  daemon.refuse('addPeer', new RefusedError('AddPeer', 2, 'odd peer'));
  const { kit, clock, object } = await peered(t, daemon);
  await object('BGPPeer', 'tor2', { spec: { peerIP: '10.0.0.10', asNumber: 65_001 } });
  const objects = async () =>
    ((await kit.system.describe('root/bgp-session', 500)) as { objects: Record<string, string[]> }).objects;
  t.ok(daemon.peers.has('10.0.0.10'));
  await clock.advance(30_000);
  t.same([...daemon.peers.keys()].sort(), ['10.0.0.10', '10.0.0.9']);
  t.same(await objects(), {});
  daemon.refuse('addPeer', new RefusedError('AddPeer', 2, 'odd peer'));
  await object('BGPPeer', 'tor3', { spec: { peerIP: '10.0.0.11', asNumber: 65_001 } });
  t.match(await objects(), { 'BGPPeer tor3': [/10\.0\.0\.11: .*odd peer/] });
});

t.test('a password is asked for, given to gobgpd, and shown to nobody', async (t) => {
  const { daemon, kit, tell, object, clock, cluster } = await peered(t);
  await cluster.messages();
  await object('BGPPeer', 'safe', {
    spec: { peerIP: '10.0.0.12', asNumber: 65_001, password: { secretKeyRef: { name: 's', key: 'k' } } },
  });
  t.match(await cluster.messages(), [{ type: 'WantSecrets', names: ['s'] }]);
  t.notOk(daemon.peers.has('10.0.0.12'));
  await tell('Secret', new Map([['s', new Map([['k', new Secret('hidden')]])]]));
  await clock.advance(1000);
  t.equal(daemon.peers.get('10.0.0.12')?.peer.conf.auth_password, 'hidden');
  const described = await kit.system.describe('root/bgp-session', 500);
  t.notMatch(JSON.stringify([described, kit.node(), kit.log.lines]), /hidden/);
  daemon.take();
  await tell('Secret', new Map([['s', undefined]]));
  await clock.advance(1000);
  t.same(daemon.take(), [], 'a Secret that goes changes nothing of a session');
  await object('BGPPeer', 'safe', undefined);
  t.same(daemon.take().slice(0, 1), ['deletePeer 10.0.0.12']);
  t.match(await cluster.messages(), [{ type: 'WantSecrets', names: [] }]);
});

t.test('another AS takes another gobgpd; one that does not answer does, too', async (t) => {
  const { daemon, object, process, clock } = await peered(t);
  await process.messages();
  await object('BGPConfiguration', 'default', { spec: { asNumber: 64_999 } });
  t.match(await process.messages(), [{ type: 'Renew', pid: 101, reason: /AS, router id, listening/ }]);
  await object('BGPConfiguration', 'default', undefined);
  await clock.advance(60_000);
  await process.messages();
  for (let i = 0; i < 9; i += 1) daemon.refuse('getBgp', new DeadlineError('GetBgp', 10_000));
  await object('IPPool', 'p', { spec: { cidr: '10.1.0.0/16' } });
  await clock.advance(5000);
  t.match((await process.messages()).at(0), { type: 'Renew', reason: /no answer/ });
});

t.test('a gobgpd that never answers is begun anew', async (t) => {
  const { launch, process, clock } = await started(t);
  await process.messages();
  await launch(undefined);
  await clock.advance(14_000);
  await process.none();
  await clock.advance(2000);
  t.match(await process.messages(), [{ type: 'Renew', pid: 101 }]);
});

t.test('a gobgpd that waits for a CPU is given its time, but not for ever', async (t) => {
  const starts = await started(t);
  await starts.process.messages();
  starts.waitsForCpu(0.9);
  await starts.launch(undefined);
  await starts.clock.advance(120_000);
  await starts.process.none();
  await starts.clock.advance(60_000);
  t.match(await starts.process.messages(), [{ type: 'Renew', pid: 101 }]);

  const { daemon, process, clock, waitsForCpu } = await peered(t);
  await process.messages();
  for (let n = 0; n < 1000; n += 1) daemon.refuse('listPeer', new DeadlineError('ListPeer', 900));
  waitsForCpu(1);
  await clock.advance(20_000);
  t.notOk((await process.messages()).some(({ type }) => type === 'Renew'));
  await clock.advance(60_000);
  t.ok((await process.messages()).some(({ type }) => type === 'Renew'));
});

t.test('a node that is lost changes nothing of BGP', async (t) => {
  const { daemon, kit, clock } = await peered(t);
  daemon.take();
  await kit.tell({ type: 'NodeLost', generation: 1, reason: 'VPP died' });
  await clock.advance(60_000);
  t.same(daemon.take(), []);
  await kit.tell({ ...ready, generation: 2 });
  await clock.advance(1000);
  t.same(daemon.take(), [], 'nor one that is back as it was');
});

t.test('without Services nothing is withdrawn', async (t) => {
  const daemon = new FakeGobgp();
  const { kit, tell, object, launch, clock } = await started(t);
  for (const kind of listed) await tell(kind);
  await object('BlockAffinity', 'b', { spec: { cidr: '10.1.1.0/26', node: 'n', state: 'confirmed' } });
  await kit.tell(ready);
  await launch(daemon);
  await object('BlockAffinity', 'b', undefined);
  t.notOk(daemon.take().some((call) => call.startsWith('deletePath')));
  for (const kind of later) await tell(kind);
  await clock.advance(1000);
  t.ok(daemon.take().includes('deletePath 10.1.1.0'));
});

t.test('without its policies nothing is announced and nobody is peered with', async (t) => {
  const daemon = new FakeGobgp();
  for (let n = 0; n < 3; n += 1) daemon.refuse('setPolicies');
  const { clock } = await peered(t, daemon);
  t.notOk(daemon.take().some((each) => /^(assign|addPeer|addPath)/.test(each)));
  await clock.advance(bgp_pace.retry_max_ms);
  t.ok(daemon.take().includes('addPeer 10.0.0.9'), 'tried again');
});

t.test('without its policies nothing is called known as a whole, however long it takes', async (t) => {
  const daemon = new FakeGobgp();
  for (let n = 0; n < 100; n += 1) daemon.refuse('setPolicies');
  const { clock, routes } = await peered(t, daemon);
  await clock.advance(300_000);
  t.same(await routes(), [], 'what VPP has of an earlier life stays');
  daemon.errors.clear();
  await clock.advance(bgp_pace.retry_max_ms);
  daemon.up('10.0.0.9', true, clock.wall_ms() - 60_000);
  await clock.advance(60_000);
  t.same(await routes(), ['synced']);
});

t.test(
  'what a pool has kept from peers that went while no process was there is kept from them on',
  async (t) => {
    const pool = { spec: { cidr: '10.1.0.0/16', disableBGPExport: true } };
    const block = { spec: { cidr: '10.1.1.0/26', node: 'n', state: 'confirmed' } };
    const life = async (daemon: FakeGobgp, objects: readonly (readonly [ListedKind, object])[]) => {
      const all = await started(t);
      for (const kind of [...listed, ...later]) await all.tell(kind);
      for (const [kind, manifest] of objects) await all.object(kind, 'x', manifest);
      await all.kit.tell(ready);
      await all.launch(daemon, { adopted: daemon.asn !== 0 });
      daemon.tell({ type: 'paths_complete' });
      await all.clock.advance(1000);
      return all;
    };
    const first = new FakeGobgp();
    await life(first, [
      ['IPPool', pool],
      ['BlockAffinity', block],
    ]);
    t.same([...first.own.keys()], []);
    const second = first.again();
    second.asn = first.asn;
    await life(second, [['BlockAffinity', block]]);
    t.same([...second.own.keys()], [], 'by the next process');
    const third = second.again();
    third.asn = first.asn;
    const { object, clock } = await life(third, [['BlockAffinity', block]]);
    t.same([...third.own.keys()], [], 'and by that after it');
    await object('IPPool', 'y', { spec: { cidr: '10.1.0.0/17' } });
    await clock.advance(1000);
    t.same([...third.own.keys()], ['10.1.1.0/26'], 'another pool says otherwise');
  },
);

t.test('this node’s own Node is waited for, and not for ever', async (t) => {
  const { tell, object, kit, launch, clock, process } = await started(t);
  for (const kind of [...listed, ...later]) await tell(kind, new Map());
  await object('BGPPeer', 'tor', { spec: { peerIP: '10.0.0.9', asNumber: 65_001 } });
  await kit.tell(ready);
  const adopted = new FakeGobgp();
  await adopted.startBgp({ global: { asn: 64_999, listen_addresses: [] } });
  adopted.take();
  await process.messages();
  await launch(adopted, { adopted: true });
  await clock.advance(bgp_pace.own_node_ms - 5000);
  t.same(await process.messages(), [], 'it is not begun anew with the AS of all');
  t.same(adopted.take(), []);
  const described = (await kit.system.describe('root/bgp-session', 500)) as { objects: object };
  t.match(JSON.stringify(described.objects), /Node n.*is not there.*waits for it 120 s/);
  await clock.advance(10_000);
  t.match(await process.messages(), [{ type: 'Renew', reason: /AS/ }]);

  const late = await started(t);
  for (const kind of [...listed, ...later]) await late.tell(kind, new Map());
  await late.kit.tell(ready);
  const fresh = new FakeGobgp();
  await late.launch(fresh);
  await late.clock.advance(1000);
  t.same(fresh.take(), []);
  await late.object('Node', 'n', { metadata: { annotations: { 'projectcalico.org/ASNumber': '64999' } } });
  t.equal(fresh.take()[0], 'startBgp 64999', 'at once when it is there');
});

t.test('a connection that does not answer is closed before another is made', async (t) => {
  const daemon = new FakeGobgp();
  let closed = 0;
  daemon.close = () => {
    closed += 1;
  };
  for (let n = 0; n < 3; n += 1) daemon.refuse('getBgp');
  const { clock } = await peered(t, daemon);
  await clock.advance(1000);
  t.equal(closed, 3);
});

t.test('a call that gets no answer ends the round', async (t) => {
  const daemon = new FakeGobgp();
  for (let n = 0; n < 2; n += 1) daemon.refuse('addPathStream', new DeadlineError('AddPathStream', 30_000));
  const { clock } = await peered(t, daemon);
  t.notOk(daemon.take().some((each) => /^addPeer/.test(each)));
  await clock.advance(bgp_pace.retry_max_ms);
  t.ok(daemon.take().includes('addPeer 10.0.0.9'));
});

t.test('a gobgpd whose peers cannot be read any more is begun anew', async (t) => {
  const { clock, daemon, process } = await peered(t);
  await process.messages();
  for (let n = 0; n < 9; n += 1) daemon.refuse('listPeer', new DeadlineError('ListPeer', 30_000));
  await clock.advance(10 * bgp_pace.poll_idle_ms);
  t.ok((await process.messages()).some(({ type }) => type === 'Renew'));
});

t.test('peers that take long to be read are read the less often', async (t) => {
  const { daemon, clock } = await peered(t);
  const listPeer = daemon.listPeer.bind(daemon);
  daemon.listPeer = async function* () {
    await clock.sleep(500);
    yield* listPeer();
  };
  daemon.reads.length = 0;
  await clock.advance(100_000);
  const reads = daemon.reads.filter((each) => each === 'peers').length;
  t.ok(reads >= 35 && reads <= 40, `${reads} times while a peer is waited for: a look of 0.5 s, a rest of 2`);
});

t.test('what fails is tried again as often, whatever else changes', async (t) => {
  const daemon = new FakeGobgp();
  for (let n = 0; n < 10_000; n += 1) daemon.refuse('startBgp', new RefusedError('StartBgp', 2, 'in use'));
  const { clock, tell } = await peered(t, daemon);
  for (let n = 0; n < 200; n += 1) {
    await tell('EndpointSlice');
    await clock.advance(bgp_pace.debounce_ms);
  }
  await clock.advance(2 * bgp_pace.retry_max_ms);
  const left = () => daemon.errors.get('startBgp')!.length;
  const before = left();
  await clock.advance(2 * bgp_pace.retry_max_ms);
  t.ok(before - left() <= 4, `${before - left()} attempts in a minute, each by both families and by one`);
});

t.test('a node that registers anew keeps its AS and its sessions meanwhile', async (t) => {
  const { object, daemon, process, clock } = await peered(t);
  await object('Node', 'n', { metadata: { annotations: { 'projectcalico.org/ASNumber': '64512' } } });
  await process.messages();
  daemon.take();
  await object('Node', 'n', undefined);
  await clock.advance(1000);
  t.same(daemon.take(), []);
  t.same(await process.messages(), []);
});

const locked = {
  spec: {
    ...{ peerIP: '10.0.0.9', asNumber: 65_001, filters: ['f'] },
    password: { secretKeyRef: { name: 's', key: 'k' } },
  },
};
const told_secret = new Map([['s', new Map([['k', new Secret('hidden')]])]]);

/** A node whose one peer has a password and a filter, and where the Secret has not been read. */
async function lockedOut(t: Teardown, daemon: FakeGobgp, more: Partial<GobgpdRun> = {}) {
  const all = await started(t);
  for (const kind of [...listed, ...later]) await all.tell(kind);
  await all.object('BGPFilter', 'f', { spec: { exportV4: [{ action: 'Reject' }] } });
  await all.object('BGPPeer', 'tor', locked);
  await all.kit.tell(ready);
  await all.launch(daemon, more);
  await all.clock.advance(1000);
  return all;
}

for (const version of ['gobgpd version 4.8.0', 'gobgpd version 3.10.0'])
  t.test(`${version}: a password that is not known yet costs neither session nor filters`, async (t) => {
    const first = new FakeGobgp(version);
    const before = await lockedOut(t, first);
    await before.tell('Secret', told_secret);
    await before.clock.advance(1000);
    t.ok(first.peers.has('10.0.0.9'));
    const filters = first.statements('calico-export').filter((name) => name.includes('filter:f'));
    t.equal(filters.length, 1);

    const daemon = first.again();
    daemon.up('10.0.0.9', true, before.clock.wall_ms());
    daemon.tell({ type: 'paths_complete' });
    const { tell, clock, routes, object } = await lockedOut(t, daemon, { adopted: true });
    await clock.advance(20_000);
    t.same(
      daemon.take().filter((call) => !call.startsWith('setLogLevel')),
      [],
      'the process begins anew: not a call',
    );
    t.same(await routes(), ['synced']);
    await tell('Secret', told_secret);
    await clock.advance(1000);
    t.same(daemon.take(), [], 'nor when the password is read');
    await tell('Secret', new Map([['s', undefined]]));
    await clock.advance(1000);
    t.same(daemon.take(), [], 'nor when the Secret is deleted');
    t.same(
      daemon.statements('calico-export').filter((name) => name.includes('filter:f')),
      filters,
    );
    await object('BGPFilter', 'f', { spec: { exportV4: [{ action: 'Accept' }] } });
    t.ok(daemon.take().includes('setPolicies'), 'its filters change all the same');
  });

t.test('a peer whose password is not known yet is waited for, and told of the restart', async (t) => {
  const daemon = new FakeGobgp();
  const { tell, clock, routes, kit } = await lockedOut(t, daemon, { succeeds: true });
  t.ok(daemon.take().includes('setPolicies'), 'a Secret that nobody can read holds nothing else up');
  await clock.advance(30_000);
  t.same(await routes(), [], 'not synced: its routes have not been told');
  t.match(await kit.system.describe('root/bgp-session', 500), {
    peers: [{ address: '10.0.0.9', state: 'waits for its password' }],
  });
  await tell('Secret', told_secret);
  await clock.advance(1000);
  t.match(daemon.added, [{ graceful_restart: { local_restarting: true } }]);
  daemon.up('10.0.0.9', true, clock.wall_ms());
  await clock.advance(10_000);
  t.same(await routes(), ['synced']);

  const late = new FakeGobgp();
  const other = await lockedOut(t, late, { succeeds: true });
  await other.clock.advance(125_000);
  t.same(await other.routes(), ['synced'], 'no longer than a peer may take');
  await other.tell('Secret', told_secret);
  await other.clock.advance(1000);
  t.match(late.added, [{ graceful_restart: { local_restarting: false } }]);
});

t.test(
  'a Node that registers anew without its annotations costs no session, and says what holds',
  async (t) => {
    const { kit, object, daemon, process, clock, launch } = await peered(t);
    const annotations = {
      'projectcalico.org/ASNumber': '64999',
      'projectcalico.org/RouteReflectorClusterID': '244.0.0.1',
      'projectcalico.org/IPv4Address': '10.0.0.1/24',
    };
    await object('Node', 'n', { metadata: { annotations, labels: { rack: 'a' } } });
    t.match((await process.messages()).at(-1), { type: 'Renew' });
    const next = new FakeGobgp();
    await launch(next);
    await object('BGPPeer', 'rack', {
      spec: { nodeSelector: "rack == 'a'", peerIP: '10.0.0.8', asNumber: 65_001 },
    });
    await clock.advance(1000);
    t.ok(next.take().includes('addPeer 10.0.0.8'));
    const bare = { metadata: { annotations: { 'projectcalico.org/IPv4Address': '10.0.0.1/24' } } };
    for (const seen of ['gone', 'not seen to go']) {
      await object('Node', 'n', seen === 'gone' ? undefined : { metadata: {} });
      await object('Node', 'n', bare);
      await clock.advance(1000);
      t.same(next.take(), [], seen);
      t.same(await process.messages(), []);
      t.match(await kit.system.describe('root/bgp-session', 500), {
        objects: { 'Node n': [/AS 64999, which still holds/, /cluster 244\.0\.0\.1/, /label rack=a/] },
      });
      await object('Node', 'n', { metadata: { annotations, labels: { rack: 'a' } } });
      const { objects } = (await kit.system.describe('root/bgp-session', 500)) as { objects: object };
      t.same(objects, {});
    }
    await object('Node', 'n', { metadata: { annotations } });
    t.ok(next.take().includes('deletePeer 10.0.0.8'), 'a label that an operator takes away is gone');
    await object('Node', 'n', bare);
    t.match(await process.messages(), [{ type: 'Renew' }], 'and so is an annotation');
    t.same(
      daemon.take().filter((call) => call.startsWith('delete')),
      [],
    );
  },
);

t.test('what changes nothing costs nothing, and what changes paths reads nothing', async (t) => {
  const { daemon, tell, object, clock } = await peered(t);
  await clock.advance(5000);
  daemon.take();
  const policies = () => daemon.reads.filter((read) => read === 'policies').length;
  const before = policies();
  const rounds = () => daemon.reads.filter((read) => read === 'bgp').length;
  const rounds_before = rounds();
  for (let n = 0; n < 20; n += 1) {
    await tell(
      'EndpointSlice',
      new Map([[`default/web-${n}`, { service: 'default/web', family: 4, endpoints: [] }]]),
    );
    await clock.advance(100);
  }
  t.same(daemon.take(), []);
  t.equal(policies(), before);
  t.equal(rounds(), rounds_before, 'not a plan is made');
  await object('BlockAffinity', 'b2', { spec: { cidr: '10.1.2.0/26', node: 'n', state: 'confirmed' } });
  t.same(daemon.take(), ['setPolicies', 'addPathStream 10.1.2.0/26'], 'nobody is told anew what he knows');
  t.equal(policies(), before);
  await clock.advance(bgp_pace.reread_ms + bgp_pace.poll_idle_ms + 1000);
  t.equal(policies(), before + 1, 'now and then all is read');
  daemon.peers.delete('10.0.0.9');
  await clock.advance(bgp_pace.reread_ms + bgp_pace.poll_idle_ms + 1000);
  t.ok(daemon.take().includes('addPeer 10.0.0.9'), 'and mended');
});

t.test(
  'a session that is made anew keeps what its peer has told, though gobgpd shows the old one for a while',
  async (t) => {
    const { daemon, object, routes, clock } = await peered(t);
    daemon.paths(remote('10.1.8.0/26'));
    await routes();
    daemon.up('10.0.0.9', true, clock.wall_ms());
    await clock.advance(30_000);
    t.same(await routes(), ['synced']);
    daemon.take();
    await object('BGPPeer', 'tor', { spec: { peerIP: '10.0.0.9', asNumber: 65_001, maxRestartTime: '77s' } });
    t.same(daemon.take(), ['updatePeer 10.0.0.9']);
    await clock.advance(3000);
    daemon.paths(remote('10.1.8.0/26', '10.0.0.9', true));
    await clock.advance(3000);
    t.same(await routes(), []);
    daemon.up('10.0.0.9', true, clock.wall_ms());
    await clock.advance(7000);
    t.same(await routes(), ['10.1.8.0/26 gone', 'synced'], 'what the new one has not told is gone');
  },
);

t.test('a level of the log that gobgpd refuses costs nothing else', async (t) => {
  const daemon = new FakeGobgp();
  for (let n = 0; n < 9; n += 1) daemon.refuse('setLogLevel');
  const { kit } = await peered(t, daemon);
  t.ok(daemon.peers.has('10.0.0.9'));
  t.match(await kit.system.describe('root/bgp-session', 500), {
    objects: { 'BGPConfiguration default': [/spec\.logSeverityScreen/] },
  });
});

t.test('the end of a connection ends no other', async (t) => {
  const { kit, daemon, routes, clock } = await peered(t);
  daemon.paths(remote('10.1.8.0/26'));
  await routes();
  kit.ref.tellUrgent({ type: 'Lost', gobgp: new FakeGobgp().gobgp, reason: 'of an earlier one' });
  await clock.advance(1000);
  t.equal(kit.node().gauges.pid, 101);
  kit.ref.tellUrgent({ type: 'Lost', gobgp: daemon.gobgp, reason: 'its own' });
  await kit.settle();
  t.equal(kit.node().gauges.pid, 0);
});

t.test('a peer that tells too much is named, and has another try later', async (t) => {
  const { kit, daemon, clock } = await peered(t);
  t.match(daemon.added[0], {
    afi_safis: [{ prefix_limits: { max_prefixes: 200_000, shutdown_threshold_pct: 100 } }],
  });
  daemon.peers.get('10.0.0.9')!.over_limit = true;
  await clock.advance(11_000);
  t.match(await kit.system.describe('root/bgp-session', 500), {
    objects: { 'BGPPeer tor': [/10\.0\.0\.9: has told more than 200000 prefixes/] },
  });
  daemon.take();
  await clock.advance(bgp_pace.limit_pause_ms - 30_000);
  t.same(daemon.take(), []);
  await clock.advance(60_000);
  t.same(daemon.take(), ['deletePeer 10.0.0.9', 'addPeer 10.0.0.9']);
  const { objects } = (await kit.system.describe('root/bgp-session', 500)) as { objects: object };
  t.same(objects, {});
});

t.test('before 4.6 what a filter lets out no more is withdrawn, and nobody loses his session', async (t) => {
  const daemon = new FakeGobgp('gobgpd version 3.10.0');
  const { object, clock } = await peered(t, daemon);
  await object('BlockAffinity', 'b2', { spec: { cidr: '10.1.2.0/26', node: 'n', state: 'confirmed' } });
  await object('BGPFilter', 'f', { spec: {} });
  await object('BGPPeer', 'tor', { spec: { peerIP: '10.0.0.9', asNumber: 65_001, filters: ['f'] } });
  daemon.up('10.0.0.9', true, clock.wall_ms());
  daemon.take();
  daemon.learned.add('10.1.9.0/26');
  // 10.1.8.0/26 is gone meanwhile: gobgpd has told that by itself.
  const before = ['10.1.1.0/26', '10.1.2.0/26', '10.1.8.0/26', '10.1.9.0/26'];
  daemon.told.set('10.0.0.9', [before, ['10.1.2.0/26']]);
  await object('BGPFilter', 'f', { spec: { exportV4: [{ action: 'Reject' }] } });
  t.same(daemon.take(), [
    'setPolicies',
    ...['deletePath 10.1.1.0', 'addPathStream 10.1.1.0/26'],
    // Of another: nobody lets it in for a moment.
    ...['setPolicies', 'resetPeer 10.0.0.9 in', 'setPolicies', 'resetPeer 10.0.0.9 in'],
    'resetPeer 10.0.0.9 out',
  ]);
  daemon.told.set('10.0.0.9', [['10.1.2.0/26'], [], []]);
  daemon.refuse('addPathStream', new DeadlineError('AddPathStream', 30_000));
  await object('BGPFilter', 'f', { spec: { exportV4: [{ action: 'Reject' }, { action: 'Reject' }] } });
  await clock.advance(1000);
  const calls = daemon.take();
  t.ok(
    calls.lastIndexOf('deletePath 10.1.2.0') < calls.lastIndexOf('addPathStream 10.1.2.0/26'),
    'what was broken off is done',
  );
  t.ok(daemon.own.has('10.1.2.0/26'));
  await object('BlockAffinity', 'b3', { spec: { cidr: '10.1.3.0/26', node: 'n', state: 'confirmed' } });
  t.same(daemon.take(), ['setPolicies', 'addPathStream 10.1.3.0/26'], 'once');
  t.same(daemon.owed, []);

  daemon.told.set('10.0.0.9', [['10.1.7.0/26']]);
  await object('BGPFilter', 'f', { spec: { exportV4: [] } });
  daemon.take();
  t.same(daemon.owed, []);
  daemon.told.set('10.0.0.9', [['10.1.7.0/26'], []]);
  await object('BGPFilter', 'f', { spec: { exportV4: [{ action: 'Reject' }] } });
  t.same(
    daemon.take(),
    ['setPolicies', 'setPolicies', 'resetPeer 10.0.0.9 out'],
    'of what has gone by itself nothing is let in anew',
  );
});

t.test('before 4.6 what a process that died was still to withdraw is withdrawn by the next', async (t) => {
  const daemon = new FakeGobgp('gobgpd version 3.10.0');
  const { object, clock, kit } = await peered(t, daemon);
  const peer = { spec: { peerIP: '10.0.0.9', asNumber: 65_001, filters: ['f'] } };
  await object('BGPFilter', 'f', { spec: {} });
  await object('BGPPeer', 'tor', peer);
  daemon.up('10.0.0.9', true, clock.wall_ms());
  daemon.told.set('10.0.0.9', [['10.1.1.0/26', '10.1.9.0/26']]);
  // The policies are in force, and then the process is gone.
  daemon.deletePath = () => new Promise(() => undefined);
  const filter = { spec: { exportV4: [{ action: 'Reject' }] } };
  await object('BGPFilter', 'f', filter);
  t.same(daemon.owed, ['owed 10.0.0.9 4']);
  daemon.owe('10.0.0.66', ['10.1.6.0/26']);
  t.ok(daemon.own.has('10.1.1.0/26'), 'not withdrawn yet');
  await kit.tell(ready);

  const next = daemon.again();
  next.learned.add('10.1.9.0/26');
  next.told.set('10.0.0.9', [[]]);
  const later_life = await started(t);
  for (const kind of [...listed, ...later]) await later_life.tell(kind);
  await later_life.object('BGPFilter', 'f', filter);
  await later_life.object('BGPPeer', 'tor', peer);
  await later_life.object('BlockAffinity', 'b', {
    spec: { cidr: '10.1.1.0/26', node: 'n', state: 'confirmed' },
  });
  await later_life.kit.tell(ready);
  await later_life.launch(next, { adopted: true });
  next.tell({ type: 'paths_complete' });
  await later_life.clock.advance(1000);
  t.same(next.take(), [
    ...['deletePath 10.1.1.0', 'addPathStream 10.1.1.0/26'],
    ...['setPolicies', 'resetPeer 10.0.0.9 in', 'setPolicies', 'resetPeer 10.0.0.9 in'],
    'setLogLevel info',
  ]);
  t.same(next.owed, []);
});

t.test('a configuration that cannot be read in what matters changes nothing', async (t) => {
  const { kit, object, daemon, process, clock } = await peered(t);
  await process.messages();
  daemon.take();
  const trouble = async () =>
    JSON.stringify(((await kit.system.describe('root/bgp-session', 500)) as { objects: object }).objects);
  await object('BGPConfiguration', 'default', { spec: { asNumber: 64_999 } });
  t.match(await process.messages(), [{ type: 'Renew' }]);
  for (const spec of [{ asNumber: 'many' }, { nodeMeshPassword: { secretKeyRef: { key: 'k' } } }]) {
    await object('BGPConfiguration', 'default', { spec });
    await clock.advance(1000);
    t.match(await trouble(), /BGPConfiguration default.*cannot be read; what it said before holds/);
  }
  t.notOk(
    (await process.messages()).some((each) => each.type === 'Renew' && !/have changed/.test(each.reason)),
  );
  t.notOk(daemon.take().some((each) => /^(addPeer|deletePeer)/.test(each)));

  const fresh = await started(t);
  for (const kind of [...listed, ...later]) await fresh.tell(kind);
  await fresh.object('BGPConfiguration', 'default', { spec: { nodeMeshPassword: { secretKeyRef: {} } } });
  await fresh.kit.tell(ready);
  const waiting = new FakeGobgp();
  await fresh.launch(waiting);
  await fresh.clock.advance(1000);
  t.same(waiting.take(), [], 'a mesh without its password is no mesh');
  await fresh.object('BGPConfiguration', 'default', { spec: {} });
  await fresh.clock.advance(1000);
  t.ok(waiting.take().includes('startBgp 64512'));
});
