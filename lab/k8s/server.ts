import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Clock, Timer } from '../../src/clock.js';
import { Answer, statusOf } from './answer.js';
import type { Certificate } from './certificate.js';
import { core } from './core-resources.js';
import { type Fault, Faults, type Verb } from './faults.js';
import {
  bucketOf,
  type Json,
  mergePatch,
  metadataOf,
  Refusal,
  type Resource,
  Store,
  type StoredEvent,
} from './store.js';

/**
 * A stand-in of a Kubernetes API server, in memory, on loopback where nothing else is said: discovery, lists by page, watches with bookmarks, writes, custom
 * resources; enough for kubectl's get, apply and delete. It has no schemas, no admission and no roles, and shows objects as they were
 * written. It can be told to fail (faults.ts).
 */

export interface StandInOptions {
  /** Bookmarks once a minute by this clock; without one by `bookmark` alone. */
  readonly clock?: Clock;
  readonly tls?: Certificate;
  /** 0 or absent: any. */
  readonly port?: number;
  /** `127.0.0.1` when absent. */
  readonly address?: string;
}

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly verb: Verb;
  readonly query: Readonly<Record<string, string>>;
  readonly authorization?: string;
}

interface Watcher {
  readonly answer: Answer;
  readonly bookmarks: boolean;
  readonly resource: Resource;
}

const definitions: Resource = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
  short: 'crd',
};

const requests_max = 1000;
const pages_max = 16;
const page_token = 'page-';
const body_bytes_max = 4 * 2 ** 20;
const bookmark_ms = 60_000;

const apiVersion = ({ group, version }: Pick<Resource, 'group' | 'version'>): string =>
  group === '' ? version : `${group}/${version}`;

interface Target {
  readonly resource: Resource;
  readonly namespace?: string;
  readonly name?: string;
}

interface Call {
  readonly method: string;
  readonly url: URL;
  readonly answer: Answer;
  readonly body: string;
  readonly content_type: string;
}

export class StandInApiServer {
  readonly store = new Store();
  readonly faults = new Faults();
  /** The last thousand. */
  readonly requests: SeenRequest[] = [];
  /** Tokens that are let in; undefined: everybody is. */
  tokens: ReadonlySet<string> | undefined;
  readonly #options: StandInOptions;
  readonly #server: ReturnType<typeof createServer>;
  readonly #watchers = new Set<Watcher>();
  readonly #sockets = new Set<Socket>();
  readonly #pages = new Map<string, { readonly version: number; readonly rest: readonly Json[] }>();
  #page_count = 0;
  #bookmarks: Timer | undefined;

