import {
  address,
  bytes,
  fixed,
  type Input,
  ipv4,
  many,
  message,
  type Output,
  required,
  u8,
  u32,
  union,
} from '../schema.js';
import { ExtendedCommunity } from './extended-community.js';
import { Family } from './family.js';
import { Nlri } from './nlri.js';
import { PrefixSidTlv, TunnelSubTlv } from './sr.js';

/** Path attributes. Those of flow specification, EVPN, link state and AIGP come as `unknown`. */

/** The type codes that GoBGP decodes. An attribute of one of them that is given to it undecoded is its death. */
const known_codes: ReadonlySet<number> = new Set([
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 22, 23, 25, 26, 29, 32, 40,
]);

export const AsSegmentType = fixed({
  unspecified: 0,
  set: 1,
  sequence: 2,
  confed_sequence: 3,
  confed_set: 4,
});

const AsPath = (name: string) =>
  message(name, {
    segments: many(1, message('AsSegment', { type: required(1, AsSegmentType), numbers: many(2, u32) })),
  });

const LargeCommunity = message('LargeCommunity', {
  global_admin: required(1, u32),
  local_data1: required(2, u32),
  local_data2: required(3, u32),
});

export const MpReachNlri = message('MpReachNLRIAttribute', {
  family: required(1, Family),
  next_hops: many(2, address),
  nlris: many(3, Nlri),
});

export const Attribute = union('Attribute', {
  /** One that GoBGP itself does not know: its flags and type code (RFC 4271, 4.3), and its value. */
  unrecognized: [
    1,
    'UnknownAttribute',
    message(
      'UnknownAttribute',
      { flags: required(1, u8), type_code: required(2, u8), value: required(3, bytes) },
      ({ type_code }) =>
        known_codes.has(type_code)
          ? `GoBGP knows attributes of type code ${type_code}: it has to be sent as what it is`
          : undefined,
    ),
  ],
  /** 0 IGP, 1 EGP, 2 incomplete. */
  origin: [2, 'OriginAttribute', message('OriginAttribute', { origin: required(1, u8) })],
  as_path: [3, 'AsPathAttribute', AsPath('AsPathAttribute')],
  next_hop: [4, 'NextHopAttribute', message('NextHopAttribute', { next_hop: required(1, address) })],
  multi_exit_disc: [
    5,
    'MultiExitDiscAttribute',
    message('MultiExitDiscAttribute', { med: required(1, u32) }),
  ],
  local_pref: [6, 'LocalPrefAttribute', message('LocalPrefAttribute', { local_pref: required(1, u32) })],
  atomic_aggregate: [7, 'AtomicAggregateAttribute', message('AtomicAggregateAttribute', {})],
  aggregator: [
    8,
    'AggregatorAttribute',
    message('AggregatorAttribute', { asn: required(1, u32), address: required(2, ipv4) }),
  ],
  /** The AS in the upper sixteen bits, its value in the lower. */
  communities: [9, 'CommunitiesAttribute', message('CommunitiesAttribute', { communities: many(1, u32) })],
  originator_id: [10, 'OriginatorIdAttribute', message('OriginatorIdAttribute', { id: required(1, ipv4) })],
  cluster_list: [11, 'ClusterListAttribute', message('ClusterListAttribute', { ids: many(1, ipv4) })],
  mp_reach: [12, 'MpReachNLRIAttribute', MpReachNlri],
  mp_unreach: [
    13,
    'MpUnreachNLRIAttribute',
    message('MpUnreachNLRIAttribute', { family: required(1, Family), nlris: many(3, Nlri) }),
  ],
  extended_communities: [
    14,
    'ExtendedCommunitiesAttribute',
    message('ExtendedCommunitiesAttribute', { communities: many(1, ExtendedCommunity) }),
  ],
  as4_path: [15, 'As4PathAttribute', AsPath('As4PathAttribute')],
  as4_aggregator: [
    16,
    'As4AggregatorAttribute',
    message('As4AggregatorAttribute', { asn: required(2, u32), address: required(3, ipv4) }),
  ],
  /** Tunnels by type: 15 is an SR policy. */
  tunnel_encap: [
    18,
    'TunnelEncapAttribute',
    message('TunnelEncapAttribute', {
      tlvs: many(1, message('TunnelEncapTLV', { type: required(1, u32), tlvs: many(2, TunnelSubTlv) })),
    }),
  ],
  large_communities: [
    21,
    'LargeCommunitiesAttribute',
    message('LargeCommunitiesAttribute', { communities: many(1, LargeCommunity) }),
  ],
  prefix_sid: [23, 'PrefixSID', message('PrefixSID', { tlvs: many(1, PrefixSidTlv) })],
});
export type Attribute = Output<typeof Attribute>;
export type AttributeInput = Input<typeof Attribute>;
