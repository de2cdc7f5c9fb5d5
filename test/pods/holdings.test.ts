import fc from 'fast-check';
import t from 'tap';
import type { ActorRef } from '../../src/actor-system.js';
import { desiredPod, hostPorts } from '../../src/desired/pod.js';
import { hostTapTable, podTables, table } from '../../src/desired/tables.js';
import type { PodMessage } from '../../src/messages/pod.js';
import type { Translation } from '../../src/objects/cnat.js';
import type { VppObject } from '../../src/objects/object.js';
import { keyOf } from '../../src/objects/object.js';
import { podInterfaceTag, podTableName } from '../../src/pod/names.js';
import type { PodSpec } from '../../src/pod/spec.js';
import { assignPods, groupOrphans, podIdentity } from '../../src/pods/holdings.js';
import { PodEntry, PodTable } from '../../src/pods/pod-table.js';
import { TranslationOwners } from '../../src/reconcile/translation-owners.js';
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

/** Services have claimed theirs, which leads to a pod too. */
function owners(): TranslationOwners {
  const translations = new TranslationOwners();
  translations.claim(
    { by: 'services', id: 'default/kubernetes', name: 'service default/kubernetes' },
    keyOf(service),
  );
  return translations;
}

const keys = (objects: readonly VppObject[]): string[] => objects.map(keyOf).sort();

