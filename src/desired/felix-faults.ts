/** What a FelixConfiguration asks of the way to other nodes, and does not get here. Pure. */
import type { FelixConfiguration } from '../calico/kinds/felix-configuration.js';

/** By object, what has no effect and what follows from that; of objects that concern this node. */
export function* felixFaults(
  felix: FelixConfiguration,
  node_name: string,
): Iterable<readonly [object: string, text: string]> {
  if (felix.name !== 'default' && felix.name !== `node.${node_name}`) return;
  const asked = [
    felix.wireguard_enabled === true && 'wireguardEnabled',
    felix.wireguard_enabled6 === true && 'wireguardEnabledV6',
  ].filter((field) => field !== false);
  if (asked.length === 0) return;
  const fields = asked.map((field) => `spec.${field}`).join(', ');
  yield [
    `FelixConfiguration ${felix.name}`,
    `${fields}: is not supported: what pods send to other nodes is not encrypted`,
  ];
}
