/**
 * Has VPP's npol enforce what Felix says. State is what was told: Felix's stream, the interfaces, the node's addresses. What follows from a
 * change is compiled and written with the next turn. What Felix says counts from its InSync on: before the first one whatever VPP has of an
 * earlier life stays in force, and a pod whose interface this process has made is open to its own node, as Calico always has it, and to nobody else.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Actor, ActorContext, ActorRef, ChildSpec } from '../actor-system.js';
import { hostTapTag, uplinkTag } from '../desired/node-inputs.js';
import { AddressSet } from '../felix/address-set.js';
import type { EndpointState } from '../felix/encode.js';
import { FelixIntake } from '../felix/intake.js';
import { parsePrefixText } from '../felix/members.js';
import { type FelixModel, type FelixState, isAnything } from '../felix/model.js';
import { no_port } from '../felix/set.js';
import type { FelixActorMessage } from '../messages/felix.js';
import type { InPlace, NodePrepared, NodeThere, SubscribeEarly, UplinksMade } from '../messages/node.js';
import type {
  PoliciesMessage,
  PoliciesQuestion,
  ShownInterface,
  ShownPolicies,
} from '../messages/policies.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import { local_pods } from '../objects/npol.js';
import { type Attachment, PolicyCompiler } from '../policies/compiler.js';
import { EndpointStatuses } from '../policies/endpoint-statuses.js';
import type { HostInterface } from '../policies/host-endpoints.js';
import { NamedNetworks } from '../policies/named-networks.js';
import { interfaceObject } from '../policies/objects.js';
import type { PolicedInterfaces, TakenInterface } from '../policies/policed-interfaces.js';
import { isAskedFor, judgementOf, type PoliciesReport } from '../policies/shown.js';
import { TunnelNetworks } from '../policies/tunnel-networks.js';
import { WorkloadTags } from '../policies/workload-tags.js';
import { NpolWriter } from '../writer/npol-writer.js';
import { type WriterSettings, writer_settings_default } from '../writer/object-writer.js';
import { inPieces, Turns } from '../writer/turns.js';

export interface PoliciesDeps {
  readonly vpp: ActorRef<VppConnectionMessage>;
  readonly uplink: ActorRef<SubscribeEarly | InPlace>;
  readonly felix: ActorRef<FelixActorMessage>;
  readonly interfaces: PolicedInterfaces;
  /** Told once in each life how to ask for the report of it. */
  readonly report: (ask: () => PoliciesReport) => void;
}

export interface PoliciesSettings {
  readonly writer: WriterSettings;
  /** VPP's IKE listens at the node's addresses: pods do not reach it. */
  readonly does_ike: boolean;
}

export const policies_settings_default: PoliciesSettings = {
  writer: writer_settings_default,
  does_ike: false,
};

/** Rules with policies and interfaces that are compiled before others may have their turn: about a millisecond. */
const compiled_piece = 64;
const named_max = 100;
const shown_max = 1000;

export function policiesActor(
  deps: PoliciesDeps,
  settings: PoliciesSettings = policies_settings_default,
): ChildSpec<PoliciesMessage> {
  return {
    name: 'policies',
    restart: 'permanent',
    shutdown_ms: 1000,
    mailbox_max: 1024,
    handler_ms_max: 10_000,
    start: (ctx) => {
      const actor = new PoliciesActor(ctx, deps, settings);
      actor.begin();
      return actor;
    },
  };
}

/** Of one interface. */
const uses_max = 50;

