import {
  create_loopback,
  create_loopback_instance,
  delete_loopback,
  sw_interface_add_del_address,
  type sw_interface_details,
  sw_interface_dump,
  sw_interface_event,
  sw_interface_get_mac_address,
  sw_interface_get_table,
  sw_interface_rx_placement_dump,
  sw_interface_set_flags,
  sw_interface_set_mac_address,
  sw_interface_set_mtu,
  sw_interface_set_promisc,
  sw_interface_set_rx_mode,
  sw_interface_set_rx_placement,
  sw_interface_set_table,
  sw_interface_set_tx_placement,
  sw_interface_tag_add_del,
  sw_interface_tx_placement_get,
  want_interface_events,
} from 'vpp-binapi-ts/interface';
import { if_status_flags, type rx_mode } from 'vpp-binapi-ts/interface_types';
import { ip_address_dump } from 'vpp-binapi-ts/ip';
import { none } from '../fib.js';
import { type Handler, on, onDump, onPlain, onStream } from '../handler.js';
import { type Interface, rx_default } from '../interfaces.js';
import { refuse, retval } from '../outcome.js';
import type { VppState } from '../state.js';

const { IF_STATUS_API_FLAG_ADMIN_UP: admin_up, IF_STATUS_API_FLAG_LINK_UP: link_up } = if_status_flags;
const no_mac = '00:00:00:00:00:00';

export const interfaces: readonly Handler[] = [
  onDump(sw_interface_dump, (vpp, { sw_if_index, name_filter_valid, name_filter }) =>
    selected(vpp, sw_if_index === 0 ? none : sw_if_index)
      .filter((one) => !name_filter_valid || one.name.includes(name_filter))
      .map(details),
  ),
  onPlain(sw_interface_set_flags, (vpp, { sw_if_index, flags }) => {
    const one = vpp.interfaces.get(sw_if_index);
    const up = (flags & admin_up) !== 0;
    const changes = one.admin_up !== up;
    vpp.interfaces.setAdmin(one, up);
    if (changes) tell(vpp, one, false);
  }),
  onPlain(sw_interface_set_mtu, (vpp, { sw_if_index, mtu }) => {
    vpp.interfaces.get(sw_if_index).mtu = [...mtu];
  }),
  onPlain(sw_interface_set_promisc, (vpp, { sw_if_index, promisc_on }) => {
    vpp.interfaces.get(sw_if_index).promisc = promisc_on;
  }),
  onPlain(sw_interface_tag_add_del, (vpp, { sw_if_index, is_add, tag }) => {
    vpp.interfaces.get(sw_if_index).tag = is_add ? tag : '';
  }),
  on(sw_interface_get_mac_address, { mac_address: no_mac }, (vpp, { sw_if_index }) => ({
    mac_address: vpp.interfaces.get(sw_if_index).mac,
  })),
  onPlain(sw_interface_set_table, (vpp, { sw_if_index, is_ipv6, vrf_id }) => {
    const one = vpp.interfaces.get(sw_if_index);
    vpp.cnat.checkBind();
    vpp.interfaces.bind(one, is_ipv6 ? 6 : 4, vrf_id);
  }),
  onPlain(sw_interface_set_mac_address, (vpp, { sw_if_index, mac_address }) => {
    const one = vpp.interfaces.get(sw_if_index);
    if (!one.ethernet) refuse(retval.UNIMPLEMENTED);
    one.mac = mac_address;
  }),
  on(sw_interface_get_table, { vrf_id: none }, (vpp, { sw_if_index, is_ipv6 }) => ({
    vrf_id: vpp.interfaces.get(sw_if_index).tables[is_ipv6 ? 6 : 4].table_id,
  })),
  onPlain(sw_interface_add_del_address, (vpp, { sw_if_index, is_add, del_all, prefix }) => {
    const one = vpp.interfaces.get(sw_if_index);
    if (del_all) {
      for (const known of [...one.addresses[4], ...one.addresses[6]])
        vpp.interfaces.removeAddress(one, known);
    } else if (is_add) vpp.interfaces.addAddress(one, prefix);
    else vpp.interfaces.removeAddress(one, prefix);
  }),
  onDump(ip_address_dump, (vpp, { sw_if_index, is_ipv6 }) =>
    (vpp.interfaces.all.get(sw_if_index)?.addresses[is_ipv6 ? 6 : 4] ?? []).map((prefix) => ({
      sw_if_index,
      prefix,
    })),
  ),
  on(create_loopback, { sw_if_index: none }, (vpp, { mac_address }) => loopback(vpp, mac_address)),
  on(create_loopback_instance, { sw_if_index: none }, (vpp, { mac_address, is_specified, user_instance }) =>
    loopback(vpp, mac_address, is_specified ? user_instance : undefined),
  ),
  onPlain(delete_loopback, (vpp, { sw_if_index }) => {
    const one = vpp.interfaces.get(sw_if_index);
    if (one.dev_type !== 'Loopback') refuse(retval.INVALID_SW_IF_INDEX);
    removeInterface(vpp, one);
    vpp.interfaces.instances.loopback.free(one.instance);
  }),
  onPlain(want_interface_events, (vpp, { enable_disable, pid }, caller) => {
    const known = vpp.interface_listeners;
    if (enable_disable === 0) known.delete(caller);
    else if (!known.has(caller)) {
      known.set(caller, pid);
      caller.onGone(() => known.delete(caller));
    }
  }),
  ...queues(),
];

