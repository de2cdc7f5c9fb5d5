import type { BinapiError } from './errors.js';
import type { Dump, Message, OneWay, Request, Stream } from './message.js';
import type { CompatibilityReport } from './message-table.js';
import type { ClientStats } from './stats.js';
import type { Timers } from './timers.js';
import type { Transport } from './transport.js';

/** The structured log of pino, as far as it is used. */
export interface Log {
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

export interface ConnectOptions {
  readonly transport: Transport;
  /** How VPP's `show api clients` calls this client; up to 63 bytes. */
  readonly name: string;
  readonly timers?: Timers;
  /**
   * Requests that VPP has not answered yet, 1 to 65,536. VPP queues what it has read without bound, so this is the bound.
   * Default 512: VPP works through that many in 3 ms or more, and a round trip takes 0.2 ms.
   */
  readonly window?: number;
  /** Requests that wait for the window. Default 65,536. */
  readonly queue_max?: number;
  /** For the handshake, and for every request that does not say otherwise. Default 10,000. */
  readonly deadline_ms?: number;
  /**
   * The largest message in either direction. Default 64 MiB: the message table has 170 kB and the API as JSON 4 MB, but the
   * text of a `cli_inband` that shows a hundred thousand routes has tens of megabytes.
   */
  readonly message_bytes_max?: number;
  readonly log?: Log;
}

/**
 * How long VPP has for an answer. The deadline counts from sending, and steady answers are life: a thousand requests to a busy VPP
 * that answers them one after the other succeed, however long the last one takes. Precisely, a request is given up when
 *
 * 1. VPP was silent for its deadline: since it was sent, no answer came on this connection, nor a part of one. Events and
 *    keepalives are no answers.
 * 2. VPP has passed it over: its deadline since it was sent is over, and one that was sent later has been answered. VPP answers
 *    a connection in order; it drops, without an answer, a message that is shorter than it says.
 * 3. It still waits for the window, and VPP was silent for its deadline since it was asked for. Otherwise no deadline runs while a request
 *    waits: `queue_max` bounds the queue.
 *
 * Each part of a stream that VPP interrupts counts by itself: VPP sends at least one of the details in each. Nothing is given up
 * before the socket was read once more: a stall of this process is no silence of VPP.
 */
export interface RequestOptions {
  /** Default: that of the connection. */
  readonly deadline_ms?: number;
}

export interface EachOptions<Details> extends RequestOptions {
  /**
   * Called for each of the details when it comes; none is kept. An exception rejects this dump or stream alone, at once and as it is,
   * and the handler is called no more.
   */
  readonly each: (details: Details) => void;
}

/** Is told what came of a request: one of both, once, and never before `ask` has returned. What it throws nobody catches. */
export interface Asker<Reply> {
  answered(reply: Reply): void;
  /** With what the promise of `request` would reject with. */
  refused(error: unknown): void;
}

/**
 * One connection to one life of VPP. VPP handles the messages of a connection in the order in which they were asked for, so a
 * request may rely on the one before it without waiting for its answer.
 *
 * What is asked for in one turn of the event loop is written at once. The fields of a request are read when it is sent, which may
 * be after the call has returned: they must not be changed before the answer. What VPP sends is read in pieces of a few
 * milliseconds, and others have their turn between them.
 *
 * Promises reject with RetvalError, DeadlineError, DisconnectedError, IncompatibleError, MalformedError (a field holds what the message
 * cannot; the connection lives) or OverflowError. Bytes from VPP that make no sense close the connection: what is pending then rejects with a
 * DisconnectedError, whose cause is the MalformedError that says why.
 */
export interface Client {
  /** Rejects with RetvalError when the reply's retval is not 0. */
  request<In, Reply>(message: Request<In, Reply>, fields: In, options?: RequestOptions): Promise<Reply>;
  /** `request` without a promise, for who asks by the thousand. Throws what says that it cannot be sent, where that is known at once. */
  ask<In, Reply>(
    message: Request<In, Reply>,
    fields: In,
    asker: Asker<NoInfer<Reply>>,
    options?: RequestOptions,
  ): void;
  /** All details, in VPP's order; with `each`, their number. A control_ping behind the dump tells their end. */
  dump<In, Details>(message: Dump<In, Details>, fields: In, options: EachOptions<Details>): Promise<number>;
  dump<In, Details>(message: Dump<In, Details>, fields: In, options?: RequestOptions): Promise<Details[]>;
  /**
   * All details, or with `each` their number, and the last reply. VPP interrupts a long `*_get` with VNET_API_ERROR_EAGAIN; it is continued
   * from the reply's cursor, and rejects with MalformedError where that does not go on. What VPP changes in between may be seen twice or not at all.
   */
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
  /** Throws what `request` would reject with. */
  send<In>(message: OneWay<In>, fields: In): void;
  /**
   * Calls `handler` for each such event from now on; VPP sends them only after the request that subscribes to them. Throws IncompatibleError.
   * An exception of a handler is logged and counted; the connection lives.
   */
  on<Event>(event: Message<Event>, handler: (event: Event) => void): () => void;
  /** Compares the messages, their replies, details and events with VPP's message table. */
  compatible(messages: Iterable<Message<unknown, never>>): CompatibilityReport;
  /** Resolves once, with the reason, when the connection is gone. Never rejects. */
  readonly closed: Promise<BinapiError>;
  /**
   * When the last answer came, or a part of one, by the clock of `timers`; before the first, when the connection was made. While this
   * moves VPP is alive, however long its queue: what a probe that waits in it may go by.
   */
  readonly last_answer_ms: number;
  /** All that VPP has said, as `stats()` has it, at no cost. */
  readonly bytes_read: number;
  /** Rejects what is pending. Idempotent. */
  close(): void;
  stats(): ClientStats;
}
