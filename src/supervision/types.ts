import type { Clock, Timer } from '../clock.js';
import type { Log } from '../log.js';

/**
 * An actor's address. It stays valid while the actor restarts, and reaches whatever actor lives at the path: also the
 * one that a restarted parent has put there again.
 */
export interface ActorRef<in M> {
  readonly path: string;
  /** Puts a message in the mailbox. False when the mailbox is full or nobody lives at the path; both are counted. */
  tell(message: M): boolean;
  /**
   * As `tell`, for news that must not be lost or late, such as VPP's death: it is never refused by a full mailbox, and is handled
   * before all messages that wait there, in the order of such news among themselves. Of each type only the latest waits, so
   * that a message has to say all that the one before it of its type said, and can carry no question. What is told of
   * one thing (it is up, it is down) is all told urgently, or it would be overtaken by its own end.
   */
  tellUrgent(message: M): boolean;
}

/**
 * The address of one incarnation: once that begins to end, a question to it is answered with ActorDown, also one that waits in the mailbox. For
 * subscriptions: what is told of an earlier one must not look to the next incarnation like an answer to its own.
 */
export interface LifeRef<in M> extends ActorRef<M> {
  readonly incarnation: number;
}

/** The asker's end of a question, carried in the message by convention as `reply`. Settling it twice does nothing. */
export interface Reply<in R> {
  resolve(value: R): void;
  reject(error: Error): void;
  /** `clock.now_ms()` at which the asker gives up. */
  readonly deadline_ms: number;
  /** True when nobody waits for the answer any more. */
  expired(): boolean;
}

/** Why an incarnation of an actor ended. */
export type StopReason =
  /** It is stopped for good: by its parent, with its parent, or with the whole system. */
  | { readonly kind: 'shutdown' }
  /** It asked for it with `ctx.exit()`. */
  | { readonly kind: 'exit' }
  /** It threw, rejected, did not start or did not settle in time. */
  | { readonly kind: 'crash'; readonly error: Error }
  /** Another child crashed, and the strategy restarts this one with it. */
  | { readonly kind: 'sibling'; readonly path: string }
  /** Its parent ends and is started again, and is likely to start this one anew. */
  | { readonly kind: 'parent'; readonly path: string }
  /** An operator asked for a restart. */
  | { readonly kind: 'restart' };

/** What a watcher is told when an actor has gone down. */
export interface Down {
  readonly path: string;
  readonly incarnation: number;
  readonly reason: StopReason;
  /** True when its supervisor starts it again; false when it is gone for good. */
  readonly restarting: boolean;
}

/** One incarnation of an actor: state and behaviour. Messages are objects with a string `type`. */
export interface Actor<in M> {
  /**
   * Handles one message; the next one comes when the promise has settled. To throw is to crash: the message is dropped
   * and the supervisor restarts the actor. Bad input is no reason to throw.
   */
  receive(message: M): void | Promise<void>;
  /**
   * Frees what this incarnation holds. Called once for each incarnation that started, whatever ended it, after its
   * children have stopped. After a crash by time-out the stuck handler may still be there: `ctx.signal` is aborted.
   */
  stop?(reason: StopReason): void | Promise<void>;
  /** The actor's own view of itself, for people. Runs between two messages; what it returns must be free of secrets. */
  describe?(): unknown;
  /** Three to six numbers for the tree. Called at any time, also while a message is being handled: read fields only. */
  gauges?(): Readonly<Record<string, number | string | boolean>>;
}

/** permanent: always started again; transient: after a crash only; temporary: never. */
export type Restart = 'permanent' | 'transient' | 'temporary';

/** Whom a crash takes along: nobody, the children started later, or all of them. */
export type Strategy = 'one_for_one' | 'rest_for_one' | 'one_for_all';

/** More than `restarts_max` restarts within `window_ms` are a failure of the supervisor itself. */
export interface Intensity {
  readonly restarts_max: number;
  readonly window_ms: number;
}

/** Delay before a restart: `first_ms`, doubled for each restart in the window up to `max_ms`, less a random share. */
export interface Backoff {
  readonly first_ms: number;
  readonly max_ms: number;
  /** Share of the delay, 0 to 1, that chance may take away, so that many do not return at the same time. */
  readonly jitter: number;
}

/** How an actor supervises its children. */
export interface Supervision {
  readonly strategy: Strategy;
  readonly intensity: Intensity;
  readonly backoff: Backoff;
}

/** A child as data: what its supervisor needs to start, bound, watch, restart and stop it. */
export interface ChildSpec<M> {
  /** Unique among its siblings; any text without control characters. */
  readonly name: string;
  /** Makes one incarnation. May be slow (see `start_ms`); it spawns its own children in the order of dependence. */
  start(ctx: ActorContext<M>): Actor<M> | Promise<Actor<M>>;
  readonly restart: Restart;
  /** Time to finish the message in hand and `stop()`; then the incarnation is abandoned. Its children's time is their own. */
  readonly shutdown_ms: number;
  /** Time for `start`, 30 s unless given. */
  readonly start_ms?: number;
  /** Messages that may wait; more are refused. */
  readonly mailbox_max: number;
  /** A handler that has not settled after this time is a crash. */
  readonly handler_ms_max: number;
  /** How it supervises its own children; `defaultSupervision` unless given. */
  readonly supervision?: Supervision;
}

