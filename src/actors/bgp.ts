/**
 * What this node tells its BGP peers, and learns from them. State is inputs: Calico's objects, the node's addresses, the gobgpd that is there. What gobgpd
 * is to have follows from them (`bgp/plan.ts`), and it is brought there by the difference. Its best paths go to connectivity.
 */
import { DeadlineError, type Gobgp, GobgpError, has, RefusedError } from 'gobgp-grpc-stubs';
import type { Actor, ActorContext, ActorRef, ChildSpec } from '../actor-system.js';
import { applySteps, readPaths, readPeers, readPolicies, type StepFailure } from '../bgp/apply.js';
import { type BgpState, type BgpStep, diffBgp, stateAfter } from '../bgp/diff.js';
import type { GobgpdRun } from '../bgp/launcher.js';
import { compareGlobal, startListening } from '../bgp/listening.js';
import type { LocalPath } from '../bgp/local-paths.js';
import { BgpObjects, bgp_kinds } from '../bgp/objects.js';
import { type ActualPeer, prefixes_max } from '../bgp/peer-state.js';
import { type BgpPlan, planBgp, type WantedGlobal } from '../bgp/plan.js';
import { RemoteTable } from '../bgp/remote-table.js';
import { RemoteTeller } from '../bgp/remote-teller.js';
import { objectsReport, peersReport } from '../bgp/report.js';
import { restart_ms_default } from '../bgp/settings.js';
import type { Timer } from '../clock.js';
import type { LogLevel } from '../log.js';
import type { BgpMessage, BgpProcessMessage } from '../messages/bgp.js';
import type { ClusterMessage } from '../messages/cluster.js';
import type { RemoteRoutes } from '../messages/connectivity.js';
import type { NodeReady, SubscribeNode } from '../messages/node.js';

export interface BgpDeps {
  readonly process: ActorRef<BgpProcessMessage>;
  readonly uplink: ActorRef<SubscribeNode>;
  readonly cluster: ActorRef<ClusterMessage>;
  readonly connectivity: ActorRef<RemoteRoutes>;
  /** One attempt; rejects where nobody answers (yet). */
  connect(run: GobgpdRun, signal: AbortSignal): Promise<Gobgp>;
  /** Whether a gobgpd that began anew could listen on the IPv6 addresses as well. */
  canListenOn6(global: WantedGlobal): Promise<boolean>;
  /** Where people find what is wrong with objects, and how the sessions are. */
  readonly report: (status: () => unknown) => void;
}

export interface BgpSettings {
  readonly node_name: string;
  /** CALICO_ROUTER_ID. */
  readonly router_id?: string;
  /** Listens on IPv4 alone. */
  readonly ip4_only: boolean;
  /** Unless a BGPConfiguration says otherwise. */
  readonly log_level: LogLevel;
  /** Changes that come together are taken together. */
  readonly debounce_ms: number;
  readonly retry_first_ms: number;
  readonly retry_max_ms: number;
  /** How often peers are looked at: while some are waited for, and otherwise. */
  readonly poll_ms: number;
  readonly poll_idle_ms: number;
  /** From a gobgpd's start to its first answer. */
  readonly connect_ms: number;
  /** A peer is waited for at least so long, however little time it has to restart: a session takes up to half a minute to come up. */
  readonly wait_min_ms: number;
  /**
   * A peer that has said so has told what it has, if it is up for so long: gobgpd 3 says it for one that restarts before it has told anything. And one
   * that is up for longer has, though it has not said so.
   */
  readonly told_min_ms: number;
  readonly told_ms: number;
  /** No path has come for so long: what a peer has told to the end has arrived. */
  readonly quiet_ms: number;
  /** Routes told to connectivity at once, and how long it may take to take them in. */
  readonly routes_max: number;
  readonly tell_ms: number;
  /** How often all that gobgpd has is read, beside what this process has told it. */
  readonly reread_ms: number;
  /** A peer that has told too much has no session for so long. */
  readonly limit_pause_ms: number;
  /** When a gobgpd that listens on IPv4 alone is looked at: first, and at last. */
  readonly look6_first_ms: number;
  readonly look6_max_ms: number;
}

