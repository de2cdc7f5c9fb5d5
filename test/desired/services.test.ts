import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { Endpoint, EndpointPort, EndpointSlice } from '../../src/calico/kinds/endpoint-slice.js';
import type { IpPool } from '../../src/calico/kinds/ip-pool.js';
import type { KindName, Kinds, Objects } from '../../src/calico/kinds/kinds.js';
import type { CalicoNode } from '../../src/calico/kinds/node.js';
import type { Service, ServicePort } from '../../src/calico/kinds/service.js';
import { backends_max } from '../../src/desired/services/endpoints.js';
import { type ServiceNode, ServicePlan, service_plan_kinds } from '../../src/desired/services/plan.js';
import { faults_max, host_backends_max, paths_max, vips_max } from '../../src/desired/services/vips.js';
import type { Sink } from '../../src/desired/sink.js';
import type { Translation } from '../../src/objects/cnat.js';
import { canonical, keyOf, type VppObject } from '../../src/objects/object.js';

const node: ServiceNode = {
  addresses: ['10.0.0.1', 'fd00::1'],
  subnets: ['10.0.0.0/24', 'fd00::/64'],
};

function inWords(object: VppObject): string {
  if (object.kind === 'route') return `${object.prefix} ${object.paths.map(({ via }) => via).join()}`;
  if (object.kind !== 'translation') throw new Error(`a service wants no ${object.kind}`);
  const { protocol, address, port, backends, lb, hash, real } = object;
  const to = backends.map((each) => `${each.address}:${each.port}${each.no_nat ? '!' : ''}`).join(' ');
  const how = [lb, hash !== undefined && `hash ${hash}`, real && 'real']
    .filter(Boolean)
    .map((word) => ` ${word}`);
  return `${protocol}/${address}/${port}${how.join('')} > ${to}`;
}

/** Keeps what is wanted, and refuses what would hurt whoever programs it. */
class Wanted implements Sink {
  readonly objects = new Map<string, VppObject>();
  readonly changes: string[] = [];

  want(object: VppObject): void {
    if (object.kind === 'translation') check(object);
    if (canonical(object) !== object) throw new Error(`${inWords(object)} has another form`);
    const key = keyOf(object);
    if (this.objects.has(key) && inWords(this.objects.get(key)!) === inWords(object))
      throw new Error(`${inWords(object)} is told twice`);
    this.objects.set(key, object);
    this.changes.push(`+${inWords(object)}`);
  }

  unwant(object: VppObject): void {
    if (this.objects.get(keyOf(object)) !== object) throw new Error(`${inWords(object)} was not wanted`);
    this.objects.delete(keyOf(object));
    this.changes.push(`-${keyOf(object).replace(/^translation:|^route:services\/0\//, '')}`);
  }

  take(): string[] {
    return this.changes.splice(0);
  }

  get words(): string[] {
    return [...this.objects.values()].map(inWords).sort();
  }
}

/** VPP dies of a translation without back ends, and later of one with the same one twice. */
function check({ backends, address }: Translation): void {
  const names = backends.map((each) => `${each.address} ${each.port}`);
  if (names.length === 0 || names.length > backends_max) throw new Error(`${names.length} back ends`);
  if (new Set(names).size < names.length) throw new Error('a back end is there twice');
  for (const backend of backends)
    if (backend.address.includes(':') !== address.includes(':')) throw new Error('families are mixed');
}

class Told {
  readonly plan: ServicePlan;
  readonly sink = new Wanted();

  constructor(service_prefixes: readonly string[] = ['10.96.0.0/12', 'fd00:96::/108'], at = node) {
    this.plan = new ServicePlan({ node_name: 'a', service_prefixes });
    this.plan.setNode(at);
    for (const kind of ['Node', 'IPPool'] as const)
      this.plan.take({ kind, synced: true, changed: new Map() } as Objects);
    this.now();
  }

  take<K extends KindName>(kind: K, name: string, value: Kinds[K] | undefined): this {
    this.plan.take({ kind, synced: true, changed: new Map([[name, value]]) } as unknown as Objects);
    return this;
  }

  service(name: string, value: Service | undefined): this {
    return this.take('Service', name, value);
  }

  slice(name: string, value: EndpointSlice | undefined): this {
    return this.take('EndpointSlice', name, value);
  }

  /** Plans all, and says what changes. */
  now(): string[] {
    for (let round = 0; !this.plan.plan(3, this.sink); round += 1)
      if (round > 10_000) throw new Error('there is no end');
    return this.sink.take();
  }

  /** How many services this takes to be planned. */
  planned(change: () => unknown): number {
    const { planned } = this.plan.counts;
    change();
    this.now();
    return this.plan.counts.planned - planned;
  }

  faults(name = 'Service default/web'): readonly string[] {
    return this.plan.faults.get(name) ?? [];
  }
}

const http: ServicePort = { name: 'http', protocol: 'TCP', port: 80 };
const dns: ServicePort = { name: 'dns', protocol: 'UDP', port: 53 };
const http_end: EndpointPort = { name: 'http', protocol: 'TCP', port: 8080 };
const dns_end: EndpointPort = { name: 'dns', protocol: 'UDP', port: 5353 };

function service(more: Partial<Service> = {}): Service {
  return {
    type: 'ClusterIP',
    cluster_ips: ['10.96.0.1'],
    external_ips: [],
    load_balancer_ips: [],
    ports: [http],
    external_policy: 'Cluster',
    internal_policy: 'Cluster',
    source_prefixes: [],
    hash: [],
    ...more,
  };
}

function slice(endpoints: readonly Endpoint[], more: Partial<EndpointSlice> = {}): EndpointSlice {
  return { service: 'default/web', family: 4, endpoints, ports: [http_end], ...more };
}

/** `10.1.0.1@a`: on node a; `?`: it ends. */
function ends(...texts: readonly string[]): Endpoint[] {
  return texts.map((text) => {
    const [address = '', on = ''] = text.split('@');
    const name = on.replace('?', '');
    return {
      address: address.replace('?', ''),
      ...(name !== '' && { node: name }),
      ...(text.includes('?') && { draining: true as const }),
    };
  });
}

/** What of one service and its slices comes to be wanted. */
function wanted(of: Service, slices: readonly EndpointSlice[], told = new Told()): string[] {
  told.service('default/web', of);
  for (const [at, each] of slices.entries()) told.slice(`default/web-${at}`, each);
  return told.now().sort();
}

t.test(
  'what is always there: where packets go that a service has nobody for, and what no service has',
  async (t) => {
    const plan = new ServicePlan({ node_name: 'a', service_prefixes: ['10.96.0.0/12'] });
    const sink = new Wanted();
    plan.take({ kind: 'Service', synced: false, changed: new Map([['default/web', service()]]) });
    t.equal(plan.plan(10, sink), true);
    t.strictSame(sink.take(), [], 'nothing without a node');
    plan.setNode(node);
    plan.plan(10, sink);
    t.strictSame(
      sink.take().sort(),
      ['+100::1/128 drop', '+192.0.0.8/32 drop'],
      'refused is what is known to be nobody',
    );
    t.equal(plan.synced, false);
    for (const kind of service_plan_kinds) {
      t.equal(plan.synced, false);
      plan.take({ kind, synced: false, changed: new Map() } as Objects);
      plan.plan(10, sink);
      t.strictSame(sink.take(), [], `without ${kind}`);
      // Of ServiceCIDRs the API may have none.
      if (kind !== 'ServiceCIDR') plan.take({ kind, synced: true, changed: new Map() } as Objects);
    }
    t.equal(plan.synced, true);
    plan.plan(10, sink);
    t.strictSame(sink.take(), ['+10.96.0.0/12 unreachable']);
    plan.setNode(undefined);
    plan.take({ kind: 'Service', synced: true, changed: new Map([['default/web', undefined]]) });
    plan.plan(10, sink);
    t.strictSame(sink.take(), [], 'what was wanted of the last node stays');
  },
);

