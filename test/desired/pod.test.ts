import fc from 'fast-check';
import t from 'tap';
import {
  assignSlots,
  conflictOf,
  heldSlot,
  lowestFreeSlot,
  recordedSlot,
  tablesOf,
} from '../../src/desired/admission.js';
import {
  desiredPod,
  isHarmless,
  pod_gateway,
  pod_mac,
  pod_tap_mac,
  podChanges,
  podMtu,
  podSysctls,
  staleChanges,
} from '../../src/desired/pod.js';
import {
  everything,
  hostPrefix,
  networkTables,
  pods_table,
  podTables,
  punt_table,
  table,
} from '../../src/desired/tables.js';
import { familyOf } from '../../src/ip/text.js';
import type { VppObject } from '../../src/objects/object.js';
import { keyOf } from '../../src/objects/object.js';
import { podInterfaceTags, podLoopbackTag } from '../../src/pod/names.js';
import { addressesOf, familiesOf } from '../../src/pod/spec.js';
import { reconcile } from '../../src/reconcile/reconcile.js';
import { arbitrarySpec, inputs, podSpec } from '../reconcile/pods.js';

const dual = podSpec(1, {
  addresses: { ip4: ['10.0.0.1'], ip6: ['fd00::1'] },
  routes: ['0.0.0.0/0', '::/0'],
});
const has = (objects: readonly VppObject[], wanted: object): boolean =>
  objects.some((object) =>
    Object.entries(wanted).every(
      ([field, value]) => JSON.stringify(object[field as keyof VppObject]) === JSON.stringify(value),
    ),
  );

t.test('a pod that is held may not send, whatever sources it may use', async (t) => {
  fc.assert(
    fc.property(arbitrarySpec(1), (spec) => {
      const urpfs = (held: boolean) =>
        desiredPod(spec, { ...inputs, held }).flatMap((object) => (object.kind === 'urpf' ? object : []));
      const kept = urpfs(true);
      if (!kept.every(({ mode, table_id }) => mode === 'strict' && table_id === pods_table))
        throw new Error('lets pass what some table leads back to');
      const [keys, free] = [kept.map(keyOf).sort(), urpfs(false).map(keyOf).sort()];
      if (JSON.stringify(keys) !== JSON.stringify(free)) throw new Error('something of it stays');
      const release = reconcile(
        desiredPod(spec, { ...inputs, held: false }),
        desiredPod(spec, { ...inputs, held: true }),
      );
      if (release.some(({ action }) => action === 'remove'))
        throw new Error('nothing is checked for a moment');
    }),
  );
  const place = (wanted: object): number =>
    reconcile(desiredPod(dual, { ...inputs, held: true }), []).findIndex(({ object }) =>
      has([object], wanted),
    );
  t.ok(place({ kind: 'urpf' }) < place({ flag: 'admin_up' }), 'and never could');
});

t.test('a pod with a memif: both ways are judged alike, and sources are in a table', async (t) => {
  const memif = { is_l3: false, ports: [{ protocol: 'tcp', first: 80, last: 90 }] } as const;
  const spec = { ...dual, memif };
  const objects = desiredPod(spec, {
    ...inputs,
    redirects: [4],
    drop_other_protocols: true,
  });
  const [tun, own] = podInterfaceTags(spec) as [string, string];
  const setOn = (tag: string): string[] =>
    objects.flatMap((object) =>
      'interface' in object && object.interface === tag
        ? keyOf(object)
            .replace(tag, '')
            .replaceAll(/169.254.1.\d|fdca:11c0::\d/g, 'gateway')
        : [],
    );
  const [of_tun, of_memif] = [new Set(setOn(tun)), new Set(setOn(own))];
  t.same(
    [...of_tun].filter((key) => !of_memif.has(key)),
    ['interface_rx_mode:'],
    'nothing else is set on the device alone',
  );
  t.same([...of_memif].filter((key) => !of_tun.has(key)).sort(), [
    'interface_flag:/gso_feature',
    'interface_flag:/promisc',
    'neighbour:/10.0.0.1',
    'neighbour:/fd00::1',
    'pbl_client:10.0.0.1',
    'pbl_client:fd00::1',
  ]);
  for (const [family, address] of [
    [4, '10.0.0.1'],
    [6, 'fd00::1'],
  ] as const) {
    const prefix = hostPrefix(address);
    const { pod, rpf } = inputs.tables;
    t.ok(has(objects, { table_id: 0, prefix, paths: [{ via: 'lookup', table_id: pod }] }));
    t.ok(
      has(objects, {
        table_id: pod,
        prefix,
        paths: [{ via: 'interface', interface: tun, next_hop: address }],
      }),
    );
    t.ok(has(objects, { kind: 'pbl_client', address, table_id: pod, interface: own, next_hop: address }));
    t.ok(has(objects, { table_id: rpf, prefix }), 'its sources');
    for (const tag of [tun, own])
      t.ok(has(objects, { kind: 'urpf', interface: tag, family, mode: 'loose', table_id: rpf }));
  }
  const ip = desiredPod({ ...dual, memif: { ...memif, is_l3: true } }, inputs);
  t.ok(has(ip, { kind: 'memif', mode: 'ip' }));
  t.notOk(has(ip, { kind: 'neighbour' }), 'without Ethernet there are no neighbours');
  t.notOk(ip.some((object) => object.kind === 'pbl_client' && object.next_hop !== undefined));
  const none = desiredPod({ ...dual, memif: { is_l3: true, ports: [] } }, inputs);
  t.notOk(has(none, { kind: 'pbl_client' }), 'no port leads to it');
});

