/**
 * The built-in hooks: what NetworkManager, systemd-networkd and udev must be told because a tap takes the place of the uplink,
 * under its name and MAC. Pure: facts about the host in, changes and their undo steps out.
 *
 * What is written are files of our own beside those of the administrator, below `/run` where that can be: they vanish with the boot, as
 * the tap does, and `/etc` may be read-only. Undoing is removing them. All undo goes through the journal, also after a normal
 * end: the two ending points have nothing left to do.
 */
import type { HookPoint } from '../../config.js';
import type { UndoStep } from '../undo/undo-step.js';
import { iniSections, iniText, keyOf } from './ini.js';
import { NETWORK_SERVICES, type NetworkService } from './network-service.js';
import type { TapConnection } from './tap-connection.js';

const net_name_properties = [
  'ID_NET_NAME_ONBOARD',
  'ID_NET_NAME_SLOT',
  'ID_NET_NAME_PATH',
  'ID_NET_NAME_MAC',
] as const;

export interface UplinkFacts {
  readonly name: string;
  readonly mac?: string;
  /** `ID_NET_NAME_*`: names that udev derives from where the device sits. A tap has none; systemd-networkd derives the DHCPv6 IAID from them. */
  readonly net_names: Readonly<Record<string, string>>;
  /** An address with a limited life: leased by DHCP or learned from a router. */
  readonly has_lease: boolean;
  /** One of IPv6. */
  readonly has_lease6?: boolean;
  /** Text of the .network file, with its drop-ins behind it, by which systemd-networkd manages the device. Absent: it does not. */
  readonly network_file?: string;
  /** Name of that file, without its drop-ins. */
  readonly network_file_name?: string;
  /** Names of the .netdev files by which systemd-networkd makes a device of this name: a VLAN, a bond. */
  readonly netdev_file_names?: readonly string[];
  /** UUID of the connection of NetworkManager that is active on the device. */
  readonly connection?: string;
  /** For the tap, where that one has leased the address: see tap-connection.ts. */
  readonly tap_connection?: TapConnection;
  /** Name servers and search domains of the link in systemd-resolved. */
  readonly resolved?: { readonly servers: readonly string[]; readonly domains: readonly string[] };
}

/** Where files of our own are put. */
export type FilesBase = '/run' | '/etc';

/** The host before the take-over. */
export interface HostFacts {
  /** The host's files are nowhere: nothing of its services is known, and nothing will be done. */
  readonly unreachable?: true;
  /** Where the host's files are, without a closing slash: empty in the host itself. */
  readonly root: string;
  /** The first of them looks after the uplink. */
  readonly active: readonly NetworkService[];
  readonly has_udev: boolean;
  /** The host can write packets anew. */
  readonly has_nft?: boolean;
  /** NetworkManager leaves resolv.conf alone already. */
  readonly dns_none: boolean;
  /** Questions that were not answered in time: what they would have told is missing here. */
  readonly unanswered?: readonly string[];
  /** Absent: neither place can be written. */
  readonly files_base?: FilesBase;
  readonly uplinks: readonly UplinkFacts[];
}

export type HostChange =
  | { readonly do: 'write_file'; readonly path: string; readonly content: string; readonly mode: number }
  | { readonly do: 'run_command'; readonly argv: readonly string[]; readonly timeout_ms: number };

export interface HookPlan {
  /** In this order. Each stands alone: a failed one does not stop the next. */
  readonly changes: readonly HostChange[];
  /** To be recorded before the first change. They are taken from the end. */
  readonly undo: readonly UndoStep[];
}

const nothing: HookPlan = { changes: [], undo: [] };

const join = (...plans: readonly HookPlan[]): HookPlan => ({
  changes: plans.flatMap(({ changes }) => changes),
  undo: plans.flatMap(({ undo }) => undo),
});

/** A command as the host runs it: an argument vector, never a line for a shell. */
export function onHost(root: string, ...argv: readonly string[]): readonly string[] {
  return root === '' ? argv : ['chroot', root, ...argv];
}

const command_timeout_ms = 20_000;

const run = (facts: HostFacts, ...argv: string[]): HostChange => ({
  do: 'run_command',
  argv: onHost(facts.root, ...argv),
  timeout_ms: command_timeout_ms,
});

