/** Tunnels from one address to another, and interfaces that use the addresses of others. */
import type { fib_path } from 'vpp-binapi-ts/fib_types';
import { none } from './fib.js';
import type { Interface, Interfaces } from './interfaces.js';
import { refuse, retval } from './outcome.js';
import { Instances } from './pool.js';
import { familyOf, isHost } from './prefix.js';

export interface Ipip {
  readonly type: 'ipip';
  readonly sw_if_index: number;
  readonly instance: number;
  readonly src: string;
  readonly dst: string;
  /** Where `dst` is looked up, and what comes from there has to come in by. */
  readonly table_id: number;
}

export interface Vxlan {
  readonly type: 'vxlan';
  readonly sw_if_index: number;
  readonly instance: number;
  readonly src: string;
  readonly dst: string;
  readonly src_port: number;
  readonly dst_port: number;
  readonly vni: number;
  readonly decap_next_index: number;
  /** Where `dst` is looked up. */
  readonly table_id: number;
}

type Wanted<T extends Ipip | Vxlan> = Omit<T, 'type' | 'sw_if_index'> & { readonly table_id: number };

/** VPP's IPIP interfaces may send packets that fill an IP packet, with its own header in front. */
const ipip_link_mtu = { 4: 65_516, 6: 65_496 } as const;
const ipip_mtu = 9000;
const vxlan_port = 4789;
/** What VXLAN input has of itself: drop, and input as Ethernet. */
const own_arcs = ['error-drop', 'l2-input'] as const;
const ethernet_arc = 1;

export class Tunnels {
  readonly #all = new Map<number, Ipip | Vxlan>();
  readonly #instances = { ipip: new Instances(), vxlan: new Instances() };
  /** Where VXLAN input of a family can go on. */
  readonly #arcs: Readonly<Record<4 | 6, string[]>> = { 4: [...own_arcs], 6: [...own_arcs] };
  /** By borrower; the lender may be gone. */
  readonly lenders = new Map<number, number>();

  constructor(readonly interfaces: Interfaces) {}

