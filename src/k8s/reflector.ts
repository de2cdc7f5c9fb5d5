import { isDeepStrictEqual } from 'node:util';
import { isRecord } from '../calico/fields.js';
import type { Kind } from '../calico/kinds/kind.js';
import { type Clock, orAborted } from '../clock.js';
import type { Log } from '../log.js';
import { backoffDelay } from '../supervision/backoff.js';
import { AccessError } from './access.js';
import { type ApiClient, ApiError, statusMessage } from './api-client.js';
import type { Discovery } from './discovery.js';
import { ItemSplitter, LineSplitter, type Piece, too_large } from './pieces.js';

/** What has become of objects of one kind since the last change. */
export interface Change<T> {
  readonly kind: string;
  /** Everything that there is has been told: what is absent from all changes does not exist. Once true it stays true. */
  readonly synced: boolean;
  /** By name, with the namespace and a slash before it where there is one; undefined: no longer there, or of no use. */
  readonly changed: ReadonlyMap<string, T | undefined>;
}

export interface ReflectorOptions<T> {
  readonly kind: Kind<T>;
  readonly client: ApiClient;
  readonly discovery: Discovery;
  readonly clock: Clock;
  readonly log: Log;
  /** Gives [0, 1). */
  readonly random: () => number;
  /** Takes a change. The reflector reads on when what is returned has settled: back-pressure up to the API server. Not to throw. */
  deliver(change: Change<T>): void | Promise<void>;
}

/** For people: what a reflector does, and what it could not read. */
export interface ReflectorStatus {
  readonly kind: string;
  readonly synced: boolean;
  readonly doing: 'waiting' | 'listing' | 'watching' | 'stopped';
  readonly objects: number;
  readonly lists: number;
  readonly watches: number;
  /** Why it waits. */
  readonly trouble?: string;
  /** By object, what is wrong with it. */
  readonly faults: Readonly<Record<string, readonly string[]>>;
  /** Objects with faults that are not shown. */
  readonly faulty_unshown: number;
}

/** How the last round ended. */
interface Round {
  /** Since the watch began; 0 when there was none. */
  readonly watched_ms: number;
  readonly events: number;
  /** That it began with; `none` where it went on from a version. */
  readonly list: 'none' | 'broken' | 'whole';
  readonly error?: unknown;
}

const backoff = { first_ms: 500, max_ms: 30_000, jitter: 0.5 };
/** A watch that has lived so long is no part of a series of failures. */
const healthy_ms = 10_000;
/** The server ends a watch after 5 to 10 minutes: connections spread over servers again. */
const watch_s_min = 300;
const watch_s_spread = 300;
/** The server sends a bookmark each minute; one that does not costs a new request at this pace. */
const watch_silence_ms = 150_000;
const list_silence_ms = 30_000;
/** etcd holds no object above 1.5 MiB. */
const object_bytes_max = 2 * 2 ** 20;
/** Watches refused in a row before another list is tried: the server may have lost the version that they are to begin with. */
const refusals_max = 3;
/** An API server that starts has no custom resources for a moment: not there is what is not there for some seconds. */
const absences_min = 5;
/** Objects whose faults are kept for people. */
const faulty_max = 100;
/** A list that takes more pages than this does not end. */
const pages_max = 10_000;

const gone = 410;
const not_found = 404;

/**
 * Keeps what an API server has of one kind: a list, page by page, then a watch from there on, for ever. A failure costs time and
 * nothing else: what was known stays, and the first list that is whole says what is gone.
 */
