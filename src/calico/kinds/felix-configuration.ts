import { duration_ms } from '../../config/values.js';
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
  /** Whole seconds; 0: nothing is sent to keep a session. */
  readonly wireguard_keepalive_s?: number;
  /** What nodes send themselves is to be encrypted, too. */
  readonly wireguard_host_encryption?: boolean;
  /** Whether a pod's annotation may allow it other source addresses. */
  readonly workload_source_spoofing?: 'Disabled' | 'Any';
  readonly program_cluster_routes?: 'Enabled' | 'Disabled';
}

const mtu_max = 65_535;
const keepalive_s_max = 65_535;

/** As Kubernetes writes it: `25s`. What is less than a second is one. */
function wholeSeconds(value: unknown): number | undefined {
  if (typeof value !== 'string') return undefined;
  try {
    const seconds = Math.ceil(duration_ms(value, () => undefined) / 1000);
    return seconds <= keepalive_s_max ? seconds : undefined;
  } catch {
    return undefined;
  }
}

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
        wireguard_keepalive_s: spec.read('wireguardKeepAlive', 'a duration of at most 65535s', wholeSeconds),
        wireguard_host_encryption: spec.flag('wireguardHostEncryptionEnabled'),
        workload_source_spoofing: spec.word('workloadSourceSpoofing', ['Disabled', 'Any']),
        program_cluster_routes: spec.word('programClusterRoutes', ['Enabled', 'Disabled']),
      });
    }),
};
