import t from 'tap';
import { systemClock } from '../../src/clock.js';
import { AlreadyRunning, lockInstance } from '../../src/host/instance-lock.js';

t.test('the second life is refused until the first one has gone', async (t) => {
  const node = `/state-${process.pid}`;
  const first = await lockInstance(node, systemClock, 0);
  await t.rejects(lockInstance(node, systemClock, 0), AlreadyRunning);
  const elsewhere = await lockInstance(`${node}-b`, systemClock, 0);
  elsewhere.release();

  const second = lockInstance(node, systemClock, 10_000);
  first.release();
  (await second).release();
});
