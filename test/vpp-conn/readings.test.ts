import t from 'tap';
import type { Scope, Snapshot } from '../../src/reconcile/snapshot.js';
import { Readings } from '../../src/vpp-conn/readings.js';
import { turn } from './executor-lab.js';

const empty: Snapshot = { objects: [], unsure: new Set(), interfaces: [] };

/** Readings that the test ends one by one. */
function lab() {
  const begun: { readonly scopes: readonly Scope[]; end(error?: Error): Promise<void> }[] = [];
  const readings = new Readings(
    (scopes) =>
      new Promise((resolve, reject) => {
        const end = (error?: Error): Promise<void> => {
          if (error === undefined) resolve({ ...empty });
          else reject(error);
          return turn();
        };
        begun.push({ scopes, end });
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
