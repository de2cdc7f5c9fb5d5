import t from 'tap';
import type { Driver } from '../../src/config.js';
import { driverFor, largeSegments } from '../../src/uplink/drivers.js';

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
