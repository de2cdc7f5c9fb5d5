import fc from 'fast-check';
import { parseVersion } from 'gobgp-grpc-stubs';
import t from 'tap';
import { isWithin } from '../../src/bgp/local-paths.js';
import { peerMessage } from '../../src/bgp/peer-state.js';
import { routerId } from '../../src/bgp/settings.js';
import { isUnicast } from '../../src/ip/spelling.js';
import { at, planOf } from './cluster.js';

const password = { secretKeyRef: { name: 'bgp', key: 'pw' } };
const reflector = { 'projectcalico.org/RouteReflectorClusterID': '244.0.0.1' };

t.test('a router id is an IPv4 address that no peer refuses', async (t) => {
  t.equal(routerId('192.0.2.9', 'n', '10.0.0.1'), '192.0.2.9');
  t.equal(routerId(undefined, 'n', '10.0.0.1'), '10.0.0.1');
  t.equal(routerId('fd00::9', 'n', '10.0.0.1'), '10.0.0.1', 'an IPv6 address is none');
  t.not(routerId('hash', 'n', '10.0.0.1'), '10.0.0.1');
  t.equal(routerId('hash', 'n', '10.0.0.1'), routerId(undefined, 'n', undefined));
  fc.assert(fc.property(fc.string(), (name) => isUnicast(routerId('hash', name, undefined))));
});

t.test('GoBGP: a node without IPv4 has an identifier', async (t) => {
  const plan = planOf({ more: { addresses: { ip6: 'fd00::1' } }, nodes: { n: at(1), m: at(2) } });
  t.match(plan.global.router_id, /^\d+\.\d+\.\d+\.\d+$/);
  t.same(plan.addresses, ['fd00::2']);
});

t.test('configuration: every field of both objects is read', async (t) => {
  const default_ = { asNumber: 64_600, listenPort: 1790, logSeverityScreen: 'Debug', bindMode: 'NodeIP' };
  const { global, settings } = planOf({ configurations: { default: default_ } });
  t.match(global, { asn: 64_600, listen_port: 1790, listen_addresses: ['fd00::1', '10.0.0.1'] });
  t.equal(settings.log_severity, 'Debug');
  const own = planOf({
    configurations: {
      default: default_,
      'node.n': { asNumber: 64_601, listenPort: 1791, logSeverityScreen: 'Error' },
    },
  });
  t.match(own.global, { asn: 64_601, listen_port: 1791 });
  t.equal(own.settings.log_severity, 'Error');
  const quiet = planOf({ configurations: { default: default_, 'node.n': { listenPort: 1791 } } });
  t.equal(quiet.settings.log_severity, 'Debug', 'a level that is not there takes none away');
  const annotated = planOf({
    nodes: { n: at(1, { 'projectcalico.org/ASNumber': '65010' }) },
    configurations: { 'node.n': { asNumber: 64_601 } },
  });
  t.equal(annotated.global.asn, 65_010, 'the annotation of the Node comes first');
  t.match(planOf({}).global, { asn: 64_512, listen_port: 179, listen_addresses: ['::', '0.0.0.0'] });
  t.same(planOf({ more: { ip4_only: true } }).global.listen_addresses, ['0.0.0.0']);
});

