/** All kinds of objects that are read, by name. */
import { type BgpConfiguration, bgp_configuration_kind } from './bgp-configuration.js';
import { type BgpFilter, bgp_filter_kind } from './bgp-filter.js';
import { type BgpPeer, bgp_peer_kind } from './bgp-peer.js';
import { type BlockAffinity, block_affinity_kind } from './block-affinity.js';
import { type EndpointSlice, endpoint_slice_kind } from './endpoint-slice.js';
import { type FelixConfiguration, felix_configuration_kind } from './felix-configuration.js';
import { type IpPool, ip_pool_kind } from './ip-pool.js';
import { type IpamBlock, ipam_block_kind } from './ipam-block.js';
import type { Kind } from './kind.js';
import { type Network, network_kind } from './network.js';
import {
  type NetworkAttachmentDefinition,
  network_attachment_definition_kind,
} from './network-attachment-definition.js';
import { type CalicoNode, node_kind } from './node.js';
import type { SecretValues } from './secret.js';
import { type Service, service_kind } from './service.js';
import { type ServiceCidr, service_cidr_kind } from './service-cidr.js';

/** What is kept of an object of each kind. */
export interface Kinds {
  readonly Node: CalicoNode;
  readonly IPPool: IpPool;
  readonly BlockAffinity: BlockAffinity;
  readonly IPAMBlock: IpamBlock;
  readonly BGPConfiguration: BgpConfiguration;
  readonly BGPPeer: BgpPeer;
  readonly BGPFilter: BgpFilter;
  readonly FelixConfiguration: FelixConfiguration;
  /** By `namespace/name`. */
  readonly Service: Service;
  /** By `namespace/name` of the slice. */
  readonly EndpointSlice: EndpointSlice;
  readonly ServiceCIDR: ServiceCidr;
  readonly Network: Network;
  /** By `namespace/name`. */
  readonly NetworkAttachmentDefinition: NetworkAttachmentDefinition;
  /** By name, in the one namespace where passwords are. */
  readonly Secret: SecretValues;
}

export type KindName = keyof Kinds;

/** Those that are listed as a whole: all but Secrets, which are read by name. */
export type ListedKind = Exclude<KindName, 'Secret'>;

export const kinds: { readonly [K in ListedKind]: Kind<Kinds[K]> } = {
  Node: node_kind,
  IPPool: ip_pool_kind,
  BlockAffinity: block_affinity_kind,
  IPAMBlock: ipam_block_kind,
  BGPConfiguration: bgp_configuration_kind,
  BGPPeer: bgp_peer_kind,
  BGPFilter: bgp_filter_kind,
  FelixConfiguration: felix_configuration_kind,
  Service: service_kind,
  EndpointSlice: endpoint_slice_kind,
  ServiceCIDR: service_cidr_kind,
  Network: network_kind,
  NetworkAttachmentDefinition: network_attachment_definition_kind,
};

/** What has become of objects of one kind, by key; undefined: gone, or of no use. `synced`: what no change has named does not exist. */
export type Objects = {
  [K in KindName]: {
    readonly kind: K;
    readonly synced: boolean;
    readonly changed: ReadonlyMap<string, Kinds[K] | undefined>;
  };
}[KindName];
