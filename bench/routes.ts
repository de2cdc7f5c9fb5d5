/**
 * Routes to other nodes, from what BGP or IPAM tells to VPP's forwarding table: the connectivity actor as it is, the connection as it is, a VPP.
 *
 * - From the first route told to the last one that VPP has, told a thousand at a time, each message when the one before is taken in; beside a
 *   bare client that sends the same messages to the same VPP. By IPIP with a hundred nodes, which is a hundred tunnels.
 * - A storm of 5,000 blocks, as a cluster that starts, or a relist, brings it; and the node of fifty of them that flaps.
 * - A pool whose mode changes under 10,000 routes.
 * - An actor that begins anew on a full VPP: it reads, is told everything, and changes nothing.
 * - A whole node, with BGP: `routes-node.ts`.
 */
import { type Client, connect, unixTransport } from 'vpp-binapi-ts';
import { ip_route_add_del_v2 } from 'vpp-binapi-ts/ip';
import { findRealVpp, startRealVpp } from '../lab/real-vpp.js';
import type { ActorRef, ActorSystem, ChildSpec, Reply } from '../src/actor-system.js';
import { type ConnectivityDeps, connectivityActor } from '../src/actors/connectivity.js';
import type { IpPool } from '../src/calico/kinds/ip-pool.js';
import { table } from '../src/desired/tables.js';
import type { AnyChange, ClusterMessage, KindName } from '../src/messages/cluster.js';
import type { ConnectivityMessage, RemoteRoute } from '../src/messages/connectivity.js';
import type { InPlace, SubscribeEarly, SubscribeNode } from '../src/messages/node.js';
import type { VppObject } from '../src/objects/object.js';
import { route_writer_settings_default } from '../src/routes/route-writer.js';
import { pathTo } from '../src/vpp-conn/paths.js';
import { atMost, type BenchOptions, CannotRun, median, type Report } from './figures.js';
import { type Cost, costOf, heapMegabytes } from './loop-meter.js';
import { Connection } from './owner.js';
import { benchNode } from './routes-node.js';

const nodes = 100;
const rounds_of = { quick: 1, whole: 3 } as const;
const in_flight = 64;
/** Routes in one message, as an owner of the source's queue would have them. */
const told_at_once = 1000;
const storm_blocks = 5000;
const coalesce_ms = 20;
const no_wireguard: ConnectivityDeps['wireguard'] = {
  keys: () => {
    throw new Error('nobody asks for encryption');
  },
  publish: async () => undefined,
};
const block_ms_max = 20;
const heap_mb_max = 120;
const look_ms = 2;
const answer_ms = 120_000;
/** VPP's own source for what its API adds. */
const api_source = 8;

const uplink_tag = 'main-bench';
export const node_objects: readonly VppObject[] = [
  { kind: 'loopback', tag: uplink_tag },
  { kind: 'interface_flag', interface: uplink_tag, flag: 'admin_up' },
  { kind: 'interface_address', interface: uplink_tag, prefix: '172.16.0.1/16' },
  table(4, 2, 'calico-pods-ip4'),
  table(6, 2, 'calico-pods-ip6'),
];

const kinds: readonly KindName[] = [
  'Node',
  'IPPool',
  'FelixConfiguration',
  'BlockAffinity',
  'IPAMBlock',
  'BGPConfiguration',
  'Service',
  'EndpointSlice',
];

const nodeAddress = (n: number): string => `172.16.1.${n % nodes}`;
/** Blocks of 64 addresses, a hundred thousand of which have room in a /8. */
const blockAt = (n: number): string => `10.${n >> 10}.${(n >> 2) & 255}.${(n & 3) * 64}/26`;

function pool(mode: IpPool['ipip']): IpPool {
  return {
    name: 'pool',
    prefix: '10.0.0.0/8',
    ipip: mode,
    vxlan: 'Never',
    nat_outgoing: false,
    disabled: false,
    disable_bgp_export: false,
    allowed_uses: [],
  };
}

function idle<M extends { readonly type: string }>(name: string): ChildSpec<M> {
  return {
    name,
    restart: 'permanent',
    shutdown_ms: 100,
    mailbox_max: 64,
    handler_ms_max: 1000,
    start: () => ({ receive: () => undefined }),
  };
}

