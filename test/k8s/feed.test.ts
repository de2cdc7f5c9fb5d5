import t from 'tap';
import { TurnedClock } from '../../lab/turned-clock.js';
import { Feed, piece_max } from '../../src/k8s/feed.js';
import type { Change } from '../../src/k8s/reflector.js';

type News = Change<number>;

/** A receiver whose answers the test gives; what it is handed is in `seen`. */
function receiver() {
  const clock = new TurnedClock();
  const seen: News[] = [];
  const answers: { resolve(): void; reject(error: unknown): void }[] = [];
  const feed = new Feed<News>({
    clock,
    random: () => 0,
    send: (change) => {
      seen.push(change);
      return new Promise((resolve, reject) => answers.push({ resolve, reject }));
    },
    isOver: (error) => error === 'gone',
  });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  return {
    clock,
    feed,
    /** Kinds and keys of what was handed over since the last call. */
    take: () =>
      seen
        .splice(0)
        .map(
          ({ kind, synced, changed }) =>
            `${kind}${synced ? '!' : ''} ${[...changed].map(([key, value]) => `${key}=${value}`)}`,
        ),
    async answer(error?: unknown) {
      const answer = answers.shift()!;
      if (error === undefined) answer.resolve();
      else answer.reject(error);
      await turn();
    },
    /** Whether `room` resolves by now. */
    room() {
      const room = { free: false };
      void feed.room().then(() => {
        room.free = true;
      });
      return room;
    },
    turn,
  };
}

const news = (kind: string, synced: boolean, ...pairs: readonly (readonly [string, number?])[]): News => ({
  kind,
  synced,
  changed: new Map(pairs.map(([key, value]) => [key, value])),
});

t.test(
  'one piece at a time, in order by kind; what comes meanwhile goes together, the latest counts',
  async (t) => {
    const { feed, take, answer, room, turn } = receiver();
    feed.put(news('a', false, ['x', 1]));
    t.strictSame(take(), ['a x=1']);
    feed.put(news('a', false, ['x', 2], ['y', 1]));
    feed.put(news('b', true));
    feed.put(news('a', true, ['x', 3]));
    feed.put(news('a', true, ['y']));
    const waits = room();
    t.equal(feed.waiting, 3);
    t.strictSame(take(), [], 'the receiver has not answered');
    await answer();
    t.strictSame(take(), ['a! x=3,y=undefined']);
    await answer();
    t.notOk(waits.free);
    t.strictSame(take(), ['b! ']);
    await answer();
    t.ok(waits.free);
    t.equal(feed.waiting, 0);
    const at_once = room();
    await turn();
    t.ok(at_once.free);
  },
);

t.test('pieces have an end; only the last one of a whole says that it is whole', async (t) => {
  const { feed, answer, take } = receiver();
  const many = (count: number) =>
    Array.from({ length: count }, (_, n) => [String(n), n] as const) as [string, number][];
  feed.put(news('a', true, ...many(2 * piece_max + 1)));
  const sizes: [number, boolean][] = [];
  for (let n = 0; n < 3; n += 1) {
    const [piece = ''] = take();
    sizes.push([piece.split(',').length, piece.startsWith('a!')]);
    await answer();
  }
  t.strictSame(sizes, [
    [piece_max, false],
    [piece_max, false],
    [1, true],
  ]);
  feed.put(news('a', true, ...many(piece_max + 1)));
  t.ok(take()[0]?.startsWith('a!'), 'once told it stays so');
});

t.test('what was not taken in is told again, with what has come since, ever more slowly', async (t) => {
  const { feed, answer, take, clock } = receiver();
  feed.put(news('a', true, ['x', 1], ['y', 1]));
  take();
  const delays: number[] = [];
  for (let n = 0; n < 8; n += 1) {
    await answer(new Error('too late'));
    if (n === 0) feed.put(news('a', true, ['y', 2], ['z', 1]));
    const began = clock.now_ms();
    let told: string[] = [];
    while (told.length === 0) {
      await clock.advance(50);
      told = take();
    }
    t.strictSame(told, ['a! x=1,y=2,z=1']);
    delays.push(clock.now_ms() - began);
  }
  t.strictSame(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
  await answer();
  feed.put(news('a', true, ['x', 2]));
  t.strictSame(take(), ['a! x=2']);
});

t.test('a slow receiver holds others back for 10 s, and then only while too much waits', async (t) => {
  const { feed, room, clock, answer, turn } = receiver();
  feed.put(news('a', false, ['x', 1]));
  feed.put(news('a', false, ['x', 2]));
  const first = room();
  await clock.advance(9999);
  t.notOk(first.free);
  await clock.advance(1);
  t.ok(first.free);
  const much = Array.from({ length: 50_000 }, (_, n) => [String(n), n] as const);
  feed.put({ kind: 'b', synced: false, changed: new Map(much) });
  const second = room();
  await clock.advance(60_000);
  t.notOk(second.free, 'too much waits');
  await answer();
  t.notOk(second.free);
  await answer();
  await answer();
  await turn();
  t.ok(second.free);
});

t.test('a receiver that is gone is told nothing any more, and holds nobody back', async (t) => {
  for (const way of ['gone', 'closed'] as const) {
    const { feed, answer, take, room, turn, clock } = receiver();
    feed.put(news('a', true, ['x', 1]));
    feed.put(news('b', true, ['x', 1]));
    take();
    const waits = room();
    if (way === 'gone') await answer('gone');
    else {
      feed.close();
      await answer();
    }
    feed.put(news('c', true, ['x', 1]));
    await turn();
    t.ok(waits.free, way);
    t.ok(feed.isOver);
    t.equal(feed.waiting, 0);
    t.strictSame(take(), []);
    t.equal(clock.pending, 0);
  }
});
