/** Has VPP hold the routes and tunnels that are wanted. A route moves to a new tunnel when the other nodes know of it, and an old one goes later. */
import type { ActorContext, ActorRef } from '../actor-system.js';
import type { Timer } from '../clock.js';
import type { Sink } from '../desired/connectivity.js';
import type { ConnectivityMessage } from '../messages/connectivity.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import { interfaceMade, keyOf, type VppObject } from '../objects/object.js';
import { tunnelKeys } from '../objects/tunnels.js';
import type { PolicedInterfaces } from '../policies/policed-interfaces.js';
import { ObjectWriter, type WriterSettings, writer_settings_default } from '../writer/object-writer.js';
import { Overlap, type OverlapSettings } from './overlap.js';

export type RouteWriterSettings = WriterSettings & OverlapSettings;

export const route_writer_settings_default: RouteWriterSettings = {
  ...writer_settings_default,
  lead_ms: 2000,
  linger_ms: 10_000,
};

/** Told of each tunnel before VPP has it, until it is wanted no more, and when those of an earlier life are all told. Absent: nobody enforces policies. */
export type Policed = Pick<PolicedInterfaces, 'put' | 'remove' | 'complete'>;

const as_tunnel = { attachment: { kind: 'tunnel' }, addresses: [] } as const;

export class RouteWriter extends ObjectWriter implements Sink {
  readonly #ctx: ActorContext<ConnectivityMessage>;
  readonly #overlap: Overlap;
  #due: Timer | undefined;
  #due_ms = Number.POSITIVE_INFINITY;
  readonly #policed: Policed | undefined;
  /** Tunnels that nobody has asked for and an earlier life has left. */
  readonly #kept_tunnels = new Set<InterfaceTag>();

  constructor(
    ctx: ActorContext<ConnectivityMessage>,
    vpp: ActorRef<VppConnectionMessage>,
    settings: RouteWriterSettings,
    policed?: Policed,
  ) {
    super(ctx, vpp, 'connectivity', settings);
    this.#policed = policed;
    this.#ctx = ctx;
    this.#overlap = new Overlap(settings);
  }

  // --- what is wanted

  override want(object: VppObject): void {
    const tag = interfaceMade(object);
    const key = keyOf(object);
    if (tag !== undefined) {
      this.#kept_tunnels.delete(tag);
      this.#policed?.put(tag, as_tunnel);
      const is_new = this.model.wanted(key) === undefined && this.model.there(key) === undefined;
      this.#overlap.comes(tag, is_new, this.#now_ms);
    } else {
      this.wants(key);
      if (this.#overlap.holds(object, this.model.wanted(key))) return this.#wake();
    }
    this.model.want(object);
  }

  override unwant(object: VppObject): void {
    const tag = interfaceMade(object);
    if (tag === undefined) {
      this.#overlap.forget(keyOf(object));
      super.unwant(object);
    } else this.#retire(tag);
  }

  /** The other end may still send by this tunnel, and a route may still lead by it. */
  #retire(tag: InterfaceTag): void {
    if (this.#overlap.goes(tag, this.#now_ms)) this.#wake();
    else this.#unwantTunnel(tag);
  }

  get #now_ms(): number {
    return this.#ctx.clock.now_ms();
  }

  /** Routes move, and tunnels go, when it is time. */
  due(): void {
    this.#due = undefined;
    this.#due_ms = Number.POSITIVE_INFINITY;
    this.#settle(this.#now_ms);
    this.#wake();
  }

  #settle(now_ms: number): void {
    const { routes, tunnels } = this.#overlap.due(now_ms);
    for (const route of routes) this.model.want(route);
    for (const tag of tunnels) this.#unwantTunnel(tag);
  }

  #wake(): void {
    const next_ms = this.#overlap.next_ms;
    if (next_ms === undefined || next_ms >= this.#due_ms) return;
    this.#due?.cancel();
    this.#due_ms = next_ms;
    this.#due = this.#ctx.after(Math.max(0, next_ms - this.#now_ms), { type: 'Due' });
  }

  /** With all that is set on it. It goes when nothing leads through it any more. */
  #unwantTunnel(tag: InterfaceTag): void {
    for (const { wanted } of [...this.model.on(tag)]) {
      if (wanted !== undefined && wanted.kind !== 'route') this.model.unwant(keyOf(wanted));
    }
    for (const key of tunnelKeys(tag)) this.model.unwant(key);
    this.#policed?.remove(tag);
  }

  // --- VPP

  /** Nor what was to wait. */
  protected override renounce(told: boolean): void {
    this.#settle(Number.POSITIVE_INFINITY);
    super.renounce(told);
    if (!told) return;
    for (const tag of this.#kept_tunnels) this.#unwantTunnel(tag);
    this.#kept_tunnels.clear();
  }

  protected override keep(object: VppObject): void {
    const tag = interfaceMade(object);
    if (tag === undefined) super.keep(object);
    else {
      this.#kept_tunnels.add(tag);
      this.#policed?.put(tag, as_tunnel);
    }
  }

  /** All that an earlier life has left is kept by now. */
  protected override compared(): void {
    this.#policed?.complete('connectivity');
  }

  protected override release(): boolean {
    if (super.release()) return true;
    if (this.#kept_tunnels.size === 0) return false;
    for (const tag of this.#kept_tunnels) this.#retire(tag);
    this.#kept_tunnels.clear();
    return true;
  }

  // --- for people

  override gauges() {
    const { waiting, kept, ...gauges } = super.gauges();
    return { ...gauges, waiting: waiting + this.#overlap.moves, kept: kept + this.#kept_tunnels.size };
  }
}
