/** What VPP tells the hosts behind an interface in the name of a router: the one of the interface's link-local address. */
import { canonicalPrefix } from '../ip/spelling.js';
import type { InterfaceTag } from './interfaces.js';
import { always, type Kinds, remove } from './kind.js';

/** VPP advertises, and answers solicitations. An interface has one, whether anybody asked for it or not: `ra_suppressed` silences it. */
export interface RaConfig {
  readonly kind: 'ra_config';
  readonly interface: InterfaceTag;
  /** As in RouterAdvertisement. */
  readonly lifetime_s: number;
  readonly managed: boolean;
  readonly other: boolean;
}

/** A prefix of these advertisements. Its lifetimes run down in VPP. */
export interface RaPrefix {
  readonly kind: 'ra_prefix';
  readonly interface: InterfaceTag;
  readonly prefix: string;
  readonly on_link: boolean;
  readonly autonomous: boolean;
  readonly valid_s: number;
  readonly preferred_s: number;
  /** Counts how often the router has said so: each time the lifetimes begin anew. VPP does not show it. */
  readonly said?: number;
}

export type AdvertisementObject = RaConfig | RaPrefix;

const ofInterface = {
  by: 'interface',
  of: (o: { readonly interface: InterfaceTag }): InterfaceTag => o.interface,
} as const;
const onInterface = (o: { readonly interface: InterfaceTag }): readonly InterfaceTag[] => [o.interface];

// What was advertised is taken back by lifetimes of 0, which hosts understand, and only then removed.
export const advertisement_kinds: Kinds<AdvertisementObject> = {
  // Behind the router's address and its prefixes: the first advertisement is sent at once.
  ra_config: {
    key: (o) => o.interface,
    on: onInterface,
    owner: ofInterface,
    same: (wanted, there) =>
      wanted.lifetime_s === there.lifetime_s &&
      wanted.managed === there.managed &&
      wanted.other === there.other,
    add: 63,
    remove: remove.bound,
    change: 'overwrite',
    dies_with_interface: true,
    setting: always,
  },
  ra_prefix: {
    key: (o) => `${o.interface}/${o.prefix}`,
    canonical: (o) => {
      const prefix = canonicalPrefix(o.prefix) ?? o.prefix;
      return prefix === o.prefix ? o : { ...o, prefix };
    },
    on: onInterface,
    owner: ofInterface,
    same: (wanted, there) =>
      wanted.on_link === there.on_link &&
      wanted.autonomous === there.autonomous &&
      wanted.valid_s === there.valid_s &&
      wanted.preferred_s === there.preferred_s &&
      (there.said === undefined || wanted.said === there.said),
    add: 62,
    remove: remove.bound,
    change: 'overwrite',
    dies_with_interface: true,
  },
};
