import { isIP } from 'node:net';
import type { ShownServices } from '../messages/services.js';
import type { StatsReader } from '../stats/stats-reader.js';
import type { ActorState } from '../supervision/types.js';
import { BLOCKED_MS, type HealthView, type ProbeName, probes, probeText } from './health.js';
import { log_lines_default, log_lines_max } from './log-ring.js';
import type { OpenFiles } from './open-files.js';
import { ownersOf } from './owners.js';
import { page, page_policy } from './page/page.js';
import type { NodeFacts, Outcome, Question, SectionName, Sections, Stamped, Written } from './protocol.js';
import { servicesText } from './services-text.js';
import { statusOf, vppPidOf } from './status.js';
import { actor_states, filterTree, findNode, type ShownNode, type TreeFilter } from './tree-filter.js';
import { treeText } from './tree-text.js';
import { shownStats } from './vpp-stats.js';
import { parseWanted, type Why, whyText } from './why.js';

export interface Request {
  readonly method: string;
  /** Path and query as they came. */
  readonly url: string;
  /** The Accept header; empty when there was none. */
  readonly accept: string;
  /** The Host header; absent where there was none and it came by a Unix socket. */
  readonly host?: string;
}

export interface Answer {
  readonly status: number;
  readonly type: 'application/json' | 'text/plain; charset=utf-8' | 'text/html; charset=utf-8';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What the routes read from. Nothing of it waits for the main thread, except `ask`, which has a deadline. */
export interface Source {
  /** The last that was published; undefined when nothing was. */
  section<K extends SectionName>(name: K): Written<Sections[K]> | undefined;
  /** Time since the main loop last gave a sign of life. */
  silent_ms(): number;
  ask(question: Question): Promise<Outcome>;
  /** VPP's stats segment, of the process with this pid: it is read in this thread. */
  readonly stats: Pick<StatsReader, 'read' | 'retries'>;
  /** Of a process of this machine; undefined: it is not there. */
  openFiles(pid: number): OpenFiles | undefined;
  /** JSON. */
  readonly config: string;
  readonly facts: NodeFacts;
  /** Of the whole process: what any thread can find out. */
  process(): Readonly<Record<string, unknown>>;
  wall_ms(): number;
}

/** `health` may be reached from outside the node and shows no more than probes need; `debug` shows all. */
export type Surface = 'health' | 'debug';

interface Call {
  readonly source: Source;
  readonly query: URLSearchParams;
  readonly text: boolean;
  /** What followed a pattern that ends in `*`, decoded. */
  readonly rest: string;
}

interface Route {
  /** Exact path, or a prefix that ends in `*`. */
  readonly path: string;
  readonly surface: Surface;
  readonly shows: string;
  answer(call: Call): Answer | Promise<Answer>;
}

/** A request that is answered with an error. */
class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly fields: object = {},
  ) {
    super(message);
  }
}

function blockedMs(source: Source): number {
  const ms = source.silent_ms();
  return ms <= BLOCKED_MS ? 0 : Math.round(ms);
}

const mainLoop = (source: Source) => ({ main_loop: { blocked_ms: blockedMs(source) } });

function json(status: number, value: object): Answer {
  return { status, type: 'application/json', body: `${JSON.stringify(value, null, 2)}\n` };
}

function text(status: number, body: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body };
}

/** The content of a section; undefined when there is none to read. */
function contentOf<K extends SectionName>(source: Source, name: K): Sections[K] | undefined {
  const section = source.section(name);
  return section !== undefined && 'value' in section ? section.value : undefined;
}

/** Has the section written anew if the main thread can, and reads it; otherwise what was written last. */
async function fresh<K extends SectionName>(source: Source, name: K): Promise<Stamped<Sections[K]>> {
  await refresh(source, [name]);
  return stored(source, name);
}

/** A main loop that is known to be blocked is not asked: nobody waits for what will not come. */
async function refresh(source: Source, sections: readonly SectionName[]): Promise<void> {
  if (blockedMs(source) === 0) await source.ask({ type: 'refresh', sections });
}

