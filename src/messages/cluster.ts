/** The mailbox of the cluster actor, and what it tells those who build on the Kubernetes API. */
import type { ActorRef, Reply } from '../actor-system.js';
import type { KindName, Kinds } from '../calico/kinds/kinds.js';
import type { Change } from '../k8s/reflector.js';

export type { KindName } from '../calico/kinds/kinds.js';

/** One kind's objects: `synced` says that what no change has named does not exist. Only from then on may anything be removed. */
export type AnyChange = { [K in KindName]: Change<Kinds[K]> & { readonly kind: K } }[KindName];

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
   * beginning. Who begins anew subscribes anew.
   */
  | {
      readonly type: 'Subscribe';
      readonly subscriber: ActorRef<ClusterChange>;
      readonly kinds: readonly KindName[];
    }
  /** A subscriber of the kind Secret is told these, of the configured namespace. The last list counts. */
  | {
      readonly type: 'WantSecrets';
      readonly subscriber: ActorRef<ClusterChange>;
      readonly names: readonly string[];
    };
