/** Several equal paths to a prefix, as real gobgpds of both dialects tell them. */
import t from 'tap';
import { BgpNet, unfit } from './bgp-net.js';
import { BgpNode, gobgpds, until } from './bgp-node.js';

const skip = unfit() || ((await gobgpds()).length === 0 && 'gobgpd is not installed: apt-get install gobgpd');
const anycast = '10.1.9.0/26';
const node = (address: string) => ({
  metadata: { annotations: { 'projectcalico.org/IPv4Address': address } },
});
const names = ['a', 'b', 'c'] as const;
const addressOf = (name: (typeof names)[number]) => `10.0.0.${names.indexOf(name) + 1}`;

for (const { binary, version } of await gobgpds()) {
  t.test(version, { skip, timeout: 300_000 }, async (t) => {
    const net = new BgpNet();
    const make = (name: (typeof names)[number]) => {
      const ip4 = addressOf(name);
      return new BgpNode({ name, ip4, binary, within: net.add(name, [`${ip4}/24`]) });
    };
    const [a, b, c] = [make('a'), make('b'), make('c')];
    t.teardown(async () => {
      await Promise.all([a, b, c].map((each) => each.close()));
      net.close();
    });
    const announces = (each: BgpNode, does: boolean) => {
      const of = each === b ? 'b' : 'c';
      const spec = { cidr: anycast, node: of, state: 'confirmed' };
      each.set('BlockAffinity', 'anycast', does ? { spec } : undefined);
    };
    for (const each of [a, b, c]) {
      for (const kind of [
        'BGPConfiguration',
        'BGPPeer',
        'BGPFilter',
        'IPAMBlock',
        'BlockAffinity',
        'Service',
        'EndpointSlice',
      ] as const)
        each.set(kind, 'none', undefined);
      for (const name of names) each.set('Node', name, node(`${addressOf(name)}/24`));
      each.set('IPPool', 'pods', { spec: { cidr: '10.1.0.0/16' } });
    }
    // Each of the two is told that the block is its own.
    for (const each of [b, c]) announces(each, true);
    await Promise.all([a, b, c].map((each) => each.start()));
    const leads = (...hops: readonly string[]) =>
      until(`by ${hops.join(' and ') || 'none'}`, () => (a.routes.get(anycast) ?? '') === hops.join(' '));

    await leads('10.0.0.2', '10.0.0.3');
    await until('synced', () => a.synced && b.synced && c.synced);
    t.same([...b.routes], [], 'where an own path is the best, there is no other');

    announces(c, false);
    await leads('10.0.0.2');
    t.same([...c.routes], [[anycast, '10.0.0.2']]);
    announces(c, true);
    await leads('10.0.0.2', '10.0.0.3');
    announces(b, false);
    await leads('10.0.0.3');
    announces(b, true);
    await leads('10.0.0.2', '10.0.0.3');

    for (const [who, dies] of [
      ['the gobgpd of the one that sends', a],
      ['that of one of the two', b],
    ] as const) {
      const { pid } = dies;
      const before = a.told.length;
      process.kill(pid, 'SIGKILL');
      await until('another gobgpd', () => dies.pid !== pid);
      await until('sessions', async () => {
        const up = await Promise.all([a.established('10.0.0.2'), a.established('10.0.0.3')]);
        return up.every(Boolean);
      });
      await until('nobody is waited for', async () => (await a.describe()).routes.peers_waited_for === 0);
      t.same(
        a.told.slice(before).filter((line) => line !== 'synced'),
        [],
        `${who} dies: no path is lost for a moment`,
      );
    }

    const { pid } = a;
    await a.stop();
    announces(c, false);
    a.told.length = 0;
    a.routes.clear();
    await a.start();
    await until('synced', () => a.synced);
    // Whether the withdrawal is there before the process is, nobody can say.
    await leads('10.0.0.2');
    t.notOk(a.told.includes(`-${anycast}`), 'what was told meanwhile is known, and nothing else is lost');
    announces(c, true);
    await leads('10.0.0.2', '10.0.0.3');
    t.equal(a.pid, pid, 'the gobgpd is adopted');

    announces(b, false);
    announces(c, false);
    await leads();
  });
}
