/**
 * One pod interface: makes VPP and the pod's namespace hold what the pod's record says, and removes all of it again. What
 * it does next follows from its data alone (`advance`), so that a new VPP, a repeated request and a lost reply lead to the
 * same place by the same code.
 *
 *   nothing ──Add──▶ intended ──programmed──▶ done ──Delete──▶ deleting ──removed──▶ nothing
 *                       └──failed, given up, or from an earlier life──▶ deleting
 */
import { isDeepStrictEqual } from 'node:util';
import type { Actor, ActorContext, ChildSpec, Reply } from '../actor-system.js';
import type { AddAnswer, DeleteAnswer, PodMessage, PodNode } from '../messages/pod.js';
import type { VppObject } from '../objects/object.js';
import type { PodPhase, PodRecord } from '../pod/record.js';
import { addressesOf, type PodKey, type PodSpec, podName } from '../pod/spec.js';
import { Callers } from '../pods/callers.js';
import { DeviceRemoval } from '../pods/device-removal.js';
import { OwnRecord } from '../pods/own-record.js';
import { PendingAdd } from '../pods/pending-add.js';
import { PodAddresses } from '../pods/pod-addresses.js';
import type { PodDeps } from '../pods/pod-deps.js';
import { type DeviceLink, deviceLink, PodDevice } from '../pods/pod-device.js';
import type { PodObjects } from '../pods/pod-objects.js';
import { PodPolicies } from '../pods/pod-policies.js';
import { PodRest } from '../pods/pod-rest.js';
import { podDescription, podGauges, type ShownPod } from '../pods/pod-shown.js';
import { PodTransaction, type Purpose, subjectOf } from '../pods/pod-transaction.js';
import { type Place, PodVpp, whyNot } from '../pods/pod-vpp.js';
import { PodWishes } from '../pods/pod-wishes.js';
import type { TransactionResult } from '../reconcile/transaction.js';

/** `name`: by which people know it; its identity is the key. */
export function podActor(name: string, key: PodKey, deps: PodDeps): ChildSpec<PodMessage> {
  return {
    name,
    restart: 'permanent',
    shutdown_ms: 1000,
    mailbox_max: 256,
    handler_ms_max: 5000,
    start: (ctx) => new Pod(ctx, key, deps),
  };
}

type Part = Extract<PodMessage, { type: 'Part' }>;

const nothing: readonly VppObject[] = [];

class Pod implements Actor<PodMessage> {
  private readonly own: OwnRecord;
  private readonly vpp: PodVpp;
  private readonly wishes: PodWishes;
  private add: PendingAdd | undefined;
  private readonly deletes: Callers<DeleteAnswer>;
  private readonly transaction: PodTransaction;
  private readonly rest: PodRest;
  private readonly device: PodDevice;
  private readonly removal: DeviceRemoval;
  private readonly policies: PodPolicies;
  private readonly addresses: PodAddresses;

  constructor(
    private readonly ctx: ActorContext<PodMessage>,
    private readonly key: PodKey,
    private readonly deps: PodDeps,
  ) {
    this.deletes = new Callers(ctx);
    this.vpp = new PodVpp(ctx, key, deps.cni);
    this.transaction = new PodTransaction(ctx, deps.vpp);
    this.rest = new PodRest(ctx, key, deps.cni);
    this.wishes = new PodWishes(key, deps.translations);
    this.own = new OwnRecord(key, deps.records);
    this.policies = new PodPolicies(ctx, deps.policed);
    this.addresses = new PodAddresses(key, deps.addresses);
    this.device = new PodDevice(deps.host, deps.namespaces, this.record);
    this.removal = new DeviceRemoval(ctx, this.device);
    // Its policies are written before VPP has the interface again.
    if (this.record !== undefined) this.policies.put(this.record.spec);
    // A former life knew what VPP holds, and may have been in the middle of changing it.
    if (ctx.incarnation > 1) {
      this.vpp.changed();
      if (this.record === undefined) this.nothingLeft();
      else this.vpp.ask();
    }
  }

  private get record(): PodRecord | undefined {
    return this.own.now;
  }

