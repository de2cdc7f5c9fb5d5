import { splitPrefix } from '../../ip/prefix.js';
import { addressBits, type Family, familyOf } from '../../ip/text.js';
import type { Faults, Fields } from '../fields.js';
import {
  asNumber,
  calico_versions,
  community,
  expected_as_number,
  expected_community,
  type Kind,
  pickFields,
  present,
  priority_max,
} from './kind.js';

export type FilterOperation =
  | { readonly add_community: string }
  | { readonly prepend_as_path: readonly number[] }
  | { readonly set_priority: number };

/** Routes that fulfil all conditions get the operations and the action; the first rule that fits decides. */
export interface FilterRule {
  readonly prefix?: string;
  /** Always there with `prefix`. */
  readonly operator?: 'Equal' | 'NotEqual' | 'In' | 'NotIn';
  readonly length_min?: number;
  readonly length_max?: number;
  readonly source?: 'RemotePeers';
  /** Glob of Linux interfaces. */
  readonly interface?: string;
  readonly peer_type?: 'eBGP' | 'iBGP';
  readonly communities: readonly string[];
  readonly as_path_prefix: readonly number[];
  readonly priority?: number;
  readonly operations: readonly FilterOperation[];
  readonly action: 'Accept' | 'Reject';
}

export interface BgpFilter {
  readonly name: string;
  readonly import4: readonly FilterRule[];
  readonly import6: readonly FilterRule[];
  readonly export4: readonly FilterRule[];
  readonly export6: readonly FilterRule[];
  /** Fields of the spec that this program does not know. */
  readonly unknown_fields: readonly string[];
}

const communityList = (fields: Fields, name: string) => fields.plain(name, expected_community, community);
const asPath = (fields: Fields, name: string) => fields.plain(name, expected_as_number, asNumber);

function operation(entry: Fields): FilterOperation | undefined {
  const names = ['addCommunity', 'prependASPath', 'setPriority'].filter(
    (name) => entry.raw(name) !== undefined,
  );
  if (names.length !== 1)
    return entry.fault('', 'has to be one of addCommunity, prependASPath and setPriority');
  const value = entry.object(names[0]!);
  if (names[0] === 'prependASPath') return { prepend_as_path: asPath(value, 'prefix') };
  if (names[0] === 'addCommunity') {
    const add_community = value.read('value', expected_community, community);
    return add_community === undefined ? value.fault('value', 'is missing') : { add_community };
  }
  const set_priority = value.whole('value', 1, priority_max);
  return set_priority === undefined ? value.fault('value', 'is missing') : { set_priority };
}

function rule(entry: Fields, family: Family): FilterRule | undefined {
  const prefix = entry.prefix('cidr');
  const operator = entry.word('matchOperator', ['Equal', 'NotEqual', 'In', 'NotIn']);
  const lengths = entry.object('prefixLength');
  const length_min = lengths.whole('min', 0, addressBits(family));
  const length_max = lengths.whole('max', 0, addressBits(family));
  const operations = entry.list('operations', operation);
  const action = entry.word('action', ['Accept', 'Reject']);
  if (action === undefined) return entry.fault('action', 'is missing: set Accept or Reject');
  if (prefix !== undefined && familyOf(splitPrefix(prefix).address) !== family)
    return entry.fault('cidr', `is no IPv${family} prefix`);
  if ((prefix === undefined) !== (operator === undefined))
    return entry.fault('matchOperator', 'and cidr come together: set both or none');
  if (prefix === undefined && (length_min ?? length_max) !== undefined)
    return entry.fault('prefixLength', 'needs cidr');
  if (length_min !== undefined && length_max !== undefined && length_min > length_max)
    return entry.fault('prefixLength', 'has min above max');
  if (operations.length > 0 && action === 'Reject')
    return entry.fault('operations', 'change what is accepted: remove them, or set action Accept');
  const read = present<FilterRule>({
    prefix,
    operator,
    length_min,
    length_max,
    source: entry.word('source', ['RemotePeers']),
    interface: entry.text('interface'),
    peer_type: entry.word('peerType', ['eBGP', 'iBGP']),
    communities: communityList(entry.object('communities'), 'values'),
    as_path_prefix: asPath(entry, 'asPathPrefix'),
    priority: entry.whole('priority', 1, priority_max),
    operations,
    action,
  });
  const [unknown] = entry.unread();
  // A condition left out would let the rule decide over routes that it was not made for.
  if (unknown !== undefined) return entry.fault('', `has ${unknown}, which is not known`);
  return read;
}

export const bgp_filter_kind: Kind<BgpFilter> = {
  name: 'BGPFilter',
  plural: 'bgpfilters',
  versions: calico_versions,
  // Calico has it since 3.25.
  absence: 'empty',
  page: 200,
  objects_max: 10_000,
  pick: (name, object) =>
    pickFields(object, (fields, faults: Faults) => {
      const spec = fields.object('spec');
      const rules = (field: string, family: Family) => spec.list(field, (entry) => rule(entry, family));
      const filter: BgpFilter = {
        name,
        import4: rules('importV4', 4),
        import6: rules('importV6', 6),
        export4: rules('exportV4', 4),
        export6: rules('exportV6', 6),
        unknown_fields: spec.unread(),
      };
      // Without one of its rules it would be another filter.
      return faults.concern('spec') ? undefined : filter;
    }),
};
