import fc from 'fast-check';
import t from 'tap';
import { memoryFile } from '../../lab/memory-file.js';
import { keyOf, type VppObject } from '../../src/objects/object.js';
import { Registry, type RegistryFile } from '../../src/vpp-conn/registry.js';
import { adds, ExecutorLab, removes, tap, turn } from './executor-lab.js';

const exclude = (n: number): VppObject => ({ kind: 'snat_exclude', prefix: `10.${n}.0.0/16` });
const verdict = (tag: string, to: 'allow' | 'deny' = 'deny'): VppObject => ({
  kind: 'default_verdict',
  interface: tag,
  verdict: to,
});
const snat = (tag: string): VppObject => ({ kind: 'interface_flag', interface: tag, flag: 'snat_pod' });

/** `snat_exclude:10.1.0.0/16`, with `?` where it is not sure. */
const held = (registry: Registry): string[] =>
  registry.list().map(({ object, sure }) => `${keyOf(object)}${sure ? '' : '?'}`);
/** On a disk without room: the file can be read and removed. */
const fullDisk = (file: RegistryFile, isFull = (): boolean => true): RegistryFile => ({
  read: () => file.read(),
  replace(text) {
    if (isFull() && text !== undefined) throw new Error('ENOSPC');
    file.replace(text);
  },
  append(text) {
    if (isFull()) throw new Error('ENOSPC');
    file.append(text);
  },
});
/** What the next process finds. */
const found = (file: RegistryFile, vpp = 'vpp'): string[] => held(new Registry(memoryFile(file.read()), vpp));

t.test('a process that dies leaves behind what VPP has, and what it may have', async (t) => {
  const file = memoryFile();
  const registry = new Registry(file, 'vpp');
  const seen: string[][] = [];
  const look = () => seen.push(found(file));
  look();
  const added = registry.begins(exclude(1));
  look();
  registry.done('add', exclude(1), added);
  look();
  const removed = registry.begins(exclude(1));
  look();
  registry.done('remove', exclude(1), removed);
  look();
  const [sure, unsure] = ['snat_exclude:10.1.0.0/16', 'snat_exclude:10.1.0.0/16?'];
  t.same(seen, [[], [unsure], [sure], [unsure], []]);
  t.same(held(registry), []);
});

t.test('what VPP refuses is as it was before', async (t) => {
  const file = memoryFile();
  const registry = new Registry(file, 'vpp');
  registry.refused(exclude(1), registry.begins(exclude(1)));
  t.same(found(file), [], 'not there');
  registry.done('add', verdict('a', 'deny'), registry.begins(verdict('a', 'deny')));
  registry.refused(verdict('a', 'allow'), registry.begins(verdict('a', 'allow')));
  t.same(registry.list(), [{ object: verdict('a', 'deny'), sure: true }], 'the version before');
  t.same(new Registry(memoryFile(file.read()), 'vpp').list(), registry.list());
  registry.refused(verdict('a', 'deny'), registry.begins(verdict('a', 'deny')));
  t.same(found(file), ['default_verdict:a'], 'still there');
});

t.test('an object that is on its way again is what its last word says', async (t) => {
  const file = memoryFile();
  const registry = new Registry(file, 'vpp');
  registry.done('add', exclude(1), registry.begins(exclude(1)));
  const removed = registry.begins(exclude(1));
  const added = registry.begins(exclude(1));
  registry.done('remove', exclude(1), removed);
  t.same(found(file), ['snat_exclude:10.1.0.0/16?'], 'VPP may have it again by now');
  registry.done('add', exclude(1), added);
  t.same(found(file), ['snat_exclude:10.1.0.0/16']);
});

