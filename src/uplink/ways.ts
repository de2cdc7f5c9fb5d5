/** The ways out of a host, by which is told whether it is in the middle of a change. Pure. */
import { isLinkLocal } from '../ip/prefix.js';
import type { CapturedUplink } from './captured.js';

/** What each family had before, of any uplink, and has no more: addresses, and a default route. */
export function lostWays(before: readonly CapturedUplink[], now: readonly CapturedUplink[]): string[] {
  const hasAddress = (uplinks: readonly CapturedUplink[], family: 4 | 6): boolean =>
    uplinks.some(({ addresses }) =>
      addresses.some((address) => address.family === family && !isLinkLocal(address.prefix)),
    );
  const hasDefault = (uplinks: readonly CapturedUplink[], family: 4 | 6): boolean =>
    uplinks.some(({ routes }) =>
      routes.some((route) => route.family === family && default_prefixes.includes(route.prefix)),
    );
  return ([4, 6] as const).flatMap((family) => [
    ...(hasAddress(before, family) && !hasAddress(now, family) ? [`its IPv${family} addresses`] : []),
    ...(hasDefault(before, family) && !hasDefault(now, family) ? [`its IPv${family} default route`] : []),
  ]);
}

const default_prefixes: readonly string[] = ['0.0.0.0/0', '::/0'];
