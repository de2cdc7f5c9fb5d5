/**
 * Gives VPP the uplinks and the host its network: through a tap while VPP lives, as it was when VPP is gone. What is done
 * step by step stands in `uplink/take-over.ts`; here stands when. The steps run beside the mailbox, so that VPP's death or
 * the end of the node cuts them short wherever they are.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Actor, ActorContext, ActorRef, ChildSpec, Reply, StopReason } from '../actor-system.js';
import type { Timer } from '../clock.js';
import type { HookPoint } from '../config.js';
import { type Uplink, uplinkTag } from '../desired/node-inputs.js';
import type { Cluster, NodeAddresses } from '../k8s/cluster.js';
import { Publication, publication_step } from '../k8s/publication.js';
import type { Watch } from '../linux/network.js';
import type { EarlyNodeStatus, NodePrepared, NodeReady, NodeStatus } from '../messages/node.js';
import type { UplinkMessage } from '../messages/uplink.js';
import type { RouterSaid, VppConnectionMessage, VppProcessMessage, VppUp } from '../messages/vpp.js';
import type { VppObject } from '../objects/object.js';
import { Attempts, type Pauses } from '../uplink/attempts.js';
import { type EffectiveUplink, effectiveUplink } from '../uplink/effective.js';
import { KnownNeighbours } from '../uplink/known-neighbours.js';
import { nodeFacts, shownSourceNat } from '../uplink/node-facts.js';
import type { VppPort } from '../uplink/node-in-vpp.js';
import { OneTask } from '../uplink/one-task.js';
import { Preparation, type Prepared, type Preparer } from '../uplink/preparation.js';
import { RouterWords } from '../uplink/router-words.js';
import { Routers } from '../uplink/routers.js';
import { TakeOver } from '../uplink/take-over.js';
import type { TakeOverSettings } from '../uplink/take-over-deps.js';
import type { Taken } from '../uplink/taken.js';
import { TapWatches } from '../uplink/tap-watches.js';
import { NeedsNewVpp, UplinkError } from '../uplink/uplink-error.js';
import type { UplinkHost } from '../uplink/uplink-host.js';

export interface UplinkDeps {
  readonly process: ActorRef<VppProcessMessage>;
  readonly vpp: ActorRef<VppConnectionMessage>;
  /** Is there a VPP, connected or not? */
  readonly isVppRunning: () => boolean;
  readonly host: UplinkHost;
  readonly hooks: { run(point: HookPoint, signal?: AbortSignal): Promise<void> };
  readonly cluster: Pick<Cluster, 'publishNodeAddresses'>;
  /** Calls back when the link of that name, its addresses or its routes change. */
  readonly watchLink: (name: string, changed: () => void) => Watch;
  /** Has a gateway resolved: sends one datagram that leaves through it. Never throws. */
  readonly nudge: (gateway: string) => void;
  /** Tells the outside: the info file, readiness. Never throws. */
  readonly report: (report: UplinkReport) => void;
  /** Takes whom to ask, at any time, for what is wrong with which object, and what to do. */
  readonly reportFaults: (ask: () => Readonly<Record<string, string>>) => void;
}

export interface UplinkReport {
  readonly state: 'linux' | 'vpp' | 'failed';
  readonly reason: string;
  readonly uplinks: readonly Uplink[];
}

export interface UplinkSettings extends TakeOverSettings, Pauses {
  readonly node_name: string;
  /** Whether the configuration asks for segments larger than a packet: `inputs.gso` is what came of it. */
  readonly asked_gso: boolean;
  /** For one transaction: af_packet rings of a large node take a second. */
  readonly transaction_ms: number;
  readonly shutdown_ms: number;
  /** Whose objects a VPP is to have before its uplinks. */
  readonly prepared_by: readonly Preparer[];
  /** For so long the uplinks stay with Linux until it has them. */
  readonly prepare_ms: number;
  /** Whose objects its uplinks are to have before they are up, and for how long these are kept down for that: the host is without its network. */
  readonly policed_by: readonly Preparer[];
  readonly police_ms: number;
}

