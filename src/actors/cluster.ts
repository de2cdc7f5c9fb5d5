/**
 * Reads the Kubernetes API for all who build on it: one reflector per kind that somebody wants, and one per Secret. What comes is told to the
 * subscribers, and read on when they have taken it in.
 */
import type { Actor, ActorContext, ChildSpec, LifeRef } from '../actor-system.js';
import type { Kind } from '../calico/kinds/kind.js';
import { type KindName, type Kinds, kinds, type ListedKind } from '../calico/kinds/kinds.js';
import { secretKind } from '../calico/kinds/secret.js';
import { Feed } from '../k8s/feed.js';
import type { Change, Reflector, ReflectorStatus } from '../k8s/reflector.js';
import type { AnyChange, ClusterChange, ClusterMessage } from '../messages/cluster.js';

export type Source<T> = Pick<Reflector<T>, 'start' | 'stop' | 'snapshot' | 'status'>;

/** Starts nothing yet. */
export type Reflect = <T>(kind: Kind<T>, deliver: (change: Change<T>) => void | Promise<void>) => Source<T>;

/** A part of the node that has no mailbox, or is started before this actor: told at once, and first. */
export interface Learner {
  readonly kind: ListedKind;
  /** Not to throw. */
  take(change: AnyChange): void;
}

export interface ClusterDeps {
  /** Undefined: there is no API server to ask. */
  readonly reflect: Reflect | undefined;
  /** Of Secrets. */
  readonly namespace: string;
  /** For each incarnation anew. */
  readonly learners: () => readonly Learner[];
  /** Gives [0, 1). */
  readonly random: () => number;
  /** Where people find what could not be read. */
  readonly report: (status: () => readonly SourceStatus[]) => void;
}

/** `Secret` has its name in `object`. */
export type SourceStatus = ReflectorStatus & { readonly object?: string };

/** A watch each, and a socket. */
const secrets_max = 128;
/** For one piece to be taken in. */
const answer_ms = 30_000;
const name_pattern = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

export function cluster(deps: ClusterDeps): ChildSpec<ClusterMessage> {
  return {
    name: 'cluster',
    restart: 'permanent',
    shutdown_ms: 5000,
    mailbox_max: 256,
    handler_ms_max: 30_000,
    start: (ctx) => new ClusterActor(ctx, deps),
  };
}

interface Subscriber {
  readonly kinds: ReadonlySet<KindName>;
  readonly feed: Feed<AnyChange>;
  secrets: ReadonlySet<string>;
}

class ClusterActor implements Actor<ClusterMessage> {
  readonly #ctx: ActorContext<ClusterMessage>;
  readonly #deps: ClusterDeps;
  readonly #learners: readonly Learner[];
  readonly #sources = new Map<ListedKind, Source<unknown>>();
  readonly #secrets = new Map<string, Source<Kinds['Secret']>>();
  /** By path. One that is down stays: what it wanted is kept for when it comes again. */
  readonly #subscribers = new Map<string, Subscriber>();

  constructor(ctx: ActorContext<ClusterMessage>, deps: ClusterDeps) {
    this.#ctx = ctx;
    this.#deps = deps;
    this.#learners = deps.learners();
    deps.report(() => this.#statuses());
    for (const { kind } of this.#learners) this.#listed(kind);
  }

  receive(message: ClusterMessage): void | Promise<void> {
    switch (message.type) {
      case 'Subscribe':
        return this.#subscribe(message.subscriber, message.kinds);
      case 'WantSecrets':
        return this.#wantSecrets(message.subscriber, message.names);
    }
  }

  async stop(): Promise<void> {
    for (const { feed } of this.#subscribers.values()) feed.close();
    const sources = [...this.#sources.values(), ...this.#secrets.values()];
    await Promise.all(sources.map((source) => source.stop()));
  }

  gauges() {
    const statuses = this.#statuses();
    return {
      kinds: this.#sources.size,
      secrets: this.#secrets.size,
      synced: statuses.filter(({ synced }) => synced).length,
      objects: statuses.reduce((sum, { objects }) => sum + objects, 0),
      subscribers: [...this.#subscribers.values()].filter(({ feed }) => !feed.isOver).length,
      waiting: [...this.#subscribers.values()].reduce((sum, { feed }) => sum + feed.waiting, 0),
    };
  }

  describe() {
    return {
      sources: this.#statuses(),
      subscribers: [...this.#subscribers].map(([path, { kinds, feed, secrets }]) => ({
        path,
        kinds: [...kinds],
        secrets: secrets.size,
        waiting: feed.waiting,
        down: feed.isOver,
      })),
    };
  }

  async #subscribe(ref: LifeRef<ClusterChange>, wanted: readonly KindName[]): Promise<void> {
    this.#subscribers.get(ref.path)?.feed.close();
    const subscriber: Subscriber = { kinds: new Set(wanted), feed: this.#feed(ref), secrets: new Set() };
    this.#subscribers.set(ref.path, subscriber);
    for (const kind of subscriber.kinds) {
      const source = kind === 'Secret' ? undefined : this.#listed(kind);
      const known = source?.snapshot() ?? {
        kind,
        synced: kind === 'Secret' && this.#deps.reflect !== undefined,
        changed: new Map(),
      };
      subscriber.feed.put(known as AnyChange);
    }
    await this.#tidy();
  }

  #feed(ref: LifeRef<ClusterChange>): Feed<AnyChange> {
    const { clock } = this.#ctx;
    return new Feed<AnyChange>({
      clock,
      random: this.#deps.random,
      send: (change) =>
        this.#ctx.ask(ref, (reply) => ({ type: 'ClusterChange', change, reply }) as const, answer_ms),
      isOver: (error) => (error as { code?: unknown }).code === 'ACTOR_DOWN',
    });
  }

  async #wantSecrets(ref: LifeRef<ClusterChange>, names: readonly string[]): Promise<void> {
    const subscriber = this.#subscribers.get(ref.path);
    if (subscriber === undefined || !subscriber.kinds.has('Secret')) return;
    subscriber.secrets = new Set(names);
    await this.#tidy();
    for (const name of subscriber.secrets) this.#secret(name);
    this.#tellSecrets(subscriber, subscriber.secrets);
  }

  /** The reflector of a kind, begun where there is none. */
  #listed(name: ListedKind): Source<unknown> | undefined {
    const known = this.#sources.get(name);
    if (known !== undefined) return known;
    const source = this.#deps.reflect?.(kinds[name] as Kind<unknown>, (change) =>
      this.#deliver(name, change as AnyChange),
    );
    if (source === undefined) return undefined;
    this.#sources.set(name, source);
    source.start();
    return source;
  }

