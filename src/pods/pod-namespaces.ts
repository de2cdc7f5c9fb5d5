/**
 * Which network namespace is a pod's. A path is no name for it: `/proc/<pid>/ns/net` leads to another pod's, or to the node's own, as
 * soon as the process is another one.
 */
import {
  type HostNetwork,
  isSameNamespace,
  type NamespaceId,
  type NetworkNamespace,
} from '../linux/network.js';
import type { PodRecord } from '../pod/record.js';
import { addressesOf, type PodSpec } from '../pod/spec.js';

/** Kind of the devices of /dev/net/tun, whatever they carry. */
export const tun_kind = 'tun';

export class PodNamespaces {
  readonly #host: HostNetwork;
  readonly #nodes: readonly string[];

  /** `nodes`: paths of the namespaces that are the node's: its own, and VPP's. */
  constructor(host: HostNetwork, nodes: readonly string[]) {
    this.#host = host;
    this.#nodes = nodes;
  }

  /** What stands at the path, whosever it is; undefined: nothing. */
  at(netns: string): NamespaceId | undefined {
    return this.#host.identify(netns);
  }

  isNodes(id: NamespaceId): boolean {
    return this.#nodes.some((path) => this.#host.identify(path) === id);
  }

  /** Something lives there that may be a pod's. */
  mayBePods(netns: string): boolean {
    const id = this.at(netns);
    return id !== undefined && !this.isNodes(id);
  }

  /** The pod's own namespace, if it stands at its path. */
  of({ spec, namespace }: Pick<PodRecord, 'spec' | 'namespace'>): NamespaceId | undefined {
    const id = this.at(spec.netns);
    if (id === undefined || this.isNodes(id)) return undefined;
    if (namespace !== undefined) return isSameNamespace(id, namespace) ? id : undefined;
    return this.#whose(spec, id) === 'strangers' ? undefined : id;
  }

  /** The namespace at the pod's path, if the pod's device is in it as VPP made it, with an address of the pod. */
  withDeviceOf(spec: PodSpec): NamespaceId | undefined {
    const id = this.at(spec.netns);
    return id !== undefined && !this.isNodes(id) && this.#whose(spec, id) === 'pods' ? id : undefined;
  }

  /** For those who have not written down which one it was: by the device of the pod's name. `open`: there is none. */
  #whose(spec: PodSpec, id: NamespaceId): 'pods' | 'strangers' | 'open' {
    let namespace: NetworkNamespace | undefined;
    try {
      namespace = this.#host.open(spec.netns, id);
      const link = namespace.link(spec.interface_name);
      if (link === undefined) return 'open';
      if (link.kind !== tun_kind) return 'strangers';
      const own = new Set(addressesOf(spec));
      const addresses = namespace.addresses(link.index);
      return addresses.some(({ prefix }) => own.has(prefix.replace(/\/.*/, ''))) ? 'pods' : 'strangers';
    } catch {
      return 'strangers';
    } finally {
      namespace?.close();
    }
  }
}
