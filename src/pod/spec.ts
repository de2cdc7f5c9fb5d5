/**
 * One interface of one pod as data: what the CNI plugin asked for, checked and in canonical spelling, with nothing in it
 * that VPP or Linux answered. Stored on disk as it is.
 */
import type { InterfaceSpec } from '../config/interface-spec.js';
import type { Family } from '../ip/text.js';

/** `netns:<netns>,if:<interface_name>`: the identity of a pod interface. */
export type PodKey = string;

export type HostPortProtocol = 'tcp' | 'udp' | 'sctp';

export interface HostPort {
  readonly protocol: HostPortProtocol;
  readonly host_port: number;
  readonly container_port: number;
  /** The node address to listen on. Absent: the node's own, of each family that the pod has. */
  readonly host_ip?: string;
}

/** The ids by which Felix and Calico's datastore know the workload endpoint. */
export interface Workload {
  readonly orchestrator: string;
  readonly namespace: string;
  readonly pod: string;
  /** That of the pod's primary interface, also on a secondary one. */
  readonly endpoint: string;
}

export interface PerFamily<T> {
  readonly ip4: T;
  readonly ip6: T;
}

/** An interface spec in which nothing is left to choose. */
export type PodInterfaceSpec = Required<InterfaceSpec>;

/** Both ends are in it. */
export interface PortRange {
  readonly protocol: 'tcp' | 'udp';
  readonly first: number;
  readonly last: number;
}

/** Shared memory between VPP and a program in the pod, beside the device that Linux has. */
export interface PodMemif {
  readonly is_l3: boolean;
  /** What comes for the pod's addresses by these leads to it; none: nothing does, but all where it is `alone`. */
  readonly ports: readonly PortRange[];
  /** The device shows Linux the addresses, and nothing comes by it. */
  readonly alone?: true;
}

export interface PodSpec {
  readonly key: PodKey;
  readonly interface_name: string;
  /** Path of the pod's network namespace, at most 63 bytes. */
  readonly netns: string;
  readonly workload: Workload;
  /** Without length, canonical; at least one over both families. */
  readonly addresses: PerFamily<readonly string[]>;
  /** Canonical prefixes to route to the device inside the pod, of the families that the pod has. */
  readonly routes: readonly string[];
  /** Bytes as asked for by the plugin; 0: derive it from the uplink and the encapsulations in use. */
  readonly mtu: number;
  readonly allow_ip_forwarding: boolean;
  readonly host_ports: readonly HostPort[];
  /** Canonical prefixes that the pod may use as source beside its addresses, of the families that it has. */
  readonly allowed_source_prefixes: readonly string[];
  /** `Network` of a secondary interface; empty: the default network. */
  readonly network_name: string;
  readonly interface_spec: PodInterfaceSpec;
  /** `tun` carries IP alone (`interface_spec.is_l3`), `tap` Ethernet. */
  readonly interface_type: 'tun' | 'tap';
  readonly memif?: PodMemif;
  /** Programs of the pod may use VPP's host stack, and have the pod's addresses there. */
  readonly vcl?: true;
}

export function podKey(netns: string, interface_name: string): PodKey {
  return `netns:${netns},if:${interface_name}`;
}

/** The longest name that Kubernetes has. */
export const name_length_max = 253;

/** As Felix names its endpoint. */
export function endpointOf({ orchestrator, namespace, pod, endpoint }: Workload): string {
  return `${orchestrator} ${namespace}/${pod} ${endpoint}`;
}

/** How logs and answers name the interface of a pod. Bounded, whatever a request says. */
export function podName(workload: Pick<Workload, 'namespace' | 'pod'>, interface_name: string): string {
  return `pod ${short(workload.namespace)}/${short(workload.pod)} ${short(interface_name)}`;
}

/** How a DEL names it, which says nothing of the workload. */
export function sandboxName(netns: string, interface_name: string): string {
  return `pod ${short(netns)} ${short(interface_name)}`;
}

function short(name: string): string {
  return name.length <= name_length_max ? name : `${name.slice(0, name_length_max)}...`;
}

export function familiesOf(spec: Pick<PodSpec, 'addresses'>): readonly Family[] {
  return ([4, 6] as const).filter((family) => spec.addresses[`ip${family}`].length > 0);
}

/** All addresses, IPv4 first. */
export function addressesOf(spec: Pick<PodSpec, 'addresses'>): readonly string[] {
  return [...spec.addresses.ip4, ...spec.addresses.ip6];
}

/** Buffers of VPP that this interface takes from the pool for good: VPP fills its receive rings when it makes it. */
export function buffersNeeded({ interface_spec: spec }: Pick<PodSpec, 'interface_spec'>): number {
  return spec.rx_queues * spec.rx_ring_size;
}
