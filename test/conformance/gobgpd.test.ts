/** Nodes with real gobgpds of both dialects: sessions, restarts, adoption. */
import t from 'tap';
import { BgpNet, canMakeNamespaces } from './bgp-net.js';
import type { Teardown } from '../kit/actor-kit.js';
import { BgpNode, gobgpds, until } from './bgp-node.js';

const skip = !canMakeNamespaces() && 'network namespaces cannot be made here';

const node = (address: string, more: object = {}) => ({
  metadata: { annotations: { 'projectcalico.org/IPv4Address': address, ...more } },
});
const block = (cidr: string, of: string) => ({ spec: { cidr, node: of, state: 'confirmed' } });

interface Two {
  readonly a: BgpNode;
  readonly b: BgpNode;
  readonly net: BgpNet;
}

/** Two nodes of one mesh, each with a block. */
async function two(t: Teardown, binary: string): Promise<Two> {
  const net = new BgpNet();
  const make = (name: string, ip4: string) => new BgpNode({ name, ip4, binary, within: net.add(name, [`${ip4}/24`]) });
  const a = make('a', '10.0.0.1');
  const b = make('b', '10.0.0.2');
  t.teardown(async () => {
    await Promise.all([a.close(), b.close()]);
    net.close();
  });
  for (const each of [a, b]) {
    for (const kind of ['BGPConfiguration', 'BGPPeer', 'BGPFilter', 'IPAMBlock', 'Service', 'EndpointSlice'] as const)
      each.set(kind, 'none', undefined);
    each.set('Node', 'a', node('10.0.0.1/24')).set('Node', 'b', node('10.0.0.2/24'));
    each.set('IPPool', 'pods', { spec: { cidr: '10.1.0.0/16' } });
    each.set('BlockAffinity', 'a-1', block('10.1.1.0/26', 'a')).set('BlockAffinity', 'b-1', block('10.1.2.0/26', 'b'));
  }
  await Promise.all([a.start(), b.start()]);
  return { a, b, net };
}

for (const { binary, version, major } of gobgpds())
  t.test(`${version}: two nodes of a mesh learn each other's blocks`, { skip, timeout: 120_000 }, async (t) => {
    const { a, b } = await two(t, binary);
    await until('routes', () => a.routes.size > 0 && b.routes.size > 0);
    t.same([...a.routes], [['10.1.2.0/26', '10.0.0.2']]);
    t.same([...b.routes], [['10.1.1.0/26', '10.0.0.1']]);
    await until('synced', () => a.synced && b.synced);
    console.log(a.told, b.told, await a.describe(), major);
  });
