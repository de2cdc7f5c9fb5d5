/**
 * The Linux side of a pod interface: the device that VPP's tap driver makes in the pod's network namespace. It is given what the pod
 * asks for by an ADD, and again when it was made anew. From then on it is the pod's, who may have changed it.
 */
import { isDeepStrictEqual } from 'node:util';
import { isHarmless, mtuOfNetwork, podChanges, podMtu, podSysctls, staleChanges } from '../desired/pod.js';
import { hostPrefix } from '../desired/tables.js';
import {
  type HostNetwork,
  isSameNamespace,
  type Link,
  type NamespaceId,
  type NetworkChange,
  type NetworkNamespace,
} from '../linux/network.js';
import type { PodNode } from '../messages/pod.js';
import type { GivenDevice, PodRecord } from '../pod/record.js';
import { addressesOf, type PodSpec } from '../pod/spec.js';
import { type PodNamespaces, tun_kind } from './pod-namespaces.js';

/** RT_SCOPE_LINK: Linux gives itself such an address, for IPv6. */
const link_scope = 253;

/** What Linux answers to the deletion of what is not there. */
const not_there: readonly string[] = ['ENOENT', 'ESRCH', 'EADDRNOTAVAIL'];

/** What of a device follows from the node. */
export interface DeviceLink {
  /** Bytes. */
  readonly mtu: number;
  /** See SoftwareChecksums. */
  readonly software_checksums: boolean | undefined;
}

export function deviceLink(spec: PodSpec, node: PodNode): DeviceLink {
  return { mtu: podMtu(spec, mtuOfNetwork(spec, node)), software_checksums: node.software_checksums };
}

export type Connected = { readonly mac?: string } | { readonly error: string };

/** `whole`: nothing of what the spec asks for is missing; otherwise some of it may be there. */
type Given = GivenDevice & { readonly spec: PodSpec; readonly whole: boolean };

export class PodDevice {
  readonly #host: HostNetwork;
  readonly #namespaces: PodNamespaces;
  #given: Given | undefined;
  /** What the pod was in an earlier life. */
  readonly #former: PodSpec | undefined;
  /** As it was before VPP took it up again. */
  #before: Link | undefined;

  constructor(host: HostNetwork, namespaces: PodNamespaces, record: PodRecord | undefined) {
    this.#host = host;
    this.#namespaces = namespaces;
    this.#former = record?.spec;
    if (record?.device !== undefined) this.#given = { ...record.device, spec: record.spec, whole: true };
  }

  /** What it was given for this spec, for the record. */
  given(spec: PodSpec): GivenDevice | undefined {
    if (!this.#given?.whole || !isDeepStrictEqual(this.#given.spec, spec)) return undefined;
    const { index, mtu, software_checksums } = this.#given;
    return { index, mtu, ...(software_checksums && { software_checksums }) };
  }

  /**
   * The namespace to connect a pod in, or why it cannot be, before anything is touched for it. `known`: the one it was connected in
   * before. `there`: its device is in it.
   */
  whereFor(
    spec: PodSpec,
    known: NamespaceId | undefined,
  ): { readonly namespace: NamespaceId; readonly there: boolean } | { readonly refusal: string } {
    const { netns } = spec;
    const namespace = this.#namespaces.at(netns);
    const refuse = (refusal: string) => ({ refusal });
    if (namespace === undefined)
      return refuse(`${netns} is no network namespace: the sandbox has gone, the runtime makes another`);
    if (this.#namespaces.isNodes(namespace))
      return refuse(
        `${netns} is the network namespace of the node itself: the container runtime has to pass the pod's`,
      );
    if (known !== undefined && !isSameNamespace(known, namespace))
      return refuse(`another network namespace stands at ${netns} now: retry`);
    try {
      const link = this.#within(spec, namespace, (inside) => this.#own(spec, inside));
      return { namespace, there: link !== undefined };
    } catch (error) {
      return refuse((error as Error).message);
    }
  }

  /** Takes off what the device was given and `spec` does not want. Throws with the object and the cause. */
  strip(spec: PodSpec, namespace: NamespaceId): void {
    const given = this.#given;
    if (given === undefined || isDeepStrictEqual(given.spec, spec)) return;
    this.#within(spec, namespace, (inside) => {
      const link = inside.link(spec.interface_name);
      if (link?.index !== given.index) return;
      apply(inside, staleChanges(given.spec, spec, link.index), (_change, code) => not_there.includes(code));
    });
    this.#given = undefined;
  }

