import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspect, promisify } from 'node:util';
import t, { type Test } from 'tap';
import { selfSigned } from '../../lab/k8s/certificate.js';
import { StandInApiServer } from '../../lab/k8s/server.js';
import { TurnedClock } from '../../lab/turned-clock.js';
import { AccessError, inClusterAccess, laterAccess } from '../../src/k8s/access.js';
import { ApiClient } from '../../src/k8s/api-client.js';
import { kubeconfigAccess } from '../../src/k8s/kubeconfig.js';
import { nodeObject } from '../../src/k8s/node-object.js';
import { startLab, untilTurned } from './k8s-lab.js';

// TLS, child processes and a client library that takes half a second to load.
const first_token = 'first.token.s3cret';
const second_token = 'second.token.s3cret';
const secrets = /s3cret/;

async function startTls(t: Test, tls = selfSigned(), port = 0) {
  const server = new StandInApiServer({ tls, port });
  server.tokens = new Set([first_token]);
  await server.start();
  t.teardown(() => server.stop().catch(() => {}));
  return server;
}

/** A service account as the kubelet mounts it, for this server. */
function serviceAccount(t: Test, ca: string, server: StandInApiServer) {
  const directory = t.testdir({ token: `${first_token}\n`, 'ca.crt': ca });
  const { hostname, port } = new URL(server.url);
  const environment = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
  return { directory, access: inClusterAccess(environment, directory) };
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  const error: unknown = await promise.then(
    () => new Error('it did not fail'),
    (thrown: unknown) => thrown,
  );
  return error as Error;
}

t.test('in a pod: token and CA are read for each request', async (t) => {
  const tls = selfSigned();
  const server = await startTls(t, tls);
  const { directory, access } = serviceAccount(t, tls.cert, server);
  const client = new ApiClient(access, new TurnedClock());
  t.match(await client.document('GET', '/api/v1/nodes'), { items: [] });
  t.equal(server.requests.at(-1)?.authorization, `Bearer ${first_token}`);

  server.tokens = new Set([second_token]);
  const refused = await failure(client.document('GET', '/api/v1/nodes'));
  t.match(refused, { name: 'ApiError', status: 401, message: /answered 401; .*the token is not accepted/ });
  writeFileSync(join(directory, 'token'), second_token);
  t.match(await client.document('GET', '/api/v1/nodes'), { items: [] });

  const other = selfSigned();
  writeFileSync(join(directory, 'ca.crt'), other.cert);
  const distrusted = await failure(client.document('GET', '/api/v1/nodes'));
  t.match(distrusted, {
    name: 'ApiError',
    status: 0,
    message: /GET \/api\/v1\/nodes: .*(self-signed|SELF_SIGNED)/,
  });
  const renewed = await startTls(t, other);
  renewed.tokens = new Set([second_token]);
  const client_of_renewed = new ApiClient({ ...access, server: new URL(renewed.url) }, new TurnedClock());
  t.match(await client_of_renewed.document('GET', '/api/v1/nodes'), { items: [] });
  t.notMatch(inspect([refused, distrusted, client], { depth: 20, showHidden: true }), secrets);
});

