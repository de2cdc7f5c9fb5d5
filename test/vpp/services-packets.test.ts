/**
 * Services on real VPPs, by packets that are not of everyday: fragments, SCTP, and what comes and goes by two uplinks. What VPP does not do is
 * held as it is: where it comes to do it docs/services.md is to say so.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { endpointSlice, kubernetesService } from '../../lab/k8s/calico-objects.js';
import { type ServiceOptions, service, slice } from '../../lab/k8s/service-objects.js';
import { LabCluster, type LabClusterOptions } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import { router, second_bridge, secondPort } from '../../lab/nodes.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { crc32c, pcapOf, type SctpPacket, type SeenSctp, sctpIn, sctpInit } from '../../lab/sctp.js';
import type { Pod } from '../../lab/topology.js';
import { needs } from '../kit/needs.js';

const found = findRealVpp();
const reason = found.usable ? canUseNetns() : found.why;
const real = needs(reason);

const families = ['ip4', 'ip6'] as const;
type Family = (typeof families)[number];

const port = 5001;
const environment = { SERVICE_PREFIX: '10.96.0.0/16,fd96::/108' };
const ethernet_bytes = 14;
/** Of a datagram that is cut in three by a link of 1500. */
const large = 3000;

/** Fragments that Linux has got in this namespace, and datagrams that it could put together. */
function fragments(cluster: LabCluster, name: string, family: Family): { got: number; whole: number } {
  const [command, argv] = cluster.nodes.inside(name, [
    'cat',
    family === 'ip4' ? '/proc/net/snmp' : '/proc/net/snmp6',
  ]);
  const text = execFileSync(command, argv, { encoding: 'utf8' });
  if (family === 'ip6') {
    const of = (key: string): number => Number(new RegExp(`^${key}\\s+(\\d+)`, 'm').exec(text)?.[1]);
    return { got: of('Ip6ReasmReqds'), whole: of('Ip6ReasmOKs') };
  }
  const [names = [], values = []] = [...text.matchAll(/^Ip: (.*)$/gm)].map(([, line]) => line!.split(' '));
  const of = (key: string): number => Number(values[names.indexOf(key)]);
  return { got: of('ReasmReqds'), whole: of('ReasmOKs') };
}

/** Repeats what asks until it is as expected, for as long as it takes to be programmed. */
async function comes<T>(ask: () => Promise<T>, is: (now: T) => boolean, deadline_ms = 20_000): Promise<T> {
  const deadline = performance.now() + deadline_ms;
  for (;;) {
    const now = await ask();
    if (is(now) || performance.now() > deadline) return now;
    await sleep(200);
  }
}

t.test('fragments of UDP datagrams', real(), async (t) => {
  const cluster = await LabCluster.start({ vpp: found as LabClusterOptions['vpp'], pods: 2, environment });
  t.teardown(() => cluster.close());
  const { server, traffic } = cluster;
  const [one, two] = cluster.running as [(typeof cluster.running)[0], (typeof cluster.running)[0]];
  const [client, near] = one.topology.pods as [Pod, Pod];
  const [far] = two.topology.pods as [Pod];
  for (const { topology } of cluster.running) cluster.nodes.teachRouter(topology);
  for (const { name } of [near, far]) await traffic.serve(name, port);
  const vips = {
    near: { ip4: '10.96.0.30', ip6: 'fd96::a:30', node_port: 30030 },
    far: { ip4: '10.96.0.31', ip6: 'fd96::a:31', node_port: 30031 },
  } as const;
  for (const [name, pod, { topology }] of [
    ['near', near, one],
    ['far', far, two],
  ] as const) {
    const { ip4, ip6, node_port } = vips[name];
    const asked: ServiceOptions = { name, cluster_ips: [ip4, ip6], port, protocol: 'UDP', node_port };
    await server.put(
      service(asked),
      ...families.map((family) => slice(asked, family, [{ address: pod[family], node: topology.name }])),
    );
  }
  for (const family of families) {
    const own = one.topology.node[family];
    // VPP leads the first fragment of IPv4 to the back end, and none of IPv6.
    const first = family === 'ip4' ? 3 : 0;
    for (const [what, from, to, pod, dialed, arrives, reach] of [
      ['to a pod here', client.name, near[family], near, port, true, 9],
      ['to a pod of another node', client.name, far[family], far, port, true, 9],
      ['to a cluster address, here', client.name, vips.near[family], near, port, false, first],
      ['to a cluster address, elsewhere', client.name, vips.far[family], far, port, false, first],
      // What VPP leaves alone Linux of the node has, which translates it, and hands on what it has put together.
      ['to a node port, here', router, own, near, vips.near.node_port, family === 'ip6', first],
      ['to a node port, elsewhere', router, own, far, vips.far.node_port, false, first],
    ] as const) {
      const small = await comes(
        () => traffic.ask(from, to, dialed, { count: 3 }),
        ({ answered }) => answered === 3,
      );
      t.equal(small.answered, 3, `${family}, ${what}: whole ones`);
      const before = fragments(cluster, pod.name, family);
      const { answered } = await traffic.ask(from, to, dialed, { count: 3, bytes: large });
      const after = fragments(cluster, pod.name, family);
      t.equal(
        answered,
        arrives ? 3 : 0,
        `${family}, ${what}: ${arrives ? 'fragments, too' : 'no fragments'}`,
      );
      const back = await traffic.ask(from, to, dialed, { count: 3, answer_bytes: large });
      t.equal(back.answered, reach === 9 ? 3 : 0, `${family}, ${what}: large answers`);
      t.equal(after.got - before.got, reach, `${family}, ${what}: ${reach} fragments are seen there`);
    }
  }
});

