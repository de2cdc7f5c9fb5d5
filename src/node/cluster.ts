/** The cluster actor, with its settings; and the API server that it reads. */
import { isDeepStrictEqual } from 'node:util';
import type { ActorRef } from '../actor-system.js';
import { cluster, type SourceStatus } from '../actors/cluster.js';
import type { BlockAffinity } from '../calico/kinds/block-affinity.js';
import type { FelixConfiguration } from '../calico/kinds/felix-configuration.js';
import type { IpPool } from '../calico/kinds/ip-pool.js';
import type { CalicoNode } from '../calico/kinds/node.js';
import type { ServiceCidr } from '../calico/kinds/service-cidr.js';
import type { Clock } from '../clock.js';
import type { Config } from '../config.js';
import type { NodeNetwork } from '../desired/networks.js';
import { addressOf } from '../desired/node-addresses.js';
import type { PodPools } from '../desired/source-nat.js';
import { hostPrefix } from '../desired/tables.js';
import { inClusterAccess, laterAccess } from '../k8s/access.js';
import { type Cluster, kubernetesCluster, type SourceSpoofing, without_cluster } from '../k8s/cluster.js';
import { kubeconfigAccess } from '../k8s/kubeconfig.js';
import { Reflector } from '../k8s/reflector.js';
import type { Log } from '../log.js';
import type { UplinkMessage } from '../messages/uplink.js';
import { learner } from './learner.js';
import { KnownNetworks } from './networks.js';
import type { Wiring } from './wiring.js';

/** The API server of this node: that of the kubeconfig where one is named, else that of the pod. Asks nobody yet. */
export function clusterOf(config: Config, clock: Clock, log: Log): Cluster {
  const { kubernetes, kubeconfig, calico_version, node_name } = config;
  if (!kubernetes) return without_cluster;
  return kubernetesCluster({
    access: laterAccess(async () =>
      kubeconfig === undefined ? inClusterAccess(process.env) : kubeconfigAccess(kubeconfig),
    ),
    node_name,
    calico_version,
    clock,
    log,
    random: Math.random,
  });
}

export function clusterActorOf({ parts, sync }: Wiring, uplink: ActorRef<UplinkMessage>) {
  const { config, clock, log } = parts;
  const { api } = parts.cluster;
  const tellServices = (cidrs: readonly ServiceCidr[]): void => {
    const prefixes = [...new Set(cidrs.flatMap((each) => each.prefixes))].sort();
    uplink.tellUrgent({ type: 'ServicePrefixes', prefixes });
  };
  const tellNetworks = (told: readonly NodeNetwork[]): void => {
    uplink.tellUrgent({ type: 'Networks', networks: told });
  };
  const networks = !config.gates.multinet
    ? undefined
    : new KnownNetworks({
        node_name: config.node_name,
        physical_networks: new Set(config.uplinks.map(({ physical_network }) => physical_network)),
        tell: tellNetworks,
      });
  if (networks !== undefined) sync.set('networks', () => ({ faults: networks.faults() }));
  return cluster({
    reflect:
      api && ((kind, deliver) => new Reflector({ ...api, kind, deliver, clock, log, random: Math.random })),
    namespace: config.namespace,
    random: Math.random,
    learners: () => {
      let pools: readonly IpPool[] | undefined;
      let nodes: readonly CalicoNode[] | undefined;
      let blocks: readonly BlockAffinity[] | undefined;
      let told: PodPools | undefined;
      const tellPods = (): void => {
        if (pools === undefined) return;
        const own = blocks && ownBlocks(blocks, config.node_name);
        const of_pools = podPrefixes(pools, nodes);
        const encapsulated = of_pools.encapsulated || config.gates.srv6;
        const pods = { ...of_pools, encapsulated, ...(own && { own }) };
        if (isDeepStrictEqual(pods, told)) return;
        told = pods;
        uplink.tellUrgent({ type: 'PodPrefixes', pods });
      };
      const tellPools = (all: readonly IpPool[]): void => {
        pools = all;
        tellPods();
      };
      const tellNodes = (all: readonly CalicoNode[]): void => {
        nodes = all;
        tellPods();
      };
      const tellBlocks = (all: readonly BlockAffinity[]): void => {
        blocks = all;
        tellPods();
      };
      // What a life with an open gate has left in VPP goes.
      if (networks === undefined) tellNetworks([]);
      if (api === undefined) {
        // Nobody will tell of any.
        tellPools([]);
        tellNodes([]);
        tellBlocks([]);
        tellServices([]);
        networks?.none();
        return [];
      }
      return [
        learner<FelixConfiguration>('FelixConfiguration', (all) =>
          parts.cluster.learnSourceSpoofing(sourceSpoofing(config.node_name, all)),
        ),
        learner<IpPool>('IPPool', (all) => tellPools([...all.values()])),
        learner<BlockAffinity>('BlockAffinity', (all) => tellBlocks([...all.values()])),
        learner<CalicoNode>('Node', (all) => tellNodes([...all.values()])),
        learner<ServiceCidr>('ServiceCIDR', (all) => tellServices([...all.values()])),
        ...(networks?.learners() ?? []),
      ];
    },
    report: (statuses) => sync.set('cluster', () => clusterReport(statuses())),
  });
}

