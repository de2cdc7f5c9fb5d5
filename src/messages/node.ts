/** What the uplink actor tells those who build on the node: pods, routes, services, policies and BGP. */
import type { ActorRef } from '../actor-system.js';
import type { NetworkHere } from '../desired/networks.js';
import type { NatPools } from '../desired/source-nat.js';
import type { Family } from '../ip/text.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import type { TranslationOwner } from '../reconcile/translation-owners.js';

/** Told urgently, each in its turn: a subscriber with much to do hears of it before it goes on, and of the last one last. */
export type NodeStatus = NodeReady | NodeLost;

/** Likewise, for those whose objects are to be in VPP before the first packet comes. */
export type EarlyNodeStatus = NodePrepared | UplinksMade | NodeStatus;

/**
 * The node's own objects are in VPP and the host has its network through it: others may program theirs. Told again when one of the facts has
 * changed; idempotent.
 */
export interface NodeReady extends NodeFacts {
  readonly type: 'NodeReady';
}

/**
 * VPP has what others build on, and Linux still has the uplinks: what is VPP's before they are keeps its flows. Answered by InPlace, at least
 * once for each; followed by NodeReady, NodeLost, or itself when the take-over is tried again or one of the facts has changed. Never told of a VPP
 * that has its uplinks. Idempotent.
 */
export interface NodePrepared extends NodeFacts {
  readonly type: 'NodePrepared';
  /** Which one it is. */
  readonly round: number;
}

/** A VPP that can be programmed. */
export type NodeThere = NodePrepared | NodeReady;

/** VPP of this generation has the interfaces of uplinks and host taps, which are down. Answered by InPlace of policies. Idempotent. */
export interface UplinksMade {
  readonly type: 'UplinksMade';
  readonly generation: number;
  readonly round: number;
}

export interface NodeFacts {
  /** That of VppUp; transactions name it. */
  readonly generation: number;
  /** That of VppUp: the same VPP by another connection has what it had. */
  readonly vpp: string;
  /** The smallest MTU of the uplinks. */
  readonly mtu: number;
  /** The node's addresses, without length. */
  readonly node: { readonly ip4?: string; readonly ip6?: string };
  /** The uplinks, as Linux names them, with all addresses that the host has on each, with their lengths. */
  readonly uplinks?: readonly { readonly name: string; readonly addresses: readonly string[] }[];
  /** The uplink of the default network: tunnels borrow its addresses. */
  readonly main_uplink: InterfaceTag;
  /** The prefix that each address of `node` is on, e.g. `10.0.0.0/24`: whoever is in it is reached without a tunnel where a pool says CrossSubnet. */
  readonly subnets: { readonly ip4?: string; readonly ip6?: string };
  /** The prefixes that all uplinks are on, longer than those of one address: who is there is reached at once, and not to be cut off. */
  readonly on_link?: readonly string[];
  /** Families for which there is a table of redirect rules. */
  readonly redirects: readonly Family[];
  /** Buffers of VPP's smallest pool, taken ones included. Absent where VPP does not tell. */
  readonly buffers?: number;
  /** Of these, what the receive rings of uplinks and host taps keep. */
  readonly buffers_taken: number;
  /** Undefined until they are known; told again when they change. */
  readonly pools?: NatPools;
  /** Beside the default one, those that VPP has tables of, sorted by name. Undefined until they are known; told again when they change. */
  readonly networks?: readonly NetworkHere[];
  /** Worker threads of VPP. */
  readonly workers: number;
}

/** Nothing can be programmed until the next NodeReady; what was programmed may go on working. */
export interface NodeLost {
  readonly type: 'NodeLost';
  /** That of the NodeReady or NodePrepared which it ends: what was told of it, or of an earlier one, and is heard later, is void. */
  readonly generation: number;
  readonly reason: string;
}

/**
 * Whose objects flows depend on from their first packet: VPP has all that this owner knows of, or it is known why not. Told each time that NodePrepared was told. Idempotent; void for an earlier one, and once
 * the uplinks are VPP's.
 */
export interface InPlace {
  readonly type: 'InPlace';
  /** That of the NodePrepared, or of the UplinksMade. */
  readonly round: number;
  readonly of: TranslationOwner['by'] | 'policies' | 'connectivity';
}

/** Told NodeStatus from now on, beginning with the present one if the node is ready. Idempotent per reference. */
export interface SubscribeNode {
  readonly type: 'SubscribeNode';
  readonly subscriber: ActorRef<NodeStatus>;
}

/** Likewise, of EarlyNodeStatus. */
export interface SubscribeEarly {
  readonly type: 'SubscribeEarly';
  readonly subscriber: ActorRef<EarlyNodeStatus>;
}
