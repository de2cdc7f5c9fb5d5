import type { Config } from '../config.js';

/** Where routes to other nodes come from: one source is in force, for the life of the process. */
export type RouteSource = 'bgp' | 'ipam';

/** `has_gobgpd`: there is a BGP speaker. Calico itself may do without BGP; whoever asks for a source by name gets it. */
export function routeSource(
  { route_source, bgp }: Pick<Config, 'route_source' | 'bgp'>,
  has_gobgpd: boolean,
): RouteSource {
  if (route_source !== 'auto') return route_source;
  return has_gobgpd && bgp.networking === 'bird' ? 'bgp' : 'ipam';
}
