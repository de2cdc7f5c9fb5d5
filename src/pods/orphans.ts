/** What is left in VPP of pods that nobody knows: what of it is to be removed, and what is let alone. */
import type { InterfaceTag } from '../objects/interfaces.js';
import type { VppObject } from '../objects/object.js';
import { isDangling, keyOf } from '../objects/object.js';
import { groupOrphans, type OrphanGroup } from './holdings.js';

export class Orphans {
  readonly #groups = new Map<string, OrphanGroup>();
  #found = 0;
  /** Keys of the objects that the last audit took for orphans. */
  #suspects: ReadonlySet<string> = new Set();

  get size(): number {
    return this.#groups.size;
  }

  /** Seen once, by the last audit. */
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

  /** Takes in what is new among these; answers the ids. Dangling objects are not kept: they are removed at once. */
  add(orphans: readonly VppObject[]): string[] {
    const known = new Set(this.list().map(([, group]) => nameOf(group)));
    const groups = groupOrphans(orphans.filter((object) => !isDangling(object)));
    return groups
      .filter((group) => !known.has(nameOf(group)))
      .map((group) => {
        this.#found += 1;
        const id = `orphan ${this.#found}`;
        this.#groups.set(id, group);
        return id;
      });
  }

  /** A dump is not one moment, and may show half of a pod that comes or goes: an orphan is what two audits in a row have seen. */
  confirm(orphans: readonly VppObject[]): VppObject[] {
    const confirmed = orphans.filter((object) => this.#suspects.has(keyOf(object)));
    this.#suspects = new Set(orphans.map(keyOf));
    return confirmed;
  }
}

function nameOf({ tag, slot, objects }: OrphanGroup): string {
  return tag ?? (slot === undefined ? keyOf(objects[0]!) : `slot ${slot}`);
}
