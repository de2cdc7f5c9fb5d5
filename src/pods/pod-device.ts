/** The Linux side of a pod interface: the device that VPP's tap driver makes in the pod's network namespace. */
import { isHarmless, podChanges, podSysctls, staleChanges } from '../desired/pod.js';
import type { HostNetwork, Link, NetworkChange, NetworkNamespace } from '../linux/network.js';
import type { PodSpec } from '../pod/spec.js';

type PodDevice = Pick<PodSpec, 'netns' | 'interface_name'>;

/** Kind of the devices of /dev/net/tun, whatever they carry. */
const tun_kind = 'tun';
/** What Linux answers to the deletion of what is not there. */
const not_there: readonly string[] = ['ENOENT', 'ESRCH', 'EADDRNOTAVAIL'];

/** Why a pod cannot be connected, before anything is touched for it. `made`: VPP has its device already. */
export function whyNot(host: HostNetwork, pod: PodDevice, made: boolean): string | undefined {
  if (!host.exists(pod.netns)) {
    return `${pod.netns} is no network namespace: the sandbox has gone, the runtime makes another`;
  }
  if (made) return undefined;
  try {
    return within(host, pod, (namespace) => inTheWay(pod, namespace.link(pod.interface_name)));
  } catch (error) {
    return (error as Error).message;
  }
}

/** A tun or tap may be ours, left by a VPP that died: VPP attaches to it. */
function inTheWay(pod: PodDevice, link: Link | undefined): string | undefined {
  if (link === undefined || link.kind === tun_kind) return undefined;
  return (
    `${pod.interface_name} is already in ${pod.netns} (a ${link.kind ?? 'physical'} device): ` +
    'remove the other CNI plugin or network that made it'
  );
}

/**
 * Addresses, routes and sysctls in the pod's namespace; can be repeated. `before`: what the pod was until now. Answers the
 * device's MAC, if it has one. Throws with the object and the cause.
 */
export function programDevice(
  host: HostNetwork,
  spec: PodSpec,
  mtu: number,
  before?: PodSpec,
): { readonly mac?: string } {
  return within(host, spec, (namespace) => {
    const link = namespace.link(spec.interface_name);
    if (link === undefined) {
      throw new Error(`${spec.interface_name} is not in ${spec.netns}, although VPP made it: delete the pod`);
    }
    for (const { path, value } of podSysctls(spec)) {
      if (namespace.readSysctl(path) !== value) namespace.writeSysctl(path, value);
    }
    const stale = before === undefined ? [] : staleChanges(before, spec, link.index);
    apply(namespace, stale, (_change, code) => not_there.includes(code));
    apply(namespace, podChanges(spec, link.index, mtu), isHarmless);
    return link.mac === undefined ? {} : { mac: link.mac };
  });
}

/**
 * Removes the device from the namespace, before VPP lets go of it: VPP would stand still for as long as the kernel waits
 * for those who may still use it. Best effort, and never rejects: without it VPP's own removal costs its 20 ms, and what
 * a dead VPP has left dies with the namespace.
 */
export async function dropDevice(
  host: Pick<HostNetwork, 'removeTun'>,
  pod: PodDevice,
  urgent: boolean,
): Promise<void> {
  try {
    await host.removeTun(pod.netns, pod.interface_name, urgent);
  } catch {
    // The namespace is on its way out, the runtime was quicker, or the kernel takes too long.
  }
}

function within<T>(host: HostNetwork, pod: PodDevice, run: (namespace: NetworkNamespace) => T): T {
  const namespace = host.open(pod.netns);
  try {
    return run(namespace);
  } finally {
    namespace.close();
  }
}

function apply(
  namespace: NetworkNamespace,
  changes: readonly NetworkChange[],
  tolerated: (change: NetworkChange, code: string) => boolean,
): void {
  for (const [at, error] of namespace.batch(changes).entries()) {
    if (error !== undefined && !tolerated(changes[at]!, error.code)) throw error;
  }
}
