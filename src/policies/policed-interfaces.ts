/**
 * Interfaces that others make and policies are for: of pods and tunnels. Shared by those who make them, who say so before VPP has one and
 * each time that they have told VPP of it, and by the policies actor, who says which VPP has their policies.
 */
import type { InterfaceTag } from '../objects/interfaces.js';
import type { Attachment } from './compiler.js';

export interface PolicedInterface {
  readonly attachment: Attachment;
  /** Of a pod: its addresses, without a length. */
  readonly addresses: readonly string[];
}

export class PolicedInterfaces {
  readonly #all = new Map<InterfaceTag, PolicedInterface>();
  readonly #changed = new Set<InterfaceTag>();
  #hears: (() => void) | undefined;
  #is_complete = false;
  #is_promised = false;
  /** The last VPP that was settled, by its generation. */
  #settled = 0;
  #waiter: { readonly generation: number; readonly then: () => void } | undefined;

  /** It is there, or is about to be. Whoever hears tells VPP of it anew: somebody else may have, meanwhile. */
  put(tag: InterfaceTag, of: PolicedInterface): void {
    this.#all.set(tag, of);
    this.#note(tag);
  }

  /** VPP does not have it any more. */
  remove(tag: InterfaceTag): void {
    if (this.#all.delete(tag)) this.#note(tag);
  }

  #note(tag: InterfaceTag): void {
    // Where nobody hears it would be kept for ever: who comes is told of all.
    if (this.#hears === undefined) return;
    const is_first = this.#changed.size === 0;
    this.#changed.add(tag);
    if (is_first) this.#hears?.();
  }

  /** All pods of an earlier life are in it: what is not is nobody's. */
  complete(): void {
    if (this.#is_complete) return;
    this.#is_complete = true;
    this.#hears?.();
  }

  get isComplete(): boolean {
    return this.#is_complete;
  }

  /** Called in the middle of something else when there is something to `take`. The last one counts, and is told of all that there is. */
  hear(changed: () => void): void {
    this.#hears = changed;
    this.#changed.clear();
    this.#is_promised = false;
    this.#settled = 0;
    for (const tag of this.#all.keys()) this.#changed.add(tag);
    if (this.#changed.size > 0) changed();
  }

  /** What has changed since the last time; undefined: it is gone. */
  take(): ReadonlyMap<InterfaceTag, PolicedInterface | undefined> {
    const changed = new Map([...this.#changed].map((tag) => [tag, this.#all.get(tag)] as const));
    this.#changed.clear();
    return changed;
  }

  /** Said by whoever hears: it knows all policies, and will call each VPP that can be programmed `settled`. Until it hears anew. */
  promise(): void {
    this.#is_promised = true;
  }

  /** The VPP of this generation has what it takes of the policies of all that was `taken`. Void while there is something to take. */
  settled(generation: number): void {
    if (this.#changed.size > 0 || generation === this.#settled) return;
    this.#settled = generation;
    if (this.#waiter?.generation !== generation) return;
    const { then } = this.#waiter;
    this.#waiter = undefined;
    then();
  }

  /**
   * Calls back, in the middle of something else, when this VPP is settled: interfaces that are made then have their policies from their first
   * message on. False: it is, or nobody has promised it. The last one counts. Whoever waits sets the limit.
   */
  whenSettled(generation: number, then: () => void): boolean {
    const waits = this.#is_promised && this.#settled !== generation;
    this.#waiter = waits ? { generation, then } : undefined;
    return waits;
  }
}
