import {
  type Asked,
  AskedCall,
  type Call,
  Collection,
  nobody,
  PromisedCall,
  type Route,
  settlers,
  takeSettlers,
} from './call.js';
import type { Asker, Client, ConnectOptions, EachOptions, RequestOptions } from './client.js';
import {
  type BinapiError,
  DeadlineError,
  DisconnectedError,
  MalformedError,
  OverflowError,
  RetvalError,
} from './errors.js';
import { Events } from './events.js';
import { control_ping, memclnt_keepalive, sockclnt_delete } from './generated/memclnt.js';
import type { Intake } from './intake.js';
import {
  type Bytes,
  type Dump,
  header_size,
  type Message,
  type OneWay,
  type Request,
  type Stream,
} from './message.js';
import type { CompatibilityReport, MessageTable } from './message-table.js';
import type { Outbox } from './outbox.js';
import { Queue } from './queue.js';
import { retval_eagain, retval_invalid_value } from './retval.js';
import { Routes } from './routes.js';
import { type ClientStats, countLatency } from './stats.js';
import type { Timers } from './timers.js';
import type { Transport } from './transport.js';
import { Window } from './window.js';

/** How long VPP has to close a connection that it was asked to close. It takes less than a millisecond unless it hangs. */
const linger_ms = 1000;

/** The options of `connect` with the defaults filled in. */
export type Settings = Required<Omit<ConnectOptions, 'log'>> & Pick<ConnectOptions, 'log'>;

type AskOptions = RequestOptions & { readonly each?: (details: never) => void };

/** What the handshake found out. */
export interface Greeting {
  /** As it stands in the header of every request. */
  readonly client_index: number;
  readonly table: MessageTable;
}

/**
 * The connection behind the handshake, and the path that every message takes: queue, window, outbox; intake, window, caller. No
 * request has a timer or a map entry of its own.
 */
export class Session implements Client {
  readonly closed: Promise<BinapiError>;
  readonly #transport: Transport;
  readonly #intake: Intake;
  readonly #outbox: Outbox;
  readonly #timers: Timers;
  readonly #table: MessageTable;
  readonly #client_index: number;
  readonly #queue_max: number;
  readonly #deadline_ms: number;
  readonly #message_bytes_max: number;

  readonly #window: Window;
  /** So many slots have to be free before answers make what waits move up: one write for all of them. */
  readonly #refill: number;
  readonly #queue = new Queue();
  /** When the deadlines are looked at next: the earliest of all that run, or earlier. */
  #judge_at_ms = Number.POSITIVE_INFINITY;
  #judge_timer: { cancel(): void } | undefined;

  readonly #routes: Routes;
  readonly #events: Events;
  #late = 0;
  #linger_timer: { cancel(): void } | undefined;
  /** When the piece that is being read began. */
  #now_ms: number;
  #heard_ms: number;
  #close_reason: BinapiError | undefined;
  #resolve_closed: (reason: BinapiError) => void = () => {};

  constructor(settings: Settings, intake: Intake, outbox: Outbox, greeting: Greeting) {
    this.#transport = settings.transport;
    this.#intake = intake;
    this.#outbox = outbox;
    this.#timers = settings.timers;
    this.#table = greeting.table;
    this.#client_index = greeting.client_index;
    this.#queue_max = settings.queue_max;
    this.#deadline_ms = settings.deadline_ms;
    this.#message_bytes_max = settings.message_bytes_max;
    this.#routes = new Routes(greeting.table);
    this.#window = new Window(settings.window);
    this.#refill = Math.ceil(settings.window / 4);
    this.#events = new Events(settings.log);
    this.#now_ms = settings.timers.now_ms();
    this.#heard_ms = this.#now_ms;
    this.closed = new Promise((resolve) => {
      this.#resolve_closed = resolve;
    });
  }

  get last_answer_ms(): number {
    return this.#heard_ms;
  }

