/**
 * How the uplinks come into VPP's hands, step by step, in the order in which the host suffers least:
 *
 *   hook, read Linux ─▶ prepare VPP ─▶ read Linux again, hook ─▶ journal, move the device ─▶ program VPP (all down) ─▶ uplinks up ─▶ dress the tap
 *      ─▶ tap up ─▶ gateways answer? ─▶ hook ─▶ and now?
 *
 * Every step may fail, and every wait but that for a transaction may be aborted: the caller then gives the host back from the
 * journal.
 */

import { orAborted } from '../clock.js';
import type { HookPoint, UplinkSpec } from '../config.js';
import { hostTapTag, type Uplink, uplinkTag } from '../desired/node-inputs.js';
import type { VppObject } from '../objects/object.js';
import type { Operation } from '../reconcile/operation.js';
import { reconcile } from '../reconcile/reconcile.js';
import { advertisementIn } from './advertised.js';
import type { CapturedUplink } from './captured.js';
import { driverFor } from './drivers.js';
import { Following } from './following.js';
import { Gateways } from './gateways.js';
import type { KnownNeighbours } from './known-neighbours.js';
import { withoutOldLeases } from './leases.js';
import { entryIn, excludedIn, isGlobal, type Kept } from './node-in-vpp.js';
import { routeInWords } from './obstacles.js';
import type { TakeOverDeps, TakeOverSettings, VppLife } from './take-over-deps.js';
import type { Taken } from './taken.js';
import { NeedsNewVpp, TakeOverFailed, UplinkError } from './uplink-error.js';
import { lostWays } from './ways.js';

/** What the last step of a take-over needs of those before. */
interface Given {
  readonly prepared: readonly VppObject[];
  readonly met: Parameters<KnownNeighbours['introduce']>[0];
  readonly buffers: Kept['buffers'];
}

const poll_ms = 50;

export class TakeOver {
  /** The attempt under way, or the last one, has changed something of the host, or of a VPP that has its uplinks. */
  has_touched = false;
  /** It has cut the host off for a moment. */
  has_cost = false;
  /** Whoever renews its leases was there until then. Of what an earlier life has written nobody knows. */
  private whole_at_ms = Number.NEGATIVE_INFINITY;
  /** VPP begins anew with the devices that it has been given: the next one finds them, and the host is without its network until then. */
  awaits_new_vpp = false;
  /** Given to VPP, and the take-over has not come to its end. */
  private trying: readonly CapturedUplink[] = [];
  /** What goes on from then on. */
  readonly following: Following;
  private readonly wishes: Following['wishes'];
  private readonly vpp: Following['vpp'];
  private readonly dressing: Following['dressing'];
  private readonly mender: Following['mender'];
  private readonly gateways: Gateways;

  constructor(
    private readonly deps: TakeOverDeps,
    private readonly settings: TakeOverSettings,
  ) {
    const warn = (text: string): void => this.warn(text);
    const following = new Following(deps, settings);
    this.following = following;
    this.wishes = following.wishes;
    this.vpp = following.vpp;
    this.dressing = following.dressing;
    this.mender = following.mender;
    this.gateways = new Gateways({ ...deps, warn }, settings);
    const found = deps.host.taken();
    if (found?.phase === 'taken' && sameSpecs(found.uplinks, settings.specs)) {
      following.whole = found.uplinks;
    }
  }

  /** VPP has the uplinks no more. What was lent has not been renewed since it was. */
  lost(): void {
    if (this.mender.is_answered) this.whole_at_ms = this.deps.clock.now_ms();
  }

