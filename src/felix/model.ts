/**
 * What Felix wants, as it has told it. While it tells a snapshot the last complete one stays in force: a new Felix, or a broken
 * connection, changes nothing until the next InSync. Pure; work on large sets is done in pieces.
 */
import type { SetUpdate } from './members.js';
import type {
  FelixMessage,
  HostEndpoint,
  Policy,
  PolicyKey,
  Rules,
  WorkloadEndpoint,
  WorkloadKey,
} from './messages.js';
import { FelixSet, type Steps } from './set.js';

/** Of one kind. More is a broken Felix: it has no node with a tenth of them. */
export const objects_max = 200_000;

/** One complete statement of Felix's, or one that is under way. */
export class FelixState {
  config: ReadonlyMap<string, string> = new Map();
  readonly sets = new Map<string, FelixSet>();
  readonly policies = new Map<PolicyKey, Policy>();
  readonly profiles = new Map<string, Rules>();
  readonly workloads = new Map<WorkloadKey, WorkloadEndpoint>();
  readonly hosts = new Map<string, HostEndpoint>();
}

/** What may have changed, by name. */
export interface Touched {
  readonly config: boolean;
  readonly sets: ReadonlySet<string>;
  readonly policies: ReadonlySet<PolicyKey>;
  readonly profiles: ReadonlySet<string>;
  readonly workloads: ReadonlySet<WorkloadKey>;
  readonly hosts: ReadonlySet<string>;
}

export function isAnything({ config, sets, policies, profiles, workloads, hosts }: Touched): boolean {
  return config || [sets, policies, profiles, workloads, hosts].some(({ size }) => size > 0);
}

/** A message that was not taken in, or only in part; the stream goes on. */
export interface Problem {
  readonly object: string;
  readonly why: string;
}

type Table = 'policies' | 'profiles' | 'workloads' | 'hosts';

class Marks implements Touched {
  config = false;
  readonly sets = new Set<string>();
  readonly policies = new Set<PolicyKey>();
  readonly profiles = new Set<string>();
  readonly workloads = new Set<WorkloadKey>();
  readonly hosts = new Set<string>();
}

export class FelixModel {
  #live: FelixState | undefined;
  #staging: FelixState | undefined;
  #touched = new Marks();
  #work: Steps<Problem | undefined> | undefined;

  /** The last complete statement; undefined: none yet, and nothing may be concluded from what is not in it. */
  get live(): FelixState | undefined {
    return this.#live;
  }

  /** A snapshot is being told. */
  get syncing(): boolean {
    return this.#staging !== undefined;
  }

  /** Work of the last message is left: `work` is to be called before anything else. What `live` shows may be half of it. */
  get busy(): boolean {
    return this.#work !== undefined;
  }

  /** A connection begins, and with it a snapshot; what an earlier one had told of its own is forgotten. */
  connected(): void {
    this.#finish();
    this.#staging = new FelixState();
  }

  /** Its connection has ended; what was in force stays so. */
  disconnected(): void {
    this.#finish();
    this.#staging = undefined;
  }

  /** Half of a message is no state: the work of one that came whole is done, whatever became of its connection. */
  #finish(): void {
    while (this.#work !== undefined) this.work(Number.POSITIVE_INFINITY);
  }

  /** Takes a message in as far as it costs nothing; then `busy` says whether there is more to do. */
  apply(message: FelixMessage): Problem | undefined {
    if (this.#work !== undefined) throw new Error('a message before the work of the last one is done');
    this.#work = this.#steps(message);
    return this.work(0);
  }

  /** Looks at about so many members. */
  work(members: number): Problem | undefined {
    let left = members;
    for (;;) {
      const step = this.#work?.next();
      if (step === undefined) return undefined;
      if (step.done === true) {
        this.#work = undefined;
        return step.value;
      }
      left -= step.value;
      if (left <= 0) return undefined;
    }
  }

  /** What has changed of `live` since the last call. */
  take(): Touched {
    const touched = this.#touched;
    this.#touched = new Marks();
    return touched;
  }

  /** Where messages go: to the snapshot that is being told, or to what is in force. */
  get #state(): FelixState {
    const state = this.#staging ?? this.#live;
    if (state === undefined) throw new Error('a message without a connection');
    return state;
  }

