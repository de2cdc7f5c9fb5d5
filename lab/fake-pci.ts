/**
 * A machine's PCI devices in a directory of its own, laid out as sysfs has them, and a kernel that does what is written there: drivers let go and
 * take up, virtual functions come and go, and network devices with them.
 */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { HostRoots } from '../src/host/devices/sysfs.js';
import type { FakeHostNetwork } from './fake-host-network.js';

export interface FakePciDevice {
  readonly address: string;
  /** That takes it up by itself. */
  readonly driver: string;
  readonly vendor?: string;
  readonly device?: string;
  /** `0x020000` is Ethernet, `0x010802` NVMe. */
  readonly class?: string;
  readonly group?: string;
  readonly numa?: number;
  /** The network device that its driver makes. */
  readonly link?: { readonly name: string; readonly mac: string };
  /** Of a virtio device: its features as a row of 0 and 1. */
  readonly features?: string;
  /** How many virtual functions it can have, and how far behind it the first one lies. */
  readonly vfs?: { readonly total: number; readonly offset: number; readonly device: string };
}

export class FakePci {
  readonly roots: HostRoots;
  /** What was written, as `path below sys: value`. */
  readonly writes: string[] = [];
  /** The name that the kernel gives a link that comes back; udev has not come to it. */
  nameOf = (name: string): string => name;
  /** The MAC that its driver gives it. */
  macOf = (mac: string): string => mac;
  /** How a write is refused: the code of an errno, or nothing. */
  refuses: (path: string, value: string) => string | undefined = () => undefined;
  readonly #devices = new Map<string, FakePciDevice>();
  #virtio = 0;

  constructor(
    readonly directory: string,
    readonly network?: FakeHostNetwork,
    {
      modules = ['vfio-pci'],
      hugepages = 512,
      unsafe_no_iommu,
    }: {
      readonly modules?: readonly string[];
      readonly hugepages?: number;
      readonly unsafe_no_iommu?: 'Y' | 'N';
    } = {},
  ) {
    this.roots = { sys: join(directory, 'sys'), proc: join(directory, 'proc'), dev: join(directory, 'dev') };
    const { sys, proc, dev } = this.roots;
    for (const path of [
      join(sys, 'bus/pci/devices'),
      join(sys, 'class/net'),
      join(proc, 'self'),
      join(dev, 'vfio'),
    ])
      mkdirSync(path, { recursive: true });
    this.#file('sys', 'bus/pci/drivers_probe', '');
    for (const name of modules) this.addDriver(name);
    if (modules.includes('vfio-pci')) this.#file('dev', 'vfio/vfio', '');
    if (unsafe_no_iommu !== undefined)
      this.#file('sys', 'module/vfio/parameters/enable_unsafe_noiommu_mode', `${unsafe_no_iommu}\n`);
    const pages = 'kernel/mm/hugepages/hugepages-2048kB';
    this.#file('sys', `${pages}/nr_hugepages`, `${hugepages}\n`);
    this.#file('sys', `${pages}/free_hugepages`, `${hugepages}\n`);
    this.#file('proc', 'meminfo', 'Hugepagesize:       2048 kB\n');
    this.#file('proc', 'mounts', '/dev/vda1 / ext4 rw 0 0\n');
    this.#file('proc', 'self/status', 'CapEff:\t000001ffffffffff\n');
  }

  addDriver(name: string): void {
    for (const file of ['bind', 'unbind', 'new_id']) this.#file('sys', `bus/pci/drivers/${name}/${file}`, '');
  }

  /** It is there, and its driver has it. */
  add(device: FakePciDevice): void {
    const { address, group, numa = -1, vfs } = device;
    this.#devices.set(address, device);
    const at = `bus/pci/devices/${address}`;
    this.#file('sys', `${at}/vendor`, `0x${device.vendor ?? '1af4'}\n`);
    this.#file('sys', `${at}/device`, `0x${device.device ?? '1041'}\n`);
    this.#file('sys', `${at}/class`, `${device.class ?? '0x020000'}\n`);
    this.#file('sys', `${at}/numa_node`, `${numa}\n`);
    this.#file('sys', `${at}/driver_override`, '(null)\n');
    if (vfs !== undefined) {
      this.#file('sys', `${at}/sriov_totalvfs`, `${vfs.total}\n`);
      this.#file('sys', `${at}/sriov_numvfs`, '0\n');
      this.#file('sys', `${at}/sriov_offset`, `${vfs.offset}\n`);
      this.#file('sys', `${at}/sriov_drivers_autoprobe`, '1\n');
    }
    if (group !== undefined) this.#join(address, group);
    this.addDriver(device.driver);
    this.#take(device, device.driver);
  }

