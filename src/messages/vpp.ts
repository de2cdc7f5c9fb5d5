/** Mailboxes of the vpp group: the process actor, the connection actor, and what the connection tells its subscribers. */
import type { ActorRef, Reply } from '../actor-system.js';
import type { RouterAdvertisement } from '../ip/advertisement.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import type { KnownNeighbour } from '../objects/routing.js';
import type { Scope, Snapshot, Take } from '../reconcile/snapshot.js';
import type { Transaction, TransactionResult } from '../reconcile/transaction.js';
import type { VppExit, VppRun } from '../vpp-conn/launcher.js';
import type { NumaOfThreads } from '../vpp-conn/numa-of-threads.js';
import type { IkeEnds, IkeTunnelState } from '../vpp-conn/observe/ipsec.js';
import type { PeerState } from '../vpp-conn/observe/wireguard.js';
import type { Session } from '../vpp-conn/session.js';

/**
 * Told to every subscriber, in this order for one VPP: VppUp, then VppDown (connection lost) or VppExited, or both. Told urgently:
 * not even a full mailbox keeps it from a subscriber, and none of it overtakes the other. Who is slow may be spared an
 * earlier one of a kind, never the last.
 */
export type VppStatus = VppUp | VppDown | VppExited;

/** VPP answers. Everything learned from an earlier generation (indexes, what is programmed) is void: what it holds is to be read. */
export interface VppUp {
  readonly type: 'VppUp';
  readonly generation: number;
  /** Names this one VPP, whose connections may be several, as nothing else ever does. */
  readonly vpp: string;
  /** VPP was running before this connection: it holds state, and packets flow. */
  readonly adopted: boolean;
  /** Worker threads, without the main thread. */
  readonly workers: number;
  readonly numa: NumaOfThreads;
}

/** The connection is lost, VPP may well go on forwarding: nothing on the host is to be changed. */
export interface VppDown {
  readonly type: 'VppDown';
  readonly generation: number;
  readonly reason: string;
}

/** VPP's process is gone: its interfaces are gone with it. */
export interface VppExited {
  readonly type: 'VppExited';
  readonly reason: string;
}

/** A router has said something on an interface of VPP. A full mailbox loses it, and it comes again. */
export interface RouterSaid {
  readonly type: 'RouterSaid';
  readonly generation: number;
  readonly interface: InterfaceTag;
  readonly advertisement: RouterAdvertisement;
}

export type VppProcessMessage =
  /** Sent by the connection when it is ready to be told of VPP's life. Answered by `Started` or `Gone` to it. Idempotent. */
  | { readonly type: 'Attach'; readonly connection: ActorRef<VppConnectionMessage> }
  /** VPP does not answer: end it (SIGKILL, since a spinning VPP blocks all others). Idempotent, concerns this pid only. */
  | { readonly type: 'Unresponsive'; readonly pid: number; readonly reason: string }
  /**
   * Ends VPP (SIGINT, then SIGKILL) and starts the next one at once: no death that counts. Concerns the one of this identity (VppRun) only: it may be
   * dead by now, and another in its place; where absent whichever there is. Idempotent.
   */
  | { readonly type: 'Replace'; readonly vpp?: string; readonly reason: string }
  /** Its clock is wrong, and it is kept all the same: to be written down. Concerns the one of this identity only. */
  | { readonly type: 'KeepClock'; readonly vpp: string }
  /** Ends VPP (SIGINT, then SIGKILL) and keeps it down. Answered when it is gone, or cannot be ended. Idempotent. */
  | { readonly type: 'Shutdown'; readonly reply: Reply<void> }
  /** From itself: VPP's process has ended. */
  | { readonly type: 'Exited'; readonly exit: VppExit }
  /** From itself: VPP was killed, and should have ended by now. */
  | { readonly type: 'NotEnded'; readonly pid: number }
  /** From itself: the back-off after a death is over. */
  | { readonly type: 'StartAgain' };

export type VppConnectionMessage =
  /** From the process actor: a VPP runs, connect to it. */
  | { readonly type: 'Started'; readonly run: VppRun }
  /** From the process actor: that VPP is gone. */
  | { readonly type: 'Gone'; readonly exit: VppExit }
  /** Told VppStatus from now on, beginning with the present state if VPP is up. Idempotent per reference. */
  | { readonly type: 'Subscribe'; readonly subscriber: ActorRef<VppStatus> }
  /**
   * Answered with the outcome of every operation; rejected when the generation is stale or VPP goes away. An owner's transactions
   * are carried out in the order in which they arrive, one at a time; those of several owners side by side (see Urgency). One whose
   * asker has given up before its turn is not carried out.
   */
  | { readonly type: 'Transact'; readonly transaction: Transaction; readonly reply: Reply<TransactionResult> }
  /** What VPP holds now of these owners. Answered; `take` is handed objects before. */
  | {
      readonly type: 'Read';
      readonly scopes: readonly Scope[];
      readonly take?: Take;
      readonly reply: Reply<Snapshot>;
    }
  /** The neighbours that VPP has resolved on an interface. Answered. */
  | {
      readonly type: 'ReadNeighbours';
      readonly interface: InterfaceTag;
      readonly reply: Reply<readonly KnownNeighbour[]>;
    }
  /** VPP has these on an interface as if it had resolved them itself, as far as it takes them. Answered. Idempotent. */
  | {
      readonly type: 'Introduce';
      readonly interface: InterfaceTag;
      readonly neighbours: readonly KnownNeighbour[];
      readonly reply: Reply<void>;
    }
  /** How WireGuard's peers are. Answered. */
  | { readonly type: 'ReadPeers'; readonly reply: Reply<readonly PeerState[]> }
  /** How tunnels are that IKE brings up. Answered. */
  | {
      readonly type: 'ReadIkeTunnels';
      readonly tunnels: readonly IkeEnds[];
      readonly reply: Reply<readonly IkeTunnelState[]>;
    }
  /** New keys in place of those that VPP names so. Answered when VPP has begun. */
  | { readonly type: 'Rekey'; readonly spis: readonly number[]; readonly reply: Reply<void> }
  /** Nothing goes by these interfaces any more. Answered. Idempotent. */
  | { readonly type: 'TakeDown'; readonly interfaces: readonly InterfaceTag[]; readonly reply: Reply<void> }
  /** Told RouterSaid from now on, of this VPP and the next ones. One at a time: the last who has asked. */
  | { readonly type: 'HearRouters'; readonly listener: ActorRef<RouterSaid> }
  /** Has the routers behind an interface say what they have to say: RouterSaid. Answered when they are asked. Idempotent. */
  | { readonly type: 'Solicit'; readonly interface: InterfaceTag; readonly reply: Reply<void> }
  /** A debug CLI command, in text. Answered with VPP's text. */
  | { readonly type: 'Cli'; readonly command: string; readonly reply: Reply<string> }
  /** From itself: what routers have said is to be told. */
  | { readonly type: 'RoutersSaid' }
  /** From itself, with the pid it concerns. */
  | { readonly type: 'Opened'; readonly session: Session }
  | { readonly type: 'OpenFailed'; readonly pid: number; readonly reason: string }
  | { readonly type: 'Closed'; readonly session: Session; readonly reason: string }
  | { readonly type: 'Probe' }
  | { readonly type: 'ProbeFailed'; readonly session: Session; readonly reason: string };
