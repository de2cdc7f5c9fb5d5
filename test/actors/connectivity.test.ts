import t from 'tap';
import { RetvalError } from 'vpp-binapi-ts';
import type { LifeRef } from '../../src/actor-system.js';
import { type ConnectivitySettings, connectivityActor } from '../../src/actors/connectivity.js';
import type { BlockAffinity } from '../../src/calico/kinds/block-affinity.js';
import type { IpPool } from '../../src/calico/kinds/ip-pool.js';
import type { CalicoNode } from '../../src/calico/kinds/node.js';
import { Secret } from '../../src/config/secret.js';
import { tunnel_settings_default, tunnelObjects } from '../../src/desired/remote-route.js';
import { srPolicyKey, srPolicyText } from '../../src/desired/sr-policy.js';
import { table } from '../../src/desired/tables.js';
import type { NodeKeys } from '../../src/felix/peer-keys.js';
import type { AnyChange, ClusterMessage, KindName } from '../../src/messages/cluster.js';
import type { ConnectivityMessage, RemoteRoute, SidsProgrammed } from '../../src/messages/connectivity.js';
import type {
  InPlace,
  NodePrepared,
  NodeReady,
  SubscribeEarly,
  SubscribeNode,
} from '../../src/messages/node.js';
import type { VppConnectionMessage } from '../../src/messages/vpp.js';
import { interfaceMade, isDangling, keyOf, type VppObject } from '../../src/objects/object.js';
import type { Path, Route } from '../../src/objects/routing.js';
import { PolicedInterfaces, type TakenInterface } from '../../src/policies/policed-interfaces.js';
import type { Operation, Outcome } from '../../src/reconcile/operation.js';
import type { ConnectivityReport } from '../../src/routes/connectivity-report.js';
import type { EncryptionParts, PublishedKeys } from '../../src/routes/encryption.js';
import { route_writer_settings_default } from '../../src/routes/route-writer.js';
import type { IkeEnds, IkeTunnelState } from '../../src/vpp-conn/observe/ipsec.js';
import type { PeerState } from '../../src/vpp-conn/observe/wireguard.js';
import { QuarantinedError } from '../../src/vpp-conn/quarantine.js';
import { type ActorKit, actorKit, type KitMailbox, type Teardown } from '../kit/actor-kit.js';
import { StrictVpp } from '../reconcile/strict-vpp.js';

type Transact = Extract<VppConnectionMessage, { type: 'Transact' }>;
type Read = Extract<VppConnectionMessage, { type: 'Read' }>;

const uplink: VppObject = {
  kind: 'af_packet',
  tag: 'main-eth0',
  host_if_name: 'eth0',
  mac: '02:00:00:00:00:01',
  rx_queues: 1,
  tx_queues: 1,
  rx_frames_per_block: 0,
  tx_frames_per_block: 0,
  gso: false,
  qdisc_bypass: false,
  version_3: false,
};

const coalesce_ms = 20;

const all_kinds: readonly KindName[] = [
  'Node',
  'IPPool',
  'FelixConfiguration',
  'BlockAffinity',
  'IPAMBlock',
  'BGPConfiguration',
  'Service',
  'EndpointSlice',
];

function pool(prefix: string, changes: Partial<IpPool> = {}): IpPool {
  return {
    name: prefix,
    prefix,
    ipip: 'Never',
    vxlan: 'Never',
    nat_outgoing: false,
    disabled: false,
    disable_bgp_export: false,
    allowed_uses: [],
    ...changes,
  };
}

function nodeAt(name: string, address: string): CalicoNode {
  return { name, labels: {}, ip4: { address, prefix: `${address}/32` } };
}

function affinity(node: string, prefix: string): BlockAffinity {
  return { node, prefix, type: 'host', confirmed: true, deleted: false };
}

/** Base64 of 32 bytes. */
const keyOf32 = (byte: number): string => Buffer.alloc(32, byte).toString('base64');

/** As VPP would show what of a tunnel has these keys. */
function partsOf(keys: readonly string[]): readonly VppObject[] {
  const own = { node: { ip4: '10.0.0.1' }, subnets: {}, main_uplink: 'main-eth0', mtu: 1500 };
  const tunnel = { kind: 'ipip_tunnel', tag: 'ipip-10.9.0.2', src: '10.0.0.1', dst: '10.9.0.2' } as const;
  return tunnelObjects(tunnel, own, tunnel_settings_default).filter((object) => keys.includes(keyOf(object)));
}

/** Tables of SRv6 are connectivity's own. */
const isOfNode = (object: VppObject): boolean =>
  object.kind === 'af_packet' || (object.kind === 'table' && !object.name.startsWith('srv6-'));

const bsid_taken = new RetvalError('sr_policy_add_v2', -12, undefined);

/** Nobody waits for other nodes. */
const at_once = { ...route_writer_settings_default, lead_ms: 0, linger_ms: 0 };

/** What the actor tells the uplink's. */
type ToUplink = SubscribeNode | SubscribeEarly | InPlace;

class Lab {
  kit!: ActorKit<ConnectivityMessage>;
  vpp = new StrictVpp([uplink, table(4, 2, 'calico-pods-ip4'), table(6, 2, 'calico-pods-ip6')]);
  generation = 1;
  vpps = 1;
  report!: () => ConnectivityReport;
  /** Everything that was done, in order. */
  readonly done: string[] = [];
  readonly transactions: Transact[] = [];
  reads = 0;
  peer_reads = 0;
  policed: PolicedInterfaces | undefined;
  published: PublishedKeys | undefined;
  publishes = 0;
  /** The API server takes what is published, and all are told. */
  publish: EncryptionParts['publish'] = async (keys) => {
    this.publishes += 1;
    this.published = keys;
    void this.told('Node', ownNode(keys));
  };
  keys_of_node = () => ({ public_key: keyOf32(1), private_key: new Secret(keyOf32(101)) });
  software_checksums: boolean | undefined;
  /** IPsec is on, with this key. */
  psk: Secret | undefined;
  /** How tunnels of IKE are, where they are in VPP. */
  ike: IkeTunnelState['state'] = 'down';
  psk_fault: string | undefined;
  ike_reads = 0;
  /** Nobody is told how they are. */
  ike_is_silent = false;
  readonly taken_down: string[] = [];
  /** The pools of an earlier life. */
  pools_text: string | undefined;
  /** What VPP says of its peers. */
  established: ReadonlySet<string> = new Set();
  /** Prefixes to which others have routes. */
  of_others: readonly string[] = [];
  /** Does and answers nothing. */
  holding = false;
  refuses: (operation: Operation) => boolean = () => false;
  refusal: (operation: Operation) => Error = ({ action }) => new Error(`${action}: refused`);
  /** Orders that VPP would not have survived. */
  readonly deadly: string[] = [];
  readonly #held: (Transact | Read)[] = [];

