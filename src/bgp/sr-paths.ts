/** SR policies in GoBGP's messages (RFC 9830), and back. Pure. */
import { families, type Path, type PathInput } from 'gobgp-grpc-stubs';
import {
  lists_max,
  type SrPolicyName,
  srPolicyKey,
  srPolicyText,
  type ToldSegmentList,
  type ToldSrPolicy,
  targets_max,
} from '../desired/sr-policy.js';
import type { OwnSid } from '../desired/srv6.js';
import { type Family, formatAddress, parseAddress } from '../ip/text.js';
import { segments_max } from '../objects/srv6.js';
import type { LocalPath } from './local-paths.js';

/** Of tunnels that are SR policies. */
const sr_policy_tunnel = 15;
/** As the Go implementation announces its own; all are alike. */
const own_preference = 11;
const own_priority = 10;
const own_weight = 12;
/** Of its own policies, which are of distinguisher 0: the families. */
export const own_colors: readonly Family[] = [4, 6];
/** RFC 9256, 2.7. */
const preference_default = 100;
/** RFC 9256, 2.12. */
const priority_default = 128;
/** Of extended communities with an address. */
const route_target = 2;

type Attribute = Path['pattrs'] extends Iterable<infer T> ? T : never;
type SubTlv = Extract<Attribute, { type: 'tunnel_encap' }>['tlvs'][number]['tlvs'][number];
type Segments = Extract<SubTlv, { type: 'sr_segment_list' }>['segments'];

/** The policy by which others send packets of this family here. The color is the family: so the Go implementation tells them apart. */
export function srPath({ family, sid, behavior, bsid }: OwnSid, endpoint: string): LocalPath {
  const policy: ToldSrPolicy = {
    bsid,
    preference: own_preference,
    priority: own_priority,
    lists: [{ weight: own_weight, segments: [sid], behavior }],
  };
  return {
    prefix: srPolicyKey({ endpoint, color: family, distinguisher: 0 }),
    next_hop: endpoint,
    communities: [],
    local_pref: 100,
    sr_policy: { name: { endpoint, color: family, distinguisher: 0 }, says: policy },
  };
}

export interface SrPolicyOf {
  readonly name: SrPolicyName;
  readonly says: ToldSrPolicy;
}

export function srPathMessage({ name, says }: SrPolicyOf, next_hop: string): PathInput {
  const family = families.ipv6_sr_policy;
  const { endpoint, color, distinguisher } = name;
  const nlri = { type: 'sr_policy', distinguisher, color, endpoint: parseAddress(endpoint) } as const;
  const lists = says.lists.map(({ weight, segments, behavior }) => ({
    type: 'sr_segment_list' as const,
    weight: { flags: 0, weight },
    segments: segments.map((sid, at) => ({
      type: 'b' as const,
      flags: { s_flag: true },
      sid: parseAddress(sid),
      ...(at === segments.length - 1 && isKnown(behavior) && { endpoint_behavior_structure: { behavior } }),
    })),
  }));
  return {
    family,
    nlri,
    pattrs: [
      { type: 'origin', origin: 0 },
      { type: 'mp_reach', family, next_hops: [next_hop], nlris: [nlri] },
      {
        type: 'tunnel_encap',
        tlvs: [
          {
            type: sr_policy_tunnel,
            tlvs: [
              {
                type: 'sr_binding_sid',
                bsid: {
                  type: 'sr_binding_sid',
                  s_flag: true,
                  i_flag: false,
                  sid: parseAddress(says.bsid ?? '::'),
                },
              },
              ...lists,
              { type: 'sr_preference', flags: 0, preference: says.preference },
              { type: 'sr_priority', priority: says.priority },
            ],
          },
        ],
      },
    ],
  };
}

/** Those of this program. */
const isKnown = (behavior: string | undefined): behavior is 'end_dt4' | 'end_dt6' =>
  behavior === 'end_dt4' || behavior === 'end_dt6';

