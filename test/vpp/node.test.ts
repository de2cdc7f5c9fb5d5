/**
 * The whole node on a real VPP, seen from outside of it: packets between pods, host and the world, and Linux before and after.
 */
import t, { type Test } from 'tap';
import { canUseNetns } from '../../lab/netns.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { type NodeOptions, type RunningNode, startNode } from '../../lab/running-node.js';
import { far, Topology, type TopologyOptions, virtual_addresses } from '../../lab/topology.js';
import { type IpState, ipState, ipStateIs, Traffic } from '../../lab/traffic.js';
import { MS_BIND, mount, unmount } from '../../src/host/libc.js';
import { needs } from '../kit/needs.js';

const vpp = findRealVpp();
const reason = vpp.usable ? canUseNetns() : vpp.why;
const real = needs(reason);

interface Started {
  readonly topology: Topology;
  readonly traffic: Traffic;
  readonly node: RunningNode;
  readonly before: IpState;
}

async function start(
  test: Test,
  topology_options: TopologyOptions = {},
  options: Omit<Partial<NodeOptions>, 'vpp'> = {},
): Promise<Started> {
  if (!vpp.usable) throw new Error(vpp.why);
  const topology = new Topology(topology_options);
  test.teardown(() => topology.close());
  const traffic = new Traffic(topology);
  test.teardown(() => traffic.close());
  const before = ipState(topology, 'node');
  for (const gateway of [topology.outside.ip4, topology.outside.ip6])
    if (gateway) await traffic.ping('node', gateway, { count: 1 });
  const node = await startNode(topology, { vpp, ...options });
  test.teardown(() => node.close());
  return { topology, traffic, node, before };
}

async function stops(test: Test, { topology, node, before }: Started): Promise<void> {
  test.strictSame(await node.differences(), [], 'VPP holds what it should, and nothing else');
  test.strictSame(await node.stop(), { code: 0, signal: null }, 'the node ends well');
  test.strictSame(await ipStateIs(topology, 'node', before), [], 'Linux is as it was');
  test.equal(node.vppPid(), undefined, 'VPP has ended');
}

const families = ['ip4', 'ip6'] as const;
const port = { tcp: 5001, dns: 53, web: 80, node: 30080, node_dns: 30053 };

t.test('pods, host and the world reach each other', real(), async (t) => {
  const started = await start(t);
  const { topology, traffic, node } = started;
  const [p1, p2] = topology.pods as [(typeof topology.pods)[0], (typeof topology.pods)[0]];
  await node.add(p1);
  await node.add(p2, {
    ports: [
      { port: port.web, host_port: port.node },
      { protocol: 'UDP', port: port.dns, host_port: port.node_dns },
    ],
  });

  for (const family of families) {
    const of = {
      p1: p1[family],
      p2: p2[family],
      node: topology.node[family]!,
      outside: topology.outside[family]!,
    };
    const pairs = [
      ['p1', 'p2'],
      ['p1', 'node'],
      ['node', 'p1'],
      ['p1', 'outside'],
      ['outside', 'p2'],
      ['outside', 'node'],
      ['node', 'outside'],
    ] as const;
    for (const [from, to] of pairs) {
      const named = `${from} to ${to}, ${family}`;
      t.equal(await traffic.ping(from, of[to]), 3, `${named}: echo`);
      const dns = await traffic.udp(from, to, of[to]);
      t.strictSame(
        dns,
        { answered: 5, seen_as: [of[from]], answered_by: [to] },
        `${named}: questions and answers over UDP`,
      );
      const transfer = await traffic.tcp(from, to, of[to], { bytes: 20_000_000 });
      t.match(transfer, { whole: true, receipt: { peer: of[from] } }, `${named}: TCP with large segments`);
      t.comment(`${named}: ${transfer.mbit_s} Mbit/s`);
    }
    t.match(
      await traffic.tcp('outside', 'p2', of.node, {
        port: port.node,
        listen_port: port.web,
        bytes: 5_000_000,
      }),
      { whole: true, receipt: { peer: of.outside } },
      `TCP to a host port, ${family}: the pod sees the client's address`,
    );
    t.match(
      await traffic.udp('outside', 'p2', of.node, { port: port.node_dns, listen_port: port.dns }),
      { answered: 5, seen_as: [of.outside] },
      `UDP to a host port, ${family}`,
    );
    t.match(
      await traffic.tcp('p1', 'p2', of.node, { port: port.node, listen_port: port.web }),
      { whole: true },
      `a pod to a host port of its own node, ${family}`,
    );
  }
  await stops(t, started);
});

