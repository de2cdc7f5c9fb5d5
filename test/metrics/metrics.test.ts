import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { missing } from '../../lab/programs.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import type { Outcome, Question, SectionName } from '../../src/debug/protocol.js';
import type { Source } from '../../src/debug/routes.js';
import { SyncReports } from '../../src/debug/sync-reports.js';
import type { ShownNode } from '../../src/debug/tree-filter.js';
import { catalogText, definitions } from '../../src/metrics/catalog.js';
import { CniCounts } from '../../src/metrics/cni-counts.js';
import { exposition } from '../../src/metrics/exposition.js';
import { apiHistogram, type Figures } from '../../src/metrics/figures.js';
import { addSegment, interfaces_max } from '../../src/metrics/from-segment.js';
import { legacyFamilies, legacyName } from '../../src/metrics/legacy.js';
import { Samples } from '../../src/metrics/samples.js';
import { cached_ms, Scraper, type ScraperSettings, sessionMax } from '../../src/metrics/scraper.js';
import { formatFor } from '../../src/metrics/server.js';
import { figuresOf } from '../../src/node/figures.js';
import type { NamedTranslations } from '../../src/services/service-names.js';
import { readHeader, SegmentView } from '../../src/stats/segment.js';
import { StatsReader } from '../../src/stats/stats-reader.js';
import { NOW_MS, sampleNode } from '../debug/sample.js';
import { unpackSegment } from '../kit/stats-fixture.js';
import { type EntryContent, node_content, segmentOf, sourceOf } from '../kit/stats-segment.js';
import { parse } from './text-format.js';

const repository = (path: string): URL => new URL(`../../../${path}`, import.meta.url);
const golden = repository('test/metrics/fixtures/node.txt');

const histogram = {
  count: 3,
  sum_seconds: 0.6,
  buckets: [
    [0.1, 1],
    [0.5, 3],
  ],
} as const;
const api = {
  in_flight: [{}],
  waiting: 2,
  messages: [
    {
      message: 'ip_route_add_del_v2',
      sent: 6,
      answered: 5,
      refused: 1,
      expired: 1,
      latency_us_log2: [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 2],
    },
  ],
};

const figures: Figures = {
  handle: [{ path: 'root/vpp/vpp-process', ...histogram }],
  quarantined: 1,
  deaths: { SIGSEGV: 2, silent: 1 },
  api: { prompt: api, bulk: api },
  services: { event_to_vpp: histogram, network_programming: histogram },
  bgp_peers: [
    { address: '10.0.0.2', state: 'established', received: 7 },
    { address: '10.0.0.3', state: 'active', received: 0 },
  ],
  kinds: { Service: { synced: true, objects: 12, lists: 1, watches: 3 } },
  cni: [{ op: 'add', results: { ok: 4, refused: 1, failed: 0 }, seconds: histogram }],
};

/** The third is a host port. */
const names = {
  pid: 100,
  version: 1,
  whole: false,
  named: [['shop/web', '0 1']],
  unnamed: [],
} satisfies NamedTranslations;
const texts: Partial<Record<Question['type'], string>> = {
  figures: JSON.stringify(figures),
  serviceNames: JSON.stringify(names),
};

const podNode = (n: number, pod: string, sw_if_index: number): ShownNode =>
  sampleNode(`root/cni/netns:/run/netns/cni-${n},if:eth0`, { gauges: { pod, sw_if_index } });

function treeOf(pid: number, pods: readonly ShownNode[]): ShownNode {
  const process = sampleNode('root/vpp/vpp-process', { gauges: { pid } });
  const connection = sampleNode('root/vpp/vpp-connection', {
    gauges: { generation: 4 },
    state: 'blocked',
    currentHandler: { type: 'Transact', ms: 1500 },
  });
  return sampleNode('root', {
    children: [
      sampleNode('root/vpp', { children: [process, connection] }),
      sampleNode('root/services', {
        gauges: { services: 12, in_vpp: 40, waiting: 1, refused: 0, drift: 2 },
        restarts: { total: 3, inWindow: 1, lastReason: 'crash', lastAt: NOW_MS },
      }),
      sampleNode('root/bgp-session', { gauges: { peers: 2, established: 1, paths: 3, routes: 9 } }),
      sampleNode('root/policies', { gauges: { in_vpp: 30, waiting: 0, refused: 1 } }),
      sampleNode('root/felix', { gauges: { streams: 2, in_sync: true, told: 5 } }),
      sampleNode('root/cni', { gauges: { pods: 2, held: 1, deleting: 0 }, children: pods }),
    ],
  });
}

