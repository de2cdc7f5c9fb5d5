import t from 'tap';
import type { IpPool } from '../../src/calico/kinds/ip-pool.js';
import type { CalicoNode } from '../../src/calico/kinds/node.js';
import { Secret } from '../../src/config/secret.js';
import { allowedPrefixes } from '../../src/desired/allowed-prefixes.js';
import { Connectivity } from '../../src/desired/connectivity.js';
import {
  Outlook,
  type OwnNode,
  type TunnelSettings,
  tunnel_settings_default,
} from '../../src/desired/remote-route.js';
import { PeerNodes, type WireguardSettings } from '../../src/desired/wireguard.js';
import { bitsOf, holds } from '../../src/ip/bits.js';
import { keyOf, type VppObject } from '../../src/objects/object.js';
import { pods_table, type Route } from '../../src/objects/routing.js';
import { allowed_max, type WireguardPeer } from '../../src/objects/wireguard.js';

const key = (byte: number): string => Buffer.alloc(32, byte).toString('base64');
const own_key = key(1);

const own: OwnNode = {
  node: { ip4: '10.0.0.1', ip6: 'fd00::1' },
  subnets: { ip4: '10.0.0.0/24', ip6: 'fd00::/64' },
  main_uplink: 'main-eth0',
  mtu: 1500,
};
const wireguard: WireguardSettings = {
  keys: { public_key: own_key, private_key: new Secret('never shown') },
  families: [4, 6],
  port: 51_820,
  mtu: 0,
  keepalive_s: 0,
};

const pool = (prefix: string, changes: Partial<IpPool> = {}): IpPool => ({
  name: prefix,
  prefix,
  ipip: 'Never',
  vxlan: 'Never',
  nat_outgoing: false,
  disabled: false,
  disable_bgp_export: false,
  allowed_uses: [],
  ...changes,
});

const node = (name: string, number: number, public_key?: string, key6 = public_key): CalicoNode => ({
  name,
  labels: {},
  ip4: { address: `10.0.0.${number}`, prefix: '10.0.0.0/24' },
  ip6: { address: `fd00::${number}`, prefix: 'fd00::/64' },
  ...(public_key && { wireguard_key: public_key }),
  ...(key6 && { wireguard_key6: key6 }),
});

/** Every order that whoever programs VPP is given, and what is wanted by them. */
class Lab {
  readonly plan = new Connectivity();
  readonly nodes = new PeerNodes('own');
  readonly wanted = new Map<string, VppObject>();
  readonly orders: string[] = [];

  constructor(settings: Partial<TunnelSettings> = { wireguard }) {
    this.look(settings);
    this.plan.setPool('four', pool('10.244.0.0/16', { ipip: 'Always' }));
    this.plan.setPool('six', pool('fd10::/48'));
  }

  look(settings: Partial<TunnelSettings>, changes: Partial<OwnNode> = {}): void {
    const outlook = new Outlook({ ...own, ...changes }, { ...tunnel_settings_default, ...settings });
    this.take(this.nodes.setOwnKey(settings.wireguard?.keys.public_key));
    this.plan.setOutlook(outlook);
  }

  put(told: CalicoNode, port = 51_820): void {
    this.take(this.nodes.set(told.name, told, port));
  }

  take(names: Iterable<string>): void {
    for (const name of names) this.plan.setPeer(name, this.nodes.peer(name));
  }

  readonly sink = {
    want: (object: VppObject): void => {
      this.orders.push(`want ${keyOf(object)}`);
      this.wanted.set(keyOf(object), object);
    },
    unwant: (object: VppObject): void => {
      this.orders.push(`unwant ${keyOf(object)}`);
      if (!this.wanted.delete(keyOf(object))) throw new Error(`${keyOf(object)} was not wanted`);
    },
  };

  all(): readonly string[] {
    this.orders.length = 0;
    while (!this.plan.plan(3, this.sink));
    return this.orders;
  }

  fuller(): void {
    this.plan.planPeers(Infinity, this.sink);
  }

