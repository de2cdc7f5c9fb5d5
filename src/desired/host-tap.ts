/**
 * What Linux gets on the tap that takes the uplink's place: its addresses, its routes, and what the host needs to reach
 * its IPv6 neighbours through VPP.
 *
 * IPv4 neighbours are answered by VPP's proxy ARP. For IPv6 VPP only proxies addresses that it is told, so the host is
 * told instead: gateways are permanent neighbours with VPP's MAC, and a better route than the connected one sends
 * on-link prefixes to VPP's link-local address.
 */
import type { NetworkChange, NewAddress, NewNeighbour, NewRoute } from '../host/types.js';
import { isLinkLocal, networkOf, splitPrefix } from './ip.js';
import { hostTapMac, linkLocalOf, type Uplink } from './uplink.js';

/** IFA_F_NODAD: the address was verified on the uplink already, and is needed at once. */
const no_duplicate_detection = 0x02;
const permanent = 0x80;
const static_protocol = 4;
/** Below 256, that of the kernel's own connected routes. */
const on_link_metric = 64;

/** The link-local address that VPP's side of the tap derives from its MAC (RFC 4291, modified EUI-64). */
export function hostTapLinkLocal(index: number): string {
  return `fe80::ca:11ff:fec0:fd${index.toString(16).padStart(2, '0')}`;
}

/** Prefixes of the cluster that only VPP knows how to reach, and the address of VPP's side of the tap. */
export interface ClusterPrefixes {
  readonly prefixes: readonly string[];
  readonly tap_address: string;
}

/** Changes that make the tap, which is up and has ifindex `link`, what the uplink was. All can be repeated. */
export function hostTapChanges(
  uplink: Uplink,
  link: number,
  tap_link_locals: readonly string[],
  cluster: ClusterPrefixes,
): NetworkChange[] {
  const link_local = linkLocalOf(uplink);
  return [
    ...uplink.addresses.map(
      (address): NetworkChange => ({ do: 'replace_address', address: onTap(address, link) }),
    ),
    // The kernel gave the tap a link-local of its own; a DHCPv6 client must see the uplink's alone.
    ...(link_local === undefined
      ? []
      : tap_link_locals
          .filter((own) => !own.startsWith(`${link_local}/`))
          .map((prefix): NetworkChange => ({ do: 'delete_address', address: { link, family: 6, prefix } }))),
    ...neighbours(uplink, link),
    ...gatewayRoutes(uplink, link),
    ...onLinkRoutes(uplink, link),
    ...routesOnTap(uplink, link),
    ...(uplink.is_main ? clusterRoutes(uplink, link, cluster) : []),
  ];
}

function onTap(address: Uplink['addresses'][number], link: number): NewAddress {
  return address.family === 6
    ? { ...address, link, flags: address.flags | no_duplicate_detection }
    : { ...address, link };
}

/** Routes in the order that the kernel takes them: those without gateway first. Connected ones came with the addresses. */
function routesOnTap(uplink: Uplink, link: number): NetworkChange[] {
  const kernel_protocol = 2;
  return [...uplink.routes]
    .filter((route) => !(route.protocol === kernel_protocol && isLinkLocal(route.prefix)))
    .sort((a, b) => Number(hasGateway(a)) - Number(hasGateway(b)))
    .map((route): NetworkChange => {
      const { flags: _, nexthop_id: __, ...kept } = route;
      const next_hops = route.next_hops.map((hop) => ({
        ...hop,
        oif: hop.oif === uplink.link ? link : hop.oif!,
      }));
      const moved: NewRoute = { ...kept, next_hops };
      return { do: 'replace_route', route: moved };
    });
}

function hasGateway(route: Uplink['routes'][number]): boolean {
  return route.next_hops.some((hop) => hop.gateway !== undefined);
}

function neighbours(uplink: Uplink, link: number): NetworkChange[] {
  return [...ip6Gateways(uplink), hostTapLinkLocal(uplink.index)].map((address): NetworkChange => {
    const neighbour: NewNeighbour = {
      link,
      family: 6,
      address,
      mac: hostTapMac(uplink.index),
      state: permanent,
    };
    return { do: 'set_neighbour', neighbour };
  });
}

function ip6Gateways(uplink: Uplink): string[] {
  const gateways = uplink.routes.flatMap((route) => route.next_hops.flatMap((hop) => hop.gateway ?? []));
  return [...new Set(gateways.filter((gateway) => gateway.includes(':')))];
}

/** A gateway is on the link itself: Linux takes no route by a gateway that is reached through another one. */
function gatewayRoutes(uplink: Uplink, link: number): NetworkChange[] {
  return ip6Gateways(uplink)
    .filter((gateway) => !isLinkLocal(gateway))
    .map(
      (gateway): NetworkChange => ({
        do: 'replace_route',
        route: {
          family: 6,
          prefix: `${gateway}/128`,
          metric: on_link_metric,
          protocol: static_protocol,
          next_hops: [{ oif: link }],
        },
      }),
    );
}

function onLinkRoutes(uplink: Uplink, link: number): NetworkChange[] {
  const prefixes = new Set(
    uplink.addresses
      .filter(
        (address) => address.family === 6 && !isLinkLocal(address.prefix) && !address.prefix.endsWith('/128'),
      )
      .map((address) => networkOf(address.prefix)),
  );
  return [...prefixes].map(
    (prefix): NetworkChange => ({
      do: 'replace_route',
      route: {
        family: 6,
        prefix,
        metric: on_link_metric,
        protocol: static_protocol,
        next_hops: [{ oif: link, gateway: hostTapLinkLocal(uplink.index) }],
      },
    }),
  );
}

/** Room for the encapsulation that cluster traffic may get on its way. */
const cluster_mtu_reduction = 60;

/** Services are reached through VPP whatever routes the host has; the routes go with the tap. */
function clusterRoutes(
  uplink: Uplink,
  link: number,
  { prefixes, tap_address }: ClusterPrefixes,
): NetworkChange[] {
  return prefixes.map((prefix): NetworkChange => {
    const family = prefix.includes(':') ? 6 : 4;
    const gateway = family === 6 ? hostTapLinkLocal(uplink.index) : splitPrefix(tap_address).address;
    return {
      do: 'replace_route',
      route: {
        family,
        prefix: networkOf(prefix),
        protocol: static_protocol,
        metrics: { mtu: uplink.mtu - cluster_mtu_reduction },
        next_hops: [{ oif: link, gateway, onlink: true }],
      },
    };
  });
}
