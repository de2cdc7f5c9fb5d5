import t from 'tap';
import { ActorDown, AskDeadline, MailboxFull, type Reply } from '../src/actor-system.js';
import { BOOM, gate, NOTE, type Probe, world } from './kit/world.js';

t.test('messages', async (t) => {
  t.test('come in order, one at a time, also when a handler is slow', async (t) => {
    const w = world(t);
    let inside = 0;
    let most = 0;
    const order: number[] = [];
    const step = (n: number): Probe => ({
      type: 'do',
      run: async (ctx) => {
        inside += 1;
        most = Math.max(most, inside);
        await ctx.clock.sleep(n % 3);
        order.push(n);
        inside -= 1;
      },
    });
    await w.spawn(w.probe('a'));
    for (let n = 0; n < 30; n += 1) w.ref('a').tell(step(n));
    await w.clock.advance(1000);
    t.equal(most, 1);
    t.same(order, [...Array(30).keys()]);
  });

  t.test('wait while the actor starts', async (t) => {
    const w = world(t);
    const ready = gate();
    const spec = w.probe('a');
    const started = w.system.spawn<Probe>({
      ...spec,
      start: async (ctx) => {
        await ready.opened;
        return spec.start(ctx);
      },
    });
    await w.tell('a', NOTE(1), NOTE(2));
    t.same(w.take(), []);
    t.equal(w.node('a').state, 'starting');
    t.equal(w.node('a').mailbox.depth, 2);
    ready.open();
    await started;
    await w.settle();
    t.same(w.take(), ['a1+', 'a1:1', 'a1:2']);
  });

  t.test('are kept over a restart, in order, without the one that crashed', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'));
    await w.tell('a', NOTE(1), BOOM, NOTE(2), NOTE(3), BOOM, NOTE(4));
    t.same(w.take(), ['a1+', 'a1:1', 'a1-crash']);
    t.equal(w.node('a').mailbox.depth, 4);
    await w.tell('a', NOTE(5));
    await w.clock.advance(100);
    t.same(w.take(), ['a2+', 'a2:2', 'a2:3', 'a2-crash']);
    await w.clock.advance(200);
    t.same(w.take(), ['a3+', 'a3:4', 'a3:5']);
  });

  t.test('a full mailbox refuses, counts and says so once', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a', { mailbox_max: 3 }));
    const busy = gate();
    await w.tell('a', { type: 'hang', until: busy.opened });
    t.same(await w.tell('a', NOTE(1), NOTE(2), NOTE(3), NOTE(4), NOTE(5)), [true, true, true, false, false]);
    await t.rejects(
      w.system.ask(w.ref('a'), (reply: Reply<string>): Probe => ({ type: 'question', reply }), 10),
      MailboxFull,
    );
    const { mailbox } = w.node('a');
    t.match(mailbox, { depth: 3, highWater: 3, capacity: 3, dropped: 3, byType: { note: 3 } });
    t.equal(w.system.events().filter(({ kind }) => kind === 'overflow').length, 1);
    t.equal(w.system.counters().overflows, 3);
    busy.open();
    await w.settle();
    t.same(w.take(), ['a1+', 'a1:1', 'a1:2', 'a1:3']);
    t.same(await w.tell('a', NOTE(6)), [true]);
  });

  t.test(
    'that are urgent pass a full mailbox, come before all that waits, and keep their order',
    async (t) => {
      const w = world(t);
      await w.spawn(w.probe('a', { mailbox_max: 2 }));
      const busy = gate();
      await w.tell('a', { type: 'hang', until: busy.opened });
      await w.tell('a', NOTE(1), NOTE(2));
      w.take();
      const urgent = (...messages: Probe[]) => messages.map((message) => w.ref('a').tellUrgent(message));
      const hang = gate();
      const note = (n: number): Probe => ({ type: 'do', run: () => void w.seen.push(`do:${n}`) });
      t.same(
        urgent(note(1), { type: 'hang', until: hang.opened }, NOTE(8), note(2), NOTE(9)),
        Array(5).fill(true),
      );
      t.same(await w.tell('a', NOTE(3)), [false], 'they do not make room for others');
      t.match(w.node('a').mailbox, { depth: 5, dropped: 1, urgent: ['hang', 'do', 'note'] });
      busy.open();
      await w.settle();
      t.same(w.take(), [], 'an urgent one that takes long is waited for, as any other');
      hang.open();
      await w.settle();
      t.same(w.take(), ['do:2', 'a1:9', 'a1:1', 'a1:2'], 'of each type the last one, where it was told last');
      t.match(w.node('a'), { mailbox: { depth: 0, urgent: [] }, processed: { total: 6 } });
      urgent(NOTE(4));
      await w.settle();
      t.same(w.take(), ['a1:4'], 'and nothing else need be told for them to have their turn');
    },
  );

  t.test('that are urgent wait for a restart, and are dead letters when there is none', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'));
    await w.tell('a', BOOM, NOTE(1));
    w.take();
    t.ok(w.ref('a').tellUrgent(NOTE(2)));
    await w.clock.advance(100);
    t.same(w.take(), ['a2+', 'a2:2', 'a2:1']);
    w.ref('a').tellUrgent(BOOM);
    w.ref('a').tellUrgent(NOTE(3));
    await w.settle();
    t.same(w.take(), ['a2-crash'], 'to crash over one costs no other');
    await w.system.stopChild('a');
    t.equal(w.system.counters().deadLetters, 1);
    t.notOk(w.ref('a').tellUrgent(NOTE(4)));
    t.equal(w.system.counters().deadLetters, 2);
  });

  t.test('to an actor that has gone are refused and counted as dead letters', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'));
    const busy = gate();
    await w.tell('a', { type: 'hang', until: busy.opened }, NOTE(1), NOTE(2));
    const stopped = w.system.stopChild('a');
    t.equal(w.ref('a').tell(NOTE(3)), false, 'also while it stops');
    busy.open();
    await stopped;
    t.same(await w.tell('a', NOTE(4)), [false]);
    t.equal(w.system.counters().deadLetters, 4);
    t.same(w.take(), ['a1+', 'a1-shutdown']);
    t.equal(w.system.ref<Probe>('root/never').tell(NOTE(1)), false);
  });

  t.test('a reference reaches the actor that a restarted parent has put at the path again', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('p', {}, [w.probe('c')]));
    const child = w.ref('p/c');
    t.ok(child.tell(NOTE(1)));
    await w.tell('p', BOOM);
    t.equal(child.tell(NOTE(2)), false);
    await w.clock.advance(100);
    t.ok(child.tell(NOTE(3)));
    await w.settle();
    t.same(w.take(), ['c1+', 'p1+', 'c1:1', 'c1-parent', 'p1-crash', 'c2+', 'p2+', 'c2:3']);
  });

  t.test('a rejection without a reason is a crash like any other', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'));
    await w.tell('a', { type: 'do', run: () => Promise.reject() });
    t.equal(w.node('a').state, 'backoff');
    await w.clock.advance(100);
    await w.tell('a', { type: 'do', run: () => Promise.reject('text') });
    t.match(w.node('a').lastError, { message: 'thrown: text', code: 'Error' });
  });
});

