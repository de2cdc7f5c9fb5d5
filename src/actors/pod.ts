/**
 * One pod interface: makes VPP and the pod's namespace hold what the pod's record says, and removes all of it again. What
 * it does next follows from its data alone (`advance`), so that a new VPP, a repeated request and a lost reply lead to the
 * same place by the same code.
 *
 *   nothing ──Add──▶ intended ──programmed──▶ done ──Delete──▶ deleting ──removed──▶ nothing
 *                       └──failed, given up, or from an earlier life──▶ deleting
 */
import { isDeepStrictEqual } from 'node:util';
import {
  type Actor,
  type ActorContext,
  type ActorRef,
  type ChildSpec,
  codeOf,
  type Reply,
} from '../actor-system.js';
import { deviceInTheWay, dropDevice, programDevice } from '../cni/pod-device.js';
import type { PodPhase, PodRecord } from '../cni/pod-record.js';
import type { PodRecords } from '../cni/pod-records.js';
import { addressesOf, type PodKey, type PodSpec, podName } from '../cni/pod-spec.js';
import { recordedSlot, tablesOf } from '../desired/admission.js';
import type { VppObject } from '../desired/objects.js';
import { desiredPod, podMtu } from '../desired/pod.js';
import { podTables } from '../desired/tables.js';
import type { Timer } from '../host/clock.js';
import type { HostNetwork } from '../host/types.js';
import type { CniMessage } from '../messages/cni.js';
import type { AddAnswer, DeleteAnswer, PodMessage, PodNode } from '../messages/pod.js';
import type { TransactionResult, VppConnectionMessage } from '../messages/vpp.js';
import { applyOutcomes } from '../reconcile/outcome.js';
import { isUnknown, type Operation, reconcile, removal } from '../reconcile/reconcile.js';

export interface PodDeps {
  readonly cni: ActorRef<CniMessage>;
  readonly vpp: ActorRef<VppConnectionMessage>;
  readonly host: HostNetwork;
  readonly records: PodRecords;
}

/** VPP does a transaction in milliseconds; one that lasts longer than this has got lost, or VPP is about to be killed. */
const transaction_ms = 10_000;
/** A caller is answered this long before it gives up, while its answer still reaches it. */
const answer_margin_ms = 100;
const retry_first_ms = 1000;
const retry_max_ms = 60_000;

export function podActor(key: PodKey, deps: PodDeps): ChildSpec<PodMessage> {
  return {
    name: key,
    restart: 'permanent',
    shutdown_ms: 1000,
    mailbox_max: 256,
    handler_ms_max: 5000,
    start: (ctx) => new Pod(ctx, key, deps),
  };
}

/** An ADD that waits or is carried out, and all who asked for the same. */
interface Pending {
  readonly spec: PodSpec;
  /** There was no such pod before: when it fails, nothing is to be left of it. */
  readonly fresh: boolean;
  /** What the pod was until now. */
  readonly before?: PodSpec;
  readonly callers: Map<number, Reply<AddAnswer>>;
  /** The record says so: VPP may hold some of it. */
  begun: boolean;
  /** Its interface has been removed to be made with other queues. */
  remade: boolean;
}

type Purpose = 'add' | 'resync' | 'remove';

interface Flight {
  readonly id: number;
  readonly purpose: Purpose;
  readonly generation: number;
  readonly on_error: 'rollback' | 'continue';
}

class Pod implements Actor<PodMessage> {
  private record: PodRecord | undefined;
  private part: { readonly generation: number; readonly node: PodNode; readonly slot: number } | undefined;
  /** What VPP holds for this pod; undefined: not known. */
  private actual: readonly VppObject[] | undefined;
  private sw_if_index: number | undefined;
  private add: Pending | undefined;
  private readonly deletes = new Map<number, Reply<DeleteAnswer>>();
  /** Ends the watch over each call. */
  private readonly over = new Map<number, () => void>();
  /** The transaction under way. */
  private flight: Flight | undefined;
  private flights = 0;
  private turn: 'none' | 'asked' | 'urgent' | 'granted' = 'none';
  private observing = false;
  /** VPP or Linux may lack something of a pod that is done. */
  private dirty = true;
  private retry: Timer | undefined;
  private retries = 0;
  private last_call = 0;
  /** When it last changed something in VPP. */
  private busy_ms = -1;
  private unready = 'VPP is not ready yet';
  private fault = '';