  driverOf(address: string): string | undefined {
    const link = this.#sys(`bus/pci/devices/${address}/driver`);
    return existsSync(link) ? basename(readlinkSync(link)) : undefined;
  }

  read(path: string): string {
    return readFileSync(this.#sys(path), 'utf8').trim();
  }

  /** A program that has this file of /dev open. */
  hold(pid: number, name: string, file: string): void {
    this.#file('proc', `${pid}/comm`, `${name}\n`);
    mkdirSync(join(this.roots.proc, `${pid}/fd`), { recursive: true });
    symlinkSync(`/dev/${file}`, join(this.roots.proc, `${pid}/fd/7`));
  }

  letGo(pid: number): void {
    rmSync(join(this.roots.proc, `${pid}`), { recursive: true });
  }

  /** What sysfs has of drivers, overrides, functions and modes: to be compared before and after. */
  state(): object {
    return Object.fromEntries(
      [...this.#devices.keys()]
        .filter((address) => existsSync(this.#sys(`bus/pci/devices/${address}`)))
        .map((address) => {
          const at = `bus/pci/devices/${address}`;
          const text = (name: string) =>
            existsSync(this.#sys(`${at}/${name}`)) ? this.read(`${at}/${name}`) : '';
          return [
            address,
            [
              this.driverOf(address),
              text('driver_override'),
              text('sriov_numvfs'),
              text('sriov_drivers_autoprobe'),
            ],
          ];
        })
        .concat([['vfio', [this.#mode()]]]),
    );
  }

  /** As the kernel takes a write to a file of sysfs. */
  readonly write = async (path: string, value: string): Promise<void> => {
    const below = path.slice(this.roots.sys.length + 1);
    const code = this.refuses(below, value);
    if (code !== undefined) throw Object.assign(new Error(`${code}: refused`), { code });
    if (!existsSync(path)) throw Object.assign(new Error('ENOENT: no such file'), { code: 'ENOENT' });
    this.writes.push(`${below}: ${value.trim()}`);
    const [, address = ''] = /devices\/([^/]+)\//.exec(below) ?? [];
    switch (basename(below)) {
      case 'driver_override':
        return writeFileSync(path, value.trim() === '' ? '(null)\n' : `${value}\n`);
      case 'unbind':
        return this.#release(value);
      case 'bind':
        return this.#bind(value, basename(dirname(below)));
      case 'sriov_numvfs':
        return this.#setFunctions(address, Number(value));
      default:
        writeFileSync(path, `${value}\n`);
    }
  };

  #mode(): string {
    const path = 'module/vfio/parameters/enable_unsafe_noiommu_mode';
    return existsSync(this.#sys(path)) ? this.read(path) : '';
  }

  #release(address: string): void {
    const driver = this.driverOf(address);
    if (driver === undefined) throw Object.assign(new Error('ENODEV: no such device'), { code: 'ENODEV' });
    rmSync(this.#sys(`bus/pci/devices/${address}/driver`));
    rmSync(this.#sys(`bus/pci/drivers/${driver}/${address}`), { force: true });
    const device = this.#devices.get(address);
    if (driver === 'vfio-pci' && device?.group === undefined)
      rmSync(this.#sys(`bus/pci/devices/${address}/iommu_group`), { force: true });
    if (device?.link === undefined || driver !== device.driver) return;
    this.network?.unplug(device.link.mac);
    rmSync(this.#sys('class/net'), { recursive: true });
    mkdirSync(this.#sys('class/net'));
    for (const other of this.#devices.values())
      if (other !== device && this.driverOf(other.address) === other.driver) this.#publish(other);
  }

  #bind(address: string, driver: string): void {
    const device = this.#devices.get(address);
    if (device === undefined || this.driverOf(address) !== undefined)
      throw Object.assign(new Error('ENODEV: no such device'), { code: 'ENODEV' });
    const override = this.read(`bus/pci/devices/${address}/driver_override`);
    if (override === '(null)' ? driver !== device.driver : driver !== override)
      throw Object.assign(new Error('ENODEV: no such device'), { code: 'ENODEV' });
    if (driver === 'vfio-pci' && device.group === undefined && this.#mode() !== 'Y')
      throw Object.assign(new Error('EINVAL: no IOMMU'), { code: 'EINVAL' });
    this.#take(device, driver);
  }

  #take(device: FakePciDevice, driver: string): void {
    const { address, group } = device;
    const link = device.link && { ...device.link, mac: this.macOf(device.link.mac) };
    symlinkSync(`../../drivers/${driver}`, this.#sys(`bus/pci/devices/${address}/driver`));
    symlinkSync(`../../devices/${address}`, this.#sys(`bus/pci/drivers/${driver}/${address}`));
    if (driver === 'vfio-pci') {
      if (group === undefined) this.#join(address, '0');
      this.#file('dev', group === undefined ? 'vfio/noiommu-0' : `vfio/${group}`, '');
    }
    if (link === undefined || driver !== device.driver) return;
    this.#virtio += 1;
    const known = this.network?.open().link(this.nameOf(link.name));
    if (this.network !== undefined && known?.mac !== link.mac)
      this.network.addPhysical({
        name: this.nameOf(link.name),
        mac: link.mac,
        channels: { rx: 0, tx: 0, combined: 1, max_rx: 0, max_tx: 0, max_combined: 4 },
      });
    this.network?.sitsOn(link.mac, driver === 'virtio-pci' ? `virtio${this.#virtio}` : address);
    this.#publish(device);
  }

  #publish({ address, link, driver, features }: FakePciDevice): void {
    if (link === undefined) return;
    const below = driver === 'virtio-pci' ? `${address}/virtio0` : address;
    mkdirSync(this.#sys(`bus/pci/devices/${below}`), { recursive: true });
    if (features !== undefined)
      writeFileSync(this.#sys(`bus/pci/devices/${below}/features`), `${features}\n`);
    const name = this.nameOf(link.name);
    mkdirSync(this.#sys(`class/net/${name}`), { recursive: true });
    rmSync(this.#sys(`class/net/${name}/device`), { force: true });
    symlinkSync(`../../../bus/pci/devices/${below}`, this.#sys(`class/net/${name}/device`));
  }

  #setFunctions(address: string, count: number): void {
    const device = this.#devices.get(address);
    const at = `bus/pci/devices/${address}`;
    const present = Number(this.read(`${at}/sriov_numvfs`));
    if (device?.vfs === undefined || count > device.vfs.total || (present > 0 && count > 0))
      throw Object.assign(new Error('EBUSY: refused'), { code: 'EBUSY' });
    const [, bus = '0', slot = '0', function_ = '0'] = /:(..):(..)\.(.)$/.exec(address) ?? [];
    const first =
      Number.parseInt(bus, 16) * 256 + Number.parseInt(slot, 16) * 8 + Number(function_) + device.vfs.offset;
    const hex = (value: number): string => value.toString(16).padStart(2, '0');
    for (let number = 0; number < Math.max(present, count); number++) {
      const id = first + number;
      const own = `0000:${hex(id >> 8)}:${hex((id >> 3) & 31)}.${id & 7}`;
      if (count === 0) {
        rmSync(this.#sys(`bus/pci/devices/${own}`), { recursive: true });
        rmSync(this.#sys(`${at}/virtfn${number}`));
        this.#devices.delete(own);
        continue;
      }
      this.add({
        address: own,
        driver: 'iavf',
        vendor: '8086',
        device: device.vfs.device,
        ...(device.group !== undefined && { group: `${device.group}${number}` }),
      });
      symlinkSync(`../${address}`, this.#sys(`bus/pci/devices/${own}/physfn`));
      symlinkSync(`../${own}`, this.#sys(`${at}/virtfn${number}`));
      // As with no autoprobe.
      if (this.read(`${at}/sriov_drivers_autoprobe`) === '0') this.#release(own);
    }
    this.#file('sys', `${at}/sriov_numvfs`, `${count}\n`);
  }

  #join(address: string, group: string): void {
    const members = this.#sys(`kernel/iommu_groups/${group}/devices`);
    mkdirSync(members, { recursive: true });
    writeFileSync(join(members, address), '');
    symlinkSync(
      `../../../../kernel/iommu_groups/${group}`,
      this.#sys(`bus/pci/devices/${address}/iommu_group`),
    );
  }

  #sys(path: string): string {
    return join(this.roots.sys, path);
  }

  #file(root: keyof HostRoots, path: string, text: string): void {
    const whole = join(this.roots[root], path);
    mkdirSync(dirname(whole), { recursive: true });
    writeFileSync(whole, text);
  }
}
