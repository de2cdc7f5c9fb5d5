/**
 * What this node tells its BGP peers, and learns from them. State is inputs: Calico's objects, the node's addresses, the gobgpd that is there. What gobgpd
 * is to have follows from them (`bgp/plan.ts`), and it is brought there by the difference. Its best paths go to connectivity.
 */
import { DeadlineError, type Gobgp, GobgpError, has, RefusedError } from 'gobgp-grpc-stubs';
import type { Actor, ActorContext, ActorRef, ChildSpec } from '../actor-system.js';
import { applySteps, readPeers, readPolicies, type StepFailure } from '../bgp/apply.js';
import { type BgpStep, diffBgp } from '../bgp/diff.js';
import type { GobgpdRun } from '../bgp/launcher.js';
import { type LocalPath, localPathOf } from '../bgp/local-paths.js';
import type { ActualPeer } from '../bgp/peer-state.js';
import { type BgpPlan, planBgp, type WantedGlobal } from '../bgp/plan.js';
import { RemoteTable } from '../bgp/remote-table.js';
import { restart_ms_default } from '../bgp/settings.js';
import type { KindName, Kinds } from '../calico/kinds/kinds.js';
import type { Timer } from '../clock.js';
import { LocalPrefixes, localPrefixKinds } from '../desired/local-prefixes.js';
import { familyOf } from '../ip/text.js';
import type { LogLevel } from '../log.js';
import type { BgpMessage, BgpProcessMessage } from '../messages/bgp.js';
import type { AnyChange, ClusterMessage } from '../messages/cluster.js';
import type { RemoteRoutes } from '../messages/connectivity.js';
import type { NodeReady, SubscribeNode } from '../messages/node.js';

export interface BgpDeps {
  readonly process: ActorRef<BgpProcessMessage>;
  readonly uplink: ActorRef<SubscribeNode>;
  readonly cluster: ActorRef<ClusterMessage>;
  readonly connectivity: ActorRef<RemoteRoutes>;
  /** One attempt; rejects where nobody answers (yet). */
  connect(run: GobgpdRun, signal: AbortSignal): Promise<Gobgp>;
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
} as const;

const connect_retry_ms = 100;
/** How long passwords may take to be read. */
const secrets_ms = 15_000;
/** Rounds in a row in which gobgpd gave no answer, before it is begun anew. */
const silences_max = 3;

const kinds: readonly KindName[] = [
  ...localPrefixKinds({ services: true }),
  'BGPPeer',
  'BGPFilter',
  'Secret',
];
/** Without these nobody knows whom to peer with and what may be told. */
const vital: readonly KindName[] = [
  ...(['Node', 'IPPool', 'BGPConfiguration', 'BGPPeer', 'BGPFilter'] as const),
  // Which blocks are this node's is a part of the policies.
  ...(['BlockAffinity', 'IPAMBlock'] as const),
];

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
  /** Own paths that gobgpd has. */
  readonly paths: Map<string, LocalPath>;
  /** BGP has been started. */
  started: boolean;
  /** Its table was told from the beginning. */
  complete: boolean;
  /** Peers are told that this end restarts, and forwards on. */
  restarting: boolean;
  /** It has what is wanted, and peers that were there before are waited for. */
  converged: boolean;
  /** Until then passwords are waited for; undefined: they are not, yet. */
  secrets_until_ms?: number;
  log_level: LogLevel | 'panic' | undefined;
}

type Known<K extends KindName> = Map<string, Kinds[K]>;

