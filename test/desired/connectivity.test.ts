import fc from 'fast-check';
import t from 'tap';
import type { EncapsulationMode, IpPool } from '../../src/calico/kinds/ip-pool.js';
import { kinds } from '../../src/calico/kinds/kinds.js';
import { Connectivity } from '../../src/desired/connectivity.js';
import { felixFaults } from '../../src/desired/felix-faults.js';
import { Pools } from '../../src/desired/pools.js';
import type { Drop } from '../../src/desired/remote-entry.js';
import {
  Outlook,
  type OwnNode,
  type Tunnel,
  type TunnelSettings,
  tunnel_settings_default,
  tunnelMtu,
} from '../../src/desired/remote-route.js';
import { bitsOf } from '../../src/ip/bits.js';
import { canonicalPrefix } from '../../src/ip/spelling.js';
import { interfaceMade, interfacesUsed, keyOf, type VppObject } from '../../src/objects/object.js';
import type { Route } from '../../src/objects/routing.js';

const own: OwnNode = {
  node: { ip4: '10.0.0.1', ip6: 'fd00::1' },
  subnets: { ip4: '10.0.0.0/24', ip6: 'fd00::/64' },
  main_uplink: 'main-eth0',
  mtu: 1500,
};

function pool(prefix: string, changes: Partial<IpPool> = {}): IpPool {
  return {
    name: prefix,
    prefix,
    ipip: 'Never',
    vxlan: 'Never',
    nat_outgoing: false,
    disabled: false,
    disable_bgp_export: false,
    allowed_uses: [],
    ...changes,
  };
}

const block: Drop = { source: 'block', by: 'BlockAffinity own' };
const services: Drop = { source: 'service', by: 'BGPConfiguration default' };

/** Keeps what is wanted, and refuses what would hurt whoever programs it: a route through a tunnel that is not wanted. */
class Wanted {
  readonly objects = new Map<string, VppObject>();
  changes = 0;

  want(object: VppObject): void {
    this.changes += 1;
    for (const tag of interfacesUsed(object)) if (tag !== own.main_uplink) this.#need(tag);
    this.objects.set(keyOf(object), object);
  }

  unwant(object: VppObject): void {
    this.changes += 1;
    if (!this.objects.delete(keyOf(object))) throw new Error(`${keyOf(object)} was not wanted`);
    const tag = interfaceMade(object);
    if (tag === undefined) return;
    // With the tunnel goes what is set on it, and nothing may lead through it any more.
    for (const [key, other] of [...this.objects]) {
      if (!interfacesUsed(other).includes(tag)) continue;
      if (other.kind === 'route') throw new Error(`${key} leads through ${tag}, which is gone`);
      this.objects.delete(key);
    }
  }

  #need(tag: string): void {
    if (![...this.objects.values()].some((object) => interfaceMade(object) === tag))
      throw new Error(`there is no ${tag}`);
  }

  get keys(): readonly string[] {
    return [...this.objects.keys()].sort();
  }

  /** The paths of a route. */
  path(prefix: string, table_id = 0): string | undefined {
    const route = this.objects.get(`route:connectivity/${table_id}/${prefix}`) as Route | undefined;
    return route?.paths
      .map((path) => {
        if (path.via === 'interface') return `${path.interface} ${path.next_hop}`;
        return path.via === 'next_hop' ? path.next_hop : path.via;
      })
      .join(', ');
  }
}

/** Refuses a tunnel whose far end is reached by another one, at whatever moment. */
class Unnested extends Wanted {
  override want(object: VppObject): void {
    super.want(object);
    const routes = [...this.objects.values()].filter((each) => each.kind === 'route' && each.table_id === 0);
    const holds = ({ prefix }: Route, address: string): boolean => {
      if (prefix.includes(':') !== address.includes(':')) return false;
      return canonicalPrefix(`${address}${prefix.slice(prefix.indexOf('/'))}`) === prefix;
    };
    for (const { prefix, paths } of routes as readonly Route[]) {
      const around = new Set(paths.flatMap((path) => (path.via === 'interface' ? [path.next_hop] : [])));
      for (const address of around) {
        for (const other of routes as readonly Route[]) {
          if (!holds(other, address)) continue;
          for (const by of other.paths) {
            if (by.via === 'interface') throw new Error(`${prefix} leads by ${other.prefix} to ${address}`);
            if (by.via === 'next_hop') around.add(by.next_hop);
          }
        }
      }
    }
  }
}

class Lab {
  readonly plan = new Connectivity();

  constructor(
    changes: { own?: OwnNode; settings?: Partial<TunnelSettings> } = {},
    readonly wanted: Wanted = new Unnested(),
  ) {
    this.look(changes);
  }

  look(changes: { own?: OwnNode; settings?: Partial<TunnelSettings> }): void {
    this.plan.setOutlook(
      new Outlook(changes.own ?? own, { ...tunnel_settings_default, ...changes.settings }),
    );
  }

  /** Plans all, and answers how much the sink was told. */
  all(): number {
    const before = this.wanted.changes;
    while (!this.plan.plan(3, this.wanted));
    return this.wanted.changes - before;
  }

  get faults(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.plan.faults());
  }
}

t.test('without a pool that says otherwise a route leads to its next hop', async (t) => {
  const lab = new Lab();
  lab.plan.setPool('flat', pool('10.244.0.0/16'));
  lab.plan.setRoute('10.244.1.0/26', ['10.0.0.2']);
  lab.plan.setRoute('10.245.1.0/26', ['10.9.0.2']);
  lab.plan.setRoute('fd10:244::/122', ['fd00::2']);
  t.equal(lab.all(), 3);
  t.equal(lab.wanted.path('10.244.1.0/26'), '10.0.0.2');
  t.equal(lab.wanted.path('10.245.1.0/26'), '10.9.0.2');
  t.equal(lab.wanted.path('fd10:244::/122'), 'fd00::2');
  t.equal(lab.all(), 0, 'nothing is left');
  lab.plan.setRoute('10.244.1.0/26', ['10.0.0.2']);
  t.equal(lab.all(), 0, 'the same again is no change');
});

