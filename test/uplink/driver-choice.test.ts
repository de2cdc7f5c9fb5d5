import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import t from 'tap';
import { FakeHostNetwork } from '../../lab/fake-host-network.js';
import { FakePci } from '../../lab/fake-pci.js';
import type { Driver, UplinkSpec } from '../../src/config.js';
import {
  functionAt,
  type MachineFacts,
  machineFacts,
  type PciFacts,
  pciFacts,
} from '../../src/host/devices/pci-facts.js';
import { chooseDriver, lacksOf, Tried } from '../../src/uplink/choice.js';
import { macOfVf } from '../../src/uplink/dev.js';
import type { DeviceFacts } from '../../src/uplink/driver.js';
import { uplink_drivers } from '../../src/uplink/drivers.js';
import { collisionsOf } from '../../src/uplink/one-device.js';
import { machineOf, macs, specOf, UplinkLab } from './uplink-lab.js';

const link = { ...new UplinkLab().network.open().link('eth0')!, mtu: 1500 };

const pci_of: Readonly<Record<string, PciFacts>> = {
  virtio: {
    address: '0000:00:03.0',
    vendor: '1af4',
    device: '1041',
    driver: 'virtio-pci',
    passes_iommu: false,
  },
  vmxnet3: { address: '0000:03:00.0', vendor: '15ad', device: '07b0', driver: 'vmxnet3' },
  mlx5: { address: '0000:3b:00.0', vendor: '15b3', device: '101d', driver: 'mlx5_core' },
  i225: { address: '0000:04:00.0', vendor: '8086', device: '15f3', driver: 'igc' },
  e810: {
    address: '0000:3b:00.0',
    vendor: '8086',
    device: '1592',
    driver: 'ice',
    vfs_max: 8,
    first_vf: '0000:3c:00.0',
  },
  vf: {
    address: '0000:3c:00.0',
    vendor: '8086',
    device: '1889',
    driver: 'iavf',
    physical_function: '0000:3b:00.0',
  },
} as Readonly<Record<string, Partial<PciFacts>>> as never;

/** By driver: a device that it is for. */
const device_of = {
  virtio: 'virtio',
  vmxnet3: 'vmxnet3',
  rdma: 'mlx5',
  iavf: 'e810',
  ige: 'i225',
  dpdk: 'i225',
} as const;

const group = { iommu_group: '7', group: [], vfs: [], vfs_max: 0 };

function factsOf(
  device: string | undefined,
  pci: Partial<PciFacts> = {},
  spec: Partial<UplinkSpec> = {},
  more: Partial<DeviceFacts> = {},
): DeviceFacts {
  const known = device === undefined ? {} : { pci: { ...group, ...pci_of[device]!, ...pci } };
  return { spec: specOf(spec), link, gso: true, offloads: true, ...known, ...more };
}

const without_group = { iommu_group: undefined } as never;

