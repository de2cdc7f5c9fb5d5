import { EventEmitter, once } from 'node:events';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttp2 } from 'node:http2';
import { createServer as createTcp, type Server, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { AddPathStreamRequest } from '../src/api/path.js';
import type { WatchEventResponse } from '../src/api/watch.js';
import { Codec } from '../src/codec.js';
import {
  connect,
  families,
  type Gobgp,
  GobgpError,
  type Input,
  type PathInput,
  type PeerInput,
  type RefusedError,
  type WatchEvent,
} from '../src/index.js';
import type { Output } from '../src/schema.js';
import { parseVersion } from '../src/version.js';
import { watchEvents } from '../src/watch.js';
import { type Answer, FakeGobgpd, type Handlers, Refusal, status } from './fake-gobgpd.js';

type Dialect = Gobgp['dialect'];
type Options = Omit<Parameters<typeof connect>[0], 'target'>;

async function fake(t: Test, dialect: Dialect, handlers: Handlers, options: Options = {}) {
  const gobgpd = await new FakeGobgpd(dialect, handlers).start();
  t.teardown(() => gobgpd.stop());
  const gobgp = await connect({ target: gobgpd.socket, ...options });
  t.teardown(() => gobgp.close());
  return { gobgp, gobgpd };
}

const { ipv4_unicast } = families;
const path = (i: number): PathInput => ({
  family: ipv4_unicast,
  nlri: { type: 'prefix', prefix_len: 32, prefix: `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}` },
  pattrs: [{ type: 'next_hop', next_hop: '192.0.2.1' }],
});

const failure = async (t: Test, promise: Promise<unknown>): Promise<GobgpError> => {
  const error = await promise.then(
    () => t.fail('resolved'),
    (error: unknown) => error,
  );
  t.ok(error instanceof GobgpError, String(error));
  return error as GobgpError;
};

/** A server that is none of gRPC, on a port of loopback. */
async function stranger(t: Test, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as { port: number }).port}`;
}

t.test('the dialect is found out', async (t) => {
  for (const dialect of [3, 4] as const) {
    const { gobgp } = await fake(t, dialect, {});
    t.strictSame([gobgp.dialect, gobgp.version], [dialect, { major: dialect, minor: undefined }]);
    t.match(await gobgp.getBgp(), { global: { asn: 65001, router_id: '192.0.2.1' } });
  }
  const { gobgp } = await fake(t, 3, {}, { version: 'gobgpd version 3.10.0\n' });
  t.strictSame(gobgp.version, { major: 3, minor: 10 });
  const wrong = await failure(t, fake(t, 4, {}, { version: '3.10.0' }));
  t.match(wrong, { name: 'IncompatibleError', message: /speaks the dialect of 4.x, not that of 3.10.0/ });
  t.match(await failure(t, connect({ target: '/nowhere', version: 'two' })), { name: 'MalformedError' });
  // One that has not started, and says so in a way of its own.
  const { gobgp: unready } = await fake(t, 4, {
    getBgp: () => {
      throw new Refusal(status.UNKNOWN, "server hasn't started");
    },
  });
  t.equal(unready.dialect, 4);
});

t.test('what is no gobgpd is told from one that is not there', async (t) => {
  t.match(await failure(t, connect({ target: '/nowhere/api.sock' })), {
    name: 'DisconnectedError',
    grpc_code: 14,
    target: 'unix:/nowhere/api.sock',
    reason: 'connect ENOENT /nowhere/api.sock',
  });
  // gRPC, but another service.
  const server = await new FakeGobgpd(4, {
    getBgp: () => Promise.reject(new Refusal(status.UNIMPLEMENTED, 'unknown service')),
  }).start();
  t.teardown(() => server.stop());
  t.match(await failure(t, connect({ target: server.socket })), {
    name: 'IncompatibleError',
    grpc_code: 12,
    message: /neither api.GoBgpService \(4.x\) nor apipb.GobgpApi \(3.x\)/,
  });
  const no_grpc = { name: 'IncompatibleError', message: /what listens here speaks no gRPC/ };
  const http = await stranger(
    t,
    createHttp((_request, response) => response.end('hello')),
  );
  t.match(await failure(t, connect({ target: http })), no_grpc);
  const http2 = await stranger(
    t,
    createHttp2((_request, response) => response.end('hello')),
  );
  t.match(await failure(t, connect({ target: http2 })), no_grpc);
  const silent = await stranger(t, createTcp());
  t.match(await failure(t, connect({ target: silent, deadline_ms: 300 })), {
    name: 'DeadlineError',
    grpc_code: 4,
  });
  const reason = new Error('enough');
  t.match(await failure(t, connect({ target: silent, signal: AbortSignal.abort(reason) })), {
    name: 'CancelledError',
    cause: reason,
  });
});

t.test('a refusal has its code and its words, and no password', async (t) => {
  const password = 'correct horse';
  const { gobgp } = await fake(t, 3, {
    addPeer: ({ peer }) => {
      throw new Refusal(status.INVALID_ARGUMENT, `no such peer: ${JSON.stringify(peer.conf)}`);
    },
    deletePeer: () => {
      throw new Refusal(status.UNKNOWN, '');
    },
    listPeer: async function* () {
      yield { peer: { conf: { neighbor_address: '192.0.2.1' } } };
      throw new Refusal(status.UNKNOWN, 'half way');
    },
  });
  const peer: PeerInput = { conf: { neighbor_address: '192.0.2.7', auth_password: password } };
  const error = (await failure(t, gobgp.addPeer({ peer }))) as RefusedError;
  t.match(error, { name: 'RefusedError', rpc: 'AddPeer', grpc_code: 3, grpc_name: 'INVALID_ARGUMENT' });
  t.match(error.message, /AddPeer: gobgpd refuses \(INVALID_ARGUMENT\): no such peer: .*192\.0\.2\.7/);
  for (const text of [error.message, error.details, error.stack ?? '', JSON.stringify(error)])
    t.notOk(text.includes(password));
  const silent = await failure(t, gobgp.deletePeer({ address: '192.0.2.7' }));
  t.equal(silent.message, 'DeletePeer: gobgpd refuses (UNKNOWN): it gives no reason');
  const seen: string[] = [];
  await t.rejects(
    async () => {
      for await (const { peer } of gobgp.listPeer()) seen.push(peer.conf!.neighbor_address);
    },
    { name: 'RefusedError', rpc: 'ListPeer', details: 'half way' },
  );
  t.match(await failure(t, gobgp.enablePeer({ address: '192.0.2.7' })), {
    name: 'IncompatibleError',
    message: /EnablePeer: .* has no such call/,
  });
  t.match(await failure(t, gobgp.deletePeer({ address: '' })), {
    name: 'MalformedError',
    message: 'DeletePeerRequest.address: is empty',
  });
});

t.test('deadlines and signals end a call, before it and during it', async (t) => {
  let asked = 0;
  const never = new Promise<never>(() => undefined);
  const { gobgp } = await fake(t, 4, {
    addPath: () => {
      asked++;
      return never;
    },
    // biome-ignore lint/correctness/useYield: it never says anything
    watchEvent: async function* () {
      asked++;
      await never;
    },
  });
  t.match(await failure(t, gobgp.addPath({ path: path(1) }, { deadline_ms: 50 })), {
    name: 'DeadlineError',
    message: 'AddPath: no answer within 50 ms',
  });
  const before = asked;
  const reason = new Error('stop');
  const aborted = { signal: AbortSignal.abort(reason) };
  t.match(await failure(t, gobgp.addPath({ path: path(1) }, aborted)), {
    name: 'CancelledError',
    cause: reason,
  });
  t.match(await failure(t, gobgp.watchEvent({ peer: {} }, aborted).next()), { name: 'CancelledError' });
  t.equal(asked, before, 'nobody was asked');

  const abort = new AbortController();
  const during = failure(t, gobgp.addPath({ path: path(1) }, { signal: abort.signal }));
  const stream = failure(t, gobgp.watchEvent({ peer: {} }, { signal: abort.signal }).next());
  const limited = failure(t, gobgp.watchEvent({ peer: {} }, { deadline_ms: 50 }).next());
  t.match(await limited, { name: 'DeadlineError', rpc: 'WatchEvent' });
  abort.abort(reason);
  t.match(await during, { name: 'CancelledError', cause: reason });
  t.match(await stream, { name: 'CancelledError', cause: reason });
});

t.test('a connection that is lost stays lost, and says so', async (t) => {
  const { gobgp, gobgpd } = await fake(t, 3, {
    addPath: () => new Promise(() => undefined),
    listPeer: async function* () {
      yield { peer: {} };
      await new Promise(() => undefined);
    },
  });
  const pending = failure(t, gobgp.addPath({ path: path(1) }));
  const list = gobgp.listPeer();
  await list.next();
  const rest = failure(t, list.next());
  gobgpd.stop();
  const why = await gobgp.closed;
  t.match(why, { name: 'DisconnectedError', reason: 'the connection is lost' });
  t.match(await pending, { name: 'DisconnectedError', rpc: 'AddPath' });
  t.match(await rest, { name: 'DisconnectedError', rpc: 'ListPeer' });
  // Another one in its place is another one.
  t.match(await failure(t, gobgp.getBgp()), { name: 'DisconnectedError', rpc: 'GetBgp' });

  const { gobgp: closing } = await fake(t, 3, { addPath: () => new Promise(() => undefined) });
  const waiting = failure(t, closing.addPath({ path: path(1) }));
  closing.close();
  closing.close();
  t.equal(await closing.closed, undefined);
  t.match(await waiting, { name: 'DisconnectedError', reason: 'the connection was closed' });
});

t.test('who iterates slowly makes gobgpd wait; who stops, makes it stop', async (t) => {
  let written = 0;
  const cancelled = new EventEmitter();
  const description = 'x'.repeat(60_000);
  const { gobgp } = await fake(t, 4, {
    listPeer: async function* (_request, call) {
      call.on('cancelled', () => cancelled.emit('it'));
      for (; written < 1000; written++) yield { peer: { conf: { description } } };
    },
  });
  const list = gobgp.listPeer();
  await list.next();
  // The server goes on until the windows are full, and then no further, however often it has its turn.
  let last = -1;
  for (let turns = 0; last !== written || turns < 50; turns++) {
    last = written;
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(written < 200, `${written} messages of 60 kB are under way`);
  const stuck = written;
  for (let i = 0; i < 50; i++) await list.next();
  t.ok(written > stuck, 'it goes on when it is read');
  const told = once(cancelled, 'it');
  await list.return(undefined);
  await told;
  t.ok(written < 1000, 'the call was ended, not the list');
  t.strictSame(await list.next(), { done: true, value: undefined });
});

t.test('a message that is too large is refused, either way', async (t) => {
  const { gobgp } = await fake(
    t,
    4,
    {
      listPeer: () => [{ peer: { conf: { description: 'x'.repeat(200_000) } } }],
      addPath: () => ({ uuid: new Uint8Array() }),
    },
    { message_bytes_max: 100_000 },
  );
  t.match(await failure(t, gobgp.listPeer().next()), {
    name: 'TooLargeError',
    grpc_code: 8,
    message_bytes_max: 100_000,
  });
  const large = { ...path(1), nlri_binary: new Uint8Array(200_000) };
  t.match(await failure(t, gobgp.addPath({ path: large })), { name: 'TooLargeError', rpc: 'AddPath' });
  t.match(await gobgp.addPath({ path: path(1) }), {}, 'the connection is none the worse');
});

t.test('many paths go in pieces, as they are taken', async (t) => {
  const codec = new Codec({ major: 4, minor: 8 });
  const pieces: number[] = [];
  const { gobgp } = await fake(t, 4, {
    addPathStream: (call, answer) => {
      call.on('data', (bytes: Buffer) => {
        const { paths } = codec.decode(AddPathStreamRequest, bytes) as Input<typeof AddPathStreamRequest> & {
          paths: PathInput[];
        };
        pieces.push(paths.length);
        if (paths.some(({ nlri }) => nlri.type === 'prefix' && nlri.prefix === '10.0.9.99')) {
          call.pause();
          answer(new Refusal(status.UNKNOWN, 'no such next hop'), null);
        }
      });
      call.on('end', () => answer(null, Buffer.alloc(0)));
    },
  });
  let taken = 0;
  const some = function* (n: number) {
    for (taken = 0; taken < n; taken++) yield path(taken);
  };
  await gobgp.addPathStream(some(1000));
  t.strictSame(pieces.splice(0), [256, 256, 256, 232]);
  await gobgp.addPathStream(
    (async function* () {
      yield* some(5);
    })(),
    { paths_max: 2 },
  );
  t.strictSame(pieces.splice(0), [2, 2, 1]);
  await gobgp.addPathStream([]);
  t.strictSame(pieces.splice(0), []);

  const bad = 9 * 256 + 99;
  t.match(await failure(t, gobgp.addPathStream(some(1_000_000))), {
    name: 'RefusedError',
    rpc: 'AddPathStream',
    details: 'no such next hop',
  });
  t.ok(taken > bad && taken < 1_000_000, 'the rest is not asked for');

  const wrong = gobgp.addPathStream([path(1), { ...path(2), family: families.ipv6_unicast }]);
  t.match(await failure(t, wrong), {
    name: 'MalformedError',
    message: 'Path: its prefix is no route of ip6 unicast',
  });
  await t.rejects(
    gobgp.addPathStream(
      (function* (): Generator<PathInput> {
        yield path(1);
        throw new Error('mine');
      })(),
    ),
    { message: 'mine' },
    "an error of the caller is the caller's",
  );
  const abort = new AbortController();
  const endless = function* () {
    for (let i = 0; ; i++) {
      if (i === 1000) abort.abort();
      yield path(i % 1000);
    }
  };
  t.match(await failure(t, gobgp.addPathStream(endless(), { signal: abort.signal })), {
    name: 'CancelledError',
  });
});

t.test('a watch: the beginning has an end, whatever the version', async (t) => {
  const route = (i: number, more: object = {}) => ({ ...path(i), ...more });
  const event = (...paths: PathInput[]): Answer<'watchEvent'> => ({ table: { paths } });
  const peer = (type: 'init' | 'state', neighbor_address: string): Answer<'watchEvent'> => ({
    peer: { type, peer: { conf: { neighbor_address } } },
  });
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => route(from + i));
  const story = async (
    dialect: Dialect,
    version: string | undefined,
    messages: readonly Answer<'watchEvent'>[],
    options = {},
  ) => {
    let asked: unknown;
    const { gobgp } = await fake(
      t,
      dialect,
      {
        watchEvent: function* (request) {
          asked = request;
          yield* messages;
        },
      },
      version === undefined ? {} : { version },
    );
    const events: WatchEvent[] = [];
    for await (const event of gobgp.watch({ peers: true, best: true, ...options })) events.push(event);
    return { asked, events, told: events.map(tell) };
  };
  const tell = (event: WatchEvent): string => {
    if (event.type === 'paths') return `${event.initial ? 'initial ' : ''}paths ${event.paths.length}`;
    if (event.type === 'peer')
      return `${event.initial ? 'initial ' : ''}peer ${event.peer.conf?.neighbor_address}`;
    if (event.type === 'end_of_rib') return `end of ${event.neighbor_ip} ${event.family.afi}`;
    return event.type;
  };

  // Without batches the first message of paths is all of the beginning, cut into what can be digested.
  const old = await story(3, '3.10.0', [
    peer('init', '192.0.2.7'),
    { peer: { type: 'end_of_init' } },
    event(...range(0, 1100)),
    event(route(1, { is_withdraw: true })),
    peer('state', '192.0.2.8'),
  ]);
  t.strictSame(old.told, [
    'initial peer 192.0.2.7',
    'peers_complete',
    'initial paths 512',
    'initial paths 512',
    'initial paths 76',
    'paths_complete',
    'paths 1',
    'peer 192.0.2.8',
  ]);
  t.match(old.asked, { peer: {}, table: { filters: [{ type: 'best', init: true }] }, batch_size: 0 });
  const [, , , , , , last] = old.events;
  t.match(last, { paths: [{ is_withdraw: true, nlri: { prefix: '10.0.0.1' } }] });

  // In brief it is the same story, with less of each path.
  const brief = await story(
    3,
    '3.10.0',
    [
      peer('init', '192.0.2.7'),
      { peer: { type: 'end_of_init' } },
      event(...range(0, 1100)),
      event(route(1, { is_withdraw: true })),
      peer('state', '192.0.2.8'),
    ],
    { brief: true },
  );
  t.strictSame(brief.told, old.told);
  t.match(brief.events[6], { paths: [{ prefix: '10.0.0.1/32', is_withdraw: true }], initial: false });
  t.match(brief.events[2], { paths: [{ prefix: '10.0.0.0/32', is_withdraw: false }] });

  const empty = await story(3, undefined, [{ peer: { type: 'end_of_init' } }, event(), event(route(1))]);
  t.strictSame(empty.told, ['peers_complete', 'paths_complete', 'paths 1']);

  // With batches of 1000, a message of 1001 is not the last.
  const batched = await story(
    4,
    '4.8.0',
    [event(...range(0, 1001)), event(...range(1001, 1501)), event(route(3))],
    { paths_max: 2000 },
  );
  t.strictSame(batched.told, ['initial paths 1001', 'initial paths 500', 'paths_complete', 'paths 1']);
  t.match(batched.asked, { batch_size: 1000 });
  const even = await story(4, '4.8.0', [event(...range(0, 1001)), event(), event(...range(0, 1001))], {
    paths_max: 2000,
  });
  t.strictSame(even.told, ['initial paths 1001', 'paths_complete', 'paths 1001']);

  // A peer's end of a family is a path without an NLRI: family (field 9) IPv6 unicast, neighbour (15) 192.0.2.7.
  const end = Buffer.from(`1a1312114a04080210017a09${Buffer.from('192.0.2.7').toString('hex')}`, 'hex');
  const ended = await story(4, undefined, [event(), end, event(route(1)), end], { end_of_rib: true });
  t.strictSame(ended.told, ['paths_complete', 'end of 192.0.2.7 ip6', 'paths 1', 'end of 192.0.2.7 ip6']);
  t.match(ended.asked, { table: { filters: [{ type: 'best' }, { type: 'eor', init: true }] } });
  const briefly = await story(4, undefined, [event(), end, event(route(1)), end], {
    end_of_rib: true,
    brief: true,
  });
  t.strictSame(briefly.told, ended.told);
});

t.test('paths that have come together are told together, those of one NLRI apart', async (t) => {
  const response = (...paths: readonly object[]) =>
    ({ peer: undefined, table: { paths } }) as unknown as Output<typeof WatchEventResponse>;
  const one = (n: number, is_withdraw = false) => ({
    nlri: { type: 'prefix', prefix: `10.0.0.${n}`, prefix_len: 32 },
    is_withdraw,
  });
  const end = { nlri: { type: 'unknown', tag: '' }, neighbor_ip: '192.0.2.7', family: families.ipv4_unicast };
  async function* responses() {
    yield [response()];
    yield [response(one(1)), response(one(1, true)), response(one(2)), response(one(3)), response(end)];
    yield [response(one(4), one(5)), response(one(6)), response(one(7)), response(one(8))];
  }
  const told: string[] = [];
  const version = parseVersion('3.10.0')!;
  for await (const event of watchEvents(responses(), { best: true, paths_max: 2 }, version, {
    use_multiple_paths: true,
  }))
    told.push(
      event.type === 'paths'
        ? event.paths.map(({ nlri }) => (nlri as { prefix: string }).prefix.slice(7)).join(' ')
        : event.type,
    );
  t.strictSame(told, ['paths_complete', '1', '1 2', '3', 'end_of_rib', '4 5', '6 7', '8']);
});

t.test('a watch refuses what it cannot keep', async (t) => {
  const { gobgp } = await fake(t, 3, {}, { version: '3.10.0' });
  t.match(await failure(t, gobgp.watch({}).next()), { name: 'MalformedError', message: /nothing to watch/ });
  t.match(await failure(t, gobgp.watch({ end_of_rib: true }).next()), {
    name: 'IncompatibleError',
    message: /end_of_rib needs GoBGP 3.24/,
  });
  const { gobgp: idle } = await fake(t, 4, {
    getBgp: () => ({ global: { asn: 0, router_id: '192.0.2.1' } }),
  });
  t.match(await failure(t, idle.watch({ best: true }).next()), {
    name: 'RefusedError',
    grpc_name: 'FAILED_PRECONDITION',
    message: /BGP is not started/,
  });
});
