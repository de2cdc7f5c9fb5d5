/** What VPP refuses of tunnels and of SRv6's policies: who plans is told of it, as another way may be open. Pure. */
import type { Tunnel } from '../desired/remote-route.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import {
  canonical,
  interfaceMade,
  interfacesUsed,
  keyOf,
  type ObjectKey,
  same,
  type VppObject,
} from '../objects/object.js';
import type { Srv6Policy } from '../objects/srv6.js';
import { tunnelKeys } from '../objects/tunnels.js';
import type { Model } from '../reconcile/model.js';
import { isBindingSidTaken } from '../vpp-conn/program/srv6.js';

/** Told of a tunnel that VPP does not make, or does not set up, and when it has it after all. */
export type TunnelRefused = (tunnel: Tunnel, refused: boolean) => void;

/** Who plans is told of what VPP refuses, where another way is open. */
export interface Refusals {
  readonly tunnel: TunnelRefused;
  /** A policy of SRv6, by its binding SID. `taken`: it is to be wanted under another one; else VPP does not make it, or is not given it. */
  readonly policy: (bsid: string, error: Error, taken: boolean) => void;
  /** Another VPP: it has refused nothing yet. */
  readonly renounced: () => void;
}

const isTunnel = (object: VppObject): object is Tunnel =>
  object.kind === 'ipip_tunnel' || object.kind === 'vxlan_tunnel' || object.kind === 'wireguard_interface';

/** A tunnel of which VPP refuses something, and of what. */
interface Refused {
  readonly tunnel: Tunnel;
  readonly parts: Set<ObjectKey>;
}

export class RefusedTunnels {
  readonly #model: Pick<Model, 'wanted' | 'there' | 'failed'>;
  readonly #refusals: Refusals;
  /** Of these tunnels VPP refuses the one or the other part: what carries packets is whole. */
  readonly #refused = new Map<InterfaceTag, Refused>();

  constructor(model: Pick<Model, 'wanted' | 'there' | 'failed'>, refusals: Refusals) {
    this.#model = model;
    this.#refusals = refusals;
  }

  has(tag: InterfaceTag): boolean {
    return this.#refused.has(tag);
  }

  /** The tunnel is wanted no more. */
  forget(tag: InterfaceTag): void {
    this.#refused.delete(tag);
  }

  /** A tunnel, or a part of one. */
  lookAt(object: VppObject): void {
    if (object.kind === 'wireguard_peer') return;
    if (object.kind === 'srv6_policy') return this.#lookAtPolicy(object);
    const tag = interfaceMade(object) ?? interfacesUsed(object)[0];
    const tunnel = tag === undefined ? undefined : this.tunnelOf(tag);
    if (tunnel === undefined) return;
    const key = keyOf(object);
    const before = this.#refused.get(tunnel.tag);
    const parts = before?.parts ?? new Set();
    if (this.#model.failed.has(key) && this.#model.there(key) === undefined) parts.add(key);
    else parts.delete(key);
    if (parts.size > 0) this.#refused.set(tunnel.tag, { tunnel, parts });
    else this.#refused.delete(tunnel.tag);
    if (before !== undefined || parts.size > 0 || isTunnel(object))
      this.#refusals.tunnel(tunnel, parts.size > 0);
  }

  /** VPP has none under its binding SID, or one that leads elsewhere. */
  #lookAtPolicy(policy: Srv6Policy): void {
    const error = this.#model.failed.get(keyOf(policy));
    const there = this.#model.there(keyOf(policy));
    if (error === undefined || (there !== undefined && same(canonical(policy), there))) return;
    this.#refusals.policy(policy.bsid, error, isBindingSidTaken(error));
  }

  tunnelOf(tag: InterfaceTag): Tunnel | undefined {
    for (const key of tunnelKeys(tag)) {
      const wanted = this.#model.wanted(key);
      if (wanted !== undefined && isTunnel(wanted)) return wanted;
    }
    return undefined;
  }

  /** VPP may have made one, or a part of it, without a word. */
  lookAgain(): void {
    for (const { parts } of this.#refused.values())
      for (const key of parts) {
        const there = this.#model.there(key);
        if (there !== undefined) this.lookAt(there);
      }
  }
}