const pods = [
  podNode(1, 'default/web-0 eth0', 3),
  podNode(2, 'other/db "1" eth0', 5),
  podNode(3, 'no/vpp eth0', -1),
];

interface World {
  readonly settings?: Partial<ScraperSettings>;
  readonly pods?: readonly ShownNode[];
  readonly segment?: Buffer;
}

function world(t: Test, { settings = {}, pods: of = pods, segment = segmentOf(node_content) }: World = {}) {
  const clock = new TurnedClock();
  const state = {
    pid: 100,
    silent_ms: 10,
    vpp_ok: true,
    is_live: true,
    answers: {} as Partial<Record<Question['type'], Outcome>>,
    startup: 'cnat {\n  # session-max 1\n  session-max 2048\n}' as string | undefined,
  };
  const asked: string[] = [];
  const counters = {
    actors: 5,
    asks: 0,
    told: 10,
    handled: 9,
    deadLetters: 2,
    overflows: 0,
    crashes: 3,
    abandoned: 1,
    late: 0,
    transitions: 20,
  };
  const source: Source = {
    section: (name: SectionName) => {
      const sections: Partial<Record<SectionName, unknown>> = {
        health: {
          conditions: [{ name: 'vpp', ok: state.vpp_ok, since_ms: NOW_MS, reason: '' }],
          started: true,
        },
        tree: { tree: treeOf(state.pid, of), counters },
        runtime: {
          heap: { used_bytes: 1000, total_bytes: 2000, limit_bytes: 4000 },
          gc: { count: 2, total_ms: 30, max_ms: 20 },
          loop_delay_seconds: histogram,
        },
      };
      return { taken_at: NOW_MS, value: sections[name] } as never;
    },
    silent_ms: () => state.silent_ms,
    ask: async (question) => {
      asked.push(question.type);
      return (
        state.answers[question.type] ?? {
          ok: true,
          text: texts[question.type] ?? 'null',
        }
      );
    },
    stats: { retries: 0, read: async () => ({ ok: false, reason: 'VPP does not run', is_dead: true }) },
    config: '{}',
    facts: {
      node_name: 'node1',
      version: '1.2.3',
      uplinks: [{ name: 'eth0', driver: 'af_packet' }],
      pods_max: 110,
    },
    openFiles: () => undefined,
    process: () => ({ rss_bytes: 5e7, open_files: 40, cpu_s: 1.5 }),
    wall_ms: () => clock.wall_ms(),
  };
  let opened = 0;
  const stats = new StatsReader({
    clock,
    open: (pid) => {
      if (!state.is_live) throw Object.assign(new Error('gone'), { code: 'ENOENT' });
      opened += 1;
      return {
        ...sourceOf(segment),
        pid,
        get isLive() {
          return state.is_live;
        },
        close: () => undefined,
      };
    },
  });
  const scraper = new Scraper(
    {
      source,
      stats,
      startupFile: () => state.startup,
      clock,
      node_version: '20.20.0',
      started_s: 1_893_456_000,
    },
    { per_worker: false, ...settings },
  );
  const scrape = async (format: 'text' | 'openmetrics' = 'text', lint = true) => {
    const { body } = await scraper.scrape(format);
    const parsed = parse(body, format, lint);
    t.strictSame(parsed.faults, []);
    const of = (name: string, labels: Record<string, string> = {}) =>
      parsed.series.find(
        (each) =>
          each.name === name && Object.entries(labels).every(([label, text]) => each.labels[label] === text),
      )?.value;
    return { body, ...parsed, of };
  };
  return { clock, state, asked, scrape, opened: () => opened };
}

t.test('the whole answer is what it was', async (t) => {
  const { scrape } = world(t);
  const { body } = await scrape();
  if (process.env.WRITE_GOLDEN) writeFileSync(golden, body);
  t.equal(body, readFileSync(golden, 'utf8'));
});

t.test(
  'every metric of the catalog has a name that says its unit, and the world above has nearly all',
  async (t) => {
    const { types } = await world(t).scrape();
    const missing = [...definitions.keys()].filter((name) => !types.has(name));
    t.strictSame(missing, [
      'calicovpp_routes',
      'calicovpp_routes_in_vpp',
      'calicovpp_routes_waiting',
      'calicovpp_routes_refused',
      'calicovpp_tunnels',
      'calicovpp_kube_news_waiting',
    ]);
    for (const name of types.keys()) t.ok(definitions.has(name), name);
  },
);

