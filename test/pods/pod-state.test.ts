import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { decodeRecord, encodeRecord, type PodRecord, recordFileName } from '../../src/pod/record.js';
import { type PodSpec, podKey } from '../../src/pod/spec.js';
import { PodRecords, permitsOf } from '../../src/pods/pod-records.js';
import { PodState, PodStateError, type StateFiles } from '../../src/pods/pod-state.js';
import { FakeStore } from '../actors/pod-lab.js';

function record(name: string, more: Partial<PodRecord> = {}): PodRecord {
  const netns = `/var/run/netns/${name}`;
  const spec: PodSpec = {
    key: podKey(netns, 'eth0'),
    interface_name: 'eth0',
    netns,
    workload: { orchestrator: 'k8s', namespace: 'default', pod: name, endpoint: 'eth0' },
    addresses: { ip4: ['10.0.0.5'], ip6: ['fd00::5'] },
    routes: ['0.0.0.0/0', '::/0'],
    mtu: 0,
    allow_ip_forwarding: false,
    host_ports: [
      { protocol: 'udp', host_port: 53, container_port: 5353 },
      { protocol: 'tcp', host_port: 80, container_port: 8080, host_ip: '192.0.2.1' },
    ],
    allowed_source_prefixes: ['10.9.0.0/16'],
    network_name: '',
    interface_spec: {
      rx_queues: 1,
      tx_queues: 1,
      rx_ring_size: 1024,
      tx_ring_size: 1024,
      is_l3: true,
      rx_mode: 'adaptive',
    },
    interface_type: 'tun',
  };
  return { phase: 'intended', spec, tables: { ip4: 1001, ip6: 1002, rpf4: 1003 }, ...more };
}