  *#steps(message: FelixMessage): Steps<Problem | undefined> {
    switch (message.kind) {
      case 'in_sync':
        return yield* this.#inSync();
      case 'config':
        this.#state.config = message.config;
        if (!this.syncing) this.#touched.config = true;
        return undefined;
      case 'set':
        return yield* this.#replaceSet(message.update);
      case 'set_delta':
        return yield* this.#changeSet(message.update);
      case 'set_removed':
        return this.#removeSet(message.id);
      case 'policy':
        return this.#put('policies', message.key, message.policy);
      case 'policy_removed':
        return this.#remove('policies', message.key);
      case 'profile':
        return this.#put('profiles', message.name, message.profile);
      case 'profile_removed':
        return this.#remove('profiles', message.name);
      case 'workload':
        return this.#put('workloads', message.key, message.endpoint);
      case 'workload_removed':
        return this.#remove('workloads', message.key);
      case 'host':
        return this.#put('hosts', message.id, message.endpoint);
      case 'host_removed':
        return this.#remove('hosts', message.id);
      case 'wireguard_key':
      case 'ignored':
        return undefined;
      case 'unknown':
        return {
          object: `message ${message.field ?? 'without content'}`,
          why: 'a message that this release does not know; if policies are incomplete, upgrade it',
        };
      case 'unreadable':
        return { object: 'message', why: message.why };
    }
  }

  #put<T extends Table>(
    table: T,
    key: string,
    value: FelixState[T] extends Map<string, infer V> ? V : never,
  ): Problem | undefined {
    const objects = this.#state[table] as Map<string, typeof value>;
    if (objects.size >= objects_max && !objects.has(key))
      return { object: `${table} ${key}`, why: `not kept: there are ${objects_max} of them` };
    objects.set(key, value);
    this.#touch(table, key);
    return undefined;
  }

  #remove(table: Table, key: string): Problem | undefined {
    if (!this.#state[table].delete(key))
      return { object: `${table} ${key}`, why: 'removed, and was not there' };
    this.#touch(table, key);
    return undefined;
  }

  *#replaceSet(update: SetUpdate): Steps<Problem | undefined> {
    const { sets } = this.#state;
    const there = sets.get(update.id);
    if (there === undefined && sets.size >= objects_max)
      return { object: `set ${update.id}`, why: `not kept: there are ${objects_max} of them` };
    const set = yield* FelixSet.of(update);
    if (there !== undefined) yield* set.follow(there);
    sets.set(update.id, set);
    this.#touch('sets', update.id);
    return problemOf(set);
  }

  *#changeSet(delta: SetUpdate): Steps<Problem | undefined> {
    const set = this.#state.sets.get(delta.id);
    if (set === undefined) return { object: `set ${delta.id}`, why: 'changed, and is not there' };
    yield* set.apply(delta);
    this.#touch('sets', delta.id);
    return problemOf(set);
  }

  #removeSet(id: string): Problem | undefined {
    if (!this.#state.sets.delete(id)) return { object: `set ${id}`, why: 'removed, and was not there' };
    this.#touch('sets', id);
    return undefined;
  }

  #touch(table: Table | 'sets', key: string): void {
    if (!this.syncing) this.#touched[table].add(key);
  }

  /** The snapshot is complete and takes the place of the one before, of which everything may have changed. */
  *#inSync(): Steps<Problem | undefined> {
    if (this.#staging === undefined) return { object: 'in_sync', why: 'a second one on one connection' };
    const before = this.#live;
    const now = this.#staging;
    if (before !== undefined) {
      for (const [id, set] of now.sets) {
        const there = before.sets.get(id);
        if (there !== undefined) yield* set.follow(there);
      }
    }
    this.#live = now;
    this.#staging = undefined;
    this.#touched.config = true;
    for (const table of ['sets', 'policies', 'profiles', 'workloads', 'hosts'] as const)
      for (const state of [before, now])
        for (const key of state?.[table].keys() ?? []) this.#touched[table].add(key);
    return undefined;
  }
}

function problemOf(set: FelixSet): Problem | undefined {
  return set.fault === undefined ? undefined : { object: `set ${set.id}`, why: set.fault };
}
