import fc from 'fast-check';
import t from 'tap';
import { desiredPod } from '../../src/desired/pod.js';
import { hostTapTable, podTables, table } from '../../src/desired/tables.js';
import type { VppObject } from '../../src/objects/object.js';
import { keyOf } from '../../src/objects/object.js';
import { podInterfaceTag, podTableName } from '../../src/pod/names.js';
import { assignPods, groupOrphans, podIdentity } from '../../src/pods/holdings.js';
import { arbitraryPod, inputs, podSpec } from '../reconcile/pods.js';

const node: VppObject[] = [
  { kind: 'snat_addresses', ip4: '192.0.2.1' },
  table(4, 1, 'punt-table-ip4'),
  table(4, hostTapTable(0), 'host-tap-0-ip4'),
  { kind: 'existing_interface', tag: 'main-eth0' },
  { kind: 'interface_address', interface: 'main-eth0', prefix: '192.0.2.1/24' },
  {
    kind: 'route',
    source: 'node',
    table_id: 0,
    prefix: '0.0.0.0/0',
    paths: [{ via: 'interface', interface: 'main-eth0', next_hop: '192.0.2.254' }],
  },
  { kind: 'route', source: 'node', table_id: 1, prefix: '192.0.2.1/32', paths: [{ via: 'drop' }] },
];
const service: VppObject = {
  kind: 'translation',
  address: '10.96.0.1',
  port: 443,
  protocol: 'tcp',
  backends: [{ address: '10.0.1.1', port: 443 }],
};

const keys = (objects: readonly VppObject[]): string[] => objects.map(keyOf).sort();

t.test('every object of the pods is one pod’s, and it is the right one', async () => {
  const pods = fc.tuple(
    ...[1, 2, 3].map((n) => fc.record({ pod: arbitraryPod(n), known: fc.boolean(), there: fc.boolean() })),
  );
  fc.assert(
    fc.property(pods, (entries) => {
      const held = entries.filter(({ there }) => there);
      const objects = [...node, service, ...held.flatMap(({ pod }) => pod.objects)];
      const known = entries
        .filter((entry) => entry.known)
        .map(({ pod }) => podIdentity(pod.spec, pod.objects));
      const holdings = assignPods(objects, known);

      const expect = (found: readonly VppObject[], wanted: readonly VppObject[], whose: string): void => {
        if (keys(found).join() !== keys(wanted).join()) throw new Error(`${whose}: ${keys(found)}`);
      };
      for (const { pod, there } of entries.filter((entry) => entry.known)) {
        expect(holdings.pods.get(podInterfaceTag(pod.spec)) ?? [], there ? pod.objects : [], pod.spec.key);
      }
      const lost = held.filter((entry) => !entry.known).flatMap(({ pod }) => pod.objects);
      expect(
        holdings.orphans,
        lost.filter(({ kind }) => kind !== 'translation'),
        'orphans',
      );

      const groups = groupOrphans(holdings.orphans);
      expect(
        groups.flatMap(({ objects }) => objects),
        holdings.orphans,
        'groups',
      );
      const unknown = held.filter((entry) => !entry.known);
      if (groups.length !== unknown.length) throw new Error(`${groups.length} groups`);
      for (const { pod } of unknown) {
        const group = groups.find(({ tag }) => tag === podInterfaceTag(pod.spec));
        if (group?.netns !== pod.spec.netns || group.slot === undefined) throw new Error('no such group');
      }
    }),
    { numRuns: 300 },
  );
});

t.test('single rules', async (t) => {
  const spec = podSpec(1);
  const objects = desiredPod(spec, inputs);
  const known = [podIdentity(spec, objects)];
  const tag = podInterfaceTag(spec);

  const dangling: VppObject[] = [
    {
      kind: 'route',
      source: 'pods',
      table_id: 0,
      prefix: '10.0.0.1/32',
      paths: [{ via: 'interface', interface: '#9', next_hop: '10.0.0.1' }],
    },
    {
      kind: 'route',
      source: 'pods',
      table_id: inputs.tables.pod,
      prefix: '10.0.0.7/32',
      paths: [{ via: 'interface', interface: '#9', next_hop: '10.0.0.7' }],
    },
  ];
  const holdings = assignPods([...objects, ...dangling], known);
  t.same(holdings.orphans, dangling, 'a route to an interface that is gone is nobody’s, in whatever table');
  t.strictSame(groupOrphans(dangling), [], 'and of no group: it goes at once');

  const name = podTableName(spec, 4);
  const garbled = assignPods([table(4, 7, `${name}x`)], known);
  t.strictSame([...garbled.pods.keys()], [tag], 'a byte of garbage behind a table’s name');

  const foreign: VppObject = {
    ...(objects.find(({ kind }) => kind === 'tap') as VppObject & { kind: 'tap' }),
    tag: 'mine',
  };
  t.same(assignPods([foreign], []).orphans, [], 'a tap whose tag is not that of its namespace is no pod’s');

  const bare = [table(4, podTables(4).pod, name), table(4, podTables(4).rpf, podTableName(spec, 4, 'rpf'))];
  t.match(groupOrphans(bare), [{ slot: 4, objects: bare }], 'tables without interface, by their slot');
  const random = [table(4, 77, name), table(6, 77, podTableName(spec, 6))];
  t.match(groupOrphans(random), [{ objects: random }], 'tables of another numbering, by their id');
});
