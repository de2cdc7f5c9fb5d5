import { calico_versions, type Kind, pickFields, present } from './kind.js';

/** `default` holds for all nodes, `node.<name>` for one. Only what this program uses; what is absent has Felix's default. */
export interface FelixConfiguration {
  readonly name: string;
  readonly vxlan_vni?: number;
  readonly vxlan_port?: number;
  readonly vxlan_mtu?: number;
  readonly vxlan_mtu6?: number;
  readonly ipip_mtu?: number;
  readonly wireguard_enabled?: boolean;
  readonly wireguard_enabled6?: boolean;
  readonly wireguard_port?: number;
  readonly wireguard_port6?: number;
  readonly wireguard_mtu?: number;
  readonly wireguard_mtu6?: number;
  /** Whether a pod's annotation may allow it other source addresses. */
  readonly workload_source_spoofing?: 'Disabled' | 'Any';
  readonly program_cluster_routes?: 'Enabled' | 'Disabled';
}

const mtu_max = 65_535;

export const felix_configuration_kind: Kind<FelixConfiguration> = {
  name: 'FelixConfiguration',
  plural: 'felixconfigurations',
  versions: calico_versions,
  absence: 'wait',
  page: 100,
  objects_max: 20_000,
  pick: (name, object) =>
    pickFields(object, (fields) => {
      const spec = fields.object('spec');
      return present<FelixConfiguration>({
        name,
        vxlan_vni: spec.whole('vxlanVNI', 1, 2 ** 24 - 1),
        vxlan_port: spec.whole('vxlanPort', 1, 65_535),
        vxlan_mtu: spec.whole('vxlanMTU', 0, mtu_max),
        vxlan_mtu6: spec.whole('vxlanMTUV6', 0, mtu_max),
        ipip_mtu: spec.whole('ipipMTU', 0, mtu_max),
        wireguard_enabled: spec.flag('wireguardEnabled'),
        wireguard_enabled6: spec.flag('wireguardEnabledV6'),
        wireguard_port: spec.whole('wireguardListeningPort', 1, 65_535),
        wireguard_port6: spec.whole('wireguardListeningPortV6', 1, 65_535),
        wireguard_mtu: spec.whole('wireguardMTU', 0, mtu_max),
        wireguard_mtu6: spec.whole('wireguardMTUV6', 0, mtu_max),
        workload_source_spoofing: spec.word('workloadSourceSpoofing', ['Disabled', 'Any']),
        program_cluster_routes: spec.word('programClusterRoutes', ['Enabled', 'Disabled']),
      });
    }),
};
