import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { read_api_directory } from '../src/gen/api-json.js';
import { emit } from '../src/gen/emit.js';
import { resolve_schema } from '../src/gen/model.js';
import { read_field, read_schema, type Schema, write_field, write_schema } from '../src/gen/schema.js';

const package_directory = fileURLToPath(new URL('../..', import.meta.url));
const schema_path = join(package_directory, 'api/vpp-26.10.schema.json');
const generated_directory = join(package_directory, 'src/generated');
const cli = fileURLToPath(new URL('../src/gen/cli.js', import.meta.url));

/** A VPP of two modules: `garden` uses a type of `garden_types`, which stands in its file as well, as in VPP's own. */
const kind = ['kind', ['KIND_TREE', 0], ['KIND_HERB', 3], { enumtype: 'u8' }];
const garden_types = {
  types: [],
  unions: [],
  enums: [kind],
  enumflags: [['care', ['CARE_WATER', 1], ['CARE_SHADE', 2], { enumtype: 'u16' }]],
  aliases: { bed_index: { type: 'u32' }, seal: { type: 'u8', length: 4 } },
  messages: [],
  services: {},
  imports: [],
  options: { version: '1.0.0' },
  vl_api_version: '0x1',
};
const id = ['u16', '_vl_msg_id'];
const request = [id, ['u32', 'client_index'], ['u32', 'context']];
const reply = [id, ['u32', 'context'], ['i32', 'retval']];
const garden = {
  types: [['plant', ['vl_api_kind_t', 'kind'], ['string', 'name', 16], { comment: '/* what grows */' }]],
  unions: [],
  enums: [kind],
  enumflags: garden_types.enumflags,
  aliases: garden_types.aliases,
  messages: [
    [
      'plant_add',
      ...request,
      ['vl_api_bed_index_t', 'bed', { default: 7 }],
      ['u8', 'n_plants'],
      ['vl_api_plant_t', 'plants', 0, 'n_plants'],
      { crc: '0xa1', options: {} },
    ],
    ['plant_add_reply', ...reply, { crc: '0xa2', options: {} }],
    ['plant_dump', ...request, { crc: '0xa3', options: { deprecated: null } }],
    [
      'plant_details',
      id,
      ['u32', 'context'],
      ['vl_api_plant_t', 'plant'],
      ['vl_api_seal_t', 'seal'],
      { crc: '0xa4', options: {} },
    ],
    ['plant_get', ...request, ['u32', 'cursor'], { crc: '0xa5', options: {} }],
    ['plant_get_reply', ...reply, ['u32', 'cursor'], { crc: '0xa6', options: {} }],
    ['want_rain', ...request, { crc: '0xa7', options: {} }],
    ['want_rain_reply', ...reply, { crc: '0xa8', options: {} }],
    ['rain_event', id, ['u32', 'client_index'], ['f64', 'amount'], { crc: '0xa9', options: {} }],
    ['whistle', id, ['u8', 'tune'], { crc: '0xaa', options: {} }],
  ],
  services: {
    plant_add: { reply: 'plant_add_reply' },
    plant_dump: { reply: 'plant_details', stream: true },
    plant_get: { reply: 'plant_get_reply', stream: true, stream_msg: 'plant_details' },
    want_rain: { reply: 'want_rain_reply', events: ['rain_event'] },
    whistle: { reply: 'null' },
  },
  imports: ['yard/garden_types.api'],
  options: { version: '2.1.0' },
  vl_api_version: '0x2',
};

type Api = Readonly<Record<string, unknown>>;

function install(prefix: string, files: Readonly<Record<string, Api>>): string {
  const directory = join(prefix, 'share/vpp/api');
  for (const [name, api] of Object.entries(files)) {
    const path = join(directory, `${name}.api.json`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, JSON.stringify(api));
  }
  return directory;
}

const both = { 'core/garden_types': garden_types, 'plugins/garden': garden };

function schema_of(t: Test, files: Readonly<Record<string, Api>>): Schema {
  return read_api_directory(install(t.testdir(), files), '1.0');
}