/** Packets that this port of the router has got: what the node has sent by that cable. */
function sentBy(cluster: LabCluster, device: string): number {
  const [command, argv] = cluster.nodes.inside(router, ['cat', '/proc/net/dev']);
  const text = execFileSync(command, argv, { encoding: 'utf8' });
  return Number(new RegExp(`^ *${device}: *\\d+ +(\\d+)`, 'm').exec(text)?.[1]);
}

t.test('a node with two uplinks', real(), async (t) => {
  const cluster = await LabCluster.start({
    vpp: found as LabClusterOptions['vpp'],
    pods: 2,
    two_uplinks: true,
    environment,
  });
  t.teardown(() => cluster.close());
  const { server, traffic, nodes } = cluster;
  const [one, two] = cluster.running as [(typeof cluster.running)[0], (typeof cluster.running)[0]];
  const [p1, near] = one.topology.pods as [Pod, Pod];
  const [far] = two.topology.pods as [Pod];
  for (const { topology } of cluster.running) nodes.teachRouter(topology);
  for (const { name } of [near, far]) await traffic.serve(name, port);
  t.match(await one.debug('/debug/actor/root/uplink/state'), /"source_nat": \{\s+"name": "two entries"/);

  /** Beside each uplink; `elsewhere` reaches the node by the second one, and is reached by the first. */
  const clients = {
    first: { ip4: '10.0.0.201', ip6: 'fd00::c:1' },
    second: { ip4: '10.2.0.202', ip6: 'fd02::c:2' },
    elsewhere: { ip4: '198.51.100.3', ip6: 'fd98::c:3' },
  } as const;
  const cables = [
    ['first', one.topology.node, 'br0'],
    ['second', one.topology.second!, second_bridge],
  ] as const;
  for (const [name, gateway, bridge] of cables) {
    const { ip4, ip6 } = clients[name];
    const end = `c-${name}`;
    nodes.lab.veth(
      { namespace: name, name: 'eth0', addresses: [`${ip4}/24`, `${ip6}/64`] },
      { namespace: router, name: end },
    );
    nodes.lab.run(router, 'ip', 'link', 'set', end, 'master', bridge);
    for (const family of families)
      nodes.lab.run(name, 'ip', 'route', 'add', 'default', 'via', gateway[family]);
  }
  for (const family of families) {
    const { second, elsewhere } = clients;
    nodes.lab.run('second', 'ip', 'addr', 'add', elsewhere[family], 'dev', 'lo');
    nodes.lab.run(router, 'ip', 'route', 'add', elsewhere[family], 'via', second[family]);
  }

  const services = {
    near: {
      ip4: '10.96.0.40',
      ip6: 'fd96::a:40',
      node_port: 30040,
      external: { ip4: '203.0.113.40', ip6: 'fd77::40' },
    },
    far: {
      ip4: '10.96.0.41',
      ip6: 'fd96::a:41',
      node_port: 30041,
      external: { ip4: '203.0.113.41', ip6: 'fd77::41' },
    },
  } as const;
  for (const [name, pod, { topology }] of [
    ['near', near, one],
    ['far', far, two],
  ] as const) {
    const { ip4, ip6, node_port, external } = services[name];
    const external_ips = Object.values(external);
    const asked: ServiceOptions = { name, cluster_ips: [ip4, ip6], port, node_port, external_ips };
    await server.put(
      service(asked),
      ...families.map((family) => slice(asked, family, [{ address: pod[family], node: topology.name }])),
    );
  }

  for (const family of families) {
    const own = one.topology.node[family];
    const reached = async (from: 'first' | 'second', as: string, answered_by: 'first' | 'second') => {
      for (const to of ['near', 'far'] as const)
        for (const [what, address, dialed] of [
          ['a node port', own, services[to].node_port],
          ['an external address', services[to].external[family], port],
        ] as const) {
          const title = `${family}, ${as} by the ${from} uplink to ${what}, ${to}`;
          await comes(
            () => traffic.connect(from, address, dialed),
            ({ receipt }) => receipt !== undefined,
          );
          const before = [sentBy(cluster, 'n1'), sentBy(cluster, secondPort('n1'))] as const;
          const { receipt, error } = await traffic.connect(from, address, dialed, {
            bytes: 2_000_000,
            deadline_ms: 20_000,
          });
          const by_first = sentBy(cluster, 'n1') - before[0];
          const by_second = sentBy(cluster, secondPort('n1')) - before[1];
          t.equal(receipt?.bytes, 2_000_000, `${title}: ${error ?? 'whole'}`);
          t.equal(receipt?.peer, to === 'near' ? as : own, `${title}: the client that the back end sees`);
          const sent = `${title}: ${by_first} packets leave by the first, ${by_second} by the second`;
          if (answered_by === 'second') t.ok(by_second >= 10, sent);
          else t.ok(by_second < 10 && by_first >= 10, sent);
          if (answered_by === 'second' && to === 'near') t.ok(by_first < by_second, sent);
        }
    };
    await reached('first', clients.first[family], 'first');
    await reached('second', clients.second[family], 'second');
    // The way back is the routes' affair.
    const at_second = one.topology.second![family];
    const { elsewhere } = clients;
    nodes.lab.run('second', 'ip', 'route', 'replace', 'default', 'via', at_second, 'src', elsewhere[family]);
    await reached('second', elsewhere[family], 'first');

    const { error } = await traffic.connect('second', at_second, services.near.node_port);
    t.match(error, /ECONNREFUSED/, `${family}: no node port at the address of the second uplink`);

    const seen = async (from: string, to: string, address: string): Promise<string> => {
      const sent = await traffic.tcp(from, to, address, { port, bytes: 10_000, deadline_ms: 4000 });
      return sent.whole ? sent.receipt!.peer : (sent.error ?? 'broken');
    };
    const { name } = p1;
    t.equal(await seen(name, near.name, services.near[family]), p1[family], `${family}: to a pod here`);
    t.equal(await seen(name, far.name, services.far[family]), p1[family], `${family}: to a pod elsewhere`);
    // Pools have natOutgoing, and the node has one address for it.
    for (const to of ['first', 'second'] as const)
      t.equal(await seen(name, to, clients[to][family]), own, `${family}: out by the ${to} uplink`);
    t.equal(
      await seen(near.name, near.name, services.near[family]),
      'no end in time',
      `${family}: a pod does not reach itself by a service, as the state says`,
    );
  }
});

t.test('SCTP', real(), async (t) => {
  const cluster = await LabCluster.start({ vpp: found as LabClusterOptions['vpp'], pods: 2, environment });
  t.teardown(() => cluster.close());
  const { server } = cluster;
  const [one] = cluster.running as [(typeof cluster.running)[0]];
  const [client, near] = one.topology.pods as [Pod, Pod];
  // Pods in the order in which they were added.
  const device = { client: 'tun1', near: 'tun2', uplink: 'host-eth0' } as const;
  const target = 9000;
  const services = {
    same: { ip4: '10.96.0.50', ip6: 'fd96::a:50', port: target },
    other: { ip4: '10.96.0.51', ip6: 'fd96::a:51', port: 80 },
  } as const;
  for (const [name, { ip4, ip6, port }] of Object.entries(services))
    await server.put(
      kubernetesService({
        name,
        spec: {
          clusterIP: ip4,
          clusterIPs: [ip4, ip6],
          type: 'ClusterIP',
          ports: [{ port, protocol: 'SCTP', targetPort: target }],
        },
      }),
      ...families.map((family) =>
        endpointSlice(
          name,
          [{ address: near[family], node: one.topology.name }],
          [{ port: target, protocol: 'SCTP' }],
          family,
        ),
      ),
    );

  let streams = 0;
  /** VPP takes it for one that has come by `from`; what it sends by `to`. */
  const passes = async (
    packet: SctpPacket,
    from: keyof typeof device,
    to: keyof typeof device,
  ): Promise<readonly SeenSctp[]> => {
    streams += 1;
    const name = `sctp${streams}`;
    const record = `cvn-${process.pid}-${name}.pcap`;
    const replayed = join(one.directory, `${name}.pcap`);
    writeFileSync(replayed, pcapOf([sctpInit(packet)]));
    const input = packet.source.includes(':') ? 'ip6-input' : 'ip4-input';
    await one.cli(`pcap trace tx max 100 intfc ${device[to]} file ${record}`);
    await one.cli(
      `packet-generator new { name ${name} limit 1 pcap ${replayed} interface ${device[from]} node ${input} }`,
    );
    await one.cli(`packet-generator enable-stream ${name}`);
    try {
      // A record in which there is nothing yet cannot be closed.
      for (let tries = 0; tries < 20 && !existsSync(`/tmp/${record}`); tries += 1) {
        await sleep(50);
        await one.cli('pcap trace off').catch(() => undefined);
      }
      if (!existsSync(`/tmp/${record}`)) return [];
      return sctpIn(readFileSync(`/tmp/${record}`), to === 'uplink' ? ethernet_bytes : 0);
    } finally {
      rmSync(`/tmp/${record}`, { force: true });
    }
  };

  t.equal(crc32c(Buffer.alloc(32)), 0x8a91_36aa, 'the checksum is that of RFC 3720');
  const spoiled = sctpInit({
    source: '10.0.0.1',
    destination: '10.0.0.2',
    source_port: 1,
    destination_port: 2,
  });
  spoiled.writeUInt16BE(3, 22);
  t.match(sctpIn(pcapOf([spoiled])), [{ destination_port: 3, whole: false }], 'and a wrong one is seen');

  const programmed = async (): Promise<readonly string[]> =>
    Object.keys(await one.services()).filter((key) => key.startsWith('sctp'));
  t.strictSame(
    (await comes(programmed, (keys) => keys.length >= 2)).toSorted(),
    ['sctp 10.96.0.50 9000', 'sctp 10.96.0.51 80'],
    'IPv4 alone: by IPv6 VPP says that it translates, and does not',
  );
  const shown = JSON.parse(await one.debug('/debug/services?service=default/same'));
  t.match(shown.services['default/same'].plan.faults, [/SCTP is served over IPv4 alone/]);

  for (const family of families) {
    const straight: SctpPacket = {
      source: client[family],
      destination: near[family],
      source_port: 4000,
      destination_port: target,
    };
    t.strictSame(
      await passes(straight, 'client', 'near'),
      [{ ...straight, whole: true }],
      `${family}: a pod to a pod`,
    );
    for (const [at, name] of (['same', 'other'] as const).entries()) {
      const { port: dialed, [family]: vip } = services[name];
      const flow = { source: client[family], source_port: 4001 + at };
      const led = { ...flow, destination: near[family], destination_port: target };
      const title = `${family}: to a service with ${name === 'same' ? 'the port of its pod' : 'another port'}`;
      t.strictSame(
        await passes({ ...flow, destination: vip, destination_port: dialed }, 'client', 'near'),
        family === 'ip4' ? [{ ...led, whole: true }] : [],
        title,
      );
      if (family === 'ip6') continue;
      const answer = { source: led.destination, source_port: target };
      const to = { destination: flow.source, destination_port: flow.source_port };
      t.strictSame(
        await passes({ ...answer, ...to }, 'near', 'client'),
        [{ source: vip, source_port: dialed, ...to, whole: true }],
        `${title}, and back`,
      );
    }
    // VPP has ports for the source NAT of TCP and UDP alone.
    t.strictSame(
      await passes({ ...straight, destination: one.topology.gateway[family] }, 'client', 'uplink'),
      [],
      `${family}: not out under the address of the node`,
    );
    t.match(await one.cli('show errors'), new RegExp(`1\\s+cnat-output-${family}\\s+no more free ports`));
  }
});
