/** Tunnels to other nodes, and whose addresses they use. */
import { sw_interface_set_unnumbered } from 'vpp-binapi-ts/interface';
import { ipip_add_tunnel, ipip_del_tunnel, type ipip_tunnel } from 'vpp-binapi-ts/ipip';
import { vxlan_add_del_tunnel_v3, type vxlan_add_del_tunnel_v3_in } from 'vpp-binapi-ts/vxlan';
import { default_table, ipsec_table } from '../../desired/tables.js';
import { familyOf } from '../../ip/text.js';
import type { ObjectOf } from '../../objects/object.js';
import { call } from '../call.js';
import type { Handles } from '../handles.js';
import { no_interface } from '../paths.js';
import { type Programs, tag } from './common.js';

const sw_if_index = (reply: { readonly sw_if_index: number }): number => reply.sw_if_index;

export const tunnels: Programs<'ipip_tunnel' | 'vxlan_tunnel' | 'unnumbered'> = {
  ipip_tunnel: {
    add: (o) => [call(ipip_add_tunnel, { tunnel: ipip(o) }, { made: sw_if_index })],
    follow: (o, at) => [tag(o.tag, at)],
    remove: (o, at) => [call(ipip_del_tunnel, { sw_if_index: at.interface(o.tag) })],
  },
  vxlan_tunnel: {
    add: (o, at) => [call(vxlan_add_del_tunnel_v3, { ...vxlan(o, at), is_add: true }, { made: sw_if_index })],
    follow: (o, at) => [tag(o.tag, at)],
    // By its ends: VPP finds it by these, not by its index.
    remove: (o, at) => [call(vxlan_add_del_tunnel_v3, { ...vxlan(o, at), is_add: false })],
  },
  unnumbered: {
    add: (o, at) => [unnumbered(o, at, true)],
    remove: (o, at) => [unnumbered(o, at, false)],
  },
};

function ipip({ src, dst, ike }: ObjectOf<'ipip_tunnel'>): ipip_tunnel {
  return {
    instance: no_interface,
    src,
    dst,
    sw_if_index: no_interface,
    table_id: ike ? ipsec_table : default_table,
    flags: 0,
    mode: 'TUNNEL_API_MODE_P2P',
    dscp: 'IP_API_DSCP_CS0',
  };
}

function vxlan(
  { src, dst, vni, port, encap_table_id = default_table }: ObjectOf<'vxlan_tunnel'>,
  at: Handles,
): vxlan_add_del_tunnel_v3_in {
  return {
    src_address: src,
    dst_address: dst,
    src_port: port,
    dst_port: port,
    mcast_sw_if_index: no_interface,
    encap_vrf_id: encap_table_id,
    decap_next_index: at.vxlanDecap(familyOf(dst)),
    vni,
    is_l3: true,
  };
}

function unnumbered(o: ObjectOf<'unnumbered'>, at: Handles, is_add: boolean) {
  return call(sw_interface_set_unnumbered, {
    sw_if_index: at.interface(o.of),
    unnumbered_sw_if_index: at.interface(o.interface),
    is_add,
  });
}
