import {
  address,
  bool,
  bytes,
  fixed,
  type Input,
  inline,
  many,
  message,
  type Output,
  optional,
  required,
  sized,
  text,
  u32,
  union,
} from '../schema.js';

/** Segment routing: the sub-TLVs of a tunnel encapsulation (RFC 9012, RFC 9830), and the prefix SID (RFC 9252). */

export const SRv6Behavior = fixed({
  reserved: 0,
  end: 1,
  end_with_psp: 2,
  end_with_usp: 3,
  end_with_psp_usp: 4,
  endx: 5,
  endx_with_psp: 6,
  endx_with_usp: 7,
  endx_with_psp_usp: 8,
  endt: 9,
  endt_with_psp: 10,
  endt_with_usp: 11,
  endt_with_psp_usp: 12,
  end_b6_encaps: 14,
  end_bm: 15,
  end_dx6: 16,
  end_dx4: 17,
  end_dt6: 18,
  end_dt4: 19,
  end_dt46: 20,
  end_dx2: 21,
  end_dx2v: 22,
  end_dt2u: 23,
  end_dt2m: 24,
  end_b6_encaps_red: 27,
  end_with_usd: 28,
  end_with_psp_usd: 29,
  end_with_usp_usd: 30,
  end_with_psp_usp_usd: 31,
  endx_with_usd: 32,
  endx_with_psp_usd: 33,
  endx_with_usp_usd: 34,
  endx_with_psp_usp_usd: 35,
  endt_with_usd: 36,
  endt_with_psp_usd: 37,
  endt_with_usp_usd: 38,
  endt_with_psp_usp_usd: 39,
});

const EndpointBehavior = message('SRv6EndPointBehavior', {
  behavior: required(1, SRv6Behavior),
  /** Lengths in bits. */
  block_len: optional(2, u32),
  node_len: optional(3, u32),
  func_len: optional(4, u32),
  arg_len: optional(5, u32),
});

export const BindingSid = union('BindingSID', {
  sr_binding_sid: [
    1,
    'SRBindingSID',
    message('SRBindingSID', {
      s_flag: optional(1, bool),
      i_flag: optional(2, bool),
      sid: required(3, bytes),
    }),
  ],
  srv6_binding_sid: [
    2,
    'SRv6BindingSID',
    message('SRv6BindingSID', {
      s_flag: optional(1, bool),
      i_flag: optional(2, bool),
      b_flag: optional(3, bool),
      sid: required(4, sized(16)),
      endpoint_behavior_structure: optional(5, EndpointBehavior),
    }),
  ],
});

const SegmentFlags = message('SegmentFlags', {
  v_flag: optional(1, bool),
  a_flag: optional(2, bool),
  s_flag: optional(3, bool),
  b_flag: optional(4, bool),
});

/** Type A is an MPLS label, B an SRv6 SID of 16 bytes. Without flags 3.x dies, as it does of a list without weight. */
export const Segment = union('Segment', {
  a: [
    1,
    'SegmentTypeA',
    message('SegmentTypeA', { flags: required(1, SegmentFlags), label: required(2, u32) }),
  ],
  b: [
    2,
    'SegmentTypeB',
    message('SegmentTypeB', {
      flags: required(1, SegmentFlags),
      sid: required(2, sized(16)),
      endpoint_behavior_structure: optional(3, EndpointBehavior),
    }),
  ],
});
export type Segment = Output<typeof Segment>;
export type SegmentInput = Input<typeof Segment>;

