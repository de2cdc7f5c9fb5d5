/**
 * Gives VPP the uplinks and the host its network: through a tap while VPP lives, as it was when VPP is gone. What is done
 * step by step stands in `uplink/take-over.ts`; here stands when. The steps run beside the mailbox, so that VPP's death or
 * the end of the node cuts them short wherever they are.
 */
import type { Actor, ActorContext, ActorRef, ChildSpec, StopReason } from '../actor-system.js';
import type { Timer } from '../clock.js';
import type { HookPoint } from '../config.js';
import { type Uplink, uplinkTag } from '../desired/node-inputs.js';
import type { Cluster, NodeAddresses } from '../k8s/cluster.js';
import { Publication, publication_step } from '../k8s/publication.js';
import type { Watch } from '../linux/network.js';
import type { NodeReady } from '../messages/node.js';
import type { UplinkMessage } from '../messages/uplink.js';
import type { RouterSaid, VppConnectionMessage, VppProcessMessage, VppUp } from '../messages/vpp.js';
import { Attempts } from '../uplink/attempts.js';
import { KnownNeighbours } from '../uplink/known-neighbours.js';
import { nodeFacts, shownSourceNat } from '../uplink/node-facts.js';
import { OneTask } from '../uplink/one-task.js';
import { RouterWords } from '../uplink/router-words.js';
import { Routers } from '../uplink/routers.js';
import { TakeOver } from '../uplink/take-over.js';
import type { Taken } from '../uplink/taken.js';
import { TapWatches } from '../uplink/tap-watches.js';
import { NeedsNewVpp, UplinkError } from '../uplink/uplink-error.js';
import type { UplinkHost } from '../uplink/uplink-host.js';
import type { UplinkReport, UplinkSettings } from '../uplink/uplink-settings.js';
import { DrivenUplinks } from '../uplinks/driven-uplinks.js';
import { NodeSubscribers } from '../uplinks/node-subscribers.js';
import { OthersInPlace } from '../uplinks/others-in-place.js';
import { type HeldUplinks, TapLooks } from '../uplinks/tap-looks.js';
import { vppPort } from '../uplinks/vpp-port.js';

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

