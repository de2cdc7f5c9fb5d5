/**
 * How the uplinks come into VPP's hands, step by step, in the order in which the host suffers least:
 *
 *   hooks, read Linux ─▶ journal, move the device ─▶ program VPP (tap down) ─▶ dress the tap ─▶ tap up ─▶ gateways answer? ─▶ hook ─▶ and now?
 *
 * Every step may fail, and every wait but that for a transaction may be aborted: the caller then gives the host back from the
 * journal.
 */

import type { Clock } from '../clock.js';
import type { HookPoint, UplinkSpec } from '../config.js';
import { type ClusterPrefixes, fingerprint, type PodPrefixes } from '../desired/host-tap.js';
import { desiredNode, type NodeInputs, type Uplink, uplinkTag } from '../desired/uplink.js';
import { isLinkLocal } from '../ip/prefix.js';
import type { Log } from '../log.js';
import type { ObjectKind, VppObject } from '../objects/object.js';
import { isDangling } from '../objects/object.js';
import type { Operation } from '../reconcile/operation.js';
import { OwnerIndex } from '../reconcile/ownership.js';
import { reconcile, removal } from '../reconcile/reconcile.js';
import type { Scope, Snapshot } from '../reconcile/snapshot.js';
import type { TransactionResult } from '../reconcile/transaction.js';
import { lostAdvertised, withAdvertised } from './advertised.js';
import type { CapturedUplink } from './captured.js';
import { routeInWords } from './obstacles.js';
import { gatewaysOf, type Refusal, type UplinkHost, uplinkOf } from './uplink-host.js';

/** A connection to one VPP. */
export interface VppLife {
  readonly generation: number;
  /** It was running before this connection: it holds state, and packets flow. */
  readonly adopted: boolean;
}

/** VPP as the take-over sees it. Both reject when the generation is over. */
export interface VppPort {
  transact(generation: number, operations: readonly Operation[]): Promise<TransactionResult>;
  /** What VPP holds of these owners now. */
  read(scopes: readonly Scope[]): Promise<Snapshot>;
  /** Addresses of the neighbours that VPP has resolved on this uplink. */
  neighbours(uplink: string): Promise<readonly string[]>;
}

export interface TakeOverSettings {
  readonly specs: readonly UplinkSpec[];
  readonly inputs: Omit<NodeInputs, 'uplinks'>;
  /** How long the gateways have to answer through VPP. */
  readonly verify_ms: number;
  /** How long the host's services have to configure the tap. */
  readonly services_ms: number;
  /** How long they are given to answer Linux before, so that those which do are known. */
  readonly survey_ms: number;
}

export interface TakeOverDeps {
  readonly host: UplinkHost;
  readonly vpp: VppPort;
  readonly hooks: { run(point: HookPoint, signal?: AbortSignal): Promise<void> };
  /** Has a gateway resolved: sends one datagram that leaves through it. Never throws. */
  readonly nudge: (gateway: string) => void;
  readonly clock: Clock;
  readonly log: Log;
  /** Shows what is being waited for. */
  readonly waitsFor: (what: string | undefined) => void;
}

/** Buffers that the receive rings of uplinks and host taps keep. An af_packet has its rings in the kernel, and takes a buffer per packet. */
export function buffersTaken({ captured, uplinks }: Taken, tap: { readonly rx_ring_size: number }): number {
  const of_uplinks = captured.map(({ spec }, at) =>
    uplinks[at]?.device.kind === 'af_packet' ? 0 : spec.rx_queues * spec.rx_ring_size,
  );
  return of_uplinks.reduce((sum, buffers) => sum + buffers + tap.rx_ring_size, 0);
}

/** The uplinks in VPP's hands. */
export interface Taken {
  readonly captured: readonly CapturedUplink[];
  readonly uplinks: readonly Uplink[];
  /** What the host itself had on the taps when they were looked at last (`fingerprint`). */
  readonly seen?: string | undefined;
  /** As Snapshot has it. */
  readonly buffers?: number | undefined;
}

