import {
  bool,
  bytes,
  f32,
  type Input,
  ipv4,
  mac,
  message,
  type Output,
  required,
  sized,
  u8,
  u16,
  u32,
  union,
} from '../schema.js';

/** Extended communities (RFC 4360): eight bytes, told apart by GoBGP. Those not listed come as `unknown`. */

const TwoOctetAs = message('TwoOctetAsSpecificExtended', {
  is_transitive: required(1, bool),
  sub_type: required(2, u8),
  asn: required(3, u16),
  local_admin: required(4, u32),
});

const FourOctetAs = message('FourOctetAsSpecificExtended', {
  is_transitive: required(1, bool),
  sub_type: required(2, u8),
  asn: required(3, u32),
  local_admin: required(4, u16),
});

const AddressSpecific = message('IPv4AddressSpecificExtended', {
  is_transitive: required(1, bool),
  sub_type: required(2, u8),
  address: required(3, ipv4),
  local_admin: required(4, u16),
});

/** Sub-type 2 is a route target, 3 a route origin. */
export const ExtendedCommunity = union('ExtendedCommunity', {
  /** One that GoBGP itself does not know. */
  unrecognized: [
    1,
    'UnknownExtended',
    message('UnknownExtended', { type_code: required(1, u8), value: required(2, sized(7)) }),
  ],
  two_octet_as_specific: [2, 'TwoOctetAsSpecificExtended', TwoOctetAs],
  ipv4_address_specific: [3, 'IPv4AddressSpecificExtended', AddressSpecific],
  four_octet_as_specific: [4, 'FourOctetAsSpecificExtended', FourOctetAs],
  /** `bandwidth` in bytes per second. */
  link_bandwidth: [
    5,
    'LinkBandwidthExtended',
    message('LinkBandwidthExtended', { asn: required(1, u16), bandwidth: required(2, f32) }),
  ],
  validation: [6, 'ValidationExtended', message('ValidationExtended', { state: required(1, u8) })],
  color: [7, 'ColorExtended', message('ColorExtended', { color: required(1, u32) })],
  encap: [8, 'EncapExtended', message('EncapExtended', { tunnel_type: required(1, u16) })],
  default_gateway: [9, 'DefaultGatewayExtended', message('DefaultGatewayExtended', {})],
  opaque: [
    10,
    'OpaqueExtended',
    message('OpaqueExtended', { is_transitive: required(1, bool), value: required(3, bytes) }),
  ],
  router_mac: [14, 'RouterMacExtended', message('RouterMacExtended', { mac: required(1, mac) })],
});
export type ExtendedCommunity = Output<typeof ExtendedCommunity>;
export type ExtendedCommunityInput = Input<typeof ExtendedCommunity>;
