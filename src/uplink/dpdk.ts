import type { MachineFacts } from '../host/devices/pci-facts.js';
import { isSameDevice } from '../vpp-conn/startup-dpdk.js';
import { askedMtu, type DeviceFacts, type UplinkDriver } from './driver.js';
import type { Obstacle } from './obstacles.js';
import { bindChanges, binderOf, leaningOn, needsVerbs, onNoBus, pciObstacles } from './pci-needs.js';

/** Kernel drivers beside which DPDK has queues of its own. */
const shared_drivers: readonly string[] = ['mlx5_core', 'mlx4_core'];

/** Also where newDriver names the one that the device has: then a `dpdk` section of the user's does something else with it. */
const staysWithKernel = ({ pci, spec }: Pick<DeviceFacts, 'pci' | 'spec'>): boolean =>
  spec.new_driver === undefined
    ? shared_drivers.includes(pci?.driver ?? '')
    : spec.new_driver === pci?.driver;

/**
 * DPDK, for what nothing else drives. VPP finds the device when it starts, by a section of its start-up file: it is given the device, and
 * begins anew with it (`vpp-conn/startup-dpdk.ts`).
 */
export const dpdk: UplinkDriver = {
  name: 'dpdk',
  default_rx_mode: 'polling',
  moves: staysWithKernel,
  needs_new_vpp: true,
  // VPP makes these devices without, unless a section of the user's says otherwise: gsoEnabled is not for it to know.
  large_segments: false,
  mtu: askedMtu,
  prepare: (facts) => (staysWithKernel(facts) ? [{ do: 'promisc' }] : bindChanges(facts)),
  // One that somebody has given it: with its own one, which it has again, it would be another host to the network.
  device: ({ link: { mac, permanent_mac } }, tag) => ({
    kind: 'existing_interface',
    tag,
    ...(mac !== undefined && mac !== permanent_mac && { mac }),
  }),
  lacks: (facts, machine) => {
    const { pci } = facts;
    if (pci === undefined) return [onNoBus('dpdk')];
    const of_file = fileObstacles(facts, machine);
    if (staysWithKernel(facts)) {
      const needs = facts.spec.new_driver === undefined ? needsVerbs(pci, machine) : [];
      return [...of_file, ...needs, ...takenObstacles(facts, machine), ...leaningOn(facts, machine)];
    }
    return [...of_file, ...pciObstacles('dpdk', facts, machine), ...memoryObstacles(facts, machine)];
  },
};

/** VPP would end at its start, or begin anew with the device for nothing. */
function fileObstacles({ link }: DeviceFacts, { has_dpdk, untagged = [] }: MachineFacts): Obstacle[] {
  return [
    ...(has_dpdk === false
      ? [
          {
            what: 'cannot be driven by dpdk',
            why: 'VPP has no dpdk_plugin.so',
            step: 'use a VPP that has it, or another driver',
          },
        ]
      : []),
    ...(untagged.includes(link.name)
      ? [
          {
            what: 'is not in the dpdk section of CALICOVPP_CONFIG_TEMPLATE',
            why: `no device of it has "tag main-${link.name}", by which it is found`,
            step: 'add that to its device, or take the section out of the template',
          },
        ]
      : []),
  ];
}

/** What the file names, and the kernel has, DPDK takes by itself, but cards that it shares. */
function takenObstacles({ pci, spec }: DeviceFacts, { dpdk_devices }: MachineFacts): Obstacle[] {
  const { address = '', driver = '' } = pci ?? {};
  if (shared_drivers.includes(driver)) return [];
  const is_named = dpdk_devices?.some(
    (device) => isSameDevice(device, address) || device.startsWith('__PCI_DEVICE_ID'),
  );
  if (is_named === false) return [];
  return [
    {
      what: `is to keep its kernel driver (newDriver ${spec.new_driver})`,
      why: 'VPP would take it from that at its start, and nobody would give it back',
      step: 'leave newDriver out, or have a dpdk section that makes something else of the device',
    },
  ];
}

function memoryObstacles(facts: DeviceFacts, { hugepage_bytes, small_buffers }: MachineFacts): Obstacle[] {
  const { pci } = facts;
  // A virtio device without VIRTIO_F_ACCESS_PLATFORM goes past the IOMMU.
  const is_isolated =
    pci?.iommu_group !== undefined && binderOf(facts) === 'vfio-pci' && pci.passes_iommu !== false;
  if (is_isolated || (hugepage_bytes > 0 && small_buffers !== true)) return [];
  const hugepages = hugepage_bytes > 0 ? "hugepages for all of VPP's buffers" : 'hugepages';
  return [
    {
      what: `has neither ${hugepages} nor an IOMMU for dpdk`,
      why: 'without hugepages DPDK reaches memory by virtual addresses, which takes an IOMMU',
      step: 'set vm.nr_hugepages on the host, turn the IOMMU on, or use af_packet',
    },
  ];
}
