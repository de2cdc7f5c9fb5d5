import t from 'tap';
import { type Client, connect, RetvalError } from 'vpp-binapi-ts';
import { sw_interface_dump } from 'vpp-binapi-ts/interface';
import { ip_table_dump } from 'vpp-binapi-ts/ip';
import { ip_neighbor_add_del } from 'vpp-binapi-ts/ip_neighbor';
import { startStandInVpp } from '../../lab/vpp/stand-in.js';
import { desiredPod } from '../../src/desired/pod.js';
import { podTables } from '../../src/desired/tables.js';
import { desiredNode } from '../../src/desired/uplink.js';
import type { VppObject } from '../../src/objects/object.js';
import { isUnknown, keyOf } from '../../src/objects/object.js';
import type { Operation } from '../../src/reconcile/operation.js';
import { reconcile, removal } from '../../src/reconcile/reconcile.js';
import { execute } from '../../src/vpp-conn/execute.js';
import { Handles } from '../../src/vpp-conn/handles.js';
import { messages_used } from '../../src/vpp-conn/messages.js';
import { buffersIn, observe } from '../../src/vpp-conn/observe.js';
import { address, linuxRoute, nodeOf, podInputsOf, podOf, uplinkOf } from '../desired/sample.js';

/** A client of a stand-in VPP, as a session of this process has one. */
async function connected(t: { teardown(run: () => void): void }) {
  const vpp = await startStandInVpp();
  const client = await connect({ transport: vpp.transport(), name: 'test' });
  t.teardown(() => {
    client.close();
    vpp.close();
  });
  const handles = new Handles();
  return {
    vpp,
    client,
    /** Throws when VPP refuses an operation. */
    async does(operations: readonly Operation[], known = handles): Promise<void> {
      const { error } = await execute(client, known, {
        generation: 1,
        owner: 'test',
        operations,
        on_error: 'continue',
      });
      if (error !== undefined) throw error;
    },
    /** What is still to be done, but for what no dump shows. */
    async missing(wanted: readonly VppObject[]): Promise<string[]> {
      const { snapshot } = await observe(client);
      return reconcile(wanted, snapshot.objects).flatMap(({ action, object }) =>
        action === 'add' && isUnknown(object) ? [] : [`${action} ${JSON.stringify(object)}`],
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
  'redirect rules of both families': desiredNode(nodeOf({ redirects }), true),
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
  'with sources of its own, and redirected': desiredPod(
    podOf({
      netns: '/var/run/netns/cni-3',
      addresses: { ip4: ['10.1.0.7'], ip6: ['fd01::7'] },
      allowed_source_prefixes: ['10.9.0.0/24', 'fd09::/64'],
      host_ports: [],
    }),
    podInputsOf({ tables: podTables(2), redirects: [4, 6] }),
  ),
};

t.test('what was asked for is what is seen: nothing is left to do', async (t) => {
  for (const [name, objects] of Object.entries(nodes)) {
    const { does, missing } = await connected(t);
    await does(reconcile(objects, []));
    t.same(await missing(objects), [], name);
  }
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
  const { does, client } = await connected(t);
  const kept = /^(neighbour_limits|redirect_table|snat_addresses):/;
  await does(reconcile([...nodes['redirect rules of both families']!, ...Object.values(pods).flat()], []));
  const { snapshot, handles } = await observe(client);
  t.ok(snapshot.objects.length > 120, `${snapshot.objects.length} objects`);
  await does(removal(snapshot.objects), handles);
  const left = (await observe(client)).snapshot;
  t.same(
    left.objects.map(keyOf).filter((key) => !kept.test(key)),
    [],
  );
  t.same(
    left.interfaces.map(({ name }) => name),
    ['local0'],
  );
});

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
    const { does, client, missing } = await connected(t);
    const pod = pods.tun!;
    const tap = pod.find(({ kind }) => kind === 'tap')!;
    await does(reconcile([...nodes['a dual-stack node']!, ...pod], []));
    const { snapshot } = await observe(client);
    const index = snapshot.interfaces.find((known) => 'tag' in tap && known.tag === tap.tag)!.sw_if_index;
    await does([{ action: 'remove', object: tap }]);
    const seen = (await observe(client)).snapshot.objects;
    const route = seen.find((object) => keyOf(object) === 'route:0/10.1.0.5/32');
    t.match(route, { paths: [{ interface: `#${index}`, next_hop: '10.1.0.5' }] });
    const again = reconcile([...nodes['a dual-stack node']!, ...pod], seen);
    t.same(
      again.filter(({ object }) => keyOf(object) === 'route:0/10.1.0.5/32').map(({ action }) => action),
      ['remove', 'add'],
    );
    await does(again);
    t.same(await missing([...nodes['a dual-stack node']!, ...pod]), []);
  },
);

t.test('interfaces that nobody has tagged are shown and never taken for ours', async (t) => {
  const { does, client } = await connected(t);
  const { create_loopback } = await import('vpp-binapi-ts/interface');
  await client.request(create_loopback, { mac_address: '02:00:00:00:00:77' });
  const { snapshot } = await observe(client);
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

t.test('the buffers of all pools are counted, and are absent where VPP does not tell', async (t) => {
  const text = `Pool Name            Index NUMA  Size  Data Size  Total  Avail  Cached   Used
default-numa-0         0     0   2304     2048    23912  23900     12       0
default-numa-1         1     1   2304     2048      100     50      0      50
`;
  t.equal(buffersIn(text), 24_012);
  t.equal(buffersIn('unknown input'), undefined);
  const { client } = await connected(t);
  const request = (async (...[message, fields]: Parameters<Client['request']>) => {
    if (message.name === 'cli_inband') throw new RetvalError(message.name, -1, {});
    return client.request(message, fields);
  }) as Client['request'];
  const reader = { dump: client.dump.bind(client), request };
  t.equal((await observe(reader)).snapshot.buffers, undefined);
  client.close();
  await t.rejects(observe(reader), { code: 'disconnected' }, 'a lost connection is no such answer');
});

t.test('a byte of garbage behind the name of a table is not part of it', async (t) => {
  const { does, client } = await connected(t);
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
  const { snapshot } = await observe({ dump, request: client.request.bind(client) });
  const names = snapshot.objects.flatMap((object) => (object.kind === 'table' ? [object.name] : []));
  const wanted = pods.tun!.flatMap((object) => (object.kind === 'table' ? [object.name] : []));
  t.same(names.sort(), wanted.sort());
});

t.test('every message that is read with is compared with the message table of VPP at connect', async (t) => {
  const { does, client } = await connected(t);
  await does(reconcile([...nodes['redirect rules of both families']!, ...pods.tun!], []));
  const sent = new Set<string>();
  const told = <Call extends (...args: never[]) => unknown>(call: Call) =>
    ((...args: never[]) => {
      sent.add((args[0] as unknown as { name: string }).name);
      return call(...args);
    }) as Call;
  await observe({ dump: told(client.dump.bind(client)), request: told(client.request.bind(client)) });
  const known = new Set(messages_used.map(({ name }) => name));
  t.same(
    [...sent].filter((name) => !known.has(name)),
    [],
  );
  t.ok(sent.has(sw_interface_dump.name) && sent.size > 15);
});