const undoRun = (facts: HostFacts, after_boot: boolean, ...argv: string[]): UndoStep => ({
  kind: 'run_command',
  argv: onHost(facts.root, ...argv),
  timeout_ms: command_timeout_ms,
  after_boot,
});

/** A file that nobody else writes: undone by removing it. Nothing where none can be written. */
function ownFile({ root, files_base }: HostFacts, file: string, content: string, mode = 0o644): HookPlan {
  if (files_base === undefined) return nothing;
  const path = `${root}${files_base}/${file}`;
  return {
    changes: [{ do: 'write_file', path, content, mode }],
    undo: [{ kind: 'write_file', path, content: null, mode, ...(root !== '' && { root }) }],
  };
}

/** Must a service be told after a restart of the machine that our file is gone? With `/run` it went before the service began. */
const outlivesBoot = ({ files_base }: HostFacts): boolean => files_base === '/etc';

const by_us = '# Written by calico-vpp-node while VPP holds the uplink. It is removed when VPP ends.\n';

/** Files in conf.d outrank NetworkManager.conf. Without this, resolv.conf is emptied when the uplink vanishes. */
export const dns_file = 'NetworkManager/conf.d/99-calico-vpp.conf';
const rules_file = 'udev/rules.d/99-vpp-restore-id_net_name.rules';
/** udev takes the first .link file that matches. */
const tap_link_file = 'systemd/network/00-calico-vpp-tap.link';
const connectionFile = (name: string): string =>
  `NetworkManager/system-connections/calico-vpp-${name}.nmconnection`;
const networkFile = (name: string): string => `systemd/network/00-calico-vpp-${name}.network`;

/** The properties go to what has the uplink's MAC and is no VLAN, bridge or bond above it (those have a device type). */
export function udevRules(uplinks: readonly UplinkFacts[]): string {
  const lines = uplinks.flatMap(({ mac, net_names }) => {
    const names = Object.entries(net_names);
    if (mac === undefined || names.length === 0) return [];
    const match = ['SUBSYSTEM=="net"', `ATTR{address}=="${mac}"`, 'ENV{DEVTYPE}==""'];
    return [`${[...match, ...names.map(([key, value]) => `ENV{${key}}:="${value}"`)].join(', ')}\n`];
  });
  return lines.length === 0 ? '' : by_us + lines.join('');
}

/** udev would give a fresh tap a MAC of its own choice, at times after VPP has set the right one. */
const tap_link = `${by_us}[Match]\nDriver=tun\n\n[Link]\nNamePolicy=keep\nMACAddressPolicy=none\n`;

/** Keys of `[Match]` that a tap of the same name and MAC meets as the device did. */
const tap_meets: readonly string[] = [
  'Name',
  'MACAddress',
  'Host',
  'Virtualization',
  'KernelCommandLine',
  'KernelVersion',
  'Architecture',
  'Firmware',
];

/** Does this .network file, which manages the device, still apply when a tap has its place? */
export function appliesToTap(network_file: string): boolean {
  const match = iniSections(network_file).filter(({ name }) => name === 'Match');
  return match.every(({ lines }) => lines.every((line) => tap_meets.includes(keyOf(line))));
}

/** The same settings for whatever has this name. */
export function networkFileByName(network_file: string, name: string): string {
  const rest = iniSections(network_file).filter((section) => section.name !== 'Match');
  return by_us + iniText([{ name: 'Match', lines: [`Name=${name}`] }, ...rest]);
}

/** Does a NetworkManager configuration keep it from writing resolv.conf? */
export function saysDnsNone(config: string): boolean {
  const main = iniSections(config).filter(({ name }) => name === 'main');
  const dns = main.flatMap(({ lines }) => lines).findLast((line) => keyOf(line) === 'dns');
  return dns !== undefined && /^dns\s*=\s*none$/.test(dns);
}

const linkPath = ({ name }: UplinkFacts): string => `/sys/class/net/${name}`;

