/** What VPP's start-up file follows from, beside the template. */
import { availableParallelism } from 'node:os';
import type { Config } from '../config.js';
import { HOST_ROOTS, type HostRoots, hugepageBytes, memoryBytes } from '../host/devices/sysfs.js';
import { hasSmallBuffers, type StartupFacts } from '../vpp-conn/startup-config.js';

export function startupFacts(
  { vpp, pods, gates, paths }: Config,
  roots: HostRoots = HOST_ROOTS,
): StartupFacts {
  return {
    cpus: availableParallelism(),
    hugepages_bytes: hugepageBytes(roots),
    memory_bytes: memoryBytes('MemTotal'),
    pods_max: pods.count_max,
    pod_rx_buffers: pods.spec.rx_queues * pods.spec.rx_ring_size,
    core_dumps: vpp.core_pattern !== '',
    has_exec: vpp.exec_template !== '',
    vcl: gates.vcl,
    paths,
  };
}

/** Whether the start-up file of this node has VPP's buffers on pages of 4 KiB. */
export function smallBuffers(config: Config, roots?: HostRoots): boolean {
  return hasSmallBuffers(config.vpp.config_template, startupFacts(config, roots));
}
