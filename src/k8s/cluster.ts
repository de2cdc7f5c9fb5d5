/** What the node needs of the Kubernetes API. Without a cluster it works from its configuration alone. */
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { Access } from './access.js';
import { ApiClient } from './api-client.js';
import { Discovery } from './discovery.js';
import { nodeObject } from './node-object.js';
import type { Publish } from './publication.js';

export type SourceSpoofing = 'Any' | 'Disabled';

export interface NodeAddresses {
  readonly ip4?: string;
  readonly ip6?: string;
}

export interface Cluster {
  /** Annotations of this node, for placeholders in templates. Takes 5 s at most; nothing when the API server does not answer. */
  nodeAnnotations(): Promise<Readonly<Record<string, string>>>;
  /**
   * Writes the node's addresses (with their masks, e.g. `10.0.0.2/24`) to its Calico Node, only if they differ. An absent family is one that the node has
   * not. Idempotent. Tried whatever is answered, as who refuses it may be told otherwise; `failing` is told why of each time that it could not be done.
   * Rejects when `signal` says so, and else never.
   */
  readonly publishNodeAddresses: Publish<NodeAddresses>;
  /** Likewise the public keys of the node's WireGuard; absent: it has none for that family. */
  readonly publishWireguardKeys: Publish<{ readonly key?: string; readonly key6?: string }>;
  /** `workloadSourceSpoofing` of the FelixConfiguration, as it is known by now; undefined where it says nothing. */
  workloadSourceSpoofing(): SourceSpoofing | undefined;
  /** From who reads the FelixConfiguration. */
  learnSourceSpoofing(spoofing: SourceSpoofing | undefined): void;
  /** How objects are read; undefined where there is no API server. */
  readonly api: { readonly client: ApiClient; readonly discovery: Discovery } | undefined;
}

export const without_cluster: Cluster = {
  nodeAnnotations: async () => ({}),
  publishNodeAddresses: async () => undefined,
  publishWireguardKeys: async () => undefined,
  workloadSourceSpoofing: () => undefined,
  learnSourceSpoofing: () => undefined,
  api: undefined,
};

export interface ClusterOptions {
  readonly access: Access;
  readonly node_name: string;
  /** The one version of Calico's API to use; undefined: whatever is served. */
  readonly calico_version: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** Gives [0, 1). */
  readonly random: () => number;
}

/** Asks nobody yet. */
export function kubernetesCluster(options: ClusterOptions): Cluster {
  const { access, calico_version, clock } = options;
  const client = new ApiClient(access, clock);
  let spoofing: SourceSpoofing | undefined;
  return {
    ...nodeObject({ ...options, client }),
    workloadSourceSpoofing: () => spoofing,
    learnSourceSpoofing: (learned) => {
      spoofing = learned;
    },
    api: { client, discovery: new Discovery(client, calico_version) },
  };
}
