/**
 * Serves the CNI plugin and owns the pods of the node: admits them, gives them their tables, one actor each, and their part
 * of every new VPP; removes what no pod owns. What it knows of pods is what their records say; what VPP holds it reads.
 */
import type { Actor, ActorContext, ActorRef, ChildSpec, Reply } from '../actor-system.js';
import type { CniServer } from '../cni/server.js';
import { lowestFreeSlot, recordedSlot } from '../desired/admission.js';
import type { CniAdd, CniMessage } from '../messages/cni.js';
import type { NodeThere } from '../messages/node.js';
import type { AddAnswer, DeleteAnswer } from '../messages/pod.js';
import { keyOf, type VppObject } from '../objects/object.js';
import { podInterfaceTag, podInterfaceTags } from '../pod/names.js';
import { type PodKey, type PodSpec, podName, sandboxName } from '../pod/spec.js';
import { admission, withRange } from '../pods/admission.js';
import type { CniDeps } from '../pods/cni-deps.js';
import { cniHandlers } from '../pods/handlers.js';
import { HeldAdds, network_unknown } from '../pods/held-adds.js';
import type { PodDeps } from '../pods/pod-deps.js';
import { PodNamespaces } from '../pods/pod-namespaces.js';
import { PodRecords, permitsOf } from '../pods/pod-records.js';
import { PodEntry, PodTable } from '../pods/pod-table.js';
import { type PodsNow, PodsReport } from '../pods/pods-report.js';
import { PolicyGate } from '../pods/policy-gate.js';
import { RecordKeeper, tellOfRecords } from '../pods/record-keeper.js';
import { Requests } from '../pods/requests.js';
import { Settling } from '../pods/settling.js';
import { poolOf, Survey } from '../pods/survey.js';
import { Sweeper } from '../pods/sweeper.js';
import { Whereabouts } from '../pods/whereabouts.js';
import { podActor } from './pod.js';

export function cniActor(deps: CniDeps): ChildSpec<CniMessage> {
  return {
    name: 'cni',
    restart: 'permanent',
    shutdown_ms: 5000,
    mailbox_max: 4096,
    handler_ms_max: 10_000,
    // A pod that crashes again and again is one pod's trouble; half of them crashing is ours.
    supervision: {
      strategy: 'one_for_one',
      intensity: { restarts_max: 60, window_ms: 60_000 },
      backoff: { first_ms: 100, max_ms: 30_000, jitter: 0.2 },
    },
    start: async (ctx) => {
      const cni = new Cni(ctx, deps);
      await cni.begin();
      return cni;
    },
  };
}

class Cni implements Actor<CniMessage> {
  /** What each of them is made of. */
  private readonly of_pods: PodDeps;
  private readonly records: PodRecords;
  private readonly namespaces: PodNamespaces;
  private readonly whereabouts: Whereabouts;
  private readonly keeper: RecordKeeper;
  private readonly pods = new PodTable();
  private server: CniServer | undefined;
  /** Pods of the Go implementation could not all be written down. */
  private importing = false;
  private ready: NodeThere | undefined;
  /** Of the last node that was lost. */
  private lost = 0;
  private readonly requests: Requests;
  private readonly held: HeldAdds;
  private readonly sweeper: Sweeper;
  private readonly survey: Survey;
  private readonly gate: PolicyGate;
  private readonly settling = new Settling('VPP is not ready yet');
  private readonly told: PodsReport;

  constructor(
    private readonly ctx: ActorContext<CniMessage>,
    private readonly deps: CniDeps,
  ) {
    this.held = new HeldAdds(ctx);
    this.requests = new Requests(ctx);
    this.told = new PodsReport(ctx, deps, this.settling);
    const limits = deps.limits();
    this.records = new PodRecords(deps.store, permitsOf(limits));
    tellOfRecords(ctx, this.records, limits);
    deps.translations.forget('pods');
    deps.addresses?.anew();
    this.namespaces = new PodNamespaces(deps.host, deps.node_namespaces);
    const { records, namespaces } = this;
    this.of_pods = { ...deps, cni: ctx.self, records, namespaces };
    this.whereabouts = new Whereabouts(this.namespaces, this.records);
    this.keeper = new RecordKeeper(ctx, deps, this.records, this.namespaces);
    this.gate = new PolicyGate(ctx, deps.policed);
    this.sweeper = new Sweeper(ctx, {
      vpp: deps.vpp,
      namespaces: this.namespaces,
      claimed: (object) => this.isClaimed(object),
    });
    this.survey = new Survey(ctx, deps, {
      pods: this.pods,
      records: this.records,
      sweeper: this.sweeper,
      claimed: (object) => this.isClaimed(object),
      begun: (generation) => this.surveyed(generation),
    });
  }

