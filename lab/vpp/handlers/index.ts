import type { Handler } from '../handler.js';
import { cnat } from './cnat.js';
import { devices } from './device.js';
import { general } from './general.js';
import { ikev2 } from './ikev2.js';
import { interfaces } from './interface.js';
import { memifs } from './memif.js';
import { neighbours } from './neighbour.js';
import { npol } from './npol.js';
import { pci_devices } from './pci-device.js';
import { policy } from './policy.js';
import { routes } from './route.js';
import { srv6 } from './srv6.js';
import { tunnels } from './tunnel.js';
import { vcl } from './vcl.js';
import { wireguard } from './wireguard.js';

/** Every message that the stand-in answers. What is not here is not in its message table either. */
export const handlers: readonly Handler[] = [
  ...general,
  ...interfaces,
  ...devices,
  ...pci_devices,
  ...routes,
  ...tunnels,
  ...wireguard,
  ...ikev2,
  ...srv6,
  ...memifs,
  ...vcl,
  ...neighbours,
  ...policy,
  ...cnat,
  ...npol,
];