function stored<K extends SectionName>(source: Source, name: K): Stamped<Sections[K]> {
  const section = source.section(name);
  if (section !== undefined && 'value' in section) return section;
  const why = section === undefined ? 'nothing was published' : section.error;
  throw new Refusal(503, `${name} cannot be read: ${why}`, mainLoop(source));
}

function envelope(source: Source, taken_at: number) {
  return { as_of: new Date(taken_at).toISOString(), ...mainLoop(source) };
}

function wholeNumber(query: URLSearchParams, name: string): number | undefined {
  const word = query.get(name);
  if (word === null) return undefined;
  if (/^\d{1,9}$/.test(word)) return Number(word);
  throw new Refusal(400, `${name}=${word} is not a whole number`);
}

function treeFilter(query: URLSearchParams): TreeFilter {
  const depth = wholeNumber(query, 'depth');
  const min_mailbox = wholeNumber(query, 'min_mailbox');
  const states = query.getAll('state').flatMap((words) => words.split(','));
  const unknown = states.find((state) => !(actor_states as readonly string[]).includes(state));
  if (unknown !== undefined) {
    throw new Refusal(400, `${unknown} is not a state of an actor: use ${actor_states.join(', ')}`);
  }
  return {
    ...(depth !== undefined && { depth }),
    ...(min_mailbox !== undefined && { min_mailbox }),
    ...(states.length > 0 && { states: states as ActorState[] }),
  };
}

async function tree({ source, query, text: asText }: Call): Promise<Answer> {
  const filter = treeFilter(query);
  const { taken_at, value } = await fresh(source, 'tree');
  const shown = filterTree(value.tree, filter);
  const blocked_ms = blockedMs(source);
  if (!asText) {
    return json(200, { ...envelope(source, taken_at), counters: value.counters, tree: shown });
  }
  const warning =
    blocked_ms === 0
      ? ''
      : `the main loop has been blocked for ${blocked_ms} ms; this is how it was at ${new Date(taken_at).toISOString()}\n`;
  return text(200, warning + treeText(shown, { now_ms: source.wall_ms() }));
}

function actorAt(source: Source, path: string): ShownNode {
  const { tree: root } = stored(source, 'tree').value;
  const node = findNode(root, path);
  if (node !== undefined) return node;
  const paths = root.children.map((child) => child.path);
  throw new Refusal(404, `no actor lives at ${path}`, { actors: [root.path, ...paths] });
}

/** From the main thread if it answers, otherwise put together from what it published. */
async function actor(call: Call): Promise<Answer> {
  const { source, rest } = call;
  await refresh(source, ['tree']);
  if (rest.endsWith('/state') && findNode(stored(source, 'tree').value.tree, rest) === undefined) {
    return actorState(source, rest.slice(0, -'/state'.length));
  }
  const node = actorAt(source, rest);
  const outcome: Outcome =
    blockedMs(source) === 0
      ? await source.ask({ type: 'node', path: node.path })
      : { ok: false, reason: 'the main loop is blocked', timeout: true };
  if (outcome.ok && outcome.text !== 'null') {
    const { children, ...details } = JSON.parse(outcome.text);
    return json(200, { ...envelope(source, source.wall_ms()), ...details, children: pathsOf(children) });
  }
  const { taken_at } = stored(source, 'tree');
  const events = contentOf(source, 'events')?.events.filter(({ path }) => path === node.path) ?? [];
  return json(200, {
    ...envelope(source, taken_at),
    ...node,
    children: pathsOf(node.children),
    events,
    errorLog: contentOf(source, 'errors')?.[node.path] ?? [],
  });
}

const pathsOf = (nodes: readonly ShownNode[]): string[] => nodes.map(({ path }) => path);

