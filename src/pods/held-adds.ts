/** ADDs that wait until something has been removed: another pod, or what is left of one. */
import type { ActorContext } from '../actor-system.js';
import type { CniAdd, CniMessage } from '../messages/cni.js';
import { type PodKey, sandboxName } from '../pod/spec.js';
import { answer_margin_ms } from './callers.js';

/** What an ADD waits for that is no pod: it is not known whether its network is there. */
export const network_unknown = 'networks';

export class HeldAdds {
  /** With the id of the removal that each waits for. */
  readonly #held = new Map<CniAdd, string>();
  readonly #ctx: Pick<ActorContext<CniMessage>, 'after' | 'clock' | 'tellSelf'>;

  constructor(ctx: Pick<ActorContext<CniMessage>, 'after' | 'clock' | 'tellSelf'>) {
    this.#ctx = ctx;
  }

  get size(): number {
    return this.#held.size;
  }

  /** Has HeldExpired told when it has to be answered. */
  hold(add: CniAdd, id: string): void {
    this.#held.set(add, id);
    const left_ms = add.reply.deadline_ms - this.#ctx.clock.now_ms() - answer_margin_ms;
    this.#ctx.after(Math.max(0, left_ms), { type: 'HeldExpired', add });
  }

  /** Why it is refused; undefined when it waits no more. */
  giveUp(add: CniAdd): string | undefined {
    const id = this.#held.get(add);
    if (id === undefined) return undefined;
    this.#held.delete(add);
    const { netns, interface_name, network_name } = add.spec;
    if (id === network_unknown)
      return `${sandboxName(netns, interface_name)}: the network ${network_name} is not known yet, VPP is not ready or the Kubernetes API does not answer: retry`;
    return `${sandboxName(netns, interface_name)}: what is left of another pod (${id}) is not removed yet: retry`;
  }

  /** Those that waited for `id` are asked for again. */
  release(id: string): void {
    this.#again(this.#take((_add, waits_for) => waits_for === id));
  }

  /** Those that wait for something that is not among `ids`, likewise. */
  releaseOthers(ids: { has(id: string): boolean }): void {
    this.#again(this.#take((_add, waits_for) => !ids.has(waits_for)));
  }

  /** Those for this interface. */
  withdraw(key: PodKey): CniAdd[] {
    return this.#take(({ spec }) => spec.key === key);
  }

  #again(adds: readonly CniAdd[]): void {
    for (const add of adds) this.#ctx.tellSelf(add);
  }

  #take(test: (add: CniAdd, id: string) => boolean): CniAdd[] {
    const taken = [...this.#held].flatMap(([add, id]) => (test(add, id) ? add : []));
    for (const add of taken) this.#held.delete(add);
    return taken;
  }
}