/** What is said of this node alone comes before what is said of all. */
export function sourceSpoofing(
  node_name: string,
  all: ReadonlyMap<string, FelixConfiguration>,
): SourceSpoofing | undefined {
  return (
    all.get(`node.${node_name}`)?.workload_source_spoofing ?? all.get('default')?.workload_source_spoofing
  );
}

/** Those that this node gives addresses of to its pods, or is about to. */
export function ownBlocks(all: readonly BlockAffinity[], node_name: string): readonly string[] {
  const own = all.filter(({ node, type, deleted }) => type === 'host' && node === node_name && !deleted);
  return [...new Set(own.map(({ prefix }) => prefix))].sort();
}

export function podPrefixes(all: readonly IpPool[], nodes: readonly CalicoNode[] | undefined): PodPools {
  const pools = all.filter(({ faulty }) => faulty !== true);
  return {
    prefixes: [...new Set(pools.map(({ prefix }) => prefix))].sort(),
    nat_outgoing: [
      ...new Set(pools.flatMap(({ prefix, nat_outgoing }) => (nat_outgoing ? prefix : []))),
    ].sort(),
    ...(nodes && { nodes: [...new Set(nodes.flatMap(hostPrefixes))].sort() }),
    encapsulated: pools.some(({ ipip, vxlan }) => ipip !== 'Never' || vxlan !== 'Never'),
  };
}

const hostPrefixes = (node: CalicoNode): string[] =>
  ([4, 6] as const).flatMap((family) => {
    const address = addressOf(node, family);
    return address === undefined ? [] : hostPrefix(address);
  });

/** Objects with faults that are shown, of all kinds, and how much of each. */
const faulty_max = 100;
const faults_max = 4;
const fault_length_max = 200;

/** What of services and their slices could not be read, by object: `Service default/web`. Of one service: `service`, and of all slices. */
export function serviceFaults(
  report: unknown,
  service: string | undefined,
): Readonly<Record<string, readonly string[]>> {
  const kinds = report as Readonly<Record<string, { faults?: Readonly<Record<string, readonly string[]>> }>>;
  return Object.fromEntries(
    (['Service', 'EndpointSlice'] as const).flatMap((kind) =>
      Object.entries(kinds?.[kind]?.faults ?? {})
        .filter(([key]) => kind !== 'Service' || service === undefined || key === service)
        .map(([key, faults]) => [`${kind} ${key}`, faults] as const),
    ),
  );
}

/** By kind, what is read of it, and by object what is wrong with it. Bounded: 100 kB. */
export function clusterReport(statuses: readonly SourceStatus[]): Readonly<Record<string, unknown>> {
  let left = faulty_max;
  return Object.fromEntries(
    statuses.map(({ kind, object, faults, faulty_unshown, ...status }) => {
      const all = Object.entries(faults);
      const shown = all.slice(0, left);
      left -= shown.length;
      const unshown = faulty_unshown + all.length - shown.length;
      return [
        object === undefined ? kind : `${kind} ${object}`,
        {
          ...status,
          ...(shown.length > 0 && {
            faults: Object.fromEntries(
              shown.map(([key, list]) => [
                key.slice(0, fault_length_max),
                list.slice(0, faults_max).map((fault) => fault.slice(0, fault_length_max)),
              ]),
            ),
          }),
          ...(unshown > 0 && { faulty_unshown: unshown }),
        },
      ];
    }),
  );
}
