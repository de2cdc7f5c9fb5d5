import { askedMtu, type UplinkDriver } from './driver.js';
import { bindChanges, needsHugepages, needsSegmentation, pciObstacles } from './pci-needs.js';

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
    ...needsHugepages('virtio', machine),
    ...needsSegmentation('virtio', facts),
  ],
};
