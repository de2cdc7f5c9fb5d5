/** FRR as a peer; graceful restart, and what changes while a session lasts, as BIRD and FRR see it. */
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { BgpNet, unfit } from './bgp-net.js';
import { BgpNode, gobgpds, until } from './bgp-node.js';
import { Bird, Frr, program } from './routers.js';

const skip =
  unfit() ||
  (program('bird') === undefined && 'BIRD is not installed: apt-get install bird2') ||
  (program('bgpd') === undefined && 'FRR is not installed: apt-get install frr') ||
  ((await gobgpds()).length === 0 && 'gobgpd is not installed: apt-get install gobgpd');
for (const { binary, version, major } of await gobgpds())
  t.test(version, { skip, timeout: 300_000 }, async (t) => {
    const net = new BgpNet();
    const within = net.add('node', ['10.0.0.1/24', 'fd00::1/64']);
    const node = new BgpNode({ name: 'n', ip4: '10.0.0.1', ip6: 'fd00::1', binary, within });
    const frr = new Frr(net, net.add('frr', ['10.0.0.11/24', 'fd00::11/64'])).start(`
router bgp 65001
 bgp router-id 10.0.0.11
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp graceful-restart
 neighbor 10.0.0.1 remote-as 64512
 neighbor 10.0.0.1 password pw-frr
 neighbor 10.0.0.1 ttl-security hops 1
 neighbor 10.0.0.1 timers connect 1
 neighbor fd00::1 remote-as 64512
 neighbor fd00::1 timers connect 1
 address-family ipv4 unicast
  network 198.51.100.0/24
  no neighbor fd00::1 activate
 exit-address-family
 address-family ipv6 unicast
  network fd02::/64
  neighbor fd00::1 activate
 exit-address-family
`);
    const bird = new Bird(net, net.add('bird', ['10.0.0.12/24'])).start(`
router id 10.0.0.12; protocol device {}
protocol static { ipv4; route 203.0.113.0/24 blackhole; }
protocol bgp x_node {
  local 10.0.0.12 as 65002; neighbor 10.0.0.1 as 64512; graceful restart on;
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  ipv4 { import all; export where source = RTS_STATIC; };
}`);
    t.teardown(async () => {
      await node.close();
      net.close();
      frr.remove();
      bird.remove();
    });
    for (const kind of ['BGPConfiguration', 'BGPFilter', 'IPAMBlock', 'Service', 'EndpointSlice'] as const)
      node.set(kind, 'none', undefined);
    node.set('Node', 'n', {
      metadata: {
        annotations: {
          'projectcalico.org/IPv4Address': '10.0.0.1/24',
          'projectcalico.org/IPv6Address': 'fd00::1/64',
        },
      },
    });
    node.set('IPPool', 'p', { spec: { cidr: '10.1.0.0/16' } });
    node.set('BlockAffinity', 'b', { spec: { cidr: '10.1.1.0/26', node: 'n', state: 'confirmed' } });
    node.set('BlockAffinity', 'b6', { spec: { cidr: 'fd01::/122', node: 'n', state: 'confirmed' } });
    node.secret('s', { k: 'pw-frr' });
    const safe = { password: { secretKeyRef: { name: 's', key: 'k' } }, ttlSecurity: 1 };
    node.set('BGPPeer', 'frr', { spec: { peerIP: '10.0.0.11', asNumber: 65_001, ...safe } });
    node.set('BGPPeer', 'frr6', { spec: { peerIP: 'fd00::11', asNumber: 65_001 } });
    node.set('BGPPeer', 'bird', { spec: { peerIP: '10.0.0.12', asNumber: 65_002 } });
    await node.start();

    await until('FRR', () => frr.routes().get('10.1.1.0/26') && frr.routes('ipv6').has('fd01::/122'));
    t.equal(frr.routes().get('10.1.1.0/26'), '10.0.0.1', 'with MD5 and GTSM');
    await until('BIRD', () => bird.routes('node').has('10.1.1.0/26'));
    await until('routes', () => node.routes.size === 3);
    t.same(Object.fromEntries(node.routes), {
      '198.51.100.0/24': '10.0.0.11',
      'fd02::/64': 'fd00::11',
      '203.0.113.0/24': '10.0.0.12',
    });
    await until('synced', () => node.synced);

    const { pid } = node;
    process.kill(pid, 'SIGKILL');
    // Looked at until all is over: a route that is away for a moment is seen.
    const lost = new Set<string>();
    const look = () => {
      if (!bird.routes('node').has('10.1.1.0/26')) lost.add('BIRD');
      if (!frr.routes().has('10.1.1.0/26')) lost.add('FRR');
    };
    await until('another gobgpd', () => {
      look();
      return node.pid !== pid;
    });
    await until(
      'nobody is waited for',
      async () => {
        look();
        return (
          (await node.describe()).routes.peers_waited_for === 0 && bird.isUp('node') && frr.isUp('10.0.0.1')
        );
      },
      90_000,
    );
    t.same([...lost], [], 'routers keep what they have of a gobgpd that died');
    t.same(
      node.told.filter((line) => line.startsWith('-')),
      [],
      'and so does this node',
    );
    t.match(bird.ask('show protocols all x_node'), /Restart time: +120/);

    /** What the routers were without while this was changed. */
    const without = async (change: () => void, over: () => boolean | Promise<boolean>): Promise<string[]> => {
      const missed = new Set<string>();
      const see = () => {
        if (!bird.routes('node').has('10.1.1.0/26')) missed.add('BIRD: route');
        if (!bird.isUp('node')) missed.add('BIRD: session');
        if (!frr.routes().has('10.1.1.0/26')) missed.add('FRR: route');
        if (!frr.isUp('10.0.0.1')) missed.add('FRR: session');
      };
      change();
      await until('over', async () => {
        see();
        return over();
      });
      // A session that ends does so a moment later.
      for (const end = Date.now() + 5000; Date.now() < end; ) {
        see();
        await sleep(20);
      }
      await until(
        'as before',
        () => bird.routes('node').has('10.1.1.0/26') && frr.routes().has('10.1.1.0/26'),
      );
      return [...missed].sort();
    };
    const peers = (more: object) => () => {
      node.set('BGPPeer', 'frr', { spec: { peerIP: '10.0.0.11', asNumber: 65_001, ...safe, ...more } });
      node.set('BGPPeer', 'bird', { spec: { peerIP: '10.0.0.12', asNumber: 65_002, ...more } });
    };
    const filter = (...exportV4: readonly object[]) => node.set('BGPFilter', 'out', { spec: { exportV4 } });
    node.set('BlockAffinity', 'b2', { spec: { cidr: '10.1.2.0/26', node: 'n', state: 'confirmed' } });
    filter();
    const have = (prefix: string) => bird.routes('node').has(prefix) && frr.routes().has(prefix);
    const have_not = (prefix: string) => !bird.routes('node').has(prefix) && !frr.routes().has(prefix);
    await until('another block', () => have('10.1.2.0/26'));
    const told = node.told.length;
    t.same(await without(peers({ filters: ['out'] }), () => true), [], 'a filter costs nothing');
    const equal = { cidr: '10.1.2.0/26', matchOperator: 'Equal', action: 'Reject' };
    t.same(
      await without(
        () => filter(equal),
        () => have_not('10.1.2.0/26'),
      ),
      [],
      'what it rejects is withdrawn, and nothing else',
    );
    t.same(
      await without(
        () => filter(),
        () => have('10.1.2.0/26'),
      ),
      [],
    );
    const timed = await without(peers({ filters: ['out'], keepaliveTime: '20s' }), async () => {
      const [one, other] = [await node.peer('10.0.0.11'), await node.peer('10.0.0.12')];
      return one?.timers?.config?.hold_time === 60 && other?.timers?.config?.hold_time === 60;
    });
    // A gobgpd that cannot change a session ends it: FRR knows RFC 8538 and keeps the routes, BIRD does not.
    if (major === '4') t.same(timed, [], 'timers cost nothing');
    else t.same(timed, ['BIRD: route', 'BIRD: session', 'FRR: session']);
    const restart = { filters: ['out'], keepaliveTime: '20s', maxRestartTime: '77s' };
    const anew = await without(peers(restart), async () => {
      const [one, other] = [await node.peer('10.0.0.11'), await node.peer('10.0.0.12')];
      return one?.graceful_restart?.restart_time === 77 && other?.graceful_restart?.restart_time === 77;
    });
    t.notOk(anew.includes('FRR: route'), 'a new session costs who knows RFC 8538 no route');
    t.same(
      node.told.slice(told).filter((line) => line.startsWith('-')),
      [],
      'this end keeps all',
    );
  });
