import { inspect } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { Faults } from '../../src/calico/fields.js';
import { bgp_configuration_kind } from '../../src/calico/kinds/bgp-configuration.js';
import { bgp_filter_kind } from '../../src/calico/kinds/bgp-filter.js';
import { bgp_peer_kind } from '../../src/calico/kinds/bgp-peer.js';
import { block_affinity_kind } from '../../src/calico/kinds/block-affinity.js';
import { endpoint_slice_kind } from '../../src/calico/kinds/endpoint-slice.js';
import { felix_configuration_kind } from '../../src/calico/kinds/felix-configuration.js';
import { ip_pool_kind } from '../../src/calico/kinds/ip-pool.js';
import { ipam_block_kind } from '../../src/calico/kinds/ipam-block.js';
import { asNumber, community, type Kind, type Picked } from '../../src/calico/kinds/kind.js';
import { network_kind } from '../../src/calico/kinds/network.js';
import { network_attachment_definition_kind } from '../../src/calico/kinds/network-attachment-definition.js';
import { node_kind } from '../../src/calico/kinds/node.js';
import { secretKind } from '../../src/calico/kinds/secret.js';
import { service_kind } from '../../src/calico/kinds/service.js';
import { service_cidr_kind } from '../../src/calico/kinds/service-cidr.js';

function pick<T>(kind: Kind<T>, spec: unknown): Picked<T> {
  return kind.pick('x', { metadata: { name: 'x' }, spec });
}

/** Kind, its spec, and what its faults say: the object is left out. */
const left_out: readonly (readonly [Kind<unknown>, unknown, RegExp])[] = [
  [bgp_peer_kind, {}, /^spec: names no peer/],
  [bgp_peer_kind, 'no object', /^spec: "no object" is not an object/],
  [bgp_peer_kind, { peerIP: '10.0.0.1' }, /^spec.asNumber: is missing/],
  [bgp_peer_kind, { peerIP: '10.0.0', asNumber: 1 }, /^spec.peerIP: "10.0.0" is not ip, ip:port/],
  [bgp_peer_kind, { peerIP: 'fd00::1:179:x', asNumber: 1 }, /^spec.peerIP/],
  [bgp_peer_kind, { peerIP: '10.0.0.1:70000', asNumber: 1 }, /^spec.peerIP/],
  [bgp_peer_kind, { peerIP: '10.0.0.1', asNumber: 2 ** 32 }, /^spec.asNumber: 4294967296 is not an AS/],
  [bgp_peer_kind, { peerIP: '10.0.0.1', asNumber: '1.70000' }, /^spec.asNumber/],
  [
    bgp_peer_kind,
    { peerIP: '10.0.0.1', peerSelector: 'all()', asNumber: 1 },
    /^spec.peerSelector: excludes peerIP/,
  ],
  [bgp_peer_kind, { peerSelector: 'all()', asNumber: 1 }, /^spec.asNumber: excludes peerSelector/],
  [
    bgp_peer_kind,
    { peerSelector: 'all()', node: 'a', nodeSelector: 'all()' },
    /^spec.nodeSelector: excludes node/,
  ],
  [bgp_peer_kind, { peerSelector: `a = 'b'` }, /^spec.peerSelector: at 2: expected ==/],
  [bgp_peer_kind, { peerSelector: 'all()', nodeSelector: '(' }, /^spec.nodeSelector: at 1/],
  [
    bgp_peer_kind,
    { peerSelector: 'all()', password: { secretKeyRef: { name: 'a' } } },
    /^spec.password: names no Secret/,
  ],
  [bgp_peer_kind, { peerSelector: 'all()', filters: ['a', 7] }, /^spec.filters\[1\]: 7 is not the name/],
  [
    bgp_peer_kind,
    { peerIP: '10.0.0.1', asNumber: 1, reachableBy: 'fd00::1' },
    /^spec.reachableBy: is of another/,
  ],
  [
    bgp_peer_kind,
    { peerIP: '10.0.0.1', asNumber: 1, reachableBy: 'next door' },
    /^spec.reachableBy: "next door"/,
  ],
  [bgp_peer_kind, { peerIP: '10.0.0.1', asNumber: 1, ttlSecurity: 300 }, /^spec.ttlSecurity/],
  [bgp_peer_kind, { peerSelector: 'all()', node: 7 }, /^spec.node: 7 is not a text/],
  [bgp_peer_kind, { peerSelector: 'all()', localASNumber: 'x' }, /^spec.localASNumber/],
  [bgp_peer_kind, { localWorkloadSelector: '(' }, /^spec.localWorkloadSelector: at 1/],
  [
    bgp_peer_kind,
    { peerSelector: 'all()', password: { secretKeyRef: { name: '', key: 'a' } } },
    /^spec.password: names no Secret/,
  ],
  [
    bgp_peer_kind,
    { peerSelector: 'all()', filters: Array(5000).fill('f') },
    /^spec.filters: has 5000 entries: only the first 4096/,
  ],
  [
    bgp_filter_kind,
    { importV4: [{ cidr: '10.0.0.0/8', matchOperator: 'In' }] },
    /importV4\[0\].action: is missing/,
  ],
  [
    bgp_filter_kind,
    { importV4: [{ cidr: '10.0.0.0/8', action: 'Accept' }] },
    /matchOperator: and cidr come together/,
  ],
  [
    bgp_filter_kind,
    { importV4: [{ cidr: '10.0.0/8', matchOperator: 'In', action: 'Accept' }] },
    /cidr: "10.0.0\/8" is not a prefix/,
  ],
  [
    bgp_filter_kind,
    { importV4: [{ cidr: 'fd00::/8', matchOperator: 'In', action: 'Accept' }] },
    /is no IPv4 prefix/,
  ],
  [
    bgp_filter_kind,
    { exportV6: [{ cidr: '10.0.0.0/8', matchOperator: 'In', action: 'Accept' }] },
    /is no IPv6 prefix/,
  ],
  [
    bgp_filter_kind,
    { exportV4: [{ action: 'Accept', prefixLength: { min: 1 } }] },
    /prefixLength: needs cidr/,
  ],
  [
    bgp_filter_kind,
    {
      exportV4: [
        { cidr: '10.0.0.0/8', matchOperator: 'In', action: 'Accept', prefixLength: { min: 9, max: 8 } },
      ],
    },
    /min above max/,
  ],
  [
    bgp_filter_kind,
    { exportV4: [{ cidr: '10.0.0.0/8', matchOperator: 'In', action: 'Accept', prefixLength: { max: 33 } }] },
    /prefixLength.max: 33 is not/,
  ],
  [
    bgp_filter_kind,
    { exportV4: [{ action: 'Reject', operations: [{ setPriority: { value: 1 } }] }] },
    /operations: change what is accepted/,
  ],
  [
    bgp_filter_kind,
    { exportV4: [{ action: 'Accept', operations: [{}] }] },
    /operations\[0\]: has to be one of/,
  ],
  [
    bgp_filter_kind,
    { exportV4: [{ action: 'Accept', operations: [{ addCommunity: {} }] }] },
    /addCommunity.value: is missing/,
  ],
  [
    bgp_filter_kind,
    { exportV4: [{ action: 'Accept', weather: 'fine' }] },
    /exportV4\[0\].weather, which is not known/,
  ],
  [ip_pool_kind, {}, /^spec.cidr: is missing/],
  [ip_pool_kind, { cidr: '10.0.0.0/33' }, /^spec.cidr: "10.0.0.0\/33" is not a prefix/],
  [block_affinity_kind, { node: 'a', state: 'confirmed' }, /^spec.cidr: is missing/],
  [block_affinity_kind, { cidr: '10.0.0.0/26', state: 'confirmed' }, /^spec.node: is missing/],
  [block_affinity_kind, { cidr: '10.0.0.0/26', node: 'a', state: 'odd' }, /^spec.state: "odd"/],
  [block_affinity_kind, { cidr: '10.0.0.0/26', node: 'a', deleted: 'perhaps' }, /^spec.deleted: "perhaps"/],
  [ipam_block_kind, { allocations: [] }, /^spec.cidr: is missing/],
  [ipam_block_kind, { cidr: '10.0.0.0/26', allocations: [0, 'x'] }, /^spec.allocations\[1\]: "x" is not/],
];

