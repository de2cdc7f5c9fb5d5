/** What others are told of the node whose uplinks VPP has. Pure. */
import type { NetworkHere, NodeNetwork } from '../desired/networks.js';
import { type NodeInputs, uplinkTag } from '../desired/node-inputs.js';
import { isKnown, lacksOfNodes, type PodPools } from '../desired/source-nat.js';
import { nodeSourceNat, redirectTables, underlays } from '../desired/uplink.js';
import { nodeAddress, onLinkPrefixes, ownAddresses } from '../desired/uplink-addresses.js';
import { networkOf, splitPrefix } from '../ip/prefix.js';
import { buffersTaken, type Taken } from './taken.js';

/** As VPP knows them; undefined: not known. */
interface InVpp {
  readonly pods_in_vpp: PodPools | undefined;
  readonly networks_in_vpp: readonly NodeNetwork[] | undefined;
}

/** As NodeReady has it. `prefixes`: the node's own addresses with their masks. */
export function nodeFacts(
  taken: Taken,
  settled: Omit<NodeInputs, 'uplinks'>,
  { pods_in_vpp: pods, networks_in_vpp: networks }: InVpp,
) {
  const { uplinks } = taken;
  const inputs = { ...settled, uplinks };
  const under = underlays(inputs);
  const prefixes = { ip4: nodeAddress(inputs, 4), ip6: nodeAddress(inputs, 6) };
  const ip4 = prefixes.ip4 && splitPrefix(prefixes.ip4).address;
  const ip6 = prefixes.ip6 && splitPrefix(prefixes.ip6).address;
  return {
    prefixes,
    mtu: Math.min(...uplinks.map(({ mtu }) => mtu)),
    node: { ...(ip4 && { ip4 }), ...(ip6 && { ip6 }) },
    uplinks: uplinks.map(({ name, addresses }) => ({
      name,
      // In one order: the kernel shows a tap’s in another than the uplink’s, and nothing has changed.
      addresses: addresses.map(({ prefix }) => prefix).sort(),
    })),
    main_uplink: uplinkTag(uplinks.find(({ is_main }) => is_main)!.name),
    subnets: {
      ...(prefixes.ip4 && { ip4: networkOf(prefixes.ip4) }),
      ...(prefixes.ip6 && { ip6: networkOf(prefixes.ip6) }),
    },
    on_link: onLinkPrefixes(uplinks),
    redirects: redirectTables(inputs).flatMap((object) =>
      object.kind === 'redirect_table' ? [object.family] : [],
    ),
    ...(isKnown(pods) && { pools: { prefixes: pods.prefixes, nat_outgoing: pods.nat_outgoing } }),
    ...(networks && {
      networks: networks.flatMap((network): NetworkHere[] => {
        const underlay = under.get(network.physical_network);
        return underlay === undefined ? [] : [{ ...network, underlay }];
      }),
    }),
    ...(taken.buffers !== undefined && { buffers: taken.buffers }),
    buffers_taken: buffersTaken(taken, inputs.tap),
  };
}

/** For a person: which way of source NAT VPP has, and what does not work by it. */
export function shownSourceNat(inputs: NodeInputs, pods: PodPools | undefined) {
  const nat = nodeSourceNat(inputs);
  const of_nodes = isKnown(pods) ? lacksOfNodes(nat, pods, ownAddresses(inputs), inputs.does_ike) : [];
  return { name: nat.name, cnat: inputs.cnat, lacks: [...nat.lacks, ...of_nodes] };
}
