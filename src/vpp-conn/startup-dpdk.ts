/**
 * What uplinks of DPDK have in VPP's start-up file: VPP looks for its devices when it starts, and never again. Pure.
 *
 * Words: `dpdk_config`, `dpdk_device_config` of VPP 26.10, whose plugin refuses to start with any other.
 */
import {
  type Addition,
  insertLine,
  type Section,
  type StartupConfig,
  sectionOf,
  sections,
  tokensOf,
  wordsOf,
} from './startup-sections.js';

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
  /** Linux has its device, and the VPP that is started is not to find it. */
  readonly with_linux?: true;
}

const isOfDpdk = ({ driver }: DriverUplink): boolean => driver === 'dpdk';

/** Of DPDK, and VPP is to find it at its start. */
export const isGiven = (uplink: DriverUplink): boolean => isOfDpdk(uplink) && !uplink.with_linux;

/** By it the device is found again. */
const tagOf = ({ interface_name }: DriverUplink): string => `main-${interface_name}`;

/**
 * `uplinks`: all. Only those that VPP has been given are named: what the file names the plugin takes from Linux as well. Without any it takes every network
 * card whose interface it does not see up, and from VPP's namespace it sees none: then it is not there.
 */
export function withDpdk(
  config: StartupConfig,
  uplinks: readonly DriverUplink[],
  has_hugepages: boolean,
): StartupConfig {
  const given = uplinks.filter(isGiven);
  if (given.length === 0) return withoutDevices(config, uplinks);
  const others = uplinks.filter((uplink) => !given.includes(uplink));
  return withDevices(others.reduce(withoutDevice, config), given, has_hugepages);
}

/** The user's section names the device of an uplink that is not DPDK's, or not yet. */
function withoutDevice(
  config: StartupConfig,
  { interface_name, driver, pci_address = '' }: DriverUplink,
): StartupConfig {
  const { text, warnings } = config;
  const section = sectionOf(text, 'dpdk');
  const tokens = section === undefined ? [] : tokensOf(text, section);
  const at = tokens.findIndex(
    ({ word }, n) => tokens[n - 1]?.word === 'dev' && pci_address !== '' && isSameDevice(word, pci_address),
  );
  if (at < 0) return config;
  let depth = 0;
  // Its own block, if it has one, which may hold others (rss).
  const length = tokens.slice(at + 1).findIndex(({ word }) => {
    depth += word === '{' ? 1 : word === '}' ? -1 : 0;
    return depth <= 0;
  });
  const last = tokens[at + 1]?.word === '{' ? at + 1 + length : at;
  const { at: end, word } = tokens[last]!;
  const kept = `${text.slice(0, tokens[at - 1]!.at)}${text.slice(end + word.length)}`;
  const warning = `the template's dpdk section names the device of ${interface_name}, whose driver is another one: it is left out there; set vppDriver to dpdk, or take the device out of it`;
  return { ...config, text: kept, warnings: driver === 'dpdk' ? warnings : [...warnings, warning] };
}

