import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { driverOf, HOST_ROOTS, type HostRoots, pciDirectory } from './sysfs.js';

/**
 * Gives a PCI device to another kernel driver. `driver_override` names the one driver that may take this one device:
 * unlike `new_id` it leaves no rule behind that twins of the device would follow.
 * False: that driver has it already. Throws when there is no such device or driver, or the driver refuses it (ENODEV).
 */
export function bindDriver(address: string, driver: string, roots: HostRoots = HOST_ROOTS): boolean {
  const device = pciDirectory(address, roots);
  if (!existsSync(device)) throw new Error(`there is no PCI device ${address}`);
  const present = driverOf(address, roots);
  if (present === driver) return false;
  const directory = join(roots.sys, 'bus/pci/drivers', driver);
  if (!existsSync(directory)) throw new Error(`kernel driver ${driver} is not loaded: modprobe it`);
  const override = join(device, 'driver_override');
  write(override, driver);
  try {
    if (present !== undefined) write(join(device, 'driver/unbind'), address);
    write(join(directory, 'bind'), address);
  } finally {
    // An empty line clears it: the next driver of this device is free again.
    write(override, '\n');
  }
  return true;
}

function write(path: string, value: string): void {
  writeFileSync(path, value, { flag: 'r+' });
}
