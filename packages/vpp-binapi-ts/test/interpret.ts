/**
 * The codecs once more, slowly: every value is walked along the model and written byte by byte, with its own ideas of numbers and
 * addresses. What compiled code does must be what this does.
 */
import * as model from '../src/gen/model.js';

export type Value = unknown;
type Fields = Readonly<Record<string, Value>>;

export class Impossible extends Error {}

function refuse(text: string): never {
  throw new Impossible(text);
}

// Text forms

/** The value of 1 to 4 hex digits in every group, zeros for `::`. */
function ip6_groups(text: string): number[] {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  const plain = dotted
    ? `${dotted[1]}${(Number(dotted[2]) * 256 + Number(dotted[3])).toString(16)}:${(Number(dotted[4]) * 256 + Number(dotted[5])).toString(16)}`
    : text;
  const [head = '', tail] = plain.split('::');
  const numbers = (part: string) =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  if (tail === undefined) return numbers(head);
  const zeros = 8 - numbers(head).length - numbers(tail).length;
  return [...numbers(head), ...Array.from({ length: zeros }, () => 0), ...numbers(tail)];
}

function address_bytes(text: string): number[] {
  return text.includes(':')
    ? ip6_groups(text).flatMap((group) => [group >> 8, group & 255])
    : text.split('.').map(Number);
}

function ip4_text(bytes: readonly number[]): string {
  return bytes.slice(0, 4).join('.');
}

function ip6_text(bytes: readonly number[]): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes[2 * i]! * 256 + bytes[2 * i + 1]!);
  const hex = groups.map((group) => group.toString(16));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff)
    return `::ffff:${ip4_text(bytes.slice(12))}`;
  for (let length = 8; length > 1; length--) {
    for (let at = 0; at + length <= 8; at++) {
      if (groups.slice(at, at + length).every((group) => group === 0)) {
        return `${hex.slice(0, at).join(':')}::${hex.slice(at + length).join(':')}`;
      }
    }
  }
  return hex.join(':');
}

function zeros(length: number): number[] {
  return Array.from({ length }, () => 0);
}

function text_bytes(codec: string, text: string): number[] {
  const [address = '', length] = text.split('/');
  switch (codec) {
    case 'mac_address':
      return text.split(':').map((part) => Number.parseInt(part, 16));
    case 'ip4_address':
    case 'ip6_address':
      return address_bytes(text);
    case 'ip4_prefix':
    case 'ip6_prefix':
      return [...address_bytes(address), Number(length)];
    default: {
      const bytes = address_bytes(address);
      const whole = [bytes.length === 16 ? 1 : 0, ...bytes, ...zeros(16 - bytes.length)];
      return codec === 'prefix' ? [...whole, Number(length)] : whole;
    }
  }
}

/** The text that decode gives for these bytes. */
export function text_of(codec: string, bytes: readonly number[]): string {
  const checked = (max: number, length: number) => (length > max ? refuse('prefix length') : length);
  switch (codec) {
    case 'mac_address':
      return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
    case 'ip4_address':
      return ip4_text(bytes);
    case 'ip6_address':
      return ip6_text(bytes);
    case 'ip4_prefix':
      return `${ip4_text(bytes)}/${checked(32, bytes[4]!)}`;
    case 'ip6_prefix':
      return `${ip6_text(bytes)}/${checked(128, bytes[16]!)}`;
    default: {
      const [family, ...rest] = bytes;
      if (family !== 0 && family !== 1) refuse('family');
      const address = family === 0 ? ip4_text(rest) : ip6_text(rest);
      return codec === 'prefix' ? `${address}/${checked(family === 0 ? 32 : 128, rest[16]!)}` : address;
    }
  }
}

// Numbers

function number_bytes(name: model.ScalarName, value: Value): number[] {
  if (name === 'f64') {
    const buffer = Buffer.alloc(8);
    buffer.writeDoubleLE(value as number);
    return [...buffer];
  }
  const size = model.scalar_sizes[name];
  const bits = BigInt.asUintN(8 * size, BigInt(value as number | bigint | boolean));
  return Array.from({ length: size }, (_, i) => Number((bits >> BigInt(8 * (size - 1 - i))) & 255n));
}

