/** Whose the objects of a VPP are, from the rules of their kinds and the interfaces and tables among them. */
import type { InterfaceTag } from '../objects/interfaces.js';
import { dangling_prefix } from '../objects/interfaces.js';
import { interfaceMade, isDangling, ownerRule, type VppObject } from '../objects/object.js';
import type { Ownership } from '../objects/owner.js';

export class OwnerIndex {
  readonly #interfaces = new Map<InterfaceTag, Ownership>();
  readonly #tables = new Map<string, Ownership>();

  /** Interfaces and tables of the VPP; other objects are passed over. */
  constructor(objects: Iterable<VppObject>) {
    for (const object of objects) {
      const rule = ownerRule(object);
      if (rule.by !== 'name') continue;
      const owner = rule.of(object);
      const tag = interfaceMade(object);
      if (tag !== undefined) this.#interfaces.set(tag, owner);
      else if (object.kind === 'table') this.#tables.set(`${object.family}/${object.table_id}`, owner);
    }
  }

  of(object: VppObject): Ownership {
    const rule = ownerRule(object);
    switch (rule.by) {
      case 'kind':
        return rule.owner;
      case 'name':
        return rule.of(object);
      case 'fib_source':
        return rule.of(object);
      case 'table': {
        // An interface that is gone has to be forgotten before another one gets its index, whatever table the object is in.
        if (isDangling(object)) return 'nobody';
        const { family, table_id } = rule.of(object);
        return this.#tables.get(`${family}/${table_id}`) ?? 'foreign';
      }
      case 'interface':
        return this.ofInterface(rule.of(object));
    }
  }

  ofInterface(tag: InterfaceTag): Ownership {
    if (tag.startsWith(dangling_prefix)) return 'nobody';
    return this.#interfaces.get(tag) ?? 'foreign';
  }
}
