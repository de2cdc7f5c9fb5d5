/**
 * Has VPP's npol enforce what Felix says. State is what was told: Felix's stream, the interfaces, the node's addresses. What follows from a
 * change is compiled and written with the next turn. What Felix says counts from its InSync on: before the first one nothing is written, and
 * whatever VPP has of an earlier life stays in force.
 */
import type { Actor, ActorContext, ActorRef, ChildSpec } from '../actor-system.js';
import { hostTapTag, uplinkTag } from '../desired/uplink.js';
import { AddressSet } from '../felix/address-set.js';
import type { EndpointState } from '../felix/encode.js';
import { parsePrefixText } from '../felix/members.js';
import type { WorkloadKey } from '../felix/messages.js';
import { FelixModel, type Problem, type Touched } from '../felix/model.js';
import { no_port } from '../felix/set.js';
import type { EndpointStatus, FelixActorMessage, FelixTold } from '../messages/felix.js';
import type { NodeReady, SubscribeNode } from '../messages/node.js';
import type { PoliciesMessage, ShownInterface, ShownPolicies } from '../messages/policies.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import { local_pods } from '../objects/npol.js';
import { type Attachment, PolicyCompiler } from '../policies/compiler.js';
import type { PolicedInterface, PolicedInterfaces } from '../policies/policed-interfaces.js';
import { NpolWriter } from '../writer/npol-writer.js';
import { type WriterSettings, writer_settings_default } from '../writer/object-writer.js';
import { Turns } from '../writer/turns.js';

export interface PoliciesDeps {
  readonly vpp: ActorRef<VppConnectionMessage>;
  readonly uplink: ActorRef<SubscribeNode>;
  readonly felix: ActorRef<FelixActorMessage>;
  readonly interfaces: PolicedInterfaces;
  /** Told once in each life how to ask for the report of it. */
  readonly report: (ask: () => PoliciesReport) => void;
}

/** For people: what of the policies is not enforced. Bounded: a hundred objects each. */
export interface PoliciesReport {
  /** Nothing is enforced that is not in force already, and why; empty: it is. */
  readonly waits: string;
  /** Messages of Felix's that were not taken in, by object. */
  readonly problems: Readonly<Record<string, string>>;
  /** Values of Felix's configuration that could not be read. */
  readonly config: readonly string[];
  /** By interface, what of its policies is not enforced as it was asked for. */
  readonly refusals: Readonly<Record<string, readonly string[]>>;
  /** By object of VPP, why it was refused. It is tried again. */
  readonly refused: Readonly<Record<string, string>>;
}

export interface PoliciesSettings {
  readonly writer: WriterSettings;
}

export const policies_settings_default: PoliciesSettings = { writer: writer_settings_default };

