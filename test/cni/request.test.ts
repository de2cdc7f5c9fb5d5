import { create, type Message, type MessageInitShape } from '@bufbuild/protobuf';
import t from 'tap';
import type { PodLimits } from '../../src/cni/annotations.js';
import { AddRequestSchema } from '../../src/cni/generated/cni_pb.js';
import { parseAddRequest, parseDelRequest } from '../../src/cni/request.js';
import { interface_spec_default } from '../../src/config/interface-spec.js';
import { addressesOf, buffersNeeded, familiesOf, type PodSpec } from '../../src/pod/spec.js';

type Init = Exclude<MessageInitShape<typeof AddRequestSchema>, Message>;
type Workload = Exclude<Init['workload'], undefined>;
type Ports = NonNullable<Workload['ports']>;

const prefix = 'cni.projectcalico.org/';
const closed: PodLimits = {
  default_spec: interface_spec_default,
  gates: { memif: false, vcl: false, multinet: false },
  source_spoofing: 'Any',
};
const open: PodLimits = { ...closed, gates: { memif: true, vcl: true, multinet: true } };
const limited = (max_spec: NonNullable<PodLimits['max_spec']>): PodLimits => ({ ...closed, max_spec });
const tun = { interface_type: 'tun' };
const netns = '/var/run/netns/cni-0f3a7c52-8b1e-4d7a-9c60-2f5d1e8b7a94';

const ips = (...addresses: string[]): Init => ({ containerIps: addresses.map((address) => ({ address })) });
const workload = (fields: Workload): Init => ({
  workload: { orchestrator: 'k8s', namespace: 'default', pod: 'web-1', endpoint: 'eth0', ...fields },
});
const annotated = (annotations: Record<string, string>): Init => workload({ annotations });
const spec = (json: unknown): Init => annotated({ [`${prefix}vppInterfacesSpec`]: JSON.stringify(json) });
const sources = (json: unknown): Init =>
  annotated({ [`${prefix}allowedSourcePrefixes`]: JSON.stringify(json) });
const ports = (...list: Ports): Init => workload({ ports: list });
const http = { protocol: 'TCP', port: 80, hostPort: 8080 };
const network = (network_name: string): Init => ({ dataplaneOptions: { type: 'grpc', network_name } });

const plain = { rx_queues: 1, tx_queues: 1, rx_ring_size: 1024, tx_ring_size: 1024, is_l3: true };
const web = { protocol: 'tcp', host_port: 8080, container_port: 80 };

function parse(change: Init, limits: PodLimits = closed) {
  const base = {
    interfaceName: 'eth0',
    netns,
    ...ips('10.0.0.5/24', 'fd00::5/64'),
    ...workload({}),
  };
  return parseAddRequest(create(AddRequestSchema, { ...base, ...change }), limits);
}

t.test('a plain request becomes a spec', async (t) => {
  const parsed = parse({
    settings: { mtu: 1400, allowIpForwarding: true },
    containerRoutes: ['0.0.0.0/0', '::/0'],
    desiredHostInterfaceName: 'cali123',
    containerIps: [
      { address: '10.0.0.5/24', gateway: '<nil>' },
      { address: 'FD00:0:0::0005/64', gateway: '<nil>' },
    ],
  });
  const expected: PodSpec = {
    key: `netns:${netns},if:eth0`,
    interface_name: 'eth0',
    netns,
    workload: { orchestrator: 'k8s', namespace: 'default', pod: 'web-1', endpoint: 'eth0' },
    addresses: { ip4: ['10.0.0.5'], ip6: ['fd00::5'] },
    routes: ['0.0.0.0/0', '::/0'],
    mtu: 1400,
    allow_ip_forwarding: true,
    host_ports: [],
    allowed_source_prefixes: [],
    network_name: '',
    interface_spec: { ...plain, rx_mode: 'adaptive' },
    interface_type: 'tun',
  };
  t.strictSame(parsed, { ok: expected, warnings: [] });
  t.strictSame(JSON.parse(JSON.stringify(expected)), expected, 'it survives JSON');
  t.strictSame(familiesOf(expected), [4, 6]);
  t.strictSame(addressesOf(expected), ['10.0.0.5', 'fd00::5']);
  t.equal(buffersNeeded(expected), 1024);
});

