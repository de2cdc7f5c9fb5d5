/** ADDs that wait until something has been removed: another pod, or what is left of one. */
import type { CniAdd } from '../messages/cni.js';
import { type PodKey, sandboxName } from '../pod/spec.js';

/** What an ADD waits for that is no pod: it is not known whether its network is there. */
export const network_unknown = 'networks';

export class HeldAdds {
  /** With the id of the removal that each waits for. */
  readonly #held = new Map<CniAdd, string>();

  get size(): number {
    return this.#held.size;
  }

  hold(add: CniAdd, id: string): void {
    this.#held.set(add, id);
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

  /** Those that waited for `id`. */
  release(id: string): CniAdd[] {
    return this.#take((_add, waits_for) => waits_for === id);
  }

  /** Those that wait for something that is not among `ids`. */
  releaseOthers(ids: { has(id: string): boolean }): CniAdd[] {
    return this.#take((_add, waits_for) => !ids.has(waits_for));
  }

  /** Those for this interface. */
  withdraw(key: PodKey): CniAdd[] {
    return this.#take(({ spec }) => spec.key === key);
  }

  #take(test: (add: CniAdd, id: string) => boolean): CniAdd[] {
    const taken = [...this.#held].flatMap(([add, id]) => (test(add, id) ? add : []));
    for (const add of taken) this.#held.delete(add);
    return taken;
  }
}
