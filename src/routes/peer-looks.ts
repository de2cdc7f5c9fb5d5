/** Asks VPP how peers of WireGuard and tunnels of IKE are, and does what follows: often while routes wait for that, seldom else. */
import type { ActorContext, ActorRef, Reply } from '../actor-system.js';
import type { Timer } from '../clock.js';
import type { Connectivity } from '../desired/connectivity.js';
import type { ConnectivityMessage } from '../messages/connectivity.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import type { IkeTunnelState } from '../vpp-conn/observe/ipsec.js';
import type { PeerState } from '../vpp-conn/observe/wireguard.js';
import type { Encryption } from './encryption.js';
import type { IkeTunnels } from './ike-tunnels.js';
import type { RouteWriter } from './route-writer.js';

/** How often VPP is asked whether peers of WireGuard have answered: while routes wait for that, and else. */
const answers_ms = 200;
const peers_ms = 5000;
/** From one answer to the next question while a tunnel of IKE is not up, and may be soon. */
const tunnels_ms = 1000;
const ask_ms = 5000;

export interface PeerLooksParts {
  readonly ctx: Pick<ActorContext<ConnectivityMessage>, 'after' | 'ask' | 'tellSelf' | 'clock' | 'log'>;
  readonly vpp: ActorRef<VppConnectionMessage>;
  readonly plan: Pick<Connectivity, 'peer_count' | 'ikeTunnels'>;
  readonly writer: RouteWriter;
  readonly encryption: Encryption;
  readonly ike: IkeTunnels;
  /** A file of keys that could not be read may be readable by now, or has another key. */
  readonly hasKeys: () => void;
}

export class PeerLooks {
  readonly #parts: PeerLooksParts;
  #timer: Timer | undefined;
  #timer_ms = 0;
  /** VPP has not said yet how the tunnels are. */
  #asks_tunnels = false;

  constructor(parts: PeerLooksParts) {
    this.#parts = parts;
  }

  /** VPP is asked how its peers are: soon while routes wait for that. */
  later(): void {
    const { ctx, ike, writer, plan, encryption } = this.#parts;
    // While VPP has not said how they are it is not asked again.
    const is_ike_due = ike.is_used && !this.#asks_tunnels;
    const waits_ms = is_ike_due && ike.waits(ctx.clock.now_ms()) ? tunnels_ms : peers_ms;
    const needs_ms = writer.waitsForPeers ? answers_ms : waits_ms;
    if (plan.peer_count === 0 && !encryption.lacksKeys && !is_ike_due) return;
    if (this.#timer !== undefined && this.#timer_ms <= needs_ms) return;
    this.#timer?.cancel();
    this.#timer_ms = needs_ms;
    this.#timer = ctx.after(needs_ms, { type: 'LookAtPeers' });
  }

  look(): void {
    const { ctx, vpp, ike, plan, encryption } = this.#parts;
    this.#timer = undefined;
    // A file may be readable by now, or have another key.
    const has_other = ike.readKey();
    if (encryption.lacksKeys || has_other) this.#parts.hasKeys();
    if (ike.is_used && !this.#asks_tunnels) this.#lookAtTunnels();
    if (plan.peer_count === 0) return this.later();
    const seen = (states: readonly PeerState[] | Error): void => ctx.tellSelf({ type: 'PeersSeen', states });
    ctx
      .ask<VppConnectionMessage, readonly PeerState[]>(vpp, (reply) => ({ type: 'ReadPeers', reply }), ask_ms)
      .then(seen, seen);
  }

  #lookAtTunnels(): void {
    const { ctx, vpp, ike, plan } = this.#parts;
    const tunnels = [...ike.asks(plan.ikeTunnels(), ctx.clock.now_ms())];
    if (tunnels.length === 0) return;
    this.#asks_tunnels = true;
    const seen = (states: readonly IkeTunnelState[] | Error): void =>
      ctx.tellSelf({ type: 'TunnelsSeen', states });
    ctx
      .ask<VppConnectionMessage, readonly IkeTunnelState[]>(
        vpp,
        (reply) => ({ type: 'ReadIkeTunnels', tunnels, reply }),
        ask_ms,
      )
      .then(seen, seen);
  }

  tunnelsSeen(states: readonly IkeTunnelState[] | Error): void {
    this.#asks_tunnels = false;
    if (states instanceof Error) return;
    const { plan, writer, ike, ctx } = this.#parts;
    const tunnels = new Map([...plan.ikeTunnels()].map((tunnel) => [tunnel.tag, tunnel]));
    const isMade = (tag: InterfaceTag): boolean => writer.has(tunnels.get(tag)!);
    const outcome = ike.see(tunnels.values(), states, ctx.clock.now_ms(), isMade);
    const { up, gone, renew, take_down, rekey } = outcome;
    // Before they are made anew.
    if (take_down.length > 0)
      this.#tellVpp('tunnel', (reply) => ({ type: 'TakeDown', interfaces: take_down, reply }));
    for (const tag of up) writer.ikeIsUp(tunnels.get(tag)!);
    for (const tag of gone) writer.tunnelIsGone(tag);
    for (const dst of renew) writer.renewIke(dst);
    if (rekey.length > 0) this.#tellVpp('rekey', (reply) => ({ type: 'Rekey', spis: rekey, reply }));
  }

  /** What comes of it is seen. */
  #tellVpp(verb: string, message: (reply: Reply<void>) => VppConnectionMessage): void {
    const { ctx, vpp } = this.#parts;
    ctx
      .ask<VppConnectionMessage, void>(vpp, message, ask_ms)
      .catch((error: Error) => ctx.log.warn({ err: error }, `connectivity(${verb}) ${error.message}`));
  }

  peersSeen(states: readonly PeerState[] | Error): void {
    const { ctx, writer, encryption } = this.#parts;
    // Of a VPP that is lost the uplink tells.
    if (!(states instanceof Error)) writer.peersAnswer(encryption.see(states, ctx.clock.now_ms()));
  }
}
