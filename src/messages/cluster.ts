/** The mailbox of the cluster actor, and what it tells those who build on the Kubernetes API. */
import type { LifeRef, Reply } from '../actor-system.js';
import type { KindName, Objects } from '../calico/kinds/kinds.js';

export type { KindName } from '../calico/kinds/kinds.js';

/** One kind's objects: only once they are `synced` may anything be removed. */
export type AnyChange = Objects;

/**
 * What has become of objects of one kind, told in order, in pieces of at most 1000. First, for each kind subscribed, what is known by now: an
 * empty change where nothing is. For Secrets each name that is wanted is told, undefined for one that does not exist, and `synced` holds
 * for the names wanted by now. Answered when taken in: the API server is read on after that.
 */
export interface ClusterChange {
  readonly type: 'ClusterChange';
  readonly change: AnyChange;
  readonly reply: Reply<void>;
}

export type ClusterMessage =
  /**
   * Told ClusterChange of these kinds from now on. Idempotent per reference: the last list of kinds counts, and is told from its
   * beginning. Who begins anew subscribes anew. By `ctx.this_life`: what was told to an earlier incarnation, or is on its way to it, does not
   * reach the next one, to which it would look like all that there is.
   */
  | {
      readonly type: 'Subscribe';
      readonly subscriber: LifeRef<ClusterChange>;
      readonly kinds: readonly KindName[];
    }
  /** A subscriber of the kind Secret is told these, of the configured namespace. The last list counts. */
  | {
      readonly type: 'WantSecrets';
      readonly subscriber: LifeRef<ClusterChange>;
      readonly names: readonly string[];
    };
