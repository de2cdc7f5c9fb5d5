/** Which host endpoint governs an interface of the node. */
import { prefixText } from '../felix/address-set.js';
import { parsePrefixText } from '../felix/members.js';
import type { HostEndpoint } from '../felix/messages.js';

/** An interface as Linux named it before VPP took it, with the addresses that it has now. */
export interface HostInterface {
  readonly name: string;
  readonly addresses: readonly string[];
}

/**
 * At most one for each interface: of those that name it, or have no name and one of its addresses, the one with the smallest id; else of
 * those for all interfaces (`*`) the one with the smallest id. One with a name is never chosen by address.
 */
export function governing(
  { name, addresses }: HostInterface,
  hosts: ReadonlyMap<string, HostEndpoint>,
): string | undefined {
  const own = new Set(addresses.map(spelled));
  const smallest = (fits: (endpoint: HostEndpoint) => boolean): string | undefined => {
    let id: string | undefined;
    for (const [candidate, endpoint] of hosts)
      if (fits(endpoint) && (id === undefined || candidate < id)) id = candidate;
    return id;
  };
  return (
    smallest((endpoint) =>
      endpoint.name === ''
        ? endpoint.addresses.some((address) => own.has(spelled(address)))
        : endpoint.name === name,
    ) ?? wildcard(hosts)
  );
}

/** Of a tunnel: the one for all interfaces, else that of the uplink that carries it. */
export function tunnelGoverning(
  carrier: HostInterface,
  hosts: ReadonlyMap<string, HostEndpoint>,
): string | undefined {
  return wildcard(hosts) ?? governing(carrier, hosts);
}

/** The one for all interfaces. */
function wildcard(hosts: ReadonlyMap<string, HostEndpoint>): string | undefined {
  return [...hosts]
    .filter(([, { name }]) => name === '*')
    .map(([id]) => id)
    .sort()[0];
}

/** An address in one spelling, with or without its prefix's length. */
function spelled(address: string): string {
  const prefix = parsePrefixText(address.split('/', 1)[0]!);
  return prefix === undefined ? address : prefixText(prefix);
}
