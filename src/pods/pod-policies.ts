/** Has policies for the pod's interface from before its first packet on, and an ADD wait for them, if they come soon. */
import type { ActorContext } from '../actor-system.js';
import type { PodMessage } from '../messages/pod.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import { podInterfaceTags } from '../pod/names.js';
import { addressesOf, endpointOf, type PodSpec } from '../pod/spec.js';
import type { PolicedInterfaces } from '../policies/policed-interfaces.js';

/**
 * A flow that meets a closed interface is denied for as long as it goes on, so that VPP is to have the policies first. They are a few messages to
 * VPP; behind much else the pod comes closed.
 */
export const judged_ms = 500;

export class PodPolicies {
  readonly #ctx: Pick<ActorContext<PodMessage>, 'after' | 'tellSelf'>;
  readonly #policed: PolicedInterfaces;
  /** Its interfaces, as those who police them know them. */
  readonly #tags = new Set<InterfaceTag>();
  /** Counts what is waited for. */
  #wait = 0;
  #state: 'unasked' | 'awaited' | 'there' = 'unasked';

  constructor(ctx: Pick<ActorContext<PodMessage>, 'after' | 'tellSelf'>, policed: PolicedInterfaces) {
    this.#ctx = ctx;
    this.#policed = policed;
  }

  /** Policies are for it; `made`: VPP is about to be told to make it. */
  put(spec: PodSpec, made = false): void {
    const { network_name: network } = spec;
    const attachment = {
      kind: 'workload',
      endpoint: endpointOf(spec.workload),
      ...(network !== '' && { network }),
    } as const;
    // Who has one of them elsewhere is no pod.
    const addresses = network === '' ? addressesOf(spec) : [];
    for (const tag of podInterfaceTags(spec)) {
      this.#tags.add(tag);
      this.#policed.put(tag, { attachment, addresses }, made);
    }
  }

  remove(): void {
    for (const tag of this.#tags) this.#policed.remove(tag);
    this.#tags.clear();
  }

  /** Another ADD, or another VPP: it waits anew. */
  rewind(): void {
    this.#state = 'unasked';
  }

  /** An interface that is about to be made has to wait: Policed is told. */
  awaits(spec: PodSpec): boolean {
    if (this.#state !== 'unasked') return this.#state === 'awaited';
    this.put(spec, true);
    this.#wait += 1;
    const message = { type: 'Policed', wait: this.#wait } as const;
    const awaited = new Set<InterfaceTag>();
    for (const tag of podInterfaceTags(spec)) {
      const judged = (): void => {
        awaited.delete(tag);
        if (awaited.size === 0) this.#ctx.tellSelf(message);
      };
      if (this.#policed.whenJudged(tag, judged)) awaited.add(tag);
    }
    const waits = awaited.size > 0;
    this.#state = waits ? 'awaited' : 'there';
    if (waits) this.#ctx.after(judged_ms, message);
    return waits;
  }

  /** True: it waits no more, for whatever reason. */
  hear({ wait }: Extract<PodMessage, { type: 'Policed' }>): boolean {
    if (wait !== this.#wait || this.#state !== 'awaited') return false;
    this.#state = 'there';
    return true;
  }
}