t.test('the pool says by which tunnel a route goes, and CrossSubnet whether by any', async (t) => {
  const ways: readonly [changes: Partial<IpPool>, near: string, far: string][] = [
    [{}, '10.0.0.2', '10.9.0.2'],
    [{ ipip: 'Always' }, 'ipip-10.0.0.2 10.0.0.2', 'ipip-10.9.0.2 10.9.0.2'],
    [{ ipip: 'CrossSubnet' }, '10.0.0.2', 'ipip-10.9.0.2 10.9.0.2'],
    [{ vxlan: 'Always' }, 'vxlan-4096-10.0.0.2 10.0.0.2', 'vxlan-4096-10.9.0.2 10.9.0.2'],
    [{ vxlan: 'CrossSubnet' }, '10.0.0.2', 'vxlan-4096-10.9.0.2 10.9.0.2'],
  ];
  for (const [changes, near, far] of ways) {
    const lab = new Lab();
    lab.plan.setPool('pool', pool('10.244.0.0/16', changes));
    lab.plan.setRoute('10.244.1.0/26', ['10.0.0.2']);
    lab.plan.setRoute('10.244.2.0/26', ['10.9.0.2']);
    lab.all();
    const text = JSON.stringify(changes);
    t.equal(lab.wanted.path('10.244.1.0/26'), near, text);
    t.equal(lab.wanted.path('10.244.2.0/26'), far, text);
  }
  const lab = new Lab();
  lab.plan.setPool('pool6', pool('fd10::/48', { vxlan: 'CrossSubnet' }));
  lab.plan.setRoute('fd10::40/122', ['fd00::2']);
  lab.plan.setRoute('fd10::80/122', ['fd99::2']);
  lab.all();
  t.equal(lab.wanted.path('fd10::40/122'), 'fd00::2');
  t.equal(lab.wanted.path('fd10::80/122'), 'vxlan-4096-fd99::2 fd99::2');
});

t.test('a tunnel is there once with all it needs, as long as a route goes by it', async (t) => {
  const lab = new Lab();
  lab.plan.setPool('pool', pool('10.244.0.0/16', { ipip: 'Always' }));
  lab.plan.setRoute('10.244.1.0/26', ['10.9.0.2']);
  lab.all();
  t.strictSame(lab.wanted.keys, [
    'interface_flag:ipip-10.9.0.2/admin_up',
    'interface_flag:ipip-10.9.0.2/cnat_feature',
    'interface_flag:ipip-10.9.0.2/gso_feature',
    'interface_mtu:ipip-10.9.0.2',
    'ipip_tunnel:ipip-10.9.0.2',
    'route:connectivity/0/10.244.1.0/26',
    'route:connectivity/2/10.9.0.2/32',
    'unnumbered:ipip-10.9.0.2',
  ]);
  t.match(lab.wanted.objects.get('ipip_tunnel:ipip-10.9.0.2'), { src: '10.0.0.1', dst: '10.9.0.2' });
  t.equal(lab.wanted.path('10.9.0.2/32', 2), 'ipip-10.9.0.2 10.9.0.2', 'pods reach the node itself by it');
  t.equal(lab.wanted.path('10.9.0.2/32'), undefined, 'its own packets do not');
  lab.plan.setRoute('10.244.2.0/26', ['10.9.0.2']);
  t.equal(lab.all(), 1);
  lab.plan.setRoute('10.244.1.0/26', []);
  t.equal(lab.all(), 1);
  lab.plan.setRoute('10.244.2.0/26', []);
  lab.all();
  t.strictSame(lab.wanted.keys, []);
  t.strictSame(lab.plan.counts, {
    prefixes: 0,
    routes: 0,
    far: 0,
    tunnels: 0,
    next_hops: 0,
    pools: 1,
    faulty: 0,
    policies: 0,
    peers: 0,
  });
});

t.test(
  'of two tunnels to one node the same one leads to the node itself, in whatever order they come',
  async (t) => {
    for (const order of [
      [0, 1],
      [1, 0],
    ] as const) {
      const lab = new Lab();
      lab.plan.setPool('one', pool('10.244.0.0/16', { ipip: 'Always' }));
      lab.plan.setPool('two', pool('10.245.0.0/16', { vxlan: 'Always' }));
      for (const at of order) {
        lab.plan.setRoute(`10.24${4 + at}.1.0/26`, ['10.9.0.2']);
        lab.all();
      }
      t.equal(lab.wanted.path('10.9.0.2/32', 2), 'ipip-10.9.0.2 10.9.0.2');
      lab.plan.setRoute('10.244.1.0/26', []);
      lab.all();
      t.equal(lab.wanted.path('10.9.0.2/32', 2), 'vxlan-4096-10.9.0.2 10.9.0.2');
    }
  },
);

t.test('the MTU of a tunnel leaves room for its headers, and for what Felix asks', async (t) => {
  const ipip = (dst: string): Tunnel => ({ kind: 'ipip_tunnel', tag: '', src: dst, dst });
  const vxlan = (dst: string): Tunnel => ({ kind: 'vxlan_tunnel', tag: '', src: dst, dst, vni: 1, port: 1 });
  const settings = tunnel_settings_default;
  t.equal(tunnelMtu(ipip('10.9.0.2'), own, settings), 1500 - 20);
  t.equal(tunnelMtu(ipip('fd99::2'), own, settings), 1500 - 40);
  t.equal(tunnelMtu(vxlan('10.9.0.2'), own, settings), 1500 - 20 - 8 - 8);
  t.equal(tunnelMtu(vxlan('fd99::2'), own, settings), 1500 - 40 - 8 - 8);
  t.equal(tunnelMtu(ipip('10.9.0.2'), own, { ...settings, ipip_mtu: 1400 }), 1400);
  t.equal(
    tunnelMtu(ipip('10.9.0.2'), own, { ...settings, ipip_mtu: 1401 }),
    1400,
    'no odd one, whoever asks',
  );
  t.equal(tunnelMtu(vxlan('10.9.0.2'), { ...own, mtu: 1499 }, settings), 1462, 'nor of an odd uplink');
  t.equal(tunnelMtu(ipip('10.9.0.2'), own, { ...settings, ipip_mtu: 9000 }), 1480, 'no more than there is');
  t.equal(tunnelMtu(vxlan('10.9.0.2'), own, { ...settings, vxlan_mtu: 1410, vxlan_mtu6: 1390 }), 1410);
  t.equal(tunnelMtu(vxlan('fd99::2'), own, { ...settings, vxlan_mtu: 1410, vxlan_mtu6: 1390 }), 1390);
});

