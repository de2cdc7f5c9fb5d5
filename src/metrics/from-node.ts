/** What the node says of itself, as samples. Pure. */
import type { HealthSection, NodeFacts, RuntimeSection, TreeSection } from '../debug/protocol.js';
import type { ShownNode } from '../debug/tree-filter.js';
import type { MetricName } from './catalog.js';
import { apiHistogram, type Figures, isStatic } from './figures.js';
import type { PodInterface } from './from-segment.js';
import type { Samples } from './samples.js';

export interface NodeView {
  readonly facts: NodeFacts;
  readonly node_version: string;
  readonly process: {
    readonly cpu_s: number;
    readonly rss_bytes: number;
    readonly open_files: number;
    readonly started_s: number;
  };
  /** 0 while the main loop is well. */
  readonly blocked_ms: number;
  readonly health: HealthSection | undefined;
  readonly tree: TreeSection | undefined;
  readonly runtime: RuntimeSection | undefined;
  readonly figures: Figures | undefined;
}

function* below(node: ShownNode): Generator<ShownNode> {
  yield node;
  for (const child of node.children) yield* below(child);
}

const nodesOf = (tree: TreeSection | undefined): readonly ShownNode[] =>
  tree === undefined ? [] : [...below(tree.tree)];

/** What actors say in the tree, by name of the actor and of its gauge. */
const gauges: readonly (readonly [actor: string, gauge: string, metric: MetricName])[] = [
  ['vpp-connection', 'generation', 'calicovpp_vpp_connections_total'],
  ['services', 'services', 'calicovpp_services'],
  ['services', 'in_vpp', 'calicovpp_services_in_vpp'],
  ['services', 'waiting', 'calicovpp_services_waiting'],
  ['services', 'refused', 'calicovpp_services_refused'],
  ['services', 'drift', 'calicovpp_cnat_drift_keys'],
  ['cni', 'pods', 'calicovpp_pods'],
  ['cni', 'deleting', 'calicovpp_pods_deleting'],
  ['cni', 'held', 'calicovpp_pods_waiting'],
  ['connectivity', 'routes', 'calicovpp_routes'],
  ['connectivity', 'tunnels', 'calicovpp_tunnels'],
  ['connectivity', 'in_vpp', 'calicovpp_routes_in_vpp'],
  ['connectivity', 'waiting', 'calicovpp_routes_waiting'],
  ['connectivity', 'refused', 'calicovpp_routes_refused'],
  ['bgp-session', 'peers', 'calicovpp_bgp_peers'],
  ['bgp-session', 'established', 'calicovpp_bgp_peers_established'],
  ['policies', 'in_vpp', 'calicovpp_policies_in_vpp'],
  ['policies', 'waiting', 'calicovpp_policies_waiting'],
  ['policies', 'refused', 'calicovpp_policies_refused'],
  ['felix', 'in_sync', 'calicovpp_felix_in_sync'],
  ['felix', 'streams', 'calicovpp_felix_connections_total'],
  ['felix', 'told', 'calicovpp_felix_batches_total'],
  ['cluster', 'waiting', 'calicovpp_kube_news_waiting'],
];

/** VPP's pid; 0 where none runs, or it is not known. */
export function vppPid(tree: TreeSection | undefined): number {
  const pid = nodesOf(tree).find(({ name }) => name === 'vpp-process')?.gauges.pid;
  return typeof pid === 'number' ? pid : 0;
}

const pod_pattern = /^([^/\s]*)\/(\S*) (.*)$/;

/** Whose the interfaces of VPP are, as the actors of the pods say. */
export function podInterfaces(tree: TreeSection | undefined): ReadonlyMap<number, PodInterface> {
  const pods = new Map<number, PodInterface>();
  for (const { path, gauges: of } of nodesOf(tree)) {
    if (isStatic(path) || typeof of.sw_if_index !== 'number' || of.sw_if_index < 0) continue;
    const [, namespace, pod, name] = pod_pattern.exec(String(of.pod)) ?? [];
    if (namespace !== undefined && pod !== undefined && name !== undefined)
      pods.set(of.sw_if_index, { namespace, pod, interface: name });
  }
  return pods;
}

function addProcess({ process, facts, node_version, runtime, blocked_ms }: NodeView, samples: Samples): void {
  samples.add('calicovpp_build_info', 1, { version: facts.version, node_version });
  samples.add('process_cpu_seconds_total', process.cpu_s);
  samples.add('process_resident_memory_bytes', process.rss_bytes);
  samples.add('process_open_fds', process.open_files);
  samples.add('process_start_time_seconds', process.started_s);
  samples.add('calicovpp_heap_used_bytes', runtime?.heap.used_bytes);
  samples.add('calicovpp_heap_limit_bytes', runtime?.heap.limit_bytes);
  samples.add('calicovpp_gc_pauses_total', runtime?.gc.count);
  samples.add('calicovpp_gc_pause_seconds_total', runtime && runtime.gc.total_ms / 1000);
  samples.histogram('calicovpp_event_loop_delay_seconds', runtime?.loop_delay_seconds);
  samples.add('calicovpp_main_loop_blocked_seconds', blocked_ms / 1000);
}

