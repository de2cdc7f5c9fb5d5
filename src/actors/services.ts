/**
 * Has VPP serve the cluster's Services: from services, their endpoints, the service CIDRs and the own node to translations and routes. State is
 * what was told; what follows from a change is planned and sent with the next turn, so that a burst is one change.
 */
import type { Actor, ActorContext, ActorRef, ChildSpec, LifeRef } from '../actor-system.js';
import type { Timer } from '../clock.js';
import {
  type HealthPort,
  type HostVip,
  ServicePlan,
  type ServiceStatus,
  service_plan_kinds,
} from '../desired/services/plan.js';
import { bitsOf, holds } from '../ip/bits.js';
import type { AnyChange, ClusterMessage, KindName } from '../messages/cluster.js';
import type { NodeReady, SubscribeNode } from '../messages/node.js';
import type {
  ServicesMessage,
  ServicesProgrammed,
  ServicesQuestion,
  ShownService,
  ShownVip,
} from '../messages/services.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { Translation } from '../objects/cnat.js';
import type { ObjectKey, VppObject } from '../objects/object.js';
import type { TranslationOwners } from '../reconcile/translation-owners.js';
import { api_service, type ProbeTcp, probeTarget } from '../services/probe.js';
import { ServiceWriter, type ServiceWriterSettings } from '../services/service-writer.js';
import { Inputs } from '../writer/inputs.js';
import { writer_settings_default } from '../writer/object-writer.js';
import { inPieces, Turns } from '../writer/turns.js';

export interface ServicesDeps {
  readonly vpp: ActorRef<VppConnectionMessage>;
  readonly uplink: ActorRef<SubscribeNode>;
  readonly cluster: ActorRef<ClusterMessage>;
  readonly translations: TranslationOwners;
  /** Linux of the node itself, which has translations of its own, and tells load balancers how it is. */
  readonly host: ServicesHost;
  readonly probe: ProbeTcp;
  /** The condition of readiness. */
  readonly ready: (ok: boolean, reason: string) => void;
  /** Told once in each life how to ask for the report of it. */
  readonly report: (ask: () => ServicesReport) => void;
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
  readonly audit_ms: number;
  /** From a difference that was seen once to the second look. */
  readonly audit_again_ms: number;
  readonly probe_ms: number;
  readonly writer: ServiceWriterSettings;
}