  path(prefix: string, table_id = 0): string | undefined {
    const route = this.wanted.get(`route:connectivity/${table_id}/${prefix}`) as Route | undefined;
    return route?.paths
      .map((path) => (path.via === 'interface' ? `${path.interface} ${path.next_hop}` : path.via))
      .join();
  }

  peer(public_key: string): WireguardPeer | undefined {
    return this.wanted.get(`wireguard_peer:${public_key}`) as WireguardPeer | undefined;
  }

  get faults(): Readonly<Record<string, string>> {
    return Object.fromEntries([...this.plan.faults(), ...this.nodes.faults()]);
  }
}

t.test(
  'one interface, and a node that has a key is one peer with its prefixes of both families',
  async (t) => {
    const lab = new Lab();
    lab.put(node('two', 2, key(2)));
    lab.plan.setRoute('10.244.2.0/26', ['10.0.0.2']);
    lab.plan.setRoute('fd10::80/122', ['fd00::2']);
    lab.plan.setRoute('172.30.0.0/16', ['10.0.0.2']);
    const orders = lab.all();
    t.match(lab.wanted.get('wireguard_interface:wireguard'), { src: '10.0.0.1', port: 51_820 });
    t.match(lab.wanted.get('interface_mtu:wireguard'), { mtu: 1440 });
    t.strictSame(lab.peer(key(2)), {
      kind: 'wireguard_peer',
      interface: 'wireguard',
      public_key: key(2),
      endpoint: '10.0.0.2',
      port: 51_820,
      keepalive_s: 0,
      allowed: ['10.0.0.2/32', '10.244.2.0/26', 'fd00::2/128', 'fd10::80/122'],
    });
    t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2', 'in place of IPIP');
    t.equal(lab.path('fd10::80/122'), 'wireguard fd00::2', 'over IPv4');
    t.equal(lab.path('10.0.0.2/32', 2), 'wireguard 10.0.0.2', 'pods reach the node by it');
    t.equal(lab.path('10.0.0.2/32'), undefined, 'its own packets do not');
    t.equal(lab.path('172.30.0.0/16'), 'next_hop', 'what is in no pool goes as ever');
    t.ok(
      orders.indexOf(`want wireguard_peer:${key(2)}`) <
        orders.indexOf('want route:connectivity/0/10.244.2.0/26'),
      'the peer is there before what leads by it',
    );
    t.strictSame(lab.all(), [], 'nothing is left to do');
    t.strictSame(lab.faults, {});
  },
);

t.test('a burst of blocks is one change of the peer', async (t) => {
  const lab = new Lab();
  lab.put(node('two', 2, key(2)));
  lab.all();
  for (let block = 0; block < 200; block += 1) {
    lab.plan.setRoute(`10.244.${block}.64/26`, ['10.0.0.2']);
    t.notOk(lab.all().some((order) => order.includes('wireguard_peer')));
  }
  t.ok(lab.plan.peers_wait);
  lab.orders.length = 0;
  lab.fuller();
  t.strictSame(lab.orders, [`want wireguard_peer:${key(2)}`]);
  t.equal(lab.peer(key(2))?.allowed.length, 202);
  t.notOk(lab.plan.peers_wait);
});

t.test(
  'a node without a key, or one that encrypts one family alone, is reached as ever for the rest',
  async (t) => {
    const lab = new Lab();
    lab.put(node('two', 2));
    lab.put(node('three', 3, key(3), ''));
    for (const number of [2, 3]) {
      lab.plan.setRoute(`10.244.${number}.0/26`, [`10.0.0.${number}`]);
      lab.plan.setRoute(`fd10::${number}:0/122`, [`fd00::${number}`]);
    }
    // By a router, of whom nobody says anything.
    lab.plan.setRoute('10.244.9.0/26', ['10.0.0.99']);
    lab.all();
    t.equal(lab.path('10.244.9.0/26'), 'ipip-10.0.0.99 10.0.0.99');
    t.equal(lab.path('10.244.2.0/26'), 'ipip-10.0.0.2 10.0.0.2');
    t.equal(lab.path('10.244.3.0/26'), 'wireguard 10.0.0.3');
    t.equal(lab.path('fd10::3:0/122'), 'next_hop');
    // Its key comes, and goes.
    lab.put(node('two', 2, key(2)));
    lab.all();
    t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
    lab.put(node('two', 2));
    const orders = [...lab.all()];
    t.equal(lab.path('10.244.2.0/26'), 'ipip-10.0.0.2 10.0.0.2');
    t.ok(
      orders.indexOf('want route:connectivity/0/10.244.2.0/26') <
        orders.indexOf(`unwant wireguard_peer:${key(2)}`),
      'its routes lead elsewhere first',
    );
  },
);

