import t from 'tap';
import type { BgpConfiguration } from '../../src/calico/kinds/bgp-configuration.js';
import type { BlockAffinity } from '../../src/calico/kinds/block-affinity.js';
import type { Endpoint } from '../../src/calico/kinds/endpoint-slice.js';
import type { IpPool } from '../../src/calico/kinds/ip-pool.js';
import type { KindName, Kinds, Objects } from '../../src/calico/kinds/kinds.js';
import type { Service } from '../../src/calico/kinds/service.js';
import { LocalPrefixes, localPrefixKinds } from '../../src/desired/local-prefixes.js';

class Told {
  readonly local: LocalPrefixes;

  constructor(services = true, served_only = false) {
    this.local = new LocalPrefixes({ node_name: 'a', services, served_only });
    for (const kind of ['Node', 'IPPool'] as const)
      this.local.take({ kind, synced: true, changed: new Map() } as Objects);
  }

  /** Takes in one object, and says what that changes: `+10.0.0.0/26 block drop`, `-10.0.0.0/26`; `(…)` is not announced. */
  say<K extends KindName>(kind: K, name: string, value: Kinds[K] | undefined): string[] {
    this.local.take({ kind, synced: true, changed: new Map([[name, value]]) } as unknown as Objects);
    return this.changes();
  }

  changes(): string[] {
    return [...this.local.changes()]
      .map(([prefix, each]) => {
        if (each === undefined) return `-${prefix}`;
        const text = `${prefix} ${each.source}${each.dropped ? ' drop' : ''}`;
        return each.announced ? `+${text}` : `+(${text})`;
      })
      .sort();
  }
}

const affinity = (prefix: string, more: Partial<BlockAffinity> = {}): BlockAffinity => ({
  prefix,
  node: 'a',
  type: 'host',
  confirmed: true,
  deleted: false,
  ...more,
});

const pool = (prefix: string, disable_bgp_export: boolean): IpPool => ({
  name: prefix,
  prefix,
  ipip: 'Never',
  vxlan: 'Never',
  nat_outgoing: false,
  disabled: false,
  disable_bgp_export,
  allowed_uses: [],
});

const configuration = (more: Partial<BgpConfiguration>): BgpConfiguration => ({
  name: 'default',
  service_cluster_prefixes: [],
  service_external_prefixes: [],
  service_load_balancer_prefixes: [],
  prefix_advertisements: [],
  ignored_interfaces: [],
  unknown_fields: [],
  ...more,
});

const service = (more: Partial<Service>): Service => ({
  type: 'LoadBalancer',
  cluster_ips: [],
  external_ips: [],
  load_balancer_ips: [],
  ports: [],
  external_policy: 'Cluster',
  internal_policy: 'Cluster',
  source_prefixes: [],
  hash: [],
  ...more,
});

const here: Endpoint = { address: '10.1.0.1', node: 'a' };
const there: Endpoint = { address: '10.1.0.2', node: 'b' };
const slice = (endpoints: readonly Endpoint[], family: 4 | 6 = 4, of = 'default/web') => ({
  service: of,
  family,
  endpoints,
  ports: [],
});

t.test('blocks: those of this node alone, confirmed, and not on their way out', async (t) => {
  const told = new Told();
  for (const [more, expected] of [
    [{}, ['+10.1.0.0/26 block drop']],
    [{ confirmed: false }, ['-10.1.0.0/26']],
    [{}, ['+10.1.0.0/26 block drop']],
    [{ deleted: true }, ['-10.1.0.0/26']],
    [{ node: 'b' }, []],
    [{ type: 'virtual' }, []],
    [{}, ['+10.1.0.0/26 block drop']],
  ] as const)
    t.strictSame(
      told.say('BlockAffinity', 'x', affinity('10.1.0.0/26', more)),
      expected,
      JSON.stringify(more),
    );
  t.strictSame(told.say('BlockAffinity', 'x', affinity('10.1.0.0/26')), [], 'nothing is said twice');
  t.strictSame(told.say('BlockAffinity', 'one', affinity('10.1.1.7/32')), ['+10.1.1.7/32 block']);
  t.strictSame(told.say('BlockAffinity', 'v6', affinity('fd00::/122')), ['+fd00::/122 block drop']);
  t.strictSame(told.say('BlockAffinity', 'x', affinity('10.2.0.0/26')), [
    '+10.2.0.0/26 block drop',
    '-10.1.0.0/26',
  ]);
  t.strictSame(told.say('BlockAffinity', 'x', undefined), ['-10.2.0.0/26']);
  t.strictSame([...told.local.all().keys()], ['10.1.1.7/32', 'fd00::/122']);
});

