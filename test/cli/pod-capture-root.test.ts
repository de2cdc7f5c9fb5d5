/** A capture of a pod listens at the pod's own device alone, ends when it is told to, and says what it cannot have. */
import t from 'tap';
import { canUseNetns, NetnsLab } from '../../lab/netns.js';
import { Interruption } from '../../src/cli/interruption.js';
import { link_types, packetsOf } from '../../src/cli/pcap-file.js';
import { capturePod } from '../../src/cli/pod-capture.js';

const reason = canUseNetns();

t.test('a capture of a pod', reason === undefined ? {} : { skip: reason }, async (t) => {
  const lab = new NetnsLab();
  t.teardown(() => lab.close());
  const netns = lab.namespace('pod');
  for (const argv of [
    ['ip', 'tuntap', 'add', 'eth0', 'mode', 'tun'],
    ['ip', 'address', 'add', '10.0.1.2/32', 'dev', 'eth0'],
    ['ip', 'link', 'set', 'eth0', 'up'],
  ])
    lab.run('pod', ...argv);
  const device = { interface: 'eth0', netns, addresses: ['10.0.1.2'] };
  const limits = { packets: 5, seconds: 300, bytes: 64, filter: undefined };
  const said: string[] = [];
  const capture = (of: Partial<typeof device>, more: object = {}, interruption = new Interruption()) =>
    capturePod('default/web-0', { ...device, ...of }, { ...limits, ...more }, interruption, (text) => {
      said.push(text);
      interruption.ask();
    });

  const file = await capture({});
  t.equal(file.readUInt32LE(20), link_types.raw, 'of a tun');
  t.strictSame(packetsOf(file), []);
  t.match(said, [/^up to 5 packets of eth0 of pod default\/web-0, 300 s left$/, '0 packets']);

  for (const [what, of] of Object.entries({
    'another pod has its place': { addresses: ['10.0.1.3'] },
    'it has gone': { interface: 'eth1' },
    'a device that VPP did not make': { interface: 'lo', addresses: ['127.0.0.1'] },
    'its namespace has gone': { netns: '/nowhere' },
    'its process is another one, on the node': { netns: '/proc/self/ns/net' },
  }))
    await t.rejects(capture(of), /device .* is not in /, what);
  await t.rejects(capture({}, { filter: 'no such thing' }), /filter "no such thing" is not to be had: .+/);
});
