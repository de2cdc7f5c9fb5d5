import t from 'tap';
import type { Condition } from '../../src/debug/conditions.js';
import { maxOpenFiles, openFiles } from '../../src/debug/open-files.js';
import type { Outcome, Question, SectionName, Sections } from '../../src/debug/protocol.js';
import { respond, type Source, type Surface } from '../../src/debug/routes.js';
import { shownStats } from '../../src/debug/vpp-stats.js';
import type { Counters } from '../../src/supervision/types.js';
import { segmentOf, viewOf } from '../kit/stats-segment.js';
import { NOW_MS, sampleTree } from './sample.js';

const condition = (name: string, ok: boolean, reason = ''): Condition => ({
  name,
  ok,
  since_ms: NOW_MS,
  reason,
});
const all_good = [condition('vpp', true), condition('uplink', true), condition('policies', true)];

const counters: Counters = {
  actors: 7,
  asks: 0,
  told: 10,
  handled: 9,
  deadLetters: 0,
  overflows: 0,
  crashes: 4,
  abandoned: 0,
  late: 0,
  transitions: 20,
};

const sections: Sections = {
  health: { conditions: all_good, started: true },
  tree: { tree: sampleTree, counters },
  events: {
    events: [
      { at: NOW_MS, path: 'node/policies', incarnation: 4, kind: 'error', text: 'read\nECONNRESET' },
      { at: NOW_MS, path: 'node/vpp', incarnation: 1, kind: 'state', text: 'running' },
    ],
    omitted: 3,
  },
  errors: { 'node/policies': [{ at: NOW_MS, incarnation: 4, stack: 'Error: ECONNRESET' }] },
  sync: { felix: { in_sync: true } },
  runtime: {
    version: '1.2.3',
    node: '20',
    v8: '11',
    pid: 1,
    uptime_ms: 1,
    loop_delay_ms: { p50: 0, p99: 0, max: 0 },
    loop_delay_seconds: { count: 0, sum_seconds: 0, buckets: [] },
    gc: { count: 0, total_ms: 0, max_ms: 0 },
    heap: { used_bytes: 1, total_bytes: 1, limit_bytes: 1 },
    external_bytes: 0,
    handles: {},
  },
};

/** What the sample tree's VPP shows. */
const segment = viewOf(
  segmentOf({
    entries: [
      ['/if/rx', { combined: [[[1, 2]], [[3, 4]]] }],
      ['/if/names', { names: ['local0', undefined, 'tun4'] }],
      ['/net/route/to', { combined: [Array.from({ length: 300 }, () => [1, 1] as const)] }],
      ['/sys/vector_rate', { gauge: 9 }],
      ['/sys/delays', { histogram: [[4, 1, 2]] }],
      ['/sys/odd', { type: 77, raw: 0n }],
    ],
  }),
);

interface World {
  readonly sections?: Partial<Record<SectionName, unknown>>;
  /** Why a section could not be made. */
  readonly unreadable?: Partial<Record<SectionName, string>>;
  readonly silent_ms?: number;
  readonly answers?: Partial<Record<Question['type'], Outcome>>;
}

function world({ sections: other = {}, unreadable = {}, silent_ms = 10, answers = {} }: World = {}) {
  const asked: Question[] = [];
  const source: Source = {
    section: (name) => {
      const error = unreadable[name];
      const content = error === undefined ? { value: other[name] ?? sections[name] } : { error };
      return { taken_at: NOW_MS - 500, ...content } as never;
    },
    silent_ms: () => silent_ms,
    ask: async (question) => {
      asked.push(question);
      return answers[question.type] ?? { ok: true, text: 'null' };
    },
    stats: {
      retries: 2,
      read: async (pid, pick) => {
        if (pid !== 412) return { ok: false, reason: `process ${pid} has no stats segment`, is_dead: false };
        const faults = { count: 0, first: [] };
        return { ok: true, value: pick(segment), epoch: 7, took_ms: 1, read_bytes: 9, faults };
      },
    },
    config: '{"config":{"node_name":"node1"}}',
    facts: {
      node_name: 'node1',
      version: '1.2.3',
      uplinks: [{ name: 'eth0', driver: 'dpdk' }],
      pods_max: 110,
    },
    openFiles: (pid) => (pid === 412 ? { open: 41, max: 1024 } : undefined),
    process: () => ({ rss_bytes: 1 }),
    wall_ms: () => NOW_MS,
  };
  async function get(url: string, more: { method?: string; accept?: string; surface?: Surface } = {}) {
    const { method = 'GET', accept = '', surface = 'debug' } = more;
    const answer = await respond({ method, url, accept }, surface, source);
    const value = answer.type === 'application/json' ? JSON.parse(answer.body) : undefined;
    return { ...answer, value };
  }
  return { get, asked };
}

