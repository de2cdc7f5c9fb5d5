import t from 'tap';
import { FakeHostNetwork } from '../../lab/fake-host-network.js';
import { FakePci } from '../../lab/fake-pci.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import { forStart, pastIommuOf, pciOf } from '../../src/node/start-devices.js';
import { macs, specOf, UplinkLab } from '../uplink/uplink-lab.js';

const device = {
  address: '0000:00:03.0',
  driver: 'e1000e',
  vendor: '8086',
  device: '10d3',
  group: '5',
  link: { name: 'eth0', mac: macs[0]! },
};

t.test(
  'one start of VPP finds a device of DPDK, after Linux has let go of it; no other, which could take it from Linux',
  async (t) => {
    const pci = new FakePci(t.testdir(), new FakeHostNetwork());
    const lab = new UplinkLab(new TurnedClock(), 'physical', false, pci);
    pci.add(device);
    const spec = specOf({ driver: 'dpdk' });
    const named = (of: Parameters<typeof forStart>[2] = 'the next VPP') =>
      forStart(lab.host, [spec, specOf()], of).flatMap(({ driver, with_linux }) =>
        with_linux ? [] : [driver],
      );
    // As the process begins, and for all its life.
    const pciAddress = pciOf(lab.host, pci.roots);
    t.equal(pciAddress('eth0'), device.address);
    t.same(named(), ['af_packet']);

    const captured = lab.host.capture([spec]);
    await lab.host.take(captured);
    t.same(named(), ['af_packet'], 'a VPP that comes before the take-over has ended the one before');
    lab.host.giveToNextVpp(captured);
    t.equal(pciAddress('eth0'), device.address, 'Linux has no device of that name');
    t.same(named('the one that runs'), ['dpdk', 'af_packet']);
    t.same(named(), ['dpdk', 'af_packet']);
    lab.host.complete(captured);
    t.same(named(), ['af_packet'], 'VPP has died: Linux is about to get the device back');
    t.same(named('the one that runs'), ['dpdk', 'af_packet']);

    lab.host.giveToNextVpp(captured);
    t.same((await lab.host.restore()).remaining, []);
    t.same(named(), ['af_packet'], 'Linux has it');
    t.equal(pciAddress('eth0'), device.address);
  },
);

t.test(
  'a virtio device that goes past the IOMMU is known as such, before and after Linux has let go of it',
  async (t) => {
    const virtio = { ...device, driver: 'virtio-pci', vendor: '1af4', device: '1041' };
    const features = (asks: boolean): string => '0'.repeat(33) + (asks ? '1' : '0');
    for (const [each, past] of [
      [{ ...virtio, features: features(false) }, true],
      [{ ...virtio, features: features(true) }, false],
      [{ ...virtio, group: undefined, features: features(false) }, false],
      [device, false],
    ] as const) {
      const pci = new FakePci(t.testdir(), new FakeHostNetwork());
      const lab = new UplinkLab(new TurnedClock(), 'physical', false, pci);
      const { group, ...rest } = each;
      pci.add({ ...rest, ...(group !== undefined && { group }) });
      const goesPast = pastIommuOf(lab.host, pci.roots);
      t.equal(goesPast('eth0'), past);
      // vfio has no device that nothing isolates.
      if (group === undefined) continue;
      const captured = lab.host.capture([specOf({ driver: 'dpdk' })]);
      await lab.host.take(captured);
      t.equal(goesPast('eth0'), past, 'the kernel tells nothing of it any more');
      t.equal(goesPast('eth1'), false);
    }
  },
);

t.test('a record that cannot be read keeps no VPP from starting', async (t) => {
  const host = {
    taken: () => {
      throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
    },
    takeForNextVpp: () => new Set<string>(),
  };
  const roots = new FakePci(t.testdir()).roots;
  t.equal(pciOf(host, roots)('eth0'), '');
  t.equal(forStart(host, [specOf()], 'the one that runs').length, 1);
});
