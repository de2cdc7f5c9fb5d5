/** gobgpd's peers as they were last seen: who has told all that it has, and who has told too much. No I/O. */
import type { ActualPeer } from './peer-state.js';

export interface SeenPeersOptions {
  /** See BgpPace. */
  readonly told_min_ms: number;
  readonly told_ms: number;
  readonly limit_pause_ms: number;
}

export class SeenPeers {
  readonly #options: SeenPeersOptions;
  #all: ReadonlyMap<string, ActualPeer> = new Map();
  /** Whose sessions are ended for another, and when (wall_ms). gobgpd shows the old one for some seconds more. */
  readonly #ended = new Map<string, number>();
  /** Who has told too much, and since when they have no session for it. */
  readonly #limited = new Map<string, number>();

  constructor(options: SeenPeersOptions) {
    this.#options = options;
  }

  get all(): ReadonlyMap<string, ActualPeer> {
    return this.#all;
  }

  /** Addresses of those that have told too much. */
  get limited(): Iterable<string> {
    return this.#limited.keys();
  }

  get established_count(): number {
    return [...this.#all.values()].filter(({ session }) => session === 'established').length;
  }

  /** Gives those that have told too much since they were seen last. */
  see(all: ReadonlyMap<string, ActualPeer>, now_ms: number): readonly string[] {
    this.#all = all;
    const news: string[] = [];
    for (const address of this.#limited.keys()) if (!all.has(address)) this.#limited.delete(address);
    for (const { address, over_limit } of all.values()) {
      if (!over_limit) this.#limited.delete(address);
      else if (!this.#limited.has(address)) {
        this.#limited.set(address, now_ms);
        news.push(address);
      }
    }
    return news;
  }

  /** gobgpd is gone, or another. */
  forget(): void {
    this.#all = new Map();
    this.#ended.clear();
    this.#limited.clear();
  }

  /** Its session is ended for another one. */
  ending(address: string, wall_ms: number): void {
    this.#ended.set(address, wall_ms);
  }

  /** Others are no peers any more. */
  keep(wanted: ReadonlyMap<string, unknown>): void {
    for (const address of this.#ended.keys()) if (!wanted.has(address)) this.#ended.delete(address);
  }

  /** Those that have told all that they have, in the session that they are to have. */
  told(wall_ms: number): readonly string[] {
    return [...this.#all.values()]
      .filter((peer) => this.#hasTold(peer, wall_ms))
      .map(({ address }) => address);
  }

  #hasTold({ address, session, end_of_rib, established_ms }: ActualPeer, wall_ms: number): boolean {
    if (session !== 'established' || established_ms === undefined) return false;
    // gobgpd tells seconds.
    if (established_ms + 1000 <= (this.#ended.get(address) ?? 0)) return false;
    this.#ended.delete(address);
    const { told_min_ms, told_ms } = this.#options;
    return wall_ms - established_ms >= (end_of_rib ? told_min_ms : told_ms);
  }

  /** Those whose pause for having told too much is over. */
  forgiven(now_ms: number): readonly string[] {
    const { limit_pause_ms } = this.#options;
    return [...this.#limited]
      .filter(([, since_ms]) => now_ms - since_ms >= limit_pause_ms)
      .map(([address]) => address);
  }

  /** It is made anew after its pause. */
  forgive(address: string): void {
    this.#limited.delete(address);
  }
}
