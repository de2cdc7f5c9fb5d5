import t from 'tap';
import type { Network } from '../../src/calico/kinds/network.js';
import {
  isNetworkRouteKey,
  NetworkRoutes,
  networkRouteKey,
  networkRouteOf,
} from '../../src/desired/network-routes.js';
import {
  type NetworkHere,
  networkAround,
  networkLoopback,
  networkObjects,
  networkOf,
  networksUsed,
  usableNetworks,
} from '../../src/desired/networks.js';
import { desiredPod, mtuOfNetwork } from '../../src/desired/pod.js';
import { networkOfTable, networkTables, podSlot, pods_table, podTables } from '../../src/desired/tables.js';
import { desiredNode, underlays } from '../../src/desired/uplink.js';
import { keyOf, type VppObject } from '../../src/objects/object.js';
import { OwnerIndex } from '../../src/reconcile/ownership.js';
import { nodeOf, podInputsOf, podOf, uplinkOf } from './sample.js';

const network = (name: string, vni: number, more: Partial<Network> = {}): Network => ({
  name,
  vni,
  physical_network: '',
  ...more,
});

const usable = (networks: Record<string, Network>, attachments: Record<string, string> = {}) =>
  usableNetworks({
    networks: new Map(Object.entries(networks)),
    attachments: new Map(Object.entries(attachments).map(([key, name]) => [key, { network: name }])),
    physical_networks: new Set(['', 'red-net']),
    vxlan_vni: 4096,
  });

t.test(
  'a VNI and a name are those of one network on all nodes, whether it is on this one or not',
  async (t) => {
    const networks = {
      old: network('old', 7, { physical_network: 'red-net', created_ms: 1 }),
      young: network('young', 7, { created_ms: 2 }),
      'x/old': network('old', 8, { created_ms: 3 }),
    };
    const on = (...physical_networks: string[]) =>
      usableNetworks({
        networks: new Map(Object.entries(networks)),
        attachments: new Map(),
        physical_networks: new Set(['', ...physical_networks]),
        vxlan_vni: 4096,
      });
    t.match(on('red-net').networks, [{ name: 'old', vni: 7 }]);
    t.strictSame(on().networks, [], 'what the others send by it is nobody else’s');
    t.match(on().faults, {
      'Network old': /no uplink of this node is in/,
      'Network young': /has the VNI 7, which is that of Network old/,
      'Network x/old': /has the name of another Network/,
    });
  },
);

t.test('VPP has room for so many networks, the oldest', async (t) => {
  const names = Array.from({ length: 1000 }, (_, at) => `n${at}`);
  const { networks, faults } = usable(
    Object.fromEntries(names.map((name, at) => [name, network(name, 5000 + at, { created_ms: 1000 - at })])),
  );
  t.equal(networks.length, 400);
  t.equal(Object.keys(faults).length, 600);
  t.match(faults['Network n0'], /one more than the 400/);
});

t.test('which networks can be had', async (t) => {
  t.strictSame(
    usable(
      {
        'a/red': network('red', 1, { range: '10.1.0.0/16' }),
        blue: network('blue', 2, { physical_network: 'red-net' }),
      },
      { 'x/one': 'red', 'x/other': 'red', 'x/none': '' },
    ),
    {
      networks: [
        { name: 'blue', vni: 2, physical_network: 'red-net' },
        {
          name: 'red',
          vni: 1,
          range: '10.1.0.0/16',
          physical_network: '',
        },
      ],
      faults: {},
    },
  );
  for (const [name, networks, fault] of [
    [
      'one VNI: the older one',
      { a: network('a', 1, { created_ms: 2 }), b: network('b', 1, { created_ms: 1 }) },
      /^Network a has the VNI 1, which is that of Network b/,
    ],
    ['one VNI: the first by name', { a: network('a', 1), b: network('b', 1) }, /^Network b has the VNI 1/],
    ['one name', { 'x/a': network('a', 1), 'y/a': network('a', 2) }, /^Network y\/a has the name of another/],
    ['that of Calico', { a: network('a', 4096), b: network('b', 1) }, /^Network a has the VNI 4096/],
    [
      'no such physical network',
      { a: network('a', 1, { physical_network: 'x' }), b: network('b', 2) },
      /^Network a is of the physical network x/,
    ],
  ] as const) {
    const { networks: left, faults } = usable(networks);
    t.equal(left.length, 1, name);
    t.match(
      Object.entries(faults).map((entry) => entry.join(' ')),
      [fault],
      name,
    );
  }
  t.match(usable({}, { 'x/one': 'red' }).faults, {
    'NetworkAttachmentDefinition x/one': /names the network red/,
  });
});

