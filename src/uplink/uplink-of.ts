/** A captured uplink in the eyes of others. Pure. */
import type { Uplink } from '../desired/node-inputs.js';
import type { CapturedUplink } from './captured.js';
import type { UplinkDriver } from './driver.js';
import { driverFor } from './drivers.js';

/** The uplink as `desired` wants it. */
export function uplinkOf(captured: CapturedUplink, gso: boolean, tag: string): Uplink {
  const { spec, link } = captured;
  const driver: UplinkDriver = driverFor(captured);
  const facts = { ...captured, gso };
  return {
    name: link.name,
    index: spec.index,
    is_main: spec.is_main,
    mac: link.mac ?? '00:00:00:00:00:00',
    mtu: driver.mtu(facts),
    addresses: captured.addresses,
    routes: captured.routes,
    link: link.index,
    host_addresses: captured.host_addresses,
    neighbours: captured.neighbours,
    leased: captured.leased === true,
    physical_network: spec.physical_network,
    rx_mode: spec.rx_mode ?? driver.default_rx_mode,
    device: driver.device(facts, tag),
  };
}

/** Gateways of the routes through this link. */
export function gatewaysOf({ link, routes }: Pick<CapturedUplink, 'link' | 'routes'>): string[] {
  const hops = routes.flatMap((route) => route.next_hops).filter((hop) => hop.oif === link.index);
  return [...new Set(hops.flatMap((hop) => hop.gateway ?? []))];
}