t.test('probes: which state of the node gives which answer', async (t) => {
  const not_ready = [condition('vpp', true), condition('uplink', false, 'no address')];
  const table: [string, World, string, number, string][] = [
    ['all is well', {}, '/livez', 200, 'OK'],
    ['all is well', {}, '/readyz', 200, 'Ready'],
    ['all is well', {}, '/startupz', 200, 'OK'],
    [
      'a condition does not hold',
      { sections: { health: { conditions: not_ready, started: true } } },
      '/readyz',
      503,
      'Not ready: uplink: no address',
    ],
    [
      'not ready is not unhealthy',
      { sections: { health: { conditions: not_ready, started: false } } },
      '/livez',
      200,
      'OK',
    ],
    [
      'never ready yet',
      { sections: { health: { conditions: not_ready, started: false } } },
      '/startupz',
      503,
      'Not started: started: has not been ready yet: uplink: no address',
    ],
    [
      'ready before, not now',
      { sections: { health: { conditions: not_ready, started: true } } },
      '/startupz',
      200,
      'OK',
    ],
    ['blocked for a while', { silent_ms: 9000 }, '/livez', 200, 'OK'],
    [
      'blocked for too long',
      { silent_ms: 10_500 },
      '/livez',
      503,
      'Unhealthy: main-loop: the main loop has been blocked for 10 s',
    ],
    [
      'blocked for too long',
      { silent_ms: 10_500 },
      '/readyz',
      503,
      'Not ready: main-loop: the main loop has been blocked for 10 s',
    ],
    [
      'the root has given up',
      { sections: { health: { conditions: all_good, started: true, failed: 'vpp keeps dying' } } },
      '/livez',
      503,
      'Unhealthy: supervisor: vpp keeps dying',
    ],
    [
      'the conditions could not be published',
      { unreadable: { health: 'oops' } },
      '/readyz',
      503,
      'Not ready: conditions: the readiness conditions cannot be read',
    ],
    ['the conditions could not be published', { unreadable: { health: 'oops' } }, '/livez', 200, 'OK'],
    ['older names', {}, '/liveness', 200, 'OK'],
    ['older names', {}, '/readiness', 200, 'Ready'],
  ];
  for (const [what, state, path, status, body] of table) {
    for (const surface of ['health', 'debug'] as const) {
      const answer = await world(state).get(path, { surface });
      t.equal(answer.status, status, `${what}: ${path}`);
      t.equal(answer.body, `${body}\n`, `${what}: ${path}`);
    }
  }
});

t.test('a verbose probe has a line for each check, and checks can be left out', async (t) => {
  const { get } = world({
    sections: {
      health: { conditions: [condition('vpp', false, 'down'), condition('cni', true)], started: true },
    },
  });
  const { status, body } = await get('/readyz?verbose&exclude=vpp&exclude=bgp');
  t.equal(status, 200);
  t.equal(
    body,
    `\
[+]main-loop ok
[+]supervisor ok
[+]vpp excluded: ok
[+]cni ok since 2030-01-01T00:00:00.000Z
warn: no check is called bgp
Ready
`,
  );
  t.match((await get('/readyz?verbose')).body, '[-]vpp failed since 2030-01-01T00:00:00.000Z: down');
});

