#!/usr/bin/env node
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { deduce_vpp_version, read_api_directory } from './api-json.js';
import { emit, generator_name } from './emit.js';
import { resolve_schema } from './model.js';
import { read_schema, write_schema } from './schema.js';

const usage = `usage: ${generator_name} --schema FILE [--api DIR] [--out DIR] [--vpp-version TEXT] [--check]

  --schema FILE       the schema: read, or written where --api is given
  --api DIR           make the schema of the *.api.json under DIR (<prefix>/share/vpp/api)
  --out DIR           write one TypeScript file per module
  --vpp-version TEXT  for the schema; else that of the schema it replaces, else that of the libraries of <prefix>
  --check             write nothing; fail and name what is not as it would be written`;

interface Options {
  readonly schema: string;
  readonly api?: string | undefined;
  readonly out?: string | undefined;
  readonly 'vpp-version'?: string | undefined;
  readonly check: boolean;
}

function options_of(args: readonly string[]): Options | undefined {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      schema: text,
      api: text,
      out: text,
      'vpp-version': text,
      check: { type: 'boolean', default: false },
    },
  });
  const { schema, ...rest } = values;
  return schema === undefined ? undefined : { schema, ...rest };
}

function vpp_version_of(options: Options, api: string): string {
  const version =
    options['vpp-version'] ??
    (existsSync(options.schema)
      ? read_schema(readFileSync(options.schema, 'utf8')).vpp_version
      : undefined) ??
    deduce_vpp_version(api);
  if (version === undefined)
    throw new Error(`no VPP library beside ${api} tells its version: give --vpp-version`);
  return version;
}

/** Every path that `--check` finds different, or that was written. */
function run(options: Options): string[] {
  const wanted = new Map<string, string | undefined>();
  let schema: string;
  if (options.api === undefined) schema = readFileSync(options.schema, 'utf8');
  else {
    schema = write_schema(read_api_directory(options.api, vpp_version_of(options, options.api)));
    wanted.set(options.schema, schema);
  }
  if (options.out !== undefined) {
    const files = emit(resolve_schema(read_schema(schema)));
    for (const [name, text] of files) wanted.set(join(options.out, name), text);
    for (const name of existsSync(options.out) ? readdirSync(options.out) : []) {
      if (name.endsWith('.ts') && !files.has(name)) wanted.set(join(options.out, name), undefined);
    }
  }
  const stale = [...wanted].filter(
    ([path, text]) => (existsSync(path) ? readFileSync(path, 'utf8') : undefined) !== text,
  );
  if (!options.check) for (const [path, text] of stale) write(path, text);
  return stale.map(([path]) => path);
}

/** Without a text: a generated file whose module is gone. */
function write(path: string, text: string | undefined): void {
  if (text === undefined) return rmSync(path);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

function main(args: readonly string[]): number {
  try {
    const options = options_of(args);
    if (options === undefined) {
      console.error(usage);
      return 2;
    }
    const paths = run(options);
    if (options.check && paths.length > 0) {
      console.error(
        `${generator_name}: not as they would be generated:\n${paths.map((path) => `  ${path}`).join('\n')}`,
      );
      return 1;
    }
    console.log(
      options.check ? `${generator_name}: all fresh` : `${generator_name}: ${paths.length} files written`,
    );
    return 0;
  } catch (error) {
    console.error(`${generator_name}: ${error instanceof Error ? error.message : String(error)}`);
    return 2;
  }
}

process.exitCode = main(process.argv.slice(2));