t.test(
  'a cluster that is toggled has each peer planned once, in pieces, and before what leads by them',
  async (t) => {
    const lab = new Lab({});
    const nodes = Array.from({ length: 60 }, (_, at) => at + 2);
    for (const n of nodes) {
      lab.put(node(`n${n}`, n, key(n)));
      for (const block of [0, 64, 128]) lab.plan.setRoute(`10.244.${n}.${block}/26`, [`10.0.0.${n}`]);
    }
    lab.all();
    // What was told before is planned, and no peer is there yet.
    lab.fuller();
    lab.look({ wireguard });
    lab.orders.length = 0;
    t.notOk(lab.plan.plan(16, lab.sink), 'not all of it at once');
    const [peers, routes] = ['wireguard_peer:', 'route:'].map(
      (kind) => () => lab.orders.filter((order) => order.startsWith(`want ${kind}`)).length,
    ) as [() => number, () => number];
    t.ok(peers() > 0 && peers() < nodes.length, `${peers()} peers`);
    t.equal(routes(), 0, 'no route before the last peer');
    while (!lab.plan.plan(16, lab.sink));
    t.equal(peers(), nodes.length);
    for (const n of nodes) t.equal(lab.path(`10.244.${n}.64/26`), `wireguard 10.0.0.${n}`);
    t.notOk(lab.plan.peers_wait, 'each was planned with all that leads by it');

    for (const n of nodes) lab.plan.setRoute(`10.244.${n}.192/26`, [`10.0.0.${n}`]);
    lab.all();
    t.notOk(lab.plan.planPeers(10, lab.sink), 'likewise with more prefixes');
    t.equal(peers(), 10);
    while (!lab.plan.planPeers(10, lab.sink));
    t.equal(peers(), nodes.length);
  },
);

t.test('where encryption is required nothing goes in clear, whatever is wrong', async (t) => {
  const lab = new Lab({ encryption_required: true });
  lab.put(node('two', 2, key(2)));
  lab.plan.setRoute('10.244.2.0/26', ['10.0.0.2']);
  lab.plan.setRoute('10.244.3.0/26', ['10.0.0.3']);
  lab.plan.setRoute('172.30.0.0/16', ['10.0.0.2']);
  lab.all();
  t.equal(lab.path('10.244.2.0/26'), 'drop', 'WireGuard is off');
  t.match(lab.faults, { 'route 10.244.2.0/26': /dropped: encryption is required.*wireguardEnabled/ });
  lab.look({ encryption_required: true, wireguard });
  lab.all();
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
  t.equal(lab.path('10.244.3.0/26'), 'drop', 'nobody has a key there');
  t.equal(lab.path('172.30.0.0/16'), 'next_hop', 'no pod has these addresses');
  lab.put(node('two', 2));
  lab.all();
  t.equal(lab.path('10.244.2.0/26'), 'drop', 'it has no key any more');
  lab.plan.setNode('10.244.2.9', true);
  lab.all();
  t.equal(lab.path('10.244.2.0/26'), undefined, 'a node comes that is in it: it would be cut off');
  t.equal(lab.path('10.244.2.0/26', pods_table), 'drop', 'what pods send there is dropped');
  lab.plan.setNode('10.244.2.9', false);
  lab.all();
  t.equal(lab.path('10.244.2.0/26'), 'drop', 'and goes');
  t.equal(lab.path('10.244.2.0/26', pods_table), undefined);
  // A next hop of the other family, which WireGuard does not have as a peer for this one.
  lab.plan.setRoute('fd10::40/122', ['10.0.0.2']);
  lab.all();
  t.equal(lab.path('fd10::40/122'), 'drop');
});

