import t from 'tap';
import { control_ping, memclnt_keepalive } from '../src/generated/memclnt.js';
import {
  type BinapiError,
  type Client,
  type ConnectOptions,
  connect,
  DeadlineError,
  DisconnectedError,
  IncompatibleError,
  MalformedError,
  OverflowError,
  RetvalError,
} from '../src/index.js';
import {
  add,
  add_reply,
  client_index,
  frame,
  item_details,
  item_dump,
  nudge,
  Peer,
  page_details,
  page_get,
  page_get_reply,
  serveNumbers,
  TurnedTimers,
  thing_event,
  turn,
  want_things,
} from './peer.js';

async function connected(options: Partial<ConnectOptions> = {}, peer = new Peer()) {
  const timers = new TurnedTimers();
  const client = await connect({ transport: peer, name: 'test', timers, ...options });
  return { client, peer, timers };
}

/** The error that a promise rejects with; null when it resolves. */
const failure = (promise: Promise<unknown>): Promise<BinapiError | null> =>
  promise.then(
    () => null,
    (error) => error,
  );

t.test('handshake', async (t) => {
  t.test('the client_index that VPP gave stands in every request', async (t) => {
    const { client, peer } = await connected();
    client.request(add, { a: 1, b: 2 }).catch(() => {});
    await turn();
    t.match(peer.asked, [{ name: 'add', client_index, fields: { a: 1, b: 2 } }]);
    client.close();
  });

  t.test('a VPP that does not answer is given up at the deadline', async (t) => {
    const timers = new TurnedTimers();
    const peer = new Peer();
    peer.write = () => true;
    const failed = failure(connect({ transport: peer, name: 'test', timers, deadline_ms: 500 }));
    await timers.advance(500);
    t.match(await failed, { code: 'deadline', message_name: 'sockclnt_create', deadline_ms: 500 });
    t.ok(peer.closed);
    t.equal(timers.armed, 0);
  });

  t.test('a connection that breaks, a refusal and another protocol reject', async (t) => {
    const during = async (reply: (peer: Peer) => void) => {
      const peer = new Peer();
      peer.write = () => {
        queueMicrotask(() => reply(peer));
        return true;
      };
      return failure(connect({ transport: peer, name: 'test', timers: new TurnedTimers() }));
    };
    t.match(await during((peer) => peer.hangUp(new Error('connect ENOENT /api.sock'))), {
      code: 'disconnected',
      reason: 'connection to VPP broke: connect ENOENT /api.sock',
    });
    t.match(await during((peer) => peer.deliver(frame(99, add_reply, 1, { retval: 0, sum: 0 }))), {
      code: 'malformed',
    });
    t.match(await during((peer) => peer.deliver(new TextEncoder().encode('HTTP/1.1 400 Bad Request'))), {
      code: 'malformed',
    });
  });

  t.test('a window that contexts cannot tell apart is refused', async (t) => {
    for (const window of [0, 1.5, 65_537]) await t.rejects(connected({ window }), RangeError);
  });
});