export const services_settings_default: Omit<ServicesSettings, 'node_name' | 'service_prefixes'> = {
  silence_ms: 10_000,
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
const shown_max = 1000;
const probe_pause_max_ms = 10_000;

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
  /** The API server has not told of services for so long that nobody waits for it. */
  private silent = false;
  private probes = 0;
  private probing: 'idle' | 'waiting' | 'under way' | 'done' = 'idle';
  private probe_fault = '';
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
    this.turns = new Turns(ctx);
    this.inputs = new Inputs(ctx, deps, service_plan_kinds);
    deps.report(() => this.report());
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
      case 'NodeReady':
        return this.nodeReady(message);
      case 'NodeLost':
        return this.nodeLost(message.generation);
      case 'ClusterChange':
        this.clusterChange(message.change);
        message.reply.resolve();
        return this.turns.news();
      case 'SubscribeProgrammed':
        this.subscriber = message.subscriber;
        this.known = this.writer.wasRead;
        this.subscriber.tell({
          type: 'ServicesProgrammed',
          whole: true,
          known: this.known,
          changed: this.writer.programmedNow(),
        });
        return;
      case 'Show':
        return this.show(message.question, message.reply);
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
        return this.probed(message.probe, message.error);
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
      api_server: this.probe_fault === '' ? this.probing : this.probe_fault,
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
    this.forgetVpp();
    this.tellProgrammed();
    this.tellReady();
  }

  private forgetVpp(): void {
    this.complete = false;
    this.probing = 'idle';
    this.probes += 1;
    this.probe_fault = '';
  }

  private nodeReady(ready: NodeReady): void {
    if (!this.inputs.nodeReady(ready)) return;
    this.look();
    if (this.writer.generation !== ready.generation) {
      this.writer.begin(ready);
      this.forgetVpp();
      this.deps.host.programs(ready.vpp, false);
      this.tellReady();
    }
    this.turns.news();
  }

  /** Node ports are served on the node's addresses. */
  private look(): void {
    if (this.inputs.node === undefined) return;
    const { node, subnets, on_link } = this.inputs.node;
    const both = ({ ip4, ip6 }: { readonly ip4?: string; readonly ip6?: string }): readonly string[] =>
      [ip4, ip6].filter((each) => each !== undefined);
    this.plan.setNode({ addresses: both(node), subnets: on_link ?? both(subnets) });
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

  private tellProgrammed(): void {
    if (this.subscriber === undefined) return;
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
    if (this.probing === 'done') return undefined;
    return this.probe_fault || `Service ${api_service} is being tried`;
  }

  private probe(): void {
    if (this.probing === 'under way' || this.probing === 'done' || !this.complete) return;
    const { deps, settings, ctx } = this;
    if (this.plan.status(api_service) === undefined) {
      // There may be none: outside of a cluster, or with another proxy for it.
      this.probing = 'done';
      return this.tellReady();
    }
    this.probing = 'under way';
    const probe = this.probes;
    const target = probeTarget(this.translationsOf(api_service));
    if (target === undefined) return this.probed(probe, new Error('VPP has no translation of it'));
    deps.probe(target, settings.probe_ms).then(
      () => ctx.tellSelf({ type: 'Probed', probe }),
      (error: Error) => ctx.tellSelf({ type: 'Probed', probe, error }),
    );
  }

  private probed(probe: number, error: Error | undefined): void {
    if (probe !== this.probes) return;
    this.probes += 1;
    if (error === undefined) {
      this.probing = 'done';
      this.probe_fault = '';
    } else {
      this.probing = 'waiting';
      this.probe_fault = `Service ${api_service} cannot be reached from this node: ${error.message}; see /debug/services?service=${api_service}`;
      const { probe_ms } = this.settings;
      this.ctx.after(Math.min(probe_ms * 2 ** Math.min(this.probes, 8), probe_pause_max_ms), {
        type: 'Probe',
      });
    }
    this.tellReady();
  }

  private *translationsOf(service: string): Iterable<Translation> {
    for (const key of keysOf(this.plan.status(service))) {
      const there = this.writer.thereAt(key);
      if (there?.kind === 'translation') yield there;
    }
  }

  // --- for people

  private async show(
    { service, dump }: ServicesQuestion,
    reply: Extract<ServicesMessage, { type: 'Show' }>['reply'],
  ): Promise<void> {
    try {
      const dumped = dump ? await this.writer.dump() : undefined;
      const names = service === undefined ? this.someNames() : [service];
      const conflicts = this.writer.conflicts();
      const services = Object.fromEntries(
        names.map((name) => [name, this.shown(name, conflicts.get(name) ?? [], dumped)]),
      );
      const strays = [...(dumped?.keys() ?? [])].filter(
        (key) =>
          this.plan.holderOf(vipOf(key)) === undefined && this.deps.translations.of(key)?.by !== 'pods',
      );
      reply.resolve({
        services,
        service_count: this.plan.counts.services,
        ...(dump && { strays: strays.slice(0, named_max) }),
      });
    } catch (error) {
      reply.reject(error as Error);
    }
  }

  private someNames(): readonly string[] {
    const names: string[] = [];
    for (const name of this.plan.names()) {
      names.push(name);
      if (names.length === shown_max) break;
    }
    return names;
  }

  private shown(
    name: string,
    conflicts: readonly string[],
    dumped: ReadonlyMap<ObjectKey, Translation> | undefined,
  ): ShownService {
    const status = this.plan.status(name);
    const vips = (status?.vips ?? []).map((vip) => this.shownVip(vip, dumped));
    return {
      vips,
      ...(conflicts.length > 0 && { conflicts }),
      ...(status !== undefined && { plan: status }),
    };
  }

  private shownVip(
    { vip, outcome, holder }: ServiceStatus['vips'][number],
    dumped: ReadonlyMap<ObjectKey, Translation> | undefined,
  ): ShownVip {
    const key: ObjectKey = `${kind_prefix}${vip}`;
    // What VPP has of it is the other's.
    if (outcome === 'lost') return { key, state: `lost: Service ${holder} has it` };
    const { state, wanted, there } = this.writer.stateOf(key);
    const shown = dumped?.get(key);
    const is_settled = outcome === 'refused' ? there === undefined : state === 'programmed';
    return {
      key,
      state: (is_settled && unserved[outcome]) || state,
      ...(wanted !== undefined && { desired: backendTexts(wanted) }),
      ...(there !== undefined && { programmed: backendTexts(there) }),
      ...(shown !== undefined && { dumped: backendTexts(shown) }),
    };
  }
}

/** What becomes of packets to an address and port that has nobody. */
const unserved = {
  served: undefined,
  dropped: 'unserved: no endpoint is to be used from here, packets are dropped',
  refused: 'unserved: it has no endpoint, connections are refused',
} as const;

/** Of a service with thousands of back ends so many are shown. */
const backends_shown_max = 50;

function backendTexts(object: VppObject): readonly string[] {
  if (object.kind === 'route') return object.paths.map(({ via }) => via);
  if (object.kind !== 'translation') return [];
  const { backends } = object;
  const shown = backends.slice(0, backends_shown_max).map(({ address, port }) => `${address} ${port}`);
  const more = backends.length - shown.length;
  return more > 0 ? [...shown, `and ${more} more`] : shown;
}

const kind_prefix = 'translation:';

/** As faults name it. */
const objectOf = (service: string): string => `Service ${service}`;

/** As the plan names it. */
const vipOf = (key: ObjectKey): string => (key.startsWith(kind_prefix) ? key.slice(kind_prefix.length) : key);

function keysOf(status: ServiceStatus | undefined): readonly ObjectKey[] {
  return (status?.vips ?? []).map(({ vip }) => `${kind_prefix}${vip}`);
}