t.test('where encryption is required what pools have and no route leads to is dropped', async (t) => {
  const lab = new Lab({ encryption_required: true, wireguard });
  const of_services = pool('10.245.0.0/16', { allowed_uses: ['LoadBalancer'] });
  lab.plan.setPool('of services', of_services);
  lab.put(node('two', 2, key(2)));
  lab.plan.setNode('10.0.0.2', true);
  lab.plan.setRoute('10.244.2.0/26', ['10.0.0.2']);
  lab.all();
  t.equal(lab.path('10.244.0.0/16'), 'drop');
  t.equal(lab.path('fd10::/48'), 'drop');
  t.equal(lab.path('10.245.0.0/16'), undefined, 'pods have none of these');
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
  // A pool that is deleted, or cannot be read, is one for that, and its routes go as they went.
  const four = pool('10.244.0.0/16', { name: 'four' });
  for (const told of [undefined, four, { ...four, faulty: true } as const, undefined]) {
    lab.plan.setPool('four', told);
    lab.plan.setRoute('10.244.3.0/26', ['10.0.0.3']);
    lab.all();
    t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
    t.equal(lab.path('10.244.3.0/26'), 'drop');
    t.equal(lab.path('10.244.0.0/16'), 'drop');
    t.equal(lab.faults['IPPool four'] === undefined, told === four);
  }
  t.match(lab.faults, { 'IPPool four': /is deleted while 2 routes.*are encrypted, or dropped/ });
  // It may be faulty from the beginning.
  lab.plan.setPool('late', { ...pool('10.246.0.0/16'), name: 'late', faulty: true });
  lab.plan.setRoute('10.246.1.0/26', ['10.0.0.2']);
  lab.all();
  t.equal(lab.path('10.246.1.0/26'), 'wireguard 10.0.0.2');
  t.match(lab.faults, { 'IPPool late': /cannot be read while 1 routes/ });
  lab.plan.setPool('late', undefined);
  lab.plan.setPool('four', four);
  lab.plan.setPool('six', undefined);
  lab.plan.setPool('four', pool('10.248.0.0/16', { name: 'four' }));
  lab.all();
  t.equal(lab.path('10.248.0.0/16'), 'drop', 'it has come again with other addresses');
  t.equal(lab.path('10.244.0.0/16'), 'drop', 'pods may have those of before');
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
  t.equal(lab.path('10.244.3.0/26'), 'drop', 'not in clear');
  t.match(lab.faults, { 'IPPool four': /\(10\.244\.0\.0\/16\) is deleted while 2 routes/ });
  // More are deleted than are remembered: those to which routes lead last.
  for (let n = 0; n < 70; n += 1) {
    lab.plan.setPool(`passing ${n}`, pool(`10.250.${n}.0/24`));
    lab.all();
    lab.plan.setPool(`passing ${n}`, undefined);
    lab.all();
  }
  t.equal(lab.path('10.250.1.0/24'), undefined, 'forgotten');
  t.equal(lab.path('10.250.69.0/24'), 'drop');
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
  t.equal(lab.path('10.244.3.0/26'), 'drop');
  lab.look({ wireguard });
  lab.all();
  t.equal(lab.path('10.248.0.0/16'), undefined);
  t.equal(lab.path('fd10::/48'), undefined);
});

