/** The schema with every name resolved and every size known: what the emitter, and the interpreter of the tests, walk over. */
import type { Default, EnumSchema, FieldSchema, ModuleSchema, Schema } from './schema.js';
import * as surface from './surface.js';

export type ScalarName = 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'u64' | 'i64' | 'f64' | 'bool';

export const scalar_sizes: Readonly<Record<ScalarName, number>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  u64: 8,
  i64: 8,
  f64: 8,
  bool: 1,
};

export interface Scalar {
  readonly kind: 'scalar';
  readonly name: ScalarName;
}

interface Named {
  readonly name: string;
  readonly module: string;
}

export interface Enum extends Named {
  readonly kind: 'enum' | 'flags';
  readonly repr: ScalarName;
  readonly values: Readonly<Record<string, number>>;
}

/** Text at the surface, bytes of fixed length on the wire. */
export interface Text extends Named {
  readonly kind: 'text';
  readonly size: number;
  readonly codec: string;
}

export interface Alias extends Named {
  readonly kind: 'alias';
  readonly to: Type;
}

/** An alias of an array of u8. */
export interface Blob extends Named {
  readonly kind: 'blob';
  readonly size: number;
}

export interface Struct extends Named {
  readonly kind: 'struct';
  readonly fields: readonly Field[];
  /** The discriminator that the surrounding type has to hand in. */
  readonly outer: { readonly field: string; readonly type: Enum } | undefined;
}

export interface Arm {
  readonly name: string;
  readonly type: Type;
  /** Names and numbers of the discriminator's values; empty where the definition names none. */
  readonly cases: Readonly<Record<string, number>>;
}

export interface Union extends Named {
  readonly kind: 'union';
  readonly size: number;
  readonly arms: readonly Arm[];
}

export type Type = Scalar | Enum | Text | Alias | Blob | Struct | Union;

export type Field = { readonly name: string; readonly default?: Default } & Shape;

export type Shape =
  | { readonly shape: 'one'; readonly type: Type }
  /** Not at the surface: the length of `of`. */
  | { readonly shape: 'count'; readonly type: Scalar; readonly of: string }
  | { readonly shape: 'fixed'; readonly type: Type; readonly length: number }
  /** Of `length` elements so many are in use as the field `count` says. */
  | { readonly shape: 'filled'; readonly type: Type; readonly length: number; readonly count: string }
  | { readonly shape: 'list'; readonly type: Type; readonly count: string }
  | { readonly shape: 'padded_string'; readonly length: number }
  | { readonly shape: 'string' }
  /** An address_union; `by` is a field before it, or that of `outer`. */
  | { readonly shape: 'family_address'; readonly by: string; readonly ip4: number; readonly ip6: number }
  | { readonly shape: 'chosen'; readonly type: Union; readonly by: string; readonly tag: Enum };

export type HeaderName = 'request' | 'reply' | 'event' | 'bare';

export interface Message {
  readonly name: string;
  readonly crc: string;
  readonly deprecated: boolean;
  readonly header: HeaderName;
  readonly body: Struct;
  readonly service: Service | undefined;
}

export type Service =
  | { readonly kind: 'request'; readonly reply: string }
  | { readonly kind: 'dump'; readonly details: string }
  | { readonly kind: 'stream'; readonly details: string; readonly reply: string }
  | { readonly kind: 'subscription'; readonly reply: string; readonly events: readonly string[] }
  | { readonly kind: 'one_way' };

export interface Module {
  readonly name: string;
  readonly version: string;
  readonly crc: string;
  readonly types: readonly Exclude<Type, Scalar>[];
  readonly messages: readonly Message[];
}

export interface Model {
  readonly vpp_version: string;
  readonly modules: readonly Module[];
}

/** Throws where the schema contradicts itself or holds what this generator cannot bind, naming the definition. */
export function resolve_schema(schema: Schema): Model {
  const resolver = new Resolver(schema);
  return {
    vpp_version: schema.vpp_version,
    modules: schema.modules.map((module) => resolver.module(module)),
  };
}

