/** What is on an uplink and not the host's own: routes of a node that ran here before. Pure. */
import type { LinkState } from '../host/undo/capture.js';
import type { CapturedRoute } from '../linux/routes.js';

const table_main = 254;
const static_protocol = 4;
/** What the Go implementation takes off the MTU of the uplink, and the metrics that it gives its routes, one more for each uplink. */
const mtu_reduction = 60;
const metric_max = 15;

/**
 * Routes of the Go implementation to services and pods, which its watcher put on the device itself when its tap went. They would send the
 * cluster's traffic to the gateway. Nothing else has just this: static, by one gateway, with no attribute but an MTU of the
 * device's less 60.
 */
export function isLeftover(route: CapturedRoute, { mtu }: LinkState['link']): boolean {
  const { table, type, protocol, metric, prefix, metrics = {}, prefsrc, next_hops, source, tos } = route;
  const [hop, ...more] = next_hops;
  return (
    table === table_main &&
    type === 'unicast' &&
    protocol === static_protocol &&
    metric % 1024 <= metric_max &&
    !prefix.endsWith('/0') &&
    prefsrc === undefined &&
    source === undefined &&
    tos === undefined &&
    hop?.gateway !== undefined &&
    more.length === 0 &&
    Object.keys(metrics).length === 1 &&
    metrics.mtu === mtu - mtu_reduction
  );
}

/** The state without them, and them. */
export function withoutLeftovers(state: LinkState): {
  readonly own: LinkState;
  readonly leftovers: CapturedRoute[];
} {
  const leftovers = state.routes.filter((route) => isLeftover(route, state.link));
  const routes = state.routes.filter((route) => !leftovers.includes(route));
  return { own: { ...state, routes }, leftovers };
}
