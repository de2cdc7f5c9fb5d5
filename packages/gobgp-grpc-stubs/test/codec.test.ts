import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { Attribute } from '../src/api/attribute.js';
import { BriefReader } from '../src/brief.js';
import { Codec } from '../src/codec.js';
import {
  type AttributeInput,
  BriefPath,
  type ConditionsInput,
  type ExtendedCommunity,
  type FamilyInput,
  families,
  GobgpError,
  IncompatibleError,
  type Input,
  Lazy,
  MalformedError,
  type NlriInput,
  type Output,
  Path,
  parseVersion,
  type RouteDistinguisherInput,
  rpcs,
  type TunnelSubTlv,
} from '../src/index.js';
import {
  f32,
  i32,
  i64,
  type Message,
  many,
  message,
  optional,
  required,
  text,
  u32,
  u64,
} from '../src/schema.js';
import type { Dialect } from '../src/version.js';
import { Reader, Writer } from '../src/wire.js';

const { ipv4_unicast } = families;
const codecs = { 3: new Codec({ major: 3, minor: 37 }), 4: new Codec({ major: 4, minor: 8 }) } as const;
const dialects: readonly Dialect[] = [3, 4];

const path = (more: Partial<Input<typeof Path>> = {}): Input<typeof Path> => ({
  family: ipv4_unicast,
  nlri: { type: 'prefix', prefix_len: 24, prefix: '10.1.2.0' },
  ...more,
});

/** A message whose only field is a list of attributes. */
const Attributes = message('Attributes', { list: many(1, Attribute) });

t.test('numbers come back as they went, to the last bit that a double holds', async (t) => {
  const Numbers = message('Numbers', {
    u32: required(1, u32),
    u64: required(2, u64),
    i32: required(3, i32),
    i64: required(4, i64),
    f32: required(5, f32),
    list: many(6, u64),
  });
  const safe = fc.maxSafeInteger();
  fc.assert(
    fc.property(
      fc.record({
        u32: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        u64: fc.maxSafeNat(),
        i32: fc.integer(),
        i64: safe,
        f32: fc.float({ noNaN: true }).filter((value) => !Object.is(value, -0)),
        list: fc.array(fc.maxSafeNat()),
      }),
      (numbers) => {
        const { bytes } = codecs[3].encode(Numbers, numbers);
        assert.deepStrictEqual(codecs[3].decode(Numbers, bytes), { ...numbers });
      },
    ),
  );
  for (const edge of [
    0,
    1,
    127,
    128,
    2 ** 28 - 1,
    2 ** 28,
    2 ** 31,
    2 ** 32,
    2 ** 35,
    Number.MAX_SAFE_INTEGER,
  ]) {
    const writer = new Writer();
    writer.varint(edge);
    writer.signed(-edge);
    const reader = new Reader(writer.finish());
    t.strictSame([reader.varint(), reader.signed() + 0], [edge, 0 - edge]);
  }
  // What GoBGP writes unpacked is read as well.
  t.match(codecs[3].decode(Numbers, Buffer.from('300130ac02', 'hex')), { list: [1, 300] });
});

