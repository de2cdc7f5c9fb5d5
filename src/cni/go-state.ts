/**
 * The state file of the Go implementation, read once when a node changes over to this product: the pods that run on it keep
 * their addresses and names, and are connected again without being re-created. Ids of VPP objects in the file are of no
 * use, the VPP that they belong to ends with the Go implementation.
 */
import { isIPv4 } from 'node:net';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import * as v from 'valibot';
import { interface_spec_default } from '../config/interface-spec.js';
import { parseJson } from '../json.js';
import { type PodSpec, podKey } from '../pod/spec.js';
import { annotation } from './annotations.js';
import { AddRequestSchema } from './generated/cni_pb.js';
import { parseAddRequest } from './request.js';

/** The newest first. Up to release 3.30 the file was binary: that it is there is told. */
const go_state_names: readonly string[] = [
  ...[11, 10, 9].map((version) => `calicovpp_state.v${version}.json`),
  ...[9, 8, 7].map((version) => `calico_vpp_pod_state${version}`),
];

/** Where the Go implementation keeps its state: beside its sockets, which are here too. The newest first. */
export const goStateFiles = (run_dir: string): string[] => go_state_names.map((name) => join(run_dir, name));

/** A binary file begins with its version as four bytes, the highest first. */
const binary_beginning = '\0\0\0';
const named_max = 256;

export interface GoState {
  readonly specs: readonly PodSpec[];
  /** What could not be taken over, one sentence each, naming the pod where there is one. */
  readonly problems: readonly string[];
}

/** Go writes a nil slice or map as null. */
const list = <S extends v.GenericSchema>(item: S) => v.optional(v.nullable(v.array(item), []), []);
const whole = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(2 ** 31 - 1));
/** Version 9 and the first of version 10 have numbers, in this order. */
const rx_modes = ['unknown', 'polling', 'interrupt', 'adaptive', 'default'];
const rx_mode = v.union([
  v.string(),
  v.pipe(
    whole,
    v.transform((number) => rx_modes[number] ?? 'unknown'),
  ),
]);
/** Likewise, and the numbers are IP's. */
const protocols: Readonly<Record<number, string>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' };
const protocol = v.union([
  v.string(),
  v.pipe(
    whole,
    v.transform((number) => protocols[number] ?? `number ${number}`),
  ),
]);
const ip_net = v.object({ IP: v.string(), Mask: v.nullable(v.string()) });

/** Fields that versions 9 to 11 have in common; those that differ are ids of VPP objects. */
const go_pod = v.object({
  interfaceName: v.string(),
  netnsName: v.string(),
  allowIpForwarding: v.boolean(),
  routes: list(ip_net),
  containerIps: list(v.string()),
  mtu: whole,
  orchestratorID: v.string(),
  workloadID: v.string(),
  endpointID: v.string(),
  hostPorts: list(
    v.object({ HostPort: whole, HostIP: v.string(), ContainerPort: whole, Protocol: protocol }),
  ),
  networkName: v.optional(v.string(), ''),
  podAnnotations: v.object({
    allowedSpoofingPrefixes: list(ip_net),
    enableVCL: v.optional(v.boolean(), false),
    enableMemif: v.optional(v.boolean(), false),
    ifSpec: v.looseObject({ rxMode: v.optional(rx_mode) }),
    pblMemifSpec: v.optional(v.looseObject({ isl3: v.optional(v.boolean()) }), {}),
    ifPortConfigs: list(v.object({ Start: whole, End: whole, Proto: v.string() })),
  }),
});
type GoPod = v.InferOutput<typeof go_pod>;

const go_state = v.object({
  version: v.picklist([9, 10, 11]),
  podSpecs: v.optional(v.nullable(v.record(v.string(), v.unknown()), {}), {}),
});

/** `address/length` of a Go net.IPNet, whose mask is base64 of its bytes; not a prefix when the mask has holes. */
function prefixText({ IP, Mask }: v.InferOutput<typeof ip_net>): string {
  const mask = Buffer.from(Mask ?? '', 'base64');
  const bytes = isIPv4(IP) ? mask.subarray(-4) : mask;
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return /^1*0*$/.test(bits) && bytes.length > 0
    ? `${IP}/${bits.replaceAll('0', '').length}`
    : `${IP}/mask ${Mask}`;
}