  async begin(): Promise<void> {
    const { ctx, deps } = this;
    this.importing = this.keeper.import(this.takenSlots()) ?? this.importing;
    this.keeper.complete();
    await this.spawnRecorded();
    this.server = await deps.startServer(cniHandlers(ctx, deps.limits));
    this.report();
    ctx.watch(deps.uplink as ActorRef<never>, (down) => ({ type: 'UplinkDown', down }));
    this.subscribe();
    deps.checksums?.hear(() => ctx.tellSelf({ type: 'ChecksumsAsked' }));
    ctx.after(deps.settings.collect_ms, { type: 'Collect' });
    ctx.after(deps.settings.audit_ms, { type: 'Audit' });
  }

  receive(message: CniMessage): void | Promise<void> {
    switch (message.type) {
      case 'NodePrepared':
        // Again: what follows from the facts as they are told now is waited for.
        if (this.ready !== undefined) this.unsettle('VPP is prepared anew');
        this.told.prepared = message;
        return this.nodeReady(message);
      case 'NodeReady':
        this.told.prepared = undefined;
        return this.nodeReady(message);
      case 'UplinksMade':
        return;
      case 'NodeLost':
        this.lost = message.generation;
        this.nodeLost(message.reason);
        for (const { ref } of this.pods.values()) ref.tellUrgent(message);
        return;
      case 'UplinkDown':
        this.unsettle('the uplink actor is down');
        if (message.down.restarting) this.subscribe();
        return;
      case 'Add':
        return this.add(message);
      case 'Del':
        return this.del(message.pod, message.reply);
      case 'Observe':
        return this.read({ fresh: true });
      case 'PodSettled':
        if (message.generation === this.ready?.generation) this.settling.pod(message.key, message.fault);
        return this.report();
      case 'PodGone':
        return this.podGone(message.key, message.left);
      case 'Settled':
        return this.settled(message.key, message.verb, message.there);
      case 'HeldExpired':
        return this.heldExpired(message.add);
      case 'Snapshot':
        return this.survey.take(message, this.ready);
      case 'Policed':
        if (this.gate.open(message, this.ready?.generation)) this.read();
        return;
      case 'Swept':
        return this.swept(message.id, message.error);
      case 'Collect':
        return this.collect();
      case 'Audit':
        this.ctx.after(this.deps.settings.audit_ms, { type: 'Audit' });
        return this.audit();
      case 'ChecksumsAsked':
        if (this.ready !== undefined && this.survey.done) this.survey.tellNode(this.ready);
        return;
      case 'ReadAgain':
        return this.read();
      case 'SettledLate':
        return this.settledLate(message.generation);
    }
  }

  async stop(): Promise<void> {
    await this.server?.stop();
  }

  gauges() {
    return {
      ready: this.ready !== undefined,
      pods: this.pods.size,
      adds: this.requests.adds,
      held: this.held.size,
      deleting: [...this.pods.values()].filter(({ deleting }) => deleting).length,
      orphans: this.sweeper.orphans.size,
    };
  }

  describe() {
    return {
      generation: this.ready?.generation,
      pods: this.pods.describe(),
      orphans: this.sweeper.orphans.describe(),
    };
  }

  // --- requests

  private async add(asked: CniAdd): Promise<void> {
    const { networks } = this;
    const spec = withRange(asked.spec, networks);
    const add = spec === asked.spec ? asked : { ...asked, spec };
    if (spec.network_name !== '' && networks === undefined) return this.held.hold(add, network_unknown);
    const pool = poolOf(this.ready);
    const may = admission(spec, this.pods, this.whereabouts, pool);
    if ('refusal' in may) return this.refuse(add.reply, may.refusal);
    if ('evicts' in may) return this.makeRoom(add, may.evicts);
    if ('waits_for' in may) return this.held.hold(add, may.waits_for);
    const { known } = may;
    const fits = pool && this.ready?.generation;
    const pod = known ?? (await this.admit(add, spec));
    if (pod === undefined) return;
    this.requests.add(pod, add, fits);
  }