/** A take-over failed; the message says why, for the operator. */
export class TakeOverFailed extends Error {
  override readonly name = 'TakeOverFailed';
}

/** Without them the node still works: a warning names what VPP refused. */
const dispensable: ReadonlySet<ObjectKind> = new Set([
  'interface_rx_mode',
  'rx_placement',
  'ttl_fixup',
  'route',
  'redirect_rule',
]);
const poll_ms = 50;
/** A service that flushes a tap does it once, a moment after it was started. One that goes on with it is not fought for ever. */
const mends_max = 5;
const mend_interval_ms = 1000;

export class TakeOver {
  /** How often what routers had told was put back on the taps of this VPP. */
  private mends = 0;
  /** Undefined until they are known. Taken in by the next `follow`. */
  pods: PodPrefixes | undefined;

  constructor(
    private readonly deps: TakeOverDeps,
    private readonly settings: TakeOverSettings,
  ) {}

  /** VPP has the uplinks already: mends what differs. Nothing when it has not, after all. */
  async resume(up: VppLife, signal: AbortSignal): Promise<Taken | undefined> {
    const { host, waitsFor } = this.deps;
    const found = host.taken();
    if (found?.phase !== 'taken' || !sameSpecs(found.uplinks, this.settings.specs)) return undefined;
    const snapshot = await this.read(up);
    signal.throwIfAborted();
    const present = new Set(snapshot.interfaces.map(({ tag }) => tag));
    if (!found.uplinks.every(({ link }) => present.has(uplinkTag(link.name)))) return undefined;

    waitsFor('reconciling the running VPP');
    // The host may have changed its addresses since: what is on the tap counts, and only a bare tap is dressed.
    const current = host.current(found.uplinks);
    const taken = this.taken(current ?? found.uplinks);
    const operations = reconcile(this.desired(taken.uplinks, true), snapshot.objects, snapshot.unsure);
    for (const refused of await this.program(up.generation, operations)) this.warn(refused);
    signal.throwIfAborted();
    if (current === undefined) for (const refusal of this.dress(taken)) this.warn(refusalText(refusal));
    host.remember(taken.captured);
    return { ...taken, seen: this.seen(taken.captured), buffers: snapshot.buffers };
  }

  async run(up: VppLife, signal: AbortSignal): Promise<Taken> {
    const { host, waitsFor } = this.deps;
    const { buffers, kept, unsure } = await this.clear(up);
    this.mends = 0;
    if (host.isChanged()) await host.restore();
    for (const name of await host.rescue(this.settings.specs.map((spec) => spec.interface_name))) {
      this.warn(`${name} was left in VPP's network namespace by an earlier life, and is back`);
    }
    await this.hook('BEFORE_IF_READ', signal);
    const captured = await this.survey(signal);
    for (const { link, leftovers } of captured) {
      for (const route of leftovers) {
        this.warn(
          `route ${routeInWords(route)} on ${link.name} is of another implementation of the node, and left out for good`,
        );
      }
    }
    const taken = this.taken(captured);
    await this.hook('BEFORE_VPP_RUN', signal);

    waitsFor('taking the uplinks over');
    host.take(captured);
    const taps_down = this.desired(taken.uplinks, false);
    this.fatal(await this.program(up.generation, reconcile(taps_down, kept, unsure)));
    signal.throwIfAborted();
    this.dressed(this.dress(taken));
    const seen = this.seen(captured);
    // Before the services of the host are told, which takes seconds in which it is not to be without its network.
    const taps_up = reconcile(this.desired(taken.uplinks, true), taps_down).filter(isNew(taps_down));
    this.fatal(await this.program(up.generation, taps_up));
    signal.throwIfAborted();
    if (captured.some(({ nexthops }) => nexthops.length > 0)) this.dressed(this.dress(taken));
    await this.verify(captured, signal);
    await this.hook('VPP_RUNNING', signal);
    await this.settled(taken, signal);
    await this.verify(captured, signal);
    host.complete(captured);
    return { ...taken, seen, buffers };
  }