t.test('/status keeps the fields of the Go implementation and adds the node at a glance', async (t) => {
  const { status, value } = await world().get('/status');
  t.equal(status, 200);
  t.match(value, {
    healthy: true,
    ready: true,
    message: 'Ready',
    lastUpdate: '2029-12-31T23:59:59.500Z',
    components: {
      vpp: { initialized: true, message: '', updatedAt: '2030-01-01T00:00:00.000Z' },
      'vpp-manager': { initialized: true },
      felix: { initialized: true },
      agent: { initialized: true },
    },
    node: 'node1',
    version: '1.2.3',
    uptime_ms: 74 * 3_600_000,
    vpp: { pid: 412, version: '26.10', generation: 2, files: { open: 41, max: 1024 } },
    uplinks: [{ name: 'eth0', driver: 'dpdk' }],
    pods: { count: 1, max: 110 },
    actors: { running: 6, backoff: 1 },
    troubled: [{ path: 'node/policies', state: 'backoff' }],
  });
  t.strictSame(Object.keys(value).slice(0, 5), ['healthy', 'ready', 'components', 'message', 'lastUpdate']);
  t.strictSame(Object.keys(value.components), ['vpp', 'vpp-manager', 'felix', 'agent']);

  const down = await world({
    sections: { health: { conditions: [condition('policies', false, 'Felix is silent')], started: true } },
  }).get('/status');
  t.equal(down.status, 503);
  t.match(down.value, {
    healthy: true,
    ready: false,
    message: 'policies: Felix is silent',
    components: {
      vpp: { initialized: true },
      felix: { initialized: false, message: 'policies: Felix is silent' },
    },
  });

  const unreadable = await world({ unreadable: { tree: 'x', health: 'x' } }).get('/status');
  t.equal(unreadable.status, 503, 'a status without a tree is a status');
});

t.test('open files of a process', async (t) => {
  t.match(openFiles(process.pid), { open: Number, max: Number });
  t.equal(openFiles(2 ** 22 + 1), undefined, 'there is none');
  const limits = (soft: string): string =>
    `Limit                     Soft Limit           Hard Limit           Units\nMax open files            ${soft}                 1048576              files\n`;
  t.equal(maxOpenFiles(limits('1024')), 1024);
  t.equal(maxOpenFiles(limits('unlimited')), Number.MAX_SAFE_INTEGER);
  t.equal(maxOpenFiles('nothing'), undefined);
});

t.test('/debug/tree filters, as JSON or text, and refuses filters that it does not know', async (t) => {
  const { get, asked } = world();
  const { value } = await get('/debug/tree?state=backoff,failed&depth=3');
  t.match(value, {
    main_loop: { blocked_ms: 0 },
    as_of: '2029-12-31T23:59:59.500Z',
    counters: { crashes: 4 },
  });
  t.strictSame(
    value.tree.children.map(({ path }: { path: string }) => path),
    ['node/policies'],
  );
  t.strictSame(asked, [{ type: 'refresh', sections: ['tree'] }]);

  const text = await get('/debug/tree?min_mailbox=3', { accept: 'text/plain, */*' });
  t.equal(text.type, 'text/plain; charset=utf-8');
  t.match(text.body, /^node .*\n└─ cni .*\n {3}└─ pod\/a .*\n$/);

  t.match(await get('/debug/tree?depth=x'), {
    status: 400,
    value: { error: 'depth=x is not a whole number' },
  });
  t.match(await get('/debug/tree?state=dead'), {
    status: 400,
    value: { error: /dead is not a state.*backoff/ },
  });
});

t.test('while the main loop is blocked, answers come from what was published, and say so', async (t) => {
  const { get, asked } = world({ silent_ms: 3200.4 });
  t.match((await get('/debug/tree')).value, {
    main_loop: { blocked_ms: 3200 },
    tree: { children: [{ path: 'node/vpp' }] },
  });
  t.match(
    (await get('/debug/tree', { accept: 'text/plain' })).body,
    /^the main loop has been blocked for 3200 ms;/,
  );
  t.match((await get('/debug/actor/node/policies')).value, {
    state: 'backoff',
    events: [{ kind: 'error' }],
    errorLog: [{ stack: 'Error: ECONNRESET' }],
  });
  t.match((await get('/debug/sync')).value, { sync: { felix: { in_sync: true } } });
  t.match((await get('/status')).value, { main_loop: { blocked_ms: 3200 } });
  t.strictSame(asked, [], 'nobody waits for the main thread');
});