export const bgp_settings = {
  debounce_ms: 50,
  retry_first_ms: 100,
  retry_max_ms: 30_000,
  poll_ms: 1000,
  poll_idle_ms: 10_000,
  connect_ms: 15_000,
  wait_min_ms: 60_000,
  told_min_ms: 5000,
  told_ms: 15_000,
  quiet_ms: 1000,
  routes_max: 1000,
  tell_ms: 60_000,
  reread_ms: 300_000,
  limit_pause_ms: 600_000,
  look6_first_ms: 30_000,
  look6_max_ms: 3_600_000,
} as const;

const connect_retry_ms = 100;
/** Rounds in a row in which gobgpd gave no answer, before it is begun anew. */
const silences_max = 3;
const failures_max = 100;

export function bgp(deps: BgpDeps, settings: BgpSettings): ChildSpec<BgpMessage> {
  return {
    name: 'bgp-session',
    restart: 'permanent',
    shutdown_ms: 1000,
    mailbox_max: 4096,
    handler_ms_max: 10_000,
    start: (ctx) => new Bgp(ctx, deps, settings),
  };
}

/** One connection to one gobgpd. */
interface Session {
  readonly run: GobgpdRun;
  readonly gobgp: Gobgp;
  readonly abort: AbortController;
  /** Own paths that gobgpd has; undefined: not read yet. */
  paths: Map<string, LocalPath> | undefined;
  /** What else it has; undefined: to be read, for a round did not go as it should, or long ago. */
  state: BgpState | undefined;
  read_ms: number;
  /** See ApplyOptions. */
  readonly noted: Map<string, ReadonlySet<string>>;
  /** BGP has been started. */
  started: boolean;
  /** Its table was told from the beginning. */
  complete: boolean;
  /** Another gobgpd was there before it: peers that were its are told that this end restarts, and forwards on. */
  readonly restarting: boolean;
  /** It has what is wanted, and peers that were there before are waited for. */
  converged: boolean;
  listens: 'all' | 'ip4_alone';
  log_level: LogLevel | 'panic' | undefined;
}

class Bgp implements Actor<BgpMessage> {
  private readonly objects: BgpObjects;
  private readonly table = new RemoteTable();
  private readonly teller: RemoteTeller;
  private node: NodeReady['node'] | undefined;
  private run: GobgpdRun | undefined;
  private session: Session | undefined;
  private plan: BgpPlan | undefined;
  private actual: ReadonlyMap<string, ActualPeer> = new Map();
  private failures: readonly StepFailure[] = [];
  private secrets_wanted = '';
  /** Why BGP is not started. */
  private trouble = 'no gobgpd yet';
  /** Of the last attempt to start it: told once. */
  private refusal = '';
  private scheduled = false;
  private busy = false;
  private again = false;
  private retries = 0;
  private silences = 0;
  /** One at a time, however many changes come meanwhile. */
  private retrying: Timer | undefined;
  private polling = false;
  private next_poll: { readonly at_ms: number; readonly timer: Timer } | undefined;
  private last_path_ms = 0;
  /** Peers that have told too much, and since when they have no session for it. */
  private readonly limited = new Map<string, number>();
  /** When IPv6 is looked for again. */
  private look6: { readonly at_ms: number; readonly wait_ms: number } | undefined;

