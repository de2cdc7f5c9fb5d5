/** The bodies of size, encode and decode: straight-line code at constant offsets, from one part of variable size to the next. */
import { default_text, type Imports } from './emit-types.js';
import * as model from './model.js';
import { tuple_length_max } from './surface.js';

/** A position in the message: an offset behind a variable. */
class At {
  constructor(
    readonly base: string,
    readonly offset = 0,
  ) {}

  plus(size: number): At {
    return new At(this.base, this.offset + size);
  }

  toString(): string {
    return this.offset === 0 ? this.base : `${this.base} + ${this.offset}`;
  }
}

const setters: Readonly<Record<model.ScalarName, string | undefined>> = {
  u8: undefined,
  bool: undefined,
  i8: 'Int8',
  u16: 'Uint16',
  i16: 'Int16',
  u32: 'Uint32',
  i32: 'Int32',
  u64: 'BigUint64',
  i64: 'BigInt64',
  f64: 'Float64',
};

/** VPP never swaps a float (clib_host_to_net_f64 returns its argument): the order of the hosts VPP runs on, x86 and arm64. */
const float_order = ', true';

function put_number(name: model.ScalarName, at: At, value: string): string {
  const setter = setters[name];
  return setter === undefined
    ? `bytes[${at}] = ${value};`
    : `view.set${setter}(${at}, ${value}${name === 'f64' ? float_order : ''});`;
}

function get_number(name: model.ScalarName, at: At): string {
  if (name === 'bool') return `bytes[${at}] !== 0`;
  const setter = setters[name];
  return setter === undefined
    ? `bytes[${at}]!`
    : `view.get${setter}(${at}${name === 'f64' ? float_order : ''})`;
}

function checked(name: model.ScalarName, value: string, where: string): string {
  return name === 'bool' ? `${value} ? 1 : 0` : `c.${name}(${value}, '${where}')`;
}

function is_u8(type: model.Type): boolean {
  return type.kind === 'scalar' && type.name === 'u8';
}

/** Fields that serve as discriminator of another, or of one inside the type of another. */
function discriminators(type: model.Struct): ReadonlySet<string> {
  const names = new Set<string>();
  for (const field of type.fields) {
    if (field.shape === 'family_address' || field.shape === 'chosen') names.add(field.by);
    if (field.shape === 'one' && field.type.kind === 'struct' && field.type.outer)
      names.add(field.type.outer.field);
  }
  return names;
}

/** What a type needs to know beside its own bytes. */
function outer_argument(type: model.Type): string {
  if (type.kind === 'union') return ', undefined';
  return type.kind === 'struct' && type.outer ? `, tag_${type.outer.field}` : '';
}

export function size_body(imports: Imports, type: model.Struct): string {
  let fixed = 0;
  const terms: string[] = [];
  for (const field of type.fields) {
    const value = `value.${field.name}`;
    const size = model.field_size(field);
    if (size !== undefined) fixed += size;
    else if (field.shape === 'string') {
      fixed += 4;
      terms.push(`c.text_size(${value})`);
    } else if (field.shape === 'list') {
      const element = model.fixed_size(field.type);
      if (element === undefined) terms.push(`c.sum(${value}, ${size_function(imports, field.type)})`);
      else terms.push(element === 1 ? `${value}.length` : `${element} * ${value}.length`);
    } else if (field.shape === 'one') terms.push(`${size_function(imports, field.type)}(${value})`);
  }
  return [...(fixed > 0 || terms.length === 0 ? [String(fixed)] : []), ...terms].join(' + ');
}

function size_function(imports: Imports, type: model.Type): string {
  const plain = model.bare(type);
  if (plain.kind !== 'struct') throw new Error(`${plain.kind} has no size function`);
  return imports.use(plain, 'size_*');
}

export class Encoder {
  readonly #imports: Imports;
  readonly #type: model.Struct;
  readonly #lines: string[] = [];
  #at = new At('at');
  #variables = 0;

