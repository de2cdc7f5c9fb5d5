/**
 * Serves the CNI plugin and owns the pods of the node: admits them, gives them their tables, one actor each, and their part
 * of every new VPP; removes what no pod owns. What it knows of pods is what their records say; what VPP holds it reads.
 */
import type { Actor, ActorContext, ActorRef, ChildSpec, Reply } from '../actor-system.js';
import type { CniServer } from '../cni/server.js';
import { type BufferPool, buffersText, lowestFreeSlot, recordedSlot } from '../desired/admission.js';
import type { CniAdd, CniMessage } from '../messages/cni.js';
import type { NodeReady } from '../messages/node.js';
import type { AddAnswer, DeleteAnswer, PodMessage, PodNode } from '../messages/pod.js';
import type { Translation } from '../objects/cnat.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import { keyOf, type VppObject } from '../objects/object.js';
import { podInterfaceTag } from '../pod/names.js';
import { addressesOf, type PodKey, type PodSpec, podName, sandboxName } from '../pod/spec.js';
import { answer_margin_ms } from '../pods/callers.js';
import type { CniDeps } from '../pods/cni-deps.js';
import { cniHandlers } from '../pods/handlers.js';
import { HeldAdds } from '../pods/held-adds.js';
import { PodNamespaces } from '../pods/pod-namespaces.js';
import { PodRecords } from '../pods/pod-records.js';
import { PodEntry, PodTable } from '../pods/pod-table.js';
import { RecordKeeper } from '../pods/record-keeper.js';
import { Settling } from '../pods/settling.js';
import { Sweeper } from '../pods/sweeper.js';
import { VppReader } from '../pods/vpp-reader.js';
import { podActor } from './pod.js';

/**
 * At one look for namespaces that have gone: nobody gets into one without a path, to remove the device first, so that each
 * of these pods stops VPP for some 20 ms. None of them is waited for.
 */
export const collected_max = 16;

/**
 * For so long a VPP is not given pods' interfaces before it has their policies. Of one that is closed a pod has no more than of none, but an
 * ADD that has come meanwhile is to be answered within 4750 ms.
 */
export const policies_ms = 4000;

/** So many audits pass over the tables that others may have filled: VPP does nothing else while it walks one. */
const light_audits_max = 9;

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

type PodLeft = Extract<CniMessage, { type: 'PodGone' }>['left'];

class Cni implements Actor<CniMessage> {
  private readonly records: PodRecords;
  private readonly namespaces: PodNamespaces;
  private readonly keeper: RecordKeeper;
  private readonly pods = new PodTable();
  private server: CniServer | undefined;
  /** Translations that no pod of now has; see Holdings. */
  private strays: readonly Translation[] = [];
  /** Pods of the Go implementation could not all be written down. */
  private importing = false;
  private ready: NodeReady | undefined;
  /** Of the last node that was lost. */
  private lost = 0;
  /** VPP is given policies before pods. */
  private awaits_policies = false;
  /** What VPP holds has been read since the node is ready, and every pod has its part. */
  private surveyed = false;
  /** ADDs handed to pods and not answered yet. */
  private adds = 0;
  private readonly held = new HeldAdds();
  private readonly reader: VppReader;
  private readonly sweeper: Sweeper;
  private readonly settling = new Settling('VPP is not ready yet');
  /** sw_if_index of each interface that VPP had when it was read last. */
  private indexes: ReadonlyMap<InterfaceTag, number> = new Map();
  private auditing = false;
  /** Pods have no interface for want of buffers. */
  private starving = false;
  /** Audits that may pass over what others fill, until the next whole one. */
  private light_audits = 0;

