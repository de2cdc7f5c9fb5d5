/**
 * Child of `traffic.ts`, started inside a network namespace: listens and sends there, as it is told over the IPC channel.
 * Every answer is the whole outcome of one request.
 */
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { createConnection, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';

export type AgentRequest =
  /** Counts and checksums what comes in on each connection and answers with a TcpReceipt at its end. */
  | { readonly do: 'tcp_sink'; readonly address: string; readonly port: number }
  | {
      readonly do: 'tcp_send';
      readonly address: string;
      readonly port: number;
      readonly bytes: number;
      readonly deadline_ms: number;
      /** After each block of 64 KiB. */
      readonly pause_ms?: number;
    }
  /** Answers each datagram with a longer one that names the sender, as a resolver does. */
  | { readonly do: 'udp_answer'; readonly address: string; readonly port: number }
  | {
      readonly do: 'udp_ask';
      readonly address: string;
      readonly port: number;
      readonly count: number;
      /** To send from; any when absent. */
      readonly source?: string;
      /** The same for each question: one flow; any when absent. */
      readonly source_port?: number;
      /** For each answer. */
      readonly wait_ms: number;
      /** From an answer to the next question. */
      readonly pause_ms?: number;
      /** Of each question, at least; answers stay short. */
      readonly bytes?: number;
      /** Of each answer, at least. */
      readonly answer_bytes?: number;
    }
  /** The senders of all datagrams that `udp_answer` has got on this port. */
  | { readonly do: 'udp_senders'; readonly port: number };

export interface TcpReceipt {
  readonly bytes: number;
  readonly checksum: number;
  /** The sender as the receiver saw it. */
  readonly peer: string;
  /** The receiver's own address. */
  readonly at: string;
}

export interface TcpOutcome {
  /** Undefined: the transfer did not end in time, or was refused. */
  readonly receipt?: TcpReceipt;
  readonly error?: string;
  /** Of what was sent. */
  readonly checksum: number;
  readonly ms: number;
}

export interface UdpOutcome {
  readonly answered: number;
  /** The senders as the receiver saw them, without repetition. */
  readonly seen_as: readonly string[];
  /** Namespaces whose agents have answered, without repetition. */
  readonly answered_by: readonly string[];
}

const answer_bytes = 180;
/** Of the namespace. */
const own_name = process.argv[2] ?? '';
const senders = new Map<number, Set<string>>();

function tcpSink(address: string, port: number): Promise<null> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let bytes = 0;
    let checksum = 0;
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      checksum = crc32(chunk, checksum);
    });
    socket.on('end', () => {
      const receipt: TcpReceipt = {
        bytes,
        checksum,
        peer: socket.remoteAddress ?? '',
        at: socket.localAddress ?? '',
      };
      socket.end(JSON.stringify(receipt));
    });
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host: address, ipv6Only: true }, () => resolve(null));
  });
}

async function tcpSend(request: Extract<AgentRequest, { do: 'tcp_send' }>): Promise<TcpOutcome> {
  const began = performance.now();
  const block = Buffer.alloc(64 * 1024, 'all that is sent has to arrive, in order, once. ');
  let checksum = 0;
  const ms = () => Math.round(performance.now() - began);
  const socket: Socket = createConnection({ host: request.address, port: request.port });
  const ended = new Promise<string>((resolve, reject) => {
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.once('error', reject);
    socket.once('close', () => resolve(text));
  });
  const deadline = setTimeout(() => socket.destroy(new Error('no end in time')), request.deadline_ms);
  try {
    await Promise.race([new Promise((resolve) => socket.once('connect', resolve)), ended]);
    for (let left = request.bytes; left > 0 && !socket.destroyed; left -= block.length) {
      const chunk = left < block.length ? block.subarray(0, left) : block;
      // So that a lost or doubled block shows.
      const stamped = Buffer.from(chunk);
      if (stamped.length >= 4) stamped.writeUInt32LE(left, 0);
      checksum = crc32(stamped, checksum);
      const drained = socket.write(stamped)
        ? undefined
        : Promise.race([new Promise((resolve) => socket.once('drain', resolve)), ended]);
      // It may be over before anybody waits for it.
      drained?.catch(() => undefined);
      if (request.pause_ms !== undefined) await sleep(request.pause_ms);
      await drained;
    }
    socket.end();
    const text = await ended;
    return { receipt: JSON.parse(text) as TcpReceipt, checksum, ms: ms() };
  } catch (error) {
    return { error: (error as Error).message, checksum, ms: ms() };
  } finally {
    clearTimeout(deadline);
    socket.destroy();
  }
}

function datagramSocket(address: string): DatagramSocket {
  return createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', ipv6Only: address.includes(':') });
}

function udpAnswer(address: string, port: number): Promise<null> {
  const socket = datagramSocket(address);
  const seen = new Set<string>();
  senders.set(port, seen);
  socket.on('message', (bytes, from) => {
    seen.add(from.address);
    const question = bytes.toString().trimEnd();
    const [, wanted] = / of (\d+)$/.exec(question) ?? [];
    const answer = JSON.stringify({ question, from: from.address, by: own_name }).padEnd(
      Number(wanted ?? answer_bytes),
    );
    socket.send(answer, from.port, from.address);
  });
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, address, () => resolve(null));
  });
}

async function udpAsk(request: Extract<AgentRequest, { do: 'udp_ask' }>): Promise<UdpOutcome> {
  const { address, port, source, source_port = 0, count, wait_ms, bytes = 0, answer_bytes: wanted } = request;
  const socket = datagramSocket(address);
  const seen_as = new Set<string>();
  const answered_by = new Set<string>();
  let answered = 0;
  let waiting: { readonly question: string; readonly go: () => void } | undefined;
  socket.on('error', () => waiting?.go());
  socket.on('message', (text) => {
    const { question, from, by } = JSON.parse(text.toString());
    if (question !== waiting?.question) return;
    answered += 1;
    seen_as.add(from);
    answered_by.add(by);
    waiting?.go();
  });
  await new Promise<void>((resolve, reject) => {
    const connected = (error?: Error): void => (error === undefined ? resolve() : reject(error));
    // Connected, so that an answer from elsewhere is none.
    socket.bind(source_port, source, () => socket.connect(port, address, connected));
  });
  for (let at = 0; at < count; at++) {
    if (at > 0 && request.pause_ms !== undefined) await sleep(request.pause_ms);
    await new Promise<void>((resolve) => {
      const late = setTimeout(() => resolve(), wait_ms);
      waiting = {
        question: wanted === undefined ? `question ${at}` : `question ${at}, answer of ${wanted}`,
        go: () => {
          clearTimeout(late);
          resolve();
        },
      };
      socket.send(waiting.question.padEnd(bytes));
    });
  }
  socket.close();
  return { answered, seen_as: [...seen_as], answered_by: [...answered_by] };
}

function carryOut(request: AgentRequest): Promise<unknown> | unknown {
  switch (request.do) {
    case 'tcp_sink':
      return tcpSink(request.address, request.port);
    case 'tcp_send':
      return tcpSend(request);
    case 'udp_answer':
      return udpAnswer(request.address, request.port);
    case 'udp_ask':
      return udpAsk(request);
    case 'udp_senders':
      return [...(senders.get(request.port) ?? [])];
  }
}

process.on('message', async ({ id, request }: { id: number; request: AgentRequest }) => {
  const reply = (outcome: object): void => {
    process.send?.({ id, ...outcome });
  };
  try {
    reply({ answer: await carryOut(request) });
  } catch (error) {
    reply({ error: (error as Error).message });
  }
});
process.on('disconnect', () => process.exit(0));
