/** VPP's own numbers for what we name: sw_if_index by tag, translation id, classify table index. Valid for one session. */
import type { InterfaceTag, VppObject } from '../desired/objects.js';
import { dangling_prefix } from '../desired/objects.js';
import { interfaceMade, keyOf } from '../reconcile/order.js';

/** An object refers to an interface, or has to be removed by an id, that this VPP does not have. */
export class UnknownHandle extends Error {
  override readonly name = 'UnknownHandle';
  readonly code = 'unknown_handle';
}

export class Handles {
  private readonly interfaces = new Map<InterfaceTag, number>();
  private readonly others = new Map<string, number>();

  interface(tag: InterfaceTag): number {
    const index = tag.startsWith(dangling_prefix) ? Number(tag.slice(1)) : this.interfaces.get(tag);
    if (index === undefined) throw new UnknownHandle(`VPP has no interface with tag ${tag}`);
    return index;
  }

  setInterface(tag: InterfaceTag, sw_if_index: number): void {
    this.interfaces.set(tag, sw_if_index);
  }

  of(object: VppObject): number {
    const handle = this.find(object);
    if (handle === undefined) throw new UnknownHandle(`VPP's id of ${keyOf(object)} is not known`);
    return handle;
  }

  find(object: VppObject): number | undefined {
    return this.others.get(keyOf(object));
  }

  /** `object` was made and VPP calls it `handle`. */
  made(object: VppObject, handle: number): void {
    const tag = interfaceMade(object);
    if (tag === undefined) this.others.set(keyOf(object), handle);
    else this.interfaces.set(tag, handle);
  }

  /** `object` goes; answers what VPP called it. An interface that others have made stays. */
  forget(object: VppObject): number | undefined {
    if (object.kind === 'existing_interface') return undefined;
    const tag = interfaceMade(object);
    const [handles, name] = tag === undefined ? [this.others, keyOf(object)] : [this.interfaces, tag];
    const handle = handles.get(name);
    handles.delete(name);
    return handle;
  }

  /** Takes over what `seen` knows beyond this: what was made here meanwhile is newer than any dump. */
  learn(seen: Handles): void {
    for (const [tag, index] of seen.interfaces)
      if (!this.interfaces.has(tag)) this.interfaces.set(tag, index);
    for (const [key, id] of seen.others) if (!this.others.has(key)) this.others.set(key, id);
  }
}