t.test(
  'a tunnel never has a larger MTU than fits; one too narrow for IPv6 that goes by it is reported',
  async (t) => {
    const lab = new Lab({ own: { ...own, mtu: 1280 } });
    lab.plan.setPool('pool', pool('10.244.0.0/16', { ipip: 'Always' }));
    lab.plan.setPool('pool6', pool('fd10::/48', { vxlan: 'Always' }));
    lab.plan.setRoute('10.244.1.0/26', ['10.9.0.2']);
    lab.all();
    t.match(lab.wanted.objects.get('interface_mtu:ipip-10.9.0.2'), { mtu: 1260 });
    t.strictSame(lab.faults, {}, 'IPv4 goes by less');
    lab.plan.setRoute('fd10::40/122', ['fd99::2']);
    lab.plan.setRoute('fd10::80/122', ['fd99::2']);
    lab.all();
    t.match(lab.wanted.objects.get('interface_mtu:vxlan-4096-fd99::2'), { mtu: 1224 });
    t.match(lab.faults, { 'tunnels VXLAN over IPv6': /MTU of 1224, and IPv6, of which 2 routes/ });
    t.equal(lab.plan.counts.faulty, 1);
    lab.look({ settings: { vxlan_mtu6: 1200 } });
    lab.all();
    t.match(lab.faults, { 'tunnels VXLAN over IPv6': /MTU of 1200/ });
    lab.look({});
    lab.all();
    t.strictSame(lab.faults, {});
    lab.look({ own: { ...own, mtu: 1280 } });
    lab.plan.setPool('pool6', pool('fd10::/48'));
    lab.all();
    t.strictSame(lab.faults, {}, 'nothing goes by any');
  },
);

// --- defects of the Go implementation, each with its own test

t.test('a pool whose encapsulation changes takes its routes along at once', async (t) => {
  const lab = new Lab();
  lab.plan.setPool('pool', pool('10.244.0.0/16', { ipip: 'Always' }));
  lab.plan.setPool('other', pool('10.250.0.0/16', { ipip: 'Always' }));
  lab.plan.setRoute('10.244.1.0/26', ['10.9.0.2']);
  lab.plan.setRoute('10.250.1.0/26', ['10.9.0.3']);
  lab.all();
  lab.plan.setPool('pool', pool('10.244.0.0/16', { vxlan: 'Always' }));
  lab.all();
  t.equal(lab.wanted.path('10.244.1.0/26'), 'vxlan-4096-10.9.0.2 10.9.0.2');
  t.notOk(lab.wanted.objects.has('ipip_tunnel:ipip-10.9.0.2'));
  lab.plan.setPool('pool', pool('10.244.0.0/16'));
  lab.all();
  t.equal(lab.wanted.path('10.244.1.0/26'), '10.9.0.2');
  t.equal(lab.wanted.path('10.250.1.0/26'), 'ipip-10.9.0.3 10.9.0.3');
});

t.test('a pool that changes in what does not concern routes has nothing planned anew', async (t) => {
  const lab = new Lab();
  lab.plan.setPool('pool', pool('10.244.0.0/16', { ipip: 'Always' }));
  lab.plan.setRoute('10.244.1.0/26', ['10.9.0.2']);
  lab.all();
  lab.plan.setPool('pool', pool('10.244.0.0/16', { ipip: 'Always', nat_outgoing: true, disabled: true }));
  t.equal(lab.all(), 0);
});

t.test('of pools within each other the longest decides, whatever the order; both are reported', async (t) => {
  const pools = [
    ['outer', pool('10.244.0.0/16', { name: 'outer', ipip: 'Always' })],
    ['inner', pool('10.244.128.0/17', { name: 'inner' })],
  ] as const;
  for (const order of [pools, [...pools].reverse()]) {
    const lab = new Lab();
    lab.plan.setRoute('10.244.1.0/26', ['10.9.0.2']);
    lab.plan.setRoute('10.244.200.0/26', ['10.9.0.2']);
    lab.plan.setRoute('10.244.0.0/15', ['10.9.0.2']);
    for (const [name, each] of order) lab.plan.setPool(name, each);
    lab.all();
    t.equal(lab.wanted.path('10.244.1.0/26'), 'ipip-10.9.0.2 10.9.0.2');
    t.equal(lab.wanted.path('10.244.200.0/26'), '10.9.0.2');
    t.equal(lab.wanted.path('10.244.0.0/15'), '10.9.0.2', 'in no pool');
    t.match(lab.faults, { 'IPPool inner': /lies within IPPool outer/ });
    lab.plan.setPool('inner', undefined);
    lab.all();
    t.equal(lab.wanted.path('10.244.200.0/26'), 'ipip-10.9.0.2 10.9.0.2', 'the outer one has it again');
  }
});

t.test('of pools with one prefix the first by name decides, and the other one is reported', async (t) => {
  const lab = new Lab();
  lab.plan.setRoute('10.244.1.0/26', ['10.9.0.2']);
  lab.plan.setPool('b', pool('10.244.0.0/16', { ipip: 'Always' }));
  lab.plan.setPool('a', pool('10.244.0.0/16', { vxlan: 'Always' }));
  lab.all();
  t.equal(lab.wanted.path('10.244.1.0/26'), 'vxlan-4096-10.9.0.2 10.9.0.2');
  t.match(lab.faults, { 'IPPool b': /the prefix 10.244.0.0\/16 of IPPool a/ });
  lab.plan.setPool('a', undefined);
  lab.all();
  t.equal(lab.wanted.path('10.244.1.0/26'), 'ipip-10.9.0.2 10.9.0.2');
});

t.test('a pool deleted under live pods is reported as long as routes lead to its addresses', async (t) => {
  const lab = new Lab();
  lab.plan.setPool('gone', pool('10.244.0.0/16', { ipip: 'Always' }));
  lab.plan.setRoute('10.244.1.0/26', ['10.9.0.2']);
  lab.plan.setRoute('10.250.1.0/26', ['10.9.0.2']);
  lab.all();
  lab.plan.setPool('gone', undefined);
  lab.all();
  t.equal(lab.wanted.path('10.244.1.0/26'), '10.9.0.2');
  t.match(lab.faults, { 'IPPool gone': /is deleted while 1 routes lead to its addresses/ });
  lab.plan.setRoute('10.244.1.0/26', []);
  lab.all();
  t.strictSame(lab.faults, {});
  lab.plan.setRoute('10.244.1.0/26', ['10.9.0.2']);
  lab.all();
  t.match(lab.faults, { 'IPPool gone': /while 1 routes/ });
  lab.plan.setPool('gone', pool('10.244.0.0/16'));
  lab.all();
  t.strictSame(lab.faults, {});
  lab.plan.setPool('gone', undefined);
  lab.plan.setPool('other', pool('10.244.0.0/15'));
  lab.all();
  t.strictSame(lab.faults, {}, 'another one holds its addresses');
});