t.test(
  'real segments: an idle VPP, and one with a worker, fifty interfaces and twenty deleted',
  async (t) => {
    for (const name of ['idle', 'after-deletes']) {
      const source = unpackSegment(readFileSync(repository(`test/stats/fixtures/${name}.gz`)));
      const header = readHeader(source);
      if (typeof header === 'string') throw new Error(header);
      const view = new SegmentView(source, header);
      const samples = new Samples();
      const context = { pods: new Map(), per_worker: false };
      addSegment(view, context, samples);
      const legacy = legacyFamilies(view, context, 'cni.projectcalico.vpp.');
      t.strictSame(view.faults, { count: 0, first: [] });
      const { body } = await exposition([...samples.families(), ...legacy], 'text');
      t.strictSame(parse(body).faults, []);
      const kept = repository(`test/metrics/fixtures/${name}.txt`);
      if (process.env.WRITE_GOLDEN) writeFileSync(kept, body);
      t.equal(body, readFileSync(kept, 'utf8'), name);
    }
  },
);

t.test('interfaces', async (t) => {
  await t.test('are summed over the threads, and named by their pods', async (t) => {
    const { of, series } = await world(t).scrape();
    const web = { interface: 'tun1', kind: 'pod', namespace: 'default', pod: 'web-0', pod_interface: 'eth0' };
    t.equal(of('calicovpp_interface_rx_packets_total', web), 7);
    t.equal(of('calicovpp_interface_rx_bytes_total', web), 700);
    t.equal(
      of('calicovpp_interface_rx_packets_total', { interface: 'host-eth0', kind: 'uplink', pod: '' }),
      30,
    );
    t.equal(of('calicovpp_interface_tx_errors_total', { interface: 'tap0', kind: 'tap' }), 8);
    const of_pod = series.filter(({ labels }) => labels.pod === 'web-0');
    t.equal(of_pod.length, 10, 'ten series a pod');
    t.notOk(series.some(({ labels }) => labels.interface === 'deleted'));
    t.notOk(series.some(({ labels }) => 'worker' in labels && 'interface' in labels));
  });

  await t.test('have a series for each thread where that is asked for', async (t) => {
    const { of } = await world(t, { settings: { per_worker: true } }).scrape();
    t.equal(of('calicovpp_interface_rx_packets_total', { interface: 'host-eth0', worker: '0' }), 10);
    t.equal(of('calicovpp_interface_rx_packets_total', { interface: 'host-eth0', worker: '1' }), 20);
  });

  await t.test('that are gone leave nothing; a thousand come and go', async (t) => {
    const many = Array.from({ length: 1000 }, (_, i) => `tun${i}`);
    const rx: EntryContent = { combined: [many.map((_, i) => [i, i] as const)] };
    const at = (names: readonly string[]): Buffer =>
      segmentOf(
        {
          entries: [
            ['/if/names', { names }],
            ['/if/rx', rx],
          ],
        },
        2 ** 20,
      );
    const before = (await world(t, { segment: at([]), pods: [] }).scrape()).series.length;
    const during = (await world(t, { segment: at(many), pods: [] }).scrape()).series.length;
    const after = (await world(t, { segment: at(many.map(() => 'deleted')), pods: [] }).scrape()).series
      .length;
    t.equal(during, before + 2000);
    t.equal(after, before);
  });

  await t.test('beyond the limit are counted, and have no series', async (t) => {
    const names = Array.from({ length: interfaces_max + 5 }, (_, i) => `tun${i}`);
    const segment = segmentOf(
      {
        entries: [
          ['/if/names', { names }],
          ['/if/drops', { simple: [[]] }],
        ],
      },
      2 ** 20,
    );
    const { of, series } = await world(t, { segment, pods: [] }).scrape();
    t.equal(of('calicovpp_interfaces_unshown'), 5);
    t.equal(series.filter(({ name }) => name === 'calicovpp_interface_drops_total').length, interfaces_max);
  });
});

t.test('errors are those that are not 0, by node and reason', async (t) => {
  const { of, series } = await world(t).scrape();
  t.equal(of('calicovpp_vpp_errors_total', { node: 'ip4-input', reason: 'ip4 ttl <= 1' }), 11);
  t.equal(of('calicovpp_snat_exhausted_total'), 2);
  t.notOk(series.some(({ labels }) => labels.reason === 'never'));
});

