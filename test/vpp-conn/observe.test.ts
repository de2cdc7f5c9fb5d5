import fc from 'fast-check';
import t from 'tap';
import { type Client, connect, IncompatibleError, RetvalError } from 'vpp-binapi-ts';
import { cnat_session_purge } from 'vpp-binapi-ts/cnat';
import { sw_interface_dump, sw_interface_tag_add_del } from 'vpp-binapi-ts/interface';
import { ip_table_dump } from 'vpp-binapi-ts/ip';
import { ip_neighbor_add_del } from 'vpp-binapi-ts/ip_neighbor';
import { ipip_add_tunnel, type ipip_tunnel } from 'vpp-binapi-ts/ipip';
import {
  memif_create_v2,
  memif_socket_filename_add_del_v2,
  memif_socket_filename_dump,
} from 'vpp-binapi-ts/memif';
import { memoryFile } from '../../lab/memory-file.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import { startStandInVpp } from '../../lab/vpp/stand-in.js';
import { wireguardPair } from '../../lab/wireguard-go.js';
import { Secret } from '../../src/config/secret.js';
import { networkObjects } from '../../src/desired/networks.js';
import { desiredPod } from '../../src/desired/pod.js';
import { tunnel_settings_default, tunnelObjects } from '../../src/desired/remote-route.js';
import { default_table, pods_table, podTables } from '../../src/desired/tables.js';
import { desiredNode } from '../../src/desired/uplink.js';
import type { ObjectOf, VppObject } from '../../src/objects/object.js';
import { canonical, isDangling, keyOf } from '../../src/objects/object.js';
import { owners } from '../../src/objects/owner.js';
import type { Path } from '../../src/objects/routing.js';
import { type IpipTunnel, ipipTag } from '../../src/objects/tunnels.js';
import { type WireguardPeer, wireguard_tag } from '../../src/objects/wireguard.js';
import { podInterfaceTag } from '../../src/pod/names.js';
import { Model } from '../../src/reconcile/model.js';
import type { Operation } from '../../src/reconcile/operation.js';
import { OwnerIndex } from '../../src/reconcile/ownership.js';
import { reconcile, removal } from '../../src/reconcile/reconcile.js';
import type { Scope, Take } from '../../src/reconcile/snapshot.js';
import { Executor } from '../../src/vpp-conn/execute.js';
import { openFibSources } from '../../src/vpp-conn/fib-sources.js';
import { Handles } from '../../src/vpp-conn/handles.js';
import { messages_used } from '../../src/vpp-conn/messages.js';
import { observeIkeTunnels } from '../../src/vpp-conn/observe/ipsec.js';
import { pblClientsIn } from '../../src/vpp-conn/observe/memif.js';
import { buffersIn, observe } from '../../src/vpp-conn/observe/observe.js';
import { Reader } from '../../src/vpp-conn/observe/reader.js';
import { Quarantine } from '../../src/vpp-conn/quarantine.js';
import { Registry, type RegistryFile } from '../../src/vpp-conn/registry.js';
import { openVxlan } from '../../src/vpp-conn/vxlan-decap.js';
import { address, linuxRoute, nodeOf, podInputsOf, podOf, uplinkOf } from '../desired/sample.js';

type Vpp = Pick<Client, 'dump' | 'request' | 'compatible'>;
const everything: readonly Scope[] = [...owners, 'nobody'];

/** What one process knows of a VPP. */
async function session(vpp: Vpp & Pick<Client, 'ask'>, file: RegistryFile) {
  const handles = new Handles();
  const registry = new Registry(file, 'vpp');
  await openFibSources(vpp, handles);
  await openVxlan(vpp, handles);
  const executor = new Executor({
    connections: { prompt: vpp, bulk: vpp },
    handles,
    registry,
    quarantine: new Quarantine(memoryFile(), () => undefined),
    clock: new TurnedClock(),
  });
  return {
    handles,
    run: (operations: readonly Operation[]) =>
      executor.run(
        { generation: 1, owner: 'test', operations, on_error: 'continue', urgency: 'prompt' },
        () => false,
      ),
    read: (scopes = everything, by: Vpp = vpp, take?: Take) => observe(by, scopes, handles, registry, take),
  };
}

/** A client of a stand-in VPP, and processes that program it one after the other. */
async function connected(t: { teardown(run: () => void): void }) {
  const vpp = await startStandInVpp();
  vpp.state.app_namespaces.enable();
  const client = await connect({ transport: vpp.transport(), name: 'test' });
  t.teardown(() => {
    client.close();
    vpp.close();
  });
  const file = memoryFile();
  const first = await session(client, file);
  const does = async (operations: readonly Operation[], by = first): Promise<void> => {
    const { error } = await by.run(operations);
    if (error !== undefined) throw error;
  };
  return {
    vpp,
    client,
    file,
    read: first.read,
    run: first.run,
    /** The next process. */
    fresh: () => session(client, file),
    /** Throws when VPP refuses an operation. */
    does,
    /** What a fresh process finds still to be done. */
    async missing(wanted: readonly VppObject[]): Promise<string[]> {
      const { objects, unsure } = await (await session(client, file)).read();
      return reconcile(wanted, objects, unsure).map(
        ({ action, object }) => `${action} ${JSON.stringify(object)}`,
      );
    },
  };
}

const redirects = [
  { protocol: 'udp', port: 53, address: '10.96.0.10' },
  { protocol: 'tcp', port: 5353, address: 'fd00::53' },
] as const;

const second = uplinkOf({
  name: 'eth1',
  index: 1,
  is_main: false,
  link: 3,
  mac: '02:00:00:00:00:02',
  physical_network: 'blue',
  addresses: [address('10.2.0.2/24', { link: 3 })],
  routes: [linuxRoute('0.0.0.0/0', ['10.2.0.1 dev 3'])],
});

const nodes: Record<string, VppObject[]> = {
  'a dual-stack node': desiredNode(nodeOf(), true),
  'a node before its taps are up': desiredNode(nodeOf(), false),
  'redirect rules of both families': desiredNode(
    nodeOf({ redirects, drop_ip_options: true, drop_other_protocols: true }),
    true,
  ),
  'several routes, multipath among them, and an address inside the subnet of another one': desiredNode(
    nodeOf({
      uplinks: [
        uplinkOf({
          addresses: [address('10.0.0.2/24'), address('10.0.0.100/32'), address('fd00::2/128')],
          routes: [
            linuxRoute('0.0.0.0/0', ['10.0.0.1', '10.0.0.3']),
            linuxRoute('10.8.0.0/16'),
            linuxRoute('10.9.0.9/32'),
          ],
        }),
      ],
    }),
    true,
  ),
  'two uplinks, one in a physical network': desiredNode(nodeOf({ uplinks: [uplinkOf(), second] }), true),
  'a route that drops': [
    ...desiredNode(nodeOf(), true),
    { kind: 'route', source: 'node', table_id: 0, prefix: '10.66.0.0/16', paths: [{ via: 'drop' }] },
  ],
  'a node without offload': desiredNode(nodeOf({ gso: false }), true),
};

