import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import t from 'tap';
import { FakeHostNetwork } from '../../lab/fake-host-network.js';
import { FakePci, type FakePciDevice } from '../../lab/fake-pci.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import type { UplinkSpec } from '../../src/config.js';
import { uplinkTag } from '../../src/desired/node-inputs.js';
import { effectiveUplink } from '../../src/uplink/effective.js';
import { uplinkOf } from '../../src/uplink/uplink-of.js';
import { macs, second_spec, specOf, UplinkLab, vpp_netns } from './uplink-lab.js';

type Test = { testdir(): string };
type Machine = ConstructorParameters<typeof FakePci>[2];

const virtio: FakePciDevice = {
  address: '0000:00:03.0',
  driver: 'virtio-pci',
  group: '5',
  numa: 0,
  link: { name: 'eth0', mac: macs[0]! },
};
const vmxnet3: FakePciDevice = {
  ...virtio,
  group: undefined as never,
  driver: 'vmxnet3',
  vendor: '15ad',
  device: '07b0',
};
const e1000: FakePciDevice = { ...virtio, driver: 'e1000e', vendor: '8086', device: '10d3' };
const i225: FakePciDevice = { ...virtio, driver: 'igc', vendor: '8086', device: '15f2' };
const e810: FakePciDevice = {
  ...virtio,
  address: '0000:3b:00.0',
  driver: 'ice',
  vendor: '8086',
  device: '1592',
  vfs: { total: 8, offset: 256, device: '1889' },
};

/** Turns the clock until it has come. Files of the fake machine are read between two turns. */
async function turning<T>(lab: UplinkLab, promise: Promise<T>): Promise<T> {
  let is_over = false;
  void promise.finally(() => (is_over = true)).catch(() => undefined);
  while (!is_over) {
    // What is read of sysfs comes by the thread pool: the clock is not to run ahead of it.
    for (let n = 0; n < 10; n++) await stat('/');
    await (lab.clock as TurnedClock).advance(100);
  }
  return promise;
}

let directories = 0;

/** A host whose eth0 is this device, and whose eth1 is `second`. */
function machine(
  t: Test,
  device: FakePciDevice,
  settings: Machine = {},
  second?: FakePciDevice,
): UplinkLab & { pci: FakePci } {
  directories += 1;
  const pci = new FakePci(`${t.testdir()}/${directories}`, new FakeHostNetwork(), settings);
  const lab = new UplinkLab(new TurnedClock(), 'physical', second !== undefined, pci);
  pci.add(device);
  if (second !== undefined) pci.add({ ...second, link: { name: 'eth1', mac: macs[1]! } });
  return Object.assign(lab, { pci });
}

/** All that a take-over does to the host. */
async function takeOver(lab: UplinkLab, specs: readonly UplinkSpec[]): Promise<void> {
  const captured = await lab.host.take(lab.host.capture(specs));
  for (const { interface_name, index } of specs) lab.makeTap(interface_name, macs[index]!);
  const uplinks = captured.map((each) => uplinkOf(each, true, uplinkTag(each.spec.interface_name)));
  const cluster = { prefixes: ['10.96.0.0/16'], tap_address: '169.254.0.1/32' };
  if (lab.host.taps.dress(uplinks, captured, cluster).length === 0) lab.host.complete(captured);
}

const shown = (lab: UplinkLab): string =>
  // What tells a device of virtio's own bus is another one when it comes back.
  JSON.stringify(lab.state()).replaceAll(/virtio\d+/g, 'virtio');

/** By name: a device, how it is asked for, and its machine. */
const cases: Readonly<Record<string, readonly [FakePciDevice, Partial<UplinkSpec>, Machine?]>> = {
  virtio: [virtio, { driver: 'virtio' }],
  'virtio that nothing isolates': [
    { ...virtio, group: undefined } as never,
    { driver: 'virtio' },
    { unsafe_no_iommu: 'N' },
  ],
  'virtio by uio_pci_generic': [
    { ...virtio, group: undefined } as never,
    { driver: 'virtio', new_driver: 'uio_pci_generic' },
    { modules: ['uio_pci_generic'] },
  ],
  vmxnet3: [vmxnet3, { driver: 'vmxnet3', mtu: 1500 }, { unsafe_no_iommu: 'N' }],
  ige: [i225, { driver: 'ige' }],
  'iavf on a function of a card': [e810, { driver: 'iavf' }],
  dpdk: [e1000, { driver: 'dpdk' }],
};

