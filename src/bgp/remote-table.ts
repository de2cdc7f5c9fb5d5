/**
 * The routes that gobgpd has chosen, and which of their changes connectivity is to be told.
 *
 * What a peer has told goes on to hold while that peer is waited for: when gobgpd died, when its session is made anew, when this process begins
 * beside a gobgpd that runs. Until the peer has told all again, or the time it has for that is over, nothing that came from it is
 * withdrawn. Pure.
 */
import type { Path } from 'gobgp-grpc-stubs';
import { canonicalAddress, canonicalPrefix } from '../ip/spelling.js';
import { nextHopOf, prefixOf } from './local-paths.js';

export interface RemoteRoute {
  readonly prefix: string;
  readonly next_hop: string;
}

/** Routes kept. A router that leaks the internet's table is not to fill this process, nor VPP. */
export const routes_max = 300_000;

interface Known {
  readonly route: RemoteRoute;
  readonly neighbour: string;
  /** The beginning of a watch since which it has been told. */
  seen: number;
  /** gobgpd has it no more; it holds while its peer is waited for. */
  gone: boolean;
}

export class RemoteTable {
  readonly #known = new Map<string, Known>();
  readonly #dirty = new Map<string, RemoteRoute | undefined>();
  /** Peers that are waited for, and until when. */
  readonly #awaited = new Map<string, number>();
  #gateways: ReadonlyMap<string, string> = new Map();
  readonly #max: number;
  #refused = 0;
  #beginning = 0;
  #complete = false;
  /** Paths that lead nowhere that can be told. */
  unusable = 0;

  constructor(max = routes_max) {
    this.#max = max;
  }

  /** Paths that there was no room for since gobgpd began to tell its table. */
  get refused(): number {
    return this.#refused;
  }

  /** Some were refused, and there is room again: only a table that is told from its beginning has them. */
  get is_worth_telling_again(): boolean {
    return this.#refused > 0 && this.#known.size < 0.9 * this.#max;
  }

  /** Prefixes of routes that hold. */
  prefixes(): Iterable<string> {
    return this.#known.keys();
  }

  /** Routes that hold now. */
  get size(): number {
    return this.#known.size;
  }

  get waiting(): number {
    return this.#awaited.size;
  }

  get unsent(): number {
    return this.#dirty.size;
  }

  isAwaited(neighbour: string): boolean {
    return this.#awaited.has(neighbour);
  }

  /** The table was told from its beginning, and nobody is waited for. */
  get settled(): boolean {
    return this.#complete && this.#awaited.size === 0;
  }

  /** gobgpd begins to tell its table. */
  begin(): void {
    this.#beginning += 1;
    this.#refused = 0;
    this.#complete = false;
  }

  /** gobgpd has told its table: what was not in it is gone. */
  complete(): void {
    this.#complete = true;
    for (const [prefix, known] of this.#known)
      if (known.seen !== this.#beginning && !known.gone) this.#lose(prefix, known);
  }

  /** gobgpd is gone: what was told holds as long as its peers are waited for, those of which nobody knows anything until `until_ms`. */
  lost(until_ms: number): void {
    this.#complete = false;
    for (const known of this.#known.values()) {
      known.gone = true;
      this.await(known.neighbour, until_ms);
    }
  }

  /** Withdrawals of this peer's routes are kept back. One that is waited for already gets no more time: gobgpd may die again and again. */
  await(neighbour: string, until_ms: number): void {
    if (!this.#awaited.has(neighbour)) this.#awaited.set(neighbour, until_ms);
  }

  /** All that have told a route. */
  neighbours(): ReadonlySet<string> {
    return new Set([...this.#known.values()].map(({ neighbour }) => neighbour));
  }

  /** The peer has told all again, or is none any more. */
  release(neighbour: string): void {
    if (!this.#awaited.delete(neighbour)) return;
    for (const [prefix, known] of this.#known)
      if (known.gone && known.neighbour === neighbour) this.#drop(prefix);
  }

  /** Releases those whose time is over; gives their number. */
  expire(now_ms: number): readonly string[] {
    const over = [...this.#awaited]
      .filter(([, until_ms]) => until_ms <= now_ms)
      .map(([neighbour]) => neighbour);
    for (const neighbour of over) this.release(neighbour);
    return over;
  }

  /** Routes to gateways, which come before what is learned. */
  gateways(gateways: ReadonlyMap<string, string>): void {
    const before = this.#gateways;
    this.#gateways = gateways;
    for (const prefix of new Set([...before.keys(), ...gateways.keys()]))
      if (before.get(prefix) !== gateways.get(prefix)) this.#tell(prefix);
  }

  take(paths: Iterable<Path>): void {
    for (const path of paths) {
      const spelled = prefixOf(path);
      const prefix = spelled === undefined ? undefined : canonicalPrefix(spelled);
      if (prefix === undefined) continue;
      const known = this.#known.get(prefix);
      // A path of this node's own is the best, where there is one: then there is no other to follow.
      const is_remote = !path.is_withdraw && path.neighbor_ip !== '';
      const next_hop = is_remote ? canonicalAddress(nextHopOf(path) ?? '') : undefined;
      if (is_remote && next_hop === undefined) this.unusable += 1;
      if (next_hop === undefined) {
        if (known !== undefined && !known.gone) this.#lose(prefix, known);
        continue;
      }
      if (known === undefined && this.#known.size >= this.#max) {
        this.#refused += 1;
        continue;
      }
      const same = known?.route.next_hop === next_hop;
      const route = same ? known.route : { prefix, next_hop };
      this.#known.set(prefix, { route, neighbour: path.neighbor_ip, seen: this.#beginning, gone: false });
      if (!same) this.#tell(prefix);
    }
  }

  /** At most so many changes, which count as told. */
  changes(max: number): Map<string, RemoteRoute | undefined> {
    const changes = new Map<string, RemoteRoute | undefined>();
    for (const [prefix, route] of this.#dirty) {
      if (changes.size === max) break;
      changes.set(prefix, route);
      this.#dirty.delete(prefix);
    }
    return changes;
  }

  /** These were not taken in after all; what has changed since comes first. */
  giveBack(changes: ReadonlyMap<string, RemoteRoute | undefined>): void {
    for (const [prefix, route] of changes) if (!this.#dirty.has(prefix)) this.#dirty.set(prefix, route);
  }

  #lose(prefix: string, known: Known): void {
    if (this.#awaited.has(known.neighbour)) known.gone = true;
    else this.#drop(prefix);
  }

  #drop(prefix: string): void {
    this.#known.delete(prefix);
    this.#tell(prefix);
  }

  #tell(prefix: string): void {
    const gateway = this.#gateways.get(prefix);
    this.#dirty.set(
      prefix,
      gateway === undefined ? this.#known.get(prefix)?.route : { prefix, next_hop: gateway },
    );
  }
}
