/** What the owner of objects in VPP is told, whatever they are: of the node, and how much of the Kubernetes API. */
import type { ActorContext, ActorRef } from '../actor-system.js';
import type { AnyChange, ClusterChange, ClusterMessage, KindName } from '../messages/cluster.js';
import type { NodeFacts } from '../messages/node.js';

export interface InputSources {
  readonly cluster: ActorRef<ClusterMessage>;
}

export class Inputs {
  readonly #synced = new Set<KindName>();
  #node: NodeFacts | undefined;
  #lost = 0;

  /** Subscribed from here on, in this life of the actor, to objects of these kinds. Whether early or late, to the node it subscribes itself. */
  constructor(
    ctx: Pick<ActorContext<ClusterChange>, 'this_life'>,
    { cluster }: InputSources,
    private readonly kinds: readonly KindName[],
  ) {
    cluster.tell({ type: 'Subscribe', subscriber: ctx.this_life, kinds });
  }

  /** As it was told last; it may be lost by now. What is wanted follows from it all the same. */
  get node(): NodeFacts | undefined {
    return this.#node;
  }

  /** False: of a node that was lost meanwhile, or of an earlier one. It is void. */
  nodeReady(ready: NodeFacts): boolean {
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