  /** VPP, the journal and our own part of the tap as the host wants it by now. Nothing when nothing has changed. */
  async follow(before: Taken, generation: number, signal: AbortSignal): Promise<Taken | undefined> {
    const now = this.remember(before);
    if (now !== undefined) {
      const operations = reconcile(this.desired(now.uplinks, true), this.desired(before.uplinks, true));
      for (const refused of await this.program(generation, operations)) this.warn(refused);
      signal.throwIfAborted();
    }
    // A host that builds the same anew (ifdown, ifup) loses what is ours on the tap, and nothing of its own.
    const { uplinks } = now ?? before;
    for (const refusal of this.deps.host.redress(uplinks, this.cluster())) this.warn(refusalText(refusal));
    this.mendAdvertised(now ?? before);
    return now;
  }

  /** What routers had told the host, and is no more on its taps, comes back: see advertised.ts. */
  private mendAdvertised(taken: Taken): void {
    const { host } = this.deps;
    const gone = lostAdvertised(taken.captured, host.current(taken.captured));
    if (gone.length === 0 || this.mends >= mends_max || !host.areTapsUp(taken.uplinks)) return;
    this.mends += 1;
    this.warn(
      `${gone.join(', ')} of a router's advertisements is gone from the tap, and is put back: none is heard there`,
    );
    for (const refusal of this.dress(taken)) this.warn(refusalText(refusal));
  }

  /** The journal as the host wants it by now; VPP is not told. Nothing when nothing has changed. */
  remember(before: Taken): Taken | undefined {
    const current = this.deps.host.current(before.captured);
    if (current === undefined) return undefined;
    const kept = withAdvertised(before.captured, current);
    const seen = fingerprint(kept);
    if (seen === before.seen) return undefined;
    this.deps.host.remember(kept);
    return { ...this.taken(kept), seen, buffers: before.buffers };
  }

  private seen(captured: readonly CapturedUplink[]): string | undefined {
    const current = this.deps.host.current(captured);
    return current && fingerprint(current);
  }

  /** Takes out of a living VPP what a take-over may have left in it. */
  async abandon(up: VppLife): Promise<void> {
    const uplinks = this.taken(this.deps.host.taken()?.uplinks ?? []).uplinks;
    const { objects: left } = await this.deps.vpp.read(['node']);
    const objects = [...this.desired(uplinks, true), ...left];
    await this.deps.vpp.transact(up.generation, removal(objects.filter((object) => !isGlobal(object))));
  }

  private desired(uplinks: readonly Uplink[], taps_up: boolean): VppObject[] {
    return desiredNode({ ...this.settings.inputs, uplinks }, taps_up);
  }

  private taken(captured: readonly CapturedUplink[]): Taken {
    const { gso } = this.settings.inputs;
    return {
      captured,
      uplinks: captured.map((each) => uplinkOf(each, gso, uplinkTag(each.link.name))),
    };
  }

  /**
   * What VPP holds of the node's, cleared of what refers to interfaces that are gone: before any interface is made, since a new one may
   * get the index that a route of an earlier one still names.
   */
  private async read(up: VppLife): Promise<Snapshot> {
    const snapshot = await this.deps.vpp.read(['node', 'nobody']);
    const dangling = snapshot.objects.filter(isDangling);
    if (dangling.length > 0) await this.deps.vpp.transact(up.generation, removal(dangling));
    const owners = new OwnerIndex(snapshot.objects);
    const node = snapshot.objects.filter((object) => !isDangling(object) && owners.of(object) === 'node');
    return { ...snapshot, objects: node };
  }