const pods: Record<string, VppObject[]> = {
  tun: desiredPod(podOf(), podInputsOf()),
  tap: desiredPod(
    podOf({
      netns: '/var/run/netns/cni-2',
      interface_type: 'tap',
      addresses: { ip4: ['10.1.0.6'], ip6: [] },
      host_ports: [],
    }),
    podInputsOf({ tables: podTables(1) }),
  ),
  "with VPP's host stack": desiredPod(
    podOf({
      netns: '/var/run/netns/cni-9',
      addresses: { ip4: ['10.1.0.19'], ip6: ['fd01::19'] },
      host_ports: [],
      vcl: true,
    }),
    podInputsOf({ tables: podTables(9), redirects: [4, 6], drop_other_protocols: true }),
  ),
  'with a memif': desiredPod(
    podOf({
      netns: '/var/run/netns/cni-4',
      addresses: { ip4: ['10.1.0.8', '10.1.0.9'], ip6: ['fd01::8'] },
      host_ports: [],
      memif: {
        is_l3: true,
        ports: [
          { protocol: 'udp', first: 53, last: 53 },
          { protocol: 'tcp', first: 80, last: 90 },
          { protocol: 'tcp', first: 91, last: 91 },
          { protocol: 'tcp', first: 443, last: 443 },
        ],
      },
    }),
    podInputsOf({ tables: podTables(3), redirects: [4, 6], drop_other_protocols: true }),
  ),
  'with a memif that speaks Ethernet, and sources': desiredPod(
    podOf({
      netns: '/var/run/netns/cni-5',
      interface_type: 'tap',
      addresses: { ip4: ['10.1.0.10'], ip6: ['fd01::10'] },
      allowed_source_prefixes: ['10.9.0.0/24'],
      host_ports: [],
      memif: { is_l3: false, ports: [{ protocol: 'tcp', first: 1, last: 65535 }] },
    }),
    podInputsOf({ tables: podTables(4) }),
  ),
  'with a memif that nothing leads to': desiredPod(
    podOf({
      netns: '/var/run/netns/cni-6',
      addresses: { ip4: ['10.1.0.11'], ip6: [] },
      host_ports: [],
      memif: { is_l3: true, ports: [] },
    }),
    podInputsOf({ tables: podTables(5) }),
  ),
  'with a memif alone, in a network': [
    ...networkObjects(4097),
    ...desiredPod(
      podOf({
        netns: '/var/run/netns/cni-7',
        interface_name: 'memif1',
        network_name: 'red',
        addresses: { ip4: ['10.1.0.12'], ip6: ['fd01::12'] },
        host_ports: [],
        memif: { is_l3: false, ports: [], alone: true },
      }),
      podInputsOf({
        tables: podTables(6),
        networks: [{ name: 'red', vni: 4097, physical_network: '', underlay: { table_id: 0, mtu: 1500 } }],
      }),
    ),
  ],
  'with sources of its own, and redirected': desiredPod(
    podOf({
      netns: '/var/run/netns/cni-3',
      addresses: { ip4: ['10.1.0.7'], ip6: ['fd01::7'] },
      allowed_source_prefixes: ['10.9.0.0/24', 'fd09::/64'],
      host_ports: [],
    }),
    podInputsOf({ tables: podTables(2), redirects: [4, 6], drop_other_protocols: true }),
  ),
};

const voices = (client: Client): Vpp => ({
  dump: client.dump.bind(client),
  request: client.request.bind(client),
  compatible: client.compatible.bind(client),
});

/** Writes down what is asked: the name of the message, and the source of routes. */
function overheard(client: Client, asked: string[]): Vpp {
  const told = <Call extends (...args: never[]) => unknown>(call: Call) =>
    ((...args: never[]) => {
      const [message, fields] = args as unknown as [{ name: string }, { src?: number }];
      asked.push(fields.src === undefined ? message.name : `${message.name} ${fields.src}`);
      return call(...args);
    }) as Call;
  const own = voices(client);
  return { ...own, dump: told(own.dump), request: told(own.request) };
}

t.test('what was asked for is what is seen: nothing is left to do', async (t) => {
  for (const [name, objects] of Object.entries(nodes)) {
    const { does, missing } = await connected(t);
    await does(reconcile(objects, []));
    t.same(await missing(objects), [], name);
  }
});

t.test('VPP shows the thread of a queue, and is told of workers', async (t) => {
  const { client, does, read } = await connected(t);
  await does(reconcile(nodes['redirect rules of both families']!, []));
  const placed = async (thread: number) => {
    const own = voices(client);
    const dump = (async (message: { readonly name: string }, fields: never) => {
      const all = (await own.dump(message as never, fields)) as { readonly worker_id: number }[];
      return message.name === 'sw_interface_rx_placement_dump'
        ? all.map((each) => ({ ...each, worker_id: thread }))
        : all;
    }) as unknown as Vpp['dump'];
    const { objects } = await read(['node'], { ...own, dump });
    return [...new Set(objects.flatMap((each) => (each.kind === 'rx_placement' ? each.worker_id : [])))];
  };
  t.same(await placed(0), [0], 'the main thread, where there is no other');
  t.same(await placed(1), [0]);
  t.same(await placed(3), [2]);
});

t.test('pods beside a node, too', async (t) => {
  const { does, missing } = await connected(t);
  const wanted = nodes['redirect rules of both families']!.slice();
  await does(reconcile(wanted, []));
  for (const [name, objects] of Object.entries(pods)) {
    await does(reconcile(objects, []));
    wanted.push(...objects);
    t.same(await missing(wanted), [], name);
  }
});

t.test('a fresh process removes all that an earlier one has made', async (t) => {
  const { does, fresh } = await connected(t);
  const kept = /^(neighbour_limits|redirect_table|protocol_table|snat_uplinks|snat_addresses):/;
  await does(reconcile([...nodes['redirect rules of both families']!, ...Object.values(pods).flat()], []));
  const next = await fresh();
  const { objects } = await next.read();
  t.ok(objects.length > 120, `${objects.length} objects`);
  await does(removal(objects), next);
  const left = await (await fresh()).read();
  t.same(
    left.objects.map(keyOf).filter((key) => !kept.test(key)),
    [],
  );
  t.same(
    left.interfaces.map(({ name }) => name),
    ['local0'],
  );
});

/** To four nodes, one by each kind of tunnel, and one by none. */
const tunnels: readonly VppObject[] = [
  ...(
    [
      { kind: 'ipip_tunnel', tag: ipipTag('10.0.0.3'), src: '10.0.0.2', dst: '10.0.0.3' },
      { kind: 'ipip_tunnel', tag: ipipTag('fd00::3'), src: 'fd00::2', dst: 'fd00::3' },
      { kind: 'vxlan_tunnel', tag: 'vxlan-4096-10.0.0.4', ...ends('10.0.0.2', '10.0.0.4') },
      { kind: 'vxlan_tunnel', tag: 'vxlan-4096-fd00::4', ...ends('fd00::2', 'fd00::4') },
      // While nodes hear of another port, one after the other.
      { kind: 'vxlan_tunnel', tag: 'vxlan-4096:8472-10.0.0.4', ...ends('10.0.0.2', '10.0.0.4'), port: 8472 },
    ] as const
  ).flatMap((tunnel, at): VppObject[] => {
    const { tag, dst } = tunnel;
    const v6 = dst.includes(':');
    return [
      tunnel,
      { kind: 'unnumbered', interface: tag, of: 'main-eth0' },
      { kind: 'interface_flag', interface: tag, flag: 'gso_feature' },
      { kind: 'interface_flag', interface: tag, flag: 'cnat_feature' },
      { kind: 'interface_mtu', interface: tag, mtu: 1440 },
      { kind: 'interface_flag', interface: tag, flag: 'admin_up' },
      routeOf(0, v6 ? `fd10:${at}::/122` : `10.1.${at}.0/26`, [
        { via: 'interface', interface: tag, next_hop: dst },
      ]),
      ...(tag.includes(':8472')
        ? []
        : [
            routeOf(2, v6 ? `${dst}/128` : `${dst}/32`, [
              { via: 'interface', interface: tag, next_hop: dst },
            ]),
          ]),
    ];
  }),
  routeOf(0, '10.1.9.0/26', [{ via: 'next_hop', next_hop: '10.0.0.5' }]),
  routeOf(0, 'fd10:9::/122', [
    { via: 'next_hop', next_hop: 'fd00::5' },
    { via: 'next_hop', next_hop: 'fd00::6' },
  ]),
  routeOf(0, '10.1.8.0/24', [{ via: 'drop' }]),
];

