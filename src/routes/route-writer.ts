/** Has VPP hold the routes and tunnels that are wanted. A route moves to a new tunnel when the other nodes know of it, and an old one goes later. */
import type { ActorContext, ActorRef } from '../actor-system.js';
import type { Timer } from '../clock.js';
import type { Sink } from '../desired/sink.js';
import type { ConnectivityMessage } from '../messages/connectivity.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import type { IpsecObject } from '../objects/ipsec.js';
import {
  canonical,
  interfaceMade,
  interfacesUsed,
  keyOf,
  type ObjectKey,
  same,
  type VppObject,
} from '../objects/object.js';
import { type IpipTunnel, tunnelKeys } from '../objects/tunnels.js';
import { allowed_max, type WireguardPeer } from '../objects/wireguard.js';
import type { PolicedInterface, PolicedInterfaces } from '../policies/policed-interfaces.js';
import type { TransactionResult } from '../reconcile/transaction.js';
import { ObjectWriter, type WriterSettings, writer_settings_default } from '../writer/object-writer.js';
import { KeptInClear } from './kept-in-clear.js';
import { ipsecKeys, isIke, Keyless } from './keyless.js';
import { NarrowerRoutes } from './narrower-routes.js';
import { Overlap, type OverlapSettings, peerCarrier } from './overlap.js';
import { PeerEnds } from './peer-ends.js';
import { type Refusals, RefusedTunnels } from './refused-tunnels.js';

export interface RouteWriterSettings extends WriterSettings, OverlapSettings {
  /** A route of an earlier life that is told with fewer next hops keeps the others so long, counted from the first such: they may not be told yet. */
  readonly narrow_ms: number;
}

export const route_writer_settings_default: RouteWriterSettings = {
  ...writer_settings_default,
  lead_ms: 2000,
  linger_ms: 10_000,
  answer_ms: 30_000,
  narrow_ms: 15_000,
};

/** Told of each tunnel before VPP has it, until VPP has it no more, and when those of an earlier life are all told. Absent: nobody enforces policies. */
export type Policed = Pick<PolicedInterfaces, 'tunnelsAnew' | 'put' | 'leaves' | 'remove' | 'complete'>;

const upKey = (tag: InterfaceTag): ObjectKey =>
  keyOf({ kind: 'interface_flag', interface: tag, flag: 'admin_up' });

/** The addresses of the node itself, by which routes lead to it, and others that it has alone. */
const hostsOf = ({ allowed }: WireguardPeer): readonly string[] =>
  allowed.flatMap((prefix) => /^(.*)\/(?:32|128)$/.exec(prefix)?.[1] ?? []);

const isOfIke = (object: VppObject): boolean => object.kind === 'ipip_tunnel' && object.ike === true;

/** What an earlier life has left on a tunnel goes with this version of it: IKE alone brings its own up, and has nothing to do with others. */
function suits(left: VppObject, tunnel: VppObject): boolean {
  if (left.kind === 'interface_flag' && left.flag === 'admin_up') return !isOfIke(tunnel);
  return !isIke(left) || isOfIke(tunnel);
}

const never_ms = Number.POSITIVE_INFINITY;

const as_tunnel = { attachment: { kind: 'tunnel' }, addresses: [] } as const;
const as_left = { attachment: { kind: 'tunnel', is_left: true }, addresses: [] } as const;