async function actorState(source: Source, path: string): Promise<Answer> {
  const { path: full, state, detail, mailbox, currentHandler } = actorAt(source, path);
  const outcome = await source.ask({ type: 'describe', path: full });
  const head = { ...envelope(source, source.wall_ms()), path: full };
  if (outcome.ok) return json(200, { ...head, state: JSON.parse(outcome.text) });
  return json(outcome.timeout ? 504 : 503, {
    ...head,
    error: outcome.timeout ? `the actor did not describe itself in time: ${outcome.reason}` : outcome.reason,
    actor: { state, detail, mailbox, currentHandler },
  });
}

async function vppApi({ source }: Call): Promise<Answer> {
  const outcome = await source.ask({ type: 'vppApi' });
  const head = envelope(source, source.wall_ms());
  if (outcome.ok) return json(200, { ...head, vpp: JSON.parse(outcome.text) });
  return json(outcome.timeout ? 504 : 503, { ...head, error: outcome.reason });
}

const match_max = 128;

/** The segment is read, and VPP is not asked. */
async function vppStats({ source, query }: Call): Promise<Answer> {
  const match = query.get('match') ?? '';
  if (match.length > match_max) throw new Refusal(400, `match= takes at most ${match_max} characters`);
  await refresh(source, ['tree']);
  const pid = vppPidOf(contentOf(source, 'tree')?.tree);
  const { stats } = source;
  const reading = await stats.read(pid, (view) => shownStats(view, match));
  const head = { ...envelope(source, source.wall_ms()), pid, retries: stats.retries };
  if (!reading.ok) return json(503, { ...head, error: reading.reason });
  const { value, epoch, took_ms, read_bytes, faults } = reading;
  return json(200, { ...head, epoch, took_ms, read_bytes, faults, ...value });
}

async function services({ source, query, text: asText }: Call): Promise<Answer> {
  const service = query.get('service');
  const question = { dump: query.has('dump'), ...(service !== null && { service }) };
  const outcome = await source.ask({ type: 'services', question });
  const head = envelope(source, source.wall_ms());
  if (outcome.ok && asText)
    return text(200, servicesText(JSON.parse(outcome.text) as ShownServices, service ?? undefined));
  if (outcome.ok) return json(200, { ...head, ...JSON.parse(outcome.text) });
  return json(outcome.timeout ? 504 : 503, { ...head, error: outcome.reason });
}

async function why({ source, query, text: asText }: Call): Promise<Answer> {
  const object = query.get('object') ?? '';
  if (parseWanted(object) === undefined)
    throw new Refusal(
      400,
      'object= takes NAMESPACE/NAME, pod/NAMESPACE/NAME, service/NAMESPACE/NAME or node',
    );
  const outcome = await source.ask({ type: 'why', object });
  const head = envelope(source, source.wall_ms());
  if (!outcome.ok) return json(outcome.timeout ? 504 : 404, { ...head, error: outcome.reason });
  const found = JSON.parse(outcome.text) as Why;
  return asText ? text(200, whyText(found)) : json(200, { ...head, why: found });
}

async function policies({ source, query }: Call): Promise<Answer> {
  const of = query.get('of');
  const outcome = await source.ask({ type: 'policies', question: of === null ? {} : { of } });
  const head = envelope(source, source.wall_ms());
  if (outcome.ok) return json(200, { ...head, ...JSON.parse(outcome.text) });
  return json(outcome.timeout ? 504 : 503, { ...head, error: outcome.reason });
}

async function log({ source, query }: Call): Promise<Answer> {
  const lines = Math.min(wholeNumber(query, 'last') ?? log_lines_default, log_lines_max);
  const outcome = await source.ask({ type: 'log', lines });
  if (!outcome.ok)
    return json(outcome.timeout ? 504 : 503, {
      ...envelope(source, source.wall_ms()),
      error: outcome.reason,
    });
  return text(200, (JSON.parse(outcome.text) as readonly string[]).join(''));
}

async function sync({ source }: Call): Promise<Answer> {
  await refresh(source, ['sync', 'tree']);
  const { taken_at, value } = stored(source, 'sync');
  const root = contentOf(source, 'tree')?.tree;
  const owners = root === undefined ? {} : ownersOf(root, value);
  return json(200, { ...envelope(source, taken_at), owners, sync: value });
}

