/**
 * Takes the uplinks over for VPP and gives the host its network back: through a tap while VPP lives, as it was when VPP is
 * gone. The order of a take-over is the order in which the host suffers least:
 *
 *   hooks, read Linux ─▶ journal, move the device ─▶ program VPP (tap down) ─▶ dress the tap ─▶ hook ─▶ tap up ─▶ gateways answer?
 *
 * Whatever fails on the way leads to `giveBack`, which needs nothing but the journal.
 */
import { createSocket } from 'node:dgram';
import type { Actor, ActorContext, ActorRef, ChildSpec, StopReason } from '../actor-system.js';
import type { HookPoint, UplinkSpec } from '../config.js';
import { isLinkLocal, splitPrefix } from '../desired/ip.js';
import type { ObjectKind, VppObject } from '../desired/objects.js';
import { desiredNode, type NodeInputs, nodeAddress, type Uplink, uplinkTag } from '../desired/uplink.js';
import type { Watch } from '../host/types.js';
import type { Cluster } from '../k8s/cluster.js';
import type { NodeReady, NodeStatus } from '../messages/node.js';
import type { UplinkMessage } from '../messages/uplink.js';
import type { TransactionResult, VppConnectionMessage, VppProcessMessage, VppUp } from '../messages/vpp.js';
import { isDangling } from '../reconcile/order.js';
import { assignOwners } from '../reconcile/ownership.js';
import { type Operation, reconcile, removal } from '../reconcile/reconcile.js';
import type { CapturedUplink } from '../uplink/captured.js';
import { type UplinkHost, uplinkOf } from '../uplink/uplink-host.js';

export interface UplinkDeps {
  readonly process: ActorRef<VppProcessMessage>;
  readonly vpp: ActorRef<VppConnectionMessage>;
  readonly host: UplinkHost;
  readonly hooks: { run(point: HookPoint): Promise<void> };
  readonly cluster: Pick<Cluster, 'publishNodeAddresses'>;
  /** Calls back when the link of that name changes. */
  readonly watchLink: (name: string, changed: () => void) => Watch;
  /** Makes VPP resolve that gateway: sends one datagram that leaves through it. Never throws. */
  readonly nudge: (gateway: string) => void;
  /** Tells the outside: the info file, readiness. */
  readonly report: (report: UplinkReport) => void;
}

export interface UplinkReport {
  readonly state: 'linux' | 'vpp' | 'failed';
  readonly reason: string;
  readonly uplinks: readonly Uplink[];
}

export interface UplinkSettings {
  readonly specs: readonly UplinkSpec[];
  readonly inputs: Omit<NodeInputs, 'uplinks'>;
  /** For one transaction: af_packet rings of a large node take a second. */
  readonly transaction_ms: number;
  /** How long the gateways have to answer. */
  readonly verify_ms: number;
  /** Pause after a failed take-over, doubled each time, and how many are made for one VPP. */
  readonly retry_ms: number;
  readonly tries_max: number;
  readonly shutdown_ms: number;
}

/** Without them the node still works: a warning names what VPP refused. */
const dispensable: ReadonlySet<ObjectKind> = new Set([
  'interface_rx_mode',
  'rx_placement',
  'ttl_fixup',
  'route',
  'redirect_rule',
]);

const verify_interval_ms = 100;
const owner = 'node';

export function uplink(deps: UplinkDeps, settings: UplinkSettings): ChildSpec<UplinkMessage> {
  return {
    name: 'uplink',
    restart: 'permanent',
    shutdown_ms: settings.shutdown_ms,
    mailbox_max: 256,
    handler_ms_max: 120_000,
    start: async (ctx) => {
      const actor = new UplinkActor(ctx, deps, settings);
      await actor.begin();
      return actor;
    },
  };
}

/** A take-over failed; `reason` says why, for the operator. */
class TakeOverFailed extends Error {
  override readonly name = 'TakeOverFailed';
}

class UplinkActor implements Actor<UplinkMessage> {
  private readonly subscribers = new Map<string, ActorRef<NodeStatus>>();
  private ready: NodeReady | undefined;
  private up: VppUp | undefined;
  private uplinks: readonly Uplink[] = [];
  private watches: Watch[] = [];
  private tries = 0;
  private state: UplinkReport['state'] = 'linux';
  private reason = 'VPP is not up yet';
  private hooksBegun = false;

  constructor(
    private readonly ctx: ActorContext<UplinkMessage>,
    private readonly deps: UplinkDeps,
    private readonly settings: UplinkSettings,
  ) {}