t.test(
  'an object that would be another one without what is wrong with it is left out, and says why',
  async (t) => {
    for (const [kind, spec, fault] of left_out) {
      const { value, faults } = pick(kind, spec);
      t.equal(value, undefined, `${kind.name} ${JSON.stringify(spec)}`);
      t.match(faults[0], fault);
    }
  },
);

t.test(
  'a pool whose packets’ way cannot be read says what is not to be announced, and nothing else',
  async (t) => {
    for (const [modes, fault] of [
      [{ ipipMode: 'Sometimes' }, /^spec.ipipMode: "Sometimes" is not one of Never/],
      [{ ipipMode: 'Always', vxlanMode: 'Always' }, /^spec.vxlanMode: excludes ipipMode/],
    ] as const) {
      const { value, faults } = pick(ip_pool_kind, { cidr: '10.0.0.0/16', disableBGPExport: true, ...modes });
      t.match(value, { faulty: true, disable_bgp_export: true });
      t.match(faults[0], fault);
    }
    const odd = pick(ip_pool_kind, { cidr: '10.0.0.0/16', disableBGPExport: 'yes' });
    t.match(odd.value, { disable_bgp_export: true }, 'what cannot be read may forbid it');
    t.match(odd.faults[0], /disableBGPExport/);
    t.notOk(pick(ip_pool_kind, { cidr: '10.0.0.0/16' }).value?.faulty);
  },
);

