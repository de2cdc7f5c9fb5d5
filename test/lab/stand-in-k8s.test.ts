import { execFile, spawnSync } from 'node:child_process';
import { get } from 'node:http';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { calicoCrds } from '../../lab/k8s/calico-crds.js';
import { StandInApiServer } from '../../lab/k8s/server.js';
import { observe, recorded } from '../k8s/api-contract.js';

/** The kubectl of the machine, or that of `KUBECTL`. */
const kubectl = process.env.KUBECTL ?? 'kubectl';
const there = spawnSync(kubectl, ['version', '--client'], { stdio: 'ignore' }).status === 0;

async function start(t: Test) {
  const server = new StandInApiServer();
  await server.start();
  t.teardown(() => server.stop());
  const home = t.testdir({});
  /** What it prints, also when it fails. */
  const run = (args: readonly string[], input = ''): Promise<string> =>
    new Promise((resolve) => {
      const env = { PATH: process.env.PATH, HOME: home };
      const child = execFile(
        kubectl,
        ['--server', server.url, '--cache-dir', join(home, 'cache'), ...args],
        { env },
        (_error, stdout, stderr) => resolve(`${stdout}${stderr}`),
      );
      child.stdin?.end(input);
    });
  return { server, run };
}

const pool = (mode: string): string => `
apiVersion: crd.projectcalico.org/v1
kind: IPPool
metadata: {name: p}
spec: {cidr: 10.0.0.0/16, ipipMode: ${mode}, natOutgoing: true}
`;

t.test(
  'kubectl takes the stand-in for an API server',
  { skip: there ? false : 'needs kubectl' },
  async (t) => {
    const { server, run } = await start(t);
    const definitions = calicoCrds('crd.projectcalico.org/v1');
    t.match(
      await run(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items: definitions })),
      /customresourcedefinition.apiextensions.k8s.io\/ippools.crd.projectcalico.org created/,
    );
    t.match(await run(['get', 'crd']), /bgppeers.crd.projectcalico.org/);
    t.match(await run(['apply', '-f', '-'], pool('Always')), /ippool.crd.projectcalico.org\/p created/);
    t.match(await run(['apply', '-f', '-'], pool('Always')), /p unchanged/);
    t.match(await run(['apply', '-f', '-'], pool('Never')), /p configured/);
    t.match(server.store.get('crd.projectcalico.org/ippools', 'p'), {
      spec: { ipipMode: 'Never', natOutgoing: true },
    });
    t.match(JSON.parse(await run(['get', 'ippools', '-o', 'json'])), {
      items: [{ metadata: { name: 'p' } }],
    });
    t.match(
      await run(['apply', '-f', '-'], '{"apiVersion":"v1","kind":"Node","metadata":{"name":"a"}}'),
      /node\/a created/,
    );
    t.match(await run(['annotate', 'node', 'a', 'k=v']), /node\/a annotated/);
    t.match(server.store.get('/nodes', 'a'), { metadata: { annotations: { k: 'v' } } });
    t.match(
      await run(['create', 'secret', 'generic', 's', '--from-literal=k=v', '-n', 'vpp']),
      /secret\/s created/,
    );
    t.match(await run(['get', 'secret', '-n', 'vpp']), /^s /m);
    t.match(await run(['get', 'secret', '-n', 'other']), /No resources found/);
    t.match(await run(['delete', 'ippool', 'p']), /"p" deleted/);
    t.match(await run(['get', 'ippool', 'p']), /NotFound/);
  },
);

t.test('it answers as a real API server was seen to', async (t) => {
  const { server } = await start(t);
  for (const definition of calicoCrds('crd.projectcalico.org/v1')) server.put(definition);
  const seen = await observe(new URL(server.url));
  for (const [n, [what, answer]] of recorded.entries()) t.strictSame(seen[n], [what, answer], what);
});

t.test('versions: a watch begins where it is told, a write on an old one is refused', async (t) => {
  const { server } = await start(t);
  const ask = async (method: string, path: string, body?: unknown, type = 'application/json') => {
    const response = await fetch(`${server.url}${path}`, {
      method,
      headers: { 'content-type': type },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.json() };
  };
  const node = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'a', resourceVersion: undefined as unknown },
  };
  const created = await ask('POST', '/api/v1/nodes', node);
  t.match(created, { status: 201, body: { metadata: { uid: /./, resourceVersion: '2' } } });
  t.match(await ask('POST', '/api/v1/nodes', node), { status: 409, body: { reason: 'AlreadyExists' } });
  const patch = { metadata: { annotations: { a: '1' } } };
  t.match(await ask('PATCH', '/api/v1/nodes/a/status', patch, 'application/merge-patch+json'), {
    status: 200,
    body: { metadata: { resourceVersion: '3', annotations: { a: '1' } } },
  });
  node.metadata.resourceVersion = '2';
  t.match(await ask('PUT', '/api/v1/nodes/a', node), { status: 409, body: { reason: 'Conflict' } });
  t.match(
    await ask(
      'PATCH',
      '/api/v1/nodes/a',
      { metadata: { resourceVersion: '2' } },
      'application/merge-patch+json',
    ),
    { status: 409 },
  );
  node.metadata.resourceVersion = '3';
  t.match(await ask('PUT', '/api/v1/nodes/a?dryRun=All', node), { status: 200 });
  t.match(await ask('PUT', '/api/v1/nodes/a', node), {
    status: 200,
    body: { metadata: { resourceVersion: '4' } },
  });
  t.match(await ask('PATCH', '/api/v1/nodes/a', [], 'application/json-patch+json'), { status: 415 });
  t.match(await ask('GET', '/api/v1/pods'), { status: 404 });

  const events = async (version: number, count: number): Promise<unknown[]> => {
    const response = await fetch(`${server.url}/api/v1/nodes?watch=1&resourceVersion=${version}`);
    let text = '';
    for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += Buffer.from(part).toString();
      if (text.split('\n').length > count) break;
    }
    return text
      .split('\n')
      .slice(0, count)
      .map((line) => JSON.parse(line));
  };
  t.match(await events(2, 2), [
    { type: 'MODIFIED', object: { metadata: { resourceVersion: '3' } } },
    { type: 'MODIFIED', object: { metadata: { resourceVersion: '4' } } },
  ]);
  await ask('DELETE', '/api/v1/nodes/a');
  t.match(await events(4, 1), [{ type: 'DELETED', object: { metadata: { resourceVersion: '5' } } }]);
  server.store.compact();
  t.match(await events(4, 1), [{ type: 'ERROR', object: { kind: 'Status', code: 410 } }]);
});

t.test('what cannot be decoded is answered, and what is not there is not removed', async (t) => {
  const { server } = await start(t);
  const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'a' } };
  server.put(node);
  t.equal(server.remove(node), true);
  t.equal(server.remove(node), false);
  for (const path of ['/api/v1/nodes/%zz', '/%', '//']) {
    const [, host, port] = /^http:\/\/(.*):(\d+)$/.exec(server.url)!;
    const status = await new Promise((resolve, reject) => {
      get({ host, port, path }, (response) => resolve(response.resume().statusCode)).on('error', reject);
    });
    t.equal(status, 400, path);
  }
  t.equal((await fetch(`${server.url}/version`)).status, 200, 'it lives');
});
