import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import t from 'tap';
import { FakeHostNetwork } from '../../../lab/fake-host-network.js';
import { TurnedClock } from '../../../lab/turned-clock.js';
import type { CommandResult } from '../../../src/host/command.js';
import { captureLink, restoreSteps } from '../../../src/host/undo/capture.js';
import { undo } from '../../../src/host/undo/undo.js';
import { openJournal } from '../../../src/host/undo/undo-journal.js';
import { describeStep, identityOf, type UndoStep } from '../../../src/host/undo/undo-step.js';
import type { NetworkChange, NetworkNamespace, Route } from '../../../src/linux/network.js';

const BOOT = '11111111-1111-1111-1111-111111111111';
const MAC = '02:00:00:00:00:01';
const VPP = '/proc/42/ns/net';

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
        const base = t.testdir({ etc: { 'service.conf': 'dns=default\n' } });
        const directory = join(base, 'etc');
        const before = host.snapshot();
        const path = join(base, 'undo.journal');
        const { journal } = openJournal(path, BOOT, 0);
        const changes = takeOver(host, directory);
        if (length > 2 * changes.length) break;
        for (const [i, [steps, change]] of changes.entries()) {
          // Odd lengths stop between the record and its change.
          if (length <= 2 * i) break;
          journal.record(steps);
          if (length === 2 * i + 1) break;
          change();
        }
        const pending = openJournal(path, BOOT, 1).journal.pending();
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

function prefixesOf(host: FakeHostNetwork): string[] {
  const own = host.open();
  return [...own.addresses(), ...own.routes()].map(({ prefix }) => prefix).sort();
}

/** After the whole take-over: the host, what is pending, and how the host was before. */
function takenOver(kind: 'physical' | 'veth', directory: string) {
  const { host } = furnished(kind);
  const before = host.snapshot();
  const prefixes = prefixesOf(host);
  const steps: UndoStep[] = [];
  for (const [recorded, change] of takeOver(host, directory)) {
    steps.push(...recorded);
    change();
  }
  return { host, before, prefixes, steps, tools: { host, clock: new TurnedClock(), run: async () => fine } };
}

t.test('an undo that was itself cut short is finished by the next one', async (t) => {
  for (const kind of ['physical', 'veth'] as const) {
    for (let taken = 0; ; taken++) {
      const { host, before, steps, tools } = takenOver(kind, t.testdir({ 'service.conf': 'dns=default\n' }));
      if (taken > steps.length) break;
      await undo(steps.slice(steps.length - taken), tools);
      assert.deepEqual((await undo(steps, tools)).remaining, []);
      assert.deepEqual(host.snapshot(), before, `${kind}, cut after ${taken} steps`);
    }
  }
  t.pass();
});

