import t from 'tap';
import { desiredPod } from '../../src/desired/pod.js';
import { isNatFlag } from '../../src/desired/pod-settings.js';
import {
  isNatted,
  type KnownPools,
  lacksOfNodes,
  neverNatted,
  newUplinkEntry,
  sourceNatOf,
} from '../../src/desired/source-nat.js';
import { desiredNode } from '../../src/desired/uplink.js';
import { bitsOf, holds } from '../../src/ip/bits.js';
import type { Family } from '../../src/ip/text.js';
import type { VppObject } from '../../src/objects/object.js';
import type { PodKey } from '../../src/pod/spec.js';
import { PodWishes } from '../../src/pods/pod-wishes.js';
import { reconcile } from '../../src/reconcile/reconcile.js';
import { TranslationOwners } from '../../src/reconcile/translation-owners.js';
import { nodeOf, podInputsOf, podOf } from './sample.js';

const [ip4, ip6] = ['10.0.0.2', 'fd00::2'];

t.test(
  'how a node does source NAT follows its addresses, its uplinks and what its VPP was made with',
  async (t) => {
    const node = { cnat: 'stock', ip4, ip6, uplinks: 1 } as const;
    const cases: readonly (readonly [object, string, readonly Family[]])[] = [
      [{}, 'kubernetes k8s', [6]],
      [{ ip6: undefined }, 'kubernetes k8s', []],
      [{ ip4: undefined, uplinks: 2 }, 'kubernetes k8s', [6]],
      [{ uplinks: 2 }, 'two entries if_pfx', [4, 6]],
      [{ uplinks: 2, ip6: undefined }, 'two entries if_pfx', [4]],
      [{ cnat: 'repaired' }, 'kubernetes k8s', []],
      [{ cnat: 'repaired', uplinks: 2 }, 'kubernetes k8s', []],
    ];
    for (const [change, expected, uplinks] of cases) {
      const changed = { ...node, ...change };
      const found = sourceNatOf({ ...changed, entry: newUplinkEntry(changed) });
      t.strictSame(
        [`${found.name} ${found.policy}`, found.uplinks],
        [expected, uplinks],
        JSON.stringify(change),
      );
    }
    t.strictSame(sourceNatOf({ ...node, cnat: 'repaired', entry: undefined }).lacks, []);
  },
);

t.test('a VPP that was made otherwise does what it can', async (t) => {
  const found = (more: object, entry: object | undefined) =>
    sourceNatOf({ cnat: 'stock', ip4, ip6, uplinks: 1, ...more, entry });
  t.match(found({}, undefined), { name: 'interfaces', policy: 'if_pfx', uplinks: [] }, 'by a release before');
  t.match(found({ ip6: undefined }, undefined), { policy: 'k8s' });
  const late = found({}, newUplinkEntry({ cnat: 'stock', ip4, uplinks: 1 }));
  t.match(late, { policy: 'k8s', uplinks: [] }, 'IPv6 came later');
  t.ok(
    late.lacks.some((text) => text.includes('until VPP is started anew')),
    'said',
  );
  t.match(found({}, { ip6: 'fd00::9' }), { policy: 'k8s', uplinks: [] }, 'IPv6 is another one by now');
  t.match(found({ uplinks: 2 }, { ip6 }), { policy: 'k8s', uplinks: [6] }, 'another uplink');
  t.match(found({}, { ip4 }), { policy: 'if_pfx', uplinks: [4, 6] }, 'one uplink less');
  t.match(found({}, { ip4 }).lacks[0], /itself by a service until VPP is started anew/);
});

t.test('what does not work is said, by family', async (t) => {
  const lacks = (node: { ip4?: string; ip6?: string; uplinks: number }) =>
    sourceNatOf({ cnat: 'stock', ...node, entry: newUplinkEntry({ cnat: 'stock', ...node }) }).lacks;
  const says = (texts: readonly string[], pattern: RegExp) => texts.some((text) => pattern.test(text));
  const one = lacks({ ip4, ip6, uplinks: 1 });
  t.notOk(says(one, /itself/), 'a pod reaches itself');
  t.ok(says(one, /uplink to uplink by IPv4/));
  t.ok(says(one, /by IPv6 for a pod of another one.*ping of IPv6 has no answer/));
  t.notOk(says(lacks({ ip4, uplinks: 1 }), /IPv6/));
  t.notOk(says(lacks({ ip6, uplinks: 1 }), /IPv4/));
  const two = lacks({ ip4, ip6, uplinks: 2 });
  t.ok(says(two, /itself by a service$/));
  t.ok(says(two, /for a pod of another one.*ping of IPv6 has no answer/));
  t.notOk(says(lacks({ ip4, uplinks: 2 }), /IPv6/));
});

const excludedOf = (objects: readonly VppObject[], which?: 'uplinks') =>
  objects.flatMap((object) => (object.kind === 'snat_exclude' && object.of === which ? object.prefix : []));

