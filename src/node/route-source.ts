import type { Config } from '../config.js';

/** Where routes to other nodes come from: one source is in force, for the life of the process. */
export type RouteSource = 'bgp' | 'ipam';

/** `has_gobgpd`: there is a BGP speaker. Calico itself may do without BGP, or be absent; whoever asks for a source by name gets it. */
export function routeSource(
  { route_source, bgp, kubernetes }: Pick<Config, 'route_source' | 'bgp' | 'kubernetes'>,
  has_gobgpd: boolean,
): RouteSource {
  if (route_source !== 'auto') return route_source;
  return has_gobgpd && kubernetes && bgp.networking === 'bird' ? 'bgp' : 'ipam';
}