t.test('where encryption is required a route that cannot be is a drop, which cuts no node off', async (t) => {
  const lab = new Lab({ encryption_required: true, wireguard });
  lab.put(node('two', 2, key(2)));
  lab.plan.setNode('10.0.0.2', true);
  lab.plan.setRoute('10.244.2.0/26', ['10.0.0.2']);
  lab.all();
  // A node in it.
  lab.plan.setNode('10.244.2.5', true);
  lab.all();
  t.equal(lab.path('10.244.2.0/26'), undefined, 'this node has to reach it');
  t.equal(lab.path('10.244.2.0/26', 2), 'drop', 'pods send nothing in clear');
  t.match(lab.faults, {
    'route 10.244.2.0/26': /10\.244\.2\.5, a node/,
    'IPPool four': /with 10\.244\.2\.5 in it.*in clear, though encryption is required.*keep pools apart/,
  });
  lab.look({ encryption_required: true });
  lab.all();
  t.equal(lab.path('10.244.2.0/26'), undefined);
  t.equal(lab.path('10.244.2.0/26', 2), 'drop', 'nor without WireGuard');
  lab.plan.setRoute('10.244.2.5/32', ['10.0.0.2']);
  lab.all();
  t.equal(lab.path('10.244.2.5/32') ?? lab.path('10.244.2.5/32', 2), undefined, 'the node itself');
  lab.plan.setRoute('10.244.2.5/32', []);
  lab.look({ encryption_required: true, wireguard });
  lab.plan.setNode('10.244.2.5', false);
  lab.all();
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
  t.equal(lab.path('10.244.2.0/26', 2), undefined);
  // Through a tunnel: by a next hop that is reached by one.
  lab.put({
    name: 'far',
    labels: {},
    ip4: { address: '10.244.2.9', prefix: '10.244.2.9/32' },
    wireguard_key: key(7),
  });
  lab.plan.setRoute('10.244.7.0/26', ['10.244.2.9']);
  lab.all();
  t.equal(lab.path('10.244.7.0/26'), 'drop');
  t.match(lab.faults, { 'route 10.244.7.0/26': /to which route 10\.244\.2\.0\/26 leads by a tunnel itself/ });
});

t.test('a key that changes is another peer, and the old one goes before it comes', async (t) => {
  const lab = new Lab();
  lab.put(node('two', 2, key(2)));
  lab.plan.setRoute('10.244.2.0/26', ['10.0.0.2']);
  lab.all();
  lab.put(node('two', 2, key(3)));
  t.strictSame(
    lab.all().filter((order) => order.includes('peer')),
    [`unwant wireguard_peer:${key(2)}`, `want wireguard_peer:${key(3)}`],
  );
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2', 'its routes stay');
  // An end that moves is the same peer.
  lab.put({ ...node('two', 2, key(3)), ip4: { address: '10.0.0.9', prefix: '10.0.0.0/24' } });
  lab.plan.setRoute('10.244.2.0/26', ['10.0.0.9']);
  lab.all();
  t.equal(lab.peer(key(3))?.endpoint, '10.0.0.9');
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.9');
});

t.test('an address that two nodes have is of the peer that is meant by it, and of no other', async (t) => {
  const lab = new Lab();
  // It has an end of its own, and the IPv6 address of a node before it.
  const zwei = { ...node('zwei', 2, key(8)), ip4: { address: '10.0.0.8', prefix: '10.0.0.0/24' } };
  lab.put(node('two', 2, key(2)));
  lab.put(zwei);
  lab.plan.setRoute('10.244.2.0/26', ['10.0.0.2']);
  lab.plan.setRoute('10.244.8.0/26', ['10.0.0.8']);
  lab.plan.setRoute('fd10::80/122', ['fd00::2']);
  lab.all();
  t.strictSame(lab.peer(key(2))?.allowed, ['10.0.0.2/32', '10.244.2.0/26', 'fd00::2/128', 'fd10::80/122']);
  t.strictSame(lab.peer(key(8))?.allowed, ['10.0.0.8/32', '10.244.8.0/26']);
  // One that comes before it by its name takes its end: it is none any more, and its other address leads to nobody's peer.
  lab.put({
    name: 'alt',
    labels: {},
    ip4: { address: '10.0.0.2', prefix: '10.0.0.0/24' },
    wireguard_key: key(9),
  });
  lab.all();
  t.equal(lab.peer(key(2)), undefined);
  t.strictSame(lab.peer(key(9))?.allowed, ['10.0.0.2/32', '10.244.2.0/26']);
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
  t.equal(lab.path('fd10::80/122'), 'next_hop');
  t.match(lab.faults, { 'Node two': /has the address 10\.0\.0\.2 of Node alt, too/ });
  lab.take(lab.nodes.set('alt', undefined, 51_820));
  lab.all();
  t.strictSame(lab.peer(key(2))?.allowed, ['10.0.0.2/32', '10.244.2.0/26', 'fd00::2/128', 'fd10::80/122']);
  t.equal(lab.path('fd10::80/122'), 'wireguard fd00::2');
  t.strictSame(lab.faults, {});
});

