/**
 * Has VPP serve the cluster's Services: from services, their endpoints, the service CIDRs and the own node to translations and routes. State is
 * what was told; what follows from a change is planned and sent with the next turn, so that a burst is one change.
 */
import type { Actor, ActorContext, ActorRef, ChildSpec, LifeRef } from '../actor-system.js';
import type { Timer } from '../clock.js';
import { type HealthPort, type HostVip, ServicePlan, service_plan_kinds } from '../desired/services/plan.js';
import { bitsOf, holds } from '../ip/bits.js';
import type { AnyChange, ClusterMessage, KindName } from '../messages/cluster.js';
import type { InPlace, NodeFacts, NodePrepared, SubscribeEarly } from '../messages/node.js';
import type { ServicesMessage, ServicesProgrammed } from '../messages/services.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { Translation } from '../objects/cnat.js';
import type { TranslationOwners } from '../reconcile/translation-owners.js';
import { ApiProbe, api_service, type ProbeTcp, probeTarget } from '../services/probe.js';
import { ServiceWriter, type ServiceWriterSettings } from '../services/service-writer.js';
import { keysOf, shownServices, vipOf } from '../services/shown.js';
import { Inputs } from '../writer/inputs.js';
import { writer_settings_default } from '../writer/object-writer.js';
import { inPieces, Turns } from '../writer/turns.js';

export interface ServicesDeps {
  readonly vpp: ActorRef<VppConnectionMessage>;
  readonly uplink: ActorRef<SubscribeEarly | InPlace>;
  readonly cluster: ActorRef<ClusterMessage>;
  readonly translations: TranslationOwners;
  /** Linux of the node itself, which has translations of its own, and tells load balancers how it is. */
  readonly host: ServicesHost;
  readonly probe: ProbeTcp;
  /** The condition of readiness. */
  readonly ready: (ok: boolean, reason: string) => void;
  /** Told once in each life how to ask for the report of it. */
  readonly report: (ask: () => ServicesReport) => void;
  /** Told once in each life whose an address and port is, `tcp/10.96.0.1/443`. */
  readonly names: (serviceOf: (vip: string) => string | undefined) => void;
}

/** Each is all that there is by now; what was there before and is not named goes. Neither throws; both go on trying by themselves. */
export interface ServicesHost {
  translate(vips: readonly HostVip[]): void;
  serveHealth(ports: readonly HealthPort[]): void;
  /** Which VPP is programmed by now, and whether it has had all that is wanted. */
  programs(vpp: string, has_all: boolean): void;
  /** Is something to be programmed by now? `is_progress`: some of it has just been. */
  programming(is_pending: boolean, is_progress: boolean): void;
  /** False: the node is about to go, load balancers are to leave it. */
  eligible(is_eligible: boolean): void;
}

/** For people: what keeps services from VPP. Bounded: a hundred objects each. */
export interface ServicesReport {
  /** What has not told all that there is yet. */
  readonly unsynced: readonly string[];
  /** By object of the input, what is wrong with it and what to do. */
  readonly faults: Readonly<Record<string, readonly string[]>>;
  /** By object of VPP, why it was refused. It is tried again. */
  readonly refused: Readonly<Record<string, string>>;
  /** How many there are, shown or not. */
  readonly faulty_count: number;
  readonly refused_count: number;
}

export interface ServicesSettings {
  readonly node_name: string;
  /** Of the cluster, whatever the API says of them: `SERVICE_PREFIX`. */
  readonly service_prefixes: readonly string[];
  /** Without an API server that tells of services, a node is ready after so long all the same. */
  readonly silence_ms: number;
  /** Likewise, the uplinks are kept from VPP for its translations no longer than that. */
  readonly prepare_ms: number;
  readonly audit_ms: number;
  /** From a difference that was seen once to the second look. */
  readonly audit_again_ms: number;
  readonly probe_ms: number;
  readonly writer: ServiceWriterSettings;
}

export const services_settings_default: Omit<ServicesSettings, 'node_name' | 'service_prefixes'> = {
  silence_ms: 10_000,
  // One that can be reached tells all within a second; whoever waits for nothing is without the outside for as long.
  prepare_ms: 2000,
  audit_ms: 600_000,
  audit_again_ms: 5000,
  probe_ms: 1000,
  writer: { ...writer_settings_default, drain_ms: 1000 },
};

/** Without these, all told, a service would have a part of its back ends. */
const needed: readonly KindName[] = ['Service', 'EndpointSlice'];

/** What is planned before the clock is looked at: some 9 services of ten endpoints, or one of a thousand. */
const piece = 256;
const named_max = 100;

