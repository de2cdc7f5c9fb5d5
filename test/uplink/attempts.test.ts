import t from 'tap';
import { Attempts } from '../../src/uplink/attempts.js';

const pauses = { retry_ms: 10, retry_max_ms: 40, failures_max: 2, pause_ms: 1000, pause_max_ms: 3000 };

function after(attempts: Attempts, cost: boolean): [delay_ms: number, pauses: boolean] {
  attempts.begun();
  const { delay_ms, pauses } = attempts.failed(cost);
  return [delay_ms, pauses];
}

t.test('what cost the host nothing is tried again and again, ever more seldom', async (t) => {
  const attempts = new Attempts(pauses);
  t.same(
    [1, 2, 3, 4].map(() => after(attempts, false)),
    [
      [10, false],
      [20, false],
      [40, false],
      [40, false],
    ],
  );
  attempts.anew();
  t.same(after(attempts, false), [10, false]);
});

t.test(
  'what cuts the host off is left alone for long after some of it, until there is another VPP',
  async (t) => {
    const attempts = new Attempts(pauses);
    t.same(
      [1, 2, 3, 4, 5].map(() => after(attempts, true)),
      [
        [10, false],
        [1000, true],
        [2000, true],
        [3000, true],
        [3000, true],
      ],
    );
    t.same(after(attempts, false), [40, false], 'an uplink that is not fit is looked at all the same');
    attempts.anew();
    t.same(after(attempts, true), [10, false]);
  },
);
