/** SR policies of two nodes that have a session by each family, with real gobgpds of both dialects. */
import t from 'tap';
import { isSrPolicyKey } from '../../src/desired/sr-policy.js';
import { type OwnSids, ownSids } from '../../src/desired/srv6.js';
import { BgpNet, unfit } from './bgp-net.js';
import { BgpNode, gobgpds, until } from './bgp-node.js';

const skip = unfit() || ((await gobgpds()).length === 0 && 'gobgpd is not installed: apt-get install gobgpd');
const names = ['a', 'b'] as const;
type Name = (typeof names)[number];

const addressesOf = (name: Name) => {
  const last = names.indexOf(name) + 1;
  return { ip4: `10.0.0.${last}`, ip6: `fd00::${last}` };
};
const node = (name: Name) => ({
  metadata: {
    annotations: {
      'projectcalico.org/IPv4Address': `${addressesOf(name).ip4}/24`,
      'projectcalico.org/IPv6Address': `${addressesOf(name).ip6}/64`,
    },
  },
});
const sidsIn = (localsid_pool: string, name: Name): OwnSids => {
  const own = ownSids({ localsid_pool, policy_pool: 'fcdd::/64' }, name, undefined);
  if (typeof own === 'string') throw new Error(own);
  return own;
};
const nothing_else = [
  'BGPConfiguration',
  'BGPPeer',
  'BGPFilter',
  'IPAMBlock',
  'BlockAffinity',
  'Service',
  'EndpointSlice',
] as const;

for (const { binary, version } of await gobgpds()) {
  t.test(version, { skip, timeout: 400_000 }, async (t) => {
    const net = new BgpNet();
    const make = (name: Name): BgpNode => {
      const { ip4, ip6 } = addressesOf(name);
      const within = net.add(name, [`${ip4}/24`, `${ip6}/64`]);
      return new BgpNode({ name, ip4, ip6, binary, srv6: true, within });
    };
    const [a, b] = [make('a'), make('b')];
    t.teardown(async () => {
      await Promise.all([a.close(), b.close()]);
      net.close();
    });
    for (const each of [a, b]) {
      for (const kind of nothing_else) each.set(kind, 'none', undefined);
      for (const name of names) each.set('Node', name, node(name));
      each.set('IPPool', 'pods', { spec: { cidr: '10.1.0.0/16' } });
    }
    const [before, after] = [sidsIn('fcfe::/64', 'b'), sidsIn('fcff::/64', 'b')];
    a.sids(sidsIn('fcff::/64', 'a'));
    b.sids(before);
    await Promise.all([a.start(), b.start()]);

    /** What a is told of b's policies. */
    const says = (sids: OwnSids | undefined): boolean => {
      const texts = [...a.routes].flatMap(([key, text]) => (isSrPolicyKey(key) ? text : []));
      if (sids === undefined) return texts.length === 0;
      return texts.length === 2 && sids.sids.every(({ sid }) => texts.some((text) => text.includes(sid)));
    };
    const tells = (what: string, sids: OwnSids | undefined): Promise<true> => {
      b.sids(sids);
      return until(what, () => says(sids));
    };
    const isHeard = async (): Promise<void> => {
      await tells('other SIDs', after);
      await tells('none', undefined);
      await tells('those of before', before);
    };
    const sessions = (): Promise<true> =>
      until('sessions', async () => {
        const up = Object.values(addressesOf('b')).map((address) => a.established(address));
        return (await Promise.all(up)).every(Boolean);
      });
    await until('policies', () => says(before));
    await sessions();
    await until('nobody is waited for', async () => (await a.describe()).routes.peers_waited_for === 0);
    await isHeard();

    await t.test('the session of IPv4 is cut, and what it told is kept for its return', async (t) => {
      const cut = [`${addressesOf('b').ip4}/24`, 'dev', 'eth0'];
      net.in(net.name('b'), 'ip', 'addr', 'del', ...cut);
      await isHeard();
      t.equal((await a.describe()).routes.peers_waited_for, 0, 'nobody has noticed yet');
      net.in(net.name('b'), 'ip', 'addr', 'add', ...cut);
      await sessions();
      await isHeard();
    });

    for (const [who, dies] of [
      ['a', a],
      ['b', b],
    ] as const)
      await t.test(`the gobgpd of ${who} dies, and b has other SIDs meanwhile`, async () => {
        const { pid } = dies;
        process.kill(pid, 'SIGKILL');
        b.sids(after);
        await until('another gobgpd', () => dies.pid !== pid);
        await until('other SIDs', () => says(after));
        await until('nobody is waited for', async () => {
          const [{ routes }, other] = [await a.describe(), await b.describe()];
          return routes.peers_waited_for + other.routes.peers_waited_for === 0;
        });
        await tells('none', undefined);
        await tells('those of before', before);
      });
  });
}
