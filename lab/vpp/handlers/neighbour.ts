import {
  proxy_arp_add_del,
  proxy_arp_dump,
  proxy_arp_intfc_dump,
  proxy_arp_intfc_enable_disable,
} from 'vpp-binapi-ts/arp';
import {
  sw_interface_ip6_enable_disable,
  sw_interface_ip6_get_link_local_address,
  sw_interface_ip6_set_link_local_address,
} from 'vpp-binapi-ts/ip';
import {
  ip_neighbor_add_del,
  ip_neighbor_config,
  ip_neighbor_config_get,
  type ip_neighbor_details,
  ip_neighbor_dump,
  ip_neighbor_flags,
} from 'vpp-binapi-ts/ip_neighbor';
import {
  ip6nd_proxy_add_del,
  ip6nd_proxy_dump,
  ip6nd_proxy_enable_disable,
  ip6nd_send_router_solicitation,
  sw_interface_ip6nd_ra_config,
  type sw_interface_ip6nd_ra_details,
  sw_interface_ip6nd_ra_dump,
  sw_interface_ip6nd_ra_prefix,
  want_ip6_ra_events,
} from 'vpp-binapi-ts/ip6_nd';
import { bundles } from '../features.js';
import { none, specialPath } from '../fib.js';
import { source } from '../fib-sources.js';
import { type Handler, on, onDump, onPlain } from '../handler.js';
import type { Interface } from '../interfaces.js';
import { refuse, retval } from '../outcome.js';
import { type Family, familyFrom, familyOf, hostPrefix } from '../prefix.js';
import type { VppState } from '../state.js';
import { entries } from './route.js';

const { IP_API_NEIGHBOR_FLAG_STATIC: is_static, IP_API_NEIGHBOR_FLAG_NO_FIB_ENTRY: no_fib_entry } =
  ip_neighbor_flags;

export const neighbours: readonly Handler[] = [
  on(ip_neighbor_add_del, { stats_index: none }, (vpp, { is_add, neighbor }) => {
    const one = vpp.interfaces.get(neighbor.sw_if_index);
    const key = `${one.sw_if_index}/${neighbor.ip_address}`;
    const known = vpp.neighbours.get(key);
    if (!is_add) {
      if (known === undefined) refuse(retval.NO_SUCH_ENTRY);
      vpp.neighbours.delete(key);
      vpp.dropNeighbourRoute(known);
      return { stats_index: none };
    }
    const weaker =
      known !== undefined && (known.flags & is_static) !== 0 && (neighbor.flags & is_static) === 0;
    if (weaker && known.mac_address !== neighbor.mac_address) refuse(retval.INVALID_SW_IF_INDEX);
    const has_route = known?.has_route ?? addRoute(vpp, one, neighbor.ip_address, neighbor.flags);
    const flags = weaker ? known.flags : neighbor.flags;
    vpp.neighbours.set(key, { ...neighbor, flags, has_route, since_ms: vpp.facts.clock.now_ms() });
    return { stats_index: 0 };
  }),
  onDump(ip_neighbor_dump, (vpp, { sw_if_index, af }) =>
    [...vpp.neighbours.values()]
      .filter((one) => familyOf(one.ip_address) === familyFrom(af))
      .filter((one) => sw_if_index === none || one.sw_if_index === sw_if_index)
      .map(({ since_ms, has_route: _, ...neighbor }) => ({
        age: (vpp.facts.clock.now_ms() - since_ms) / 1000,
        neighbor,
      }))
      .concat(answering(vpp, sw_if_index, familyFrom(af))),
  ),
  onPlain(ip_neighbor_config, (vpp, { af, max_number, max_age, recycle }) => {
    vpp.neighbour_config[familyFrom(af)] = { max_number, max_age, recycle };
  }),
  on(
    ip_neighbor_config_get,
    { af: 'ADDRESS_IP4', max_number: 0, max_age: 0, recycle: false },
    (vpp, { af }) => ({ af, ...vpp.neighbour_config[familyFrom(af)] }),
  ),
  ...arp(),
  ...ip6(),
];

