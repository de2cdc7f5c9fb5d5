/** The policies actor over sessions with stand-in VPPs in memory, between an uplink and a Felix that the test speaks for. */
import { memoryFile } from '../../lab/memory-file.js';
import { type StandInVpp, startStandInVpp } from '../../lab/vpp/stand-in.js';
import { type PoliciesReport, policiesActor } from '../../src/actors/policies.js';
import type { FelixMessage } from '../../src/felix/messages.js';
import type { EndpointStatus, FelixActorMessage } from '../../src/messages/felix.js';
import type { NodeReady, SubscribeNode } from '../../src/messages/node.js';
import type { PoliciesMessage, ShownPolicies } from '../../src/messages/policies.js';
import type { VppConnectionMessage } from '../../src/messages/vpp.js';
import type { InterfaceTag } from '../../src/objects/interfaces.js';
import type { VppObject } from '../../src/objects/object.js';
import { PolicedInterfaces } from '../../src/policies/policed-interfaces.js';
import type { Transaction } from '../../src/reconcile/transaction.js';
import { sessionOpener } from '../../src/vpp-conn/open-session.js';
import { Quarantine } from '../../src/vpp-conn/quarantine.js';
import type { Session } from '../../src/vpp-conn/session.js';
import { writer_settings_default } from '../../src/writer/object-writer.js';
import { type ActorKit, actorKit, type Teardown } from '../kit/actor-kit.js';
import { eth0, pod_key, pods } from '../policies/scenes.js';

const never = new AbortController().signal;

/** In the order of their numbers, from 1; as `points` of the scenes. */
export const tags: readonly InterfaceTag[] = ['pod', 'host-eth0', 'main-eth0'];

export class PoliciesLab {
  kit!: ActorKit<PoliciesMessage>;
  vpp!: StandInVpp;
  session: Session | undefined;
  interfaces = new PolicedInterfaces();
  report!: () => PoliciesReport;
  generation = 0;
  /** Of the stream that is told. */
  stream = 0;
  readonly statuses: EndpointStatus[] = [];
  /** Transactions of the actor, as they were sent. */
  readonly transactions: Transaction[] = [];
  taken = 0;
  /** What becomes of a transaction before VPP hears of it. */
  before: (transaction: Transaction) => Error | undefined = () => undefined;
  readonly registry = memoryFile();
  readonly quarantine = new Quarantine(memoryFile(), () => undefined);
  readonly #opener;

  private constructor() {
    this.#opener = (clock: ActorKit<PoliciesMessage>['clock'], log: ActorKit<PoliciesMessage>['log']) =>
      sessionOpener({
        request_ms: 15_000,
        waited_ms: () => 0,
        registry: this.registry,
        quarantine: this.quarantine,
        clock,
        log,
        transport: () => this.vpp.transport(),
      });
  }

  static async start(t: Teardown): Promise<PoliciesLab> {
    const lab = new PoliciesLab();
    await lab.begin(t);
    return lab;
  }

  /** Another life of the process, over the same VPP. */
  async begin(t: Teardown): Promise<void> {
    this.session?.close();
    this.interfaces = new PolicedInterfaces();
    this.kit = await actorKit<PoliciesMessage>(t, (kit) => {
      const vpp = kit.mailbox<VppConnectionMessage>('vpp');
      vpp.on('Transact', ({ transaction, reply }) => {
        this.transactions.push(transaction);
        const error = this.before(transaction);
        if (error !== undefined) return reply.reject(error);
        this.session
          ?.execute(transaction, () => reply.expired())
          .then(
            (result) => reply.resolve(result),
            (error: Error) => reply.reject(error),
          );
      });
      vpp.on('Read', ({ scopes, reply }) => {
        this.session?.read(scopes).then(
          (snapshot) => reply.resolve(snapshot),
          (error: Error) => reply.reject(error),
        );
      });
      const felix = kit.mailbox<FelixActorMessage>('felix');
      felix.on('FelixTaken', () => {
        this.taken += 1;
      });
      felix.on('EndpointStatuses', ({ statuses }) => {
        this.statuses.push(...statuses);
      });
      return policiesActor(
        {
          vpp: vpp.ref,
          uplink: kit.mailbox<SubscribeNode>('uplink').ref,
          felix: felix.ref,
          interfaces: this.interfaces,
          report: (ask) => {
            this.report = ask;
          },
        },
        { writer: { ...writer_settings_default, operations_max: 64 } },
      );
    });
  }