t.test('requests', async (t) => {
  t.test(
    'what is asked in one turn leaves in one write, and answers find their callers in any order',
    async (t) => {
      const { client, peer } = await connected();
      const sums = [1, 2, 3].map((a) => client.request(add, { a, b: 10 }));
      t.equal(peer.writes.length, 1, 'only the handshake yet');
      await turn();
      t.equal(peer.writes.length, 2);
      for (const asked of [...peer.asked].reverse()) {
        peer.answer(asked, add_reply, { retval: 0, sum: (asked.fields as { a: number }).a + 10 });
      }
      t.same(
        await Promise.all(sums),
        [11, 12, 13].map((sum) => ({ retval: 0, sum })),
      );
      client.close();
    },
  );

  t.test('requests that answers woke leave in one write', async (t) => {
    const { client, peer } = await connected();
    serveNumbers(peer);
    const twice = async (a: number) => {
      const { sum } = await client.request(add, { a, b: 0 });
      await Promise.resolve();
      return client.request(add, { a: sum, b: 0 });
    };
    await Promise.all([1, 2, 3, 4].map(twice));
    t.equal(peer.asked.length, 8);
    t.ok(peer.writes.length <= 1 + 1 + 4, `${peer.writes.length} writes`);
    client.close();
  });

  t.test(
    'the window bounds what VPP has not answered, the queue what waits, and both keep the order',
    async (t) => {
      const { client, peer } = await connected({ window: 2, queue_max: 3 });
      const all = [1, 2, 3, 4, 5].map((a) => client.request(add, { a, b: 0 }));
      t.match(await failure(client.request(add, { a: 6, b: 0 })), new OverflowError('add', 3));
      await turn();
      const seen = () => peer.asked.map(({ fields }) => (fields as { a: number }).a);
      t.same(seen(), [1, 2]);
      t.match(client.stats(), { in_flight: { length: 2 }, waiting: 3 });
      peer.answer(peer.asked[0], add_reply, { retval: 0, sum: 1 });
      await turn();
      t.same(seen(), [1, 2, 3]);
      for (const i of [1, 2]) peer.answer(peer.asked[i], add_reply, { retval: 0, sum: i + 1 });
      await turn();
      for (const i of [3, 4]) peer.answer(peer.asked[i], add_reply, { retval: 0, sum: i + 1 });
      t.same(
        (await Promise.all(all)).map(({ sum }) => sum),
        [1, 2, 3, 4, 5],
      );
      t.same(seen(), [1, 2, 3, 4, 5]);
      client.close();
    },
  );

  t.test('what waits moves up in one write for a quarter of the window', async (t) => {
    const { client, peer } = await connected({ window: 8 });
    const all = Array.from({ length: 12 }, (_, a) => client.request(add, { a, b: 0 }));
    await turn();
    const answer = async (from: number, to: number) => {
      for (const asked of peer.asked.slice(from, to)) peer.answer(asked, add_reply, { retval: 0, sum: 0 });
      await turn();
      return peer.asked.length;
    };
    t.equal(await answer(0, 1), 8);
    t.equal(await answer(1, 2), 10);
    t.equal(await answer(2, 3), 10);
    t.equal(await answer(3, 8), 12);
    await answer(8, 12);
    await Promise.all(all);
    t.equal(peer.writes.length, 4);
    client.close();
  });

  t.test('a one-way message does not overtake what waits', async (t) => {
    const { client, peer } = await connected({ window: 1 });
    client.send(nudge, { n: 0 });
    const first = client.request(add, { a: 1, b: 0 });
    const second = client.request(add, { a: 2, b: 0 });
    client.send(nudge, { n: 3 });
    await turn();
    t.same(
      peer.asked.map(({ name }) => name),
      ['nudge', 'add'],
    );
    peer.answer(peer.asked[1], add_reply, { retval: 0, sum: 1 });
    await first;
    await turn();
    t.same(
      peer.asked.map(({ name }) => name),
      ['nudge', 'add', 'add', 'nudge'],
    );
    peer.answer(peer.asked[2], add_reply, { retval: 0, sum: 2 });
    await second;
    client.close();
  });

  t.test('a refusal has the name that VPP gives to its number, and any number but 0 is one', async (t) => {
    const { client, peer } = await connected();
    const refused = async (retval: number) => {
      const failed = failure(client.request(add, { a: 1, b: 2 }));
      await turn();
      peer.answer(peer.asked.at(-1), add_reply, { retval, sum: 7 });
      return failed;
    };
    const unknown_table = await refused(-3);
    t.type(unknown_table, RetvalError);
    t.match(unknown_table, {
      message_name: 'add',
      retval: -3,
      retval_name: 'VNET_API_ERROR_NO_SUCH_FIB',
      reply: { sum: 7 },
    });
    t.equal(unknown_table?.message, 'add: VNET_API_ERROR_NO_SUCH_FIB (-3): No such FIB / VRF');
    t.match(await refused(1), { code: 'retval', retval: 1, retval_name: 'RETVAL_1' });
    t.match(await refused(-9999), { code: 'retval', retval_name: 'RETVAL_-9999' });
    t.match(client.stats().messages, [{ message: 'add', sent: 3, answered: 3, refused: 3 }]);
    client.close();
  });

  t.test('fields that cannot be encoded fail alone, at once or from the queue', async (t) => {
    const { client, peer } = await connected({ window: 1 });
    serveNumbers(peer);
    t.match(await failure(client.request(add, { a: 0.5, b: 0 })), {
      code: 'malformed',
      message: /add\.a: 0\.5/,
    });
    const [first, bad, last] = [1, 0.5, 3].map((a) => client.request(add, { a, b: 0 }));
    t.match(await failure(bad!), MalformedError);
    t.same([(await first!).sum, (await last!).sum], [1, 3]);
    t.equal(client.stats().in_flight.length, 0);
    client.close();
  });

  t.test('a transport that does not drain is not written to, and its memory not touched', async (t) => {
    const { client, peer } = await connected({ window: 60_000 });
    peer.takes_all = false;
    let held: Uint8Array | undefined;
    const write = peer.write.bind(peer);
    peer.write = (chunk) => {
      held ??= chunk;
      return write(chunk);
    };
    const all = [client.request(add, { a: 1, b: 0 })];
    await turn();
    const copy = held!.slice();
    for (let a = 2; a <= 40_000; a++) all.push(client.request(add, { a, b: 0 }));
    await turn();
    t.equal(peer.asked.length, 1);
    t.same(held, copy);
    t.ok(client.stats().waiting > 0, 'what is encoded is bounded');
    serveNumbers(peer);
    peer.answer(peer.asked[0], add_reply, { retval: 0, sum: 1 });
    peer.takes_all = true;
    peer.drain();
    t.same(
      (await Promise.all(all)).map(({ sum }) => sum),
      Array.from({ length: 40_000 }, (_, i) => i + 1),
    );
    client.close();
  });
});

