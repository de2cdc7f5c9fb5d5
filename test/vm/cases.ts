/** Hosts as people have them, and how the node's life on them ends. */
import type { GatewayNetwork } from '../../lab/vm/gateway.js';
import { type Hardware, macOf, pci_wires, wires } from '../../lab/vm/machine.js';
import { inside } from '../../lab/vm/payload.js';
import { node_script } from '../../lab/vm/recipe.js';

export interface HostCase {
  readonly name: string;
  /** The other ends of the uplinks. */
  readonly networks: readonly GatewayNetwork[];
  /** How the host's network is configured. */
  readonly files: Readonly<Record<string, string>>;
  /** What manages it, from now on and at each boot. */
  readonly services: readonly string[];
  readonly uplinks: readonly string[];
  /** What the machine's cards are. Default: `plain`. */
  readonly hardware?: Hardware;
  /** Devices that QEMU must have beside those of Debian 12's. */
  readonly devices?: readonly string[];
  /** Plugins that VPP may lack. */
  readonly plugins?: readonly 'dpdk'[];
  /** VPP's, for each uplink in its order. Default: af_packet. */
  readonly drivers?: readonly string[];
  /** Families in which the host reaches what is beyond its gateway. */
  readonly families: readonly (4 | 6)[];
  /** The device by which it does so, where no route of the main table leads there. */
  readonly reached_by?: string;
  /** The resolver knows the network's name server. */
  readonly dns: boolean;
  /** What is leased or advertised lives so long; a case waits longer. */
  readonly lifetime_s?: number;
  /** Beside what the program needs anyhow. */
  readonly environment?: Readonly<Record<string, string>>;
  /** VPP's threads beside its main one. */
  readonly workers?: number;
  /**
   * Nobody tells the host's services of the tap. systemd-networkd leases there what it finds there, and 252 does so without the metric of its connected
   * route, as with any address that somebody else has put on a link.
   */
  readonly untold?: true;
  /** What it is not taken over for, as `check` and readiness say it: the host stays as it is. */
  readonly refused?: RegExp;
  /** How much passes between the host and these addresses of the other side is measured, by Linux and while the node runs. By what it is called. */
  readonly throughput?: Readonly<Record<string, string>>;
  /** In place of the machine's. */
  readonly silence_ms_max?: number;
  /** By CNI, while the node runs. */
  readonly pods?: number;
  /** A kernel of its own: a container's may lack the devices. */
  readonly own_kernel?: true;
  /** The DHCP servers say nothing for a while from VPP's death on. What is put back meanwhile systemd-networkd leases as it does where it is `untold`. */
  readonly silent_servers?: true;
  readonly ending: Ending;
}

/**
 * `stop`: as the kubelet ends a container. `kill`: all of its processes at once; then it is started anew, and stopped. `kill for good`: nobody comes
 * back but who restores the host. `VPP's death`: it alone is killed, the node goes on with another one, and is stopped.
 * `reboot`: of the machine, while the node runs; it is not started again. `power cut`: likewise, without a word.
 */
export type Ending = 'stop' | 'kill' | 'kill for good' | "VPP's death" | 'reboot' | 'power cut';

const [first, second] = wires;
const lease_s = 30;

/** What is measured goes no farther: a server of iperf3 answers UDP from the address by which it leaves. */
const gateway = '10.7.0.1';

const wire: GatewayNetwork = {
  devices: [first.other_end],
  address4: '10.7.0.1/24',
  address6: 'fd07::1/64',
};

const networkd = (uplink: string, text: string): HostCase['files'] => ({
  [`/etc/systemd/network/10-${uplink}.network`]: `[Match]\nName=${uplink}\n\n[Network]\n${text}`,
});

const static_text = `Address=10.7.0.2/24
Gateway=10.7.0.1
Address=fd07::2/64
Gateway=fd07::1
DNS=10.7.0.1
IPv6AcceptRA=no
`;

