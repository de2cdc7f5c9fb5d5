/**
 * Each field of BGPPeer, BGPConfiguration and BGPFilter, and what becomes of it at a router that nobody here wrote: BIRD. The table of docs/bgp.md is what
 * is seen here.
 */
import { readFileSync } from 'node:fs';
import { families, type Path } from 'gobgp-grpc-stubs';
import t from 'tap';
import type { Teardown } from '../kit/actor-kit.js';
import { BgpNet, unfit } from './bgp-net.js';
import { BgpNode, gobgpds, type Manifest, until } from './bgp-node.js';
import { Bird, program, protocolName } from './routers.js';

const skip =
  unfit() ||
  (program('bird') === undefined && 'BIRD is not installed: apt-get install bird2') ||
  ((await gobgpds()).length === 0 && 'gobgpd is not installed: apt-get install gobgpd');

/** A session of BIRD with the node. */
interface Session {
  readonly name: string;
  readonly local: string;
  readonly port?: number;
  readonly as: number;
  /** AS of the node, as the session has it. */
  readonly node_as?: number;
  readonly more?: string;
  /** Exports static routes of its own table. */
  readonly exports?: string;
  readonly routes?: readonly string[];
}

const address = { 4: '10.0.0.1', 6: 'fd00::1' } as const;

function birdConfig({
  name,
  local,
  port,
  as,
  node_as = 64_512,
  more = '',
  exports = 'accept;',
  routes = [],
}: Session): string {
  const family = local.includes(':') ? 6 : 4;
  const statics = routes.map((route) => `route ${route} blackhole;`).join(' ');
  return `
    log stderr all; router id 10.9.${as % 256}.${local.at(-1)}; protocol device {}
    protocol static { ipv${family}; ${statics} }
    protocol bgp ${protocolName(name)} {
      local ${local}${port === undefined ? '' : ` port ${port}`} as ${as}; neighbor ${address[family]} as ${node_as};
      connect delay time 1; connect retry time 2; error wait time 1, 2; ${more}
      ipv${family} { import all; export filter { if source != RTS_STATIC then reject; ${exports} }; };
    }`;
}

/** A BIRD for each session: it has one with a neighbour. */
class Birds {
  readonly #birds = new Map<string, Bird>();

  constructor(net: BgpNet, sessions: readonly Session[]) {
    for (const session of sessions) {
      const within = net.add(session.name, [`${session.local}/${session.local.includes(':') ? 64 : 24}`]);
      this.#birds.set(session.name, new Bird(net, within).start(birdConfig(session)));
    }
  }

  of(session: string): Bird {
    return this.#birds.get(session)!;
  }

  isUp(session: string): boolean {
    return this.of(session).isUp(session);
  }

  routes(session: string) {
    return this.of(session).routes(session);
  }

  show(session: string): string {
    return this.of(session).ask(`show protocols all ${protocolName(session)}`);
  }

