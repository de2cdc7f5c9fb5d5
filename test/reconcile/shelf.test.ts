import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import t from 'tap';
import { Shelf } from '../../src/reconcile/shelf.js';

interface Item {
  readonly name: number;
  place: number | undefined;
}

const shelf = (): Shelf<Item> =>
  new Shelf(
    (item) => item.place,
    (item, place) => {
      item.place = place;
    },
  );

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** Of what is in use, without what only waits to be collected. */
function heapUsed(): number {
  gc();
  return process.memoryUsage().heapUsed;
}

const items = (count: number): Item[] =>
  Array.from({ length: count }, (_, name) => ({ name, place: undefined }));

t.test('by place, then by the time that it has waited, whatever leaves in between', async () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({ do: fc.constant('put' as const), place: fc.nat(3) }),
      fc.record({ do: fc.constant('leave' as const), which: fc.nat(50) }),
      fc.record({ do: fc.constant('shift' as const) }),
    ),
    { maxLength: 60 },
  );
  const property = fc.property(steps, (todo) => {
    const tested = shelf();
    const standing: Item[] = [];
    const first = (): Item | undefined =>
      standing.toSorted((a, b) => a.place! - b.place! || a.name - b.name)[0];
    for (const [name, step] of todo.entries()) {
      if (step.do === 'put') {
        const item: Item = { name, place: undefined };
        tested.put(item, step.place);
        standing.push(item);
      } else {
        const leaving = step.do === 'shift' ? first() : standing[step.which % Math.max(1, standing.length)];
        if (step.do === 'shift') {
          if (tested.shift() !== leaving) return false;
        } else if (leaving !== undefined) tested.put(leaving, undefined);
        if (leaving !== undefined) standing.splice(standing.indexOf(leaving), 1);
        if (leaving?.place !== undefined) return false;
      }
      if (tested.size !== standing.length) return false;
    }
    return true;
  });
  fc.assert(property, { numRuns: 500, seed: 1 });
});

t.test('an item that moves, leaves and comes back is given once, from where it stands', async () => {
  const moves = fc.array(fc.tuple(fc.nat(9), fc.option(fc.nat(3), { nil: undefined })), { maxLength: 200 });
  fc.assert(
    fc.property(moves, (todo) => {
      const tested = shelf();
      const all = items(10);
      for (const [which, place] of todo) tested.put(all[which]!, place);
      const standing = all.filter(({ place }) => place !== undefined);
      const places = standing.map(({ place }) => place!).sort();
      if (tested.size !== standing.length) return false;
      const given: Item[] = [];
      for (const expected of places) {
        const before = new Map(standing.map((item) => [item, item.place]));
        const item = tested.shift();
        if (item === undefined || before.get(item) !== expected) return false;
        given.push(item);
      }
      return new Set(given).size === standing.length && tested.shift() === undefined && tested.size === 0;
    }),
    { numRuns: 500, seed: 1 },
  );
});

t.test('who leaves and comes back for ever takes no room, and the others keep their order', async (t) => {
  const tested = shelf();
  const all = items(100);
  for (const item of all) tested.put(item, 1);
  const restless = all[50]!;
  const before = heapUsed();
  for (let n = 0; n < 1_000_000; n += 1) {
    tested.put(restless, undefined);
    tested.put(restless, 1);
  }
  t.ok(heapUsed() - before < 1e6, 'eight bytes for each time would be eight million');
  t.equal(tested.size, 100);
  const given = all.map(() => tested.shift()!.name).filter((name) => name !== restless.name);
  t.same(
    given,
    all.map(({ name }) => name).filter((name) => name !== restless.name),
  );
  t.equal(tested.shift(), undefined);
});

t.test('a cleared shelf is empty', async (t) => {
  const tested = shelf();
  const [a, b, c] = items(3) as [Item, Item, Item];
  tested.put(a, 2);
  tested.put(b, 1);
  tested.clear();
  t.equal(tested.size, 0);
  t.equal(tested.shift(), undefined);
  tested.put(c, 2);
  t.equal(tested.shift(), c);
});
