/** VPP's host stack for programs of pods, on a real VPP: iperf3 and nginx by way of libvcl_ldpreload. */
import t, { type Test } from 'tap';
import { service, slice } from '../../lab/k8s/service-objects.js';
import { LabCluster } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import { router, router_address } from '../../lab/nodes.js';
import { missing, pathOf } from '../../lab/programs.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { type RunningNode, startNode } from '../../lab/running-node.js';
import { type Pod, Topology } from '../../lab/topology.js';
import { Traffic } from '../../lab/traffic.js';
import { findVcl, type Place, VclLab } from '../../lab/vcl.js';
import { needs } from '../kit/needs.js';

const vpp = findRealVpp();
const vcl = vpp.usable ? findVcl() : { why: vpp.why };
const reason = 'why' in vcl ? vcl.why : (canUseNetns() ?? missing('iperf3'));
const real = needs(reason);
const no_nginx =
  reason ??
  missing('curl') ??
  (pathOf('nginx', '/usr/sbin') === undefined ? "needs nginx (Debian's package nginx-light)" : undefined);
const with_nginx = needs(no_nginx);
const families = ['ip4', 'ip6'] as const;
const annotations = { 'cni.projectcalico.org/vppVcl': 'enable' };
const gates = { CALICOVPP_FEATURE_GATES: '{"vclEnabled": true}' };
const port = { vcl: 5201, plain: 5301 };

interface Started {
  readonly topology: Topology;
  readonly traffic: Traffic;
  readonly node: RunningNode;
  readonly lab: VclLab;
  readonly p1: Pod;
  readonly p2: Pod;
  readonly p3: Pod;
}

async function start(test: Test): Promise<Started> {
  if (!vpp.usable || 'why' in vcl) throw new Error(reason);
  const topology = new Topology({ pods: 3 });
  test.teardown(() => topology.close());
  const traffic = new Traffic(topology);
  test.teardown(() => traffic.close());
  const lab = new VclLab(topology, vcl.path);
  test.teardown(() => lab.close());
  const node = await startNode(topology, { vpp, environment: gates });
  test.teardown(() => node.close());
  const [p1, p2, p3] = topology.pods as [Pod, Pod, Pod];
  return { topology, traffic, node, lab, p1, p2, p3 };
}

const inVcl = (name: string): Place => ({ name, vcl: true });
const plain = (name: string): Place => ({ name, vcl: false });

/** A server that is there for one question. Answers how many bytes arrived. */
async function asked(
  { lab }: Pick<Started, 'lab'>,
  from: Place,
  to: Place,
  address: string,
  options: { readonly udp?: boolean; readonly reverse?: boolean } = {},
): Promise<number> {
  const stop = await lab.iperfServer(to, port.vcl, address.includes(':') ? 6 : 4);
  try {
    return (await lab.iperf(from, address, { port: port.vcl, ...options })).bytes;
  } finally {
    await stop();
  }
}

/** Of both families and protocols: to p1's host stack from each place, and from it to each. */
async function isReached(test: Test, started: Started, when: string): Promise<void> {
  const { topology, p1, p2, p3 } = started;
  const others = [
    { at: plain('p2'), address: p2 },
    { at: inVcl('p3'), address: p3 },
    { at: plain('outside'), address: topology.outside },
  ];
  for (const family of families)
    for (const { at, address } of others)
      for (const udp of [false, true]) {
        const least = udp ? 10_000 : 100_000;
        const what = `${udp ? 'UDP' : 'TCP'}, ${family}, ${when}`;
        const there = await asked(started, at, inVcl('p1'), p1[family], { udp });
        test.ok(there > least, `from ${at.name}, ${what}`);
        const back = await asked(started, inVcl('p1'), at, address[family]!, { udp });
        test.ok(back > least, `to ${at.name}, ${what}`);
      }
}

