/** Tells what has changed of the remote table, in pieces, and when all is told. One message is on its way at a time: gobgpd is read on after that. */
import type { Clock } from '../clock.js';
import type { RemoteRoute, RemoteTable } from './remote-table.js';

export interface RemoteNews {
  /** The first of this life. */
  readonly begins: boolean;
  readonly changed: ReadonlyMap<string, RemoteRoute | undefined>;
  /** Nobody is waited for: what was not told is not there. */
  readonly synced: boolean;
}

export interface RemoteTellerOptions {
  readonly table: RemoteTable;
  readonly clock: Clock;
  /** Ends it. */
  readonly signal: AbortSignal;
  readonly routes_max: number;
  /**
   * gobgpd has told its table. Nothing of this life is told before: connectivity may have it all from a life before, and of a prefix with several next
   * hops one comes after the other.
   */
  readonly isRead: () => boolean;
  /** gobgpd has what is wanted, and has told its table. Once told it stays true: what goes from then on is withdrawn by name. */
  readonly isSettled: () => boolean;
  /** Resolves when it is taken in. */
  readonly tell: (news: RemoteNews) => Promise<void>;
  readonly failed: (error: unknown) => void;
}

const again_ms = 1000;

export class RemoteTeller {
  readonly #options: RemoteTellerOptions;
  #sending: Promise<void> | undefined;
  #told = false;
  #told_synced = false;

  constructor(options: RemoteTellerOptions) {
    this.#options = options;
  }

  get synced(): boolean {
    return this.#told_synced;
  }

  /** Resolves when there is nothing left to tell. */
  send(): Promise<void> {
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
    });
    return this.#sending;
  }

  async #sendAll(): Promise<void> {
    const { table, clock, signal, routes_max, isRead, isSettled, tell, failed } = this.#options;
    while (!signal.aborted) {
      if (!this.#told && !isRead()) return;
      const settled = this.#told_synced || isSettled();
      if (table.unsent === 0 && settled === this.#told_synced) return;
      const changed = table.changes(routes_max);
      const synced = this.#told_synced || (settled && table.unsent === 0);
      try {
        await tell({ begins: !this.#told, changed, synced });
        this.#told_synced = synced;
        this.#told = true;
      } catch (error) {
        table.giveBack(changed);
        failed(error);
        await clock.sleep(again_ms, signal).catch(() => undefined);
      }
    }
  }
}
