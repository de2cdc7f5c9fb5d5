/** What the machine is made of, as data. */

export const suite = 'bookworm';

export const packages: readonly string[] = [
  'linux-image-amd64',
  'busybox-static',
  'systemd',
  'systemd-sysv',
  'udev',
  'dbus',
  'kmod',
  'procps',
  'iproute2',
  'iputils-ping',
  'ethtool',
  'iperf3',
  // What may manage a host's network.
  'nftables',
  'systemd-resolved',
  'network-manager',
  'ifupdown',
  'ifenslave',
  'vlan',
  'isc-dhcp-client',
  'netplan.io',
  // The network's side, in a namespace of its own.
  'dnsmasq-base',
  'isc-dhcp-server',
  'radvd',
  // Node.js is the host's own.
  'libstdc++6',
];

/** Debian's kernel has these as modules; the root file system is not to be had without. */
export const init_modules: readonly string[] = ['virtio_pci', 'virtio_blk', 'crc32c_generic', 'ext4'];

export const first_program = `#!/bin/busybox sh
export PATH=/bin
busybox mount -t devtmpfs dev /dev
while read -r module; do busybox insmod "/modules/$module"; done < /order
until [ -b /dev/vda ]; do busybox usleep 10000; done
busybox mount -t ext4 /dev/vda /root
busybox mount --move /dev /root/dev
exec busybox switch_root /root /sbin/init
`;

/** Of the channel between the machine and who runs it. */
export const channel_name = 'lab';

/** Where the second disk is mounted, see payload.ts. */
export const payload_directory = '/payload';

/** The program with what a case sets, as `node run`, `node restore`, `node check`. */
export const node_script = '/etc/lab/node';

/** How the node's last life ended, and when: seconds since the machine booted. */
export const ended_file = '/var/lib/lab/ended';

/** A script that makes the other end of the uplinks, see gateway.ts. */
export const gateway_script = '/etc/lab/gateway';

/** Files of the machine beside those of the packages. Scripts can be executed. */
export const files: Readonly<Record<string, string>> = {
  'etc/hostname': 'lab\n',
  'etc/hosts': '127.0.0.1 localhost lab\n::1 localhost\n',
  'etc/fstab': `LABEL=root / ext4 defaults 0 0
LABEL=payload ${payload_directory} ext4 ro,x-systemd.device-timeout=900 0 0
`,
  [`${payload_directory.slice(1)}/.keep`]: '',
  'etc/network/interfaces': 'auto lo\niface lo inet loopback\n',
  // Only what a case says is managed.
  'etc/NetworkManager/conf.d/10-lab.conf': '[main]\nno-auto-default=*\n',
  'etc/systemd/system/lab-agent.service': `[Unit]
Description=Runs what the machine is told
After=dev-virtio\\x2dports-${channel_name}.device
Requires=dev-virtio\\x2dports-${channel_name}.device
RequiresMountsFor=${payload_directory}

[Service]
ExecStart=${payload_directory}/bin/node ${payload_directory}/agent/agent.js /dev/virtio-ports/${channel_name}
Restart=always
RestartSec=1
StandardError=journal+console

[Install]
WantedBy=multi-user.target
`,
  // An emulated processor takes longer than the minute and a half that systemd gives a device.
  [`etc/systemd/system/dev-virtio\\x2dports-${channel_name}.device.d/lab.conf`]: `[Unit]
JobRunningTimeoutSec=900
`,
  // As the container of deploy/kubernetes: the host's processes and network are its own, its root is at /host.
  'etc/systemd/system/calico-vpp-node.service': `[Unit]
Description=The node under test

[Service]
ExecStartPre=/bin/sh -c 'mountpoint -q /host || { mount --rbind / /host && mount --make-rslave /host; }'
ExecStart=${node_script} run
ExecStopPost=/bin/sh -c 'echo "$SERVICE_RESULT $EXIT_CODE $EXIT_STATUS $(cut -d" " -f1 /proc/uptime)" > ${ended_file}; sync'
KillMode=mixed
TimeoutStopSec=90
OOMScoreAdjust=-997
`,
  'host/.keep': '',
  [ended_file.slice(1)]: '',
  'etc/systemd/system/lab-gateway.service': `[Unit]
Description=The other end of the uplinks
DefaultDependencies=no
After=systemd-udevd.service systemd-sysctl.service
Before=network-pre.target
Wants=network-pre.target
ConditionPathExists=${gateway_script}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=${gateway_script}

[Install]
WantedBy=multi-user.target
`,
};

const units = 'etc/systemd/system';

/** Until a case starts one, nobody manages the network. */
export const removed: readonly string[] = [
  `${units}/multi-user.target.wants/NetworkManager.service`,
  `${units}/multi-user.target.wants/networking.service`,
  `${units}/network-online.target.wants/networking.service`,
  `${units}/timers.target.wants`,
  `${units}/getty.target.wants`,
];

/** Symbolic links: units that are wanted, and those that would cost time and help nobody here. */
export const links: Readonly<Record<string, string>> = {
  [`${units}/multi-user.target.wants/lab-agent.service`]: `/${units}/lab-agent.service`,
  [`${units}/multi-user.target.wants/lab-gateway.service`]: `/${units}/lab-gateway.service`,
  [`${units}/default.target`]: '/lib/systemd/system/multi-user.target',
  ...Object.fromEntries(
    [
      'e2scrub_reap.service',
      'serial-getty@ttyS0.service',
      'isc-dhcp-server.service',
      'radvd.service',
      'NetworkManager-wait-online.service',
      'systemd-networkd-wait-online.service',
      'systemd-timesyncd.service',
      'systemd-hwdb-update.service',
      'systemd-random-seed.service',
      'systemd-pstore.service',
      'systemd-binfmt.service',
      'proc-sys-fs-binfmt_misc.automount',
    ].map((unit) => [`${units}/${unit}`, '/dev/null']),
  ),
};
