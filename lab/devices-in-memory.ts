import { hostNamespacePath } from '../src/host/host-namespace.js';
import type { FakeHostNetwork } from './fake-host-network.js';
import type { Devices, OpenTap, TapDevice } from './vpp/devices.js';

/** Taps appear in the network in memory as VPP's do in the kernel: up, and gone with VPP unless they are persistent. */
export class DevicesInMemory implements Devices {
  readonly #host: FakeHostNetwork;

  constructor(host: FakeHostNetwork) {
    this.#host = host;
  }

  openTap({ namespace, name = 'tap0', mac = '00:00:00:00:00:00', mtu }: TapDevice): OpenTap {
    const path = namespace === hostNamespacePath() ? undefined : namespace;
    const inside = this.#host.open(path);
    const link = inside.link(name)?.index ?? this.#host.addVirtual({ name, mac, kind: 'tun' }, path);
    inside.apply({ do: 'set_link', link, up: true, ...(mtu !== undefined && { mtu }) });
    return {
      name,
      close(persistent) {
        if (!persistent && inside.link(name)?.index === link) inside.apply({ do: 'delete_link', link });
      },
    };
  }

  hasLink(): boolean {
    return true;
  }
}
