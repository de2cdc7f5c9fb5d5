/**
 * WireGuard with a node that nobody here wrote: wireguard-go in a plain namespace, of which the API server says what it says of nodes. Both ends
 * begin; keys and addresses change while pods talk; it is gone, and comes again.
 */
import t from 'tap';
import { blockOf, felixConfiguration } from '../../lab/k8s/calico-objects.js';
import { LabCluster } from '../../lab/lab-cluster.js';
import { canUseNetns } from '../../lab/netns.js';
import { router } from '../../lab/nodes.js';
import { checksumInSoftware } from '../../lab/offload.js';
import { patience } from '../../lab/patience.js';
import { findRealVpp } from '../../lab/real-vpp.js';
import { waitFor } from '../../lab/running-node.js';
import { findWireguardGo, WireguardGoNode, wireguardPair } from '../../lab/wireguard-go.js';

const found = findRealVpp();
const other = findWireguardGo();
const skip = found.usable ? (canUseNetns() ?? (other.usable ? undefined : other.why)) : found.why;

const families = ['ip4', 'ip6'] as const;
const settle_ms = 30_000;
/** A VPP that has asked in vain asks again after 5 s, and not before. */
const again_ms = 15_000;

t.test('wireguard-go is a node of the cluster', skip === undefined ? {} : { skip }, async (t) => {
  if (!found.usable || !other.usable) throw new Error('skipped');
  // What its taps would join of TCP has what wireguard-go fills packets up with (docs/vpp-notes.md).
  const environment = { CALICOVPP_DEBUG: '{"gsoEnabled": false}' };
  const cluster = await LabCluster.start({ vpp: found, subnets: [0], environment });
  t.teardown(() => cluster.close());
  // Without segments VPP takes no packet whose checksum a device is to compute, and a veth is none.
  checksumInSoftware(cluster.nodes.lab.namespace(router), cluster.running[0]!.topology.name);
  const [node] = cluster.running as [(typeof cluster.running)[number]];
  const { traffic, server } = cluster;
  const site = node.topology;
  const near = site.pods[0]!;
  const plain = new WireguardGoNode(cluster.nodes, other.binary);
  t.teardown(() => plain.end());
  await plain.begin();

  const until = async (what: () => Promise<boolean>, why: () => string): Promise<void> => {
    await waitFor(what, settle_ms * patience, why);
  };
  const ownKey = async (): Promise<string> => {
    let key = '';
    await until(
      async () => {
        key = /public-key:(\S+)/.exec(await node.cli('show wireguard interface'))?.[1] ?? '';
        return key !== '';
      },
      () => 'VPP has no key',
    );
    return key;
  };
  const status = async (): Promise<string> =>
    JSON.parse(await node.debug('/debug/sync')).sync.connectivity.wireguard[plain.name] ?? 'none';
  const untilStatus = async (wanted: RegExp): Promise<void> => {
    let now = '';
    await until(
      async () => {
        now = await status();
        return wanted.test(now);
      },
      () => `${wanted}: ${now}`,
    );
  };
  const untilWays = async (way: string): Promise<void> => {
    let now: unknown;
    await until(
      async () => {
        const { routes } = await node.ways();
        now = families.map((family) => routes[plain.blocks[family]]);
        return families.every((family) => routes[plain.blocks[family]] === way);
      },
      () => `not by ${way}: ${now}`,
    );
  };
  const allowed = families.flatMap((family) => [
    site.blocks[family],
    `${site.node[family]}/${family === 'ip4' ? 32 : 128}`,
  ]);
  const endpoint = site.node.ip4;

  /** Echo, TCP and UDP of both families, both ways. */
  const reach = async (named: string): Promise<void> => {
    for (const family of families)
      for (const [from, from_address, to, to_address] of [
        [near.name, near[family], plain.name, plain.pod[family]],
        [plain.name, plain.pod[family], near.name, near[family]],
      ] as const) {
        const what = `${named}: ${from} to ${to}, ${family}`;
        t.equal(await traffic.ping(from, to_address), 3, `${what}: echo`);
        const transfer = await traffic.tcp(from, to, to_address, { bytes: 1_000_000 });
        t.match(transfer, { whole: true, receipt: { peer: from_address } }, `${what}: TCP`);
        t.match(await traffic.udp(from, to, to_address), { answered: 5 }, `${what}: UDP`);
      }
  };
  /** What is lost while something happens, until it is answered again. */
  const meanwhile = async (named: string, happens: () => Promise<unknown>): Promise<void> => {
    const prober = traffic.probe(near.name, plain.pod.ip4);
    await prober.untilAnswered(settle_ms);
    await happens();
    await prober.untilAnswered(settle_ms);
    const { lost, sent, longest_gap_ms } = await prober.stop();
    t.comment(`${named}: ${lost} of ${sent} lost, ${longest_gap_ms} ms between two answers at most`);
  };

  await server.put(felixConfiguration({ wireguardEnabled: true, wireguardEnabledV6: true }));
  const key = await ownKey();

  await t.test('it never answers: that is told, and what to do', async (t) => {
    // It has nobody as its peer, and drops what comes.
    await server.put(
      plain.object(),
      ...families.flatMap((family) => blockOf(plain.name, plain.blocks[family])),
    );
    await untilStatus(/^no handshake for \d+ s .*UDP port 51820 passes/);
    t.equal((await plain.peer()).handshake_ms, undefined);
  });

  await t.test('this node begins: the other does not know where it is', async (t) => {
    await plain.setPeer(key, undefined, allowed);
    await untilStatus(/^established/);
    await untilWays('wireguard');
    await traffic.untilReachable(near.name, plain.pod.ip4, again_ms);
    await reach('this node has begun');
    const { endpoint: seen, handshake_ms } = await plain.peer();
    t.equal(seen, `${endpoint}:51820`, 'it was heard from there');
    t.ok(handshake_ms !== undefined);
  });

  await t.test('the other begins: it was started anew', async () => {
    await plain.end();
    await plain.begin();
    await plain.setPeer(key, endpoint, allowed);
    await traffic.untilReachable(plain.name, near.ip4, again_ms);
    await reach('the other has begun');
  });

  await t.test('a new session while pods talk', async (t) => {
    const { handshake_ms: before } = await plain.peer();
    await meanwhile('a new session', async () => {
      // Told again of its peer, it forgets the session, as after the 120 s of one.
      await plain.setPeer(key, endpoint, allowed);
      await traffic.untilReachable(plain.name, near.ip4, again_ms);
    });
    const { handshake_ms: now } = await plain.peer();
    t.ok(now !== undefined && before !== undefined && now > before, 'there was another handshake');
    await reach('by a new session');
  });

  await t.test('its key changes while pods talk', async () => {
    await meanwhile('another key', async () => {
      await plain.setKeys(wireguardPair());
      await server.put(plain.object());
      await until(
        async () => (await node.cli('show wireguard peer')).includes(plain.public_key),
        () => 'VPP has not the new key',
      );
      await untilStatus(/^established/);
    });
    await reach('with another key');
  });

  await t.test('it moves while pods talk', async (t) => {
    await meanwhile('another address', async () => {
      plain.moveTo({ ip4: '10.0.0.38', ip6: 'fd00::38' });
      await server.put(plain.object());
      await untilStatus(/^established .*\(10\.0\.0\.38 port/);
    });
    await untilWays('wireguard');
    await reach('at another address');
    t.strictSame(await node.differences(), []);
  });

  await t.test('it is gone for a while, and comes again', async () => {
    await meanwhile('gone', async () => {
      await plain.end();
      await plain.begin();
      await plain.setPeer(key, endpoint, allowed);
      // VPP, which goes on sending, would not begin before its session is 120 s old (docs/vpp-notes.md).
      await traffic.untilReachable(plain.name, near.ip4, again_ms);
    });
    await reach('after it was gone');
  });

  await t.test('it has no key any more: nothing is left of it', async (t) => {
    await server.put(plain.object(null));
    await until(
      async () => !(await node.cli('show wireguard peer')).includes(plain.public_key),
      () => 'the peer stays',
    );
    t.match(await status(), /^no key, and what is sent to its pods is in clear/);
  });
});