t.test('a value that its field cannot hold is refused, with the field and without its content', async (t) => {
  const M = message('M', {
    n: optional(1, u32),
    s: optional(2, i32),
    t: optional(3, text),
    list: many(4, text),
    f: optional(5, f32),
  });
  const wrong: readonly (readonly [unknown, string])[] = [
    [{ n: -1 }, 'M.n: -1 is not a whole number from 0 to 4294967295'],
    [{ n: 2 ** 32 }, 'M.n: 4294967296 is not a whole number from 0 to 4294967295'],
    [{ n: 1.5 }, 'M.n: 1.5 is not a whole number from 0 to 4294967295'],
    [{ s: 2 ** 31 }, 'M.s: 2147483648 is not a whole number from -2147483648 to 2147483647'],
    [{ t: 5 }, 'M.t: 5 is not text'],
    [{ list: 5 }, 'M.list: 5 is not a list'],
    [{ list: [5] }, 'M.list: 5 is not text'],
    [{ f: 'x' }, 'M.f: "x" is not a number'],
  ];
  for (const [value, text] of wrong)
    t.throws(() => codecs[3].encode(M, value), { name: 'MalformedError', message: text, grpc_code: 3 });

  const { request } = rpcs.addPeer;
  const refused: readonly (readonly [Message, unknown, string])[] = [
    [request, {}, 'AddPeerRequest.peer: is missing'],
    [request, { peer: { conf: { auth_password: 77 } } }, 'PeerConf.auth_password: this secret is not text'],
    [request, { peer: { conf: 'hush' } }, 'Peer.conf: "hush" is not a PeerConf'],
    [Path, path({ pattrs: [{ type: 'medal' } as never] }), 'Path.pattrs: "medal" is no type of Attribute: '],
    [Path, path({ family: { afi: 'ip7' as never, safi: 'unicast' } }), 'Family.afi: "ip7" is none of '],
    [Path, path({ pattrs: [{ type: 'next_hop' } as never] }), 'NextHopAttribute.next_hop: is missing'],
    [
      rpcs.setLogLevel.request,
      { level: 'unknown_x' },
      'SetLogLevelRequest.level: "unknown_x" is none of panic, fatal, error, warn, info, debug, trace, unspecified',
    ],
  ];
  for (const [message, value, text] of refused) {
    const error = t.throws(() => codecs[4].encode(message, value)) as MalformedError;
    t.ok(error instanceof MalformedError);
    t.ok(error.message.startsWith(text), error.message);
  }
});

t.test('what the dialect or the version lacks is refused, not left out', async (t) => {
  const policies = (conditions: ConditionsInput): Input<typeof rpcs.setPolicies.request> => ({
    policies: [{ name: 'p', statements: [{ name: 's', conditions }] }],
  });
  const { request } = rpcs.setPolicies;
  const encode =
    (version: string | undefined, dialect: Dialect, value: unknown, of: Message = request) =>
    () =>
      new Codec(version === undefined ? { major: dialect, minor: undefined } : parseVersion(version)!).encode(
        of,
        value,
      );

  const by_pref = policies({ local_pref_eq: { value: 100 } });
  t.throws(encode('3.37.0', 3, by_pref), {
    name: 'IncompatibleError',
    message: 'Conditions.local_pref_eq: GoBGP 3.x has no such field',
    grpc_code: 12,
  });
  t.doesNotThrow(encode('4.0.0', 4, by_pref));

  const by_count = policies({ community_count: { type: 'ge', count: 2 } });
  t.throws(encode('3.10.0', 3, by_count), {
    message: 'Conditions.community_count: needs GoBGP 3.26, this is 3.10',
  });
  t.throws(
    encode(undefined, 3, by_count),
    /needs GoBGP 3.26, this is a 3.x whose version is not known: tell it to connect/,
  );
  t.doesNotThrow(encode('3.26.0', 3, by_count));
  t.doesNotThrow(encode(undefined, 4, by_count), 'what 3.26 has, all of 4.x have');

  const tos = { peer: { transport: { ip_tos: 16 } } };
  t.throws(encode(undefined, 4, tos, rpcs.addPeer.request), IncompatibleError);
  t.doesNotThrow(encode('4.8.0', 4, tos, rpcs.addPeer.request));
  // The zero of a field is no wish: what ListPeer answered can be sent back.
  t.doesNotThrow(encode('3.10.0', 3, { peer: { transport: { ip_tos: 0 } } }, rpcs.addPeer.request));
  t.doesNotThrow(encode('3.10.0', 3, { allow_graceful_restart: false }, rpcs.stopBgp.request));
  t.throws(encode('3.10.0', 3, { allow_graceful_restart: true }, rpcs.stopBgp.request), IncompatibleError);
});