class PoliciesActor implements Actor<PoliciesMessage> {
  private readonly intake: FelixIntake;
  private readonly model: FelixModel;
  private readonly compiler: PolicyCompiler;
  private readonly writer: NpolWriter;
  private readonly interfaces = new Map<InterfaceTag, TakenInterface>();
  /** Interfaces of the node itself. */
  private readonly own = new Map<InterfaceTag, Attachment>();
  /** The uplink that carries tunnels. */
  private carrier: HostInterface | undefined;
  private readonly networks = new TunnelNetworks();
  /** Tunnels of which nobody knows what network they are of, and what VPP judges them by is an earlier life's. */
  private readonly of_unknown = new Set<InterfaceTag>();
  private readonly named = new NamedNetworks();
  /** Felix has told everything once: all interfaces are judged by it. */
  private has_spoken = false;
  private pods = new AddressSet();
  private pods_changed = false;
  private node: NodeThere | undefined;
  /** The last VPP that was prepared, before its uplinks are there. */
  private prepared: NodePrepared | undefined;
  /** Uplinks are kept down until VPP has what they are judged by. */
  private made: UplinksMade | undefined;
  /** Of the last node that was lost: news of it, or of an earlier one, are void. */
  private lost = 0;
  private readonly turns: Turns;
  private readonly statuses = new EndpointStatuses();
  private readonly tags = new WorkloadTags();

  constructor(
    private readonly ctx: ActorContext<PoliciesMessage>,
    private readonly deps: PoliciesDeps,
    settings: PoliciesSettings,
  ) {
    this.turns = new Turns(ctx);
    this.intake = new FelixIntake(
      (stream) => deps.felix.tell({ type: 'FelixTaken', stream }),
      // Once for each object: a Felix that says what is of no use says it by the thousand.
      ({ object, why }) => ctx.log.warn({ object }, `policies(felix) ${object}: ${why}`),
    );
    this.model = this.intake.model;
    this.compiler = new PolicyCompiler(settings);
    const sets = {
      get: (id: string) =>
        id === local_pods
          ? { members: (port: number) => (port === no_port ? this.pods : undefined) }
          : this.model.live?.sets.get(id),
    };
    this.writer = new NpolWriter(
      ctx,
      { vpp: deps.vpp, objects: this.compiler.objects, sets },
      settings.writer,
    );
  }

  begin(): void {
    const { deps, ctx } = this;
    deps.report(() => this.report());
    deps.interfaces.hear(() => ctx.tellSelf({ type: 'InterfacesChanged' }));
    deps.uplink.tell({ type: 'SubscribeEarly', subscriber: ctx.self });
    deps.felix.tell({ type: 'SubscribeFelix', subscriber: ctx.this_life });
  }

  receive(message: PoliciesMessage): void {
    switch (message.type) {
      case 'NodePrepared':
      case 'NodeReady':
        return this.nodeReady(message);
      case 'UplinksMade':
        return this.uplinksMade(message);
      case 'NodeLost':
        this.lost = message.generation;
        if ((this.writer.generation ?? 0) <= message.generation) this.writer.lost();
        return;
      case 'FelixBegan':
        this.intake.begins(message.stream);
        return this.turns.news();
      case 'FelixTold':
        this.intake.tells(message);
        return this.turns.news();
      case 'FelixEnded':
        this.intake.ends(message.stream);
        return this.turns.news();
      case 'InterfacesChanged':
        return this.turns.news();
      case 'Show':
        return message.reply.resolve(this.show(message.question));
      case 'Work':
        this.turns.heard();
        return this.work();
      default:
        this.writer.hear(message);
        return this.turns.news();
    }
  }

  gauges() {
    const { counts } = this.compiler.objects;
    const { sets, rules, policies, interfaces, waiting, refused } = this.writer.gauges();
    return {
      stream: this.intake.stream ?? -1,
      sets,
      rules,
      policies,
      interfaces,
      desired: counts.sets + counts.rules + counts.policies + counts.interfaces,
      in_vpp: sets + rules + policies + interfaces,
      waiting,
      refused,
    };
  }

  describe() {
    const { live } = this.model;
    return {
      generation: this.writer.generation,
      stream: this.intake.stream,
      felix: live && {
        sets: live.sets.size,
        policies: live.policies.size,
        profiles: live.profiles.size,
        workloads: live.workloads.size,
        hosts: live.hosts.size,
      },
      npol: this.compiler.objects.counts,
      writer: this.writer.gauges(),
      ...this.report(),
    };
  }

