import t from 'tap';
import { desiredNode } from '../../src/desired/uplink.js';
import { nodeAddress, vppAddresses } from '../../src/desired/uplink-addresses.js';
import type { Address } from '../../src/linux/network.js';
import type { ObjectKind, ObjectOf, VppObject } from '../../src/objects/object.js';
import { address, nodeOf, uplinkOf } from './sample.js';

function of<K extends ObjectKind>(objects: readonly VppObject[], kind: K): ObjectOf<K>[] {
  return objects.filter((object): object is ObjectOf<K> => object.kind === kind);
}

t.test('the addresses that VPP gets', async (t) => {
  const cases: {
    name: string;
    linux: string[];
    to_64: boolean;
    vpp: string[];
    /** As `vpp` when absent. */
    on_uplink?: string[];
    node: (string | undefined)[];
  }[] = [
    {
      name: 'link-local ones are left to VPP',
      linux: ['fe80::5/64', '10.0.0.2/24'],
      to_64: true,
      vpp: ['10.0.0.2/24'],
      node: ['10.0.0.2/24', undefined],
    },
    {
      name: '/128 becomes /64',
      linux: ['fd00::2/128'],
      to_64: true,
      vpp: ['fd00::2/64'],
      node: [undefined, 'fd00::2/64'],
    },
    {
      name: '/128 stays, when asked to',
      linux: ['fd00::2/128'],
      to_64: false,
      vpp: ['fd00::2/128'],
      node: [undefined, 'fd00::2/128'],
    },
    {
      name: 'a /128 beside an address that says what is on the link stays virtual, and takes its mask',
      linux: ['fd00::100/128', 'fd00::2/80', 'fd09::1/128'],
      to_64: true,
      vpp: ['fd00::100/128', 'fd00::2/80', 'fd09::1/64'],
      on_uplink: ['fd00::100/80', 'fd00::2/80', 'fd09::1/64'],
      node: [undefined, 'fd00::2/80'],
    },
    {
      name: 'virtual addresses and groups are not those of the node, whatever comes first',
      linux: ['10.0.0.9/32', '10.0.0.2/24', '239.1.2.3/32', 'fd00::9/128', 'ff0e::1/128', 'fd00::2/64'],
      to_64: true,
      vpp: ['10.0.0.9/32', '10.0.0.2/24', 'fd00::9/128', 'fd00::2/64'],
      on_uplink: ['10.0.0.2/24', 'fd00::9/64', 'fd00::2/64'],
      node: ['10.0.0.2/24', 'fd00::2/64'],
    },
    {
      name: 'kernel order decides which one the node has',
      linux: ['10.0.0.9/24', '10.0.0.2/24', 'fd00::9/64', 'fd00::2/64'],
      to_64: true,
      vpp: ['10.0.0.9/24', '10.0.0.2/24', 'fd00::9/64', 'fd00::2/64'],
      node: ['10.0.0.9/24', 'fd00::9/64'],
    },
  ];
  for (const { name, linux, to_64, vpp, node, on_uplink: wanted = vpp } of cases) {
    const uplinks = [uplinkOf({ addresses: linux.map((prefix) => address(prefix)), routes: [] })];
    const inputs = nodeOf({ uplinks, uplink_128_to_64: to_64 });
    t.same(vppAddresses(uplinks[0]!, to_64), vpp, name);
    t.same([nodeAddress(inputs, 4), nodeAddress(inputs, 6)], node, name);
    const on_uplink = of(desiredNode(inputs, true), 'interface_address').filter(
      (o) => o.interface === 'main-eth0',
    );
    t.same(
      on_uplink.map(({ prefix }) => prefix),
      wanted,
      name,
    );
  }
});

t.test('the node speaks from no address that is deprecated, temporary or another node has', async (t) => {
  const node = (...addresses: Address[]) => {
    const inputs = nodeOf({ uplinks: [uplinkOf({ addresses, routes: [] })] });
    return [nodeAddress(inputs, 4), nodeAddress(inputs, 6)];
  };
  const ip4 = [address('10.0.0.8/24', { preferred_s: 0 }), address('10.0.0.2/24')];
  const ip6 = [
    address('fd00::a/64', { flags: 0x01, preferred_s: 60 }),
    address('fd00::8/64', { preferred_s: 0, valid_s: 60 }),
    address('fd00::9/64', { flags: 0x88 }),
    address('fd00::2/64'),
  ];
  t.same(node(...ip4, ...ip6), ['10.0.0.2/24', 'fd00::2/64']);
  t.same(node(...ip4.slice(0, 1), ...ip6.slice(0, 3)), ['10.0.0.8/24', 'fd00::a/64'], 'better than none');
  t.same(node(...ip6.slice(2, 3)), [undefined, undefined]);
  t.same(
    node(address('10.0.0.3/24', { flags: 0x81 }))[0],
    '10.0.0.3/24',
    'the bit means another thing for IPv4',
  );
});