t.test(
  'a directory of .api.json becomes one schema, every type with the module that defines it',
  async (t) => {
    const schema = schema_of(t, both);
    t.strictSame(
      schema.modules.map(({ name, version, crc, imports }) => ({ name, version, crc, imports })),
      [
        { name: 'garden', version: '2.1.0', crc: '00000002', imports: ['garden_types'] },
        { name: 'garden_types', version: '1.0.0', crc: '00000001', imports: [] },
      ],
    );
    const [module, types] = schema.modules;
    t.strictSame(module?.enums, {});
    t.strictSame(types?.enums, {
      care: { repr: 'u16', flag: true, values: { CARE_WATER: 1, CARE_SHADE: 2 } },
      kind: { repr: 'u8', flag: false, values: { KIND_TREE: 0, KIND_HERB: 3 } },
    });
    t.strictSame(module?.types.plant?.map(write_field), ['kind kind', 'string[16] name']);
    t.strictSame(module?.messages.plant_add?.fields.map(write_field), [
      'u32 client_index',
      'u32 context',
      'bed_index bed = 7',
      'u8 n_plants',
      'plant[n_plants] plants',
    ]);
    t.strictSame(module?.services, {
      plant_add: { reply: 'plant_add_reply' },
      plant_dump: { details: 'plant_details' },
      plant_get: { reply: 'plant_get_reply', details: 'plant_details' },
      want_rain: { reply: 'want_rain_reply', events: ['rain_event'] },
      whistle: {},
    });
  },
);

t.test('a type stays with its first user where the module that defines it is not there', async (t) => {
  const { modules } = schema_of(t, { garden });
  t.strictSame(Object.keys(modules[0]!.enums), ['care', 'kind']);
});

t.test('a schema is the same after writing and reading', async (t) => {
  const schema = schema_of(t, both);
  const text = write_schema(schema);
  t.strictSame(read_schema(text), schema);
  t.equal(write_schema(read_schema(text)), text);
  const ours = readFileSync(schema_path, 'utf8');
  t.equal(write_schema(read_schema(ours)), ours);
});

t.test('a field is the same after writing and reading', async (t) => {
  const lines = [
    'u32 a',
    'bool b = true',
    'u32 c = 4294967295',
    'string d',
    'string[64] e',
    'u8[16] f',
    'x[n] g',
    'un h by af',
    'un i case A_B',
  ];
  for (const line of lines) t.equal(write_field(read_field(line)), line);
  t.throws(() => read_field('u32'), { message: /not a field/ });
});

t.test('a schema of another format is refused', async (t) => {
  const text = write_schema(schema_of(t, both)).replace('"format": 1', '"format": 2');
  t.throws(() => read_schema(text), { message: /format 2.*reads format 1/ });
});

t.test('header and kind come from fields and services', async (t) => {
  const module = resolve_schema(schema_of(t, both)).modules.find(({ name }) => name === 'garden')!;
  const shown = module.messages.map(({ name, header, service }) => [name, header, service?.kind ?? null]);
  t.strictSame(shown, [
    ['plant_add', 'request', 'request'],
    ['plant_add_reply', 'reply', null],
    ['plant_details', 'reply', null],
    ['plant_dump', 'request', 'dump'],
    ['plant_get', 'request', 'stream'],
    ['plant_get_reply', 'reply', null],
    ['rain_event', 'event', null],
    ['want_rain', 'request', 'subscription'],
    ['want_rain_reply', 'reply', null],
    ['whistle', 'bare', 'one_way'],
  ]);
});

t.test('the emitted file says where it comes from and imports what it uses', async (t) => {
  const files = emit(resolve_schema(schema_of(t, both)));
  t.strictSame([...files.keys()], ['garden.ts', 'garden_types.ts', 'all.ts']);
  const text = files.get('garden.ts')!;
  t.match(
    text,
    /^\/\/ Generated by vpp-binapi-gen \d+ from the API of VPP 1\.0\. Do not edit\.\n\/\/ Module garden 2\.1\.0 \(00000002\): 10 messages\.\n/,
  );
  t.match(text, /import \{ type bed_index, type kind, kind_enum, type seal \} from '\.\/garden_types\.js';/);
  t.match(text, /export const plant_add: Request<plant_add_in, plant_add_reply, plant_add> =/);
  t.match(
    text,
    /\/\*\* @deprecated in VPP\. \*\/\nexport const plant_dump: Dump<plant_dump, plant_details, plant_dump> =/,
  );
  t.match(text, /export const plant_get: Stream<plant_get, plant_details, plant_get_reply, plant_get> =/);
  t.match(text, /export const want_rain: Subscription<want_rain, want_rain_reply, rain_event, want_rain> =/);
  t.match(text, /export const whistle: OneWay<whistle, whistle> =/);
  t.match(text, /crc: '000000a1'/);
});

