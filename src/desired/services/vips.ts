/** Where a service is reached, and what is behind it there. Pure. */
import type { EndpointSlice } from '../../calico/kinds/endpoint-slice.js';
import type { Service, ServicePort } from '../../calico/kinds/service.js';
import { type Family, familyOf } from '../../ip/text.js';
import { type Backend, nobody, type Translation } from '../../objects/cnat.js';
import { flattened } from '../../objects/object.js';
import { balancing } from './balancing.js';
import {
  backends_max,
  type Candidate,
  candidates,
  capped,
  clusterOnes,
  localOnes,
  type Place,
  someOf,
} from './endpoints.js';

/** More of one service are not served. */
export const vips_max = 4096;
/** Back ends of one service, counted at each of its addresses and ports: VPP takes some 300 bytes for each, and dies when it has none left. */
export const paths_max = 2 ** 18;
/** Of one service, so much is told. */
export const faults_max = 8;
/** Characters of a name that somebody has written. */
const network_name_shown = 64;

export type VipKind = 'cluster' | 'external' | 'load_balancer' | 'node_port';

/** `dropped`: without a word, by way of the sink. `refused`: by the route under it, or by Linux if it is an address of its own. */
export type Outcome = 'served' | 'dropped' | 'refused';

/** One address and port of one service. */
export interface Vip {
  /** As the key of its translation: `tcp/10.96.0.1/443`. */
  readonly key: string;
  readonly kind: VipKind;
  readonly outcome: Outcome;
  /** Of `served` and `dropped`. */
  readonly translation: Translation | undefined;
  readonly host: HostVip | undefined;
}

/** The host is one client: it needs no more back ends than this of one service. */
export const host_backends_max = 16;

/** What Linux of this node has to translate itself: VPP does not see its packets, or would drop them as having the node's own source. */
export interface HostVip {
  readonly address: string;
  readonly port: number;
  readonly protocol: Translation['protocol'];
  readonly backends: readonly { readonly address: string; readonly port: number }[];
  /** The same source address gets the same back end, as long as these are the same. */
  readonly affinity?: true;
}

/** What an address is to this node: its own; perhaps somebody else's, whose packets no route of ours is to take; or nobody's. */
export type Standing = 'own' | 'kept' | 'free';

export interface Surroundings {
  readonly place: Place;
  /** On which node ports are served. */
  readonly node_addresses: readonly string[];
  /** Linux of this node has it. */
  isOwn(address: string): boolean;
  standing(address: string): Standing;
  /** This node is known to have no network of this name. */
  lacksNetwork(name: string): boolean;
  /** That in whose range it is, the oldest of several; undefined: in none's. A translation holds in all networks. */
  networkOf(address: string): { readonly name: string; readonly created_ms?: number } | undefined;
}

/** What becomes of a service. */
export interface Vips {
  readonly vips: ReadonlyMap<string, Vip>;
  readonly faults: readonly string[];
}

/**
 * Where packets go that a VIP has nobody for, under a route that drops. So a session
 * that begins meanwhile ends when there is somebody again; without a translation it would stay without one. A refusal would be of no use here:
 * it quotes a packet that the sender has never sent.
 */
export const sinks = nobody;
const sink_backends: Readonly<Record<Family, readonly [Backend]>> = {
  4: [{ address: sinks[4], port: 9 }],
  6: [{ address: sinks[6], port: 9 }],
};

const is_everybody: ReadonlySet<string> = new Set(['0.0.0.0/0', '::/0']);

export function vipsOf(
  service: Service,
  slices: ReadonlyMap<string, EndpointSlice>,
  around: Surroundings,
): Vips {
  return new Planner(service, slices, around).plan();
}

/** The endpoints of one port and family. */
interface Choice {
  readonly all: readonly Candidate[];
  readonly cluster: readonly Candidate[];
  readonly local: readonly Candidate[];
  /** Of the cluster's only those that are to be used from here. */
  readonly is_part: boolean;
  /** One of them has an address of this node. */
  readonly cluster_own: boolean;
  readonly local_own: boolean;
}

class Planner {
  readonly #service: Service;
  readonly #slices: ReadonlyMap<string, EndpointSlice>;
  readonly #around: Surroundings;
  readonly #families: ReadonlySet<Family>;
  readonly #balancing;
  readonly #vips = new Map<string, Vip>();
  readonly #faults = new Set<string>();
  #more_faults = 0;
  readonly #choices = new Map<string, Choice>();
  readonly #backends = new Map<
    readonly Candidate[],
    { plain?: readonly Backend[]; dsr?: readonly Backend[]; host?: readonly Backend[] }
  >();
  #paths = 0;