const networkd_static: Omit<HostCase, 'name' | 'ending'> = {
  networks: [wire],
  files: networkd(first.uplink, static_text),
  services: ['systemd-networkd'],
  uplinks: [first.uplink],
  families: [4, 6],
  dns: true,
};

const networkd_dhcp: Omit<HostCase, 'name' | 'ending'> = {
  ...networkd_static,
  networks: [{ ...wire, dhcp4_lease_s: lease_s }],
  files: networkd(first.uplink, 'DHCP=ipv4\nIPv6AcceptRA=no\n'),
  families: [4],
  lifetime_s: lease_s,
};

const networkd_ra: Omit<HostCase, 'name' | 'ending'> = {
  ...networkd_static,
  networks: [{ ...wire, dhcp4_lease_s: lease_s, advertised_s: lease_s }],
  files: networkd(first.uplink, 'DHCP=ipv4\n'),
  lifetime_s: lease_s,
};

const connection = (id: string, text: string): HostCase['files'] => ({
  [`/etc/NetworkManager/system-connections/${id}.nmconnection`]: `[connection]
id=${id}
uuid=8f3a4cbb-4e0c-4d8b-9a11-6c1f6d0b77a1
type=ethernet
interface-name=${first.uplink}

${text}`,
});

const network_manager: Omit<HostCase, 'name' | 'ending'> = {
  ...networkd_dhcp,
  files: connection('uplink', '[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=link-local\n'),
  services: ['NetworkManager'],
};

/** The name servers are those of DHCP, and one that the router names. */
const network_manager_ra: Omit<HostCase, 'name' | 'ending'> = {
  ...networkd_ra,
  files: connection('uplink', '[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n'),
  services: ['NetworkManager'],
};

const ifupdown: Omit<HostCase, 'name' | 'ending'> = {
  ...networkd_dhcp,
  files: {
    '/etc/network/interfaces': `auto lo
iface lo inet loopback
auto ${first.uplink}
iface ${first.uplink} inet dhcp
`,
  },
  services: ['networking'],
  // Its client tells nobody whom systemd-resolved would ask.
  dns: false,
};

/** The kernel itself hears the router. */
const ifupdown_ra: Omit<HostCase, 'name' | 'ending'> = {
  ...ifupdown,
  networks: networkd_ra.networks,
  files: {
    '/etc/network/interfaces': `auto lo
iface lo inet loopback
auto ${first.uplink}
iface ${first.uplink} inet dhcp
iface ${first.uplink} inet6 auto
`,
  },
  families: [4, 6],
};

/** What netplan makes of its files is systemd-networkd's, below /run. */
const netplan = (match: string): Omit<HostCase, 'name' | 'ending'> => ({
  ...networkd_dhcp,
  files: {
    '/etc/netplan/50-lab.yaml': `network:
  version: 2
  renderer: networkd
  ethernets:
    ${first.uplink}:
${match}      dhcp4: true
      accept-ra: false
`,
  },
});

const netplan_by_mac = `      match: { macaddress: "${macOf(first.uplink)}" }
      set-name: ${first.uplink}
`;

const vlan: Omit<HostCase, 'name' | 'ending'> = {
  ...networkd_static,
  networks: [{ ...wire, vlan: 7, dhcp4_lease_s: lease_s }],
  files: {
    ...networkd(first.uplink, 'VLAN=vlan7\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n'),
    '/etc/systemd/network/10-vlan7.netdev': '[NetDev]\nName=vlan7\nKind=vlan\n\n[VLAN]\nId=7\n',
    ...networkd('vlan7', 'DHCP=ipv4\nIPv6AcceptRA=no\n'),
  },
  uplinks: ['vlan7'],
  own_kernel: true,
  families: [4],
  lifetime_s: lease_s,
};

