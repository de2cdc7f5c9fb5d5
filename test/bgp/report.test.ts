import t from 'tap';
import type { ActualPeer } from '../../src/bgp/peer-state.js';
import { objectsReport, peersReport } from '../../src/bgp/report.js';
import { planOf } from './cluster.js';

t.test('what is wrong is shown within bounds, and how much is not', async (t) => {
  const lines = Array.from({ length: 2000 }, (_, n) =>
    Array.from({ length: 16 }, () => [`BGPPeer ${n} ${'x'.repeat(300)}`, 'y'.repeat(4000)] as const),
  ).flat();
  const { objects, objects_unshown } = objectsReport(lines);
  t.equal(Object.keys(objects).length, 50);
  t.equal(objects_unshown, 1950);
  t.ok(JSON.stringify(objects).length < 120_000);
  t.strictSame(
    objectsReport([
      ['BGPPeer a', 'one'],
      ['BGPPeer a', 'two'],
    ]),
    { objects: { 'BGPPeer a': ['one', 'two'] } },
  );
});

t.test('peers without a session come first, of those that are shown', async (t) => {
  const peers = Object.fromEntries(
    Array.from({ length: 1000 }, (_, n) => [
      `p${n}`,
      {
        peerIP: `10.9.${n >> 8}.${n & 255}`,
        asNumber: 65_001,
        password: { secretKeyRef: { name: 's', key: 'k' } },
      },
    ]),
  );
  const wanted = planOf({ peers }).peers;
  const actual = new Map<string, ActualPeer>();
  for (const address of wanted.keys())
    if (address !== '10.9.3.231')
      actual.set(address, { address, as_number: 65_001, session: 'established', received: 3 } as ActualPeer);
  actual.set('10.8.0.1', { address: '10.8.0.1', as_number: 1, session: 'active', received: 0 } as ActualPeer);
  const { peers: shown, peers_unshown } = peersReport(wanted, actual);
  t.equal(shown.length, 200);
  t.equal(peers_unshown, 801);
  t.match(shown.slice(0, 3), [
    { address: '10.9.3.231', state: 'waits for its password', by: 'BGPPeer p999' },
    { address: '10.8.0.1', state: 'active' },
    { state: 'established', received: 3 },
  ]);
});
