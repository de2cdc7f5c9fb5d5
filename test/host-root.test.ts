import { spawn } from 'node:child_process';
import { readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { readlink } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { FakeHostNetwork } from '../lab/fake-host-network.js';
import { canUseNetns, NetnsLab } from '../lab/netns.js';
import { captureLink, restoreSteps } from '../src/host/capture.js';
import { systemClock } from '../src/host/clock.js';
import { runCommand } from '../src/host/command.js';
import { enterNewNamespace } from '../src/host/netns.js';
import { type HeldProcess, watchExit } from '../src/host/process-exit.js';
import {
  type HostNetwork,
  type NetworkChange,
  type NetworkEvent,
  type NetworkNamespace,
  OWN_NAMESPACE_PATH,
} from '../src/host/types.js';
import { undo } from '../src/host/undo.js';
import { identityOf, type UndoStep } from '../src/host/undo-step.js';

/** With a real kernel, inside namespaces that are made and removed here. `ip -j` is the second opinion. */

const reason = canUseNetns();
const root = reason === undefined ? {} : { skip: reason };

function withLab(test: Test): NetnsLab {
  const lab = new NetnsLab();
  test.teardown(() => lab.close());
  return lab;
}

type Json = Record<string, unknown>;

function ipJson(lab: NetnsLab, name: string, ...argv: string[]): Json[] {
  return JSON.parse(lab.run(name, 'ip', '-j', ...argv));
}

/** Addresses and routes of all tables as `ip` tells them, without what may differ after a restore: indices and NODAD. */
function told(lab: NetnsLab, name: string): object {
  const addresses = ipJson(lab, name, 'addr').map(({ ifname, mtu, address, addr_info }) => ({
    ifname,
    mtu,
    address,
    addr_info: (addr_info as Json[])
      .map(({ nodad: _, tentative: __, ...rest }) => rest)
      .sort((a, b) => String(a.local).localeCompare(String(b.local))),
  }));
  const routes = ['-4', '-6'].flatMap((family) => ipJson(lab, name, family, 'route', 'show', 'table', 'all'));
  const neighbours = ipJson(lab, name, 'neigh', 'show', 'nud', 'permanent');
  return { addresses, routes: routes.map((route) => JSON.stringify(route)).sort(), neighbours };
}

/** The machine as this process would see it if it lived in the namespace called `name`. */
function hostInside(lab: NetnsLab, name: string): HostNetwork {
  const own = lab.namespace(name);
  return {
    open(path) {
      const namespace = lab.host.open(path ?? own);
      const come_home = (change: NetworkChange): NetworkChange =>
        change.do === 'move_link' && change.netns === OWN_NAMESPACE_PATH ? { ...change, netns: own } : change;
      const { apply } = namespace;
      namespace.apply = (change) => apply.call(namespace, come_home(change));
      return namespace;
    },
    inNamespace: (path, run) => lab.host.inNamespace(path, run),
    exists: (path) => lab.host.exists(path),
    createNamed: (other) => lab.host.createNamed(other),
    removeNamed: (other) => lab.host.removeNamed(other),
  };
}

/** The node of the tests: a veth uplink `up0` with everything on it that an administrator can think of. */
function furnish(lab: NetnsLab): NetworkNamespace {
  lab.veth(
    { namespace: 'node', name: 'up0', addresses: ['10.0.0.2/24', 'fd00::2/64'] },
    { namespace: 'peer', name: 'p0', addresses: ['10.0.0.1/24', 'fd00::1/64'] },
  );
  lab.veth(
    { namespace: 'node', name: 'up1', addresses: ['10.1.0.2/24', 'fd01::2/64'] },
    { namespace: 'peer', name: 'p1', addresses: ['10.1.0.1/24', 'fd01::1/64'] },
  );
  const commands = [
    'link set up0 mtu 1400',
    'link set up0 promisc on',
    'addr add 10.0.0.3/24 dev up0 label up0:vip',
    'addr add 10.0.7.1/32 dev up0',
    'addr add 10.9.0.1 peer 10.9.0.2/32 dev up0',
    'addr add 10.8.0.1/24 brd + dev up0 metric 77',
    'addr add 10.6.0.1/24 dev up0 valid_lft 9000 preferred_lft 8000',
    'addr add fd00::7/128 dev up0 nodad',
    'addr add fe80::77/64 dev up0 nodad scope link',
    'addr add fd02::1/64 dev up0 nodad noprefixroute',
    'route add default via 10.0.0.1 proto dhcp metric 100 mtu 1300 advmss 1200',
    'route append default via 10.0.0.9 proto dhcp metric 100',
    'route add 172.16.0.0/12 via 10.0.0.1 src 10.0.0.3',
    'route add 192.168.0.0/16 nexthop via 10.0.0.1 dev up0 weight 2 nexthop via 10.1.0.1 dev up1 weight 5',
    'route add 10.77.0.0/16 via 10.77.0.1 dev up0 onlink',
    'route add 10.66.0.0/16 via inet6 fd00::1 dev up0',
    'route add 10.50.0.0/16 via 10.0.0.1 table 100',
    'route add 10.50.0.0/16 via 10.0.0.8 table 1000 tos 0x10',
    'route add 10.40.0.0/16 dev up0 scope link initcwnd 20 quickack 1',
    'route add local 10.30.0.1 dev up0 table local',
    '-6 route add default via fd00::1 dev up0 metric 512',
    '-6 route add default via fe80::1 dev up0 metric 2048 pref high',
    '-6 route add fd10::/48 nexthop via fd00::1 dev up0 nexthop via fd01::1 dev up1',
    '-6 route add fd11::/48 via fd00::1 src fd00::7 table 100',
    '-6 route add fd12::/48 from fd00::/64 via fd00::1 dev up0',
    'neigh add 10.0.0.200 lladdr 02:00:00:00:00:99 dev up0 nud permanent',
    'rule add from 10.0.0.0/24 lookup 100 priority 50',
  ];
  for (const command of commands) lab.run('node', 'ip', ...command.split(' '));
  return lab.open('node');
}

t.test('what rtnetlink dumps is what ip shows', root, async (t) => {
  const lab = withLab(t);
  const node = furnish(lab);
  const links = ipJson(lab, 'node', '-d', 'link');
  t.same(
    node.links().map(({ name, index, mtu, mac, promiscuity, rx_queues }) => ({
      name,
      index,
      mtu,
      mac,
      promiscuity,
      rx_queues,
    })),
    links.map((l) => ({
      name: l.ifname,
      index: l.ifindex,
      mtu: l.mtu,
      mac: l.address,
      promiscuity: l.promiscuity,
      rx_queues: l.num_rx_queues,
    })),
    'links',
  );
  t.equal(node.link('up0')?.kind, 'veth');
  t.match(node.link('up0'), { promisc: true, up: true, running: true, mtu: 1400 });
  const up0 = node.link('up0')!.index;
  const addresses = ipJson(lab, 'node', 'addr', 'show', 'dev', 'up0')[0]!.addr_info as Json[];
  t.strictSame(
    node.addresses(up0).map((a) => [a.prefix, a.peer, a.label, a.broadcast, a.metric]),
    addresses.map((a) => [
      `${a.local}/${a.prefixlen}`,
      a.address,
      a.label,
      a.broadcast,
      a.metric as number | undefined,
    ]),
    'addresses',
  );
  t.match(
    node.addresses(up0).find((a) => a.prefix === '10.6.0.1/24'),
    { valid_s: Number, preferred_s: Number },
  );
  const shown = ['-4', '-6'].flatMap((f) => ipJson(lab, 'node', f, 'route', 'show', 'table', 'all'));
  t.equal(node.routes().length, shown.length, 'as many routes');
  t.equal(node.routes({ table: 100 }).length, 2, 'one table');
  t.equal(node.routes({ table: 4711 }).length, 0, 'a table that does not exist is empty');
  t.ok(
    node.routes({ link: up0 }).every((r) => r.next_hops.some((h) => h.oif === up0)),
    'one link',
  );
  t.match(node.routes().find((r) => r.prefix === '192.168.0.0/16')?.next_hops, [
    { gateway: '10.0.0.1', weight: 2 },
    { gateway: '10.1.0.1', weight: 5 },
  ]);
  t.match(
    node.routes().find((r) => r.metrics?.mtu === 1300),
    { prefix: '0.0.0.0/0', protocol: 16, metrics: { mtu: 1300, advmss: 1200 } },
  );
  t.match(node.routes().find((r) => r.prefix === '10.66.0.0/16')?.next_hops, [{ gateway: 'fd00::1' }]);
  t.match(
    node.rules().find((r) => r.priority === 50),
    { source: '10.0.0.0/24', table: 100 },
  );
  t.match(
    node.neighbours(up0).find((n) => n.address === '10.0.0.200'),
    { mac: '02:00:00:00:00:99', state: 0x80 },
  );
  t.equal(node.link('nothing'), undefined);
  t.equal(node.link(4711), undefined);
});

async function undoIn(lab: NetnsLab, steps: readonly UndoStep[]) {
  return undo(steps, { host: hostInside(lab, 'node'), clock: systemClock, run: runCommand }, 0);
}

t.test(
  'a link that was moved away comes back with all it had, and a second undo finds nothing to do',
  root,
  async (t) => {
    const lab = withLab(t);
    const node = furnish(lab);
    const away = lab.namespace('away');
    const before = told(lab, 'node');
    const state = captureLink(node, 'up0')!;
    t.equal(
      state.routes.some((route) => route.unsupported),
      false,
    );
    const steps: UndoStep[] = [
      ...restoreSteps(state),
      { kind: 'link_to_netns', link: identityOf(state.link), from: away },
    ];
    const parsed = JSON.parse(JSON.stringify(steps)) as UndoStep[];
    t.strictSame(parsed, steps, 'the steps survive the journal');

    node.apply({ do: 'move_link', link: state.link.index, netns: away });
    t.equal(node.link('up0'), undefined);
    const report = await undoIn(lab, parsed);
    t.strictSame(
      report.results.filter((r) => r.outcome === 'failed'),
      [],
    );
    t.strictSame(told(lab, 'node'), before, 'as ip shows it');
    const again = await undoIn(lab, parsed);
    t.ok(
      again.results.every((r) => r.outcome === 'already'),
      'nothing left to do',
    );
    t.strictSame(told(lab, 'node'), before);
  },
);

t.test('a link that was down is given back down, with its addresses', root, async (t) => {
  const lab = withLab(t);
  const node = furnish(lab);
  const away = lab.namespace('away');
  // Their next hops over a link that is down are dead, and no command could add such a route.
  for (const multipath of ['192.168.0.0/16', 'fd10::/48']) lab.run('node', 'ip', 'route', 'del', multipath);
  lab.run('node', 'ip', 'link', 'set', 'up0', 'down');
  const before = told(lab, 'node');
  const state = captureLink(node, 'up0')!;
  node.apply({ do: 'move_link', link: state.link.index, netns: away });
  const steps: UndoStep[] = [
    ...restoreSteps(state),
    { kind: 'link_to_netns', link: identityOf(state.link), from: away },
  ];
  const report = await undoIn(lab, steps);
  t.strictSame(report.remaining, []);
  t.strictSame(told(lab, 'node'), before);
});

t.test(
  'undo tells links apart by kind and MAC: the tap with the name of the uplink goes, the uplink comes',
  root,
  async (t) => {
    const lab = withLab(t);
    const node = furnish(lab);
    const away = lab.namespace('away');
    const state = captureLink(node, 'up0')!;
    node.apply({ do: 'move_link', link: state.link.index, netns: away });
    for (const command of ['tuntap add up0 mode tap', `link set up0 address ${state.link.mac}`])
      lab.run('node', 'ip', ...command.split(' '));
    const steps: UndoStep[] = [
      ...restoreSteps(state),
      { kind: 'link_to_netns', link: identityOf(state.link), from: away },
      { kind: 'delete_link', name: 'up0', link_kind: 'tun' },
    ];
    t.strictSame((await undoIn(lab, steps)).remaining, []);
    t.equal(node.link('up0')?.kind, 'veth');
    t.strictSame((await undoIn(lab, steps)).remaining, []);
    t.equal(node.link('up0')?.kind, 'veth', 'a second undo does not take the uplink for the tap');
  },
);

t.test('each change of a batch fails or succeeds by itself', root, async (t) => {
  const lab = withLab(t);
  lab.veth({ namespace: 'node', name: 'd0' }, { namespace: 'peer', name: 'd1' });
  const node = lab.open('node');
  const link = node.link('d0')!.index;
  const address = { link, family: 4, prefix: '10.0.0.1/24' } as const;
  const codes = node
    .batch([
      { do: 'add_address', address },
      { do: 'add_address', address },
      { do: 'replace_address', address },
      { do: 'add_route', route: { family: 4, prefix: '10.2.0.0/16', next_hops: [{ oif: 4711 }] } },
      { do: 'add_route', route: { family: 4, prefix: '10.0.0.300/16' } },
      { do: 'move_link', link, netns: '/nowhere' },
      { do: 'add_route', route: { family: 4, prefix: '10.3.0.0/16', next_hops: [{ gateway: '10.0.0.9' }] } },
    ])
    .map((failure) => failure?.code);
  t.strictSame(codes, [undefined, 'EEXIST', undefined, 'ENODEV', 'EINVAL', 'ENOENT', undefined]);
  t.throws(() => node.apply({ do: 'add_address', address }), {
    code: 'EEXIST',
    operation: 'add_address',
    message: /10\.0\.0\.1\/24 on link/,
  });
  const many = Array.from(
    { length: 1000 },
    (_, i): NetworkChange => ({
      do: 'add_route',
      route: { family: 4, prefix: `10.${100 + (i >> 8)}.${i & 255}.0/24`, next_hops: [{ oif: link }] },
    }),
  );
  t.ok(
    node.batch(many).every((failure) => failure === undefined),
    'a batch of any length',
  );
  const routes = node.routes({ table: 254, link }).filter((route) => route.family === 4);
  t.equal(routes.length, 1002, 'and a dump of many datagrams');
});

t.test('work in another namespace leaves no thread behind there', root, async (t) => {
  const lab = withLab(t);
  const path = lab.namespace('other');
  const home = readlinkSync(OWN_NAMESPACE_PATH);
  const inside = lab.host.inNamespace(path, () => readlinkSync(OWN_NAMESPACE_PATH));
  t.not(inside, home);
  t.equal(readlinkSync(OWN_NAMESPACE_PATH), home, 'back again');
  const pool = await Promise.all(Array.from({ length: 16 }, () => readlink(OWN_NAMESPACE_PATH)));
  t.strictSame(new Set(pool), new Set([home]), 'the threads of the pool see the own namespace');

  t.throws(() => lab.host.inNamespace(path, () => Promise.resolve()), { message: /synchronous/ });
  t.equal(readlinkSync(OWN_NAMESPACE_PATH), home, 'back after a promise');
  t.throws(() =>
    lab.host.inNamespace(path, () => {
      throw new Error('oops');
    }),
  );
  t.equal(readlinkSync(OWN_NAMESPACE_PATH), home, 'back after an error');
  t.throws(() => lab.host.inNamespace(path, () => lab.host.inNamespace(path, () => 1)), {
    message: /already in another/,
  });
  t.equal(readlinkSync(OWN_NAMESPACE_PATH), home, 'back after nesting');
  t.throws(() => lab.host.inNamespace('/proc/self/stat', () => 1), { code: 'EINVAL' });
  const fresh = enterNewNamespace(() => readlinkSync(OWN_NAMESPACE_PATH));
  t.not(fresh, home);
  t.equal(readlinkSync(OWN_NAMESPACE_PATH), home, 'back from a new one');
});

t.test('a named namespace lives without processes, and dies with its virtual links', root, async (t) => {
  const lab = withLab(t);
  const path = lab.namespace('named');
  t.equal(lab.host.exists(path), true);
  t.equal(lab.host.createNamed('named'), path, 'one that is there is kept');
  lab.veth({ namespace: 'named', name: 'v0' }, { namespace: 'node', name: 'v1' });
  lab.host.removeNamed('named');
  t.equal(lab.host.exists(path), false);
  lab.host.removeNamed('named');
  const left_over = join(lab.directory, 'leftover');
  writeFileSync(left_over, '');
  t.equal(lab.host.exists(left_over), false, 'an empty file is no namespace');
  t.equal(lab.host.createNamed('leftover'), left_over);
  t.equal(lab.host.exists(left_over), true, 'and is taken over');
  lab.host.removeNamed('leftover');
  t.equal(lab.host.exists(`/proc/${process.pid}/ns/net`), true);
  t.equal(lab.host.exists('/proc/4194305/ns/net'), false);
  for (const name of ['', '..', 'a/b', 'x'.repeat(65)])
    t.throws(() => lab.host.createNamed(name), RangeError, `'${name}'`);
});

t.test('events of links, addresses and routes arrive while nobody asks', root, async (t) => {
  const lab = withLab(t);
  const node = lab.open('node');
  const seen: NetworkEvent[] = [];
  let wake = () => {};
  const watch = node.watch(['link', 'address', 'route'], (event) => {
    seen.push(event);
    wake();
  });
  t.teardown(() => watch.close());
  const until = async (wanted: (event: NetworkEvent) => boolean) => {
    while (!seen.some(wanted))
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
  };
  node.apply({ do: 'add_link', link: { kind: 'bridge', name: 'd0', up: true } });
  const link = node.link('d0')!.index;
  node.apply({ do: 'add_address', address: { link, family: 4, prefix: '10.0.0.1/24' } });
  await until((e) => e.event === 'link' && e.link.name === 'd0' && e.link.up);
  await until((e) => e.event === 'address' && e.address.prefix === '10.0.0.1/24');
  await until((e) => e.event === 'route' && e.route.prefix === '10.0.0.0/24');
  node.apply({ do: 'delete_link', link });
  await until((e) => e.event === 'link_removed' && e.link.name === 'd0');
  await until((e) => e.event === 'address_removed' && e.address.prefix === '10.0.0.1/24');
  watch.close();
  watch.close();
});

t.test('the exit of a process is seen, child or not', root, async (t) => {
  const child = spawn('sh', ['-c', 'sleep 1000 >/dev/null & echo $!'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const text = await new Promise<string>((resolve) =>
    child.stdout.once('data', (data) => resolve(String(data))),
  );
  const pid = Number(text);
  let held: HeldProcess | undefined;
  const exited = new Promise<void>((resolve) => {
    held = watchExit(pid, resolve);
  });
  t.ok(held);
  t.equal(held?.signal(9), true);
  await exited;
  t.equal(held?.signal(9), false, 'a process that is gone cannot be hit');
  t.equal(
    watchExit(4194304, () => t.fail()),
    undefined,
    'no such process',
  );
  const other = watchExit(process.pid, () => t.fail('closed'));
  other?.close();
  other?.close();
});

t.test('sysctls and channels are those of the namespace', root, async (t) => {
  const lab = withLab(t);
  const node = lab.open('node');
  const machine = readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8');
  const turned = node.readSysctl('net/ipv4/ip_forward') === '0' ? '1' : '0';
  node.writeSysctl('net/ipv4/ip_forward', turned);
  t.equal(node.readSysctl('net/ipv4/ip_forward'), turned);
  t.equal(readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8'), machine, "the machine's own is untouched");
  t.equal(node.readSysctl('net/ipv4/conf/nothing/forwarding'), undefined);
  t.throws(() => node.readSysctl('../../etc/passwd'), RangeError);

  lab.veth({ namespace: 'node', name: 'v0' }, { namespace: 'peer', name: 'v1' }, 4);
  t.match(node.channels('v0'), { rx: 4, tx: 4, combined: 0, max_rx: 4 });
  node.setChannels('v0', { rx: 2, tx: 2 });
  t.match(node.channels('v0'), { rx: 2, tx: 2 });
  t.equal(node.channels('lo'), undefined);
  t.throws(() => node.setChannels('v0', { rx: 9, tx: 9, combined: 0 }), { code: 'EINVAL' });
  t.throws(() => node.setChannels('nothing', { rx: 1, tx: 1, combined: 0 }), { code: 'ENODEV' });
});

t.test('links of all kinds are made, and rules and neighbours come and go', root, async (t) => {
  const lab = withLab(t);
  const node = lab.open('node');
  const peer = { name: 'd1', mac: '02:00:00:00:00:08' };
  node.apply({ do: 'add_link', link: { kind: 'bridge', name: 'br0', mtu: 1400, up: true } });
  node.apply({
    do: 'add_link',
    link: { kind: 'veth', name: 'd0', mac: '02:00:00:00:00:07', mtu: 1500, peer },
  });
  const lower = node.link('d0')!.index;
  node.apply({ do: 'add_link', link: { kind: 'macvlan', name: 'mv0', link: lower } });
  t.match(node.link('mv0'), { kind: 'macvlan', link: lower });
  node.apply({ do: 'delete_link', link: node.link('mv0')!.index });
  t.equal(node.link('mv0'), undefined);
  node.apply({ do: 'set_link', link: lower, master: node.link('br0')!.index });
  t.match(node.link('d0'), { kind: 'veth', mac: '02:00:00:00:00:07', master: node.link('br0')!.index });
  t.match(node.link('d1'), { mac: '02:00:00:00:00:08', link: lower });
  lab.run('node', 'ip', 'link', 'property', 'add', 'dev', 'd0', 'altname', 'a-name-longer-than-15-bytes');
  t.equal(node.link('a-name-longer-than-15-bytes')?.name, 'd0');
  t.strictSame(node.link('d0')?.altnames, ['a-name-longer-than-15-bytes']);
  node.apply({
    do: 'set_link',
    link: lower,
    name: 'e0',
    mtu: 9000,
    promisc: true,
    addrgen_mode: 1,
    master: 0,
  });
  t.match(node.link(lower), { name: 'e0', mtu: 9000, promisc: true, addrgen_mode: 1, master: undefined });

  const rule = { family: 4, priority: 99, table: 1000, fwmark: 5, iif: 'lo' } as const;
  node.apply({ do: 'add_rule', rule });
  t.match(
    node.rules().find((r) => r.priority === 99),
    rule,
  );
  node.apply({ do: 'delete_rule', rule });
  t.equal(
    node.rules().find((r) => r.priority === 99),
    undefined,
  );

  node.apply({ do: 'set_link', link: lower, up: true });
  const neighbour = { link: lower, family: 6, address: 'fe80::1', mac: '02:00:00:00:00:01' } as const;
  node.apply({ do: 'set_neighbour', neighbour });
  t.match(
    node.neighbours(lower).find((n) => n.address === 'fe80::1'),
    neighbour,
  );
  node.apply({ do: 'delete_neighbour', neighbour });
  t.equal(
    node.neighbours(lower).find((n) => n.address === 'fe80::1' && n.state === 0x80),
    undefined,
  );
});

t.test('the fake host answers as the kernel does', root, async (t) => {
  const lab = withLab(t);
  const fake = new FakeHostNetwork();
  const paths = [lab.namespace('a'), lab.namespace('b')] as const;
  for (const path of paths) {
    fake.addNamespace(path);
    fake.open(path).apply({ do: 'set_link', link: 1, up: true });
  }
  const real = lab.open('a');
  const real_b = lab.open('b');
  const model = fake.open(paths[0]);
  const model_b = fake.open(paths[1]);
  const peer = { name: 'p0', netns: paths[1], mac: '02:00:00:00:00:02' };
  const route = (prefix: string, gateway?: string, more: object = {}) => {
    const family = prefix.includes(':') ? (6 as const) : (4 as const);
    return { family, prefix, next_hops: [{ oif: 2, ...(gateway ? { gateway } : {}) }], ...more };
  };
  const address = (prefix: string, more: object = {}) => {
    const family = prefix.includes(':') ? (6 as const) : (4 as const);
    return { link: 2, family, prefix, ...(family === 6 ? { flags: 2 } : {}), ...more };
  };
  const script: [NetworkNamespace, NetworkNamespace, NetworkChange][] = (
    [
      { do: 'add_link', link: { kind: 'veth', name: 'v0', mac: '02:00:00:00:00:01', peer } },
      { do: 'add_link', link: { kind: 'bridge', name: 'v0' } },
      { do: 'add_address', address: address('10.0.0.1/24') },
      { do: 'add_route', route: route('10.5.0.0/16', '10.0.0.2') },
      { do: 'set_link', link: 2, up: true },
      ['b', { do: 'set_link', link: 2, up: true }],
      { do: 'add_address', address: address('10.0.0.1/24') },
      { do: 'add_address', address: address('10.0.0.5/24') },
      { do: 'add_address', address: address('10.7.0.1/32') },
      { do: 'add_address', address: address('fd00::1/64') },
      { do: 'add_address', address: address('fd00::1/64') },
      { do: 'add_address', address: address('10.8.0.1/24', { link: 99 }) },
      { do: 'add_route', route: route('10.5.0.0/16', '10.0.0.2') },
      { do: 'add_route', route: route('10.5.0.0/16', '10.0.0.3') },
      { do: 'add_route', route: route('10.5.0.0/16', '10.0.0.3', { metric: 7 }) },
      { do: 'append_route', route: route('10.5.0.0/16', '10.0.0.3') },
      { do: 'append_route', route: route('10.5.0.0/16', '10.0.0.3') },
      { do: 'replace_route', route: route('10.5.0.0/16', '10.0.0.4', { metric: 7 }) },
      { do: 'add_route', route: route('10.5.1.1/16', '10.0.0.3') },
      { do: 'add_route', route: route('10.6.0.0/16', '10.99.0.1') },
      { do: 'add_route', route: route('10.6.0.0/16', '10.0.0.2', { prefsrc: '1.2.3.4' }) },
      { do: 'add_route', route: route('10.6.0.0/16', '10.0.0.2', { prefsrc: '10.0.0.5' }) },
      { do: 'add_route', route: route('::/0', 'fd00::2') },
      { do: 'add_route', route: route('::/0', 'fd00::3') },
      { do: 'add_route', route: route('fd05::/48', 'fe80::9') },
      { do: 'add_route', route: route('fd06::/48', 'fd99::9') },
      { do: 'delete_route', route: route('10.250.0.0/16') },
      { do: 'delete_address', address: address('10.99.0.1/24') },
      { do: 'delete_address', address: address('10.7.0.1/32') },
      { do: 'delete_link', link: 99 },
      ['b', { do: 'add_link', link: { kind: 'bridge', name: 'v0' } }],
      { do: 'move_link', link: 2, netns: paths[1] },
      { do: 'set_link', link: 2, up: false },
      { do: 'set_link', link: 2, up: true },
      { do: 'move_link', link: 2, netns: paths[1], name: 'moved' },
      ['b', { do: 'move_link', link: 4, netns: paths[0], name: 'v0' }],
      { do: 'set_link', link: 2, up: true },
      ['b', { do: 'delete_link', link: 2 }],
    ] as (NetworkChange | ['b', NetworkChange])[]
  ).map((entry) => (Array.isArray(entry) ? [real_b, model_b, entry[1]] : [real, model, entry]));
  for (const [on_kernel, on_fake, change] of script) {
    const [kernel] = on_kernel.batch([change]);
    const [modelled] = on_fake.batch([change]);
    const label = JSON.stringify(change);
    t.equal(modelled?.code, kernel?.code, label);
    t.strictSame(outline(model), outline(real), `a after ${label}`);
    t.strictSame(outline(model_b), outline(real_b), `b after ${label}`);
  }
});

/** What the fake promises to have as the kernel has it. */
function outline(namespace: NetworkNamespace): object {
  const names = new Map(namespace.links().map(({ index, name }) => [index, name]));
  return {
    links: namespace.links().map(({ index, name, kind, up, mtu }) => ({ index, name, kind, up, mtu })),
    addresses: namespace
      .addresses()
      .map((a) => `${a.prefix} ${names.get(a.link)} ${a.scope} ${a.flags & 1}`)
      .sort(),
    routes: namespace
      .routes({ table: 254 })
      .map(
        (r) =>
          `${r.prefix} ${r.metric} ${r.protocol} ${r.scope} ${r.prefsrc} ${r.next_hops.map((h) => `${h.gateway}@${names.get(h.oif!)}`).sort()}`,
      )
      .sort(),
  };
}