/** Members of sets that are taken in, and interfaces that are compiled, in one turn of the event loop. */
const members_piece = 2048;
const messages_piece = 256;
const interfaces_piece = 64;
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
  private readonly model = new FelixModel();
  private readonly compiler = new PolicyCompiler();
  private readonly writer: NpolWriter;
  private readonly interfaces = new Map<InterfaceTag, PolicedInterface>();
  /** Interfaces of the node itself. */
  private readonly own = new Map<InterfaceTag, Attachment>();
  private pods = new AddressSet();
  private pods_changed = false;
  private node: NodeReady | undefined;
  /** Of the last node that was lost: news of it, or of an earlier one, are void. */
  private lost = 0;
  private stream: number | undefined;
  /** What of Felix's stream is not taken in yet, and how far it is. */
  private told: FelixTold | undefined;
  private next = 0;
  /** The stream begins, or ends, when what was told before is taken in. */
  private turn: { readonly stream: number; readonly begins: boolean } | undefined;
  private readonly problems = new Map<string, string>();
  private readonly turns: Turns;
  /** As Felix was told last, by endpoint. */
  private readonly statuses = new Map<string, EndpointStatus>();
  private has_told_statuses = false;
  /** Endpoints whose state may have changed. */
  private readonly doubtful = new Set<WorkloadKey>();
  private hosts_doubtful = false;
  /** The interfaces of each workload. */
  private readonly tags = new Map<WorkloadKey, Set<InterfaceTag>>();

  constructor(
    private readonly ctx: ActorContext<PoliciesMessage>,
    private readonly deps: PoliciesDeps,
    settings: PoliciesSettings,
  ) {
    this.turns = new Turns(ctx);
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
    deps.uplink.tell({ type: 'SubscribeNode', subscriber: ctx.self });
    deps.felix.tell({ type: 'SubscribeFelix', subscriber: ctx.this_life });
  }

  receive(message: PoliciesMessage): void {
    switch (message.type) {
      case 'NodeReady':
        return this.nodeReady(message);
      case 'NodeLost':
        this.lost = message.generation;
        if ((this.writer.generation ?? 0) <= message.generation) this.writer.lost();
        return;
      case 'FelixBegan':
        this.turn = { stream: message.stream, begins: true };
        return this.turns.news();
      case 'FelixTold':
        this.told = message;
        this.next = 0;
        return this.turns.news();
      case 'FelixEnded':
        if (message.stream === this.stream || this.turn?.stream === message.stream)
          this.turn = { stream: message.stream, begins: false };
        return this.turns.news();
      case 'InterfacesChanged':
        return this.turns.news();
      case 'Show':
        return message.reply.resolve(this.show());
      case 'Work':
        this.turns.heard();
        return this.work();
      default:
        this.writer.hear(message);
        return this.work();
    }
  }

  gauges() {
    const { counts } = this.compiler.objects;
    const { sets, rules, policies, interfaces, waiting, refused } = this.writer.gauges();
    return {
      stream: this.stream ?? -1,
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
      stream: this.stream,
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
      problems: Object.fromEntries(this.problems),
      config: this.compiler.problems,
      refusals,
      refused: this.writer.refused(),
    };
  }

  private waits(): string {
    if (this.writer.generation === undefined) return 'VPP cannot be programmed yet';
    if (this.model.live !== undefined) return '';
    if (this.stream === undefined)
      return 'Felix has not connected: what VPP has stays in force, new pods get nothing. See whether calico-node runs with FELIX_USEINTERNALDATAPLANEDRIVER=false';
    return 'Felix has not told all that there is yet: what VPP has stays in force, new pods get nothing';
  }

  private refusalsOf(tag: InterfaceTag): string[] {
    return this.compiler.refusals(tag).map(({ where, why, effect }) => `${where}: ${why}: ${effect}`);
  }

  // --- what is told

  private nodeReady(ready: NodeReady): void {
    if (ready.generation <= this.lost) return;
    this.node = ready;
    if (this.writer.generation !== ready.generation) this.writer.begin(ready);
    this.turns.news();
  }

  private takeNode({ uplinks = [], node }: NodeReady): void {
    const attachments = new Map<InterfaceTag, Attachment>();
    for (const host of uplinks) {
      attachments.set(hostTapTag(host.name), { kind: 'tap', host });
      attachments.set(uplinkTag(host.name), { kind: 'uplink', host });
    }
    for (const tag of this.own.keys()) if (!attachments.has(tag)) this.compiler.attach(tag, undefined);
    this.own.clear();
    for (const [tag, attachment] of attachments) {
      this.own.set(tag, attachment);
      this.compiler.attach(tag, attachment);
    }
    const addresses = uplinks.flatMap((uplink) => uplink.addresses.map((prefix) => prefix.split('/', 1)[0]!));
    const all = [...addresses, node.ip4, node.ip6].filter((address) => address !== undefined);
    this.compiler.node([...new Set(all)]);
  }

  private takeInterfaces(): void {
    for (const [tag, policed] of this.deps.interfaces.take()) {
      const before = this.interfaces.get(tag);
      if (policed === undefined) this.interfaces.delete(tag);
      else this.interfaces.set(tag, policed);
      if (policed !== undefined && this.compiler.objects.interface(tag) !== undefined) this.writer.force(tag);
      if (JSON.stringify(before?.attachment) !== JSON.stringify(policed?.attachment)) {
        this.compiler.attach(tag, policed?.attachment);
        this.index(tag, before?.attachment, policed?.attachment);
      }
      this.pods_changed ||= `${before?.addresses}` !== `${policed?.addresses}`;
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

  private index(tag: InterfaceTag, before: Attachment | undefined, now: Attachment | undefined): void {
    if (before?.kind === 'workload') {
      const tags = this.tags.get(before.endpoint);
      tags?.delete(tag);
      if (tags?.size === 0) this.tags.delete(before.endpoint);
      this.doubtful.add(before.endpoint);
    }
    if (now?.kind !== 'workload') return;
    const tags = this.tags.get(now.endpoint);
    if (tags === undefined) this.tags.set(now.endpoint, new Set([tag]));
    else tags.add(tag);
    this.doubtful.add(now.endpoint);
  }

  /** Takes in a piece of what Felix has said. True: nothing of it is left. */
  private takeFelix(): boolean {
    const { model, told } = this;
    if (model.busy) {
      this.note(model.work(members_piece));
      if (model.busy) return false;
    }
    if (told !== undefined && told.stream === this.stream) {
      for (let count = 0; this.next < told.messages.length; count += 1) {
        if (count === messages_piece) return false;
        this.note(model.apply(told.messages[this.next]!));
        this.next += 1;
        if (model.busy) return false;
      }
      this.deps.felix.tell({ type: 'FelixTaken', stream: told.stream });
      this.told = undefined;
    }
    if (this.turn === undefined) {
      // Of a stream that is over.
      this.told = undefined;
      return true;
    }
    const { stream, begins } = this.turn;
    this.turn = undefined;
    if (begins) {
      this.stream = stream;
      this.problems.clear();
      model.connected();
      return false;
    }
    model.disconnected();
    return true;
  }

  private note(problem: Problem | undefined): void {
    if (problem === undefined) return;
    if (this.problems.size < named_max) this.problems.set(problem.object, problem.why);
    this.ctx.log.warn({ object: problem.object }, `policies(felix) ${problem.object}: ${problem.why}`);
  }

  // --- what follows

  /** A piece of the work, if there is any. */
  private work(): void {
    const { writer } = this;
    if (!writer.isPlanning && !this.takeIn()) return this.turns.next();
    if (!writer.step(this.isComplete())) return this.turns.next();
    const { generation } = writer;
    if (this.model.live !== undefined && writer.isSettled && generation !== undefined)
      this.deps.interfaces.settled(generation);
    this.tellStatuses();
  }

  /** What was told is taken in and compiled. True: all of it. */
  private takeIn(): boolean {
    const { compiler, model, writer } = this;
    if (!this.takeFelix()) return false;
    const { live } = model;
    // Pods come and go, however long Felix takes.
    this.takeInterfaces();
    if (live === undefined) return true;
    this.deps.interfaces.promise();
    if (this.node !== undefined) {
      this.takeNode(this.node);
      this.node = undefined;
    }
    const touched = model.take();
    if (isAnything(touched)) {
      compiler.felix(live, touched);
      writer.touchSets(touched.sets);
      for (const key of touched.workloads) this.doubtful.add(key);
      this.hosts_doubtful ||= touched.hosts.size > 0;
    }
    compiler.compile(interfaces_piece);
    if (compiler.left > 0) return false;
    writer.touch(compiler.objects.take());
    return true;
  }

  /** All is known of which something may be in VPP: what else is there is an earlier life's. */
  private isComplete(): boolean {
    return this.model.live !== undefined && this.own.size > 0 && this.deps.interfaces.isComplete;
  }

  // --- what Felix and the CNI plugin are told

  /** Endpoints whose state may have changed, once VPP has answered. */
  private tellStatuses(): void {
    const { live } = this.model;
    const answered = this.writer.takeAnswered();
    if (live === undefined) {
      // The first time all are told.
      this.doubtful.clear();
      return;
    }
    for (const tag of answered) {
      const attachment = this.interfaces.get(tag)?.attachment;
      if (attachment?.kind === 'workload') this.doubtful.add(attachment.endpoint);
      else this.hosts_doubtful = true;
    }
    const whole = !this.has_told_statuses;
    const changed: EndpointStatus[] = [];
    const is = (key: string, status: EndpointStatus): void => {
      const before = this.statuses.get(key);
      if (!whole && before !== undefined && sameStatus(before, status)) return;
      if (status.kind === 'workload_removed' || status.kind === 'host_removed') this.statuses.delete(key);
      else this.statuses.set(key, status);
      changed.push(status);
    };
    for (const key of whole ? live.workloads.keys() : this.doubtful) {
      const endpoint = live.workloads.get(key);
      const before = this.statuses.get(`workload ${key}`);
      if (endpoint !== undefined) {
        const state = this.stateOf(this.tags.get(key) ?? []);
        if (state !== undefined)
          is(`workload ${key}`, { kind: 'workload', endpoint, state: endpoint.active ? state : 'down' });
      } else if (before?.kind === 'workload')
        is(`workload ${key}`, { kind: 'workload_removed', id: before.endpoint.id });
    }
    this.doubtful.clear();
    if (this.hosts_doubtful || whole) {
      this.hosts_doubtful = false;
      const governed = this.compiler.governed();
      for (const id of live.hosts.keys()) {
        const state = this.stateOf(governed.get(id) ?? []);
        if (state !== undefined) is(`host ${id}`, { kind: 'host', id, state });
      }
      for (const status of [...this.statuses.values()])
        if (status.kind === 'host' && !live.hosts.has(status.id))
          is(`host ${status.id}`, { kind: 'host_removed', id: status.id });
    }
    if (changed.length === 0 && !whole) return;
    this.has_told_statuses = true;
    this.deps.felix.tell({ type: 'EndpointStatuses', whole, statuses: changed });
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

  private show(): ShownPolicies {
    const interfaces: Record<string, ShownInterface> = {};
    let count = 0;
    for (const [tag, attachment] of this.attachments()) {
      count += 1;
      if (count > shown_max) continue;
      const state = this.writer.stateOf(tag);
      interfaces[tag] = {
        endpoint: attachment.kind === 'workload' ? attachment.endpoint : attachment.host.name,
        state: state instanceof Error ? `refused: ${state.message}` : state,
        refusals: this.refusalsOf(tag),
        policies: this.compiler.uses(tag).slice(0, uses_max),
      };
    }
    return { interfaces, interface_count: count };
  }

  private *attachments(): Generator<readonly [InterfaceTag, Attachment]> {
    yield* this.own;
    for (const [tag, { attachment }] of this.interfaces) yield [tag, attachment];
  }
}

function isAnything({ config, sets, policies, profiles, workloads, hosts }: Touched): boolean {
  return config || [sets, policies, profiles, workloads, hosts].some(({ size }) => size > 0);
}

function sameStatus(a: EndpointStatus, b: EndpointStatus): boolean {
  if (a.kind === 'workload' && b.kind === 'workload') return a.state === b.state && a.endpoint === b.endpoint;
  if (a.kind === 'host' && b.kind === 'host') return a.state === b.state;
  return false;
}
