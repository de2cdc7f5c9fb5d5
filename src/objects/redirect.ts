/** Classifier tables and their rules: packets that go to the host instead of where the route says, or that do not go there. */
import { canonicalAddress } from '../ip/spelling.js';
import type { Family } from '../ip/text.js';
import type { InterfaceTag } from './interfaces.js';
import { always, type Kinds, remove } from './kind.js';

/** What is sent to the host instead of where the route says. */
export interface RedirectMatch {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  readonly address: string;
}

/** A classifier table for redirect rules of one family. Never removed: pod interfaces may still look it up. */
export interface RedirectTable {
  readonly kind: 'redirect_table';
  readonly family: Family;
}

/** An entry of the redirect table: what matches goes to the host, through its tap. */
export interface RedirectRule extends RedirectMatch {
  readonly kind: 'redirect_rule';
  readonly interface: InterfaceTag;
  readonly next_hop: string;
}

/** Makes an interface's input pass the redirect table of that family. */
export interface RedirectAcl {
  readonly kind: 'redirect_acl';
  readonly interface: InterfaceTag;
  readonly family: Family;
}

/**
 * Drops what VPP would hand to the host past every policy: IPv4 packets with options, which pass no feature of an interface. A classifier
 * table of those headers alone: what it does not know passes, so that half of it takes nobody's network.
 */
export interface PuntGuard {
  readonly kind: 'punt_guard';
}

/** A classifier table of the protocols that npol judges, and of all of ICMP: no other passes it. Never removed, as that of redirect rules. */
export interface ProtocolTable {
  readonly kind: 'protocol_table';
  readonly family: Family;
}

/** Makes what goes out by an interface pass the table of protocols of that family. Behind cnat and npol, which do not look at what it drops. */
export interface ProtocolAcl {
  readonly kind: 'protocol_acl';
  readonly interface: InterfaceTag;
  readonly family: Family;
}

export type RedirectObject =
  | RedirectTable
  | RedirectRule
  | RedirectAcl
  | PuntGuard
  | ProtocolTable
  | ProtocolAcl;

const nodes = { by: 'kind', owner: 'node' } as const;

export const redirect_kinds: Kinds<RedirectObject> = {
  redirect_table: {
    key: (o) => `${o.family}`,
    owner: nodes,
    same: always,
    add: 84,
    remove: remove.global,
    change: 'overwrite',
  },
  redirect_rule: {
    key: (o) => `${o.protocol}/${o.address}/${o.port}`,
    canonical: (o) => {
      const address = canonicalAddress(o.address) ?? o.address;
      return address === o.address ? o : { ...o, address };
    },
    on: (o) => [o.interface],
    owner: nodes,
    same: always,
    add: 85,
    remove: remove.through,
    change: 'overwrite',
  },
  redirect_acl: {
    key: (o) => `${o.interface}/${o.family}`,
    on: (o) => [o.interface],
    owner: { by: 'interface', of: (o) => o.interface },
    same: always,
    add: 86,
    remove: remove.through,
    change: 'overwrite',
  },
  punt_guard: {
    key: () => '',
    owner: nodes,
    same: always,
    add: 84,
    remove: remove.global,
    change: 'overwrite',
  },
  protocol_table: {
    key: (o) => `${o.family}`,
    owner: nodes,
    same: always,
    add: 44,
    remove: remove.global,
    change: 'overwrite',
  },
  // As the default verdict: before the interface is up.
  protocol_acl: {
    key: (o) => `${o.interface}/${o.family}`,
    on: (o) => [o.interface],
    owner: { by: 'interface', of: (o) => o.interface },
    same: always,
    add: 45,
    remove: remove.through,
    change: 'overwrite',
    recorded: always,
  },
};