export function servicesActor(deps: ServicesDeps, settings: ServicesSettings): ChildSpec<ServicesMessage> {
  return {
    name: 'services',
    restart: 'permanent',
    shutdown_ms: 1000,
    mailbox_max: 1024,
    handler_ms_max: 10_000,
    start: (ctx) => new ServicesActor(ctx, deps, settings),
  };
}

class ServicesActor implements Actor<ServicesMessage> {
  private readonly plan: ServicePlan;
  private readonly writer: ServiceWriter;
  private readonly inputs: Inputs;
  private readonly turns: Turns;
  /** When the first of the changes came that are not planned yet. */
  private changed_ms: number | undefined;
  private subscriber: LifeRef<ServicesProgrammed> | undefined;
  /** As the subscriber was told last. */
  private known = false;
  /** This VPP has had all that was wanted once. */
  private complete = false;
  /** Uplink waits for that: VPP has no uplinks yet. */
  private prepared: NodePrepared | undefined;
  private unheard: Timer | undefined;
  /** The API server has not told of services for so long that nobody waits for it. */
  private silent = false;
  private readonly api: ApiProbe;
  private auditing: Timer | undefined;
  /** A transaction has just come to its end. */
  private has_progress = false;
  /** As the host was told last. */
  private ports: readonly HealthPort[] | undefined;
  private vips: readonly HostVip[] | undefined;

  constructor(
    private readonly ctx: ActorContext<ServicesMessage>,
    private readonly deps: ServicesDeps,
    private readonly settings: ServicesSettings,
  ) {
    const { node_name, service_prefixes } = settings;
    this.plan = new ServicePlan({ node_name, service_prefixes });
    this.writer = new ServiceWriter(
      ctx,
      {
        vpp: deps.vpp,
        translations: deps.translations,
        isAnnounced: (translation) => this.isAnnounced(translation),
        serviceOf: (key) => this.plan.holderOf(vipOf(key)),
      },
      settings.writer,
    );
    this.api = new ApiProbe(
      deps.probe,
      settings.probe_ms,
      (probe, error) => ctx.tellSelf({ type: 'Probed', probe, ...(error !== undefined && { error }) }),
      (after_ms) => ctx.after(after_ms, { type: 'Probe' }),
    );
    this.turns = new Turns(ctx);
    this.inputs = new Inputs(ctx, deps, service_plan_kinds);
    deps.uplink.tell({ type: 'SubscribeEarly', subscriber: ctx.self });
    deps.report(() => this.report());
    deps.names((vip) => this.plan.holderOf(vip));
    this.tellReady();
    this.auditLater(this.settings.audit_ms);
    this.ctx.after(this.settings.silence_ms, { type: 'Silence' });
  }

  /** Nobody programs any more: load balancers are told, unless another life has made up for it in time. */
  stop(): void {
    this.deps.host.programming(true, false);
  }

  receive(message: ServicesMessage): void | Promise<void> {
    switch (message.type) {
      case 'NodePrepared':
        if (this.nodeReady(message)) this.nodePrepared(message);
        return;
      case 'UplinksMade':
        return;
      case 'NodeReady':
        if (this.nodeReady(message)) this.hasUplinks();
        return;
      case 'NodeLost':
        return this.nodeLost(message.generation);
      case 'ClusterChange':
        this.clusterChange(message.change);
        message.reply.resolve();
        return this.turns.news();
      case 'SubscribeProgrammed':
        this.subscriber = message.subscriber;
        return this.tellAllProgrammed();
      case 'Show':
        return this.show(message);
      case 'Work':
        this.turns.heard();
        return this.work();
      case 'Due':
        this.writer.due();
        return this.work();
      case 'Freed':
        this.writer.freed();
        return this.work();
      case 'Read':
      case 'Retry':
        this.writer.hear(message);
        return this.work();
      case 'Transacted':
        this.writer.hear(message);
        this.has_progress = !(message.outcome instanceof Error);
        return this.work();
      case 'Unheard':
        if (this.inputs.unsynced(needed).length > 0) this.tellInPlace();
        return;
      case 'Silence':
        this.silent = true;
        return this.tellReady();
      case 'Audit':
        this.auditLater(this.settings.audit_ms);
        return this.writer.audit();
      case 'Audited':
        if (this.writer.audited(message.audit, message.drift)) this.auditLater(this.settings.audit_again_ms);
        return this.work();
      case 'Probe':
        return this.probe();
      case 'Probed':
        if (this.api.probed(message.probe, message.error)) this.tellReady();
        return;
    }
  }

