import t from 'tap';
import { TurnedClock } from '../lab/turned-clock.js';
import { systemClock } from '../src/clock.js';

t.test('a turned clock runs timers in the order of their time, then of their setting', async (t) => {
  const clock = new TurnedClock();
  const seen: string[] = [];
  const note = (what: string) => () => void seen.push(`${what}@${clock.now_ms()}`);
  clock.after(20, note('late'));
  clock.after(10, note('first'));
  clock.after(10, note('second'));
  clock.after(10, () => clock.after(5, note('nested')));
  const cancelled = clock.after(12, note('never'));
  cancelled.cancel();
  cancelled.cancel();
  t.equal(clock.next_ms, 10);
  await clock.advance(9);
  t.same(seen, []);
  await clock.advance(11);
  t.same(seen, ['first@10', 'second@10', 'nested@15', 'late@20']);
  t.equal(clock.pending, 0);
  t.equal(clock.next_ms, undefined);
  t.equal(clock.wall_ms() - new TurnedClock().wall_ms(), 20);
});

t.test('what a timer sets in motion is done before the next timer runs', async (t) => {
  const clock = new TurnedClock({ wall_ms: 0 });
  const seen: number[] = [];
  const loop = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(10);
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(clock.now_ms());
      if (seen.length === 3) return;
    }
  };
  const done = loop();
  await clock.advance(1000);
  await done;
  t.same(seen, [10, 20, 30]);
});

for (const [name, clock] of [
  ['system', systemClock],
  ['turned', new TurnedClock()],
] as const) {
  t.test(
    `${name} clock: sleep ends at once when it is aborted, and refuses what no timer holds`,
    async (t) => {
      const control = new AbortController();
      const asleep = clock.sleep(1_000_000, control.signal);
      control.abort(new Error('enough'));
      await t.rejects(asleep, { message: 'enough' });
      await t.rejects(clock.sleep(1, control.signal), { message: 'enough' });
      for (const ms of [-1, Number.NaN, 2 ** 31]) t.throws(() => clock.after(ms, () => {}), RangeError);
      clock.after(1_000_000, () => {}).cancel();
      if (clock instanceof TurnedClock) t.equal(clock.pending, 0);
    },
  );
}

t.test('the system clock fires, and resolves a sleep', async (t) => {
  const from_ms = systemClock.now_ms();
  await systemClock.sleep(2, new AbortController().signal);
  t.ok(systemClock.now_ms() > from_ms);
  t.ok(systemClock.wall_ms() > Date.UTC(2020, 0, 1));
});

t.test('a timer of the machine’s clock never fires early', async (t) => {
  const early: number[] = [];
  for (let round = 0; round < 60; round += 1) {
    // The timers' own look at the clock is older the longer a turn has taken.
    const until = systemClock.now_ms() + (round % 7) / 10;
    while (systemClock.now_ms() < until);
    const due_ms = systemClock.now_ms() + 3;
    await new Promise<void>((resolve) => systemClock.after(3, resolve));
    const left_ms = due_ms - systemClock.now_ms();
    if (left_ms > 0) early.push(left_ms);
  }
  t.strictSame(early, []);
});
