import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { cpioArchive } from '../../lab/vm/cpio.js';
import { gatewayFiles } from '../../lab/vm/gateway.js';
import { ownPackages, programArchive } from '../../lab/vm/payload.js';
import { cases } from '../vm/cases.js';
import { differences, readLook } from '../vm/look.js';

const uplink = {
  ifname: 'eth0',
  address: '02:00:00:00:00:01',
  mtu: 1500,
  flags: ['UP'],
  addr_info: [
    { local: '10.0.0.2', prefixlen: 24, scope: 'global', valid_life_time: 30, preferred_life_time: 30 },
  ],
};
const address = [uplink];
const routes = [
  { dst: 'default', gateway: '10.0.0.1', dev: 'eth0', expires: 17 },
  { dst: '10.96.0.0/12', dev: 'eth0', protocol: '77' },
];

function shown(changes: Record<string, unknown> = {}): string {
  const parts = {
    addr: address,
    route4: routes,
    dns: 'Link 2 (eth0): 10.0.0.1\nLink 3 (eth1):\n',
    ...changes,
  };
  return Object.entries(parts)
    .map(([name, part]) => `=== ${name}\n${typeof part === 'string' ? part : JSON.stringify(part)}\n`)
    .join('');
}

t.test('a look has what the host has set, and not what differs by itself', async (t) => {
  const before = readLook(shown());
  t.same(before.addresses, ['eth0 local 10.0.0.2 prefixlen 24 scope global']);
  t.same(before.lifetimes, ['eth0 10.0.0.2 leased']);
  t.same(before.routes, ['dev eth0 dst default gateway 10.0.0.1'], 'routes of the node are not the host’s');
  t.same(before.resolver, ['dns Link (eth0): 10.0.0.1']);

  const later = { ...routes[0], expires: 3 };
  t.same(differences(before, readLook(shown({ route4: [later] }))), []);
  t.same(differences(before, readLook(shown({ route4: [later, later] }))), [
    'routes: + dev eth0 dst default gateway 10.0.0.1',
  ]);
  const kept = { ...uplink.addr_info[0], valid_life_time: 2 ** 32 - 1 };
  const now = readLook(shown({ addr: [{ ...uplink, addr_info: [kept] }] }));
  t.same(differences(before, now), [
    'lifetimes: - eth0 10.0.0.2 leased',
    'lifetimes: + eth0 10.0.0.2 for ever',
  ]);
  t.same(differences(before, now, ['addresses']), []);
  t.throws(() => readLook('=== addr\nError\n'));
});

t.test(
  'an archive has a header of 110 bytes, the name and the content, each to a multiple of four',
  async (t) => {
    const archive = cpioArchive([{ path: 'init', mode: 0o100755, content: 'hello' }]);
    t.equal(archive.subarray(0, 22).toString(), '0707010000000100008' + '1ed');
    t.equal(archive.subarray(110, 115).toString(), 'init\0');
    t.equal(archive.subarray(116, 124).toString(), 'hello\0\0\0');
    t.equal(archive.subarray(124 + 110, 124 + 120).toString(), 'TRAILER!!!');
    t.equal(archive.length % 4, 0);
  },
);

t.test('the machine gets every package that the program needs', async (t) => {
  const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
  const own = readdirSync('packages').filter((name) => name in dependencies);
  t.ok(own.length > 0);
  t.same(ownPackages().sort(), own.map((name) => `packages/${name}`).sort());
  const listed = spawnSync('tar', ['-tz'], { input: programArchive(), encoding: 'utf8' }).stdout.split('\n');
  for (const name of own) t.ok(listed.includes(`packages/${name}/dist/src/index.js`), name);
});

t.test('cases have names of their own, and other ends for their uplinks', async (t) => {
  t.equal(new Set(cases.map(({ name }) => name)).size, cases.length);
  for (const { name, networks } of cases) {
    const [script = ''] = Object.values(gatewayFiles(networks));
    for (const { devices, address4 } of networks)
      for (const text of [...devices, address4]) t.ok(script.includes(text), `${name}: ${text}`);
    t.notMatch(script, /undefined|NaN|\[object/, name);
  }
});