function ends(src: string, dst: string) {
  return { src, dst, vni: 4096, port: 4789 };
}

function routeOf(table_id: number, prefix: string, paths: readonly Path[]): VppObject {
  return { kind: 'route', source: 'connectivity', table_id, prefix, paths };
}

t.test('with the registry lost an interface that is up keeps the verdict that it was told', async (t) => {
  const { does, client } = await connected(t);
  const wanted = desiredPod(podOf(), podInputsOf({ default_verdict: 'deny' }));
  const tag = podInterfaceTag(podOf());
  const isVerdict = ({ kind }: VppObject): boolean => kind === 'default_verdict';
  await does(reconcile([...desiredNode(nodeOf(), true), ...wanted], []));
  const told = async (file: RegistryFile): Promise<string[]> => {
    const { objects, unsure } = await (await session(client, file)).read();
    return reconcile(wanted, objects, unsure)
      .filter(({ object }) => isVerdict(object))
      .map(({ action }) => action);
  };
  const lost = memoryFile();
  t.same(await told(lost), [], 'policies may have taken its place');
  t.same(await told(lost), [], 'nor by the process after that');
  const flag = { kind: 'interface_flag', interface: tag, flag: 'admin_up' } as const;
  await does([{ action: 'remove', object: flag }]);
  t.same(await told(memoryFile()), ['add'], 'one that is not up may have none');
});

t.test('tunnels beside a node', async (t) => {
  const { does, missing, fresh } = await connected(t);
  const wanted = [...nodes['a dual-stack node']!, ...tunnels];
  await does(reconcile(wanted, []));
  t.same(await missing(wanted), []);
  const own = await (await fresh()).read(['connectivity']);
  t.same(own.objects.map(keyOf).sort(), tunnels.map(keyOf).sort(), 'and are one owner’s');
  for (const object of tunnels) {
    if (object.kind === 'route') continue;
    const without = wanted.filter((other) => other !== object);
    if (object.kind === 'ipip_tunnel' || object.kind === 'vxlan_tunnel') continue;
    await does([{ action: 'remove', object }]);
    const left = await missing(wanted);
    if (object.kind === 'interface_mtu') t.same(left, [], 'an MTU stays');
    else t.same(left, [`add ${JSON.stringify(object)}`], keyOf(object));
    t.same(await missing(without), [], `without ${keyOf(object)}`);
    await does([{ action: 'add', object }]);
  }
});

t.test(
  'a tunnel is the one that its ends say, and another owner’s where its tag says otherwise',
  async (t) => {
    const { client, read } = await connected(t);
    const { sw_if_index } = await client.request(ipip_add_tunnel, { tunnel: ipip('10.0.0.2', '10.0.0.3') });
    const tagged = async (tag: string): Promise<string[]> => {
      await client.request(sw_interface_tag_add_del, { is_add: true, sw_if_index, tag });
      return (await read(['connectivity'])).objects.map(keyOf);
    };
    t.same(await tagged(''), [], 'an operator’s, of whom nobody knows');
    t.same(await tagged('lan'), []);
    t.same(await tagged('ipip-10.0.0.4'), []);
    t.same(await tagged('ipip-10.0.0.3'), ['ipip_tunnel:ipip-10.0.0.3', 'interface_mtu:ipip-10.0.0.3']);
  },
);

t.test('a tunnel that its process did not come to tag is made anew by the next one', async (t) => {
  for (const tunnel of tunnels) {
    if (tunnel.kind !== 'ipip_tunnel' && tunnel.kind !== 'vxlan_tunnel') continue;
    const { vpp, run, client, file } = await connected(t);
    await client.request(ipip_add_tunnel, { tunnel: ipip('10.0.0.2', '10.9.9.9') });
    vpp.fault({ fault: 'close', at: { message: 'sw_interface_tag_add_del' } });
    await t.rejects(run([{ action: 'add', object: tunnel }]));
    const next = await connect({ transport: vpp.transport(), name: 'next' });
    t.teardown(() => next.close());
    const later = await session(next, file);
    const { objects } = await later.read(['connectivity']);
    t.same(objects.map(keyOf), [`${tunnel.kind}:#2`], 'it has no name, and is ours');
    const { error } = await later.run(reconcile([tunnel], objects));
    t.equal(error, undefined);
    const again = (await later.read(['connectivity'])).objects.filter(({ kind }) => kind === tunnel.kind);
    t.same(again, [tunnel]);
    t.equal(
      vpp.state.tunnels.all('ipip').filter(({ dst }) => dst === '10.9.9.9').length,
      1,
      'the other stays',
    );
    const { objects: then } = await (await session(next, file)).read(['connectivity']);
    t.notOk(
      then.some((object) => keyOf(object).includes('#')),
      'nothing of it is left in the registry',
    );
  }
});

t.test('without VXLAN in VPP a tunnel is refused for that', async (t) => {
  const vpp = await startStandInVpp({ without: ['vxlan_add_del_tunnel_v3', 'vxlan_tunnel_v2_dump'] });
  vpp.fault({ fault: 'refuse', message: 'add_node_next', retval: -63 });
  const client = await connect({ transport: vpp.transport(), name: 'test' });
  t.teardown(() => {
    client.close();
    vpp.close();
  });
  const { run, read } = await session(client, memoryFile());
  const { outcomes } = await run([
    { action: 'add', object: tunnels.find(({ kind }) => kind === 'vxlan_tunnel')! },
    { action: 'add', object: tunnels[0]! },
  ]);
  t.match(outcomes[0]?.error, /VPP has no VXLAN: its plugin is not loaded/);
  t.equal(outcomes[1]?.error, undefined);
  t.same(
    (await read(['connectivity'])).objects.filter(({ kind }) => kind === 'ipip_tunnel'),
    [tunnels[0]],
  );
});

function ipip(src: string, dst: string): ipip_tunnel {
  return {
    instance: 0xffffffff,
    src,
    dst,
    sw_if_index: 0xffffffff,
    table_id: 0,
    flags: 0,
    mode: 'TUNNEL_API_MODE_P2P',
    dscp: 'IP_API_DSCP_CS0',
  };
}

