/**
 * One life of the stand-in: everything that the API can program, as VPP holds it. What has rules of its own is in a file of
 * its own; the rest is plain data that the handlers read and write.
 */

import type { fib_path } from 'vpp-binapi-ts/fib_types';
import type { ip_neighbor } from 'vpp-binapi-ts/ip_neighbor';
import type { Clock } from '../../src/clock.js';
import { Cnat } from './cnat.js';
import type { Devices } from './devices.js';
import { bundles, Features } from './features.js';
import { source } from './fib-sources.js';
import type { Caller } from './handler.js';
import { Ikev2 } from './ikev2.js';
import { Interfaces } from './interfaces.js';
import { Memifs, PblClients } from './memif.js';
import { Npol } from './npol.js';
import { Pool } from './pool.js';
import { type Family, familyOf, hostPrefix } from './prefix.js';
import { Srv6 } from './srv6.js';
import { Tunnels } from './tunnels.js';
import { AppNamespaces } from './vcl.js';
import { Wireguard } from './wireguard.js';

/** What VPP would have read from its start-up file and found on the machine. */
export interface VppFacts {
  readonly clock: Clock;
  readonly devices: Devices;
  readonly buffers: number;
  readonly pid: number;
}

export interface Neighbour extends ip_neighbor {
  readonly since_ms: number;
  readonly has_route: boolean;
}

export interface NeighbourConfig {
  readonly max_number: number;
  readonly max_age: number;
  readonly recycle: boolean;
}

export interface ProxyArp {
  readonly slot: number;
  readonly low: string;
  readonly hi: string;
}

export interface Held {
  readonly paths: readonly fib_path[];
  release(): void;
}

export interface RedirectSession extends Held {
  readonly table_index: number;
  readonly opaque_index: number;
  readonly is_punt: boolean;
  readonly is_ip6: boolean;
  /** As long as the match_len that it was added with. */
  readonly match: Uint8Array;
}

export interface ClassifyTable {
  readonly index: number;
  readonly nbuckets: number;
  readonly skip_n_vectors: number;
  readonly match_n_vectors: number;
  readonly next_table_index: number;
  readonly miss_next_index: number;
  readonly mask: Uint8Array;
}

export interface Urpf {
  readonly sw_if_index: number;
  readonly is_input: boolean;
  readonly family: Family;
  readonly mode: string;
  readonly slot: number;
}

export class VppState {
  readonly features = new Features();
  readonly interfaces: Interfaces;
  readonly cnat: Cnat;
  readonly tunnels: Tunnels;
  readonly wireguard: Wireguard;
  readonly ikev2: Ikev2;
  readonly srv6: Srv6;
  readonly memifs: Memifs;
  readonly pbl: PblClients;
  readonly app_namespaces: AppNamespaces;
  readonly npol = new Npol();
  readonly neighbours = new Map<string, Neighbour>();
  readonly neighbour_config: Record<Family, NeighbourConfig> = {
    4: { max_number: 50_000, max_age: 0, recycle: false },
    6: { max_number: 50_000, max_age: 0, recycle: false },
  };
  readonly punt_redirects = new Map<
    string,
    Held & { readonly rx_sw_if_index: number; readonly family: Family }
  >();
  readonly punted = new Set<string>();
  /** The start-up file has a `punt` section with a socket. */
  has_punt_socket = false;
  /** Devices that a driver of VPP's framework has, by their number. */
  readonly devs = new Map<
    number,
    { readonly pci: string; readonly driver: 'iavf' | 'ige'; readonly mac: string }
  >();
  readonly proxy_arps: ProxyArp[] = [];
  /** As VPP remembers it: it outlives the interface, and what is remembered as on is not turned on again. */
  readonly proxy_arp_interfaces = new Set<number>();
  readonly nd_proxies = new Set<string>();
  /** By `sw_if_index/direction/family`. VPP forgets none when an interface or a table goes. */
  readonly urpf = new Map<string, Urpf>();
  readonly classify_tables = new Pool<ClassifyTable>();
  readonly redirects = new Map<string, RedirectSession>();
  /** By `sw_if_index/family`: remembered when the interface goes, and then not turned on again. */
  readonly input_acls = new Map<string, number>();
  readonly output_acls = new Map<string, number>();
  /** Matches of the classifier's own sessions by table, in hexadecimal. */
  readonly classify_sessions = new Map<number, Set<string>>();
  /** By family, the table that punted packets pass. */
  readonly punt_acls = new Map<4 | 6, number>();
  readonly ttl_fixups = new Set<string>();
  /** Clients that want interface events, with the pid that each gave. */
  readonly interface_listeners = new Map<Caller, number>();
  /** Who wants to be told of router advertisements: there are none. */
  readonly router_listeners = new Set<Caller>();
  buffers_used = 0;
  /** NUMA nodes of its threads, the main one first; -1: no node has its CPU. */
  numa: readonly number[] = [0];
  /** `table/address` of path MTUs of addresses that have no route of their own and are not on link. */
  readonly remote_path_mtus = new Set<string>();

  /** Its own clock, in seconds since its start. Absent: it does not say; the clock of a test may be turned, and this one not. */
  own_clock: (() => number) | undefined;

  /** What it dies of with the next packet. */
  doom: string | undefined;

  constructor(readonly facts: VppFacts) {
    this.interfaces = new Interfaces(this.features, facts.devices);
    this.cnat = new Cnat(this.interfaces);
    this.tunnels = new Tunnels(this.interfaces);
    this.wireguard = new Wireguard(this.interfaces);
    this.ikev2 = new Ikev2(this.interfaces);
    this.srv6 = new Srv6(this.interfaces.fib);
    this.memifs = new Memifs(this.interfaces);
    this.pbl = new PblClients(this.interfaces);
    this.app_namespaces = new AppNamespaces(this.interfaces);
  }

  /** Why VPP dies of a packet: an interface that is up and has cnat's feature counts as one with traffic. */
  deadlyTraffic(): string | undefined {
    if (this.doom !== undefined) return this.doom;
    if (!this.npol.dangling) return undefined;
    for (const { sw_if_index, admin_up } of this.interfaces.all) {
      if (!admin_up || !this.features.isOn(sw_if_index, bundles.cnat[0])) continue;
      const why = this.npol.deadlyOn(sw_if_index);
      if (why !== undefined) return why;
    }
    return undefined;
  }

  get fib() {
    return this.interfaces.fib;
  }

  /** What VPP cleans up when an interface goes; the rest it forgets to. */
  deleteInterface(sw_if_index: number): void {
    const one = this.interfaces.get(sw_if_index);
    for (const [key, neighbour] of this.neighbours) {
      if (neighbour.sw_if_index !== sw_if_index) continue;
      this.neighbours.delete(key);
      this.dropNeighbourRoute(neighbour);
    }
    this.npol.interfaces.delete(sw_if_index);
    this.tunnels.interfaceDeleted(sw_if_index);
    this.interfaces.delete(one);
  }

  dropNeighbourRoute({ has_route, sw_if_index, ip_address }: Neighbour): void {
    const table = this.interfaces.all.get(sw_if_index)?.tables[familyOf(ip_address)];
    if (has_route && table) this.fib.remove(table, hostPrefix(ip_address), source.adjacency);
  }
}