async function events({ source, query, text: asText }: Call): Promise<Answer> {
  const last = wholeNumber(query, 'last');
  const { taken_at, value: all } = await fresh(source, 'events');
  const kept = last === undefined ? all.events : all.events.slice(Math.max(0, all.events.length - last));
  const value = { events: kept, omitted: all.omitted + all.events.length - kept.length };
  if (!asText) return json(200, { ...envelope(source, taken_at), ...value });
  const lines = value.events.map(
    ({ at, path, incarnation, kind, text: what }) =>
      `${new Date(at).toISOString()}  ${path}#${incarnation}  ${kind}  ${what.replace(/\p{Cc}+/gu, ' ')}\n`,
  );
  const omitted = value.omitted > 0 ? [`(${value.omitted} older events are not shown)\n`] : [];
  return text(200, [...omitted, ...lines].join(''));
}

function config({ source }: Call): Answer {
  return json(200, JSON.parse(source.config));
}

async function runtime({ source }: Call): Promise<Answer> {
  const { taken_at, value } = await fresh(source, 'runtime');
  return json(200, { ...envelope(source, taken_at), ...value, process: source.process() });
}

const healthView = (source: Source): HealthView => ({
  health: contentOf(source, 'health'),
  silent_ms: source.silent_ms(),
});

function probe(name: ProbeName) {
  return async ({ source, query }: Call): Promise<Answer> => {
    await refresh(source, ['health']);
    const checks = probes[name](healthView(source));
    const exclude = query.getAll('exclude').flatMap((words) => words.split(','));
    const { ok, text: body } = probeText(name, checks, { verbose: query.has('verbose'), exclude });
    return text(ok ? 200 : 503, body);
  };
}

async function status({ source }: Call): Promise<Answer> {
  await refresh(source, ['health', 'tree']);
  const known = contentOf(source, 'tree');
  const pid = vppPidOf(known?.tree);
  const vpp_files = pid === 0 ? undefined : source.openFiles(pid);
  const value = statusOf({
    ...healthView(source),
    vpp_files,
    facts: source.facts,
    tree: known?.tree,
    counters: known?.counters,
    blocked_ms: blockedMs(source),
    taken_at: source.section('health')?.taken_at ?? source.wall_ms(),
    now_ms: source.wall_ms(),
  });
  return json(value.ready ? 200 : 503, value);
}

const debugPage = (): Answer => ({
  status: 200,
  type: 'text/html; charset=utf-8',
  headers: { 'content-security-policy': page_policy, 'referrer-policy': 'no-referrer' },
  body: page,
});