const owner = 'node';
/** A DHCP client removes an address and adds the next: what lasts that long is followed. */
const settle_ms = 300;
/** A table of routes by the ten thousand changes all the time, and is gone through as a whole: for a tenth of the time at most. */
const rest_share = 9;
const rest_ms_max = 30_000;
const giving_back_ms = 120_000;
/** VPP starts in a second or two, with DPDK and many hugepages in ten. */
const new_vpp_ms = 30_000;

export function uplink(deps: UplinkDeps, settings: UplinkSettings): ChildSpec<UplinkMessage> {
  return {
    name: 'uplink',
    restart: 'permanent',
    shutdown_ms: settings.shutdown_ms,
    mailbox_max: 256,
    // Both may have an undo to wait for, with its commands of the host.
    start_ms: giving_back_ms,
    handler_ms_max: giving_back_ms,
    start: async (ctx) => {
      const actor = new UplinkActor(ctx, deps, settings);
      await actor.begin();
      return actor;
    },
  };
}

class UplinkActor implements Actor<UplinkMessage> {
  private readonly takeOver: TakeOver;
  private readonly routers = new Routers();
  private readonly words: RouterWords;
  private readonly known: KnownNeighbours;
  private readonly subscribers = new Map<string, ActorRef<NodeStatus>>();
  private readonly early = new Map<string, ActorRef<EarlyNodeStatus>>();
  private readonly preparation: Preparation;
  /** As those were told of a VPP that has no uplinks yet. */
  private prepared: NodePrepared | undefined;
  /** Of that. */
  private facts: Omit<ReturnType<typeof nodeFacts>, 'prefixes'> | undefined;
  private readonly watches: TapWatches;
  private ready: NodeReady | undefined;
  private taken: Taken | undefined;
  private up: VppUp | undefined;
  private readonly task: OneTask;
  private settling: Timer | undefined;
  /** Until then the taps are not looked at again for a change of the host's. */
  private rests_until_ms = 0;
  private readonly publication: Publication<NodeAddresses>;
  private readonly attempts: Attempts;
  private readonly vpp: VppPort;
  /** Of VPP's receive queues, as it has told them. */
  private placements: readonly VppObject[] = [];
  /** VPP is being ended, and why: it is to begin with the devices that it has been given, or it is of no use for another attempt. */
  private replacing: 'with its devices' | 'is spoilt' | undefined;
  private awaiting: Timer | undefined;
  /** Until then the uplinks stay with Linux, whatever VPP comes. */
  private not_before_ms = 0;
  private doubts = 0;
  private state: UplinkReport['state'] = 'linux';
  private reason = 'VPP is not up yet';

  constructor(
    private readonly ctx: ActorContext<UplinkMessage>,
    private readonly deps: UplinkDeps,
    private readonly settings: UplinkSettings,
  ) {
    const ask = <T>(message: (reply: Reply<T>) => VppConnectionMessage): Promise<T> =>
      ctx.ask(deps.vpp, message, settings.transaction_ms);
    const essential = { owner, on_error: 'continue', urgency: 'prompt', essential: true } as const;
    const vpp: VppPort = {
      transact: (generation, operations) =>
        ask((reply) => ({
          type: 'Transact',
          transaction: { generation, operations, ...essential },
          reply,
        })),
      read: (scopes) => ask((reply) => ({ type: 'Read', scopes, reply })),
      neighbours: (name) => ask((reply) => ({ type: 'ReadNeighbours', interface: uplinkTag(name), reply })),
      introduce: (name, neighbours) =>
        ask((reply) => ({ type: 'Introduce', interface: uplinkTag(name), neighbours, reply })),
      solicit: (name) => ask((reply) => ({ type: 'Solicit', interface: uplinkTag(name), reply })),
    };
    this.vpp = vpp;
    const { clock, log } = ctx;
    const waitsFor = (what: string | undefined): void => ctx.blockedOn(what);
    this.attempts = new Attempts(settings);
    this.publication = new Publication((...wanted) => deps.cluster.publishNodeAddresses(...wanted));
    this.words = new RouterWords(this.routers, clock, (ms) => ctx.after(ms, { type: 'RouterWordsDue' }));
    this.watches = new TapWatches(deps.watchLink, (name) => ctx.tellSelf({ type: 'TapChanged', name }));
    this.task = new OneTask(() => {
      ctx.blockedOn(undefined);
      this.doubt();
    });
    this.preparation = new Preparation(clock);
    const others = {
      begin: () => this.beginPreparing(),
      prepare: (generation: number, taken: Taken, signal: AbortSignal) =>
        this.prepare(generation, taken, signal),
      made: (generation: number, signal: AbortSignal) => this.uplinksMade(generation, signal),
    };
    const warn = (text: string): void => log.warn({}, `uplink(take over) ${text}`);
    this.known = new KnownNeighbours(vpp, clock, warn);
    const { routers, known } = this;
    this.takeOver = new TakeOver({ ...deps, routers, known, vpp, others, clock, log, waitsFor }, settings);
  }