/** One backend manages the uplink; starting it anew makes it take the tap, or the device that is back, for its own. */
const restarts: Readonly<Record<NetworkService, (uplinks: readonly UplinkFacts[]) => readonly string[][]>> = {
  // Only the uplinks' events: those of all devices take a machine with many of them seconds.
  'systemd-networkd': (uplinks) => [
    ['udevadm', 'trigger', '--action=add', ...uplinks.map(linkPath)],
    ['udevadm', 'settle', '--timeout=5'],
    ['systemctl', 'restart', 'systemd-networkd'],
  ],
  NetworkManager: () => [['systemctl', 'restart', 'NetworkManager']],
  networking: () => [['systemctl', 'restart', 'networking']],
  network: () => [['systemctl', 'restart', 'network']],
};

const backendOf = (facts: HostFacts): NetworkService | undefined =>
  NETWORK_SERVICES.find((name) => facts.active.includes(name));

/** To systemd-resolved, for a link whose servers nobody else tells it. */
const resolvedSettings = ({ name, resolved }: UplinkFacts): readonly string[][] =>
  resolved === undefined
    ? []
    : [
        ['resolvectl', 'dns', name, ...resolved.servers],
        ...(resolved.domains.length > 0 ? [['resolvectl', 'domain', name, ...resolved.domains]] : []),
      ];

/** systemd-networkd tells systemd-resolved itself, and lets nobody else do it. */
const forgottenServers = (facts: HostFacts): readonly string[][] =>
  backendOf(facts) === 'NetworkManager' ? facts.uplinks.flatMap(resolvedSettings) : [];

/** Less than the limit of the command itself. */
const activation_timeout_s = 15;

/**
 * NetworkManager finds the device with its addresses, takes them for somebody else's and renews none: the connection that was active has
 * to be told.
 */
const activations = ({ uplinks }: HostFacts): readonly string[][] =>
  uplinks.flatMap(({ name, connection }) => (connection === undefined ? [] : [activation(connection, name)]));

const activation = (uuid: string, name: string): string[] => [
  ...['nmcli', '--wait', `${activation_timeout_s}`, 'connection', 'up', 'uuid', uuid, 'ifname', name],
];

/**
 * What the backend is told when the uplink is back. Recorded before anything else, hence undone last, and whoever does the rest of the
 * hooks. After a restart of the machine the backend has been started anew anyhow.
 */
export function planGiveBack(facts: HostFacts): HookPlan {
  const backend = backendOf(facts);
  if (!backend) return nothing;
  const commands = [
    ...restarts[backend](facts.uplinks),
    ...forgottenServers(facts),
    ...(backend === 'NetworkManager' ? activations(facts) : []),
  ];
  return { changes: [], undo: commands.map((argv) => undoRun(facts, false, ...argv)).reverse() };
}

function planDns(facts: HostFacts): HookPlan {
  if (!facts.active.includes('NetworkManager') || facts.dns_none) return nothing;
  const file = ownFile(facts, dns_file, `${by_us}[main]\ndns=none\n`);
  if (file === nothing) return nothing;
  const restart = ['systemctl', 'restart', 'NetworkManager'];
  return join({ changes: [], undo: [undoRun(facts, outlivesBoot(facts), ...restart)] }, file, {
    changes: [run(facts, ...restart)],
    undo: [],
  });
}

/** Before the tap exists, so that its "add" event gets the properties. */
function planUdev(facts: HostFacts, net_name_rules: boolean): HookPlan {
  if (!facts.has_udev || facts.files_base === undefined) return nothing;
  const rules = net_name_rules ? udevRules(facts.uplinks) : '';
  const reload = ['udevadm', 'control', '--reload'];
  const trigger = ['udevadm', 'trigger', '--action=change', ...facts.uplinks.map(linkPath)];
  return join(
    {
      changes: [],
      undo: [undoRun(facts, outlivesBoot(facts), ...trigger), undoRun(facts, outlivesBoot(facts), ...reload)],
    },
    rules === '' ? nothing : ownFile(facts, rules_file, rules),
    ownFile(facts, tap_link_file, tap_link),
    { changes: [run(facts, ...reload)], undo: [] },
  );
}

const secret = 0o600;

