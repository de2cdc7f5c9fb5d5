/**
 * What keeps a device from being an uplink: that which could not be given back, or would be lost by the take-over. `run` takes no uplink with
 * an obstacle, and `check` tells the same. Pure.
 */
import type { UplinkSpec } from '../config.js';
import { isDead, type LinkState } from '../host/undo/capture.js';
import { isLinkLocal } from '../ip/prefix.js';
import type { Link, Route } from '../linux/network.js';

/** In words: `eth0` is (what), because (why); do (step). */
export interface Obstacle {
  readonly what: string;
  readonly why: string;
  readonly step: string;
}

const arphrd_ethernet = 1;
/** Kinds whose namespace the kernel does not let anybody change. */
const immovable: readonly string[] = ['bridge', 'bond', 'team', 'vrf'];

type Rule = (
  state: LinkState,
  links: readonly Link[],
  spec: Pick<UplinkSpec, 'families'>,
) => readonly Obstacle[];

/** `links`: all of the host. Those that time may heal (no address yet) come last. */
export function obstaclesOf(...[state, links, spec]: Parameters<Rule>): Obstacle[] {
  return rules.flatMap((rule) => rule(state, links, spec));
}

const rules: readonly Rule[] = [
  isEthernet,
  isFree,
  isMovable,
  nothingAbove,
  routesComeBack,
  nexthopsComeBack,
  isUp,
  hasAddress,
];

function isEthernet({ link }: LinkState): Obstacle[] {
  if (link.type === arphrd_ethernet) return [];
  return [
    {
      what: 'is no Ethernet device',
      why: 'VPP takes over Ethernet devices alone',
      step: 'name the device of the node network',
    },
  ];
}

function isFree({ link }: LinkState, links: readonly Link[]): Obstacle[] {
  if (link.master === undefined || link.master === 0) return [];
  const master = links.find(({ index }) => index === link.master);
  const name = master?.name ?? `device ${link.master}`;
  return [
    {
      what: `belongs to ${name}`,
      why: `taken out of ${master?.kind === undefined ? 'it' : `the ${master.kind}`}, the traffic of the others is lost`,
      step: `take it out of ${name} first`,
    },
  ];
}

function isMovable({ link }: LinkState, links: readonly Link[]): Obstacle[] {
  if (link.kind === undefined || !immovable.includes(link.kind)) return [];
  const members = links.filter(({ master }) => master === link.index).map((member) => member.name);
  return [
    {
      what: `is a ${link.kind}`,
      why: "Linux does not let such a device move to VPP's namespace",
      step:
        members.length > 0
          ? `name the device below it (${members.join(', ')}) and give that the addresses`
          : 'name the device below it',
    },
  ];
}

/** Linux destroys them, or leaves them without a device, when it moves the one below. */
function nothingAbove({ link }: LinkState, links: readonly Link[]): Obstacle[] {
  const above = links.filter(
    (other) =>
      other.link === link.index &&
      other.link_netnsid === undefined &&
      other.kind !== 'veth' &&
      other.index !== link.index,
  );
  if (above.length === 0) return [];
  const names = above.map(({ name, kind }) => `${name} (${kind ?? 'device'})`).join(', ');
  return [
    {
      what: `has ${names} on top`,
      why: 'they are lost when the device goes to VPP, and nothing could give them back',
      step: 'remove them, or have them on a device that stays with Linux',
    },
  ];
}

function routesComeBack({ routes, foreign_routes }: LinkState, links: readonly Link[]): Obstacle[] {
  const nameOf = (index: number | undefined): string =>
    links.find((link) => link.index === index)?.name ?? `device ${index}`;
  return [...routes, ...foreign_routes].flatMap((route): Obstacle[] => {
    const { next_hops, unsupported, nexthop_id } = route;
    const words = routeInWords(route);
    if (unsupported !== undefined) {
      return [
        {
          what: `has the route ${words} with ${unsupported.join(', ')}`,
          why: 'it could not be given back when VPP ends',
          step: 'remove it, or have it without',
        },
      ];
    }
    const dead = next_hops.find(isDead);
    if (dead === undefined || next_hops.length === 1 || nexthop_id !== undefined) return [];
    return [
      {
        what: `has the route ${words}, and ${nameOf(dead.oif)} is down`,
        why: 'Linux adds no route over a device that is down: it could not be given back as it is',
        step: `set ${nameOf(dead.oif)} up, or take it out of the route`,
      },
    ];
  });
}

export function routeInWords({ prefix, table, metric }: Pick<Route, 'prefix' | 'table' | 'metric'>): string {
  return `${prefix}${table === 254 ? '' : ` in table ${table}`}${metric === 0 ? '' : ` metric ${metric}`}`;
}

function nexthopsComeBack({ nexthops }: LinkState): Obstacle[] {
  return nexthops.flatMap(({ id, unsupported }) =>
    unsupported === undefined
      ? []
      : [
          {
            what: `has the nexthop object ${id} with ${unsupported.join(', ')}`,
            why: 'it could not be given back when VPP ends',
            step: 'remove it, or have it without',
          },
        ],
  );
}

function isUp({ link }: LinkState): Obstacle[] {
  if (link.up) return [];
  return [
    {
      what: 'is down',
      why: 'addresses and routes are taken from a device that is up',
      step: `run "ip link set ${link.name} up", or have the network manager do it at boot`,
    },
  ];
}

function hasAddress(
  { addresses }: LinkState,
  _links: readonly Link[],
  { families }: Pick<UplinkSpec, 'families'>,
): Obstacle[] {
  const global = addresses.filter(({ prefix }) => !isLinkLocal(prefix));
  if (global.length === 0) {
    return [
      {
        what: 'has no IP address yet',
        why: "its addresses become the node's in VPP",
        step: 'give it one, or wait for DHCP: it is taken over once it has one',
      },
    ];
  }
  return families
    .filter((family) => !global.some((address) => address.family === family))
    .map((family) => ({
      what: `has no IPv${family} address yet`,
      why: 'ipFamilies asks for one',
      step: 'give it one, or take the family out of ipFamilies: it is taken over once it has one',
    }));
}