t.test('many answers', async (t) => {
  t.test('a dump collects details up to the reply of the ping behind it', async (t) => {
    const { client, peer } = await connected();
    serveNumbers(peer);
    const [items, sum, none] = await Promise.all([
      client.dump(item_dump, { from: 1 }),
      client.request(add, { a: 1, b: 1 }),
      client.dump(item_dump, { from: 4 }),
    ]);
    t.same(items, [{ item: 1 }, { item: 2 }, { item: 3 }]);
    t.equal(sum.sum, 2);
    t.same(none, []);
    t.same(
      peer.asked.map(({ name }) => name),
      ['item_dump', 'control_ping', 'add', 'item_dump', 'control_ping'],
    );
    client.close();
  });

  t.test('a stream is continued from the cursor while VPP asks for it', async (t) => {
    const { client, peer } = await connected({ window: 1 });
    serveNumbers(peer);
    const { details, reply } = await client.stream(page_get, { cursor: 0 });
    t.same(
      details.map(({ item }) => item),
      [0, 1, 2, 3, 4, 5],
    );
    t.same(reply, { retval: 0, cursor: 6 });
    t.same(
      peer.asked.map(({ fields }) => fields),
      [{ cursor: 0 }, { cursor: 2 }, { cursor: 4 }],
    );
    client.close();
  });

  t.test(
    'a cursor that a deletion made invalid ends a continued stream; one that was wrong from the start is refused',
    async (t) => {
      const { client, peer } = await connected();
      const stream = client.stream(page_get, { cursor: 0 });
      await turn();
      peer.answer(peer.asked[0], page_details, { item: 0 });
      peer.answer(peer.asked[0], page_get_reply, { retval: -165, cursor: 1 });
      await turn();
      peer.answer(peer.asked[1], page_get_reply, { retval: -7, cursor: -1 });
      t.same((await stream).details, [{ item: 0 }]);
      const wrong = failure(client.stream(page_get, { cursor: 77 }));
      await turn();
      peer.answer(peer.asked[2], page_get_reply, { retval: -7, cursor: -1 });
      t.match(await wrong, { code: 'retval', retval_name: 'VNET_API_ERROR_INVALID_VALUE' });
      client.close();
    },
  );

  t.test('an interrupted stream whose cursor stands still is not asked for again', async (t) => {
    const { client, peer } = await connected();
    const failed = failure(client.stream(page_get, { cursor: 3 }));
    await turn();
    peer.answer(peer.asked[0], page_get_reply, { retval: -165, cursor: 3 });
    t.match(await failed, new MalformedError('page_get: VPP does not get beyond cursor 3'));
    t.equal(peer.asked.length, 1);
    t.match(client.stats(), { in_flight: [] });
    t.notOk(peer.closed);
    client.close();
  });

  t.test(
    'a handler is given each of the details when it comes, and the result is their number',
    async (t) => {
      const { client, peer } = await connected();
      const seen: number[] = [];
      const each = ({ item }: { item: number }) => seen.push(item);
      const dump = client.dump(item_dump, { from: 1 }, { each });
      await turn();
      peer.answer(peer.asked[0], item_details, { item: 1 });
      await turn();
      t.same(seen, [1]);
      peer.answer(peer.asked[0], item_details, { item: 2 });
      peer.answer(peer.asked[1], control_ping.reply, { retval: 0, client_index, vpe_pid: 1 });
      t.equal(await dump, 2);
      serveNumbers(peer);
      t.same(await client.stream(page_get, { cursor: 0 }, { each }), {
        count: 6,
        reply: { retval: 0, cursor: 6 },
      });
      t.same(seen, [1, 2, 0, 1, 2, 3, 4, 5]);
      client.close();
    },
  );

  t.test('an exception of a handler rejects its dump alone, and the handler is called no more', async (t) => {
    const { client, peer } = await connected({ window: 3 });
    serveNumbers(peer);
    const seen: number[] = [];
    const mine = new Error('mine');
    const each = ({ item }: { item: number }) => {
      seen.push(item);
      if (item === 2) throw mine;
    };
    const [thrown, streamed, items, sum] = await Promise.all([
      failure(client.dump(item_dump, { from: 1 }, { each })),
      failure(client.stream(page_get, { cursor: 2 }, { each })),
      client.dump(item_dump, { from: 1 }),
      client.request(add, { a: 1, b: 1 }),
    ]);
    t.equal(thrown, mine);
    t.equal(streamed, mine);
    t.same(seen, [1, 2, 2]);
    t.equal(items.length, 3);
    t.equal(sum.sum, 2);
    t.equal(peer.asked.filter(({ name }) => name === 'page_get').length, 1, 'not continued');
    t.match(client.stats(), { in_flight: [], waiting: 0 });
    client.close();
  });

  t.test('a handler may close the connection', async (t) => {
    const { client, peer } = await connected();
    serveNumbers(peer);
    const seen: number[] = [];
    const dump = client.dump(
      item_dump,
      { from: 1 },
      {
        each: ({ item }) => {
          seen.push(item);
          client.close();
        },
      },
    );
    t.match(await failure(dump), { code: 'disconnected' });
    t.same(seen, [1]);
  });

  t.test(
    'events reach their handlers until they unsubscribe; a handler that throws harms nobody',
    async (t) => {
      const logged: string[] = [];
      const log = { warn() {}, error: (_fields: object, text: string) => void logged.push(text) };
      const { client, peer } = await connected({ log });
      const seen: number[] = [];
      const stop = client.on(thing_event, ({ thing }) => seen.push(thing));
      client.on(thing_event, () => {
        throw new Error('handler');
      });
      for (const thing of [1, 2]) peer.say(thing_event, 0, { thing });
      await turn();
      stop();
      peer.say(thing_event, 0, { thing: 3 });
      await turn();
      t.same(seen, [1, 2]);
      t.match(client.stats(), { events: 3, handler_errors: 3 });
      t.same(logged, Array(3).fill('thing_event handler failed'));
      client.close();
    },
  );

  t.test('an event that nobody listens to is counted, not decoded', async (t) => {
    const { client, peer } = await connected();
    peer.say(thing_event, 0, { thing: 1 });
    await turn();
    t.match(client.stats(), { events: 0, events_ignored: 1 });
    client.close();
  });

  t.test('a keepalive is answered with its context', async (t) => {
    const { client, peer } = await connected();
    peer.say(memclnt_keepalive, 0xdeadbeef, {});
    await turn();
    await turn();
    t.match(peer.asked, [{ name: 'memclnt_keepalive_reply', context: 0xdeadbeef, fields: { retval: 0 } }]);
    client.close();
  });
});

