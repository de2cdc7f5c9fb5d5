import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { readlink } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { FakeHostNetwork } from '../lab/fake-host-network.js';
import { canUseNetns, NetnsLab } from '../lab/netns.js';
import { pool_threads } from '../src/host/netlink/link-removal.js';
import { LinuxHost } from '../src/host/netlink/linux-host.js';
import { enterNewNamespace } from '../src/host/netns.js';
import { type HeldProcess, watchExit } from '../src/host/process-exit.js';
import { comeBackThemselves, vppNetns } from '../src/host/vpp-netns.js';
import {
  isSameNamespace,
  type NetworkChange,
  type NetworkEvent,
  OWN_NAMESPACE_PATH,
} from '../src/linux/network.js';
import { needs } from './kit/needs.js';

/** With a real kernel, inside namespaces that are made and removed here. */

const reason = canUseNetns();
/** Whatever is at the path. */
function removeTun(lab: NetnsLab, path: string, name: string): Promise<void> {
  const id = lab.host.identify(path);
  const namespace = id === undefined ? undefined : lab.host.open(path, id);
  const { index = 99 } = namespace?.link(name) ?? {};
  namespace?.close();
  return lab.host.removeTun(path, index, id ?? '0:0');
}

const root = needs(reason);

function withLab(test: Test): NetnsLab {
  const lab = new NetnsLab();
  test.teardown(() => lab.close());
  return lab;
}

