/**
 * Whose a translation is. VPP has one for each protocol, address and port, whoever asks for it, so that two who want the same would take
 * it from each other for ever. The first to ask has it until he lets it go; the others are told. Shared by all who make translations.
 */
import { flattened, type ObjectKey } from '../objects/object.js';

export interface TranslationOwner {
  readonly by: 'pods' | 'services';
  readonly id: string;
  /** For a person. */
  readonly name: string;
  /** Of a pod: the workload whose interface it is. */
  readonly workload?: string;
}

export class TranslationOwners {
  readonly #owners = new Map<ObjectKey, TranslationOwner>();
  readonly #keys = new Map<string, Set<ObjectKey>>();
  readonly #asked: ReadonlySet<TranslationOwner['by']>;
  readonly #silent: Set<TranslationOwner['by']>;
  /** Those who have in this life of theirs claimed all that they want of an earlier one. */
  readonly #whole = new Set<TranslationOwner['by']>();
  readonly #hears = new Map<TranslationOwner['by'], () => void>();
  readonly #watches = new Map<TranslationOwner['by'], () => void>();

  /** `asked`: those who may have translations from an earlier life, and say of each of their own lives which. */
  constructor(asked: readonly TranslationOwner['by'][] = []) {
    this.#asked = new Set(asked);
    this.#silent = new Set(asked);
  }

  /** Those who may have translations. */
  get owners(): readonly TranslationOwner['by'][] {
    return [...this.#asked];
  }

  /** Undefined: `owner` has it, by its present name. Otherwise who has. */
  claim(owner: TranslationOwner, text: ObjectKey): TranslationOwner | undefined {
    const key = flattened(text);
    const holder = this.#owners.get(key);
    if (holder !== undefined && (holder.by !== owner.by || holder.id !== owner.id)) return holder;
    this.#owners.set(key, owner);
    if (holder !== undefined) return undefined;
    const name = `${owner.by} ${owner.id}`;
    const keys = this.#keys.get(name);
    if (keys === undefined) this.#keys.set(name, new Set([key]));
    else keys.add(key);
    this.#watches.get(owner.by)?.();
    return undefined;
  }

  /** VPP holds none of this owner's but these. */
  release({ by, id }: Pick<TranslationOwner, 'by' | 'id'>, kept?: ReadonlySet<ObjectKey>): void {
    const keys = this.#keys.get(`${by} ${id}`);
    let freed = false;
    for (const key of keys ?? []) {
      if (kept?.has(key)) continue;
      keys!.delete(key);
      this.#owners.delete(key);
      freed = true;
    }
    if (keys?.size === 0) this.#keys.delete(`${by} ${id}`);
    if (freed) this.#tellOthers(by);
  }

  /** VPP does not hold this one of its owner any more. */
  releaseOne({ by, id }: Pick<TranslationOwner, 'by' | 'id'>, key: ObjectKey): void {
    const keys = this.#keys.get(`${by} ${id}`);
    if (keys?.delete(key) !== true) return;
    this.#owners.delete(key);
    if (keys.size === 0) this.#keys.delete(`${by} ${id}`);
    this.#tellOthers(by);
  }

  /** Called in the middle of something else whenever one of somebody else's is free, or all of theirs are known. The last one counts. */
  hear(by: TranslationOwner['by'], changed: () => void): void {
    this.#hears.set(by, changed);
  }

  #tellOthers(by: TranslationOwner['by']): void {
    for (const [other, changed] of this.#hears) if (other !== by) changed();
    this.#watches.get(by)?.();
  }

  /** Called in the middle of something else whenever these have another translation, or one less. The last one counts. */
  watch(by: TranslationOwner['by'], changed: () => void): void {
    this.#watches.set(by, changed);
  }

  /** All that these have. Undefined: they may still claim what an earlier life of theirs has had. */
  keysOf(by: TranslationOwner['by']): ObjectKey[] | undefined {
    if (!this.#whole.has(by)) return undefined;
    return [...this.#keys].flatMap(([name, keys]) => (name.startsWith(`${by} `) ? [...keys] : []));
  }

  /** A new life of these owners: what they have had is read from VPP. */
  forget(by: TranslationOwner['by']): void {
    this.#whole.delete(by);
    for (const owner of new Set(this.#owners.values())) if (owner.by === by) this.release(owner);
    if (this.#asked.has(by)) this.#silent.add(by);
  }

  /** These have claimed what they have from an earlier life. */
  hasSpoken(by: TranslationOwner['by']): void {
    if (this.#silent.delete(by)) this.#tellOthers(by);
  }

  /** These have claimed all that they want, whether VPP has had it or not. */
  areWhole(by: TranslationOwner['by']): void {
    this.#whole.add(by);
    this.#watches.get(by)?.();
  }

  of(key: ObjectKey): TranslationOwner | undefined {
    return this.#owners.get(key);
  }

  /** What is nobody's by this table is nobody's. */
  get isComplete(): boolean {
    return this.#silent.size === 0;
  }
}
