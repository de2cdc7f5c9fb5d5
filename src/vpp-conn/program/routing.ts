/** Tables, routes, neighbours, and what else decides where a packet goes. */
import { proxy_arp_add_del } from 'vpp-binapi-ts/arp';
import {
  add_del_ip_punt_redirect_v2,
  ip_mroute_add_del,
  ip_route_add_del_v2,
  ip_table_add_del_v2,
} from 'vpp-binapi-ts/ip';
import { ip_neighbor_add_del, ip_neighbor_config, ip_neighbor_flags } from 'vpp-binapi-ts/ip_neighbor';
import { ip_ttl_fixup_configure } from 'vpp-binapi-ts/ip_ttl_fixup';
import { mfib_entry_flags, mfib_itf_flags } from 'vpp-binapi-ts/mfib_types';
import { set_punt } from 'vpp-binapi-ts/punt';
import { urpf_update_v2 } from 'vpp-binapi-ts/urpf';
import { familyOf } from '../../ip/text.js';
import type { ObjectOf } from '../../objects/object.js';
import { type Call, call } from '../call.js';
import type { Handles } from '../handles.js';
import { no_interface, pathsTo, pathTo } from '../paths.js';
import { afOf, none, type Programs, protocols } from './common.js';

export const routing: Programs<
  | 'table'
  | 'route'
  | 'mroute'
  | 'neighbour'
  | 'neighbour_limits'
  | 'proxy_arp_range'
  | 'urpf'
  | 'ttl_fixup'
  | 'punt_redirect'
  | 'punt_l4'
> = {
  table: {
    add: (o) => [
      call(ip_table_add_del_v2, {
        is_add: true,
        create_mfib: o.multicast,
        table: { table_id: o.table_id, is_ip6: o.family === 6, name: o.name },
      }),
    ],
    remove: (o) => [
      call(ip_table_add_del_v2, {
        is_add: false,
        create_mfib: o.multicast,
        table: { table_id: o.table_id, is_ip6: o.family === 6, name: o.name },
      }),
    ],
  },
  route: {
    add: (o, at) => [
      call(ip_route_add_del_v2, {
        is_add: true,
        is_multipath: false,
        route: {
          table_id: o.table_id,
          stats_index: 0,
          prefix: o.prefix,
          src: at.fibSource(o.source),
          paths: pathsTo(o, at),
        },
      }),
    ],
    // A path without interface: VPP refuses to remove a route by an interface that is gone, and takes the whole route anyway.
    remove: (o, at) => [
      call(ip_route_add_del_v2, {
        is_add: false,
        is_multipath: false,
        route: {
          table_id: o.table_id,
          stats_index: 0,
          prefix: o.prefix,
          src: at.fibSource(o.source),
          paths: [pathTo(familyOf(o.prefix), {})],
        },
      }),
    ],
  },
  mroute: {
    add: (o, at) => [mroute(o, at, true)],
    remove: (o, at) => [mroute(o, at, false)],
  },
  neighbour: {
    add: (o, at) => [neighbour(o, at, true)],
    remove: (o, at) => [neighbour(o, at, false)],
  },
  neighbour_limits: {
    add: (o) => [
      call(ip_neighbor_config, {
        af: afOf(o.family),
        max_number: o.max_number,
        max_age: o.max_age_s,
        recycle: false,
      }),
    ],
    remove: () => none,
  },
  proxy_arp_range: {
    add: (o) => [
      call(proxy_arp_add_del, { is_add: true, proxy: { table_id: o.table_id, low: o.low, hi: o.high } }),
    ],
    remove: (o) => [
      call(proxy_arp_add_del, { is_add: false, proxy: { table_id: o.table_id, low: o.low, hi: o.high } }),
    ],
  },
  urpf: {
    // VPP remembers uRPF beyond the life of an interface and then takes the new request for no change: off comes first.
    add: (o, at) => [
      urpf(o, at, 'URPF_API_MODE_OFF'),
      urpf(o, at, o.mode === 'strict' ? 'URPF_API_MODE_STRICT' : 'URPF_API_MODE_LOOSE'),
    ],
    remove: (o, at) => [urpf(o, at, 'URPF_API_MODE_OFF')],
  },
  ttl_fixup: {
    add: (o, at) => [ttlFixup(o, at, true)],
    remove: (o, at) => [ttlFixup(o, at, false)],
  },
  punt_redirect: {
    add: (o) => [puntRedirect(o, true)],
    remove: (o) => [puntRedirect(o, false)],
  },
  punt_l4: {
    add: (o) => [puntL4(o, true)],
    remove: (o) => [puntL4(o, false)],
  },
};

