/** What the CNI actor is made of, and its settings. */
import type { ActorRef } from '../actor-system.js';
import type { PodLimits } from '../cni/annotations.js';
import type { CniHandlers, CniServer } from '../cni/server.js';
import type { NetworkAddresses } from '../desired/network-addresses.js';
import type { HostNetwork } from '../linux/network.js';
import type { InPlace, SubscribeEarly } from '../messages/node.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { PolicedInterfaces } from '../policies/policed-interfaces.js';
import type { TranslationOwners } from '../reconcile/translation-owners.js';
import type { PodStore } from './pod-records.js';
import type { Settledness } from './settling.js';
import type { SoftwareChecksums } from './software-checksums.js';

export interface CniDeps {
  readonly vpp: ActorRef<VppConnectionMessage>;
  readonly uplink: ActorRef<SubscribeEarly | InPlace>;
  readonly host: HostNetwork;
  readonly store: PodStore;
  /** Shared with all who make translations. */
  readonly translations: TranslationOwners;
  /** Shared with who enforces policies. */
  readonly policed: PolicedInterfaces;
  /** Shared with who tells other nodes of them; absent: nobody does. */
  readonly addresses?: NetworkAddresses;
  /** Shared with who knows the way to other nodes; absent: devices compute them. */
  readonly checksums?: SoftwareChecksums;
  /** Begins to serve; see startCniServer. */
  readonly startServer: (handlers: CniHandlers) => Promise<CniServer>;
  /** Content of the Go implementation's newest state file, if there is one. */
  readonly readGoState: () => string | undefined;
  /** Paths of the namespaces that are the node's own: no pod is in one. */
  readonly node_namespaces: readonly string[];
  /** As they are at the moment of a request. */
  readonly limits: () => PodLimits;
  /** The readiness of the pods, whenever it or its reason may have changed. */
  readonly report: (state: Settledness) => void;
  readonly settings: CniSettings;
}

export interface CniSettings {
  readonly gso: boolean;
  /** Packet buffers that VPP should have when the node has all its pods. */
  readonly buffers_wanted: number;
  /** Of pods' flows until policies say otherwise. */
  readonly default_verdict: 'allow' | 'deny';
  readonly drop_other_protocols: boolean;
  /** Left free in each packet of a pod for what is put around it where no interface says how long it may be; none when absent. */
  readonly headers_bytes?: number;
  /** How often namespaces are looked at, and for how long one must have been missing before its pod is deleted. */
  readonly collect_ms: number;
  readonly audit_ms: number;
  /** From the first look at a VPP: for how long pods that have not come to rest keep the node from being ready. */
  readonly settle_ms: number;
}

export const cni_settings_default: Pick<CniSettings, 'collect_ms' | 'audit_ms' | 'settle_ms'> = {
  collect_ms: 60_000,
  audit_ms: 60_000,
  settle_ms: 30_000,
};