t.test('where a service is reached, by type', async (t) => {
  const all = slice(ends('10.1.0.1@a', '10.1.0.2@b'));
  const to = '> 10.1.0.1:8080 10.1.0.2:8080';
  const cluster = `+tcp/10.96.0.1/80 ${to}`;
  const external = `+tcp/203.0.113.1/80 ${to}`;
  const balanced = `+tcp/203.0.113.9/80 ${to}`;
  const on_node = `+tcp/10.0.0.1/30080 real ${to}`;
  const everywhere = {
    external_ips: ['203.0.113.1'],
    load_balancer_ips: ['203.0.113.9'],
    ports: [{ ...http, node_port: 30_080 }],
  };
  for (const [type, expected] of [
    ['ClusterIP', [cluster, external, balanced]],
    ['NodePort', [on_node, cluster, external, balanced]],
    ['LoadBalancer', [on_node, cluster, external, balanced]],
  ] as const)
    t.strictSame(wanted(service({ type, ...everywhere }), [all]), expected.slice().sort(), type);
  t.strictSame(wanted(service({ type: 'LoadBalancer' }), [all]), [cluster], 'without node ports');
});

t.test(
  'D9: node ports are served on every address of the node, and under Local by what is here',
  async (t) => {
    const told = new Told([], {
      addresses: ['10.0.0.1', '10.0.1.1', 'fd00::1', '127.0.0.1', '::1', 'fe80::1'],
    });
    const ports = [{ ...http, node_port: 30_080 }];
    const of = service({ type: 'NodePort', ports, external_policy: 'Local' });
    t.strictSame(wanted(of, [slice(ends('10.1.0.1@a', '10.1.0.2@b'))], told), [
      '+tcp/10.0.0.1/30080 real > 10.1.0.1:8080',
      '+tcp/10.0.1.1/30080 real > 10.1.0.1:8080',
      '+tcp/10.96.0.1/80 > 10.1.0.1:8080 10.1.0.2:8080',
    ]);
    told.plan.setNode({ addresses: ['10.0.1.1', '10.0.2.1'] });
    t.strictSame(told.now().sort(), ['+tcp/10.0.2.1/30080 real > 10.1.0.1:8080', '-tcp/10.0.0.1/30080']);
    told.service('default/other', service({ cluster_ips: ['10.96.0.2'] })).now();
    const again = () => told.plan.setNode({ addresses: ['10.0.1.1', '10.0.2.1'] });
    t.equal(told.planned(again), 0, 'the same node is no change');
    told.plan.setNode({ addresses: ['10.0.2.1'] });
    t.strictSame(told.now(), ['-tcp/10.0.1.1/30080']);
  },
);

t.test('both families, several ports, one number of two protocols', async (t) => {
  const of = service({
    cluster_ips: ['10.96.0.1', 'fd00:96::1'],
    external_ips: ['2001:db8::1'],
    type: 'NodePort',
    ports: [
      { ...http, node_port: 30_080 },
      { name: 'dns', protocol: 'UDP', port: 53 },
      { name: 'dns-tcp', protocol: 'TCP', port: 53 },
    ],
  });
  const ports: EndpointPort[] = [http_end, dns_end, { name: 'dns-tcp', protocol: 'TCP', port: 5354 }];
  t.strictSame(
    wanted(of, [slice(ends('10.1.0.1'), { ports }), slice(ends('fd00:1::1'), { ports, family: 6 })]),
    [
      '+tcp/10.0.0.1/30080 real > 10.1.0.1:8080',
      '+tcp/10.96.0.1/53 > 10.1.0.1:5354',
      '+tcp/10.96.0.1/80 > 10.1.0.1:8080',
      '+tcp/2001:db8::1/53 > fd00:1::1:5354',
      '+tcp/2001:db8::1/80 > fd00:1::1:8080',
      '+tcp/fd00:96::1/53 > fd00:1::1:5354',
      '+tcp/fd00:96::1/80 > fd00:1::1:8080',
      '+tcp/fd00::1/30080 real > fd00:1::1:8080',
      '+udp/10.96.0.1/53 > 10.1.0.1:5353',
      '+udp/2001:db8::1/53 > fd00:1::1:5353',
      '+udp/fd00:96::1/53 > fd00:1::1:5353',
    ],
  );
  const told = new Told();
  const on_nodes = service({ type: 'NodePort', ports: [{ ...dns, node_port: 30_053 }] });
  t.strictSame(wanted(on_nodes, []), [
    '+udp/10.0.0.1/30053 real > 192.0.0.8:9',
    '+udp/10.96.0.1/53 > 192.0.0.8:9',
  ]);
  wanted(service({ external_ips: ['2001:db8::1'] }), [], told);
  t.match(told.faults(), [/^2001:db8::1 is of a family that the service has no cluster address of/]);
});

t.test('D6: the port is that of the slice, by name and protocol', async (t) => {
  const more = (port: number, name = 'http', protocol: 'TCP' | 'UDP' = 'TCP') => ({
    ports: [{ name, protocol, port }],
  });
  t.strictSame(
    wanted(service(), [
      slice(ends('10.1.0.1'), more(8080)),
      slice(ends('10.1.0.2'), more(9090)),
      slice(ends('10.1.0.3'), more(7070, 'other')),
      slice(ends('10.1.0.4'), more(7070, 'http', 'UDP')),
      slice(ends('10.1.0.5'), { ports: [] }),
    ]),
    ['+tcp/10.96.0.1/80 > 10.1.0.1:8080 10.1.0.2:9090'],
  );
  const unnamed = service({ ports: [{ name: '', protocol: 'TCP', port: 443 }] });
  t.strictSame(wanted(unnamed, [slice(ends('10.1.0.1'), more(6443, ''))]), [
    '+tcp/10.96.0.1/443 > 10.1.0.1:6443',
  ]);
});

t.test('D7: each back end once, in the order of numbers; what is here and ready goes before', async (t) => {
  const many = ends('10.1.0.10@b', '10.1.0.9@b', '10.1.0.100@b', '9.1.0.1@b');
  t.strictSame(wanted(service(), [slice(many), slice(many), slice([...many].reverse())]), [
    '+tcp/10.96.0.1/80 > 9.1.0.1:8080 10.1.0.9:8080 10.1.0.10:8080 10.1.0.100:8080',
  ]);
  const local = service({ internal_policy: 'Local' });
  for (const slices of [
    [slice(ends('10.1.0.1@0')), slice(ends('10.1.0.1@a'))],
    [slice(ends('10.1.0.1@a')), slice(ends('10.1.0.1@0'))],
  ])
    t.strictSame(wanted(local, slices), ['+tcp/10.96.0.1/80 > 10.1.0.1:8080']);
  for (const slices of [
    [slice(ends('10.1.0.1?', '10.1.0.2')), slice(ends('10.1.0.1'))],
    [slice(ends('10.1.0.1', '10.1.0.2')), slice(ends('10.1.0.1?'))],
  ])
    t.strictSame(wanted(service(), slices), ['+tcp/10.96.0.1/80 > 10.1.0.1:8080 10.1.0.2:8080']);
  t.strictSame(
    wanted(service({ cluster_ips: ['fd00:96::1'] }), [
      slice(ends('fd00::10', 'fd00::9', 'fd00::a'), { family: 6 }),
    ]),
    ['+tcp/fd00:96::1/80 > fd00::9:8080 fd00::a:8080 fd00::10:8080'],
  );
});

t.test('D2: what is not ready gets nothing; what ends is used where there is no other', async (t) => {
  const to = (...endpoints: string[]) => `+tcp/10.96.0.1/80 > ${endpoints.join(' ')}`;
  t.strictSame(wanted(service(), [slice(ends('10.1.0.1?', '10.1.0.2'))]), [to('10.1.0.2:8080')]);
  t.strictSame(wanted(service(), [slice(ends('10.1.0.1?', '10.1.0.2?'))]), [
    to('10.1.0.1:8080', '10.1.0.2:8080'),
  ]);
  const local = service({ internal_policy: 'Local' });
  t.strictSame(
    wanted(local, [slice(ends('10.1.0.1?@a', '10.1.0.2@b', '10.1.0.3@a'))]),
    [to('10.1.0.3:8080')],
    'here, one is ready',
  );
  t.strictSame(
    wanted(local, [slice(ends('10.1.0.1?@a', '10.1.0.2@b'))]),
    [to('10.1.0.1:8080')],
    'what ends here goes before what is ready elsewhere',
  );
});