t.test('a peer has the prefixes that go by it, and never what is for another node', async (t) => {
  const lab = new Lab();
  lab.plan.setPool('wide', pool('10.0.0.0/8'));
  for (const number of [2, 3]) {
    const told = node(number === 2 ? 'two' : 'three', number, key(number));
    lab.put(told);
    lab.plan.setNode(`10.0.0.${number}`, true);
    lab.plan.setRoute(`10.244.${number}.0/26`, [`10.0.0.${number}`]);
  }
  // A router of the same address, a node, and, beside it, a pod of the second node.
  lab.plan.setRoute('172.30.0.0/16', ['10.0.0.2']);
  lab.plan.setRoute('10.0.0.3/32', ['10.0.0.2']);
  lab.plan.setRoute('10.0.1.0/26', ['10.0.0.2']);
  lab.all();
  t.strictSame(lab.peer(key(2))?.allowed, ['10.0.0.2/32', '10.0.1.0/26', '10.244.2.0/26', 'fd00::2/128']);
  t.strictSame(lab.peer(key(3))?.allowed, ['10.0.0.3/32', '10.244.3.0/26', 'fd00::3/128']);
  // A node comes into a prefix that goes by another one: it is taken from that one at once, and given back.
  lab.put({ ...node('four', 4, key(4)), ip4: { address: '10.0.1.4', prefix: '10.0.1.0/24' } });
  lab.plan.setNode('10.0.1.4', true);
  lab.all();
  t.strictSame(lab.peer(key(2))?.allowed, ['10.0.0.2/32', '10.244.2.0/26', 'fd00::2/128']);
  t.strictSame(lab.peer(key(4))?.allowed, ['10.0.1.4/32', 'fd00::4/128']);
  lab.plan.setNode('10.0.1.4', false);
  lab.all();
  lab.fuller();
  t.match(lab.peer(key(2))?.allowed, ['10.0.0.2/32', '10.0.1.0/26']);
  // What is beside its own address, and with it would be one prefix.
  lab.plan.setNode('10.0.0.3', false);
  lab.all();
  lab.fuller();
  t.match(lab.peer(key(2))?.allowed, ['10.0.0.2/32', '10.0.0.3/32', '10.0.1.0/26']);
  lab.orders.length = 0;
  lab.fuller();
  t.strictSame(lab.orders, [], 'what is so already is not told again');
});

t.test('of two nodes with one key the first by its name is a peer, and the other is told', async (t) => {
  const lab = new Lab();
  lab.put(node('two', 2, key(2)));
  lab.put(node('three', 3, key(2)));
  lab.put(node('four', 4, own_key));
  for (const number of [2, 3, 4]) lab.plan.setRoute(`10.244.${number}.0/26`, [`10.0.0.${number}`]);
  lab.all();
  t.equal(lab.path('10.244.3.0/26'), 'wireguard 10.0.0.3');
  t.equal(lab.path('10.244.2.0/26'), 'ipip-10.0.0.2 10.0.0.2');
  t.match(lab.faults, {
    'Node two': /has the WireGuard key of node three.*wireguard\.key/,
    'Node four': /has the WireGuard key of node own/,
  });
  lab.put(node('three', 3, key(3)));
  lab.all();
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
  t.equal(lab.path('10.244.3.0/26'), 'wireguard 10.0.0.3');
});

