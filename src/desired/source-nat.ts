/**
 * Which of cnat's ways of source NAT a VPP gets, and what its users do without. VPP judges a flow once, where it leaves; its policies do
 * not see whether the flow was led to a back end before, which is why none of them gives all (`docs/vpp-notes.md`). Pure.
 */
import { type Bits, bitsOf, holds } from '../ip/bits.js';
import { prefixesOutside } from '../ip/outside.js';
import { type Family, familyOf } from '../ip/text.js';
import { nobody, type SnatPolicy, type SnatUplinks } from '../objects/cnat.js';
import type { PodPrefixes } from './host-tap.js';

/** What cnat this VPP has: as FD.io makes it, or with the changes that `docs/vpp-notes.md` names. No message of VPP tells. */
export type CnatMake = 'stock' | 'repaired';

export interface SourceNat {
  readonly name: 'kubernetes' | 'two entries' | 'interfaces';
  /** Of what comes from pods and from the host; of what comes by uplinks, too, but in the families of `uplinks`. */
  readonly policy: SnatPolicy['policy'];
  /** Of which it is judged by the uplinks' own entry whether it came for a pod of another node. */
  readonly uplinks: readonly Family[];
  /** What does not work, for a person. */
  readonly lacks: readonly string[];
}

const transit = 'what passes through the node from uplink to uplink by IPv4 gets its address';
const straight = 'what an annotation (maglevdsr) sends on as it is, by IPv4, has the address of this node';
/** VPP would have to tell it from what a node port or an external address has led to such a pod. */
const misled = (by: string): string =>
  `what is sent to this node${by} for a pod of another one, as by a router that does not know better, gets the address of this node`;
const misled_ping = ', and a ping of IPv6 has no answer';
const first_ping = 'an IPv6 ping out of a pod whose pool says natOutgoing has no answer';
const equal_ends =
  'what a pod sends to an IPv6 address whose last 32 bits are those of its own gets the address of the node';
const itself = 'a pod does not reach itself by a service';
const far = (family: string): string =>
  `a node port, and an external address${family}, is not answered by pods of other nodes until VPP is started anew`;

/** The uplinks' own entry, as VPP has it: without IPv4 it keeps the address that it was made with. */
export type UplinkEntry = Pick<SnatUplinks, 'ip4' | 'ip6'>;

/**
 * The entry that a new VPP gets for its uplinks: it cannot be made later. The policy for Kubernetes translates all that passes from uplink to
 * uplink, VPP's own neighbour discovery among it: by IPv6 uplinks are judged by an entry of their own. With several uplinks by IPv4, too; but
 * then it is the one whose interfaces VPP is told of, and the policy for Kubernetes, by which alone a pod reaches itself, knows of no pod.
 */
export function newUplinkEntry(node: {
  readonly cnat: CnatMake;
  readonly ip4?: string | undefined;
  readonly ip6?: string | undefined;
  readonly uplinks: number;
}): UplinkEntry | undefined {
  const { cnat, ip4, ip6, uplinks } = node;
  if (cnat === 'repaired') return undefined;
  if (uplinks > 1 && ip4 !== undefined) return { ip4, ...(ip6 !== undefined && { ip6 }) };
  return { ip6: ip6 ?? nobody[6] };
}

/** How a node does source NAT. `entry`: of its uplinks, in this VPP; none in one that a release before made ready, or one that needs none. */
export function sourceNatOf(node: {
  readonly cnat: CnatMake;
  readonly ip4?: string | undefined;
  readonly ip6?: string | undefined;
  readonly uplinks: number;
  readonly entry: UplinkEntry | undefined;
}): SourceNat {
  const { cnat, ip4, ip6, uplinks, entry } = node;
  const has_ip6 = ip6 !== undefined;
  const lacksOf = (...all: readonly (string | false)[]) => all.filter((each) => each !== false);
  const kubernetes = { name: 'kubernetes', policy: 'k8s', uplinks: [] } as const;
  if (cnat === 'repaired') return { ...kubernetes, lacks: [] };
  if (entry === undefined) {
    if (!has_ip6 && uplinks === 1) return { ...kubernetes, lacks: [transit, straight] };
    return {
      name: 'interfaces',
      policy: 'if_pfx',
      uplinks: [],
      lacks: lacksOf(itself, far(''), has_ip6 && first_ping),
    };
  }
  if (entry.ip4 !== undefined) {
    const families = ([4, 6] as const).filter((family) => (family === 4 ? ip4 : ip6) !== undefined);
    return {
      name: 'two entries',
      policy: 'if_pfx',
      uplinks: families,
      lacks: lacksOf(
        uplinks > 1 ? itself : `${itself} until VPP is started anew`,
        `${misled('')}${has_ip6 ? misled_ping : ''}`,
        has_ip6 && first_ping,
      ),
    };
  }
  const is_own = has_ip6 && entry.ip6 === ip6;
  return {
    ...kubernetes,
    uplinks: is_own ? [6] : [],
    lacks: lacksOf(
      ip4 !== undefined && transit,
      ip4 !== undefined && straight,
      is_own && `${misled(' by IPv6')}${misled_ping}`,
      has_ip6 && !is_own && far(' of IPv6'),
      has_ip6 && equal_ends,
      has_ip6 && first_ping,
    ),
  };
}

