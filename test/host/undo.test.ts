import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { FakeHostNetwork } from '../../lab/fake-host-network.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import { captureLink, restoreSteps } from '../../src/host/capture.js';
import type { CommandResult } from '../../src/host/command.js';
import type { NetworkChange, NetworkNamespace, Route } from '../../src/host/types.js';
import { undo } from '../../src/host/undo.js';
import { JournalError, type JournalFiles, openJournal } from '../../src/host/undo-journal.js';
import { describeStep, identityOf, type UndoStep } from '../../src/host/undo-step.js';

const BOOT = '11111111-1111-1111-1111-111111111111';
const LATER_BOOT = '22222222-2222-2222-2222-222222222222';
const MAC = '02:00:00:00:00:01';
const VPP = '/proc/42/ns/net';

/** A disk in memory that can be full, and that can lose power after any number of bytes. */
class MemoryFiles implements JournalFiles {
  readonly files = new Map<string, string>();
  readonly operations: string[] = [];
  /** Bytes that still fit; a write that does not fit leaves its first part, as a disk does. */
  room_bytes = Number.POSITIVE_INFINITY;
  read_only = false;

  read(path: string): string | undefined {
    return this.files.get(path);
  }

  replace(path: string, text: string): void {
    this.#write('replace');
    if (text.length > this.room_bytes) throw new Error('ENOSPC');
    this.room_bytes -= text.length;
    this.files.set(path, text);
  }

  append(path: string, text: string): void {
    this.#write('append');
    const fits = text.slice(0, this.room_bytes);
    this.room_bytes -= fits.length;
    this.files.set(path, this.files.get(path)! + fits);
    if (fits.length < text.length) throw new Error('ENOSPC');
  }

  truncate(path: string, length_bytes: number): void {
    this.#write('truncate');
    const bytes = Buffer.from(this.files.get(path)!);
    this.files.set(path, bytes.subarray(0, length_bytes).toString());
  }

  copy(path: string, to: string): void {
    this.#write('copy');
    this.files.set(to, this.files.get(path)!);
  }

  remove(path: string): void {
    this.#write('remove');
    this.files.delete(path);
  }

  #write(operation: string): void {
    if (this.read_only) throw new Error('EROFS');
    this.operations.push(operation);
  }
}

const PATH = '/var/lib/node/undo.journal';
const file = (path: string): UndoStep => ({ kind: 'write_file', path, content: null, mode: 0o644 });
const sysctl = (value: string): UndoStep => ({ kind: 'write_kernel_file', path: '/proc/sys/x', value });

t.test('the journal gives back what was recorded, in order, to the next process', async (t) => {
  const files = new MemoryFiles();
  const { journal } = openJournal(PATH, BOOT, 0, files);
  t.equal(files.files.size, 0, 'nothing is written before there is something to undo');
  journal.record([file('/a'), sysctl('ü')]);
  journal.record([]);
  journal.record([file('/b')]);
  t.strictSame(files.operations, ['replace', 'append'], 'one durable write for each record');
  const next = openJournal(PATH, BOOT, 1, files);
  t.strictSame(next.journal.pending(), [file('/a'), sysctl('ü'), file('/b')]);
  t.equal(next.set_aside, undefined);
  next.journal.record([file('/c')]);
  t.equal(openJournal(PATH, BOOT, 2, files).journal.pending().length, 4);
  next.journal.replace([file('/b')]);
  t.strictSame(openJournal(PATH, BOOT, 3, files).journal.pending(), [file('/b')], 'what failed stays');
  next.journal.clear();
  t.equal(files.files.size, 0);
  t.strictSame(next.journal.pending(), []);
  next.journal.record([file('/d')]);
  t.strictSame(openJournal(PATH, BOOT, 4, files).journal.pending(), [file('/d')], 'and goes on after that');
});

t.test('power lost at any byte of a record loses that record alone', async (t) => {
  const files = new MemoryFiles();
  const { journal } = openJournal(PATH, BOOT, 0, files);
  journal.record([file('/a')]);
  const before = files.files.get(PATH)!;
  journal.record([file('/b')]);
  const whole = files.files.get(PATH)!;
  for (let length = before.length; length < whole.length; length++) {
    files.files.set(PATH, whole.slice(0, length));
    const opened = openJournal(PATH, BOOT, 1, files);
    assert.deepEqual(opened.journal.pending(), [file('/a')]);
    assert.equal(opened.set_aside, undefined);
    opened.journal.record([file('/c')]);
    assert.deepEqual(openJournal(PATH, BOOT, 1, files).journal.pending(), [file('/a'), file('/c')]);
  }
  t.pass();
});

