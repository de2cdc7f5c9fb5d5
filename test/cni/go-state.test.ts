import t from 'tap';
import { goStateFiles, importGoState } from '../../src/cni/go-state.js';

const netns = '/var/run/netns/cni-1';
const key = `netns:${netns},if:eth0`;
const invalid_id = 0xffffffff;

/** One entry as the Go implementation writes it. */
function entry(more: object = {}, annotations: object = {}) {
  return {
    podAnnotations: {
      allowedSpoofingPrefixes: null,
      enableVCL: false,
      enableMemif: false,
      ifSpec: { rx: 1, tx: 1, rxqsz: 1024, txqsz: 1024, isl3: true, rxMode: 'unknown' },
      pblMemifSpec: { rx: 1, tx: 1, rxqsz: 1024, txqsz: 1024, isl3: false, rxMode: 'unknown' },
      ifPortConfigs: [],
      portFilteredIfType: 0,
      defaultIfType: 1,
      ...annotations,
    },
    memifSocketId: invalid_id,
    memifSwIfIndex: invalid_id,
    tunTapSwIfIndex: 7,
    loopbackSwIfIndex: 6,
    pblIndexes: {},
    HostPortEntryIDs: {},
    v4VrfId: 12,
    v4RPFVrfID: 14,
    v6VrfId: 13,
    v6RPFVrfId: 15,
    interfaceName: 'eth0',
    netnsName: netns,
    allowIpForwarding: true,
    routes: [
      { IP: '0.0.0.0', Mask: 'AAAAAA==' },
      { IP: '::', Mask: 'AAAAAAAAAAAAAAAAAAAAAA==' },
      { IP: '10.96.0.0', Mask: '//AAAA==' },
    ],
    containerIps: ['10.0.0.5', 'fd00::5'],
    mtu: 1440,
    orchestratorID: 'k8s',
    workloadID: 'default/web-1',
    endpointID: 'eth0',
    hostPorts: [],
    networkName: '',
    ...more,
  };
}
const file = (podSpecs: object, version = 11): string => JSON.stringify({ version, podSpecs });

t.test('the newest file comes first', async (t) => {
  const paths = goStateFiles('/var/run/vpp');
  t.equal(paths[0], '/var/run/vpp/calicovpp_state.v11.json');
  t.match(paths, { length: 6, 3: '/var/run/vpp/calico_vpp_pod_state9' });
});

t.test('a pod is taken over as if it had just been added', async (t) => {
  const { specs, problems } = importGoState(file({ [key]: entry() }));
  t.strictSame(problems, []);
  t.strictSame(specs, [
    {
      key,
      interface_name: 'eth0',
      netns,
      workload: { orchestrator: 'k8s', namespace: 'default', pod: 'web-1', endpoint: 'eth0' },
      addresses: { ip4: ['10.0.0.5'], ip6: ['fd00::5'] },
      routes: ['0.0.0.0/0', '::/0', '10.96.0.0/12'],
      mtu: 1440,
      allow_ip_forwarding: true,
      host_ports: [],
      allowed_source_prefixes: [],
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
    },
  ]);
});

t.test('what differs between pods and versions', async (t) => {
  const cases: [name: string, version: number, pod: object, spec: object, problems: RegExp[]][] = [
    ['version 10', 10, entry(), { key }, []],
    [
      'version 9, with an id in each host port',
      9,
      entry({
        needsSnat: true,
        hostPorts: [{ HostPort: 80, HostIP: '', ContainerPort: 8080, Protocol: 'tcp', EntryID: 3 }],
      }),
      { host_ports: [{ protocol: 'tcp', host_port: 80, container_port: 8080 }] },
      [/host ports 80 are taken over as recorded; re-create the pod if one is UDP or SCTP/],
    ],
    [
      'a host IP',
      11,
      entry({ hostPorts: [{ HostPort: 53, HostIP: '192.0.2.1', ContainerPort: 53, Protocol: 'udp' }] }),
      { host_ports: [{ protocol: 'udp', host_ip: '192.0.2.1' }] },
      [/host ports 53/],
    ],
    ['null for every list', 11, entry({ routes: null, hostPorts: null }), { routes: [], host_ports: [] }, []],
    [
      'allowed prefixes, an IPv4 mask of 16 bytes among them',
      11,
      entry(
        {},
        {
          allowedSpoofingPrefixes: [
            { IP: '10.9.0.0', Mask: '//8AAA==' },
            { IP: 'fd01::', Mask: '//////////8AAAAAAAAAAA==' },
            { IP: '10.8.0.1', Mask: '/////////////////////w==' },
          ],
        },
      ),
      { allowed_source_prefixes: ['10.9.0.0/16', 'fd01::/64', '10.8.0.1/32'] },
      [],
    ],
    [
      'zeros in the spec are filled in',
      11,
      entry({}, { ifSpec: { rx: 0, tx: 0, rxqsz: 0, txqsz: 0, isl3: false, rxMode: 'polling' } }),
      { interface_type: 'tap', interface_spec: { rx_queues: 1, rx_ring_size: 1024, rx_mode: 'polling' } },
      [],
    ],
    [
      'a memif beside the tun',
      11,
      entry(
        {},
        {
          enableMemif: true,
          ifPortConfigs: [
            { Start: 4444, End: 20000, Proto: 'tcp' },
            { Start: 53, End: 0, Proto: 'udp' },
          ],
        },
      ),
      {
        interface_type: 'tun',
        memif: {
          is_l3: false,
          ports: [
            { protocol: 'tcp', first: 4444, last: 20000 },
            { protocol: 'udp', first: 53, last: 53 },
          ],
        },
      },
      [],
    ],
    [
      'a memif that no ports lead to',
      11,
      entry({}, { enableMemif: true }),
      { interface_type: 'tun' },
      [/its memif is not taken over/],
    ],
    [
      'VCL',
      11,
      entry({}, { enableVCL: true }),
      { interface_type: 'tun' },
      [/its VCL sessions are not taken over/],
    ],
    ...[0, 1, 2, 3, 4].map((rxMode): (typeof cases)[number] => [
      `rx mode ${rxMode} as a number`,
      9,
      entry({}, { ifSpec: { rx: 1, tx: 1, rxqsz: 1024, txqsz: 1024, isl3: true, rxMode } }),
      { interface_spec: { rx_mode: ['adaptive', 'polling', 'interrupt', 'adaptive', 'default'][rxMode] } },
      [],
    ]),
    ...[6, 17, 132].map((Protocol, at): (typeof cases)[number] => [
      `protocol ${Protocol}`,
      10,
      entry({ hostPorts: [{ HostPort: 53, HostIP: '', ContainerPort: 53, Protocol }] }),
      { host_ports: [{ protocol: ['tcp', 'udp', 'sctp'][at], host_port: 53 }] },
      [/host ports 53/],
    ]),
  ];
  for (const [name, version, pod, spec, expected] of cases) {
    const { specs, problems } = importGoState(file({ [key]: pod }, version));
    t.match(specs, [spec], name);
    t.equal(problems.length, expected.length, name);
    for (const [i, pattern] of expected.entries()) t.match(problems[i], pattern, name);
  }
});