  receive(message: PodMessage): void {
    switch (message.type) {
      case 'Add':
        if (message.fits === this.vpp.generation) this.vpp.hasRoom();
        return this.askedToAdd(message.spec, message.signal, message.reply);
      case 'Delete':
        return this.askedToDelete(message.urgent, message.reply);
      case 'Part':
        return this.observed(message);
      case 'Node':
        if (this.vpp.generation !== message.generation || !this.hears(message.node)) return;
        return this.nodeChanged();
      case 'NodeLost':
        this.ground(message.generation);
        this.vpp.lose(message.generation, message.reason);
        return this.advance();
      case 'StillThere':
        return this.advance();
      case 'DeviceMade':
        return this.deviceMade(message.flight);
      case 'DeviceGone':
        this.removal.gone();
        return this.advance();
      case 'Transacted':
        return this.transacted(message.flight, message.outcome);
      case 'GaveUp':
        return this.gaveUp(message.reply);
      case 'Policed':
        return this.policies.hear(message) ? this.advance() : undefined;
      case 'Retry':
        this.rest.retry.due();
        return this.advance();
    }
  }

  gauges() {
    return podGauges(this.shown());
  }

  describe() {
    return podDescription(this.shown());
  }

  private shown(): ShownPod {
    const { key, record, vpp, rest, add } = this;
    const callers = (add?.callers.size ?? 0) + this.deletes.size;
    const in_flight = this.transaction.purpose;
    return { key, record, spec: record?.spec ?? add?.spec, vpp, rest, callers, in_flight };
  }

  // --- what is asked for

  private askedToAdd(spec: PodSpec, signal: AbortSignal, reply: Reply<AddAnswer>): void {
    if (signal.aborted) return this.advance();
    const { add, record } = this;
    if (add !== undefined && isDeepStrictEqual(add.spec, spec)) {
      add.callers.join(reply, signal);
      return this.advance();
    }
    if (add !== undefined) add.refuse('superseded by another ADD for the same interface');
    const before = record?.phase === 'done' ? record.spec : undefined;
    const callers = new Callers<AddAnswer>(this.ctx);
    callers.join(reply, signal);
    this.add = new PendingAdd(spec, before, callers);
    this.policies.rewind();
    // VPP may be given policies just now.
    if (this.vpp.place === undefined) this.policies.put(spec);
    this.removal.hurry(this.record);
    this.advance();
  }

  private askedToDelete(urgent: boolean, reply?: Reply<DeleteAnswer>): void {
    if (reply !== undefined) this.deletes.join(reply);
    const { add } = this;
    if (add !== undefined) {
      this.add = undefined;
      add.refuse('the pod is deleted');
    }
    // What has a record may be in VPP. A failed write leaves the pod as it is; the caller repeats the DEL.
    if (this.record !== undefined && !this.write(this.record.spec, 'deleting')) {
      return this.deletes.answerAll({ error: this.rest.fault });
    }
    this.rest.retry.forget();
    if (urgent) this.removal.insist(this.record);
    this.advance();
  }

  private gaveUp(reply: Reply<never>): void {
    const state = this.vpp.place === undefined ? this.vpp.unready : 'VPP is busy';
    const { add } = this;
    this.deletes.answer(reply, {
      error: `${this.name()}: not deleted in time, ${state}: it will be; repeat the call`,
    });
    const why = this.vpp.withheld ?? state;
    const late = add?.callers.answer(reply, {
      error: `${this.name()}: not connected in time, ${why}: retry`,
    });
    // Nobody would learn that the pod is there: what was done of it is undone.
    if (late && add?.callers.size === 0) {
      this.add = undefined;
      this.rest.dirty = true;
    }
    this.advance();
  }

  // --- what VPP holds

  /**
   * What VPP holds is not known any more. What is under way with a VPP up to `lost` will not be answered, or does not count; with a
   * later one, which only the uplink actor has let go of, it goes on and is waited for: a reading meanwhile would show half of it.
   */
  private ground(lost: number): void {
    if ((this.transaction.generation ?? 0) <= lost) this.transaction.forget();
    this.vpp.ground();
    this.add?.rewind();
    this.policies.rewind();
    this.rest.disturb();
  }

  private observed(part: Part): void {
    const { vpp } = this;
    if (vpp.isVoid(part)) return;
    if (vpp.generation !== part.generation) {
      this.ground(part.generation - 1);
      vpp.place = part;
    }
    // What the node is to its pods counts whatever the reading tells: nobody says it again.
    const is_news = this.hears(part.node);
    const is_learned = this.transaction.purpose === undefined && vpp.learn(part);
    if (is_news) return this.nodeChanged();
    if (!is_learned) return;
    this.rest.dirty = true;
    this.advance();
  }

  /** What has failed before says nothing of what is asked now, which may be that it may send at last. */
  private nodeChanged(): void {
    this.rest.retry.forget();
    this.rest.dirty = true;
    this.advance();
  }