t.test('Local: by what is here; D8: what is on no node is not', async (t) => {
  const all = slice(ends('10.1.0.1@a', '10.1.0.2@b', '198.51.100.1'));
  const of = (more: Partial<Service>) => service({ external_ips: ['203.0.113.1'], ...more });
  const everybody = '> 10.1.0.1:8080 10.1.0.2:8080 198.51.100.1:8080';
  t.strictSame(wanted(of({ external_policy: 'Local' }), [all]), [
    `+tcp/10.96.0.1/80 ${everybody}`,
    '+tcp/203.0.113.1/80 > 10.1.0.1:8080',
  ]);
  t.strictSame(wanted(of({ internal_policy: 'Local' }), [all]), [
    '+tcp/10.96.0.1/80 > 10.1.0.1:8080',
    `+tcp/203.0.113.1/80 ${everybody}`,
  ]);
  t.strictSame(
    wanted(of({ internal_policy: 'Local', external_policy: 'Local' }), [
      slice(ends('10.1.0.2@b', '198.51.100.1')),
    ]),
    ['+tcp/10.96.0.1/80 > 192.0.0.8:9', '+tcp/203.0.113.1/80 > 192.0.0.8:9'],
    'elsewhere only: dropped without a word',
  );
});

t.test('topology: node before zone, if all have a hint and one points here', async (t) => {
  const hinted = (address: string, zones?: readonly string[], nodes?: readonly string[]): Endpoint => ({
    address,
    node: 'b',
    ...(zones && { for_zones: zones }),
    ...(nodes && { for_nodes: nodes }),
  });
  const of_zone = (zone?: string) =>
    new Told().take('Node', 'a', {
      name: 'a',
      labels: zone === undefined ? {} : { 'topology.kubernetes.io/zone': zone },
    });
  const to = (text: string) => [`+tcp/10.96.0.1/80 > ${text}`];
  const both = '10.1.0.1:8080 10.1.0.2:8080';
  const x = hinted('10.1.0.1', ['x']);
  const y = hinted('10.1.0.2', ['y']);
  t.strictSame(wanted(service(), [slice([x, y])], of_zone('x')), to('10.1.0.1:8080'));
  t.strictSame(wanted(service(), [slice([x]), slice([y])], of_zone('y')), to('10.1.0.2:8080'));
  t.strictSame(wanted(service(), [slice([x, y])], of_zone()), to(both), 'no zone');
  t.strictSame(wanted(service(), [slice([x, y])], of_zone('z')), to(both), 'nobody for this zone');
  const bare = hinted('10.1.0.3');
  t.strictSame(
    wanted(service(), [slice([x, y, bare])], of_zone('x')),
    to(`${both} 10.1.0.3:8080`),
    'one lacks it',
  );
  const ending: Endpoint = { ...bare, draining: true };
  t.strictSame(
    wanted(service(), [slice([x, y, ending])], of_zone('x')),
    to('10.1.0.1:8080'),
    'one that ends has none',
  );
  const a = hinted('10.1.0.1', ['y'], ['a']);
  const b = hinted('10.1.0.2', ['x'], ['b']);
  t.strictSame(wanted(service(), [slice([a, b])], of_zone('x')), to('10.1.0.1:8080'), 'the node');
  t.strictSame(
    wanted(service(), [slice([hinted('10.1.0.1', ['y'], ['c']), b])], of_zone('x')),
    to('10.1.0.2:8080'),
    'no node: the zone',
  );
  const local = service({ internal_policy: 'Local' });
  t.strictSame(
    wanted(
      local,
      [
        slice([
          { ...x, node: 'a' },
          { ...y, node: 'a' },
        ]),
      ],
      of_zone('x'),
    ),
    to(both),
    'Local does not ask for hints',
  );
  const told = of_zone('x');
  wanted(service(), [slice([x, y])], told);
  t.strictSame(
    told.take('Node', 'a', { name: 'a', labels: { 'topology.kubernetes.io/zone': 'y' } }).now(),
    to('10.1.0.2:8080'),
    'the node moves',
  );
  t.strictSame(
    told.take('Node', 'b', { name: 'b', labels: { 'topology.kubernetes.io/zone': 'x' } }).now(),
    [],
  );
});

t.test('nobody: TCP is refused by the route under it, UDP dropped, and both come back', async (t) => {
  const told = new Told();
  const of = service({
    ports: [http, dns, { name: 'sig', protocol: 'SCTP', port: 99 }],
    external_ips: ['203.0.113.1'],
  });
  t.strictSame(wanted(of, [], told), [
    '+203.0.113.1/32 unreachable',
    '+udp/10.96.0.1/53 > 192.0.0.8:9',
    '+udp/203.0.113.1/53 > 192.0.0.8:9',
  ]);
  t.match(told.plan.status('default/web')?.vips, [
    { vip: 'tcp/10.96.0.1/80', outcome: 'refused', backends: 0 },
    { vip: 'tcp/203.0.113.1/80', outcome: 'refused' },
    { vip: 'udp/10.96.0.1/53', outcome: 'dropped', backends: 0 },
    { vip: 'udp/203.0.113.1/53' },
    { vip: 'sctp/10.96.0.1/99', outcome: 'refused' },
    { vip: 'sctp/203.0.113.1/99' },
  ]);
  const there = slice(ends('10.1.0.1'), { ports: [http_end, dns_end] });
  t.strictSame(told.slice('default/web-0', there).now(), [
    '+tcp/10.96.0.1/80 > 10.1.0.1:8080',
    '+tcp/203.0.113.1/80 > 10.1.0.1:8080',
    '+udp/10.96.0.1/53 > 10.1.0.1:5353',
    '+udp/203.0.113.1/53 > 10.1.0.1:5353',
  ]);
  t.ok(told.sink.words.includes('203.0.113.1/32 unreachable'), 'SCTP is still refused');
  const sctp: EndpointPort = { name: 'sig', protocol: 'SCTP', port: 9 };
  told.slice('default/web-1', slice(ends('10.1.0.1'), { ports: [sctp] }));
  t.strictSame(told.now(), [
    '+sctp/10.96.0.1/99 > 10.1.0.1:9',
    '+sctp/203.0.113.1/99 > 10.1.0.1:9',
    '-203.0.113.1/32',
  ]);
  told.slice('default/web-0', slice(ends('10.1.0.1'), { ports: [dns_end] }));
  t.strictSame(told.now(), ['-tcp/10.96.0.1/80', '-tcp/203.0.113.1/80', '+203.0.113.1/32 unreachable']);
});

t.test('what is under a service cuts nobody off', async (t) => {
  const of = (address: string) => service({ external_ips: [address], ports: [http, dns] });
  const only = (address: string, told = new Told()) =>
    wanted(of(address), [], told).filter((each) => each.includes(address));
  const dropped = (address: string) => [
    `+tcp/${address}/80 > 192.0.0.8:9`,
    `+udp/${address}/53 > 192.0.0.8:9`,
  ];
  const pool = (prefix: string, ...allowed_uses: IpPool['allowed_uses']): IpPool => ({
    name: 'p',
    prefix,
    ipip: 'Never',
    vxlan: 'Never',
    nat_outgoing: false,
    disabled: false,
    disable_bgp_export: false,
    allowed_uses,
  });
  const of_node = (address: string): CalicoNode => ({ name: 'b', labels: {}, status_ip4: address });
  t.strictSame(only('203.0.113.1'), ['+203.0.113.1/32 unreachable', '+udp/203.0.113.1/53 > 192.0.0.8:9']);
  t.strictSame(only('10.0.0.77'), dropped('10.0.0.77'), 'in the subnet of the node: a gateway, or anybody');
  t.strictSame(only('10.0.0.1'), ['+udp/10.0.0.1/53 > 192.0.0.8:9'], "the node's own: Linux refuses");
  t.strictSame(only('10.7.0.1', new Told().take('Node', 'b', of_node('10.7.0.1'))), dropped('10.7.0.1'));
  t.strictSame(only('10.7.0.1', new Told().take('IPPool', 'p', pool('10.7.0.0/16'))), dropped('10.7.0.1'));
  t.strictSame(
    only('10.7.0.1', new Told().take('IPPool', 'p', pool('10.7.0.0/16', 'Workload'))),
    dropped('10.7.0.1'),
  );
  t.strictSame(
    only('10.7.0.1', new Told().take('IPPool', 'p', pool('10.7.0.0/16', 'LoadBalancer'))),
    ['+10.7.0.1/32 unreachable', '+udp/10.7.0.1/53 > 192.0.0.8:9'],
    'of load balancers alone',
  );
  const api = slice(ends('198.51.100.1'), { service: 'default/kubernetes' });
  t.strictSame(only('198.51.100.1', new Told().slice('default/kubernetes', api)), dropped('198.51.100.1'));

  const told = new Told();
  only('10.7.0.1', told);
  t.strictSame(told.take('Node', 'b', of_node('10.7.0.1')).now(), [
    '-10.7.0.1/32',
    '+tcp/10.7.0.1/80 > 192.0.0.8:9',
  ]);
  t.strictSame(told.take('Node', 'c', of_node('10.7.0.2')).now(), []);
  t.strictSame(told.take('Node', 'b', undefined).now(), ['-tcp/10.7.0.1/80', '+10.7.0.1/32 unreachable']);
});

