import { type Asked, Call, type Route, settlers, takeSettlers } from './call.js';
import type { Client, ConnectOptions, Log, RequestOptions } from './client.js';
import {
  type BinapiError,
  DeadlineError,
  DisconnectedError,
  MalformedError,
  OverflowError,
  RetvalError,
} from './errors.js';
import { Fifo } from './fifo.js';
import type { FrameReader } from './frames.js';
import { control_ping, memclnt_keepalive, sockclnt_delete } from './generated/memclnt.js';
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
import { retval_eagain, retval_invalid_value } from './retval.js';
import { type ClientStats, countLatency, type MessageStats, messageStats } from './stats.js';
import type { Timers } from './timers.js';
import type { Transport } from './transport.js';

/** The lower half of a context is the index of its slot. */
const slot_bits = 16;
export const window_max = 1 << slot_bits;
const slot_mask = window_max - 1;
/** How long VPP has to close a connection that it was asked to close. It takes less than a millisecond unless it hangs. */
const linger_ms = 1000;

interface EventRoute {
  readonly message: Message<unknown>;
  readonly handlers: Set<(event: unknown) => void>;
}

/** The options of `connect` with the defaults filled in. */
export type Settings = Required<Omit<ConnectOptions, 'log'>> & Pick<ConnectOptions, 'log'>;

/** What the handshake found out. */
export interface Greeting {
  /** As it stands in the header of every request. */
  readonly client_index: number;
  readonly table: MessageTable;
}

/**
 * The connection behind the handshake, and the path that every message takes. A request is encoded into the outbox and stands in a
 * slot of the window; the index of the slot is part of the context that VPP returns with the answer, so that an answer is matched
 * by one array access. No request has a timer or a map entry of its own.
 */
export class Session implements Client {
  readonly closed: Promise<BinapiError>;
  readonly #transport: Transport;
  readonly #reader: FrameReader;
  readonly #outbox: Outbox;
  readonly #timers: Timers;
  readonly #log: Log | undefined;
  readonly #table: MessageTable;
  readonly #client_index: number;
  readonly #queue_max: number;
  readonly #deadline_ms: number;
  readonly #message_bytes_max: number;

  readonly #slots: (Call | undefined)[];
  readonly #free: number[];
  /** By slot, when its request was encoded: an array of numbers, because a fraction in an object is an allocation of its own. */
  readonly #sent_ms: Float64Array;
  readonly #waiting = new Fifo<Call>();
  #sequence = 0;
  /** When the deadlines are looked at next: the earliest of all pending ones, or earlier. */
  #sweep_at_ms = Number.POSITIVE_INFINITY;
  #sweep_timer: { cancel(): void } | undefined;

  readonly #routes = new Map<object, Route>();
  /** Header size of the replies and details that routes expect, by message id; 0 for every other id. */
  readonly #answer_header: Uint8Array;
  readonly #events = new Map<number, EventRoute>();
  readonly #messages = new Map<string, MessageStats>();
  #linger_timer: { cancel(): void } | undefined;
  #now_ms = 0;
  #close_reason: BinapiError | undefined;
  #resolve_closed: (reason: BinapiError) => void = () => {};
  readonly #counts = { late: 0, events: 0, events_ignored: 0, handler_errors: 0 };

  constructor(settings: Settings, reader: FrameReader, outbox: Outbox, greeting: Greeting) {
    const { window } = settings;
    this.#transport = settings.transport;
    this.#reader = reader;
    this.#outbox = outbox;
    this.#timers = settings.timers;
    this.#log = settings.log;
    this.#table = greeting.table;
    this.#client_index = greeting.client_index;
    this.#queue_max = settings.queue_max;
    this.#deadline_ms = settings.deadline_ms;
    this.#message_bytes_max = settings.message_bytes_max;
    this.#slots = new Array<Call | undefined>(window).fill(undefined);
    this.#free = Array.from({ length: window }, (_, slot) => window - 1 - slot);
    this.#sent_ms = new Float64Array(window);
    this.#answer_header = new Uint8Array(1 << 16);
    this.closed = new Promise((resolve) => {
      this.#resolve_closed = resolve;
    });
  }