t.test('with an interface goes what was set on it, and a new one has nothing', async (t) => {
  const file = memoryFile();
  const registry = new Registry(file, 'vpp');
  const set = () => {
    for (const object of [verdict('a'), snat('a'), verdict('b'), exclude(1)])
      registry.done('add', object, registry.begins(object));
  };
  for (const action of ['remove', 'add'] as const) {
    set();
    registry.done(action, tap('a'));
    t.same(found(file).sort(), ['default_verdict:b', 'snat_exclude:10.1.0.0/16'], action);
  }
  registry.done('remove', { kind: 'existing_interface', tag: 'b' });
  t.ok(found(file).includes('default_verdict:b'), 'one that VPP has by itself stays');
});

t.test('objects that dumps show are not written', async (t) => {
  const file = memoryFile();
  const registry = new Registry(file, 'vpp');
  const text = file.read();
  t.equal(registry.begins(tap('a')), undefined);
  registry.done('add', tap('a'));
  t.equal(file.read(), text);
});

t.test('the file of another VPP says nothing', async (t) => {
  const file = memoryFile();
  const registry = new Registry(file, '1 100 boot');
  registry.done('add', exclude(1), registry.begins(exclude(1)));
  t.same(found(file, '1 200 boot'), []);
  new Registry(file, '1 200 boot');
  t.same(found(file, '1 100 boot'), [], 'and is written anew at once');
});

const lines = [
  '{"vpp":"vpp"}',
  JSON.stringify(['?', keyOf(exclude(1)), exclude(1)]),
  JSON.stringify(['+', keyOf(exclude(1))]),
  JSON.stringify(['?', keyOf(exclude(2)), exclude(2)]),
  JSON.stringify(['+', keyOf(exclude(2))]),
];

t.test('a good file is left as it is, so that it outlives a restart on a full disk', async (t) => {
  const text = `${lines.join('\n')}\n`;
  const file = memoryFile(text);
  const registry = new Registry(fullDisk(file), 'vpp');
  t.same(held(registry), ['snat_exclude:10.1.0.0/16', 'snat_exclude:10.2.0.0/16']);
  t.equal(file.read(), text);
  t.same(found(file), held(registry), 'once more');
});

t.test(
  'a file of which something is damaged, cut or too long is written anew before more is appended',
  async (t) => {
    const good = `${lines.join('\n')}\n`;
    const again = Array.from({ length: 5000 }, () => lines[2]).join('\n');
    for (const [what, text] of Object.entries({
      damaged: good.replace(lines[1]!, 'nonsense'),
      cut: good.slice(0, -3),
      'cut behind a whole line': good.slice(0, -1),
      'nothing but its head': lines[0]!,
      'too long': `${good}${again}\n`,
    })) {
      const file = memoryFile(text);
      const registry = new Registry(file, 'vpp');
      t.not(file.read(), text, what);
      registry.done('add', exclude(3), registry.begins(exclude(3)));
      t.same(found(file), held(registry), what);
    }
  },
);

t.test('a file that is cut is true as far as it goes', async (t) => {
  const whole = `${lines.join('\n')}\n`;
  for (let length = 0; length <= whole.length; length += 1) {
    const registry = new Registry(memoryFile(whole.slice(0, length)), 'vpp');
    const sure = registry.list().filter((each) => each.sure).length;
    const complete = whole.slice(0, length).split('\n').length - 1;
    t.ok(sure <= Math.max(0, Math.ceil((complete - 1) / 2)), `${length} bytes`);
    t.ok(registry.list().length >= Math.ceil((complete - 1) / 2), `${length} bytes`);
  }
  t.same(found(memoryFile(whole)), ['snat_exclude:10.1.0.0/16', 'snat_exclude:10.2.0.0/16']);
});

t.test('after damage, and after what another release has written, nothing is sure', async (t) => {
  const strange = [
    'nonsense',
    '5',
    '[]',
    'null',
    '["?","x"]',
    '["?","x",null]',
    '["!","x"]',
    JSON.stringify(['?', 'future_kind:x', { kind: 'future_kind' }]),
    JSON.stringify(['?', 'other:key', exclude(3)]),
    JSON.stringify(['?', keyOf(tap('a')), tap('a')]),
  ];
  for (const line of strange) {
    const text = `${[...lines.slice(0, 3), line, ...lines.slice(3)].join('\n')}\n`;
    t.same(found(memoryFile(text)), ['snat_exclude:10.1.0.0/16?', 'snat_exclude:10.2.0.0/16?'], line);
  }
});

