import { wrongPrefix } from '../prefix.js';
import {
  address,
  bool,
  fixed,
  type Input,
  i64,
  many,
  message,
  type Output,
  optional,
  prefix,
  required,
  shifted,
  text,
  u8,
  u32,
} from '../schema.js';
import { Family } from './family.js';
import { ValidationState } from './path.js';

/** Policies: sets, the statements that ask for them, and where a policy is in force. */

export const DefinedType = shifted(
  'prefix',
  'neighbor',
  'tag',
  'as_path',
  'community',
  'ext_community',
  'large_community',
  'next_hop',
);

/** Those of the prefix whose lengths are within both. GoBGP takes lengths that no prefix has, and matches nothing then. */
const Prefix = message(
  'Prefix',
  { ip_prefix: required(1, prefix), mask_length_min: required(2, u8), mask_length_max: required(3, u8) },
  ({ ip_prefix, mask_length_min: min, mask_length_max: max }) => {
    const [address = ''] = ip_prefix.split('/');
    if (min > max) return `${ip_prefix}: no length is from ${min} to ${max}`;
    return wrongPrefix(address, max);
  },
);

/**
 * `prefixes` of a prefix set, `list` of any other: neighbours as prefixes (`192.0.2.1/32`), communities and AS paths as
 * regular expressions.
 */
export const DefinedSet = message('DefinedSet', {
  defined_type: required(1, DefinedType),
  name: required(2, text),
  list: many(3, text),
  prefixes: many(4, Prefix),
});
export type DefinedSet = Output<typeof DefinedSet>;
export type DefinedSetInput = Input<typeof DefinedSet>;

const MatchSet = message('MatchSet', {
  type: required(1, shifted('any', 'all', 'invert')),
  name: required(2, text),
});

const Comparison = shifted('eq', 'ge', 'le');
const OriginType = fixed({ unspecified: 0, igp: 1, egp: 2, incomplete: 3 });

/** All of them have to hold. */
export const Conditions = message('Conditions', {
  prefix_set: optional(1, MatchSet),
  neighbor_set: optional(2, MatchSet),
  as_path_length: optional(
    3,
    message('AsPathLength', { type: required(1, Comparison), length: required(2, u32) }),
  ),
  as_path_set: optional(4, MatchSet),
  community_set: optional(5, MatchSet),
  ext_community_set: optional(6, MatchSet),
  rpki_result: optional(7, ValidationState),
  route_type: optional(8, fixed({ unspecified: 0, internal: 1, external: 2, local: 3 })),
  large_community_set: optional(9, MatchSet),
  next_hop_in_list: many(10, text),
  afi_safi_in: many(11, Family),
  community_count: optional(
    12,
    message('CommunityCount', { type: required(1, Comparison), count: required(2, u32) }),
    '3.26',
  ),
  origin: optional(13, OriginType, '3.28'),
  local_pref_eq: optional({ v4: 14 }, message('LocalPrefEq', { value: required(1, u32) })),
  med_eq: optional({ v4: 15 }, message('MedEq', { value: required(1, u32) })),
});
export type Conditions = Output<typeof Conditions>;
export type ConditionsInput = Input<typeof Conditions>;

/** With no action on the route, the next statement has its turn. */
export const RouteAction = fixed({ none: 0, accept: 1, reject: 2 });

const CommunityAction = message('CommunityAction', {
  type: required(1, shifted('add', 'remove', 'replace')),
  communities: many(2, text),
});

export const Actions = message('Actions', {
  route_action: optional(1, RouteAction),
  community: optional(2, CommunityAction),
  /** `mod` adds the value, which may be negative. */
  med: optional(
    3,
    message('MedAction', { type: required(1, shifted('mod', 'replace')), value: required(2, i64) }),
  ),
  as_prepend: optional(
    4,
    message('AsPrependAction', {
      asn: optional(1, u32),
      repeat: required(2, u32),
      use_left_most: optional(3, bool),
    }),
  ),
  ext_community: optional(5, CommunityAction),
  nexthop: optional(
    6,
    message('NexthopAction', {
      address: optional(1, address),
      self: optional(2, bool),
      unchanged: optional(3, bool),
      peer_address: optional(4, bool, '3.28'),
    }),
  ),
  local_pref: optional(7, message('LocalPrefAction', { value: required(1, u32) })),
  large_community: optional(8, CommunityAction),
  origin_action: optional(9, message('OriginAction', { origin: required(1, OriginType) }), '3.28'),
});
export type Actions = Output<typeof Actions>;
export type ActionsInput = Input<typeof Actions>;

/** Its name is unique over all policies. */
export const Statement = message('Statement', {
  name: required(1, text),
  conditions: optional(2, Conditions),
  actions: optional(3, Actions),
});
export type Statement = Output<typeof Statement>;
export type StatementInput = Input<typeof Statement>;

export const Policy = message('Policy', { name: required(1, text), statements: many(2, Statement) });
export type Policy = Output<typeof Policy>;
export type PolicyInput = Input<typeof Policy>;

export const PolicyDirection = fixed({ unspecified: 0, import: 1, export: 2 });

/** To `global`, or to a peer that is a route server's client. Of a policy the name is enough. */
export const PolicyAssignment = message('PolicyAssignment', {
  name: required(1, text),
  direction: required(2, PolicyDirection),
  policies: many(4, Policy),
  default_action: optional(5, RouteAction),
});
export type PolicyAssignment = Output<typeof PolicyAssignment>;
export type PolicyAssignmentInput = Input<typeof PolicyAssignment>;