  /** A VPP begins that has nothing. */
  async newVpp(): Promise<void> {
    this.vpp?.kill();
    this.vpp = await startStandInVpp({ clock: this.kit.clock, pid: this.generation + 1 });
    await this.connect(`${this.generation + 1}`);
  }

  /** A connection to this VPP, and its interfaces. */
  async connect(identity = `${this.generation}`): Promise<void> {
    const { clock, log } = this.kit;
    this.session?.close();
    const exited = new Promise<never>(() => undefined);
    const run = { pid: 1, identity, api_socket: '', adopted: false, exited };
    const opening = this.#opener(clock, log).open(run, 1000, never);
    this.session = await opening;
    this.generation += 1;
    if (!this.session.had_interfaces) await this.make(tags);
    else await this.session.read(['node', 'pods', 'nobody']);
  }

  async make(names: readonly InterfaceTag[]): Promise<void> {
    for (const tag of names) await this.own([{ action: 'add', object: { kind: 'loopback', tag } }]);
  }

  /** Something that other owners do. */
  async own(operations: readonly { action: 'add' | 'remove'; object: VppObject }[]): Promise<void> {
    const { error } = await this.session!.execute(
      { generation: this.generation, owner: 'node', operations, on_error: 'continue', urgency: 'prompt' },
      () => false,
    );
    if (error !== undefined) throw error;
  }

  async nodeReady(): Promise<void> {
    await this.kit.tell({
      type: 'NodeReady',
      generation: this.generation,
      vpp: `${this.generation}`,
      mtu: 1500,
      node: {},
      uplinks: [eth0],
      main_uplink: 'main-eth0',
      subnets: {},
      redirects: [],
      buffers_taken: 0,
      workers: 0,
    } satisfies NodeReady);
    await this.rest();
  }

  putPod(): void {
    const attachment = { kind: 'workload', endpoint: pod_key } as const;
    this.interfaces.put('pod', { attachment, addresses: pods });
    this.interfaces.complete();
  }

  /** A new Felix, which tells all this. */
  async felix(messages: readonly FelixMessage[]): Promise<void> {
    this.stream += 1;
    await this.kit.tell({ type: 'FelixBegan', stream: this.stream });
    await this.tell(messages);
  }

  async tell(messages: readonly FelixMessage[]): Promise<void> {
    await this.kit.tell({ type: 'FelixTold', stream: this.stream, messages });
    await this.rest();
  }

  /** Until nothing is on its way to the stand-in. */
  async rest(): Promise<void> {
    for (let quiet = 0; quiet < 3; quiet += 1) {
      await this.kit.settle();
      for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      if (this.kit.ref.path !== '' && this.busy()) quiet = -1;
    }
  }

  busy(): boolean {
    const { waiting = 0 } = this.gauges();
    return this.session !== undefined && waiting > 0;
  }

  gauges(): Record<string, number> {
    return this.kit.node().gauges as Record<string, number>;
  }

  show(): Promise<ShownPolicies> {
    return this.kit.ask<ShownPolicies>((reply) => ({ type: 'Show', reply }));
  }

  get npol() {
    return this.vpp.state.npol;
  }

  /** What npol has on each interface, whatever the numbers are. */
  content(): Record<string, unknown> {
    return Object.fromEntries(tags.map((tag, i) => [tag, this.contentOf(i + 1)]));
  }

  contentOf(sw_if_index: number): unknown {
    const { npol } = this;
    const config = npol.interfaces.get(sw_if_index);
    if (config === undefined) return undefined;
    const { policy_ids, ...rest } = config;
    const set = (id: number) => {
      const found = npol.sets.get(id);
      return found && [found.type, ...found.members.map((member) => JSON.stringify(member)).sort()];
    };
    const rule = (id: number) => {
      const value = npol.rules.get(id)?.value;
      return (
        value &&
        JSON.stringify(value, (key, part) =>
          key === 'set_id' && typeof part === 'number' ? set(part) : part,
        )
      );
    };
    const policies = policy_ids.map((id) =>
      npol.policies.get(id)?.value.map(({ is_inbound, rule_id }) => [is_inbound, rule(rule_id)]),
    );
    return { ...rest, policies };
  }
}
