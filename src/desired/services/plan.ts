/**
 * What VPP holds for services: a translation for each address and port, and routes under them. Kept in place: a change has the services that it
 * touches planned anew, and nothing else. Pure: what is wanted is told to a `Sink`, as a Model is told.
 *
 *   setNode, take ──▶ services to be planned ──plan(n, sink)──▶ want, unwant
 */
import type { EndpointSlice } from '../../calico/kinds/endpoint-slice.js';
import type { KindName, Objects } from '../../calico/kinds/kinds.js';
import type { CalicoNode } from '../../calico/kinds/node.js';
import type { Service } from '../../calico/kinds/service.js';
import { bitsOf, isGlobalUnicast } from '../../ip/bits.js';
import { canonicalAddress } from '../../ip/spelling.js';
import type { Translation } from '../../objects/cnat.js';
import { same } from '../../objects/object.js';
import { type NodeNetwork, networkAround } from '../networks.js';
import type { Sink } from '../sink.js';
import { localReady } from './endpoints.js';
import { Underlay } from './underlay.js';
import { faults_max, type HostVip, isSameHostVip, type Surroundings, type Vip, vipsOf } from './vips.js';

export type { HostVip } from './vips.js';

/** Kinds that a ServicePlan has to be told of. */
export const service_plan_kinds: readonly KindName[] = [
  'Service',
  'EndpointSlice',
  'ServiceCIDR',
  'Node',
  'IPPool',
];

/** Without these nothing is known for sure. The API may lack ServiceCIDRs, and takes its time to say so. */
const needed_kinds: readonly KindName[] = ['Service', 'EndpointSlice', 'Node', 'IPPool'];

/** What says whose an address is: before that nothing is refused. */
const guarding: readonly KindName[] = ['Node', 'IPPool'];

const zone_label = 'topology.kubernetes.io/zone';
const api_service = 'default/kubernetes';
/** Objects with faults that are told, and of each service the addresses and ports. */
const faulty_max = 1000;
const status_vips_max = 256;

export interface ServiceNode {
  /** By which others know it, and on which node ports are served. */
  readonly addresses: readonly string[];
  /** The prefixes that its uplinks are on: whoever else is there is not to be cut off. */
  readonly subnets?: readonly string[];
  /** Beside the default one, those of which VPP has tables. Undefined until they are known. */
  readonly networks?: readonly NodeNetwork[];
}

export interface ServicePlanOptions {
  readonly node_name: string;
  /** Prefixes of services, where no ServiceCIDR says them. */
  readonly service_prefixes: readonly string[];
}

/** Where load balancers ask whether this node has endpoints. */
export interface HealthPort {
  /** `namespace/name`. */
  readonly service: string;
  readonly port: number;
  /** Endpoints on this node that are ready. */
  readonly local_endpoints: number;
}

export interface ServiceStatus {
  readonly service: string;
  readonly vips: readonly {
    readonly vip: string;
    readonly kind: Vip['kind'];
    /** `lost`: an older service has it. */
    readonly outcome: Vip['outcome'] | 'lost';
    readonly backends: number;
    readonly holder?: string;
  }[];
  readonly vips_unshown: number;
  readonly faults: readonly string[];
}

class Entry {
  service: Service | undefined;
  readonly slices = new Map<string, EndpointSlice>();
  /** As last planned. */
  vips: ReadonlyMap<string, Vip> = no_vips;
  faults: readonly string[] = none;
  created_ms = Number.POSITIVE_INFINITY;
  /** VIPs that another service has. */
  lost = 0;

  constructor(readonly key: string) {}
}

/** An address and port, and who wants it: the oldest has it. */
class Slot {
  claims: readonly Entry[] = none;
  holder: Entry | undefined;
  /** What is wanted by now. */
  translation: Translation | undefined;
  /** There is nothing but the route under it. */
  is_refused = false;
}

const no_vips: ReadonlyMap<string, Vip> = new Map();
const none: readonly never[] = [];