  gauges() {
    const { desired, in_vpp, waiting, refused, blocked, drift } = this.writer.gauges();
    const { event_to_vpp } = this.writer.latencies;
    return {
      services: this.plan.counts.services,
      desired,
      in_vpp,
      waiting,
      refused: refused + blocked,
      drift,
      p50_ms: event_to_vpp.quantile_ms(0.5),
      p99_ms: event_to_vpp.quantile_ms(0.99),
    };
  }

  describe() {
    const { event_to_vpp, network_programming } = this.writer.latencies;
    return {
      generation: this.writer.generation,
      services: this.plan.counts.services,
      writer: this.writer.gauges(),
      event_to_vpp_seconds: event_to_vpp.histogram(),
      kubeproxy_network_programming_duration_seconds: network_programming.histogram(),
      api_server: this.api.shown,
      ...this.report(),
    };
  }

  private report(): ServicesReport {
    const conflicts = this.writer.conflicts();
    const known = this.plan.faults;
    const faults: Record<string, readonly string[]> = {};
    let left = named_max;
    for (const object of new Set([...[...conflicts.keys()].map(objectOf), ...known.keys()])) {
      if (left === 0) break;
      left -= 1;
      faults[object] = known.get(object) ?? [];
    }
    for (const [service, texts] of conflicts) {
      const object = objectOf(service);
      if (faults[object] !== undefined) faults[object] = [...faults[object], ...texts];
    }
    const { refused, blocked } = this.writer.gauges();
    return {
      unsynced: this.inputs.unsynced(),
      faults,
      refused: this.writer.refused(),
      faulty_count: this.plan.counts.faulty + blocked,
      refused_count: refused,
    };
  }

  // --- what is told

  private nodeLost(generation: number): void {
    if (!this.inputs.nodeLost(generation)) return;
    this.writer.lost();
    this.prepared = undefined;
    this.unheard?.cancel();
    this.forgetVpp();
    this.tellProgrammed();
    this.tellReady();
  }

  private forgetVpp(): void {
    this.complete = false;
    this.api.forget();
  }

  private nodeReady(ready: NodeFacts): boolean {
    if (!this.inputs.nodeReady(ready)) return false;
    this.look();
    if (this.writer.generation !== ready.generation) {
      this.writer.begin(ready);
      this.forgetVpp();
      this.deps.host.programs(ready.vpp, false);
      this.tellReady();
    }
    this.turns.news();
    return true;
  }

  private nodePrepared(prepared: NodePrepared): void {
    this.prepared = prepared;
    this.unheard?.cancel();
    if (this.complete) this.tellInPlace();
    else this.unheard = this.ctx.after(this.settings.prepare_ms, { type: 'Unheard' });
  }

  private tellInPlace(): void {
    if (this.prepared !== undefined)
      this.deps.uplink.tell({ type: 'InPlace', of: 'services', round: this.prepared.round });
  }

  /** From now on what VPP has serves. */
  private hasUplinks(): void {
    if (this.prepared === undefined) return;
    this.prepared = undefined;
    this.tellAllProgrammed();
    this.probe();
    this.tellReady();
  }

  /** Node ports are served on the node's addresses. */
  private look(): void {
    if (this.inputs.node === undefined) return;
    const { node, subnets, on_link, networks } = this.inputs.node;
    const both = ({ ip4, ip6 }: { readonly ip4?: string; readonly ip6?: string }): readonly string[] =>
      [ip4, ip6].filter((each) => each !== undefined);
    this.plan.setNode({
      addresses: both(node),
      subnets: on_link ?? both(subnets),
      ...(networks !== undefined && { networks }),
    });
  }

  private clusterChange(change: AnyChange): void {
    this.inputs.clusterChange(change);
    if (change.kind === 'EndpointSlice') {
      for (const [key, slice] of change.changed)
        if (slice?.changed_ms !== undefined) this.writer.latencies.triggered(key, slice.changed_ms);
    }
    if (change.kind === 'Node') {
      const own = change.changed.get(this.settings.node_name);
      if (own !== undefined) this.deps.host.eligible(own.going === undefined);
    }
    this.changed_ms ??= this.ctx.clock.now_ms();
    this.plan.take(change);
  }

  /** Others than this node and its pods may send to it: its end is known to them before it comes. */
  private isAnnounced({ address, real }: Translation): boolean {
    if (real === true || this.subscriber === undefined) return false;
    const bits = bitsOf(address);
    return !this.plan.servicePrefixes.some((prefix) => holds(bitsOf(prefix), bits));
  }