t.test('new connections of services', async (t) => {
  const { scrape, state, clock } = world(t);
  const first = await scrape();
  t.equal(first.of('calicovpp_service_new_connections_total', { namespace: 'shop', service: 'web' }), 8);
  t.equal(first.of('calicovpp_services_unshown'), 0);
  t.equal(first.series.filter(({ name }) => name === 'calicovpp_service_new_connections_total').length, 1);

  state.answers.serviceNames = { ok: false, reason: 'late', timeout: true };
  await clock.advance(cached_ms);
  const without = await scrape();
  t.equal(without.of('calicovpp_service_new_connections_total'), undefined, 'whose they are is not known');
  t.equal(without.of('calicovpp_vpp_up'), 1);
  state.answers = {};
  await clock.advance(cached_ms);
  t.equal((await scrape()).of('calicovpp_service_new_connections_total', { service: 'web' }), 8);

  state.answers.serviceNames = { ok: true, text: JSON.stringify({ ...names, pid: 99 }) };
  const { scrape: other, state: of_other } = world(t);
  of_other.answers = state.answers;
  t.equal(
    (await other()).of('calicovpp_service_new_connections_total', { service: 'web' }),
    undefined,
    'ids of another VPP are not taken for those of this one',
  );
});

t.test('a heap is told once, by its name', async (t) => {
  const { series, of } = await world(t).scrape();
  t.equal(of('calicovpp_vpp_heap_bytes', { heap: 'main heap', kind: 'used' }), 400);
  t.equal(series.filter(({ name }) => name === 'calicovpp_vpp_heap_bytes').length, 3);
});

t.test('while VPP is dead', async (t) => {
  const { scrape, state, clock } = world(t, { settings: { legacy_prefix: 'cni.projectcalico.vpp.' } });
  t.equal((await scrape('text', false)).of('calicovpp_vpp_up'), 1);
  state.is_live = false;
  await clock.advance(cached_ms);
  const during = await scrape('text', false);
  t.equal(during.of('calicovpp_vpp_up'), 0, 'whatever the main thread still believes');
  t.equal(during.of('calicovpp_scrape_stale', { source: 'stats' }), 1);
  t.equal(during.of('process_cpu_seconds_total'), 1.5);
  const of_vpp =
    /^(calicovpp_(interface|vpp_(buffers|heap|errors|boot|vector)|cnat_sessions)|cni_projectcalico)/;
  t.strictSame(
    during.series.filter(({ name }) => of_vpp.test(name)),
    [],
    'nothing old is told as new',
  );
  t.ok(during.of('calicovpp_scrape_seconds')! < 1);
  state.pid = 101;
  state.is_live = true;
  await clock.advance(cached_ms);
  const after = await scrape('text', false);
  t.equal(after.of('calicovpp_vpp_up'), 1);
  t.equal(after.of('calicovpp_scrape_stale', { source: 'stats' }), 0);
});

t.test('VPP that is there and does not answer is down, and its counters are shown', async (t) => {
  const { scrape, state } = world(t);
  state.vpp_ok = false;
  const { of } = await scrape();
  t.equal(of('calicovpp_vpp_up'), 0);
  t.equal(of('calicovpp_ready'), 0);
  t.equal(of('calicovpp_interfaces'), 5);
});

t.test('a main loop that is blocked is not waited for', async (t) => {
  const { scrape, state, asked } = world(t);
  state.silent_ms = 5000;
  const { of, series } = await scrape();
  t.strictSame(asked, []);
  t.equal(of('calicovpp_main_loop_blocked_seconds'), 5);
  t.equal(of('calicovpp_ready'), 0);
  t.equal(of('calicovpp_scrape_stale', { source: 'figures' }), 1);
  t.equal(of('calicovpp_interface_drops_total', { interface: 'host-eth0' }), 2, 'VPP is read without it');
  t.equal(of('calicovpp_actor_handling_seconds', { path: 'root/vpp/vpp-connection' }), 1.5);
  t.notOk(series.some(({ name }) => name === 'calicovpp_vpp_api_requests_total'));
});