export class ServicePlan {
  readonly #options: ServicePlanOptions;
  readonly #underlay: Underlay;
  readonly #entries = new Map<string, Entry>();
  readonly #slots = new Map<string, Slot>();
  /** The service of each slice. */
  readonly #slices = new Map<string, Entry>();
  readonly #touched = new Set<Entry>();
  readonly #synced = new Set<KindName>();
  /** With faults, or VIPs that are lost. */
  readonly #faulty = new Set<Entry>();
  /** With a VIP that has no back end. */
  readonly #unserved = new Set<Entry>();
  readonly #hosts = new Map<string, HostVip>();
  readonly #health = new Map<string, HealthPort>();
  #is_there = false;
  #addresses: readonly string[] = [];
  /** Those with a range. */
  #networks: readonly NodeNetwork[] = [];
  /** There is no network of this name; false as long as it is not known which there are. */
  #lacks: (name: string) => boolean = () => false;
  #zone: string | undefined;
  #health_ports: readonly HealthPort[] | undefined;
  #host_vips: readonly HostVip[] | undefined;
  /** Translations that are wanted. */
  #count = 0;
  /** Services, each as often as it was planned. */
  #planned = 0;

  constructor(options: ServicePlanOptions) {
    this.#options = options;
    this.#underlay = new Underlay(options.service_prefixes);
  }

  // --- what is told

  /** What the node is by now. Without one nothing is planned, and what was wanted stays so. */
  setNode(node: ServiceNode | undefined): void {
    this.#is_there = node !== undefined;
    if (node === undefined) return;
    this.#setNetworks(node.networks ?? []);
    this.#setNames(node.networks);
    const addresses = served(node.addresses);
    this.#underlay.setOwn(addresses, node.subnets ?? []);
    if (addresses.join() === this.#addresses.join()) return;
    const now = new Set(addresses);
    const before = new Set(this.#addresses);
    const moved = new Set([...now, ...before].filter((each) => now.has(each) !== before.has(each)));
    this.#addresses = addresses;
    this.#touchWhere((entry) => hasNodePorts(entry) || hasAddressIn(entry, moved));
  }

  #setNetworks(networks: readonly NodeNetwork[]): void {
    const before = this.#networks;
    this.#networks = networks.filter(({ range }) => range !== undefined);
    const moved = [before, this.#networks].flatMap((all, at) => {
      const others = at === 0 ? this.#networks : before;
      return all.filter((network) => !others.some((other) => hasSameRange(network, other)));
    });
    if (moved.length === 0) return;
    const differs = (address: string): boolean => networkAround(address, moved) !== undefined;
    const of_node = this.#addresses.some(differs);
    this.#touchWhere((entry) => (of_node && hasNodePorts(entry)) || vipAddresses(entry).some(differs));
  }

