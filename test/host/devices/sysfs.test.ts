import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { systemClock } from '../../../src/clock.js';
import { type RunCommand, runCommand } from '../../../src/host/command.js';
import { bindDriver } from '../../../src/host/devices/pci-driver.js';
import {
  bootId,
  hostDevices,
  hugepageBytes,
  hugepages,
  iommuGroup,
  kernelAtLeast,
  kernelVersion,
  parseKernelVersion,
  pciDevice,
  pciDeviceOfLink,
  processStartTime,
  threadsWaitedForCpuMs,
  unsafeNoIommuMode,
  waitedForCpuMs,
} from '../../../src/host/devices/sysfs.js';
import { errorCode, readIfExists, removeIfExists, writeAtomic } from '../../../src/host/files.js';
import { networkServices, Questions, udevProperties } from '../../../src/host/services/network-service.js';

t.test('the PCI device of a link is found through sysfs, also behind virtio and bridges', async (t) => {
  const root = t.testdir({
    sys: {
      bus: { pci: { devices: {}, drivers: { 'virtio-pci': {}, 'vfio-pci': {} } } },
      class: { net: { eth0: {}, eth1: {}, veth0: {}, eth2: {}, eth3: {}, eth4: {}, eth5: {} } },
      devices: {
        'pci0000:00': {
          '0000:00:02.0': {
            '0000:03:00.1': { vendor: '0x8086\n', device: '0x1572\n', net: { eth0: {} } },
          },
          '0000:00:04.0': {
            vendor: '0x1af4\n',
            device: '0x1041\n',
            virtio0: { net: { eth1: {} } },
          },
        },
        'pci0000:80': {
          // A USB controller, and the card that a network device of a USB bus is.
          '0000:80:14.0': {
            vendor: '0x8086\n',
            device: '0xa0ed\n',
            usb1: { '1-4': { '1-4:1.0': { net: { eth3: {} } } } },
          },
          '0000:80:15.0': { vendor: '0x15b3\n', device: '0x1021\n', 'mlx5_core.sf.2': { net: { eth4: {} } } },
        },
        'pci10000:00': { '10000:00:04.0': { vendor: '0x8086\n', device: '0x1572\n' } },
        'pci7fff:00': { '7fff:00:1f.7': { vendor: '0x15b3\n', device: '0x1017\n' } },
      },
      kernel: { iommu_groups: { 12: {} } },
    },
  });
  const sys = join(root, 'sys');
  const link = (from: string, to: string) => symlinkSync(join(sys, to), join(sys, from));
  const [bridged, virtio, far] = [
    'devices/pci0000:00/0000:00:02.0/0000:03:00.1',
    'devices/pci0000:00/0000:00:04.0',
    'devices/pci7fff:00/7fff:00:1f.7',
  ];
  link('class/net/eth0/device', bridged);
  link('class/net/eth1/device', `${virtio}/virtio0`);
  link('class/net/eth2/device', far);
  link('class/net/eth3/device', 'devices/pci0000:80/0000:80:14.0/usb1/1-4/1-4:1.0');
  link('class/net/eth4/device', 'devices/pci0000:80/0000:80:15.0/mlx5_core.sf.2');
  link('class/net/eth5/device', 'devices/pci10000:00/10000:00:04.0');
  link('bus/pci/devices/0000:80:14.0', 'devices/pci0000:80/0000:80:14.0');
  link('bus/pci/devices/0000:80:15.0', 'devices/pci0000:80/0000:80:15.0');
  link('bus/pci/devices/10000:00:04.0', 'devices/pci10000:00/10000:00:04.0');
  link('bus/pci/devices/0000:03:00.1', bridged);
  link('bus/pci/devices/0000:00:04.0', virtio);
  link('bus/pci/devices/7fff:00:1f.7', far);
  link(`${virtio}/driver`, 'bus/pci/drivers/virtio-pci');
  link(`${bridged}/iommu_group`, 'kernel/iommu_groups/12');
  const roots = { sys, proc: '/proc', dev: '/dev' };
  t.strictSame(pciDeviceOfLink('eth0', roots), { address: '0000:03:00.1', vendor: '8086', device: '1572' });
  t.strictSame(pciDeviceOfLink('eth1', roots), {
    address: '0000:00:04.0',
    vendor: '1af4',
    device: '1041',
    driver: 'virtio-pci',
  });
  t.match(pciDeviceOfLink('eth2', roots), { address: '7fff:00:1f.7' }, 'a domain of its own');
  t.equal(pciDeviceOfLink('eth3', roots), undefined, 'of a USB bus: its controller is not the device');
  t.equal(pciDeviceOfLink('eth4', roots), undefined, 'a part of a card is not the card');
  t.match(pciDeviceOfLink('eth5', roots), { address: '10000:00:04.0' }, 'not that of domain 0000');
  t.equal(pciDeviceOfLink('veth0', roots), undefined);
  t.equal(pciDeviceOfLink('nothing', roots), undefined);
  t.equal(pciDevice('0000:99:00.0', roots), undefined);
  t.equal(iommuGroup('0000:03:00.1', roots), '12');
  t.equal(iommuGroup('0000:00:04.0', roots), undefined);
});

