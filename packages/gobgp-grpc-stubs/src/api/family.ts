import { fixed, type Input, message, type Output, required } from '../schema.js';

/** Address family and subsequent address family: what routes a table or a session carries. Numbers are IANA's. */

export const Afi = fixed({ unspecified: 0, ip: 1, ip6: 2, l2vpn: 25, ls: 16388, opaque: 16397 });

export const Safi = fixed({
  unspecified: 0,
  unicast: 1,
  multicast: 2,
  mpls_label: 4,
  encapsulation: 7,
  vpls: 65,
  evpn: 70,
  ls: 71,
  sr_policy: 73,
  mup: 85,
  mpls_vpn: 128,
  mpls_vpn_multicast: 129,
  route_target_constraints: 132,
  flow_spec: 133,
  flow_spec_vpn: 134,
  key_value: 241,
});

export const Family = message('Family', { afi: required(1, Afi), safi: required(2, Safi) });
export type Family = Output<typeof Family>;
export type FamilyInput = Input<typeof Family>;

/** The families whose routes this package types. */
export const families = {
  ipv4_unicast: { afi: 'ip', safi: 'unicast' },
  ipv6_unicast: { afi: 'ip6', safi: 'unicast' },
  ipv4_vpn: { afi: 'ip', safi: 'mpls_vpn' },
  ipv6_vpn: { afi: 'ip6', safi: 'mpls_vpn' },
  ipv4_sr_policy: { afi: 'ip', safi: 'sr_policy' },
  ipv6_sr_policy: { afi: 'ip6', safi: 'sr_policy' },
} as const satisfies Record<string, Family>;
