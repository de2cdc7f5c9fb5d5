/** What a tap lacks of what its uplink had. Pure. */
import type { Address, Route } from '../linux/network.js';
import type { CapturedRoute } from '../linux/routes.js';

export interface Lost {
  readonly addresses: readonly Address[];
  readonly routes: readonly CapturedRoute[];
  /** Of other links, from one of the addresses. */
  readonly foreign_routes: readonly CapturedRoute[];
}

export const nothing_lost: Lost = { addresses: [], routes: [], foreign_routes: [] };

export function isNothing({ addresses, routes, foreign_routes }: Lost): boolean {
  return addresses.length + routes.length + foreign_routes.length === 0;
}

export const addressKey = ({ prefix }: Address): string => prefix;

/** Without the links, whose indices differ. */
export const routeKey = ({ prefix, table, metric, next_hops }: Route): string =>
  [prefix, table, metric, ...next_hops.map(({ gateway }) => gateway)].join(' ');

export function missing<T extends U, U>(
  before: readonly T[],
  now: readonly U[],
  keyOf: (each: U) => string,
): T[] {
  const there = new Set(now.map(keyOf));
  return before.filter((each) => !there.has(keyOf(each)));
}

export function together(a: Lost, b: Lost): Lost {
  return {
    addresses: [...a.addresses, ...b.addresses],
    routes: [...a.routes, ...b.routes],
    foreign_routes: [...a.foreign_routes, ...b.foreign_routes],
  };
}
