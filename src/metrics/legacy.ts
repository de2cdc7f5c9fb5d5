/**
 * VPP's counters under the names that the Go implementation has for them, for dashboards that know these: each label set once, none of an interface
 * that is gone, and gauges as gauges. Pure.
 */
import type { SegmentView } from '../stats/segment.js';
import { countersAt, interfaces_max, interfacesOf, type SegmentContext } from './from-segment.js';
import type { Family, Labels, Sample } from './samples.js';

const both = ['rx', 'tx'].flatMap((way) =>
  ['', '-unicast', '-multicast', '-broadcast'].map((cast) => `${way}${cast}`),
);
const one = ['drops', 'punt', 'ip4', 'ip6', 'rx-no-buf', 'rx-miss', 'rx-error', 'tx-error', 'mpls'];

/** Of the host stack: there only while that is on. The vector /sys/tcp has the same figures as its symlinks, without names. */
const of_host_stack = /^(\/sys\/(?:tcp|session)\/|\/err\/tcp[46]-)/;

/** As the Go implementation spells a name: `cni.projectcalico.vpp.` and `rx-no-buf` to `cni_projectcalico_vpp_rx_no_buf`. */
export function legacyName(prefix: string, name: string): string {
  const spelled = `${prefix}${name}`.replace(/[^A-Za-z0-9]/g, '_');
  return /^\d/.test(spelled) ? `_${spelled}` : spelled;
}

class LegacyFamilies {
  readonly #of = new Map<string, { type: 'counter' | 'gauge'; path: string; samples: Sample[] }>();

  add(name: string, type: 'counter' | 'gauge', path: string, labels: Labels, value: number): void {
    const family = this.#of.get(name) ?? { type, path, samples: [] };
    this.#of.set(name, family);
    family.samples.push({ labels, value });
  }

  all(): Family[] {
    return [...this.#of].map(([name, { type, path, samples }]) => ({
      name,
      type,
      help: `What VPP has at ${path}; a name of the Go implementation.`,
      samples,
    }));
  }
}

function addInterfaces(
  view: SegmentView,
  { pods }: SegmentContext,
  prefix: string,
  families: LegacyFamilies,
): void {
  for (const [index, name] of [...interfacesOf(view)].slice(0, interfaces_max)) {
    const pod = pods.get(index);
    const labels = (worker: number): Labels => ({
      worker: String(worker),
      namespace: pod?.namespace ?? '',
      podName: pod?.pod ?? '',
      podInterfaceName: pod?.interface ?? '',
      vppInterfaceName: name,
    });
    for (const entry of both) {
      const value = view.value(`/if/${entry}`);
      if (value?.kind !== 'combined') continue;
      for (const unit of ['packets', 'bytes'] as const)
        for (const [worker, count] of countersAt(
          value.threads.map((of) => of[unit]),
          index,
        ).entries())
          families.add(
            legacyName(prefix, `${entry}_${unit}`),
            'counter',
            `/if/${entry}`,
            labels(worker),
            count,
          );
    }
    for (const entry of one) {
      const value = view.value(`/if/${entry}`);
      if (value?.kind !== 'simple') continue;
      for (const [worker, count] of countersAt(value.threads, index).entries())
        families.add(legacyName(prefix, entry), 'counter', `/if/${entry}`, labels(worker), count);
    }
  }
}

function addHostStack(view: SegmentView, prefix: string, families: LegacyFamilies): void {
  for (const path of view.names.keys()) {
    if (!of_host_stack.test(path)) continue;
    const value = view.value(path);
    const name = legacyName(prefix, path.replace(/^\/(sys|err)\//, ''));
    if (value?.kind === 'gauge' || value?.kind === 'scalar')
      families.add(name, 'gauge', path, {}, value.value);
    if (value?.kind !== 'simple') continue;
    // What the collector makes has a place for each thread in the vector of the first.
    const counters = path.endsWith('_per_worker')
      ? [...(value.threads[0] ?? [])]
      : countersAt(value.threads, 0);
    // VPP has seven hundred names for what may happen to TCP, also where it has none.
    if (path.startsWith('/err/') && counters.every((count) => count === 0)) continue;
    for (const [worker, count] of counters.entries())
      families.add(
        name,
        path.endsWith('_per_worker') ? 'gauge' : 'counter',
        path,
        { worker: String(worker) },
        count,
      );
  }
}

export function legacyFamilies(view: SegmentView, context: SegmentContext, prefix: string): Family[] {
  const families = new LegacyFamilies();
  addInterfaces(view, context, prefix, families);
  addHostStack(view, prefix, families);
  return families.all();
}