t.test('what a BGPConfiguration says in vain is told by name', async (t) => {
  const { troubles } = planOf({
    configurations: {
      default: {
        ignoredInterfaces: ['eth1'],
        localWorkloadPeeringIPV4: '10.0.0.9',
        localWorkloadPeeringIPV6: 'fd00::9',
        programClusterRoutes: 'Enabled',
        ipv4ElevatedRoutePriority: 512,
        ipv6ElevatedRoutePriority: 512,
        newest: true,
      },
      'node.n': {
        ...{ nodeToNodeMeshEnabled: false, nodeMeshPassword: password, nodeMeshMaxRestartTime: '1s' },
        ...{ serviceClusterIPs: [{ cidr: '10.96.0.0/12' }], serviceLoadBalancerAggregation: 'Disabled' },
        ...{ serviceExternalIPs: [{ cidr: '203.0.113.0/24' }] },
        ...{ serviceLoadBalancerIPs: [{ cidr: '198.18.0.0/24' }] },
      },
    },
  });
  const fields = (object: string) => troubles[object]?.map((line) => line.split(':')[0]).sort();
  t.same(fields('BGPConfiguration default'), [
    ...['spec.ignoredInterfaces', 'spec.ipv4ElevatedRoutePriority', 'spec.ipv6ElevatedRoutePriority'],
    ...[
      'spec.localWorkloadPeeringIPV4',
      'spec.localWorkloadPeeringIPV6',
      'spec.newest',
      'spec.programClusterRoutes',
    ],
  ]);
  t.same(fields('BGPConfiguration node.n'), [
    ...['spec.nodeMeshMaxRestartTime', 'spec.nodeMeshPassword', 'spec.nodeToNodeMeshEnabled'],
    ...['spec.serviceClusterIPs', 'spec.serviceExternalIPs'],
    ...['spec.serviceLoadBalancerAggregation', 'spec.serviceLoadBalancerIPs'],
  ]);
});

t.test('the mesh is of all nodes but reflectors, in the families that both have', async (t) => {
  const nodes = {
    n: at(1),
    a: at(2),
    b: at(3, reflector),
    c: { annotations: { 'projectcalico.org/IPv4Address': '10.0.0.4/24' } },
  };
  const plan = planOf({
    nodes: { ...nodes, d: {} },
    configurations: {
      default: { nodeMeshMaxRestartTime: '33s' },
      'node.a': { listenPort: 1790, asNumber: 65_099 },
    },
  });
  t.same(plan.addresses, ['10.0.0.2', '10.0.0.4', 'fd00::2']);
  t.match(plan.peers.get('10.0.0.2'), {
    ...{
      port: 1790,
      as_number: 65_099,
      local_as: 64_512,
      local_address: '10.0.0.1',
      restart_s: 33,
      filters: [],
    },
    passive: true,
  });
  t.same(planOf({ nodes, configurations: { default: { nodeToNodeMeshEnabled: false } } }).addresses, []);
  t.same(planOf({ nodes: { ...nodes, n: at(1, reflector) } }).addresses, [], 'a reflector is in no mesh');
  t.same(
    planOf({ nodes: { n: at(9), a: at(2) }, more: { addresses: { ip4: '10.0.0.9' } } }).peers.get('10.0.0.2')
      ?.passive,
    false,
  );
});