  /**
   * A VPP that lives on without our uplinks (a failed take-over, a lost journal) may hold parts of them. `kept`: what stays, and is not
   * made again: VPP would have a second loopback, and a second redirect table, which the pods do not look up.
   */
  private async clear(up: VppLife): Promise<Snapshot & { readonly kept: readonly VppObject[] }> {
    const snapshot = await this.read(up);
    const left = snapshot.objects.filter(
      (object) => object.kind !== 'existing_interface' && !isGlobal(object),
    );
    if (left.length > 0) await this.deps.vpp.transact(up.generation, removal(left));
    return { ...snapshot, kept: snapshot.objects.filter(isGlobal) };
  }

  /** Reads the devices, and waits a little for their gateways to answer, so that it is known which ones do. */
  private async survey(signal: AbortSignal): Promise<CapturedUplink[]> {
    const { host, clock, nudge, waitsFor } = this.deps;
    const deadline = clock.now_ms() + this.settings.survey_ms;
    waitsFor('gateways answering Linux');
    for (;;) {
      const captured = host.capture(this.settings.specs);
      const silent = captured.flatMap((uplink) =>
        gatewaysOf(uplink).filter((gateway) => !uplink.answering_gateways.includes(gateway)),
      );
      if (silent.length === 0 || clock.now_ms() >= deadline) return captured;
      for (const gateway of silent) nudge(gateway);
      await clock.sleep(poll_ms, signal);
    }
  }

  /** What VPP refused and the node cannot do without, and, as a warning at once, what it can. */
  private async program(generation: number, operations: readonly Operation[]): Promise<string[]> {
    if (operations.length === 0) return [];
    const { outcomes } = await this.deps.vpp.transact(generation, operations);
    return outcomes.flatMap(({ operation, error }) => {
      if (error === undefined) return [];
      const text = `VPP refused to ${operation.action} ${JSON.stringify(operation.object)}: ${error.message}`;
      if (operation.action === 'add' && !dispensable.has(operation.object.kind)) return [text];
      this.warn(text);
      return [];
    });
  }

  private fatal([refused]: readonly string[]): void {
    if (refused !== undefined) throw new TakeOverFailed(refused);
  }

  private dress({ uplinks, captured }: Taken): Refusal[] {
    return this.deps.host.dress(uplinks, captured, this.cluster());
  }

  private cluster(): ClusterPrefixes {
    const { service_prefixes, tap_address } = this.settings.inputs;
    return { prefixes: service_prefixes, tap_address, ...(this.pods && { pods: this.pods }) };
  }

  /** Without its addresses and default routes the host is not what it was; anything else is worth a warning. */
  private dressed(refusals: readonly Refusal[]): void {
    for (const refusal of refusals) {
      const { change } = refusal;
      const is_default =
        'route' in change && change.do !== 'delete_route' && /^(0\.0\.0\.0|::)\/0$/.test(change.route.prefix);
      if (change.do === 'replace_address' || is_default) throw new TakeOverFailed(refusalText(refusal));
      this.warn(refusalText(refusal));
    }
  }

  /** Hooks have their own time limit; an abort cuts it short. */
  private async hook(point: HookPoint, signal: AbortSignal): Promise<void> {
    this.deps.waitsFor(`hook ${point}`);
    await abortable(this.deps.hooks.run(point, signal), signal);
  }

  /** The services of the host may have built its tap anew, as networkd does: it must have its ways out again. */
  private async settled(taken: Taken, signal: AbortSignal): Promise<void> {
    const { host, clock, waitsFor } = this.deps;
    const deadline = clock.now_ms() + this.settings.services_ms;
    let mend_at = clock.now_ms();
    waitsFor('the host configuring its tap');
    for (;;) {
      const lost = lostWays(taken.captured, host.current(taken.captured) ?? []);
      if (lost.length === 0) return;
      if (clock.now_ms() >= deadline) {
        throw new TakeOverFailed(
          `hook VPP_RUNNING has cost the host ${lost.join(' and ')} on the tap; see what its network service says`,
        );
      }
      if (clock.now_ms() >= mend_at) {
        mend_at = clock.now_ms() + mend_interval_ms;
        this.mendAdvertised(taken);
      }
      await clock.sleep(poll_ms, signal);
    }
  }