  constructor(
    private readonly ctx: ActorContext<BgpMessage>,
    private readonly deps: BgpDeps,
    private readonly settings: BgpSettings,
  ) {
    this.objects = new BgpObjects(settings.node_name);
    this.teller = new RemoteTeller({
      table: this.table,
      clock: ctx.clock,
      signal: ctx.signal,
      routes_max: settings.routes_max,
      isSettled: () => this.session?.converged === true && this.table.settled,
      tell: (news) =>
        ctx.ask(
          deps.connectivity,
          (reply) => ({ type: 'RemoteRoutes' as const, ...news, changed: new Map(news.changed), reply }),
          settings.tell_ms,
        ),
      failed: (error) => ctx.log.debug({ err: error }, 'bgp(tell) connectivity has not taken routes in'),
    });
    deps.report(() => this.describe());
    deps.uplink.tell({ type: 'SubscribeNode', subscriber: ctx.self });
    deps.cluster.tell({ type: 'Subscribe', subscriber: ctx.this_life, kinds: bgp_kinds });
    deps.process.tell({ type: 'Attach', session: ctx.self });
    this.pollIn(settings.poll_ms);
  }

  receive(message: BgpMessage): void {
    switch (message.type) {
      case 'NodeReady':
        this.node = message.node;
        this.schedule();
        return;
      case 'NodeLost':
        // Sessions have their own time: a VPP that is back by then has cost none of them.
        return;
      case 'ClusterChange':
        if (this.objects.take(message.change)) this.schedule();
        message.reply.resolve();
        return;
      case 'Started':
        this.begin(message.run);
        return;
      case 'Gone':
        this.gone(message.exit.reason);
        return;
      case 'Connected':
        this.connected(message.run, message.gobgp, message.as_number);
        return;
      case 'Lost':
        this.lost(message.gobgp, message.reason);
        return;
      case 'ConnectAgain':
        if (this.run === message.run && this.session === undefined) this.connect(message.run);
        return;
      case 'Converge':
        this.scheduled = false;
        this.startConverging();
        return;
      case 'Converged':
        this.busy = false;
        if (message.retry) this.retry();
        else this.retries = 0;
        if (this.again) this.schedule();
        return;
      case 'Poll':
        this.poll();
        return;
      case 'Polled': {
        this.polling = false;
        const { poll_ms, poll_idle_ms } = this.settings;
        this.pollIn(this.table.waiting > 0 ? poll_ms : poll_idle_ms);
        return;
      }
    }
  }

  stop(): void {
    this.end();
  }

  gauges() {
    return {
      pid: this.session?.run.pid ?? 0,
      peers: this.plan?.peers.size ?? 0,
      established: [...this.actual.values()].filter(({ session }) => session === 'established').length,
      paths: this.session?.paths?.size ?? 0,
      routes: this.table.size,
      synced: this.teller.synced,
    };
  }

  describe() {
    const { session, plan, table } = this;
    return {
      gobgpd: session === undefined ? undefined : { pid: session.run.pid, version: session.run.version },
      trouble: this.trouble || undefined,
      global: plan?.global,
      waits_for: this.objects.missing,
      routes: {
        known: table.size,
        untold: table.unsent,
        peers_waited_for: table.waiting,
        unusable: table.unusable,
        refused: table.refused,
      },
      ...peersReport(plan?.peers ?? new Map(), this.actual),
      ...objectsReport(this.troubles()),
    };
  }

  /** What is wrong, by object. */
  private *troubles(): Generator<readonly [string, string]> {
    for (const { of, reason } of this.failures) yield [this.objectOf(of), `${of}: ${reason}`];
    yield* this.objects.troubles();
    const minutes = Math.round(this.settings.limit_pause_ms / 60_000);
    for (const address of this.limited.keys())
      yield [
        this.objectOf(`peer ${address}`),
        `${address}: has told more than ${prefixes_max} prefixes and has no session for ${minutes} min: have it tell less`,
      ];
    if (this.session?.listens === 'ip4_alone')
      yield [
        'BGPConfiguration default',
        'spec.bindMode: the IPv6 addresses cannot be listened on: peers open no session to them; tried again',
      ];
    for (const [object, lines] of this.plan?.troubles ?? []) for (const line of lines) yield [object, line];
  }

  private objectOf(what: string): string {
    const [kind, name = ''] = what.split(' ');
    return (kind === 'peer' ? this.plan?.peers.get(name)?.by : undefined) ?? 'BGPConfiguration default';
  }

