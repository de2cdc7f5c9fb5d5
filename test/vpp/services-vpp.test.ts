/**
 * Services and source NAT on real VPPs: who reaches what, and under which address, by each way of source NAT that this VPP has. `VPP_REPAIRED_BIN`
 * names a VPP whose cnat has the changes of docs/vpp-notes.md, where there is one.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { service, slice } from '../../lab/k8s/service-objects.js';
import { LabCluster, type LabClusterOptions } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import { router, router_address } from '../../lab/nodes.js';
import { patience } from '../../lab/patience.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import type { Pod } from '../../lab/topology.js';

const stock = findRealVpp();
const repaired =
  process.env.VPP_REPAIRED_BIN === undefined
    ? undefined
    : findRealVpp({ ...process.env, VPP_BIN: process.env.VPP_REPAIRED_BIN });
const no_netns = canUseNetns();

type Family = 'ip4' | 'ip6';
type Found = ReturnType<typeof findRealVpp>;

interface Way {
  readonly title: string;
  readonly found: Found | undefined;
  readonly families: readonly Family[];
  readonly environment: Readonly<Record<string, string>>;
  /** A pod reaches itself by a service. */
  readonly reaches_itself: boolean;
}

const both = ['ip4', 'ip6'] as const;
const ways: readonly Way[] = [
  {
    title: 'stock, both families: the policy for Kubernetes, uplinks apart by IPv6',
    found: stock,
    families: both,
    environment: {},
    reaches_itself: true,
  },
  {
    title: 'stock, IPv4 alone: the policy for Kubernetes',
    found: stock,
    families: ['ip4'],
    environment: {},
    reaches_itself: true,
  },
  {
    title: 'repaired, both families: the policy for Kubernetes',
    found: repaired,
    families: both,
    environment: { CALICOVPP_CNAT: 'repaired' },
    reaches_itself: true,
  },
];

const vips: Readonly<Record<'near' | 'far' | 'udp', Readonly<Record<Family, string>>>> = {
  near: { ip4: '10.96.0.10', ip6: 'fd96::a:10' },
  far: { ip4: '10.96.0.11', ip6: 'fd96::a:11' },
  udp: { ip4: '10.96.0.12', ip6: 'fd96::a:12' },
};
const nobody: Readonly<Record<Family, string>> = { ip4: '10.96.0.99', ip6: 'fd96::a:99' };
/** On the link of the nodes, and nobody's gateway; knows no way to pods. */
const on_link = 'onlink';
const neighbour: Readonly<Record<Family, string>> = { ip4: '10.0.0.77', ip6: 'fd00::7:77' };
const port = 5001;
const prefixes = '10.96.0.0/16,fd96::/108';

/** Repeats what asks VPP until it is as expected, for as long as it takes to be programmed. */
async function comes<T>(
  ask: () => Promise<T>,
  is: (now: T) => boolean,
  deadline_ms = 20_000 * patience,
): Promise<T> {
  const deadline = performance.now() + deadline_ms;
  for (;;) {
    const now = await ask();
    if (is(now) || performance.now() > deadline) return now;
    await sleep(200);
  }
}

