/**
 * Gives VPP the uplinks and the host its network: through a tap while VPP lives, as it was when VPP is gone. What is done
 * step by step stands in `uplink/take-over.ts`; here stands when. The steps run beside the mailbox, so that VPP's death or
 * the end of the node cuts them short wherever they are.
 */
import { createSocket } from 'node:dgram';
import type { Actor, ActorContext, ActorRef, ChildSpec, StopReason } from '../actor-system.js';
import type { Timer } from '../clock.js';
import type { HookPoint } from '../config.js';
import { lacksOfNodes, type PodPools } from '../desired/source-nat.js';
import {
  nodeAddress,
  nodeSourceNat,
  onLinkPrefixes,
  ownAddresses,
  redirectTables,
  type Uplink,
  uplinkTag,
} from '../desired/uplink.js';
import { isLinkLocal, networkOf, splitPrefix } from '../ip/prefix.js';
import type { Cluster } from '../k8s/cluster.js';
import type { Watch } from '../linux/network.js';
import type { NodeReady, NodeStatus } from '../messages/node.js';
import type { UplinkMessage } from '../messages/uplink.js';
import type { RouterSaid, VppConnectionMessage, VppProcessMessage, VppUp } from '../messages/vpp.js';
import { Routers } from '../uplink/routers.js';
import {
  buffersTaken,
  type Taken,
  TakeOver,
  type TakeOverSettings,
  type VppPort,
} from '../uplink/take-over.js';
import { UplinkError } from '../uplink/uplink-error.js';
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
}

export interface UplinkReport {
  readonly state: 'linux' | 'vpp' | 'failed';
  readonly reason: string;
  readonly uplinks: readonly Uplink[];
}

export interface UplinkSettings extends TakeOverSettings {
  /** For one transaction: af_packet rings of a large node take a second. */
  readonly transaction_ms: number;
  /** Pause after a failed take-over, doubled each time. */
  readonly retry_ms: number;
  readonly retry_max_ms: number;
  /** Take-overs of one VPP that cut the host off for a moment and failed: the next ones wait for `pause_ms`. */
  readonly failures_max: number;
  /** Doubled each time: what has failed so often costs the host its network for nothing, and may be mended all the same. */
  readonly pause_ms: number;
  readonly pause_max_ms: number;
  readonly shutdown_ms: number;
}

const owner = 'node';
/** A DHCP client removes an address and adds the next: what lasts that long is followed. */
const settle_ms = 300;
/** A table of routes by the ten thousand changes all the time, and is gone through as a whole: for a tenth of the time at most. */
const rest_share = 9;
const rest_ms_max = 30_000;
/** Routers repeat themselves; three of them speak one after the other. */
const repeat_ms = 500;
/** A router lives 65,535 s at most. */
const silence_ms_max = 66_000_000;
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

interface Task {
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

class UplinkActor implements Actor<UplinkMessage> {
  private readonly takeOver: TakeOver;
  private readonly routers = new Routers();
  private repeating: Timer | undefined;
  private silent: Timer | undefined;
  private readonly subscribers = new Map<string, ActorRef<NodeStatus>>();
  private readonly watches: Watch[] = [];
  private ready: NodeReady | undefined;
  private taken: Taken | undefined;
  /** As VPP knows them. */
  private pods: PodPools | undefined;
  private up: VppUp | undefined;
  private task: Task | undefined;
  private settling: Timer | undefined;
  /** Until then the taps are not looked at again for a change of the host's. */
  private rests_until_ms = 0;
  private publishing: AbortController | undefined;
  /** Uplinks whose TapChanged is in the mailbox: a thousand routes that go at once are one message. */
  private readonly told = new Set<string>();
  private tries = 0;
  private doubts = 0;
  private failures = 0;
  private state: UplinkReport['state'] = 'linux';
  private reason = 'VPP is not up yet';

  constructor(
    private readonly ctx: ActorContext<UplinkMessage>,
    private readonly deps: UplinkDeps,
    private readonly settings: UplinkSettings,
  ) {
    const vpp: VppPort = {
      transact: (generation, operations) =>
        this.ctx.ask(
          deps.vpp,
          (reply) => {
            const transaction = {
              generation,
              owner,
              operations,
              on_error: 'continue',
              urgency: 'prompt',
              essential: true,
            } as const;
            return { type: 'Transact', transaction, reply } as const;
          },
          settings.transaction_ms,
        ),
      read: (scopes) =>
        this.ctx.ask(
          deps.vpp,
          (reply) => ({ type: 'Read', scopes, reply }) as const,
          settings.transaction_ms,
        ),
      neighbours: (name) =>
        this.ctx.ask(
          deps.vpp,
          (reply) => ({ type: 'ReadNeighbours', interface: uplinkTag(name), reply }) as const,
          settings.transaction_ms,
        ),
      solicit: (name) =>
        this.ctx.ask(
          deps.vpp,
          (reply) => ({ type: 'Solicit', interface: uplinkTag(name), reply }) as const,
          settings.transaction_ms,
        ),
    };
    const { clock, log } = ctx;
    const waitsFor = (what: string | undefined): void => ctx.blockedOn(what);
    this.takeOver = new TakeOver({ ...deps, routers: this.routers, vpp, clock, log, waitsFor }, settings);
  }

