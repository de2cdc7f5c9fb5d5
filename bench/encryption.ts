/**
 * WireGuard and IPsec between nodes:
 *
 * - 200 nodes of five blocks each, from clear to WireGuard and back: the connectivity actor as it is, the connection as it is, a VPP. From the
 *   FelixConfiguration told to VPP's last answer; nobody waits for peers, which are not there.
 * - Two whole nodes, pods that talk TCP: in clear, by WireGuard and by IPsec in turns, in one run.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { felixConfiguration } from '../lab/k8s/calico-objects.js';
import { LabCluster } from '../lab/lab-cluster.js';
import { canUseNetns } from '../lab/netns.js';
import { checksumByDevice } from '../lab/offload.js';
import { findRealVpp, type RealVpp, startRealVpp } from '../lab/real-vpp.js';
import { waitFor } from '../lab/running-node.js';
import { wireguardPair } from '../lab/wireguard-go.js';
import type { ActorRef } from '../src/actor-system.js';
import type { CalicoNode } from '../src/calico/kinds/node.js';
import { Secret } from '../src/config/secret.js';
import type { VppConnectionMessage } from '../src/messages/vpp.js';
import { route_writer_settings_default } from '../src/routes/route-writer.js';
import { atLeast, atMost, type BenchOptions, CannotRun, median, type Report } from './figures.js';
import { costOf } from './loop-meter.js';
import { Connection } from './owner.js';
import { Actor, node_objects } from './routes.js';

const nodes = 200;
const blocks_of_each = 5;
const blocks = nodes * blocks_of_each;
/** Nobody waits for other nodes. */
const at_once = { ...route_writer_settings_default, lead_ms: 0, linger_ms: 0, answer_ms: 0 };
const toggled_ms_max = 2000;
const settle_ms = 60_000;
const look_ms = 2;

const addressOf = (n: number): string => `172.16.2.${n % nodes}`;
const name = (n: number): string => `node-${n}`;
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

function nodeOf(n: number): CalicoNode {
  const key = base64(randomBytes(32));
  const ip4 = { address: addressOf(n), prefix: '172.16.0.0/16' };
  return { name: name(n), labels: {}, ip4, wireguard_key: key };
}

/** A connection that counts what it is asked to program: of these kinds an operation is a message. */
async function counting({ system, ref }: Connection) {
  const counts = { routes: 0, peers: 0, others: 0 };
  const counted: ActorRef<VppConnectionMessage> = await system.spawn({
    name: 'counting',
    restart: 'temporary',
    shutdown_ms: 100,
    mailbox_max: 4096,
    handler_ms_max: 1000,
    start: () => ({
      receive: (message: VppConnectionMessage) => {
        if (message.type === 'Transact')
          for (const { object } of message.transaction.operations) {
            if (object.kind === 'route') counts.routes += 1;
            else if (object.kind === 'wireguard_peer') counts.peers += 1;
            else counts.others += 1;
          }
        ref.tell(message);
      },
    }),
  });
  return { counts, ref: counted };
}

async function toggled(connection: Connection, report: Report, rounds: number): Promise<void> {
  const { counts, ref } = await counting(connection);
  const pair = wireguardPair();
  const keys = { public_key: base64(pair.public_key), private_key: new Secret(base64(pair.private_key)) };
  let actor: Actor | undefined;
  const publish = async ({ key }: { readonly key?: string }): Promise<void> => {
    await actor?.told('Node', [['own', { name: 'own', labels: {}, ...(key && { wireguard_key: key }) }]]);
  };
  actor = await Actor.start(
    { system: connection.system, ref },
    'bgp',
    { keys: () => keys, publish },
    at_once,
  );
  await actor.toldAll('Never');
  await actor.told(
    'Node',
    Array.from({ length: nodes }, (_, n) => [name(n), nodeOf(n)] as const),
  );
  await actor.routes(blocks, addressOf);
  await actor.reached(blocks);
  const turn = async (on: boolean): Promise<void> => {
    Object.assign(counts, { routes: 0, peers: 0, others: 0 });
    await actor.told('FelixConfiguration', [
      ['default', { name: 'default', ...(on && { wireguard_enabled: true }) }],
    ]);
    while (counts.routes < blocks || counts.peers < nodes) await sleep(look_ms);
    await actor.reached(actor.routeCount);
  };
  const title = `${nodes} nodes of ${blocks_of_each} blocks`;
  for (const [way, on] of [
    ['to WireGuard', true],
    ['to clear', false],
  ] as const) {
    const costs = [];
    for (let round = 0; round < rounds; round += 1) {
      if (!on) await turn(true);
      costs.push(await costOf(() => turn(on)));
      const { routes, peers, others } = counts;
      if (round === 0)
        report({ name: `${title}, ${way}, messages`, value: routes + peers + others, unit: 'messages' });
      if (on) await turn(false);
    }
    report(atMost(`${title}, ${way}`, median(costs.map(({ took_ms }) => took_ms)), 'ms', toggled_ms_max));
    report({ name: '… CPU', value: median(costs.map(({ cpu_ms }) => cpu_ms)), unit: 'ms' });
    report({ name: '… longest block', value: median(costs.map(({ block_ms }) => block_ms)), unit: 'ms' });
  }
  await actor.stop();
}

