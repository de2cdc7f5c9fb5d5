import { type HostNetwork, type NetworkChange, OWN_NAMESPACE_PATH } from '../src/linux/network.js';
import type { NetnsLab } from './netns.js';

/** The machine as this process would see it if it lived in the namespace called `name`. */
export function hostInside(lab: NetnsLab, name: string): HostNetwork {
  const own = lab.namespace(name);
  return {
    open(path, id) {
      const namespace = lab.host.open(path ?? own, id);
      const come_home = (change: NetworkChange): NetworkChange =>
        change.do === 'move_link' && change.netns === OWN_NAMESPACE_PATH ? { ...change, netns: own } : change;
      const { apply } = namespace;
      namespace.apply = (change) => apply.call(namespace, come_home(change));
      return namespace;
    },
    inNamespace: (path, run) => lab.host.inNamespace(path, run),
    identify: (path) => lab.host.identify(path),
    removeTun: (path, link, id, urgent) => lab.host.removeTun(path, link, id, urgent),
    exists: (path) => lab.host.exists(path),
    createNamed: (other) => lab.host.createNamed(other),
    removeNamed: (other) => lab.host.removeNamed(other),
  };
}