t.test('any damage is reported and the file kept; the records that are whole stay pending', async (t) => {
  const files = new MemoryFiles();
  const { journal } = openJournal(PATH, BOOT, 0, files);
  for (const name of ['/a', '/b', '/c']) journal.record([file(name)]);
  const good = files.files.get(PATH)!;
  const lines = good.trimEnd().split('\n');
  fc.assert(
    fc.property(fc.nat(good.length - 2), fc.integer({ min: 1, max: 127 }), (at, flip) => {
      const bytes = Buffer.from(good);
      bytes[at] = bytes[at]! ^ flip;
      const bad = bytes.toString('latin1');
      files.files.clear();
      files.files.set(PATH, bad);
      const opened = openJournal(PATH, BOOT, 99, files);
      assert.ok(opened.set_aside, `byte ${at} flipped by ${flip}`);
      assert.equal(files.files.get(opened.set_aside.path), bad);
      const line = good.slice(0, at).split('\n').length - 1;
      const pending = opened.journal.pending().length;
      assert.ok(line === 0 ? pending === 0 : pending >= 1 && pending < 3, `line ${line}: ${pending} left`);
      assert.equal(opened.set_aside.steps_kept, pending);
    }),
  );
  const reasons: [string, string, RegExp][] = [
    ['a foreign file', 'hello\n', /not an undo journal/],
    ['a missing record', [lines[0], lines[2], lines[3], ''].join('\n'), /line 2 is damaged or out of order/],
    ['a repeated record', [lines[0], lines[1], lines[1], ''].join('\n'), /line 3 /],
  ];
  for (const [what, text, reason] of reasons) {
    files.files.set(PATH, text);
    t.match(openJournal(PATH, BOOT, 7, files).set_aside, { reason }, what);
  }
});

t.test('a journal of another version is kept aside', async (t) => {
  const files = new MemoryFiles();
  const { journal } = openJournal(PATH, BOOT, 0, files);
  journal.record([file('/a')]);
  const { crc32 } = await import('node:zlib');
  const text = JSON.stringify({ format: 'calico-vpp-node undo journal', version: 2 }).slice(0, -1);
  const line = `${text},"crc32":"${crc32(text).toString(16).padStart(8, '0')}"}\n`;
  files.files.set(PATH, line);
  const opened = openJournal(PATH, BOOT, 5, files);
  t.match(opened.set_aside, { path: `${PATH}.5.aside`, reason: /version 2/, steps_kept: 0 });
  t.equal(files.files.get(`${PATH}.5.aside`), line);
  t.equal(files.files.get(PATH), undefined);
});

t.test('after a restart of the machine only steps on what lasts are pending', async (t) => {
  const files = new MemoryFiles();
  const { journal } = openJournal(PATH, BOOT, 0, files);
  const command = (after_boot: boolean): UndoStep => ({
    kind: 'run_command',
    argv: ['true'],
    timeout_ms: 1,
    after_boot,
  });
  journal.record([file('/a'), sysctl('1'), command(true), command(false)]);
  const opened = openJournal(PATH, LATER_BOOT, 1, files);
  t.strictSame(opened.journal.pending(), [file('/a'), command(true)]);
  t.equal(opened.dropped_steps, 2);
  opened.journal.record([sysctl('2')]);
  t.equal(
    openJournal(PATH, LATER_BOOT, 2, files).journal.pending().length,
    3,
    'the file is of this boot now',
  );
});

t.test('a full disk refuses the record, and the records before it stay whole', async (t) => {
  const files = new MemoryFiles();
  const { journal } = openJournal(PATH, BOOT, 0, files);
  files.room_bytes = 10;
  t.throws(() => journal.record([file('/a')]), JournalError);
  t.equal(files.files.size, 0);
  files.room_bytes = Number.POSITIVE_INFINITY;
  journal.record([file('/a')]);
  for (let room = 0; room < 40; room++) {
    files.room_bytes = room;
    assert.throws(() => journal.record([file('/b')]), /cannot record undo journal .*ENOSPC/);
  }
  files.room_bytes = Number.POSITIVE_INFINITY;
  journal.record([file('/c')]);
  t.strictSame(openJournal(PATH, BOOT, 1, files).journal.pending(), [file('/a'), file('/c')]);
  t.throws(() => journal.record([file('x'.repeat(9_000_000))]), /would exceed/);
});

