/** VPP's interfaces: what they are, their addresses, and what follows from admin up and down. */
import type { Devices, OpenTap } from './devices.js';
import type { Features } from './features.js';
import { Fib, type FibTable, specialPath } from './fib.js';
import { source } from './fib-sources.js';
import { MfibTable } from './mfib.js';
import { refuse, retval } from './outcome.js';
import { Instances, Pool } from './pool.js';
import {
  addressOf,
  broadcastOf,
  type Family,
  families,
  familyOf,
  hostPrefix,
  lengthOf,
  linkLocalFrom,
  networkOf,
  otherOf31,
  overlap,
} from './prefix.js';

export interface RxQueue {
  mode: string;
  worker_id: number;
}

/** A tap as it was asked for, for its dump. */
export interface TapInfo {
  readonly id: number;
  readonly tx_ring_sz: number;
  readonly rx_ring_sz: number;
  readonly host_mtu_size: number;
  readonly host_mac_addr: string;
  readonly tap_flags: number;
  readonly host_if_name: string;
  readonly host_namespace: string;
  readonly device: OpenTap;
  /** The buffer pool was empty: VPP says 0 and the tap never receives. */
  readonly starved: boolean;
  readonly buffers: number;
}

/** IPv6 on an interface: on as long as somebody needs it. */
interface Link6 {
  address: string;
  locks: number;
  send_radv: boolean;
  readonly advertised: Advertised;
}

/** Of an interface that advertises. */
interface Advertised {
  managed: boolean;
  other: boolean;
  lifetime_s: number;
  interval_s_max: number;
  interval_s_min: number;
  /** What was the MTU of IPv6 when that was enabled. */
  readonly link_mtu: number;
  readonly prefixes: Map<string, AdvertisedPrefix>;
}

interface AdvertisedPrefix {
  readonly on_link: boolean;
  readonly autonomous: boolean;
  readonly valid_s: number;
  readonly preferred_s: number;
}

export interface Interface {
  readonly sw_if_index: number;
  readonly name: string;
  readonly dev_type:
    | 'local'
    | 'tap'
    | 'af-packet'
    | 'AF_XDP interface'
    | 'virtio'
    | 'VMXNET3 interface'
    | 'iavf'
    | 'ige'
    | 'Loopback'
    | 'IPIP tunnel device'
    | 'VXLAN'
    | 'Wireguard Tunnel'
    | 'memif';
  /** False: IP alone, without MAC, RA or ARP. */
  readonly ethernet: boolean;
  mac: string;
  readonly link_mtu: number;
  readonly rx: RxQueue[];
  readonly tx_queues: number;
  readonly host_if_name: string | undefined;
  /** Of a device that VPP drives itself. */
  readonly pci: string | undefined;
  readonly rings: { readonly rx: number; readonly tx: number } | undefined;
  readonly instance: number;
  readonly tap: TapInfo | undefined;
  readonly tables: Record<Family, FibTable>;
  readonly mtables: Record<Family, MfibTable | undefined>;
  readonly addresses: Record<Family, string[]>;
  link_up: boolean;
  admin_up: boolean;
  promisc: boolean;
  /** Of packets that a port of `dev` takes; undefined: VPP's own. */
  frame_mtu: number | undefined;
  tag: string;
  mtu: [number, number, number, number];
  link6: Link6 | undefined;
  /** It uses the addresses of another interface. */
  unnumbered: boolean;
}

type NewInterface = Pick<Interface, 'name' | 'dev_type' | 'ethernet' | 'mac' | 'instance'> &
  Partial<Pick<Interface, 'tap' | 'host_if_name' | 'tx_queues' | 'pci' | 'rings'>> & {
    readonly rx_mode?: string;
    readonly rx_queues?: number;
    readonly link_up?: boolean;
    /** Those of Ethernet, or none, when absent. */
    readonly mtu?: number;
    readonly link_mtu?: number;
  };

const no_mac = '00:00:00:00:00:00';
const ethernet_mtu = 9000;
export const rx_default = 'RX_MODE_API_POLLING';