t.test('no failing step keeps the others from being taken, and it can be tried again', async (t) => {
  for (let n = 1; n <= 12; n++) {
    const { host, prefixes, steps, tools } = takenOver(
      'veth',
      t.testdir({ 'service.conf': 'dns=default\n' }),
    );
    host.failChange(n, 'EBUSY');
    const { results, remaining } = await undo(steps, tools);
    assert.equal(results.length, steps.length);
    const failures = results.filter((result) => result.outcome === 'failed');
    assert.match(failures[0]?.reason ?? '', /EBUSY/);
    assert.equal(remaining.length, failures.length);
    assert.deepEqual((await undo(remaining, tools)).remaining, [], `change ${n}`);
    // An address that comes later than its neighbour is no longer the primary one of its subnet: hence only prefixes.
    assert.deepEqual(prefixesOf(host), prefixes, `change ${n}`);
  }
  t.pass();
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

t.test('of two ports of a card with one MAC it is the port that counts', async (t) => {
  const host = new FakeHostNetwork();
  const own = host.open();
  for (const [name, port_id] of [
    ['eth0', '0a'],
    ['eth1', '0b'],
  ] as const)
    host.addPhysical({ name, mac: MAC, port_id });
  const state = captureLink(own, 'eth1')!;
  const identity = identityOf(state.link);
  t.equal(identity.port_id, '0b');
  host.addNamespace(VPP);
  own.apply({ do: 'move_link', link: state.link.index, netns: VPP });
  // The other one gets its name meanwhile.
  own.apply({ do: 'set_link', link: own.link('eth0')!.index, name: 'eth1' });
  host.destroyNamespace(VPP);
  const step: UndoStep = { kind: 'set_link', link: identity, up: true };
  const { remaining } = await undo([step], { host, clock: new TurnedClock(), run: async () => fine });
  t.strictSame(remaining, []);
  t.match(
    own.links().flatMap(({ port_id, up }) => (port_id === undefined ? [] : [{ port_id, up }])),
    [
      { port_id: '0a', up: false },
      { port_id: '0b', up: true },
    ],
  );
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

  const other = { ...identity, mac: '02:00:00:00:00:77', permanent_mac: '02:00:00:00:00:77' };
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

t.test('a link is set up last, and comes up although it refuses its old MTU', async (t) => {
  const host = new FakeHostNetwork();
  const own = host.open();
  host.addPhysical({ name: 'eth0', mac: MAC });
  const link = identityOf(own.link('eth0')!);
  const step: UndoStep = { kind: 'set_link', link, up: true, mtu: 100_000, addrgen_mode: 1 };
  const { results } = await undo([step], { host, clock: new TurnedClock(), run: async () => fine });
  t.match(results, [{ outcome: 'failed', reason: /EINVAL/ }]);
  t.equal(own.link('eth0')?.up, true);
  t.strictSame(own.addresses(own.link('eth0')!.index), [], 'no link-local address, as it was told');
});

t.test(
  'a link that is woken is up or down as it was before: who had it up may be done with it',
  async (t) => {
    const host = new FakeHostNetwork();
    const own = host.open();
    const index = host.addPhysical({ name: 'eth0', mac: MAC });
    const link = identityOf(own.link('eth0')!);
    const empty = t.testdir();
    const roots = { sys: empty, proc: empty, dev: empty };
    for (const up of [true, false]) {
      own.apply({ do: 'set_link', link: index, up });
      const before = host.mutations.length;
      const tools = { host, clock: new TurnedClock(), run: async () => fine, roots };
      t.match(await undo([{ kind: 'wake_link', link }], tools), { remaining: [] });
      const turns = host.mutations
        .slice(before)
        .map(({ change }) => (change.do === 'set_link' ? change.up : undefined));
      t.same(turns, [!up, up]);
      t.equal(own.link('eth0')?.up, up);
    }
  },
);

t.test('a name taken by another device is told, and that device is left alone', async (t) => {
  const { host, own, link } = furnished('veth');
  const state = captureLink(own, 'eth0')!;
  const identity = identityOf(state.link);
  host.addNamespace(VPP);
  own.apply({ do: 'move_link', link, netns: VPP });
  host.addPhysical({ name: 'eth0', mac: '02:00:00:00:00:55' });
  const steps: UndoStep[] = [
    ...restoreSteps(state),
    { kind: 'link_to_netns', link: identity, from: VPP },
    { kind: 'delete_link', name: 'eth0', link_kind: 'tun' },
  ];
  const tools = { host, clock: new TurnedClock(), run: async () => fine };
  const { remaining } = await undo(steps, tools);
  t.strictSame(remaining, [{ kind: 'link_to_netns', link: identity, from: VPP }]);
  t.match(own.link('eth0'), { mac: '02:00:00:00:00:55', up: false });
  const away = own.links().find(({ kind }) => kind === 'veth')!;
  t.match(own.addresses(away.index), [{ prefix: '10.0.0.2/24' }, {}, {}, {}]);
});

t.test('links come first, then the addresses of all, then their routes, and services last', async (t) => {
  const host = new FakeHostNetwork();
  const own = host.open();
  const states = ['eth0', 'eth1'].map((name, at) => {
    const link = host.addVirtual({ name, mac: `02:00:00:00:00:0${at + 1}`, kind: 'veth' });
    own.apply({ do: 'set_link', link, up: true });
    own.apply({ do: 'add_address', address: { link, family: 4, prefix: `10.${at}.0.2/24` } });
    return link;
  });
  // Each names the address of the other.
  for (const [at, oif] of states.entries())
    own.apply(route(oif, `10.7${at}.0.0/16`, `10.${at}.0.1`, { prefsrc: `10.${1 - at}.0.2` }));
  const before = host.snapshot();
  const directory = t.testdir();
  const steps = ['eth0', 'eth1'].flatMap((name): UndoStep[] => {
    const state = captureLink(own, name)!;
    const link = identityOf(state.link);
    return [...restoreSteps(state), { kind: 'link_to_netns', link, from: VPP }];
  });
  host.addNamespace(VPP);
  for (const link of states) own.apply({ do: 'move_link', link, netns: VPP });
  // What was done last is a service that was told of the tap.
  const service: UndoStep[] = [
    { kind: 'run_command', argv: ['restart'], timeout_ms: 20_000, after_boot: false },
    { kind: 'write_file', path: join(directory, 'x'), content: null, mode: 0o644 },
  ];
  writeFileSync(join(directory, 'x'), '');
  const seen: object[] = [];
  const report = await undo([...steps, ...service], {
    host,
    clock: new TurnedClock(),
    run: async (argv) => {
      if (argv[0] === 'restart') seen.push(host.snapshot(), readdirSync(directory));
      return fine;
    },
  });
  t.strictSame(report.remaining, [], 'at the first attempt');
  t.strictSame(seen, [before, []], 'the host has its network when the service is asked');
});

t.test('the cost of an undo does not grow with what else the host has', async (t) => {
  const dumps = async (count: number) => {
    const { host, own, link } = furnished('veth');
    for (let n = 0; n < count; n++) {
      own.apply(route(link, `10.${100 + (n >> 8)}.${n & 255}.0/24`, '10.0.0.1', {}));
      own.apply(route(link, `fd77:${n.toString(16)}::/48`, 'fd00::1', {}));
      host.addVirtual({
        name: `veth${n}`,
        mac: `02:00:00:01:${(n >> 8).toString(16)}:${(n & 255).toString(16)}`,
        kind: 'veth',
      });
    }
    const state = captureLink(own, 'eth0')!;
    const steps: UndoStep[] = [
      ...restoreSteps(state),
      { kind: 'link_to_netns', link: identityOf(state.link), from: VPP },
    ];
    host.addNamespace(VPP);
    own.apply({ do: 'move_link', link, netns: VPP });
    let asked = 0;
    const counting = new Proxy(host, {
      get: (target, key) =>
        key !== 'open'
          ? (Reflect.get(target, key).bind?.(target) ?? Reflect.get(target, key))
          : (path?: string) =>
              new Proxy(target.open(path), {
                get: (namespace, name) => {
                  if (['links', 'routes', 'addresses', 'neighbours'].includes(String(name))) asked++;
                  return Reflect.get(namespace, name).bind(namespace);
                },
              }),
    });
    const tools = { host: counting, clock: new TurnedClock(), run: async () => fine };
    assert.deepEqual((await undo(steps, tools)).remaining, []);
    const first = asked;
    assert.ok((await undo(steps, tools)).results.every(({ outcome }) => outcome === 'already'));
    return [first, asked];
  };
  t.strictSame(await dumps(200), await dumps(10));
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
  const driver = join(pci, 'devices/0000:03:00.0/driver');
  symlinkSync('../../drivers/vfio-pci', driver);
  const written: string[] = [];
  /** The kernel. */
  const write = async (path: string, value: string): Promise<void> => {
    written.push(`${basename(path)} ${value.trim()}`);
    if (path.endsWith('/unbind')) rmSync(driver);
    if (path.endsWith('/bind')) symlinkSync(`../../drivers/${basename(dirname(path))}`, driver);
    if (path.endsWith('/driver_override')) writeFileSync(path, value);
  };
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
    write,
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
  t.strictSame(commands, ['systemctl is-system-running 5000', 'false 5', 'systemctl restart x 5']);
  t.equal(readFileSync(join(directory, 'value'), 'utf8').trim(), '0');
  t.strictSame(written, [
    'driver_override virtio_pci',
    'unbind 0000:03:00.0',
    'bind 0000:03:00.0',
    'driver_override ',
  ]);
});

t.test('a file of a host that is not mounted is not gone', async (t) => {
  const root = join(t.testdir(), 'host');
  const path = join(root, 'run/rules');
  const tools = { host: new FakeHostNetwork(), clock: new TurnedClock(), run: async () => fine };
  const steps: UndoStep[] = [
    { kind: 'write_file', path, content: null, mode: 0o644, root },
    { kind: 'write_file', path: join(root, 'run/old'), content: 'old', mode: 0o644, root },
  ];
  for (const what of ['nothing', 'an empty directory']) {
    const { remaining, results } = await undo(steps, tools);
    t.strictSame(remaining, steps, what);
    t.match(results[0], { reason: /old: the host's file system is not mounted at .*host: mount it there/ });
    mkdirSync(join(root, 'run'), { recursive: true });
  }
  mkdirSync(join(root, 'etc'));
  writeFileSync(path, 'ours');
  t.strictSame((await undo(steps, tools)).remaining, []);
  t.strictSame(readdirSync(join(root, 'run')), ['old']);
});

t.test('nothing is asked of the services of a machine that goes down', async (t) => {
  const asked: string[] = [];
  const undoWhen = async (state: string) =>
    undo(
      ['restart networkd', 'trigger'].map((words): UndoStep => {
        const argv = ['chroot', '/host', ...words.split(' ')];
        return { kind: 'run_command', argv, timeout_ms: 20_000, after_boot: false };
      }),
      {
        host: new FakeHostNetwork(),
        clock: new TurnedClock(),
        run: async (argv) => {
          asked.push(argv.join(' '));
          const stdout = argv.at(-1) === 'is-system-running' ? `${state}\n` : '';
          return { ...fine, code: state === 'running' ? 0 : 1, stdout };
        },
      },
    );
  const question = 'chroot /host systemctl is-system-running';
  t.strictSame((await undoWhen('stopping')).remaining, []);
  t.strictSame(asked.splice(0), [question], 'one question for all of them');
  t.equal((await undoWhen('degraded')).remaining.length, 2);
  t.strictSame(asked.splice(0), [question, 'chroot /host trigger', 'chroot /host restart networkd']);
  t.strictSame((await undoWhen('running')).remaining, []);
});

t.test('routes and next hops that cannot be given back truly are left out', async (t) => {
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
  t.match(routes, [
    { prefix: '10.3.0.0/16', next_hops: [{ weight: 3, link: { name: 'eth1' } }] },
    { prefix: '10.2.0.0/16', next_hops: [{ link: { name: 'eth0' } }] },
  ]);
  t.equal(routes[0]?.next_hops.length, 1, 'of a multipath route those that are alive');
});

t.test('every kind of step can be told in words', async (t) => {
  const { own } = furnished('physical');
  const state = captureLink(own, 'eth0')!;
  for (const step of [
    ...restoreSteps(state),
    { kind: 'write_file', path: '/a', content: null, mode: 0o644 } as const,
  ])
    t.match(describeStep(step), new RegExp(`^${step.kind} .+`));
});

t.test('what a service of the host has taken off meanwhile is waited for, and not for ever', async (t) => {
  const { host, own, link } = furnished('veth');
  const turned = new TurnedClock();
  const identity = identityOf(own.link('eth0')!);
  const address = own.addresses(link).find(({ prefix }) => prefix === '10.0.0.3/24')!;
  const [leaning] = own.routes({ link }).filter(({ prefix }) => prefix === '10.50.0.0/16');
  const { next_hops: _, ...rest } = leaning!;
  const { link: __, ...own_address } = address;
  const steps: UndoStep[] = [
    { kind: 'run_command', argv: ['restart'], timeout_ms: 20_000, after_boot: false },
    {
      kind: 'add_route',
      route: { ...rest, next_hops: [{ link: identity, gateway: '10.0.0.1' }] },
    } as UndoStep,
    { kind: 'add_address', link: identity, address: own_address },
  ];
  const restored = async (service: { readonly flushes: boolean; readonly gives_back: boolean }) => {
    let polls = 0;
    let flushed = !service.flushes;
    // A service takes the address off between its step and that of the route.
    const apply = own.apply.bind(own);
    own.apply = (change) => {
      if (change.do === 'append_route' && !flushed) {
        flushed = true;
        apply({ do: 'delete_address', address });
      }
      return apply(change);
    };
    const tools = {
      host: Object.assign(Object.create(host), { open: () => own }) as FakeHostNetwork,
      run: async (): Promise<CommandResult> => ({ code: 0, stdout: '', stderr: '' }) as CommandResult,
      clock: {
        now_ms: () => turned.now_ms(),
        wall_ms: () => turned.wall_ms(),
        after: (ms: number, run: () => void) => turned.after(ms, run),
        afterPoll: (run: () => void) => turned.afterPoll(run),
        sleep: async (ms: number) => {
          polls += 1;
          if (service.gives_back && polls === 2) apply({ do: 'add_address', address });
          await turned.advance(ms);
        },
      },
    };
    const { remaining } = await undo(steps, tools);
    own.apply = apply;
    return { remaining: remaining.map(({ kind }) => kind), polls };
  };
  t.same(await restored({ flushes: true, gives_back: true }), { remaining: [], polls: 2 });
  t.same(await restored({ flushes: true, gives_back: false }), { remaining: ['add_route'], polls: 10 });
});

t.test('a default route that the kernel does not take for its own comes back as any other', async (t) => {
  const { host, own, link } = furnished('veth');
  const identity = identityOf(own.link(link)!);
  const step: UndoStep = {
    kind: 'add_route',
    of: 'eth0',
    route: {
      family: 6,
      prefix: '::/0',
      metric: 1025,
      protocol: 9,
      expires_s: 1800,
      advertised: true,
      next_hops: [{ gateway: 'fe80::1', link: identity }],
    },
  };
  host.failChange(1, 'EPERM');
  const tools = { host, clock: new TurnedClock(), run: async () => fine };
  const { results, remaining } = await undo([step], tools);
  t.same(remaining, []);
  t.match(results, [{ outcome: 'done' }]);
  const back = own.routes({ link }).filter(({ metric, prefix }) => prefix === '::/0' && metric === 1025);
  t.match(back, [{ next_hops: [{ gateway: 'fe80::1' }] }]);
  t.equal(back[0]!.advertised, undefined);
});
