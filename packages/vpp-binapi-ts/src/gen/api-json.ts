/** From the `*.api.json` files that VPP installs (`<prefix>/share/vpp/api`) to the schema. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import type {
  AliasSchema,
  Default,
  EnumSchema,
  FieldSchema,
  MessageSchema,
  ModuleSchema,
  Schema,
  ServiceSchema,
} from './schema.js';

type Options = Readonly<Record<string, unknown>>;
type ApiField = readonly [type: string, name: string, ...rest: (number | string | Options)[]];
type ApiDefinition = readonly [name: string, ...parts: (ApiField | Options)[]];
type ApiEnum = readonly [name: string, ...parts: (readonly [string, number] | Options)[]];

/** One file. Types of imported modules stand in it as well. */
interface ApiFile {
  readonly module: string;
  readonly vl_api_version: string;
  readonly options: { readonly version?: string };
  readonly imports: readonly string[];
  readonly types: readonly ApiDefinition[];
  readonly unions: readonly ApiDefinition[];
  readonly messages: readonly ApiDefinition[];
  readonly enums: readonly ApiEnum[];
  readonly enumflags?: readonly ApiEnum[];
  readonly aliases: Readonly<Record<string, AliasSchema>>;
  readonly services: Readonly<Record<string, ApiService>>;
}

interface ApiService {
  readonly reply: string;
  readonly stream?: boolean;
  readonly stream_msg?: string;
  readonly events?: readonly string[];
}

const suffix = '.api.json';

/** Reads every file under `directory`. Throws where there is none, or where two files define one module. */
export function read_api_directory(directory: string, vpp_version: string): Schema {
  const paths = readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith(suffix))
    .sort();
  if (paths.length === 0)
    throw new Error(`no *${suffix} under ${directory}: give the share/vpp/api of an installed VPP`);
  const files = new Map<string, ApiFile>();
  for (const path of paths) {
    const file = JSON.parse(readFileSync(join(directory, path), 'utf8')) as Omit<ApiFile, 'module'>;
    const module = basename(path, suffix);
    if (files.has(module)) throw new Error(`two files for module ${module} under ${directory}`);
    files.set(module, { ...file, module });
  }
  const modules = [...files.values()]
    .sort((a, b) => (a.module < b.module ? -1 : 1))
    .map((file) => module_of(file, files));
  return { vpp_version, modules };
}

/**
 * The version in the names of the libraries beside `<prefix>/share/vpp/api`, e.g. 26.10 of libvlibmemory.so.26.10; undefined where there
 * is none: the .api.json files do not tell it.
 */
export function deduce_vpp_version(directory: string): string | undefined {
  const prefix = resolve(directory, '../../..');
  for (const lib of ['lib', 'lib64', 'lib/x86_64-linux-gnu', 'lib/aarch64-linux-gnu']) {
    let names: string[];
    try {
      names = readdirSync(join(prefix, lib));
    } catch {
      continue; // no such directory: the next of the usual ones
    }
    for (const name of names.sort()) {
      const version = /^libvlibmemory\.so\.(\d+\.\d+.*)$/.exec(name)?.[1];
      if (version !== undefined) return version;
    }
  }
  return undefined;
}

function module_of(file: ApiFile, files: ReadonlyMap<string, ApiFile>): ModuleSchema {
  const imports = [...new Set(file.imports.map((path) => basename(path, '.api')))]
    .filter((name) => files.has(name))
    .sort();
  const foreign = new Set(imports.flatMap((name) => type_names(files.get(name)!)));
  const own = (name: string) => !foreign.has(plain(name));
  return {
    name: file.module,
    version: file.options.version ?? '',
    crc: hex8(file.vl_api_version),
    imports,
    aliases: record(
      Object.entries(file.aliases).filter(([name]) => own(name)),
      ([name, alias]) => [plain(name), alias_of(alias)],
    ),
    enums: record(
      [
        ...file.enums.map((one) => [one, false] as const),
        ...(file.enumflags ?? []).map((one) => [one, true] as const),
      ].filter(([one]) => own(one[0])),
      ([one, flag]) => [plain(one[0]), enum_of(one, flag)],
    ),
    unions: record(
      file.unions.filter((one) => own(one[0])),
      (one) => [plain(one[0]), fields_of(one)],
    ),
    types: record(
      file.types.filter((one) => own(one[0])),
      (one) => [plain(one[0]), fields_of(one)],
    ),
    messages: record(file.messages, (one) => [one[0], message_of(one)]),
    services: record(Object.entries(file.services), ([name, service]) => [name, service_of(service)]),
  };
}