/** What a path tells of a policy; undefined: it is none. */
export function srPolicyOf({ nlri, pattrs }: Pick<Path, 'nlri' | 'pattrs'>): SrPolicyOf | undefined {
  const name = srPolicyNameOf({ nlri });
  return name === undefined ? undefined : { name, says: saysOf(pattrs) };
}

export function srPolicyNameOf({ nlri }: Pick<Path, 'nlri'>): SrPolicyName | undefined {
  if (nlri.type !== 'sr_policy') return undefined;
  const { color, distinguisher } = nlri;
  const bytes = Buffer.from(nlri.endpoint);
  const endpoint = bytes.length === 16 || bytes.length === 4 ? formatAddress(bytes) : bytes.toString('hex');
  return { endpoint, color, distinguisher };
}

/** Its key and what it says, each as one text. */
export function srPolicyTexts(
  path: Pick<Path, 'nlri' | 'pattrs'>,
): readonly [key: string, text: string] | undefined {
  const policy = srPolicyOf(path);
  return policy && [srPolicyKey(policy.name), srPolicyText(policy.says)];
}

function saysOf(pattrs: Path['pattrs']): ToldSrPolicy {
  let bsid: string | undefined;
  let preference = preference_default;
  let priority = priority_default;
  const lists: ToldSegmentList[] = [];
  for (const tlv of subTlvs(pattrs)) {
    if (tlv.type === 'sr_preference') preference = tlv.preference;
    if (tlv.type === 'sr_priority') priority = tlv.priority;
    if (tlv.type === 'sr_binding_sid') bsid = bsidOf(tlv.bsid) ?? bsid;
    // More than are taken: that there are is all that is kept.
    if (tlv.type === 'sr_segment_list' && lists.length <= lists_max) lists.push(listOf(tlv));
  }
  const targets = targetsOf(pattrs);
  return {
    ...(bsid !== undefined && { bsid }),
    preference,
    priority,
    ...(targets.length > 0 && { targets }),
    lists,
  };
}

/** Each once, in one order. Those of other forms say nothing of nodes. */
function targetsOf(pattrs: Path['pattrs']): readonly string[] {
  const targets = new Set<string>();
  for (const attribute of pattrs) {
    if (attribute.type !== 'extended_communities') continue;
    for (const each of attribute.communities)
      if (
        each.type === 'ipv4_address_specific' &&
        each.sub_type === route_target &&
        targets.size < targets_max
      )
        targets.add(each.address);
  }
  return [...targets].sort();
}

function* subTlvs(pattrs: Path['pattrs']): Iterable<SubTlv> {
  for (const attribute of pattrs) {
    if (attribute.type !== 'tunnel_encap') continue;
    for (const { type, tlvs } of attribute.tlvs) if (type === sr_policy_tunnel) yield* tlvs;
  }
}

function bsidOf(bsid: Extract<SubTlv, { type: 'sr_binding_sid' }>['bsid']): string | undefined {
  if (bsid === undefined || bsid.type === 'unknown') return undefined;
  return bsid.sid.length === 16 ? formatAddress(Buffer.from(bsid.sid)) : undefined;
}

function listOf({ weight, segments }: Extract<SubTlv, { type: 'sr_segment_list' }>): ToldSegmentList {
  const last = segments.at(-1);
  const behavior = last?.type === 'b' ? last.endpoint_behavior_structure?.behavior : undefined;
  return {
    weight: weight?.weight ?? 1,
    // One more than are taken: that there are is all that is kept.
    segments: segments.slice(0, segments_max + 1).map(sidOf),
    ...(behavior !== undefined && behavior !== 'reserved' && { behavior: String(behavior) }),
  };
}

const sidOf = (segment: Segments[number]): string =>
  segment.type === 'b' && segment.sid.length === 16 ? formatAddress(Buffer.from(segment.sid)) : 'mpls';
