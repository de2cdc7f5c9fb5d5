import { once } from 'node:events';
import { constants, createServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { ServerStream, StreamFailure } from '../src/server-stream.js';

const method = '/api.GoBgpService/WatchEvent';

/** A message as gRPC frames it. */
function framed(text: string, compressed = 0): Buffer {
  const header = Buffer.from([compressed, 0, 0, 0, 0]);
  header.writeUInt32BE(text.length, 1);
  return Buffer.concat([header, Buffer.from(text)]);
}

/** An HTTP/2 server that answers the first call as the test says. */
async function server(t: Test, answer: (stream: ServerHttp2Stream, request: Promise<Buffer>) => void) {
  const http2 = createServer();
  const sockets = new Set<Socket>();
  const sessions: ServerHttp2Session[] = [];
  http2.on('connection', (socket: Socket) => sockets.add(socket));
  http2.on('session', (session) => sessions.push(session));
  http2.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    t.match(headers, {
      ':method': 'POST',
      ':path': method,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const request = buffer(stream);
    request.catch(() => undefined);
    answer(stream, request);
  });
  http2.listen(0, '127.0.0.1');
  await once(http2, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    http2.close();
  });
  return { target: `127.0.0.1:${(http2.address() as AddressInfo).port}`, sockets, sessions };
}

/** What was told, by what came together; and its end. */
async function told(call: ServerStream): Promise<{ texts: string[]; end: unknown }> {
  const texts: string[] = [];
  try {
    for await (const come of call.messages()) texts.push(...come.map(String));
    return { texts, end: 'ok' };
  } catch (error) {
    t.ok(error instanceof StreamFailure, String(error));
    const { code, details } = error as StreamFailure;
    return { texts, end: [code, details] };
  } finally {
    call.cancel();
  }
}

/** The answer's headers, chunks and trailers. */
const answered =
  (chunks: readonly Buffer[], trailers: Readonly<Record<string, string>> | undefined, headers = {}) =>
  async (stream: ServerHttp2Stream): Promise<void> => {
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', ...headers },
      { waitForTrailers: trailers !== undefined },
    );
    stream.on('wantTrailers', () => stream.sendTrailers(trailers!));
    for (const chunk of chunks) {
      stream.write(chunk);
      // Each for itself, as a frame of its own.
      await new Promise((resolve) => setImmediate(resolve));
    }
    stream.end();
  };

const callTo = (target: string, more = {}) =>
  new ServerStream({ target, method, bytes: Buffer.from('question'), message_bytes_max: 1000, ...more });

t.test('messages are whole wherever the chunks are cut', async (t) => {
  const texts = ['one', '', 'three', 'x'.repeat(300)];
  const bytes = Buffer.concat(texts.map((text) => framed(text)));
  const ok = { 'grpc-status': '0' };
  for (const size of [1, 2, 5, 7, bytes.length]) {
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
    let asked: Promise<Buffer> | undefined;
    const { target } = await server(t, (stream, request) => {
      asked = request;
      void answered(chunks, ok)(stream);
    });
    t.strictSame(await told(callTo(target)), { texts, end: 'ok' }, `by ${size}`);
    t.strictSame(await asked, framed('question'));
  }
});

t.test('what has come by now is handed on together, so much at once', async (t) => {
  const { target } = await server(
    t,
    answered([Buffer.concat(Array.from({ length: 600 }, (_, n) => framed(String(n))))], {
      'grpc-status': '0',
    }),
  );
  const together: number[] = [];
  const call = callTo(target);
  for await (const come of call.messages()) together.push(come.length);
  call.cancel();
  t.strictSame(together, [256, 256, 88]);
});