const bond: Omit<HostCase, 'name' | 'ending'> = {
  ...networkd_static,
  networks: [{ ...wire, devices: [first.other_end, second.other_end] }],
  files: {
    '/etc/systemd/network/10-bond0.netdev':
      '[NetDev]\nName=bond0\nKind=bond\n\n[Bond]\nMode=active-backup\nMIIMonitorSec=100ms\n',
    ...networkd(first.uplink, 'Bond=bond0\n'),
    ...networkd(second.uplink, 'Bond=bond0\n'),
    ...networkd('bond0', static_text),
  },
  uplinks: ['bond0'],
  own_kernel: true,
  // Linux moves no bond to another namespace.
  refused: /bond0:? is a bond[\s\S]*\(enp0s16, enp0s18\)/,
};

const vrf: Omit<HostCase, 'name' | 'ending'> = {
  ...networkd_static,
  files: {
    '/etc/systemd/network/10-vrf0.netdev': '[NetDev]\nName=vrf0\nKind=vrf\n\n[VRF]\nTable=50\n',
    ...networkd('vrf0', ''),
    ...networkd(first.uplink, `VRF=vrf0\n${static_text}`),
  },
  own_kernel: true,
  reached_by: 'vrf0',
  dns: false,
  refused: /enp0s16:? belongs to vrf0/,
};

const two_uplinks: Omit<HostCase, 'name' | 'ending'> = {
  ...networkd_static,
  networks: [
    { ...wire, dhcp4_lease_s: lease_s },
    { devices: [second.other_end], address4: '10.8.0.1/24', address6: 'fd08::1/64' },
  ],
  files: {
    ...networkd(first.uplink, 'DHCP=ipv4\nIPv6AcceptRA=no\n'),
    ...networkd(second.uplink, 'Address=10.8.0.2/24\nAddress=fd08::2/64\nIPv6AcceptRA=no\n'),
  },
  uplinks: [first.uplink, second.uplink],
  families: [4],
  lifetime_s: lease_s,
};

/** VPP has the card from the kernel. `driver`: VPP's. */
const past_the_kernel = (
  card: (typeof pci_wires)[keyof typeof pci_wires],
  driver: string,
): Omit<HostCase, 'name' | 'ending'> => ({
  ...networkd_static,
  hardware: 'pci',
  networks: [{ ...wire, devices: [card.other_end] }],
  files: {
    ...networkd(card.uplink, static_text),
    '/etc/modules-load.d/lab.conf': 'vfio-pci\n',
  },
  uplinks: [card.uplink],
  drivers: [driver],
  // The machine's cards cut nothing, and VPP has no say in it.
  environment: { CALICOVPP_DEBUG: '{"gsoEnabled":false}' },
  pods: 2,
});

const virtio = past_the_kernel(pci_wires.virtio, 'virtio');

/** Where nothing isolates the card. The unsafe mode is off until the node turns it on, and when it has ended. */
const unsafe = (item: Omit<HostCase, 'name' | 'ending'>): Omit<HostCase, 'name' | 'ending'> => ({
  ...item,
  hardware: 'unsafe',
  files: {
    ...item.files,
    // Before vfio-pci has the kernel load its own.
    '/etc/systemd/system/systemd-modules-load.service.d/lab.conf': `[Unit]
RequiresMountsFor=${inside.vfio_module}

[Service]
ExecStartPre=sh -c 'grep -q ^vfio /proc/modules || insmod ${inside.vfio_module}'
`,
  },
});

/** VPP's plugin has the device by DPDK's own driver for such a card. */
const dpdk = (card: keyof typeof pci_wires): Omit<HostCase, 'name' | 'ending'> => ({
  ...past_the_kernel(pci_wires[card], 'dpdk'),
  plugins: ['dpdk'],
  // VPP begins anew in between.
  silence_ms_max: 60_000,
});

/** On one and the same card, so that they can be compared. */
const throughput = (card: keyof typeof pci_wires, driver: string): HostCase => {
  const { pods: _, ...rest } = driver === 'dpdk' ? dpdk(card) : past_the_kernel(pci_wires[card], driver);
  const name = `throughput-${card}-${driver.replace('_', '-')}`;
  return { name, ...rest, throughput: { [driver]: gateway }, ending: 'stop' };
};