t.test('an entry that cannot be used is named and costs no other', async (t) => {
  const cases: [name: string, key: string, pod: unknown, problem: RegExp][] = [
    ['null', 'k', null, /^k: re-create the pod, its entry cannot be read/],
    [
      'no addresses',
      'k',
      entry({ containerIps: null }),
      /^k: re-create the pod: pod default\/web-1 eth0: container_ips/,
    ],
    ['an address that is none', 'k', entry({ containerIps: [''] }), /container_ips\[0\]\.address/],
    [
      'a mask with holes',
      'k',
      entry({ routes: [{ IP: '10.0.0.0', Mask: '/wD/AA==' }] }),
      /container_routes\[0\] "10\.0\.0\.0\/mask \/wD\/AA=="/,
    ],
    ['no mask', 'k', entry({ routes: [{ IP: '10.0.0.0', Mask: null }] }), /container_routes\[0\]/],
    ['a field of another type', 'k', entry({ mtu: '1440' }), /cannot be read: .*mtu/s],
    ['the key of another pod', 'k', entry(), /^k: re-create the pod, its entry is that of another/],
    [
      'a secondary network',
      'k',
      entry({ interfaceName: 'net1', networkName: 'blue' }),
      /re-create the pod: .* names a secondary network: set multinetEnabled .*, or take the interface off/,
    ],
    [
      'a protocol that is none',
      'k',
      entry({ hostPorts: [{ HostPort: 53, HostIP: '', ContainerPort: 53, Protocol: 99 }] }),
      /protocol "number 99" is not TCP, UDP or SCTP/,
    ],
    [
      'a memif on a secondary network',
      'k',
      entry({ interfaceName: 'memif1', networkName: 'blue' }),
      /names a secondary network/,
    ],
  ];
  for (const [name, bad_key, pod, problem] of cases) {
    const { specs, problems } = importGoState(file({ [bad_key]: pod, [key]: entry() }));
    t.match(specs, [{ key }], name);
    t.equal(specs.length, 1, name);
    t.equal(problems.length, 1, name);
    t.match(problems[0], problem, name);
  }
});

t.test('a file that cannot be used is one problem', async (t) => {
  t.match(importGoState('{"version":11,"podS'), { specs: [], problems: [/is cut or damaged/] });
  t.match(importGoState(file({}, 12)), { specs: [], problems: [/is not of version 9 to 11/] });
  const binary = Buffer.concat([
    Buffer.from([0, 0, 0, 9, 0, 0, 0, 2, 0, 4]),
    Buffer.from('eth0'),
    Buffer.from([0, 20]),
    Buffer.from('/var/run/netns/cni-1\0\x01\xff/var/run/netns/cni-2\0', 'latin1'),
  ]).toString();
  t.match(importGoState(binary), {
    specs: [],
    problems: [
      /^\/var\/run\/netns\/cni-1: re-create the pod, .* release 3\.30/,
      /^\/var\/run\/netns\/cni-2: re-create/,
    ],
  });
  t.match(importGoState('\0\0\0\x08\0\0\0\0'), {
    problems: [/re-create the pods of this node, if there are any/],
  });
  t.match(importGoState('[]'), { specs: [], problems: [/is not of version 9 to 11/] });
  t.match(importGoState(JSON.stringify({ version: 11, podSpecs: null })), { specs: [], problems: [] });
});
