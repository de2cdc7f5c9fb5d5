/**
 * Two nodes hear of a change of a pool one after the other. Whoever hears first must not send by a tunnel that the other end has not made
 * yet, nor take away the one by which the other end still sends: a route waits on its old way until the new tunnel has been there for a
 * moment, and an old tunnel lingers. Pure: the caller has the time.
 */
import { pods_table } from '../desired/tables.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import { keyOf, type ObjectKey, type VppObject } from '../objects/object.js';
import type { Path, Route } from '../objects/routing.js';

export interface OverlapSettings {
  /** From a tunnel's making until routes to the same node move to it. */
  readonly lead_ms: number;
  /** A tunnel that is wanted no more stays so long. */
  readonly linger_ms: number;
}

/** A route that waits for the tunnel `to`; until then it leads by `from`, or by none. */
interface Move {
  readonly route: Route;
  readonly to: InterfaceTag;
  readonly from: InterfaceTag | undefined;
}

export class Overlap {
  readonly #settings: OverlapSettings;
  /** Tunnels that were made a moment ago, and when that is over: the first of them first. */
  readonly #fresh = new Map<InterfaceTag, number>();
  readonly #moves = new Map<ObjectKey, Move>();
  /** The keys of those that wait for a tunnel. */
  readonly #waiting = new Map<InterfaceTag, Set<ObjectKey>>();
  /** By how many of them a tunnel is still needed. */
  readonly #needed = new Map<InterfaceTag, number>();
  /** Tunnels that are wanted no more, and when they go: the first of them first. */
  readonly #leaving = new Map<InterfaceTag, number>();

  constructor(settings: OverlapSettings) {
    this.#settings = settings;
  }

  /** A tunnel is wanted. `is_new`: it was not, and VPP has none. */
  comes(tag: InterfaceTag, is_new: boolean, now_ms: number): void {
    this.#leaving.delete(tag);
    if (!is_new || this.#settings.lead_ms === 0) return;
    // Where nothing moves nobody asks what is due.
    for (const [old, until] of this.#fresh) {
      if (until > now_ms) break;
      if (!this.#waiting.has(old)) this.#fresh.delete(old);
    }
    this.#fresh.delete(tag);
    this.#fresh.set(tag, now_ms + this.#settings.lead_ms);
  }

  /** A tunnel is wanted no more. False: it may go at once. */
  goes(tag: InterfaceTag, now_ms: number): boolean {
    if (!this.#waiting.has(tag)) this.#fresh.delete(tag);
    if (this.#settings.linger_ms === 0 && !this.#needed.has(tag)) return false;
    this.#linger(tag, now_ms);
    return true;
  }

  #linger(tag: InterfaceTag, now_ms: number): void {
    const { lead_ms, linger_ms } = this.#settings;
    this.#leaving.delete(tag);
    this.#leaving.set(tag, now_ms + (linger_ms === 0 ? lead_ms : linger_ms));
  }

  /**
   * Whether this version of a route waits, since `before` leads to the same node in another way; for the route to the node itself, of which
   * there is none without a tunnel, whether another one waits. The last one alone counts.
   */
  holds(route: VppObject, before: VppObject | undefined): boolean {
    const key = keyOf(route);
    this.forget(key);
    if (this.#fresh.size === 0 || route.kind !== 'route') return false;
    const [to] = route.paths;
    if (to?.via !== 'interface' || !this.#fresh.has(to.interface)) return false;
    if (before?.kind !== 'route') {
      const waits = route.table_id === pods_table && this.#waiting.has(to.interface);
      if (waits) this.#wait(key, { route, to: to.interface, from: undefined });
      return waits;
    }
    const [from] = before.paths;
    if (nextHop(from) !== to.next_hop || (from?.via === 'interface' && from.interface === to.interface))
      return false;
    const by = from?.via === 'interface' ? from.interface : undefined;
    this.#wait(key, { route, to: to.interface, from: by });
    return true;
  }

  #wait(key: ObjectKey, move: Move): void {
    const { from, to } = move;
    this.#moves.set(key, move);
    if (from !== undefined) this.#needed.set(from, (this.#needed.get(from) ?? 0) + 1);
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

  #release({ from }: Move): void {
    if (from === undefined) return;
    const needed = this.#needed.get(from) ?? 0;
    if (needed <= 1) this.#needed.delete(from);
    else this.#needed.set(from, needed - 1);
  }

  /** What need not wait any longer; `now_ms` infinite: all of it. */
  due(now_ms: number): { readonly routes: readonly Route[]; readonly tunnels: readonly InterfaceTag[] } {
    const routes: Route[] = [];
    for (const tag of takeDue(this.#fresh, now_ms)) {
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
    if (this.#moves.size > 0) for (const [, until] of first(this.#fresh)) times.push(until);
    for (const [, until] of first(this.#leaving)) times.push(until);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  get moves(): number {
    return this.#moves.size;
  }
}

function first<T>(all: Iterable<T>): readonly T[] {
  for (const each of all) return [each];
  return [];
}

/** Of those that are sorted by their times, what is due. */
function takeDue(times: Map<InterfaceTag, number>, now_ms: number): readonly InterfaceTag[] {
  const due: InterfaceTag[] = [];
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