const endings: readonly (readonly [name: string, ending: Ending])[] = [
  ['stop', 'stop'],
  ['kill', 'kill'],
  ['kill-for-good', 'kill for good'],
  ['vpp-death', "VPP's death"],
  ['power-cut', 'power cut'],
];

const with_each_ending = (driver: string, item: Omit<HostCase, 'name' | 'ending'>): HostCase[] =>
  endings.map(([name, ending]) => ({ name: `${driver}-${name}`, ...item, ending }));

const mixed: Omit<HostCase, 'name' | 'ending'> = {
  ...virtio,
  networks: [
    { ...wire, devices: [pci_wires.virtio.other_end] },
    { devices: [pci_wires.e1000e.other_end], address4: '10.8.0.1/24', address6: 'fd08::1/64' },
  ],
  files: {
    ...virtio.files,
    ...networkd(pci_wires.e1000e.uplink, 'Address=10.8.0.2/24\nAddress=fd08::2/64\nIPv6AcceptRA=no\n'),
  },
  uplinks: [pci_wires.virtio.uplink, pci_wires.e1000e.uplink],
  drivers: ['virtio', 'af_packet'],
  throughput: { virtio: gateway, 'af_packet (e1000e)': '10.8.0.1' },
};

const one_worker = `cpu {
  workers 1
}
plugins {
  plugin default { enable }
  plugin dpdk_plugin.so { disable }
  plugin ping_plugin.so { disable }
}
`;