  constructor(
    private readonly ctx: ActorContext<CniMessage>,
    private readonly deps: CniDeps,
  ) {
    this.records = new PodRecords(deps.store);
    for (const { file, text } of this.records.problems) {
      ctx.log.error({ file }, `pods(load) ${text}`);
      ctx.event('records', `${file} ${text}`);
    }
    deps.translations.forget('pods');
    this.namespaces = new PodNamespaces(deps.host, deps.node_namespaces);
    this.keeper = new RecordKeeper(ctx, deps, this.records, this.namespaces);
    this.reader = new VppReader(ctx, deps.vpp);
    this.sweeper = new Sweeper(ctx, {
      vpp: deps.vpp,
      namespaces: this.namespaces,
      claimed: (object) => this.isClaimed(object),
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
    ctx.after(deps.settings.collect_ms, { type: 'Collect' });
    ctx.after(deps.settings.audit_ms, { type: 'Audit' });
  }

  receive(message: CniMessage): void | Promise<void> {
    switch (message.type) {
      case 'NodeReady':
        return this.nodeReady(message);
      case 'NodeLost':
        this.lost = message.generation;
        this.nodeLost(message.reason);
        for (const { ref } of this.pods.values()) ref.tellUrgent(message);
        return;
      case 'UplinkDown': {
        const reason = 'the uplink actor is down';
        this.nodeLost(reason);
        // VPP may well be the same afterwards: this must not overtake what pods have been told of it.
        for (const { ref } of this.pods.values())
          ref.tell({ type: 'NodeLost', generation: this.lost, reason });
        if (message.down.restarting) this.subscribe();
        return;
      }
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
        return this.observed(message);
      case 'Policed':
        return this.isPoliced(message.generation, message.late);
      case 'Swept':
        return this.swept(message.id, message.error);
      case 'Collect':
        return this.collect();
      case 'Audit':
        this.ctx.after(this.deps.settings.audit_ms, { type: 'Audit' });
        this.auditing = true;
        return this.audit();
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

  private async add(add: CniAdd): Promise<void> {
    const { spec } = add;
    const name = podName(spec.workload, spec.interface_name);
    const known = this.pods.get(spec.key);
    if (known !== undefined && this.isReplaced(known)) {
      // The pod of before is gone with its namespace, and with it the Linux side that VPP still points to.
      return this.makeRoom(add, known);
    }
    const conflict = this.pods.conflictOf(spec);
    if (conflict !== undefined) {
      const holder = this.pods.get(conflict.holder.key)!;
      if (holder.deleting || !this.isThere(holder)) return this.makeRoom(add, holder);
      const other = podName(holder.spec.workload, holder.spec.interface_name);
      return this.refuse(
        add.reply,
        `${name}: ${conflict.address} is that of ${other} (${holder.spec.netns}), which still runs on this node: delete that pod, or free the address in IPAM`,
      );
    }
    const { pool } = this;
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

  /** A pod that is new here, with what an unknown earlier life may have left of it; undefined: not yet. */
  private async admit(add: CniAdd, spec: PodSpec): Promise<PodEntry | undefined> {
    const left = this.sweeper.adopt(podInterfaceTag(spec));
    if (left !== undefined && 'wait' in left) {
      this.hold(add, left.wait);
      return undefined;
    }
    const slot = left?.slot ?? this.freeSlot();
    const pod = await this.spawn(spec, slot, false);
    const objects = [...(left?.objects ?? []), ...this.straysTo(spec)];
    if (this.surveyed) this.tellPart(pod, this.ctx.clock.now_ms(), objects, true);
    return pod;
  }

  /** What leads to an address of a pod that comes, and is not its wish, is removed by it. */
  private straysTo(spec: PodSpec): readonly Translation[] {
    const own = new Set(addressesOf(spec));
    const isTo = ({ backends }: Translation): boolean => backends.some(({ address }) => own.has(address));
    const found = this.strays.filter((object) => isTo(object) && !this.isClaimed(object));
    this.strays = this.strays.filter((object) => !isTo(object));
    return spec.network_name === '' ? found : [];
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
    const id = this.held.giveUp(add);
    if (id === undefined) return;
    const { netns, interface_name } = add.spec;
    const name = sandboxName(netns, interface_name);
    this.refuse(add.reply, `${name}: what is left of another pod (${id}) is not removed yet: retry`);
  }

  private release(adds: readonly CniAdd[]): void {
    for (const add of adds) this.ctx.tellSelf(add);
  }

  // --- pods

  private async spawn(spec: PodSpec, slot: number, deleting: boolean): Promise<PodEntry> {
    const { ctx, deps, records } = this;
    const { key } = spec;
    const { namespaces } = this;
    const { vpp, host, translations, policed } = deps;
    const name = this.pods.nameFor(spec);
    const ref = await ctx.spawn(
      podActor(name, key, { cni: ctx.self, vpp, host, namespaces, records, translations, policed }),
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
  private podGone(key: PodKey, left: PodLeft): void {
    this.settling.gone(key);
    this.report();
    const pod = this.pods.get(key);
    if (pod === undefined || pod.calls > 0) return;
    this.pods.delete(key);
    this.deps.policed.remove(podInterfaceTag(pod.spec));
    this.takeBack(pod, left);
    void this.ctx.stopChild(pod.name);
    // Its buffers are free.
    if (this.starving) this.read({ fresh: true });
    this.release(this.held.release(key));
  }

  /** What a pod was told of and has no record of is nobody's again. Not yet surveyed: it is found with the rest. */
  private takeBack(pod: PodEntry, left: PodLeft): void {
    if (!this.surveyed || (left !== undefined && left.generation !== this.ready?.generation)) return;
    const objects = left?.objects ?? pod.told;
    if (objects.length === 0) return;
    const { orphans, strays } = this.pods.holdings({ objects }, this.deps.translations);
    this.strays = [...this.strays, ...strays];
    this.sweeper.takeBack(orphans, pod.deleting);
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

  /** Its namespace stands at its path, or one that may become its own. */
  private isThere({ spec }: PodEntry): boolean {
    const record = this.records.get(spec.key);
    return record === undefined
      ? this.namespaces.mayBePods(spec.netns)
      : this.namespaces.of(record) !== undefined;
  }

  /** Another namespace than its own stands at its path. */
  private isReplaced(pod: PodEntry): boolean {
    return !this.isThere(pod) && this.namespaces.at(pod.spec.netns) !== undefined;
  }

  private async collect(): Promise<void> {
    if (this.importing) {
      this.importing = this.keeper.import(this.takenSlots()) ?? this.importing;
      await this.spawnRecorded();
      this.read({ fresh: true });
    }
    const { collect_ms } = this.deps.settings;
    this.keeper.mend();
    const now_ms = this.ctx.clock.now_ms();
    let collected = 0;
    for (const pod of this.pods.values()) {
      const { netns, workload, interface_name } = pod.spec;
      const missing_ms = pod.missingFor(this.isThere(pod), now_ms);
      // An intent that could not be written down is tried again.
      const leaves = this.records.get(pod.spec.key)?.phase === 'deleting';
      if (missing_ms === undefined || missing_ms < collect_ms || leaves) continue;
      if (collected === collected_max) break;
      collected += 1;
      const name = podName(workload, interface_name);
      this.ctx.event('collected', `${name}: ${netns} has gone, the pod is deleted`);
      this.remove(pod, false);
    }
    this.sweeper.collect();
    this.ctx.after(collect_ms, { type: 'Collect' });
  }

  // --- VPP comes, goes, and is looked at

  private subscribe(): void {
    this.deps.uplink.tell({ type: 'SubscribeNode', subscriber: this.ctx.self });
  }

  private nodeLost(reason: string): void {
    this.ready = undefined;
    this.forget(`the node: ${reason}`);
    this.ctx.blockedOn(`the node: ${reason}`);
    // What waited for an orphan is judged anew; it then waits for the node.
    this.release(this.held.releaseOthers(this.pods));
  }

  /**
   * Reads VPP before anything is done: the snapshot that comes along may be as old as the connection, when it is the
   * uplink actor that has started anew.
   */
  private nodeReady(ready: NodeReady): void {
    const is_other = this.ready?.generation !== ready.generation;
    this.ready = ready;
    if (is_other) {
      this.awaitPolicies(ready.generation);
      this.forget(this.awaits_policies ? 'VPP is given policies first' : 'VPP is asked what it holds');
    }
    this.ctx.blockedOn(undefined);
    this.lookAtBuffers(ready);
    this.read();
  }

  /** An interface that is closed until its policies come denies flows for as long as they go on: pods come when VPP has them. */
  private awaitPolicies(generation: number): void {
    const { ctx } = this;
    this.awaits_policies = this.deps.policed.whenSettled(generation, () =>
      ctx.tellSelf({ type: 'Policed', generation, late: false }),
    );
    if (this.awaits_policies) ctx.after(policies_ms, { type: 'Policed', generation, late: true });
  }

  private isPoliced(generation: number, late: boolean): void {
    if (!this.awaits_policies || generation !== this.ready?.generation) return;
    this.awaits_policies = false;
    if (late) {
      const text = `VPP has not been given all policies within ${policies_ms} ms: pods are closed until it is`;
      this.ctx.event('policies', text);
      this.ctx.log.warn({ generation }, `pods(policies) ${text}`);
    }
    this.read();
  }

  /** Better said at the start than with the first pod that does not fit. */
  private lookAtBuffers({ buffers }: NodeReady): void {
    const { buffers_wanted } = this.deps.settings;
    if (buffers === undefined || buffers >= buffers_wanted) return;
    const text = `VPP has ${buffers} packet buffers, all pods of the node would need ${buffers_wanted}: raise buffers-per-numa in the start-up template, or give the node more memory or hugepages`;
    this.ctx.event('buffers', text);
    this.ctx.log.warn({ buffers, buffers_wanted }, `pods(buffers) ${text}`);
  }

  /** What was known of VPP is void. */
  private forget(reason: string): void {
    this.surveyed = false;
    for (const pod of this.pods.values()) pod.told = [];
    this.settling.block(reason);
    this.report();
    this.reader.forget();
    this.sweeper.forget();
  }

  private audit(): void {
    const light = this.surveyed && this.light_audits > 0;
    if (light) this.light_audits -= 1;
    this.read({ audit: light });
  }

  /** `light`: what others fill was passed over. */
  private audited(orphans: readonly VppObject[], light: boolean): void {
    if (light && this.sweeper.isNew(orphans)) return this.read();
    this.auditing = false;
    if (!light) this.sweeper.audit(orphans);
  }

  private read(how: { readonly fresh?: boolean; readonly audit?: boolean } = {}): void {
    if (this.ready !== undefined && !this.awaits_policies) this.reader.read(how);
  }

  private observed({
    read,
    asked_ms,
    audit,
    snapshot: told,
  }: Extract<CniMessage, { type: 'Snapshot' }>): void {
    const snapshot = this.reader.result(read, told);
    const { ready } = this;
    if (snapshot === undefined || ready === undefined) return;
    this.indexes = new Map(snapshot.interfaces.map(({ tag, sw_if_index }) => [tag, sw_if_index]));
    const { translations } = this.deps;
    if (!this.surveyed) this.pods.claimHostPorts(snapshot, this.node(ready), translations);
    const holdings = this.pods.holdings(snapshot, translations);
    if (!audit) this.strays = holdings.strays;
    if (!this.surveyed) {
      this.surveyed = true;
      this.auditing = false;
      this.sweeper.survey(ready.generation, holdings.orphans);
      this.pods.assignSlots(holdings, this.sweeper.orphans.slots());
      translations.hasSpoken('pods');
      this.settling.begin(this.pods.keys());
      this.ctx.after(this.deps.settings.settle_ms, { type: 'SettledLate', generation: ready.generation });
      this.report();
    } else if (this.auditing) this.audited(holdings.orphans, audit);
    // What looks like an orphan has to be seen twice in a row.
    if (!audit) this.light_audits = this.sweeper.orphans.suspects > 0 ? 0 : light_audits_max;
    const { pool } = this;
    const starved = pool && this.pods.starved(holdings, pool);
    this.starving = starved !== undefined && starved.size > 0;
    for (const [key, pod] of this.pods) {
      const missing = starved?.get(key);
      const no_room = missing === undefined ? undefined : buffersText(pool!, missing);
      this.tellPart(pod, asked_ms, holdings.pods.get(podInterfaceTag(pod.spec)) ?? [], !audit, no_room);
    }
    this.reader.readAgain();
  }

  private tellPart(
    pod: PodEntry,
    asked_ms: number,
    objects: readonly VppObject[],
    whole: boolean,
    no_room?: string,
  ): void {
    const ready = this.ready!;
    const sw_if_index = this.indexes.get(podInterfaceTag(pod.spec));
    const holdings = { objects, whole, ...(sw_if_index !== undefined && { sw_if_index }) };
    const { generation } = ready;
    const { slot } = pod;
    const part = { type: 'Part', generation, asked_ms, node: this.node(ready), slot, holdings } as const;
    pod.told = this.records.get(pod.spec.key) === undefined ? objects : [];
    pod.ref.tell(no_room === undefined ? part : { ...part, no_room });
  }

  private get pool(): BufferPool | undefined {
    const { buffers, buffers_taken = 0 } = this.ready ?? {};
    return buffers === undefined ? undefined : { total: buffers, taken: buffers_taken };
  }

  private node({ mtu, node, redirects, workers, pools }: NodeReady): PodNode {
    const { gso, default_verdict } = this.deps.settings;
    return { mtu, node, redirects, workers, gso, default_verdict, ...(pools && { pools }) };
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
    if (!this.surveyed || this.importing || this.adds > 0 || sweeper.leftAlone > 0 || sweeper.busy) return;
    if (settling.state(false).settled) this.deps.policed.complete('cni');
  }

  private report(): void {
    const { settled, reason } = this.settling.state(this.sweeper.busy);
    const alone = this.sweeper.leftAlone;
    this.lookForUnpoliced();
    const more =
      alone > 0 ? `; ${alone} interfaces in living namespaces have no record, and are left alone` : '';
    this.deps.report({ settled, reason: `${reason}${more}` });
  }
}
