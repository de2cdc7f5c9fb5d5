import { bitsOf, isGlobalUnicast } from '../../ip/bits.js';
import { canonicalAddress, canonicalPrefix } from '../../ip/spelling.js';
import type { Fields } from '../fields.js';
import { type Kind, pickFields, present, time_ms } from './kind.js';

const protocols = ['TCP', 'UDP', 'SCTP'] as const;
export type TransportProtocol = (typeof protocols)[number];

export interface ServicePort {
  /** Empty for the only port of a service. */
  readonly name: string;
  readonly protocol: TransportProtocol;
  readonly port: number;
  readonly node_port?: number;
}

/** A service that has addresses of its own: not a headless one, nor an ExternalName. */
export interface Service {
  /** Of two services that want one address and port the older one has it; milliseconds since 1970. */
  readonly created_ms?: number;
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer';
  readonly cluster_ips: readonly string[];
  readonly external_ips: readonly string[];
  /** Given by a load balancer that hands on packets with this destination: not by one that is a proxy itself. */
  readonly load_balancer_ips: readonly string[];
  readonly ports: readonly ServicePort[];
  /** `Local`: what comes to the cluster from outside goes to endpoints of the node where it comes in. */
  readonly external_policy: 'Cluster' | 'Local';
  /** The same for what comes from a node to a cluster address. */
  readonly internal_policy: 'Cluster' | 'Local';
  /** One client, one endpoint, until it has been silent for so long. */
  readonly affinity_ms?: number;
  /** Where load balancers ask whether this node has endpoints. */
  readonly health_port?: number;
  /** Who may use the addresses of load balancers, if not all may. */
  readonly source_prefixes: readonly string[];
  /** `cni.projectcalico.org/vppLBType`. */
  readonly lb_type?: 'ecmp' | 'maglev' | 'maglevdsr';
  /** `cni.projectcalico.org/vppHashConfig`, of `hash_words`. */
  readonly hash: readonly HashWord[];
  /** `cni.projectcalico.org/vppKeepOriginalPacket`, of which nobody ever made anything. */
  readonly keep_original?: true;
  /** `extensions.projectcalico.org/network`: its endpoints are addresses of pods in this network. */
  readonly network?: string;
}

const policies = ['Cluster', 'Local'] as const;
const port_max = 65_535;
const affinity_ms_default = 10_800_000;
/** What of a packet decides to which back end it goes, as the annotation says it. */
export const hash_words = [
  'srcport',
  'dstport',
  'srcaddr',
  'dstaddr',
  'iproto',
  'reverse',
  'symmetric',
] as const;
export type HashWord = (typeof hash_words)[number];

export const expected_address = 'an address that packets can be sent to';

/** An address that more than one link or machine can reach: what the API takes for endpoints and for external addresses. */
export function servedAddress(value: unknown): string | undefined {
  const address = typeof value === 'string' ? canonicalAddress(value.trim()) : undefined;
  return address !== undefined && isGlobalUnicast(bitsOf(address)) && !address.startsWith('169.254.')
    ? address
    : undefined;
}

const prefix = (value: unknown) => (typeof value === 'string' ? canonicalPrefix(value.trim()) : undefined);

/** A protocol of the API; nothing means TCP. */
export function protocolOf(fields: Fields): TransportProtocol | undefined {
  return fields.raw('protocol') === undefined ? 'TCP' : fields.word('protocol', protocols);
}

function port(entry: Fields): ServicePort | undefined {
  const protocol = protocolOf(entry);
  const number = entry.whole('port', 1, port_max);
  if (protocol === undefined || number === undefined) return undefined;
  const node_port = entry.whole('nodePort', 0, port_max);
  return present<ServicePort>({
    name: entry.text('name') ?? '',
    protocol,
    port: number,
    // Zero is how one says that there is none.
    node_port: node_port === 0 ? undefined : node_port,
  });
}

function loadBalancerIps(status: Fields): readonly string[] {
  return status.object('loadBalancer').list('ingress', (entry) => {
    if (entry.text('ipMode') === 'Proxy') return undefined;
    return entry.read('ip', expected_address, servedAddress);
  });
}

function affinity_ms(spec: Fields): number | undefined {
  if (spec.word('sessionAffinity', ['None', 'ClientIP']) !== 'ClientIP') return undefined;
  const seconds = spec.object('sessionAffinityConfig').object('clientIP').whole('timeoutSeconds', 1, 86_400);
  return seconds === undefined ? affinity_ms_default : seconds * 1000;
}

function hashWords(value: unknown): readonly HashWord[] | undefined {
  if (typeof value !== 'string') return undefined;
  const words = value.split(',').map((word) => word.trim().toLowerCase());
  const known = hash_words.filter((word) => words.includes(word));
  return words.every((word) => (hash_words as readonly string[]).includes(word)) ? known : undefined;
}

/** Keys are `namespace/name`. */
export const service_kind: Kind<Service> = {
  name: 'Service',
  plural: 'services',
  versions: ['v1'],
  absence: 'wait',
  // Some are another program's to serve, and some nobody's: kube-proxy reads neither.
  label_selector: '!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless',
  page: 300,
  objects_max: 100_000,
  pick: (_name, object) =>
    pickFields(object, (fields, faults) => {
      const spec = fields.object('spec');
      const type =
        spec.word('type', ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']) ?? 'ClusterIP';
      if (type === 'ExternalName' || faults.concern('spec.type')) return undefined;
      const first = spec.raw('clusterIP');
      const all = spec.raw('clusterIPs');
      const named = Array.isArray(all) && all.length > 0 ? spec : undefined;
      if (first === 'None' || (named !== undefined && (all as unknown[])[0] === 'None')) return undefined;
      const metadata = fields.object('metadata');
      const annotations = metadata.object('annotations');
      const only = first === undefined ? undefined : spec.read('clusterIP', expected_address, servedAddress);
      return present<Service>({
        type,
        created_ms: metadata.read('creationTimestamp', 'a time', time_ms),
        cluster_ips:
          named?.plain('clusterIPs', expected_address, servedAddress) ?? (only === undefined ? [] : [only]),
        external_ips: spec.plain('externalIPs', expected_address, servedAddress),
        load_balancer_ips: type === 'LoadBalancer' ? loadBalancerIps(fields.object('status')) : [],
        ports: spec.list('ports', port),
        external_policy: spec.word('externalTrafficPolicy', policies) ?? 'Cluster',
        internal_policy: spec.word('internalTrafficPolicy', policies) ?? 'Cluster',
        affinity_ms: affinity_ms(spec),
        health_port: spec.whole('healthCheckNodePort', 1, port_max),
        source_prefixes: spec.plain('loadBalancerSourceRanges', 'a prefix such as 10.0.0.0/16', prefix),
        lb_type: annotations.word('cni.projectcalico.org/vppLBType', ['ecmp', 'maglev', 'maglevdsr']),
        hash:
          annotations.read(
            'cni.projectcalico.org/vppHashConfig',
            `a list of ${hash_words.join(', ')}`,
            hashWords,
          ) ?? [],
        keep_original:
          annotations.word('cni.projectcalico.org/vppKeepOriginalPacket', ['true', 'false']) === 'true'
            ? true
            : undefined,
        network: annotations.text('extensions.projectcalico.org/network'),
      });
    }),
};
