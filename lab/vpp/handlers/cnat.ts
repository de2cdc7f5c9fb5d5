import {
  cnat_get_snat_addresses,
  cnat_session_dump,
  cnat_session_purge,
  cnat_set_snat_addresses,
  cnat_set_snat_addresses_v2,
  cnat_set_snat_policy,
  cnat_snat_addresses_dump,
  cnat_snat_policy_add_del_exclude_pfx,
  cnat_snat_policy_add_del_if,
  cnat_translation_del,
  cnat_translation_dump,
  cnat_translation_update,
  feature_cnat_enable_disable,
} from 'vpp-binapi-ts/cnat';
import { type Handler, on, onDump, onPlain } from '../handler.js';
import { networkOf } from '../prefix.js';

export const cnat: readonly Handler[] = [
  onPlain(feature_cnat_enable_disable, (vpp, { sw_if_index, enable_disable }) => {
    vpp.cnat.setFeature(vpp.interfaces.get(sw_if_index), enable_disable);
  }),
  onPlain(cnat_set_snat_addresses, (vpp, { snat_ip4, snat_ip6, sw_if_index }) => {
    vpp.cnat.setAddresses({
      ip4: snat_ip4,
      ip6: snat_ip6,
      sw_if_index,
      fwd_fib_index: 0,
      ret_fib_index: 0,
      flags: 0,
    });
  }),
  onPlain(cnat_set_snat_addresses_v2, (vpp, { snat_ip4, snat_ip6, ...rest }) => {
    vpp.cnat.setAddresses({ ip4: snat_ip4, ip6: snat_ip6, ...rest });
  }),
  on(cnat_get_snat_addresses, { id: 0, snat_ip4: '0.0.0.0', snat_ip6: '::', sw_if_index: 0 }, ({ cnat }) => {
    const { ip4, ip6, sw_if_index } = cnat.checkPolicy();
    return { id: 0, snat_ip4: ip4, snat_ip6: ip6, sw_if_index };
  }),
  onDump(cnat_snat_addresses_dump, ({ cnat, fib }) => {
    return [...cnat.entries].map(({ ip4, ip6, sw_if_index, fwd_fib_index, ret_fib_index }) => ({
      retval: 0,
      fwd_table_id4: fib.tableIdOfSlot(4, fwd_fib_index[4]),
      fwd_table_id6: fib.tableIdOfSlot(6, fwd_fib_index[6]),
      ret_table_id4: fib.tableIdOfSlot(4, ret_fib_index[4]),
      ret_table_id6: fib.tableIdOfSlot(6, ret_fib_index[6]),
      snat_ip4: ip4,
      snat_ip6: ip6,
      sw_if_index,
    }));
  }),
  onPlain(cnat_set_snat_policy, ({ cnat }, { policy }) => {
    cnat.checkPolicy().policy = policy;
  }),
  onPlain(cnat_snat_policy_add_del_exclude_pfx, ({ cnat }, { is_add, prefix }) => {
    const { excluded } = cnat.checkPolicy();
    if (is_add) excluded.add(networkOf(prefix));
    else excluded.delete(networkOf(prefix));
  }),
  onPlain(cnat_snat_policy_add_del_if, ({ cnat, interfaces }, { sw_if_index, is_add, table }) => {
    interfaces.get(sw_if_index);
    cnat.checkPolicy();
    const key = `${table}/${sw_if_index}`;
    if (is_add) cnat.interface_bits.add(key);
    else cnat.interface_bits.delete(key);
  }),
  on(cnat_translation_update, { id: 0xffff_ffff }, ({ cnat }, { translation }) => ({
    id: cnat.update(translation),
  })),
  onPlain(cnat_translation_del, ({ cnat }, { id }) => cnat.delete(id)),
  onDump(cnat_translation_dump, ({ cnat }) =>
    [...cnat.translations].map(({ shown }) => ({ translation: shown })),
  ),
  onDump(cnat_session_dump, () => []),
  onPlain(cnat_session_purge, ({ cnat }) => cnat.purge()),
];
