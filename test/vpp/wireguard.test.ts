/**
 * WireGuard between nodes on real VPPs: what goes through it, what is seen on the wire, and what a change costs pods that talk. A VPP without a
 * crypto engine for it makes no handshake: there the same is looked at as far as a peer that never answers shows it.
 */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import t from 'tap';
import {
  endpointSlice,
  felixConfiguration,
  kubernetesNode,
  kubernetesService,
} from '../../lab/k8s/calico-objects.js';
import type { LabCluster } from '../../lab/lab-cluster.js';
import { checksumByDevice } from '../../lab/offload.js';
import { patience } from '../../lab/patience.js';
import {
  clearPackets,
  families,
  flat,
  learnsMtu,
  meanwhile,
  type Node,
  podOf,
  reach,
  real,
  settle_ms,
  start,
  told,
  traced,
  until,
  untilBy as untilWay,
} from './encryption-lab.js';

/** Both nodes lead to each other's pods by this way. */
const untilBy = (cluster: LabCluster, way: 'wireguard' | 'flat' | 'drop'): Promise<void> =>
  untilWay(cluster, way === 'flat' ? flat : () => way);

/** Each has the other as its peer, with all of its prefixes. */
function untilPeers(cluster: LabCluster): Promise<void> {
  return until(async () => {
    for (const node of cluster.running) {
      const other = cluster.running.find((each) => each !== node)!.topology;
      const text = await node.cli('show wireguard peer');
      const all = families.flatMap((family) => [other.node[family], other.blocks[family]]);
      if (!all.every((prefix) => text.includes(prefix))) return text;
    }
    return true;
  }, 'no peers');
}

async function untilNoWireguard(cluster: LabCluster): Promise<void> {
  for (const node of cluster.running)
    await until(async () => {
      const text = await node.cli('show interface');
      return !/^wg\d/m.test(text) || text;
    }, 'WireGuard stays');
}

const encrypted = felixConfiguration({ wireguardEnabled: true, wireguardEnabledV6: true });
const clear = felixConfiguration({});

/** 20 s at least. */
const talk = { bytes: 200 * 64 * 1024, pause_ms: 100, deadline_ms: 120_000 * patience };

const keyFile = ({ directory }: Node): string => join(directory, 'state', 'wireguard.key');
/** VPP has something to encrypt WireGuard with: columns algorithm, operation, and who does it at once. */
async function makesHandshakes(node: Node): Promise<boolean> {
  const text = stripVTControlCharacters(await node.cli('show crypto handlers'));
  const [, , who = '-'] = /^ *chacha20-poly1305 .*/m.exec(text)?.[0].trim().split(/ +/) ?? [];
  return who !== '-';
}

