/** Has policies for the pod's interface from before its first packet on, and an ADD wait for them, if they come soon. */
import type { ActorContext } from '../actor-system.js';
import type { PodMessage } from '../messages/pod.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import { podInterfaceTag } from '../pod/names.js';
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
  /** Its interface, as those who police it know it. */
  #tag: InterfaceTag | undefined;
  /** Counts what is waited for. */
  #wait = 0;
  #state: 'unasked' | 'awaited' | 'there' = 'unasked';

  constructor(ctx: Pick<ActorContext<PodMessage>, 'after' | 'tellSelf'>, policed: PolicedInterfaces) {
    this.#ctx = ctx;
    this.#policed = policed;
  }

  /** Policies are for it; `made`: VPP is about to be told to make it. */
  put(spec: PodSpec, made = false): void {
    this.#tag = podInterfaceTag(spec);
    const attachment = { kind: 'workload', endpoint: endpointOf(spec.workload) } as const;
    this.#policed.put(this.#tag, { attachment, addresses: addressesOf(spec) }, made);
  }

  remove(): void {
    if (this.#tag !== undefined) this.#policed.remove(this.#tag);
    this.#tag = undefined;
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
    const waits = this.#policed.whenJudged(podInterfaceTag(spec), () => this.#ctx.tellSelf(message));
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
