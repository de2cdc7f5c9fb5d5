/**
 * How the uplinks come into VPP's hands, step by step, in the order in which the host suffers least:
 *
 *   hooks, read Linux ─▶ journal, move the device ─▶ program VPP (tap down) ─▶ dress the tap ─▶ tap up ─▶ gateways answer? ─▶ hook ─▶ and now?
 *
 * Every step may fail, and every wait but that for a transaction may be aborted: the caller then gives the host back from the
 * journal.
 */

import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../clock.js';
import type { HookPoint, UplinkSpec } from '../config.js';
import { type ClusterPrefixes, fingerprint, type Speakers } from '../desired/host-tap.js';
import { type NeverNatted, neverNatted, type PodPools, type UplinkEntry } from '../desired/source-nat.js';
import {
  desiredNode,
  hostTapTag,
  type NodeInputs,
  nodeUplinkEntry,
  ownAddresses,
  type Uplink,
  uplinkTag,
} from '../desired/uplink.js';
import type { Log } from '../log.js';
import type { ObjectKind, VppObject } from '../objects/object.js';
import { isDangling } from '../objects/object.js';
import { isHostTapTag } from '../objects/owner.js';
import type { Operation, Outcome } from '../reconcile/operation.js';
import { OwnerIndex } from '../reconcile/ownership.js';
import { reconcile, removal } from '../reconcile/reconcile.js';
import type { Scope, Snapshot } from '../reconcile/snapshot.js';
import type { TransactionResult } from '../reconcile/transaction.js';
import { advertisementIn, isNothing, lostAdvertised, lostLeases } from './advertised.js';
import type { CapturedUplink } from './captured.js';
import { Gateways } from './gateways.js';
import type { Refusal } from './host-taps.js';
import { routeInWords } from './obstacles.js';
import type { Routers } from './routers.js';
import { TakeOverFailed } from './uplink-error.js';
import type { UplinkHost } from './uplink-host.js';
import { uplinkOf } from './uplink-of.js';
import { lostWays } from './ways.js';

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
  /** Has the routers behind this uplink say what they have to say. */
  solicit(uplink: string): Promise<void>;
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
  /** What the routers behind the uplinks have said. */
  readonly routers: Routers;
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
  readonly uplink_entry?: UplinkEntry | undefined;
  /** As Snapshot has it. */
  readonly buffers?: number | undefined;
}

/** Without them the node still works: a warning names what VPP refused. */
const dispensable: ReadonlySet<ObjectKind> = new Set([
  'interface_rx_mode',
  'rx_placement',
  'ttl_fixup',
  'route',
  'redirect_rule',
  'ra_config',
  'ra_prefix',
]);

/** What routers say is anybody's to make up: no node goes without VPP for it. */
function isDispensable(object: VppObject): boolean {
  return dispensable.has(object.kind) || (object.kind === 'link_local' && isHostTapTag(object.interface));
}
const poll_ms = 50;
/** A service that flushes a tap does it once, a moment after it was started. One that goes on with it is not fought for ever. */
const mends_max = 5;
const mend_interval_ms = 1000;

export class TakeOver {
  /** The attempt under way, or the last one, has changed something of the host, or of a VPP that has its uplinks. */
  has_touched = false;
  /**
   * What VPP holds of the node may not be what it was told: the next `follow` or `repeat` reads it. An answer has shown that VPP has lost
   * what it had, or none has come, or something that the node cannot do without was refused.
   */
  is_in_doubt = false;
  /** How often what routers had told was put back on the taps of this VPP. */
  private mends = 0;
  /** What VPP tells the host of what routers say, by uplink. */
  private repeated: NonNullable<NodeInputs['repeated']> = new Map();
  /** Undefined until they are known. Taken in by the next `follow`. */
  pods: PodPools | undefined;
  /** Of pods and nodes, as VPP has been told: until they are known, by an earlier life. */
  private not_natted: NeverNatted | undefined;
  /** The entry for uplinks of this VPP's source NAT. */
  private uplink_entry: UplinkEntry | undefined;
  /** Of ServiceCIDRs; likewise. */
  services: readonly string[] | undefined;
  /** What was told of those that lie in networks of other links. */
  private within = '';

  private readonly gateways: Gateways;

  constructor(
    private readonly deps: TakeOverDeps,
    private readonly settings: TakeOverSettings,
  ) {
    this.gateways = new Gateways({ ...deps, warn: (text) => this.warn(text) }, settings);
  }

