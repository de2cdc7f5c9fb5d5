import { createServer } from 'node:net';
import t, { type Test } from 'tap';
import { freePort } from '../../lab/free-port.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import { systemClock } from '../../src/clock.js';
import { ServiceHealth } from '../../src/debug/service-health.js';
import type { HealthPort } from '../../src/desired/services/plan.js';
import { createLog } from '../../src/log.js';
import {
  HealthPorts,
  health_ports_max,
  isServing,
  proxyAnswer,
  type ServicesHealth,
  serviceAnswer,
  stuck_ms,
} from '../../src/services/health.js';

const web: HealthPort = { service: 'shop/web', port: 30100, local_endpoints: 2 };
const well: ServicesHealth = { ports: [web], is_on: true, is_whole: true, eligible: true };

t.test('a service is answered as by kube-proxy', async (t) => {
  t.strictSame(serviceAnswer(web, true), {
    status: 200,
    headers: {
      'content-type': 'application/json',
      'x-content-type-options': 'nosniff',
      'x-load-balancing-endpoint-weight': '2',
    },
    body: '{"service":{"namespace":"shop","name":"web"},"localEndpoints":2,"serviceProxyHealthy":true}\n',
  });
  t.match(serviceAnswer({ ...web, local_endpoints: 0 }, true), { status: 503, body: /"localEndpoints":0/ });
  t.match(serviceAnswer(web, false), { status: 503, body: /"localEndpoints":2,"serviceProxyHealthy":false/ });
});

t.test('a node serves as long as VPP has its uplinks and nothing is pending for too long', async (t) => {
  t.ok(isServing(well, 1000, 0));
  t.notOk(isServing({ ...well, is_on: false }, 1000, 0));
  t.notOk(isServing({ ...well, is_whole: false }, 1000, 0), 'a VPP that has not had all of it yet');
  const pending = { ...well, pending_since_ms: 1000 };
  t.ok(isServing(pending, 1000 + stuck_ms, 0));
  t.notOk(isServing(pending, 1001 + stuck_ms, 0));
  t.ok(isServing(well, 1000, stuck_ms));
  t.notOk(isServing(well, 1000, stuck_ms + 1), 'a main loop that stands still programs nothing');
});

