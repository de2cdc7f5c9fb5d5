/** Devices that VPP drives itself: what it says where it has none of that address. */
import { dev_attach, dev_create_port_if, dev_detach, dev_remove_port_if } from 'vpp-binapi-ts/dev';
import { rdma_create_v2, rdma_create_v4, rdma_delete } from 'vpp-binapi-ts/rdma';
import { sw_interface_virtio_pci_dump, virtio_pci_create_v2, virtio_pci_delete } from 'vpp-binapi-ts/virtio';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import { sw_vmxnet3_interface_dump, vmxnet3_create, vmxnet3_delete } from 'vpp-binapi-ts/vmxnet3';
import { pciNumber, pciParts } from '../../../src/objects/pci-address.js';
import { ask, interfaces, type Sequence, type Step } from './steps.js';

/** Of a domain that no machine has. */
const nowhere = 'ffff:fe:1e.7';

const virtio = (address: string): Step =>
  ask(virtio_pci_create_v2, {
    pci_addr: pciParts(address),
    use_random_mac: false,
    mac_address: '02:11:22:33:44:55',
    virtio_flags: 3,
    features: 0n,
  });

const vmxnet3 = (more: object = {}): Step =>
  ask(vmxnet3_create, {
    pci_addr: pciNumber(nowhere),
    enable_elog: 0,
    rxq_size: 1024,
    rxq_num: 1,
    txq_size: 1024,
    txq_num: 1,
    bind: 0,
    enable_gso: true,
    ...more,
  });

const rdma = { host_if: 'up0', name: '', rxq_num: 1, rxq_size: 1024, txq_size: 1024 };

const attach = (device_id: string, driver_name = ''): Step =>
  ask(dev_attach, { device_id, driver_name, flags: 0, args: '' });

export const sequences: readonly Sequence[] = [
  {
    name: 'virtio: no such device',
    steps: [
      virtio(nowhere),
      ask(virtio_pci_delete, { sw_if_index: 0 }),
      ask(virtio_pci_delete, { sw_if_index: 7 }),
      ask(sw_interface_virtio_pci_dump, {}),
      interfaces(),
    ],
  },
  {
    name: 'vmxnet3: no such device, and numbers that it has not',
    steps: [
      vmxnet3(),
      vmxnet3({ rxq_num: 17 }),
      vmxnet3({ txq_num: 9 }),
      vmxnet3({ rxq_size: 1000 }),
      vmxnet3({ txq_size: 32 }),
      ask(vmxnet3_delete, { sw_if_index: 0 }),
      ask(vmxnet3_delete, { sw_if_index: 7 }),
      ask(sw_vmxnet3_interface_dump, {}),
      interfaces(),
    ],
  },
  {
    name: 'rdma: no device at all, which is success',
    plugin: 'rdma',
    steps: [
      ask(rdma_create_v4, rdma),
      ask(rdma_create_v2, rdma),
      ask(rdma_create_v4, { ...rdma, rxq_size: 128 }),
      ask(rdma_create_v4, { ...rdma, txq_size: 1000 }),
      ask(rdma_delete, { sw_if_index: 0 }),
      ask(rdma_delete, { sw_if_index: 7 }),
      interfaces(),
    ],
  },
  {
    name: 'dev: no such device, and errors of its own',
    steps: [
      attach(`pci/${nowhere}`, 'iavf'),
      attach('elsewhere/1'),
      attach(`pci/${nowhere}`),
      ask(dev_create_port_if, {
        dev_index: 7,
        intf_name: '',
        num_rx_queues: 1,
        num_tx_queues: 1,
        rx_queue_size: 1024,
        tx_queue_size: 1024,
        port_id: 0,
        flags: 0,
        args: '',
      }),
      ask(dev_remove_port_if, { sw_if_index: 0 }),
      ask(dev_detach, { dev_index: 7 }),
      ask(cli_inband, { cmd: `device detach pci/${nowhere}` }),
      interfaces(),
    ],
  },
];
