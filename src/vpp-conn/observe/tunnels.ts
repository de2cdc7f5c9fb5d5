/** Tunnels and whose addresses they use, back from VPP. */
import { ip_unnumbered_dump } from 'vpp-binapi-ts/ip';
import { ipip_tunnel_dump } from 'vpp-binapi-ts/ipip';
import { vxlan_tunnel_v2_dump } from 'vpp-binapi-ts/vxlan';
import { default_table, ipsec_table } from '../../desired/tables.js';
import type { InterfaceTag } from '../../objects/interfaces.js';
import { keyOf, same, type VppObject } from '../../objects/object.js';
import { type IpipTunnel, ipipTag, type VxlanTunnel, vxlanTag } from '../../objects/tunnels.js';
import type { WireguardInterface } from '../../objects/wireguard.js';
import { danglingTag, no_interface } from '../paths.js';
import type { Reader, TagOf } from './reader.js';
import { observeWireguard } from './wireguard.js';

export type ObservedTunnel = IpipTunnel | VxlanTunnel | WireguardInterface;

/**
 * Those that lead from one node to another, by sw_if_index, each with the tag that it has when it is ours.
 */
export async function observeTunnels(reader: Reader): Promise<ReadonlyMap<number, ObservedTunnel>> {
  const [ipips, vxlans, wireguards] = await Promise.all([
    reader.dump(ipip_tunnel_dump, { sw_if_index: no_interface }),
    reader.dump(vxlan_tunnel_v2_dump, { sw_if_index: no_interface }),
    observeWireguard(reader),
  ]);
  return new Map<number, ObservedTunnel>([
    ...wireguards,
    ...ipips.flatMap(({ tunnel }): [number, ObservedTunnel][] => {
      const { sw_if_index, src, dst, mode, table_id } = tunnel;
      if (mode !== 'TUNNEL_API_MODE_P2P' || ![default_table, ipsec_table].includes(table_id)) return [];
      return [
        [
          sw_if_index,
          {
            kind: 'ipip_tunnel',
            tag: ipipTag(dst),
            src,
            dst,
            ...(table_id === ipsec_table && { ike: true }),
          },
        ],
      ];
    }),
    ...vxlans.flatMap((details): [number, ObservedTunnel][] => {
      const { sw_if_index, src_address: src, dst_address: dst, vni, src_port, dst_port } = details;
      if (src_port !== dst_port) return [];
      const encap_table_id = details.encap_vrf_id;
      const ends = {
        src,
        dst,
        vni,
        port: dst_port,
        ...(encap_table_id !== default_table && { encap_table_id }),
      };
      return [[sw_if_index, { kind: 'vxlan_tunnel', tag: vxlanTag(ends), ...ends }]];
    }),
  ]);
}

/**
 * A tunnel without a tag that the registry knows to have been on its way: nobody has completed it. It is shown by a name that nobody wants,
 * so that its owner removes it and makes it anew: VPP has no second one with these ends.
 */
export function halfMade(
  tunnel: ObservedTunnel,
  sw_if_index: number,
  announced: readonly VppObject[],
): ObservedTunnel | undefined {
  const is_ours = announced.some((object) => keyOf(object) === keyOf(tunnel) && same(object, tunnel));
  return is_ours ? { ...tunnel, tag: danglingTag(sw_if_index) } : undefined;
}

/** Whose addresses these interfaces use; the lender may be gone. */
export async function observeUnnumbered(
  reader: Reader,
  tags: ReadonlyMap<number, InterfaceTag>,
  tagOf: TagOf,
): Promise<VppObject[]> {
  const dumped = await reader.dump(ip_unnumbered_dump, { sw_if_index: no_interface });
  return dumped.flatMap(({ sw_if_index, ip_sw_if_index }): VppObject[] => {
    const tag = tags.get(sw_if_index);
    return tag === undefined ? [] : [{ kind: 'unnumbered', interface: tag, of: tagOf(ip_sw_if_index) }];
  });
}
