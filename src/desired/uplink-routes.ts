/** What of the routes of Linux VPP gets. Pure. */
import type { RepeatedAdvertisement } from '../ip/advertisement.js';
import { isLinkLocal, networkOf } from '../ip/prefix.js';
import { familyOf } from '../ip/text.js';
import type { Route as LinuxRoute } from '../linux/network.js';
import type { Path, Route } from '../objects/routing.js';
import { type NodeInputs, type Uplink, uplinkTag } from './node-inputs.js';
import { everything } from './tables.js';
import { vppAddresses } from './uplink-addresses.js';

/** RT_TABLE_MAIN. */
const linux_main_table = 254;

/**
 * The routes of Linux, the best of each prefix over all uplinks of a network; connected ones come with the addresses. A
 * default gateway that is configured stands in for a default route that the main uplink does not have.
 */
export function uplinkRoutes(inputs: NodeInputs, tableOf: (uplink: Uplink) => number): Route[] {
  const best = new Map<string, { readonly metric: number; readonly route: Route }>();
  const offer = (table_id: number, prefix: string, metric: number, paths: readonly Path[]): void => {
    const known = best.get(`${table_id}/${prefix}`);
    if (paths.length > 0 && (known === undefined || metric < known.metric))
      best.set(`${table_id}/${prefix}`, { metric, route: route(table_id, prefix, paths) });
  };
  for (const uplink of inputs.uplinks) {
    const table_id = tableOf(uplink);
    // A multipath route may lead through several of them.
    const tags = new Map(
      inputs.uplinks
        .filter((other) => tableOf(other) === table_id)
        .map((other) => [other.link, uplinkTag(other.name)]),
    );
    const connected = connectedPrefixes(uplink, inputs.uplink_128_to_64);
    const speaker = speakerOf(inputs.repeated?.get(uplink.name));
    for (const { prefix, metric, next_hops } of uplink.routes.filter(isForwarded)) {
      if (isLinkLocal(prefix) || connected.has(prefix)) continue;
      const paths = next_hops.flatMap((hop): Path[] => {
        const tag = hop.oif === undefined ? undefined : tags.get(hop.oif);
        return tag === undefined
          ? []
          : [{ via: 'interface', interface: tag, next_hop: hop.gateway ?? onLink(prefix) }];
      });
      // Of equal ones that of a router which lives: the host keeps that of another one until its lifetime ends.
      const is_speakers = next_hops.some(({ gateway }) => gateway !== undefined && gateway === speaker);
      offer(table_id, prefix, is_speakers ? metric - 0.5 : metric, paths);
    }
    if (!uplink.is_main) continue;
    for (const gateway of inputs.default_gateways) {
      const prefix = everything(familyOf(gateway));
      if (!uplink.routes.some((known) => isForwarded(known) && known.prefix === prefix))
        offer(table_id, prefix, 0, [
          { via: 'interface', interface: uplinkTag(uplink.name), next_hop: gateway },
        ]);
    }
  }
  return [...best.values()].map(({ route }) => route);
}

/** The router in whose name VPP speaks, while it is a default router. */
function speakerOf(repeated: RepeatedAdvertisement | undefined): string | undefined {
  return repeated === undefined || repeated.lifetime_s === 0 ? undefined : repeated.router;
}

/** Routes of other tables, those that drop or reject, and those that encapsulate are for Linux alone. */
function isForwarded(route: LinuxRoute): boolean {
  const { table, type, next_hops } = route;
  return (
    table === linux_main_table && type === 'unicast' && next_hops.every((hop) => hop.encap === undefined)
  );
}

/** Prefixes whose routes come with the addresses, in Linux and in VPP. */
function connectedPrefixes(uplink: Uplink, to_64: boolean): ReadonlySet<string> {
  return new Set([...vppAddresses(uplink, false), ...vppAddresses(uplink, to_64)].map(networkOf));
}

/**
 * Next hop of a route without gateway: "whoever has the address". Of a single host VPP would take its own address as well,
 * but not as attached: it would refuse that host's ARP requests and answers.
 */
function onLink(prefix: string): string {
  return familyOf(prefix) === 4 ? '0.0.0.0' : '::';
}

/** One of the node's own. */
export function route(table_id: number, prefix: string, paths: readonly Path[]): Route {
  return { kind: 'route', source: 'node', table_id, prefix, paths };
}
