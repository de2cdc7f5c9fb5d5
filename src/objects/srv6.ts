/** Segment routing over IPv6: this node's own SIDs, the policies that lead to other nodes, and what goes by them. */
import { canonicalAddress, canonicalPrefix } from '../ip/spelling.js';
import { type Kinds, remove } from './kind.js';

/** What is sent to it is unwrapped and looked up in a table of the inner family (RFC 8986, 4.6 and 4.7). */
export interface Srv6LocalSid {
  readonly kind: 'srv6_local_sid';
  readonly sid: string;
  readonly behavior: Srv6Behavior;
  readonly table_id: number;
}

/** The inner family is IPv4, or IPv6. */
export type Srv6Behavior = 'end_dt4' | 'end_dt6';

export interface SegmentList {
  /** Of the flows of its policy it has so many, compared with the others. */
  readonly weight: number;
  /** From the first segment to the last: 1 to 16. */
  readonly sids: readonly string[];
}

/** Wraps what is steered into it in IPv6, by one of its lists. VPP knows it by its binding SID. */
export interface Srv6Policy {
  readonly kind: 'srv6_policy';
  readonly bsid: string;
  /** Of the packets around: an own address. */
  readonly source: string;
  readonly lists: readonly SegmentList[];
}

/** What is looked up in this table and has this prefix goes by that policy. There is to be nothing else in that table: VPP would drop a part of it. */
export interface Srv6Steering {
  readonly kind: 'srv6_steering';
  readonly table_id: number;
  readonly prefix: string;
  readonly bsid: string;
}

export type Srv6Object = Srv6LocalSid | Srv6Policy | Srv6Steering;

/** VPP's messages have room for no more. */
export const segments_max = 16;

const connectivity = { by: 'kind', owner: 'connectivity' } as const;

const listText = ({ weight, sids }: SegmentList): string => `${weight} ${sids.join(' ')}`;

/** What a policy leads by, as one text: equal ones are equal policies. */
export const listsText = (lists: readonly SegmentList[]): string => lists.map(listText).join(', ');

function canonicalPolicy(o: Srv6Policy): Srv6Policy {
  const spelled = (address: string): string => canonicalAddress(address) ?? address;
  const lists = o.lists
    .map(({ weight, sids }) => ({ weight, sids: sids.map(spelled) }))
    .sort((one, other) => (listText(one) < listText(other) ? -1 : 1));
  const bsid = spelled(o.bsid);
  const source = spelled(o.source);
  const is_same = bsid === o.bsid && source === o.source && listsText(lists) === listsText(o.lists);
  return is_same ? o : { ...o, bsid, source, lists };
}

export const srv6_kinds: Kinds<Srv6Object> = {
  srv6_local_sid: {
    key: (o) => o.sid,
    canonical: (o) => {
      const sid = canonicalAddress(o.sid) ?? o.sid;
      return sid === o.sid ? o : { ...o, sid };
    },
    owner: connectivity,
    same: (wanted, there) => wanted.behavior === there.behavior && wanted.table_id === there.table_id,
    // It knows its table by VPP's own number, and does not keep it.
    add: 80,
    remove: remove.through,
    change: 'remove_first',
  },
  // Of one that is steered into VPP says 0 to its removal, and drops what is sent to it. Another version has another binding SID: it is there before what
  // goes by this one moves. Should one of before have that, VPP refuses the new one, and another binding SID is asked for: the old one goes when nothing
  // goes by it.
  srv6_policy: {
    key: (o) => o.bsid,
    canonical: canonicalPolicy,
    owner: connectivity,
    same: (wanted, there) =>
      wanted.source === there.source && listsText(wanted.lists) === listsText(there.lists),
    add: 62,
    remove: remove.global,
    change: 'overwrite',
    goes_behind: true,
  },
  // Told again, it moves to the other policy without a gap.
  srv6_steering: {
    key: (o) => `${o.table_id}/${o.prefix}`,
    canonical: (o) => {
      const prefix = canonicalPrefix(o.prefix) ?? o.prefix;
      const bsid = canonicalAddress(o.bsid) ?? o.bsid;
      return prefix === o.prefix && bsid === o.bsid ? o : { ...o, prefix, bsid };
    },
    owner: connectivity,
    same: (wanted, there) => wanted.bsid === there.bsid,
    leads_to: (o) => `srv6_policy:${o.bsid}`,
    add: 66,
    remove: remove.in_table,
    change: 'overwrite',
    // What leads into the table leads elsewhere by then.
    goes_behind: true,
  },
};