t.test('peers: ports, fields, TTL, labels, AS, nodes that come again', async (t) => {
  const spec = {
    peerIP: '10.0.0.9:1790',
    asNumber: 65_001,
    localASNumber: 65_002,
    maxRestartTime: '45s',
    keepaliveTime: '1500ms',
    numAllowedLocalASNumbers: 2,
    ttlSecurity: 1,
    sourceAddress: 'None',
    nextHopMode: 'Self',
    reachableBy: '10.0.0.250',
    filters: ['a', 'b'],
  };
  const plan = planOf({ peers: { tor: spec }, filters: { a: {}, b: {} } });
  const peer = plan.peers.get('10.0.0.9')!;
  t.strictSame(peer, {
    ...{
      address: '10.0.0.9',
      port: 1790,
      as_number: 65_001,
      local_as: 65_002,
      passive: false,
      restart_s: 45,
    },
    ...{ keepalive_s: 2, hold_s: 6, allowed_local_as: 2, ttl_security_hops: 1, next_hop_mode: 'Self' },
    ...{ filters: ['a', 'b'], reachable_by: '10.0.0.250', by: 'BGPPeer tor' },
  });
  t.same([...plan.gateways], [['10.0.0.9/32', '10.0.0.250']]);
  t.match(peerMessage(peer, true), {
    conf: { neighbor_address: '10.0.0.9', peer_asn: 65_001, local_asn: 65_002, allow_own_asn: 2 },
    transport: { remote_port: 1790, passive_mode: false },
    timers: { config: { hold_time: 6, keepalive_interval: 2 } },
    ttl_security: { enabled: true, ttl_min: 254 },
    graceful_restart: { enabled: true, restart_time: 45, deferral_time: 10, local_restarting: true },
  });
  t.notOk('local_address' in peerMessage(peer, false).transport!);
  t.match(peerMessage({ ...peer, ttl_security_hops: undefined! }, false), {
    ebgp_multihop: { enabled: true, multihop_ttl: 255 },
    ttl_security: undefined,
  });

  const selected = {
    far: { peerSelector: "rack == 'b'", nodeSelector: "rack == 'a'", reversePeering: 'Manual' },
  };
  const mesh_off = { default: { nodeToNodeMeshEnabled: false } };
  const among = (own: string, as?: number) =>
    planOf({
      configurations: mesh_off,
      peers: selected,
      nodes: {
        n: at(1, {}, { rack: own }),
        m: at(2, as === undefined ? {} : { 'projectcalico.org/ASNumber': String(as) }, { rack: 'b' }),
      },
    });
  t.same(among('a').addresses, ['10.0.0.2', 'fd00::2']);
  t.same(among('c').addresses, [], 'a label changes whom a node peers with');
  t.equal(among('a', 65_009).peers.get('10.0.0.2')?.as_number, 65_009);
  t.same(
    planOf({ configurations: mesh_off, peers: { x: { node: 'other', peerIP: '10.0.0.9', asNumber: 1 } } })
      .addresses,
    [],
  );

  const twice = planOf({
    peers: {
      b: { peerIP: '10.0.0.9', asNumber: 2 },
      a: { peerIP: '10.0.0.9', asNumber: 1, node: 'n' },
      c: { peerIP: '10.0.0.9', asNumber: 3, node: 'n' },
    },
  });
  t.equal(twice.peers.get('10.0.0.9')?.as_number, 2, 'that for all nodes counts, and nothing flaps');
  t.match(twice.troubles, {
    'BGPPeer a': [/10\.0\.0\.9 is a peer by BGPPeer b already/],
    'BGPPeer c': [/BGPPeer b/],
  });

  const odd = planOf({
    peers: { pods: { localWorkloadSelector: 'all()' }, six: { peerIP: 'fd00::9', asNumber: 1, newest: 1 } },
    more: { addresses: { ip4: '10.0.0.1' } },
  });
  t.same(odd.addresses, []);
  t.match(odd.troubles, {
    'BGPPeer pods': [/spec\.localWorkloadSelector: is not supported/],
    'BGPPeer six': [/spec\.newest: is not known/, /no IPv6 address/],
  });
});

t.test('of two nodes that have one another by an object for all nodes, one opens the session', async (t) => {
  const passive = (spec: object, own = '10.0.0.1') =>
    planOf({
      configurations: { default: { nodeToNodeMeshEnabled: false } },
      nodes: { n: at(1), m: at(2) },
      peers: { x: { asNumber: 64_512, ...spec } },
      more: { addresses: { ip4: own } },
    }).peers.get('10.0.0.2')?.passive;
  t.equal(passive({ peerIP: '10.0.0.2' }), true);
  t.equal(passive({ peerIP: '10.0.0.2' }, '10.0.0.3'), false);
  t.equal(passive({ peerIP: '10.0.0.2', node: 'n' }), false, 'the other end may have no such object');
});

t.test('two nodes with one address are one peer, and told', async (t) => {
  const plan = planOf({ nodes: { n: at(1), a: at(2), b: at(2), c: at(1) } });
  t.same(plan.addresses, ['10.0.0.2', 'fd00::2']);
  t.match(plan.troubles, { 'Node b': [/10\.0\.0\.2 is Node a's/], 'Node c': [/is this node's/] });
});

