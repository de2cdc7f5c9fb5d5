/** Whether a pod is as it should be, and if not, why, and when it is tried again. The CNI actor is told when that changes. */
import type { ActorContext, ActorRef } from '../actor-system.js';
import type { CniMessage } from '../messages/cni.js';
import type { PodMessage } from '../messages/pod.js';
import type { PodKey } from '../pod/spec.js';
import { Retry } from './retry.js';

export class PodRest {
  readonly retry: Retry;
  /** VPP or Linux may lack something of a pod that is done. */
  dirty = true;
  fault = '';
  readonly #ctx: ActorContext<PodMessage>;
  readonly #key: PodKey;
  readonly #cni: ActorRef<CniMessage>;
  /** The fault that was told when it came to rest on this VPP; undefined: it has not yet. */
  #told: string | undefined;

  constructor(ctx: ActorContext<PodMessage>, key: PodKey, cni: ActorRef<CniMessage>) {
    this.retry = new Retry(ctx);
    this.#ctx = ctx;
    this.#key = key;
    this.#cni = cni;
  }

  /** Another VPP, or one of which nothing is known any more. */
  disturb(): void {
    this.dirty = true;
    this.#told = undefined;
    this.retry.forget();
  }

  /** All is done; `lack`: what the pod asks for and cannot have. `generation`: of VPP, undefined when there is none. */
  settle(name: string, generation: number | undefined, lack: string): void {
    this.dirty = false;
    this.retry.forget();
    this.fault = lack;
    this.#tell(name, generation);
  }

  /** It is tried again, later each time. */
  tryAgain(name: string, generation: number | undefined, cause: string): void {
    this.retry.later();
    this.wait(name, generation, cause);
  }

  /** It is tried again when something has changed. */
  wait(name: string, generation: number | undefined, cause: string): void {
    if (cause !== this.fault) this.#ctx.event('retry', `${name}: ${cause}`);
    this.fault = cause;
    this.dirty = true;
    this.#tell(name, generation);
  }

  #tell(name: string, generation: number | undefined): void {
    if (generation === undefined || this.#told === this.fault) return;
    this.#told = this.fault;
    const fault = this.fault === '' ? '' : `${name}: ${this.fault}`;
    this.#cni.tell({ type: 'PodSettled', key: this.#key, generation, fault });
  }
}
