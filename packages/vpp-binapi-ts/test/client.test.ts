import t from 'tap';
import { control_ping, memclnt_keepalive } from '../src/generated/memclnt.js';
import {
  type BinapiError,
  connect,
  IncompatibleError,
  MalformedError,
  OverflowError,
  RetvalError,
} from '../src/index.js';
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
  page_details,
  page_get,
  page_get_reply,
  serveNumbers,
  TurnedTimers,
  thing_event,
  turn,
  want_things,
} from './peer.js';

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