  /** A take-over of an earlier life, or of an earlier incarnation, is resumed when VPP lives, and undone at once when not. */
  async begin(): Promise<void> {
    if (!this.deps.isVppRunning()) await this.giveBack('VPP is not running', 'VPP_DONE_OK');
    this.deps.vpp.tell({ type: 'HearRouters', listener: this.ctx.self });
    this.deps.vpp.tell({ type: 'Subscribe', subscriber: this.ctx.self });
    this.deps.report({ state: this.state, reason: this.reason, uplinks: [] });
  }

  async receive(message: UplinkMessage): Promise<void> {
    switch (message.type) {
      case 'VppUp':
        await this.cancel();
        this.unwatch();
        this.up = message;
        return this.attempt(message);
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
        this.tries = 0;
        this.failures = 0;
        return this.giveBack(`VPP died: ${message.reason}`, 'VPP_DONE_OK');
      case 'SubscribeNode':
        this.subscribers.set(message.subscriber.path, message.subscriber);
        if (this.ready !== undefined) message.subscriber.tellUrgent(this.ready);
        return;
      case 'PodPrefixes':
        this.takeOver.pods = message.pods;
        return this.settleNow();
      case 'ServicePrefixes':
        this.takeOver.services = message.prefixes;
        return this.settleNow();
      case 'Taken':
        if (this.up?.generation === message.generation) this.publish(this.up, message.taken);
        return;
      case 'TakeOverFailed':
        if (this.up?.generation === message.generation) await this.failed(this.up, message.error);
        return;
      case 'TapChanged':
        this.told.delete(message.name);
        this.mend(message.name);
        return this.settle(Math.max(settle_ms, this.rests_until_ms - this.ctx.clock.now_ms()));
      case 'RouterSaid':
        if (this.up?.generation === message.generation) this.heard(message);
        return;
      case 'RouterWordsDue':
        this.repeating = undefined;
        return this.repeat();
      case 'TapSettled':
        this.settling = undefined;
        return this.follow();
    }
  }

  /** Only a stop for good gives the host back; over a restart of this actor VPP goes on forwarding. */
  async stop(reason: StopReason): Promise<void> {
    this.publishing?.abort();
    await this.cancel();
    this.unwatch();
    if (reason.kind !== 'shutdown') return;
    this.rememberLast();
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
    };
  }

  describe() {
    const { state, reason } = this;
    const uplinks = this.uplinks();
    const inputs = { ...this.settings.inputs, uplinks, uplink_entry: this.taken?.uplink_entry };
    const nat = nodeSourceNat(inputs);
    const many = this.pods === undefined ? [] : lacksOfNodes(nat, this.pods, ownAddresses({ uplinks }));
    return {
      state,
      reason,
      uplinks,
      ...(uplinks.length > 0 && {
        source_nat: { name: nat.name, cnat: inputs.cnat, lacks: [...nat.lacks, ...many] },
      }),
      journal_pending: this.deps.host.isChanged(),
    };
  }

  private uplinks(): readonly Uplink[] {
    return this.taken?.uplinks ?? [];
  }

