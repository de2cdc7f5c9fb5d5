import fc from 'fast-check';
import type { BriefPath } from 'gobgp-grpc-stubs';
import t from 'tap';
import { beside_ms, next_hops_max, RemoteTable } from '../../src/bgp/remote-table.js';

const path = (prefix: string | undefined, next_hop: string, more: Partial<BriefPath> = {}): BriefPath => ({
  prefix,
  next_hop,
  neighbor_ip: next_hop,
  identifier: 0,
  is_withdraw: false,
  ...more,
});
const gone = (prefix: string, neighbour: string) => path(prefix, neighbour, { is_withdraw: true });

/** A gobgpd that tells all paths of a prefix when one of them changes. */
const changed = (paths: readonly BriefPath[]) => ({ paths, initial: false, whole: true });
/** One that tells what has become of each path. */
const differences = (paths: readonly BriefPath[]) => ({ paths, initial: false, whole: false });

/** What connectivity is told: prefix to next hop. */
const told = (table: RemoteTable) =>
  Object.fromEntries(
    [...table.changes(1000)].map(([prefix, route]) => [prefix, route?.next_hops.join(' ') ?? 'gone']),
  );

/** A table that has been told from its beginning. */
function begun(...paths: readonly BriefPath[]): RemoteTable {
  const table = new RemoteTable();
  table.begin();
  table.take({ paths, initial: true, whole: true });
  table.complete();
  told(table);
  return table;
}

t.test('best paths are told as they come and go, of both families', async (t) => {
  const table = new RemoteTable();
  table.begin();
  table.take(changed([path('10.1.0.0/26', '10.0.0.2'), path('FD01:0::/122', 'fd00::2')]));
  t.notOk(table.settled);
  table.complete();
  t.ok(table.settled);
  t.same(told(table), { '10.1.0.0/26': '10.0.0.2', 'fd01::/122': 'fd00::2' });
  table.take(changed([path('10.1.0.0/26', '10.0.0.2')]));
  t.same(told(table), {}, 'the same again is no change');
  table.take(changed([path('10.1.0.0/26', '10.0.0.3'), gone('fd01::/122', 'fd00::2')]));
  t.same(told(table), { '10.1.0.0/26': '10.0.0.3', 'fd01::/122': 'gone' });
  table.take(changed([gone('10.9.0.0/24', '10.0.0.2')]));
  t.same(told(table), {}, 'what was not there is not taken away');
});

t.test('own paths and what is no path of unicast are nobody’s route', async (t) => {
  const table = begun(path('10.1.0.0/26', '10.0.0.2'));
  table.take(
    changed([
      path('10.2.0.0/26', '10.0.0.1', { neighbor_ip: '' }),
      path(undefined, '10.0.0.2'),
      path('10.4.0.0/26', '', { neighbor_ip: '10.0.0.2' }),
    ]),
  );
  t.same(told(table), {});
  t.equal(table.unusable, 1);
  table.take(changed([path('10.1.0.0/26', '10.0.0.1', { neighbor_ip: '' })]));
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
  table.take(changed([path('10.1.0.0/26', '10.0.0.2')]));
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
  table.take(changed([gone('10.1.0.0/26', '10.0.0.2'), gone('10.2.0.0/26', '10.0.0.3')]));
  t.same(told(table), { '10.2.0.0/26': 'gone' });
  table.take(changed([path('10.1.0.0/26', '10.0.0.4')]));
  t.same(told(table), { '10.1.0.0/26': '10.0.0.4' }, 'another path replaces it');
  table.release('10.0.0.2');
  t.same(told(table), {});
});

t.test('a watch that begins anew tells what is gone by silence', async (t) => {
  const table = begun(path('10.1.0.0/26', '10.0.0.2'), path('10.2.0.0/26', '10.0.0.2'));
  table.begin();
  table.take(changed([path('10.2.0.0/26', '10.0.0.2')]));
  t.same(told(table), {});
  table.complete();
  t.same(told(table), { '10.1.0.0/26': 'gone' });
});

t.test('gateways come before what is learned', async (t) => {
  const table = begun(path('10.0.0.9/32', '10.0.0.2'));
  table.gateways(new Map([['10.0.0.9/32', '10.0.0.250']]));
  t.same(told(table), { '10.0.0.9/32': '10.0.0.250' });
  table.take(changed([gone('10.0.0.9/32', '10.0.0.2')]));
  t.same(told(table), { '10.0.0.9/32': '10.0.0.250' });
  table.gateways(new Map());
  t.same(told(table), { '10.0.0.9/32': 'gone' });
});