t.test('BGPPeer: each field', async (t) => {
  const spec = {
    node: 'a',
    peerIP: '[FD00:0::1]:1790',
    asNumber: '1.10',
    localASNumber: 65_001,
    nextHopMode: 'Self',
    keepOriginalNextHop: true,
    password: { secretKeyRef: { name: 'bgp', key: 'tor' } },
    sourceAddress: 'None',
    maxRestartTime: '2m0s',
    keepaliveTime: '1m30.5s',
    numAllowedLocalASNumbers: 1,
    ttlSecurity: 3,
    reachableBy: 'fd00::fe',
    filters: ['b', 'a'],
    reversePeering: 'Manual',
    newField: {},
  };
  t.strictSame(pick(bgp_peer_kind, spec), {
    value: {
      name: 'x',
      node: 'a',
      peer_address: 'fd00::1',
      peer_port: 1790,
      as_number: 65_546,
      local_as_number: 65_001,
      next_hop_mode: 'Self',
      password: { name: 'bgp', key: 'tor' },
      source_address: 'None',
      max_restart_ms: 120_000,
      keepalive_ms: 90_500,
      allowed_local_as: 1,
      ttl_security_hops: 3,
      reachable_by: 'fd00::fe',
      filters: ['b', 'a'],
      reverse_peering: 'Manual',
      unknown_fields: ['spec.newField'],
    },
    faults: [],
  });
  const usual = {
    next_hop_mode: 'Auto',
    source_address: 'UseNodeIP',
    filters: [],
    reverse_peering: 'Auto',
    unknown_fields: [],
  };
  t.strictSame(
    pick(bgp_peer_kind, { peerSelector: 'all()', nodeSelector: 'has(a)', asNumber: 0, peerIP: '', node: '' }),
    {
      value: { name: 'x', node_selector: 'has(a)', peer_selector: 'all()', ...usual },
      faults: [],
    },
  );
  t.match(pick(bgp_peer_kind, { localWorkloadSelector: 'has(a)', asNumber: 5 }).value, {
    local_workload_selector: 'has(a)',
  });
  t.match(pick(bgp_peer_kind, { peerSelector: 'all()', keepOriginalNextHop: true }).value, {
    next_hop_mode: 'Keep',
  });
  t.match(pick(bgp_peer_kind, { peerIP: '10.0.0.1:1790', asNumber: 5 }).value, {
    peer_address: '10.0.0.1',
    peer_port: 1790,
  });
  const odd = pick(bgp_peer_kind, { peerSelector: 'all()', maxRestartTime: 'a while', nextHopMode: 'Other' });
  t.match(odd.value, { peer_selector: 'all()', next_hop_mode: 'Auto' }, 'without what may be left out');
  t.match(odd.faults, [
    /spec.nextHopMode: "Other" is not one of Auto, Self, Keep/,
    /spec.maxRestartTime: "a while"/,
  ]);
});

t.test('a password that stands where its reference belongs is in no fault', async (t) => {
  for (const password of [
    'hunter2',
    { secretKeyRef: 'hunter2' },
    { secretKeyRef: { name: { v: 'hunter2' } } },
    ['hunter2'],
  ]) {
    const peer = pick(bgp_peer_kind, { peerSelector: 'all()', password });
    const configuration = pick(bgp_configuration_kind, { nodeMeshPassword: password });
    t.match(peer.faults, [/^spec.password: names no Secret/]);
    t.match(configuration.faults, [/^spec.nodeMeshPassword: names no Secret/]);
    t.notMatch(inspect([peer, configuration], { depth: 9 }), /hunter2/);
  }
});

t.test('BGPConfiguration: each field; an entry that is wrong costs itself alone', async (t) => {
  const spec = {
    asNumber: 64_513,
    nodeToNodeMeshEnabled: false,
    listenPort: 1790,
    logSeverityScreen: 'Info',
    serviceClusterIPs: [{ cidr: '10.96.0.0/12' }, { cidr: 'here' }],
    serviceExternalIPs: [{ cidr: '192.0.2.1/32' }],
    serviceLoadBalancerIPs: [{ cidr: 'FD00::/64' }],
    serviceLoadBalancerAggregation: 'Disabled',
    communities: [
      { name: 'anycast', value: '65000:100' },
      { name: 'broken', value: '70000:1' },
    ],
    prefixAdvertisements: [{ cidr: '10.0.0.0/16', communities: ['anycast', '1:2:3', 'unheard-of'] }],
    nodeMeshPassword: { secretKeyRef: { name: 'mesh', key: 'p' } },
    nodeMeshMaxRestartTime: '90s',
    bindMode: 'NodeIP',
    ignoredInterfaces: ['eth*'],
    localWorkloadPeeringIPV4: '169.254.1.2',
    localWorkloadPeeringIPV6: 'fe80::1',
    programClusterRoutes: 'Enabled',
    ipv4NormalRoutePriority: 1024,
    ipv6NormalRoutePriority: 1025,
    ipv4ElevatedRoutePriority: 512,
    ipv6ElevatedRoutePriority: 513,
    newField: 1,
  };
  t.strictSame(pick(bgp_configuration_kind, spec), {
    value: {
      name: 'x',
      as_number: 64_513,
      mesh_enabled: false,
      listen_port: 1790,
      log_severity: 'Info',
      service_cluster_prefixes: ['10.96.0.0/12'],
      service_external_prefixes: ['192.0.2.1/32'],
      service_load_balancer_prefixes: ['fd00::/64'],
      load_balancer_aggregation: 'Disabled',
      prefix_advertisements: [{ prefix: '10.0.0.0/16', communities: ['65000:100', '1:2:3'] }],
      mesh_password: { name: 'mesh', key: 'p' },
      mesh_restart_ms: 90_000,
      bind_mode: 'NodeIP',
      ignored_interfaces: ['eth*'],
      local_workload_peering_ip4: '169.254.1.2',
      local_workload_peering_ip6: 'fe80::1',
      program_cluster_routes: 'Enabled',
      priority4: 1024,
      priority6: 1025,
      elevated_priority4: 512,
      elevated_priority6: 513,
      unknown_fields: ['spec.newField'],
    },
    faults: [
      'spec.serviceClusterIPs[1].cidr: "here" is not a prefix such as 10.0.0.0/16',
      'spec.communities[1].value: "70000:1" is not a community such as 65000:100 or 65000:1:2',
      'spec.prefixAdvertisements[0].communities[2]: "unheard-of" is not a community such as 65000:100 or 65000:1:2, or the name of one',
    ],
  });
});