for (const way of ways) {
  const { found, families, reaches_itself } = way;
  const why = found === undefined ? 'VPP_REPAIRED_BIN names none' : found.usable ? undefined : found.why;
  const skip = why ?? no_netns;
  t.test(way.title, skip === undefined ? {} : { skip }, async (t) => {
    const cluster = await LabCluster.start({
      vpp: found as LabClusterOptions['vpp'],
      pods: 2,
      only_ip4: !families.includes('ip6'),
      environment: { SERVICE_PREFIX: prefixes, ...way.environment },
    });
    t.teardown(() => cluster.close());
    const [one, two] = cluster.running as [(typeof cluster.running)[0], (typeof cluster.running)[0]];
    const [p1, p2] = one.topology.pods as [Pod, Pod];
    const [q1] = two.topology.pods as [Pod];
    for (const { topology } of cluster.running) cluster.nodes.teachRouter(topology);
    const { traffic, server } = cluster;
    const { lab } = cluster.nodes;
    const addresses = [`${neighbour.ip4}/24`, `${neighbour.ip6}/64`];
    lab.veth({ namespace: on_link, name: 'eth0', addresses }, { namespace: router, name: on_link });
    lab.run(router, 'ip', 'link', 'set', on_link, 'master', 'br0');
    // Whoever is the first to send to him may fare badly.
    for (const family of families) await traffic.untilReachable(one.topology.name, neighbour[family], 10_000);
    const of = (pod: Pod, node: string) => (family: Family) => [{ address: pod[family], node }];
    const put = async (
      name: keyof typeof vips,
      more: object,
      backends: (family: Family) => { address: string; node: string }[],
    ): Promise<void> => {
      const asked = { name, cluster_ips: families.map((family) => vips[name][family]), port, ...more };
      await server.put(service(asked), ...families.map((family) => slice(asked, family, backends(family))));
    };
    await put('near', { node_port: 30080 }, of(p1, one.topology.name));
    await put('far', { node_port: 30081 }, of(q1, two.topology.name));

    /** By TCP; the address that the listener saw, or the error. */
    const seen = async (from: string, to: string, address: string, dialed = port): Promise<string> => {
      const sent = await traffic.tcp(from, to, address, {
        bytes: 10_000,
        port: dialed,
        listen_port: port,
        deadline_ms: 4000,
      });
      return sent.whole ? sent.receipt!.peer : (sent.error ?? 'broken');
    };
    const peer = (from: string, to: string, address: string, expected: string, dialed = port) =>
      comes(
        () => seen(from, to, address, dialed),
        (now) => now === expected,
      );
    const fails = async (test: Test, text: string, saw: Promise<string>) =>
      test.comment(`${text}: ${await saw}`);

    for (const family of families) {
      await t.test(family, async (t) => {
        const node = one.topology.node[family];
        const outside = one.topology.gateway[family];
        const vip = (name: keyof typeof vips) => vips[name][family];
        const is = async (
          from: string,
          to: string,
          address: string,
          as: string,
          what: string,
          dialed = port,
        ) => t.equal(await peer(from, to, address, as, dialed), as, what);

        await is(p2.name, p1.name, vip('near'), p2[family], 'a pod to a service on its node');
        await is(p2.name, q1.name, vip('far'), p2[family], 'to one on another node');
        await is(q1.name, p1.name, vip('near'), q1[family], 'from another node');
        await is(one.topology.name, p1.name, vip('near'), node, 'the host to a service');
        await is(one.topology.name, q1.name, vip('far'), node, 'to one on another node');
        await is(p1.name, router, router_address[family], node, 'natOutgoing: under the address of the node');
        await is(p1.name, on_link, neighbour[family], node, 'likewise to who is on the link');
        await is(p1.name, q1.name, q1[family], p1[family], 'but not to a pod');
        await is(router, p1.name, node, outside, 'a node port, its back end here: the client is seen', 30080);
        await is(p2.name, p1.name, node, p2[family], 'a pod to a node port', 30080);
        await is(router, q1.name, node, node, 'a node port, its back end elsewhere: by this node', 30081);
        if (reaches_itself) await is(p1.name, p1.name, vip('near'), node, 'a pod to itself by a service');
        else await fails(t, 'a pod to itself', seen(p1.name, p1.name, vip('near')));
        const began = performance.now();
        t.match(await seen(p2.name, p1.name, nobody[family]), /EHOSTUNREACH|ENETUNREACH/, 'nobody is there');
        t.ok(performance.now() - began < 2000, 'and that is said at once');
      });
    }

    await t.test('UDP has a back end as soon as there is one, and another when that goes', async (t) => {
      const family = 'ip4';
      const asked = { name: 'udp', port: 5353, protocol: 'UDP' } as const;
      await put('udp', { ...asked, cluster_ips: families.map((each) => vips.udp[each]) }, () => []);
      const ask = (count: number) =>
        traffic.udp(q1.name, p1.name, vips.udp[family], { port: 5353, count, wait_ms: 100 });
      t.match(await ask(3), { answered: 0 }, 'nobody');
      const flow = ask(200);
      await sleep(1500);
      await server.put(slice(asked, family, of(p1, one.topology.name)(family)));
      // The same socket all the time.
      const { answered } = await flow;
      t.ok(answered > 100, `one flow, begun before there was anybody: ${answered} of 200 answered`);

      // Whose answers come all the time: its session would live on.
      await traffic.udp(p1.name, p2.name, p2[family], { port: 5353, count: 1 });
      const other = traffic.udp(q1.name, p1.name, vips.udp[family], {
        port: 5353,
        count: 200,
        wait_ms: 100,
        pause_ms: 50,
      });
      await sleep(1000);
      t.notOk((await traffic.senders(p2.name, 5353)).includes(q1[family]));
      await server.put(slice(asked, family, of(p2, one.topology.name)(family)));
      const moved = await other;
      t.ok(moved.answered > 150, 'answered before and after');
      t.strictSame(moved.answered_by, [p1.name, p2.name], 'the flow has moved to the next one');
    });

    await t.test('a connection outlives changes of the other back ends', async (t) => {
      const family = 'ip4';
      let is_over = false;
      const long = traffic
        .tcp(p2.name, p1.name, vips.near[family], {
          bytes: 60_000_000,
          port,
          pause_ms: 40,
          deadline_ms: 200_000,
        })
        .finally(() => {
          is_over = true;
        });
      const asked = { name: 'near', port } as const;
      const changes_max = 1000;
      let changes = 0;
      while (!is_over && changes < changes_max) {
        const more = changes % 2 === 0 ? of(q1, two.topology.name)(family) : [];
        await server.put(slice(asked, family, [...of(p1, one.topology.name)(family), ...more]));
        changes += 1;
      }
      t.equal(changes, changes_max, 'all of them under the connection');
      t.match(await long, { whole: true }, `after ${changes} changes`);
    });

    const kinds = 10;
    /** No other VPP knows the port under which it has left. */
    const port_is_lost = 'a pod to outside';

    /** Flows of every kind that begin, last over `happens`, and go on: how many were whole, by kind. */
    const keptOver = async (happens: () => Promise<void>): Promise<ReadonlyMap<string, number>> => {
      // All of it is there, whatever was run before.
      for (const family of families) {
        const [node, outside] = [one.topology.node[family], one.topology.gateway[family]];
        await peer(p2.name, p1.name, vips.near[family], p2[family]);
        await peer(q1.name, p1.name, vips.near[family], q1[family]);
        await peer(router, p1.name, node, outside, 30080);
        await peer(p1.name, router, router_address[family], node);
        await peer(router, p2.name, p2[family], outside);
      }
      const flows: { readonly kind: string; readonly ended: Promise<boolean> }[] = [];
      const begin = (kind: string, from: string, to: string, address: string, dialed = port): void => {
        const paced = {
          bytes: 15_000_000,
          port: dialed,
          listen_port: port,
          pause_ms: 40,
          // They end by themselves; on a busy machine that takes its time.
          deadline_ms: 150_000,
        };
        const ended = traffic.tcp(from, to, address, paced).then(({ whole, error }) => {
          if (!whole) t.comment(`${kind}, ${address}: ${error}`);
          return whole;
        });
        flows.push({ kind, ended });
      };
      for (const family of families) {
        const node = one.topology.node[family];
        begin('outside to a pod', router, p1.name, p1[family]);
        begin('outside to another pod', router, p2.name, p2[family]);
        begin('outside to a node port', router, p1.name, node, 30080);
        begin('another node to a pod', q1.name, p1.name, p1[family]);
        begin('another node by a service', q1.name, p1.name, vips.near[family]);
        begin('a pod by a service', p2.name, p1.name, vips.near[family]);
        begin('a pod to a pod', p2.name, p1.name, p1[family]);
        begin('a pod by a service elsewhere', p2.name, q1.name, vips.far[family]);
        begin('a pod to a pod elsewhere', p1.name, q1.name, q1[family]);
        begin(port_is_lost, p1.name, router, router_address[family]);
      }
      await sleep(3000);
      await happens();
      const kept = new Map<string, number>();
      for (const { kind, ended } of flows) kept.set(kind, (kept.get(kind) ?? 0) + ((await ended) ? 1 : 0));
      return kept;
    };
    await t.test('VPP is replaced under flows of every kind', async (t) => {
      const probes = families.map((family) => traffic.probe(q1.name, p1[family]));
      await Promise.all(probes.map((probe) => probe.untilAnswered(5000)));
      const kept = await keptOver(async () => {
        const pid = one.vppPid()!;
        process.kill(pid, 'SIGKILL');
        await one.untilOtherVpp(pid, 60_000);
        await one.untilReady(60_000);
        // What has got a wrong address keeps it for as long as it is sent.
        for (const [at, family] of families.entries()) {
          const answered = await probes[at]!.untilAnswered(5000).catch((error: Error) => error.message);
          t.type(answered, 'number', `${family}: pings of another node that do not pause: ${answered}`);
        }
      });
      for (const probe of probes) await probe.stop();
      for (const [kind, count] of kept) t.comment(`${kind}: ${count} of ${families.length}`);
      const sum = [...kept.values()].reduce((all, count) => all + count, 0);
      t.comment(`kept: ${sum} of ${kinds * families.length}`);
      for (const [kind, count] of kept) if (kind !== port_is_lost) t.equal(count, families.length, kind);
    });

    await t.test('what begins while VPP is replaced has its way when it is there', async (t) => {
      const asked = { name: 'udp', port: 5353, protocol: 'UDP', node_port: 30053 } as const;
      await put(
        'udp',
        { ...asked, cluster_ips: families.map((each) => vips.udp[each]) },
        of(p1, one.topology.name),
      );
      for (const family of families) {
        const node = one.topology.node[family];
        const answers = async () =>
          (await traffic.udp(router, p1.name, node, { port: 30053, listen_port: 5353, wait_ms: 200 }))
            .answered;
        t.ok((await comes(answers, (answered) => answered > 0)) > 0);
      }
      const begun = new Map<string, Promise<{ whole: boolean; error?: string | undefined }>[]>();
      const begin = (kind: string, from: string, to: string, address: string, dialed = port): void => {
        const begins = traffic.tcp(from, to, address, {
          bytes: 10_000,
          port: dialed,
          listen_port: port,
          deadline_ms: 90_000,
        });
        begun.set(kind, [...(begun.get(kind) ?? []), begins]);
      };
      const pid = one.vppPid()!;
      process.kill(pid, 'SIGKILL');
      let is_ready = false;
      const ready = one
        .untilOtherVpp(pid, 60_000)
        .then(() => one.untilReady(60_000))
        .finally(() => {
          is_ready = true;
        });
      // The same socket all the time, and few of its packets before VPP is there.
      const asking = families.map((family) =>
        traffic.udp(router, p1.name, one.topology.node[family], {
          port: 30053,
          listen_port: 5353,
          count: 200,
          wait_ms: 100,
        }),
      );
      const sending = families.map((family) =>
        // Without VPP its device has no carrier, and what is sent fails at once. The router answers from the address of the link.
        traffic.udp(p1.name, router, one.topology.gateway[family], {
          port: 5354,
          count: 150,
          wait_ms: 100,
          pause_ms: 100,
        }),
      );
      for (let round = 0; !is_ready && round < 40; round += 1) {
        for (const family of families) {
          const node = one.topology.node[family];
          begin(`outside to a pod, ${family}`, router, p2.name, p2[family]);
          begin(`outside to a node port, ${family}`, router, p1.name, node, 30080);
          begin(`outside to one of a pod elsewhere, ${family}`, router, q1.name, node, 30081);
          begin(`another node to a pod, ${family}`, q1.name, p1.name, p1[family]);
          begin(`a pod to outside, ${family}`, p1.name, router, router_address[family]);
          begin(`a pod to who is on the link, ${family}`, p1.name, on_link, neighbour[family]);
          begin(`a pod by a service, ${family}`, p2.name, p1.name, vips.near[family]);
          begin(`a pod by a service elsewhere, ${family}`, p2.name, q1.name, vips.far[family]);
          begin(`a pod to a pod elsewhere, ${family}`, p1.name, q1.name, q1[family]);
        }
        await sleep(250);
      }
      await ready;
      for (const [kind, all] of begun) {
        const ended = await Promise.all(all);
        const broken = ended.filter(({ whole }) => !whole);
        t.strictSame(broken, [], `${kind}: ${ended.length} connections`);
      }
      for (const [at, family] of families.entries()) {
        const { answered } = await asking[at]!;
        t.ok(answered > 60, `${family}: of one UDP flow to a node port ${answered} of 200 are answered`);
        const sent = (await sending[at]!).answered;
        t.ok(sent > 40, `${family}: of one UDP flow of a pod to outside ${sent} of 150 are answered`);
      }
    });

    await t.test('the program is killed and begins anew: flows of every kind go on', async (t) => {
      const kept = await keptOver(async () => {
        await one.kill('SIGKILL');
        await one.restart();
      });
      t.equal(kept.size, kinds);
      for (const [kind, count] of kept) t.equal(count, families.length, kind);
    });
  });
}

