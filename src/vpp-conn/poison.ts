/**
 * Requests of which VPP dies, or which it accepts and gets wrong for good. They are refused here, before they are sent, whoever
 * asks and for whatever reason. Each rule names what was seen (docs/vpp-notes.md); those that need to know what VPP was told
 * before ask its `Life`, and let pass what nobody can know.
 */
import type { Request } from 'vpp-binapi-ts';
import { af_packet_create_v3 } from 'vpp-binapi-ts/af_packet';
import { af_xdp_create_v3 } from 'vpp-binapi-ts/af_xdp';
import {
  cnat_set_snat_addresses_v2,
  type cnat_translation,
  cnat_translation_update,
  feature_cnat_enable_disable,
} from 'vpp-binapi-ts/cnat';
import { dev_attach } from 'vpp-binapi-ts/dev';
import type { fib_path } from 'vpp-binapi-ts/fib_types';
import {
  ikev2_initiate_sa_init,
  ikev2_profile_add_del,
  ikev2_profile_set_auth,
  ikev2_profile_set_id,
  ikev2_profile_set_ts,
  ikev2_set_esp_transforms,
  ikev2_set_ike_transforms,
  ikev2_set_responder,
  ikev2_set_tunnel_interface,
} from 'vpp-binapi-ts/ikev2';
import { sw_interface_set_flags } from 'vpp-binapi-ts/interface';
import { if_status_flags } from 'vpp-binapi-ts/interface_types';
import {
  add_del_ip_punt_redirect_v2,
  ip_mroute_add_del,
  ip_path_mtu_update,
  ip_route_add_del_v2,
  type ip_route_add_del_v2_in,
  ip_table_add_del_v2,
} from 'vpp-binapi-ts/ip';
import { ip_session_redirect_add_v2 } from 'vpp-binapi-ts/ip_session_redirect';
import { ipip_del_tunnel } from 'vpp-binapi-ts/ipip';
import { memif_create_v2 } from 'vpp-binapi-ts/memif';
import {
  npol_configure_policies,
  npol_ipset_add_del_members,
  npol_policy_create,
  type npol_policy_item,
  npol_policy_update,
  type npol_rule,
  npol_rule_create,
  npol_rule_update,
} from 'vpp-binapi-ts/npol';
import { type pbl_client_in, pbl_client_update } from 'vpp-binapi-ts/pbl';
import { rdma_create_v2, rdma_create_v4 } from 'vpp-binapi-ts/rdma';
import { app_namespace_add_del_v4 } from 'vpp-binapi-ts/session';
import {
  sr_policy_add_v2,
  sr_policy_mod_v2,
  sr_steering_add_del,
  type srv6_sid_list,
} from 'vpp-binapi-ts/sr';
import { tap_create_v3 } from 'vpp-binapi-ts/tapv2';
import { vxlan_add_del_tunnel_v3 } from 'vpp-binapi-ts/vxlan';
import { wireguard_interface_delete } from 'vpp-binapi-ts/wireguard';
import { networkOf } from '../ip/prefix.js';
import { isUnspecified } from '../ip/spelling.js';
import { type Family, familyOf } from '../ip/text.js';
import type { Call } from './call.js';
import type { Life } from './life.js';
import { isRecursive, no_interface } from './paths.js';

/** VPP would not survive this, or would be wrong ever after. */
export class DeadlyRequest extends Error {
  override readonly name = 'DeadlyRequest';
  readonly code = 'deadly';
}

/** Why this request is not sent; undefined: it is. `step`: all that is sent at once, it among them, of which nothing is sent yet. */
export function refusal(
  { message, fields }: Call,
  life: Life,
  step: readonly Call[] = [],
): DeadlyRequest | undefined {
  const why = rules.get(message)?.(fields, life, step);
  return why === undefined ? undefined : new DeadlyRequest(`${message.name} is not sent: ${why}`);
}

