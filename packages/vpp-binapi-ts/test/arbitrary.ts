/** Any value of a message, as decode returns it: all fields there, text in its canonical form. */
import fc from 'fast-check';
import * as model from '../src/gen/model.js';
import { text_of } from './interpret.js';

const integers: Readonly<Record<Exclude<model.ScalarName, 'bool' | 'f64'>, readonly [bigint, bigint]>> = {
  u8: [0n, 0xffn],
  i8: [-0x80n, 0x7fn],
  u16: [0n, 0xffffn],
  i16: [-0x8000n, 0x7fffn],
  u32: [0n, 0xffffffffn],
  i32: [-0x80000000n, 0x7fffffffn],
  u64: [0n, 0xffffffffffffffffn],
  i64: [-0x8000000000000000n, 0x7fffffffffffffffn],
};

function scalar(name: model.ScalarName): fc.Arbitrary<unknown> {
  if (name === 'bool') return fc.boolean();
  if (name === 'f64') return fc.double({ noNaN: true });
  const [min, max] = integers[name];
  return name === 'u64' || name === 'i64'
    ? fc.bigInt({ min, max })
    : fc.integer({ min: Number(min), max: Number(max) });
}

function bytes(length: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength: length, maxLength: length });
}

/** Zeros in a row are what IPv6 text is about. */
const ip6 = fc.array(fc.constantFrom(0, 0, 0, 1, 0x0db8, 0xffff), { minLength: 8, maxLength: 8 });
const ip6_bytes = ip6.map((groups) => groups.flatMap((group) => [group >> 8, group & 255]));
const ip4_bytes = bytes(4).map((all) => [...all]);
const family_bytes = fc.oneof(
  ip4_bytes.map((all) => [0, ...all, ...Array.from({ length: 12 }, () => 0)]),
  ip6_bytes.map((all) => [1, ...all]),
);

function length_up_to(max: number): fc.Arbitrary<number> {
  return fc.integer({ min: 0, max });
}

function text(codec: string): fc.Arbitrary<string> {
  switch (codec) {
    case 'mac_address':
      return bytes(6).map((all) => text_of(codec, [...all]));
    case 'ip4_address':
      return ip4_bytes.map((all) => text_of(codec, all));
    case 'ip6_address':
      return ip6_bytes.map((all) => text_of(codec, all));
    case 'ip4_prefix':
      return fc.tuple(ip4_bytes, length_up_to(32)).map(([all, length]) => text_of(codec, [...all, length]));
    case 'ip6_prefix':
      return fc.tuple(ip6_bytes, length_up_to(128)).map(([all, length]) => text_of(codec, [...all, length]));
    case 'prefix':
      return family_bytes.chain((all) =>
        length_up_to(all[0] === 0 ? 32 : 128).map((length) => text_of(codec, [...all, length])),
      );
    default:
      return family_bytes.map((all) => text_of(codec, all));
  }
}

function named(type: model.Enum): fc.Arbitrary<string> {
  const names = Object.keys(type.values);
  const taken = new Set(Object.values(type.values));
  const max = 2 ** (8 * model.scalar_sizes[type.repr]) - 1;
  const other = fc.integer({ min: 0, max }).filter((value) => !taken.has(value));
  return fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...names) },
    other.map((value) => `unknown_${value}`),
  );
}

function number_of(type: model.Enum, name: string): number {
  return type.values[name] ?? Number(name.slice('unknown_'.length));
}

const words = fc.oneof(fc.string({ unit: 'grapheme-ascii' }), fc.string({ unit: 'grapheme' }));

function string(max: number): fc.Arbitrary<string> {
  return words.filter((one) => !one.includes('\0') && Buffer.from(one).length <= max);
}

/** `outer`: the number of the discriminator of the value around. */
function value(type: model.Type, outer: number | undefined): fc.Arbitrary<unknown> {
  switch (type.kind) {
    case 'scalar':
      return scalar(type.name);
    case 'flags':
      return scalar(type.repr);
    case 'enum':
      return named(type);
    case 'text':
      return text(type.codec);
    case 'blob':
      return bytes(type.size);
    case 'alias':
      return value(type.to, outer);
    case 'struct':
      return struct(type, outer);
    case 'union':
      return bytes(type.size).map((raw) => ({ raw }));
  }
}

function is_u8(type: model.Type): boolean {
  return type.kind === 'scalar' && type.name === 'u8';
}

function items(type: model.Type, min: number, max: number): fc.Arbitrary<unknown> {
  if (is_u8(type)) return fc.uint8Array({ minLength: min, maxLength: max });
  return fc.array(value(type, undefined), { minLength: min, maxLength: max });
}

function chosen(type: model.Union, tag: number): fc.Arbitrary<unknown> {
  const arm = type.arms.find(({ cases }) => Object.values(cases).includes(tag));
  return arm === undefined
    ? value(type, undefined)
    : value(arm.type, undefined).map((one) => ({ [arm.name]: one }));
}

function plain_field(field: model.Field): fc.Arbitrary<unknown> {
  switch (field.shape) {
    case 'one':
      return value(field.type, undefined);
    case 'fixed':
      return items(field.type, field.length, field.length);
    case 'filled':
      return items(field.type, 0, field.length);
    case 'list':
      return items(field.type, 0, 4);
    case 'padded_string':
      return string(field.length - 1);
    case 'string':
      return string(200);
    default:
      throw new Error(`${field.name} depends on another field`);
  }
}

/** The field that tells how this one is to be read. */
function discriminator(field: model.Field): string | undefined {
  if (field.shape === 'family_address' || field.shape === 'chosen') return field.by;
  return field.shape === 'one' && field.type.kind === 'struct' ? field.type.outer?.field : undefined;
}

function dependent_field(field: model.Field, tag: number): fc.Arbitrary<unknown> {
  if (field.shape === 'chosen') return chosen(field.type, tag);
  if (field.shape === 'family_address') {
    return tag === field.ip4 ? text('ip4_address') : text('ip6_address');
  }
  if (field.shape === 'one') return value(field.type, tag);
  throw new Error(`${field.name} depends on no other field`);
}

export function struct(type: model.Struct, outer: number | undefined): fc.Arbitrary<Record<string, unknown>> {
  const shown = type.fields.filter((field) => field.shape !== 'count');
  const plain = shown.filter((field) => discriminator(field) === undefined);
  const dependent = shown.filter((field) => discriminator(field) !== undefined);
  const record = fc.record(Object.fromEntries(plain.map((field) => [field.name, plain_field(field)])), {
    noNullPrototype: true,
  });
  if (dependent.length === 0) return record;
  return record.chain((known) => {
    const tag_of = (by: string): number => {
      const field = plain.find(({ name }) => name === by);
      if (field === undefined) return outer!;
      return number_of(
        model.bare((field as { readonly type: model.Type }).type) as model.Enum,
        known[by] as string,
      );
    };
    const rest = dependent.map(
      (field) => [field.name, dependent_field(field, tag_of(discriminator(field)!))] as const,
    );
    return fc
      .record(Object.fromEntries(rest), { noNullPrototype: true })
      .map((more) => ({ ...known, ...more }));
  });
}
