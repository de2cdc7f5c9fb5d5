import { askedMtu, type UplinkDriver } from './driver.js';

/** One XDP frame is a page, less its headroom. */
const mtu_max = 3072;

/** XDP sockets: fast, needs driver support for more than copy mode. */
export const af_xdp: UplinkDriver = {
  name: 'af_xdp',
  default_rx_mode: 'adaptive',
  moves: () => true,
  large_segments: false,
  mtu: (facts) => Math.min(mtu_max, askedMtu(facts)),
  prepare: ({ spec, link, channels }) => [
    { do: 'promisc' },
    ...(link.xdp ? [] : [{ do: 'xdp' } as const]),
    // VPP refuses more receive queues than the device has channels.
    ...(channels === undefined ||
    channels.combined === spec.rx_queues ||
    channels.max_combined < spec.rx_queues
      ? []
      : [{ do: 'channels', combined: spec.rx_queues } as const]),
    ...(link.mtu > mtu_max ? [{ do: 'mtu', mtu: mtu_max } as const] : []),
  ],
  device: ({ spec, link, channels }, tag) => ({
    kind: 'af_xdp',
    tag,
    host_if_name: spec.interface_name,
    mac: link.mac ?? '00:00:00:00:00:00',
    // A veth has channels, but no combined ones.
    rx_queues: Math.min(spec.rx_queues, channels?.max_combined || link.rx_queues),
    rx_queue_size: spec.rx_ring_size,
    tx_queue_size: spec.tx_ring_size,
  }),
};