t.test('what is pending can be undone from a disk that takes nothing any more', async (t) => {
  const files = new MemoryFiles();
  openJournal(PATH, BOOT, 0, files).journal.record([file('/a'), sysctl('1')]);
  const whole = files.files.get(PATH)!;
  files.files.set(PATH, `${whole}half a li`);
  files.read_only = true;
  const cut = openJournal(PATH, BOOT, 1, files).journal;
  t.equal(cut.pending().length, 2, 'cut last line');
  t.throws(() => cut.record([file('/b')]), JournalError, 'but nothing is recorded behind it');
  files.files.set(PATH, whole);
  t.equal(openJournal(PATH, LATER_BOOT, 1, files).journal.pending().length, 1, 'another boot');
  files.files.set(PATH, whole.replace('/a', '/x'));
  const damaged = openJournal(PATH, BOOT, 1, files);
  t.ok(damaged.set_aside, 'damage');
  t.throws(() => damaged.journal.record([file('/b')]), JournalError);
});

t.test('the real file is private, durable at each record, and gone at the end', async (t) => {
  const path = join(t.testdir(), 'below', 'undo.journal');
  const { journal } = openJournal(path, BOOT, 0);
  journal.record([file('/a')]);
  journal.record([file('/b')]);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.strictSame(openJournal(path, BOOT, 0).journal.pending(), [file('/a'), file('/b')]);
  for (const line of readFileSync(path, 'utf8').trimEnd().split('\n')) t.ok(JSON.parse(line).crc32);
  writeFileSync(path, '\u0000\u0000', { flag: 'a' });
  t.strictSame(openJournal(path, BOOT, 0).journal.pending(), [file('/a'), file('/b')], 'a torn end');
  writeFileSync(path, 'garbage\n');
  const { set_aside } = openJournal(path, BOOT, 6);
  t.equal(readFileSync(set_aside!.path, 'utf8'), 'garbage\n');
  journal.clear();
  t.strictSame(readdirSync(join(path, '..')), ['undo.journal.6.aside']);
});

/** The host before the take-over: a physical uplink, or a veth one, with addresses and routes of both families. */
function furnished(kind: 'physical' | 'veth'): {
  host: FakeHostNetwork;
  own: NetworkNamespace;
  link: number;
} {
  const host = new FakeHostNetwork();
  const own = host.open();
  const link =
    kind === 'physical'
      ? host.addPhysical({
          name: 'eth0',
          mac: MAC,
          channels: { rx: 0, tx: 0, combined: 4, max_rx: 0, max_tx: 0, max_combined: 4 },
        })
      : host.addVirtual({ name: 'eth0', mac: MAC, kind: 'veth' });
  const changes: NetworkChange[] = [
    { do: 'set_link', link, up: true, mtu: 9000 },
    { do: 'add_address', address: { link, family: 4, prefix: '10.0.0.2/24' } },
    { do: 'add_address', address: { link, family: 4, prefix: '10.0.0.3/24' } },
    { do: 'add_address', address: { link, family: 4, prefix: '10.7.0.1/32' } },
    { do: 'add_address', address: { link, family: 6, prefix: 'fd00::2/64', flags: 2 } },
    route(link, '0.0.0.0/0', '10.0.0.1', { metric: 100, protocol: 16 }),
    route(link, '10.50.0.0/16', '10.0.0.1', { table: 100, prefsrc: '10.0.0.3' }),
    route(link, '10.60.0.0/16', '10.99.0.1', { onlink: true }),
    route(link, '::/0', 'fd00::1', {}),
    route(link, 'fd10::/48', 'fe80::1', { metric: 7 }),
    {
      do: 'set_neighbour',
      neighbour: { link, family: 4, address: '10.0.0.9', mac: '02:00:00:00:00:09' },
    },
  ];
  for (const change of changes) own.apply(change);
  return { host, own, link };
}

function route(
  oif: number,
  prefix: string,
  gateway: string,
  { onlink, ...rest }: Partial<Route> & { onlink?: boolean },
): NetworkChange {
  const family = prefix.includes(':') ? 6 : 4;
  const next_hops = [{ oif, gateway, ...(onlink ? { onlink } : {}) }];
  return { do: 'add_route', route: { family, prefix, ...rest, next_hops } };
}

