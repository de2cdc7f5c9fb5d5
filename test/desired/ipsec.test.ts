import t from 'tap';
import type { IpPool } from '../../src/calico/kinds/ip-pool.js';
import { Secret } from '../../src/config/secret.js';
import { Connectivity } from '../../src/desired/connectivity.js';
import {
  Outlook,
  type OwnNode,
  type TunnelSettings,
  tunnel_settings_default,
} from '../../src/desired/remote-route.js';
import { keyOf, same, type VppObject } from '../../src/objects/object.js';
import type { Route } from '../../src/objects/routing.js';

const own: OwnNode = {
  node: { ip4: '10.0.0.5', ip6: 'fd00::5' },
  subnets: { ip4: '10.0.0.0/24', ip6: 'fd00::/64' },
  main_uplink: 'main-eth0',
  mtu: 1500,
};
const psk = new Secret('hunter2');
const ipsec = { psk, psk_version: 1 };

const pool = (prefix: string, changes: Partial<IpPool> = {}): IpPool => ({
  name: prefix,
  prefix,
  ipip: 'Always',
  vxlan: 'Never',
  nat_outgoing: false,
  disabled: false,
  disable_bgp_export: false,
  allowed_uses: [],
  ...changes,
});

class Lab {
  readonly plan = new Connectivity();
  readonly wanted = new Map<string, VppObject>();

  constructor(settings: Partial<TunnelSettings> = { ipsec }, changes: Partial<OwnNode> = {}) {
    this.look(settings, changes);
    this.plan.setPool('four', pool('10.244.0.0/16'));
    this.plan.setPool('six', pool('fd10::/48'));
  }

  look(settings: Partial<TunnelSettings>, changes: Partial<OwnNode> = {}): void {
    this.plan.setOutlook(new Outlook({ ...own, ...changes }, { ...tunnel_settings_default, ...settings }));
  }

  to(routes: Readonly<Record<string, string>>): this {
    for (const [prefix, next_hop] of Object.entries(routes)) this.plan.setRoute(prefix, [next_hop]);
    return this.all();
  }

  all(): this {
    const sink = {
      want: (object: VppObject) => this.wanted.set(keyOf(object), object),
      unwant: (object: VppObject) => this.wanted.delete(keyOf(object)),
    };
    while (!this.plan.plan(3, sink));
    return this;
  }

  path(prefix: string, table_id = 0): string | undefined {
    const route = this.wanted.get(`route:connectivity/${table_id}/${prefix}`) as Route | undefined;
    return route?.paths.map((path) => (path.via === 'interface' ? path.interface : path.via)).join();
  }

  get = (key: string) => this.wanted.get(key);
}

t.test(
  'what goes by IPIP is encrypted, over either family, and nobody but IKE brings the tunnel up',
  async (t) => {
    const lab = new Lab().to({
      '10.244.2.0/26': '10.0.0.2',
      '10.244.9.0/26': '10.0.0.9',
      'fd10::200/122': 'fd00::2',
    });
    t.equal(lab.path('10.244.2.0/26'), 'ipip-10.0.0.2');
    t.equal(lab.path('10.0.0.2/32', 2), 'ipip-10.0.0.2', 'what pods send to the node itself, too');
    t.equal(lab.path('fd10::200/122'), 'ipip-fd00::2');
    t.match(lab.get('ipip_tunnel:ipip-10.0.0.2'), { ike: true, src: '10.0.0.5' });
    t.notOk([...lab.wanted.keys()].some((key) => key.endsWith('/admin_up')));
    // IP (20, 40), ESP with AES-GCM 37 at most.
    t.match(lab.get('interface_mtu:ipip-10.0.0.2'), { mtu: 1442 });
    t.match(lab.get('interface_mtu:ipip-fd00::2'), { mtu: 1422 });
    const profile = { interface: 'ipip-10.0.0.2', src: '10.0.0.5', dst: '10.0.0.2', begins_by: 'main-eth0' };
    t.match(lab.get('ike_profile:node-10.0.0.2'), profile);
    t.ok(lab.get('ike_initiation:node-10.0.0.2'), 'the higher address begins');
    t.ok(lab.get('ike_initiation:node-fd00::2'));
    t.strictSame((lab.get('ike_profile:node-10.0.0.9') as { begins_by?: string }).begins_by, undefined);
    t.notOk(lab.get('ike_initiation:node-10.0.0.9'), 'of two one alone');
    t.strictSame([...lab.plan.ikeTunnels()].map(({ dst }) => dst).sort(), [
      '10.0.0.2',
      '10.0.0.9',
      'fd00::2',
    ]);
  },
);

