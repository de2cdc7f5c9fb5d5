/**
 * A stand-in for VPP: speaks its API socket's protocol with the codecs of the client, keeps what is programmed, answers and
 * refuses as VPP does, and dies of what kills VPP. No packet passes through it.
 */
import { existsSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { Receiver, Transport } from 'vpp-binapi-ts';
import { type Clock, systemClock } from '../../src/clock.js';
import { Connection, type Life, type Outlet } from './connection.js';
import { type Devices, RecordedDevices } from './devices.js';
import { type Fault, Faults } from './faults.js';
import type { Handler } from './handler.js';
import { handlers as all_handlers } from './handlers/index.js';
import { MessageIds } from './message-ids.js';
import { VppState } from './state.js';

export interface StandInOptions {
  /** Path of the API socket. Absent: reached through `transport()` alone. */
  readonly socket?: string;
  readonly clock?: Clock;
  readonly faults?: readonly Fault[];
  /** Added to every message id: what a client remembers of another life's ids is wrong then. */
  readonly message_id_offset?: number;
  /** Names of messages that this VPP does not have, as when a plugin is not loaded. */
  readonly without?: readonly string[];
  /** The Linux side of taps; devices on paper when absent. */
  readonly devices?: Devices;
  /** Buffers of the pool, of which every tap's receive ring takes its size. */
  readonly buffers?: number;
  readonly pid?: number;
  /** What VPP would write into its log. */
  readonly log?: (text: string) => void;
}

/** How a life ended. */
export interface End {
  readonly how: 'closed' | 'killed' | 'died';
  readonly reason: string;
}

export interface StandInVpp {
  readonly state: VppState;
  /** A connection that needs no socket. */
  transport(): Transport;
  fault(fault: Fault): void;
  clearFaults(): void;
  /** The messages that have come, by name. */
  readonly counts: ReadonlyMap<string, number>;
  /** The reason for which it answers nobody any more; undefined while it answers. */
  readonly hung: string | undefined;
  /** Resolves once, however it ends. */
  readonly ended: Promise<End>;
  /** Ends it; either way connections break, and only persistent devices stay. */
  close(): void;
  kill(): void;
}

const buffers_default = 16_384;

/** Resolves when the socket listens. */
export async function startStandInVpp(options: StandInOptions = {}): Promise<StandInVpp> {
  const life = new StandIn(options);
  if (options.socket !== undefined) await life.listen(options.socket);
  return life;
}

class StandIn implements StandInVpp, Life {
  readonly state: VppState;
  readonly ids: MessageIds;
  readonly handlers: ReadonlyMap<number, Handler>;
  readonly counts = new Map<string, number>();
  readonly ended: Promise<End>;
  readonly #clock: Clock;
  readonly #faults = new Faults();
  readonly #connections = new Set<Connection>();
  readonly #log: (text: string) => void;
  #server: Server | undefined;
  #clients = 0;
  #hung: string | undefined;
  #end: ((end: End) => void) | undefined;

  constructor(options: StandInOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? (() => {});
    this.state = new VppState({
      clock: this.#clock,
      devices: options.devices ?? new RecordedDevices(),
      buffers: options.buffers ?? buffers_default,
      pid: options.pid ?? process.pid,
    });
    const without = new Set(options.without);
    const present = all_handlers.filter(({ request }) => !without.has(request.name));
    this.ids = new MessageIds(present, options.message_id_offset ?? 0);
    this.handlers = this.ids.handlers;
    for (const fault of options.faults ?? []) this.#faults.set(fault);
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  async listen(path: string): Promise<void> {
    if (existsSync(path)) unlinkSync(path);
    const server = createServer((socket) => this.#accept(socket));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => resolve());
    });
  }

  transport(): Transport {
    return new MemoryTransport((outlet) => this.#connect(outlet));
  }

  fault(fault: Fault): void {
    this.#faults.set(fault);
  }

  clearFaults(): void {
    this.#faults.clear();
  }

  get hung(): string | undefined {
    return this.#hung;
  }

  close(): void {
    this.#finish({ how: 'closed', reason: 'told to stop' });
  }

  kill(): void {
    this.#finish({ how: 'killed', reason: 'SIGKILL' });
  }

  // Of Life.

  strike(message: string, fields: () => string) {
    this.counts.set(message, (this.counts.get(message) ?? 0) + 1);
    return this.#faults.next(message, fields);
  }

  after(ms: number, run: () => void): void {
    this.#clock.after(ms, run);
  }

  die(reason: string): void {
    this.#log(reason);
    this.#finish({ how: 'died', reason });
  }

  hang(reason: string): void {
    this.#log(reason);
    this.#hung = reason;
  }

  log(text: string): void {
    this.#log(text);
  }

  #finish(end: End): void {
    if (this.#end === undefined) return;
    const resolve = this.#end;
    this.#end = undefined;
    this.#hung ??= end.reason;
    this.#server?.close();
    for (const connection of this.#connections) connection.close();
    for (const one of this.state.interfaces.all)
      one.tap?.device.close((one.tap.tap_flags & persist_flag) !== 0);
    resolve(end);
  }

  #accept(socket: Socket): void {
    const connection = this.#connect({
      write: (bytes) => {
        if (!socket.destroyed) socket.write(bytes);
      },
      close: () => socket.end(() => socket.destroy()),
    });
    socket.on('data', (chunk) => connection.data(chunk));
    socket.on('error', () => {});
    socket.on('close', () => connection.close());
  }

  #connect(outlet: Outlet): Connection {
    const connection = new Connection(this, outlet, ++this.#clients);
    this.#connections.add(connection);
    connection.onGone(() => this.#connections.delete(connection));
    if (this.#end === undefined) connection.close();
    return connection;
  }
}

/** TAP_API_FLAG_PERSIST. */
const persist_flag = 4;

/** The client's end of a connection inside this process. Bytes arrive in a later turn, as those of a socket do. */
class MemoryTransport implements Transport {
  #receiver: Receiver | undefined;
  #connection: Connection | undefined;
  /** On the way to the client. */
  #chunks: Uint8Array[] = [];
  #stopped = false;
  #closed = false;

  constructor(private readonly connect: (outlet: Outlet) => Connection) {}

  attach(receiver: Receiver): void {
    this.#receiver = receiver;
    this.#connection = this.connect({
      write: (bytes) => {
        this.#chunks.push(bytes);
        // As from a socket: read in a poll phase, behind the timers that are due by then.
        setImmediate(() => this.#deliver());
      },
      close: () => setImmediate(() => this.#gone()),
    });
  }

  write(chunk: Uint8Array): boolean {
    const copy = Uint8Array.prototype.slice.call(chunk);
    queueMicrotask(() => this.#closed || this.#connection?.data(copy));
    return true;
  }

  resume(): void {
    this.#stopped = false;
    queueMicrotask(() => this.#deliver());
  }

  close(): void {
    queueMicrotask(() => {
      this.#connection?.close();
      this.#gone();
    });
  }

  #deliver(): void {
    while (!this.#closed && !this.#stopped) {
      const chunk = this.#chunks.shift();
      if (chunk === undefined) return;
      this.#stopped = this.#receiver?.data(chunk) === false;
    }
  }

  #gone(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#receiver?.closed();
  }
}