t.test('whatever is taken away is missing, and nothing else', async (t) => {
  const { does, missing } = await connected(t);
  const wanted = [...nodes['redirect rules of both families']!, ...pods.tun!, ...pods.tap!];
  await does(reconcile(wanted, []));
  const alone = wanted.filter((object) =>
    [
      'route',
      'neighbour',
      'interface_address',
      'translation',
      'urpf',
      'punt_redirect',
      'redirect_rule',
    ].includes(object.kind),
  );
  for (const object of alone) {
    await does([{ action: 'remove', object }]);
    t.same(await missing(wanted), [`add ${JSON.stringify(object)}`], keyOf(object));
    await does([{ action: 'add', object }]);
  }
  t.ok(alone.length > 20);
});

t.test(
  'what leads through an interface that is gone is named by its index, and removed before it is made anew',
  async (t) => {
    const { does, read, missing } = await connected(t);
    const pod = pods.tun!;
    const tap = pod.find(({ kind }) => kind === 'tap')!;
    await does(reconcile([...nodes['a dual-stack node']!, ...pod], []));
    const snapshot = await read();
    const index = snapshot.interfaces.find((known) => 'tag' in tap && known.tag === tap.tag)!.sw_if_index;
    await does([{ action: 'remove', object: tap }]);
    const seen = (await read()).objects;
    const route = seen.find((object) => keyOf(object) === 'route:pods/0/10.1.0.5/32');
    t.match(route, { paths: [{ interface: `#${index}`, next_hop: '10.1.0.5' }] });
    const again = reconcile([...nodes['a dual-stack node']!, ...pod], seen);
    t.same(
      again.filter(({ object }) => keyOf(object) === 'route:pods/0/10.1.0.5/32').map(({ action }) => action),
      ['remove', 'add'],
    );
    await does(again);
    t.same(await missing([...nodes['a dual-stack node']!, ...pod]), []);
  },
);

t.test('interfaces that nobody has tagged are shown and never taken for ours', async (t) => {
  const { does, read, client } = await connected(t);
  const { create_loopback } = await import('vpp-binapi-ts/interface');
  await client.request(create_loopback, { mac_address: '02:00:00:00:00:77' });
  const snapshot = await read();
  t.same(
    snapshot.interfaces.map(({ tag, name }) => [tag, name]),
    [
      ['', 'local0'],
      ['', 'loop0'],
    ],
  );
  t.same([...new Set(snapshot.objects.map(({ kind }) => kind))], ['neighbour_limits']);
  await does([]);
});

t.test('neighbours that VPP has learned are not ours', async (t) => {
  const { does, client, missing } = await connected(t);
  const wanted = nodes['a dual-stack node']!;
  await does(reconcile(wanted, []));
  await client.request(ip_neighbor_add_del, {
    is_add: true,
    neighbor: { sw_if_index: 1, flags: 0, mac_address: '02:00:00:00:00:99', ip_address: '10.0.0.1' },
  });
  t.same(await missing(wanted), []);
});

t.test('the buffers of the smallest pool are counted, and are absent where VPP does not tell', async (t) => {
  const text = `Pool Name            Index NUMA  Size  Data Size  Total  Avail  Cached   Used
default-numa-0         0     0   2304     2048    23912  23900     12       0
default-numa-1         1     1   2304     2048      100     50      0      50
`;
  t.equal(buffersIn(text), 100);
  t.equal(buffersIn('unknown input'), undefined);
  const { client, read } = await connected(t);
  let answer: string | undefined = text;
  const request = (async (...[message, fields]: Parameters<Client['request']>) => {
    if (message.name !== 'cli_inband') return client.request(message, fields);
    if (answer === undefined) throw new RetvalError(message.name, -1, {});
    return { retval: 0, reply: answer };
  }) as Client['request'];
  const reader = { ...voices(client), request };
  t.equal((await read(everything, reader)).buffers, 100);
  answer = undefined;
  t.equal((await read(everything, reader)).buffers, undefined);
  client.close();
  await t.rejects(read(everything, reader), { code: 'disconnected' }, 'a lost connection is no such answer');
});

t.test('a byte of garbage behind the name of a table is not part of it', async (t) => {
  const { does, read, client } = await connected(t);
  await does(
    reconcile(
      pods.tun!.filter(({ kind }) => kind === 'table'),
      [],
    ),
  );
  const dump = (async (...[message, fields]: Parameters<Client['dump']>) => {
    const details = (await client.dump(message, fields)) as object[];
    if (message.name !== ip_table_dump.name) return details;
    return details.map((detail) => {
      const { table } = detail as { table: { name: string } };
      return { ...detail, table: { ...table, name: `${table.name}\u0081` } };
    });
  }) as Client['dump'];
  const snapshot = await read(everything, { ...voices(client), dump });
  const names = snapshot.objects.flatMap((object) => (object.kind === 'table' ? [object.name] : []));
  const wanted = pods.tun!.flatMap((object) => (object.kind === 'table' ? [object.name] : []));
  t.same(names.sort(), wanted.sort());
});

t.test('every message that is read with is compared with the message table of VPP at connect', async (t) => {
  const { does, client, read } = await connected(t);
  await does(reconcile([...nodes['redirect rules of both families']!, ...pods.tun!], []));
  const asked: string[] = [];
  await read(everything, overheard(client, asked));
  const sent = new Set(asked.map((text) => text.split(' ')[0]!));
  const known = new Set(messages_used.map(({ name }) => name));
  t.same(
    [...sent].filter((name) => !known.has(name)),
    [],
  );
  t.ok(sent.has(sw_interface_dump.name) && sent.size > 15);
});

/** What VPP shows of these scopes, by key. */
const shown = (objects: readonly VppObject[]): string[] => objects.map(keyOf).sort();

t.test('an interface that is removed while all is read costs only itself', async (t) => {
  const all = [...nodes['redirect rules of both families']!, ...Object.values(pods).flat()];
  const taps = pods.tap!.flatMap((object) => (object.kind === 'tap' ? [object] : []));
  const { does, read, run, client } = await connected(t);
  await does(reconcile(all, []));
  const before = (await read()).objects;
  const asked: string[] = [];
  await read(everything, overheard(client, asked));
  let cut = 0;
  for (let at = 0; at < asked.length; at += Math.ceil(asked.length / 30)) {
    let sent = 0;
    // Removed when so many requests of the reading have left.
    const cutting = <Call extends (...args: never[]) => unknown>(call: Call) =>
      ((...args: never[]) => {
        if (sent === at) run(removal(taps));
        sent += 1;
        return call(...args);
      }) as Call;
    const own = voices(client);
    const { objects } = await read(everything, {
      ...own,
      dump: cutting(own.dump),
      request: cutting(own.request),
    });
    const seen = new Set(shown(objects));
    const lost = before.filter((object) => !seen.has(keyOf(object)));
    const others = lost.filter((object) => !JSON.stringify(object).includes(taps[0]!.tag));
    t.same(others, [], `removed at request ${at}`);
    if (lost.length > 0) cut += 1;
    await does(reconcile(all, (await read()).objects));
  }
  t.ok(cut > 0, `${cut} readings were cut`);
});

