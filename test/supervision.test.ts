import t from 'tap';
import { backoffDelay } from '../src/supervision/backoff.js';
import { codeOf, MailboxFull, toError } from '../src/supervision/errors.js';
import { Histogram } from '../src/supervision/histogram.js';
import { admitRestart, inWindow } from '../src/supervision/intensity.js';
import { MailboxStats, typeOf } from '../src/supervision/mailbox.js';
import { Ring } from '../src/supervision/ring.js';
import { comesBack, planRestart, type Slot } from '../src/supervision/strategies.js';
import type { Restart, Strategy } from '../src/supervision/types.js';

/** Children written as one letter each: p permanent, t transient, x temporary; named by their position. */
function slots(kinds: string): Slot[] {
  const restart: Record<string, Restart> = { p: 'permanent', t: 'transient', x: 'temporary' };
  return [...kinds].map((kind, at) => ({ name: String(at), restart: restart[kind]! }));
}

t.test('a strategy stops in reverse and starts in order, exactly those that it takes along', async (t) => {
  const table: [Strategy, string, number, 'normal' | 'abnormal', string][] = [
    // strategy, children, which went down, how, names started again in order
    ['one_for_one', 'pppp', 1, 'abnormal', '1'],
    ['one_for_one', 'pppp', 1, 'normal', '1'],
    ['one_for_one', 'pttp', 1, 'abnormal', '1'],
    ['one_for_one', 'pttp', 1, 'normal', ''],
    ['one_for_one', 'pxxp', 1, 'abnormal', ''],
    ['one_for_one', 'pxxp', 1, 'normal', ''],
    ['rest_for_one', 'pppp', 0, 'abnormal', '0123'],
    ['rest_for_one', 'pppp', 2, 'abnormal', '23'],
    ['rest_for_one', 'pppp', 3, 'abnormal', '3'],
    ['rest_for_one', 'pppp', 2, 'normal', '23'],
    ['rest_for_one', 'pttp', 1, 'abnormal', '123'],
    ['rest_for_one', 'pttp', 1, 'normal', ''],
    ['rest_for_one', 'pxtp', 0, 'abnormal', '023'],
    ['rest_for_one', 'pxtp', 1, 'abnormal', ''],
    ['one_for_all', 'pppp', 0, 'abnormal', '0123'],
    ['one_for_all', 'pppp', 3, 'abnormal', '0123'],
    ['one_for_all', 'ptpp', 3, 'normal', '0123'],
    ['one_for_all', 'ptpp', 1, 'abnormal', '0123'],
    ['one_for_all', 'ptpp', 1, 'normal', ''],
    ['one_for_all', 'pxpx', 2, 'abnormal', '02'],
    ['one_for_all', 'pxpx', 1, 'abnormal', ''],
    ['one_for_all', 'p', 0, 'abnormal', '0'],
  ];
  for (const [strategy, kinds, down, end, names] of table) {
    const plan = planRestart(strategy, slots(kinds), String(down), end);
    const label = `${strategy} ${kinds}[${down}] ${end}`;
    t.same(plan.start, [...names], `${label}: starts`);
    t.same(plan.stop, [...names].reverse(), `${label}: stops`);
  }
  t.same(planRestart('one_for_all', slots('pp'), 'unknown', 'abnormal'), { stop: [], start: [] });
});

t.test('restart types: who comes back after which end', async (t) => {
  const table: [Restart, boolean, boolean][] = [
    ['permanent', true, true],
    ['transient', false, true],
    ['temporary', false, false],
  ];
  for (const [restart, normal, abnormal] of table) {
    t.equal(comesBack(restart, 'normal'), normal, `${restart} normal`);
    t.equal(comesBack(restart, 'abnormal'), abnormal, `${restart} abnormal`);
  }
});

t.test('restart intensity: more than N in T is too much, and old restarts are forgotten', async (t) => {
  const table: [number, number, number[], number[]][] = [
    // N, T, restarts at, of which exceeded
    [3, 60, [0, 1, 2], []],
    [3, 60, [0, 1, 2, 3], [3]],
    [3, 60, [0, 1, 2, 60], []],
    [3, 60, [0, 1, 2, 59], [59]],
    [1, 5, [0, 5, 10, 15], []],
    [1, 5, [0, 4], [4]],
    [0, 5, [0], [0]],
    [5, 30_000, [0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000], []],
    [2, 10, [0, 4, 8, 9, 20], [8, 9]],
  ];
  for (const [restarts_max, window_ms, at, expected] of table) {
    let times: readonly number[] = [];
    const exceeded: number[] = [];
    for (const now_ms of at) {
      const verdict = admitRestart(times, now_ms, { restarts_max, window_ms });
      times = verdict.times;
      if (verdict.exceeded) exceeded.push(now_ms);
      t.ok(times.length <= restarts_max + 1, 'the list stays bounded');
    }
    t.same(exceeded, expected, `${restarts_max} in ${window_ms}: ${at.join(' ')}`);
  }
  t.same(inWindow([0, 5, 9], 10, 5), [9], 'one exactly as old as the window does not count');
});

