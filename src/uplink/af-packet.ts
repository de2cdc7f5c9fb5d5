import { askedMtu, type UplinkDriver } from './driver.js';

/** Linux packet sockets: slow, and works with every device. */
export const af_packet: UplinkDriver = {
  name: 'af_packet',
  // It has no adaptive mode.
  default_rx_mode: 'interrupt',
  moves: () => true,
  large_segments: true,
  mtu: askedMtu,
  prepare: ({ gso, offloads = true, joins = [] }) => [
    { do: 'promisc' },
    // Without it VPP takes what the kernel has joined for one packet, which no tap and no link takes from it: of TCP to the host a thousandth passed (seen).
    ...(joins.length > 0 && !(gso && offloads) ? [{ do: 'join_nothing', of: joins } as const] : []),
  ],
  device: ({ spec, link, gso, offloads = true }, tag) => ({
    kind: 'af_packet',
    tag,
    host_if_name: spec.interface_name,
    mac: link.mac ?? '00:00:00:00:00:00',
    rx_queues: spec.rx_queues,
    tx_queues: spec.tx_queues,
    rx_frames_per_block: spec.rx_ring_size,
    tx_frames_per_block: spec.tx_ring_size,
    // Asked for it where the device has none, VPP 26.10 tells the kernel of a header before each packet, and writes none: all are dropped.
    gso: gso && offloads,
    qdisc_bypass: spec.af_packet_qdisc_bypass,
    version_3: spec.af_packet_v3,
  }),
};