  /** Of what is for a network that is not there it is said so, and nothing else. */
  #setNames(networks: readonly NodeNetwork[] | undefined): void {
    const before = this.#lacks;
    const names = networks && new Set(networks.map(({ name }) => name));
    const lacks = (name: string): boolean => names !== undefined && !names.has(name);
    this.#lacks = lacks;
    this.#touchWhere(
      ({ service }) => service?.network !== undefined && lacks(service.network) !== before(service.network),
    );
  }

  /** Takes objects in; those of kinds that matter nothing here are passed over. */
  take(objects: Objects): void {
    if (objects.synced && !this.#synced.has(objects.kind)) {
      this.#synced.add(objects.kind);
      if (guarding.every((kind) => this.#synced.has(kind))) this.#underlay.allTold();
    }
    switch (objects.kind) {
      case 'Service':
        for (const [key, service] of objects.changed) this.#service(key, service);
        return;
      case 'EndpointSlice':
        for (const [key, slice] of objects.changed) this.#slice(key, slice);
        return;
      case 'ServiceCIDR':
        for (const [name, cidr] of objects.changed) this.#underlay.setCidr(name, cidr);
        return;
      case 'IPPool':
        for (const [name, pool] of objects.changed) this.#underlay.setPool(name, pool);
        return;
      case 'Node':
        for (const [name, node] of objects.changed) this.#kubernetesNode(name, node);
        return;
    }
  }

  #service(key: string, service: Service | undefined): void {
    const entry = this.#entry(key);
    entry.service = service;
    this.#touched.add(entry);
  }

  #slice(key: string, slice: EndpointSlice | undefined): void {
    const before = this.#slices.get(key);
    if (before !== undefined && before.key !== slice?.service) {
      before.slices.delete(key);
      this.#touched.add(before);
      if (before.key === api_service) this.#apiChanged(before);
    }
    if (slice === undefined) {
      this.#slices.delete(key);
      return;
    }
    const entry = this.#entry(slice.service);
    entry.slices.set(key, slice);
    this.#slices.set(key, entry);
    this.#touched.add(entry);
    if (entry.key === api_service) this.#apiChanged(entry);
  }

  #apiChanged({ slices }: Entry): void {
    const all = [...slices.values()].flatMap(({ endpoints }) => endpoints);
    this.#underlay.setApi(all.map(({ address }) => address));
  }

  #kubernetesNode(name: string, node: CalicoNode | undefined): void {
    const { ip4, ip6, status_ip4, status_ip6 } = node ?? {};
    const addresses = [ip4?.address, ip6?.address, status_ip4, status_ip6].flatMap((each) => each ?? []);
    this.#underlay.setNode(name, [...new Set(addresses)]);
    if (name !== this.#options.node_name) return;
    const zone = node?.labels[zone_label];
    if (zone === this.#zone) return;
    this.#zone = zone;
    this.#touchWhere(({ slices }) =>
      [...slices.values()].some(({ endpoints }) =>
        endpoints.some(({ for_zones }) => for_zones !== undefined),
      ),
    );
  }

  #touchWhere(concerns: (entry: Entry) => boolean): void {
    for (const entry of this.#entries.values()) if (concerns(entry)) this.#touched.add(entry);
  }

  #entry(key: string): Entry {
    const entry = this.#entries.get(key) ?? new Entry(key);
    this.#entries.set(key, entry);
    return entry;
  }

  /** All is known that decides: what is not wanted is nobody's. */
  get synced(): boolean {
    return needed_kinds.every((kind) => this.#synced.has(kind));
  }

  // --- what follows

  /**
   * Plans services until so much work is done (`workOf`), one at least, and tells the sink what is wanted otherwise than before. True: nothing
   * is left to be planned.
   */
  plan(work_max: number, sink: Sink): boolean {
    if (!this.#is_there) return true;
    if (this.#underlay.refresh()) for (const entry of this.#unserved) this.#touched.add(entry);
    this.#underlay.plan(sink);
    const around: Surroundings = {
      place: { node: this.#options.node_name, ...(this.#zone !== undefined && { zone: this.#zone }) },
      node_addresses: this.#addresses,
      isOwn: (address) => this.#addresses.includes(address),
      standing: (address) => this.#underlay.standing(address),
      lacksNetwork: (name) => this.#lacks(name),
      networkOf: (address) => networkAround(address, this.#networks),
    };
    let left = work_max;
    for (const entry of this.#touched) {
      if (left <= 0) break;
      left -= workOf(entry);
      this.#touched.delete(entry);
      this.#planEntry(entry, around, sink);
      this.#planned += 1;
    }
    this.#underlay.plan(sink);
    return this.#touched.size === 0;
  }

  #planEntry(entry: Entry, around: Surroundings, sink: Sink): void {
    const { service, slices, vips: before } = entry;
    const { vips, faults } =
      service === undefined ? { vips: no_vips, faults: none } : vipsOf(service, slices, around);
    entry.vips = vips;
    entry.faults = faults;
    entry.created_ms = service?.created_ms ?? Number.POSITIVE_INFINITY;
    for (const key of vips.keys()) {
      const slot = this.#slots.get(key) ?? new Slot();
      this.#slots.set(key, slot);
      if (!slot.claims.includes(entry)) {
        slot.claims = slot.claims.concat(entry);
        entry.lost += 1;
      }
      this.#settle(key, slot, sink);
    }
    for (const key of before.keys()) if (!vips.has(key)) this.#leave(key, entry, sink);
    this.#setHealth(entry);
    member(this.#unserved, entry, isUnserved(vips));
    this.#noteFaults(entry);
    if (service === undefined && slices.size === 0) this.#entries.delete(entry.key);
  }

  #leave(key: string, entry: Entry, sink: Sink): void {
    const slot = this.#slots.get(key)!;
    slot.claims = slot.claims.filter((each) => each !== entry);
    if (slot.holder === entry) slot.holder = undefined;
    else entry.lost -= 1;
    this.#settle(key, slot, sink);
    if (slot.claims.length === 0) this.#slots.delete(key);
  }

  /** Whoever has it, what that one wants of it is wanted; also where that is no translation. */
  #settle(key: string, slot: Slot, sink: Sink): void {
    const { claims, holder: before } = slot;
    let holder: Entry | undefined;
    for (const claim of claims) if (holder === undefined || isOlder(claim, holder)) holder = claim;
    if (holder !== before) {
      slot.holder = holder;
      if (before !== undefined) before.lost += 1;
      if (holder !== undefined) holder.lost -= 1;
      for (const each of [before, holder]) if (each !== undefined) this.#noteFaults(each);
    }
    const vip = holder?.vips.get(key);
    this.#setHost(key, vip?.host);
    const is_refused = vip?.outcome === 'refused';
    if (is_refused !== slot.is_refused) {
      slot.is_refused = is_refused;
      this.#underlay.refuse(addressOf(key), is_refused ? 1 : -1);
    }
    const there = slot.translation;
    const wanted = vip?.translation;
    if (there !== undefined && wanted !== undefined && same(wanted, there)) return;
    if (wanted !== there) this.#count += (wanted === undefined ? 0 : 1) - (there === undefined ? 0 : 1);
    slot.translation = wanted;
    if (wanted !== undefined) sink.want(wanted);
    else if (there !== undefined) sink.unwant(there);
  }

  // --- what Linux has to do with it

  #setHost(key: string, host: HostVip | undefined): void {
    const before = this.#hosts.get(key);
    if (host === undefined ? before === undefined : before !== undefined && isSameHostVip(before, host))
      return;
    this.#host_vips = undefined;
    if (host === undefined) this.#hosts.delete(key);
    else this.#hosts.set(key, host);
  }

  #setHealth({ key, service, slices }: Entry): void {
    const port = service?.external_policy === 'Local' ? service.health_port : undefined;
    const before = this.#health.get(key);
    if (port === undefined || service?.type !== 'LoadBalancer') {
      if (this.#health.delete(key)) this.#health_ports = undefined;
      return;
    }
    const local_endpoints = localReady(slices.values(), this.#options.node_name);
    if (before?.port === port && before.local_endpoints === local_endpoints) return;
    this.#health.set(key, { service: key, port, local_endpoints });
    this.#health_ports = undefined;
  }

  /** The same list as long as nothing of it changes. */
  health(): readonly HealthPort[] {
    this.#health_ports ??= [...this.#health.values()];
    return this.#health_ports;
  }

  /** The same list as long as nothing of it changes. */
  hostVips(): readonly HostVip[] {
    this.#host_vips ??= [...this.#hosts.values()];
    return this.#host_vips;
  }

  /** Where cluster addresses of services come from, canonical. */
  get servicePrefixes(): readonly string[] {
    return this.#underlay.prefixes;
  }

  // --- for people

  #noteFaults(entry: Entry): void {
    member(this.#faulty, entry, entry.faults.length > 0 || entry.lost > 0);
  }

  /** By object, what is wrong and what to do: of the first thousand. */
  get faults(): ReadonlyMap<string, readonly string[]> {
    const faults = new Map<string, readonly string[]>();
    for (const [prefix, cause] of this.#underlay.barred)
      faults.set(`service prefix ${prefix}`, [
        `has ${cause} in it, or is in it: what no service has there is not refused, but goes its way; correct the prefix`,
      ]);
    for (const entry of this.#faulty) {
      if (faults.size >= faulty_max) break;
      faults.set(`Service ${entry.key}`, this.#faultsOf(entry));
    }
    return faults;
  }

  #faultsOf(entry: Entry): readonly string[] {
    if (entry.lost === 0) return entry.faults;
    const faults = [...entry.faults];
    let shown = 0;
    for (const key of entry.vips.keys()) {
      const holder = this.#slots.get(key)?.holder;
      if (holder === undefined || holder === entry) continue;
      if (shown === faults_max) break;
      shown += 1;
      faults.push(
        `${key} is of Service ${holder.key}, which is older, or first by its name: give one of them another address or port`,
      );
    }
    if (entry.lost > shown)
      faults.push(`${entry.lost - shown} more of its addresses and ports are of other services`);
    return faults;
  }

  get counts() {
    return {
      services: this.#entries.size,
      slices: this.#slices.size,
      /** Addresses and ports that somebody wants. */
      vips: this.#slots.size,
      translations: this.#count,
      /** Services with an address and port that nobody serves. */
      unserved: this.#unserved.size,
      faulty: this.#faulty.size + this.#underlay.barred.size,
      host_vips: this.#hosts.size,
      health_ports: this.#health.size,
      waiting: this.#touched.size,
      /** Each as often as it was. */
      planned: this.#planned,
    };
  }

  /** Of all services, `namespace/name`: first those with faults. */
  *names(): Iterable<string> {
    for (const { key, service } of this.#faulty) if (service !== undefined) yield key;
    for (const entry of this.#entries.values())
      if (entry.service !== undefined && !this.#faulty.has(entry)) yield entry.key;
  }

  /** The service that has this address and port, `tcp/10.96.0.1/443`. */
  holderOf(vip: string): string | undefined {
    return this.#slots.get(vip)?.holder?.key;
  }

  /** One service, as last planned; undefined: there is none of this `namespace/name`. */
  status(key: string): ServiceStatus | undefined {
    const entry = this.#entries.get(key);
    if (entry?.service === undefined) return undefined;
    const all = [...entry.vips.values()];
    return {
      service: key,
      vips: all.slice(0, status_vips_max).map(({ key: vip, kind, outcome, translation }) => {
        const holder = this.#slots.get(vip)?.holder;
        const is_lost = holder !== undefined && holder !== entry;
        return {
          vip,
          kind,
          outcome: is_lost ? 'lost' : outcome,
          backends: outcome === 'served' ? translation!.backends.length : 0,
          ...(is_lost && { holder: holder.key }),
        };
      }),
      vips_unshown: Math.max(0, all.length - status_vips_max),
      faults: this.#faultsOf(entry),
    };
  }
}

/** A service is as much work as so many endpoints. */
const service_work = 8;

/** What it takes to plan a service: an endpoint by one port is one, and one more for each address that it is put behind. */
function workOf({ service, slices }: Entry): number {
  const { cluster_ips = none, external_ips = none, load_balancer_ips = none } = service ?? {};
  const addresses = 1 + cluster_ips.length + external_ips.length + load_balancer_ips.length;
  let work = service_work;
  for (const { endpoints, ports } of slices.values()) work += endpoints.length * ports.length * addresses;
  return work;
}

const hasNodePorts = ({ service }: Entry): boolean =>
  service?.ports.some(({ node_port }) => node_port !== undefined) ?? false;

const hasSameRange = (one: NodeNetwork, other: NodeNetwork): boolean =>
  one.name === other.name && one.range === other.range && one.created_ms === other.created_ms;

const vipAddresses = ({ service }: Entry): readonly string[] => [
  ...(service?.cluster_ips ?? none),
  ...(service?.external_ips ?? none),
  ...(service?.load_balancer_ips ?? none),
];

/** One of these is an address of the service, or of an endpoint. */
function hasAddressIn({ service, slices }: Entry, some: ReadonlySet<string>): boolean {
  const { cluster_ips = none, external_ips = none, load_balancer_ips = none } = service ?? {};
  if ([cluster_ips, external_ips, load_balancer_ips].some((all) => all.some((each) => some.has(each))))
    return true;
  for (const { endpoints } of slices.values())
    if (endpoints.some(({ address }) => some.has(address))) return true;
  return false;
}

function isOlder(a: Entry, b: Entry): boolean {
  return a.created_ms === b.created_ms ? a.key < b.key : a.created_ms < b.created_ms;
}

function isUnserved(vips: ReadonlyMap<string, Vip>): boolean {
  for (const { outcome } of vips.values()) if (outcome !== 'served') return true;
  return false;
}

/** Of a key `tcp/10.96.0.1/443`. */
const addressOf = (key: string): string => key.slice(key.indexOf('/') + 1, key.lastIndexOf('/'));

function member<T>(set: Set<T>, item: T, is_in: boolean): void {
  if (is_in) set.add(item);
  else set.delete(item);
}

const served = (addresses: readonly string[]): readonly string[] =>
  [...new Set(addresses.flatMap((address) => canonicalAddress(address) ?? []))].filter((address) =>
    isGlobalUnicast(bitsOf(address)),
  );
