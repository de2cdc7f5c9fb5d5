/**
 * Which of cnat's ways of source NAT a VPP gets, and what its users do without. VPP judges a flow once, where it leaves; its policies do
 * not see whether the flow was led to a back end before, which is why none of them gives all (`docs/vpp-notes.md`). Pure.
 */
import { type Bits, bitsOf, holds } from '../ip/bits.js';
import type { SnatPolicy } from '../objects/cnat.js';
import type { PodPrefixes } from './host-tap.js';

/** What cnat this VPP has: as FD.io makes it, or with the changes that `docs/vpp-notes.md` names. No message of VPP tells. */
export type CnatMake = 'stock' | 'repaired';

export interface SourceNat {
  readonly name: 'kubernetes' | 'interfaces';
  readonly policy: SnatPolicy['policy'];
  /** What does not work, for a person. */
  readonly lacks: readonly string[];
}

const transit = 'what passes between uplinks gets the address of the node';
const first_ping = 'an IPv6 ping out of a pod whose pool says natOutgoing has no answer';

const source_nats = {
  /** Every repair is there: source NAT for what a pool says, for what came by a service, and for nothing else. */
  repaired: { name: 'kubernetes', policy: 'k8s', lacks: [] },
  /** Judges all that leaves by no pod's interface and has come by none. */
  kubernetes: { name: 'kubernetes', policy: 'k8s', lacks: [transit] },
  /** Judges by the interface that a flow comes from. */
  interfaces: {
    name: 'interfaces',
    policy: 'if_pfx',
    lacks: [
      'a pod does not reach itself by a service',
      'a node port, and an external address, is not answered by pods of other nodes',
      first_ping,
    ],
  },
} as const satisfies Record<string, SourceNat>;

/**
 * The policy for Kubernetes translates all that passes from uplink to uplink, VPP's own neighbour discovery among it, and what goes between two
 * IPv6 addresses of equal ends: a stock VPP has it only where there is no IPv6 and no other way out.
 */
export function sourceNatOf(node: {
  readonly cnat: CnatMake;
  readonly has_ip6: boolean;
  readonly uplinks: number;
}): SourceNat {
  if (node.cnat === 'repaired') return source_nats.repaired;
  return node.has_ip6 || node.uplinks > 1 ? source_nats.interfaces : source_nats.kubernetes;
}

/** Prefixes of pools, and those of them whose pods leave under the node's address; canonical. */
export interface NatPools {
  readonly prefixes: readonly string[];
  readonly nat_outgoing: readonly string[];
}

/** What the uplink is told of Calico's pools and nodes. */
export interface PodPools extends PodPrefixes, NatPools {
  /** The addresses of all nodes, as prefixes: a pod speaks to a node under its own address, by whatever way the answer comes back. */
  readonly nodes: readonly string[];
}

/** Where no pod's packets get the node's address; canonical. */
export function neverNatted({ prefixes, nodes }: PodPools): readonly string[] {
  return [...prefixes, ...nodes];
}

/** Whether the pool of this address, the longest that holds it, says natOutgoing. */
export function isNatted(address: string, { prefixes, nat_outgoing }: NatPools): boolean {
  const bits = bitsOf(address);
  let longest: { readonly prefix: string; readonly bits: Bits } | undefined;
  for (const prefix of prefixes) {
    const pool = bitsOf(prefix);
    if (holds(pool, bits) && pool.length > (longest?.bits.length ?? -1)) longest = { prefix, bits: pool };
  }
  return longest !== undefined && nat_outgoing.includes(longest.prefix);
}
