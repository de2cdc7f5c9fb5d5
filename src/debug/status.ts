import type { ActorState, Counters, ErrorNote } from '../supervision/types.js';
import type { Condition } from './conditions.js';
import { type HealthView, probes } from './health.js';
import type { OpenFiles } from './open-files.js';
import type { NodeFacts } from './protocol.js';
import type { ShownNode } from './tree-filter.js';

/** As the Go implementation knows it. */
interface Component {
  readonly initialized: boolean;
  readonly message: string;
  /** RFC 3339. */
  readonly updatedAt: string;
}

/** The node at a glance. The first five fields are those of the Go implementation, for what reads them. */
export interface Status {
  readonly healthy: boolean;
  readonly ready: boolean;
  readonly components: Readonly<Record<'vpp' | 'vpp-manager' | 'felix' | 'agent', Component>>;
  readonly message: string;
  readonly lastUpdate: string;

  readonly node: string;
  readonly version: string;
  readonly uptime_ms: number;
  readonly main_loop: { readonly blocked_ms: number };
  readonly conditions: readonly Condition[];
  readonly vpp: {
    readonly pid: number;
    readonly version: string;
    readonly generation: number;
    /** Absent: VPP does not run. */
    readonly files?: OpenFiles;
  };
  /** With the drivers that they have, once VPP has them. */
  readonly uplinks: NodeFacts['uplinks'];
  /** Where an uplink has a slower way than was asked for, or than its device could have. */
  readonly slower?: string;
  readonly pods: { readonly count: number; readonly max: number };
  /** Absent where Services are somebody else's. `in_vpp`: translations and routes. */
  readonly services?: { readonly count: number; readonly in_vpp: number; readonly refused: number };
  readonly actors: Partial<Record<ActorState, number>>;
  /** Actors that do not run, and those whose last error is younger than an hour. */
  readonly troubled: readonly {
    readonly path: string;
    readonly state: ActorState;
    readonly detail: string | undefined;
    readonly lastError: ErrorNote | undefined;
  }[];
  readonly counters: Counters | undefined;
}

export interface StatusView extends HealthView {
  readonly facts: NodeFacts;
  /** Missing when nothing readable has been published. */
  readonly tree: ShownNode | undefined;
  readonly counters: Counters | undefined;
  /** That VPP has open. */
  readonly vpp_files: OpenFiles | undefined;
  readonly blocked_ms: number;
  readonly taken_at: number;
  readonly now_ms: number;
}

/** The conditions that a component of the Go implementation stands for; one that this node lacks counts as done. */
const component_conditions = {
  vpp: ['vpp'],
  'vpp-manager': ['uplink'],
  felix: ['policies'],
} as const;

const TROUBLED_MAX = 50;
const RECENT_MS = 3_600_000;

function* nodes(node: ShownNode): Generator<ShownNode> {
  yield node;
  for (const child of node.children) yield* nodes(child);
}

function componentOf(conditions: readonly Condition[], taken_at: number): Component {
  const fault = conditions.find(({ ok }) => !ok);
  const updated_at = Math.max(0, ...conditions.map(({ since_ms }) => since_ms)) || taken_at;
  return {
    initialized: fault === undefined,
    message: fault === undefined ? '' : `${fault.name}: ${fault.reason}`,
    updatedAt: new Date(updated_at).toISOString(),
  };
}

function gauge(
  all: readonly ShownNode[],
  actor: string,
  name: string,
): number | string | boolean | undefined {
  return all.find((node) => node.name === actor)?.gauges[name];
}

/** The CNI actor says how many pods it has; otherwise its children are counted. */
function podsOf(all: readonly ShownNode[]): number {
  const counted = gauge(all, 'cni', 'pods');
  if (typeof counted === 'number') return counted;
  return all.find(({ name }) => name === 'cni')?.children.length ?? 0;
}

/** 0: there is none, or nobody says. */
export function vppPidOf(tree: ShownNode | undefined): number {
  return Number(gauge(tree === undefined ? [] : [...nodes(tree)], 'vpp-process', 'pid') ?? 0);
}

export function statusOf(view: StatusView): Status {
  const { facts, health, tree, now_ms } = view;
  const all = tree === undefined ? [] : [...nodes(tree)];
  const conditions = health?.conditions ?? [];
  const named = (names: readonly string[]) => conditions.filter(({ name }) => names.includes(name));
  const ready_checks = probes.readyz(view);
  const fault = ready_checks.find(({ ok }) => !ok);
  const words = String(gauge(all, 'uplink', 'drivers') ?? '').split(' ');
  const drivers = new Map(
    words.flatMap((name, at) => (at % 2 === 0 ? [[name, words[at + 1]] as const] : [])),
  );
  const slower = String(gauge(all, 'uplink', 'slower') ?? '');

  const actors: Partial<Record<ActorState, number>> = {};
  for (const { state } of all) actors[state] = (actors[state] ?? 0) + 1;
  const troubled = all.filter(
    ({ state, lastError }) =>
      !['running', 'starting'].includes(state) ||
      (lastError !== undefined && now_ms - lastError.lastAt < RECENT_MS),
  );

  return {
    healthy: probes.livez(view).every(({ ok }) => ok),
    ready: fault === undefined,
    components: {
      vpp: componentOf(named(component_conditions.vpp), view.taken_at),
      'vpp-manager': componentOf(named(component_conditions['vpp-manager']), view.taken_at),
      felix: componentOf(named(component_conditions.felix), view.taken_at),
      agent: componentOf(conditions, view.taken_at),
    },
    message: fault === undefined ? 'Ready' : `${fault.name}: ${fault.reason}`,
    lastUpdate: new Date(view.taken_at).toISOString(),
    node: facts.node_name,
    version: facts.version,
    uptime_ms: tree?.startedAt === undefined ? 0 : Math.max(0, now_ms - tree.startedAt),
    main_loop: { blocked_ms: view.blocked_ms },
    conditions,
    vpp: {
      pid: Number(gauge(all, 'vpp-process', 'pid') ?? 0),
      version: String(gauge(all, 'vpp-connection', 'version') ?? ''),
      generation: Number(gauge(all, 'vpp-connection', 'generation') ?? 0),
      ...(view.vpp_files && { files: view.vpp_files }),
    },
    uplinks: facts.uplinks.map((uplink) => ({
      ...uplink,
      driver: drivers.get(uplink.name) ?? uplink.driver,
    })),
    ...(slower !== '' && { slower }),
    pods: { count: podsOf(all), max: facts.pods_max },
    ...(all.some(({ name }) => name === 'services') && {
      services: {
        count: Number(gauge(all, 'services', 'services') ?? 0),
        in_vpp: Number(gauge(all, 'services', 'in_vpp') ?? 0),
        refused: Number(gauge(all, 'services', 'refused') ?? 0),
      },
    }),
    actors,
    troubled: troubled.slice(0, TROUBLED_MAX).map(({ path, state, detail, lastError }) => ({
      path,
      state,
      detail,
      lastError,
    })),
    counters: view.counters,
  };
}
