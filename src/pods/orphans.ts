/** What is left in VPP of pods that nobody knows: what of it is to be removed, and what is let alone. */
import type { InterfaceTag } from '../objects/interfaces.js';
import type { VppObject } from '../objects/object.js';
import { isDangling, keyOf } from '../objects/object.js';
import { groupOrphans, type OrphanGroup } from './holdings.js';

export class Orphans {
  readonly #groups = new Map<string, OrphanGroup>();
  #found = 0;
  /** What the last whole look took for orphans: names of groups, keys of what dangles. */
  #suspects: ReadonlySet<string> = new Set();

  get size(): number {
    return this.#groups.size;
  }

  /** Seen by the last whole look. */
  get suspects(): number {
    return this.#suspects.size;
  }

  list(): readonly (readonly [id: string, group: OrphanGroup])[] {
    return [...this.#groups];
  }

  get(id: string): OrphanGroup | undefined {
    return this.#groups.get(id);
  }

  idOf(tag: InterfaceTag): string | undefined {
    return this.list().find(([, group]) => group.tag === tag)?.[0];
  }

  describe() {
    return this.list().map(([, { tag, netns, objects }]) => ({ tag, netns, objects: objects.length }));
  }

  /** This is left of it. */
  keep(id: string, objects: readonly VppObject[]): void {
    const group = this.#groups.get(id);
    if (group === undefined) return;
    if (objects.length === 0) this.#groups.delete(id);
    else this.#groups.set(id, { ...group, objects });
  }

  delete(id: string): void {
    this.#groups.delete(id);
  }

  clear(): void {
    this.#groups.clear();
    this.#suspects = new Set();
  }

  slots(): number[] {
    return this.list().flatMap(([, { slot }]) => slot ?? []);
  }

  /** Those among these that are not known yet. Dangling objects are of no group. */
  unknown(orphans: readonly VppObject[]): OrphanGroup[] {
    const known = new Set(this.list().map(([, group]) => nameOf(group)));
    return groupOrphans(orphans).filter((group) => !known.has(nameOf(group)));
  }

  /** Takes in what is new among these; answers the ids. */
  add(orphans: readonly VppObject[]): string[] {
    return this.#take(this.unknown(orphans));
  }

  /**
   * A dump is not one moment, and may show half of a pod that comes or goes: an orphan is what two whole looks in a row have seen. It is
   * taken in with all that this one shows of it; answers the ids, and what dangles, which is not kept.
   */
  confirm(orphans: readonly VppObject[]): { readonly ids: string[]; readonly dangling: VppObject[] } {
    const suspects = this.#suspects;
    const groups = this.unknown(orphans);
    const dangling = orphans.filter(isDangling);
    this.#suspects = new Set([...groups.map(nameOf), ...dangling.map(keyOf)]);
    return {
      ids: this.#take(groups.filter((group) => suspects.has(nameOf(group)))),
      dangling: dangling.filter((object) => suspects.has(keyOf(object))),
    };
  }

  #take(groups: readonly OrphanGroup[]): string[] {
    return groups.map((group) => {
      this.#found += 1;
      const id = `orphan ${this.#found}`;
      this.#groups.set(id, group);
      return id;
    });
  }
}

function nameOf({ tag, slot, objects }: OrphanGroup): string {
  return tag ?? (slot === undefined ? keyOf(objects[0]!) : `slot ${slot}`);
}