  /** VPP's first word decides whether an earlier take-over is resumed or undone. */
  async begin(): Promise<void> {
    this.deps.vpp.tell({ type: 'Subscribe', subscriber: this.ctx.self });
    this.deps.report({ state: this.state, reason: this.reason, uplinks: [] });
  }

  async receive(message: UplinkMessage): Promise<void> {
    switch (message.type) {
      case 'VppUp':
        this.up = message;
        this.tries = 0;
        return this.attempt(message);
      case 'Retry':
        if (this.up?.generation === message.generation && this.ready === undefined)
          return this.attempt(this.up);
        return;
      case 'VppDown':
        return this.lost(`connection to VPP lost: ${message.reason}`);
      case 'VppExited':
        this.lost(`VPP died: ${message.reason}`);
        this.up = undefined;
        return this.giveBack('VPP_DONE_OK', `VPP died: ${message.reason}`);
      case 'SubscribeNode':
        this.subscribers.set(message.subscriber.path, message.subscriber);
        if (this.ready !== undefined) message.subscriber.tell(this.ready);
        return;
      case 'TapChanged':
        return this.mend(message.name);
    }
  }

  /** Only a stop for good gives the host back; over a restart of this actor VPP goes on forwarding. */
  async stop(reason: StopReason): Promise<void> {
    this.unwatch();
    if (reason.kind !== 'shutdown') return;
    await this.ctx
      .ask(
        this.deps.process,
        (reply) => ({ type: 'Shutdown', reply }) as const,
        this.settings.shutdown_ms / 2,
      )
      .catch((error: Error) => this.ctx.log.warn({ err: error }, 'uplink(stop) VPP did not end in time'));
    await this.giveBack('VPP_DONE_OK', 'stopped');
  }

  gauges() {
    return {
      state: this.state,
      reason: this.reason.slice(0, 200),
      uplinks: this.uplinks.map(({ name }) => name).join(' '),
      generation: this.ready?.generation ?? 0,
    };
  }

  describe() {
    return {
      state: this.state,
      reason: this.reason,
      uplinks: this.uplinks,
      journal_pending: this.deps.host.isChanged(),
    };
  }

  private async attempt(up: VppUp): Promise<void> {
    this.tries += 1;
    try {
      await this.clearDangling(up);
      const taken = up.adopted ? this.deps.host.taken() : undefined;
      if (taken !== undefined && (await this.resume(up, taken))) return;
      await this.takeOver(up);
    } catch (error) {
      await this.failed(up, error as Error);
    }
  }

  /** VPP has the uplinks already: mend what differs. False when it has not, after all. */
  private async resume(up: VppUp, taken: readonly CapturedUplink[]): Promise<boolean> {
    const uplinks = this.fromCaptured(taken);
    const present = new Set(up.snapshot.interfaces.map(({ tag }) => tag));
    if (!uplinks.every(({ name }) => present.has(uplinkTag(name)))) return false;
    this.ctx.blockedOn('reconciling the running VPP');
    const inputs = { ...this.settings.inputs, uplinks };
    const actual = assignOwners(up.snapshot, []).node;
    await this.program(up.generation, reconcile(desiredNode(inputs, true), actual));
    this.dress(uplinks);
    this.publish(up, uplinks, 'adopted');
    return true;
  }

  private async takeOver(up: VppUp): Promise<void> {
    const { host, hooks } = this.deps;
    if (host.isChanged()) await this.undo();
    await this.clearNode(up);
    if (!this.hooksBegun) {
      this.hooksBegun = true;
      await hooks.run('BEFORE_IF_READ');
    }
    const captured = host.capture(this.settings.specs);
    const uplinks = this.fromCaptured(captured);
    const inputs = { ...this.settings.inputs, uplinks };
    await hooks.run('BEFORE_VPP_RUN');

    this.ctx.blockedOn('taking the uplinks over');
    this.ctx.event('uplink', `taking over ${uplinks.map(({ name }) => name).join(', ')}`);
    host.take(captured);
    const taps_down = desiredNode(inputs, false);
    await this.program(up.generation, reconcile(taps_down, []));
    this.dress(uplinks);
    await hooks.run('VPP_RUNNING');
    await this.program(
      up.generation,
      reconcile(desiredNode(inputs, true), taps_down).filter(isNew(taps_down)),
    );
    await this.verify(captured);
    this.publish(up, uplinks, 'taken over');
  }

