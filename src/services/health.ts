/**
 * What load balancers ask of this node: per service with `healthCheckNodePort` whether it has endpoints here, and of the node whether it
 * serves at all, as kube-proxy answers. Data, and the answers to it; who listens is `debug/service-health.ts`, in the thread that answers
 * while the main loop stands still: a load balancer takes a node for dead that is silent for a moment, while VPP goes on forwarding.
 */
import type { Clock, Timer } from '../clock.js';
import type { HealthPort } from '../desired/services/plan.js';
import type { Log } from '../log.js';

/** All that the answers are made of. Crosses threads: plain data. */
export interface ServicesHealth {
  readonly ports: readonly HealthPort[];
  /** Where the node itself is asked; absent: nowhere. */
  readonly proxy?: { readonly port: number; readonly host?: string };
  /** VPP has the uplinks. */
  readonly is_on: boolean;
  /** This VPP has had all that was wanted of it once. Before, an address may lead nowhere. */
  readonly is_whole: boolean;
  /** The node is not being deleted. */
  readonly eligible: boolean;
  /** By the clock of the machine (`hrtime`), in milliseconds: since when something is to be programmed, and nothing has been. Absent: all is. */
  readonly pending_since_ms?: number;
}

export interface HealthAnswer {
  readonly status: 200 | 503;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Twice the time in which kube-proxy programs everything anew (`syncPeriod`, 30 s): what is pending for longer is stuck. */
export const stuck_ms = 60_000;

/** Does the node serve what it should? `silent_ms`: of the main loop, which programs. */
export function isServing(health: ServicesHealth, now_ms: number, silent_ms: number): boolean {
  const pending_ms = health.pending_since_ms === undefined ? 0 : now_ms - health.pending_since_ms;
  return health.is_on && health.is_whole && pending_ms <= stuck_ms && silent_ms <= stuck_ms;
}

/** Whatever the path: load balancers ask for any. */
export function serviceAnswer(port: HealthPort, is_serving: boolean): HealthAnswer {
  const [namespace = '', name = ''] = port.service.split('/', 2);
  const { local_endpoints } = port;
  return {
    status: is_serving && local_endpoints > 0 ? 200 : 503,
    headers: { ...json, 'x-load-balancing-endpoint-weight': `${local_endpoints}` },
    body: `${JSON.stringify({
      service: { namespace, name },
      localEndpoints: local_endpoints,
      serviceProxyHealthy: is_serving,
    })}\n`,
  };
}

/** `/healthz`: shall traffic come here? `/livez`: does the node serve? Undefined: nothing else is answered. Times since 1970. */
export function proxyAnswer(
  path: string,
  { eligible }: ServicesHealth,
  is_serving: boolean,
  times: {
    readonly now_ms: number;
    /** When what VPP has was up to date last; absent: never. */
    readonly last_ms: number | undefined;
  },
): HealthAnswer | undefined {
  if (path !== '/healthz' && path !== '/livez') return undefined;
  const is_healthz = path === '/healthz';
  const is_well = is_serving && (eligible || !is_healthz);
  return {
    status: is_well ? 200 : 503,
    headers: json,
    body: `${JSON.stringify({
      lastUpdated: new Date(times.last_ms ?? never).toISOString(),
      currentTime: new Date(times.now_ms).toISOString(),
      ...(is_healthz && { nodeEligible: eligible }),
    })}\n`,
  };
}

/** As kube-proxy says it: Go's time without a value. */
const never = '0001-01-01T00:00:00Z';

const json = { 'content-type': 'application/json', 'x-content-type-options': 'nosniff' } as const;

/** Listeners of services; more are told and not served. Kubernetes has 2768 node ports by default, and gives these from among them. */
export const health_ports_max = 1024;
/** A burst of changes is told at once. */
const settle_ms = 20;
const faults_max = 100;
/** Progress is told once in so long. */
const progress_ms = 1000;

export interface HealthPortsDeps {
  /** Has them served, in place of what was told before. Never throws. */
  readonly publish: (health: ServicesHealth) => void;
  readonly proxy: ServicesHealth['proxy'];
  /** `hrtime`, which all threads share. */
  readonly machine_ms: () => number;
  readonly clock: Clock;
  readonly log: Log;
}

/** What is to be answered, as the main thread knows it. Nothing is before `begin`, nor of a service before the first `set`. */
export class HealthPorts {
  readonly #deps: HealthPortsDeps;
  #ports: readonly HealthPort[] | undefined;
  #cut = new Map<string, string>();
  #faults: ReadonlyMap<string, string> = new Map();
  #begun = false;
  #is_on = false;
  /** The VPP that has had all that was wanted of it. */
  #whole: string | undefined;
  #eligible = true;
  #pending_since_ms: number | undefined;
  #timer: Timer | undefined;

