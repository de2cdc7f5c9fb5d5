/**
 * What this node tells the network of itself: prefixes whose packets it takes. And which of them lead nowhere here but where something longer
 * says where to: without a route of their own, packets for an address that nobody has would go back to the router they came from, and round.
 */
import type { BgpConfiguration } from '../calico/kinds/bgp-configuration.js';
import type { BlockAffinity } from '../calico/kinds/block-affinity.js';
import type { EndpointSlice } from '../calico/kinds/endpoint-slice.js';
import type { IpPool } from '../calico/kinds/ip-pool.js';
import type { IpamBlock } from '../calico/kinds/ipam-block.js';
import type { KindName, Objects } from '../calico/kinds/kinds.js';
import type { CalicoNode } from '../calico/kinds/node.js';
import type { Service } from '../calico/kinds/service.js';
import { addressBits, type Family, familyOf, type Prefix, parseAddress, parsePrefix } from '../ip/text.js';
import { OwnNode } from './own-node.js';

export interface LocalPrefix {
  /** Canonical. */
  readonly prefix: string;
  /** A block of this node; an address of another node's block that a pod here has; one of services. The first that holds. */
  readonly source: 'block' | 'borrowed' | 'service';
  /** The object by which it is, for people: `Service default/web`. */
  readonly by: string;
  /** Peers are told of it: not before it is known what pools and nodes forbid. */
  readonly announced: boolean;
  /** VPP drops what has no longer route: not for an address of a pod, which has its own, nor for that of a node. */
  readonly dropped: boolean;
}

export interface LocalPrefixesOptions {
  readonly node_name: string;
  /** Addresses of services are announced: there is BGP. */
  readonly services: boolean;
  /** One by one they are announced only while VPP serves them, as `setServed` tells. */
  readonly served_only?: boolean;
}

/** Kinds that a LocalPrefixes has to be told of. */
export function localPrefixKinds({ services }: Pick<LocalPrefixesOptions, 'services'>): readonly KindName[] {
  const always = ['Node', 'IPPool', 'BlockAffinity', 'IPAMBlock'] as const;
  return services ? [...always, 'BGPConfiguration', 'Service', 'EndpointSlice'] : always;
}

/** With this label, whatever its value, a node is no way in for services. */
const excluded_label = 'node.kubernetes.io/exclude-from-external-load-balancers';
const sources: readonly LocalPrefix['source'][] = ['block', 'borrowed', 'service'];

/** What says that something is not to be announced. */
const forbidding: readonly KindName[] = ['Node', 'IPPool'];

/** Which services are announced, and how. */
interface ServicePrefixes {
  readonly cluster: readonly Prefix[];
  readonly external: readonly Prefix[];
  readonly load_balancer: readonly Prefix[];
  /** Addresses of load balancers go by prefix, not one by one. */
  readonly aggregated: boolean;
}

/** What matters of a slice. */
interface Ready {
  readonly service: string;
  readonly family: Family;
  /** An endpoint of it is ready; one is on this node. */
  readonly somewhere: boolean;
  readonly here: boolean;
}

/**
 * The local prefixes that follow from objects, by what a change touches; a change of pools, of the BGPConfiguration, or of whether this node takes
 * part, goes through all.
 */
export class LocalPrefixes {
  readonly #options: LocalPrefixesOptions;
  readonly #synced = new Set<KindName>();
  readonly #pools = new Map<string, { readonly pool: IpPool; readonly prefix: Prefix }>();
  /** Pools that are gone and were not to be announced: what is left of them is not announced either. */
  readonly #gone_pools = new Map<string, Prefix>();
  readonly #blocks = new Map<string, string>();
  readonly #borrowed = new Map<string, readonly string[]>();
  readonly #services = new Map<string, Service>();
  readonly #slices = new Map<string, Ready>();
  /** Keys of slices by service. Nearly all have one: a set for each would be half of what is kept here. */
  readonly #slices_of = new Map<string, readonly string[]>();
  /** By node, its addresses; and how many nodes have one. */
  readonly #node_addresses = new Map<string, readonly string[]>();
  readonly #nodes_at = new Map<string, number>();
  readonly #own = new OwnNode();
  #excluded = false;
  #prefixes: ServicePrefixes = { cluster: [], external: [], load_balancer: [], aggregated: true };

