/** Calico's objects from their manifests, and the plan that follows from them. */
import { parseVersion } from 'gobgp-grpc-stubs';
import { type BgpInputs, planBgp } from '../../src/bgp/plan.js';
import { type Kinds, kinds, type ListedKind } from '../../src/calico/kinds/kinds.js';
import { Secret } from '../../src/config/secret.js';
import type { LocalPrefix } from '../../src/desired/local-prefixes.js';

type Specs = Readonly<Record<string, object>>;

export interface Cluster {
  readonly nodes?: Readonly<Record<string, { readonly annotations?: object; readonly labels?: object }>>;
  readonly configurations?: Specs;
  readonly peers?: Specs;
  readonly filters?: Specs;
  readonly pools?: Specs;
  /** By name, its keys; undefined: there is none. */
  readonly secrets?: Readonly<Record<string, Readonly<Record<string, string>> | undefined>>;
  readonly local?: readonly (Pick<LocalPrefix, 'prefix'> & Partial<LocalPrefix>)[];
  readonly more?: Partial<BgpInputs>;
}

function read<K extends ListedKind>(
  kind: K,
  manifests: Readonly<Record<string, object>> = {},
): Map<string, Kinds[K]> {
  return new Map(
    Object.entries(manifests).flatMap(([name, manifest]) => {
      const { value, faults } = kinds[kind].pick(name, { metadata: { name }, ...manifest });
      if (value === undefined) throw new Error(`${kind} ${name}: ${faults.join('; ')}`);
      return [[name, value as Kinds[K]] as const];
    }),
  );
}

const specs = (of: Specs = {}) =>
  Object.fromEntries(Object.entries(of).map(([name, spec]) => [name, { spec }]));

/** A node with these addresses: their last octet. */
export const at = (last: number, annotations: object = {}, labels: object = {}) => ({
  annotations: {
    'projectcalico.org/IPv4Address': `10.0.0.${last}/24`,
    'projectcalico.org/IPv6Address': `fd00::${last}/64`,
    ...annotations,
  },
  labels,
});

/** The plan of the node n, which has 10.0.0.1 and fd00::1. */
export function planOf(cluster: Cluster) {
  const nodes = Object.fromEntries(
    Object.entries(cluster.nodes ?? { n: at(1) }).map(([name, metadata]) => [name, { metadata }]),
  );
  const plan = planBgp({
    node_name: 'n',
    addresses: { ip4: '10.0.0.1', ip6: 'fd00::1' },
    ip4_only: false,
    kept_prefixes: [],
    gone_pools: [],
    nodes: read('Node', nodes),
    configurations: read('BGPConfiguration', specs(cluster.configurations)),
    peers: read('BGPPeer', specs(cluster.peers)),
    filters: read('BGPFilter', specs(cluster.filters)),
    pools: read('IPPool', specs(cluster.pools)),
    secrets: new Map(
      Object.entries(cluster.secrets ?? {}).map(([name, values]) => [
        name,
        values && new Map(Object.entries(values).map(([key, value]) => [key, new Secret(value)])),
      ]),
    ),
    local: new Map(
      (cluster.local ?? []).map((each) => [
        each.prefix,
        { source: 'block', by: 'BlockAffinity b', announced: true, dropped: true, ...each },
      ]),
    ),
    version: parseVersion('4.8.0')!,
    ...cluster.more,
  });
  return { ...plan, troubles: Object.fromEntries(plan.troubles), addresses: [...plan.peers.keys()].sort() };
}