t.test('questions', async (t) => {
  const question = (reply: Reply<string>): Probe => ({ type: 'question', reply });
  const later = (reply: Reply<string>): Probe => ({ type: 'later', reply });

  t.test('are answered, and leave no timer behind', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'));
    t.equal(await w.system.ask(w.ref('a'), question, 1000), 'a1 here');
    t.equal(w.clock.pending, 0);
    t.equal(w.system.counters().asks, 0);
  });

  t.test('are given up at their deadline; the target can see it', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'));
    let reply!: Reply<string>;
    const keep = (r: Reply<string>): Probe => {
      reply = r;
      return later(r);
    };
    const asked = w.system.ask(w.ref('a'), keep, 500);
    t.equal(reply.deadline_ms, w.clock.now_ms() + 500);
    await w.clock.advance(499);
    t.equal(reply.expired(), false);
    await w.clock.advance(1);
    await t.rejects(asked, AskDeadline);
    t.equal(reply.expired(), true);
    reply.resolve('too late');
    reply.reject(new Error('too late'));
  });

  t.test('whose asker has given up before their turn are not handled', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'));
    const busy = gate();
    await w.tell('a', { type: 'hang', until: busy.opened });
    const asked = w.system.ask(w.ref('a'), question, 10);
    await w.clock.advance(10);
    await t.rejects(asked, AskDeadline);
    busy.open();
    await w.tell('a', NOTE(1));
    t.match(w.node('a').processed, { total: 2, expired: 1, byType: { question: 0 } });
  });

  t.test('are rejected at once when the target crashes, also those that still wait', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'));
    const first = w.system.ask(w.ref('a'), later, 60_000);
    await w.settle();
    w.ref('a').tell(BOOM);
    const second = w.system.ask(w.ref('a'), question, 60_000);
    await t.rejects(first, { code: 'ACTOR_DOWN', message: /boom/, cause: { message: 'boom' } });
    await t.rejects(second, ActorDown);
    const third = w.system.ask(w.ref('a'), question, 60_000);
    await w.clock.advance(100);
    t.equal(await third, 'a2 here', 'one asked during the back-off is answered by the next incarnation');
    t.equal(w.node('a').processed.expired, 1);
  });

  t.test('are rejected at once when the target stops, except the one that it is answering', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'));
    const busy = gate();
    const inHand = w.system.ask(
      w.ref('a'),
      (reply: Reply<string>): Probe => ({
        type: 'do',
        run: () => busy.opened.then(() => reply.resolve('done')),
      }),
      60_000,
    );
    await w.settle();
    const waiting = w.system.ask(w.ref('a'), question, 60_000);
    const stopped = w.system.stopChild('a');
    await t.rejects(waiting, ActorDown);
    await t.rejects(w.system.ask(w.ref('a'), question, 60_000), ActorDown, 'while it stops');
    busy.open();
    t.equal(await inHand, 'done');
    await stopped;
    await t.rejects(w.system.ask(w.ref('a'), question, 60_000), ActorDown, 'when it has gone');
  });

  t.test('of an asker that crashes are withdrawn', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'), w.probe('b'));
    const busy = gate();
    await w.tell('b', { type: 'hang', until: busy.opened });
    let outcome: unknown;
    await w.tell('a', {
      type: 'do',
      run: (ctx) => {
        ctx.ask(w.ref('b'), question, 60_000).catch((error: unknown) => {
          outcome = error;
        });
      },
    });
    t.match(w.node('a').asks, [{ target: 'root/b', type: 'question', ageMs: 0 }]);
    await w.tell('a', BOOM);
    t.ok(outcome instanceof ActorDown);
    busy.open();
    await w.settle();
    t.equal(w.node('b').processed.expired, 1);
  });

  t.test('that cannot be put are rejected, not thrown', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'));
    const bad = w.system.ask(
      w.ref('a'),
      () => {
        throw new Error('no question');
      },
      1000,
    );
    await t.rejects(bad, { message: 'no question' });
    t.equal(w.clock.pending, 0);
    const foreign = { path: 'elsewhere', tell: () => true, tellUrgent: () => true };
    t.throws(() => w.system.ask(foreign, question, 1000), TypeError);
  });
});