  /** VPP has the uplinks already: mends what differs. Nothing when it has not, after all. */
  async resume(up: VppLife, signal: AbortSignal): Promise<Taken | undefined> {
    const { host, waitsFor } = this.deps;
    this.has_touched = false;
    this.has_cost = false;
    this.vpp.is_in_doubt = false;
    await this.quiet(signal);
    const found = host.taken();
    if (found?.phase !== 'taken' || !sameSpecs(found.uplinks, this.settings.specs)) return undefined;
    const snapshot = await this.vpp.read(up.generation);
    signal.throwIfAborted();
    const present = new Set(snapshot.interfaces.map(({ tag }) => tag));
    if (!found.uplinks.every(({ link }) => present.has(uplinkTag(link.name)))) return undefined;

    this.has_touched = true;
    this.has_cost = true;
    waitsFor('reconciling the running VPP');
    // The host may have changed its addresses since: what is on the tap counts, but in the middle of a change; only a bare tap is dressed.
    this.findRepeated(found.uplinks, snapshot.objects);
    this.wishes.uplink_entry = entryIn(snapshot.objects);
    this.wishes.not_natted = excludedIn(snapshot.objects);
    this.wishes.networks.found(snapshot.objects);
    const is_bare = host.taps.isBare(found.uplinks);
    const current = host.taps.atOnce(found.uplinks, this.wishes.isDeaf);
    const taken = this.wishes.taken(current ?? found.uplinks);
    const { pods } = this.wishes;
    const networks = this.wishes.networks.told;
    this.wishes.not_natted = this.wishes.neverNatted(taken.uplinks) ?? this.wishes.not_natted;
    const operations = reconcile(this.wishes.objects(taken.uplinks, true), snapshot.objects, snapshot.unsure);
    for (const refused of await this.vpp.program(up.generation, operations)) this.warn(refused);
    this.following.pods_in_vpp = pods;
    this.following.networks_in_vpp = this.following.inVpp(networks);
    signal.throwIfAborted();
    if (is_bare) this.dressing.dress(taken, this.wishes.cluster(), this.wishes.speakers());
    try {
      host.remember(this.wishes.marked(taken.captured));
    } catch (error) {
      // A disk that takes nothing is no reason to take a running network down: a restore gives what was written last.
      this.warn((error as Error).message);
    }
    this.following.whole = taken.captured;
    this.mender.lend(taken.captured);
    // What is in the middle of a change is looked at again.
    const seen = is_bare || current !== undefined ? this.following.seen(taken.captured) : undefined;
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
    this.wishes.repeated = routers.repeated(clock.now_ms());
  }

  async run(up: VppLife, signal: AbortSignal): Promise<Taken> {
    const { host, known, waitsFor } = this.deps;
    this.has_touched = false;
    this.has_cost = false;
    this.vpp.is_in_doubt = false;
    const held = await this.vpp.clear(up.generation);
    this.mender.anew();
    this.deps.routers.anew(this.deps.clock.now_ms());
    this.wishes.repeated = this.deps.routers.repeated(this.deps.clock.now_ms());
    await this.quiet(signal);
    const given = this.awaits_new_vpp ? host.taken()?.uplinks : undefined;
    this.awaits_new_vpp = false;
    if (given !== undefined) return this.goOn(up.generation, held, given, signal);
    this.cameToNothing('VPP or the take-over ended while it was begun');
    const [held_by] = await host.held();
    if (held_by !== undefined) throw new TakeOverFailed(`${held_by}, and Linux is to have it first`);
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
    host.newAttempt();
    const { prepared, before } = await this.prepare(up.generation, held, signal);
    mustBeMade(before, held);
    await host.mustBeFree(before);
    let surveyed = await this.survey(before, signal);
    // Those of before may have had another driver, which no program keeps from them.
    while (!(await host.mustBeFree(surveyed))) surveyed = await this.survey(before, signal);
    this.has_touched = true;
    await this.hook('BEFORE_VPP_RUN', signal);

    const found = await this.gateways.afterServices(surveyed, signal);
    if (this.gateways.is_lending) this.mender.lend(found);
    waitsFor('taking the uplinks over');
    this.tellLeftovers(found);
    this.has_cost = true;
    const met = new Map(found.map((each) => [each.link.name, known.of(each, host.heard(each))]));
    this.trying = found;
    const captured = await host.take(found, signal);
    if (captured.some((each) => driverFor(each).needs_new_vpp)) {
      this.awaits_new_vpp = true;
      host.giveToNextVpp(captured);
      throw new NeedsNewVpp('it finds the uplinks when it starts');
    }
    return this.give(up.generation, captured, { prepared, met, buffers: held.buffers }, signal);
  }

  /** With a VPP that has found the devices when it started. */
  private async goOn(
    generation: number,
    held: Kept,
    captured: readonly CapturedUplink[],
    signal: AbortSignal,
  ): Promise<Taken> {
    this.has_touched = true;
    this.has_cost = true;
    this.trying = captured;
    const { prepared } = await this.prepare(generation, held, signal, captured);
    return this.give(generation, captured, { prepared, met: new Map(), buffers: held.buffers }, signal);
  }