/** The take-over as its sequence of mutations, each with the steps that must be recorded before it. */
function takeOver(host: FakeHostNetwork, directory: string): [readonly UndoStep[], () => void][] {
  const own = host.open();
  const state = captureLink(own, 'eth0')!;
  const link = identityOf(state.link);
  const rules = join(directory, 'rules');
  const service = join(directory, 'service.conf');
  const { index } = state.link;
  return [
    [
      [{ kind: 'write_file', path: service, content: 'dns=default\n', mode: 0o640 }],
      () => writeFileSync(service, 'dns=none\n', { mode: 0o600 }),
    ],
    [[{ kind: 'write_file', path: rules, content: null, mode: 0o644 }], () => writeFileSync(rules, 'new')],
    [
      [{ kind: 'set_link', link, promisc: false }],
      () => own.apply({ do: 'set_link', link: index, promisc: true }),
    ],
    [[{ kind: 'set_link', link, mtu: 9000 }], () => own.apply({ do: 'set_link', link: index, mtu: 3000 })],
    ...(state.channels
      ? ([
          [
            [{ kind: 'ethtool_channels', link, channels: state.channels }],
            () => own.setChannels('eth0', { rx: 0, tx: 0, combined: 1 }),
          ],
        ] as [UndoStep[], () => void][])
      : []),
    [
      [...restoreSteps(state), { kind: 'link_to_netns', link, from: VPP }],
      () => own.apply({ do: 'move_link', link: index, netns: host.addNamespace(VPP) }),
    ],
    [
      [{ kind: 'delete_link', name: 'eth0', link_kind: 'tun' }],
      () => host.addVirtual({ name: 'eth0', mac: MAC, kind: 'tun' }),
    ],
    [
      [],
      () => {
        const tap = own.link('eth0')!.index;
        own.apply({ do: 'set_link', link: tap, up: true });
        own.apply({ do: 'add_address', address: { link: tap, family: 4, prefix: '10.0.0.2/24' } });
        own.apply(route(tap, '0.0.0.0/0', '10.0.0.1', {}));
      },
    ],
  ];
}

const fine: CommandResult = { code: 0, stdout: '', stderr: '' };

t.test(
  'undoing any beginning of a take-over gives the host back as it was, and a second time changes nothing',
  async (t) => {
    for (const kind of ['physical', 'veth'] as const) {
      for (let length = 0; ; length++) {
        const { host } = furnished(kind);
        const directory = t.testdir({ 'service.conf': 'dns=default\n' });
        const before = host.snapshot();
        const files = new MemoryFiles();
        const { journal } = openJournal(PATH, BOOT, 0, files);
        const changes = takeOver(host, directory);
        if (length > 2 * changes.length) break;
        for (const [i, [steps, change]] of changes.entries()) {
          // Odd lengths stop between the record and its change.
          if (length <= 2 * i) break;
          journal.record(steps);
          if (length === 2 * i + 1) break;
          change();
        }
        const pending = openJournal(PATH, BOOT, 1, files).journal.pending();
        const tools = { host, clock: new TurnedClock(), run: async () => fine };
        const report = await undo(pending, tools);
        assert.deepEqual(
          report.results.filter(({ outcome }) => outcome === 'failed'),
          [],
        );
        assert.deepEqual(host.snapshot(), before, `${kind}, stopped after ${length} half steps`);
        assert.equal(readFileSync(join(directory, 'service.conf'), 'utf8'), 'dns=default\n');
        assert.deepEqual(
          readdirSync(directory).filter((name) => name !== 'service.conf'),
          [],
        );
        const changes_made = host.mutations.length;
        const again = await undo(pending, tools);
        assert.ok(again.results.every(({ outcome }) => outcome === 'already'));
        assert.equal(host.mutations.length, changes_made);
      }
    }
    t.pass();
  },
);

