/**
 * What this node tells its BGP peers, and learns from them. State is inputs: Calico's objects, the node's addresses, the gobgpd that is there. What gobgpd
 * is to have follows from them (`bgp/plan.ts`), and it is brought there by the difference. Its best paths go to connectivity.
 */
import { DeadlineError, type Gobgp, GobgpError } from 'gobgp-grpc-stubs';
import type { Actor, ActorContext, ActorRef, ChildSpec } from '../actor-system.js';
import { readPeers, type StepFailure } from '../bgp/apply.js';
import { follow } from '../bgp/follow.js';
import { GracefulRestart } from '../bgp/graceful-restart.js';
import type { GobgpdRun } from '../bgp/launcher.js';
import { Looks } from '../bgp/looks.js';
import { BgpObjects, bgp_kinds } from '../bgp/objects.js';
import type { BgpPace } from '../bgp/pace.js';
import { prefixes_max } from '../bgp/peer-state.js';
import { type BgpPlan, planBgp, type WantedGlobal } from '../bgp/plan.js';
import { reach } from '../bgp/reach.js';
import { RemoteTable } from '../bgp/remote-table.js';
import { RemoteTeller } from '../bgp/remote-teller.js';
import { ip4_alone, limitedText, objectsReport, peersReport, waitsForNode } from '../bgp/report.js';
import { Rounds } from '../bgp/rounds.js';
import { SeenPeers } from '../bgp/seen-peers.js';
import { BgpSession } from '../bgp/session.js';
import { Silences } from '../bgp/silences.js';
import { Starting } from '../bgp/starting.js';
import type { NetworkAddresses } from '../desired/network-addresses.js';
import type { LogLevel } from '../log.js';
import type { BgpMessage, BgpProcessMessage } from '../messages/bgp.js';
import type { ClusterMessage } from '../messages/cluster.js';
import type { RemoteRoutes, SidsProgrammed, SubscribeSids } from '../messages/connectivity.js';
import type { NodeReady, SubscribeNode } from '../messages/node.js';
import type { SubscribeProgrammed } from '../messages/services.js';

export interface BgpDeps {
  readonly process: ActorRef<BgpProcessMessage>;
  readonly uplink: ActorRef<SubscribeNode>;
  readonly cluster: ActorRef<ClusterMessage>;
  readonly connectivity: ActorRef<RemoteRoutes>;
  /** Who tells which SIDs VPP has; absent: no SRv6. */
  readonly sids?: ActorRef<SubscribeSids>;
  /** Addresses of this node's pods in networks beside the default one; absent: there are none. */
  readonly networks?: NetworkAddresses;
  /** Who tells which addresses of services VPP serves; absent: they are somebody else's, and announced whether they are served or not. */
  readonly services?: ActorRef<SubscribeProgrammed>;
  /** One attempt; rejects where nobody answers (yet). */
  connect(run: GobgpdRun, signal: AbortSignal): Promise<Gobgp>;
  /** How long the threads of a process have waited for a CPU, in milliseconds since it began. */
  waited_ms(pid: number): number;
  /** Whether a gobgpd that began anew could listen on the IPv6 addresses as well. */
  canListenOn6(global: WantedGlobal): Promise<boolean>;
  /** Where people find what is wrong with objects, and how the sessions are. */
  readonly report: (status: () => unknown) => void;
}

export interface BgpSettings extends BgpPace {
  readonly node_name: string;
  /** CALICO_ROUTER_ID. */
  readonly router_id?: string;
  /** Listens on IPv4 alone. */
  readonly ip4_only: boolean;
  /** Unless a BGPConfiguration says otherwise. */
  readonly log_level: LogLevel;
}

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

class Bgp implements Actor<BgpMessage> {
  private readonly objects: BgpObjects;
  private readonly table = new RemoteTable();
  private readonly teller: RemoteTeller;
  private node: NodeReady['node'] | undefined;
  private run: GobgpdRun | undefined;
  private session: BgpSession | undefined;
  private plan: BgpPlan | undefined;
  private readonly peers: SeenPeers;
  private readonly restart: GracefulRestart;
  private readonly looks: Looks;
  private failures: readonly StepFailure[] = [];
  private secrets_wanted = '';
  /** Why BGP is not started. */
  private trouble = 'no gobgpd yet';
  private readonly rounds: Rounds;
  private readonly starting: Starting;
  private silences: Silences | undefined;
  private last_path_ms = 0;
  /** Of this node, that VPP has; undefined: not told yet. */
  private sids: SidsProgrammed | undefined;
  /** Until when this node's own Node is waited for; undefined: it has not been missed yet. */
  private own_node_until_ms: number | undefined;

