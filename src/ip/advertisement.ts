/** What a router tells the hosts of its link (RFC 4861, 4.2 and 4.6.2), as far as VPP hears it. Times are seconds; 4294967295 is for ever. */

export interface AdvertisedPrefix {
  /** `2001:db8:1::/64`. */
  readonly prefix: string;
  /** Its addresses are on this link (the flag L). */
  readonly on_link: boolean;
  /** Hosts make themselves an address of it (the flag A). */
  readonly autonomous: boolean;
  readonly valid_s: number;
  /** At most `valid_s`. */
  readonly preferred_s: number;
}

export interface RouterAdvertisement {
  /** The router's link-local address. */
  readonly router: string;
  /** How long it will be a default router; 0: it is none, or no more. */
  readonly lifetime_s: number;
  /** Addresses, or other settings, are to be had by DHCPv6. */
  readonly managed: boolean;
  readonly other: boolean;
  readonly prefixes: readonly AdvertisedPrefix[];
}

/** Of seconds that a prefix may live. */
export const infinite_s = 0xffffffff;

/** What of the words of a link's routers is told again to a host that cannot hear them itself. */
export interface RepeatedAdvertisement extends RouterAdvertisement {
  readonly prefixes: readonly (AdvertisedPrefix & {
    /** How often it has been said; absent where nobody has counted. */
    readonly said?: number;
  })[];
}