t.test('route reflectors: clients, other reflectors, and peers that peer back', async (t) => {
  const nodes = {
    n: at(1, reflector, { rr: '' }),
    leaf: at(2),
    same: at(3, reflector, { rr: '' }),
    other: at(4, { 'projectcalico.org/RouteReflectorClusterID': '244.0.0.2' }, { rr: '' }),
  };
  const peers = { up: { peerSelector: 'has(rr)' } };
  const plan = planOf({ nodes, peers });
  const cluster = (address: string) => plan.peers.get(address)?.cluster_id;
  t.equal(cluster('10.0.0.2'), '244.0.0.1', 'a leaf that peers with reflectors is peered back, as a client');
  t.equal(cluster('10.0.0.3'), undefined, 'of one cluster none is the client of another');
  t.equal(cluster('10.0.0.4'), '244.0.0.1');
  t.match(peerMessage(plan.peers.get('10.0.0.2')!, false).route_reflector, {
    route_reflector_client: true,
    route_reflector_cluster_id: '244.0.0.1',
  });
  const manual = planOf({
    nodes,
    peers: { up: { peerSelector: 'has(rr)', nodeSelector: '!has(rr)', reversePeering: 'Manual' } },
  });
  t.same(manual.addresses, []);
});

t.test('secrets: a peer waits for its password, and one that is there stays', async (t) => {
  const tor = { peerIP: '10.0.0.9', asNumber: 65_001, password, filters: ['f'], reachableBy: '10.0.0.250' };
  const peers = { tor };
  const filters = { f: { exportV4: [{ action: 'Reject' }] } };
  for (const [secrets, why] of [
    [{}, /waits for the Secret bgp/],
    [{ bgp: undefined }, /there is no Secret bgp/],
    [{ bgp: { other: 'x' } }, /has no key pw/],
    [{ bgp: { pw: 'x'.repeat(81) } }, /has 81 bytes: TCP takes at most 80/],
  ] as const) {
    const plan = planOf({ peers, filters, secrets });
    t.match(plan.peers.get('10.0.0.9'), { pending: true, filters: ['f'] });
    t.notOk(plan.peers.get('10.0.0.9')?.password);
    t.match(
      statements(plan, 'export').filter(({ concern }) => concern === '10.0.0.9'),
      [{ route_action: 'reject' }],
      'its filters are there before it is',
    );
    t.same([...plan.gateways], [['10.0.0.9/32', '10.0.0.250']]);
    t.same(plan.secrets, ['bgp'], 'it is asked for as long as it is wanted');
    t.match(plan.troubles, { 'BGPPeer tor': [why] });
  }
  const plan = planOf({ peers, filters, secrets: { bgp: { pw: 'hidden' } } });
  t.equal(plan.peers.get('10.0.0.9')?.password?.reveal(), 'hidden');
  t.notMatch(JSON.stringify([plan, [...plan.peers]]), /hidden/);
  const mesh = planOf({
    nodes: { n: at(1), m: at(2) },
    configurations: { default: { nodeMeshPassword: password } },
    secrets: { bgp: { pw: 'hidden' } },
  });
  t.equal(mesh.peers.get('10.0.0.2')?.password?.reveal(), 'hidden');
});

t.test('own paths have communities and priority as they are configured', async (t) => {
  const { paths, troubles } = planOf({
    configurations: {
      default: {
        communities: [{ name: 'pods', value: '65000:1' }],
        prefixAdvertisements: [
          { cidr: '10.1.0.0/16', communities: ['pods', '65000:1:2'] },
          { cidr: '10.1.1.0/24', communities: ['65000:9', 'pods'] },
        ],
        ipv6NormalRoutePriority: 1000,
      },
    },
    local: [
      { prefix: '10.1.1.0/26' },
      { prefix: '10.2.0.0/26' },
      { prefix: 'fd01::/122' },
      { prefix: '10.3.0.0/26', announced: false },
    ],
  });
  t.same(paths.get('10.1.1.0/26'), {
    prefix: '10.1.1.0/26',
    next_hop: '10.0.0.1',
    communities: ['65000:1', '65000:1:2', '65000:9'],
    local_pref: 2_147_482_623,
  });
  t.same(paths.get('10.2.0.0/26')?.communities, []);
  t.match(paths.get('fd01::/122'), { next_hop: 'fd00::1', local_pref: 2_147_482_647 });
  t.notOk(paths.has('10.3.0.0/26'));
  t.same(troubles, {});
  t.match(planOf({ local: [{ prefix: 'fd01::/122' }], more: { addresses: { ip4: '10.0.0.1' } } }).troubles, {
    'BlockAffinity b': [/no IPv6 address/],
  });
});

