import { readFileSync } from 'node:fs';
import t from 'tap';
import { desiredPod } from '../../src/desired/pod.js';
import { desiredNode } from '../../src/desired/uplink.js';
import { isRecorded, keyOf, ownership, type VppObject } from '../../src/objects/object.js';
import { OwnerIndex } from '../../src/reconcile/ownership.js';
import { nodeOf, podOf, uplinkOf } from '../desired/sample.js';
import { inputs } from './pods.js';

const node = desiredNode(nodeOf({ uplinks: [uplinkOf()] }), true);
const pod = desiredPod(podOf(), inputs);

t.test('a fresh process tells the owner of every object from what VPP shows, and the registry', async (t) => {
  const owners = new OwnerIndex([...node, ...pod]);
  for (const object of node) t.equal(owners.of(object), 'node', keyOf(object));
  for (const object of pod) {
    t.equal(owners.of(object), object.kind === 'translation' ? 'services' : 'pods', keyOf(object));
  }
});

t.test('what is not provably ours is nobody’s to remove', async (t) => {
  const rows: [name: string, object: VppObject, owner: string][] = [
    ['an interface of the operator', { kind: 'existing_interface', tag: 'lan0' }, 'foreign'],
    [
      'what is set on it',
      { kind: 'interface_address', interface: 'lan0', prefix: '192.0.2.1/24' },
      'foreign',
    ],
    [
      'a table of the operator',
      { kind: 'table', family: 4, table_id: 9, name: 'vrf', multicast: true },
      'foreign',
    ],
    [
      'a multicast route in it',
      { kind: 'mroute', table_id: 9, group: '224.0.0.0/4', accept_all_interfaces: false, paths: [] },
      'foreign',
    ],
    [
      'a route of BGP through the node’s uplink',
      {
        kind: 'route',
        source: 'connectivity',
        table_id: 0,
        prefix: '10.1.0.0/26',
        paths: [{ via: 'interface', interface: 'main-eth0', next_hop: '192.0.2.7' }],
      },
      'connectivity',
    ],
    [
      'an address on an interface that is gone',
      { kind: 'interface_address', interface: '#7', prefix: '192.0.2.1/24' },
      'nobody',
    ],
  ];
  const owners = new OwnerIndex(rows.map(([, object]) => object));
  for (const [name, object, owner] of rows) t.equal(owners.of(object), owner, name);
});

t.test('the table of kinds in ARCHITECTURE.md is that of the code', async (t) => {
  const text = readFileSync(new URL('../../../ARCHITECTURE.md', import.meta.url), 'utf8');
  const recorded = new Set([...node, ...pod].filter(isRecorded).map(({ kind }) => kind));
  for (const { kind, by, owner } of ownership) {
    const row = text.split('\n').find((line) => line.startsWith('|') && line.includes(`\`${kind}\``));
    t.ok(row?.includes(owner ?? by.replace('_', ' ')), `${kind}: ${owner ?? by}`);
    if (recorded.has(kind)) t.ok(row?.includes('registry'), `${kind}: recorded`);
  }
});