  // --- gobgpd

  private begin(run: GobgpdRun): void {
    if (this.run?.pid === run.pid) return;
    this.end();
    this.run = run;
    this.trouble = `gobgpd ${run.pid} does not answer yet`;
    this.connect(run);
  }

  private gone(reason: string): void {
    this.run = undefined;
    this.trouble = `gobgpd is not there: ${reason}`;
    this.end();
  }

  /** Of a connection that is another's by now nothing is lost. */
  private lost(gobgp: Gobgp, reason: string): void {
    const { session } = this;
    if (session?.gobgp !== gobgp) return;
    this.trouble = reason;
    this.end();
    this.ctx.after(1000, { type: 'ConnectAgain', run: session.run });
  }

  private renew(run: GobgpdRun, reason: string): void {
    this.deps.process.tell({ type: 'Renew', pid: run.pid, reason });
  }

  /** The session is over. What it told holds until the next one has told all again, or the peers' time is over. */
  private end(): void {
    const { session } = this;
    if (session === undefined) return;
    this.session = undefined;
    this.actual = new Map();
    this.limited.clear();
    session.abort.abort(new Error('the session is over'));
    session.gobgp.close();
    // Each peer has its own time, for what is left the usual one.
    for (const address of this.plan?.peers.keys() ?? []) this.await(address);
    this.table.lost(this.ctx.clock.now_ms() + restart_ms_default);
  }

  private await(address: string): void {
    const restart_ms = (this.plan?.peers.get(address)?.restart_s ?? 0) * 1000;
    const ms = Math.max(restart_ms, this.settings.wait_min_ms);
    this.table.await(address, this.ctx.clock.now_ms() + ms);
  }

  private connect(run: GobgpdRun): void {
    const { ctx, settings } = this;
    const until = ctx.clock.now_ms() + settings.connect_ms;
    const attempt = async (): Promise<void> => {
      for (;;) {
        try {
          const gobgp = await this.deps.connect(run, ctx.signal);
          const { global } = await gobgp.getBgp({}, { signal: ctx.signal });
          ctx.tellSelf({ type: 'Connected', run, gobgp, as_number: global.asn });
          return;
        } catch (error) {
          if (ctx.signal.aborted || this.run !== run) return;
          if (ctx.clock.now_ms() >= until) {
            const reason = `gobgpd ${run.pid} does not answer: ${(error as Error).message}`;
            this.trouble = reason;
            this.renew(run, reason);
            return;
          }
        }
        await ctx.clock.sleep(connect_retry_ms, ctx.signal);
      }
    };
    attempt().catch(() => undefined);
  }

  private connected(run: GobgpdRun, gobgp: Gobgp, as_number: number): void {
    if (this.run !== run || this.session !== undefined) {
      gobgp.close();
      return;
    }
    const is_new = as_number === 0;
    const session: Session = {
      run,
      gobgp,
      abort: new AbortController(),
      paths: is_new ? new Map() : undefined,
      state: undefined,
      read_ms: 0,
      noted: new Map(),
      started: !is_new,
      complete: is_new,
      restarting: run.succeeds && is_new,
      converged: false,
      listens: 'all',
      log_level: undefined,
    };
    this.session = session;
    this.trouble = '';
    gobgp.closed.then((error) => {
      if (error !== undefined) this.ctx.tellSelf({ type: 'Lost', gobgp, reason: error.message });
    });
    if (session.started) this.watch(session);
    this.schedule();
  }

  // --- what gobgpd tells

