/**
 * Owns VPP's process: adopts or starts it, notices its death, starts it again after a back-off, ends it when told to.
 * A death is a message, not a crash of this actor. A VPP that keeps dying is no matter for restarts of actors either: the
 * node is given back to Linux.
 */
import type { Actor, ActorContext, ActorRef, ChildSpec, Reply } from '../actor-system.js';
import type { VppConnectionMessage, VppProcessMessage } from '../messages/vpp.js';
import { Deaths } from '../supervision/deaths.js';
import type { Launcher, VppExit, VppRun } from '../vpp-conn/launcher.js';

export interface VppProcessSettings {
  /** More deaths than this within the window, and the node gives up. */
  readonly deaths_max: number;
  readonly deaths_window_ms: number;
  /** Pause before the second start in a row; doubled for each further one. The first start after a death is immediate. */
  readonly backoff_first_ms: number;
  readonly backoff_max_ms: number;
  /** From SIGINT to SIGKILL: VPP takes SIGTERM too slowly. */
  readonly interrupt_ms: number;
  /** From SIGKILL to giving up on it: a large VPP takes seconds to free its memory, one stuck in the kernel never ends. */
  readonly kill_ms: number;
}

/** VPP died more often than its budget allows: no restart of an actor will mend that. */
export class VppKeepsDying extends Error {
  override readonly name = 'VppKeepsDying';
}

/** A signal that nobody survives has not ended VPP: it hangs in the kernel (state D), and with it what it holds. */
export class VppDoesNotEnd extends Error {
  override readonly name = 'VppDoesNotEnd';
}

/** `giveUp` is the last word for a VPP that keeps dying, or does not end: it stops the whole tree. */
export function vppProcess(
  launcher: Launcher,
  settings: VppProcessSettings,
  giveUp: (reason: VppKeepsDying | VppDoesNotEnd) => void,
): ChildSpec<VppProcessMessage> {
  // Outlives a restart of the actor: a VPP that keeps dying is not forgiven because the actor gave up on it once.
  const deaths = new Deaths(settings);
  const causes = new Map<DeathCause, number>();
  return {
    name: 'vpp-process',
    restart: 'permanent',
    shutdown_ms: settings.interrupt_ms + 2000,
    mailbox_max: 64,
    handler_ms_max: settings.interrupt_ms + 2000,
    start: (ctx) => new VppProcess(ctx, launcher, settings, deaths, causes, giveUp),
  };
}

/** `silent`: killed because it did not answer. */
type DeathCause = NodeJS.Signals | 'oom' | 'exit' | 'not_started' | 'silent';

function causeOf({ pid, signal, oom }: VppExit): DeathCause {
  if (pid === 0) return 'not_started';
  return oom ? 'oom' : (signal ?? 'exit');
}

class VppProcess implements Actor<VppProcessMessage> {
  private run: VppRun | undefined;
  private connection: ActorRef<VppConnectionMessage> | undefined;
  private shutdown: Reply<void>[] = [];
  private keepDown = false;
  private lives = 0;
  private lastExit = '';
  /** Why the present VPP is being killed. Its exit tells of a signal alone. */
  private killed_for: string | undefined;
  /** Why the present VPP is being ended to make room for the next. */
  private replaced_for: string | undefined;

  constructor(
    private readonly ctx: ActorContext<VppProcessMessage>,
    private readonly launcher: Launcher,
    private readonly settings: VppProcessSettings,
    private readonly deaths: Deaths,
    private readonly causes: Map<DeathCause, number>,
    private readonly giveUp: (reason: VppKeepsDying | VppDoesNotEnd) => void,
  ) {
    const adopted = launcher.adopt();
    if (adopted === undefined) this.launch();
    else this.follow(adopted);
  }

  receive(message: VppProcessMessage): void {
    switch (message.type) {
      case 'Attach':
        this.connection = message.connection;
        if (this.run !== undefined) this.connection.tellUrgent({ type: 'Started', run: this.run });
        else this.connection.tellUrgent({ type: 'Gone', exit: { pid: 0, reason: this.lastExit } });
        return;
      case 'Unresponsive':
        if (this.run?.pid !== message.pid) return;
        this.ctx.event('vpp', `VPP ${message.pid} is killed: ${message.reason}`);
        this.ctx.log.error({ pid: message.pid, reason: message.reason }, 'vpp(kill) VPP does not answer');
        this.killed_for = message.reason;
        this.kill(this.run);
        return;
      case 'Replace':
        if (this.run === undefined || this.keepDown || this.replaced_for !== undefined) return;
        if (message.vpp !== undefined && this.run.identity !== message.vpp) return;
        this.ctx.event('vpp', `VPP ${this.run.pid} is replaced: ${message.reason}`);
        this.ctx.log.warn({ pid: this.run.pid }, `vpp(replace) ${message.reason}`);
        this.replaced_for = message.reason;
        this.end(this.run);
        return;
      case 'KeepClock':
        if (this.run?.identity === message.vpp) this.launcher.keepClock(this.run);
        return;
      case 'NotEnded':
        if (this.run?.pid === message.pid) this.abandon(this.run);
        return;
      case 'Shutdown':
        this.keepDown = true;
        if (this.run === undefined) message.reply.resolve();
        else {
          this.shutdown.push(message.reply);
          this.end(this.run);
        }
        return;
      case 'StartAgain':
        if (this.run === undefined && !this.keepDown) this.launch();
        return;
      case 'Exited':
        this.buried(message.exit);
        return;
    }
  }