t.test(
  "VPP's host stack: what it sends is judged as what the device sends, and what it is sent as what leaves by that",
  async (t) => {
    const spec = { ...dual, vcl: true } as const;
    const objects = desiredPod(spec, { ...inputs, redirects: [4] });
    const [tun, out, to_it] = podInterfaceTags(spec) as [string, string, string];
    const stack = podLoopbackTag(spec);
    const { tables } = inputs;
    const flagsOf = (tag: string): string[] =>
      objects.flatMap((object) =>
        object.kind === 'interface_flag' && object.interface === tag ? object.flag : [],
      );
    t.same(flagsOf(tun).sort(), ['admin_up', 'cnat_in', 'ip6_enabled', 'snat_pod'], 'not judged twice');
    t.same(flagsOf(out).sort(), flagsOf(tun).sort(), 'as by the device');
    t.same(flagsOf(to_it).sort(), ['admin_up', 'cnat_out', 'ip6_enabled', 'snat_pod']);
    t.notOk(
      flagsOf(stack).some((flag) => flag.startsWith('cnat')),
      'there VPP would not find the flow that a packet is of',
    );
    for (const tag of [tun, out, to_it]) t.ok(has(objects, { kind: 'default_verdict', interface: tag }));
    for (const [family, address, gateway] of [
      [4, '10.0.0.1', '169.254.1'],
      [6, 'fd00::1', 'fdca:11c0:'],
    ] as const) {
      const prefix = hostPrefix(address);
      const separator = family === 4 ? '.' : ':';
      const beyond = { out: `${gateway}${separator}4`, in: `${gateway}${separator}5` };
      const macOf = (tag: string) =>
        objects.flatMap((object) => (object.kind === 'loopback' && object.tag === tag ? object.mac : []))[0];
      for (const tag of [tun, out])
        t.ok(has(objects, { kind: 'urpf', interface: tag, family, mode: 'loose', table_id: tables.rpf }));
      t.notOk(has(objects, { kind: 'urpf', interface: to_it }), 'others send by it');
      const by = (table_id: number, of: string, tag: string, next_hop: string) =>
        t.ok(
          has(objects, { table_id, prefix: of, paths: [{ via: 'interface', interface: tag, next_hop }] }),
          `${table_id} ${of}`,
        );
      by(0, prefix, to_it, beyond.in);
      t.ok(
        has(objects, { table_id: tables.pod, prefix, paths: [{ via: 'lookup', table_id: tables.stack }] }),
      );
      t.ok(has(objects, { kind: 'interface_address', interface: stack, prefix }));
      by(tables.stack, everything(family), out, beyond.out);
      by(punt_table, prefix, tun, address);
      for (const [tag, next_hop] of [
        [out, beyond.out],
        [to_it, beyond.in],
      ] as const)
        t.ok(has(objects, { kind: 'neighbour', interface: tag, address: next_hop, mac: macOf(tag) }));
    }
    t.notOk(has(objects, { table_id: 0, prefix: '10.0.0.1/32', paths: [{ via: 'lookup' }] }));
    const ip4 = desiredPod({ ...podSpec(1), vcl: true }, inputs);
    for (const family of [4, 6])
      t.ok(
        has(ip4, { kind: 'interface_table', interface: stack, family, table_id: tables.stack }),
        'a family that the pod does not have leads nowhere',
      );
  },
);

