import { readFileSync } from 'node:fs';
import t from 'tap';
import { AddPathStreamRequest } from '../src/api/path.js';
import { Codec } from '../src/codec.js';
import { families, Path, rpcs } from '../src/index.js';
import type { Input, Message } from '../src/schema.js';
import type { Dialect } from '../src/version.js';

/** Bytes as GoBGP's own stubs write them, beside what they mean: `fixtures/make-vectors.go` made them. */
const vectors: Readonly<Record<Dialect, Readonly<Record<string, string>>>> = JSON.parse(
  readFileSync(new URL('../../test/fixtures/vectors.json', import.meta.url), 'utf8'),
);

const endpoint = Uint8Array.from([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const sid = Uint8Array.from([0xfc, 0xdd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4]);
const { ipv4_unicast, ipv6_unicast, ipv4_vpn, ipv6_sr_policy } = families;
const prefix = { type: 'prefix', prefix_len: 24, prefix: '10.1.2.0' } as const;
const prefix6 = { type: 'prefix', prefix_len: 64, prefix: '2001:db8:1::' } as const;

interface Vector {
  readonly name: string;
  readonly message: Message;
  readonly value: unknown;
  /** Where GoBGP says something that nobody would send. */
  readonly decodeOnly?: true;
}

const vector = <M extends Message>(name: string, message: M, value: Input<M>): Vector => ({
  name,
  message,
  value,
});

type Rd = Extract<Input<typeof Path>['nlri'], { type: 'labeled_vpn_ip_prefix' }>['rd'];
const vpn = (name: string, rd: Rd): Vector =>
  vector(`path of a VPN, ${name}`, Path, {
    family: ipv4_vpn,
    nlri: { type: 'labeled_vpn_ip_prefix', labels: [16], rd, prefix_len: 32, prefix: '10.1.2.3' },
  });

const vectorsOf = (dialect: Dialect): readonly Vector[] => [
  vector('path with the attributes of unicast', Path, {
    family: ipv4_unicast,
    nlri: prefix,
    pattrs: [
      { type: 'origin', origin: 2 },
      {
        type: 'as_path',
        segments: [
          { type: 'sequence', numbers: [65001, 4200000000] },
          { type: 'set', numbers: [1] },
        ],
      },
      { type: 'next_hop', next_hop: '192.0.2.1' },
      { type: 'multi_exit_disc', med: 50 },
      { type: 'local_pref', local_pref: 2147482623 },
      { type: 'atomic_aggregate' },
      { type: 'aggregator', asn: 65001, address: '192.0.2.9' },
      { type: 'communities', communities: [65001 * 2 ** 16 + 100, 0xffffff01] },
      { type: 'originator_id', id: '192.0.2.2' },
      { type: 'cluster_list', ids: ['1.1.1.1', '2.2.2.2'] },
      {
        type: 'large_communities',
        communities: [{ global_admin: 1, local_data1: 2, local_data2: 4294967295 }],
      },
    ],
  }),
  vector('path with extended communities', Path, {
    family: ipv4_unicast,
    nlri: prefix,
    pattrs: [
      {
        type: 'extended_communities',
        communities: [
          { type: 'two_octet_as_specific', is_transitive: true, sub_type: 2, asn: 65001, local_admin: 100 },
          {
            type: 'ipv4_address_specific',
            is_transitive: true,
            sub_type: 3,
            address: '192.0.2.1',
            local_admin: 7,
          },
          {
            type: 'four_octet_as_specific',
            is_transitive: false,
            sub_type: 2,
            asn: 4200000000,
            local_admin: 1,
          },
          { type: 'link_bandwidth', asn: 65001, bandwidth: 1.25e9 },
          { type: 'validation', state: 2 },
          { type: 'color', color: 300 },
          { type: 'encap', tunnel_type: 15 },
          { type: 'default_gateway' },
          { type: 'opaque', is_transitive: true, value: Uint8Array.of(1, 2, 3) },
          { type: 'router_mac', mac: '02:00:00:00:00:01' },
          { type: 'unrecognized', type_code: 0x83, value: Uint8Array.of(9, 8, 7, 6, 5, 4, 3) },
        ],
      },
    ],
  }),
  vector('path of IPv6 unicast', Path, {
    family: ipv6_unicast,
    nlri: prefix6,
    pattrs: [
      { type: 'origin', origin: 0 },
      { type: 'mp_reach', family: ipv6_unicast, next_hops: ['2001:db8::1'], nlris: [prefix6] },
    ],
  }),
  vpn('two octets of AS', { type: 'two_octet_asn', admin: 65001, assigned: 4096 }),
  vpn('an address', { type: 'ip_address', admin: '192.0.2.1', assigned: 4 }),
  vpn('four octets of AS', { type: 'four_octet_asn', admin: 4200000000, assigned: 5 }),
  vector('path of an SR policy', Path, {
    family: ipv6_sr_policy,
    nlri: { type: 'sr_policy', distinguisher: 0, color: 6, endpoint },
    pattrs: [
      {
        type: 'tunnel_encap',
        tlvs: [
          {
            type: 15,
            tlvs: [
              { type: 'sr_binding_sid', bsid: { type: 'sr_binding_sid', s_flag: true, sid } },
              {
                type: 'sr_binding_sid',
                bsid: {
                  type: 'srv6_binding_sid',
                  b_flag: true,
                  sid,
                  endpoint_behavior_structure: { behavior: 'end_dt6' },
                },
              },
              {
                type: 'sr_segment_list',
                weight: { weight: 12 },
                segments: [
                  {
                    type: 'b',
                    flags: { s_flag: true },
                    sid,
                    endpoint_behavior_structure: { behavior: 'end_dt4', block_len: 40 },
                  },
                  { type: 'a', flags: {}, label: 16 },
                ],
              },
              { type: 'sr_preference', preference: 11 },
              { type: 'sr_priority', priority: 10 },
              { type: 'sr_candidate_path_name', candidate_path_name: 'cp' },
              { type: 'color', color: 6 },
              { type: 'unrecognized', type_code: 200, value: Uint8Array.of(5) },
            ],
          },
        ],
      },
    ],
  }),
  vector('path with a prefix SID', Path, {
    family: ipv4_unicast,
    nlri: prefix,
    pattrs: [
      {
        type: 'prefix_sid',
        tlvs: [
          {
            type: 'l3_service',
            sub_tlvs: [
              {
                key: 1,
                value: {
                  tlvs: [
                    {
                      type: 'information',
                      sid,
                      flags: {},
                      endpoint_behavior: 19,
                      sub_sub_tlvs: [
                        {
                          key: 1,
                          value: {
                            tlvs: [
                              {
                                type: 'structure',
                                locator_block_length: 40,
                                locator_node_length: 24,
                                function_length: 16,
                                argument_length: 0,
                                transposition_length: 16,
                                transposition_offset: 64,
                              },
                            ],
                          },
                        },
                      ],
                    },
                  ],
                },
              },
            ],
          },
        ],
      },
    ],
  }),
  vector('path with what is not described here', Path, {
    family: { afi: 'opaque', safi: 'key_value' },
    // OpaqueNLRI: key 1, value 2, a byte each.
    nlri: {
      type: 'unknown',
      tag: dialect === 3 ? 'apipb.OpaqueNLRI' : '15',
      bytes: Uint8Array.of(0x0a, 1, 1, 0x12, 1, 2),
    },
    pattrs: [
      { type: 'unrecognized', flags: 0xc0, type_code: 99, value: Uint8Array.of(1, 2, 3) },
      // PmsiTunnelAttribute: flags 1, type 6, label 16.
      {
        type: 'unknown',
        tag: dialect === 3 ? 'apipb.PmsiTunnelAttribute' : '17',
        bytes: Uint8Array.of(8, 1, 16, 6, 24, 16),
      },
      { type: 'origin', origin: 1 },
    ],
  }),
  {
    // The source is `<nil>` in 3.x and `invalid IP` in 4.x, the neighbour `<nil>` in 3.x and left out in 4.x.
    decodeOnly: true,
    ...vector('path as gobgpd tells it', Path, {
      family: ipv4_unicast,
      nlri: prefix,
      age: 1700000000250,
      best: true,
      is_withdraw: true,
      validation: { state: 'invalid', reason: 'length' },
      source_asn: 65002,
      source_id: '',
      filtered: true,
      stale: true,
      is_from_external: true,
      neighbor_ip: '',
      uuid: Uint8Array.of(1, 2, 3, 4),
      is_nexthop_invalid: true,
      identifier: 7,
      local_identifier: 8,
      nlri_binary: Uint8Array.of(24, 10, 1, 2),
      pattrs_binary: [Uint8Array.of(1), Uint8Array.of(2, 3)],
      send_max_filtered: true,
    }),
  },
  {
    decodeOnly: true,
    ...vector('peer', rpcs.addPeer.request, {
      peer: {
        conf: {
          auth_password: 'hush',
          description: 'tor',
          local_asn: 65001,
          neighbor_address: '192.0.2.7',
          peer_asn: 4200000000,
          type: 'external',
          remove_private: 'replace',
          allow_own_asn: 2,
          admin_down: true,
          send_software_version: true,
          allow_aspath_loop_local: true,
        },
        ebgp_multihop: { enabled: true, multihop_ttl: 255 },
        route_reflector: { route_reflector_client: true, route_reflector_cluster_id: '1.2.3.4' },
        apply_policy: {
          export_policy: { name: 'e', direction: 'export', default_action: 'reject' },
          import_policy: { name: 'i', direction: 'import', default_action: 'accept' },
        },
        state: {
          session_state: 'established',
          admin_state: 'pfx_ct',
          neighbor_address: '',
          flops: 3,
          router_id: '192.0.2.7',
          remote_cap: [
            { type: 'route_refresh' },
            { type: 'multi_protocol', family: ipv4_unicast },
            {
              type: 'graceful_restart',
              flags: 4,
              time: 120,
              tuples: [{ family: ipv6_unicast, flags: 0x80 }],
            },
            { type: 'add_path', tuples: [{ family: ipv4_unicast, mode: 'both' }] },
            { type: 'unrecognized', code: 66, value: Uint8Array.of(1, 2) },
          ],
          ...(dialect === 4 ? { disconnect_reason: 'bad_peer_as', disconnect_message: 'as' } : {}),
        },
        timers: {
          config: { connect_retry: 5, hold_time: 9, keepalive_interval: 3, idle_hold_time_after_reset: 1 },
          state: { negotiated_hold_time: 9, uptime: 1700000000500 },
        },
        transport: { local_address: '192.0.2.1', passive_mode: true, remote_port: 1790 },
        graceful_restart: {
          enabled: true,
          restart_time: 120,
          notification_enabled: true,
          longlived_enabled: true,
          peer_restarting: true,
        },
        afi_safis: [
          {
            mp_graceful_restart: { config: { enabled: true }, state: { end_of_rib_received: true } },
            config: { family: ipv4_unicast, enabled: true },
            state: { family: ipv4_unicast, received: 300, accepted: 299, advertised: 5000000000 },
            prefix_limits: { family: ipv4_unicast, max_prefixes: 1000, shutdown_threshold_pct: 80 },
            long_lived_graceful_restart: { config: { enabled: true, restart_time: 600 } },
            add_paths: { config: { receive: true, send_max: 4 } },
          },
        ],
        ttl_security: { enabled: true, ttl_min: 254 },
      },
    }),
  },
  vector('global', rpcs.startBgp.request, {
    global: {
      asn: 4200000000,
      router_id: '192.0.2.1',
      listen_port: -1,
      listen_addresses: ['192.0.2.1', '2001:db8::1'],
      graceful_restart: { enabled: true, restart_time: 60 },
      bind_to_device: 'eth0',
    },
  }),
  vector('defined set', rpcs.addDefinedSet.request, {
    defined_set: { defined_type: 'large_community', name: 'l', list: ['1:2:3'] },
    replace: true,
  }),
  vector('prefix set', rpcs.deleteDefinedSet.request, {
    defined_set: {
      defined_type: 'prefix',
      name: 'p',
      prefixes: [{ ip_prefix: '10.0.0.0/8', mask_length_min: 8, mask_length_max: 32 }],
    },
    all: true,
  }),
  vector('policy', rpcs.setPolicies.request, {
    policies: [
      {
        name: 'export',
        statements: [
          {
            name: 's',
            conditions: {
              prefix_set: { type: 'invert', name: 'p' },
              neighbor_set: { type: 'any', name: 'n' },
              as_path_length: { type: 'ge', length: 2 },
              community_set: { type: 'all', name: 'c' },
              rpki_result: 'invalid',
              route_type: 'local',
              next_hop_in_list: ['192.0.2.1'],
              afi_safi_in: [ipv4_vpn],
              community_count: { type: 'le', count: 4 },
              origin: 'egp',
              ...(dialect === 4 ? { local_pref_eq: { value: 100 }, med_eq: { value: 5 } } : {}),
            },
            actions: {
              route_action: 'reject',
              community: { type: 'add', communities: ['65001:1'] },
              med: { type: 'mod', value: -5 },
              as_prepend: { asn: 65001, repeat: 3, use_left_most: true },
              nexthop: { self: true },
              local_pref: { value: 200 },
              large_community: { type: 'replace', communities: ['1:2:3'] },
              origin_action: { origin: 'igp' },
            },
          },
        ],
      },
    ],
  }),
  vector('assignment', rpcs.setPolicyAssignment.request, {
    assignment: {
      name: 'global',
      direction: 'export',
      policies: [{ name: 'export' }],
      default_action: 'reject',
    },
  }),
  vector('list path', rpcs.listPath.request, {
    table_type: 'adj_in',
    name: '192.0.2.7',
    family: ipv4_unicast,
    prefixes: [{ prefix: '10.0.0.0/8', type: 'longer' }],
    enable_filtered: true,
    enable_only_binary: true,
    batch_size: 100,
  }),
  // What is not given is the zero of 3.x, which 4.x has to be told.
  vector('list path, plain', rpcs.listPath.request, {
    family: ipv4_unicast,
    prefixes: [{ prefix: '10.0.0.0/8' }],
  }),
  vector('delete path', rpcs.deletePath.request, { family: ipv4_unicast, uuid: Uint8Array.of(9, 9) }),
  vector('reset peer', rpcs.resetPeer.request, {
    address: '192.0.2.7',
    communication: 'bye',
    soft: true,
    direction: 'both',
  }),
  vector('log level', rpcs.setLogLevel.request, { level: 'debug' }),
  vector('watch', rpcs.watchEvent.request, {
    peer: {},
    table: {
      filters: [
        { type: 'best', init: true },
        { type: 'eor', peer_address: '192.0.2.7' },
      ],
    },
    batch_size: 1000,
  }),
  vector('event of a peer', rpcs.watchEvent.response, {
    peer: { type: 'state', peer: { state: { session_state: 'active' } } },
  }),
];

for (const dialect of [3, 4] as const) {
  const codec = new Codec({ major: dialect, minor: 99 });
  t.test(`messages of ${dialect}.x are those of GoBGP's own stubs`, async (t) => {
    const cases = vectorsOf(dialect);
    for (const { name, message, value, decodeOnly } of cases) {
      const hex = vectors[dialect][name]!;
      t.match(codec.decode(message, Buffer.from(hex, 'hex')), value as object, `decode: ${name}`);
      if (decodeOnly !== true)
        t.equal(codec.encode(message, value).bytes.toString('hex'), hex, `encode: ${name}`);
    }
    const told = [...cases.map(({ name }) => name), 'event of paths'];
    t.strictSame(told.sort(), Object.keys(vectors[dialect]).sort(), 'every vector has its meaning');
  });

  t.test(`what ${dialect}.x says can be said back`, async (t) => {
    for (const { name, message } of vectorsOf(dialect)) {
      const hex = vectors[dialect][name]!;
      const said = codec.decode(message, Buffer.from(hex, 'hex'));
      const again = codec.decode(message, codec.encode(message, said).bytes);
      t.strictSame(again, said, name);
    }
  });

  t.test(`paths of an event of ${dialect}.x are decoded one by one`, async (t) => {
    const bytes = Buffer.from(vectors[dialect]['event of paths']!, 'hex');
    const { table, peer } = codec.decode(rpcs.watchEvent.response, bytes) as EventOfPaths;
    t.equal(peer, undefined);
    const paths = table!.paths;
    t.equal(paths.length, 2);
    t.match(
      [...paths],
      [
        { nlri: prefix, family: ipv4_unicast },
        { nlri: { type: 'unknown', tag: '' }, family: ipv6_unicast, neighbor_ip: '192.0.2.7' },
      ],
    );
    t.match(paths.slice(1), [{ family: ipv6_unicast }]);
    t.same(paths.slice(2, 5), []);
    // A lazy list is a list, and can be sent; what is no path cannot.
    t.throws(() => codec.encode(AddPathStreamRequest, { paths }), { message: 'Path.nlri: is empty' });
    const [first] = paths.slice(0, 1);
    const { bytes: sent } = codec.encode(AddPathStreamRequest, { paths: [first] });
    t.match(codec.decode(AddPathStreamRequest, sent), { paths: [first] });
  });
}

type EventOfPaths = import('../src/schema.js').Output<typeof rpcs.watchEvent.response>;
