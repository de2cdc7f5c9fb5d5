/** Which endpoints of a service new flows go to, as Kubernetes has it. The same on all nodes, in the same order. Pure. */
import type { Endpoint, EndpointSlice } from '../../calico/kinds/endpoint-slice.js';
import type { ServicePort } from '../../calico/kinds/service.js';
import { bitsOf } from '../../ip/bits.js';
import type { Family } from '../../ip/text.js';

/** Where the endpoints are looked at from. */
export interface Place {
  readonly node: string;
  /** Label `topology.kubernetes.io/zone` of this node. */
  readonly zone?: string;
}

/** An endpoint by one of its ports. */
export interface Candidate {
  /** Address and port as bytes, a character each: in the order of numbers. */
  readonly bits: string;
  readonly address: string;
  readonly port: number;
  /** On this node. One that is on no node is on none of ours. */
  readonly local: boolean;
  readonly endpoint: Endpoint;
}

/** More back ends than this VPP's load balancing cannot have. */
export const backends_max = 8192;

/**
 * All endpoints of a service for one of its ports and one family, sorted, each once. Where slices contradict each other, as while an endpoint
 * moves from one to another, that which is local goes before, and then that which is ready.
 */
export function candidates(
  slices: Iterable<EndpointSlice>,
  { name, protocol }: Pick<ServicePort, 'name' | 'protocol'>,
  family: Family,
  { node }: Place,
): readonly Candidate[] {
  const found = new Map<string, Candidate>();
  for (const slice of slices) {
    if (slice.family !== family) continue;
    for (const { name: port_name, protocol: port_protocol, port } of slice.ports) {
      if (port_name !== name || port_protocol !== protocol) continue;
      const suffix = String.fromCharCode(port >> 8, port & 0xff);
      for (const endpoint of slice.endpoints) {
        const { address } = endpoint;
        const bits = bitsOf(address).bytes + suffix;
        const candidate = { bits, address, port, local: endpoint.node === node, endpoint };
        const other = found.get(bits);
        if (other === undefined || isBefore(candidate, other)) found.set(bits, candidate);
      }
    }
  }
  return [...found.values()].sort((a, b) => (a.bits < b.bits ? -1 : 1));
}

function isBefore(a: Candidate, b: Candidate): boolean {
  if (a.local !== b.local) return a.local;
  if (isReady(a) !== isReady(b)) return isReady(a);
  // Whatever else they differ in, the order in which slices come does not decide.
  return textOf(a) < textOf(b);
}

const isReady = ({ endpoint }: Candidate): boolean => endpoint.draining !== true;

const textOf = ({ endpoint: { node = '', for_nodes = [], for_zones = [] } }: Candidate): string =>
  [node, for_nodes.join(), for_zones.join()].join(' ');

const readyOf = (all: readonly Candidate[]): readonly Candidate[] =>
  all.every(isReady) ? all : all.filter(isReady);

/** Those on this node; ones that end only where there is no other. */
export function localOnes(all: readonly Candidate[]): readonly Candidate[] {
  const local = all.filter((each) => each.local);
  const ready = readyOf(local);
  return ready.length > 0 ? ready : local;
}

/** Of all nodes, or those that this node or its zone is told to use; ones that end only where there is no other. */
export function clusterOnes(
  all: readonly Candidate[],
  place: Place,
): { readonly chosen: readonly Candidate[]; readonly is_part: boolean } {
  const ready = readyOf(all);
  if (ready.length === 0) return { chosen: all, is_part: false };
  const chosen =
    hintedTo(ready, place.node, ({ for_nodes }) => for_nodes) ??
    hintedTo(ready, place.zone, ({ for_zones }) => for_zones);
  return { chosen: chosen ?? ready, is_part: chosen !== undefined };
}

/** A hint counts if all have one, and one at least points here. */
function hintedTo(
  ready: readonly Candidate[],
  name: string | undefined,
  hints: (endpoint: Endpoint) => readonly string[] | undefined,
): readonly Candidate[] | undefined {
  if (name === undefined || !ready.every(({ endpoint }) => hints(endpoint) !== undefined)) return undefined;
  const chosen = ready.filter(({ endpoint }) => hints(endpoint)!.includes(name));
  return chosen.length > 0 ? chosen : undefined;
}

/** As many as VPP takes, the same on all nodes. */
export const capped = (all: readonly Candidate[]): readonly Candidate[] => someOf(all, backends_max, '');

/** So many: those with the least hashes, so that a change of one endpoint changes at most one of them; by another seed they are others. */
export function someOf(all: readonly Candidate[], count: number, seed: string): readonly Candidate[] {
  if (all.length <= count) return all;
  const ranked = all.map((candidate) => ({ candidate, rank: hashOf(seed + candidate.bits) }));
  ranked.sort((a, b) => a.rank - b.rank || (a.candidate.bits < b.candidate.bits ? -1 : 1));
  const kept = ranked.slice(0, count).map(({ candidate }) => candidate);
  return kept.sort((a, b) => (a.bits < b.bits ? -1 : 1));
}

/** FNV-1a of 32 bits, and mixed, as its high bits alone say little of the last characters. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** How many addresses of this node are ready, of one family and all ports: what load balancers ask for. */
export function localReady(slices: Iterable<EndpointSlice>, node: string): number {
  const addresses: Readonly<Record<Family, Set<string>>> = { 4: new Set(), 6: new Set() };
  for (const { endpoints, family } of slices)
    for (const { address, draining, node: on } of endpoints)
      if (draining !== true && on === node) addresses[family].add(address);
  return Math.max(addresses[4].size, addresses[6].size);
}
