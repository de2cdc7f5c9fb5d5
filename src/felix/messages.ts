/** What Felix says, as data: the same for all of its versions. */
import type { Family } from '../ip/text.js';
import type { SetUpdate } from './members.js';

/** Text that is one policy, whatever version names it: kind, namespace and name, or tier and name up to 3.31. */
export type PolicyKey = string;

/** `orchestrator workload endpoint`, as `k8s shop/web-1 eth0`. */
export type WorkloadKey = string;

/** Both ends belong to it. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

export interface Icmp {
  readonly type: number;
  /** Undefined: any. */
  readonly code: number | undefined;
}

/** Criteria of one end of a flow. An empty list is no criterion. */
export interface Side {
  /** In one of them. */
  readonly nets: readonly string[];
  /** In all of these sets, of prefixes. */
  readonly sets: readonly string[];
  /** In one of these ranges, or in one of the named ports. */
  readonly ports: readonly PortRange[];
  /** Sets of addresses with protocol and port. */
  readonly named_ports: readonly string[];
}

export interface Rule {
  /** In lower case; Felix's own data planes take an empty one for `allow`. */
  readonly action: string;
  /** 0: any. */
  readonly ip_version: number;
  readonly protocol: number | string | undefined;
  readonly not_protocol: number | string | undefined;
  readonly icmp: Icmp | undefined;
  readonly not_icmp: Icmp | undefined;
  readonly src: Side;
  readonly dst: Side;
  /** A flow that meets any of these criteria is not matched. */
  readonly not_src: Side;
  readonly not_dst: Side;
  /** The destination is in all of these sets, of addresses with protocol and port. */
  readonly services: readonly string[];
  /** The network that it is for, and no other; absent: the default one. */
  readonly network?: string;
  /** Fields of a newer Felix that this release cannot read: what they say of the flow is not known. */
  readonly unknown: readonly number[];
}

export interface Rules {
  readonly inbound: readonly Rule[];
  readonly outbound: readonly Rule[];
}

export interface Policy extends Rules {
  readonly untracked: boolean;
  readonly pre_dnat: boolean;
}

export interface PolicyRef {
  readonly key: PolicyKey;
  /** Is told, and not enforced. */
  readonly staged: boolean;
}

export interface Tier {
  readonly name: string;
  readonly ingress: readonly PolicyRef[];
  readonly egress: readonly PolicyRef[];
  /** What becomes of a flow that no policy of the tier has matched. */
  readonly end: 'deny' | 'pass';
}

export interface WorkloadEndpoint {
  readonly active: boolean;
  readonly profiles: readonly string[];
  /** Addresses, as prefixes. */
  readonly nets: readonly string[];
  readonly tiers: readonly Tier[];
  /** As Felix sent it, for the answer: the name of its Linux interface and its id. */
  readonly id: { readonly orchestrator: string; readonly workload: string; readonly endpoint: string };
  readonly name: string;
}

export interface HostEndpoint {
  /** A Linux interface, `*`, or empty. */
  readonly name: string;
  readonly addresses: readonly string[];
  readonly profiles: readonly string[];
  readonly tiers: readonly Tier[];
  readonly untracked: readonly Tier[];
  readonly pre_dnat: readonly Tier[];
  readonly forward: readonly Tier[];
}

export type FelixMessage =
  /** The snapshot is complete. Once in each life of Felix. */
  | { readonly kind: 'in_sync' }
  /** Merged values by canonical name. The first message, and again whenever one changes that ends no Felix. */
  | { readonly kind: 'config'; readonly config: ReadonlyMap<string, string> }
  /** All members. Of a known id it replaces them. */
  | { readonly kind: 'set'; readonly update: SetUpdate }
  | { readonly kind: 'set_delta'; readonly update: SetUpdate }
  | { readonly kind: 'set_removed'; readonly id: string }
  | { readonly kind: 'policy'; readonly key: PolicyKey; readonly policy: Policy }
  | { readonly kind: 'policy_removed'; readonly key: PolicyKey }
  | { readonly kind: 'profile'; readonly name: string; readonly profile: Rules }
  | { readonly kind: 'profile_removed'; readonly name: string }
  | { readonly kind: 'workload'; readonly key: WorkloadKey; readonly endpoint: WorkloadEndpoint }
  | { readonly kind: 'workload_removed'; readonly key: WorkloadKey }
  | { readonly kind: 'host'; readonly id: string; readonly endpoint: HostEndpoint }
  | { readonly kind: 'host_removed'; readonly id: string }
  /** WireGuard's public key of a node, for what it sends of this family; undefined: it has none any more. */
  | {
      readonly kind: 'wireguard_key';
      readonly node: string;
      readonly family: Family;
      readonly key: string | undefined;
    }
  /** Nodes, pools, routes, services and the like: the cluster is read from the Kubernetes API. */
  | { readonly kind: 'ignored' }
  /** A message that this release does not know, by its number in the stream's union; none: an empty message. */
  | { readonly kind: 'unknown'; readonly field: number | undefined }
  /** Bytes that are no message, or one that names no object. */
  | { readonly kind: 'unreadable'; readonly why: string };