t.test('BGPFilter: each field of a rule', async (t) => {
  const rule = {
    cidr: '10.0.0.0/8',
    matchOperator: 'in',
    prefixLength: { min: 16, max: 24 },
    source: 'RemotePeers',
    interface: 'eth*',
    peerType: 'eBGP',
    communities: { values: ['65000:1'] },
    asPathPrefix: [65_001, '1.0'],
    priority: 1024,
    operations: [
      { addCommunity: { value: '1:2:3' } },
      { prependASPath: { prefix: [65_000] } },
      { setPriority: { value: 512 } },
    ],
    action: 'Accept',
  };
  const { value, faults } = pick(bgp_filter_kind, {
    importV4: [rule, { action: 'Reject' }],
    exportV6: [{ action: 'Accept' }],
  });
  t.strictSame(faults, []);
  t.strictSame(value?.import4, [
    {
      prefix: '10.0.0.0/8',
      operator: 'In',
      length_min: 16,
      length_max: 24,
      source: 'RemotePeers',
      interface: 'eth*',
      peer_type: 'eBGP',
      communities: ['65000:1'],
      as_path_prefix: [65_001, 65_536],
      priority: 1024,
      operations: [{ add_community: '1:2:3' }, { prepend_as_path: [65_000] }, { set_priority: 512 }],
      action: 'Accept',
    },
    { communities: [], as_path_prefix: [], operations: [], action: 'Reject' },
  ]);
  t.equal(value?.export6.length, 1);
  t.strictSame([value?.import6, value?.export4], [[], []]);
});

t.test('IPPool: modes in any spelling, host bits cleared', async (t) => {
  t.strictSame(
    pick(ip_pool_kind, {
      cidr: '10.0.1.0/16',
      ipipMode: 'CrossSubnet',
      vxlanMode: '',
      natOutgoing: true,
      disabled: true,
      disableBGPExport: true,
      blockSize: 26,
      nodeSelector: 'all()',
      allowedUses: ['Workload', 'Dancing'],
    }),
    {
      value: {
        name: 'x',
        prefix: '10.0.0.0/16',
        ipip: 'CrossSubnet',
        vxlan: 'Never',
        nat_outgoing: true,
        disabled: true,
        disable_bgp_export: true,
        block_size: 26,
        allowed_uses: ['Workload'],
      },
      faults: ['spec.allowedUses[1]: "Dancing" is not one of Workload, Tunnel, LoadBalancer'],
    },
  );
  t.match(pick(ip_pool_kind, { cidr: 'fd00::/48', vxlanMode: 'always' }).value, {
    vxlan: 'Always',
    nat_outgoing: false,
  });
});

t.test('BlockAffinity: deletion is a text in one API and a flag in the other', async (t) => {
  for (const [deleted, expected] of [
    ['true', true],
    ['false', false],
    ['', false],
    [true, true],
    [false, false],
    [undefined, false],
  ])
    t.strictSame(pick(block_affinity_kind, { cidr: '10.0.0.0/26', node: 'a', state: 'confirmed', deleted }), {
      value: { prefix: '10.0.0.0/26', node: 'a', type: 'host', confirmed: true, deleted: expected },
      faults: [],
    });
  t.match(
    pick(block_affinity_kind, { cidr: 'fd00::/122', node: 'a', state: 'pending', type: 'virtual' }).value,
    {
      type: 'virtual',
      confirmed: false,
    },
  );
  t.match(pick(block_affinity_kind, { cidr: 'fd00::/122', node: 'a' }).value, { confirmed: false });
});

t.test('IPAMBlock: only addresses that another node uses are kept', async (t) => {
  const attributes = [
    { handle_id: 'pod', secondary: { node: 'a', pod: 'p' } },
    { handle_id: 'borrowed', secondary: { node: 'b' } },
    { handle_id: 'nobody' },
  ];
  const allocations = [0, 1, null, 2, 1, 9];
  t.strictSame(
    pick(ipam_block_kind, {
      cidr: '10.0.0.64/26',
      affinity: 'host:a',
      attributes,
      allocations,
      deleted: false,
    }),
    {
      value: {
        prefix: '10.0.0.64/26',
        node: 'a',
        borrowed: [
          { address: '10.0.0.65', node: 'b' },
          { address: '10.0.0.68', node: 'b' },
        ],
        deleted: false,
      },
      faults: [],
    },
  );
  t.match(
    pick(ipam_block_kind, { cidr: 'fd00::40/122', affinity: 'virtual:lb', attributes, allocations }).value,
    {
      node: undefined,
      borrowed: [
        { address: 'fd00::40', node: 'a' },
        { address: 'fd00::41', node: 'b' },
        { address: 'fd00::44', node: 'b' },
      ],
    },
  );
  const beyond = pick(ipam_block_kind, { cidr: '10.0.0.0/31', attributes, allocations: [null, null, 1] });
  t.strictSame(beyond.value?.borrowed, [], 'no address behind the end of the block');
});

t.test('FelixConfiguration: only what is used', async (t) => {
  t.strictSame(
    pick(felix_configuration_kind, {
      vxlanVNI: 4097,
      vxlanPort: 8472,
      wireguardEnabled: true,
      wireguardListeningPortV6: 51_821,
      workloadSourceSpoofing: 'Any',
      bpfEnabled: true,
      ipipMTU: 'big',
    }),
    {
      value: {
        name: 'x',
        vxlan_vni: 4097,
        vxlan_port: 8472,
        wireguard_enabled: true,
        wireguard_port6: 51_821,
        workload_source_spoofing: 'Any',
      },
      faults: ['spec.ipipMTU: "big" is not a whole number from 0 to 65535'],
    },
  );
});

