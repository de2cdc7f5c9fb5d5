/**
 * Owns gobgpd's process: adopts or starts it, notices its death, starts it again after a back-off. A gobgpd that keeps dying, or that is not
 * there, costs this node what it would learn from now on, and nothing else.
 */
import type { Actor, ActorContext, ActorRef, ChildSpec } from '../actor-system.js';
import type { GobgpdExit, GobgpdLauncher, GobgpdRun } from '../bgp/launcher.js';
import type { BgpMessage, BgpProcessMessage } from '../messages/bgp.js';
import { Deaths, type DeathsSettings } from '../supervision/deaths.js';

export interface BgpProcessSettings extends DeathsSettings {
  /** How often the file of its output is looked at. */
  readonly trim_ms: number;
}

export const bgp_process_settings: BgpProcessSettings = {
  backoff_first_ms: 250,
  backoff_max_ms: 30_000,
  deaths_window_ms: 120_000,
  trim_ms: 60_000,
};

export function bgpProcess(
  launcher: GobgpdLauncher,
  settings: BgpProcessSettings = bgp_process_settings,
): ChildSpec<BgpProcessMessage> {
  // Outlives a restart of the actor.
  const deaths = new Deaths(settings);
  return {
    name: 'bgp-process',
    restart: 'permanent',
    shutdown_ms: 1000,
    mailbox_max: 64,
    handler_ms_max: 10_000,
    start: (ctx) => new BgpProcess(ctx, launcher, settings, deaths),
  };
}

class BgpProcess implements Actor<BgpProcessMessage> {
  private run: GobgpdRun | undefined;
  private session: ActorRef<BgpMessage> | undefined;
  private launching = false;
  private lives = 0;
  private last_exit = '';
  /** Why the present one is being ended. */
  private ended_for: string | undefined;

  constructor(
    private readonly ctx: ActorContext<BgpProcessMessage>,
    private readonly launcher: GobgpdLauncher,
    private readonly settings: BgpProcessSettings,
    private readonly deaths: Deaths,
  ) {
    this.launch(true);
    ctx.after(settings.trim_ms, { type: 'Trim' });
  }

  receive(message: BgpProcessMessage): void {
    switch (message.type) {
      case 'Attach':
        this.session = message.session;
        if (this.run !== undefined) this.session.tellUrgent({ type: 'Started', run: this.run });
        else this.session.tellUrgent({ type: 'Gone', exit: { pid: 0, reason: this.last_exit } });
        return;
      case 'Renew':
        this.renew(message.pid, message.reason);
        return;
      case 'StartAgain':
        this.launch(false);
        return;
      case 'Launched':
        this.launching = false;
        if ('run' in message) this.follow(message.run);
        else this.buried({ pid: 0, reason: message.reason });
        return;
      case 'Exited':
        this.buried(message.exit);
        return;
      case 'Trim':
        this.launcher.trimOutput();
        this.ctx.after(this.settings.trim_ms, { type: 'Trim' });
        return;
    }
  }

  gauges() {
    return {
      pid: this.run?.pid ?? 0,
      adopted: this.run?.adopted ?? false,
      lives: this.lives,
      deaths_in_window: this.deaths.count,
      last_exit: this.last_exit.slice(0, 200),
    };
  }

  private launch(adopts: boolean): void {
    if (this.run !== undefined || this.launching) return;
    this.launching = true;
    const launched = async () =>
      (adopts ? await this.launcher.adopt() : undefined) ?? this.launcher.start(this.ctx.signal);
    launched().then(
      (run) => this.ctx.tellSelf({ type: 'Launched', run }),
      (error: Error) =>
        this.ctx.tellSelf({ type: 'Launched', reason: `cannot be started: ${error.message}` }),
    );
  }

  private follow(run: GobgpdRun): void {
    this.run = run;
    this.ended_for = undefined;
    this.lives += 1;
    this.ctx.event('bgp', `gobgpd ${run.pid} ${run.adopted ? 'adopted' : 'started'}`);
    run.exited.then((exit) => this.ctx.self.tellUrgent({ type: 'Exited', exit }));
    this.session?.tellUrgent({ type: 'Started', run });
  }

  private renew(pid: number, reason: string): void {
    const { run } = this;
    if (run?.pid !== pid || this.ended_for !== undefined) return;
    this.ended_for = reason;
    this.ctx.event('bgp', `gobgpd ${pid} is begun anew: ${reason}`);
    this.ctx.log.info({ pid, reason }, 'bgp(renew) gobgpd is begun anew');
    this.launcher.end(run);
  }

  private buried({ pid, reason: how }: GobgpdExit): void {
    // An earlier incarnation of this actor may have followed the same process: one death is told once.
    if (pid !== (this.run?.pid ?? 0)) return;
    const { run, ended_for } = this;
    const reason = ended_for === undefined ? how : `ended here (${ended_for}); ${how}`;
    this.run = undefined;
    if (run !== undefined) this.launcher.buried(run);
    this.last_exit = reason;
    this.session?.tellUrgent({ type: 'Gone', exit: { pid, reason } });
    this.deaths.note(this.ctx.clock.now_ms());
    if (ended_for === undefined) {
      this.ctx.event('bgp', `gobgpd ${pid} died: ${reason}`);
      this.ctx.log.error({ pid, reason }, 'bgp(exit) gobgpd died, or cannot be started');
    }
    this.ctx.after(this.deaths.pause_ms, { type: 'StartAgain' });
  }
}