/** No packet passes here: gateways of routes through a device count as having answered, as they do where there are any. */
function answering(vpp: VppState, sw_if_index: number, family: Family): ip_neighbor_details[] {
  const device = sw_if_index === none ? undefined : vpp.interfaces.get(sw_if_index);
  if (device?.admin_up !== true || !/^af/i.test(device.dev_type)) return [];
  const { table_id } = device.tables[family];
  const gateways = entries(vpp, { table_id, is_ip6: family === 6 })
    .flatMap(({ paths }) => paths)
    .filter((path) => path.sw_if_index === sw_if_index && !/^(0\.0\.0\.0|::)$/.test(path.nh.address))
    .map(({ nh }) => nh.address)
    .filter((address) => familyOf(address) === family);
  return [...new Set(gateways)].map((ip_address) => ({
    age: 0,
    neighbor: { sw_if_index, flags: 0, mac_address: '02:00:00:00:00:fe', ip_address },
  }));
}

/** The host route of a neighbour; those of link-local addresses are in no table that can be dumped. */
function addRoute(vpp: VppState, one: Interface, address: string, flags: number): boolean {
  if ((flags & no_fib_entry) !== 0 || address.startsWith('fe80:')) return false;
  const family = familyOf(address);
  const path = specialPath(family, 'FIB_API_PATH_TYPE_NORMAL', { sw_if_index: one.sw_if_index, nh: address });
  vpp.fib.set(one.tables[family], hostPrefix(address), source.adjacency, [path]);
  return true;
}

function arp(): readonly Handler[] {
  return [
    onPlain(proxy_arp_add_del, (vpp, { is_add, proxy: { table_id, low, hi } }) => {
      const { slot } = vpp.fib.table(4, table_id) ?? refuse(retval.NO_SUCH_FIB);
      const at = vpp.proxy_arps.findIndex((one) => one.slot === slot && one.low === low && one.hi === hi);
      if (is_add) {
        if (at < 0) vpp.proxy_arps.push({ slot, low, hi });
      } else if (at < 0) refuse(retval.NO_SUCH_ENTRY);
      else vpp.proxy_arps.splice(at, 1);
    }),
    onDump(proxy_arp_dump, (vpp) =>
      vpp.proxy_arps.map(({ slot, low, hi }) => ({
        proxy: { table_id: vpp.fib.tableIdOfSlot(4, slot), low, hi },
      })),
    ),
    onPlain(proxy_arp_intfc_enable_disable, (vpp, { sw_if_index, enable }) => {
      vpp.interfaces.get(sw_if_index);
      if (vpp.proxy_arp_interfaces.has(sw_if_index) === enable) return;
      vpp.features.set(sw_if_index, bundles.proxy_arp, enable);
      if (enable) vpp.proxy_arp_interfaces.add(sw_if_index);
      else vpp.proxy_arp_interfaces.delete(sw_if_index);
    }),
    onDump(proxy_arp_intfc_dump, (vpp) =>
      [...vpp.proxy_arp_interfaces].map((sw_if_index) => ({ sw_if_index })),
    ),
  ];
}

function ip6(): readonly Handler[] {
  return [
    onPlain(sw_interface_ip6_enable_disable, (vpp, { sw_if_index, enable }) => {
      const one = vpp.interfaces.get(sw_if_index);
      if (enable) vpp.interfaces.enable6(one);
      else vpp.interfaces.unlock6(one);
    }),
    on(sw_interface_ip6_get_link_local_address, { ip: '::' }, (vpp, { sw_if_index }) => ({
      ip: vpp.interfaces.get(sw_if_index).link6?.address ?? refuse(retval.IP6_NOT_ENABLED),
    })),
    onPlain(sw_interface_ip6_set_link_local_address, (vpp, { sw_if_index, ip }) => {
      vpp.interfaces.setLinkLocal(vpp.interfaces.get(sw_if_index), `${ip}/128`);
    }),
    onPlain(sw_interface_ip6nd_ra_config, (vpp, asked) => {
      const one = vpp.interfaces.get(asked.sw_if_index);
      if (one.link6 === undefined || !one.ethernet) return refuse(retval.IP6_NOT_ENABLED);
      configureAdvertising(one.link6, asked);
    }),
    onPlain(sw_interface_ip6nd_ra_prefix, (vpp, asked) => {
      const one = vpp.interfaces.get(asked.sw_if_index);
      if (one.link6 === undefined || !one.ethernet) return refuse(retval.IP6_NOT_ENABLED);
      const { prefixes } = one.link6.advertised;
      if (asked.is_no) {
        if (!prefixes.delete(asked.prefix)) refuse(retval.INVALID_VALUE);
        return;
      }
      prefixes.set(asked.prefix, {
        on_link: !asked.off_link && !asked.no_onlink,
        autonomous: !asked.no_autoconfig,
        valid_s: asked.val_lifetime,
        preferred_s: asked.pref_lifetime,
      });
    }),
    // No router is ever heard here.
    onPlain(want_ip6_ra_events, (vpp, { enable }, caller) => {
      const known = vpp.router_listeners;
      if (known.has(caller) === enable) refuse(retval.INVALID_REGISTRATION);
      if (!enable) known.delete(caller);
      else {
        known.add(caller);
        caller.onGone(() => known.delete(caller));
      }
    }),
    onPlain(ip6nd_send_router_solicitation, (vpp, { sw_if_index }) => {
      vpp.interfaces.get(sw_if_index);
    }),
    onDump(sw_interface_ip6nd_ra_dump, (vpp, { sw_if_index }) =>
      [...vpp.interfaces.all]
        .filter((one) => one.link6 !== undefined && one.ethernet)
        .filter((one) => sw_if_index === none || one.sw_if_index === sw_if_index)
        .map(raDetails),
    ),
    onPlain(ip6nd_proxy_add_del, (vpp, { sw_if_index, is_add, ip }) => {
      const key = `${vpp.interfaces.get(sw_if_index).sw_if_index}/${ip}`;
      if (is_add) vpp.nd_proxies.add(key);
      else vpp.nd_proxies.delete(key);
    }),
    // Seen empty on a real VPP however many there are.
    onDump(ip6nd_proxy_dump, () => []),
    onPlain(ip6nd_proxy_enable_disable, (vpp, { sw_if_index }) => {
      vpp.interfaces.get(sw_if_index);
    }),
  ];
}

