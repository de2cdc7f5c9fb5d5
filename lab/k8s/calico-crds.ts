import type { Json } from './store.js';

/** Calico's kinds, with nothing said of their fields: enough for a server to take, page and watch them. */

const calico_kinds = [
  ['BGPConfiguration', 'bgpconfigurations'],
  ['BGPPeer', 'bgppeers'],
  ['BGPFilter', 'bgpfilters'],
  ['IPPool', 'ippools'],
  ['IPAMBlock', 'ipamblocks'],
  ['BlockAffinity', 'blockaffinities'],
  ['FelixConfiguration', 'felixconfigurations'],
] as const;

export type CalicoVersion = 'crd.projectcalico.org/v1' | 'projectcalico.org/v3';

function definition(
  api_version: string,
  scope: 'Cluster' | 'Namespaced',
  [kind, plural]: readonly [string, string],
): Json {
  const [group, version] = api_version.split('/') as [string, string];
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope,
      names: { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase() },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          schema: {
            openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
          },
        },
      ],
    },
  };
}

/** What a cluster with several networks has beside them: each in a group of its own, the first in namespaces as it is shipped. */
export const network_crds: readonly Json[] = [
  definition('projectcalico.org/v3', 'Namespaced', ['Network', 'networks']),
  definition('k8s.cni.cncf.io/v1', 'Namespaced', [
    'NetworkAttachmentDefinition',
    'network-attachment-definitions',
  ]),
];

/** One CustomResourceDefinition for each of Calico's kinds that are read here, but for those named. */
export function calicoCrds(api_version: CalicoVersion, without: readonly string[] = []): readonly Json[] {
  return calico_kinds
    .filter(([kind]) => !without.includes(kind))
    .map((kind) => definition(api_version, 'Cluster', kind));
}