  // --- what follows

  /** A piece of the work, if there is any. */
  private work(): void {
    const { plan, writer, inputs, turns } = this;
    turns.begun();
    let is_done = true;
    if (inputs.node !== undefined && inputs.unsynced(needed).length === 0) {
      writer.beginPlan(this.changed_ms);
      is_done = inPieces(this.ctx.clock, () => plan.plan(piece, writer));
      if (is_done) {
        this.changed_ms = undefined;
        this.planned();
      }
      writer.beginPlan(undefined);
      writer.allTold(is_done && plan.synced);
    }
    is_done = writer.step() && is_done;
    this.tellProgrammed();
    const is_pending = !is_done || !this.writer.isQuiet || this.writer.gauges().waiting > 0;
    this.deps.host.programming(is_pending, this.has_progress);
    this.has_progress = false;
    if (!is_done) return turns.next();
    this.completed();
  }

  /** All that follows from what was told is known. */
  private planned(): void {
    const { plan, deps } = this;
    const ports = plan.health();
    if (ports !== this.ports) deps.host.serveHealth(ports);
    this.ports = ports;
    const vips = plan.hostVips();
    if (vips !== this.vips) deps.host.translate(vips);
    this.vips = vips;
    if (plan.synced) deps.translations.hasSpoken('services');
  }

  /** Of a VPP without uplinks nothing is served, whatever it has. */
  private tellAllProgrammed(): void {
    if (this.subscriber === undefined) return;
    const serves = this.prepared === undefined;
    this.known = serves && this.writer.wasRead;
    const changed: ReadonlyMap<string, boolean> = serves ? this.writer.programmedNow() : new Map();
    this.subscriber.tell({ type: 'ServicesProgrammed', whole: true, known: this.known, changed });
  }

  private tellProgrammed(): void {
    if (this.subscriber === undefined || this.prepared !== undefined) return;
    const changed = this.writer.programmedChanges();
    const known = this.writer.wasRead;
    if (changed.size === 0 && known === this.known) return;
    this.known = known;
    this.subscriber.tell({ type: 'ServicesProgrammed', whole: false, known, changed });
  }

  private auditLater(ms: number): void {
    this.auditing?.cancel();
    this.auditing = this.ctx.after(ms, { type: 'Audit' });
  }

  // --- readiness

  /** VPP has all that is wanted by now, or refuses it. */
  private completed(): void {
    if (this.complete || !this.writer.hasAll) return;
    if (this.inputs.unsynced(needed).length > 0) return;
    this.complete = true;
    if (this.inputs.node !== undefined) this.deps.host.programs(this.inputs.node.vpp, true);
    this.tellInPlace();
    this.probe();
    this.tellReady();
  }

  private tellReady(): void {
    const reason = this.unready();
    this.deps.ready(
      reason === undefined,
      reason ?? (this.complete ? '' : 'the API server does not tell of services: those of before stay'),
    );
  }

  /** Undefined: nothing is in the way. */
  private unready(): string | undefined {
    if (this.writer.generation === undefined) return 'waits for VPP';
    const unsynced = this.inputs.unsynced(needed);
    if (unsynced.length > 0)
      return this.silent ? undefined : `the API server has not told of each ${unsynced.join(' and ')} yet`;
    if (!this.complete) {
      const { waiting } = this.writer.gauges();
      return waiting === 0
        ? 'VPP is asked what it has of services'
        : `${waiting} translations and routes are to be programmed`;
    }
    if (this.prepared !== undefined) return 'VPP is not given the uplinks of the node yet';
    return this.api.unready;
  }

  private probe(): void {
    // Without uplinks nobody answers.
    if (this.prepared !== undefined || !this.complete || !this.api.isDue) return;
    // There may be none: outside of a cluster, or with another proxy for it.
    if (this.plan.status(api_service) === undefined) this.api.skip();
    else this.api.begin(probeTarget(this.translationsOf(api_service)));
    this.tellReady();
  }

  private async show({ question, reply }: Extract<ServicesMessage, { type: 'Show' }>): Promise<void> {
    const { plan, writer, deps } = this;
    try {
      reply.resolve(await shownServices(question, { plan, writer, translations: deps.translations }));
    } catch (error) {
      reply.reject(error as Error);
    }
  }

  private *translationsOf(service: string): Iterable<Translation> {
    for (const key of keysOf(this.plan.status(service))) {
      const there = this.writer.thereAt(key);
      if (there?.kind === 'translation') yield there;
    }
  }
}

/** As faults name it. */
const objectOf = (service: string): string => `Service ${service}`;