t.test('pods of two nodes by WireGuard, and from clear to it and back while they talk', real(), async (t) => {
  const cluster = await start(t);
  const [a, b] = cluster.running as [Node, Node];
  const has_crypto = await makesHandshakes(a);
  if (!has_crypto) t.comment('this VPP has no crypto engine: no peer ever answers');
  await untilBy(cluster, 'flat');
  const pod = podOf(a);
  const device = (): boolean => checksumByDevice(cluster.nodes.lab.namespace(pod.name), 'eth0');
  const by_device = device();

  // Routes to peers that never answer move in the end, and whoever talks by them is cut off.
  const quietly = async (named: string, happens: () => Promise<void>): Promise<void> => {
    if (!has_crypto) return happens();
    const lost = await meanwhile(cluster, podOf(a), podOf(b), happens);
    t.comment(`${named}: ${told(lost)}`);
    // Every 10 ms: without a way that is there before the other one is gone it is 15 and more, for a handshake. Some are lost where VPP waits for a CPU
    // (docs/vpp-notes.md).
    for (const { lost: count, sent } of [lost.ip4, lost.ip6])
      t.ok(count <= 3 + sent / 50, `${named}: ${told(lost)}`);
  };

  await quietly('to WireGuard', async () => {
    await cluster.server.put(encrypted);
    await untilPeers(cluster);
    if (has_crypto) await untilBy(cluster, 'wireguard');
  });
  await until(async () => !device() || 'by the device', 'checksums of a pod');
  t.notOk(checksumByDevice(cluster.nodes.lab.namespace('n1'), 'eth0'), 'nor those of the host');

  await t.test('the key is in a file of root’s alone, and nowhere else', async (t) => {
    t.equal(statSync(keyFile(a)).mode & 0o777, 0o600);
    const key = readFileSync(keyFile(a), 'utf8').trim();
    for (const path of ['/debug/sync', '/debug/tree', '/debug/log', '/status'])
      t.notOk((await a.debug(path).catch(() => '')).includes(key), path);
    t.notOk((await traced(a)).includes(Buffer.from(key, 'base64')), 'what VPP keeps of its API');
    t.match(await a.cli('api trace status'), / of 8192 items, is enabled/, 'which goes on');
    t.match(JSON.parse(await a.debug('/debug/sync')).sync, {
      connectivity: { wireguard: { n2: has_crypto ? /^established/ : /^no handshake/ } },
    });
  });

  await t.test(
    'its process is killed, and the next one hears nothing of the API server: TCP goes on',
    async (t) => {
      await b.kill('SIGKILL');
      await cluster.server.fault({ verb: 'list', does: { type: 'refuse' } });
      await b.restart();
      const inside = (): boolean => checksumByDevice(cluster.nodes.lab.namespace(podOf(b).name), 'eth0');
      t.notOk(inside());
      t.notOk(checksumByDevice(cluster.nodes.lab.namespace('n2'), 'eth0'), 'nor the host’s');
      if (has_crypto) {
        await reach(t, cluster, b, a, 'right after the restart');
        await reach(t, cluster, a, b, 'right after the restart, back');
      }
      t.notOk(inside());
      await cluster.server.does('mend');
      await untilPeers(cluster);
      if (has_crypto) await reach(t, cluster, b, a, 'when all is told again');
      t.notOk(inside());
    },
  );

  await t.test('its process, and its VPP, are killed: it is the same peer', async (t) => {
    const shown = async (node: Node) =>
      /public-key:(\S+)/.exec(await node.cli('show wireguard interface'))?.[1];
    const before = await shown(b);
    t.ok(before);
    await b.kill('SIGKILL');
    await b.restart();
    await untilPeers(cluster);
    const pid = b.vppPid()!;
    process.kill(pid, 'SIGKILL');
    await b.untilOtherVpp(pid);
    await b.untilReady();
    await untilPeers(cluster);
    t.equal(await shown(b), before);
    if (!has_crypto) return;
    // A new VPP begins with a handshake; the first may find the neighbour unknown.
    const prober = cluster.traffic.probe(podOf(a).name, podOf(b).ip4);
    await prober.untilAnswered(settle_ms);
    await prober.stop();
    await reach(t, cluster, a, b, 'after the death of VPP');
    await reach(t, cluster, b, a, 'after the death of VPP, back');
  });

  if (has_crypto) {
    await reach(t, cluster, a, b, 'by WireGuard');
    const wire = clearPackets(cluster, a.topology);
    await reach(t, cluster, b, a, 'by WireGuard, back');
    await learnsMtu(t, cluster, a, b, { ip4: 1440, ip6: 1440 }, 'by WireGuard');
    t.equal(wire.count, 0, 'nothing is in clear');
    wire.close();
  }

  await quietly('back', async () => {
    await cluster.server.put(clear);
    await untilBy(cluster, 'flat');
    await untilNoWireguard(cluster);
  });
  await until(async () => device() === by_device || 'not', 'checksums of a pod as before');
  await reach(t, cluster, a, b, 'in clear again');

  await t.test('toggled ten times', async (t) => {
    // One connection of each family that lasts for as long as it takes, with a block of 64 KiB every 100 ms.
    let toggling = true;
    const talks = families.map(async (family) => {
      const [near, far] = [podOf(a), podOf(b)];
      let count = 0;
      let last: Awaited<ReturnType<typeof cluster.traffic.tcp>>;
      do {
        last = await cluster.traffic.tcp(near.name, far.name, far[family], talk);
        count += 1;
      } while (toggling && last.whole);
      return { family, count, whole: last.whole, error: last.error };
    });
    const began = performance.now();
    await quietly('ten times', async () => {
      for (let turn = 0; turn < 10; turn += 1) {
        await cluster.server.put(encrypted);
        if (has_crypto) await untilBy(cluster, 'wireguard');
        else await untilPeers(cluster);
        await cluster.server.put(clear);
        await untilBy(cluster, 'flat');
      }
    });
    t.comment(`ten times in ${Math.round((performance.now() - began) / 1000)} s`);
    toggling = false;
    for (const { family, count, whole, error } of await Promise.all(talks)) {
      // Routes to peers that never answer move in the end.
      if (has_crypto) t.ok(whole, `${family}: connection ${count} was cut off: ${error}`);
    }
    await untilNoWireguard(cluster);
    for (const node of [a, b]) t.strictSame(await node.differences(), [], 'nothing is left of it');
  });
});

