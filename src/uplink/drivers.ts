/** All drivers, and which one an uplink gets. */
import type { Driver as DriverName, UplinkSpec } from '../config.js';
import { af_packet } from './af-packet.js';
import { af_xdp } from './af-xdp.js';
import { iavf, ige } from './dev.js';
import { dpdk } from './dpdk.js';
import type { UplinkDriver } from './driver.js';
import { none } from './none.js';
import { rdma } from './rdma.js';
import { virtio } from './virtio.js';
import { vmxnet3 } from './vmxnet3.js';

export const uplink_drivers: Readonly<Record<DriverName, UplinkDriver>> = {
  af_packet,
  af_xdp,
  virtio,
  dpdk,
  rdma,
  vmxnet3,
  iavf,
  ige,
  none,
};

/** The driver that was chosen for the device (`choice.ts`), or that was asked for; without either, the one that works with every device. */
export function driverFor({
  driver,
  spec,
}: {
  readonly driver?: DriverName;
  readonly spec: Pick<UplinkSpec, 'driver'>;
}): UplinkDriver {
  return uplink_drivers[driver ?? spec.driver ?? 'af_packet'];
}

/**
 * May pods and the host send segments larger than a packet? Not where an uplink's driver cannot cut them: VPP 26.10 does it
 * itself then, and dies of the first one that has passed its address translation.
 */
export function largeSegments(asked: boolean, specs: readonly Pick<UplinkSpec, 'driver'>[]): boolean {
  return asked && specs.every(({ driver }) => uplink_drivers[driver ?? 'af_packet'].large_segments);
}
