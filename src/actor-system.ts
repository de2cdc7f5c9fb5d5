import {
  dispatch,
  type Ref as NactRef,
  spawn as spawnNact,
  start as startNact,
  stop as stopNact,
} from 'nact';
import type { Clock } from './clock.js';
import type { Log } from './log.js';
import { AskTable } from './supervision/asks.js';
import { Cell, type Supervisor } from './supervision/cell.js';
import { Children } from './supervision/children.js';
import { ActorDown, toError } from './supervision/errors.js';
import type { DurationReport } from './supervision/histogram.js';
import { detailsOf, nodeOf, nodeOfMoved } from './supervision/introspection.js';
import { Ref } from './supervision/ref.js';
import { Ring } from './supervision/ring.js';
import {
  defaultSupervision,
  type Mailbox,
  type Postmark,
  type Receive,
  type Runtime,
} from './supervision/runtime.js';
import type {
  ActorDetails,
  ActorRef,
  ChildSpec,
  Counters,
  Event,
  Reply,
  Supervision,
  TreeNode,
} from './supervision/types.js';
import { Watches } from './supervision/watches.js';

export * from './supervision/errors.js';
export { defaultSupervision } from './supervision/runtime.js';
export type * from './supervision/types.js';

const EVENTS_KEPT = 1000;

export interface ActorSystemOptions {
  /** The first part of every path. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
  /** [0, 1), for the jitter of back-off; Math.random unless given. */
  readonly random?: () => number;
  /** How the root supervises the actors spawned with `system.spawn`. */
  readonly supervision?: Supervision;
  /**
   * The last word: the root has given up, and all actors have been stopped in reverse start order, each within its
   * time. Nothing runs any more; restore what must be restored and exit non-zero.
   */
  escalated(reason: Error): void;
}

/** A supervision tree. */
export interface ActorSystem {
  readonly root: ActorRef<never>;
  /** Starts a child of the root; see ActorContext.spawn. */
  spawn<M>(spec: ChildSpec<M>): Promise<ActorRef<M>>;
  /** Stops a child of the root for good; resolves when it has gone. */
  stopChild(name: string): Promise<void>;
  /** Stops everything, in reverse start order; resolves when it has, at the latest after the sum of all shutdown times. */
  stop(): Promise<void>;
  /** An address by path, also of an actor that is not there yet. The caller vouches for the type of its messages. */
  ref<M>(path: string): ActorRef<M>;
  /** As ActorContext.ask, from outside the tree. */
  ask<Q, R>(to: ActorRef<Q>, question: (reply: Reply<R>) => Q, within_ms: number): Promise<R>;
  /** What the actor's `describe` says; it comes after the messages that wait. Rejects as `ask` does. */
  describe(path: string, within_ms: number): Promise<unknown>;
  /** The tree as it is now, read without a message: works while actors are stuck. */
  tree(): TreeNode;
  /**
   * As `tree`, for who asks often: an actor without children to which nothing has happened since is shown as it was shown last, by the same
   * object. Its gauges, and what time alone changes, are of then.
   */
  treeMoved(): TreeNode;
  /** One actor in full; undefined when nobody lives at the path. */
  node(path: string): ActorDetails | undefined;
  /** The last 1000 notable events, oldest first. */
  events(): Event[];
  counters(): Counters;
  /** How long the messages of these actors were handled. */
  handleTimes(of: (path: string) => boolean): readonly (DurationReport & { readonly path: string })[];
  /** Restarts an actor, and whom its supervisor's strategy takes along, without waiting and without counting it. */
  restart(path: string): boolean;
  /** Crashes an actor as if it had thrown: for tests and fault injection. False when it does not run. */
  crash(path: string, error: Error): boolean;
}

/** The mailbox entry's view of nact: the type of a reference is the caller's business here. */
type Post = (to: NactRef<unknown>, message: unknown, mark: unknown) => void;

/** nact keeps its systems in one table by name for the whole process. */
let systems = 0;

/**
 * Mailboxes by nact, which gives each actor its queue and its turn. All of them are flat under one nact system, whose own
 * supervision never runs: it has no limits and no order, and lets two handlers of one actor run at once.
 */
class NactMailboxes {
  readonly #system;
  readonly #log: Log;
  readonly open = new Set<string>();
  #last = 0;

