import { mkdirSync } from 'node:fs';
import t from 'tap';
import {
  type CheckFacts,
  checkExitCode,
  configFindings,
  type Finding,
  findings,
  gatherCheckFacts,
  renderFindings,
} from '../../src/check/check.js';
import { hasFilters } from '../../src/check/check-facts.js';
import { gatherGoFacts } from '../../src/check/check-migration.js';
import { overlap } from '../../src/check/check-uplink.js';
import { vppFacts } from '../../src/check/startup-facts.js';
import { ConfigError, loadConfig } from '../../src/config.js';
import type { MachineFacts } from '../../src/host/devices/pci-facts.js';
import { HOST_ROOTS } from '../../src/host/devices/sysfs.js';
import { LinuxHost } from '../../src/host/netlink/linux-host.js';
import type { Address, Link, Route } from '../../src/linux/network.js';

import { machineOf } from '../uplink/uplink-lab.js';

const MiB = 2 ** 20;

const link = (name: string, index: number, more: Partial<Link> = {}): Link => ({
  name,
  index,
  mac: `02:00:00:00:00:0${index}`,
  mtu: 1500,
  up: true,
  running: true,
  carrier: true,
  promiscuity: 0,
  promisc: false,
  rx_queues: 1,
  tx_queues: 1,
  flags: 1,
  type: 1,
  altnames: [],
  txqlen: 1000,
  ...more,
});
const address = (on: number, prefix: string, more: Partial<Address> = {}): Address => ({
  link: on,
  family: prefix.includes(':') ? 6 : 4,
  prefix,
  scope: prefix.startsWith('fe80') ? 253 : 0,
  flags: 0x80,
  ...more,
});
const route = (more: Partial<Route> = {}): Route => ({
  family: 4,
  prefix: '0.0.0.0/0',
  table: 254,
  type: 'unicast',
  protocol: 4,
  scope: 0,
  metric: 0,
  next_hops: [{ oif: 2, gateway: '10.0.0.1' }],
  ...more,
});

/** A host on which nothing is wrong. */
const good: CheckFacts = {
  links: [link('lo', 1, { type: 772 }), link('eth0', 2), link('ens5', 3)],
  addresses: [address(2, '10.0.0.2/24'), address(2, 'fe80::1/64')],
  routes: [route()],
  nexthops: [],
  neighbours: [],
  rules: [0, 32766, 32767].map((priority) => ({ family: 4, priority, action: 1, table: 254 })),
  pci: new Map(),
  channels: new Map(),
  filtered: new Set(),
  machine: machineOf(),
  holders: new Map(),
  offloads: new Map(),
  devices: { tun: true, vhost_net: true, vfio: false },
  hugepages: [],
  kernel: { text: '6.1.0', major: 6, minor: 1, patch: 0 },
  memory_available_bytes: 4096 * MiB,
  is_root: true,
  vpp_binary: 'ok',
  gobgpd: 'missing',
  has_nft: true,
  host: { root: '', active: [], has_udev: false, dns_none: false, files_base: '/run', uplinks: [] },
  go: { processes: [] },
};

function check(
  more: Partial<CheckFacts> = {},
  uplinks: object[] = [{}],
  env: NodeJS.ProcessEnv = {},
): Finding[] {
  const uplinkInterfaces = uplinks.map((uplink, i) => ({
    interfaceName: ['eth0', 'ens5'][i],
    vppDriver: 'af_packet',
    ...uplink,
  }));
  const { config } = loadConfig({
    NODENAME: 'n',
    CALICOVPP_INTERFACES: JSON.stringify({ uplinkInterfaces }),
    ...env,
  });
  return findings(config, { ...good, ...more });
}
const told = (found: Finding[]) =>
  found
    .filter(({ severity }) => severity !== 'ok')
    .map(({ severity, subject, what }) => `${severity} ${subject}: ${what}`);

t.test('a good host has nothing to tell', async (t) => {
  const found = check();
  t.same(told(found), []);
  t.match(found, [
    { subject: '/usr/bin/vpp' },
    {},
    {},
    {},
    {},
    { severity: 'ok', subject: 'eth0', what: 'can be taken over' },
  ]);
  t.equal(checkExitCode(found), 0);
  t.match(renderFindings(found), /0 error\(s\), 0 warning\(s\)\. Nothing was changed\.\n$/);
});

