/** What the uplink actor tells those who build on the node: pods, routes, services, policies and BGP. */
import type { ActorRef } from '../actor-system.js';
import type { NatPools } from '../desired/source-nat.js';
import type { Family } from '../ip/text.js';
import type { InterfaceTag } from '../objects/interfaces.js';

/** Told urgently, each in its turn: a subscriber with much to do hears of it before it goes on, and of the last one last. */
export type NodeStatus = NodeReady | NodeLost;

/**
 * The node's own objects are in VPP and the host has its network through it: others may program theirs. Told once per
 * generation of VPP; idempotent.
 */
export interface NodeReady {
  readonly type: 'NodeReady';
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
  /** Worker threads of VPP. */
  readonly workers: number;
}

/** Nothing can be programmed until the next NodeReady; what was programmed may go on working. */
export interface NodeLost {
  readonly type: 'NodeLost';
  /** That of the NodeReady which it ends: what was told of it, or of an earlier one, and is heard later, is void. */
  readonly generation: number;
  readonly reason: string;
}

/** Told NodeStatus from now on, beginning with the present one if the node is ready. Idempotent per reference. */
export interface SubscribeNode {
  readonly type: 'SubscribeNode';
  readonly subscriber: ActorRef<NodeStatus>;
}