t.test('bytes', async (t) => {
  /** A conversation with every kind of answer, and what it comes to. */
  const talk = async (client: Client) => {
    const things: number[] = [];
    client.on(thing_event, ({ thing }) => things.push(thing));
    const answers = await Promise.all([
      client.request(add, { a: 1, b: 2 }),
      client.dump(item_dump, { from: 1 }),
      client.stream(page_get, { cursor: 4 }),
      failure(client.request(add, { a: -3, b: 0 })),
    ]);
    return { answers, things };
  };

  const record = async () => {
    const { client, peer } = await connected();
    serveNumbers(peer);
    const serve = peer.serve;
    peer.serve = (asked) => {
      peer.say(thing_event, 0, { thing: peer.asked.length });
      serve(asked);
    };
    const expected = await talk(client);
    client.close();
    return { expected, bytes: Buffer.concat(peer.sent) };
  };

  /** The recorded conversation again, in chunks that end at these offsets. The handshake comes whole or in parts like the rest. */
  const replay = async (bytes: Uint8Array, cuts: readonly number[], timers = new TurnedTimers()) => {
    const peer = new Peer();
    const receiver = { data: (_chunk: Uint8Array): boolean => true };
    peer.attach = (to) => {
      receiver.data = (chunk) => to.data(chunk);
    };
    peer.write = () => true;
    const connecting = connect({ transport: peer, name: 'test', timers });
    // One buffer for all chunks, overwritten by the next: what is kept must have been copied.
    const shared = new Uint8Array(bytes.length);
    let stopped = false;
    peer.resume = () => {
      stopped = false;
    };
    const feed = async (from: number, to: number) => {
      while (stopped) await timers.poll();
      const chunk = shared.subarray(0, to - from);
      chunk.set(bytes.subarray(from, to));
      stopped = !receiver.data(chunk);
      shared.fill(0xee);
    };
    const ends = [...new Set([greeting_bytes, ...cuts, bytes.length])].sort((a, b) => a - b);
    let from = 0;
    for (const end of ends.filter((end) => end <= greeting_bytes)) {
      await feed(from, end);
      from = end;
    }
    const client = await connecting;
    const talked = talk(client);
    await turn();
    for (const end of ends.filter((end) => end > greeting_bytes)) {
      await feed(from, end);
      from = end;
    }
    while (stopped) await timers.poll();
    const result = await talked;
    client.close();
    return result;
  };

  let greeting_bytes = 0;

  t.test(
    'a conversation cut in two at any byte, or into single bytes, is the same conversation',
    async (t) => {
      const { expected, bytes } = await record();
      greeting_bytes = 16 + bytes.readUInt32BE(8);
      const text = JSON.stringify(expected);
      const different: number[] = [];
      for (let cut = 1; cut < bytes.length; cut++) {
        if (JSON.stringify(await replay(bytes, [cut])) !== text) different.push(cut);
      }
      t.same(different, []);
      t.same(
        JSON.stringify(
          await replay(
            bytes,
            Array.from(bytes, (_, i) => i + 1),
          ),
        ),
        text,
        'byte by byte',
      );
      t.same(
        JSON.stringify(
          await replay(
            bytes,
            Array.from(bytes, (_, i) => 15 * (i + 1)).filter((i) => i < bytes.length),
          ),
        ),
        text,
      );
    },
  );

  t.test('a conversation read in pieces is the same conversation', async (t) => {
    const { expected, bytes } = await record();
    /** Every look at it shows that the time of a piece is over. */
    class Fast extends TurnedTimers {
      override now_ms(): number {
        this.pass(10);
        return super.now_ms();
      }
    }
    const different: number[] = [];
    for (let cut = greeting_bytes; cut < bytes.length; cut += 7) {
      const replayed = await replay(bytes, [cut], new Fast());
      if (JSON.stringify(replayed) !== JSON.stringify(expected)) different.push(cut);
    }
    t.same(different, []);
  });

  t.test('a flood is read in pieces, and others have their turn between them', async (t) => {
    const { client, peer, timers } = await connected();
    let handled = 0;
    const each = () => {
      handled += 1;
      timers.pass(1);
    };
    const dump = client.dump(item_dump, { from: 0 }, { each });
    await turn();
    const [asked, ping] = peer.asked;
    const details = frame(peer.id('item_details'), item_details, asked!.context, { item: 1 });
    for (let chunk = 0; chunk < 2; chunk++) peer.deliver(Buffer.concat(Array(30).fill(details)));
    peer.answer(ping, control_ping.reply, { retval: 0, client_index, vpe_pid: 1 });
    await turn();
    const pieces = [handled];
    while (peer.stopped) {
      const before = handled;
      await timers.poll();
      pieces.push(handled - before);
    }
    // The end of one chunk and the begin of the next, at most.
    t.same(
      pieces.filter((details) => details > 16),
      [],
    );
    t.equal(await dump, 60);
    client.close();
  });

  t.test('a deadline that fires between two pieces waits for the next', async (t) => {
    const { client, peer, timers } = await connected({ deadline_ms: 100 });
    const sum = client.request(add, { a: 1, b: 0 });
    await turn();
    // A piece as large as one turn takes, and the answer behind it.
    const event = frame(peer.id('thing_event'), thing_event, 0, { thing: 1 });
    peer.deliver(Buffer.concat(Array(2000).fill(event)));
    peer.answer(peer.asked[0], add_reply, { retval: 0, sum: 1 });
    await turn();
    t.ok(peer.stopped);
    timers.fire(60_000);
    while (await timers.poll());
    t.equal((await sum).sum, 1);
    client.close();
  });

  t.test('bytes that make no sense close the connection and reject what is pending', async (t) => {
    const length = (n: number) => {
      const bytes = new Uint8Array(24);
      new DataView(bytes.buffer).setUint32(8, n);
      return bytes;
    };
    const cut = (bytes: Uint8Array, to: number) => {
      const shorter = bytes.slice(0, to);
      new DataView(shorter.buffer).setUint32(8, to - 16);
      return shorter;
    };
    const cases: Record<string, (peer: Peer, context: number) => Uint8Array> = {
      'frame of 0 bytes': () => length(0),
      'frame of 1 bytes': () => length(1),
      'frame of 4294967295 bytes': () => length(0xffffffff),
      'frame of 65537 bytes': () => length(65_537),
      'message id 12345 is not': (_, context) => frame(12_345, add_reply, context, { retval: 0, sum: 1 }),
      'which no request has': (peer, context) =>
        frame(peer.id('add_reply'), add_reply, context + 1, { retval: 0, sum: 1 }),
      'is no answer to add': (peer, context) =>
        frame(peer.id('item_details'), item_details, context, { item: 1 }),
      'shorter than its header': (peer, context) =>
        cut(frame(peer.id('add_reply'), add_reply, context, { retval: 0, sum: 1 }), 20),
      'add_reply: cut': (peer, context) =>
        cut(frame(peer.id('add_reply'), add_reply, context, { retval: 0, sum: 1 }), 26),
    };
    for (const [text, garbage] of Object.entries(cases)) {
      const { client, peer, timers } = await connected({ window: 2, message_bytes_max: 65_536 });
      const dump = client.dump(item_dump, { from: 4 });
      await turn();
      peer.answer(peer.asked[1], control_ping.reply, { retval: 0, client_index, vpe_pid: 1 });
      await dump;
      const pending = [1, 2, 3].map((a) => failure(client.request(add, { a, b: 0 })));
      await turn();
      peer.deliver(garbage(peer, peer.asked.at(-2)!.context));
      const reason = await client.closed;
      t.type(reason, MalformedError, text);
      t.ok(reason.message.includes(text), reason.message);
      const [first, second, queued] = await Promise.all(pending);
      for (const sent of [first, second]) t.match(sent, { code: 'disconnected', sent: true, cause: reason });
      t.match(queued, { code: 'disconnected', sent: false, cause: reason });
      await turn();
      t.ok(peer.closed);
      t.equal(timers.armed, 0);
    }
  });

  t.test('an answer that comes twice closes the connection', async (t) => {
    const { client, peer } = await connected();
    const sum = client.request(add, { a: 1, b: 0 });
    await turn();
    for (let i = 0; i < 2; i++) peer.answer(peer.asked[0], add_reply, { retval: 0, sum: 1 });
    t.equal((await sum).sum, 1);
    t.match(await client.closed, { code: 'malformed', message: /which no request has/ });
  });
});