t.test('a prefix that moves to another node is one route, and leaves nothing of the first', async (t) => {
  const lab = new Lab();
  lab.plan.setPool('pool', pool('10.244.0.0/16', { ipip: 'Always' }));
  lab.plan.setRoute('10.244.1.0/26', ['10.9.0.2']);
  lab.all();
  lab.plan.setRoute('10.244.1.0/26', ['10.9.0.3']);
  lab.all();
  t.equal(lab.wanted.path('10.244.1.0/26'), 'ipip-10.9.0.3 10.9.0.3');
  t.notOk(lab.wanted.keys.some((key) => key.includes('10.9.0.2')));
  // The whole is looked at again, as a change of the pools has it.
  lab.plan.setPool('pool', pool('10.244.0.0/16'));
  lab.plan.setPool('pool', pool('10.244.0.0/16', { ipip: 'Always' }));
  lab.all();
  t.equal(lab.wanted.path('10.244.1.0/26'), 'ipip-10.9.0.3 10.9.0.3');
  lab.plan.setRoute('10.244.1.0/26', []);
  lab.all();
  t.strictSame(lab.wanted.keys, []);
});

t.test('a prefix that several nodes have leads to all of them, to each in its own way', async (t) => {
  const lab = new Lab();
  lab.plan.setPool('pool', pool('10.244.0.0/16', { ipip: 'CrossSubnet' }));
  lab.plan.setRoute('10.244.1.7/32', ['10.9.0.3', '10.0.0.2', '10.9.0.2', '10.0.0.2']);
  lab.all();
  t.equal(lab.wanted.path('10.244.1.7/32'), '10.0.0.2, ipip-10.9.0.2 10.9.0.2, ipip-10.9.0.3 10.9.0.3');
  t.equal(lab.wanted.path('10.9.0.3/32', 2), 'ipip-10.9.0.3 10.9.0.3');
  lab.plan.setRoute('10.244.1.7/32', ['10.9.0.2', '10.0.0.2', '10.9.0.3']);
  t.equal(lab.all(), 0, 'another order is no change');
  lab.plan.setRoute('10.244.1.7/32', ['10.9.0.2', '10.0.0.2']);
  lab.all();
  t.equal(lab.wanted.path('10.244.1.7/32'), '10.0.0.2, ipip-10.9.0.2 10.9.0.2');
  t.notOk(
    lab.wanted.keys.some((key) => key.includes('10.9.0.3')),
    'its tunnel goes',
  );
  t.strictSame(lab.faults, {});
});

t.test('a next hop that cannot be used takes none of the others down, and is named', async (t) => {
  const lab = new Lab();
  lab.plan.setPool('pool', pool('10.244.0.0/16', { vxlan: 'Always' }));
  lab.plan.setRoute('10.244.1.7/32', ['10.0.0.1', 'nowhere', '10.9.0.2', 'fd00::2']);
  lab.all();
  t.equal(lab.wanted.path('10.244.1.7/32'), 'vxlan-4096-10.9.0.2 10.9.0.2');
  const text = lab.faults['route 10.244.1.7/32'];
  t.match(
    text,
    /10\.0\.0\.1, which is this node's own.*; has the next hop fd00::2 of the other address family/,
  );
  // Its far end comes to lie in a tunnel's prefix.
  lab.plan.setRoute('10.244.1.7/32', ['10.9.0.2', '10.9.0.3']);
  lab.all();
  lab.plan.setPool('nodes', pool('10.9.0.0/24', { vxlan: 'Always' }));
  lab.plan.setRoute('10.9.0.3/32', ['10.8.0.2']);
  lab.all();
  t.equal(lab.wanted.path('10.244.1.7/32'), 'vxlan-4096-10.9.0.2 10.9.0.2');
  t.match(lab.faults['route 10.244.1.7/32'], /^needs a tunnel to 10\.9\.0\.3/);
  lab.plan.setRoute('10.9.0.3/32', []);
  lab.all();
  t.equal(lab.wanted.path('10.244.1.7/32'), 'vxlan-4096-10.9.0.2 10.9.0.2, vxlan-4096-10.9.0.3 10.9.0.3');
});

t.test('a route with another way, and the node, go without a tunnel that VPP does not make', async (t) => {
  const lab = new Lab();
  lab.plan.setPool('a', pool('10.244.0.0/16', { ipip: 'Always' }));
  lab.plan.setPool('b', pool('10.245.0.0/16', { vxlan: 'Always' }));
  const [one, other] = ['10.9.0.2', '10.9.0.3'] as const;
  lab.plan.setRoute('10.244.1.0/26', [one, other]);
  lab.plan.setRoute('10.244.2.0/26', [one, other]);
  lab.plan.setRoute('10.244.3.0/26', [one]);
  lab.plan.setRoute('10.245.3.0/26', [one]);
  lab.all();
  const paths = (prefix: string) => lab.wanted.objects.get(`route:connectivity/0/${prefix}`) as Route;
  t.equal(paths('10.244.1.0/26').paths, paths('10.244.2.0/26').paths, 'the same ways are one list');
  const refuse = (refused: boolean) => {
    lab.plan.setRefused({ tag: `ipip-${one}`, dst: one }, refused);
    lab.wanted.changes = 0;
    lab.all();
  };
  refuse(true);
  t.equal(lab.wanted.changes, 3, 'two routes and the node’s');
  t.equal(lab.wanted.path('10.244.1.0/26'), `ipip-${other} ${other}`);
  t.equal(lab.wanted.path('10.244.3.0/26'), `ipip-${one} ${one}`, 'there is no other way');
  t.match(lab.wanted.path(`${one}/32`, 2), /^vxlan-/);
  t.match(lab.faults['route 10.244.1.0/26'], /without the tunnel to 10\.9\.0\.2/);
  t.equal(lab.faults['route 10.244.3.0/26'], undefined, 'it is refused itself');
  lab.plan.setRefused({ tag: `ipip-${other}`, dst: other }, true);
  lab.all();
  t.equal(lab.wanted.path('10.244.1.0/26'), `ipip-${one} ${one}, ipip-${other} ${other}`, 'all are tried');
  lab.plan.setRefused({ tag: `ipip-${other}`, dst: other }, false);
  refuse(false);
  t.equal(lab.wanted.path('10.244.1.0/26'), `ipip-${one} ${one}, ipip-${other} ${other}`);
  t.match(lab.wanted.path(`${one}/32`, 2), /^ipip-/);
  t.strictSame(lab.faults, {});
  lab.plan.setRefused({ tag: 'ipip-10.9.9.9', dst: '10.9.9.9' }, true);
});

