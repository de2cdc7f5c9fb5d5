import t from 'tap';
import { Samples } from '../../src/metrics/samples.js';
import {
  ServiceConnections,
  services_max,
  translationCounters,
} from '../../src/metrics/service-connections.js';
import type { NamedTranslations } from '../../src/services/service-names.js';
import { readHeader, SegmentView } from '../../src/stats/segment.js';
import { segmentOf, sourceOf } from '../kit/stats-segment.js';

const since_s = 1000;

class World {
  readonly connections = new ServiceConnections(since_s);
  pid = 7;
  boot_s = since_s + 1;
  #version = 0;

  name(named: Readonly<Record<string, string>>, unnamed: readonly number[] = [], whole = false): void {
    this.#version += 1;
    const told: NamedTranslations = {
      pid: this.pid,
      version: this.#version,
      whole,
      named: Object.entries(named),
      unnamed,
    };
    this.connections.learn(told);
  }

  read(...counters: readonly number[]): Readonly<Record<string, number>> {
    this.connections.read(this.pid, { boot_s: this.boot_s, counters: Float64Array.from(counters) });
    return this.shown();
  }

  shown(): Readonly<Record<string, number>> {
    const samples = new Samples();
    this.connections.addTo(samples);
    const of = samples.families().find(({ name }) => name === 'calicovpp_service_new_connections_total');
    return Object.fromEntries(
      (of?.samples ?? []).map(({ labels, value }) => [`${labels.namespace}/${labels.service}`, value]),
    );
  }

  unshown(): number | undefined {
    const samples = new Samples();
    this.connections.addTo(samples);
    return samples.families().find(({ name }) => name === 'calicovpp_services_unshown')?.samples[0]?.value;
  }
}

t.test('the counters of all threads together, by id', async (t) => {
  const source = sourceOf(
    segmentOf({
      entries: [
        ['/sys/boottime', { scalar: 5 }],
        [
          '/net/cnat-translation',
          {
            combined: [
              [
                [1, 60],
                [2, 120],
              ],
              [
                [10, 600],
                [20, 1200],
                [30, 1800],
              ],
              [],
            ],
          },
        ],
      ],
    }),
  );
  const header = readHeader(source);
  if (typeof header === 'string') throw new Error(header);
  t.strictSame(translationCounters(new SegmentView(source, header)), {
    boot_s: 5,
    counters: Float64Array.of(11, 22, 30),
  });
  const none = sourceOf(segmentOf({ entries: [['/net/cnat-translation', { scalar: 1 }]] }));
  const other = readHeader(none);
  if (typeof other === 'string') throw new Error(other);
  t.equal(translationCounters(new SegmentView(none, other)), undefined);
});

t.test('a service has the sum of its translations, from 0 on', async (t) => {
  const world = new World();
  world.name({ 'shop/web': '0 2', 'shop/api': '1' });
  t.strictSame(world.read(0, 0, 0), { 'shop/web': 0, 'shop/api': 0 });
  t.strictSame(world.read(3, 1, 4), { 'shop/web': 7, 'shop/api': 1 });
  t.strictSame(world.read(3, 1, 5), { 'shop/web': 8, 'shop/api': 1 });
});

t.test('it does not fall when one of its translations goes, or is made anew', async (t) => {
  const world = new World();
  world.name({ 'shop/web': '0 1' });
  t.strictSame(world.read(30, 40), { 'shop/web': 70 });
  world.name({}, [1]);
  t.strictSame(world.read(31, 40), { 'shop/web': 71 });
  world.name({ 'shop/web': '1' });
  t.strictSame(world.read(31, 2), { 'shop/web': 73 }, 'its counter has begun anew');
});

t.test('an id that is another service’s now counts for that', async (t) => {
  const world = new World();
  world.name({ 'shop/web': '0', 'shop/api': '1' });
  world.read(50, 60);
  world.name({ 'other/new': '0' });
  t.strictSame(world.read(2, 61), { 'shop/api': 61, 'other/new': 2 }, 'who is gone has no series');
  world.name({ 'shop/web': '2' });
  t.strictSame(world.read(2, 61, 9), { 'shop/api': 61, 'other/new': 2, 'shop/web': 9 }, 'and begins at 0');
});

