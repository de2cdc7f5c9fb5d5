import { afiOf } from '../prefix.js';
import {
  address,
  assumed,
  bool,
  bytes,
  type Input,
  ipv4,
  type List,
  lazy,
  many,
  message,
  type Output,
  optional,
  prefix,
  required,
  shifted,
  text,
  timestamp,
  u32,
  u64,
} from '../schema.js';
import { Attribute, type AttributeInput } from './attribute.js';
import { Family, type FamilyInput } from './family.js';
import { Nlri, type NlriInput } from './nlri.js';

/** Routes and the tables that hold them. */

export const TableType = shifted('global', 'local', 'adj_in', 'adj_out', 'vrf');

export const ValidationState = shifted('none', 'not_found', 'valid', 'invalid');

const Validation = message('Validation', {
  state: optional(1, ValidationState),
  reason: optional(2, shifted('none', 'asn', 'length')),
});

/**
 * What GoBGP would take all the same, and store as a route that is none, or die of: an NLRI of another family, and MP_UNREACH,
 * which withdraws nothing here.
 */
function mixed({ nlri, family, pattrs = [] }: Routed): string | undefined {
  const routes = [{ nlri, family }];
  for (const attribute of pattrs) {
    if (attribute.type === 'mp_unreach')
      return 'mp_unreach is not for sending: use is_withdraw or deletePath';
    if (attribute.type !== 'mp_reach') continue;
    if (attribute.family.afi !== family.afi || attribute.family.safi !== family.safi)
      return `mp_reach of ${nameOf(attribute.family)} on a path of ${nameOf(family)}`;
    for (const reached of attribute.nlris ?? []) routes.push({ nlri: reached, family });
  }
  const wrong = routes.find((route) => !fits(route.nlri, route.family));
  return wrong === undefined ? undefined : `its ${wrong.nlri.type} is no route of ${nameOf(wrong.family)}`;
}

interface Routed {
  readonly nlri: NlriInput;
  readonly family: FamilyInput;
  readonly pattrs?: List<AttributeInput> | undefined;
}

const safis: Readonly<Record<Exclude<NlriInput['type'], 'unknown'>, readonly FamilyInput['safi'][]>> = {
  prefix: ['unicast', 'multicast'],
  labeled_prefix: ['mpls_label'],
  labeled_vpn_ip_prefix: ['mpls_vpn'],
  sr_policy: ['sr_policy'],
};

/** What is not described here may be of any family but those of what is. */
function fits(nlri: NlriInput, { afi, safi }: FamilyInput): boolean {
  if (nlri.type === 'unknown') return !Object.values(safis).flat().includes(safi);
  const own = nlri.type === 'sr_policy' ? (nlri.endpoint.length === 4 ? 'ip' : 'ip6') : afiOf(nlri.prefix);
  return own === afi && safis[nlri.type].includes(safi);
}

const nameOf = ({ afi, safi }: FamilyInput): string => `${afi} ${safi}`;

export const Path = message(
  'Path',
  {
    nlri: required(1, Nlri),
    pattrs: many(2, Attribute),
    /** When it came, in milliseconds since the epoch. */
    age: optional(3, timestamp),
    /** Of ListPath: events of the best paths leave it false. */
    best: optional(4, bool),
    is_withdraw: optional(5, bool),
    validation: optional(7, Validation),
    no_implicit_withdraw: optional(8, bool),
    family: required(9, Family),
    source_asn: optional(10, u32),
    source_id: optional(11, ipv4),
    filtered: optional(12, bool),
    /** Its peer restarts gracefully. */
    stale: optional(13, bool),
    is_from_external: optional(14, bool),
    /** Who announced it; empty for a path of our own. */
    neighbor_ip: optional(15, address),
    /** Of AddPath; only a path that was added so has one. */
    uuid: optional(16, bytes),
    is_nexthop_invalid: optional(17, bool),
    identifier: optional(18, u32),
    local_identifier: optional(19, u32),
    nlri_binary: optional(20, bytes),
    pattrs_binary: many(21, bytes),
    send_max_filtered: optional(22, bool),
  },
  mixed,
);
export type Path = Output<typeof Path>;
export type PathInput = Input<typeof Path>;

export const Destination = message('Destination', { prefix: required(1, text), paths: many(2, Path) });
export type Destination = Output<typeof Destination>;

/** Which prefixes ListPath shows: the one, those within it, or those that contain it. */
export const TableLookupPrefix = message('TableLookupPrefix', {
  prefix: required(1, prefix),
  type: assumed(2, shifted('exact', 'longer', 'shorter'), 'exact'),
  rd: optional(3, text, '3.19'),
});

export const TableEvent = message('TableEvent', { paths: lazy(2, Path) });

export const AddPathRequest = message('AddPathRequest', {
  table_type: assumed(1, TableType, 'global'),
  vrf_id: optional(2, text),
  path: required(3, Path),
});

/** With no path and no uuid, all paths of our own of the family. */
export const DeletePathRequest = message('DeletePathRequest', {
  table_type: assumed(1, TableType, 'global'),
  vrf_id: optional(2, text),
  family: optional(3, Family),
  path: optional(4, Path),
  uuid: optional(5, bytes),
});

export const AddPathStreamRequest = message('AddPathStreamRequest', {
  table_type: assumed(1, TableType, 'global'),
  vrf_id: optional(2, text),
  paths: many(3, Path),
});

export const ListPathRequest = message('ListPathRequest', {
  table_type: assumed(1, TableType, 'global'),
  /** Of the neighbour (adj_in, adj_out) or the VRF. */
  name: optional(2, text),
  family: required(3, Family),
  prefixes: many(4, TableLookupPrefix),
  /** Paths that a policy rejected too, with `filtered`. */
  enable_filtered: optional(6, bool),
  /** Also, or only, as they are in an UPDATE. */
  enable_nlri_binary: optional(7, bool),
  enable_attribute_binary: optional(8, bool),
  enable_only_binary: optional(9, bool, '3.9'),
  batch_size: optional(10, u64, '3.20'),
});

export const GetTableRequest = message('GetTableRequest', {
  table_type: assumed(1, TableType, 'global'),
  family: required(2, Family),
  name: optional(3, text),
});

export const GetTableResponse = message('GetTableResponse', {
  num_destination: required(1, u64),
  num_path: required(2, u64),
  /** Of adj_in alone. */
  num_accepted: required(3, u64),
});
