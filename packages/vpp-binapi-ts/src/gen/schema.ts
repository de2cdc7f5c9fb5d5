/**
 * The schema: what one VPP's `*.api.json` files say, once and compactly. Every definition is one line of the file and stays with the module
 * that defines it. Fields are written in the words of VPP's own .api files:
 *
 *   `u32 table_id`   `bool is_add = true`   `string name` (u32 length, text)   `string[64] name` (padded)
 *   `u8[16] key`   `fib_path[n_paths] paths` (n_paths: the field that counts them)   `address_union un by af`   `prefix cidr case NPOL_CIDR`
 */

export const schema_format = 1;

export interface Schema {
  readonly vpp_version: string;
  readonly modules: readonly ModuleSchema[];
}

export interface ModuleSchema {
  readonly name: string;
  readonly version: string;
  /** Of the whole .api file. */
  readonly crc: string;
  /** Modules whose types this one uses. */
  readonly imports: readonly string[];
  readonly aliases: Readonly<Record<string, AliasSchema>>;
  readonly enums: Readonly<Record<string, EnumSchema>>;
  readonly unions: Readonly<Record<string, readonly FieldSchema[]>>;
  readonly types: Readonly<Record<string, readonly FieldSchema[]>>;
  readonly messages: Readonly<Record<string, MessageSchema>>;
  readonly services: Readonly<Record<string, ServiceSchema>>;
}

export interface AliasSchema {
  readonly type: string;
  readonly length?: number;
}

export interface EnumSchema {
  readonly repr: string;
  /** Declared as `enumflag`: its values are bits. */
  readonly flag: boolean;
  readonly values: Readonly<Record<string, number>>;
}

export interface FieldSchema {
  readonly type: string;
  readonly name: string;
  /** A number: so many. A text: as many as that field says. */
  readonly length?: number | string;
  readonly default?: Default;
  /** The field that tells which arm of the union is meant. */
  readonly by?: string;
  /** The value of the discriminator that this arm belongs to. */
  readonly case?: string;
}

export type Default = number | boolean | string;

export interface MessageSchema {
  readonly crc: string;
  readonly deprecated: boolean;
  /** All behind `_vl_msg_id`. */
  readonly fields: readonly FieldSchema[];
}

export interface ServiceSchema {
  /** Absent: never answered. */
  readonly reply?: string;
  readonly details?: string;
  readonly events?: readonly string[];
}

export function write_field(field: FieldSchema): string {
  const length = field.length === undefined ? '' : `[${field.length}]`;
  const rest = [
    field.default === undefined ? '' : ` = ${JSON.stringify(field.default)}`,
    field.by === undefined ? '' : ` by ${field.by}`,
    field.case === undefined ? '' : ` case ${field.case}`,
  ];
  return `${field.type}${length} ${field.name}${rest.join('')}`;
}

const field_line = /^(\w+)(?:\[(\w+)\])? (\w+)(?: = (\S+))?(?: by (\w+))?(?: case (\w+))?$/;

export function read_field(line: string): FieldSchema {
  const [, type, length, name, value, by, arm] = field_line.exec(line) ?? [];
  if (type === undefined || name === undefined) throw new Error(`not a field: ${JSON.stringify(line)}`);
  return {
    type,
    name,
    ...(length === undefined ? {} : { length: /^\d+$/.test(length) ? Number(length) : length }),
    ...(value === undefined ? {} : { default: JSON.parse(value) as Default }),
    ...(by === undefined ? {} : { by }),
    ...(arm === undefined ? {} : { case: arm }),
  };
}

/** How the file spells a message: its CRC (with `deprecated` behind it where VPP says so), then its fields. */
type MessageLine = readonly [head: string, ...fields: string[]];

interface ModuleFile extends Omit<ModuleSchema, 'unions' | 'types' | 'messages'> {
  readonly unions: Readonly<Record<string, readonly string[]>>;
  readonly types: Readonly<Record<string, readonly string[]>>;
  readonly messages: Readonly<Record<string, MessageLine>>;
}

interface SchemaFile {
  readonly format: number;
  readonly vpp_version: string;
  readonly modules: readonly ModuleFile[];
}

/** One definition a line, so that two VPPs can be compared with diff. Always the same bytes for the same schema. */
export function write_schema(schema: Schema): string {
  const lines = [
    '{',
    `"format": ${schema_format},`,
    `"vpp_version": ${JSON.stringify(schema.vpp_version)},`,
    '"modules": [',
  ];
  schema.modules.forEach((module, index) => {
    const { name, version, crc, imports } = module;
    const head = JSON.stringify({ name, version, crc, imports }).slice(0, -1);
    const sections = [
      section('aliases', module.aliases, (alias) => alias),
      section('enums', module.enums, (one) => one),
      section('unions', module.unions, (fields) => fields.map(write_field)),
      section('types', module.types, (fields) => fields.map(write_field)),
      section('messages', module.messages, (one) => [
        one.deprecated ? `${one.crc} deprecated` : one.crc,
        ...one.fields.map(write_field),
      ]),
      section('services', module.services, (service) => service),
    ];
    lines.push(`${head},`, `${sections.join(',\n')}}${index + 1 < schema.modules.length ? ',' : ''}`);
  });
  lines.push(']', '}', '');
  return lines.join('\n');
}

function section<T>(name: string, entries: Readonly<Record<string, T>>, form: (entry: T) => unknown): string {
  const lines = Object.entries(entries).map(
    ([key, entry]) => `  ${JSON.stringify(key)}: ${JSON.stringify(form(entry))}`,
  );
  return lines.length === 0 ? ` "${name}": {}` : ` "${name}": {\n${lines.join(',\n')}\n }`;
}

export function read_schema(text: string): Schema {
  const file = JSON.parse(text) as SchemaFile;
  if (file.format !== schema_format)
    throw new Error(`schema of format ${file.format}; this generator reads format ${schema_format}`);
  return {
    vpp_version: file.vpp_version,
    modules: file.modules.map((module) => ({
      ...module,
      unions: map_values(module.unions, (fields) => fields.map(read_field)),
      types: map_values(module.types, (fields) => fields.map(read_field)),
      messages: map_values(module.messages, ([head, ...fields]) => ({
        crc: head.slice(0, 8),
        deprecated: head.endsWith(' deprecated'),
        fields: fields.map(read_field),
      })),
    })),
  };
}

function map_values<A, B>(entries: Readonly<Record<string, A>>, form: (entry: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(entries).map(([key, entry]) => [key, form(entry)]));
}