t.test('who asks without a promise', async (t) => {
  const asker = (log: string[], name: string, then: () => void = () => {}) => ({
    answered: ({ sum }: { readonly sum: number }) => {
      log.push(`${name} ${sum}`);
      then();
    },
    refused: (error: unknown) => {
      log.push(`${name} ${(error as BinapiError).code}`);
      then();
    },
  });

  t.test('is told in order, never before the call has returned, and may ask again at once', async (t) => {
    const { client, peer } = await connected({ window: 2 });
    serveNumbers(peer);
    const log: string[] = [];
    const again = () => client.ask(add, { a: 7, b: 0 }, asker(log, 'again'));
    for (const a of [1, 2, 3]) {
      client.ask(add, { a, b: 0 }, asker(log, `${a}:`, a === 1 ? again : undefined));
      log.push(`asked ${a}`);
    }
    await turn();
    await turn();
    t.same(log, ['asked 1', 'asked 2', 'asked 3', '1: 1', '2: 2', '3: 3', 'again 7']);
    client.close();
    t.throws(() => client.ask(add, { a: 1, b: 0 }, asker(log, 'late')), { code: 'disconnected' });
  });

  t.test('gets an exception for what cannot be sent, and is told of it where that shows later', async (t) => {
    const { client, peer } = await connected({ window: 1 });
    const log: string[] = [];
    t.throws(() => client.ask(add, { a: 0.5, b: 0 }, asker(log, 'at once')), { code: 'malformed' });
    client.ask(add, { a: 1, b: 0 }, asker(log, 'first'));
    client.ask(add, { a: 0.5, b: 0 }, asker(log, 'queued'));
    await turn();
    t.same(log, []);
    peer.answer(peer.asked[0], add_reply, { retval: -3, sum: 0 });
    await turn();
    t.same(log, ['first retval', 'queued malformed']);
    client.close();
  });

  t.test('is told of deadlines and of the end of the connection', async (t) => {
    const { client, timers } = await connected({ deadline_ms: 1000 });
    const log: string[] = [];
    client.ask(add, { a: 1, b: 0 }, asker(log, 'short'), { deadline_ms: 100 });
    client.ask(add, { a: 2, b: 0 }, asker(log, 'long'));
    await turn();
    timers.advance(100);
    await turn();
    t.same(log, ['short deadline']);
    client.close();
    t.same(log, ['short deadline', 'long disconnected']);
  });

  t.test('breaks itself alone by an exception', async (t) => {
    const { client, peer } = await connected();
    const thrown: Error[] = [];
    process.setUncaughtExceptionCaptureCallback((error) => thrown.push(error));
    t.teardown(() => process.setUncaughtExceptionCaptureCallback(null));
    const broken = () => {
      throw new Error('a fault of the asker');
    };
    client.ask(add, { a: 1, b: 0 }, { answered: broken, refused: broken });
    const other = client.request(add, { a: 2, b: 0 });
    await turn();
    for (const [at, asked] of peer.asked.entries()) peer.answer(asked, add_reply, { retval: 0, sum: at });
    t.equal((await other).sum, 1, 'the connection lives');
    t.match(thrown, [{ message: 'a fault of the asker' }]);
    client.close();
  });
});

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

