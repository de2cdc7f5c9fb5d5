import {
  classify_add_del_session,
  classify_add_del_table,
  classify_session_dump,
  classify_table_by_interface,
  classify_table_ids,
  classify_table_info,
  input_acl_set_interface,
  output_acl_set_interface,
  punt_acl_add_del,
  punt_acl_get,
} from 'vpp-binapi-ts/classify';
import {
  ip_session_redirect_add_v2,
  ip_session_redirect_del,
  ip_session_redirect_dump,
} from 'vpp-binapi-ts/ip_session_redirect';
import { punt_reason_dump, punt_socket_deregister, set_punt } from 'vpp-binapi-ts/punt';
import { urpf_interface_dump, type urpf_mode, urpf_update, urpf_update_v2 } from 'vpp-binapi-ts/urpf';
import { none } from '../fib.js';
import { type Handler, on, onDump, onPlain } from '../handler.js';
import { refuse, retval } from '../outcome.js';
import { afOf, familyFrom } from '../prefix.js';
import type { Urpf, VppState } from '../state.js';

const match_bytes = 80;
/** In the order of their ids, from 1. */
const punt_reasons = [
  'ipsec4-spi-o-udp-0',
  'ipsec4-no-such-tunnel',
  'ipsec6-no-such-tunnel',
  'ipsec6-spi-o-udp-0',
];

export const policy: readonly Handler[] = [
  onPlain(urpf_update, (vpp, { is_input, mode, af, sw_if_index }) => {
    changeUrpf(vpp, { is_input, mode, af, sw_if_index, table_id: none });
  }),
  onPlain(urpf_update_v2, changeUrpf),
  onDump(urpf_interface_dump, (vpp, { sw_if_index }) =>
    [...vpp.urpf.values()]
      .filter((one) => vpp.interfaces.all.get(one.sw_if_index) !== undefined)
      .filter((one) => sw_if_index === none || one.sw_if_index === sw_if_index)
      .map(({ family, slot, mode, ...one }) => ({
        ...one,
        mode: mode as urpf_mode,
        af: afOf(family),
        table_id: vpp.fib.tableIdOfSlot(family, slot),
      })),
  ),
  onDump(punt_reason_dump, (_vpp, { reason: { name } }) =>
    punt_reasons
      .map((reason, index) => ({ reason: { id: index + 1, name: reason } }))
      .filter(({ reason }) => name === '' || reason.name === name),
  ),
  // What is not registered is no error.
  onPlain(punt_socket_deregister, ({ has_punt_socket }) => {
    if (!has_punt_socket) refuse(retval.UNSPECIFIED);
  }),
  onPlain(set_punt, (vpp, { is_add, punt }) => {
    const key =
      punt.type === 'PUNT_API_TYPE_L4' && 'l4' in punt.punt ? l4Key(punt.punt.l4) : JSON.stringify(punt);
    if (is_add) vpp.punted.add(key);
    else vpp.punted.delete(key);
  }),
  ...classifier(),
  ...redirects(),
];

function l4Key({ af, protocol, port }: { af: string; protocol: string; port: number }): string {
  if (protocol !== 'IP_API_PROTO_TCP' && protocol !== 'IP_API_PROTO_UDP') refuse(retval.UNSPECIFIED);
  return `${af} ${protocol} ${port}`;
}

interface UrpfChange {
  readonly is_input: boolean;
  readonly mode: urpf_mode;
  readonly af: string;
  readonly sw_if_index: number;
  readonly table_id: number;
}

