import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { hostInside } from '../../../lab/host-inside.js';
import { canUseNetns, NetnsLab, untilRouted } from '../../../lab/netns.js';
import { missing } from '../../../lab/programs.js';
import { systemClock } from '../../../src/clock.js';
import { runCommand } from '../../../src/host/command.js';
import { captureLink, restoreSteps } from '../../../src/host/undo/capture.js';
import { undo } from '../../../src/host/undo/undo.js';
import { identityOf, type UndoStep } from '../../../src/host/undo/undo-step.js';
import type { NetworkNamespace } from '../../../src/linux/network.js';
import { needs } from '../../kit/needs.js';

/** Reading, taking away and giving back a link with a real kernel. `ip -j` is the second opinion. */

const reason = canUseNetns();
const root = needs(reason);

function withLab(test: Test): NetnsLab {
  const lab = new NetnsLab();
  test.teardown(() => lab.close());
  return lab;
}

type Json = Record<string, unknown>;

function ipJson(lab: NetnsLab, name: string, ...argv: string[]): Json[] {
  return JSON.parse(lab.run(name, 'ip', '-j', ...argv));
}

/** Addresses and routes of all tables as `ip` tells them, without what may differ after a restore: indices. */
function told(lab: NetnsLab, name: string): object {
  const namespace = lab.open(name);
  for (const { index, up } of namespace.links()) if (up) untilRouted(namespace, index);
  const addresses = ipJson(lab, name, 'addr').map(({ ifname, mtu, address, addr_info }) => ({
    ifname,
    mtu,
    address,
    addr_info: (addr_info as Json[])
      .map(inMinutes)
      .sort((a, b) => String(a.local).localeCompare(String(b.local))),
  }));
  const routes = ['-4', '-6'].flatMap((family) => ipJson(lab, name, family, 'route', 'show', 'table', 'all'));
  const neighbours = ipJson(lab, name, 'neigh', 'show', 'nud', 'permanent');
  return { addresses, routes: routes.map((route) => JSON.stringify(route)).sort(), neighbours };
}

/** Lifetimes run while a test does. */
function inMinutes({ valid_life_time, preferred_life_time, ...rest }: Json): Json {
  const [valid, preferred] = [valid_life_time, preferred_life_time].map((s) => Math.ceil(Number(s) / 60));
  return { ...rest, valid, preferred };
}

/** The node of the tests: a veth uplink `up0` with everything on it that an administrator can think of. */
async function furnish(lab: NetnsLab): Promise<NetworkNamespace> {
  const node = lab.open('node');
  // Else the kernel adds a link-local address whenever it gets to it.
  node.writeSysctl('net/ipv6/conf/default/addr_gen_mode', '1');
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
    'route add 172.31.5.0/24 via 10.40.0.1',
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
  await settled(node);
  return node;
}

/** Resolves when the kernel has seen the carrier of all links that are up: then it adds the multicast route of IPv6. */
async function settled(namespace: NetworkNamespace): Promise<void> {
  const isSettled = () => {
    const multicast = namespace.routes({ table: 255 }).filter(({ prefix }) => prefix === 'ff00::/8');
    const ready = new Set(multicast.flatMap(({ next_hops }) => next_hops.map(({ oif }) => oif)));
    return namespace.links().every(({ index, kind, up }) => !up || kind !== 'veth' || ready.has(index));
  };
  await new Promise<void>((resolve) => {
    const check = () => {
      if (!isSettled()) return;
      watch.close();
      resolve();
    };
    const watch = namespace.watch(['route', 'link'], check);
    check();
  });
}