export const routes: readonly Route[] = [
  { path: '/debug', surface: 'debug', shows: 'a page that shows all this as it is now', answer: debugPage },
  { path: '/livez', surface: 'health', shows: 'liveness; ?verbose ?exclude=', answer: probe('livez') },
  { path: '/liveness', surface: 'health', shows: 'as /livez', answer: probe('livez') },
  { path: '/readyz', surface: 'health', shows: 'readiness; ?verbose ?exclude=', answer: probe('readyz') },
  { path: '/readiness', surface: 'health', shows: 'as /readyz', answer: probe('readyz') },
  { path: '/startupz', surface: 'health', shows: 'has been ready once', answer: probe('startupz') },
  { path: '/status', surface: 'health', shows: 'the node at a glance', answer: status },
  {
    path: '/debug/tree',
    surface: 'debug',
    shows: 'supervision tree; ?depth= ?state= ?min_mailbox=; text with Accept: text/plain',
    answer: tree,
  },
  {
    path: '/debug/actor/*',
    surface: 'debug',
    shows: 'one actor with its events and errors; <path>/state: what it says of itself',
    answer: actor,
  },
  { path: '/debug/vpp/api', surface: 'debug', shows: 'connection to VPP', answer: vppApi },
  {
    path: '/debug/vpp/stats',
    surface: 'debug',
    shows:
      "VPP's stats segment: names of its entries; ?match=PART: the values of those that have this in their name",
    answer: vppStats,
  },
  {
    path: '/debug/services',
    surface: 'debug',
    shows:
      'services: what VPP is to have of them and has; ?service=namespace/name ?dump (VPP is asked); lines with Accept: text/plain',
    answer: services,
  },
  {
    path: '/debug/why',
    surface: 'debug',
    shows:
      'what is programmed for ?object= (NAMESPACE/NAME, pod/…, service/…, node), and by which input; text with Accept: text/plain',
    answer: why,
  },
  { path: '/debug/log', surface: 'debug', shows: 'the last lines of the log; ?last=', answer: log },
  {
    path: '/debug/sync',
    surface: 'debug',
    shows: 'state of each source of input; what each owner is to have in VPP, has, and was refused',
    answer: sync,
  },
  {
    path: '/debug/policies',
    surface: 'debug',
    shows:
      'policies: what each interface is to be judged by, what VPP has of it, what is refused, and which doors are open; ?of=namespace/pod or interface',
    answer: policies,
  },
  {
    path: '/debug/events',
    surface: 'debug',
    shows: 'last 1000 notable events; ?last=; text with Accept: text/plain',
    answer: events,
  },
  { path: '/debug/config', surface: 'debug', shows: 'configuration and where it comes from', answer: config },
  { path: '/debug/runtime', surface: 'debug', shows: 'event loop, heap, versions', answer: runtime },
];

const served = (surface: Surface): readonly Route[] =>
  surface === 'debug' ? routes : routes.filter((route) => route.surface === 'health');

function find(path: string, surface: Surface): { readonly route: Route; readonly rest: string } {
  for (const route of served(surface)) {
    if (route.path === path) return { route, rest: '' };
    const prefix = route.path.endsWith('*') ? route.path.slice(0, -1) : undefined;
    if (prefix !== undefined && path.startsWith(prefix) && path.length > prefix.length) {
      return { route, rest: path.slice(prefix.length) };
    }
  }
  throw new Refusal(404, `there is nothing at ${path}`, {
    paths: Object.fromEntries(served(surface).map(({ path: known, shows }) => [known, shows])),
  });
}

function parse({ method, url }: Request): { readonly path: string; readonly query: URLSearchParams } {
  if (method !== 'GET' && method !== 'HEAD') throw new Refusal(405, `${method} is not served: use GET`);
  const [path, query] = url.split('?', 2);
  try {
    return { path: decodeURIComponent(path!), query: new URLSearchParams(query ?? '') };
  } catch {
    throw new Refusal(400, 'the path is not valid percent-encoding');
  }
}

/**
 * A name that a browser was led here by may be anybody's, and so the page that asks: only addresses, localhost and `node`, which is what the manuals
 * say to a socket, are answered where there is more to read than probes need.
 */
function isOwnName(host: string): boolean {
  const name = host.replace(/:\d*$/, '').replace(/^\[(.*)\]$/, '$1');
  return name === 'localhost' || name === 'node' || isIP(name) !== 0;
}

/** Answers a request; every error is an answer, too. */
export async function respond(request: Request, surface: Surface, source: Source): Promise<Answer> {
  try {
    if (surface === 'debug' && request.host !== undefined && !isOwnName(request.host))
      throw new Refusal(421, 'ask by an address, or as localhost');
    const { path, query } = parse(request);
    const { route, rest } = find(path, surface);
    const asText = /^\s*text\/plain\b/.test(request.accept);
    return await route.answer({ source, query, text: asText, rest });
  } catch (error) {
    if (error instanceof Refusal) {
      const answer = json(error.status, { error: error.message, ...error.fields });
      return error.status === 405 ? { ...answer, headers: { allow: 'GET, HEAD' } } : answer;
    }
    return json(500, { error: (error as Error).message });
  }
}