t.test('what kills a gobgpd, or is stored as a route that is none, is not sent', async (t) => {
  const attribute = (attribute: AttributeInput) => path({ pattrs: [attribute] });
  const extended = (...communities: Input<typeof ExtendedCommunity>[]) =>
    attribute({ type: 'extended_communities', communities });
  const tunnel = (...tlvs: Input<typeof TunnelSubTlv>[]) =>
    attribute({ type: 'tunnel_encap', tlvs: [{ type: 15, tlvs }] });
  const nothing = { type: 'unknown', tag: '', bytes: new Uint8Array() } as const;
  const sr_policy = (length: number) => ({
    family: families.ipv6_sr_policy,
    nlri: { type: 'sr_policy', distinguisher: 0, color: 1, endpoint: new Uint8Array(length) } as const,
  });
  const vpn = (rd: RouteDistinguisherInput) => ({
    family: families.ipv4_vpn,
    nlri: { type: 'labeled_vpn_ip_prefix', rd, prefix_len: 32, prefix: '10.0.0.1' } as const,
  });
  const set = (ip_prefix: string, mask_length_min: number, mask_length_max: number) => ({
    defined_set: {
      defined_type: 'prefix',
      name: 'p',
      prefixes: [{ ip_prefix, mask_length_min, mask_length_max }],
    },
  });
  const prefix = (prefix: string, prefix_len: number) =>
    path({ nlri: { type: 'prefix', prefix, prefix_len } });
  const mp_reach = (family: FamilyInput, nlris: readonly NlriInput[]): AttributeInput => ({
    type: 'mp_reach',
    family,
    next_hops: ['2001:db8::1'],
    nlris,
  });
  const v6 = { type: 'prefix', prefix: '2001:db8::', prefix_len: 64 } as const;

  const poison: readonly (readonly [unknown, string, Message?])[] = [
    [path({ nlri: nothing }), 'Path.nlri: is empty'],
    [prefix('x', 24), 'IPAddressPrefix.prefix: "x" is not an IP address'],
    [prefix('', 24), 'IPAddressPrefix.prefix: is empty'],
    [prefix('10.0.0.0', 33), 'IPAddressPrefix: a prefix of 10.0.0.0 has at most 32 bits, not 33'],
    [prefix('fe80::1%lo', 64), 'IPAddressPrefix: "fe80::1%lo" is not an IP address'],
    [path({ nlri: v6 }), 'Path: its prefix is no route of ip unicast'],
    [path({ family: families.ipv4_vpn }), 'Path: its prefix is no route of ip mpls_vpn'],
    [
      path({ nlri: { type: 'unknown', tag: 'apipb.OpaqueNLRI', bytes: new Uint8Array() } }),
      'Path: its unknown is no route of ip unicast',
    ],
    [
      path({ family: families.ipv6_unicast, nlri: v6, pattrs: [mp_reach(ipv4_unicast, [])] }),
      'Path: mp_reach of ip unicast on a path of ip6 unicast',
    ],
    [
      path({
        family: families.ipv6_unicast,
        nlri: v6,
        pattrs: [mp_reach(families.ipv6_unicast, [path().nlri])],
      }),
      'Path: its prefix is no route of ip6 unicast',
    ],
    [
      attribute({ type: 'mp_unreach', family: ipv4_unicast, nlris: [] }),
      'Path: mp_unreach is not for sending: use is_withdraw or deletePath',
    ],
    [path({ pattrs: [nothing] }), 'Path.pattrs: an empty Attribute'],
    [
      attribute({ type: 'unrecognized', flags: 0, type_code: 1, value: new Uint8Array(1) }),
      'UnknownAttribute: GoBGP knows attributes of type code 1: it has to be sent as what it is',
    ],
    [attribute({ type: 'next_hop', next_hop: '' }), 'NextHopAttribute.next_hop: is empty'],
    [
      extended({
        type: 'ipv4_address_specific',
        is_transitive: true,
        sub_type: 2,
        address: '',
        local_admin: 1,
      }),
      'IPv4AddressSpecificExtended.address: is empty',
    ],
    [extended({ type: 'router_mac', mac: 'x' }), 'RouterMacExtended.mac: "x" is not a MAC address'],
    [
      extended({ type: 'unrecognized', type_code: 0x83, value: new Uint8Array(1) }),
      'UnknownExtended.value: 1 bytes, instead of 7',
    ],
    [sr_policy(3), 'SRPolicyNLRI.endpoint: 3 bytes, instead of 4 or 16'],
    [sr_policy(4), 'Path: its sr_policy is no route of ip6 sr_policy'],
    [tunnel({ type: 'sr_binding_sid', bsid: nothing }), 'TunnelEncapSubTLVSRBindingSID.bsid: is empty'],
    [
      tunnel({ type: 'sr_segment_list', segments: [] } as never),
      'TunnelEncapSubTLVSRSegmentList.weight: is missing',
    ],
    [
      tunnel({
        type: 'sr_segment_list',
        weight: { weight: 1 },
        segments: [{ type: 'a', label: 16 } as never],
      }),
      'SegmentTypeA.flags: is missing',
    ],
    [
      tunnel({ type: 'sr_segment_list', weight: { weight: 1 }, segments: [nothing] }),
      'TunnelEncapSubTLVSRSegmentList.segments: an empty Segment',
    ],
    [
      vpn({ type: 'two_octet_asn', admin: 65536, assigned: 1 }),
      'RouteDistinguisherTwoOctetASN.admin: 65536 is not a whole number from 0 to 65535',
    ],
    [vpn(nothing), 'LabeledVPNIPAddressPrefix.rd: is empty'],
    [
      set('10.0.0.0', 8, 32),
      'Prefix.ip_prefix: "10.0.0.0" is not an IP address with a prefix length',
      rpcs.addDefinedSet.request,
    ],
    [
      set('10.0.0.0/33', 8, 32),
      'Prefix.ip_prefix: "10.0.0.0/33" is not an IP address with a prefix length',
      rpcs.addDefinedSet.request,
    ],
    [
      set('10.0.0.0/8', 8, 33),
      'Prefix: a prefix of 10.0.0.0 has at most 32 bits, not 33',
      rpcs.addDefinedSet.request,
    ],
    [set('10.0.0.0/8', 9, 8), 'Prefix: 10.0.0.0/8: no length is from 9 to 8', rpcs.addDefinedSet.request],
    [
      { family: ipv4_unicast, prefixes: [{ prefix: 'x' }] },
      'TableLookupPrefix.prefix: "x" is not an IP address with a prefix length',
      rpcs.listPath.request,
    ],
    [
      { global: { asn: 1, router_id: '2001:db8::1' } },
      'Global.router_id: "2001:db8::1" is not an IPv4 address',
      rpcs.startBgp.request,
    ],
    [{ address: '' }, 'DeletePeerRequest.address: is empty', rpcs.deletePeer.request],
    [{ address: '', direction: 'both' }, 'ResetPeerRequest.address: is empty', rpcs.resetPeer.request],
    [
      { peer: { conf: { neighbor_address: 'tor.example' } } },
      'PeerConf.neighbor_address: "tor.example" is not an IP address',
      rpcs.addPeer.request,
    ],
  ];
  for (const [value, text, of = Path] of poison)
    t.throws(() => codecs[3].encode(of, value), { name: 'MalformedError', message: text }, text);
  for (const dialect of dialects) {
    const { bytes } = codecs[dialect].encode(Path, sr_policy(16));
    t.match(codecs[dialect].decode(Path, bytes), sr_policy(16));
    // GoBGP tells the length in bytes, 24. Said back it is in bits again: 192, as field 1 of the NLRI.
    const wire = bytes.toString('hex');
    t.ok(wire.includes('08c001'), wire);
  }
});