/** What is taken: the change to the request, a part of the spec, and what the warnings say. */
const taken: [name: string, change: Init, spec: object, warnings?: RegExp[], limits?: PodLimits][] = [
  ['IPv4 alone', ips('10.0.0.5/32'), { addresses: { ip4: ['10.0.0.5'], ip6: [] } }],
  ['IPv6 alone', ips('2001:DB8::1/128'), { addresses: { ip4: [], ip6: ['2001:db8::1'] } }],
  [
    'several addresses of a family keep their order',
    ips('10.0.0.9/32', 'fd00::2/128', '10.0.0.5/32'),
    { addresses: { ip4: ['10.0.0.9', '10.0.0.5'], ip6: ['fd00::2'] } },
  ],
  [
    'the same address twice is taken once',
    ips('fd00::1/64', 'fd00:0::1/128'),
    { addresses: { ip4: [], ip6: ['fd00::1'] } },
    [/default\/web-1 eth0: container_ips\[1\]\.address fd00::1 stands there twice/],
  ],
  [
    'link-local and embedded IPv4 spellings',
    ips('fe80::1/64', '64:ff9b::192.0.2.1/128'),
    { addresses: { ip4: [], ip6: ['fe80::1', '64:ff9b::c000:201'] } },
  ],
  [
    'the default routes of a family that the pod lacks are dropped without a word',
    { ...ips('10.0.0.5/32'), containerRoutes: ['0.0.0.0/0', '::/0'] },
    { routes: ['0.0.0.0/0'] },
  ],
  [
    'host bits of routes are cleared, doubles merged',
    { containerRoutes: ['10.1.2.3/16', '10.1.9.9/16', 'fd00::1/8', '10.1.2.3/29'] },
    { routes: ['10.1.0.0/16', 'fd00::/8', '10.1.2.0/29'] },
  ],
  ['no settings: MTU is automatic', {}, { mtu: 0, allow_ip_forwarding: false }],
  ['the largest MTU', { settings: { mtu: 9216 } }, { mtu: 9216 }],
  [
    'an MTU above what VPP carries is lowered',
    { settings: { mtu: 9500 } },
    { mtu: 9216 },
    [/settings\.mtu 9500 is above 9216/],
  ],
  ['the smallest MTU without IPv6', { ...ips('10.0.0.5/32'), settings: { mtu: 68 } }, { mtu: 68 }],
  ['a name of 15 characters', { interfaceName: 'abcdefghij12345' }, { interface_name: 'abcdefghij12345' }],
  ['a namespace path of 63 bytes', { netns: `/${'n'.repeat(62)}` }, { netns: `/${'n'.repeat(62)}` }],
  ['a namespace below /proc', { netns: '/proc/4711/ns/net' }, { key: 'netns:/proc/4711/ns/net,if:eth0' }],
  [
    'a request without workload',
    { workload: undefined as never },
    { workload: { orchestrator: '', namespace: '', pod: '', endpoint: '' } },
  ],
  // Host ports.
  ['ports without host port are none of ours', ports({ protocol: 'TCP', port: 80 }), { host_ports: [] }],
  ['TCP in upper case', ports(http), { host_ports: [web] }],
  ['UDP stays UDP', ports({ ...http, protocol: 'UDP' }), { host_ports: [{ ...web, protocol: 'udp' }] }],
  ['SCTP stays SCTP', ports({ ...http, protocol: 'Sctp' }), { host_ports: [{ ...web, protocol: 'sctp' }] }],
  ['no protocol is TCP', ports({ ...http, protocol: '' }), { host_ports: [web] }],
  [
    'TCP and UDP on one port are two',
    ports({ protocol: 'TCP', port: 53, hostPort: 53 }, { protocol: 'UDP', port: 53, hostPort: 53 }),
    {
      host_ports: [
        { protocol: 'tcp', host_port: 53, container_port: 53 },
        { protocol: 'udp', host_port: 53, container_port: 53 },
      ],
    },
  ],
  [
    "a host IP of the pod's family",
    ports({ ...http, hostIp: 'FD00::0:1' }),
    { host_ports: [{ ...web, host_ip: 'fd00::1' }] },
  ],
  ['an unspecified IPv4 host IP is none', ports({ ...http, hostIp: '0.0.0.0' }), { host_ports: [web] }],
  ['an unspecified IPv6 host IP is none', ports({ ...http, hostIp: '::' }), { host_ports: [web] }],
  [
    'a host IP of the other family is skipped',
    {
      ...ips('10.0.0.5/32'),
      ...ports({ ...http, hostIp: 'fd00::1' }, { protocol: 'TCP', port: 1, hostPort: 2 }),
    },
    { host_ports: [{ protocol: 'tcp', host_port: 2, container_port: 1 }] },
    [/workload\.ports\[0\] with host_ip fd00::1 is ignored: the pod has no address of its family/],
  ],
  ['the same host port twice is one', ports(http, http), { host_ports: [web] }],
  [
    'of two meanings of a host port the first stands',
    ports(http, { ...http, port: 81 }),
    { host_ports: [web] },
    [/workload\.ports\[1\] is ignored: tcp host port 8080 already leads to container port 80/],
  ],
  // Interface specs.
  [
    'an entry fills in what it leaves out, for this very interface',
    spec({ eth0: { rx: 4 } }),
    { interface_spec: { ...plain, rx_queues: 4 } },
  ],
  [
    'zeros are filled in',
    spec({ eth0: { rx: 0, tx: 0, rxqsz: 0, txqsz: 0, isl3: false } }),
    { interface_spec: { ...plain, is_l3: false } },
  ],
  [
    'L2 makes a tap',
    spec({ eth0: { isl3: false } }),
    { interface_type: 'tap', interface_spec: { rx_queues: 1, rx_ring_size: 1024 } },
  ],
  [
    'an entry of another interface changes nothing',
    spec({ eth1: { rx: 4, isl3: false } }),
    { interface_type: 'tun', interface_spec: { rx_queues: 1 } },
  ],
  ['a null annotation is none', spec(null), tun],
  ['a null entry is the default', spec({ eth0: null }), { interface_spec: plain }],
  [
    'null fields are absent',
    spec({ eth0: { rx: null, isl3: null, rxMode: null } }),
    { interface_spec: { rx_queues: 1, is_l3: true, rx_mode: 'adaptive' } },
  ],
  [
    'keys in any letter case',
    spec({ eth0: { RX: 2, RxqSz: 512 } }),
    { interface_spec: { rx_queues: 2, rx_ring_size: 512 } },
  ],
  ['a receive mode', spec({ eth0: { rxMode: 'polling' } }), { interface_spec: { rx_mode: 'polling' } }],
  [
    'an unknown receive mode is adaptive',
    spec({ eth0: { rxMode: 'fast' } }),
    { interface_spec: { rx_mode: 'adaptive' } },
    [/vppInterfacesSpec, entry "eth0": rxMode "fast"/],
  ],
  [
    'the largest ring',
    spec({ eth0: { rxqsz: 32768, txqsz: 32768 } }),
    { interface_spec: { rx_ring_size: 32768 } },
  ],
  [
    'the configured default, which is L3 whatever it says',
    {},
    {
      interface_type: 'tun',
      interface_spec: { rx_queues: 2, rx_ring_size: 256, rx_mode: 'interrupt', is_l3: true },
    },
    [],
    {
      ...closed,
      default_spec: {
        ...interface_spec_default,
        rx_queues: 2,
        rx_ring_size: 256,
        rx_mode: 'interrupt',
        is_l3: false,
      },
    },
  ],
  [
    'up to the configured limit',
    spec({ eth0: { rx: 4 } }),
    { interface_spec: { rx_queues: 4, tx_queues: 1 } },
    [],
    limited({ rx_queues: 4 }),
  ],
  // Allowed source prefixes.
  [
    "Calico's spelling",
    sources(['10.9.0.1/16', '10.8.0.1']),
    { allowed_source_prefixes: ['10.9.0.0/16', '10.8.0.1/32'] },
  ],
  [
    "the Go implementation's spelling",
    annotated({ [`${prefix}AllowedSourcePrefixes`]: '["fd01::1"]' }),
    { allowed_source_prefixes: ['fd01::1/128'] },
  ],
  [
    'both spellings together',
    annotated({
      [`${prefix}AllowedSourcePrefixes`]: '["10.9.0.0/16","10.7.0.0/16"]',
      [`${prefix}allowedSourcePrefixes`]: '["10.9.0.0/16"]',
    }),
    { allowed_source_prefixes: ['10.9.0.0/16', '10.7.0.0/16'] },
  ],
  ['null is an empty list', sources(null), { allowed_source_prefixes: [] }],
  [
    'and so is nothing at all, as Calico takes it',
    annotated({ [`${prefix}allowedSourcePrefixes`]: '' }),
    { allowed_source_prefixes: [] },
  ],
  ...(['Legacy', 'Disabled'] as const).map((source_spoofing): (typeof taken)[number] => [
    `source prefixes without the administrator’s word (${source_spoofing})`,
    annotated({
      [`${prefix}allowedSourcePrefixes`]: '["10.9.0.0/16"]',
      [`${prefix}AllowedSourcePrefixes`]: '["10.8.0.0/16"]',
    }),
    { allowed_source_prefixes: source_spoofing === 'Legacy' ? ['10.8.0.0/16'] : [] },
    source_spoofing === 'Legacy'
      ? [/allowedSourcePrefixes is ignored: it acts where workloadSourceSpoofing/]
      : [/allowedSourcePrefixes is ignored/, /AllowedSourcePrefixes is ignored/],
    { ...closed, source_spoofing },
  ]),
  ['addresses of 240.0.0.0/4', ips('240.0.0.1/32'), { addresses: { ip4: ['240.0.0.1'], ip6: [] } }],
  [
    'any number of ports without host port',
    ports(...Array.from({ length: 1000 }, (_, n) => ({ protocol: 'TCP', port: n + 1 })), http),
    { host_ports: [web] },
  ],
  [
    'a prefix of a family that the pod lacks is skipped',
    { ...ips('10.0.0.5/32'), ...sources(['fd01::/64', '10.9.0.0/16']) },
    { allowed_source_prefixes: ['10.9.0.0/16'] },
    [/allowed source prefix fd01::\/64 is ignored/],
  ],
  // Features behind gates.
  [
    'memif with its gate closed is ignored',
    annotated({ [`${prefix}vppExtraMemifPorts`]: 'tcp:80' }),
    tun,
    [/vppExtraMemifPorts is ignored: set memifEnabled/],
  ],
  [
    'memif: what speaks of protocols in any case, and of ranges',
    annotated({ [`${prefix}vppExtraMemifPorts`]: 'TCP:4444-20000, udp:53 , Tcp:1' }),
    {
      interface_type: 'tun',
      memif: {
        is_l3: false,
        ports: [
          { protocol: 'tcp', first: 4444, last: 20000 },
          { protocol: 'udp', first: 53, last: 53 },
          { protocol: 'tcp', first: 1, last: 1 },
        ],
      },
    },
    [],
    open,
  ],
  [
    'memif: all ports begin at 1, as none is ever sent to port 0',
    annotated({ [`${prefix}vppExtraMemifPorts`]: 'tcp:0-65535' }),
    {
      interface_type: 'tun',
      memif: { is_l3: false, ports: [{ protocol: 'tcp', first: 1, last: 65535 }] },
    },
    [],
    open,
  ],
  [
    'memif without Ethernet; what VPP splits no packets of has no effect',
    annotated({
      [`${prefix}vppExtraMemifPorts`]: 'sctp:80,icmp:1,udp:65535',
      [`${prefix}vppExtraMemifSpec`]: '{"rx": 200, "tx": 200, "isl3": true}',
    }),
    { memif: { is_l3: true, ports: [{ protocol: 'udp', first: 65535, last: 65535 }] } },
    [/vppExtraMemifPorts: entry sctp:80 has no effect/, /entry icmp:1 has no effect/],
    open,
  ],
  [
    'VCL with its gate closed is ignored',
    annotated({ [`${prefix}vppVcl`]: 'enable' }),
    tun,
    [/vppVcl is ignored: set vclEnabled in CALICOVPP_FEATURE_GATES/],
  ],
  ['VCL', annotated({ [`${prefix}vppVcl`]: 'enable' }), { ...tun, vcl: true }, [], open],
  [
    'VCL with its gate closed is ignored where the node could not have it either',
    annotated({ [`${prefix}vppVcl`]: 'enable' }),
    tun,
    [/vppVcl is ignored/],
    { ...closed, vcl_obstacle: 'policies are enforced' },
  ],
  ['VCL disabled', annotated({ [`${prefix}vppVcl`]: 'disable' }), tun, [], open],
  [
    'a memif spec alone has no effect, not even null',
    annotated({ [`${prefix}vppExtraMemifSpec`]: 'null' }),
    tun,
    [/vppExtraMemifSpec has no effect without/],
    open,
  ],
  ['annotations of others', annotated({ [`${prefix}vppHashConfig`]: 'x', other: '{' }), tun],
  [
    'a secondary network',
    { interfaceName: 'net1', ...network('blue') },
    { network_name: 'blue', interface_name: 'net1' },
    [],
    open,
  ],
  [
    'memif and VCL of the primary do not concern a secondary interface',
    {
      interfaceName: 'net1',
      ...network('blue'),
      ...annotated({ [`${prefix}vppExtraMemifPorts`]: 'tcp:80', [`${prefix}vppVcl`]: 'enable' }),
    },
    { network_name: 'blue' },
    [],
    open,
  ],
  [
    'a memif is the way into a secondary network by its name',
    { interfaceName: 'memif1', ...network('blue') },
    {
      network_name: 'blue',
      interface_type: 'tun',
      interface_spec: { is_l3: true },
      memif: { is_l3: false, ports: [], alone: true },
    },
    [],
    open,
  ],
  [
    'and without Ethernet by its annotation',
    {
      interfaceName: 'memif1',
      ...network('blue'),
      ...annotated({ [`${prefix}vppInterfacesSpec`]: '{"memif1": {"isl3": true, "rx": 2}}' }),
    },
    { interface_type: 'tun', interface_spec: { rx_queues: 2 }, memif: { is_l3: true, alone: true } },
    [],
    open,
  ],
  [
    'a memif in name alone, in the default network',
    { interfaceName: 'memif1' },
    { interface_type: 'tun', memif: undefined },
    [],
    open,
  ],
];

