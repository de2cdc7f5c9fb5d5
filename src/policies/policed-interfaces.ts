/**
 * Interfaces that others make and policies are for: of pods and tunnels. Shared by those who make them, who say so before VPP has one and
 * each time that they have told VPP of it, and by the policies actor, who says which VPP has their policies.
 */
import type { InterfaceTag } from '../objects/interfaces.js';
import type { Attachment } from './compiler.js';

export interface PolicedInterface {
  /**
   * A tunnel is carried by the main uplink, and is of a network, which is not for whoever makes it to say. `is_left`: nobody asks for it, or not
   * yet: of which network it was may be known to nobody.
   */
  readonly attachment:
    | Extract<Attachment, { readonly kind: 'workload' }>
    | { readonly kind: 'tunnel'; readonly is_left?: true };
  /** Of a pod: its addresses in the default network, without a length. */
  readonly addresses: readonly string[];
}

/** One that was taken. */
export interface TakenInterface extends PolicedInterface {
  /** VPP was told of it, by this process, that it denies, and nothing else: no verdict of an earlier life is in force. */
  readonly is_closed: boolean;
}

/** Those who know of interfaces that an earlier life has left. */
const makers = ['cni', 'connectivity'] as const;
export type Maker = (typeof makers)[number];

export class PolicedInterfaces {
  readonly #all = new Map<InterfaceTag, PolicedInterface>();
  readonly #closed = new Set<InterfaceTag>();
  readonly #changed = new Set<InterfaceTag>();
  readonly #unsaid = new Set<Maker>(makers);
  #hears: (() => void) | undefined;
  #is_promised = false;
  /** The last VPP that was settled, by its generation. */
  #settled = 0;
  #waiter: { readonly generation: number; readonly then: () => void } | undefined;
  /** Those whose policies VPP has, whether it has the interface or not. */
  readonly #judged = new Set<InterfaceTag>();
  readonly #awaited = new Map<InterfaceTag, () => void>();

  /**
   * It is there, or is about to be; `closed`: it is about to be made, and denies. Whoever hears tells VPP of it anew: somebody else may
   * have, meanwhile.
   */
  put(tag: InterfaceTag, of: PolicedInterface, closed = false): void {
    this.#all.set(tag, of);
    if (closed) this.#closed.add(tag);
    this.#note(tag);
  }

  /** Nobody asks for this tunnel any more, and VPP still has it: whoever hears knows it, and who hears anew is told. */
  leaves(tag: InterfaceTag): void {
    const of = this.#all.get(tag);
    if (of?.attachment.kind === 'tunnel')
      this.#all.set(tag, { ...of, attachment: { kind: 'tunnel', is_left: true } });
  }

  /** VPP does not have it any more. */
  remove(tag: InterfaceTag): void {
    for (const of of [this.#closed, this.#judged, this.#awaited]) of.delete(tag);
    if (this.#all.delete(tag)) this.#note(tag);
  }

  #note(tag: InterfaceTag): void {
    // Where nobody hears it would be kept for ever: who comes is told of all.
    if (this.#hears === undefined) return;
    const is_first = this.#changed.size === 0;
    this.#changed.add(tag);
    if (is_first) this.#hears?.();
  }

  /** Who makes tunnels begins anew, and whoever hears does so behind it: what VPP has of them is read, and put again. */
  tunnelsAnew(): void {
    this.#unsaid.add('connectivity');
    for (const [tag, { attachment }] of this.#all) if (attachment.kind === 'tunnel') this.remove(tag);
  }

  /** All that this maker has left in an earlier life is in it: once all makers have said so, what is not is nobody's. */
  complete(by: Maker): void {
    if (this.#unsaid.delete(by) && this.isComplete) this.#hears?.();
  }

  get isComplete(): boolean {
    return this.#unsaid.size === 0;
  }

  /** Called in the middle of something else when there is something to `take`. The last one counts, and is told of all that there is. */
  hear(changed: () => void): void {
    this.#hears = changed;
    this.#changed.clear();
    this.#is_promised = false;
    this.#settled = 0;
    this.#judged.clear();
    this.#call(this.#awaited.keys());
    for (const tag of this.#all.keys()) this.#changed.add(tag);
    if (this.#changed.size > 0) changed();
  }

  /** What has changed since the last time; undefined: it is gone. */
  take(): ReadonlyMap<InterfaceTag, TakenInterface | undefined> {
    const changed = new Map(
      [...this.#changed].map((tag) => {
        const of = this.#all.get(tag);
        return [tag, of && { ...of, is_closed: this.#closed.has(tag) }] as const;
      }),
    );
    this.#changed.clear();
    return changed;
  }

  /**
   * Said by whoever hears: it knows all policies, and will call each VPP that can be programmed `settled`. Until it hears anew. From now on
   * interfaces have verdicts that are to stay if it begins anew.
   */
  promise(): void {
    this.#is_promised = true;
    this.#closed.clear();
  }

  /** The VPP of this generation has what it takes of the policies of all that was `taken`. Void while there is something to take. */
  settled(generation: number): void {
    if (this.#changed.size > 0 || generation === this.#settled) return;
    this.#settled = generation;
    this.#judged.clear();
    this.judged(this.#all.keys());
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

  /** VPP has the policies of these, as they were taken. */
  judged(tags: Iterable<InterfaceTag>): void {
    for (const tag of tags) {
      if (this.#changed.has(tag) || !this.#all.has(tag)) continue;
      this.#judged.add(tag);
      this.#call([tag]);
    }
  }

  /**
   * Calls back, in the middle of something else, when VPP has the policies of one that was put, or nobody is about to give them. False: it
   * is so. The last one of each counts. Whoever waits sets the limit.
   */
  whenJudged(tag: InterfaceTag, then: () => void): boolean {
    const waits = this.#is_promised && this.#all.has(tag) && !this.#judged.has(tag);
    if (waits) this.#awaited.set(tag, then);
    return waits;
  }

  #call(tags: Iterable<InterfaceTag>): void {
    for (const tag of [...tags]) {
      const then = this.#awaited.get(tag);
      this.#awaited.delete(tag);
      then?.();
    }
  }
}