  constructor(imports: Imports, type: model.Struct) {
    this.#imports = imports;
    this.#type = type;
  }

  lines(): string[] {
    const tags = discriminators(this.#type);
    for (const field of this.#type.fields) this.#field(field, tags.has(field.name));
    const start = `const ${this.#at} = `;
    const last = this.#lines.at(-1);
    if (last?.startsWith(start)) return [...this.#lines.slice(0, -1), `return ${last.slice(start.length)}`];
    return [...this.#lines, `return ${this.#at};`];
  }

  /** From here on behind what `value`, an offset, evaluates to. */
  #move(value: string, keyword = 'const'): string {
    const name = `at${++this.#variables}`;
    this.#lines.push(`${keyword} ${name} = ${value};`);
    this.#at = new At(name);
    return name;
  }

  #field(field: model.Field, is_tag: boolean): void {
    const { name } = field;
    const where = `${this.#type.name}.${name}`;
    const value = field.default === undefined ? `value.${name}` : `(value.${name} ?? ${default_text(field)})`;
    const at = this.#at;
    switch (field.shape) {
      case 'one': {
        if (is_tag) return this.#tag(field.name, field.type, value, where);
        const size = model.fixed_size(field.type);
        if (size === undefined) {
          this.#move(struct_call(this.#imports, field.type, at, value));
          return;
        }
        this.#lines.push(this.#put(field.type, at, value, where));
        break;
      }
      case 'count':
        this.#lines.push(
          put_number(field.type.name, at, checked(field.type.name, `value.${field.of}.length`, where)),
        );
        break;
      case 'padded_string':
        this.#lines.push(`c.write_fixed_string(bytes, ${at}, ${field.length}, ${value}, '${where}');`);
        break;
      case 'string':
        this.#move(`c.write_string(to, ${at}, ${value}, '${where}')`);
        return;
      case 'family_address':
        this.#lines.push(
          `a.write_address_union(bytes, ${at}, ${value}, tag_${field.by}, ${field.ip4}, ${field.ip6}, '${where}');`,
        );
        break;
      case 'chosen':
        this.#lines.push(
          `${this.#imports.use(field.type, 'encode_*')}(to, ${at}, ${value}, tag_${field.by});`,
        );
        break;
      case 'fixed':
        this.#fixed(field, at, value, where);
        break;
      case 'filled':
        this.#filled(field, at, value, where);
        break;
      case 'list':
        this.#list(field, at, value, where);
        return;
    }
    this.#at = at.plus(model.field_size(field)!);
  }

  #tag(name: string, type: model.Type, value: string, where: string): void {
    const plain = model.bare(type);
    if (plain.kind !== 'enum') throw new Error(`${where} serves as a discriminator and is no enum`);
    this.#lines.push(
      `const tag_${name} = ${this.#imports.use(plain, '*_enum')}.value(${value}, '${where}');`,
    );
    this.#lines.push(put_number(plain.repr, this.#at, `tag_${name}`));
    this.#at = this.#at.plus(model.scalar_sizes[plain.repr]);
  }

  #fixed(field: model.Field & { readonly shape: 'fixed' }, at: At, value: string, where: string): void {
    const { type, length } = field;
    const size = model.element_size(field);
    if (is_u8(type)) {
      this.#lines.push(`c.write_bytes(bytes, ${at}, ${value}, ${length}, '${where}');`);
      return;
    }
    this.#lines.push(`c.exactly(${value}, ${length}, '${where}');`);
    if (length <= tuple_length_max) {
      for (let i = 0; i < length; i++)
        this.#lines.push(this.#put(type, at.plus(i * size), `${value}[${i}]`, where));
      return;
    }
    this.#lines.push(`for (let i = 0; i < ${length}; i++) {`);
    this.#lines.push(`  ${this.#put(type, new At(`${at} + ${size} * i`), `${value}[i]!`, where)}`, '}');
  }

  #filled(field: model.Field & { readonly shape: 'filled' }, at: At, value: string, where: string): void {
    const { type, length } = field;
    const size = model.element_size(field);
    const used = `used_${field.name}`;
    this.#lines.push(`const ${used} = c.at_most(${value}.length, ${length}, '${where}');`);
    if (is_u8(type)) this.#lines.push(`bytes.set(${value}, ${at});`);
    else {
      this.#lines.push(`for (let i = 0; i < ${used}; i++) {`);
      this.#lines.push(`  ${this.#put(type, new At(`${at} + ${size} * i`), `${value}[i]!`, where)}`, '}');
    }
    this.#lines.push(
      `bytes.fill(0, ${at} + ${size === 1 ? '' : `${size} * `}${used}, ${at.plus(size * length)});`,
    );
  }

  #list(field: model.Field & { readonly shape: 'list' }, at: At, value: string, where: string): void {
    const { type } = field;
    if (is_u8(type)) {
      this.#lines.push(`bytes.set(${value}, ${at});`);
      this.#move(`${at} + ${value}.length`);
      return;
    }
    const next = this.#move(String(at), 'let');
    const size = model.fixed_size(type);
    this.#lines.push(`for (const item of ${value}) {`);
    if (size === undefined)
      this.#lines.push(`  ${next} = ${struct_call(this.#imports, type, this.#at, 'item')};`);
    else this.#lines.push(`  ${this.#put(type, this.#at, 'item', where)}`, `  ${next} += ${size};`);
    this.#lines.push('}');
  }

  #put(type: model.Type, at: At, value: string, where: string): string {
    return put(this.#imports, type, at, value, where);
  }
}