t.test(
  'the longest pool says whether it is announced; what is not announced is dropped all the same',
  async (t) => {
    const told = new Told();
    told.say('BlockAffinity', 'x', affinity('10.1.0.0/26'));
    t.strictSame(told.say('IPPool', 'all', pool('10.0.0.0/8', true)), ['+(10.1.0.0/26 block drop)']);
    t.strictSame(told.say('IPPool', 'mine', pool('10.1.0.0/16', false)), ['+10.1.0.0/26 block drop']);
    t.strictSame(told.say('IPPool', 'beside', pool('10.1.0.64/26', true)), []);
    t.strictSame(told.say('IPPool', 'v6', pool('::/0', true)), []);
    t.strictSame(told.say('IPPool', 'mine', undefined), ['+(10.1.0.0/26 block drop)']);
    t.strictSame(
      told.say('IPPool', 'all', undefined),
      [],
      'a pool may go before its pods, of which nobody is to know then either',
    );
    t.strictSame(told.say('BlockAffinity', 'y', affinity('10.1.0.128/26')), ['+(10.1.0.128/26 block drop)']);
    t.strictSame(told.say('BlockAffinity', 'z', affinity('11.1.0.0/26')), ['+11.1.0.0/26 block drop']);
    t.strictSame(
      told.say('IPPool', 'wide', pool('0.0.0.0/0', false)),
      [],
      'a wider one is not what they are of',
    );
    t.strictSame(told.say('IPPool', 'new', pool('10.0.0.0/8', false)), [
      '+10.1.0.0/26 block drop',
      '+10.1.0.128/26 block drop',
    ]);
    told.say('IPPool', 'new', pool('10.0.0.0/8', true));
    told.say('IPPool', 'new', undefined);
    for (const name of ['x', 'y']) told.say('BlockAffinity', name, undefined);
    t.strictSame(
      told.say('BlockAffinity', 'x', affinity('10.1.0.0/26')),
      ['+10.1.0.0/26 block drop'],
      'nothing was left of it: it is forgotten',
    );
  },
);

t.test('what is excluded stays so while its Node is away', async (t) => {
  const told = new Told();
  const excluded = { name: 'a', labels: { 'node.kubernetes.io/exclude-from-external-load-balancers': '' } };
  told.say('Node', 'a', excluded);
  told.say('BGPConfiguration', 'default', configuration({ service_cluster_prefixes: ['10.96.0.0/12'] }));
  t.strictSame(told.say('Node', 'a', undefined), []);
  t.strictSame(
    told.say('Node', 'a', { name: 'a', labels: {} }),
    [],
    'made anew without what was written to it',
  );
  const other = new Told();
  other.say('BGPConfiguration', 'default', configuration({ service_cluster_prefixes: ['10.96.0.0/12'] }));
  other.say('Node', 'a', { ...excluded, ip4: { address: '10.0.0.1', prefix: '10.0.0.0/24' } });
  const without = { name: 'a', labels: {}, ip4: { address: '10.0.0.1', prefix: '10.0.0.0/24' } };
  t.strictSame(other.say('Node', 'a', without), ['+10.96.0.0/12 service drop'], 'taken off');
});

t.test('a configuration that cannot be read in what matters says nothing of services either', async (t) => {
  const told = new Told();
  const services = { service_cluster_prefixes: ['10.96.0.0/12'] };
  told.say('BGPConfiguration', 'default', configuration(services));
  const faulty = { ...configuration({}), vital_faults: ['spec.asNumber'] };
  t.strictSame(told.say('BGPConfiguration', 'default', faulty), []);
  t.strictSame(told.say('BGPConfiguration', 'default', undefined), ['-10.96.0.0/12']);
});

