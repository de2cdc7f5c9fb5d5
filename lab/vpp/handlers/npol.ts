import {
  decode_npol_ipset_member_val,
  npol_configure_policies,
  npol_get_version,
  npol_ipset_add_del_members,
  npol_ipset_create,
  npol_ipset_delete,
  type npol_ipset_member,
  npol_ipset_type,
  npol_policy_create,
  npol_policy_delete,
  npol_policy_update,
  npol_rule_create,
  npol_rule_delete,
  npol_rule_update,
} from 'vpp-binapi-ts/npol';
import { none } from '../fib.js';
import { type Handler, on, onPlain, onRaw } from '../handler.js';
import type { IpSet, Member } from '../npol.js';

export const npol: readonly Handler[] = [
  onRaw(npol_get_version, () => ({ major: 0, minor: 0 })),
  on(npol_rule_create, { rule_id: none }, ({ npol }, { rule }) => ({
    rule_id: npol.setRule(undefined, rule),
  })),
  onPlain(npol_rule_update, ({ npol }, { rule_id, rule }) => {
    npol.setRule(rule_id, rule);
  }),
  onPlain(npol_rule_delete, ({ npol }, { rule_id }) => npol.remove(npol.rules, rule_id)),
  on(npol_policy_create, { policy_id: none }, ({ npol }, { rules }) => ({
    policy_id: npol.setPolicy(undefined, rules),
  })),
  onPlain(npol_policy_update, ({ npol }, { policy_id, rules }) => {
    npol.setPolicy(policy_id, rules);
  }),
  onPlain(npol_policy_delete, ({ npol }, { policy_id }) => npol.remove(npol.policies, policy_id)),
  on(npol_ipset_create, { set_id: none }, ({ npol }, { type }) => ({
    set_id: npol.sets.add((id) => ({ id, type, members: [] })).id,
  })),
  onPlain(npol_ipset_delete, ({ npol }, { set_id }) => npol.remove(npol.sets, set_id)),
  onPlain(npol_ipset_add_del_members, ({ npol }, { set_id, is_add, members }) => {
    const set = npol.set(set_id);
    npol.change(
      set,
      is_add,
      members.map((member) => memberOf(set, member)),
    );
  }),
  onPlain(npol_configure_policies, ({ npol, interfaces }, { sw_if_index, ...wanted }) => {
    interfaces.get(sw_if_index);
    npol.configure(sw_if_index, wanted);
  }),
];

/** The bytes of a member mean what the type of its set says. */
function memberOf(set: IpSet, { val }: npol_ipset_member): Member {
  if (!('raw' in val)) throw new TypeError('a member is decoded as raw bytes');
  const { buffer, byteOffset, byteLength } = val.raw;
  const bytes = { bytes: val.raw, view: new DataView(buffer, byteOffset, byteLength) };
  const read = decode_npol_ipset_member_val(
    bytes,
    0,
    npol_ipset_type[set.type as keyof typeof npol_ipset_type],
  );
  if ('address' in read) return read.address;
  if ('prefix' in read) return read.prefix;
  if ('tuple' in read) return read.tuple;
  throw new TypeError(`an IP set of type ${set.type}`);
}