t.test('what VPP gets of it', async (t) => {
  const natOf = (objects: readonly VppObject[]) =>
    objects.filter(({ kind }) => ['snat_uplinks', 'snat_addresses', 'snat_policy'].includes(kind));
  const included = (objects: readonly VppObject[]) =>
    objects.flatMap((object) =>
      object.kind === 'interface_flag' && object.interface === 'main-eth0' && isNatFlag(object)
        ? object.flag
        : [],
    );
  const not_natted = { pods: ['10.1.0.0/16'], uplinks: ['0.0.0.0/1', '::/1'] };
  const of = (more: object) => desiredNode(nodeOf({ not_natted, ...more }), true);

  const by_family = of({ uplink_entry: { ip6 } });
  t.match(natOf(by_family), [
    { kind: 'snat_uplinks', ip6 },
    { kind: 'snat_addresses', ip4, ip6, beside: true },
    { policy: 'k8s' },
  ]);
  t.strictSame(excludedOf(by_family, 'uplinks'), ['::/1'], 'of IPv4 VPP would take it for the other entry');
  t.strictSame(included(by_family), ['snat_include_ip6']);
  t.ok(excludedOf(by_family).includes('ff00::/8'), 'neighbours are solicited as ever');

  t.match(natOf(of({ uplink_entry: { ip6: 'fd00::9' } }))[0], { ip6: 'fd00::9' }, 'as it was made');
  t.match(natOf(of({ uplink_entry: { ip4: '10.0.0.9' } }))[0], { ip4, ip6 }, 'follows the node');
  t.strictSame(included(of({ uplink_entry: { ip4 } })), ['snat_include_ip4', 'snat_include_ip6']);
  for (const unknown of [undefined, { pods: ['10.1.0.0/16'], uplinks: [] }])
    t.strictSame(included(of({ uplink_entry: { ip4 }, not_natted: unknown })), [], 'all would be translated');
  t.notMatch(natOf(of({})), [{ kind: 'snat_uplinks' }]);
  const excluded = (prefixes: readonly string[]) =>
    excludedOf(of({ not_natted: { pods: prefixes, uplinks: [] } }));
  t.strictSame(
    excluded(['10.1.0.0/16', '10.96.0.0/16']).filter((prefix) => !excluded([]).includes(prefix)),
    ['10.1.0.0/16'],
    'each once, whoever wants it',
  );
});

t.test('what comes by an uplink gets the node’s address where it goes to pods of others alone', async (t) => {
  const known = {
    prefixes: ['10.1.0.0/16', 'fd01::/48'],
    nat_outgoing: [],
    nodes: ['10.0.0.2/32', '10.0.0.3/32', 'fd00::2/128', 'fd00::3/128'],
    own: ['10.1.5.0/26', 'fd01::500/122'],
    encapsulated: false,
  };
  const own_addresses = ['10.0.0.2/32', 'fd00::2/128', '192.0.2.2/32'];
  const { pods, uplinks } = neverNatted(known, own_addresses);
  t.strictSame(pods, [...known.prefixes, ...known.nodes]);
  const keeps = (address: string) => uplinks.some((prefix) => holds(bitsOf(prefix), bitsOf(address)));
  for (const far of ['10.1.0.1', '10.1.5.64', 'fd01::1', 'fd01::540', '10.0.0.3', 'fd00::3'])
    t.notOk(keeps(far), far);
  for (const near of ['10.1.5.1', 'fd01::501', '10.0.0.2', 'fd00::2', '8.8.8.8', '2001:db8::1', 'ff02::1'])
    t.ok(keeps(near), near);
  const all = ['8.8.8.8', '200.0.0.1', '10.1.0.1', 'fd01::1', '::1'];
  for (const unknown of [undefined, { ...known, own: undefined }]) {
    const none = neverNatted(unknown as KnownPools | undefined, own_addresses).uplinks;
    t.ok(
      all.every((address) => none.some((prefix) => holds(bitsOf(prefix), bitsOf(address)))),
      'before all is known nothing does',
    );
  }
  const many = Array.from({ length: 250 }, (_, n) => `fd00::${n.toString(16)}:1/128`);
  const { uplinks: few } = neverNatted({ ...known, nodes: many }, own_addresses);
  t.ok(few.length < 500, `${few.length}: other nodes are left out where they are many`);
  t.notOk(few.some((prefix) => holds(bitsOf(prefix), bitsOf('fd01::1'))));
  t.ok(
    neverNatted(known, own_addresses, true).uplinks.some((prefix) =>
      holds(bitsOf(prefix), bitsOf('fd00::3')),
    ),
    'nor do those with whom VPP does IKE',
  );
  t.match(lacksOfNodes({ uplinks: [6] }, known, own_addresses, true), [/IPsec/], 'which is said');
  const lacks = (nodes: readonly string[], families: readonly Family[] = [4, 6]) =>
    lacksOfNodes({ uplinks: families }, { nodes }, own_addresses);
  t.match(lacks(many), [/IPv6 .*250 other nodes/], 'that is said');
  t.strictSame(lacks(many, [4]), [], 'of another family it is not true');
  t.strictSame(lacks([...many.slice(0, 64), 'fd00::2/128']), [], 'nor of so many, and the node itself');
});

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
