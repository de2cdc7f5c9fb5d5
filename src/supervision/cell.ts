import type { Ask } from './asks.js';
import { Context } from './context.js';
import { ErrorLog } from './error-log.js';
import {
  ActorDown,
  codeOf,
  MailboxFull,
  ShutdownTimeout,
  StartTimeout,
  toError,
  WatchdogTimeout,
} from './errors.js';
import { Histogram } from './histogram.js';
import { Life } from './life.js';
import { MailboxStats, typeOf } from './mailbox.js';
import { describeReason } from './reason.js';
import { Ref } from './ref.js';
import type { Mailbox, Postmark, Runtime } from './runtime.js';
import type { Actor, ActorRef, ActorState, ChildSpec, Down, StopReason, Supervision } from './types.js';
import { UrgentQueue } from './urgent.js';
import { deferred, within } from './within.js';

const START_MS = 30_000;
/** In the mailbox, where there may be nothing else, it gives the urgent messages their turn. */
const URGENT_TURN = Symbol('urgent turn');

/** Decides what becomes of a child whose life has ended, or is to end. */
export interface Supervisor {
  readonly path: string;
  readonly supervision: Supervision | undefined;
  /** Called at once, within the call that found the crash; it ends the life and does the rest later. */
  down(cell: Cell, reason: StopReason): void;
}

/**
 * An actor's place in the tree: its mailbox, its statistics and its lives, one after the other. It knows how to start,
 * run and end one life; its supervisor decides when.
 */
export class Cell {
  readonly ref: ActorRef<never>;
  readonly mailbox = new MailboxStats();
  readonly urgent = new UrgentQueue();
  readonly durations = new Histogram();
  readonly asks = new Set<Ask<never>>();
  readonly #mailbox: Mailbox;

  life: Life | undefined;
  incarnation: number;
  state: ActorState = 'starting';
  detail: string | undefined;
  /** Milliseconds since 1970. */
  since: number;
  startedAt: number | undefined;
  initMs: number | undefined;
  /** It has run at least once. */
  everUp = false;
  /** It is being stopped for good: takes no more messages. */
  leaving = false;
  gone = false;
  /** What its watchers were told last, as long as it has not started again. */
  down: Down | undefined;
  readonly restarts = {
    total: 0,
    lastReason: undefined as string | undefined,
    lastAt: undefined as number | undefined,
  };
  /** `now_ms` of its restarts, as far as they count for its back-off. */
  restartTimes: readonly number[] = [];
  /** Incarnations of former children, which go on counting when a restarted parent spawns them again. */
  formerChildren: ReadonlyMap<string, number> = new Map();
  readonly errors = new ErrorLog();
  expired = 0;
  /** Changes of its state. */
  transitions = 0;

  #held: (() => void) | undefined;
  #urgentTurn = false;
  #overflowing = false;
  #retiring: Promise<void> | undefined;
  readonly #upWaiters: { resolve(): void; reject(error: Error): void }[] = [];

  constructor(
    readonly spec: ChildSpec<never>,
    readonly path: string,
    readonly supervisor: Supervisor,
    readonly runtime: Runtime,
    incarnation = 0,
  ) {
    this.incarnation = incarnation;
    this.since = runtime.clock.wall_ms();
    this.ref = new Ref<never>(runtime, path);
    this.#mailbox = runtime.openMailbox((message, mark) => this.#receive(message, mark));
    runtime.cells.set(path, this);
  }

  get id(): string {
    return this.#mailbox.id;
  }

  /** True when it has a life that has started and not begun to end. */
  get running(): boolean {
    return this.life?.actor !== undefined && this.life.ending === undefined;
  }

  // --- messages

  /** Puts a message in the mailbox. `unbounded` passes its bound: timers and death notices, which the actor itself bounds. */
  offer(message: unknown, mark: Postmark | null, unbounded: boolean): 'queued' | 'full' | 'gone' {
    if (this.leaving) {
      this.runtime.totals.deadLetters += 1;
      return 'gone';
    }
    if (this.mailbox.depth >= this.spec.mailbox_max && !unbounded) {
      this.#overflow();
      return 'full';
    }
    this.runtime.totals.told += 1;
    this.mailbox.put(typeOf(message), this.runtime.clock.now_ms());
    this.#mailbox.post(message, mark);
    return 'queued';
  }

  /** Takes an urgent message; see ActorRef.tellUrgent. False when the actor goes for good. */
  offerFirst(message: unknown): boolean {
    if (this.leaving) {
      this.runtime.totals.deadLetters += 1;
      return false;
    }
    this.runtime.totals.told += 1;
    this.urgent.put(typeOf(message), message, this.runtime.clock.now_ms());
    if (!this.#urgentTurn) {
      this.#urgentTurn = true;
      this.#mailbox.post(URGENT_TURN, null);
    }
    return true;
  }