t.test('what is not described, or cannot be read, is kept', async (t) => {
  for (const dialect of dialects) {
    const codec = codecs[dialect];
    const tag = dialect === 3 ? 'apipb.AigpAttribute' : '20';
    const aigp = { type: 'unknown', tag, bytes: Uint8Array.of(0x0a, 2, 8, 1) } as const;
    const sent = path({
      pattrs: [{ type: 'origin', origin: 1 }, aigp, { type: 'local_pref', local_pref: 7 }],
    });
    const { bytes } = codec.encode(Path, sent);
    t.strictSame((codec.decode(Path, bytes) as Output<typeof Path>).pattrs, sent.pattrs);

    // A member of a known name with bytes that are none of its own: 0xff begins a number that has no end.
    const broken = Buffer.from(
      dialect === 3
        ? `0a2e0a29${Buffer.from('type.googleapis.com/apipb.OriginAttribute').toString('hex')}1201ff`
        : '0a031201ff',
      'hex',
    );
    const origin = dialect === 3 ? 'apipb.OriginAttribute' : '2';
    t.strictSame(codec.decode(Attributes, broken), {
      list: [{ type: 'unknown', tag: origin, bytes: Uint8Array.of(0xff) }],
    });

    // Nothing at all: 3.x an Any without a name, 4.x a oneof without a member.
    const nothing = { type: 'unknown', tag: '', bytes: new Uint8Array() };
    t.strictSame(codec.decode(Attributes, Buffer.from('0a00', 'hex')), { list: [nothing] });
    t.match(codec.decode(Path, Buffer.alloc(0)), {
      nlri: nothing,
      family: { afi: 'unspecified' },
      pattrs: [],
    });

    // Of the other dialect, or of none.
    for (const wrong of [dialect === 3 ? '20' : 'apipb.AigpAttribute', '0', 'x y'])
      t.throws(() => codec.encode(Path, path({ pattrs: [{ ...aigp, tag: wrong }] })), {
        name: 'MalformedError',
        message: `Path.pattrs: an unknown Attribute with tag "${wrong}" is not one of GoBGP ${dialect}.x`,
      });
  }
  // Values without a name, both ways.
  const level = codecs[4].encode(rpcs.setLogLevel.request, { level: 'unknown_9' }).bytes;
  t.equal(level.toString('hex'), '0809');
  t.match(codecs[4].decode(rpcs.setLogLevel.request, level), { level: 'unknown_9' });
  t.match(codecs[4].decode(rpcs.setLogLevel.request, Buffer.alloc(0)), { level: 'unspecified' });
  t.match(codecs[3].decode(rpcs.setLogLevel.request, Buffer.alloc(0)), { level: 'panic' });
});