  constructor(
    private readonly ctx: ActorContext<PodMessage>,
    private readonly key: PodKey,
    private readonly deps: PodDeps,
  ) {
    this.record = deps.records.get(key);
    // A former life knew what VPP holds, and may have been in the middle of changing it.
    if (ctx.incarnation > 1) {
      if (this.record === undefined) this.nothingLeft();
      else this.observe();
    }
  }

  receive(message: PodMessage): void {
    switch (message.type) {
      case 'Add':
        return this.askedToAdd(message.spec, message.signal, message.reply);
      case 'Delete':
        return this.askedToDelete(message.urgent, message.reply);
      case 'Part':
        return this.observed(message);
      case 'NodeLost':
        this.ground();
        this.part = undefined;
        this.unready = `VPP is not ready: ${message.reason}`;
        return this.advance();
      case 'StillThere':
        return this.advance();
      case 'RemovalTurn':
        this.turn = 'granted';
        return this.advance();
      case 'Transacted':
        return this.transacted(message.flight, message.outcome);
      case 'GaveUp':
        return this.gaveUp(message.call);
      case 'Retry':
        this.retry = undefined;
        return this.advance();
    }
  }

  gauges() {
    return {
      phase: this.record?.phase ?? 'none',
      sw_if_index: this.sw_if_index ?? -1,
      callers: (this.add?.callers.size ?? 0) + this.deletes.size,
      retries: this.retries,
      in_flight: this.flight?.purpose ?? '',
      fault: this.fault.slice(0, 200),
    };
  }

  describe() {
    const { record, part } = this;
    return {
      key: this.key,
      phase: record?.phase ?? 'none',
      spec: record?.spec ?? this.add?.spec,
      slot: part?.slot,
      generation: part?.generation,
      sw_if_index: this.sw_if_index,
      objects: this.actual?.length,
      fault: this.fault,
    };
  }

  // --- what is asked for

  private askedToAdd(spec: PodSpec, signal: AbortSignal, reply: Reply<AddAnswer>): void {
    if (signal.aborted) return this.advance();
    const call = this.callUntil(reply.deadline_ms, signal);
    const { add, record } = this;
    if (add !== undefined && isDeepStrictEqual(add.spec, spec)) {
      add.callers.set(call, reply);
      return this.advance();
    }
    if (add !== undefined) this.refuse(add, 'superseded by another ADD for the same interface');
    const before = record?.phase === 'done' ? record.spec : undefined;
    this.add = {
      spec,
      fresh: before === undefined,
      ...(before !== undefined && { before }),
      callers: new Map([[call, reply]]),
      begun: false,
      remade: false,
    };
    if (this.turn === 'asked') this.askTurn();
    this.advance();
  }

  private askedToDelete(urgent: boolean, reply?: Reply<DeleteAnswer>): void {
    if (reply !== undefined) this.deletes.set(this.callUntil(reply.deadline_ms), reply);
    const { add } = this;
    if (add !== undefined) {
      this.add = undefined;
      this.refuse(add, 'the pod is deleted');
    }
    // What has a record may be in VPP. A failed write leaves the pod as it is; the caller repeats the DEL.
    if (this.record !== undefined && !this.write(this.record.spec, 'deleting')) {
      return this.answerDeletes({ error: this.fault });
    }
    this.forgetRetry();
    if (urgent) this.askTurn(true);
    this.advance();
  }

  /** Has GaveUp told when the call is over: its number. */
  private callUntil(deadline_ms: number, signal?: AbortSignal): number {
    const { ctx } = this;
    this.last_call += 1;
    const call = this.last_call;
    const left_ms = Math.max(0, deadline_ms - ctx.clock.now_ms() - answer_margin_ms);
    const timer = ctx.after(left_ms, { type: 'GaveUp', call });
    const onAbort = (): void => {
      if (!ctx.signal.aborted) ctx.self.tell({ type: 'GaveUp', call });
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    this.over.set(call, () => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
    });
    return call;
  }