  constructor(
    private readonly ctx: ActorContext<BgpMessage>,
    private readonly deps: BgpDeps,
    private readonly settings: BgpSettings,
  ) {
    this.peers = new SeenPeers(settings);
    this.restart = new GracefulRestart({
      ...settings,
      clock: ctx.clock,
      table: this.table,
      peers: this.peers,
    });
    this.looks = new Looks({
      clock: ctx.clock,
      after: (ms) => ctx.after(ms, { type: 'Poll' }),
      rest_ms_max: settings.poll_idle_ms,
    });
    this.rounds = new Rounds({ ...settings, after: (ms) => ctx.after(ms, { type: 'Converge' }) });
    this.starting = new Starting({
      ...settings,
      clock: ctx.clock,
      log: ctx.log,
      canListenOn6: deps.canListenOn6,
    });
    this.objects = new BgpObjects(settings.node_name, { served_only: deps.services !== undefined });
    this.teller = new RemoteTeller({
      table: this.table,
      clock: ctx.clock,
      signal: ctx.signal,
      routes_max: settings.routes_max,
      isRead: () => this.session?.complete === true,
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
    deps.services?.tell({ type: 'SubscribeProgrammed', subscriber: ctx.this_life });
    deps.sids?.tell({ type: 'SubscribeSids', subscriber: ctx.this_life });
    deps.networks?.hear(() => ctx.tellSelf({ type: 'NetworkAddressesChanged' }));
    deps.process.tell({ type: 'Attach', session: ctx.self });
    this.looks.in(settings.poll_ms);
  }

  receive(message: BgpMessage): void {
    switch (message.type) {
      case 'NodeReady':
        this.node = message.node;
        this.rounds.wish();
        return;
      case 'NodeLost':
        // Sessions have their own time: a VPP that is back by then has cost none of them.
        return;
      case 'ClusterChange':
        if (this.objects.take(message.change)) this.rounds.wish();
        message.reply.resolve();
        return;
      case 'ServicesProgrammed':
        if (this.objects.setServed(message)) this.rounds.wish();
        return;
      case 'SidsProgrammed':
        this.sids = message;
        this.rounds.wish();
        return;
      case 'NetworkAddressesChanged':
        this.rounds.wish();
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
        if (this.rounds.heard()) this.startConverging();
        return;
      case 'Converged':
        this.rounds.over(message.retry);
        return;
      case 'Poll':
        this.poll();
        return;
      case 'Polled': {
        const { poll_ms, poll_idle_ms } = this.settings;
        this.looks.in(this.table.waiting > 0 ? poll_ms : poll_idle_ms);
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
      established: this.peers.established_count,
      paths: this.session?.paths_count ?? 0,
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
        paths: table.paths_count,
        untold: table.unsent,
        peers_waited_for: table.waiting,
        unusable: table.unusable,
        refused: table.refused,
      },
      ...peersReport(plan?.peers ?? new Map(), this.peers.all),
      ...objectsReport(this.troubles()),
    };
  }

  /** What is wrong, by object. */
  private *troubles(): Generator<readonly [string, string]> {
    const { failures, objects, peers, plan, session, settings } = this;
    for (const { of, reason } of failures) yield [this.objectOf(of), `${of}: ${reason}`];
    yield* objects.troubles();
    if (this.own_node_until_ms !== undefined && !objects.knows_own_node)
      yield waitsForNode(settings.node_name, settings.own_node_ms);
    for (const address of peers.limited)
      yield [this.objectOf(`peer ${address}`), limitedText(address, settings.limit_pause_ms)];
    if (session?.listens === 'ip4_alone') yield ip4_alone;
    for (const [object, lines] of plan?.troubles ?? []) for (const line of lines) yield [object, line];
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
    session.end();
    this.restart.lost();
  }

  private connect(run: GobgpdRun): void {
    const { ctx, deps, settings } = this;
    const isOver = () => this.run !== run;
    const connect = () => deps.connect(run, ctx.signal);
    const waited = () => deps.waited_ms(run.pid);
    const { clock, signal } = ctx;
    reach({ connect, clock, signal, connect_ms: settings.connect_ms, waited, isOver }).then(
      (reached) => {
        if (ctx.signal.aborted) reached?.gobgp.close();
        else if (reached !== undefined) ctx.tellSelf({ type: 'Connected', run, ...reached });
      },
      (error: Error) => {
        if (ctx.signal.aborted || isOver()) return;
        this.trouble = `gobgpd ${run.pid} does not answer: ${error.message}`;
        this.renew(run, this.trouble);
      },
    );
  }

  private connected(run: GobgpdRun, gobgp: Gobgp, as_number: number): void {
    if (this.run !== run || this.session !== undefined) {
      gobgp.close();
      return;
    }
    const session = new BgpSession(run, gobgp, as_number);
    this.session = session;
    this.silences = new Silences(() => this.deps.waited_ms(run.pid));
    this.trouble = '';
    gobgp.closed.then((error) => {
      if (error !== undefined) this.ctx.tellSelf({ type: 'Lost', gobgp, reason: error.message });
    });
    if (session.started) this.watch(session);
    this.rounds.wish();
  }

  // --- what gobgpd tells

  private watch(session: BgpSession): void {
    const { table, teller, settings, ctx } = this;
    follow({
      session,
      table,
      teller,
      unsent_max: settings.unsent_max,
      heard: () => {
        this.last_path_ms = ctx.clock.now_ms();
      },
      told: () => this.rounds.wish(),
      changed: () => this.looks.in(settings.quiet_ms),
      failed: (reason) => ctx.tellSelf({ type: 'Lost', gobgp: session.gobgp, reason }),
    });
  }

  // --- peers

  private poll(): void {
    if (!this.looks.begin()) return;
    this.look()
      .catch((error: Error) => {
        this.ctx.log.debug({ err: error }, 'bgp(peers) cannot be read');
        if (this.session !== undefined) this.silent(this.session, error);
      })
      .finally(() => {
        this.looks.over();
        this.ctx.tellSelf({ type: 'Polled' });
      });
  }

  /** Reads the peers, and waits no more for those that have told all. */
  private async look(): Promise<void> {
    const { session, table, peers, ctx, settings } = this;
    const now_ms = ctx.clock.now_ms();
    if (session?.started) {
      const actual = await readPeers(session.gobgp, session.signal);
      if (this.session !== session) return;
      for (const peer of peers.see(actual, now_ms))
        ctx.log.warn({ peer }, `bgp(limit) the peer has told more than ${prefixes_max} prefixes`);
      this.silences?.heard();
      const quiet = now_ms - this.last_path_ms >= settings.quiet_ms;
      if (session.converged && session.complete && quiet) table.release(...peers.told(ctx.clock.wall_ms()));
      await this.retryLimited(session);
      if (this.plan !== undefined && (await this.starting.mayHave6(session, this.plan.global)))
        this.renew(session.run, 'the IPv6 addresses can be listened on now');
      if (session.forget(now_ms, settings.reread_ms)) this.rounds.wish();
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

  /** gobgpd opens no session again to a peer that has told too much. */
  private async retryLimited(session: BgpSession): Promise<void> {
    const { peers, ctx } = this;
    const now_ms = ctx.clock.now_ms();
    for (const address of peers.forgiven(now_ms)) {
      // Deleted and made anew: what gobgpd keeps of it for a graceful restart would count for the limit.
      if (this.rounds.busy) continue;
      await session.gobgp.deletePeer({ address }, { signal: session.signal });
      peers.forgive(address);
      session.forget(now_ms, 0);
      this.rounds.wish();
    }
  }

  // --- what gobgpd is to have

  private startConverging(): void {
    const { session, node, objects } = this;
    // A gobgpd that was started already shows what it has before anything of it is changed.
    if (session === undefined || node === undefined || !session.complete) return;
    if (objects.missing.length > 0 || objects.unread.length > 0 || this.waitsForOwnNode()) return;
    this.rounds.begin();
    this.converge(session, node).then(
      (retry) => this.ctx.tellSelf({ type: 'Converged', retry }),
      (error: Error) => {
        this.failed(session, error);
        this.ctx.tellSelf({ type: 'Converged', retry: true });
      },
    );
  }

  /** gobgpd, and what it has of an earlier life, stays as it is meanwhile. */
  private waitsForOwnNode(): boolean {
    const { objects, ctx, settings } = this;
    if (objects.knows_own_node) return false;
    if (this.own_node_until_ms === undefined) {
      this.own_node_until_ms = ctx.clock.now_ms() + settings.own_node_ms;
      ctx.after(settings.own_node_ms, { type: 'Converge' });
    }
    return ctx.clock.now_ms() < this.own_node_until_ms;
  }

  private failed(session: BgpSession, error: Error): void {
    if (!(error instanceof GobgpError)) {
      this.ctx.crash(error);
      return;
    }
    this.failures = [{ of: 'gobgpd', reason: error.message }];
    this.silent(session, error);
  }

  /** A gobgpd that gives no answer again and again is begun anew. */
  private silent(session: BgpSession, error: Error): void {
    if (session !== this.session || !(error instanceof DeadlineError)) return;
    if (this.silences?.missed(error.deadline_ms) !== true) return;
    this.silences.heard();
    this.renew(session.run, error.message);
  }

  /** Brings gobgpd to what is wanted by now; true: something is to be tried again. */
  private async converge(session: BgpSession, addresses: NodeReady['node']): Promise<boolean> {
    const { objects, table, settings, deps, ctx } = this;
    const { router_id, ip4_only, log_level } = settings;
    const paths = await session.ownPaths();
    if (session.started && !session.converged)
      objects.recallPools(await session.poolsNotExported(ctx.clock.now_ms()));
    const { networks } = deps;
    const may_withdraw = objects.knows_all_local;
    const plan = planBgp({
      ...objects.inputs(),
      kept_prefixes: may_withdraw ? [] : paths.keys(),
      ...(router_id !== undefined && { router_id }),
      ip4_only,
      addresses,
      version: session.gobgp.version,
      ...(deps.sids && { srv6: { programmed: this.sids, paths } }),
      ...(networks && {
        networks: { addresses: networks.all(), is_complete: networks.isComplete, paths },
      }),
    });
    this.plan = plan;
    this.wantSecrets(plan.secrets);
    if (!(await this.startBgp(session, plan.global))) return true;
    const learned = () => table.prefixes();
    const steps = await session.difference(plan, { may_withdraw, learned, now_ms: ctx.clock.now_ms() });
    this.restart.begin(plan.peers, steps, !session.converged);
    table.gateways(plan.gateways);
    table.identify(plan.global.router_id);
    this.teller.send();
    const failures = await session.carryOut(plan, steps, {
      isAwaited: (address) => table.isAwaited(address),
      hold: (peers) => {
        for (const address of peers) this.restart.await(address);
      },
    });
    const refused = await session.setLogLevel(plan.settings.log_severity, log_level);
    this.failures = [...failures.slice(0, failures_max), ...refused];
    this.silences?.heard();
    this.looks.in(settings.quiet_ms);
    return failures.length > 0;
  }

  private wantSecrets(names: readonly string[]): void {
    const wanted = names.join('\n');
    if (wanted === this.secrets_wanted) return;
    this.secrets_wanted = wanted;
    this.objects.keepSecrets(names);
    this.deps.cluster.tell({ type: 'WantSecrets', subscriber: this.ctx.this_life, names });
  }

  /** True: BGP runs as it is wanted. */
  private async startBgp(session: BgpSession, global: WantedGlobal): Promise<boolean> {
    const { started } = session;
    const { runs, trouble, renew } = await this.starting.start(session, global);
    if (trouble !== undefined) this.trouble = trouble;
    if (renew !== undefined) this.renew(session.run, renew);
    if (runs && !started) this.watch(session);
    return runs;
  }
}