type Why = string | undefined;
type Rule = (fields: unknown, life: Life, step: readonly Call[]) => Why;

function rule<In>(
  message: Request<In, unknown>,
  judge: (fields: NoInfer<In>, life: Life, step: readonly Call[]) => Why,
): readonly [unknown, Rule] {
  return [message, (fields, life, step) => judge(fields as In, life, step)];
}

/** A link's name has 15 characters; VPP cuts a longer one, says 0, and the link has another name than the one asked for. */
const link_name_max = 15;
const linkName = (name: string): Why =>
  name.length > link_name_max
    ? `the name ${name} of a Linux link has more than ${link_name_max} characters`
    : undefined;

// --- cnat

/**
 * An interface that was bound to a table before cnat set itself up gets no sessions, hence neither services nor policies; with
 * traffic the next bind makes VPP spin for ever.
 */
function tooLate(life: Life): Why {
  const [first] = life.cnat_begun ? [] : life.bound;
  return first === undefined
    ? undefined
    : `it would be cnat's first, and interface ${first} is bound to a table already`;
}

/** VPP's load-balance objects have no more buckets; only a debug build says so. */
const backends_max = 8192;

function translation({ vip, paths }: cnat_translation): Why {
  if (paths.length === 0) return 'a translation without back ends makes VPP allocate 2^32 of them';
  if (paths.length > backends_max)
    return `${paths.length} back ends are more than the ${backends_max} that VPP has room for`;
  const of_interface = [vip, ...paths.flatMap(({ dst_ep, src_ep }) => [dst_ep, src_ep])].find(
    ({ sw_if_index }) => sw_if_index !== no_interface,
  );
  if (of_interface !== undefined) {
    return `sw_if_index ${of_interface.sw_if_index} stands for whatever address that interface has`;
  }
  const seen = new Set<string>();
  for (const { dst_ep, src_ep } of paths) {
    const text = `${dst_ep.addr} ${dst_ep.port} ${dst_ep.sw_if_index} ${src_ep.addr} ${src_ep.port}`;
    if (seen.has(text)) {
      return `back end ${dst_ep.addr} port ${dst_ep.port} is in it twice: VPP loses track of it, and dies at the next route to it`;
    }
    seen.add(text);
  }
  return undefined;
}

function snatAddresses({ snat_ip4, snat_ip6, sw_if_index }: cnat_set_snat_addresses_v2, life: Life): Why {
  const none_given = isUnspecified(snat_ip4) && isUnspecified(snat_ip6) && sw_if_index === no_interface;
  return none_given ? 'without any address it frees the policy, which VPP goes on using' : tooLate(life);
}

// --- routes

const isBier = ({ type }: fib_path): boolean => type === 'FIB_API_PATH_TYPE_BIER_IMP';

function paths(all: readonly fib_path[]): Why {
  return all.some(isBier) ? 'VPP dies of a path of type BIER whose id does not exist' : undefined;
}

function route(
  { is_add = true, is_multipath, route: { table_id, prefix, src, paths: all } }: ip_route_add_del_v2_in,
  life: Life,
): Why {
  if (is_multipath) {
    return 'VPP dies of a path that is added beside one through a deleted interface: routes are sent whole';
  }
  const deadly = paths(all);
  if (deadly !== undefined || !is_add) return deadly;
  // A hundred thousand of them: no function is made for each.
  for (const path of all) {
    const why = routePath(path, table_id, prefix, life);
    if (why !== undefined) return why;
  }
  return around(table_id, prefix, all, life) ?? recursive(all, src, life);
}

/** VPP dies of the first packet that goes by tunnels which are led to their far ends by each other. */
function around(table_id: number, prefix: string, all: readonly fib_path[], life: Life): Why {
  const through = life.tunnel_routes.through({ table_id, prefix, paths: all });
  if (through === undefined) return undefined;
  return `${prefix} has the far end of tunnel ${through} in it, by which routes lead, and leads into a tunnel itself`;
}