t.test('tables of networks are nobody else’s', async (t) => {
  for (const vni of [1, 4097, 2 ** 24 - 1]) {
    const { main, pods } = networkTables(vni);
    t.strictSame([networkOfTable(main), networkOfTable(pods)], [vni, vni]);
    t.equal(podSlot(main), undefined);
    t.ok(pods < 2 ** 32);
  }
  for (const id of [0, 1, 2, podTables(0).pod, podTables(100_000).rpf])
    t.equal(networkOfTable(id), undefined);
});

t.test('what VPP holds for a network is the node’s, and tells which one it is', async (t) => {
  const objects = networkObjects(4097);
  const owners = new OwnerIndex(objects);
  for (const object of objects) {
    t.equal(owners.of(object), 'node', keyOf(object));
    t.equal(networkOf(object), 4097, keyOf(object));
  }
  const node = desiredNode(nodeOf({ network_vnis: [4097] }), true);
  t.ok(objects.every((object) => node.some((each) => keyOf(each) === keyOf(object))));
  t.notOk(
    objects.some(
      (object) =>
        object.kind === 'route' &&
        object.paths.some((path) => path.via === 'lookup' && networkOfTable(path.table_id) === undefined),
    ),
    'nothing leads out of it',
  );
  t.strictSame(
    networksUsed({ kind: 'unnumbered', interface: 'vxlan-4097-10.0.0.3', of: networkLoopback(4097) }),
    [4097],
  );
});

t.test('where packets of networks go', async (t) => {
  const second = uplinkOf({
    name: 'eth1',
    index: 1,
    is_main: false,
    physical_network: 'far',
    mtu: 9000,
    addresses: [{ ...uplinkOf().addresses[0]!, prefix: '10.9.0.2/24' }],
  });
  const all = underlays(nodeOf({ uplinks: [uplinkOf(), second] }));
  t.match(all.get(''), { table_id: 0, ip4: '10.0.0.2', ip6: 'fd00::2', mtu: 1500 });
  t.match(all.get('far'), { ip4: '10.9.0.2', ip6: undefined, mtu: 9000 });
  t.not(all.get('far')?.table_id, 0);
});

const underlay = { table_id: 0, ip4: '10.0.0.1', ip6: 'fd00::1', mtu: 1500 };
const here = (name: string, vni: number, more: Partial<NetworkHere> = {}): NetworkHere => ({
  name,
  vni,
  range: '10.77.0.0/16',
  physical_network: '',
  underlay,
  ...more,
});
const red = here('red', 4097);
const blue = here('blue', 4098);

t.test('a pod in a network', async (t) => {
  const spec = podOf({ network_name: 'red', addresses: { ip4: ['10.77.1.5'], ip6: ['fd77::5'] } });
  const inputs = podInputsOf({
    networks: [red, blue],
    pools: { prefixes: ['10.77.0.0/16'], nat_outgoing: ['10.77.0.0/16'] },
  });
  const objects = desiredPod(spec, inputs);
  const { main, pods } = networkTables(4097);
  const tables = (of: readonly VppObject[]) =>
    new Set(
      of.flatMap((object) =>
        object.kind === 'route'
          ? [object.table_id, ...object.paths.flatMap((path) => (path.via === 'lookup' ? path.table_id : []))]
          : object.kind === 'urpf'
            ? object.table_id
            : [],
      ),
    );
  t.strictSame(tables(objects), new Set([inputs.tables.pod, main, pods]), 'is led to no other');
  t.notOk(objects.some((object) => object.kind === 'mroute'));
  t.notOk(
    objects.some((object) => object.kind === 'interface_flag' && object.flag.startsWith('snat_include')),
    'keeps its source',
  );
  t.strictSame([...new Set(objects.flatMap(networksUsed))], [4097]);

  const gone = desiredPod(spec, { ...inputs, networks: [blue] });
  t.ok(
    gone.some(({ kind }) => kind === 'tap'),
    'its network is gone: it keeps its interface',
  );
  t.notOk(
    gone.some(({ kind }) => kind === 'route'),
    'and has no way',
  );
  t.ok(
    gone.every(
      (object) => object.kind !== 'urpf' || (object.table_id === pods_table && object.mode === 'strict'),
    ),
    'nor may it send',
  );
  const with_memif = desiredPod({ ...spec, memif: { is_l3: true, ports: [] } }, inputs);
  t.strictSame([...new Set(with_memif.flatMap(networksUsed))], [4097]);

  t.equal(mtuOfNetwork(spec, { mtu: 1500, networks: [red] }), 1444, 'IPv6 around it');
  t.equal(
    mtuOfNetwork(podOf({ network_name: 'red', addresses: { ip4: ['10.77.1.5'], ip6: [] } }), {
      mtu: 1500,
      networks: [red],
    }),
    1464,
  );
  t.equal(mtuOfNetwork(podOf(), { mtu: 1480, networks: [red] }), 1480);
});

