/** All drivers, and which one an uplink gets. */
import type { Driver as DriverName, UplinkSpec } from '../config.js';
import { af_packet } from './af-packet.js';
import { af_xdp } from './af-xdp.js';
import type { UplinkDriver } from './driver.js';
import { none } from './none.js';

const available: Readonly<Partial<Record<DriverName, UplinkDriver>>> = { af_packet, af_xdp, none };

/** Names of the drivers that this version has. */
export const driver_names = Object.keys(available) as readonly DriverName[];

/** The configuration names a driver that this version does not have. */
export class DriverMissing extends Error {
  override readonly name = 'DriverMissing';
}

/** The driver that was asked for; without one, the one that works with every device. */
export function driverFor(spec: Pick<UplinkSpec, 'interface_name' | 'driver'>): UplinkDriver {
  const driver = available[spec.driver ?? 'af_packet'];
  if (driver === undefined) {
    throw new DriverMissing(
      `uplink ${spec.interface_name}: driver ${spec.driver} is not in this version; use one of ${driver_names.join(', ')}`,
    );
  }
  return driver;
}

/**
 * May pods and the host send segments larger than a packet? Not where an uplink's driver cannot cut them: VPP 26.10 does it
 * itself then, and dies of the first one that has passed its address translation.
 */
export function largeSegments(asked: boolean, specs: readonly Pick<UplinkSpec, 'driver'>[]): boolean {
  return asked && specs.every(({ driver }) => available[driver ?? 'af_packet']?.large_segments ?? true);
}
