import fc from 'fast-check';
import t from 'tap';
import { Shelf, type Spot } from '../../src/reconcile/shelf.js';

t.test('by place, then by the time that it has waited, whatever leaves in between', async () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({ do: fc.constant('put' as const), place: fc.nat(3) }),
      fc.record({ do: fc.constant('take' as const), which: fc.nat(50) }),
      fc.record({ do: fc.constant('shift' as const) }),
    ),
    { maxLength: 60 },
  );
  const property = fc.property(steps, (todo) => {
    const shelf = new Shelf<number>();
    const standing: Spot<number>[] = [];
    const first = (): Spot<number> | undefined =>
      standing.toSorted((a, b) => a.row.place - b.row.place || a.item - b.item)[0];
    const leave = (spot: Spot<number>): void => {
      standing.splice(standing.indexOf(spot), 1);
    };
    for (const [item, step] of todo.entries()) {
      if (step.do === 'put') standing.push(shelf.put(item, step.place));
      else if (step.do === 'take') {
        const spot = standing[step.which % Math.max(1, standing.length)];
        if (spot === undefined) continue;
        shelf.take(spot);
        leave(spot);
      } else {
        const expected = first();
        if (shelf.shift() !== expected?.item) return false;
        if (expected !== undefined) leave(expected);
      }
      if (shelf.size !== standing.length) return false;
    }
    return true;
  });
  fc.assert(property, { numRuns: 500, seed: 1 });
});

t.test('a cleared shelf is empty', async (t) => {
  const shelf = new Shelf<string>();
  shelf.put('a', 2);
  shelf.put('b', 1);
  shelf.clear();
  t.equal(shelf.size, 0);
  t.equal(shelf.shift(), undefined);
  shelf.put('c', 2);
  t.equal(shelf.shift(), 'c');
});
