import t from 'tap';
import type { PodKey } from '../../src/pod/spec.js';
import { Settling } from '../../src/pods/settling.js';

const key = (n: number): PodKey => `netns:/n/${n},if:eth0` as PodKey;

t.test('nothing is settled before VPP has said what it holds, and why', async (t) => {
  const settling = new Settling('VPP is not ready yet');
  t.strictSame(settling.state(false), { settled: false, reason: 'VPP is not ready yet' });
  settling.begin([]);
  t.match(settling.state(false), { settled: true });
  settling.block('VPP died');
  t.strictSame(settling.state(false), { settled: false, reason: 'VPP died' });
});

t.test('settled is when the last pod of the records is connected, gone, or known not to be', async (t) => {
  const settling = new Settling('');
  settling.begin([key(1), key(2), key(3)]);
  t.match(settling.state(false), { settled: false, reason: '3 of 3 pods are being dealt with' });
  settling.pod(key(1), '');
  settling.pod(key(2), 'pod default/b eth0: /n/2 has gone');
  t.match(settling.state(false), { settled: false, reason: '1 of 3 pods are being dealt with' });
  settling.gone(key(3));
  t.match(settling.state(false), {
    settled: true,
    reason: 'pods are settled, but not pod default/b eth0: /n/2 has gone',
  });
  settling.pod(key(2), '');
  t.match(settling.state(false), { settled: true, reason: 'pods are settled' });
});

t.test('what is nobody’s is waited for once, not whenever something is swept', async (t) => {
  const settling = new Settling('');
  settling.begin([key(1)]);
  settling.pod(key(1), '');
  t.match(settling.state(true), { settled: false, reason: /unknown pods/ });
  t.match(settling.state(false), { settled: true });
  t.match(settling.state(true), { settled: true });
});

t.test('a pod that comes later, or fails later, does not make the others unsettled', async (t) => {
  const settling = new Settling('');
  settling.begin([key(1)]);
  settling.pod(key(1), '');
  settling.state(false);
  settling.pod(key(2), 'default/c: no');
  t.match(settling.state(false), { settled: true, reason: /default\/c: no/ });
});

t.test('another VPP begins anew', async (t) => {
  const settling = new Settling('');
  settling.begin([key(1)]);
  settling.pod(key(1), 'default/a: no');
  settling.block('lost');
  settling.begin([key(1)]);
  t.match(settling.state(false), { settled: false });
  settling.pod(key(1), '');
  t.match(settling.state(false), { settled: true, reason: 'pods are settled' });
});

t.test('pods that never come to rest are given up, and named', async (t) => {
  const settling = new Settling('no VPP');
  t.strictSame(settling.giveUp(), [], 'there is nothing to give up without VPP');
  settling.begin(Array.from({ length: 5 }, (_, n) => key(n)));
  settling.pod(key(0), '');
  t.strictSame(settling.giveUp(), [1, 2, 3, 4].map(key));
  const { settled, reason } = settling.state(true);
  t.equal(settled, true);
  t.match(reason, `${key(1)} has not been dealt with yet; `);
  t.match(reason, / and 1 more$/);
  t.strictSame(settling.giveUp(), [], 'once');
});
