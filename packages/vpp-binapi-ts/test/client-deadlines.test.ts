import t from 'tap';
import { control_ping } from '../src/generated/memclnt.js';
import { type BinapiError, connect, DeadlineError, DisconnectedError } from '../src/index.js';
import { connected, failure } from './client-lab.js';
import {
  add,
  add_reply,
  client_index,
  frame,
  item_details,
  item_dump,
  nudge,
  Peer,
  page_get,
  page_get_reply,
  serveNumbers,
  TurnedTimers,
  thing_event,
  turn,
} from './peer.js';

t.test('deadlines', async (t) => {
  t.test('each request has its own; one timer serves all and none is left behind', async (t) => {
    const { client, peer, timers } = await connected({ deadline_ms: 1000 });
    const long = failure(client.request(add, { a: 1, b: 0 }));
    const short = failure(client.request(add, { a: 2, b: 0 }, { deadline_ms: 100 }));
    await turn();
    t.equal(timers.armed, 1);
    await timers.advance(99);
    t.equal(client.stats().in_flight.filter(({ given_up }) => given_up).length, 0);
    await timers.advance(1);
    t.match(await short, new DeadlineError('add', 100, true));
    t.equal(timers.armed, 1);
    await timers.advance(900);
    t.match(await long, { code: 'deadline', deadline_ms: 1000 });
    t.equal(timers.armed, 0);
    t.match(client.stats().messages, [{ message: 'add', sent: 2, answered: 0, expired: 2 }]);
    t.notOk(peer.closed, 'the connection lives');
    client.close();
  });

  t.test('late answers are dropped; until they come their slots are taken', async (t) => {
    const { client, peer, timers } = await connected({ window: 2, deadline_ms: 100 });
    const failed = [
      failure(client.request(add, { a: 1, b: 0 })),
      failure(client.dump(item_dump, { from: 1 })),
    ];
    await turn();
    await timers.advance(100);
    t.same(
      (await Promise.all(failed)).map((error) => error?.code),
      ['deadline', 'deadline'],
    );
    const unsent = failure(client.request(add, { a: 2, b: 0 }, { deadline_ms: 50 }));
    await timers.advance(50);
    t.match(await unsent, new DeadlineError('add', 50, false));
    t.equal(peer.asked.length, 3, 'VPP is not asked for more');
    const [first, dump, ping] = peer.asked;
    peer.answer(first, add_reply, { retval: 0, sum: 1 });
    peer.answer(dump, item_details, { item: 1 });
    peer.answer(ping, control_ping.reply, { retval: 0, client_index, vpe_pid: 1 });
    await turn();
    t.match(client.stats(), { in_flight: [], late: 2 });
    serveNumbers(peer);
    t.equal((await client.request(add, { a: 3, b: 0 })).sum, 3);
    client.close();
  });

  t.test('each part of a stream has the deadline', async (t) => {
    const { client, peer, timers } = await connected({ deadline_ms: 100 });
    const failed = failure(client.stream(page_get, { cursor: 0 }));
    for (let part = 0; part < 3; part++) {
      await timers.advance(60);
      peer.answer(peer.asked.at(-1), page_get_reply, { retval: -165, cursor: part + 1 });
      await turn();
    }
    t.equal(peer.asked.length, 4);
    await timers.advance(100);
    t.match(await failed, { code: 'deadline', message_name: 'page_get' });
    peer.answer(peer.asked.at(-1), page_get_reply, { retval: -165, cursor: 9 });
    await turn();
    t.equal(peer.asked.length, 4, 'not continued');
    client.close();
  });

  /** Answers the next so many of what a peer was asked to add. */
  const adder = (peer: Peer) => {
    let answered = 0;
    return (count: number) => {
      for (const asked of peer.asked.slice(answered, answered + count)) {
        peer.answer(asked, add_reply, { retval: 0, sum: (asked.fields as { a: number }).a });
      }
      answered += count;
    };
  };

  t.test(
    'a VPP that answers all the time is given all the time, however many requests it is given',
    async (t) => {
      const { client, peer, timers } = await connected({ deadline_ms: 1000 });
      const answer = adder(peer);
      const count = 35_000;
      const all = Array.from({ length: count }, (_, a) => client.request(add, { a, b: 0 }));
      let last = -1;
      for (const one of all) one.then(({ sum }) => (last = sum)).catch(() => {});
      await turn();
      for (let i = 0; i < 100; i++) {
        await timers.advance(100);
        answer(count / 100);
        await turn();
      }
      t.equal((await Promise.all(all)).length, count);
      t.equal(last, count - 1);
      t.match(client.stats(), { in_flight: [], waiting: 0 });
      client.close();
    },
  );

  t.test(
    'a request is given its whole deadline behind the last answer, also one that waits for the window',
    async (t) => {
      const { client, peer, timers } = await connected({ window: 2, deadline_ms: 100 });
      const answer = adder(peer);
      const failed: (BinapiError | null | undefined)[] = [undefined, undefined, undefined, undefined];
      for (const a of failed.keys()) {
        failure(client.request(add, { a, b: 0 })).then((error) => {
          failed[a] = error;
        });
      }
      await turn();
      await timers.advance(90);
      answer(1);
      await turn();
      await timers.advance(99);
      t.same(failed, [null, undefined, undefined, undefined]);
      await timers.advance(1);
      t.match(failed, [
        null,
        new DeadlineError('add', 100, true),
        // Sent when the first was answered.
        new DeadlineError('add', 100, true),
        new DeadlineError('add', 100, false),
      ]);
      t.equal(peer.asked.length, 3);
      client.close();
    },
  );

  t.test(
    'a request that VPP has passed over is given up at its own deadline, and costs no slot',
    async (t) => {
      const { client, peer, timers } = await connected({ window: 2, deadline_ms: 100 });
      const lost = failure(client.request(add, { a: 0, b: 0 }));
      let given_up = false;
      lost.then(() => {
        given_up = true;
      });
      /** What is sent later is answered all the time. */
      const ask = async (a: number) => {
        const sum = client.request(add, { a, b: 0 });
        await turn();
        peer.answer(peer.asked.at(-1), add_reply, { retval: 0, sum: a });
        return sum;
      };
      for (let a = 1; a <= 9; a++) {
        await ask(a);
        await timers.advance(10);
      }
      t.notOk(given_up);
      await timers.advance(10);
      t.match(await lost, new DeadlineError('add', 100, true));
      t.match(client.stats(), { in_flight: [], late: 0 });

      const [first, second] = [10, 11].map((a) => client.request(add, { a, b: 0 }));
      await turn();
      t.equal(peer.asked.length, 12, 'both are sent');
      for (const asked of peer.asked.slice(-2)) peer.answer(asked, add_reply, { retval: 0, sum: 1 });
      await Promise.all([first, second]);
      // Not of VPP, which answers in order; but it harms nobody.
      peer.answer(peer.asked[0], add_reply, { retval: 0, sum: 0 });
      t.equal((await ask(12)).sum, 12);
      t.match(client.stats(), { in_flight: [], late: 1 });
      client.close();
    },
  );

  t.test('what was passed over after its deadline is given up with the answer that shows it', async (t) => {
    const { client, peer, timers } = await connected({ window: 4, deadline_ms: 100 });
    const answer = adder(peer);
    const first = client.request(add, { a: 0, b: 0 });
    const lost = failure(client.request(add, { a: 1, b: 0 }));
    const last = client.request(add, { a: 2, b: 0 });
    await turn();
    await timers.advance(90);
    answer(1);
    await first;
    await timers.advance(90);
    peer.answer(peer.asked[2], add_reply, { retval: 0, sum: 2 });
    t.match(await lost, new DeadlineError('add', 100, true));
    t.equal((await last).sum, 2);
    t.match(client.stats(), { in_flight: [] });
    client.close();
  });

  t.test('a part of an answer is a sign of life, an event is none', async (t) => {
    for (const { sign, lives } of [
      {
        sign: (peer: Peer) =>
          peer.deliver(frame(peer.id('add_reply'), add_reply, 0, { retval: 0, sum: 0 }).subarray(0, 20)),
        lives: true,
      },
      { sign: (peer: Peer) => peer.say(thing_event, 0, { thing: 1 }), lives: false },
    ]) {
      const { client, peer, timers } = await connected({ deadline_ms: 100 });
      let failed: BinapiError | null | undefined;
      failure(client.request(add, { a: 1, b: 0 })).then((error) => {
        failed = error;
      });
      await turn();
      await timers.advance(60);
      sign(peer);
      await turn();
      await timers.advance(60);
      t.equal(failed === undefined, lives);
      t.equal(client.last_answer_ms, lives ? 1060 : 1000);
      client.close();
    }
  });

  t.test('the time of the last answer is told', async (t) => {
    const { client, peer, timers } = await connected();
    t.equal(client.last_answer_ms, 1000);
    const dump = client.dump(item_dump, { from: 4 });
    await timers.advance(50);
    t.equal(client.last_answer_ms, 1000);
    peer.answer(peer.asked[0], item_details, { item: 4 });
    await turn();
    t.equal(client.last_answer_ms, 1050);
    await timers.advance(50);
    peer.answer(peer.asked[1], control_ping.reply, { retval: 0, client_index, vpe_pid: 1 });
    await dump;
    t.equal(client.last_answer_ms, 1100);
    client.close();
  });

  t.test('an answer that lies in the socket when a deadline fires is in time', async (t) => {
    const { client, peer, timers } = await connected({ window: 1, deadline_ms: 100 });
    const sent = client.request(add, { a: 1, b: 0 });
    const queued = client.request(add, { a: 2, b: 0 });
    await turn();
    // The event loop stands still for a minute, and looks at its timers first.
    timers.fire(60_000);
    peer.answer(peer.asked[0], add_reply, { retval: 0, sum: 1 });
    while (await timers.poll());
    t.equal((await sent).sum, 1);
    peer.answer(peer.asked[1], add_reply, { retval: 0, sum: 2 });
    t.equal((await queued).sum, 2);
    client.close();
  });

  t.test('a greeting that lies in the socket when its deadline fires is in time', async (t) => {
    const timers = new TurnedTimers();
    const connecting = connect({ transport: new Peer(), name: 'test', timers, deadline_ms: 100 });
    process.nextTick(() => timers.fire(60_000));
    while (await timers.poll());
    (await connecting).close();
    t.equal(timers.armed, 1, 'that of the farewell');
  });
});

