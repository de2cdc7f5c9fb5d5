/** One connection's life: what the connection actor sees of the API client, so that its tests need none. */
import type { RouterAdvertisement } from '../ip/advertisement.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import type { KnownNeighbour } from '../objects/routing.js';
import type { Scope, Snapshot, Take } from '../reconcile/snapshot.js';
import type { Transaction, TransactionResult } from '../reconcile/transaction.js';
import type { VppRun } from './launcher.js';
import type { NumaOfThreads } from './numa-of-threads.js';
import type { IkeEnds, IkeTunnelState } from './observe/ipsec.js';
import type { PeerState } from './observe/wireguard.js';
import type { Suspect } from './quarantine.js';
import type { ClockFault } from './vpp-clock.js';

export interface Session {
  readonly run: VppRun;
  readonly version: string;
  /** VPP had tagged interfaces when the session began: somebody has programmed it before. */
  readonly had_interfaces: boolean;
  /** Worker threads, without the main thread. */
  readonly workers: number;
  readonly numa: NumaOfThreads;
  /** Its own clock is wrong for good. */
  readonly clock_fault: ClockFault | undefined;
  /**
   * Messages that this VPP lacks or knows with another CRC: what depends on them is refused by name. And what an earlier release has left in it that
   * it does not let go of.
   */
  readonly incompatible: readonly string[];
  /**
   * Resolves with the outcome of each operation; rejects only when the session ends before all are known, or, with `Abandoned`, when
   * nobody waited any more as its turn came: then nothing of it was sent.
   */
  execute(transaction: Transaction, abandoned: () => boolean): Promise<TransactionResult>;
  /**
   * What VPP holds now of these scopes. Askers of one scope share a reading that has not begun. None begins while something is on its way
   * for which nobody waits any more: whoever has given up would read half of it.
   */
  read(scopes: readonly Scope[], take?: Take): Promise<Snapshot>;
  /** The neighbours that VPP has resolved on this interface. */
  neighbours(tag: InterfaceTag): Promise<readonly KnownNeighbour[]>;
  /** VPP has these as if it had resolved them itself, as far as it takes them. */
  introduce(tag: InterfaceTag, neighbours: readonly KnownNeighbour[]): Promise<void>;
  /** WireGuard's peers, whoever has made them. */
  peers(): Promise<readonly PeerState[]>;
  /** How these tunnels are that IKE brings up. */
  ikeTunnels(tunnels: readonly IkeEnds[]): Promise<readonly IkeTunnelState[]>;
  /** New keys for these SAs, which this end has begun; to VPP that has them no more it is nothing. */
  rekey(spis: readonly number[]): Promise<void>;
  /** Nothing goes by these interfaces any more, until somebody brings them up. */
  takeDown(tags: readonly InterfaceTag[]): Promise<void>;
  /** Calls back with what routers say on VPP's interfaces, each time. Nobody hears what was said before. Not to throw. */
  hearRouters(said: (tag: InterfaceTag, advertisement: RouterAdvertisement) => void): void;
  /** Asks the routers behind this interface to say what they have to say. */
  solicit(tag: InterfaceTag): Promise<void>;
  cli(command: string): Promise<string>;
  /** Rejects when VPP has said nothing at all, to nobody, for `deadline_ms`. Goes by a connection of its own. */
  ping(deadline_ms: number): Promise<void>;
  /** What VPP may be dying of just now. */
  suspects(): readonly Suspect[];
  /** Resolves with the reason when the connection is closed, by either side. */
  readonly closed: Promise<string>;
  close(): void;
  /** For the debug endpoint: requests in flight with their ages, counts and latencies per message. */
  stats(): unknown;
}

export interface SessionOpener {
  /** Connects and checks the message table. Tries until VPP answers, `within_ms` is over or `signal` aborts. */
  open(run: VppRun, within_ms: number, signal: AbortSignal): Promise<Session>;
}
