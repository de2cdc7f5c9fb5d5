/** Tunnels that carry IPv6, by kind and outer family: those that are too narrow for it are told. Pure. */
import type { Bits } from '../ip/bits.js';
import { ip6_mtu_min, type Outlook, outerFamily, type Tunnel, tunnelMtu } from './remote-route.js';

const names: Readonly<Record<Tunnel['kind'], string>> = {
  ipip_tunnel: 'IPIP',
  vxlan_tunnel: 'VXLAN',
  wireguard_interface: 'WireGuard',
};

export class Carriers6 {
  /** One of each, and how many routes of IPv6 go by such. */
  readonly #all = new Map<string, { readonly tunnel: Tunnel; readonly routes: number }>();

  /** A route to this prefix goes by this tunnel, or does no more. */
  count({ bytes }: Bits, tunnel: Tunnel, by: 1 | -1): void {
    if (bytes.length === 4) return;
    const name = `${names[tunnel.kind]} over IPv${outerFamily(tunnel)}`;
    const routes = (this.#all.get(name)?.routes ?? 0) + by;
    if (routes === 0) this.#all.delete(name);
    else this.#all.set(name, { tunnel, routes });
  }

  /** By object, what is wrong and what to do. */
  faults({ own, settings }: Outlook): readonly (readonly [object: string, text: string])[] {
    return [...this.#all].flatMap(([name, { tunnel, routes }]) => {
      const mtu = tunnelMtu(tunnel, own, settings);
      if (mtu >= ip6_mtu_min) return [];
      const text = `have an MTU of ${mtu}, and IPv6, of which ${routes} routes go by them, needs ${ip6_mtu_min}: raise the MTU of the uplinks (${own.mtu}), or that of FelixConfiguration`;
      return [[`tunnels ${name}`, text] as const];
    });
  }
}
