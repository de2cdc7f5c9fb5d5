import { TurnedClock } from '../../lab/turned-clock.js';
import {
  type ActorDetails,
  type ActorRef,
  type ActorSystem,
  type ChildSpec,
  createActorSystem,
  type Reply,
  type Supervision,
} from '../../src/actor-system.js';
import type { Log } from '../../src/log.js';

/** What the kit needs of a tap test. */
export interface Teardown {
  teardown(run: () => Promise<void> | void): void;
}

interface Typed {
  readonly type: string;
}

type Of<M extends Typed, T extends string> = Extract<M, { readonly type: T }>;
type AnswerTo<M> = M extends { readonly reply: Reply<infer R> } ? R : never;

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'fatal';
  readonly fields: Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** A log that keeps its lines. */
export class KeptLog implements Log {
  readonly lines: LogLine[];
  readonly #bound: object;

  constructor(lines: LogLine[] = [], bound: object = {}) {
    this.lines = lines;
    this.#bound = bound;
  }

  debug = (fields: object, text: string): void => this.#keep('debug', fields, text);
  info = (fields: object, text: string): void => this.#keep('info', fields, text);
  warn = (fields: object, text: string): void => this.#keep('warn', fields, text);
  error = (fields: object, text: string): void => this.#keep('error', fields, text);
  fatal = (fields: object, text: string): void => this.#keep('fatal', fields, text);

