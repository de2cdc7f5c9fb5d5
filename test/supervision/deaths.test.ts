import t from 'tap';
import { Deaths } from '../../src/supervision/deaths.js';

t.test(
  'the first start is immediate, each further one twice as late, and old deaths are forgiven',
  async (t) => {
    const deaths = new Deaths({ deaths_window_ms: 1000, backoff_first_ms: 10, backoff_max_ms: 35 });
    const pauses = [0, 1, 2, 3, 4].map((now_ms) => {
      deaths.note(now_ms);
      return deaths.pause_ms;
    });
    t.strictSame(pauses, [0, 10, 20, 35, 35]);
    t.equal(deaths.count, 5);
    deaths.note(1002);
    t.equal(deaths.count, 3);
    deaths.note(5000);
    t.strictSame([deaths.count, deaths.pause_ms], [1, 0]);
  },
);