t.test('changes that were not taken in are told again, unless they have changed', async (t) => {
  const table = new RemoteTable();
  table.begin();
  table.take(changed([path('10.1.0.0/26', '10.0.0.2'), path('10.2.0.0/26', '10.0.0.2')]));
  const first = table.changes(1);
  t.equal(first.size, 1);
  t.equal(table.unsent, 1);
  table.take(changed([path('10.1.0.0/26', '10.0.0.3')]));
  table.giveBack(first);
  t.same(told(table), { '10.1.0.0/26': '10.0.0.3', '10.2.0.0/26': '10.0.0.2' });
});

t.test('there is room for so many routes; the rest is counted, and told when there is room', async (t) => {
  const table = new RemoteTable(10);
  table.begin();
  table.take(changed([...Array(12).keys()].map((n) => path(`10.1.${n}.0/26`, '10.0.0.2'))));
  table.complete();
  t.equal(Object.keys(told(table)).length, 10);
  t.equal(table.refused, 2);
  table.take(changed([path('10.1.0.0/26', '10.0.0.3')]));
  t.strictSame(told(table), { '10.1.0.0/26': '10.0.0.3' }, 'what is there changes');
  t.notOk(table.is_worth_telling_again);
  table.take(changed([gone('10.1.0.0/26', '10.0.0.3'), gone('10.1.1.0/26', '10.0.0.2')]));
  t.ok(table.is_worth_telling_again);
  table.begin();
  t.notOk(table.is_worth_telling_again);
});

t.test('what is told more than once costs no prefix its route', async (t) => {
  for (const tells of [changed, differences]) {
    const table = new RemoteTable(8);
    table.begin();
    const prefixes = [...Array(6).keys()].map((n) => `10.1.${n}.0/26`);
    const by = (reflector: string) =>
      prefixes.map((prefix) => path(prefix, '10.0.0.2', { neighbor_ip: reflector }));
    for (const [n, first] of by('10.0.0.8').entries()) {
      const second = by('10.0.0.9')[n]!;
      if (tells === changed) table.take(changed([first, second]));
      else for (const each of [first, second]) table.take(differences([each]));
    }
    table.complete();
    t.strictSame(told(table), Object.fromEntries(prefixes.map((prefix) => [prefix, '10.0.0.2'])));
    t.equal(table.paths_count, 8);
    t.equal(table.refused, 4);
    table.take(changed([path('10.2.0.0/26', '10.0.0.3'), path('10.2.1.0/26', '10.0.0.3')]));
    t.strictSame(told(table), { '10.2.0.0/26': '10.0.0.3', '10.2.1.0/26': '10.0.0.3' });
    table.take(changed([path('10.2.2.0/26', '10.0.0.3')]));
    t.strictSame(told(table), {}, 'no prefix goes for another one');
    t.equal(table.size, 8);
  }
});

t.test(
  'of a full table each prefix yields a path, first one that leads where another one does',
  async (t) => {
    const table = new RemoteTable(7);
    table.begin();
    const a = (next_hop: string, neighbor_ip = next_hop) => path('10.1.0.0/26', next_hop, { neighbor_ip });
    table.take(changed([a('10.0.0.2'), a('10.0.0.2', '10.0.0.9'), a('10.0.0.3'), a('10.0.0.4')]));
    table.take(changed([path('10.1.1.0/26', '10.0.0.2'), path('10.1.1.0/26', '10.0.0.3')]));
    table.take(changed([path('10.1.2.0/26', '10.0.0.2')]));
    told(table);
    const news = () => {
      table.take(changed([path(`10.2.${table.size}.0/26`, '10.0.0.5')]));
      const { [`10.2.${table.size - 1}.0/26`]: _, ...others } = told(table);
      return others;
    };
    t.strictSame(news(), {}, 'the same next hop of another peer');
    t.strictSame(news(), { '10.1.1.0/26': '10.0.0.2' }, 'they take turns');
    t.strictSame(news(), { '10.1.0.0/26': '10.0.0.2 10.0.0.3' });
    table.take(changed([a('10.0.0.2'), a('10.0.0.3'), a('10.0.0.4')]));
    t.strictSame(told(table), {}, 'no second one while there is no room');
  },
);