t.test('a node with two keys, as one with the dataplane of Linux, is a peer for IPv4', async (t) => {
  const lab = new Lab();
  lab.put(node('two', 2, key(2), key(3)));
  lab.plan.setRoute('10.244.2.0/26', ['10.0.0.2']);
  lab.plan.setRoute('fd10::80/122', ['fd00::2']);
  lab.all();
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
  t.equal(lab.path('fd10::80/122'), 'next_hop');
  t.match(lab.faults, { 'Node two': /two WireGuard keys/ });
});

t.test('toggled ten times all is as it was', async (t) => {
  const lab = new Lab({});
  lab.put(node('two', 2, key(2)));
  lab.plan.setRoute('10.244.2.0/26', ['10.0.0.2']);
  lab.all();
  const clear = [...lab.wanted.keys()].sort();
  for (let turn = 0; turn < 10; turn += 1) {
    lab.look({ wireguard });
    lab.all();
    t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
    lab.look({});
    const orders = [...lab.all()];
    t.equal(orders.at(-1), 'unwant wireguard_interface:wireguard', 'behind all that leads by it');
    for (const each of [...lab.wanted.keys()]) if (/wireguard\b/.test(each)) lab.wanted.delete(each);
    t.strictSame([...lab.wanted.keys()].sort(), clear);
  }
});

t.test('a node without the family of this node’s end is no peer, and is told', async (t) => {
  const lab = new Lab();
  const { ip4: _, ...only6 } = node('two', 2, key(2));
  lab.put(only6);
  lab.plan.setRoute('fd10::80/122', ['fd00::2']);
  lab.all();
  t.equal(lab.peer(key(2)), undefined);
  t.equal(lab.path('fd10::80/122'), 'next_hop');
  t.match(lab.faults, { 'Node two': /no IPv4 address/ });
  // A node with IPv6 alone does it over IPv6, and leaves room for that.
  lab.look({ wireguard }, { node: { ip6: 'fd00::1' }, subnets: { ip6: 'fd00::/64' } });
  lab.all();
  t.equal(lab.peer(key(2))?.endpoint, 'fd00::2');
  t.equal(lab.path('fd10::80/122'), 'wireguard fd00::2');
  t.match(lab.wanted.get('interface_mtu:wireguard'), { mtu: 1420 });
  t.match(lab.wanted.get('wireguard_interface:wireguard'), { src: 'fd00::1' });
});

t.test('of a node with IPv6 alone and one with both neither is the other’s peer', async (t) => {
  const { ip4: _, ...only6 } = node('six', 6, key(6));
  const both = node('two', 2, key(2));
  const one = new Lab();
  one.look({ wireguard }, { node: { ip6: 'fd00::6' }, subnets: { ip6: 'fd00::/64' } });
  one.put(both);
  one.plan.setRoute('fd10::80/122', ['fd00::2']);
  const other = new Lab();
  other.put(only6);
  other.plan.setRoute('fd10::40/122', ['fd00::6']);
  for (const [lab, name] of [
    [one, 'two'],
    [other, 'six'],
  ] as const) {
    lab.all();
    t.notOk([...lab.wanted.keys()].some((key) => key.startsWith('wireguard_peer')));
    t.ok(lab.faults[`Node ${name}`], 'both say so');
  }
  t.equal(one.path('fd10::80/122'), 'next_hop');
  t.equal(other.path('fd10::40/122'), 'next_hop');
  t.match(one.faults, { 'Node two': /by its IPv4 address.*give this node an IPv4 address/ });
  // With one it is the same at both ends.
  one.look({ wireguard }, { node: { ip4: '10.0.0.6', ip6: 'fd00::6' } });
  other.put(node('six', 6, key(6)));
  one.all();
  other.all();
  t.equal(one.peer(key(2))?.endpoint, '10.0.0.2');
  t.equal(other.peer(key(6))?.endpoint, '10.0.0.6');
  t.strictSame({ ...one.faults, ...other.faults }, {});
});

t.test('an MTU that leaves IPv6 too little is told', async (t) => {
  const lab = new Lab({ wireguard: { ...wireguard, mtu: 1200 } });
  lab.put(node('two', 2, key(2)));
  lab.plan.setRoute('fd10::80/122', ['fd00::2']);
  lab.all();
  t.match(lab.faults, { 'tunnels WireGuard over IPv4': /MTU of 1200, and IPv6/ });
});