t.test('no failing step keeps the others from being taken', async (t) => {
  const { host } = furnished('veth');
  const before = host.snapshot();
  const directory = t.testdir({ 'service.conf': 'dns=default\n' });
  const steps: UndoStep[] = [];
  for (const [recorded, change] of takeOver(host, directory)) {
    steps.push(...recorded);
    change();
  }
  const total = (await countChanges(steps)) + 1;
  t.ok(total > 10);
  async function countChanges(pending: readonly UndoStep[]): Promise<number> {
    const other = furnished('veth').host;
    for (const [, change] of takeOver(other, t.testdir({ other: {} }))) change();
    const made = other.mutations.length;
    await undo(pending, { host: other, clock: new TurnedClock(), run: async () => fine });
    return other.mutations.length - made;
  }
  let remaining: readonly UndoStep[] = steps;
  host.failChange(5, 'EBUSY');
  host.failChange(9, 'ENOBUFS');
  const tools = { host, clock: new TurnedClock(), run: async () => fine };
  const report = await undo(remaining, tools);
  const failures = report.results.filter((r) => r.outcome === 'failed');
  t.ok(failures.length >= 2);
  t.match(failures[0]?.reason, /EBUSY/);
  remaining = report.remaining;
  t.ok(remaining.length < steps.length);
  t.strictSame((await undo(remaining, tools)).remaining, [], 'and what failed can be tried again');
  t.strictSame(host.snapshot(), before);
});

t.test('a physical link that fell back to the host under another name gets its own name back', async (t) => {
  const { host, own, link } = furnished('physical');
  const before = host.snapshot();
  const state = captureLink(own, 'eth0')!;
  const steps: UndoStep[] = [
    ...restoreSteps(state),
    { kind: 'link_to_netns', link: identityOf(state.link), from: VPP },
    { kind: 'delete_link', name: 'eth0', link_kind: 'tun' },
  ];
  host.addNamespace(VPP);
  own.apply({ do: 'move_link', link, netns: VPP });
  host.addVirtual({ name: 'eth0', mac: MAC, kind: 'tun' });
  host.destroyNamespace(VPP);
  t.ok(own.links().some(({ name }) => name.startsWith('dev')));
  const report = await undo(steps, { host, clock: new TurnedClock(), run: async () => fine });
  t.strictSame(report.remaining, []);
  t.strictSame(host.snapshot(), before);
});

t.test('a physical link is waited for, a virtual one is not, and the wait has an end', async (t) => {
  const { host, own, link } = furnished('physical');
  const state = captureLink(own, 'eth0')!;
  const identity = identityOf(state.link);
  host.addNamespace(VPP);
  own.apply({ do: 'move_link', link, netns: VPP });
  const clock = new TurnedClock();
  const tools = { host, clock, run: async () => fine };
  // Nobody says where it is: it must come by itself.
  const up: UndoStep = { kind: 'set_link', link: identity, up: true };
  const coming = undo([up], tools, 10_000);
  await clock.advance(3_000);
  host.destroyNamespace(VPP);
  await clock.advance(1_000);
  t.strictSame((await coming).remaining, []);
  t.equal(own.link('eth0')?.up, true);

  const other = { ...identity, mac: '02:00:00:00:00:77' };
  const veth = { ...identity, name: 'v0', kind: 'veth' };
  const missing: UndoStep[] = [
    { kind: 'set_link', link: veth, up: true },
    { kind: 'set_link', link: other, mtu: 1500 },
    { kind: 'set_link', link: other, up: true },
  ];
  const start = clock.now_ms();
  let report: Awaited<ReturnType<typeof undo>> | undefined;
  const waiting = undo(missing, tools, 10_000).then((answer) => {
    report = answer;
  });
  await clock.advance(10_200);
  await waiting;
  t.equal(report?.remaining.length, 3);
  t.match(report?.results[0], { reason: /physical link eth0 is not there/ });
  t.ok(clock.now_ms() - start < 11_000, 'one wait for all steps');
});

t.test('a name taken by another device is told, and that device is left alone', async (t) => {
  const { host, own, link } = furnished('veth');
  const identity = identityOf(own.link('eth0')!);
  host.addNamespace(VPP);
  own.apply({ do: 'move_link', link, netns: VPP });
  host.addPhysical({ name: 'eth0', mac: '02:00:00:00:00:55' });
  const steps: UndoStep[] = [
    { kind: 'link_to_netns', link: identity, from: VPP },
    { kind: 'delete_link', name: 'eth0', link_kind: 'tun' },
  ];
  const { results } = await undo(steps, { host, clock: new TurnedClock(), run: async () => fine });
  t.match(results, [{ outcome: 'already' }, { outcome: 'failed', reason: /EEXIST/ }]);
  t.equal(own.link('eth0')?.mac, '02:00:00:00:00:55');
});