t.test(
  'the device has the kernel driver by which VPP gets it, and Linux has it back as it was',
  async (t) => {
    for (const [name, [device, changes, settings]] of Object.entries(cases)) {
      const lab = machine(t, device, settings);
      const { pci } = lab;
      const [host, bound] = [shown(lab), pci.state()];
      await takeOver(lab, [specOf(changes)]);
      const given = device === e810 ? '0000:3c:00.0' : device.address;
      t.equal(pci.driverOf(given), changes.new_driver ?? 'vfio-pci', name);
      t.equal(
        pci.read(`bus/pci/devices/${given}/driver_override`),
        '(null)',
        `${name}: no rule is left behind`,
      );
      t.equal(lab.network.open().link('eth0')?.kind, 'tun', `${name}: a tap takes its place`);
      t.same((await lab.host.restore()).remaining, [], name);
      t.same(pci.state(), bound, name);
      t.equal(shown(lab), host, name);
      t.notOk(lab.host.isChanged());
    }
  },
);

t.test(
  'a device that its kernel driver does not reset is ended by Linux before it is used, unless it carries something',
  async (t) => {
    const wakes = async (device: FakePciDevice, changes: Partial<UplinkSpec>, carried?: string) => {
      const lab = machine(t, device, { unsafe_no_iommu: 'N' });
      await takeOver(lab, [specOf(changes)]);
      const { mutations } = lab.network as FakeHostNetwork;
      const before = mutations.length;
      if (carried !== undefined) {
        const statistics = join(lab.pci.roots.sys, 'class/net/eth0/statistics');
        mkdirSync(statistics, { recursive: true });
        writeFileSync(join(statistics, 'rx_packets'), carried);
      }
      t.same((await lab.host.restore()).remaining, []);
      const { index } = lab.network.open().link('eth0')!;
      return mutations
        .slice(before)
        .flatMap(({ change }) =>
          change.do === 'set_link' && change.link === index && change.up !== undefined ? [change.up] : [],
        );
    };
    t.same(await wakes(vmxnet3, { driver: 'vmxnet3', mtu: 1500 }), [true, false, true]);
    t.same(await wakes(vmxnet3, { driver: 'vmxnet3', mtu: 1500 }, '0\n'), [true, false, true]);
    t.same(await wakes(vmxnet3, { driver: 'vmxnet3', mtu: 1500 }, '7\n'), [true]);
    t.same(await wakes(virtio, { driver: 'virtio' }), [true]);
  },
);

t.test('the device of a program that has it open is not taken from it, and its undo waits', async (t) => {
  const lab = machine(t, virtio);
  const host = shown(lab);
  await takeOver(lab, [specOf({ driver: 'virtio' })]);
  lab.pci.hold(4711, 'vpp_main', 'vfio/5');
  t.same(await lab.host.held(), ['vpp_main (process 4711) has 0000:00:03.0 open']);
  const { remaining, results } = await turning(lab, lab.host.restore());
  t.ok(remaining.some(({ kind }) => kind === 'bind_driver'));
  t.match(
    results.find(({ step }) => step.kind === 'bind_driver'),
    { outcome: 'failed', reason: /vpp_main \(process 4711\) has PCI device 0000:00:03.0 open: end it/ },
  );
  t.equal(lab.pci.driverOf(virtio.address), 'vfio-pci');
  lab.pci.letGo(4711);
  t.same(await lab.host.held(), []);
  t.same((await lab.host.restore()).remaining, []);
  t.equal(shown(lab), host);
});

t.test('a device that its driver has made anew is what an administrator had made of it', async (t) => {
  const lab = machine(t, virtio);
  const own = lab.network.open();
  const link = own.link('eth0')!.index;
  own.apply({
    do: 'set_link',
    link,
    group: 7,
    alias: 'rack 4, port 2',
    txqlen: 4000,
    mac: '02:00:00:00:00:aa',
  });
  own.apply({ do: 'add_altname', link, altname: 'enp0s3' });
  const host = shown(lab);
  await takeOver(lab, [specOf({ driver: 'virtio' })]);
  t.same((await lab.host.restore()).remaining, []);
  t.equal(shown(lab), host);
  t.match(lab.network.open().link('eth0'), { group: 7, alias: 'rack 4, port 2', txqlen: 4000 });
});