  gauges() {
    return {
      pid: this.run?.pid ?? 0,
      adopted: this.run?.adopted ?? false,
      lives: this.lives,
      deaths_in_window: this.deaths.count,
      last_exit: this.lastExit.slice(0, 200),
    };
  }

  describe() {
    return { deaths: Object.fromEntries(this.causes) };
  }

  private launch(): void {
    try {
      this.follow(this.launcher.start());
    } catch (error) {
      this.buried({ pid: 0, reason: `cannot be started: ${(error as Error).message}` });
    }
  }

  private follow(run: VppRun): void {
    this.run = run;
    this.lives += 1;
    this.ctx.event('vpp', `VPP ${run.pid} ${run.adopted ? 'adopted' : 'started'}`);
    run.exited.then((exit) => this.ctx.self.tellUrgent({ type: 'Exited', exit }));
    this.connection?.tellUrgent({ type: 'Started', run });
  }

  /** VPP is gone: say so, and start the next one unless it was told to stay down. */
  private buried(ended: VppExit): void {
    // An earlier incarnation of this actor may have followed the same process: one death is told once.
    if (ended.pid !== (this.run?.pid ?? 0)) return;
    const { killed_for, replaced_for } = this;
    const exit =
      replaced_for !== undefined
        ? { ...ended, reason: `replaced: ${replaced_for}` }
        : killed_for === undefined
          ? ended
          : { ...ended, reason: `killed because it did not answer (${killed_for}); ${ended.reason}` };
    const cause = killed_for === undefined ? causeOf(ended) : 'silent';
    this.run = undefined;
    this.killed_for = undefined;
    this.replaced_for = undefined;
    this.lastExit = exit.reason;
    this.launcher.forget();
    this.tellGone(exit);
    if (this.keepDown) return;
    if (replaced_for !== undefined) return this.launch();

    this.ctx.event('vpp', `VPP ${exit.pid} died: ${exit.reason}`);
    this.ctx.log.error({ pid: exit.pid, reason: exit.reason }, 'vpp(exit) VPP died');
    this.causes.set(cause, (this.causes.get(cause) ?? 0) + 1);
    this.deaths.note(this.ctx.clock.now_ms());
    if (this.deaths.count > this.settings.deaths_max) {
      const seconds = Math.round(this.settings.deaths_window_ms / 1000);
      const text = `VPP died ${this.deaths.count} times within ${seconds} s; last: ${exit.reason}`;
      return this.giveUp(new VppKeepsDying(text));
    }
    this.ctx.after(this.deaths.pause_ms, { type: 'StartAgain' });
  }

  private tellGone(exit: VppExit): void {
    this.connection?.tellUrgent({ type: 'Gone', exit });
    for (const reply of this.shutdown.splice(0)) reply.resolve();
  }

  /**
   * VPP is there and will never do anything again. The host is not to wait for it, and no other VPP may be started beside it:
   * it keeps its record, by which a later life finds it.
   */
  private abandon(run: VppRun): void {
    const seconds = this.settings.kill_ms / 1000;
    const reason = `SIGKILL has not ended VPP ${run.pid} within ${seconds} s: it hangs in the kernel; restart the machine`;
    const stopping = this.keepDown;
    this.run = undefined;
    this.keepDown = true;
    this.lastExit = reason;
    this.ctx.event('vpp', reason);
    this.ctx.log.error({ pid: run.pid }, `vpp(kill) ${reason}`);
    this.tellGone({ pid: run.pid, reason });
    if (!stopping) this.giveUp(new VppDoesNotEnd(reason));
  }

  /** SIGINT, then SIGKILL; a VPP that spins inside a signal handler only ends by the second. */
  private end(run: VppRun): void {
    this.launcher.signal(run, 'SIGINT');
    this.ctx.clock.after(this.settings.interrupt_ms, () => {
      if (this.run?.pid === run.pid) this.kill(run);
    });
  }

  private kill(run: VppRun): void {
    this.launcher.signal(run, 'SIGKILL');
    this.ctx.after(this.settings.kill_ms, { type: 'NotEnded', pid: run.pid });
  }
}