  private watch(session: Session): void {
    const { gobgp, abort } = session;
    const { signal } = abort;
    this.table.begin();
    const follow = async (): Promise<void> => {
      for await (const event of gobgp.watch({ peers: true, best: true }, { signal })) {
        if (this.session !== session) return;
        if (event.type === 'paths') {
          this.last_path_ms = this.ctx.clock.now_ms();
          this.table.take(event.paths);
          await this.teller.send();
        } else if (event.type === 'paths_complete') {
          session.complete = true;
          this.table.complete();
          this.schedule();
        } else if (event.type === 'peer' && !event.initial) this.pollIn(this.settings.quiet_ms);
      }
    };
    const over = (reason: string): void => {
      if (!signal.aborted) this.ctx.tellSelf({ type: 'Lost', gobgp, reason });
    };
    follow().then(
      () => over('gobgpd has ended the watch of its table'),
      (error: Error) => over(error.message),
    );
  }

  // --- peers

  private pollIn(ms: number): void {
    const at_ms = this.ctx.clock.now_ms() + ms;
    // Who asks for one sooner gets it sooner, and nobody puts it off.
    if (this.next_poll !== undefined && this.next_poll.at_ms <= at_ms) return;
    this.next_poll?.timer.cancel();
    this.next_poll = { at_ms, timer: this.ctx.after(ms, { type: 'Poll' }) };
  }

  private poll(): void {
    this.next_poll = undefined;
    if (this.polling) return;
    this.polling = true;
    this.look()
      .catch((error: Error) => {
        this.ctx.log.debug({ err: error }, 'bgp(peers) cannot be read');
        if (this.session !== undefined) this.silent(this.session, error);
      })
      .finally(() => this.ctx.tellSelf({ type: 'Polled' }));
  }

  /** Reads the peers, and waits no more for those that have told all. */
  private async look(): Promise<void> {
    const { session, table, ctx, settings } = this;
    const now_ms = ctx.clock.now_ms();
    if (session?.started) {
      const actual = await readPeers(session.gobgp, session.abort.signal);
      if (this.session !== session) return;
      this.actual = actual;
      this.silences = 0;
      const quiet = now_ms - this.last_path_ms >= settings.quiet_ms;
      if (session.converged && session.complete && quiet)
        for (const peer of actual.values()) if (this.hasTold(peer)) table.release(peer.address);
      await this.enableLimited(session, actual);
      await this.lookFor6(session);
      if (session.state !== undefined && now_ms - session.read_ms >= settings.reread_ms) {
        session.state = undefined;
        this.schedule();
      }
    }
    for (const address of table.expire(ctx.clock.now_ms()))
      ctx.log.warn(
        { peer: address },
        'bgp(restart) the peer has not come back in time: its routes are withdrawn',
      );
    if (session !== undefined && table.is_worth_telling_again)
      this.lost(session.gobgp, 'the table has room again: it is read from its beginning');
    // Peers are looked at however long connectivity takes.
    this.teller.send();
  }

  private hasTold({ session, end_of_rib, established_ms }: ActualPeer): boolean {
    if (session !== 'established' || established_ms === undefined) return false;
    const up_ms = this.ctx.clock.wall_ms() - established_ms;
    return up_ms >= (end_of_rib ? this.settings.told_min_ms : this.settings.told_ms);
  }

  /** gobgpd opens no session again to a peer that has told too much. */
  private async enableLimited(session: Session, actual: ReadonlyMap<string, ActualPeer>): Promise<void> {
    const { limited, ctx, settings } = this;
    const now_ms = ctx.clock.now_ms();
    for (const { address, over_limit } of actual.values()) {
      const since_ms = limited.get(address);
      if (!over_limit) limited.delete(address);
      else if (since_ms === undefined) {
        limited.set(address, now_ms);
        ctx.log.warn({ peer: address }, `bgp(limit) the peer has told more than ${prefixes_max} prefixes`);
      } else if (now_ms - since_ms >= settings.limit_pause_ms) {
        limited.set(address, now_ms);
        await session.gobgp.enablePeer({ address }, { signal: session.abort.signal });
      }
    }
    for (const address of limited.keys()) if (!actual.has(address)) limited.delete(address);
  }