t.test('actors of pods have no series of their own', async (t) => {
  const { series, of } = await world(t).scrape();
  t.notOk(series.some(({ labels }) => labels.path?.includes('netns')));
  t.equal(of('calicovpp_actors', { state: 'running' }), 11);
  t.equal(of('calicovpp_actor_up', { path: 'root/vpp/vpp-connection' }), 1);
  t.equal(of('calicovpp_actor_restarts_total', { path: 'root/services' }), 3);
});

t.test('several that scrape at once cost what one costs', async (t) => {
  const { scrape, asked, clock } = world(t);
  await Promise.all([scrape(), scrape('openmetrics'), scrape()]);
  t.strictSame(asked, ['refresh', 'figures', 'serviceNames']);
  await clock.advance(cached_ms);
  await scrape();
  t.equal(asked.length, 6);
});

t.test('OpenMetrics has the same, and ends as it should', async (t) => {
  const { scrape, clock } = world(t, { settings: { legacy_prefix: 'cni.projectcalico.vpp.' } });
  const text = await scrape('text', false);
  await clock.advance(0);
  const open = await scrape('openmetrics', false);
  t.strictSame(open.series, text.series);
  t.equal(open.types.get('calicovpp_interface_drops'), 'counter');
  t.equal(open.types.get('cni_projectcalico_vpp_drops'), 'unknown', 'its name stays');
  t.equal(formatFor('application/openmetrics-text;version=1.0.0,text/plain;q=0.5'), 'openmetrics');
  t.equal(formatFor('*/*'), 'text');
});

t.test('the names of the Go implementation', async (t) => {
  const { scrape } = world(t, { settings: { legacy_prefix: 'cni.projectcalico.vpp.' } });
  const { of, types, series } = await scrape('text', false);
  const web = {
    worker: '1',
    namespace: 'default',
    podName: 'web-0',
    podInterfaceName: 'eth0',
    vppInterfaceName: 'tun1',
  };
  t.equal(of('cni_projectcalico_vpp_rx_packets', web), 4);
  t.equal(of('cni_projectcalico_vpp_rx_bytes', { ...web, worker: '0' }), 300);
  t.equal(of('cni_projectcalico_vpp_rx_no_buf', { vppInterfaceName: 'host-eth0', podName: '' }), 4);
  t.equal(of('cni_projectcalico_vpp_session_sessions_total'), 3);
  t.equal(types.get('cni_projectcalico_vpp_session_sessions_total'), 'gauge');
  t.equal(of('cni_projectcalico_vpp_session_sessions_per_worker', { worker: '1' }), 2);
  t.equal(of('cni_projectcalico_vpp_tcp_timer_expirations', { worker: '0' }), 7);
  t.equal(of('cni_projectcalico_vpp_tcp4_input_syns_rcvd', { worker: '1' }), 6);
  t.notOk(types.has('cni_projectcalico_vpp_tcp'));
  t.notOk(series.some(({ labels }) => labels.vppInterfaceName === 'deleted'));
  t.equal(legacyName('7.', 'rx'), '_7_rx');
  const none = await world(t).scrape();
  t.notOk([...none.types.keys()].some((name) => name.startsWith('cni_projectcalico')));
});

t.test('five hundred interfaces are gathered and written in little time', async (t) => {
  const names = Array.from({ length: 500 }, (_, i) => `tun${i}`);
  const counters = names.map((_, i) => i);
  const pairs = names.map((_, i) => [i, i] as const);
  const bytes = segmentOf(
    {
      entries: [
        ['/if/names', { names }],
        ['/if/rx', { combined: [pairs, pairs] }],
        ['/if/tx', { combined: [pairs, pairs] }],
        ...['drops', 'punt', 'rx-no-buf', 'rx-miss', 'rx-error', 'tx-error'].map(
          (name) => [`/if/${name}`, { simple: [counters, counters] }] as const,
        ),
      ],
    },
    2 ** 20,
  );
  const source = sourceOf(bytes);
  const context = {
    pods: new Map(names.map((_, i) => [i, { namespace: 'ns', pod: `pod-${i}`, interface: 'eth0' }])),
    per_worker: false,
  };
  const once = async (): Promise<number> => {
    const began = process.cpuUsage();
    const view = new SegmentView(
      source,
      readHeader(source) as Exclude<ReturnType<typeof readHeader>, string>,
    );
    const samples = new Samples();
    addSegment(view, context, samples);
    const { body } = await exposition(
      [...samples.families(), ...legacyFamilies(view, context, 'x_')],
      'text',
    );
    t.ok(body.length > 500_000);
    const { user, system } = process.cpuUsage(began);
    return (user + system) / 1000;
  };
  const times: number[] = [];
  for (let i = 0; i < 5; i += 1) times.push(await once());
  t.comment(`${times.map((ms) => ms.toFixed(0)).join(' ')} ms of CPU`);
  t.ok(Math.min(...times) < 250);
});

