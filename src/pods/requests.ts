/** Requests handed to pods, and their answers to who asked. The CNI actor is told of each answer. */
import type { ActorContext, Reply } from '../actor-system.js';
import type { CniAdd, CniMessage } from '../messages/cni.js';
import type { AddAnswer, DeleteAnswer, PodMessage } from '../messages/pod.js';
import { type PodSpec, podName, sandboxName } from '../pod/spec.js';
import type { PodEntry } from './pod-table.js';

export class Requests {
  /** ADDs that are not answered yet. */
  adds = 0;

  constructor(private readonly ctx: Pick<ActorContext<CniMessage>, 'ask' | 'clock' | 'tellSelf'>) {}

  /** `fits`: the generation of the VPP that has buffers for it, as far as is known. */
  add(pod: PodEntry, { spec, signal, reply }: CniAdd, fits: number | undefined): void {
    pod.coming = spec;
    pod.deleting = false;
    pod.calls += 1;
    this.adds += 1;
    const settled = (answer: AddAnswer): void => {
      reply.resolve(answer);
      this.ctx.tellSelf({ type: 'Settled', key: spec.key, verb: 'add', there: !('error' in answer) });
    };
    const name = podName(spec.workload, spec.interface_name);
    this.ctx
      .ask<PodMessage, AddAnswer>(
        pod.ref,
        (answer) => ({
          type: 'Add',
          spec,
          signal,
          ...(fits !== undefined && { fits }),
          reply: answer,
        }),
        this.#left_ms(reply),
      )
      .then(settled, (error: Error) => settled({ error: `${name}: ${error.message}: retry` }));
  }

  del(
    pod: PodEntry,
    { key, netns, interface_name }: Pick<PodSpec, 'key' | 'netns' | 'interface_name'>,
    reply: Reply<DeleteAnswer>,
  ): void {
    pod.deleting = true;
    pod.calls += 1;
    const settled = (answer: DeleteAnswer): void => {
      reply.resolve(answer);
      this.ctx.tellSelf({ type: 'Settled', key, verb: 'del', there: false });
    };
    const name = sandboxName(netns, interface_name);
    this.ctx
      .ask<PodMessage, DeleteAnswer>(
        pod.ref,
        (answer) => ({ type: 'Delete', urgent: false, reply: answer }),
        this.#left_ms(reply),
      )
      .then(settled, (error: Error) => settled({ error: `${name}: ${error.message}: repeat the call` }));
  }

  /** Of a pod, if it is there still, that has answered. `spec`: as its record has it now. */
  settled(
    pod: PodEntry | undefined,
    { verb, there }: { readonly verb: 'add' | 'del'; readonly there: boolean },
    spec: PodSpec | undefined,
  ): void {
    if (verb === 'add') this.adds -= 1;
    if (pod === undefined) return;
    pod.calls -= 1;
    pod.spec = spec ?? pod.spec;
    if (pod.calls > 0) return;
    pod.coming = undefined;
    if (!there) pod.ref.tell({ type: 'StillThere' });
  }

  #left_ms({ deadline_ms }: Reply<never>): number {
    return Math.max(1, deadline_ms - this.ctx.clock.now_ms());
  }
}
