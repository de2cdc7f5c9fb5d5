/** Interfaces of devices that VPP drives itself. */
import { dev_attach, dev_create_port_if, dev_remove_port_if } from 'vpp-binapi-ts/dev';
import { hw_interface_set_mtu, sw_interface_set_mac_address } from 'vpp-binapi-ts/interface';
import { rdma_create_v2, rdma_create_v4, rdma_delete } from 'vpp-binapi-ts/rdma';
import { virtio_flags, virtio_pci_create_v2, virtio_pci_delete } from 'vpp-binapi-ts/virtio';
import { cli_inband } from 'vpp-binapi-ts/vlib';
import { vmxnet3_create, vmxnet3_delete } from 'vpp-binapi-ts/vmxnet3';
import { devId, pciNumber, pciParts } from '../../objects/pci-address.js';
import { call } from '../call.js';
import { type Programs, tag } from './common.js';

/** What the command line says of a device that is attached no more, as of all else that it refuses. */
const no_such_device = -1;

/** Its numbers are its own, and mean other things than VPP's. */
const why = (reply: unknown): string | undefined =>
  (reply as { readonly error_string?: string } | null)?.error_string || undefined;

const sw_if_index = (reply: { readonly sw_if_index: number }): number => reply.sw_if_index;

export const uplink_devices: Programs<'virtio' | 'vmxnet3' | 'rdma' | 'dev' | 'dev_port'> = {
  virtio: {
    add: (o) => [
      call(
        virtio_pci_create_v2,
        {
          pci_addr: pciParts(o.pci),
          use_random_mac: false,
          mac_address: o.mac,
          virtio_flags: o.gso
            ? virtio_flags.VIRTIO_API_FLAG_GSO | virtio_flags.VIRTIO_API_FLAG_CSUM_OFFLOAD
            : 0,
          // 0: whatever both know.
          features: 0n,
        },
        { made: sw_if_index },
      ),
    ],
    follow: (o, at) => [tag(o.tag, at)],
    remove: (o, at) => [call(virtio_pci_delete, { sw_if_index: at.interface(o.tag) })],
  },
  vmxnet3: {
    add: (o) => [
      call(
        vmxnet3_create,
        {
          pci_addr: pciNumber(o.pci),
          enable_elog: 0,
          rxq_size: o.rx_queue_size,
          rxq_num: o.rx_queues,
          txq_size: o.tx_queue_size,
          txq_num: o.tx_queues,
          bind: 0,
          enable_gso: o.gso,
        },
        { made: sw_if_index },
      ),
    ],
    follow: (o, at) => [tag(o.tag, at)],
    remove: (o, at) => [call(vmxnet3_delete, { sw_if_index: at.interface(o.tag) })],
  },
  rdma: {
    add: (o, at) => {
      const asked = {
        host_if: o.host_if_name,
        name: '',
        rxq_num: o.rx_queues,
        rxq_size: o.rx_queue_size,
        txq_size: o.tx_queue_size,
      };
      const made = { made: sw_if_index };
      return [
        at.lacks.has(rdma_create_v4.name)
          ? call(rdma_create_v2, asked, made)
          : call(rdma_create_v4, asked, made),
      ];
    },
    follow: (o, at) => [
      tag(o.tag, at),
      call(sw_interface_set_mac_address, { sw_if_index: at.interface(o.tag), mac_address: o.mac }),
    ],
    remove: (o, at) => [call(rdma_delete, { sw_if_index: at.interface(o.tag) })],
  },
  dev: {
    add: (o) => [
      call(
        dev_attach,
        { device_id: devId(o.pci), driver_name: o.driver, flags: 0, args: '' },
        { made: (reply) => reply.dev_index, why },
      ),
    ],
    // By its name: its number is lost with the session that has attached it, and no dump has it.
    remove: (o) => [
      call(cli_inband, { cmd: `device detach ${devId(o.pci)}` }, { tolerated: [no_such_device] }),
    ],
  },
  dev_port: {
    add: (o, at) => [
      call(
        dev_create_port_if,
        {
          dev_index: at.of({ kind: 'dev', pci: o.pci, driver: o.driver }),
          intf_name: '',
          num_rx_queues: o.rx_queues,
          num_tx_queues: o.tx_queues,
          rx_queue_size: o.rx_queue_size,
          tx_queue_size: o.tx_queue_size,
          port_id: 0,
          flags: 0,
          args: '',
        },
        { made: sw_if_index, why },
      ),
    ],
    // While it is down: a port that runs keeps the frames that it takes.
    follow: (o, at) => [
      tag(o.tag, at),
      ...(o.mtu === undefined
        ? []
        : [call(hw_interface_set_mtu, { sw_if_index: at.interface(o.tag), mtu: o.mtu })]),
    ],
    remove: (o, at) => [call(dev_remove_port_if, { sw_if_index: at.interface(o.tag) }, { why })],
  },
};
