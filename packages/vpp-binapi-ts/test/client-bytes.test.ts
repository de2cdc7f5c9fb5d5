import t from 'tap';
import { control_ping } from '../src/generated/memclnt.js';
import { type Client, connect, MalformedError } from '../src/index.js';
import { connected, failure } from './client-lab.js';
import {
  add,
  add_reply,
  client_index,
  frame,
  item_details,
  item_dump,
  Peer,
  page_get,
  serveNumbers,
  TurnedTimers,
  thing_event,
  turn,
} from './peer.js';

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
