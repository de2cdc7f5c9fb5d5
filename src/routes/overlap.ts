/**
 * Two nodes hear of a change of a pool one after the other. Whoever hears first must not send by a tunnel that the other end has not made
 * yet, nor take away the one by which the other end still sends: a route waits on its old way until the new tunnel has been there for a
 * moment, and an old tunnel lingers. Pure: the caller has the time.
 */
import { pods_table } from '../desired/tables.js';
import { keyOf, type ObjectKey, type VppObject } from '../objects/object.js';
import type { Path, Route } from '../objects/routing.js';
import { wireguard_tag } from '../objects/wireguard.js';

/** What carries packets to one node: a tunnel, by its tag, or a peer of WireGuard's, by the address that is meant. */
export type Carrier = string;

export function peerCarrier(address: string): Carrier {
  return `${wireguard_tag} ${address}`;
}

function carrierOf({ interface: tag, next_hop }: Extract<Path, { via: 'interface' }>): Carrier {
  return tag === wireguard_tag ? peerCarrier(next_hop) : tag;
}

export interface OverlapSettings {
  /** From a tunnel's making until routes to the same node move to it. */
  readonly lead_ms: number;
  /** A tunnel that is wanted no more stays so long. */
  readonly linger_ms: number;
  /** From the making of a WireGuard peer until routes move to it, whether it has answered or not. */
  readonly answer_ms: number;
}

/**
 * A route that will lead by the tunnels `by`, and waits for `to`, of several the last to be made; until then it leads by the tunnels `from`, flat, or not
 * at all.
 */
interface Move {
  readonly route: Route;
  readonly to: Carrier;
  readonly by: readonly Carrier[];
  readonly from: readonly Carrier[];
}

export class Overlap {
  readonly #settings: OverlapSettings;
  /** Tunnels that were made a moment ago, and when that is over: the first of them first. */
  readonly #made = new Map<Carrier, number>();
  /** Likewise those that are waited for until they answer. */
  readonly #unanswered = new Map<Carrier, number>();
  readonly #moves = new Map<ObjectKey, Move>();
  /** They have answered, and something still waits for them. */
  readonly #answered = new Set<Carrier>();
  /** The keys of those that wait for a tunnel. */
  readonly #waiting = new Map<Carrier, Set<ObjectKey>>();
  /** How many of them will lead by a tunnel. */
  readonly #coming = new Map<Carrier, number>();
  /** By how many of them a tunnel is still needed. */
  readonly #needed = new Map<Carrier, number>();
  /** Tunnels that are wanted no more, and when they go: the first of them first. */
  readonly #leaving = new Map<Carrier, number>();

  constructor(settings: OverlapSettings) {
    this.#settings = settings;
  }

