import fc from 'fast-check';
import t from 'tap';
import { desiredPod } from '../../src/desired/pod.js';
import type { Tap } from '../../src/objects/interfaces.js';
import type { VppObject } from '../../src/objects/object.js';
import { interfacesUsed, isRecorded, isSetting, keyOf } from '../../src/objects/object.js';
import type { Operation } from '../../src/reconcile/operation.js';
import { applyOutcomes, reconcile, removal } from '../../src/reconcile/reconcile.js';
import { arbitraryPod, inputs, podSpec } from './pods.js';
import { StrictVpp } from './strict-vpp.js';

const runs = { numRuns: 300 };

/** States of the same three pods: each there or not, in any version. */
const state = fc
  .tuple(...[1, 2, 3].map((n) => fc.option(arbitraryPod(n), { nil: undefined })))
  .map((pods) => pods.flatMap((pod) => pod?.objects ?? []));

/** Part of a state, as a crash in the middle of programming leaves it: some objects with all that they need. */
const part = fc.tuple(state, fc.nat()).map(([objects, seed]) => {
  const vpp = new StrictVpp();
  const operations = reconcile(objects, []);
  vpp.run(operations.slice(0, operations.length === 0 ? 0 : seed % operations.length));
  return vpp.objects;
});

/** What counts of an object: settings that nobody asked for, and what VPP does not tell, do not. */
function told(objects: readonly VppObject[], wanted: readonly VppObject[]): string[] {
  const keys = new Set(wanted.map(keyOf));
  return objects
    .filter((object) => keys.has(keyOf(object)) || !isSetting(object))
    .map(keyOf)
    .sort();
}

const text = ({ action, object }: Operation): string => `${action} ${keyOf(object)}`;

t.test('from any state to any other, in an order that VPP survives', async () => {
  fc.assert(
    fc.property(state, fc.oneof(state, part), (desired, actual) => {
      const vpp = new StrictVpp(actual);
      vpp.run(reconcile(desired, actual));
      const { objects } = vpp;
      const missing = reconcile(desired, objects);
      if (missing.length > 0) throw new Error(`not converged: ${missing.map(text)}`);
      if (told(objects, desired).join() !== desired.map(keyOf).sort().join())
        throw new Error(`holds ${told(objects, desired)}`);
    }),
    runs,
  );
});

t.test('what is as it should be is not touched', async () => {
  fc.assert(
    fc.property(state, fc.option(arbitraryPod(4), { nil: undefined }), (rest, more) => {
      const operations = reconcile([...rest, ...(more?.objects ?? [])], rest);
      const own = new Set((more?.objects ?? []).map(keyOf));
      const touched = operations.filter(({ object }) => !own.has(keyOf(object)));
      if (touched.length > 0) throw new Error(`touches ${touched.map(text)}`);
    }),
    runs,
  );
});

t.test('removal leaves nothing, in an order that VPP survives', async () => {
  fc.assert(
    fc.property(fc.oneof(state, part), (objects) => {
      const vpp = new StrictVpp(objects);
      vpp.run(removal(objects));
      if (vpp.objects.length > 0) throw new Error(`left: ${vpp.objects.map(keyOf)}`);
    }),
    runs,
  );
});

t.test('an adopted VPP, of which some is not seen, is removed without a trace', async () => {
  fc.assert(
    fc.property(state, (objects) => {
      const vpp = new StrictVpp(objects);
      vpp.run(removal(objects.filter((object) => !isRecorded(object))));
      const { length } = vpp.objects;
      if (length > 0) throw new Error(`left: ${vpp.objects.map(keyOf)}`);
    }),
    runs,
  );
});

t.test('an adopted VPP gets again what it is not sure to have, and nothing else', async () => {
  fc.assert(
    fc.property(state, fc.array(fc.nat(100), { maxLength: 5 }), (objects, picked) => {
      const unsure = new Set(picked.flatMap((at) => objects[at % (objects.length || 1)] ?? []).map(keyOf));
      const operations = reconcile(objects, objects, unsure);
      const added = operations.map(({ action, object }) => (action === 'add' ? keyOf(object) : 'removed'));
      if (added.sort().join() !== [...unsure].sort().join()) throw new Error(`does ${operations.map(text)}`);
    }),
    runs,
  );
});

