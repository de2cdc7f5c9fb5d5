/**
 * Addresses of this node's pods in networks beside the default one: what other nodes are to be told. Shared by the pods, who say so when they are connected
 * and before they go, and by who tells others.
 */
import { hostPrefix } from './tables.js';

export interface NetworkAddress {
  readonly vni: number;
  /** With its full length. */
  readonly prefix: string;
  /** This node's address where the network's packets go. */
  readonly next_hop: string;
}

/** Where a pod's network is, for `put`. */
export interface PodPlace {
  readonly vni: number;
  readonly underlay: { readonly ip4?: string; readonly ip6?: string };
}

export class NetworkAddresses {
  readonly #by_pod = new Map<string, readonly NetworkAddress[]>();
  #is_complete = false;
  #hears: (() => void) | undefined;

  /** All pods of records have said theirs: what is not among them is no pod's of this node. */
  get isComplete(): boolean {
    return this.#is_complete;
  }

  complete(): void {
    if (this.#is_complete) return;
    this.#is_complete = true;
    this.#hears?.();
  }

  /** Whoever says them begins anew: what was said holds until it is said otherwise. */
  anew(): void {
    this.#is_complete = false;
  }

  /** `pod`: its key. An address of a family in which this node has none there cannot be told. */
  put(pod: string, addresses: readonly string[], { vni, underlay }: PodPlace): void {
    const own = addresses.flatMap((address): NetworkAddress[] => {
      const next_hop = address.includes(':') ? underlay.ip6 : underlay.ip4;
      return next_hop === undefined ? [] : [{ vni, prefix: hostPrefix(address), next_hop }];
    });
    if (JSON.stringify(own) === JSON.stringify(this.#by_pod.get(pod))) return;
    this.#by_pod.set(pod, own);
    this.#hears?.();
  }

  remove(pod: string): void {
    if (this.#by_pod.delete(pod)) this.#hears?.();
  }

  *all(): Iterable<NetworkAddress> {
    for (const addresses of this.#by_pod.values()) yield* addresses;
  }

  /** Called when something has changed. The last one counts. */
  hear(changed: () => void): void {
    this.#hears = changed;
  }
}