const blue = record('blue');
const red = record('red', { phase: 'done', tables: {} });
const fileOf = (of: PodRecord): string => recordFileName(of.spec.key);
const byKey = (records: readonly PodRecord[]) =>
  [...records].sort((a, b) => (a.spec.key < b.spec.key ? -1 : 1));

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: told to`), { code });
}

/** Files in memory. `fail` names operations that throw from now on. */
class MemoryFiles implements StateFiles {
  readonly content = new Map<string, string>();
  fail: Partial<Record<keyof StateFiles, string>> = {};

  constructor(files: Readonly<Record<string, string>> = {}) {
    for (const [name, text] of Object.entries(files)) this.content.set(`/s/${name}`, text);
  }
  #enter(operation: keyof StateFiles): void {
    const code = this.fail[operation];
    if (code !== undefined) throw systemError(code);
  }
  makeDirectory(): void {
    this.#enter('makeDirectory');
  }
  list(): string[] {
    this.#enter('list');
    return [...this.content.keys()].map((path) => path.slice('/s/'.length));
  }
  read(path: string): string {
    this.#enter('read');
    return this.content.get(path)!;
  }
  write(path: string, data: string): void {
    this.#enter('write');
    this.content.set(path, data);
  }
  rename(from: string, to: string): void {
    this.#enter('rename');
    this.content.set(to, this.content.get(from)!);
    this.content.delete(from);
  }
  remove(path: string): void {
    this.#enter('remove');
    this.content.delete(path);
  }
  names(): string[] {
    return this.list().sort();
  }
}

t.test('on a disk: what was put is loaded, replaced and removed', async (t) => {
  const directory = join(t.testdir({}), 'pods');
  const state = new PodState(directory);
  t.strictSame(state.load(), { records: [], problems: [] }, 'the directory is made');
  state.put(blue);
  state.put(red);
  t.strictSame(byKey(new PodState(directory).load().records), [blue, red]);
  state.put({ ...blue, phase: 'deleting' });
  t.strictSame(byKey(new PodState(directory).load().records), [{ ...blue, phase: 'deleting' }, red]);
  t.equal(statSync(join(directory, fileOf(blue))).mode & 0o777, 0o600);
  state.remove(blue.spec.key);
  state.remove(blue.spec.key);
  t.strictSame(readdirSync(directory), [fileOf(red)]);
});

t.test('on a disk: damage costs the damaged pod alone', async (t) => {
  const directory = t.testdir({});
  const state = new PodState(directory);
  state.put(blue);
  state.put(red);
  writeFileSync(join(directory, fileOf(blue)), encodeRecord(blue).slice(0, 100));
  writeFileSync(join(directory, `${fileOf(red)}.4711.tmp`), 'half a record');
  mkdirSync(join(directory, 'sub.json'));
  const { records, problems } = state.load();
  t.strictSame(records, [red]);
  t.match(
    problems.map(({ file, fault }) => `${file} ${fault}`).sort(),
    [`${fileOf(blue)} corrupt`, 'sub.json unreadable'].sort(),
  );
  t.strictSame(readdirSync(directory).sort(), [`${fileOf(blue)}.bad`, fileOf(red), 'sub.json'].sort());
  t.equal(readFileSync(join(directory, `${fileOf(blue)}.bad`), 'utf8').length, 100, 'the evidence is kept');
  t.strictSame(state.load().problems.length, 1, 'and not reported again');
  state.put(blue);
  t.strictSame(byKey(state.load().records), [blue, red], 'the pod can be written again');
});

t.test('a file cut at any length is set aside, and the other pod is loaded', async (t) => {
  const text = encodeRecord(blue);
  const whole = text.length - 1; // without its line end a record is complete
  const wrong: number[] = [];
  for (let length = 0; length < whole; length++) {
    const files = new MemoryFiles({
      [fileOf(blue)]: text.slice(0, length),
      [fileOf(red)]: encodeRecord(red),
    });
    const { records, problems } = new PodState('/s', files).load();
    const right =
      records.length === 1 &&
      records[0]!.spec.key === red.spec.key &&
      problems[0]?.fault === 'corrupt' &&
      problems.length === 1;
    if (!right || !files.content.has(`/s/${fileOf(blue)}.bad`)) wrong.push(length);
  }
  t.strictSame(wrong, []);
  t.strictSame(decodeRecord(text.slice(0, whole), fileOf(blue)), { ok: blue });
});

t.test('a file with any single bit turned over is not taken for a record', async (t) => {
  const bytes = Buffer.from(encodeRecord(blue));
  const wrong: string[] = [];
  for (let at = 0; at < bytes.length; at++) {
    for (const bit of [1, 4, 32]) {
      const turned = Buffer.from(bytes);
      turned[at]! ^= bit;
      if ('ok' in decodeRecord(turned.toString(), fileOf(blue))) wrong.push(`byte ${at} bit ${bit}`);
    }
  }
  t.strictSame(wrong, []);
});

t.test('a record with the cookie of a namespace is one for releases that know of none, too', async (t) => {
  const known = record('blue', { namespace: '4:4026532000:77' });
  const text = encodeRecord(known);
  t.strictSame(decodeRecord(text, fileOf(known)), { ok: known });
  // They take device and inode, no more, and pass over what they do not know.
  t.match(JSON.parse(text).pod, { namespace: '4:4026532000', namespace_cookie: '77' });
  const without = record('blue', { namespace: '4:4026532000' });
  t.strictSame(decodeRecord(encodeRecord(without), fileOf(without)), { ok: without });
});

t.test('what is not a record of this version and this name', async (t) => {
  const parsed = JSON.parse(encodeRecord(blue));
  const cases: [name: string, file: string, text: string, fault: string, message: RegExp][] = [
    [
      'a later version',
      fileOf(blue),
      JSON.stringify({ ...parsed, version: 2 }),
      'newer',
      /has version 2, this program knows 1/,
    ],
    [
      'the file of another pod',
      fileOf(red),
      encodeRecord(blue),
      'foreign',
      /is the record of netns:.*blue,if:eth0, which belongs into/,
    ],
    ['a file of another name', 'notes.json', encodeRecord(blue), 'foreign', /belongs into/],
    ['other JSON', fileOf(blue), '{"podSpecs":{}}', 'foreign', /is not a pod record/],
    ['a JSON scalar', fileOf(blue), 'null', 'foreign', /is not a pod record/],
    ['an empty file', fileOf(blue), '', 'corrupt', /is cut or damaged/],
    [
      'a changed content',
      fileOf(blue),
      JSON.stringify({ ...parsed, pod: { ...parsed.pod, phase: 'done' } }),
      'corrupt',
      /does not match its checksum/,
    ],
    [
      'a content of another shape',
      fileOf(blue),
      encodeRecord({ ...blue, phase: 'odd' as never }),
      'corrupt',
      /lacks what a pod record has/,
    ],
    [
      'a key that does not follow from the content',
      fileOf(blue),
      encodeRecord({ ...blue, spec: { ...blue.spec, netns: '/x' } }),
      'foreign',
      /belongs into/,
    ],
  ];
  for (const [name, file, text, fault, message] of cases) {
    const files = new MemoryFiles({ [file]: text, zzz: 'zzz' });
    const { records, problems } = new PodState('/s', files).load();
    t.strictSame(records, [], name);
    t.match(problems[0], { file, fault, text: message }, name);
    const outcome = fault === 'corrupt' ? `set aside as ${file}.bad` : 'left in place';
    t.match(problems[0]!.text, outcome, name);
    t.equal(files.content.get(`/s/${file}${fault === 'corrupt' ? '.bad' : ''}`), text, name);
  }
});

t.test('records of a later release are all left alone, in whatever form they are', async (t) => {
  const later = (n: number) => ({ format: 'calico-vpp-node pod', version: n % 2 ? 2 : '2.1', pod: { n } });
  const files = Object.fromEntries(
    Array.from({ length: 110 }, (_, n) => [fileOf(record(`p${n}`)), JSON.stringify(later(n))]),
  );
  const memory = new MemoryFiles(files);
  const { records, problems } = new PodState('/s', memory).load();
  t.strictSame(records, []);
  t.equal(problems.filter(({ fault }) => fault === 'newer').length, 110);
  t.same(
    Object.fromEntries(memory.content),
    Object.fromEntries(Object.entries(files).map(([name, text]) => [`/s/${name}`, text])),
  );
});

t.test('a directory that somebody has removed is made again, with all records', async (t) => {
  const directory = join(t.testdir({}), 'pods');
  const state = new PodState(directory);
  state.load();
  state.put(blue);
  rmSync(directory, { recursive: true });
  state.put(red);
  t.strictSame(state.load().records, [red]);
  t.equal(state.mend([blue, red]), 1);
  t.strictSame(byKey(state.load().records), [blue, red]);
  t.equal(state.mend([blue, red]), 0);
  rmSync(directory, { recursive: true });
  t.equal(state.mend([blue, red]), 2);
  t.strictSame(byKey(state.load().records), [blue, red]);
});

t.test('bad files are kept up to a bound', async (t) => {
  const files = new MemoryFiles(Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`${i}.json`, 'x'])));
  const state = new PodState('/s', files);
  state.put(blue);
  const { records, problems } = state.load();
  t.strictSame(records, [blue]);
  t.equal(problems.length, 40);
  t.equal(files.names().filter((name) => name.endsWith('.bad')).length, 16);
  t.equal(files.names().length, 17);
  t.match(problems[39]!.text, /removed, as 16 bad files are kept already/);
});

t.test('a failing file system', async (t) => {
  await t.test('a full disk is told with pod, cause and step, and the old record stays', async (t) => {
    const files = new MemoryFiles();
    const state = new PodState('/s', files);
    state.put(blue);
    files.fail = { write: 'ENOSPC' };
    t.throws(() => state.put({ ...blue, phase: 'done' }), {
      name: 'PodStateError',
      key: blue.spec.key,
      message: `the state of ${blue.spec.key} cannot be written (/s/${fileOf(blue)}): ENOSPC: told to: free space on that file system, then the pod is retried`,
    });
    files.fail = { write: 'EROFS' };
    t.throws(() => state.put(blue), { message: /make that directory writable$/ });
    files.fail = { remove: 'EIO' };
    t.throws(() => state.remove(blue.spec.key), PodStateError);
    files.fail = {};
    t.strictSame(state.load().records, [blue]);
  });

  await t.test('no failure while tidying up keeps the other pods from being read', async (t) => {
    for (const operation of ['rename', 'remove'] as const) {
      const files = new MemoryFiles({ 'bad.json': 'x', 'left.1.tmp': 'x', [fileOf(red)]: encodeRecord(red) });
      files.fail = { [operation]: 'EIO' };
      const { records, problems } = new PodState('/s', files).load();
      t.strictSame(records, [red], operation);
      t.match(problems, [{ file: 'bad.json', fault: 'corrupt' }], operation);
    }
  });

  await t.test('unreadable files are reported and left', async (t) => {
    const files = new MemoryFiles({ [fileOf(red)]: encodeRecord(red) });
    files.fail = { read: 'EIO' };
    t.match(new PodState('/s', files).load(), {
      records: [],
      problems: [
        { file: fileOf(red), fault: 'unreadable', text: 'cannot be read (EIO: told to); left in place' },
      ],
    });
    t.strictSame(files.names(), [fileOf(red)]);
  });

  await t.test('a directory that cannot be read is the caller’s to judge', async (t) => {
    const files = new MemoryFiles();
    files.fail = { list: 'EACCES' };
    t.throws(() => new PodState('/s', files).load(), { code: 'EACCES' });
  });
});

t.test('a pod keeps its memif as long as memifs are permitted', async (t) => {
  const store = new FakeStore();
  const one = record('one');
  const ports = [{ protocol: 'tcp', first: 80, last: 80 }] as const;
  store.put({ ...one, spec: { ...one.spec, memif: { is_l3: true, ports } } });
  t.match(new PodRecords(store, { memif: true, vcl: true }).list(), [{ spec: { memif: { ports } } }]);
  const without = new PodRecords(store, { memif: false, vcl: false });
  t.strictSame(without.list(), [one]);
  t.equal(without.without_memif, 1);
  t.match(
    store.load().records,
    [{ spec: { memif: { ports } } }],
    'what is written stays until the pod changes',
  );
  const two = record('two');
  without.put({ ...two, spec: { ...two.spec, memif: { is_l3: true, ports } } });
  t.strictSame(without.get(two.spec.key), two, 'nor does one come that was taken over');
  t.equal(without.without_memif, 2);
});

t.test(
  'a pod keeps the host stack as long as that is permitted: its gate is open, and nothing is in its way',
  async (t) => {
    const store = new FakeStore();
    const one = record('one');
    store.put({ ...one, spec: { ...one.spec, vcl: true } });
    const gates = { memif: false, vcl: true, multinet: false };
    t.match(new PodRecords(store, permitsOf({ gates })).list(), [{ spec: { vcl: true } }]);
    for (const limits of [{ gates, vcl_obstacle: 'policies' }, { gates: { ...gates, vcl: false } }]) {
      const without = new PodRecords(store, permitsOf(limits));
      t.strictSame(without.list(), [one]);
      t.strictSame([without.without_vcl, without.without_memif], [1, 0]);
    }
  },
);
