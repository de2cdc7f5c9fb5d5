/** SRv6 back from VPP. What is not as this program makes it is left out: VPP shows nothing of whose it is. */
import {
  type sr_localsids_details,
  sr_localsids_dump,
  sr_policies_v2_dump,
  sr_steering_pol_dump,
} from 'vpp-binapi-ts/sr';
import type { VppObject } from '../../objects/object.js';
import type { Srv6Behavior } from '../../objects/srv6.js';
import type { Reader } from './reader.js';

const behaviors: Readonly<Partial<Record<sr_localsids_details['behavior'], Srv6Behavior>>> = {
  SR_BEHAVIOR_API_DT4: 'end_dt4',
  SR_BEHAVIOR_API_DT6: 'end_dt6',
};

export async function observeSrv6(reader: Reader): Promise<readonly VppObject[]> {
  const [sids, policies, steerings] = await Promise.all([
    reader.dump(sr_localsids_dump, {}),
    reader.dump(sr_policies_v2_dump, {}),
    reader.dump(sr_steering_pol_dump, {}),
  ]);
  // In this order what nobody wants any more is let go of.
  return [
    // An interface, which has no prefix, can be steered, too.
    ...steerings.flatMap(({ traffic_type, fib_table: table_id, prefix, bsid }): VppObject[] =>
      traffic_type === 'SR_STEER_API_L2' ? [] : [{ kind: 'srv6_steering', table_id, prefix, bsid }],
    ),
    ...sids.flatMap(
      ({ addr: sid, behavior: shown, fib_table, xconnect_iface_or_vrf_table: table_id }): VppObject[] => {
        const behavior = behaviors[shown];
        if (behavior === undefined || fib_table !== 0) return [];
        return [{ kind: 'srv6_local_sid', sid, behavior, table_id }];
      },
    ),
    ...policies.flatMap(({ bsid, encap_src: source, type, is_encap, fib_table, sid_lists }): VppObject[] => {
      if (!is_encap || type !== 'SR_API_POLICY_TYPE_DEFAULT' || fib_table !== 0) return [];
      return [{ kind: 'srv6_policy', bsid, source, lists: sid_lists }];
    }),
  ];
}
