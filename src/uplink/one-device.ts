/** Uplinks that are not independent of each other: two names of one PCI device, a card and a function of it. Pure. */
import type { PciFacts } from '../host/devices/pci-facts.js';
import type { DeviceChange } from './driver.js';

/** One of several uplinks, by the name of its device. `changes`: those of its driver. */
export interface Given {
  readonly name: string;
  readonly pci?: PciFacts;
  readonly changes: readonly DeviceChange[];
}

/** In words: `uplinks` (what): (why); (step). */
export interface Collision {
  readonly uplinks: readonly string[];
  readonly what: string;
  readonly why: string;
  readonly step: string;
}

export function collisionsOf(given: readonly Given[]): Collision[] {
  return given.flatMap((one, at) =>
    given
      .slice(at + 1)
      .flatMap((other): readonly Collision[] => collision(one, other) ?? collision(other, one) ?? []),
  );
}

/** What `one` does to `other`. */
function collision(one: Given, other: Given): Collision[] | undefined {
  const leaving = one.changes.flatMap((change) => (change.do === 'bind' ? [change.pci] : []));
  const address = other.pci?.address;
  if (address !== undefined && leaving.includes(address)) {
    return [
      {
        uplinks: [one.name, other.name],
        what: `are one PCI device, ${address}`,
        why: 'VPP gets it as a whole',
        step: 'name one of them, or give both the driver af_packet',
      },
    ];
  }
  const parent = other.pci?.physical_function;
  if (parent === undefined || !leaving.includes(parent)) return undefined;
  return [
    {
      uplinks: [one.name, other.name],
      what: `are a card and a virtual function of it`,
      why: `${one.name} leaves its kernel driver, and ${other.name} goes with that`,
      step: `give ${one.name} the driver af_packet, or leave it out`,
    },
  ];
}