  /** VPP has the uplinks already: mends what differs. Nothing when it has not, after all. */
  async resume(up: VppLife, signal: AbortSignal): Promise<Taken | undefined> {
    const { host, waitsFor } = this.deps;
    this.has_touched = false;
    this.is_in_doubt = false;
    await this.quiet(signal);
    const found = host.taken();
    if (found?.phase !== 'taken' || !sameSpecs(found.uplinks, this.settings.specs)) return undefined;
    const snapshot = await this.read(up.generation);
    signal.throwIfAborted();
    const present = new Set(snapshot.interfaces.map(({ tag }) => tag));
    if (!found.uplinks.every(({ link }) => present.has(uplinkTag(link.name)))) return undefined;

    this.has_touched = true;
    waitsFor('reconciling the running VPP');
    // The host may have changed its addresses since: what is on the tap counts, but in the middle of a change; only a bare tap is dressed.
    this.findRepeated(found.uplinks, snapshot.objects);
    this.uplink_entry = entryIn(snapshot.objects);
    this.not_natted = excludedIn(snapshot.objects);
    const is_bare = host.taps.isBare(found.uplinks);
    const current = host.taps.atOnce(found.uplinks, this.isDeaf);
    const taken = this.taken(current ?? found.uplinks);
    this.not_natted = this.never(taken.uplinks) ?? this.not_natted;
    const operations = reconcile(this.desired(taken.uplinks, true), snapshot.objects, snapshot.unsure);
    for (const refused of await this.program(up.generation, operations)) this.warn(refused);
    signal.throwIfAborted();
    if (is_bare) for (const refusal of this.dress(taken)) this.warn(refusalText(refusal));
    try {
      host.remember(this.marked(taken.captured));
    } catch (error) {
      // A disk that takes nothing is no reason to take a running network down: a restore gives what was written last.
      this.warn((error as Error).message);
    }
    // What is in the middle of a change is looked at again.
    const seen = is_bare || current !== undefined ? this.seen(taken.captured) : undefined;
    await this.solicit(taken.uplinks);
    return { ...taken, seen, buffers: snapshot.buffers };
  }

  /** What an earlier life has VPP tell the host goes on until routers say otherwise. */
  private findRepeated(uplinks: readonly CapturedUplink[], objects: readonly VppObject[]): void {
    const { routers, clock } = this.deps;
    for (const { link } of uplinks) {
      const found = advertisementIn(objects, hostTapTag(link.name));
      if (found !== undefined) routers.resumed(link.name, found, clock.now_ms());
    }
    this.repeated = routers.repeated(clock.now_ms());
  }

  async run(up: VppLife, signal: AbortSignal): Promise<Taken> {
    const { host, waitsFor } = this.deps;
    this.has_touched = false;
    this.is_in_doubt = false;
    const { buffers, kept, unsure } = await this.clear(up);
    this.mends = 0;
    this.deps.routers.anew(this.deps.clock.now_ms());
    this.repeated = this.deps.routers.repeated(this.deps.clock.now_ms());
    await this.quiet(signal);
    if (host.isChanged()) {
      const { results } = await host.restore('hopeful');
      for (const each of results) if (each.outcome === 'failed') this.warn(`not given back: ${each.reason}`);
    }
    signal.throwIfAborted();
    for (const name of await host.rescue(this.settings.specs.map((spec) => spec.interface_name))) {
      this.warn(`${name} was left in VPP's network namespace by an earlier life, and is back`);
    }
    signal.throwIfAborted();
    await this.hook('BEFORE_IF_READ', signal);
    const captured = await this.gateways.survey(signal);
    for (const { link, leftovers } of captured) {
      for (const route of leftovers) {
        this.warn(
          `route ${routeInWords(route)} on ${link.name} is of another implementation of the node, and left out for good`,
        );
      }
    }
    this.uplink_entry = this.entryFor(kept, this.taken(captured).uplinks);
    const taken = this.taken(captured);
    this.not_natted = this.never(taken.uplinks) ?? this.not_natted;
    this.has_touched = true;
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
    await this.solicit(taken.uplinks);
    if (captured.some(({ nexthops }) => nexthops.length > 0)) this.dressed(this.dress(taken));
    await this.gateways.verify(captured, signal);
    // A service that is started anew asks the routers first of all.
    await this.repeat(taken, up.generation);
    await this.hook('VPP_RUNNING', signal);
    await this.settled(taken, up.generation, signal);
    await this.gateways.verify(captured, signal);
    this.gateways.forget();
    host.complete(this.marked(captured));
    return { ...taken, seen, buffers };
  }