  // --- what is to be done next

  private advance(): void {
    if (this.transaction.purpose !== undefined || this.removal.underWay) return;
    const { record, add } = this;
    const { place, objects, unready } = this.vpp;
    if (record === undefined && add === undefined) return this.nothingLeft();
    this.ctx.blockedOn(place === undefined ? unready : this.vpp.withheld);
    if (place === undefined) return;
    if (objects === undefined) return this.vpp.ask();
    const leaving = record?.phase === 'deleting' || (record?.phase === 'intended' && add === undefined);
    if (leaving) this.remove(record, objects);
    else if (add !== undefined) this.connect(add, place, objects);
    else if (this.rest.dirty) this.resync(record!, place, objects);
  }

  private nothingLeft(): void {
    this.addresses.areGone();
    this.policies.remove();
    this.wishes.areGone();
    this.ctx.blockedOn(undefined);
    this.rest.retry.forget();
    this.rest.fault = '';
    this.deletes.answerAll({ deleted: true });
    const { key } = this;
    const { left } = this.vpp;
    this.deps.cni.tell({ type: 'PodGone', key, ...(left && { left }) });
  }

  private connect(add: PendingAdd, place: Place, objects: PodObjects): void {
    const wanted = this.wishes.of(add.spec, place, () => objects.all());
    const refusal = whyNot(add.spec, place, objects) ?? (this.wishes.lack || undefined);
    if (refusal !== undefined) return this.addFailed(add, refusal);
    if (!add.begun) {
      const fault = this.beginAdd(add, objects.has_tap);
      if (fault !== undefined) return this.addFailed(add, fault);
      add.begun = true;
    }
    if (add.remakes) {
      add.remakes = false;
      if (objects.differsFrom(nothing)) return this.transact('add', objects, 'continue');
    }
    if (objects.differsFrom(wanted)) {
      if (objects.has_tap) this.policies.put(add.spec);
      else if (this.policies.awaits(add.spec)) return;
      return this.transact('add', objects, add.fresh ? 'rollback' : 'continue');
    }
    // What is answered is connected: with the outside, too. Nobody waits with the uplinks for it.
    if (place.node.held) return this.rest.settle(this.name(), place.generation, '');
    this.finishAdd(add, objects);
  }

  /** Why it cannot begin; otherwise the record says that it has. */
  private beginAdd(add: PendingAdd, made: boolean): string | undefined {
    const { spec, before } = add;
    const known = before === undefined ? undefined : this.record?.namespace;
    const where = this.device.whereFor(spec, known);
    if ('refusal' in where) return where.refusal;
    add.namespace = where.namespace;
    // What VPP holds is of another namespace that had this path.
    if (made && !where.there) add.remakes = true;
    if (before !== undefined && isDeepStrictEqual(before, spec)) return undefined;
    if (!this.write(spec, add.fresh ? 'intended' : 'done')) return this.rest.fault;
    try {
      this.device.strip(spec, where.namespace);
    } catch (error) {
      return (error as Error).message;
    }
    return undefined;
  }

  private finishAdd(add: PendingAdd, objects: PodObjects): void {
    const connected = add.connected ?? add.connect(this.device, this.linkOf(add.spec));
    if ('error' in connected) return this.addFailed(add, connected.error);
    const { mac } = connected;
    if (!this.write(add.spec, 'done')) return this.addFailed(add, this.rest.fault);
    this.clean();
    this.add = undefined;
    const name = add.answer(objects.sw_if_index, mac);
    this.ctx.log.info(
      { pod: this.name(), addresses: addressesOf(add.spec), interface: name },
      'pod(add) connected',
    );
    this.advance();
  }

  /** Linux's part of an ADD does not wait for the rest of VPP's. */
  private deviceMade(flight: number): void {
    const { add } = this;
    if (this.transaction.isUnderWay(flight) && add?.begun) add.connect(this.device, this.linkOf(add.spec));
  }

  private addFailed(add: PendingAdd, cause: string): void {
    this.add = undefined;
    add.refuse(cause);
    this.ctx.event('refused', `${this.name()}: ${cause}`);
    if (add.fresh) this.rest.fault = cause;
    else this.tryAgain(cause);
    this.advance();
  }

