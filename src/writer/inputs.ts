/** What the owner of objects in VPP is told, whatever they are: of the node, and how much of the Kubernetes API. */
import type { ActorContext, ActorRef } from '../actor-system.js';
import type { AnyChange, ClusterChange, ClusterMessage, KindName } from '../messages/cluster.js';
import type { NodeReady, NodeStatus, SubscribeNode } from '../messages/node.js';

export interface InputSources {
  readonly uplink: ActorRef<SubscribeNode>;
  readonly cluster: ActorRef<ClusterMessage>;
}

export class Inputs {
  readonly #synced = new Set<KindName>();
  #node: NodeReady | undefined;
  #lost = 0;

  /** Subscribed from here on, in this life of the actor, to the node and to objects of these kinds. */
  constructor(
    ctx: Pick<ActorContext<NodeStatus | ClusterChange>, 'self' | 'this_life'>,
    { uplink, cluster }: InputSources,
    private readonly kinds: readonly KindName[],
  ) {
    uplink.tell({ type: 'SubscribeNode', subscriber: ctx.self });
    cluster.tell({ type: 'Subscribe', subscriber: ctx.this_life, kinds });
  }

  /** As it was told last; it may be lost by now. What is wanted follows from it all the same. */
  get node(): NodeReady | undefined {
    return this.#node;
  }

  /** False: of a node that was lost meanwhile, or of an earlier one. It is void. */
  nodeReady(ready: NodeReady): boolean {
    if (ready.generation <= this.#lost) return false;
    this.#node = ready;
    return true;
  }

  /** False: another one is ready by now, and is not lost. */
  nodeLost(generation: number): boolean {
    this.#lost = Math.max(this.#lost, generation);
    return (this.#node?.generation ?? 0) <= generation;
  }

  /** To be told each change: that a kind is synced counts from then on. */
  clusterChange(change: AnyChange): void {
    if (change.synced) this.#synced.add(change.kind);
  }

  /** Of which kinds not all that there is has been told yet. */
  unsynced(kinds: readonly KindName[] = this.kinds): readonly KindName[] {
    return kinds.filter((kind) => !this.#synced.has(kind));
  }
}
