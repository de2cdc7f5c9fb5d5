/**
 * Serves the CNI plugin and owns the pods of the node: admits them, gives them their tables, one actor each, and their part
 * of every new VPP; removes what no pod owns. What it knows of pods is what their records say; what VPP holds it reads.
 */
import type { Actor, ActorContext, ActorRef, ChildSpec, Reply } from '../actor-system.js';
import type { Timer } from '../clock.js';
import type { CniServer } from '../cni/server.js';
import { buffersText, lowestFreeSlot, recordedSlot } from '../desired/admission.js';
import type { CniAdd, CniMessage } from '../messages/cni.js';
import type { NodeThere } from '../messages/node.js';
import type { AddAnswer, DeleteAnswer, PodMessage } from '../messages/pod.js';
import { keyOf, type VppObject } from '../objects/object.js';
import { podInterfaceTag, podInterfaceTags } from '../pod/names.js';
import { type PodKey, type PodSpec, podName, sandboxName } from '../pod/spec.js';
import { answer_margin_ms } from '../pods/callers.js';
import type { CniDeps } from '../pods/cni-deps.js';
import { cniHandlers } from '../pods/handlers.js';
import { HeldAdds, network_unknown } from '../pods/held-adds.js';
import { PodNamespaces } from '../pods/pod-namespaces.js';
import { PodRecords, permitsOf } from '../pods/pod-records.js';
import { PodEntry, PodTable } from '../pods/pod-table.js';
import { PodsReport } from '../pods/pods-report.js';
import { PolicyGate } from '../pods/policy-gate.js';
import { RecordKeeper } from '../pods/record-keeper.js';
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
  /** ADDs handed to pods and not answered yet. */
  private adds = 0;
  private readonly held = new HeldAdds();
  private readonly sweeper: Sweeper;
  private readonly survey: Survey;
  private readonly gate: PolicyGate;
  private readonly settling = new Settling('VPP is not ready yet');
  private readonly told: PodsReport;
  /** Of pods that have not come to rest. */
  private late: Timer | undefined;

  constructor(
    private readonly ctx: ActorContext<CniMessage>,
    private readonly deps: CniDeps,
  ) {
    this.told = new PodsReport(deps, this.settling);
    const limits = deps.limits();
    this.records = new PodRecords(deps.store, permitsOf(limits));
    const { without_memif, without_vcl } = this.records;
    if (without_memif > 0)
      ctx.event('records', `${without_memif} pods go without their memif: memifEnabled is not set`);
    if (without_vcl > 0) {
      const text = `${without_vcl} pods go without VPP's host stack, and by their device alone: ${limits.vcl_obstacle ?? 'vclEnabled is not set'}`;
      ctx.event('records', text);
      ctx.log.warn({}, `pods(load) ${text}`);
    }
    for (const { file, text } of this.records.problems) {
      ctx.log.error({ file }, `pods(load) ${text}`);
      ctx.event('records', `${file} ${text}`);
    }
    deps.translations.forget('pods');
    deps.addresses?.anew();
    this.namespaces = new PodNamespaces(deps.host, deps.node_namespaces);
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
      adds: this.adds,
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
    const add = this.withRange(asked);
    const { spec } = add;
    const name = podName(spec.workload, spec.interface_name);
    if (spec.network_name !== '' && this.networks === undefined) return this.hold(add, network_unknown);
    const known = this.pods.get(spec.key);
    if (known !== undefined && this.whereabouts.isReplaced(known)) {
      // The pod of before is gone with its namespace, and with it the Linux side that VPP still points to.
      return this.makeRoom(add, known);
    }
    const conflict = this.pods.conflictOf(spec);
    if (conflict !== undefined) {
      const holder = this.pods.get(conflict.holder.key)!;
      if (holder.deleting || !this.whereabouts.isThere(holder)) return this.makeRoom(add, holder);
      const other = podName(holder.spec.workload, holder.spec.interface_name);
      return this.refuse(
        add.reply,
        `${name}: ${conflict.address} is that of ${other} (${holder.spec.netns}), which still runs on this node: delete that pod, or free the address in IPAM`,
      );
    }
    const pool = poolOf(this.ready);
    const missing = pool === undefined ? 0 : this.pods.buffersMissing(spec, pool, true);
    if (pool !== undefined && missing > 0) {
      const going = [...this.pods.values()].find(
        ({ deleting, spec: { key } }) => deleting && key !== spec.key,
      );
      if (going !== undefined && this.pods.buffersMissing(spec, pool, false) === 0)
        return this.hold(add, going.spec.key);
      return this.refuse(add.reply, `${name}: ${buffersText(pool, missing)}`);
    }
    const fits = pool && this.ready?.generation;
    const pod = known ?? (await this.admit(add, spec));
    if (pod === undefined) return;
    pod.coming = spec;
    pod.deleting = false;
    pod.calls += 1;
    this.adds += 1;
    const settled = (answer: AddAnswer): void => {
      add.reply.resolve(answer);
      this.ctx.tellSelf({ type: 'Settled', key: spec.key, verb: 'add', there: !('error' in answer) });
    };
    this.ctx
      .ask<PodMessage, AddAnswer>(
        pod.ref,
        (reply) => ({ type: 'Add', spec, signal: add.signal, ...(fits !== undefined && { fits }), reply }),
        Math.max(1, add.reply.deadline_ms - this.ctx.clock.now_ms()),
      )
      .then(settled, (error: Error) => settled({ error: `${name}: ${error.message}: retry` }));
  }

  /** A pod reaches its network by its interface in it. Undone and done again by a repeated ADD: the range may be another by then. */
  private withRange(add: CniAdd): CniAdd {
    const { spec } = add;
    const range = this.networks?.find(({ name }) => name === spec.network_name)?.range;
    if (range === undefined || spec.routes.includes(range)) return add;
    const has_family = spec.addresses[range.includes(':') ? 'ip6' : 'ip4'].length > 0;
    return has_family ? { ...add, spec: { ...spec, routes: [...spec.routes, range] } } : add;
  }

  /** Beside the default one; undefined: not known. */
  private get networks(): NodeThere['networks'] {
    return this.ready?.networks;
  }

  /** A pod that is new here, with what an unknown earlier life may have left of it; undefined: not yet. */
  private async admit(add: CniAdd, spec: PodSpec): Promise<PodEntry | undefined> {
    const left = this.sweeper.adopt(podInterfaceTag(spec));
    if (left !== undefined && 'wait' in left) {
      this.hold(add, left.wait);
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
    pod.deleting = true;
    pod.calls += 1;
    const settled = (answer: DeleteAnswer): void => {
      reply.resolve(answer);
      this.ctx.tellSelf({ type: 'Settled', key, verb: 'del', there: false });
    };
    this.ctx
      .ask<PodMessage, DeleteAnswer>(
        pod.ref,
        (answer) => ({ type: 'Delete', urgent: false, reply: answer }),
        Math.max(1, reply.deadline_ms - this.ctx.clock.now_ms()),
      )
      .then(settled, (error: Error) => settled({ error: `${name}: ${error.message}: repeat the call` }));
  }

  private refuse(reply: Reply<AddAnswer>, error: string): void {
    this.ctx.event('refused', error);
    reply.resolve({ error });
  }

  /** The other pod has to go first, and nobody will ask for that. */
  private makeRoom(add: CniAdd, other: PodEntry): void {
    this.remove(other, true);
    this.hold(add, other.spec.key);
  }

  private remove(pod: PodEntry, urgent: boolean): void {
    pod.deleting = true;
    pod.ref.tell({ type: 'Delete', urgent });
  }

  private hold(add: CniAdd, id: string): void {
    this.held.hold(add, id);
    const left_ms = add.reply.deadline_ms - this.ctx.clock.now_ms() - answer_margin_ms;
    this.ctx.after(Math.max(0, left_ms), { type: 'HeldExpired', add });
  }

  private heldExpired(add: CniAdd): void {
    const error = this.held.giveUp(add);
    if (error !== undefined) this.refuse(add.reply, error);
  }

  private release(adds: readonly CniAdd[]): void {
    for (const add of adds) this.ctx.tellSelf(add);
  }

  // --- pods

  private async spawn(spec: PodSpec, slot: number, deleting: boolean): Promise<PodEntry> {
    const { ctx, deps, records } = this;
    const { key } = spec;
    const { namespaces } = this;
    const { vpp, host, translations, policed, addresses } = deps;
    const name = this.pods.nameFor(spec);
    const ref = await ctx.spawn(
      podActor(name, key, {
        cni: ctx.self,
        vpp,
        host,
        namespaces,
        records,
        translations,
        policed,
        ...(addresses && { addresses }),
      }),
    );
    const pod = new PodEntry(spec, slot, ref, deleting, name);
    this.pods.set(key, pod);
    return pod;
  }

  private settled(key: PodKey, verb: 'add' | 'del', there: boolean): void {
    if (verb === 'add') this.adds -= 1;
    const pod = this.pods.get(key);
    if (pod !== undefined) {
      pod.calls -= 1;
      pod.spec = this.records.get(key)?.spec ?? pod.spec;
      if (pod.calls === 0) pod.coming = undefined;
      if (pod.calls === 0 && !there) pod.ref.tell({ type: 'StillThere' });
    }
    this.lookForUnpoliced();
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
    this.release(this.held.release(key));
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
    this.release(this.held.releaseOthers(this.pods));
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
    if (ready.networks !== undefined) this.release(this.held.release(network_unknown));
    this.survey.lookAtBuffers(ready);
    if (this.survey.done) this.survey.tellNode(ready);
    if (!this.survey.done || this.survey.starving) this.read();
  }

  /** What was known of VPP is void. */
  private forget(reason: string): void {
    this.survey.forget();
    this.late?.cancel();
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
    this.settling.begin(this.pods.keys());
    this.late?.cancel();
    this.late = this.ctx.after(this.deps.settings.settle_ms, { type: 'SettledLate', generation });
    this.report();
  }

  private swept(id: string, error?: Error): void {
    this.sweeper.ended(id, error);
    this.report();
    this.release(this.held.release(id));
  }

  private settledLate(generation: number): void {
    if (generation !== this.ready?.generation) return;
    for (const key of this.settling.giveUp())
      this.ctx.log.warn(
        { pod: this.pods.get(key)?.name, key },
        'pods(settle) not dealt with in time: the node does not wait for it',
      );
    this.report();
  }

  /** Each pod of a record has said so when it began. What has none, and is left alone, is judged by what an earlier life has told VPP. */
  private lookForUnpoliced(): void {
    const { settling, sweeper } = this;
    if (!this.survey.done || this.importing || this.adds > 0 || sweeper.leftAlone > 0 || sweeper.busy) return;
    if (!settling.state(false).settled) return;
    this.deps.policed.complete('cni');
    this.deps.addresses?.complete();
  }

  private report(): void {
    this.told.tell({
      has_vpp: this.ready !== undefined,
      is_importing: this.importing,
      is_sweeping: this.sweeper.busy,
      left_alone: this.sweeper.leftAlone,
    });
    this.lookForUnpoliced();
  }
}
