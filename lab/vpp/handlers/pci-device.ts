/** Devices that VPP drives itself: those that the kernel has handed to it. */
import { dev_attach, dev_create_port_if, dev_detach, dev_remove_port_if } from 'vpp-binapi-ts/dev';
import { hw_interface_set_mtu } from 'vpp-binapi-ts/interface';
import { rdma_create_v2, rdma_create_v4, rdma_delete } from 'vpp-binapi-ts/rdma';
import { sw_interface_virtio_pci_dump, virtio_pci_create_v2, virtio_pci_delete } from 'vpp-binapi-ts/virtio';
import { sw_vmxnet3_interface_dump, vmxnet3_create, vmxnet3_delete } from 'vpp-binapi-ts/vmxnet3';
import { pciNumber, pciOfNumber, pciOfParts, pciParts } from '../../../src/objects/pci-address.js';
import { none } from '../fib.js';
import { type Handler, on, onDump, onPlain } from '../handler.js';
import type { Interface } from '../interfaces.js';
import { Refusal, refuse, retval } from '../outcome.js';
import type { VppState } from '../state.js';
import { removeInterface } from './interface.js';

/** `vnet_dev_rv_t`: numbers of its own. */
const dev_errors = {
  already_exists: [-1, 'already exists'],
  already_in_use: [-2, 'already in use'],
  driver_not_available: [-8, 'driver not available'],
  invalid_bus: [-10, 'invalid bus'],
  invalid_device_id: [-12, 'invalid device id'],
  invalid_rx_queue_size: [-16, 'invalid rx queue size'],
  not_found: [-20, 'not found'],
  unknown_interface: [-31, 'unknown interface'],
} as const;

/** Of cards of `ice` and `i40e`, as their functions have it. */
const iavf_mtu_max = 9702;

function refuseDev(error: keyof typeof dev_errors): never {
  const [number, error_string] = dev_errors[error];
  throw new Refusal(number, { error_string });
}

/** What VPP has at a PCI address; undefined: nothing. */
const at = (vpp: VppState, address: string): Interface | undefined =>
  [...vpp.interfaces.all].find((one) => one.pci === address);

/** The device of that address, if VPP can open it: it is there, and bound for programs. */
const opened = (vpp: VppState, address: string) => vpp.facts.devices.pciDevice?.(address);

function create(
  vpp: VppState,
  dev_type: 'virtio' | 'VMXNET3 interface' | 'iavf' | 'ige',
  pci: string,
  more: {
    readonly mac: string;
    readonly rx_queues: number;
    readonly tx_queues: number;
    readonly rings: Interface['rings'];
  },
): Interface {
  const [domain = '0', bus = '0', rest = '0.0'] = pci.split(':');
  const [slot = '0', function_ = '0'] = rest.split('.');
  const short = [domain, bus, slot, function_]
    .map((part) => Number.parseInt(part, 16).toString(16))
    .join('/');
  const { rings, ...queues } = more;
  return vpp.interfaces.create({
    name: `${dev_type === 'VMXNET3 interface' ? 'vmxnet3' : dev_type}-${short}`,
    dev_type,
    ethernet: true,
    instance: 0,
    pci,
    rings,
    link_up: true,
    ...queues,
  });
}

function removed(vpp: VppState, sw_if_index: number, dev_type: Interface['dev_type']): void {
  const one = vpp.interfaces.all.get(sw_if_index);
  if (one?.dev_type !== dev_type) refuse(retval.INVALID_SW_IF_INDEX);
  else removeInterface(vpp, one);
}

const isVmxnet3Ring = (size: number): boolean => size >= 64 && size <= 4096 && size % 64 === 0;

/** `VLIB_FRAME_SIZE` is the least; 0 is the default. */
const isRdmaRing = (size: number): boolean => size === 0 || (size >= 256 && (size & (size - 1)) === 0);

/** It knows no device of RDMA, and says then that all is well, and that the interface is local0. */
function createRdma(_: VppState, { rxq_size, txq_size }: { rxq_size: number; txq_size: number }) {
  if (!isRdmaRing(rxq_size) || !isRdmaRing(txq_size)) refuse(retval.INVALID_VALUE);
  return { sw_if_index: 0 };
}

