/** Services of a cluster and their slices, as its controllers write them. */
import type { Json } from './store.js';

export interface ServiceOptions {
  readonly name: string;
  readonly cluster_ips: readonly string[];
  readonly port: number;
  readonly protocol?: 'TCP' | 'UDP';
  readonly node_port?: number;
  readonly external_ips?: readonly string[];
  readonly local?: boolean;
  readonly affinity?: boolean;
  readonly annotations?: Readonly<Record<string, string>>;
}

const namespace = 'default';

/** Its one port is called as the service. */
export function service({ name, cluster_ips, port, protocol = 'TCP', ...more }: ServiceOptions): Json {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      namespace,
      name,
      creationTimestamp: '2024-01-01T00:00:00Z',
      ...(more.annotations && { annotations: more.annotations }),
    },
    spec: {
      type: more.node_port === undefined ? 'ClusterIP' : 'NodePort',
      clusterIP: cluster_ips[0]!,
      clusterIPs: [...cluster_ips],
      ports: [
        {
          name,
          port,
          protocol,
          targetPort: port,
          ...(more.node_port !== undefined && { nodePort: more.node_port }),
        },
      ],
      ...(more.external_ips && { externalIPs: [...more.external_ips] }),
      externalTrafficPolicy: more.local ? 'Local' : 'Cluster',
      internalTrafficPolicy: 'Cluster',
      sessionAffinity: more.affinity ? 'ClientIP' : 'None',
    },
  };
}

/** All back ends of a service in a family; none: the slice is there and empty. */
export function slice(
  of: Pick<ServiceOptions, 'name' | 'port' | 'protocol'>,
  family: 'ip4' | 'ip6',
  backends: readonly { readonly address: string; readonly node: string }[],
): Json {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace,
      name: `${of.name}-${family}`,
      labels: { 'kubernetes.io/service-name': of.name },
    },
    addressType: family === 'ip4' ? 'IPv4' : 'IPv6',
    endpoints: backends.map(({ address, node }) => ({
      addresses: [address],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: node,
    })),
    ports: [{ name: of.name, port: of.port, protocol: of.protocol ?? 'TCP' }],
  };
}