t.test('Node: annotations, labels of both, addresses of the status', async (t) => {
  const key = `${'A'.repeat(43)}=`;
  const node = {
    metadata: {
      name: 'a',
      labels: { zone: 'kubernetes', role: 'w', odd: 7 },
      annotations: {
        'projectcalico.org/labels': '{"zone":"calico","rack":"r1","bad":7}',
        'projectcalico.org/IPv4Address': '10.0.0.2/24',
        'projectcalico.org/IPv6Address': 'FD00::2',
        'projectcalico.org/ASNumber': '1.10',
        'projectcalico.org/RouteReflectorClusterID': '244.0.0.1',
        'projectcalico.org/IPv4IPIPTunnelAddr': '10.1.0.1',
        'projectcalico.org/VXLANTunnelMACAddr': '66:AA:00:00:00:01',
        'projectcalico.org/WireguardPublicKey': key,
        'other.io/secret': 'x',
      },
    },
    status: {
      images: [{ names: ['big'] }],
      addresses: [
        { type: 'Hostname', address: 'a' },
        { type: 'ExternalIP', address: '203.0.113.1' },
        { type: 'InternalIP', address: '10.0.0.2' },
        { type: 'ExternalIP', address: 'fd00::9' },
      ],
    },
  };
  t.strictSame(node_kind.pick('a', node), {
    value: {
      name: 'a',
      labels: { zone: 'kubernetes', rack: 'r1', role: 'w' },
      ip4: { address: '10.0.0.2', prefix: '10.0.0.0/24' },
      ip6: { address: 'fd00::2', prefix: 'fd00::2/128' },
      status_ip4: '10.0.0.2',
      status_ip6: 'fd00::9',
      as_number: 65_546,
      cluster_id: '244.0.0.1',
      ipip_tunnel_ip4: '10.1.0.1',
      vxlan_mac: '66:aa:00:00:00:01',
      wireguard_key: key,
    },
    faults: [],
  });
  const odd = node_kind.pick('a', {
    metadata: {
      annotations: {
        'projectcalico.org/IPv4Address': 'fd00::1/64',
        'projectcalico.org/labels': 'no JSON',
        'projectcalico.org/WireguardPublicKey': 'short',
      },
    },
  });
  t.strictSame(odd.value, { name: 'a', labels: {} });
  t.strictSame(Object.keys(odd.value!), ['name', 'labels'], 'what is absent takes no room');
  const going = (more: Record<string, unknown>) => node_kind.pick('a', more).value?.going;
  t.equal(going({ metadata: { deletionTimestamp: '2030-01-01T00:00:00Z' } }), true);
  t.equal(
    going({ spec: { taints: [{ key: 'x' }, { key: 'ToBeDeletedByClusterAutoscaler', value: '1' }] } }),
    true,
  );
  t.equal(
    going({ spec: { unschedulable: true, taints: [{ key: 'node.kubernetes.io/unschedulable' }] } }),
    undefined,
  );
  t.equal(odd.faults.length, 3);
});

t.test('Secret: values show themselves to nobody by accident, and differ by content', async (t) => {
  const kind = secretKind('calico-vpp-dataplane', 'bgp');
  const encoded = (text: string | Buffer): string => Buffer.from(text).toString('base64');
  const secret = (data: unknown) => kind.pick('bgp', { metadata: { name: 'bgp' }, data });
  const picked = secret({
    tor: encoded('pass'),
    binary: encoded(Buffer.from([0xff])),
    long: encoded('x'.repeat(5000)),
    odd: 7,
  });
  t.equal(picked.value?.get('tor')?.reveal(), 'pass');
  t.strictSame([...(picked.value?.keys() ?? [])], ['tor']);
  t.match(picked.faults, [/^data.binary: is no text/, /^data.long: is no text/, /^data.odd: is no text/]);
  t.notMatch(`${inspect(picked, { depth: 9 })}${JSON.stringify([...picked.value!])}`, /pass|cGFzcw/);
  const same = (a: string, b: string) =>
    kind.same!(secret({ k: encoded(a) }).value!, secret({ k: encoded(b) }).value!);
  t.equal(same('one', 'one'), true);
  t.equal(same('one', 'two'), false);
  t.equal(kind.same!(secret({}).value!, secret({ k: encoded('one') }).value!), false);
  t.strictSame([...(secret(undefined).value?.keys() ?? ['none'])], []);
});