t.test(
  'what leads through an interface that is made while all is read is not taken for left over',
  async (t) => {
    const { does, read, run, client } = await connected(t);
    const pod = pods.tun!;
    await does(reconcile(nodes['a dual-stack node']!, []));
    let late = 0;
    for (const message of ['ip_table_dump', 'ip_route_v2_dump', 'ip_neighbor_dump']) {
      let begun = false;
      const own = voices(client);
      // All of the pod is there before the reading goes on with this message.
      const waiting = <Call extends (...args: never[]) => Promise<unknown>>(call: Call) =>
        (async (...args: never[]) => {
          const [{ name }] = args as unknown as [{ name: string }];
          if (name === message && !begun) {
            begun = true;
            await run(reconcile(pod, []));
          }
          return call(...args);
        }) as unknown as Call;
      const { objects } = await read(everything, { ...own, dump: waiting(own.dump) });
      t.same(objects.filter(isDangling), [], message);
      const whole = (await read()).objects;
      if (whole.length > objects.length) late += 1;
      await does(removal(pod));
    }
    t.ok(late > 0, 'some were made too late for the reading');
  },
);

t.test('a VPP without a plugin is read all the same, and what needs it is refused by name', async (t) => {
  const { client, does } = await connected(t);
  await does(reconcile(nodes['a dual-stack node']!, []));
  const lacks = /^(af_packet|urpf|cnat|npol|classify|input_acl|ip_session_redirect|feature_cnat)/;
  const isThere = (message: { readonly name: string }): boolean => !lacks.test(message.name);
  const asked: string[] = [];
  const heard = overheard(client, asked);
  const without = <Call extends (...args: never[]) => unknown>(call: Call) =>
    (async (...args: never[]) => {
      const [{ name }] = args as unknown as [{ name: string }];
      if (!isThere({ name })) throw new IncompatibleError(name, '0', undefined);
      return call(...args);
    }) as unknown as Call;
  const poor: Vpp = {
    dump: without(heard.dump),
    request: without(heard.request),
    compatible: (messages) => {
      const all = [...messages];
      const report = client.compatible(all);
      return { ...report, compatible: report.compatible && all.every(isThere) };
    },
  };
  const ask = ((message, fields, asker, options) => {
    if (!isThere(message)) throw new IncompatibleError(message.name, '0', undefined);
    client.ask(message, fields, asker, options);
  }) as Client['ask'];
  const process = await session({ ...poor, ask }, memoryFile());
  const pod = pods['with sources of its own, and redirected']!;
  const { outcomes } = await process.run(reconcile(pod, []));
  const refused = outcomes.filter(({ error }) => error !== undefined);
  t.ok(refused.length > 0 && refused.length < outcomes.length);
  for (const { operation, error } of refused)
    t.ok(
      /^(urpf|npol|cnat|feature_cnat|classify|input_acl)\S*: VPP has no such message/.test(error!.message) ||
        /id of (redirect|protocol)_table/.test(error!.message),
      `${keyOf(operation.object)}: ${error!.message}`,
    );
  const { objects } = await process.read();
  t.ok(objects.some(({ kind }) => kind === 'tap') && objects.some(({ kind }) => kind === 'route'));
  t.same(
    asked.filter((text) => lacks.test(text)),
    [],
  );
});

t.test('an owner is read without what others have', async (t) => {
  const { does, client, read } = await connected(t);
  await does(reconcile([...nodes['redirect rules of both families']!, ...Object.values(pods).flat()], []));
  const asked: string[] = [];
  const of = async (scopes: readonly Scope[]) => {
    asked.length = 0;
    const { objects } = await read(scopes, overheard(client, asked));
    const names = new Set(asked.map((text) => text.split(' ')[0]!));
    const sources = new Set(asked.flatMap((text) => (text.startsWith('ip_route_v2_dump') ? [text] : [])));
    return { objects, names, sources };
  };
  const all = (await read()).objects;
  const index = new OwnerIndex(all);

  const own = await of(['pods']);
  t.notOk(own.names.has('cnat_translation_dump'), 'no translations');
  t.notOk(own.names.has('cnat_snat_addresses_dump'));
  t.equal(own.sources.size, 1, 'and no routes of others');
  const beside = (object: VppObject): boolean => object.kind === 'route' && object.table_id === 0;
  t.same(
    shown(own.objects),
    shown(all.filter((object) => index.of(object) === 'pods' && !beside(object))),
    'nor its own where others have theirs',
  );
  const routes = await of(['pods', 'pod_routes']);
  t.same(shown(routes.objects), shown(all.filter((object) => index.of(object) === 'pods')));

  const node = await of(['node']);
  t.notOk(node.names.has('cnat_translation_dump'));
  t.equal(node.sources.size, 1);
  t.same(shown(node.objects), shown(all.filter((object) => index.of(object) === 'node')));

  const services = await of(['services']);
  t.ok(services.names.has('cnat_translation_dump'));
  t.equal(services.sources.size, 1);
  t.notOk(services.names.has('ip_address_dump'), 'nothing of interfaces');
  t.same([...new Set(services.objects.map(({ kind }) => kind))], ['translation']);
  const connectivity = await of(['connectivity']);
  t.same(connectivity.objects, []);
  t.equal(connectivity.sources.size, 1);
});

t.test('VPP goes through what it may have by the hundred thousand once at a time', async (t) => {
  const { does, client, read } = await connected(t);
  const drop = (n: number): VppObject => ({
    kind: 'route',
    source: 'connectivity',
    table_id: 0,
    prefix: `10.9.${n}.0/24`,
    paths: [{ via: 'drop' }],
  });
  await does(
    reconcile(
      [...nodes['redirect rules of both families']!, ...Object.values(pods).flat(), drop(1), drop(2)],
      [],
    ),
  );
  const shared = new Set([default_table, pods_table]);
  const under_way = { long: 0, short: 0 };
  const most = { long: 0, short: 0 };
  const watched: Vpp = {
    request: client.request.bind(client),
    compatible: client.compatible.bind(client),
    dump: (async (message: { name: string }, fields: { table?: { table_id: number } }, options: never) => {
      const is_long =
        message.name === 'cnat_translation_dump' ||
        (message.name === 'ip_route_v2_dump' && shared.has(fields.table!.table_id));
      const kind = is_long ? 'long' : 'short';
      under_way[kind] += 1;
      most[kind] = Math.max(most[kind], under_way[kind]);
      try {
        return await client.dump(message as never, fields as never, options);
      } finally {
        under_way[kind] -= 1;
      }
    }) as unknown as Vpp['dump'],
  };
  const all = shown((await read([...everything, 'pod_routes', 'hidden'])).objects);
  t.same(shown((await read([...everything, 'pod_routes', 'hidden'], watched)).objects), all);
  t.equal(most.long, 1);
  t.ok(most.short > 8, 'what is short does not wait');

  // One that VPP refuses holds up none behind it.
  let refused = 0;
  const refusing = async (message: unknown, fields: { table?: { table_id: number } }, options: never) => {
    if (fields.table?.table_id === default_table) {
      refused += 1;
      throw new RetvalError('ip_route_v2_dump', -1, {});
    }
    return client.dump(message as never, fields as never, options);
  };
  t.ok((await read(everything, { ...watched, dump: refusing as Vpp['dump'] })).objects.length > 0);
  t.ok(refused > 1);
});

