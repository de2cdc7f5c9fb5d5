/**
 * The end of Felix's stream: listens for the driver that Felix starts, hands what it says to the policies actor, no faster than that takes it
 * in, and tells Felix and the CNI plugin what became of endpoints. It decides nothing about policies.
 */
import type { Actor, ActorContext, ActorRef, ChildSpec, LifeRef } from '../actor-system.js';
import type { Timer } from '../clock.js';
import { AnswerEncoder } from '../felix/encode.js';
import type { FelixMessage } from '../felix/messages.js';
import { type FelixSocket, type SocketEvents, StreamReader } from '../felix/stream.js';
import type { FelixKeysTold } from '../messages/connectivity.js';
import type { FelixActorMessage, FelixStream } from '../messages/felix.js';
import { type EndpointFiles, FelixStatuses, statuses_max } from '../policies/felix-statuses.js';

export interface FelixListener {
  close(): void;
}

export interface FelixDeps {
  /** Rejects with path, cause and step. `accept` and `failed` are called later; each socket is unread. */
  readonly listen: (
    accept: (socket: FelixSocket) => SocketEvents,
    failed: (error: Error) => void,
  ) => Promise<FelixListener>;
  /** Puts the driver where Felix starts it. Resolves with what was done; rejects with path, cause and step. */
  readonly install: () => Promise<string>;
  readonly files: EndpointFiles;
  /** Who leads to other nodes, and may encrypt what goes there. */
  readonly connectivity: ActorRef<FelixKeysTold>;
  /** Where people find how it stands with Felix. */
  readonly report: (status: () => FelixReport) => void;
}

export interface FelixSettings {
  /** For people. */
  readonly socket_path: string;
}

export interface FelixReport {
  /** One line. */
  readonly state: string;
  readonly proxy: string;
  /** What keeps policies from being complete, and the step to take. */
  readonly faults: readonly string[];
  readonly streams: number;
  readonly messages: Readonly<Record<string, number>>;
  readonly endpoint_files: number;
}

const listen_again_ms = 5000;
const install_again_ms = 60_000;
const tell_again_ms = 200;
const files_again_ms = 30_000;
/** As Felix's own dataplane. */
const first_report_ms = 10_000;
const report_ms_default = 30_000;
const report_ms = { min: 1000, max: 3_600_000 };
/** Felix comes again 3 s after the end of its driver; in a start that is slow it says everything within a minute. */
const patience_ms = { connect: 60_000, config: 10_000, in_sync: 60_000, message: 30_000 };
/** So many that take the connection from another within that time are not one that starts anew: its driver has ended before. */
const rivals = { count: 3, within_ms: 60_000 };

export function felixActor(deps: FelixDeps, settings: FelixSettings): ChildSpec<FelixActorMessage> {
  return {
    name: 'felix',
    restart: 'permanent',
    shutdown_ms: 2000,
    mailbox_max: 1024,
    handler_ms_max: 30_000,
    start: (ctx) => new FelixActor(ctx, deps, settings),
  };
}

/** One Felix. */
interface Connection {
  readonly number: number;
  readonly socket: FelixSocket;
  readonly reader: StreamReader;
  readonly answers: AnswerEncoder;
  readonly began_ms: number;
  heard_ms: number;
  /** The socket has something to read. */
  readable: boolean;
  writable: boolean;
  /** It has said all that it will say. */
  over: boolean;
  /** Read, and to be told next. */
  batch: readonly FelixMessage[];
}

class FelixActor implements Actor<FelixActorMessage> {
  readonly #ctx: ActorContext<FelixActorMessage>;
  readonly #deps: FelixDeps;
  readonly #settings: FelixSettings;
  readonly #began_ms: number;
  #listener: FelixListener | undefined;
  #listen_fault: string | undefined;
  #proxy = 'is being installed';
  #proxy_fault: string | undefined;
  /** Of those that have said something. */
  #connections = 0;
  #current: Connection | undefined;
  /** When the last one ended, or this actor began. */
  #alone_since_ms: number;
  /** When connections were made that took the place of another: the last of them. */
  readonly #replaced_ms: number[] = [];
  #subscriber: LifeRef<FelixStream> | undefined;
  /** The stream that the subscriber knows of, until it is told its end. */
  #told: number | undefined;
  /** The stream of the FelixTold that is not answered. */
  #untaken: number | undefined;
  #batches = 0;
  #tell_again: Timer | undefined;
  #report: Timer | undefined;
  readonly #statuses: FelixStatuses;
  /** Of the last stream that ended. */
  #last_end: string | undefined;