/** VPP dies where two sources have such routes to one prefix, by one next hop among others. */
function recursive(all: readonly fib_path[], src: number, life: Life): Why {
  const { recursive_source } = life;
  if (recursive_source === undefined || recursive_source === src || !all.some(isRecursive)) return undefined;
  return `next hops without an interface are for one FIB source alone, and ${recursive_source} has some already`;
}

function routePath(path: fib_path, table_id: number, prefix: string, life: Life): Why {
  if (path.type !== 'FIB_API_PATH_TYPE_NORMAL' || path.sw_if_index === no_interface) return undefined;
  if (path.rpf_id !== 0 && path.rpf_id !== no_interface) {
    return `with RPF id ${path.rpf_id} VPP loses interface and next hop of the path`;
  }
  const by = life.interfaces.get(path.sw_if_index);
  if (by?.vxlan && isUnspecified(path.nh.address)) {
    return `${prefix} leads by a VXLAN tunnel without Ethernet and has no next hop: VPP dies of the first packet`;
  }
  const bound_to = by?.tables[familyOf(prefix)];
  if (bound_to === undefined || bound_to === table_id || !isUnspecified(path.nh.address)) return undefined;
  return (
    `${prefix} of table ${table_id} is attached (has no next hop) to an interface of table ${bound_to}: ` +
    'VPP dies when that interface and its table go'
  );
}

/** What would be left behind drops its packets for ever, once the next interface has the tunnel's index. */
function tunnelGoes(sw_if_index: number, life: Life): Why {
  const route = life.tunnel_routes.oneBy(sw_if_index);
  return route === undefined ? undefined : `route ${route} still leads by tunnel ${sw_if_index}`;
}

/** IKE goes on to give its SAs to whatever gets the tunnel's index next. */
function stillOfIke(sw_if_index: number, life: Life): Why {
  const name = life.ikeProfileOf(sw_if_index);
  return name === undefined ? undefined : `IKE profile ${name} still has tunnel ${sw_if_index}`;
}

/** VPP's IKE looks for a profile in a table that it makes with the first one. */
const ofProfile = (_: unknown, life: Life, step: readonly Call[]): Why =>
  life.ike_begun || step[0]?.message === ikev2_profile_add_del
    ? undefined
    : "VPP's IKE has had no profile yet, and dies of a request about one";

/** What goes by it before IKE has an SA leaves in clear. */
function broughtUp(sw_if_index: number, life: Life): Why {
  const name = life.ikeProfileOf(sw_if_index);
  return name === undefined
    ? undefined
    : `interface ${sw_if_index} is brought up by IKE, profile ${name}, alone`;
}

/** VPP takes a larger one, and sends what is left of it in 24 bits: that of another tunnel. */
const vni_max = 2 ** 24 - 1;

/** A table that uRPF looks up is not kept by that: packets are dropped, and later judged by whichever table gets its place. */
function tableChange(is_add: boolean, family: Family, table_id: number, life: Life): Why {
  const user = is_add ? undefined : life.urpfOf(family, table_id);
  return user === undefined ? undefined : `uRPF of interface ${user} looks up table ${table_id}`;
}

/**
 * VPP's main thread spins for ever at the 63rd address that is neither in the subnet of an interface nor has a host route, whatever
 * route covers it.
 */
function pathMtu(nh: string, table_id: number, life: Life): Why {
  if (life.programmed === 'before') return undefined;
  const family = familyOf(nh);
  const on_link = [...life.interfaces.values()].some(
    ({ tables, addresses }) =>
      tables[family] === table_id && [...addresses].some((prefix) => contains(prefix, nh)),
  );
  return on_link ? undefined : `${nh} is in no subnet of an interface of table ${table_id}`;
}

function contains(prefix: string, address: string): boolean {
  if (familyOf(prefix) !== familyOf(address)) return false;
  return networkOf(`${address}${prefix.slice(prefix.indexOf('/'))}`) === networkOf(prefix);
}

