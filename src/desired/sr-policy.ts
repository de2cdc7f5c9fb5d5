/**
 * SR policies as BGP tells them (RFC 9830), and what of them can be used here. Pure.
 *
 * Whoever tells them takes them for routes: each has a key, as a route has its prefix, and says what it says as a text, as a route has its next hop.
 * What is not understood is in that text, too: it is reported where the policy is to be used.
 */
import { canonicalAddress } from '../ip/spelling.js';
import type { Family } from '../ip/text.js';
import { type SegmentList, segments_max } from '../objects/srv6.js';

/** Which policy it is. */
export interface SrPolicyName {
  /** Where it leads: a node's IPv6 address; or, of what is none, its bytes in hexadecimal. */
  readonly endpoint: string;
  readonly color: number;
  readonly distinguisher: number;
}

export interface ToldSegmentList {
  readonly weight: number;
  /** SIDs; `mpls` for a segment that is a label, and so for what is no SID. */
  readonly segments: readonly string[];
  /** What the last one does, as GoBGP names it; absent: it does not say. */
  readonly behavior?: string;
}

/** What a policy says. */
export interface ToldSrPolicy {
  /** The binding SID that is asked for; absent: none, or one of MPLS. */
  readonly bsid?: string;
  /** Higher is better: 100 where it says nothing. */
  readonly preference: number;
  readonly priority: number;
  /** Of the nodes that it is meant for, their BGP identifiers (route targets of RFC 9830, 4.2); absent: for all. */
  readonly targets?: readonly string[];
  readonly lists: readonly ToldSegmentList[];
}

/** Of more targets the rest is not read. */
export const targets_max = 256;

const key_start = 'sr-policy ';
/** A policy with more lists is told with so many and one more: it is refused. */
export const lists_max = 32;

export const isSrPolicyKey = (key: string): boolean => key.startsWith(key_start);

export const srPolicyKey = ({ endpoint, color, distinguisher }: SrPolicyName): string =>
  `${key_start}${endpoint} ${color} ${distinguisher}`;

export function srPolicyName(key: string): SrPolicyName {
  const [endpoint = '', color, distinguisher] = key.slice(key_start.length).split(' ');
  return { endpoint, color: Number(color), distinguisher: Number(distinguisher) };
}

/** For people. */
export const srPolicyTitle = ({ endpoint, color, distinguisher }: SrPolicyName): string =>
  `SR policy of ${endpoint}, color ${color}${distinguisher === 0 ? '' : `, distinguisher ${distinguisher}`}`;

/** Two that say the same have the same text. */
export const srPolicyText = ({ bsid, preference, priority, targets = [], lists }: ToldSrPolicy): string =>
  JSON.stringify([
    bsid ?? '',
    preference,
    priority,
    targets.join(' '),
    ...lists.map(({ weight, segments, behavior }) => [weight, behavior ?? '', ...segments]),
  ]);

type Texted = [
  bsid: string,
  preference: number,
  priority: number,
  targets: string,
  ...lists: [number, string, ...string[]][],
];

/** `text` as it was made here: it is meant for all nodes, or for the one with this BGP identifier. */
export function isMeantFor(text: string, identifier: string | undefined): boolean {
  const [, , , targets] = JSON.parse(text) as Texted;
  return targets === '' || (identifier !== undefined && targets.split(' ').includes(identifier));
}

function told(text: string): ToldSrPolicy {
  const [bsid, preference, priority, targets, ...lists] = JSON.parse(text) as Texted;
  return {
    ...(bsid !== '' && { bsid }),
    preference,
    priority,
    ...(targets !== '' && { targets: targets.split(' ') }),
    lists: lists.map(([weight, behavior, ...segments]) => ({
      weight,
      segments,
      ...(behavior !== '' && { behavior }),
    })),
  };
}

/** A policy by which packets can be sent to a node. */
export interface Candidate {
  readonly key: string;
  readonly endpoint: string;
  /** Of these its last segment takes the inner packets. */
  readonly families: readonly Family[];
  readonly bsid?: string;
  readonly preference: number;
  readonly priority: number;
  readonly lists: readonly SegmentList[];
}

const families_of: Readonly<Record<string, readonly Family[]>> = {
  end_dt4: [4],
  end_dt6: [6],
  end_dt46: [4, 6],
};

/** `key` and `text` as they were made here. A text: why it cannot be used, and what to do. */
export function candidateOf(key: string, text: string): Candidate | string {
  const { endpoint: told_endpoint } = srPolicyName(key);
  const endpoint = canonicalAddress(told_endpoint);
  if (endpoint === undefined || !endpoint.includes(':'))
    return 'its endpoint is no IPv6 address: announce it for the IPv6 address of a node';
  const { bsid, preference, priority, lists } = told(text);
  const [first] = lists;
  if (first === undefined) return 'it has no segment list: announce it with one';
  if (lists.length > lists_max) return `it has more than ${lists_max} segment lists: announce it with fewer`;
  for (const list of lists) {
    const fault = listFault(list);
    if (fault !== undefined) return fault;
    if (list.behavior !== first.behavior)
      return `its segment lists end with ${first.behavior} and with ${list.behavior}: announce a policy for each`;
  }
  const families = families_of[first.behavior!];
  if (families === undefined)
    return `it ends with ${first.behavior}, which gives no packet of pods to a node: announce one that ends with End.DT4, End.DT6 or End.DT46`;
  return {
    key,
    endpoint,
    families,
    ...(bsid !== undefined && { bsid }),
    preference,
    priority,
    lists: lists.map(({ weight, segments }) => ({ weight: Math.max(1, weight), sids: segments })),
  };
}

function listFault({ segments, behavior }: ToldSegmentList): string | undefined {
  if (segments.length === 0) return 'a segment list of it has no segments: announce it with some';
  if (segments.length > segments_max)
    return `a segment list of it has ${segments.length} segments, and VPP takes ${segments_max}: announce a shorter one`;
  if (segments.some((segment) => canonicalAddress(segment) === undefined))
    return 'a segment of it is no SID of SRv6 (type B): announce it with SIDs alone';
  if (behavior === undefined)
    return 'its last segment does not say what it does (endpoint behavior): announce it with that';
  return undefined;
}

/** Which of two for one node goes before: by preference, as RFC 9256 has it; of equal ones by priority, as the Go implementation, then by name. */
export const goesFirst = (one: Candidate, other: Candidate): boolean => {
  if (one.preference !== other.preference) return one.preference > other.preference;
  if (one.priority !== other.priority) return one.priority > other.priority;
  return one.key < other.key;
};