class Wanted {
  readonly objects = new Map<string, VppObject>();
  want(object: VppObject): void {
    this.objects.set(keyOf(object), object);
  }
  unwant(object: VppObject): void {
    if (!this.objects.delete(keyOf(object))) throw new Error(`${keyOf(object)} was not wanted`);
    if (object.kind === 'vxlan_tunnel')
      for (const [key, each] of this.objects)
        if ('interface' in each && each.interface === object.tag) this.objects.delete(key);
  }
  get routes(): Record<string, string> {
    return Object.fromEntries(
      [...this.objects.values()].flatMap((object) =>
        object.kind !== 'route'
          ? []
          : [
              [
                `${object.prefix} in ${networkOfTable(object.table_id)}`,
                object.paths
                  .map((path) => (path.via === 'interface' ? `${path.interface} ${path.next_hop}` : path.via))
                  .join(),
              ],
            ],
      ),
    );
  }
  get tunnels(): string[] {
    return [...this.objects.values()]
      .flatMap((object) => (object.kind === 'vxlan_tunnel' ? object.tag : []))
      .sort();
  }
}

const settings = { vxlan_port: 4789, vxlan_mtu: 0, vxlan_mtu6: 0, gso: true, policed: true };

function routesOf(networks: readonly NetworkHere[]) {
  const routes = new NetworkRoutes();
  const wanted = new Wanted();
  routes.setSettings(settings);
  routes.setNetworks(networks);
  const plan = (): Wanted => {
    while (!routes.plan(1, wanted));
    return wanted;
  };
  return { routes, plan };
}

t.test('routes of two networks with one range', async (t) => {
  const { routes, plan } = routesOf([red, blue]);
  routes.setBlock('10.77.2.0/26', '10.0.0.2');
  routes.setBlock('10.44.2.0/26', '10.0.0.2');
  routes.setRoute(networkRouteKey(4098, '10.77.3.7/32'), ['10.0.0.3']);
  const { routes: told, tunnels, objects } = plan();
  t.strictSame(told, {
    '10.77.2.0/26 in 4097': 'vxlan-4097-10.0.0.2 10.0.0.2',
    '10.77.2.0/26 in 4098': 'vxlan-4098-10.0.0.2 10.0.0.2',
    '10.77.3.7/32 in 4098': 'vxlan-4098-10.0.0.3 10.0.0.3',
  });
  t.strictSame(tunnels, ['vxlan-4097-10.0.0.2', 'vxlan-4098-10.0.0.2', 'vxlan-4098-10.0.0.3']);
  t.match(objects.get('unnumbered:vxlan-4097-10.0.0.2'), { of: networkLoopback(4097) });
  t.match(objects.get('interface_mtu:vxlan-4097-10.0.0.2'), { mtu: 1464 });

  await t.test('one of them goes, and comes back with another VNI', async (t) => {
    routes.setNetworks([blue]);
    t.strictSame(plan().tunnels, ['vxlan-4098-10.0.0.2', 'vxlan-4098-10.0.0.3']);
    t.notOk(
      [...plan().objects.values()].some((object) => networksUsed(object).includes(4097)),
      'nothing of it is left',
    );
    routes.setNetworks([{ ...red, vni: 5000 }, blue]);
    t.match(plan().routes, { '10.77.2.0/26 in 5000': 'vxlan-5000-10.0.0.2 10.0.0.2' });
    routes.setNetworks(undefined);
    t.match(plan().routes, { '10.77.2.0/26 in 5000': /vxlan/ }, 'not known is not gone');
    routes.setNetworks([red, blue]);
    plan();
  });
  await t.test('its range is another', async (t) => {
    routes.setNetworks([{ ...red, range: '10.78.0.0/16' }, blue]);
    t.notOk('10.77.2.0/26 in 4097' in plan().routes);
    routes.setNetworks([red, blue]);
    plan();
  });
  routes.setBlock('10.77.2.0/26', undefined);
  routes.setRoute(networkRouteKey(4098, '10.77.3.7/32'), []);
  t.strictSame(plan().objects.size, 0, 'all of it goes');
  t.equal(routes.counts.prefixes, 0);
});

