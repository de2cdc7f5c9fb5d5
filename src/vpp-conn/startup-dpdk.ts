/**
 * What uplinks of DPDK have in VPP's start-up file: VPP looks for its devices when it starts, and never again. Pure.
 *
 * Words: `dpdk_config`, `dpdk_device_config` of VPP 26.10, whose plugin refuses to start with any other.
 */
import { type Addition, type StartupConfig, sectionOf, valueIn, wordsOf } from './startup-config.js';

export interface DriverUplink {
  readonly interface_name: string;
  readonly driver?: string;
  /** Absent or empty: it is on no PCI bus, or not known. */
  readonly pci_address?: string;
  /** It reads and writes what it is told past the IOMMU that it has. */
  readonly past_iommu?: boolean;
  readonly rx_queues: number;
  readonly tx_queues: number;
  readonly rx_ring_size: number;
  readonly tx_ring_size: number;
}

/** By it the device is found again. */
const tagOf = ({ interface_name }: DriverUplink): string => `main-${interface_name}`;

const disabled = /(plugin\s+dpdk_plugin\.so\s*\{\s*)disable(\s*\})/;

/** `uplinks`: those of DPDK that VPP has been given: a device that Linux still has the plugin would take from it. */
export function withDpdk(
  config: StartupConfig,
  uplinks: readonly DriverUplink[],
  has_hugepages: boolean,
): StartupConfig {
  if (uplinks.length === 0) return config;
  const names = uplinks.map(({ interface_name }) => interface_name).join(', ');
  const why = `${names} ${uplinks.length === 1 ? 'is a dpdk uplink' : 'are dpdk uplinks'}`;
  const enabled = enablePlugin(config, why);
  const section = sectionOf(enabled.text, 'dpdk');
  if (section === undefined) return addSection(enabled, uplinks, has_hugepages, why);
  const words = wordsOf(enabled.text, section);
  const untagged = uplinks.filter((uplink) => !hasTag(words, tagOf(uplink)));
  return {
    ...enabled,
    warnings: [
      ...enabled.warnings,
      ...untagged.map(
        (uplink) =>
          `the template's dpdk section has no device with "tag ${tagOf(uplink)}": add it to the device of ${uplink.interface_name}, or remove the section`,
      ),
    ],
  };
}

const hasTag = (words: readonly string[], tag: string): boolean =>
  words.some((word, at) => word === 'tag' && words[at + 1] === tag);

function enablePlugin(config: StartupConfig, why: string): StartupConfig {
  const text = config.text.replace(disabled, '$1enable$2');
  if (text !== config.text) {
    const added: Addition = { section: 'plugins', text: 'plugin dpdk_plugin.so { enable }', why };
    return { ...config, text, added: [...config.added, added] };
  }
  const plugins = sectionOf(config.text, 'plugins');
  const is_off =
    plugins !== undefined &&
    valueIn(wordsOf(config.text, plugins), 'default') === '{' &&
    /plugin\s+default\s*\{\s*disable\s*\}/.test(config.text) &&
    !/dpdk_plugin\.so\s*\{\s*enable/.test(config.text);
  if (!is_off) return config;
  const warning =
    'the template\'s plugins section disables all but those that it names, and not dpdk_plugin.so: add "plugin dpdk_plugin.so { enable }"';
  return { ...config, warnings: [...config.warnings, warning] };
}

function addSection(
  config: StartupConfig,
  uplinks: readonly DriverUplink[],
  has_hugepages: boolean,
  why: string,
): StartupConfig {
  const known = uplinks.filter(({ pci_address = '' }) => pci_address !== '');
  const unknown = uplinks.filter((uplink) => !known.includes(uplink));
  const warnings = [
    ...config.warnings,
    ...unknown.map(({ interface_name }) => `${interface_name} is on no PCI bus: DPDK has no device of it`),
  ];
  if (known.length === 0) return { ...config, warnings };
  const lines = [
    ...addressing(known, has_hugepages),
    ...known.flatMap((uplink) => [
      `dev ${uplink.pci_address} {`,
      `  num-rx-queues ${uplink.rx_queues}`,
      `  num-tx-queues ${uplink.tx_queues}`,
      `  num-rx-desc ${uplink.rx_ring_size}`,
      `  num-tx-desc ${uplink.tx_ring_size}`,
      `  tag ${tagOf(uplink)}`,
      '}',
    ]),
  ];
  const text = `dpdk {\n${lines.map((line) => `  ${line}\n`).join('')}}\n`;
  return {
    text: `${config.text}\n${text}`,
    added: [...config.added, { section: 'dpdk', text, why }],
    warnings,
  };
}

/**
 * Where an IOMMU is DPDK gives devices virtual addresses, unless it is told otherwise. To one that goes past the IOMMU they are physical ones, and whatever is
 * there is overwritten. Without hugepages it knows of no others, which needs an IOMMU.
 */
function addressing(uplinks: readonly DriverUplink[], has_hugepages: boolean): string[] {
  if (!has_hugepages) return ['iova-mode va', 'no-hugetlb'];
  return uplinks.some(({ past_iommu }) => past_iommu) ? ['iova-mode pa'] : [];
}
