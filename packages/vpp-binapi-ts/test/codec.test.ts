import { deepStrictEqual, equal } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import * as address from '../src/address.js';
import { MalformedError } from '../src/errors.js';
import * as model from '../src/gen/model.js';
import { read_schema } from '../src/gen/schema.js';
import { messages } from '../src/generated/all.js';
import { cnat_snat_policy_add_del_if } from '../src/generated/cnat.js';
import { type fib_path, fib_path_flags } from '../src/generated/fib_types.js';
import {
  sw_interface_dump,
  sw_interface_set_mtu,
  sw_interface_tag_add_del,
} from '../src/generated/interface.js';
import { ip_mroute_add_del, ip_route_add_del, ip_route_details } from '../src/generated/ip.js';
import { ip_proto, ip_proto_enum } from '../src/generated/ip_types.js';
import { rpc_call } from '../src/generated/memclnt.js';
import { npol_ipset_add_del_members, npol_rule_create } from '../src/generated/npol.js';
import { app_attach } from '../src/generated/session.js';
import { cli_inband, cli_inband_reply } from '../src/generated/vlib.js';
import type { Message } from '../src/message.js';
import { struct } from './arbitrary.js';
import * as oracle from './interpret.js';
import { bytes_of } from './support.js';

const schema_path = new URL('../../api/vpp-26.10.schema.json', import.meta.url);
const { modules } = model.resolve_schema(read_schema(readFileSync(schema_path, 'utf8')));
const compiled = new Map(messages.map((message) => [message.name, message]));

/** The same values every time. */
const seed = 20260101;

/** Of the body, in memory that was in use before, with more behind it that is not of the message. */
function encode<In>(message: Message<unknown, In>, value: In): Uint8Array {
  const size = message.size(value);
  const memory = new Uint8Array(size + 32).fill(0xaa);
  const end = message.encode(bytes_of(memory), 16, value);
  if (end !== 16 + size) throw new Error(`${message.name}: size is ${size}, written were ${end - 16}`);
  if (memory.subarray(end).some((byte) => byte !== 0xaa))
    throw new Error(`${message.name}: written behind its end`);
  return memory.slice(16, end);
}

/** Surrounded by bytes that would be seen in the result if they were read. */
function decode<T>(message: Message<T, never>, body: Uint8Array): T {
  const memory = new Uint8Array(body.length + 600).fill(0x01);
  memory.set(body, 7);
  return message.decode(bytes_of(memory), 7, 7 + body.length);
}

function hex(bytes: Iterable<number>): string {
  return Buffer.from([...bytes]).toString('hex');
}

/** What decode gives or that it refuses; anything else thrown is a fault. */
function outcome(run: () => unknown, refusal: new (text: string) => Error): unknown {
  try {
    return run();
  } catch (error) {
    if (error instanceof refusal) return 'refused';
    throw error;
  }
}

t.test('every message: compiled code does what the interpreter does', async (t) => {
  for (const module of modules) {
    for (const { name, body } of module.messages) {
      const message = compiled.get(name)! as Message<unknown, unknown>;
      const property = fc.property(struct(body, undefined), (value) => {
        const bytes = encode(message, value);
        equal(hex(bytes), hex(oracle.encode(body, value)), name);
        deepStrictEqual(decode(message, bytes), value, name);
      });
      t.doesNotThrow(() => fc.assert(property, { numRuns: 8, seed }), name);
    }
  }
});

t.test('every message: a cut one is refused, wherever it is cut', async (t) => {
  for (const module of modules) {
    for (const { name, body } of module.messages) {
      const message = compiled.get(name)! as Message<unknown, unknown>;
      const [value] = fc.sample(struct(body, undefined), { numRuns: 1, seed });
      const bytes = encode(message, value);
      let refused = 0;
      for (let length = 0; length < bytes.length; length++) {
        if (outcome(() => decode(message, bytes.subarray(0, length)), MalformedError) === 'refused')
          refused++;
      }
      t.equal(refused, bytes.length, name);
    }
  }
});