t.test('each change of a batch fails or succeeds by itself', root(), async (t) => {
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

t.test('work in another namespace leaves no thread behind there', root(), async (t) => {
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

t.test('devices of many namespaces are removed beside the main loop', root(), async (t) => {
  const lab = withLab(t);
  const names = Array.from({ length: 12 }, (_, n) => `pod${n}`);
  for (const name of names)
    lab.run(name, 'ip', 'tuntap', 'add', 'dev', 'eth0', 'mode', Number(name.slice(3)) % 2 ? 'tap' : 'tun');
  const opened = names.map((name) => lab.open(name));
  const home = readlinkSync(OWN_NAMESPACE_PATH);

  let worked = 0;
  const beat = setInterval(() => {
    worked += 1;
  }, 1);
  const removed = names.map((name) => removeTun(lab, lab.namespace(name), 'eth0'));
  t.ok(opened.at(-1)!.link('eth0'), 'nothing has been waited for');
  await Promise.all(removed);
  clearInterval(beat);
  t.ok(worked > 0, 'the main loop went on');
  t.strictSame(
    opened.map((namespace) => namespace.link('eth0')),
    names.map(() => undefined),
  );
  const pool = await Promise.all(Array.from({ length: 16 }, () => readlink(OWN_NAMESPACE_PATH)));
  t.strictSame(new Set(pool), new Set([home]), 'no thread of the pool is elsewhere');
});

t.test('a namespace is not one that had its number before', root(), async (t) => {
  const lab = withLab(t);
  const number = (id: string): string => id.split(':').slice(0, 2).join(':');
  const cookie = (id: string): string => id.split(':')[2]!;
  const path = lab.host.createNamed('again');
  const first = lab.host.identify(path)!;
  lab.host.removeNamed('again');
  const later = lab.host.identify(lab.host.createNamed('again'))!;
  t.teardown(() => lab.host.removeNamed('again'));
  t.not(cookie(later), cookie(first), 'each has a cookie of its own');
  // When the kernel gives a number again nobody can say.
  const id = `${number(later)}:${cookie(first)}`;
  t.throws(() => lab.host.open(path, id), /another network namespace stands at/);
  lab.host.open(path, later).close();
  lab.host.open(path, number(id)).close();
  t.notOk(isSameNamespace(later, id));
  t.ok(isSameNamespace(later, number(id)), 'as an earlier release wrote it');
});

t.test('a namespace is known by what it is, not by its path', root(), async (t) => {
  const lab = withLab(t);
  const path = lab.namespace('pod');
  const id = lab.host.identify(path)!;
  t.equal(lab.host.identify(OWN_NAMESPACE_PATH), lab.host.identify('/proc/self/ns/net'));
  t.not(id, lab.host.identify(OWN_NAMESPACE_PATH));
  t.equal(lab.host.identify(join(lab.directory, 'none')), undefined);
  const file = join(lab.directory, 'a-file');
  writeFileSync(file, '');
  t.equal(lab.host.identify(file), undefined);
  lab.host.open(path, id).close();
  const other = lab.namespace('other');
  t.throws(() => lab.host.open(other, id), { message: `another network namespace stands at ${other} now` });
  t.throws(() => lab.host.open(OWN_NAMESPACE_PATH, id), /another network namespace/);
  lab.run('other', 'ip', 'tuntap', 'add', 'dev', 'eth0', 'mode', 'tun');
  await lab.host.removeTun(other, lab.open('other').link('eth0')!.index, id);
  t.ok(lab.open('other').link('eth0'), 'that of another pod stays');
});

t.test('a removal whose turn comes late does not take the next device of that name', root(), async (t) => {
  const lab = withLab(t);
  const make = () => lab.run('pod', 'ip', 'tuntap', 'add', 'dev', 'eth0', 'mode', 'tun');
  make();
  const path = lab.namespace('pod');
  const { index } = lab.open('pod').link('eth0')!;
  await removeTun(lab, path, 'eth0');
  make();
  await lab.host.removeTun(path, index, lab.host.identify(path)!);
  t.ok(lab.open('pod').link('eth0'));
});

t.test('what is no tun or tap is not removed', root(), async (t) => {
  const lab = withLab(t);
  lab.veth({ namespace: 'pod', name: 'eth0' }, { namespace: 'peer', name: 'd1' });
  await removeTun(lab, lab.namespace('pod'), 'eth0');
  t.match(lab.open('pod').link('eth0'), { kind: 'veth' });
  await removeTun(lab, lab.namespace('pod'), 'none');
  await removeTun(lab, join(lab.directory, 'no-namespace'), 'eth0');
  const file = join(lab.directory, 'a-file');
  writeFileSync(file, '');
  await removeTun(lab, file, 'eth0');
});

t.test('removals leave no descriptor open', root(), async (t) => {
  const lab = withLab(t);
  const path = lab.namespace('pod');
  const open = (): number => readdirSync('/proc/self/fd').length;
  const before = open();
  for (let n = 0; n < 20; n += 1) {
    lab.run('pod', 'ip', 'tuntap', 'add', 'dev', 'eth0', 'mode', 'tun');
    await removeTun(lab, path, 'eth0');
  }
  // Two sockets and the namespace, of each that the kernel has not answered yet.
  t.ok(open() <= before + 3 * pool_threads + 1, `${open()} descriptors, ${before} before`);
});

t.test('a process that cannot come back to its own namespace ends at once', root(), async (t) => {
  const lab = withLab(t);
  const module = new URL('../src/host/netns.js', import.meta.url).href;
  // The descriptor of the own namespace is the one that points to it.
  const script = `
    import { closeSync, readdirSync, readlinkSync } from 'node:fs';
    import { inNamespace } from '${module}';
    const own = readlinkSync('/proc/thread-self/ns/net');
    const isOwn = (fd) => { try { return readlinkSync('/proc/self/fd/' + fd) === own; } catch { return false; } };
    inNamespace('${lab.namespace('other')}', () => readdirSync('/proc/self/fd').filter(isOwn).map(Number).forEach(closeSync));
    console.log('went on');`;
  const argv = ['-c', 'ulimit -c 0; exec "$0" --input-type=module -e "$1"', process.execPath, script];
  const child = spawn('sh', argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data) => {
      output += data;
    });
  const signal = await new Promise((resolve) => child.once('close', (_, by) => resolve(by)));
  t.equal(signal, 'SIGABRT');
  t.match(output, /cannot return to the own network namespace/);
  t.notMatch(output, /went on/);
});

t.test('a named namespace lives without processes, and dies with its virtual links', root(), async (t) => {
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

t.test('the namespace of VPP is held by who can let go of it', root(), async (t) => {
  const lab = withLab(t);
  const places = { machine: lab.directory, container: join(t.testdir(), 'run', 'netns') };
  t.teardown(() => new LinuxHost(places.container, { shared: false }).removeNamed('vpp'));
  const choose = (goes_along: boolean) => vppNetns('vpp', places, () => goes_along);
  const of_machine = choose(false);
  t.equal(of_machine.path, join(places.machine, 'vpp'));
  t.equal(lab.host.exists(of_machine.path), false, 'chosen, and not made yet');
  of_machine.create();
  t.equal(choose(true).path, of_machine.path, 'what an earlier life has made is kept');
  of_machine.remove();
  const of_container = choose(true);
  t.equal(of_container.path, join(places.container, 'vpp'));
  of_container.create();
  t.equal(choose(false).path, of_container.path);
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const mount = mounts.find((line) => line.includes(`${of_container.path} `));
  t.ok(mount);
  t.notMatch(mount, / shared:/, 'nobody else gets it');
  of_container.remove();
  t.equal(lab.host.exists(of_container.path), false);
});

t.test('a namespace that goes along is gone with the container, and what is in it', root(), async (t) => {
  const lab = withLab(t);
  const directory = join(t.testdir(), 'netns');
  const modules = new URL('../src/', import.meta.url).href;
  // A file system view of its own is what a container has.
  const script = `
    const { LinuxHost } = await import('${modules}host/netlink/linux-host.js');
    const host = new LinuxHost(${JSON.stringify(directory)}, { shared: false });
    const path = host.createNamed('vpp');
    const node = host.open(${JSON.stringify(lab.namespace('node'))});
    node.apply({ do: 'add_link', link: { name: 'v0', kind: 'veth', peer: { name: 'v1', netns: path } } });
    console.log('made');
    setInterval(() => undefined, 1000);`;
  const argv = [
    '--mount',
    '--propagation',
    'unchanged',
    process.execPath,
    '--input-type=module',
    '-e',
    script,
  ];
  const child = spawn('unshare', argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => child.stdout!.once('data', resolve));
  const node = lab.open('node');
  t.ok(node.link('v0'));
  t.equal(lab.host.exists(join(directory, 'vpp')), false, 'from elsewhere it is not seen');
  const gone = new Promise<void>((resolve) => {
    const watch = node.watch(['link'], (event) => {
      if (event.event !== 'link_removed') return;
      watch.close();
      resolve();
    });
  });
  child.kill('SIGKILL');
  await gone;
  t.equal(node.link('v0'), undefined);
});

t.test('which devices the kernel gives back by itself', async (t) => {
  const host = new FakeHostNetwork();
  host.addPhysical({ name: 'eth0', mac: '02:00:00:00:00:01' });
  host.addVirtual({ name: 'eth1', mac: '02:00:00:00:00:02', kind: 'vlan' });
  const back = (...names: string[]) => comeBackThemselves(host.open(), names);
  t.ok(back('eth0'));
  t.notOk(back('eth0', 'eth1'));
  t.notOk(back('eth0', 'eth9'), 'one that is not there yet may be anything');
  t.notOk(back());
});

t.test('events of links, addresses and routes arrive while nobody asks', root(), async (t) => {
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

t.test('the exit of a process is seen, child or not', root(), async (t) => {
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

t.test('sysctls and channels are those of the namespace', root(), async (t) => {
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

t.test('what a device does by itself is turned on and off, as far as it can', root(), async (t) => {
  const lab = withLab(t);
  lab.veth({ namespace: 'node', name: 'd0' }, { namespace: 'peer', name: 'd1' });
  const node = lab.open('node');
  node.setFeatures('d0', ['rx-gro', 'rx-lro', 'no such feature'], true);
  t.ok(node.featuresOn('d0').includes('rx-gro'));
  t.notOk(node.featuresOn('d0').includes('rx-lro'), 'a veth cannot');
  node.setFeatures('d0', ['rx-gro'], false);
  t.notOk(node.featuresOn('d0').includes('rx-gro'));
  t.ok(node.featuresOn('d0').includes('tx-scatter-gather'), 'the others are as they were');
  t.throws(() => node.featuresOn('d9'), { code: 'ENODEV' });
});

t.test('links of all kinds are made, and rules and neighbours come and go', root(), async (t) => {
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

t.test(
  'a neighbour of long ago is asked at once, and is known as it was, a router too',
  root(),
  async (t) => {
    const lab = withLab(t);
    lab.veth({ namespace: 'node', name: 'd0' }, { namespace: 'peer', name: 'd1' });
    for (const [namespace, name, end] of [
      ['node', 'd0', '1'],
      ['peer', 'd1', '2'],
    ] as const) {
      lab.run(namespace, 'ip', 'address', 'add', `10.0.0.${end}/24`, 'dev', name);
      lab.run(namespace, 'ip', '-6', 'address', 'add', `fd00::${end}/64`, 'dev', name, 'nodad');
      lab.run(namespace, 'ip', 'link', 'set', name, 'up');
    }
    const node = lab.open('node');
    const link = node.link('d0')!.index;
    const mac = lab.open('peer').link('d1')!.mac!;
    const there = (address: string) => ({ link, family: address.includes(':') ? 6 : 4, address }) as const;
    const state = (address: string) => node.neighbours(link).find((each) => each.address === address);
    lab.run('peer', 'sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1');
    // The second of each family is nobody.
    for (const address of ['10.0.0.2', 'fd00::2', '10.0.0.3', 'fd00::3'])
      node.apply({
        do: 'set_neighbour',
        neighbour: { ...there(address), mac, state: 4, flags: address.includes(':') ? 0x80 : 0 },
      });
    for (const address of ['10.0.0.2', 'fd00::2', '10.0.0.3', 'fd00::3'])
      node.apply({ do: 'probe_neighbour', neighbour: there(address) });
    const deadline = Date.now() + 3000;
    while (
      Date.now() < deadline &&
      [4, 16].some((old) => ['10.0.0.2', 'fd00::2'].some((a) => state(a)?.state === old))
    )
      await new Promise((resolve) => setTimeout(resolve, 10));
    t.match(state('10.0.0.2'), { state: 2, mac });
    t.match(state('fd00::2'), { state: 2, mac, flags: 0x80 });
    for (const address of ['10.0.0.3', 'fd00::3'])
      t.match(state(address), { state: 16, mac, flags: address.includes(':') ? 0x80 : 0 }, 'nothing is lost');
    t.throws(() => node.apply({ do: 'probe_neighbour', neighbour: there('10.0.0.4') }), { code: 'ENOENT' });
  },
);