t.test('a prefix whose path there was no room for, and is needed, is asked for', async (t) => {
  for (const tells of [changed, differences]) {
    const table = new RemoteTable(20);
    table.begin();
    const paths = [path('10.1.0.0/26', '10.0.0.2'), path('10.1.0.0/26', '10.0.0.3')] as const;
    const others = [...Array(19).keys()].map((n) => path(`10.2.${n}.0/26`, '10.0.0.2'));
    table.take({ paths: [...paths, ...others], initial: true, whole: tells === changed });
    table.complete();
    t.equal(told(table)['10.1.0.0/26'], '10.0.0.2');
    t.equal(table.size, 20);
    table.take(differences([gone('10.2.0.0/26', '10.0.0.2')]));
    t.notOk(table.is_worth_telling_again);
    table.await('10.0.0.9', 1000);
    table.take(tells === changed ? changed([paths[1]]) : differences([gone('10.1.0.0/26', '10.0.0.2')]));
    t.notOk(table.is_worth_telling_again, 'not while somebody is waited for');
    table.release('10.0.0.9');
    t.equal(table.is_worth_telling_again, tells === differences, 'who tells all has told it');
    t.equal(told(table)['10.1.0.0/26'], tells === changed ? '10.0.0.3' : 'gone');
    table.begin();
    t.notOk(table.is_worth_telling_again);
  }
});

t.test('some thousand peers that tell one prefix cost no square of their number', async (t) => {
  const peers = 4000;
  const all = [...Array(peers).keys()].map((n) => path('10.1.0.0/26', `10.0.${n >> 8}.${n & 255}`));
  const table = begun();
  const cpu = process.cpuUsage().user;
  for (let n = peers - 40; n <= peers; n += 1) table.take(changed(all.slice(0, n)));
  // Some 250 ms; by comparing each with each, two and more.
  t.ok(process.cpuUsage().user - cpu < 1_500_000);
  t.equal(table.paths_count, peers);
});

t.test('who does not come back keeps no flows for long from one that is there', async (t) => {
  for (const tells of [changed, differences]) {
    const both = [path('10.1.0.0/26', '10.0.0.2'), path('10.1.0.0/26', '10.0.0.3')] as const;
    const table = begun(...both, path('10.2.0.0/26', '10.0.0.3'));
    table.lost(120_000);
    table.begin();
    table.complete();
    t.same(table.expire(20_000), []);
    t.same(told(table), {}, 'as long as nobody is back');
    table.take(tells([both[0]]));
    table.expire(21_000);
    table.expire(21_000 + beside_ms - 1);
    t.same(told(table), {}, 'for as long as a session takes to come up');
    t.same(table.expire(21_000 + beside_ms), []);
    t.same(told(table), { '10.1.0.0/26': '10.0.0.2' });
    t.ok(table.isAwaited('10.0.0.3'), 'where there is no other it holds on');
    table.take(tells([path('10.2.0.0/26', '10.0.0.2')]));
    t.same(told(table), { '10.2.0.0/26': '10.0.0.2' });
    table.take(tells === changed ? changed(both) : differences([both[1]]));
    t.same(told(table), { '10.1.0.0/26': '10.0.0.2 10.0.0.3' }, 'it is back after all');
    table.release('10.0.0.2', '10.0.0.3');
    t.same(told(table), {});
  }
});