  private report(): PoliciesReport {
    const refusals: Record<string, readonly string[]> = {};
    let left = named_max;
    for (const tag of this.compiler.objects.tags) {
      if (left === 0) break;
      const texts = this.refusalsOf(tag);
      if (texts.length === 0) continue;
      refusals[tag] = texts.slice(0, named_max);
      left -= 1;
    }
    return {
      waits: this.waits(),
      problems: {
        ...this.intake.problems,
        ...(this.networks.known && this.named.faults(this.networks.known)),
      },
      config: this.compiler.problems,
      refusals,
      refused: this.writer.refused(),
    };
  }

  private waits(): string {
    if (this.writer.generation === undefined) return 'VPP cannot be programmed yet';
    if (this.model.live !== undefined) return '';
    if (this.intake.stream === undefined)
      return 'Felix has not connected: what VPP has stays in force, new pods are open to their node alone. See whether calico-node runs with FELIX_USEINTERNALDATAPLANEDRIVER=false';
    return 'Felix has not told all that there is yet: what VPP has stays in force, new pods are open to their node alone';
  }

  private refusalsOf(tag: InterfaceTag): string[] {
    return this.compiler.refusals(tag).map(({ where, why, effect }) => `${where}: ${why}: ${effect}`);
  }

  // --- what is told

  private nodeReady(ready: NodeThere): void {
    if (ready.generation <= this.lost) return;
    this.node = ready;
    this.prepared = ready.type === 'NodePrepared' ? ready : undefined;
    this.made = undefined;
    if (this.writer.generation !== ready.generation) this.writer.begin(ready);
    this.turns.news();
  }

  private uplinksMade(made: UplinksMade): void {
    if (this.prepared?.generation !== made.generation || made.generation <= this.lost) return;
    this.node = this.prepared;
    this.made = made;
    this.turns.news();
  }

  private takeNode({ type, uplinks = [], main_uplink, node, networks }: NodeThere): void {
    this.networks.take(networks, this.interfaces.keys());
    const are_there = type === 'NodeReady' || this.made !== undefined;
    const attachments = new Map<InterfaceTag, Attachment>();
    for (const host of are_there ? uplinks : []) {
      attachments.set(hostTapTag(host.name), { kind: 'tap', host });
      attachments.set(uplinkTag(host.name), { kind: 'uplink', host });
    }
    for (const tag of this.own.keys()) if (!attachments.has(tag)) this.compiler.attach(tag, undefined);
    this.own.clear();
    for (const [tag, attachment] of attachments) {
      this.own.set(tag, attachment);
      // Other interfaces than those of that name which VPP may have been told of.
      if (this.made !== undefined && this.has_spoken) this.writer.force(tag);
    }
    this.carrier = uplinks.find(({ name }) => uplinkTag(name) === main_uplink) ?? uplinks[0];
    const addresses = uplinks.flatMap((uplink) => uplink.addresses.map((prefix) => prefix.split('/', 1)[0]!));
    const all = [...addresses, node.ip4, node.ip6].filter((address) => address !== undefined);
    this.compiler.node([...new Set(all)]);
    if (this.has_spoken) this.attachHosts();
  }

  /** Those that host endpoints may govern. */
  private attachHosts(): void {
    for (const [tag, attachment] of this.own) this.compiler.attach(tag, attachment);
    for (const [tag, policed] of this.interfaces)
      if (policed.attachment.kind === 'tunnel') this.attach(tag, policed);
  }

  /**
   * Before Felix has spoken VPP is told of those alone that it denies everything. A tunnel that an earlier life has left and that may be of a
   * network keeps what that has judged it by until its network is known, or somebody asks for it, or it goes.
   */
  private attach(tag: InterfaceTag, policed: TakenInterface | undefined): void {
    this.of_unknown.delete(tag);
    if (policed === undefined) return this.compiler.attach(tag, undefined);
    const { attachment, is_closed } = policed;
    if (attachment.kind === 'workload') {
      if (this.has_spoken || is_closed) this.compiler.attach(tag, attachment);
    } else if (this.has_spoken && this.carrier !== undefined) {
      const network = this.networks.of(tag);
      if (attachment.is_left && this.networks.isDoubtful(tag)) {
        if (this.compiler.objects.interface(tag) === undefined) this.of_unknown.add(tag);
        return;
      }
      this.compiler.attach(tag, {
        kind: 'tunnel',
        host: this.carrier,
        ...(network !== undefined && { network }),
      });
    }
  }