t.test('how flows are spread: annotations, and session affinity', async (t) => {
  const to = '10.1.0.1:8080';
  const all = slice(ends('10.1.0.1'));
  for (const [more, how, fault] of [
    [{}, ''],
    [{ lb_type: 'ecmp' }, ''],
    [{ lb_type: 'maglev' }, ' maglev'],
    [{ affinity_ms: 1000 }, ' maglev hash 1'],
    [{ affinity_ms: 1000, lb_type: 'maglev' }, ' maglev hash 1'],
    [{ affinity_ms: 1000, hash: ['srcaddr', 'dstaddr'] }, ' maglev hash 3'],
    [
      { affinity_ms: 1000, hash: ['srcaddr', 'srcport'] },
      ' maglev hash 5',
      /srcport goes before sessionAffinity/,
    ],
    [{ affinity_ms: 1000, lb_type: 'ecmp' }, ' hash 1', /ecmp goes before sessionAffinity/],
    [{ hash: ['srcport', 'dstport', 'srcaddr', 'dstaddr', 'iproto'] }, ' hash 31'],
    [{ hash: ['srcaddr', 'symmetric', 'reverse'] }, ' hash 97'],
    [{ hash: ['symmetric'] }, '', /names no field \(symmetric\)/],
  ] as readonly (readonly [Partial<Service>, string, RegExp?])[]) {
    const told = new Told();
    t.strictSame(
      wanted(service(more), [all], told),
      [`+tcp/10.96.0.1/80${how} > ${to}`],
      JSON.stringify(more),
    );
    t.match(told.faults(), fault === undefined ? [] : [fault]);
    t.equal(told.faults().length, fault === undefined ? 0 : 1);
  }
});

t.test('D4, D5: another way to choose, or another hash, is another translation', async (t) => {
  const told = new Told();
  const to = '> 10.1.0.1:8080 10.1.0.2:8080';
  const say = (more: Partial<Service>) => told.service('default/web', service(more)).now();
  wanted(service(), [slice(ends('10.1.0.1@a', '10.1.0.2@b'))], told);
  t.strictSame(say({ lb_type: 'maglev' }), [`+tcp/10.96.0.1/80 maglev ${to}`]);
  t.strictSame(say({ lb_type: 'maglev', hash: ['srcaddr'] }), [`+tcp/10.96.0.1/80 maglev hash 1 ${to}`]);
  t.strictSame(say({ affinity_ms: 9 }), [], 'what comes to the same');
  t.strictSame(say({ affinity_ms: 99 }), []);
  t.strictSame(say({ lb_type: 'maglevdsr' }), ['+tcp/10.96.0.1/80 maglev > 10.1.0.1:8080 10.1.0.2:8080!']);
  t.strictSame(say({ lb_type: 'maglev' }), [`+tcp/10.96.0.1/80 maglev ${to}`]);
  t.strictSame(say({}), [`+tcp/10.96.0.1/80 ${to}`]);
});

t.test(
  'DSR: on other nodes, but for node ports, what is on no node, and where nodes choose differently',
  async (t) => {
    const of = service({
      lb_type: 'maglevdsr',
      type: 'NodePort',
      ports: [{ ...http, node_port: 30_080 }],
      external_ips: ['203.0.113.1'],
    });
    const everybody = ends('10.1.0.1@a', '10.1.0.2@b', '198.51.100.1');
    t.strictSame(wanted(of, [slice(everybody)]), [
      '+tcp/10.0.0.1/30080 maglev real > 10.1.0.1:8080 10.1.0.2:8080 198.51.100.1:8080',
      '+tcp/10.96.0.1/80 maglev > 10.1.0.1:8080 10.1.0.2:8080! 198.51.100.1:8080',
      '+tcp/203.0.113.1/80 maglev > 10.1.0.1:8080 10.1.0.2:8080! 198.51.100.1:8080',
    ]);
    const hinted = everybody.map((each) => ({ ...each, for_nodes: ['a'] }));
    const told = new Told();
    wanted(of, [slice(hinted)], told);
    t.notMatch(told.sink.words.join(), /!/);
    t.match(told.faults(), [/maglevdsr does not go with topology hints/]);
    t.equal(told.faults().length, 1);
    wanted(service({ ...of, internal_policy: 'Local', external_policy: 'Local' }), [slice(hinted)], told);
    t.strictSame(told.faults(), [], 'by Local nobody is asked for hints');
  },
);

t.test('two services want one address and port: the older has it, the other is told', async (t) => {
  const of = (created_ms: number | undefined, more: Partial<Service> = {}) =>
    service({ external_ips: ['203.0.113.1'], ...(created_ms && { created_ms }), ...more });
  const told = new Told();
  const b = of(2000, { cluster_ips: ['10.96.0.2'] });
  wanted(b, [slice(ends('10.1.0.2'), { service: 'default/b' })], told.service('default/b', b));
  told.service('default/web', undefined).now();
  told.slice('default/a-0', slice(ends('10.1.0.1'), { service: 'default/a' }));
  t.strictSame(told.service('default/a', of(1000)).now(), [
    '+tcp/10.96.0.1/80 > 10.1.0.1:8080',
    '+tcp/203.0.113.1/80 > 10.1.0.1:8080',
  ]);
  t.match(told.faults('Service default/b'), [
    /^tcp\/203.0.113.1\/80 is of Service default\/a, which is older/,
  ]);
  t.strictSame(told.faults('Service default/a'), []);
  t.match(told.plan.status('default/b')?.vips, [
    { vip: 'tcp/10.96.0.2/80', outcome: 'served', backends: 1 },
    { vip: 'tcp/203.0.113.1/80', outcome: 'lost', holder: 'default/a' },
  ]);
  t.equal(told.plan.counts.faulty, 1);
  // Whatever becomes of the one that lost touches nothing.
  t.strictSame(told.slice('default/web-0', slice(ends('10.1.0.3'), { service: 'default/b' })).now(), [
    '+tcp/10.96.0.2/80 > 10.1.0.3:8080',
  ]);
  t.strictSame(
    told.service('default/a', of(3000)).now(),
    ['+tcp/203.0.113.1/80 > 10.1.0.3:8080'],
    'made anew',
  );
  t.strictSame(told.faults('Service default/b'), []);
  t.equal(told.faults('Service default/a').length, 1);
  t.strictSame(told.service('default/a', of(2000)).now(), ['+tcp/203.0.113.1/80 > 10.1.0.1:8080'], 'by name');
  t.strictSame(
    told.service('default/a', of(undefined)).now(),
    ['+tcp/203.0.113.1/80 > 10.1.0.3:8080'],
    'no time',
  );
  t.strictSame(told.service('default/b', undefined).now(), [
    '-tcp/10.96.0.2/80',
    '+tcp/203.0.113.1/80 > 10.1.0.1:8080',
  ]);
  t.equal(told.plan.counts.faulty, 0);
});