t.test('a memif into a network beside the default one is alone', async (t) => {
  const spec = {
    ...dual,
    interface_name: 'memif1',
    network_name: 'red',
    memif: { is_l3: false, ports: [], alone: true },
  } as const;
  const here = {
    name: 'red',
    vni: 5,
    physical_network: '',
    underlay: { table_id: 0, mtu: 1500 },
  };
  const objects = desiredPod(spec, { ...inputs, networks: [here] });
  const [tun, own] = podInterfaceTags(spec) as [string, string];
  t.ok(has(objects, { kind: 'memif', tag: own, interface_name: 'memif1', alone: true }));
  const { main } = networkTables(5);
  for (const address of addressesOf(spec)) {
    const to = {
      kind: 'route',
      prefix: hostPrefix(address),
      paths: [{ via: 'interface', interface: own, next_hop: address }],
    };
    t.ok(has(objects, { ...to, table_id: main }), 'the network leads to it');
    t.ok(has(objects, { kind: 'neighbour', interface: own, address }));
  }
  const { pod, rpf } = inputs.tables;
  t.notOk(has(objects, { kind: 'pbl_client' }));
  t.notOk(
    objects.some(
      (object) =>
        object.kind === 'route' &&
        object.table_id !== rpf &&
        object.paths.some((path) => path.via === 'interface' && path.interface === tun),
    ),
    'nothing leads to the device',
  );
  for (const tag of [tun, own]) {
    t.ok(has(objects, { kind: 'interface_table', interface: tag, table_id: pod }));
    t.ok(has(objects, { kind: 'urpf', interface: tag, mode: 'loose', table_id: rpf }));
    t.ok(has(objects, { kind: 'default_verdict', interface: tag }));
  }
});

t.test('what VPP holds for any pod', async () => {
  fc.assert(
    fc.property(arbitrarySpec(1), fc.constantFrom(0, 2), (spec, workers) => {
      const objects = desiredPod(spec, { ...inputs, workers, redirects: [4, 6] });
      const must = (holds: boolean, rule: string): void => {
        if (!holds) throw new Error(rule);
      };
      must(new Set(objects.map(keyOf)).size === objects.length, 'no object twice');
      for (const address of addressesOf(spec))
        must(
          has(objects, { kind: 'route', source: 'pods', table_id: 0, prefix: hostPrefix(address) }),
          `a way to ${address}`,
        );
      for (const object of objects) {
        if (object.kind === 'route')
          for (const path of object.paths)
            must(
              path.via !== 'interface' || familyOf(path.next_hop) === familyOf(object.prefix),
              'a next hop of the family',
            );
        if (object.kind === 'translation')
          must(
            object.backends.every(({ address }) => familyOf(address) === familyOf(object.address)),
            'one family',
          );
      }
      const families = new Set(familiesOf(spec));
      for (const family of [4, 6] as const) {
        const { stack } = inputs.tables;
        // Of the host stack's nothing is left to other tables.
        const count = objects.filter(
          (object) =>
            'family' in object &&
            object.family === family &&
            !('table_id' in object && object.table_id === stack),
        ).length;
        must(families.has(family) ? count > 0 : count === 0, 'only the families that the pod has');
        if (!families.has(family)) continue;
        must(has(objects, { kind: 'urpf', family }), 'sources are checked');
        must(
          has(objects, { kind: 'interface_address', prefix: hostPrefix(pod_gateway[family]) }),
          'a source for ICMP errors',
        );
        must(
          has(objects, {
            kind: 'route',
            source: 'pods',
            table_id: inputs.tables.pod,
            prefix: everything(family),
          }),
          'a way out',
        );
      }
      const flag = spec.vcl ? 'cnat_in' : 'cnat_feature';
      must(has(objects, { kind: 'interface_flag', flag }), 'policies and services');
      const queues = objects.filter(({ kind }) => kind === 'rx_placement');
      must(queues.length === (workers === 0 ? 0 : spec.interface_spec.rx_queues), 'a worker for each queue');
    }),
    { numRuns: 300 },
  );
});

