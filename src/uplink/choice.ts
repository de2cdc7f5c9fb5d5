/** Which driver an uplink gets where the configuration names none. Pure, but for what it remembers of those that came to nothing. */
import type { Driver, UplinkSpec } from '../config.js';
import type { MachineFacts } from '../host/devices/pci-facts.js';
import type { DeviceFacts } from './driver.js';
import { uplink_drivers } from './drivers.js';
import type { Obstacle } from './obstacles.js';

/** In the order in which they are asked. The last one takes every device. */
export const candidates = ['virtio', 'rdma', 'vmxnet3', 'af_packet'] as const satisfies readonly Driver[];

export interface Choice {
  readonly driver: Driver;
  readonly passed_over: Readonly<Partial<Record<Driver, string>>>;
}

/** What keeps `driver` from the device. `facts.gso`: whether pods send segments larger than a packet, as they do unless the configuration says otherwise. */
export function lacksOf(driver: Driver, facts: DeviceFacts, machine: MachineFacts): readonly Obstacle[] {
  return uplink_drivers[driver].lacks?.(facts, machine) ?? [];
}

/** `failed`: by driver, what speaks against it that this life has found out. */
export function chooseDriver(
  facts: DeviceFacts,
  machine: MachineFacts,
  failed: ReadonlyMap<Driver, string> = new Map(),
): Choice {
  const passed_over: Partial<Record<Driver, string>> = {};
  for (const driver of candidates) {
    const why = driver === 'af_packet' ? undefined : against(driver, facts, machine, failed);
    if (why === undefined) return { driver, passed_over };
    passed_over[driver] = why;
  }
  return { driver: 'af_packet', passed_over };
}

function against(
  driver: Driver,
  facts: DeviceFacts,
  machine: MachineFacts,
  failed: ReadonlyMap<Driver, string>,
): string | undefined {
  const before = failed.get(driver);
  if (before !== undefined) return before;
  const [lack] = lacksOf(driver, facts, machine);
  if (lack !== undefined) return `the device ${lack.what}: ${lack.why}`;
  // Pods are told what they may send before any uplink is looked at.
  if (facts.gso && !uplink_drivers[driver].large_segments)
    return `it cuts no segments, and gsoEnabled is on: name it as vppDriver, or set gsoEnabled to false`;
  // The mode is the machine's as a whole, and one of no safety: a person has to name the driver.
  if (facts.pci !== undefined && facts.pci.iommu_group === undefined && driver !== 'rdma')
    return 'no IOMMU isolates the device: name the driver as vppDriver to have it without';
  // Where Linux does not say it, a person may know.
  if (driver === 'virtio' && facts.pci?.passes_iommu === undefined && facts.pci !== undefined)
    return 'it is not known whether the device insists on the IOMMU: name the driver as vppDriver if it does not';
  return undefined;
}

type Named = Pick<UplinkSpec, 'interface_name'>;

/** What was tried in this life of the process, by uplink: each driver at most once. And which the attempt under way passes over without having tried them. */
export class Tried {
  readonly #failed = new Map<string, Map<Driver, string>>();
  readonly #held = new Map<string, Map<Driver, string>>();

  /** By driver, what speaks against it. */
  of({ interface_name }: Named): ReadonlyMap<Driver, string> {
    const [held, failed] = [this.#held, this.#failed].map((of) => of.get(interface_name) ?? []);
    return new Map([...held!, ...failed!]);
  }

  /** Whoever held a device may have let go of it. What has failed is not tried again. */
  newAttempt(): void {
    this.#held.clear();
  }

  /** Another program has what VPP would get. */
  held(uplink: Named, driver: Driver, why: string): void {
    note(this.#held, uplink, driver, why);
  }

  /** Of an uplink whose driver was chosen. The last one is not given up: there is no other. */
  failed(uplink: Named, driver: Driver, why: string): void {
    if (driver === candidates.at(-1)) return;
    note(this.#failed, uplink, driver, why);
  }
}

function note(
  all: Map<string, Map<Driver, string>>,
  { interface_name }: Named,
  driver: Driver,
  why: string,
): void {
  const known = all.get(interface_name) ?? new Map<Driver, string>();
  known.set(driver, why.slice(0, 300));
  all.set(interface_name, known);
}
