import t from 'tap';
import type { ActorContext, ActorRef, LifeRef, StopReason } from '../../src/actor-system.js';
import { BOOM, gate, NOTE, type Probe, world } from '../kit/world.js';

t.test('what an actor can do', async (t) => {
  t.test('death watch: is told of every end, whether it comes back, and past a full mailbox', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('w', { mailbox_max: 1 }), w.probe('a'));
    const watch = (name: string): Probe => ({
      type: 'do',
      run: (ctx) => ctx.watch(w.ref(name), (down) => ({ type: 'down', down })),
    });
    await w.tell('w', watch('a'));
    t.same(w.node('w').watches, ['root/a']);
    w.take();
    await w.tell('a', BOOM);
    t.same(w.take(), ['a1-crash', 'w1!root/a crash true']);
    await w.tell('w', watch('a'));
    t.same(w.take(), ['w1!root/a crash true'], 'who watches one that is down is told at once');
    await w.clock.advance(100);
    w.take();
    const busy = gate();
    await w.tell('w', { type: 'hang', until: busy.opened });
    await w.tell('w', NOTE(1));
    await w.system.stopChild('a');
    busy.open();
    await w.settle();
    t.same(w.take(), ['a2-shutdown', 'w1:1', 'w1!root/a shutdown false', 'w1!root/a shutdown false']);
    t.same(w.node('w').watches, []);
    await w.tell('w', watch('a'));
    t.same(w.take(), ['w1!root/a shutdown false'], 'nobody lives there');
  });

  t.test('it tells itself past a full mailbox, and nothing when its life is over', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a', { mailbox_max: 1 }));
    let first: ActorContext<Probe> | undefined;
    const busy = gate();
    await w.tell('a', {
      type: 'do',
      run: (ctx) => {
        first = ctx;
        return busy.opened;
      },
    });
    t.same(await w.tell('a', NOTE(1), NOTE(2)), [true, false]);
    first!.tellSelf(NOTE(3));
    busy.open();
    await w.settle();
    t.same(w.take(), ['a1+', 'a1:1', 'a1:3']);
    await w.tell('a', BOOM);
    first!.tellSelf(NOTE(4));
    await w.clock.advance(100);
    t.same(w.take(), ['a1-crash', 'a2+']);
  });

  t.test('an address of one life: what is asked of it is answered by that life, or by nobody', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'), w.probe('w'));
    let life: LifeRef<Probe> | undefined;
    const busy = gate();
    await w.tell('a', {
      type: 'do',
      run: (ctx) => {
        life = ctx.this_life;
        return busy.opened;
      },
    });
    t.equal(life?.incarnation, 1);
    const answers: string[] = [];
    const ask = (to: ActorRef<Probe>) =>
      w.tell('w', {
        type: 'do',
        run: (ctx) => {
          ctx
            .ask<Probe, string>(to, (reply) => ({ type: 'question', reply }), 5000)
            .then((answer) => answers.push(answer))
            .catch(({ code }) => answers.push(code));
        },
      });
    await ask(life!);
    busy.open();
    await w.settle();
    t.same(answers.splice(0), ['a1 here']);

    await w.tell('a', BOOM);
    await ask(life!);
    await ask(w.ref('a'));
    t.same(answers.splice(0), ['ACTOR_DOWN'], 'at once, while the path waits for the next life');
    t.notOk(life!.tell(NOTE(1)));
    t.notOk(life!.tellUrgent(NOTE(2)));
    await w.clock.advance(100);
    t.same(answers.splice(0), ['a2 here']);
    await ask(life!);
    t.same(answers, ['ACTOR_DOWN'], 'nor does it reach the next life');
    t.same(w.take(), ['a1+', 'w1+', 'a1-crash', 'a2+']);
  });

  t.test('death watch: one that was to come back and does not is announced again', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('w'), w.probe('a'));
    await w.tell('w', {
      type: 'do',
      run: (ctx) => ctx.watch(w.ref('a'), (down) => ({ type: 'down', down })),
    });
    await w.tell('a', BOOM);
    await w.system.stopChild('a');
    await w.settle();
    t.same(w.take(), ['w1+', 'a1+', 'a1-crash', 'w1!root/a crash true', 'w1!root/a crash false']);
  });

  t.test(
    'death watch: it outlives a restart of the parent of the watched, and ends with the watcher',
    async (t) => {
      const w = world(t);
      await w.spawn(w.probe('w'), w.probe('p', {}, [w.probe('c')]));
      await w.tell('w', {
        type: 'do',
        run: (ctx) => ctx.watch(w.ref('p/c'), (down) => ({ type: 'down', down })),
      });
      w.take();
      await w.tell('p', BOOM);
      await w.clock.advance(100);
      t.same(w.take(), ['c1-parent', 'p1-crash', 'w1!root/p/c parent true', 'c2+', 'p2+']);
      await w.tell('p/c', BOOM);
      t.same(w.take(), ['c2-crash', 'w1!root/p/c crash true']);
      await w.tell('w', BOOM);
      await w.clock.advance(200);
      w.take();
      await w.tell('p/c', BOOM);
      t.same(w.take(), ['c3-crash']);
    },
  );

  t.test('death watch: a mistake in making the message is the watcher’s crash', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('w'), w.probe('a'));
    const on = (): Probe => {
      throw new Error('mistake');
    };
    await w.tell('w', { type: 'do', run: (ctx) => ctx.watch(w.ref('a'), on) });
    await w.tell('a', BOOM);
    t.match(w.node('w'), { state: 'backoff', lastError: { message: 'mistake' } });
  });

  t.test(
    'timers tell a message later, and end with their incarnation, also when they have fired',
    async (t) => {
      const w = world(t);
      await w.spawn(w.probe('a', { mailbox_max: 1 }));
      const timers: Probe = {
        type: 'do',
        run: (ctx) => {
          ctx.after(10, NOTE(1));
          ctx.after(20, NOTE(2)).cancel();
          ctx.after(30, NOTE(3));
          ctx.after(1000, NOTE(4));
        },
      };
      await w.tell('a', timers);
      await w.clock.advance(20);
      t.same(w.take(), ['a1+', 'a1:1']);
      const busy = gate();
      const fails = busy.opened.then(() => Promise.reject(new Error('boom')));
      await w.tell('a', { type: 'hang', until: fails });
      await w.clock.advance(20);
      await w.tell('a', NOTE(5));
      t.equal(w.node('a').mailbox.depth, 1, 'the timer’s message waits');
      busy.open();
      await w.clock.advance(5000);
      t.same(w.take(), ['a1-crash', 'a2+'], 'a message for the old incarnation does not reach the new one');
      t.equal(w.clock.pending, 0);
    },
  );

  t.test('it can crash from outside a handler, and end from there', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a', { restart: 'transient' }));
    await w.tell('a', {
      type: 'do',
      run: (ctx) => void ctx.clock.after(10, () => ctx.crash(new Error('stream broke'))),
    });
    await w.clock.advance(10);
    t.match(w.node('a').lastError, { message: 'stream broke' });
    await w.clock.advance(100);
    await w.tell('a', { type: 'do', run: (ctx) => void ctx.clock.after(10, () => ctx.exit()) });
    await w.clock.advance(10);
    t.same(w.take(), ['a1+', 'a1-crash', 'a2+', 'a2-exit']);
    t.equal(w.system.node('root/a'), undefined);
  });

  t.test('exit comes after the message in hand, before the next', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a', { restart: 'transient' }));
    const busy = gate();
    const exit = (ctx: ActorContext<Probe>): Promise<void> => {
      ctx.exit();
      ctx.exit();
      return busy.opened;
    };
    await w.tell('a', { type: 'do', run: exit }, NOTE(1));
    t.same(w.take(), ['a1+']);
    busy.open();
    await w.settle();
    t.same(w.take(), ['a1-exit']);
    t.equal(w.system.counters().deadLetters, 1);
  });

  t.test('children: it spawns, finds and stops them; they go with it', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('p'));
    const found: (string | undefined)[] = [];
    await w.tell('p', {
      type: 'do',
      run: async (ctx) => {
        await ctx.stopChild('none');
        t.equal(ctx.child('x'), undefined);
        const ref = await ctx.spawn(w.probe('x', { restart: 'temporary' }));
        ref.tell(NOTE(1));
        await ctx.spawn(w.probe('y'));
        found.push(ctx.child('x')?.path, ctx.child('none')?.path, ctx.self.path, ctx.path);
        await ctx.stopChild('y');
      },
    });
    t.same(found, ['root/p/x', undefined, 'root/p', 'root/p']);
    await w.tell('p/x', BOOM);
    await w.tell('p', {
      type: 'do',
      run: (ctx) => void t.equal(ctx.child('x'), undefined, 'failed for good'),
    });
    await w.tell('p', BOOM);
    t.same(w.take(), ['p1+', 'x1+', 'y1+', 'y1-shutdown', 'x1:1', 'x1-crash', 'p1-crash']);
  });

  t.test(
    'the signal is aborted on a crash before stop() runs, and after it on an orderly stop',
    async (t) => {
      const w = world(t);
      const seen: string[] = [];
      await w.spawn(
        w.probe('a', {
          start: (ctx) => ({
            receive: () => {
              throw new Error('boom');
            },
            stop: (reason: StopReason) => void seen.push(`${reason.kind} ${ctx.signal.aborted}`),
          }),
        }),
      );
      await w.tell('a', BOOM);
      await w.clock.advance(100);
      await w.system.stopChild('a');
      t.same(seen, ['crash true', 'shutdown false']);
    },
  );
});
