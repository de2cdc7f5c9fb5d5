import t from 'tap';
import { desiredPod, isNatFlag } from '../../src/desired/pod.js';
import { isNatted, sourceNatOf } from '../../src/desired/source-nat.js';
import { desiredNode } from '../../src/desired/uplink.js';
import type { VppObject } from '../../src/objects/object.js';
import type { PodKey } from '../../src/pod/spec.js';
import { PodWishes } from '../../src/pods/pod-wishes.js';
import { reconcile } from '../../src/reconcile/reconcile.js';
import { TranslationOwners } from '../../src/reconcile/translation-owners.js';
import { address, nodeOf, podInputsOf, podOf, uplinkOf } from './sample.js';

t.test(
  'the policy for Kubernetes is for a repaired cnat, or where nothing passes that it would spoil',
  async (t) => {
    const policies = (cnat: 'stock' | 'repaired') =>
      [
        { has_ip6: false, uplinks: 1 },
        { has_ip6: true, uplinks: 1 },
        { has_ip6: false, uplinks: 2 },
      ].map((node) => sourceNatOf({ cnat, ...node }).policy);
    t.strictSame(policies('stock'), ['k8s', 'if_pfx', 'if_pfx']);
    t.strictSame(policies('repaired'), ['k8s', 'k8s', 'k8s']);
    t.strictSame(sourceNatOf({ cnat: 'repaired', has_ip6: true, uplinks: 2 }).lacks, []);
    t.ok(sourceNatOf({ cnat: 'stock', has_ip6: true, uplinks: 1 }).lacks.length > 0, 'said');
  },
);

t.test(
  'a node has the policy that its addresses allow, and keeps the sources of what goes to pods',
  async (t) => {
    const policyOf = (objects: readonly VppObject[]) => objects.find(({ kind }) => kind === 'snat_policy');
    t.match(policyOf(desiredNode(nodeOf(), true)), { policy: 'if_pfx' });
    const only_ip4 = nodeOf({ uplinks: [uplinkOf({ addresses: [address('10.0.0.2/24')], routes: [] })] });
    t.match(policyOf(desiredNode(only_ip4, true)), { policy: 'k8s' });
    const excluded = (not_natted?: readonly string[]) =>
      desiredNode(nodeOf(not_natted && { not_natted }), true).flatMap((object) =>
        object.kind === 'snat_exclude' ? object.prefix : [],
      );
    t.strictSame(
      excluded(['10.1.0.0/16', '10.96.0.0/16']).filter((prefix) => !excluded().includes(prefix)),
      ['10.1.0.0/16'],
      'each once, whoever wants it',
    );
  },
);

t.test('a pod is source NATed where the longest pool that holds its address says so', async (t) => {
  const prefixes = ['10.1.0.0/16', '10.1.0.0/24', 'fd01::/48'];
  const flags = (nat_outgoing: readonly string[]) =>
    desiredPod(podOf(), podInputsOf({ pools: { prefixes, nat_outgoing } })).flatMap((object) =>
      object.kind === 'interface_flag' && isNatFlag(object) ? object.flag : [],
    );
  t.strictSame(flags(prefixes), ['snat_include_ip4', 'snat_include_ip6']);
  t.strictSame(flags(['10.1.0.0/16']), []);
  t.strictSame(flags(['10.1.0.0/24']), ['snat_include_ip4']);
  t.strictSame(flags([]), []);
  t.notOk(isNatted('192.0.2.1', { prefixes, nat_outgoing: prefixes }), 'in no pool');
  t.notOk(desiredPod(podOf(), podInputsOf()).some(isNatFlag), 'nor while nothing is known of pools');
});

t.test('while nothing is known of pools a pod keeps what was known', async (t) => {
  const wishes = new PodWishes('pod' as PodKey, new TranslationOwners());
  const spec = podOf();
  const { tables: _, pools: __, ...node } = podInputsOf();
  const pools = { prefixes: ['10.1.0.0/16'], nat_outgoing: ['10.1.0.0/16'] };
  const natted = (objects: readonly VppObject[]) => objects.filter(isNatFlag).length;
  const there = wishes.of(spec, { node: { ...node, pools }, slot: 0 }, () => []);
  t.equal(natted(there), 1);
  t.equal(natted(wishes.of(spec, { node, slot: 0 }, () => there)), 1, 'by an earlier life');
  t.equal(natted(wishes.of(spec, { node, slot: 0 }, () => [])), 0);
  const none = { prefixes: ['10.1.0.0/16'], nat_outgoing: [] };
  t.equal(natted(wishes.of(spec, { node: { ...node, pools: none }, slot: 0 }, () => there)), 0, 'known');
});

t.test(
  'D14: addresses, policy and exclusions come before any feature or table of an interface',
  async (t) => {
    const kinds: readonly string[] = reconcile(desiredNode(nodeOf(), true), []).map(({ object }) =>
      object.kind === 'interface_flag' ? object.flag : object.kind,
    );
    const first = (kind: string): number => kinds.indexOf(kind);
    const last = (kind: string): number => kinds.lastIndexOf(kind);
    t.equal(kinds[0], 'snat_addresses', 'the first word to cnat');
    for (const early of ['snat_addresses', 'snat_policy', 'snat_exclude'])
      for (const late of ['cnat_feature', 'snat_include_ip4'])
        if (first(late) >= 0) t.ok(last(early) < first(late), `${early} before ${late}`);
    t.ok(first('cnat_feature') > 0);
    t.ok(last('snat_addresses') < first('interface_table'));
  },
);