  /** The IPv6 addresses may have come, or their port be free, since BGP was started without: a gobgpd that begins anew has them. */
  private async lookFor6({ run, listens }: Session): Promise<void> {
    const { look6, plan, ctx, settings } = this;
    const now_ms = ctx.clock.now_ms();
    if (listens !== 'ip4_alone' || look6 === undefined || plan === undefined || now_ms < look6.at_ms) return;
    this.look6In(Math.min(look6.wait_ms * 2, settings.look6_max_ms));
    if (await this.deps.canListenOn6(plan.global))
      this.renew(run, 'the IPv6 addresses can be listened on now');
  }

  private look6In(wait_ms: number): void {
    this.look6 = { at_ms: this.ctx.clock.now_ms() + wait_ms, wait_ms };
  }

  // --- what gobgpd is to have

  private schedule(): void {
    this.again = false;
    if (this.busy) this.again = true;
    else if (!this.scheduled) {
      this.scheduled = true;
      this.ctx.after(this.settings.debounce_ms, { type: 'Converge' });
    }
  }

  private retry(): void {
    const { retry_first_ms, retry_max_ms } = this.settings;
    this.retrying?.cancel();
    this.retrying = this.ctx.after(Math.min(retry_first_ms * 2 ** this.retries, retry_max_ms), {
      type: 'Converge',
    });
    this.retries = Math.min(this.retries + 1, 20);
  }

  private startConverging(): void {
    const { session, node, objects } = this;
    if (this.busy) {
      this.again = true;
      return;
    }
    // A gobgpd that was started already shows what it has before anything of it is changed.
    if (session === undefined || node === undefined || !session.complete) return;
    if (objects.missing.length > 0 || objects.unread.length > 0) return;
    this.busy = true;
    this.converge(session, node).then(
      (retry) => this.ctx.tellSelf({ type: 'Converged', retry }),
      (error: Error) => {
        this.failed(session, error);
        this.ctx.tellSelf({ type: 'Converged', retry: true });
      },
    );
  }

  private failed(session: Session, error: Error): void {
    if (!(error instanceof GobgpError)) {
      this.ctx.crash(error);
      return;
    }
    this.failures = [{ of: 'gobgpd', reason: error.message }];
    this.silent(session, error);
  }

  /** A gobgpd that gives no answer again and again is begun anew. */
  private silent(session: Session, error: Error): void {
    if (!(error instanceof DeadlineError)) return;
    this.silences += 1;
    if (this.silences < silences_max) return;
    this.silences = 0;
    this.renew(session.run, error.message);
  }

  /** Brings gobgpd to what is wanted by now; true: something is to be tried again. */
  private async converge(session: Session, addresses: NodeReady['node']): Promise<boolean> {
    const { gobgp, abort, noted } = session;
    const { signal } = abort;
    const { router_id, ip4_only } = this.settings;
    session.paths ??= await readPaths(gobgp, signal);
    const may_withdraw = this.objects.knows_all_local;
    const plan = planBgp({
      ...this.objects.inputs(),
      kept_prefixes: may_withdraw ? [] : session.paths.keys(),
      ...(router_id !== undefined && { router_id }),
      ip4_only,
      addresses,
      version: gobgp.version,
    });
    this.plan = plan;
    this.wantSecrets(plan.secrets);
    if (!(await this.startBgp(session, plan.global))) return true;
    const state = session.state ?? (await this.read(session));
    const steps = diffBgp(plan, state, session.paths, {
      updates: has(gobgp.version, '3.15'),
      withdraws: has(gobgp.version, '4.6'),
      may_withdraw,
      learned: () => this.table.prefixes(),
      owed: noted.size > 0,
    });
    this.awaitPeers(session, plan, steps);
    session.state = undefined;
    const failures = await applySteps(gobgp, steps, {
      signal,
      restarting: (address) => session.restarting && this.table.isAwaited(address),
      paths: session.paths,
      noted,
      hold: (peers) => {
        for (const address of peers) this.await(address);
      },
    });
    if (failures.length === 0) session.state = stateAfter(plan, state);
    this.failures = failures.slice(0, failures_max);
    this.silences = 0;
    session.converged = true;
    this.pollIn(this.settings.quiet_ms);
    await this.setLogLevel(session, plan);
    return failures.length > 0;
  }