/** The request that would have led to this entry, so that it passes the same checks as one. */
function requestOf(pod: GoPod) {
  const { ifSpec, allowedSpoofingPrefixes } = pod.podAnnotations;
  const { rxMode, ...queues } = ifSpec;
  const spec = rxMode === 'unknown' ? queues : ifSpec;
  const [namespace = '', name = ''] = pod.workloadID.split('/', 2);
  return create(AddRequestSchema, {
    interfaceName: pod.interfaceName,
    netns: pod.netnsName,
    settings: { mtu: pod.mtu, allowIpForwarding: pod.allowIpForwarding },
    containerIps: pod.containerIps.map((ip) => ({ address: `${ip}/${isIPv4(ip) ? 32 : 128}` })),
    containerRoutes: pod.routes.map(prefixText),
    dataplaneOptions: { network_name: pod.networkName },
    workload: {
      orchestrator: pod.orchestratorID,
      namespace,
      pod: name,
      endpoint: pod.endpointID,
      annotations: {
        [annotation.interfaces_spec]: JSON.stringify({ [pod.interfaceName]: spec }),
        [annotation.allowed_source_prefixes_go]: JSON.stringify(allowedSpoofingPrefixes.map(prefixText)),
        ...memifAnnotations(pod),
      },
      ports: pod.hostPorts.map((port) => ({
        protocol: port.Protocol,
        hostPort: port.HostPort,
        hostIp: port.HostIP,
        port: port.ContainerPort,
      })),
    },
  });
}

/** A range that ends before it begins was its first port alone. */
function memifAnnotations({ podAnnotations }: GoPod): Record<string, string> {
  const { enableMemif, ifPortConfigs, pblMemifSpec } = podAnnotations;
  if (!enableMemif || ifPortConfigs.length === 0) return {};
  const ports = ifPortConfigs.map(({ Start, End, Proto }) => `${Proto}:${Start}-${Math.max(Start, End)}`);
  return {
    [annotation.extra_memif_ports]: ports.join(),
    [annotation.extra_memif_spec]: JSON.stringify({ isl3: pblMemifSpec.isl3 ?? false }),
  };
}

function lossesOf(key: string, { podAnnotations, hostPorts }: GoPod): string[] {
  const losses: string[] = [];
  if (podAnnotations.enableMemif && podAnnotations.ifPortConfigs.length === 0) {
    losses.push(`${key}: its memif is not taken over: no ports lead to it`);
  }
  if (podAnnotations.enableVCL) {
    losses.push(`${key}: its VCL sessions are not taken over, its traffic goes through the Linux interface`);
  }
  // The Go implementation compares the protocol in the wrong letter case, and stores TCP whatever it was.
  if (hostPorts.length > 0) {
    const ports = hostPorts.map((port) => port.HostPort).join(', ');
    losses.push(
      `${key}: host ports ${ports} are taken over as recorded; re-create the pod if one is UDP or SCTP`,
    );
  }
  return losses;
}

/** Of a file that is not read: who its pods are, as far as the paths of their namespaces tell. */
function binaryProblems(text: string): string[] {
  const paths = new Set(text.match(/\/[!-~]*\/(?:netns|ns)\/[!-~]+/g) ?? []);
  const why = 'the state file is the binary one of release 3.30 or older, which is not read';
  if (paths.size === 0) return [`${why}: re-create the pods of this node, if there are any from before`];
  return [...paths].slice(0, named_max).map((path) => `${path}: re-create the pod, ${why}`);
}

/** Reads the file's content. Never throws; an entry that cannot be used does not affect the others. */
export function importGoState(text: string): GoState {
  if (text.startsWith(binary_beginning)) return { specs: [], problems: binaryProblems(text) };
  let json: unknown;
  try {
    json = parseJson(text, { depth_max: 16, length_max: 1 << 25 });
  } catch (error) {
    return {
      specs: [],
      problems: [
        `the state file ${(error as Error).message}: it is cut or damaged, its pods have to be re-created`,
      ],
    };
  }
  const state = v.safeParse(go_state, json);
  if (!state.success) {
    return {
      specs: [],
      problems: [
        `the state file is not of version 9 to 11 (${v.summarize(state.issues)}): its pods have to be re-created`,
      ],
    };
  }
  const specs: PodSpec[] = [];
  const problems: string[] = [];
  for (const [key, entry] of Object.entries(state.output.podSpecs)) {
    const pod = v.safeParse(go_pod, entry);
    if (!pod.success) {
      problems.push(`${key}: re-create the pod, its entry cannot be read: ${v.summarize(pod.issues)}`);
      continue;
    }
    const { netnsName, interfaceName } = pod.output;
    const parsed = parseAddRequest(requestOf(pod.output), {
      default_spec: interface_spec_default,
      gates: { memif: true, vcl: false, multinet: false },
      source_spoofing: 'Legacy',
    });
    if ('error' in parsed) problems.push(`${key}: re-create the pod: ${parsed.error}`);
    else if (key !== podKey(netnsName, interfaceName))
      problems.push(`${key}: re-create the pod, its entry is that of another`);
    else {
      specs.push(parsed.ok);
      problems.push(...parsed.warnings, ...lossesOf(key, pod.output));
    }
  }
  return { specs, problems };
}
