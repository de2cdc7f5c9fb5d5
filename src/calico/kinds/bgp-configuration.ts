import type { Fields } from '../fields.js';
import {
  asNumber,
  calico_versions,
  community,
  expected_as_number,
  expected_community,
  type Kind,
  pickFields,
  present,
  priority_max,
  restart_ms_max,
  type SecretKeyRef,
  secretKeyRef,
} from './kind.js';

export interface PrefixAdvertisement {
  readonly prefix: string;
  /** Communities themselves; names are resolved. */
  readonly communities: readonly string[];
}

/** `default` holds for all nodes, `node.<name>` for one. What is absent has Calico's default. */
export interface BgpConfiguration {
  readonly name: string;
  readonly as_number?: number;
  readonly mesh_enabled?: boolean;
  readonly listen_port?: number;
  readonly log_severity?: 'Debug' | 'Info' | 'Warning' | 'Error' | 'Fatal' | 'None';
  /** Prefixes whose addresses, in use by services, are announced. */
  readonly service_cluster_prefixes: readonly string[];
  readonly service_external_prefixes: readonly string[];
  readonly service_load_balancer_prefixes: readonly string[];
  readonly load_balancer_aggregation?: 'Enabled' | 'Disabled';
  readonly prefix_advertisements: readonly PrefixAdvertisement[];
  readonly mesh_password?: SecretKeyRef;
  readonly mesh_restart_ms?: number;
  readonly bind_mode?: 'None' | 'NodeIP';
  readonly ignored_interfaces: readonly string[];
  readonly local_workload_peering_ip4?: string;
  readonly local_workload_peering_ip6?: string;
  readonly program_cluster_routes?: 'Enabled' | 'Disabled';
  readonly priority4?: number;
  readonly priority6?: number;
  readonly elevated_priority4?: number;
  readonly elevated_priority6?: number;
  /** Fields of the spec that this program does not know. */
  readonly unknown_fields: readonly string[];
  /** Fields without which this is another configuration, and that cannot be read. */
  readonly vital_faults?: readonly string[];
}

/** Who speaks for whom, and to whom: a mesh without its password, or with the default AS, is not what was meant. */
const vital = ['asNumber', 'nodeToNodeMeshEnabled', 'listenPort', 'nodeMeshPassword', 'bindMode'];

function prefixes(spec: Fields, field: string): readonly string[] {
  return spec.list(field, (entry) => entry.prefix('cidr'));
}

function prefixAdvertisements(spec: Fields): readonly PrefixAdvertisement[] {
  const named = new Map(
    spec.list('communities', (entry) => {
      const name = entry.text('name');
      const value = entry.read('value', expected_community, community);
      return name === undefined || value === undefined ? undefined : ([name, value] as const);
    }),
  );
  return spec.list('prefixAdvertisements', (entry) => {
    const prefix = entry.prefix('cidr');
    const communities = entry.plain('communities', `${expected_community}, or the name of one`, (value) =>
      typeof value === 'string' ? (named.get(value) ?? community(value)) : undefined,
    );
    return prefix === undefined ? undefined : { prefix, communities };
  });
}

const priority = (spec: Fields, field: string) => spec.whole(field, 1, priority_max);
const switched = ['Enabled', 'Disabled'] as const;
const severities = ['Debug', 'Info', 'Warning', 'Error', 'Fatal', 'None'] as const;

export const bgp_configuration_kind: Kind<BgpConfiguration> = {
  name: 'BGPConfiguration',
  plural: 'bgpconfigurations',
  versions: calico_versions,
  absence: 'wait',
  page: 100,
  objects_max: 20_000,
  pick: (name, object) =>
    pickFields(object, (fields, faults) => {
      const spec = fields.object('spec');
      const configuration = present<BgpConfiguration>({
        name,
        as_number: spec.read('asNumber', expected_as_number, asNumber),
        mesh_enabled: spec.flag('nodeToNodeMeshEnabled'),
        listen_port: spec.whole('listenPort', 1, 65_535),
        log_severity: spec.word('logSeverityScreen', severities),
        service_cluster_prefixes: prefixes(spec, 'serviceClusterIPs'),
        service_external_prefixes: prefixes(spec, 'serviceExternalIPs'),
        service_load_balancer_prefixes: prefixes(spec, 'serviceLoadBalancerIPs'),
        load_balancer_aggregation: spec.word('serviceLoadBalancerAggregation', switched),
        prefix_advertisements: prefixAdvertisements(spec),
        mesh_password: secretKeyRef(spec, 'nodeMeshPassword'),
        mesh_restart_ms: spec.duration_ms('nodeMeshMaxRestartTime', restart_ms_max),
        bind_mode: spec.word('bindMode', ['None', 'NodeIP']),
        ignored_interfaces: spec.plain('ignoredInterfaces', 'a text', (value) =>
          typeof value === 'string' ? value : undefined,
        ),
        local_workload_peering_ip4: spec.address('localWorkloadPeeringIPV4'),
        local_workload_peering_ip6: spec.address('localWorkloadPeeringIPV6'),
        program_cluster_routes: spec.word('programClusterRoutes', switched),
        priority4: priority(spec, 'ipv4NormalRoutePriority'),
        priority6: priority(spec, 'ipv6NormalRoutePriority'),
        elevated_priority4: priority(spec, 'ipv4ElevatedRoutePriority'),
        elevated_priority6: priority(spec, 'ipv6ElevatedRoutePriority'),
        unknown_fields: spec.unread(),
        vital_faults: undefined,
      });
      const wrong = vital.map((field) => `spec.${field}`).filter((field) => faults.concern(field));
      return wrong.length === 0 ? configuration : { ...configuration, vital_faults: wrong };
    }),
};
