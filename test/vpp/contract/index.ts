/** The sequences of requests that a real VPP and the stand-in have to answer alike, each on a VPP that was just started. */
import { sequences as features } from './features.js';
import { sequences as fib_sources } from './fib-sources.js';
import { sequences as forwarding } from './forwarding.js';
import { sequences as interfaces } from './interfaces.js';
import { sequences as ipsec } from './ipsec.js';
import { sequences as memif } from './memif.js';
import { sequences as pci_devices } from './pci-devices.js';
import { sequences as policies } from './policies.js';
import { sequences as product } from './product.js';
import { sequences as sequences_that_kill } from './sequences-that-kill.js';
import { sequences as srv6 } from './srv6.js';
import type { Sequence } from './steps.js';
import { sequences as tunnels } from './tunnels.js';
import { sequences as vcl } from './vcl.js';
import { sequences as wireguard } from './wireguard.js';

export const sequences: readonly Sequence[] = [
  ...interfaces,
  ...forwarding,
  ...fib_sources,
  ...tunnels,
  ...ipsec,
  ...wireguard,
  ...srv6,
  ...memif,
  ...pci_devices,
  ...vcl,
  ...features,
  ...policies,
  ...product,
  ...sequences_that_kill,
];
