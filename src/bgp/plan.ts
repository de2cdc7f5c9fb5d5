/** What gobgpd is to have, of all that is known. Pure: the same inputs make the same plan. */
import { type GlobalInput, has, type Version } from 'gobgp-grpc-stubs';
import type { BgpFilter } from '../calico/kinds/bgp-filter.js';
import type { IpPool } from '../calico/kinds/ip-pool.js';
import type { LocalPrefix } from '../desired/local-prefixes.js';
import type { NetworkAddress } from '../desired/network-addresses.js';
import { srPolicyKey } from '../desired/sr-policy.js';
import type { OwnSids } from '../desired/srv6.js';
import { hostPrefix } from '../desired/tables.js';
import { canonicalAddress } from '../ip/spelling.js';
import { familyOf } from '../ip/text.js';
import { isPrefix, isWithin, type LocalPath, localPath } from './local-paths.js';
import { networkPath } from './network-paths.js';
import { type PeersInputs, type WantedPeer, wantedPeers } from './peers.js';
import { type WantedPolicies, wantedPolicies } from './policies.js';
import { type BgpSettings, effectiveSettings, routerId } from './settings.js';
import { own_colors, srPath } from './sr-paths.js';
import { Troubles } from './troubles.js';

export interface BgpInputs extends PeersInputs {
  readonly filters: ReadonlyMap<string, BgpFilter>;
  readonly pools: ReadonlyMap<string, IpPool>;
  /** Prefixes of pools that were not to be announced and are gone, of which something is left here. */
  readonly gone_pools: readonly string[];
  readonly local: ReadonlyMap<string, LocalPrefix>;
  /** Own paths that gobgpd has, and that may not be removed yet: they go on to be told. */
  readonly kept_prefixes: Iterable<string>;
  /** CALICO_ROUTER_ID. */
  readonly router_id?: string;
  /** Listens on IPv4 alone. */
  readonly ip4_only: boolean;
  /** Of the gobgpd. */
  readonly version: Version;
  /** Absent: this node does without SRv6. */
  readonly srv6?: Srv6Inputs;
  /** Absent: there are no networks beside the default one. */
  readonly networks?: NetworksInputs;
}

export interface NetworksInputs {
  readonly addresses: Iterable<NetworkAddress>;
  /** All of this node's pods have said theirs: until then what gobgpd has of an earlier life goes on to be told. */
  readonly is_complete: boolean;
  /** Own paths that gobgpd has. */
  readonly paths: ReadonlyMap<string, LocalPath>;
}

export interface Srv6Inputs {
  /** What VPP has; undefined: not known yet. What gobgpd has of an earlier life goes on to be told until it is. */
  readonly programmed: { readonly own: OwnSids | undefined } | undefined;
  /** Own paths that gobgpd has. */
  readonly paths: ReadonlyMap<string, LocalPath>;
}

export interface WantedGlobal extends GlobalInput {
  readonly listen_port: number;
  readonly listen_addresses: readonly string[];
  readonly use_multiple_paths: boolean;
}

export interface BgpPlan {
  readonly global: WantedGlobal;
  readonly settings: BgpSettings;
  readonly peers: ReadonlyMap<string, WantedPeer>;
  readonly secrets: readonly string[];
  readonly policies: WantedPolicies;
  /** By prefix. */
  readonly paths: ReadonlyMap<string, LocalPath>;
  /** Gateways to peers (`reachableBy`): prefix to next hop. */
  readonly gateways: ReadonlyMap<string, string>;
  /** By object. */
  readonly troubles: ReadonlyMap<string, readonly string[]>;
}