t.test(
  'every message: bytes of any kind are decoded as the interpreter does, or refused by both',
  async (t) => {
    for (const module of modules) {
      for (const { name, body } of module.messages) {
        const message = compiled.get(name)! as Message<unknown, unknown>;
        const spoilt = fc
          .tuple(
            struct(body, undefined),
            fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 4 }),
          )
          .map(([value, changes]) => {
            const bytes = encode(message, value);
            for (const [at, byte] of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte;
            return bytes;
          });
        const property = fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), spoilt), (bytes) => {
          const ours = outcome(() => decode(message, bytes), MalformedError);
          deepStrictEqual(
            ours,
            outcome(() => oracle.decode(body, bytes), oracle.Impossible),
            name,
          );
        });
        t.doesNotThrow(() => fc.assert(property, { numRuns: 8, seed }), name);
      }
    }
  },
);

t.test('a field that is left out or undefined gets its default', async (t) => {
  for (const module of modules) {
    for (const { name, body } of module.messages) {
      const defaults = body.fields.filter((field) => field.default !== undefined).map((field) => field.name);
      if (defaults.length === 0) continue;
      const message = compiled.get(name)! as Message<Record<string, unknown>, unknown>;
      const [full] = fc.sample(struct(body, undefined), { numRuns: 1, seed }) as [Record<string, unknown>];
      const omitted = Object.fromEntries(Object.entries(full).filter(([key]) => !defaults.includes(key)));
      const decoded = decode(message, encode(message, omitted));
      t.strictSame(hex(encode(message, decoded)), hex(encode(message, omitted)), name);
      const unset = { ...full, ...Object.fromEntries(defaults.map((key) => [key, undefined])) };
      t.strictSame(decode(message, encode(message, unset)), decoded, name);
    }
  }
  const dump = decode(
    sw_interface_dump,
    encode(sw_interface_dump, { name_filter_valid: false, name_filter: '' }),
  );
  t.strictSame(dump, { sw_if_index: 0xffffffff, name_filter_valid: false, name_filter: '' });
});

const path: fib_path = {
  sw_if_index: 1,
  table_id: 0,
  rpf_id: 0,
  weight: 1,
  preference: 0,
  type: 'FIB_API_PATH_TYPE_NORMAL',
  flags: fib_path_flags.FIB_API_PATH_FLAG_NONE,
  proto: 'FIB_API_PATH_NH_PROTO_IP4',
  nh: { address: '192.0.2.1', via_label: 0, obj_id: 0, classify_table_index: 0 },
  label_stack: [],
};

function route(changes: { readonly prefix?: string; readonly paths?: readonly fib_path[] }) {
  return {
    is_multipath: false,
    route: { table_id: 0, stats_index: 0, prefix: '10.0.0.0/8', paths: [path], ...changes },
  };
}

