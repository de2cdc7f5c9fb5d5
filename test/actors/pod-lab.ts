/** A node for the tests of the CNI and pod actors: a VPP that keeps objects, Linux in memory, records in memory. */
import { create } from '@bufbuild/protobuf';
import { FakeHostNetwork } from '../../lab/fake-host-network.js';
import type { TurnedClock } from '../../lab/turned-clock.js';
import { cniActor } from '../../src/actors/cni.js';
import { AddRequestSchema, DelRequestSchema } from '../../src/cni/generated/cni_pb.js';
import type { CniHandlers } from '../../src/cni/server.js';
import { interface_spec_default } from '../../src/config/interface-spec.js';
import { NetworkAddresses } from '../../src/desired/network-addresses.js';
import { default_table } from '../../src/desired/tables.js';
import { OWN_NAMESPACE_PATH } from '../../src/linux/network.js';
import type { CniMessage } from '../../src/messages/cni.js';
import type { InPlace, NodeFacts, NodeReady, SubscribeEarly } from '../../src/messages/node.js';
import type { VppConnectionMessage } from '../../src/messages/vpp.js';
import type { VppObject } from '../../src/objects/object.js';
import { isDangling } from '../../src/objects/object.js';
import type { PodRecord } from '../../src/pod/record.js';
import type { PodKey } from '../../src/pod/spec.js';
import type { CniDeps } from '../../src/pods/cni-deps.js';
import type { PodStore } from '../../src/pods/pod-records.js';
import type { PodStateProblem } from '../../src/pods/pod-state.js';
import type { Settledness } from '../../src/pods/settling.js';
import { SoftwareChecksums } from '../../src/pods/software-checksums.js';
import { PolicedInterfaces } from '../../src/policies/policed-interfaces.js';
import type { Operation, Outcome } from '../../src/reconcile/operation.js';
import { applyOutcomes } from '../../src/reconcile/reconcile.js';
import type { Scope, Snapshot } from '../../src/reconcile/snapshot.js';
import type { TransactionResult } from '../../src/reconcile/transaction.js';
import { TranslationOwners } from '../../src/reconcile/translation-owners.js';
import { type ActorKit, actorKit, type KitBase, type Teardown } from '../kit/actor-kit.js';

type Transact = Extract<VppConnectionMessage, { type: 'Transact' }>;
type Read = Extract<VppConnectionMessage, { type: 'Read' }>;

/** The address of the n-th pod, as the plugin sends it. */
export function podAddress(n: number): string {
  return `10.0.${n >> 8}.${n & 255}/24`;
}

export class CodedError extends Error {
  constructor(
    readonly code: string,
    text: string = code,
  ) {
    super(text);
  }
}

/** Carries out transactions on objects, with the devices that Linux gets by them. */
export class FakeVpp {
  objects: VppObject[] = [];
  /** Keys of those that the registry is not sure of. */
  unsure: ReadonlySet<string> = new Set();
  generation = 1;
  readonly indexes = new Map<string, number>();
  readonly transactions: { readonly at_ms: number; readonly message: Transact }[] = [];
  /** Answers nothing until `answer`. */
  holding = false;
  /** Answers no such message until `answer`. */
  holdsBack: (message: Transact | Read) => boolean = () => false;
  /** The next transaction tells of it. */
  lost_state = false;
  /** What VPP refuses. */
  refuses: (operation: Operation) => string | undefined = () => undefined;
  readonly #held: (Transact | Read)[] = [];
  #last_index = 0;
  /** The namespace of each tap. */
  readonly #made_in = new Map<string, string | undefined>();

  constructor(
    private readonly host: FakeHostNetwork,
    private readonly clock: TurnedClock,
  ) {}

  take(message: Transact | Read): void {
    if (message.type === 'Transact') this.transactions.push({ at_ms: this.clock.now_ms(), message });
    if (this.holding || this.holdsBack(message)) this.#held.push(message);
    else this.#serve(message);
  }

  get heldBack(): number {
    return this.#held.length;
  }

