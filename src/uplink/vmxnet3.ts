import { askedMtu, type DeviceFacts, type UplinkDriver } from './driver.js';
import type { Obstacle } from './obstacles.js';
import { bindChanges, binderOf, mtuAtMost, needsHugepages, pciObstacles } from './pci-needs.js';

/** VMXNET3_MTU of VPP's plugin is 1522 bytes, with all that Ethernet adds. */
const mtu_max = 1500;
/** VPP refuses others: 64 to 4096, in steps of 64. */
const ring_step = 64;
const ring_max = 4096;
/** VMXNET3_RXQ_MAX, VMXNET3_TXQ_MAX. */
const rx_queues_max = 16;
const tx_queues_max = 8;

const ringOf = (asked: number): number =>
  Math.max(ring_step, Math.min(ring_max, Math.floor(asked / ring_step) * ring_step));

/** Virtual machines of VMware. */
export const vmxnet3: UplinkDriver = {
  name: 'vmxnet3',
  default_rx_mode: 'adaptive',
  moves: () => false,
  large_segments: true,
  mtu: askedMtu,
  prepare: bindChanges,
  device: ({ spec, pci, gso }, tag) => ({
    kind: 'vmxnet3',
    tag,
    pci: pci?.address ?? '',
    rx_queues: Math.min(rx_queues_max, spec.rx_queues),
    tx_queues: Math.min(tx_queues_max, spec.tx_queues),
    rx_queue_size: ringOf(spec.rx_ring_size),
    tx_queue_size: ringOf(spec.tx_ring_size),
    gso,
  }),
  lacks: (facts, machine) => [
    ...pciObstacles('vmxnet3', facts, machine, ['vmxnet3']),
    ...pastTheIommu(facts),
    ...needsHugepages('vmxnet3', machine),
    ...mtuAtMost(mtu_max, 'vmxnet3', askedMtu(facts)),
  ],
};

/** VPP's plugin writes physical addresses: by vfio the IOMMU has none of them. By uio it finds no MSI-X, without which it does nothing (both seen). */
function pastTheIommu(facts: DeviceFacts): Obstacle[] {
  const binder = binderOf(facts);
  if (binder !== 'vfio-pci') {
    return [
      {
        what: `cannot be driven by way of ${binder}`,
        why: "VPP's vmxnet3 needs MSI-X, which it has by vfio-pci alone",
        step: 'leave newDriver empty, or use af_packet',
      },
    ];
  }
  if (facts.pci?.iommu_group === undefined) return [];
  return [
    {
      what: 'is isolated by an IOMMU',
      why: "VPP's vmxnet3 gives it physical addresses, which the IOMMU does not let pass",
      step: "turn the IOMMU off in the hypervisor and use vfio's unsafe mode, or use af_packet",
    },
  ];
}