t.test('a value that a field cannot hold is refused with message, field and value', async (t) => {
  const cases: readonly (readonly [() => unknown, string])[] = [
    [
      () => encode(ip_route_add_del, route({ prefix: '10.0.0.0/33' })),
      'ip_route_add_del: ip_route.prefix: "10.0.0.0/33" is not an IP address with a prefix length',
    ],
    [
      () => encode(ip_route_add_del, route({ paths: [{ ...path, weight: 256 }] })),
      'ip_route_add_del: fib_path.weight: 256 is not a u8',
    ],
    [
      () => encode(ip_route_add_del, route({ paths: Array.from({ length: 256 }, () => path) })),
      'ip_route_add_del: ip_route.n_paths: 256 is not a u8',
    ],
    [
      () => encode(ip_route_add_del, route({ paths: [{ ...path, nh: { ...path.nh, address: 'fe80::1' } }] })),
      'ip_route_add_del: fib_path_nh.address: "fe80::1" is not an IPv4 address',
    ],
    [
      () =>
        encode(cnat_snat_policy_add_del_if, {
          sw_if_index: 1,
          is_add: 1,
          table: 'CNAT_POLICY_PODS' as 'CNAT_POLICY_POD',
        }),
      'cnat_snat_policy_add_del_if: cnat_snat_policy_add_del_if.table: CNAT_POLICY_PODS is not one of its names',
    ],
    [
      () =>
        encode(sw_interface_set_mtu, {
          sw_if_index: 1,
          mtu: [1500] as unknown as [number, number, number, number],
        }),
      'sw_interface_set_mtu: sw_interface_set_mtu.mtu: an array of 1 is not one of 4',
    ],
    [
      () => encode(sw_interface_tag_add_del, { is_add: true, sw_if_index: 1, tag: 'x'.repeat(64) }),
      `sw_interface_tag_add_del: sw_interface_tag_add_del.tag: "${'x'.repeat(64)}" is not a text of at most 63 bytes`,
    ],
    [
      () => encode(sw_interface_tag_add_del, { is_add: true, sw_if_index: 1, tag: 'a\0b' }),
      'sw_interface_tag_add_del: sw_interface_tag_add_del.tag: "a\\u0000b" is not a text without NUL',
    ],
    [
      () => encode(app_attach, { options: Array.from({ length: 18 }, () => -1n), namespace_id: '' }),
      'app_attach: app_attach.options: -1 is not a u64 (bigint)',
    ],
  ];
  for (const [run, message] of cases)
    t.throws(run, { name: 'MalformedError', code: 'malformed', message }, message);
});

t.test('numbers of every kind are checked at their limits', async (t) => {
  const limits: Readonly<Record<string, readonly [readonly unknown[], readonly unknown[]]>> = {
    u8: [
      [0, 255],
      [-1, 256, 0.5, Number.NaN, '1'],
    ],
    i8: [
      [-128, 127],
      [-129, 128, 0.5],
    ],
    u16: [
      [0, 65535],
      [-1, 65536, 1.5],
    ],
    i16: [
      [-32768, 32767],
      [-32769, 32768],
    ],
    u32: [
      [0, 0xffffffff],
      [-1, 0x100000000, 0.1, undefined],
    ],
    i32: [
      [-0x80000000, 0x7fffffff],
      [-0x80000001, 0x80000000],
    ],
    u64: [
      [0n, 0xffffffffffffffffn],
      [-1n, 0x10000000000000000n, 1],
    ],
    i64: [[-0x8000000000000000n, 0x7fffffffffffffffn], [0x8000000000000000n]],
    f64: [
      [1.5, Number.POSITIVE_INFINITY],
      ['1', 1n],
    ],
  };
  const codec = (await import('../src/codec.js')) as unknown as Record<
    string,
    (value: unknown, field: string) => unknown
  >;
  for (const [kind, [good, bad]] of Object.entries(limits)) {
    for (const value of good) t.equal(codec[kind]!(value, 'x'), value, `${kind} ${value}`);
    for (const value of bad) t.throws(() => codec[kind]!(value, 'x'), MalformedError, `${kind} ${value}`);
  }
});

t.test('a value that is not of its type at all is malformed too', async (t) => {
  const value = { is_multipath: false } as unknown as Parameters<typeof ip_route_add_del.size>[0];
  t.throws(() => ip_route_add_del.size(value), { name: 'MalformedError', message: /^ip_route_add_del: / });
});

t.test('a count that the bytes cannot hold is refused before anything is allocated', async (t) => {
  const bare = { route: { table_id: 0, stats_index: 0, prefix: '10.0.0.0/8', paths: [] } };
  const head = encode(ip_route_details, bare).fill(0xff, -1);
  const message = `ip_route_details: ${255 * 167} bytes wanted at offset 34, 0 left`;
  t.throws(() => decode(ip_route_details, head), { message });
  const members = Buffer.from('0000000101ffffffff', 'hex');
  t.throws(() => decode(npol_ipset_add_del_members, members), { name: 'MalformedError' });
  t.throws(() => decode(cli_inband_reply, Buffer.from('00000000ffffffff', 'hex')), {
    name: 'MalformedError',
  });
});