t.test('/debug/actor answers from the main thread, and children are paths', async (t) => {
  const details = { ...sampleTree.children[0], events: [{ kind: 'state' }], errorLog: [] };
  const { get, asked } = world({ answers: { node: { ok: true, text: JSON.stringify(details) } } });
  const { status, value } = await get('/debug/actor/vpp');
  t.equal(status, 200);
  t.match(value, { path: 'node/vpp', children: ['node/vpp/vpp-process', 'node/vpp/vpp-connection'] });
  t.match(asked.at(-1), { type: 'node', path: 'node/vpp' });
  t.match((await get('/debug/actor/cni/pod%2Fa')).status, 200, 'names may hold a slash');
  t.match(await get('/debug/actor/nobody'), {
    status: 404,
    value: { error: 'no actor lives at nobody', actors: ['node', 'node/vpp', 'node/policies', 'node/cni'] },
  });
});

t.test(
  'an actor that does not describe itself in time: the time-out and what it is busy with are the answer',
  async (t) => {
    const late = world({
      answers: { describe: { ok: false, reason: 'no answer within 500 ms', timeout: true } },
    });
    t.match(await late.get('/debug/actor/cni/pod/a/state'), {
      status: 504,
      value: {
        path: 'node/cni/pod/a',
        error: /did not describe itself in time/,
        actor: { state: 'running', mailbox: { depth: 3 }, currentHandler: { type: 'Add', ms: 4100 } },
      },
    });
    const full = world({ answers: { describe: { ok: false, reason: 'mailbox is full', timeout: false } } });
    t.match(await full.get('/debug/actor/cni/pod/a/state'), {
      status: 503,
      value: { error: 'mailbox is full' },
    });
    const good = world({ answers: { describe: { ok: true, text: '{"routes":2}' } } });
    t.match(await good.get('/debug/actor/cni/pod/a/state'), { status: 200, value: { state: { routes: 2 } } });
  },
);

t.test('the rest of the paths', async (t) => {
  const { get } = world({ answers: { vppApi: { ok: true, text: '{"in_flight":0}' } } });
  t.match((await get('/debug/vpp/api')).value, { vpp: { in_flight: 0 } });
  const services = world({ answers: { services: { ok: true, text: '{"service_count":2}' } } });
  t.match((await services.get('/debug/services?service=a/b&dump')).value, { service_count: 2 });
  t.strictSame(services.asked, [{ type: 'services', question: { dump: true, service: 'a/b' } }]);
  const policies = world({ answers: { policies: { ok: true, text: '{"interface_count":2}' } } });
  t.match((await policies.get('/debug/policies?of=a/b')).value, { interface_count: 2 });
  t.match((await policies.get('/debug/policies')).value, { interface_count: 2 });
  t.strictSame(policies.asked, [
    { type: 'policies', question: { of: 'a/b' } },
    { type: 'policies', question: {} },
  ]);
  const late = world({ answers: { policies: { ok: false, reason: 'no actor', timeout: false } } });
  t.match(await late.get('/debug/policies'), { status: 503, value: { error: 'no actor' } });
  const lines = world({ answers: { services: { ok: true, text: '{"services":{},"service_count":0}' } } });
  t.equal(
    (await lines.get('/debug/services', { accept: 'text/plain' })).body,
    'SERVICE  STATE  ADDRESSES  BACK ENDS  REASON\n',
  );
  t.match((await get('/debug/events')).value, { omitted: 3, events: [{ path: 'node/policies' }, {}] });
  t.equal(
    (await get('/debug/events', { accept: 'text/plain' })).body,
    '(3 older events are not shown)\n' +
      '2030-01-01T00:00:00.000Z  node/policies#4  error  read ECONNRESET\n' +
      '2030-01-01T00:00:00.000Z  node/vpp#1  state  running\n',
  );
  t.match((await get('/debug/config')).value, { config: { node_name: 'node1' } });
  t.match((await get('/debug/runtime')).value, { version: '1.2.3', process: { rss_bytes: 1 } });
  const stuck = world({
    answers: { vppApi: { ok: false, reason: 'no answer within 2000 ms', timeout: true } },
  });
  t.match(await stuck.get('/debug/vpp/api'), { status: 504, value: { error: 'no answer within 2000 ms' } });
  const broken = world({ unreadable: { tree: 'x' } });
  t.match(await broken.get('/debug/tree'), { status: 503, value: { error: 'tree cannot be read: x' } });
});

