import t from 'tap';
import {
  type ActorContext,
  ActorDown,
  type ChildSpec,
  NameTaken,
  type Reply,
  ShutdownTimeout,
  StartTimeout,
  WatchdogTimeout,
} from '../../src/actor-system.js';
import { BOOM, gate, NOTE, type Probe, world } from '../kit/world.js';

t.test('starting', async (t) => {
  t.test('is in order, children before the parent counts as started', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('p', {}, [w.probe('a', {}, [w.probe('x')]), w.probe('b')]));
    t.same(w.take(), ['x1+', 'a1+', 'b1+', 'p1+']);
    t.same(
      w.node('p').children.map(({ path }) => path),
      ['root/p/a', 'root/p/b'],
    );
  });

  t.test('that fails the first time is the answer to spawn, and leaves nothing', async (t) => {
    const w = world(t);
    const fails = w.probe('f', { start: () => Promise.reject(new Error('no luck')) });
    await t.rejects(w.system.spawn(fails), { message: 'no luck' });
    await t.rejects(w.system.spawn(w.probe('p', {}, [w.probe('a'), fails])), { message: 'no luck' });
    t.same(w.take(), ['a1+', 'a1-shutdown']);
    t.same(w.system.tree().children, []);
    t.equal(w.system.counters().actors, 1);
    t.equal(w.system.tree().supervision?.used, 0);
  });

  t.test('has a deadline; what settles later is freed and ignored', async (t) => {
    const w = world(t);
    const ready = gate();
    const spec = w.probe('a', { start_ms: 500 });
    let aborted = false;
    const spawned = w.system.spawn<Probe>({
      ...spec,
      start: async (ctx) => {
        ctx.signal.addEventListener('abort', () => {
          aborted = true;
        });
        await ready.opened;
        return spec.start(ctx);
      },
    });
    await w.clock.advance(500);
    await t.rejects(spawned, StartTimeout);
    t.ok(aborted);
    ready.open();
    await w.settle();
    t.same(w.take(), ['a1+', 'a1-crash'], 'and told what has ended it');
    t.equal(w.system.counters().late, 1);
  });

  t.test('refuses names that are taken or cannot be shown', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('ns/pod:eth0 ü'));
    t.equal(w.node('ns/pod:eth0 ü').state, 'running');
    await t.rejects(w.system.spawn(w.probe('ns/pod:eth0 ü')), NameTaken);
    for (const name of ['', 'a\nb', '\x1b[0m']) await t.rejects(w.system.spawn(w.probe(name)), TypeError);
  });

  t.test('a name can be taken again while its last bearer stops', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'));
    const busy = gate();
    await w.tell('a', { type: 'hang', until: busy.opened });
    const stopped = w.system.stopChild('a');
    const again = w.system.spawn(w.probe('a'));
    await w.settle();
    t.same(w.take(), ['a1+']);
    busy.open();
    await stopped;
    await again;
    t.same(w.take(), ['a1-shutdown', 'a1+']);
  });

  t.test('an actor may end itself, or crash, in its start', async (t) => {
    const w = world(t);
    const spec = w.probe('a', { restart: 'transient' });
    const first = (act: (ctx: ActorContext<Probe>) => void): ChildSpec<Probe> => ({
      ...spec,
      start: (ctx) => {
        act(ctx);
        return spec.start(ctx);
      },
    });
    await w.system.spawn(first((ctx) => ctx.exit()));
    await w.settle();
    t.same(w.take(), ['a1+', 'a1-exit']);
    const crashes = first((ctx) => ctx.crash(new Error('own')));
    await t.rejects(w.system.spawn(crashes), { message: 'own' });
    t.same(w.system.tree().children, []);
  });
});