t.test('path MTU discovery works from inside a pod', real(), async (t) => {
  const started = await start(t, { mtu: 1400, pods: 1 });
  const { topology, traffic, node } = started;
  const [p1] = topology.pods as [(typeof topology.pods)[0]];
  await node.add(p1);
  const learned = (target: string): unknown =>
    JSON.parse(topology.lab.run('p1', 'ip', '-j', 'route', 'get', target))[0]?.metrics?.[0]?.mtu;
  for (const family of families) {
    const transfer = await traffic.tcp('p1', 'far', far[family], { bytes: 5_000_000 });
    t.ok(transfer.whole, `TCP through a narrow link far away, ${family}: ${transfer.error}`);
    t.equal(learned(far[family]), far.mtu, `the pod has learned its MTU from that router, ${family}`);
  }
  // More than the uplink has, as an administrator of the pod may set it: VPP itself has to tell.
  topology.within('p1', (pod) => pod.apply({ do: 'set_link', link: pod.link('eth0')!.index, mtu: 1500 }));
  for (const family of families) {
    const target = topology.outside[family]!;
    const transfer = await traffic.tcp('p1', 'outside', target, { bytes: 5_000_000 });
    t.ok(transfer.whole, `TCP through an uplink that is narrower than the pod, ${family}: ${transfer.error}`);
    t.equal(learned(target), 1400, `the pod has learned the uplink's MTU from VPP, ${family}`);
  }
  await stops(t, started);
});

t.test('a pod sends from its own addresses and those it is allowed, and from no other', real(), async (t) => {
  const started = await start(t);
  const { topology, traffic, node } = started;
  const [p1, p2] = topology.pods as [(typeof topology.pods)[0], (typeof topology.pods)[0]];
  const allowed = { ip4: '10.77.0.5', ip6: 'fd77::55' };
  const foreign = { ip4: '10.78.0.6', ip6: 'fd78::66' };
  for (const pod of topology.pods) {
    topology.within(pod.name, (namespace) => {
      for (const address of [...Object.values(allowed), ...Object.values(foreign)]) {
        const family = address.includes(':') ? 6 : 4;
        namespace.apply({
          do: 'add_address',
          address: { link: 1, family, prefix: `${address}/${family === 4 ? 32 : 128}`, flags: no_dad },
        });
      }
    });
  }
  const annotations = {
    'cni.projectcalico.org/allowedSourcePrefixes': JSON.stringify(['10.77.0.0/24', 'fd77::/64']),
  };
  let port_now = 6000;
  /** Who has sent to the outside, of one pod that tries three sources. */
  const seen = async (from: string): Promise<readonly string[]> => {
    for (const family of families) {
      const target = topology.outside[family]!;
      const options = { port: port_now, count: 2, wait_ms: 50 };
      for (const source of [undefined, allowed[family], foreign[family]]) {
        await traffic.udp(from, 'outside', target, { ...options, ...(source && { source }) });
      }
      // Behind all of those, on the same way.
      await traffic.udp(from, 'outside', target, { port: port_now, count: 1 });
      port_now += 1;
    }
    return [
      ...(await traffic.senders('outside', port_now - 2)),
      ...(await traffic.senders('outside', port_now - 1)),
    ].sort();
  };

  await node.add(p1);
  await node.add(p2, { annotations });
  t.strictSame(await seen('p1'), [p1.ip4, p1.ip6].sort(), 'only its own addresses');
  t.strictSame(
    await seen('p2'),
    [p2.ip4, p2.ip6, allowed.ip4, allowed.ip6].sort(),
    'its own addresses and the allowed prefixes',
  );

  for (let round = 0; round < 5; round++) {
    await node.del(p1);
    await node.del(p2);
    await Promise.all([node.add(p2), node.add(p1, { annotations })]);
    await node.del(p2);
    await node.add(p2);
  }
  t.strictSame(
    await seen('p1'),
    [p1.ip4, p1.ip6, allowed.ip4, allowed.ip6].sort(),
    'after pods have come and gone, whoever is allowed now',
  );
  t.strictSame(await seen('p2'), [p2.ip4, p2.ip6].sort(), 'and nobody who was allowed before');
  await stops(t, started);
});

