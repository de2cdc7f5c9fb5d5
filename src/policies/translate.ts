/**
 * Rules of Felix to rules of npol. What npol cannot hold is refused, and closes: a rule that allows is left out, any other becomes one
 * that denies everything. Either way no flow passes that should not.
 */
import { addressText, isV4, lengthOf } from '../felix/address-set.js';
import { type ProtocolPort, parsePrefixText } from '../felix/members.js';
import type { Icmp, PortRange, Rule, Rules, Side } from '../felix/messages.js';
import type { FelixSet } from '../felix/set.js';
import type { Family } from '../ip/text.js';
import {
  type Action,
  type Entries,
  isUnconditional,
  judged_protocols,
  type Match,
  match_all,
  type NpolRule,
  port_protocols,
  type SetRef,
} from '../objects/npol.js';
import { bothPorts, sortedEntries } from './match.js';

export interface Translated {
  readonly rules: readonly NpolRule[];
  /** What was refused, or is not enforced, and why. */
  readonly refusals: readonly Refusal[];
}

export interface Refusal {
  /** `rule 3`, counted from 1, or the name of an endpoint's part. */
  readonly where: string;
  readonly why: string;
  /** `closed`: flows that might have been allowed are denied. `open`: what it should do is not done. */
  readonly effect: 'closed' | 'open';
}

export type Sets = ReadonlyMap<string, FelixSet>;

/** By the endpoint's sense of direction. */
export interface TranslatedPolicy {
  readonly ingress: Translated;
  readonly egress: Translated;
  /** Sets on whose ports, or on whose being there, it depends. */
  readonly sets: ReadonlySet<string>;
}

/**
 * What of it is for interfaces in this network: the other rules are not there, so that a policy without any for it hands everything to the end of its
 * tier. Absent: the default network.
 */
export function translatePolicy(policy: Rules, sets: Sets, network?: string): TranslatedPolicy {
  return translatedIf(policy, sets, (rule) => rule.network === network);
}

function translatedIf(policy: Rules, sets: Sets, counts: (rule: Rule) => boolean): TranslatedPolicy {
  const used = new Set<string>();
  for (const rule of [...policy.inbound, ...policy.outbound]) {
    if (!counts(rule)) continue;
    const { src, dst, not_src, not_dst, services } = rule;
    for (const id of services) used.add(id);
    for (const side of [src, dst, not_src, not_dst])
      for (const id of [...side.sets, ...side.named_ports]) used.add(id);
  }
  return {
    ingress: translateRules(policy.inbound, sets, counts),
    egress: translateRules(policy.outbound, sets, counts),
    sets: used,
  };
}

/**
 * The same in all networks. Calico lets no rule of a profile hand flows on, and there is nothing to hand them to: it denies. VPP would, too, and log each
 * packet.
 */
export function translateProfile(profile: Rules, sets: Sets): TranslatedPolicy {
  const { ingress, egress, sets: used } = translatedIf(profile, sets, () => true);
  const denying = ({ rules, refusals }: Translated): Translated => ({
    rules: rules.map((rule) => (rule.action === 'pass' ? { ...rule, action: 'deny' } : rule)),
    refusals,
  });
  return { ingress: denying(ingress), egress: denying(egress), sets: used };
}

export const deny_all: NpolRule = { action: 'deny', match: match_all };
export const allow_all: NpolRule = { action: 'allow', match: match_all };

/** Up to the first that matches everything: what is behind it is never reached. */
function translateRules(rules: readonly Rule[], sets: Sets, counts: (rule: Rule) => boolean): Translated {
  const translated: NpolRule[] = [];
  const refusals: Refusal[] = [];
  for (const [i, rule] of rules.entries()) {
    if (!counts(rule)) continue;
    const where = `rule ${i + 1}`;
    const action = actionOf(rule.action);
    if (action === 'log') continue;
    try {
      if (action === undefined) throw new Refused(`action '${rule.action}' is not known`);
      const matches = matchesOf(rule, sets);
      translated.push(...matches.map((match) => ({ action, match })));
      if (action === 'deny' && matches.length > 0 && !matches.some(isJudged))
        refusals.push({ where, why: 'VPP judges no flow of this protocol: it passes', effect: 'open' });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      refusals.push({ where, why: error.message, effect: 'closed' });
      if (action !== 'allow') translated.push(deny_all);
    }
    const last = translated.at(-1);
    if (last !== undefined && isUnconditional(last.match)) break;
  }
  return { rules: translated, refusals };
}

class Refused extends Error {}

function isJudged({ protocol }: Match): boolean {
  return protocol === undefined || judged_protocols.some((judged) => judged === protocol);
}