function withDevices(
  config: StartupConfig,
  uplinks: readonly DriverUplink[],
  has_hugepages: boolean,
): StartupConfig {
  const names = uplinks.map(({ interface_name }) => interface_name).join(', ');
  const why = `${names} ${uplinks.length === 1 ? 'is a dpdk uplink' : 'are dpdk uplinks'}`;
  const enabled = isLoaded(config.text) ? config : turnPlugin(config, 'enable', why);
  const section = sectionOf(enabled.text, 'dpdk');
  if (section === undefined) return addSection(enabled, uplinks, has_hugepages, why);
  const words = wordsOf(enabled.text, section);
  const warnings = untagged(words, uplinks).map(
    (uplink) =>
      `the template's dpdk section has no device with "tag ${tagOf(uplink)}": add it to the device of ${uplink.interface_name}, or remove the section`,
  );
  return leaveOthers({ ...enabled, warnings: [...enabled.warnings, ...warnings] }, section);
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
    // Every 3 s by default: for so long VPP would send nothing by a link that is there, and all to one that has gone.
    'link-state-poll-interval 0.5',
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

/** A section of the user that is of no uplink is left: by it he makes what he names himself. */
function withoutDevices(config: StartupConfig, uplinks: readonly DriverUplink[]): StartupConfig {
  const section = sectionOf(config.text, 'dpdk');
  if (section === undefined) return disablePlugin(config);
  const words = wordsOf(config.text, section);
  const named = uplinks.filter((uplink) => !isOfDpdk(uplink) && hasDevice(words, uplink.pci_address ?? ''));
  // VPP does not start with a section that no plugin has asked for.
  if (uplinks.some(isOfDpdk) || named.length > 0) {
    const warnings = named.map(
      ({ interface_name }) =>
        `the template's dpdk section names the device of ${interface_name}, whose driver is another one: the section is left out; set vppDriver to dpdk, or take the device out of it`,
    );
    const quiet = disablePlugin({ ...config, text: withoutSection(config.text, section) });
    return { ...quiet, warnings: [...quiet.warnings, ...warnings] };
  }
  if (isLoaded(config.text)) return leaveOthers(config, section);
  const warning =
    'the template has a dpdk section, and the plugin is disabled: VPP does not start with that; take the section out';
  return { ...config, warnings: [...config.warnings, warning] };
}

const withoutSection = (text: string, { start, body_end }: Section): string =>
  `${text.slice(0, start)}${text.slice(body_end + 1)}`;

/** Where the section names no device the plugin looks for some itself. */
function leaveOthers(config: StartupConfig, section: Section): StartupConfig {
  const words = wordsOf(config.text, section);
  const missing = ['no-pci', 'no-vmbus'].filter((word) => !words.includes(word));
  if (devicesOf(words).length > 0 || missing.length === 0) return config;
  const why = 'it names no device, and VPP would take the network cards of Linux';
  return insertLine(config, section, missing.join(' '), why);
}

/** Names of these uplinks that a section of the user in this text has no device for. */
export function untaggedIn(text: string, uplinks: readonly DriverUplink[]): string[] {
  const section = sectionOf(text, 'dpdk');
  if (section === undefined) return [];
  const of_dpdk = uplinks.filter(isOfDpdk);
  return untagged(wordsOf(text, section), of_dpdk).map(({ interface_name }) => interface_name);
}

/** PCI addresses that a section of the user in this text names, as it spells them. Undefined: there is no such section. */
export function devicesIn(text: string): string[] | undefined {
  const section = sectionOf(text, 'dpdk');
  return section && devicesOf(wordsOf(text, section));
}

const devicesOf = (words: readonly string[]): string[] =>
  words.filter((word, at) => words[at - 1] === 'dev' && word !== 'default');

const hasDevice = (words: readonly string[], address: string): boolean =>
  address !== '' && devicesOf(words).some((word) => isSameDevice(word, address));

/** `unformat_vlib_pci_addr` takes it with or without leading zeros. */
export function isSameDevice(a: string, b: string): boolean {
  const [one, other] = [a, b].map((text) => text.toLowerCase().replaceAll(/\b0+(?=[0-9a-f])/g, ''));
  return one === other;
}

/** Those of which no device has the tag. */
const untagged = (words: readonly string[], uplinks: readonly DriverUplink[]): readonly DriverUplink[] =>
  uplinks.filter((uplink) => !words.some((word, at) => word === 'tag' && words[at + 1] === tagOf(uplink)));

const dpdk_plugin = 'dpdk_plugin.so';

/** What the template says of a plugin, or of all that it does not name. VPP reads all sections of that name as one, and refuses to be told twice. */
function switchOf(
  text: string,
  plugin: string,
): { readonly on: boolean; readonly start: number; readonly end: number } | undefined {
  for (const section of sections(text)) {
    if (section.name !== 'plugins') continue;
    const tokens = tokensOf(text, section);
    const first = tokens.findIndex(
      ({ word }, at) => word === 'plugin' && tokens[at + 1]?.word === plugin && tokens[at + 2]?.word === '{',
    );
    const length = tokens.slice(first).findIndex(({ word }) => word === '}');
    if (first < 0 || length < 0) continue;
    const said = tokens.slice(first, first + length).map(({ word }) => word);
    return {
      on: !said.includes('disable'),
      start: tokens[first]!.at,
      end: tokens[first + length]!.at + 1,
    };
  }
  return undefined;
}

/** As VPP would load it, where it has it. */
const isLoaded = (text: string): boolean =>
  (switchOf(text, dpdk_plugin) ?? switchOf(text, 'default'))?.on !== false;

function turnPlugin(config: StartupConfig, how: 'enable' | 'disable', why: string): StartupConfig {
  const line = `plugin ${dpdk_plugin} { ${how} }`;
  const said = switchOf(config.text, dpdk_plugin);
  const added: Addition = { section: 'plugins', text: line, why };
  if (said !== undefined) {
    const text = `${config.text.slice(0, said.start)}${line}${config.text.slice(said.end)}`;
    return { ...config, text, added: [...config.added, added] };
  }
  const plugins = sectionOf(config.text, 'plugins');
  if (plugins !== undefined) return insertLine(config, plugins, line, why);
  const whole = `plugins {\n  ${line}\n}\n`;
  return {
    ...config,
    text: `${config.text}\n${whole}`,
    added: [...config.added, { ...added, text: whole }],
  };
}

function disablePlugin(config: StartupConfig): StartupConfig {
  if (!isLoaded(config.text)) return config;
  const why = 'no uplink of dpdk is to be found, and its plugin would take the network cards of Linux';
  return turnPlugin(config, 'disable', why);
}