export class Interfaces {
  readonly all = new Pool<Interface>();
  readonly instances = { tap: new Instances(), loopback: new Instances() };
  readonly fib: Fib;
  readonly #mtables: Record<Family, Map<number, MfibTable>> = { 4: new Map(), 6: new Map() };
  #random = 0;

  constructor(
    readonly features: Features,
    readonly devices: Devices,
  ) {
    this.fib = new Fib({
      exists: (sw_if_index) => this.all.get(sw_if_index) !== undefined,
      tableOf: (sw_if_index, family) => this.all.get(sw_if_index)?.tables[family],
    });
    for (const family of families) this.addMtable(family, 0);
    this.create({ name: 'local0', dev_type: 'local', ethernet: false, mac: no_mac, instance: 0 });
  }

  get(sw_if_index: number): Interface {
    return this.all.get(sw_if_index) ?? refuse(retval.INVALID_SW_IF_INDEX);
  }

  create(made: NewInterface): Interface {
    const found = this.all.add((sw_if_index) => ({
      sw_if_index,
      name: made.name,
      dev_type: made.dev_type,
      ethernet: made.ethernet,
      mac: made.mac,
      link_mtu: made.link_mtu ?? (made.ethernet ? ethernet_mtu : 0),
      rx: Array.from({ length: made.rx_queues ?? 0 }, () => ({
        mode: made.rx_mode ?? rx_default,
        worker_id: 0,
      })),
      tx_queues: made.tx_queues ?? 0,
      host_if_name: made.host_if_name,
      pci: made.pci,
      rings: made.rings,
      instance: made.instance,
      tap: made.tap,
      tables: { 4: this.fib.table(4, 0)!, 6: this.fib.table(6, 0)! },
      mtables: { 4: this.mtable(4, 0), 6: this.mtable(6, 0) },
      addresses: { 4: [], 6: [] },
      link_up: made.link_up ?? false,
      admin_up: false,
      promisc: false,
      frame_mtu: undefined,
      tag: '',
      mtu: [made.mtu ?? (made.ethernet ? ethernet_mtu : 0), 0, 0, 0],
      link6: undefined,
      unnumbered: false,
    }));
    this.features.set(
      found.sw_if_index,
      ['ip4-unicast/ip4-not-enabled', 'ip6-unicast/ip6-not-enabled'],
      true,
    );
    return found;
  }

  /** Routes through it stay where they are and drop from now on. */
  delete(one: Interface): void {
    this.setAdmin(one, false);
    for (const family of families)
      for (const prefix of [...one.addresses[family]]) this.removeAddress(one, prefix);
    if (one.link6 !== undefined) this.#disable6(one);
    this.all.remove(one.sw_if_index);
    this.features.interfaceDeleted(one.sw_if_index);
    this.fib.interfaceDeleted(one.sw_if_index);
    for (const family of families) {
      this.fib.unbind(one.tables[family]);
      this.#unbindMulticast(one.mtables[family]);
    }
  }

  // Tables.

  mtable(family: Family, table_id: number): MfibTable | undefined {
    return this.#mtables[family].get(table_id);
  }

  mtables(family: Family): MfibTable[] {
    return [...this.#mtables[family].values()];
  }

  addMtable(family: Family, table_id: number): void {
    const known = this.mtable(family, table_id);
    if (known) known.holds += 1;
    else this.#mtables[family].set(table_id, new MfibTable(family, table_id));
  }

  deleteMtable(family: Family, table_id: number): void {
    const table = this.mtable(family, table_id);
    if (table === undefined || table_id === 0) return;
    table.holds = Math.max(0, table.holds - 1);
    this.#freeMulticast(table);
  }

  bind(one: Interface, family: Family, table_id: number): void {
    const table = this.fib.table(family, table_id) ?? refuse(retval.NO_SUCH_FIB);
    if (one.addresses[family].length > 0 || one.unnumbered) refuse(retval.ADDRESS_FOUND_FOR_INTERFACE);
    this.fib.bind(table);
    const { tables, mtables } = one;
    const old = tables[family];
    tables[family] = table;
    this.fib.unbind(old);
    const multicast = this.mtable(family, table_id);
    if (multicast) multicast.bound_interfaces += 1;
    this.#unbindMulticast(mtables[family]);
    mtables[family] = multicast;
  }

  #unbindMulticast(table: MfibTable | undefined): void {
    if (table === undefined) return;
    table.bound_interfaces -= 1;
    this.#freeMulticast(table);
  }

