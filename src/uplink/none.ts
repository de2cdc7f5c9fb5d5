import { askedMtu, type UplinkDriver } from './driver.js';

/** VPP's own start-up file or exec script makes the interface and tags it `main-<name>`; Linux only gives up its addresses. */
export const none: UplinkDriver = {
  name: 'none',
  default_rx_mode: 'adaptive',
  moves: () => true,
  // Not known: gsoEnabled is the user's word on it.
  large_segments: true,
  mtu: askedMtu,
  prepare: () => [],
  device: (_, tag) => ({ kind: 'existing_interface', tag }),
};