t.test('the end is told in gRPC’s terms, behind what was told', async (t) => {
  const one = [framed('one')];
  const ends: readonly (readonly [
    string,
    (stream: ServerHttp2Stream) => void,
    readonly string[],
    unknown,
  ])[] = [
    [
      'a refusal',
      answered(one, { 'grpc-status': '9', 'grpc-message': 'no 100%25 %E2%86%92' }),
      ['one'],
      [status.FAILED_PRECONDITION, 'no 100% →'],
    ],
    [
      'words that are not encoded well',
      answered(one, { 'grpc-status': '2', 'grpc-message': '100%' }),
      ['one'],
      [status.UNKNOWN, '100%'],
    ],
    ['a status that is none', answered(one, { 'grpc-status': 'no' }), ['one'], [status.UNKNOWN, '']],
    [
      'nothing but headers',
      (stream) =>
        stream.respond(
          { ':status': 200, 'grpc-status': '12', 'grpc-message': 'no such call' },
          { endStream: true },
        ),
      [],
      [status.UNIMPLEMENTED, 'no such call'],
    ],
    [
      'no status',
      answered(one, undefined),
      ['one'],
      [status.INTERNAL, 'the call has ended without a status'],
    ],
    ['no gRPC', answered([], undefined, { ':status': 503 }), [], [status.UNKNOWN, 'HTTP status 503']],
    [
      'compressed',
      answered([framed('one'), framed('two', 1)], { 'grpc-status': '0' }),
      ['one'],
      [status.INTERNAL, 'a compressed message, which was not asked for'],
    ],
    [
      'too large',
      answered([framed('one'), framed('x'.repeat(1001))], { 'grpc-status': '0' }),
      ['one'],
      [status.RESOURCE_EXHAUSTED, 'it has 1001 bytes'],
    ],
  ];
  for (const [name, answer, texts, end] of ends) {
    const { target } = await server(t, answer);
    t.strictSame(await told(callTo(target)), { texts, end }, name);
  }
});

t.test('a call that is broken off says by whom', async (t) => {
  const broken = async (end: (stream: ServerHttp2Stream) => void, more = {}) => {
    const { target } = await server(t, (stream) => {
      // With trailers to come the end is no orderly one.
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.write(framed('one'), () => end(stream));
    });
    return (await told(callTo(target, more))).end;
  };
  const ended = async (code: number) => await broken((stream) => stream.close(code));
  t.match(await ended(constants.NGHTTP2_REFUSED_STREAM), [status.UNAVAILABLE]);
  t.match(await ended(constants.NGHTTP2_CANCEL), [status.CANCELLED]);
  t.match(await ended(constants.NGHTTP2_ENHANCE_YOUR_CALM), [status.RESOURCE_EXHAUSTED]);
  t.match(await ended(constants.NGHTTP2_PROTOCOL_ERROR), [status.INTERNAL]);
  t.match(await broken((stream) => stream.session?.destroy()), [status.UNAVAILABLE]);
  t.match(await broken(() => undefined, { deadline_ms: 50 }), [status.DEADLINE_EXCEEDED, 'not within 50 ms']);
  t.match((await told(callTo('unix:/nowhere/api.sock'))).end, [
    status.UNAVAILABLE,
    'connect ENOENT /nowhere/api.sock',
  ]);
  t.match((await told(callTo('unix:///nowhere/api.sock'))).end, [
    status.UNAVAILABLE,
    'connect ENOENT /nowhere/api.sock',
  ]);
});

t.test('who goes leaves nothing behind', async (t) => {
  const { target, sockets } = await server(t, (stream) => {
    stream.respond({ ':status': 200 });
    stream.write(framed('one'));
  });
  const call = callTo(target);
  const list = call.messages();
  t.strictSame(await list.next(), { done: false, value: [Buffer.from('one')] });
  const [socket] = sockets;
  const closed = once(socket!, 'close');
  call.cancel();
  await closed;
  await t.rejects(list.next(), { code: status.CANCELLED });
});

t.test('who goes before the connection stands, or before the last word was read, hears of it', async (t) => {
  const { target } = await server(t, answered([framed('a'), framed('b')], { 'grpc-status': '0' }));
  const options = { method, bytes: Buffer.alloc(0), message_bytes_max: 100 };
  const gone = [status.CANCELLED, 'the call was cancelled'];
  for (const wait of [async () => undefined, () => Promise.resolve(), () => new Promise(setImmediate)]) {
    const early = new ServerStream({ target, ...options });
    await wait();
    early.cancel();
    t.strictSame(await told(early), { texts: [], end: gone });
  }
  const late = new ServerStream({ target, ...options });
  const texts: string[] = [];
  const reading = (async () => {
    for await (const come of late.messages()) {
      texts.push(...come.map(String));
      // All that the server says is here by then, and not read.
      await new Promise((resolve) => setTimeout(resolve, 50));
      late.cancel();
    }
  })();
  const end = await reading.then(
    () => 'ok',
    ({ code }: StreamFailure) => code,
  );
  t.ok(end === status.CANCELLED || texts.length === 2, `${texts.length} messages, then ${end}`);
});