  constructor(deps: HealthPortsDeps) {
    this.#deps = deps;
  }

  /** This node serves services, once it is told which: until then load balancers hear that it does not. */
  begin(): void {
    this.#begun = true;
    this.#changed();
  }

  /** All that there are. Of two with one port the first by name has it. */
  set(ports: readonly HealthPort[]): void {
    const cut = new Map<string, string>();
    const holders = new Map<number, HealthPort>();
    const fault = (service: string, why: string): void => {
      if (cut.size < faults_max) cut.set(service, why);
    };
    for (const each of [...ports].sort((a, b) => (a.service < b.service ? -1 : 1))) {
      const { service, port } = each;
      const holder = holders.get(port);
      if (!(Number.isInteger(port) && port > 0 && port < 65_536))
        fault(service, `healthCheckNodePort ${port} is no port`);
      else if (holder !== undefined)
        fault(service, `healthCheckNodePort ${port} is that of ${holder.service}: give it another`);
      else if (holders.size >= health_ports_max)
        fault(service, `healthCheckNodePort ${port} is not served: there are ${health_ports_max} already`);
      else holders.set(port, each);
    }
    this.#cut = cut;
    this.#ports = [...holders.values()];
    this.#changed();
  }

  /** Has VPP the uplinks? */
  serve(is_on: boolean): void {
    if (is_on === this.#is_on) return;
    this.#is_on = is_on;
    this.#changed();
  }

  /** Which VPP is programmed by now, and whether it has all that is wanted. One that has had it once goes on serving. */
  programs(vpp: string, has_all: boolean): void {
    const whole = has_all || vpp === this.#whole ? vpp : undefined;
    if (whole === this.#whole) return;
    this.#whole = whole;
    this.#changed();
  }

  /** Is something to be programmed by now? `is_progress`: something has just been; what is always behind is not stuck. */
  pending(is_pending: boolean, is_progress = false): void {
    const since_ms = this.#pending_since_ms;
    const now_ms = this.#deps.machine_ms();
    const is_news = is_pending
      ? since_ms === undefined || (is_progress && now_ms - since_ms >= progress_ms)
      : since_ms !== undefined;
    if (!is_news) return;
    this.#pending_since_ms = is_pending ? now_ms : undefined;
    this.#changed();
  }

  /** False: the node is being deleted, load balancers are to leave it. */
  eligible(is_eligible: boolean): void {
    if (is_eligible === this.#eligible) return;
    this.#eligible = is_eligible;
    this.#changed();
  }

  /** From the thread that listens: what could not be listened on, by service; it is tried again. */
  heard(faults: ReadonlyMap<string, string>): void {
    const { log } = this.#deps;
    for (const [service, fault] of faults)
      if (this.#faults.get(service) !== fault) log.warn({ service }, `services(health) ${service}: ${fault}`);
    this.#faults = faults;
  }

  /** By service, or `node` for the node's own port, why it is not served. */
  faults(): ReadonlyMap<string, string> {
    return new Map([...this.#cut, ...this.#faults]);
  }

  get count(): number {
    return this.#ports?.length ?? 0;
  }

  close(): void {
    this.#timer?.cancel();
  }

  #changed(): void {
    if (!this.#begun) return;
    this.#timer ??= this.#deps.clock.after(settle_ms, () => {
      this.#timer = undefined;
      const { proxy, publish } = this.#deps;
      publish({
        ports: this.#ports ?? [],
        ...(proxy !== undefined && { proxy }),
        is_on: this.#is_on,
        is_whole: this.#whole !== undefined,
        eligible: this.#eligible,
        ...(this.#pending_since_ms !== undefined && { pending_since_ms: this.#pending_since_ms }),
      });
    });
  }
}