t.test('the node itself is answered as by kube-proxy', async (t) => {
  const times = { now_ms: 60_000, last_ms: 30_000 };
  t.match(proxyAnswer('/healthz', well, true, times), {
    status: 200,
    headers: { 'content-type': 'application/json', 'x-content-type-options': 'nosniff' },
    body: '{"lastUpdated":"1970-01-01T00:00:30.000Z","currentTime":"1970-01-01T00:01:00.000Z","nodeEligible":true}\n',
  });
  t.match(proxyAnswer('/livez', well, true, times), {
    status: 200,
    body: '{"lastUpdated":"1970-01-01T00:00:30.000Z","currentTime":"1970-01-01T00:01:00.000Z"}\n',
  });
  const leaving = { ...well, eligible: false };
  t.match(proxyAnswer('/healthz', leaving, true, times), { status: 503, body: /"nodeEligible":false/ });
  t.match(proxyAnswer('/livez', leaving, true, times), { status: 200 }, 'a node that is to go lives');
  t.match(proxyAnswer('/healthz', well, false, times), { status: 503 });
  t.match(proxyAnswer('/livez', well, false, times), { status: 503 });
  t.equal(proxyAnswer('/', well, true, times), undefined);
  t.match(proxyAnswer('/healthz', well, false, { ...times, last_ms: undefined }), {
    status: 503,
    body: /^{"lastUpdated":"0001-01-01T00:00:00.000Z"/,
  });
});

function kept(proxy?: ServicesHealth['proxy']) {
  const clock = new TurnedClock();
  const published: ServicesHealth[] = [];
  const lines: string[] = [];
  const log = createLog({ format: 'json', level: 'info', clock, write: (line) => lines.push(line) > 0 });
  const ports = new HealthPorts({
    publish: (health) => published.push(health),
    proxy,
    machine_ms: () => 5000 + clock.now_ms(),
    clock,
    log,
  });
  return { clock, published, lines, ports };
}

t.test(
  'load balancers hear no good word of a VPP that has not had everything, and hear that at once',
  async (t) => {
    const { clock, published, ports } = kept({ port: 10256 });
    const last = async () => {
      await clock.advance(1000);
      return published.at(-1);
    };
    ports.serve(true);
    t.equal(await last(), undefined, 'where VPP serves no services another proxy answers');
    ports.begin();
    t.match(await last(), { ports: [], proxy: { port: 10256 }, is_on: true, is_whole: false });
    ports.programs('a', false);
    ports.set([web]);
    t.match(await last(), { ports: [web], is_whole: false });
    ports.programs('a', true);
    t.match(await last(), { is_whole: true });
    ports.programs('a', false);
    t.match(
      await last(),
      { is_whole: true },
      'it is the same, by another connection or for another life of ours',
    );
    ports.programs('b', false);
    t.match(await last(), { is_whole: false }, 'another one has nothing');
    ports.close();
  },
);

t.test('what is told is told once for a burst', async (t) => {
  const { clock, published, ports } = kept({ port: 10256 });
  ports.serve(true);
  ports.programs('a', true);
  ports.pending(true);
  await clock.advance(1000);
  t.strictSame(published, []);
  ports.begin();
  ports.set([]);
  ports.set([web]);
  await clock.advance(1000);
  t.strictSame(published, [{ ...well, proxy: { port: 10256 }, pending_since_ms: 5000 }]);
  ports.pending(true);
  ports.serve(true);
  ports.eligible(true);
  await clock.advance(1000);
  t.equal(published.length, 1, 'what is no news is not told');
  ports.pending(false);
  ports.eligible(false);
  ports.serve(false);
  await clock.advance(1000);
  t.strictSame(published.at(-1), { ...well, proxy: { port: 10256 }, is_on: false, eligible: false });
  ports.pending(true);
  await clock.advance(5000);
  ports.pending(true, true);
  await clock.advance(100);
  t.equal(
    published.at(-1)?.pending_since_ms,
    5000 + clock.now_ms() - 100,
    'what is always behind is not stuck',
  );
  ports.pending(false);
  ports.close();
  t.equal(clock.pending, 0);
});

t.test('ports that cannot be served are named by their service', async (t) => {
  const { clock, published, lines, ports } = kept();
  ports.begin();
  const other = { ...web, service: 'a/other' };
  ports.set([web, other, { ...web, service: 'a/zero', port: 0 }]);
  await clock.advance(1000);
  t.strictSame(published[0]?.ports, [other]);
  t.match(ports.faults().get('shop/web'), /is that of a\/other/);
  t.match(ports.faults().get('a/zero'), /is no port/);
  const many = Array.from({ length: health_ports_max + 3 }, (_, at) => ({
    service: `a/s${`${at}`.padStart(5, '0')}`,
    port: 30_000 + at,
    local_endpoints: 1,
  }));
  ports.set(many);
  t.equal(ports.count, health_ports_max);
  t.equal(ports.faults().size, 3);
  ports.heard(new Map([['a/s00000', 'in use']]));
  ports.heard(new Map([['a/s00000', 'in use']]));
  t.equal(lines.length, 1, 'told once');
  t.equal(ports.faults().get('a/s00000'), 'in use');
  ports.heard(new Map());
  t.notOk(ports.faults().has('a/s00000'));
});

function listening(test: Test) {
  let silent_ms = 0;
  let faults: ReadonlyMap<string, string> = new Map();
  const waiting = new Set<() => void>();
  const health = new ServiceHealth({
    clock: systemClock,
    machine_ms: () => 1000,
    silent_ms: () => silent_ms,
    host: '127.0.0.1',
    report: (told) => {
      faults = told;
      for (const wake of waiting) wake();
    },
  });
  test.teardown(() => health.close());
  return {
    health,
    faults: () => faults,
    blocked: (ms: number) => {
      silent_ms = ms;
    },
    until: (holds: () => boolean) =>
      new Promise<void>((resolve) => {
        const look = (): void => {
          if (holds()) resolve();
        };
        waiting.add(look);
        look();
      }),
  };
}

const get = async (port: number, path = '/', init?: RequestInit) => {
  for (let tries = 0; ; tries++) {
    try {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, init);
      return {
        status: response.status,
        weight: response.headers.get('x-load-balancing-endpoint-weight'),
        body: await response.text(),
      };
    } catch (error) {
      // It begins to listen a moment after it was told to.
      if (tries === 3000) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
};

t.test('listeners are opened and closed by difference, and answer by what is known', async (t) => {
  const { health, blocked } = listening(t);
  const [a, b, node] = [await freePort(), await freePort(), await freePort()];
  const proxy = { port: node, host: '127.0.0.1' };
  health.set({ ...well, proxy, ports: [{ ...web, port: a }] });
  t.match(await get(a), { status: 200, weight: '2', body: /"name":"web"/ });
  t.match(await get(a, '/anything?x=1'), { status: 200 }, 'any path');
  t.match(await get(a, '/', { method: 'HEAD' }), { status: 200, body: '' });
  t.match(await get(node, '/healthz'), { status: 200 });
  health.set({ ...well, is_whole: false, proxy, ports: [{ ...web, port: a }] });
  t.match(await get(node, '/healthz'), { status: 503, body: /"lastUpdated":"0001-/ });
  t.match(await get(a), { status: 503, body: /"serviceProxyHealthy":false/ });
  t.match(await get(node, '/other'), { status: 404 });
  health.set({
    ...well,
    proxy,
    ports: [
      { ...web, port: a, local_endpoints: 0 },
      { ...web, service: 'x/y', port: b },
    ],
  });
  t.match(await get(a), { status: 503, weight: '0' });
  t.match(await get(b), { status: 200, body: /"namespace":"x","name":"y"/ });
  blocked(stuck_ms + 1);
  t.match(await get(b), { status: 503, body: /"serviceProxyHealthy":false/ });
  t.match(await get(node, '/livez'), { status: 503 });
  blocked(0);
  health.set({ ...well, ports: [{ ...web, port: b }] });
  t.match(await get(b), { status: 200, body: /"name":"web"/ }, 'a port may move to another service');
  await t.rejects(fetch(`http://127.0.0.1:${a}/`));
  await t.rejects(fetch(`http://127.0.0.1:${node}/healthz`));
  health.close();
  await t.rejects(fetch(`http://127.0.0.1:${b}/`));
});

t.test('a port that is in use is told on its service, tried again, and forgotten with it', async (t) => {
  const { health, faults, until } = listening(t);
  const holder = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => holder.once('listening', resolve));
  t.teardown(() => holder.close());
  const { port } = holder.address() as { port: number };
  health.set({ ...well, ports: [{ ...web, port }] });
  await until(() => faults().size > 0);
  t.match([...faults()], [['shop/web', /healthCheckNodePort \d+ is in use on this node/]]);
  health.set(well && { ...well, ports: [{ ...web, port, service: 'x/y' }] });
  t.match([...faults()], [['x/y', /in use/]], 'by the name that it has by now');
  await new Promise((resolve) => holder.close(resolve));
  await until(() => faults().size === 0);
  t.match(await get(port), { status: 200 });
});

t.test('who holds connections open keeps nobody else from an answer for long', async (t) => {
  const { health } = listening(t);
  const port = await freePort();
  health.set({ ...well, ports: [{ ...web, port }] });
  t.match(await get(port), { status: 200 });
  const { connect } = await import('node:net');
  const sockets = Array.from({ length: 100 }, () => connect(port, '127.0.0.1').on('error', () => undefined));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
  });
  const closed = await Promise.race(
    sockets.map((socket) => new Promise((resolve) => socket.once('close', () => resolve(true)))),
  );
  t.equal(closed, true, 'what is too much is closed');
});