export class Reflector<T> {
  readonly #options: ReflectorOptions<T>;
  /** By key; undefined for one that cannot be used. */
  readonly #known = new Map<string, T | undefined>();
  readonly #faults = new Map<string, readonly string[]>();
  readonly #stop = new AbortController();
  #faulty_unshown = 0;
  #running: Promise<void> | undefined;
  #path = '';
  /** Where the next watch begins; undefined: with a list. */
  #version: string | undefined;
  #synced = false;
  #doing: ReflectorStatus['doing'] = 'stopped';
  #trouble: string | undefined;
  /** Times in a row that the API had no such kind. */
  #absences = 0;
  #lists = 0;
  #watches = 0;
  #changed = new Map<string, T | undefined>();

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
  }

  /** Runs until `stop`. Once. */
  start(): void {
    this.#running ??= this.#run(this.#stop.signal);
  }

  /** Resolves when nothing of it runs any more; nothing is delivered from the call on. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** All that is known, as one change: for a receiver that begins anew. */
  snapshot(): Change<T> {
    const changed = new Map<string, T>();
    for (const [key, value] of this.#known) if (value !== undefined) changed.set(key, value);
    return { kind: this.#options.kind.name, synced: this.#synced, changed };
  }

  status(): ReflectorStatus {
    return {
      kind: this.#options.kind.name,
      synced: this.#synced,
      doing: this.#doing,
      objects: this.#known.size,
      lists: this.#lists,
      watches: this.#watches,
      ...(this.#trouble !== undefined && this.#doing !== 'watching' && { trouble: this.#trouble }),
      faults: Object.fromEntries(this.#faults),
      faulty_unshown: this.#faulty_unshown,
    };
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    /** In a row. Apart: a server that answers again, be it by no, is not asked more slowly for the time that it was silent. */
    const failures = { silent: 0, answered: 0 };
    let lists = 0;
    while (!signal.aborted) {
      const round = await this.#round(signal);
      if (signal.aborted) break;
      // Events prove that the server works, but not that a list is worth its while: after that only time does.
      const healthy = round.watched_ms >= healthy_ms;
      const works = healthy || round.events > 0 || forgotten(round);
      if (works || round.list === 'whole') failures.silent = failures.answered = 0;
      const way = round.error instanceof ApiError && round.error.status > 0 ? 'answered' : 'silent';
      if (!works) failures[way] += 1;
      if (healthy) lists = 0;
      else if (round.list === 'whole') lists += 1;
      if (failures.answered >= refusals_max && refused(round.error)) this.#version = undefined;
      this.#tell(round.error, failures[way]);
      if (healthy && round.error === undefined) continue;
      const attempt = Math.max(1, failures[way], this.#version === undefined ? lists : 0);
      const asked_ms = round.error instanceof ApiError ? round.error.retry_after_ms : 0;
      const delay_ms = Math.max(asked_ms, backoffDelay(attempt, backoff, random));
      this.#doing = 'waiting';
      await clock.sleep(delay_ms, signal).catch(() => {});
    }
    this.#doing = 'stopped';
  }

  /** A list where one is needed, and a watch until it ends. Rejects never. */
  async #round(signal: AbortSignal): Promise<Round> {
    const { clock, discovery, kind } = this.#options;
    const watch = { began_ms: undefined as number | undefined, events: 0 };
    let list: Round['list'] = 'none';
    const end = (error?: unknown): Round => ({
      list,
      watched_ms: watch.began_ms === undefined ? 0 : clock.now_ms() - watch.began_ms,
      events: watch.events,
      ...(error !== undefined && { error }),
    });
    try {
      if (this.#version === undefined) {
        list = 'broken';
        await this.#list(signal);
        list = 'whole';
      }
      await this.#watch(signal, watch);
      return end();
    } catch (error) {
      if (error instanceof ApiError && (error.status === gone || error.status === not_found))
        this.#version = undefined;
      if (error instanceof ApiError && error.status === not_found) discovery.forget(kind);
      return end(error);
    }
  }

  #tell(error: unknown, failures: number): void {
    const { kind, log } = this.#options;
    const fields = { kind: kind.name };
    if (error === undefined) {
      this.#well();
      return;
    }
    const known = error instanceof ApiError || error instanceof AccessError;
    const text = (error as Error).message;
    if (!known) log.error({ ...fields, err: error }, 'k8s(watch) failed in a way that it should not');
    // A watch that is cut is daily bread, and resumed at once.
    else if (failures === 0 && this.#version !== undefined)
      log.debug({ ...fields, cause: text }, 'k8s(watch) was cut');
    else if (text !== this.#trouble)
      log.warn({ ...fields, cause: text }, 'k8s(watch) is tried again; what is known stays');
    this.#trouble = text;
  }

  #well(): void {
    const { kind, log } = this.#options;
    if (this.#trouble !== undefined) log.info({ kind: kind.name }, 'k8s(watch) works again');
    this.#trouble = undefined;
  }

  async #list(signal: AbortSignal): Promise<void> {
    this.#doing = 'listing';
    this.#lists += 1;
    const { discovery, kind } = this.#options;
    const path = await orAborted(discovery.pathOf(kind, signal), signal);
    if (path === undefined) {
      discovery.forget(kind);
      return this.#absent();
    }
    this.#absences = 0;
    this.#path = path;
    const listed = new Set<string>();
    let query: Readonly<Record<string, string>> = { limit: String(kind.page) };
    let whole = true;
    for (let pages = 0; pages < pages_max; pages += 1) {
      const page = await this.#page(query, listed, signal).catch((error: unknown) => {
        if (error instanceof ApiError && error.status === gone && 'continue' in query) return undefined;
        throw error;
      });
      if (page === undefined) {
        // The token expired while the list was read, and might again: all at once then.
        query = {};
        listed.clear();
        continue;
      }
      whole &&= page.whole;
      if (page.go_on === '') return this.#listedAll(listed, whole, page.version);
      query = { limit: String(kind.page), continue: page.go_on };
    }
    throw new ApiError(`GET ${path}: the list has no end`, 0);
  }

  /** One page. `whole` is false when something in it could not even be named. */
  async #page(
    query: Readonly<Record<string, string>>,
    listed: Set<string>,
    signal: AbortSignal,
  ): Promise<{ readonly version: string; readonly go_on: string; readonly whole: boolean }> {
    const { client, clock } = this.#options;
    const what = `GET ${this.#path}`;
    const response = await client.open('GET', this.#path, {
      query: { ...this.#selection(), ...query },
      signal,
    });
    const splitter = new ItemSplitter(object_bytes_max);
    let whole = true;
    for await (const chunk of client.chunks(response, list_silence_ms, what)) {
      for (const piece of splitter.feed(chunk)) {
        const key = this.#take(parsed(piece), false);
        if (key === undefined) whole = false;
        else listed.add(key);
      }
      await this.#flush(signal);
      await new Promise<void>((resolve) => clock.afterPoll(resolve));
    }
    const envelope = splitter.envelope();
    const metadata = isRecord(envelope) ? envelope.metadata : undefined;
    if (!isRecord(metadata) || typeof metadata.resourceVersion !== 'string')
      throw new ApiError(`${what}: the list broke off, or is none`, 0);
    const go_on = metadata.continue;
    return { version: metadata.resourceVersion, go_on: typeof go_on === 'string' ? go_on : '', whole };
  }

  /** What a list does not have is gone; unless something in it could not be named, and may be just that. */
  async #listedAll(listed: ReadonlySet<string>, whole: boolean, version: string): Promise<void> {
    if (whole) for (const key of [...this.#known.keys()]) if (!listed.has(key)) this.#forget(key);
    for (const key of [...this.#faults.keys()]) if (!listed.has(key)) this.#faults.delete(key);
    this.#faulty_unshown = 0;
    this.#version = version;
    await this.#sync();
  }

  async #absent(): Promise<never> {
    const { kind } = this.#options;
    this.#absences += 1;
    if (kind.absence === 'empty' && this.#absences >= absences_min && !this.#synced) await this.#sync();
    throw new ApiError(
      `the API server has no ${kind.plural} (${kind.versions.join(', ')})${kind.absence === 'wait' ? ': is Calico installed?' : ''}`,
      not_found,
    );
  }

  async #sync(): Promise<void> {
    const first = !this.#synced;
    this.#synced = true;
    await this.#flush(this.#stop.signal, first);
  }

  async #watch(signal: AbortSignal, watch: { began_ms: number | undefined; events: number }): Promise<void> {
    const { client, clock, random } = this.#options;
    const what = `GET ${this.#path}?watch`;
    const query = {
      ...this.#selection(),
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: this.#version ?? '',
      timeoutSeconds: String(watch_s_min + Math.floor(watch_s_spread * random())),
    };
    const response = await client.open('GET', this.#path, { query, signal });
    this.#watches += 1;
    watch.began_ms = clock.now_ms();
    this.#doing = 'watching';
    const splitter = new LineSplitter(object_bytes_max);
    for await (const chunk of client.chunks(response, watch_silence_ms, what)) {
      try {
        for (const piece of splitter.feed(chunk)) {
          this.#event(piece, what);
          watch.events += 1;
          this.#well();
        }
      } finally {
        // Also what came before an event that ends the watch.
        await this.#flush(signal);
      }
      await new Promise<void>((resolve) => clock.afterPoll(resolve));
    }
  }

  #event(piece: Piece, what: string): void {
    if (piece === too_large) {
      // Whose it is cannot be told: that object stays as it was.
      this.#take(undefined, false);
      return;
    }
    const event = parsed(piece);
    const type = isRecord(event) ? event.type : undefined;
    const object = isRecord(event) ? event.object : undefined;
    if (type === 'ERROR') {
      const code = isRecord(object) ? object.code : undefined;
      throw new ApiError(
        `${what}: ${statusMessage(object) || 'an error'}`,
        typeof code === 'number' ? code : 0,
      );
    }
    if (
      !isRecord(object) ||
      (type !== 'ADDED' && type !== 'MODIFIED' && type !== 'DELETED' && type !== 'BOOKMARK')
    ) {
      // Whatever was lost here is in the next list.
      this.#version = undefined;
      throw new ApiError(`${what}: an event that cannot be read`, 0);
    }
    const version = isRecord(object.metadata) ? object.metadata.resourceVersion : undefined;
    if (typeof version === 'string' && version !== '') this.#version = version;
    if (type !== 'BOOKMARK') this.#take(object, type === 'DELETED');
  }

  /** Takes one object in. Its key; undefined when it cannot be named. */
  #take(object: unknown, deleted: boolean): string | undefined {
    const { kind, log } = this.#options;
    const metadata = isRecord(object) ? object.metadata : undefined;
    const name = isRecord(metadata) ? metadata.name : undefined;
    if (!isRecord(object) || !isRecord(metadata) || typeof name !== 'string' || name === '') {
      const cause =
        object === undefined ? `larger than ${object_bytes_max} bytes, or no JSON` : 'without a name';
      log.warn({ kind: kind.name, cause }, 'k8s(object) cannot be read');
      return undefined;
    }
    const { namespace } = metadata;
    const key = typeof namespace === 'string' && kind.namespace === undefined ? `${namespace}/${name}` : name;
    if (deleted) {
      this.#forget(key);
      this.#faults.delete(key);
      return key;
    }
    const { value, faults } = kind.pick(name, object);
    this.#note(key, faults, value === undefined);
    const known = this.#known.get(key);
    if (this.#known.size >= kind.objects_max && !this.#known.has(key))
      throw new ApiError(`GET ${this.#path}: more than ${kind.objects_max} objects: no more are taken in`, 0);
    const same = kind.same ?? isDeepStrictEqual;
    const unchanged = known === undefined || value === undefined ? known === value : same(known, value);
    // Those who were told keep the one that they have: another that says the same would be there beside it.
    this.#known.set(key, unchanged ? known : value);
    // Most events are about what is not kept: a heartbeat, a claim time.
    if (!unchanged) this.#changed.set(key, value);
    return key;
  }

  #forget(key: string): void {
    if (this.#known.get(key) !== undefined) this.#changed.set(key, undefined);
    this.#known.delete(key);
  }

  #note(key: string, faults: readonly string[], left_out: boolean): void {
    const { kind, log } = this.#options;
    this.#faults.delete(key);
    if (faults.length === 0) return;
    const fields = { kind: kind.name, object: key, faults };
    if (left_out) log.warn(fields, 'k8s(object) is left out: correct it');
    else log.warn(fields, 'k8s(object) is used without a part: correct it');
    if (this.#faults.size < faulty_max) this.#faults.set(key, faults);
    else this.#faulty_unshown += 1;
  }

  /** Delivers what has gathered; with `always` even if that is nothing. */
  async #flush(signal: AbortSignal, always = false): Promise<void> {
    if (signal.aborted || (this.#changed.size === 0 && !always)) return;
    const changed = this.#changed;
    this.#changed = new Map();
    const { deliver, kind, log } = this.#options;
    try {
      const taken = deliver({ kind: kind.name, synced: this.#synced, changed });
      if (taken !== undefined) await orAborted(taken, signal);
    } catch (error) {
      if (!signal.aborted) log.error({ kind: kind.name, err: error }, 'k8s(watch) a receiver failed');
    }
  }

  #selection(): Readonly<Record<string, string>> {
    const { label_selector, object_name } = this.#options.kind;
    return {
      ...(object_name !== undefined && { fieldSelector: `metadata.name=${object_name}` }),
      ...(label_selector !== undefined && { labelSelector: label_selector }),
    };
  }
}

/** The server has heard what is wanted and says no, for another reason than load or permission. */
function refused(error: unknown): boolean {
  return error instanceof ApiError && error.status >= 400 && ![401, 403, 429, 503].includes(error.status);
}

/**
 * The server has forgotten the version that an earlier round ended with, as one does that was away: what came before in vain says nothing of it, and
 * what was missed is a list away.
 */
function forgotten({ list, error }: Round): boolean {
  return list === 'none' && error instanceof ApiError && error.status === gone;
}

function parsed(piece: Piece): unknown {
  if (piece === too_large) return undefined;
  try {
    return JSON.parse(piece.toString('utf8'));
  } catch {
    return undefined;
  }
}