// --- segment routing

/** VPP makes the header of the list at once, of its first segment. */
const segments = ({ sids }: srv6_sid_list): Why =>
  sids.length === 0 ? 'VPP dies of a list without segments' : undefined;

const steering = (prefix: string, table_id: number, life: Life): Why =>
  life.lacksTable(familyOf(prefix), table_id)
    ? `there is no table ${table_id} to steer in: VPP dies`
    : undefined;

// --- pods' ports

/**
 * VPP dies of a table that does not exist. That there is one is known where the interface was bound to it; of an interface that was there before,
 * nothing is.
 */
function pblClient({ addr, paths: { sw_if_index }, table_id }: pbl_client_in, life: Life): Why {
  const bound_to = life.interfaces.get(sw_if_index)?.tables[familyOf(addr)];
  return bound_to === undefined || bound_to === table_id
    ? undefined
    : `interface ${sw_if_index} is not bound to table ${table_id}, which may not exist: VPP would die`;
}

// --- npol

function npolRule({ matches }: npol_rule, life: Life): Why {
  return firstOf(matches, ({ data }) => {
    if (!('set_id' in data)) return undefined;
    const { set_id } = data.set_id;
    return life.isGone('sets', set_id)
      ? `there is no IP set ${set_id}: VPP dies of the first packet`
      : undefined;
  });
}

function npolPolicy(items: readonly npol_policy_item[], life: Life): Why {
  return firstOf(items, ({ rule_id }) =>
    life.isGone('rules', rule_id) ? `there is no rule ${rule_id}: VPP dies of the first packet` : undefined,
  );
}

/** VPP makes a new one in its place, and does not say which. */
function updated(pool: 'rules' | 'policies', id: number, life: Life): Why {
  return life.isGone(pool, id) ? `there is nothing with id ${id} to update` : undefined;
}

function configuration(
  { num_rx_policies, num_tx_policies, invert_rx_tx, policy_ids }: npol_configure_policies,
  life: Life,
): Why {
  const announced = num_rx_policies + num_tx_policies;
  if (announced > policy_ids.length) {
    return `it announces ${announced} policies and has ${policy_ids.length}: VPP dies of it`;
  }
  if (invert_rx_tx > 1) return `invert_rx_tx ${invert_rx_tx} makes VPP use one list for both directions`;
  return firstOf(policy_ids, (id) => (life.isGone('policies', id) ? `there is no policy ${id}` : undefined));
}

function firstOf<T>(all: readonly T[], judge: (one: T) => Why): Why {
  for (const one of all) {
    const why = judge(one);
    if (why !== undefined) return why;
  }
  return undefined;
}

const match_bytes_max = 80;