/** What an incarnation of an actor can do. When that incarnation is over, its context does nothing any more. */
export interface ActorContext<M> {
  readonly self: ActorRef<M>;
  readonly this_life: LifeRef<M>;
  /**
   * Tells itself the end of what this incarnation has begun beside its mailbox. As a timer's message it is never refused, since its loss would
   * leave the actor waiting for ever: how much is begun is bounded by the actor.
   */
  tellSelf(message: M): void;
  readonly path: string;
  /** 1 for the first life at this path, one more after each restart. */
  readonly incarnation: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Aborted when this incarnation ends: at once on a crash, after the last message on an orderly stop. */
  readonly signal: AbortSignal;
  /** Starts a child; rejects when its first start fails (the child is then gone), and with NameTaken. */
  spawn<C>(spec: ChildSpec<C>): Promise<ActorRef<C>>;
  /** Stops a child for good; resolves when it has gone, also when there was none. */
  stopChild(name: string): Promise<void>;
  /** A living child by name; the caller vouches for the type of its messages. */
  child<C>(name: string): ActorRef<C> | undefined;
  /**
   * Asks with a deadline of `within_ms` from now. Rejects at once with MailboxFull, or with ActorDown when the target
   * crashes or stops, later with AskDeadline or what the target answered. A question whose asker has given up before
   * its turn came is not handled.
   */
  ask<Q, R>(to: ActorRef<Q>, question: (reply: Reply<R>) => Q, within_ms: number): Promise<R>;
  /** Tells `on(down)` to this actor each time the actor at `ref` goes down, at once when nobody lives there. */
  watch(ref: ActorRef<never>, on: (down: Down) => M): void;
  /** Tells a message to this actor later; cancelled with this incarnation. */
  after(ms: number, message: M): Timer;
  /** Ends this actor normally when the message in hand is done: a transient or temporary one is gone for good. */
  exit(): void;
  /** Crashes this incarnation from outside a handler: for what fails in a stream or a callback. */
  crash(error: Error): void;
  /** Notes something a person should find in the list of events. */
  event(kind: string, text: string, fields?: Readonly<Record<string, unknown>>): void;
  /** Shows in the tree what this actor is waiting for; undefined when it goes on. */
  blockedOn(what: string | undefined): void;
}

/** A notable event of the tree; the last 1000 are kept. */
export interface Event {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly path: string;
  readonly incarnation: number;
  readonly kind: string;
  readonly text: string;
  readonly fields?: Readonly<Record<string, unknown>>;
}

export type ActorState =
  | 'starting'
  | 'running'
  /** Running, and waiting for what `ctx.blockedOn` named. */
  | 'blocked'
  /** Crashed, waiting for its next start. */
  | 'backoff'
  /** Stopping, or stopped, in order to be started again. */
  | 'restarting'
  /** Stopping for good: finishing the message in hand, then its children, then itself. */
  | 'draining'
  | 'stopped'
  | 'failed';

/** An error of an actor, with how often the same one has been seen in a row. */
export interface ErrorNote {
  readonly message: string;
  readonly code: string;
  readonly count: number;
  readonly firstAt: number;
  readonly lastAt: number;
}

/** One actor as the debug endpoint shows it. Times `...At` and `since` are milliseconds since 1970. */
export interface TreeNode {
  readonly path: string;
  readonly name: string;
  /** Unique within the process. */
  readonly id: string;
  readonly restart: Restart;
  readonly incarnation: number;
  readonly state: ActorState;
  /** What the state alone does not say: what it is blocked on, why it stops, until when it backs off. */
  readonly detail: string | undefined;
  readonly since: number;
  readonly startedAt: number | undefined;
  readonly initMs: number | undefined;
  readonly supervision: (Supervision & { readonly used: number }) | undefined;
  readonly restarts: {
    readonly total: number;
    readonly inWindow: number;
    readonly lastReason: string | undefined;
    readonly lastAt: number | undefined;
  };
  readonly mailbox: {
    readonly depth: number;
    readonly highWater: number;
    readonly capacity: number;
    readonly oldestMs: number;
    readonly dropped: number;
    /** The five types that most messages in the mailbox have. */
    readonly byType: Readonly<Record<string, number>>;
    /** Types of the messages that pass the mailbox, in order; they count in `depth`. */
    readonly urgent: readonly string[];
  };
  readonly processed: {
    readonly total: number;
    readonly byType: Readonly<Record<string, number>>;
    readonly expired: number;
  };
  readonly errors: number;
  readonly handlerMs: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly currentHandler: { readonly type: string; readonly ms: number } | undefined;
  /** Questions to others that wait for an answer. */
  readonly asks: readonly { readonly target: string; readonly type: string; readonly ageMs: number }[];
  /** Paths that it watches. */
  readonly watches: readonly string[];
  readonly gauges: Readonly<Record<string, number | string | boolean>>;
  readonly lastError: ErrorNote | undefined;
  readonly children: readonly TreeNode[];
}

/** One actor in full: its last 50 events and its last 20 errors. */
export interface ActorDetails extends TreeNode {
  readonly events: readonly Event[];
  readonly errorLog: readonly { readonly at: number; readonly incarnation: number; readonly stack: string }[];
}

/** Plain totals of the whole system; they only grow, except `actors` and `asks`. */
export interface Counters {
  /** Actors that have a mailbox now. */
  readonly actors: number;
  /** Questions without an answer now. */
  readonly asks: number;
  readonly told: number;
  readonly handled: number;
  /** Messages refused because nobody lived at the path, or left in the mailbox of one that went for good. */
  readonly deadLetters: number;
  /** Messages refused by a full mailbox. */
  readonly overflows: number;
  readonly crashes: number;
  /** Incarnations that did not stop within their time. */
  readonly abandoned: number;
  /** Handlers and starts that settled after their incarnation was over; ignored. */
  readonly late: number;
  /** Changes of state, of any actor. */
  readonly transitions: number;
}