  child(fields: object): Log {
    return new KeptLog(this.lines, { ...this.#bound, ...fields });
  }

  #keep(level: LogLine['level'], fields: object, text: string): void {
    this.lines.push({ level, fields: { ...this.#bound, ...fields }, text });
  }
}

/** Turns of the event loop without any movement after which the actors count as being at rest. */
const QUIET_TURNS = 8;
const TURNS_MAX = 200_000;

/**
 * Waits until no message moves and no actor changes its state. Only for actors without real input and output: what waits
 * for a file or a socket looks like rest.
 */
export async function settle(system: ActorSystem): Promise<void> {
  const moved = (): number =>
    Object.values(system.counters()).reduce((sum: number, count: number) => sum + count, 0);
  let last = moved();
  let quiet = 0;
  for (let turn = 0; quiet < QUIET_TURNS; turn += 1) {
    if (turn === TURNS_MAX)
      throw new Error(`the actors do not come to rest: ${JSON.stringify(system.tree())}`);
    await new Promise((resolve) => setImmediate(resolve));
    const now = moved();
    quiet = now === last ? quiet + 1 : 0;
    last = now;
  }
}

/** Supervision whose delays are exact and short to write in a test. */
export function supervision(changes: Partial<Supervision> = {}): Supervision {
  return {
    strategy: 'one_for_one',
    intensity: { restarts_max: 5, window_ms: 30_000 },
    backoff: { first_ms: 100, max_ms: 5_000, jitter: 0 },
    ...changes,
  };
}

/** The mailbox of an actor that is not there: keeps what it is told, for the test to look at and to answer. */
/** Somebody who takes all that is told, and does nothing. */
export const takes_all: ActorRef<unknown> = { path: 'root/nobody', tell: () => true, tellUrgent: () => true };

export class KitMailbox<M extends Typed> {
  readonly spec: ChildSpec<M>;
  /** Incarnations of it that have started. */
  starts = 0;
  #path: string;
  readonly #system: ActorSystem;
  readonly #messages: M[] = [];
  readonly #handlers = new Map<string, (message: never) => void>();

  constructor(system: ActorSystem, path: string, name: string, changes: Partial<ChildSpec<M>>) {
    this.#system = system;
    this.#path = path;
    this.spec = {
      name,
      restart: 'permanent',
      shutdown_ms: 1000,
      mailbox_max: 10_000,
      handler_ms_max: 1000,
      start: (ctx) => {
        this.#path = ctx.path;
        this.starts += 1;
        return { receive: (message) => this.#take(message) };
      },
      ...changes,
    };
  }

  get ref(): ActorRef<M> {
    return this.#system.ref<M>(this.#path);
  }

  /** The oldest unread message of the type; throws when there is none once all actors are at rest. */
  async message<T extends M['type']>(type: T): Promise<Of<M, T>> {
    await settle(this.#system);
    const at = this.#messages.findIndex((message) => message.type === type);
    if (at < 0) throw new Error(`${this.#path} was sent no ${type}; unread: [${this.#unread()}]`);
    return this.#messages.splice(at, 1)[0] as Of<M, T>;
  }

  /** All unread messages, oldest first; they count as read. */
  async messages(): Promise<M[]> {
    await settle(this.#system);
    return this.#messages.splice(0);
  }

  /** Throws when there is an unread message. */
  async none(): Promise<void> {
    await settle(this.#system);
    if (this.#messages.length > 0)
      throw new Error(`${this.#path} was sent [${this.#unread()}], nothing was expected`);
  }

  /** Answers the oldest unread message of the type, and returns it. */
  async answer<T extends M['type']>(type: T, value: AnswerTo<Of<M, T>>): Promise<Of<M, T>> {
    const message = await this.message(type);
    replyOf(message).resolve(value);
    await settle(this.#system);
    return message;
  }

  /** As `answer`, with an error. */
  async refuse<T extends M['type']>(type: T, error: Error): Promise<Of<M, T>> {
    const message = await this.message(type);
    replyOf(message).reject(error);
    await settle(this.#system);
    return message;
  }

  /** From now on messages of this type are handled as they come, and not kept. A throw crashes the stand-in. */
  on<T extends M['type']>(type: T, handle: (message: Of<M, T>) => void): void {
    this.#handlers.set(type, handle as (message: never) => void);
  }

  #take(message: M): void {
    const handle = this.#handlers.get(message.type);
    if (handle === undefined) this.#messages.push(message);
    else handle(message as never);
  }

  #unread(): string {
    return this.#messages.map(({ type }) => type).join(', ');
  }
}

function replyOf(message: Typed): Reply<unknown> {
  const { reply } = message as { reply?: Reply<unknown> };
  if (reply === undefined) throw new Error(`a ${message.type} carries no reply`);
  return reply;
}

/** What there is before the actor under test: what its child spec is made of. */
export class KitBase {
  readonly clock: TurnedClock;
  readonly log = new KeptLog();
  readonly system: ActorSystem;
  /** Set when the root has given up. */
  escalated: Error | undefined;
  readonly #mailboxes = new Map<string, KitMailbox<never>>();

  constructor(options: KitOptions) {
    this.clock = new TurnedClock(options.wall_ms === undefined ? {} : { wall_ms: options.wall_ms });
    this.system = createActorSystem({
      name: 'root',
      clock: this.clock,
      log: this.log,
      random: options.random ?? (() => 0),
      supervision: options.supervision ?? supervision(),
      escalated: (reason) => {
        this.escalated = reason;
      },
    });
    this.clock.settle = () => settle(this.system);
  }

  /** The mailbox of a neighbour; the same one each time it is named. */
  mailbox<M extends Typed>(name: string, changes: Partial<ChildSpec<M>> = {}): KitMailbox<M> {
    const known = this.#mailboxes.get(name);
    if (known !== undefined) return known as unknown as KitMailbox<M>;
    const mailbox = new KitMailbox<M>(this.system, `root/${name}`, name, changes);
    this.#mailboxes.set(name, mailbox as unknown as KitMailbox<never>);
    this.system.spawn(mailbox.spec).catch(() => {});
    return mailbox;
  }

  /** A stand-in for a child of the actor under test, which spawns its `spec`. */
  stub<M extends Typed>(name: string, changes: Partial<ChildSpec<M>> = {}): KitMailbox<M> {
    return new KitMailbox<M>(this.system, name, name, changes);
  }

  /** Waits until all actors are at rest. */
  settle(): Promise<void> {
    return settle(this.system);
  }
}

export interface KitOptions {
  /** How the root supervises the actor under test; `supervision()` unless given. */
  readonly supervision?: Supervision;
  /** 0 unless given: no jitter. */
  readonly random?: () => number;
  readonly wall_ms?: number;
}

/** One actor under test, between mailboxes of neighbours that are not there, on a clock turned by hand. */
export class ActorKit<M> extends KitBase {
  readonly ref: ActorRef<M>;
  /** The first start; it may wait for what a neighbour answers. */
  readonly started: Promise<unknown>;

  constructor(make: (kit: KitBase) => ChildSpec<M>, options: KitOptions) {
    super(options);
    const spec = make(this);
    this.ref = this.system.ref<M>(`root/${spec.name}`);
    this.started = this.system.spawn(spec);
    this.started.catch(() => {});
  }

  /** Tells the actor and waits for rest; throws when it does not take the message. */
  async tell(message: M): Promise<void> {
    if (!this.ref.tell(message)) throw new Error(`${this.ref.path} did not take ${JSON.stringify(message)}`);
    await this.settle();
  }

  /** Asks the actor; the clock must be turned for the deadline to pass. */
  ask<R>(question: (reply: Reply<R>) => M, within_ms = 1000): Promise<R> {
    return this.system.ask(this.ref, question, within_ms);
  }

  /** Crashes the actor, or the one at `path`, as if its handler had thrown, and waits for rest. */
  async crash(error: Error, path = this.ref.path): Promise<void> {
    if (!this.system.crash(path, error)) throw new Error(`${path} does not run: it cannot crash`);
    await this.settle();
  }

  /** The actor as the tree shows it; throws when it has gone. */
  node(path = this.ref.path): ActorDetails {
    const node = this.system.node(path);
    if (node === undefined) throw new Error(`nobody lives at ${path}`);
    return node;
  }

  /** Names of its children, in start order. */
  get children(): string[] {
    return this.node().children.map(({ name }) => name);
  }
}

/** Longest time that a tree under test is given to stop when the test is over. */
const TEARDOWN_MS = 600_000;

/**
 * Starts one actor under test. `spec` may be a function, which gets the kit to make the neighbours it needs. Resolves
 * when all is at rest, also when the actor's start still waits for an answer; rejects when its start failed.
 */
export async function actorKit<M>(
  t: Teardown,
  spec: ChildSpec<M> | ((kit: KitBase) => ChildSpec<M>),
  options: KitOptions = {},
): Promise<ActorKit<M>> {
  const kit = new ActorKit<M>(typeof spec === 'function' ? spec : () => spec, options);
  t.teardown(async () => {
    const stopped = kit.system.stop();
    await kit.clock.advance(TEARDOWN_MS);
    await stopped;
  });
  let failed: unknown;
  kit.started.catch((error: unknown) => {
    failed = error;
  });
  await kit.settle();
  if (failed !== undefined) throw failed;
  return kit;
}