  private takeInterfaces(): void {
    for (const [tag, policed] of this.deps.interfaces.take()) {
      const before = this.interfaces.get(tag);
      if (policed === undefined) this.interfaces.delete(tag);
      else this.interfaces.set(tag, policed);
      if (policed !== undefined && this.compiler.objects.interface(tag) !== undefined) this.writer.force(tag);
      if (!isDeepStrictEqual(before?.attachment, policed?.attachment)) {
        this.attach(tag, policed);
        this.index(tag, before?.attachment, policed?.attachment);
      } else if (policed?.is_closed !== before?.is_closed) this.attach(tag, policed);
      this.pods_changed ||= `${before?.addresses ?? []}` !== `${policed?.addresses ?? []}`;
    }
    if (!this.pods_changed) return;
    this.pods_changed = false;
    this.pods = new AddressSet();
    for (const { addresses } of this.interfaces.values())
      for (const address of addresses) {
        const prefix = parsePrefixText(address);
        if (prefix !== undefined) this.pods.add(prefix);
      }
    this.writer.touchSets([local_pods]);
  }

  private index(
    tag: InterfaceTag,
    before: TakenInterface['attachment'] | undefined,
    now: TakenInterface['attachment'] | undefined,
  ): void {
    const endpointOf = (of: typeof now) => (of?.kind === 'workload' ? of.endpoint : undefined);
    const both = [endpointOf(before), endpointOf(now)] as const;
    this.tags.move(tag, ...both);
    for (const endpoint of both) if (endpoint !== undefined) this.statuses.doubt(endpoint);
  }

  // --- what follows

  /** What there is to do, until others have their turn. */
  private work(): void {
    if (!inPieces(this.ctx.clock, () => this.piece())) return this.turns.next();
    const { writer } = this;
    const { generation } = writer;
    if (this.model.live !== undefined && writer.isSettled && generation !== undefined)
      this.deps.interfaces.settled(generation);
    if (this.made !== undefined && writer.isSettled) {
      this.deps.uplink.tell({ type: 'InPlace', of: 'policies', round: this.made.round });
      this.made = undefined;
    }
    this.tellStatuses();
  }

  /** True: nothing is left, or it waits for VPP. */
  private piece(): boolean {
    const { writer } = this;
    if (!writer.isPlanning && !this.takeIn()) return false;
    return writer.step(this.isComplete());
  }

  /** What was told is taken in and compiled, a piece of it. True: all of it. */
  private takeIn(): boolean {
    const { compiler, model, writer } = this;
    if (!this.intake.work()) return false;
    // Pods come and go, however long Felix takes.
    this.takeInterfaces();
    if (this.node !== undefined) {
      this.takeNode(this.node);
      this.node = undefined;
    }
    if (model.live !== undefined && this.takeLive(model.live)) return false;
    compiler.compile(compiled_piece);
    if (compiler.left > 0) return false;
    writer.touch(compiler.objects.take());
    return true;
  }

  /** True: there was something. */
  private takeLive(live: FelixState): boolean {
    const { compiler, writer } = this;
    this.deps.interfaces.promise();
    if (!this.has_spoken) {
      this.has_spoken = true;
      this.attachHosts();
      for (const [tag, policed] of this.interfaces) this.attach(tag, policed);
    }
    const touched = this.model.take();
    if (!isAnything(touched)) return false;
    compiler.felix(live, touched);
    this.named.take(live, touched.policies);
    writer.touchSets(touched.sets);
    for (const key of touched.workloads) this.statuses.doubt(key);
    if (touched.hosts.size > 0) this.statuses.doubtHosts();
    return true;
  }

  /** All is known of which something may be in VPP: what else is there is an earlier life's. */
  private isComplete(): boolean {
    const knows_all = this.deps.interfaces.isComplete && this.of_unknown.size === 0;
    return this.model.live !== undefined && this.own.size > 0 && knows_all;
  }