  constructor(name: string, log: Log) {
    systems += 1;
    this.#system = startNact({ name: `${name}-${systems}` } as never);
    this.#log = log;
  }

  /** nact allows few characters in a name, so its actors are numbered; a path can hold any. */
  create(receive: Receive): Mailbox {
    this.#last += 1;
    const id = `a${this.#last}`;
    const onMessage = (_state: unknown, message: unknown, ctx: unknown): void | Promise<void> =>
      receive(message, (ctx as { sender: Postmark | null }).sender);
    const actor = spawnNact(this.#system, onMessage as never, id, {
      onCrash: (_message, error, ctx) => {
        this.#log.fatal({ id, err: error }, 'actor(crash) an error passed the supervision: this is a defect');
        return ctx.resume;
      },
    }) as NactRef<unknown>;
    this.open.add(id);
    return {
      id,
      // The place of nact's sender carries the postmark: null, unlike undefined, costs no object.
      post: (message, mark) => (dispatch as unknown as Post)(actor, message, mark),
      close: () => {
        stopNact(actor);
        this.open.delete(id);
      },
    };
  }

  close(): void {
    stopNact(this.#system);
  }
}

/** The root: an actor without messages of its own, whose only work is its children. */
function rootSpec(name: string, supervision: Supervision): ChildSpec<never> {
  return {
    name,
    start: () => ({ receive: () => {} }),
    // Nobody is above it to start it again: when it gives up, all that it takes along ends for good.
    restart: 'temporary',
    shutdown_ms: 0,
    mailbox_max: 16,
    handler_ms_max: 1000,
    supervision,
  };
}

export function createActorSystem(options: ActorSystemOptions): ActorSystem {
  const { name, clock, log } = options;
  const mailboxes = new NactMailboxes(name, log);
  const asks = new AskTable(clock);
  const runtime: Runtime = {
    clock,
    log,
    random: options.random ?? Math.random,
    totals: {
      told: 0,
      handled: 0,
      deadLetters: 0,
      overflows: 0,
      crashes: 0,
      abandoned: 0,
      late: 0,
      transitions: 0,
    },
    events: new Ring<Event>(EVENTS_KEPT),
    cells: new Map(),
    asks,
    watches: new Watches(),
    openMailbox: (receive) => mailboxes.create(receive),
  };

  /** Above the root there is nobody to restart it. */
  const nobody: Supervisor = {
    path: '',
    supervision: undefined,
    down(cell, reason) {
      const error = reason.kind === 'crash' ? reason.error : new ActorDown(cell.path, reason.kind);
      void cell.retire(reason, false).then(() => {
        mailboxes.close();
        options.escalated(error);
      });
    },
  };
  const root = new Cell(rootSpec(name, options.supervision ?? defaultSupervision), name, nobody, runtime);
  void root.start();
  const life = root.life!;
  life.children = new Children(life, runtime);
  const { children } = life;

  return {
    root: root.ref,
    spawn: (spec) => children.spawn(spec),
    stopChild: (child) => children.stop(child),
    async stop() {
      await root.retire({ kind: 'shutdown' }, false);
      for (const ask of [...asks.open]) ask.reject(new ActorDown(ask.target, 'the system has stopped'));
      mailboxes.close();
    },
    ref: <M>(path: string) => new Ref<M>(runtime, path),
    ask: (to, question, within_ms) => asks.ask(undefined, to, question, within_ms),
    describe: (path, within_ms) => asks.describe(new Ref<never>(runtime, path), within_ms),
    tree: () => nodeOf(root),
    treeMoved: () => nodeOfMoved(root),
    node(path) {
      const cell = runtime.cells.get(path);
      return cell && detailsOf(cell);
    },
    events: () => runtime.events.toArray(),
    counters: () => ({ ...runtime.totals, actors: mailboxes.open.size, asks: asks.open.size }),
    handleTimes: (of) =>
      [...runtime.cells.values()]
        .filter(({ path }) => of(path))
        .map(({ path, durations }) => ({ path, ...durations.report() })),
    restart(path) {
      const cell = runtime.cells.get(path);
      if (!cell?.running || cell === root) return false;
      cell.supervisor.down(cell, { kind: 'restart' });
      return true;
    },
    crash(path, error) {
      const cell = runtime.cells.get(path);
      if (!cell?.running) return false;
      cell.crash(cell.life!, toError(error));
      return true;
    },
  };
}
