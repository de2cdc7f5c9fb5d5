/** What VPP's stats segment says, as samples. Pure. */
import type { SegmentView } from '../stats/segment.js';
import type { MetricName } from './catalog.js';
import type { Labels, Samples } from './samples.js';

/** Whose an interface is. */
export interface PodInterface {
  readonly namespace: string;
  readonly pod: string;
  /** Its name inside of the pod. */
  readonly interface: string;
}

export interface SegmentContext {
  /** By sw_if_index. */
  readonly pods: ReadonlyMap<number, PodInterface>;
  /** A series for each thread, instead of one for all. */
  readonly per_worker: boolean;
}

export const interfaces_max = 2048;
export const errors_max = 1000;

/** VPP keeps the place of an interface that is gone, under this name: of how many soever. */
export const deleted = 'deleted';

type Kind = 'uplink' | 'tap' | 'pod' | 'tunnel' | 'other';

/** By VPP's own names, which follow from the driver. Any that is not known is a device. */
const kinds: readonly (readonly [RegExp, Kind])[] = [
  [/^(tap|tun)\d/, 'tap'],
  [/^(ipip|vxlan_tunnel|gre|ipsec|wg)\d/, 'tunnel'],
  [/^(local0|loop\d|bvi\d|pipe\d|memif)/, 'other'],
];

export const kindOf = (name: string, is_pod: boolean): Kind =>
  is_pod ? 'pod' : (kinds.find(([pattern]) => pattern.test(name))?.[1] ?? 'uplink');

/** Interfaces by sw_if_index, holes left out. */
export function* interfacesOf(view: SegmentView): Generator<readonly [index: number, name: string]> {
  const names = view.value('/if/names');
  if (names?.kind !== 'names') return;
  for (const [index, name] of names.names.entries())
    if (name !== undefined && name !== '' && name !== deleted) yield [index, name];
}

const combined = [
  ['/if/rx', 'calicovpp_interface_rx_packets_total', 'calicovpp_interface_rx_bytes_total'],
  ['/if/tx', 'calicovpp_interface_tx_packets_total', 'calicovpp_interface_tx_bytes_total'],
] as const satisfies readonly (readonly [string, MetricName, MetricName])[];

const simple = [
  ['/if/drops', 'calicovpp_interface_drops_total'],
  ['/if/punt', 'calicovpp_interface_punts_total'],
  ['/if/rx-no-buf', 'calicovpp_interface_rx_no_buffer_total'],
  ['/if/rx-miss', 'calicovpp_interface_rx_missed_total'],
  ['/if/rx-error', 'calicovpp_interface_rx_errors_total'],
  ['/if/tx-error', 'calicovpp_interface_tx_errors_total'],
] as const satisfies readonly (readonly [string, MetricName])[];

/** Ten series a pod are enough. */
const not_of_pods = [
  ['/if/ip4', 'calicovpp_interface_ip4_packets_total'],
  ['/if/ip6', 'calicovpp_interface_ip6_packets_total'],
] as const satisfies readonly (readonly [string, MetricName])[];

/** The counter of each thread: 0 where its vector is shorter, for it has not counted there yet. */
export const countersAt = (threads: readonly Float64Array[], index: number): number[] =>
  threads.map((thread) => thread[index] ?? 0);

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);

function addCounter(
  samples: Samples,
  metric: MetricName,
  threads: readonly Float64Array[],
  index: number,
  labels: Labels,
  per_worker: boolean,
): void {
  const counters = countersAt(threads, index);
  if (!per_worker) return samples.add(metric, sum(counters), labels);
  for (const [worker, value] of counters.entries())
    samples.add(metric, value, { ...labels, worker: String(worker) });
}