/** The actor between a VPP and whoever tells it of the cluster. */
export class Actor {
  private constructor(
    readonly system: ActorSystem,
    readonly ref: ActorRef<ConnectivityMessage>,
  ) {}

  static async start(
    { system, ref: vpp }: Pick<Connection, 'system' | 'ref'>,
    route_source: 'bgp' | 'ipam',
    wireguard = no_wireguard,
    writer = route_writer_settings_default,
  ): Promise<Actor> {
    const uplink = await system.spawn(idle<SubscribeNode | SubscribeEarly | InPlace>('uplink'));
    const cluster = await system.spawn(idle<ClusterMessage>('cluster'));
    const spec = connectivityActor(
      {
        vpp,
        uplink,
        cluster,
        wireguard,
        pools_file: { read: () => undefined, write: () => undefined },
        checksums: () => undefined,
        report: () => undefined,
      },
      {
        node_name: 'own',
        route_source,
        gso: true,
        encryption_required: false,
        coalesce_ms,
        writer,
      },
    );
    const actor = new Actor(system, await system.spawn(spec));
    actor.ready();
    return actor;
  }

  /** What it has in VPP stays there. */
  async stop(): Promise<void> {
    for (const name of ['connectivity', 'uplink', 'cluster']) await this.system.stopChild(name);
  }

  ready(): void {
    this.ref.tell({
      type: 'NodeReady',
      generation: 1,
      vpp: 'bench',
      workers: 0,
      mtu: 1500,
      node: { ip4: '172.16.0.1' },
      main_uplink: uplink_tag,
      subnets: { ip4: '172.16.0.0/16' },
      redirects: [],
      buffers_taken: 0,
    });
  }

  told(kind: KindName, changed: Iterable<readonly [string, unknown]> = []): Promise<void> {
    const change = { kind, synced: true, changed: new Map(changed) } as unknown as AnyChange;
    return this.#ask((reply) => ({ type: 'ClusterChange', change, reply }));
  }

  /** The one that runs. */
  static of({ system }: Connection): Actor {
    return new Actor(system, system.ref(`${system.root.path}/connectivity`));
  }

  async toldAll(mode: IpPool['ipip']): Promise<void> {
    for (const kind of kinds) await this.told(kind, kind === 'IPPool' ? [['pool', pool(mode)]] : []);
  }

  async routes(
    count: number,
    next_hop: (n: number) => string | readonly string[] | undefined,
  ): Promise<void> {
    for (let at = 0; at < count; at += told_at_once) {
      const changed = new Map<string, RemoteRoute | undefined>();
      for (let n = at; n < Math.min(count, at + told_at_once); n += 1) {
        const hops = next_hop(n);
        const route = hops === undefined ? undefined : { prefix: blockAt(n), next_hops: [hops].flat() };
        changed.set(blockAt(n), route);
      }
      const synced = at + told_at_once >= count;
      await this.#ask((reply) => ({ type: 'RemoteRoutes', begins: false, changed, synced, reply }));
    }
  }

  #ask(question: (reply: Reply<void>) => ConnectivityMessage): Promise<void> {
    return this.system.ask(this.ref, question, answer_ms);
  }

  get routeCount(): number {
    return Number(this.system.node(this.ref.path)!.gauges.routes);
  }

  /** VPP has so many routes to prefixes, and nothing is on its way. */
  async reached(routes: number): Promise<void> {
    for (;;) {
      const { gauges } = this.system.node(this.ref.path)!;
      if (gauges.routes === routes && gauges.waiting === 0 && Number(gauges.in_vpp) >= routes) {
        if (gauges.refused !== 0) throw new Error(`${gauges.refused} objects were refused`);
        if (routes > 0 || gauges.in_vpp === 0) return;
      }
      await new Promise((resolve) => setTimeout(resolve, look_ms));
    }
  }
}