  private gaveUp(call: number): void {
    const name = this.name();
    const state = this.part === undefined ? this.unready : 'VPP is busy';
    const { add } = this;
    this.settled(call);
    this.deletes
      .get(call)
      ?.resolve({ error: `${name}: not deleted in time, ${state}: it will be; repeat the call` });
    this.deletes.delete(call);
    add?.callers.get(call)?.resolve({ error: `${name}: not connected in time, ${state}: retry` });
    if (add?.callers.delete(call) && add.callers.size === 0) {
      // Nobody would learn that the pod is there: what was done of it is undone.
      this.add = undefined;
      if (!add.fresh) this.dirty = true;
    }
    this.advance();
  }

  // --- what VPP holds

  /** Whatever is under way will not be answered, or does not count any more. */
  private ground(): void {
    this.flight = undefined;
    this.endTurn();
    this.actual = undefined;
    this.sw_if_index = undefined;
    this.observing = false;
    this.dirty = true;
    if (this.add !== undefined) this.add.begun = false;
    this.forgetRetry();
  }

  private observed(part: Extract<PodMessage, { type: 'Part' }>): void {
    const { generation, asked_ms, holdings } = part;
    const first = this.part?.generation !== generation;
    if (first) this.ground();
    else if (this.flight !== undefined) return;
    else if (this.actual !== undefined && this.busy_ms >= asked_ms) return;
    else if (this.busy_ms > asked_ms) return this.observe();
    // No dump shows some of it, which is still there if it was: this is the same VPP.
    const unseen = first ? [] : (this.actual ?? []).filter(isUnknown);
    this.part = part;
    this.actual = [...holdings.objects, ...unseen];
    this.sw_if_index = holdings.sw_if_index;
    this.observing = false;
    this.dirty = true;
    this.advance();
  }

  private observe(): void {
    this.observing = true;
    this.deps.cni.tell({ type: 'Observe', key: this.key });
  }

  // --- what is to be done next

  private advance(): void {
    if (this.flight !== undefined) return;
    const { record, add, part, actual } = this;
    if (record === undefined && add === undefined) return this.nothingLeft();
    this.ctx.blockedOn(part === undefined ? this.unready : undefined);
    if (part === undefined) return;
    if (actual === undefined) {
      if (!this.observing) this.observe();
      return;
    }
    const leaving = record?.phase === 'deleting' || (record?.phase === 'intended' && add === undefined);
    if (leaving) this.remove(record, actual);
    else if (add !== undefined) this.connect(add, actual);
    else if (this.dirty) this.resync(record!, actual);
  }

  private nothingLeft(): void {
    this.ctx.blockedOn(undefined);
    this.endTurn();
    this.forgetRetry();
    this.fault = '';
    this.answerDeletes({ deleted: true });
    this.deps.cni.tell({ type: 'PodGone', key: this.key });
  }

  private connect(add: Pending, actual: readonly VppObject[]): void {
    if (!add.begun) {
      const refusal = this.refusal(add, actual);
      if (refusal !== undefined) return this.addFailed(add, refusal);
      const unchanged = add.before !== undefined && isDeepStrictEqual(add.before, add.spec);
      if (!unchanged && !this.write(add.spec, add.fresh ? 'intended' : 'done')) {
        return this.addFailed(add, this.fault);
      }
      add.begun = true;
    }
    // Queues are not seen in a dump: an interface with others is made anew.
    const { before, spec } = add;
    if (
      before !== undefined &&
      !add.remade &&
      !isDeepStrictEqual(before.interface_spec, spec.interface_spec)
    ) {
      add.remade = true;
      return this.transact('add', removal(actual), 'continue');
    }
    const operations = reconcile(this.desired(spec), actual);
    if (operations.length > 0) return this.transact('add', operations, add.fresh ? 'rollback' : 'continue');
    this.finishAdd(add);
  }

  private finishAdd(add: Pending): void {
    let mac: string | undefined;
    try {
      mac = programDevice(this.deps.host, add.spec, this.mtu(add.spec), add.before).mac;
    } catch (error) {
      return this.addFailed(add, (error as Error).message);
    }
    if (this.record?.phase !== 'done' && !this.write(add.spec, 'done'))
      return this.addFailed(add, this.fault);
    this.clean();
    this.add = undefined;
    const answer: AddAnswer = {
      host_interface_name: `vpp-tun-${this.sw_if_index}`,
      ...(add.spec.interface_type === 'tap' && mac !== undefined && { container_mac: mac }),
    };
    for (const [call, reply] of add.callers) {
      this.settled(call);
      reply.resolve(answer);
    }
    this.ctx.log.info(
      { pod: this.name(), addresses: addressesOf(add.spec), interface: answer.host_interface_name },
      'pod(add) connected',
    );
    this.advance();
  }