t.test('what people see', async (t) => {
  t.test('states, gauges, blocked and the events of one actor', async (t) => {
    const w = world(t);
    const spec = w.probe('a', {}, [w.probe('c')]);
    const spawned = w.system.spawn<Probe>({
      ...spec,
      start: async (ctx) => {
        await ctx.clock.sleep(25);
        ctx.blockedOn('VPP');
        return { ...(await spec.start(ctx)), gauges: () => ({ desired: 3, synced: true }) };
      },
    });
    await w.clock.advance(25);
    await spawned;
    t.match(w.node('a'), {
      path: 'root/a',
      name: 'a',
      restart: 'permanent',
      incarnation: 1,
      state: 'blocked',
      detail: 'VPP',
      initMs: 25,
      startedAt: w.clock.wall_ms(),
      since: w.clock.wall_ms(),
      supervision: { strategy: 'one_for_one', used: 0, intensity: { restarts_max: 5 } },
      restarts: { total: 0, inWindow: 0 },
      gauges: { desired: 3, synced: true },
      children: [{ path: 'root/a/c', state: 'running', children: [] }],
    });
    const go: Probe = {
      type: 'do',
      run: (ctx) => {
        ctx.blockedOn(undefined);
        ctx.event('resync', 'pods(resync) done', { pods: 3 });
        ctx.log.info({}, 'pods(resync) done');
      },
    };
    await w.tell('a', go, NOTE(1), BOOM);
    const details = w.system.node('root/a')!;
    t.match(details, {
      state: 'backoff',
      detail: /starts again at/,
      processed: { total: 3, byType: { note: 1, boom: 1 } },
    });
    t.match(
      details.events.map(({ kind, text }) => `${kind} ${text}`),
      [
        'state starting',
        'state blocked: VPP',
        'state running',
        'resync pods(resync) done',
        'error boom',
        'state restarting: boom',
        /state backoff/,
      ],
    );
    t.match(details.events[3], { incarnation: 1, fields: { pods: 3 }, at: w.clock.wall_ms() });
    t.match(details.errorLog, [{ incarnation: 1, stack: /Error: boom/ }]);
    t.ok(
      w.log.lines.some(
        ({ fields, text }) => fields.actor === 'root/a' && fields.gen === 1 && text === 'pods(resync) done',
      ),
    );
    t.equal(w.system.root.path, 'root');
  });

  t.test('the tree can be read while an actor is stuck or its gauges are wrong', async (t) => {
    const w = world(t);
    const gauges = (): never => {
      throw new Error('wrong');
    };
    await w.spawn(w.probe('a', { start: () => ({ receive: () => new Promise<void>(() => {}), gauges }) }));
    await w.tell('a', NOTE(1));
    t.match(w.node('a'), { gauges: { error: 'Error: wrong' }, currentHandler: { type: 'note' } });
  });

  t.test('an actor describes itself between two messages, within a time', async (t) => {
    const w = world(t);
    await w.spawn(
      w.probe('a'),
      w.probe('b', { start: () => ({ receive: () => {}, describe: () => ({ routes: 7 }) }) }),
    );
    t.equal(await w.system.describe('root/a', 500), undefined);
    t.same(await w.system.describe('root/b', 500), { routes: 7 });
    await w.spawn(
      w.probe('c', {
        start: () => ({
          receive: () => {},
          describe: () => {
            throw new Error('indescribable');
          },
        }),
      }),
    );
    await t.rejects(w.system.describe('root/c', 500), { message: 'indescribable' });
    t.equal(w.node('c').state, 'running');
    await w.tell('a', { type: 'hang' });
    const described = w.system.describe('root/a', 500);
    await w.clock.advance(500);
    await t.rejects(described, AskDeadline);
    await t.rejects(w.system.describe('root/none', 500), ActorDown);
  });

  t.test('the list of events is bounded', async (t) => {
    const w = world(t);
    await w.spawn(w.probe('a'));
    await w.tell('a', {
      type: 'do',
      run: (ctx) => {
        for (let n = 0; n < 3000; n += 1) ctx.event('n', String(n));
      },
    });
    t.equal(w.system.events().length, 1000);
    t.equal(w.system.events().at(-1)?.text, '2999');
    t.equal(w.system.node('root/a')?.events.length, 50);
  });
});