/** Features change only when VPP's memory of the interface does, be that memory of an interface that was deleted. */
function changeUrpf(vpp: VppState, { is_input, mode, af, sw_if_index, table_id }: UrpfChange): void {
  const one = vpp.interfaces.get(sw_if_index);
  const family = familyFrom(af);
  const table = table_id === none ? one.tables[family] : vpp.fib.table(family, table_id);
  const { slot } = table ?? refuse(retval.INVALID_VALUE);
  const direction = is_input ? 'rx' : 'tx';
  const key = `${sw_if_index}/${direction}/${family}`;
  const old = vpp.urpf.get(key);
  const feature = ({ mode }: Pick<Urpf, 'mode'>) =>
    `ip${family}-${is_input ? 'unicast' : 'output'}/ip${family}-${direction}-urpf-${mode.endsWith('LOOSE') ? 'loose' : 'strict'}`;
  const off = 'URPF_API_MODE_OFF';
  vpp.urpf.set(key, { sw_if_index, is_input, family, mode, slot });
  const before = old ?? { mode: off, slot: 0 };
  if (before.mode === mode && before.slot === slot) return;
  if (before.mode !== off) vpp.features.set(sw_if_index, [feature(before)], false);
  if (mode !== off) vpp.features.set(sw_if_index, [feature({ mode })], true);
}

function classifier(): readonly Handler[] {
  const refused = { new_table_index: none, skip_n_vectors: none, match_n_vectors: none };
  return [
    on(classify_add_del_table, refused, (vpp, asked) => {
      if (!asked.is_add) {
        if (vpp.classify_tables.get(asked.table_index) === undefined) refuse(retval.NO_SUCH_TABLE);
        vpp.classify_tables.remove(asked.table_index);
        vpp.classify_sessions.delete(asked.table_index);
        return refused;
      }
      const { nbuckets, skip_n_vectors, match_n_vectors, next_table_index, miss_next_index, mask } = asked;
      const rest = { nbuckets, skip_n_vectors, match_n_vectors, next_table_index, miss_next_index, mask };
      const { index } = vpp.classify_tables.add((index) => ({ index, ...rest }));
      return { new_table_index: index, skip_n_vectors, match_n_vectors };
    }),
    onPlain(classify_add_del_session, (vpp, { is_add, table_index, match }) => {
      if (vpp.classify_tables.get(table_index) === undefined) refuse(retval.NO_SUCH_TABLE);
      const sessions = vpp.classify_sessions.get(table_index) ?? new Set();
      vpp.classify_sessions.set(table_index, sessions);
      const key = Buffer.from(match).toString('hex');
      if (is_add) sessions.add(key);
      else if (!sessions.delete(key)) refuse(retval.NO_SUCH_ENTRY);
    }),
    onPlain(punt_acl_add_del, (vpp, asked) => {
      const { is_add = true, ip4_table_index = none, ip6_table_index = none } = asked;
      for (const [family, index] of [[4, ip4_table_index] as const, [6, ip6_table_index] as const]) {
        if (index === none) continue;
        if (vpp.classify_tables.get(index) === undefined) refuse(retval.NO_SUCH_TABLE);
        if (is_add) {
          if (!vpp.punt_acls.has(family)) vpp.punt_acls.set(family, index);
        } else {
          if (vpp.punt_acls.get(family) !== index) refuse(retval.NO_SUCH_TABLE);
          vpp.punt_acls.delete(family);
        }
      }
    }),
    on(punt_acl_get, { ip4_table_index: none, ip6_table_index: none }, (vpp) => ({
      ip4_table_index: vpp.punt_acls.get(4) ?? none,
      ip6_table_index: vpp.punt_acls.get(6) ?? none,
    })),
    on(classify_table_ids, { ids: [] }, (vpp) => ({
      ids: [...vpp.classify_tables].map(({ index }) => index),
    })),
    on(
      classify_table_info,
      {
        table_id: 0,
        nbuckets: 0,
        match_n_vectors: 0,
        skip_n_vectors: 0,
        active_sessions: 0,
        next_table_index: 0,
        miss_next_index: 0,
        mask: new Uint8Array(),
      },
      (vpp, { table_id }) => {
        const { index: _, ...table } =
          vpp.classify_tables.get(table_id) ?? refuse(retval.CLASSIFY_TABLE_NOT_FOUND);
        return {
          ...table,
          table_id,
          active_sessions:
            sessionsOf(vpp, table_id).length + (vpp.classify_sessions.get(table_id)?.size ?? 0),
        };
      },
    ),
    onDump(classify_session_dump, (vpp, { table_id }) => {
      const table = vpp.classify_tables.get(table_id);
      if (table === undefined) return [];
      return sessionsOf(vpp, table_id).map(({ match, opaque_index }) => ({
        retval: 0,
        table_id,
        hit_next_index: 0,
        advance: 0,
        opaque_index,
        match: padded(match, table.mask.length),
      }));
    }),
    onPlain(input_acl_set_interface, (vpp, asked) =>
      setAcl(vpp, vpp.input_acls, 'unicast/ip{}-inacl', asked),
    ),
    onPlain(output_acl_set_interface, (vpp, asked) =>
      setAcl(vpp, vpp.output_acls, 'output/ip{}-outacl', asked),
    ),
    on(
      classify_table_by_interface,
      { sw_if_index: 0, l2_table_id: none, ip4_table_id: none, ip6_table_id: none },
      (vpp, { sw_if_index }) => ({
        sw_if_index: vpp.interfaces.get(sw_if_index).sw_if_index,
        l2_table_id: none,
        ip4_table_id: vpp.input_acls.get(`${sw_if_index}/4`) ?? none,
        ip6_table_id: vpp.input_acls.get(`${sw_if_index}/6`) ?? none,
      }),
    ),
  ];
}