t.test('a prefix within another', async (t) => {
  for (const [inner, outer, expected] of [
    ['10.1.2.0/24', '10.1.0.0/16', true],
    ['10.1.0.0/16', '10.1.2.0/24', false],
    ['10.1.2.0/24', '10.1.2.0/24', true],
    ['10.1.4.0/23', '10.1.0.0/22', false],
    ['10.1.3.128/25', '10.1.0.0/22', true],
    ['fd00::1/128', 'fd00::/127', true],
    ['fd00::2/128', 'fd00::/127', false],
    ['10.0.0.0/8', '0.0.0.0/0', true],
    ['::/0', '0.0.0.0/0', false],
  ] as const)
    t.equal(isWithin(inner, outer), expected, `${inner} in ${outer}`);
});

/** Statements of a policy in short: whom it concerns, what it is, what it does. */
function statements(plan: ReturnType<typeof planOf>, direction: 'import' | 'export') {
  const { policies, sets } = plan.policies;
  const by_name = new Map([...sets].map((set) => [set.name, set]));
  return [...(policies.find(({ name }) => name === `calico-${direction}`)?.statements ?? [])].map(
    ({ name, conditions, actions }) => {
      const [, concern, , what] = name.split(' ');
      const set = conditions?.prefix_set && by_name.get(conditions.prefix_set.name);
      const prefixes = [...(set?.prefixes ?? [])].map(
        ({ ip_prefix, mask_length_min, mask_length_max }) =>
          `${ip_prefix} ${mask_length_min}-${mask_length_max}`,
      );
      const lists = (['community_set', 'large_community_set', 'as_path_set'] as const).flatMap((field) => {
        const named = conditions?.[field];
        return named ? [...(by_name.get(named.name)?.list ?? [])] : [];
      });
      return {
        concern,
        what,
        ...(prefixes.length > 0 && { prefixes, match: conditions?.prefix_set?.type }),
        ...(lists.length > 0 && { lists }),
        ...(conditions?.route_type && { route_type: conditions.route_type }),
        ...(conditions?.local_pref_eq && { local_pref: conditions.local_pref_eq.value }),
        ...actions,
      };
    },
  );
}

t.test('route policy: nothing of others is told but what is of the pools', async (t) => {
  const plan = planOf({
    pools: {
      all: { cidr: '10.1.0.0/16' },
      off: { cidr: '10.1.8.0/24', disableBGPExport: true },
      on: { cidr: '10.1.8.128/25' },
      six: { cidr: 'fd01::/48' },
    },
    local: [
      { prefix: '10.1.1.0/26' },
      { prefix: '10.1.2.7/32' },
      { prefix: '10.96.0.0/16', source: 'service' },
    ],
    configurations: { default: { serviceExternalIPs: [{ cidr: '203.0.113.0/24' }] } },
  });
  t.strictSame(statements(plan, 'export'), [
    {
      concern: 'all',
      what: 'own-4',
      prefixes: ['10.1.1.0/26 26-26', '10.1.2.7/32 32-32', '10.96.0.0/16 16-16'],
      match: 'any',
      route_action: 'accept',
    },
    {
      concern: 'all',
      what: 'own-block-4',
      prefixes: ['10.1.1.0/26 27-32'],
      match: 'any',
      route_action: 'reject',
    },
    {
      concern: 'all',
      what: 'pool-4',
      prefixes: ['10.1.8.128/25 25-32'],
      match: 'any',
      route_action: 'accept',
    },
    // The longest pool of a route decides: the family with the longest goes first.
    { concern: 'all', what: 'pool-6', prefixes: ['fd01::/48 48-128'], match: 'any', route_action: 'accept' },
    {
      concern: 'all',
      what: 'pool-not-exported-4',
      prefixes: ['10.1.8.0/24 24-32'],
      match: 'any',
      route_action: 'reject',
    },
    { concern: 'all', what: 'pool-4', prefixes: ['10.1.0.0/16 16-32'], match: 'any', route_action: 'accept' },
  ]);
  t.same(statements(plan, 'import'), []);
  const rr = planOf({
    nodes: { n: at(1, reflector) },
    configurations: { default: { serviceExternalIPs: [{ cidr: '203.0.113.0/24' }] } },
  });
  t.match(statements(rr, 'export').at(-1), {
    what: 'reflected-4',
    prefixes: ['203.0.113.0/24 24-32'],
    route_action: 'accept',
  });
});

