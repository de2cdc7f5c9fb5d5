/** What the actor of a pod is made of. */
import type { ActorRef } from '../actor-system.js';
import type { NetworkAddresses } from '../desired/network-addresses.js';
import type { HostNetwork } from '../linux/network.js';
import type { CniMessage } from '../messages/cni.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { PolicedInterfaces } from '../policies/policed-interfaces.js';
import type { TranslationOwners } from '../reconcile/translation-owners.js';
import type { PodNamespaces } from './pod-namespaces.js';
import type { PodRecords } from './pod-records.js';

export interface PodDeps {
  readonly cni: ActorRef<CniMessage>;
  readonly vpp: ActorRef<VppConnectionMessage>;
  readonly host: HostNetwork;
  readonly namespaces: PodNamespaces;
  readonly records: PodRecords;
  readonly translations: TranslationOwners;
  /** Told of each interface before VPP has it, each time that VPP was told of it, and when it is gone. */
  readonly policed: PolicedInterfaces;
  /** Told of its addresses in a network beside the default one, when it is connected and before it goes. */
  readonly addresses?: NetworkAddresses;
}