t.test('what does not go by IPIP goes as ever', async (t) => {
  const lab = new Lab();
  lab.plan.setPool('four', pool('10.244.0.0/16', { ipip: 'CrossSubnet' }));
  lab.plan.setPool('flat', pool('10.245.0.0/16', { ipip: 'Never' }));
  lab.plan.setPool('vxlan', pool('10.246.0.0/16', { ipip: 'Never', vxlan: 'Always' }));
  lab.to({
    '10.244.2.0/26': '10.0.0.2',
    '10.244.3.0/26': '10.9.0.3',
    '10.245.2.0/26': '10.0.0.2',
    '10.246.2.0/26': '10.0.0.2',
  });
  t.equal(lab.path('10.244.2.0/26'), 'next_hop');
  t.equal(lab.path('10.244.3.0/26'), 'ipip-10.9.0.3');
  t.equal(lab.path('10.245.2.0/26'), 'next_hop');
  t.equal(lab.path('10.246.2.0/26'), 'vxlan-4096-10.0.0.2');
});

t.test('where encryption is required all pools go by IPsec, and what cannot is dropped', async (t) => {
  const required = { ipsec, encryption_required: true };
  const lab = new Lab(required);
  lab.plan.setPool('flat', pool('10.245.0.0/16', { ipip: 'Never' }));
  lab.to({ '10.244.2.0/26': '10.0.0.2', '10.245.2.0/26': '10.0.0.2' });
  t.equal(lab.path('10.245.2.0/26'), 'ipip-10.0.0.2');
  t.match(lab.get('ipip_tunnel:ipip-10.0.0.2'), { ike: true });
  const ip4_alone = new Lab(required, { node: { ip4: '10.0.0.5' }, subnets: { ip4: '10.0.0.0/24' } });
  ip4_alone.to({ 'fd10::200/122': 'fd00::2' });
  t.equal(ip4_alone.path('fd10::200/122'), 'drop');
});

t.test('without a key a tunnel is there, and a profile that has none of its own', async (t) => {
  const lab = new Lab({ ipsec: { psk_version: 0 } }).to({ '10.244.2.0/26': '10.0.0.2' });
  t.equal(lab.path('10.244.2.0/26'), 'ipip-10.0.0.2', 'by which nothing passes');
  t.equal((lab.get('ike_profile:node-10.0.0.2') as { psk?: Secret }).psk, undefined);
  lab.look({ ipsec });
  lab.all();
  t.match(lab.get('ike_profile:node-10.0.0.2'), { psk });
});

t.test(
  'another key changes the profile where it is; another interface, or round, makes it anew',
  async (t) => {
    const profile = {
      kind: 'ike_profile',
      name: 'node-10.0.0.2',
      interface: 'ipip-10.0.0.2',
      src: '10.0.0.5',
      dst: '10.0.0.2',
      psk,
    } as const;
    const shown = { ...profile, src: '', psk: new Secret('hunter2') };
    t.ok(same(profile, shown), 'as a dump shows it');
    t.notOk(same({ ...profile, psk: new Secret('other') }, shown));
    t.notOk(same(profile, { ...shown, interface: '#7' }));
    t.notOk(same({ ...profile, round: 1 }, shown));
    t.ok(same(profile, { ...shown, round: 1 }));
    t.notMatch(JSON.stringify(profile), /hunter2/);

    const lab = new Lab().to({ '10.244.2.0/26': '10.0.0.2' });
    lab.look({ ipsec: { psk: new Secret('other'), psk_version: 2 } });
    lab.all();
    t.equal((lab.get('ike_profile:node-10.0.0.2') as { psk: Secret }).psk.reveal(), 'other');
  },
);