t.test('a label that is hostile stays a label', async (t) => {
  const samples = new Samples();
  samples.add('calicovpp_vpp_errors_total', 1, {
    node: 'a"b\\c\nd{}',
    reason: 'x'.repeat(1000),
    other: 'no',
  });
  samples.add('calicovpp_vpp_errors_total', 2, { node: 'a"b\\c\nd{}', reason: 'x'.repeat(1000) });
  samples.add('calicovpp_vpp_up', Number.NaN);
  const { body } = await exposition(samples.families(), 'text');
  const { series, faults } = parse(body, 'text', true);
  t.strictSame(faults, []);
  t.strictSame(series, [
    {
      name: 'calicovpp_vpp_errors_total',
      labels: { node: 'a"b\\c\nd{}', reason: 'x'.repeat(256) },
      value: 1,
    },
  ]);
});

t.test('the strict reader sees what is wrong', async (t) => {
  const head = '# HELP a_total x\n# TYPE a_total counter\n';
  for (const [body, fault] of [
    ['a 1\n', /no TYPE/],
    [`${head}a_total 1\na_total 2\n`, /twice/],
    [`${head}a_total{b="c"} 1\na_total{b="c"} 2\n`, /twice/],
    [`${head}${head}`, /HELP twice/],
    [`${head}a_total{b=c} 1\n`, /no sample/],
    [`${head}a_total x\n`, /no sample/],
    [`${head}a_total -1\n`, /less than nothing/],
    ['# HELP a x\n# TYPE a counter\na 1\n', /counter and _total/],
    [
      '# HELP h x\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n',
      /counts fall/,
    ],
    ['# HELP h x\n# TYPE h histogram\nh_bucket{le="1"} 1\nh_sum 1\nh_count 1\n', /no bucket \+Inf/],
    ['# HELP a x\n# TYPE a gauge\na 1', /no end/],
  ] as const)
    t.match(parse(body, 'text', true).faults.join('\n'), fault, body);
});

t.test('the middle of a bucket stands for what is in it', async (t) => {
  const { count, sum_seconds, buckets } = apiHistogram(api);
  t.equal(count, 5);
  t.equal(sum_seconds.toFixed(6), ((3 * 96 + 2 * 12_288) / 1e6).toFixed(6));
  t.strictSame(buckets.slice(0, 3), [
    [0.000_016, 0],
    [0.000_064, 0],
    [0.000_256, 3],
  ]);
});

t.test('requests of the CNI plugin are counted by how they end', async (t) => {
  const clock = new TurnedClock();
  const counts = new CniCounts(clock);
  const handlers = counts.counted({
    add: async (request) => {
      await clock.sleep(20);
      if (request.interfaceName === 'bad') throw new Error('no');
      return { successful: request.interfaceName === 'eth0' };
    },
    del: async () => ({ successful: true }),
  });
  const call = { deadline_ms: 0, signal: new AbortController().signal };
  const ends = ['eth0', 'eth1', 'bad'].map((interfaceName) =>
    handlers.add({ interfaceName } as never, call).catch((error: Error) => error.message),
  );
  await clock.advance(20);
  t.equal((await Promise.all(ends))[2], 'no');
  await handlers.del({} as never, call);
  t.match(counts.figures(), [
    { op: 'add', results: { ok: 1, refused: 1, failed: 1 }, seconds: { count: 3, sum_seconds: 0.06 } },
    { op: 'del', results: { ok: 1, refused: 0, failed: 0 }, seconds: { count: 1 } },
  ]);
});