  /** One event for each time that the mailbox becomes full, not for each message that it refuses. */
  #overflow(): void {
    this.mailbox.dropped += 1;
    this.runtime.totals.overflows += 1;
    if (this.#overflowing) return;
    this.#overflowing = true;
    const error = new MailboxFull(this.path, this.spec.mailbox_max);
    this.note('overflow', error.message);
    this.runtime.log.warn(
      { actor: this.path, byType: this.mailbox.waitingByType(5) },
      `mailbox(full) ${error.message}`,
    );
  }

  /** The mailbox's receiver. While no life is open, the message in hand is held, and with it all that follow. */
  #receive(message: unknown, mark: Postmark | null): void | Promise<void> {
    if (this.gone) return undefined;
    const { life } = this;
    if (life?.open) {
      const urgent = this.urgent.take();
      if (urgent === undefined) return this.#ordinary(life, life.actor!, message, mark);
      this.mailbox.passed(urgent.type);
      const work = this.#handle(life, life.actor!, urgent.message, urgent.type, null);
      return work === undefined
        ? this.#receive(message, mark)
        : work.then(() => this.#receive(message, mark));
    }
    return new Promise<void>((resolve) => {
      this.#held = resolve;
    }).then(() => this.#receive(message, mark));
  }

  #wake(): void {
    const held = this.#held;
    this.#held = undefined;
    held?.();
  }

  /** A message whose turn in the mailbox has come. */
  #ordinary(life: Life, actor: Actor<never>, message: unknown, mark: Postmark | null): void | Promise<void> {
    if (message === URGENT_TURN) {
      this.#urgentTurn = false;
      return undefined;
    }
    const type = typeOf(message);
    const expired = mark?.expired() ?? false;
    this.mailbox.take(type, !expired);
    if (this.#overflowing && this.mailbox.depth * 2 <= this.spec.mailbox_max) this.#overflowing = false;
    if (expired) {
      this.expired += 1;
      return undefined;
    }
    if (mark?.describe !== undefined) {
      mark.describe(() => actor.describe?.());
      return undefined;
    }
    return this.#handle(life, actor, message, type, mark);
  }