t.test('more prefixes than VPP has room for are taken together, and that is told', async (t) => {
  const lab = new Lab();
  lab.put(node('two', 2, key(2)));
  // No two of them are halves of one.
  for (let block = 0; block < 300; block += 1)
    lab.plan.setRoute(`10.244.${block >> 1}.${(block & 1) * 128}/26`, ['10.0.0.2']);
  lab.all();
  const allowed = lab.peer(key(2))?.allowed ?? [];
  t.ok(allowed.length <= allowed_max);
  for (let block = 0; block < 300; block += 1) {
    const bits = bitsOf(`10.244.${block >> 1}.${(block & 1) * 128}/26`);
    if (!allowed.some((prefix) => holds(bitsOf(prefix), bits))) t.fail(`block ${block} is cut off`);
  }
  t.match(lab.faults, { 'Node two': /302 prefixes.*255.*not its own/ });
});

t.test('prefixes are taken together without a loss, and never over what is kept out', async (t) => {
  t.strictSame(allowedPrefixes(['10.0.0.0/26', '10.0.0.64/26', '10.0.0.128/25', '10.0.0.7/32'], 255), {
    prefixes: ['10.0.0.0/24'],
    wider: 0,
  });
  t.strictSame(allowedPrefixes(['10.0.0.0/26', 'fd00::/64', '10.0.0.0/26'], 255)?.prefixes, [
    '10.0.0.0/26',
    'fd00::/64',
  ]);
  const apart = ['10.0.0.0/26', '10.0.0.128/26', '10.0.4.0/26'];
  t.strictSame(allowedPrefixes(apart, 2), { prefixes: ['10.0.0.0/24', '10.0.4.0/25'], wider: 2 });
  t.equal(allowedPrefixes(apart, 1, [bitsOf('10.0.2.1')]), undefined);
});

t.test('a peer of Linux’, whose packets VPP would join with what fills them up, is told', async (t) => {
  const lab = new Lab();
  lab.put({ ...node('two', 2, key(2)), wireguard_ip4: '10.244.2.1' });
  lab.put(node('three', 3, key(3)));
  for (const number of [2, 3]) lab.plan.setRoute(`10.244.${number}.0/26`, [`10.0.0.${number}`]);
  lab.look({ wireguard, gso: true });
  lab.all();
  t.match(lab.faults, { 'Node two': /arrives damaged; set gsoEnabled of CALICOVPP_DEBUG to false/ });
  t.equal(lab.path('10.244.2.0/26'), 'wireguard 10.0.0.2');
  lab.look({ wireguard, gso: false });
  lab.all();
  t.strictSame(lab.faults, {});
});

t.test('peers that may be sent less by now are planned piece by piece', async (t) => {
  const lab = new Lab();
  const count = 60;
  for (let n = 2; n < count + 2; n += 1) {
    lab.put(node(`n${n}`, n, key(n)));
    lab.plan.setRoute(`10.244.${n}.0/26`, [`10.0.0.${n}`]);
  }
  lab.all();
  lab.look({ wireguard, ipsec: { psk_version: 1 } });
  lab.all();
  lab.fuller();
  t.equal(lab.plan.peers_hold, true);
  lab.plan.releasePeers();
  t.equal(lab.plan.peers_wait, false, 'they hold it once more');
  lab.orders.length = 0;
  lab.plan.releasePeers();
  t.strictSame([lab.orders, lab.plan.peers_wait], [[], true]);
  let pieces = 0;
  do {
    pieces += 1;
    lab.orders.length = 0;
    lab.plan.planPeers(8, lab.sink);
    t.ok(lab.orders.length <= 8);
  } while (lab.plan.peers_wait);
  t.equal(pieces, Math.ceil(count / 8));
  t.strictSame(lab.peer(key(2))?.allowed, ['10.0.0.2/32', 'fd00::2/128']);
  t.equal(lab.plan.peers_hold, false);
});
