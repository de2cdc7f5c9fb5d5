/** What the node needs of the Kubernetes API. Without a cluster it works from its configuration alone. */

export interface Cluster {
  /** Annotations of this node, for placeholders in templates. Bounded; nothing when the API server does not answer. */
  nodeAnnotations(): Promise<Readonly<Record<string, string>>>;
  /**
   * Writes the node's addresses (with their masks, e.g. `10.0.0.2/24`) to its Calico Node, only if they differ. An absent
   * family is one that the node has not. Idempotent. Rejects when it could not be done.
   */
  publishNodeAddresses(addresses: { readonly ip4?: string; readonly ip6?: string }): Promise<void>;
  /** `workloadSourceSpoofing` of the FelixConfiguration, as it is known by now; undefined where none is known. */
  workloadSourceSpoofing(): 'Any' | 'Disabled' | undefined;
}

export const without_cluster: Cluster = {
  nodeAnnotations: async () => ({}),
  publishNodeAddresses: async () => undefined,
  workloadSourceSpoofing: () => undefined,
};