class Bgp implements Actor<BgpMessage> {
  private readonly nodes: Known<'Node'> = new Map();
  private readonly pools: Known<'IPPool'> = new Map();
  private readonly configurations: Known<'BGPConfiguration'> = new Map();
  private readonly peers: Known<'BGPPeer'> = new Map();
  private readonly filters: Known<'BGPFilter'> = new Map();
  private readonly secrets = new Map<string, Kinds['Secret'] | undefined>();
  private readonly synced = new Set<KindName>();
  private readonly local: LocalPrefixes;
  private readonly table = new RemoteTable();
  private node: NodeReady['node'] | undefined;
  private run: GobgpdRun | undefined;
  private session: Session | undefined;
  private plan: BgpPlan | undefined;
  private actual: ReadonlyMap<string, ActualPeer> = new Map();
  private failures: readonly StepFailure[] = [];
  private secrets_wanted = '';
  /** Why BGP is not started. */
  private trouble = 'no gobgpd yet';
  private scheduled = false;
  private busy = false;
  private again = false;
  private retries = 0;
  /** Fields by BGPConfiguration. */
  private readonly unreadable = new Map<string, readonly string[]>();
  private silences = 0;
  /** One at a time, however many changes come meanwhile. */
  private retrying: Timer | undefined;
  private polling = false;
  private next_poll: { readonly at_ms: number; readonly timer: Timer } | undefined;
  private sending: Promise<void> | undefined;
  private told_synced = false;
  /** Connectivity has taken in something of this life. */
  private told = false;
  private last_path_ms = 0;