/** A line for a type of fixed size. */
function put(imports: Imports, type: model.Type, at: At, value: string, where: string): string {
  const plain = model.bare(type);
  switch (plain.kind) {
    case 'scalar':
      return put_number(plain.name, at, checked(plain.name, value, where));
    case 'flags':
      return put_number(plain.repr, at, checked(plain.repr, value, where));
    case 'enum':
      return put_number(plain.repr, at, `${imports.use(plain, '*_enum')}.value(${value}, '${where}')`);
    case 'text':
      return `a.write_${plain.codec}(bytes, ${at}, ${value}, '${where}');`;
    case 'blob':
      return `c.write_bytes(bytes, ${at}, ${value}, ${plain.size}, '${where}');`;
    case 'struct':
    case 'union':
      return `${struct_call(imports, type, at, value)};`;
  }
}

/** The value of a type of fixed size whose bytes are known to be there. */
function get(imports: Imports, type: model.Type, at: At): string {
  const plain = model.bare(type);
  switch (plain.kind) {
    case 'scalar':
      return get_number(plain.name, at);
    case 'flags':
      return get_number(plain.repr, at);
    case 'enum':
      return `${imports.use(plain, '*_enum')}.name(${get_number(plain.repr, at)})`;
    case 'text':
      return `a.read_${plain.codec}(bytes, ${at})`;
    case 'blob':
      return `c.read_bytes(bytes, ${at}, ${plain.size})`;
    case 'struct':
    case 'union':
      return `${imports.use(plain, 'decode_*')}(from, ${at}${outer_argument(plain)})`;
  }
}

/** Of a type of fixed size: from `from` at `at`. Of one that varies: from a Reader, `from`, which is moved behind it. */
export class Decoder {
  readonly #imports: Imports;
  readonly #type: model.Struct;
  readonly #lines: string[] = [];
  readonly #members: string[] = [];
  readonly #variable: boolean;
  #at = new At('at');
  #variables = 0;

  constructor(imports: Imports, type: model.Struct) {
    this.#imports = imports;
    this.#type = type;
    this.#variable = model.fixed_size(type) === undefined;
  }