t.test('a translation that another service takes over as it is brings nothing along', async (t) => {
  const world = new World();
  world.name({ 'shop/early': '0' });
  world.read(100);
  world.name({ 'shop/late': '0' });
  t.strictSame(world.read(103), { 'shop/late': 3 });
});

t.test('what was not known for a while is not counted twice', async (t) => {
  const world = new World();
  world.name({ 'shop/web': '0' });
  world.read(100);
  world.name({}, [0]);
  t.strictSame(world.read(110), {});
  world.name({ 'shop/web': '0' });
  t.strictSame(world.read(111), { 'shop/web': 11 });
});

t.test('who is named late has all that came since the translation was made', async (t) => {
  const world = new World();
  world.name({ 'shop/web': '0' });
  world.read(1, 5);
  world.name({ 'shop/api': '1' });
  t.strictSame(world.read(1, 6), { 'shop/web': 1, 'shop/api': 6 });
});

t.test('a VPP of an earlier life has counted for another process', async (t) => {
  const world = new World();
  world.boot_s = since_s - 1;
  world.name({ 'shop/web': '0' });
  t.strictSame(world.read(1000, 500), { 'shop/web': 0 });
  world.name({ 'shop/api': '1' });
  t.strictSame(world.read(1004, 502), { 'shop/web': 4, 'shop/api': 2 });
});

t.test('another VPP begins at 0, and nothing that was counted is lost', async (t) => {
  const world = new World();
  world.name({ 'shop/web': '0' });
  world.read(10);
  const { connections } = world;
  connections.read(8, { boot_s: 2000, counters: Float64Array.of(99) });
  t.strictSame(world.shown(), { 'shop/web': 10 }, 'its ids are not known yet');
  world.pid = 8;
  world.name({ 'shop/web': '0' });
  t.strictSame(world.read(12), { 'shop/web': 22 }, 'also where it has overtaken the one before');
});

t.test('all that there is, told once more, changes nothing', async (t) => {
  const world = new World();
  world.name({ 'shop/web': '0', 'shop/api': '1' });
  world.read(10, 20);
  world.name({ 'shop/web': '0' }, [], true);
  t.strictSame(world.read(11, 21), { 'shop/web': 11 });
  t.equal(world.connections.version, 2);
});

t.test('beyond the limit', async (t) => {
  const all = services_max + 3;
  const world = new World();
  world.name(Object.fromEntries(Array.from({ length: all }, (_, id) => [`many/s${id}`, `${id}`])));
  const counters = new Array<number>(all).fill(0);
  world.read(...counters);
  t.equal(world.unshown(), 3);

  counters[all - 1] = 5;
  let shown = world.read(...counters);
  t.equal(shown[`many/s${all - 1}`], 5, 'who is connected to has a series');
  t.equal(Object.keys(shown).length, services_max + 1, 'in place of one that nobody has connected to');
  t.equal(shown['/'], 0);

  counters.fill(7);
  shown = world.read(...counters);
  t.equal(Object.keys(shown).length, services_max + 1);
  const sum = (): number => Object.values(world.shown()).reduce((one, other) => one + other, 0);
  t.equal(sum(), 7 * all, 'the others have one together');
  t.equal(shown['/'], 3 * 7);
  const served = new Set(Object.keys(shown));

  counters.fill(8);
  shown = world.read(...counters);
  t.strictSame(new Set(Object.keys(shown)), served, 'nobody who has counted loses it');
  t.equal(sum(), 8 * all);
  const other = counters.findIndex((_, id) => !served.has(`many/s${id}`));
  const gone = counters.findIndex((_, id) => id !== other && served.has(`many/s${id}`));
  world.name({}, [gone]);
  counters[other] = 10;
  shown = world.read(...counters);
  t.equal(shown[`many/s${other}`], 2, 'a place that is free is taken, from 0 on');
  t.equal(shown['/'], 3 * 8, 'and the series of the others does not fall');
  t.equal(world.unshown(), 2);
});
