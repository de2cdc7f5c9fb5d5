/** TypeScript's side of the definitions: interfaces, enums, flags, unions. */
import * as model from './model.js';
import { tuple_length_max } from './surface.js';

/** What one generated file takes from the others. */
export class Imports {
  readonly #module: string;
  readonly #names = new Map<string, Set<string>>();

  constructor(module: string) {
    this.#module = module;
  }

  /** A name that the type's module exports: `form` with the type's own name in the place of the asterisk. */
  use(type: { readonly name: string; readonly module: string }, form: `${string}*${string}`): string {
    const name = form.replace('*', type.name);
    if (type.module !== this.#module) {
      const names = this.#names.get(type.module) ?? new Set();
      this.#names.set(type.module, names.add(name));
    }
    return name.replace(/^type /, '');
  }

  lines(): string[] {
    return [...this.#names]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([module, names]) => {
        const sorted = [...names].sort((a, b) =>
          a.replace(/^type /, '') < b.replace(/^type /, '') ? -1 : 1,
        );
        const only_types = sorted.every((name) => name.startsWith('type '));
        const list = only_types ? sorted.map((name) => name.slice('type '.length)) : sorted;
        return `import ${only_types ? 'type ' : ''}{ ${list.join(', ')} } from './${module}.js';`;
      });
  }
}

/** `in`: what encode takes, where fields with a default may be left out; `out`: what decode returns. */
type Side = 'in' | 'out';

function type_name(imports: Imports, type: model.Type, side: Side): string {
  switch (type.kind) {
    case 'scalar':
      return type.name === 'bool'
        ? 'boolean'
        : type.name === 'u64' || type.name === 'i64'
          ? 'bigint'
          : 'number';
    default:
      return imports.use(type, side === 'in' && model.has_default(type) ? 'type *_in' : 'type *');
  }
}

function is_bytes(type: model.Type): boolean {
  return type.kind === 'scalar' && type.name === 'u8';
}

function field_type(imports: Imports, field: model.Field, side: Side): string {
  switch (field.shape) {
    case 'padded_string':
    case 'string':
    case 'family_address':
      return 'string';
    case 'one':
    case 'count':
      return type_name(imports, field.type, side);
    case 'chosen':
      return imports.use(field.type, 'type *');
    case 'fixed':
    case 'filled':
    case 'list': {
      if (is_bytes(field.type)) return 'Uint8Array';
      const element = type_name(imports, field.type, side);
      if (field.shape === 'fixed' && field.length <= tuple_length_max) {
        return `readonly [${Array.from({ length: field.length }, () => element).join(', ')}]`;
      }
      return `readonly ${element}[]`;
    }
  }
}

/** The default as the surface spells it: an enum's by name. */
export function default_text(field: model.Field): string {
  const type = 'type' in field ? model.bare(field.type) : undefined;
  if (type?.kind === 'enum') {
    const named = Object.entries(type.values).find(([, value]) => value === Number(field.default));
    return `'${named?.[0] ?? `unknown_${field.default}`}'`;
  }
  if (type?.kind === 'scalar' && type.name === 'bool') return String(Boolean(field.default));
  if (type?.kind === 'scalar' && (type.name === 'u64' || type.name === 'i64')) return `${field.default}n`;
  return JSON.stringify(field.default);
}

function member(imports: Imports, field: model.Field, side: Side): string[] {
  const type = field_type(imports, field, side);
  if (side === 'out' || field.default === undefined) return [`  readonly ${field.name}: ${type};`];
  return [
    `  /** Default: ${default_text(field).replaceAll("'", '')}. */`,
    `  readonly ${field.name}?: ${type} | undefined;`,
  ];
}

/** Interface of a struct or of a message's body; `_in` beside it where a default makes the two differ. */
export function struct_lines(imports: Imports, type: model.Struct, doc: readonly string[]): string[] {
  const sides: readonly Side[] = model.has_default(type) ? ['out', 'in'] : ['out'];
  return sides.flatMap((side) => [...(side === 'out' ? doc : []), ...one_side(imports, type, side), '']);
}

function one_side(imports: Imports, type: model.Struct, side: Side): string[] {
  const name = side === 'in' ? `${type.name}_in` : type.name;
  const chosen = type.fields.find((field) => field.shape === 'chosen');
  const shown = type.fields.filter((field) => field.shape !== 'count');
  if (chosen?.shape !== 'chosen') {
    const members = shown.flatMap((field) => member(imports, field, side));
    if (members.length === 0) return [`export type ${name} = Record<string, never>;`];
    return [`export interface ${name} {`, ...members, '}'];
  }
  const common = shown.filter((field) => field !== chosen && field.name !== chosen.by);
  return [
    `export type ${name} = {`,
    ...common.flatMap((field) => member(imports, field, side)),
    '} & (',
    ...arms_lines(imports, chosen),
    ');',
  ];
}

/** One member for every arm with its discriminator values, and the raw one for the rest. */
function arms_lines(
  imports: Imports,
  { name, by, type, tag }: model.Field & { readonly shape: 'chosen' },
): string[] {
  const taken = new Set(type.arms.flatMap((arm) => Object.keys(arm.cases)));
  for (const value of taken)
    if (!(value in tag.values)) throw new Error(`${type.name}: ${tag.name} has no ${value}`);
  const rest = Object.keys(tag.values).filter((value) => !taken.has(value));
  return [
    ...type.arms.map((arm) => {
      const cases = Object.keys(arm.cases)
        .map((value) => `'${value}'`)
        .join(' | ');
      return `  | { readonly ${by}: ${cases}; readonly ${name}: { readonly ${arm.name}: ${type_name(imports, arm.type, 'out')} } }`;
    }),
    `  | { readonly ${by}: ${[...rest.map((value) => `'${value}'`), 'c.Unknown'].join(' | ')}; readonly ${name}: { readonly raw: Uint8Array } }`,
  ];
}

function values_lines(values: Readonly<Record<string, number>>): string[] {
  return Object.entries(values).map(([name, value]) => `  ${name}: ${value},`);
}

export function enum_lines(type: model.Enum): string[] {
  const { name } = type;
  if (type.kind === 'flags') {
    return [
      `/** Bits of ${type.repr}. */`,
      `export type ${name} = number;`,
      '',
      `export const ${name} = {`,
      ...values_lines(type.values),
      '} as const;',
      '',
    ];
  }
  const max = 2 ** (8 * model.scalar_sizes[type.repr]) - 1;
  return [
    `export type ${name} = keyof typeof ${name} | c.Unknown;`,
    '',
    `export const ${name} = {`,
    ...values_lines(type.values),
    '} as const;',
    '',
    `export const ${name}_enum: c.Enumeration<keyof typeof ${name}> = c.enumeration(${max}, ${name});`,
    '',
  ];
}

export function alias_lines(imports: Imports, type: model.Alias): string[] {
  const side = model.has_default(type)
    ? [`export type ${type.name}_in = ${type_name(imports, type.to, 'in')};`]
    : [];
  return [`export type ${type.name} = ${type_name(imports, type.to, 'out')};`, ...side, ''];
}

/** An object with one key, the name of a member; decode gives `raw` where nothing tells which one it is. */
export function union_lines(imports: Imports, type: model.Union): string[] {
  return [
    `export type ${type.name} =`,
    ...type.arms.map((arm) => `  | { readonly ${arm.name}: ${type_name(imports, arm.type, 'out')} }`),
    '  | { readonly raw: Uint8Array };',
    '',
  ];
}
