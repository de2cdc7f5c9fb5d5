/** SRv6 as VPP keeps it. What it does to the forwarding tables is left out: no packet leaves. */
import type { Fib } from './fib.js';
import { refuse } from './outcome.js';
import { familyOf } from './prefix.js';

export interface LocalSid {
  readonly addr: string;
  readonly behavior: string;
  readonly fib_table: number;
  /** The table of what is unwrapped, or an interface. */
  readonly to: number;
}

export interface SegmentList {
  readonly weight: number;
  readonly sids: readonly string[];
}

export interface SrPolicy {
  readonly bsid: string;
  readonly encap_src: string;
  readonly type: string;
  readonly is_encap: boolean;
  readonly fib_table: number;
  readonly lists: SegmentList[];
}

export interface Steering {
  readonly prefix: string;
  readonly fib_table: number;
  readonly bsid: string;
}

/** Numbers of its own, which are no retvals of VPP's. */
export const refused = {
  no_policy: -1,
  sid_is_there: -1,
  no_sid: -2,
  no_such_policy: -2,
  no_steering: -4,
  bsid_is_there: -12,
} as const;

export class Srv6 {
  readonly sids = new Map<string, LocalSid>();
  readonly policies = new Map<string, SrPolicy>();
  readonly steerings = new Map<string, Steering>();

  constructor(readonly fib: Fib) {}

  addSid(sid: LocalSid): void {
    if (this.sids.has(sid.addr)) refuse(refused.sid_is_there);
    this.sids.set(sid.addr, sid);
  }

  removeSid(addr: string): void {
    if (!this.sids.delete(addr)) refuse(refused.no_sid);
  }

  addPolicy(policy: SrPolicy): void {
    if (this.policies.has(policy.bsid)) refuse(refused.bsid_is_there);
    this.policies.set(policy.bsid, policy);
  }

  addList(bsid: string, list: SegmentList): void {
    const policy = this.policies.get(bsid) ?? refuse(refused.no_policy);
    policy.lists.push(list);
  }

  /** Also while something is steered into it, which is dropped then. */
  removePolicy(bsid: string): void {
    if (!this.policies.delete(bsid)) refuse(refused.no_policy);
  }

  steer(steering: Steering): void {
    const { prefix, fib_table, bsid } = steering;
    if (!this.policies.has(bsid)) refuse(refused.no_such_policy);
    this.steerings.set(keyOf(steering), { prefix, fib_table, bsid });
  }

  unsteer(steering: Pick<Steering, 'prefix' | 'fib_table'>): void {
    if (!this.steerings.delete(keyOf(steering))) refuse(refused.no_steering);
  }

  hasTable({ prefix, fib_table }: Pick<Steering, 'prefix' | 'fib_table'>): boolean {
    return this.fib.table(familyOf(prefix), fib_table) !== undefined;
  }
}

const keyOf = ({ prefix, fib_table }: Pick<Steering, 'prefix' | 'fib_table'>): string =>
  `${fib_table}/${prefix}`;