export function planBgp(inputs: BgpInputs): BgpPlan {
  const { node_name, nodes, addresses, configurations, filters, pools, local, version } = inputs;
  const troubles = new Troubles();
  const own = nodes.get(node_name);
  const settings = effectiveSettings(node_name, own, configurations, troubles);
  const { peers, secrets } = wantedPeers(
    { ...inputs, sr_policies: inputs.srv6 !== undefined, has_networks: inputs.networks !== undefined },
    settings,
    troubles,
  );
  const paths = new Map<string, LocalPath>();
  for (const { prefix, announced, by } of local.values()) {
    if (!announced) continue;
    const path = localPath(prefix, addresses, settings);
    if (path !== undefined) paths.set(prefix, path);
    else troubles.add(by, `${prefix} is not announced: this node has no IPv${familyOf(prefix)} address`);
  }
  for (const path of sidPaths(inputs, settings)) paths.set(path.prefix, path);
  for (const path of networkPaths(inputs, settings)) paths.set(path.prefix, path);
  const policies = wantedPolicies(
    {
      peers,
      filters,
      pools,
      gone_pools: inputs.gone_pools,
      own_blocks: [...local.values()].filter(({ source }) => source === 'block').map(({ prefix }) => prefix),
      own_prefixes: [...paths.keys(), ...inputs.kept_prefixes].filter(isPrefix),
      reflected_prefixes: own?.cluster_id === undefined ? [] : settings.external_prefixes,
      compares_local_pref: has(version, '4.0'),
      ...(inputs.networks && {
        networks: own?.cluster_id === undefined ? ('own' as const) : ('all' as const),
      }),
      ...(inputs.srv6 && {
        sr_policies: own?.cluster_id === undefined ? ('own' as const) : ('all' as const),
      }),
    },
    troubles,
  );
  const gateways = new Map<string, string>();
  for (const { address, reachable_by } of peers.values())
    if (reachable_by !== undefined)
      gateways.set(`${address}/${familyOf(address) === 4 ? 32 : 128}`, reachable_by);
  return {
    global: {
      asn: settings.as_number,
      router_id: routerId(inputs.router_id, node_name, addresses.ip4),
      listen_port: settings.listen_port,
      listen_addresses: listenAddresses(inputs, settings),
      // As Calico's BIRD merges paths.
      use_multiple_paths: true,
    },
    settings,
    peers,
    secrets,
    policies,
    paths,
    gateways,
    troubles: troubles.list,
  };
}

/**
 * Where this node's SIDs are, and the policies that lead to them: why there are none connectivity says. Those of before are told until VPP has those that
 * take their place: others send to them.
 */
function sidPaths({ srv6, addresses }: BgpInputs, settings: BgpSettings): readonly LocalPath[] {
  const { ip6 } = addresses;
  if (srv6 === undefined || ip6 === undefined) return [];
  const { programmed, paths } = srv6;
  if (programmed === undefined) return keptSidPaths(paths, ip6);
  if (programmed.own === undefined) return [];
  const { locator, sids } = programmed.own;
  return [localPath(locator, addresses, settings) ?? [], sids.map((sid) => srPath(sid, ip6))].flat();
}

/** Of an earlier life: the policies to this node, and the prefixes in which their SIDs are. */
function keptSidPaths(paths: Srv6Inputs['paths'], endpoint: string): readonly LocalPath[] {
  const policies = own_colors.flatMap(
    (color) => paths.get(srPolicyKey({ endpoint, color, distinguisher: 0 })) ?? [],
  );
  const sids = policies.flatMap(
    ({ sr_policy }) => sr_policy?.says.lists.flatMap(({ segments }) => segments) ?? [],
  );
  const hosts = sids.flatMap((sid) => (canonicalAddress(sid) === undefined ? [] : hostPrefix(sid)));
  const locators = [...paths.values()].filter(
    ({ prefix, sr_policy }) => sr_policy === undefined && hosts.some((host) => isWithin(host, prefix)),
  );
  return [...locators, ...policies];
}

function* networkPaths({ networks }: BgpInputs, { as_number }: BgpSettings): Iterable<LocalPath> {
  if (networks === undefined) return;
  if (!networks.is_complete)
    for (const path of networks.paths.values()) if (path.network !== undefined) yield path;
  for (const address of networks.addresses) yield networkPath(address, as_number);
}

function listenAddresses(
  { addresses: { ip4, ip6 }, ip4_only }: BgpInputs,
  { node_addresses_only }: BgpSettings,
): readonly string[] {
  // gobgpd listens on them in this order, and goes on with those before the one that fails: a kernel without IPv6 has nothing left open.
  const addresses = node_addresses_only ? [ip6, ip4] : ['::', '0.0.0.0'];
  const chosen = addresses.filter((address) => address !== undefined);
  const of4 = chosen.filter((address) => familyOf(address) === 4);
  return ip4_only && of4.length > 0 ? of4 : chosen;
}
