import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { freePort } from '../../lab/free-port.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import { type ActorSystem, type ChildSpec, createActorSystem } from '../../src/actor-system.js';
import { systemClock } from '../../src/clock.js';
import { type Config, loadConfig } from '../../src/config.js';
import { fetchDebug } from '../../src/debug/client.js';
import { conditionBoard } from '../../src/debug/conditions.js';
import { type DebugOptions, startDebug } from '../../src/debug/debug.js';
import type { Log } from '../../src/log.js';

const PSK = 'correct horse "battery"';

interface Line {
  readonly level: string;
  readonly fields: Record<string, unknown>;
  readonly text: string;
}

/** A log that a test can wait on. */
class Recorder implements Log {
  readonly lines: Line[] = [];
  #waiting: (() => void)[] = [];
  #taken = 0;

  #add(level: string, fields: object, text: string): void {
    this.lines.push({ level, fields: fields as Record<string, unknown>, text });
    for (const wake of this.#waiting.splice(0)) wake();
  }
  debug = (fields: object, text: string) => this.#add('debug', fields, text);
  info = (fields: object, text: string) => this.#add('info', fields, text);
  warn = (fields: object, text: string) => this.#add('warn', fields, text);
  error = (fields: object, text: string) => this.#add('error', fields, text);
  fatal = (fields: object, text: string) => this.#add('fatal', fields, text);
  child = () => this;

