import { families, type Path } from 'gobgp-grpc-stubs';
import t from 'tap';
import { RemoteTable } from '../../src/bgp/remote-table.js';

const path = (prefix: string, next_hop: string, more: object = {}): Path => {
  const [address, length] = prefix.split('/');
  const is6 = prefix.includes(':');
  return {
    family: is6 ? families.ipv6_unicast : families.ipv4_unicast,
    nlri: { type: 'prefix', prefix: address, prefix_len: Number(length) },
    pattrs: is6
      ? [{ type: 'mp_reach', family: families.ipv6_unicast, next_hops: [next_hop], nlris: [] }]
      : [{ type: 'next_hop', next_hop }],
    neighbor_ip: next_hop,
    is_withdraw: false,
    ...more,
  } as unknown as Path;
};
const gone = (prefix: string, neighbour: string) => path(prefix, neighbour, { is_withdraw: true });

/** What connectivity is told: prefix to next hop. */
const told = (table: RemoteTable) =>
  Object.fromEntries([...table.changes(1000)].map(([prefix, route]) => [prefix, route?.next_hop ?? 'gone']));

/** A table that has been told from its beginning. */
function begun(...paths: readonly Path[]): RemoteTable {
  const table = new RemoteTable();
  table.begin();
  table.take(paths);
  table.complete();
  told(table);
  return table;
}

t.test('best paths are told as they come and go, of both families', async (t) => {
  const table = new RemoteTable();
  table.begin();
  table.take([path('10.1.0.0/26', '10.0.0.2'), path('FD01:0::/122', 'fd00::2')]);
  t.notOk(table.settled);
  table.complete();
  t.ok(table.settled);
  t.same(told(table), { '10.1.0.0/26': '10.0.0.2', 'fd01::/122': 'fd00::2' });
  table.take([path('10.1.0.0/26', '10.0.0.2')]);
  t.same(told(table), {}, 'the same again is no change');
  table.take([path('10.1.0.0/26', '10.0.0.3'), gone('fd01::/122', 'fd00::2')]);
  t.same(told(table), { '10.1.0.0/26': '10.0.0.3', 'fd01::/122': 'gone' });
  table.take([gone('10.9.0.0/24', '10.0.0.2')]);
  t.same(told(table), {}, 'what was not there is not taken away');
});

t.test('own paths and what is no path of unicast are nobody’s route', async (t) => {
  const table = begun(path('10.1.0.0/26', '10.0.0.2'));
  table.take([
    path('10.2.0.0/26', '10.0.0.1', { neighbor_ip: '' }),
    path('10.3.0.0/26', '10.0.0.2', { family: families.ipv4_vpn }),
    { ...path('10.4.0.0/26', '10.0.0.2'), pattrs: [] },
  ]);
  t.same(told(table), {});
  t.equal(table.unusable, 1);
  table.take([path('10.1.0.0/26', '10.0.0.1', { neighbor_ip: '' })]);
  t.same(told(table), { '10.1.0.0/26': 'gone' }, 'an own path is better than that of others');
});

t.test('what a lost gobgpd had told holds until its peers have told all again', async (t) => {
  const table = begun(
    path('10.1.0.0/26', '10.0.0.2'),
    path('10.2.0.0/26', '10.0.0.2'),
    path('10.3.0.0/26', '10.0.0.3'),
  );
  table.lost(1000);
  t.notOk(table.settled);
  table.begin();
  table.complete();
  t.same(told(table), {}, 'the table of a new gobgpd is empty');
  table.take([path('10.1.0.0/26', '10.0.0.2')]);
  table.release('10.0.0.2');
  t.same(told(table), { '10.2.0.0/26': 'gone' }, 'what this peer has not told again');
  t.same(table.expire(999), []);
  t.same(table.expire(1000), ['10.0.0.3']);
  t.same(told(table), { '10.3.0.0/26': 'gone' }, 'the time of the other is over');
  t.ok(table.settled);
  t.equal(table.size, 1);
});

t.test('a gobgpd that dies again gives nobody more time', async (t) => {
  const table = begun(path('10.1.0.0/26', '10.0.0.2'));
  table.await('10.0.0.2', 500);
  table.lost(1000);
  table.lost(2000);
  t.same(table.expire(500), ['10.0.0.2']);
  t.same(told(table), { '10.1.0.0/26': 'gone' });
});

t.test('while a peer is waited for its withdrawals are kept back, those of others are not', async (t) => {
  const table = begun(path('10.1.0.0/26', '10.0.0.2'), path('10.2.0.0/26', '10.0.0.3'));
  table.await('10.0.0.2', 1000);
  table.take([gone('10.1.0.0/26', '10.0.0.2'), gone('10.2.0.0/26', '10.0.0.3')]);
  t.same(told(table), { '10.2.0.0/26': 'gone' });
  table.take([path('10.1.0.0/26', '10.0.0.4')]);
  t.same(told(table), { '10.1.0.0/26': '10.0.0.4' }, 'another path replaces it');
  table.release('10.0.0.2');
  t.same(told(table), {});
});

t.test('a watch that begins anew tells what is gone by silence', async (t) => {
  const table = begun(path('10.1.0.0/26', '10.0.0.2'), path('10.2.0.0/26', '10.0.0.2'));
  table.begin();
  table.take([path('10.2.0.0/26', '10.0.0.2')]);
  t.same(told(table), {});
  table.complete();
  t.same(told(table), { '10.1.0.0/26': 'gone' });
});

t.test('gateways come before what is learned', async (t) => {
  const table = begun(path('10.0.0.9/32', '10.0.0.2'));
  table.gateways(new Map([['10.0.0.9/32', '10.0.0.250']]));
  t.same(told(table), { '10.0.0.9/32': '10.0.0.250' });
  table.take([gone('10.0.0.9/32', '10.0.0.2')]);
  t.same(told(table), { '10.0.0.9/32': '10.0.0.250' });
  table.gateways(new Map());
  t.same(told(table), { '10.0.0.9/32': 'gone' });
});

t.test('changes that were not taken in are told again, unless they have changed', async (t) => {
  const table = new RemoteTable();
  table.begin();
  table.take([path('10.1.0.0/26', '10.0.0.2'), path('10.2.0.0/26', '10.0.0.2')]);
  const first = table.changes(1);
  t.equal(first.size, 1);
  t.equal(table.unsent, 1);
  table.take([path('10.1.0.0/26', '10.0.0.3')]);
  table.giveBack(first);
  t.same(told(table), { '10.1.0.0/26': '10.0.0.3', '10.2.0.0/26': '10.0.0.2' });
});

t.test('there is room for so many routes; the rest is counted, and told when there is room', async (t) => {
  const table = new RemoteTable(10);
  table.begin();
  table.take([...Array(12).keys()].map((n) => path(`10.1.${n}.0/26`, '10.0.0.2')));
  table.complete();
  t.equal(Object.keys(told(table)).length, 10);
  t.equal(table.refused, 2);
  table.take([path('10.1.0.0/26', '10.0.0.3')]);
  t.strictSame(told(table), { '10.1.0.0/26': '10.0.0.3' }, 'what is there changes');
  t.notOk(table.is_worth_telling_again);
  table.take([gone('10.1.0.0/26', '10.0.0.3'), gone('10.1.1.0/26', '10.0.0.2')]);
  t.ok(table.is_worth_telling_again);
  table.begin();
  t.notOk(table.is_worth_telling_again);
});
