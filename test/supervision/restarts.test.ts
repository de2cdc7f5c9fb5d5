import t from 'tap';
import {
  ActorDown,
  type ChildSpec,
  IntensityExceeded,
  type Restart,
  type Strategy,
} from '../../src/actor-system.js';
import { supervision } from '../kit/actor-kit.js';
import { BOOM, gate, NOTE, type Probe, world } from '../kit/world.js';

t.test('restarts', async (t) => {
  for (const [strategy, expected] of [
    ['one_for_one', ['b1-crash', 'b2+']],
    ['rest_for_one', ['b1-crash', 'c1-sibling', 'b2+', 'c2+']],
    ['one_for_all', ['b1-crash', 'c1-sibling', 'a1-sibling', 'a2+', 'b2+', 'c2+']],
  ] as [Strategy, string[]][]) {
    t.test(`${strategy} stops in reverse and starts in order`, async (t) => {
      const w = world(t, { supervision: supervision({ strategy }) });
      await w.spawn(w.probe('a'), w.probe('b'), w.probe('c'), w.probe('debug', { restart: 'temporary' }));
      w.take();
      await w.tell('b', BOOM);
      await w.clock.advance(100);
      t.same(w.take(), expected);
      t.same(
        w.system.tree().children.map(({ name, state }) => `${name} ${state}`),
        ['a running', 'b running', 'c running', 'debug running'],
      );
    });
  }

  for (const [restart, message, outcome] of [
    ['permanent', 'exit', 'backoff'],
    ['permanent', 'boom', 'backoff'],
    ['transient', 'exit', 'gone'],
    ['transient', 'boom', 'backoff'],
    ['temporary', 'exit', 'gone'],
    ['temporary', 'boom', 'failed'],
  ] as [Restart, 'exit' | 'boom', string][]) {
    t.test(`${restart} after ${message}: ${outcome}`, async (t) => {
      const w = world(t, { supervision: supervision({ strategy: 'one_for_all' }) });
      await w.spawn(w.probe('a'), w.probe('b', { restart }));
      await w.tell('b', { type: message });
      t.equal(w.node('b')?.state ?? 'gone', outcome);
      if (outcome !== 'backoff') {
        t.same(w.system.tree().supervision?.used, 0, 'no restart is counted');
        t.equal(w.node('a').incarnation, 1, 'nobody is taken along');
        t.same(await w.tell('b', NOTE(1)), [false]);
      }
    });
  }

  t.test('come after a delay that doubles, and is short again after a quiet window', async (t) => {
    const intensity = { restarts_max: 10, window_ms: 30_000 };
    const w = world(t, { supervision: supervision({ intensity }) });
    await w.spawn(w.probe('a'));
    const delays: number[] = [];
    const crash = async (): Promise<void> => {
      await w.tell('a', BOOM);
      const delay = w.clock.next_ms!;
      delays.push(delay);
      await w.clock.advance(delay - 1);
      t.equal(w.node('a').state, 'backoff');
      await w.clock.advance(1);
      t.equal(w.node('a').state, 'running');
    };
    for (let i = 0; i < 8; i += 1) await crash();
    await w.clock.advance(30_000);
    await crash();
    t.same(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 100]);
    t.match(w.node('a').restarts, { total: 9, inWindow: 1, lastReason: 'boom' });
    t.match(w.node('a').lastError, { message: 'boom', count: 9 });
  });

  t.test('a restart whose start fails is a crash again', async (t) => {
    const w = world(t);
    const spec = w.probe('a');
    let failures = 2;
    await w.spawn({
      ...spec,
      start: (ctx) => {
        if (ctx.incarnation > 1 && failures > 0) {
          failures -= 1;
          throw new Error('not yet');
        }
        return spec.start(ctx);
      },
    });
    await w.tell('a', BOOM, NOTE(1));
    await w.clock.advance(100 + 200 + 400);
    t.same(w.take(), ['a1+', 'a1-crash', 'a4+', 'a4:1']);
  });

  t.test('in a group, a member that fails to start does not restart those that stand already', async (t) => {
    const w = world(t, { supervision: supervision({ strategy: 'rest_for_one' }) });
    const spec = w.probe('b');
    let failures = 1;
    const b: ChildSpec<Probe> = {
      ...spec,
      start: (ctx) => {
        if (ctx.incarnation === 2 && failures > 0) {
          failures -= 1;
          throw new Error('not yet');
        }
        return spec.start(ctx);
      },
    };
    await w.spawn(w.probe('a'), b, w.probe('c'));
    w.take();
    await w.tell('a', BOOM);
    await w.clock.advance(100);
    t.same(w.take(), ['a1-crash', 'c1-sibling', 'b1-sibling', 'a2+']);
    await w.clock.advance(200);
    t.same(w.take(), ['b3+', 'c2+']);
  });

  t.test('that overlap become one: an earlier child crashes while a later one backs off', async (t) => {
    const w = world(t, { supervision: supervision({ strategy: 'rest_for_one' }) });
    await w.spawn(w.probe('a'), w.probe('b'), w.probe('c'));
    w.take();
    await w.tell('b', BOOM);
    await w.clock.advance(50);
    await w.tell('a', BOOM);
    t.same(w.take(), ['b1-crash', 'c1-sibling', 'a1-crash']);
    await w.clock.advance(99);
    t.same(w.take(), []);
    await w.clock.advance(1);
    t.same(w.take(), ['a2+', 'b2+', 'c2+']);
    await w.clock.advance(10_000);
    t.same(w.take(), []);
  });

  t.test('that overlap become one: a child crashes while its turn to stop has not come', async (t) => {
    const w = world(t, { supervision: supervision({ strategy: 'rest_for_one' }) });
    await w.spawn(w.probe('a'), w.probe('b'), w.probe('c'));
    const busy = gate();
    await w.tell('c', { type: 'hang', until: busy.opened });
    w.take();
    await w.tell('a', BOOM);
    await w.tell('b', BOOM);
    t.same(w.take(), ['a1-crash', 'b1-crash']);
    busy.open();
    await w.clock.advance(100);
    t.same(w.take(), ['c1-sibling', 'a2+', 'b2+', 'c2+']);
  });

  t.test('of different children do not wait for each other under one_for_one', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'), w.probe('b'));
    await w.tell('a', BOOM);
    await w.clock.advance(60);
    await w.tell('b', BOOM);
    t.equal((await Promise.all([w.system.spawn(w.probe('c'))])).length, 1, 'nor does a new child');
    await w.clock.advance(40);
    t.same([w.node('a').state, w.node('b').state], ['running', 'backoff']);
  });

  t.test('a child spawned during the restart of its group waits for it', async (t) => {
    const w = world(t, { supervision: supervision({ strategy: 'rest_for_one' }) });
    await w.spawn(w.probe('a'));
    await w.tell('a', BOOM);
    const spawned = w.system.spawn(w.probe('b'));
    await w.clock.advance(99);
    t.same(w.take(), ['a1+', 'a1-crash']);
    await w.clock.advance(1);
    await spawned;
    t.same(w.take(), ['a2+', 'b1+']);
  });

  t.test('a first start that a restart of the group cuts short is made up for', async (t) => {
    const w = world(t, { supervision: supervision({ strategy: 'one_for_all' }) });
    await w.spawn(w.probe('a'));
    const spec = w.probe('b');
    const spawned = w.system.spawn<Probe>({
      ...spec,
      start: async (ctx) => {
        if (ctx.incarnation === 1) await ctx.clock.sleep(20_000, ctx.signal);
        return spec.start(ctx);
      },
    });
    await w.tell('a', BOOM);
    await w.clock.advance(100);
    t.equal((await spawned).path, 'root/b');
    t.same(w.take(), ['a1+', 'a1-crash', 'a2+', 'b2+']);
    t.equal(w.node('b').errors, 0, 'to give up a start when told to stop is no error');
  });

  t.test('by an operator take the group along, wait for the message in hand and count nothing', async (t) => {
    const w = world(t, { supervision: supervision({ strategy: 'rest_for_one' }) });
    await w.spawn(w.probe('a'), w.probe('b'));
    const busy = gate();
    await w.tell('a', { type: 'hang', until: busy.opened }, NOTE(1));
    t.equal(w.system.restart('root/a'), true);
    await w.settle();
    t.same(w.take(), ['a1+', 'b1+', 'b1-sibling'], 'the signal does not wait behind the mailbox');
    busy.open();
    await w.settle();
    t.same(w.take(), ['a1-restart', 'a2+', 'b2+', 'a2:1']);
    t.equal(w.system.tree().supervision?.used, 0);
    t.equal(w.system.restart('root/none'), false);
    t.equal(w.system.restart('root'), false);
    t.equal(w.system.crash('root/none', new Error('x')), false);
  });

  t.test('a child can be stopped while it backs off', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'));
    await w.tell('a', BOOM);
    await w.system.stopChild('a');
    t.equal(w.clock.pending, 0);
    await w.clock.advance(1000);
    t.same(w.take(), ['a1+', 'a1-crash']);
    await w.system.stopChild('a');
    await w.spawn(w.probe('a'));
    t.same(w.take(), ['a1+']);
  });

  t.test(
    'a failed temporary child stays visible until its name is taken again, and their number is bounded',
    async (t) => {
      const w = world(t);
      for (let n = 0; n < 20; n += 1) {
        await w.spawn(w.probe(`x${n}`, { restart: 'temporary' }));
        await w.tell(`x${n}`, BOOM);
      }
      t.equal(w.system.tree().children.length, 16);
      t.equal(w.node('x19').state, 'failed');
      await w.spawn(w.probe('x19'));
      t.equal(w.node('x19').state, 'running');
      t.equal(w.system.counters().actors, 2);
    },
  );
});