  private async read(session: Session): Promise<BgpState> {
    const { gobgp, abort } = session;
    session.read_ms = this.ctx.clock.now_ms();
    const peers = await readPeers(gobgp, abort.signal);
    return { peers, ...(await readPolicies(gobgp, abort.signal)) };
  }

  private wantSecrets(names: readonly string[]): void {
    const wanted = names.join('\n');
    if (wanted === this.secrets_wanted) return;
    this.secrets_wanted = wanted;
    this.objects.keepSecrets(names);
    this.deps.cluster.tell({ type: 'WantSecrets', subscriber: this.ctx.this_life, names });
  }

  /** Before peers are touched: whose routes are kept, and for how long. */
  private awaitPeers(session: Session, plan: BgpPlan, steps: readonly BgpStep[]): void {
    const { table } = this;
    if (!session.converged) for (const address of plan.peers.keys()) this.await(address);
    for (const step of steps)
      if (step.type === 'delete_peer') {
        if (step.comes_back) this.await(step.address);
        else table.release(step.address);
      }
    // One whose peer is no more comes not back.
    for (const address of table.neighbours()) if (!plan.peers.has(address)) table.release(address);
    table.gateways(plan.gateways);
    this.teller.send();
  }

  /** True: BGP runs as it is wanted. */
  private async startBgp(session: Session, global: WantedGlobal): Promise<boolean> {
    const { gobgp, abort, run } = session;
    const { signal } = abort;
    if (session.started) {
      const { global: actual } = await gobgp.getBgp({}, { signal });
      const compared = compareGlobal(global, actual);
      if (compared === 'other') this.renew(run, 'AS, router id or listening addresses have changed');
      else this.listening(session, compared === 'same' ? 'all' : compared);
      return compared !== 'other';
    }
    try {
      this.listening(session, await startListening(gobgp, global, signal));
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      // The address is not there yet, or another program has the port.
      this.trouble = `BGP cannot be started on port ${global.listen_port}: ${error.details}`;
      if (this.trouble !== this.refusal) this.ctx.log.warn({}, `bgp(start) ${this.trouble}`);
      this.refusal = this.trouble;
      // It keeps those of the addresses that it had by then, and could not have them again.
      if (global.listen_addresses.length > 1) this.renew(run, this.trouble);
      return false;
    }
    session.started = true;
    this.refusal = '';
    this.watch(session);
    return true;
  }

  private listening(session: Session, listens: Session['listens']): void {
    this.trouble = '';
    if (listens === 'all') this.look6 = undefined;
    else if (session.listens === 'all') {
      this.ctx.log.warn({}, 'bgp(start) listens on IPv4 alone');
      if (this.look6 === undefined) this.look6In(this.settings.look6_first_ms);
    }
    session.listens = listens;
  }

  /** An accessory: what comes of it concerns nothing else. */
  private async setLogLevel(session: Session, plan: BgpPlan): Promise<void> {
    const severity = plan.settings.log_severity;
    const level = severity === undefined ? this.settings.log_level : log_levels[severity];
    // 4.x has no more than these.
    const told = session.gobgp.dialect === 4 && (level === 'fatal' || level === 'panic') ? 'error' : level;
    if (session.log_level === told) return;
    try {
      await session.gobgp.setLogLevel({ level: told }, { signal: session.abort.signal });
      session.log_level = told;
    } catch (error) {
      if (!(error instanceof GobgpError)) throw error;
      this.failures = [
        ...this.failures,
        { of: 'spec.logSeverityScreen', reason: `cannot be told to gobgpd: ${error.message}` },
      ];
    }
  }
}

const log_levels = {
  Debug: 'debug',
  Info: 'info',
  Warning: 'warn',
  Error: 'error',
  Fatal: 'fatal',
  None: 'panic',
} as const;
