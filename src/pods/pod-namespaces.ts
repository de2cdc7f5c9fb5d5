/**
 * Which network namespace is a pod's. A path is no name for it: `/proc/<pid>/ns/net` leads to another pod's, or to the node's own, as
 * soon as the process is another one.
 */
import type { HostNetwork, NamespaceId, NetworkNamespace } from '../linux/network.js';
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
    if (namespace !== undefined) return id === namespace ? id : undefined;
    return this.#isStrangers(spec, id) ? undefined : id;
  }

  /** For those who have not written down which one it was: a device of the pod's name that is not as VPP made it for this pod. */
  #isStrangers(spec: PodSpec, id: NamespaceId): boolean {
    let namespace: NetworkNamespace | undefined;
    try {
      namespace = this.#host.open(spec.netns, id);
      const link = namespace.link(spec.interface_name);
      if (link === undefined) return false;
      if (link.kind !== tun_kind) return true;
      const own = new Set(addressesOf(spec));
      return !namespace.addresses(link.index).some(({ prefix }) => own.has(prefix.replace(/\/.*/, '')));
    } catch {
      return true;
    } finally {
      namespace?.close();
    }
  }
}