/** What no program of the host stack listens on is p1's plain processes', and what they send goes as ever. */
async function besideIt(
  test: Test,
  { traffic, lab, p1, p2, topology }: Started,
  when: string,
): Promise<void> {
  // The gateway says so of what it has no route for.
  for (const name of ['node', 'p1'])
    test.match(
      await lab.run(plain(name), ['ping', '-c', '1', '-W', '2', '203.0.113.7'], 10_000),
      /Unreachable/,
      `${name} hears what cannot be reached, ${when}`,
    );
  for (const family of families) {
    const target = p1[family];
    const named = `${family}, ${when}`;
    test.match(
      await traffic.udp('p2', 'p1', target, { port: port.plain }),
      { answered: 5, seen_as: [p2[family]], answered_by: ['p1'] },
      `UDP to a plain process, ${named}`,
    );
    for (const [from, to, at] of [
      ['p2', 'p1', target],
      ['p1', 'outside', topology.outside[family]!],
    ] as const)
      test.match(
        await traffic.tcp(from, to, at, { port: port.plain, bytes: 200_000 }),
        { whole: true },
        `TCP of plain processes, ${from} to ${to}, ${named}`,
      );
    test.equal(await traffic.ping('p2', target), 3, `echo, ${named}`);
  }
}

t.test('a pod by the host stack', real(), async (t) => {
  const started = await start(t);
  const { node, p1, p2, p3, lab, topology, traffic } = started;
  for (const pod of [p1, p3]) await node.add(pod, { annotations });
  await node.add(p2);
  t.strictSame(await node.differences(), [], 'VPP holds what it should');

  await isReached(t, started, 'at first');
  for (const family of families) {
    const listens = await lab.iperfServer(plain('p2'), port.vcl, family === 'ip4' ? 4 : 6);
    const foreign = { ip4: '10.44.0.77', ip6: 'fd44::77' }[family];
    const passes = (source: string) => lab.isReached(inVcl('p1'), p2[family], port.vcl, source);
    t.ok(await passes(p1[family]), `under the pod's address, ${family}`);
    t.notOk(await passes(foreign), `and under no other, ${family}`);
    await listens();
  }
  await besideIt(t, started, 'at first');

  const stop = await lab.iperfServer(inVcl('p1'), port.vcl, 4);
  const still = async (when: string) =>
    t.ok((await lab.iperf(plain('p2'), p1.ip4, { port: port.vcl })).bytes > 100_000, `it answers ${when}`);
  await still('at first');
  await node.add(p1, { annotations });
  await still('after the ADD was repeated');
  await node.kill('SIGKILL');
  await node.restart();
  t.strictSame(await node.differences(), [], 'a process that begins anew finds what it should');
  t.strictSame(await node.changesSent(), [], 'and changes nothing');
  await still('after the death of the process');

  const old = node.vppPid()!;
  process.kill(old, 'SIGKILL');
  await node.untilOtherVpp(old);
  await node.untilConverged();
  await stop();
  await isReached(t, started, 'new programs with another VPP');
  await besideIt(t, started, 'with another VPP');

  const last = await lab.iperfServer(inVcl('p1'), port.vcl, 4);
  await still('before DEL');
  await node.del(p1);
  t.notMatch(await node.cli('show app ns'), /eth0-p1/, 'DEL takes the namespace away under a program');
  t.notMatch(topology.lab.run('p1', 'cat', '/proc/net/unix'), /@vpp\/session/, 'and its socket');
  t.strictSame(await node.differences(), [], 'and all else');
  await last();
  await node.add(p1);
  t.equal(await traffic.ping('p2', p1.ip4), 3, 'without the annotation all leads to the device');
  t.strictSame(await node.stop(), { code: 0, signal: null });
});

t.test('nginx by the host stack', with_nginx(), async (t) => {
  const started = await start(t);
  const { node, p1, p2, p3, lab } = started;
  for (const pod of [p1, p3]) await node.add(pod, { annotations });
  await node.add(p2);
  const stop = lab.nginx(inVcl('p1'), [p1.ip4, p1.ip6], 8080);
  for (const family of families)
    for (const from of [plain('p2'), inVcl('p3')])
      t.equal(
        await lab.get(from, p1[family], 8080),
        `p1 to ${from.vcl ? p3[family] : p2[family]}`,
        `asked from ${from.name}, ${family}`,
      );
  t.match(await node.cli('show app'), /nginx/, 'it is the host stack that nginx listens at');
  await stop();
});

const vips = {
  near: { ip4: '10.96.0.10', ip6: 'fd96::a:10' },
  far: { ip4: '10.96.0.11', ip6: 'fd96::a:11' },
};
const served = 8080;