  /**
   * VPP, the journal and our own part of the tap as the host wants it by now. Nothing when nothing has changed. A host may have routes by the ten
   * thousand: each step has a turn of the event loop to itself, and reads Linux once.
   */
  async follow(before: Taken, generation: number, signal: AbortSignal): Promise<Taken | undefined> {
    const { taps } = this.deps.host;
    const turn = (): Promise<void> => this.turn(signal);
    const current = taps.current(before.captured, this.isDeaf);
    await turn();
    const seen = current && fingerprint(current);
    await turn();
    const now = this.remember(before, current, seen);
    const { uplinks } = now ?? before;
    const prefixes = this.never(uplinks) ?? this.not_natted;
    if (now !== undefined || this.is_in_doubt || !isDeepStrictEqual(prefixes, this.not_natted)) {
      await turn();
      const told = this.desired(before.uplinks, true);
      const is_bare = this.is_in_doubt && taps.isBare(before.captured);
      this.not_natted = prefixes;
      await this.converge(uplinks, told, generation, turn);
      signal.throwIfAborted();
      // A tap that VPP had lost has nothing of the host's.
      if (is_bare) for (const refusal of this.dress(before)) this.warn(refusalText(refusal));
    }
    // A host that builds the same anew (ifdown, ifup) loses what is ours on the tap, and nothing of its own.
    await turn();
    this.redress(uplinks);
    await turn();
    this.mendAdvertised(now ?? before);
    return now;
  }

