/**
 * Serves the CNI plugin and owns the pods of the node: admits them, gives them their tables, one actor each, and their part
 * of every new VPP; removes what no pod owns. What it knows of pods is what their records say; what VPP holds it reads.
 */
import type { Actor, ActorContext, ActorRef, ChildSpec, Reply } from '../actor-system.js';
import { importGoState } from '../cni/go-state.js';
import { cniHandlers } from '../cni/handlers.js';
import { podInterfaceTag } from '../cni/names.js';
import { NamespaceWatch } from '../cni/namespace-watch.js';
import { Orphans } from '../cni/orphans.js';
import { PodRecords, type PodStore } from '../cni/pod-records.js';
import {
  addressesOf,
  type PodKey,
  type PodLimits,
  type PodSpec,
  parseAddRequest,
  parseDelRequest,
  podName,
} from '../cni/pod-spec.js';
import { RemovalLane } from '../cni/removal-lane.js';
import type { CniHandlers, CniServer } from '../cni/server.js';
import {
  assignSlots,
  conflictOf,
  heldSlot,
  lowestFreeSlot,
  recordedSlot,
  tablesOf,
} from '../desired/admission.js';
import type { VppObject } from '../desired/objects.js';
import { desiredPod } from '../desired/pod.js';
import { default_table, hostPrefix, podTables } from '../desired/tables.js';
import type { Timer } from '../host/clock.js';
import type { HostNetwork } from '../host/types.js';
import type { CniAdd, CniMessage } from '../messages/cni.js';
import type { NodeReady, SubscribeNode } from '../messages/node.js';
import type { AddAnswer, DeleteAnswer, PodHoldings, PodMessage, PodNode } from '../messages/pod.js';
import type { TransactionResult, VppConnectionMessage } from '../messages/vpp.js';
import {
  assignOwners,
  isDangling,
  type OrphanGroup,
  type Ownership,
  type PodIdentity,
  podIdentity,
} from '../reconcile/ownership.js';
import { type Operation, removal } from '../reconcile/reconcile.js';
import type { Snapshot } from '../reconcile/snapshot.js';
import { podActor } from './pod.js';

export interface CniDeps {
  readonly vpp: ActorRef<VppConnectionMessage>;
  readonly uplink: ActorRef<SubscribeNode>;
  readonly host: HostNetwork;
  readonly store: PodStore;
  /** Begins to serve; see startCniServer. */
  readonly startServer: (handlers: CniHandlers) => Promise<CniServer>;
  /** Content of the Go implementation's state file, if there is one. Asked for only when there are no records at all. */
  readonly readGoState: () => string | undefined;
  /** Identity of the namespace at a path, undefined when there is none: another one may come to stand at the same path. */
  readonly namespaceId: (path: string) => number | bigint | undefined;
  readonly limits: PodLimits;
  readonly settings: CniSettings;
}

export interface CniSettings {
  readonly gso: boolean;
  /** Worker threads of VPP. */
  readonly workers: number;
  /** How often namespaces are looked at, and for how long one must have been missing before its pod is deleted. */
  readonly collect_ms: number;
  readonly audit_ms: number;
}

export const cni_settings_default: Omit<CniSettings, 'gso' | 'workers'> = {
  collect_ms: 60_000,
  audit_ms: 60_000,
};

const read_ms = 10_000;
const read_again_ms = 1000;
const sweep_ms = 10_000;
/** See pod.ts: an ADD held here is answered while its answer still reaches the caller. */
const answer_margin_ms = 100;

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

interface Entry {
  spec: PodSpec;
  slot: number;
  readonly ref: ActorRef<PodMessage>;
  /** Requests handed to the pod and not answered yet. */
  calls: number;
  deleting: boolean;
  readonly namespace: NamespaceWatch;
  /** Keys of the translations that were its host ports, also under earlier addresses of the node. */
  readonly host_ports: Set<string>;
}