t.test('stopping', async (t) => {
  t.test(
    'is in reverse order, children before their parent, after the message in hand, and not behind the mailbox',
    async (t) => {
      const w = world(t);
      await w.spawn(w.probe('a'), w.probe('p', {}, [w.probe('c'), w.probe('d')]), w.probe('z'));
      const busy = gate();
      await w.tell('p', { type: 'hang', until: busy.opened }, NOTE(1), NOTE(2));
      w.take();
      const stopped = w.system.stop();
      await w.settle();
      t.same(w.take(), ['z1-shutdown']);
      t.match(w.node('p'), { state: 'draining', currentHandler: { type: 'hang' } });
      busy.open();
      await stopped;
      t.same(w.take(), ['d1-shutdown', 'c1-shutdown', 'p1-shutdown', 'a1-shutdown']);
      await w.system.stop();
    },
  );

  t.test('past its deadline aborts, abandons and goes on; late effects are ignored', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'), w.probe('b', { shutdown_ms: 300 }));
    const stuck = gate();
    const log: string[] = [];
    await w.tell('b', {
      type: 'do',
      run: async (ctx) => {
        ctx.signal.addEventListener('abort', () => log.push('aborted'));
        await stuck.opened;
        ctx.after(1, NOTE(1));
        ctx.watch(w.ref('a'), (down) => ({ type: 'down', down }));
        ctx.event('late', 'late');
        ctx.blockedOn('late');
        ctx.exit();
        ctx.crash(new Error('late'));
        await ctx.spawn(w.probe('late')).catch((error: Error) => log.push(error.name));
        await ctx
          .ask(w.ref('a'), (reply: Reply<string>): Probe => ({ type: 'question', reply }), 1000)
          .catch((error: Error) => log.push(error.name));
        throw new Error('late');
      },
    });
    w.take();
    const stopped = w.system.stop();
    await w.clock.advance(299);
    t.same(log, []);
    await w.clock.advance(1);
    await stopped;
    t.same(log, ['aborted']);
    t.same(w.take(), ['b1-shutdown', 'a1-shutdown']);
    t.equal(w.system.counters().abandoned, 1);
    t.ok(w.log.lines.some(({ fields }) => fields.err instanceof ShutdownTimeout));
    stuck.open();
    await w.settle();
    t.same(log, ['aborted', 'ActorDown', 'ActorDown']);
    t.equal(w.system.counters().late, 2);
    t.notOk(w.system.events().some(({ kind }) => kind === 'late'));
    t.equal(w.clock.pending, 0);
  });

  t.test('a stop() that hangs or throws does not hold up the others', async (t) => {
    const w = world(t);
    const stops = (name: string, stop: () => void | Promise<void>): ChildSpec<Probe> =>
      w.probe(name, { shutdown_ms: 200, start: () => ({ receive: () => {}, stop }) });
    await w.spawn(
      w.probe('a'),
      stops('hangs', () => new Promise(() => {})),
      stops('rejects', () => Promise.reject(new Error('no'))),
      stops('throws', () => {
        throw new Error('never');
      }),
    );
    const stopped = w.system.stop();
    await w.clock.advance(200);
    await stopped;
    t.same(w.take(), ['a1+', 'a1-shutdown']);
    t.equal(w.system.counters().abandoned, 1);
    const errors = w.log.lines
      .filter(({ level }) => level === 'error')
      .map(({ fields }) => (fields.err as Error).message);
    t.match(errors, ['never', 'no', /did not stop within 200 ms \(stop\(\)\)/]);
  });

  t.test('a start that does not heed the signal is abandoned at the deadline', async (t) => {
    const w = world(t);
    const spawned = w.system.spawn(w.probe('a', { shutdown_ms: 400, start: () => new Promise(() => {}) }));
    await w.settle();
    const stopped = w.system.stopChild('a');
    await t.rejects(Promise.all([spawned, w.clock.advance(400)]), ActorDown);
    await stopped;
    t.equal(w.system.counters().abandoned, 1);
  });

  t.test('a start that succeeds while it is told to stop is stopped properly', async (t) => {
    const w = world(t);
    const ready = gate();
    const spec = w.probe('a');
    const spawned = w.system.spawn<Probe>({
      ...spec,
      start: (ctx) => ready.opened.then(() => spec.start(ctx)),
    });
    const stopped = w.system.stopChild('a');
    ready.open();
    await t.rejects(spawned, ActorDown);
    await stopped;
    t.same(w.take(), ['a1+', 'a1-shutdown']);
  });

  t.test('while children back off starts nothing again', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('p', {}, [w.probe('c')]));
    await w.tell('p/c', BOOM);
    await w.system.stop();
    await w.clock.advance(10_000);
    t.same(w.take(), ['c1+', 'p1+', 'c1-crash', 'p1-shutdown']);
  });

  t.test('a handler that fails while it is waited for is noted, and the stop goes on', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'));
    const busy = gate();
    const fails = busy.opened.then(() => Promise.reject(new Error('at last')));
    await w.tell('a', { type: 'hang', until: fails });
    w.system.restart('root/a');
    busy.open();
    await w.settle();
    t.same(w.take(), ['a1+', 'a1-restart', 'a2+']);
    t.ok(w.log.lines.some(({ text }) => text === 'actor(crash) at last'));
    t.equal(w.system.tree().supervision?.used, 0, 'it counts as no restart of its own');
    t.equal(w.system.counters().crashes, 0);
  });

  t.test('ten thousand actors spawned and stopped leave nothing behind', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('p'));
    await w.tell('p', {
      type: 'do',
      run: async (ctx) => {
        for (let n = 0; n < 10_000; n += 1) {
          const name = `pod ${n % 100}`;
          const ref = await ctx.spawn(w.probe(name));
          ref.tell(NOTE(n));
          ctx.watch(ref, (down) => ({ type: 'down', down }));
          await ctx.stopChild(name);
        }
      },
    });
    t.equal(w.system.counters().actors, 2);
    t.equal(w.clock.pending, 1, 'the watchdog of the long message');
    t.same(w.node('p').watches, []);
    t.same(w.node('p').children, []);
    t.equal(w.node('p').mailbox.highWater, 10_000, 'no death notice was lost');
  });
});