  /** By object, what follows from it; and the same by prefix. */
  readonly #by_object = new Map<string, readonly LocalPrefix[]>();
  readonly #by_prefix = new Map<string, Map<string, LocalPrefix>>();
  readonly #dirty = new Set<string>();
  readonly #told = new Map<string, LocalPrefix>();
  /** Addresses of services that VPP serves. */
  readonly #served = new Set<string>();

  constructor(options: LocalPrefixesOptions) {
    this.#options = options;
  }

  /** Takes objects in; those of kinds that matter nothing here are passed over. */
  take(objects: Objects): void {
    if (objects.synced && !this.#synced.has(objects.kind)) {
      this.#synced.add(objects.kind);
      if (forbidding.includes(objects.kind))
        for (const prefix of this.#by_prefix.keys()) this.#dirty.add(prefix);
    }
    switch (objects.kind) {
      case 'Node':
        for (const [name, node] of objects.changed) this.#node(name, node);
        return;
      case 'IPPool':
        return this.#poolsChanged(objects.changed);
      case 'BlockAffinity':
        for (const [name, block] of objects.changed) this.#block(name, block);
        return;
      case 'IPAMBlock':
        for (const [name, block] of objects.changed) this.#ipamBlock(name, block);
        return;
      case 'BGPConfiguration':
        if (this.#options.services && objects.changed.has('default'))
          this.#configured(objects.changed.get('default'));
        return;
      case 'Service':
        if (this.#options.services) for (const [key, service] of objects.changed) this.#service(key, service);
        return;
      case 'EndpointSlice':
        if (this.#options.services) for (const [key, slice] of objects.changed) this.#slice(key, slice);
        return;
    }
  }

  /** VPP serves these addresses by now, or does not. `whole`: no others. */
  setServed(changed: ReadonlyMap<string, boolean>, whole: boolean): void {
    const before = whole ? [...this.#served] : [];
    if (whole) this.#served.clear();
    for (const [address, served] of changed) {
      if (served) this.#served.add(address);
      else this.#served.delete(address);
    }
    for (const address of [...before, ...changed.keys()]) this.#touch(fullPrefix(address));
  }

  /** All kinds are known as a whole: what is not here is not. */
  get synced(): boolean {
    return localPrefixKinds(this.#options).every((kind) => this.#synced.has(kind));
  }

  /** What has changed since this was asked last, by prefix. */
  changes(): ReadonlyMap<string, LocalPrefix | undefined> {
    const changes = new Map<string, LocalPrefix | undefined>();
    for (const prefix of this.#dirty) {
      const now = this.#merged(prefix);
      const before = this.#told.get(prefix);
      if (now === undefined ? before === undefined : before !== undefined && isSame(now, before)) continue;
      changes.set(prefix, now);
      if (now === undefined) this.#told.delete(prefix);
      else this.#told.set(prefix, now);
    }
    this.#dirty.clear();
    return changes;
  }

  /** All of them, by prefix, as of the last `changes`. */
  all(): ReadonlyMap<string, LocalPrefix> {
    return this.#told;
  }

  #node(name: string, node: CalicoNode | undefined): void {
    const { ip4, ip6, status_ip4, status_ip6 } = node ?? {};
    const addresses = [ip4?.address, ip6?.address, status_ip4, status_ip6].filter(
      (address) => address !== undefined,
    );
    for (const address of this.#node_addresses.get(name) ?? []) this.#countNodes(address, -1);
    for (const address of addresses) this.#countNodes(address, 1);
    if (node === undefined) this.#node_addresses.delete(name);
    else this.#node_addresses.set(name, addresses);
    if (name !== this.#options.node_name) return;
    // A node that registers anew is away for a moment, and then without its labels: what it was excluded from it is not a part of meanwhile.
    this.#own.take(node);
    const excluded = excluded_label in (this.#own.node?.labels ?? {});
    if (excluded === this.#excluded) return;
    this.#excluded = excluded;
    this.#allServices();
  }

  #countNodes(address: string, by: number): void {
    const count = (this.#nodes_at.get(address) ?? 0) + by;
    if (count > 0) this.#nodes_at.set(address, count);
    else this.#nodes_at.delete(address);
    this.#touch(fullPrefix(address));
  }

  #poolsChanged(changed: ReadonlyMap<string, IpPool | undefined>): void {
    for (const [name, pool] of changed) {
      const before = this.#pools.get(name);
      if (pool === undefined) this.#pools.delete(name);
      else this.#pools.set(name, { pool, prefix: parsePrefix(pool.prefix) });
      if (pool !== undefined) this.#gone_pools.delete(name);
      else if (before?.pool.disable_bgp_export === true) this.#gone_pools.set(name, before.prefix);
    }
    this.#forgetPools();
    for (const [name, prefix] of this.#blocks) this.#setBlock(name, prefix);
    for (const [name, addresses] of this.#borrowed) this.#setBorrowed(name, addresses);
  }

  /** Pools that an earlier life has not announced, by prefix: of those that are no more what is left is not announced either. */
  recallPools(prefixes: Iterable<string>): void {
    const there = new Set([...this.#pools.values()].map(({ pool }) => pool.prefix));
    for (const prefix of prefixes)
      if (!there.has(prefix)) this.#gone_pools.set(`of an earlier life: ${prefix}`, parsePrefix(prefix));
    this.#poolsChanged(new Map());
  }

  /** Prefixes of pools that are gone, of which something is left here that is not to be announced. */
  get gone_pools(): readonly string[] {
    return [...new Set([...this.#gone_pools.values()].map(({ address, length }) => `${address}/${length}`))];
  }

  #block(name: string, block: BlockAffinity | undefined): void {
    const own =
      block?.type === 'host' && block.confirmed && !block.deleted && block.node === this.#options.node_name;
    if (own) this.#blocks.set(name, block.prefix);
    else if (!this.#blocks.delete(name)) return;
    else this.#forgetPools();
    this.#setBlock(name, this.#blocks.get(name));
  }

  #setBlock(name: string, prefix: string | undefined): void {
    const by = `BlockAffinity ${name}`;
    if (prefix === undefined) return this.#set(by, []);
    const dropped = !isFull(parsePrefix(prefix));
    this.#set(by, [{ prefix, source: 'block', by, announced: this.#isExported(prefix), dropped }]);
  }

  #ipamBlock(name: string, block: IpamBlock | undefined): void {
    const { node_name } = this.#options;
    const addresses =
      block === undefined || block.deleted
        ? []
        : block.borrowed.flatMap(({ address, node }) => (node === node_name ? [address] : []));
    if (addresses.length > 0) this.#borrowed.set(name, addresses);
    else if (!this.#borrowed.delete(name)) return;
    else this.#forgetPools();
    this.#setBorrowed(name, addresses);
  }

  #setBorrowed(name: string, addresses: readonly string[]): void {
    const by = `IPAMBlock ${name}`;
    this.#set(
      by,
      addresses.map((address) => {
        const prefix = fullPrefix(address);
        return { prefix, source: 'borrowed', by, announced: this.#isExported(prefix), dropped: false };
      }),
    );
  }

  /** The longest pool around it decides; what is in none is announced, as a pool may be gone before its pods. One that is gone has said so before. */
  #isExported(text: string): boolean {
    const prefix = parsePrefix(text);
    let best: { readonly pool: IpPool; readonly prefix: Prefix } | undefined;
    for (const each of this.#pools.values())
      if (covers(each.prefix, prefix) && each.prefix.length >= (best?.prefix.length ?? 0)) best = each;
    if (best?.pool.disable_bgp_export === true) return false;
    const longer = best === undefined ? 0 : best.prefix.length + 1;
    return ![...this.#gone_pools.values()].some((gone) => gone.length >= longer && covers(gone, prefix));
  }

  /** Those of which nothing is left here. */
  #forgetPools(): void {
    if (this.#gone_pools.size === 0) return;
    const left = [
      ...this.#blocks.values(),
      ...[...this.#borrowed.values()].flat().map((address) => fullPrefix(address)),
    ].map(parsePrefix);
    for (const [name, gone] of this.#gone_pools)
      if (!left.some((prefix) => covers(gone, prefix))) this.#gone_pools.delete(name);
  }

  /** One that says in part what cannot be read says nothing: what it said before holds. */
  #configured(configuration: BgpConfiguration | undefined): void {
    if (configuration?.vital_faults !== undefined) return;
    const parsed = (prefixes: readonly string[] | undefined): Prefix[] => (prefixes ?? []).map(parsePrefix);
    this.#prefixes = {
      cluster: parsed(configuration?.service_cluster_prefixes),
      external: parsed(configuration?.service_external_prefixes),
      load_balancer: parsed(configuration?.service_load_balancer_prefixes),
      aggregated: configuration?.load_balancer_aggregation !== 'Disabled',
    };
    this.#allServices();
  }

  #allServices(): void {
    const by = 'BGPConfiguration default';
    const { cluster, external, load_balancer, aggregated } = this.#prefixes;
    const whole = [...cluster, ...external, ...(aggregated ? load_balancer : [])];
    this.#set(
      by,
      this.#excluded
        ? []
        : whole
            // That of one address is announced where a service has it.
            .filter((prefix) => !isFull(prefix))
            .map((prefix) => servicePrefix(`${prefix.address}/${prefix.length}`, by)),
    );
    for (const key of this.#services.keys()) this.#setService(key);
  }

  #service(key: string, service: Service | undefined): void {
    if (service !== undefined) this.#services.set(key, service);
    else if (!this.#services.delete(key)) return;
    this.#setService(key);
  }

  #slice(key: string, slice: EndpointSlice | undefined): void {
    const before = this.#slices.get(key);
    if (before !== undefined && before.service !== slice?.service) {
      const left = (this.#slices_of.get(before.service) ?? []).filter((each) => each !== key);
      if (left.length === 0) this.#slices_of.delete(before.service);
      else this.#slices_of.set(before.service, left);
    }
    if (slice === undefined) this.#slices.delete(key);
    else {
      this.#slices.set(key, this.#readyOf(slice));
      const keys = this.#slices_of.get(slice.service);
      // `concat` leaves no room for more, as a spread does with something behind it: for sixteen.
      if (keys === undefined) this.#slices_of.set(slice.service, [key]);
      else if (!keys.includes(key)) this.#slices_of.set(slice.service, keys.concat(key));
    }
    if (before !== undefined && before.service !== slice?.service) this.#setService(before.service);
    if (slice !== undefined) this.#setService(slice.service);
  }

  #readyOf({ service, family, endpoints }: EndpointSlice): Ready {
    const ready = endpoints.filter(({ draining }) => draining !== true);
    const here = ready.some(({ node }) => node === this.#options.node_name);
    return { service, family, somewhere: ready.length > 0, here };
  }

  #setService(key: string): void {
    const by = `Service ${key}`;
    const service = this.#excluded ? undefined : this.#services.get(key);
    const addresses = service === undefined ? [] : this.#addressesOf(key, service);
    this.#set(
      by,
      addresses.map((address) => servicePrefix(fullPrefix(address), by)),
    );
  }

  /** Addresses of a service that are announced one by one from here. */
  #addressesOf(key: string, service: Service): readonly string[] {
    const { cluster, external, load_balancer, aggregated } = this.#prefixes;
    const to_outside = service.external_policy === 'Local';
    const groups = [
      [service.cluster_ips, cluster, to_outside || service.internal_policy === 'Local', true],
      [service.external_ips, external, to_outside, true],
      [service.load_balancer_ips, load_balancer, to_outside, aggregated],
    ] as const;
    const announced = groups.flatMap(([addresses, prefixes, local, by_prefix]) =>
      addresses.filter((address) => {
        const around = prefixes.filter((prefix) => covers(prefix, addressPrefix(address)));
        if (around.length === 0) return false;
        if (local) return this.#isReady(key, familyOf(address), 'here');
        // Else it is a part of what is announced anyway.
        if (around.some(isFull)) return true;
        return !by_prefix && this.#isReady(key, familyOf(address), 'somewhere');
      }),
    );
    return [...new Set(announced)];
  }

  #isReady(service: string, family: Family, where: 'here' | 'somewhere'): boolean {
    for (const key of this.#slices_of.get(service) ?? []) {
      const slice = this.#slices.get(key);
      if (slice?.family === family && slice[where]) return true;
    }
    return false;
  }

  /** What follows from one object from now on. */
  #set(by: string, prefixes: readonly LocalPrefix[]): void {
    for (const { prefix } of this.#by_object.get(by) ?? []) {
      const origins = this.#by_prefix.get(prefix);
      origins?.delete(by);
      if (origins?.size === 0) this.#by_prefix.delete(prefix);
      this.#touch(prefix);
    }
    if (prefixes.length === 0) this.#by_object.delete(by);
    else this.#by_object.set(by, prefixes);
    for (const each of prefixes) {
      const origins = this.#by_prefix.get(each.prefix) ?? new Map<string, LocalPrefix>();
      this.#by_prefix.set(each.prefix, origins.set(by, each));
      this.#touch(each.prefix);
    }
  }

  #touch(prefix: string): void {
    if (this.#by_prefix.has(prefix) || this.#told.has(prefix)) this.#dirty.add(prefix);
  }

  #merged(prefix: string): LocalPrefix | undefined {
    const origins = [...(this.#by_prefix.get(prefix)?.values() ?? [])];
    const first = origins.sort(
      (a, b) => sources.indexOf(a.source) - sources.indexOf(b.source) || (a.by < b.by ? -1 : 1),
    )[0];
    if (first === undefined) return undefined;
    const [address = ''] = prefix.split('/');
    const is_full = fullPrefix(address) === prefix;
    const of_node = this.#nodes_at.has(address) && is_full;
    const waits = (source: LocalPrefix['source']): boolean =>
      this.#options.served_only === true && source === 'service' && is_full && !this.#served.has(address);
    return {
      ...first,
      announced:
        forbidding.every((kind) => this.#synced.has(kind)) &&
        origins.some(({ announced, source }) => announced && !waits(source)),
      dropped: !of_node && origins.some(({ dropped }) => dropped),
    };
  }
}

const servicePrefix = (prefix: string, by: string): LocalPrefix => ({
  prefix,
  source: 'service',
  by,
  announced: true,
  dropped: true,
});

const isSame = (a: LocalPrefix, b: LocalPrefix): boolean =>
  a.by === b.by && a.source === b.source && a.announced === b.announced && a.dropped === b.dropped;

const isFull = ({ family, length }: Prefix): boolean => length === addressBits(family);

const fullPrefix = (address: string): string => `${address}/${addressBits(familyOf(address))}`;

function addressPrefix(address: string): Prefix {
  const family = familyOf(address);
  return { family, address, bytes: parseAddress(address, family), length: addressBits(family) };
}

function covers(outer: Prefix, inner: Prefix): boolean {
  if (outer.family !== inner.family || outer.length > inner.length) return false;
  for (let bit = 0; bit < outer.length; bit += 8) {
    const mask = 0xff00 >> Math.min(8, outer.length - bit);
    if (((outer.bytes[bit / 8]! ^ inner.bytes[bit / 8]!) & mask & 0xff) !== 0) return false;
  }
  return true;
}