const in_the_way = stock.usable ? no_netns : stock.why;
t.test(
  'external addresses, choosing and tunnels, on a stock VPP',
  in_the_way === undefined ? {} : { skip: in_the_way },
  async (t) => {
    const cluster = await LabCluster.start({
      vpp: stock as LabClusterOptions['vpp'],
      pods: 2,
      environment: { SERVICE_PREFIX: prefixes },
    });
    t.teardown(() => cluster.close());
    const { traffic, server, nodes } = cluster;
    const [one, two] = cluster.running as [(typeof cluster.running)[0], (typeof cluster.running)[0]];
    const [p1, p2] = one.topology.pods as [Pod, Pod];
    const [q1, q2] = two.topology.pods as [Pod, Pod];
    const all = [p1, p2, q1, q2];
    for (const { topology } of cluster.running) nodes.teachRouter(topology);
    for (const { name } of all) await traffic.serve(name, port);
    const backend = (pod: Pod, family: Family) => ({ address: pod[family], node: pod.name.slice(0, 2) });
    let last = 0;
    /** Its addresses: of the cluster, and of the outside, which the router sends to the first node. */
    const make = async (
      behind: readonly Pod[],
      more: Partial<Parameters<typeof service>[0]> = {},
      external = false,
    ) => {
      last += 1;
      const vip: Record<Family, string> = { ip4: `10.96.1.${last}`, ip6: `fd96::b:${last}` };
      const outer: Record<Family, string> = { ip4: `198.51.100.${last}`, ip6: `fd98::${last}` };
      const asked = { name: `s${last}`, cluster_ips: both.map((family) => vip[family]), port, ...more };
      if (external)
        for (const family of both)
          nodes.lab.run(router, 'ip', 'route', 'replace', outer[family], 'via', one.topology.node[family]);
      await server.put(
        service({ ...asked, ...(external && { external_ips: both.map((family) => outer[family]) }) }),
        ...both.map((family) =>
          slice(
            asked,
            family,
            behind.map((pod) => backend(pod, family)),
          ),
        ),
      );
      return { vip, outer };
    };
    const seenAs = async (from: string, address: string): Promise<string> => {
      const { receipt, error } = await traffic.connect(from, address, port, { deadline_ms: 1500 });
      return receipt?.peer ?? `${error}`;
    };
    const is = async (test: Test, from: string, address: string, expected: string, what: string) =>
      test.equal(
        await comes(
          () => seenAs(from, address),
          (now) => now === expected,
        ),
        expected,
        what,
      );

    await t.test('external addresses', async (t) => {
      const local = await make([p1, q1], { local: true }, true);
      const far = await make([q1], {}, true);
      const direct = await make(
        [q1],
        { annotations: { 'cni.projectcalico.org/vppLBType': 'maglevdsr' } },
        true,
      );
      for (const family of both) {
        const outside = one.topology.gateway[family];
        await is(t, router, local.outer[family], outside, `${family}: with Local the client is seen`);
        await is(t, router, far.outer[family], one.topology.node[family], `${family}: a back end elsewhere`);
        await is(t, p2.name, far.outer[family], p2[family], `${family}: a pod to it`);
        const seen = await comes(
          () => seenAs(router, direct.outer[family]),
          (now) => now === outside,
          5000,
        );
        t.comment(`${family}: straight to the other node: ${seen}`);
        if (family === 'ip6') t.equal(seen, outside, 'straight: the client is seen, its answer goes past');
      }
    });

    await t.test(
      'uplinks among the pods: what passes keeps its source, as in a VPP that awaits its pods',
      async (t) => {
        const listed = async (): Promise<string> => {
          const text = await one.cli('show cnat snat-policy');
          return text.slice(text.indexOf('k8s pod interfaces'), text.indexOf('k8s host interfaces'));
        };
        t.notMatch(await listed(), /host-eth0/, 'this VPP has its pods');
        /** As what comes for a pod before VPP has it: by the default route. */
        const passes = async (last: number): Promise<string> => {
          const address = p1.ip4.replace(/\d+$/, `${last}`);
          await one.cli(`ip route add ${address}/32 via ${one.topology.gateway.ip4} host-eth0`);
          await traffic.ping(q1.name, address);
          const text = await one.cli('show cnat session verbose 1 max 1000');
          t.ok(text.includes(`${q1.ip4};`) && text.includes(`-> ${address};`), `${address}: VPP has seen it`);
          const as_node = new RegExp(`\\[ out\\] ICMP \\[${one.topology.node.ip4};\\d+ -> ${address};`);
          return as_node.test(text) ? 'the node' : 'its own';
        };
        t.equal(await passes(61), 'the node', 'or else this VPP would need no such thing');
        await one.cli('set cnat snat-policy if table k8s host-eth0');
        t.equal(await passes(62), 'its own');
        await one.cli('set cnat snat-policy if del table k8s host-eth0');
      },
    );

    await t.test('a table of Maglev: how it spreads, and what moves when a back end goes', async (t) => {
      const hash = {
        'cni.projectcalico.org/vppLBType': 'maglev',
        'cni.projectcalico.org/vppHashConfig': 'srcaddr,srcport',
      };
      // The client is none of them: on this VPP a pod does not reach itself by a service.
      const behind = [p1, p2, q1];
      const three = await make(behind, { protocol: 'UDP', annotations: hash });
      const two = await make(behind.slice(0, 2), { protocol: 'UDP', annotations: hash });
      const flows = Array.from({ length: 120 }, (_, n) => 20_000 + n);
      const chosen = async (address: string): Promise<readonly string[]> => {
        const names: string[] = [];
        for (const source_port of flows) {
          const { answered_by } = await traffic.ask(q2.name, address, port, {
            count: 1,
            wait_ms: 1000,
            source_port,
          });
          names.push(answered_by[0] ?? 'nobody');
        }
        return names;
      };
      await comes(
        async () => (await traffic.ask(q2.name, two.vip.ip4, port, { count: 1 })).answered,
        (answered) => answered === 1,
      );
      const before = await chosen(three.vip.ip4);
      const after = await chosen(two.vip.ip4);
      const counts = behind.map(({ name }) => before.filter((each) => each === name).length);
      t.comment(`spread of ${flows.length}: ${counts.join(' ')}`);
      t.ok(Math.min(...counts) >= 20, `${counts.join(' ')} of ${flows.length}`);
      const moved = before.filter((name, at) => name !== q1.name && name !== after[at]).length;
      t.comment(`${moved} of ${flows.length - counts[2]!} moved that had another back end`);
      t.ok(moved <= 4, `${moved} moved`);
    });

    await t.test('session affinity: one client, one back end', async (t) => {
      const { vip } = await make(all, { affinity: true });
      for (const family of both) {
        await is(t, p2.name, vip[family], p2[family], `${family}: is there`);
        const answers = new Set<string>();
        for (let n = 0; n < 15; n += 1)
          answers.add((await traffic.connect(p2.name, vip[family], port)).receipt?.at ?? 'nobody');
        t.equal(answers.size, 1, `${family}: ${[...answers].join(' ')}`);
      }
    });

    for (const encapsulation of ['ipip', 'vxlan'] as const) {
      await t.test(`by ${encapsulation}`, async (t) => {
        await cluster.setPools(encapsulation);
        const { vip, outer } = await make([q1], {}, true);
        for (const family of both) {
          await is(t, p1.name, vip[family], p1[family], `${family}: a pod to a service`);
          await is(t, one.topology.name, vip[family], one.topology.node[family], `${family}: the host`);
          await is(t, router, outer[family], one.topology.node[family], `${family}: from outside`);
        }
      });
    }
  },
);
