/** Whether an ADD can be carried out as the node is now: others may have its address, or VPP's buffers. Decides, and does nothing. */
import { type BufferPool, buffersText } from '../desired/admission.js';
import type { NodeThere } from '../messages/node.js';
import { type PodKey, type PodSpec, podName } from '../pod/spec.js';
import type { PodEntry, PodTable } from './pod-table.js';
import type { Whereabouts } from './whereabouts.js';

export type Admission =
  /** `known`: the pod, if it is one of the node already. */
  | { readonly go: true; readonly known: PodEntry | undefined }
  /** This one has to be removed first, and nobody else asks for that. */
  | { readonly evicts: PodEntry }
  /** Of a pod that is being removed. */
  | { readonly waits_for: PodKey }
  /** For a person. */
  | { readonly refusal: string };

/** Beside the default one; undefined: not known. */
type Networks = NodeThere['networks'];

/** A pod reaches its network by its interface in it. Undone and done again by a repeated ADD: the range may be another by then. */
export function withRange(spec: PodSpec, networks: Networks): PodSpec {
  const range = networks?.find(({ name }) => name === spec.network_name)?.range;
  if (range === undefined || spec.routes.includes(range)) return spec;
  const has_family = spec.addresses[range.includes(':') ? 'ip6' : 'ip4'].length > 0;
  return has_family ? { ...spec, routes: [...spec.routes, range] } : spec;
}

/** `pool`: of VPP's buffers; undefined: not known. */
export function admission(
  spec: PodSpec,
  pods: PodTable,
  whereabouts: Whereabouts,
  pool: BufferPool | undefined,
): Admission {
  const name = podName(spec.workload, spec.interface_name);
  const known = pods.get(spec.key);
  // The pod of before is gone with its namespace, and with it the Linux side that VPP still points to.
  if (known !== undefined && whereabouts.isReplaced(known)) return { evicts: known };
  const conflict = pods.conflictOf(spec);
  if (conflict !== undefined) {
    const holder = pods.get(conflict.holder.key)!;
    if (holder.deleting || !whereabouts.isThere(holder)) return { evicts: holder };
    const other = podName(holder.spec.workload, holder.spec.interface_name);
    return {
      refusal: `${name}: ${conflict.address} is that of ${other} (${holder.spec.netns}), which still runs on this node: delete that pod, or free the address in IPAM`,
    };
  }
  const missing = pool === undefined ? 0 : pods.buffersMissing(spec, pool, true);
  if (pool === undefined || missing === 0) return { go: true, known };
  const going = [...pods.values()].find(({ deleting, spec: { key } }) => deleting && key !== spec.key);
  return going !== undefined && pods.buffersMissing(spec, pool, false) === 0
    ? { waits_for: going.spec.key }
    : { refusal: `${name}: ${buffersText(pool, missing)}` };
}