  request<In, Reply>(message: Request<In, Reply>, fields: In, options?: RequestOptions): Promise<Reply> {
    return this.#ask(message, fields, options) as Promise<Reply>;
  }

  dump<In, Details>(message: Dump<In, Details>, fields: In, options?: RequestOptions): Promise<Details[]> {
    return this.#ask(message, fields, options) as Promise<Details[]>;
  }

  stream<In, Details, Reply>(message: Stream<In, Details, Reply>, fields: In, options?: RequestOptions) {
    return this.#ask(message, fields, options) as Promise<{ details: Details[]; reply: Reply }>;
  }

  send<In>(message: OneWay<In>, fields: In): void {
    const route = this.#route(message);
    // Not before what was asked for earlier.
    if (this.#waiting.length === 0 && !this.#outbox.full) {
      this.#encode(route.message, route.id, 0, fields);
      route.stats.sent += 1;
    } else {
      const ignore = () => {};
      this.#wait(new Call(route, fields, 0, Number.POSITIVE_INFINITY, ignore, ignore));
    }
  }

  on<Event>(event: Message<Event>, handler: (event: Event) => void): () => void {
    const id = this.#table.id(event);
    const route: EventRoute = this.#events.get(id) ?? { message: event, handlers: new Set() };
    // A function of its own, so that one handler given twice is called twice and unsubscribed once.
    const entry = (value: unknown) => handler(value as Event);
    route.handlers.add(entry);
    this.#events.set(id, route);
    return () => {
      route.handlers.delete(entry);
    };
  }

  compatible(messages: Iterable<Message<unknown, never>>): CompatibilityReport {
    return this.#table.compare(messages);
  }

  close(): void {
    this.leave(new DisconnectedError('closed by this client'));
  }

  stats(): ClientStats {
    const now_ms = this.#timers.now_ms();
    const in_flight = this.#slots.flatMap((call, slot) =>
      call === undefined
        ? []
        : [
            {
              message: call.route.message.name,
              age_ms: now_ms - this.#sent_ms[slot]!,
              expired: call.expired,
            },
          ],
    );
    return {
      in_flight: in_flight.sort((a, b) => b.age_ms - a.age_ms),
      waiting: this.#waiting.length,
      messages: [...this.#messages.values()],
      bytes_read: this.#reader.bytes_read,
      bytes_written: this.#outbox.bytes_written,
      ...this.#counts,
    };
  }

  // Out: ask, perhaps wait for the window, transmit.

  #ask(message: Asked, fields: unknown, options: RequestOptions | undefined): Promise<unknown> {
    const promise = new Promise(takeSettlers);
    const { resolve, reject } = settlers;
    try {
      const route = this.#route(message);
      const deadline_ms = options?.deadline_ms ?? this.#deadline_ms;
      const now_ms = this.#timers.now_ms();
      const call = new Call(route, fields, deadline_ms, Math.ceil(now_ms + deadline_ms), resolve, reject);
      if (this.#waiting.length === 0 && this.#open()) this.#transmit(call, now_ms);
      else this.#wait(call);
      this.#sweepBy(call.deadline_at_ms, now_ms);
    } catch (error) {
      reject(error);
    }
    return promise;
  }

