/** A pod as the tree of actors shows it. Pure. */
import type { PodRecord } from '../pod/record.js';
import { type PodKey, type PodSpec, podName } from '../pod/spec.js';
import type { PodRest } from './pod-rest.js';
import type { PodVpp } from './pod-vpp.js';

const fault_length_max = 200;

export interface ShownPod {
  readonly key: PodKey;
  readonly record: PodRecord | undefined;
  /** What it is, or is to be; undefined before the first ADD. */
  readonly spec: PodSpec | undefined;
  readonly vpp: Pick<PodVpp, 'generation' | 'objects' | 'place'>;
  readonly rest: Pick<PodRest, 'fault' | 'retry'>;
  readonly callers: number;
  /** What a transaction that is under way is for. */
  readonly in_flight: string | undefined;
}

/** Figures, and the names by which people know it. */
export function podGauges({ record, spec, vpp, rest, callers, in_flight }: ShownPod) {
  return {
    ...(spec && namesOf(spec)),
    phase: record?.phase ?? 'none',
    sw_if_index: vpp.objects?.sw_if_index ?? -1,
    desired: vpp.objects?.wanted_count ?? 0,
    in_vpp: vpp.objects?.count ?? 0,
    callers,
    retries: rest.retry.count,
    in_flight: in_flight ?? '',
    fault: rest.fault.slice(0, fault_length_max),
  };
}

function namesOf({ workload, interface_name, netns }: PodSpec) {
  return { pod: podName(workload, interface_name).slice('pod '.length), netns };
}

/** All of it, with its objects in VPP. */
export function podDescription({ key, record, spec, vpp, rest }: ShownPod) {
  return {
    key,
    phase: record?.phase ?? 'none',
    spec,
    slot: vpp.place?.slot,
    generation: vpp.generation,
    sw_if_index: vpp.objects?.sw_if_index,
    objects: vpp.objects?.states(),
    fault: rest.fault,
  };
}