t.test('a VXLAN tunnel has the number and port of Felix, and is made anew when these change', async (t) => {
  const lab = new Lab({ settings: { vxlan_vni: 7, vxlan_port: 8472 } });
  lab.plan.setPool('pool', pool('10.244.0.0/16', { vxlan: 'Always' }));
  lab.plan.setRoute('10.244.1.0/26', ['10.9.0.2']);
  lab.plan.setRoute('10.250.1.0/26', ['10.9.0.3']);
  lab.all();
  const tunnel = () => [...lab.wanted.objects.values()].filter(({ kind }) => kind === 'vxlan_tunnel');
  t.match(tunnel(), [{ tag: 'vxlan-7:8472-10.9.0.2', vni: 7, port: 8472 }]);
  lab.look({ settings: { vxlan_vni: 7, vxlan_port: 4789 } });
  lab.all();
  t.match(tunnel(), [{ tag: 'vxlan-7-10.9.0.2', vni: 7, port: 4789 }]);
  lab.look({ settings: { vxlan_vni: 9, vxlan_port: 4789 } });
  lab.all();
  t.match(tunnel(), [{ tag: 'vxlan-9-10.9.0.2', vni: 9 }]);
  t.equal(lab.wanted.path('10.244.1.0/26'), 'vxlan-9-10.9.0.2 10.9.0.2');
});

t.test('a prefix with a node in it goes by no tunnel to another, as long as the node is there', async (t) => {
  const lab = new Lab();
  lab.plan.setPool('pool', pool('10.244.0.0/16', { vxlan: 'CrossSubnet' }));
  lab.plan.setRoute('10.244.1.0/26', ['10.9.0.2']);
  lab.plan.setRoute('10.244.2.0/26', ['10.0.0.9']);
  lab.all();
  const by_tunnel = 'vxlan-4096-10.9.0.2 10.9.0.2';
  t.equal(lab.wanted.path('10.244.1.0/26'), by_tunnel);
  for (const node of ['10.244.1.9', '10.244.1.5', '10.244.2.5', '10.244.3.5']) lab.plan.setNode(node, true);
  lab.all();
  t.equal(lab.wanted.path('10.244.1.0/26'), undefined);
  lab.plan.setDropped('10.244.1.0/26', block);
  lab.all();
  t.equal(lab.wanted.path('10.244.1.0/26'), undefined, 'nor is it dropped');
  lab.plan.setDropped('10.244.1.0/26', undefined);
  t.equal(lab.wanted.path('10.244.2.0/26'), '10.0.0.9', 'by a router nodes may be reached');
  t.match(lab.faults, {
    'route 10.244.1.0/26':
      /^would take what is for 10\.244\.1\.5, a node, by a tunnel to 10\.9\.0\.2: keep pools apart/,
  });
  t.notOk(lab.wanted.keys.some((key) => key.includes('vxlan')));
  lab.plan.setNode('10.244.1.5', false);
  lab.all();
  t.equal(lab.wanted.path('10.244.1.0/26'), undefined);
  lab.plan.setNode('10.244.1.9', false);
  lab.all();
  t.equal(lab.wanted.path('10.244.1.0/26'), by_tunnel);
  t.strictSame(lab.faults, {});
});

t.test('one tunnel of IPIP carries both families; VXLAN, and what goes flat, its own alone', async (t) => {
  for (const [changes, path] of [
    [{ ipip: 'Always' }, 'ipip-10.9.0.2 10.9.0.2'],
    [{ vxlan: 'Always' }, undefined],
    [{}, undefined],
  ] as const) {
    const lab = new Lab();
    lab.plan.setPool('pool', pool('fd10::/48', changes));
    lab.plan.setRoute('fd10::40/122', ['10.9.0.2']);
    lab.all();
    t.equal(lab.wanted.path('fd10::40/122'), path);
    if (path === undefined) t.match(lab.faults, { 'route fd10::40/122': /of the other address family/ });
  }
});