  /** Gateways that answered Linux must answer through VPP. */
  private async verify(captured: readonly CapturedUplink[], signal: AbortSignal): Promise<void> {
    const { clock, nudge, vpp, waitsFor } = this.deps;
    const deadline = clock.now_ms() + this.settings.verify_ms;
    for (const { link, answering_gateways } of captured) {
      waitsFor(`gateways of ${link.name} answering VPP`);
      for (;;) {
        const silent = unanswered(answering_gateways, new Set(await vpp.neighbours(link.name)));
        if (silent.length === 0) break;
        if (clock.now_ms() >= deadline) {
          throw new TakeOverFailed(
            `gateway ${silent.join(', ')} answered Linux on ${link.name} and does not answer VPP; ` +
              'check that the network accepts this driver and VLAN',
          );
        }
        for (const gateway of silent) nudge(gateway);
        await clock.sleep(poll_ms, signal);
      }
    }
  }

  private warn(text: string): void {
    this.deps.log.warn({}, `uplink(take over) ${text}`);
  }
}

/** What each family had before, of any uplink, and has no more: addresses, and a default route. */
function lostWays(before: readonly CapturedUplink[], now: readonly CapturedUplink[]): string[] {
  const hasAddress = (uplinks: readonly CapturedUplink[], family: 4 | 6): boolean =>
    uplinks.some(({ addresses }) =>
      addresses.some((address) => address.family === family && !isLinkLocal(address.prefix)),
    );
  const hasDefault = (uplinks: readonly CapturedUplink[], family: 4 | 6): boolean =>
    uplinks.some(({ routes }) =>
      routes.some((route) => route.family === family && default_prefixes.includes(route.prefix)),
    );
  return ([4, 6] as const).flatMap((family) => [
    ...(hasAddress(before, family) && !hasAddress(now, family) ? [`its IPv${family} addresses`] : []),
    ...(hasDefault(before, family) && !hasDefault(now, family) ? [`its IPv${family} default route`] : []),
  ]);
}

const default_prefixes: readonly string[] = ['0.0.0.0/0', '::/0'];

/**
 * Gateways that have to answer and have not. Of those with link-local addresses only the one that VPP's best default route
 * uses can be made to answer: one is proof enough.
 */
export function unanswered(expected: readonly string[], answered: ReadonlySet<string>): string[] {
  const silent = expected.filter((gateway) => !answered.has(gateway));
  const one_is_there = expected.some((gateway) => isLinkLocal(gateway) && answered.has(gateway));
  return silent.filter((gateway) => !(isLinkLocal(gateway) && one_is_there));
}

/** Rejects as soon as `signal` aborts, whatever becomes of the promise. */
async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function sameSpecs(captured: readonly CapturedUplink[], specs: readonly UplinkSpec[]): boolean {
  return JSON.stringify(captured.map(({ spec }) => spec)) === JSON.stringify(specs);
}

function refusalText({ error }: Refusal): string {
  return `Linux refused ${error.message}`;
}

/** Objects that every VPP has, or that others than uplinks use: left in place when the uplinks go. */
function isGlobal(object: VppObject): boolean {
  switch (object.kind) {
    case 'loopback':
    case 'snat_addresses':
    case 'snat_policy':
    case 'snat_exclude':
    case 'neighbour_limits':
    case 'punt_l4':
    case 'punt_redirect':
    case 'redirect_table':
      return true;
    case 'table':
      return object.table_id <= 2;
    case 'route':
      return object.table_id <= 2 && !object.paths.some((path) => path.via === 'interface');
    default:
      return false;
  }
}

/** What an earlier transaction has added already need not be added again because no dump shows it. */
function isNew(known: readonly VppObject[]): (operation: Operation) => boolean {
  const before = new Set(known.map((object) => JSON.stringify(object)));
  return ({ object }) => !before.has(JSON.stringify(object));
}