  constructor(options: StandInOptions = {}) {
    this.#options = options;
    const handle = (request: IncomingMessage, response: ServerResponse): void =>
      void this.#handle(request, response);
    this.#server = options.tls ? createTlsServer(options.tls, handle) : createServer(handle);
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  async start(): Promise<void> {
    this.#server.listen(this.#options.port ?? 0, this.#options.address ?? '127.0.0.1');
    await once(this.#server, 'listening');
    this.#scheduleBookmarks();
  }

  /** Cuts all connections; what is stored stays. `start` may follow, on the same port if one was given. */
  async stop(): Promise<void> {
    this.#bookmarks?.cancel();
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  get url(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    return `${this.#options.tls ? 'https' : 'http'}://${address}:${port}`;
  }

  get watchers(): readonly Watcher[] {
    return [...this.#watchers];
  }

  fault(fault: Fault): void {
    this.faults.add(fault);
  }

  /** Puts an object there, new or not, as a client would. */
  put(object: Json): Json {
    const { resource, key } = this.#placeOf(object);
    const bucket = bucketOf(resource);
    const old = this.store.get(bucket, key);
    return old === undefined
      ? this.store.create(bucket, key, this.#established(object))
      : this.store.update(bucket, key, {
          ...object,
          metadata: { ...metadataOf(object), resourceVersion: undefined },
        });
  }

  /** False: it was not there. */
  remove(object: Json): boolean {
    const { resource, key } = this.#placeOf(object);
    const bucket = bucketOf(resource);
    if (this.store.get(bucket, key) === undefined) return false;
    this.store.delete(bucket, key);
    return true;
  }

  bookmark(): void {
    for (const { answer, bookmarks, resource } of this.#watchers) {
      if (!bookmarks || answer.has('no-bookmarks')) continue;
      const metadata = { resourceVersion: String(this.store.version), creationTimestamp: null };
      answer.event('BOOKMARK', { kind: resource.kind, apiVersion: apiVersion(resource), metadata });
    }
  }

  #scheduleBookmarks(): void {
    this.#bookmarks = this.#options.clock?.after(bookmark_ms, () => {
      this.bookmark();
      this.#scheduleBookmarks();
    });
  }

  /** What is served now: the core and what custom resources define. */
  #resources(): readonly Resource[] {
    const custom = this.store.list(bucketOf(definitions)).flatMap((definition) => {
      const spec = definition.spec as {
        group: string;
        scope: string;
        names: { kind: string; plural: string };
        versions: { name: string; served: boolean }[];
      };
      return spec.versions
        .filter(({ served }) => served)
        .map(({ name }) => ({
          group: spec.group,
          version: name,
          plural: spec.names.plural,
          kind: spec.names.kind,
          namespaced: spec.scope === 'Namespaced',
        }));
    });
    return [...core, definitions, ...custom];
  }

  #placeOf(object: Json): { readonly resource: Resource; readonly key: string } {
    const resource = this.#resources().find(
      (each) => each.kind === object.kind && apiVersion(each) === object.apiVersion,
    );
    if (resource === undefined)
      throw new Refusal(404, 'NotFound', `no kind ${String(object.kind)} in ${String(object.apiVersion)}`);
    const { name, namespace } = metadataOf(object);
    return { resource, key: resource.namespaced ? `${String(namespace)}/${String(name)}` : String(name) };
  }

  #established(object: Json): Json {
    if (object.kind !== definitions.kind) return object;
    const conditions = ['Established', 'NamesAccepted'].map((type) => ({ type, status: 'True' }));
    const { names } = object.spec as { names: Json };
    return { ...object, status: { conditions, acceptedNames: names, storedVersions: [] } };
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = urlOf(request);
    if (url === undefined) {
      new Answer(response, []).refuse(400, 'BadRequest', 'the path cannot be decoded');
      return;
    }
    const method = request.method ?? 'GET';
    const parts: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const part of request as AsyncIterable<Buffer>) {
        bytes += part.length;
        if (bytes > body_bytes_max) {
          request.destroy();
          return;
        }
        parts.push(part);
      }
    } catch {
      // The client went away.
      return;
    }
    const target = this.#target(url.pathname);
    const verb = verbOf(method, url, target);
    const { authorization } = request.headers;
    this.requests.push({
      method,
      path: url.pathname,
      verb,
      query: Object.fromEntries(url.searchParams),
      ...(authorization !== undefined && { authorization }),
    });
    if (this.requests.length > requests_max) this.requests.shift();
    const answer = new Answer(response, this.faults.take(verb, target?.resource.plural ?? ''));
    if (answer.has('refuse')) {
      request.socket.destroy();
      return;
    }
    if (answer.has('silent')) return;
    const status = answer.has('status');
    if (status !== undefined) {
      const after = status.retry_after_s;
      answer.refuse(
        status.code,
        'Told',
        'told to fail',
        after === undefined ? {} : { 'retry-after': String(after) },
      );
      return;
    }
    if (this.tokens !== undefined && !this.tokens.has(authorization?.replace(/^Bearer /, '') ?? '')) {
      answer.refuse(401, 'Unauthorized', 'Unauthorized');
      return;
    }
    const content_type = request.headers['content-type'] ?? '';
    const call = { method, url, answer, body: Buffer.concat(parts).toString('utf8'), content_type };
    try {
      if (target === undefined) this.#discovery(call);
      else this.#serve(call, target, verb, response);
    } catch (error) {
      if (error instanceof Refusal) answer.refuse(error.code, error.reason, error.message);
      else if (error instanceof SyntaxError) answer.refuse(400, 'BadRequest', 'the body is no JSON');
      else throw error;
    }
  }

  /** `/api/v1/nodes/name/status`, `/apis/group/version/namespaces/ns/plural/name`: undefined for what is no object. */
  #target(path: string): Target | undefined {
    const parts = path
      .split('/')
      .filter((part) => part !== '')
      .map(decodeURIComponent);
    const [root] = parts;
    if (root !== 'api' && root !== 'apis') return undefined;
    const [group = '', version = ''] = root === 'api' ? ['', parts[1]] : parts.slice(1, 3);
    let rest = parts.slice(root === 'api' ? 2 : 3);
    let namespace: string | undefined;
    if (rest[0] === 'namespaces' && rest.length > 2) {
      namespace = rest[1];
      rest = rest.slice(2);
    }
    const [plural, name] = rest;
    if (plural === undefined) return undefined;
    const resource = this.#resources().find(
      (each) => each.group === group && each.version === version && each.plural === plural,
    );
    if (resource === undefined) return undefined;
    return { resource, ...(namespace !== undefined && { namespace }), ...(name !== undefined && { name }) };
  }

  #discovery({ answer, method, url }: Call): void {
    const resources = this.#resources();
    const groups = [...new Set(resources.map(({ group }) => group))].filter((group) => group !== '');
    const versionsOf = (group: string) =>
      [...new Set(resources.filter((each) => each.group === group).map(({ version }) => version))].map(
        (version) => ({
          groupVersion: `${group}/${version}`,
          version,
        }),
      );
    const [, , ...rest] = url.pathname.split('/');
    const group_version = rest.join('/');
    const of_version = resources.filter((each) => apiVersion(each) === group_version);
    if (method !== 'GET') answer.refuse(405, 'MethodNotAllowed', 'not here');
    else if (url.pathname === '/version')
      answer.document(200, { major: '1', minor: '30', gitVersion: 'v1.30.0', platform: 'linux/amd64' });
    else if (['/healthz', '/livez', '/readyz'].includes(url.pathname)) answer.document(200, {});
    else if (url.pathname === '/openapi/v2') this.#openApi(answer);
    else if (url.pathname === '/api') answer.document(200, { kind: 'APIVersions', versions: ['v1'] });
    else if (url.pathname === '/apis')
      answer.document(200, {
        kind: 'APIGroupList',
        apiVersion: 'v1',
        groups: groups.map((name) => {
          const versions = versionsOf(name);
          return { name, versions, preferredVersion: versions[0] };
        }),
      });
    else if (of_version.length > 0)
      answer.document(200, {
        kind: 'APIResourceList',
        apiVersion: 'v1',
        groupVersion: group_version,
        resources: of_version.map(({ plural, kind, namespaced, short }) => ({
          name: plural,
          singularName: kind.toLowerCase(),
          namespaced,
          kind,
          ...(short !== undefined && { shortNames: [short] }),
          verbs: ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'],
        })),
      });
    else answer.refuse(404, 'NotFound', 'the server could not find the requested resource');
  }

  /** An empty document, as protobuf, which is all that kubectl accepts here: then it checks nothing. */
  #openApi(answer: Answer): void {
    const text = (field: number, value: string): string =>
      String.fromCharCode((field << 3) | 2, value.length) + value;
    const info = text(1, 'stand-in') + text(2, '1');
    answer.begin(200, { 'content-type': 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf' });
    answer.send(text(1, '2.0') + text(2, info));
    answer.end();
  }

  #serve(call: Call, target: Target, verb: Verb, response: ServerResponse): void {
    const { answer } = call;
    if (verb === 'watch') this.#watch(call, target, response);
    else if (verb === 'list') this.#list(call, target);
    else {
      const object = verb === 'get' ? this.#get(target) : this.#write(call, target);
      answer.document(call.method === 'POST' ? 201 : 200, object);
    }
  }

  #get(target: Target): Json {
    const bucket = bucketOf(target.resource);
    const key = keyOf(target, target.name ?? '');
    const object = this.store.get(bucket, key);
    if (object === undefined)
      throw new Refusal(404, 'NotFound', `${target.resource.plural} "${target.name}" not found`);
    return shown(object, target.resource);
  }

  #write({ method, body, content_type, url }: Call, target: Target): Json {
    const bucket = bucketOf(target.resource);
    const dry = url.searchParams.has('dryRun');
    if (method === 'DELETE') {
      const deleted = dry ? this.#get(target) : this.store.delete(bucket, keyOf(target, target.name ?? ''));
      return { ...statusOf(200, '', ''), details: { name: metadataOf(deleted).name } };
    }
    const sent = JSON.parse(body) as Json;
    const name = target.name ?? String(metadataOf(sent).name ?? '');
    if (name === '') throw new Refusal(422, 'Invalid', 'metadata.name is required');
    const key = keyOf(target, name);
    if (method === 'POST') {
      const metadata = { ...metadataOf(sent), ...(target.namespace && { namespace: target.namespace }) };
      const object = this.#established({ ...sent, metadata });
      return dry ? object : this.store.create(bucket, key, object);
    }
    let object = sent;
    if (method === 'PUT' && target.resource.group !== '' && !('resourceVersion' in metadataOf(sent)))
      throw new Refusal(422, 'Invalid', 'metadata.resourceVersion: must be specified for an update');
    if (method === 'PATCH') {
      if (!/^application\/(strategic-)?merge-patch\+json/.test(content_type))
        throw new Refusal(415, 'UnsupportedMediaType', `no patch of type ${content_type}`);
      const old = this.#get(target);
      const named = metadataOf(sent).resourceVersion;
      const patched = mergePatch(old, sent) as Json;
      object = {
        ...patched,
        metadata: { ...metadataOf(patched), resourceVersion: named ?? undefined },
      };
    }
    return shown(dry ? object : this.store.update(bucket, key, object), target.resource);
  }

  #list({ answer, url }: Call, target: Target): void {
    const { resource } = target;
    const limit = Number(url.searchParams.get('limit') ?? 0);
    const token = url.searchParams.get('continue') ?? '';
    let items: readonly Json[];
    let version = this.store.version;
    if (token === '')
      items = this.store.list(bucketOf(resource)).filter((object) => selected(object, target, url));
    else {
      if (!token.startsWith(page_token)) throw new Refusal(400, 'BadRequest', 'continue key is not valid');
      const page = this.#pages.get(token);
      if (page === undefined || page.version < this.store.floor || answer.has('expired-page')) {
        answer.refuse(410, 'Expired', 'The provided continue parameter is too old');
        return;
      }
      items = page.rest;
      version = page.version;
    }
    const whole = limit === 0 || items.length <= limit || answer.has('no-paging') !== undefined;
    const page = whole ? items : items.slice(0, limit);
    const metadata = {
      resourceVersion: String(version),
      ...(!whole && {
        continue: this.#keep(version, items.slice(limit)),
        remainingItemCount: items.length - limit,
      }),
    };
    answer.begin(200);
    // Not one text: a list may have hundreds of megabytes.
    answer.send(`{"kind":"${resource.kind}List","apiVersion":"${apiVersion(resource)}","metadata":`);
    answer.send(`${JSON.stringify(metadata)},"items":[`);
    for (const [index, object] of page.entries())
      answer.send(`${index === 0 ? '' : ','}${JSON.stringify(shown(object, resource))}`);
    answer.send(']}\n');
    if (answer.has('stall') === undefined) answer.end();
  }

  #keep(version: number, rest: readonly Json[]): string {
    this.#page_count += 1;
    const token = `${page_token}${this.#page_count}`;
    this.#pages.set(token, { version, rest });
    if (this.#pages.size > pages_max) this.#pages.delete(this.#pages.keys().next().value!);
    return token;
  }

  #watch({ answer, url }: Call, target: Target, response: ServerResponse): void {
    const { resource } = target;
    const bucket = bucketOf(resource);
    const from = url.searchParams.get('resourceVersion') ?? '';
    const begin = from === '' || from === '0' ? undefined : Number(from);
    const missed = begin === undefined ? [] : this.store.since(bucket, begin);
    answer.begin(200);
    const error = answer.has('error-event');
    if (error !== undefined || missed === undefined) {
      answer.event('ERROR', statusOf(error?.code ?? 410, 'Expired', `too old resource version: ${from}`));
      answer.end();
      return;
    }
    const begun = (object: Json): void => {
      if (selected(object, target, url)) answer.event('ADDED', shown(object, resource));
    };
    // An object whose labels are no longer those that were asked for is gone, to who asked.
    const tell = ({ type, object, old }: StoredEvent): void => {
      const was = old !== undefined && selected(old, target, url);
      const is = type !== 'DELETED' && selected(object, target, url);
      if (was && !is) answer.event('DELETED', shown(object, resource));
      else if (is) answer.event(was ? 'MODIFIED' : 'ADDED', shown(object, resource));
    };
    if (begin === undefined) for (const object of this.store.list(bucket)) begun(object);
    for (const event of missed) tell(event);
    const watcher = { answer, resource, bookmarks: url.searchParams.get('allowWatchBookmarks') === 'true' };
    this.#watchers.add(watcher);
    const forget = this.store.onChange((event) => {
      if (event.bucket === bucket) tell(event);
    });
    response.on('close', () => {
      forget();
      this.#watchers.delete(watcher);
    });
  }
}