  /** What lies in the sockets, and in the mailbox, comes first. */
  private async turn(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => this.deps.clock.afterPoll(resolve));
    signal.throwIfAborted();
  }

  /** Has VPP tell the host what routers have said by now. */
  async repeat({ uplinks }: Pick<Taken, 'uplinks'>, generation: number): Promise<void> {
    const now = this.deps.routers.repeated(this.deps.clock.now_ms());
    const { repeated: known } = this;
    if (isDeepStrictEqual(now, known) && !this.is_in_doubt) return;
    const told = this.desired(uplinks, true);
    this.repeated = now;
    if (now.size > known.size) this.rememberHeard();
    try {
      this.redress(uplinks);
    } catch (error) {
      // VPP has not been told either: that is tried again with it.
      this.repeated = known;
      throw error;
    }
    await this.converge(uplinks, told, generation);
  }

  /** VPP has what is wanted by now. `told`: what it holds, unless that is in doubt. `turn`: between two pieces of work. */
  private async converge(
    uplinks: readonly Uplink[],
    told: readonly VppObject[],
    generation: number,
    turn: () => Promise<void> = async () => undefined,
  ): Promise<void> {
    const { objects, unsure } = this.is_in_doubt ? await this.read(generation) : { objects: told };
    // Whatever ends this in between leaves VPP untold.
    this.is_in_doubt = true;
    await turn();
    const wanted = this.desired(uplinks, true);
    await turn();
    this.is_in_doubt = false;
    const operations = reconcile(wanted, objects, unsure);
    for (const refused of await this.program(generation, operations)) this.warn(refused);
  }

  private rememberHeard(): void {
    try {
      this.deps.host.rememberHeard(new Set(this.repeated.keys()));
    } catch (error) {
      this.warn((error as Error).message);
    }
  }

  private marked(captured: readonly CapturedUplink[]): CapturedUplink[] {
    return captured.map((uplink) =>
      this.repeated.has(uplink.link.name) ? { ...uplink, heard: true } : uplink,
    );
  }

  /** A router speaks by itself every few minutes only. One that does not answer costs nothing. */
  private async solicit(uplinks: readonly Uplink[]): Promise<void> {
    const asked = uplinks.map(({ name }) => this.deps.vpp.solicit(name));
    for (const each of await Promise.allSettled(asked)) {
      if (each.status === 'rejected') this.warn(`routers are not asked: ${(each.reason as Error).message}`);
    }
  }

  /**
   * What routers had told the host, and is no more on its taps, comes back, and nothing else: the rest of `taken` may have been replaced since. See
   * advertised.ts.
   */
  private mendAdvertised({ captured, uplinks }: Taken): void {
    const { host } = this.deps;
    // Nobody's loss is looked for where no router had told anything.
    if (lostAdvertised(captured, undefined, this.isDeaf).every(isNothing)) return;
    const lost = lostAdvertised(captured, host.taps.onTaps(captured), this.isDeaf);
    const gone = lost.flatMap(({ addresses, routes }) =>
      [...addresses, ...routes].map(({ prefix }) => prefix),
    );
    if (gone.length === 0 || this.mends >= mends_max || !host.taps.areUp(uplinks)) return;
    this.mends += 1;
    this.warn(
      `${gone.join(', ')} of a router's advertisements is gone from the tap, and is put back: none is heard there`,
    );
    for (const refusal of host.taps.putBack(uplinks, lost, this.cluster())) this.warn(refusalText(refusal));
  }

  /** Routers have not been heard behind it: VPP says nothing on its tap, and what is lost there does not come again by itself. */
  private readonly isDeaf = ({ link }: CapturedUplink): boolean => !this.repeated.has(link.name);

  /** The journal as the host wants it by now, at the end: nobody will look at its taps again. VPP is not told. */
  rememberLast(before: Taken): void {
    const current = this.deps.host.taps.atOnce(before.captured, this.isDeaf);
    this.remember(before, current, current && fingerprint(current));
  }

  /** The journal as the host wants it by now: `seen` is its fingerprint. Nothing when nothing has changed, or it is not known. */
  private remember(
    before: Taken,
    current: readonly CapturedUplink[] | undefined,
    seen: string | undefined,
  ): Taken | undefined {
    if (current === undefined || seen === before.seen) return undefined;
    this.deps.host.remember(this.marked(current));
    return { ...this.taken(current), seen, buffers: before.buffers };
  }

  /** An undo of an earlier incarnation of the actor, which was not waited for to its end, may still be under way. */
  private async quiet(signal: AbortSignal): Promise<void> {
    this.deps.waitsFor('an undo that is under way');
    await abortable(this.deps.host.quiet(), signal);
  }

  private seen(captured: readonly CapturedUplink[]): string | undefined {
    const current = this.deps.host.taps.current(captured, this.isDeaf);
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
    const { repeated, not_natted, uplink_entry } = this;
    return desiredNode(
      {
        ...this.settings.inputs,
        uplinks,
        repeated,
        uplink_entry,
        ...(not_natted !== undefined && { not_natted }),
      },
      taps_up,
    );
  }

  private taken(captured: readonly CapturedUplink[]): Taken {
    const { gso } = this.settings.inputs;
    return {
      captured,
      uplinks: captured.map((each) => uplinkOf(each, gso, uplinkTag(each.link.name))),
      uplink_entry: this.uplink_entry,
    };
  }

  /** That of this VPP, if it has its source NAT already; else the one that it is to have. */
  private entryFor(kept: readonly VppObject[], uplinks: readonly Uplink[]): UplinkEntry | undefined {
    if (kept.some(({ kind }) => kind === 'snat_addresses')) return entryIn(kept);
    return nodeUplinkEntry({ ...this.settings.inputs, uplinks });
  }

  /** Undefined while pods and nodes are not known. */
  private never(uplinks: readonly Uplink[]): NeverNatted | undefined {
    return this.pods && neverNatted(this.pods, ownAddresses({ uplinks }));
  }

  /**
   * What VPP holds of the node's, cleared of what refers to interfaces that are gone: before any interface is made, since a new one may
   * get the index that a route of an earlier one still names.
   */
  private async read(generation: number): Promise<Snapshot> {
    const snapshot = await this.deps.vpp.read(['node', 'nobody']);
    const dangling = snapshot.objects.filter(isDangling);
    if (dangling.length > 0) await this.deps.vpp.transact(generation, removal(dangling));
    const owners = new OwnerIndex(snapshot.objects);
    const node = snapshot.objects.filter((object) => !isDangling(object) && owners.of(object) === 'node');
    return { ...snapshot, objects: node };
  }

  /**
   * A VPP that lives on without our uplinks (a failed take-over, a lost journal) may hold parts of them. `kept`: what stays, and is not
   * made again: VPP would have a second loopback, and a second redirect table, which the pods do not look up.
   */
  private async clear(up: VppLife): Promise<Snapshot & { readonly kept: readonly VppObject[] }> {
    const snapshot = await this.read(up.generation);
    const left = snapshot.objects.filter(
      (object) => object.kind !== 'existing_interface' && !isGlobal(object),
    );
    if (left.length > 0) await this.deps.vpp.transact(up.generation, removal(left));
    return { ...snapshot, kept: snapshot.objects.filter(isGlobal) };
  }

  /** What VPP refused and the node cannot do without, and, as a warning at once, what it can. */
  private async program(generation: number, operations: readonly Operation[]): Promise<string[]> {
    if (operations.length === 0) return [];
    const was_in_doubt = this.is_in_doubt;
    this.is_in_doubt = true;
    const { outcomes, lost_state } = await this.deps.vpp.transact(generation, operations);
    const refused = this.refusedOf(outcomes);
    this.is_in_doubt = was_in_doubt || lost_state === true || refused.length > 0;
    return refused;
  }

  private refusedOf(outcomes: readonly Outcome[]): string[] {
    return outcomes.flatMap(({ operation, error }) => {
      if (error === undefined) return [];
      const text = `VPP refused to ${operation.action} ${JSON.stringify(operation.object)}: ${error.message}`;
      if (operation.action === 'add' && !isDispensable(operation.object)) return [text];
      this.warn(text);
      return [];
    });
  }

  private fatal([refused]: readonly string[]): void {
    if (refused !== undefined) throw new TakeOverFailed(refused);
  }

  private dress({ uplinks, captured }: Taken): Refusal[] {
    this.tellWithin(uplinks);
    return this.deps.host.taps.dress(uplinks, captured, this.cluster(), this.speakers());
  }

  private redress(uplinks: readonly Uplink[]): void {
    this.tellWithin(uplinks);
    for (const refusal of this.deps.host.taps.redress(uplinks, this.cluster(), this.speakers()))
      this.warn(refusalText(refusal));
  }

  private tellWithin(uplinks: readonly Uplink[]): void {
    const within = this.deps.host.taps.withinOthers(uplinks, this.cluster()).join(', ');
    if (within === this.within) return;
    this.within = within;
    if (within !== '')
      this.warn(
        `${within} of the cluster lies in a network of another link of the host, which does not reach it by VPP: give the pool, or the services, another prefix`,
      );
  }

  /** Routers in whose name VPP speaks, and which are default routers. */
  private speakers(): Speakers {
    return new Map(
      [...this.repeated].flatMap(([name, { router, lifetime_s }]) =>
        lifetime_s === 0 ? [] : [[name, router]],
      ),
    );
  }

  private cluster(): ClusterPrefixes {
    const { service_prefixes, tap_address } = this.settings.inputs;
    const { pods, services } = this;
    return { prefixes: service_prefixes, tap_address, ...(pods && { pods }), ...(services && { services }) };
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
  private async settled(taken: Taken, generation: number, signal: AbortSignal): Promise<void> {
    const { host, clock, waitsFor } = this.deps;
    const deadline = clock.now_ms() + this.settings.services_ms;
    let mend_at = clock.now_ms();
    let given_up = false;
    const half = deadline - this.settings.services_ms / 2;
    waitsFor('the host configuring its tap');
    for (;;) {
      await this.repeat(taken, generation);
      signal.throwIfAborted();
      const lost = lostWays(taken.captured, host.taps.onTaps(taken.captured) ?? []);
      if (lost.length === 0) return;
      if (clock.now_ms() >= deadline) {
        throw new TakeOverFailed(
          `hook VPP_RUNNING has cost the host ${lost.join(' and ')} on the tap; see what its network service says`,
        );
      }
      const leases = lostLeases(taken.captured, host.taps.onTaps(taken.captured) ?? []);
      if (clock.now_ms() >= half && leases.length > 0 && !given_up) {
        given_up = true;
        this.warn(
          `nobody gives the host ${leases.join(', ')} again by DHCPv6 (its hop limit has to be 2 on the tap, which nft on the host would see to): put back, and not renewed`,
        );
        for (const refusal of this.dress(taken)) this.warn(refusalText(refusal));
      }
      if (clock.now_ms() >= mend_at) {
        mend_at = clock.now_ms() + mend_interval_ms;
        this.mendAdvertised(taken);
      }
      await clock.sleep(poll_ms, signal);
    }
  }

  private warn(text: string): void {
    this.deps.log.warn({}, `uplink(take over) ${text}`);
  }
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

/** The entry for uplinks that VPP has. */
export function entryIn(objects: readonly VppObject[]): UplinkEntry | undefined {
  return objects.find((object) => object.kind === 'snat_uplinks');
}

/** As an earlier life has told it. Undefined: it has not. */
export function excludedIn(objects: readonly VppObject[]): NeverNatted | undefined {
  const excluded = objects.filter((object) => object.kind === 'snat_exclude');
  if (excluded.length === 0) return undefined;
  const of = (which: 'uplinks' | undefined) =>
    excluded.filter((each) => each.of === which).map(({ prefix }) => prefix);
  return { pods: of(undefined), uplinks: of('uplinks') };
}

/** Objects that every VPP has, or that others than uplinks use: left in place when the uplinks go. */
function isGlobal(object: VppObject): boolean {
  switch (object.kind) {
    case 'loopback':
    case 'snat_uplinks':
    case 'snat_addresses':
    case 'snat_policy':
    case 'snat_exclude':
    case 'neighbour_limits':
    case 'punt_l4':
    case 'punt_redirect':
    case 'punt_guard':
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