t.test('every object of the pods is one pod’s, and it is the right one', async () => {
  const pods = fc.tuple(
    ...[1, 2, 3].map((n) => fc.record({ pod: arbitraryPod(n), known: fc.boolean(), there: fc.boolean() })),
  );
  fc.assert(
    fc.property(pods, (entries) => {
      const held = entries.filter(({ there }) => there);
      const objects = [...node, service, ...held.flatMap(({ pod }) => pod.objects)];
      const known = entries.filter((entry) => entry.known).map(({ pod }) => podIdentity(pod.spec));
      const holdings = assignPods(objects, known, owners());

      const expect = (found: readonly VppObject[], wanted: readonly VppObject[], whose: string): void => {
        if (keys(found).join() !== keys(wanted).join()) throw new Error(`${whose}: ${keys(found)}`);
      };
      for (const { pod, there } of entries.filter((entry) => entry.known)) {
        expect(holdings.pods.get(podInterfaceTag(pod.spec)) ?? [], there ? pod.objects : [], pod.spec.key);
      }
      const lost = held.filter((entry) => !entry.known).flatMap(({ pod }) => pod.objects);
      expect(holdings.orphans, lost, 'orphans');

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
  const known = [podIdentity(spec)];
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
  const holdings = assignPods([...objects, ...dangling], known, new TranslationOwners());
  t.same(holdings.orphans, dangling, 'a route to an interface that is gone is nobody’s, in whatever table');
  t.strictSame(groupOrphans(dangling), [], 'and of no group: it goes at once');

  const name = podTableName(spec, 4);
  const garbled = assignPods([table(4, 7, `${name}x`)], known, new TranslationOwners());
  t.strictSame([...garbled.pods.keys()], [tag], 'a byte of garbage behind a table’s name');

  const foreign: VppObject = {
    ...(objects.find(({ kind }) => kind === 'tap') as VppObject & { kind: 'tap' }),
    tag: 'mine',
  };
  t.same(
    assignPods([foreign], [], new TranslationOwners()).orphans,
    [],
    'a tap whose tag is not that of its namespace is no pod’s',
  );

  const bare = [table(4, podTables(4).pod, name), table(4, podTables(4).rpf, podTableName(spec, 4, 'rpf'))];
  t.match(groupOrphans(bare), [{ slot: 4, objects: bare }], 'tables without interface, by their slot');
  const random = [table(4, 77, name), table(6, 77, podTableName(spec, 6))];
  t.match(groupOrphans(random), [{ objects: random }], 'tables of another numbering, by their id');
});

t.test(
  'tables of one name are told by what they are for: an interface may be named as another one’s table',
  async (t) => {
    const plain: PodSpec = { ...podSpec(1), vcl: true };
    const named = ['VCL', 'RPF'].map((suffix) => ({
      ...plain,
      interface_name: `${plain.interface_name}${suffix}`,
    }));
    const pods = [plain, ...named].map((spec, slot) => ({ spec, ids: podTables(slot) }));
    const tables = pods.flatMap(({ spec, ids }) =>
      (['pod', 'rpf', 'stack'] as const).map((role) => table(4, ids[role], podTableName(spec, 4, role))),
    );
    t.equal(new Set(tables.map(({ name }) => name)).size, tables.length - 2);
    for (const known of [pods, [...pods].reverse()]) {
      const { pods: held, orphans } = assignPods(
        tables,
        known.map(({ spec }) => podIdentity(spec)),
        new TranslationOwners(),
      );
      t.strictSame(orphans, []);
      for (const [slot, { spec }] of pods.entries())
        t.strictSame(held.get(podInterfaceTag(spec)), tables.slice(3 * slot, 3 * slot + 3));
    }
  },
);

t.test('a translation that nobody has claimed is that of the pod it leads to', async (t) => {
  const [a, b] = [podSpec(1), podSpec(2)];
  const of_a = desiredPod(a, inputs);
  const of_b = desiredPod(b, { ...inputs, tables: podTables(7) });
  const to = (address: string, port = 80): VppObject => ({
    kind: 'translation',
    address: '192.0.2.1',
    port,
    protocol: 'tcp',
    backends: [{ address, port: 8080 }],
  });
  const known = [podIdentity(a)];
  const tags = [podInterfaceTag(a), podInterfaceTag(b)] as const;
  const objects = [...of_a, ...of_b, to('10.0.0.1'), to('10.0.0.2', 81), to('10.0.0.3', 82)];
  const held = assignPods(objects, known, new TranslationOwners());
  t.ok(
    held.pods.get(tags[0])?.some(({ kind }) => kind === 'translation'),
    'under whatever address of the node',
  );
  t.match(
    groupOrphans(held.orphans)
      .find(({ tag }) => tag === tags[1])
      ?.objects.at(-1),
    to('10.0.0.2', 81),
    'that of a pod that is gone goes with it',
  );
  t.strictSame(
    held.strays,
    [to('10.0.0.3', 82)],
    'what leads nowhere waits for the next pod with that address',
  );

  const silent = assignPods(objects, known, new TranslationOwners(['services']));
  t.strictSame(silent.strays, []);
  t.notOk([...silent.orphans, ...silent.pods.get(tags[0])!].some(({ kind }) => kind === 'translation'));
});

t.test(
  'a host port of an earlier life is known by the record of the pod, before services have spoken',
  async (t) => {
    const host_ports = [80, 81].map((port) => ({
      protocol: 'tcp' as const,
      host_port: 30_000 + port,
      container_port: port,
    }));
    const spec = podSpec(1, { host_ports });
    const [mine, other] = hostPorts(spec, inputs) as [Translation, Translation];
    const elsewhere = { ...other, backends: [{ address: '10.0.0.7', port: 81 }] };
    const pods = new PodTable([
      [spec.key, new PodEntry(spec, 0, {} as ActorRef<PodMessage>, false, 'default/p eth0')],
    ]);
    const translations = new TranslationOwners(['services']);
    const held = { objects: [mine, elsewhere] };
    pods.claimHostPorts(held, inputs, translations);
    t.strictSame(pods.holdings(held, translations).pods.get(podInterfaceTag(spec)), [mine]);
    t.equal(translations.of(keyOf(elsewhere)), undefined, 'what leads to others is not claimed');
  },
);

t.test('of two who want one translation the first has it until it lets go', async (t) => {
  const translations = new TranslationOwners(['services']);
  const pod = { by: 'pods', id: 'a', name: 'pod a' } as const;
  const service = { by: 'services', id: 'a', name: 'service a' } as const;
  t.equal(translations.claim(pod, 'x'), undefined);
  t.equal(translations.claim(pod, 'y'), undefined);
  t.equal(translations.claim(pod, 'x'), undefined, 'again');
  t.equal(translations.claim(service, 'x'), pod);
  translations.release(pod, new Set(['y']));
  t.equal(translations.claim(service, 'x'), undefined);
  t.equal(translations.claim(service, 'y'), pod);
  translations.forget('pods');
  t.strictSame([translations.of('x'), translations.of('y')], [service, undefined]);
  t.equal(translations.isComplete, false);
  translations.hasSpoken('services');
  t.equal(translations.isComplete, true);
});