t.test('every warning and error says why, and the step to take', async (t) => {
  const found = check(
    { is_root: false, vpp_binary: 'missing', devices: { tun: false, vhost_net: false, vfio: false } },
    [{ interfaceName: 'eht0' }],
  );
  t.equal(checkExitCode(found), 1);
  t.ok(found.every(({ severity, why, step }) => severity === 'ok' || (why && step)));
  t.match(renderFindings(found), /^ERROR .*\n +why: .*\n +step: /);
});

t.test('fast paths into pods: what they cost, and what this VPP would not have', async (t) => {
  const gated = (gates: object, template?: string) =>
    check({}, undefined, {
      CALICOVPP_FEATURE_GATES: JSON.stringify(gates),
      ...(template !== undefined && { CALICOVPP_CONFIG_TEMPLATE: template }),
    }).filter(({ subject }) => subject === 'memifEnabled' || subject === 'vclEnabled');
  t.same(gated({}), [], 'none is asked for');
  t.match(gated({ memifEnabled: true }), [
    { severity: 'warning', what: /can write the memory of VPP/, step: /vppExtraMemifPorts/ },
  ]);
  t.match(gated({ vclEnabled: true }), [{ severity: 'ok', what: /may use VPP's host stack/ }]);
  t.match(gated({ vclEnabled: true }, 'unix { nodaemon }\nsession { use-app-socket-api }\n'), [
    { severity: 'error', what: /without its host stack/, step: /CALICOVPP_CONFIG_TEMPLATE/ },
  ]);
});

t.test('a BGP speaker has to be there where BGP alone tells the routes', async (t) => {
  const env = { CALICOVPP_ROUTE_SOURCE: 'bgp', CALICOVPP_GOBGPD_BINARY: '/opt/gobgpd' };
  const [found] = check({}, undefined, env).filter(({ subject }) => subject === '/opt/gobgpd');
  t.match(found, {
    severity: 'error',
    what: 'is not there',
    step: /install gobgpd .* or set CALICOVPP_ROUTE_SOURCE to ipam/,
  });
  t.match(told(check({ gobgpd: 'not executable' }, undefined, env)), [/error .*: is not executable/]);
  t.same(told(check({ gobgpd: 'ok' }, undefined, env)), []);
  t.same(told(check()), [], 'else routes come from IPAM without one');
});

t.test(
  'without nft the host does not reach services of its own: told where services are served',
  async (t) => {
    const served = { CALICOVPP_KUBERNETES: 'on', KUBECONFIG: '/etc/kubeconfig' };
    const [found] = check({ has_nft: false }, undefined, served).filter(({ subject }) => subject === 'nft');
    t.match(found, { severity: 'warning', step: /install nftables/ });
    const nft = (env: NodeJS.ProcessEnv, has_nft: boolean) =>
      told(check({ has_nft }, undefined, env)).filter((each) => each.includes('nft'));
    t.same(nft({}, false), []);
    t.same(nft(served, true), []);
  },
);

t.test('the machine', async (t) => {
  t.match(told(check({ is_root: false })), [/error process: does not run as root/]);
  t.match(told(check({ vpp_binary: 'not executable' })), [/error \/usr\/bin\/vpp: is not executable/]);
  t.match(told(check({ devices: { ...good.devices, tun: false } })), [/error \/dev\/net\/tun/]);
  const no_vhost = { devices: { ...good.devices, vhost_net: false } };
  t.match(told(check(no_vhost)), [/error \/dev\/vhost-net/]);
  const shim = { CALICOVPP_VPP_ENVIRONMENT: '{"LD_PRELOAD":"/x.so"}' };
  t.match(told(check(no_vhost, [{}], shim)), [/warning \/dev\/vhost-net/]);
  t.match(told(check({ rules: [...good.rules, { family: 4, priority: 100, action: 1, table: 7 }] })), [
    /warning routing rules: 1 rule/,
  ]);
  t.match(
    told(check({ host: { ...good.host, has_udev: true } }, [{}], { CALICOVPP_HOOK_BEFORE_VPP_RUN: 'true' })),
    [/warning udev: may give the host tap a MAC/],
  );
});

t.test('a host that cannot be reached, or written, is told', async (t) => {
  const missing = told(check({ host: { ...good.host, unreachable: true } }));
  t.match(missing, [/error \/host: is not there, and this is not the host itself/]);
  const { files_base: _, ...read_only } = good.host;
  t.match(told(check({ host: { ...read_only, has_udev: true } })), [
    /warning \/run: cannot be written, nor can \/etc/,
  ]);
  t.same(told(check({ host: read_only })), [], 'where nobody reads such files');
});

t.test('a host that is too busy to be asked is told', async (t) => {
  const found = check({ host: { ...good.host, unanswered: ['systemctl is-active'] } });
  t.match(told(found), [/warning systemctl is-active: is not answered by the host in time/]);
});

t.test('packet rings must fit into memory', async (t) => {
  t.match(told(check({ memory_available_bytes: 200 * MiB })), [
    /warning memory: 200 MiB are free, .* pin 128 MiB/,
  ]);
  t.match(told(check({ memory_available_bytes: 100 * MiB })), [/error memory/]);
  t.match(told(check({}, [{ rx: 8, annotations: { AfPacketUseV3: 'true' } }])), [
    /warning memory: .* pin 2624 MiB/,
  ]);
});

t.test('an uplink that is not there is told with the names that are', async (t) => {
  const found = check({}, [{ interfaceName: 'eht0' }]);
  t.match(told(found), [/error eht0: there is no device/]);
  t.match(found.find(({ severity }) => severity === 'error')?.step, /one of: eth0, ens5/);
  t.match(check({ links: [] }, [{}]).at(-1)?.step, /this host has no Ethernet device/);
  t.same(
    told(check({ links: [link('enp0s5', 2, { altnames: ['eth0'] })] })),
    [],
    'an alternative name is a name',
  );
});

t.test('an uplink that cannot be taken over', async (t) => {
  const eth0 = (more: Partial<Link>, rest: Partial<CheckFacts> = {}) =>
    told(check({ links: [link('eth0', 2, more), link('br0', 9), link('eth5', 5, { master: 2 })], ...rest }));
  t.match(eth0({ type: 772 }), [/error eth0: is no Ethernet device/]);
  t.match(eth0({ master: 9 }), [/error eth0: belongs to br0/]);
  t.match(eth0({ kind: 'bond' }), [/error eth0: is a bond/]);
  t.match(eth0({ kind: 'bridge' }), [/error eth0: is a bridge/]);
  t.match(eth0({ kind: 'vlan', link: 5 }), [/warning eth0: is a vlan on eth5/]);
  t.same(eth0({ kind: 'veth', link: 77, link_netnsid: 0 }), []);
  t.match(eth0({ up: false }), [/error eth0: is down/]);
  t.match(eth0({}, { addresses: [address(2, 'fe80::1/64')] }), [/error eth0: has no IP address yet/]);
  t.match(told(check({}, [{ ipFamilies: 'IPv4,IPv6' }])), [/error eth0: has no IPv6 address/]);
});

t.test('what run refuses and what is lost, of routes, devices above and the like', async (t) => {
  const links = (...more: Link[]) => [link('eth0', 2), link('eth1', 5, { up: false }), ...more];
  const above = (kind: string, more: Partial<Link> = {}) =>
    told(check({ links: links(link('x0', 7, { kind, link: 2, ...more })) }));
  for (const kind of ['vlan', 'macvlan', 'ipvlan', 'vxlan', 'gre'])
    t.match(above(kind), [new RegExp(`error eth0: has x0 \\(${kind}\\) on top`)]);
  t.same(above('veth'), [], 'the other end of a veth');
  t.same(above('vlan', { link_netnsid: 1 }), [], 'of a device in another namespace');
  const next_hops = [
    { oif: 2, gateway: '10.0.0.1' },
    { oif: 5, gateway: '10.1.0.1' },
  ];
  t.match(
    told(check({ links: links(), routes: [route({ next_hops })] })).join(),
    /error eth0: has the route 0.0.0.0\/0, and eth1 is down/,
  );
  t.match(
    told(
      check({
        nexthops: [
          { id: 5, family: 4, hop: { oif: 2 } },
          { id: 9, group: [{ id: 5, weight: 1 }], unsupported: ['resilient'] },
        ],
      }),
    ),
    [/error eth0: has the nexthop object 9 with resilient/],
  );
  t.match(told(check({ links: [link('eth0', 2, { qdisc: 'tbf' })] })), [
    /warning eth0: has the queueing discipline tbf/,
  ]);
  t.same(told(check({ links: [link('eth0', 2, { qdisc: 'fq_codel' })] })), []);
  t.match(
    told(
      check({
        addresses: [address(2, '10.0.0.2/24'), address(2, 'fd00::5/64', { flags: 1, preferred_s: 60 })],
      }),
    ),
    [/warning eth0: has temporary addresses/],
  );
  t.match(told(check({ links: [link('eth0', 2, { xdp: true })] })), [/warning eth0: has an XDP program/]);
  t.match(told(check({ filtered: new Set(['eth0', 'ens5']) })), [/^warning eth0: has filters of tc/]);
  const shown = (...kinds: string[]) => JSON.stringify(kinds.map((kind) => ({ kind, options: {} })));
  t.ok(hasFilters(shown('fq_codel', 'clsact')));
  t.ok(hasFilters(shown('ingress')));
  for (const none of [shown('fq_codel', 'mq'), '', 'Cannot find device', '[null, 5]', '{"kind":"clsact"}'])
    t.notOk(hasFilters(none), none);
  const left = route({ prefix: '10.244.0.0/16', metrics: { mtu: 1440 } });
  t.match(told(check({ routes: [route(), left] })), [
    /warning eth0: has 1 route\(s\) of the Go implementation, e.g. 10.244.0.0\/16/,
  ]);
  for (const own of [
    route({ metrics: { mtu: 1440 } }),
    { ...left, protocol: 3 },
    { ...left, metrics: { mtu: 1400 } },
    { ...left, metrics: { mtu: 1440, advmss: 1400 } },
  ])
    t.same(told(check({ routes: [own] })), [], 'the administrator may have one like it');
  t.match(told(check({ neighbours: [{ link: 2, family: 6, address: 'fd00::60', state: 0, flags: 8 }] })), [
    /warning eth0: answers for 1 IPv6 neighbour/,
  ]);
});

t.test('MTU', async (t) => {
  t.match(told(check({}, [{ mtu: 9000 }])), [/warning eth0: has an MTU of 1500, 9000 is asked for/]);
  const jumbo = { links: [link('eth0', 2, { mtu: 9000 })] };
  t.same(told(check(jumbo)), []);
  t.match(told(check(jumbo, [{ vppDriver: 'af_xdp' }])), [/warning eth0: has an MTU of 9000/]);
  t.same(told(check(jumbo, [{ vppDriver: 'af_xdp', mtu: 3072 }])), []);
});

t.test('what VPP and its start-up file have for drivers', async (t) => {
  const of = (template: string, driver = 'dpdk', binary = '/nowhere/bin/vpp', exec = '') =>
    vppFacts(
      loadConfig({
        NODENAME: 'n',
        CALICOVPP_VPP_BINARY: binary,
        CALICOVPP_CONFIG_TEMPLATE: template,
        CALICOVPP_CONFIG_EXEC_TEMPLATE: exec,
        CALICOVPP_INTERFACES: JSON.stringify({
          uplinkInterfaces: [{ interfaceName: 'eth0', vppDriver: driver }],
        }),
      }).config,
    );
  t.match(of(''), { untagged: [] });
  t.equal(of('').dpdk_devices, undefined);
  t.match(of('dpdk { dev 0000:00:05.0 }'), { untagged: ['eth0'], dpdk_devices: ['0000:00:05.0'] });
  t.match(of('dpdk { dev default { } vdev net_tap0 }'), { dpdk_devices: [] });
  t.match(of('dpdk { dev 0000:00:05.0 }', 'virtio'), { untagged: [] });
  const by_command = 'set interface tag TenGigabitEthernet0/5/0 main-__VPP_DATAPLANE_IF__';
  t.match(of('dpdk { dev 0000:00:05.0 }', 'dpdk', undefined, by_command), { untagged: [] });
  t.match(of('dpdk { dev __PCI_DEVICE_ID__ { tag main-__VPP_DATAPLANE_IF__ } }'), { untagged: [] });
  t.match(of('dpdk { dev 0000:00:05.0 { tag __NODE_ANNOTATION:tag__ } }'), { untagged: [] });
  t.match(of('buffers { page-size 4K }'), { small_buffers: true });
  const root = t.testdir({
    bin: { vpp: '' },
    lib: { 'x86_64-linux-gnu': { vpp_plugins: { 'cnat_plugin.so': '' } } },
    more: { 'dpdk_plugin.so': '' },
    empty: {},
  });
  const binary = `${root}/bin/vpp`;
  t.equal(of('').has_dpdk, undefined, 'no plugin is known');
  t.equal(of('', 'dpdk', binary).has_dpdk, false);
  t.equal(of(`plugins { add-path ${root}/more }`, 'dpdk', binary).has_dpdk, true);
  t.equal(of(`plugins { path ${root}/empty:${root}/more }`, 'dpdk', binary).has_dpdk, true);
  t.equal(of(`plugins { path ${root}/empty }`, 'dpdk', binary).has_dpdk, undefined);
});

t.test('drivers', async (t) => {
  const nic = {
    address: '0000:00:05.0',
    vendor: '1af4',
    device: '1000',
    driver: 'virtio-pci',
    iommu_group: '3',
    group: [],
    vfs: [],
    vfs_max: 0,
    passes_iommu: false,
  };
  const on = (driver: string, pci: Partial<typeof nic> = {}, more: Partial<CheckFacts> = {}) =>
    told(
      check(
        {
          pci: new Map([['eth0', { ...nic, ...pci }]]),
          machine: machineOf(),
          ...more,
        },
        [{ vppDriver: driver }],
      ),
    );
  t.same(on('virtio'), []);
  t.match(told(check({}, [{ vppDriver: 'virtio' }])), [/error eth0: is on no PCI bus/]);
  const without = (changes: Partial<MachineFacts>) => ({ machine: machineOf(changes) });
  t.match(on('virtio', {}, without({ hugepage_bytes: 0 })), [/error eth0: has no hugepages for virtio/]);
  t.match(on('virtio', {}, without({ user_space_drivers: [] })), [/error eth0: cannot be bound to vfio-pci/]);
  t.match(on('vmxnet3'), [/error eth0: has the kernel driver virtio-pci/]);
  t.same(
    on('rdma', { driver: 'mlx5_core' }, without({ user_space_drivers: [], hugepage_bytes: 0 })),
    [],
    'rdma leaves the device to its kernel driver',
  );
  const held = new Map([['eth0', [{ pid: 4711, name: 'qemu' }]]]);
  t.match(on('virtio', {}, { holders: held }), [
    /error eth0: is of IOMMU group 3, which qemu \(process 4711\) has open/,
  ]);
  t.same(on('af_packet', {}, { holders: held }), [], 'it stays with its kernel driver');
  const chosen = (more: Partial<CheckFacts>) =>
    check({ pci: new Map([['eth0', nic]]), machine: machineOf(), ...more }, [{ vppDriver: '' }]).flatMap(
      ({ what }) => (/would be driven/.test(what) ? [what] : []),
    );
  t.same(chosen({}), ['would be driven by virtio']);
  t.match(chosen({ holders: held }), [
    /would be driven by af_packet \(not by virtio: the device is of IOMMU group 3, which qemu/,
  ]);
  t.match(on('af_packet', {}, without({ cpu_lacks: ['sse4_2', 'popcnt'] })), [
    /error processor: has no sse4_2, popcnt/,
  ]);
  const { iommu_group: _, ...bare } = nic;
  const no_iommu = (on: boolean) => ({
    pci: new Map([['eth0', { ...bare, unsafe_no_iommu: on }]]),
    machine: machineOf({ unsafe_no_iommu: on }),
  });
  t.match(on('virtio', {}, no_iommu(false)), [/warning eth0: is isolated by no IOMMU/]);
  t.same(on('virtio', {}, no_iommu(true)), []);
  t.same(
    on('dpdk', { driver: 'mlx5_core' }, without({ user_space_drivers: [] })),
    [],
    'dpdk on a device that stays with its driver needs no vfio',
  );

  const queues = (max_combined: number) => ({
    channels: new Map([['eth0', { rx: 0, tx: 0, combined: 1, max_rx: 0, max_tx: 0, max_combined }]]),
  });
  t.match(told(check(queues(2), [{ vppDriver: 'af_xdp', rx: 4 }])), [/error eth0: has 2 channels, rx is 4/]);
  t.same(told(check(queues(4), [{ vppDriver: 'af_xdp', rx: 4 }])), []);
  t.match(
    told(check({ kernel: { text: '5.3.18', major: 5, minor: 3, patch: 18 } }, [{ vppDriver: 'af_xdp' }])),
    [/error eth0: cannot use af_xdp/],
  );
});

t.test('routes that VPP does not get', async (t) => {
  const with_route = (more: Partial<Route>) => told(check({ routes: [route(more)] }));
  t.match(with_route({ table: 100 }), [
    /warning eth0: 1 route\(s\), e\.g\. 0\.0\.0\.0\/0 in table 100, are in another table/,
  ]);
  t.same(with_route({ table: 255 }), []);
  t.match(with_route({ next_hops: [{ oif: 2 }, { oif: 3 }] }), [/have several next hops/]);
  t.match(with_route({ unsupported: ['ttl-propagate'] }), [
    /error eth0: has the route .* with ttl-propagate/,
  ]);
  t.same(with_route({ table: 100, next_hops: [{ oif: 3 }] }), [], 'another device is none of our business');
});

t.test('overlapping addresses', async (t) => {
  const two = [address(2, '10.0.0.2/24'), address(2, '10.0.0.9/32')];
  t.match(told(check({ addresses: two })), [/warning eth0: 10\.0\.0\.2\/24 and 10\.0\.0\.9\/32 overlap/]);
  t.same(
    told(check({ addresses: [address(2, '10.0.0.2/24'), address(2, '10.0.0.3/24')] })),
    [],
    'two addresses of one subnet are fine',
  );
  const siblings = { addresses: [address(2, '10.0.0.2/24'), address(3, '10.0.0.3/24')] };
  t.match(told(check(siblings, [{}, {}])), [/error eth0, ens5: 10\.0\.0\.2\/24 and 10\.0\.0\.3\/24 overlap/]);
  t.same(
    told(check(siblings, [{}, { physicalNetworkName: 'blue' }])),
    [],
    'each physical network has its own table',
  );
  t.ok(overlap('10.0.0.0/8', '10.255.0.1/32'));
  t.notOk(overlap('10.0.0.0/24', '10.0.1.0/24'));
  t.ok(overlap('0.0.0.0/0', '1.2.3.4/32'));
  t.notOk(overlap('::/0', '1.2.3.4/32'));
  t.ok(overlap('fd00::/64', 'fd00::1/128'));
});

t.test('a leased address needs somebody who renews it', async (t) => {
  const lease = { name: 'eth0', net_names: {}, has_lease: true };
  const with_host = (host: Partial<CheckFacts['host']>, env: NodeJS.ProcessEnv = {}) =>
    told(check({ host: { ...good.host, uplinks: [lease], ...host } }, [{}], env));
  t.match(with_host({}), [/warning eth0: has a leased address, and no service/]);
  t.match(with_host({ active: ['NetworkManager'] }), [
    /warning eth0: has a leased address that NetworkManager does not renew on the tap: its connection is no keyfile/,
  ]);
  const tap_connection = { uuid: '5fb06bd0-0bb0-8ffb-85f1-d6edd65f3e03', text: '' };
  const copied = { active: ['NetworkManager'] as const, uplinks: [{ ...lease, tap_connection }] };
  t.same(with_host(copied), []);
  t.match(with_host(copied, { CALICOVPP_HOOK_VPP_RUNNING: 'true' }), [/HOOK_VPP_RUNNING takes the place/]);
  t.match(with_host({ active: ['networking'] }), [/no service is known/]);
  const networkd = {
    active: ['systemd-networkd'] as const,
    uplinks: [{ ...lease, network_file: '[Match]\nPath=pci-1\n' }],
  };
  t.same(with_host(networkd), []);
  t.match(with_host(networkd, { CALICOVPP_HOOK_VPP_RUNNING: 'true' }), [
    /\.network file does not match a tap/,
  ]);
});

t.test('a configuration that cannot be read is told in the same way', async (t) => {
  const failure = t.throws(() => loadConfig({})) as unknown as ConfigError;
  t.type(failure, ConfigError);
  const found = configFindings(failure.problems, ['X is unknown']);
  t.equal(checkExitCode(found), 1);
  t.match(renderFindings(found), /^ERROR {3}NODENAME: it is required/m);
  t.match(renderFindings(found), /^WARNING configuration: X is unknown/m);
  t.equal(checkExitCode(configFindings([], ['X is unknown'])), 0);
});

t.test(
  'the facts of this machine can be read',
  { skip: process.geteuid?.() === 0 ? false : 'needs root' },
  async (t) => {
    const { config } = loadConfig({
      NODENAME: 'n',
      CALICOVPP_INTERFACES: '{"uplinkInterfaces":[{"interfaceName":"lo"}]}',
      CALICOVPP_VPP_BINARY: '/nowhere/vpp',
    });
    const host = new LinuxHost();
    const facts = await gatherCheckFacts(config, {
      host_root: '',
      openNetwork: () => host.open(),
      run: async () => ({ code: 127, stdout: '', stderr: '' }),
    });
    t.ok(facts.memory_available_bytes > 0);
    t.match(facts, { vpp_binary: 'missing', is_root: true, host: { active: [], has_udev: false } });
    t.match(told(findings(config, facts)).join('\n'), /error lo: is no Ethernet device/);
  },
);

t.test('a node of the Go implementation: what runs, and which of its pods are lost', async (t) => {
  const directory = t.testdir({
    proc: {
      '7': { cmdline: '/usr/bin/vpp-manager\0' },
      '8': { cmdline: 'calico-vpp-agent\0-v\0' },
      '9': { cmdline: 'tail\0/var/log/vpp-manager\0' },
      self: { cmdline: 'vpp-manager\0' },
    },
    run: { 'calicovpp_state.v10.json': '{"version": 10, "podSpecs": {"netns:/run/netns/a,if:eth0": {}}}' },
  });
  const { config } = loadConfig({
    NODENAME: 'n',
    CALICOVPP_INTERFACES: '{"uplinkInterfaces": [{"interfaceName": "eth0", "vppDriver": "af_packet"}]}',
    CALICOVPP_RUN_DIR: `${directory}/run`,
  });
  const roots = { ...HOST_ROOTS, proc: `${directory}/proc` };
  const go = gatherGoFacts(config, roots);
  const found = check({ go });
  t.match(told(found), [
    'warning vpp-manager: of the Go implementation runs (process 7)',
    'warning calico-vpp-agent: of the Go implementation runs (process 8)',
    /^warning .*\/calicovpp_state.v10.json: netns:\/run\/netns\/a,if:eth0: re-create the pod/,
  ]);
  t.match(
    found.find(({ severity, subject }) => severity === 'ok' && subject.endsWith('.json'))?.what,
    /^has 0 pod\(s\)/,
  );
  t.equal(checkExitCode(found), 0, 'none of it keeps the node from starting');

  const many = Object.fromEntries(Array.from({ length: 25 }, (_, at) => [`pod${at}`, {}]));
  const state = { path: '/s', text: JSON.stringify({ version: 11, podSpecs: many }) };
  t.equal(told(check({ go: { processes: [], state } })).length, 21, 'not more than anybody reads');
  t.match(told(check({ go: { processes: [], state } })).at(-1), 'has 5 problem(s) more');

  mkdirSync(`${directory}/run/pods/one`, { recursive: true });
  t.notOk(gatherGoFacts(config, roots).state, 'a node that has changed over has read it');
});
