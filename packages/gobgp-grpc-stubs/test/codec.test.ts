import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { Attribute } from '../src/api/attribute.js';
import { Codec } from '../src/codec.js';
import {
  type ConditionsInput,
  families,
  GobgpError,
  IncompatibleError,
  type Input,
  MalformedError,
  type Output,
  Path,
  parseVersion,
  rpcs,
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
