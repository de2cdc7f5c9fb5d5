/** SRv6: own SIDs, policies, and what is steered into them. */

import { RetvalError } from 'vpp-binapi-ts';
import {
  sr_localsid_add_del,
  sr_policy_add_v2,
  sr_policy_del,
  sr_policy_mod_v2,
  sr_steering_add_del,
} from 'vpp-binapi-ts/sr';
import { familyOf } from '../../ip/text.js';
import type { ObjectOf } from '../../objects/object.js';
import type { SegmentList } from '../../objects/srv6.js';
import { type Call, call } from '../call.js';
import { no_interface } from '../paths.js';
import type { Programs } from './common.js';

const default_table = 0;
/** Policies are named by their binding SIDs. */
const no_index = 0xffff_ffff;

export const srv6: Programs<'srv6_local_sid' | 'srv6_policy' | 'srv6_steering'> = {
  srv6_local_sid: { add: (o) => [localSid(o, false)], remove: (o) => [localSid(o, true)] },
  srv6_policy: {
    add: ({ bsid, source, lists: [first, ...more] }) => [
      call(sr_policy_add_v2, {
        bsid_addr: bsid,
        weight: first?.weight ?? 0,
        is_encap: true,
        type: 'SR_API_POLICY_TYPE_DEFAULT',
        fib_table: default_table,
        sids: sidsOf(first),
        encap_src: source,
      }),
      ...more.map((list) =>
        call(sr_policy_mod_v2, {
          bsid_addr: bsid,
          sr_policy_index: no_index,
          fib_table: default_table,
          operation: 'SR_POLICY_OP_API_ADD',
          sl_index: no_index,
          weight: list.weight,
          sids: sidsOf(list),
          encap_src: source,
        }),
      ),
    ],
    remove: ({ bsid }) => [
      call(sr_policy_del, { bsid_addr: bsid, sr_policy_index: no_index }, { tolerated: [no_policy] }),
    ],
  },
  srv6_steering: { add: (o) => [steering(o, false)], remove: (o) => [steering(o, true)] },
};

/** Its own numbers, by which VPP says that there is no such thing. */
const no_policy = -1;
const no_local_sid = -2;
const no_steering = -4;

/** A policy has this binding SID, or somebody a route to it: by another one VPP would make it. */
const binding_sid_taken = -12;

export const isBindingSidTaken = (error: Error): boolean =>
  error instanceof RetvalError && error.retval === binding_sid_taken;

const sidsOf = (list: SegmentList | undefined) => ({ weight: list?.weight ?? 0, sids: list?.sids ?? [] });

function localSid({ sid, behavior, table_id }: ObjectOf<'srv6_local_sid'>, is_del: boolean): Call {
  return call(
    sr_localsid_add_del,
    {
      is_del,
      localsid: sid,
      end_psp: false,
      behavior: behavior === 'end_dt4' ? 'SR_BEHAVIOR_API_DT4' : 'SR_BEHAVIOR_API_DT6',
      // Of these behaviours it is the table in which the inner packet is looked up; `fib_table` has the SID itself.
      sw_if_index: table_id,
      vlan_index: 0,
      fib_table: default_table,
      nh_addr: '::',
    },
    is_del ? { tolerated: [no_local_sid] } : {},
  );
}

function steering({ table_id, prefix, bsid }: ObjectOf<'srv6_steering'>, is_del: boolean): Call {
  return call(
    sr_steering_add_del,
    {
      is_del,
      bsid_addr: bsid,
      sr_policy_index: no_index,
      table_id,
      prefix,
      sw_if_index: no_interface,
      traffic_type: familyOf(prefix) === 4 ? 'SR_STEER_API_IPV4' : 'SR_STEER_API_IPV6',
    },
    is_del ? { tolerated: [no_steering] } : {},
  );
}
