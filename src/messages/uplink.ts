/** The mailbox of the uplink actor. */
import type { NodeNetwork } from '../desired/networks.js';
import type { PodPools } from '../desired/source-nat.js';
import type { Taken } from '../uplink/taken.js';
import type { InPlace, NodeFacts, SubscribeEarly, SubscribeNode } from './node.js';
import type { RouterSaid, VppStatus } from './vpp.js';

export type UplinkMessage =
  | VppStatus
  | SubscribeNode
  | SubscribeEarly
  | InPlace
  | RouterSaid
  /** From the cluster: all prefixes of Calico's pools, once they are known. Told urgently; idempotent. */
  | { readonly type: 'PodPrefixes'; readonly pods: PodPools }
  /** From the cluster: all prefixes of ServiceCIDRs, once they are known. Told urgently; idempotent. */
  | { readonly type: 'ServicePrefixes'; readonly prefixes: readonly string[] }
  /** From the cluster: all networks beside the default one that can be had, once they are known. Told urgently; idempotent. */
  | { readonly type: 'Networks'; readonly networks: readonly NodeNetwork[] }
  /** From itself: try the take-over again. Nothing happens if it is done, or if VPP is another one by now. */
  | { readonly type: 'Retry'; readonly generation: number }
  /** From itself: VPP of this generation has what others build on. As NodePrepared. */
  | {
      readonly type: 'Prepared';
      readonly generation: number;
      readonly round: number;
      readonly facts: Omit<NodeFacts, 'generation' | 'vpp' | 'workers'>;
    }
  /** From itself: it has its uplinks, which are down. */
  | { readonly type: 'Made'; readonly generation: number; readonly round: number }
  /** From itself: VPP of this generation has the uplinks, in this form. */
  | { readonly type: 'Taken'; readonly generation: number; readonly taken: Taken }
  /** From itself: it could not be done; the host is still to be given back. */
  | { readonly type: 'TakeOverFailed'; readonly generation: number; readonly error: Error }
  /** From itself: the VPP that was to begin with the uplinks has had its time. */
  | { readonly type: 'NewVppLate' }
  /** From itself: routers have spoken, or have been silent for long. */
  | { readonly type: 'RouterWordsDue' }
  /** From itself: Linux says that the tap, its addresses or its routes have changed. */
  | { readonly type: 'TapChanged'; readonly name: string }
  /** From itself: they have changed a moment ago. */
  | { readonly type: 'TapSettled' };
