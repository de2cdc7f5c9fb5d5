import t from 'tap';
import { TurnedClock } from '../../lab/turned-clock.js';
import { Patience } from '../../src/vpp-conn/patience.js';

t.test('it is over when its time is, and not before', async (t) => {
  const clock = new TurnedClock();
  const patience = new Patience(clock, 800);
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
  const patience = new Patience(clock, 800);
  await clock.stall(100_000);
  t.notOk(patience.isOver);
  await clock.advance(699);
  t.notOk(patience.isOver);
  await clock.advance(1);
  t.ok(patience.isOver);
});

t.test('what is ended is never over', async (t) => {
  const clock = new TurnedClock();
  const patience = new Patience(clock, 800);
  await clock.advance(300);
  patience.end();
  await clock.advance(10_000);
  t.same([patience.isOver, clock.pending], [false, 0]);
});