  /** A take-over of an earlier life, or of an earlier incarnation, is resumed when VPP lives, and undone at once when not. */
  async begin(): Promise<void> {
    if (!this.deps.isVppRunning()) await this.giveBack('VPP is not running', 'VPP_DONE_OK');
    this.deps.vpp.tell({ type: 'HearRouters', listener: this.ctx.self });
    this.deps.vpp.tell({ type: 'Subscribe', subscriber: this.ctx.self });
    this.deps.report({ state: this.state, reason: this.reason, uplinks: [] });
    this.deps.reportFaults(() => this.faults());
  }

  async receive(message: UplinkMessage): Promise<void> {
    switch (message.type) {
      case 'VppUp':
        await this.cancel();
        this.unwatch();
        this.up = message;
        this.awaiting?.cancel();
        this.awaiting = undefined;
        return this.attemptWhenDue(message);
      case 'NewVppLate':
        this.awaiting = undefined;
        if (!this.takeOver.awaits_new_vpp || this.up !== undefined) return;
        this.takeOver.awaits_new_vpp = false;
        return this.giveBack('VPP did not come back with the uplinks that it was given', 'VPP_ERRORED');
      case 'Retry':
        if (this.up?.generation === message.generation && this.ready === undefined) this.attempt(this.up);
        return;
      case 'VppDown':
        await this.lost(`connection to VPP lost: ${message.reason}`);
        // The end of a take-over may be in the mailbox already: it concerns nobody any more.
        this.up = undefined;
        return;
      case 'VppExited':
        await this.lost(`VPP died: ${message.reason}`);
        this.up = undefined;
        if (this.replacing === 'with its devices' && this.takeOver.awaits_new_vpp) return this.awaitNewVpp();
        // One that was ended because a driver came to nothing is as good as a failure of the one before.
        if (this.replacing === undefined) this.attempts.anew();
        this.replacing = undefined;
        this.takeOver.awaits_new_vpp = false;
        return this.giveBack(`VPP died: ${message.reason}`, 'VPP_DONE_OK');
      case 'SubscribeNode':
        this.subscribers.set(message.subscriber.path, message.subscriber);
        if (this.ready !== undefined) message.subscriber.tellUrgent(this.ready);
        return;
      case 'SubscribeEarly': {
        this.early.set(message.subscriber.path, message.subscriber);
        const told = this.ready ?? this.prepared;
        if (told !== undefined) message.subscriber.tellUrgent(told);
        return;
      }
      case 'InPlace':
        return this.preparation.inPlace(message.of, message.round);
      case 'PodPrefixes':
        this.takeOver.following.wishes.pods = message.pods;
        this.preparation.news();
        return this.settleNow();
      case 'Networks':
        this.takeOver.following.wishes.networks.told = message.networks;
        this.preparation.news();
        return this.settleNow();
      case 'ServicePrefixes':
        this.takeOver.following.wishes.services = message.prefixes;
        return this.settleNow();
      case 'Prepared':
        if (this.up?.generation === message.generation) this.tellPrepared(this.up, message);
        return;
      case 'Made':
        if (this.up?.generation !== message.generation) return;
        for (const subscriber of this.early.values())
          subscriber.tellUrgent({ ...message, type: 'UplinksMade' });
        return;
      case 'Taken':
        if (this.up?.generation === message.generation) this.publish(this.up, message.taken);
        return;
      case 'TakeOverFailed':
        if (this.up?.generation === message.generation) await this.failed(this.up, message.error);
        return;
      case 'TapChanged':
        this.watches.looked(message.name);
        this.mend(message.name);
        return this.settle(Math.max(settle_ms, this.rests_until_ms - this.ctx.clock.now_ms()));
      case 'RouterSaid':
        if (this.up?.generation === message.generation) this.heard(message);
        return;
      case 'RouterWordsDue':
        this.words.looked();
        return this.repeat();
      case 'TapSettled':
        this.settling = undefined;
        return this.follow();
    }
  }

