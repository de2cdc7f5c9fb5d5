import { wrongPrefix } from '../prefix.js';
import {
  address,
  derived,
  type Input,
  ipv4,
  many,
  message,
  type Output,
  required,
  sized,
  u8,
  u16,
  u32,
  union,
} from '../schema.js';

/** What a route leads to. Families other than those of `families` come as `unknown`. */

/** Two octets of AS leave four for `assigned`; four, or an address, leave two. */
export const RouteDistinguisher = union('RouteDistinguisher', {
  two_octet_asn: [
    1,
    'RouteDistinguisherTwoOctetASN',
    message('RouteDistinguisherTwoOctetASN', { admin: required(1, u16), assigned: required(2, u32) }),
  ],
  ip_address: [
    2,
    'RouteDistinguisherIPAddress',
    message('RouteDistinguisherIPAddress', { admin: required(1, ipv4), assigned: required(2, u16) }),
  ],
  four_octet_asn: [
    3,
    'RouteDistinguisherFourOctetASN',
    message('RouteDistinguisherFourOctetASN', { admin: required(1, u32), assigned: required(2, u16) }),
  ],
});
export type RouteDistinguisher = Output<typeof RouteDistinguisher>;
export type RouteDistinguisherInput = Input<typeof RouteDistinguisher>;

/** 3.x takes any text and any length for a prefix. */
const prefix = ({ prefix, prefix_len }: { readonly prefix: string; readonly prefix_len: number }) =>
  wrongPrefix(prefix, prefix_len);

const IPAddressPrefix = message(
  'IPAddressPrefix',
  { prefix_len: required(1, u8), prefix: required(2, address) },
  prefix,
);

const LabeledIPAddressPrefix = message(
  'LabeledIPAddressPrefix',
  { labels: many(1, u32), prefix_len: required(2, u8), prefix: required(3, address) },
  prefix,
);

/** A route that was sent without labels comes back with the label 0. */
const LabeledVPNIPAddressPrefix = message(
  'LabeledVPNIPAddressPrefix',
  {
    labels: many(1, u32),
    rd: required(2, RouteDistinguisher),
    prefix_len: required(3, u8),
    prefix: required(4, address),
  },
  prefix,
);

/**
 * `endpoint` is an address, 4 or 16 bytes. The length follows from it: sent in bits, and told in bytes, so that a gobgpd that
 * is given its own word dies of it.
 */
const SRPolicyNLRI = message('SRPolicyNLRI', {
  length: derived(
    1,
    u32,
    ({ endpoint }: { readonly endpoint: Uint8Array }) => 64 + 8 * (endpoint?.length ?? 0),
  ),
  distinguisher: required(2, u32),
  color: required(3, u32),
  endpoint: required(4, sized(4, 16)),
});

export const Nlri = union('NLRI', {
  prefix: [1, 'IPAddressPrefix', IPAddressPrefix],
  labeled_prefix: [2, 'LabeledIPAddressPrefix', LabeledIPAddressPrefix],
  labeled_vpn_ip_prefix: [11, 'LabeledVPNIPAddressPrefix', LabeledVPNIPAddressPrefix],
  sr_policy: [17, 'SRPolicyNLRI', SRPolicyNLRI],
});
export type Nlri = Output<typeof Nlri>;
export type NlriInput = Input<typeof Nlri>;
