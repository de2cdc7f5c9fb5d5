/** Source NAT and translations. */
import {
  type cnat_endpoint,
  cnat_endpoint_tuple_flags,
  cnat_set_snat_addresses_v2,
  cnat_set_snat_policy,
  cnat_snat_policy_add_del_exclude_pfx,
  cnat_snat_policy_add_del_if,
  cnat_snat_policy_flags,
  cnat_translation_del,
  cnat_translation_flags,
  cnat_translation_update,
} from 'vpp-binapi-ts/cnat';
import { familyOf } from '../../ip/text.js';
import { call } from '../call.js';
import { no_interface } from '../paths.js';
import { afOf, none, type Programs, protocols } from './common.js';

export const cnat: Programs<'snat_addresses' | 'snat_policy' | 'snat_exclude' | 'translation'> = {
  snat_addresses: {
    add: (o) => [
      call(cnat_set_snat_addresses_v2, {
        fwd_fib_index: 0,
        ret_fib_index: 0,
        snat_ip4: o.ip4 ?? '0.0.0.0',
        snat_ip6: o.ip6 ?? '::',
        sw_if_index: no_interface,
        flags:
          cnat_snat_policy_flags.CNAT_SNAT_POLICY_F_NO_CLIENT |
          cnat_snat_policy_flags.CNAT_SNAT_POLICY_F_USE_AS_DEFAULT,
      }),
    ],
    // To set all of them to zero frees a policy that VPP goes on using.
    remove: () => none,
  },
  snat_policy: {
    add: (o, at) => [
      call(cnat_set_snat_policy, { policy: o.policy === 'k8s' ? 'CNAT_POLICY_K8S' : 'CNAT_POLICY_IF_PFX' }),
      call(cnat_snat_policy_add_del_if, {
        sw_if_index: at.interface(o.keeper),
        is_add: 1,
        table: 'CNAT_POLICY_INCLUDE_V4',
      }),
    ],
    remove: () => none,
  },
  snat_exclude: {
    add: (o) => [call(cnat_snat_policy_add_del_exclude_pfx, { is_add: 1, prefix: o.prefix })],
    remove: (o) => [call(cnat_snat_policy_add_del_exclude_pfx, { is_add: 0, prefix: o.prefix })],
  },
  translation: {
    add: (o) => [
      call(
        cnat_translation_update,
        {
          translation: {
            vip: endpoint(o.address, o.port),
            id: no_interface,
            ip_proto: protocols[o.protocol],
            is_real_ip: o.real ? 1 : 0,
            flags:
              cnat_translation_flags.CNAT_TRANSLATION_ALLOC_PORT |
              cnat_translation_flags.CNAT_TRANSLATION_NO_CLIENT,
            lb_type: o.lb === 'maglev' ? 'CNAT_LB_TYPE_MAGLEV' : 'CNAT_LB_TYPE_DEFAULT',
            flow_hash_config: o.hash ?? 0,
            paths: o.backends.map((backend) => ({
              dst_ep: endpoint(backend.address, backend.port),
              src_ep: any_source,
              flags: backend.no_nat ? cnat_endpoint_tuple_flags.CNAT_EPT_NO_NAT : 0,
            })),
          },
        },
        { made: (reply) => reply.id },
      ),
    ],
    remove: (o, at) => [call(cnat_translation_del, { id: at.of(o) })],
  },
};

/**
 * VPP tells back ends apart by it too, its family included: with another one all of a translation would be new, and their sessions
 * ended. What an earlier release has made with 0.0.0.0 are host ports, of one back end, which another one takes the place of anyway.
 */
const any_source = endpoint('::', 0);

function endpoint(addr: string, port: number): cnat_endpoint {
  return { addr, sw_if_index: no_interface, if_af: afOf(familyOf(addr)), port };
}