  /** Beside the default one; undefined: not known. */
  private get networks(): NodeThere['networks'] {
    return this.ready?.networks;
  }

  /** A pod that is new here, with what an unknown earlier life may have left of it; undefined: not yet. */
  private async admit(add: CniAdd, spec: PodSpec): Promise<PodEntry | undefined> {
    const left = this.sweeper.adopt(podInterfaceTag(spec));
    if (left !== undefined && 'wait' in left) {
      this.held.hold(add, left.wait);
      return undefined;
    }
    const slot = left?.slot ?? this.freeSlot();
    const pod = await this.spawn(spec, slot, false);
    const objects = [...(left?.objects ?? []), ...this.survey.straysTo(spec)];
    if (this.survey.done) this.survey.tell(pod, this.ready!, { objects, whole: true });
    return pod;
  }

  /** Somebody who is known has it now. */
  private isClaimed(object: VppObject): boolean {
    return object.kind === 'translation'
      ? this.deps.translations.of(keyOf(object)) !== undefined
      : this.pods.claims(object);
  }

  private del(asked: Extract<CniMessage, { type: 'Del' }>['pod'], reply: Reply<DeleteAnswer>): void {
    const { key } = asked;
    const name = sandboxName(asked.netns, asked.interface_name);
    for (const add of this.held.withdraw(key)) this.refuse(add.reply, `${name}: the pod is deleted`);
    const pod = this.pods.get(key);
    if (pod === undefined) {
      // Without a record there is nobody to answer for it, but what looks like it goes.
      this.records.forget(key);
      this.sweeper.sweepTag(podInterfaceTag(asked));
      return reply.resolve({ deleted: true });
    }
    this.requests.del(pod, asked, reply);
  }

  private refuse(reply: Reply<AddAnswer>, error: string): void {
    this.ctx.event('refused', error);
    reply.resolve({ error });
  }

  /** The other pod has to go first, and nobody will ask for that. */
  private makeRoom(add: CniAdd, other: PodEntry): void {
    this.remove(other, true);
    this.held.hold(add, other.spec.key);
  }

  private remove(pod: PodEntry, urgent: boolean): void {
    pod.deleting = true;
    pod.ref.tell({ type: 'Delete', urgent });
  }

  private heldExpired(add: CniAdd): void {
    const error = this.held.giveUp(add);
    if (error !== undefined) this.refuse(add.reply, error);
  }

  // --- pods

  private async spawn(spec: PodSpec, slot: number, deleting: boolean): Promise<PodEntry> {
    const { key } = spec;
    const name = this.pods.nameFor(spec);
    const ref = await this.ctx.spawn(podActor(name, key, this.of_pods));
    const pod = new PodEntry(spec, slot, ref, deleting, name);
    this.pods.set(key, pod);
    return pod;
  }

  private settled(key: PodKey, verb: 'add' | 'del', there: boolean): void {
    this.requests.settled(this.pods.get(key), { verb, there }, this.records.get(key)?.spec);
    this.told.lookForUnpoliced(this.now);
  }

  /** A pod that has been asked for something since is not gone; it is asked again when it has answered. */
  private podGone(key: PodKey, left: Extract<CniMessage, { type: 'PodGone' }>['left']): void {
    this.settling.gone(key);
    this.report();
    const pod = this.pods.get(key);
    if (pod === undefined || pod.calls > 0) return;
    this.pods.delete(key);
    for (const tag of podInterfaceTags(pod.spec)) this.deps.policed.remove(tag);
    this.survey.takeBack(pod, left, this.ready?.generation);
    void this.ctx.stopChild(pod.name);
    // Its buffers are free.
    if (this.survey.starving) this.read({ fresh: true });
    this.held.release(key);
  }

