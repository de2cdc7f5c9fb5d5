/** The tables of docs/configuration.md, made of the schemas in src/config and the words beside them. `--check`: says whether they are what is there. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as documents from '../src/config/documents.js';
import { interface_spec_document } from '../src/config/interface-spec.js';
import * as manual from '../src/config/manual.js';
import { Secret } from '../src/config/secret.js';
import { type Variable, variables } from '../src/config/variables.js';

export const manual_path = fileURLToPath(new URL('../../docs/configuration.md', import.meta.url));

interface Row {
  readonly names: readonly string[];
  readonly type: string;
  readonly fallback: string;
  readonly says: string;
}

const code = (text: string): string => `\`${text}\``;

function durationText(ms: number): string {
  if (ms % 60_000 === 0) return `${ms / 60_000}m`;
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}

function fallbackOf({ fallback, required, parse }: Variable<unknown>): string {
  if (required) return 'required';
  if (typeof fallback === 'number' && parse.type === 'duration') return code(durationText(fallback));
  if (Array.isArray(fallback) && fallback.length === 0) return 'none';
  if (fallback === '' || fallback === undefined || fallback instanceof Secret) return 'empty';
  return code(typeof fallback === 'object' ? JSON.stringify(fallback) : String(fallback));
}

/** What is read of valibot's schemas. */
interface Schema {
  readonly type: string;
  readonly wrapped?: Schema;
  readonly default?: unknown;
  readonly entries?: Readonly<Record<string, Schema>>;
  readonly item?: Schema;
  readonly pipe?: readonly (Schema & { readonly requirement?: unknown })[];
  readonly options?: readonly Schema[];
}

function typeOf(schema: Schema): string {
  if (schema.wrapped !== undefined) return typeOf(schema.wrapped);
  const limit = (kind: string): unknown => schema.pipe?.find(({ type }) => type === kind)?.requirement;
  if (schema.type === 'number') return `${limit('min_value')} to ${limit('max_value')}`;
  if (schema.type === 'union' && schema.options?.some(({ type }) => type === 'boolean')) return 'boolean';
  const names: Readonly<Record<string, string>> = {
    string: 'text',
    record: 'object of texts',
    array: 'array',
    object: 'object',
  };
  return names[schema.type] ?? schema.type;
}

function defaultOf(schema: Schema): string {
  if (schema.type !== 'optional') return 'required';
  const { default: value } = schema;
  if (value === undefined || (Array.isArray(value) && value.length === 0)) return 'none';
  if (value === '') return 'empty';
  return typeof value === 'string' ? code(value) : String(value);
}

/** Rows in the order of the words. `schemaOf`: name, type and default of a key. */
function rowsOf<K extends string>(
  words: Readonly<Record<K, manual.Words | manual.SameRow>>,
  keys: readonly K[],
  schemaOf: (key: K) => { readonly name: string; readonly type: string; readonly fallback: string },
): Row[] {
  const rows = new Map<string, Row>();
  for (const key of keys) {
    const said = words[key];
    const { name, type, fallback } = schemaOf(key);
    if ('row_of' in said) {
      const row = rows.get(said.row_of);
      if (row === undefined)
        throw new Error(`${key} is to be in the row of ${said.row_of}, which is not before it`);
      rows.set(said.row_of, { ...row, names: [...row.names, name] });
    } else
      rows.set(key, {
        names: [name],
        type: said.type ?? type,
        fallback: said.fallback ?? fallback,
        says: said.says,
      });
  }
  return [...rows.values()];
}

function ofVariables(keys: readonly (keyof typeof manual.variable_words)[]): Row[] {
  return rowsOf(manual.variable_words, keys, (key) => {
    const variable = variables[key] as Variable<unknown>;
    return { name: variable.name, type: variable.parse.type ?? '', fallback: fallbackOf(variable) };
  });
}

function ofDocument(
  words: Readonly<Record<string, manual.Words | manual.SameRow>>,
  { entries = {} }: Pick<Schema, 'entries'>,
): Row[] {
  return rowsOf(words, Object.keys(words), (name) => {
    const schema = entries[name]!;
    return { name, type: typeOf(schema), fallback: defaultOf(schema) };
  });
}

const shape = (schema: unknown): Schema => schema as Schema;

function tableText(heading: string, rows: readonly Row[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`.replaceAll('|  |', '| |');
  return [
    line([heading, 'Type', 'Default', 'Meaning']),
    '|---|---|---|---|',
    ...rows.map(({ names, type, fallback, says }) =>
      line([names.map(code).join(', '), type, fallback, says]),
    ),
  ].join('\n');
}

/** By name, as it stands in the manual's marks. */
export function configurationTables(): Readonly<Record<string, string>> {
  const of_variables = Object.entries(manual.variable_tables).map(
    ([name, keys]) => [name, tableText('Variable', ofVariables(keys))] as const,
  );
  const of_keys = (
    [
      ['interfaces', manual.interfaces_words, documents.interfaces_document],
      ['interface', manual.interface_words, interface_spec_document],
      ['uplink', manual.uplink_words, documents.uplink_document],
      ['initial config', manual.initial_config_words, documents.initial_config_document],
      ['debug', manual.debug_words, documents.debug_document],
      ['feature gates', manual.feature_gates_words, documents.feature_gates_document],
      ['ipsec', manual.ipsec_words, documents.ipsec_document],
      ['srv6', manual.srv6_words, documents.srv6_document],
    ] as const
  ).map(([name, words, schema]) => [name, tableText('Key', ofDocument(words, shape(schema)))] as const);
  return Object.fromEntries([...of_variables, ...of_keys]);
}

/** The manual with its tables replaced. Throws where one has no place, or a place no table. */
export function withTables(text: string, tables: Readonly<Record<string, string>>): string {
  const left = new Set(Object.keys(tables));
  const made = text.replace(
    /(<!-- table: ([\w ]+) -->\n)[\s\S]*?(\n<!-- end of table -->)/g,
    (_, begin, name, end) => {
      const table = tables[name];
      if (table === undefined || !left.delete(name))
        throw new Error(`there is no table ${name}, or it has two places`);
      return `${begin}${table}${end}`;
    },
  );
  if (left.size > 0) throw new Error(`no place in the manual for ${[...left].join(', ')}`);
  return made;
}

function main(argv: readonly string[]): number {
  const there = readFileSync(manual_path, 'utf8');
  const made = withTables(there, configurationTables());
  if (made === there) return 0;
  if (argv.includes('--check')) {
    process.stderr.write(
      'docs/configuration.md is not what its schemas make: npm run generate:configuration\n',
    );
    return 1;
  }
  writeFileSync(manual_path, made);
  return 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main(process.argv.slice(2));