t.test('between nodes, by services and under which address', with_nginx(), async (t) => {
  if (!vpp.usable || 'why' in vcl) throw new Error(reason);
  const cluster = await LabCluster.start({
    vpp,
    pods: 2,
    environment: { SERVICE_PREFIX: '10.96.0.0/16,fd96::/108', ...gates },
  });
  t.teardown(() => cluster.close());
  const lab = new VclLab(cluster.nodes, vcl.path);
  t.teardown(() => lab.close());
  const [one, two] = cluster.running as [(typeof cluster.running)[0], (typeof cluster.running)[0]];
  const [p1, p2] = one.topology.pods as [Pod, Pod];
  const [q1, q2] = two.topology.pods as [Pod, Pod];
  for (const { topology } of cluster.running) cluster.nodes.teachRouter(topology);
  for (const [node, pod] of [
    [one, p1],
    [two, q1],
  ] as const) {
    await node.del(pod);
    await node.add(pod, { annotations });
    lab.nginx(inVcl(pod.name), [pod.ip4, pod.ip6], served);
  }
  for (const pod of [p2, q2]) lab.nginx(plain(pod.name), [pod.ip4, pod.ip6], served);
  lab.nginx(plain(router), [router_address.ip4, router_address.ip6], served);
  for (const [name, pod, node, node_port] of [
    ['near', p1, one, 30080],
    ['far', q1, two, 30081],
  ] as const) {
    const of = { name, cluster_ips: families.map((family) => vips[name][family]), port: served, node_port };
    const backends = (family: 'ip4' | 'ip6') => [{ address: pod[family], node: node.topology.name }];
    await cluster.server.put(service(of), ...families.map((family) => slice(of, family, backends(family))));
  }

  for (const family of families) {
    const node = one.topology.node[family];
    const is = async (from: Place, to: string, expected: string, what: string, port = served) =>
      t.equal(await lab.get(from, to, port), expected, `${what}, ${family}`);
    await is(inVcl(p1.name), q1[family], `${q1.name} to ${p1[family]}`, 'to the host stack of another node');
    await is(inVcl(p1.name), q2[family], `${q2.name} to ${p1[family]}`, 'to a device of another node');
    await is(plain(q2.name), p1[family], `${p1.name} to ${q2[family]}`, 'from a device of another node');
    await is(plain(p2.name), vips.near[family], `${p1.name} to ${p2[family]}`, 'by a service on this node');
    await is(plain(q2.name), vips.near[family], `${p1.name} to ${q2[family]}`, 'by one, from another node');
    await is(inVcl(p1.name), vips.far[family], `${q1.name} to ${p1[family]}`, 'it reaches a service');
    await is(
      plain(router),
      node,
      `${p1.name} to ${one.topology.gateway[family]}`,
      'by a node port: the client is seen',
      30080,
    );
    await is(plain(router), node, `${q1.name} to ${node}`, 'by one of another node', 30081);
    await is(inVcl(p1.name), router_address[family], `${router} to ${node}`, 'natOutgoing');
  }
  for (const node of cluster.running) t.strictSame(await node.differences(), [], 'VPP holds what it should');
});

t.test('by a tunnel to another node', real(), async (t) => {
  if (!vpp.usable || 'why' in vcl) throw new Error(reason);
  const cluster = await LabCluster.start({ vpp, pods: 2, encapsulation: 'vxlan', environment: gates });
  t.teardown(() => cluster.close());
  const lab = new VclLab(cluster.nodes, vcl.path);
  t.teardown(() => lab.close());
  const [one, two] = cluster.running as [(typeof cluster.running)[0], (typeof cluster.running)[0]];
  const [p1] = one.topology.pods as [Pod, Pod];
  const [q1, q2] = two.topology.pods as [Pod, Pod];
  for (const [node, pod] of [
    [one, p1],
    [two, q1],
  ] as const) {
    await node.del(pod);
    await node.add(pod, { annotations });
  }
  for (const family of families)
    for (const [to, pod] of [
      [inVcl(q1.name), q1],
      [plain(q2.name), q2],
    ] as const)
      t.ok(
        (await asked({ lab }, inVcl(p1.name), to, pod[family])) > 2_000_000,
        `TCP in bulk to ${to.vcl ? 'a host stack' : 'a device'}, ${family}`,
      );
  t.notMatch(await one.cli('show errors'), /number of sent fragments/, 'nothing had to be cut');
});
