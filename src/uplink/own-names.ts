/** Uplinks by the names that their devices have, where the configuration gives an alternative one. */
import type { Config } from '../config.js';
import type { NetworkNamespace } from '../linux/network.js';

/**
 * All that is named after an uplink (tap, VPP's interfaces, files of the host) has the device's own name. One that is not there now is left
 * as it is: it is found by any of its names when it comes. To be asked when the host has what an earlier life has not given back.
 */
export function byOwnNames<C extends Pick<Config, 'uplinks' | 'main_uplink'>>(
  config: C,
  namespace: Pick<NetworkNamespace, 'link'>,
): C {
  const named = <S extends { readonly interface_name: string }>(spec: S): S => {
    const name = namespace.link(spec.interface_name)?.name ?? spec.interface_name;
    return { ...spec, interface_name: name };
  };
  return { ...config, uplinks: config.uplinks.map(named), main_uplink: named(config.main_uplink) };
}