t.test('only reading, only what exists, and outside the node only health', async (t) => {
  const { get } = world();
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    t.match(await get('/status', { method }), { status: 405, headers: { allow: 'GET, HEAD' } });
  }
  t.equal((await get('/livez', { method: 'HEAD' })).status, 200);

  const unknown = await get('/debug/nothing');
  t.equal(unknown.status, 404);
  t.ok(unknown.value.paths['/debug/tree']);
  t.equal((await get('/%zz')).status, 400);

  for (const path of ['/debug/tree', '/debug/config', '/debug/actor/node', '/debug/events']) {
    const { status, value } = await get(path, { surface: 'health' });
    t.equal(status, 404, path);
    t.notOk(Object.keys(value.paths).some((known) => known.startsWith('/debug')));
  }
});

t.test('figures of VPP, as far as they are asked for', async (t) => {
  const { get } = world();
  const all = await get('/debug/vpp/stats');
  t.match(all.value, { epoch: 7, pid: 412, retries: 2, entry_count: 6, matched: 6, omitted: 0 });
  t.strictSame(all.value.names.slice(0, 2), ['/if/names', '/if/rx']);
  t.notOk('entries' in all.value, 'values are not read unasked');
  t.strictSame((await get('/debug/vpp/stats?match=/if/')).value.entries, {
    '/if/names': { kind: 'names', names: ['local0', null, 'tun4'] },
    '/if/rx': { kind: 'combined', threads: [[[1, 2]], [[3, 4]]] },
  });
  t.strictSame((await get('/debug/vpp/stats?match=/sys/')).value.entries, {
    '/sys/delays': { kind: 'histogram', threads: [[1, 2]], min_exponents: [4] },
    '/sys/odd': null,
    '/sys/vector_rate': { kind: 'gauge', value: 9 },
  });
  const { '/net/route/to': routes } = (await get('/debug/vpp/stats?match=route')).value.entries;
  t.equal(routes.threads[0].length, 256, 'of a hundred thousand routes the first');
  t.equal(routes.length, 300, 'and how many there are');
  t.equal((await get(`/debug/vpp/stats?match=${'a'.repeat(129)}`)).status, 400);
  t.equal((await get('/debug/vpp/stats', { surface: 'health' })).status, 404);

  const no_vpp = world({ sections: { tree: { tree: { ...sampleTree, children: [] }, counters } } });
  t.match(await no_vpp.get('/debug/vpp/stats'), { status: 503, value: { error: /has no stats segment/ } });
});

t.test('an answer with figures has an end, whatever the segment has', async (t) => {
  const many = Array.from({ length: 1500 }, (_, n) => [`/err/${n}`, { simple: [[n]] }] as const);
  const few = shownStats(viewOf(segmentOf({ entries: many }, 2 ** 20)), '/err/');
  t.match(few, { matched: 1500, omitted: 500 });
  const wide = Array.from(
    { length: 300 },
    (_, n) => [`/a/${n}`, { simple: [new Array(256).fill(n)] }] as const,
  );
  const shown = shownStats(viewOf(segmentOf({ entries: wide }, 2 ** 21)), '/a/');
  t.ok(JSON.stringify(shown).length < 500_000);
  t.ok(shown.omitted > 90, `${shown.omitted}`);
});