  lines(): string[] {
    const { fields } = this.#type;
    const tags = discriminators(this.#type);
    fields.forEach((field, index) => {
      const size = model.field_size(field);
      const previous = index === 0 ? undefined : model.field_size(fields[index - 1]!);
      if (this.#variable && size !== undefined && previous === undefined) this.#take(index);
      this.#field(field, tags.has(field.name));
      if (size !== undefined) this.#at = this.#at.plus(size);
    });
    const cast = fields.some((field) => field.shape === 'chosen') ? ` as ${this.#type.name}` : '';
    if (this.#members.length === 0) return [...this.#lines, 'return {};'];
    return [...this.#lines, 'return {', ...this.#members.map((one) => `  ${one},`), `}${cast};`];
  }

  /** The run of fixed fields that begins here. */
  #take(index: number): void {
    let size = 0;
    for (const field of this.#type.fields.slice(index)) {
      const one = model.field_size(field);
      if (one === undefined) break;
      size += one;
    }
    const name = `at${++this.#variables}`;
    this.#lines.push(`const ${name} = from.take(${size});`);
    this.#at = new At(name);
  }

  #field(field: model.Field, is_tag: boolean): void {
    const { name } = field;
    const at = this.#at;
    switch (field.shape) {
      case 'one':
        this.#one(name, field.type, at, is_tag);
        return;
      case 'count':
        this.#lines.push(`const ${name}_count = ${get_number(field.type.name, at)};`);
        return;
      case 'padded_string':
        this.#members.push(`${name}: c.read_fixed_string(bytes, ${at}, ${field.length})`);
        return;
      case 'string':
        this.#variable_member(name, 'from.string()');
        return;
      case 'family_address':
        this.#members.push(`${name}: a.read_address_union(bytes, ${at}, tag_${field.by}, ${field.ip4})`);
        return;
      case 'chosen':
        this.#members.push(
          `${name}: ${this.#imports.use(field.type, 'decode_*')}(from, ${at}, tag_${field.by})`,
        );
        return;
      case 'fixed':
        this.#fixed(field, at);
        return;
      case 'filled':
        this.#lines.push(`c.at_most(${field.count}_count, ${field.length}, '${this.#type.name}.${name}');`);
        if (is_u8(field.type))
          this.#members.push(`${name}: c.read_bytes(bytes, ${at}, ${field.count}_count)`);
        else this.#loop(name, field.type, `${field.count}_count`, at, model.element_size(field));
        return;
      case 'list':
        this.#list(field);
        return;
    }
  }

  #one(name: string, type: model.Type, at: At, is_tag: boolean): void {
    const plain = model.bare(type);
    if (is_tag && plain.kind === 'enum') {
      this.#lines.push(`const tag_${name} = ${get_number(plain.repr, at)};`);
      this.#members.push(`${name}: ${this.#imports.use(plain, '*_enum')}.name(tag_${name})`);
    } else if (model.fixed_size(type) !== undefined)
      this.#members.push(`${name}: ${get(this.#imports, type, at)}`);
    else if (plain.kind === 'struct')
      this.#variable_member(name, `${this.#imports.use(plain, 'decode_*')}(from)`);
  }