t.test('watchdog', async (t) => {
  t.test(
    'a handler that does not settle is a crash; when it settles later the next incarnation feels nothing',
    async (t) => {
      const w = world(t);
      await w.spawn(w.probe('a', { handler_ms_max: 1000 }));
      const stuck = gate();
      await w.tell('a', { type: 'hang', until: stuck.opened }, NOTE(1));
      await w.clock.advance(999);
      t.match(w.node('a'), {
        state: 'running',
        currentHandler: { type: 'hang', ms: 999 },
        mailbox: { depth: 1, oldestMs: 999 },
      });
      await w.clock.advance(1);
      t.match(w.node('a').lastError, { code: 'WATCHDOG_TIMEOUT', message: /hang.*1000 ms/ });
      t.same(w.take(), ['a1+', 'a1-crash']);
      await w.clock.advance(100);
      t.same(w.take(), ['a2+', 'a2:1']);
      const busy = gate();
      await w.tell('a', { type: 'hang', until: busy.opened }, NOTE(2));
      stuck.open();
      await w.settle();
      t.same(w.take(), [], 'the late settlement does not let the next message in');
      t.equal(w.node('a').currentHandler?.type, 'hang');
      t.equal(w.system.counters().late, 1);
      busy.open();
      await w.settle();
      t.same(w.take(), ['a2:2']);
      t.ok(w.log.lines.some(({ fields }) => fields.err instanceof WatchdogTimeout));
    },
  );

  t.test('gives each message its full time', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a', { handler_ms_max: 1000 }));
    for (let n = 0; n < 5; n += 1) w.ref('a').tell({ type: 'do', run: (ctx) => ctx.clock.sleep(900) });
    await w.clock.advance(4500);
    t.equal(w.node('a').processed.total, 5);
    t.equal(w.node('a').errors, 0);
    await w.clock.advance(1000);
    t.equal(w.clock.pending, 0);
  });
});