t.test('what is a pod’s own, and what is not', real(), async (t) => {
  const started = await start(t);
  const { topology, traffic, node } = started;
  const [p1, p2] = topology.pods as [(typeof topology.pods)[0], (typeof topology.pods)[0]];
  const http = { ports: [{ port: 80, host_port: 8080 }] };
  const mine = topology.lab.open(p1.name);
  const own = () => ({
    mtu: mine.link('eth0')?.mtu,
    forwarding: mine.readSysctl('net/ipv4/ip_forward'),
    routes: mine.routes({ table: 254, link: mine.link('eth0')!.index }).length,
  });

  await node.add(p1, http);
  mine.apply({ do: 'set_link', link: mine.link('eth0')!.index, mtu: 1400 });
  mine.writeSysctl('net/ipv4/ip_forward', '1');
  const changed = { ...own(), mtu: 1400, forwarding: '1' };
  t.strictSame(own(), changed);
  const vpp_pid = node.vppPid()!;
  process.kill(vpp_pid, 'SIGKILL');
  await node.untilOtherVpp(vpp_pid);
  await node.untilReady();
  await traffic.untilReachable('outside', p1.ip4, 10_000);
  await node.untilConverged();
  t.strictSame(own(), changed, 'a new VPP takes up the device, and leaves what the pod has changed');

  await t.rejects(node.add(p2, http), { message: /host port tcp .* 8080 is that of pod default\/p1 eth0/ });
  await t.rejects(node.add({ ...p2, netns: topology.lab.namespace('node') }), {
    message: /is the network namespace of the node itself/,
  });
  await t.rejects(node.add({ ...p2, netns: topology.lab.namespace('vpp') }), /of the node itself/);
  // VPP has a drop for these in each of its tables.
  for (const ip4 of ['240.0.0.9', '255.255.255.254']) {
    await node.add({ ...p2, ip4 });
    t.equal(await traffic.ping('p1', ip4, { count: 3 }), 3, `a pod to a pod with ${ip4}`);
    await node.del(p2);
  }
  await node.add(p2);
  await traffic.untilReachable('outside', p2.ip4, 5000);

  // Another pod's namespace comes to stand at the path.
  const stranger = topology.lab.namespace('stranger');
  topology.lab.run('stranger', 'ip', 'tuntap', 'add', 'dev', 'eth0', 'mode', 'tun');
  mount(stranger, p1.netns, MS_BIND);
  await node.del(p1);
  t.ok(topology.lab.open('stranger').link('eth0'), 'the device of a stranger stays');
  t.equal(mine.link('eth0'), undefined, 'and the pod’s own goes with VPP’s interface');
  await node.del(p2);
  unmount(p1.netns);
  await stops(t, started);
});

const no_dad = 0x02;