  /** Only a stop for good gives the host back; over a restart of this actor VPP goes on forwarding. */
  async stop(reason: StopReason): Promise<void> {
    this.publication.stop();
    await this.cancel();
    this.unwatch();
    if (reason.kind !== 'shutdown') return;
    // With VPP the tap goes, and with it the last chance to read it.
    if (this.taken !== undefined) this.takeOver.following.rememberLast(this.taken);
    await this.ctx
      .ask(
        this.deps.process,
        (reply) => ({ type: 'Shutdown', reply }) as const,
        this.settings.shutdown_ms / 4,
      )
      .catch((error: Error) => this.ctx.log.warn({ err: error }, 'uplink(stop) VPP did not end in time'));
    await this.giveBack('stopped', 'VPP_DONE_OK');
  }

  gauges() {
    return {
      state: this.state,
      reason: this.reason.slice(0, 200),
      uplinks: this.uplinks()
        .map(({ name }) => name)
        .join(' '),
      generation: this.ready?.generation ?? 0,
      faulty: Object.keys(this.faults()).length,
      drivers: this.effective()
        .map(({ name, driver }) => `${name} ${driver}`)
        .join(' '),
      slower: this.effective()
        .flatMap(({ name, slower }) => slower.map((why) => `${name}: ${why}`))
        .join('; ')
        .slice(0, 400),
    };
  }

  describe() {
    const { state, reason } = this;
    const uplinks = this.uplinks();
    const inputs = { ...this.settings.inputs, uplinks, uplink_entry: this.taken?.uplink_entry };
    const source_nat = shownSourceNat(inputs, this.takeOver.following.pods_in_vpp);
    return {
      state,
      reason,
      uplinks,
      drivers: this.effective(),
      ...(uplinks.length > 0 && { source_nat }),
      journal_pending: this.deps.host.isChanged(),
      faults: this.faults(),
    };
  }

  /** How the uplinks that VPP has are driven. */
  private effective(): readonly EffectiveUplink[] {
    const { taken, placements } = this;
    const { gso: on } = this.settings.inputs;
    const gso = { asked: this.settings.asked_gso, on };
    return (taken?.uplinks ?? []).map((each, at) =>
      effectiveUplink(taken!.captured[at]!, each, gso, placements),
    );
  }

  private tellDrivers(): void {
    for (const { name, driver, passed_over = {}, slower } of this.effective()) {
      this.ctx.event('uplink', `${name} is driven by ${driver}`);
      const against = Object.entries(passed_over).map(([other, why]) => `${other}: ${why}`);
      if (against.length > 0)
        this.ctx.log.info(
          { name, driver },
          `uplink(driver) ${name}: ${driver}; not ${against.join('; not ')}`,
        );
      for (const why of slower) this.ctx.log.warn({ name, driver }, `uplink(driver) ${name}: ${why}`);
    }
  }

  /** Which worker of VPP has which queue: VPP chooses it. For a person alone: without it nothing is lost. */
  private async readPlacements({ generation, workers }: VppUp): Promise<void> {
    if (workers === 0) return;
    try {
      const { objects } = await this.vpp.read(['node']);
      if (this.up?.generation !== generation) return;
      this.placements = objects.filter(({ kind }) => kind === 'rx_placement');
    } catch (error) {
      this.ctx.log.warn(
        { err: error as Error },
        'uplink(driver) it is not known which worker has which queue',
      );
    }
  }

  /** By object. */
  private faults(): Readonly<Record<string, string>> {
    const { wanted, cause } = this.publication.pending ?? {};
    if (wanted === undefined || cause === undefined) return {};
    const addresses = Object.values(wanted).join(', ') || 'none';
    return {
      [`Node ${this.settings.node_name}`]: `does not tell its addresses (${addresses}), and what other nodes and BGP know is what it said before: ${cause}; it is tried again: ${publication_step}`,
    };
  }

