import { af_packet_create_v3, af_packet_delete, af_packet_dump } from 'vpp-binapi-ts/af_packet';
import { af_xdp_create_v3, af_xdp_delete } from 'vpp-binapi-ts/af_xdp';
import { sw_interface_tap_v2_dump, tap_create_v3, tap_delete_v2, tap_flags } from 'vpp-binapi-ts/tapv2';
import { none } from '../fib.js';
import { type Handler, on, onDump, onPlain } from '../handler.js';
import type { TapInfo } from '../interfaces.js';
import { refuse, retval } from '../outcome.js';
import type { VppState } from '../state.js';
import { removeInterface } from './interface.js';

const ring_default = 256;
const ring_max = 32_768;
const no_mac = '00:00:00:00:00:00';

export const devices: readonly Handler[] = [
  on(tap_create_v3, { sw_if_index: none }, (vpp, asked) => {
    const { instances } = vpp.interfaces;
    if (asked.id !== none && instances.tap.has(asked.id)) refuse(retval.INVALID_INTERFACE);
    const attaches = (asked.tap_flags & tap_flags.TAP_API_FLAG_ATTACH) !== 0;
    if (attaches && !asked.host_if_name_set) refuse(retval.SYSCALL_ERROR_3);
    const tun = (asked.tap_flags & tap_flags.TAP_API_FLAG_TUN) !== 0;
    const rx_queues = Math.max(1, asked.num_rx_queues);
    const single = asked.num_rx_queues === 1 && asked.num_tx_queues === 1;
    const rx_ring_sz = asked.rx_ring_sz === 0 ? ring_default : asked.rx_ring_sz;
    const tx_ring_sz = asked.tx_ring_sz === 0 ? ring_default : asked.tx_ring_sz;
    const host_mac_addr = tun
      ? no_mac
      : asked.host_mac_addr_set
        ? asked.host_mac_addr
        : vpp.interfaces.randomMac();
    const device = vpp.facts.devices.openTap({
      namespace: asked.host_namespace_set ? asked.host_namespace : undefined,
      name: asked.host_if_name_set ? asked.host_if_name : undefined,
      tun,
      queues: single ? 1 : Math.max(2, rx_queues),
      persistent: (asked.tap_flags & tap_flags.TAP_API_FLAG_PERSIST) !== 0,
      mtu: asked.host_mtu_set ? asked.host_mtu_size : undefined,
      mac: tun ? undefined : host_mac_addr,
    });
    if (!isRingSize(rx_ring_sz) || !isRingSize(tx_ring_sz)) {
      device.close(false);
      refuse(retval.INIT_FAILED);
    }
    const id = instances.tap.take(asked.id === none ? undefined : asked.id);
    const buffers = rx_queues * rx_ring_sz;
    const starved = vpp.buffers_used + buffers > vpp.facts.buffers;
    if (!starved) vpp.buffers_used += buffers;
    const tap: TapInfo = {
      id,
      tx_ring_sz,
      rx_ring_sz,
      host_mtu_size: asked.host_mtu_set ? asked.host_mtu_size : 0,
      host_mac_addr,
      tap_flags: asked.tap_flags,
      host_if_name: asked.host_if_name_set ? asked.host_if_name : device.name,
      host_namespace: asked.host_namespace_set ? asked.host_namespace : '',
      device,
      starved,
      buffers: starved ? 0 : buffers,
    };
    const one = vpp.interfaces.create({
      name: `${tun ? 'tun' : 'tap'}${id}`,
      dev_type: 'tap',
      ethernet: !tun,
      mac: tun ? no_mac : asked.use_random_mac ? vpp.interfaces.randomMac() : asked.mac_address,
      instance: id,
      tap,
      rx_queues: single ? 1 : rx_queues,
      tx_queues: single ? 1 : Math.max(1, asked.num_tx_queues),
      link_up: true,
    });
    // A text of VPP ends at its first NUL.
    one.tag = asked.tag.replace(/\0.*$/s, '');
    return { sw_if_index: one.sw_if_index };
  }),
  onPlain(tap_delete_v2, (vpp, { sw_if_index }) => {
    const one = vpp.interfaces.get(sw_if_index);
    if (one.tap === undefined) refuse(retval.INVALID_SW_IF_INDEX);
    removeInterface(vpp, one);
    vpp.interfaces.instances.tap.free(one.tap.id);
    vpp.buffers_used -= one.tap.buffers;
    one.tap.device.close(false);
  }),
  onDump(sw_interface_tap_v2_dump, (vpp, { sw_if_index }) =>
    [...vpp.interfaces.all].flatMap((one) => {
      if (one.tap === undefined || (sw_if_index !== none && sw_if_index !== one.sw_if_index)) return [];
      const { device: _, starved: __, buffers: ___, ...tap } = one.tap;
      return [
        {
          ...tap,
          sw_if_index: one.sw_if_index,
          dev_name: one.name,
          host_ip4_prefix: '0.0.0.0/0',
          host_ip6_prefix: '::/0',
          host_bridge: '',
        },
      ];
    }),
  ),
  on(af_packet_create_v3, { sw_if_index: 0 }, (vpp, asked) => {
    if (!vpp.facts.devices.hasLink(asked.host_if_name)) refuse(retval.INVALID_INTERFACE);
    const known = afPacket(vpp, asked.host_if_name);
    if (known !== undefined) refuse(retval.IF_ALREADY_EXISTS, { sw_if_index: known.sw_if_index });
    const one = vpp.interfaces.create({
      name: `host-${asked.host_if_name}`,
      dev_type: 'af-packet',
      ethernet: asked.mode === 'AF_PACKET_API_MODE_ETHERNET',
      mac: asked.use_random_hw_addr ? vpp.interfaces.randomMac() : asked.hw_addr,
      instance: 0,
      host_if_name: asked.host_if_name,
      rx_queues: Math.max(1, asked.num_rx_queues),
      tx_queues: Math.max(1, asked.num_tx_queues),
      rx_mode: 'RX_MODE_API_INTERRUPT',
      link_up: true,
    });
    return { sw_if_index: one.sw_if_index };
  }),
  onPlain(af_packet_delete, (vpp, { host_if_name }) => {
    removeInterface(vpp, afPacket(vpp, host_if_name) ?? refuse(retval.SYSCALL_ERROR_1));
  }),
  onDump(af_packet_dump, (vpp) =>
    [...vpp.interfaces.all]
      .filter((one) => one.dev_type === 'af-packet')
      .map((one) => ({ sw_if_index: one.sw_if_index, host_if_name: one.host_if_name! })),
  ),
  ...afXdp(),
];