function actionOf(action: string): Action | 'log' | undefined {
  switch (action) {
    case '':
    case 'allow':
      return 'allow';
    case 'deny':
    case 'reject':
      return 'deny';
    case 'pass':
    case 'next-tier':
      return 'pass';
    case 'log':
      return 'log';
    default:
      return undefined;
  }
}

const protocol_numbers: ReadonlyMap<string, number> = new Map([
  ['icmp', 1],
  ['tcp', 6],
  ['udp', 17],
  ['icmpv6', 58],
  ['sctp', 132],
  ['udplite', 136],
]);

function protocolNumber(protocol: number | string | undefined): number | undefined {
  if (protocol === undefined) return undefined;
  const number = typeof protocol === 'number' ? protocol : protocol_numbers.get(protocol.toLowerCase());
  if (number === undefined || number < 0 || number > 255)
    throw new Refused(`protocol '${protocol}' is not known`);
  return number;
}

/** What of a rule is the same for each protocol and family that it is for. */
interface Parts {
  readonly nets: Readonly<Record<'src' | 'dst' | 'not_src' | 'not_dst', readonly Net[]>>;
  readonly families: readonly Family[];
  readonly src: Ports;
  readonly dst: Ports;
}

type Ports = Pick<Entries, 'ports' | 'port_sets'>;

/** The matches of npol that together are this rule: none, where no judged flow meets it. Throws Refused. */
function matchesOf(rule: Rule, sets: Sets): Match[] {
  if (rule.unknown.length > 0)
    throw new Refused(`it has criteria of a newer Felix (field ${rule.unknown.join(', ')})`);
  const protocol = protocolNumber(rule.protocol);
  const not_protocol = protocolNumber(rule.not_protocol);
  const nets = {
    src: netsOf(rule.src),
    dst: netsOf(rule.dst),
    not_src: netsOf(rule.not_src),
    not_dst: netsOf(rule.not_dst),
  };
  const families = familiesOf(rule, nets);
  const src = positivePorts(rule.src, [], sets);
  const dst = positivePorts(rule.dst, rule.services, sets);
  const sides = {
    src: { ports: [], port_sets: [], sets: commonSet(rule.src.sets, sets), nets: [] },
    dst: { ports: [], port_sets: [], sets: commonSet(rule.dst.sets, sets), nets: [] },
    not_src: { ...negativePorts(rule.not_src, sets), sets: eachSet(rule.not_src.sets, sets), nets: [] },
    not_dst: { ...negativePorts(rule.not_dst, sets), sets: eachSet(rule.not_dst.sets, sets), nets: [] },
  };
  // A criterion that nothing meets.
  if (src === undefined || dst === undefined) return [];
  const parts: Parts = { nets, families, src, dst };
  return variants(rule, protocol, not_protocol, parts).flatMap(({ protocol, not_protocols, families }) => {
    if (families.length === 0) return [];
    const guard = guardOf(nets, families);
    const entries = (of: 'src' | 'dst' | 'not_src' | 'not_dst', more: Partial<Entries>): Entries =>
      sortedEntries({
        ...sides[of],
        nets: nets[of].filter(({ family }) => families.includes(family)).map(({ text }) => text),
        ...more,
      });
    const own = entries('src', src);
    return [
      {
        ...(protocol !== undefined && { protocol }),
        not_protocols,
        src: guard === undefined ? own : { ...own, nets: [guard] },
        dst: entries('dst', dst),
        not_src: entries('not_src', {}),
        not_dst: entries('not_dst', {}),
      },
    ];
  });
}

interface Variant {
  readonly protocol?: number;
  readonly not_protocols: readonly number[];
  readonly families: readonly Family[];
}

/** Of the flows that VPP judges a message of ICMP is an echo request: type and code of any other are never met. */
const echo: Readonly<Record<Family, { readonly protocol: number; readonly type: number }>> = {
  4: { protocol: 1, type: 8 },
  6: { protocol: 58, type: 128 },
};

function variants(
  rule: Rule,
  protocol: number | undefined,
  not_protocol: number | undefined,
  { families }: Parts,
): Variant[] {
  if (protocol !== undefined && protocol === not_protocol) return [];
  const asked = (number: number) => (protocol ?? number) === number && number !== not_protocol;
  const { icmp, not_icmp } = rule;
  if (icmp !== undefined || not_icmp !== undefined) {
    if (asksPorts(rule)) return [];
    return families.flatMap((family) => {
      const { protocol: number, type } = echo[family];
      const meets = (of: Icmp) => of.type === type && (of.code === undefined || of.code === 0);
      if (!asked(number) || (icmp && !meets(icmp)) || (not_icmp && meets(not_icmp))) return [];
      return [{ protocol: number, not_protocols: [], families: [family] }];
    });
  }
  // VPP has the identifier of an echo where others have ports: what asks for ports has to say of which protocol.
  if (asksRanges(rule)) {
    return port_protocols.filter(asked).map((number) => ({ protocol: number, not_protocols: [], families }));
  }
  if (protocol !== undefined) return [{ protocol, not_protocols: [], families }];
  return [{ not_protocols: not_protocol === undefined ? [] : [not_protocol], families }];
}