t.test('a pod without further sources is checked against the table that leads to it', async (t) => {
  const objects = desiredPod(dual, inputs);
  t.match(
    objects.filter(({ kind }) => kind === 'urpf'),
    [
      { mode: 'strict', table_id: 0 },
      { mode: 'strict', table_id: 0 },
    ],
  );
  t.equal(objects.filter(({ kind }) => kind === 'table').length, 2);
});

t.test('a pod with further sources is checked against a table of them', async (t) => {
  const objects = desiredPod({ ...dual, allowed_source_prefixes: ['172.16.0.0/12', '10.0.0.1/32'] }, inputs);
  t.match(
    objects.filter(({ kind }) => kind === 'urpf'),
    [
      { family: 4, mode: 'loose', table_id: inputs.tables.rpf },
      { family: 6, mode: 'strict', table_id: 0 },
    ],
  );
  const sources = objects.flatMap((o) =>
    o.kind === 'route' && o.table_id === inputs.tables.rpf ? o.prefix : [],
  );
  t.strictSame(sources, ['10.0.0.1/32', '172.16.0.0/12']);
  t.ok(has(objects, { kind: 'table', table_id: inputs.tables.rpf, multicast: false }));
});

t.test('a tap has MACs and neighbours, a tun has none', async (t) => {
  const spec = { ...dual, interface_type: 'tap' as const };
  const objects = desiredPod(spec, inputs);
  t.ok(has(objects, { kind: 'tap', type: 'tap', mac: pod_tap_mac, host_mac: pod_mac }));
  t.ok(has(objects, { kind: 'interface_flag', flag: 'promisc' }));
  t.equal(objects.filter(({ kind }) => kind === 'neighbour').length, 2);
  t.equal(desiredPod(dual, inputs).filter(({ kind }) => kind === 'neighbour').length, 0);
  const changes = podChanges(spec, 7, 1500);
  t.match(
    changes.filter((change) => change.do === 'set_neighbour'),
    [
      { neighbour: { link: 7, address: '169.254.1.1', mac: pod_tap_mac } },
      { neighbour: { link: 7, address: pod_gateway[6], mac: pod_tap_mac } },
    ],
  );
  t.match(changes.at(-1), {
    do: 'add_route',
    route: { next_hops: [{ oif: 7, gateway: pod_gateway[6], onlink: true }] },
  });
});

t.test('host ports', async (t) => {
  const port = { protocol: 'tcp' as const, host_port: 8080, container_port: 80 };
  const listeners = (host_ports: object[], node: object = inputs.node): string[] =>
    desiredPod({ ...dual, host_ports: host_ports as (typeof port)[] }, { ...inputs, node })
      .filter((object) => object.kind === 'translation')
      .map((o) => `${o.protocol} ${o.address} ${o.port} > ${o.backends[0]?.address} ${o.backends[0]?.port}`);
  const rows: [protects: string, found: string[], wanted: string[]][] = [
    [
      'on the node’s addresses',
      listeners([port]),
      ['tcp 192.0.2.1 8080 > 10.0.0.1 80', 'tcp 2001:db8::1 8080 > fd00::1 80'],
    ],
    [
      'not on a family that the node lacks',
      listeners([port], { ip4: '192.0.2.1' }),
      ['tcp 192.0.2.1 8080 > 10.0.0.1 80'],
    ],
    [
      'on the address that it names',
      listeners([{ ...port, host_ip: '192.0.2.7' }]),
      ['tcp 192.0.2.7 8080 > 10.0.0.1 80'],
    ],
    [
      'TCP and UDP with one number are two',
      listeners([port, { ...port, protocol: 'udp' }], { ip4: '192.0.2.1' }),
      ['tcp 192.0.2.1 8080 > 10.0.0.1 80', 'udp 192.0.2.1 8080 > 10.0.0.1 80'],
    ],
    [
      'the first of two on one listener counts',
      listeners([port, { ...port, container_port: 81 }], { ip4: '192.0.2.1' }),
      ['tcp 192.0.2.1 8080 > 10.0.0.1 80'],
    ],
  ];
  for (const [protects, found, wanted] of rows) t.strictSame(found, wanted, protects);
});

