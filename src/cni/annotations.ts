/** The pod annotations that shape a pod's interface. */
import {
  type InterfaceLimits,
  type InterfaceSpec,
  interface_spec_default,
  readInterfaceSpec,
} from '../config/interface-spec.js';
import { BadValue } from '../config/problem.js';
import type { SourceSpoofing } from '../config/variables.js';
import { canonicalPrefix } from '../ip/spelling.js';
import { parseJson } from '../json.js';
import type { PodInterfaceSpec, PodMemif } from '../pod/spec.js';
import { InvalidRequest, shown } from './invalid-request.js';
import { readMemifPorts } from './memif-ports.js';

export const annotation = {
  interfaces_spec: 'cni.projectcalico.org/vppInterfacesSpec',
  extra_memif_ports: 'cni.projectcalico.org/vppExtraMemifPorts',
  extra_memif_spec: 'cni.projectcalico.org/vppExtraMemifSpec',
  vcl: 'cni.projectcalico.org/vppVcl',
  /** Calico's own spelling. */
  allowed_source_prefixes: 'cni.projectcalico.org/allowedSourcePrefixes',
  /** The spelling of the Go implementation of this dataplane. */
  allowed_source_prefixes_go: 'cni.projectcalico.org/AllowedSourcePrefixes',
} as const;

/** Features that the configuration switches on or off (CALICOVPP_FEATURE_GATES). */
export interface PodGates {
  readonly memif: boolean;
  readonly vcl: boolean;
  readonly multinet: boolean;
}

export interface PodLimits {
  /** What an interface without annotation gets (`defaultPodIfSpec`). Its `isl3` is not used: pods are L3 unless they ask otherwise. */
  readonly default_spec: InterfaceSpec;
  /** What an annotation may ask for (`maxPodIfSpec`). */
  readonly max_spec?: InterfaceLimits;
  readonly gates: PodGates;
  /** Why no pod has VPP's host stack although its gate is open, with the step to take; absent: pods may have it. */
  readonly vcl_obstacle?: string;
  readonly source_spoofing: SourceSpoofing;
}

export type Annotations = Readonly<Record<string, string>>;
type Warn = (text: string) => void;

const source_prefixes_max = 256;
/** The deepest that an annotation means anything at is 2; Kubernetes bounds all of a pod's to 256 KiB. */
const json_bounds = { depth_max: 8, length_max: 1 << 18 };

function readJson(name: string, text: string): unknown {
  try {
    return parseJson(text, json_bounds);
  } catch (error) {
    throw new InvalidRequest(
      `annotation ${name}`,
      text,
      `${(error as Error).message}: correct the annotation`,
    );
  }
}

/** Reads one spec, filling in what is absent, null or 0. */
export function readPodInterfaceSpec(
  json: unknown,
  interface_name: string,
  field: string,
  limits: InterfaceLimits,
  warn: Warn,
): PodInterfaceSpec {
  const base: PodInterfaceSpec = {
    ...interface_spec_default,
    is_l3: !interface_name.startsWith('memif'),
    rx_mode: 'adaptive',
  };
  try {
    return { ...base, ...readInterfaceSpec(json ?? {}, base, limits, (text) => warn(`${field}: ${text}`)) };
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    const faults = error.faults.map(({ path, cause, step }) => `${path ? `${path}: ` : ''}${cause}; ${step}`);
    throw new InvalidRequest(field, json, `cannot be used: ${faults.join(' | ')}`);
  }
}

/**
 * The spec of one interface: its entry of `vppInterfacesSpec`, or the default, which speaks no Ethernet unless it is a memif alone. Every entry is checked,
 * whosever it is.
 */
export function interfaceSpecOf(
  annotations: Annotations,
  interface_name: string,
  limits: PodLimits,
  warn: Warn,
  is_l3 = true,
): PodInterfaceSpec {
  const fallback: PodInterfaceSpec = { rx_mode: 'adaptive', ...limits.default_spec, is_l3 };
  const name = annotation.interfaces_spec;
  const text = annotations[name];
  const entries = text === undefined ? {} : (readJson(name, text) ?? {});
  if (typeof entries !== 'object' || Array.isArray(entries)) {
    throw new InvalidRequest(
      `annotation ${name}`,
      text,
      'is not an object: write e.g. {"eth0": {"rx": 1, "tx": 1}}',
    );
  }
  const specs = new Map(
    Object.entries(entries).map(([entry_name, entry]) => {
      const field = `annotation ${name}, entry ${shown(entry_name)}`;
      if (Array.isArray(entry))
        throw new InvalidRequest(field, entry, 'is not an object: write e.g. {"rx": 1}');
      return [entry_name, readPodInterfaceSpec(entry, entry_name, field, limits.max_spec ?? {}, warn)];
    }),
  );
  return specs.get(interface_name) ?? fallback;
}