function addActors({ tree, figures }: NodeView, samples: Samples): void {
  const states = new Map<string, number>();
  for (const node of nodesOf(tree)) {
    states.set(node.state, (states.get(node.state) ?? 0) + 1);
    if (!isStatic(node.path)) continue;
    const { path, state, mailbox, restarts, errors, currentHandler } = node;
    samples.add('calicovpp_actor_up', state === 'running' || state === 'blocked' ? 1 : 0, { path });
    samples.add('calicovpp_actor_restarts_total', restarts.total, { path });
    samples.add('calicovpp_actor_errors_total', errors, { path });
    samples.add('calicovpp_actor_mailbox_depth', mailbox.depth, { path });
    samples.add('calicovpp_actor_mailbox_oldest_seconds', mailbox.oldestMs / 1000, { path });
    samples.add('calicovpp_actor_mailbox_dropped_total', mailbox.dropped, { path });
    samples.add('calicovpp_actor_handling_seconds', (currentHandler?.ms ?? 0) / 1000, { path });
  }
  for (const [state, count] of states) samples.add('calicovpp_actors', count, { state });
  samples.add('calicovpp_actor_crashes_total', tree?.counters.crashes);
  samples.add('calicovpp_actor_dead_letters_total', tree?.counters.deadLetters);
  samples.add('calicovpp_actor_abandoned_total', tree?.counters.abandoned);
  for (const { path, ...times } of figures?.handle ?? [])
    samples.histogram('calicovpp_actor_handle_seconds', times, { path });
}

function addGauges({ tree, facts }: NodeView, samples: Samples): void {
  const nodes = nodesOf(tree).filter(({ path }) => isStatic(path));
  for (const [actor, gauge, metric] of gauges) {
    const value = nodes.find(({ name }) => name === actor)?.gauges[gauge];
    if (typeof value === 'number' || typeof value === 'boolean') samples.add(metric, Number(value));
  }
  const paths = nodes.find(({ name }) => name === 'bgp-session')?.gauges;
  if (typeof paths?.routes === 'number') samples.add('calicovpp_bgp_routes', paths.routes, { dir: 'in' });
  if (typeof paths?.paths === 'number') samples.add('calicovpp_bgp_routes', paths.paths, { dir: 'out' });
  samples.add('calicovpp_pods_max', facts.pods_max);
  samples.add('calicovpp_uplinks', facts.uplinks.length);
}

function addApi({ figures }: NodeView, samples: Samples): void {
  const results = new Map<string, { ok: number; refused: number; expired: number }>();
  for (const [connection, of] of Object.entries(figures?.api ?? {})) {
    samples.add('calicovpp_vpp_api_inflight', of.in_flight.length, { connection });
    samples.add('calicovpp_vpp_api_waiting', of.waiting, { connection });
    samples.histogram('calicovpp_vpp_api_seconds', apiHistogram(of), { connection });
    for (const { message, answered, refused, expired } of of.messages) {
      const all = results.get(message) ?? { ok: 0, refused: 0, expired: 0 };
      results.set(message, {
        ok: all.ok + answered - refused,
        refused: all.refused + refused,
        expired: all.expired + expired,
      });
    }
  }
  for (const [msg, of] of results)
    for (const [result, count] of Object.entries(of))
      if (count > 0 || result === 'ok')
        samples.add('calicovpp_vpp_api_requests_total', count, { msg, result });
}

const no_deaths = Object.fromEntries(
  ['SIGABRT', 'SIGKILL', 'SIGSEGV', 'exit', 'not_started', 'oom', 'silent'].map((cause) => [cause, 0]),
);

function addOthers({ figures }: NodeView, samples: Samples): void {
  const { deaths = {}, services, bgp_peers = [], kinds = {}, cni = [] } = figures ?? {};
  // From 0 on: of a series that begins with its first death nobody would see it as one.
  for (const [cause, count] of Object.entries({ ...(figures?.deaths && no_deaths), ...deaths }))
    samples.add('calicovpp_vpp_restarts_total', count, { cause });
  samples.add('calicovpp_vpp_quarantined', figures?.quarantined);
  samples.histogram('calicovpp_service_programming_seconds', services?.network_programming);
  samples.histogram('kubeproxy_network_programming_duration_seconds', services?.network_programming);
  samples.histogram('calicovpp_service_sync_seconds', services?.event_to_vpp);
  for (const { address, state, received } of bgp_peers) {
    samples.add('calicovpp_bgp_session_up', state === 'established' ? 1 : 0, { peer: address });
    samples.add('calicovpp_bgp_routes_received', received, { peer: address });
  }
  for (const [kind, { synced, objects, lists, watches }] of Object.entries(kinds)) {
    samples.add('calicovpp_kube_synced', synced ? 1 : 0, { kind });
    samples.add('calicovpp_kube_objects', objects, { kind });
    samples.add('calicovpp_watch_relists_total', lists, { kind });
    samples.add('calicovpp_watches_total', watches, { kind });
  }
  for (const { op, results, seconds } of cni) {
    for (const [result, count] of Object.entries(results))
      samples.add('calicovpp_cni_requests_total', count, { op, result });
    samples.histogram('calicovpp_cni_seconds', seconds, { op });
  }
}

/** Does VPP's condition hold? */
export const vppAnswers = (health: HealthSection | undefined): boolean =>
  health?.conditions.find(({ name }) => name === 'vpp')?.ok ?? false;

export function addNode(view: NodeView, samples: Samples): void {
  addProcess(view, samples);
  const { health, blocked_ms } = view;
  if (health !== undefined) {
    const is_ready = health.failed === undefined && health.conditions.every(({ ok }) => ok);
    samples.add('calicovpp_ready', is_ready && blocked_ms === 0 ? 1 : 0);
    for (const { name, ok } of health.conditions)
      samples.add('calicovpp_condition', ok ? 1 : 0, { condition: name });
  }
  addActors(view, samples);
  addGauges(view, samples);
  addApi(view, samples);
  addOthers(view, samples);
}