t.test('escalation', async (t) => {
  const twice = supervision({ intensity: { restarts_max: 1, window_ms: 10_000 } });

  t.test(
    'goes over two levels to the root, whose last word comes when all has stopped in order',
    async (t) => {
      const w = world(t, { supervision: twice });
      await w.spawn(
        w.probe('a'),
        w.probe('p', { supervision: twice }, [w.probe('c'), w.probe('d')]),
        w.probe('z'),
      );
      w.take();
      for (const delay of [100, 100, 100, 0]) {
        await w.tell('p/c', BOOM);
        await w.clock.advance(delay);
      }
      t.same(w.take(), [
        'c1-crash',
        'c2+',
        // too much for p, which its supervisor starts again with a fresh count
        'c2-crash',
        'd1-parent',
        'p1-crash',
        'c3+',
        'd2+',
        'p2+',
        'c3-crash',
        'c4+',
        // too much for p again, and thereby for the root
        'c4-crash',
        'd2-shutdown',
        'z1-shutdown',
        'p2-crash',
        'a1-shutdown',
      ]);
      t.ok(w.escalated instanceof IntensityExceeded);
      t.match(w.escalated, {
        path: 'root',
        child: 'root/p',
        cause: { path: 'root/p', child: 'root/p/c', cause: { message: 'boom' } },
      });
      t.equal(w.system.tree().state, 'failed');
      t.equal(w.system.counters().actors, 0);
      await t.rejects(w.system.spawn(w.probe('late')), ActorDown);
    },
  );

  t.test('from a temporary supervisor ends there', async (t) => {
    const w = world(t, { supervision: twice });
    await w.spawn(w.probe('p', { supervision: twice, restart: 'temporary' }, [w.probe('c')]));
    await w.tell('p/c', BOOM);
    await w.clock.advance(100);
    await w.tell('p/c', BOOM);
    t.equal(w.node('p').state, 'failed');
    t.equal(w.escalated, undefined);
  });

  t.test('is no longer heard once the supervisor stops', async (t) => {
    const w = world(t);
    const closing = gate();
    const child = w.probe('c');
    await w.spawn(w.probe('p', {}, [child]));
    await w.tell('p', { type: 'hang', until: closing.opened });
    const stopped = w.system.stopChild('p');
    await w.tell('p/c', BOOM);
    closing.open();
    await stopped;
    t.same(w.take(), ['c1+', 'p1+', 'c1-crash', 'p1-shutdown']);
  });
});