t.test('compatibility', async (t) => {
  const changed = (name_crc: string) => {
    if (name_crc === 'add_reply_00000002') return 'add_reply_0badc0de';
    return /^(nudge|thing_event)_/.test(name_crc) ? undefined : name_crc;
  };

  t.test('all that does not match is listed at once, replies and events included', async (t) => {
    const { client } = await connected({}, new Peer(changed));
    t.same(client.compatible([add, item_dump, want_things, nudge]), {
      compatible: false,
      mismatches: [
        { name: 'add_reply', crc: '00000002', vpp_crc: '0badc0de' },
        { name: 'thing_event', crc: '0000000a', vpp_crc: undefined },
        { name: 'nudge', crc: '0000000b', vpp_crc: undefined },
      ],
    });
    t.same(client.compatible([item_dump, page_get]), { compatible: true, mismatches: [] });
    client.close();
  });

  t.test('what does not match is refused by name, and the rest works', async (t) => {
    const { client, peer } = await connected({}, new Peer(changed));
    serveNumbers(peer);
    t.match(
      await failure(client.request(add, { a: 1, b: 2 })),
      new IncompatibleError('add_reply', '00000002', '0badc0de'),
    );
    t.throws(() => client.send(nudge, { n: 1 }), new IncompatibleError('nudge', '0000000b', undefined));
    t.throws(() => client.on(thing_event, () => {}), { code: 'incompatible' });
    t.equal((await client.dump(item_dump, { from: 1 })).length, 3);
    client.close();
  });
});

t.test('stats tell ages, counts and latencies from plain counters', async (t) => {
  const { client, peer, timers } = await connected();
  const all = [1, 2].map((a) => client.request(add, { a, b: 0 }));
  await turn();
  await timers.advance(5);
  t.match(client.stats().in_flight, [
    { message: 'add', age_ms: 5, given_up: false },
    { message: 'add', age_ms: 5, given_up: false },
  ]);
  for (const asked of peer.asked) peer.answer(asked, add_reply, { retval: 0, sum: 1 });
  await Promise.all(all);
  const [stats] = client.stats().messages;
  // 5 ms is less than 2^13 µs and not less than 2^12.
  t.equal(stats?.latency_us_log2[13], 2);
  t.match(client.stats(), { bytes_written: 2 * (16 + 18) + 16 + 6 + 64 });
  client.close();
});