  /** A tunnel is wanted. `is_new`: it was not, and VPP has none. `answers`: it tells when packets can go by it (`answered`). */
  comes(tag: Carrier, is_new: boolean, now_ms: number, answers = false): void {
    this.#leaving.delete(tag);
    const wait_ms = answers ? this.#settings.answer_ms : this.#settings.lead_ms;
    if (!is_new || wait_ms === 0) return;
    const fresh = answers ? this.#unanswered : this.#made;
    // Where nothing moves nobody asks what is due.
    for (const [old, until] of fresh) {
      if (until > now_ms) break;
      if (!this.#waiting.has(old)) fresh.delete(old);
    }
    fresh.delete(tag);
    fresh.set(tag, now_ms + wait_ms);
  }

  /** Packets can go by it: what waits for it is due. True: something does. */
  answered(tag: Carrier): boolean {
    if (!this.#unanswered.delete(tag)) return false;
    if (!this.#waiting.has(tag)) return false;
    this.#answered.add(tag);
    return true;
  }

  /** Something waits for one of those that have not answered. */
  get waits_for_answers(): boolean {
    if (this.#unanswered.size === 0) return false;
    for (const tag of this.#waiting.keys()) if (this.#unanswered.has(tag)) return true;
    return false;
  }

  /** It is no more waited for, but by what waits already. */
  silenced(tag: Carrier): void {
    if (!this.#waiting.has(tag)) this.#unanswered.delete(tag);
  }

  #isFresh(tag: Carrier): boolean {
    return this.#made.has(tag) || this.#unanswered.has(tag);
  }

  #until(tag: Carrier): number {
    return this.#made.get(tag) ?? this.#unanswered.get(tag) ?? 0;
  }

  /** A tunnel is wanted no more. False: it may go at once. */
  goes(tag: Carrier, now_ms: number): boolean {
    if (!this.#waiting.has(tag)) {
      this.#made.delete(tag);
      this.#unanswered.delete(tag);
    }
    if (this.#settings.linger_ms === 0 && !this.#needed.has(tag)) return false;
    this.#linger(tag, now_ms);
    return true;
  }

  /** It has gone already. */
  gone(tag: Carrier): void {
    this.#leaving.delete(tag);
  }

  #linger(tag: Carrier, now_ms: number): void {
    const { lead_ms, linger_ms } = this.#settings;
    this.#leaving.delete(tag);
    this.#leaving.set(tag, now_ms + (linger_ms === 0 ? lead_ms : linger_ms));
  }

  /**
   * What of this version of a route is wanted now, where `before` is what was: it leads by a new tunnel, and `before` to the same node in another way, by
   * which it goes on to lead there for a moment. Next hops that come or go do so at once. A route to the node itself, of which there is none without
   * a tunnel, waits where another one waits for that tunnel, among others or alone: undefined. The last version alone counts.
   */
  meanwhile(route: VppObject, before: VppObject | undefined): VppObject | undefined {
    if (this.isQuiet || route.kind !== 'route') return route;
    const key = keyOf(route);
    this.forget(key);
    if (before?.kind !== 'route') {
      const [to] = route.paths;
      if (route.table_id !== pods_table || to?.via !== 'interface') return route;
      const by = carrierOf(to);
      if (!this.#isFresh(by) || !this.#coming.has(by)) return route;
      this.#wait(key, { route, to: by, by: [by], from: [] });
      return undefined;
    }
    let to: Carrier | undefined;
    const by: Carrier[] = [];
    const from: Carrier[] = [];
    const paths = route.paths.map((path) => {
      const old = this.#wayBefore(path, before.paths);
      if (old === undefined || path.via !== 'interface') return path;
      const carrier = carrierOf(path);
      to = this.#laterOf(to, carrier);
      by.push(carrier);
      if (old.via === 'interface') from.push(carrierOf(old));
      return old;
    });
    if (to === undefined) return route;
    this.#wait(key, { route, to, by, from });
    return { ...route, paths };
  }

  /** Where this path is by a new tunnel: how the same node was reached. */
  #wayBefore(path: Path, before: readonly Path[]): Path | undefined {
    if (path.via !== 'interface' || !this.#isFresh(carrierOf(path))) return undefined;
    // One that is by this tunnel already stays there.
    if (before.some((old) => old.via === 'interface' && old.interface === path.interface)) return undefined;
    return before.find((old) => nextHop(old) === path.next_hop);
  }

  /** Of two new tunnels the one for which more time is left. */
  #laterOf(one: Carrier | undefined, other: Carrier): Carrier {
    return one !== undefined && this.#until(one) > this.#until(other) ? one : other;
  }

  /** Nothing was made a moment ago, and nothing waits: routes lead as they are wanted to. */
  get isQuiet(): boolean {
    return this.#made.size + this.#unanswered.size + this.#moves.size === 0;
  }

  #wait(key: ObjectKey, move: Move): void {
    const { by, from, to } = move;
    this.#moves.set(key, move);
    for (const tag of by) count(this.#coming, tag, 1);
    for (const tag of from) count(this.#needed, tag, 1);
    const waiting = this.#waiting.get(to);
    if (waiting === undefined) this.#waiting.set(to, new Set([key]));
    else waiting.add(key);
  }

  /** It is wanted no more. */
  forget(key: ObjectKey): void {
    const move = this.#moves.get(key);
    if (move === undefined) return;
    this.#moves.delete(key);
    this.#release(move);
    const waiting = this.#waiting.get(move.to);
    waiting?.delete(key);
    if (waiting?.size === 0) this.#waiting.delete(move.to);
  }

  #release({ by, from }: Move): void {
    for (const tag of by) count(this.#coming, tag, -1);
    for (const tag of from) count(this.#needed, tag, -1);
  }

  /** What need not wait any longer; `now_ms` infinite: all of it. */
  due(now_ms: number): { readonly routes: readonly Route[]; readonly tunnels: readonly Carrier[] } {
    const routes: Route[] = [];
    const ready = [...takeDue(this.#made, now_ms), ...takeDue(this.#unanswered, now_ms), ...this.#answered];
    this.#answered.clear();
    for (const tag of ready) {
      for (const key of this.#waiting.get(tag) ?? []) {
        const move = this.#moves.get(key)!;
        routes.push(move.route);
        this.#moves.delete(key);
        this.#release(move);
      }
      this.#waiting.delete(tag);
    }
    const tunnels = takeDue(this.#leaving, now_ms).filter((tag) => {
      if (!this.#needed.has(tag)) return true;
      // What leads by it was told to move again and again.
      this.#linger(tag, now_ms);
      return false;
    });
    return { routes, tunnels };
  }

  /** When something is due next. */
  get next_ms(): number | undefined {
    const times: number[] = [];
    if (this.#answered.size > 0) times.push(0);
    if (this.#moves.size > 0) for (const [, until] of first(this.#made)) times.push(until);
    // Whether something waits for it or not: what comes after its time does not.
    for (const [, until] of first(this.#unanswered)) times.push(until);
    for (const [, until] of first(this.#leaving)) times.push(until);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  get moves(): number {
    return this.#moves.size;
  }
}

function count(counts: Map<Carrier, number>, tag: Carrier, by: 1 | -1): void {
  const now = (counts.get(tag) ?? 0) + by;
  if (now === 0) counts.delete(tag);
  else counts.set(tag, now);
}

function first<T>(all: Iterable<T>): readonly T[] {
  for (const each of all) return [each];
  return [];
}

/** Of those that are sorted by their times, what is due. */
function takeDue(times: Map<Carrier, number>, now_ms: number): readonly Carrier[] {
  const due: Carrier[] = [];
  for (const [tag, until] of times) {
    if (until > now_ms) break;
    times.delete(tag);
    due.push(tag);
  }
  return due;
}

function nextHop(path: Path | undefined): string | undefined {
  return path?.via === 'interface' || path?.via === 'next_hop' ? path.next_hop : undefined;
}