  private beginPreparing(): void {
    const { prepared_by, prepare_ms } = this.settings;
    this.facts = undefined;
    this.preparation.begin(prepared_by, prepare_ms);
  }

  /** Others are told where the facts are not those that they were told. */
  private async prepare(generation: number, taken: Taken, signal: AbortSignal): Promise<Prepared> {
    const { prefixes: _, ...facts } = nodeFacts(taken, this.settings.inputs, this.takeOver.following);
    if (!isDeepStrictEqual(facts, this.facts)) {
      if (this.facts !== undefined) this.preparation.anew();
      this.facts = facts;
      this.ctx.tellSelf({ type: 'Prepared', generation, round: this.preparation.round, facts });
    }
    return this.othersInPlace(generation, this.settings.prepare_ms, signal);
  }

  private tellPrepared(
    { generation, vpp, workers }: VppUp,
    { round, facts }: Extract<UplinkMessage, { type: 'Prepared' }>,
  ): void {
    this.prepared = { type: 'NodePrepared', generation, vpp, workers, ...facts, round };
    for (const subscriber of this.early.values()) subscriber.tellUrgent(this.prepared);
  }

  private async uplinksMade(generation: number, signal: AbortSignal): Promise<void> {
    const { policed_by, police_ms } = this.settings;
    this.preparation.begin(policed_by, police_ms);
    this.ctx.tellSelf({ type: 'Made', generation, round: this.preparation.round });
    while ((await this.othersInPlace(generation, police_ms, signal)) === 'news');
  }

  private async othersInPlace(generation: number, limit_ms: number, signal: AbortSignal): Promise<Prepared> {
    const { preparation, ctx } = this;
    ctx.blockedOn(`${preparation.missing.join(' and ')} in VPP`);
    const outcome = await preparation.wait(signal);
    if (outcome === 'late') {
      const text = `VPP has not had all ${preparation.missing.join(' and ')} within ${limit_ms} ms, and gets its uplinks: what comes for the others meanwhile may be lost, or judged wrongly, for as long as it goes on`;
      ctx.log.warn({ generation }, `uplink(prepare) ${text}`);
      ctx.event('uplink', text);
    }
    return outcome;
  }

  private uplinks(): readonly Uplink[] {
    return this.taken?.uplinks ?? [];
  }

  private attempt(up: VppUp): void {
    this.attempts.begun();
    this.task.begin(async (signal) => {
      try {
        const resumed = up.adopted ? await this.takeOver.resume(up, signal) : undefined;
        const taken = resumed ?? (await this.takeOver.run(up, signal));
        this.ctx.tellSelf({ type: 'Taken', generation: up.generation, taken });
      } catch (error) {
        if (!signal.aborted) {
          this.ctx.tellSelf({ type: 'TakeOverFailed', generation: up.generation, error: error as Error });
        }
      }
    });
  }

  /** What the host has changed on its tap goes to VPP and into the journal. */
  private follow(): void {
    const { taken, up, ready } = this;
    if (taken === undefined || up === undefined || ready === undefined) return;
    if (this.task.isBusy) return this.settle(settle_ms);
    this.task.begin(async (signal) => {
      const began_ms = this.ctx.clock.now_ms();
      try {
        const { pods_in_vpp, networks_in_vpp } = this.takeOver.following;
        const now = await this.takeOver.following.follow(taken, up.generation, signal);
        // Pods are told of their pools when VPP knows where what they send keeps its source.
        const { mends_in_ms } = this.takeOver.following;
        if (mends_in_ms !== undefined) this.settle(mends_in_ms);
        const { looks_in_ms } = this.takeOver.following.wishes.networks;
        if (looks_in_ms !== undefined) this.settle(looks_in_ms);
        const is_news =
          now !== undefined ||
          pods_in_vpp !== this.takeOver.following.pods_in_vpp ||
          networks_in_vpp !== this.takeOver.following.networks_in_vpp;
        if (is_news) this.ctx.tellSelf({ type: 'Taken', generation: up.generation, taken: now ?? taken });
      } catch (error) {
        if (!signal.aborted) {
          this.ctx.log.warn({ err: error as Error }, `uplink(follow) ${(error as Error).message}`);
          // In doubt it is looked at sooner.
          if (!this.takeOver.following.is_in_doubt) this.settle(this.settings.retry_max_ms);
        }
      }
      const ended_ms = this.ctx.clock.now_ms();
      this.rests_until_ms = ended_ms + Math.min(rest_share * (ended_ms - began_ms), rest_ms_max);
    });
  }