t.test(
  'D11: one who gets an address and port, and has no back ends, does not keep those of the other',
  async (t) => {
    for (const [protocol, change] of [
      ['TCP', ['-tcp/203.0.113.1/80', '+203.0.113.1/32 unreachable']],
      ['UDP', ['+udp/203.0.113.1/80 > 192.0.0.8:9']],
    ] as const) {
      const of = (created_ms: number) =>
        service({
          created_ms,
          cluster_ips: ['10.96.0.1'],
          external_ips: ['203.0.113.1'],
          ports: [{ ...http, protocol }],
        });
      const told = new Told();
      told.slice(
        'default/a-0',
        slice(ends('10.1.0.1'), { service: 'default/a', ports: [{ ...http_end, protocol }] }),
      );
      told
        .service('default/a', of(1))
        .service('default/b', { ...of(2), cluster_ips: ['10.96.0.2'] })
        .now();
      const first = `${protocol.toLowerCase()}/10.96.0.1/80`;
      t.strictSame(told.service('default/a', undefined).now().sort(), [`-${first}`, ...change].sort());
    }
  },
);

t.test('D1, D3: what goes is gone', async (t) => {
  const told = new Told();
  const of = service({
    external_ips: ['203.0.113.1'],
    external_policy: 'Local',
    ports: [http, { ...http, name: 'x', port: 81 }],
  });
  wanted(of, [slice(ends('10.1.0.1@a')), slice(ends('10.1.0.2@a'))], told);
  const to = (text: string) => [`+tcp/10.96.0.1/80 > ${text}`, `+tcp/203.0.113.1/80 > ${text}`];
  t.strictSame(told.slice('default/web-0', undefined).now(), to('10.1.0.2:8080'), 'a slice');
  t.strictSame(
    told.slice('default/web-1', slice([], { service: 'default/other' })).now(),
    ['-tcp/10.96.0.1/80', '-tcp/203.0.113.1/80'],
    'one that is of another service by now',
  );
  t.ok(told.sink.words.includes('203.0.113.1/32 unreachable'));
  t.strictSame(told.service('default/web', undefined).now(), ['-203.0.113.1/32'], 'the service');
  told.slice('default/web-1', undefined).now();
  t.match(told.plan.counts, {
    services: 0,
    slices: 0,
    vips: 0,
    translations: 0,
    unserved: 0,
    faulty: 0,
    waiting: 0,
  });
  t.equal(told.plan.status('default/web'), undefined);
  told.slice('default/web-0', slice(ends('10.1.0.1@a'))).now();
  t.strictSame(
    told.service('default/web', service()).now(),
    ['+tcp/10.96.0.1/80 > 10.1.0.1:8080'],
    'slices before',
  );
});

t.test('D15: however many slices of a service come, it is planned once', async (t) => {
  const told = new Told();
  told.service('default/web', service());
  const many = () => {
    for (let n = 0; n < 50; n += 1) told.slice(`default/web-${n}`, slice(ends(`10.1.0.${n + 1}`)));
  };
  t.equal(told.planned(many), 1);
  t.equal(
    told.sink.words.filter((each) => each.startsWith('tcp/10.96.0.1/80 > 10.1.0.1:8080 10.1.0.2:8080'))
      .length,
    1,
  );
  const again = slice(ends('10.1.0.1', '10.1.0.1'));
  t.strictSame(told.slice('default/web-0', again).now(), [], 'what changes nothing');
});

t.test('Linux translates itself what VPP does not see, or could not bring back', async (t) => {
  const told = new Told();
  const vips = () =>
    told.plan
      .hostVips()
      .map(
        ({ address, port, protocol, backends }) =>
          `${protocol}/${address}/${port} > ${backends.map((each) => `${each.address}:${each.port}`).join(' ')}`,
      )
      .sort();
  const of = service({
    type: 'NodePort',
    ports: [{ ...http, node_port: 30_080 }],
    external_ips: ['203.0.113.1', '10.0.0.1'],
  });
  wanted(of, [slice(ends('10.1.0.1@a', '10.1.0.2@b'))], told);
  const to = '> 10.1.0.1:8080 10.1.0.2:8080';
  t.strictSame(vips(), [`tcp/10.0.0.1/30080 ${to}`, `tcp/10.0.0.1/80 ${to}`], 'addresses of the node');
  const before = told.plan.hostVips();
  told.service('default/other', service({ cluster_ips: ['10.96.0.9'] }));
  told.slice('default/web-1', slice(ends('10.1.0.2@b'))).now();
  t.equal(told.plan.hostVips(), before, 'the same list while nothing of it changes');
  told.slice('default/web-1', undefined).now();
  told.service('default/web', { ...of, external_policy: 'Local' }).now();
  t.strictSame(
    vips(),
    [`tcp/10.0.0.1/30080 ${to}`, `tcp/10.0.0.1/80 ${to}`, `tcp/203.0.113.1/80 ${to}`],
    'Local is for what comes from outside',
  );
  told.service('default/web', { ...of, type: 'ClusterIP', external_ips: [] });
  told.slice('default/web-0', slice(ends('10.0.0.1@a', '10.0.0.2@b'))).now();
  t.strictSame(vips(), ['tcp/10.96.0.1/80 > 10.0.0.1:8080 10.0.0.2:8080'], 'a process of the node');
  const many = Array.from({ length: 40 }, (_, at) => `10.1.0.${at + 1}@${at === 39 ? 'a' : 'b'}`);
  told.service('default/web', of);
  told.slice('default/web-0', slice(ends(...many))).now();
  for (const { backends } of told.plan.hostVips()) {
    t.equal(backends.length, host_backends_max, 'of many some');
    t.equal(backends[0]?.address, '10.1.0.40', 'those of this node first');
  }
  const usedAt = (node_name: string): readonly string[] => {
    const own = new ServicePlan({ node_name, service_prefixes: [] });
    own.setNode(node);
    for (const kind of ['Node', 'IPPool'] as const)
      own.take({ kind, synced: true, changed: new Map() } as Objects);
    own.take({ kind: 'Service', synced: true, changed: new Map([['default/web', of]]) } as Objects);
    const all = slice(ends(...many));
    own.take({ kind: 'EndpointSlice', synced: true, changed: new Map([['default/web-0', all]]) } as Objects);
    own.plan(1000, new Wanted());
    return own.hostVips()[0]!.backends.map(({ address }) => address);
  };
  t.strictSame(usedAt('c'), usedAt('c'));
  t.notSame(usedAt('c'), usedAt('d'), 'hosts of other nodes send to others of them');
  told.service('default/web', { ...of, type: 'ClusterIP', external_ips: [] });
  told.slice('default/web-0', slice(ends('10.0.0.1@a', '10.0.0.2@b'))).now();
  const [without] = told.plan.hostVips();
  t.strictSame(Object.keys(without!), ['address', 'port', 'protocol', 'backends']);
  told.service('default/web', { ...of, type: 'ClusterIP', external_ips: [], affinity_ms: 1000 }).now();
  t.strictSame(told.plan.hostVips(), [{ ...without, affinity: true }]);
  told.slice('default/web-0', slice(ends('10.0.0.3@a', '10.0.0.2@b'))).now();
  t.strictSame(vips(), []);
  told.plan.setNode({ ...node, addresses: ['10.0.0.3'] });
  told.now();
  t.strictSame(vips(), ['tcp/10.96.0.1/80 > 10.0.0.2:8080 10.0.0.3:8080'], 'the node has it by now');
  told.slice('default/web-0', undefined).now();
  t.strictSame(vips(), [], 'nobody: Linux refuses');
});