t.test('kernel versions are compared as versions', async (t) => {
  const at_least = (text: string, ...version: [number, number, number?]) => {
    const parsed = parseKernelVersion(text);
    return parsed && kernelAtLeast(parsed, ...version);
  };
  t.equal(at_least('6.1.0-13-amd64', 5, 4), true, '6.1 is newer than 5.4');
  t.equal(at_least('5.15.0', 5, 4), true, 'no dash is needed');
  t.equal(at_least('5.4.0-0', 5, 4), true);
  t.equal(at_least('5.3.18-lp152', 5, 4), false);
  t.equal(at_least('4.19.0', 5, 4), false);
  t.equal(at_least('6.18-rc1', 6, 18), true);
  t.equal(at_least('5.4.17', 5, 4, 18), false);
  t.equal(parseKernelVersion('FreeBSD'), undefined);
});

t.test('what a machine lacks is answered, not thrown', async (t) => {
  const root = t.testdir({
    proc: {
      sys: { kernel: { osrelease: '6.1.7\n', random: { boot_id: 'abc\n' } } },
      41: { stat: `41 (a) Z ${Array.from({ length: 49 }, (_, i) => i + 4).join(' ')}\n` },
      40: {
        schedstat: '2500000 7250000 12\n',
        task: {
          40: { schedstat: '2500000 500000 12\n' },
          44: { schedstat: '1 3000000 1\n' },
          45: {},
        },
      },
      42: { stat: `42 (a ) b (c) S ${Array.from({ length: 49 }, (_, i) => i + 4).join(' ')}\n` },
    },
    sys: {
      module: { vfio: { parameters: { enable_unsafe_noiommu_mode: 'Y\n' } } },
      kernel: {
        mm: {
          hugepages: {
            'hugepages-1048576kB': { nr_hugepages: '2\n', free_hugepages: '1\n' },
            'hugepages-2048kB': { nr_hugepages: '512\n', free_hugepages: '500\n' },
          },
        },
      },
    },
    dev: { net: { tun: '' } },
    empty: {},
  });
  const roots = { sys: join(root, 'sys'), proc: join(root, 'proc'), dev: join(root, 'dev') };
  const empty = { sys: join(root, 'empty'), proc: join(root, 'empty'), dev: join(root, 'empty') };
  t.match(kernelVersion(roots), { major: 6, minor: 1, patch: 7 });
  t.equal(kernelVersion(empty), undefined);
  t.equal(bootId(roots), 'abc');
  t.equal(bootId(empty), undefined);
  t.equal(processStartTime(42, roots), 22, "the name's blanks and parentheses do not shift the fields");
  t.equal(processStartTime(43, roots), undefined);
  t.equal(processStartTime(41, roots), undefined, 'one that has only not been waited for is gone');
  t.equal(waitedForCpuMs(40, roots), 7.25);
  t.equal(waitedForCpuMs(41, roots), 0, 'a kernel that does not count it');
  t.ok(waitedForCpuMs(process.pid) >= 0, 'on the real machine too');
  t.equal(threadsWaitedForCpuMs(40, roots), 3.5, 'of all threads');
  t.equal(threadsWaitedForCpuMs(99, roots), 0, 'there is no such process');
  t.ok(threadsWaitedForCpuMs(process.pid) >= 0, 'on the real machine too');
  t.equal(unsafeNoIommuMode(roots), true);
  t.equal(unsafeNoIommuMode(empty), undefined);
  t.strictSame(hugepages(roots), [
    { size_bytes: 2097152, total: 512, free: 500 },
    { size_bytes: 1073741824, total: 2, free: 1 },
  ]);
  t.strictSame(hugepages(empty), []);
  t.equal(hugepageBytes(empty), 0);
  t.strictSame(hostDevices(roots), { tun: true, vhost_net: false, vfio: false });
  t.type(processStartTime(process.pid), 'number', 'on the real machine too');
});

