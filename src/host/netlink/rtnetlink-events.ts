/** From the datagrams of rtnetlink's multicast groups to events. */
import type { NetworkEvent, Route } from '../../linux/network.js';
import { type Message, messagesOf } from './netlink-message.js';
import { RTM, RTM_F_CLONED } from './rtnetlink-constants.js';
import { decodeAddress, decodeLink, decodeNeighbour, decodeRoute } from './rtnetlink-decode.js';

/** Never throws: what cannot be read is an overrun, after which everybody dumps again what he relies on. */
export function eventsOf(datagram: Buffer): NetworkEvent[] {
  const events: NetworkEvent[] = [];
  try {
    for (const message of messagesOf(datagram)) events.push(...eventOf(message));
  } catch {
    events.push({ event: 'overrun' });
  }
  return events;
}

/** A copy that the kernel keeps for one destination. */
export function isCloned({ flags = 0 }: Route): boolean {
  return (flags & RTM_F_CLONED) !== 0;
}

function eventOf({ type, payload }: Message): NetworkEvent[] {
  switch (type) {
    case RTM.NEWLINK:
    case RTM.DELLINK: {
      // Bridge ports are announced a second time, in a family of their own and with few attributes.
      if (payload.readUInt8(0) !== 0) return [];
      return [{ event: type === RTM.NEWLINK ? 'link' : 'link_removed', link: decodeLink(payload) }];
    }
    case RTM.NEWADDR:
    case RTM.DELADDR: {
      const address = decodeAddress(payload);
      return address ? [{ event: type === RTM.NEWADDR ? 'address' : 'address_removed', address }] : [];
    }
    case RTM.NEWROUTE:
    case RTM.DELROUTE: {
      const route = decodeRoute(payload);
      return route && !isCloned(route)
        ? [{ event: type === RTM.NEWROUTE ? 'route' : 'route_removed', route }]
        : [];
    }
    case RTM.NEWNEIGH:
    case RTM.DELNEIGH: {
      const neighbour = decodeNeighbour(payload);
      return neighbour
        ? [{ event: type === RTM.NEWNEIGH ? 'neighbour' : 'neighbour_removed', neighbour }]
        : [];
    }
    default:
      return [];
  }
}