/** Which spellings act. Who may write a pod may write its annotations, so that Calico wants the administrator's word for its own. */
const spoofing_annotations: Readonly<Record<SourceSpoofing, readonly string[]>> = {
  Any: [annotation.allowed_source_prefixes, annotation.allowed_source_prefixes_go],
  Legacy: [annotation.allowed_source_prefixes_go],
  Disabled: [],
};

/** Prefixes that the pod may use as source beside its own addresses, canonical and each once, of either spelling's annotation. */
export function allowedSourcePrefixesOf(
  annotations: Annotations,
  spoofing: SourceSpoofing,
  warn: Warn,
): readonly string[] {
  const prefixes = new Set<string>();
  for (const name of spoofing_annotations.Any) {
    const text = annotations[name];
    if (text === undefined) continue;
    if (!spoofing_annotations[spoofing].includes(name)) {
      warn(
        `annotation ${name} is ignored: it acts where workloadSourceSpoofing of the FelixConfiguration, or CALICOVPP_WORKLOAD_SOURCE_SPOOFING, is Any`,
      );
      continue;
    }
    // Calico takes an empty one for none.
    const list = text.trim() === '' ? [] : (readJson(name, text) ?? []);
    if (!Array.isArray(list)) {
      throw new InvalidRequest(`annotation ${name}`, text, 'is not a list: write e.g. ["10.0.0.0/24"]');
    }
    for (const [index, entry] of list.entries()) {
      const prefix = typeof entry === 'string' ? canonicalPrefix(entry) : undefined;
      if (prefix === undefined) {
        throw new InvalidRequest(
          `annotation ${name}, entry ${index}:`,
          entry,
          'is neither a prefix nor an address: correct it',
        );
      }
      prefixes.add(prefix);
    }
    if (prefixes.size > source_prefixes_max) {
      throw new InvalidRequest(
        `annotation ${name}`,
        text,
        `has more than ${source_prefixes_max} entries: shorten it`,
      );
    }
  }
  return [...prefixes];
}

/** The memif beside the pod's primary interface, if the pod asks for one and may have it. */
export function memifOf(annotations: Annotations, limits: PodLimits, warn: Warn): PodMemif | undefined {
  const { extra_memif_ports, extra_memif_spec } = annotation;
  const text = annotations[extra_memif_ports];
  if (text === undefined) {
    if (annotations[extra_memif_spec] !== undefined)
      warn(`annotation ${extra_memif_spec} has no effect without ${extra_memif_ports}: ignored`);
    return undefined;
  }
  if (!limits.gates.memif) {
    warn(
      `annotation ${extra_memif_ports} is ignored: set memifEnabled in CALICOVPP_FEATURE_GATES, and read docs/fast-paths.md before`,
    );
    return undefined;
  }
  const field = `annotation ${extra_memif_ports}`;
  const ports = readMemifPorts(text, field, (problem) => warn(`${field}: ${problem}`));
  return { is_l3: memifSpecOf(annotations, limits, warn).is_l3, ports };
}

/** Queues and rings are checked, and then for the program in the pod to say. */
function memifSpecOf(annotations: Annotations, limits: PodLimits, warn: Warn): PodInterfaceSpec {
  const field = `annotation ${annotation.extra_memif_spec}`;
  const text = annotations[annotation.extra_memif_spec];
  const json = text === undefined ? {} : (readJson(annotation.extra_memif_spec, text) ?? {});
  if (typeof json !== 'object' || Array.isArray(json))
    throw new InvalidRequest(field, text, 'is not an object: write e.g. {"isl3": true}');
  return readPodInterfaceSpec(json, 'memif', field, limits.max_spec ?? {}, warn);
}

/**
 * Whether the pod asks for VPP's host stack, and may have it. A closed gate has the wish ignored; what this node cannot do refuses the pod: it would come
 * up without what its programs were built for.
 */
export function vclOf(annotations: Annotations, limits: PodLimits, warn: Warn): boolean {
  const name = annotation.vcl;
  const value = annotations[name];
  if (value === undefined || value === 'disable') return false;
  if (value !== 'enable')
    throw new InvalidRequest(
      `annotation ${name}`,
      value,
      'is neither "enable" nor "disable": use one of them',
    );
  if (!limits.gates.vcl) {
    warn(
      `annotation ${name} is ignored: set vclEnabled in CALICOVPP_FEATURE_GATES, and read docs/fast-paths.md before`,
    );
    return false;
  }
  if (limits.vcl_obstacle !== undefined)
    throw new InvalidRequest(
      `annotation ${name}`,
      value,
      `asks for VPP's host stack, which this node does not have: ${limits.vcl_obstacle}; or remove the annotation`,
    );
  return true;
}
