import t from 'tap';
import { podLab } from './pod-lab.js';

t.test('ADD then DEL', async (t) => {
  const lab = await podLab(t);
  t.match(await lab.add('p1', { ips: ['10.0.0.1/24', 'fd00::1/64'] }), {
    successful: true,
    hostInterfaceName: 'vpp-tun-1',
  });
  t.equal(lab.phase('p1'), 'done');
  console.log(JSON.stringify(lab.host.snapshot(lab.netns('p1')), null, 1), lab.vpp.kinds(), lab.store.writes);
  t.match(await lab.del('p1'), { successful: true });
  t.strictSame(lab.vpp.objects, []);
  t.strictSame(lab.pods, []);
  console.log(lab.store.writes);
});