  private resync(record: PodRecord, place: Place, objects: PodObjects): void {
    if (this.rest.retry.waits) return;
    const { spec } = record;
    const namespace = this.deps.namespaces.of(record);
    if (namespace === undefined) return this.tryAgain(`${spec.netns} has gone`);
    const refusal = whyNot(spec, place, objects);
    if (refusal !== undefined) return this.rest.wait(this.name(), place.generation, refusal);
    const differs = objects.differsFrom(this.wishes.of(spec, place, () => objects.all()));
    try {
      if (differs && !objects.has_tap) this.device.beforeVpp(spec, namespace);
      if (differs) {
        this.policies.put(spec, !objects.has_tap);
        return this.transact('resync', objects, 'continue');
      }
      this.device.keep(spec, namespace, this.linkOf(spec));
    } catch (error) {
      return this.tryAgain((error as Error).message);
    }
    if (!this.write(spec, 'done', namespace)) return this.tryAgain(this.rest.fault);
    this.clean();
  }

  /** Linux first; the record says by then that what VPP has of it goes too. */
  private remove(record: PodRecord, objects: PodObjects): void {
    if (this.rest.retry.waits) return;
    const left = objects.differsFrom(nothing);
    this.addresses.areGone();
    if (left && record.phase !== 'deleting' && !this.write(record.spec, 'deleting')) {
      return this.tryAgain(this.rest.fault);
    }
    if (this.removal.isDue) return this.removal.begin(record, this.add !== undefined);
    if (left) this.transact('remove', objects, 'continue');
    else this.removed();
  }

  private removed(): void {
    const name = this.name();
    const fault = this.own.remove();
    if (fault !== undefined) {
      this.deletes.answerAll({ error: fault });
      return this.tryAgain(fault);
    }
    this.policies.remove();
    this.wishes.areGone();
    this.removal.end();
    this.rest.retry.forget();
    this.deletes.answerAll({ deleted: true });
    this.ctx.log.info({ pod: name }, 'pod(del) removed');
    this.advance();
  }

  // --- transactions

  private transact(purpose: Purpose, objects: PodObjects, on_error: 'rollback' | 'continue'): void {
    const generation = this.vpp.generation!;
    const owner = `${this.name()} (${this.key})`;
    const urgency = purpose === 'add' ? 'urgent' : 'prompt';
    const spec = (purpose === 'add' ? this.add?.spec : undefined) ?? this.record?.spec;
    const subject = subjectOf(this.name(), spec, purpose);
    if (purpose !== 'remove') this.removal.madeAnew();
    const operations = objects.take();
    this.transaction.begin(purpose, { generation, owner, operations, on_error, urgency, subject });
  }

  private transacted(id: number, outcome: TransactionResult | Error): void {
    const flight = this.transaction.land(id);
    if (flight === undefined) return;
    const failure = this.vpp.settle(flight.transaction, outcome);
    if (failure === undefined) this.advance();
    else this.transactionFailed(flight.purpose, failure);
  }

  private transactionFailed(purpose: Purpose, cause: string): void {
    const { add } = this;
    if (purpose === 'add' && add?.begun) return this.addFailed(add, `VPP: ${cause}`);
    if (purpose === 'remove') {
      this.deletes.answerAll({ error: `${this.name()}: VPP: ${cause}: it is tried again; repeat the call` });
    }
    if (purpose !== 'add') this.tryAgain(`VPP: ${cause}`);
    this.advance();
  }

  // --- small things

  private readonly hears = (node: PodNode): boolean =>
    this.vpp.hears(node, [this.record?.spec, this.add?.spec]);

  private linkOf(spec: PodSpec): DeviceLink {
    return deviceLink(spec, this.vpp.place!.node);
  }

  private name(): string {
    const spec = this.record?.spec ?? this.add?.spec;
    return spec === undefined ? this.key : podName(spec.workload, spec.interface_name);
  }

  /** False when it could not be written; the fault then says why. */
  private write(spec: PodSpec, phase: PodPhase, namespace = this.add?.namespace): boolean {
    const device = this.device.given(spec);
    const fault = this.own.write({ spec, phase, slot: this.vpp.place?.slot, namespace, device });
    if (fault !== undefined) this.rest.fault = fault;
    return fault === undefined;
  }

  private clean(): void {
    const { record } = this;
    if (record !== undefined) {
      this.addresses.areThere(record.spec, this.vpp.place?.node.networks);
      this.policies.put(record.spec);
    } else this.addresses.areGone();
    this.wishes.areThere();
    this.rest.settle(this.name(), this.vpp.generation, this.wishes.lack);
  }

  private tryAgain(cause: string): void {
    this.rest.tryAgain(this.name(), this.vpp.generation, cause);
  }
}