  get bytes_read(): number {
    return this.#intake.bytes_read;
  }

  request<In, Reply>(message: Request<In, Reply>, fields: In, options?: RequestOptions): Promise<Reply> {
    return this.#promise(message, fields, options) as Promise<Reply>;
  }

  ask<In, Reply>(
    message: Request<In, Reply>,
    fields: In,
    asker: Asker<NoInfer<Reply>>,
    options?: RequestOptions,
  ): void {
    const route = this.#route(message);
    const deadline_ms = options?.deadline_ms ?? this.#deadline_ms;
    const now_ms = this.#timers.now_ms();
    const asked_ms = Math.ceil(now_ms);
    this.#begin(new AskedCall(route, fields, deadline_ms, asked_ms, asker as Asker<unknown>), now_ms);
  }

  dump<In, Details>(message: Dump<In, Details>, fields: In, options: EachOptions<Details>): Promise<number>;
  dump<In, Details>(message: Dump<In, Details>, fields: In, options?: RequestOptions): Promise<Details[]>;
  dump<In, Details>(message: Dump<In, Details>, fields: In, options?: RequestOptions): Promise<unknown> {
    return this.#promise(message, fields, options);
  }

  stream<In, Details, Reply>(
    message: Stream<In, Details, Reply>,
    fields: In,
    options: EachOptions<Details>,
  ): Promise<{ count: number; reply: Reply }>;
  stream<In, Details, Reply>(
    message: Stream<In, Details, Reply>,
    fields: In,
    options?: RequestOptions,
  ): Promise<{ details: Details[]; reply: Reply }>;
  stream<In, Details, Reply>(
    message: Stream<In, Details, Reply>,
    fields: In,
    options?: RequestOptions,
  ): Promise<unknown> {
    return this.#promise(message, fields, options);
  }

  send<In>(message: OneWay<In>, fields: In): void {
    const route = this.#route(message);
    // Not before what was asked for earlier.
    if (this.#queue.length === 0 && !this.#outbox.full) {
      this.#encode(route.message, route.id, 0, fields);
      route.stats.sent += 1;
    } else {
      this.#wait(new AskedCall(route, fields, Number.POSITIVE_INFINITY, 0, nobody));
    }
  }

  on<Event>(event: Message<Event>, handler: (event: Event) => void): () => void {
    return this.#events.on(this.#table.id(event), event, handler);
  }

  compatible(messages: Iterable<Message<unknown, never>>): CompatibilityReport {
    return this.#table.compare(messages);
  }

  close(): void {
    this.leave(new DisconnectedError('closed by this client'));
  }