function number_of(name: model.ScalarName, bytes: readonly number[]): number | bigint | boolean {
  if (name === 'f64') return Buffer.from(bytes).readDoubleLE();
  const bits = bytes.reduce((all, byte) => (all << 8n) | BigInt(byte), 0n);
  if (name === 'bool') return bits !== 0n;
  const value = name.startsWith('i') ? BigInt.asIntN(8 * bytes.length, bits) : bits;
  return bytes.length === 8 ? value : Number(value);
}

function enum_number(type: model.Enum, value: Value): number {
  return type.values[value as string] ?? Number(/^unknown_(\d+)$/.exec(value as string)![1]);
}

function enum_name(type: model.Enum, value: number): string {
  return Object.entries(type.values).find(([, number]) => number === value)?.[0] ?? `unknown_${value}`;
}

// Encode

export function encode(type: model.Struct, value: Value): number[] {
  return struct_bytes(type, value as Fields, undefined);
}

function struct_bytes(type: model.Struct, value: Fields, outer: number | undefined): number[] {
  return type.fields.flatMap((field) => field_bytes(type, field, value, outer));
}

/** The number of the discriminator `by`: a field of this value, or that of the value around it. */
function tag_of(type: model.Struct, by: string, value: Fields, outer: number | undefined): number {
  const field = type.fields.find(({ name }) => name === by);
  if (field === undefined) return outer!;
  return enum_number(model.bare((field as { type: model.Type }).type) as model.Enum, value[by]);
}

function field_bytes(
  type: model.Struct,
  field: model.Field,
  value: Fields,
  outer: number | undefined,
): number[] {
  const one = value[field.name];
  switch (field.shape) {
    case 'count':
      return number_bytes(field.type.name, (value[field.of] as ArrayLike<Value>).length);
    case 'one': {
      const plain = model.bare(field.type);
      const tag =
        plain.kind === 'struct' && plain.outer ? tag_of(type, plain.outer.field, value, outer) : undefined;
      return value_bytes(field.type, one, tag);
    }
    case 'fixed':
    case 'list':
      return Array.from(one as ArrayLike<Value>).flatMap((item) => value_bytes(field.type, item, undefined));
    case 'filled': {
      const used = Array.from(one as ArrayLike<Value>).flatMap((item) =>
        value_bytes(field.type, item, undefined),
      );
      return [...used, ...zeros(model.field_size(field)! - used.length)];
    }
    case 'padded_string': {
      const text = [...Buffer.from(one as string)];
      return [...text, ...zeros(field.length - text.length)];
    }
    case 'string': {
      const text = [...Buffer.from(one as string)];
      return [...number_bytes('u32', text.length), ...text];
    }
    case 'family_address': {
      const bytes = address_bytes(one as string);
      return [...bytes, ...zeros(16 - bytes.length)];
    }
    case 'chosen':
      return value_bytes(field.type, one, undefined);
  }
}

function value_bytes(type: model.Type, value: Value, outer: number | undefined): number[] {
  switch (type.kind) {
    case 'scalar':
      return number_bytes(type.name, value);
    case 'flags':
      return number_bytes(type.repr, value);
    case 'enum':
      return number_bytes(type.repr, enum_number(type, value));
    case 'text':
      return text_bytes(type.codec, value as string);
    case 'blob':
      return [...(value as Uint8Array)];
    case 'alias':
      return value_bytes(type.to, value, outer);
    case 'struct':
      return struct_bytes(type, value as Fields, outer);
    case 'union': {
      const [[name, one]] = Object.entries(value as Fields) as [[string, Value]];
      const arm = type.arms.find((candidate) => candidate.name === name);
      const bytes = arm === undefined ? [...(one as Uint8Array)] : value_bytes(arm.type, one, undefined);
      return [...bytes, ...zeros(type.size - bytes.length)];
    }
  }
}