t.test('borrowed: an address of another node’s block, with no drop route, for a pod has it', async (t) => {
  const told = new Told();
  const block = (borrowed: readonly (readonly [string, string])[], deleted = false) => ({
    prefix: '10.9.0.0/26',
    node: 'b',
    borrowed: borrowed.map(([address, node]) => ({ address, node })),
    deleted,
  });
  t.strictSame(
    told.say(
      'IPAMBlock',
      'x',
      block([
        ['10.9.0.1', 'a'],
        ['10.9.0.2', 'c'],
      ]),
    ),
    ['+10.9.0.1/32 borrowed'],
  );
  t.strictSame(
    told.say(
      'IPAMBlock',
      'x',
      block([
        ['10.9.0.2', 'a'],
        ['10.9.0.1', 'a'],
      ]),
    ),
    ['+10.9.0.2/32 borrowed'],
  );
  t.strictSame(told.say('IPPool', 'p', pool('10.9.0.0/16', true)), [
    '+(10.9.0.1/32 borrowed)',
    '+(10.9.0.2/32 borrowed)',
  ]);
  t.strictSame(told.say('IPAMBlock', 'x', block([['10.9.0.2', 'a']], true)), [
    '-10.9.0.1/32',
    '-10.9.0.2/32',
  ]);
});

t.test('prefixes of services: by prefix, and one by one where the node matters', async (t) => {
  /** Policies, endpoints of IPv4, and what is announced beside the prefixes themselves. */
  const both = [
    '+10.96.0.7/32 service drop',
    '+203.0.113.1/32 service drop',
    '+198.51.100.1/32 service drop',
  ];
  for (const [more, endpoints, expected] of [
    [{}, [here], []],
    [{ external_policy: 'Local' }, [there], []],
    [{ external_policy: 'Local' }, [here], both],
    [{ external_policy: 'Local' }, [{ ...here, draining: true }], []],
    [{ external_policy: 'Local' }, [there, here], both],
    [{ internal_policy: 'Local' }, [here], ['+10.96.0.7/32 service drop']],
    [{ internal_policy: 'Local' }, [there], []],
  ] as const) {
    const told = new Told();
    t.strictSame(
      told.say(
        'BGPConfiguration',
        'default',
        configuration({
          service_cluster_prefixes: ['10.96.0.0/12', 'fd00:96::/108'],
          service_external_prefixes: ['203.0.113.0/24'],
          service_load_balancer_prefixes: ['198.51.100.0/24'],
        }),
      ),
      [
        '+10.96.0.0/12 service drop',
        '+198.51.100.0/24 service drop',
        '+203.0.113.0/24 service drop',
        '+fd00:96::/108 service drop',
      ],
    );
    told.say('EndpointSlice', 'default/web-x', slice(endpoints));
    const ips = {
      cluster_ips: ['10.96.0.7', 'fd00:96::7'],
      external_ips: ['203.0.113.1', '192.0.2.1'],
      load_balancer_ips: ['198.51.100.1', '192.0.2.2'],
    };
    const what = JSON.stringify([more, endpoints]);
    t.strictSame(
      told.say('Service', 'default/web', service({ ...ips, ...more })),
      [...expected].sort(),
      what,
    );
    t.strictSame(
      told.say('Service', 'default/web', undefined),
      expected.map((text) => text.replace(/^\+(\S+).*/, '-$1')).sort(),
      what,
    );
  }
});

t.test('an address of a service is announced while VPP serves it, where that is told', async (t) => {
  const told = new Told(true, true);
  const prefixes = { service_external_prefixes: ['203.0.113.0/24'] };
  t.strictSame(
    told.say('BGPConfiguration', 'default', configuration(prefixes)),
    ['+203.0.113.0/24 service drop'],
    'a prefix is announced whatever is in it',
  );
  told.say('EndpointSlice', 'default/web-x', slice([here]));
  const local = service({ external_ips: ['203.0.113.1'], external_policy: 'Local' });
  t.strictSame(told.say('Service', 'default/web', local), ['+(203.0.113.1/32 service drop)']);
  told.local.setServed(new Map([['203.0.113.1', true]]), false);
  t.strictSame(told.changes(), ['+203.0.113.1/32 service drop']);
  told.local.setServed(new Map([['203.0.113.9', true]]), false);
  t.strictSame(told.changes(), [], 'what nobody has is not announced for it');
  told.local.setServed(new Map([['203.0.113.1', false]]), false);
  t.strictSame(told.changes(), ['+(203.0.113.1/32 service drop)']);
  told.local.setServed(new Map([['203.0.113.1', true]]), true);
  told.local.setServed(new Map(), true);
  t.strictSame(told.changes(), [], 'as a whole: none is served');
  t.strictSame(told.say('BlockAffinity', 'b', affinity('10.0.0.7/32')), ['+10.0.0.7/32 block']);
});