t.test(
  'guards: what would cut off the node, or lead to itself, is reported and not programmed',
  async (t) => {
    const guarded: readonly [prefix: string, next_hop: string, why: RegExp][] = [
      ['0.0.0.0/0', '10.0.0.2', /default route/],
      ['::/0', 'fd00::2', /default route/],
      ['10.0.0.0/8', '10.9.0.2', /own address/],
      ['10.0.0.1/32', '10.9.0.2', /own address/],
      ['fd00::/32', 'fd99::2', /own address/],
      ['10.9.0.2/32', '10.9.0.2', /next hop in it/],
      ['10.9.0.0/16', '10.9.0.2', /next hop in it/],
      ['10.244.1.0/26', '10.0.0.1', /this node's own address/],
      ['224.0.0.0/4', '10.9.0.2', /no unicast prefix/],
      ['127.0.0.0/8', '10.9.0.2', /no unicast prefix/],
      ['fe80::/64', 'fd99::2', /no unicast prefix/],
      ['ff02::1/128', 'fd99::2', /no unicast prefix/],
      ['fd10::/64', 'fe80::2', /cannot forward/],
      ['10.244.1.0/26', '0.0.0.0', /cannot forward/],
      ['10.244.1.0/26', 'nowhere', /cannot forward/],
      ['10.244.1.0/33', '10.9.0.2', /no prefix/],
    ];
    for (const [prefix, next_hop, why] of guarded) {
      const lab = new Lab();
      lab.plan.setRoute('10.244.9.0/26', ['10.9.0.9']);
      lab.plan.setRoute(prefix, [next_hop]);
      lab.all();
      t.strictSame(lab.wanted.keys, ['route:connectivity/0/10.244.9.0/26'], `${prefix} by ${next_hop}`);
      t.match(lab.faults, { [`route ${prefix}`]: why });
      t.equal(lab.plan.counts.faulty, 1);
      lab.plan.setRoute(prefix, []);
      lab.all();
      t.strictSame(lab.faults, {});
    }
  },
);

t.test('no tunnel leads to its far end by another tunnel, at once or around', async (t) => {
  const through = /leads by a tunnel itself/;
  const told: readonly [routes: Record<string, string>, barred: readonly string[]][] = [
    // Each through the other.
    [{ '10.9.1.0/26': '10.9.2.5', '10.9.2.0/26': '10.9.1.5' }, ['10.9.1.0/26', '10.9.2.0/26']],
    // Through one, round three, and over a flat one between.
    [{ '10.9.1.0/26': '10.8.0.2', '10.9.2.0/26': '10.9.1.5' }, ['10.9.2.0/26']],
    [
      { '10.9.1.0/26': '10.9.2.5', '10.9.2.0/26': '10.9.3.5', '10.9.3.0/26': '10.9.1.5' },
      ['10.9.1.0/26', '10.9.2.0/26', '10.9.3.0/26'],
    ],
    [{ '10.9.1.0/26': '10.8.0.2', '10.8.0.0/24': '10.7.0.1', '10.7.0.0/24': '10.9.1.5' }, ['10.9.1.0/26']],
    // Who has a pod for a next hop harms itself alone.
    [{ '10.9.1.0/26': '10.0.0.2', '10.9.7.0/26': '10.9.1.5', '10.9.2.0/26': '10.0.0.3' }, ['10.9.7.0/26']],
    // A shorter one counts as well: the longer may go.
    [{ '10.9.1.0/26': '10.9.2.5', '10.9.2.0/24': '10.8.0.2', '10.9.2.5/32': '10.0.0.254' }, ['10.9.1.0/26']],
    [
      { 'fd09:1::/64': 'fd09:2::5', 'fd09:2::/64': '10.9.1.5', '10.9.1.0/26': '10.8.0.2' },
      ['fd09:1::/64', 'fd09:2::/64'],
    ],
  ];
  for (const mode of ['ipip', 'vxlan'] as const) {
    for (const [routes, barred] of told) {
      const names = Object.keys(routes);
      if (mode === 'vxlan' && names.some((name) => name.includes(':'))) continue;
      for (const order of [names, [...names].reverse()]) {
        const lab = new Lab();
        lab.plan.setPool('pool', pool('10.9.0.0/16', { [mode]: 'Always' }));
        lab.plan.setPool('small', pool('10.9.2.5/32'));
        lab.plan.setPool('pool6', pool('fd09::/16', { [mode]: 'Always' }));
        for (const name of order) {
          lab.plan.setRoute(name, routes[name] === undefined ? [] : [routes[name]]);
          lab.all();
        }
        const text = `${mode} ${order.join()}`;
        t.strictSame(
          Object.keys(lab.faults)
            .filter((name) => name.startsWith('route'))
            .sort(),
          barred.map((name) => `route ${name}`).sort(),
          text,
        );
        for (const name of barred) t.match(lab.faults, { [`route ${name}`]: through });
        for (const name of names)
          t.equal(lab.wanted.path(name) === undefined, barred.includes(name), `${text}: ${name}`);
        // Pools that go take the tunnels along, and with them what is wrong.
        for (const name of ['pool', 'pool6']) lab.plan.setPool(name, undefined);
        lab.all();
        t.strictSame(
          Object.keys(lab.faults).filter((name) => name.startsWith('route')),
          name6(names),
          text,
        );
        for (const name of names) lab.plan.setRoute(name, []);
        lab.all();
        t.strictSame(lab.wanted.keys, []);
        t.match(lab.plan.counts, { faulty: 0, next_hops: 0, prefixes: 0 });
      }
    }
  }
});

/** Without IPIP IPv6 does not go to a next hop of IPv4. */
function name6(names: readonly string[]): readonly string[] {
  return names.includes('fd09:2::/64') ? ['route fd09:2::/64'] : [];
}

t.test(
  'a node without an address of a family has no tunnels of it, and says so until it has one',
  async (t) => {
    const only4: OwnNode = { ...own, node: { ip4: '10.0.0.1' }, subnets: { ip4: '10.0.0.0/24' } };
    const lab = new Lab({ own: only4 });
    lab.plan.setPool('always', pool('fd10::/48', { vxlan: 'Always' }));
    lab.plan.setPool('cross', pool('fd11::/48', { vxlan: 'CrossSubnet' }));
    lab.plan.setRoute('fd10::40/122', ['fd99::2']);
    lab.plan.setRoute('fd11::40/122', ['fd99::2']);
    lab.plan.setRoute('10.244.1.0/26', ['10.9.0.2']);
    lab.all();
    t.strictSame(lab.wanted.keys, ['route:connectivity/0/10.244.1.0/26']);
    t.match(lab.faults, {
      'route fd10::40/122': /no address of that family/,
      'route fd11::40/122': /no address of that family/,
    });
    lab.look({ own });
    lab.all();
    t.equal(lab.wanted.path('fd10::40/122'), 'vxlan-4096-fd99::2 fd99::2');
    t.equal(lab.wanted.path('fd11::40/122'), 'vxlan-4096-fd99::2 fd99::2');
    t.strictSame(lab.faults, {});
  },
);

t.test('when the own address changes, tunnels have the new one, and routes go on', async (t) => {
  const lab = new Lab();
  lab.plan.setPool('pool', pool('10.244.0.0/16', { ipip: 'Always' }));
  lab.plan.setRoute('10.244.1.0/26', ['10.9.0.2']);
  lab.all();
  lab.look({ own: { ...own, node: { ip4: '10.0.0.77' } } });
  lab.all();
  t.match(lab.wanted.objects.get('ipip_tunnel:ipip-10.9.0.2'), { src: '10.0.0.77' });
  t.equal(lab.wanted.path('10.244.1.0/26'), 'ipip-10.9.0.2 10.9.0.2');
  lab.look({ own: { ...own, node: { ip4: '10.0.0.77' }, mtu: 9000 } });
  t.equal(lab.all(), 6, 'the tunnel with what is on it, and no route');
  t.match(lab.wanted.objects.get('interface_mtu:ipip-10.9.0.2'), { mtu: 8980 });
});

t.test(
  'an own block is dropped where nothing longer holds; a route to the same prefix goes before',
  async (t) => {
    const lab = new Lab();
    lab.plan.setDropped('10.244.1.0/26', block);
    lab.all();
    t.equal(lab.wanted.path('10.244.1.0/26'), 'drop');
    lab.plan.setRoute('10.244.1.0/26', ['10.9.0.2']);
    lab.all();
    t.equal(lab.wanted.path('10.244.1.0/26'), '10.9.0.2');
    lab.plan.setRoute('10.244.1.0/26', ['10.0.0.1']);
    lab.all();
    t.equal(lab.wanted.path('10.244.1.0/26'), 'drop', 'one that must not be is none');
    lab.plan.setRoute('10.244.1.0/26', []);
    lab.plan.setDropped('10.244.1.0/26', undefined);
    lab.all();
    t.strictSame(lab.wanted.keys, []);
  },
);

t.test('nothing is dropped in which a node is, or the next hop of a route', async (t) => {
  const lab = new Lab();
  const faults = (): readonly string[] => Object.keys(lab.faults);
  lab.plan.setDropped('10.0.0.0/8', services);
  lab.plan.setDropped('10.96.0.0/12', { ...services, by: 'BGPConfiguration other' });
  lab.plan.setDropped('10.244.1.0/26', block);
  lab.all();
  t.equal(lab.wanted.path('10.0.0.0/8'), 'drop');
  lab.plan.setNode('10.9.0.2', true);
  lab.all();
  t.equal(lab.wanted.path('10.0.0.0/8'), undefined);
  t.match(lab.faults, { 'BGPConfiguration default': /10\.0\.0\.0\/8, with 10\.9\.0\.2 in it/ });
  t.equal(lab.plan.counts.faulty, 1);
  t.equal(lab.wanted.path('10.96.0.0/12'), 'drop');
  lab.plan.setNode('10.9.0.2', false);
  lab.all();
  t.equal(lab.wanted.path('10.0.0.0/8'), 'drop');

  lab.plan.setRoute('fd10:244::/64', ['fd00::2']);
  lab.plan.setRoute('10.250.0.0/16', ['10.0.0.254']);
  lab.all();
  t.equal(lab.wanted.path('10.0.0.0/8'), undefined);
  t.match(lab.faults, { 'BGPConfiguration default': /10\.0\.0\.254/ });
  lab.plan.setRoute('10.250.0.0/16', []);
  lab.all();
  t.equal(lab.wanted.path('10.0.0.0/8'), 'drop');
  t.strictSame(faults(), []);

  // A pod that announces something is in a block, and has a route of its own; a node is another thing.
  lab.plan.setRoute('10.250.0.0/16', ['10.244.1.7']);
  lab.all();
  t.equal(lab.wanted.path('10.244.1.0/26'), 'drop');
  lab.plan.setNode('10.244.1.7', true);
  lab.all();
  t.equal(lab.wanted.path('10.244.1.0/26'), undefined);
  t.strictSame([...faults()].sort(), ['BGPConfiguration default', 'BlockAffinity own']);

  // A route to the prefix itself is none of this.
  lab.plan.setRoute('10.244.1.0/26', ['10.9.0.9']);
  lab.all();
  t.strictSame(faults(), ['BGPConfiguration default']);
  for (const prefix of ['10.0.0.0/8', '10.244.1.0/26', '10.96.0.0/12'])
    lab.plan.setDropped(prefix, undefined);
  for (const prefix of ['10.244.1.0/26', '10.250.0.0/16', 'fd10:244::/64']) lab.plan.setRoute(prefix, []);
  lab.all();
  t.strictSame(lab.wanted.keys, []);
  t.match(lab.plan.counts, { faulty: 0, prefixes: 0, next_hops: 0 });
});

t.test('when the mask of the own address changes, who is in its subnet is another question', async (t) => {
  const lab = new Lab();
  lab.plan.setPool('pool', pool('10.244.0.0/16', { ipip: 'CrossSubnet' }));
  lab.plan.setRoute('10.244.1.0/26', ['10.0.1.2']);
  lab.all();
  t.equal(lab.wanted.path('10.244.1.0/26'), 'ipip-10.0.1.2 10.0.1.2');
  lab.look({ own: { ...own, subnets: { ip4: '10.0.0.0/23' } } });
  lab.all();
  t.equal(lab.wanted.path('10.244.1.0/26'), '10.0.1.2');
  t.equal(lab.plan.counts.tunnels, 0);
});

t.test('a change costs what it touches', async (t) => {
  const lab = new Lab({}, new Wanted());
  lab.plan.setPool('one', pool('10.64.0.0/12', { ipip: 'Always' }));
  lab.plan.setPool('two', pool('10.128.0.0/12'));
  const block = (net: number, n: number): string =>
    `10.${net + (n >> 10)}.${(n >> 2) & 255}.${(n & 3) * 64}/26`;
  for (let n = 0; n < 10_000; n += 1) {
    lab.plan.setRoute(block(64, n), [`172.16.${n % 100}.1`]);
    lab.plan.setRoute(block(128, n), [`172.16.${n % 100}.1`]);
  }
  lab.all();
  t.equal(lab.plan.counts.routes, 20_000);
  t.equal(lab.plan.counts.tunnels, 100);
  lab.plan.setPool('small', pool('10.128.0.0/24', { vxlan: 'Always' }));
  t.equal(lab.all(), 4 + 4 * 6, 'the four routes within, each with a tunnel; its node has one already');
  lab.plan.setRoute(block(64, 1), []);
  t.equal(lab.all(), 1);
});

// --- what is planned piece by piece is what is planned at once

const modes: readonly EncapsulationMode[] = ['Never', 'CrossSubnet', 'Always'];
const prefixes = [
  '10.244.1.0/26',
  '10.244.1.64/26',
  '10.244.2.0/26',
  '10.244.2.5/32',
  '10.244.0.0/15',
  '10.9.0.0/16',
  '0.0.0.0/0',
  '10.0.0.0/30',
  '10.9.0.2/32',
  '10.9.0.3/32',
  '10.8.0.0/24',
  'fd10::40/122',
  'fd10::/64',
  'fd11::/48',
  'nonsense',
];
const next_hops = [
  '10.0.0.2',
  '10.9.0.2',
  '10.9.0.3',
  '10.8.0.1',
  '10.244.1.5',
  '10.244.2.5',
  '10.0.0.1',
  'fd00::2',
  'fd99::2',
  'fe80::1',
  'nowhere',
];
const pool_prefixes = ['10.244.0.0/16', '10.244.1.0/24', '10.0.0.0/8', 'fd10::/48', 'fd10::/32'];
t.test('what a FelixConfiguration asks of tunnels in vain is told by name', async (t) => {
  const read = (name: string, spec: object) =>
    kinds.FelixConfiguration.pick(name, { metadata: { name }, spec }).value!;
  const asked = { wireguardEnabled: true, wireguardHostEncryptionEnabled: true };
  t.match(
    [...felixFaults(read('default', asked), 'n')],
    [['FelixConfiguration default', /spec\.wireguardHostEncryptionEnabled: .*nodes send .*is not/]],
  );
  const ports = { wireguardEnabled: true, wireguardEnabledV6: true, wireguardListeningPortV6: 4000 };
  t.match([...felixFaults(read('node.n', ports), 'n')], [['FelixConfiguration node.n', /PortV6: has no/]]);
  t.same([...felixFaults(read('node.m', asked), 'n')], [], 'of another node');
  t.same([...felixFaults(read('default', { wireguardEnabled: true }), 'n')], []);
  t.match(
    [...felixFaults(read('default', { wireguardMTU: 500, wireguardMTUV6: 0 }), 'n')],
    [['FelixConfiguration default', /^spec\.wireguardMTU: is 500.*raise it/]],
  );
});

const owns: readonly OwnNode[] = [
  own,
  { ...own, node: { ip4: '10.0.0.77', ip6: 'fd00::1' } },
  { ...own, node: { ip4: '10.0.0.1' }, subnets: { ip4: '10.0.0.0/8' } },
  { ...own, mtu: 9000 },
];

const steps = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('route' as const),
        prefix: fc.constantFrom(...prefixes),
        next_hops: fc.array(fc.constantFrom(...next_hops), { maxLength: 3 }),
      }),
    },
    fc.record({
      do: fc.constant('pool' as const),
      name: fc.constantFrom('a', 'b', 'c'),
      pool: fc.option(
        fc.record({
          prefix: fc.constantFrom(...pool_prefixes),
          ipip: fc.constantFrom(...modes),
          vxlan: fc.constantFrom(...modes),
        }),
        { nil: undefined },
      ),
    }),
    fc.record({
      do: fc.constant('drop' as const),
      prefix: fc.constantFrom('10.244.1.0/26', '10.244.2.0/26', 'fd10::40/122', '10.9.0.0/24', '10.0.0.0/8'),
      drop: fc.constantFrom(undefined, block, services),
    }),
    fc.record({
      do: fc.constant('node' as const),
      address: fc.constantFrom('10.244.1.5', '10.9.0.2', '10.0.0.1', 'fd10::41'),
      there: fc.boolean(),
    }),
    fc.record({
      do: fc.constant('look' as const),
      own: fc.constantFrom(...owns),
      vni: fc.constantFrom(4096, 7),
      port: fc.constantFrom(4789, 8472),
    }),
    fc.record({ do: fc.constant('plan' as const), max: fc.integer({ min: 1, max: 20 }) }),
  ),
  { maxLength: 40, size: 'max' },
);

