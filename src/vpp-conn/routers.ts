/** What routers say, as VPP hears it on its interfaces. */
import type { Client } from 'vpp-binapi-ts';
import { type ip6_ra_event as Event, ip6_ra_event, want_ip6_ra_events } from 'vpp-binapi-ts/ip6_nd';
import type { RouterAdvertisement } from '../ip/advertisement.js';
import type { InterfaceTag } from '../objects/interfaces.js';
import type { Handles } from './handles.js';

/** Bits of RFC 4861, 4.2 and 4.6.2. */
const managed = 0x80;
const other = 0x40;
const on_link = 0x80;
const autonomous = 0x40;

/** VPP without these messages says nothing, as one that has gone: its session ends, or begins without. */
export function hearRouters(
  vpp: Pick<Client, 'on' | 'request'>,
  handles: Handles,
  said: (tag: InterfaceTag, advertisement: RouterAdvertisement) => void,
): void {
  try {
    vpp.on(ip6_ra_event, (event) => {
      const tag = handles.tagOf(event.sw_if_index);
      if (tag !== undefined) said(tag, advertisementOf(event));
    });
  } catch {
    return;
  }
  vpp.request(want_ip6_ra_events, { enable: true, pid: process.pid }).catch(() => undefined);
}

function advertisementOf(event: Event): RouterAdvertisement {
  const { router_addr, router_lifetime_in_sec, flags, prefixes } = event;
  return {
    router: router_addr,
    lifetime_s: router_lifetime_in_sec,
    managed: (flags & managed) !== 0,
    other: (flags & other) !== 0,
    prefixes: prefixes.map((each) => ({
      prefix: each.prefix,
      on_link: (each.flags & on_link) !== 0,
      autonomous: (each.flags & autonomous) !== 0,
      valid_s: each.valid_time,
      preferred_s: each.preferred_time,
    })),
  };
}
