/** Objects of a cluster with Calico, as its own programs write them. */
import type { NodeSite } from '../nodes.js';
import type { Json } from './store.js';

const calico = 'crd.projectcalico.org/v1';

export type Encapsulation = 'flat' | 'ipip' | 'vxlan';

/** A pool, encapsulated `across` all nodes or those of other subnets. */
export function ipPool(
  name: string,
  cidr: string,
  encapsulation: Encapsulation,
  across: 'Always' | 'CrossSubnet' = 'Always',
): Json {
  return {
    apiVersion: calico,
    kind: 'IPPool',
    metadata: { name },
    spec: {
      cidr,
      ipipMode: encapsulation === 'ipip' ? across : 'Never',
      vxlanMode: encapsulation === 'vxlan' ? across : 'Never',
      natOutgoing: true,
      blockSize: cidr.includes(':') ? 122 : 26,
    },
  };
}

/** As the kubelet makes it: of its addresses Calico's node knows nothing yet. */
/** Of all nodes. */
export function felixConfiguration(spec: Json): Json {
  return { apiVersion: calico, kind: 'FelixConfiguration', metadata: { name: 'default' }, spec };
}

/** A network beside the default one, and by which definition pods come into it. */
export function network(name: string, spec: Json): Json {
  return {
    apiVersion: 'projectcalico.org/v3',
    kind: 'Network',
    metadata: { name, namespace: 'default' },
    spec,
  };
}

export function attachment(name: string, config: string): Json {
  return {
    apiVersion: 'k8s.cni.cncf.io/v1',
    kind: 'NetworkAttachmentDefinition',
    metadata: { name, namespace: 'default' },
    spec: { config },
  };
}

/** As people write it for Calico's plugin. */
export function attachmentConfig(network_name: string): string {
  const dataplane_options = { type: 'grpc', socket: 'unix:///var/run/calico/cni-server.sock', network_name };
  return JSON.stringify({ cniVersion: '0.3.0', plugins: [{ type: 'calico', dataplane_options }] });
}

export function kubernetesNode({ name }: NodeSite): Json {
  return { apiVersion: 'v1', kind: 'Node', metadata: { name } };
}

/** Calico's IPAM has given these blocks to the node. */
export function blocksOf({ name, blocks }: NodeSite): readonly Json[] {
  return Object.values(blocks).flatMap((cidr) => blockOf(name, cidr));
}

export function blockOf(node: string, cidr: string): readonly Json[] {
  const dashed = cidr.replace(/[.:/]/g, '-');
  return [
    {
      apiVersion: calico,
      kind: 'BlockAffinity',
      metadata: { name: `${node}-${dashed}` },
      spec: { cidr, node, state: 'confirmed', deleted: 'false' },
    },
    {
      apiVersion: calico,
      kind: 'IPAMBlock',
      metadata: { name: dashed },
      spec: { cidr, affinity: `host:${node}`, allocations: [], attributes: [], deleted: false },
    },
  ];
}

export interface LabService {
  readonly name: string;
  readonly spec: Json;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly status?: Json;
}

export function kubernetesService({ name, spec, annotations, status }: LabService): Json {
  const metadata = { name, namespace: 'default', ...(annotations && { annotations }) };
  return { apiVersion: 'v1', kind: 'Service', metadata, spec, ...(status && { status }) };
}

/** An endpoint as its slice has it: a pod of a node. */
export interface LabEndpoint {
  readonly address: string;
  readonly node: string;
  readonly conditions?: Json;
}

/** The endpoints of one family of a service; its ports by name. */
export function endpointSlice(
  service: string,
  endpoints: readonly LabEndpoint[],
  ports: readonly { readonly name?: string; readonly port: number; readonly protocol?: string }[],
  name = '',
): Json {
  const family = endpoints[0]?.address.includes(':') ? 'IPv6' : 'IPv4';
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${service}-${name || family.toLowerCase()}`,
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': service },
    },
    addressType: family,
    endpoints: endpoints.map(({ address, node, conditions }) => ({
      addresses: [address],
      nodeName: node,
      conditions: conditions ?? { ready: true },
    })),
    ports: ports.map(({ name: port_name = '', port, protocol = 'TCP' }) => ({
      name: port_name,
      port,
      protocol,
    })),
  };
}