/** NetworkManager reads them as it begins. It takes none that others can read. */
const tapConnectionFiles = (facts: HostFacts): HookPlan[] =>
  facts.uplinks.flatMap(({ name, tap_connection }) =>
    tap_connection === undefined ? [] : [ownFile(facts, connectionFile(name), tap_connection.text, secret)],
  );

const renewals = (facts: HostFacts): HookPlan => ({
  changes: facts.uplinks.flatMap(({ name, tap_connection }) =>
    tap_connection === undefined ? [] : [run(facts, ...activation(tap_connection.uuid, name))],
  ),
  undo: [],
});

/** Values of `DNS=` below `[Network]`. */
function serversIn(network_file: string): string[] {
  return iniSections(network_file)
    .filter(({ name }) => name === 'Network')
    .flatMap(({ lines }) => lines)
    .filter((line) => keyOf(line) === 'DNS')
    .flatMap((line) =>
      line
        .slice(line.indexOf('=') + 1)
        .trim()
        .split(/\s+/),
    );
}

/**
 * A router may name servers in its advertisements (RFC 8106), which VPP neither hears nor repeats: what the link had by IPv6 is written
 * beside its configuration. A server that comes by DHCP as well is there once.
 */
function planServers(facts: HostFacts): HookPlan {
  const plans = facts.uplinks.map((uplink) => {
    const { name, network_file = '', network_file_name, has_lease, resolved } = uplink;
    const configured = serversIn(network_file);
    const lost = (resolved?.servers ?? []).filter(
      (server) => server.includes(':') && !configured.includes(server),
    );
    if (!has_lease || network_file_name === undefined || lost.length === 0) return nothing;
    const file = appliesToTap(network_file) ? `systemd/network/${network_file_name}` : networkFile(name);
    const lines = lost.map((server) => `DNS=${server}\n`).join('');
    return ownFile(facts, `${file}.d/calico-vpp-servers.conf`, `${by_us}[Network]\n${lines}`);
  });
  return join(...plans);
}

/** A word that is on the command line of no kernel. */
const never = '[Match]\nKernelCommandLine=calico-vpp-has-no-such-word\n';

/**
 * systemd-networkd leaves a device alone whose name a .netdev file has for another kind (seen with 252: `Mismatching netdev kind`): the tap of a
 * VLAN or a bond would lease nothing and have no servers. The file does not apply while VPP has the uplink.
 */
const planNetdevs = (facts: HostFacts): HookPlan =>
  join(
    ...facts.uplinks.flatMap(({ netdev_file_names = [] }) =>
      netdev_file_names.map((file) =>
        ownFile(facts, `systemd/network/${file}.d/calico-vpp.conf`, by_us + never),
      ),
    ),
  );

/** Does a .netdev file make the device of this name? */
export function makesDevice(netdev_file: string, name: string): boolean {
  const lines = iniSections(netdev_file)
    .filter((section) => section.name === 'NetDev')
    .flatMap((section) => section.lines);
  const value = lines.findLast((line) => keyOf(line) === 'Name')?.split('=')[1];
  return value?.trim() === name;
}

const nft_table = 'ip6 calico_vpp_dhcp6';

/**
 * DHCPv6 clients send to a group of the link with hop limit 1, as is usual there, and VPP, which forwards it, takes one off. Two leave it one.
 */
function planDhcp6(facts: HostFacts): HookPlan {
  const names = facts.uplinks.filter(({ has_lease6 }) => has_lease6).map(({ name }) => `"${name}"`);
  if (!facts.has_nft || names.length === 0) return nothing;
  const rule = `oifname { ${names.join(', ')} } ip6 daddr ff02::1:2 udp dport 547 ip6 hoplimit set 2`;
  const chain = `chain out { type filter hook postrouting priority -150; ${rule}; };`;
  const table = `table ${nft_table}; delete table ${nft_table}; table ${nft_table} { ${chain} }`;
  return {
    changes: [run(facts, 'nft', table)],
    undo: [undoRun(facts, false, 'nft', `table ${nft_table}; delete table ${nft_table}`)],
  };
}

/** A leased address would run out if networkd did not take the tap for the uplink. */
function planRunning(facts: HostFacts): HookPlan {
  return join(planDhcp6(facts), planTap(facts));
}

