import { askedMtu, type UplinkDriver } from './driver.js';
import { leaningOn, needsVerbs, onNoBus, wrongDriver } from './pci-needs.js';

/** VPP's plugin takes powers of two from 256 on, which the configuration has checked where the driver is named. */
const ring_min = 256;

/** Cards of Mellanox (ConnectX-4 and later): the kernel keeps its driver, and VPP has queues of its own beside it. */
export const rdma: UplinkDriver = {
  name: 'rdma',
  // It has no interrupts.
  default_rx_mode: 'polling',
  moves: () => true,
  attaches_before_move: true,
  // VPP's plugin offloads nothing.
  large_segments: false,
  mtu: askedMtu,
  prepare: () => [{ do: 'promisc' }],
  device: ({ spec, link }, tag) => ({
    kind: 'rdma',
    tag,
    host_if_name: link.name,
    mac: link.mac ?? '00:00:00:00:00:00',
    rx_queues: spec.rx_queues,
    rx_queue_size: Math.max(ring_min, spec.rx_ring_size),
    tx_queue_size: Math.max(ring_min, spec.tx_ring_size),
  }),
  lacks: ({ pci, link }, machine) => [
    // Of mlx4_core VPP's plugin says "only mlx5 supported for now".
    ...(pci === undefined ? [onNoBus('rdma')] : wrongDriver('rdma', pci, ['mlx5_core'])),
    ...needsVerbs(pci ?? {}, machine),
    ...leaningOn({ link }, machine),
  ],
};