t.test('what was carried out is known without a dump', async () => {
  fc.assert(
    fc.property(state, fc.oneof(state, part), (desired, actual) => {
      const operations = reconcile(desired, actual);
      const vpp = new StrictVpp(actual);
      vpp.run(operations);
      const known = applyOutcomes(
        actual,
        operations.map((operation) => ({ operation })),
      );
      if (known.map(keyOf).sort().join() !== vpp.objects.map(keyOf).sort().join()) throw new Error('differs');
    }),
    runs,
  );
});

t.test('outcomes', async (t) => {
  const objects = desiredPod(podSpec(1), inputs);
  const add = objects.map((object) => ({ operation: { action: 'add' as const, object } }));
  const refused = new Error('refused');
  t.same(applyOutcomes([], add), objects);
  t.same(
    applyOutcomes(
      [],
      add.map((outcome) => ({ ...outcome, error: refused })),
    ),
    [],
  );
  const tap = objects.find(({ kind }) => kind === 'tap')!;
  const gone = applyOutcomes(objects, [{ operation: { action: 'remove', object: tap } }]);
  t.notOk(
    gone.some(({ kind }) => kind === 'interface_table'),
    'what dies with the interface is gone',
  );
});

t.test('single rules', async (t) => {
  const tag = 'pod';
  const tap = (changes: Partial<Tap> = {}): Tap => {
    const found = desiredPod(podSpec(1), inputs).find((object) => object.kind === 'tap');
    return { ...(found as Tap), tag, ...changes };
  };
  const route = (tag_of_path: string): VppObject => ({
    kind: 'route',
    source: 'node',
    table_id: 0,
    prefix: '10.0.0.1/32',
    paths: [{ via: 'interface', interface: tag_of_path, next_hop: '10.0.0.1' }],
  });
  const rows: [protects: string, desired: VppObject[], actual: VppObject[], operations: string[]][] = [
    ['a changed route is overwritten', [route('b')], [route('a')], ['add route:node/0/10.0.0.1/32']],
    [
      'a route to an interface that is gone is removed before it is added again',
      [route('a')],
      [route('#7')],
      ['remove route:node/0/10.0.0.1/32', 'add route:node/0/10.0.0.1/32'],
    ],
    [
      'a tap of another kind is made anew, with what hangs on it',
      [tap({ type: 'tap' }), route(tag)],
      [tap(), route(tag)],
      [
        'remove route:node/0/10.0.0.1/32',
        'remove interface_flag:pod/snat_pod',
        'remove interface_flag:pod/snat_host',
        'remove interface_flag:pod/snat_include_ip4',
        'remove interface_flag:pod/snat_include_ip6',
        'remove tap:pod',
        'add tap:pod',
        'add route:node/0/10.0.0.1/32',
      ],
    ],
    ['what a dump does not show of a tap is no difference', [tap({ rx_queues: 4 })], [tap()], []],
    [
      'a setting that nobody asked for stays',
      [tap()],
      [tap(), { kind: 'rx_placement', interface: tag, queue_id: 0, worker_id: 0 }],
      [],
    ],
    [
      'an interface that changes its table loses its addresses meanwhile',
      [
        { kind: 'interface_table', interface: tag, family: 4, table_id: 9 },
        { kind: 'interface_address', interface: tag, prefix: '169.254.1.1/32' },
        { kind: 'interface_address', interface: tag, prefix: 'fd00::1/128' },
      ],
      [
        { kind: 'interface_table', interface: tag, family: 4, table_id: 8 },
        { kind: 'interface_address', interface: tag, prefix: '169.254.1.1/32' },
        { kind: 'interface_address', interface: tag, prefix: 'fd00::1/128' },
      ],
      [
        'remove interface_address:pod/169.254.1.1/32',
        'add interface_table:pod/4',
        'add interface_address:pod/169.254.1.1/32',
      ],
    ],
  ];
  for (const [protects, desired, actual, operations] of rows) {
    t.strictSame(reconcile(desired, actual).map(text), operations, protects);
  }
});