  /** The next line, not looked at yet, with this text. */
  async next(text: string): Promise<Line> {
    for (;;) {
      while (this.#taken < this.lines.length) {
        const line = this.lines[this.#taken]!;
        this.#taken += 1;
        if (line.text.includes(text)) return line;
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async ready(kind: 'unix' | 'tcp'): Promise<void> {
    for (;;) {
      const { fields } = await this.next('debug(listen) ready');
      if ((fields.address as { kind: string }).kind === kind) return;
    }
  }
}

/** Port 0: one that is free. */
function configIn(directory: string, health_port = 0): Config {
  const { config } = loadConfig({
    NODENAME: 'node1',
    CALICOVPP_RUN_DIR: directory,
    CALICOVPP_INTERFACES: '{"uplinkInterfaces":[{"interfaceName":"eth0"}]}',
    CALICOVPP_IPSEC_IKEV2_PSK: PSK,
  });
  return { ...config, health: { port: health_port, address: '127.0.0.1' } };
}

const child = (name: string, more: Partial<ChildSpec<never>> = {}): ChildSpec<never> => ({
  name,
  start: () => ({ receive: () => {} }),
  restart: 'temporary',
  shutdown_ms: 100,
  mailbox_max: 8,
  handler_ms_max: 60_000,
  ...more,
});

async function setUp(t: Test, more: Partial<DebugOptions> = {}, health_port = 0) {
  const directory = mkdtempSync(join(tmpdir(), 'debug-'));
  const log = new Recorder();
  const config = configIn(directory, health_port);
  const system: ActorSystem = createActorSystem({ name: 'node', clock: systemClock, log, escalated() {} });
  const board = conditionBoard(systemClock, ['vpp']);
  const debug = startDebug({
    config,
    system,
    conditions: () => board.list(),
    sync: () => ({ felix: 'in-sync' }),
    vppApi: async () => ({ in_flight: 0 }),
    services: async () => null,
    policies: async () => null,
    describe: (path) => system.describe(path, 500),
    clock: systemClock,
    log,
    ...more,
  });
  t.teardown(async () => {
    await debug.close();
    await system.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  const socket = config.paths.debug_socket;
  const get = (path: string, accept?: string) => fetchDebug(socket, path, accept);
  return { directory, log, config, system, board, debug, socket, get };
}

t.test('the socket belongs to its owner alone, is served, and goes when the server goes', async (t) => {
  const { log, socket, get, debug, board } = await setUp(t);
  await log.ready('unix');
  t.equal(statSync(socket).mode & 0o777, 0o600);
  t.match(JSON.parse((await get('/debug/tree')).body), {
    main_loop: { blocked_ms: 0 },
    tree: { path: 'node' },
  });
  t.equal((await get('/readyz')).status, 503);
  board.set('vpp', true, '');
  t.equal((await get('/readyz')).body, 'Ready\n', 'readiness is that of this moment');
  t.match(JSON.parse((await get('/debug/vpp/api')).body), { vpp: { in_flight: 0 } });
  t.match(JSON.parse((await get('/debug/sync')).body), { sync: { felix: 'in-sync' } });
  await debug.close();
  await debug.close();
  debug.publish();
  t.notOk(existsSync(socket));
  await t.rejects(get('/livez'), { name: 'DebugUnreachable', message: /there is no such socket/ });
});

t.test(
  'a socket file left behind is replaced; one that another process has put there is left alone',
  async (t) => {
    const { log, socket, get, debug, directory, config, system } = await setUp(t);
    await log.ready('unix');
    const second_log = new Recorder();
    const options = {
      config,
      system,
      conditions: () => [],
      sync: () => null,
      vppApi: async () => null,
      services: async () => null,
      policies: async () => null,
      describe: async () => null,
      clock: systemClock,
      log: second_log,
    };
    const second = startDebug(options);
    t.teardown(() => second.close());
    await second_log.ready('unix');
    await debug.close();
    t.equal((await get('/readyz')).status, 200, 'the second one answers, and has no conditions');
    await second.close();
    writeFileSync(join(directory, 'debug.sock'), 'left behind');
    const third = startDebug({ ...options, log: second_log });
    t.teardown(() => third.close());
    await second_log.ready('unix');
    t.ok(statSync(socket).isSocket());
  },
);

t.test('no path shows the pre-shared key, however it got there', async (t) => {
  const { log, get, system } = await setUp(t, {
    sync: () => ({ note: `psk is ${PSK}`, peers: [{ password: 'hidden-by-key' }] }),
    vppApi: async () => ({ args: PSK, crypto_key: Buffer.from('hidden-by-key') }),
  });
  await log.ready('unix');
  await system.spawn(
    child('leaky', {
      start: (ctx) => {
        ctx.event('note', `key ${PSK}`, { psk: 'hidden-by-key' });
        return {
          receive: () => {
            throw new Error(`cannot use ${PSK}`);
          },
          describe: () => ({ private_key: 'hidden-by-key', text: PSK }),
          gauges: () => ({ text: PSK }),
        };
      },
    }),
  );
  const paths = [
    '/debug/tree',
    '/debug/actor/leaky',
    '/debug/actor/leaky/state',
    '/debug/vpp/api',
    '/debug/sync',
    '/debug/events',
    '/debug/config',
    '/debug/runtime',
    '/status',
    '/readyz?verbose',
  ];
  const bodies: string[] = [];
  for (const path of paths) bodies.push((await get(path)).body);
  system.ref<{ type: string }>('node/leaky').tell({ type: 'Use' });
  for (const path of paths) bodies.push((await get(path)).body);
  bodies.push((await get('/debug/tree', 'text/plain')).body, (await get('/debug/events', 'text/plain')).body);
  const all = bodies.join('\n');
  t.notMatch(all, /correct horse/);
  t.notMatch(all, /hidden-by-key/);
  t.match(all, 'cannot use [redacted]');
  t.match(JSON.parse((await get('/debug/config')).body), { config: { ipsec: { psk: '[redacted]' } } });
});

t.test(
  'metrics: no secret is among them, and they are answered while the main loop is blocked',
  async (t) => {
    const port = await freePort();
    const directory = mkdtempSync(join(tmpdir(), 'metrics-'));
    t.teardown(() => rmSync(directory, { recursive: true, force: true }));
    const config = configIn(directory);
    const histogram = { count: 1, sum_seconds: 1, buckets: [] };
    const { log, system, board } = await setUp(t, {
      config: {
        ...config,
        gates: { ...config.gates, prometheus: true },
        prometheus: { ...config.prometheus, listen: { host: '127.0.0.1', port } },
      },
      figures: async () => ({
        handle: [{ path: `node/${PSK}`, ...histogram }],
        bgp_peers: [{ address: PSK, state: 'idle', received: 0, password: 'hidden-by-key' }],
        kinds: { [PSK]: { synced: true, objects: 1, lists: 1, watches: 1 } },
      }),
    });
    board.set(PSK, false, PSK);
    board.set('vpp', true, '');
    await system.spawn(
      child(`leaky ${PSK}`, { start: () => ({ receive: () => {}, gauges: () => ({ pid: PSK }) }) }),
    );
    for (;;) {
      const { fields } = await log.next('debug(listen) ready');
      if ((fields.address as { port?: number }).port === port) break;
    }
    const url = `http://127.0.0.1:${port}/metrics`;
    const answer = await fetch(url);
    t.equal(answer.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
    const body = await answer.text();
    t.notMatch(body, /correct horse|hidden-by-key/);
    for (const shown of [
      'calicovpp_bgp_session_up{peer="[redacted]"} 0',
      'calicovpp_kube_objects{kind="[redacted]"} 1',
      'calicovpp_condition{condition="[redacted]"} 0',
      'calicovpp_actor_up{path="node/leaky [redacted]"} 1',
      'calicovpp_scrape_stale{source="figures"} 0',
      // No VPP runs here, whatever the board says.
      'calicovpp_vpp_up 0',
    ])
      t.ok(body.includes(`\n${shown}\n`), shown);
    t.equal((await fetch(url.replace('metrics', 'debug/tree'))).status, 404);
    t.match(await fetch(url, { method: 'POST' }), { status: 405 });

    // Blocks the main loop: nothing runs in this thread meanwhile.
    const script = `await new Promise((r) => setTimeout(r, 1200)); console.log(await (await fetch(process.argv[1])).text())`;
    const began = performance.now();
    const blocked = execFileSync(process.execPath, ['--input-type=module', '-e', script, url], {
      encoding: 'utf8',
    });
    t.ok(performance.now() - began < 10_000);
    t.match(blocked, /^calicovpp_main_loop_blocked_seconds [1-9]/m);
    t.match(blocked, /^calicovpp_scrape_stale\{source="figures"\} 1$/m);
    t.match(blocked, /^calicovpp_actor_up\{path="node"\} 1$/m);
  },
);

/** Asks again and again until the main loop is said to be blocked, then for the rest. Runs in a process of its own. */
const POLL = `
import { request } from 'node:http';
const get = (path) => new Promise((resolve, reject) => {
  const call = request({ socketPath: process.argv[1], path, agent: false }, (response) => {
    let body = '';
    response.on('data', (chunk) => { body += chunk; });
    response.on('end', () => resolve({ status: response.statusCode, body }));
  });
  call.on('error', reject);
  call.end();
});
let tree;
do tree = JSON.parse((await get('/debug/tree')).body); while (tree.main_loop.blocked_ms === 0);
console.log(JSON.stringify({
  tree,
  livez: await get('/livez'),
  actor: JSON.parse((await get('/debug/actor/stuck')).body),
  state: await get('/debug/actor/stuck/state'),
  status: JSON.parse((await get('/status')).body),
}));
`;

t.test(
  'it answers while the main loop is blocked, from the last snapshot, and is healthy for a while',
  async (t) => {
    const clock = new TurnedClock();
    const { log, socket, system, debug } = await setUp(t, { clock });
    await log.ready('unix');
    await system.spawn(child('stuck', { start: () => ({ receive: () => {}, gauges: () => ({ pods: 3 }) }) }));
    await clock.advance(100);
    debug.publish();
    // execFileSync is what blocks the main loop: no timer, no message, nothing runs in this thread meanwhile.
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', POLL, socket], {
      timeout: 30_000,
    });
    const seen = JSON.parse(output.toString());
    t.match(seen, {
      tree: { tree: { children: [{ path: 'node/stuck', state: 'running', gauges: { pods: 3 } }] } },
      livez: { status: 200, body: 'OK\n' },
      actor: { path: 'node/stuck', events: [{ kind: 'state' }, { kind: 'state' }] },
      state: { status: 504 },
      status: { healthy: true, ready: false },
    });
    t.ok(seen.tree.main_loop.blocked_ms > 1000);
  },
);

t.test(
  'the copy has within a second what an actor has done, and within ten what its gauges say',
  async (t) => {
    const clock = new TurnedClock();
    let pods = 3;
    const { log, socket, system, get } = await setUp(t, { clock });
    await log.ready('unix');
    const ref = await system.spawn(
      child('quiet', { start: () => ({ receive: () => {}, gauges: () => ({ pods }) }) }),
    );
    const copied = (): object => {
      const output = execFileSync(process.execPath, ['--input-type=module', '-e', POLL, socket], {
        timeout: 30_000,
      });
      const { tree } = JSON.parse(output.toString());
      const [{ gauges, processed }] = tree.tree.children;
      return { pods: gauges.pods, handled: processed.total };
    };
    await clock.advance(1000);
    pods = 4;
    ref.tell({ type: 'any' } as never);
    await new Promise((resolve) => setImmediate(resolve));
    pods = 5;
    await clock.advance(1000);
    t.same(copied(), { pods: 5, handled: 1 });
    // Whatever that has asked of the main loop is answered.
    await get('/debug/tree');
    pods = 6;
    await clock.advance(10_000);
    t.same(copied(), { pods: 6, handled: 1 });
  },
);

t.test(
  'an actor stuck in a handler does not describe itself, and the answer says what it is doing',
  async (t) => {
    const { log, system, get } = await setUp(t);
    await log.ready('unix');
    const stuck = await system.spawn(
      child('stuck', { start: () => ({ receive: () => new Promise(() => {}) }) }),
    );
    (stuck as unknown as { tell(message: object): void }).tell({ type: 'Forever' });
    const { status, body } = await get('/debug/actor/stuck/state');
    t.equal(status, 504);
    t.match(JSON.parse(body), { path: 'node/stuck', actor: { currentHandler: { type: 'Forever' } } });
    system.crash('node/stuck', new Error('end of test'));
  },
);

/** What is at a URL, asked by another process: this one stands still meanwhile. */
const askBlocking = (url: string): unknown =>
  JSON.parse(
    execFileSync(process.execPath, [
      '-e',
      'fetch(process.argv[1]).then(async (r) => console.log(JSON.stringify([r.status, await r.json()])))',
      url,
    ]).toString(),
  );

t.test('load balancers are answered while the main loop is blocked', async (t) => {
  const holder = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => holder.once('listening', resolve));
  const { port } = holder.address() as { port: number };
  const told: ReadonlyMap<string, string>[] = [];
  let heard = (): void => undefined;
  const { log, debug } = await setUp(t, {
    healthFaults: (faults) => {
      told.push(faults);
      heard();
    },
  });
  await log.ready('unix');
  const fault = new Promise<void>((resolve) => {
    heard = () => told.at(-1)!.size > 0 && resolve();
  });
  const free = new Promise<void>((resolve) => {
    fault.then(() => {
      heard = () => told.at(-1)!.size === 0 && resolve();
    });
  });
  debug.serveHealth({
    ports: [],
    proxy: { port, host: '127.0.0.1' },
    is_on: true,
    is_whole: true,
    eligible: true,
  });
  await fault;
  t.match([...told.at(-1)!], [['node', /in use, as by a kube-proxy/]]);
  await new Promise((resolve) => holder.close(resolve));
  await free;
  const url = `http://127.0.0.1:${port}/healthz`;
  t.match(askBlocking(url), [200, { nodeEligible: true }]);
  debug.serveHealth({
    ports: [],
    proxy: { port, host: '127.0.0.1' },
    is_on: true,
    is_whole: true,
    eligible: false,
  });
  // What was said before comes before.
  await fetch(url);
  t.match(askBlocking(url), [503, { nodeEligible: false }]);
});

t.test('the next worker is told what load balancers are answered', async (t) => {
  const clock = new TurnedClock();
  const log = new Recorder();
  const directory = mkdtempSync(join(tmpdir(), 'debug-'));
  const system = createActorSystem({ name: 'node', clock, log, escalated() {} });
  // Tells what it was told, and dies of it.
  const entry = `import { parentPort } from 'node:worker_threads';
    parentPort.once('message', (told) => {
      parentPort.postMessage({ type: 'log', level: 'info', fields: told, text: 'told' });
      setTimeout(() => process.exit(1), 50);
    });`;
  const debug = startDebug(
    {
      config: configIn(directory),
      system,
      conditions: () => [],
      sync: () => ({}),
      services: async () => null,
      policies: async () => null,
      vppApi: async () => null,
      describe: async () => null,
      clock,
      log,
    },
    new URL(`data:text/javascript,${encodeURIComponent(entry)}`),
  );
  t.teardown(async () => {
    await debug.close();
    await system.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  debug.serveHealth({ ports: [], is_on: true, is_whole: true, eligible: true });
  t.match((await log.next('told')).fields, { type: 'services', health: { is_on: true } });
  await log.next('debug(worker) ended');
  await clock.advance(1000);
  t.match((await log.next('told')).fields, { type: 'services', health: { is_on: true } });
});

t.test('a question that never settles has a deadline of its own', async (t) => {
  const { log, get } = await setUp(t, { vppApi: () => new Promise(() => {}) });
  await log.ready('unix');
  t.match(await get('/debug/vpp/api'), { status: 504, body: /no answer within 2000 ms/ });
});

t.test('the root supervisor giving up is the end of liveness', async (t) => {
  let failed: string | undefined;
  const { log, get } = await setUp(t, { failed: () => failed });
  await log.ready('unix');
  t.equal((await get('/livez')).status, 200);
  failed = 'vpp keeps dying';
  t.equal((await get('/livez')).body, 'Unhealthy: supervisor: vpp keeps dying\n');
});

t.test('a health port that is taken is tried again; only health is served there', async (t) => {
  const holder = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => holder.once('listening', resolve));
  const { port } = holder.address() as { port: number };
  const { log } = await setUp(t, {}, port);
  const taken = await log.next('cannot listen');
  t.match(taken, { level: 'warn', fields: { code: 'EADDRINUSE', address: { kind: 'tcp', port } } });
  await new Promise((resolve) => holder.close(resolve));
  await log.ready('tcp');
  const url = `http://127.0.0.1:${port}`;
  t.equal((await fetch(`${url}/livez`)).status, 200);
  t.equal((await fetch(`${url}/debug/tree`)).status, 404);
  t.equal((await fetch(`${url}/livez`, { method: 'POST', body: 'x' })).status, 405);
  t.equal((await fetch(`${url}/livez`, { method: 'HEAD' })).status, 200);
});

t.test('a worker that crashes is started again, less and less often, and nothing else notices', async (t) => {
  const clock = new TurnedClock();
  const log = new Recorder();
  const directory = mkdtempSync(join(tmpdir(), 'debug-'));
  const system = createActorSystem({ name: 'node', clock, log, escalated() {} });
  const debug = startDebug(
    {
      config: configIn(directory),
      system,
      conditions: () => {
        throw new Error('a defect elsewhere');
      },
      sync: () => {
        throw new Error('a defect elsewhere');
      },
      vppApi: async () => null,
      services: async () => null,
      policies: async () => null,
      describe: async () => null,
      clock,
      log,
    },
    new URL('data:text/javascript,throw new Error("boom")'),
  );
  t.teardown(async () => {
    await debug.close();
    await system.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  for (const delay_ms of [1000, 2000, 4000, 8000]) {
    t.match((await log.next('debug(worker)')).fields, { err: { message: 'boom' } });
    t.match((await log.next('debug(worker) ended')).fields, { again_ms: delay_ms });
    await clock.advance(delay_ms);
  }
  await log.next('debug(worker) ended');
});