t.test('a device that comes back under the name that the kernel gives it gets its own', async (t) => {
  const lab = machine(t, virtio);
  const host = shown(lab);
  await takeOver(lab, [specOf({ driver: 'virtio' })]);
  lab.pci.nameOf = () => 'eth7';
  t.same((await lab.host.restore()).remaining, []);
  t.equal(shown(lab), host);
});

t.test(
  'two devices that come back each under the name of the other get their own, and the routes that lead by both',
  async (t) => {
    const second = { ...virtio, address: '0000:00:04.0', group: '6' };
    const lab = machine(t, virtio, {}, second);
    const own = lab.network.open();
    const [one, two] = ['eth0', 'eth1'].map((name) => own.link(name)!.index) as [number, number];
    const next_hops = [
      { oif: one, gateway: '10.0.0.1' },
      { oif: two, gateway: '10.1.0.1' },
    ];
    own.apply({ do: 'add_route', route: { family: 4, prefix: '10.77.0.0/16', next_hops } });
    const host = shown(lab);
    await takeOver(lab, [specOf({ driver: 'virtio' }), { ...second_spec, driver: 'virtio' }]);
    // As the kernel names them where nothing renames them (net.ifnames=0): the first that comes is eth0.
    lab.pci.nameOf = (name) => (name === 'eth0' ? 'eth1' : 'eth0');
    const { results, remaining } = await turning(lab, lab.host.restore());
    t.same(
      results.flatMap((result) => (result.outcome === 'failed' ? [result.reason] : [])),
      [],
    );
    t.same(remaining, []);
    t.equal(shown(lab), host);
  },
);

t.test('a device whose driver gives it another MAC each time is known by its PCI function', async (t) => {
  const vf: FakePciDevice = { ...virtio, driver: 'iavf', vendor: '8086', device: '1889' };
  const lab = machine(t, vf);
  const { addresses } = lab.state() as { addresses: readonly string[] };
  await takeOver(lab, [specOf({ driver: 'dpdk' })]);
  lab.pci.macOf = () => '9e:00:00:00:00:77';
  lab.pci.nameOf = () => 'eth3';
  const { results, remaining } = await turning(lab, lab.host.restore());
  t.same(
    results.flatMap((result) => (result.outcome === 'failed' ? [result.reason] : [])),
    [],
  );
  t.same(remaining, []);
  const now = lab.state() as { addresses: readonly string[] };
  t.same(
    addresses.filter((address) => !now.addresses.includes(address)),
    [],
  );
});

t.test(
  'a virtual function is asked for no more queues than its card grants, as far as Linux knows',
  async (t) => {
    const vf: FakePciDevice = { ...virtio, driver: 'iavf', vendor: '8086', device: '1889' };
    const queuesOf = (device: FakePciDevice, rx_queues: number, tx_queues = 1) => {
      const lab = machine(t, device);
      const [captured] = lab.host.capture([specOf({ driver: 'iavf', rx_queues, tx_queues })]);
      const {
        rx_queues: rx,
        tx_queues: tx,
        slower,
      } = effectiveUplink(captured!, uplinkOf(captured!, true, 'main-eth0'), { asked: true, on: true });
      return { rx, tx, slower };
    };
    t.same(queuesOf(vf, 8, 6), {
      rx: 4,
      tx: 4,
      slower: [
        '4 receive queues in place of 8: no more are to be had',
        '4 send queues in place of 6: no more are to be had',
      ],
    });
    t.same(queuesOf(vf, 3, 2), { rx: 3, tx: 2, slower: [] });
    t.same(
      queuesOf(e810, 8, 8),
      { rx: 8, tx: 8, slower: [] },
      'the channels of a card are no matter of its function',
    );
  },
);

