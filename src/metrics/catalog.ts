/**
 * Every metric by name: what Prometheus is told of it, and docs/metrics.md. Base units; counters end in _total. Data alone.
 */

export type MetricType = 'counter' | 'gauge' | 'histogram';

export interface Definition {
  readonly type: MetricType;
  /** In the order in which they are written. */
  readonly labels: readonly string[];
  readonly help: string;
  /** What docs/metrics.md says beside the help. */
  readonly note?: string;
}

const counter = (labels: readonly string[], help: string, note?: string): Definition => ({
  type: 'counter',
  labels,
  help,
  ...(note !== undefined && { note }),
});
const gauge = (labels: readonly string[], help: string, note?: string): Definition => ({
  ...counter(labels, help, note),
  type: 'gauge',
});
const histogram = (labels: readonly string[], help: string, note?: string): Definition => ({
  ...counter(labels, help, note),
  type: 'histogram',
});

const interface_labels = ['interface', 'kind', 'namespace', 'pod', 'pod_interface', 'worker'] as const;
const of_interface = (help: string, note?: string): Definition => counter(interface_labels, help, note);

/** Groups in the order of the manual. */
export const catalog = {
  Process: {
    calicovpp_build_info: gauge(
      ['version', 'node_version'],
      'Versions of this program and of Node.js; always 1.',
    ),
    process_cpu_seconds_total: counter([], 'CPU time of the process, all threads.'),
    process_resident_memory_bytes: gauge([], 'Memory of the process that is in RAM.'),
    process_open_fds: gauge([], 'Open files of the process.'),
    process_start_time_seconds: gauge([], 'When the process started, in seconds since 1970.'),
    calicovpp_heap_used_bytes: gauge([], 'JavaScript heap of the main thread that is in use.'),
    calicovpp_heap_limit_bytes: gauge([], 'JavaScript heap that the main thread may have.'),
    calicovpp_gc_pauses_total: counter([], 'Garbage collections of the main thread.'),
    calicovpp_gc_pause_seconds_total: counter(
      [],
      'Time that the main thread has spent in garbage collection.',
    ),
    calicovpp_event_loop_delay_seconds: histogram(
      [],
      'Lateness of a timer of the main loop, four times a second.',
    ),
    calicovpp_main_loop_blocked_seconds: gauge(
      [],
      'For how long the main loop has given no sign of life; 0 below a second.',
      'What the main thread alone knows is then as it was, or left out',
    ),
  },
  Scrape: {
    calicovpp_scrape_stale: gauge(
      ['source'],
      '1 while a source could not be read: what comes from it is then left out, or as it was.',
      '`tree`, `figures`: of the main thread. `stats`: the stats segment of VPP',
    ),
    calicovpp_scrape_seconds: gauge([], 'How long it took to gather this answer.'),
  },
  'The node': {
    calicovpp_ready: gauge([], '1 if the node is ready: all conditions hold.'),
    calicovpp_condition: gauge(['condition'], '1 if this condition of readiness holds.'),
    calicovpp_uplinks: gauge([], 'Uplinks that are configured.'),
  },
  Actors: {
    calicovpp_actor_up: gauge(
      ['path'],
      '1 while the actor runs.',
      'Blocked is running. Actors of pods have no series of their own',
    ),
    calicovpp_actor_restarts_total: counter(['path'], 'Restarts of the actor.'),
    calicovpp_actor_errors_total: counter(['path'], 'Errors of the actor.'),
    calicovpp_actor_mailbox_depth: gauge(['path'], 'Messages that wait in the mailbox.'),
    calicovpp_actor_mailbox_oldest_seconds: gauge(['path'], 'For how long the oldest message has waited.'),
    calicovpp_actor_mailbox_dropped_total: counter(
      ['path'],
      'Messages refused because the mailbox was full.',
    ),
    calicovpp_actor_handling_seconds: gauge(
      ['path'],
      'For how long the message in hand has been handled; 0 if none is.',
    ),
    calicovpp_actor_handle_seconds: histogram(['path'], 'How long messages were handled.'),
    calicovpp_actors: gauge(['state'], 'Actors by state, those of pods among them.'),
    calicovpp_actor_crashes_total: counter([], 'Crashes of any actor.'),
    calicovpp_actor_dead_letters_total: counter([], 'Messages to actors that are not there.'),
    calicovpp_actor_abandoned_total: counter([], 'Lives of actors that did not end in time.'),
  },
  VPP: {
    calicovpp_vpp_up: gauge([], '1 while VPP runs and answers.'),
    calicovpp_vpp_restarts_total: counter(
      ['cause'],
      'Deaths of VPP, each of which had another one started or the node given up; one that is replaced is none.',
      'A signal, `exit`, `oom`, `silent` (killed because it did not answer), `not_started`',
    ),
    calicovpp_vpp_connections_total: counter([], 'Connections to VPP since this process started.'),
    calicovpp_vpp_boot_time_seconds: gauge(
      [],
      'When VPP started, in seconds since 1970: its counters began at 0 then.',
    ),
    calicovpp_vpp_api_requests_total: counter(
      ['msg', 'result'],
      'Requests to VPP by message and result.',
      '`ok`, `refused` (a retval other than 0), `expired`. Begins anew with each connection',
    ),
    calicovpp_vpp_api_seconds: histogram(
      ['connection'],
      'From a request to its answer.',
      'Begins anew with each connection',
    ),
    calicovpp_vpp_api_inflight: gauge(['connection'], 'Requests that VPP has not answered yet.'),
    calicovpp_vpp_api_waiting: gauge(['connection'], 'Requests that wait for their turn.'),
    calicovpp_vpp_quarantined: gauge([], 'Objects and pods that are refused because VPP has died of them.'),
    calicovpp_vpp_stats_read_seconds: gauge([], 'How long the reading of the stats segment took.'),
    calicovpp_vpp_stats_retries_total: counter(
      [],
      'Readings done again because VPP was changing the structure.',
    ),
    calicovpp_vpp_stats_faults: gauge(
      [],
      'Entries of the stats segment that could not be decoded in this reading.',
    ),
    calicovpp_vpp_workers: gauge([], 'Worker threads.'),
    calicovpp_vpp_vector_rate: gauge(
      ['worker'],
      'Packets per turn of the graph: near 0 idle, 256 saturated.',
      '0 is the main thread. VPP renews it every 2 s',
    ),
    calicovpp_vpp_loops_per_second: gauge(['worker'], 'Turns of the main loop of the thread.'),
    calicovpp_vpp_buffers: gauge(
      ['pool', 'state'],
      'Packet buffers.',
      '`available`, `cached`, `used`; the first two are free',
    ),
    calicovpp_vpp_heap_bytes: gauge(['heap', 'kind'], 'Memory of a heap of VPP.', '`total`, `used`, `free`'),
    calicovpp_vpp_errors_total: counter(
      ['node', 'reason'],
      'Errors and drops by node of the graph.',
      'Those that are not 0, the first 1000 by name',
    ),
  },
  Interfaces: {
    calicovpp_interface_rx_packets_total: of_interface(
      'Packets received by VPP.',
      '`worker` only with `workerMetrics`. `kind`: `uplink`, `tap` (of the host), `pod`, `tunnel`, `other`',
    ),
    calicovpp_interface_rx_bytes_total: of_interface('Bytes received by VPP.'),
    calicovpp_interface_tx_packets_total: of_interface('Packets sent by VPP.'),
    calicovpp_interface_tx_bytes_total: of_interface('Bytes sent by VPP.'),
    calicovpp_interface_drops_total: of_interface('Packets dropped.'),
    calicovpp_interface_punts_total: of_interface('Packets that VPP had no use for.'),
    calicovpp_interface_rx_no_buffer_total: of_interface('Packets lost for want of a buffer.'),
    calicovpp_interface_rx_missed_total: of_interface('Packets that the device lost before VPP took them.'),
    calicovpp_interface_rx_errors_total: of_interface('Packets received with errors.'),
    calicovpp_interface_tx_errors_total: of_interface(
      'Packets that could not be sent.',
      'To a pod: its device takes no more',
    ),
    calicovpp_interface_ip4_packets_total: of_interface('Packets of IPv4.', 'Not of pods'),
    calicovpp_interface_ip6_packets_total: of_interface('Packets of IPv6.', 'Not of pods'),
    calicovpp_interfaces: gauge([], 'Interfaces that VPP has.'),
    calicovpp_interfaces_unshown: gauge([], 'Interfaces beyond the limit of 2048, which have no series.'),
  },
  Services: {
    calicovpp_services: gauge([], 'Services that are known.'),
    calicovpp_services_in_vpp: gauge([], 'Translations and routes of services that VPP has.'),
    calicovpp_service_new_connections_total: counter(
      ['namespace', 'service'],
      'Connections and flows that VPP has begun to translate for the service.',
      'By all of its addresses and ports. Both labels empty: of all services that have no series of their own',
    ),
    calicovpp_services_unshown: gauge(
      [],
      'Services that VPP serves beyond the limit of 1000, which have one series together.',
    ),
    calicovpp_services_waiting: gauge([], 'Translations and routes that VPP is still to have.'),
    calicovpp_services_refused: gauge(
      [],
      'Translations and routes that VPP has refused, or that belong to somebody else.',
    ),
    calicovpp_cnat_drift_keys: gauge(
      [],
      'Translations and routes that the last reading of VPP showed otherwise than they should be.',
    ),
    calicovpp_service_programming_seconds: histogram(
      [],
      'From the change of an endpoint, as its slice says, until VPP has all that follows.',
    ),
    kubeproxy_network_programming_duration_seconds: histogram(
      [],
      'As calicovpp_service_programming_seconds, by the name that scale tests of Kubernetes read.',
    ),
    calicovpp_service_sync_seconds: histogram(
      [],
      'From the event of the watch to the answer of VPP, for each translation or route.',
    ),
    calicovpp_cnat_sessions: gauge([], 'Sessions that VPP translates.', 'Each takes two'),
    calicovpp_cnat_sessions_max: gauge(
      [],
      'Sessions that VPP has room for.',
      'As the start-up file says; without `session-max` there it is left out',
    ),
    calicovpp_snat_exhausted_total: counter(
      [],
      'Packets dropped because no port, or no session, was left to translate them.',
    ),
  },
  Pods: {
    calicovpp_pods: gauge([], 'Pod interfaces of this node.'),
    calicovpp_pods_max: gauge([], 'Pod interfaces that this node is laid out for.'),
    calicovpp_pods_deleting: gauge([], 'Pod interfaces on their way out.'),
    calicovpp_pods_waiting: gauge([], 'ADD requests that wait for VPP or for the pod before.'),
    calicovpp_cni_requests_total: counter(
      ['op', 'result'],
      'Requests of the CNI plugin.',
      '`add`, `del`; `ok`, `refused`, `failed`',
    ),
    calicovpp_cni_seconds: histogram(['op'], 'From a request of the CNI plugin to its answer.'),
  },
  'Routes and BGP': {
    calicovpp_routes: gauge([], 'Routes to other nodes that are wanted.'),
    calicovpp_routes_in_vpp: gauge([], 'Routes and tunnels to other nodes that VPP has.'),
    calicovpp_routes_waiting: gauge([], 'Routes and tunnels that VPP is still to have.'),
    calicovpp_routes_refused: gauge([], 'Routes and tunnels that VPP has refused.'),
    calicovpp_tunnels: gauge([], 'Tunnels to other nodes.'),
    calicovpp_bgp_peers: gauge([], 'Peers that are wanted.'),
    calicovpp_bgp_peers_established: gauge([], 'Peers whose session is established.'),
    calicovpp_bgp_session_up: gauge(
      ['peer'],
      '1 while the session with the peer is established.',
      'At most 200, those without a session first',
    ),
    calicovpp_bgp_routes_received: gauge(['peer'], 'Routes that the peer has told.'),
    calicovpp_bgp_routes: gauge(
      ['dir'],
      'Routes by direction.',
      '`in`: best paths of others. `out`: own paths',
    ),
  },
  'Felix and policies': {
    calicovpp_policies_in_vpp: gauge([], 'Objects of policies that VPP has.'),
    calicovpp_policies_waiting: gauge([], 'Objects of policies that VPP is still to have.'),
    calicovpp_policies_refused: gauge([], 'Objects of policies that VPP has refused.'),
    calicovpp_felix_in_sync: gauge([], '1 while the present connection of Felix has told all that there is.'),
    calicovpp_felix_connections_total: counter([], 'Connections of Felix.'),
    calicovpp_felix_batches_total: counter([], 'Batches of what Felix has told that were handed on.'),
  },
  'Kubernetes API': {
    calicovpp_kube_synced: gauge(['kind'], '1 if all objects of the kind have been read once.'),
    calicovpp_kube_objects: gauge(['kind'], 'Objects that are kept.'),
    calicovpp_watch_relists_total: counter(['kind'], 'Lists of the kind, the first one among them.'),
    calicovpp_watches_total: counter(['kind'], 'Watches of the kind that were begun.'),
    calicovpp_kube_news_waiting: gauge([], 'Objects whose news subscribers are still to be told.'),
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, Definition>>>>;

type Group = keyof typeof catalog;
export type MetricName = { [G in Group]: keyof (typeof catalog)[G] }[Group] & string;

export const definitions: ReadonlyMap<string, Definition> = new Map(
  Object.values(catalog).flatMap((group) => Object.entries<Definition>(group)),
);

/** The longest text that a label may have; VPP's names are shorter. */
export const label_length_max = 256;

/** The tables of docs/metrics.md: a group each. */
export function catalogText(): string {
  return Object.entries(catalog)
    .map(([group, metrics]) => {
      const rows = Object.entries<Definition>(metrics).map(([name, { type, labels, help, note }]) => {
        const of = labels.map((label) => `\`${label}\``).join(' ');
        return `| \`${name}\` | ${type} | ${of} | ${help}${note === undefined ? '' : ` ${note}.`} |`;
      });
      return `## ${group}\n\n| metric | type | labels | |\n|---|---|---|---|\n${rows.join('\n')}\n`;
    })
    .join('\n');
}