  /** VPP makes interfaces of the devices that it has, and the host gets its taps. */
  private async give(
    generation: number,
    captured: readonly CapturedUplink[],
    { prepared, met, buffers }: Given,
    signal: AbortSignal,
  ): Promise<Taken> {
    const { host, known } = this.deps;
    const up = { generation };
    const taken = this.wishes.taken(captured);
    const all_down = this.wishes.objects(taken.uplinks, false, false);
    const attached = await this.attach(generation, taken, all_down);
    this.fatal(await this.vpp.program(up.generation, reconcile(all_down, [...prepared, ...attached])));
    signal.throwIfAborted();
    await known.introduce(met, signal);
    await this.deps.others.made(up.generation, signal);
    const taps_down = this.wishes.objects(taken.uplinks, false);
    const uplinks_up = reconcile(taps_down, all_down).filter(isNew(all_down));
    this.fatal(await this.vpp.program(up.generation, uplinks_up));
    signal.throwIfAborted();
    await this.mender.dress(taken, signal);
    const seen = this.following.seen(captured);
    // Before the services of the host are told, which takes seconds in which it is not to be without its network.
    const taps_up = reconcile(this.wishes.objects(taken.uplinks, true), taps_down).filter(isNew(taps_down));
    this.fatal(await this.vpp.program(up.generation, taps_up));
    signal.throwIfAborted();
    await this.solicit(taken.uplinks);
    if (captured.some(({ nexthops }) => nexthops.length > 0)) await this.mender.dress(taken, signal);
    await this.verify(taken, signal);
    // A service that is started anew asks the routers first of all.
    await this.following.repeat(taken, up.generation);
    const { services_ms } = this.settings;
    await this.mender.whileTold(taken, this.hook('VPP_RUNNING', signal), services_ms, signal);
    await this.settled(taken, up.generation, signal);
    await this.verify(taken, signal);
    this.gateways.forget();
    host.complete(this.wishes.marked(captured));
    this.trying = [];
    this.following.whole = captured;
    return { ...taken, seen, buffers };
  }

  /** What VPP looks up by a name that the host has until then. Answers what VPP has of it. */
  private async attach(
    generation: number,
    { captured, uplinks }: Taken,
    all: readonly VppObject[],
  ): Promise<readonly VppObject[]> {
    const tags = new Set(
      uplinks
        .filter((_, at) => driverFor(captured[at]!).attaches_before_move)
        .map(({ name }) => uplinkTag(name)),
    );
    if (tags.size === 0) return [];
    const first = all.filter((object) => 'tag' in object && tags.has(object.tag));
    this.fatal(await this.vpp.program(generation, reconcile(first, [])));
    this.deps.host.moveAttached(captured);
    return first;
  }

  /** Why the VPP of an attempt that has failed is of no use for the next one, if so. */
  async spoilt(): Promise<string | undefined> {
    const held = await this.deps.host.held();
    if (held.length > 0) return `${held.join(', ')}, which Linux is to have back`;
    const spoiling = this.trying.find((each) => driverFor(each).spoils_vpp);
    return spoiling && `VPP does not survive a second attempt with ${driverFor(spoiling).name}`;
  }

  /** A driver that was chosen, and with which the take-over has not come to its end, is chosen no more. */
  cameToNothing(why: string): void {
    this.deps.host.cameToNothing(this.trying, why);
    this.trying = [];
  }

  /**
   * While Linux has the uplinks VPP is given what others build on, and by these what flows depend on. Answers what it holds of the node, and the uplinks
   * as they were `before`: when the host was last whole, or else as they are. What the cluster says meanwhile is told, too. The host may change them meanwhile: they are read again before they are taken.
   */
  private async prepare(
    generation: number,
    { kept, unsure, buffers }: Kept,
    signal: AbortSignal,
    given?: readonly CapturedUplink[],
  ): Promise<{ readonly prepared: readonly VppObject[]; readonly before: readonly CapturedUplink[] }> {
    const { host, others, waitsFor } = this.deps;
    if (this.following.whole === undefined) this.whole_at_ms = this.deps.clock.now_ms();
    const before = given ?? this.following.whole ?? host.capture(this.settings.specs);
    // Of an earlier life, which has not come to the end of its take-over.
    this.wishes.not_natted ??= excludedIn(kept);
    this.wishes.uplink_entry = this.wishes.entryFor(kept, this.wishes.taken(before).uplinks);
    const taken = { ...this.wishes.taken(before), buffers };
    // Whoever answers meanwhile is known to VPP.
    if (given === undefined) host.probe(before);
    others.begin();
    for (let told = kept, doubts = unsure; ; doubts = new Set()) {
      waitsFor('what others build on');
      const { pods } = this.wishes;
      const networks = this.wishes.networks.told;
      this.wishes.networks.found(told);
      this.wishes.not_natted = this.wishes.neverNatted(taken.uplinks) ?? this.wishes.not_natted;
      const wanted = this.wishes.objects(taken.uplinks, false).filter(isGlobal);
      this.fatal(await this.vpp.program(generation, reconcile(wanted, told, doubts)));
      told = wanted;
      this.following.pods_in_vpp = pods;
      this.following.networks_in_vpp = this.following.inVpp(networks);
      if ((await others.prepare(generation, taken, signal)) !== 'news') return { prepared: told, before };
    }
  }

