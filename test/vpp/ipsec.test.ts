/** IPsec between nodes on real VPPs: what goes through it, that nothing leaves before or beside it, and what deaths, another key and a change of pools cost. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { LabCluster } from '../../lab/lab-cluster.js';
import {
  clearPackets,
  families,
  flat,
  meanwhile,
  type Node,
  podOf,
  reach,
  real,
  start,
  told,
  traced,
  until,
  untilBy,
} from './encryption-lab.js';
import { gate, statusOf, tunnelTo, untilAnswered, untilKeyOf, untilUp } from './ipsec-lab.js';

/** Few enough for a way that is there before the other one is gone. Some are lost where VPP waits for a CPU (docs/vpp-notes.md). */
async function quietly(test: Test, cluster: LabCluster, named: string, happens: () => Promise<void>) {
  const [a, b] = cluster.running as [Node, Node];
  const lost = await meanwhile(cluster, podOf(a), podOf(b), happens);
  test.comment(`${named}: ${told(lost)}`);
  for (const { lost: count, sent } of [lost.ip4, lost.ip6])
    test.ok(count <= 3 + sent / 50, `${named}: ${told(lost)}`);
}

t.test(
  'pods of two nodes by IPsec, from clear to it and back, over deaths and another key',
  real(),
  async (t) => {
    const key_file = join(t.testdir(), 'psk');
    writeFileSync(key_file, 'first-secret\n');
    const cluster = await start(t, { environment: { ...gate, CALICOVPP_IPSEC_IKEV2_PSK_FILE: key_file } });
    const [a, b] = cluster.running as [Node, Node];
    await untilBy(cluster, flat);

    await quietly(t, cluster, 'to IPsec', async () => {
      await cluster.setPools('ipip');
      await untilUp(cluster);
      await untilBy(cluster, tunnelTo);
    });
    const wire = clearPackets(cluster, a.topology);
    await reach(t, cluster, a, b, 'by IPsec');
    await reach(t, cluster, b, a, 'by IPsec, back');

    await t.test('the key is nowhere but in its file and in VPP', async (t) => {
      for (const path of ['/debug/sync', '/debug/tree', '/debug/log', '/debug/config', '/status'])
        t.notOk((await a.debug(path).catch(() => '')).includes('first-secret'), path);
      t.notOk((await traced(a)).includes('first-secret'), 'what VPP keeps of its API');
      t.match(await a.cli('api trace status'), / of 8192 items, is enabled/, 'which goes on');
    });

    await t.test('another key costs nothing', async (t) => {
      await quietly(t, cluster, 'another key', async () => {
        writeFileSync(key_file, 'second-secret\n');
        for (const node of cluster.running) await untilKeyOf(node, 'second-secret');
      });
    });

    await t.test('a process is killed: nothing is lost', async (t) => {
      await quietly(t, cluster, 'a process', async () => {
        await b.kill('SIGKILL');
        await b.restart();
        await untilUp(cluster);
      });
      await reach(t, cluster, b, a, 'right after the restart');
    });

    t.equal(wire.count, 0, 'in all that nothing was in clear');
    wire.close();

    for (const node of [b, a])
      await t.test(
        `the VPP of ${node.topology.name} is killed: it is as before, with the other key`,
        async (t) => {
          const pid = node.vppPid()!;
          process.kill(pid, 'SIGKILL');
          await node.untilOtherVpp(pid);
          await node.untilReady();
          await untilUp(cluster);
          await untilAnswered(cluster, a, b);
          // Before a new VPP has its routes it knows no other way than the default route.
          const wire = clearPackets(cluster, a.topology);
          await reach(t, cluster, a, b, 'after the death of VPP');
          await reach(t, cluster, b, a, 'after the death of VPP, back');
          t.equal(wire.count, 0, 'nothing is in clear');
          wire.close();
        },
      );

    await t.test('a tunnel that VPP has left without keys is taken down, and made anew', async (t) => {
      await a.cli('ipsec tunnel protect ipip0 del');
      await until(async () => {
        const text = await a.cli('show interface ipip0');
        return /^ipip0 +\d+ +down/m.test(text) || text;
      }, 'it stays up');
      await untilUp(cluster);
      await reach(t, cluster, a, b, 'after that');
    });

    await quietly(t, cluster, 'back, and three times more', async () => {
      for (let turn = 0; turn < 3; turn += 1) {
        await cluster.setPools('flat');
        await untilBy(cluster, flat);
        await cluster.setPools('ipip');
        await untilBy(cluster, tunnelTo);
      }
      await cluster.setPools('flat');
      await untilBy(cluster, flat);
    });
    await until(async () => {
      const text = await a.cli('show ikev2 profile');
      return text.trim() === '' || text;
    }, 'profiles stay');
    for (const node of [a, b]) t.strictSame(await node.differences(), [], 'nothing is left of it');
  },
);

t.test('where nodes have different keys, or a tunnel is not up, nothing is sent', real(), async (t) => {
  const files = t.testdir({ one: 'one-secret', two: 'two-secret' });
  const fileOf = (name: string): string => join(files, name);
  const cluster = await start(t, {
    encapsulation: 'flat',
    environment: {
      ...gate,
      CALICOVPP_ENCRYPTION: 'required',
      CALICOVPP_IPSEC_IKEV2_PSK_FILE: fileOf('one'),
    },
  });
  const [a, b] = cluster.running as [Node, Node];
  const wire = clearPackets(cluster, a.topology);
  await untilBy(cluster, tunnelTo);
  await untilUp(cluster);
  await reach(t, cluster, a, b, 'a pool without IPIP, too');

  b.setEnvironment({ CALICOVPP_IPSEC_IKEV2_PSK_FILE: fileOf('two') });
  await b.kill('SIGKILL');
  await b.restart();
  const pid = b.vppPid()!;
  process.kill(pid, 'SIGKILL');
  await b.untilOtherVpp(pid);
  await b.untilReady();
  await until(async () => {
    const texts = Object.values(await statusOf(b).catch(() => ({})));
    return (texts.length > 0 && texts.every((text) => /no SA .*same key/.test(text))) || texts;
  }, 'it is not said');
  for (const family of families)
    t.equal(await cluster.traffic.ping(podOf(b).name, podOf(a)[family]), 0, `${family}: not by another key`);
  t.equal(wire.count, 0, 'nothing was in clear');

  writeFileSync(fileOf('two'), 'one-secret');
  await untilUp(cluster);
  await reach(t, cluster, a, b, 'with one key');
  t.equal(wire.count, 0, 'then neither');
  wire.close();
});