t.test('who has told of an address last has it', async (t) => {
  const { routes, plan } = routesOf([red]);
  const [one, other] = ['two_octet_asn:1', 'two_octet_asn:2'].map((teller) =>
    networkRouteKey(4097, '10.77.3.7/32', teller),
  ) as [string, string];
  const by = (node: number) => ({ '10.77.3.7/32 in 4097': `vxlan-4097-10.0.0.${node} 10.0.0.${node}` });
  routes.setRoute(one, ['10.0.0.2']);
  t.strictSame(plan().routes, by(2));
  routes.setRoute(other, ['10.0.0.3']);
  t.strictSame(plan().routes, by(3));
  routes.setRoute(one, []);
  t.strictSame(plan().routes, by(3));
  routes.setRoute(other, []);
  t.strictSame(plan().objects.size, 0);
  t.equal(routes.counts.prefixes, 0);
});

t.test('where encryption is required nothing of a network leaves in clear', async (t) => {
  const { routes, plan } = routesOf([red]);
  routes.setBlock('10.77.2.0/26', '10.0.0.2');
  t.strictSame(plan().tunnels, ['vxlan-4097-10.0.0.2']);
  routes.setSettings({ ...settings, encryption_required: true });
  t.strictSame(plan().objects.size, 0);
  t.match([...routes.faults()].join(), /would be in clear, and CALICOVPP_ENCRYPTION is required/);
});

t.test('routes that cannot be', async (t) => {
  const { routes, plan } = routesOf([
    red,
    here('far', 7, { physical_network: 'far', underlay: { table_id: 9, ip4: '10.9.0.1', mtu: 9000 } }),
  ]);
  for (const [vni, prefix, hop, fault] of [
    [4097, '10.77.1.1/32', 'fd00::2', /of the other address family/],
    [4097, '10.77.1.2/32', 'nonsense', /cannot forward/],
    [4097, '0.0.0.0/0', '10.0.0.2', /default route/],
    [4097, '224.0.0.0/4', '10.0.0.2', /no unicast prefix/],
    [4097, 'fe80::/10', 'fd00::2', /no unicast prefix/],
    [7, 'fd77::1/128', 'fd00::2', /no address of that family for network far: give an uplink of far one/],
  ] as const) {
    routes.setRoute(networkRouteKey(vni, prefix), [hop]);
    plan();
    t.match(
      [...routes.faults()].map((each) => each.join(' ')),
      [fault],
      prefix,
    );
    routes.setRoute(networkRouteKey(vni, prefix), []);
    plan();
    t.equal(routes.counts.faulty, 0);
  }
  routes.setRoute(networkRouteKey(99, '10.1.1.1/32'), ['10.0.0.2']);
  t.strictSame(plan().objects.size, 0, 'of a network that is not there');
  routes.setRoute(networkRouteKey(4097, '10.77.1.1/32'), ['10.0.0.1']);
  t.strictSame(plan().objects.size, 0, 'what this node has told itself');
  routes.setRoute(networkRouteKey(7, '10.77.1.1/32'), ['10.9.0.2']);
  t.match(
    [...plan().objects.values()].find(({ kind }) => kind === 'vxlan_tunnel'),
    { encap_table_id: 9, src: '10.9.0.1' },
  );
  for (const text of ['network 1', 'network x 10.0.0.0/8', '10.0.0.0/8', 'network 1 x'])
    t.equal(networkRouteOf(text), undefined);
  t.ok(isNetworkRouteKey(networkRouteKey(1, '10.0.0.0/8')));
});

t.test('whose range has an address', async (t) => {
  const [old, young] = [10, 20].map((created_ms) => ({ ...red, name: `of ${created_ms}`, created_ms }));
  t.equal(networkAround('10.77.3.4', [young!, old!])?.name, 'of 10', 'the oldest');
  t.equal(networkAround('10.77.3.4', [red])?.name, 'red');
  t.equal(networkAround('10.0.0.0/8', [red])?.name, 'red');
  t.equal(networkAround('10.78.3.4', [red]), undefined);
  t.equal(networkAround('fd77::1', [red]), undefined);
});