t.test('the end', async (t) => {
  t.test('when VPP dies all that is pending rejects, and says whether VPP has seen it', async (t) => {
    const { client, peer, timers } = await connected({ window: 1 });
    const sent = failure(client.request(add, { a: 1, b: 0 }));
    const queued = failure(client.dump(item_dump, { from: 1 }));
    await turn();
    peer.hangUp();
    t.match(await sent, new DisconnectedError('VPP closed the connection', 'add', true));
    t.match(await queued, new DisconnectedError('VPP closed the connection', 'item_dump', false));
    t.match(await client.closed, { code: 'disconnected', reason: 'VPP closed the connection' });
    t.match(await failure(client.request(add, { a: 1, b: 0 })), {
      code: 'disconnected',
      message_name: 'add',
      sent: false,
    });
    t.throws(() => client.send(nudge, { n: 1 }), DisconnectedError);
    t.equal(timers.armed, 0);
  });

  t.test('close rejects what is pending, writes no more and may be called twice', async (t) => {
    const { client, peer } = await connected();
    const pending = failure(client.request(add, { a: 1, b: 0 }));
    client.close();
    client.close();
    t.match(await pending, { code: 'disconnected', reason: 'closed by this client' });
    await turn();
    t.equal(peer.asked.length, 0);
    t.ok(peer.closed);
    t.match(await client.closed, { reason: 'closed by this client' });
  });

  t.test('VPP is asked to close the connection, and given a second', async (t) => {
    for (const polite of [true, false]) {
      const { client, peer, timers } = await connected();
      peer.polite = polite;
      client.close();
      t.equal((await client.closed).message, 'closed by this client');
      await turn();
      t.match(peer.farewells, [{ name: 'sockclnt_delete', fields: { index: client_index } }]);
      t.equal(peer.closed, polite);
      await timers.advance(1000);
      t.ok(peer.closed);
      t.equal(timers.armed, 0);
    }
  });

  t.test('a handler may close the connection in the middle of a chunk', async (t) => {
    const { client, peer } = await connected();
    const seen: number[] = [];
    client.on(thing_event, ({ thing }) => {
      seen.push(thing);
      client.close();
    });
    const events = [1, 2].map((thing) => frame(peer.id('thing_event'), thing_event, 0, { thing }));
    peer.deliver(Buffer.concat(events));
    await client.closed;
    t.same(seen, [1]);
  });
});
