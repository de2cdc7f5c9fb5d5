import t from 'tap';
import {
  type ActorContext,
  ActorDown,
  type ActorRef,
  AskDeadline,
  type ChildSpec,
  type Down,
  IntensityExceeded,
  MailboxFull,
  NameTaken,
  type Reply,
  type Restart,
  ShutdownTimeout,
  StartTimeout,
  type StopReason,
  type Strategy,
  type TreeNode,
  WatchdogTimeout,
} from '../src/actor-system.js';
import { KitBase, type KitOptions, supervision, type Teardown } from './kit/actor-kit.js';

type Probe =
  | { type: 'note'; n: number }
  | { type: 'boom'; error?: Error }
  | { type: 'hang'; until?: Promise<void> }
  | { type: 'exit' }
  | { type: 'down'; down: Down }
  | { type: 'question'; reply: Reply<string> }
  | { type: 'later'; reply: Reply<string> }
  | { type: 'do'; run: (ctx: ActorContext<Probe>) => void | Promise<void> };

interface Gate {
  readonly opened: Promise<void>;
  open(): void;
}

function gate(): Gate {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** What happened, in order: `a1+` start, `a1-shutdown` stop, `a1:5` message 5. */
class World extends KitBase {
  readonly seen: string[] = [];

  probe(
    name: string,
    changes: Partial<ChildSpec<Probe>> = {},
    children: readonly ChildSpec<Probe>[] = [],
  ): ChildSpec<Probe> {
    return {
      name,
      restart: 'permanent',
      shutdown_ms: 1000,
      mailbox_max: 100,
      handler_ms_max: 5000,
      supervision: supervision(),
      start: async (ctx) => {
        const id = `${name}${ctx.incarnation}`;
        for (const child of children) await ctx.spawn(child);
        this.seen.push(`${id}+`);
        return {
          receive: (message) => this.#receive(id, message, ctx),
          stop: (reason) => void this.seen.push(`${id}-${reason.kind}`),
        };
      },
      ...changes,
    };
  }

  #receive(id: string, message: Probe, ctx: ActorContext<Probe>): void | Promise<void> {
    switch (message.type) {
      case 'note':
        this.seen.push(`${id}:${message.n}`);
        return undefined;
      case 'boom':
        throw message.error ?? new Error('boom');
      case 'hang':
        return message.until ?? new Promise(() => {});
      case 'exit':
        return ctx.exit();
      case 'down':
        this.seen.push(`${id}!${message.down.path} ${message.down.reason.kind} ${message.down.restarting}`);
        return undefined;
      case 'question':
        return message.reply.resolve(`${id} here`);
      case 'later':
        return undefined;
      case 'do':
        return message.run(ctx);
    }
  }

  /** What was seen since the last call. */
  take(): string[] {
    return this.seen.splice(0);
  }

  async spawn(...specs: ChildSpec<Probe>[]): Promise<void> {
    for (const spec of specs) await this.system.spawn(spec);
    await this.settle();
  }

  async tell(name: string, ...messages: Probe[]): Promise<boolean[]> {
    const told = messages.map((message) => this.ref(name).tell(message));
    await this.settle();
    return told;
  }

  ref(name: string): ActorRef<Probe> {
    return this.system.ref<Probe>(`root/${name}`);
  }

  node(name: string): TreeNode {
    const find = (node: TreeNode): TreeNode | undefined =>
      node.path === `root/${name}` ? node : node.children.map(find).find((found) => found !== undefined);
    return find(this.system.tree())!;
  }
}

function world(t: Teardown, options: KitOptions = {}): World {
  const made = new World(options);
  t.teardown(async () => {
    const stopped = made.system.stop();
    await made.clock.advance(600_000);
    await stopped;
    const { actors, asks } = made.system.counters();
    if (actors + asks + made.clock.pending > 0) {
      throw new Error(`left behind: ${actors} actors, ${asks} asks, ${made.clock.pending} timers`);
    }
  });
  return made;
}

const NOTE = (n: number): Probe => ({ type: 'note', n });
const BOOM: Probe = { type: 'boom' };

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
    t.same(w.take(), ['c1+', 'p1+', 'c1:1', 'c1-shutdown', 'p1-crash', 'c2+', 'p2+', 'c2:3']);
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
    const asked = w.system.ask(w.ref('a'), (r: Reply<string>): Probe => later((reply = r)), 500);
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
    const foreign = { path: 'elsewhere', tell: () => true };
    t.throws(() => w.system.ask(foreign, question, 1000), TypeError);
  });
});

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
        'd1-shutdown',
        'c2-crash',
        'p1-crash',
        'c3+',
        'd2+',
        'p2+',
        'c3-crash',
        'c4+',
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
    t.same(w.take(), ['a1+', 'a1-shutdown']);
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
    const exits: ChildSpec<Probe> = { ...spec, start: (ctx) => (ctx.exit(), spec.start(ctx)) };
    await w.system.spawn(exits);
    await w.settle();
    t.same(w.take(), ['a1+', 'a1-exit']);
    const crashes: ChildSpec<Probe> = {
      ...spec,
      start: (ctx) => (ctx.crash(new Error('own')), spec.start(ctx)),
    };
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
    const spawned = w.system.spawn({ ...spec, start: (ctx) => ready.opened.then(() => spec.start(ctx)) });
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
    await w.tell('a', { type: 'hang', until: busy.opened.then(() => Promise.reject(new Error('at last'))) });
    const stopped = w.system.stopChild('a');
    busy.open();
    await stopped;
    t.same(w.take(), ['a1+', 'a1-shutdown']);
    t.ok(w.log.lines.some(({ text }) => text === 'actor(crash) at last'));
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
      t.same(w.take(), ['c1-shutdown', 'p1-crash', 'w1!root/p/c shutdown true', 'c2+', 'p2+']);
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
    await w.tell('a', { type: 'do', run: (ctx) => (ctx.exit(), ctx.exit(), busy.opened) }, NOTE(1));
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