/** Bytes of a value, or undefined where that depends on the value. */
export function fixed_size(type: Type): number | undefined {
  switch (type.kind) {
    case 'scalar':
      return scalar_sizes[type.name];
    case 'enum':
    case 'flags':
      return scalar_sizes[type.repr];
    case 'text':
    case 'blob':
    case 'union':
      return type.size;
    case 'alias':
      return fixed_size(type.to);
    case 'struct':
      return type.fields.reduce<number | undefined>((total, field) => {
        const size = field_size(field);
        return total === undefined || size === undefined ? undefined : total + size;
      }, 0);
  }
}

export function field_size(field: Field): number | undefined {
  switch (field.shape) {
    case 'one':
    case 'count':
      return fixed_size(field.type);
    case 'fixed':
    case 'filled':
      return field.length * element_size(field);
    case 'padded_string':
      return field.length;
    case 'family_address':
      return 16;
    case 'chosen':
      return field.type.size;
    case 'list':
    case 'string':
      return undefined;
  }
}

/** Bytes that a value has at least. */
export function size_min(type: Type): number {
  if (type.kind === 'alias') return size_min(type.to);
  if (type.kind !== 'struct') return fixed_size(type) ?? 0;
  let total = 0;
  for (const field of type.fields) {
    const size = field_size(field);
    if (size !== undefined) total += size;
    else if (field.shape === 'string') total += 4;
    else if (field.shape === 'one') total += size_min(field.type);
  }
  return total;
}

export function element_size(field: Field & { readonly shape: 'fixed' | 'filled' }): number {
  const size = fixed_size(field.type);
  if (size === undefined)
    throw new Error(`${field.name}: an array of fixed length whose elements vary in size cannot be bound`);
  return size;
}

/** Without its aliases. */
export function bare(type: Type): Exclude<Type, Alias> {
  return type.kind === 'alias' ? bare(type.to) : type;
}

export function has_default(type: Type): boolean {
  const plain = bare(type);
  return plain.kind === 'struct' && plain.fields.some(field_has_default);
}

/** Itself, or something in it. */
export function field_has_default(field: Field): boolean {
  return (
    field.default !== undefined || ('type' in field && field.shape !== 'count' && has_default(field.type))
  );
}

class Resolver {
  readonly #modules: ReadonlyMap<string, ModuleSchema>;
  readonly #types = new Map<string, Exclude<Type, Scalar>>();

  constructor(schema: Schema) {
    this.#modules = new Map(schema.modules.map((module) => [module.name, module]));
  }

  module(module: ModuleSchema): Module {
    const names = [module.aliases, module.enums, module.unions, module.types].flatMap((one) =>
      Object.keys(one),
    );
    return {
      name: module.name,
      version: module.version,
      crc: module.crc,
      types: names.sort().map((name) => this.#own_type(module, name)!),
      messages: Object.keys(module.messages).map((name) => this.#message(module, name)),
    };
  }

  #message(module: ModuleSchema, name: string): Message {
    const { crc, deprecated, fields } = module.messages[name]!;
    const header = header_of(fields);
    const body: Struct = {
      kind: 'struct',
      name,
      module: module.name,
      fields: this.#fields(module, name, fields.slice(header_fields[header].length)),
      outer: undefined,
    };
    const service = module.services[name];
    const { reply, details, events } = service ?? {};
    for (const other of [reply, details, ...(events ?? [])]) {
      if (other !== undefined && module.messages[other] === undefined)
        throw new Error(`${name}: its answer ${other} is not in ${module.name}`);
    }
    return {
      name,
      crc,
      deprecated,
      header,
      body,
      service: service && service_of({ reply, details, events }),
    };
  }

  #type(module: ModuleSchema, name: string): Type {
    if (name in scalar_sizes) return { kind: 'scalar', name: name as ScalarName };
    for (const place of [module.name, ...module.imports]) {
      const type = this.#own_type(this.#modules.get(place)!, name);
      if (type !== undefined) return type;
    }
    throw new Error(`${module.name}: no definition of type ${name}`);
  }

