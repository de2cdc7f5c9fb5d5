/** What a FelixConfiguration asks of the way to other nodes, and does not get here. Pure. */
import type { FelixConfiguration } from '../calico/kinds/felix-configuration.js';

/** What every host of IPv4 may send (RFC 791). Below what IPv6 needs, tunnels that carry it are told by themselves. */
const mtu_min = 576;

/** By object, what has no effect and what follows from that; of objects that concern this node. */
export function* felixFaults(
  felix: FelixConfiguration,
  node_name: string,
): Iterable<readonly [object: string, text: string]> {
  if (felix.name !== 'default' && felix.name !== `node.${node_name}`) return;
  const texts: string[] = [];
  if (felix.wireguard_host_encryption === true)
    texts.push(
      'spec.wireguardHostEncryptionEnabled: is not supported: VPP cannot send to a node by the WireGuard peer that the node is; what pods send is encrypted, what nodes send to each other is not',
    );
  const ports = [felix.wireguard_port, felix.wireguard_port6];
  if (felix.wireguard_enabled && felix.wireguard_enabled6 && ports[1] !== undefined && ports[0] !== ports[1])
    texts.push(
      'spec.wireguardListeningPortV6: has no effect where IPv4 is encrypted, too: one WireGuard interface carries both',
    );
  for (const [field, mtu] of [
    ['wireguardMTU', felix.wireguard_mtu],
    ['wireguardMTUV6', felix.wireguard_mtu6],
  ] as const)
    if (mtu !== undefined && mtu > 0 && mtu < mtu_min)
      texts.push(
        `spec.${field}: is ${mtu}, and packets of ${mtu_min} bytes, which every host sends, do not pass: raise it, or set 0 for what the uplink leaves`,
      );
  if (texts.length > 0) yield [`FelixConfiguration ${felix.name}`, texts.join('; ')];
}