t.test('endpoints come and go, in several slices, and each family by itself', async (t) => {
  const told = new Told();
  told.say(
    'BGPConfiguration',
    'default',
    configuration({ service_cluster_prefixes: ['10.96.0.0/12', 'fd00:96::/108'] }),
  );
  const web = service({ cluster_ips: ['10.96.0.7', 'fd00:96::7'], external_policy: 'Local' });
  t.strictSame(told.say('Service', 'default/web', web), []);
  t.strictSame(told.say('EndpointSlice', 'default/x', slice([there])), []);
  t.strictSame(told.say('EndpointSlice', 'default/y', slice([here])), ['+10.96.0.7/32 service drop']);
  t.strictSame(told.say('EndpointSlice', 'default/z', slice([here], 6)), ['+fd00:96::7/128 service drop']);
  t.strictSame(told.say('EndpointSlice', 'default/x', slice([here])), []);
  t.strictSame(told.say('EndpointSlice', 'default/y', undefined), []);
  t.strictSame(
    told.say('EndpointSlice', 'default/x', slice([here], 4, 'default/other')),
    ['-10.96.0.7/32'],
    'a slice that goes to another service',
  );
  t.strictSame(told.say('EndpointSlice', 'default/z', slice([], 6)), ['-fd00:96::7/128']);
});

t.test(
  'a prefix of one address is announced where a service has it; without aggregation each address is',
  async (t) => {
    const told = new Told();
    told.say(
      'BGPConfiguration',
      'default',
      configuration({
        service_external_prefixes: ['203.0.113.1/32'],
        service_load_balancer_prefixes: ['198.51.100.0/24'],
      }),
    );
    t.strictSame([...told.local.all().keys()], ['198.51.100.0/24']);
    const web = service({ external_ips: ['203.0.113.1'], load_balancer_ips: ['198.51.100.1'] });
    t.strictSame(told.say('Service', 'default/web', web), ['+203.0.113.1/32 service drop']);
    t.strictSame(told.say('Service', 'default/z', service({ external_ips: ['203.0.113.1'] })), []);
    t.strictSame(
      told.say('Service', 'default/web', undefined),
      ['+203.0.113.1/32 service drop'],
      'another one has it still: only by whom has changed',
    );
    t.strictSame(told.say('Service', 'default/z', undefined), ['-203.0.113.1/32']);
    told.say('Service', 'default/web', web);
    t.strictSame(
      told.say(
        'BGPConfiguration',
        'default',
        configuration({
          service_load_balancer_prefixes: ['198.51.100.0/24'],
          load_balancer_aggregation: 'Disabled',
        }),
      ),
      ['-198.51.100.0/24', '-203.0.113.1/32'],
    );
    t.strictSame(told.say('EndpointSlice', 'default/x', slice([there])), ['+198.51.100.1/32 service drop']);
    t.strictSame(
      told.say('BGPConfiguration', 'node.a', configuration({ service_cluster_prefixes: ['10.0.0.0/8'] })),
      [],
    );
    t.strictSame(told.say('BGPConfiguration', 'default', undefined), ['-198.51.100.1/32']);
  },
);

t.test(
  'a node that is no way in announces nothing of services; an address of a node is not dropped',
  async (t) => {
    const told = new Told();
    told.say(
      'BGPConfiguration',
      'default',
      configuration({ service_external_prefixes: ['10.0.0.0/24', '10.0.0.2/32'] }),
    );
    told.say('BlockAffinity', 'x', affinity('10.1.0.0/26'));
    t.strictSame(told.say('Service', 'default/web', service({ external_ips: ['10.0.0.2'] })), [
      '+10.0.0.2/32 service drop',
    ]);
    const b = { name: 'b', labels: {}, ip4: { address: '10.0.0.2', prefix: '10.0.0.0/24' } };
    t.strictSame(told.say('Node', 'b', b), ['+10.0.0.2/32 service']);
    t.strictSame(told.say('Node', 'c', { name: 'c', labels: {}, status_ip4: '10.0.0.2' }), []);
    t.strictSame(told.say('Node', 'b', undefined), []);
    t.strictSame(told.say('Node', 'c', undefined), ['+10.0.0.2/32 service drop']);
    const label = 'node.kubernetes.io/exclude-from-external-load-balancers';
    t.strictSame(told.say('Node', 'b', { name: 'b', labels: { [label]: '' } }), []);
    t.strictSame(told.say('Node', 'a', { name: 'a', labels: { [label]: '' } }), [
      '-10.0.0.0/24',
      '-10.0.0.2/32',
    ]);
    t.strictSame(told.say('Service', 'default/new', service({ external_ips: ['10.0.0.2'] })), []);
    t.strictSame(told.say('Node', 'a', { name: 'a', labels: {} }), [
      '+10.0.0.0/24 service drop',
      '+10.0.0.2/32 service drop',
    ]);
  },
);

