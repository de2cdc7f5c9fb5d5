/** What is sent to the host instead of where the route says: a classifier table and its users. */
import {
  classify_add_del_session,
  classify_add_del_table,
  type classify_add_del_table_in,
  input_acl_set_interface,
  output_acl_set_interface,
  punt_acl_add_del,
} from 'vpp-binapi-ts/classify';
import { ip_session_redirect_add_v2, ip_session_redirect_del } from 'vpp-binapi-ts/ip_session_redirect';
import { type Family, familyOf } from '../../ip/text.js';
import type { ObjectOf } from '../../objects/object.js';
import { type Call, call } from '../call.js';
import type { Handles } from '../handles.js';
import { no_interface, pathTo } from '../paths.js';
import {
  optionsMask,
  optionsMatches,
  protocolMask,
  protocolMatches,
  redirectMask,
  redirectMatch,
} from '../redirect-match.js';
import { none, type Programs } from './common.js';

/** Size of the redirect classifier: ample, a rule takes some hundred bytes. */
const redirect_buckets = 64;
const redirect_table_bytes = 1 << 20;
/** Of the classifiers' users: drop. What is not matched, and has no other next, goes on. */
const deny = 0;
const goes_on = no_interface;

export const redirect: Programs<
  'redirect_table' | 'redirect_rule' | 'redirect_acl' | 'punt_guard' | 'protocol_table' | 'protocol_acl'
> = {
  redirect_table: {
    add: (o) => [
      call(classify_add_del_table, newTable(redirectMask(o.family), redirect_buckets, redirect_table_bytes), {
        made: (reply) => reply.new_table_index,
      }),
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
  punt_guard: {
    add: () => [
      call(classify_add_del_table, newTable(optionsMask(), guard_buckets, guard_table_bytes), {
        made: (reply) => reply.new_table_index,
      }),
    ],
    // The table is looked up once it has its sessions.
    follow: (o, at) => [
      ...optionsMatches().map((match) =>
        call(classify_add_del_session, {
          is_add: true,
          table_index: at.of(o),
          hit_next_index: deny,
          match,
        }),
      ),
      call(punt_acl_add_del, { ip4_table_index: at.of(o), is_add: true }),
    ],
    remove: (o, at) => [
      call(punt_acl_add_del, { ip4_table_index: at.of(o), is_add: false }, { tolerated: [acl_not_set] }),
      call(classify_add_del_table, {
        ...newTable(optionsMask(), guard_buckets, guard_table_bytes),
        is_add: false,
        table_index: at.of(o),
      }),
    ],
  },
  protocol_table: {
    add: (o) => [
      call(
        classify_add_del_table,
        {
          ...newTable(protocolMask(o.family), guard_buckets, guard_table_bytes),
          miss_next_index: deny,
        },
        { made: (reply) => reply.new_table_index },
      ),
    ],
    // No interface looks it up before it has its sessions: they come by one connection, in order.
    follow: (o, at) =>
      protocolMatches(o.family).map((match) =>
        call(classify_add_del_session, {
          is_add: true,
          table_index: at.of(o),
          hit_next_index: goes_on,
          match,
        }),
      ),
    // Pod interfaces may still look it up.
    remove: () => none,
  },
  protocol_acl: {
    // As with redirects: what VPP remembers of an earlier interface of that index has to go first.
    add: (o, at) => [protocolAcl(o, at, false), protocolAcl(o, at, true)],
    remove: (o, at) => [protocolAcl(o, at, false)],
  },
};

/** Some: the numbers of few protocols. */
const guard_buckets = 16;
const guard_table_bytes = 1 << 16;

function newTable(mask: Uint8Array, nbuckets: number, memory_size: number): classify_add_del_table_in {
  return {
    is_add: true,
    del_chain: false,
    table_index: no_interface,
    nbuckets,
    memory_size,
    skip_n_vectors: 0,
    match_n_vectors: mask.length / 16,
    next_table_index: no_interface,
    miss_next_index: no_interface,
    current_data_flag: 1,
    current_data_offset: 0,
    mask,
  };
}

/** VNET_API_ERROR_NO_SUCH_TABLE: the interface had none. */
const acl_not_set = -65;

function redirectTable(family: Family, at: Handles): number {
  return at.of({ kind: 'redirect_table', family });
}

function redirectAcl(o: ObjectOf<'redirect_acl'>, at: Handles, is_add: boolean): Call {
  const index = redirectTable(o.family, at);
  return call(input_acl_set_interface, aclOf(o, at, index, is_add), toleratedOf(is_add));
}

function protocolAcl(o: ObjectOf<'protocol_acl'>, at: Handles, is_add: boolean): Call {
  const index = at.of({ kind: 'protocol_table', family: o.family });
  return call(output_acl_set_interface, aclOf(o, at, index, is_add), toleratedOf(is_add));
}

function aclOf(
  o: ObjectOf<'redirect_acl' | 'protocol_acl'>,
  at: Handles,
  index: number,
  is_add: boolean,
): output_acl_set_interface {
  return {
    sw_if_index: at.interface(o.interface),
    ip4_table_index: o.family === 4 ? index : no_interface,
    ip6_table_index: o.family === 6 ? index : no_interface,
    l2_table_index: no_interface,
    is_add,
  };
}

const toleratedOf = (is_add: boolean) => ({ tolerated: is_add ? [] : [acl_not_set] });
