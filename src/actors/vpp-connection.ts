/**
 * Owns the API connection: connects to each VPP that the process actor reports, numbers the connections (generations),
 * tells subscribers, executes transactions, and probes that VPP answers.
 *
 *   Disconnected ──Started──▶ Connecting ──Opened──▶ Connected ──probe missed──▶ NotResponding ──▶ (VPP is killed)
 *        ▲                        │ ▲                    │
 *        └────────Gone────────────┘ └──────Closed────────┘
 */
import type { Actor, ActorContext, ActorRef, ChildSpec, Reply } from '../actor-system.js';
import type { Timer } from '../clock.js';
import type {
  RouterSaid,
  VppConnectionMessage,
  VppProcessMessage,
  VppStatus,
  VppUp,
} from '../messages/vpp.js';
import type { VppObject } from '../objects/object.js';
import type { Transaction, TransactionResult } from '../reconcile/transaction.js';
import { Deaths } from '../supervision/deaths.js';
import { Abandoned } from '../vpp-conn/execute.js';
import type { VppExit, VppRun } from '../vpp-conn/launcher.js';
import type { Quarantine, Suspect } from '../vpp-conn/quarantine.js';
import type { Session, SessionOpener } from '../vpp-conn/session.js';

export interface VppConnectionSettings {
  /** How long a starting VPP may take to answer. */
  readonly open_ms: number;
  readonly probe_interval_ms: number;
  /** A VPP that does not answer for this long is killed. */
  readonly probe_deadline_ms: number;
  /** Transactions waiting or under way; one more is refused. */
  readonly transactions_max: number;
}

/** The transaction was computed for a VPP, or a connection, that is no more. Compute it anew after the next VppUp. */
export class StaleGeneration extends Error {
  override readonly name = 'StaleGeneration';
  readonly code = 'stale_generation';
}

export class TransactionOverflow extends Error {
  override readonly name = 'TransactionOverflow';
  readonly code = 'overflow';
}

/** Routers on all links of which a word is waiting. */
const routers_max = 32;
const said_ms = 100;

/**
 * Of losses in a row, each within the window behind the one before: what VPP answers to the same question may end every session, and each begins with readings of
 * all owners. The first is made good at once.
 */
const losses_settings = { deaths_window_ms: 30_000, backoff_first_ms: 100, backoff_max_ms: 5000 };