t.test('back-off doubles up to its limit, and jitter only ever shortens it', async (t) => {
  const backoff = { first_ms: 100, max_ms: 5000, jitter: 0.2 };
  const delays = [1, 2, 3, 4, 5, 6, 7, 8, 60, 2000].map((attempt) => backoffDelay(attempt, backoff, () => 0));
  t.same(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000]);
  t.equal(
    backoffDelay(1, backoff, () => 0.5),
    90,
  );
  t.equal(Math.round(backoffDelay(1, backoff, () => 0.999999)), 80);
  t.equal(
    backoffDelay(3, { first_ms: 0, max_ms: 0, jitter: 0.5 }, () => 0.5),
    0,
  );
});

t.test('a mailbox is counted by depth, age and type', async (t) => {
  const mailbox = new MailboxStats();
  t.equal(mailbox.oldest_ms(99), 0);
  mailbox.put('a', 10);
  mailbox.put('b', 20);
  mailbox.put('b', 30);
  t.equal(mailbox.depth, 3);
  t.equal(mailbox.oldest_ms(50), 40);
  t.same(mailbox.waitingByType(1), { b: 2 });
  mailbox.take('a', true);
  t.equal(mailbox.oldest_ms(50), 30);
  mailbox.take('b', false);
  t.same(mailbox.handledByType(), { a: 1, b: 0 });
  t.equal(mailbox.handled, 1);
  t.equal(mailbox.highWater, 3);
  t.equal(mailbox.clear(), 1);
  t.equal(mailbox.depth, 0);
  t.same(mailbox.waitingByType(5), {});
});

t.test('a mailbox keeps the order of ages when it grows while it is being emptied', async (t) => {
  const mailbox = new MailboxStats();
  const waiting: number[] = [];
  let time = 0;
  for (let round = 0; round < 200; round += 1) {
    for (let i = 0; i < 3; i += 1) {
      time += 1;
      mailbox.put('m', time);
      waiting.push(time);
    }
    mailbox.take('m', true);
    waiting.shift();
    if (mailbox.oldest_ms(1000) !== 1000 - waiting[0]!) t.fail(`round ${round}: wrong age`);
  }
  t.equal(mailbox.depth, 400);
});

t.test('a sender cannot make the table of types grow without end', async (t) => {
  const mailbox = new MailboxStats();
  for (let i = 0; i < 1000; i += 1) mailbox.put(`type-${i}`, 0);
  const types = mailbox.waitingByType(2000);
  t.equal(Object.keys(types).length, 49);
  t.equal(types['(other)'], 1000 - 48);
  mailbox.take('type-999', true);
  t.equal(mailbox.handledByType()['(other)'], 1);
});

t.test('the type of a message is its discriminant', async (t) => {
  t.equal(typeOf({ type: 'VppUp' }), 'VppUp');
  for (const odd of [null, undefined, 'text', 7, {}, { type: 7 }]) t.equal(typeOf(odd), '(untyped)');
});

t.test('durations: quantiles are upper bounds of buckets, never above the maximum', async (t) => {
  const histogram = new Histogram();
  t.equal(histogram.quantile_ms(0.99), 0);
  for (let i = 0; i < 99; i += 1) histogram.record(0.1);
  histogram.record(70);
  t.equal(histogram.quantile_ms(0.5), 0.128);
  t.equal(histogram.quantile_ms(0.99), 0.128);
  t.equal(histogram.quantile_ms(1), 70);
  t.equal(histogram.max_ms, 70);
  const { count, sum_seconds, buckets } = histogram.report();
  t.equal(count, 100);
  t.equal(sum_seconds.toFixed(6), '0.079900');
  t.strictSame(
    buckets.filter(([le]) => [0.000_064, 0.000_256, 0.065_536, 0.262_144].includes(le)),
    [
      [0.000_064, 0],
      [0.000_256, 99],
      [0.065_536, 99],
      [0.262_144, 100],
    ],
    'cumulative, in seconds',
  );
  t.ok(buckets.every(([, upTo], i) => i === 0 || upTo >= buckets[i - 1]![1]));
  const longest = new Histogram();
  longest.record(4_000_000);
  t.equal(longest.quantile_ms(0.5), 2 ** 31 / 1000);
});

t.test('a ring keeps the last items, oldest first', async (t) => {
  const ring = new Ring<number>(3);
  t.same(ring.toArray(), []);
  for (const n of [1, 2]) ring.push(n);
  t.same(ring.toArray(), [1, 2]);
  for (const n of [3, 4, 5]) ring.push(n);
  t.same(ring.toArray(), [3, 4, 5]);
});

t.test('errors have a code and name the actor; whatever is thrown becomes one', async (t) => {
  const full = new MailboxFull('root/vpp', 10);
  t.equal(codeOf(full), 'MAILBOX_FULL');
  t.equal(full.name, 'MailboxFull');
  t.match(full.message, /root\/vpp.*10/);
  t.equal(codeOf(new TypeError('x')), 'TypeError');
  t.equal(codeOf(Object.assign(new Error('x'), { code: 'ECONNRESET' })), 'ECONNRESET');
  t.equal(toError(full), full);
  t.match(toError('text').message, /text/);
});
