import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { connect, unixTransport } from '../src/index.js';
import { add, Peer, serveNumbers, turn } from './peer.js';

/** A socket that listens, and what becomes of its connections. */
async function listen(t: Test, accept: (socket: Socket) => void): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'unix-transport-'));
  const path = join(directory, 'api.sock');
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    accept(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return path;
}

/** A VPP behind a socket. */
function serve(peer: Peer, socket: Socket): void {
  peer.attach({
    data(chunk) {
      socket.write(chunk);
      return true;
    },
    drained() {},
    closed() {
      socket.destroy();
    },
  });
  socket.on('data', (chunk) => peer.write(chunk));
}

/** The whole thread stands still. */
function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

t.test('who dials again and again until somebody listens takes next to no memory for it', async (t) => {
  const { arrayBuffers: before } = process.memoryUsage();
  let most = 0;
  for (let n = 0; n < 100; n += 1) {
    const dials = [1, 2, 3].map(() =>
      connect({ transport: unixTransport('/nowhere/api.sock'), name: 'test' }).catch(() => undefined),
    );
    await Promise.all(dials);
    most = Math.max(most, process.memoryUsage().arrayBuffers - before);
  }
  t.ok(most < 8 * 1024 * 1024, `${most} bytes`);
});

t.test('a stall that is longer than a deadline costs no answer that came meanwhile', async (t) => {
  const path = await listen(t, (socket) => {
    const peer = new Peer();
    serveNumbers(peer);
    serve(peer, socket);
    // The answer leaves with the microtasks of this chunk.
    socket.on('data', () => {
      if (peer.asked.length > 0) queueMicrotask(() => process.nextTick(() => block(800)));
    });
  });
  const client = await connect({ transport: unixTransport(path), name: 'test' });
  t.equal((await client.request(add, { a: 1, b: 2 }, { deadline_ms: 500 })).sum, 3);
  client.close();
});

t.test('a receiver that has enough is given no more until it resumes', async (t) => {
  const bytes = Uint8Array.from({ length: 1_000_000 }, (_, i) => i % 251);
  const path = await listen(t, (socket) => socket.end(bytes));
  const transport = unixTransport(path);
  const chunks: Uint8Array[] = [];
  let closed = false;
  const ended = new Promise<void>((resolve) => {
    transport.attach({
      data(chunk) {
        chunks.push(chunk.slice());
        return false;
      },
      drained() {},
      closed() {
        closed = true;
        resolve();
      },
    });
  });
  for (let expected = 1; !closed; expected++) {
    while (chunks.length < expected && !closed) await turn();
    await turn();
    await turn();
    if (!closed) t.equal(chunks.length, expected);
    transport.resume();
  }
  await ended;
  t.same(Buffer.concat(chunks).compare(bytes), 0);
});

t.test('one that stops for good can be closed', async (t) => {
  const path = await listen(t, (socket) => socket.write(new Uint8Array(1000)));
  const transport = unixTransport(path);
  await new Promise<void>((resolve) => {
    transport.attach({
      data() {
        transport.close();
        return false;
      },
      drained() {},
      closed: () => resolve(),
    });
  });
  transport.resume();
});