t.test('healthCheckNodePort: how many endpoints of this node are ready', async (t) => {
  const told = new Told();
  const of = service({ type: 'LoadBalancer', external_policy: 'Local', health_port: 30_100 });
  wanted(
    of,
    [
      slice(ends('10.1.0.1@a', '10.1.0.2?@a', '10.1.0.3@b', '10.1.0.4@a')),
      slice(ends('10.1.0.1@a'), { ports: [dns_end] }),
      slice(ends('fd00:1::1@a'), { family: 6 }),
    ],
    told,
  );
  const expected = (local_endpoints: number) => [{ service: 'default/web', port: 30_100, local_endpoints }];
  const before = told.plan.health();
  t.strictSame(before, expected(2), 'an endpoint once, whatever its ports and families');
  told.slice('default/web-0', slice(ends('10.1.0.5@a', '10.1.0.4@a'))).now();
  t.strictSame(told.plan.health(), expected(3));
  told.slice('default/web-9', slice(ends('10.1.0.9@b'))).now();
  const now = told.plan.health();
  told.slice('default/web-9', undefined).now();
  t.equal(told.plan.health(), now, 'the same list while nothing of it changes');
  told.service('default/web', { ...of, external_policy: 'Cluster' }).now();
  t.strictSame(told.plan.health(), []);
  told.service('default/web', of).now();
  t.strictSame(told.plan.health(), expected(3));
  told.service('default/web', undefined).now();
  t.strictSame(told.plan.health(), []);
});

t.test(
  'prefixes of services: those of ServiceCIDRs, else of the configuration; none that would cut somebody off',
  async (t) => {
    const told = new Told(['10.96.0.0/12']);
    wanted(service({ cluster_ips: ['10.97.0.1', '172.20.0.1'] }), [], told);
    t.ok(told.sink.words.includes('172.20.0.1/32 unreachable'), 'in no prefix: by itself');
    t.notOk(told.sink.words.includes('10.97.0.1/32 unreachable'));
    t.strictSame(
      told.take('ServiceCIDR', 'kubernetes', { prefixes: ['172.20.0.0/16', 'fd00:96::/108'] }).now(),
      [
        '-10.96.0.0/12',
        '-172.20.0.1/32',
        '+172.20.0.0/16 unreachable',
        '+fd00:96::/108 unreachable',
        '+10.97.0.1/32 unreachable',
      ],
    );
    t.strictSame(told.plan.servicePrefixes, ['172.20.0.0/16', 'fd00:96::/108']);
    told.take('ServiceCIDR', 'more', { prefixes: ['10.97.0.0/24', '10.0.0.0/8', '10.0.0.128/25'] });
    told.now();
    t.match(
      [...told.plan.faults],
      [
        ['service prefix 10.0.0.0/8', [/^has node address/]],
        ['service prefix 10.0.0.128/25', [/^has a subnet of this node in it, or is in it/]],
      ],
    );
    t.ok(told.sink.words.includes('10.97.0.0/24 unreachable'));
    t.notOk(told.sink.words.some((each) => each.startsWith('10.0.0.0/')));
    for (const [kind, name, value, prefix, why] of [
      ['IPPool', 'p', { prefix: '172.16.0.0/12', allowed_uses: [] }, '172.20.0.0/16', /IPPool p/],
      ['Node', 'b', { name: 'b', labels: {}, status_ip4: '172.20.3.3' }, '172.20.0.0/16', /172.20.3.3/],
      [
        'EndpointSlice',
        'default/kubernetes',
        slice(ends('172.20.9.9'), { service: 'default/kubernetes' }),
        '172.20.0.0/16',
        /API server 172.20.9.9/,
      ],
    ] as const) {
      const change = told.take(kind, name, value as never).now();
      t.ok(change.includes(`-${prefix}`), `${kind}: ${change}`);
      t.match(told.faults(`service prefix ${prefix}`), [why]);
      t.ok(told.take(kind, name, undefined).now().includes(`+${prefix} unreachable`));
    }
    told.take('ServiceCIDR', 'kubernetes', undefined).take('ServiceCIDR', 'more', undefined).now();
    t.strictSame(told.plan.servicePrefixes, ['10.96.0.0/12']);
    told.take('ServiceCIDR', 'x', {
      prefixes: Array.from({ length: 1000 }, (_, n) => `10.${n >> 8}.${n & 255}.0/24`),
    });
    told.now();
    t.equal(told.plan.servicePrefixes.length, 256);
  },
);

t.test('bad input: an answer on the object, and nothing else', async (t) => {
  const cases: readonly (readonly [
    string,
    Service,
    readonly Endpoint[],
    RegExp | undefined,
    readonly string[],
  ])[] = [
    ['no ports', service({ ports: [] }), ends('10.1.0.1'), /^has no ports/, []],
    [
      'an endpoint that is the service',
      service({ cluster_ips: ['10.96.0.1', '10.96.0.2'] }),
      ends('10.96.0.1', '10.96.0.2', '10.1.0.1'),
      /^endpoint 10.96.0.1 is an address of the service itself/,
      ['+tcp/10.96.0.1/80 > 10.1.0.1:8080', '+tcp/10.96.0.2/80 > 10.1.0.1:8080'],
    ],
    [
      'one address twice, and as another kind',
      service({
        external_ips: ['10.96.0.1', '203.0.113.1', '203.0.113.1'],
        load_balancer_ips: ['203.0.113.1'],
      }),
      ends('10.1.0.1'),
      undefined,
      ['+tcp/10.96.0.1/80 > 10.1.0.1:8080', '+tcp/203.0.113.1/80 > 10.1.0.1:8080'],
    ],
    [
      'one port twice',
      service({ ports: [http, { ...http, name: 'again' }] }),
      ends('10.1.0.1'),
      undefined,
      ['+tcp/10.96.0.1/80 > 10.1.0.1:8080'],
    ],
    [
      'sources that are allowed',
      service({
        type: 'LoadBalancer',
        load_balancer_ips: ['203.0.113.1'],
        source_prefixes: ['198.51.100.0/24'],
      }),
      ends('10.1.0.1'),
      /^loadBalancerSourceRanges is not kept/,
      ['+tcp/10.96.0.1/80 > 10.1.0.1:8080', '+tcp/203.0.113.1/80 > 10.1.0.1:8080'],
    ],
    [
      'an annotation that nobody ever made anything of',
      service({ keep_original: true }),
      ends('10.1.0.1'),
      /^annotation vppKeepOriginalPacket has no effect/,
      ['+tcp/10.96.0.1/80 > 10.1.0.1:8080'],
    ],
    [
      'everybody is allowed',
      service({ type: 'LoadBalancer', load_balancer_ips: ['203.0.113.1'], source_prefixes: ['0.0.0.0/0'] }),
      ends('10.1.0.1'),
      undefined,
      ['+tcp/10.96.0.1/80 > 10.1.0.1:8080', '+tcp/203.0.113.1/80 > 10.1.0.1:8080'],
    ],
  ];
  for (const [name, of, endpoints, fault, expected] of cases) {
    const told = new Told();
    t.strictSame(wanted(of, [slice(endpoints)], told), expected, name);
    t.match(told.faults(), fault === undefined ? [] : [fault], name);
    t.equal(told.faults().length >= 1, fault !== undefined, name);
  }
});

t.test('SCTP: IPv4 alone, told once', async (t) => {
  const told = new Told(['10.96.0.0/12']);
  const sctp = (name: string, port: number): ServicePort => ({ name, protocol: 'SCTP', port });
  const of = service({ cluster_ips: ['10.96.0.1', 'fd00:96::1'], ports: [sctp('a', 1), sctp('b', 2)] });
  const ports: EndpointPort[] = [{ name: 'a', protocol: 'SCTP', port: 9 }];
  const slices = [slice(ends('10.1.0.1'), { ports }), slice(ends('fd00:1::1'), { ports, family: 6 })];
  t.strictSame(wanted(of, slices, told), ['+fd00:96::1/128 unreachable', '+sctp/10.96.0.1/1 > 10.1.0.1:9']);
  t.match(told.faults(), [/^SCTP is served over IPv4 alone/]);
  t.equal(told.faults().length, 1);
});

