/**
 * What Linux of the node does not answer, as one nftables table: what VPP serves on addresses of the node. While VPP is replaced Linux has the
 * uplinks, knows nothing of the flows to node ports and host ports, and would end them: by RST, or as unreachable. So it is as if the
 * packets were lost on the way, and the next VPP takes the flows up where they were.
 */
import { canonicalAddress } from '../ip/spelling.js';
import type { Translation } from '../objects/cnat.js';
import type { ObjectKey } from '../objects/object.js';

/** Both families in one, and nobody else's. It outlives VPP, unlike the table of the host's own translations. */
export const silence_table = 'inet calico_vpp_silence';

/** Where VPP serves something, and where that leads to. */
export type Served = Pick<Translation, 'address' | 'port' | 'protocol'> & {
  readonly backends?: readonly { readonly address: string; readonly port: number }[];
};

/** More are not kept from Linux: their flows end with VPP, as all would without the table. */
export const silence_max = 10_000;

/**
 * Input of `nft -f` that replaces the table in one transaction; the same for the same places in whatever order and spelling. Undefined: there is
 * nothing to be silent about, and no table. What the host sends to itself is not touched: it is refused or translated as ever. Where a back end is, a
 * process of the host listens, and VPP hands on to it what it has translated, also where that is the address and port of a service itself.
 */
export function silenceRules(served: Iterable<Served>): string | undefined {
  const elements = new Set<string>();
  const answered = new Set<string>();
  // Ports of one service share the list.
  const seen = new Set<unknown>();
  for (const { protocol, backends = [], ...at } of served) {
    elements.add(elementOf(protocol, at));
    if (seen.has(backends)) continue;
    seen.add(backends);
    for (const backend of backends) answered.add(elementOf(protocol, backend));
  }
  for (const element of ['', ...answered]) elements.delete(element);
  if (elements.size === 0) return undefined;
  const used = [...elements].sort().slice(0, silence_max);
  const ofFamily = (is_ip6: boolean) => used.filter((each) => each.includes(':') === is_ip6);
  const set = (name: string, type: string, all: readonly string[]): string[] => [
    ` set ${name} {`,
    `  type ${type} . inet_proto . inet_service`,
    ...(all.length === 0 ? [] : [`  elements = {\n   ${all.join(',\n   ')}\n  }`]),
    ' }',
  ];
  return [
    ...removal_lines,
    `table ${silence_table} {`,
    ...set('served4', 'ipv4_addr', ofFamily(false)),
    ...set('served6', 'ipv6_addr', ofFamily(true)),
    ' chain input {\n  type filter hook input priority filter; policy accept;',
    '  iifname != "lo" ip daddr . meta l4proto . th dport @served4 drop',
    '  iifname != "lo" ip6 daddr . meta l4proto . th dport @served6 drop',
    ' }',
    '}',
    '',
  ].join('\n');
}

/** Empty for what is no address. */
function elementOf(protocol: string, at: { readonly address: string; readonly port: number }): string {
  const address = canonicalAddress(at.address);
  return address === undefined ? '' : `${address} . ${protocol} . ${at.port}`;
}

// To remove a table that is not there is an error: it is there, for a moment that nobody sees.
const removal_lines = [`table ${silence_table}`, `delete table ${silence_table}`];

/** Where a translation is, by its key; undefined where the key is of something else. */
export function servedAt(key: ObjectKey): Served | undefined {
  if (!key.startsWith(of_translation)) return undefined;
  const [protocol, address, port] = key.slice(of_translation.length).split('/');
  if (address === undefined || port === undefined) return undefined;
  return { protocol: protocol as Served['protocol'], address, port: Number(port) };
}

const of_translation = 'translation:';

/** Input of `nft -f` after which there is no such table, whether there was one or not. */
export const no_silence = `${removal_lines.join('\n')}\n`;

/** The same as one argument of `nft`. */
export const silence_removal = removal_lines.join('; ');