  #own_type(module: ModuleSchema, name: string): Exclude<Type, Scalar> | undefined {
    const key = `${module.name}.${name}`;
    const known = this.#types.get(key);
    if (known !== undefined) return known;
    const type = this.#define(module, name);
    if (type !== undefined) this.#types.set(key, type);
    return type;
  }

  #define(module: ModuleSchema, name: string): Exclude<Type, Scalar> | undefined {
    const id = { name, module: module.name };
    const alias = module.aliases[name];
    const fields = module.types[name];
    const text = surface.text_types[name];
    if (text !== undefined && (alias ?? fields) !== undefined) {
      const definition = alias
        ? `${alias.type}${alias.length === undefined ? '' : `[${alias.length}]`}`
        : fields!.map((field) => `${field.type} ${field.name}`).join(', ');
      if (definition !== text.definition)
        throw new Error(`${name} is \`${definition}\` here; its text form is that of \`${text.definition}\``);
      return { kind: 'text', ...id, size: text.size, codec: text.codec };
    }
    if (alias !== undefined) return this.#alias(module, name, alias.type, alias.length);
    const one = module.enums[name];
    if (one !== undefined) return enum_of(id, one);
    const arms = module.unions[name];
    if (arms !== undefined) return this.#union(module, name, arms);
    if (fields === undefined) return undefined;
    const outer = surface.outer_discriminators[name];
    return {
      kind: 'struct',
      ...id,
      fields: this.#fields(module, name, fields),
      outer: outer && { field: outer.field, type: this.#enum(module, outer.type) },
    };
  }

  #alias(module: ModuleSchema, name: string, to: string, length: number | undefined): Alias | Blob {
    const id = { name, module: module.name };
    if (length === undefined) return { kind: 'alias', ...id, to: this.#type(module, to) };
    if (to !== 'u8') throw new Error(`${name}: an alias of an array of ${to} cannot be bound`);
    return { kind: 'blob', ...id, size: length };
  }

  #enum(module: ModuleSchema, name: string): Enum {
    const type = this.#type(module, name);
    if (type.kind !== 'enum')
      throw new Error(`${name} of ${module.name} serves as a discriminator and is no enum`);
    return type;
  }

  #union(module: ModuleSchema, name: string, fields: readonly FieldSchema[]): Union {
    const arms = fields.map((field): Arm => {
      if (field.length !== undefined)
        throw new Error(`${name}.${field.name}: an array as member of a union cannot be bound`);
      const extra = surface.extra_cases[name]?.[field.name] ?? [];
      return {
        name: field.name,
        type: this.#type(module, field.type),
        cases: field.case === undefined ? {} : this.#cases(module, name, [field.case, ...extra]),
      };
    });
    const sizes = arms.map((arm) => {
      const size = fixed_size(arm.type);
      if (size === undefined)
        throw new Error(`${name}.${arm.name}: a member of a union that varies in size cannot be bound`);
      return size;
    });
    return { kind: 'union', name, module: module.name, size: Math.max(...sizes), arms };
  }

  /** The numbers of an enum's values; which enum, the value's name tells. */
  #cases(module: ModuleSchema, union: string, names: readonly string[]): Record<string, number> {
    const enums = [module.name, ...module.imports].flatMap((one) =>
      Object.values(this.#modules.get(one)!.enums),
    );
    return Object.fromEntries(
      names.map((name) => {
        const value = enums.find(({ values }) => name in values)?.values[name];
        if (value === undefined) throw new Error(`${union}: no enum has the value ${name}`);
        return [name, value];
      }),
    );
  }

  #fields(module: ModuleSchema, owner: string, fields: readonly FieldSchema[]): Field[] {
    const filled = surface.filled_arrays[owner] ?? {};
    const counted = new Map<string, string>();
    for (const { name, length } of fields) {
      const count = typeof length === 'string' ? length : filled[name];
      if (count === undefined) continue;
      if (counted.has(count))
        throw new Error(`${owner}: ${count} counts both ${counted.get(count)} and ${name}`);
      counted.set(count, name);
    }
    const seen = new Map<string, Type>();
    return fields.map((field) => {
      const where = `${owner}.${field.name}`;
      const of = counted.get(field.name);
      const shape =
        of === undefined ? this.#shape(module, owner, field, seen) : count_shape(where, field, of);
      if ('count' in shape && !seen.has(shape.count))
        throw new Error(`${where}: no field ${shape.count} before it`);
      seen.set(field.name, 'type' in shape ? shape.type : { kind: 'scalar', name: 'u8' });
      return {
        name: field.name,
        ...shape,
        ...(field.default === undefined ? {} : { default: field.default }),
      };
    });
  }

  #shape(module: ModuleSchema, owner: string, field: FieldSchema, seen: ReadonlyMap<string, Type>): Shape {
    const where = `${owner}.${field.name}`;
    if (field.type === 'string') {
      if (field.length === undefined) return { shape: 'string' };
      if (typeof field.length === 'string')
        throw new Error(`${where}: a string counted by another field cannot be bound`);
      return { shape: 'padded_string', length: field.length };
    }
    const type = this.#type(module, field.type);
    if (typeof field.length === 'string') return { shape: 'list', type, count: field.length };
    if (field.length === 0) throw new Error(`${where}: an array without a length cannot be bound`);
    if (field.length !== undefined) {
      const count = surface.filled_arrays[owner]?.[field.name];
      if (count === undefined) return { shape: 'fixed', type, length: field.length };
      return { shape: 'filled', type, length: field.length, count };
    }
    if (type.kind === 'union' && type.name === surface.address_union) {
      const by = field.by ?? surface.address_union_discriminators[owner]?.[field.name];
      if (by === undefined) throw new Error(`${where}: nothing tells the family of this address_union`);
      const tag = this.#tag(module, owner, where, by, seen);
      const values = surface.family_values[tag.name];
      if (values === undefined) throw new Error(`${where}: ${tag.name} tells no address family`);
      return { shape: 'family_address', by, ip4: tag.values[values.ip4]!, ip6: tag.values[values.ip6]! };
    }
    if (type.kind === 'union' && field.by !== undefined) {
      return { shape: 'chosen', type, by: field.by, tag: this.#tag(module, owner, where, field.by, seen) };
    }
    if (type.kind === 'struct' && type.outer !== undefined && !seen.has(type.outer.field)) {
      throw new Error(`${where}: no field ${type.outer.field} before it`);
    }
    return { shape: 'one', type };
  }

  #tag(
    module: ModuleSchema,
    owner: string,
    where: string,
    by: string,
    seen: ReadonlyMap<string, Type>,
  ): Enum {
    const outer = surface.outer_discriminators[owner];
    const type = outer?.field === by ? this.#enum(module, outer.type) : seen.get(by);
    if (type?.kind !== 'enum') throw new Error(`${where}: its discriminator ${by} is no enum before it`);
    return type;
  }
}

