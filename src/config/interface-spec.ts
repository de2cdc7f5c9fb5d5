import * as v from 'valibot';
import { flag, read, whole, word } from './json-document.js';
import { BadValue, type Fault } from './problem.js';

export type RxMode = 'polling' | 'interrupt' | 'adaptive' | 'default';

/** Queues and rings of one VPP interface, complete: nothing is zero. */
export interface InterfaceSpec {
  readonly rx_queues: number;
  readonly tx_queues: number;
  /** Descriptors of one ring: a power of two up to 32768. */
  readonly rx_ring_size: number;
  readonly tx_ring_size: number;
  /** Absent: true for a tun, false for a memif. */
  readonly is_l3?: boolean;
  /** Absent: the default of the driver. */
  readonly rx_mode?: RxMode;
}

/** The most that a pod may ask for. An absent field is no limit. */
export type InterfaceLimits = Partial<
  Pick<InterfaceSpec, 'rx_queues' | 'tx_queues' | 'rx_ring_size' | 'tx_ring_size'>
>;

const queues_max = 256;
/** VPP refuses a larger virtio ring with -144, and any that is not a power of two. */
const ring_size_max = 32768;

/** The JSON keys, as in the ConfigMap and in the pod annotation. */
export const interface_spec_entries = {
  rx: v.optional(whole(0, queues_max)),
  tx: v.optional(whole(0, queues_max)),
  rxqsz: v.optional(whole(0, ring_size_max)),
  txqsz: v.optional(whole(0, ring_size_max)),
  isl3: v.optional(flag()),
  rxMode: v.optional(word()),
};

export const interface_spec_document = v.object(interface_spec_entries);
export type InterfaceSpecDocument = v.InferOutput<typeof interface_spec_document>;

const rx_modes: readonly string[] = ['polling', 'interrupt', 'adaptive', 'default'] satisfies RxMode[];
const isRxMode = (word: string): word is RxMode => rx_modes.includes(word);

const field_keys = [
  ['rx_queues', 'rx'],
  ['tx_queues', 'tx'],
  ['rx_ring_size', 'rxqsz'],
  ['tx_ring_size', 'txqsz'],
] as const satisfies readonly (readonly [keyof InterfaceLimits, keyof InterfaceSpecDocument])[];

/** The spec of an interface of which nothing is said. */
export const interface_spec_default: InterfaceSpec = Object.freeze({
  rx_queues: 1,
  tx_queues: 1,
  rx_ring_size: 1024,
  tx_ring_size: 1024,
});

/** Fills what is absent or zero from `base`. */
export function fillIn(
  document: InterfaceSpecDocument,
  base: InterfaceSpec,
  warn: (text: string) => void,
): InterfaceSpec {
  const { rxMode } = document;
  const given = rxMode?.toLowerCase() ?? '';
  if (given !== '' && !isRxMode(given)) {
    warn(
      `rxMode ${JSON.stringify(rxMode)} is not one of ${rx_modes.join(', ')}: the default of the driver applies`,
    );
  }
  const rx_mode = isRxMode(given) ? given : base.rx_mode;
  const is_l3 = document.isl3 ?? base.is_l3;
  return {
    rx_queues: document.rx || base.rx_queues,
    tx_queues: document.tx || base.tx_queues,
    rx_ring_size: document.rxqsz || base.rx_ring_size,
    tx_ring_size: document.txqsz || base.tx_ring_size,
    ...(is_l3 !== undefined && { is_l3 }),
    ...(rx_mode !== undefined && { rx_mode }),
  };
}

/** `ring_size_min`: 256 where the driver demands a whole vector of VPP (af_xdp, rdma). `path`: where the document stands, with a trailing dot. */
export function ringFaults(spec: InterfaceSpec, path: string, ring_size_min = 1): Fault[] {
  return field_keys.slice(2).flatMap(([field, key]) => {
    const size = spec[field];
    if (size >= ring_size_min && (size & (size - 1)) === 0) return [];
    const least = ring_size_min > 1 ? ` of at least ${ring_size_min}` : '';
    return [
      {
        path: `${path}${key}`,
        cause: `a ring of ${size} descriptors is refused by VPP`,
        step: `use a power of two${least} up to ${ring_size_max}`,
      },
    ];
  });
}

export function limits(document: InterfaceSpecDocument): InterfaceLimits {
  return Object.fromEntries(
    field_keys.flatMap(([field, key]) => (document[key] ? [[field, document[key]]] : [])),
  );
}

/** The JSON keys in which a spec asks for more than the limits allow. */
export function excess(
  spec: InterfaceSpec,
  max: InterfaceLimits,
): { key: string; asked: number; max: number }[] {
  return field_keys.flatMap(([field, key]) => {
    const most = max[field];
    return most !== undefined && spec[field] > most ? [{ key, asked: spec[field], max: most }] : [];
  });
}

/** The spec with every field lowered to its limit. */
export function capped(spec: InterfaceSpec, max: InterfaceLimits): InterfaceSpec {
  const lowered = field_keys.map(([field]) => [field, Math.min(spec[field], max[field] ?? spec[field])]);
  return { ...spec, ...Object.fromEntries(lowered) };
}

/**
 * Reads one InterfaceSpec that is JSON already (from a pod's `vppInterfacesSpec` or `vppExtraMemifSpec` annotation),
 * filled in from `base`. Throws BadValue, naming each key, where a value is impossible or above `max`.
 */
export function readInterfaceSpec(
  value: unknown,
  base: InterfaceSpec,
  max: InterfaceLimits,
  warn: (text: string) => void,
): InterfaceSpec {
  const spec = fillIn(read(interface_spec_document, value, warn), base, warn);
  const faults = [
    ...ringFaults(spec, ''),
    ...excess(spec, max).map(({ key, asked, max: most }) => ({
      path: key,
      cause: `${asked} is more than the ${most} that maxPodIfSpec allows`,
      step: `use at most ${most}, or raise maxPodIfSpec in CALICOVPP_INTERFACES`,
    })),
  ];
  if (faults.length > 0) throw new BadValue(...faults);
  return spec;
}