  constructor(service: Service, slices: ReadonlyMap<string, EndpointSlice>, around: Surroundings) {
    this.#service = service;
    this.#slices = slices;
    this.#around = around;
    this.#families = new Set(service.cluster_ips.map(familyOf));
    this.#balancing = balancing(service);
    for (const fault of this.#balancing.faults) this.#fault(fault);
  }

  plan(): Vips {
    const { cluster_ips, external_ips, load_balancer_ips, ports, type } = this.#service;
    if (ports.length === 0) this.#fault('has no ports: nothing of it is served');
    this.#tellLimits();
    const groups: readonly (readonly [VipKind, readonly string[]])[] = [
      ['cluster', cluster_ips],
      ['external', this.#ofFamilies(external_ips)],
      ['load_balancer', this.#ofFamilies(load_balancer_ips)],
    ];
    for (const port of ports) {
      for (const [kind, addresses] of groups)
        for (const address of addresses) this.#add(kind, address, port.port, port);
      if (type === 'ClusterIP' || port.node_port === undefined) continue;
      for (const address of this.#around.node_addresses)
        if (this.#families.has(familyOf(address))) this.#add('node_port', address, port.node_port, port);
    }
    const faults = [...this.#faults];
    if (this.#more_faults > 0) faults.push(`and so on, ${this.#more_faults} times`);
    return { vips: this.#vips, faults };
  }

  #fault(text: string): void {
    if (this.#faults.size < faults_max || this.#faults.has(text)) this.#faults.add(text);
    else this.#more_faults += 1;
  }

  #tellLimits(): void {
    const { type, ports, source_prefixes, keep_original, network } = this.#service;
    if (network !== undefined && this.#around.lacksNetwork(network))
      this.#fault(
        `is for the network ${network.slice(0, network_name_shown)}, which this node does not have, so that no pod here reaches it there: create a Network of that name, see what is said of it, or correct the annotation extensions.projectcalico.org/network`,
      );
    if (keep_original)
      this.#fault(
        'annotation vppKeepOriginalPacket has no effect: vppLBType maglevdsr keeps packets as they are',
      );
    if (
      type === 'LoadBalancer' &&
      source_prefixes.length > 0 &&
      !source_prefixes.some((prefix) => is_everybody.has(prefix))
    )
      this.#fault(
        'loadBalancerSourceRanges is not kept: VPP cannot tell clients of a translation apart, anybody may use its addresses; restrict it at the load balancer, or by a policy',
      );
    if (ports.some(({ protocol }) => protocol === 'SCTP'))
      this.#fault(
        'SCTP is served over IPv4 alone, and not where a packet leaves with the address of the node; an association without traffic is forgotten after 30 s',
      );
  }

  #ofFamilies(addresses: readonly string[]): readonly string[] {
    return addresses.filter((address) => {
      if (this.#families.has(familyOf(address))) return true;
      this.#fault(`${address} is of a family that the service has no cluster address of: it is not served`);
      return false;
    });
  }

  #add(kind: VipKind, address: string, number: number, port: ServicePort): void {
    const protocol = protocols[port.protocol];
    const key = flattened(`${protocol}/${address}/${number}`);
    // An address may be named twice, as one and as another kind.
    if (this.#vips.has(key)) return;
    const network = this.#around.networkOf(address);
    if (network !== undefined) {
      // A Network that comes later, or is given too large a range, is not to end what pods of all others live on.
      const { created_ms = Number.NEGATIVE_INFINITY } = this.#service;
      const is_later = (network.created_ms ?? Number.NEGATIVE_INFINITY) > created_ms;
      const where = `${address} lies in the range of Network ${network.name}`;
      if (!is_later) {
        this.#fault(
          `${where}, whose pods would lose what is theirs: it is not served; give the service another address, or the network another range`,
        );
        return;
      }
      this.#fault(
        `${where}, which came later, and whose pods reach nothing at this address and port: give the network another range`,
      );
    }
    if (this.#vips.size >= vips_max) {
      this.#fault(`has more than ${vips_max} addresses and ports: the rest is not served`);
      return;
    }
    const at = { address, port: number, protocol };
    const family = familyOf(address);
    const choice = this.#choice(port, family);
    const { external_policy, internal_policy, affinity_ms } = this.#service;
    const is_local = (kind === 'cluster' ? internal_policy : external_policy) === 'Local';
    const used = is_local ? choice.local : choice.cluster;
    this.#paths += used.length;
    if (this.#paths > paths_max) {
      this.#fault(
        `has more than ${paths_max} back ends, counted at each address and port: the rest is not served`,
      );
      return;
    }
    const standing = this.#around.standing(address);
    const outcome = outcomeOf(standing, protocol, family, used.length > 0, choice.all.length > 0);
    const is_part = !is_local && choice.is_part;
    const translation = this.#translation(kind, at, outcome, used, is_part);
    // Linux is within the cluster: no Local of the outside holds for it.
    const of_host = kind === 'cluster' ? used : choice.cluster;
    const by_host =
      standing === 'own' ||
      (kind !== 'cluster' && is_local) ||
      (is_local ? choice.local_own : choice.cluster_own);
    const host =
      by_host && of_host.length > 0
        ? {
            ...at,
            backends: this.#hostBackendsOf(of_host),
            ...(affinity_ms !== undefined && { affinity: true as const }),
          }
        : undefined;
    this.#vips.set(key, { key, kind, outcome, translation, host });
  }

  #translation(
    kind: VipKind,
    at: Pick<Translation, 'address' | 'port' | 'protocol'>,
    outcome: Outcome,
    used: readonly Candidate[],
    is_part: boolean,
  ): Translation | undefined {
    if (outcome === 'refused') return undefined;
    const { lb, hash, dsr } = this.#balancing;
    const of_node = kind === 'node_port';
    const by_dsr = dsr && !of_node && !is_part;
    if (dsr && !of_node && is_part)
      this.#fault(
        'annotation vppLBType maglevdsr does not go with topology hints, by which nodes choose differently: packets are translated here',
      );
    return {
      kind: 'translation',
      ...at,
      backends: outcome === 'served' ? this.#backendsOf(used, by_dsr) : sink_backends[familyOf(at.address)],
      ...(lb !== undefined && { lb }),
      ...(hash !== undefined && { hash }),
      ...(of_node && { real: true as const }),
    };
  }

  #choice(port: ServicePort, family: Family): Choice {
    const name = `${family}/${port.protocol}/${port.name}`;
    const known = this.#choices.get(name);
    if (known !== undefined) return known;
    const { place } = this.#around;
    const all = candidates(this.#slices.values(), port, family, place).filter(({ address }) => {
      if (!this.#service.cluster_ips.includes(address)) return true;
      this.#fault(`endpoint ${address} is an address of the service itself: it is left out`);
      return false;
    });
    const { chosen, is_part } = clusterOnes(all, place);
    const cluster = this.#cap(chosen);
    const local = this.#cap(localOnes(all));
    const isOwn = ({ address }: Candidate): boolean => this.#around.isOwn(address);
    const choice: Choice = {
      all,
      cluster,
      local,
      is_part,
      cluster_own: cluster.some(isOwn),
      local_own: local.some(isOwn),
    };
    this.#choices.set(name, choice);
    return choice;
  }

  #cap(all: readonly Candidate[]): readonly Candidate[] {
    if (all.length > backends_max)
      this.#fault(
        `has ${all.length} endpoints, and VPP takes ${backends_max} of one address and port: ${all.length - backends_max} get no new flows`,
      );
    return capped(all);
  }

  /** Of many some: those of this node first, then others than other nodes have, so that not all hosts send to the same. */
  #hostBackendsOf(all: readonly Candidate[]): readonly Backend[] {
    if (all.length <= host_backends_max) return this.#backendsOf(all, false);
    const known = this.#backends.get(all) ?? {};
    this.#backends.set(all, known);
    known.host ??= this.#hostOnes(all).map(({ address, port }) => ({ address, port }));
    return known.host;
  }

  #hostOnes(all: readonly Candidate[]): readonly Candidate[] {
    const { node } = this.#around.place;
    const local = someOf(
      all.filter((each) => each.local),
      host_backends_max,
      node,
    );
    const far = all.filter((each) => !each.local);
    return [...local, ...someOf(far, host_backends_max - local.length, node)];
  }

  #backendsOf(all: readonly Candidate[], dsr: boolean): readonly Backend[] {
    const known = this.#backends.get(all) ?? {};
    this.#backends.set(all, known);
    if (!dsr) {
      known.plain ??= all.map(({ address, port }) => ({ address, port }));
      return known.plain;
    }
    known.dsr ??= all.map(({ address, port, local, endpoint: { node } }) => ({
      address,
      port,
      // What is on no node of the cluster knows of no service.
      ...(!local && node !== undefined && { no_nat: true as const }),
    }));
    return known.dsr;
  }
}

function outcomeOf(
  standing: Standing,
  protocol: Translation['protocol'],
  family: Family,
  is_used: boolean,
  is_somewhere: boolean,
): Outcome {
  // VPP rewrites none of it.
  if (protocol === 'sctp' && family === 6) return 'refused';
  if (is_used) return 'served';
  if (is_somewhere || protocol === 'udp') return 'dropped';
  return standing === 'kept' ? 'dropped' : 'refused';
}

const protocols = { TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' } as const;

/** Of two that have one address and port. */
export function isSameHostVip(a: HostVip, b: HostVip): boolean {
  if (a.affinity !== b.affinity || a.backends.length !== b.backends.length) return false;
  return a.backends.every(({ address, port }, at) => {
    const other = b.backends[at]!;
    return address === other.address && port === other.port;
  });
}