/** Prefixes of pools, and those of them whose pods leave under the node's address; canonical. */
export interface NatPools {
  readonly prefixes: readonly string[];
  readonly nat_outgoing: readonly string[];
}

/** What the uplink is told of Calico's pools and nodes. */
export interface PodPools extends PodPrefixes, NatPools {
  /**
   * The addresses of all nodes, as prefixes: a pod speaks to a node under its own address, by whatever way the answer comes back. Undefined: not
   * known yet; nothing is source NATed by pools before it is, which says nothing against the ways to these.
   */
  readonly nodes?: readonly string[];
  /** Blocks of addresses of this node's own pods. Undefined: not known yet. */
  readonly own?: readonly string[];
}

/** With the nodes. */
export type KnownPools = PodPools & Required<Pick<PodPools, 'nodes'>>;

export const isKnown = (pools: PodPools | undefined): pools is KnownPools => pools?.nodes !== undefined;

/** Where nothing gets the node's address: of what comes from pods, and of what comes by uplinks. Canonical. */
export interface NeverNatted {
  readonly pods: readonly string[];
  readonly uplinks: readonly string[];
}

/** Each costs VPP as many prefixes as its address has bits behind those that it shares with others. */
const other_nodes_max = 64;
const everything: Readonly<Record<Family, readonly string[]>> = {
  4: prefixesOutside([], 4),
  6: prefixesOutside([], 6),
};

/**
 * What comes by an uplink for a pod of another node, or for such a node itself, was led there by a service: nobody else sends it here. It has to come
 * back here, too; all else keeps its source. Other nodes count as long as they are few. `does_ike`: VPP does IKE with them, and translates that: it
 * makes the second message that it sends out of the packet that it has got.
 */
export function neverNatted(
  pools: KnownPools | undefined,
  own_addresses: readonly string[],
  does_ike = false,
): NeverNatted {
  if (pools === undefined) return { pods: [], uplinks: [...everything[4], ...everything[6]] };
  const { prefixes, own } = pools;
  const pods = [...prefixes, ...pools.nodes];
  if (own === undefined) return { pods, uplinks: [...everything[4], ...everything[6]] };
  const uplinks = ([4, 6] as const).flatMap((family) => {
    const ofFamily = (all: readonly string[]) => all.filter((each) => familyOf(each) === family);
    const others = otherNodes(pools, own_addresses, family);
    const counted = does_ike || others.length > other_nodes_max ? [] : others;
    const outside = prefixesOutside([...ofFamily(prefixes), ...counted], family);
    return [...outside, ...ofFamily([...own, ...own_addresses])];
  });
  return { pods, uplinks: [...new Set(uplinks)] };
}

function otherNodes(
  { nodes }: Pick<KnownPools, 'nodes'>,
  own_addresses: readonly string[],
  family: Family,
): readonly string[] {
  return nodes.filter((node) => familyOf(node) === family && !own_addresses.includes(node));
}

/** What does not work because there are too many nodes, or IPsec with them, for a person. `uplinks`: as `SourceNat` has it. */
export function lacksOfNodes(
  { uplinks }: Pick<SourceNat, 'uplinks'>,
  pools: Pick<KnownPools, 'nodes'>,
  own_addresses: readonly string[],
  does_ike = false,
): readonly string[] {
  return uplinks.flatMap((family) => {
    const count = otherNodes(pools, own_addresses, family).length;
    if (count <= other_nodes_max && !does_ike) return [];
    const why = does_ike
      ? 'VPP would translate what it says to them for IPsec'
      : `there are ${count} other nodes, and VPP tells ${other_nodes_max} apart`;
    return `a node port, and an external address, of IPv${family} is not answered by processes of other nodes themselves (hostNetwork): ${why}`;
  });
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