t.test('no bytes bring the decoder down: a message, or MalformedError', async (t) => {
  const decodes = (message: Message, bytes: Buffer) => {
    for (const dialect of dialects) {
      try {
        const value = codecs[dialect].decode(message, bytes) as { table?: { paths: Iterable<unknown> } };
        if (value.table !== undefined) [...value.table.paths];
      } catch (error) {
        if (!(error instanceof MalformedError)) throw error;
      }
    }
  };
  const vectors: Record<string, Record<string, string>> = JSON.parse(
    readFileSync(new URL('../../test/fixtures/vectors.json', import.meta.url), 'utf8'),
  );
  // Cut at every byte, and with every byte damaged.
  for (const name of ['path of an SR policy', 'path with extended communities', 'path of a VPN, an address'])
    for (const dialect of dialects) {
      const whole = Buffer.from(vectors[dialect]![name]!, 'hex');
      for (let at = 0; at < whole.length; at++) {
        decodes(Path, whole.subarray(0, at));
        const damaged = Buffer.from(whole);
        damaged[at]! ^= 0xff;
        decodes(Path, damaged);
      }
    }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      decodes(rpcs.watchEvent.response, Buffer.from(bytes));
      decodes(rpcs.listPeer.response, Buffer.from(bytes));
    }),
    { numRuns: 2000 },
  );
  t.throws(() => codecs[3].decode(Path, Buffer.from('0aff', 'hex')), {
    name: 'MalformedError',
    message: 'Path from gobgpd: a number without an end',
  });
  t.throws(() => codecs[3].decode(Path, Buffer.from('0a05aa', 'hex')), {
    message: 'Path from gobgpd: 5 bytes announced, 1 left',
  });
  // A list that is decoded later says so later, and says no less.
  const event = codecs[3].decode(rpcs.watchEvent.response, Buffer.from('1a0312010a', 'hex')) as Output<
    typeof rpcs.watchEvent.response
  >;
  t.equal(event.table!.paths.length, 1);
  t.throws(() => event.table!.paths.slice(), {
    name: 'MalformedError',
    message: 'Path from gobgpd: a number without an end',
  });
});