/** With the gate of IPsec what goes by IPIP is encrypted; flat pools are in clear, or by WireGuard. */
const ipsec = {
  CALICOVPP_FEATURE_GATES: '{"ipsecEnabled": true}',
  CALICOVPP_IPSEC_IKEV2_PSK: 'a-secret-of-all',
};
const ways = ['clear', 'WireGuard', 'IPsec'] as const;
type Way = (typeof ways)[number];
const both = ['ip4', 'ip6'] as const;

async function throughput(
  vpp: RealVpp & { readonly usable: true },
  report: Report,
  rounds: number,
): Promise<void> {
  const cluster = await LabCluster.start({ vpp, environment: ipsec });
  try {
    const [a, b] = cluster.running.map(({ topology }) => topology);
    const [near, far] = [a!.pods[0]!, b!.pods[0]!];
    const by = async (way: Way): Promise<void> => {
      const is_wireguard = way === 'WireGuard';
      await cluster.server.put(
        felixConfiguration({ wireguardEnabled: is_wireguard, wireguardEnabledV6: is_wireguard }),
      );
      await cluster.setPools(way === 'IPsec' ? 'ipip' : 'flat');
      for (const node of cluster.running)
        for (const family of both)
          await waitFor(
            async () => {
              const other = node.topology.name === a!.name ? b! : a!;
              const { routes } = await node.ways();
              const address = other.node[family];
              const wanted = { clear: address, WireGuard: 'wireguard', IPsec: `ipip-${address}` }[way];
              return routes[other.blocks[family]] === wanted;
            },
            settle_ms,
            () => `the routes do not move to ${way}`,
          );
    };
    /** Pods compute checksums themselves by WireGuard alone: what is measured just before, or behind, that is another thing. */
    const settled = async (way: Way): Promise<void> => {
      for (const { name } of [near, far])
        await waitFor(
          async () => checksumByDevice(cluster.nodes.lab.namespace(name), 'eth0') === (way !== 'WireGuard'),
          settle_ms,
          () => `checksums of ${name} are not as they are by ${way}`,
        );
    };
    const rates = new Map<string, number[]>();
    for (let round = 0; round < rounds; round += 1)
      for (const way of ways) {
        await by(way);
        await settled(way);
        for (const family of both) {
          const transfer = await cluster.traffic.tcp(near.name, far.name, far[family], {
            bytes: 50_000_000,
            deadline_ms: settle_ms,
          });
          if (!transfer.whole) throw new Error(`TCP, ${way}, ${family}: ${transfer.error}`);
          const key = `${way} ${family}`;
          rates.set(key, [...(rates.get(key) ?? []), transfer.mbit_s]);
        }
      }
    for (const family of both) {
      const rateOf = (way: Way): number => median(rates.get(`${way} ${family}`)!);
      const clear = rateOf('clear');
      report({ name: `TCP between pods of two nodes, ${family}, clear`, value: clear, unit: 'Mbit/s' });
      for (const way of ways) {
        if (way === 'clear') continue;
        report({ name: `… by ${way}`, value: rateOf(way), unit: 'Mbit/s' });
        report(atLeast('… to the clear path', rateOf(way) / clear, 'ratio', 0.1));
      }
    }
  } finally {
    await cluster.close();
  }
}

export async function bench(report: Report, { quick }: BenchOptions): Promise<void> {
  const found = findRealVpp();
  if (!found.usable) throw new CannotRun(found.why);
  const why = canUseNetns();
  if (why !== undefined) throw new CannotRun(why);
  const rounds = quick ? 1 : 3;
  const vpp = await startRealVpp(found);
  try {
    const connection = await Connection.open(vpp.api_socket);
    const made = await connection.transact(
      'node',
      node_objects.map((object) => ({ action: 'add', object })),
    );
    if (made.error !== undefined) throw made.error;
    await toggled(connection, report, rounds);
    await connection.close();
  } finally {
    await vpp.stop();
  }
  await throughput(found, report, rounds);
}
