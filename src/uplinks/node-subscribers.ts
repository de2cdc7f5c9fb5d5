/** Who builds on the node, and what they have been told of it. */
import type { ActorRef } from '../actor-system.js';
import type { EarlyNodeStatus, NodePrepared, NodeReady, NodeStatus } from '../messages/node.js';

export class NodeSubscribers {
  /** As they were told last, of a VPP that has its uplinks. */
  ready: NodeReady | undefined;
  /** Of one that has none yet. */
  #prepared: NodePrepared | undefined;
  readonly #late = new Map<string, ActorRef<NodeStatus>>();
  readonly #early = new Map<string, ActorRef<EarlyNodeStatus>>();

  /** See SubscribeNode. */
  add(subscriber: ActorRef<NodeStatus>): void {
    this.#late.set(subscriber.path, subscriber);
    if (this.ready !== undefined) subscriber.tellUrgent(this.ready);
  }

  /** See SubscribeEarly. */
  addEarly(subscriber: ActorRef<EarlyNodeStatus>): void {
    this.#early.set(subscriber.path, subscriber);
    const told = this.ready ?? this.#prepared;
    if (told !== undefined) subscriber.tellUrgent(told);
  }

  tellPrepared(prepared: NodePrepared): void {
    this.#prepared = prepared;
    for (const subscriber of this.#early.values()) subscriber.tellUrgent(prepared);
  }

  tellMade(generation: number, round: number): void {
    for (const subscriber of this.#early.values())
      subscriber.tellUrgent({ type: 'UplinksMade', generation, round });
  }

  /** Also where it is as it was told before. */
  tellReady(ready: NodeReady): void {
    this.ready = ready;
    this.#prepared = undefined;
    for (const subscribers of [this.#late, this.#early])
      for (const subscriber of subscribers.values()) subscriber.tellUrgent(ready);
  }

  /** True: the node was ready. `then`: is called before those who waited for that are told. */
  tellLost(reason: string, then: () => void): void {
    const told = this.ready ?? this.#prepared;
    if (told === undefined) return;
    const lost = { type: 'NodeLost', generation: told.generation, reason } as const;
    for (const subscriber of this.#early.values()) subscriber.tellUrgent(lost);
    this.#prepared = undefined;
    if (this.ready === undefined) return;
    this.ready = undefined;
    then();
    for (const subscriber of this.#late.values()) subscriber.tellUrgent(lost);
  }
}