for (const variant of ['ip6_only', 'on_link_gateway', 'virtual_address', 'two_uplinks'] as const) {
  t.test(`a node with an uplink of the kind ${variant}`, real(), async (t) => {
    const started = await start(t, { variant, pods: 1 });
    const { topology, traffic, node } = started;
    const [p1] = topology.pods as [(typeof topology.pods)[0]];
    await node.add(p1);
    for (const family of families) {
      const [own, outside] = [topology.node[family], topology.outside[family]];
      if (own === undefined || outside === undefined) continue;
      t.equal(await traffic.ping('outside', own), 3, `outside to the node, ${family}`);
      t.equal(await traffic.ping('outside', p1[family]), 3, `outside to a pod, ${family}`);
      t.match(await traffic.tcp('p1', 'outside', outside), { whole: true }, `a pod to outside, ${family}`);
      t.match(
        await traffic.tcp('node', 'outside', outside),
        { whole: true },
        `the node to outside, ${family}`,
      );
      t.match(await traffic.tcp('p1', 'node', own), { whole: true }, `a pod to the node, ${family}`);
    }
    if (variant === 'virtual_address') {
      for (const address of virtual_addresses.of_uplink) {
        t.equal(await traffic.ping('outside', address), 3, `outside to ${address}`);
        t.equal(await traffic.ping('p1', address), 3, `a pod to ${address}`);
      }
      for (const address of virtual_addresses.of_loopback)
        t.equal(await traffic.ping('p1', address), 3, `a pod to ${address}`);
    }
    if (variant === 'two_uplinks') {
      for (const [own, outside] of [
        ['10.1.0.12', '10.1.0.11'],
        ['fd01::12', 'fd01::11'],
      ] as const) {
        // In this order: the address translation of VPP 26.10 swallows VPP's own questions for IPv6 neighbours.
        // It rejects where nobody answers.
        await traffic.untilReachable('outside', own, 3000);
        await traffic.untilReachable('node', outside, 3000);
      }
    }
    const pid = node.vppPid();
    await node.kill('SIGKILL');
    await node.restart();
    t.equal(node.vppPid(), pid, 'the next life adopts VPP');
    t.equal(await traffic.ping('outside', p1.ip6), 3, 'and packets pass on');
    await stops(t, started);
  });
}

t.test('an uplink that computes no checksums', real(), async (t) => {
  const started = await start(t, { offload: 'nowhere', pods: 1 });
  const { topology, traffic, node } = started;
  const [p1] = topology.pods as [(typeof topology.pods)[0]];
  await node.add(p1);
  for (const family of families) {
    t.equal(await traffic.ping('outside', topology.node[family]!), 3, `outside to the node, ${family}`);
    for (const from of ['p1', 'node'] as const)
      t.match(
        await traffic.tcp(from, 'outside', topology.outside[family]!),
        { whole: true },
        `${from} to outside, ${family}`,
      );
  }
  await stops(t, started);
});

t.test('an uplink driven by af_xdp', real(), async (t) => {
  const started = await start(t, { offload: 'node', pods: 1 }, { driver: 'af_xdp' });
  const { topology, traffic, node } = started;
  const [p1] = topology.pods as [(typeof topology.pods)[0]];
  await node.add(p1);
  const works = async (when: string): Promise<void> => {
    for (const family of families) {
      t.equal(
        await traffic.ping('outside', topology.node[family]!),
        3,
        `outside to the node ${when}, ${family}`,
      );
      t.match(
        await traffic.tcp('p1', 'outside', topology.outside[family]!),
        { whole: true },
        `a pod to outside ${when}, ${family}`,
      );
    }
  };
  await works('at first');
  const pid = node.vppPid()!;
  await node.kill('SIGKILL');
  await node.restart();
  t.equal(node.vppPid(), pid, 'the next life adopts VPP');
  await works('after an adoption');
  process.kill(pid, 'SIGKILL');
  await node.untilOtherVpp(pid);
  await node.untilReady();
  await node.untilConverged();
  await works('after the death of VPP');
  await stops(t, started);
});
