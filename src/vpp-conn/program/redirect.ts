/** What is sent to the host instead of where the route says: a classifier table and its users. */
import { classify_add_del_table, input_acl_set_interface } from 'vpp-binapi-ts/classify';
import { ip_session_redirect_add_v2, ip_session_redirect_del } from 'vpp-binapi-ts/ip_session_redirect';
import { type Family, familyOf } from '../../ip/text.js';
import type { ObjectOf } from '../../objects/object.js';
import { type Call, call } from '../call.js';
import type { Handles } from '../handles.js';
import { no_interface, pathTo } from '../paths.js';
import { redirectMask, redirectMatch } from '../redirect-match.js';
import { none, type Programs } from './common.js';

/** Size of the redirect classifier: ample, a rule takes some hundred bytes. */
const redirect_buckets = 64;
const redirect_table_bytes = 1 << 20;
export const redirect: Programs<'redirect_table' | 'redirect_rule' | 'redirect_acl'> = {
  redirect_table: {
    add: (o) => [
      call(
        classify_add_del_table,
        {
          is_add: true,
          del_chain: false,
          table_index: no_interface,
          nbuckets: redirect_buckets,
          memory_size: redirect_table_bytes,
          skip_n_vectors: 0,
          match_n_vectors: redirectMask(o.family).length / 16,
          next_table_index: no_interface,
          miss_next_index: no_interface,
          current_data_flag: 1,
          current_data_offset: 0,
          mask: redirectMask(o.family),
        },
        { made: (reply) => reply.new_table_index },
      ),
    ],
    // Pod interfaces may still look it up; VPP would read freed memory.
    remove: () => none,
  },
  redirect_rule: {
    add: (o, at) => {
      const { match, length } = redirectMatch(o);
      return [
        call(ip_session_redirect_add_v2, {
          table_index: redirectTable(familyOf(o.address), at),
          opaque_index: 0,
          proto: familyOf(o.address) === 4 ? 'FIB_API_PATH_NH_PROTO_IP4' : 'FIB_API_PATH_NH_PROTO_IP6',
          is_punt: false,
          match_len: length,
          match,
          paths: [
            pathTo(familyOf(o.address), { sw_if_index: at.interface(o.interface), next_hop: o.next_hop }),
          ],
        }),
      ];
    },
    remove: (o, at) => {
      const { match, length } = redirectMatch(o);
      // VPP finds the session by exactly the bytes that count.
      return [
        call(ip_session_redirect_del, {
          table_index: redirectTable(familyOf(o.address), at),
          match: match.subarray(0, length),
        }),
      ];
    },
  },
  redirect_acl: {
    // As with proxy ARP: what VPP remembers of an earlier interface of that index has to go first.
    add: (o, at) => [redirectAcl(o, at, false), redirectAcl(o, at, true)],
    remove: (o, at) => [redirectAcl(o, at, false)],
  },
};

/** VNET_API_ERROR_NO_SUCH_TABLE: the interface had none. */
const acl_not_set = -65;

function redirectTable(family: Family, at: Handles): number {
  return at.of({ kind: 'redirect_table', family });
}

function redirectAcl(o: ObjectOf<'redirect_acl'>, at: Handles, is_add: boolean): Call {
  const index = redirectTable(o.family, at);
  return call(
    input_acl_set_interface,
    {
      sw_if_index: at.interface(o.interface),
      ip4_table_index: o.family === 4 ? index : no_interface,
      ip6_table_index: o.family === 6 ? index : no_interface,
      l2_table_index: no_interface,
      is_add,
    },
    { tolerated: is_add ? [] : [acl_not_set] },
  );
}
