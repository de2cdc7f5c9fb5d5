/**
 * Two nodes hear of a change of a pool one after the other. Whoever hears first must not send by a tunnel that the other end has not made
 * yet, nor take away the one by which the other end still sends: a route waits on its old way until the new tunnel has been there for a
 * moment, and an old tunnel lingers. Pure: the caller has the time.
 */
import type { InterfaceTag } from '../objects/interfaces.js';
import { keyOf, type ObjectKey, type VppObject } from '../objects/object.js';
import type { Path, Route } from '../objects/routing.js';

export interface OverlapSettings {
  /** From a tunnel's making until routes to the same node move to it. */
  readonly lead_ms: number;
  /** A tunnel that is wanted no more stays so long. */
  readonly linger_ms: number;
}

export class Overlap {
  readonly #settings: OverlapSettings;
  /** Tunnels that were made a moment ago, and when that is over. */
  readonly #fresh = new Map<InterfaceTag, number>();
  readonly #moves = new Map<ObjectKey, Route>();
  /** Tunnels that are wanted no more, and when they go. */
  readonly #leaving = new Map<InterfaceTag, number>();

  constructor(settings: OverlapSettings) {
    this.#settings = settings;
  }

  /** A tunnel is wanted. `is_new`: it was not, and VPP has none. */
  comes(tag: InterfaceTag, is_new: boolean, now_ms: number): void {
    this.#leaving.delete(tag);
    if (is_new && this.#settings.lead_ms > 0) this.#fresh.set(tag, now_ms + this.#settings.lead_ms);
  }

  /** A tunnel is wanted no more. False: it may go at once. */
  goes(tag: InterfaceTag, now_ms: number): boolean {
    this.#fresh.delete(tag);
    if (this.#settings.linger_ms === 0) return false;
    this.#leaving.set(tag, now_ms + this.#settings.linger_ms);
    return true;
  }

  /** Whether this version of a route waits, since `before` leads to the same node in another way. The last one alone counts. */
  holds(route: VppObject, before: VppObject | undefined): boolean {
    const key = keyOf(route);
    this.#moves.delete(key);
    if (this.#fresh.size === 0 || route.kind !== 'route' || before?.kind !== 'route') return false;
    const [to] = route.paths;
    const [from] = before.paths;
    if (to?.via !== 'interface' || !this.#fresh.has(to.interface)) return false;
    if (nextHop(from) !== to.next_hop || (from?.via === 'interface' && from.interface === to.interface))
      return false;
    this.#moves.set(key, route);
    return true;
  }

  /** It is wanted no more. */
  forget(key: ObjectKey): void {
    this.#moves.delete(key);
  }

  /** What need not wait any longer; `now_ms` infinite: all of it. */
  due(now_ms: number): { readonly routes: readonly Route[]; readonly tunnels: readonly InterfaceTag[] } {
    for (const [tag, until] of this.#fresh) if (until <= now_ms) this.#fresh.delete(tag);
    const routes: Route[] = [];
    for (const [key, route] of this.#moves) {
      if (route.paths.some((path) => path.via === 'interface' && this.#fresh.has(path.interface))) continue;
      this.#moves.delete(key);
      routes.push(route);
    }
    const tunnels = [...this.#leaving].flatMap(([tag, until]) => (until <= now_ms ? tag : []));
    for (const tag of tunnels) this.#leaving.delete(tag);
    return { routes, tunnels };
  }

  /** When something is due next. */
  get next_ms(): number | undefined {
    const all = [...(this.#moves.size > 0 ? this.#fresh.values() : []), ...this.#leaving.values()];
    return all.length === 0 ? undefined : Math.min(...all);
  }

  get moves(): number {
    return this.#moves.size;
  }
}

function nextHop(path: Path | undefined): string | undefined {
  return path?.via === 'interface' || path?.via === 'next_hop' ? path.next_hop : undefined;
}