/** A request that silences nothing has VPP advertise, whatever else it asks for and whether that is refused. */
function configureAdvertising(
  link6: NonNullable<Interface['link6']>,
  asked: sw_interface_ip6nd_ra_config,
): void {
  const { advertised } = link6;
  const { suppress, is_no, max_interval, default_router } = asked;
  const interval_s_max = max_interval === 0 ? advertised.interval_s_max : is_no ? 200 : max_interval;
  const shortest =
    max_interval !== 0 && asked.min_interval === 0 ? Math.floor(0.75 * max_interval) : asked.min_interval;
  const interval_s_min = shortest === 0 ? advertised.interval_s_min : is_no ? 150 : shortest;
  const lifetime_s =
    default_router === 0 ? advertised.lifetime_s : is_no ? 600 : Math.min(asked.lifetime, 9000);
  link6.send_radv = true;
  if (lifetime_s !== 0 && lifetime_s <= interval_s_max) refuse(retval.INVALID_VALUE);
  if (interval_s_min > 0.75 * interval_s_max || interval_s_min < 3) refuse(retval.INVALID_VALUE);
  if (suppress !== 0) link6.send_radv = is_no;
  if (asked.managed !== 0) advertised.managed = !is_no;
  if (asked.other !== 0) advertised.other = !is_no;
  Object.assign(advertised, { lifetime_s, interval_s_max, interval_s_min });
}

/** Times are VPP's own, which no contract holds. */
function raDetails(one: Interface): sw_interface_ip6nd_ra_details {
  const { send_radv, advertised } = one.link6!;
  return {
    sw_if_index: one.sw_if_index,
    cur_hop_limit: 64,
    adv_managed_flag: advertised.managed,
    adv_other_flag: advertised.other,
    adv_router_lifetime: advertised.lifetime_s,
    adv_neighbor_reachable_time: 0,
    adv_retransmit_interval: 0,
    adv_link_mtu: advertised.link_mtu,
    send_radv,
    cease_radv: false,
    send_unicast: false,
    adv_link_layer_address: true,
    max_radv_interval: advertised.interval_s_max,
    min_radv_interval: advertised.interval_s_min,
    last_radv_time: 0,
    last_multicast_time: 0,
    next_multicast_time: 0,
    initial_adverts_count: 3,
    initial_adverts_interval: 16,
    initial_adverts_sent: false,
    n_advertisements_sent: 0,
    n_solicitations_rcvd: 0,
    n_solicitations_dropped: 0,
    prefixes: [...advertised.prefixes].map(([prefix, { on_link, autonomous, valid_s, preferred_s }]) => ({
      prefix,
      onlink_flag: on_link,
      autonomous_flag: autonomous,
      val_lifetime: valid_s,
      pref_lifetime: preferred_s,
      valid_lifetime_expires: 0,
      pref_lifetime_expires: 0,
      decrement_lifetime_flag: true,
      no_advertise: false,
    })),
  };
}