  private heard({ interface: tag, advertisement }: RouterSaid): void {
    const spec = this.settings.specs.find(({ interface_name }) => uplinkTag(interface_name) === tag);
    if (spec === undefined) return;
    this.words.heard(spec.interface_name, advertisement);
  }

  /** Has VPP tell the host what routers have said, and what is over because they are silent. */
  private repeat(): void {
    const { taken, up, ready } = this;
    // A take-over under way does it itself.
    if (taken === undefined || up === undefined || ready === undefined) return;
    if (this.task.isBusy) return this.words.repeatIn();
    this.words.awaitSilence();
    this.task.begin(async (signal) => {
      await this.takeOver.following.repeat(taken, up.generation).catch((error: Error) => {
        if (signal.aborted) return;
        this.ctx.log.warn({ err: error }, `uplink(routers) not told to the host: ${error.message}`);
        this.words.repeatIn(this.settings.retry_ms);
      });
    });
  }

  /** While changes keep coming the timer is not put off: they are followed at most once in `delay_ms`. */
  private settle(delay_ms: number): void {
    this.settling ??= this.ctx.after(delay_ms, { type: 'TapSettled' });
  }

  /** What the cluster says does not wait for the next look at the taps. */
  private settleNow(): void {
    this.settling?.cancel();
    this.settling = undefined;
    this.settle(0);
  }

  /** What VPP holds is looked at again, less and less often where it refuses the same each time. */
  private doubt(): void {
    if (!this.takeOver.following.is_in_doubt) {
      this.doubts = 0;
      return;
    }
    const { retry_ms, retry_max_ms } = this.settings;
    this.settle(Math.min(retry_ms * 2 ** this.doubts, retry_max_ms));
    this.doubts = Math.min(this.doubts + 1, 30);
  }

  private cancel(): Promise<void> {
    return this.task.cancel('the take-over was cut short');
  }

  private publish(up: VppUp, taken: Taken): void {
    const { uplinks } = taken;
    const { prefixes, ...facts } = nodeFacts(taken, this.settings.inputs, this.takeOver.following);
    const before = this.ready;
    const { generation, vpp, workers } = up;
    this.ready = { type: 'NodeReady', generation, vpp, workers, ...facts };
    this.taken = taken;
    this.attempts.anew();
    this.watch();
    this.words.repeatIn();
    if (JSON.stringify(this.ready) === JSON.stringify(before)) return;
    this.is('vpp', `VPP has ${uplinks.map(({ name }) => name).join(', ')}`);
    if (before?.generation !== generation) {
      this.placements = [];
      this.tellDrivers();
      void this.readPlacements(up);
    }
    this.prepared = undefined;
    for (const subscribers of [this.subscribers, this.early])
      for (const subscriber of subscribers.values()) subscriber.tellUrgent(this.ready);
    const { ip4, ip6 } = prefixes;
    // Until the next ones, or the end of this incarnation.
    this.publication.begin({ ...(ip4 && { ip4 }), ...(ip6 && { ip6 }) });
  }

  /** The pause behind a failure outlasts the VPP that had to be ended because of it. */
  private attemptWhenDue(up: VppUp): void {
    const left_ms = this.not_before_ms - this.ctx.clock.now_ms();
    if (left_ms <= 0 || up.adopted || this.takeOver.awaits_new_vpp) return this.attempt(up);
    this.ctx.after(left_ms, { type: 'Retry', generation: up.generation });
  }

  private awaitNewVpp(): void {
    this.replacing = undefined;
    this.is('failed', 'VPP begins anew with the uplinks');
    this.awaiting?.cancel();
    this.awaiting = this.ctx.after(new_vpp_ms, { type: 'NewVppLate' });
  }