t.test('where encryption is required nothing is sent in clear', real(), async (t) => {
  const cluster = await start(t, { environment: { CALICOVPP_ENCRYPTION: 'required' } });
  const [a, b] = cluster.running as [Node, Node];
  await untilBy(cluster, 'drop');
  const wire = clearPackets(cluster, a.topology);
  for (const family of families)
    t.equal(await cluster.traffic.ping(podOf(a).name, podOf(b)[family]), 0, `${family}: WireGuard is off`);
  t.match(JSON.parse(await a.debug('/debug/sync')).sync.connectivity.faults, {
    [`route ${b.topology.blocks.ip4}`]: /encryption is required/,
  });
  await cluster.server.put(encrypted);
  await untilBy(cluster, 'wireguard');
  if (await makesHandshakes(a)) {
    // Nothing waits for the handshake here.
    const prober = cluster.traffic.probe(podOf(a).name, podOf(b).ip4);
    await prober.untilAnswered(settle_ms);
    await prober.stop();
    await reach(t, cluster, a, b, 'by WireGuard');
  } else t.equal(await cluster.traffic.ping(podOf(a).name, podOf(b).ip4), 0, 'the peer does not answer');
  await cluster.server.put(clear);
  await untilBy(cluster, 'drop');
  t.equal(await cluster.traffic.ping(podOf(a).name, podOf(b).ip4), 0);
  t.equal(wire.count, 0, 'on the wire nothing is in clear');
  wire.close();
});

t.test(
  'where encryption is required a service leads to nobody in a prefix with a node in it',
  real(),
  async (t) => {
    const cluster = await start(t, { environment: { CALICOVPP_ENCRYPTION: 'required' } });
    const [a, b] = cluster.running as [Node, Node];
    await untilBy(cluster, 'drop');
    const [block] = b.topology.blocks.ip4.split('/') as [string];
    const stray = {
      ...kubernetesNode({ ...b.topology, name: 'stray' }),
      metadata: {
        name: 'stray',
        annotations: { 'projectcalico.org/IPv4Address': `${block.replace(/0$/, '60')}/26` },
      },
    };
    await cluster.server.put(stray);
    // The default table has no way there but the default route, for the sake of that node; what pods send is dropped before.
    await until(async () => {
      const { routes } = await a.ways();
      const dropped = await a.cli(`show ip fib table 2 ${b.topology.blocks.ip4}`);
      return (!(b.topology.blocks.ip4 in routes) && /dpo-drop/.test(dropped)) || dropped;
    }, 'the prefix of pods is not dropped for pods alone');
    const ports = [
      { name: 'ask', port: 53, protocol: 'UDP' },
      { name: 'open', port: 80, protocol: 'TCP' },
    ];
    const vips = { plain: '10.96.0.77', dsr: '10.96.0.78' };
    for (const [name, vip] of Object.entries(vips)) {
      const spec = { type: 'ClusterIP', clusterIP: vip, clusterIPs: [vip], ports };
      const annotations = name === 'dsr' ? { 'cni.projectcalico.org/vppLBType': 'maglevdsr' } : {};
      await cluster.server.put(
        kubernetesService({ name, spec, annotations }),
        endpointSlice(name, [{ address: podOf(b).ip4, node: b.topology.name }], ports),
      );
    }
    await until(async () => {
      const text = await a.cli('show cnat translation');
      return Object.values(vips).every((vip) => text.includes(vip)) || text;
    }, 'VPP has no such services');
    const wire = clearPackets(cluster, a.topology);
    const near = podOf(a).name;
    t.equal(await cluster.traffic.ping(near, podOf(b).ip4), 0, 'nor does its own address');
    for (const [name, vip] of Object.entries(vips)) {
      t.match(await cluster.traffic.ask(near, vip, 53, { count: 5, wait_ms: 300 }), { answered: 0 }, name);
      await cluster.traffic.connect(near, vip, 80, { deadline_ms: 1000 });
    }
    t.equal(wire.count, 0, 'on the wire nothing is in clear');
    wire.close();
  },
);