t.test('Service: each field; D10: none that is headless or an ExternalName', async (t) => {
  const service = {
    metadata: {
      name: 'web',
      creationTimestamp: '2030-01-01T00:00:01Z',
      annotations: {
        'cni.projectcalico.org/vppLBType': 'MaglevDSR',
        'cni.projectcalico.org/vppHashConfig': 'dstAddr , SRCADDR',
        'cni.projectcalico.org/vppKeepOriginalPacket': 'True',
        'extensions.projectcalico.org/network': 'blue',
      },
    },
    spec: {
      type: 'LoadBalancer',
      clusterIP: '10.96.0.7',
      clusterIPs: ['10.96.0.7', 'FD00:96::7'],
      externalIPs: ['203.0.113.1'],
      externalTrafficPolicy: 'Local',
      internalTrafficPolicy: 'Cluster',
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
      healthCheckNodePort: 30_100,
      loadBalancerSourceRanges: ['198.51.100.9/24'],
      ports: [
        { name: 'http', port: 80, targetPort: 'web', nodePort: 30_080 },
        { name: 'dns', port: 53, protocol: 'UDP', nodePort: 0 },
      ],
    },
    status: {
      loadBalancer: {
        ingress: [{ ip: '203.0.113.9' }, { ip: '203.0.113.10', ipMode: 'Proxy' }, { hostname: 'lb.example' }],
      },
    },
  };
  t.strictSame(service_kind.pick('web', service), {
    value: {
      type: 'LoadBalancer',
      created_ms: Date.UTC(2030, 0, 1, 0, 0, 1),
      cluster_ips: ['10.96.0.7', 'fd00:96::7'],
      external_ips: ['203.0.113.1'],
      load_balancer_ips: ['203.0.113.9'],
      ports: [
        { name: 'http', protocol: 'TCP', port: 80, node_port: 30_080 },
        { name: 'dns', protocol: 'UDP', port: 53 },
      ],
      external_policy: 'Local',
      internal_policy: 'Cluster',
      affinity_ms: 60_000,
      health_port: 30_100,
      source_prefixes: ['198.51.100.0/24'],
      lb_type: 'maglevdsr',
      hash: ['srcaddr', 'dstaddr'],
      keep_original: true,
      network: 'blue',
    },
    faults: [],
  });
  const plain = { clusterIP: '10.96.0.1', ports: [{ port: 443 }] };
  t.match(pick(service_kind, plain).value, {
    type: 'ClusterIP',
    cluster_ips: ['10.96.0.1'],
    external_policy: 'Cluster',
    ports: [{ name: '', protocol: 'TCP', port: 443, node_port: undefined }],
    affinity_ms: undefined,
    load_balancer_ips: [],
  });
  t.equal(pick(service_kind, { ...plain, sessionAffinity: 'ClientIP' }).value?.affinity_ms, 10_800_000);
  t.strictSame(
    service_kind.pick('x', { spec: plain, status: service.status }).value?.load_balancer_ips,
    [],
    'what an earlier type has left in the status',
  );
  // D10: whatever else they have.
  for (const none of [
    { ...plain, type: 'ExternalName', externalName: 'example.org', externalIPs: ['203.0.113.1'] },
    { clusterIP: 'None', externalIPs: ['203.0.113.1'] },
    { clusterIP: 'None' },
    { clusterIP: 'None', clusterIPs: ['None'] },
  ])
    t.strictSame(pick(service_kind, none), { faults: [] }, 'has no address, and is well');
  const wrong = pick(service_kind, {
    clusterIPs: ['10.96.0.1', 'x'],
    externalIPs: ['1.2.3', '127.0.0.1', '169.254.169.254', 'fe80::1', 'ff02::1', '224.0.0.1', '0.0.0.0'],
    ports: [{ port: 0 }, { port: 80, protocol: 'QUIC' }, { port: 81 }],
    externalTrafficPolicy: 'Far',
    loadBalancerSourceRanges: ['all'],
  });
  t.strictSame(wrong.faults, [
    'spec.clusterIPs[1]: "x" is not an address that packets can be sent to',
    ...['1.2.3', '127.0.0.1', '169.254.169.254', 'fe80::1', 'ff02::1', '224.0.0.1', '0.0.0.0'].map(
      (each, at) => `spec.externalIPs[${at}]: "${each}" is not an address that packets can be sent to`,
    ),
    'spec.ports[0].port: 0 is not a whole number from 1 to 65535',
    'spec.ports[1].protocol: "QUIC" is not one of TCP, UDP, SCTP',
    'spec.externalTrafficPolicy: "Far" is not one of Cluster, Local',
    'spec.loadBalancerSourceRanges[0]: "all" is not a prefix such as 10.0.0.0/16',
  ]);
  t.match(wrong.value, { cluster_ips: ['10.96.0.1'], ports: [{ port: 81 }], external_policy: 'Cluster' });
  t.strictSame(wrong.value?.external_ips, []);
  const annotations = {
    'cni.projectcalico.org/vppLBType': 'random',
    'cni.projectcalico.org/vppHashConfig': 'srcaddr,colour',
    'cni.projectcalico.org/vppKeepOriginalPacket': 'perhaps',
  };
  const odd = service_kind.pick('web', {
    metadata: { annotations, creationTimestamp: 'yesterday' },
    spec: plain,
    status: { loadBalancer: { ingress: [{ ip: '127.0.0.1' }] } },
  });
  t.equal(odd.faults.length, 4);
  t.match(odd.faults, [
    /^metadata.creationTimestamp: "yesterday" is not a time/,
    /vppLBType: "random" is not one of ecmp, maglev, maglevdsr/,
    /vppHashConfig: "srcaddr,colour" is not a list of srcport, /,
    /vppKeepOriginalPacket: "perhaps" is not one of true, false/,
  ]);
  t.match(odd.value, { created_ms: undefined, lb_type: undefined, hash: [], keep_original: undefined });
  const balanced = service_kind.pick('web', {
    spec: { ...plain, type: 'LoadBalancer' },
    status: { loadBalancer: { ingress: [{ ip: '127.0.0.1' }, { ip: '203.0.113.1', ipMode: 'VIP' }] } },
  });
  t.strictSame(balanced.value?.load_balancer_ips, ['203.0.113.1']);
  t.equal(balanced.faults.length, 1);
  t.strictSame(pick(service_kind, { type: 'Portal' }), {
    faults: ['spec.type: "Portal" is not one of ClusterIP, NodePort, LoadBalancer, ExternalName'],
  });
});