t.test('the version in the words of gobgpd', async (t) => {
  t.strictSame(parseVersion('gobgpd version 3.10.0\n'), { major: 3, minor: 10 });
  t.strictSame(parseVersion('4.8.0'), { major: 4, minor: 8 });
  t.strictSame(parseVersion('4.0'), { major: 4, minor: 0 });
  for (const none of ['', 'gobgpd', '2.33.0', '5.0.0', 'version x'])
    t.equal(parseVersion(none), undefined, none);
});

t.test('every error has its number of gRPC', async (t) => {
  const error = new MalformedError('x');
  t.ok(error instanceof GobgpError);
  t.match(error, { code: 'malformed', grpc_code: 3, grpc_name: 'INVALID_ARGUMENT' });
});

/** What of a decoded path is read in brief; undefined: it is a peer's word, and no path. */
function briefOf(path: Path): BriefPath | undefined {
  const { nlri, family, pattrs, neighbor_ip, identifier, is_withdraw } = path;
  if (nlri.type === 'unknown' && nlri.tag === '') return undefined;
  const is_route = nlri.type === 'prefix' && family.safi === 'unicast';
  const [by] = pattrs.flatMap((attribute) => {
    if (attribute.type === 'next_hop') return [attribute.next_hop];
    return attribute.type === 'mp_reach' ? [attribute.next_hops[0] ?? ''] : [];
  });
  const prefix = is_route && nlri.prefix !== '' ? `${nlri.prefix}/${nlri.prefix_len}` : undefined;
  return new BriefPath(prefix, by ?? '', neighbor_ip, identifier, is_withdraw, is_route ? undefined : path);
}

const anyPath = (): fc.Arbitrary<Input<typeof Path>> => {
  const address = fc.oneof(fc.ipV4(), fc.ipV6());
  const attribute: fc.Arbitrary<AttributeInput> = fc.oneof(
    fc.record({ type: fc.constant('origin' as const), origin: fc.nat(2) }),
    fc.record({ type: fc.constant('next_hop' as const), next_hop: address }),
    fc.record({
      type: fc.constant('mp_reach' as const),
      family: fc.constant(families.ipv6_unicast),
      next_hops: fc.array(address, { maxLength: 3 }),
      nlris: fc.constant([]),
    }),
    fc.record({
      type: fc.constant('communities' as const),
      communities: fc.array(fc.nat(), { maxLength: 3 }),
    }),
  );
  const rd = { type: 'ip_address', admin: '192.0.2.1', assigned: 5 } as const;
  const four = fc.record({ prefix: fc.ipV4(), prefix_len: fc.nat(32) });
  const route = fc.oneof(
    four.map((of) => ({ family: ipv4_unicast, nlri: { type: 'prefix' as const, ...of } })),
    fc.record({ prefix: fc.ipV6(), prefix_len: fc.nat(128) }).map((of) => ({
      family: families.ipv6_unicast,
      nlri: { type: 'prefix' as const, ...of },
    })),
    four.map((of) => ({
      family: { afi: 'ip', safi: 'multicast' } as const,
      nlri: { type: 'prefix' as const, ...of },
    })),
    four.map((of) => ({
      family: families.ipv4_vpn,
      nlri: { type: 'labeled_vpn_ip_prefix' as const, labels: [1], rd, ...of },
    })),
    fc
      .record({
        distinguisher: fc.nat(),
        color: fc.nat(),
        endpoint: fc.uint8Array({ minLength: 16, maxLength: 16 }),
      })
      .map((of) => ({
        family: families.ipv6_sr_policy,
        nlri: { type: 'sr_policy' as const, ...of },
      })),
  );
  const more = fc.record({
    pattrs: fc.array(attribute, { maxLength: 4 }),
    neighbor_ip: fc.oneof(address, fc.constant('')),
    identifier: fc.nat(),
    is_withdraw: fc.boolean(),
    age: fc.nat(),
    source_asn: fc.nat(),
    uuid: fc.uint8Array({ maxLength: 16 }),
    stale: fc.boolean(),
  });
  return fc.tuple(route, more).map(([of, { pattrs, ...rest }]) => {
    // Of another family than its path it would be refused.
    const own = pattrs.map((each) => (each.type === 'mp_reach' ? { ...each, family: of.family } : each));
    return { ...of, ...rest, pattrs: own } as unknown as Input<typeof Path>;
  });
};