t.test('three nodes in two subnets, of which one does WireGuard no more', real(), async (t) => {
  const cluster = await start(t, { subnets: [0, 0, 1], objects: [encrypted] });
  const [a, b, c] = cluster.running as [Node, Node, Node];
  if (!(await makesHandshakes(a))) return t.comment('this VPP has no crypto engine: no peer ever answers');
  const statusOf = async (node: Node, other: Node): Promise<string> =>
    JSON.parse(await node.debug('/debug/sync')).sync.connectivity.wireguard[other.topology.name] ?? 'none';
  /** Each way between two nodes is by WireGuard, but to and from this one. */
  const untilPairs = (clear?: Node): Promise<void> =>
    until(async () => {
      const wrong: string[] = [];
      for (const node of cluster.running) {
        const { routes } = await node.ways();
        for (const other of cluster.running)
          for (const family of node === other ? [] : families) {
            const is_clear = node === clear || other === clear;
            const now = routes[other.topology.blocks[family]];
            if ((now === 'wireguard') === is_clear)
              wrong.push(`${node.topology.name} to ${other.topology.name}, ${family}: ${now}`);
          }
      }
      return wrong.length === 0 || wrong;
    }, 'another way');
  await untilPairs();
  for (const [node, other] of [
    [a, b],
    [a, c],
    [c, b],
  ] as const) {
    t.match(await statusOf(node, other), /^established/);
    await reach(t, cluster, node, other, `${node.topology.name} to ${other.topology.name}`);
  }
  const without = {
    ...felixConfiguration({ wireguardEnabled: false, wireguardEnabledV6: false }),
    metadata: { name: `node.${b.topology.name}` },
  };
  // The other two go on as if nothing were.
  const lost = await meanwhile(cluster, podOf(a), podOf(c), async () => {
    await cluster.server.put(without);
    await untilPairs(b);
  });
  t.comment(`beside the node that does it no more: ${told(lost)}`);
  for (const { lost: count, sent } of [lost.ip4, lost.ip6]) t.ok(count <= 3 + sent / 50, told(lost));
  await reach(t, cluster, a, b, 'in clear');
  await reach(t, cluster, c, a, 'by WireGuard');
  t.match(await statusOf(a, b), /^no key, and what is sent to its pods is in clear/);
  for (const node of cluster.running) t.strictSame(await node.differences(), []);
});

/** Pings of 10 ms, of both families and both ways. */
const probing = (cluster: LabCluster, a: Node, b: Node) =>
  families.flatMap((family) => [
    cluster.traffic.probe(podOf(a).name, podOf(b)[family]),
    cluster.traffic.probe(podOf(b).name, podOf(a)[family]),
  ]);