  #secret(name: string): void {
    if (this.#secrets.has(name)) return;
    if (!name_pattern.test(name)) return;
    if (this.#secrets.size >= secrets_max) {
      this.#ctx.log.warn({ secret: name }, `cluster(secrets) ${secrets_max} are read: ${name} is not`);
      return;
    }
    const source = this.#deps.reflect?.(secretKind(this.#deps.namespace, name), () =>
      this.#deliverSecret(name),
    );
    if (source === undefined) return;
    this.#secrets.set(name, source);
    source.start();
  }

  async #deliver(kind: ListedKind, change: AnyChange): Promise<void> {
    for (const learner of this.#learners) if (learner.kind === kind) learner.take(change);
    const takers = [...this.#subscribers.values()].filter(({ kinds }) => kinds.has(kind));
    for (const { feed } of takers) feed.put(change);
    await Promise.all(takers.map(({ feed }) => feed.room()));
  }

  async #deliverSecret(name: string): Promise<void> {
    const takers = [...this.#subscribers.values()].filter(({ secrets }) => secrets.has(name));
    for (const taker of takers) this.#tellSecrets(taker, new Set([name]));
    await Promise.all(takers.map(({ feed }) => feed.room()));
  }

  /** Tells what is known of these; `synced` is said of all that are wanted. */
  #tellSecrets({ feed, secrets }: Subscriber, names: ReadonlySet<string>): void {
    const changed = new Map<string, Kinds['Secret'] | undefined>();
    for (const name of names) {
      const { synced, changed: known } = this.#secretNamed(name);
      if (synced || known.has(name)) changed.set(name, known.get(name));
    }
    const synced = [...secrets].every((name) => this.#secretNamed(name).synced);
    feed.put({ kind: 'Secret', synced, changed });
  }

  /** No Secret can have a name that is none; of one that is not read nothing is known. */
  #secretNamed(name: string): Pick<Change<Kinds['Secret']>, 'synced' | 'changed'> {
    const source = this.#secrets.get(name);
    return source?.snapshot() ?? { synced: !name_pattern.test(name), changed: new Map() };
  }

  /** Reads nothing that nobody wants any more. */
  async #tidy(): Promise<void> {
    const subscribers = [...this.#subscribers.values()];
    const over: Promise<void>[] = [];
    for (const [kind, source] of this.#sources) {
      if (this.#learners.some((learner) => learner.kind === kind)) continue;
      if (subscribers.some(({ kinds }) => kinds.has(kind))) continue;
      this.#sources.delete(kind);
      over.push(source.stop());
    }
    for (const [name, source] of this.#secrets) {
      if (subscribers.some(({ secrets }) => secrets.has(name))) continue;
      this.#secrets.delete(name);
      over.push(source.stop());
    }
    await Promise.all(over);
  }

  #statuses(): readonly SourceStatus[] {
    return [
      ...[...this.#sources.values()].map((source) => source.status()),
      ...[...this.#secrets].map(([object, source]) => ({ ...source.status(), object })),
    ];
  }
}