t.test('a service account that is not there, or of no use, is named with the step to take', async (t) => {
  t.throws(() => inClusterAccess({}), { name: 'AccessError', message: /KUBERNETES_SERVICE_HOST .* no pod/ });
  t.throws(() => inClusterAccess({ KUBERNETES_SERVICE_HOST: 'a b', KUBERNETES_SERVICE_PORT: '1' }), {
    name: 'AccessError',
  });
  t.equal(
    inClusterAccess({ KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' }).server.href,
    'https://[fd00::1]/',
  );
  const environment = { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: '1' };
  const client = (files: Record<string, string>) =>
    new ApiClient(inClusterAccess(environment, t.testdir(files)), new TurnedClock());
  t.match(await failure(client({ 'ca.crt': '' }).document('GET', '/api')), {
    name: 'AccessError',
    message: /token cannot be read \(ENOENT\): let the pod mount/,
  });
  for (const token of ['', '\n', 'two s3cret\nlines']) {
    const error = await failure(client({ token, 'ca.crt': '' }).document('GET', '/api'));
    t.match(error, { name: 'AccessError', message: /holds no token/ });
    t.notMatch(inspect(error), secrets);
  }
  const refused = await failure(client({ token: 's3cret', 'ca.crt': '' }).document('GET', '/api'));
  t.match(refused, { name: 'ApiError', status: 0, message: /^GET \/api: .*ECONNREFUSED/ });
  t.notMatch(inspect(refused, { depth: 20 }), secrets);
});

t.test('a kubeconfig file: certificate authority, token and context are its own', async (t) => {
  const tls = selfSigned();
  const server = await startTls(t, tls);
  const data = Buffer.from(tls.cert).toString('base64');
  const config = (token: string): string => `
apiVersion: v1
kind: Config
current-context: there
clusters:
- {name: c, cluster: {server: "${server.url}", certificate-authority-data: ${data}}}
users:
- {name: u, user: {token: ${token}}}
contexts:
- {name: there, context: {cluster: c, user: u}}
- {name: nowhere, context: {cluster: missing, user: u}}
`;
  const path = join(
    t.testdir({ config: config(first_token), broken: `a: [${first_token}\n b: }`, empty: '' }),
    'config',
  );
  const client = new ApiClient(await kubeconfigAccess(path), new TurnedClock());
  t.match(await client.document('GET', '/api/v1/nodes'), { items: [] });
  t.equal(server.requests.at(-1)?.authorization, `Bearer ${first_token}`);
  t.match(await failure(kubeconfigAccess(path, 'nowhere')), {
    name: 'AccessError',
    message: /no cluster for its context nowhere/,
  });
  for (const [name, cause] of [
    ['broken', /cannot be read \(YAMLException\)/],
    ['empty', /./],
    ['missing', /ENOENT/],
  ] as const) {
    const error = await failure(kubeconfigAccess(path.replace(/config$/, name)));
    t.match(error, { name: 'AccessError', message: cause });
    t.notMatch(inspect(error, { depth: 20 }), secrets);
  }
});

t.test('a pod’s process does not load the client library', async (t) => {
  const library = fileURLToPath(import.meta.resolve('@kubernetes/client-node'));
  t.match(readFileSync(library, 'utf8'), /config\.js/, 'there it is');
  const loaded = `
    const { inClusterAccess } = await import(${JSON.stringify(new URL('../../src/k8s/access.js', import.meta.url).href)});
    await import(${JSON.stringify(new URL('../../src/k8s/reflector.js', import.meta.url).href)});
    await import(${JSON.stringify(new URL('../../src/k8s/kubeconfig.js', import.meta.url).href)});
    const before = process.memoryUsage().rss;
    const { kubeconfigAccess } = await import(${JSON.stringify(new URL('../../src/k8s/kubeconfig.js', import.meta.url).href)});
    await kubeconfigAccess('/nowhere').catch(() => {});
    console.log(JSON.stringify({ took: process.memoryUsage().rss - before }));
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', loaded]);
  const { took } = JSON.parse(stdout) as { took: number };
  t.ok(took > 40e6, `${Math.round(took / 1e6)} MB come with a kubeconfig file, and not before`);
});

t.test('access that comes later: asked for until it is there, and then no more', async (t) => {
  let loads = 0;
  const access = laterAccess(async () => {
    loads += 1;
    if (loads < 3) throw new AccessError('not yet');
    return { server: new URL('http://api'), options: async () => ({ timeout: loads }) };
  });
  t.throws(() => access.server, AccessError);
  await t.rejects(access.options(), { message: 'not yet' });
  await t.rejects(access.options(), { message: 'not yet' });
  t.strictSame(await access.options(), { timeout: 3 });
  t.strictSame(await access.options(), { timeout: 3 });
  t.equal(access.server.hostname, 'api');
});

const never = new AbortController().signal;

const node = (annotations: Record<string, string> = {}) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'a', annotations },
  status: { phase: 'kept' },
});

async function startNode(t: Test) {
  const lab = await startLab(t);
  const { client, clock, log } = lab;
  const cluster = nodeObject({ client, clock, log, node_name: 'a', random: () => 0 });
  const annotations = () => {
    const { metadata } = lab.server.store.get('/nodes', 'a') as {
      metadata: { annotations: Record<string, string> };
    };
    return metadata.annotations;
  };
  const written = () => lab.asked('write').filter(({ method }) => method === 'PATCH');
  return { ...lab, cluster, annotations, written };
}

const never_told = (cause: string): never => {
  throw new Error(cause);
};

t.test('the node’s addresses are written where they differ, and nothing else is', async (t) => {
  const { server, cluster, annotations, written } = await startNode(t);
  server.put(node({ other: 'x', 'projectcalico.org/IPv6Address': 'fd00::2/64' }));
  await cluster.publishNodeAddresses({ ip4: '10.0.0.2/24', ip6: 'fd00::2/64' }, never, never_told);
  t.strictSame(annotations(), {
    other: 'x',
    'projectcalico.org/IPv4Address': '10.0.0.2/24',
    'projectcalico.org/IPv6Address': 'fd00::2/64',
  });
  t.match(server.store.get('/nodes', 'a'), { status: { phase: 'kept' } });
  t.equal(written()[0]?.path, '/api/v1/nodes/a/status');
  await cluster.publishNodeAddresses({ ip4: '10.0.0.2/24', ip6: 'fd00::2/64' }, never, never_told);
  t.equal(written().length, 1, 'what is so already is not written');
  await cluster.publishNodeAddresses({ ip4: '10.0.0.3/24' }, never, never_told);
  t.strictSame(
    annotations(),
    { other: 'x', 'projectcalico.org/IPv4Address': '10.0.0.3/24' },
    'a family that the node has not',
  );
  await cluster.publishNodeAddresses({ ip4: '10.0.0.3/24' }, never, never_told);
  t.equal(written().length, 2);
  t.strictSame(await cluster.nodeAnnotations(), annotations());
});

t.test('the node’s WireGuard keys are written beside its addresses, and taken away', async (t) => {
  const { server, cluster, annotations, written } = await startNode(t);
  server.put(node({ 'projectcalico.org/IPv4Address': '10.0.0.2/24' }));
  const key = Buffer.alloc(32, 1).toString('base64');
  await cluster.publishWireguardKeys({ key, key6: key }, never, never_told);
  const address = { 'projectcalico.org/IPv4Address': '10.0.0.2/24' };
  t.strictSame(annotations(), {
    ...address,
    'projectcalico.org/WireguardPublicKey': key,
    'projectcalico.org/WireguardPublicKeyV6': key,
  });
  await cluster.publishWireguardKeys({ key, key6: key }, never, never_told);
  t.equal(written().length, 1);
  await cluster.publishWireguardKeys({ key }, never, never_told);
  t.strictSame(annotations(), { ...address, 'projectcalico.org/WireguardPublicKey': key });
  await cluster.publishWireguardKeys({}, never, never_told);
  t.strictSame(annotations(), address);
});

t.test('what is not taken is told of, and offered again whatever is answered', async (t) => {
  const key = Buffer.alloc(32, 1).toString('base64');
  const told: string[][] = [];
  const offers = {
    WireguardPublicKey: (cluster, failing) => cluster.publishWireguardKeys({ key }, never, failing),
    IPv4Address: (cluster, failing) => cluster.publishNodeAddresses({ ip4: '10.0.0.2/24' }, never, failing),
  } satisfies Record<
    string,
    (cluster: ReturnType<typeof nodeObject>, failing: (cause: string) => void) => Promise<void>
  >;
  for (const [name, offer] of Object.entries(offers)) {
    for (const code of [403, 422]) {
      const { server, cluster, clock, annotations, written } = await startNode(t);
      server.put(node());
      server.fault({ verb: 'write', times: 3, does: { type: 'status', code } });
      const causes: string[] = [];
      told.push(causes);
      let is_done = false;
      void offer(cluster, (cause) => causes.push(cause)).then(() => {
        is_done = true;
      });
      const took_ms = await untilTurned(clock, 'written', () => is_done, 500);
      t.equal(written().length, 4, `${name} ${code}`);
      t.equal(took_ms >= 90_000, code === 422, 'what may never be taken is offered twice a minute at most');
      t.strictSame(Object.keys(annotations()), [`projectcalico.org/${name}`]);
    }
  }
  for (const causes of told)
    t.match(causes, [/nodes\/a\/status: /, /nodes\/a\/status: /, /nodes\/a\/status: /]);
});

t.test('somebody else changed the node meanwhile: it is read again', async (t) => {
  const { server, cluster, annotations, clock, asked } = await startNode(t);
  server.put(node());
  const put = server.store.update.bind(server.store);
  let others = 3;
  server.store.update = (bucket, key, object) => {
    if (others > 0) {
      others -= 1;
      put(bucket, key, { ...node({ other: String(others) }) });
    }
    return put(bucket, key, object);
  };
  let done = false;
  void cluster
    .publishNodeAddresses({ ip4: '10.0.0.2/24' }, never, () => undefined)
    .then(() => {
      done = true;
    });
  await untilTurned(clock, 'written', () => done);
  t.strictSame(annotations(), { other: '0', 'projectcalico.org/IPv4Address': '10.0.0.2/24' });
  t.equal(asked('get').length, 4);
  t.equal(clock.pending, 1, 'only the server’s bookmarks');
});

t.test(
  'an API server that does not take it is asked until it does, or until nobody wants it any more',
  async (t) => {
    for (const does of [{ type: 'status', code: 403 }, { type: 'refuse' }, { type: 'silent' }] as const) {
      const { server, cluster, clock, lines, annotations, written } = await startNode(t);
      server.put(node());
      server.fault({ verb: 'write', times: 15, does });
      let done = false;
      let failures = 0;
      const failing = (): void => {
        failures += 1;
      };
      void cluster.publishNodeAddresses({ ip4: '10.0.0.2/24' }, never, failing).then(() => {
        done = true;
      });
      const took_ms = await untilTurned(clock, 'written', () => done, 500);
      t.equal(failures, 15);
      t.equal(written().length, 16, `${JSON.stringify(does)}: ${took_ms} ms`);
      t.ok(took_ms > 200_000 && took_ms < 600_000, 'at most two attempts a minute in the end');
      t.strictSame(annotations(), { 'projectcalico.org/IPv4Address': '10.0.0.2/24' });
      t.equal(lines.filter(({ level }) => level === 'warn').length, 1, 'one cause is told once');
    }
    const { server, cluster, clock } = await startNode(t);
    let done = false;
    void cluster
      .publishNodeAddresses({ ip4: '10.0.0.2/24' }, never, () => undefined)
      .then(() => {
        done = true;
      });
    await clock.advance(2000);
    server.put(node());
    await untilTurned(clock, 'a node that came late', () => done, 100);

    server.fault({ verb: 'get', does: { type: 'silent' } });
    const stopped = new AbortController();
    const failing = cluster.publishNodeAddresses({ ip4: '10.0.0.3/24' }, stopped.signal, () => undefined);
    await clock.advance(20_000);
    stopped.abort();
    await t.rejects(failing);
    t.equal(clock.pending, 1, 'nothing waits any more but the server’s bookmarks');
  },
);

t.test('credentials that do not come delay nothing for more than 5 s', async (t) => {
  const { clock, log } = await startLab(t);
  const client = new ApiClient(
    { server: new URL('http://api'), options: () => new Promise(() => {}) },
    clock,
  );
  const cluster = nodeObject({ client, clock, log, node_name: 'a', random: () => 0 });
  let got: unknown;
  void cluster.nodeAnnotations().then((annotations) => {
    got = annotations;
  });
  await clock.advance(4999);
  t.equal(got, undefined);
  await clock.advance(1);
  t.strictSame(got, {});
  const asked = client.open('GET', '/').catch((error: Error) => error.message);
  await clock.advance(30_000);
  t.match(await asked, /^GET \/: no credentials within 30 s/);
});

t.test('annotations are none where the API server does not answer', async (t) => {
  const { server, cluster, clock, lines } = await startNode(t);
  server.fault({ verb: 'get', times: 1, does: { type: 'silent' } });
  let got: unknown;
  void cluster.nodeAnnotations().then((annotations) => {
    got = annotations;
  });
  const took_ms = await untilTurned(clock, 'an answer', () => got !== undefined, 500);
  t.ok(took_ms <= 5500);
  t.strictSame(got, {});
  t.match(lines, [{ level: 'warn', fields: { cause: /no answer within 5 s/ } }]);
  t.strictSame(await cluster.nodeAnnotations(), {}, 'nor where there is no such node');
});

t.test('a document larger than any object is not read', async (t) => {
  const { server, client } = await startLab(t);
  server.put({ ...node(), text: 'x'.repeat(5 * 2 ** 20) });
  t.match(await failure(client.document('GET', '/api/v1/nodes/a')), {
    name: 'ApiError',
    message: /more than 4194304 bytes/,
  });
});