/** Sets of addresses with ports name the protocol themselves, where being in one of them is what is asked. */
function asksRanges({ src, dst, not_src, not_dst }: Rule): boolean {
  return (
    [src, dst, not_src, not_dst].some(({ ports }) => ports.length > 0) ||
    [not_src, not_dst].some(({ named_ports }) => named_ports.length > 0)
  );
}

function asksPorts({ src, dst, not_src, not_dst, services }: Rule): boolean {
  return (
    services.length > 0 ||
    [src, dst, not_src, not_dst].some(({ ports, named_ports }) => ports.length + named_ports.length > 0)
  );
}

interface Net {
  readonly family: Family;
  /** Without bits behind its length. */
  readonly text: string;
}

function netsOf({ nets }: Side): Net[] {
  return nets.map((text) => {
    const prefix = parsePrefixText(text);
    if (prefix === undefined) throw new Refused(`'${text}' is no prefix`);
    return { family: isV4(prefix) ? 4 : 6, text: `${addressText(prefix)}/${lengthOf(prefix)}` };
  });
}

/** A list of prefixes that has none of a family excludes it, whether one of them is to be met or none. */
function familiesOf({ ip_version }: Rule, nets: Parts['nets']): Family[] {
  if (![0, 4, 6].includes(ip_version)) throw new Refused(`IP version ${ip_version} is not known`);
  return ([4, 6] as const).filter(
    (family) =>
      (ip_version === 0 || ip_version === family) &&
      Object.values(nets).every((list) => list.length === 0 || list.some((net) => net.family === family)),
  );
}

/** The source of any flow of the family, where the rule is for one and nothing else of it says so. */
function guardOf(nets: Parts['nets'], families: readonly Family[]): string | undefined {
  if (families.length > 1 || nets.src.length + nets.dst.length > 0) return undefined;
  return families[0] === 4 ? '0.0.0.0/0' : '::/0';
}

function setOf(id: string, sets: Sets, ports: boolean): FelixSet {
  const set = sets.get(id);
  if (set === undefined) throw new Refused(`set ${id} is not there`);
  if (set.fault !== undefined) throw new Refused(`set ${id}: ${set.fault}`);
  if ((set.type === 'address_and_port') !== ports)
    throw new Refused(`set ${id} is of type ${set.type}, which cannot be asked here`);
  return set;
}

/** Npol takes one of several sets for enough: that the address is in all of them is a set of its own. */
function commonSet(ids: readonly string[], sets: Sets): SetRef[] {
  for (const id of ids) setOf(id, sets, false);
  return ids.length === 0 ? [] : [{ ids: [...new Set(ids)].sort() }];
}

function eachSet(ids: readonly string[], sets: Sets): SetRef[] {
  for (const id of ids) setOf(id, sets, false);
  return ids.map((id) => ({ ids: [id] }));
}

function partsOf(id: string, sets: Sets): SetRef[] {
  return [...setOf(id, sets, true).ports].map((port: ProtocolPort) => ({ ids: [id], port }));
}

const no_ports: Ports = { ports: [], port_sets: [] };

/** Undefined: they are asked for, and nothing meets them. */
function positivePorts(side: Side, services: readonly string[], sets: Sets): Ports | undefined {
  const groups: Ports[] = [];
  if (side.ports.length + side.named_ports.length > 0) {
    groups.push({
      ports: rangesOf(side.ports),
      port_sets: side.named_ports.flatMap((id) => partsOf(id, sets)),
    });
  }
  for (const id of services) groups.push({ ports: [], port_sets: partsOf(id, sets) });
  if (groups.some(({ ports, port_sets }) => ports.length + port_sets.length === 0)) return undefined;
  return groups.reduce<Ports | undefined>((a, b) => a && bothPorts(a, b), no_ports);
}

function negativePorts(side: Side, sets: Sets): Ports {
  return {
    ports: rangesOf(side.ports),
    port_sets: side.named_ports.flatMap((id) => partsOf(id, sets)),
  };
}

function rangesOf(ranges: readonly PortRange[]): PortRange[] {
  return ranges.flatMap(({ first, last }) => {
    if (first > last) throw new Refused(`ports ${first} to ${last} are no range`);
    const range = { first: Math.max(first, 0), last: Math.min(last, 65535) };
    return range.first <= range.last ? [range] : [];
  });
}
