import t from 'tap';
import { newVppMs, requestMs } from '../../src/node/vpp.js';

t.test(
  'a request to VPP has longer than the probe, and the host its network back not much later',
  async (t) => {
    const of = (timeout_ms: number, failures = 1): number =>
      requestMs({ probe: { interval_ms: 500, timeout_ms, failures } });
    t.equal(of(2000), 15_000);
    t.equal(of(10_000), 50_000);
    t.equal(of(2000, 100), 260_000);
    t.equal(of(60_000, 5), 360_000);
  },
);

t.test('a VPP that begins anew with devices has longer than its API may take', async (t) => {
  t.equal(newVppMs({ connect_timeout_ms: 20_000 }), 30_000);
  t.equal(newVppMs({ connect_timeout_ms: 120_000 }), 130_000);
});