export const pci_devices: readonly Handler[] = [
  on(rdma_create_v4, { sw_if_index: 0 }, createRdma),
  on(rdma_create_v2, { sw_if_index: 0 }, createRdma),
  onPlain(rdma_delete, () => refuse(retval.INVALID_INTERFACE)),
  on(virtio_pci_create_v2, { sw_if_index: none }, (vpp, { pci_addr, mac_address, use_random_mac }) => {
    const pci = pciOfParts(pci_addr);
    if (at(vpp, pci) !== undefined) refuse(retval.ADDRESS_IN_USE);
    if (opened(vpp, pci)?.driver !== 'virtio') refuse(retval.INVALID_INTERFACE);
    const mac = use_random_mac ? vpp.interfaces.randomMac() : mac_address;
    const rings = { rx: 256, tx: 256 };
    return {
      sw_if_index: create(vpp, 'virtio', pci, { mac, rx_queues: 1, tx_queues: 1, rings }).sw_if_index,
    };
  }),
  onPlain(virtio_pci_delete, (vpp, { sw_if_index }) => removed(vpp, sw_if_index, 'virtio')),
  onDump(sw_interface_virtio_pci_dump, (vpp) =>
    [...vpp.interfaces.all].flatMap((one) =>
      one.dev_type === 'virtio' && one.pci !== undefined
        ? [
            {
              sw_if_index: one.sw_if_index,
              pci_addr: pciParts(one.pci),
              mac_addr: one.mac,
              tx_ring_sz: one.rings?.tx ?? 0,
              rx_ring_sz: one.rings?.rx ?? 0,
              features: 0n,
            },
          ]
        : [],
    ),
  ),
  on(vmxnet3_create, { sw_if_index: 0 }, (vpp, { pci_addr, rxq_num, txq_num, rxq_size, txq_size }) => {
    const pci = pciOfNumber(pci_addr);
    if (rxq_num > 16 || txq_num > 8 || !isVmxnet3Ring(rxq_size) || !isVmxnet3Ring(txq_size))
      refuse(retval.INVALID_VALUE);
    if (at(vpp, pci) !== undefined) refuse(retval.ADDRESS_IN_USE);
    const device = opened(vpp, pci);
    if (device?.driver !== 'vmxnet3') return refuse(retval.INVALID_INTERFACE);
    const asked = {
      mac: device.mac,
      rx_queues: rxq_num,
      tx_queues: txq_num,
      rings: { rx: rxq_size, tx: txq_size },
    };
    return { sw_if_index: create(vpp, 'VMXNET3 interface', pci, asked).sw_if_index };
  }),
  onPlain(vmxnet3_delete, (vpp, { sw_if_index }) => removed(vpp, sw_if_index, 'VMXNET3 interface')),
  onDump(sw_vmxnet3_interface_dump, (vpp, { sw_if_index }) =>
    [...vpp.interfaces.all].flatMap((one) =>
      one.dev_type === 'VMXNET3 interface' &&
      one.pci !== undefined &&
      (sw_if_index === none || sw_if_index === one.sw_if_index)
        ? [
            {
              sw_if_index: one.sw_if_index,
              if_name: one.name,
              hw_addr: one.mac,
              pci_addr: pciNumber(one.pci),
              version: 1,
              admin_up_down: one.admin_up,
              rx_count: one.rx.length,
              rx_list: Array.from({ length: 16 }, (_, queue) => ({
                rx_qsize: queue < one.rx.length ? (one.rings?.rx ?? 0) : 0,
                rx_fill: [0, 0] as const,
                rx_next: 0,
                rx_produce: [0, 0] as const,
                rx_consume: [0, 0] as const,
              })),
              tx_count: one.tx_queues,
              tx_list: Array.from({ length: 8 }, (_, queue) => ({
                tx_qsize: queue < one.tx_queues ? (one.rings?.tx ?? 0) : 0,
                tx_next: 0,
                tx_produce: 0,
                tx_consume: 0,
              })),
            },
          ]
        : [],
    ),
  ),
  on(dev_attach, { dev_index: none, error_string: '' }, (vpp, { device_id, driver_name }) => {
    if (!device_id.startsWith('pci/')) return refuseDev('invalid_bus');
    const pci = device_id.slice('pci/'.length);
    if ([...vpp.devs.values()].some((dev) => dev.pci === pci)) refuseDev('already_in_use');
    const device = opened(vpp, pci);
    if (device === undefined) return refuseDev('invalid_device_id');
    const { driver } = device;
    if ((driver !== 'iavf' && driver !== 'ige') || (driver_name !== '' && driver_name !== driver))
      return refuseDev('driver_not_available');
    let dev_index = 0;
    while (vpp.devs.has(dev_index)) dev_index += 1;
    vpp.devs.set(dev_index, { pci, driver, mac: device.mac });
    return { dev_index, error_string: '' };
  }),
  on(dev_detach, { error_string: '' }, (vpp, { dev_index }) => {
    detach(vpp, dev_index);
    return { error_string: '' };
  }),
  on(dev_create_port_if, { sw_if_index: none, error_string: '' }, (vpp, asked) => {
    const dev = vpp.devs.get(asked.dev_index);
    if (dev === undefined) return refuseDev('not_found');
    if (at(vpp, dev.pci) !== undefined) refuseDev('already_exists');
    const size = asked.rx_queue_size;
    if (dev.driver === 'ige' && (size < 512 || (size & (size - 1)) !== 0)) refuseDev('invalid_rx_queue_size');
    const rings = { rx: size, tx: asked.tx_queue_size };
    const made = { mac: dev.mac, rx_queues: asked.num_rx_queues, tx_queues: asked.num_tx_queues, rings };
    return { sw_if_index: create(vpp, dev.driver, dev.pci, made).sw_if_index, error_string: '' };
  }),
  // Of others than ports of `dev` nothing here is asked for it.
  onPlain(hw_interface_set_mtu, (vpp, { sw_if_index, mtu }) => {
    const one = vpp.interfaces.get(sw_if_index);
    if (one.dev_type !== 'iavf') refuse(retval.UNSUPPORTED);
    if (one.admin_up || mtu > iavf_mtu_max) refuse(retval.UNSPECIFIED);
    one.frame_mtu = mtu;
    one.mtu[0] = mtu;
  }),
  on(dev_remove_port_if, { error_string: '' }, (vpp, { sw_if_index }) => {
    const one = vpp.interfaces.all.get(sw_if_index);
    if (one === undefined || (one.dev_type !== 'iavf' && one.dev_type !== 'ige'))
      return refuseDev('unknown_interface');
    removeInterface(vpp, one);
    return { error_string: '' };
  }),
];

function detach(vpp: VppState, dev_index: number): void {
  const dev = vpp.devs.get(dev_index);
  if (dev === undefined) return refuseDev('not_found');
  const port = at(vpp, dev.pci);
  if (port !== undefined) removeInterface(vpp, port);
  vpp.devs.delete(dev_index);
}

/** The command line's word for it. Answers what it prints; undefined: there is no such device. */
export function detachByName(vpp: VppState, device_id: string): boolean {
  const found = [...vpp.devs].find(([, { pci }]) => `pci/${pci}` === device_id);
  if (found === undefined) return false;
  detach(vpp, found[0]);
  return true;
}