t.test('EndpointSlice: only endpoints that flows may go to', async (t) => {
  const labels = { 'kubernetes.io/service-name': 'web' };
  const slice = (more: object) => ({
    metadata: { name: 'web-x', namespace: 'default', labels },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080 }, { port: 53, protocol: 'UDP' }, { name: 'all' }],
    ...more,
  });
  const conditions = (each: object) => ({ addresses: ['10.1.0.1'], conditions: each });
  t.strictSame(
    endpoint_slice_kind.pick(
      'web-x',
      slice({
        endpoints: [
          { addresses: ['10.1.0.1', '10.1.0.99'], nodeName: 'a' },
          {
            addresses: ['10.1.0.2'],
            hints: { forZones: [{ name: 'z' }], forNodes: [{ name: 'a' }, { name: 'b' }] },
          },
        ],
      }),
    ),
    {
      value: {
        service: 'default/web',
        family: 4,
        endpoints: [
          { address: '10.1.0.1', node: 'a' },
          { address: '10.1.0.2', for_zones: ['z'], for_nodes: ['a', 'b'] },
        ],
        ports: [
          { name: 'http', protocol: 'TCP', port: 8080 },
          { name: '', protocol: 'UDP', port: 53 },
        ],
      },
      faults: [],
    },
  );
  for (const [of, expected] of [
    [{}, 'ready'],
    [{ ready: true }, 'ready'],
    [{ ready: null }, 'ready'],
    [{ ready: true, terminating: true }, 'ready'],
    [{ ready: false }, 'none'],
    [{ ready: false, serving: true }, 'none'],
    [{ ready: false, serving: true, terminating: true }, 'draining'],
    [{ ready: false, serving: false, terminating: true }, 'none'],
    [{ ready: false, terminating: true }, 'none'],
  ] as const) {
    const { endpoints } = endpoint_slice_kind.pick('x', slice({ endpoints: [conditions(of)] })).value!;
    const [only] = endpoints;
    const found = only === undefined ? 'none' : only.draining === true ? 'draining' : 'ready';
    t.equal(found, expected, JSON.stringify(of));
  }
  t.strictSame(endpoint_slice_kind.pick('x', slice({ addressType: 'FQDN' })), { faults: [] });
  t.strictSame(endpoint_slice_kind.pick('x', slice({ metadata: { namespace: 'default' } })), { faults: [] });
  t.match(endpoint_slice_kind.pick('x', slice({ addressType: undefined })), {
    value: undefined,
    faults: ['addressType: is missing'],
  });
  const mixed = endpoint_slice_kind.pick(
    'x',
    slice({ addressType: 'IPv6', endpoints: [{ addresses: ['10.1.0.1'] }, { addresses: ['FD00::1'] }] }),
  );
  t.strictSame(mixed.value?.endpoints, [{ address: 'fd00::1' }]);
  t.strictSame(mixed.faults, [
    'endpoints[0].addresses[0]: "10.1.0.1" is not an IPv6 address that packets can be sent to',
  ]);
  const nowhere = ['127.0.0.1', '169.254.1.1', '224.0.0.1', '0.0.0.0', '255.255.255.255', 'x', 7];
  const bad = endpoint_slice_kind.pick(
    'x',
    slice({ endpoints: nowhere.map((each) => ({ addresses: [each] })) }),
  );
  t.strictSame(bad.value?.endpoints, []);
  t.equal(bad.faults.length, nowhere.length);
});

t.test('EndpointSlice: when it changed is kept, and is no change of its own', async (t) => {
  const slice = (at: unknown, address = '10.1.0.1') =>
    endpoint_slice_kind.pick('x', {
      metadata: {
        namespace: 'default',
        labels: { 'kubernetes.io/service-name': 'web' },
        annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': at },
      },
      addressType: 'IPv4',
      endpoints: [{ addresses: [address] }],
      ports: [],
    });
  const { value, faults } = slice('2030-01-01T00:00:01.5Z');
  t.equal(value?.changed_ms, Date.UTC(2030, 0, 1, 0, 0, 1, 500));
  t.strictSame(faults, []);
  t.match(slice('soon'), { value: { changed_ms: undefined }, faults: [/"soon" is not a time/] });
  const same = (a: ReturnType<typeof slice>, b: ReturnType<typeof slice>) =>
    endpoint_slice_kind.same!(a.value!, b.value!);
  t.equal(same(slice('2030-01-01T00:00:01Z'), slice('2030-01-01T00:00:02Z')), true);
  t.equal(same(slice('2030-01-01T00:00:01Z'), slice(undefined)), true);
  t.equal(same(slice('2030-01-01T00:00:01Z'), slice('2030-01-01T00:00:01Z', '10.1.0.2')), false);
});

t.test('ServiceCIDR: prefixes in one spelling', async (t) => {
  t.strictSame(pick(service_cidr_kind, { cidrs: ['10.96.0.9/12', 'FD00:96::/108'] }), {
    value: { prefixes: ['10.96.0.0/12', 'fd00:96::/108'] },
    faults: [],
  });
  t.strictSame(pick(service_cidr_kind, { cidrs: ['all', 7] }), {
    value: { prefixes: [] },
    faults: [
      'spec.cidrs[0]: "all" is not a prefix such as 10.96.0.0/16',
      'spec.cidrs[1]: 7 is not a prefix such as 10.96.0.0/16',
    ],
  });
});

