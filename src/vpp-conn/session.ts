/** One connection's life: what the connection actor sees of the API client, so that its tests need none. */
import type { InterfaceTag } from '../desired/objects.js';
import type { Transaction, TransactionResult } from '../messages/vpp.js';
import type { Snapshot } from '../reconcile/snapshot.js';
import type { VppRun } from './launcher.js';

export interface Session {
  readonly run: VppRun;
  /** What VPP held when the session began. */
  readonly snapshot: Snapshot;
  readonly version: string;
  /** Messages that this VPP lacks or knows with another CRC: what depends on them is refused by name. */
  readonly incompatible: readonly string[];
  /** Resolves with the outcome of each operation; rejects only when the session ends before all are known. */
  execute(transaction: Transaction): Promise<TransactionResult>;
  readSnapshot(): Promise<Snapshot>;
  /** Addresses of the neighbours that VPP has resolved on this interface. */
  neighbours(tag: InterfaceTag): Promise<readonly string[]>;
  cli(command: string): Promise<string>;
  /** Rejects when VPP has not answered within `deadline_ms`. */
  ping(deadline_ms: number): Promise<void>;
  /** Resolves with the reason when the connection is closed, by either side. */
  readonly closed: Promise<string>;
  close(): void;
  /** For the debug endpoint: requests in flight with their ages, counts and latencies per message. */
  stats(): unknown;
}

export interface SessionOpener {
  /** Connects, checks the message table, reads the snapshot. Tries until VPP answers, `within_ms` is over or `signal` aborts. */
  open(run: VppRun, within_ms: number, signal: AbortSignal): Promise<Session>;
}
