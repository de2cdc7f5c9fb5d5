/**
 * The API client against a real VPP, beside a writer of messages that were encoded before, over a bare socket: what the client
 * costs. Beside GoVPP too, where there is a Go to build it with. All take turns in one run, on one VPP, with one window: *pipelined*
 * is a caller that keeps it full, *at once* one that asks for everything in one turn of the event loop. CPU is user and system time
 * of the caller's process.
 */
import { execFile } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  bytesOf,
  type Client,
  connect,
  FrameReader,
  frame_header_bytes,
  header_size,
  type Request,
  sockclnt_create_id,
  unixTransport,
  writeFrameHeader,
} from 'vpp-binapi-ts';
import { ip_route_add_del, type ip_route_add_del_in } from 'vpp-binapi-ts/ip';
import { control_ping, sockclnt_create } from 'vpp-binapi-ts/memclnt';
import { findRealVpp, startRealVpp } from '../lab/real-vpp.js';
import { atLeast, atMost, CannotRun, median, type Report } from './figures.js';

const window = 512;
/** Of a connection that others share: what waits behind it waits no longer than a millisecond. */
const small_window = 64;
const rounds = 7;
const warm_up_rounds = 2;
const pipelined_count = 20_000;
const serial_count = 500;
const raw_deadline_ms = 30_000;
const ratio_min = 0.95;
/** Less: VPP runs dry while a turn of the event loop makes so many promises, and while they are collected. */
const at_once_ratio_min = 0.9;
const govpp_ratio_min = 1.3;
const govpp_cpu_ratio_max = 1;
const govpp_version = 'v0.13.0';

