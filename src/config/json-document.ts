import * as v from 'valibot';
import { parseJson } from '../json.js';
import { nearest } from './nearest.js';
import { BadValue, type Fault } from './problem.js';
import type { Parse } from './values.js';

type Schema = v.GenericSchema;

/** The parts of a valibot schema that key folding walks through. */
interface Shape {
  readonly type: string;
  readonly wrapped?: Shape;
  readonly entries?: Readonly<Record<string, Shape>>;
  readonly item?: Shape;
}

/**
 * Go's decoder matches keys without regard to letter case and takes null as "not given"; so does this, by rewriting the
 * keys to those of the schema. Keys that no schema knows are dropped and reported.
 */
function foldKeys(
  value: unknown,
  shape: Shape,
  path: string,
  unknown_key: (path: string, known: string[]) => void,
): unknown {
  if (shape.wrapped) return foldKeys(value, shape.wrapped, path, unknown_key);
  if (shape.type === 'array' && Array.isArray(value)) {
    return value.map((item, i) => foldKeys(item, shape.item!, `${path}[${i}]`, unknown_key));
  }
  const entries = shape.type === 'object' ? shape.entries : undefined;
  if (!entries || typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const folded: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    const known = Object.hasOwn(entries, key)
      ? key
      : Object.keys(entries).find((name) => name.toLowerCase() === key.toLowerCase());
    const here = path === '' ? key : `${path}.${key}`;
    if (known === undefined) unknown_key(here, nearest(key, Object.keys(entries)));
    else if (item !== null) folded[known] = foldKeys(item, entries[known]!, here, unknown_key);
  }
  return folded;
}

function pathText(issue: v.BaseIssue<unknown>): string {
  let path = '';
  for (const { key } of issue.path ?? []) {
    path += typeof key === 'number' ? `[${key}]` : path === '' ? String(key) : `.${String(key)}`;
  }
  return path;
}

function faultOf(issue: v.BaseIssue<unknown>): Fault {
  const path = pathText(issue);
  return {
    ...(path && { path }),
    cause: `expected ${issue.message}, received ${issue.received}`,
    step: `use ${issue.message}`,
  };
}

/** Reads a value that is JSON already. The messages of the schema say what is expected, e.g. `a whole number`. */
export function read<S extends Schema>(
  schema: S,
  value: unknown,
  warn: (text: string) => void,
): v.InferOutput<S> {
  const folded = foldKeys(value, schema as unknown as Shape, '', (path, known) => {
    warn(`unknown key ${path} is ignored${known[0] ? `; did you mean ${known[0]}?` : ''}`);
  });
  const result = v.safeParse(schema, folded);
  if (!result.success) throw new BadValue(...result.issues.map(faultOf));
  return result.output;
}

/** A variable that holds a JSON document. */
export function json<S extends Schema>(schema: S): Parse<v.InferOutput<S>> {
  return (text, warn) => {
    let value: unknown;
    try {
      value = parseJson(text);
    } catch (error) {
      throw new BadValue({
        cause: `the text ${(error as Error).message}`,
        step: 'correct the JSON text',
      });
    }
    return read(schema, value ?? {}, warn);
  };
}

export const whole = (min: number, max: number) => {
  const expected = `a whole number from ${min} to ${max}`;
  return v.pipe(
    v.number(expected),
    v.integer(expected),
    v.minValue(min, expected),
    v.maxValue(max, expected),
  );
};
export const word = () => v.string('a string');
/** Also as text: examples of the Go implementation's manual have `"true"`, which that itself refuses. */
export const flag = () =>
  v.pipe(
    v.union([v.boolean(), v.picklist(['true', 'false'])], 'true or false'),
    v.transform((value) => value === true || value === 'true'),
  );
export const words = () => v.record(v.string(), v.string('a string'), 'an object of strings');
/** Runs one of the parsers of plain values on a string. */
export const parsed = <T>(parse: Parse<T>, expected: string) =>
  v.pipe(
    word(),
    v.rawTransform(({ dataset, addIssue, NEVER }): T => {
      try {
        return parse(dataset.value, () => {});
      } catch (error) {
        if (!(error instanceof BadValue)) throw error;
        addIssue({ message: expected });
        return NEVER;
      }
    }),
  );