  /** Read where it stands, for the order of reading is the order of the bytes. */
  #variable_member(name: string, value: string): void {
    this.#lines.push(`const ${name}_value = ${value};`);
    this.#members.push(`${name}: ${name}_value`);
  }

  #fixed(field: model.Field & { readonly shape: 'fixed' }, at: At): void {
    const { name, type, length } = field;
    const size = model.element_size(field);
    if (is_u8(type)) this.#members.push(`${name}: c.read_bytes(bytes, ${at}, ${length})`);
    else if (length <= tuple_length_max) {
      const items = Array.from({ length }, (_, i) => get(this.#imports, type, at.plus(i * size)));
      this.#members.push(`${name}: [${items.join(', ')}]`);
    } else this.#loop(name, type, String(length), at, size);
  }

  #list({ name, type, count }: model.Field & { readonly shape: 'list' }): void {
    const counted = `${count}_count`;
    if (is_u8(type)) {
      this.#variable_member(name, `c.read_bytes(bytes, from.take(${counted}), ${counted})`);
      return;
    }
    const size = model.fixed_size(type);
    if (size !== undefined) {
      const start = `at${++this.#variables}`;
      this.#lines.push(`const ${start} = from.take(${size} * ${counted});`);
      this.#loop(name, type, counted, new At(start), size);
      return;
    }
    const plain = model.bare(type);
    if (plain.kind !== 'struct')
      throw new Error(`${this.#type.name}.${name}: elements of variable size that are no struct`);
    this.#lines.push(`from.expect(${counted}, ${model.size_min(type)});`);
    this.#push_loop(name, type, counted, `${this.#imports.use(plain, 'decode_*')}(from)`);
  }

  #loop(name: string, type: model.Type, count: string, at: At, size: number): void {
    this.#push_loop(name, type, count, get(this.#imports, type, new At(`${at} + ${size} * i`)));
  }

  #push_loop(name: string, type: model.Type, count: string, item: string): void {
    const element = type.kind === 'scalar' ? js_scalar(type.name) : this.#imports.use(type, 'type *');
    this.#lines.push(`const ${name}_items: ${element}[] = [];`);
    this.#lines.push(`for (let i = 0; i < ${count}; i++) ${name}_items.push(${item});`);
    this.#members.push(`${name}: ${name}_items`);
  }
}

function js_scalar(name: model.ScalarName): string {
  return name === 'bool' ? 'boolean' : name === 'u64' || name === 'i64' ? 'bigint' : 'number';
}

/** `tag` is the number of the discriminator, undefined where none says which arm it is: then any may be written, and only the bytes be read. */
export function union_lines(imports: Imports, type: model.Union): string[] {
  const { name, size } = type;
  const encode = type.arms.flatMap((arm) => {
    const where = `${name}.${arm.name}`;
    const cases = Object.values(arm.cases);
    const guard = ['tag !== undefined', ...cases.map((value) => `tag !== ${value}`)].join(' && ');
    const arm_size = model.fixed_size(arm.type)!;
    const at = new At('at');
    return [
      `  if ('${arm.name}' in value) {`,
      `    if (${guard}) c.wrong_arm('${where}', tag);`,
      `    ${put(imports, arm.type, at, `value.${arm.name}`, where)}`,
      ...(arm_size < size ? [`    bytes.fill(0, at + ${arm_size}, at + ${size});`] : []),
      `    return at + ${size};`,
      '  }',
    ];
  });
  const decode = type.arms.flatMap((arm) => {
    const cases = Object.values(arm.cases).map((value) => `    case ${value}:`);
    return cases.length === 0
      ? []
      : [...cases, `      return { ${arm.name}: ${get(imports, arm.type, new At('at'))} };`];
  });
  return [
    `export function encode_${name}(to: Bytes, at: number, value: ${name}, tag: number | undefined): number {`,
    '  const { view, bytes } = to;',
    ...encode,
    `  c.write_bytes(bytes, at, value.raw, ${size}, '${name}.raw');`,
    `  return at + ${size};`,
    '}',
    '',
    `export function decode_${name}(from: Bytes, at: number, tag: number | undefined): ${name} {`,
    '  const { view, bytes } = from;',
    '  switch (tag) {',
    ...decode,
    '    default:',
    `      return { raw: c.read_bytes(bytes, at, ${size}) };`,
    '  }',
    '}',
    '',
  ];
}

function struct_call(imports: Imports, type: model.Type, at: At, value: string): string {
  const plain = model.bare(type);
  if (plain.kind !== 'struct' && plain.kind !== 'union')
    throw new Error(`${plain.kind} has no encode function`);
  return `${imports.use(plain, 'encode_*')}(to, ${at}, ${value}${outer_argument(plain)})`;
}