/** By which VPP is ended from outside. */
const ending_signals: ReadonlySet<NodeJS.Signals> = new Set(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGQUIT']);

/** Of a question that was under way as the connection ended: it says nothing of VPP, and `VppDown` follows. */
function isLost(error: Error): boolean {
  return 'code' in error && error.code === 'disconnected';
}

/** Where the condition `vpp` is told: VPP answers. */
export interface Board {
  set(name: string, ok: boolean, reason: string): void;
}

export type ConnectionState = 'Disconnected' | 'Connecting' | 'Connected' | 'NotResponding';

export function vppConnection(
  process: ActorRef<VppProcessMessage>,
  opener: SessionOpener,
  quarantine: Quarantine,
  settings: VppConnectionSettings,
  board: Board,
): ChildSpec<VppConnectionMessage> {
  // Outlives a restart of the actor: a generation must never come again, or what was computed for the first would be taken.
  const generations = { last: 0 };
  return {
    name: 'vpp-connection',
    restart: 'permanent',
    shutdown_ms: 1000,
    mailbox_max: 4096,
    handler_ms_max: 5000,
    start: (ctx) => new VppConnection(ctx, process, opener, quarantine, settings, board, generations),
  };
}

interface Waiting {
  readonly transaction: Transaction;
  readonly reply: Reply<TransactionResult>;
}

class VppConnection implements Actor<VppConnectionMessage> {
  private state: ConnectionState = 'Disconnected';
  private run: VppRun | undefined;
  /** VPP is known to be dead. */
  private exit: VppExit | undefined;
  private session: Session | undefined;
  private generation = 0;
  private readonly subscribers = new Map<string, ActorRef<VppStatus>>();
  /** Who hears what routers say. */
  private listener: ActorRef<RouterSaid> | undefined;
  /** The last that each router has said, to be told in a moment. */
  private readonly said = new Map<string, RouterSaid>();
  /** Handed to the session and not answered. */
  private readonly running = new Set<Waiting>();
  private opening = new AbortController();
  /** Of the present VPP. */
  private losses = new Deaths(losses_settings);
  private nextProbe: Timer | undefined;
  /** Under way when the connection was lost: suspects, if VPP turns out to be dead. */
  private accused: readonly Suspect[] = [];
  /** Of the VPP that is to be killed because it does not answer. */
  private hung: number | undefined;

  constructor(
    private readonly ctx: ActorContext<VppConnectionMessage>,
    private readonly process: ActorRef<VppProcessMessage>,
    private readonly opener: SessionOpener,
    private readonly quarantine: Quarantine,
    private readonly settings: VppConnectionSettings,
    private readonly board: Board,
    private readonly generations: { last: number },
  ) {
    process.tell({ type: 'Attach', connection: ctx.self });
  }

  receive(message: VppConnectionMessage): void {
    switch (message.type) {
      case 'Started':
        return this.connect(message.run);
      case 'Gone':
        return this.gone(message.exit);
      case 'Opened':
        return this.opened(message.session);
      case 'OpenFailed':
        if (this.run?.pid === message.pid) this.unresponsive(`no API session: ${message.reason}`);
        return;
      case 'Closed':
        return this.closed(message.session, message.reason);
      case 'ProbeFailed':
        return this.probeFailed(message.session, message.reason);
      case 'Probe':
        return this.probe();
      case 'Subscribe':
        this.subscribers.set(message.subscriber.path, message.subscriber);
        return this.introduce(message.subscriber);
      case 'Transact':
        return this.admit(message);
      case 'Read':
        return this.read(message);
      case 'ReadNeighbours':
        return this.answer(message.reply, (session) => session.neighbours(message.interface));
      case 'Introduce':
        return this.answer(message.reply, (session) =>
          session.introduce(message.interface, message.neighbours),
        );
      case 'ReadPeers':
        return this.answer(message.reply, (session) => session.peers());
      case 'ReadIkeTunnels':
        return this.answer(message.reply, (session) => session.ikeTunnels(message.tunnels));
      case 'Rekey':
        return this.answer(message.reply, (session) => session.rekey(message.spis));
      case 'TakeDown':
        return this.answer(message.reply, (session) => session.takeDown(message.interfaces));
      case 'RoutersSaid':
        for (const said of this.said.values()) this.listener?.tell(said);
        this.said.clear();
        return;
      case 'HearRouters':
        this.listener = message.listener;
        return;
      case 'Solicit':
        return this.answer(message.reply, (session) => session.solicit(message.interface));
      case 'Cli':
        return this.answer(message.reply, (session) => session.cli(message.command));
    }
  }

  stop(): void {
    this.opening.abort();
    this.session?.close();
    this.session = undefined;
    this.refuseAll('the connection actor stops');
  }

  gauges() {
    return {
      state: this.state,
      generation: this.generation,
      transactions: this.running.size,
      quarantined: this.quarantine.list().join(' '),
      version: this.session?.version ?? '',
    };
  }

  describe() {
    return {
      state: this.state,
      generation: this.generation,
      incompatible: this.session?.incompatible ?? [],
      quarantined: this.quarantine.list(),
      api: this.session?.stats(),
    };
  }

  private connect(run: VppRun, pause_ms = 0): void {
    this.opening.abort();
    this.opening = new AbortController();
    const { signal } = this.opening;
    // A VPP that is up already has to answer at once, as it would have to answer a probe.
    const within_ms =
      run.adopted || this.run?.pid === run.pid ? this.settings.probe_deadline_ms : this.settings.open_ms;
    // The end of the VPP before may have been superseded by this one's start, in a mailbox that was not looked at meanwhile.
    if (this.run !== undefined && this.run.pid !== run.pid) this.lose(`VPP ${run.pid} has taken its place`);
    this.run = run;
    this.exit = undefined;
    this.state = 'Connecting';
    const { clock } = this.ctx;
    const due = pause_ms === 0 ? Promise.resolve() : clock.sleep(pause_ms, signal);
    due
      .then(() => this.opener.open(run, within_ms, signal))
      .then(
        (session) => this.ctx.self.tellUrgent({ type: 'Opened', session }),
        (error: Error) => {
          if (!signal.aborted)
            this.ctx.self.tellUrgent({ type: 'OpenFailed', pid: run.pid, reason: error.message });
        },
      );
  }

  private opened(session: Session): void {
    if (this.run?.pid !== session.run.pid || this.state !== 'Connecting') return session.close();
    const { clock_fault } = session;
    if (clock_fault?.verdict === 'replace') return this.replace(session, clock_fault.reason);
    this.session = session;
    this.state = 'Connected';
    this.generations.last += 1;
    this.generation = this.generations.last;
    session.closed.then((reason) => this.ctx.self.tellUrgent({ type: 'Closed', session, reason }));
    const { generation } = this;
    session.hearRouters((tag, advertisement) => {
      this.routerSaid({ type: 'RouterSaid', generation, interface: tag, advertisement });
    });
    if (session.incompatible.length > 0) {
      this.ctx.log.warn(
        { messages: session.incompatible },
        'vpp(connect) this VPP is not as it should be: messages are missing or differ, or what is left of an earlier release',
      );
    }
    this.ctx.event(
      'vpp',
      `connected to VPP ${session.run.pid} (${session.version}), generation ${this.generation}`,
    );
    const beside = clock_fault === undefined ? '' : this.keep(session, clock_fault.reason);
    this.board.set('vpp', true, `VPP ${session.run.pid} answers${beside}`);
    for (const subscriber of this.subscribers.values()) this.announce(subscriber, session);
    this.probeLater();
  }

  /** Nobody has been told of it, and nothing was asked of it: it is innocent, and so are all. */
  private replace(session: Session, reason: string): void {
    session.close();
    this.board.set('vpp', false, reason);
    this.process.tell({ type: 'Replace', vpp: session.run.identity, reason });
  }

  /** It serves, and is not as it should be. Answers what the condition has of it. */
  private keep({ run }: Session, fault: string): string {
    const reason = `${fault}; others before it had that as well, and it is kept: what VPP waits for comes at a wrong time, or never`;
    this.process.tell({ type: 'KeepClock', vpp: run.identity });
    this.ctx.event('vpp', `VPP ${run.pid}: ${reason}`);
    this.ctx.log.error({ pid: run.pid }, `vpp(clock) ${reason}`);
    return `. ${reason}`;
  }

  /** What anybody on a link can send by the thousand is told a few times a second. */
  private routerSaid(said: RouterSaid): void {
    const key = `${said.interface} ${said.advertisement.router}`;
    if (!this.said.has(key) && this.said.size >= routers_max) return;
    if (this.said.size === 0) this.ctx.after(said_ms, { type: 'RoutersSaid' });
    this.said.set(key, said);
  }

  /** Only a connection to a VPP that nobody had before this process finds it empty. */
  private announce(subscriber: ActorRef<VppStatus>, session: Session): void {
    const adopted = session.run.adopted || session.had_interfaces;
    subscriber.tellUrgent(this.up(session, adopted));
  }

  /** One that comes late (it was restarted) finds what others have programmed meanwhile: to it this VPP is an adopted one. */
  private introduce(subscriber: ActorRef<VppStatus>): void {
    const { session, exit } = this;
    if (exit !== undefined) subscriber.tellUrgent({ type: 'VppExited', reason: exit.reason });
    if (session === undefined) return;
    subscriber.tellUrgent(this.up(session, true));
  }

  private up({ run, workers, numa }: Session, adopted: boolean): VppUp {
    return { type: 'VppUp', generation: this.generation, vpp: run.identity, adopted, workers, numa };
  }

  private closed(session: Session, reason: string): void {
    if (this.session !== session) return;
    this.lose(reason);
    const run = this.run;
    // VPP may be alive behind a closed socket. If it is dead, Gone follows and ends the attempt.
    if (run === undefined) return;
    this.losses.note(this.ctx.clock.now_ms());
    this.connect(run, this.losses.pause_ms);
  }

  private gone(exit: VppExit): void {
    if (this.run !== undefined && exit.pid !== 0 && this.run.pid !== exit.pid) return;
    this.opening.abort();
    this.losses = new Deaths(losses_settings);
    this.run = undefined;
    this.exit = exit;
    this.lose(exit.reason);
    // Whoever was programmed just then has nothing to do with it.
    if (!this.isEnded(exit) && exit.by_memif_peer !== true) this.quarantine.accuse(this.accused);
    this.accused = [];
    this.state = 'Disconnected';
    for (const subscriber of this.subscribers.values())
      subscriber.tellUrgent({ type: 'VppExited', reason: exit.reason });
  }

  /**
   * Nothing that VPP is told has it end like that: somebody ended it, and what was under way is innocent. What takes all memory has
   * the kernel end it by SIGKILL, too, and is not.
   */
  private isEnded({ pid, signal, code, oom }: VppExit): boolean {
    if (oom === true) return false;
    if (code === 0) return true;
    return signal !== undefined && ending_signals.has(signal) && this.hung !== pid;
  }

  /** The session is over, whatever has become of VPP. */
  private lose(reason: string): void {
    const { session } = this;
    if (session === undefined) return;
    this.session = undefined;
    this.state = 'Connecting';
    this.ctx.event(
      'vpp',
      `connection to VPP ${session.run.pid} lost, generation ${this.generation}: ${reason}`,
    );
    this.board.set('vpp', false, reason);
    this.accused = session.suspects();
    session.close();
    this.refuseAll(reason);
    for (const subscriber of this.subscribers.values()) {
      subscriber.tellUrgent({ type: 'VppDown', generation: this.generation, reason });
    }
  }

  private unresponsive(reason: string): void {
    if (this.run === undefined) return;
    this.state = 'NotResponding';
    this.hung = this.run.pid;
    this.process.tell({ type: 'Unresponsive', pid: this.run.pid, reason });
  }

  /** One probe at a time, however often the connection is made anew. */
  private probeLater(): void {
    this.nextProbe?.cancel();
    this.nextProbe = this.ctx.after(this.settings.probe_interval_ms, { type: 'Probe' });
  }

  private probe(): void {
    const { session } = this;
    if (session === undefined) return;
    if (this.isExcused()) return this.probeLater();
    session.ping(this.settings.probe_deadline_ms).then(
      () => this.probeLater(),
      (error: Error) => this.ctx.self.tellUrgent({ type: 'ProbeFailed', session, reason: error.message }),
    );
  }

  private probeFailed(session: Session, reason: string): void {
    if (this.session !== session) return;
    if (this.isExcused()) return this.probeLater();
    this.unresponsive(reason);
  }

  /** Some drivers keep VPP's main thread for seconds while a device is attached; such transactions have a deadline of their own. */
  private isExcused(): boolean {
    return [...this.running].some(({ transaction }) => transaction.essential);
  }

  private admit({ transaction, reply }: Waiting): void {
    if (this.session === undefined || transaction.generation !== this.generation) {
      return reply.reject(
        new StaleGeneration(
          `${transaction.owner}: computed for generation ${transaction.generation} of VPP, now is ${
            this.session === undefined ? 'none' : this.generation
          }`,
        ),
      );
    }
    if (this.running.size >= this.settings.transactions_max) {
      return reply.reject(
        new TransactionOverflow(
          `${transaction.owner}: ${this.settings.transactions_max} transactions wait for VPP`,
        ),
      );
    }
    const { session } = this;
    const waiting = { transaction, reply };
    this.running.add(waiting);
    session
      .execute(transaction, () => reply.expired())
      .then(
        (result) => {
          if (this.running.delete(waiting)) reply.resolve(result);
        },
        (error: Error) => {
          // What was abandoned concerns nobody; any other end is the session's, and all begin anew with another.
          if (!(error instanceof Abandoned)) return this.closed(session, error.message);
          if (this.running.delete(waiting)) reply.reject(error);
        },
      );
  }

  private refuseAll(reason: string): void {
    const refused = [...this.running];
    this.running.clear();
    for (const { transaction, reply } of refused) {
      reply.reject(new StaleGeneration(`${transaction.owner}: the connection to VPP was lost: ${reason}`));
    }
  }

  private read({ scopes, take, reply }: Extract<VppConnectionMessage, { type: 'Read' }>): void {
    // Who has given up may have asked again, and takes nothing of the old answer for a part of the new one.
    const taken = take && ((object: VppObject): void => void (reply.expired() || take(object)));
    this.answer(reply, (session) => session.read(scopes, taken));
  }

  private answer<T>(reply: Reply<T>, ask: (session: Session) => Promise<T>): void {
    if (this.session === undefined) {
      return reply.reject(new StaleGeneration('VPP is not connected'));
    }
    ask(this.session).then(
      (value) => reply.resolve(value),
      (error: Error) => reply.reject(isLost(error) ? new StaleGeneration(error.message) : error),
    );
  }
}