t.test(
  'what the main thread is asked for: each part by itself, without the actor that is busy',
  async (t) => {
    const sync = new SyncReports();
    sync.set('cluster', () => figures.kinds);
    sync.set('bgp', () => {
      throw new Error('a report that fails');
    });
    const described: Record<string, unknown> = {
      'root/vpp/vpp-connection': { api: { prompt: api, operations: 7 }, quarantined: ['a pod'] },
      'root/vpp/vpp-process': { deaths: { SIGSEGV: 1 } },
    };
    const asked: (readonly [string, number])[] = [];
    const answer = await figuresOf(
      {
        root: { path: 'root' } as never,
        describe: async (path, within_ms) => {
          asked.push([path, within_ms]);
          if (described[path] === undefined) throw new Error('busy');
          return described[path];
        },
        handleTimes: (of) => ['root', 'root/cni/pod'].filter(of).map((path) => ({ path, ...histogram })),
      },
      sync,
      new CniCounts(new TurnedClock()),
    );
    t.ok(asked.every(([, within_ms]) => within_ms < 400));
    t.match(answer, {
      handle: [{ path: 'root' }],
      api: { prompt: { waiting: 2 } },
      quarantined: 1,
      deaths: { SIGSEGV: 1 },
      kinds: { Service: { objects: 12 } },
    });
    t.equal(answer.handle.length, 1, 'actors of pods are not among them');
    t.strictSame(Object.keys(answer.api ?? {}), ['prompt']);
    t.strictSame(
      [answer.services, answer.bgp_peers],
      [undefined, undefined],
      'a part that cannot be had costs no other',
    );
  },
);

t.test('the room for sessions is that of the start-up file', async (t) => {
  t.equal(sessionMax('unix { nodaemon }\ncnat {\n session-max 1048576 maglev-len 10007 }'), 1_048_576);
  t.equal(sessionMax('cnat { maglev-len 10007 }'), undefined);
  t.equal(sessionMax('unix { session-max 7 }'), undefined);
  t.equal(sessionMax(undefined), undefined);
});

t.test('the manual has each metric, as it is', async (t) => {
  const manual = readFileSync(repository('docs/metrics.md'), 'utf8');
  for (const part of catalogText().split('\n\n')) t.ok(manual.includes(part), part.slice(0, 60));
});

/** Metrics that a query names: all names that are followed by neither a bracket of a function nor stand for a label. */
function namesIn(query: string): string[] {
  return [...query.matchAll(/\b((?:calicovpp|process|kubeproxy)_[a-z0-9_]+)\b/g)].map(
    ([, name = '']) => name,
  );
}

const isMetric = (name: string): boolean =>
  definitions.get(name) !== undefined ||
  definitions.get(name.replace(/_(bucket|sum|count)$/, ''))?.type === 'histogram';

const promtool = missing('promtool');

t.test(
  'promtool takes the rules, and the queries of the dashboard',
  promtool ? { skip: promtool } : {},
  async (t) => {
    const check = (file: string): void => {
      const { status, stdout, stderr } = spawnSync('promtool', ['check', 'rules', file], {
        encoding: 'utf8',
      });
      t.equal(status, 0, `${stdout}${stderr}`);
    };
    check(fileURLToPath(repository('deploy/monitoring/alerts.yaml')));
    const dashboard = readFileSync(repository('deploy/monitoring/dashboard.json'), 'utf8');
    const { panels } = JSON.parse(dashboard) as { panels: { targets?: { expr: string }[] }[] };
    const rules = panels
      .flatMap(({ targets = [] }) => targets)
      .map(({ expr }, n) => ({ record: `query_${n}`, expr: expr.replaceAll('$__rate_interval', '5m') }));
    const directory = t.testdir({ 'rules.yaml': JSON.stringify({ groups: [{ name: 'queries', rules }] }) });
    check(join(directory, 'rules.yaml'));
  },
);

t.test('alerts and the dashboard name metrics that there are', async (t) => {
  const rules = readFileSync(repository('deploy/monitoring/alerts.yaml'), 'utf8');
  const dashboard = readFileSync(repository('deploy/monitoring/dashboard.json'), 'utf8');
  const panels = (JSON.parse(dashboard) as { panels: { title: string; targets?: { expr: string }[] }[] })
    .panels;
  const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  t.ok(queries.length >= 15);
  const alerts = [...rules.matchAll(/- alert: (\S+)/g)];
  t.ok(alerts.length >= 11);
  t.equal([...rules.matchAll(/^ +summary: \S/gm)].length, alerts.length, 'each says what it is');
  t.equal([...rules.matchAll(/^ +description: \S/gm)].length, alerts.length, 'and what to do');
  for (const text of [rules, ...queries]) {
    const names = namesIn(text);
    t.ok(names.length > 0, text.slice(0, 80));
    for (const name of names) t.ok(isMetric(name), name);
  }
});