  /** Before any interface is made: a new one may get the index that a route of an earlier one still names. */
  private async clearDangling(up: VppUp): Promise<void> {
    const dangling = up.snapshot.objects.filter(isDangling);
    if (dangling.length > 0) await this.transact(up.generation, removal(dangling));
  }

  /** A VPP that lives on without our uplinks (a failed take-over, a lost journal) may hold parts of them. */
  private async clearNode(up: VppUp): Promise<void> {
    const interfaces = assignOwners(up.snapshot, []).node.filter(
      (object) => object.kind !== 'existing_interface' && !isGlobal(object),
    );
    if (interfaces.length > 0) await this.transact(up.generation, removal(interfaces));
  }

  private async program(generation: number, operations: readonly Operation[]): Promise<void> {
    const { outcomes } = await this.transact(generation, operations);
    for (const { operation, error } of outcomes) {
      if (error === undefined) continue;
      const what = `${operation.action} ${JSON.stringify(operation.object)}: ${error.message}`;
      if (operation.action === 'add' && !dispensable.has(operation.object.kind))
        throw new TakeOverFailed(`VPP refused ${what}`);
      this.ctx.log.warn({ err: error, object: operation.object }, `uplink(program) VPP refused ${what}`);
    }
  }

  private transact(generation: number, operations: readonly Operation[]): Promise<TransactionResult> {
    return this.ctx.ask(
      this.deps.vpp,
      (reply) =>
        ({
          type: 'Transact',
          transaction: { generation, owner, operations, on_error: 'continue', essential: true },
          reply,
        }) as const,
      this.settings.transaction_ms,
    );
  }

  private dress(uplinks: readonly Uplink[]): void {
    const { service_prefixes, tap_address } = this.settings.inputs;
    for (const error of this.deps.host.dressTaps(uplinks, { prefixes: service_prefixes, tap_address })) {
      this.ctx.log.warn({ err: error }, `uplink(tap) Linux refused: ${error.message}`);
    }
  }

  /** Gateways that answered Linux must answer through VPP. */
  private async verify(captured: readonly CapturedUplink[]): Promise<void> {
    const deadline = this.ctx.clock.now_ms() + this.settings.verify_ms;
    for (const { spec, answering_gateways } of captured) {
      this.ctx.blockedOn(`gateways of ${spec.interface_name}`);
      const silent = new Set(answering_gateways);
      while (silent.size > 0) {
        for (const gateway of silent) this.deps.nudge(gateway);
        await this.ctx.clock.sleep(verify_interval_ms, this.ctx.signal);
        const answered: readonly string[] = await this.ctx.ask(
          this.deps.vpp,
          (reply) => ({ type: 'ReadNeighbours', interface: uplinkTag(spec.interface_name), reply }) as const,
          this.settings.transaction_ms,
        );
        for (const address of answered) silent.delete(address);
        if (silent.size > 0 && this.ctx.clock.now_ms() >= deadline) {
          throw new TakeOverFailed(
            `gateway ${[...silent].join(', ')} answered Linux on ${spec.interface_name} and does not answer VPP; ` +
              'check that the network accepts this driver and VLAN',
          );
        }
      }
    }
  }

  private publish(up: VppUp, uplinks: readonly Uplink[], how: string): void {
    this.ctx.blockedOn(undefined);
    const inputs = { ...this.settings.inputs, uplinks };
    const prefixes = { ip4: nodeAddress(inputs, 4), ip6: nodeAddress(inputs, 6) };
    const ip4 = prefixes.ip4 && splitPrefix(prefixes.ip4).address;
    const ip6 = prefixes.ip6 && splitPrefix(prefixes.ip6).address;
    const families = desiredNode(inputs, true).flatMap((object) =>
      object.kind === 'redirect_table' ? [object.family] : [],
    );
    this.ready = {
      type: 'NodeReady',
      generation: up.generation,
      mtu: Math.min(...uplinks.map(({ mtu }) => mtu)),
      node: { ...(ip4 && { ip4 }), ...(ip6 && { ip6 }) },
      redirects: families,
      workers: up.snapshot.workers,
    };
    this.uplinks = uplinks;
    this.watch();
    this.is('vpp', `${uplinks.map(({ name }) => name).join(', ')} ${how}`);
    for (const subscriber of this.subscribers.values()) subscriber.tell(this.ready);
    this.deps.cluster
      .publishNodeAddresses({
        ...(prefixes.ip4 && { ip4: prefixes.ip4 }),
        ...(prefixes.ip6 && { ip6: prefixes.ip6 }),
      })
      .catch((error: Error) =>
        this.ctx.log.warn({ err: error }, `uplink(node) addresses not published: ${error.message}`),
      );
  }