t.test('what connectivity has behind a route of another owner is told as what may be there', async (t) => {
  const { does, read, fresh } = await connected(t);
  const to = (source: 'node' | 'pods' | 'services' | 'connectivity', prefix: string): VppObject => ({
    kind: 'route',
    source,
    table_id: 0,
    prefix,
    paths: [{ via: 'drop' }],
  });
  const behind = to('connectivity', '10.7.1.5/32');
  await does(
    reconcile(
      [
        ...nodes['a dual-stack node']!,
        to('pods', '10.7.1.5/32'),
        to('pods', '10.7.1.6/32'),
        to('node', 'fd07::/64'),
        behind,
        to('connectivity', '10.7.2.0/24'),
      ],
      [],
    ),
  );
  const routes = async (scopes: readonly Scope[]): Promise<VppObject[]> =>
    (await read(scopes)).objects.filter(
      (object) => object.kind === 'route' && /07|10\.7/.test(object.prefix),
    );
  t.same(shown(await routes(['connectivity'])), shown([to('connectivity', '10.7.2.0/24')]));
  const without = (prefix: string) => ({ ...to('connectivity', prefix), paths: [] });
  t.same(
    shown(await routes(['connectivity', 'hidden'])),
    shown([
      to('connectivity', '10.7.2.0/24'),
      without('10.7.1.5/32'),
      without('10.7.1.6/32'),
      without('fd07::/64'),
    ]),
  );
  const of_services = (prefix: string) => ({ ...to('services', prefix), paths: [] });
  t.same(
    shown(await routes(['services', 'hidden'])),
    shown([of_services('10.7.1.5/32'), of_services('10.7.1.6/32'), of_services('fd07::/64')]),
    'to each its own alone: connectivity has what is behind',
  );
  // It is removed like that, and where it is not there that is no error.
  const process = await fresh();
  const { outcomes } = await process.run(removal([without('10.7.1.5/32'), without('10.7.1.6/32')]));
  t.same(
    outcomes.map(({ error }) => error),
    [undefined, undefined],
  );
  await does(removal([to('pods', '10.7.1.5/32')]));
  t.same(
    shown(await routes(['connectivity'])),
    shown([to('connectivity', '10.7.2.0/24')]),
    'nothing came to light',
  );
});

t.test('tunnels that lend addresses of an interface that is gone are shown as nobody’s', async (t) => {
  const { does, read } = await connected(t);
  const lender: VppObject = { kind: 'loopback', tag: 'node-lender' };
  const tunnel: VppObject = { kind: 'ipip_tunnel', tag: 'ipip-10.0.0.3', src: '10.0.0.2', dst: '10.0.0.3' };
  const lends: VppObject = { kind: 'unnumbered', interface: tunnel.tag, of: 'node-lender' };
  await does(reconcile([lender, tunnel, lends], []));
  const lent = async (scopes: readonly Scope[]): Promise<VppObject[]> =>
    (await read(scopes)).objects.filter(({ kind }) => kind === 'unnumbered');
  t.same(await lent(['node', 'nobody']), [], 'it is there');
  await does(removal([lender]));
  const gone = await lent(['node', 'nobody']);
  t.match(gone, [{ kind: 'unnumbered', interface: tunnel.tag }]);
  t.ok(gone.every(isDangling));
  await does(removal(gone));
  t.same(await lent(['node', 'nobody']), []);
  await does(reconcile([{ kind: 'loopback', tag: 'node-next' }], []));
  t.same(await lent(['connectivity']), [], 'the next interface with that number lends nothing');
});

t.test('routes and translations are handed on as they come, but for those of a gone interface', async (t) => {
  const { does, client, fresh } = await connected(t);
  const [tun, tap] = [pods.tun!, pods.tap!];
  await does(reconcile([...nodes['a dual-stack node']!, ...tun, ...tap], []));
  await does([{ action: 'remove', object: tap.find(({ kind }) => kind === 'tap')! }]);
  const process = await fresh();
  const whole = (await process.read()).objects;
  const taken: VppObject[] = [];
  let ended = false;
  const reading = process.read(everything, client, (object) => {
    t.notOk(ended);
    taken.push(object);
  });
  const { objects } = await reading;
  ended = true;
  t.same([...new Set(taken.map(({ kind }) => kind))].sort(), ['route', 'translation']);
  t.same(shown([...taken, ...objects]), shown(whole), 'all of them, once');
  const kept = objects.filter(({ kind }) => kind === 'route' || kind === 'translation');
  t.ok(kept.length > 0 && kept.every(isDangling), 'whether its interface is gone shows in the end');
  t.notOk(taken.some(isDangling));
  const translation = taken.find(({ kind }) => kind === 'translation')!;
  t.not(process.handles.find(translation), undefined, 'and can be removed');
});

const plain: ObjectOf<'translation'> = {
  kind: 'translation',
  address: '10.96.0.1',
  port: 80,
  protocol: 'udp',
  backends: [{ address: '10.1.0.1', port: 80 }],
};

/** Versions of it. */
const versions = fc
  .record({
    lb: fc.constantFrom('maglev' as const, undefined),
    hash: fc.constantFrom(1, 2, undefined),
    flags: fc.uniqueArray(fc.record({ n: fc.integer({ min: 1, max: 3 }), no_nat: fc.boolean() }), {
      minLength: 1,
      selector: ({ n }) => n,
    }),
  })
  .map(
    ({ lb, hash, flags }): ObjectOf<'translation'> => ({
      ...plain,
      backends: flags.map(({ n, no_nat }) => ({
        address: `10.1.0.${n}`,
        port: 80,
        ...(no_nat && { no_nat: true }),
      })),
      ...(lb && { lb }),
      ...(hash && { hash }),
    }),
  );

t.test('whatever a translation becomes, and whoever changes it, VPP works by its last version', async (t) => {
  const { vpp, fresh, file } = await connected(t);
  const steps = fc.array(
    fc.record({ wanted: fc.option(versions, { nil: undefined }), by_another: fc.boolean() }),
    { minLength: 1, maxLength: 6 },
  );
  let process = await fresh();
  await process.run([{ action: 'add', object: { kind: 'snat_addresses', ip4: '10.0.0.2' } }]);
  await fc.assert(
    fc.asyncProperty(steps, async (todo) => {
      let model = new Model();
      const read = async () => {
        model.beginReading();
        for (const object of (await process.read(['services'])).objects) model.seen(object);
        model.endReading();
      };
      await read();
      for (const { wanted, by_another } of todo) {
        if (by_another) {
          process = await fresh();
          model = new Model();
          await read();
        }
        model.wantOnly(wanted === undefined ? [] : [wanted]);
        const { outcomes, lost_state } = await process.run(model.take(9));
        model.settle(outcomes);
        t.strictSame([outcomes.find(({ error }) => error), lost_state], [undefined, undefined]);
        t.equal(model.take(9).length, 0);
        const works = [...vpp.state.cnat.translations].map(({ shown, flow_hash_config }) => ({
          lb: shown.lb_type,
          hash: flow_hash_config,
          backends: shown.paths.map(({ dst_ep, flags }) => `${dst_ep.addr} ${flags & 2}`),
        }));
        const is = canonical(wanted ?? { kind: 'snat_addresses' });
        t.strictSame(
          works,
          is.kind !== 'translation'
            ? []
            : [
                {
                  lb: is.lb ? 'CNAT_LB_TYPE_MAGLEV' : 'CNAT_LB_TYPE_DEFAULT',
                  hash: is.hash ?? 0,
                  backends: is.backends.map(({ address, no_nat }) => `${address} ${no_nat ? 2 : 0}`),
                },
              ],
        );
        const left = new Registry(memoryFile(file.read()), 'vpp').partOf(plain);
        t.equal(left === undefined, wanted?.hash === undefined, 'nothing is left of what is gone');
      }
    }),
    { numRuns: 40 },
  );
});

