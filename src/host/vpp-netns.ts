/**
 * The network namespace that VPP lives in. The kernel gives a physical device back to the host when its namespace is gone, and destroys a
 * virtual one. So it depends on the uplinks who is to hold the namespace:
 *
 * | uplinks | the namespace is a mount | a container is killed, and nobody comes back |
 * |---|---|---|
 * | physical alone | that this container alone sees | it goes with VPP and the container, the devices are the host's again |
 * | a virtual one among them, or one that is not there yet, or a host whose namespace is not the machine's first | of the whole machine | it stays, for `restore` or the next life to take the devices out of it |
 *
 * While the container lives both hold the namespace over VPP's death: the devices are taken out at once, and not waited for.
 */
import type { HostNetwork, NetworkNamespace } from '../linux/network.js';
import { LinuxHost } from './netlink/linux-host.js';

export interface VppNetns {
  readonly path: string;
  readonly name: string;
  /** One that is there is kept. */
  create(): void;
  remove(): void;
}

export interface VppNetnsPlaces {
  /** Where named namespaces of the machine are. */
  readonly machine: string;
  /** A directory of this container. */
  readonly container: string;
}

/** `goes_along`: it may go with this container. What is there already, of an earlier life, is kept. */
export function vppNetns(
  name: string,
  { machine, container }: VppNetnsPlaces,
  goes_along: (host: HostNetwork) => boolean,
): VppNetns {
  const of_machine = new LinuxHost(machine);
  const of_container = new LinuxHost(container, { shared: false });
  const there = [of_container, of_machine].find((host) => host.exists(host.pathOf(name)));
  const holder = there ?? (goes_along(of_machine) ? of_container : of_machine);
  return {
    name,
    path: holder.pathOf(name),
    create: () => void holder.createNamed(name),
    remove: () => holder.removeNamed(name),
  };
}

/** Does the kernel give all these devices back by itself? It gives them to the first namespace of the machine. */
export function comeBackThemselves(namespace: NetworkNamespace, names: readonly string[]): boolean {
  const links = names.map((name) => namespace.link(name));
  return links.length > 0 && links.every((link) => link !== undefined && link.kind === undefined);
}