t.test("D17: what is another proxy's to serve, and what has no address, is not asked for", async (t) => {
  for (const { label_selector } of [service_kind, endpoint_slice_kind])
    t.equal(label_selector, '!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless');
});

t.test('what is told of one object is bounded, and a fault is that of its own field', async (t) => {
  const spec = {
    serviceClusterIPs: Array(100).fill({ cidr: 'x' }),
    ignoredInterfaces: Array(5000).fill('eth0'),
  };
  const { value, faults } = pick(bgp_configuration_kind, spec);
  t.equal(faults.length, 16);
  t.equal(value?.ignored_interfaces.length, 4096);
  const told = new Faults();
  told.add('spec.nodeSelector', 'x');
  told.add('spec.filters[1]', 'x');
  t.strictSame(
    ['spec', 'spec.node', 'spec.nodeSelector', 'spec.filters', 'spec.filter'].map((field) =>
      told.concern(field),
    ),
    [true, false, true, true, false],
  );
  for (const bad of [{ maxRestartTime: '2h' }, { numAllowedLocalASNumbers: -1 }])
    t.equal(pick(bgp_peer_kind, { peerSelector: 'all()', ...bad }).faults.length, 1);
  t.notOk('ttl_security_hops' in pick(bgp_peer_kind, { peerSelector: 'all()', ttlSecurity: 0 }).value!);
});

t.test('AS numbers and communities', async (t) => {
  for (const [value, expected] of [
    [1, 1],
    ['65000', 65_000],
    ['65535.65535', 2 ** 32 - 1],
    ['0.1', 1],
    [0, undefined],
    ['0.0', undefined],
    [1.5, undefined],
    ['1.2.3', undefined],
    [-1, undefined],
    [null, undefined],
  ])
    t.equal(asNumber(value), expected, String(value));
  for (const [value, expected] of [
    ['1:2', '1:2'],
    ['01:2', '1:2'],
    ['65536:1', undefined],
    ['4294967295:0:1', '4294967295:0:1'],
    ['4294967296:0:1', undefined],
    ['1', undefined],
    ['1:2:3:4', undefined],
    [12, undefined],
  ])
    t.equal(community(value), expected, String(value));
});

t.test('any JSON is read without an exception, and what is told of it is bounded', async () => {
  const kinds: readonly Kind<unknown>[] = [
    node_kind,
    bgp_configuration_kind,
    bgp_peer_kind,
    bgp_filter_kind,
    ip_pool_kind,
    block_affinity_kind,
    ipam_block_kind,
    felix_configuration_kind,
    secretKind('a', 'b'),
    service_kind,
    endpoint_slice_kind,
  ];
  const names = [
    'clusterIPs',
    'ports',
    'loadBalancer',
    'sessionAffinityConfig',
    'kubernetes.io/service-name',
    'cidr',
    'peerIP',
    'importV4',
    'attributes',
    'allocations',
    'communities',
    'action',
    'operations',
    'labels',
    'annotations',
    'addresses',
    'data',
    '__proto__',
  ];
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      fc.jsonValue({ maxDepth: 0 }),
      fc.constantFrom('10.0.0.0/8', 'all()', 'Accept'),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...names), tie('tree')),
    ),
  }));
  fc.assert(
    fc.property(fc.constantFrom(...kinds), tree, tree, tree, (kind, metadata, spec, status) => {
      const slice = { addressType: 'IPv4', endpoints: spec, ports: status };
      const { faults } = kind.pick('x', { metadata, spec, status, data: spec, ...slice });
      return faults.length <= 16 && faults.every((fault) => fault.length < 500);
    }),
  );
});

t.test('Network: what it is told by, and a part that is wrong costs all of it', async (t) => {
  t.strictSame(pick(network_kind, { vni: 4097, range: '10.77.1.0/16' }), {
    value: { name: 'x', vni: 4097, range: '10.77.0.0/16', physical_network: '' },
    faults: [],
  });
  for (const spec of [
    {},
    { vni: 0 },
    { vni: 2 ** 24 },
    { vni: 1, range: 'x' },
    { vni: 1, physicalNetworkName: 7 },
  ]) {
    const { value, faults } = pick(network_kind, spec);
    t.equal(value, undefined);
    t.equal(faults.length, 1);
  }
});

t.test('NetworkAttachmentDefinition: the network of its plugins', async (t) => {
  const of = (config: unknown) =>
    pick(network_attachment_definition_kind, {
      config: typeof config === 'string' ? config : JSON.stringify(config),
    });
  const plugin = (network_name: unknown) => ({ type: 'calico', dataplane_options: { network_name } });
  t.strictSame(of({ plugins: [{ type: 'x' }, plugin('red')] }), { value: { network: 'red' }, faults: [] });
  t.strictSame(of(plugin('red')).value, { network: 'red' }, 'one plugin without a list');
  for (const others of [{}, { plugins: 7 }, { plugins: [null, 3, plugin(7)] }])
    t.strictSame(of(others), { value: { network: '' }, faults: [] }, 'of others');
  for (const [config, fault] of [
    ['{"plugins": [', /is no JSON: correct it/],
    ['[]', /is no JSON object/],
    [{ plugins: [plugin('red'), plugin('blue')] }, /names the networks red, blue/],
    ['['.repeat(100_000), /is no JSON/],
  ] as const) {
    const { value, faults } = of(config);
    t.equal(value, undefined);
    t.match(faults, [fault]);
  }
});