t.test(
  `10,000 endpoints: ${backends_max} of them, nearly the same ones whatever comes and goes`,
  async (t) => {
    const told = new Told();
    const address = (n: number) => `10.${16 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`;
    for (let at = 0; at < 100; at += 1)
      told.slice(
        `default/web-${at}`,
        slice(ends(...Array.from({ length: 100 }, (_, n) => address(at * 100 + n)))),
      );
    told.service('default/web', service({ affinity_ms: 1000 })).now();
    const of = () => {
      const found = told.sink.objects.get('translation:tcp/10.96.0.1/80') as Translation;
      return found.backends.map((each) => each.address);
    };
    const before = of();
    t.equal(before.length, backends_max);
    t.match(told.faults(), [/^has 10000 endpoints, and VPP takes 8192 .*: 1808 get no new flows/]);
    told.slice('default/web-0', slice(ends(...Array.from({ length: 99 }, (_, n) => address(n + 1))))).now();
    const after = new Set(of());
    t.equal(after.size, backends_max);
    t.ok(
      before.filter((each) => !after.has(each)).length <= 1,
      'one went, and at most one of these is another',
    );
    const per_second = [0, 0, 0, 0];
    for (const each of after) per_second[Math.floor(Number(each.split('.')[2]) / 10)]! += 1;
    t.ok(
      per_second.every((count) => count > 1650 && count < 2270),
      `${per_second}: spread evenly`,
    );
  },
);

t.test('a change costs what it touches, among 2000 services', async (t) => {
  const told = new Told();
  const special = new Map<number, readonly Endpoint[]>([
    [20, []],
    [21, ends('10.7.0.1@a')],
    [22, ends('10.1.0.1@a').map((each) => ({ ...each, for_zones: ['x'] }))],
    [23, ends('10.0.0.1@a')],
  ]);
  for (let n = 0; n < 2000; n += 1) {
    const cluster_ips = [`10.96.${n >> 8}.${n & 255}`];
    const ports = [n < 10 ? { ...http, node_port: 30_000 + n } : http];
    told.service(`default/s${n}`, service({ type: 'NodePort', cluster_ips, ports }));
    const of = special.get(n) ?? ends('10.1.0.1@a');
    told.slice(`default/s${n}-0`, slice(of, { service: `default/s${n}` }));
  }
  told.now();
  const own = (labels: CalicoNode['labels']): CalicoNode => ({ name: 'a', labels });
  const other = (labels: CalicoNode['labels']): CalicoNode => ({ name: 'b', labels, status_ip4: '10.7.0.2' });
  for (const [what, count, change] of [
    ['its slice', 1, () => told.slice('default/s7-0', slice(ends('10.1.0.2'), { service: 'default/s7' }))],
    [
      'an address more of this node: node ports, one with an endpoint there, and what nobody serves',
      12,
      () => told.plan.setNode({ addresses: ['10.0.0.1', '10.7.0.1'] }),
    ],
    ['another node: what nobody serves', 1, () => told.take('Node', 'b', other({}))],
    ['something else of it', 0, () => told.take('Node', 'b', other({ x: 'y' }))],
    [
      'where services come from: what nobody serves',
      1,
      () => told.take('ServiceCIDR', 's', { prefixes: ['10.96.0.0/16'] }),
    ],
    [
      'the zone: what has hints',
      1,
      () => told.take('Node', 'a', own({ 'topology.kubernetes.io/zone': 'x' })),
    ],
    ['the same zone', 0, () => told.take('Node', 'a', own({ 'topology.kubernetes.io/zone': 'x', y: 'z' }))],
  ] as const)
    t.equal(told.planned(change), count, what);
});

t.test('a service whose back ends would be more than VPP has room for is served in part', async (t) => {
  const told = new Told();
  const address = (n: number) => `10.1.${n >> 8}.${n & 255}`;
  for (let at = 0; at < 8; at += 1)
    told.slice(
      `default/web-${at}`,
      slice(ends(...Array.from({ length: 1000 }, (_, n) => address(at * 1000 + n)))),
    );
  const external_ips = Array.from({ length: 60 }, (_, n) => `203.0.113.${n}`);
  told.service('default/web', service({ external_ips })).now();
  t.equal(told.plan.counts.translations, Math.floor(paths_max / 8000));
  t.match(told.faults(), [/^has more than 262144 back ends, counted at each address and port/]);
  t.ok(
    told.sink.words.some((each) => each.startsWith('tcp/10.96.0.1/80')),
    'the first ones',
  );
});

t.test('what is told and kept of one service is bounded', async (t) => {
  const external_ips = Array.from({ length: 4096 }, (_, n) => `203.0.${n >> 8}.${n & 255}`);
  const told = new Told();
  wanted(
    service({ external_ips, ports: [http, { ...http, name: 'b', port: 81 }] }),
    [slice(ends('10.1.0.1'))],
    told,
  );
  t.equal(told.plan.counts.translations, vips_max);
  t.match(told.faults(), [/^has more than 4096 addresses and ports/]);
  const status = told.plan.status('default/web')!;
  t.equal(status.vips.length, 256);
  t.equal(status.vips_unshown, vips_max - 256);
  const of_other_family = external_ips.map((_, n) => `2001:db8::${n.toString(16)}`);
  wanted(service({ external_ips: of_other_family }), [], told);
  t.equal(told.faults().length, faults_max + 1);
  t.match(told.faults().at(-1), /^and so on, 4088 times/);
  // The same address and port for all.
  for (let n = 0; n < 2000; n += 1)
    told.service(
      `default/s${n}`,
      service({
        created_ms: n + 1,
        cluster_ips: [`10.97.${n >> 8}.${n & 255}`],
        external_ips: ['192.0.2.1'],
      }),
    );
  told.now();
  t.equal(told.plan.faults.size, 1000);
  t.equal(told.plan.counts.faulty, 2000);
});

