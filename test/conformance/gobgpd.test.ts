/** Nodes with real gobgpds of both dialects: sessions, restarts, adoption. */
import { statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import t from 'tap';
import type { Teardown } from '../kit/actor-kit.js';
import { BgpNet, unfit } from './bgp-net.js';
import { BgpNode, gobgpds, until } from './bgp-node.js';

const skip = unfit() || ((await gobgpds()).length === 0 && 'gobgpd is not installed: apt-get install gobgpd');
const node = (address: string, more: object = {}) => ({
  metadata: { annotations: { 'projectcalico.org/IPv4Address': address, ...more } },
});
const block = (cidr: string, of: string) => ({ spec: { cidr, node: of, state: 'confirmed' } });

const service_kinds = ['Service', 'EndpointSlice'] as const;

interface Two {
  readonly a: BgpNode;
  readonly b: BgpNode;
  readonly net: BgpNet;
}

/** Two nodes of one mesh, each with a block. */
async function two(t: Teardown, binary: string, more: object = {}): Promise<Two> {
  const net = new BgpNet();
  const make = (name: string, ip4: string) =>
    new BgpNode({ name, ip4, binary, within: net.add(name, [`${ip4}/24`]), ...more });
  const a = make('a', '10.0.0.1');
  const b = make('b', '10.0.0.2');
  t.teardown(async () => {
    await Promise.all([a.close(), b.close()]);
    net.close();
  });
  for (const each of [a, b]) {
    for (const kind of ['BGPConfiguration', 'BGPPeer', 'BGPFilter', 'IPAMBlock', ...service_kinds] as const)
      each.set(kind, 'none', undefined);
    each.set('Node', 'a', node('10.0.0.1/24')).set('Node', 'b', node('10.0.0.2/24'));
    each.set('IPPool', 'pods', { spec: { cidr: '10.1.0.0/16' } });
    each
      .set('BlockAffinity', 'a-1', block('10.1.1.0/26', 'a'))
      .set('BlockAffinity', 'b-1', block('10.1.2.0/26', 'b'));
  }
  await Promise.all([a.start(), b.start()]);
  return { a, b, net };
}

/** When the session with a peer came up, as gobgpd tells it: another one after a reset. */
const uptime = async (node: BgpNode, address: string) => (await node.peer(address))?.timers?.state?.uptime;

const withdrawn = (node: BgpNode) => node.told.filter((line) => line.startsWith('-'));

async function converged(t: Teardown, binary: string): Promise<Two> {
  const both = await two(t, binary);
  await until('routes', () => both.a.synced && both.b.synced);
  return both;
}

for (const { binary, version, major } of await gobgpds()) {
  t.test(version, { skip, timeout: 400_000 }, async (t) => {
    t.test('two nodes of a mesh learn each other’s blocks', async (t) => {
      const { a, b } = await converged(t, binary);
      t.same([...a.routes], [['10.1.2.0/26', '10.0.0.2']]);
      t.same([...b.routes], [['10.1.1.0/26', '10.0.0.1']]);
      t.same(a.told, ['+10.1.2.0/26 10.0.0.2', 'synced'], 'synced comes when all is told');
      const before = await uptime(a, '10.0.0.2');
      b.set('BlockAffinity', 'b-2', block('10.1.3.0/26', 'b'));
      b.set('BlockAffinity', 'b-1', undefined);
      await until('the change', () => a.told.length === 4);
      t.same(a.told.slice(2).sort(), ['+10.1.3.0/26 10.0.0.2', '-10.1.2.0/26']);

      a.set('IPPool', 'more', { spec: { cidr: '10.2.0.0/16' } });
      a.set('Node', 'c', node('10.0.0.3/24'));
      await until('another peer', () => a.peer('10.0.0.3'));
      t.equal(await uptime(a, '10.0.0.2'), before, 'the session that did not change lasts');
      a.set('Node', 'c', undefined);
      await until('no other peer', async () => (await a.peer('10.0.0.3')) === undefined);
      t.equal(await uptime(a, '10.0.0.2'), before);
    });

    t.test(
      'what another node announces too is not told by way of one that announces it no more',
      async (t) => {
        // Withdrawals of a peer that is waited for are kept back: not for longer than the test needs.
        const pace = { told_min_ms: 500, poll_ms: 200 };
        const { a, b, net } = await two(t, binary, { pace });
        const tor = new BgpNode({
          name: 'tor',
          ip4: '10.0.0.9',
          binary,
          within: net.add('tor', ['10.0.0.9/24']),
          pace,
        });
        t.teardown(() => tor.close());
        for (const kind of ['BGPFilter', 'IPPool', 'BlockAffinity', 'IPAMBlock', ...service_kinds] as const)
          tor.set(kind, 'none', undefined);
        // Each knows the other for a node, so that one of them opens: two that open at once lose five seconds.
        const as_number = { 'projectcalico.org/ASNumber': '65001' };
        tor
          .set('Node', 'tor', node('10.0.0.9/24'))
          .set('Node', 'a', node('10.0.0.1/24'))
          .set('BGPConfiguration', 'default', { spec: { asNumber: 65_001, nodeToNodeMeshEnabled: false } })
          .set('BGPPeer', 'a', { spec: { peerIP: '10.0.0.1', asNumber: 64_512 } });
        a.set('Node', 'tor', node('10.0.0.9/24', as_number));
        a.set('BGPPeer', 'tor', { spec: { peerIP: '10.0.0.9', asNumber: 65_001 } });
        await tor.start();
        const endpointsOn = (...names: readonly string[]) => ({
          metadata: { name: 'web-x', namespace: 'default', labels: { 'kubernetes.io/service-name': 'web' } },
          addressType: 'IPv4',
          ports: [{ port: 80 }],
          endpoints: names.map((name, index) => ({
            addresses: [`10.1.1.${index + 1}`],
            nodeName: name,
            conditions: { ready: true },
          })),
        });
        for (const each of [a, b])
          each
            .set('BGPConfiguration', 'default', { spec: { serviceExternalIPs: [{ cidr: '192.0.2.0/24' }] } })
            .set('Service', 'default/web', {
              metadata: { name: 'web', namespace: 'default' },
              spec: {
                type: 'LoadBalancer',
                clusterIP: '10.96.0.9',
                externalIPs: ['192.0.2.9'],
                externalTrafficPolicy: 'Local',
                ports: [{ port: 80 }],
              },
            })
            .set('EndpointSlice', 'default/web-x', endpointsOn('a', 'b'));
        await until('its beginning', () => tor.routes.get('192.0.2.9/32') === '10.0.0.1');
        a.set('EndpointSlice', 'default/web-x', endpointsOn('b'));
        await until('the other node', () => a.routes.get('192.0.2.9/32') === '10.0.0.2');
        await until('its end', () => !tor.routes.has('192.0.2.9/32'));
        t.equal(tor.routes.get('192.0.2.0/24'), '10.0.0.1', 'the prefix around it stays');
      },
    );

    t.test('its API is the owner’s alone, and its output has a limit', async (t) => {
      const { a, net } = await converged(t, binary);
      const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);
      t.equal(mode(dirname(a.socket)), '700');
      t.equal(mode(a.socket), '700');
      const listening = net.in(net.name('a'), 'ss', '-Hltn').trim().split('\n');
      t.ok(
        listening.every((line) => / \S+:179 /.test(line)),
        `${listening}`,
      );
      writeFileSync(a.output, 'x'.repeat(2 ** 20 + 1), { flag: 'a' });
      a.launcher.trimOutput();
      t.ok(statSync(a.output).size < 2 ** 20);
      t.ok(statSync(`${a.output}.1`).size > 2 ** 20);
      const { size } = statSync(a.output);
      a.set('BlockAffinity', 'a-9', block('10.1.9.0/26', 'a'));
      await until('it writes on', () => statSync(a.output).size > size);
      t.ok(statSync(a.output).size < 2 ** 20, 'from the beginning');
    });

    t.test('a gobgpd that dies costs no route', async (t) => {
      const { a, b } = await converged(t, binary);
      for (const time of ['once', 'twice']) {
        const { pid } = b;
        process.kill(pid, 'SIGKILL');
        await until('another gobgpd', () => b.pid !== pid);
        await until(
          'sessions',
          async () => (await a.established('10.0.0.2')) && (await b.established('10.0.0.1')),
        );
        // Until the peers have told all again, and longer.
        await until('nobody is waited for', async () => (await b.describe()).routes.peers_waited_for === 0);
        t.same(withdrawn(b), [], `${time}: nothing is withdrawn here`);
        t.same(withdrawn(a), [], `${time}: nor there`);
        t.same([...b.routes], [['10.1.1.0/26', '10.0.0.1']]);
      }
    });

    t.test('a gobgpd of an earlier life is adopted as it is', async (t) => {
      const { a, b } = await converged(t, binary);
      const [before, { pid }] = [await uptime(a, '10.0.0.2'), a];
      await a.stop();
      // Changed while nobody was there.
      a.set('BlockAffinity', 'a-2', block('10.1.4.0/26', 'a')).set('BlockAffinity', 'a-1', undefined);
      a.told.length = 0;
      await a.start();
      await until('synced', () => a.synced);
      await until('the change', () => b.told.includes('+10.1.4.0/26 10.0.0.1') && withdrawn(b).length > 0);
      t.equal(a.pid, pid);
      t.equal(await uptime(a, '10.0.0.2'), before, 'the session lasts');
      t.same(a.told, ['+10.1.2.0/26 10.0.0.2', 'synced']);
      t.same(withdrawn(b), ['-10.1.1.0/26']);
    });

    t.test('what changes while a session lasts, and what takes a new one', async (t) => {
      const { a, b } = await converged(t, binary);
      const before = await uptime(b, '10.0.0.1');
      const peer = { peerIP: '10.0.0.1', asNumber: 64512, keepaliveTime: '20s' };
      b.set('BGPPeer', 'a', { spec: peer });
      await until('other timers', async () => (await b.peer('10.0.0.1'))?.timers?.config?.hold_time === 60);
      if (major === '4') t.equal(await uptime(b, '10.0.0.1'), before, 'timers are changed in place');
      await until('the session', () => b.established('10.0.0.1'));
      b.set('BGPPeer', 'a', { spec: { ...peer, maxRestartTime: '33s' } });
      await until(
        'another restart time',
        async () => (await b.peer('10.0.0.1'))?.graceful_restart?.restart_time === 33,
      );
      await until('the session', () => b.established('10.0.0.1'));
      await until('nobody is waited for', async () => (await b.describe()).routes.peers_waited_for === 0);
      t.same(withdrawn(b), [], 'a session that is made anew costs no route here');
      await until('the other end', () => a.routes.size === 1);
      t.same(withdrawn(a), [], 'and none at the other end, which is told by RFC 8538');
    });

    t.test('a peer that does not come back in its time is withdrawn', async (t) => {
      const { a, b } = await two(t, binary, { pace: { wait_min_ms: 5000 } });
      for (const each of [a, b])
        each.set('BGPConfiguration', 'default', { spec: { nodeMeshMaxRestartTime: '5s' } });
      await until('routes', () => a.synced && a.routes.size > 0);
      await b.stop();
      process.kill(b.pid, 'SIGKILL');
      process.kill(a.pid, 'SIGKILL');
      await until('withdrawn', () => withdrawn(a).length > 0);
      t.same(withdrawn(a), ['-10.1.2.0/26']);
      await b.start();
      await until('back', () => a.routes.size > 0, 60_000);
    });
  });
}
