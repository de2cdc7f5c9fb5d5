/** IPsec: how IKEv2 makes the SAs of a tunnel to another node. */
import type { Secret } from '../config/secret.js';
import type { InterfaceTag } from './interfaces.js';
import { type Kinds, remove } from './kind.js';
import type { Ownership } from './owner.js';

/** What VPP's IKE knows of one peer. Changed in place it leaves the SAs alone. */
export interface IkeProfile {
  readonly kind: 'ike_profile';
  /** `ikeProfileName(dst)` */
  readonly name: string;
  /** The tunnel that is encrypted. */
  readonly interface: InterfaceTag;
  /** Addresses of the two nodes, by which they name themselves. A dump does not show them. */
  readonly src: string;
  readonly dst: string;
  /** This end begins, by this interface: of two that did each would have SAs that the other one has not. Absent: the other one does. */
  readonly begins_by?: InterfaceTag;
  /** Absent: VPP has none; where it is wanted, whichever VPP has (`routes/keyless.ts`). */
  readonly psk?: Secret;
  /** One that was made in another round, or found, is made anew, with all that IKE knows of it. Absent: whichever is there. */
  readonly round?: number;
}

/** VPP has been told to begin: until somebody answers it says so again and again. Who answers is told nothing. */
export interface IkeInitiation {
  readonly kind: 'ike_initiation';
  /** That of the profile. */
  readonly name: string;
  readonly interface: InterfaceTag;
  readonly round?: number;
}

export type IpsecObject = IkeProfile | IkeInitiation;

const own_prefix = 'node-';

/** `dst` in canonical spelling: 44 characters at most, of the 63 that VPP keeps. */
export const ikeProfileName = (dst: string): string => `${own_prefix}${dst}`;

/** The other node's address; undefined: the profile is not ours. */
export const ikePeerOf = (name: string): string | undefined =>
  name.startsWith(own_prefix) ? name.slice(own_prefix.length) : undefined;

const owned = ({ name }: { readonly name: string }): Ownership =>
  ikePeerOf(name) === undefined ? 'foreign' : 'connectivity';

const isOfOther = (wanted: { readonly round?: number }, there: { readonly round?: number }): boolean =>
  wanted.round !== undefined && wanted.round !== there.round;

function hasKeyOf(wanted: IkeProfile, there: IkeProfile): boolean {
  if (wanted.psk === undefined || there.psk === undefined) return wanted.psk === there.psk;
  return wanted.psk.equals(there.psk);
}

const needsOther = (wanted: IkeProfile, there: IkeProfile): boolean =>
  wanted.interface !== there.interface || wanted.begins_by !== there.begins_by || isOfOther(wanted, there);

export const ipsec_kinds: Kinds<IpsecObject> = {
  // Behind its tunnel, and gone before it: VPP would give SAs to whatever gets the tunnel's index next.
  ike_profile: {
    key: (o) => o.name,
    on: (o) => (o.begins_by === undefined ? [o.interface] : [o.interface, o.begins_by]),
    owner: { by: 'name', of: owned },
    same: (wanted, there) => !needsOther(wanted, there) && hasKeyOf(wanted, there),
    anew: needsOther,
    add: 45,
    remove: remove.feature,
    change: 'overwrite',
  },
  // With the profile, whatever becomes of that: it is nothing of its own.
  ike_initiation: {
    key: (o) => o.name,
    on: (o) => [o.interface],
    owner: { by: 'name', of: owned },
    same: (wanted, there) => wanted.interface === there.interface && !isOfOther(wanted, there),
    add: 46,
    remove: remove.feature,
    change: 'overwrite',
  },
};
