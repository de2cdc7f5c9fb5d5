import t from 'tap';
import type { Scope, Snapshot, Take } from '../../src/reconcile/snapshot.js';
import { Readings } from '../../src/vpp-conn/readings.js';
import { turn } from './executor-lab.js';

const empty: Snapshot = { objects: [], unsure: new Set(), interfaces: [] };

/** Readings that the test ends one by one. */
function lab() {
  const begun: {
    readonly scopes: readonly Scope[];
    readonly take: Take | undefined;
    end(error?: Error): Promise<void>;
  }[] = [];
  const readings = new Readings(
    (scopes, take) =>
      new Promise((resolve, reject) => {
        const end = (error?: Error): Promise<void> => {
          if (error === undefined) resolve({ ...empty });
          else reject(error);
          return turn();
        };
        begun.push({ scopes, take, end });
      }),
  );
  return { begun, readings };
}

t.test('who asks for the same before it has begun gets the same reading', async (t) => {
  const { begun, readings } = lab();
  const first = readings.read(['pods', 'nobody']);
  const second = readings.read(['nobody', 'pods']);
  await turn();
  t.same(
    begun.map(({ scopes }) => scopes),
    [['pods', 'nobody']],
  );
  await begun[0]!.end();
  t.equal(await first, await second);
});

t.test('who asks when it has begun gets one of its own: VPP may have changed since', async (t) => {
  const { begun, readings } = lab();
  const first = readings.read(['pods']);
  await turn();
  const second = readings.read(['pods']);
  const third = readings.read(['pods']);
  await begun[0]!.end();
  await begun[1]!.end();
  t.equal(begun.length, 2);
  t.not(await first, await second);
  t.equal(await second, await third);
});

t.test('one reading at a time, in the order in which they were asked for', async (t) => {
  const { begun, readings } = lab();
  for (const scope of ['pods', 'node', 'services'] as const) readings.read([scope]);
  await turn();
  for (const count of [1, 2, 3]) {
    t.equal(begun.length, count);
    await begun.at(-1)!.end();
  }
  t.same(
    begun.map(({ scopes }) => scopes[0]),
    ['pods', 'node', 'services'],
  );
});

t.test(
  'those who take objects as they come share one, apart from those who want all in the end',
  async (t) => {
    const { begun, readings } = lab();
    const taken: string[] = [];
    const taker = (name: string): Take => {
      return (object) => void taken.push(`${name} ${object.kind}`);
    };
    const [first, , third] = [
      readings.read(['services'], taker('first')),
      readings.read(['services']),
      readings.read(['services'], taker('second')),
    ];
    await turn();
    begun[0]!.take?.({ kind: 'loopback', tag: 'a' });
    t.same(taken, ['first loopback', 'second loopback']);
    const late = readings.read(['services'], taker('late'));
    begun[0]!.take?.({ kind: 'loopback', tag: 'b' });
    t.notOk(taken.includes('late loopback'), 'it has missed the beginning');
    for (const n of [0, 1, 2]) await begun[n]!.end();
    t.equal(await first, await third);
    t.same(
      begun.map(({ take }) => take !== undefined),
      [true, false, true],
    );
    t.not(await late, await first);
  },
);

t.test('one that fails fails for those who asked for it, and stops no other', async (t) => {
  const { begun, readings } = lab();
  const fails = readings.read(['pods']);
  const next = readings.read(['node']);
  await turn();
  const ended = begun[0]!.end(new Error('disconnected'));
  await t.rejects(fails, { message: 'disconnected' });
  await ended;
  await begun[1]!.end();
  t.same(await next, empty);
});