t.test('what an administrator wants to drive the device is so again', async (t) => {
  const lab = machine(t, virtio);
  await lab.pci.write(`${lab.pci.roots.sys}/bus/pci/devices/${virtio.address}/driver_override`, 'virtio-pci');
  const bound = lab.pci.state();
  await takeOver(lab, [specOf({ driver: 'virtio' })]);
  t.same((await lab.host.restore()).remaining, []);
  t.same(lab.pci.state(), bound);
});

t.test('what else a device carries is not taken from others with it', async (t) => {
  const card: FakePciDevice = { ...e1000, vfs: { total: 4, offset: 128, device: '10ca' } };
  const lab = machine(t, card);
  const at = `${lab.pci.roots.sys}/bus/pci/devices/${card.address}`;
  await lab.pci.write(`${at}/sriov_numvfs`, '1');
  t.throws(
    () => lab.host.capture([specOf({ driver: 'dpdk' })]),
    /eth0 has virtual functions \(0000:00:13.0\): they go with its kernel driver/,
  );
  await lab.pci.write(`${at}/sriov_numvfs`, '0');
  for (const name of ['eth0', 'eth5']) mkdirSync(`${at}/net/${name}`, { recursive: true });
  t.throws(
    () => lab.host.capture([specOf({ driver: 'dpdk' })]),
    /eth0 is one PCI device with eth5: VPP gets it as a whole/,
  );
  t.ok(lab.host.capture([specOf({ driver: 'af_packet' })]), 'which takes nothing else along');
});

t.test('a container without the file of the device is told so', async (t) => {
  const device = { ...virtio, group: undefined } as never;
  const lab = machine(t, device, { modules: ['uio_pci_generic'] });
  const host = shown(lab);
  const { write } = lab.pci;
  lab.writes(async (path, value) => {
    await write(path, value);
    if (path.endsWith('uio_pci_generic/bind'))
      mkdirSync(`${lab.pci.roots.sys}/bus/pci/devices/${virtio.address}/uio/uio0`, { recursive: true });
  });
  await t.rejects(
    takeOver(lab, [specOf({ driver: 'virtio', new_driver: 'uio_pci_generic' })]),
    /bound to uio_pci_generic, and none of \/dev\/uio0 is here: mount the host's \/dev/,
  );
  t.same((await lab.host.restore()).remaining, []);
  t.equal(shown(lab), host);
});

t.test('af_packet and virtio on one host', async (t) => {
  const lab = machine(t, virtio, {}, { ...e1000, address: '0000:00:04.0', group: '6' });
  const [host, bound] = [shown(lab), lab.pci.state()];
  await takeOver(lab, [specOf({ driver: 'virtio' }), second_spec]);
  t.equal(lab.pci.driverOf(virtio.address), 'vfio-pci');
  t.equal(lab.pci.driverOf('0000:00:04.0'), 'e1000e');
  t.ok(lab.network.open(vpp_netns).link('eth1'));
  t.same((await lab.host.restore()).remaining, []);
  t.same(lab.pci.state(), bound);
  t.equal(shown(lab), host);
});

t.test('without the journal the captured uplinks tell what is to be undone', async (t) => {
  const lab = machine(t, virtio);
  const host = shown(lab);
  await takeOver(lab, [specOf({ driver: 'virtio' })]);
  lab.files.contents.clear();
  const fresh = lab.restarted();
  t.same(fresh.recoverJournal(), ['eth0']);
  lab.removeTap();
  t.same((await fresh.restore()).remaining, []);
  t.equal(shown(lab), host);
});

t.test(
  'what the release before has written, which knew nothing of PCI devices, gives the host back',
  async (t) => {
    for (const has_journal of [true, false]) {
      const lab = machine(t, virtio);
      const [host, bound] = [shown(lab), lab.pci.state()];
      const { driver: _, ...spec } = specOf();
      await takeOver(lab, [spec]);
      const added = new Set(['pci', 'driver', 'passed_over', 'offloads', 'leased']);
      for (const [path, text] of lab.captured_files.contents) {
        const old = JSON.parse(text, (key, value) => (added.has(key) ? undefined : value));
        t.notSame(old, JSON.parse(text));
        lab.captured_files.contents.set(path, `${JSON.stringify(old)}\n`);
      }
      if (!has_journal) lab.files.contents.clear();
      const fresh = lab.restarted();
      t.equal(fresh.taken()?.phase, 'taken');
      t.same(await fresh.held(), []);
      const [taken] = fresh.taken()!.uplinks;
      const uplink = uplinkOf(taken!, true, 'main-eth0');
      t.match(uplink.device, { kind: 'af_packet', gso: true });
      t.match(effectiveUplink(taken!, uplink, { asked: true, on: true }), {
        driver: 'af_packet',
        slower: [],
      });
      t.same(fresh.recoverJournal(), has_journal ? [] : ['eth0']);
      lab.removeTap();
      t.same((await fresh.restore()).remaining, []);
      t.equal(shown(lab), host);
      t.same(lab.pci.state(), bound);
    }
  },
);