/** A host route that drops, so that it needs no interface; the same one that bench/govpp adds. */
function route(i: number, is_add: boolean): ip_route_add_del_in {
  return {
    is_add,
    is_multipath: false,
    route: {
      table_id: 0,
      stats_index: 0,
      prefix: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32`,
      paths: [
        {
          sw_if_index: 0xffffffff,
          table_id: 0,
          rpf_id: 0xffffffff,
          weight: 1,
          preference: 0,
          type: 'FIB_API_PATH_TYPE_DROP',
          flags: 0,
          proto: 'FIB_API_PATH_NH_PROTO_IP4',
          nh: { address: '0.0.0.0', via_label: 0, obj_id: 0, classify_table_index: 0 },
          label_stack: [],
        },
      ],
    },
  };
}

/** Something to ask for again and again, whose frames have one size each way. */
interface Load {
  readonly name: 'ping' | 'route';
  ask(client: Client, i: number): Promise<unknown>;
  /** Encoded beforehand, in order. */
  readonly frames: Uint8Array;
  readonly frame_bytes: number;
  readonly reply_bytes: number;
}

/** A socket and nothing else: writes frames as the window allows and counts the bytes that come back. */
class RawWriter {
  readonly ids = new Map<string, number>();
  client_index = 0;
  readonly #socket: Socket;
  #received: (chunk: Uint8Array) => void = () => {};

  private constructor(path: string) {
    this.#socket = connectSocket({
      path,
      onread: {
        buffer: new Uint8Array(64 * 1024),
        callback: (length, buffer) => {
          this.#received(buffer.subarray(0, length));
          return true;
        },
      },
    });
  }

  static async connect(path: string): Promise<RawWriter> {
    const raw = new RawWriter(path);
    await new Promise<void>((resolve) => {
      const reader = new FrameReader(1 << 20, (from, at, end) => {
        const greeting = sockclnt_create.reply.decode(from, at + header_size.request, end);
        for (const { index, name } of greeting.message_table) raw.ids.set(name, index);
        raw.client_index = greeting.index;
        resolve();
        return true;
      });
      raw.#received = (chunk) => reader.push(chunk);
      raw.#socket.write(encode(sockclnt_create, sockclnt_create_id, 0, { name: 'bench-raw' }));
    });
    return raw;
  }

  run({ frames, frame_bytes, reply_bytes }: Load, count: number, window: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`bench binapi: VPP did not answer within ${raw_deadline_ms} ms`));
      const deadline = setTimeout(late, raw_deadline_ms);
      let received_bytes = 0;
      let sent = 0;
      const fill = (answered: number) => {
        const until = Math.min(count, answered + window);
        if (until > sent) this.#socket.write(frames.subarray(sent * frame_bytes, until * frame_bytes));
        sent = until;
      };
      this.#received = (chunk) => {
        received_bytes += chunk.length;
        const answered = Math.floor(received_bytes / reply_bytes);
        if (answered < count) return fill(answered);
        clearTimeout(deadline);
        resolve();
      };
      fill(0);
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}

function encode<In>(message: Request<In, unknown>, id: number, client_index: number, fields: In): Uint8Array {
  const header_bytes = header_size[message.header];
  const message_bytes = header_bytes + message.size(fields);
  const frame = bytesOf(new Uint8Array(frame_header_bytes + message_bytes));
  writeFrameHeader(frame.view, 0, message_bytes);
  frame.view.setUint16(frame_header_bytes, id);
  if (message.header === 'request') frame.view.setUint32(frame_header_bytes + 2, client_index);
  message.encode(frame, frame_header_bytes + header_bytes, fields);
  return frame.bytes;
}

function load<In, Reply>(
  raw: RawWriter,
  name: Load['name'],
  message: Request<In, Reply>,
  reply: Reply,
  fields: (i: number) => In,
): Load {
  const id = raw.ids.get(`${message.name}_${message.crc}`);
  if (id === undefined) throw new Error(`VPP has no ${message.name} with CRC ${message.crc}`);
  const frames = Array.from({ length: pipelined_count }, (_, i) =>
    encode(message, id, raw.client_index, fields(i)),
  );
  return {
    name,
    ask: (client, i) => client.request(message, fields(i)),
    frames: Buffer.concat(frames),
    frame_bytes: frames[0]!.length,
    reply_bytes: frame_header_bytes + header_size[message.reply.header] + message.reply.size(reply),
  };
}

/** What asking so often has come to. */
interface Pace {
  readonly per_second: number;
  readonly cpu_us: number;
}

async function pace(count: number, run: () => Promise<unknown>): Promise<Pace> {
  const before = process.cpuUsage();
  const start_ms = performance.now();
  await run();
  const took_ms = performance.now() - start_ms;
  const { user, system } = process.cpuUsage(before);
  return { per_second: (count * 1000) / took_ms, cpu_us: (user + system) / count };
}

/** As a transaction does that is pulled: asks for the next one when one is answered. */
async function pipelined(client: Client, { ask }: Load, in_flight: number): Promise<void> {
  let next = 0;
  const one = async () => {
    while (next < pipelined_count) await ask(client, next++);
  };
  await Promise.all(Array.from({ length: in_flight }, one));
}

async function atOnce(client: Client, { ask }: Load): Promise<void> {
  const answers: Promise<unknown>[] = [];
  for (let i = 0; i < pipelined_count; i++) answers.push(ask(client, i));
  await Promise.all(answers);
}

async function serial(client: Client, { ask }: Load): Promise<void> {
  for (let i = 0; i < serial_count; i++) await ask(client, i);
}

/** Of every round, by name. */
class Paces {
  readonly #rounds = new Map<string, Pace[]>();

  add(name: string, one: Pace): void {
    const rounds = this.#rounds.get(name) ?? [];
    this.#rounds.set(name, [...rounds, one]);
  }

  of(name: string, what: keyof Pace): readonly number[] {
    return (this.#rounds.get(name) ?? []).map((one) => one[what]);
  }

  median(name: string, what: keyof Pace): number {
    return median(this.of(name, what));
  }

  /** Of the rounds' own ratios: what disturbs a round disturbs both sides of it. */
  ratio(name: string, to: string, what: keyof Pace): number {
    const others = this.of(to, what);
    return median(this.of(name, what).map((one, i) => one / others[i]!));
  }
}

type GoVpp = { readonly paces: (socket: string) => Promise<Record<string, Pace>> } | { readonly why: string };

const execute = promisify(execFile);
const govpp_source = fileURLToPath(new URL('../../bench/govpp/main.go', import.meta.url));

/** Builds the Go contender in `directory`. */
async function buildGoVpp(directory: string): Promise<GoVpp> {
  const go = async (...argv: string[]) => {
    await execute('go', argv, { cwd: directory, env: { ...process.env, GOFLAGS: '-mod=mod' } });
  };
  copyFileSync(govpp_source, join(directory, 'main.go'));
  try {
    await go('mod', 'init', 'govpp-bench');
    await go('get', `go.fd.io/govpp@${govpp_version}`);
    await go('build', '-o', 'govpp-bench', '.');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return {
      why: code === 'ENOENT' ? 'there is no go on the PATH' : message.split('\n').slice(0, 3).join(' '),
    };
  }
  return {
    async paces(socket) {
      const argv = [socket, String(pipelined_count), String(window)];
      const { stdout } = await execute(join(directory, 'govpp-bench'), argv);
      return JSON.parse(stdout.slice(stdout.indexOf('{'))) as Record<string, Pace>;
    },
  };
}

async function measure(socket: string, govpp: GoVpp): Promise<Paces> {
  const paces = new Paces();
  const raw = await RawWriter.connect(socket);
  const client = await connect({ transport: unixTransport(socket), name: 'bench-client', window });
  const small = await connect({
    transport: unixTransport(socket),
    name: 'bench-small-window',
    window: small_window,
  });
  const pong = { retval: 0, client_index: 0, vpe_pid: 0 };
  const added = { retval: 0, stats_index: 0 };
  const loads = [
    { load: load(raw, 'ping', control_ping, pong, () => ({})), undo: undefined },
    {
      load: load(raw, 'route', ip_route_add_del, added, (i) => route(i, true)),
      undo: load(raw, 'route', ip_route_add_del, added, (i) => route(i, false)),
    },
  ];
  // The first rounds warm up all sides and are not counted.
  for (let round = -warm_up_rounds; round < rounds; round++) {
    for (const { load, undo } of loads) {
      const contenders: [string, number, () => Promise<void>][] = [
        [`${load.name} raw`, pipelined_count, () => raw.run(load, pipelined_count, window)],
        [`${load.name} client`, pipelined_count, () => pipelined(client, load, window)],
        [`${load.name} raw small`, pipelined_count, () => raw.run(load, pipelined_count, small_window)],
        [`${load.name} small window`, pipelined_count, () => pipelined(small, load, small_window)],
        [`${load.name} at once`, pipelined_count, () => atOnce(client, load)],
        [`${load.name} raw serial`, serial_count, () => raw.run(load, serial_count, 1)],
        [`${load.name} client serial`, serial_count, () => serial(client, load)],
      ];
      if (round % 2 !== 0) contenders.reverse();
      for (const [name, count, run] of contenders) {
        const one = await pace(count, run);
        if (round >= 0) paces.add(name, one);
        if (undo !== undefined) await raw.run(undo, count, window);
      }
    }
    if ('paces' in govpp && round >= 0) {
      for (const [name, one] of Object.entries(await govpp.paces(socket))) paces.add(`govpp ${name}`, one);
    }
  }
  client.close();
  small.close();
  raw.close();
  return paces;
}

function reportClient(report: Report, paces: Paces, load: Load['name']): void {
  const of = (name: string, contender: string) =>
    report({ name, value: paces.median(contender, 'per_second'), unit: 'requests/s' });
  const ratio = (contender: string, to: string) => paces.ratio(contender, to, 'per_second');
  const [raw, client] = [`${load} raw`, `${load} client`];
  of(`${load} pipelined, raw socket`, raw);
  of(`${load} pipelined, client`, client);
  report(atLeast(`${load} pipelined, client to raw socket`, ratio(client, raw), 'ratio', ratio_min));
  const small = `${load} ${small_window} in flight`;
  of(`${small}, client`, `${load} small window`);
  const small_ratio = ratio(`${load} small window`, `${load} raw small`);
  report(atLeast(`${small}, client to raw socket`, small_ratio, 'ratio', ratio_min));
  const to_large = ratio(`${load} small window`, client);
  report({ name: `${small}, to ${window} in flight`, value: to_large, unit: 'ratio' });
  const at_once = `${load} ${pipelined_count.toLocaleString('en-US')} at once`;
  of(`${at_once}, client`, `${load} at once`);
  const at_once_ratio = ratio(`${load} at once`, raw);
  report(atLeast(`${at_once}, client to raw socket`, at_once_ratio, 'ratio', at_once_ratio_min));
  of(`${load} serial, raw socket`, `${raw} serial`);
  of(`${load} serial, client`, `${client} serial`);
  const serial = ratio(`${client} serial`, `${raw} serial`);
  report({ name: `${load} serial, client to raw socket`, value: serial, unit: 'ratio' });
  for (const contender of [raw, client, `${load} small window`, `${load} at once`]) {
    report({ name: `${contender}, CPU`, value: paces.median(contender, 'cpu_us'), unit: 'us/request' });
  }
}

function reportGoVpp(report: Report, paces: Paces, load: Load['name']): void {
  const ways = ['stream', 'channel', 'serial'].map((way) => `govpp ${load} ${way}`);
  for (const way of ways) report({ name: way, value: paces.median(way, 'per_second'), unit: 'requests/s' });
  const [stream, channel] = ways as [string, string, string];
  const fastest =
    paces.median(stream, 'per_second') >= paces.median(channel, 'per_second') ? stream : channel;
  const rate = paces.ratio(`${load} client`, fastest, 'per_second');
  report(atLeast(`${load} pipelined, client to ${fastest}`, rate, 'ratio', govpp_ratio_min));
  const thriftiest = paces.median(stream, 'cpu_us') <= paces.median(channel, 'cpu_us') ? stream : channel;
  report({ name: `${thriftiest}, CPU`, value: paces.median(thriftiest, 'cpu_us'), unit: 'us/request' });
  const cpu = paces.ratio(`${load} client`, thriftiest, 'cpu_us');
  report(atMost(`${load} pipelined, CPU of client to ${thriftiest}`, cpu, 'ratio', govpp_cpu_ratio_max));
}

export async function bench(report: Report): Promise<void> {
  const found = findRealVpp();
  if (!found.usable) throw new CannotRun(found.why);
  const directory = mkdtempSync(join(tmpdir(), 'govpp-'));
  const vpp = await startRealVpp(found);
  try {
    const govpp = await buildGoVpp(directory);
    if ('why' in govpp) console.error(`bench binapi: without GoVPP: ${govpp.why}`);
    const paces = await measure(vpp.api_socket, govpp);
    for (const load of ['ping', 'route'] as const) {
      reportClient(report, paces, load);
      if ('paces' in govpp) reportGoVpp(report, paces, load);
    }
  } finally {
    await vpp.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}
