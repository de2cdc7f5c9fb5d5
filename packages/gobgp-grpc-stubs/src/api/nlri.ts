import {
  bytes,
  type Input,
  ipv4,
  many,
  message,
  type Output,
  required,
  text,
  u32,
  union,
} from '../schema.js';

/** What a route leads to. Families other than those of `families` come as `unknown`. */

const asnDistinguisher = (name: string) =>
  message(name, {
    admin: required(1, u32),
    assigned: required(2, u32),
  });

/** Two octets of AS leave four for `assigned`, four leave two, as an address does. */
export const RouteDistinguisher = union('RouteDistinguisher', {
  two_octet_asn: [1, 'RouteDistinguisherTwoOctetASN', asnDistinguisher('RouteDistinguisherTwoOctetASN')],
  ip_address: [
    2,
    'RouteDistinguisherIPAddress',
    message('RouteDistinguisherIPAddress', { admin: required(1, ipv4), assigned: required(2, u32) }),
  ],
  four_octet_asn: [3, 'RouteDistinguisherFourOctetASN', asnDistinguisher('RouteDistinguisherFourOctetASN')],
});
export type RouteDistinguisher = Output<typeof RouteDistinguisher>;
export type RouteDistinguisherInput = Input<typeof RouteDistinguisher>;

const IPAddressPrefix = message('IPAddressPrefix', {
  prefix_len: required(1, u32),
  prefix: required(2, text),
});

const LabeledIPAddressPrefix = message('LabeledIPAddressPrefix', {
  labels: many(1, u32),
  prefix_len: required(2, u32),
  prefix: required(3, text),
});

/** A route that was sent without labels comes back with the label 0. */
const LabeledVPNIPAddressPrefix = message('LabeledVPNIPAddressPrefix', {
  labels: many(1, u32),
  rd: required(2, RouteDistinguisher),
  prefix_len: required(3, u32),
  prefix: required(4, text),
});

/** `length` is sent in bits (96 or 192) and comes back as GoBGP has it. `endpoint` is an address, 4 or 16 bytes. */
const SRPolicyNLRI = message('SRPolicyNLRI', {
  length: required(1, u32),
  distinguisher: required(2, u32),
  color: required(3, u32),
  endpoint: required(4, bytes),
});

export const Nlri = union('NLRI', {
  prefix: [1, 'IPAddressPrefix', IPAddressPrefix],
  labeled_prefix: [2, 'LabeledIPAddressPrefix', LabeledIPAddressPrefix],
  labeled_vpn_ip_prefix: [11, 'LabeledVPNIPAddressPrefix', LabeledVPNIPAddressPrefix],
  sr_policy: [17, 'SRPolicyNLRI', SRPolicyNLRI],
});
export type Nlri = Output<typeof Nlri>;
export type NlriInput = Input<typeof Nlri>;