  stats(): ClientStats {
    const now_ms = this.#timers.now_ms();
    const in_flight = Array.from(this.#window.calls(), (call) => ({
      message: call.route.message.name,
      age_ms: now_ms - this.#window.sentMs(call),
      given_up: call.given_up,
    }));
    return {
      in_flight: in_flight.sort((a, b) => b.age_ms - a.age_ms),
      waiting: this.#queue.length,
      messages: this.#routes.stats,
      bytes_read: this.bytes_read,
      bytes_written: this.#outbox.bytes_written,
      late: this.#late,
      ...this.#events.counts,
    };
  }

  // Out: ask, perhaps wait for the window, transmit.

  #promise(message: Asked, fields: unknown, options: AskOptions | undefined): Promise<unknown> {
    const promise = new Promise(takeSettlers);
    const { resolve, reject } = settlers;
    try {
      const route = this.#route(message);
      const deadline_ms = options?.deadline_ms ?? this.#deadline_ms;
      const collection =
        route.details === undefined ? undefined : new Collection(options?.each as Collection['each']);
      const now_ms = this.#timers.now_ms();
      const asked_ms = Math.ceil(now_ms);
      const call = new PromisedCall(route, fields, deadline_ms, asked_ms, collection, resolve, reject);
      this.#begin(call, now_ms);
    } catch (error) {
      reject(error);
    }
    return promise;
  }

  /** Throws what says that it cannot be sent. */
  #begin(call: Call, now_ms: number): void {
    if (this.#queue.length === 0 && this.#window.free > 0 && !this.#outbox.full) this.#transmit(call, now_ms);
    else this.#wait(call);
    this.#judgeBy(now_ms + call.deadline_ms, now_ms);
  }

  #wait(call: Call): void {
    if (this.#queue.length >= this.#queue_max)
      throw new OverflowError(call.route.message.name, this.#queue_max);
    this.#queue.push(call);
    // Nothing more can join what is encoded: VPP may begin while the caller goes on asking.
    if (this.#queue.length === 1) this.#outbox.flush();
  }

  #route(message: Asked): Route {
    if (this.#close_reason !== undefined) throw this.#disconnected(this.#close_reason, message.name, false);
    return this.#routes.of(message);
  }

  /** Throws MalformedError, and takes no slot, where the fields cannot be encoded. */
  #transmit(call: Call, now_ms: number): void {
    const { route } = call;
    if (route.kind === 'one_way') {
      this.#encode(route.message, route.id, 0, call.fields);
    } else {
      this.#window.admit(call);
      this.#encodeCall(call);
      this.#window.send(call, now_ms);
    }
    route.stats.sent += 1;
  }

  #encodeCall({ route, context, fields }: Call): void {
    this.#encode(route.message, route.id, context, fields);
    // The ping of a dump has the dump's context: one slot waits for the details of the one and the reply of the other.
    if (route.kind === 'dump') this.#encode(control_ping, this.#table.id(control_ping), context, {});
  }

  #encode(message: Message<unknown>, id: number, context: number, fields: unknown): void {
    const header_bytes = header_size[message.header];
    const message_bytes = header_bytes + message.size(fields);
    if (message_bytes > this.#message_bytes_max) {
      throw new MalformedError(
        `${message.name}: ${message_bytes} bytes, more than the ${this.#message_bytes_max} of a message`,
      );
    }
    const at = this.#outbox.reserve(message_bytes);
    const to = this.#outbox.bytes;
    to.view.setUint16(at, id);
    if (message.header === 'request') {
      to.view.setUint32(at + 2, this.#client_index);
      to.view.setUint32(at + 6, context);
    } else if (message.header === 'reply') {
      to.view.setUint32(at + 2, context);
    } else if (message.header === 'event') {
      to.view.setUint32(at + 2, this.#client_index);
    }
    this.#outbox.commit(at, message.encode(to, at + header_bytes, fields));
  }

  #pump(): void {
    for (let call = this.#queue.first; call !== undefined; call = this.#queue.first) {
      const needs_slot = call.route.kind !== 'one_way';
      if (this.#outbox.full || (needs_slot && this.#window.free === 0)) return;
      this.#queue.shift();
      try {
        this.#transmit(call, this.#now_ms);
        this.#judgeBy(this.#now_ms + call.deadline_ms, this.#now_ms);
      } catch (error) {
        call.refuse(error);
      }
    }
  }

  // In: the handshake's frame reader and the intake call these.

  /** A piece of what has come is about to be read. */
  pieceBegins(now_ms: number): void {
    this.#now_ms = now_ms;
  }

  /** One message. Returns false when there is nothing more to read; throws MalformedError. */
  receive(from: Bytes, at: number, end: number): boolean {
    const id = from.view.getUint16(at);
    if (this.#close_reason !== undefined) return this.#linger(id);
    const header_bytes = this.#routes.answer_header[id]!;
    if (header_bytes === 0) {
      this.#unasked(id, from, at, end);
      return true;
    }
    if (end - at < header_bytes) throw this.#cut(id, end - at);
    this.#heard_ms = this.#now_ms;
    // The context is the last field of the header of all that can answer.
    const context = from.view.getUint32(at + header_bytes - 4);
    const call = this.#window.answered(context);
    if (call === undefined) {
      if (!this.#window.hasForsaken(context)) {
        throw new MalformedError(`${this.#table.name(id)} answers context ${context}, which no request has`);
      }
      this.#late += 1;
      return true;
    }
    const { route } = call;
    if (id === route.reply_id) {
      this.#answered(call, from, at + header_bytes, end);
    } else if (id === route.details_id) {
      if (!call.given_up) this.#collect(call, route.details!.decode(from, at + header_bytes, end));
    } else {
      throw new MalformedError(
        `${this.#table.name(id)} is no answer to ${route.message.name} (context ${context})`,
      );
    }
    return true;
  }

  pieceEnds(): void {
    if (this.#close_reason !== undefined) return;
    if (this.#intake.incomplete) this.#heard_ms = this.#now_ms;
    if (this.#window.overtaken) this.#judge();
    // Not a write for every few answers: VPP has enough to do meanwhile.
    if (this.#window.free >= Math.min(this.#refill, this.#queue.length)) this.#pump();
  }

  /** The outbox is empty again. */
  drained(): void {
    if (this.#close_reason !== undefined) return;
    this.#now_ms = this.#timers.now_ms();
    this.#pump();
  }

  /** The transport is closed. */
  lost(reason: BinapiError): void {
    this.#linger_timer?.cancel();
    this.#outbox.close();
    this.#settle(reason);
  }

  /**
   * The connection has to go. VPP is asked to close it: one that a client just closes may stay open in VPP for ever, which takes VPP's
   * whole main loop when there are 16 of them (read() of 0 bytes is a failure to it only when errno happens not to be EAGAIN).
   */
  leave(reason: BinapiError): void {
    if (this.#close_reason !== undefined) return;
    this.#settle(reason);
    if (!this.#table.compare([sockclnt_delete]).compatible) return this.#transport.close();
    this.#linger_timer = this.#timers.after(linger_ms, () => this.#transport.close());
    this.#outbox.discard();
    this.#encode(sockclnt_delete, this.#table.id(sockclnt_delete), 0, { index: this.#client_index });
    this.#outbox.flush();
  }

  /** Answers to what was given up are passed over, until VPP says that it closes the connection. */
  #linger(id: number): boolean {
    const leaving = id !== this.#table.id(sockclnt_delete.reply);
    if (!leaving) this.#transport.close();
    return leaving;
  }

  #settle(reason: BinapiError): void {
    if (this.#close_reason !== undefined) return;
    this.#close_reason = reason;
    this.#judge_timer?.cancel();
    // One error per message name: thousands of requests may be pending.
    const errors = new Map<string, BinapiError>();
    const reject = (call: Call, sent: boolean) => {
      const { name } = call.route.message;
      const error = errors.get(`${name} ${sent}`) ?? this.#disconnected(reason, name, sent);
      errors.set(`${name} ${sent}`, error);
      call.refuse(error);
    };
    for (const call of this.#window.calls()) {
      this.#window.release(call);
      if (!call.given_up) reject(call, true);
    }
    for (let call = this.#queue.shift(); call !== undefined; call = this.#queue.shift()) reject(call, false);
    this.#resolve_closed(reason);
  }

  #disconnected(reason: BinapiError, message_name: string, sent: boolean): DisconnectedError {
    return new DisconnectedError(reason.message, message_name, sent, { cause: reason });
  }

  #collect(call: Call, details: unknown): void {
    const collection = call.collection!;
    if (collection.each === undefined) {
      collection.details.push(details);
      return;
    }
    collection.count += 1;
    try {
      collection.each(details);
    } catch (error) {
      call.given_up = true;
      call.refuse(error);
    }
  }

  #answered(call: Call, from: Bytes, body: number, end: number): void {
    const { route, collection } = call;
    if (call.given_up) {
      this.#window.release(call);
      this.#late += 1;
      return;
    }
    const reply = route.reply!.decode(from, body, end) as { retval?: number; cursor?: number };
    const retval = reply.retval ?? 0;
    if (route.kind === 'stream' && retval === retval_eagain) return this.#goOn(call, reply.cursor ?? 0);
    const latency_ms = this.#now_ms - this.#window.sentMs(call);
    this.#window.release(call);
    route.stats.answered += 1;
    countLatency(route.stats, latency_ms);
    // What lay behind the cursor was deleted meanwhile: VPP calls the cursor invalid, and there is no more.
    const ended = collection?.continued === true && retval === retval_invalid_value;
    if (retval !== 0 && !ended) {
      route.stats.refused += 1;
      call.refuse(new RetvalError(route.message.name, retval, reply));
    } else if (collection === undefined) {
      call.answer(reply);
    } else {
      const { each, details, count } = collection;
      if (route.kind === 'dump') call.answer(each === undefined ? details : count);
      else call.answer(each === undefined ? { details, reply } : { count, reply });
    }
  }

  /** Asks for what VPP has not told yet of a stream that it has interrupted. */
  #goOn(call: Call, cursor: number): void {
    const { message } = call.route;
    const fields = call.fields as { readonly cursor: number };
    if (cursor <= fields.cursor) {
      this.#window.release(call);
      call.refuse(new MalformedError(`${message.name}: VPP does not get beyond cursor ${fields.cursor}`));
      return;
    }
    call.collection!.continued = true;
    call.fields = { ...fields, cursor };
    this.#encodeCall(call);
    this.#window.send(call, this.#now_ms);
  }

  /** An event, a keepalive, or an id that VPP's table does not have. */
  #unasked(id: number, from: Bytes, at: number, end: number): void {
    const name = this.#table.name(id);
    if (name === undefined) throw new MalformedError(`message id ${id} is not in VPP's message table`);
    if (name !== memclnt_keepalive.name) return this.#events.receive(id, from, at, end);
    if (end - at < header_size.request) throw this.#cut(id, end - at);
    const { reply } = memclnt_keepalive;
    this.#encode(reply, this.#table.id(reply), from.view.getUint32(at + 6), { retval: 0 });
  }

  #cut(id: number, bytes: number): MalformedError {
    return new MalformedError(`${this.#table.name(id)} of ${bytes} bytes is shorter than its header`);
  }

  // Deadlines: one timer for all, set to the earliest.

  #judgeBy(at_ms: number, now_ms: number): void {
    if (at_ms >= this.#judge_at_ms) return;
    this.#judge_at_ms = at_ms;
    this.#judge_timer?.cancel();
    this.#judge_timer = this.#timers.after(Math.max(0, Math.ceil(at_ms - now_ms)), this.#due);
  }

  readonly #due = (): void => {
    this.#judge_at_ms = Number.POSITIVE_INFINITY;
    this.#intake.afterRead(() => {
      if (this.#close_reason !== undefined) return;
      this.#now_ms = this.#timers.now_ms();
      this.#judge();
      this.#pump();
    });
  };

  /** Gives up, by the rules of RequestOptions, what is not answered any more. */
  #judge(): void {
    const expired: (() => void)[] = [];
    const expire = (sent: boolean) => (call: Call) => {
      call.given_up = true;
      if (call.collection !== undefined) call.collection.details.length = 0;
      call.route.stats.expired += 1;
      expired.push(() => call.refuse(new DeadlineError(call.route.message.name, call.deadline_ms, sent)));
    };
    const next_ms = Math.min(
      this.#window.judge(this.#now_ms, this.#heard_ms, expire(true)),
      this.#queue.judge(this.#now_ms, this.#heard_ms, expire(false)),
    );
    this.#judgeBy(next_ms, this.#now_ms);
    // Who is told may ask for more at once.
    for (const tell of expired) tell();
  }
}