function afXdp(): readonly Handler[] {
  return [
    on(af_xdp_create_v3, { sw_if_index: 0 }, (vpp, { host_if, name, rxq_num, rxq_size, txq_size }) => {
      if (!vpp.facts.devices.hasLink(host_if)) refuse(retval.INVALID_VALUE);
      if (!isRingSize(rxq_size) || !isRingSize(txq_size)) refuse(retval.INVALID_VALUE);
      const known = [...vpp.interfaces.all].some(
        (one) => one.dev_type === 'AF_XDP interface' && one.host_if_name === host_if,
      );
      if (known) refuse(retval.SYSCALL_ERROR_2);
      const one = vpp.interfaces.create({
        name: name === '' ? `${host_if}/0` : name,
        dev_type: 'AF_XDP interface',
        ethernet: true,
        mac: vpp.interfaces.randomMac(),
        instance: 0,
        host_if_name: host_if,
        rx_queues: Math.max(1, rxq_num),
        tx_queues: Math.max(1, rxq_num),
      });
      return { sw_if_index: one.sw_if_index };
    }),
    onPlain(af_xdp_delete, (vpp, { sw_if_index }) => {
      const one = vpp.interfaces.all.get(sw_if_index);
      if (one?.dev_type !== 'AF_XDP interface') return refuse(retval.INVALID_INTERFACE);
      removeInterface(vpp, one);
    }),
  ];
}

function isRingSize(size: number): boolean {
  return size <= ring_max && (size & (size - 1)) === 0;
}

function afPacket(vpp: VppState, host_if_name: string) {
  return [...vpp.interfaces.all].find(
    (one) => one.dev_type === 'af-packet' && one.host_if_name === host_if_name,
  );
}