// Decode

class Input {
  #rest: readonly number[];

  constructor(bytes: readonly number[]) {
    this.#rest = bytes;
  }

  take(length: number): readonly number[] {
    if (length > this.#rest.length) refuse('cut');
    const taken = this.#rest.slice(0, length);
    this.#rest = this.#rest.slice(length);
    return taken;
  }
}

/** Throws Impossible where the bytes are no such message. */
export function decode(type: model.Struct, bytes: Iterable<number>): Value {
  return read_struct(type, new Input([...bytes]), undefined);
}

function read_struct(type: model.Struct, input: Input, outer: number | undefined): Value {
  const counts = new Map<string, number>();
  const tags = new Map<string, number>();
  const tag = (by: string) => tags.get(by) ?? outer!;
  const value: Record<string, Value> = {};
  for (const field of type.fields) {
    const { name } = field;
    switch (field.shape) {
      case 'count':
        counts.set(
          name,
          number_of(field.type.name, input.take(model.scalar_sizes[field.type.name])) as number,
        );
        break;
      case 'one': {
        const plain = model.bare(field.type);
        value[name] = read_value(
          plain,
          input,
          plain.kind === 'struct' && plain.outer ? tag(plain.outer.field) : undefined,
        );
        if (plain.kind === 'enum') tags.set(name, enum_number(plain, value[name]));
        break;
      }
      case 'fixed':
        value[name] = read_items(field.type, input, field.length);
        break;
      case 'list':
        value[name] = read_items(field.type, input, counts.get(field.count)!);
        break;
      case 'filled': {
        const count = counts.get(field.count)!;
        const room = new Input(input.take(model.field_size(field)!));
        if (count > field.length) refuse('count');
        value[name] = read_items(field.type, room, count);
        break;
      }
      case 'padded_string': {
        const bytes = input.take(field.length);
        const end = bytes.indexOf(0);
        value[name] = read_text(end < 0 ? bytes : bytes.slice(0, end));
        break;
      }
      case 'string':
        value[name] = read_text(input.take(number_of('u32', input.take(4)) as number));
        break;
      case 'family_address': {
        const bytes = input.take(16);
        value[name] = tag(field.by) === field.ip4 ? ip4_text(bytes) : ip6_text(bytes);
        break;
      }
      case 'chosen':
        value[name] = read_union(field.type, input, tag(field.by));
        break;
    }
  }
  return value;
}

function read_text(bytes: readonly number[]): string {
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

function read_items(type: model.Type, input: Input, count: number): Value {
  if (type.kind === 'scalar' && type.name === 'u8') return Uint8Array.from(input.take(count));
  const items: Value[] = [];
  for (let i = 0; i < count; i++) items.push(read_value(type, input, undefined));
  return items;
}

function read_union(type: model.Union, input: Input, tag: number | undefined): Value {
  const bytes = input.take(type.size);
  const arm = type.arms.find(({ cases }) => tag !== undefined && Object.values(cases).includes(tag));
  return arm === undefined
    ? { raw: Uint8Array.from(bytes) }
    : { [arm.name]: read_value(arm.type, new Input(bytes), undefined) };
}

function read_value(type: model.Type, input: Input, outer: number | undefined): Value {
  switch (type.kind) {
    case 'scalar':
      return number_of(type.name, input.take(model.scalar_sizes[type.name]));
    case 'flags':
      return number_of(type.repr, input.take(model.scalar_sizes[type.repr]));
    case 'enum':
      return enum_name(type, number_of(type.repr, input.take(model.scalar_sizes[type.repr])) as number);
    case 'text':
      return text_of(type.codec, input.take(type.size));
    case 'blob':
      return Uint8Array.from(input.take(type.size));
    case 'alias':
      return read_value(type.to, input, outer);
    case 'struct':
      return read_struct(type, input, outer);
    case 'union':
      return read_union(type, input, undefined);
  }
}
