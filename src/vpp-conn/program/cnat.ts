/** Source NAT and translations. */
import {
  type cnat_endpoint,
  cnat_endpoint_tuple_flags,
  cnat_set_snat_addresses_v2,
  cnat_snat_policy_add_del_if,
  cnat_snat_policy_flags,
  cnat_translation_del,
  cnat_translation_flags,
  cnat_translation_update,
} from 'vpp-binapi-ts/cnat';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import { familyOf } from '../../ip/text.js';
import { nobody } from '../../objects/cnat.js';
import type { ObjectOf } from '../../objects/object.js';
import { type Call, call } from '../call.js';
import { no_interface } from '../paths.js';
import { afOf, none, type Programs, protocols } from './common.js';

export const cnat: Programs<
  'snat_uplinks' | 'snat_addresses' | 'snat_policy' | 'snat_exclude' | 'translation'
> = {
  snat_uplinks: {
    add: (o) => [snatAddresses(o, uplinks_fib, no_client), policy('if_pfx', uplinks_fib)],
    remove: () => none,
  },
  snat_addresses: {
    add: ({ ip4 = nobody[4], ip6 = nobody[6], beside }) => [
      snatAddresses({ ip4, ip6 }, beside ? pods_fib : uplinks_fib, no_client | as_default),
    ],
    // To set all of them to zero frees a policy that VPP goes on using.
    remove: () => none,
  },
  snat_policy: {
    add: (o, at) => [
      policy(o.policy, pods_fib),
      call(cnat_snat_policy_add_del_if, {
        sw_if_index: at.interface(o.keeper),
        is_add: 1,
        table: 'CNAT_POLICY_INCLUDE_V4',
      }),
    ],
    remove: () => none,
  },
  snat_exclude: {
    add: (o) => [exclude('', o)],
    remove: (o) => [exclude('del ', o)],
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

const no_client = cnat_snat_policy_flags.CNAT_SNAT_POLICY_F_NO_CLIENT;
const as_default = cnat_snat_policy_flags.CNAT_SNAT_POLICY_F_USE_AS_DEFAULT;

/**
 * Indices, not ids, of the tables whose flows an entry judges: of the default table, and of any other one, for which all others fall back on its
 * entry. Where there is but one entry, each index means that.
 */
const uplinks_fib = 0;
const pods_fib = 1;

function snatAddresses(
  { ip4 = '0.0.0.0', ip6 = '::' }: { readonly ip4?: string; readonly ip6?: string },
  fwd_fib_index: number,
  flags: number,
): Call {
  return call(cnat_set_snat_addresses_v2, {
    fwd_fib_index,
    ret_fib_index: 0,
    snat_ip4: ip4,
    snat_ip6: ip6,
    sw_if_index: no_interface,
    flags,
  });
}

/** By command: requests of the API cannot say which entry they mean, and mean that of the default table where it has one. */
function policy(name: 'if_pfx' | 'k8s', fib: number): Call {
  return call(cli_inband, { cmd: `set cnat snat-policy ${name === 'k8s' ? 'k8s' : 'if-pfx'} fib ${fib}` });
}

function exclude(del: '' | 'del ', { prefix, of }: ObjectOf<'snat_exclude'>): Call {
  const fib = of === 'uplinks' ? uplinks_fib : pods_fib;
  return call(cli_inband, { cmd: `set cnat snat-policy prefix ${del}${prefix} fib ${fib}` });
}

/**
 * VPP tells back ends apart by it too, its family included: with another one all of a translation would be new, and their sessions
 * ended. What an earlier release has made with 0.0.0.0 are host ports, of one back end, which another one takes the place of anyway.
 */
const any_source = endpoint('::', 0);

function endpoint(addr: string, port: number): cnat_endpoint {
  return { addr, sw_if_index: no_interface, if_af: afOf(familyOf(addr)), port };
}