  /** Sysctls, addresses, routes and MTU, as an ADD asks for them; can be repeated. */
  connect(spec: PodSpec, namespace: NamespaceId, wanted: DeviceLink): Connected {
    try {
      return this.#within(spec, namespace, (inside) => {
        const link = inside.link(spec.interface_name);
        // VPP has just made it, or `whereFor` has seen it.
        if (link?.kind !== tun_kind) throw notThere(spec);
        for (const { path, value } of podSysctls(spec)) {
          if (inside.readSysctl(path) !== value) inside.writeSysctl(path, value);
        }
        this.#give(inside, spec, link, wanted.mtu);
        this.#setChecksums(inside, link, wanted);
        return link.mac === undefined ? {} : { mac: link.mac };
      });
    } catch (error) {
      return { error: (error as Error).message };
    }
  }

  /** VPP is about to take up the device again that an earlier one has left, and sets its MTU and state. Throws like `keep`. */
  beforeVpp(spec: PodSpec, namespace: NamespaceId): void {
    this.#before = this.#within(spec, namespace, (inside) => this.#own(spec, inside));
  }

  /**
   * Sees that the device is there. One that is another than before gets what it lacks; on the one of before only the MTU follows
   * that of the node, where the pod has not chosen a smaller one. Throws with the object and the cause.
   */
  keep(spec: PodSpec, namespace: NamespaceId, link: DeviceLink): void {
    this.#within(spec, namespace, (inside) => {
      this.#keep(spec, inside, link.mtu);
      this.#setChecksums(inside, this.#device(spec, inside), link);
    });
  }

  #keep(spec: PodSpec, inside: NetworkNamespace, mtu: number): void {
    const link = this.#device(spec, inside);
    const given = this.#given;
    const before = this.#before;
    this.#before = undefined;
    const kept = given === undefined ? hasAll(spec, link, inside) : isGiven(given, spec, link);
    if (!kept) return this.#give(inside, spec, link, mtu);
    const back = before?.index === link.index ? before : link;
    const follows = given !== undefined && given.mtu !== mtu && (back.mtu === given.mtu || back.mtu > mtu);
    const wanted = { up: back.up, mtu: follows ? mtu : back.mtu };
    if (wanted.up !== link.up || wanted.mtu !== link.mtu)
      apply(inside, [{ do: 'set_link', link: link.index, ...wanted }], () => false);
    if (given?.mtu !== mtu)
      this.#given = { ...ofDevice(given, link.index), spec, index: link.index, mtu, whole: true };
  }

  /** They are given back to the device where they were taken from it, and else are the pod's matter. As long as nobody knows, they stay as they are. */
  #setChecksums(inside: NetworkNamespace, { name, index }: Link, link: DeviceLink): void {
    const given = this.#given;
    const software_checksums = link.software_checksums ?? given?.software_checksums ?? false;
    if (given?.index !== index || (!software_checksums && !given.software_checksums)) return;
    // Also where that was done: a VPP that takes the device up again sets its offloads anew.
    inside.setChecksums(name, !software_checksums);
    const { software_checksums: _, ...rest } = given;
    this.#given = { ...rest, ...(software_checksums && { software_checksums }) };
  }

  /**
   * Removes the device from the pod's namespace, before VPP lets go of it: VPP would stand still for as long as the kernel waits
   * for those who may still use it. Best effort, and never rejects: without it VPP's own removal costs its 20 ms, and what
   * a dead VPP has left dies with the namespace.
   */
  async drop(record: PodRecord, urgent: boolean): Promise<void> {
    try {
      const namespace = this.#namespaces.of(record);
      const { spec } = record;
      if (namespace === undefined) return;
      const link = this.#within(spec, namespace, (inside) => this.#own(spec, inside));
      this.#given = undefined;
      if (link !== undefined) await this.#host.removeTun(spec.netns, link.index, namespace, urgent);
    } catch {
      // The namespace is on its way out, the runtime was quicker, the kernel takes too long, or the device is another's.
    }
  }

  #give(inside: NetworkNamespace, spec: PodSpec, { index }: Link, mtu: number): void {
    const given = this.#given;
    const stale = given?.index === index ? staleChanges(given.spec, spec, index) : [];
    apply(inside, stale, (_change, code) => not_there.includes(code));
    const kept = ofDevice(given, index);
    this.#given = { ...kept, spec, index, mtu, whole: false };
    apply(inside, podChanges(spec, index, mtu), isHarmless);
    this.#given = { ...kept, spec, index, mtu, whole: true };
  }

  /** Throws where VPP's device is not there. */
  #device(spec: PodSpec, inside: NetworkNamespace): Link {
    const link = this.#own(spec, inside);
    if (link !== undefined) return link;
    throw notThere(spec);
  }

  /** The pod's device, as VPP makes it, or as one that died has left it: VPP attaches to that. Throws where another stands in its place. */
  #own(spec: PodSpec, inside: NetworkNamespace): Link | undefined {
    const link = inside.link(spec.interface_name);
    if (link === undefined || this.#isOwn(spec, link, inside)) return link;
    throw new Error(
      `${spec.interface_name} is already in ${spec.netns} (a ${link.kind ?? 'physical'} device): ` +
        'remove the other CNI plugin, network or program that made it',
    );
  }

  /** A tun is anybody's. Ours is the one that was given its addresses, or has one of the pod's, or has not been given any yet. */
  #isOwn(spec: PodSpec, { kind, index }: Link, inside: NetworkNamespace): boolean {
    if (kind !== tun_kind) return false;
    const given = this.#given;
    if (given?.index === index) return true;
    const specs = [spec, given?.spec, this.#former].flatMap((known) => known ?? []);
    const own = new Set(specs.flatMap(addressesOf).map(hostPrefix));
    const there = inside.addresses(index).filter(({ scope }) => scope !== link_scope);
    return there.length === 0 || there.some(({ prefix }) => own.has(prefix));
  }

  #within<T>({ netns }: PodSpec, id: NamespaceId, run: (inside: NetworkNamespace) => T): T {
    const inside = this.#host.open(netns, id);
    try {
      return run(inside);
    } finally {
      inside.close();
    }
  }
}

/** What stays so as long as it is the same device. */
function ofDevice(given: Given | undefined, index: number): Pick<GivenDevice, 'software_checksums'> {
  return given?.index === index && given.software_checksums ? { software_checksums: true } : {};
}

function notThere({ netns, interface_name }: PodSpec): Error {
  return new Error(`${interface_name} is not in ${netns}, although VPP made it: delete the pod`);
}

function isGiven(given: Given, spec: PodSpec, link: Link): boolean {
  return given.whole && given.index === link.index && isDeepStrictEqual(given.spec, spec);
}

/** An earlier release has given it what the pod asks for. */
function hasAll(spec: PodSpec, link: Link, inside: NetworkNamespace): boolean {
  const there = new Set(inside.addresses(link.index).map(({ prefix }) => prefix));
  return addressesOf(spec).every((address) => there.has(hostPrefix(address)));
}

function apply(
  inside: NetworkNamespace,
  changes: readonly NetworkChange[],
  tolerated: (change: NetworkChange, code: string) => boolean,
): void {
  for (const [at, error] of inside.batch(changes).entries()) {
    if (error !== undefined && !tolerated(changes[at]!, error.code)) throw error;
  }
}
