/** Kubernetes' OpenAPI schemas, as the models of its client library have them: what of an object no API server would know. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as kubernetes from '@kubernetes/client-node';

type Attributes = readonly { readonly baseName: string; readonly type: string }[];

const library = fileURLToPath(import.meta.resolve('@kubernetes/client-node'));
const models_directory = join(dirname(library), 'gen/models');

/** By the parser of the client library; what that itself exports drops each field that its models do not have. */
export const loadAll: (text: string) => unknown[] = createRequire(library)('js-yaml').loadAll;

function attributesOf(model: string): Attributes | undefined {
  const found = (kubernetes as unknown as Record<string, { getAttributeTypeMap?(): Attributes }>)[model];
  return found?.getAttributeTypeMap?.();
}

const required = new Map<string, readonly string[]>();

/** The declarations alone tell what must be there: `'name': string` and not `'name'?: string`. */
function requiredOf(model: string): readonly string[] {
  let names = required.get(model);
  if (names === undefined) {
    const text = readFileSync(join(models_directory, `${model}.d.ts`), 'utf8');
    names = [...text.matchAll(/^ {4}'(\w+)': /gm)].map(([, name]) => name!);
    required.set(model, names);
  }
  return names;
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What is wrong with a value of this type, by place; a type that is not known is wrong, too. */
function faultsOf(value: unknown, type: string, place: string): string[] {
  const of = (fits: boolean): string[] => (fits ? [] : [`${place}: ${JSON.stringify(value)} is no ${type}`]);
  const [, item] = /^Array<(.+)>$/.exec(type) ?? [];
  if (item !== undefined) {
    if (!Array.isArray(value)) return of(false);
    return value.flatMap((each, at) => faultsOf(each, item, `${place}[${at}]`));
  }
  const [, values] = /^\{ \[key: string\]: (.+); \}$/.exec(type) ?? [];
  if (values !== undefined) {
    if (!isMap(value)) return of(false);
    return Object.entries(value).flatMap(([key, each]) => faultsOf(each, values, `${place}.${key}`));
  }
  if (type === 'IntOrString') return of(Number.isInteger(value) || typeof value === 'string');
  if (['string', 'number', 'boolean'].includes(type)) return of(typeof value === type);
  const attributes = attributesOf(type);
  if (attributes === undefined) return [`${place}: the type ${type} is not known here`];
  if (!isMap(value)) return of(false);
  const lacking = requiredOf(type).filter((name) => value[name] === undefined);
  return [
    ...lacking.map((name) => `${place}.${name}: is required`),
    ...Object.entries(value).flatMap(([key, each]) => {
      const attribute = attributes.find(({ baseName }) => baseName === key);
      if (attribute === undefined) return [`${place}.${key}: ${type} has no such field`];
      return faultsOf(each, attribute.type, `${place}.${key}`);
    }),
  ];
}

/** What an API server would say of a manifest; nothing: it is well-formed. */
export function schemaFaults(manifest: Record<string, unknown>): string[] {
  const { apiVersion, kind } = manifest as { apiVersion?: string; kind?: string };
  const [version = '', group = ''] = (apiVersion ?? '').split('/').reverse();
  const groups = ['', 'apps', 'rbac.authorization.k8s.io'];
  if (!groups.includes(group)) return [`${kind}: the group ${group} is not known here`];
  const model = `${version[0]?.toUpperCase()}${version.slice(1)}${kind}`;
  return faultsOf(manifest, model, `${kind} ${(manifest.metadata as { name?: string } | undefined)?.name}`);
}