const giving_back_ms = 120_000;

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
  private readonly subscribers = new NodeSubscribers();
  private readonly others: OthersInPlace;
  private readonly looks: TapLooks;
  private taken: Taken | undefined;
  private up: VppUp | undefined;
  private readonly task: OneTask;
  private readonly publication: Publication<NodeAddresses>;
  private readonly attempts: Attempts;
  private readonly driven: DrivenUplinks;
  /** VPP is being ended, and why: it is to begin with the devices that it has been given, or it is of no use for another attempt. */
  private replacing: 'with its devices' | 'is spoilt' | undefined;
  private awaiting: Timer | undefined;
  /** Until then the uplinks stay with Linux, whatever VPP comes. */
  private not_before_ms = 0;
  private state: UplinkReport['state'] = 'linux';
  private reason = 'VPP is not up yet';

  constructor(
    private readonly ctx: ActorContext<UplinkMessage>,
    private readonly deps: UplinkDeps,
    private readonly settings: UplinkSettings,
  ) {
    const vpp = vppPort((message) => ctx.ask(deps.vpp, message, settings.transaction_ms));
    this.driven = new DrivenUplinks(ctx, vpp, settings);
    const { clock, log } = ctx;
    const waitsFor = (what: string | undefined): void => ctx.blockedOn(what);
    this.attempts = new Attempts(settings);
    this.publication = new Publication((...wanted) => deps.cluster.publishNodeAddresses(...wanted));
    this.words = new RouterWords(this.routers, clock, (ms) => ctx.after(ms, { type: 'RouterWordsDue' }));
    this.task = new OneTask(() => {
      ctx.blockedOn(undefined);
      this.looks.doubt();
    });
    this.others = new OthersInPlace(
      {
        clock,
        inVpp: () => this.takeOver.following,
        tellSelf: (message) => ctx.tellSelf(message),
        waitsFor,
        late: (generation, text) => {
          log.warn({ generation }, `uplink(prepare) ${text}`);
          ctx.event('uplink', text);
        },
      },
      settings,
    );
    const warn = (text: string): void => log.warn({}, `uplink(take over) ${text}`);
    const known = new KnownNeighbours(vpp, clock, warn);
    const { routers, others, task, words } = this;
    this.takeOver = new TakeOver({ ...deps, routers, known, vpp, others, clock, log, waitsFor }, settings);
    const watches = new TapWatches(deps.watchLink, (name) => ctx.tellSelf({ type: 'TapChanged', name }));
    const { following } = this.takeOver;
    this.looks = new TapLooks(ctx, { following, task, watches, known, words }, settings);
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
        this.looks.end();
        this.up = message;
        this.awaiting?.cancel();
        this.awaiting = undefined;
        return this.attemptWhenDue(message);
      case 'NewVppLate':
        this.awaiting = undefined;
        if (!this.takeOver.awaits_new_vpp || this.up !== undefined) return;
        this.takeOver.awaits_new_vpp = false;
        return this.tooLate();
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
        return this.subscribers.add(message.subscriber);
      case 'SubscribeEarly':
        return this.subscribers.addEarly(message.subscriber);
      case 'InPlace':
        return this.others.inPlace(message.of, message.round);
      case 'PodPrefixes':
        this.takeOver.following.wishes.pods = message.pods;
        this.others.news();
        return this.looks.now();
      case 'Networks':
        this.takeOver.following.wishes.networks.told = message.networks;
        this.others.news();
        return this.looks.now();
      case 'ServicePrefixes':
        this.takeOver.following.wishes.services = message.prefixes;
        return this.looks.now();
      case 'Prepared':
        if (this.up?.generation === message.generation) this.tellPrepared(this.up, message);
        return;
      case 'Made':
        if (this.up?.generation !== message.generation) return;
        return this.subscribers.tellMade(message.generation, message.round);
      case 'Taken':
        if (this.up?.generation === message.generation) this.publish(this.up, message.taken);
        return;
      case 'TakeOverFailed':
        if (this.up?.generation === message.generation) await this.failed(this.up, message.error);
        return;
      case 'TapChanged':
        this.looks.changed(message.name);
        return this.mend(message.name);
      case 'RouterSaid':
        if (this.up?.generation === message.generation) this.heard(message);
        return;
      case 'RouterWordsDue':
        return this.looks.wordsDue(this.held);
      case 'TapSettled':
        return this.looks.settled(this.held);
    }
  }

  /** What the others were told of a VPP that has its uplinks. */
  private get ready(): NodeReady | undefined {
    return this.subscribers.ready;
  }

  private get held(): HeldUplinks | undefined {
    const { taken, up, ready } = this;
    if (taken === undefined || up === undefined || ready === undefined) return undefined;
    return { taken, generation: up.generation };
  }

  /** Only a stop for good gives the host back; over a restart of this actor VPP goes on forwarding. */
  async stop(reason: StopReason): Promise<void> {
    this.publication.stop();
    await this.cancel();
    this.looks.end();
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
      ...this.driven.gauges(this.taken),
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
      drivers: this.driven.of(this.taken),
      ...(uplinks.length > 0 && { source_nat }),
      journal_pending: this.deps.host.isChanged(),
      faults: this.faults(),
    };
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

  private tellPrepared(
    { generation, vpp, workers }: VppUp,
    { round, facts }: Extract<UplinkMessage, { type: 'Prepared' }>,
  ): void {
    this.subscribers.tellPrepared({ type: 'NodePrepared', generation, vpp, workers, ...facts, round });
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

  private heard({ interface: tag, advertisement }: RouterSaid): void {
    const spec = this.settings.specs.find(({ interface_name }) => uplinkTag(interface_name) === tag);
    if (spec === undefined) return;
    this.words.heard(spec.interface_name, advertisement);
  }

  private cancel(): Promise<void> {
    return this.task.cancel('the take-over was cut short');
  }

  private publish(up: VppUp, taken: Taken): void {
    const { uplinks } = taken;
    const { prefixes, ...facts } = nodeFacts(taken, this.settings.inputs, this.takeOver.following);
    const before = this.subscribers.ready;
    const { generation, vpp, workers } = up;
    const ready = { type: 'NodeReady', generation, vpp, workers, ...facts } as const;
    this.subscribers.ready = ready;
    this.taken = taken;
    this.attempts.anew();
    this.looks.begin(uplinks.map(({ name }) => name));
    if (JSON.stringify(ready) === JSON.stringify(before)) return;
    this.is('vpp', `VPP has ${uplinks.map(({ name }) => name).join(', ')}`);
    if (before?.generation !== generation)
      this.driven.taken(taken, up, () => this.up?.generation !== generation);
    this.subscribers.tellReady(ready);
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
    this.awaiting = this.ctx.after(this.settings.new_vpp_ms, { type: 'NewVppLate' });
  }

  /** One that starts still may take from Linux what its start-up file names, and is ended first. */
  private tooLate(): void | Promise<void> {
    const seconds = Math.round(this.settings.new_vpp_ms / 1000);
    const reason = `VPP did not come back with the uplinks that it was given within ${seconds} s; see its log, and raise CALICOVPP_VPP_CONNECT_TIMEOUT where it takes longer to start`;
    if (!this.deps.isVppRunning()) return this.giveBack(reason, 'VPP_ERRORED');
    this.not_before_ms = this.ctx.clock.now_ms() + this.attempts.failed(true).delay_ms;
    this.is('failed', reason);
    this.replace(undefined, 'is spoilt', reason);
  }

  /** `up`: that VPP alone; the one that starts where absent. */
  private replace(up: VppUp | undefined, why: 'with its devices' | 'is spoilt', reason: string): void {
    this.replacing = why;
    this.deps.process.tell({ type: 'Replace', ...(up && { vpp: up.vpp }), reason });
  }

  private async failed(up: VppUp, error: Error): Promise<void> {
    // VPP went away in the middle: VppDown or VppExited is on its way and decides.
    if ('code' in error && (error.code === 'stale_generation' || error.code === 'ACTOR_DOWN')) {
      return this.is('failed', error.message);
    }
    if (error instanceof NeedsNewVpp) return this.replace(up, 'with its devices', error.message);
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
        return this.replace(up, 'is spoilt', spoilt);
      }
      await this.giveBack(error.message, 'VPP_ERRORED');
    }
    const { delay_ms, pauses } = this.attempts.failed(has_cost);
    const when = pauses ? `; tried again in ${Math.round(delay_ms / 60_000)} min, or with the next VPP` : '';
    this.is('failed', `${error.message}${when}`);
    this.ctx.after(delay_ms, { type: 'Retry', generation: up.generation });
  }

  private async lost(reason: string): Promise<void> {
    if (this.task.isBusy && this.ready === undefined)
      this.ctx.log.warn({ reason }, `uplink(take over) cut short: ${reason}`);
    await this.cancel();
    this.looks.end();
    this.subscribers.tellLost(reason, () => {
      this.takeOver.lost();
      this.is('linux', reason);
    });
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

  private mend(name: string): void {
    const changed = this.uplinks().find((each) => each.name === name);
    if (changed === undefined || this.ready === undefined) return;
    if (this.deps.host.taps.mendMtu(changed))
      this.ctx.event('uplink', `MTU of ${name} set back to ${changed.mtu}`);
  }
}