  remove(): void {
    for (const bird of this.#birds.values()) bird.remove();
  }
}

interface Lab {
  readonly net: BgpNet;
  readonly node: BgpNode;
  readonly bird: Birds;
}

async function lab(t: Teardown, binary: string, sessions: readonly Session[]): Promise<Lab> {
  const net = new BgpNet();
  const within = net.add('node', [`${address[4]}/24`, `${address[6]}/64`]);
  const node = new BgpNode({ name: 'n', ip4: address[4], ip6: address[6], binary, within });
  const bird = new Birds(net, sessions);
  t.teardown(async () => {
    await node.close();
    net.close();
    bird.remove();
  });
  for (const kind of [
    'BGPConfiguration',
    'BGPPeer',
    'BGPFilter',
    'IPAMBlock',
    'Service',
    'EndpointSlice',
  ] as const)
    node.set(kind, 'none', undefined);
  node.set('Node', 'n', ofNode('10.0.0.1/24', 'fd00::1/64'));
  node
    .set('IPPool', 'pods', { spec: { cidr: '10.1.0.0/16' } })
    .set('IPPool', 'pods6', { spec: { cidr: 'fd01::/32' } });
  node
    .set('BlockAffinity', 'n-1', block('10.1.1.0/26'))
    .set('BlockAffinity', 'n-6', block('fd01::100:0/122'));
  await node.start();
  return { net, node, bird };
}

const block = (cidr: string, of = 'n'): Manifest => ({ spec: { cidr, node: of, state: 'confirmed' } });

function ofNode(ip4: string, ip6: string, annotations: object = {}, labels: object = {}): Manifest {
  return {
    metadata: {
      labels,
      annotations: {
        'projectcalico.org/IPv4Address': ip4,
        'projectcalico.org/IPv6Address': ip6,
        ...annotations,
      },
    },
  };
}

const has = (bird: Birds, session: string, prefix: string) => bird.routes(session).get(prefix);

let markers = 200;

/** Waits until a session has been told a block that the node claims now: what it was told before has come, and what has not come was not told. */
async function settled(node: BgpNode, bird: Birds, ...sessions: readonly string[]): Promise<void> {
  markers += 1;
  const marker = `10.1.${markers}.192/26`;
  node.set('BlockAffinity', 'marker', block(marker));
  for (const session of sessions) await until(`${marker} at ${session}`, () => has(bird, session, marker));
  node.set('BlockAffinity', 'marker', undefined);
  for (const session of sessions) await until(`no ${marker}`, () => !has(bird, session, marker));
}

/** IPv4 routes that the node has, after all of this session were judged. */
async function came(node: BgpNode, bird: Birds, session: string): Promise<number> {
  await settled(node, bird, session);
  return [...node.routes.keys()].filter((prefix) => !prefix.includes(':')).length;
}

/** TCP's listeners of the node. */
const listening = (net: BgpNet): readonly string[] =>
  net
    .in(net.name('node'), 'ss', '-Hltn')
    .split('\n')
    .flatMap((line) => line.split(/\s+/)[3] ?? [])
    .sort();

/** The AS of a gobgpd; undefined while none answers. */
const asNumber = (node: BgpNode) =>
  node
    .ask((gobgp) => gobgp.getBgp())
    .then(
      ({ global }) => global.asn,
      () => undefined,
    );

/** What gobgpd itself has chosen for a prefix. */
async function chosen(node: BgpNode, prefix: string): Promise<Path | undefined> {
  return node.ask(async (gobgp) => {
    const family = prefix.includes(':') ? families.ipv6_unicast : families.ipv4_unicast;
    for await (const { destination } of gobgp.listPath({ family, prefixes: [{ prefix, type: 'exact' }] }))
      return destination.paths.find(({ best }) => best) ?? destination.paths[0];
    return undefined;
  });
}

const prefixIs = ({ nlri }: Path, prefix: string) => nlri.type === 'prefix' && nlri.prefix === prefix;

function attribute<T extends Path['pattrs'][number]['type']>(path: Path | undefined, type: T) {
  return path?.pattrs.find((each) => each.type === type) as
    | Extract<Path['pattrs'][number], { type: T }>
    | undefined;
}

for (const { binary, version, major } of await gobgpds())
  t.test(version, { skip, timeout: 600_000 }, async (t) => {
    t.test('sessions', async (t) => {
      const { node, bird } = await lab(t, binary, [
        { name: 'tor', local: '10.0.0.11', as: 65_001 },
        { name: 'p1790', local: '10.0.0.12', port: 1790, as: 65_002, more: 'passive;' },
        { name: 'md5', local: '10.0.0.13', as: 65_003, more: 'password "pw-one";' },
        { name: 'wrong', local: '10.0.0.14', as: 65_004, more: 'password "pw-two";' },
        { name: 'gtsm', local: '10.0.0.15', as: 65_005, more: 'multihop 2; ttl security on;' },
        { name: 'far', local: '10.0.0.16', as: 65_006, more: 'multihop;' },
        { name: 'own', local: '10.0.0.17', as: 65_007, node_as: 64_999 },
        { name: 'six', local: 'fd00::11', as: 65_001 },
        { name: 'internal', local: '10.0.0.18', as: 64_512 },
      ]);
      const peer = (name: string, peerIP: string, asNumber: number, more: object = {}) =>
        node.set('BGPPeer', name, { spec: { peerIP, asNumber, ...more } });
      const password = (name: string) => ({ password: { secretKeyRef: { name, key: 'pw' } } });
      peer('tor', '10.0.0.11', 65_001, { maxRestartTime: '77s', keepaliveTime: '7s' });
      peer('port', '10.0.0.12:1790', 65_002);
      peer('md5', '10.0.0.13', 65_003, password('bgp'));
      peer('wrong', '10.0.0.14', 65_004, password('bgp'));
      peer('gtsm', '10.0.0.15', 65_005, { ttlSecurity: 2 });
      peer('far', '10.0.0.16', 65_006, { sourceAddress: 'None' });
      peer('own', '10.0.0.17', 65_007, { localASNumber: 64_999 });
      peer('six', 'fd00::11', 65_001);
      peer('internal', '10.0.0.18', 64_512, { node: 'n' });
      peer('other', '10.0.0.19', 65_001, { node: 'another' });
      peer('selected', '10.0.0.20', 65_001, { nodeSelector: "rack == 'a'" });
      for (const name of ['tor', 'p1790', 'gtsm', 'far', 'own', 'six', 'internal'])
        await until(name, () => bird.isUp(name));
      await until('reported', async () => {
        const lines = (await node.describe()).objects['BGPPeer md5']?.join(' ') ?? '';
        return /10\.0\.0\.13: there is no Secret bgp/.test(lines);
      });
      node.secret('bgp', { pw: 'pw-one' });
      await until('md5', () => bird.isUp('md5'));
      t.notOk(bird.isUp('wrong'), 'a wrong password: no session');
      for (const name of ['tor', 'md5', 'six']) await until('block', () => bird.routes(name).size > 0);

      const tor = bird.show('tor');
      t.match(tor, /Restart time: +77/, 'maxRestartTime');
      t.match(tor, /Hold timer: +[\d.]+\/21/, 'keepaliveTime: three of it are the hold time');
      t.match(has(bird, 'tor', '10.1.1.0/26'), { next_hop: '10.0.0.1', as_path: '64512' });
      t.match(has(bird, 'own', '10.1.1.0/26'), { as_path: /^64999/ }, 'localASNumber');
      t.match(has(bird, 'internal', '10.1.1.0/26'), {
        next_hop: '10.0.0.1',
        as_path: '',
        local_pref: 2_147_482_623,
      });
      t.match(has(bird, 'six', 'fd01::100:0/122'), { next_hop: 'fd00::1', as_path: '64512' });
      t.same(
        [...bird.routes('six').keys()],
        ['fd01::100:0/122'],
        'a session has the family of its addresses',
      );
      t.equal(await node.peer('10.0.0.19'), undefined, 'node');
      t.equal(await node.peer('10.0.0.20'), undefined, 'nodeSelector');
      node.set('Node', 'n', ofNode('10.0.0.1/24', 'fd00::1/64', {}, { rack: 'a' }));
      await until('nodeSelector', () => node.peer('10.0.0.20'));

      // The ends change one after the other.
      node.secret('bgp', { pw: 'pw-two' });
      await until('wrong', () => bird.isUp('wrong'));
      await until('md5', () => !bird.isUp('md5'));
      node.secret('bgp', undefined);
      await until('reported', async () => 'BGPPeer wrong' in (await node.describe()).objects);
      t.ok(bird.isUp('wrong'), 'a Secret that goes leaves a session as it is');
      t.notMatch(
        JSON.stringify([node.log.lines, await node.describe()]),
        /pw-one|pw-two/,
        'nobody shows a password',
      );
      t.notMatch(readFileSync(node.output, 'utf8'), /pw-one|pw-two/, 'nor does gobgpd’s log');
    });

    t.test('routes of others, and next hops', async (t) => {
      const { node, bird } = await lab(t, binary, [
        {
          name: 'tor',
          local: '10.0.0.11',
          as: 65_001,
          routes: ['203.0.113.0/24', '10.1.9.0/26', '0.0.0.0/0'],
        },
        {
          name: 'tor2',
          local: '10.0.0.12',
          as: 65_002,
          more: 'allow local as 5;',
          routes: ['198.51.100.0/24', '192.0.2.0/24'],
          exports: 'if net = 192.0.2.0/24 then bgp_path.prepend(64512); accept;',
        },
        {
          name: 'internal',
          local: '10.0.0.13',
          as: 64_512,
          routes: ['10.1.8.0/26', '10.1.1.7/32', '203.0.114.0/24'],
          exports: 'bgp_next_hop = 10.0.0.13; accept;',
        },
      ]);
      const peer = (name: string, peerIP: string, asNumber: number, more: object = {}) =>
        node.set('BGPPeer', name, { spec: { peerIP, asNumber, ...more } });
      peer('tor', '10.0.0.11', 65_001);
      peer('tor2', '10.0.0.12', 65_002);
      peer('internal', '10.0.0.13', 64_512);
      await until('all routes', () => node.routes.size >= 7);
      t.same(Object.fromEntries(node.routes), {
        '203.0.113.0/24': '10.0.0.11',
        '10.1.9.0/26': '10.0.0.11',
        '0.0.0.0/0': '10.0.0.11',
        '198.51.100.0/24': '10.0.0.12',
        '10.1.8.0/26': '10.0.0.13',
        '10.1.1.7/32': '10.0.0.13',
        '203.0.114.0/24': '10.0.0.13',
      });
      await until('what is told', () => bird.routes('tor').size >= 2 && bird.routes('internal').size >= 2);
      await settled(node, bird, 'tor', 'internal');
      t.same(
        [...bird.routes('tor').keys()].sort(),
        ['10.1.1.0/26', '10.1.8.0/26'],
        'no transit, nothing of a block of its own',
      );
      t.same([...bird.routes('internal').keys()].sort(), ['10.1.1.0/26', '10.1.9.0/26']);
      t.equal(
        has(bird, 'internal', '10.1.9.0/26')?.next_hop,
        '10.0.0.11',
        'next hop Auto: kept towards the same AS',
      );
      t.match(
        has(bird, 'tor', '10.1.8.0/26'),
        { next_hop: '10.0.0.1', as_path: '64512' },
        'its own towards another',
      );
      peer('internal', '10.0.0.13', 64_512, { nextHopMode: 'Self' });
      peer('tor', '10.0.0.11', 65_001, { nextHopMode: 'Keep' });
      await until('Self', () => has(bird, 'internal', '10.1.9.0/26')?.next_hop === '10.0.0.1');
      await until('Keep', () => has(bird, 'tor', '10.1.8.0/26')?.next_hop === '10.0.0.13');
      t.equal(has(bird, 'tor', '10.1.1.0/26')?.next_hop, '10.0.0.1', 'own routes have the own address');
      peer('internal', '10.0.0.13', 64_512, { keepOriginalNextHop: true });
      await until(
        'keepOriginalNextHop',
        () => has(bird, 'internal', '10.1.9.0/26')?.next_hop === '10.0.0.11',
      );

      peer('tor2', '10.0.0.12', 65_002, { numAllowedLocalASNumbers: 1 });
      await until('numAllowedLocalASNumbers', () => node.routes.has('192.0.2.0/24'));
      peer('tor', '10.0.0.11', 65_001, { reachableBy: '10.0.0.250' });
      await until('reachableBy', () => node.routes.get('10.0.0.11/32') === '10.0.0.250');

      node.set('IPPool', 'off', { spec: { cidr: '10.1.8.0/24', disableBGPExport: true } });
      node.set('BlockAffinity', 'n-off', block('10.1.8.64/26'));
      node.set('BlockAffinity', 'n-2', block('10.1.2.0/26'));
      await until('another block', () => has(bird, 'tor2', '10.1.2.0/26'));
      t.notOk(has(bird, 'tor2', '10.1.8.64/26'), 'disableBGPExport');
      await until('another’s route of it is withdrawn', () => !has(bird, 'tor2', '10.1.8.0/26'));
      t.ok(has(bird, 'tor2', '10.1.9.0/26'));
      node.set('IPPool', 'pods', undefined);
      await until('nor is one of no pool told on', () => !has(bird, 'tor2', '10.1.9.0/26'));
      await until('here all hold', () => node.routes.has('10.1.8.0/26') && node.routes.has('10.1.9.0/26'));
      t.same(
        node.told.filter((line) => line.startsWith('-')),
        [],
        'and nothing of it was away',
      );
      node.set('BlockAffinity', 'n-2', undefined);
      await until('withdrawn', () => !has(bird, 'tor2', '10.1.2.0/26'));
    });

    t.test('an own prefix of which another’s path is the best', async (t) => {
      const { node, bird } = await lab(t, binary, [
        { name: 'tor', local: '10.0.0.11', as: 65_001 },
        {
          name: 'internal',
          local: '10.0.0.13',
          as: 64_512,
          routes: ['10.96.0.0/16'],
          exports: 'bgp_next_hop = 10.0.0.13; bgp_local_pref = 3000000000; accept;',
        },
      ]);
      const services = (cidr?: string) =>
        node.set('BGPConfiguration', 'default', { spec: cidr ? { serviceClusterIPs: [{ cidr }] } : {} });
      services('10.96.0.0/16');
      node.set('BGPPeer', 'tor', { spec: { peerIP: '10.0.0.11', asNumber: 65_001 } });
      await until('own', () => has(bird, 'tor', '10.96.0.0/16'));
      node.set('BGPPeer', 'internal', { spec: { peerIP: '10.0.0.13', asNumber: 64_512 } });
      await until('another is the best', () => node.routes.get('10.96.0.0/16') === '10.0.0.13');
      await settled(node, bird, 'tor');
      t.match(has(bird, 'tor', '10.96.0.0/16'), { next_hop: '10.0.0.1' }, 'it is announced all the same');
      const own = () =>
        node.ask(async (gobgp) => {
          for await (const { destination } of gobgp.listPath({ family: families.ipv4_unicast }))
            if (destination.paths.some((path) => path.neighbor_ip === '' && prefixIs(path, '10.96.0.0')))
              return true;
          return false;
        });
      t.ok(await own());
      await node.stop();
      services();
      await node.start();
      await until('an own path that nobody wants is deleted, the best or not', async () => !(await own()));
      await until('and what is no more its own is not told', () => !has(bird, 'tor', '10.96.0.0/16'));
    });

    t.test('a peer with a password and a filter, when the process begins anew', async (t) => {
      const { node, bird } = await lab(t, binary, [
        {
          name: 'md5',
          local: '10.0.0.13',
          as: 65_003,
          more: 'password "pw-one";',
          routes: ['203.0.113.0/24'],
        },
      ]);
      const reject = [{ cidr: '10.1.2.0/26', matchOperator: 'Equal', action: 'Reject' }];
      node.set('BGPFilter', 'out', { spec: { exportV4: reject } });
      node.set('BlockAffinity', 'n-2', block('10.1.2.0/26'));
      node.secret('bgp', { pw: 'pw-one' });
      const password = { secretKeyRef: { name: 'bgp', key: 'pw' } };
      node.set('BGPPeer', 'md5', {
        spec: { peerIP: '10.0.0.13', asNumber: 65_003, password, filters: ['out'] },
      });
      await until('session', () => has(bird, 'md5', '10.1.1.0/26') && node.routes.has('203.0.113.0/24'));
      await until('synced', () => node.synced);
      const up = async () => (await node.peer('10.0.0.13'))?.timers?.state?.uptime;
      const before = await up();
      await node.stop();
      node.secret('bgp', undefined);
      node.told.length = 0;
      await node.start();
      await until('the session is known', () => node.synced);
      await settled(node, bird, 'md5');
      t.equal(await up(), before, 'the session lasts without its Secret');
      t.same([...bird.routes('md5').keys()], ['10.1.1.0/26'], 'and its filter holds');
      node.secret('bgp', { pw: 'pw-one' });
      await settled(node, bird, 'md5');
      t.equal(await up(), before, 'and when the Secret is there again');
      t.same([...bird.routes('md5').keys()], ['10.1.1.0/26']);
      t.same(node.told, ['+203.0.113.0/24 10.0.0.13', 'synced']);
    });

    t.test('a route reflector', async (t) => {
      const { node, bird } = await lab(t, binary, [
        {
          name: 'one',
          local: '10.0.0.11',
          as: 64_512,
          routes: ['10.1.8.0/26', '203.0.113.0/24'],
          exports: 'bgp_next_hop = 10.0.0.11; accept;',
        },
        {
          name: 'two',
          local: '10.0.0.12',
          as: 64_512,
          routes: ['198.18.0.0/24'],
          exports: 'bgp_next_hop = 10.0.0.12; accept;',
        },
      ]);
      node.set('BGPConfiguration', 'default', {
        spec: { serviceLoadBalancerIPs: [{ cidr: '198.18.0.0/24' }] },
      });
      node.set('Node', 'one', ofNode('10.0.0.11/24', 'fd00::11/64', {}, { kind: 'leaf' }));
      node.set('Node', 'two', ofNode('10.0.0.12/24', 'fd00::12/64', {}, { kind: 'leaf' }));
      await until('the mesh', () => bird.isUp('one') && bird.isUp('two'));
      await until('a block', () => has(bird, 'two', '10.1.1.0/26'));
      await until('what the other end has told', () => node.routes.has('10.1.8.0/26'));
      await settled(node, bird, 'two');
      t.notOk(has(bird, 'two', '10.1.8.0/26'), 'in a mesh nobody passes on');
      node.set('BGPPeer', 'leaves', {
        spec: { nodeSelector: "kind == 'reflector'", peerSelector: "kind == 'leaf'" },
      });
      const reflector = ofNode(
        '10.0.0.1/24',
        'fd00::1/64',
        { 'projectcalico.org/RouteReflectorClusterID': '244.0.0.1' },
        { kind: 'reflector' },
      );
      node.set('Node', 'n', reflector);
      await until('reflected', () => has(bird, 'two', '10.1.8.0/26'));
      t.equal(has(bird, 'two', '10.1.8.0/26')?.next_hop, '10.0.0.11');
      t.match(bird.of('two').ask('show route all 10.1.8.0/26'), /BGP.cluster_list: 244\.0\.0\.1/);
      await settled(node, bird, 'two');
      t.notOk(has(bird, 'two', '203.0.113.0/24'), 'nothing that is not of this cluster');
      await until('addresses of load balancers', () => has(bird, 'one', '198.18.0.0/24'));

      node.set('BGPPeer', 'leaves', undefined);
      await until(
        'no peer: a reflector is in no mesh',
        async () => (await node.peer('10.0.0.12')) === undefined,
      );
      // The others' way round: they select the reflectors, which peer back.
      node.set('BGPPeer', 'up', {
        spec: { nodeSelector: "kind == 'leaf'", peerSelector: "kind == 'reflector'" },
      });
      await until('reversePeering', () => node.established('10.0.0.12'));
      node.set('BGPPeer', 'up', {
        spec: {
          nodeSelector: "kind == 'leaf'",
          peerSelector: "kind == 'reflector'",
          reversePeering: 'Manual',
        },
      });
      await until('Manual', async () => (await node.peer('10.0.0.12')) === undefined);
    });

    t.test('what a BGPConfiguration says', async (t) => {
      const { node, bird, net } = await lab(t, binary, [
        { name: 'tor', local: '10.0.0.11', as: 65_001 },
        { name: 'mesh', local: '10.0.0.12', as: 64_512, more: 'password "pw-mesh";' },
        { name: 'mesh6', local: 'fd00::12', as: 64_512, more: 'password "pw-mesh";' },
      ]);
      const configure = (spec: object, name = 'default') => node.set('BGPConfiguration', name, { spec });
      node.set('BGPPeer', 'tor', { spec: { peerIP: '10.0.0.11', asNumber: 65_001 } });
      node.set('Node', 'mesh', ofNode('10.0.0.12/24', 'fd00::12/64'));
      node.secret('mesh', { pw: 'pw-mesh' });
      const mesh = {
        nodeMeshPassword: { secretKeyRef: { name: 'mesh', key: 'pw' } },
        nodeMeshMaxRestartTime: '44s',
      };
      configure(mesh);
      await until('nodeMeshPassword', () => bird.isUp('mesh'));
      t.match(bird.show('mesh'), /Restart time: +44/, 'nodeMeshMaxRestartTime');
      const advertised = {
        ...mesh,
        serviceClusterIPs: [{ cidr: '10.96.0.0/16' }],
        serviceExternalIPs: [{ cidr: '203.0.113.0/24' }],
        serviceLoadBalancerIPs: [{ cidr: '198.18.0.0/24' }],
        communities: [{ name: 'pods', value: '65001:100' }],
        prefixAdvertisements: [
          { cidr: '10.1.0.0/16', communities: ['pods', '65001:1:2'] },
          { cidr: '203.0.113.0/24', communities: ['65001:200'] },
        ],
      };
      configure(advertised);
      await until('services', () => bird.routes('tor').size === 4);
      t.same([...bird.routes('tor').keys()].sort(), [
        '10.1.1.0/26',
        '10.96.0.0/16',
        '198.18.0.0/24',
        '203.0.113.0/24',
      ]);
      await until('communities', () => has(bird, 'tor', '10.1.1.0/26')?.communities !== '');
      t.match(has(bird, 'tor', '10.1.1.0/26'), {
        communities: '(65001,100)',
        large_communities: '(65001, 1, 2)',
      });
      t.match(has(bird, 'tor', '203.0.113.0/24'), { communities: '(65001,200)', large_communities: '' });
      const preferences = () => [
        has(bird, 'mesh', '10.1.1.0/26')?.local_pref,
        has(bird, 'mesh6', 'fd01::100:0/122')?.local_pref,
      ];
      await until('no priority', () => preferences().every((each) => each === 2_147_482_623));
      const priorities = { ipv4NormalRoutePriority: 2000, ipv6NormalRoutePriority: 3000 };
      configure({ ...advertised, serviceLoadBalancerAggregation: 'Disabled', ...priorities });
      await until('serviceLoadBalancerAggregation', () => !has(bird, 'tor', '198.18.0.0/24'));
      await until('priorities', () => preferences().every((each) => each !== 2_147_482_623));
      t.same(preferences(), [2_147_481_647, 2_147_480_647]);

      configure({ ...mesh, nodeToNodeMeshEnabled: false });
      await until('nodeToNodeMeshEnabled', async () => (await node.peer('10.0.0.12')) === undefined);
      t.ok(bird.isUp('tor'));
      const { pid } = node;
      configure({ asNumber: 64_999, bindMode: 'NodeIP', logSeverityScreen: 'Warning' });
      await until('asNumber', async () => (await asNumber(node)) === 64_999);
      t.not(node.pid, pid, 'another AS takes another gobgpd');
      await until('listens', () => listening(net).includes('10.0.0.1:179'));
      t.same(listening(net), ['10.0.0.1:179', '[fd00::1]:179'], 'bindMode; and nothing else listens');
      configure({ listenPort: 1179 }, 'node.n');
      await until('listenPort', () => listening(net).includes('10.0.0.1:1179'));
      configure({ asNumber: 64_998, listenPort: 1179 }, 'node.n');
      await until('asNumber of the node', async () => (await asNumber(node)) === 64_998);
      node.set('Node', 'n', ofNode('10.0.0.1/24', 'fd00::1/64', { 'projectcalico.org/ASNumber': '1.10' }));
      await until('its annotation', async () => (await asNumber(node)) === 65_546);

      configure({
        ignoredInterfaces: ['eth9'],
        localWorkloadPeeringIPV4: '10.0.0.9',
        localWorkloadPeeringIPV6: 'fd00::9',
        programClusterRoutes: 'Enabled',
        ipv4ElevatedRoutePriority: 512,
        ipv6ElevatedRoutePriority: 512,
      });
      await until(
        'reported',
        async () => (await node.describe()).objects['BGPConfiguration default']?.length === 6,
      );
    });

    t.test('filters of what comes', async (t) => {
      const tagged = { '198.18.3.0/24': '65001, 66', '198.18.4.0/24': '65001, 67' };
      const { node, bird } = await lab(t, binary, [
        {
          name: 'tor',
          local: '10.0.0.11',
          as: 65_001,
          routes: [
            ...[
              '192.0.2.0/24',
              '192.0.2.0/25',
              '198.18.1.0/24',
              '198.18.1.0/25',
              '198.18.3.0/24',
              '198.18.4.0/24',
            ],
            ...[
              '198.18.5.0/24',
              '198.18.6.0/24',
              '203.0.113.0/24',
              '198.19.1.0/24',
              '198.19.2.0/24',
              '100.64.0.0/24',
            ],
          ],
          exports: `${Object.entries(tagged)
            .map(([prefix, community]) => `if net = ${prefix} then bgp_community.add((${community}));`)
            .join(' ')}
            if net = 198.18.5.0/24 then bgp_large_community.add((65001, 1, 2));
            if net = 198.18.6.0/24 then bgp_path.prepend(65100);
            accept;`,
        },
        {
          name: 'six',
          local: 'fd00::11',
          as: 65_001,
          routes: ['fd01:1::/64', 'fd02:1::/64', 'fd02:2::/64', 'fd03::/32'],
        },
      ]);
      const rule = (more: object, action = 'Reject') => ({ action, ...more });
      node.set('BGPFilter', 'in', {
        spec: {
          importV4: [
            rule({ cidr: '192.0.2.0/24', matchOperator: 'Equal' }),
            rule({ cidr: '198.18.0.0/16', matchOperator: 'In', prefixLength: { min: 25, max: 25 } }),
            rule({ communities: { values: ['65001:66'] } }),
            rule({ communities: { values: ['65001:1:2'] } }),
            rule({ asPathPrefix: [65_001, 65_100] }),
            rule({ peerType: 'iBGP', cidr: '203.0.113.0/24', matchOperator: 'In' }),
            rule({ peerType: 'eBGP', cidr: '198.19.2.0/24', matchOperator: 'In' }),
            rule({ interface: 'eth*', cidr: '203.0.113.0/24', matchOperator: 'In' }),
            rule({ source: 'RemotePeers', cidr: '100.64.0.0/24', matchOperator: 'In' }),
            rule(
              {
                cidr: '198.19.0.0/16',
                matchOperator: 'In',
                operations: [
                  { addCommunity: { value: '65000:9' } },
                  { addCommunity: { value: '65000:9:9' } },
                  { setPriority: { value: 100 } },
                  { prependASPath: { prefix: [65_301, 65_300, 65_300] } },
                ],
              },
              'Accept',
            ),
          ],
          importV6: [
            rule({ cidr: 'fd02:1::/64', matchOperator: 'Equal' }, 'Accept'),
            rule({ cidr: 'fd02:2::/64', matchOperator: 'NotEqual' }, 'Accept'),
            rule({ cidr: 'fd03::/16', matchOperator: 'NotIn' }),
          ],
        },
      });
      node.set('BGPPeer', 'tor', { spec: { peerIP: '10.0.0.11', asNumber: 65_001 } });
      node.set('BGPPeer', 'six', { spec: { peerIP: 'fd00::11', asNumber: 65_001 } });
      await until('all', () => node.routes.size === 16);
      const up = await node.peer('10.0.0.11');
      node.set('BGPPeer', 'tor', { spec: { peerIP: '10.0.0.11', asNumber: 65_001, filters: ['in'] } });
      node.set('BGPPeer', 'six', { spec: { peerIP: 'fd00::11', asNumber: 65_001, filters: ['in'] } });
      await until('the filter', () => node.routes.size <= 8);
      t.same([...node.routes.keys()].sort(), [
        ...['192.0.2.0/25', '198.18.1.0/24', '198.18.4.0/24', '198.19.1.0/24', '203.0.113.0/24'],
        ...['fd01:1::/64', 'fd02:1::/64', 'fd03::/32'],
      ]);
      t.equal(
        (await node.peer('10.0.0.11'))?.timers?.state?.uptime,
        up?.timers?.state?.uptime,
        'the session lasts',
      );
      const changed = await until('operations', () => chosen(node, '198.19.1.0/24'));
      t.same(attribute(changed, 'communities')?.communities, [65_000 * 65_536 + 9], 'addCommunity');
      t.match(attribute(changed, 'large_communities')?.communities, [
        { global_admin: 65_000, local_data2: 9 },
      ]);
      t.equal(attribute(changed, 'local_pref')?.local_pref, 2_147_483_547, 'setPriority');
      t.same(
        attribute(changed, 'as_path')?.segments[0]?.numbers,
        [65_301, 65_300, 65_300, 65_001],
        'prependASPath',
      );
      t.match((await node.describe()).objects, {
        'BGPFilter in': [/importV4\[7\]\.interface: is not supported/],
      });

      node.set('BGPFilter', 'in', {
        spec: {
          importV4: [rule({ cidr: '203.0.113.0/24', matchOperator: 'NotEqual' })],
          importV6: [rule({})],
        },
      });
      await until('another filter', () => node.routes.size === 1);
      t.same([...node.routes.keys()], ['203.0.113.0/24']);
      node.set('BGPFilter', 'in', {
        spec: { importV4: [rule({ cidr: '203.0.113.0/24', matchOperator: 'NotIn' })] },
      });
      await until('NotIn', () => node.routes.size === 5);
      node.set('BGPFilter', 'in', undefined);
      await until('without its filter nothing passes', () => node.routes.size === 0);
      node.set('BGPFilter', 'in', {
        spec: { importV4: [rule({ priority: 1_000_000 }), rule({ priority: 2_147_483_547 })] },
      });
      if (major === '4') await until('priority', () => node.routes.size === 4);
      else {
        const lines = async () => (await node.describe()).objects['BGPFilter in']?.join(' ') ?? '';
        await until('told', async () => /importV4\[0\]\.priority: needs gobgpd 4/.test(await lines()));
        t.equal(await came(node, bird, 'tor'), 0, 'of IPv4 nothing is let in');
      }
      t.ok(bird.isUp('tor'));
    });

    t.test('filters of what goes', async (t) => {
      const { node, bird } = await lab(t, binary, [
        { name: 'tor', local: '10.0.0.11', as: 65_001 },
        { name: 'free', local: '10.0.0.12', as: 65_002, routes: ['10.1.8.0/26', '10.1.9.0/26'] },
        { name: 'internal', local: '10.0.0.13', as: 64_512 },
        { name: 'tor6', local: 'fd00::11', as: 65_001 },
        { name: 'free6', local: 'fd00::12', as: 65_002, routes: ['fd01::800:0/122', 'fd01::900:0/122'] },
        { name: 'internal6', local: 'fd00::13', as: 64_512 },
      ]);
      for (const [name, peerIP, asNumber] of [
        ['tor', '10.0.0.11', 65_001],
        ['free', '10.0.0.12', 65_002],
        ['internal', '10.0.0.13', 64_512],
        ['tor6', 'fd00::11', 65_001],
        ['free6', 'fd00::12', 65_002],
        ['internal6', 'fd00::13', 64_512],
      ] as const)
        node.set('BGPPeer', name, {
          spec: { peerIP, asNumber, filters: name.startsWith('free') ? [] : ['out'] },
        });
      node
        .set('BlockAffinity', 'n-7', block('fd01::200:0/122'))
        .set('BlockAffinity', 'n-8', block('fd01::300:0/122'))
        .set('BlockAffinity', 'n-2', block('10.1.2.0/26'))
        .set('BlockAffinity', 'n-3', block('10.1.3.0/26'));
      node.set('BGPFilter', 'out', { spec: {} });
      const counts = (...sessions: readonly string[]) => sessions.map((each) => bird.routes(each).size);
      await until('all', () => counts('tor', 'internal', 'tor6', 'internal6').every((count) => count === 5));
      const free = (await node.peer('10.0.0.12'))?.timers?.state?.uptime;
      node.set('BGPFilter', 'out', {
        spec: {
          exportV4: [
            { cidr: '10.1.2.0/26', matchOperator: 'Equal', action: 'Reject' },
            { cidr: '10.1.8.0/24', matchOperator: 'In', source: 'RemotePeers', action: 'Reject' },
            { cidr: '10.1.1.0/24', matchOperator: 'In', source: 'RemotePeers', action: 'Reject' },
            { asPathPrefix: [65_002], action: 'Reject', peerType: 'iBGP' },
            {
              asPathPrefix: [65_002],
              action: 'Accept',
              operations: [{ addCommunity: { value: '65000:2' } }],
            },
            {
              cidr: '10.1.3.0/26',
              matchOperator: 'Equal',
              peerType: 'eBGP',
              action: 'Accept',
              operations: [
                { addCommunity: { value: '65000:3' } },
                { prependASPath: { prefix: [64_512, 64_512] } },
              ],
            },
            {
              cidr: '10.1.3.0/26',
              matchOperator: 'Equal',
              action: 'Accept',
              operations: [{ setPriority: { value: 10 } }, { prependASPath: { prefix: [65_301, 65_302] } }],
            },
            {
              cidr: '10.1.1.0/26',
              matchOperator: 'Equal',
              peerType: 'eBGP',
              action: 'Accept',
              operations: [{ prependASPath: { prefix: [65_301] } }],
            },
          ],
          exportV6: [
            { cidr: 'fd01::200:0/122', matchOperator: 'Equal', action: 'Reject' },
            { cidr: 'fd01::800:0/104', matchOperator: 'In', source: 'RemotePeers', action: 'Reject' },
            { asPathPrefix: [65_002], action: 'Reject', peerType: 'iBGP' },
            {
              cidr: 'fd01::300:0/122',
              matchOperator: 'Equal',
              peerType: 'eBGP',
              action: 'Accept',
              operations: [
                { addCommunity: { value: '65000:6' } },
                { addCommunity: { value: '65000:6:6' } },
                { prependASPath: { prefix: [64_512, 64_512] } },
              ],
            },
            {
              cidr: 'fd01::300:0/112',
              matchOperator: 'In',
              prefixLength: { min: 122, max: 122 },
              action: 'Accept',
              operations: [{ setPriority: { value: 10 } }],
            },
            { cidr: 'fd01::/32', matchOperator: 'NotIn', action: 'Reject' },
          ],
        },
      });
      await until('the filter', () => bird.routes('tor').size === 3 && bird.routes('internal').size === 2);
      await until('that of IPv6', () => counts('tor6', 'internal6').join() === '3,2');
      t.same([...bird.routes('tor6').keys()].sort(), [
        'fd01::100:0/122',
        'fd01::300:0/122',
        'fd01::900:0/122',
      ]);
      t.same([...bird.routes('internal6').keys()].sort(), ['fd01::100:0/122', 'fd01::300:0/122']);
      await until(
        'what it changes of IPv6',
        () =>
          has(bird, 'tor6', 'fd01::300:0/122')?.communities &&
          has(bird, 'internal6', 'fd01::300:0/122')?.local_pref === 2_147_483_637,
      );
      t.match(has(bird, 'tor6', 'fd01::300:0/122'), {
        communities: '(65000,6)',
        large_communities: '(65000, 6, 6)',
        as_path: '64512 64512 64512',
      });
      t.match(has(bird, 'tor6', 'fd01::100:0/122'), { communities: '', as_path: '64512' });
      t.same(
        [...bird.routes('tor').keys()].sort(),
        ['10.1.1.0/26', '10.1.3.0/26', '10.1.9.0/26'],
        'an own block can be rejected',
      );
      t.same([...bird.routes('internal').keys()].sort(), ['10.1.1.0/26', '10.1.3.0/26']);
      // Withdrawals come first.
      await until('what it changes', () => {
        const [three, own] = [has(bird, 'tor', '10.1.3.0/26'), has(bird, 'tor', '10.1.1.0/26')];
        const [nine, inner] = [has(bird, 'tor', '10.1.9.0/26'), has(bird, 'internal', '10.1.3.0/26')];
        return three?.communities && nine?.communities && own?.as_path !== '64512' && inner?.as_path !== '';
      });
      t.match(has(bird, 'tor', '10.1.9.0/26'), { communities: '(65000,2)', as_path: '64512 65002' });
      t.match(has(bird, 'tor', '10.1.3.0/26'), { communities: '(65000,3)', as_path: '64512 64512 64512' });
      t.match(has(bird, 'internal', '10.1.3.0/26'), { local_pref: 2_147_483_637, as_path: '65301 65302' });
      t.match(
        has(bird, 'tor', '10.1.1.0/26'),
        { as_path: '65301 64512' },
        'gobgpd has put its own AS there before',
      );
      t.match((await node.describe()).objects, {
        'BGPFilter out': [/exportV4\[6\]/, /exportV4\[7\]\.operations: .*65301/],
      });
      t.equal(bird.routes('free').size, 3, 'others are told as before');
      t.equal((await node.peer('10.0.0.12'))?.timers?.state?.uptime, free, 'and their sessions last');
    });
  });