const rules: ReadonlyMap<unknown, Rule> = new Map([
  rule(tap_create_v3, ({ host_if_name_set, host_if_name }) =>
    host_if_name_set ? linkName(host_if_name) : undefined,
  ),
  rule(af_packet_create_v3, ({ host_if_name }) => linkName(host_if_name)),
  rule(af_xdp_create_v3, ({ host_if }) => linkName(host_if)),
  rule(dev_attach, (_, life) =>
    life.dev_refused ? 'VPP may die of it after one that it has refused' : undefined,
  ),
  rule(app_namespace_add_del_v4, ({ is_add = true, namespace_id }, life) => {
    const known = life.app_namespaces.get(namespace_id);
    if (is_add) return known && `VPP was asked for the application namespace ${namespace_id} before`;
    return known === 'half' ? `VPP has half of the application namespace ${namespace_id}` : undefined;
  }),
  rule(rdma_create_v2, ({ host_if }) => linkName(host_if)),
  rule(rdma_create_v4, ({ host_if }) => linkName(host_if)),
  rule(memif_create_v2, ({ mode = 'MEMIF_MODE_API_ETHERNET' }) =>
    mode === 'MEMIF_MODE_API_ETHERNET' || mode === 'MEMIF_MODE_API_IP'
      ? undefined
      : `VPP dies of a memif with mode ${mode}`,
  ),
  rule(pbl_client_update, ({ client }, life) => pblClient(client, life)),

  rule(cnat_translation_update, (fields, life) => translation(fields.translation) ?? tooLate(life)),
  rule(cnat_set_snat_addresses_v2, snatAddresses),
  rule(feature_cnat_enable_disable, ({ enable_disable }, life) =>
    enable_disable ? tooLate(life) : undefined,
  ),

  rule(ip_route_add_del_v2, route),
  rule(ip_mroute_add_del, (fields) => paths(fields.route.paths.map(({ path }) => path))),
  rule(add_del_ip_punt_redirect_v2, ({ punt }) => paths(punt.paths)),
  rule(ip_table_add_del_v2, ({ is_add = true, table }, life) =>
    tableChange(is_add, table.is_ip6 ? 6 : 4, table.table_id, life),
  ),
  rule(
    ipip_del_tunnel,
    ({ sw_if_index }, life) => tunnelGoes(sw_if_index, life) ?? stillOfIke(sw_if_index, life),
  ),
  rule(sw_interface_set_flags, ({ sw_if_index, flags }, life) =>
    (flags & if_status_flags.IF_STATUS_API_FLAG_ADMIN_UP) === 0 ? undefined : broughtUp(sw_if_index, life),
  ),
  rule(ikev2_set_tunnel_interface, ofProfile),
  rule(ikev2_profile_set_id, ofProfile),
  rule(ikev2_profile_set_ts, ofProfile),
  rule(ikev2_profile_set_auth, ofProfile),
  rule(ikev2_set_responder, ofProfile),
  rule(ikev2_set_ike_transforms, ofProfile),
  rule(ikev2_set_esp_transforms, ofProfile),
  rule(ikev2_initiate_sa_init, ofProfile),
  rule(wireguard_interface_delete, ({ sw_if_index }, life) => tunnelGoes(sw_if_index, life)),
  rule(vxlan_add_del_tunnel_v3, (fields, life) => {
    if (!(fields.is_add ?? true)) return tunnelGoes(life.vxlan(fields), life);
    return fields.vni > vni_max ? `VNI ${fields.vni} has more than 24 bits` : undefined;
  }),
  rule(ip_path_mtu_update, ({ pmtu }, life) => pathMtu(pmtu.nh, pmtu.table_id, life)),
  rule(sr_policy_add_v2, ({ sids }) => segments(sids)),
  rule(sr_policy_mod_v2, ({ sids }) => segments(sids)),
  rule(sr_steering_add_del, ({ prefix, table_id }, life) => steering(prefix, table_id, life)),
  rule(ip_session_redirect_add_v2, (fields) =>
    fields.match_len > match_bytes_max
      ? `match_len ${fields.match_len} is more than the ${match_bytes_max} bytes of the match`
      : paths(fields.paths),
  ),

  rule(npol_rule_create, (fields, life) => npolRule(fields.rule, life)),
  rule(
    npol_rule_update,
    (fields, life) => updated('rules', fields.rule_id, life) ?? npolRule(fields.rule, life),
  ),
  rule(npol_policy_create, (fields, life) => npolPolicy(fields.rules, life)),
  rule(
    npol_policy_update,
    (fields, life) => updated('policies', fields.policy_id, life) ?? npolPolicy(fields.rules, life),
  ),
  rule(npol_configure_policies, configuration),
  // VPP's comparison is the wrong way round: all go but those of the same protocol and port with another address.
  rule(npol_ipset_add_del_members, ({ is_add, set_id, members }, life) =>
    !is_add && life.typeOfSet(set_id) === 'NPOL_IP_AND_PORT' && !life.isOfOnePort(set_id, members)
      ? `VPP removes the wrong members of IP set ${set_id}, which are addresses with several ports: make a new set`
      : undefined,
  ),
]);
