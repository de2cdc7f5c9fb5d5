/** What VPP's start-up file follows from, beside the template. */
import { existsSync, realpathSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { substitute } from '../config/placeholders.js';
import type { Config } from '../config.js';
import type { MachineFacts } from '../host/devices/pci-facts.js';
import { HOST_ROOTS, type HostRoots, hugepageBytes, memoryBytes, namesIn } from '../host/devices/sysfs.js';
import { hasSmallBuffers, type StartupFacts } from '../vpp-conn/startup-config.js';
import { devicesIn, untaggedIn } from '../vpp-conn/startup-dpdk.js';
import { wordsIn } from '../vpp-conn/startup-sections.js';

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

/** What VPP and its start-up file have that drivers of uplinks are judged by. */
export function vppFacts(
  config: Config,
  roots?: HostRoots,
): Pick<MachineFacts, 'small_buffers' | 'has_dpdk' | 'untagged' | 'dpdk_devices'> {
  const { config_template: template, exec_template, binary } = config.vpp;
  const uplinks = config.uplinks.map(({ interface_name }) => interface_name);
  const facts = { uplinks, first_cpu: '', node_annotations: {} };
  const { text } = substitute(template ?? '', facts);
  const { text: commands } = substitute(exec_template, facts);
  const has_dpdk = hasPlugin('dpdk_plugin.so', binary, text);
  const dpdk_devices = devicesIn(text);
  return {
    ...(dpdk_devices !== undefined && { dpdk_devices }),
    small_buffers: hasSmallBuffers(template, startupFacts(config, roots)),
    ...(has_dpdk !== undefined && { has_dpdk }),
    // What the API server has to be asked for is not known here.
    untagged: /\btag\s+\S*__/.test(text)
      ? []
      : untaggedIn(text, config.uplinks).filter(
          (name) => !/\btag\b/.test(commands) || !commands.includes(name),
        ),
  };
}

/** Where VPP looks for its plugins: beside its program, or where its start-up file says. Undefined: nothing is known of its plugins. */
export function hasPlugin(name: string, binary: string, template: string): boolean | undefined {
  const words = wordsIn(template, 'plugins');
  const paths = (word: string): string[] =>
    words.flatMap((each, at) => (each === word ? (words[at + 1] ?? '').split(':') : []));
  const own = paths('path');
  const directories = [...(own.length > 0 ? own : besides(binary)), ...paths('add-path')];
  const known = directories.filter((directory) =>
    namesIn(directory).some((file) => file.endsWith('_plugin.so')),
  );
  return known.length === 0 ? undefined : known.some((directory) => existsSync(join(directory, name)));
}

function besides(binary: string): string[] {
  try {
    const prefix = dirname(dirname(realpathSync(binary)));
    return ['lib', 'lib64', ...namesIn(join(prefix, 'lib')).map((name) => join('lib', name))].map((place) =>
      join(prefix, place, 'vpp_plugins'),
    );
  } catch {
    return [];
  }
}