async function bareClient(client: Client, count: number, is_add: boolean): Promise<void> {
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < count) {
      const n = next++;
      const paths = [pathTo(4, { next_hop: nodeAddress(n) })];
      const route = { table_id: 0, prefix: blockAt(n), stats_index: 0, src: api_source, paths };
      await client.request(ip_route_add_del_v2, { is_add, is_multipath: false, route });
    }
  };
  await Promise.all(Array.from({ length: in_flight }, one));
}

interface Round {
  readonly alone: Cost;
  readonly ours: Cost;
}

/** The actor and the bare client in turns. The first round warms up both, and is not counted. */
async function compare(actor: Actor, bare: Client, count: number, rounds: number): Promise<readonly Round[]> {
  const costs: Round[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const alone = await costOf(() => bareClient(bare, count, true));
    await bareClient(bare, count, false);
    const ours = await costOf(async () => {
      await actor.routes(count, nodeAddress);
      await actor.reached(count);
    });
    if (round > 0) costs.push({ alone, ours });
    await actor.routes(count, () => undefined);
    await actor.reached(0);
  }
  return costs;
}

async function ofBgp(connection: Connection, api_socket: string, report: Report, rounds: number) {
  const bare = await connect({ transport: unixTransport(api_socket), name: 'bench-bare', window: in_flight });
  const actor = await Actor.start(connection, 'bgp');
  for (const [count, goal_ms] of [
    [10_000, 1000],
    [100_000, 5000],
  ] as const) {
    for (const mode of ['Never', 'Always'] as const) {
      await actor.toldAll(mode);
      const costs = await compare(actor, bare, count, rounds);
      const of = (what: (cost: Round) => number): number => median(costs.map(what));
      const name = `${count.toLocaleString('en-US')} prefixes, ${mode === 'Never' ? 'flat' : 'IPIP'}`;
      report({ name: `${name}, bare client`, value: of((c) => c.alone.took_ms), unit: 'ms' });
      report(
        atMost(
          name,
          of((c) => c.ours.took_ms),
          'ms',
          goal_ms,
        ),
      );
      report({
        name: `${name}, to bare client`,
        value: of((c) => c.ours.took_ms / c.alone.took_ms),
        unit: 'ratio',
      });
      report({ name: `${name}, bare client, CPU`, value: of((c) => c.alone.cpu_ms), unit: 'ms' });
      report({ name: `${name}, CPU`, value: of((c) => c.ours.cpu_ms), unit: 'ms' });
      report(
        atMost(
          `${name}, event loop delay, p99`,
          of((c) => c.ours.delay_p99_ms),
          'ms',
          block_ms_max,
        ),
      );
      report({ name: `${name}, longest block`, value: of((c) => c.ours.block_ms), unit: 'ms' });
    }
  }
  bare.close();

  const few = 10_000;
  await actor.routes(few, nodeAddress);
  await actor.reached(few);
  const moved = await costOf(async () => {
    await actor.told('IPPool', [['pool', pool('Never')]]);
    await new Promise((resolve) => setTimeout(resolve, 2 * coalesce_ms));
    await actor.reached(few);
  });
  report({
    name: `a pool of ${few.toLocaleString('en-US')} prefixes, from IPIP to flat`,
    value: moved.took_ms,
    unit: 'ms',
  });
  await actor.routes(few, () => undefined);
  await actor.reached(0);
  await actor.stop();
}

/** Each prefix by the same two routers, as a node in a rack has them. */
async function byTwo(connection: Connection, report: Report): Promise<void> {
  const many = 100_000;
  const name = `${many.toLocaleString('en-US')} prefixes by two routers`;
  const before_mb = heapMegabytes();
  const actor = await Actor.start(connection, 'bgp');
  await actor.toldAll('Never');
  const cost = await costOf(async () => {
    await actor.routes(many, () => [nodeAddress(0), nodeAddress(1)]);
    await actor.reached(many);
  });
  report({ name, value: cost.took_ms, unit: 'ms' });
  report({ name: `${name}, longest block`, value: cost.block_ms, unit: 'ms' });
  report(atMost(`${name}, heap of all that is kept`, heapMegabytes() - before_mb, 'MB', heap_mb_max));
  await actor.routes(many, () => undefined);
  await actor.reached(0);
  await actor.stop();
}

