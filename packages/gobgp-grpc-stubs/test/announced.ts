import { type AttributeInput, families, type PathInput } from '../src/index.js';

/** A path of each family, with every attribute that is described, and what arrives of it at an iBGP peer. */

const { ipv4_unicast, ipv6_unicast, ipv4_vpn, ipv6_vpn, ipv4_sr_policy, ipv6_sr_policy } = families;
export const all_families = Object.values(families);
export const asn = 65001;

const rd = { type: 'two_octet_asn', admin: asn, assigned: 4096 } as const;
const sid = Uint8Array.from([0xfc, 0xdd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4]);
const binding = Uint8Array.from([0xca, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const endpoint6 = Uint8Array.from([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/** What every path below has; iBGP passes it on as it is. */
const common: readonly AttributeInput[] = [
  { type: 'origin', origin: 2 },
  { type: 'as_path', segments: [{ type: 'sequence', numbers: [65010, 4200000001] }] },
  { type: 'multi_exit_disc', med: 50 },
  { type: 'local_pref', local_pref: 2147482623 },
  { type: 'communities', communities: [asn * 2 ** 16 + 100] },
  {
    type: 'extended_communities',
    communities: [
      { type: 'two_octet_as_specific', is_transitive: true, sub_type: 2, asn, local_admin: 100 },
      {
        type: 'ipv4_address_specific',
        is_transitive: true,
        sub_type: 2,
        address: '192.0.2.1',
        local_admin: 7,
      },
      { type: 'color', color: 300 },
    ],
  },
  {
    type: 'large_communities',
    communities: [{ global_admin: asn, local_data1: 1, local_data2: 4294967295 }],
  },
];

const nextHop: AttributeInput = { type: 'next_hop', next_hop: '192.0.2.1' };
const mpReach = (family: (typeof all_families)[number], nlri: PathInput['nlri']): AttributeInput => ({
  type: 'mp_reach',
  family,
  next_hops: ['2001:db8::1'],
  nlris: [nlri],
});

export const prefix4 = { type: 'prefix', prefix_len: 24, prefix: '10.1.2.0' } as const;
export const prefix6 = { type: 'prefix', prefix_len: 64, prefix: '2001:db8:1::' } as const;
const vpn4 = { type: 'labeled_vpn_ip_prefix', rd, prefix_len: 32, prefix: '10.9.0.1' } as const;
const vpn6 = {
  type: 'labeled_vpn_ip_prefix',
  rd: { type: 'four_octet_asn', admin: 4200000000, assigned: 5 },
  prefix_len: 128,
  prefix: '2001:db8:9::1',
} as const;
const sr6 = { type: 'sr_policy', distinguisher: 0, color: 6, endpoint: endpoint6 } as const;
const sr4 = {
  type: 'sr_policy',
  length: 96,
  distinguisher: 7,
  color: 4,
  endpoint: Uint8Array.of(192, 0, 2, 1),
} as const;

const tunnel: AttributeInput = {
  type: 'tunnel_encap',
  tlvs: [
    {
      type: 15,
      tlvs: [
        { type: 'sr_binding_sid', bsid: { type: 'sr_binding_sid', s_flag: true, sid: binding } },
        { type: 'sr_preference', preference: 11 },
        { type: 'sr_priority', priority: 10 },
        {
          type: 'sr_segment_list',
          weight: { weight: 12 },
          segments: [
            {
              type: 'b',
              flags: { s_flag: true },
              sid,
              endpoint_behavior_structure: { behavior: 'end_dt4' },
            },
          ],
        },
      ],
    },
  ],
};

export interface Announced {
  readonly path: PathInput;
  /** Where what comes back is not what was sent. */
  readonly arrives?: object;
}

export const announced: readonly Announced[] = [
  { path: { family: ipv4_unicast, nlri: prefix4, pattrs: [...common, nextHop] } },
  { path: { family: ipv6_unicast, nlri: prefix6, pattrs: [...common, mpReach(ipv6_unicast, prefix6)] } },
  { path: { family: ipv4_vpn, nlri: vpn4, pattrs: [...common, nextHop] }, arrives: { ...vpn4, labels: [0] } },
  {
    path: { family: ipv6_vpn, nlri: vpn6, pattrs: [...common, mpReach(ipv6_vpn, vpn6)] },
    arrives: { ...vpn6, labels: [0] },
  },
  {
    path: { family: ipv4_sr_policy, nlri: sr4, pattrs: [...common, nextHop, tunnel] },
    arrives: { type: 'sr_policy', distinguisher: 7, color: 4, endpoint: sr4.endpoint },
  },
  {
    path: { family: ipv6_sr_policy, nlri: sr6, pattrs: [...common, mpReach(ipv6_sr_policy, sr6), tunnel] },
    arrives: { type: 'sr_policy', distinguisher: 0, color: 6, endpoint: endpoint6 },
  },
];