t.test('a translation of which is not known what hash it has is made anew', async (t) => {
  const { vpp, file, fresh, does } = await connected(t);
  await does([{ action: 'add', object: plain }]);
  const id = JSON.stringify([...vpp.state.cnat.translations]);
  // A process wrote down that it would change the hash, and died.
  new Registry(file, 'vpp').begins({ ...plain, hash: 1 });
  const process = await fresh();
  const { objects } = await process.read(['services']);
  const hashed: VppObject = { ...plain, hash: 1 };
  t.match(reconcile([hashed], objects), [{ action: 'add', object: hashed, anew: true }]);
  t.match(reconcile([plain], objects), [{ action: 'add', object: plain, anew: true }]);
  await process.run(reconcile([plain], objects));
  t.equal(JSON.stringify([...vpp.state.cnat.translations]), id);
  t.equal(vpp.counts.get('cnat_translation_del'), 1);
});

t.test('an update that VPP answers with another id tells that it has lost what it had', async (t) => {
  const { client, run } = await connected(t);
  const at = (port: number, ...hosts: number[]): VppObject => ({
    ...plain,
    port,
    backends: hosts.map((n) => ({ address: `10.1.0.${n}`, port: 80 })),
  });
  const add = (...objects: VppObject[]) => run(objects.map((object) => ({ action: 'add', object })));
  t.equal((await add(at(80, 1), at(81, 1))).lost_state, undefined);
  t.equal((await add(at(80, 1, 2), at(81, 2))).lost_state, undefined);
  await client.request(cnat_session_purge, {});
  t.equal((await add(at(80, 1))).lost_state, true);
});

t.test('a fresh process finds nothing to do, whatever variant of node and pod there is', async (t) => {
  const kinds = new Set<string>();
  for (const [name, node] of Object.entries(nodes)) {
    for (const [pod_name, pod] of Object.entries(pods)) {
      // Its ACL needs the redirect tables.
      if (pod.some(({ kind }) => kind === 'redirect_acl') && !name.startsWith('redirect')) continue;
      const { does, missing } = await connected(t);
      const wanted = [...node, ...pod];
      await does(reconcile(wanted, []));
      t.same(await missing(wanted), [], `${name}, ${pod_name}`);
      for (const { kind } of wanted) kinds.add(kind);
    }
  }
  t.ok(kinds.size > 20, `${kinds.size} kinds`);
});

t.test('a tap or loopback with the tag of an uplink is of VPP’s start-up files', async (t) => {
  const { does, read } = await connected(t);
  const tap = desiredNode(nodeOf(), true).find(({ kind }) => kind === 'tap')!;
  await does([
    { action: 'add', object: { ...tap, tag: 'main-own0' } as VppObject },
    { action: 'add', object: { kind: 'loopback', tag: 'main-own1' } },
  ]);
  const { objects } = await read();
  t.strictSame(
    objects.filter((object) => 'tag' in object),
    ['main-own0', 'main-own1'].map((tag) => ({ kind: 'existing_interface', tag })),
  );
});

t.test('a memif that nobody has come to tag is shown, and removed with its socket', async (t) => {
  const { client, does, read } = await connected(t);
  await does(reconcile(desiredNode(nodeOf(), true), []));
  const socket_filename = 'abstract:vpp/memif-eth0,netns_name=/var/run/netns/cni-9';
  await client.request(memif_socket_filename_add_del_v2, { is_add: true, socket_id: 9, socket_filename });
  const { sw_if_index } = await client.request(memif_create_v2, {
    role: 'MEMIF_ROLE_API_MASTER',
    mode: 'MEMIF_MODE_API_IP',
    rx_queues: 1,
    tx_queues: 1,
    id: 0,
    socket_id: 9,
    ring_size: 1024,
    buffer_size: 2048,
    no_zero_copy: false,
    use_dma: false,
    hw_addr: '00:00:00:00:00:00',
    secret: '',
  });
  const { objects } = await read();
  const own = objects.filter(({ kind }) => kind === 'memif');
  t.match(own, [{ tag: `#${sw_if_index}`, netns: '/var/run/netns/cni-9', interface_name: 'eth0' }]);
  t.equal(new OwnerIndex(objects).of(own[0]!), 'pods');
  await does(removal(own));
  t.same(
    (await client.dump(memif_socket_filename_dump, {})).map(({ socket_id }) => socket_id),
    [0],
  );
});

t.test('where nothing is written down, a split is removed and made anew', async (t) => {
  const { client, does } = await connected(t);
  const wanted = [...nodes['redirect rules of both families']!, ...pods['with a memif']!];
  await does(reconcile(wanted, []));
  const next = await session(client, memoryFile());
  const { objects, unsure } = await next.read();
  const operations = reconcile(wanted, objects, unsure).filter(({ object }) => object.kind === 'pbl_client');
  t.same(
    operations.map(({ action }) => action),
    ['remove', 'remove', 'remove', 'add', 'add', 'add'],
  );
  await does(reconcile(wanted, objects, unsure), next);
  const again = await next.read();
  t.same(reconcile(wanted, again.objects, again.unsure), []);
});

t.test('what VPP says of splits', async (t) => {
  const seen = [
    '[0] pbl-client: 10.44.0.11 clone:1',
    '[1] pbl-client: 10.44.0.11',
    '  TCP ports: 80 5000-5999',
    '  UDP ports: (empty)',
    '  matched dpo',
    '    [@2]: ipv4 via 0.0.0.0 memif1048577/0: mtu:9216 next:8 flags:[features ]',
    '  default dpo',
    '    [@2]: ipv4 via 0.0.0.0 tun1: mtu:9216 next:7 flags:[features ]',
    '[2] pbl-client: fd44::a1 clone:3',
    '[3] pbl-client: fd44::a1',
    '  TCP ports: (empty)',
    '  UDP ports: 1-65535',
    '  matched dpo',
    '    [@0]: dpo-drop ip6',
    '  default dpo',
    '    [@2]: ipv6 via :: tap1: mtu:9216 next:7 flags:[features ]',
    '',
  ].join('\n');
  t.same(pblClientsIn(seen), [
    {
      id: 0,
      address: '10.44.0.11',
      ports: [
        { protocol: 'tcp', first: 80, last: 80 },
        { protocol: 'tcp', first: 5000, last: 5999 },
      ],
      by: 'memif1048577/0',
      otherwise: 'tun1',
    },
    {
      id: 2,
      address: 'fd44::a1',
      ports: [{ protocol: 'udp', first: 1, last: 65535 }],
      otherwise: 'tap1',
    },
  ]);
  t.same(pblClientsIn(''), []);
  t.same(pblClientsIn('unknown input'), []);
});