  private replace(why: 'with its devices' | 'is spoilt', reason: string): void {
    this.replacing = why;
    this.deps.process.tell({ type: 'Replace', reason });
  }

  private async failed(up: VppUp, error: Error): Promise<void> {
    // VPP went away in the middle: VppDown or VppExited is on its way and decides.
    if ('code' in error && (error.code === 'stale_generation' || error.code === 'ACTOR_DOWN')) {
      return this.is('failed', error.message);
    }
    if (error instanceof NeedsNewVpp) return this.replace('with its devices', error.message);
    const spoilt = await this.takeOver.spoilt();
    this.takeOver.cameToNothing(error.message);
    this.ctx.log.error({ err: error }, `uplink(take over) failed: ${error.message}`);
    // An uplink that is not fit (yet), and one that VPP could not be prepared for, were not touched: to look again costs the host nothing.
    const { has_touched, has_cost } = this.takeOver;
    if (has_touched || !(error instanceof UplinkError)) {
      await this.takeOver
        .abandon(up)
        .catch((reason: Error) => this.ctx.log.warn({ err: reason }, `uplink(abandon) ${reason.message}`));
      if (spoilt !== undefined) {
        this.not_before_ms = this.ctx.clock.now_ms() + this.attempts.failed(has_cost).delay_ms;
        this.is('failed', `${error.message}; ${spoilt}`);
        return this.replace('is spoilt', spoilt);
      }
      await this.giveBack(error.message, 'VPP_ERRORED');
    }
    const { delay_ms, pauses } = this.attempts.failed(has_cost);
    const when = pauses ? `; tried again in ${Math.round(delay_ms / 60_000)} min, or with the next VPP` : '';
    this.is('failed', `${error.message}${when}`);
    this.ctx.after(delay_ms, { type: 'Retry', generation: up.generation });
  }

  private async lost(reason: string): Promise<void> {
    await this.cancel();
    this.unwatch();
    const told = this.ready ?? this.prepared;
    if (told === undefined) return;
    const lost = { type: 'NodeLost', generation: told.generation, reason } as const;
    for (const subscriber of this.early.values()) subscriber.tellUrgent(lost);
    this.prepared = undefined;
    if (this.ready === undefined) return;
    this.ready = undefined;
    this.takeOver.lost();
    this.is('linux', reason);
    for (const subscriber of this.subscribers.values()) subscriber.tellUrgent(lost);
  }

  /** Linux gets its network back; then, and only then, the hooks are told. */
  private async giveBack(reason: string, point: HookPoint): Promise<void> {
    // What an incarnation that is over has still to do is its successor's, who may have taken the uplinks over again.
    if (this.ctx.signal.aborted) return;
    const { host, hooks } = this.deps;
    this.taken = undefined;
    if (!host.isChanged()) return this.is('linux', reason);
    const { results, remaining } = await host.restore();
    this.ctx.event(
      'uplink',
      `host restored: ${results.length - remaining.length} of ${results.length} steps`,
    );
    for (const result of results) {
      if (result.outcome !== 'failed') continue;
      this.ctx.log.error({ reason: result.reason }, `uplink(restore) ${result.reason}`);
    }
    this.is('linux', reason);
    await hooks.run(point);
  }

  private is(state: UplinkReport['state'], reason: string): void {
    this.state = state;
    this.reason = reason;
    this.ctx.event('uplink', `${state}: ${reason}`);
    this.deps.report({ state, reason, uplinks: this.uplinks() });
  }

  private watch(): void {
    // What has changed between the dressing of the tap and now has woken nobody.
    const names = this.uplinks().map(({ name }) => name);
    if (this.watches.begin(names)) this.settle(settle_ms);
    this.known.begin(names);
  }

  private unwatch(): void {
    this.watches.end();
    this.known.end();
    this.settling?.cancel();
    this.settling = undefined;
  }

  private mend(name: string): void {
    const changed = this.uplinks().find((each) => each.name === name);
    if (changed === undefined || this.ready === undefined) return;
    if (this.deps.host.taps.mendMtu(changed))
      this.ctx.event('uplink', `MTU of ${name} set back to ${changed.mtu}`);
  }
}
