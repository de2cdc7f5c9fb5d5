/** What the stand-in of a Kubernetes API server holds: objects, their versions, and the changes that a watch can begin from. */
import { isDeepStrictEqual } from 'node:util';

export type Json = Readonly<Record<string, unknown>>;

/** A kind of object as the API serves it. */
export interface Resource {
  /** Empty for the core. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly short?: string;
}

export interface StoredEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly version: number;
  /** Group and plural: versions of a kind share their objects. */
  readonly bucket: string;
  readonly object: Json;
  /** What was there before. */
  readonly old: Json | undefined;
}

/** An answer that is no success. */
export class Refusal extends Error {
  constructor(
    readonly code: number,
    readonly reason: string,
    message: string,
  ) {
    super(message);
  }
}

export const bucketOf = ({ group, plural }: Pick<Resource, 'group' | 'plural'>): string =>
  `${group}/${plural}`;

export function metadataOf(object: Json): Json {
  const { metadata } = object;
  return typeof metadata === 'object' && metadata !== null ? (metadata as Json) : {};
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** JSON merge patch, RFC 7396. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else merged[key] = mergePatch(merged[key], value);
  }
  return merged;
}

/** Changes that are remembered; a watch from before them is told 410. */
const history_max = 20_000;

export class Store {
  readonly #objects = new Map<string, Map<string, Json>>();
  readonly #watchers = new Set<(event: StoredEvent) => void>();
  #history: StoredEvent[] = [];
  #version = 1;
  #floor = 0;
  #uids = 0;

  get version(): number {
    return this.#version;
  }

  /** Changes up to here are forgotten. */
  get floor(): number {
    return this.#floor;
  }

  /** Forgets the changes so far, as etcd does when it is compacted. */
  compact(): void {
    this.#history = [];
    this.#floor = this.#version;
  }

  list(bucket: string): readonly Json[] {
    return [...(this.#objects.get(bucket)?.entries() ?? [])]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, object]) => object);
  }

  get(bucket: string, key: string): Json | undefined {
    return this.#objects.get(bucket)?.get(key);
  }

  /** Changes behind the version, or undefined when some of them are forgotten. */
  since(bucket: string, version: number): readonly StoredEvent[] | undefined {
    if (version < this.#floor) return undefined;
    return this.#history.filter((event) => event.bucket === bucket && event.version > version);
  }

  /** Calls back for each change from now on, until what is returned is called. */
  onChange(watcher: (event: StoredEvent) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  create(bucket: string, key: string, object: Json): Json {
    if (this.get(bucket, key) !== undefined)
      throw new Refusal(409, 'AlreadyExists', `${bucket} "${key}" already exists`);
    this.#uids += 1;
    const uid = `00000000-0000-4000-8000-${String(this.#uids).padStart(12, '0')}`;
    const metadata = { ...metadataOf(object), uid, generation: 1, creationTimestamp: '2020-01-01T00:00:00Z' };
    return this.#put('ADDED', bucket, key, { ...object, metadata });
  }

  /** Replaces; a version that the object names has to be that of the one there. */
  update(bucket: string, key: string, object: Json): Json {
    const old = this.get(bucket, key);
    if (old === undefined) throw new Refusal(404, 'NotFound', `${bucket} "${key}" not found`);
    const named = metadataOf(object).resourceVersion;
    if (named !== undefined && named !== metadataOf(old).resourceVersion)
      throw new Refusal(409, 'Conflict', `${bucket} "${key}": the object has been modified`);
    const { uid, creationTimestamp, generation, resourceVersion } = metadataOf(old);
    const metadata = { ...metadataOf(object), uid, creationTimestamp, generation, resourceVersion };
    // What changes nothing is no change: no version, no event.
    if (isDeepStrictEqual({ ...object, metadata }, old)) return old;
    return this.#put('MODIFIED', bucket, key, { ...object, metadata });
  }

  delete(bucket: string, key: string): Json {
    const old = this.get(bucket, key);
    if (old === undefined) throw new Refusal(404, 'NotFound', `${bucket} "${key}" not found`);
    return this.#put('DELETED', bucket, key, old);
  }

  #put(type: StoredEvent['type'], bucket: string, key: string, object: Json): Json {
    this.#version += 1;
    const stored = { ...object, metadata: { ...metadataOf(object), resourceVersion: String(this.#version) } };
    let objects = this.#objects.get(bucket);
    if (objects === undefined) {
      objects = new Map();
      this.#objects.set(bucket, objects);
    }
    const old = objects.get(key);
    if (type === 'DELETED') objects.delete(key);
    else objects.set(key, stored);
    const event = { type, version: this.#version, bucket, object: stored, old };
    this.#history.push(event);
    if (this.#history.length > history_max * 2) {
      this.#history = this.#history.slice(-history_max);
      this.#floor = this.#history[0]!.version - 1;
    }
    for (const watcher of this.#watchers) watcher(event);
    return stored;
  }
}