t.test('whatever bytes there are, a registry opens and goes on', async (t) => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constantFrom(...lines), fc.json(), fc.string())), (texts) => {
        const file = memoryFile(['{"vpp":"vpp"}', ...texts].join('\n'));
        const registry = new Registry(file, 'vpp');
        for (const { object } of registry.list()) keyOf(object);
        registry.done('add', exclude(9), registry.begins(exclude(9)));
        return found(file).includes('snat_exclude:10.9.0.0/16');
      }),
      { numRuns: 300, seed: 1 },
    ),
  );
});

t.test('a file that cannot be written is removed: an old word is worse than none', async (t) => {
  const file = memoryFile();
  let full = false;
  const disk = fullDisk(file, () => full);
  const registry = new Registry(disk, 'vpp');
  registry.done('add', exclude(1), registry.begins(exclude(1)));
  full = true;
  registry.done('remove', exclude(1), registry.begins(exclude(1)));
  t.equal(file.read(), undefined);
  registry.done('add', exclude(2), registry.begins(exclude(2)));
  t.same(held(registry), ['snat_exclude:10.2.0.0/16'], 'this process still knows');
  t.same(new Registry(disk, 'vpp').list(), [], 'and the next one opens it all the same');
});

t.test('a file that cannot be read, written or removed does no harm', async (t) => {
  const fails = () => {
    throw new Error('EIO');
  };
  const registry = new Registry({ read: fails, replace: fails, append: fails }, 'vpp');
  registry.done('add', exclude(1), registry.begins(exclude(1)));
  t.same(held(registry), ['snat_exclude:10.1.0.0/16']);
});

t.test('the file grows with changes only so far', async (t) => {
  const file = memoryFile();
  const registry = new Registry(file, 'vpp');
  for (let n = 0; n < 10; n += 1) registry.done('add', exclude(n), registry.begins(exclude(n)));
  let longest = 0;
  for (let n = 0; n < 20_000; n += 1) {
    registry.done('add', exclude(n % 10), registry.begins(exclude(n % 10)));
    if (n % 100 === 0) longest = Math.max(longest, file.read()!.split('\n').length);
  }
  t.ok(longest > 4000 && longest < 4300, `${longest} lines`);
  t.equal(found(file).length, 10);
});

t.test('it says the same as VPP, wherever the process dies', async (t) => {
  const objects = [tap('a'), verdict('a'), snat('a'), exclude(1)];
  const sent = [
    'tap_create_v3',
    'npol_configure_policies',
    'cnat_snat_policy_add_del_if',
    'cnat_snat_policy',
  ];
  for (let answers = 0; answers <= sent.length; answers += 1) {
    const lab = new ExecutorLab();
    lab.run(adds(...objects));
    for (let n = 0; n < answers; n += 1) await lab.vpp.answer(1);
    const left = found(lab.registry_file, 'vpp 1');
    const sure = left.filter((key) => !key.endsWith('?'));
    t.equal(sure.length, Math.max(0, answers - 1), `${answers} answers`);
    t.equal(left.length, answers === 0 ? 0 : 3, 'and all that was sent is at least supposed to be there');
  }
});

t.test('what VPP refuses is not there, and what it has no interface for has gone', async (t) => {
  const lab = new ExecutorLab();
  lab.vpp.refuses = (text) => (text.startsWith('npol') ? -1 : undefined);
  await lab.does(adds(tap('a'), snat('a'), verdict('a')));
  t.same(found(lab.registry_file, 'vpp 1'), ['interface_flag:a/snat_pod']);
  lab.handles.forget(tap('a'));
  await lab.does(removes(snat('a')));
  await turn();
  t.same(found(lab.registry_file, 'vpp 1'), []);
});