t.test('of the hugepages those count that a program may have', async (t) => {
  const root = t.testdir({
    proc: { meminfo: 'MemTotal: 1 kB\nHugepagesize:       2048 kB\n', self: { cgroup: '0::/pods/a\n' } },
    sys: {
      fs: { cgroup: { pods: { a: {} }, hugetlb: { pods: { a: {} } } } },
      kernel: {
        mm: {
          hugepages: {
            'hugepages-1048576kB': { nr_hugepages: '2\n' },
            'hugepages-2048kB': { nr_hugepages: '512\n' },
          },
        },
      },
    },
  });
  const roots = { sys: join(root, 'sys'), proc: join(root, 'proc'), dev: '' };
  const write = (path: string, text: string) => writeFileSync(join(root, path), text);
  const MiB = 2 ** 20;
  t.equal(hugepageBytes(roots), 1024 * MiB, 'of the usual size alone');
  write('sys/fs/cgroup/pods/a/hugetlb.2MB.max', 'max\n');
  t.equal(hugepageBytes(roots), 1024 * MiB);
  write('sys/fs/cgroup/pods/hugetlb.2MB.max', `${256 * MiB}\n`);
  t.equal(hugepageBytes(roots), 256 * MiB, 'that of a cgroup above counts as well');
  write('sys/fs/cgroup/pods/a/hugetlb.2MB.rsvd.max', '0\n');
  t.equal(hugepageBytes(roots), 0);
  write('sys/fs/cgroup/hugetlb/pods/a/hugetlb.2MB.limit_in_bytes', `${512 * MiB}\n`);
  write('proc/self/cgroup', '7:cpu,hugetlb:/pods/a\n3:memory:/other\n');
  t.equal(hugepageBytes(roots), 512 * MiB, 'cgroup v1');
  // As in a container, whose own cgroup is all that it sees.
  write('proc/self/cgroup', '0::/not/here\n');
  write('sys/fs/cgroup/hugetlb.2MB.max', `${64 * MiB}\n`);
  t.equal(hugepageBytes(roots), 64 * MiB);
});

t.test('a file is written whole or not at all', async (t) => {
  const directory = t.testdir({ old: 'old' });
  const path = join(directory, 'old');
  writeAtomic(path, 'new', 0o600);
  t.equal(readFileSync(path, 'utf8'), 'new');
  t.equal(statSync(path).mode & 0o777, 0o600);
  mkdirSync(join(directory, 'taken'));
  t.throws(() => writeAtomic(join(directory, 'taken'), 'x'), { code: 'EISDIR' });
  t.throws(() => writeAtomic(join(directory, 'none', 'x'), 'x'), { code: 'ENOENT' });
  t.strictSame(readdirSync(directory).sort(), ['old', 'taken'], 'no temporary file is left behind');
  t.equal(readIfExists(join(directory, 'gone')), undefined);
  t.equal(readIfExists(join(path, 'below-a-file')), undefined);
  t.throws(() => readIfExists(directory), { code: 'EISDIR' });
  t.equal(removeIfExists(path), true);
  t.equal(removeIfExists(path), false);
  t.equal(existsSync(path), false);
  t.equal(errorCode('text'), undefined);
});

