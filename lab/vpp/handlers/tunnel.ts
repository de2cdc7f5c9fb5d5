import { sw_interface_set_unnumbered } from 'vpp-binapi-ts/interface';
import { ip_unnumbered_dump } from 'vpp-binapi-ts/ip';
import { ipip_add_tunnel, ipip_del_tunnel, ipip_tunnel_dump } from 'vpp-binapi-ts/ipip';
import { add_node_next } from 'vpp-binapi-ts/vlib';
import { vxlan_add_del_tunnel_v3, vxlan_tunnel_v2_dump } from 'vpp-binapi-ts/vxlan';
import { none } from '../fib.js';
import { type Handler, on, onDump, onPlain } from '../handler.js';
import { refuse, retval } from '../outcome.js';
import { removeInterface } from './interface.js';

const ip_inputs = ['ip4-input', 'ip6-input'];

export const tunnels: readonly Handler[] = [
  on(ipip_add_tunnel, { sw_if_index: none }, (vpp, { tunnel: { src, dst, table_id, instance } }) => ({
    sw_if_index: vpp.tunnels.addIpip({ src, dst, table_id, instance }).sw_if_index,
  })),
  onPlain(ipip_del_tunnel, (vpp, { sw_if_index }) => {
    removeInterface(vpp, vpp.tunnels.deleteIpip(sw_if_index));
  }),
  onDump(ipip_tunnel_dump, (vpp, { sw_if_index }) =>
    selected(vpp.tunnels.all('ipip'), sw_if_index).map(({ type: _, ...tunnel }) => ({
      tunnel: { ...tunnel, flags: 0, mode: 'TUNNEL_API_MODE_P2P', dscp: 'IP_API_DSCP_CS0' },
    })),
  ),
  on(vxlan_add_del_tunnel_v3, { sw_if_index: none }, (vpp, fields) => {
    const { src_address: src, dst_address: dst, encap_vrf_id: table_id } = fields;
    const { instance, src_port, dst_port, vni, decap_next_index } = fields;
    if (!fields.is_add) {
      const one = vpp.tunnels.deleteVxlan({ src, dst, table_id, vni, dst_port });
      removeInterface(vpp, one);
      return { sw_if_index: one.sw_if_index };
    }
    const wanted = { src, dst, table_id, instance, src_port, dst_port, vni, decap_next_index };
    return { sw_if_index: vpp.tunnels.addVxlan(wanted).sw_if_index };
  }),
  onDump(vxlan_tunnel_v2_dump, (vpp, { sw_if_index }) =>
    selected(vpp.tunnels.all('vxlan'), sw_if_index).map(({ type: _, src, dst, table_id, ...tunnel }) => ({
      ...tunnel,
      src_address: src,
      dst_address: dst,
      mcast_sw_if_index: none,
      encap_vrf_id: table_id,
    })),
  ),
  // Of the nodes that there are only these are known here.
  on(add_node_next, { next_index: none }, (vpp, { node_name, next_name }) => {
    const [, family] = /^vxlan([46])-input$/.exec(node_name) ?? refuse(retval.NO_SUCH_NODE);
    if (!ip_inputs.includes(next_name)) refuse(retval.NO_SUCH_NODE2);
    return { next_index: vpp.tunnels.addArc(family === '6' ? 6 : 4, next_name) };
  }),
  onPlain(sw_interface_set_unnumbered, (vpp, { sw_if_index, unnumbered_sw_if_index, is_add }) => {
    if (is_add) vpp.tunnels.borrow(unnumbered_sw_if_index, sw_if_index);
    else vpp.tunnels.giveBack(unnumbered_sw_if_index);
  }),
  onDump(ip_unnumbered_dump, (vpp, { sw_if_index }) =>
    [...vpp.tunnels.lenders]
      .filter(([borrower]) => sw_if_index === none || sw_if_index === borrower)
      .map(([borrower, ip_sw_if_index]) => ({ sw_if_index: borrower, ip_sw_if_index })),
  ),
];

function selected<T extends { readonly sw_if_index: number }>(all: readonly T[], sw_if_index: number): T[] {
  return all.filter((one) => sw_if_index === none || one.sw_if_index === sw_if_index);
}