  /** What has not come by its end is not waited for again by the next attempt. */
  private async survey(before: readonly CapturedUplink[], signal: AbortSignal): Promise<CapturedUplink[]> {
    try {
      const age_ms = this.deps.clock.now_ms() - this.whole_at_ms;
      const alive = before.map((uplink) => withoutOldLeases(uplink, age_ms));
      const surveyed = await this.gateways.survey(before, alive, signal);
      this.following.whole = surveyed;
      return surveyed;
    } catch (error) {
      if (error instanceof UplinkError) this.following.whole = undefined;
      throw error;
    }
  }

  private tellLeftovers(captured: readonly CapturedUplink[]): void {
    for (const { link, leftovers } of captured) {
      for (const route of leftovers) {
        this.warn(
          `route ${routeInWords(route)} on ${link.name} is of another implementation of the node, and left out for good`,
        );
      }
    }
  }

  /** No gateway is asked by a tap that has lost its addresses. */
  private async verify(taken: Taken, signal: AbortSignal): Promise<void> {
    await this.gateways.verify(taken.captured, signal, () => this.mender.mend(taken));
  }

  /** A router speaks by itself every few minutes only. One that does not answer costs nothing. */
  private async solicit(uplinks: readonly Uplink[]): Promise<void> {
    const asked = uplinks.map(({ name }) => this.deps.vpp.solicit(name));
    for (const each of await Promise.allSettled(asked)) {
      if (each.status === 'rejected') this.warn(`routers are not asked: ${(each.reason as Error).message}`);
    }
  }

  /** An undo of an earlier incarnation of the actor, which was not waited for to its end, may still be under way. */
  private async quiet(signal: AbortSignal): Promise<void> {
    this.deps.waitsFor('an undo that is under way');
    await orAborted(this.deps.host.quiet(), signal);
  }

  /** Takes out of a living VPP what a take-over may have left in it. */
  async abandon(up: VppLife): Promise<void> {
    const { uplinks } = this.wishes.taken(this.deps.host.taken()?.uplinks ?? []);
    await this.vpp.abandon(up.generation, this.wishes.objects(uplinks, true));
  }

  private fatal([refused]: readonly string[]): void {
    if (refused !== undefined) throw new TakeOverFailed(refused);
  }

  /** Hooks have their own time limit; an abort cuts it short. */
  private async hook(point: HookPoint, signal: AbortSignal): Promise<void> {
    this.deps.waitsFor(`hook ${point}`);
    await orAborted(this.deps.hooks.run(point, signal), signal);
  }

  /** The services of the host may have built its tap anew, as networkd does: it must have its ways out again. */
  private async settled(taken: Taken, generation: number, signal: AbortSignal): Promise<void> {
    const { host, clock, waitsFor } = this.deps;
    const deadline = clock.now_ms() + this.settings.services_ms;
    waitsFor('the host configuring its tap');
    for (;;) {
      await this.following.repeat(taken, generation);
      signal.throwIfAborted();
      const lost = lostWays(taken.captured, host.taps.onTaps(taken.captured) ?? []);
      if (lost.length === 0) return;
      if (clock.now_ms() >= deadline) {
        throw new TakeOverFailed(
          `hook VPP_RUNNING has cost the host ${lost.join(' and ')} on the tap; see what its network service says`,
        );
      }
      this.mender.mend(taken);
      await clock.sleep(poll_ms, signal);
    }
  }

  private warn(text: string): void {
    this.deps.log.warn({}, `uplink(take over) ${text}`);
  }
}

/** Of `none` VPP's own start-up files make the interface, and the host is not to be without its network where they do not. Throws UplinkError. */
function mustBeMade(uplinks: readonly CapturedUplink[], { interfaces }: Kept): void {
  for (const { spec, link } of uplinks) {
    const tag = uplinkTag(link.name);
    if (spec.driver !== 'none' || interfaces.some((each) => each.tag === tag)) continue;
    throw new UplinkError(
      `uplink ${link.name}: VPP has no interface with the tag ${tag}, which driver none is to take; have CALICOVPP_CONFIG_EXEC_TEMPLATE or the start-up file make it, and tag it (set interface tag)`,
    );
  }
}

function sameSpecs(captured: readonly CapturedUplink[], specs: readonly UplinkSpec[]): boolean {
  return JSON.stringify(captured.map(({ spec }) => spec)) === JSON.stringify(specs);
}

/** What an earlier transaction has added already need not be added again because no dump shows it. */
function isNew(known: readonly VppObject[]): (operation: Operation) => boolean {
  const before = new Set(known.map((object) => JSON.stringify(object)));
  return ({ object }) => !before.has(JSON.stringify(object));
}