class Cni implements Actor<CniMessage> {
  private readonly records: PodRecords;
  private readonly pods = new Map<PodKey, Entry>();
  private readonly lane = new RemovalLane();
  private server: CniServer | undefined;
  private ready: NodeReady | undefined;
  /** What VPP holds has been read since the node is ready, and every pod has its part. */
  private surveyed = false;
  /** ADDs handed to pods and not answered yet. */
  private adds = 0;
  /** ADDs that wait for the removal with this id: of a pod, or of an orphan. */
  private readonly held = new Map<CniAdd, string>();
  private readonly orphans = new Orphans();
  /** Records could not be read: what looks like a living pod may be one. */
  private readonly records_lost: boolean;
  /** The reading of VPP under way. */
  private reading: number | undefined;
  private reads = 0;
  /** A pod asked while a reading was under way that may be too old for it. */
  private stale = false;
  private auditing = false;
  private pacer: Timer | undefined;

  constructor(
    private readonly ctx: ActorContext<CniMessage>,
    private readonly deps: CniDeps,
  ) {
    this.records = new PodRecords(deps.store);
    for (const { file, text } of this.records.problems) {
      ctx.log.error({ file }, `pods(load) ${text}`);
      ctx.event('records', `${file} ${text}`);
    }
    this.records_lost = this.records.problems.length > 0;
  }