export class RouteWriter extends ObjectWriter implements Sink {
  readonly #ctx: ActorContext<ConnectivityMessage>;
  readonly #overlap: Overlap;
  #due: Timer | undefined;
  #due_ms = Number.POSITIVE_INFINITY;
  readonly #policed: Policed | undefined;
  /** Tunnels that nobody has asked for and an earlier life has left. */
  readonly #kept_tunnels = new Set<InterfaceTag>();
  /** Wanted no more, and judged by their policies until VPP has lost them: it may refuse to, or routes still lead by them. */
  readonly #leaving = new Set<InterfaceTag>();
  readonly #refused: RefusedTunnels;
  readonly #refusals: Refusals;
  readonly #narrower: NarrowerRoutes;
  /** WireGuard's, as they are wanted: by their keys. */
  readonly #peers = new Map<ObjectKey, WireguardPeer>();
  /** Also of those that an earlier life has left. */
  readonly #ends = new PeerEnds();
  /** This node's own SIDs, as they are wanted. */
  readonly #sids = new Set<ObjectKey>();
  #told_all = false;
  #ike_round = 0;
  readonly #keyless = new Keyless((key) => this.model.there(key));
  readonly #in_clear = new KeptInClear((tag) =>
    [...tunnelKeys(tag)]
      .map((key) => this.model.there(key))
      .some((tunnel) => tunnel?.kind === 'wireguard_interface' || (tunnel !== undefined && isOfIke(tunnel))),
  );
  /** Nothing goes in clear, whether peers have answered or not. */
  encrypts_only = false;

  constructor(
    ctx: ActorContext<ConnectivityMessage>,
    vpp: ActorRef<VppConnectionMessage>,
    settings: RouteWriterSettings,
    refusals: Refusals,
    policed?: Policed,
  ) {
    super(ctx, vpp, 'connectivity', settings);
    this.#refusals = refusals;
    this.#refused = new RefusedTunnels(this.model, refusals);
    this.#policed = policed;
    policed?.tunnelsAnew();
    this.#ctx = ctx;
    this.#narrower = new NarrowerRoutes(settings.narrow_ms);
    this.#overlap = new Overlap(settings);
  }

  // --- what is wanted

  override want(object: VppObject): void {
    if (object.kind === 'wireguard_peer') return this.#wantPeer(object);
    if (object.kind === 'route' && this.#isSteady) return this.model.want(object);
    if (isIke(object)) return this.#wantIpsec(this.#keyless.want(object));
    const tag = interfaceMade(object);
    const key = keyOf(object);
    if (object.kind === 'srv6_local_sid') {
      this.#sids.add(key);
      this.#overlap.comes(key, false, this.#now_ms);
    }
    if (tag !== undefined) {
      const is_kept = this.#kept_tunnels.delete(tag);
      this.#judge(tag);
      const is_new = (is_kept || this.model.wanted(key) === undefined) && !this.#carries(tag, key);
      const answers = isOfIke(object);
      this.#overlap.comes(tag, is_new && !(answers && this.encrypts_only), this.#now_ms, answers);
      if (answers) this.#wake();
      for (const { wanted } of [...this.model.on(tag)])
        if (wanted !== undefined && !suits(wanted, object)) this.#unwantKept(keyOf(wanted));
    } else {
      if (this.#waitsForMore(key, object)) return;
      this.wants(key);
      const now = this.#overlap.meanwhile(object, this.model.wanted(key));
      if (now !== object) this.#wake();
      if (now === undefined) return;
      object = now;
    }
    this.model.want(object);
  }

  override unwant(object: VppObject): void {
    if (object.kind === 'wireguard_peer') return this.#unwantPeer(object);
    if (object.kind === 'srv6_local_sid') return this.#retireSid(keyOf(object));
    if (object.kind === 'route' && this.#isSteady) return super.unwant(object);
    const tag = interfaceMade(object);
    if (tag === undefined) {
      this.#narrower.forget(keyOf(object));
      this.#overlap.forget(keyOf(object));
      super.unwant(object);
    } else this.#retire(tag);
  }

  /** Nothing is left of an earlier life and no route waits, nor may one have to: a hundred thousand of them need not be looked for. */
  get #isSteady(): boolean {
    return !this.keepsAny && this.#narrower.size === 0 && this.#overlap.isQuiet;
  }

  #unwantKept(key: ObjectKey): void {
    this.wants(key);
    this.model.unwant(key);
  }

  // --- tunnels that IKE brings up

  #wantIpsec(object: IpsecObject | undefined): void {
    if (object !== undefined) super.want(object);
  }

  /** It has an SA: routes move to it. */
  ikeIsUp({ tag, dst }: Pick<IpipTunnel, 'tag' | 'dst'>): void {
    for (const wanted of this.#ikeObjects(dst)) {
      if (wanted.round === undefined) continue;
      const { round: _, ...whichever } = wanted;
      this.model.want(whichever);
    }
    if (this.#overlap.answered(tag)) this.due();
  }

  /** IKE begins anew with this node. */
  renewIke(dst: string): void {
    this.#ike_round += 1;
    for (const wanted of this.#ikeObjects(dst)) this.model.want({ ...wanted, round: this.#ike_round });
  }

  #ikeObjects(dst: string): readonly IpsecObject[] {
    return ipsecKeys(dst).flatMap((key) => {
      const wanted = this.model.wanted(key);
      return wanted !== undefined && isIke(wanted) ? wanted : [];
    });
  }

  /** VPP has taken it away: what it has is read. */
  tunnelIsGone(tag: InterfaceTag): void {
    if (!this.isQuiet || !tunnelKeys(tag).some((key) => this.model.there(key) !== undefined)) return;
    this.compare();
  }

  // --- peers of WireGuard's

  #wantPeer(peer: WireguardPeer): void {
    const key = keyOf(peer);
    const { model } = this;
    this.wants(key);
    // The same end with another key is another peer to VPP, which takes no two of one prefix. If that one is to stay, at another end, it is told so, too.
    const other = this.#ends.at(peer.endpoint);
    if (other !== undefined && other !== key) this.#dropPeer(other);
    this.#ends.take(key, peer.endpoint);
    const is_new = model.wanted(key) === undefined && model.there(key) === undefined;
    for (const address of hostsOf(peer))
      this.#overlap.comes(peerCarrier(address), is_new && !this.encrypts_only, this.#now_ms, true);
    this.#overlap.comes(key, false, this.#now_ms);
    // At an end where it is not any more it does not answer.
    const before = this.#peers.get(key);
    const hosts = hostsOf(peer);
    for (const address of before === undefined ? [] : hostsOf(before))
      if (!hosts.includes(address)) this.#overlap.silenced(peerCarrier(address));
    this.#wake();
    this.#peers.set(key, peer);
    model.want(this.#withOlder(peer));
  }

  /** Until all is told an earlier life may know more of its prefixes: to take them from it would cost its session, and to give them back, too. */
  #withOlder(peer: WireguardPeer): WireguardPeer {
    const there = this.#told_all ? undefined : this.model.there(keyOf(peer));
    if (there?.kind !== 'wireguard_peer' || there.endpoint !== peer.endpoint) return peer;
    const allowed = [...new Set([...peer.allowed, ...there.allowed])];
    return allowed.length > allowed_max ? there : { ...peer, allowed };
  }

  #wantPeersAnew(): void {
    for (const peer of this.#peers.values()) this.model.want(this.#withOlder(peer));
  }

  /** The other end may still send to it. */
  #unwantPeer(peer: WireguardPeer): void {
    const key = keyOf(peer);
    if (!this.#peers.has(key)) return;
    for (const address of hostsOf(peer)) this.#overlap.silenced(peerCarrier(address));
    if (this.#overlap.goes(key, this.#now_ms)) this.#wake();
    else this.#dropPeer(key);
  }

  #dropPeer(key: ObjectKey): void {
    this.#ends.leave(key);
    this.#overlap.gone(key);
    this.#peers.delete(key);
    this.model.unwant(key);
  }

  /** They are established: routes move to them. */
  peersAnswer(public_keys: ReadonlySet<string>): void {
    let due = false;
    for (const peer of this.#peers.values()) {
      if (!public_keys.has(peer.public_key) || this.model.there(keyOf(peer)) === undefined) continue;
      for (const address of hostsOf(peer)) due = this.#overlap.answered(peerCarrier(address)) || due;
    }
    if (due) this.due();
  }

  /** Routes wait for the answer of a peer. */
  get waitsForPeers(): boolean {
    return this.#overlap.waits_for_answers;
  }

  /** An earlier life may have made it and not set it up: nothing has gone by it yet. */
  #carries(tag: InterfaceTag, key: ObjectKey): boolean {
    return this.model.there(key) !== undefined && this.model.there(upKey(tag)) !== undefined;
  }

  /** An earlier life has left it with more next hops, which may not be told yet. */
  #waitsForMore(key: ObjectKey, object: VppObject): boolean {
    this.#narrower.forget(key);
    if (object.kind !== 'route' || !this.isKept(key)) return false;
    if (!this.#narrower.waits(key, object, this.model.wanted(key), this.#now_ms)) return false;
    this.#wake();
    return true;
  }

  #narrow(): void {
    for (const route of this.#narrower.end()) this.want(route);
  }

  override allTold(told: boolean): void {
    super.allTold(told);
    if (told && !this.#told_all) {
      this.#told_all = true;
      this.#wantPeersAnew();
    }
    if (told) this.#narrow();
  }

  /** The other end may still send by this tunnel, and a route may still lead by it. */
  #retire(tag: InterfaceTag): void {
    if (this.#overlap.goes(tag, this.#now_ms)) this.#wake();
    else this.#unwantTunnel(tag);
  }

  /** Others still send to it, until they are told of another one. */
  #retireSid(key: ObjectKey): void {
    this.#sids.delete(key);
    if (this.#overlap.goes(key, this.#now_ms)) this.#wake();
    else this.model.unwant(key);
  }

  /** Until VPP has those that take its place others are told of it. */
  #dropSid(key: ObjectKey, now_ms: number): void {
    const waits = now_ms < never_ms && [...this.#sids].some((sid) => this.model.there(sid) === undefined);
    if (!waits || !this.#overlap.goes(key, now_ms)) this.model.unwant(key);
  }

  get #now_ms(): number {
    return this.#ctx.clock.now_ms();
  }

  /** Routes move, and tunnels go, when it is time. */
  due(): void {
    this.#due = undefined;
    this.#due_ms = Number.POSITIVE_INFINITY;
    this.#settle(this.#now_ms);
    if (this.#narrower.isDue(this.#now_ms)) this.#narrow();
    this.#wake();
  }

  #settle(now_ms: number): void {
    const { routes, tunnels } = this.#overlap.due(now_ms);
    for (const route of routes) this.model.want(route);
    for (const carrier of tunnels) {
      const wanted = this.model.wanted(carrier);
      if (wanted?.kind === 'srv6_local_sid') this.#dropSid(carrier, now_ms);
      else if (this.#peers.has(carrier)) this.#dropPeer(carrier);
      else this.#unwantTunnel(carrier);
    }
  }

  #wake(): void {
    const next_ms = Math.min(this.#overlap.next_ms ?? never_ms, this.#narrower.next_ms ?? never_ms);
    if (next_ms >= this.#due_ms) return;
    this.#due?.cancel();
    this.#due_ms = next_ms;
    this.#due = this.#ctx.after(Math.max(0, next_ms - this.#now_ms), { type: 'Due' });
  }

  /** With all that is set on it. It goes when nothing leads through it any more. */
  #unwantTunnel(tag: InterfaceTag): void {
    for (const { wanted } of [...this.model.on(tag)]) {
      if (wanted === undefined || wanted.kind === 'route') continue;
      if (wanted.kind === 'wireguard_peer') this.#dropPeer(keyOf(wanted));
      else this.model.unwant(keyOf(wanted));
    }
    for (const key of tunnelKeys(tag)) this.model.unwant(key);
    this.#keyless.forget(tag);
    this.#refused.forget(tag);
    this.#leaving.add(tag);
    this.#policed?.leaves(tag);
  }

  #judge(tag: InterfaceTag, as: PolicedInterface = as_tunnel): void {
    this.#leaving.delete(tag);
    this.#policed?.put(tag, as);
  }

  /** Of those that VPP has lost nothing is judged any more. */
  #forgetLost(): void {
    if (!this.isKnown) return;
    for (const tag of this.#leaving) {
      if (tunnelKeys(tag).some((key) => this.model.there(key) !== undefined || this.model.isUnderWay(key)))
        continue;
      this.#leaving.delete(tag);
      this.#policed?.remove(tag);
    }
  }

  // --- VPP

  override step(): boolean {
    const is_done = super.step();
    if (this.#leaving.size > 0) this.#forgetLost();
    return is_done;
  }

  /** Nor what was to wait. */
  protected override renounce(told: boolean): void {
    this.#settle(Number.POSITIVE_INFINITY);
    this.#refusals.renounced();
    super.renounce(told);
    if (!told) return;
    for (const tag of this.#kept_tunnels) this.#unwantTunnel(tag);
    this.#kept_tunnels.clear();
  }

  protected override keep(object: VppObject): void {
    const tag = interfaceMade(object);
    if (object.kind === 'wireguard_peer') return this.#keepPeer(object);
    if (tag === undefined) {
      const of = interfacesUsed(object)[0];
      const tunnel = of === undefined ? undefined : this.#refused.tunnelOf(of);
      if (tunnel === undefined || this.#kept_tunnels.has(tunnel.tag) || suits(object, tunnel)) {
        super.keep(object);
        if (this.encrypts_only && object.kind === 'route') this.#in_clear.keep(object);
      } else this.model.unwant(keyOf(object));
    } else {
      this.#kept_tunnels.add(tag);
      this.#judge(tag, as_left);
    }
  }

  /** One at the end of a peer that is wanted was that one with another key. */
  #keepPeer(peer: WireguardPeer): void {
    const key = keyOf(peer);
    const other = this.#ends.at(peer.endpoint);
    if (other !== undefined && this.model.wanted(other) !== undefined) return this.model.unwant(key);
    super.keep(peer);
    this.#ends.take(key, peer.endpoint);
  }

  /** A route that has another way goes without a tunnel that is not there, or through which nothing goes. */
  protected override settled({ outcomes }: TransactionResult): void {
    for (const { operation } of outcomes)
      if (operation.object.kind !== 'route') this.#refused.lookAt(operation.object);
  }

  /** What an earlier life has left in clear is dropped at once. `covers`: what is sent to this prefix is to be encrypted. True: there was something. */
  dropKept(covers: (prefix: string) => boolean): boolean {
    if (!this.isKnown) return false;
    const clear = this.#in_clear.take(covers).filter((route) => this.isKept(keyOf(route)));
    for (const route of clear) this.model.want(route);
    return clear.length > 0;
  }

  /** All that an earlier life has left is kept by now. */
  protected override compared(): void {
    this.#wantPeersAnew();
    for (const object of this.#keyless.compared()) this.#wantIpsec(object);
    this.#refused.lookAgain();
    this.#policed?.complete('connectivity');
  }

  protected override release(): boolean {
    if (super.release()) return true;
    if (this.#kept_tunnels.size === 0) return false;
    for (const tag of this.#kept_tunnels) this.#retire(tag);
    this.#kept_tunnels.clear();
    return true;
  }

  hasOther(object: VppObject): boolean {
    const { model } = this;
    const key = keyOf(object);
    const now = canonical(object);
    const wanted = model.wanted(key);
    if (wanted !== undefined && same(now, wanted)) return false;
    const there = model.there(key);
    return model.isUnderWay(key) || (there !== undefined && !same(now, there));
  }

  /** VPP has it, as far as is known. */
  has(object: VppObject): boolean {
    return this.model.there(keyOf(object)) !== undefined;
  }

  /** VPP has it, and has set it up. */
  isUp(tag: InterfaceTag): boolean {
    return this.model.there(upKey(tag)) !== undefined && !this.#refused.has(tag);
  }

  // --- for people

  override gauges() {
    const { waiting, kept, ...gauges } = super.gauges();
    return { ...gauges, waiting: waiting + this.#overlap.moves, kept: kept + this.#kept_tunnels.size };
  }
}