t.test('a definition that cannot be bound is refused by name', async (t) => {
  const message = (name: string, ...fields: unknown[]) => [
    name,
    ...request,
    ...fields,
    { crc: '0x1', options: {} },
  ];
  const cases: readonly (readonly [Api, RegExp])[] = [
    [{ messages: [message('a', ['vl_api_moon_t', 'moon'])] }, /garden: no definition of type moon/],
    [{ messages: [message('a', ['u8', 'data', 0])] }, /a\.data: an array without a length/],
    [{ messages: [message('a', ['u8', 'data', 0, 'n'])] }, /a\.data: no field n before it/],
    [
      { messages: [message('a', ['u8', 'n'], ['u8', 'x', 0, 'n'], ['u8', 'y', 0, 'n'])] },
      /a: n counts both x and y/,
    ],
    [{ messages: [message('a', ['f64', 'n'], ['u8', 'x', 0, 'n'])] }, /a\.n: a count of type f64/],
    [{ services: { a: { reply: 'b' } }, messages: [message('a')] }, /a: its answer b is not in garden/],
    [
      { types: [['address', ['u8', 'len']]] },
      /address is `u8 len` here; its text form is that of `address_family af, address_union un`/,
    ],
    [{ messages: [['a', ['u32', 'context'], { crc: '0x1' }]] }, /message a does not begin with _vl_msg_id/],
  ];
  for (const [changes, message] of cases) {
    const api = { ...garden, messages: [], services: {}, ...changes };
    t.throws(() => emit(resolve_schema(schema_of(t, { garden: api }))), { message });
  }
});

t.test('an API directory without files, or with a module twice, is refused', async (t) => {
  t.throws(() => read_api_directory(t.testdir(), '1'), { message: /no \*\.api\.json under / });
  const directory = install(t.testdir(), { 'core/garden': garden, 'plugins/garden': garden });
  t.throws(() => read_api_directory(directory, '1'), { message: /two files for module garden/ });
});

t.test('the committed bindings are those of the committed schema', async (t) => {
  const files = emit(resolve_schema(read_schema(readFileSync(schema_path, 'utf8'))));
  t.strictSame(readdirSync(generated_directory).sort(), [...files.keys()].sort());
  for (const [name, text] of files) {
    t.ok(readFileSync(join(generated_directory, name), 'utf8') === text, `${name} is fresh`);
  }
});

function run(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

t.test('vpp-binapi-gen writes, finds nothing to write, and names what is stale', async (t) => {
  const prefix = t.testdir({ lib: { 'libvlibmemory.so.26.10': '' } });
  const api = install(prefix, both);
  const schema = join(prefix, 'schema.json');
  const out = join(prefix, 'generated');
  const all = ['--api', api, '--schema', schema, '--out', out];

  t.strictSame(run(...all), { status: 0, stdout: 'vpp-binapi-gen: 4 files written\n', stderr: '' });
  t.equal(
    read_schema(readFileSync(schema, 'utf8')).vpp_version,
    '26.10',
    'the version is that of the libraries',
  );
  t.strictSame(run(...all, '--check'), { status: 0, stdout: 'vpp-binapi-gen: all fresh\n', stderr: '' });
  t.strictSame(run(...all), { status: 0, stdout: 'vpp-binapi-gen: 0 files written\n', stderr: '' });

  writeFileSync(join(out, 'garden.ts'), 'export {};\n');
  writeFileSync(join(out, 'gone.ts'), 'export {};\n');
  const stale = run('--schema', schema, '--out', out, '--check');
  t.equal(stale.status, 1);
  t.equal(
    stale.stderr,
    `vpp-binapi-gen: not as they would be generated:\n  ${join(out, 'garden.ts')}\n  ${join(out, 'gone.ts')}\n`,
  );
  t.equal(run('--schema', schema, '--out', out).status, 0);
  t.strictSame(readdirSync(out).sort(), ['all.ts', 'garden.ts', 'garden_types.ts']);

  install(prefix, { 'plugins/garden': { ...garden, vl_api_version: '0x3' } });
  const newer = run('--api', api, '--schema', schema, '--check');
  t.equal(newer.status, 1);
  t.match(newer.stderr, schema);
});

t.test('vpp-binapi-gen says what it lacks', async (t) => {
  const prefix = t.testdir();
  const api = install(prefix, both);
  const schema = join(prefix, 'schema.json');
  t.match(run('--out', prefix), { status: 2, stderr: /^usage: vpp-binapi-gen/ });
  t.match(run('--schema', schema, '--api', api), { status: 2, stderr: /give --vpp-version/ });
  t.match(run('--schema', schema, '--out', prefix), { status: 2, stderr: /ENOENT/ });
  t.match(run('--schema', schema, '--api', api, '--vpp-version', '9.9'), { status: 0 });
  t.equal(read_schema(readFileSync(schema, 'utf8')).vpp_version, '9.9');
});