t.test('commands end with a status, whatever happens', async (t) => {
  const directory = t.testdir({ script: '#!/bin/sh\necho out; echo err >&2; exit 3\n' });
  const script = join(directory, 'script');
  chmodSync(script, 0o755);
  t.strictSame(await runCommand([script], { timeout_ms: 10_000 }), {
    code: 3,
    stdout: 'out\n',
    stderr: 'err\n',
  });
  t.match(await runCommand(['true'], { timeout_ms: 10_000 }), { code: 0 });
  t.match(await runCommand([join(directory, 'none')], { timeout_ms: 10_000 }), {
    code: 127,
    stderr: /ENOENT/,
  });
  t.match(await runCommand(['sleep', '1000'], { timeout_ms: 20 }), { code: 124 });
  writeFileSync(script, 'not a program');
  t.match(await runCommand([script], { timeout_ms: 10_000 }), { code: Number });
  t.match(await runCommand([], { timeout_ms: 10_000 }), { code: 127 });
});

t.test('the services that manage the network are asked for once', async (t) => {
  const asked: string[] = [];
  const run: RunCommand = async (argv) => {
    asked.push(argv.join(' '));
    return { code: 3, stdout: 'inactive\nactive\ninactive\nunknown\n', stderr: '' };
  };
  const services = await networkServices(new Questions(run, ['chroot', '/host']));
  t.strictSame(services, { systemd: true, active: ['NetworkManager'] });
  t.strictSame(asked, [
    'chroot /host systemctl is-active systemd-networkd NetworkManager networking network',
  ]);
  const without = { systemd: false, active: [] };
  const answering = (code: number, stdout = '', stderr = '') =>
    new Questions(async () => ({ code, stdout, stderr }));
  t.strictSame(await networkServices(answering(127)), without);
  t.strictSame(await networkServices(answering(1, '', 'no bus')), without);
  const properties = await udevProperties('eth0', answering(0, 'ID_NET_NAME_PATH=enp3s0\nX=a=b\n\n'));
  t.strictSame(
    [...properties],
    [
      ['ID_NET_NAME_PATH', 'enp3s0'],
      ['X', 'a=b'],
    ],
  );
  t.equal((await udevProperties('eth0', answering(1))).size, 0);
});

t.test('a device is bound by files of sysfs that nobody may read, root neither', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'sysfs-'));
  t.teardown(() => rmSync(root, { recursive: true }));
  const [pci, nobody] = ['0000:00:03.0', 65_534];
  const sys = join(root, 'sys');
  const [device, old, next] = [`devices/${pci}`, 'drivers/virtio-pci', 'drivers/vfio-pci'].map((path) =>
    join(sys, 'bus/pci', path),
  ) as [string, string, string];
  for (const path of [device, old, next]) mkdirSync(path, { recursive: true });
  symlinkSync(old, join(device, 'driver'));
  for (const path of [join(old, 'unbind'), join(next, 'bind')]) {
    writeFileSync(path, '');
    // As `DRIVER_ATTR_WO` has them. Files of a disk root may read all the same: here it is somebody else.
    chmodSync(path, 0o200);
    chownSync(path, process.getuid?.() === 0 ? nobody : process.getuid!(), -1);
  }
  writeFileSync(join(device, 'driver_override'), '(null)\n', { mode: 0o666 });
  chmodSync(join(device, 'driver_override'), 0o666);
  chmodSync(root, 0o755);
  const was_root = process.geteuid?.() === 0;
  if (was_root) process.seteuid!(nobody);
  try {
    const roots = { sys, proc: join(root, 'proc'), dev: join(root, 'dev') };
    // No kernel is behind these files.
    await t.rejects(
      bindDriver({ pci, driver: 'vfio-pci' }, { clock: systemClock, roots }),
      /has the kernel driver virtio-pci, and not vfio-pci/,
    );
  } finally {
    if (was_root) process.seteuid!(0);
  }
  for (const path of [join(old, 'unbind'), join(next, 'bind')]) {
    chmodSync(path, 0o600);
    t.equal(readFileSync(path, 'utf8'), pci, path);
  }
});