t.test('a path that is read in brief is what the decoder makes of it', async (t) => {
  const { response } = rpcs.watchEvent;
  const readerOf = (dialect: Dialect): BriefReader =>
    new BriefReader(dialect, (bytes) => codecs[dialect].decode(Path, bytes) as Path);
  const readers = { 3: readerOf(3), 4: readerOf(4) } as const;
  const decoded = (dialect: Dialect, bytes: Buffer) => {
    const { peer, table } = codecs[dialect].decode(response, bytes) as Output<typeof response>;
    return { peer, paths: [...(table?.paths ?? [])].map(briefOf) };
  };
  const read = (dialect: Dialect, bytes: Buffer) => {
    const brief = readers[dialect].read(bytes);
    return brief instanceof Lazy ? [...brief] : brief && [brief];
  };
  const none = new BriefPath(undefined, '', '', 0, false);
  const holds = (dialect: Dialect, bytes: Buffer): void => {
    const { peer, paths } = decoded(dialect, bytes);
    const is_read = peer === undefined && paths.length > 0 && (paths.length > 1 || paths[0] !== undefined);
    assert.deepEqual(read(dialect, bytes), is_read ? paths.map((each) => each ?? none) : undefined);
  };
  const encoded = (dialect: Dialect, paths: readonly Input<typeof Path>[]): Buffer =>
    codecs[dialect].encode(response, { table: { paths } }).bytes;
  for (const dialect of dialects)
    fc.assert(
      fc.property(fc.array(anyPath(), { maxLength: 3 }), (paths) => holds(dialect, encoded(dialect, paths))),
      { numRuns: 500 },
    );

  // Cut at every byte, and with every byte damaged in two ways: where the decoder sees a path, it is the same one.
  const whole = path({
    neighbor_ip: '192.0.2.1',
    identifier: 700,
    is_withdraw: true,
    age: 5,
    pattrs: [
      { type: 'origin', origin: 2 },
      { type: 'next_hop', next_hop: '192.0.2.9' },
      { type: 'mp_reach', family: ipv4_unicast, next_hops: ['fd00::9', 'fd00::8'], nlris: [] },
    ],
  });
  const isMalformed = (error: unknown): boolean => {
    if (!(error instanceof MalformedError)) throw error;
    return true;
  };
  for (const dialect of dialects) {
    const bytes = encoded(dialect, [whole]);
    const variants = Array.from(bytes, (byte, at) => {
      const damaged = [1, 0xff].map((bits) => Buffer.from(bytes).fill(byte ^ bits, at, at + 1));
      return [bytes.subarray(0, at), ...damaged];
    }).flat();
    for (const variant of variants) {
      let is_decoded = false;
      try {
        decoded(dialect, variant);
        is_decoded = true;
      } catch (error) {
        isMalformed(error);
      }
      if (is_decoded) holds(dialect, variant);
      else
        try {
          read(dialect, variant);
        } catch (error) {
          isMalformed(error);
        }
    }
  }

  // Go's words for no address, written over one that is as long.
  for (const [words, next_hop] of [
    ['<nil>', '::1:2'],
    ['invalid IP', '192.0.2.12'],
  ] as const)
    for (const dialect of dialects) {
      const bytes = encoded(dialect, [path({ pattrs: [{ type: 'next_hop', next_hop }] })]);
      bytes.write(words, bytes.indexOf(next_hop));
      holds(dialect, bytes);
      assert.equal(read(dialect, bytes)?.[0]?.next_hop, '');
    }
  t.pass();
});