  private attempt(up: VppUp): void {
    this.tries += 1;
    this.begun(async (signal) => {
      try {
        const { pods } = this.takeOver;
        const resumed = up.adopted ? await this.takeOver.resume(up, signal) : undefined;
        const taken = resumed ?? (await this.takeOver.run(up, signal));
        this.pods = pods;
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
    if (this.task !== undefined) return this.settle(settle_ms);
    this.begun(async (signal) => {
      const began_ms = this.ctx.clock.now_ms();
      try {
        const { pods } = this.takeOver;
        const now = await this.takeOver.follow(taken, up.generation, signal);
        // Pods are told of their pools when VPP knows where what they send keeps its source.
        const is_news = now !== undefined || pods !== this.pods;
        this.pods = pods;
        if (is_news) this.ctx.tellSelf({ type: 'Taken', generation: up.generation, taken: now ?? taken });
      } catch (error) {
        if (!signal.aborted) {
          this.ctx.log.warn({ err: error as Error }, `uplink(follow) ${(error as Error).message}`);
          // In doubt it is looked at sooner.
          if (!this.takeOver.is_in_doubt) this.settle(this.settings.retry_max_ms);
        }
      }
      const ended_ms = this.ctx.clock.now_ms();
      this.rests_until_ms = ended_ms + Math.min(rest_share * (ended_ms - began_ms), rest_ms_max);
    });
  }

  private heard({ interface: tag, advertisement }: RouterSaid): void {
    const spec = this.settings.specs.find(({ interface_name }) => uplinkTag(interface_name) === tag);
    if (spec === undefined) return;
    this.routers.heard(spec.interface_name, advertisement, this.ctx.clock.now_ms());
    this.repeatIn(repeat_ms);
  }

  /** What anybody on the link says costs VPP at most one transaction in this time. */
  private repeatIn(delay_ms: number): void {
    this.repeating ??= this.ctx.after(delay_ms, { type: 'RouterWordsDue' });
  }

  /** Has VPP tell the host what routers have said, and what is over because they are silent. */
  private repeat(): void {
    const { taken, up, ready } = this;
    // A take-over under way does it itself.
    if (taken === undefined || up === undefined || ready === undefined) return;
    if (this.task !== undefined) return this.repeatIn(repeat_ms);
    const now_ms = this.ctx.clock.now_ms();
    const next_ms = this.routers.nextChange_ms(now_ms);
    if (next_ms !== undefined) this.silence(next_ms - now_ms);
    this.begun(async (signal) => {
      await this.takeOver.repeat(taken, up.generation).catch((error: Error) => {
        if (signal.aborted) return;
        this.ctx.log.warn({ err: error }, `uplink(routers) not told to the host: ${error.message}`);
        this.repeatIn(this.settings.retry_ms);
      });
    });
  }

  /** Looks again when a router has been silent for as long as it said that it would be there. */
  private silence(after_ms: number): void {
    this.silent?.cancel();
    this.silent = this.ctx.after(Math.min(after_ms, silence_ms_max), { type: 'RouterWordsDue' });
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

  /** What has changed on the tap a moment before the end: with VPP the tap goes, and with it the last chance to read it. */
  private rememberLast(): void {
    if (this.taken === undefined) return;
    try {
      this.takeOver.rememberLast(this.taken);
    } catch (error) {
      this.ctx.log.warn(
        { err: error as Error },
        `uplink(stop) the tap was not read: ${(error as Error).message}`,
      );
    }
  }

  /** One task at a time; `run` never rejects. */
  private begun(run: (signal: AbortSignal) => Promise<void>): void {
    const abort = new AbortController();
    const task: Task = {
      abort,
      ended: run(abort.signal).finally(() => {
        if (this.task === task) this.task = undefined;
        this.ctx.blockedOn(undefined);
        this.doubt();
      }),
    };
    this.task = task;
  }

  /** What VPP holds is looked at again, less and less often where it refuses the same each time. */
  private doubt(): void {
    if (!this.takeOver.is_in_doubt) {
      this.doubts = 0;
      return;
    }
    const { retry_ms, retry_max_ms } = this.settings;
    this.settle(Math.min(retry_ms * 2 ** this.doubts, retry_max_ms));
    this.doubts = Math.min(this.doubts + 1, 30);
  }

  /** Ends the task under way. It ends at its next step: every wait of it is cut short. */
  private async cancel(): Promise<void> {
    const { task } = this;
    if (task === undefined) return;
    task.abort.abort(new Error('the take-over was cut short'));
    await task.ended;
  }

  private publish(up: VppUp, taken: Taken): void {
    const { uplinks } = taken;
    const inputs = { ...this.settings.inputs, uplinks };
    const prefixes = { ip4: nodeAddress(inputs, 4), ip6: nodeAddress(inputs, 6) };
    const ip4 = prefixes.ip4 && splitPrefix(prefixes.ip4).address;
    const ip6 = prefixes.ip6 && splitPrefix(prefixes.ip6).address;
    const before = this.ready;
    this.ready = {
      type: 'NodeReady',
      generation: up.generation,
      vpp: up.vpp,
      mtu: Math.min(...uplinks.map(({ mtu }) => mtu)),
      node: { ...(ip4 && { ip4 }), ...(ip6 && { ip6 }) },
      uplinks: uplinks.map(({ name, addresses }) => ({
        name,
        // In one order: the kernel shows a tap’s in another than the uplink’s, and nothing has changed.
        addresses: addresses.map(({ prefix }) => prefix).sort(),
      })),
      main_uplink: uplinkTag(uplinks.find(({ is_main }) => is_main)!.name),
      subnets: {
        ...(prefixes.ip4 && { ip4: networkOf(prefixes.ip4) }),
        ...(prefixes.ip6 && { ip6: networkOf(prefixes.ip6) }),
      },
      on_link: onLinkPrefixes(uplinks),
      redirects: redirectTables(inputs).flatMap((object) =>
        object.kind === 'redirect_table' ? [object.family] : [],
      ),
      ...(this.pods && {
        pools: { prefixes: this.pods.prefixes, nat_outgoing: this.pods.nat_outgoing },
      }),
      workers: up.workers,
      ...(taken.buffers !== undefined && { buffers: taken.buffers }),
      buffers_taken: buffersTaken(taken, inputs.tap),
    };
    this.taken = taken;
    this.tries = 0;
    this.failures = 0;
    if (this.watches.length === 0) this.watch();
    this.repeatIn(repeat_ms);
    if (JSON.stringify(this.ready) === JSON.stringify(before)) return;
    this.is('vpp', `VPP has ${uplinks.map(({ name }) => name).join(', ')}`);
    for (const subscriber of this.subscribers.values()) subscriber.tellUrgent(this.ready);
    this.publishAddresses(prefixes);
  }

  /** Until the next ones, or the end of this incarnation. */
  private publishAddresses({ ip4, ip6 }: { ip4: string | undefined; ip6: string | undefined }): void {
    this.publishing?.abort();
    const publishing = new AbortController();
    this.publishing = publishing;
    const { signal } = publishing;
    this.deps.cluster
      .publishNodeAddresses({ ...(ip4 && { ip4 }), ...(ip6 && { ip6 }) }, signal)
      .catch((error: Error) => {
        if (signal.aborted) return;
        this.ctx.log.warn({ err: error }, `uplink(node) addresses not published: ${error.message}`);
      });
  }

  private async failed(up: VppUp, error: Error): Promise<void> {
    // VPP went away in the middle: VppDown or VppExited is on its way and decides.
    if ('code' in error && (error.code === 'stale_generation' || error.code === 'ACTOR_DOWN')) {
      return this.is('failed', error.message);
    }
    this.ctx.log.error({ err: error }, `uplink(take over) failed: ${error.message}`);
    // An uplink that is not fit (yet) was not touched: to look again costs nobody anything.
    const untouched = error instanceof UplinkError && !this.takeOver.has_touched;
    if (!untouched) {
      this.failures += 1;
      await this.takeOver
        .abandon(up)
        .catch((reason: Error) => this.ctx.log.warn({ err: reason }, `uplink(abandon) ${reason.message}`));
      await this.giveBack(error.message, 'VPP_ERRORED');
    }
    const { retry_ms, retry_max_ms, failures_max, pause_ms, pause_max_ms } = this.settings;
    const over = this.failures - failures_max;
    const pauses = !untouched && over >= 0;
    const delay = pauses
      ? Math.min(pause_ms * 2 ** over, pause_max_ms)
      : Math.min(retry_ms * 2 ** (this.tries - 1), retry_max_ms);
    const when = pauses ? `; tried again in ${Math.round(delay / 60_000)} min, or with the next VPP` : '';
    this.is('failed', `${error.message}${when}`);
    this.ctx.after(delay, { type: 'Retry', generation: up.generation });
  }

  private async lost(reason: string): Promise<void> {
    await this.cancel();
    this.unwatch();
    if (this.ready === undefined) return;
    const { generation } = this.ready;
    this.ready = undefined;
    this.is('linux', reason);
    for (const subscriber of this.subscribers.values())
      subscriber.tellUrgent({ type: 'NodeLost', generation, reason });
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
    for (const { name } of this.uplinks()) {
      this.watches.push(this.deps.watchLink(name, () => this.tapChanged(name)));
    }
    // What has changed between the dressing of the tap and now has woken nobody.
    this.settle(settle_ms);
  }

  private tapChanged(name: string): void {
    if (this.told.has(name)) return;
    this.told.add(name);
    this.ctx.tellSelf({ type: 'TapChanged', name });
  }

  private unwatch(): void {
    this.told.clear();
    this.settling?.cancel();
    this.settling = undefined;
    for (const watch of this.watches.splice(0)) watch.close();
  }

  private mend(name: string): void {
    const changed = this.uplinks().find((each) => each.name === name);
    if (changed === undefined || this.ready === undefined) return;
    if (this.deps.host.taps.mendMtu(changed))
      this.ctx.event('uplink', `MTU of ${name} set back to ${changed.mtu}`);
  }
}

/**
 * Sends a datagram to the discard port: whatever becomes of it, the neighbour has to be resolved first. VPP does not forward
 * to link-local addresses, so a gateway that has only one is reached by sending to where nobody is (RFC 3849).
 */
export function nudgeByDatagram(gateway: string): void {
  const target = isLinkLocal(gateway) ? '2001:db8::' : gateway;
  const socket = createSocket(target.includes(':') ? 'udp6' : 'udp4');
  socket.on('error', () => socket.close());
  socket.send('', 9, target, () => socket.close());
}
