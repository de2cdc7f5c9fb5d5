/**
 * What Linux of the node has to translate itself, as one nftables table.
 *
 * What a process of the host sends to a service goes by the host tap to VPP, which translates it. Two things cannot go that way: a back end
 * that is a process of this very node (after translation VPP would have a packet from the node to the node, and drops it as spoofed),
 * and the node's own address with a node port, which Linux takes for its own and sends to no tap. For these, and no other, there is
 * this table. It looks at what the host itself sends and at nothing that passes through; it changes the destination alone.
 */
import { canonicalAddress, isUnicast } from '../ip/spelling.js';
import { type Family, familyOf } from '../ip/text.js';
import { type HostVip, host_backends_max } from './services/vips.js';

/** Both families in one, and nobody else's: no rule of ours stands in a table of others. */
export const host_table = 'inet calico_vpp_services';

export interface HostRules {
  /** Input of `nft -f`: replaces the whole table in one transaction. Undefined: nothing has to be translated, and there is no table. */
  readonly text: string | undefined;
  readonly vips: number;
  /** What could not be used, by `address port protocol` of the VIP: why, and what is done about it. At most 100. */
  readonly faults: ReadonlyMap<string, string>;
}

/** One table for the kernel, and one transaction in which it is replaced: a few MB at the most. */
export const host_vips_max = 10_000;
const faults_max = 100;

/** What a VIP comes to; `key` is absent where it is none. Elements are `address . port`, each once. */
interface Parsed {
  readonly key?: string;
  readonly elements: readonly string[];
  readonly fault?: string;
}

/** A list of thousands comes again and again with few new objects in it. */
const parsed_vips = new WeakMap<HostVip, Parsed>();

function parsed(vip: HostVip): Parsed {
  const known = parsed_vips.get(vip);
  if (known !== undefined) return known;
  const key = keyOf(vip);
  const made: Parsed =
    key === undefined
      ? { elements: [], fault: 'it is no address and port of a service: the host does not reach it' }
      : { key, ...elementsOf(vip) };
  parsed_vips.set(vip, made);
  return made;
}

interface Wanted {
  readonly vip: HostVip;
  affinity: boolean;
  elements: readonly string[];
}

/**
 * The table for these VIPs: the same text for the same VIPs, in whatever order and spelling they come. A VIP without back ends is left to
 * whoever has it: VPP, or for a node's own address Linux, which refuses. Never throws. The VIPs are not changed any more by whoever has made them.
 *
 * A map has the VIPs with one back end, another the chains of those with several. What would be the same chain twice is one.
 */
export function hostRules(vips: readonly HostVip[]): HostRules {
  const faults = new Map<string, string>();
  const fault = ({ address, port, protocol }: HostVip, why: string): void => {
    if (faults.size < faults_max) faults.set(`${address} ${port} ${protocol}`, why);
  };
  const wanted = new Map<string, Wanted>();
  for (const vip of vips) {
    const { key, elements, fault: why } = parsed(vip);
    if (why !== undefined) fault(vip, why);
    if (key === undefined || elements.length === 0) continue;
    const known = wanted.get(key);
    if (known === undefined) wanted.set(key, { vip, affinity: vip.affinity === true, elements });
    else {
      known.affinity ||= vip.affinity === true;
      known.elements = [...new Set([...known.elements, ...elements])].sort();
    }
  }
  const used = [...wanted.keys()].sort();
  for (const key of used.splice(host_vips_max))
    fault(
      wanted.get(key)!.vip,
      `the host itself translates ${host_vips_max} addresses and ports at most: it does not reach this one`,
    );
  const rows = used.map((key): Row => {
    const { vip, affinity, elements } = wanted.get(key)!;
    if (elements.length > host_backends_max)
      fault(vip, `it has ${elements.length} back ends: the host itself uses the first ${host_backends_max}`);
    return {
      key,
      family: familyOf(key),
      protocol: vip.protocol,
      affinity,
      elements: elements.slice(0, host_backends_max),
    };
  });
  return { text: rows.length === 0 ? undefined : tableText(rows), vips: rows.length, faults };
}

/** `address . protocol . port`, as nft has it; undefined where it is none. */
function keyOf({ address, port, protocol }: HostVip): string | undefined {
  const canonical = unicast(address);
  return canonical !== undefined && isPort(port) && protocols.has(protocol)
    ? `${canonical} . ${protocol} . ${port}`
    : undefined;
}

const protocols: ReadonlySet<string> = new Set(['tcp', 'udp', 'sctp']);
const isPort = (port: number): boolean => Number.isInteger(port) && port > 0 && port < 65_536;

function unicast(address: string): string | undefined {
  const canonical = canonicalAddress(address);
  return canonical !== undefined && isUnicast(canonical) ? canonical : undefined;
}