  private async failed(up: VppUp, error: Error): Promise<void> {
    this.ctx.blockedOn(undefined);
    this.ctx.log.error({ err: error }, `uplink(take over) failed: ${error.message}`);
    const stale = 'code' in error && (error.code === 'stale_generation' || error.code === 'ACTOR_DOWN');
    // VPP went away in the middle: VppDown or VppExited is on its way and decides.
    if (stale) return this.is('failed', error.message);
    await this.transact(up.generation, removal(this.programmed(up))).catch(() => undefined);
    await this.giveBack('VPP_ERRORED', error.message);
    this.is('failed', error.message);
    if (this.tries < this.settings.tries_max) {
      this.ctx.after(this.settings.retry_ms * 2 ** (this.tries - 1), {
        type: 'Retry',
        generation: up.generation,
      });
    }
  }

  /** All that a take-over may have left in VPP. */
  private programmed(up: VppUp): readonly VppObject[] {
    const taken = this.deps.host.taken();
    const uplinks = taken === undefined ? [] : this.fromCaptured(taken);
    const desired = desiredNode({ ...this.settings.inputs, uplinks }, true);
    return [...desired, ...assignOwners(up.snapshot, []).node].filter((object) => !isGlobal(object));
  }

  private lost(reason: string): void {
    this.unwatch();
    if (this.ready === undefined) return;
    this.ready = undefined;
    this.is('linux', reason);
    for (const subscriber of this.subscribers.values()) subscriber.tell({ type: 'NodeLost', reason });
  }

  /** Linux gets its network back; then, and only then, the hooks are told. */
  private async giveBack(point: HookPoint, reason: string): Promise<void> {
    const had = this.deps.host.isChanged();
    await this.undo();
    this.uplinks = [];
    this.is('linux', reason);
    if (had) await this.deps.hooks.run(point);
  }

  private async undo(): Promise<void> {
    if (!this.deps.host.isChanged()) return;
    const { results, remaining } = await this.deps.host.restore();
    this.ctx.event(
      'uplink',
      `host restored: ${results.length - remaining.length} of ${results.length} steps`,
    );
    for (const result of results) {
      if (result.outcome === 'failed')
        this.ctx.log.error({ reason: result.reason }, `uplink(restore) ${result.reason}`);
    }
  }

  private is(state: UplinkReport['state'], reason: string): void {
    this.state = state;
    this.reason = reason;
    this.ctx.event('uplink', `${state}: ${reason}`);
    this.deps.report({ state, reason, uplinks: this.uplinks });
  }

  private fromCaptured(captured: readonly CapturedUplink[]): Uplink[] {
    return captured.map((each) =>
      uplinkOf(each, this.settings.inputs.gso, uplinkTag(each.spec.interface_name)),
    );
  }

  private watch(): void {
    this.unwatch();
    this.watches = this.uplinks.map(({ name }) =>
      this.deps.watchLink(name, () => this.ctx.self.tell({ type: 'TapChanged', name })),
    );
  }

  private unwatch(): void {
    for (const watch of this.watches.splice(0)) watch.close();
  }

  private mend(name: string): void {
    const uplink = this.uplinks.find((each) => each.name === name);
    if (uplink === undefined || this.ready === undefined) return;
    if (this.deps.host.mendMtu(uplink)) this.ctx.event('uplink', `MTU of ${name} set back to ${uplink.mtu}`);
  }
}

/** Objects that every VPP has, or that others than uplinks use: left in place when the uplinks go. */
function isGlobal(object: VppObject): boolean {
  switch (object.kind) {
    case 'snat_addresses':
    case 'snat_policy':
    case 'snat_exclude':
    case 'neighbour_limits':
    case 'punt_l4':
    case 'punt_redirect':
    case 'redirect_table':
      return true;
    case 'table':
    case 'route':
      return (
        object.table_id <= 2 &&
        !(object.kind === 'route' && object.paths.some((path) => path.via === 'interface'))
      );
    default:
      return false;
  }
}

/** What an earlier transaction has added already need not be added again because no dump shows it. */
function isNew(known: readonly VppObject[]): (operation: Operation) => boolean {
  const before = new Set(known.map((object) => JSON.stringify(object)));
  return ({ object }) => !before.has(JSON.stringify(object));
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