/** Undefined: it is none, or its path cannot be decoded. */
function urlOf({ url = '/' }: IncomingMessage): URL | undefined {
  try {
    const parsed = new URL(url, 'http://localhost');
    decodeURIComponent(parsed.pathname);
    return parsed;
  } catch {
    return undefined;
  }
}

function verbOf(method: string, url: URL, target: Target | undefined): Verb {
  if (target === undefined) return 'discovery';
  if (method !== 'GET') return 'write';
  if (target.name !== undefined) return 'get';
  return ['true', '1'].includes(url.searchParams.get('watch') ?? '') ? 'watch' : 'list';
}

const keyOf = ({ namespace, resource }: Target, name: string): string =>
  resource.namespaced ? `${namespace}/${name}` : name;

const shown = (object: Json, resource: Resource): Json => ({
  ...object,
  kind: resource.kind,
  apiVersion: apiVersion(resource),
});

/** By namespace of the path, `metadata.name` of the field selector, and the label selector. */
function selected(object: Json, { namespace }: Target, url: URL): boolean {
  const metadata = metadataOf(object);
  const name = /metadata\.name=([^,]+)/.exec(url.searchParams.get('fieldSelector') ?? '')?.[1];
  return (
    (namespace === undefined || metadata.namespace === namespace) &&
    (name ?? metadata.name) === metadata.name &&
    hasLabels(metadata.labels, url.searchParams.get('labelSelector') ?? '')
  );
}

/** Kubernetes' selectors without sets: `key`, `!key`, `key=value`, `key!=value`, with commas between. */
function hasLabels(labels: unknown, selector: string): boolean {
  const there = new Map(Object.entries((labels ?? {}) as Json));
  return selector.split(',').every((term) => {
    const [, not, key = '', operator, value] = /^(!?)([^=!]*)(==?|!=)?(.*)$/.exec(term.trim()) ?? [];
    if (key === '') return true;
    if (operator === undefined) return there.has(key) !== (not === '!');
    return (there.get(key) === value) === (operator !== '!=');
  });
}