function addInterfaces(view: SegmentView, { pods, per_worker }: SegmentContext, samples: Samples): void {
  const all = [...interfacesOf(view)];
  samples.add('calicovpp_interfaces', all.length);
  samples.add('calicovpp_interfaces_unshown', Math.max(0, all.length - interfaces_max));
  for (const [index, name] of all.slice(0, interfaces_max)) {
    const pod = pods.get(index);
    const labels: Labels = {
      interface: name,
      kind: kindOf(name, pod !== undefined),
      namespace: pod?.namespace ?? '',
      pod: pod?.pod ?? '',
      pod_interface: pod?.interface ?? '',
    };
    for (const [path, packets, bytes] of combined) {
      const value = view.value(path);
      if (value?.kind !== 'combined') continue;
      addCounter(
        samples,
        packets,
        value.threads.map((of) => of.packets),
        index,
        labels,
        per_worker,
      );
      addCounter(
        samples,
        bytes,
        value.threads.map((of) => of.bytes),
        index,
        labels,
        per_worker,
      );
    }
    for (const [path, metric] of pod === undefined ? [...simple, ...not_of_pods] : simple) {
      const value = view.value(path);
      if (value?.kind === 'simple') addCounter(samples, metric, value.threads, index, labels, per_worker);
    }
  }
}

/** Of one thread each, in the one vector of the first: what the collector makes. */
function addWorkers(view: SegmentView, samples: Samples): void {
  for (const [path, metric] of [
    ['/sys/vector_rate_per_worker', 'calicovpp_vpp_vector_rate'],
    ['/sys/loops_per_worker', 'calicovpp_vpp_loops_per_second'],
  ] as const) {
    const value = view.value(path);
    if (value?.kind !== 'simple') continue;
    for (const [worker, rate] of value.threads[0]?.entries() ?? [])
      samples.add(metric, rate, { worker: String(worker) });
  }
  samples.add('calicovpp_vpp_workers', view.scalar('/sys/num_worker_threads'));
}

/** Places in the vector of a heap. */
const heap_kinds = [
  [0, 'total'],
  [1, 'used'],
  [2, 'free'],
] as const;

function addMemory(view: SegmentView, samples: Samples): void {
  for (const name of view.names.keys()) {
    // Of thousands of names few are these.
    if (!name.startsWith('/buffer-pools/') && !name.startsWith('/mem/')) continue;
    const [, pool, state] = /^\/buffer-pools\/([^/]+)\/(available|cached|used)$/.exec(name) ?? [];
    if (pool !== undefined && state !== undefined)
      samples.add('calicovpp_vpp_buffers', view.scalar(name), { pool, state });
    const [, heap] = /^\/mem\/([^/]+)$/.exec(name) ?? [];
    if (heap === undefined) continue;
    const value = view.value(name);
    if (value?.kind !== 'simple') continue;
    for (const [place, kind] of heap_kinds)
      samples.add('calicovpp_vpp_heap_bytes', value.threads[0]?.[place], { heap, kind });
  }
}

/** What cnat says when it has nothing left to translate a packet with. */
const exhausted = /^(cnat|ip[46]-cnat)-.*\/(no more free ports|session allocation failure)$/i;

/** Errors by name: `/err/<node>/<reason>`, all threads together. */
function* errorsOf(view: SegmentView): Generator<readonly [path: string, count: number]> {
  for (const name of view.names.keys()) {
    if (!name.startsWith('/err/')) continue;
    const value = view.value(name);
    if (value?.kind === 'simple') yield [name.slice('/err/'.length), sum(countersAt(value.threads, 0))];
  }
}

function addErrors(view: SegmentView, samples: Samples): void {
  let lost = 0;
  const shown: (readonly [string, number])[] = [];
  for (const [path, count] of errorsOf(view)) {
    if (exhausted.test(path)) lost += count;
    if (count > 0) shown.push([path, count]);
  }
  samples.add('calicovpp_snat_exhausted_total', lost);
  // By name: which are left out must not change with the figures.
  for (const [path, count] of shown.sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, errors_max)) {
    const slash = path.indexOf('/');
    samples.add('calicovpp_vpp_errors_total', count, {
      node: slash < 0 ? path : path.slice(0, slash),
      reason: slash < 0 ? '' : path.slice(slash + 1),
    });
  }
}

export function addSegment(view: SegmentView, context: SegmentContext, samples: Samples): void {
  samples.add('calicovpp_vpp_boot_time_seconds', view.scalar('/sys/boottime'));
  addWorkers(view, samples);
  addMemory(view, samples);
  addErrors(view, samples);
  addInterfaces(view, context, samples);
  samples.add('calicovpp_cnat_sessions', view.scalar('/cnat/sessions/total'));
}