  all<T extends 'ipip' | 'vxlan'>(type: T): Extract<Ipip | Vxlan, { type: T }>[] {
    return [...this.#all.values()].filter((one) => one.type === type) as never;
  }

  /** The number of the arc from VXLAN input of this family to the node. */
  addArc(family: 4 | 6, node: string): number {
    const arcs = this.#arcs[family];
    if (!arcs.includes(node)) arcs.push(node);
    return arcs.indexOf(node);
  }

  addIpip({ src, dst, table_id, instance }: Wanted<Ipip>): Interface {
    const family = familyOf(dst);
    if (familyOf(src) !== family) refuse(retval.INVALID_PROTOCOL);
    if (src === dst) refuse(retval.SAME_SRC_DST);
    if (this.interfaces.fib.table(family, table_id) === undefined) refuse(retval.NO_SUCH_FIB);
    const known = this.all('ipip').find(
      (one) => one.src === src && one.dst === dst && one.table_id === table_id,
    );
    if (known !== undefined) refuse(retval.IF_ALREADY_EXISTS, { sw_if_index: known.sw_if_index });
    const taken = this.#takeInstance('ipip', instance);
    const one = this.interfaces.create({
      name: `ipip${taken}`,
      dev_type: 'IPIP tunnel device',
      ethernet: false,
      mac: '00:00:00:00:00:00',
      instance: taken,
      mtu: ipip_mtu,
      link_mtu: ipip_link_mtu[family],
    });
    const { sw_if_index } = one;
    this.#all.set(sw_if_index, { type: 'ipip', sw_if_index, instance: taken, src, dst, table_id });
    return one;
  }

  deleteIpip(sw_if_index: number): Interface {
    if (this.#all.get(sw_if_index)?.type !== 'ipip') refuse(retval.NO_SUCH_ENTRY);
    return this.#delete(sw_if_index);
  }

  addVxlan({ src, dst, table_id, instance, decap_next_index, ...wanted }: Wanted<Vxlan>): Interface {
    const family = checkVxlan(this.interfaces, { src, dst, table_id });
    const src_port = wanted.src_port || vxlan_port;
    const dst_port = wanted.dst_port || vxlan_port;
    const next = decap_next_index === none ? ethernet_arc : decap_next_index;
    if (next >= this.#arcs[family].length) refuse(retval.INVALID_DECAP_NEXT);
    if (this.findVxlan({ src, dst, dst_port, vni: wanted.vni, table_id }) !== undefined)
      refuse(retval.TUNNEL_EXIST);
    const taken = this.#takeInstance('vxlan', instance);
    const one = this.interfaces.create({
      name: `vxlan_tunnel${taken}`,
      dev_type: 'VXLAN',
      ethernet: false,
      mac: '00:00:00:00:00:00',
      instance: taken,
      link_up: true,
    });
    this.interfaces.setAdmin(one, true);
    const { sw_if_index } = one;
    const vni = wanted.vni;
    const numbers = { instance: taken, src_port, dst_port, vni, decap_next_index: next, table_id };
    const made = { sw_if_index, src, dst, ...numbers };
    this.#all.set(sw_if_index, { type: 'vxlan', ...made });
    return one;
  }

  deleteVxlan(ends: Pick<Vxlan, 'src' | 'dst' | 'vni' | 'dst_port'> & { readonly table_id: number }) {
    checkVxlan(this.interfaces, ends);
    const known = this.findVxlan({ ...ends, dst_port: ends.dst_port || vxlan_port });
    return this.#delete(known?.sw_if_index ?? refuse(retval.NO_SUCH_ENTRY));
  }

  findVxlan(ends: Pick<Vxlan, 'src' | 'dst' | 'vni' | 'dst_port' | 'table_id'>): Vxlan | undefined {
    const names = ['src', 'dst', 'vni', 'dst_port', 'table_id'] as const;
    return this.all('vxlan').find((one) => names.every((name) => one[name] === ends[name]));
  }

  /** Undefined for an interface that is no tunnel. */
  farEnd(sw_if_index: number): string | undefined {
    return this.#all.get(sw_if_index)?.dst;
  }

  /** Why VPP dies of a packet that takes this route. */
  doomBy(prefix: string, paths: readonly fib_path[]): string | undefined {
    const deadly = paths.some(({ sw_if_index, nh }) => {
      const by = this.#all.get(sw_if_index);
      return by?.type === 'vxlan' && familyOf(by.dst) === 4 && nh.address === '0.0.0.0';
    });
    if (!deadly || familyOf(prefix) !== 4 || isHost(prefix)) return undefined;
    return `a packet to ${prefix} goes by VXLAN without Ethernet over IPv4, and the route has no next hop`;
  }

  #takeInstance(type: 'ipip' | 'vxlan', wanted: number): number {
    const instances = this.#instances[type];
    if (wanted === none) return instances.take();
    if (instances.has(wanted)) refuse(retval.INSTANCE_IN_USE);
    return instances.take(wanted);
  }

  /** The interface itself is the caller's to remove. */
  #delete(sw_if_index: number): Interface {
    const { type, instance } = this.#all.get(sw_if_index)!;
    this.#all.delete(sw_if_index);
    this.#instances[type].free(instance);
    return this.interfaces.get(sw_if_index);
  }

  // Unnumbered.

  /** An interface of another table, or one with addresses of its own, cannot borrow. */
  borrow(borrower: number, lender: number): void {
    const of = this.interfaces.all.get(lender) ?? refuse(retval.INVALID_SW_IF_INDEX_2);
    const one = this.interfaces.get(borrower);
    const is_elsewhere = one.tables[4] !== of.tables[4] || one.tables[6] !== of.tables[6];
    if (is_elsewhere) refuse(retval.UNEXPECTED_INTF_STATE);
    if (!this.lenders.has(borrower)) this.interfaces.setIp(one, true);
    this.lenders.set(borrower, lender);
    one.unnumbered = true;
  }

  giveBack(borrower: number): void {
    const one = this.interfaces.get(borrower);
    if (!this.lenders.delete(borrower)) return;
    one.unnumbered = false;
    this.interfaces.setIp(one, false);
  }

  /** A borrower that goes gives back; a lender that goes is not missed. */
  interfaceDeleted(sw_if_index: number): void {
    this.lenders.delete(sw_if_index);
  }
}

interface VxlanEnds {
  readonly src: string;
  readonly dst: string;
  readonly table_id: number;
}

function checkVxlan({ fib }: Interfaces, { src, dst, table_id }: VxlanEnds): 4 | 6 {
  const family = familyOf(dst);
  if (familyOf(src) !== family) refuse(retval.INVALID_VALUE);
  if (src === dst) refuse(retval.SAME_SRC_DST);
  if (fib.table(family, table_id) === undefined) refuse(retval.NO_SUCH_FIB);
  return family;
}