  constructor(
    private readonly ctx: ActorContext<BgpMessage>,
    private readonly deps: BgpDeps,
    private readonly settings: BgpSettings,
  ) {
    this.local = new LocalPrefixes({ node_name: settings.node_name, services: true });
    deps.report(() => this.describe());
    deps.uplink.tell({ type: 'SubscribeNode', subscriber: ctx.self });
    deps.cluster.tell({ type: 'Subscribe', subscriber: ctx.this_life, kinds });
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
        this.take(message.change);
        message.reply.resolve();
        this.schedule();
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
        this.lost(message.run, message.reason);
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
      paths: this.session?.paths.size ?? 0,
      routes: this.table.size,
      synced: this.told_synced,
    };
  }

  describe() {
    const { session, plan, table } = this;
    return {
      gobgpd: session === undefined ? undefined : { pid: session.run.pid, version: session.run.version },
      trouble: this.trouble || undefined,
      global: plan?.global,
      waits_for: vital.filter((kind) => !this.synced.has(kind)),
      routes: {
        known: table.size,
        untold: table.unsent,
        peers_waited_for: table.waiting,
        unusable: table.unusable,
      },
      peers: [...this.actual.values()]
        .slice(0, 1000)
        .map(({ address, as_number, session: state, received }) => ({
          address,
          as_number,
          state,
          received,
          by: plan?.peers.get(address)?.by,
        })),
      objects: this.troubles(),
    };
  }

  /** What is wrong, by object. */
  private troubles(): Readonly<Record<string, readonly string[]>> {
    const all = new Map<string, string[]>();
    const add = (object: string, line: string) => all.set(object, [...(all.get(object) ?? []), line]);
    for (const [object, lines] of this.plan?.troubles ?? []) for (const line of lines) add(object, line);
    for (const [name, fields] of this.unreadable)
      add(
        `BGPConfiguration ${name}`,
        `${fields.join(', ')}: cannot be read; ${this.configurations.has(name) ? 'what it said before holds' : 'nothing is done until it can be'}`,
      );
    for (const { of, reason } of this.failures.slice(0, 100)) add(this.objectOf(of), `${of}: ${reason}`);
    return Object.fromEntries(all);
  }

  private objectOf(what: string): string {
    const [kind, name = ''] = what.split(' ');
    return (kind === 'peer' ? this.plan?.peers.get(name)?.by : undefined) ?? 'BGPConfiguration default';
  }

  // --- what is known of the cluster

  private take(change: AnyChange): void {
    if (change.synced) this.synced.add(change.kind);
    switch (change.kind) {
      case 'Node': {
        // A node that registers anew is away for a moment: its AS and its part in the cluster stay what they were.
        const { node_name } = this.settings;
        const own = this.nodes.get(node_name);
        merge(this.nodes, change.changed);
        if (own !== undefined && !this.nodes.has(node_name)) this.nodes.set(node_name, own);
        break;
      }
      case 'IPPool':
        merge(this.pools, change.changed);
        break;
      case 'BGPConfiguration':
        this.takeConfigurations(change.changed);
        break;
      case 'BGPPeer':
        merge(this.peers, change.changed);
        break;
      case 'BGPFilter':
        merge(this.filters, change.changed);
        break;
      case 'Secret':
        for (const [name, values] of change.changed) this.secrets.set(name, values);
        break;
      default:
        break;
    }
    this.local.take(change);
  }

  /** One that says in part what cannot be read keeps what it said before; without that nothing is done until it can be read. */
  private takeConfigurations(changed: ReadonlyMap<string, Kinds['BGPConfiguration'] | undefined>): void {
    for (const [name, configuration] of changed) {
      const faults = configuration?.vital_faults;
      if (faults === undefined) this.unreadable.delete(name);
      else this.unreadable.set(name, faults);
      if (faults === undefined) merge(this.configurations, new Map([[name, configuration]]));
    }
  }

  /** Names of configurations of this node that nobody has been able to read yet. */
  private unread(): string[] {
    const own = ['default', `node.${this.settings.node_name}`];
    return own.filter((name) => this.unreadable.has(name) && !this.configurations.has(name));
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

  private lost(run: GobgpdRun, reason: string): void {
    if (this.run?.pid !== run.pid) return;
    this.trouble = reason;
    this.end();
    this.ctx.after(1000, { type: 'ConnectAgain', run });
  }

  /** The session is over. What it told holds until the next one has told all again, or the peers' time is over. */
  private end(): void {
    const { session } = this;
    if (session === undefined) return;
    this.session = undefined;
    this.actual = new Map();
    session.abort.abort(new Error('the session is over'));
    session.gobgp.close();
    // Each peer has its own time, for what is left the usual one.
    for (const address of this.plan?.peers.keys() ?? []) this.await(address);
    this.table.lost(this.ctx.clock.now_ms() + restart_ms_default);
  }

  private await(address: string): void {
    const restart_s = this.plan?.peers.get(address)?.restart_s;
    if (restart_s === undefined) return;
    const wait_ms = Math.max(restart_s * 1000, this.settings.wait_min_ms);
    this.table.await(address, this.ctx.clock.now_ms() + wait_ms);
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
            this.deps.process.tell({ type: 'Renew', pid: run.pid, reason });
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
    const session: Session = {
      run,
      gobgp,
      abort: new AbortController(),
      paths: new Map(),
      started: as_number !== 0,
      complete: as_number === 0,
      restarting: run.succeeds && as_number === 0,
      converged: false,
      log_level: undefined,
    };
    this.session = session;
    this.trouble = '';
    gobgp.closed.then((error) => {
      if (error !== undefined) this.ctx.tellSelf({ type: 'Lost', run, reason: error.message });
    });
    if (session.started) this.watch(session);
    this.schedule();
  }

  // --- what gobgpd tells

  private watch(session: Session): void {
    const { signal } = session.abort;
    this.table.begin();
    const follow = async (): Promise<void> => {
      for await (const event of session.gobgp.watch({ peers: true, best: true }, { signal })) {
        if (this.session !== session) return;
        if (event.type === 'paths') {
          this.last_path_ms = this.ctx.clock.now_ms();
          this.table.take(event.paths);
          if (event.initial && !session.converged)
            for (const path of event.paths) {
              const own = path.neighbor_ip === '' && !path.is_withdraw ? localPathOf(path) : undefined;
              if (own !== undefined) session.paths.set(own.prefix, own);
            }
          await this.send();
        } else if (event.type === 'paths_complete') {
          session.complete = true;
          this.table.complete();
          this.schedule();
        } else if (event.type === 'peer' && !event.initial) this.pollIn(this.settings.quiet_ms);
      }
    };
    follow().then(
      () =>
        this.ctx.tellSelf({
          type: 'Lost',
          run: session.run,
          reason: 'gobgpd has ended the watch of its table',
        }),
      (error: Error) => {
        if (!signal.aborted) this.ctx.tellSelf({ type: 'Lost', run: session.run, reason: error.message });
      },
    );
  }

  /** Tells connectivity what has changed; resolves when it is taken in. One message is on its way at a time. */
  private send(): Promise<void> {
    this.sending ??= this.sendAll().finally(() => {
      this.sending = undefined;
    });
    return this.sending;
  }

  private async sendAll(): Promise<void> {
    const { ctx, table, settings } = this;
    while (!ctx.signal.aborted) {
      const settled = this.isSettled();
      if (table.unsent === 0 && settled === this.told_synced) return;
      const changed = table.changes(settings.routes_max);
      // All has been told when nothing is left to tell.
      const synced = this.told_synced || (settled && table.unsent === 0);
      try {
        await ctx.ask(
          this.deps.connectivity,
          (reply) => ({ type: 'RemoteRoutes' as const, begins: !this.told, changed, synced, reply }),
          settings.tell_ms,
        );
        this.told_synced = synced;
        this.told = true;
      } catch (error) {
        table.giveBack(changed);
        ctx.log.debug({ err: error }, 'bgp(tell) connectivity has not taken routes in');
        await ctx.clock.sleep(1000, ctx.signal).catch(() => undefined);
      }
    }
  }

  /** Once told it stays true: what goes from then on is withdrawn by name. */
  private isSettled(): boolean {
    return this.told_synced || (this.session?.converged === true && this.table.settled);
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
    if (session?.started) {
      const actual = await readPeers(session.gobgp, session.abort.signal);
      if (this.session !== session) return;
      this.actual = actual;
      this.silences = 0;
      const quiet = ctx.clock.now_ms() - this.last_path_ms >= settings.quiet_ms;
      if (session.converged && session.complete && quiet)
        for (const peer of actual.values()) if (this.hasTold(peer)) table.release(peer.address);
    }
    for (const address of table.expire(ctx.clock.now_ms()))
      ctx.log.warn(
        { peer: address },
        'bgp(restart) the peer has not come back in time: its routes are withdrawn',
      );
    await this.send();
  }

  private hasTold({ session, end_of_rib, established_ms }: ActualPeer): boolean {
    if (session !== 'established' || established_ms === undefined) return false;
    const up_ms = this.ctx.clock.wall_ms() - established_ms;
    return up_ms >= (end_of_rib ? this.settings.told_min_ms : this.settings.told_ms);
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
    const { session, node } = this;
    if (this.busy) {
      this.again = true;
      return;
    }
    // A gobgpd that was started already shows what it has before anything of it is changed.
    if (session === undefined || node === undefined || !session.complete) return;
    if (!vital.every((kind) => this.synced.has(kind)) || this.unread().length > 0) return;
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
    this.deps.process.tell({ type: 'Renew', pid: session.run.pid, reason: error.message });
  }

  /** Brings gobgpd to what is wanted by now; true: something is to be tried again. */
  private async converge(session: Session, addresses: NodeReady['node']): Promise<boolean> {
    const { gobgp, abort } = session;
    const { signal } = abort;
    const { node_name, router_id, ip4_only } = this.settings;
    this.local.changes();
    const plan = planBgp({
      node_name,
      ...(router_id !== undefined && { router_id }),
      ip4_only,
      addresses,
      nodes: this.nodes,
      configurations: this.configurations,
      peers: this.peers,
      filters: this.filters,
      pools: this.pools,
      secrets: this.secrets,
      local: this.local.all(),
      version: gobgp.version,
    });
    this.plan = plan;
    this.wantSecrets(plan.secrets);
    if (!(await this.startBgp(session, plan.global))) return true;
    if (this.awaitsSecrets(session, plan.secrets)) return false;
    await this.setLogLevel(session, plan);
    const peers = await readPeers(gobgp, signal);
    const policies = await readPolicies(gobgp, signal);
    const steps = diffBgp(
      plan,
      { peers, paths: session.paths, ...policies },
      {
        updates: has(gobgp.version, '3.15'),
        withdraws: has(gobgp.version, '4.6'),
        may_withdraw: this.local.synced,
      },
    );
    this.awaitPeers(session, plan, steps);
    this.failures = await applySteps(gobgp, steps, {
      signal,
      restarting: session.restarting,
      paths: session.paths,
    });
    this.silences = 0;
    session.restarting = false;
    session.converged = true;
    this.pollIn(this.settings.quiet_ms);
    return this.failures.length > 0;
  }

  private wantSecrets(names: readonly string[]): void {
    const wanted = names.join('\n');
    if (wanted === this.secrets_wanted) return;
    this.secrets_wanted = wanted;
    for (const name of this.secrets.keys()) if (!names.includes(name)) this.secrets.delete(name);
    this.deps.cluster.tell({ type: 'WantSecrets', subscriber: this.ctx.this_life, names });
  }

  /**
   * Until the passwords have been read nobody knows which of gobgpd's peers are as they should be, and without a password none is peered with:
   * neither is to be taken for what is wanted. Not for ever: a Secret may be out of reach.
   */
  private awaitsSecrets(session: Session, names: readonly string[]): boolean {
    const is_known = names.every((name) => this.secrets.has(name));
    const now_ms = this.ctx.clock.now_ms();
    if (is_known || session.converged || now_ms >= (session.secrets_until_ms ?? Number.POSITIVE_INFINITY))
      return false;
    if (session.secrets_until_ms === undefined) {
      session.secrets_until_ms = now_ms + secrets_ms;
      this.ctx.after(secrets_ms, { type: 'Converge' });
    }
    return true;
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
    for (const address of table.neighbours())
      if (!plan.peers.has(address) && !plan.pending.has(address)) table.release(address);
    table.gateways(plan.gateways);
    this.send();
  }

  /** True: BGP runs as it is wanted. */
  private async startBgp(session: Session, global: WantedGlobal): Promise<boolean> {
    const { gobgp, abort, run } = session;
    const { signal } = abort;
    if (session.started) {
      const { global: actual } = await gobgp.getBgp({}, { signal });
      if (sameGlobal(global, actual)) {
        this.trouble = '';
        return true;
      }
      this.deps.process.tell({
        type: 'Renew',
        pid: run.pid,
        reason: 'AS, router id or listening addresses have changed',
      });
      return false;
    }
    try {
      await this.listen(gobgp, global, signal);
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      // The address is not there yet, or another program has the port.
      const trouble = `BGP cannot be started on port ${global.listen_port}: ${error.details}`;
      if (trouble !== this.trouble) this.ctx.log.warn({}, `bgp(start) ${trouble}`);
      this.trouble = trouble;
      return false;
    }
    session.started = true;
    this.watch(session);
    return true;
  }

  private async listen(gobgp: Gobgp, global: WantedGlobal, signal: AbortSignal): Promise<void> {
    const only4 = global.listen_addresses.filter((address) => familyOf(address) === 4);
    try {
      await gobgp.startBgp({ global }, { signal });
    } catch (error) {
      if (only4.length === 0 || only4.length === global.listen_addresses.length) throw error;
      // A kernel without IPv6.
      await gobgp.startBgp({ global: { ...global, listen_addresses: only4 } }, { signal });
      this.ctx.log.warn({ err: error }, 'bgp(start) listens on IPv4 alone');
    }
  }

  private async setLogLevel(session: Session, plan: BgpPlan): Promise<void> {
    const severity = plan.settings.log_severity;
    const level = severity === undefined ? this.settings.log_level : log_levels[severity];
    // 4.x has no more than these.
    const told = session.gobgp.dialect === 4 && (level === 'fatal' || level === 'panic') ? 'error' : level;
    if (session.log_level === told) return;
    await session.gobgp.setLogLevel({ level: told }, { signal: session.abort.signal });
    session.log_level = told;
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

function merge<T>(known: Map<string, T>, changed: ReadonlyMap<string, T | undefined>): void {
  for (const [key, object] of changed) {
    if (object === undefined) known.delete(key);
    else known.set(key, object);
  }
}

/** One that listens on the IPv4 addresses alone could not have the others. */
function sameGlobal(
  wanted: WantedGlobal,
  actual: Pick<WantedGlobal, 'asn' | 'router_id' | 'listen_port' | 'listen_addresses'>,
): boolean {
  const list = (addresses: readonly string[]) => [...addresses].sort().join(' ');
  const only4 = wanted.listen_addresses.filter((address) => familyOf(address) === 4);
  const listens = list(actual.listen_addresses);
  return (
    wanted.asn === actual.asn &&
    wanted.router_id === actual.router_id &&
    wanted.listen_port === actual.listen_port &&
    (listens === list(wanted.listen_addresses) || (only4.length > 0 && listens === list(only4)))
  );
}