  #handle(
    life: Life,
    actor: Actor<never>,
    message: unknown,
    type: string,
    mark: Postmark | null,
  ): void | Promise<void> {
    life.handling = type;
    life.handlingSince_ms = this.runtime.clock.now_ms();
    life.handlingMark = mark;
    let work: void | Promise<void>;
    try {
      work = actor.receive(message as never);
    } catch (error) {
      this.#handled(life, error);
      return undefined;
    }
    if (work !== undefined) return this.#settle(life, work);
    this.#handled(life);
    return undefined;
  }

  /** Waits for an asynchronous handler, or for the end of its life, whatever comes first. */
  #settle(life: Life, work: PromiseLike<void>): Promise<void> {
    if (life.watchdog === undefined && !life.over) this.#watch(life, this.spec.handler_ms_max);
    return new Promise<void>((resolve) => {
      const settled = (error?: unknown): void => {
        if (life.over) {
          this.runtime.totals.late += 1;
          return;
        }
        life.release = undefined;
        this.#handled(life, error);
        resolve();
      };
      life.release = resolve;
      if (life.over) resolve();
      work.then(
        () => settled(),
        (error: unknown) => settled(error ?? new Error('rejected without a reason')),
      );
    });
  }

  /** One timer for each life, not one for each message: it is set again for what is left. */
  #watch(life: Life, ms: number): void {
    life.watchdog = this.runtime.clock.after(ms, () => {
      life.watchdog = undefined;
      if (life.handling === undefined) return;
      const age_ms = this.runtime.clock.now_ms() - life.handlingSince_ms;
      if (age_ms < this.spec.handler_ms_max) this.#watch(life, this.spec.handler_ms_max - age_ms);
      else this.crash(life, new WatchdogTimeout(this.path, life.handling, age_ms));
    });
  }

  #handled(life: Life, error?: unknown): void {
    const type = life.handling!;
    this.durations.record(this.runtime.clock.now_ms() - life.handlingSince_ms);
    this.runtime.totals.handled += 1;
    life.handling = undefined;
    life.handlingMark = null;
    const { idle } = life;
    life.idle = undefined;
    idle?.();
    if (error !== undefined) this.crash(life, toError(error), type);
    else if (life.exiting) this.#exit(life);
  }

  // --- a life

  /** Begins the next life; resolves when its start has succeeded, failed (the supervisor then knows) or been cut short. */
  start(): Promise<void> {
    const { clock } = this.runtime;
    this.incarnation += 1;
    const life = new Life(this, this.incarnation);
    this.life = life;
    this.#enter('starting');
    const from_ms = clock.now_ms();
    const start_ms = this.spec.start_ms ?? START_MS;
    const limit = clock.after(start_ms, () => this.crash(life, new StartTimeout(this.path, start_ms)));
    life.timers.add(limit);
    const done = (): void => {
      limit.cancel();
      life.timers.delete(limit);
      life.startDone();
    };
    this.#begin(life).then(
      (actor) => {
        if (life.over) {
          this.runtime.totals.late += 1;
          void this.#free(life, actor, life.overBy, 0);
          return;
        }
        life.actor = actor;
        if (life.ending === undefined) this.#up(life, clock.now_ms() - from_ms);
        done();
      },
      (error: unknown) => {
        // A start that gives up because it is told to stop has not failed.
        if (life.ending === undefined || life.over) this.crash(life, toError(error));
        done();
      },
    );
    return life.started;
  }

  async #begin(life: Life): Promise<Actor<never>> {
    return this.spec.start(new Context<never>(life, this.runtime));
  }

  #up(life: Life, init_ms: number): void {
    this.everUp = true;
    this.startedAt = this.runtime.clock.wall_ms();
    this.initMs = init_ms;
    this.down = undefined;
    if (life.blockedOn === undefined) this.#enter('running');
    else this.#enter('blocked', life.blockedOn);
    this.#wake();
    for (const waiter of this.#upWaiters.splice(0)) waiter.resolve();
    if (life.exiting) this.#exit(life);
  }

  /** Resolves when the actor runs; rejects when it has gone for good, or its parent has begun to stop. */
  whenUp(): Promise<void> {
    if (this.running) return Promise.resolve();
    return new Promise((resolve, reject) => this.#upWaiters.push({ resolve, reject }));
  }

  /** Lets go of those who wait for the actor to run. */
  disappoint(error: Error): void {
    for (const waiter of this.#upWaiters.splice(0)) waiter.reject(error);
  }

  /** A crash of one life; ignored when that life is over or ending already. */
  crash(life: Life, error: Error, type?: string): void {
    if (life.over) {
      this.runtime.totals.late += 1;
      return;
    }
    this.record(error, type);
    if (life.ending !== undefined) return;
    this.runtime.totals.crashes += 1;
    this.supervisor.down(this, { kind: 'crash', error });
  }

  exit(life: Life): void {
    if (life.over || life.ending !== undefined || life.exiting) return;
    life.exiting = true;
    if (life.actor !== undefined && life.handling === undefined) this.#exit(life);
  }

  #exit(life: Life): void {
    if (life.ending === undefined) this.supervisor.down(this, { kind: 'exit' });
  }

  block(life: Life, what: string | undefined): void {
    if (life.blockedOn === what) return;
    life.blockedOn = what;
    if (life.actor === undefined || life.ending !== undefined) return;
    if (what === undefined) this.#enter('running');
    else this.#enter('blocked', what);
  }

  /**
   * Ends the present life, if there is one: a crashed one is over before this returns, another one finishes its message
   * first. Resolves when its children and itself have stopped or been abandoned.
   */
  end(reason: StopReason, restarting: boolean): Promise<void> {
    const { life } = this;
    if (life === undefined) return Promise.resolve();
    if (life.ending !== undefined) return life.ending;
    // Set before anything is called that could call back.
    const { promise, resolve } = deferred();
    life.ending = promise;
    void this.#end(life, reason, restarting).then(resolve);
    return promise;
  }

  async #end(life: Life, reason: StopReason, restarting: boolean): Promise<void> {
    this.#enter(restarting ? 'restarting' : 'draining', describeReason(reason));
    life.children?.close();
    let left_ms = this.spec.shutdown_ms;
    if (reason.kind === 'crash') this.#close(life, reason, restarting);
    else {
      this.#rejectAsks(describeReason(reason), life.handlingMark);
      left_ms = await this.#drain(life, reason, restarting);
    }
    await life.children?.stopAll(restarting);
    if (life.actor !== undefined) await this.#free(life, life.actor, reason, left_ms);
    this.#close(life, reason, restarting);
    this.life = undefined;
  }

  /** Waits for the start or the message in hand, and returns what is left of the time to stop. */
  async #drain(life: Life, reason: StopReason, restarting: boolean): Promise<number> {
    const { shutdown_ms } = this.spec;
    let work: Promise<void>;
    if (life.actor === undefined) {
      // A start may wait for something that will not come any more.
      life.controller.abort(new ActorDown(this.path, describeReason(reason)));
      work = life.started;
    } else if (life.handling === undefined) {
      return shutdown_ms;
    } else {
      work = new Promise((resolve) => {
        life.idle = resolve;
      });
    }
    const what = life.handling === undefined ? 'starting' : `handling ${life.handling}`;
    const from_ms = this.runtime.clock.now_ms();
    if (await within(this.runtime.clock, work, shutdown_ms)) {
      return Math.max(0, shutdown_ms - (this.runtime.clock.now_ms() - from_ms));
    }
    this.#close(life, reason, restarting);
    this.#abandoned(what);
    return 0;
  }

  /** Lets an incarnation free what it holds, for at most `left_ms`. */
  async #free(life: Life, actor: Actor<never>, reason: StopReason, left_ms: number): Promise<void> {
    try {
      const work = actor.stop?.(reason);
      if (work === undefined) return;
      const watched = Promise.resolve(work).catch((error: unknown) => this.record(toError(error), 'stop'));
      if (left_ms === 0 || (await within(this.runtime.clock, watched, left_ms))) return;
      life.controller.abort();
      this.#abandoned('stop()');
    } catch (error) {
      this.record(toError(error), 'stop');
    }
  }

  #abandoned(what: string): void {
    this.runtime.totals.abandoned += 1;
    this.record(new ShutdownTimeout(this.path, what, this.spec.shutdown_ms));
  }

  /** The point after which nothing of this life has an effect. */
  #close(life: Life, reason: StopReason, restarting: boolean): void {
    if (life.over) return;
    for (const watch of [...life.watches]) this.runtime.watches.remove(watch);
    life.overBy = reason;
    life.close();
    this.#rejectAsks(describeReason(reason), null, reason.kind === 'crash' ? reason.error : undefined);
    this.down = { path: this.path, incarnation: life.incarnation, reason, restarting };
    this.runtime.watches.tell(this.down);
  }

  #rejectAsks(why: string, except: Postmark | null, cause?: Error): void {
    for (const ask of [...this.asks]) {
      if ((ask as Postmark) !== except) ask.reject(new ActorDown(this.path, why, cause && { cause }));
    }
  }

  /** Waits for its next start, for `ms` from now. */
  backOff(ms: number): void {
    this.#enter('backoff', `starts again at ${new Date(this.runtime.clock.wall_ms() + ms).toISOString()}`);
  }

  /** Ends the present life and leaves the tree for good: what waits in the mailbox is thrown away and counted. */
  retire(reason: StopReason, restarting: boolean): Promise<void> {
    if (this.#retiring !== undefined) return this.#retiring;
    const { promise, resolve } = deferred();
    this.#retiring = promise;
    void this.#retire(reason, restarting).then(resolve);
    return promise;
  }

  async #retire(reason: StopReason, restarting: boolean): Promise<void> {
    this.leaving = true;
    await this.end(reason, restarting);
    this.gone = true;
    this.runtime.cells.delete(this.path);
    this.runtime.totals.deadLetters += this.mailbox.clear() + this.urgent.clear();
    this.#mailbox.close();
    this.#wake();
    const why = describeReason(reason);
    const cause = reason.kind === 'crash' ? reason.error : undefined;
    this.#rejectAsks(why, null, cause);
    // Whoever was told that it would return learns that it does not.
    if (this.down?.restarting && !restarting) {
      this.runtime.watches.tell({ ...this.down, restarting: false });
    }
    this.#enter(reason.kind === 'crash' ? 'failed' : 'stopped', why);
    this.disappoint(cause ?? new ActorDown(this.path, why));
  }

  // --- what people see

  #enter(state: ActorState, detail?: string): void {
    this.state = state;
    this.detail = detail;
    this.since = this.runtime.clock.wall_ms();
    this.transitions += 1;
    this.runtime.totals.transitions += 1;
    this.note('state', detail === undefined ? state : `${state}: ${detail}`);
  }

  note(kind: string, text: string, fields?: Readonly<Record<string, unknown>>): void {
    const { path, incarnation } = this;
    const at = this.runtime.clock.wall_ms();
    this.runtime.events.push({ at, path, incarnation, kind, text, ...(fields && { fields }) });
  }

  /** Keeps an error for people; `type` is the message that was being handled. */
  record(error: Error, type?: string): void {
    this.errors.keep(error, this.runtime.clock.wall_ms(), this.incarnation);
    this.note('error', error.message, { code: codeOf(error), ...(type !== undefined && { type }) });
    this.runtime.log.error(
      { actor: this.path, gen: this.incarnation, type, err: error },
      `actor(crash) ${error.message}`,
    );
  }
}