t.test('MTU', async (t) => {
  const rows: [protects: string, mtu: number, ip6: string[], node: number, wanted: number][] = [
    ['an odd one: VPP would damage what it cuts', 1401, [], 1500, 1400],
    ['that of an odd uplink', 0, ['fd00::1'], 1499, 1498],
    ['that of the node', 0, [], 1500, 1500],
    ['what was asked for', 1400, [], 1500, 1400],
    ['never above the node’s', 9000, [], 1500, 1500],
    ['never below what IPv6 needs', 0, ['fd00::1'], 1000, 1280],
    ['never below what IPv4 needs', 0, [], 20, 68],
  ];
  for (const [protects, mtu, ip6, node, wanted] of rows)
    t.equal(podMtu({ mtu, addresses: { ip4: ['10.0.0.1'], ip6 } }, node), wanted, protects);
});

t.test('the Linux side', async (t) => {
  t.strictSame(podSysctls(podSpec(1)), [{ path: 'net/ipv4/ip_forward', value: '0' }]);
  t.match(podSysctls({ ...dual, allow_ip_forwarding: true }).at(-1), {
    path: 'net/ipv6/conf/all/forwarding',
    value: '1',
  });
  t.strictSame(podChanges(dual, 7, 1400), [
    { do: 'set_link', link: 7, up: true, mtu: 1400 },
    { do: 'replace_address', address: { link: 7, family: 4, prefix: '10.0.0.1/32', flags: 0 } },
    { do: 'replace_address', address: { link: 7, family: 6, prefix: 'fd00::1/128', flags: 2 } },
    { do: 'add_route', route: { family: 4, prefix: '0.0.0.0/0', protocol: 3, next_hops: [{ oif: 7 }] } },
    { do: 'add_route', route: { family: 6, prefix: '::/0', protocol: 3, next_hops: [{ oif: 7 }] } },
  ]);
  const now = { ...dual, addresses: { ip4: ['10.0.0.2'], ip6: [] }, routes: ['0.0.0.0/0'] };
  t.match(staleChanges(dual, now, 7), [
    { do: 'delete_route', route: { prefix: '::/0' } },
    { do: 'delete_address', address: { prefix: '10.0.0.1/32' } },
    { do: 'delete_address', address: { prefix: 'fd00::1/128' } },
  ]);
  t.strictSame(staleChanges(dual, dual, 7), []);
  const [, address, , route] = podChanges(dual, 7, 1400);
  t.equal(isHarmless(route!, 'EEXIST'), true);
  t.equal(isHarmless(route!, 'ENETUNREACH'), false);
  t.equal(isHarmless(address!, 'EEXIST'), false);
});

t.test('which pods can be on one node', async (t) => {
  const other = podSpec(2, { addresses: { ip4: ['10.0.0.2'], ip6: ['fd00::1'] } });
  t.match(conflictOf(dual, [podSpec(3), other]), { address: 'fd00::1', holder: { key: other.key } });
  t.equal(conflictOf(dual, [dual]), undefined, 'a pod has no conflict with itself');
  t.equal(conflictOf(dual, [{ ...other, network_name: 'red' }]), undefined);
});

t.test('slots', async (t) => {
  t.equal(lowestFreeSlot(new Set([0, 1, 3])), 2);
  t.strictSame(tablesOf(podSpec(1), 3), { ip4: podTables(3).pod, rpf4: podTables(3).rpf });
  t.equal(recordedSlot(tablesOf(dual, 9)), 9);
  t.equal(recordedSlot({ ip6: podTables(4).pod }), 4);
  t.equal(recordedSlot({}), undefined);
  t.equal(heldSlot([table(4, 2, 'x'), table(4, podTables(6).pod, 'y')]), 6);
  t.equal(heldSlot([]), undefined);
  const slots = (pods: Parameters<typeof assignSlots>[0], taken: number[]) =>
    Object.fromEntries(assignSlots(pods, taken));
  const rows: [protects: string, found: object, wanted: object][] = [
    [
      'what VPP holds comes before what is wished',
      slots(
        [
          { key: 'a', wished: 1 },
          { key: 'b', wished: 7, held: 1 },
        ],
        [],
      ),
      { a: 0, b: 1 },
    ],
    ['a wish that is free is granted', slots([{ key: 'a', wished: 5 }], [0]), { a: 5 }],
    ['an orphan’s slot is nobody’s', slots([{ key: 'a', wished: 0, held: 0 }], [0]), { a: 1 }],
    [
      'of two with one wish the first gets it',
      slots(
        [
          { key: 'a', wished: 2 },
          { key: 'b', wished: 2 },
        ],
        [],
      ),
      { a: 2, b: 0 },
    ],
  ];
  for (const [protects, found, wanted] of rows) t.strictSame(found, wanted, protects);
});