t.test('a machine that has lost the device says so, and gives back the rest', async (t) => {
  const lab = machine(t, virtio);
  await takeOver(lab, [specOf({ driver: 'virtio' })]);
  lab.pci.refuses = () => 'ENODEV';
  t.ok((await turning(lab, lab.host.restore())).remaining.length > 0);
  lab.pci.refuses = () => undefined;
  t.same((await lab.host.restore()).remaining, []);
});

t.test(
  'the card whose function VPP has lies in VPP’s namespace, with a MAC that its function has not',
  async (t) => {
    const lab = machine(t, e810);
    await takeOver(lab, [specOf({ driver: 'iavf' })]);
    t.match(lab.network.open(vpp_netns).link('eth0'), { up: true, mac: macs[0] });
    const told = lab.network.mutations.flatMap(({ change }) => (change.do === 'set_vf' ? [change] : []));
    t.match(told, [{ vf: 0, mac: '06:00:00:00:00:01', trust: true, spoof_check: false }]);
  },
);

t.test('a card that shares its isolation makes a function, which must not share its own', async (t) => {
  const port: FakePciDevice = { ...e810, address: '0000:3b:00.1', link: { name: 'eth9', mac: macs[1]! } };
  const lab = machine(t, e810);
  lab.pci.add({ ...port, link: undefined as never });
  await takeOver(lab, [specOf({ driver: 'iavf' })]);
  t.equal(lab.pci.driverOf('0000:3c:00.0'), 'vfio-pci', 'it is not the card that vfio gets');
  t.same((await lab.host.restore()).remaining, []);

  const other = machine(t, e810);
  const [host, bound] = [shown(other), other.pci.state()];
  const { write } = other.pci;
  other.writes(async (path, value) => {
    await write(path, value);
    if (path.endsWith('sriov_numvfs') && value === '1')
      other.pci.add({ ...e810, address: '0000:3c:1f.7', group: '50', link: undefined as never });
  });
  await t.rejects(
    takeOver(other, [specOf({ driver: 'iavf' })]),
    /virtual function 0000:3c:00.0 shares IOMMU group 50 with 0000:3c:1f.7 \(ice\)/,
  );
  t.same((await other.host.restore()).remaining, []);
  t.equal(shown(other), host);
  t.match(other.pci.state(), bound);
});

t.test(
  'virtual functions of an uplink that somebody else has made, and has open, are nobody’s business',
  async (t) => {
    const lab = machine(t, e810);
    await lab.pci.write(`${lab.pci.roots.sys}/bus/pci/devices/${e810.address}/sriov_numvfs`, '1');
    const [vf] = ['0000:3c:00.0'];
    await lab.pci.write(`${lab.pci.roots.sys}/bus/pci/devices/${vf}/driver_override`, 'vfio-pci');
    await lab.pci.write(`${lab.pci.roots.sys}/bus/pci/devices/${vf}/driver/unbind`, vf!);
    await lab.pci.write(`${lab.pci.roots.sys}/bus/pci/drivers/vfio-pci/bind`, vf!);
    lab.pci.hold(12, 'qemu', 'vfio/50');
    t.throws(() => lab.host.capture([specOf({ driver: 'iavf' })]), /has virtual functions already/);
    await takeOver(lab, [specOf({ driver: 'af_packet' })]);
    t.same(await lab.host.held(), []);
    t.same((await lab.host.restore()).remaining, []);
    t.equal(lab.pci.driverOf(vf!), 'vfio-pci');
  },
);

