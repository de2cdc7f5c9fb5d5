import { mkdirSync, symlinkSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import t from 'tap';
import { FakeHostNetwork } from '../../lab/fake-host-network.js';
import { FakePci, type FakePciDevice } from '../../lab/fake-pci.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import type { Driver, UplinkSpec } from '../../src/config.js';
import { uplinkTag } from '../../src/desired/node-inputs.js';
import { uplink_drivers } from '../../src/uplink/drivers.js';
import { uplinkOf } from '../../src/uplink/uplink-of.js';
import { macs, specOf, UplinkLab, vpp_netns } from './uplink-lab.js';

const nic: FakePciDevice = {
  address: '0000:00:03.0',
  driver: 'virtio-pci',
  group: '5',
  numa: 0,
  link: { name: 'eth0', mac: macs[0]! },
};
const { group: _, ...past_the_iommu } = nic;
const e1000e: FakePciDevice = { ...nic, driver: 'e1000e', vendor: '8086', device: '10d3' };
const i225: FakePciDevice = { ...nic, driver: 'igc', vendor: '8086', device: '15f2' };
const mlx5: FakePciDevice = { ...nic, driver: 'mlx5_core', vendor: '15b3', device: '101d' };
const e810: FakePciDevice = {
  ...nic,
  address: '0000:3b:00.0',
  driver: 'ice',
  vendor: '8086',
  device: '1592',
  vfs: { total: 8, offset: 256, device: '1889' },
};
const vf: FakePciDevice = { ...nic, address: '0000:3c:00.1', driver: 'iavf', vendor: '8086', device: '1889' };

interface Way {
  readonly device: FakePciDevice;
  readonly spec?: Partial<UplinkSpec>;
  readonly machine?: ConstructorParameters<typeof FakePci>[2];
  /** By what VPP gets it: the kernel driver that its device, or the function made of it, has then. */
  readonly bound?: readonly [pci: string, driver: string];
}

/** Each driver, in each way in which it gets its device. */
const ways: Readonly<Record<Driver, Readonly<Record<string, Way>>>> = {
  af_packet: { 'on any device': { device: e1000e } },
  af_xdp: { 'with queues of its own': { device: e1000e, spec: { rx_queues: 4 } } },
  none: { 'by a start-up file': { device: e1000e } },
  virtio: {
    'by vfio': { device: nic, bound: [nic.address, 'vfio-pci'] },
    "by vfio's unsafe mode": {
      device: past_the_iommu,
      machine: { unsafe_no_iommu: 'N' },
      bound: [nic.address, 'vfio-pci'],
    },
    'by uio_pci_generic': {
      device: past_the_iommu,
      spec: { new_driver: 'uio_pci_generic' },
      machine: { modules: ['uio_pci_generic'] },
      bound: [nic.address, 'uio_pci_generic'],
    },
  },
  vmxnet3: {
    "by vfio's unsafe mode": {
      device: { ...past_the_iommu, driver: 'vmxnet3', vendor: '15ad', device: '07b0' },
      spec: { mtu: 1500 },
      machine: { unsafe_no_iommu: 'N' },
      bound: [nic.address, 'vfio-pci'],
    },
  },
  rdma: { 'beside its kernel driver': { device: mlx5, bound: [nic.address, 'mlx5_core'] } },
  iavf: {
    'a function that is made of a card': { device: e810, bound: ['0000:3c:00.0', 'vfio-pci'] },
    'a function that is there': { device: vf, bound: [vf.address, 'vfio-pci'] },
    'a function that a virtual machine was given': {
      device: { ...vf, address: nic.address },
      bound: [nic.address, 'vfio-pci'],
    },
  },
  ige: { 'by vfio': { device: i225, bound: [nic.address, 'vfio-pci'] } },
  dpdk: {
    'by vfio': { device: e1000e, bound: [nic.address, 'vfio-pci'] },
    'beside its kernel driver': { device: mlx5, bound: [nic.address, 'mlx5_core'] },
    'with the kernel driver that a section of the user wants': {
      device: e1000e,
      spec: { new_driver: 'e1000e' },
      bound: [nic.address, 'e1000e'],
    },
  },
};

const all = Object.entries(ways).flatMap(([driver, those]) =>
  Object.entries(those).map(([how, way]) => ({ driver: driver as Driver, name: `${driver} ${how}`, way })),
);

type Lab = UplinkLab & { pci: FakePci };
let directories = 0;
const begun = new WeakSet<object>();

function machine(t: { testdirName: string; testdir(): string }, { device, machine: settings }: Way): Lab {
  // Once for each test: it is removed behind it.
  if (!begun.has(t)) t.testdir();
  begun.add(t);
  directories += 1;
  const pci = new FakePci(`${t.testdirName}/${directories}`, new FakeHostNetwork(), settings);
  const lab = new UplinkLab(new TurnedClock(), 'physical', false, pci);
  pci.add(device);
  const { sys, dev } = pci.roots;
  for (const path of [`${sys}/class/infiniband_verbs/uverbs0`, `${dev}/infiniband/uverbs0`])
    mkdirSync(path, { recursive: true });
  if (device === vf) symlinkSync('../0000:3b:00.0', `${sys}/bus/pci/devices/${device.address}/physfn`);
  // Of a section of the user, where there is one: it names no card.
  lab.has({ dpdk_devices: [] });
  return Object.assign(lab, { pci });
}

/** All that a take-over does to the host. `attached`: VPP has looked the device up by its name. */
async function takeOver(lab: Lab, spec: UplinkSpec, attached: () => void = () => undefined): Promise<void> {
  const { host } = lab;
  const captured = await host.take(host.capture([spec]));
  if (uplink_drivers[spec.driver!].needs_new_vpp) host.giveToNextVpp(captured);
  attached();
  host.moveAttached(captured);
  lab.makeTap('eth0', macs[0]!);
  const uplinks = captured.map((each) => uplinkOf(each, true, uplinkTag(each.spec.interface_name)));
  const cluster = { prefixes: ['10.96.0.0/16'], tap_address: '169.254.0.1/32' };
  const [failed] = host.taps.dress(uplinks, captured, cluster);
  if (failed !== undefined) throw new Error(`${failed}`);
  host.complete(captured);
}

/** What tells a device of virtio's own bus is another one when it comes back. */
const shown = (lab: Lab): string =>
  JSON.stringify([lab.state(), lab.pci.state()]).replaceAll(/virtio\d+/g, 'virtio');

async function turning<T>(lab: Lab, promise: Promise<T>): Promise<T> {
  let is_over = false;
  void promise.finally(() => (is_over = true)).catch(() => undefined);
  while (!is_over) {
    // What is read of sysfs comes by the thread pool: the clock is not to run ahead of it.
    for (let n = 0; n < 10; n++) await stat('/');
    await (lab.clock as TurnedClock).advance(100);
  }
  return promise;
}

/** Calls before each change of the host, be it one of Linux's network or a write to sysfs, and behind it. */
function watchChanges(lab: Lab, before: () => void, behind: () => void): void {
  const { network, pci } = lab;
  network.refuses = () => {
    before();
    return undefined;
  };
  const { mutations } = network;
  const push = mutations.push.bind(mutations);
  mutations.push = (...made) => {
    const length = push(...made);
    behind();
    return length;
  };
  const { write } = pci;
  lab.writes(async (path, value) => {
    before();
    await write(path, value);
    behind();
  });
}

/** All is as a kernel has it that refuses nothing. */
function unwatch(lab: Lab): void {
  lab.network.refuses = () => undefined;
  Reflect.deleteProperty(lab.network.mutations, 'push');
  lab.writes(lab.pci.write);
}

t.test('each driver: VPP gets the device, and Linux has it back as it was', async (t) => {
  t.same(
    Object.keys(ways).sort(),
    Object.keys(uplink_drivers).sort(),
    'a driver that is new is tried here, too',
  );
  for (const { driver, name, way } of all) {
    const lab = machine(t, way);
    const host = shown(lab);
    await takeOver(lab, specOf({ driver, ...way.spec }));
    t.equal(lab.network.open().link('eth0')?.kind, 'tun', `${name}: a tap takes its place`);
    const [pci, kernel_driver] = way.bound ?? [way.device.address, way.device.driver];
    t.equal(lab.pci.driverOf(pci), kernel_driver, name);
    const facts = { pci: lab.host.taken()!.uplinks[0]!.pci, spec: specOf({ driver, ...way.spec }) } as never;
    t.equal(
      lab.network.open(vpp_netns).link('eth0') !== undefined,
      uplink_drivers[driver].moves(facts),
      `${name}: where the device of Linux is`,
    );
    lab.removeTap();
    t.same((await turning(lab, lab.host.restore())).remaining, [], name);
    t.equal(shown(lab), host, name);
    t.notOk(lab.host.isChanged());
    t.equal(lab.host.taken(), undefined);
  }
});

t.test(
  'each driver: whichever change fails, and wherever the process or VPP dies, the host gets all back',
  async (t) => {
    class Broken extends Error {}
    for (const { driver, name, way } of all) {
      const spec = specOf({ driver, ...way.spec });
      let changes = 0;
      const whole = machine(t, way);
      watchChanges(
        whole,
        () => (changes += 1),
        () => undefined,
      );
      await takeOver(whole, spec);
      t.ok(changes > 10, `${name}: ${changes} changes`);
      for (let n = 1; n <= changes; n++) {
        for (const how of ['is refused', 'dies before', 'dies behind'] as const) {
          const lab = machine(t, way);
          const host = shown(lab);
          let at = 0;
          watchChanges(
            lab,
            () => {
              at += 1;
              const is_over = how !== 'is refused' && at > n;
              if (is_over || (at === n && how !== 'dies behind')) throw new Broken();
            },
            () => {
              if (how === 'dies behind' && at >= n) throw new Broken();
            },
          );
          await takeOver(lab, spec).catch((error: unknown) => t.ok(error instanceof Error));
          unwatch(lab);
          // With VPP its tap goes.
          lab.removeTap();
          const next = how === 'is refused' ? lab.host : lab.restarted();
          const report = await turning(lab, next.restore());
          const told = `${name}: change ${n} of ${changes} ${how}`;
          t.same(report.remaining, [], told);
          t.equal(shown(lab), host, told);
          t.notOk(next.isChanged(), told);
        }
      }
    }
  },
);

t.test('each driver: VPP refuses the device, or dies of it, before the host has its tap', async (t) => {
  for (const { driver, name, way } of all) {
    const lab = machine(t, way);
    const host = shown(lab);
    const refuses = (): void => {
      throw new Error('VPP refused to add');
    };
    await t.rejects(takeOver(lab, specOf({ driver, ...way.spec }), refuses), /VPP refused/, name);
    t.ok(lab.host.isChanged(), name);
    t.same((await turning(lab, lab.host.restore())).remaining, [], name);
    t.equal(shown(lab), host, name);
    t.equal(lab.host.takeForNextVpp().size, 0, `${name}: the next VPP is given nothing that Linux has`);
  }
});