t.test('commands, kernel files and drivers are undone, and their failures told', async (t) => {
  const directory = t.testdir({
    value: '1\n',
    sys: {
      bus: {
        pci: {
          devices: { '0000:03:00.0': { driver_override: '(null)\n' } },
          drivers: { 'vfio-pci': { bind: '', unbind: '' }, virtio_pci: { bind: '', unbind: '' } },
        },
      },
    },
  });
  const pci = join(directory, 'sys/bus/pci');
  symlinkSync('../../drivers/vfio-pci', join(pci, 'devices/0000:03:00.0/driver'));
  mkdirSync(join(directory, 'etc'));
  const commands: string[] = [];
  const steps: UndoStep[] = [
    { kind: 'run_command', argv: ['systemctl', 'restart', 'x'], timeout_ms: 5, after_boot: true },
    { kind: 'run_command', argv: ['false'], timeout_ms: 5, after_boot: true },
    { kind: 'write_kernel_file', path: join(directory, 'value'), value: '0' },
    { kind: 'write_kernel_file', path: join(directory, 'gone'), value: '0' },
    { kind: 'bind_driver', pci: '0000:03:00.0', driver: 'virtio_pci' },
    { kind: 'bind_driver', pci: '0000:03:00.0', driver: 'vfio-pci' },
    { kind: 'bind_driver', pci: '0000:03:00.0', driver: 'mlx5_core' },
    { kind: 'bind_driver', pci: '0000:04:00.0', driver: 'mlx5_core' },
  ];
  const { results } = await undo(steps, {
    host: new FakeHostNetwork(),
    clock: new TurnedClock(),
    roots: { sys: join(directory, 'sys'), proc: '/proc', dev: '/dev' },
    run: async (argv, { timeout_ms }) => {
      commands.push(`${argv.join(' ')} ${timeout_ms}`);
      return argv[0] === 'false' ? { code: 1, stdout: '', stderr: 'no good' } : fine;
    },
  });
  t.match(
    results.map((r) => (r.outcome === 'failed' ? r.reason : r.outcome)),
    [
      /no PCI device/,
      /mlx5_core is not loaded/,
      'already',
      'done',
      /there is no such file/,
      'done',
      /exit status 1: no good/,
      'done',
    ],
  );
  t.strictSame(commands, ['false 5', 'systemctl restart x 5']);
  t.equal(readFileSync(join(directory, 'value'), 'utf8').trim(), '0');
  t.equal(readFileSync(join(pci, 'drivers/vfio-pci/unbind'), 'utf8'), '0000:03:00.0');
  t.equal(readFileSync(join(pci, 'drivers/virtio_pci/bind'), 'utf8'), '0000:03:00.0');
  t.equal(readFileSync(join(pci, 'devices/0000:03:00.0/driver_override'), 'utf8').charAt(0), '\n');
});

t.test('routes that cannot be given back truly are left out', async (t) => {
  const { host, own } = furnished('physical');
  const other = host.addPhysical({ name: 'eth1', mac: '02:00:00:00:00:02' });
  const state = captureLink(own, 'eth0')!;
  const [any] = state.routes;
  const { index } = state.link;
  const steps = restoreSteps({
    ...state,
    others: new Map([[other, identityOf(own.link(other)!)]]),
    routes: [
      { ...any!, prefix: '10.1.0.0/16', unsupported: ['encap'] },
      { ...any!, prefix: '10.2.0.0/16', next_hops: [{ oif: index, flags: 1 }] },
      {
        ...any!,
        prefix: '10.3.0.0/16',
        next_hops: [
          { oif: index, flags: 1 },
          { oif: other, weight: 3 },
        ],
      },
    ],
  });
  const routes = steps.flatMap((step) => (step.kind === 'add_route' ? [step.route] : []));
  t.match(routes, [{ prefix: '10.3.0.0/16', next_hops: [{ weight: 3, link: { name: 'eth1' } }] }]);
  t.equal(routes.length, 1);
});

t.test('every kind of step can be told in words', async (t) => {
  const { own } = furnished('physical');
  const state = captureLink(own, 'eth0')!;
  for (const step of [...restoreSteps(state), file('/a'), sysctl('1')])
    t.match(describeStep(step), new RegExp(`^${step.kind} .+`));
});