t.test('what rtnetlink dumps is what ip shows', root(), async (t) => {
  const lab = withLab(t);
  const node = await furnish(lab);
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

/** Undo in the namespace `node`, waiting for nothing. */
async function undoIn(lab: NetnsLab, steps: readonly UndoStep[]) {
  return undo(steps, { host: hostInside(lab, 'node'), clock: systemClock, run: runCommand }, 0);
}

t.test(
  'a link that was moved away comes back with all it had, and a second undo finds nothing to do',
  root(),
  async (t) => {
    const lab = withLab(t);
    const node = await furnish(lab);
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
    await settled(node);
    t.strictSame(told(lab, 'node'), before, 'as ip shows it');
    const again = await undoIn(lab, parsed);
    t.ok(
      again.results.every((r) => r.outcome === 'already'),
      'nothing left to do',
    );
    t.strictSame(told(lab, 'node'), before);
  },
);

t.test('a link that was down is given back down, with its addresses', root(), async (t) => {
  const lab = withLab(t);
  const node = await furnish(lab);
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
  root(),
  async (t) => {
    const lab = withLab(t);
    const node = await furnish(lab);
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

/** The steps of an uplink that was moved to `away`, and the uplink there. */
function moved(lab: NetnsLab, node: NetworkNamespace, name: string): UndoStep[] {
  const away = lab.namespace('away');
  const state = captureLink(node, name)!;
  const link = identityOf(state.link);
  node.apply({ do: 'move_link', link: state.link.index, netns: away });
  return [
    ...restoreSteps(state),
    { kind: 'link_to_netns', link, from: away },
    { kind: 'delete_link', name, link_kind: 'tun', while: { link, in: away } },
  ];
}

const flagsOf = (node: NetworkNamespace, link: string) =>
  new Map(node.addresses(node.link(link)!.index).map(({ prefix, flags }) => [prefix, flags]));
const nodad = 0x02;
const tentative = 0x40;

t.test('IPv6 addresses are of use as soon as a link is back, and are what they were', root(), async (t) => {
  const lab = withLab(t);
  const node = lab.open('node');
  lab.veth(
    { namespace: 'node', name: 'up0', addresses: ['10.0.0.2/24', 'fd00::2/64', 'fd00::3/64'] },
    { namespace: 'peer', name: 'p0', addresses: ['10.0.0.1/24', 'fd00::1/64'] },
  );
  t.equal(node.readSysctl('net/ipv6/conf/up0/accept_dad'), '1', 'the kernel verifies addresses');
  lab.run('node', 'ip', '-6', 'route', 'add', 'fd11::/48', 'via', 'fd00::1', 'src', 'fd00::3');
  const before = told(lab, 'node');
  const steps = moved(lab, node, 'up0');
  const { remaining } = await undoIn(lab, steps);
  const flags = flagsOf(node, 'up0');
  t.strictSame(remaining, []);
  t.equal(flags.size, 4, 'with the link-local one');
  for (const [prefix, bits] of flags) t.equal(bits & (tentative | nodad), 0, prefix);
  t.strictSame(told(lab, 'node'), before);
  t.equal(node.readSysctl('net/ipv6/conf/up0/accept_dad'), '1');

  // As a process leaves it that is killed before the addresses are of use.
  lab.run('node', 'ip', 'addr', 'change', 'fd00::3/64', 'dev', 'up0', 'nodad');
  t.equal(flagsOf(node, 'up0').get('fd00::3/64')! & nodad, nodad);
  t.strictSame((await undoIn(lab, steps)).remaining, []);
  t.strictSame(told(lab, 'node'), before);
});

t.test('an undo deletes the connected routes that the host had deleted, and no others', root(), async (t) => {
  const lab = withLab(t);
  const node = lab.open('node');
  lab.veth(
    { namespace: 'node', name: 'up0', addresses: ['10.0.0.2/24', 'fd00::2/64'] },
    { namespace: 'peer', name: 'p0', addresses: ['10.0.0.1/24', 'fd00::1/64'] },
  );
  for (const prefix of ['10.0.0.0/24', 'fd00::/64'])
    lab.run('node', 'ip', 'route', 'del', prefix, 'dev', 'up0', 'proto', 'kernel');
  const before = told(lab, 'node');
  const steps = moved(lab, node, 'up0');
  t.strictSame((await undoIn(lab, steps)).remaining, []);
  t.strictSame(told(lab, 'node'), before);
  // A service of the host has got the device back, and new addresses, before an undo is taken up again.
  for (const address of ['10.9.0.7/24', 'fd09::7/64'])
    lab.run('node', 'ip', 'addr', 'add', address, 'dev', 'up0', 'nodad');
  const after = told(lab, 'node');
  t.strictSame((await undoIn(lab, steps)).remaining, []);
  t.strictSame(told(lab, 'node'), after);
});

t.test('an address that was not in use is verified by the kernel', root(), async (t) => {
  const lab = withLab(t);
  const node = lab.open('node');
  lab.veth(
    { namespace: 'node', name: 'up0', addresses: ['fd00::2/64'] },
    { namespace: 'peer', name: 'p0', addresses: ['fd00::1/64'] },
  );
  lab.run('node', 'ip', 'addr', 'add', 'fd00::9/64', 'dev', 'up0');
  t.ok(flagsOf(node, 'up0').get('fd00::9/64')! & tentative);
  t.strictSame((await undoIn(lab, moved(lab, node, 'up0'))).remaining, []);
  t.ok(flagsOf(node, 'up0').get('fd00::9/64')! & tentative, 'it still is');
  t.notOk(flagsOf(node, 'up0').get('fd00::2/64')! & tentative);
});

t.test('of two links with one kind and MAC the one that was moved comes back', root(), async (t) => {
  const lab = withLab(t);
  const node = lab.open('node');
  // As VLANs of one device, or a VF and its netvsc, have it.
  const mac = '02:00:00:00:00:01';
  for (const id of [100, 200]) {
    const addresses = [`10.${id}.0.2/24`];
    lab.veth(
      { namespace: 'node', name: `up0.${id}`, mac, addresses },
      { namespace: 'peer', name: `p0.${id}` },
    );
  }
  const before = told(lab, 'node');
  const steps = moved(lab, node, 'up0.100');
  t.strictSame((await undoIn(lab, steps)).remaining, []);
  t.strictSame(told(lab, 'node'), before);

  // With its namespace it may be gone: then nobody else is it.
  const again = moved(lab, node, 'up0.100');
  lab.run('away', 'ip', 'link', 'del', 'up0.100');
  const left = told(lab, 'node');
  const { results } = await undoIn(lab, again);
  t.match(
    results.find(({ step }) => step.kind === 'link_to_netns'),
    { outcome: 'failed', reason: /veth link up0.100 is not there/ },
  );
  t.strictSame(told(lab, 'node'), left, 'the other one is left alone');
});

t.test('a tap as uplink comes back in place of the tap that stood in for it', root(), async (t) => {
  const lab = withLab(t);
  const node = lab.open('node');
  const makeTap = (...mac: string[]) => {
    lab.run('node', 'ip', 'tuntap', 'add', 'up0', 'mode', 'tap');
    lab.run('node', 'ip', 'link', 'set', 'up0', 'addrgenmode', 'none', 'up', ...mac);
  };
  makeTap();
  lab.run('node', 'ip', 'addr', 'add', '10.0.0.2/24', 'dev', 'up0');
  const before = node.link('up0')!;
  const steps = moved(lab, node, 'up0');
  makeTap('address', before.mac!);
  t.not(node.link('up0')?.index, before.index);
  t.strictSame((await undoIn(lab, steps)).remaining, []);
  t.match(node.link('up0'), { index: before.index, kind: 'tun', up: true });
  const again = await undoIn(lab, steps);
  t.ok(
    again.results.every(({ outcome }) => outcome === 'already'),
    'a second time it is not taken for the other one',
  );
  t.equal(node.link('up0')?.index, before.index);
});

t.test('a link of which an alternative name was taken comes back without', root(), async (t) => {
  const lab = withLab(t);
  const node = lab.open('node');
  lab.veth(
    { namespace: 'node', name: 'up0', addresses: ['10.0.0.2/24'] },
    { namespace: 'peer', name: 'p0', addresses: ['10.0.0.1/24'] },
  );
  for (const altname of ['lan0', 'lan1'])
    lab.run('node', 'ip', 'link', 'property', 'add', 'dev', 'up0', 'altname', altname);
  const before = told(lab, 'node');
  const { altnames } = node.link('up0')!;
  const steps = moved(lab, node, 'up0').map(
    (step): UndoStep => (step.kind === 'link_to_netns' ? { ...step, altnames } : step),
  );
  lab.veth({ namespace: 'node', name: 'other' }, { namespace: 'peer', name: 'p1' });
  lab.run('node', 'ip', 'link', 'property', 'add', 'dev', 'other', 'altname', 'lan1');
  const { results, remaining } = await undoIn(lab, steps);
  t.match(
    results.filter(({ outcome }) => outcome === 'failed'),
    [{ step: { kind: 'link_to_netns' }, reason: /alternative name: it is without until lan1 is free/ }],
  );
  t.match(node.link('up0'), { up: true, altnames: ['lan0'] });
  t.ok(flagsOf(node, 'up0').has('10.0.0.2/24'), 'it has its addresses');

  lab.run('node', 'ip', 'link', 'del', 'other');
  t.strictSame((await undoIn(lab, remaining)).remaining, []);
  t.ok((await undoIn(lab, steps)).results.every(({ outcome }) => outcome === 'already'));
  t.strictSame(told(lab, 'node'), before);
});

t.test('a link whose name was taken comes back under another one', root(), async (t) => {
  const lab = withLab(t);
  const node = lab.open('node');
  lab.veth(
    { namespace: 'node', name: 'up0', addresses: ['10.0.0.2/24', 'fd00::2/64'] },
    { namespace: 'peer', name: 'p0', addresses: ['10.0.0.1/24', 'fd00::1/64'] },
  );
  lab.run('node', 'ip', 'route', 'add', 'default', 'via', '10.0.0.1');
  const before = told(lab, 'node');
  const link = identityOf(node.link('up0')!);
  const hops: UndoStep = { kind: 'link_sysctl', link, path: 'net/ipv6/conf/*/hop_limit', value: '77' };
  const steps = [...moved(lab, node, 'up0'), hops];
  lab.veth({ namespace: 'node', name: 'up0' }, { namespace: 'peer', name: 'p1' });
  const { results, remaining } = await undoIn(lab, steps);
  t.match(
    results.filter(({ outcome }) => outcome === 'failed'),
    [{ step: { kind: 'link_to_netns' }, reason: /another device has its name: it is called dev\d+/ }],
  );
  const other = `dev${link.index}`;
  t.match(node.link(other), { up: true, mac: link.mac });
  t.strictSame(
    [...flagsOf(node, other).keys()].filter((prefix) => !prefix.startsWith('fe80')),
    ['10.0.0.2/24', 'fd00::2/64'],
    'it has its addresses',
  );
  t.ok(
    node.routes({ table: 254 }).some(({ prefix }) => prefix === '0.0.0.0/0'),
    'and its routes',
  );
  t.equal(node.readSysctl(`net/ipv6/conf/${other}/hop_limit`), '77');
  t.not(node.readSysctl('net/ipv6/conf/up0/hop_limit'), '77', 'what is of the other device is left alone');

  lab.run('node', 'ip', 'link', 'del', 'up0');
  t.strictSame((await undoIn(lab, remaining)).remaining, [], 'what was left is done when the name is free');
  t.strictSame((await undoIn(lab, steps)).remaining, []);
  t.strictSame(told(lab, 'node'), before);
});

/** A router at `p0` of the namespace `peer`. Answers what ends it without a word. */
function advertise(lab: NetnsLab, valid_s: number): () => Promise<void> {
  const config = join(lab.directory, `radvd-${valid_s}.conf`);
  const prefix = `prefix fd00::/64 { AdvValidLifetime ${valid_s}; AdvPreferredLifetime ${valid_s}; };`;
  writeFileSync(
    config,
    `interface p0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime 900; ${prefix} };\n`,
  );
  const argv = ['radvd', '-n', '-C', config, '-p', `${config}.pid`, '-m', 'none'];
  const child = spawn('nsenter', [`--net=${lab.namespace('peer')}`, '--', ...argv], { stdio: 'ignore' });
  return async () => {
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
}

const no_router = reason ?? missing('radvd');

t.test(
  'a default route of an advertisement is there as soon as the link is, and the kernel goes on to hear the router',
  no_router === undefined ? {} : { skip: no_router },
  async (t) => {
    const lab = withLab(t);
    const node = lab.open('node');
    lab.open('peer').writeSysctl('net/ipv6/conf/all/forwarding', '1');
    lab.veth(
      { namespace: 'node', name: 'up0', addresses: ['10.0.0.2/24'] },
      { namespace: 'peer', name: 'p0', addresses: ['10.0.0.1/24', 'fd00::1/64'] },
    );
    const until = async (holds: () => boolean): Promise<void> =>
      new Promise((resolve) => {
        const look = (): void => {
          if (!holds()) return;
          watch.close();
          resolve();
        };
        const watch = node.watch(['route', 'address'], look);
        look();
      });
    const defaults = () =>
      node
        .routes()
        .filter(({ prefix }) => prefix === '::/0')
        .map(({ expires_s, flags: _, next_hops: [hop], ...rest }) => ({
          ...rest,
          gateway: hop?.gateway,
          expires: expires_s !== undefined,
        }));
    const life_s = () => node.addresses().find(({ prefix }) => prefix.startsWith('fd00:'))?.valid_s ?? 0;
    const silence = advertise(lab, 600);
    await until(() => defaults().length === 1 && life_s() > 0);
    await silence();
    const before = defaults();
    t.match(before, [{ advertised: true, protocol: 9, metric: 1024 }]);

    const steps = moved(lab, node, 'up0');
    t.strictSame((await undoIn(lab, steps)).remaining, []);
    const [given, ...others] = defaults();
    t.match(
      given,
      { advertised: true, gateway: before[0]!.gateway, expires: true },
      'before any router has spoken',
    );
    t.strictSame(others, []);
    t.strictSame((await undoIn(lab, steps)).remaining, [], 'a second time');
    t.equal(defaults().length, 1);
    t.match(
      captureLink(node, 'up0')!.routes.filter(({ prefix }) => prefix === '::/0'),
      [{ advertised: true, protocol: 9, metric: 1024 }],
    );

    const silence_again = advertise(lab, 9000);
    t.teardown(silence_again);
    await until(() => life_s() > 8000 && defaults().length === 1 && defaults()[0]?.metric === 1024);
    t.strictSame(defaults(), before, 'the kernel has put its own in its place, and renews the address');
    t.strictSame((await undoIn(lab, steps)).remaining, []);
    t.strictSame(defaults(), before, 'which is left alone');
  },
);