t.test('what is taken', async (t) => {
  for (const [name, change, expected, warnings = [], limits] of taken) {
    const parsed = parse(change, limits);
    if ('error' in parsed) {
      t.fail(`${name}: ${parsed.error}`);
      continue;
    }
    for (const [field, value] of Object.entries(expected)) {
      const found = parsed.ok[field as keyof PodSpec];
      if (Array.isArray(value)) t.strictSame(found, value, name);
      else t.match(found, value, name);
    }
    t.equal(parsed.warnings.length, warnings.length, `${name}: number of warnings`);
    for (const [index, pattern] of warnings.entries()) t.match(parsed.warnings[index], pattern, name);
  }
});

/** What is refused: the change to the request, and the answer, which names field, value and step. */
const refused: [name: string, change: Init, error: RegExp, limits?: PodLimits][] = [
  ['no interface name', { interfaceName: '' }, /interface_name "" is empty: correct it/],
  [
    'an interface name of 16 characters',
    { interfaceName: 'abcdefghij123456' },
    /interface_name "abcdefghij123456" is longer than 15/,
  ],
  ['a slash in the name', { interfaceName: 'a/b' }, /is no name for a Linux device/],
  ['a blank in the name', { interfaceName: 'a b' }, /is no name for a Linux device/],
  ['a number pattern as name', { interfaceName: 'eth%d' }, /is no name for a Linux device/],
  ['a directory as name', { interfaceName: '..' }, /is no name for a Linux device/],
  ['no namespace', { netns: '' }, /netns "" is empty: the container runtime/],
  ['a namespace path of 64 bytes', { netns: `/${'n'.repeat(63)}` }, /netns .* is longer than the 63 bytes/],
  ['a relative namespace', { netns: 'blue' }, /netns "blue" is not an absolute path/],
  ['a zero byte in the namespace', { netns: '/run/\0x' }, /is not an absolute path of printable/],
  ['no address', ips(), /container_ips \[\] has no address: check the IPAM/],
  [
    'an address without length',
    ips('10.0.0.5'),
    /container_ips\[0\]\.address "10\.0\.0\.5" is not address\/length/,
  ],
  ['the text of no address', ips('<nil>/24'), /container_ips\[0\]\.address "<nil>\/24" is not/],
  ['a length beyond the family', ips('10.0.0.5/33'), /"10\.0\.0\.5\/33" is not address\/length/],
  ['an IPv4-mapped address', ips('::ffff:10.0.0.5/128'), /is not address\/length/],
  ['a zone', ips('fe80::1%eth0/64'), /is not address\/length/],
  ['the unspecified address', ips('0.0.0.0/0'), /"0\.0\.0\.0\/0" cannot be an address of a pod/],
  ['a loopback address', ips('127.0.0.1/8'), /cannot be an address of a pod/],
  [
    'a multicast address',
    ips('10.0.0.5/24', 'ff02::1/128'),
    /container_ips\[1\].* cannot be an address of a pod/,
  ],
  ['the broadcast address', ips('255.255.255.255/32'), /cannot be an address of a pod/],
  [
    'more addresses than anyone needs',
    ips(...Array<string>(17).fill('10.0.0.5/32')),
    /container_ips 17 entries are more than 16/,
  ],
  [
    'a route without length',
    { containerRoutes: ['10.0.0.0'] },
    /container_routes\[0\] "10\.0\.0\.0" is not a prefix/,
  ],
  [
    'a route that is none',
    { containerRoutes: ['0.0.0.0/0', 'default'] },
    /container_routes\[1\] "default" is not a prefix/,
  ],
  ['a negative MTU', { settings: { mtu: -1 } }, /settings\.mtu -1 is below 1280/],
  ['an MTU too small for IPv6', { settings: { mtu: 1279 } }, /settings\.mtu 1279 is below 1280: set mtu/],
  [
    'an MTU too small for IPv4',
    { ...ips('10.0.0.5/32'), settings: { mtu: 67 } },
    /settings\.mtu 67 is below 68/,
  ],
  [
    'a protocol that has no ports',
    ports({ ...http, protocol: 'ICMP' }),
    /workload\.ports\[0\]\.protocol "ICMP" is not TCP, UDP or SCTP/,
  ],
  [
    'a host port beyond 16 bits',
    ports({ ...http, hostPort: 65536 }),
    /workload\.ports\[0\]\.host_port 65536 is not a port/,
  ],
  ['no container port', ports({ ...http, port: 0 }), /workload\.ports\[0\]\.port 0 is not a port/],
  ['a host IP that is none', ports({ ...http, hostIp: 'node-1' }), /host_ip "node-1" is not an IP address/],
  [
    'a spec that is not JSON',
    annotated({ [`${prefix}vppInterfacesSpec`]: '{eth0' }),
    /vppInterfacesSpec "\{eth0" is not JSON/,
  ],
  ['a spec that is a list', spec([]), /vppInterfacesSpec "\[\]" is not an object/],
  ['an entry that is a number', spec({ eth0: 4 }), /vppInterfacesSpec, entry "eth0" 4 cannot be used/],
  ['negative queues', spec({ eth0: { rx: -1 } }), /\{"rx":-1\} cannot be used: rx: .*whole number/],
  ['a fraction of a queue', spec({ eth0: { tx: 1.5 } }), /cannot be used: tx: /],
  ['queues as text', spec({ eth0: { rx: '4' } }), /cannot be used: rx: /],
  ['more queues than the kernel has', spec({ eth0: { rx: 257 } }), /cannot be used: rx: /],
  ['a ring that is no power of two', spec({ eth0: { rxqsz: 1000 } }), /rxqsz: .*1000.*power of two/],
  ['a ring that is too large', spec({ eth0: { txqsz: 65536 } }), /txqsz: .*32768/],
  ['L3 as text', spec({ eth0: { isl3: 'yes' } }), /isl3: .*true or false/],
  ['a receive mode that is no text', spec({ eth0: { rxMode: 1 } }), /rxMode: /],
  ['a list for an interface', spec({ eth0: [] }), /entry "eth0".*is not an object/],
  [
    'more than the configured limit',
    spec({ eth0: { rx: 5 } }),
    /rx: 5 is more than the 4 that maxPodIfSpec allows/,
    limited({ rx_queues: 4 }),
  ],
  ['the limit holds for every entry', spec({ eth7: { rx: 5 } }), /entry "eth7"/, limited({ rx_queues: 4 })],
  [
    'the limit holds for what is filled in',
    spec({ eth0: { isl3: true } }),
    /1024 is more than the 512/,
    limited({ rx_ring_size: 512 }),
  ],
  ['a list as spec', spec({ eth0: [] }), /entry "eth0" \[\] is not an object: write e\.g\. \{"rx": 1\}/],
  ['a list as spec of another interface', spec({ net1: [1] }), /entry "net1" \[1\] is not an object/],
  ['the broadcast address', ips('255.255.255.255/32'), /cannot be an address of a pod/],
  ['a multicast address', ips('239.0.0.1/32'), /cannot be an address of a pod/],
  [
    'a name longer than any',
    workload({ endpoint: 'x'.repeat(254) }),
    /workload\.endpoint "x+"?\.\.\. is longer than 253/,
  ],
  ['source prefixes that are no list', sources('10.0.0.0/8'), /allowedSourcePrefixes .* is not a list/],
  [
    'a source prefix that is none',
    sources(['10.0.0.0/8', 'all']),
    /entry 1: "all" is neither a prefix nor an address/,
  ],
  ['a source prefix that is no text', sources([null]), /entry 0: null is neither/],
  [
    'too many source prefixes',
    sources(Array.from({ length: 257 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`)),
    /has more than 256 entries/,
  ],
  ...(
    [
      ['', /is not protocol:port/],
      ['80', /is not protocol:port/],
      ['tcp:', /is not protocol:port/],
      ['tcp:80-', /is not protocol:port/],
      ['tcp:80;udp:53', /is not protocol:port/],
      ['tcp:80,,udp:53', /entry 1: "" is not protocol:port/],
      ['tcp:-1', /is not protocol:port/],
      ['tcp:0', /not within ports 1 to 65535/],
      ['tcp:65536', /not within ports 1 to 65535/],
      ['tcp:1-99999', /not within ports 1 to 65535/],
      ['tcp:90-80', /entry 0: "tcp:90-80" ends before it begins/],
      ['gre:1', /is of a protocol that is neither TCP nor UDP/],
      [Array(257).fill('tcp:80').join(), /has more than 256 entries/],
      ['tcp:80'.repeat(2000), /has more than 256 entries/],
    ] as const
  ).map(([ports, why]): (typeof refused)[number] => [
    `memif ports: ${ports.slice(0, 40)}`,
    annotated({ [`${prefix}vppExtraMemifPorts`]: ports }),
    why,
    open,
  ]),
  ...(
    [
      ['[1]', /vppExtraMemifSpec.* is not an object/],
      ['{', /vppExtraMemifSpec/],
      ['{"rx": 300}', /vppExtraMemifSpec/],
      ['{"rxqsz": 1000}', /vppExtraMemifSpec.*power of two/],
    ] as const
  ).map(([memif_spec, why]): (typeof refused)[number] => [
    `memif spec: ${memif_spec}`,
    annotated({ [`${prefix}vppExtraMemifPorts`]: 'tcp:80', [`${prefix}vppExtraMemifSpec`]: memif_spec }),
    why,
    open,
  ]),
  [
    'a memif in a namespace whose path VPP cannot read in the name of a socket',
    { ...annotated({ [`${prefix}vppExtraMemifPorts`]: 'tcp:80' }), netns: '/run/netns/a,b' },
    /netns "\/run\/netns\/a,b" has a character that VPP cannot have in the name of a memif socket/,
    open,
  ],
  [
    'VCL on a node that cannot have it',
    annotated({ [`${prefix}vppVcl`]: 'enable' }),
    /annotation cni\.projectcalico\.org\/vppVcl "enable" asks for VPP's host stack, which this node does not have: policies are enforced: open it; or remove the annotation/,
    { ...open, vcl_obstacle: 'policies are enforced: open it' },
  ],
  [
    'VCL beside a memif',
    annotated({ [`${prefix}vppVcl`]: 'enable', [`${prefix}vppExtraMemifPorts`]: 'tcp:80' }),
    /vppVcl "enable" stands beside cni\.projectcalico\.org\/vppExtraMemifPorts, and a pod has one of both/,
    open,
  ],
  [
    'VCL in a namespace whose path VPP cannot read in the name of a socket',
    { ...annotated({ [`${prefix}vppVcl`]: 'enable' }), netns: '/run/netns/a,b' },
    /netns "\/run\/netns\/a,b" has a character that VPP cannot have in the name of a VCL socket/,
    open,
  ],
  [
    'VCL neither enabled nor disabled',
    annotated({ [`${prefix}vppVcl`]: 'true' }),
    /vppVcl "true" is neither "enable" nor "disable"/,
  ],
  [
    'a secondary network with its gate closed',
    network('blue'),
    /dataplane_options\.network_name "blue" names a secondary network: set multinetEnabled/,
  ],
  [
    'a memif on a secondary network with its gate closed',
    { interfaceName: 'memif1', ...network('blue') },
    /interface_name "memif1" asks for a memif in a network beside the default one: set memifEnabled/,
    { ...open, gates: { ...open.gates, memif: false } },
  ],
  [
    'a memif on a secondary network whose name VPP cannot read in that of a socket',
    { interfaceName: 'memif,1', ...network('blue') },
    /interface_name "memif,1" has a character that VPP cannot have in the name of a memif socket/,
    open,
  ],
];

t.test('what is refused', async (t) => {
  for (const [name, change, error, limits] of refused) {
    const parsed = parse(change, limits);
    if ('ok' in parsed) {
      t.fail(`${name}: taken`);
      continue;
    }
    t.match(parsed.error, error, name);
    t.match(parsed.error, /^pod default\/web-1 /, `${name}: names the pod`);
  }
});

t.test('an answer stays short, however long the value is', async (t) => {
  const parsed = parse(annotated({ [`${prefix}vppInterfacesSpec`]: 'x'.repeat(200_000) }));
  t.ok('error' in parsed && parsed.error.length < 500);
});

t.test('DEL', async (t) => {
  t.strictSame(parseDelRequest({ interfaceName: 'eth0', netns: '/proc/1/ns/net' }), {
    ok: { key: 'netns:/proc/1/ns/net,if:eth0', interface_name: 'eth0', netns: '/proc/1/ns/net' },
  });
  for (const [interfaceName, path] of [
    ['eth0', ''],
    ['', netns],
    ['abcdefghij123456', netns],
    ['eth0', `/${'n'.repeat(63)}`],
  ] as const) {
    t.ok(
      'nothing' in parseDelRequest({ interfaceName, netns: path }),
      `no ADD can have made '${interfaceName}' in '${path}'`,
    );
  }
});
