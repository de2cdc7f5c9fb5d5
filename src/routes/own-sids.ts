/** This node's own SIDs, beside what VPP holds for them: whether there are any, why there are none, and who is told of them. */
import type { LifeRef } from '../actor-system.js';
import type { IpPool } from '../calico/kinds/ip-pool.js';
import type { Drop } from '../desired/remote-entry.js';
import type { TunnelSettings } from '../desired/remote-route.js';
import { type OwnSids, ownSids, type Srv6Pools, sidPoolName } from '../desired/srv6.js';
import { srv6_received_table } from '../desired/tables.js';
import type { SidsProgrammed } from '../messages/connectivity.js';
import type { VppObject } from '../objects/object.js';

export interface OwnSidsOptions {
  readonly node_name: string;
  /** Absent: no SRv6. */
  readonly pools: Srv6Pools | undefined;
  /** Policies are told by it alone. */
  readonly has_bgp: boolean;
  readonly encryption_required: boolean;
  /** See Connectivity.setDropped. */
  readonly drop: (prefix: string, drop: Drop | undefined) => void;
}

export class OwnSidsTold {
  readonly #options: OwnSidsOptions;
  /** Of this node's own name. */
  #pool: IpPool | undefined;
  #own: OwnSids | undefined;
  #fault: string | undefined;
  #subscriber: LifeRef<SidsProgrammed> | undefined;
  #told: string | undefined;

  constructor(options: OwnSidsOptions) {
    this.#options = options;
  }

  /** Why SRv6 is not done although it is asked for. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** True: the settings may be others by now. */
  setPool(name: string, pool: IpPool | undefined): boolean {
    if (this.#options.pools === undefined || name !== sidPoolName(this.#options.node_name)) return false;
    this.#pool = pool;
    return true;
  }

  /** `ip6`: this node's address, if it has one. */
  settings(ip6: string | undefined): Pick<TunnelSettings, 'srv6'> {
    const { pools, node_name, drop } = this.#options;
    if (pools === undefined) return {};
    const own = ownSids(pools, node_name, this.#pool);
    this.#fault = typeof own === 'string' ? own : this.#why(ip6);
    const before = this.#own;
    this.#own = typeof own === 'string' || this.#fault !== undefined ? undefined : own;
    if (before !== undefined && before.locator !== this.#own?.locator) drop(before.locator, undefined);
    if (this.#own === undefined) return {};
    // What is sent to a SID that this node does not have would come back from the router.
    drop(this.#own.locator, { source: 'block', by: 'SRv6' });
    return { srv6: { pools, own: this.#own } };
  }

  #why(ip6: string | undefined): string | undefined {
    const { has_bgp, encryption_required } = this.#options;
    if (ip6 === undefined)
      return 'this node has no IPv6 address, which the packets around those of pods come from: give the main uplink one';
    if (!has_bgp)
      return 'policies are told by BGP, and this node does without (CALICOVPP_ROUTE_SOURCE): set it to bgp, and see that there is a gobgpd';
    if (encryption_required)
      return 'encryption is required (CALICOVPP_ENCRYPTION), and SRv6 does not encrypt: turn one of the two off';
    return undefined;
  }

  subscribe(subscriber: LifeRef<SidsProgrammed>): void {
    this.#subscriber = subscriber;
    this.#told = undefined;
  }

  /** To be called when it is known what there is to be. Others may send to them when VPP has all of them; they are not taken back where a VPP dies. */
  tell(has: (object: VppObject) => boolean): void {
    const own = this.#own;
    const text = JSON.stringify(own ?? null);
    if (this.#subscriber === undefined || this.#told === text) return;
    for (const { sid, behavior } of own?.sids ?? [])
      if (!has({ kind: 'srv6_local_sid', sid, behavior, table_id: srv6_received_table })) return;
    this.#told = text;
    this.#subscriber.tell({ type: 'SidsProgrammed', own });
  }
}