t.test('enums go by name, and a number without one keeps its value', async (t) => {
  t.equal(ip_proto.IP_API_PROTO_TCP, 6);
  t.equal(ip_proto_enum.name(6), 'IP_API_PROTO_TCP');
  t.equal(ip_proto_enum.name(99), 'unknown_99');
  t.equal(ip_proto_enum.value('unknown_99', 'x'), 99);
  for (const name of ['unknown_256', 'unknown_-1', 'unknown_01', 'constructor', '']) {
    t.throws(() => ip_proto_enum.value(name as 'unknown_1', 'x'), MalformedError, name);
  }
});

t.test('a union is written by the member its discriminator calls for', async (t) => {
  const rule = (entry: object) => {
    const filter = { value: 0, type: 'NPOL_RULE_FILTER_NONE_TYPE', should_match: 0 } as const;
    const matches = [{ is_src: true, is_not: false, ...entry }] as never;
    return { rule: { action: 'NPOL_ALLOW', filters: [filter, filter, filter], matches } } as const;
  };
  const good = rule({ type: 'NPOL_IP_SET', data: { set_id: { set_id: 7 } } });
  t.strictSame(decode(npol_rule_create, encode(npol_rule_create, good)), good);
  t.throws(() => encode(npol_rule_create, rule({ type: 'NPOL_CIDR', data: { set_id: { set_id: 7 } } })), {
    message:
      'npol_rule_create: npol_entry_data.set_id: the discriminator is 0, which calls for another member',
  });
  const unknown = rule({ type: 'unknown_9', data: { raw: new Uint8Array(18).fill(3) } });
  t.strictSame(decode(npol_rule_create, encode(npol_rule_create, unknown)), unknown);
});

t.test('the family of an mroute is that of its af', async (t) => {
  const mroute = (af: 'ADDRESS_IP4' | 'ADDRESS_IP6', grp_address: string) => ({
    is_multipath: false,
    route: {
      table_id: 0,
      entry_flags: 0,
      rpf_id: 0,
      prefix: { af, grp_address_length: 4, grp_address, src_address: grp_address },
      paths: [],
    },
  });
  encode(ip_mroute_add_del, mroute('ADDRESS_IP4', '224.0.0.0'));
  t.throws(() => encode(ip_mroute_add_del, mroute('ADDRESS_IP6', '224.0.0.0')), {
    message: /"224.0.0.0" is not an IPv6 address/,
  });
});

t.test('decoded bytes are a copy, of a Buffer too', async (t) => {
  const value = { function: 1n, multicast: 0, need_barrier_sync: 0, send_reply: 0 };
  for (const size of [3, 1000]) {
    const body = Buffer.from(encode(rpc_call, { ...value, data: new Uint8Array(size).fill(7) }));
    const { data } = rpc_call.decode(bytes_of(body), 0, body.length);
    body.fill(0);
    t.strictSame(data, new Uint8Array(size).fill(7));
  }
});

t.test('text is UTF-8, short and long', async (t) => {
  for (const cmd of [
    '',
    'show version',
    'größe',
    '漢'.repeat(100),
    'x'.repeat(100_000),
    `${'x'.repeat(60)}é`,
  ]) {
    const bytes = encode(cli_inband, { cmd });
    t.equal(hex(bytes.subarray(4)), Buffer.from(cmd).toString('hex'));
    t.strictSame(decode(cli_inband, bytes), { cmd });
  }
  const long = { is_add: true, sw_if_index: 1, tag: 'é'.repeat(32) };
  t.throws(() => encode(sw_interface_tag_add_del, long), { message: /at most 63 bytes/ });
});