  // --- what Felix and the CNI plugin are told

  /** Endpoints whose state may have changed, once VPP has answered. */
  private tellStatuses(): void {
    const { statuses, compiler } = this;
    const { live } = this.model;
    const answered = this.writer.takeAnswered();
    this.deps.interfaces.judged([...answered].filter((tag) => this.writer.stateOf(tag) !== 'waiting'));
    if (live === undefined) return statuses.forget();
    for (const tag of answered) {
      const attachment = this.interfaces.get(tag)?.attachment;
      if (attachment?.kind === 'workload') statuses.doubt(attachment.endpoint);
      else statuses.doubtHosts();
    }
    let governed: ReturnType<PolicyCompiler['governed']> | undefined;
    const changed = statuses.take(live, {
      workload: (key) => this.stateOf(this.tags.of(key)),
      host: (id) => {
        governed ??= compiler.governed();
        return this.stateOf(governed.get(id) ?? []);
      },
    });
    if (changed !== undefined) this.deps.felix.tell({ type: 'EndpointStatuses', ...changed });
  }

  /** Undefined: VPP is being told of it, and what was said of it before holds. */
  private stateOf(tags: Iterable<InterfaceTag>): EndpointState | undefined {
    let state: EndpointState = 'down';
    for (const tag of tags) {
      const of = this.writer.stateOf(tag);
      if (of === 'waiting') return undefined;
      if (of instanceof Error || this.compiler.refusals(tag).length > 0) return 'error';
      state = 'up';
    }
    return state;
  }

  // --- for people

  private show(question: PoliciesQuestion): ShownPolicies {
    const interfaces: Record<string, ShownInterface> = {};
    const governed = new Map<InterfaceTag, string>();
    for (const [id, tags] of this.compiler.governed()) for (const tag of tags) governed.set(tag, id);
    let count = 0;
    for (const [tag, { attachment }] of [...this.ownInterfaces(), ...this.interfaces]) {
      const endpoint = this.endpointOf(attachment);
      if (!isAskedFor(question.of, tag, endpoint)) continue;
      count += 1;
      if (count > shown_max) continue;
      const governed_by = governed.get(tag);
      interfaces[tag] = {
        kind: attachment.kind,
        endpoint,
        ...this.networkOf(tag, attachment),
        ...(governed_by !== undefined && { governed_by }),
        ...this.shown(tag),
        policies: this.compiler.uses(tag).slice(0, uses_max),
      };
    }
    const { waits, problems, refused } = this.report();
    return { interfaces, interface_count: count, waits, problems, refused };
  }

  private *ownInterfaces(): Generator<readonly [InterfaceTag, { readonly attachment: Attachment }]> {
    for (const [tag, attachment] of this.own) yield [tag, { attachment }];
  }

  private networkOf(
    tag: InterfaceTag,
    attachment: Attachment | TakenInterface['attachment'],
  ): Pick<ShownInterface, 'network'> {
    const network =
      attachment.kind === 'tunnel'
        ? this.networks.of(tag)
        : attachment.kind === 'workload'
          ? attachment.network
          : undefined;
    return network === undefined ? {} : { network };
  }

  private endpointOf(attachment: Attachment | TakenInterface['attachment']): string {
    if (attachment.kind === 'workload') return attachment.endpoint;
    return attachment.kind === 'tunnel' ? (this.carrier?.name ?? '') : attachment.host.name;
  }

  private shown(tag: InterfaceTag): Pick<ShownInterface, 'state' | 'desired' | 'programmed' | 'refusals'> {
    const state = this.has_spoken ? this.writer.stateOf(tag) : 'waiting';
    const wanted = this.compiler.objects.interface(tag);
    const programmed = this.writer.programmed(tag);
    return {
      state: state instanceof Error ? `refused: ${state.message}` : state,
      ...(wanted !== undefined && { desired: judgementOf(interfaceObject(wanted)) }),
      ...(programmed !== undefined && { programmed: judgementOf(programmed) }),
      refusals: this.refusalsOf(tag),
    };
  }
}