export const cases: readonly HostCase[] = [
  { name: 'networkd-static', ...networkd_static, ending: 'stop' },
  { name: 'networkd-dhcp', ...networkd_dhcp, ending: 'stop' },
  // Not in a container: the host's file system is its own.
  {
    name: 'networkd-no-host',
    ...networkd_dhcp,
    files: {
      ...networkd_dhcp.files,
      '/etc/systemd/system/calico-vpp-node.service.d/lab.conf': '[Service]\nExecStartPre=\n',
    },
    untold: true,
    ending: 'stop',
  },
  { name: 'networkmanager-dhcp', ...network_manager, ending: 'stop' },
  {
    name: 'networkmanager-static',
    ...networkd_static,
    services: ['NetworkManager'],
    files: connection(
      'uplink',
      `[ipv4]
method=manual
address1=10.7.0.2/24,10.7.0.1
dns=10.7.0.1;

[ipv6]
method=manual
address1=fd07::2/64,fd07::1
`,
    ),
    ending: 'stop',
  },
  { name: 'networkd-ra', ...networkd_ra, ending: 'stop' },
  {
    name: 'networkd-dhcp6',
    ...networkd_ra,
    networks: [{ ...wire, dhcp4_lease_s: lease_s, advertised_s: lease_s, dhcp6_lease_s: lease_s }],
    files: networkd(first.uplink, 'DHCP=yes\n'),
    ending: 'stop',
  },
  { name: 'networkd-reboot', ...networkd_dhcp, ending: 'reboot' },
  { name: 'networkmanager-reboot', ...network_manager, ending: 'reboot' },
  { name: 'networkd-power-cut', ...networkd_dhcp, ending: 'power cut' },
  { name: 'networkmanager-power-cut', ...network_manager, ending: 'power cut' },
  { name: 'networkd-kill', ...networkd_dhcp, ending: 'kill' },
  { name: 'networkmanager-kill', ...network_manager, ending: 'kill' },
  {
    name: 'networkd-kill-for-good',
    ...networkd_dhcp,
    own_kernel: true,
    // With mounts of its own, as a container has them: the namespace that they alone hold dies with VPP, and the card comes back.
    files: {
      ...networkd_dhcp.files,
      '/etc/systemd/system/calico-vpp-node.service.d/lab.conf': `[Service]
ExecStart=
ExecStart=/usr/bin/unshare --mount --propagation slave ${node_script} run
`,
    },
    ending: 'kill for good',
  },
  { name: 'networkd-vpp-death', ...networkd_dhcp, ending: "VPP's death" },
  { name: 'networkmanager-vpp-death', ...network_manager, ending: "VPP's death" },
  {
    name: 'networkd-silent-server',
    ...networkd_dhcp,
    networks: [{ ...wire, dhcp4_lease_s: 60 }],
    lifetime_s: 60,
    silent_servers: true,
    ending: "VPP's death",
  },
  // IPv4 by DHCP, IPv6 by router advertisements.
  { name: 'networkd-ra-vpp-death', ...networkd_ra, ending: "VPP's death" },
  { name: 'networkmanager-ra-vpp-death', ...network_manager_ra, ending: "VPP's death" },
  { name: 'networkmanager-ra', ...network_manager_ra, ending: 'stop' },
  { name: 'ifupdown-dhcp', ...ifupdown, ending: 'stop' },
  { name: 'ifupdown-ra', ...ifupdown_ra, ending: 'stop' },
  { name: 'netplan-dhcp', ...netplan(''), ending: 'stop' },
  // A veth has no permanent MAC.
  { name: 'netplan-mac', ...netplan(netplan_by_mac), own_kernel: true, ending: 'stop' },
  { name: 'vlan', ...vlan, ending: 'stop' },
  { name: 'vlan-kill', ...vlan, ending: 'kill' },
  { name: 'bond', ...bond, ending: 'stop' },
  { name: 'vrf', ...vrf, ending: 'stop' },
  { name: 'two-uplinks', ...two_uplinks, ending: 'stop' },
  {
    name: 'worker',
    ...networkd_static,
    environment: { CALICOVPP_CONFIG_TEMPLATE: one_worker },
    workers: 1,
    ending: 'stop',
  },
  // Each pod's tap is served by the kernel's own vhost-net.
  {
    name: 'pods',
    ...networkd_static,
    environment: { CALICOVPP_MAX_PODS: '110' },
    pods: 110,
    own_kernel: true,
    ending: 'stop',
  },
  ...with_each_ending('virtio', virtio),
  ...with_each_ending('vmxnet3', unsafe(past_the_kernel(pci_wires.vmxnet3, 'vmxnet3'))),
  { name: 'virtio-unsafe', ...unsafe(virtio), ending: 'stop' },
  { name: 'dpdk-unsafe', ...unsafe(dpdk('e1000e')), ending: 'stop' },
  // VPP's vmxnet3 writes physical addresses, and its ige knows other cards than QEMU has: the host stays as it is.
  {
    name: 'vmxnet3-iommu',
    ...past_the_kernel(pci_wires.vmxnet3, 'vmxnet3'),
    refused: /is isolated by an IOMMU/,
    ending: 'stop',
  },
  {
    name: 'igb',
    ...past_the_kernel(pci_wires.igb, 'ige'),
    devices: ['igb'],
    refused: /is a device 8086:10c9/,
    ending: 'stop',
  },
  {
    name: 'e1000e',
    ...past_the_kernel(pci_wires.e1000e, 'ige'),
    refused: /is a device 8086:10d3/,
    ending: 'stop',
  },
  { name: 'virtio-and-af-packet', ...mixed, ending: 'stop' },
  ...with_each_ending('dpdk', dpdk('e1000e')),
  { name: 'dpdk-vmxnet3', ...dpdk('vmxnet3'), ending: 'stop' },
  { name: 'dpdk-virtio', ...dpdk('virtio'), ending: 'stop' },
  { name: 'dpdk-igb', ...dpdk('igb'), devices: ['igb'], ending: 'stop' },
  ...['af_packet', 'virtio', 'af_xdp', 'dpdk'].map((driver) => throughput('virtio', driver)),
  ...['af_packet', 'dpdk'].map((driver) => throughput('e1000e', driver)),
  ...['af_packet', 'vmxnet3', 'dpdk'].map((driver) => {
    const { name, ending, ...item } = throughput('vmxnet3', driver);
    return { name, ...unsafe(item), ending };
  }),
];