t.test('every kind of object has its place', async (t) => {
  const objects: VppObject[] = [
    { kind: 'snat_uplinks', ip4: '192.0.2.1' },
    { kind: 'snat_addresses', ip4: '192.0.2.1' },
    { kind: 'loopback', tag: 'node-snat' },
    { kind: 'snat_policy', policy: 'if_pfx', keeper: 'node-snat' },
    { kind: 'snat_exclude', prefix: '10.0.0.0/8' },
    { kind: 'snat_exclude', prefix: '10.0.0.0/8', of: 'uplinks' },
    { kind: 'neighbour_limits', family: 4, max_number: 1, max_age_s: 0 },
    { kind: 'table', family: 4, table_id: 5, name: 't', multicast: true },
    {
      kind: 'af_packet',
      tag: 'main-eth0',
      host_if_name: 'eth0',
      mac: '02:00:00:00:00:02',
      rx_queues: 1,
      tx_queues: 1,
      rx_frames_per_block: 1,
      tx_frames_per_block: 1,
      gso: false,
      qdisc_bypass: false,
      version_3: false,
    },
    {
      kind: 'af_xdp',
      tag: 'main-eth1',
      host_if_name: 'eth1',
      mac: '02:00:00:00:00:03',
      rx_queues: 1,
      rx_queue_size: 1,
      tx_queue_size: 1,
    },
    { kind: 'existing_interface', tag: 'main-eth2' },
    { kind: 'interface_table', interface: 'main-eth0', family: 4, table_id: 5 },
    { kind: 'interface_mtu', interface: 'main-eth0', mtu: 1500 },
    { kind: 'interface_rx_mode', interface: 'main-eth0', mode: 'adaptive' },
    { kind: 'rx_placement', interface: 'main-eth0', queue_id: 0, worker_id: 0 },
    { kind: 'interface_flag', interface: 'main-eth0', flag: 'cnat_feature' },
    { kind: 'interface_flag', interface: 'main-eth0', flag: 'admin_up' },
    { kind: 'interface_address', interface: 'main-eth0', prefix: '192.0.2.1/24' },
    { kind: 'link_local', interface: 'main-eth0', address: 'fe80::1' },
    { kind: 'neighbour', interface: 'main-eth0', address: '192.0.2.9', mac: '02:00:00:00:00:09' },
    { kind: 'route', source: 'node', table_id: 5, prefix: '0.0.0.0/0', paths: [{ via: 'drop' }] },
    {
      kind: 'mroute',
      table_id: 5,
      group: '224.0.0.0/4',
      accept_all_interfaces: true,
      paths: [{ interface: 'main-eth0', accept: true, forward: true }],
    },
    { kind: 'urpf', interface: 'main-eth0', family: 4, mode: 'loose', table_id: 5 },
    { kind: 'ttl_fixup', interface: 'main-eth0', towards: 'main-eth1' },
    { kind: 'proxy_arp_range', table_id: 5, low: '10.0.0.1', high: '10.0.0.2' },
    { kind: 'punt_redirect', family: 4, table_id: 1 },
    { kind: 'punt_l4', family: 4, protocol: 'tcp' },
    { kind: 'redirect_table', family: 4 },
    {
      kind: 'redirect_rule',
      protocol: 'udp',
      port: 53,
      address: '10.0.0.9',
      interface: 'main-eth0',
      next_hop: '10.0.0.8',
    },
    { kind: 'redirect_acl', interface: 'main-eth0', family: 4 },
    { kind: 'protocol_table', family: 4 },
    { kind: 'protocol_acl', interface: 'main-eth0', family: 4 },
    { kind: 'translation', address: '10.9.0.1', port: 80, protocol: 'tcp', backends: [] },
  ];
  t.equal(new Set(objects.map(keyOf)).size, objects.length, 'keys differ');
  const added = reconcile([...objects].reverse(), []).map(({ object }) => object);
  t.equal(added.length, objects.length);
  t.strictSame(
    added.slice(0, 2).map(({ kind }) => kind),
    ['snat_uplinks', 'snat_addresses'],
    'the first cnat call comes first of all',
  );
  const made = new Set<string>();
  for (const object of added) {
    if ('tag' in object) made.add(object.tag);
    t.ok(
      interfacesUsed(object).every((tag) => made.has(tag)),
      `${keyOf(object)} after its interfaces`,
    );
  }
  const removed = removal(objects).map(({ object }) => object.kind);
  t.ok(removed.indexOf('af_packet') > removed.indexOf('urpf'));
  t.ok(removed.indexOf('table') > removed.indexOf('route'));
  t.strictSame(reconcile(objects, objects), []);
  t.strictSame(
    objects.filter(isRecorded).map(({ kind }) => kind),
    ['snat_policy', 'snat_exclude', 'snat_exclude', 'ttl_fixup', 'punt_l4', 'protocol_acl'],
  );
});