function planTap(facts: HostFacts): HookPlan {
  const backend = backendOf(facts);
  if (!backend) return nothing;
  const commands = [...restarts[backend](facts.uplinks), ...forgottenServers(facts)];
  const restart: HookPlan = { changes: commands.map((argv) => run(facts, ...argv)), undo: [] };
  if (backend === 'NetworkManager') return join(...tapConnectionFiles(facts), restart, renewals(facts));
  if (backend !== 'systemd-networkd') return restart;
  const files = join(planNetdevs(facts), planServers(facts));
  const lost = facts.uplinks.filter(
    ({ has_lease, network_file }) => has_lease && network_file !== undefined && !appliesToTap(network_file),
  );
  if (lost.length === 0 || facts.files_base === undefined) return join(files, restart);
  return join(
    { changes: [], undo: [undoRun(facts, outlivesBoot(facts), 'systemctl', 'restart', 'systemd-networkd')] },
    ...lost.map(({ name, network_file }) =>
      ownFile(facts, networkFile(name), networkFileByName(network_file!, name)),
    ),
    files,
    restart,
  );
}

/** What the built-in hook does at one point. `net_name_rules`: the udev rules for the names of the device are wanted. */
export function planHook(point: HookPoint, facts: HostFacts, net_name_rules: boolean): HookPlan {
  switch (point) {
    case 'BEFORE_VPP_RUN':
      return join(planDns(facts), planUdev(facts, net_name_rules));
    case 'VPP_RUNNING':
      return planRunning(facts);
    // An uplink that is not fit for it yet is looked at again and again: nothing of the host is touched before.
    case 'BEFORE_IF_READ':
    case 'VPP_DONE_OK':
    case 'VPP_ERRORED':
      return nothing;
  }
}

/** The names among the properties that udev gave a link. A quote or a backslash cannot stand in a rule, and no name has one. */
export function netNames(properties: ReadonlyMap<string, string>): Record<string, string> {
  const names = net_name_properties.flatMap((key): [string, string][] => {
    const value = properties.get(key) ?? '';
    return /^[\w.:@-]+$/.test(value) ? [[key, value]] : [];
  });
  return Object.fromEntries(names);
}

/** Paths behind "Network File:" of `networkctl status <device>`: the file, then its drop-ins, each on a line of its own. */
export function networkFilePaths(status: string): string[] {
  const lines = status.split('\n');
  const first = lines.findIndex((line) => /^\s*Network File:/.test(line));
  if (first < 0) return [];
  const paths = [lines[first]!.slice(lines[first]!.indexOf(':') + 1).trim()];
  for (const line of lines.slice(first + 1)) {
    const path = line.trim().replace(/^[├└]─/, '');
    if (!/^\/\S*$/.test(path)) break;
    paths.push(path);
  }
  return paths.filter((path) => path.startsWith('/'));
}

export interface ActiveConnection {
  readonly uuid: string;
  /** Where its profile is, as the host calls it. Empty: nowhere. */
  readonly path: string;
}

/** By device, of `nmcli --terse --fields UUID,DEVICE,FILENAME connection show --active`, which puts a backslash before a colon. */
export function activeConnections(nmcli: string): ReadonlyMap<string, ActiveConnection> {
  return new Map(
    nmcli.split('\n').flatMap((line): [string, ActiveConnection][] => {
      const [, uuid, device, path = ''] =
        /^([0-9a-f-]{36}):((?:[^\s:\\]|\\.)+):?(.*)$/.exec(line.trim()) ?? [];
      if (uuid === undefined || device === undefined) return [];
      return [[unescaped(device), { uuid, path: unescaped(path) }]];
    }),
  );
}

const unescaped = (text: string): string => text.replace(/\\(.)/g, '$1');

/** Words behind `Link 2 (eth0):` of `resolvectl dns <device>` or `resolvectl domain <device>`, which may go on in more lines. */
export function resolvedWords(answer: string): string[] {
  const text = answer.replace(/^\s*Link \d+ \([^)]*\):/m, '');
  return text === answer ? [] : text.split(/\s+/).filter((word) => /^[\w.:%#~-]+$/.test(word));
}