function count_shape(where: string, field: FieldSchema, of: string): Shape {
  if (field.type !== 'u8' && field.type !== 'u16' && field.type !== 'u32')
    throw new Error(`${where}: a count of type ${field.type}`);
  if (field.length !== undefined || field.default !== undefined)
    throw new Error(`${where}: a count with a length or a default`);
  return { shape: 'count', type: { kind: 'scalar', name: field.type }, of };
}

function enum_of(id: Named, { repr, flag, values }: EnumSchema): Enum {
  if (!(repr in scalar_sizes)) throw new Error(`${id.name}: an enum of ${repr}`);
  return {
    kind: surface.is_bit_set(id.name, flag) ? 'flags' : 'enum',
    ...id,
    repr: repr as ScalarName,
    values,
  };
}

const header_fields: Readonly<Record<HeaderName, readonly string[]>> = {
  request: ['u32 client_index', 'u32 context'],
  reply: ['u32 context'],
  event: ['u32 client_index'],
  bare: [],
};

/** From the first fields behind `_vl_msg_id`: longest match first. */
function header_of(fields: readonly FieldSchema[]): HeaderName {
  const first = fields.slice(0, 2).map(({ type, name }) => `${type} ${name}`);
  const names: readonly HeaderName[] = ['request', 'reply', 'event', 'bare'];
  return names.find((name) => header_fields[name].every((field, index) => first[index] === field))!;
}

function service_of(service: {
  readonly reply: string | undefined;
  readonly details: string | undefined;
  readonly events: readonly string[] | undefined;
}): Service {
  const { reply, details, events } = service;
  if (reply === undefined) return details === undefined ? { kind: 'one_way' } : { kind: 'dump', details };
  if (details !== undefined) return { kind: 'stream', details, reply };
  return events === undefined ? { kind: 'request', reply } : { kind: 'subscription', reply, events };
}
