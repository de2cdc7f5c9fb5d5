/** Objects by the thousand, as owners to come will want them. */
import type { Translation } from '../src/objects/cnat.js';
import type { Route } from '../src/objects/routing.js';
import { range } from './node.js';

/** A route to a prefix of its own, for which no interface is needed. `source`: whose it is. */
export function routeAt(at: number, source: Route['source'] = 'connectivity', net = 20): Route {
  return {
    kind: 'route',
    source,
    table_id: 0,
    prefix: `${net}.${at >> 16}.${(at >> 8) & 255}.${at & 255}/32`,
    paths: [{ via: 'drop' }],
  };
}

const backends_each = 10;

/** A service with ten back ends, of which no two services share one. */
export function translationAt(at: number): Translation {
  const backends = range(0, backends_each).map((n) => {
    const number = backends_each * at + n;
    return { address: `172.${16 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`, port: 8080 };
  });
  return {
    kind: 'translation',
    address: `10.${96 + (at >> 16)}.${(at >> 8) & 255}.${at & 255}`,
    port: 80,
    protocol: 'tcp',
    backends,
  };
}