  static async start(
    t: Teardown,
    changes: Partial<ConnectivitySettings> = {},
    prepare: (lab: Lab) => void = () => undefined,
  ): Promise<Lab> {
    const lab = new Lab();
    prepare(lab);
    lab.kit = await actorKit<ConnectivityMessage>(t, (kit) => {
      const vpp = kit.mailbox<VppConnectionMessage>('vpp');
      vpp.on('Transact', (message) => lab.#take(message));
      vpp.on('Read', (message) => lab.#take(message));
      vpp.on('ReadPeers', ({ reply }) => reply.resolve(lab.peerStates()));
      vpp.on('ReadIkeTunnels', ({ tunnels, reply }) => {
        lab.ike_reads += 1;
        if (!lab.ike_is_silent) reply.resolve(lab.ikeStates(tunnels));
      });
      vpp.on('TakeDown', ({ interfaces, reply }) => {
        lab.taken_down.push(...interfaces);
        reply.resolve();
      });
      return connectivityActor(
        {
          vpp: vpp.ref,
          uplink: kit.mailbox<ToUplink>('uplink').ref,
          cluster: kit.mailbox<ClusterMessage>('cluster').ref,
          checksums: (in_software) => {
            lab.software_checksums = in_software;
          },
          wireguard: {
            keys: () => lab.keys_of_node(),
            publish: (keys, signal, failing) => lab.publish(keys, signal, failing),
          },
          pools_file: {
            read: () => lab.pools_text,
            write: (text) => {
              lab.pools_text = text;
            },
          },
          ...(lab.psk !== undefined && { ipsec: { key: () => lab.keyOfIpsec() } }),
          ...(lab.policed !== undefined && { policed: lab.policed }),
          report: (ask) => {
            lab.report = ask;
          },
        },
        {
          node_name: 'own',
          route_source: 'bgp',
          gso: true,
          encryption_required: false,
          coalesce_ms,
          writer: { ...at_once, operations_max: 8 },
          ...changes,
        },
      );
    });
    return lab;
  }

  get cluster(): KitMailbox<ClusterMessage> {
    return this.kit.mailbox('cluster');
  }

  /** A VPP that has no uplinks yet. */
  async prepared(round: number): Promise<void> {
    const prepared: NodePrepared = { ...this.facts(), type: 'NodePrepared', round };
    await this.kit.tell(prepared);
  }

  async ready(changes: Partial<NodeReady> = {}): Promise<void> {
    await this.kit.tell({ ...this.facts(), type: 'NodeReady', ...changes });
  }

  private facts() {
    return {
      generation: this.generation,
      vpp: `vpp ${this.vpps}`,
      workers: 0,
      mtu: 1500,
      node: { ip4: '10.0.0.1', ip6: 'fd00::1' },
      main_uplink: 'main-eth0',
      subnets: { ip4: '10.0.0.0/24', ip6: 'fd00::/64' },
      redirects: [],
      buffers_taken: 0,
    };
  }

  async lost(): Promise<void> {
    await this.kit.tell({ type: 'NodeLost', generation: this.generation, reason: 'lost' });
    this.generation += 1;
  }

  /** VPP is gone, and another one has nothing but the node's own. */
  async die(): Promise<void> {
    const own = this.vpp.objects.filter(isOfNode);
    this.vpp = new StrictVpp(own);
    this.vpps += 1;
    this.#held.length = 0;
    this.holding = false;
    await this.lost();
  }

  async told<K extends KindName>(
    kind: K,
    changed: Readonly<Record<string, unknown>> = {},
    synced = true,
  ): Promise<void> {
    const change = { kind, synced, changed: new Map(Object.entries(changed)) } as unknown as AnyChange;
    await this.kit.ask((reply) => ({ type: 'ClusterChange', change, reply }));
  }

  /** All kinds are told, with these pools. */
  async synced(pools: readonly IpPool[] = [], but: readonly KindName[] = []): Promise<void> {
    for (const kind of all_kinds) {
      if (but.includes(kind)) continue;
      const objects = kind === 'IPPool' ? Object.fromEntries(pools.map((each) => [each.name, each])) : {};
      await this.told(kind, objects);
    }
  }

  /** A life of the source begins with this. */
  async routes(
    routes: Readonly<Record<string, string | readonly string[] | undefined>>,
    synced = true,
    begins = false,
  ): Promise<void> {
    const changed = new Map<string, RemoteRoute | undefined>(
      Object.entries(routes).map(([prefix, next_hops]) => [
        prefix,
        next_hops === undefined ? undefined : { prefix, next_hops: [next_hops].flat() },
      ]),
    );
    await this.kit.ask((reply) => ({ type: 'RemoteRoutes', begins, changed, synced, reply }));
  }

  /** A moment passes, and all that follows. */
  async moment(ms = coalesce_ms): Promise<void> {
    await this.kit.clock.advance(ms);
    await this.kit.settle();
  }

  /** What VPP has of this owner, by key. */
  get keys(): readonly string[] {
    return this.vpp.objects
      .filter((object) => !isOfNode(object))
      .map(keyOf)
      .sort();
  }

  path(prefix: string, table_id = 0): string | undefined {
    const key = `route:connectivity/${table_id}/${prefix}`;
    const route = this.vpp.objects.find((object) => keyOf(object) === key) as Route | undefined;
    return route?.paths
      .map((path) => {
        if (path.via === 'interface') return `${path.interface} ${path.next_hop}`;
        return path.via === 'next_hop' ? path.next_hop : path.via;
      })
      .join(', ');
  }

  peerStates(): readonly PeerState[] {
    this.peer_reads += 1;
    return this.vpp.objects.flatMap((object) => {
      if (object.kind !== 'wireguard_peer') return [];
      const { public_key, endpoint, port } = object;
      return [{ public_key, endpoint, port, established: this.established.has(public_key), dead: false }];
    });
  }

  ikeStates(tunnels: readonly IkeEnds[]): readonly IkeTunnelState[] {
    return tunnels.map(({ tag }) => {
      const is_there = this.vpp.objects.some((object) => interfaceMade(object) === tag);
      return { tag, state: is_there ? this.ike : 'gone', has_sa: false };
    });
  }

  keyOfIpsec(): Secret {
    if (this.psk_fault !== undefined) throw new Error(this.psk_fault);
    return this.psk!;
  }

  get gauges() {
    return this.kit.node().gauges;
  }

  async describe(): Promise<ConnectivityReport> {
    const described = (await this.kit.system.describe(this.kit.ref.path, 1000)) as ConnectivityReport;
    t.match(described, this.report());
    return described;
  }

  /** Takes what was done since this was asked last. */
  takeDone(): string[] {
    return this.done.splice(0);
  }

  async answer(): Promise<void> {
    this.holding = false;
    for (const message of this.#held.splice(0)) this.#serve(message);
    await this.kit.settle();
  }

  /** What is held back is never done, and its askers hear of it. */
  async fail(error: Error): Promise<void> {
    this.holding = false;
    for (const { reply } of this.#held.splice(0)) reply.reject(error);
    await this.kit.settle();
  }

  #take(message: Transact | Read): void {
    if (message.type === 'Transact') this.transactions.push(message);
    else this.reads += 1;
    if (this.holding) this.#held.push(message);
    else this.#serve(message);
  }

  #serve(message: Transact | Read): void {
    if (message.type === 'Read') return this.#read(message);
    const { transaction, reply } = message;
    if (transaction.generation !== this.generation) return reply.reject(new Error('stale generation'));
    const outcomes: Outcome[] = [];
    for (const operation of transaction.operations) {
      if (this.refuses(operation)) {
        outcomes.push({ operation, error: this.refusal(operation) });
        continue;
      }
      try {
        this.vpp.run([operation]);
        this.done.push(`${operation.action} ${keyOf(operation.object)}`);
        outcomes.push({ operation });
      } catch (error) {
        // What needs an interface that was refused is refused by the connection.
        const { message } = error as Error;
        if (!message.includes('there is no interface')) this.deadly.push(message);
        const is_taken = message.includes('a policy with this binding SID');
        outcomes.push({ operation, error: is_taken ? bsid_taken : (error as Error) });
      }
    }
    reply.resolve({ outcomes, interfaces: new Map() });
  }

  #read({ scopes, take, reply }: Read): void {
    const what = scopes.join();
    if (what !== 'connectivity,hidden' && what !== 'connectivity') throw new Error(`read ${what}`);
    const rest: VppObject[] = [];
    for (const object of this.vpp.objects) {
      if (isOfNode(object)) continue;
      // A secret has no parts to be cloned.
      if (object.kind === 'ike_profile') rest.push({ ...object });
      else if (object.kind === 'route' && !isDangling(object)) take?.(structuredClone(object));
      else rest.push(structuredClone(object));
    }
    for (const prefix of what === 'connectivity' ? [] : this.of_others)
      take?.({ kind: 'route', source: 'connectivity', table_id: 0, prefix, paths: [] });
    reply.resolve({ objects: rest, unsure: new Set(), interfaces: [] });
  }
}

const flat = pool('10.244.0.0/16');
const ipip = pool('10.244.0.0/16', { ipip: 'Always' });
const vxlan = pool('10.244.0.0/16', { vxlan: 'Always' });

t.test('routes of BGP are in VPP a moment after they were told', async (t) => {
  const lab = await Lab.start(t);
  t.match(await lab.kit.mailbox<SubscribeNode>('uplink').messages(), [{ type: 'SubscribeNode' }]);
  t.match(await lab.cluster.messages(), [
    { type: 'Subscribe', kinds: ['IPPool', 'FelixConfiguration', 'Node'] },
  ]);
  await lab.ready();
  await lab.synced([flat]);
  await lab.routes({ '10.244.1.0/26': '10.0.0.2', '10.250.0.0/16': '10.0.0.254' });
  t.strictSame(lab.keys, [], 'not at once: a burst is one change');
  await lab.moment();
  t.equal(lab.path('10.244.1.0/26'), '10.0.0.2');
  t.equal(lab.path('10.250.0.0/16'), '10.0.0.254');
  t.match(lab.transactions, [
    { transaction: { owner: 'connectivity', urgency: 'bulk', on_error: 'continue', generation: 1 } },
  ]);
  await lab.routes({ '10.244.1.0/26': undefined });
  await lab.moment();
  t.equal(lab.path('10.244.1.0/26'), undefined);
  t.match(lab.gauges, { routes: 1, in_vpp: 1, waiting: 0, refused: 0, faulty: 0 });
});

t.test('nothing is planned before pools, nodes and configuration have been told', async (t) => {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.routes({ '10.244.1.0/26': '10.9.0.2' });
  for (const missing of ['IPPool', 'FelixConfiguration', 'Node'] as const) {
    const other = await Lab.start(t);
    await other.ready();
    await other.routes({ '10.244.1.0/26': '10.9.0.2' });
    await other.synced([ipip], [missing]);
    await other.moment();
    t.strictSame(other.keys, [], `without ${missing}`);
    t.match(await other.describe(), { unsynced: [missing] });
  }
  await lab.synced([ipip]);
  await lab.moment();
  t.equal(lab.path('10.244.1.0/26'), 'ipip-10.9.0.2 10.9.0.2');
  t.equal(lab.path('10.9.0.2/32', 2), 'ipip-10.9.0.2 10.9.0.2');
  t.strictSame(lab.deadly, []);
});

t.test('a change of the mode moves routes without a gap: the tunnels of before go last', async (t) => {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.synced([ipip]);
  const routes = Object.fromEntries(
    Array.from({ length: 30 }, (_, n) => [`10.244.${n}.0/26`, `10.9.0.${n % 3}`.replace('.0.0', '.0.9')]),
  );
  await lab.routes(routes);
  await lab.moment();
  for (const [to, way] of [
    [vxlan, 'vxlan-4096-10.9.0.1 10.9.0.1'],
    [flat, '10.9.0.1'],
    [ipip, 'ipip-10.9.0.1 10.9.0.1'],
  ] as const) {
    lab.takeDone();
    await lab.told('IPPool', { [to.name]: to });
    await lab.moment();
    t.equal(lab.path('10.244.1.0/26'), way);
    const done = lab.takeDone();
    const removed = done.filter((text) => text.startsWith('remove route:connectivity/0/'));
    t.strictSame(removed, [], 'no route to pods was gone for a moment');
    const first_removal = done.findIndex((text) => /^remove (ipip|vxlan)_tunnel/.test(text));
    const last_move = done.findLastIndex((text) => text.startsWith('add route:'));
    if (first_removal >= 0) t.ok(first_removal > last_move, 'tunnels go when all routes have moved');
    const kinds = new Set(lab.keys.flatMap((key) => /^(?:ipip|vxlan)_tunnel:(?:ipip|vxlan)/.exec(key) ?? []));
    t.ok(kinds.size <= 1, [...kinds].join());
  }
  t.strictSame(lab.deadly, []);
  t.match(lab.gauges, { tunnels: 3, refused: 0 });
});

t.test('nodes hear of a change one after the other: both ways are there for a while', async (t) => {
  const lab = await Lab.start(t, { writer: { ...at_once, lead_ms: 2000, linger_ms: 10_000 } });
  await lab.ready();
  await lab.synced([ipip]);
  await lab.routes({ '10.244.1.0/26': '10.9.0.1' });
  await lab.moment();
  const way = (): string | undefined => lab.path('10.244.1.0/26');
  const there = (tunnel: string): boolean => lab.keys.includes(tunnel);
  const old = 'ipip_tunnel:ipip-10.9.0.1';
  const young = 'vxlan_tunnel:vxlan-4096-10.9.0.1';
  t.equal(way(), 'ipip-10.9.0.1 10.9.0.1', 'the first route waits for nobody');

  await lab.told('IPPool', { [vxlan.name]: vxlan });
  await lab.moment();
  t.ok(there(young), 'ready for who hears of it first');
  t.equal(way(), 'ipip-10.9.0.1 10.9.0.1', 'while the other end may not be');
  await lab.routes({ '10.244.2.0/26': '10.9.0.1' });
  await lab.moment(1900);
  t.equal(way(), 'ipip-10.9.0.1 10.9.0.1');
  t.equal(
    lab.path('10.244.2.0/26'),
    'vxlan-4096-10.9.0.1 10.9.0.1',
    'what has no way yet has nothing to wait for',
  );
  await lab.moment(200);
  t.equal(way(), 'vxlan-4096-10.9.0.1 10.9.0.1');
  await lab.moment(7000);
  t.ok(there(old), 'the other end may still send by it');
  await lab.moment(1000);
  t.notOk(there(old));

  // To no tunnel: at once, but the tunnel lingers. And back, before it is gone.
  await lab.told('IPPool', { [flat.name]: flat });
  await lab.moment();
  t.equal(way(), '10.9.0.1');
  t.ok(there(young));
  await lab.told('IPPool', { [vxlan.name]: vxlan });
  await lab.moment();
  t.equal(way(), 'vxlan-4096-10.9.0.1 10.9.0.1', 'a tunnel that is there is no new one');
  await lab.moment(20_000);
  t.ok(there(young));

  // Changed again before it has moved.
  await lab.told('IPPool', { [ipip.name]: ipip });
  await lab.moment();
  await lab.told('IPPool', { [flat.name]: flat });
  await lab.moment();
  t.equal(way(), '10.9.0.1');
  await lab.moment(20_000);
  t.equal(way(), '10.9.0.1', 'what has waited is void');
  t.strictSame(
    lab.keys.filter((key) => /tunnel:/.test(key)),
    [],
  );

  // Another node has it: there is nothing to be lost by going there at once.
  await lab.told('IPPool', { [ipip.name]: ipip });
  await lab.moment(20_000);
  await lab.routes({ '10.244.1.0/26': '10.9.0.2' });
  await lab.moment();
  t.equal(way(), 'ipip-10.9.0.2 10.9.0.2');

  // Withdrawn while it waits.
  await lab.told('IPPool', { [vxlan.name]: vxlan });
  await lab.moment();
  await lab.routes({ '10.244.1.0/26': undefined });
  await lab.moment(20_000);
  t.equal(way(), undefined);

  // From no tunnel: neither pods nor the node itself are reached by what the other end may not have yet.
  await lab.told('IPPool', { [flat.name]: flat });
  await lab.routes({ '10.244.1.0/26': '10.9.0.1' });
  await lab.moment(20_000);
  await lab.told('IPPool', { [ipip.name]: ipip });
  await lab.moment();
  t.ok(there(old));
  t.equal(way(), '10.9.0.1');
  t.equal(lab.path('10.9.0.1/32', 2), undefined);
  await lab.moment(2000);
  t.equal(way(), 'ipip-10.9.0.1 10.9.0.1');
  t.equal(lab.path('10.9.0.1/32', 2), 'ipip-10.9.0.1 10.9.0.1');
  await lab.told('IPPool', { [flat.name]: flat });
  await lab.moment(20_000);
  await lab.told('IPPool', { [ipip.name]: ipip });
  await lab.moment();
  await lab.told('IPPool', { [flat.name]: flat });
  await lab.moment(20_000);
  t.equal(lab.path('10.9.0.1/32', 2), undefined, 'what has waited is void');
  await lab.routes({ '10.244.1.0/26': undefined });
  await lab.told('IPPool', { [vxlan.name]: vxlan });
  await lab.moment(20_000);

  // The first route waits for nobody, nor does that to its node.
  await lab.routes({ '10.244.5.0/26': '10.9.0.5' });
  await lab.moment();
  t.equal(lab.path('10.9.0.5/32', 2), 'vxlan-4096-10.9.0.5 10.9.0.5');
  await lab.routes({ '10.244.5.0/26': undefined });

  // Another VPP has no old way.
  await lab.routes({ '10.244.1.0/26': '10.9.0.1' });
  await lab.moment(20_000);
  await lab.told('IPPool', { [ipip.name]: ipip });
  await lab.moment();
  await lab.die();
  await lab.ready();
  await lab.moment();
  t.equal(way(), 'ipip-10.9.0.1 10.9.0.1');
  t.notOk(there(young));
  t.strictSame(lab.deadly, []);
});

t.test('a route that VPP would not let go, and its tunnel, go when it does', async (t) => {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.synced([ipip]);
  await lab.routes({ '10.244.1.0/26': '10.9.0.2' });
  await lab.moment();
  // The connection refuses to remove a tunnel by which something leads.
  lab.refuses = ({ action, object }) =>
    action === 'remove' && (object.kind === 'route' || object.kind === 'ipip_tunnel');
  await lab.routes({ '10.244.1.0/26': undefined });
  await lab.moment();
  t.ok(lab.keys.includes('ipip_tunnel:ipip-10.9.0.2'));
  t.match(await lab.describe(), {
    refused: { 'route:connectivity/0/10.244.1.0/26': 'remove: refused' },
  });
  lab.refuses = () => false;
  await lab.moment(1000);
  t.strictSame(lab.keys, []);
  t.strictSame(lab.deadly, []);
});

t.test('what VPP refuses is tried again, later each time, and costs nobody else', async (t) => {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.synced([ipip]);
  lab.refuses = ({ object }) => interfaceMade(object) === 'ipip-10.9.0.2';
  await lab.routes({ '10.244.1.0/26': '10.9.0.2', '10.244.2.0/26': '10.9.0.3' });
  await lab.moment();
  t.equal(lab.path('10.244.2.0/26'), 'ipip-10.9.0.3 10.9.0.3');
  t.match((await lab.describe()).refused, {
    'ipip_tunnel:ipip-10.9.0.2': 'add: refused',
    'route:connectivity/0/10.244.1.0/26': /there is no interface/,
  });
  const tries: number[] = [];
  for (let second = 0; second < 130; second += 1) {
    const before = lab.transactions.length;
    await lab.moment(1000);
    if (lab.transactions.length > before) tries.push(second + 1);
  }
  t.strictSame(tries, [1, 3, 7, 15, 31, 63, 123]);
  lab.refuses = () => false;
  await lab.moment(60_000);
  t.equal(lab.path('10.244.1.0/26'), 'ipip-10.9.0.2 10.9.0.2');
  t.match(lab.gauges, { refused: 0, waiting: 0 });
  t.strictSame(lab.deadly, []);

  lab.refuses = ({ object }) => keyOf(object).includes('10.244.9.0');
  await lab.routes({ '10.244.9.0/26': '10.9.0.2' });
  await lab.moment();
  const before = lab.transactions.length;
  await lab.moment(1000);
  t.equal(lab.transactions.length, before + 1, 'soon again, after a success');
});

t.test('a tunnel that VPP does not make takes nothing from a route’s other ways', async (t) => {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.synced([ipip]);
  lab.refuses = ({ object }) => interfaceMade(object) === 'ipip-10.9.0.2';
  const prefix = '10.244.1.0/26';
  await lab.routes({ [prefix]: ['10.9.0.2', '10.9.0.3'] });
  await lab.moment();
  t.equal(lab.path(prefix), 'ipip-10.9.0.3 10.9.0.3');
  t.match(
    (await lab.describe()).faults[`route ${prefix}`],
    /without the tunnel to 10\.9\.0\.2.*VPP does not make/,
  );
  await lab.routes({ [prefix]: ['10.9.0.2', '10.9.0.4'] });
  await lab.moment();
  t.equal(lab.path(prefix), 'ipip-10.9.0.4 10.9.0.4', 'they come and go meanwhile');
  await lab.moment(5000);
  t.equal(lab.path(prefix), 'ipip-10.9.0.4 10.9.0.4', 'while it is tried again');
  await lab.routes({ [prefix]: '10.9.0.2' });
  await lab.moment();
  t.match((await lab.describe()).refused, { [`route:connectivity/0/${prefix}`]: /there is no interface/ });
  await lab.routes({ [prefix]: ['10.9.0.2', '10.9.0.3'] });
  await lab.moment();
  t.equal(lab.path(prefix), 'ipip-10.9.0.3 10.9.0.3');
  lab.refuses = () => false;
  await lab.moment(60_000);
  t.equal(lab.path(prefix), 'ipip-10.9.0.2 10.9.0.2, ipip-10.9.0.3 10.9.0.3');
  t.match(lab.gauges, { refused: 0, waiting: 0, faulty: 0 });
  t.strictSame(lab.deadly, []);
});

const up = 'interface_flag:ipip-10.9.0.2/admin_up';
for (const parts of [
  ['unnumbered:ipip-10.9.0.2', up],
  ['interface_flag:ipip-10.9.0.2/cnat_feature', up],
  ['interface_mtu:ipip-10.9.0.2'],
  [up],
]) {
  t.test(`a tunnel that is there without ${parts[0]} takes nothing from a route’s other ways`, async (t) => {
    const prefix = '10.244.1.0/26';
    const sound = 'ipip-10.9.0.3 10.9.0.3';
    const both = `ipip-10.9.0.2 10.9.0.2, ${sound}`;
    const lab = await Lab.start(t, {}, (lab) => {
      // An earlier life has made it, and died.
      const left: VppObject = { kind: 'ipip_tunnel', tag: 'ipip-10.9.0.2', src: '10.0.0.1', dst: '10.9.0.2' };
      lab.vpp = new StrictVpp([...lab.vpp.objects, left]);
    });
    lab.refuses = ({ object }) => parts.includes(keyOf(object));
    await lab.ready();
    await lab.synced([ipip]);
    await lab.routes({ [prefix]: ['10.9.0.2', '10.9.0.3'] });
    await lab.moment();
    t.equal(lab.path(prefix), sound);
    t.match((await lab.describe()).faults[`route ${prefix}`], /without the tunnel to 10\.9\.0\.2/);
    await lab.moment(5000);
    t.equal(lab.path(prefix), sound, 'while it is tried again');
    lab.refuses = () => false;
    await lab.moment(60_000);
    t.equal(lab.path(prefix), both);
    t.match(lab.gauges, { refused: 0, waiting: 0, faulty: 0 });

    // What VPP has done without a word is seen when it is read.
    await lab.die();
    lab.refuses = ({ object }) => parts.includes(keyOf(object));
    await lab.ready();
    await lab.moment();
    t.equal(lab.path(prefix), sound);
    await lab.lost();
    lab.refuses = () => false;
    lab.vpp = new StrictVpp([...lab.vpp.objects, ...partsOf(parts)]);
    await lab.ready();
    await lab.moment();
    t.equal(lab.path(prefix), both);
    t.match(lab.gauges, { refused: 0, waiting: 0, faulty: 0 });
  });
}

t.test(
  'routes move to a tunnel that an earlier life has not set up when others know of it, too',
  async (t) => {
    const before = await Lab.start(t);
    await before.ready();
    await before.synced([flat]);
    await before.routes({ '10.244.1.0/26': '10.9.0.2' });
    await before.moment();
    const left: VppObject = { kind: 'ipip_tunnel', tag: 'ipip-10.9.0.2', src: '10.0.0.1', dst: '10.9.0.2' };
    const lab = await Lab.start(
      t,
      { writer: { ...route_writer_settings_default, lead_ms: 2000, linger_ms: 0 } },
      (lab) => {
        lab.vpp = new StrictVpp([...before.vpp.objects, left]);
      },
    );
    await lab.ready();
    await lab.synced([ipip]);
    await lab.routes({ '10.244.1.0/26': '10.9.0.2' });
    await lab.moment(1000);
    t.ok(lab.keys.includes('interface_flag:ipip-10.9.0.2/admin_up'));
    t.equal(lab.path('10.244.1.0/26'), '10.9.0.2');
    await lab.moment(2000);
    t.equal(lab.path('10.244.1.0/26'), 'ipip-10.9.0.2 10.9.0.2');
    t.strictSame(lab.deadly, []);
  },
);

t.test('a VPP that comes gets everything, in whatever the last one was lost', async (t) => {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.synced([ipip]);
  await lab.routes({ '10.244.1.0/26': '10.9.0.2', '10.244.2.0/26': '10.9.0.3' });
  await lab.moment();
  const all = lab.keys;
  await lab.die();
  t.strictSame(lab.keys, []);
  await lab.ready();
  await lab.moment(0);
  t.strictSame(lab.keys, all);

  lab.holding = true;
  await lab.told('IPPool', { [vxlan.name]: vxlan });
  await lab.moment();
  t.equal(lab.path('10.244.1.0/26'), 'ipip-10.9.0.2 10.9.0.2');
  await lab.die();
  await lab.ready();
  await lab.moment();
  t.equal(lab.path('10.244.1.0/26'), 'vxlan-4096-10.9.0.2 10.9.0.2');
  t.notOk(
    lab.keys.some((key) => key.includes('ipip')),
    'of the tunnels that were to go none is made',
  );
  t.strictSame(lab.deadly, []);
});

t.test('whoever tells is answered, whether there is a VPP or not, and whatever waits for one', async (t) => {
  const lab = await Lab.start(t);
  await lab.synced([ipip]);
  const told = Array.from({ length: 3000 }, (_, n) => [`10.244.${n >> 8}.${n & 255}/32`, '10.9.0.2']);
  await lab.routes(Object.fromEntries(told));
  await lab.moment();
  lab.holding = true;
  await lab.ready();
  await lab.routes(Object.fromEntries(told));
  await lab.told('IPPool', { [vxlan.name]: vxlan });
  await lab.moment();
  await lab.lost();
  await lab.answer();
  await lab.ready();
  await lab.moment();
  t.equal(lab.path('10.244.11.1/32'), 'vxlan-4096-10.9.0.2 10.9.0.2');
  t.match(lab.gauges, { routes: 3000, waiting: 0, refused: 0 });
  t.strictSame(lab.deadly, []);
});

t.test('a node that is lost and comes with the same VPP has nothing programmed anew', async (t) => {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.synced([ipip]);
  await lab.routes({ '10.244.1.0/26': '10.9.0.2' });
  await lab.moment();
  lab.takeDone();
  await lab.lost();
  await lab.routes({ '10.244.2.0/26': '10.9.0.2' });
  await lab.moment();
  t.strictSame(lab.takeDone(), [], 'nobody is there to be told');
  await lab.ready();
  await lab.moment();
  t.strictSame(lab.takeDone(), ['add route:connectivity/0/10.244.2.0/26']);
  t.strictSame(lab.deadly, []);
});

t.test('news of a node that was lost, heard late, are void', async (t) => {
  const lab = await Lab.start(t);
  await lab.synced([flat]);
  await lab.kit.tell({ type: 'NodeLost', generation: 1, reason: 'lost' });
  await lab.ready();
  await lab.moment();
  t.equal(lab.reads, 0);
  lab.generation = 2;
  await lab.ready();
  await lab.kit.tell({ type: 'NodeLost', generation: 1, reason: 'lost' });
  await lab.routes({ '10.244.1.0/26': '10.0.0.2' });
  await lab.moment();
  t.equal(lab.path('10.244.1.0/26'), '10.0.0.2');
});

t.test('a transaction of which nothing is heard has VPP asked what it has', async (t) => {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.synced([flat]);
  lab.holding = true;
  await lab.routes({ '10.244.1.0/26': '10.0.0.2' });
  await lab.moment();
  t.equal(lab.reads, 1);
  await lab.fail(new Error('no answer in 120 s'));
  await lab.moment(1000);
  t.equal(lab.reads, 2);
  t.equal(lab.path('10.244.1.0/26'), '10.0.0.2');
  t.match(lab.gauges, { waiting: 0, refused: 0 });
});

t.test('a transaction of which nothing is heard while something is refused has VPP asked, too', async (t) => {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.synced([flat]);
  lab.refuses = ({ object }) => keyOf(object).includes('10.244.1.0');
  await lab.routes({ '10.244.1.0/26': '10.0.0.2' });
  await lab.moment();
  t.match(lab.gauges, { refused: 1 });
  lab.holding = true;
  await lab.routes({ '10.244.2.0/26': '10.0.0.2' });
  await lab.moment();
  await lab.fail(new Error('the mailbox is full'));
  await lab.routes({ '10.244.3.0/26': '10.0.0.3' });
  await lab.moment(4000);
  t.equal(lab.reads, 2);
  t.equal(lab.path('10.244.2.0/26'), '10.0.0.2');
  t.equal(lab.path('10.244.3.0/26'), '10.0.0.3');
  lab.refuses = () => false;
  await lab.moment(60_000);
  t.equal(lab.path('10.244.1.0/26'), '10.0.0.2');
});

t.test('a lost answer in a change of mode cuts nothing short', async (t) => {
  const lab = await Lab.start(t, { writer: { ...at_once, lead_ms: 2000, linger_ms: 10_000 } });
  await lab.ready();
  await lab.synced([ipip]);
  await lab.routes({ '10.244.1.0/26': '10.9.0.1' });
  await lab.moment();
  await lab.told('IPPool', { [vxlan.name]: vxlan });
  await lab.moment();
  lab.holding = true;
  await lab.routes({ '10.244.2.0/26': '10.9.0.2' });
  await lab.moment();
  await lab.fail(new Error('no answer in 120 s'));
  await lab.moment(1000);
  t.equal(lab.reads, 2);
  t.equal(lab.path('10.244.2.0/26'), 'vxlan-4096-10.9.0.2 10.9.0.2');
  t.equal(lab.path('10.244.1.0/26'), 'ipip-10.9.0.1 10.9.0.1');
  await lab.moment(1000);
  t.equal(lab.path('10.244.1.0/26'), 'vxlan-4096-10.9.0.1 10.9.0.1');
  await lab.moment(7500);
  t.ok(lab.keys.includes('ipip_tunnel:ipip-10.9.0.1'));
  await lab.moment(1000);
  t.notOk(lab.keys.includes('ipip_tunnel:ipip-10.9.0.1'));
  t.strictSame(lab.deadly, []);
});

t.test('a connection that is lost in a change of mode cuts nothing short; another VPP does', async (t) => {
  const lab = await Lab.start(t, { writer: { ...at_once, lead_ms: 2000, linger_ms: 10_000 } });
  await lab.ready();
  await lab.synced([ipip]);
  await lab.routes({ '10.244.1.0/26': '10.9.0.1' });
  await lab.moment();
  const way = (): string | undefined => lab.path('10.244.1.0/26');
  const old = 'ipip_tunnel:ipip-10.9.0.1';
  await lab.told('IPPool', { [vxlan.name]: vxlan });
  await lab.moment();
  await lab.lost();
  await lab.ready();
  await lab.moment(1000);
  t.equal(way(), 'ipip-10.9.0.1 10.9.0.1', 'before the other end may be ready');
  await lab.moment(1000);
  t.equal(way(), 'vxlan-4096-10.9.0.1 10.9.0.1');
  await lab.lost();
  await lab.ready();
  await lab.moment(5000);
  t.ok(lab.keys.includes(old), 'by which the other end may still send');
  await lab.moment(5000);
  t.notOk(lab.keys.includes(old));

  await lab.told('IPPool', { [ipip.name]: ipip });
  await lab.moment();
  t.equal(way(), 'vxlan-4096-10.9.0.1 10.9.0.1');
  await lab.die();
  await lab.ready();
  await lab.moment(0);
  t.equal(way(), 'ipip-10.9.0.1 10.9.0.1');
  t.strictSame(lab.deadly, []);
});

t.test('a VPP that does not say what it has is asked again', async (t) => {
  const lab = await Lab.start(t);
  lab.holding = true;
  await lab.ready();
  for (const [after_ms, reads] of [
    [0, 1],
    [1000, 2],
    [2000, 3],
    [4000, 4],
  ] as const) {
    await lab.moment(Math.max(0, after_ms - 1));
    t.equal(lab.reads, Math.max(1, reads - 1), 'not before its time');
    await lab.moment(1);
    t.equal(lab.reads, reads);
    await lab.fail(new Error('no answer'));
    lab.holding = true;
  }
  lab.holding = false;
  await lab.moment(8000);
  await lab.synced([flat]);
  await lab.routes({ '10.244.1.0/26': '10.0.0.2' });
  await lab.moment();
  t.equal(lab.path('10.244.1.0/26'), '10.0.0.2');
});

/** What a former life of this process has left. */
async function leftovers(t: Teardown): Promise<readonly VppObject[]> {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.synced([
    pool('10.244.0.0/16', { ipip: 'Always' }),
    pool('10.245.0.0/16', { vxlan: 'Always' }),
    pool('fd11::/48', { vxlan: 'Always' }),
  ]);
  await lab.routes({
    '10.244.1.0/26': '10.9.0.2',
    '10.244.2.0/26': '10.9.0.3',
    '10.245.1.0/26': '10.9.0.2',
    '10.250.0.0/16': '10.0.0.254',
    'fd10::/64': 'fd00::2',
    'fd11::/64': 'fd99::2',
  });
  await lab.moment();
  if (lab.path('fd11::/64') !== 'vxlan-4096-fd99::2 fd99::2') throw new Error('there is no tunnel of IPv6');
  return lab.vpp.objects;
}

t.test(
  'what an earlier life has left is taken over: nothing goes before all is told, then what nobody wants',
  async (t) => {
    const objects = await leftovers(t);
    const lab = await Lab.start(t, {}, (lab) => {
      lab.vpp = new StrictVpp(objects);
    });
    await lab.ready();
    await lab.moment();
    t.strictSame(lab.takeDone(), [], 'forwarding goes on');
    await lab.synced([pool('10.244.0.0/16', { ipip: 'Always' }), pool('10.245.0.0/16', { vxlan: 'Always' })]);
    await lab.routes({ '10.244.1.0/26': '10.9.0.2' }, false);
    await lab.moment();
    t.strictSame(lab.takeDone(), [], 'BGP has not told all yet');
    t.match(await lab.describe(), { unsynced: ['BGP'] });
    await lab.routes({ '10.245.1.0/26': '10.9.0.4' });
    await lab.moment();
    const done = lab.takeDone();
    t.notOk(
      done.some((text) => text.includes('10.244.1.0')),
      'what is as it should be is not touched',
    );
    t.strictSame(
      lab.keys.filter((key) => /route|tunnel/.test(key)),
      [
        'ipip_tunnel:ipip-10.9.0.2',
        'route:connectivity/0/10.244.1.0/26',
        'route:connectivity/0/10.245.1.0/26',
        'route:connectivity/2/10.9.0.2/32',
        'route:connectivity/2/10.9.0.4/32',
        'unnumbered:ipip-10.9.0.2',
        'unnumbered:vxlan-4096-10.9.0.4',
        'vxlan_tunnel:vxlan-4096-10.9.0.4',
      ].filter((key) => /route|tunnel/.test(key)),
    );
    t.equal(lab.path('10.9.0.2/32', 2), 'ipip-10.9.0.2 10.9.0.2');
    t.notOk(lab.keys.some((key) => key.includes('10.9.0.3') || key.includes('vxlan-4096-10.9.0.2')));
    t.strictSame(lab.deadly, []);
    t.match(lab.gauges, { waiting: 0, refused: 0 });
  },
);

t.test(
  'what may be left behind routes of others goes when all is told, and what is wanted stays',
  async (t) => {
    const lab = await Lab.start(t, {}, (each) => {
      each.of_others = ['10.244.1.0/26', '10.244.2.0/26', '10.244.3.5/32'];
    });
    await lab.ready();
    await lab.synced([flat]);
    await lab.routes({ '10.244.1.0/26': '10.0.0.2' }, false);
    await lab.moment();
    t.strictSame(lab.takeDone(), ['add route:connectivity/0/10.244.1.0/26']);
    await lab.routes({ '10.244.2.0/26': '10.0.0.2' });
    await lab.moment();
    t.strictSame(lab.takeDone(), [
      'add route:connectivity/0/10.244.2.0/26',
      'remove route:connectivity/0/10.244.3.5/32',
    ]);
    await lab.moment(120_000);
    t.strictSame(lab.takeDone(), [], 'once');
    t.match(lab.gauges, { in_vpp: 2, waiting: 0, refused: 0 });
  },
);

t.test('a route of an earlier life keeps its next hops until they can have been told again', async (t) => {
  const both = '10.0.0.2, 10.0.0.3';
  const prefix = '10.244.1.0/26';
  const before = await Lab.start(t);
  await before.ready();
  await before.synced([flat]);
  await before.routes({ [prefix]: ['10.0.0.2', '10.0.0.3'] });
  await before.moment();
  const { objects } = before.vpp;
  const begun = async (): Promise<Lab> => {
    const lab = await Lab.start(t, {}, (each) => {
      each.vpp = new StrictVpp(objects);
    });
    await lab.ready();
    await lab.synced([flat]);
    await lab.moment();
    await lab.routes({ [prefix]: '10.0.0.2' }, false);
    await lab.moment();
    t.equal(lab.path(prefix), both, 'the first of them is told');
    return lab;
  };
  const again = await begun();
  await again.routes({ [prefix]: ['10.0.0.2', '10.0.0.3'] });
  await again.moment(20_000);
  t.strictSame(again.takeDone(), [], 'and then the other');
  await again.routes({ [prefix]: '10.0.0.2' });
  await again.moment();
  t.equal(again.path(prefix), '10.0.0.2', 'one that goes from now on goes at once');

  const late = await begun();
  await late.moment(14_000);
  t.equal(late.path(prefix), both);
  await late.moment(2000);
  t.equal(late.path(prefix), '10.0.0.2', 'but not for ever');

  const told = await begun();
  await told.routes({});
  await told.moment();
  t.equal(told.path(prefix), '10.0.0.2', 'nor when all is told');

  const other = await begun();
  await other.routes({ [prefix]: '10.0.0.4' }, false);
  await other.moment();
  t.equal(other.path(prefix), '10.0.0.4', 'another one takes their place');
  await other.routes({ [prefix]: undefined }, false);
  await other.moment(20_000);
  t.equal(other.path(prefix), undefined);

  const withdrawn = await begun();
  await withdrawn.routes({ [prefix]: undefined }, false);
  await withdrawn.moment(20_000);
  t.equal(withdrawn.path(prefix), undefined);
});

t.test('routes of an earlier life move from its tunnels to others without a gap', async (t) => {
  const objects = await leftovers(t);
  const lab = await Lab.start(t, {}, (lab) => {
    lab.vpp = new StrictVpp(objects);
  });
  await lab.ready();
  await lab.synced([pool('10.244.0.0/16', { vxlan: 'Always' }), pool('10.245.0.0/16', { vxlan: 'Always' })]);
  await lab.routes({ '10.244.1.0/26': '10.9.0.2', '10.244.2.0/26': '10.9.0.3', '10.245.1.0/26': '10.9.0.2' });
  await lab.moment();
  t.equal(lab.path('10.244.1.0/26'), 'vxlan-4096-10.9.0.2 10.9.0.2');
  const done = lab.takeDone();
  t.strictSame(
    done.filter((text) => /^remove route:connectivity\/0\/10.24[45]/.test(text)),
    [],
  );
  t.notOk(lab.keys.some((key) => key.includes('ipip')));
  t.strictSame(lab.deadly, []);
});

t.test(
  'a restart with another mode is no gap either: tunnels of an earlier life go after the move',
  async (t) => {
    const objects = await leftovers(t);
    for (const linger_ms of [10_000, 0]) {
      const lab = await Lab.start(t, { writer: { ...at_once, lead_ms: 2000, linger_ms } }, (lab) => {
        lab.vpp = new StrictVpp(objects);
      });
      await lab.ready();
      await lab.synced([vxlan, pool('10.245.0.0/16', { vxlan: 'Always' })]);
      await lab.routes({
        '10.244.1.0/26': '10.9.0.2',
        '10.244.2.0/26': '10.9.0.3',
        '10.245.1.0/26': '10.9.0.2',
      });
      await lab.moment();
      t.equal(lab.path('10.244.1.0/26'), 'vxlan-4096-10.9.0.2 10.9.0.2', 'by one that was there');
      t.equal(lab.path('10.244.2.0/26'), 'ipip-10.9.0.3 10.9.0.3');
      await lab.moment(1500);
      t.equal(lab.path('10.244.2.0/26'), 'ipip-10.9.0.3 10.9.0.3');
      await lab.moment(600);
      t.equal(lab.path('10.244.2.0/26'), 'vxlan-4096-10.9.0.3 10.9.0.3');
      t.equal(
        lab.keys.includes('ipip_tunnel:ipip-10.9.0.3'),
        linger_ms > 0,
        'the other end may still send by it',
      );
      await lab.moment(20_000);
      t.notOk(lab.keys.some((key) => key.includes('ipip')));
      t.notOk(
        lab.takeDone().some((text) => /^remove route:connectivity\/0\/10.24/.test(text)),
        'no route was gone',
      );
      t.strictSame(lab.deadly, []);
    }
  },
);

t.test('a route told to move again and again keeps its way until it has moved', async (t) => {
  const lab = await Lab.start(t, { writer: { ...at_once, lead_ms: 2000, linger_ms: 10_000 } });
  await lab.ready();
  await lab.synced([ipip]);
  await lab.routes({ '10.244.1.0/26': '10.9.0.1' });
  await lab.moment();
  for (let vni = 1; vni < 12; vni += 1) {
    await lab.told('FelixConfiguration', { default: { vxlan_vni: vni } });
    await lab.told('IPPool', { [vxlan.name]: vxlan });
    await lab.moment(1500);
    t.equal(lab.path('10.244.1.0/26'), 'ipip-10.9.0.1 10.9.0.1');
    t.ok(lab.keys.includes('ipip_tunnel:ipip-10.9.0.1'), `${vni}`);
  }
  await lab.moment(600);
  t.equal(lab.path('10.244.1.0/26'), 'vxlan-11-10.9.0.1 10.9.0.1');
  await lab.moment(20_000);
  t.strictSame(
    lab.keys.filter((key) => /_tunnel:/.test(key)),
    ['vxlan_tunnel:vxlan-11-10.9.0.1'],
  );
  t.notOk(lab.takeDone().some((text) => text.startsWith('remove route:connectivity/0')));
  t.strictSame(lab.deadly, []);
});

t.test('what was to go with a VPP is not made in the next one', async (t) => {
  const objects = await leftovers(t);
  const lab = await Lab.start(t, {}, (lab) => {
    lab.vpp = new StrictVpp(objects);
  });
  await lab.ready();
  await lab.synced([ipip]);
  lab.holding = true;
  await lab.routes({ '10.244.1.0/26': '10.9.0.4' });
  await lab.moment();
  t.equal(lab.path('10.250.0.0/16'), '10.0.0.254', 'it waits for what is on its way');
  await lab.die();
  await lab.ready();
  await lab.moment();
  t.strictSame(
    lab.takeDone().filter((text) => !text.includes('10.9.0.4') && !text.includes('10.244.1.0')),
    [],
  );
  t.strictSame(lab.deadly, []);
});

t.test(
  'what was there before all is told is made in the next VPP, which may be here earlier than the news',
  async (t) => {
    const objects = await leftovers(t);
    const lab = await Lab.start(t, {}, (lab) => {
      lab.vpp = new StrictVpp(objects);
    });
    await lab.ready();
    const before = lab.keys;
    await lab.die();
    await lab.ready();
    await lab.moment();
    t.strictSame(lab.keys, before);
    t.strictSame(lab.deadly, []);
  },
);

t.test('what is set on a tunnel of an earlier life, and nobody wants any more, goes', async (t) => {
  const objects = await leftovers(t);
  const lab = await Lab.start(t, { gso: false }, (lab) => {
    lab.vpp = new StrictVpp(objects);
  });
  await lab.ready();
  await lab.synced([pool('10.244.0.0/16', { ipip: 'Always' }), pool('10.245.0.0/16', { vxlan: 'Always' })]);
  await lab.routes({ '10.244.1.0/26': '10.9.0.2' });
  await lab.moment();
  t.ok(lab.keys.includes('ipip_tunnel:ipip-10.9.0.2'));
  t.notOk(lab.keys.some((key) => key.includes('gso_feature')));
  t.strictSame(lab.deadly, []);
});

t.test(
  'a route to an interface that is gone is removed at once, and its prefix gets its route',
  async (t) => {
    const dangling: Route = {
      kind: 'route',
      source: 'connectivity',
      table_id: 0,
      prefix: '10.244.1.0/26',
      paths: [{ via: 'interface', interface: '#7', next_hop: '10.9.0.2' }],
    };
    const lab = await Lab.start(t, {}, (lab) => {
      lab.vpp = new StrictVpp([...lab.vpp.objects, dangling]);
    });
    await lab.ready();
    await lab.moment();
    t.strictSame(lab.takeDone(), ['remove route:connectivity/0/10.244.1.0/26']);
    await lab.synced([ipip]);
    await lab.routes({ '10.244.1.0/26': '10.9.0.2' });
    await lab.moment();
    t.equal(lab.path('10.244.1.0/26'), 'ipip-10.9.0.2 10.9.0.2');
    t.strictSame(lab.deadly, []);
  },
);

t.test('a tunnel that an earlier life has not completed is made anew before all is told', async (t) => {
  const half: readonly VppObject[] = [
    { kind: 'ipip_tunnel', tag: '#7', src: '10.0.0.1', dst: '10.9.0.2' },
    { kind: 'vxlan_tunnel', tag: '#8', src: '10.0.0.1', dst: '10.9.0.2', vni: 4096, port: 4789 },
  ];
  const lab = await Lab.start(t, {}, (lab) => {
    lab.vpp = new StrictVpp([...lab.vpp.objects, ...half]);
  });
  await lab.ready();
  await lab.synced([ipip, pool('10.245.0.0/16', { vxlan: 'Always' })], ['BGPConfiguration']);
  await lab.routes({ '10.244.1.0/26': '10.9.0.2', '10.245.1.0/26': '10.9.0.2' }, false);
  await lab.moment();
  t.equal(lab.path('10.244.1.0/26'), 'ipip-10.9.0.2 10.9.0.2');
  t.equal(lab.path('10.245.1.0/26'), 'vxlan-4096-10.9.0.2 10.9.0.2');
  t.notOk(lab.keys.some((key) => key.includes('#')));
  t.strictSame(lab.deadly, []);
});

t.test('a bgp actor that begins anew keeps its routes until it has told all again', async (t) => {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.synced([flat]);
  await lab.routes({ '10.244.1.0/26': '10.0.0.2', '10.244.2.0/26': '10.0.0.2' });
  await lab.moment();
  lab.takeDone();
  await lab.routes({}, false, true);
  await lab.routes({ '10.244.1.0/26': '10.0.0.2' }, false);
  await lab.moment();
  t.strictSame(lab.takeDone(), []);
  await lab.routes({ '10.244.3.0/26': '10.0.0.3' });
  await lab.moment();
  t.strictSame(lab.takeDone().sort(), [
    'add route:connectivity/0/10.244.3.0/26',
    'remove route:connectivity/0/10.244.2.0/26',
  ]);
});

t.test('a bgp actor that begins anew narrows no route before it has told all again', async (t) => {
  const prefix = '10.244.1.0/26';
  const both = ['10.0.0.2', '10.0.0.3'];
  const shown = both.join(', ');
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.synced([flat]);
  /** A life that has told all, and another that has told one next hop of two. */
  const begun = async (): Promise<void> => {
    await lab.routes({ [prefix]: both });
    await lab.moment();
    lab.takeDone();
    await lab.routes({}, false, true);
    await lab.routes({ [prefix]: '10.0.0.2' }, false);
    await lab.moment();
    t.strictSame(lab.takeDone(), [], 'one of them is told');
  };
  await begun();
  await lab.routes({ [prefix]: both }, false);
  await lab.moment(20_000);
  await lab.routes({});
  await lab.moment();
  t.strictSame(lab.takeDone(), [], 'and then the other');
  await lab.routes({ [prefix]: '10.0.0.3' });
  await lab.moment();
  t.equal(lab.path(prefix), '10.0.0.3', 'one that goes from now on goes at once');

  await begun();
  await lab.routes({});
  await lab.moment();
  t.equal(lab.path(prefix), '10.0.0.2', 'it has told all, and not the other');

  await begun();
  await lab.moment(14_000);
  t.equal(lab.path(prefix), shown);
  await lab.moment(1000);
  t.equal(lab.path(prefix), '10.0.0.2', 'one that is not told for long holds beside another for so long');

  await begun();
  await lab.routes({ [prefix]: '10.0.0.4' }, false);
  await lab.moment();
  t.equal(lab.path(prefix), '10.0.0.4', 'another one takes their place');

  await begun();
  await lab.routes({ [prefix]: undefined }, false);
  await lab.moment();
  t.equal(lab.path(prefix), undefined, 'a route that ends ends');

  await begun();
  await lab.routes({}, false, true);
  await lab.moment(20_000);
  t.equal(lab.path(prefix), shown, 'the next life begins with what held');
  await lab.routes({ [prefix]: both });
  await lab.moment();
  t.strictSame(lab.takeDone(), []);
});

t.test('of a bgp actor that begins anew nothing stays, however far the lives before have come', async (t) => {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.synced([flat]);
  const kept = (): readonly string[] => [1, 2, 3].map((n) => lab.path(`10.244.${n}.0/26`) ?? 'none');
  await lab.routes({ '10.244.1.0/26': '10.0.0.2' }, false, true);
  await lab.routes({ '10.244.2.0/26': '10.0.0.2' }, false, true);
  await lab.moment();
  t.strictSame(kept(), ['10.0.0.2', '10.0.0.2', 'none'], 'until the one that lives has told all');
  t.match(await lab.describe(), { unsynced: ['BGP'] });
  await lab.routes({ '10.244.3.0/26': '10.0.0.3' });
  await lab.moment();
  t.strictSame(kept(), ['none', '10.0.0.2', '10.0.0.3'], 'the first had not told all');
  await lab.routes({ '10.244.3.0/26': '10.0.0.3' }, true, true);
  await lab.moment();
  t.strictSame(kept(), ['none', 'none', '10.0.0.3'], 'the next tells all at once');
  await lab.routes({}, true, true);
  await lab.moment();
  t.strictSame(kept(), ['none', 'none', 'none'], 'or that there is nothing');
});

t.test('with another own address one node after the other is away, and no more at a time', async (t) => {
  const lab = await Lab.start(t, {
    writer: { ...route_writer_settings_default, operations_max: 1024 },
  });
  await lab.ready();
  await lab.synced([ipip]);
  const nodes = 40;
  const blocks = Array.from({ length: 4 * nodes }, (_, n) => `10.244.${n}.0/26`);
  await lab.routes(Object.fromEntries(blocks.map((block, n) => [block, `10.9.0.${1 + (n % nodes)}`])));
  await lab.moment();
  const all = lab.keys;
  lab.takeDone();
  await lab.ready({ node: { ip4: '10.0.0.77' }, subnets: { ip4: '10.0.0.0/24' } });
  await lab.moment();
  t.strictSame(lab.keys, all);
  const away = new Set<string>();
  let most = 0;
  for (const text of lab.takeDone()) {
    const [, action, prefix] = /^(add|remove) route:connectivity\/0\/(.*)$/.exec(text) ?? [];
    if (prefix === undefined) continue;
    if (action === 'remove') away.add(prefix);
    else away.delete(prefix);
    most = Math.max(most, away.size);
  }
  t.equal(most, blocks.length / nodes);
  t.ok(lab.vpp.objects.every((object) => object.kind !== 'ipip_tunnel' || object.src === '10.0.0.77'));
  t.strictSame(lab.deadly, []);
});

t.test('with another port of VXLAN routes move as with another mode: nobody is away', async (t) => {
  const lab = await Lab.start(t, { writer: { ...at_once, lead_ms: 2000, linger_ms: 10_000 } });
  await lab.ready();
  await lab.synced([vxlan]);
  await lab.routes({ '10.244.1.0/26': '10.9.0.1', '10.244.2.0/26': '10.9.0.2' });
  await lab.moment();
  lab.takeDone();
  await lab.told('FelixConfiguration', { default: { name: 'default', vxlan_port: 8472 } });
  await lab.moment();
  t.equal(
    lab.path('10.244.1.0/26'),
    'vxlan-4096-10.9.0.1 10.9.0.1',
    'the other end may not listen there yet',
  );
  t.ok(lab.keys.includes('vxlan_tunnel:vxlan-4096:8472-10.9.0.1'), 'and may send there already');
  await lab.moment(2000);
  t.equal(lab.path('10.244.1.0/26'), 'vxlan-4096:8472-10.9.0.1 10.9.0.1');
  t.ok(lab.keys.includes('vxlan_tunnel:vxlan-4096-10.9.0.1'), 'by which the other end may still send');
  await lab.moment(10_000);
  t.strictSame(
    lab.keys.filter((key) => key.startsWith('vxlan_tunnel')),
    ['vxlan_tunnel:vxlan-4096:8472-10.9.0.1', 'vxlan_tunnel:vxlan-4096:8472-10.9.0.2'],
  );
  t.strictSame(
    lab.takeDone().filter((text) => text.startsWith('remove route')),
    [],
  );
  t.strictSame(lab.deadly, []);
});

t.test('tunnels are made anew when the own address changes', async (t) => {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.synced([ipip]);
  await lab.routes({ '10.244.1.0/26': '10.9.0.2' });
  await lab.moment();
  await lab.ready({ node: { ip4: '10.0.0.77' }, subnets: { ip4: '10.0.0.0/24' } });
  await lab.moment();
  t.match(
    lab.vpp.objects.find(({ kind }) => kind === 'ipip_tunnel'),
    { src: '10.0.0.77', dst: '10.9.0.2' },
  );
  t.equal(lab.path('10.244.1.0/26'), 'ipip-10.9.0.2 10.9.0.2');
  t.equal(lab.path('10.9.0.2/32'), undefined, 'a peer is never reached by its own tunnel');
  t.equal(lab.reads, 1);
  t.strictSame(lab.deadly, []);
});

t.test(
  'the VXLAN of Felix holds for this node before it does for all, and follows at run time',
  async (t) => {
    const lab = await Lab.start(t);
    await lab.ready();
    await lab.synced([vxlan]);
    await lab.told('FelixConfiguration', {
      default: { name: 'default', vxlan_vni: 5, vxlan_port: 8472, vxlan_mtu: 1400 },
      'node.own': { name: 'node.own', vxlan_vni: 6 },
      'node.other': { name: 'node.other', vxlan_vni: 7 },
    });
    await lab.routes({ '10.244.1.0/26': '10.9.0.2' });
    await lab.moment();
    t.match(
      lab.vpp.objects.filter(({ kind }) => kind === 'vxlan_tunnel'),
      [{ vni: 6, port: 8472 }],
    );
    t.ok(lab.vpp.objects.some((object) => object.kind === 'interface_mtu' && object.mtu === 1400));
    await lab.told('FelixConfiguration', { 'node.own': undefined });
    await lab.moment();
    t.match(
      lab.vpp.objects.filter(({ kind }) => kind === 'vxlan_tunnel'),
      [{ vni: 5, port: 8472 }],
    );
    t.equal(lab.path('10.244.1.0/26'), 'vxlan-5:8472-10.9.0.2 10.9.0.2');
    t.strictSame(lab.deadly, []);
  },
);

t.test('addresses of services are dropped where no node is among them', async (t) => {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.synced([flat]);
  const prefixes = ['10.0.0.0/8', '172.20.0.0/16'];
  await lab.told('BGPConfiguration', {
    default: {
      name: 'default',
      service_cluster_prefixes: [],
      service_external_prefixes: [],
      service_load_balancer_prefixes: prefixes,
      load_balancer_aggregation: 'Enabled',
    },
  });
  await lab.moment();
  t.strictSame(
    prefixes.map((prefix) => lab.path(prefix)),
    ['drop', 'drop'],
  );
  await lab.told('Node', { two: nodeAt('two', '10.9.0.2') });
  await lab.moment();
  t.strictSame(
    prefixes.map((prefix) => lab.path(prefix)),
    [undefined, 'drop'],
  );
  t.match((await lab.describe()).faults, { 'BGPConfiguration default': /with 10\.9\.0\.2 in it/ });
  await lab.told('Node', { two: undefined });
  await lab.moment();
  t.strictSame(
    prefixes.map((prefix) => lab.path(prefix)),
    ['drop', 'drop'],
  );
});

t.test('without BGP routes follow from blocks and nodes', async (t) => {
  const lab = await Lab.start(t, { route_source: 'ipam' });
  const [subscribed] = await lab.cluster.messages();
  t.strictSame(subscribed?.type === 'Subscribe' && subscribed.kinds, [
    'IPPool',
    'FelixConfiguration',
    'Node',
    'BlockAffinity',
    'IPAMBlock',
  ]);
  await lab.ready();
  await lab.synced([ipip]);
  await lab.told('Node', { own: nodeAt('own', '10.0.0.1'), two: nodeAt('two', '10.9.0.2') });
  await lab.told('BlockAffinity', {
    'own-1': affinity('own', '10.244.1.0/26'),
    'two-2': affinity('two', '10.244.2.0/26'),
    'lost-3': affinity('lost', '10.244.3.0/26'),
  });
  await lab.moment();
  t.equal(lab.path('10.244.2.0/26'), 'ipip-10.9.0.2 10.9.0.2');
  t.match((await lab.describe()).faults, { 'BlockAffinity lost-3': /Node lost, which is not there/ });
  await lab.routes({ '10.250.0.0/16': '10.0.0.254' });
  await lab.told('Node', { lost: nodeAt('lost', '10.9.0.3') });
  await lab.moment();
  t.equal(lab.path('10.244.3.0/26'), 'ipip-10.9.0.3 10.9.0.3');
  t.equal(lab.path('10.250.0.0/16'), undefined, 'one source is in force');
  t.strictSame((await lab.describe()).faults, {});
  t.strictSame(lab.deadly, []);
});

t.test(
  'without BGP and without a tunnel to another subnet routers have to know the way: that is said',
  async (t) => {
    const lab = await Lab.start(t, { route_source: 'ipam' });
    await lab.ready();
    await lab.synced([flat]);
    await lab.told('Node', { near: nodeAt('near', '10.0.0.2'), far: nodeAt('far', '10.9.0.2') });
    await lab.told('BlockAffinity', {
      'near-1': affinity('near', '10.244.1.0/26'),
      'far-2': affinity('far', '10.244.2.0/26'),
    });
    await lab.moment();
    t.equal(lab.path('10.244.2.0/26'), '10.9.0.2');
    t.match((await lab.describe()).faults, { routers: /the way to 1 prefixes/ });
    t.match(lab.gauges, { faulty: 0 }, 'it is no fault of an object');
    await lab.told('IPPool', { [flat.name]: pool(flat.prefix, { ipip: 'CrossSubnet' }) });
    await lab.moment();
    t.strictSame((await lab.describe()).faults, {});
  },
);

t.test('a node that flaps, and a storm of blocks, cost what has changed', async (t) => {
  const lab = await Lab.start(t, { route_source: 'ipam' });
  await lab.ready();
  await lab.synced([ipip]);
  await lab.told('Node', { two: nodeAt('two', '10.9.0.2') });
  const blocks = (from: number, to: number) =>
    Object.fromEntries(
      Array.from({ length: to - from }, (_, n) => {
        const at = from + n;
        return [`two-${at}`, affinity('two', `10.244.${at >> 2}.${(at & 3) * 64}/26`)];
      }),
    );
  for (let at = 0; at < 1000; at += 100) await lab.told('BlockAffinity', blocks(at, at + 100));
  await lab.moment();
  t.match(lab.gauges, { routes: 1000, tunnels: 1, waiting: 0 });
  lab.takeDone();
  for (let n = 0; n < 50; n += 1) {
    await lab.told('Node', { two: undefined });
    await lab.told('Node', { two: nodeAt('two', '10.9.0.2') });
  }
  await lab.moment();
  t.strictSame(lab.takeDone(), [], 'in the end nothing has changed');
  await lab.told('BlockAffinity', { 'two-7': undefined });
  await lab.moment();
  t.strictSame(lab.takeDone(), ['remove route:connectivity/0/10.244.1.192/26']);
});

t.test('a cluster of IPv6 alone, of odd blocks and nodes that are renamed', async (t) => {
  const lab = await Lab.start(t, { route_source: 'ipam' });
  await lab.ready({ node: { ip6: 'fd00::1' }, subnets: { ip6: 'fd00::/64' } });
  await lab.synced([
    pool('fd10::/48', { vxlan: 'Always' }),
    pool('fd10:0:0:1::/64', { ipip: 'Always' }),
    pool('10.244.0.0/16', { ipip: 'Always' }),
  ]);
  const at = (name: string, address: string): CalicoNode => ({
    name,
    labels: {},
    ip6: { address, prefix: `${address}/64` },
  });
  await lab.told('Node', {
    own: at('own', 'fd00::1'),
    two: at('two', 'fd09::2'),
    three: at('three', 'fd09::3'),
  });
  await lab.told('BlockAffinity', {
    a: affinity('own', 'fd10::40/122'),
    b: affinity('two', 'fd10::80/122'),
    // Of another block size, before and after a change of the pool's; and a block of one address.
    c: affinity('three', 'fd10::80/124'),
    d: affinity('two', 'fd10:0:0:1::/112'),
    e: affinity('two', 'fd10::77/128'),
    f: affinity('own', 'fd10::78/128'),
    g: affinity('two', '10.244.7.0/26'),
  });
  await lab.told('IPAMBlock', {
    b: {
      prefix: 'fd10::80/122',
      node: 'two',
      borrowed: [{ address: 'fd10::85', node: 'own' }],
      deleted: false,
    },
    a: {
      prefix: 'fd10::40/122',
      node: 'own',
      borrowed: [{ address: 'fd10::45', node: 'three' }],
      deleted: false,
    },
  });
  await lab.moment();
  const by_two = 'vxlan-4096-fd09::2 fd09::2';
  t.equal(lab.path('fd10::80/122'), by_two);
  t.equal(lab.path('fd10::80/124'), 'vxlan-4096-fd09::3 fd09::3');
  t.equal(lab.path('fd10::77/128'), by_two);
  t.equal(lab.path('fd10:0:0:1::/112'), 'ipip-fd09::2 fd09::2', 'the longer pool says how');
  t.equal(lab.path('fd10::45/128'), 'vxlan-4096-fd09::3 fd09::3', 'one of its own is borrowed by another');
  t.equal(lab.path('fd10::85/128'), undefined, 'one of another’s is its own');
  t.equal(lab.path('fd10::40/122'), 'drop');
  t.equal(lab.path('fd10::78/128'), undefined, 'a block of one address is a pod, or nothing');
  t.equal(lab.path('10.244.7.0/26'), 'ipip-fd09::2 fd09::2', 'IPIP carries IPv4, too');
  t.equal(lab.path('fd09::2/128', 2), 'ipip-fd09::2 fd09::2');

  // Renamed: the one goes, and another comes with its address and its blocks.
  const all = lab.keys;
  lab.takeDone();
  await lab.told('Node', { two: undefined, second: at('second', 'fd09::2') });
  await lab.told('BlockAffinity', { b: undefined, 'b-second': affinity('second', 'fd10::80/122') });
  await lab.told('IPAMBlock', {
    b: { prefix: 'fd10::80/122', node: 'second', borrowed: [], deleted: false },
  });
  await lab.moment();
  t.equal(lab.path('fd10::80/122'), by_two);
  t.strictSame(
    lab.takeDone().filter((text) => text.includes('fd10::80/122')),
    [],
    'nothing happens to a block that only changes its name',
  );
  t.match((await lab.describe()).faults, { 'BlockAffinity d': /Node two, which is not there/ });
  for (const name of ['d', 'e', 'g']) {
    const prefix = { d: 'fd10:0:0:1::/112', e: 'fd10::77/128', g: '10.244.7.0/26' }[name]!;
    await lab.told('BlockAffinity', { [name]: affinity('second', prefix) });
  }
  await lab.moment();
  t.strictSame(lab.keys, all);
  t.strictSame(
    Object.keys((await lab.describe()).faults),
    ['IPPool fd10:0:0:1::/64'],
    'it lies within another',
  );

  // All are gone, and nothing is left of them but the own block.
  await lab.told('Node', { second: undefined, three: undefined });
  await lab.moment();
  t.strictSame(lab.keys, ['route:connectivity/0/fd10::40/122']);
  t.strictSame(lab.deadly, []);
});

t.test('two nodes with one address are reported, each on its own', async (t) => {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.synced([flat]);
  await lab.told('Node', {
    one: nodeAt('one', '10.0.0.7'),
    two: nodeAt('two', '10.0.0.7'),
    own: nodeAt('own', '10.0.0.1'),
    thief: nodeAt('thief', '10.0.0.1'),
  });
  await lab.routes({ '10.244.1.0/26': '10.0.0.7', '10.244.2.0/26': '10.0.0.1' });
  await lab.moment();
  t.equal(lab.path('10.244.1.0/26'), '10.0.0.7');
  t.equal(lab.path('10.244.2.0/26'), undefined);
  t.match((await lab.describe()).faults, {
    'Node one': /of Node two, too/,
    'Node two': /of Node one, too/,
    'Node own': /of Node thief, too/,
    'Node thief': /of Node own, too/,
    'route 10.244.2.0/26': /this node's own address/,
  });
  t.match(lab.gauges, { faulty: 3 });
});

t.test('what is wrong is named, so much of it', async (t) => {
  const lab = await Lab.start(t);
  await lab.ready();
  await lab.synced([flat]);
  await lab.routes(
    Object.fromEntries(Array.from({ length: 3000 }, (_, n) => [`10.244.${n >> 8}.${n & 255}/32`, 'x'])),
  );
  await lab.moment();
  t.equal(Object.keys((await lab.describe()).faults).length, 100);
  t.strictSame(lab.keys, []);
});

t.test('a tunnel that VPP does not let go of is judged by its policies', async (t) => {
  const policed = new PolicedInterfaces();
  policed.hear(() => undefined);
  const lab = await Lab.start(t, {}, (lab) => {
    lab.policed = policed;
  });
  const taken = () =>
    [...policed.take()].map(([tag, of]) => `${of === undefined ? '-' : of.attachment.kind} ${tag}`);
  await lab.ready();
  await lab.synced([pool('10.1.0.0/16', { ipip: 'Always' })]);
  await lab.routes({ '10.1.1.0/24': '10.0.0.2' }, true, true);
  await lab.moment();
  t.same(taken(), ['tunnel ipip-10.0.0.2']);
  lab.refuses = ({ action, object }) => action === 'remove' && object.kind === 'ipip_tunnel';
  await lab.routes({ '10.1.1.0/24': undefined });
  await lab.moment();
  t.ok(lab.keys.includes('ipip_tunnel:ipip-10.0.0.2'), 'it is refused');
  t.same(taken(), []);
  policed.hear(() => undefined);
  t.match([...policed.take().values()], [{ attachment: { is_left: true } }], 'who hears anew is told so');
  await lab.routes({ '10.1.1.0/24': '10.0.0.2' });
  await lab.moment();
  await lab.routes({ '10.1.1.0/24': undefined });
  await lab.moment();
  t.notOk(taken().includes('- ipip-10.0.0.2'), 'asked for again meanwhile, and given back');
  lab.refuses = () => false;
  lab.holding = true;
  await lab.moment(60_000);
  t.same(taken(), [], 'VPP has not answered yet');
  await lab.answer();
  await lab.moment();
  t.notOk(lab.keys.includes('ipip_tunnel:ipip-10.0.0.2'));
  t.same(taken(), ['- ipip-10.0.0.2'], 'once it is gone');

  await lab.routes({ '10.1.1.0/24': '10.0.0.2' });
  await lab.moment();
  lab.refuses = ({ action, object }) => action === 'remove' && object.kind === 'ipip_tunnel';
  await lab.routes({ '10.1.1.0/24': undefined });
  await lab.moment();
  t.same(taken(), ['tunnel ipip-10.0.0.2']);
  await lab.die();
  await lab.moment(1000);
  t.same(taken(), [], 'nothing is known of the next VPP');
  await lab.ready();
  await lab.moment();
  await lab.moment();
  t.same(taken(), ['- ipip-10.0.0.2'], 'which does not have it');
});

t.test(
  'who enforces policies hears of each tunnel before VPP has it, and of those of an earlier life',
  async (t) => {
    const policed = new PolicedInterfaces();
    let heard = 0;
    policed.hear(() => {
      heard += 1;
    });
    policed.complete('cni');
    const lab = await Lab.start(t, {}, (lab) => {
      lab.policed = policed;
    });
    const nameOf = ({ attachment }: TakenInterface) =>
      attachment.kind === 'tunnel' && attachment.is_left ? 'left' : attachment.kind;
    const taken = () =>
      [...policed.take()].map(([tag, of]) => `${of === undefined ? '-' : nameOf(of)} ${tag}`);
    await lab.ready();
    await lab.synced([pool('10.1.0.0/16', { ipip: 'Always' })]);
    lab.holding = true;
    await lab.routes({ '10.1.1.0/24': '10.0.0.2' }, true, true);
    await lab.moment();
    t.same(taken(), ['tunnel ipip-10.0.0.2'], 'VPP has not answered yet');
    t.ok(heard > 0);
    await lab.answer();
    await lab.moment();
    const verdict = 'default_verdict:ipip-10.0.0.2';
    t.ok(lab.keys.includes(verdict), 'what nobody judges passes');
    const order = lab.transactions.flatMap(({ transaction }) =>
      transaction.operations.map(({ object }) => keyOf(object)),
    );
    t.ok(order.indexOf(verdict) < order.indexOf('interface_flag:ipip-10.0.0.2/admin_up'), 'before it is up');
    t.equal(policed.isComplete, true);

    await lab.kit.crash(new Error('defect'));
    await lab.moment(1000);
    t.same(taken(), ['- ipip-10.0.0.2'], 'what it had put is what it reads again');
    t.equal(policed.isComplete, false, 'and has not yet');
    await lab.ready();
    await lab.moment();
    t.same(taken(), ['left ipip-10.0.0.2'], 'nobody has asked for it yet');
    t.equal(policed.isComplete, true);
    await lab.synced([pool('10.1.0.0/16', { ipip: 'Always' })]);
    await lab.routes({ '10.1.1.0/24': '10.0.0.2' });
    await lab.moment();
    t.same(taken(), ['tunnel ipip-10.0.0.2'], 'somebody has');
    await lab.kit.crash(new Error('defect'));
    await lab.moment(1000);
    await lab.ready();
    await lab.moment();
    taken();
    await lab.synced([pool('10.1.0.0/16')]);
    await lab.routes({}, true, true);
    await lab.moment();
    await lab.moment(1000);
    t.same(taken(), ['- ipip-10.0.0.2']);
    t.notOk(
      lab.keys.some((key) => key.includes('ipip')),
      `${lab.keys}`,
    );
  },
);

// --- WireGuard

const on = { default: { name: 'default', wireguard_enabled: true, wireguard_enabled6: true } };
const off = { default: { name: 'default' } };

function peerNode(name: string, number: number, public_key: string | undefined): Record<string, CalicoNode> {
  return {
    [name]: {
      name,
      labels: {},
      ip4: { address: `10.0.0.${number}`, prefix: '10.0.0.0/24' },
      ip6: { address: `fd00::${number}`, prefix: 'fd00::/64' },
      ...(public_key !== undefined && { wireguard_key: public_key, wireguard_key6: public_key }),
    },
  };
}

function ownNode({ key, key6 }: PublishedKeys): Record<string, CalicoNode> {
  const keys = { ...(key && { wireguard_key: key }), ...(key6 && { wireguard_key6: key6 }) };
  return { own: { name: 'own', labels: {}, ...keys } };
}

const in_cluster = { writer: route_writer_settings_default };

t.test(
  'to WireGuard and back: a route moves when its peer has answered, and the peer goes later',
  async (t) => {
    const lab = await Lab.start(t, in_cluster);
    await lab.ready();
    await lab.told('FelixConfiguration', {}, false);
    t.equal(lab.software_checksums, undefined, 'devices stay as an earlier life has left them');
    await lab.synced([flat]);
    await lab.routes({ '10.244.2.0/26': '10.0.0.2', '10.244.3.0/26': '10.0.0.3' });
    await lab.moment();
    t.equal(lab.software_checksums, false);
    await lab.told('FelixConfiguration', on);
    await lab.moment();
    t.ok(lab.software_checksums, 'before anything is encrypted');
    t.strictSame(lab.published, { key: keyOf32(1), key6: keyOf32(1) });
    t.ok(lab.keys.includes('wireguard_interface:wireguard'));
    await lab.told('Node', { ...peerNode('two', 2, keyOf32(2)), ...peerNode('three', 3, keyOf32(3)) });
    await lab.moment();
    t.ok(lab.keys.includes(`wireguard_peer:${keyOf32(2)}`));
    await lab.moment(1000);
    t.equal(lab.path('10.244.2.0/26'), '10.0.0.2', 'it has not answered');
    t.equal(lab.path('10.0.0.2/32', 2), undefined);
    t.match((await lab.describe()).wireguard, { two: /no handshake for .* UDP port 51820 passes/ });
    lab.established = new Set([keyOf32(2)]);
    await lab.moment(300);
    t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
    t.equal(lab.path('10.0.0.2/32', 2), 'wireguard 10.0.0.2');
    t.equal(lab.path('10.244.3.0/26'), '10.0.0.3', 'another node waits on its own');
    t.match((await lab.describe()).wireguard, { two: /^established for/ });
    await lab.moment(30_000);
    t.equal(lab.path('10.244.3.0/26'), 'wireguard 10.0.0.3', 'not for ever');
    t.match(lab.gauges, { faulty: 0, refused: 0 });

    await lab.told('FelixConfiguration', off);
    await lab.moment();
    t.equal(lab.path('10.244.2.0/26'), '10.0.0.2', 'at once');
    t.strictSame(lab.published, {});
    t.ok(lab.keys.includes(`wireguard_peer:${keyOf32(2)}`), 'by which the other end may still send');
    await lab.moment(11_000);
    t.notOk(lab.keys.some((key) => /wireguard/.test(key)));
    t.strictSame(lab.deadly, []);
  },
);

t.test(
  'a peer whose key changes has its routes all the time, and is removed before it is made',
  async (t) => {
    const lab = await Lab.start(t, { writer: at_once });
    await lab.ready();
    await lab.synced([flat]);
    await lab.told('FelixConfiguration', on);
    await lab.told('Node', peerNode('two', 2, keyOf32(2)));
    await lab.routes({ '10.244.2.0/26': '10.0.0.2' });
    await lab.moment(40_000);
    t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
    lab.takeDone();
    await lab.told('Node', peerNode('two', 2, keyOf32(9)));
    await lab.moment();
    t.strictSame(lab.takeDone(), [`remove wireguard_peer:${keyOf32(2)}`, `add wireguard_peer:${keyOf32(9)}`]);
    // Two hundred blocks of it come one after the other.
    for (let block = 0; block < 200; block += 10) {
      const blocks = Array.from(
        { length: 10 },
        (_, at) => [`10.244.${block + at}.64/26`, '10.0.0.2'] as const,
      );
      await lab.routes(Object.fromEntries(blocks));
    }
    await lab.moment(1000);
    const peers = lab.takeDone().filter((text) => text.includes('peer'));
    t.strictSame(
      peers,
      [`remove wireguard_peer:${keyOf32(9)}`, `add wireguard_peer:${keyOf32(9)}`],
      'one change',
    );
    t.strictSame(lab.deadly, []);
  },
);

t.test('a peer of an earlier life keeps its session until all is told', async (t) => {
  const tunnel: VppObject = {
    kind: 'wireguard_interface',
    tag: 'wireguard',
    src: '10.0.0.1',
    port: 51_820,
    public_key: keyOf32(1),
  };
  const peer: VppObject = {
    kind: 'wireguard_peer',
    interface: 'wireguard',
    public_key: keyOf32(2),
    endpoint: '10.0.0.2',
    port: 51_820,
    keepalive_s: 0,
    allowed: ['10.0.0.2/32', '10.244.2.0/26', '10.244.7.0/26', 'fd00::2/128'],
  };
  const lab = await Lab.start(t, { writer: at_once }, (lab) => {
    lab.vpp = new StrictVpp([...lab.vpp.objects, tunnel, peer]);
  });
  await lab.synced([flat]);
  await lab.told('FelixConfiguration', on);
  await lab.told('Node', peerNode('two', 2, keyOf32(2)));
  await lab.routes({ '10.244.2.0/26': '10.0.0.2' }, false);
  await lab.ready();
  await lab.moment(1000);
  t.notOk(lab.takeDone().some((text) => text.includes('wireguard_peer')));
  await lab.routes({ '10.244.8.0/26': '10.0.0.2' });
  await lab.moment(1000);
  const now = lab.vpp.objects.find(({ kind }) => kind === 'wireguard_peer');
  t.strictSame(now && 'allowed' in now && now.allowed, [
    '10.0.0.2/32',
    '10.244.2.0/26',
    '10.244.8.0/26',
    'fd00::2/128',
  ]);
  t.strictSame(lab.deadly, []);
});

t.test('a key that cannot be had is told, and tried again', async (t) => {
  const lab = await Lab.start(t);
  const keys = lab.keys_of_node;
  lab.keys_of_node = () => {
    throw new Error('the key cannot be read from /x (EIO)');
  };
  await lab.ready();
  await lab.synced([flat]);
  await lab.told('FelixConfiguration', on);
  await lab.moment();
  t.match((await lab.describe()).faults, { WireGuard: /nothing is encrypted: .*EIO/ });
  t.notOk(lab.keys.some((key) => /wireguard/.test(key)));
  lab.keys_of_node = keys;
  await lab.moment(6000);
  await lab.moment();
  t.ok(lab.keys.includes('wireguard_interface:wireguard'));
  t.strictSame((await lab.describe()).faults, {});
  t.notOk(JSON.stringify(await lab.describe()).includes(keyOf32(101)), 'the private key is shown to nobody');
});

t.test('where encryption is required a route leads to its peer at once, or nowhere', async (t) => {
  const lab = await Lab.start(t, { ...in_cluster, encryption_required: true });
  await lab.ready();
  await lab.synced([flat]);
  await lab.routes({ '10.244.2.0/26': '10.0.0.2' });
  await lab.moment();
  t.equal(lab.path('10.244.2.0/26'), 'drop');
  t.match((await lab.describe()).faults, { 'route 10.244.2.0/26': /encryption is required/ });
  await lab.told('FelixConfiguration', on);
  await lab.told('Node', peerNode('two', 2, keyOf32(2)));
  await lab.moment();
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2', 'which drops what it cannot encrypt');
  t.equal(lab.path('10.244.0.0/16'), 'drop', 'nor by the default route');
  await lab.routes({ '10.244.2.0/26': undefined });
  await lab.moment();
  t.notOk(lab.keys.includes('route:connectivity/0/10.244.2.0/26'));
  t.equal(lab.path('10.244.0.0/16'), 'drop');
  await lab.routes({ '10.244.2.0/26': '10.0.0.2' });
  await lab.told('IPPool', { [flat.name]: undefined });
  await lab.moment();
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2', 'though its pool is deleted');
  await lab.told('IPPool', { [flat.name]: flat });
  await lab.told('Node', peerNode('two', 2, undefined));
  await lab.moment();
  t.equal(lab.path('10.244.2.0/26'), 'drop');
});

t.test('where encryption is required a new VPP drops what is in a pool before it has uplinks', async (t) => {
  const lab = await Lab.start(t, { ...in_cluster, encryption_required: true });
  const inPlace = async () =>
    (await lab.kit.mailbox<ToUplink>('uplink').messages()).flatMap((message) =>
      message.type === 'InPlace' ? [`${message.of} ${message.round}`] : [],
    );
  await lab.prepared(1);
  await lab.told('IPPool', { [flat.name]: flat });
  t.strictSame([lab.keys, await inPlace()], [[], []], 'a node may be in it');
  await lab.told('Node', peerNode('two', 2, keyOf32(2)));
  await lab.kit.settle();
  t.equal(lab.path('10.244.0.0/16'), 'drop');
  t.strictSame(await inPlace(), ['connectivity 1']);
  await lab.ready();
  await lab.synced([flat], ['Node']);
  await lab.told('FelixConfiguration', on);
  await lab.routes({ '10.244.2.0/26': '10.0.0.2' });
  await lab.moment();
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
  t.equal(lab.path('10.244.0.0/16'), 'drop');
  t.strictSame(await inPlace(), [], 'once');

  await lab.die();
  await lab.prepared(2);
  await lab.kit.settle();
  t.strictSame(lab.keys, ['route:connectivity/0/10.244.0.0/16'], 'and nothing else that needs an uplink');
  t.strictSame(await inPlace(), ['connectivity 2']);
  await lab.ready();
  await lab.moment();
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');

  await lab.die();
  lab.refuses = () => true;
  await lab.prepared(3);
  await lab.kit.settle();
  t.equal((await inPlace()).at(-1), 'connectivity 3', 'it is known why not');
  lab.refuses = () => false;
  await lab.lost();
  await lab.told('IPPool', { other: { ...flat, name: 'other', prefix: '10.0.0.0/16' } });
  await lab.prepared(4);
  await lab.kit.settle();
  t.strictSame(lab.keys, ['route:connectivity/0/10.244.0.0/16'], 'not where a node is: it would be cut off');
});

t.test(
  'where encryption is required and no API server answers, the pools of before are dropped',
  async (t) => {
    const first = await Lab.start(t, { ...in_cluster, encryption_required: true });
    const six = { ...flat, name: 'six', prefix: 'fd10::/48' };
    await first.synced([flat, six]);
    t.equal(first.pools_text, '["10.244.0.0/16","fd10::/48"]');
    const later = async (pools_text: string) => {
      const lab = await Lab.start(t, { ...in_cluster, encryption_required: true }, (new_lab) => {
        new_lab.pools_text = pools_text;
      });
      await lab.prepared(1);
      await lab.kit.settle();
      return lab;
    };
    const lab = await later(first.pools_text!);
    t.equal(lab.path('10.244.0.0/16'), 'drop');
    t.equal(lab.path('fd10::/48'), 'drop');
    const inPlace = async (of: Lab) =>
      (await of.kit.mailbox<ToUplink>('uplink').messages()).filter(({ type }) => type === 'InPlace').length;
    t.equal(await inPlace(lab), 0, 'the API server may still tell');
    await lab.ready();
    await lab.moment();
    t.equal(lab.path('10.244.0.0/16'), 'drop', 'for as long as it does not');
    await lab.synced([six]);
    await lab.told('FelixConfiguration', on);
    await lab.routes({});
    await lab.moment();
    await lab.moment();
    t.equal(lab.path('10.244.0.0/16'), undefined, 'that pool is no more');
    t.equal(lab.path('fd10::/48'), 'drop');
    t.equal(lab.pools_text, '["fd10::/48"]');

    const in_time = await later(first.pools_text!);
    await in_time.told('IPPool', { six });
    await in_time.told('Node', peerNode('two', 2, keyOf32(2)));
    await in_time.kit.settle();
    t.strictSame(in_time.keys, ['route:connectivity/0/fd10::/48']);
    t.equal(await inPlace(in_time), 1);
    for (const text of ['{', '{}', '["10.244.0.0", 5, null, "10.244.1.0/16"]'])
      t.strictSame((await later(text)).keys, [], text);

    const without = await Lab.start(t, in_cluster);
    await without.synced([flat]);
    t.equal(without.pools_text, undefined, 'where it is not required nothing is written');
  },
);

t.test('where encryption is required what an earlier life has left in clear is dropped', async (t) => {
  const before = await Lab.start(t, in_cluster);
  await before.ready();
  await before.synced([flat]);
  await before.told('FelixConfiguration', on);
  await before.told('Node', peerNode('two', 2, keyOf32(2)));
  await before.routes({
    '10.244.2.0/26': '10.0.0.2',
    '10.244.3.0/26': '10.0.0.3',
    '10.9.0.0/16': '10.0.0.4',
  });
  await before.moment(40_000);
  t.equal(before.path('10.244.3.0/26'), '10.0.0.3');

  const lab = await Lab.start(t, { ...in_cluster, encryption_required: true }, (after) => {
    after.vpp = before.vpp;
  });
  await lab.ready();
  await lab.synced([flat], ['Node', 'FelixConfiguration']);
  await lab.told('FelixConfiguration', on);
  await lab.told('Node', peerNode('two', 2, keyOf32(2)));
  await lab.moment();
  t.equal(lab.path('10.244.3.0/26'), 'drop', 'though BGP has told nothing yet');
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2', 'what is encrypted stays');
  t.equal(lab.path('10.9.0.0/16'), '10.0.0.4', 'and what is in no pool');
  await lab.told('Node', peerNode('three', 3, keyOf32(3)));
  await lab.routes({ '10.244.2.0/26': '10.0.0.2', '10.244.3.0/26': '10.0.0.3' });
  await lab.moment();
  await lab.moment();
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
  t.equal(lab.path('10.244.3.0/26'), 'wireguard 10.0.0.3');
  t.equal(lab.path('10.9.0.0/16'), undefined);
});

/** The peers that VPP has: their ends by the numbers of their keys. */
function peersOf(lab: Lab): Record<number, string> {
  const ends: Record<number, string> = {};
  for (const object of lab.vpp.objects)
    if (object.kind === 'wireguard_peer')
      ends[Buffer.from(object.public_key, 'base64')[0] ?? 0] = object.endpoint;
  return ends;
}

t.test('a node that moves takes nothing from the one that comes to its old address', async (t) => {
  const lab = await Lab.start(t, in_cluster);
  await lab.ready();
  await lab.synced([flat]);
  await lab.told('FelixConfiguration', on);
  await lab.told('Node', peerNode('two', 2, keyOf32(2)));
  await lab.routes({ '10.244.2.0/26': '10.0.0.2' });
  await lab.moment(40_000);
  await lab.told('Node', peerNode('two', 5, keyOf32(2)));
  await lab.routes({ '10.244.2.0/26': '10.0.0.5' });
  await lab.moment(40_000);
  await lab.told('Node', peerNode('three', 2, keyOf32(3)));
  await lab.routes({ '10.244.3.0/26': '10.0.0.2' });
  await lab.moment(40_000);
  t.strictSame(peersOf(lab), { 2: '10.0.0.5', 3: '10.0.0.2' });
  // They change places at once, and are told in either order.
  for (const order of [
    { ...peerNode('two', 2, keyOf32(2)), ...peerNode('three', 5, keyOf32(3)) },
    { ...peerNode('three', 2, keyOf32(3)), ...peerNode('two', 5, keyOf32(2)) },
  ]) {
    await lab.told('Node', order);
    const two = order.two?.ip4?.address ?? '';
    const three = order.three?.ip4?.address ?? '';
    await lab.routes({ '10.244.2.0/26': two, '10.244.3.0/26': three });
    await lab.moment(40_000);
    t.strictSame(peersOf(lab), { 2: two, 3: three });
    t.equal(lab.path('10.244.2.0/26'), `wireguard ${two}`);
    t.equal(lab.path('10.244.3.0/26'), `wireguard ${three}`);
  }
  // And one goes just when the other one takes its address.
  await lab.told('Node', { three: undefined, ...peerNode('two', 2, keyOf32(2)) });
  await lab.routes({ '10.244.2.0/26': '10.0.0.2', '10.244.3.0/26': undefined });
  await lab.moment(40_000);
  t.strictSame(peersOf(lab), { 2: '10.0.0.2' });
  t.match(lab.gauges, { faulty: 0, refused: 0 });
  t.strictSame(lab.deadly, []);
});

for (const stale of ['alt', 'zwei'])
  t.test(`of two nodes at one address one is the peer, and the other when that goes: ${stale}`, async (t) => {
    const lab = await Lab.start(t, in_cluster);
    await lab.ready();
    await lab.synced([flat]);
    await lab.told('FelixConfiguration', on);
    await lab.told('Node', { ...peerNode('two', 2, keyOf32(2)), ...peerNode(stale, 2, keyOf32(8)) });
    await lab.routes({ '10.244.2.0/26': '10.0.0.2' });
    await lab.moment(40_000);
    const [first, other] = [stale, 'two'].sort();
    t.strictSame(peersOf(lab), { [first === 'two' ? 2 : 8]: '10.0.0.2' });
    const { faults } = await lab.describe();
    t.match(faults, {
      [`Node ${other}`]: new RegExp(`has the address 10.0.0.2 of Node ${first}, too, which is the peer`),
    });
    await lab.told('Node', { [stale]: undefined });
    await lab.moment(40_000);
    t.strictSame(peersOf(lab), { 2: '10.0.0.2' });
    t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
    t.match(lab.gauges, { faulty: 0, refused: 0 });
    t.strictSame(lab.deadly, []);
  });

t.test('a peer of an earlier life with another key goes for the one at its end', async (t) => {
  const tunnel: VppObject = {
    kind: 'wireguard_interface',
    tag: 'wireguard',
    src: '10.0.0.1',
    port: 51_820,
    public_key: keyOf32(1),
  };
  const peer: VppObject = {
    kind: 'wireguard_peer',
    interface: 'wireguard',
    public_key: keyOf32(8),
    endpoint: '10.0.0.2',
    port: 51_820,
    keepalive_s: 0,
    allowed: ['10.0.0.2/32', 'fd00::2/128'],
  };
  for (const is_read_first of [true, false]) {
    const lab = await Lab.start(t, { writer: at_once }, (lab) => {
      lab.vpp = new StrictVpp([...lab.vpp.objects, tunnel, peer]);
    });
    if (is_read_first) await lab.ready();
    await lab.synced([flat]);
    await lab.told('FelixConfiguration', on);
    await lab.told('Node', peerNode('two', 2, keyOf32(2)));
    // Not all is told: what an earlier life has left stays, but for this.
    await lab.routes({ '10.244.2.0/26': '10.0.0.2' }, false);
    if (!is_read_first) await lab.ready();
    await lab.moment(1000);
    t.strictSame(peersOf(lab), { 2: '10.0.0.2' });
    t.strictSame(lab.deadly, []);
  }
});

t.test('peers are asked for often while routes wait for them, and no longer', async (t) => {
  const lab = await Lab.start(t, in_cluster);
  const readsInMinute = async (): Promise<number> => {
    const before = lab.peer_reads;
    for (let passed_ms = 0; passed_ms < 60_000; passed_ms += 200) await lab.moment(200);
    return lab.peer_reads - before;
  };
  await lab.ready();
  await lab.synced([flat]);
  await lab.routes({ '10.244.2.0/26': '10.0.0.2', '10.244.3.0/26': '10.0.0.3' });
  await lab.moment();
  await lab.told('FelixConfiguration', on);
  await lab.told('Node', { ...peerNode('two', 2, keyOf32(2)), ...peerNode('three', 3, keyOf32(3)) });
  lab.established = new Set([keyOf32(2)]);
  await lab.moment();
  t.ok((await readsInMinute()) > 100, 'the third node is waited for');
  t.equal(lab.path('10.244.3.0/26'), 'wireguard 10.0.0.3');
  t.ok((await readsInMinute()) < 20, 'it is down, and nothing waits for it any more');
  // A peer that comes with its first route, which has no other way, is waited for by nothing; nor is the old end of one that moves.
  await lab.told('Node', { ...peerNode('four', 4, keyOf32(4)), ...peerNode('two', 5, keyOf32(2)) });
  await lab.routes({ '10.244.4.0/26': '10.0.0.4', '10.244.2.0/26': '10.0.0.5' });
  await lab.moment();
  t.equal(lab.path('10.244.4.0/26'), 'wireguard 10.0.0.4');
  t.ok((await readsInMinute()) < 20);
});

t.test(
  'a VPP that refuses WireGuard’s interface: the key is with nobody, and routes go without it',
  async (t) => {
    const lab = await Lab.start(t, in_cluster);
    await lab.ready();
    await lab.synced([flat]);
    lab.refuses = ({ object }) => object.kind === 'wireguard_interface';
    await lab.told('FelixConfiguration', on);
    await lab.told('Node', { ...peerNode('two', 2, keyOf32(2)) });
    await lab.routes({ '10.244.2.0/26': '10.0.0.2' });
    for (let second = 0; second < 60; second += 1) await lab.moment(1000);
    t.equal(lab.publishes, 0);
    t.equal(lab.path('10.244.2.0/26'), '10.0.0.2');
    await lab.routes({ '10.244.9.0/26': '10.0.0.2' });
    await lab.moment();
    t.equal(lab.path('10.244.9.0/26'), '10.0.0.2', 'a new block');
    t.equal(lab.software_checksums, false);
    t.match((await lab.describe()).faults, { WireGuard: /is not made by VPP.*show plugins/ });
    t.match((await lab.describe()).refused, { 'wireguard_interface:wireguard': /refused/ });

    lab.refuses = () => false;
    lab.established = new Set([keyOf32(2)]);
    for (let second = 0; second < 60; second += 1) await lab.moment(1000);
    t.strictSame(lab.published, { key: keyOf32(1), key6: keyOf32(1) });
    t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
    t.ok(lab.software_checksums);
    t.strictSame((await lab.describe()).faults, {});
    t.strictSame(lab.deadly, []);

    await lab.lost();
    await lab.moment(1000);
    t.match(lab.published, { key: keyOf32(1) }, 'a VPP that died comes again');
    await lab.die();
    lab.refuses = ({ object }) => object.kind === 'wireguard_interface';
    await lab.ready();
    for (let second = 0; second < 20; second += 1) await lab.moment(1000);
    t.strictSame(lab.published, {}, 'but this one cannot');
    t.equal(lab.path('10.244.2.0/26'), '10.0.0.2');
    t.equal(lab.software_checksums, false);
    await lab.told('FelixConfiguration', off);
    await lab.moment();
    t.strictSame((await lab.describe()).faults, {}, 'nobody asks for it any more');
  },
);

t.test('where encryption is required, and VPP refuses it, nothing goes', async (t) => {
  const lab = await Lab.start(t, { ...in_cluster, encryption_required: true });
  lab.refuses = ({ object }) => object.kind === 'wireguard_interface';
  await lab.ready();
  await lab.synced([flat]);
  await lab.told('FelixConfiguration', on);
  await lab.told('Node', { ...peerNode('two', 2, keyOf32(2)) });
  await lab.routes({ '10.244.2.0/26': '10.0.0.2' });
  await lab.moment(1000);
  t.equal(lab.path('10.244.2.0/26'), 'drop');
  t.equal(lab.publishes, 0);
  t.match((await lab.describe()).faults, { WireGuard: /is not made by VPP/ });
});

t.test('a key that other nodes cannot know moves no route, and is a fault until they can', async (t) => {
  const lab = await Lab.start(t, in_cluster);
  await lab.ready();
  await lab.synced([flat]);
  const { publish } = lab;
  const fails: ((cause: string) => void)[] = [];
  lab.publish = (_keys, _signal, failing) => {
    fails.push(failing);
    return new Promise(() => undefined);
  };
  await lab.told('FelixConfiguration', on);
  await lab.told('Node', { ...peerNode('two', 2, keyOf32(2)) });
  await lab.routes({ '10.244.2.0/26': '10.0.0.2' });
  lab.established = new Set([keyOf32(2)]);
  await lab.moment(1000);
  t.strictSame((await lab.describe()).faults, {}, 'it is on its way');
  fails[0]?.('PATCH /api/v1/nodes/own/status: 403');
  for (let second = 0; second < 60; second += 1) await lab.moment(1000);
  t.equal(fails.length, 1);
  t.equal(lab.path('10.244.2.0/26'), '10.0.0.2');
  t.match((await lab.describe()).faults, {
    'Node own':
      /does not tell other nodes its WireGuard key.*403.*patch nodes\/status \(deploy\/kubernetes\/rbac\.yaml\)/,
  });
  t.equal((await lab.describe()).faulty_count, 1);
  t.equal(lab.software_checksums, false);

  // A refusal for good is not asked again at each piece of work.
  lab.publish = async () => {
    lab.publishes += 1;
    throw new Error('PATCH /api/v1/nodes/own/status: 422');
  };
  await lab.told('FelixConfiguration', off);
  await lab.moment();
  lab.publishes = 0;
  await lab.told('FelixConfiguration', on);
  for (let second = 0; second < 60; second += 1) await lab.moment(1000);
  t.equal(lab.publishes, 1);
  t.match((await lab.describe()).faults, { 'Node own': /422/ });

  // What was refused of another Node may be taken of this one.
  lab.publish = publish;
  await lab.told('Node', { own: { name: 'own', labels: { of: 'another' } } });
  await lab.moment();
  await lab.moment(1000);
  t.strictSame(lab.published, { key: keyOf32(1), key6: keyOf32(1) });
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
  t.ok(lab.software_checksums);
  t.strictSame((await lab.describe()).faults, {});
});

t.test('a new life that has not heard of its own Node yet leaves checksums to what they are', async (t) => {
  const lab = await Lab.start(t, in_cluster);
  await lab.ready();
  await lab.told('FelixConfiguration', on);
  t.equal(lab.software_checksums, undefined);
  await lab.told('Node', ownNode({ key: keyOf32(1) }), false);
  t.equal(lab.software_checksums, undefined);
  await lab.told('Node', {});
  t.equal(lab.software_checksums, true);
});

t.test('a key that Felix tells is as good as one of the Node, which goes first', async (t) => {
  const lab = await Lab.start(t, { writer: at_once });
  lab.established = new Set([2, 3, 4, 5].map(keyOf32));
  await lab.ready();
  await lab.synced([flat]);
  await lab.told('FelixConfiguration', on);
  await lab.told('Node', { ...peerNode('two', 2, undefined), ...peerNode('three', 3, keyOf32(3)) });
  await lab.routes({ '10.244.2.0/26': '10.0.0.2' });
  await lab.moment();
  await lab.moment();
  const peers = () => lab.keys.filter((key) => key.startsWith('wireguard_peer:'));
  const felix = async (whole: boolean, changed: Readonly<Record<string, NodeKeys>>) => {
    await lab.kit.tell({ type: 'FelixKeysTold', whole, changed: new Map(Object.entries(changed)) });
    await lab.moment(300);
  };
  const three = `wireguard_peer:${keyOf32(3)}`;
  t.strictSame(peers(), [three]);
  const says = (byte: number): NodeKeys => ({ key: keyOf32(byte), key6: keyOf32(byte) });
  await felix(true, { two: says(2), three: says(8), own: says(7), nowhere: says(6) });
  t.strictSame(peers(), [`wireguard_peer:${keyOf32(2)}`, three]);
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
  t.strictSame(lab.published, { key: keyOf32(1), key6: keyOf32(1) }, 'of itself the Node says what is so');
  await lab.told('Node', peerNode('two', 2, keyOf32(4)));
  await lab.moment();
  t.strictSame(peers(), [three, `wireguard_peer:${keyOf32(4)}`], 'it says another one');
  await lab.told('Node', peerNode('two', 2, undefined));
  await lab.moment();
  t.equal(
    lab.path('10.244.2.0/26'),
    '10.0.0.2',
    'it has none any more, whatever a Felix that is late has said',
  );
  await lab.moment(20_000);
  t.strictSame(peers(), [three]);
  await felix(false, { two: says(5) });
  t.strictSame(peers(), [three, `wireguard_peer:${keyOf32(5)}`], 'which says it anew');
  await felix(true, {});
  await lab.moment(20_000);
  t.strictSame(peers(), [three], 'another Felix says nothing of it');
  t.strictSame(lab.deadly, []);
});

t.test('each node without a peer is named, with why and the step to take', async (t) => {
  const lab = await Lab.start(t, { writer: at_once });
  await lab.ready();
  await lab.synced([flat]);
  await lab.told('Node', { ...peerNode('two', 2, undefined), ...peerNode('three', 3, keyOf32(3)) });
  await lab.moment();
  t.strictSame((await lab.describe()).wireguard, {}, 'where nothing is encrypted nobody needs one');
  await lab.told('FelixConfiguration', on);
  await lab.told('Node', {
    four: { ...peerNode('four', 4, undefined).four!, wireguard_key: keyOf32(4) },
  });
  await lab.moment();
  await lab.moment(6000);
  t.match((await lab.describe()).wireguard, {
    two: /^no key, and what is sent to its pods is in clear: .*projectcalico\.org\/WireguardPublicKey/,
    three: /^no handshake/,
    four: /^no handshake.*; no key for IPv6, and what is sent to its IPv6 pods is in clear/,
  });
  t.equal((await lab.describe()).wireguard.own, undefined);
  t.equal(lab.gauges?.faulty, 0, 'a cluster of both is no fault');
});

const with_psk = (lab: Lab): void => {
  lab.psk = new Secret('one');
};
const profile_key = 'ike_profile:node-10.0.0.0';

/** Of two nodes this one begins, whose address is 10.0.0.1. */
async function encrypted(t: Teardown, prepare: (lab: Lab) => void = with_psk): Promise<Lab> {
  const lab = await Lab.start(t, {}, prepare);
  await lab.ready();
  await lab.synced([ipip]);
  await lab.routes({ '10.244.2.0/26': '10.0.0.0' });
  await lab.moment();
  return lab;
}

t.test('to IPsec: a route moves when its tunnel has an SA, which nobody but IKE brings up', async (t) => {
  const lab = await Lab.start(t, in_cluster, with_psk);
  await lab.ready();
  await lab.synced([flat]);
  await lab.routes({ '10.244.2.0/26': '10.0.0.0' });
  await lab.moment();
  await lab.told('IPPool', { [ipip.name]: ipip });
  await lab.moment();
  t.ok(lab.keys.includes(profile_key));
  t.ok(lab.keys.includes('ike_initiation:node-10.0.0.0'));
  t.notOk(lab.keys.includes('interface_flag:ipip-10.0.0.0/admin_up'));
  await lab.moment(3000);
  t.equal(lab.path('10.244.2.0/26'), '10.0.0.0', 'it is not up');
  t.match((await lab.describe()).ipsec, { '10.0.0.0': /no SA for 2 s: .*does not answer/ });
  lab.ike = 'up';
  await lab.moment(300);
  t.equal(lab.path('10.244.2.0/26'), 'ipip-10.0.0.0 10.0.0.0');
  t.equal(lab.path('10.0.0.0/32', 2), 'ipip-10.0.0.0 10.0.0.0');
  t.match((await lab.describe()).ipsec, { '10.0.0.0': /^up for/ });
  await lab.told('IPPool', { [flat.name]: flat });
  await lab.moment(11_000);
  t.notOk(
    lab.keys.some((key) => /ipip|ike/.test(key)),
    'and back',
  );
  t.strictSame(lab.deadly, []);
});

t.test('a tunnel that does not come up has its profile made anew, and no longer when it is up', async (t) => {
  const lab = await encrypted(t);
  t.equal(lab.path('10.244.2.0/26'), 'ipip-10.0.0.0 10.0.0.0', 'at once, where it was led nowhere before');
  lab.takeDone();
  await lab.moment(10_000);
  t.strictSame(lab.takeDone(), []);
  await lab.moment(6000);
  t.strictSame(lab.takeDone(), [`add ${profile_key}`, 'add ike_initiation:node-10.0.0.0']);
  lab.ike = 'up';
  await lab.moment(60_000);
  t.strictSame(lab.takeDone(), []);
  lab.ike = 'clear';
  await lab.moment(6000);
  t.ok(lab.taken_down.includes('ipip-10.0.0.0'), 'nothing goes by it without keys');
  t.ok(lab.takeDone().includes(`add ${profile_key}`));
  t.strictSame(lab.deadly, []);
});

t.test(
  'VPP is asked for tunnels of IKE once at a time, and less often when nothing comes of it',
  async (t) => {
    const lab = await encrypted(t);
    const readsIn = async (ms: number): Promise<number> => {
      const before = lab.ike_reads;
      for (let left = ms; left > 0; left -= 500) await lab.moment(500);
      return lab.ike_reads - before;
    };
    await lab.moment(6000);
    t.equal(await readsIn(10_000), 10, 'it may come up');
    await readsIn(60_000);
    t.equal(await readsIn(10_000), 2, 'it has not for a minute');
    lab.ike_is_silent = true;
    t.equal(await readsIn(9500), 1, 'it has not answered yet');
    t.equal(await readsIn(10_000), 1, 'nobody waits for the answer any more');
    lab.ike_is_silent = false;
    lab.ike = 'up';
    await readsIn(20_000);
    t.match((await lab.describe()).ipsec, { '10.0.0.0': /^up for/ });
  },
);

t.test('a tunnel that VPP has taken away is made anew with its profile and routes', async (t) => {
  const lab = await encrypted(t);
  lab.ike = 'up';
  await lab.moment(6000);
  lab.takeDone();
  // A route by an interface that is gone drops for ever, and a profile gives its SAs to whatever has that index next.
  const left = lab.vpp.objects.flatMap((object): VppObject[] => {
    if (object.kind === 'ike_profile' || object.kind === 'ike_initiation')
      return [{ ...object, interface: '#5' }];
    if (object.kind === 'route')
      return [{ ...object, paths: object.paths.map((path) => ({ ...path, interface: '#5' }) as Path) }];
    return object.kind === 'af_packet' || object.kind === 'table' ? [object] : [];
  });
  lab.vpp = new StrictVpp(left);
  await lab.moment(6000);
  const done = lab.takeDone();
  const at = (text: string): number => done.indexOf(text);
  const made = at('add ipip_tunnel:ipip-10.0.0.0');
  t.ok(at(`remove ${profile_key}`) >= 0 && at(`remove ${profile_key}`) < made, done.join());
  t.ok(at(`add ${profile_key}`) > made);
  t.ok(at('add ike_initiation:node-10.0.0.0') > at(`add ${profile_key}`));
  t.equal(lab.path('10.244.2.0/26'), 'ipip-10.0.0.0 10.0.0.0');
  t.strictSame(lab.deadly, []);
});

t.test('another key is given to the profile that is there', async (t) => {
  const lab = await encrypted(t);
  lab.ike = 'up';
  await lab.moment(6000);
  lab.takeDone();
  lab.psk = new Secret('two');
  await lab.moment(6000);
  t.strictSame(lab.takeDone(), [`add ${profile_key}`], 'and nothing else: what is up stays up');
  t.match(
    lab.vpp.objects.find(({ kind }) => kind === 'ike_profile'),
    { psk: { is_empty: false } },
  );
});

t.test(
  'from WireGuard to IPsec: the peer has its prefixes until routes have moved at both ends',
  async (t) => {
    const lab = await Lab.start(t, { writer: { ...in_cluster.writer!, operations_max: 8 } }, with_psk);
    const prefix = '10.244.2.0/26';
    const allowed = (): readonly string[] =>
      lab.vpp.objects.flatMap((object) => (object.kind === 'wireguard_peer' ? object.allowed : []));
    await lab.ready();
    await lab.synced([flat]);
    await lab.told('FelixConfiguration', on);
    await lab.told('Node', peerNode('two', 2, keyOf32(2)));
    lab.established = new Set([keyOf32(2)]);
    await lab.routes({ [prefix]: '10.0.0.2' });
    await lab.moment(5000);
    await lab.moment();
    t.equal(lab.path(prefix), 'wireguard 10.0.0.2');
    lab.takeDone();
    const isByPeer = (done: string): boolean => done.includes('wireguard_peer');

    await lab.told('IPPool', { [flat.name]: pool(flat.prefix, { ipip: 'Always' }) });
    await lab.moment(5000);
    t.equal(lab.path(prefix), 'wireguard 10.0.0.2', 'the tunnel has no SA yet');
    t.ok(allowed().includes(prefix), 'what still goes by it arrives');
    lab.ike = 'up';
    await lab.moment(2000);
    await lab.moment();
    t.equal(lab.path(prefix), 'ipip-10.0.0.2 10.0.0.2');
    await lab.told('IPPool', { [flat.name]: flat });
    await lab.moment(5000);
    t.equal(lab.path(prefix), 'wireguard 10.0.0.2', 'and back');
    t.strictSame(lab.takeDone().filter(isByPeer), [], 'in all that its session was kept');

    await lab.told('IPPool', { [flat.name]: pool(flat.prefix, { ipip: 'Always' }) });
    for (let s = 0; s < 20; s += 1) await lab.moment(5000);
    t.ok(allowed().length > 0 && !allowed().includes(prefix), 'it goes when that is over');
    await lab.told('IPPool', { [flat.name]: flat });
    await lab.moment(2000);
    await lab.moment(2000);
    t.ok(allowed().includes(prefix));
    await lab.told('IPPool', { [flat.name]: pool(flat.prefix, { ipip: 'Always' }) });
    await lab.moment(1000);
    await lab.routes({ [prefix]: '10.0.0.3' });
    await lab.moment(1000);
    t.notOk(allowed().includes(prefix), 'at once where another node has it');
  },
);

t.test('an earlier life’s tunnel in clear is made anew, and down; one of IKE’s is taken over', async (t) => {
  const kept = await encrypted(t);
  kept.ike = 'up';
  await kept.moment(6000);
  kept.takeDone();
  kept.generation += 1;
  await kept.ready();
  await kept.moment(6000);
  t.strictSame(kept.takeDone(), []);

  const before = await encrypted(t, () => undefined);
  t.ok(before.keys.includes('interface_flag:ipip-10.0.0.0/admin_up'));
  const lab = await encrypted(t, (each) => {
    with_psk(each);
    each.vpp = before.vpp;
  });
  await lab.moment(60_000);
  t.notOk(lab.keys.includes('interface_flag:ipip-10.0.0.0/admin_up'));
  t.ok(lab.keys.includes(profile_key));
  t.equal(lab.path('10.244.2.0/26'), 'ipip-10.0.0.0 10.0.0.0');
  const done = lab.takeDone();
  t.ok(done.indexOf('remove ipip_tunnel:ipip-10.0.0.0') < done.indexOf('add ipip_tunnel:ipip-10.0.0.0'));
  t.notOk(done.includes('add interface_flag:ipip-10.0.0.0/admin_up'), 'never in clear');

  const back = await encrypted(t, (each) => {
    each.vpp = lab.vpp;
  });
  await back.moment(60_000);
  t.notOk(back.keys.some((key) => /ike/.test(key)));
  t.ok(back.keys.includes('interface_flag:ipip-10.0.0.0/admin_up'));
  for (const each of [kept, lab, back]) t.strictSame(each.deadly, []);
});

t.test('a life that cannot read the key leaves what works, and begins nothing', async (t) => {
  const before = await encrypted(t);
  before.ike = 'up';
  await before.moment(6000);
  const without = (each: Lab): void => {
    with_psk(each);
    each.psk_fault = 'the key cannot be read from /a/file (ENOENT)';
    each.vpp = before.vpp;
    each.ike = 'up';
  };
  const early = await encrypted(t, (each) => {
    without(each);
    each.holding = true;
  });
  await early.answer();
  await early.moment(60_000);
  t.strictSame(early.takeDone(), [], 'whether VPP has told what it has before that is wanted, or behind it');
  t.ok(early.keys.includes(profile_key));
  const lab = await encrypted(t, without);
  await lab.routes({ '10.244.2.0/26': '10.0.0.0', '10.244.3.0/26': '10.9.0.3' });
  await lab.moment(60_000);
  const news = lab.takeDone();
  t.notOk(
    news.some((done) => done.startsWith('remove') || /ike/.test(done)),
    news.join(),
  );
  t.ok(lab.keys.includes(profile_key));
  t.ok(lab.keys.includes('ike_initiation:node-10.0.0.0'));
  t.ok(lab.keys.includes('ipip_tunnel:ipip-10.9.0.3'));
  t.notOk(lab.keys.includes('ike_profile:node-10.9.0.3'), 'it would have no key');
  t.match((await lab.describe()).faults, { IPsec: /ENOENT.*goes on with the key that it has/ });

  lab.ike = 'down';
  await lab.moment(16_000);
  t.ok(lab.takeDone().includes(`add ${profile_key}`), 'it begins anew with the key that VPP had');
  const keyOf = () => lab.vpp.objects.find((object) => object.kind === 'ike_profile')?.psk?.reveal();
  t.equal(keyOf(), 'one');

  lab.psk_fault = undefined;
  lab.psk = new Secret('two');
  await lab.moment(6000);
  t.ok(lab.keys.includes('ike_profile:node-10.9.0.3'));
  t.equal(keyOf(), 'two');
  t.strictSame(lab.deadly, []);
});

t.test('SRv6', async (t) => {
  const srv6 = { localsid_pool: 'fcff::/48', policy_pool: 'cafe::/118' };
  const key = (color: number) => srPolicyKey({ endpoint: 'fd00::2', color, distinguisher: 0 });
  const says = (sid: string, weight = 12) =>
    srPolicyText({
      bsid: `cafe::${weight}`,
      preference: 11,
      priority: 10,
      lists: [{ weight, segments: [sid], behavior: sid.endsWith('4') ? 'end_dt4' : 'end_dt6' }],
    });
  const two: CalicoNode = {
    ...nodeAt('two', '10.0.0.2'),
    ip6: { address: 'fd00::2', prefix: 'fd00::/64' },
  };
  const begin = async (
    t: Teardown,
    changes: Partial<ConnectivitySettings> = {},
    prepare?: (lab: Lab) => void,
  ) => {
    const lab = await Lab.start(t, { srv6, ...changes }, prepare);
    const told: (readonly string[])[] = [];
    const bgp = lab.kit.mailbox<SidsProgrammed>('bgp');
    bgp.on('SidsProgrammed', ({ own }) => void told.push(own?.sids.map(({ sid }) => sid) ?? []));
    await lab.ready();
    await lab.kit.tell({ type: 'SubscribeSids', subscriber: bgp.ref as unknown as LifeRef<SidsProgrammed> });
    return { lab, told };
  };
  const tell = async (lab: Lab): Promise<void> => {
    await lab.synced([pool('10.244.0.0/16'), pool('fd10::/48')]);
    await lab.told('Node', { two });
  };
  const routes = {
    '10.244.2.0/26': '10.0.0.2',
    'fd10::2:0/122': 'fd00::2',
    [key(4)]: says('fcff::2:d4'),
    [key(6)]: says('fcff::2:d6'),
  };
  const kept = (lab: Lab): readonly string[] => lab.keys.filter((each) => each.startsWith('srv6_'));

  t.test(
    'SIDs are told when VPP has them; policies that come and change leave nothing of before',
    async (t) => {
      const { lab, told } = await begin(t);
      await lab.moment();
      t.same(told, [], 'nothing is known of pools');
      await tell(lab);
      await lab.moment();
      t.match(told, [[/^fcff:.*:d4$/, /^fcff:.*:d6$/]]);
      t.ok(lab.software_checksums);
      await lab.routes(routes, true, true);
      await lab.moment();
      t.equal(lab.path('10.244.2.0/26'), 'lookup');
      t.match(await lab.describe(), { srv6: { two: /^IPv4: 1 prefixes by fcff::2:d4/ }, faulty_count: 0 });
      const before = kept(lab);
      await lab.routes({ [key(4)]: says('fcff::2:d4', 13) });
      await lab.moment();
      t.equal(kept(lab).length, before.length);
      t.ok(lab.keys.includes('srv6_policy:cafe::13') && !lab.keys.includes('srv6_policy:cafe::12'));
      await lab.routes({ [key(4)]: undefined, [key(6)]: undefined });
      await lab.moment();
      t.equal(kept(lab).length, 2, 'its own SIDs');
      t.equal(lab.path('10.244.2.0/26'), '10.0.0.2');
      t.same(told.length, 1, 'once');
      t.same(lab.deadly, []);
    },
  );

  t.test(
    'another VPP gets all of it again, and so does the next life, which leaves what is right',
    async (t) => {
      const { lab, told } = await begin(t);
      await tell(lab);
      await lab.routes(routes, true, true);
      await lab.moment();
      const all = lab.keys;
      await lab.die();
      await lab.ready();
      await lab.moment();
      t.same(lab.keys, all);
      t.same(told.length, 1, 'nobody is told that they were gone');
      const next = await begin(t, {}, (made) => {
        made.vpp = lab.vpp;
      });
      await tell(next.lab);
      await next.lab.routes(routes, true, true);
      await next.lab.moment();
      t.same(next.lab.takeDone(), [], 'nothing is done');
      await next.lab.routes({ [key(4)]: undefined, '10.244.2.0/26': undefined });
      await next.lab.moment();
      t.notOk(next.lab.keys.some((each) => each.includes('10.244.2.0') || each.includes('10.0.0.2')));
      t.same([...lab.deadly, ...next.lab.deadly], []);
    },
  );

  t.test('a life without it removes what one with it has left', async (t) => {
    const { lab } = await begin(t);
    await tell(lab);
    await lab.routes(routes, true, true);
    await lab.moment();
    const plain = await Lab.start(t, {}, (made) => {
      made.vpp = lab.vpp;
    });
    await plain.ready();
    await tell(plain);
    await plain.routes({ '10.244.2.0/26': '10.0.0.2', 'fd10::2:0/122': 'fd00::2' }, true, true);
    for (let turn = 0; turn < 4; turn += 1) await plain.moment();
    t.same(kept(plain), []);
    t.notOk(plain.vpp.objects.some((object) => object.kind === 'table' && object.name.startsWith('srv6-')));
    t.notOk(plain.keys.some((each) => each.startsWith('loopback')));
    t.equal(plain.path('10.244.2.0/26'), '10.0.0.2');
    t.same(plain.deadly, []);
  });

  t.test('a binding SID that VPP refuses is replaced by another one', async (t) => {
    const { lab } = await begin(t);
    lab.refusal = () => bsid_taken;
    lab.refuses = ({ object }) => object.kind === 'srv6_policy' && object.bsid === 'cafe::12';
    await tell(lab);
    await lab.routes({ ...routes, [key(6)]: undefined }, true, true);
    await lab.moment();
    await lab.moment();
    const policies = lab.keys.filter((each) => each.startsWith('srv6_policy'));
    t.match(policies, [/^srv6_policy:cafe::/]);
    t.not(policies[0], 'srv6_policy:cafe::12');
    t.equal(lab.path('10.244.2.0/26'), 'lookup');
    lab.refuses = ({ action, object }) => action === 'add' && object.kind === 'srv6_policy';
    await lab.routes({ [key(4)]: says('fcff::2:d4', 99) });
    for (let turn = 0; turn < 140; turn += 1) await lab.moment();
    t.equal(lab.path('10.244.2.0/26'), '10.0.0.2', 'where it makes none, as the pool says');
    t.same(
      lab.keys.filter((each) => /^srv6_(policy|steering)/.test(each)),
      [],
    );
  });

  t.test('a policy that VPP dies of is not tried by another binding SID', async (t) => {
    const { lab } = await begin(t);
    const tried = new Set<string>();
    lab.refusal = () => new QuarantinedError('srv6_policy: VPP died twice while it was programmed');
    lab.refuses = ({ action, object }) => {
      if (action === 'remove' || object.kind !== 'srv6_policy') return false;
      tried.add(object.bsid);
      return true;
    };
    await tell(lab);
    await lab.routes({ ...routes, [key(6)]: undefined }, true, true);
    for (let turn = 0; turn < 20; turn += 1) await lab.moment();
    t.same([...tried], ['cafe::12']);
    t.equal(lab.path('10.244.2.0/26'), '10.0.0.2', 'as the pool says');
    const named = {
      'SR policy of fd00::2, color 4': /announced otherwise, or VPP is another: .*VPP died twice/,
    };
    t.match(await lab.describe(), { faults: named, faulty_count: 1, refused_count: 0 });
    await lab.told('IPPool', { '10.244.0.0/16': pool('10.244.0.0/16', { nat_outgoing: true }) });
    await lab.moment();
    t.match(lab.path('10.244.2.0/26'), '10.0.0.2', 'whatever else changes');
    lab.refuses = () => false;
    await lab.die();
    await lab.ready();
    for (let turn = 0; turn < 4; turn += 1) await lab.moment();
    t.equal(lab.path('10.244.2.0/26'), 'lookup', 'another VPP is asked again');
    t.match(await lab.describe(), { faulty_count: 0 });
  });

  t.test('a binding SID that goes to another node is taken when nothing goes by it any more', async (t) => {
    const { lab } = await begin(t);
    await tell(lab);
    await lab.told('Node', {
      three: { ...nodeAt('three', '10.0.0.3'), ip6: { address: 'fd00::3', prefix: 'fd00::/64' } },
    });
    const of_three = srPolicyKey({ endpoint: 'fd00::3', color: 4, distinguisher: 0 });
    await lab.routes({ ...routes, '10.244.3.0/26': '10.0.0.3', [key(6)]: undefined }, true, true);
    await lab.moment();
    lab.holding = true;
    // Two transactions are on their way: what is wanted from here on waits, and the removal of the old policy with it.
    for (const prefix of ['10.244.2.64/26', '10.244.2.128/26']) {
      await lab.routes({ [prefix]: '10.0.0.2' });
      await lab.moment();
    }
    await lab.routes({ [key(4)]: says('fcff::2:d4', 13) });
    await lab.moment();
    await lab.routes({ [of_three]: says('fcff::3:d4', 12) });
    await lab.moment();
    await lab.answer();
    for (let turn = 0; turn < 4; turn += 1) await lab.moment();
    const steered = (prefix: string) =>
      lab.vpp.objects.flatMap((object) =>
        object.kind === 'srv6_steering' && object.prefix === prefix
          ? lab.vpp.objects.flatMap((each) =>
              each.kind === 'srv6_policy' && each.bsid === object.bsid ? each.lists[0]?.sids : [],
            )
          : [],
      );
    t.same(steered('10.244.2.0/26'), ['fcff::2:d4']);
    t.same(steered('10.244.3.0/26'), ['fcff::3:d4']);
    t.equal(lab.keys.filter((each) => each.startsWith('srv6_policy')).length, 2);
    t.same(lab.deadly, [], 'VPP refuses nothing');
    t.match(lab.gauges, { refused: 0, waiting: 0 });
  });

  t.test('a binding SID that an earlier life has left to another policy is not waited for', async (t) => {
    const { lab } = await begin(t, {}, (made) => {
      made.vpp = new StrictVpp([
        ...made.vpp.objects,
        {
          kind: 'srv6_policy',
          bsid: 'cafe::12',
          source: 'fd00::1',
          lists: [{ weight: 1, sids: ['fcff::9:d4'] }],
        },
      ]);
      made.holding = true;
    });
    await tell(lab);
    await lab.routes({ ...routes, [key(6)]: undefined }, true, true);
    await lab.moment();
    await lab.answer();
    for (let turn = 0; turn < 4; turn += 1) await lab.moment();
    t.equal(lab.path('10.244.2.0/26'), 'lookup');
    const policies = lab.vpp.objects.flatMap((each) => (each.kind === 'srv6_policy' ? each : []));
    t.match(policies, [{ lists: [{ sids: ['fcff::2:d4'] }] }]);
    t.match(lab.gauges, { refused: 0, waiting: 0 });
  });

  t.test('SIDs of another pool are told when VPP has them; until then those of before are', async (t) => {
    const { lab, told } = await begin(t, { writer: { ...at_once, linger_ms: 10_000 } });
    await tell(lab);
    await lab.moment();
    t.equal(told.length, 1);
    const before = kept(lab);
    lab.refuses = ({ action, object }) => action === 'add' && object.kind === 'srv6_local_sid';
    const name = 'sr-localsids-pool-own';
    await lab.told('IPPool', { [name]: { ...pool('fcff:0:0:11aa::/64'), name } });
    await lab.moment();
    for (let turn = 0; turn < 30; turn += 1) await lab.moment(1000);
    t.equal(told.length, 1, 'VPP has none of them');
    t.same(kept(lab), before, 'so others still send to those of before');
    lab.refuses = () => false;
    for (let turn = 0; turn < 80; turn += 1) await lab.moment(1000);
    const now = ['fcff:0:0:11aa::d4', 'fcff:0:0:11aa::d6'];
    t.same(told.slice(1), [now]);
    t.same(
      kept(lab),
      now.map((sid) => `srv6_local_sid:${sid}`),
    );
  });

  t.test('why it is not done is said', async (t) => {
    for (const [changes, node, why] of [
      [{ route_source: 'ipam' }, {}, /policies are told by BGP/],
      [{ encryption_required: true }, {}, /SRv6 does not encrypt/],
      [{}, { node: { ip4: '10.0.0.1' } }, /no IPv6 address/],
      [{ srv6: { ...srv6, localsid_pool: 'fcff::/100' } }, {}, /no room/],
    ] as const) {
      const lab = await Lab.start(t, { srv6, ...changes });
      const told: unknown[] = [];
      const bgp = lab.kit.mailbox<SidsProgrammed>('bgp');
      bgp.on('SidsProgrammed', ({ own }) => void told.push(own));
      await lab.ready(node);
      await lab.kit.tell({
        type: 'SubscribeSids',
        subscriber: bgp.ref as unknown as LifeRef<SidsProgrammed>,
      });
      await tell(lab);
      await lab.moment();
      t.match((await lab.describe()).faults, { SRv6: why });
      t.strictSame(
        told,
        [undefined],
        'nothing is announced, and what an earlier life has announced is not any more',
      );
      t.same(kept(lab), []);
    }
  });
});