  #open(): boolean {
    return this.#free.length > 0 && !this.#outbox.full;
  }

  #wait(call: Call): void {
    if (this.#waiting.length >= this.#queue_max)
      throw new OverflowError(call.route.message.name, this.#queue_max);
    this.#waiting.push(call);
    // Nothing more can join what is encoded: VPP may begin while the caller goes on asking.
    if (this.#waiting.length === 1) this.#outbox.flush();
  }

  #route(message: Asked): Route {
    if (this.#close_reason !== undefined) throw this.#disconnected(this.#close_reason, message.name, false);
    return this.#routes.get(message) ?? this.#newRoute(message);
  }

  #newRoute(message: Asked): Route {
    const id = this.#table.id(message);
    const reply =
      message.kind === 'one_way' ? undefined : message.kind === 'dump' ? control_ping.reply : message.reply;
    const details = message.kind === 'dump' || message.kind === 'stream' ? message.details : undefined;
    if (message.kind === 'dump') this.#table.id(control_ping);
    const answer = (one: Message<unknown> | undefined): number => {
      if (one === undefined) return -1;
      const answer_id = this.#table.id(one);
      this.#answer_header[answer_id] = header_size[one.header];
      return answer_id;
    };
    const stats = this.#messages.get(message.name) ?? messageStats(message.name);
    const route: Route = {
      message: message as Message<unknown>,
      kind: message.kind,
      id,
      reply,
      reply_id: answer(reply),
      details,
      details_id: answer(details),
      stats,
    };
    this.#messages.set(message.name, stats);
    this.#routes.set(message, route);
    return route;
  }

  /** Throws MalformedError, and takes no slot, where the fields cannot be encoded. */
  #transmit(call: Call, now_ms: number): void {
    const { route } = call;
    if (route.kind === 'one_way') {
      this.#encode(route.message, route.id, 0, call.fields);
    } else {
      const slot = this.#free.at(-1)!;
      this.#sequence = (this.#sequence + 1) & slot_mask;
      call.context = ((this.#sequence << slot_bits) | slot) >>> 0;
      this.#encodeCall(call, call.fields);
      this.#free.pop();
      this.#slots[slot] = call;
      this.#sent_ms[slot] = now_ms;
    }
    route.stats.sent += 1;
  }

  #encodeCall({ route, context }: Call, fields: unknown): void {
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
    for (let call = this.#waiting.first; call !== undefined; call = this.#waiting.first) {
      const needs_slot = call.route.kind !== 'one_way';
      if (this.#outbox.full || (needs_slot && this.#free.length === 0)) return;
      this.#waiting.shift();
      try {
        this.#transmit(call, this.#now_ms);
      } catch (error) {
        call.reject(error);
      }
    }
  }

  // In: the handshake's frame reader and the transport call these.

  /** A chunk is about to be read. */
  chunkBegins(): void {
    this.#now_ms = this.#timers.now_ms();
  }

  /** One message. Returns false when there is nothing more to read; throws MalformedError. */
  receive(from: Bytes, at: number, end: number): boolean {
    const id = from.view.getUint16(at);
    if (this.#close_reason !== undefined) return this.#linger(id);
    const header_bytes = this.#answer_header[id]!;
    if (header_bytes === 0) {
      this.#unasked(id, from, at, end);
      return true;
    }
    if (end - at < header_bytes) throw this.#cut(id, end - at);
    // The context is the last field of the header of all that can answer.
    const context = from.view.getUint32(at + header_bytes - 4);
    const call = this.#slots[context & slot_mask];
    if (call === undefined || call.context !== context) {
      throw new MalformedError(`${this.#table.name(id)} answers context ${context}, which no request has`);
    }
    const { route } = call;
    if (id === route.reply_id) {
      this.#answered(call, from, at + header_bytes, end);
    } else if (id === route.details_id) {
      if (!call.expired) call.details!.push(route.details!.decode(from, at + header_bytes, end));
    } else {
      throw new MalformedError(
        `${this.#table.name(id)} is no answer to ${route.message.name} (context ${context})`,
      );
    }
    return true;
  }

  chunkEnds(): void {
    if (this.#close_reason === undefined) this.#pump();
  }

  /** The outbox is empty again. */
  drained(): void {
    this.#now_ms = this.#timers.now_ms();
    this.chunkEnds();
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
    this.#sweep_timer?.cancel();
    // One error per message name: thousands of requests may be pending.
    const errors = new Map<string, BinapiError>();
    const reject = (call: Call, sent: boolean) => {
      const { name } = call.route.message;
      const error = errors.get(`${name} ${sent}`) ?? this.#disconnected(reason, name, sent);
      errors.set(`${name} ${sent}`, error);
      call.reject(error);
    };
    for (const call of this.#slots.splice(0)) if (call !== undefined && !call.expired) reject(call, true);
    for (let call = this.#waiting.shift(); call !== undefined; call = this.#waiting.shift())
      reject(call, false);
    this.#resolve_closed(reason);
  }

  #disconnected(reason: BinapiError, message_name: string, sent: boolean): BinapiError {
    if (reason instanceof MalformedError && sent) return reason;
    return new DisconnectedError(reason.message, message_name, sent, { cause: reason });
  }

  #answered(call: Call, from: Bytes, body: number, end: number): void {
    const { route } = call;
    const slot = call.context & slot_mask;
    if (call.expired) {
      this.#release(slot);
      this.#counts.late += 1;
      return;
    }
    const reply = route.reply!.decode(from, body, end) as { retval?: number; cursor?: unknown };
    const retval = reply.retval ?? 0;
    if (route.kind === 'stream' && retval === retval_eagain) {
      call.continued = true;
      this.#encodeCall(call, { ...(call.fields as object), cursor: reply.cursor });
      return;
    }
    this.#release(slot);
    route.stats.answered += 1;
    countLatency(route.stats, this.#now_ms - this.#sent_ms[slot]!);
    // What lay behind the cursor was deleted meanwhile: VPP calls the cursor invalid, and there is no more.
    const ended = route.kind === 'stream' && call.continued && retval === retval_invalid_value;
    if (retval !== 0 && !ended) {
      route.stats.refused += 1;
      call.reject(new RetvalError(route.message.name, retval, reply));
    } else if (route.kind === 'dump') {
      call.resolve(call.details);
    } else if (route.kind === 'stream') {
      call.resolve({ details: call.details, reply });
    } else {
      call.resolve(reply);
    }
  }

  #release(slot: number): void {
    this.#slots[slot] = undefined;
    this.#free.push(slot);
  }

  /** An event, a keepalive, or an id that VPP's table does not have. */
  #unasked(id: number, from: Bytes, at: number, end: number): void {
    const route = this.#events.get(id);
    const name = this.#table.name(id);
    if (name === undefined) throw new MalformedError(`message id ${id} is not in VPP's message table`);
    if (name === memclnt_keepalive.name) {
      if (end - at < header_size.request) throw this.#cut(id, end - at);
      const { reply } = memclnt_keepalive;
      this.#encode(reply, this.#table.id(reply), from.view.getUint32(at + 6), { retval: 0 });
      return;
    }
    if (route === undefined || route.handlers.size === 0) {
      this.#counts.events_ignored += 1;
      return;
    }
    const header_bytes = header_size[route.message.header];
    if (end - at < header_bytes) throw this.#cut(id, end - at);
    const event = route.message.decode(from, at + header_bytes, end);
    this.#counts.events += 1;
    for (const handler of route.handlers) {
      try {
        handler(event);
      } catch (error) {
        this.#counts.handler_errors += 1;
        this.#log?.error({ err: error, event: name }, `${name} handler failed`);
      }
    }
  }

  #cut(id: number, bytes: number): MalformedError {
    return new MalformedError(`${this.#table.name(id)} of ${bytes} bytes is shorter than its header`);
  }

  // Deadlines: one timer for all, set to the earliest.

  #sweepBy(at_ms: number, now_ms: number): void {
    if (at_ms >= this.#sweep_at_ms) return;
    this.#sweep_at_ms = at_ms;
    this.#sweep_timer?.cancel();
    this.#sweep_timer = this.#timers.after(Math.max(0, at_ms - now_ms), this.#sweep);
  }

  readonly #sweep = (): void => {
    const now_ms = this.#timers.now_ms();
    let next_ms = Number.POSITIVE_INFINITY;
    const expire = (call: Call, sent: boolean): boolean => {
      if (call.deadline_at_ms > now_ms) {
        next_ms = Math.min(next_ms, call.deadline_at_ms);
        return false;
      }
      call.expired = true;
      if (call.details !== undefined) call.details.length = 0;
      call.route.stats.expired += 1;
      call.reject(new DeadlineError(call.route.message.name, call.deadline_ms, sent));
      return true;
    };
    for (const call of this.#slots) if (call !== undefined && !call.expired) expire(call, true);
    this.#waiting.retain((call) => !expire(call, false));
    this.#sweep_at_ms = Number.POSITIVE_INFINITY;
    this.#sweepBy(next_ms, now_ms);
  };
}
