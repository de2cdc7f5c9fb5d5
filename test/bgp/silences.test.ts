import t from 'tap';
import { Silences } from '../../src/bgp/silences.js';
import { times_max } from '../../src/vpp-conn/patience.js';

/** Calls of a second each, in which the process waits so long for a CPU, until it is said to hang. */
function calls(waited_of_each_ms: number): number {
  let waited_ms = 100_000;
  const silences = new Silences(() => waited_ms);
  for (let n = 1; ; n += 1) {
    waited_ms += waited_of_each_ms;
    if (silences.missed(1000)) return n;
  }
}

t.test('three calls in a row that are not answered', async (t) => {
  t.equal(calls(0), 3);
  const silences = new Silences(() => 0);
  for (let n = 0; n < 10; n += 1) {
    t.notOk(silences.missed(1000) || silences.missed(1000));
    silences.heard();
  }
});

t.test('the time in which it waits for a CPU does not count, but not for ever', async (t) => {
  t.equal(calls(500), 6);
  t.equal(calls(1000), 3 * times_max);
  t.equal(calls(5000), 3 * times_max, 'several threads may wait at once');
  t.equal(calls(-1000), 3, 'the waits of a thread that has ended are not told any more');
});

t.test('what it has waited while it answered is no reserve', async (t) => {
  let waited_ms = 0;
  const silences = new Silences(() => waited_ms);
  waited_ms = 60_000;
  silences.heard();
  t.strictSame(
    [1, 2, 3].map(() => silences.missed(1000)),
    [false, false, true],
  );
});