t.test('whatever is told in whatever order, what is wanted is what a fresh plan wants', async () => {
  fc.assert(
    fc.property(steps, (todo) => {
      const lab = new Lab();
      const routes = new Map<string, readonly string[]>();
      const pools = new Map<string, IpPool>();
      const drops = new Map<string, Drop>();
      const nodes = new Set<string>();
      let outlook: Parameters<Lab['look']>[0] = {};
      for (const step of todo) {
        switch (step.do) {
          case 'route':
            lab.plan.setRoute(step.prefix, step.next_hops);
            routes.set(step.prefix, step.next_hops);
            break;
          case 'pool': {
            const made = step.pool && pool(step.pool.prefix, { ...step.pool, name: step.name });
            lab.plan.setPool(step.name, made);
            if (made === undefined) pools.delete(step.name);
            else pools.set(step.name, made);
            break;
          }
          case 'drop':
            lab.plan.setDropped(step.prefix, step.drop);
            if (step.drop) drops.set(step.prefix, step.drop);
            else drops.delete(step.prefix);
            break;
          case 'node':
            lab.plan.setNode(step.address, step.there);
            if (step.there) nodes.add(step.address);
            else nodes.delete(step.address);
            break;
          case 'look':
            outlook = { own: step.own, settings: { vxlan_vni: step.vni, vxlan_port: step.port } };
            lab.look(outlook);
            break;
          case 'plan':
            lab.plan.plan(step.max, lab.wanted);
        }
      }
      lab.all();
      const fresh = new Lab(outlook);
      for (const [name, each] of pools) fresh.plan.setPool(name, each);
      for (const [prefix, drop] of drops) fresh.plan.setDropped(prefix, drop);
      for (const address of nodes) fresh.plan.setNode(address, true);
      for (const [prefix, hops] of routes) fresh.plan.setRoute(prefix, hops.toReversed());
      fresh.all();
      const sorted = ({ objects }: Wanted) => [...objects].sort(([a], [b]) => (a < b ? -1 : 1));
      const [is, should] = [JSON.stringify(sorted(lab.wanted)), JSON.stringify(sorted(fresh.wanted))];
      if (is !== should) throw new Error(`wanted ${is}\nof a fresh plan ${should}`);
      // But for a pool that is gone, of which the fresh one never knew.
      const faults = ({ plan }: Lab) =>
        [...plan.faults()].filter(([, text]) => !text.includes('is deleted')).sort();
      if (JSON.stringify(faults(lab)) !== JSON.stringify(faults(fresh)))
        throw new Error(
          `faults ${JSON.stringify(faults(lab))}\nof a fresh plan ${JSON.stringify(faults(fresh))}`,
        );
      if (JSON.stringify(lab.plan.counts) !== JSON.stringify(fresh.plan.counts))
        throw new Error(`${JSON.stringify(lab.plan.counts)} ${JSON.stringify(fresh.plan.counts)}`);
      for (const object of lab.wanted.objects.values())
        if (object.kind === 'route' && canonicalPrefix(object.prefix) !== object.prefix)
          throw new Error(`${object.prefix} is not canonical`);
    }),
    { numRuns: 600 },
  );
});

t.test('a pool whose packets’ way cannot be read is no pool for routes', async (t) => {
  const pools = new Pools();
  const { value, faults } = kinds.IPPool.pick('p', {
    metadata: { name: 'p' },
    spec: { cidr: '10.1.0.0/16', ipipMode: 'Always', vxlanMode: 'Always' },
  });
  t.equal(faults.length, 1);
  pools.set('p', value);
  t.equal(pools.of(bitsOf('10.1.1.0/26')), undefined);
  t.equal(pools.count, 0);
});
