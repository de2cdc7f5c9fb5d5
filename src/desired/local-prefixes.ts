/**
 * What this node tells the network of itself: prefixes whose packets it takes. And which of them lead nowhere here but where something longer
 * says where to: without a route of their own, packets for an address that nobody has would go back to the router they came from, and round.
 */
import type { Objects } from '../calico/kinds/kinds.js';

export interface LocalPrefix {
  /** Canonical. */
  readonly prefix: string;
  /** A block of this node; an address of another node's block that a pod here has; one of services. The first that holds. */
  readonly source: 'block' | 'borrowed' | 'service';
  /** The object by which it is, for people: `Service default/web`. */
  readonly by: string;
  /** Peers are told of it. */
  readonly announced: boolean;
  /** VPP drops what has no longer route: not for an address of a pod, which has its own. */
  readonly dropped: boolean;
}

export interface LocalPrefixesOptions {
  readonly node_name: string;
  /** Addresses of services are announced: there is BGP. */
  readonly services: boolean;
}

/** Kinds that a LocalPrefixes has to be told. */
export const local_prefix_kinds = [
  'Node',
  'IPPool',
  'BlockAffinity',
  'IPAMBlock',
  'BGPConfiguration',
  'Service',
  'EndpointSlice',
] as const;

/** The local prefixes that follow from objects. Work is by what a change touches, but for those of which there are few. */
export class LocalPrefixes {
  constructor(_options: LocalPrefixesOptions) {}

  /** Takes objects in; those of kinds that matter nothing here are passed over. */
  take(_objects: Objects): void {}

  /** What has changed since this was asked last, by prefix. */
  changes(): ReadonlyMap<string, LocalPrefix | undefined> {
    return new Map();
  }

  /** All of them, by prefix. */
  all(): ReadonlyMap<string, LocalPrefix> {
    return new Map();
  }
}
