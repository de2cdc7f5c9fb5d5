/** The policies actor over sessions with stand-in VPPs in memory, between an uplink and a Felix that the test speaks for. */
import type { Test } from 'tap';
import { memoryFile } from '../../lab/memory-file.js';
import type { Npol } from '../../lab/vpp/npol.js';
import { type StandInVpp, startStandInVpp } from '../../lab/vpp/stand-in.js';
import type { ActorRef } from '../../src/actor-system.js';
import { policiesActor } from '../../src/actors/policies.js';
import type { FelixMessage, WorkloadKey } from '../../src/felix/messages.js';
import type { EndpointStatus, FelixActorMessage } from '../../src/messages/felix.js';
import type { InPlace, NodeFacts, SubscribeEarly } from '../../src/messages/node.js';
import type { PoliciesMessage, PoliciesQuestion, ShownPolicies } from '../../src/messages/policies.js';
import type { VppConnectionMessage } from '../../src/messages/vpp.js';
import type { InterfaceTag } from '../../src/objects/interfaces.js';
import type { VppObject } from '../../src/objects/object.js';
import { PolicedInterfaces } from '../../src/policies/policed-interfaces.js';
import type { PoliciesReport } from '../../src/policies/shown.js';
import type { Transaction } from '../../src/reconcile/transaction.js';
import { sessionOpener } from '../../src/vpp-conn/open-session.js';
import { Quarantine } from '../../src/vpp-conn/quarantine.js';
import type { Session } from '../../src/vpp-conn/session.js';
import { writer_settings_default } from '../../src/writer/object-writer.js';
import { type ActorKit, actorKit, type KitBase, type Teardown } from '../kit/actor-kit.js';
import type { Packet } from '../kit/policy-evaluator.js';
import {
  eth0,
  pod_key,
  podOf,
  pods,
  policyOf,
  ruleOf,
  type Scene,
  side,
  tierOf,
} from '../policies/scenes.js';

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
  /** Of which rounds the uplink was told that policies are in place. */
  readonly in_place: number[] = [];
  /** What becomes of a transaction before VPP hears of it. */
  before: (transaction: Transaction) => Error | undefined = () => undefined;
  /** What is told in place of VPP's answer, which has done what was asked. */
  after: (transaction: Transaction) => Error | undefined = () => undefined;
  /** Interfaces of a new VPP, in the order of their numbers. */
  names: readonly InterfaceTag[] = tags;
  /** Operations that the actor sends at a time: for its next life. */
  operations_max = 64;
  #identity = '';
  readonly registry = memoryFile();
  readonly quarantine = new Quarantine(memoryFile(), () => undefined);
  readonly #opener;

  private constructor(private readonly does_ike: boolean) {
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

  static async start(t: Teardown, { does_ike } = { does_ike: false }): Promise<PoliciesLab> {
    const lab = new PoliciesLab(does_ike);
    await lab.begin(t);
    return lab;
  }

  /** A felix actor in place of the mailbox. */
  makeFelix: ((kit: KitBase) => ActorRef<FelixActorMessage>) | undefined;

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
            (result) => {
              const lost = this.after(transaction);
              if (lost === undefined) reply.resolve(result);
              else reply.reject(lost);
            },
            (error: Error) => reply.reject(error),
          );
      });
      vpp.on('Read', ({ scopes, reply }) => {
        this.session?.read(scopes).then(
          (snapshot) => reply.resolve(snapshot),
          (error: Error) => reply.reject(error),
        );
      });
      const felix = kit.mailbox<FelixActorMessage>(this.makeFelix === undefined ? 'felix' : 'no-felix');
      felix.on('FelixTaken', () => {
        this.taken += 1;
      });
      felix.on('EndpointStatuses', ({ statuses }) => {
        this.statuses.push(...statuses);
      });
      const uplink = kit.mailbox<SubscribeEarly | InPlace>('uplink');
      uplink.on('InPlace', ({ of, round }) => {
        if (of === 'policies') this.in_place.push(round);
      });
      return policiesActor(
        {
          vpp: vpp.ref,
          uplink: uplink.ref,
          felix: this.makeFelix?.(kit) ?? felix.ref,
          interfaces: this.interfaces,
          report: (ask) => {
            this.report = ask;
          },
        },
        {
          writer: { ...writer_settings_default, operations_max: this.operations_max },
          does_ike: this.does_ike,
        },
      );
    });
  }

  /** A VPP begins that has nothing. */
  async newVpp(): Promise<void> {
    this.vpp?.kill();
    this.vpp = await startStandInVpp({ clock: this.kit.clock, pid: this.generation + 1 });
    this.#identity = `${this.generation + 1}`;
    await this.connect();
  }

  /** A connection to this VPP, and its interfaces. */
  async connect(): Promise<void> {
    const { clock, log } = this.kit;
    this.session?.close();
    const exited = new Promise<never>(() => undefined);
    const run = { pid: 1, identity: this.#identity, api_socket: '', adopted: false, exited };
    const opening = this.#opener(clock, log).open(run, 1000, never);
    this.session = await opening;
    this.generation += 1;
    if (!this.session.had_interfaces) await this.make(this.names);
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

  async nodeReady(more: Partial<NodeFacts> = {}): Promise<void> {
    await this.kit.tell({ type: 'NodeReady', ...this.#facts(), ...more });
    await this.rest();
  }

  /** VPP is there, and Linux has the uplinks. */
  async nodePrepared(): Promise<void> {
    await this.kit.tell({ type: 'NodePrepared', round: 1, ...this.#facts() });
    await this.rest();
  }

  /** VPP has the uplinks, which are down. */
  async uplinksMade(): Promise<void> {
    await this.kit.tell({ type: 'UplinksMade', generation: this.generation, round: 2 });
    await this.rest();
  }

  /** A take-over that is tried again: all of it in one turn. */
  async uplinksAgain(): Promise<void> {
    this.kit.ref.tell({ type: 'NodePrepared', round: 3, ...this.#facts() });
    this.kit.ref.tell({ type: 'UplinksMade', generation: this.generation, round: 4 });
    await this.rest();
  }

  #facts(): NodeFacts {
    return {
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
    };
  }

  putPod(): void {
    this.putPods({ pod: pod_key });
  }

  /** These are all pods, by the interface of each. */
  putPods(endpoints: Readonly<Record<InterfaceTag, WorkloadKey>>): void {
    for (const [tag, endpoint] of Object.entries(endpoints))
      this.interfaces.put(tag, { attachment: { kind: 'workload', endpoint }, addresses: pods });
    this.interfaces.complete('cni');
    this.interfaces.complete('connectivity');
  }

  nodeLost(): Promise<void> {
    return this.kit.tell({ type: 'NodeLost', generation: this.generation, reason: 'it has ended' });
  }

  async felixEnds(): Promise<void> {
    await this.kit.tell({ type: 'FelixEnded', stream: this.stream });
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

  show(question: PoliciesQuestion = {}): Promise<ShownPolicies> {
    return this.kit.ask<ShownPolicies>((reply) => ({ type: 'Show', question, reply }));
  }

  get npol() {
    return this.vpp.state.npol;
  }

  /** What npol has on each interface, whatever the numbers are. */
  content(names = this.names): Record<string, unknown> {
    return contentOf(this.npol, names);
  }
}

/** What npol has on interfaces whose numbers begin with 1, whatever the numbers of all else are. */
export function contentOf(npol: Npol, names: readonly InterfaceTag[]): Record<string, unknown> {
  return Object.fromEntries(names.map((tag, i) => [tag, onInterface(npol, i + 1)]));
}

function onInterface(npol: Npol, sw_if_index: number): unknown {
  const config = npol.interfaces.get(sw_if_index);
  if (config === undefined) return undefined;
  const { policy_ids, ...rest } = config;
  const set = (id: number) => {
    const found = npol.sets.get(id);
    return found && [found.type, ...found.members.map((member) => JSON.stringify(inOrder(member))).sort()];
  };
  const rule = (id: number) => {
    const value = npol.rules.get(id)?.value;
    return (
      value &&
      JSON.stringify(value, (key, part) =>
        key === 'set_id' && typeof part === 'number' ? set(part) : inOrder(part),
      )
    );
  };
  const policies = policy_ids.map((id) =>
    npol.policies.get(id)?.value.map(({ is_inbound, rule_id }) => [is_inbound, rule(rule_id)]),
  );
  return { ...(inOrder(rest) as object), policies };
}

/** Fields by name: VPP's messages have them in another order than who makes one. */
function inOrder(part: unknown): unknown {
  if (typeof part !== 'object' || part === null || Array.isArray(part)) return part;
  return Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** How many of each pool there are. */
export function countsOf({ sets, rules, policies }: Npol): Record<string, number> {
  return { sets: [...sets].length, rules: [...rules].length, policies: [...policies].length };
}

/** One pod, whose one policy lets a set in. */
export const isolated: Scene = {
  policies: {
    'NetworkPolicy a/1': policyOf([
      ruleOf('allow', {
        protocol: 'tcp',
        src: side({ sets: ['s:a'] }),
        dst: side({ ports: [{ first: 80, last: 80 }] }),
      }),
    ]),
  },
  profiles: { kns: { inbound: [ruleOf('allow')], outbound: [ruleOf('allow')] } },
  sets: { 's:a': ['10.0.0.3', 'fd00::3'] },
  pod: podOf([tierOf('default', 'deny', ['NetworkPolicy a/1'], [])], ['kns']),
};

export const tcp = (source: string, destination: string, destination_port: number): Packet => ({
  family: source.includes(':') ? 6 : 4,
  source,
  destination,
  protocol: 6,
  source_port: 30_000,
  destination_port,
});

/** Calls back after each message that changes what npol has. */
export function watched(lab: PoliciesLab, changed: () => void): () => void {
  const { npol } = lab;
  const names = ['setRule', 'setPolicy', 'remove', 'change', 'configure'] as const;
  const own = npol as unknown as Record<string, (...all: unknown[]) => unknown>;
  for (const name of names) {
    const as_it_was = own[name]!.bind(npol);
    own[name] = (...all) => {
      const result = as_it_was(...all);
      changed();
      return result;
    };
  }
  return () => {
    for (const name of names) delete own[name];
  };
}

/** VPP has all of it, and nothing else. Thousands are compared: only what differs is told. */
export function same(t: Test, lab: PoliciesLab, npol: Npol, where: string): void {
  const states = [lab.npol, npol].map((of) => ({ ...contentOf(of, lab.names), ...countsOf(of) }));
  const [is, wanted] = states as [Record<string, unknown>, Record<string, unknown>];
  for (const name of Object.keys(wanted))
    if (JSON.stringify(is[name]) !== JSON.stringify(wanted[name]))
      t.strictSame(is[name], wanted[name], `${where}: ${name}`);
}

export function unchanged(t: Test, lab: PoliciesLab, before: Record<string, unknown>, where: string): void {
  if (JSON.stringify(lab.content()) !== JSON.stringify(before)) t.strictSame(lab.content(), before, where);
}
