import t from 'tap';
import type { Driver } from '../../src/config.js';
import { driverFor, largeSegments, uplink_drivers } from '../../src/uplink/drivers.js';

t.test(
  'the driver that was chosen, that was asked for, or the one that works with every device',
  async (t) => {
    t.equal(driverFor({ spec: { driver: 'af_xdp' } }).name, 'af_xdp');
    t.equal(driverFor({ driver: 'virtio', spec: {} }).name, 'virtio');
    t.equal(driverFor({ spec: {} }).name, 'af_packet');
  },
);

t.test('large segments need every uplink to cut them', async (t) => {
  const uplinks = (...drivers: Driver[]) => drivers.map((driver) => ({ driver }));
  t.ok(largeSegments(true, [...uplinks('af_packet', 'none'), {}]));
  t.notOk(largeSegments(true, uplinks('af_packet', 'af_xdp')));
  t.notOk(largeSegments(false, uplinks('af_packet')));
});

t.test('dpdk has the MAC that the host knows, where somebody has given the device another', async (t) => {
  const device = (link: object) => uplink_drivers.dpdk.device({ link } as never, 'main-eth0');
  const mac = '02:00:00:00:00:01';
  t.same(device({ mac, permanent_mac: mac }), { kind: 'existing_interface', tag: 'main-eth0' });
  t.match(device({ mac, permanent_mac: '02:00:00:00:00:99' }), { mac });
});
