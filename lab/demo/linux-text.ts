/** What Linux has in a network namespace, in the manner of `ip -brief`: short enough to be read by a newcomer. */
import type { Link, NetworkNamespace, Route } from '../../src/linux/network.js';

const main_table = 254;
const kinds: Readonly<Record<string, string>> = { tun: 'tun/tap' };

/** One line a link, with its addresses; then one line a route. */
export function namespaceText(namespace: NetworkNamespace): string {
  const links = namespace.links();
  const lines = links.map((link) => {
    const addresses = namespace.addresses(link.index).map(({ prefix }) => prefix);
    const kind = link.kind === undefined ? '-' : (kinds[link.kind] ?? link.kind);
    return [link.name.padEnd(6), kind.padEnd(8), (link.up ? 'UP' : 'DOWN').padEnd(5), ...addresses].join(' ');
  });
  return [...lines, ...routeLines(namespace, links)].join('\n');
}

/** Without those that Linux makes for itself. */
function routeLines(namespace: NetworkNamespace, links: readonly Link[]): string[] {
  const nameOf = (index: number | undefined): string =>
    links.find((link) => link.index === index)?.name ?? `#${index}`;
  return namespace
    .routes({ table: main_table })
    .filter(isConfigured)
    .flatMap(({ prefix, next_hops }) =>
      next_hops.map(({ gateway, oif }) => {
        const via = gateway === undefined ? '' : ` via ${gateway}`;
        return `route  ${prefix}${via} dev ${nameOf(oif)}`;
      }),
    );
}

const made_by_kernel = 2;

function isConfigured({ prefix, protocol }: Route): boolean {
  return protocol !== made_by_kernel && !prefix.startsWith('fe80:') && !prefix.startsWith('ff00:');
}
