/** What the BGPConfigurations and this node's Node make of BGP on this node. Pure. */
import { createHash } from 'node:crypto';
import type { BgpConfiguration, PrefixAdvertisement } from '../calico/kinds/bgp-configuration.js';
import type { SecretKeyRef } from '../calico/kinds/kind.js';
import type { CalicoNode } from '../calico/kinds/node.js';
import { canonicalAddress } from '../ip/spelling.js';
import { familyOf } from '../ip/text.js';
import type { Troubles } from './troubles.js';

export interface BgpSettings {
  readonly as_number: number;
  readonly mesh_enabled: boolean;
  readonly listen_port: number;
  /** Listens on the node's addresses alone. */
  readonly node_addresses_only: boolean;
  readonly log_severity?: NonNullable<BgpConfiguration['log_severity']>;
  readonly mesh_password?: SecretKeyRef;
  readonly mesh_restart_ms: number;
  readonly prefix_advertisements: readonly PrefixAdvertisement[];
  /** Of own paths: LOCAL_PREF says it. */
  readonly priority4: number;
  readonly priority6: number;
  /** Of external and load balancers' addresses: route reflectors pass them on. */
  readonly external_prefixes: readonly string[];
}

export const as_number_default = 64_512;
export const listen_port_default = 179;
/** Calico's, for BGPPeer as for the mesh. */
export const restart_ms_default = 120_000;

/** Of routes in Calico. Its BIRD tells its own by it: what had none, or another, would lose to the same prefix of a node with BIRD. */
const priority_default = 1024;

export type Configurations = ReadonlyMap<string, BgpConfiguration>;

/** The port that a node listens on. */
export function listenPortOf(node_name: string, configurations: Configurations): number {
  return (
    configurations.get(`node.${node_name}`)?.listen_port ??
    configurations.get('default')?.listen_port ??
    listen_port_default
  );
}

/** The AS of a node: that of its Node, or of its own BGPConfiguration, or everybody's. */
export function asNumberOf(
  node: CalicoNode | undefined,
  name: string,
  configurations: Configurations,
): number {
  return (
    node?.as_number ??
    configurations.get(`node.${name}`)?.as_number ??
    configurations.get('default')?.as_number ??
    as_number_default
  );
}

/** Fields that say something of all nodes: one that had its own mesh would wait for the others in vain, and services are announced alike everywhere. */
const of_all_nodes = [
  ['mesh_enabled', 'nodeToNodeMeshEnabled'],
  ['mesh_password', 'nodeMeshPassword'],
  ['mesh_restart_ms', 'nodeMeshMaxRestartTime'],
  ['service_cluster_prefixes', 'serviceClusterIPs'],
  ['service_external_prefixes', 'serviceExternalIPs'],
  ['service_load_balancer_prefixes', 'serviceLoadBalancerIPs'],
  ['load_balancer_aggregation', 'serviceLoadBalancerAggregation'],
] as const;

const isSaid = (value: unknown): boolean => (Array.isArray(value) ? value.length > 0 : value !== undefined);

const not_supported = [
  ['local_workload_peering_ip4', 'localWorkloadPeeringIPV4', 'pods of this node are no BGP peers'],
  ['local_workload_peering_ip6', 'localWorkloadPeeringIPV6', 'pods of this node are no BGP peers'],
  ['elevated_priority4', 'ipv4ElevatedRoutePriority', 'no route here is of a pod that moves'],
  ['elevated_priority6', 'ipv6ElevatedRoutePriority', 'no route here is of a pod that moves'],
] as const;

function report(configuration: BgpConfiguration, troubles: Troubles): void {
  const object = `BGPConfiguration ${configuration.name}`;
  for (const [field, name, why] of not_supported)
    if (configuration[field] !== undefined) troubles.add(object, `spec.${name}: is not supported: ${why}`);
  if (configuration.ignored_interfaces.length > 0)
    troubles.add(object, 'spec.ignoredInterfaces: has no effect: no prefix of an interface is announced');
  if (configuration.program_cluster_routes === 'Enabled')
    troubles.add(
      object,
      'spec.programClusterRoutes: is not supported: set CALICOVPP_ROUTE_SOURCE to ipam to have routes without BGP',
    );
  for (const field of configuration.unknown_fields)
    troubles.add(object, `${field}: is not known, and has no effect`);
}

/** What holds for this node; a field of `node.<name>` comes before that of `default`. */
export function effectiveSettings(
  node_name: string,
  node: CalicoNode | undefined,
  configurations: Configurations,
  troubles: Troubles,
): BgpSettings {
  const all = configurations.get('default');
  const own = configurations.get(`node.${node_name}`);
  for (const each of [all, own]) if (each !== undefined) report(each, troubles);
  for (const [field, name] of of_all_nodes)
    if (own !== undefined && isSaid(own[field]))
      troubles.add(
        `BGPConfiguration ${own.name}`,
        `spec.${name}: is read of the BGPConfiguration default alone`,
      );
  const log_severity = own?.log_severity ?? all?.log_severity;
  const own_advertisements = own?.prefix_advertisements ?? [];
  return {
    as_number: asNumberOf(node, node_name, configurations),
    mesh_enabled: all?.mesh_enabled ?? true,
    listen_port: listenPortOf(node_name, configurations),
    node_addresses_only: (own?.bind_mode ?? all?.bind_mode) === 'NodeIP',
    ...(log_severity !== undefined && { log_severity }),
    ...(all?.mesh_password !== undefined && { mesh_password: all.mesh_password }),
    mesh_restart_ms: all?.mesh_restart_ms ?? restart_ms_default,
    prefix_advertisements:
      own_advertisements.length > 0 ? own_advertisements : (all?.prefix_advertisements ?? []),
    priority4: own?.priority4 ?? all?.priority4 ?? priority_default,
    priority6: own?.priority6 ?? all?.priority6 ?? priority_default,
    external_prefixes: [
      ...new Set([...(all?.service_external_prefixes ?? []), ...(all?.service_load_balancer_prefixes ?? [])]),
    ].sort(),
  };
}

/**
 * BGP's identifier, which is an IPv4 address whatever the families: `given` (CALICO_ROUTER_ID) if it is one, else the node's, else one
 * made of the node's name. `hash` asks for the last of these.
 */
export function routerId(given: string | undefined, node_name: string, ip4: string | undefined): string {
  const address = given === undefined ? undefined : canonicalAddress(given);
  if (address !== undefined && familyOf(address) === 4 && address !== '0.0.0.0') return address;
  if (given !== 'hash' && ip4 !== undefined) return ip4;
  const [a = 0, b = 0, c = 0, d = 0] = createHash('sha256').update(node_name).digest();
  // 1 to 126 and 128 to 223: no peer refuses what looks like a host's address.
  const first = 1 + (a % 222);
  return [first < 127 ? first : first + 1, b, c, d].join('.');
}