const loopback_instances_max = 16 * 1024;

function loopback(vpp: VppState, mac_address: string, wanted?: number): { readonly sw_if_index: number } {
  const known = vpp.interfaces.instances.loopback;
  if (wanted !== undefined && (wanted >= loopback_instances_max || known.has(wanted)))
    refuse(retval.INVALID_REGISTRATION);
  const instance = known.take(wanted);
  const last_byte = (instance & 0xff).toString(16).padStart(2, '0');
  const mac = mac_address === no_mac ? `de:ad:00:00:00:${last_byte}` : mac_address;
  const made = { name: `loop${instance}`, dev_type: 'Loopback', ethernet: true, mac, instance } as const;
  return { sw_if_index: vpp.interfaces.create(made).sw_if_index };
}

function queues(): readonly Handler[] {
  return [
    onPlain(sw_interface_set_rx_mode, (vpp, { sw_if_index, queue_id_valid, queue_id, mode }) => {
      const one = vpp.interfaces.get(sw_if_index);
      if (mode === 'RX_MODE_API_ADAPTIVE' && one.dev_type === 'af-packet') refuse(retval.UNIMPLEMENTED);
      const chosen = mode === 'RX_MODE_API_DEFAULT' ? rx_default : mode;
      for (const [id, queue] of one.rx.entries()) {
        if (!queue_id_valid || id === queue_id) queue.mode = chosen;
      }
    }),
    onPlain(sw_interface_set_rx_placement, (vpp, { sw_if_index, queue_id, worker_id, is_main }) => {
      const queue = vpp.interfaces.get(sw_if_index).rx[queue_id] ?? refuse(retval.UNIMPLEMENTED);
      // Without workers, worker 0 is the main thread.
      if (!is_main && worker_id > 0) refuse(retval.UNIMPLEMENTED);
      queue.worker_id = 0;
    }),
    onDump(sw_interface_rx_placement_dump, (vpp, { sw_if_index }) =>
      selected(vpp, sw_if_index).flatMap((one) =>
        one.rx.map(({ mode, worker_id }, queue_id) => ({
          sw_if_index: one.sw_if_index,
          queue_id,
          worker_id,
          mode: mode as rx_mode,
        })),
      ),
    ),
    onPlain(sw_interface_set_tx_placement, (vpp, { sw_if_index, queue_id }) => {
      if (queue_id >= vpp.interfaces.get(sw_if_index).tx_queues) refuse(retval.INVALID_VALUE);
    }),
    // Only the first queue has a thread where there is one thread.
    onStream(sw_interface_tx_placement_get, (vpp, { sw_if_index }) => {
      const found = selected(vpp, sw_if_index);
      const details = found.flatMap((one) =>
        Array.from({ length: one.tx_queues }, (_, queue_id) => ({
          sw_if_index: one.sw_if_index,
          queue_id,
          shared: 0,
          threads: queue_id === 0 ? [0] : [],
        })),
      );
      return { details, reply: { retval: 0, cursor: details.length } };
    }),
  ];
}

function selected(vpp: VppState, sw_if_index: number): Interface[] {
  const all = [...vpp.interfaces.all];
  return sw_if_index === none ? all : all.filter((one) => one.sw_if_index === sw_if_index);
}

function flagsOf(one: Interface): number {
  return (one.admin_up ? admin_up : 0) | (one.link_up ? link_up : 0);
}

function details(one: Interface): sw_interface_details {
  return {
    sw_if_index: one.sw_if_index,
    sup_sw_if_index: one.sw_if_index,
    l2_address: one.mac,
    flags: flagsOf(one),
    type: 'IF_API_TYPE_HARDWARE',
    link_duplex: 'LINK_DUPLEX_API_UNKNOWN',
    link_speed: 0,
    link_mtu: one.link_mtu,
    mtu: one.mtu,
    sub_id: 0,
    sub_number_of_tags: 0,
    sub_outer_vlan_id: 0,
    sub_inner_vlan_id: 0,
    sub_if_flags: 0,
    vtr_op: 0,
    vtr_push_dot1q: 0,
    vtr_tag1: 0,
    vtr_tag2: 0,
    outer_tag: 0,
    b_dmac: no_mac,
    b_smac: no_mac,
    b_vlanid: 0,
    i_sid: 0,
    interface_name: one.name,
    interface_dev_type: one.dev_type,
    tag: one.tag,
  };
}

function tell(vpp: VppState, one: Interface, deleted: boolean): void {
  for (const [caller, pid] of vpp.interface_listeners) {
    caller.send(sw_interface_event, { pid, sw_if_index: one.sw_if_index, flags: flagsOf(one), deleted });
  }
}

/** With its event. */
export function removeInterface(vpp: VppState, one: Interface): void {
  vpp.deleteInterface(one.sw_if_index);
  one.link_up = false;
  tell(vpp, one, true);
}
