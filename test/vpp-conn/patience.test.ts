import t from 'tap';
import { TurnedClock } from '../../lab/turned-clock.js';
import { Patience, times_max } from '../../src/vpp-conn/patience.js';

const never = (): number => 0;

t.test('it is over when its time is, and not before', async (t) => {
  const clock = new TurnedClock();
  const patience = new Patience(clock, 800, never);
  let over = false;
  void patience.over.then(() => {
    over = true;
  });
  await clock.advance(799);
  t.same([patience.isOver, over], [false, false]);
  await clock.advance(1);
  t.same([patience.isOver, over, clock.pending], [true, true, 0]);
});

t.test('a stall costs an eighth of it, however long it was', async (t) => {
  const clock = new TurnedClock();
  const patience = new Patience(clock, 800, never);
  await clock.stall(100_000);
  t.notOk(patience.isOver);
  await clock.advance(699);
  t.notOk(patience.isOver);
  await clock.advance(1);
  t.ok(patience.isOver);
});

t.test('what is ended is never over', async (t) => {
  const clock = new TurnedClock();
  const patience = new Patience(clock, 800, never);
  await clock.advance(300);
  patience.end();
  await clock.advance(10_000);
  t.same([patience.isOver, clock.pending], [false, 0]);
});

t.test('the time in which VPP waits for a CPU does not count', async (t) => {
  const clock = new TurnedClock();
  // It has the CPU for 2 ms of 10.
  const patience = new Patience(clock, 800, () => 0.8 * clock.now_ms());
  await clock.advance(3500);
  t.notOk(patience.isOver);
  await clock.advance(600);
  t.ok(patience.isOver, 'but for the last millisecond it is exact');
});

t.test('a wait that the kernel tells of when it is over counts as it was', async (t) => {
  const clock = new TurnedClock();
  let waited_ms = 100_000;
  const patience = new Patience(clock, 800, () => waited_ms);
  await clock.advance(750);
  waited_ms += 700;
  await clock.advance(749);
  t.notOk(patience.isOver);
  await clock.advance(1);
  t.ok(patience.isOver);
});

t.test('it has an end where VPP has no CPU at all, and a long wait before it is no reserve', async (t) => {
  const clock = new TurnedClock();
  const patience = new Patience(clock, 800, () => 2 * clock.now_ms());
  await clock.advance(times_max * 800 - 1);
  t.notOk(patience.isOver);
  await clock.advance(1);
  t.ok(patience.isOver);
  const late = new Patience(
    clock,
    800,
    (() => {
      const waits = [0, 5000];
      return () => waits.shift() ?? 5000;
    })(),
  );
  await clock.advance(899);
  t.notOk(late.isOver);
  await clock.advance(1);
  t.ok(late.isOver);
});

t.test('what has come by its end is read before it is over', async (t) => {
  const clock = new TurnedClock();
  const patience = new Patience(clock, 800, never);
  await clock.advance(799);
  const come = new Promise<void>((resolve) => setImmediate(resolve)).then(() => patience.end());
  await clock.stall(100_000);
  await come;
  await clock.advance(1);
  t.notOk(patience.isOver);
});