function record<A, B>(entries: readonly A[], form: (entry: A) => [string, B]): Record<string, B> {
  return Object.fromEntries(entries.map(form).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function type_names(file: ApiFile): string[] {
  const definitions = [...file.types, ...file.unions, ...file.enums, ...(file.enumflags ?? [])];
  return [...definitions.map((one) => plain(one[0])), ...Object.keys(file.aliases).map(plain)];
}

/** `vl_api_fib_path_t` is fib_path. */
function plain(name: string): string {
  return name.startsWith('vl_api_') ? name.slice('vl_api_'.length).replace(/_t$/, '') : name;
}

function hex8(crc: unknown): string {
  return String(crc).replace(/^0x/, '').padStart(8, '0');
}

function alias_of({ type, length }: AliasSchema): AliasSchema {
  return length === undefined ? { type: plain(type) } : { type: plain(type), length };
}

function enum_of([, ...parts]: ApiEnum, flag: boolean): EnumSchema {
  let repr = 'u32';
  const values: Record<string, number> = {};
  for (const part of parts) {
    if (is_pair(part)) values[part[0]] = part[1];
    else repr = String(part.enumtype ?? repr);
  }
  return { repr, flag, values };
}

function is_pair(part: readonly [string, number] | Options): part is readonly [string, number] {
  return Array.isArray(part);
}

function is_field(part: ApiField | Options): part is ApiField {
  return Array.isArray(part);
}

function fields_of([, ...parts]: ApiDefinition): FieldSchema[] {
  return parts.filter(is_field).map(field_of);
}

function field_of([type, name, ...rest]: ApiField): FieldSchema {
  const options = rest.find((one): one is Options => typeof one === 'object');
  const [size, count] = rest.filter((one) => typeof one !== 'object');
  const length = count ?? (size === 0 && type === 'string' ? undefined : size);
  return {
    type: plain(type),
    name,
    ...(length === undefined ? {} : { length }),
    ...(options?.default === undefined ? {} : { default: default_of(options.default) }),
    ...(options?.discriminator === undefined ? {} : { by: String(options.discriminator) }),
    ...(options?.case === undefined ? {} : { case: String(options.case) }),
  };
}

/** VPP writes a boolean as `"true"` or as `false`, a number as such. */
function default_of(value: unknown): Default {
  if (value === 'true' || value === 'false') return value === 'true';
  return value as Default;
}

function message_of(definition: ApiDefinition): MessageSchema {
  const meta = definition.at(-1) as { readonly crc: string; readonly options?: Options };
  const [id, ...fields] = fields_of(definition);
  if (id?.name !== '_vl_msg_id') throw new Error(`message ${definition[0]} does not begin with _vl_msg_id`);
  return { crc: hex8(meta.crc), deprecated: 'deprecated' in (meta.options ?? {}), fields };
}

/** A dump's reply is its details; a stream has both (`stream_msg` are the details). */
function service_of({ reply, stream, stream_msg, events }: ApiService): ServiceSchema {
  if (reply === 'null') return {};
  if (stream_msg !== undefined) return { reply, details: stream_msg };
  if (stream === true) return { details: reply };
  return events === undefined ? { reply } : { reply, events };
}
