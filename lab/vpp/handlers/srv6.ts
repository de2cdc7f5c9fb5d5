import {
  sr_localsid_add_del,
  sr_localsids_dump,
  sr_policies_v2_dump,
  sr_policy_add_v2,
  sr_policy_del,
  sr_policy_mod_v2,
  sr_steering_add_del,
  sr_steering_pol_dump,
} from 'vpp-binapi-ts/sr';
import { parseAddress } from '../../../src/ip/text.js';
import { type Handler, onDump, onPlain } from '../handler.js';
import { Death, refuse, retval } from '../outcome.js';
import { addressOf, familyOf } from '../prefix.js';

export const srv6: readonly Handler[] = [
  onPlain(sr_localsid_add_del, (vpp, { is_del, localsid: addr, behavior, sw_if_index: to, fib_table }) => {
    if (is_del) vpp.srv6.removeSid(addr);
    else vpp.srv6.addSid({ addr, behavior, fib_table, to });
  }),
  onDump(sr_localsids_dump, (vpp) =>
    [...vpp.srv6.sids.values()].map(({ addr, behavior, fib_table, to }) => ({
      addr,
      end_psp: false,
      behavior: behavior as 'SR_BEHAVIOR_API_DT4',
      fib_table,
      vlan_index: 0,
      xconnect_nh_addr: '0.0.0.0',
      xconnect_iface_or_vrf_table: to,
    })),
  ),
  onPlain(sr_policy_add_v2, (vpp, { bsid_addr: bsid, sids, is_encap, type, fib_table, encap_src }) => {
    if (sids.sids.length === 0) throw new Death('a segment list without segments');
    vpp.srv6.addPolicy({ bsid, is_encap, type: type ?? '', fib_table, encap_src, lists: [sids] });
  }),
  onPlain(sr_policy_mod_v2, (vpp, { bsid_addr: bsid, sids, operation }) => {
    // What else there is this program does not ask for.
    if (operation !== 'SR_POLICY_OP_API_ADD') refuse(retval.UNIMPLEMENTED);
    if (sids.sids.length === 0) throw new Death('a segment list without segments');
    vpp.srv6.addList(bsid, sids);
  }),
  onPlain(sr_policy_del, (vpp, { bsid_addr }) => vpp.srv6.removePolicy(bsid_addr)),
  onDump(sr_policies_v2_dump, (vpp) =>
    [...vpp.srv6.policies.values()].map(({ lists, type, ...policy }) => ({
      ...policy,
      type: type as 'SR_API_POLICY_TYPE_DEFAULT',
      sid_lists: lists,
    })),
  ),
  onPlain(sr_steering_add_del, (vpp, { is_del, bsid_addr: bsid, table_id: fib_table, prefix }) => {
    const steering = { prefix, fib_table, bsid };
    if (is_del) vpp.srv6.unsteer(steering);
    else if (!vpp.srv6.hasTable(steering))
      throw new Death('something is steered in a table that is not there');
    else vpp.srv6.steer(steering);
  }),
  onDump(sr_steering_pol_dump, (vpp) =>
    [...vpp.srv6.steerings.values()].map(({ prefix, fib_table, bsid }) => ({
      traffic_type: familyOf(prefix) === 4 ? ('SR_STEER_API_IPV4' as const) : ('SR_STEER_API_IPV6' as const),
      fib_table,
      prefix,
      // Of a prefix VPP shows the beginning of its address there.
      sw_if_index: familyOf(prefix) === 4 ? 0 : parseAddress(addressOf(prefix)).readUInt32LE(0),
      bsid,
    })),
  ),
];