t.test('WireGuard: the next process finds each peer, and what it changes of one is no other’s', async (t) => {
  const { vpp, does, missing, fresh } = await connected(t);
  const key = (of: number): string => Buffer.alloc(32, of).toString('base64');
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  const pair = wireguardPair();
  const private_key = new Secret(base64(pair.private_key));
  const device = {
    kind: 'wireguard_interface',
    tag: wireguard_tag,
    src: '10.0.0.2',
    port: 51_820,
    public_key: base64(pair.public_key),
    private_key,
  } as const;
  const own = { node: { ip4: '10.0.0.2', ip6: 'fd00::2' }, subnets: {}, main_uplink: 'main-eth0', mtu: 1500 };
  const peer = (n: number, more: readonly string[] = []): WireguardPeer => ({
    kind: 'wireguard_peer',
    interface: wireguard_tag,
    public_key: key(n),
    endpoint: `10.0.0.${n}`,
    port: 51_820,
    keepalive_s: 0,
    // Of both families: the key is there once.
    allowed: [`10.0.0.${n}/32`, `10.1.${n}.0/26`, `fd00::${n}/128`, `fd10:${n}::/122`, ...more].sort(),
  });
  const base = [...nodes['a dual-stack node']!, ...tunnelObjects(device, own, tunnel_settings_default)];
  const wanted = [...base, peer(3), peer(4), peer(5)];
  await does(reconcile(wanted, []));
  t.same(await missing(wanted), []);

  const next = await fresh();
  const { objects } = await next.read(['connectivity']);
  t.same(
    objects
      .filter(({ kind }) => kind === 'wireguard_peer')
      .map(keyOf)
      .sort(),
    wanted.slice(-3).map(keyOf).sort(),
  );
  t.notMatch(JSON.stringify(objects), private_key.reveal(), 'the private key is not asked for');
  // Of the one in the middle, which is another one to VPP then, and once more: not by the number that it had.
  const becomes = async (what: string, ...peers: readonly WireguardPeer[]): Promise<void> => {
    const all = [...base, ...peers];
    const { objects, unsure } = await next.read();
    await does(reconcile(all, objects, unsure), next);
    t.same(await missing(all), [], what);
  };
  for (const more of [['10.1.40.0/26'], ['10.1.40.0/26', 'fd10:40::/122']])
    await becomes(`with ${more.join(' and ')}`, peer(3), peer(4, more), peer(5));
  await becomes('the others are as they were', peer(3), peer(5));
  t.equal(vpp.state.wireguard.peers.length, 2);
});

t.test('tunnels of IKE’s with their profiles: what VPP brings up is nobody’s wish', async (t) => {
  const { vpp, does, missing, fresh } = await connected(t);
  const own = {
    node: { ip4: '10.0.0.4', ip6: 'fd00::2' },
    subnets: {},
    main_uplink: 'main-eth0',
    mtu: 1500,
  };
  const psk = new Secret('hunter2');
  const settings = { ...tunnel_settings_default, ipsec: { psk, psk_version: 1 } };
  // Of one this end begins, of the other the other one.
  const of_ike = [
    { src: '10.0.0.4', dst: '10.0.0.3' },
    { src: 'fd00::2', dst: 'fd00::3' },
  ].flatMap((ends) =>
    tunnelObjects({ kind: 'ipip_tunnel', tag: ipipTag(ends.dst), ...ends, ike: true }, own, settings),
  );
  const wanted = [...desiredNode(nodeOf({ does_ike: true }), true), ...of_ike];
  await does(reconcile(wanted, []));
  t.same(await missing(wanted), []);
  const { handles, read } = await fresh();
  const { objects } = await read(['connectivity']);
  t.notOk(
    objects.some((object) => keyOf(object).endsWith('/admin_up')),
    'though it is up',
  );
  t.notMatch(JSON.stringify(objects), /hunter2/);
  const other = { ...settings, ipsec: { psk: new Secret('another'), psk_version: 2 } };
  const [tunnel] = of_ike as [IpipTunnel];
  const profile = tunnelObjects(tunnel, own, other).find(({ kind }) => kind === 'ike_profile')!;
  t.match(reconcile([profile], [objects.find((object) => keyOf(object) === keyOf(profile))!]), [
    { action: 'add' },
  ]);

  const client = await connect({ transport: vpp.transport(), name: 'looks' });
  t.teardown(() => client.close());
  const look = async () => observeIkeTunnels(new Reader(client), handles, [tunnel]);
  t.match(await look(), [{ state: 'clear' }], 'the stand-in has no keys');
  vpp.state.interfaces.setAdmin(vpp.state.interfaces.get(handles.interface(tunnel.tag)), false);
  t.match(await look(), [{ state: 'down', has_sa: false }]);
  t.match(await observeIkeTunnels(new Reader(client), handles, [{ ...tunnel, tag: 'ipip-10.0.0.9' }]), [
    { state: 'gone' },
  ]);
});

t.test(
  'tunnels of IKE’s are looked at with one dump of all; of several SAs the one with keys counts',
  async (t) => {
    const handles = new Handles();
    const tunnel = (dst: string) => ({ tag: ipipTag(dst), src: '10.0.0.4', dst });
    const ends = [tunnel('10.0.0.3'), tunnel('10.0.0.2'), tunnel('10.0.0.1')];
    ends.forEach(({ tag, src, dst }, at) => {
      handles.made({ kind: 'ipip_tunnel', tag, src, dst, ike: true }, at + 1);
    });
    const asked: string[] = [];
    const answers: Readonly<Record<string, (fields: { readonly sa_index: number }) => readonly unknown[]>> = {
      sw_interface_dump: () =>
        ends.slice(0, 2).map(({ tag }, at) => ({ sw_if_index: at + 1, tag, flags: at === 0 ? 1 : 0 })),
      ipsec_tunnel_protect_dump: () => [{ tun: { sw_if_index: 1 } }],
      // Somebody has begun with this node in the name of the other one, before and after.
      ikev2_sa_dump: () =>
        [7, 8, 9].map((sa_index) => ({ sa: { iaddr: '10.0.0.4', raddr: '10.0.0.3', sa_index } })),
      ikev2_child_sa_dump: ({ sa_index }) => (sa_index === 8 ? [{ child_sa: { i_spi: 0x01020304 } }] : []),
    };
    const client = {
      compatible: () => ({ compatible: true }),
      dump: async ({ name }: { readonly name: string }, fields: { readonly sa_index: number }) => {
        asked.push(name);
        return answers[name]!(fields);
      },
    } as unknown as Client;
    t.strictSame(await observeIkeTunnels(new Reader(client), handles, ends), [
      { tag: 'ipip-10.0.0.3', state: 'up', has_sa: true },
      { tag: 'ipip-10.0.0.2', state: 'down', has_sa: false },
      { tag: 'ipip-10.0.0.1', state: 'gone', has_sa: false },
    ]);
    t.strictSame(asked.splice(0), ['ikev2_sa_dump', 'sw_interface_dump', 'ipsec_tunnel_protect_dump']);
    const [first] = await observeIkeTunnels(new Reader(client), handles, [{ ...ends[0]!, needs_spi: true }]);
    t.equal(first!.spi, 0x04030201);
    t.strictSame(asked.filter((name) => name === 'ikev2_child_sa_dump').length, 2);
  },
);
