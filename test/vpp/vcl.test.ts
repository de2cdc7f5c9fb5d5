/** VPP's host stack for programs of pods, on a real VPP: iperf3 and nginx by way of libvcl_ldpreload. */
import t, { type Test } from 'tap';
import { canUseNetns } from '../../lab/netns.js';
import { patience } from '../../lab/patience.js';
import { missing, pathOf } from '../../lab/programs.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { type RunningNode, startNode, waitFor } from '../../lab/running-node.js';
import { type Pod, Topology } from '../../lab/topology.js';
import { Traffic } from '../../lab/traffic.js';
import { findVcl, type Place, VclLab } from '../../lab/vcl.js';

const vpp = findRealVpp();
const vcl = vpp.usable ? findVcl() : { why: vpp.why };
const reason = 'why' in vcl ? vcl.why : (canUseNetns() ?? missing('iperf3'));
const real = reason === undefined ? {} : { skip: reason };
const no_nginx =
  reason ??
  missing('curl') ??
  (pathOf('nginx', '/usr/sbin') === undefined ? "needs nginx (Debian's package nginx-light)" : undefined);
const with_nginx = no_nginx === undefined ? {} : { skip: no_nginx };
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

const familyOf = { ip4: 4, ip6: 6 } as const;

/** A server by the host stack of p1 that is there for one question. */
async function asked(
  { lab, p1 }: Started,
  from: Place,
  family: 'ip4' | 'ip6',
  options: { readonly udp?: boolean } = {},
): Promise<number> {
  const stop = await lab.iperfServer(inVcl('p1'), port.vcl, familyOf[family]);
  try {
    return (await lab.iperf(from, p1[family], { port: port.vcl, ...options })).bytes;
  } finally {
    await stop();
  }
}

/** What no program of the host stack listens on is p1's plain processes', and what they send goes as ever. */
async function besideIt(test: Test, { traffic, p1, p2, topology }: Started, when: string): Promise<void> {
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

t.test('a pod by the host stack', real, async (t) => {
  const started = await start(t);
  const { node, p1, p2, p3, lab, topology, traffic } = started;
  for (const pod of [p1, p3]) await node.add(pod, { annotations });
  await node.add(p2);
  t.strictSame(await node.differences(), [], 'VPP holds what it should');

  for (const family of families) {
    for (const from of [plain('p2'), inVcl('p3')])
      t.ok((await asked(started, from, family)) > 100_000, `TCP from ${from.name}, ${family}`);
    t.ok((await asked(started, plain('p2'), family, { udp: true })) > 10_000, `UDP from p2, ${family}`);
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
  for (const family of families)
    t.ok((await asked(started, plain('p2'), family)) > 100_000, `a new program with another VPP, ${family}`);
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

t.test('nginx by the host stack', with_nginx, async (t) => {
  const started = await start(t);
  const { node, p1, p2, p3, lab } = started;
  for (const pod of [p1, p3]) await node.add(pod, { annotations });
  await node.add(p2);
  const stop = lab.nginx(inVcl('p1'), [p1.ip4, p1.ip6], 8080);
  for (const family of families)
    for (const from of [plain('p2'), inVcl('p3')])
      t.equal(await lab.get(from, p1[family], 8080), 'from p1', `asked from ${from.name}, ${family}`);
  t.match(await node.cli('show app'), /nginx/, 'it is the host stack that nginx listens at');
  await stop();
});

t.test('where policies are enforced no pod has it', real, async (t) => {
  const started = await start(t);
  const { node, p1, p2 } = started;
  await node.add(p1, { annotations });
  t.match(await node.cli('show app ns'), /eth0-p1/);
  await node.kill('SIGKILL');
  node.setEnvironment({ CALICOVPP_FELIX: 'on' });
  await node.restart();
  await waitFor(
    async () => !(await node.cli('show app ns')).includes('eth0-p1'),
    30_000 * patience,
    () => 'the pod has VPP’s host stack still',
  );
  t.match(
    node.lastWords(200),
    /1 pods go without VPP's host stack, and by their device alone: policies are enforced on this node/,
    'and that is said',
  );
  await t.rejects(
    node.add(p2, { annotations }),
    /vppVcl "enable" asks for VPP's host stack, which this node does not have: policies are enforced.*set CALICOVPP_FELIX to off/,
    'one that asks for it is refused',
  );
  await node.add(p2);
});