t.test('paths that are equally good are one route, sorted, whoever is told first', async (t) => {
  const table = begun(path('10.1.0.0/26', '10.0.0.3'), path('10.1.0.0/26', '10.0.0.2'));
  t.equal(table.size, 1);
  t.equal(table.paths_count, 2);
  table.gateways(new Map([['10.1.0.0/26', '10.0.0.250']]));
  table.gateways(new Map());
  t.same(told(table), { '10.1.0.0/26': '10.0.0.2 10.0.0.3' });
  table.take(changed([path('10.1.0.0/26', '10.0.0.2'), path('10.1.0.0/26', '10.0.0.3')]));
  t.same(told(table), {}, 'another order is no change');
  table.take(changed([path('10.1.0.0/26', '10.0.0.3')]));
  t.same(told(table), { '10.1.0.0/26': '10.0.0.3' });
  table.take(
    changed([
      path('10.1.0.0/26', '10.0.0.3'),
      path('10.1.0.0/26', '10.0.0.2', { neighbor_ip: '10.0.0.9' }),
      path('10.1.0.0/26', '10.0.0.2', { neighbor_ip: '10.0.0.8' }),
    ]),
  );
  t.same(told(table), { '10.1.0.0/26': '10.0.0.2 10.0.0.3' }, 'two reflectors tell of one node');
  table.take(
    changed([
      path('10.1.0.0/26', '10.0.0.3'),
      path('10.1.0.0/26', '10.0.0.2', { neighbor_ip: '10.0.0.8' }),
      path('10.1.0.0/26', '', { neighbor_ip: '10.0.0.4' }),
    ]),
  );
  t.same(told(table), {}, 'one that leads nowhere takes nothing from the others');
  table.take(changed([path('10.1.0.0/26', '10.0.0.1', { neighbor_ip: '' })]));
  t.same(told(table), { '10.1.0.0/26': 'gone' });
  t.equal(table.paths_count, 0);
});

t.test('a gobgpd that tells differences adds, replaces and takes away a path', async (t) => {
  const table = begun(path('10.1.0.0/26', '10.0.0.2'));
  table.take(differences([path('10.1.0.0/26', '10.0.0.3')]));
  t.same(told(table), { '10.1.0.0/26': '10.0.0.2 10.0.0.3' });
  table.take(differences([path('10.1.0.0/26', '10.0.0.4', { neighbor_ip: '10.0.0.3' })]));
  t.same(told(table), { '10.1.0.0/26': '10.0.0.2 10.0.0.4' });
  table.take(differences([path('10.1.0.0/26', '10.0.0.5', { neighbor_ip: '10.0.0.3', identifier: 2 })]));
  t.same(told(table), { '10.1.0.0/26': '10.0.0.2 10.0.0.4 10.0.0.5' }, 'a peer that numbers its paths');
  table.take(differences([gone('10.1.0.0/26', '10.0.0.2'), gone('10.1.0.0/26', '10.0.0.9')]));
  t.same(told(table), { '10.1.0.0/26': '10.0.0.4 10.0.0.5' });
});

t.test('who is waited for goes on to have its part of a route, until that is another one', async (t) => {
  for (const tells of [changed, differences]) {
    const both = [path('10.1.0.0/26', '10.0.0.2'), path('10.1.0.0/26', '10.0.0.3')] as const;
    const table = begun(...both);
    table.lost(1000);
    table.begin();
    table.complete();
    table.take(tells([both[0]]));
    t.same(told(table), {}, 'the first of them is there again');
    table.take(changed([...both]));
    t.same(told(table), {});
    for (const neighbour of ['10.0.0.2', '10.0.0.3']) table.release(neighbour);
    t.same(told(table), {});
    table.await('10.0.0.3', 1000);
    table.take(tells === changed ? changed([both[0]]) : differences([gone('10.1.0.0/26', '10.0.0.3')]));
    t.same(told(table), {}, 'its session is made anew');
    const third = path('10.1.0.0/26', '10.0.0.4');
    table.take(tells === changed ? changed([both[0], third]) : differences([third]));
    t.same(told(table), { '10.1.0.0/26': '10.0.0.2 10.0.0.4' });
    table.release('10.0.0.3');
    t.same(told(table), {});
  }
});

t.test('of more next hops than a route may have the first are told', async (t) => {
  const hops = [...Array(next_hops_max + 2).keys()].map((n) => `10.0.1.${100 + n}`);
  const table = begun(...hops.map((hop) => path('10.1.0.0/26', hop)));
  table.giveBack(new Map([['10.1.0.0/26', undefined]]));
  t.equal(told(table)['10.1.0.0/26'], hops.slice(0, next_hops_max).join(' '));
  table.take(differences([gone('10.1.0.0/26', hops.at(-1)!)]));
  table.take(differences([gone('10.1.0.0/26', hops[0]!)]));
  t.equal(told(table)['10.1.0.0/26'], hops.slice(1, -1).join(' '));
});

/** What a gobgpd knows of a prefix: by neighbour, how good its path is, and where it leads. */
type Rib = Map<string, Map<string, { readonly quality: number; readonly next_hop: string }>>;