t.test('an abort is heard between two changes of a device', async (t) => {
  const lab = machine(t, virtio);
  const host = shown(lab);
  const abort = new AbortController();
  lab.pci.refuses = (path) => {
    if (path.endsWith('driver_override')) abort.abort(new Error('VPP died'));
    return undefined;
  };
  const second = { ...specOf({ driver: 'virtio' }) };
  await lab.host.take(lab.host.capture([second]), abort.signal).catch(() => undefined);
  lab.pci.refuses = () => undefined;
  t.same((await lab.host.restore()).remaining, []);
  t.equal(shown(lab), host);
});

t.test(
  'while the kernel binds or unbinds a driver of the device, nothing here waits in the kernel',
  async (t) => {
    const lab = machine(t, virtio);
    const host = shown(lab);
    const { pci } = lab;
    const at = `${pci.roots.sys}/bus/pci/devices/${virtio.address}`;
    const shows = readFileSync(`${at}/driver_override`);
    // Whoever opens it waits until somebody opens the other end: so does the kernel, for its lock.
    rmSync(`${at}/driver_override`);
    t.equal(spawnSync('mkfifo', [`${at}/driver_override`]).status, 0);
    const captured = lab.host.capture([specOf({ driver: 'virtio' })]);
    t.match(captured, [{ pci: { address: virtio.address } }], 'it is read all the same');
    const taking = lab.host.take(captured);
    await t.rejects(
      turning(lab, taking),
      /the kernel has not shown .*driver_override within 20000 ms: a driver of the device is being bound or unbound/,
    );
    t.same(pci.writes, []);
    t.notOk(lab.host.isChanged());
    // One thread waits, and no second one for the same.
    const again = lab.host.take(captured);
    writeFileSync(`${at}/driver_override`, shows);
    rmSync(`${at}/driver_override`);
    writeFileSync(`${at}/driver_override`, shows);
    await turning(lab, again);
    t.equal(pci.driverOf(virtio.address), 'vfio-pci');
    t.same((await lab.host.restore()).remaining, []);
    t.equal(shown(lab), host);
  },
);

t.test('a kernel that does not let go of the device in time is not asked again until it has', async (t) => {
  const lab = machine(t, virtio);
  const { pci } = lab;
  const [host, bound] = [shown(lab), pci.state()];
  let letGo = (): void => {};
  const done = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const { write } = pci;
  const asked: string[] = [];
  lab.writes(async (path, value) => {
    asked.push(basename(path));
    if (path.endsWith('virtio-pci/unbind') || path.endsWith('driver/unbind')) await done;
    return write(path, value);
  });
  await t.rejects(
    turning(lab, takeOver(lab, [specOf({ driver: 'virtio' })])),
    /the kernel has not taken "0000:00:03.0" in .*unbind within 20000 ms/,
  );
  t.same(asked, ['driver_override', 'unbind']);
  const { results } = await turning(lab, lab.host.restore());
  t.same(results.flatMap((result) => (result.outcome === 'failed' ? [result.step.kind] : [])).slice(0, 1), [
    'bind_driver',
  ]);
  t.match(
    results.find(({ step }) => step.kind === 'add_address'),
    { outcome: 'failed', reason: /the kernel is not done with its device/ },
    'what the link would lose again',
  );
  letGo();
  for (let n = 0; n < 20; n++) await new Promise((resolve) => setImmediate(resolve));
  t.same((await turning(lab, lab.host.restore())).remaining, []);
  t.same(pci.state(), bound);
  t.equal(shown(lab), host);
});

t.test(
  'a device whose IOMMU group another program has open is left alone, before anything is touched',
  async (t) => {
    const lab = machine(t, virtio);
    // By another card of the group, which vfio-pci has: a virtual machine's.
    lab.pci.hold(4711, 'qemu-system-x86', 'vfio/5');
    const captured = lab.host.capture([specOf({ driver: 'virtio' })]);
    await t.rejects(
      lab.host.mustBeFree(captured),
      /uplink eth0 is of IOMMU group 5, which qemu-system-x86 \(process 4711\) has open: vfio gives a group to one program alone.*; end that program/,
    );
    await lab.host.mustBeFree(lab.host.capture([specOf({ driver: 'af_packet' })]));
    lab.pci.letGo(4711);
    await lab.host.mustBeFree(captured);
    t.same(lab.pci.writes, []);
  },
);