t.test('one prefix by several objects: the first source names it, any announces it', async (t) => {
  const told = new Told();
  told.say('IPPool', 'p', pool('10.1.0.0/16', true));
  told.say('BlockAffinity', 'x', affinity('10.1.0.0/24'));
  t.strictSame(
    told.say('BGPConfiguration', 'default', configuration({ service_external_prefixes: ['10.1.0.0/24'] })),
    ['+10.1.0.0/24 block drop'],
  );
  t.strictSame(told.say('BlockAffinity', 'x', undefined), ['+10.1.0.0/24 service drop']);
});

t.test(
  'nothing is announced before it is known what pools and nodes forbid; it is dropped at once',
  async (t) => {
    const local = new LocalPrefixes({ node_name: 'a', services: true });
    const say = (objects: object) => {
      local.take(objects as Objects);
      return [...local.changes().values()].map((each) => [each?.prefix, each?.announced, each?.dropped]);
    };
    const block = new Map([['x', affinity('10.1.0.0/26')]]);
    t.strictSame(say({ kind: 'BlockAffinity', synced: true, changed: block }), [
      ['10.1.0.0/26', false, true],
    ]);
    const pools = new Map([['p', pool('10.2.0.0/16', true)]]);
    t.strictSame(say({ kind: 'IPPool', synced: false, changed: pools }), []);
    t.strictSame(say({ kind: 'IPPool', synced: true, changed: new Map() }), []);
    t.strictSame(say({ kind: 'Node', synced: true, changed: new Map() }), [['10.1.0.0/26', true, true]]);
  },
);

t.test('without BGP services do not matter; synced are all that do', async (t) => {
  const told = new Told(false);
  t.strictSame(
    told.say('BGPConfiguration', 'default', configuration({ service_cluster_prefixes: ['10.96.0.0/12'] })),
    [],
  );
  for (const services of [false, true]) {
    const local = new LocalPrefixes({ node_name: 'a', services });
    for (const kind of localPrefixKinds({ services })) {
      local.take({ kind, synced: false, changed: new Map() } as Objects);
      t.notOk(local.synced, `before ${kind}`);
      local.take({ kind, synced: true, changed: new Map() } as Objects);
    }
    t.ok(local.synced);
  }
});

t.test('a change among 20,000 services costs what it touches', async (t) => {
  const told = new Told();
  told.say('BGPConfiguration', 'default', configuration({ service_cluster_prefixes: ['10.96.0.0/12'] }));
  const changed = new Map<string, Service>();
  for (let n = 0; n < 20_000; n += 1)
    changed.set(
      `default/${n}`,
      service({ cluster_ips: [`10.96.${n >> 8}.${n & 255}`], external_policy: 'Local' }),
    );
  told.local.take({ kind: 'Service', synced: true, changed });
  t.equal(told.local.changes().size, 0);
  for (const key of changed.keys())
    told.local.take({
      kind: 'EndpointSlice',
      synced: true,
      changed: new Map([[`${key}-x`, slice([here], 4, key)]]),
    });
  t.equal(told.local.changes().size, 20_000);
  const began = performance.now();
  for (let n = 0; n < 1000; n += 1) {
    const endpoints = n % 2 === 0 ? [] : [here];
    const key = 'default/7-x';
    told.local.take({
      kind: 'EndpointSlice',
      synced: true,
      changed: new Map([[key, slice(endpoints, 4, 'default/7')]]),
    });
    t.equal(told.local.changes().size, 1);
  }
  const took_ms = performance.now() - began;
  t.ok(took_ms < 2000, `1000 changes: ${Math.round(took_ms)} ms`);
});
