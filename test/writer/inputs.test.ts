import t from 'tap';
import { TurnedClock } from '../../lab/turned-clock.js';
import type { ActorContext } from '../../src/actor-system.js';
import type { ClusterChange } from '../../src/messages/cluster.js';
import type { NodeReady, NodeStatus } from '../../src/messages/node.js';
import type { Work } from '../../src/messages/writer.js';
import { type InputSources, Inputs } from '../../src/writer/inputs.js';
import { inPieces, Turns } from '../../src/writer/turns.js';

function inputsLab() {
  const told: unknown[] = [];
  const tell = (message: unknown): void => {
    told.push(message);
  };
  const sources = { cluster: { tell } } as unknown as InputSources;
  const ctx = { self: 'self', this_life: 'this life' } as unknown as ActorContext<NodeStatus | ClusterChange>;
  const inputs = new Inputs(ctx, sources, ['Service', 'Node']);
  const ready = (generation: number): boolean =>
    inputs.nodeReady({ type: 'NodeReady', generation } as unknown as NodeReady);
  return { inputs, told, ready };
}

t.test('it subscribes to kinds of objects by its one life', async (t) => {
  const kinds = ['Service', 'Node'];
  t.same(inputsLab().told, [{ type: 'Subscribe', subscriber: 'this life', kinds }]);
});

t.test('news of a node that was lost meanwhile are void, however they overtake each other', async (t) => {
  const { inputs, ready } = inputsLab();
  t.ok(ready(1));
  t.ok(inputs.nodeLost(1));
  t.notOk(ready(1), 'lost already');
  t.ok(ready(3));
  t.notOk(inputs.nodeLost(2), 'the end of an earlier one');
  t.equal(inputs.node?.generation, 3);
  t.notOk(ready(2));
  t.ok(inputs.nodeLost(4), 'one that was never heard of, later than this one');
  t.equal(inputs.node?.generation, 3, 'what is wanted follows from it all the same');
  t.notOk(inputs.nodeLost(2), 'an old end makes no later one forgotten');
  t.notOk(ready(4));
});

t.test('a kind is synced once, and for good', async (t) => {
  const { inputs } = inputsLab();
  const change = (kind: 'Service' | 'Node', synced: boolean): void =>
    inputs.clusterChange({ kind, synced, changed: new Map() });
  change('Service', false);
  t.same(inputs.unsynced(), ['Service', 'Node']);
  change('Service', true);
  change('Service', false);
  t.same(inputs.unsynced(), ['Node']);
  t.same(inputs.unsynced(['Service']), [], 'of those that are asked for');
  change('Node', true);
  t.same(inputs.unsynced(), []);
});

function turnsLab(coalesce_ms: number) {
  const clock = new TurnedClock();
  let told = 0;
  const tellSelf = (_: Work): void => {
    told += 1;
  };
  const after = (ms: number, message: Work) => clock.after(ms, () => tellSelf(message));
  const turns = new Turns({ after, tellSelf }, coalesce_ms);
  return { clock, turns, told: () => told };
}

t.test('a burst is one piece of work, which no further news put off', async (t) => {
  const { clock, turns, told } = turnsLab(20);
  turns.news();
  await clock.advance(15);
  turns.news();
  t.equal(told(), 0);
  await clock.advance(5);
  t.equal(told(), 1);
  turns.heard();
  turns.begun();
  turns.news();
  turns.begun();
  await clock.advance(100);
  t.equal(told(), 1, 'what had come in was worked on, whoever asked');
});

t.test('of pieces one is asked for at a time', async (t) => {
  const { clock, turns, told } = turnsLab(20);
  turns.next();
  turns.next();
  turns.news();
  await clock.advance(100);
  t.equal(told(), 1);
  turns.heard();
  turns.begun();
  turns.next();
  t.equal(told(), 2);
});

t.test('without a moment to wait for, news are worked on with the next turn', async (t) => {
  const { turns, told } = turnsLab(0);
  turns.news();
  turns.news();
  t.equal(told(), 1);
});

t.test('in one turn are done as many pieces as it has time for, one at least and no flood of them', (t) => {
  const turn = (piece_ms: number, pieces: number) => {
    let now_ms = 1000;
    let done = 0;
    const is_over = inPieces({ now_ms: () => now_ms }, () => {
      now_ms += piece_ms;
      done += 1;
      return done === pieces;
    });
    return [done, is_over];
  };
  t.strictSame(turn(30, 100), [1, false]);
  t.strictSame(turn(1.5, 100), [3, false]);
  t.strictSame(turn(0, 100), [8, false]);
  t.strictSame(turn(1, 3), [3, true]);
  t.strictSame(turn(30, 1), [1, true]);
  t.end();
});
