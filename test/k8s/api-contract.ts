import { request as plainRequest } from 'node:http';
import { Agent, request } from 'node:https';

/** What an API server is asked, and what of its answers a client depends on: a real one and the stand-in have to agree. */

type Json = Readonly<Record<string, unknown>>;
export type Seen = readonly (readonly [string, unknown])[];

interface Answer {
  readonly status: number;
  readonly body: Json;
}

const pools = '/apis/crd.projectcalico.org/v1/ippools';
const merge = 'application/merge-patch+json';

const pool = (name: string, more: Json = {}, metadata: Json = {}): Json => ({
  apiVersion: 'crd.projectcalico.org/v1',
  kind: 'IPPool',
  metadata: { name, ...metadata },
  spec: { cidr: '10.0.0.0/16', ...more },
});

const metadataOf = (object: unknown) =>
  ((object as Json | undefined)?.metadata ?? {}) as Readonly<Record<string, string>>;

/** What is no object is not answered in JSON by all servers. */
function parsed(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return {};
  }
}

/** Asks a server that has Calico's kinds and no pools, and leaves none. */
export async function observe(server: URL): Promise<Seen> {
  const seen: (readonly [string, unknown])[] = [];
  const agent = new Agent({ rejectUnauthorized: false });
  const send = server.protocol === 'https:' ? request : plainRequest;

  /** The answer, or of a watch the first `events` of it. */
  function open(method: string, path: string, type: string, body: unknown, events: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const asked = send(
        new URL(path, server),
        { method, headers: { 'content-type': type }, ...(server.protocol === 'https:' && { agent }) },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          const done = (): void => {
            const lines = text
              .split('\n')
              .slice(0, events)
              .map((line) => JSON.parse(line));
            resolve({
              status: response.statusCode ?? 0,
              body: events > 0 ? { events: lines } : parsed(text),
            });
            response.destroy();
          };
          response.on('data', (part: string) => {
            text += part;
            if (events > 0 && text.split('\n').length > events) done();
          });
          response.on('end', done);
          response.on('error', reject);
        },
      );
      asked.on('error', reject);
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
  const ask = (method: string, path: string, body?: unknown, type = 'application/json') =>
    open(method, path, type, body, 0);
  const note = (what: string, { status, body }: Answer, more?: unknown) =>
    seen.push([what, [status, body.kind ?? '', body.reason ?? '', ...(more === undefined ? [] : [more])]]);

  const discovery = await ask('GET', '/apis/crd.projectcalico.org/v1');
  const names = (discovery.body.resources as { name: string }[]).map(({ name }) => name);
  note('discovery', discovery, [names.includes('ippools'), names.includes('bgpfilters')]);
  for (const path of ['v9', 'v1/umbrellas', 'v1/umbrellas/u'])
    seen.push([path, (await ask('GET', `/apis/crd.projectcalico.org/${path}`)).status]);
  const empty = await ask('GET', pools);
  const before = metadataOf(empty.body).resourceVersion;
  note('an empty list', empty, [empty.body.items, typeof before]);
  const created = await ask('POST', pools, pool('p1'));
  note(
    'create',
    created,
    Object.keys(metadataOf(created.body))
      .filter((key) => key !== 'managedFields')
      .sort(),
  );
  note('create again', await ask('POST', pools, pool('p1')));
  note('create dry', await ask('POST', `${pools}?dryRun=All`, pool('p9')));
  note('get', await ask('GET', `${pools}/p1`));
  note('get what is not there', await ask('GET', `${pools}/p9`));
  const first = metadataOf(created.body).resourceVersion;
  const patched = await ask('PATCH', `${pools}/p1`, { metadata: { annotations: { a: '1', b: '2' } } }, merge);
  note('patch', patched, metadataOf(patched.body).annotations);
  const less = await ask('PATCH', `${pools}/p1`, { metadata: { annotations: { a: null } } }, merge);
  note('patch away', less, metadataOf(less.body).annotations);
  const again = await ask('PATCH', `${pools}/p1`, { metadata: { annotations: { a: null } } }, merge);
  note(
    'patch nothing',
    again,
    metadataOf(again.body).resourceVersion === metadataOf(less.body).resourceVersion,
  );
  note(
    'patch an old version',
    await ask('PATCH', `${pools}/p1`, { metadata: { resourceVersion: first } }, merge),
  );
  note('patch what is not there', await ask('PATCH', `${pools}/p9`, {}, merge));
  note('a patch of no known type', await ask('PATCH', `${pools}/p1`, {}, 'text/plain'));
  note('update an old version', await ask('PUT', `${pools}/p1`, pool('p1', {}, { resourceVersion: first })));
  note('update without a version', await ask('PUT', `${pools}/p1`, pool('p1')));
  const { resourceVersion } = metadataOf(less.body);
  note('update', await ask('PUT', `${pools}/p1`, pool('p1', { natOutgoing: true }, { resourceVersion })));
  for (const name of ['p2', 'p3']) await ask('POST', pools, pool(name));
  const page = await ask('GET', `${pools}?limit=2`);
  const go_on = metadataOf(page.body).continue ?? '';
  const named = (answer: Answer) => (answer.body.items as Json[]).map((item) => metadataOf(item).name);
  note('a page', page, [named(page), go_on !== '', metadataOf(page.body).remainingItemCount]);
  await ask('POST', pools, pool('p25'));
  const next = await ask('GET', `${pools}?limit=2&continue=${encodeURIComponent(go_on)}`);
  note('the next page is of the same version', next, [
    named(next),
    metadataOf(next.body).continue ?? '',
    metadataOf(next.body).resourceVersion === metadataOf(page.body).resourceVersion,
  ]);
  note('a page of nothing known', await ask('GET', `${pools}?limit=2&continue=nonsense`));
  const one = await ask('GET', `${pools}?fieldSelector=metadata.name%3Dp2`);
  note('one by name', one, named(one));
  const deleted = await ask('DELETE', `${pools}/p3`);
  note('delete', deleted, deleted.body.status);
  note('delete again', await ask('DELETE', `${pools}/p3`));
  const watched = await open('GET', `${pools}?watch=true&resourceVersion=${before}`, '', undefined, 8);
  note(
    'watch',
    watched,
    (watched.body.events as { type: string; object: Json }[]).map(({ type, object }) => [
      type,
      object.kind,
      object.apiVersion,
      metadataOf(object).name,
    ]),
  );
  const from_now = await open('GET', `${pools}?watch=true`, '', undefined, 3);
  note(
    'watch without a version',
    from_now,
    (from_now.body.events as { type: string; object: Json }[])
      .map(({ type, object }) => [type, metadataOf(object).name])
      .sort(),
  );
  for (const name of ['p1', 'p2', 'p25']) await ask('DELETE', `${pools}/${name}`);
  agent.destroy();
  return seen;
}