export const TunnelSubTlv = union('TunnelEncapSubTLV', {
  /** One that GoBGP itself does not know. */
  unrecognized: [
    1,
    'TunnelEncapSubTLVUnknown',
    message('TunnelEncapSubTLVUnknown', { type_code: required(1, u32), value: required(2, bytes) }),
  ],
  encapsulation: [
    2,
    'TunnelEncapSubTLVEncapsulation',
    message('TunnelEncapSubTLVEncapsulation', { key: required(1, u32), cookie: optional(2, bytes) }),
  ],
  protocol: [
    3,
    'TunnelEncapSubTLVProtocol',
    message('TunnelEncapSubTLVProtocol', { protocol: required(1, u32) }),
  ],
  color: [4, 'TunnelEncapSubTLVColor', message('TunnelEncapSubTLVColor', { color: required(1, u32) })],
  egress_endpoint: [
    5,
    'TunnelEncapSubTLVEgressEndpoint',
    message('TunnelEncapSubTLVEgressEndpoint', { address: required(1, address) }),
  ],
  udp_dest_port: [
    6,
    'TunnelEncapSubTLVUDPDestPort',
    message('TunnelEncapSubTLVUDPDestPort', { port: required(1, u32) }),
  ],
  sr_preference: [
    7,
    'TunnelEncapSubTLVSRPreference',
    message('TunnelEncapSubTLVSRPreference', { flags: optional(1, u32), preference: required(2, u32) }),
  ],
  sr_priority: [
    8,
    'TunnelEncapSubTLVSRPriority',
    message('TunnelEncapSubTLVSRPriority', { priority: required(1, u32) }),
  ],
  sr_candidate_path_name: [
    9,
    'TunnelEncapSubTLVSRCandidatePathName',
    message('TunnelEncapSubTLVSRCandidatePathName', { candidate_path_name: required(1, text) }),
  ],
  sr_enlp: [
    10,
    'TunnelEncapSubTLVSRENLP',
    message('TunnelEncapSubTLVSRENLP', { flags: optional(1, u32), enlp: required(2, u32) }),
  ],
  sr_binding_sid: [
    11,
    'TunnelEncapSubTLVSRBindingSID',
    message('TunnelEncapSubTLVSRBindingSID', { bsid: inline(1, BindingSid) }),
  ],
  sr_segment_list: [
    12,
    'TunnelEncapSubTLVSRSegmentList',
    message('TunnelEncapSubTLVSRSegmentList', {
      weight: required(1, message('SRWeight', { flags: optional(1, u32), weight: required(2, u32) })),
      segments: many(2, Segment),
    }),
  ],
});
export type TunnelSubTlv = Output<typeof TunnelSubTlv>;
export type TunnelSubTlvInput = Input<typeof TunnelSubTlv>;

/** A map of protobuf, as it is on the wire: the key is the type code of what stands below it. */
const table = <K extends Parameters<typeof many>[1]>(name: string, element: K) => {
  const entry = message(`${name} entry`, {
    key: required(1, u32),
    value: required(2, message(name, { tlvs: many(1, element) })),
  });
  return entry;
};

const SidStructure = message('SRv6StructureSubSubTLV', {
  locator_block_length: required(1, u32),
  locator_node_length: required(2, u32),
  function_length: required(3, u32),
  argument_length: required(4, u32),
  transposition_length: required(5, u32),
  transposition_offset: required(6, u32),
});

const SubSubTlv = union('SRv6SubSubTLV', { structure: [1, 'SRv6StructureSubSubTLV', SidStructure] });

const SubTlv = union('SRv6SubTLV', {
  information: [
    1,
    'SRv6InformationSubTLV',
    message('SRv6InformationSubTLV', {
      sid: required(1, sized(16)),
      flags: optional(2, message('SRv6SIDFlags', { flag_1: optional(1, bool) })),
      /** IANA's code of the behaviour, e.g. 19 for End.DT4. */
      endpoint_behavior: required(3, u32),
      sub_sub_tlvs: many(4, table('SRv6SubSubTLVs', SubSubTlv)),
    }),
  ],
});

const service = (name: string) => message(name, { sub_tlvs: many(1, table('SRv6SubTLVs', SubTlv)) });

export const PrefixSidTlv = union('PrefixSID', {
  l3_service: [3, 'SRv6L3ServiceTLV', service('SRv6L3ServiceTLV')],
  l2_service: [4, 'SRv6L2ServiceTLV', service('SRv6L2ServiceTLV')],
});
export type PrefixSidTlv = Output<typeof PrefixSidTlv>;
export type PrefixSidTlvInput = Input<typeof PrefixSidTlv>;
