/** Uplinks by the names that their devices have, where the configuration gives an alternative one. */
import type { UplinkSpec } from '../config.js';
import type { NetworkNamespace } from '../linux/network.js';

/**
 * All that is named after an uplink (tap, VPP's interfaces, files of the host) has the device's own name. One that is not there now is left
 * as it is: it is found by any of its names when it comes.
 */
export function withOwnNames(
  specs: readonly UplinkSpec[],
  namespace: Pick<NetworkNamespace, 'link'>,
): UplinkSpec[] {
  return specs.map((spec) => {
    const name = namespace.link(spec.interface_name)?.name ?? spec.interface_name;
    return { ...spec, interface_name: name };
  });
}