async function takenOver(connection: Connection, report: Report): Promise<void> {
  const many = 100_000;
  const name = `${many.toLocaleString('en-US')} prefixes, IPIP`;
  const before_mb = heapMegabytes();
  const actor = await Actor.start(connection, 'bgp');
  await actor.toldAll('Always');
  await actor.routes(many, nodeAddress);
  await actor.reached(many);
  report(atMost(`${name}, heap of all that is kept`, heapMegabytes() - before_mb, 'MB', heap_mb_max));
  await actor.stop();
  const asked = (): number => connection.system.node(connection.ref.path)?.processed.byType.Transact ?? 0;
  const asked_before = asked();
  const again = await costOf(async () => {
    const anew = await Actor.start(connection, 'bgp');
    await anew.toldAll('Always');
    await anew.routes(many, nodeAddress);
    await anew.reached(many);
  });
  report({ name: `${name}, an actor begins anew`, value: again.took_ms, unit: 'ms' });
  report(atMost(`${name}, an actor begins anew, longest block`, again.block_ms, 'ms', block_ms_max));
  report(
    atMost(`${name}, taken over, heap of all that is kept`, heapMegabytes() - before_mb, 'MB', heap_mb_max),
  );
  report(atMost(`${name}, taken over, transactions`, asked() - asked_before, 'transactions', 0));
  const anew = Actor.of(connection);
  await anew.routes(many, () => undefined);
  await anew.reached(0);
  await anew.stop();
}

async function ofIpam(connection: Connection, report: Report): Promise<void> {
  const actor = await Actor.start(connection, 'ipam');
  await actor.toldAll('Always');
  const name = (n: number): string => `node-${n % nodes}`;
  const nodeOf = (n: number) => ({
    name: name(n),
    labels: {},
    ip4: { address: nodeAddress(n), prefix: '172.16.0.0/16' },
  });
  const all_nodes = Array.from({ length: nodes }, (_, n) => [name(n), nodeOf(n)] as const);
  const storm = async (): Promise<void> => {
    await actor.told('Node', all_nodes);
    for (let at = 0; at < storm_blocks; at += told_at_once) {
      await actor.told(
        'BlockAffinity',
        Array.from({ length: told_at_once }, (_, n) => [
          `${name(at + n)}-${at + n}`,
          { prefix: blockAt(at + n), node: name(at + n), type: 'host', confirmed: true, deleted: false },
        ]),
      );
    }
    await actor.reached(storm_blocks);
  };
  const first = await costOf(storm);
  report(
    atMost(`${storm_blocks.toLocaleString('en-US')} blocks at once, from IPAM`, first.took_ms, 'ms', 1000),
  );
  report({ name: '… longest block', value: first.block_ms, unit: 'ms' });
  // Told again, as after a relist, and a node that goes and comes: nothing has changed in the end.
  const again = await costOf(storm);
  report({ name: '… told again', value: again.took_ms, unit: 'ms' });
  const flaps = await costOf(async () => {
    for (let n = 0; n < 20; n += 1) {
      await actor.told('Node', [[name(0), undefined]]);
      await actor.told('Node', [all_nodes[0]!]);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
    await actor.reached(storm_blocks);
  });
  report({ name: 'a node of 50 blocks flaps 20 times, CPU', value: flaps.cpu_ms, unit: 'ms' });
  await actor.stop();
}

export async function bench(report: Report, { quick }: BenchOptions): Promise<void> {
  const found = findRealVpp();
  if (!found.usable) throw new CannotRun(found.why);
  const vpp = await startRealVpp(found);
  try {
    const connection = await Connection.open(vpp.api_socket);
    const made = await connection.transact(
      'node',
      node_objects.map((object) => ({ action: 'add', object })),
    );
    if (made.error !== undefined) throw made.error;
    await ofBgp(connection, vpp.api_socket, report, quick ? rounds_of.quick : rounds_of.whole);
    await byTwo(connection, report);
    await takenOver(connection, report);
    await ofIpam(connection, report);
    await connection.close();
  } finally {
    await vpp.stop();
  }
  await benchNode(report, found);
}
