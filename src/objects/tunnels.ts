/** Tunnels to other nodes. A tunnel's tag follows from what it leads to: one that carries another is not ours. */
import { canonicalAddress } from '../ip/spelling.js';
import { dangling_prefix, type InterfaceTag } from './interfaces.js';
import { type Kinds, remove } from './kind.js';
import type { Ownership } from './owner.js';

/** IP in IP, both inner families. */
export interface IpipTunnel {
  readonly kind: 'ipip_tunnel';
  /** `ipipTag(dst)` */
  readonly tag: InterfaceTag;
  /** An own address, of the family of `dst`. */
  readonly src: string;
  readonly dst: string;
  /** What it carries is encrypted: IKE brings it up when there is an SA, and down when there is none. Nobody else does: what leaves before is in clear. */
  readonly ike?: true;
}

/** Carries IP without Ethernet; the inner family is that of its ends. */
export interface VxlanTunnel {
  readonly kind: 'vxlan_tunnel';
  /** `vxlanTag` */
  readonly tag: InterfaceTag;
  /** An own address, of the family of `dst`. */
  readonly src: string;
  readonly dst: string;
  readonly vni: number;
  /** UDP, at both ends. */
  readonly port: number;
  /** Where `dst` is looked up, and what comes from there has to come in by; absent: the default table. */
  readonly encap_table_id?: number;
}

/** Uses the addresses of another interface. */
export interface Unnumbered {
  readonly kind: 'unnumbered';
  readonly interface: InterfaceTag;
  readonly of: InterfaceTag;
}

export type TunnelObject = IpipTunnel | VxlanTunnel | Unnumbered;

const ipip_tag = 'ipip-';
const vxlan_tag = 'vxlan-';

/** The tag of the tunnel to this node; `dst` in canonical spelling. */
export function ipipTag(dst: string): InterfaceTag {
  return `${ipip_tag}${dst}`;
}

/** IANA's for VXLAN. */
const vxlan_port = 4789;

/**
 * The tag of the tunnel to this node; `dst` in canonical spelling. VPP has several of them beside each other, told apart by VNI and port; that
 * port is named which is not the usual one. 60 characters at most, of the 63 that VPP keeps.
 */
export function vxlanTag({ vni, port, dst }: Pick<VxlanTunnel, 'vni' | 'port' | 'dst'>): InterfaceTag {
  return `${vxlan_tag}${vni}${port === vxlan_port ? '' : `:${port}`}-${dst}`;
}

/** That of a tunnel of this tag; undefined: it is none of VXLAN. */
export function vniOfTag(tag: InterfaceTag): number | undefined {
  const [, vni] = /^vxlan-(\d{1,8})[:-]/.exec(tag) ?? [];
  return vni === undefined ? undefined : Number(vni);
}

/** The keys that a tunnel of this tag may have, or what stands for one: `keyOf`. */
export function tunnelKeys(tag: InterfaceTag): readonly string[] {
  return [`ipip_tunnel:${tag}`, `vxlan_tunnel:${tag}`, `wireguard_interface:${tag}`, `loopback:${tag}`];
}

const tagOf = (o: { readonly tag: InterfaceTag }): InterfaceTag => o.tag;
/** One without a tag is shown only where the registry says that it is ours (`vpp-conn/observe/tunnels.ts`). */
const owned = (tag: InterfaceTag, own: InterfaceTag): Ownership =>
  tag === own || tag.startsWith(dangling_prefix) ? 'connectivity' : 'foreign';

function canonicalEnds<O extends { readonly src: string; readonly dst: string }>(o: O): O {
  const src = canonicalAddress(o.src) ?? o.src;
  const dst = canonicalAddress(o.dst) ?? o.dst;
  return src === o.src && dst === o.dst ? o : { ...o, src, dst };
}

export const tunnel_kinds: Kinds<TunnelObject> = {
  // A source cannot be changed, and a tunnel whose source is not the node's any more carries nothing: it is made anew, with its routes.
  ipip_tunnel: {
    key: tagOf,
    canonical: canonicalEnds,
    is: tagOf,
    owner: { by: 'name', of: (o) => owned(o.tag, ipipTag(o.dst)) },
    // One in clear is another than an encrypted one: its table tells (`ipsec_table`).
    same: (wanted, there) => wanted.src === there.src && wanted.dst === there.dst && wanted.ike === there.ike,
    add: 22,
    remove: remove.interface,
    change: 'remove_first',
    announced: true,
    goes_last: true,
  },
  vxlan_tunnel: {
    key: tagOf,
    canonical: canonicalEnds,
    is: tagOf,
    owner: { by: 'name', of: (o) => owned(o.tag, vxlanTag(o)) },
    same: (wanted, there) =>
      wanted.src === there.src &&
      wanted.dst === there.dst &&
      wanted.vni === there.vni &&
      wanted.port === there.port &&
      wanted.encap_table_id === there.encap_table_id,
    add: 22,
    remove: remove.interface,
    change: 'remove_first',
    announced: true,
    goes_last: true,
  },
  // Before the interface is up, and behind its table.
  unnumbered: {
    key: (o) => o.interface,
    on: (o) => [o.interface, o.of],
    owner: { by: 'interface', of: (o) => o.interface },
    same: (wanted, there) => wanted.of === there.of,
    add: 35,
    remove: remove.address,
    change: 'overwrite',
  },
};