  /** Why the pod cannot be connected, before anything has been touched for it. */
  private refusal(add: Pending, actual: readonly VppObject[]): string | undefined {
    const { host } = this.deps;
    const { spec } = add;
    if (!host.exists(spec.netns)) {
      return `${spec.netns} is no network namespace: the sandbox has gone, the runtime makes another`;
    }
    if (actual.some(({ kind }) => kind === 'tap')) return undefined;
    try {
      return deviceInTheWay(host, spec);
    } catch (error) {
      return (error as Error).message;
    }
  }

  private addFailed(add: Pending, cause: string): void {
    this.add = undefined;
    this.refuse(add, cause);
    this.ctx.event('refused', `${this.name()}: ${cause}`);
    if (add.fresh) this.fault = cause;
    else this.tryAgain(cause);
    this.advance();
  }

  private resync(record: PodRecord, actual: readonly VppObject[]): void {
    if (this.retry !== undefined) return;
    const { spec } = record;
    if (!this.deps.host.exists(spec.netns)) return this.tryAgain(`${spec.netns} has gone`);
    const operations = reconcile(this.desired(spec), actual);
    if (operations.length > 0) return this.transact('resync', operations, 'continue');
    try {
      programDevice(this.deps.host, spec, this.mtu(spec));
    } catch (error) {
      return this.tryAgain((error as Error).message);
    }
    const slot = this.part!.slot;
    if (recordedSlot(record.tables) !== slot && !this.write(spec, 'done')) return this.tryAgain(this.fault);
    this.clean();
  }

  private remove(record: PodRecord, actual: readonly VppObject[]): void {
    if (this.retry !== undefined) return;
    const operations = removal(actual);
    if (operations.length === 0) return this.removed(record);
    if (record.phase !== 'deleting' && !this.write(record.spec, 'deleting')) return this.tryAgain(this.fault);
    const costly = actual.some(({ kind }) => kind === 'tap');
    if (costly && this.turn !== 'granted') return this.askTurn();
    this.transact('remove', operations, 'continue');
  }

  private removed(record: PodRecord): void {
    this.endTurn();
    dropDevice(this.deps.host, record.spec);
    try {
      this.deps.records.remove(this.key);
    } catch (error) {
      this.answerDeletes({ error: (error as Error).message });
      return this.tryAgain((error as Error).message);
    }
    const name = this.name();
    this.record = undefined;
    this.sw_if_index = undefined;
    this.retries = 0;
    this.answerDeletes({ deleted: true });
    this.ctx.log.info({ pod: name }, 'pod(del) removed');
    this.advance();
  }

  /** Removals are costly for VPP: one at a time, and urgent when an ADD waits behind it. */
  private askTurn(urgent = this.add !== undefined): void {
    if (this.turn === 'granted' || this.turn === 'urgent' || (this.turn === 'asked' && !urgent)) return;
    this.turn = urgent ? 'urgent' : 'asked';
    this.deps.cni.tell({ type: 'RemovalWanted', key: this.key, urgent });
  }

  private endTurn(): void {
    if (this.turn === 'none') return;
    this.turn = 'none';
    this.deps.cni.tell({ type: 'RemovalEnded', key: this.key });
  }

  // --- transactions

  private transact(
    purpose: Purpose,
    operations: readonly Operation[],
    on_error: 'rollback' | 'continue',
  ): void {
    const { ctx } = this;
    const generation = this.part!.generation;
    this.flights += 1;
    const flight = this.flights;
    this.flight = { id: flight, purpose, generation, on_error };
    const transaction = { generation, owner: `${this.name()} (${this.key})`, operations, on_error };
    const tell = (outcome: TransactionResult | Error): void => {
      if (!ctx.signal.aborted) ctx.self.tell({ type: 'Transacted', flight, outcome });
    };
    ctx
      .ask<VppConnectionMessage, TransactionResult>(
        this.deps.vpp,
        (reply) => ({ type: 'Transact', transaction, reply }),
        transaction_ms,
      )
      .then(tell, tell);
  }