  private async spawnRecorded(): Promise<void> {
    for (const { spec, phase, tables } of this.records.list()) {
      if (this.pods.has(spec.key)) continue;
      const left = this.sweeper.adopt(podInterfaceTag(spec));
      // It is just being removed; the next look for namespaces comes back to it.
      if (left !== undefined && 'wait' in left) this.importing = true;
      else
        await this.spawn(spec, left?.slot ?? recordedSlot(tables) ?? this.freeSlot(), phase === 'deleting');
    }
  }

  private takenSlots(): number[] {
    return [...this.sweeper.orphans.slots(), ...this.pods.slots()];
  }

  private freeSlot(): number {
    return lowestFreeSlot(new Set(this.takenSlots()));
  }

  private async collect(): Promise<void> {
    if (this.importing) {
      this.importing = this.keeper.import(this.takenSlots()) ?? this.importing;
      await this.spawnRecorded();
      this.read({ fresh: true });
    }
    const { collect_ms } = this.deps.settings;
    this.keeper.mend();
    for (const pod of this.whereabouts.lost(this.pods, this.ctx.clock.now_ms(), collect_ms)) {
      const { netns, workload, interface_name } = pod.spec;
      const name = podName(workload, interface_name);
      this.ctx.event('collected', `${name}: ${netns} has gone, the pod is deleted`);
      this.remove(pod, false);
    }
    this.sweeper.collect();
    this.ctx.after(collect_ms, { type: 'Collect' });
  }

  // --- VPP comes, goes, and is looked at

  private subscribe(): void {
    this.deps.uplink.tell({ type: 'SubscribeEarly', subscriber: this.ctx.self });
  }

  /** VPP may well be the same afterwards: pods come to rest on it anew. This must not overtake what they have been told of it. */
  private unsettle(reason: string): void {
    this.nodeLost(reason);
    for (const { ref } of this.pods.values()) ref.tell({ type: 'NodeLost', generation: this.lost, reason });
  }

  private nodeLost(reason: string): void {
    this.ready = undefined;
    this.told.prepared = undefined;
    this.forget(`the node: ${reason}`);
    this.ctx.blockedOn(`the node: ${reason}`);
    // What waited for an orphan is judged anew; it then waits for the node.
    this.held.releaseOthers(this.pods);
  }

  /**
   * Reads VPP before anything is done: the snapshot that comes along may be as old as the connection, when it is the
   * uplink actor that has started anew.
   */
  private nodeReady(ready: NodeThere): void {
    const is_other = this.ready?.generation !== ready.generation;
    this.ready = ready;
    if (is_other) {
      this.gate.close(ready.generation);
      this.forget(this.gate.closed ? 'VPP is given policies first' : 'VPP is asked what it holds');
    }
    this.ctx.blockedOn(undefined);
    if (ready.networks !== undefined) this.held.release(network_unknown);
    this.survey.lookAtBuffers(ready);
    if (this.survey.done) this.survey.tellNode(ready);
    if (!this.survey.done || this.survey.starving) this.read();
  }

  /** What was known of VPP is void. */
  private forget(reason: string): void {
    this.survey.forget();
    this.told.forget();
    this.settling.block(reason);
    this.report();
    this.sweeper.forget();
  }

  private audit(): void {
    if (this.isReadable) this.survey.audit();
  }

  private read(how: { readonly fresh?: boolean } = {}): void {
    if (this.isReadable) this.survey.read(how);
  }

  private get isReadable(): boolean {
    return this.ready !== undefined && !this.gate.closed;
  }

  /** What a new VPP holds is known, and will be told to each pod. */
  private surveyed(generation: number): void {
    this.told.begin(generation, this.pods.keys());
    this.report();
  }

  private swept(id: string, error?: Error): void {
    this.sweeper.ended(id, error);
    this.report();
    this.held.release(id);
  }

  private settledLate(generation: number): void {
    if (generation !== this.ready?.generation) return;
    this.told.late((key) => this.pods.get(key)?.name);
    this.report();
  }

  private report(): void {
    this.told.tell(this.now);
  }

  private get now(): PodsNow {
    return {
      has_vpp: this.ready !== undefined,
      is_surveyed: this.survey.done,
      is_importing: this.importing,
      is_sweeping: this.sweeper.busy,
      left_alone: this.sweeper.leftAlone,
      adds: this.requests.adds,
    };
  }
}