/** What a real API server, k8s.io/apiextensions-apiserver 0.36.6, was seen to answer. */
export const recorded: Seen = [
  ['discovery', [200, 'APIResourceList', '', [true, true]]],
  ['v9', 404],
  ['v1/umbrellas', 404],
  ['v1/umbrellas/u', 404],
  ['an empty list', [200, 'IPPoolList', '', [[], 'string']]],
  ['create', [201, 'IPPool', '', ['creationTimestamp', 'generation', 'name', 'resourceVersion', 'uid']]],
  ['create again', [409, 'Status', 'AlreadyExists']],
  ['create dry', [201, 'IPPool', '']],
  ['get', [200, 'IPPool', '']],
  ['get what is not there', [404, 'Status', 'NotFound']],
  ['patch', [200, 'IPPool', '', { a: '1', b: '2' }]],
  ['patch away', [200, 'IPPool', '', { b: '2' }]],
  ['patch nothing', [200, 'IPPool', '', true]],
  ['patch an old version', [409, 'Status', 'Conflict']],
  ['patch what is not there', [404, 'Status', 'NotFound']],
  ['a patch of no known type', [415, 'Status', 'UnsupportedMediaType']],
  ['update an old version', [409, 'Status', 'Conflict']],
  ['update without a version', [422, 'Status', 'Invalid']],
  ['update', [200, 'IPPool', '']],
  ['a page', [200, 'IPPoolList', '', [['p1', 'p2'], true, 1]]],
  ['the next page is of the same version', [200, 'IPPoolList', '', [['p3'], '', true]]],
  ['a page of nothing known', [400, 'Status', 'BadRequest']],
  ['one by name', [200, 'IPPoolList', '', ['p2']]],
  ['delete', [200, 'Status', '', 'Success']],
  ['delete again', [404, 'Status', 'NotFound']],
  [
    'watch',
    [
      200,
      '',
      '',
      [
        ['ADDED', 'IPPool', 'crd.projectcalico.org/v1', 'p1'],
        ['MODIFIED', 'IPPool', 'crd.projectcalico.org/v1', 'p1'],
        ['MODIFIED', 'IPPool', 'crd.projectcalico.org/v1', 'p1'],
        ['MODIFIED', 'IPPool', 'crd.projectcalico.org/v1', 'p1'],
        ['ADDED', 'IPPool', 'crd.projectcalico.org/v1', 'p2'],
        ['ADDED', 'IPPool', 'crd.projectcalico.org/v1', 'p3'],
        ['ADDED', 'IPPool', 'crd.projectcalico.org/v1', 'p25'],
        ['DELETED', 'IPPool', 'crd.projectcalico.org/v1', 'p3'],
      ],
    ],
  ],
  [
    'watch without a version',
    [
      200,
      '',
      '',
      [
        ['ADDED', 'p1'],
        ['ADDED', 'p2'],
        ['ADDED', 'p25'],
      ],
    ],
  ],
];