  #freeMulticast(table: MfibTable): void {
    if (table.table_id === 0 || table.holds > 0 || table.bound_interfaces > 0) return;
    this.#mtables[table.family].delete(table.table_id);
  }

  // Addresses.

  addAddress(one: Interface, prefix: string): void {
    if (one.dev_type === 'local') refuse(retval.UNSUPPORTED);
    const family = familyOf(prefix);
    if (isLinkLocal(prefix)) return this.setLinkLocal(one, prefix);
    this.#refuseConflict(one, prefix);
    one.addresses[family].push(prefix);
    if (family === 4) this.#enable4(one);
    else this.#lock6(one);
    if (one.admin_up) this.#addRoutes(one, prefix, !this.#sharesSubnet(one, prefix));
  }

  removeAddress(one: Interface, prefix: string): void {
    const family = familyOf(prefix);
    if (isLinkLocal(prefix)) {
      const same = one.link6?.address === addressOf(prefix);
      refuse(same ? retval.ADDRESS_NOT_DELETABLE : retval.ADDRESS_NOT_FOUND_FOR_INTERFACE);
    }
    const at = one.addresses[family].indexOf(prefix);
    if (at < 0) refuse(retval.ADDRESS_NOT_FOUND_FOR_INTERFACE);
    if (one.admin_up) this.#removeRoutes(one, prefix, !this.#sharesSubnet(one, prefix));
    one.addresses[family].splice(at, 1);
    if (family === 4) this.#disable4(one);
    else this.unlock6(one);
  }

  /** No subnet may overlap one of another interface of the table, or one of another length. */
  #refuseConflict(one: Interface, prefix: string): void {
    const family = familyOf(prefix);
    for (const other of this.all) {
      if (other.tables[family] !== one.tables[family]) continue;
      for (const known of other.addresses[family]) {
        if (!overlap(prefix, known)) continue;
        const same_subnet = other === one && lengthOf(known) === lengthOf(prefix) && known !== prefix;
        if (!same_subnet) refuse(family === 4 ? retval.ADDRESS_IN_USE : retval.DUPLICATE_IF_ADDRESS);
      }
    }
  }

  setAdmin(one: Interface, up: boolean): void {
    if (['Loopback', 'IPIP tunnel device', 'Wireguard Tunnel'].includes(one.dev_type)) one.link_up = up;
    if (one.admin_up === up) return;
    one.admin_up = up;
    for (const family of families) {
      const all = one.addresses[family];
      for (const [index, prefix] of all.entries()) {
        const first_of_subnet = all.findIndex((other) => networkOf(other) === networkOf(prefix)) === index;
        if (up) this.#addRoutes(one, prefix, first_of_subnet);
        else this.#removeRoutes(one, prefix, first_of_subnet);
      }
    }
  }

  #addRoutes(one: Interface, prefix: string, with_subnet: boolean): void {
    const family = familyOf(prefix);
    const table = one.tables[family];
    const { sw_if_index } = one;
    const address = addressOf(prefix);
    const local = specialPath(family, 'FIB_API_PATH_TYPE_LOCAL', { sw_if_index, nh: address });
    this.fib.set(table, hostPrefix(address), source.interface, [local]);
    if (!with_subnet) return;
    for (const { to, path } of subnetRoutes(prefix, sw_if_index))
      this.fib.set(table, to, source.interface, [path]);
  }

  #removeRoutes(one: Interface, prefix: string, with_subnet: boolean): void {
    const table = one.tables[familyOf(prefix)];
    this.fib.remove(table, hostPrefix(addressOf(prefix)), source.interface);
    if (!with_subnet) return;
    for (const { to } of subnetRoutes(prefix, one.sw_if_index)) this.fib.remove(table, to, source.interface);
  }

  /** Another address of the interface is in the same subnet, whose routes are there once. */
  #sharesSubnet(one: Interface, prefix: string): boolean {
    const subnet = networkOf(prefix);
    return one.addresses[familyOf(prefix)].some((other) => other !== prefix && networkOf(other) === subnet);
  }

  // IP on an interface.

  /** One without an address of its own takes part in IP of both families, or no longer. */
  setIp({ sw_if_index }: Interface, on: boolean): void {
    this.features.set(sw_if_index, ['ip4-unicast/ip4-not-enabled', 'ip6-unicast/ip6-not-enabled'], !on);
  }

  #enable4({ sw_if_index, addresses, mtables }: Interface): void {
    mtables[4]?.accept(sw_if_index, 1);
    if (addresses[4].length > 1) return;
    this.features.set(sw_if_index, ['ip4-unicast/ip4-not-enabled'], false);
    this.features.touch(sw_if_index, 'arp');
  }

  #disable4({ sw_if_index, addresses, mtables }: Interface): void {
    mtables[4]?.accept(sw_if_index, -1);
    if (addresses[4].length > 0) return;
    this.features.set(sw_if_index, ['ip4-unicast/ip4-not-enabled'], true);
  }

  /** Refuses when it is on already, and counts all the same. */
  enable6(one: Interface): void {
    const known = one.link6 !== undefined;
    this.#lock6(one);
    if (known) refuse(retval.VALUE_EXIST);
  }

  unlock6(one: Interface): void {
    if (one.link6 === undefined) refuse(retval.IP6_NOT_ENABLED);
    one.link6.locks -= 1;
    if (one.link6.locks === 0) this.#disable6(one);
  }

  setLinkLocal(one: Interface, prefix: string): void {
    if (lengthOf(prefix) !== 128) refuse(retval.ADDRESS_LENGTH_MISMATCH);
    if (one.link6 === undefined) this.#lock6(one);
    one.link6!.address = addressOf(prefix);
  }

  #lock6(one: Interface): void {
    if (one.link6 !== undefined) {
      one.link6.locks += 1;
      return;
    }
    const address = linkLocalFrom(one.ethernet ? one.mac : this.randomMac());
    const advertised = {
      managed: false,
      other: false,
      lifetime_s: 600,
      interval_s_max: 200,
      interval_s_min: 150,
      link_mtu: one.mtu[2] || one.mtu[0],
      prefixes: new Map(),
    };
    one.link6 = { address, locks: 1, send_radv: false, advertised };
    one.mtables[6]?.accept(one.sw_if_index, 1);
    this.features.set(one.sw_if_index, ['ip6-unicast/ip6-not-enabled'], false);
  }

  #disable6(one: Interface): void {
    one.link6 = undefined;
    one.mtables[6]?.accept(one.sw_if_index, -1);
    this.features.set(one.sw_if_index, ['ip6-unicast/ip6-not-enabled'], true);
  }

  /** VPP's own prefix for the MACs that it makes up. */
  randomMac(): string {
    this.#random += 1;
    const tail = this.#random.toString(16).padStart(8, '0').match(/../g) ?? [];
    return `02:fe:${tail.join(':')}`;
  }
}

function isLinkLocal(prefix: string): boolean {
  return prefix.startsWith('fe8') && networkOf(`${addressOf(prefix)}/10`) === 'fe80::/10';
}

/** The routes that an interface's subnet brings, beside that of the address itself. */
function subnetRoutes(prefix: string, sw_if_index: number) {
  const family = familyOf(prefix);
  const length = lengthOf(prefix);
  const address = addressOf(prefix);
  const connected = specialPath(family, 'FIB_API_PATH_TYPE_NORMAL', { sw_if_index });
  const drop = specialPath(family, 'FIB_API_PATH_TYPE_DROP');
  if (family === 6) return length === 128 ? [] : [{ to: networkOf(prefix), path: connected }];
  if (length === 32) return [];
  if (length === 31) {
    const other = otherOf31(address);
    const path = specialPath(4, 'FIB_API_PATH_TYPE_NORMAL', { sw_if_index, nh: other });
    return [
      { to: prefix, path: connected },
      { to: hostPrefix(other), path },
    ];
  }
  const ends = [addressOf(networkOf(prefix)), broadcastOf(prefix)].filter((end) => end !== address);
  return [{ to: prefix, path: connected }, ...ends.map((end) => ({ to: hostPrefix(end), path: drop }))];
}