t.test('any change of objects comes to what a fresh plan makes of the last ones', async () => {
  const addresses = ['10.1.0.1', '10.1.0.2', '10.1.0.3', '10.0.0.1', '10.0.0.2', '198.51.100.1'];
  const addresses6 = ['fd00:1::1', 'fd00:1::2', 'fd00::1'];
  const names = ['default/a', 'default/b', 'default/kubernetes'];
  const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
  const policy = fc.constantFrom('Cluster' as const, 'Local' as const);
  const protocol = fc.constantFrom('TCP' as const, 'UDP' as const, 'SCTP' as const);
  const present = <T extends object>(value: T): T =>
    Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as T;
  const service_port = fc
    .record({
      name: fc.constantFrom('x', 'y'),
      protocol,
      port: fc.constantFrom(80, 81),
      node_port: maybe(fc.constantFrom(30_080, 30_081)),
    })
    .map(present) as fc.Arbitrary<ServicePort>;
  const any_service = fc
    .record({
      type: fc.constantFrom('ClusterIP' as const, 'NodePort' as const, 'LoadBalancer' as const),
      created_ms: maybe(fc.constantFrom(1, 2)),
      cluster_ips: fc.subarray(['10.96.0.1', '10.96.0.2', 'fd00:96::1', '172.20.0.1']),
      external_ips: fc.subarray(['203.0.113.1', '10.0.0.1', '10.0.0.2', '10.1.0.1', '2001:db8::1']),
      load_balancer_ips: fc.subarray(['203.0.113.1', '203.0.113.2']),
      ports: fc.array(service_port, { maxLength: 3 }),
      external_policy: policy,
      internal_policy: policy,
      affinity_ms: maybe(fc.constant(1000)),
      health_port: maybe(fc.constantFrom(30_100, 30_101)),
      source_prefixes: fc.subarray(['198.51.100.0/24']),
      lb_type: maybe(fc.constantFrom('ecmp' as const, 'maglev' as const, 'maglevdsr' as const)),
      hash: fc.subarray(['srcaddr' as const, 'srcport' as const, 'symmetric' as const]),
    })
    .map(present) as fc.Arbitrary<Service>;
  const endpoint = (all: readonly string[]) =>
    fc
      .record({
        address: fc.constantFrom(...all),
        node: maybe(fc.constantFrom('a', 'b')),
        draining: maybe(fc.constant(true as const)),
        for_zones: maybe(fc.subarray(['x', 'y'], { minLength: 1 })),
        for_nodes: maybe(fc.subarray(['a', 'b'], { minLength: 1 })),
      })
      .map(present) as fc.Arbitrary<Endpoint>;
  const end_port = fc.record({
    name: fc.constantFrom('x', 'y'),
    protocol,
    port: fc.constantFrom(8080, 9090),
  });
  const any_slice = fc.constantFrom(4 as const, 6 as const).chain((family) =>
    fc.record({
      service: fc.constantFrom(...names),
      family: fc.constant(family),
      endpoints: fc.array(endpoint(family === 4 ? addresses : addresses6), { maxLength: 4 }),
      ports: fc.array(end_port, { maxLength: 3 }),
    }),
  );
  const of_kind = <K extends KindName>(kind: K, keys: readonly string[], value: fc.Arbitrary<Kinds[K]>) =>
    fc.tuple(fc.constant(kind), fc.constantFrom(...keys), maybe(value));
  const any_node = fc
    .record({
      zone: maybe(fc.constantFrom('x', 'y')),
      status_ip4: maybe(fc.constantFrom('10.0.0.2', '203.0.113.1', '172.20.0.9')),
    })
    .map(({ zone, status_ip4 }) => ({
      name: 'n',
      labels: zone === undefined ? {} : { 'topology.kubernetes.io/zone': zone },
      ...(status_ip4 !== undefined && { status_ip4 }),
    }));
  const any_pool = fc.constantFrom<IpPool>(
    ...(['10.1.0.0/16', '172.16.0.0/12', '203.0.113.0/24'] as const).map((prefix) => ({
      name: 'p',
      prefix,
      ipip: 'Never' as const,
      vxlan: 'Never' as const,
      nat_outgoing: false,
      disabled: false,
      disable_bgp_export: false,
      allowed_uses: prefix === '203.0.113.0/24' ? ['LoadBalancer' as const] : [],
    })),
  );
  const step = fc.oneof(
    { weight: 5, arbitrary: of_kind('Service', names, any_service) },
    {
      weight: 6,
      arbitrary: of_kind('EndpointSlice', ['default/1', 'default/2', 'default/3', 'default/4'], any_slice),
    },
    { weight: 1, arbitrary: of_kind('Node', ['a', 'b'], any_node) },
    { weight: 1, arbitrary: of_kind('IPPool', ['p'], any_pool) },
    {
      weight: 1,
      arbitrary: of_kind(
        'ServiceCIDR',
        ['s'],
        fc.record({ prefixes: fc.subarray(['172.20.0.0/16', '10.96.0.0/12', 'fd00:96::/64']) }),
      ),
    },
    {
      weight: 1,
      arbitrary: fc.tuple(
        fc.constant('own' as const),
        fc.constant(''),
        fc.record({
          addresses: fc.subarray(['10.0.0.1', '10.0.0.2', 'fd00::1', '10.1.0.1', '203.0.113.1']),
          subnets: fc.subarray(['10.0.0.0/24', 'fd00::/64', '172.20.0.0/16']),
        }),
      ),
    },
  );
  type Step = readonly [KindName | 'own', string, unknown];
  const say = (told: Told, [kind, name, value]: Step) => {
    if (kind === 'own') told.plan.setNode(value as ServiceNode);
    else told.take(kind, name, value as never);
  };
  const result = (told: Told) => ({
    wanted: told.sink.words,
    hosts: told.plan
      .hostVips()
      .map((each) => JSON.stringify(each))
      .sort(),
    health: told.plan
      .health()
      .map((each) => JSON.stringify(each))
      .sort(),
    faults: [...told.plan.faults].map((each) => JSON.stringify(each)).sort(),
    statuses: names.map((name) => told.plan.status(name)),
    counts: { ...told.plan.counts, waiting: 0, planned: 0 },
  });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(step, fc.boolean()), { minLength: 1, maxLength: 40 }),
      fc.infiniteStream(fc.nat()),
      (steps, order) => {
        const told = new Told(['10.96.0.0/12', 'fd00:96::/64']);
        const last = new Map<string, Step>();
        for (const [one, plans] of steps) {
          say(told, one as Step);
          last.set(`${one[0]} ${one[1]}`, one as Step);
          if (plans) told.plan.plan(1, told.sink);
        }
        told.now();
        const fresh = new Told(['10.96.0.0/12', 'fd00:96::/64']);
        const shuffled = [...last.values()]
          .filter(([, , value]) => value !== undefined)
          .map((each) => ({ each, rank: order.next().value as number }))
          .sort((a, b) => a.rank - b.rank);
        for (const { each } of shuffled) say(fresh, each);
        fresh.now();
        assert.deepStrictEqual(result(told), result(fresh));
        if (told.plan.counts.translations !== told.sink.words.filter((each) => each.includes('>')).length)
          throw new Error('the count of translations is wrong');
      },
    ),
    { numRuns: 300 },
  );
});

t.test('a turn of planning is bounded by endpoints, not by services', async (t) => {
  const told = new Told();
  const before = told.plan.counts.planned;
  for (let n = 0; n < 5; n += 1) {
    const addresses = Array.from({ length: 1000 }, (_, at) => `10.${n}.${at >> 8}.${at & 255}`);
    told.service(`default/s${n}`, service({ cluster_ips: [`10.96.1.${n}`] }));
    told.slice(`default/s${n}-0`, { ...slice(ends(...addresses)), service: `default/s${n}` });
  }
  t.equal(told.plan.plan(2048, told.sink), false);
  t.equal(told.plan.counts.planned - before, 2);
  t.equal(told.plan.plan(1, told.sink), false);
  t.equal(told.plan.counts.planned - before, 3, 'one at least');
});

t.test('an address in the range of a network is nobody’s to serve', async (t) => {
  const told = new Told();
  const all = slice(ends('10.1.0.1@a'));
  const networks = [{ name: 'red', vni: 1, range: '10.96.0.0/24', physical_network: '' }];
  t.strictSame(wanted(service({ external_ips: ['203.0.113.1'] }), [all], told).length, 2);
  told.plan.setNode({ ...node, networks });
  t.ok(told.now().includes('-tcp/10.96.0.1/80'));
  t.match(told.faults(), [/10\.96\.0\.1 lies in the range of Network red/]);
  told.plan.setNode(node);
  t.ok(told.now().includes('+tcp/10.96.0.1/80 > 10.1.0.1:8080'), 'once the network is gone it is served');
  t.strictSame(told.faults(), []);
});

t.test(
  'a service for a network that is not there is served, and that is said of it until the network comes',
  async (t) => {
    const told = new Told();
    const all = slice(ends('10.77.0.1@a'));
    const red = { name: 'red', vni: 1, physical_network: '' };
    const served = wanted(service({ network: 'red' }), [all], told);
    told.service('default/other', service({ cluster_ips: ['10.96.0.2'] })).now();
    t.match(served, ['tcp/10.96.0.1/80 > 10.77.0.1:8080']);
    t.strictSame(told.faults(), [], 'which there are is not known');
    const touched = told.planned(() => told.plan.setNode({ ...node, networks: [{ ...red, name: 'blue' }] }));
    t.equal(touched, 1, 'others have nothing to do with it');
    t.match(told.faults(), [/for the network red, .* create a Network .* annotation extensions/]);
    t.match(told.faults('Service default/other'), []);
    t.equal(told.plan.counts.faulty, 1);
    t.equal(
      told.planned(() => told.plan.setNode({ ...node, networks: [red] })),
      1,
    );
    t.strictSame(told.faults(), [], 'it has come');
    t.equal(told.plan.counts.faulty, 0);
    told.plan.setNode({ ...node, networks: [] });
    t.strictSame(told.now(), [], 'nothing of VPP follows from it');
    t.match(told.faults(), [/for the network red/], 'and gone');
    told.service('default/web', service()).now();
    t.strictSame(told.faults(), [], 'the annotation is corrected');
    told.service('default/web', service({ network: 'x'.repeat(9000) })).now();
    t.ok(told.faults()[0]!.length < 400);
  },
);

t.test('a network that comes later, with too large a range, ends no service', async (t) => {
  const told = new Told();
  const all = slice(ends('10.1.0.1@a'));
  const red = { name: 'red', vni: 1, range: '10.0.0.0/8', physical_network: '' };
  wanted(service({ created_ms: 1000 }), [all], told);
  told.plan.setNode({ ...node, networks: [{ ...red, created_ms: 2000 }] });
  t.strictSame(told.now(), []);
  t.match(told.faults(), [/10\.96\.0\.1 lies in the range of Network red, which came later/]);
  told.plan.setNode({ ...node, networks: [{ ...red, created_ms: 500 }] });
  t.ok(told.now().includes('-tcp/10.96.0.1/80'), 'one that was there before');
});
