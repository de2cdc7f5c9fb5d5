import { readFileSync } from 'node:fs';
import t from 'tap';
import { messages } from '../src/generated/all.js';
import {
  decode_npol_ipset_member_val,
  type npol_ipset_add_del_members,
  npol_ipset_type,
} from '../src/generated/npol.js';
import { header_size } from '../src/message.js';
import { bytes_of } from './support.js';

interface Vector {
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly hex: string;
}

interface Vectors {
  readonly client_index: number;
  readonly context: number;
  readonly vectors: readonly Vector[];
}

/** Bytes are `{"hex": ...}`, 64-bit numbers `{"u64": ...}`. */
function revive(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if ('hex' in value && Object.keys(value).length === 1)
    return new Uint8Array(Buffer.from(String(value.hex), 'hex'));
  return 'u64' in value ? BigInt(String(value.u64)) : value;
}

const path = new URL('../../test/fixtures/vectors.json', import.meta.url);
const { client_index, context, vectors } = JSON.parse(readFileSync(path, 'utf8'), revive) as Vectors;
const by_name = new Map(messages.map((message) => [message.name, message]));

/** What stands in `all` of the fields that `some` has. */
function picked(all: unknown, some: unknown): unknown {
  if (typeof some !== 'object' || some === null || some instanceof Uint8Array) return all;
  const from = all as Record<string, unknown>;
  if (Array.isArray(some)) return (all as unknown[]).map((one, i) => picked(one, some[i]));
  return Object.fromEntries(Object.entries(some).map(([key, value]) => [key, picked(from[key], value)]));
}

/** No field tells the kind of the set's members: they are decoded with the kind that the vector has. */
function with_members(decoded: unknown, fields: unknown): unknown {
  const sent = fields as npol_ipset_add_del_members;
  const read = decoded as npol_ipset_add_del_members;
  const kinds = { address: 'NPOL_IP', prefix: 'NPOL_NET', tuple: 'NPOL_IP_AND_PORT' } as const;
  const members = read.members.map(({ val }, i) => {
    const kind = kinds[Object.keys(sent.members[i]!.val)[0] as keyof typeof kinds];
    const raw = 'raw' in val ? val.raw : new Uint8Array();
    return { val: decode_npol_ipset_member_val(bytes_of(raw), 0, npol_ipset_type[kind]) };
  });
  return { ...read, members };
}

t.test('the header of a message is what its descriptor says', async (t) => {
  const expected = { request: [client_index, context], reply: [context], event: [client_index], bare: [] };
  for (const { message, hex } of vectors) {
    const { header } = by_name.get(message)!;
    const { view } = bytes_of(Buffer.from(hex, 'hex'));
    const words = expected[header].map((_, i) => view.getUint32(2 + 4 * i));
    t.strictSame(words, expected[header], message);
  }
});

t.test('encode and decode agree with the bytes of vpp_papi', async (t) => {
  for (const { message: name, fields, hex } of vectors) {
    const message = by_name.get(name)!;
    const body = Buffer.from(hex, 'hex').subarray(header_size[message.header]);
    const size = message.size(fields);
    t.equal(size, body.length, `${name}: size`);
    const room = bytes_of(new Uint8Array(size).fill(0xaa));
    t.equal(message.encode(room, 0, fields), size, `${name}: end`);
    t.equal(Buffer.from(room.bytes).toString('hex'), body.toString('hex'), `${name}: encode`);
    const decoded = message.decode(bytes_of(body), 0, body.length);
    const shown = name === 'npol_ipset_add_del_members' ? with_members(decoded, fields) : decoded;
    t.strictSame(picked(shown, fields), fields, `${name}: decode`);
  }
});

t.test('the vectors cover the messages of a node', async (t) => {
  t.ok(new Set(vectors.map(({ message }) => message)).size >= 100);
});