function urpf(
  o: ObjectOf<'urpf'>,
  at: Handles,
  mode: 'URPF_API_MODE_OFF' | 'URPF_API_MODE_LOOSE' | 'URPF_API_MODE_STRICT',
): Call {
  return call(urpf_update_v2, {
    is_input: true,
    mode,
    af: afOf(o.family),
    sw_if_index: at.interface(o.interface),
    table_id: o.table_id,
  });
}

function ttlFixup(o: ObjectOf<'ttl_fixup'>, at: Handles, enable: boolean): Call {
  return call(ip_ttl_fixup_configure, {
    src_sw_if_index: at.interface(o.interface),
    dst_sw_if_index: at.interface(o.towards),
    enable,
  });
}

function mroute(o: ObjectOf<'mroute'>, at: Handles, is_add: boolean): Call {
  const family = familyOf(o.group);
  const [grp_address = '', length = '0'] = o.group.split('/');
  return call(ip_mroute_add_del, {
    is_add,
    is_multipath: false,
    route: {
      table_id: o.table_id,
      entry_flags: o.accept_all_interfaces ? mfib_entry_flags.MFIB_API_ENTRY_FLAG_ACCEPT_ALL_ITF : 0,
      rpf_id: 0,
      prefix: {
        af: afOf(family),
        grp_address_length: Number(length),
        grp_address,
        src_address: family === 4 ? '0.0.0.0' : '::',
      },
      paths: o.paths.map((path) => ({
        itf_flags:
          (path.accept ? mfib_itf_flags.MFIB_API_ITF_FLAG_ACCEPT : 0) |
          (path.forward ? mfib_itf_flags.MFIB_API_ITF_FLAG_FORWARD : 0),
        path: {
          ...pathTo(family, {
            ...(path.interface !== undefined && { sw_if_index: at.interface(path.interface) }),
            ...(path.table_id !== undefined && { table_id: path.table_id }),
          }),
          // A path with an rpf_id continues in the multicast table of that id, one without in the unicast table.
          rpf_id: path.table_id === undefined ? 0 : o.table_id,
        },
      })),
    },
  });
}

function neighbour(o: ObjectOf<'neighbour'>, at: Handles, is_add: boolean): Call {
  return call(ip_neighbor_add_del, {
    is_add,
    neighbor: {
      sw_if_index: at.interface(o.interface),
      flags: ip_neighbor_flags.IP_API_NEIGHBOR_FLAG_STATIC,
      mac_address: o.mac,
      ip_address: o.address,
    },
  });
}

function puntRedirect(o: ObjectOf<'punt_redirect'>, is_add: boolean): Call {
  return call(add_del_ip_punt_redirect_v2, {
    is_add,
    punt: {
      rx_sw_if_index: no_interface,
      af: afOf(o.family),
      paths: [pathTo(o.family, { table_id: o.table_id })],
    },
  });
}

function puntL4(o: ObjectOf<'punt_l4'>, is_add: boolean): Call {
  const all_ports = 65535;
  return call(set_punt, {
    is_add,
    punt: {
      type: 'PUNT_API_TYPE_L4',
      punt: { l4: { af: afOf(o.family), protocol: protocols[o.protocol], port: all_ports } },
    },
  });
}
