/** Removes from VPP what belongs to no pod, one pod's leavings at a time: nobody waits for it. */
import type { ActorContext, ActorRef } from '../actor-system.js';
import type { CniMessage } from '../messages/cni.js';
import type { VppConnectionMessage } from '../messages/vpp.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import type { VppObject } from '../objects/object.js';
import { isDangling } from '../objects/object.js';
import { applyOutcomes, removal } from '../reconcile/reconcile.js';
import type { TransactionResult } from '../reconcile/transaction.js';
import type { OrphanGroup } from './holdings.js';
import { Orphans } from './orphans.js';
import type { PodNamespaces } from './pod-namespaces.js';

const sweep_ms = 10_000;

export interface SweeperParts {
  readonly vpp: ActorRef<VppConnectionMessage>;
  readonly namespaces: PodNamespaces;
  /** Whether a pod that is known has this now. */
  readonly claimed: (object: VppObject) => boolean;
}

export class Sweeper {
  readonly orphans = new Orphans();
  readonly #ctx: ActorContext<CniMessage>;
  readonly #parts: SweeperParts;
  #generation = 0;
  /** Ids of what is to be removed, and of what is being removed. */
  readonly #waiting = new Set<string>();
  #busy: string | undefined;
  /** Ids of what is in a living namespace. */
  readonly #left_alone = new Set<string>();

  constructor(ctx: ActorContext<CniMessage>, parts: SweeperParts) {
    this.#ctx = ctx;
    this.#parts = parts;
  }

  /** Something is being removed, or is to be. */
  get busy(): boolean {
    return this.#busy !== undefined || this.#waiting.size > 0;
  }

  /** Interfaces without a record that look like living pods'. */
  get leftAlone(): number {
    return this.#left_alone.size;
  }

  /** The first look at a VPP of this generation, when no pod is being programmed. */
  survey(generation: number, orphans: readonly VppObject[]): void {
    this.#generation = generation;
    // Before any interface is made or deleted: a new one would get the index that these still point to.
    this.#sweepDangling(orphans);
    for (const id of this.orphans.add(orphans)) this.#judge(id);
  }

  /** A light audit has shown something that is not known yet: of how much, only a whole look tells. */
  isNew(orphans: readonly VppObject[]): boolean {
    return this.orphans.unknown(this.#unclaimed(orphans)).length > 0;
  }

  /** A whole look. */
  audit(orphans: readonly VppObject[]): void {
    const { ids, dangling } = this.orphans.confirm(this.#unclaimed(orphans));
    this.#sweepDangling(dangling);
    for (const id of ids) this.#judge(id);
  }

  /** Removes what was left alone as long as its namespace lived, and what could not be removed before. */
  collect(): void {
    for (const [id, group] of this.orphans.list()) if (!this.#looksAlive(group)) this.#sweep(id);
  }

  /** Removes what looks like the interface with this tag. */
  sweepTag(tag: InterfaceTag): void {
    const id = this.orphans.idOf(tag);
    if (id !== undefined) this.#sweep(id);
  }

  /** Gives what is left of this interface to the pod that has come for it; `wait`: it is just being removed. */
  adopt(tag: InterfaceTag): { readonly wait: string } | OrphanGroup | undefined {
    const id = this.orphans.idOf(tag);
    if (id === undefined) return undefined;
    if (this.#busy === id) return { wait: id };
    const group = this.orphans.get(id);
    this.orphans.delete(id);
    this.#waiting.delete(id);
    this.#left_alone.delete(id);
    return group;
  }

  /** The pod that has come for these has ended without a record. `deleted`: as it was asked to. */
  takeBack(objects: readonly VppObject[], deleted: boolean): void {
    for (const id of this.orphans.add(objects)) {
      if (deleted) this.#sweep(id);
      else this.#judge(id);
    }
  }

  /** Another VPP, of which nothing is known yet. */
  forget(): void {
    this.orphans.clear();
    this.#left_alone.clear();
    this.#waiting.clear();
    this.#busy = undefined;
  }

  /**
   * What VPP would not give up keeps its slot: a table that is there already would be shared, and later swept away from a living pod.
   * `collect` tries again.
   */
  ended(id: string, error?: Error): void {
    if (this.#busy !== id) return;
    this.#busy = undefined;
    if (error === undefined) this.orphans.delete(id);
    else this.#ctx.log.warn({ err: error }, 'pods(sweep) not all could be removed');
    this.#next();
  }

  /** An interface in a living namespace may be a pod's whose record is lost: taken away, that pod would lose its network. */
  #looksAlive({ netns }: OrphanGroup): boolean {
    return netns !== undefined && this.#parts.namespaces.mayBePods(netns);
  }

  #judge(id: string): void {
    const group = this.orphans.get(id)!;
    if (!this.#looksAlive(group)) return this.#sweep(id);
    const { tag, netns } = group;
    this.#left_alone.add(id);
    this.#ctx.event(
      'orphan',
      `${tag} in ${netns} has no record: left alone until its pod is added again or deleted`,
    );
    this.#ctx.log.warn({ tag, netns }, 'pods(sweep) an interface without record is left alone');
  }

  #sweep(id: string): void {
    this.#left_alone.delete(id);
    if (this.#busy === id) return;
    this.#waiting.add(id);
    this.#next();
  }

  #next(): void {
    const [id] = this.#waiting;
    if (this.#busy !== undefined || id === undefined) return;
    this.#waiting.delete(id);
    this.#busy = id;
    const tell = (error?: Error): void => {
      this.#ctx.tellSelf({ type: 'Swept', id, ...(error && { error }) });
    };
    this.#sweepNow(id, this.orphans.get(id)!, this.#generation).then(({ error }) => tell(error), tell);
  }

  async #sweepNow(
    id: string,
    { tag = 'tables', objects }: OrphanGroup,
    generation: number,
  ): Promise<TransactionResult> {
    this.#ctx.event('orphan', `${tag}: removed, ${objects.length} objects of no known pod`);
    const left = this.#unclaimed(objects);
    const result = await this.#transact(tag, left, generation);
    if (result.error !== undefined) this.orphans.keep(id, applyOutcomes(left, result.outcomes));
    return result;
  }

  #unclaimed(objects: readonly VppObject[]): VppObject[] {
    return objects.filter((object) => !this.#parts.claimed(object));
  }

  #sweepDangling(orphans: readonly VppObject[]): void {
    const dangling = orphans.filter(isDangling);
    // A failure is seen again by the audits.
    if (dangling.length > 0) this.#transact('routes', dangling, this.#generation).catch(() => {});
  }

  #transact(what: string, objects: readonly VppObject[], generation: number): Promise<TransactionResult> {
    const transaction = {
      generation,
      owner: `left over: ${what}`,
      operations: removal(objects),
      on_error: 'continue' as const,
      urgency: 'prompt' as const,
    };
    return this.#ctx.ask<VppConnectionMessage, TransactionResult>(
      this.#parts.vpp,
      (reply) => ({ type: 'Transact', transaction, reply }),
      sweep_ms,
    );
  }
}
