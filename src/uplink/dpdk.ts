import { askedMtu, type UplinkDriver } from './driver.js';
import { bindChanges, binderOf, onNoBus, pciObstacles } from './pci-needs.js';

/**
 * DPDK, for what nothing else drives. VPP finds the device when it starts, by a section of its start-up file: it is given the device, and
 * begins anew with it (`vpp-conn/startup-dpdk.ts`).
 */
export const dpdk: UplinkDriver = {
  name: 'dpdk',
  default_rx_mode: 'polling',
  moves: () => false,
  needs_new_vpp: true,
  // Its devices are made without, by VPP's default.
  large_segments: false,
  mtu: askedMtu,
  // Cards of Mellanox keep their kernel driver.
  prepare: (facts) =>
    isBifurcated(facts.pci?.driver) && facts.spec.new_driver === undefined ? [] : bindChanges(facts),
  device: (_, tag) => ({ kind: 'existing_interface', tag }),
  lacks: (facts, machine) => {
    const { pci } = facts;
    if (pci === undefined) return [onNoBus('dpdk')];
    if (isBifurcated(pci.driver) && facts.spec.new_driver === undefined) return [];
    const is_isolated = pci.iommu_group !== undefined && binderOf(facts) === 'vfio-pci';
    return [
      ...pciObstacles('dpdk', facts, machine),
      ...(machine.hugepage_bytes > 0 || is_isolated
        ? []
        : [
            {
              what: 'has neither hugepages nor an IOMMU for dpdk',
              why: 'without hugepages DPDK reaches memory by virtual addresses, which takes an IOMMU',
              step: 'set vm.nr_hugepages on the host, turn the IOMMU on, or use af_packet',
            },
          ]),
    ];
  },
};

const isBifurcated = (driver: string | undefined): boolean =>
  driver === 'mlx5_core' || driver === 'mlx4_core';