function written(
  write: (bytes: Uint8Array, at: number, text: string, field: string) => void,
  size: number,
  text: string,
): string {
  const memory = new Uint8Array(size + 4).fill(0xaa);
  write(memory, 2, text, 'x');
  return hex(memory.subarray(2, 2 + size));
}

t.test('an address is accepted exactly where Node accepts one', async (t) => {
  const near = fc.array(
    fc.constantFrom(
      '0',
      '1',
      '255',
      '256',
      '01',
      'ff',
      'FFFF',
      '0db8',
      '12345',
      ':',
      '::',
      '.',
      '192.0.2.1',
      '%',
      ' ',
      '/',
    ),
    {
      maxLength: 16,
    },
  );
  const property = fc.property(near, (parts) => {
    const text = parts.join('');
    const accepts = (run: () => void) => outcome(run, MalformedError) !== 'refused';
    equal(
      accepts(() => written(address.write_ip4_address, 4, text)),
      isIPv4(text),
      text,
    );
    equal(
      accepts(() => written(address.write_ip6_address, 16, text)),
      isIPv6(text) && !text.includes('%'),
      text,
    );
  });
  t.doesNotThrow(() => fc.assert(property, { numRuns: 5000, seed }));
});

t.test('IPv6 is printed as RFC 5952 says', async (t) => {
  const cases: Readonly<Record<string, string>> = {
    '::': '0:0:0:0:0:0:0:0',
    '::1': '0000:0000:0000:0000:0000:0000:0000:0001',
    '2001:db8::1': '2001:DB8:0:0:0:0:0:1',
    '2001:db8:0:1:1:1:1:1': '2001:db8::1:1:1:1:1',
    '2001:db8::1:0:0:1': '2001:db8:0:0:1::1',
    '2001:0:0:1::1': '2001:0:0:1:0:0:0:1',
    'fe80::': 'fe80::0',
    '::ffff:192.0.2.1': '::ffff:c000:201',
    '::c000:201': '::192.0.2.1',
    '1:2:3:4:5:6:7:8': '1:2:3:4:5:6:0007:0008',
  };
  for (const [printed, given] of Object.entries(cases)) {
    const bytes = Buffer.from(written(address.write_ip6_address, 16, given), 'hex');
    t.equal(address.read_ip6_address(bytes, 0), printed, given);
  }
});

t.test('a MAC is accepted in three spellings and printed in one', async (t) => {
  for (const text of ['02:fe:0a:0b:0c:0d', '02-FE-0A-0B-0C-0D', '02fe.0a0b.0c0d']) {
    const bytes = Buffer.from(written(address.write_mac_address, 6, text), 'hex');
    t.equal(address.read_mac_address(bytes, 0), '02:fe:0a:0b:0c:0d');
  }
  for (const text of [
    '',
    '02:fe:0a:0b:0c',
    '02:fe-0a:0b:0c:0d',
    '02:fe:0a:0b:0c:0g',
    '02fe0a0b0c0d',
    '02:fe:0a:0b:0c:0d:',
    '2:fe:a:b:c:d',
  ]) {
    t.throws(() => written(address.write_mac_address, 6, text), {
      message: `x: "${text}" is not a MAC address`,
    });
  }
});

t.test('prefix lengths are checked by family', async (t) => {
  for (const text of ['0.0.0.0/0', '10.1.2.3/32', '::/0', '2001:db8::1/128']) {
    const bytes = Buffer.from(written(address.write_prefix, 18, text), 'hex');
    t.equal(address.read_prefix(bytes, 0), text);
  }
  for (const text of [
    '10.0.0.0',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '::/129',
    '/8',
    '10.0.0.0/8/8',
    '10.0.0.0/1e1',
  ]) {
    t.throws(() => written(address.write_prefix, 18, text), MalformedError, text);
  }
});