  private transacted(id: number, outcome: TransactionResult | Error): void {
    const { flight } = this;
    if (flight?.id !== id) return;
    this.flight = undefined;
    this.busy_ms = this.ctx.clock.now_ms();
    if (flight.purpose === 'remove') this.endTurn();
    if (!(outcome instanceof Error)) {
      const rolled_back = outcome.error !== undefined && flight.on_error === 'rollback';
      this.actual = applyOutcomes(this.actual!, outcome, rolled_back);
      const tap = this.actual.find((object) => object.kind === 'tap');
      if (tap === undefined) this.sw_if_index = undefined;
      else if (tap.kind === 'tap') this.sw_if_index = outcome.interfaces.get(tap.tag) ?? this.sw_if_index;
      if (outcome.error === undefined) this.advance();
      else this.transactionFailed(flight.purpose, outcome.error.message);
      return;
    }
    switch (codeOf(outcome)) {
      case 'stale_generation':
        // That VPP, or the connection to it, is no more; a Part with what holds then is on its way.
        if (this.part?.generation === flight.generation) this.part = undefined;
        this.actual = undefined;
        return this.advance();
      case 'quarantined':
      case 'overflow':
        return this.transactionFailed(flight.purpose, outcome.message);
      default:
        // It may have been carried out, in part or whole.
        this.actual = undefined;
        return this.transactionFailed(flight.purpose, outcome.message);
    }
  }

  private transactionFailed(purpose: Purpose, cause: string): void {
    const { add } = this;
    if (purpose === 'add' && add?.begun) return this.addFailed(add, `VPP: ${cause}`);
    if (purpose === 'remove') {
      this.answerDeletes({ error: `${this.name()}: VPP: ${cause}: it is tried again; repeat the call` });
    }
    if (purpose !== 'add') this.tryAgain(`VPP: ${cause}`);
    this.advance();
  }

  // --- small things

  private desired(spec: PodSpec): VppObject[] {
    const { node, slot } = this.part!;
    return desiredPod(spec, { ...node, mtu: this.mtu(spec), tables: podTables(slot) });
  }

  private mtu(spec: PodSpec): number {
    return podMtu(spec, this.part!.node.mtu);
  }

  private name(): string {
    const spec = this.record?.spec ?? this.add?.spec;
    return spec === undefined ? this.key : podName(spec.workload, spec.interface_name);
  }

  /** False when it could not be written; `fault` then says why. */
  private write(spec: PodSpec, phase: PodPhase): boolean {
    const tables = this.part === undefined ? (this.record?.tables ?? {}) : tablesOf(spec, this.part.slot);
    const record: PodRecord = { phase, spec, tables };
    if (isDeepStrictEqual(record, this.record)) return true;
    try {
      this.deps.records.put(record);
    } catch (error) {
      this.fault = (error as Error).message;
      return false;
    }
    this.record = record;
    return true;
  }

  private refuse(add: Pending, cause: string): void {
    const error = `${podName(add.spec.workload, add.spec.interface_name)}: ${cause}`;
    for (const [call, reply] of add.callers) {
      this.settled(call);
      reply.resolve({ error });
    }
    add.callers.clear();
  }

  private answerDeletes(answer: DeleteAnswer): void {
    for (const [call, reply] of this.deletes) {
      this.settled(call);
      reply.resolve(answer);
    }
    this.deletes.clear();
  }

  private settled(call: number): void {
    this.over.get(call)?.();
    this.over.delete(call);
  }

  private clean(): void {
    this.dirty = false;
    this.retries = 0;
    this.fault = '';
  }

  private tryAgain(cause: string): void {
    if (cause !== this.fault) this.ctx.event('retry', `${this.name()}: ${cause}`);
    this.fault = cause;
    this.dirty = true;
    if (this.retry !== undefined) return;
    const wait_ms = Math.min(retry_first_ms * 2 ** this.retries, retry_max_ms);
    this.retries += 1;
    this.retry = this.ctx.after(wait_ms, { type: 'Retry' });
  }

  private forgetRetry(): void {
    this.retry?.cancel();
    this.retry = undefined;
    this.retries = 0;
  }
}