t.test('each refusal names its cause and the step', async (t) => {
  const cases: readonly (readonly [Driver, DeviceFacts, Partial<MachineFacts> | undefined, RegExp])[] = [
    ['virtio', factsOf(undefined), {}, /is on no PCI bus.*use af_packet/],
    ['virtio', factsOf('vmxnet3'), {}, /has the kernel driver vmxnet3.*for devices of virtio-pci/],
    ['virtio', factsOf('virtio', { device: '1042' }), {}, /is a device 1af4:1042/],
    [
      'dpdk',
      factsOf('i225', { address: '10000:04:00.0' }),
      {},
      /is in PCI domain 10000.*16 bits.*use af_packet/,
    ],
    ['virtio', factsOf('virtio'), { hugepage_bytes: 0 }, /no hugepages.*vm.nr_hugepages/],
    ['virtio', factsOf('virtio'), { small_buffers: true }, /buffers on pages of 4 KiB.*vm.nr_hugepages/],
    ['virtio', factsOf('virtio'), { user_space_drivers: [] }, /not loaded.*modprobe vfio_pci/],
    ['virtio', factsOf('virtio'), { can_write_sys: false }, /\/sys cannot be written.*privileged/],
    [
      'virtio',
      factsOf('virtio'),
      { has_vfio_files: false },
      /\/dev\/vfio is not here.*mount the host's \/dev/,
    ],
    ['virtio', factsOf('virtio'), { locked_memory_bytes: 65536 }, /may lock 64 KiB.*CAP_IPC_LOCK/],
    ['virtio', factsOf('virtio'), { leans_on_network: ['an iSCSI disk'] }, /may carry an iSCSI disk/],
    ...(['virtio', 'vmxnet3', 'rdma', 'iavf', 'ige', 'dpdk'] as const).flatMap((driver) => {
      const facts = factsOf(device_of[driver]);
      return [
        [
          driver,
          facts,
          { leans_on_network: ['its root file system (nfs4)'] },
          /may carry its root.*use af_packet/,
        ],
        [
          driver,
          facts,
          { net_consoles: ['eth1', 'eth0'] },
          /carries the kernel's console \(netconsole\).*another device/,
        ],
      ] as const;
    }),
    ['dpdk', factsOf('mlx5'), { net_consoles: ['eth0'] }, /carries the kernel's console/],
    ['virtio', factsOf('virtio', { passes_iommu: true }), {}, /insists on the IOMMU.*iommu_platform=off/],
    ['virtio', factsOf('virtio', {}, {}, { offloads: false }), {}, /does not cut segments.*gsoEnabled/],
    ['virtio', factsOf('virtio', without_group), {}, /isolated by no IOMMU.*intel_iommu=on/],
    [
      'virtio',
      factsOf('virtio', {}, { new_driver: 'vfio_pci' }),
      {},
      /did you mean vfio-pci\?.*set newDriver/,
    ],
    ['virtio', factsOf('virtio', {}, { new_driver: 'igb_uio' }), {}, /igb_uio.*not loaded.*modprobe igb_uio/],
    [
      'virtio',
      factsOf('virtio', {}, { new_driver: 'uio_pci_generic' }),
      { lockdown: 'integrity' },
      /locked down \(integrity\).*use vfio-pci/,
    ],
    [
      'virtio',
      factsOf('virtio', {
        group: [{ address: '0000:00:04.0', driver: 'nvme' }, { address: '0000:00:05.0' }],
      }),
      {},
      /shares IOMMU group 7 with 0000:00:04.0 \(nvme\)/,
    ],
    ['vmxnet3', factsOf('vmxnet3'), {}, /isolated by an IOMMU.*physical addresses.*unsafe mode/],
    [
      'vmxnet3',
      factsOf('vmxnet3', without_group, { new_driver: 'uio_pci_generic' }),
      {},
      /by way of uio_pci_generic.*MSI-X/,
    ],
    ['vmxnet3', factsOf('vmxnet3', {}, { mtu: 9000 }), {}, /has an MTU of 9000.*takes 1500 at most/],
    ['rdma', factsOf('virtio'), {}, /for devices of mlx5_core/],
    ['rdma', factsOf('mlx5', { driver: 'mlx4_core' }), {}, /mlx4_core.*for devices of mlx5_core/],
    ['rdma', factsOf('mlx5'), { has_verbs: false }, /no verbs device.*modprobe -a ib_uverbs mlx5_ib/],
    [
      'dpdk',
      factsOf('mlx5', { driver: 'mlx4_core' }),
      { has_verbs: false },
      /no verbs device.*modprobe -a ib_uverbs mlx4_ib/,
    ],
    ['rdma', factsOf('mlx5'), { locked_memory_bytes: 65536 }, /may lock 64 KiB.*CAP_IPC_LOCK/],
    ['dpdk', factsOf('mlx5'), { has_verbs: false }, /no verbs device.*ib_uverbs/],
    ['rdma', factsOf(undefined), {}, /is on no PCI bus/],
    ['iavf', factsOf('e810', { vfs_max: 0 }), {}, /makes no virtual function.*SR-IOV/],
    [
      'iavf',
      factsOf('e810', { vfs: ['0000:3c:00.0'] }),
      {},
      /has virtual functions already.*name one of them/,
    ],
    ['iavf', factsOf('vf', { device: '10ca' }), {}, /virtual function 8086:10ca.*8086:1889/],
    ['iavf', factsOf('virtio'), {}, /makes no virtual function/],
    [
      'iavf',
      factsOf('vf', { group: [{ address: '0000:3b:00.1', driver: 'ice' }] }),
      {},
      /shares IOMMU group 7 with 0000:3b:00.1/,
    ],
    ['ige', factsOf('e810'), {}, /is a device 8086:1592.*8086:1539/],
    [
      'dpdk',
      factsOf('i225', without_group),
      { hugepage_bytes: 0, unsafe_no_iommu: true },
      /neither hugepages nor an IOMMU/,
    ],
    [
      'dpdk',
      factsOf('i225', without_group),
      { small_buffers: true, unsafe_no_iommu: true },
      /neither hugepages for all of VPP's buffers nor an IOMMU.*vm.nr_hugepages/,
    ],
    ['dpdk', factsOf(undefined), {}, /is on no PCI bus/],
    ['dpdk', factsOf('virtio'), { hugepage_bytes: 0 }, /neither hugepages nor an IOMMU/],
    ...[undefined, ['0:4:0.0'], ['__PCI_DEVICE_ID_0__']].map(
      (dpdk_devices) =>
        [
          'dpdk',
          factsOf('i225', {}, { new_driver: 'igc' }),
          dpdk_devices && { dpdk_devices },
          /keep its kernel driver \(newDriver igc\).*nobody would give it back; leave newDriver out/,
        ] as const,
    ),
    ['dpdk', factsOf('i225'), { has_dpdk: false }, /VPP has no dpdk_plugin.so.*use a VPP that has it/],
    [
      'dpdk',
      factsOf('mlx5'),
      { untagged: ['eth0'] },
      /no device of it has "tag main-eth0".*add that to its device/,
    ],
  ];
  for (const [driver, facts, machine, told] of cases) {
    const lacks = lacksOf(driver, facts, machineOf(machine)).map(
      ({ what, why, step }) => `${what}: ${why}; ${step}`,
    );
    t.match(lacks.join('\n'), told);
  }
});

t.test('nothing keeps a driver from the device that it is for', async (t) => {
  const cases: readonly (readonly [Driver, DeviceFacts, Partial<MachineFacts>?])[] = [
    ['virtio', factsOf('virtio')],
    ['virtio', factsOf('virtio', without_group), { unsafe_no_iommu: true }],
    ['virtio', factsOf('virtio', {}, { new_driver: 'uio_pci_generic' })],
    ['virtio', factsOf('virtio', { group: [{ address: '0000:00:04.0', driver: 'vfio-pci' }] })],
    ['vmxnet3', factsOf('vmxnet3', without_group), { unsafe_no_iommu: true }],
    ['rdma', factsOf('mlx5')],
    ['iavf', factsOf('e810')],
    ['iavf', factsOf('vf')],
    // As a virtual machine has it, which does not see the card.
    ['iavf', factsOf('vf', { physical_function: undefined } as never)],
    ['iavf', factsOf('e810', { group: [{ address: '0000:3b:00.1', driver: 'ice' }] })],
    ['ige', factsOf('i225')],
    ['dpdk', factsOf('i225'), { hugepage_bytes: 0 }],
    ['dpdk', factsOf('i225', {}, { new_driver: 'igc' }), { dpdk_devices: [] }],
    ['dpdk', factsOf('mlx5', {}, { new_driver: 'mlx5_core' })],
    ['dpdk', factsOf('i225'), { has_dpdk: true, untagged: ['eth1'] }],
    ['dpdk', factsOf('mlx5'), { hugepage_bytes: 0, user_space_drivers: [] }],
  ];
  for (const [driver, facts, machine] of cases)
    t.same(lacksOf(driver, facts, machineOf(machine)), [], driver);
});

t.test(
  'without a name a driver is chosen that has all it needs, or the one that works everywhere',
  async (t) => {
    const chosen = (
      facts: DeviceFacts,
      machine: Partial<MachineFacts> = {},
      failed?: ReadonlyMap<Driver, string>,
    ) => chooseDriver(facts, machineOf(machine), failed);
    t.equal(chosen(factsOf('virtio')).driver, 'virtio');
    t.equal(
      chosen(factsOf('vmxnet3')).driver,
      'af_packet',
      'with an IOMMU it cannot work, and without one a person has to say so',
    );
    t.equal(chosen(factsOf('mlx5', {}, {}, { gso: false })).driver, 'rdma');
    t.match(chosen(factsOf('mlx5')), { driver: 'af_packet', passed_over: { rdma: /gsoEnabled/ } });
    t.match(chosen(factsOf('i225')), {
      driver: 'af_packet',
      passed_over: { virtio: /kernel driver igc/, rdma: /kernel driver igc/, vmxnet3: /kernel driver igc/ },
    });
    t.match(chosen(factsOf('virtio'), { hugepage_bytes: 0 }), {
      driver: 'af_packet',
      passed_over: { virtio: /no hugepages/ },
    });
    t.match(
      chosen(factsOf('virtio', without_group), { unsafe_no_iommu: true }),
      { driver: 'af_packet', passed_over: { virtio: /no IOMMU isolates the device: name the driver/ } },
      'the unsafe mode is for a person to choose',
    );
    t.match(chosen(factsOf('virtio', { passes_iommu: undefined } as never)).passed_over, {
      virtio: /not known whether/,
    });
    t.match(chosen(factsOf('virtio'), {}, new Map([['virtio', 'it was tried: VPP refused']])), {
      driver: 'af_packet',
      passed_over: { virtio: 'it was tried: VPP refused' },
    });
    t.same(chosen(factsOf(undefined)).driver, 'af_packet');
  },
);

t.test('what came to nothing is not chosen again, but for the last one', async (t) => {
  const tried = new Tried();
  const spec = specOf();
  tried.failed(spec, 'virtio', 'x'.repeat(1000));
  tried.failed(spec, 'af_packet', 'no answer');
  t.same([...tried.of(spec)], [['virtio', 'x'.repeat(300)]]);
  t.equal(tried.of({ interface_name: 'eth1' }).size, 0);
});

t.test(
  'what another program kept from it is looked at again by the next attempt, and what failed is not',
  async (t) => {
    const tried = new Tried();
    const spec = specOf();
    tried.failed(spec, 'vmxnet3', 'no answer');
    tried.held(spec, 'virtio', 'qemu has it');
    t.same(
      new Map(tried.of(spec)),
      new Map([
        ['virtio', 'qemu has it'],
        ['vmxnet3', 'no answer'],
      ]),
    );
    tried.newAttempt();
    t.same([...tried.of(spec)], [['vmxnet3', 'no answer']]);
    tried.failed(spec, 'virtio', 'VPP refused');
    tried.held(spec, 'virtio', 'qemu has it');
    t.equal(tried.of(spec).get('virtio'), 'VPP refused', 'what is for good is said');
  },
);

t.test('uplinks that are one device, or a card and its function', async (t) => {
  const given = (name: string, device: string, driver: Driver, pci: Partial<PciFacts> = {}) => {
    const facts = factsOf(device, pci);
    return { name, pci: facts.pci!, changes: uplink_drivers[driver].prepare(facts) };
  };
  const told = (...uplinks: ReturnType<typeof given>[]) =>
    collisionsOf(uplinks).map(({ uplinks: names, what }) => `${names} ${what}`);
  t.same(told(given('eth0', 'virtio', 'virtio'), given('eth1', 'vmxnet3', 'vmxnet3')), []);
  t.same(told(given('eth0', 'virtio', 'virtio'), given('eth1', 'virtio', 'virtio')), [
    'eth0,eth1 are one PCI device, 0000:00:03.0',
  ]);
  t.same(told(given('eth1', 'virtio', 'af_packet'), given('eth0', 'virtio', 'virtio')), [
    'eth0,eth1 are one PCI device, 0000:00:03.0',
  ]);
  t.same(told(given('eth0', 'virtio', 'af_packet'), given('eth1', 'virtio', 'af_packet')), []);
  t.same(told(given('vf', 'vf', 'iavf'), given('pf', 'e810', 'dpdk')), [
    'pf,vf are a card and a virtual function of it',
  ]);
  t.same(told(given('vf', 'vf', 'iavf'), given('pf', 'e810', 'af_packet')), []);
});

t.test('MACs and addresses of virtual functions', async (t) => {
  t.equal(macOfVf('3c:fd:fe:00:00:01'), '3e:fd:fe:00:00:01');
  t.equal(macOfVf('02:00:00:00:00:01'), '06:00:00:00:00:01');
  t.equal(functionAt('0000:3b:00.0', 16), '0000:3b:02.0');
  t.equal(functionAt('0000:3b:00.1', 255), '0000:3c:00.0');
  t.equal(functionAt('0000:3b:00.0', 0), undefined);
});

t.test('what sysfs says of a device and of the machine', async (t) => {
  const pci = new FakePci(t.testdir(), new FakeHostNetwork(), { unsafe_no_iommu: 'N' });
  pci.add({
    address: '0000:00:03.0',
    driver: 'virtio-pci',
    group: '5',
    numa: 1,
    link: { name: 'eth0', mac: macs[0]! },
  });
  pci.add({ address: '0000:00:04.0', driver: 'nvme', class: '0x010802', group: '5' });
  pci.add({ address: '0000:00:02.0', driver: 'pcieport', class: '0x060400', group: '5' });
  pci.add({ address: '0000:00:1f.0', driver: 'lpc_ich', class: '0x060100', group: '5' });
  t.same(pciFacts('0000:00:03.0', pci.roots), {
    address: '0000:00:03.0',
    vendor: '1af4',
    device: '1041',
    driver: 'virtio-pci',
    iommu_group: '5',
    group: [
      { address: '0000:00:04.0', driver: 'nvme' },
      { address: '0000:00:1f.0', driver: 'lpc_ich' },
    ],
    numa: 1,
    vfs: [],
    vfs_max: 0,
    unsafe_no_iommu: false,
  });
  t.equal(pciFacts('0000:00:09.0', pci.roots), undefined);
  t.match(machineFacts(pci.roots), {
    user_space_drivers: ['vfio-pci'],
    has_vfio_files: true,
    unsafe_no_iommu: false,
    hugepage_bytes: 2 ** 30,
    leans_on_network: [],
    net_consoles: [],
    cpu_lacks: [],
    has_verbs: false,
  });
  const { sys, dev } = pci.roots;
  mkdirSync(`${sys}/class/infiniband_verbs/uverbs0`, { recursive: true });
  t.notOk(machineFacts(pci.roots).has_verbs, 'a container without the file of the device');
  mkdirSync(`${dev}/infiniband`, { recursive: true });
  writeFileSync(`${dev}/infiniband/uverbs0`, '');
  t.ok(machineFacts(pci.roots).has_verbs);
  t.same(machineFacts({ sys: '/nowhere', proc: '/nowhere', dev: '/nowhere' }), {
    user_space_drivers: [],
    has_vfio_files: false,
    can_write_sys: false,
    hugepage_bytes: 0,
    leans_on_network: [],
    net_consoles: [],
    cpu_lacks: [],
    has_verbs: false,
  });
});

t.test('a disk by the network that holds volumes of pods alone keeps no driver from the card', async (t) => {
  const root = t.testdir();
  const at = (path: string): string => join(root, path);
  const make = (path: string, text = ''): void => {
    mkdirSync(dirname(at(path)), { recursive: true });
    writeFileSync(at(path), text);
  };
  const disk = (path: string, numbers: string): void => {
    make(`sys/devices/${path}/size`);
    for (const link of [`dev/block/${numbers}`, `class/block/${basename(path)}`]) {
      mkdirSync(dirname(at(`sys/${link}`)), { recursive: true });
      symlinkSync(at(`sys/devices/${path}`), at(`sys/${link}`));
    }
  };
  const iscsi = 'platform/host3/session1/target3:0:0/3:0:0:0/block/sdb';
  disk('pci0000:00/0000:00:07.0/ata1/host0/target0:0:0/0:0:0:0/block/sda', '8:0');
  disk('pci0000:00/0000:00:07.0/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda1', '8:1');
  make('sys/devices/pci0000:00/0000:00:07.0/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda1/partition', '1\n');
  disk(iscsi, '8:16');
  disk('virtual/nvme-subsystem/nvme-subsys4/nvme4n1', '259:1');
  disk('pci0000:00/0000:00:08.0/nvme/nvme0/nvme0n1', '259:0');
  make('sys/devices/virtual/nvme-subsystem/nvme-subsys4/nvme4/state');
  disk('virtual/block/dm-0', '253:0');
  make('sys/devices/virtual/block/dm-0/dm/name', 'vg-root\n');
  mkdirSync(at('sys/devices/virtual/block/dm-0/slaves'));
  const onto = (path: string): void => {
    rmSync(at('sys/devices/virtual/block/dm-0/slaves'), { recursive: true });
    mkdirSync(at('sys/devices/virtual/block/dm-0/slaves'));
    symlinkSync(at(`sys/devices/${path}`), at(`sys/devices/virtual/block/dm-0/slaves/${basename(path)}`));
  };
  make('sys/class/iscsi_session/session1/state');
  make('sys/class/nvme/nvme4/transport', 'tcp\n');
  make('sys/class/nvme/nvme0/transport', 'pcie\n');
  const leans = (mountinfo: string, swaps = ''): readonly string[] => {
    make('proc/1/mountinfo', mountinfo);
    make('proc/swaps', `Filename Type Size Used Priority\n${swaps}`);
    return machineFacts({ sys: at('sys'), proc: at('proc'), dev: at('dev') }).leans_on_network;
  };
  const mount = (numbers: string, place: string, source: string, type = 'ext4'): string =>
    `29 1 ${numbers} / ${place} rw,relatime shared:1 - ${type} ${source} rw\n`;
  const root_mount = mount('8:1', '/', '/dev/sda1');
  const volume = '/var/lib/kubelet/plugins/kubernetes.io/csi/x/globalmount';
  t.same(leans(root_mount + mount('8:16', volume, '/dev/sdb')), []);
  t.same(leans(root_mount + mount('259:1', volume, '/dev/nvme4n1')), []);
  t.same(leans(mount('8:16', '/', '/dev/sdb')), ['an iSCSI disk']);
  t.same(leans(root_mount + mount('259:1', '/var/lib/containerd', '/dev/nvme4n1')), ['an NVMe disk']);
  t.same(leans(mount('259:0', '/', '/dev/nvme0n1')), []);
  t.same(leans(root_mount, '/dev/sdb partition 1024 0 -2\n'), ['an iSCSI disk']);
  t.same(leans(mount('0:27', '/', '/dev/sda1', 'btrfs')), []);
  onto(iscsi);
  t.same(leans(mount('253:0', '/', '/dev/mapper/vg-root')), ['an iSCSI disk'], 'below LVM');
  t.same(leans(mount('0:27', '/', '/dev/mapper/vg-root', 'btrfs')), ['an iSCSI disk']);
  onto('pci0000:00/0000:00:07.0/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda1');
  t.same(leans(mount('253:0', '/', '/dev/mapper/vg-root')), []);
  const unknown = ['an iSCSI disk', 'an NVMe disk'];
  t.same(leans(mount('0:31', '/', 'rpool/ROOT/debian', 'zfs')), unknown, 'where that is not known, each may');
  disk('virtual/block/loop0', '7:0');
  t.same(leans(mount('7:0', '/', '/dev/loop0', 'squashfs')), unknown, 'a file, which lies anywhere');
  t.same(leans(''), unknown);
});

t.test('what of the machine leans on its network, as the host has it and not the container', async (t) => {
  const cases: readonly (readonly [Readonly<Record<string, string>>, Partial<MachineFacts>])[] = [
    [{ 'proc/1/mounts': '/dev/sda1 / ext4 rw 0 0\n10.0.0.9:/data /mnt/data nfs4 rw 0 0\n' }, {}],
    [
      { 'proc/1/mounts': '10.0.0.9:/srv/node7 / nfs4 rw 0 0\n', 'proc/mounts': 'overlay / overlay rw 0 0\n' },
      { leans_on_network: ['its root file system (nfs4)'] },
    ],
    [
      { 'proc/mounts': '10.0.0.9:/srv/node7 / nfs rw 0 0\n', 'proc/1/mounts': '/dev/sda1 / ext4 rw 0 0\n' },
      {},
    ],
    [
      { 'proc/1/mounts': '/dev/nbd0p1 / ext4 rw 0 0\n10.0.0.9:/usr /usr nfs ro 0 0\n' },
      { leans_on_network: ['its root file system (/dev/nbd0p1)', 'its file system /usr (nfs)'] },
    ],
    [{ 'sys/class/iscsi_session/session1/state': '' }, { leans_on_network: ['an iSCSI disk'] }],
    [
      { 'sys/class/fc_host/host7/symbolic_name': 'fcoe v1.0.40 over eth0\n' },
      { leans_on_network: ['an FCoE disk'] },
    ],
    [{ 'sys/class/fc_host/host7/symbolic_name': 'QLE2672 FW:v8.08\n' }, {}],
    [{ 'sys/class/nvme/nvme1/transport': 'tcp\n' }, { leans_on_network: ['an NVMe disk'] }],
    [{ 'sys/class/nvme/nvme0/transport': 'pcie\n' }, {}],
    [
      {
        'sys/kernel/config/netconsole/one/enabled': '1\n',
        'sys/kernel/config/netconsole/one/dev_name': 'eth1\n',
        'sys/kernel/config/netconsole/two/enabled': '0\n',
        'sys/kernel/config/netconsole/two/dev_name': 'eth0\n',
        'proc/cmdline': 'quiet netconsole=@/eth5,@10.0.0.9/\n',
      },
      { net_consoles: ['eth1'] },
    ],
    [
      {
        'proc/cmdline':
          'ro netconsole=+4444@10.0.0.1/eth1,9353@10.0.0.2/12:34:56:78:9a:bc;@/eth2,@10.0.0.3/ quiet\n',
      },
      { net_consoles: ['eth1', 'eth2'] },
    ],
    [{ 'proc/cmdline': 'netconsole=@/,@10.0.0.2/\n' }, { net_consoles: ['eth0'] }],
    [
      { 'proc/cpuinfo': 'processor\t: 0\nflags\t\t: fpu sse sse2 cx16 lahf_lm pni ssse3\n' },
      { cpu_lacks: ['popcnt', 'sse4_1', 'sse4_2'] },
    ],
    [{ 'proc/cpuinfo': 'flags\t\t: pni ssse3 sse4_1 sse4_2 popcnt cx16 lahf_lm\n' }, {}],
    [{ 'proc/cpuinfo': 'processor\t: 0\nFeatures\t: fp asimd\n' }, {}],
  ];
  t.testdir();
  for (const [at, [files, told]] of cases.entries()) {
    const root = join(t.testdirName, `${at}`);
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    const { leans_on_network, net_consoles, cpu_lacks } = machineFacts({
      sys: join(root, 'sys'),
      proc: join(root, 'proc'),
      dev: join(root, 'dev'),
    });
    const nothing = { leans_on_network: [], net_consoles: [], cpu_lacks: [] };
    t.same({ leans_on_network, net_consoles, cpu_lacks }, { ...nothing, ...told }, Object.keys(files).join());
  }
});
