/** The mailbox of the connectivity actor, and what a source of routes tells it. */
import type { LifeRef, Reply } from '../actor-system.js';
import type { OwnSids } from '../desired/srv6.js';
import type { KeysTold } from '../felix/peer-keys.js';
import type { IkeTunnelState } from '../vpp-conn/observe/ipsec.js';
import type { PeerState } from '../vpp-conn/observe/wireguard.js';
import type { ClusterChange } from './cluster.js';
import type { EarlyNodeStatus } from './node.js';
import type { Work, WriterMessage } from './writer.js';

/** The way to pods or services beyond this node; or an SR policy, as `desired/sr-policy.ts` makes a key and a text of it. */
export interface RemoteRoute {
  /** Of either family, host bits cleared; or that key. */
  readonly prefix: string;
  /**
   * The addresses of the nodes, or routers, that have it, all alike: flows are spread over them. At least one, each once, sorted as text. Their family
   * may be another than that of `prefix`. Of an SR policy what it says: one text, or several where peers say different things.
   */
  readonly next_hops: readonly string[];
}

/**
 * What has become of routes since the last message: by prefix; undefined: gone. Told in order, some thousand at a time, and answered when
 * taken in: the next one waits for that. A source that begins anew tells everything again, and what it does not tell until it is
 * synced is gone, and where it tells fewer next hops than before the others hold until then, or for a moment.
 */
export interface RemoteRoutes {
  readonly type: 'RemoteRoutes';
  /** The first of a life of its source, which tells everything again; it may be told twice where the answer was lost. */
  readonly begins: boolean;
  readonly changed: ReadonlyMap<string, RemoteRoute | undefined>;
  /**
   * The source has told all that there is. For BGP: its table was told, and every configured peer has come up and sent End-of-RIB, or its
   * restart time has passed. Before that nothing is removed that VPP has from an earlier life.
   */
  readonly synced: boolean;
  readonly reply: Reply<void>;
}

/**
 * From felix: what Felix says of the nodes' keys of WireGuard. Ordered, idempotent, not answered: told again where the mailbox was full. Of each
 * Felix the first is `whole`, when it has told everything.
 */
export interface FelixKeysTold extends KeysTold {
  readonly type: 'FelixKeysTold';
}

/**
 * SIDs of this node by which others can send to it, and where they are: VPP has all of them. Others take their place when VPP has these. What VPP loses when
 * it dies is told on: it comes back. Not answered, nor lost: told again to who subscribes anew.
 */
export interface SidsProgrammed {
  readonly type: 'SidsProgrammed';
  /** Undefined: this node does without SRv6. */
  readonly own: OwnSids | undefined;
}

/** Told SidsProgrammed from now on. The last subscriber counts. */
export interface SubscribeSids {
  readonly type: 'SubscribeSids';
  readonly subscriber: LifeRef<SidsProgrammed>;
}

export type ConnectivityMessage =
  | EarlyNodeStatus
  | SubscribeSids
  | ClusterChange
  | RemoteRoutes
  | FelixKeysTold
  /** From itself: what has waited for the other nodes need not any longer. */
  | { readonly type: 'Due' }
  /** From itself: VPP is to be asked how WireGuard's peers are, and what it has said. */
  | { readonly type: 'LookAtPeers' }
  | { readonly type: 'PeersSeen'; readonly states: readonly PeerState[] | Error }
  /** From itself: how VPP's tunnels are that IKE brings up. */
  | { readonly type: 'TunnelsSeen'; readonly states: readonly IkeTunnelState[] | Error }
  /** From itself: other prefixes of peers are told. */
  | { readonly type: 'PeersFuller' }
  /** From itself: what peers were sent before routes went another way is so for long enough. */
  | { readonly type: 'PeersNarrower' }
  | Work
  | WriterMessage;
