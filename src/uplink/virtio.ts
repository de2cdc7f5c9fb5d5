import { askedMtu, type DeviceFacts, type UplinkDriver } from './driver.js';
import type { Obstacle } from './obstacles.js';
import { bindChanges, needsHugepages, needsSegmentation, pciObstacles } from './pci-needs.js';

const vendor = '1af4';
/** `virtio_pci_device_ids` of VPP: network devices, of the transitional form and of the later one. */
const ids: readonly string[] = ['1000', '1041'];

/** Virtual machines of QEMU and its like: VPP drives the device itself. It takes the queues and rings that the hypervisor gives it. */
export const virtio: UplinkDriver = {
  name: 'virtio',
  default_rx_mode: 'adaptive',
  moves: () => false,
  large_segments: true,
  mtu: askedMtu,
  prepare: bindChanges,
  device: ({ pci, link, gso }, tag) => ({
    kind: 'virtio',
    tag,
    pci: pci?.address ?? '',
    mac: link.mac ?? '00:00:00:00:00:00',
    gso,
  }),
  lacks: (facts, machine) => [
    ...pciObstacles('virtio', facts, machine, ['virtio-pci']),
    ...deviceObstacles(facts),
    ...needsHugepages('virtio', machine),
    ...needsSegmentation('virtio', facts),
  ],
};

function deviceObstacles({ pci }: DeviceFacts): Obstacle[] {
  if (pci === undefined) return [];
  if (pci.vendor !== vendor || !ids.includes(pci.device)) {
    return [
      {
        what: `is a device ${pci.vendor}:${pci.device}`,
        why: `VPP's virtio drives ${ids.map((id) => `${vendor}:${id}`).join(' and ')}`,
        step: 'use af_packet',
      },
    ];
  }
  // VPP writes physical addresses, and never takes VIRTIO_F_ACCESS_PLATFORM (seen: -126).
  if (pci.passes_iommu !== true) return [];
  return [
    {
      what: 'insists on the IOMMU',
      why: "the hypervisor gives it with VIRTIO_F_ACCESS_PLATFORM, which VPP's virtio does not know",
      step: 'have the hypervisor give it with iommu_platform=off, or use af_packet',
    },
  ];
}
