import t from 'tap';
import { FakeHostNetwork } from '../../lab/fake-host-network.js';
import { within } from '../../src/linux/within.js';
import { TapChecksums } from '../../src/uplink/tap-checksums.js';

t.test(
  'what an earlier life has taken from the taps is given back to them, and to nothing else',
  async (t) => {
    const network = new FakeHostNetwork();
    network.addVirtual({ name: 'eth0', mac: '02:00:00:00:00:01', kind: 'tun' });
    network.addPhysical({ name: 'eth1', mac: '02:00:00:00:00:02' });
    const warnings: string[] = [];
    const life = () =>
      new TapChecksums(network, ['eth0', 'eth1'], {
        warn: (...words) => warnings.push(String(words.at(-1))),
      });
    const byDevice = (name: string): boolean => within(network.open(), (own) => own.offloads(name));
    const take = (name: string): void => within(network.open(), (own) => own.setChecksums(name, false));
    take('eth1');
    const first = life();
    first.set(true);
    t.notOk(byDevice('eth0'));
    const second = life();
    second.set(false);
    t.ok(byDevice('eth0'), 'where WireGuard was switched off meanwhile');
    t.notOk(byDevice('eth1'), 'which is not VPP’s');
    take('eth0');
    second.set(false);
    t.notOk(byDevice('eth0'), 'what the host has set since then is its own matter');
    second.set(true);
    second.set(false);
    t.ok(byDevice('eth0'));
    t.strictSame(warnings, []);
  },
);

t.test('what could not be given back is given back the next time', async (t) => {
  const network = new FakeHostNetwork();
  network.addVirtual({ name: 'eth0', mac: '02:00:00:00:00:01', kind: 'tun' });
  within(network.open(), (own) => own.setChecksums('eth0', false));
  let fails = true;
  const open = () => {
    if (fails) throw new Error('EMFILE');
    return network.open();
  };
  const warnings: string[] = [];
  const taps = new TapChecksums(
    Object.assign(Object.create(network) as FakeHostNetwork, { open }),
    ['eth0'],
    {
      warn: (...words) => warnings.push(String(words.at(-1))),
    },
  );
  taps.set(false);
  taps.set(false);
  t.match(warnings, [/EMFILE.*goes on computing/]);
  t.equal(warnings.length, 1);
  fails = false;
  taps.set(false);
  t.ok(within(network.open(), (own) => own.offloads('eth0')));
});