  /** Does what was held back, and answers. */
  answer(): void {
    this.holding = false;
    this.holdsBack = () => false;
    for (const message of this.#held.splice(0)) this.#serve(message);
  }

  /** Does what was held back, but the answer gets lost. */
  loseAnswers(): void {
    this.holding = false;
    for (const message of this.#held.splice(0)) if (message.type === 'Transact') this.#execute(message);
  }

  /** Never answers what is held back, nor does it. */
  forget(): void {
    this.holding = false;
    this.#held.length = 0;
  }

  /** Answers all that is held back with an error, without doing it. */
  fail(code: string): void {
    this.holding = false;
    for (const { reply } of this.#held.splice(0)) reply.reject(new CodedError(code));
  }

  /** A new VPP: empty. Devices of the old one stay in Linux. */
  die(): void {
    this.objects = [];
    this.indexes.clear();
    this.generation += 1;
    this.fail('stale_generation');
  }

  snapshot(scopes: readonly Scope[] = ['pods', 'pod_routes', 'services', 'nobody']): Snapshot {
    const isRead = (object: VppObject): boolean => {
      if (object.kind === 'translation') return scopes.includes('services');
      if (isDangling(object)) return scopes.includes('nobody');
      const is_pod_route = object.kind === 'route' && object.table_id === default_table;
      return scopes.includes(is_pod_route ? 'pod_routes' : 'pods');
    };
    return {
      objects: this.objects.filter(isRead),
      unsure: this.unsure,
      interfaces: [...this.indexes].map(([tag, sw_if_index]) => ({
        tag,
        sw_if_index,
        name: `tun${sw_if_index}`,
        dev_type: 'virtio',
      })),
    };
  }

  kinds(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { kind } of this.objects) counts[kind] = (counts[kind] ?? 0) + 1;
    return counts;
  }

  #serve(message: Transact | Read): void {
    if (message.type === 'Read') return message.reply.resolve(this.snapshot(message.scopes));
    if (message.transaction.generation !== this.generation)
      return message.reply.reject(new CodedError('stale_generation'));
    message.reply.resolve(this.#execute(message));
  }

  #execute({ transaction }: Transact): TransactionResult {
    const { operations, on_error } = transaction;
    const interfaces = new Map<string, number>();
    const outcomes: Outcome[] = [];
    let error: Error | undefined;
    for (const operation of operations) {
      const cause =
        error !== undefined && on_error === 'rollback'
          ? 'not sent'
          : (this.refuses(operation) ?? this.#device(operation, interfaces));
      if (cause === undefined) outcomes.push({ operation });
      else {
        error ??= new Error(cause);
        outcomes.push({ operation, error: new Error(cause) });
      }
    }
    for (const tag of interfaces.keys()) transaction.interface_made?.(tag);
    if (error !== undefined && on_error === 'rollback') {
      for (const [at, { operation, error: refused }] of outcomes.entries()) {
        if (refused !== undefined || operation.action !== 'add') continue;
        this.#device({ action: 'remove', object: operation.object }, new Map());
        outcomes[at] = { operation, error: new Error('undone') };
      }
    }
    this.objects = applyOutcomes(this.objects, outcomes);
    const { lost_state } = this;
    this.lost_state = false;
    return { outcomes, interfaces, ...(lost_state && { lost_state }), ...(error && { error }) };
  }

  #device({ action, object }: Operation, made: Map<string, number>): string | undefined {
    if (object.kind !== 'tap') return undefined;
    const { host_namespace, host_if_name, tag } = object;
    if (action === 'remove') {
      this.indexes.delete(tag);
      // It has the device itself, whatever its path leads to.
      if (this.host.identify(host_namespace) !== this.#made_in.get(tag)) return undefined;
      const namespace = this.host.open(host_namespace);
      const link = namespace.link(host_if_name);
      if (link !== undefined) namespace.apply({ do: 'delete_link', link: link.index });
      return undefined;
    }
    if (!this.host.exists(host_namespace)) return 'tap_create_v3: -12 netns not found';
    const link = this.host.open(host_namespace).link(host_if_name);
    if (link !== undefined && link.kind !== 'tun') return 'tap_create_v3: -13 tun ioctl failed';
    if (link === undefined)
      this.host.addVirtual({ name: host_if_name, mac: '02:00:00:00:00:01', kind: 'tun' }, host_namespace);
    this.host.takeUp(host_if_name, object.host_mtu, host_namespace);
    this.#last_index += 1;
    this.indexes.set(tag, this.#last_index);
    this.#made_in.set(tag, this.host.identify(host_namespace));
    made.set(tag, this.#last_index);
    return undefined;
  }
}

/** Records in memory, with the writes counted and failing on demand. */
export class FakeStore implements PodStore {
  readonly records = new Map<PodKey, PodRecord>();
  readonly writes: string[] = [];
  problems: PodStateProblem[] = [];
  full = false;

  load() {
    return { records: [...this.records.values()], problems: this.problems };
  }

  put(record: PodRecord): void {
    if (this.full)
      throw new CodedError('ENOSPC', `the state of ${record.spec.key} cannot be written: free space`);
    this.writes.push(record.phase);
    this.records.set(record.spec.key, record);
  }

  mend(records: Iterable<PodRecord>): number {
    const missing = [...records].filter(({ spec }) => !this.records.has(spec.key));
    if (!this.full) for (const record of missing) this.put(record);
    return missing.length;
  }

  remove(key: PodKey): void {
    if (this.full) throw new CodedError('ENOSPC', `the state of ${key} cannot be removed: free space`);
    this.writes.push('removed');
    this.records.delete(key);
  }
}

export interface PodAsk {
  readonly ips?: readonly string[];
  readonly mtu?: number;
  readonly ifname?: string;
  readonly network?: string;
  readonly annotations?: Record<string, string>;
  readonly ports?: { protocol: string; port: number; hostPort: number }[];
  readonly deadline_ms?: number;
  readonly signal?: AbortSignal;
  /** Another sandbox of the pod: the name of its namespace. */
  readonly sandbox?: string;
  /** The namespace is not made. */
  readonly without_netns?: true;
}

export type Answer = {
  successful?: boolean;
  errorMessage?: string;
  hostInterfaceName?: string;
  containerMac?: string;
};

/** A call under way. */
export interface Call {
  answer: Answer | undefined;
  at_ms: number | undefined;
}

export class PodLab {
  readonly checksums = new SoftwareChecksums();
  readonly host = new FakeHostNetwork();
  readonly store = new FakeStore();
  readonly translations = new TranslationOwners();
  readonly policed = new PolicedInterfaces();
  readonly addresses = new NetworkAddresses();
  goState: string | undefined;
  settledness: Settledness | undefined;
  vpp!: FakeVpp;
  kit!: ActorKit<CniMessage>;
  handlers!: CniHandlers;
  serverStops = 0;
  subscriptions = 0;
  /** Of which rounds the uplink was told that pods are in place. */
  readonly in_place: number[] = [];
  #ready_generation = 0;

  async start(t: Teardown, changes: Partial<CniDeps> = {}): Promise<this> {
    this.kit = await actorKit<CniMessage>(t, (kit) => cniActor({ ...this.deps(kit), ...changes }));
    return this;
  }

  deps(kit: KitBase): CniDeps {
    this.vpp ??= new FakeVpp(this.host, kit.clock);
    const vpp = kit.mailbox<VppConnectionMessage>('vpp');
    vpp.on('Transact', (message) => this.vpp.take(message));
    vpp.on('Read', (message) => this.vpp.take(message));
    const uplink = kit.mailbox<SubscribeEarly | InPlace>('uplink');
    uplink.on('SubscribeEarly', () => {
      this.subscriptions += 1;
    });
    uplink.on('InPlace', ({ of, round }) => {
      if (of === 'pods') this.in_place.push(round);
    });
    return {
      vpp: vpp.ref,
      uplink: uplink.ref,
      host: this.host,
      store: this.store,
      startServer: async (handlers) => {
        this.handlers = handlers;
        return {
          callsInProgress: () => 0,
          stop: async () => {
            this.serverStops += 1;
          },
        };
      },
      readGoState: () => this.goState,
      report: (state) => {
        this.settledness = state;
      },
      node_namespaces: [OWN_NAMESPACE_PATH],
      translations: this.translations,
      policed: this.policed,
      addresses: this.addresses,
      checksums: this.checksums,
      limits: () => ({
        default_spec: interface_spec_default,
        gates: { memif: false, vcl: false, multinet: true },
        source_spoofing: 'Any',
      }),
      settings: {
        gso: true,
        buffers_wanted: 0,
        default_verdict: 'allow',
        drop_other_protocols: false,
        collect_ms: 60_000,
        audit_ms: 60_000,
        settle_ms: 30_000,
      },
    };
  }

  /** VPP is there, with what it holds. */
  async ready(changes: Partial<NodeReady> = {}): Promise<void> {
    await this.kit.tell({ type: 'NodeReady', ...this.#facts(), ...changes });
  }

  /** VPP is there, and Linux has the uplinks. */
  async prepared(round: number): Promise<void> {
    await this.kit.tell({ type: 'NodePrepared', round, ...this.#facts() });
  }

  #facts(): NodeFacts {
    this.#ready_generation = this.vpp.generation;
    return {
      generation: this.vpp.generation,
      vpp: 'vpp',
      workers: 0,
      mtu: 1500,
      node: { ip4: '192.0.2.1', ip6: '2001:db8::1' },
      main_uplink: 'main-eth0',
      subnets: { ip4: '192.0.2.0/24', ip6: '2001:db8::/64' },
      redirects: [],
      buffers_taken: 0,
      networks: ['red', 'blue'].map((name, at) => ({
        name,
        vni: 4097 + at,
        range: '172.16.0.0/12',
        physical_network: '',
        underlay: { table_id: 0, ip4: '192.0.2.1', ip6: '2001:db8::1', mtu: 1500 },
      })),
    };
  }

  /** With its connection to VPP, whether that lives or not. */
  async lost(): Promise<void> {
    const generation = this.#ready_generation;
    this.vpp.generation = Math.max(this.vpp.generation, generation + 1);
    await this.kit.tell({ type: 'NodeLost', generation, reason: 'the connection to VPP is lost' });
  }

  netns(name: string): string {
    return `/var/run/netns/${name}`;
  }

  makeNetns(name: string): void {
    this.host.createNamed(name);
  }

  dropNetns(name: string): void {
    this.host.removeNamed(name);
  }

  /** Begins an ADD as the plugin sends it; `name` is also that of the pod's namespace. */
  begin(name: string, ask: PodAsk = {}): Call {
    const { ips = ['10.0.0.1/24'], ifname = 'eth0', ports = [], network } = ask;
    const sandbox = ask.sandbox ?? name;
    if (!ask.without_netns) this.makeNetns(sandbox);
    const request = create(AddRequestSchema, {
      interfaceName: ifname,
      netns: this.netns(sandbox),
      settings: { mtu: ask.mtu ?? 0, allowIpForwarding: false },
      containerIps: ips.map((address) => ({ address })),
      containerRoutes: ['0.0.0.0/0', '::/0'],
      dataplaneOptions: network === undefined ? {} : { network_name: network },
      workload: {
        namespace: 'default',
        pod: name,
        endpoint: 'eth0',
        orchestrator: 'k8s',
        annotations: ask.annotations ?? {},
        ports: ports.map((port) => ({ ...port, name: '', hostIp: '' })),
      },
    });
    return this.#call(this.handlers.add(request, this.#caller(ask)));
  }

  beginDel(name: string, ask: PodAsk = {}): Call {
    const request = create(DelRequestSchema, {
      interfaceName: ask.ifname ?? 'eth0',
      netns: this.netns(name),
    });
    return this.#call(this.handlers.del(request, this.#caller(ask)));
  }

  async add(name: string, ask: PodAsk = {}): Promise<Answer | undefined> {
    const call = this.begin(name, ask);
    await this.kit.settle();
    return call.answer;
  }

  async del(name: string, ask: PodAsk = {}): Promise<Answer | undefined> {
    const call = this.beginDel(name, ask);
    await this.kit.settle();
    return call.answer;
  }

  /** Pods `p0`, `p1` ... with the addresses of `podAddress(1)`, `podAddress(2)` ..., all at once. */
  async population(count: number): Promise<void> {
    const calls = Array.from({ length: count }, (_, n) => this.begin(`p${n}`, { ips: [podAddress(n + 1)] }));
    await this.kit.settle();
    for (const { answer } of calls)
      if (!answer?.successful) throw new Error(answer?.errorMessage ?? 'no answer');
  }

  /** Transactions that removed interfaces. */
  removals(): { at_ms: number; tags: string[] }[] {
    return this.vpp.transactions.flatMap(({ at_ms, message }) => {
      const tags = message.transaction.operations.flatMap(({ action, object }) =>
        action === 'remove' && object.kind === 'tap' ? object.tag : [],
      );
      return tags.length === 0 ? [] : [{ at_ms, tags }];
    });
  }

  record(name: string, ifname = 'eth0'): PodRecord | undefined {
    return this.store.records.get(`netns:${this.netns(name)},if:${ifname}`);
  }

  phase(name: string): string {
    return this.record(name)?.phase ?? 'none';
  }

  /** Names of the pods that have an actor. */
  get pods(): string[] {
    return this.kit.children.map((name) => name.replace(/^default\/(\S+) eth0(?: \(.*\))?$/, '$1'));
  }

  podPath(name: string, ifname = 'eth0'): string {
    return `root/cni/default/${name} ${ifname}`;
  }

  /** What VPP holds of pods, without the node's own. */
  get programmed(): number {
    return this.vpp.objects.length;
  }

  #caller({ deadline_ms = 4750, signal = new AbortController().signal }: PodAsk) {
    return { deadline_ms: this.kit.clock.now_ms() + deadline_ms, signal };
  }

  #call(work: Promise<Answer>): Call {
    const call: Call = { answer: undefined, at_ms: undefined };
    const settle = (answer: Answer): void => {
      call.answer = answer;
      call.at_ms = this.kit.clock.now_ms();
    };
    work.then(settle, (error: Error) => settle({ successful: false, errorMessage: error.message }));
    return call;
  }
}

export async function podLab(t: Teardown): Promise<PodLab> {
  const lab = await new PodLab().start(t);
  await lab.ready();
  return lab;
}