/** By interface and family. An interface that is deleted leaves its table behind. */
function setAcl(
  vpp: VppState,
  acls: Map<string, number>,
  feature_name: string,
  { sw_if_index, ip4_table_index, ip6_table_index, is_add }: input_acl_set_interface,
): void {
  vpp.interfaces.get(sw_if_index);
  for (const [family, index] of [[4, ip4_table_index] as const, [6, ip6_table_index] as const]) {
    if (index === none) continue;
    if (vpp.classify_tables.get(index) === undefined) refuse(retval.NO_SUCH_TABLE);
    const key = `${sw_if_index}/${family}`;
    const known = acls.get(key);
    const feature = [`ip${family}-${feature_name.replace('{}', `${family}`)}`];
    if (is_add) {
      if (known !== undefined) continue;
      acls.set(key, index);
      vpp.features.set(sw_if_index, feature, true);
    } else {
      if (known !== index) refuse(retval.NO_SUCH_TABLE);
      acls.delete(key);
      vpp.features.set(sw_if_index, feature, false);
    }
  }
}

function redirects(): readonly Handler[] {
  return [
    onPlain(ip_session_redirect_add_v2, (vpp, asked) => {
      const { table_index, opaque_index, is_punt, paths, proto } = asked;
      if (paths.length === 0) refuse(retval.NO_PATHS_IN_ROUTE);
      const match = asked.match.slice(0, asked.match_len);
      const key = sessionKey(table_index, match);
      const held = vpp.fib.hold(paths);
      vpp.redirects.get(key)?.release();
      const is_ip6 = proto === 'FIB_API_PATH_NH_PROTO_IP6';
      vpp.redirects.set(key, { ...held, table_index, opaque_index, is_punt, is_ip6, match });
      // VPP refuses only now, and keeps the session.
      if (vpp.classify_tables.get(table_index) === undefined) refuse(retval.NO_SUCH_TABLE);
    }),
    onPlain(ip_session_redirect_del, (vpp, { table_index, match }) => {
      const key = sessionKey(table_index, match);
      const session = vpp.redirects.get(key) ?? refuse(retval.NO_SUCH_ENTRY);
      session.release();
      vpp.redirects.delete(key);
    }),
    onDump(ip_session_redirect_dump, (vpp, { table_index }) =>
      [...vpp.redirects.values()]
        .filter((session) => table_index === none || session.table_index === table_index)
        .map(({ release: _, match, ...session }) => ({
          ...session,
          retval: 0,
          match_length: match.length,
          match: padded(match, match_bytes),
        })),
    ),
  ];
}

function sessionKey(table_index: number, match: Uint8Array): string {
  return `${table_index}/${Buffer.from(match).toString('hex')}`;
}

function sessionsOf(vpp: VppState, table_index: number) {
  return [...vpp.redirects.values()].filter((session) => session.table_index === table_index);
}

function padded(bytes: Uint8Array, length: number): Uint8Array {
  const whole = new Uint8Array(length);
  whole.set(bytes.subarray(0, length));
  return whole;
}