  async begin(): Promise<void> {
    const { ctx, deps } = this;
    if (this.records.list().length === 0 && !this.records_lost) this.takeOver();
    const slots = new Set<number>();
    for (const { spec, phase, tables } of this.records.list()) {
      const recorded = recordedSlot(tables);
      const slot = recorded === undefined || slots.has(recorded) ? lowestFreeSlot(slots) : recorded;
      slots.add(slot);
      await this.spawn(spec, slot, phase === 'deleting');
    }
    this.server = await deps.startServer(cniHandlers(ctx));
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
        return this.nodeLost(message.reason);
      case 'UplinkDown':
        this.nodeLost('the uplink actor is down');
        if (message.down.restarting) this.subscribe();
        return;
      case 'Add':
        return this.add(message);
      case 'Del':
        return this.del(message.request, message.reply);
      case 'Observe':
        this.stale = this.reading !== undefined;
        return this.read();
      case 'RemovalWanted':
        return this.removalWanted(message.key, message.urgent);
      case 'RemovalEnded':
        return this.removalEnded(message.key);
      case 'PodGone':
        return this.podGone(message.key);
      case 'PodDown':
        return this.removalEnded(message.key);
      case 'Settled':
        return this.settled(message.key, message.verb, message.there);
      case 'HeldExpired':
        return this.heldExpired(message.add);
      case 'Snapshot':
        return this.observed(message.read, message.asked_ms, message.snapshot);
      case 'Swept':
        return this.sweepEnded(message.id, message.error);
      case 'Pace':
        this.pacer = undefined;
        return this.pace();
      case 'Collect':
        return this.collect();
      case 'Audit':
        this.ctx.after(this.deps.settings.audit_ms, { type: 'Audit' });
        this.auditing = true;
        return this.read();
      case 'ReadAgain':
        return this.read();
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
      removals_waiting: this.lane.size,
      orphans: this.orphans.size,
    };
  }

  describe() {
    return {
      generation: this.ready?.generation,
      pods: [...this.pods.values()].map(({ spec, slot, deleting }) => ({
        pod: podName(spec.workload, spec.interface_name),
        key: spec.key,
        addresses: addressesOf(spec),
        slot,
        deleting,
      })),
      orphans: this.orphans.list().map(([, { tag, netns, objects }]) => ({
        tag,
        netns,
        objects: objects.length,
      })),
    };
  }

  // --- requests

  private async add(add: CniAdd): Promise<void> {
    const parsed = parseAddRequest(add.request, this.deps.limits);
    if ('error' in parsed) return this.refuse(add.reply, parsed.error);
    const { ok: spec, warnings } = parsed;
    const name = podName(spec.workload, spec.interface_name);
    if (warnings.length > 0)
      this.ctx.log.warn({ pod: name, warnings }, 'pod(add) parts of the request are ignored');

    const known = this.pods.get(spec.key);
    if (known?.namespace.isReplacedBy(this.namespaceId(spec.netns))) {
      // The pod of before is gone with its namespace, and with it the Linux side that VPP still points to.
      return this.makeRoom(add, known);
    }
    const conflict = conflictOf(
      spec,
      [...this.pods.values()].map((pod) => pod.spec),
    );
    if (conflict !== undefined) {
      const holder = this.pods.get(conflict.holder.key)!;
      if (holder.deleting || !this.deps.host.exists(holder.spec.netns)) return this.makeRoom(add, holder);
      const other = podName(holder.spec.workload, holder.spec.interface_name);
      return this.refuse(
        add.reply,
        `${name}: ${conflict.address} is that of ${other} (${holder.spec.netns}), which still runs on this node: delete that pod, or free the address in IPAM`,
      );
    }
    const pod = known ?? (await this.admit(add, spec));
    if (pod === undefined) return;
    pod.spec = spec;
    pod.deleting = false;
    pod.namespace.settle(this.namespaceId(spec.netns));
    if (this.ready !== undefined) this.identity(pod);
    pod.calls += 1;
    this.adds += 1;
    const settled = (answer: AddAnswer): void => {
      add.reply.resolve(answer);
      this.tellSelf({ type: 'Settled', key: spec.key, verb: 'add', there: !('error' in answer) });
    };
    this.ctx
      .ask<PodMessage, AddAnswer>(
        pod.ref,
        (reply) => ({ type: 'Add', spec, signal: add.signal, reply }),
        Math.max(1, add.reply.deadline_ms - this.ctx.clock.now_ms()),
      )
      .then(settled, (error: Error) => settled({ error: `${name}: ${error.message}: retry` }));
  }

  /** A pod that is new here, with what an unknown earlier life may have left of it; undefined: not yet. */
  private async admit(add: CniAdd, spec: PodSpec): Promise<Entry | undefined> {
    const id = this.orphans.idOf(podInterfaceTag(spec));
    if (id !== undefined && this.lane.isBusy(id)) {
      this.hold(add, id);
      return undefined;
    }
    const group = id === undefined ? undefined : this.orphans.get(id);
    if (id !== undefined) {
      this.orphans.delete(id);
      this.lane.end(id, this.ctx.clock.now_ms());
    }
    const pod = await this.spawn(spec, group?.slot ?? this.freeSlot(), false);
    if (this.surveyed) this.tellPart(pod, this.ctx.clock.now_ms(), { objects: group?.objects ?? [] });
    return pod;
  }

  private del(request: Extract<CniMessage, { type: 'Del' }>['request'], reply: Reply<DeleteAnswer>): void {
    const parsed = parseDelRequest(request);
    if ('nothing' in parsed) return reply.resolve({ deleted: true });
    const { key } = parsed.ok;
    for (const add of [...this.held.keys()]) {
      const { netns, interfaceName } = add.request;
      if (netns === parsed.ok.netns && interfaceName === parsed.ok.interface_name) {
        this.held.delete(add);
        this.refuse(add.reply, `pod ${netns} ${interfaceName}: the pod is deleted`);
      }
    }
    const pod = this.pods.get(key);
    if (pod === undefined) {
      // Without a record there is nobody to answer for it, but what looks like it goes.
      const id = this.orphans.idOf(podInterfaceTag(parsed.ok));
      if (id !== undefined) this.sweep(id);
      this.pace();
      return reply.resolve({ deleted: true });
    }
    pod.deleting = true;
    pod.calls += 1;
    const settled = (answer: DeleteAnswer): void => {
      reply.resolve(answer);
      this.tellSelf({ type: 'Settled', key, verb: 'del', there: false });
    };
    this.ctx
      .ask<PodMessage, DeleteAnswer>(
        pod.ref,
        (answer) => ({ type: 'Delete', urgent: false, reply: answer }),
        Math.max(1, reply.deadline_ms - this.ctx.clock.now_ms()),
      )
      .then(settled, (error: Error) =>
        settled({
          error: `pod ${request.netns} ${request.interfaceName}: ${error.message}: repeat the call`,
        }),
      );
  }

  private refuse(reply: Reply<AddAnswer>, error: string): void {
    this.ctx.event('refused', error);
    reply.resolve({ error });
  }

  /** The other pod has to go first, and nobody will ask for that. */
  private makeRoom(add: CniAdd, other: Entry): void {
    this.remove(other, true);
    this.hold(add, other.spec.key);
  }

  private remove(pod: Entry, urgent: boolean): void {
    pod.deleting = true;
    pod.ref.tell({ type: 'Delete', urgent });
  }

  private hold(add: CniAdd, id: string): void {
    this.held.set(add, id);
    const left_ms = add.reply.deadline_ms - this.ctx.clock.now_ms() - answer_margin_ms;
    this.ctx.after(Math.max(0, left_ms), { type: 'HeldExpired', add });
  }

  private heldExpired(add: CniAdd): void {
    const id = this.held.get(add);
    if (!this.held.delete(add)) return;
    const { netns, interfaceName } = add.request;
    this.refuse(
      add.reply,
      `pod ${netns} ${interfaceName}: what is left of another pod (${id}) is not removed yet: retry`,
    );
  }

  private release(id: string): void {
    for (const [add, waits_for] of [...this.held]) {
      if (waits_for !== id) continue;
      this.held.delete(add);
      this.tellSelf(add);
    }
  }

  // --- pods

  private async spawn(spec: PodSpec, slot: number, deleting: boolean): Promise<Entry> {
    const { ctx, deps, records } = this;
    const { key } = spec;
    const ref = await ctx.spawn(podActor(key, { cni: ctx.self, vpp: deps.vpp, host: deps.host, records }));
    ctx.watch(ref as ActorRef<never>, (down) => ({ type: 'PodDown', key, down }));
    const pod: Entry = {
      spec,
      slot,
      ref,
      calls: 0,
      deleting,
      namespace: new NamespaceWatch(),
      host_ports: new Set(),
    };
    this.pods.set(key, pod);
    return pod;
  }

  private settled(key: PodKey, verb: 'add' | 'del', there: boolean): void {
    if (verb === 'add') this.adds -= 1;
    const pod = this.pods.get(key);
    if (pod !== undefined) {
      pod.calls -= 1;
      if (pod.calls === 0 && !there) pod.ref.tell({ type: 'StillThere' });
    }
    this.pace();
  }

  /** A pod that has been asked for something since is not gone; it is asked again when it has answered. */
  private podGone(key: PodKey): void {
    const pod = this.pods.get(key);
    if (pod === undefined || pod.calls > 0) return;
    this.pods.delete(key);
    this.lane.end(key, this.ctx.clock.now_ms());
    void this.ctx.stopChild(key);
    this.release(key);
    this.pace();
  }

  private freeSlot(): number {
    const taken = [...this.pods.values()].map(({ slot }) => slot);
    return lowestFreeSlot(new Set([...taken, ...this.orphans.slots()]));
  }

  /** Pods of the Go implementation that are still there become ours; its file stays where it is. */
  private takeOver(): void {
    const text = this.deps.readGoState();
    if (text === undefined) return;
    const { specs, problems } = importGoState(text);
    for (const problem of problems) this.ctx.event('import', problem);
    if (problems.length > 0) this.ctx.log.warn({ problems: problems.length }, 'pods(import) see the events');
    const alive = specs.filter(({ netns }) => this.deps.host.exists(netns));
    for (const [slot, spec] of alive.entries()) {
      this.records.put({ phase: 'done', spec, tables: tablesOf(spec, slot) });
    }
    this.ctx.event('import', `${alive.length} pods taken over from the Go implementation`);
  }

  private namespaceId(netns: string): number | bigint | undefined {
    return this.deps.host.exists(netns) ? this.deps.namespaceId(netns) : undefined;
  }

  private collect(): void {
    const { collect_ms } = this.deps.settings;
    const now_ms = this.ctx.clock.now_ms();
    for (const pod of this.pods.values()) {
      const { netns, workload, interface_name } = pod.spec;
      const missing_ms = pod.namespace.look(this.namespaceId(netns), now_ms);
      if (missing_ms === undefined || missing_ms < collect_ms || pod.deleting) continue;
      const name = podName(workload, interface_name);
      this.ctx.event('collected', `${name}: ${netns} has gone, the pod is deleted`);
      this.remove(pod, false);
    }
    for (const [id, group] of this.orphans.list()) if (!this.looksAlive(group)) this.sweep(id);
    this.pace();
    this.ctx.after(collect_ms, { type: 'Collect' });
  }

  // --- VPP comes, goes, and is looked at

  private subscribe(): void {
    this.deps.uplink.tell({ type: 'SubscribeNode', subscriber: this.ctx.self });
  }

  private nodeLost(reason: string): void {
    this.ready = undefined;
    this.forget();
    for (const { ref } of this.pods.values()) ref.tell({ type: 'NodeLost', reason });
    this.ctx.blockedOn(`the node: ${reason}`);
    // What waited for an orphan is judged anew; it then waits for the node.
    for (const id of new Set(this.held.values())) if (!this.pods.has(id)) this.release(id);
  }

  /**
   * Reads VPP before anything is done: the snapshot that comes along may be as old as the connection, when it is the
   * uplink actor that has started anew.
   */
  private nodeReady(ready: NodeReady): void {
    if (this.ready?.generation !== ready.generation) this.forget();
    this.ready = ready;
    this.ctx.blockedOn(undefined);
    this.read();
  }

  /** What was known of VPP is void. */
  private forget(): void {
    this.surveyed = false;
    this.reading = undefined;
    this.lane.clear();
    this.orphans.clear();
  }

  private owners(snapshot: Snapshot): Ownership {
    return assignOwners(
      snapshot,
      [...this.pods.values()].map((pod) => this.identity(pod)),
    );
  }

  private identity({ spec, slot, host_ports }: Entry): PodIdentity {
    const desired = desiredPod(spec, { ...this.node(), tables: podTables(slot) });
    const identity = podIdentity(spec, desired);
    for (const key of identity.host_ports) host_ports.add(key);
    return { ...identity, host_ports: [...host_ports] };
  }

  private node(): PodNode {
    const { mtu, node, redirects } = this.ready!;
    const { gso, workers } = this.deps.settings;
    return { mtu, node, redirects, gso, workers };
  }

  private assignSlots({ pods }: Ownership): void {
    const claims = [...this.pods].map(([key, { spec, slot }]) => {
      const held = heldSlot(pods.get(podInterfaceTag(spec)) ?? []);
      return { key, wished: slot, ...(held !== undefined && { held }) };
    });
    for (const [key, slot] of assignSlots(claims, this.orphans.slots())) this.pods.get(key)!.slot = slot;
  }

  private tellParts(snapshot: Snapshot, owners: Ownership, asked_ms: number): void {
    const indexes = new Map(snapshot.interfaces.map(({ tag, sw_if_index }) => [tag, sw_if_index]));
    for (const pod of this.pods.values()) {
      const tag = podInterfaceTag(pod.spec);
      const sw_if_index = indexes.get(tag);
      this.tellPart(pod, asked_ms, {
        objects: owners.pods.get(tag) ?? [],
        ...(sw_if_index !== undefined && { sw_if_index }),
      });
    }
  }

  private tellPart(pod: Entry, asked_ms: number, holdings: PodHoldings): void {
    const { generation } = this.ready!;
    pod.ref.tell({ type: 'Part', generation, asked_ms, node: this.node(), slot: pod.slot, holdings });
  }

  private read(): void {
    if (this.reading !== undefined || this.ready === undefined) return;
    this.reads += 1;
    const read = this.reads;
    const asked_ms = this.ctx.clock.now_ms();
    this.reading = read;
    const tell = (snapshot: Snapshot | Error): void =>
      this.tellSelf({ type: 'Snapshot', read, asked_ms, snapshot });
    this.ctx
      .ask<VppConnectionMessage, Snapshot>(
        this.deps.vpp,
        (reply) => ({ type: 'ReadSnapshot', reply }),
        read_ms,
      )
      .then(tell, tell);
  }

  private observed(read: number, asked_ms: number, snapshot: Snapshot | Error): void {
    if (this.reading !== read) return;
    this.reading = undefined;
    if (snapshot instanceof Error) {
      this.ctx.log.warn({ err: snapshot }, 'pods(read) VPP does not tell what it holds');
      this.ctx.after(read_again_ms, { type: 'ReadAgain' });
      return;
    }
    const owners = this.owners(snapshot);
    if (!this.surveyed) this.survey(owners);
    else if (this.auditing) this.audit(owners);
    this.auditing = false;
    this.tellParts(snapshot, owners, asked_ms);
    this.pace();
    if (this.stale) this.read();
    this.stale = false;
  }

  /** The first look at a VPP, when none of our pods is being programmed. */
  private survey(owners: Ownership): void {
    this.surveyed = true;
    // Before any interface is made or deleted: a new one would get the index that these still point to.
    this.sweepDangling(owners.orphans);
    for (const id of this.orphans.add(owners.orphans)) this.judge(id);
    this.assignSlots(owners);
  }

  private audit(owners: Ownership): void {
    const orphans = owners.orphans.filter((object) => !this.isOfPod(object));
    const confirmed = this.orphans.confirm(orphans);
    this.sweepDangling(confirmed);
    for (const id of this.orphans.add(confirmed)) this.judge(id);
  }

  // --- what belongs to no pod

  /** An interface in a living namespace may be a pod's whose record is lost: taken away, that pod would lose its network. */
  private looksAlive({ netns }: OrphanGroup): boolean {
    return this.records_lost && netns !== undefined && this.deps.host.exists(netns);
  }

  private judge(id: string): void {
    const group = this.orphans.get(id)!;
    if (!this.looksAlive(group)) return this.sweep(id);
    const { tag, netns } = group;
    this.ctx.event('orphan', `${tag} in ${netns} has no record: left alone until that pod is deleted`);
    this.ctx.log.warn({ tag, netns }, 'pods(sweep) an interface without record is left alone');
  }

  private sweep(id: string): void {
    if (!this.lane.has(id)) this.lane.want(id, Infinity, () => this.sweepNow(id));
  }

  private sweepNow(id: string): void {
    const group = this.orphans.get(id)!;
    this.ctx.event(
      'orphan',
      `${group.tag ?? 'tables'}: removed, ${group.objects.length} objects of no known pod`,
    );
    const operations = removal(group.objects.filter((object) => !this.isOfPod(object)));
    this.transact(group.tag ?? id, operations, (error) => ({ type: 'Swept', id, ...(error && { error }) }));
  }

  private sweepEnded(id: string, error?: Error): void {
    this.lane.end(id, this.ctx.clock.now_ms());
    // What VPP would not give up is seen again by the audits.
    this.orphans.delete(id);
    if (error !== undefined) this.ctx.log.warn({ err: error }, 'pods(sweep) not all could be removed');
    this.release(id);
    this.pace();
  }

  private sweepDangling(orphans: readonly VppObject[]): void {
    const dangling = orphans.filter(isDangling);
    if (dangling.length > 0) this.transact('routes', removal(dangling));
  }

  private transact(
    what: string,
    operations: readonly Operation[],
    done?: (error?: Error) => CniMessage,
  ): void {
    const transaction = {
      generation: this.ready!.generation,
      owner: `left over: ${what}`,
      operations,
      on_error: 'continue' as const,
    };
    const tell = (error?: Error): void => {
      if (done !== undefined) this.tellSelf(done(error));
    };
    this.ctx
      .ask<VppConnectionMessage, TransactionResult>(
        this.deps.vpp,
        (reply) => ({ type: 'Transact', transaction, reply }),
        sweep_ms,
      )
      .then(({ error }) => tell(error), tell);
  }

  /** The route to an address that a pod has now, whoever made it. */
  private isOfPod(object: VppObject): boolean {
    if (object.kind !== 'route' || object.table_id !== default_table) return false;
    for (const { spec } of this.pods.values()) {
      if (addressesOf(spec).some((address) => hostPrefix(address) === object.prefix)) return true;
    }
    return false;
  }

  // --- the lane of removals

  private removalWanted(key: PodKey, urgent: boolean): void {
    const pod = this.pods.get(key);
    if (pod === undefined || !this.surveyed) return;
    const since_ms = urgent ? -Infinity : this.ctx.clock.now_ms();
    this.lane.want(key, since_ms, () => void pod.ref.tell({ type: 'RemovalTurn' }));
    this.pace();
  }

  private removalEnded(key: PodKey): void {
    this.lane.end(key, this.ctx.clock.now_ms());
    this.pace();
  }

  private pace(): void {
    this.pacer?.cancel();
    this.pacer = undefined;
    if (!this.surveyed) return;
    const wait_ms = this.lane.pump(this.ctx.clock.now_ms(), this.adds);
    if (wait_ms !== undefined) this.pacer = this.ctx.after(wait_ms, { type: 'Pace' });
  }

  private tellSelf(message: CniMessage): void {
    if (!this.ctx.signal.aborted) this.ctx.self.tell(message);
  }
}