  constructor(ctx: ActorContext<FelixActorMessage>, deps: FelixDeps, settings: FelixSettings) {
    this.#ctx = ctx;
    this.#deps = deps;
    this.#settings = settings;
    this.#statuses = new FelixStatuses(deps.files);
    this.#began_ms = ctx.clock.now_ms();
    this.#alone_since_ms = this.#began_ms;
    deps.report(() => this.#status());
    this.#listen();
    this.#install();
    ctx.after(files_again_ms, { type: 'WriteAgain' });
  }

  receive(message: FelixActorMessage): void {
    switch (message.type) {
      case 'SubscribeFelix':
        return this.#subscribe(message.subscriber);
      case 'FelixTaken':
        if (message.stream !== this.#untaken) return;
        this.#untaken = undefined;
        return this.#advance();
      case 'EndpointStatuses':
        this.#statuses.take(message.statuses, message.whole, this.#current?.reader.in_sync === true);
        return this.#answer();
      case 'Accepted':
        return this.#accepted(message.connection, message.socket);
      case 'Readable':
        return this.#of(message.connection, (connection) => {
          connection.readable = true;
          this.#advance();
        });
      case 'Drained':
        return this.#of(message.connection, (connection) => {
          connection.writable = true;
          this.#answer();
        });
      case 'Closed':
        return this.#of(message.connection, (connection) => this.#ended(connection, message.reason));
      case 'ListenAgain':
        return this.#listen();
      case 'InstallAgain':
        return this.#install();
      case 'TellAgain':
        this.#tell_again = undefined;
        this.#tellKeys();
        return this.#advance();
      case 'WriteAgain':
        if (this.#deps.files.faults.size > 0) this.#deps.files.retry();
        this.#ctx.after(files_again_ms, { type: 'WriteAgain' });
        return;
      case 'ReportLife':
        return this.#reportLife();
    }
  }

  stop(): void {
    this.#listener?.close();
    this.#current?.socket.close();
  }

  describe(): unknown {
    const current = this.#current;
    return {
      ...this.#status(),
      ...(current !== undefined && {
        config: Object.fromEntries(current.reader.config ?? []),
        unusable: current.reader.problems,
      }),
      ...(this.#last_end !== undefined && { last_end: this.#last_end }),
    };
  }

  gauges() {
    return {
      connected: this.#current?.over === false,
      streams: this.#connections,
      in_sync: this.#current?.reader.in_sync === true,
      told: this.#batches,
      untaken: this.#untaken !== undefined,
      statuses: this.#statuses.size,
      due: this.#statuses.due,
    };
  }

  #of(number: number, act: (connection: Connection) => void): void {
    if (this.#current?.number === number) act(this.#current);
  }

  // --- the socket

  #listen(): void {
    const again = (error: Error): void => {
      if (this.#ctx.signal.aborted) return;
      this.#listener = undefined;
      if (this.#listen_fault !== error.message)
        this.#ctx.log.warn(
          { err: error },
          `felix(listen) ${error.message}; no policy is heard of until then`,
        );
      this.#listen_fault = error.message;
      this.#ctx.after(listen_again_ms, { type: 'ListenAgain' });
    };
    this.#deps
      .listen((socket) => this.#accept(socket), again)
      .then((listener) => {
        if (this.#ctx.signal.aborted) return listener.close();
        this.#listener = listener;
        this.#listen_fault = undefined;
        this.#ctx.log.info({ path: this.#settings.socket_path }, 'felix(listen) ready for Felix');
      }, again);
  }

  /** Who says nothing, and only looks whether somebody listens, takes nobody's place. */
  #accept(socket: FelixSocket): SocketEvents {
    let connection: number | undefined;
    return {
      readable: () => {
        if (connection !== undefined) return this.#ctx.tellSelf({ type: 'Readable', connection });
        this.#connections += 1;
        connection = this.#connections;
        this.#ctx.tellSelf({ type: 'Accepted', socket, connection });
      },
      drained: () => {
        if (connection !== undefined) this.#ctx.tellSelf({ type: 'Drained', connection });
      },
      closed: (reason) => {
        if (connection !== undefined) this.#ctx.tellSelf({ type: 'Closed', connection, reason });
      },
    };
  }

  /** The newest is the one that lives: Felix starts its driver once in a life. */
  #accepted(number: number, socket: FelixSocket): void {
    const { clock, log } = this.#ctx;
    const before = this.#current;
    if (before?.over === false) {
      this.#replaced_ms.push(clock.now_ms());
      if (this.#replaced_ms.length > rivals.count) this.#replaced_ms.shift();
      this.#end(before, 'another Felix has connected');
    }
    this.#current = {
      number,
      socket,
      reader: new StreamReader(),
      answers: new AnswerEncoder(),
      began_ms: clock.now_ms(),
      heard_ms: clock.now_ms(),
      readable: true,
      writable: true,
      over: false,
      batch: [],
    };
    this.#statuses.unheard();
    log.info({ stream: number }, 'felix(connect) a Felix is there');
    this.#ctx.event('felix', 'a Felix has connected', { stream: number });
    this.#reportLifeIn(first_report_ms);
    this.#advance();
  }

  #ended(connection: Connection, reason: string | undefined): void {
    const cut = connection.reader.halfway ? 'in the middle of a message' : undefined;
    this.#end(connection, [reason, cut].filter((part) => part !== undefined).join(', '));
    this.#advance();
  }

  #end(connection: Connection, why: string): void {
    if (connection.over) return;
    connection.over = true;
    const { number, socket } = connection;
    socket.close();
    this.#last_end = `stream ${number} has ended${why === '' ? '' : `: ${why}`}`;
    this.#alone_since_ms = this.#ctx.clock.now_ms();
    this.#report?.cancel();
    this.#ctx.log.info({ stream: number }, `felix(end) ${this.#last_end}; what it said stays in force`);
    this.#ctx.event('felix', this.#last_end, { stream: number });
  }

  // --- to the policies

  #subscribe(subscriber: LifeRef<FelixStream>): void {
    this.#subscriber = subscriber;
    this.#untaken = undefined;
    const told = this.#told;
    this.#told = undefined;
    const current = this.#current;
    // It cannot be told again what Felix has said: its Felix has to.
    if (current !== undefined && told === current.number) {
      this.#end(current, 'policies begin anew, and have to hear everything');
      this.#current = undefined;
    }
    this.#advance();
  }

  /** Tells what can be told. Never more than one piece that is not taken in: Felix is not read meanwhile. */
  #advance(): void {
    if (this.#subscriber === undefined || this.#untaken !== undefined || this.#tell_again !== undefined)
      return;
    const current = this.#current;
    if (current === undefined) return;
    const { number: stream } = current;
    if (this.#told !== stream) {
      if (!this.#tell({ type: 'FelixBegan', stream })) return;
      this.#told = stream;
    }
    while (current.batch.length === 0 && current.readable) this.#read(current);
    if (current.batch.length > 0) {
      const messages = current.batch;
      if (!this.#tell({ type: 'FelixTold', stream, messages })) return;
      current.batch = [];
      this.#untaken = stream;
      this.#batches += 1;
      if (messages.some(({ kind }) => kind === 'in_sync')) {
        this.#statuses.greet();
        this.#answer();
      }
    } else if (current.over && this.#tell({ type: 'FelixEnded', stream })) {
      this.#told = undefined;
      this.#current = undefined;
    }
  }

  #read(current: Connection): void {
    const { messages, more } = current.reader.next(current.socket);
    current.batch = messages;
    current.readable = more;
    current.heard_ms = this.#ctx.clock.now_ms();
    this.#tellKeys();
    const { fault } = current.reader;
    if (fault !== undefined) {
      this.#ctx.log.warn({ stream: current.number }, `felix(read) ${fault}; the connection is closed`);
      this.#end(current, fault);
    }
  }

  /** False: tried again, for as long as it takes. */
  #tell(message: FelixStream): boolean {
    if (this.#subscriber?.tell(message) === true) return true;
    this.#tellAgain();
    return false;
  }

  #tellAgain(): void {
    this.#tell_again ??= this.#ctx.after(tell_again_ms, { type: 'TellAgain' });
  }

  #tellKeys(): void {
    const keys = this.#current?.reader.peer_keys;
    const due = keys?.due;
    if (keys === undefined || due === undefined) return;
    if (this.#deps.connectivity.tell({ type: 'FelixKeysTold', ...due })) keys.told();
    else this.#tellAgain();
  }

  // --- to Felix and the CNI plugin

  #answer(): void {
    const current = this.#current;
    if (current === undefined || current.over) return;
    while (current.writable) {
      const status = this.#statuses.next();
      if (status === undefined) return;
      current.writable = current.socket.write(current.answers.encode(status));
    }
  }

  #reportLife(): void {
    const current = this.#current;
    if (current === undefined || current.over) return;
    const interval_ms = reportInterval(current.reader.config);
    if (interval_ms === undefined) return;
    if (current.writable) {
      const { clock } = this.#ctx;
      const uptime = (clock.now_ms() - this.#began_ms) / 1000;
      const now = new Date(clock.wall_ms());
      current.writable = current.socket.write(current.answers.encode({ kind: 'process', now, uptime }));
    }
    this.#reportLifeIn(interval_ms);
  }

  #reportLifeIn(ms: number): void {
    this.#report?.cancel();
    this.#report = this.#ctx.after(ms, { type: 'ReportLife' });
  }

  // --- the driver

  #install(): void {
    this.#deps.install().then(
      (done) => {
        this.#proxy = done;
        this.#proxy_fault = undefined;
        this.#ctx.log.info({}, `felix(driver) ${done}`);
      },
      (error: Error) => {
        if (this.#ctx.signal.aborted) return;
        if (this.#proxy_fault !== error.message)
          this.#ctx.log.warn({ err: error }, `felix(driver) ${error.message}`);
        this.#proxy = 'is not installed';
        this.#proxy_fault = error.message;
        this.#ctx.after(install_again_ms, { type: 'InstallAgain' });
      },
    );
  }

  // --- for people

  #status(): FelixReport {
    const current = this.#current;
    return {
      state: this.#state(),
      proxy: this.#proxy,
      faults: [...this.#faults()],
      streams: this.#connections,
      messages: Object.fromEntries(current?.reader.counts ?? []),
      endpoint_files: this.#deps.files.count,
    };
  }

  #state(): string {
    const current = this.#current;
    if (this.#listen_fault !== undefined) return 'not listening';
    if (current === undefined || current.over) return 'no Felix is connected';
    if (current.reader.in_sync)
      return `Felix has told everything, and tells what changes (stream ${current.number})`;
    if (current.reader.config === undefined) return 'what is connected has not begun as Felix does';
    return `Felix tells what there is (stream ${current.number})`;
  }

  *#faults(): Iterable<string> {
    const now_ms = this.#ctx.clock.now_ms();
    if (this.#listen_fault !== undefined) yield this.#listen_fault;
    if (this.#proxy_fault !== undefined) yield this.#proxy_fault;
    const current = this.#current;
    if (current === undefined || current.over) {
      if (now_ms - this.#alone_since_ms > patience_ms.connect)
        yield `no Felix has been connected to ${this.#settings.socket_path} for ${seconds(now_ms - this.#alone_since_ms)}: see that calico-node runs, that its FELIX_USEINTERNALDATAPLANEDRIVER is false and its FELIX_DATAPLANEDRIVER the path of felix-api-proxy, and that both have /var/run/calico of the host`;
    } else yield* this.#faultsOf(current, now_ms);
    const [first] = this.#replaced_ms;
    if (this.#replaced_ms.length === rivals.count && now_ms - first! < rivals.within_ms)
      yield 'Felixes take the connection from each other: two run on this node, stop one';
    for (const [name, fault] of this.#deps.files.faults) yield `status file ${name}: ${fault}`;
    if (this.#statuses.left_out > 0)
      yield `${this.#statuses.left_out} statuses of endpoints are beyond the ${statuses_max} that are kept: the CNI plugin waits for them in vain`;
  }

  *#faultsOf({ reader, began_ms, heard_ms }: Connection, now_ms: number): Iterable<string> {
    if (reader.config === undefined && now_ms - began_ms > patience_ms.config)
      yield `what is connected has not told a configuration for ${seconds(now_ms - began_ms)}, with which Felix begins: see what connects to ${this.#settings.socket_path}`;
    else if (!reader.in_sync && now_ms - began_ms > patience_ms.in_sync)
      yield `Felix has not told everything within ${seconds(now_ms - began_ms)}: look in the log of calico-node for its datastore, or Typha`;
    if (reader.halfway && this.#untaken === undefined && now_ms - heard_ms > patience_ms.message)
      yield `the stream has stood still in the middle of a message for ${seconds(now_ms - heard_ms)}: see whether Felix is stopped`;
    const unusable = (reader.counts.get('unknown') ?? 0) + (reader.counts.get('unreadable') ?? 0);
    if (unusable > 0)
      yield `${unusable} messages of Felix were of no use; the last: ${reader.problems.at(-1)}`;
  }
}

/** Undefined: Felix wants no reports. */
function reportInterval(config: ReadonlyMap<string, string> | undefined): number | undefined {
  const text = config?.get('ReportingIntervalSecs');
  if (text === undefined) return report_ms_default;
  const interval_ms = Number(text) * 1000;
  if (text.toLowerCase() === 'none' || interval_ms === 0) return undefined;
  if (!(interval_ms > 0)) return report_ms_default;
  return Math.min(Math.max(interval_ms, report_ms.min), report_ms.max);
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}