t.test('what gobgpd announces and may not be removed yet is announced on', async (t) => {
  const plan = planOf({ local: [{ prefix: '10.1.1.0/26' }], more: { kept_prefixes: ['10.96.0.0/12'] } });
  t.match(statements(plan, 'export')[0], {
    what: 'own-4',
    prefixes: ['10.1.1.0/26 26-26', '10.96.0.0/12 12-12'],
  });
  t.notOk(plan.paths.has('10.96.0.0/12'));
});

t.test('next hops: only what differs from BGP’s own way is said', async (t) => {
  const modes = (asNumber: number, nextHopMode: string) =>
    statements(planOf({ peers: { p: { peerIP: '10.0.0.9', asNumber, nextHopMode } } }), 'export').filter(
      ({ concern }) => concern === '10.0.0.9',
    );
  for (const [as, mode] of [
    [64_512, 'Auto'],
    [64_512, 'Keep'],
    [65_001, 'Auto'],
    [65_001, 'Self'],
  ] as const)
    t.same(modes(as, mode), []);
  t.match(modes(64_512, 'Self'), [{ nexthop: { self: true } }]);
  t.match(modes(65_001, 'Keep'), [{ nexthop: { unchanged: true } }]);
});

t.test('filters: operators, lengths, order and missing fields', async (t) => {
  const peer = { peerIP: '10.0.0.9', asNumber: 65_001, filters: ['f'] };
  const ruled = (
    rules: readonly object[],
    more: object = {},
    version = '4.8.0',
    direction: 'import' | 'export' = 'import',
  ) => {
    const filters = { f: { [`${direction}V4`]: rules, [`${direction}V6`]: [{ action: 'Reject' }] } };
    const plan = planOf({
      peers: { p: { ...peer, ...more } },
      filters,
      more: { version: parseVersion(version)! },
    });
    return { plan, list: statements(plan, direction).filter(({ concern }) => concern === '10.0.0.9') };
  };
  const only = (rule: object, more: object = {}) =>
    ruled([{ action: 'Reject', ...rule }], more).list.map(({ concern, what, ...rest }) => rest);
  const reject = { route_action: 'reject' };
  const cidr = '10.1.0.0/16';
  for (const [rule, expected] of [
    [
      { cidr, matchOperator: 'Equal' },
      { prefixes: ['10.1.0.0/16 16-16'], match: 'any' },
    ],
    [
      { cidr, matchOperator: 'NotEqual' },
      { prefixes: ['10.1.0.0/16 16-16'], match: 'invert' },
    ],
    [
      { cidr, matchOperator: 'In' },
      { prefixes: ['10.1.0.0/16 16-32'], match: 'any' },
    ],
    [
      { cidr, matchOperator: 'NotIn' },
      { prefixes: ['10.1.0.0/16 16-32'], match: 'invert' },
    ],
    [
      { cidr, matchOperator: 'In', prefixLength: { min: 24 } },
      { prefixes: ['10.1.0.0/16 24-32'], match: 'any' },
    ],
    [
      { cidr, matchOperator: 'In', prefixLength: { max: 24 } },
      { prefixes: ['10.1.0.0/16 16-24'], match: 'any' },
    ],
    [{ cidr, matchOperator: 'NotIn', prefixLength: { min: 8, max: 12 } }, {}],
    [{}, {}],
    [{ communities: { values: ['65000:1'] } }, { lists: ['^65000:1$'] }],
    [{ communities: { values: ['65000:1:2'] } }, { lists: ['^65000:1:2$'] }],
    [{ asPathPrefix: [65_001, 65_002] }, { lists: ['^65001_65002_'] }],
    [{ source: 'RemotePeers' }, {}],
    [{ peerType: 'eBGP' }, {}],
    [{ priority: 1024 }, { local_pref: 2_147_482_623 }],
  ] as const)
    t.strictSame(only(rule), [{ ...expected, ...reject }], JSON.stringify(rule));
  for (const rule of [
    { cidr, matchOperator: 'In', prefixLength: { max: 12 } },
    { cidr, matchOperator: 'Equal', prefixLength: { min: 17 } },
    { peerType: 'iBGP' },
    { interface: 'eth*' },
  ])
    t.same(only(rule), [], `${JSON.stringify(rule)} fits nothing`);
  t.same(only({ communities: { values: ['65000:1', '65000:1:2'] } }).length, 2, 'either kind of community');

  const { plan, list } = ruled([{ interface: 'eth*', action: 'Reject' }, { action: 'Accept' }]);
  t.match(plan.troubles, { 'BGPFilter f': [/spec\.importV4\[0\]\.interface: is not supported/] });
  t.match(list, [{ route_action: 'accept' }]);

  const order = planOf({
    peers: { p: { ...peer, filters: ['b', 'a'] } },
    filters: { a: { exportV4: [{ action: 'Reject' }] }, b: { exportV4: [{ action: 'Accept' }] } },
    local: [{ prefix: '10.1.1.0/26' }],
  });
  t.same(
    statements(order, 'export')
      .map(({ what }) => what)
      .slice(0, 3),
    ['filter:b', 'filter:a', 'own-4'],
    'filters in their order, and before what is said of own blocks',
  );

  const missing = planOf({ peers: { p: peer } });
  for (const direction of ['import', 'export'] as const)
    t.match(
      statements(missing, direction)[0],
      { concern: '10.0.0.9', what: 'filter:f', ...reject },
      'fails closed',
    );
  t.match(missing.troubles, { 'BGPPeer p': [/there is no BGPFilter f/] });

  const old = ruled([{ priority: 7, action: 'Accept' }, { action: 'Accept' }], {}, '3.10.0');
  t.match(old.list, [reject]);
  t.match(old.plan.troubles, { 'BGPFilter f': [/importV4\[0\]\.priority: needs gobgpd 4/] });

  t.same(
    ruled([{ source: 'RemotePeers', action: 'Reject' }], {}, '4.8.0', 'export').list.map(
      ({ route_type }) => route_type,
    ),
    ['internal', 'external'],
  );
  t.same(
    ruled([{ asPathPrefix: [65_002], action: 'Reject' }], {}, '4.8.0', 'export').list.map(
      ({ lists }) => lists,
    ),
    [['^64512_65002_']],
    'towards another AS the own one is in front by then',
  );
  const names = plan.policies.policies.flatMap(({ statements: each = [] }) =>
    [...each].map(({ name }) => name),
  );
  t.equal(new Set(names).size, names.length, 'names of statements are unique over all policies');
});

t.test('operations: the last statement decides, those before prepend', async (t) => {
  const plan = planOf({
    peers: { p: { peerIP: '10.0.0.9', asNumber: 64_512, filters: ['f'] } },
    filters: {
      f: {
        exportV4: [
          {
            action: 'Accept',
            asPathPrefix: [65_009],
            operations: [
              { addCommunity: { value: '65000:1' } },
              { addCommunity: { value: '65000:1:2' } },
              { setPriority: { value: 100 } },
              { prependASPath: { prefix: [65_001, 65_002, 65_002] } },
            ],
          },
        ],
      },
    },
  });
  const [first, last] = statements(plan, 'export');
  t.match(first, { as_prepend: { asn: 65_002, repeat: 2 }, lists: ['^65009_'] });
  t.notOk(first && 'route_action' in first);
  t.match(last, {
    as_prepend: { asn: 65_001, repeat: 1 },
    lists: ['^65002_65002_65009_'],
    route_action: 'accept',
    community: { type: 'add', communities: ['65000:1'] },
    large_community: { type: 'add', communities: ['65000:1:2'] },
    local_pref: { value: 2_147_483_547 },
  });
});