function elementsOf(vip: HostVip): Pick<Parsed, 'elements' | 'fault'> {
  const family = familyOf(vip.address);
  const elements = new Set<string>();
  let fault: string | undefined;
  for (const { address, port } of vip.backends) {
    const canonical = unicast(address);
    if (canonical === undefined || familyOf(canonical) !== family || !isPort(port)) {
      fault ??= `its back end ${address} port ${port} is no address and port of the same family: left out`;
    } else elements.add(`${canonical} . ${port}`);
  }
  return { elements: [...elements].sort(), ...(fault !== undefined && { fault }) };
}

/**
 * Behind kube-proxy's rules (-100) and those of others: where somebody translates already, he goes on doing so. A packet is translated once.
 * `numgen` chooses for the first packet of a flow, and connection tracking keeps to it.
 */
const priority = -90;

interface Row {
  readonly key: string;
  readonly family: Family;
  readonly protocol: HostVip['protocol'];
  readonly affinity: boolean;
  readonly elements: readonly string[];
}

function tableText(rows: readonly Row[]): string {
  const chains = new Map<string, string>();
  const one: Record<Family, string[]> = { 4: [], 6: [] };
  const many: Record<Family, string[]> = { 4: [], 6: [] };
  const choices: Record<Family, Choices> = { 4: new Choices(), 6: new Choices() };
  for (const { key, family, protocol, affinity, elements } of rows) {
    if (elements.length === 1) {
      one[family].push(`${key} : ${elements[0]}`);
      continue;
    }
    const { map, first } = choices[family].place(elements);
    const source = affinity ? `jhash ${ip[family]} saddr` : 'numgen random';
    const number = `${source} mod ${elements.length}${affinity ? ' seed 0x0' : ''} offset ${first}`;
    const rule = `meta l4proto ${protocol} dnat ${ip[family]} to ${number} map @choices${family}_${map}`;
    const chain = chains.get(rule) ?? `to_${chains.size}`;
    chains.set(rule, chain);
    many[family].push(`${key} : goto ${chain}`);
  }
  const of = (family: Family) => ({
    maps: [
      mapText(`one${family}`, `${key_types[family]} : ${address_types[family]} . inet_service`, one[family]),
      mapText(`many${family}`, `${key_types[family]} : verdict`, many[family]),
      ...choices[family].maps.map((elements, at) =>
        mapText(
          `choices${family}_${at}`,
          `typeof numgen random mod 2 : ${ip[family]} daddr . th dport`,
          elements,
        ),
      ),
    ],
    rules: [
      `${transport} dnat ${ip[family]} to ${key_words[family]} map @one${family}`,
      `${key_words[family]} vmap @many${family}`,
    ],
  });
  const [four, six] = [of(4), of(6)];
  return [
    // To remove a table that is not there is an error: it is there, for a moment that nobody sees.
    ...removal_lines,
    `table ${host_table} {`,
    ...[...four.maps, ...six.maps].flat(),
    ...[...chains].map(([rule, name]) => ` chain ${name} {\n  ${rule}\n }`),
    ` chain output {\n  type nat hook output priority ${priority}; policy accept;`,
    ...[...four.rules, ...six.rules].map((rule) => `  ${rule}`),
    ' }',
    '}',
    '',
  ].join('\n');
}

/**
 * The back ends of those that have several, numbered in maps of some hundreds. The kernel goes through all elements of a map for each rule that
 * names it, and through all maps of a table for each: with one map of all, or one for each, some thousands of services take it a minute.
 */
class Choices {
  readonly maps: string[][] = [];
  readonly #places = new Map<string, { readonly map: number; readonly first: number }>();

  /** In which map they are, and from which number on. */
  place(elements: readonly string[]): { readonly map: number; readonly first: number } {
    const key = elements.join();
    const known = this.#places.get(key);
    if (known !== undefined) return known;
    if ((this.maps.at(-1)?.length ?? choices_max) >= choices_max) this.maps.push([]);
    const map = this.maps.at(-1)!;
    const place = { map: this.maps.length - 1, first: map.length };
    this.#places.set(key, place);
    for (const element of elements) map.push(`${map.length} : ${element}`);
    return place;
  }
}

const choices_max = 256;

const removal_lines = [`table ${host_table}`, `delete table ${host_table}`];

/** What the chain `output` names as long as it has its rules. */
export const host_maps = ['@one4', '@many4', '@one6', '@many6'] as const;

/** Input of `nft -f` after which there is no such table, whether there was one or not. */
export const no_host_rules = `${removal_lines.join('\n')}\n`;

const transport = 'meta l4proto { tcp, udp, sctp }';
const ip = { 4: 'ip', 6: 'ip6' } as const;
const address_types = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const;
const key_types = {
  4: 'type ipv4_addr . inet_proto . inet_service',
  6: 'type ipv6_addr . inet_proto . inet_service',
} as const;
const key_words = {
  4: 'ip daddr . meta l4proto . th dport',
  6: 'ip6 daddr . meta l4proto . th dport',
} as const;

function mapText(name: string, types: string, elements: readonly string[]): string[] {
  const lines = elements.length === 0 ? [] : [`  elements = {\n   ${elements.join(',\n   ')}\n  }`];
  return [` map ${name} {`, `  ${types}`, ...lines, ' }'];
}