function bestOf(rib: Rib, prefix: string): readonly BriefPath[] {
  const all = [...(rib.get(prefix) ?? [])];
  const best = Math.max(...all.map(([, { quality }]) => quality));
  return all
    .filter(([, { quality }]) => quality === best)
    .map(([neighbor_ip, { next_hop }]) => path(prefix, next_hop, { neighbor_ip }));
}

/** As gobgpd says what has become of a prefix. */
function* news(
  before: readonly BriefPath[],
  after: readonly BriefPath[],
  whole: boolean,
): Iterable<BriefPath> {
  if (JSON.stringify(before) === JSON.stringify(after)) return;
  if (whole) yield* after.length > 0 ? after : before.map((each) => ({ ...each, is_withdraw: true }));
  else {
    for (const each of before)
      if (!after.some(({ neighbor_ip }) => neighbor_ip === each.neighbor_ip))
        yield { ...each, is_withdraw: true };
    for (const each of after)
      if (!before.some((old) => JSON.stringify(old) === JSON.stringify(each))) yield each;
  }
}

const neighbours = ['', '10.0.0.2', '10.0.0.3', '10.0.0.4'];
const some_prefixes = ['10.1.0.0/26', '10.2.0.0/26', 'fd01::/122'];
const told_path = {
  prefix: fc.constantFrom(...some_prefixes),
  neighbour: fc.constantFrom(...neighbours),
};

t.test('whatever comes and goes in whatever order, told is what a table that begins anew tells', async () => {
  const steps = fc.array(
    fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({
          do: fc.constant('announce' as const),
          ...told_path,
          quality: fc.constantFrom(1, 2),
          next_hop: fc.constantFrom('fd00::2', 'fd00::3', 'fd00::4', ''),
        }),
      },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('withdraw' as const), ...told_path }) },
      fc.record({ do: fc.constant('dies' as const) }),
      fc.record({ do: fc.constant('waits' as const) }),
      fc.record({ do: fc.constant('await' as const), neighbour: fc.constantFrom(...neighbours.slice(1)) }),
      fc.record({ do: fc.constant('release' as const), neighbour: fc.constantFrom(...neighbours.slice(1)) }),
    ),
    { maxLength: 40, size: 'max' },
  );
  fc.assert(
    fc.property(steps, fc.boolean(), (todo, whole) => {
      const table = new RemoteTable();
      const is = new Map<string, string>();
      const hear = () => {
        for (const [prefix, route] of table.changes(1000)) {
          if (route === undefined) is.delete(prefix);
          else is.set(prefix, route.next_hops.join(' '));
        }
      };
      let rib: Rib = new Map();
      let now_ms = 0;
      table.begin();
      table.complete();
      for (const step of todo) {
        if (step.do === 'waits') {
          now_ms += beside_ms;
          table.expire(now_ms);
        } else if (step.do === 'await') table.await(step.neighbour, now_ms + 100_000);
        else if (step.do === 'release') table.release(step.neighbour);
        else if (step.do === 'dies') {
          rib = new Map();
          table.lost(now_ms + 100_000);
          table.begin();
          table.complete();
        } else {
          const { prefix, neighbour } = step;
          const before = bestOf(rib, prefix);
          const paths = rib.get(prefix) ?? new Map();
          rib.set(prefix, paths);
          // An own path is better than any other.
          if (step.do === 'withdraw') paths.delete(neighbour);
          else
            paths.set(neighbour, {
              quality: neighbour === '' ? 3 : step.quality,
              next_hop: step.next_hop,
            });
          table.take({ paths: [...news(before, bestOf(rib, prefix), whole)], initial: false, whole });
        }
        if (todo.indexOf(step) % 3 === 0) hear();
      }
      for (const neighbour of neighbours) table.release(neighbour);
      hear();
      const fresh = new RemoteTable();
      fresh.begin();
      for (const prefix of some_prefixes) fresh.take({ paths: bestOf(rib, prefix), initial: true, whole });
      fresh.complete();
      const should = Object.entries(told(fresh)).sort();
      if (JSON.stringify([...is].sort()) !== JSON.stringify(should))
        throw new Error(`told ${JSON.stringify([...is].sort())}\nof a fresh table ${JSON.stringify(should)}`);
      const count = (of: RemoteTable) => [of.size, of.paths_count].join();
      if (count(table) !== count(fresh)) throw new Error(`${count(table)} of ${count(fresh)}`);
    }),
    { numRuns: 2000 },
  );
});