t.test('VPPs, and a process with its VPP, die where encryption is required', real(), async (t) => {
  const cluster = await start(t, {
    environment: { CALICOVPP_ENCRYPTION: 'required' },
    objects: [encrypted],
  });
  const [a, b] = cluster.running as [Node, Node];
  await untilBy(cluster, 'wireguard');
  const has_crypto = await makesHandshakes(a);
  const wires = [a, b].map((node) => clearPackets(cluster, node.topology));
  const probers = probing(cluster, a, b);
  const answered = async (named: string): Promise<void> => {
    await untilBy(cluster, 'wireguard');
    if (!has_crypto) return;
    const began = performance.now();
    await Promise.all(probers.map((prober) => prober.untilAnswered(2 * settle_ms)));
    t.comment(`${named}: answered ${Math.round(performance.now() - began)} ms after its routes were there`);
  };
  await answered('at first');
  for (const node of [a, b]) {
    const pid = node.vppPid()!;
    process.kill(pid, 'SIGKILL');
    await node.untilOtherVpp(pid);
    await node.untilReady();
    await answered(`the VPP of ${node.topology.name} has died`);
  }
  const pid = b.vppPid()!;
  await b.kill('SIGKILL');
  process.kill(pid, 'SIGKILL');
  await b.restart();
  await b.untilReady();
  await answered('so have a process and its VPP');

  // It can know no pool, but for those of before: pods send all the same, and no route is there.
  const second = b.vppPid()!;
  await b.kill('SIGKILL');
  process.kill(second, 'SIGKILL');
  await cluster.server.fault({ verb: 'list', does: { type: 'refuse' } });
  await b.restart();
  await b.untilReady();
  await sleep(3000);
  t.match(await b.cli('show ip fib 10.44.0.0/16'), /^10\.44\.0\.0\/16 .*cfg-flags:drop/ms);
  t.match(await b.cli('show ip6 fib fd44::/64'), /^fd44::\/64 .*cfg-flags:drop/ms);
  await cluster.server.does('mend');
  await answered('likewise, and no API server was there');
  const reports = await Promise.all(probers.map((prober) => prober.stop()));
  t.comment(`four deaths: ${reports.map(({ lost, sent }) => `${lost} of ${sent}`).join(', ')} lost`);
  for (const wire of wires) {
    t.equal(wire.count, 0, 'nothing was in clear');
    wire.close();
  }
});

/** For how long a node is away. What was seen of 600 s is in docs/wireguard.md; VPP takes a session for lost 150 s after the last word, and forgets its keys after 540 s. */
const away_s = Number(process.env.WIREGUARD_AWAY_S ?? 10);

t.test(`a node is away for ${away_s} s, and comes back`, real(), async (t) => {
  const cluster = await start(t, { objects: [encrypted] });
  const [a, b] = cluster.running as [Node, Node];
  await untilBy(cluster, 'wireguard');
  if (!(await makesHandshakes(a))) return t.comment('this VPP has no crypto engine: no peer ever answers');
  const statusOf = async (node: Node, other: Node): Promise<string> =>
    JSON.parse(await node.debug('/debug/sync')).sync.connectivity.wireguard[other.topology.name] ?? 'none';
  const wire = clearPackets(cluster, a.topology);

  const isAway = async (
    test: typeof t,
    leave: () => Promise<void>,
    comeBack: () => Promise<void>,
  ): Promise<void> => {
    const probers = probing(cluster, a, b);
    await Promise.all(probers.map((prober) => prober.untilAnswered(settle_ms)));
    const vpp = a.vppPid();
    await leave();
    await sleep(away_s * 1000);
    test.comment(`away: ${await statusOf(a, b)}`);
    await comeBack();
    const began = performance.now();
    const times = await Promise.all(
      probers.map(async (prober) => {
        await prober.untilAnswered(settle_ms);
        return Math.round(performance.now() - began);
      }),
    );
    test.comment(`answered ${times.join(', ')} ms after it was back`);
    await Promise.all(probers.map((prober) => prober.stop()));
    await until(async () => {
      const texts = [await statusOf(a, b), await statusOf(b, a)];
      return texts.every((text) => text.startsWith('established')) || texts;
    }, 'not established');
    await reach(test, cluster, a, b, 'it is back');
    await reach(test, cluster, b, a, 'it is back, and sends');
    test.equal(a.vppPid(), vpp, 'nothing was started anew where it was not away');
    test.strictSame(await a.differences(), []);
  };

  await t.test('its cable is out', async (t) => {
    const { pid } = b;
    const vpp = b.vppPid();
    await isAway(
      t,
      async () => cluster.nodes.setCable(b.topology, false),
      async () => cluster.nodes.setCable(b.topology, true),
    );
    t.strictSame([b.pid, b.vppPid()], [pid, vpp], 'nor where it was');
  });

  await t.test('its process and its VPP are gone', async (t) => {
    await isAway(
      t,
      async () => {
        const pid = b.vppPid()!;
        await b.kill('SIGKILL');
        process.kill(pid, 'SIGKILL');
      },
      async () => {
        await b.restart();
      },
    );
  });
  t.equal(wire.count, 0, 'nothing was in clear, for all that encryption is not required');
  wire.close();
});
