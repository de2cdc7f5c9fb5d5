/** Interfaces of devices that VPP drives itself, back from VPP: which PCI device each has, where VPP tells. */
import type { sw_interface_details } from 'vpp-binapi-ts/interface';
import { sw_interface_virtio_pci_dump } from 'vpp-binapi-ts/virtio';
import { sw_vmxnet3_interface_dump } from 'vpp-binapi-ts/vmxnet3';
import type { UplinkDevice } from '../../objects/interfaces.js';
import { pciOfNumber, pciOfParts } from '../../objects/pci-address.js';
import type { Reader } from './reader.js';

/** VPP's names for the classes of these devices. Those of `dev` are named like their driver. */
const classes: Readonly<Record<string, 'virtio' | 'vmxnet3' | 'rdma' | 'dev_port'>> = {
  virtio: 'virtio',
  'VMXNET3 interface': 'vmxnet3',
  'RDMA interface': 'rdma',
  iavf: 'dev_port',
  ige: 'dev_port',
};

/** By sw_if_index, what is told of each but its tag. An interface is asked about only where VPP has one of its class. */
export async function observeUplinkDevices(
  reader: Reader,
  interfaces: readonly sw_interface_details[],
): Promise<ReadonlyMap<number, Partial<UplinkDevice> & Pick<UplinkDevice, 'kind'>>> {
  const kindOf = ({ interface_dev_type }: sw_interface_details) =>
    Object.hasOwn(classes, interface_dev_type) ? classes[interface_dev_type] : undefined;
  const has = (kind: string): boolean => interfaces.some((details) => kindOf(details) === kind);
  const [virtios, vmxnet3s] = await Promise.all([
    has('virtio') ? reader.dump(sw_interface_virtio_pci_dump, {}) : [],
    has('vmxnet3') ? reader.dump(sw_vmxnet3_interface_dump, {}) : [],
  ]);
  const pci = new Map([
    ...virtios.map(({ sw_if_index, pci_addr }) => [sw_if_index, pciOfParts(pci_addr)] as const),
    ...vmxnet3s.map(({ sw_if_index, pci_addr }) => [sw_if_index, pciOfNumber(pci_addr)] as const),
  ]);
  return new Map(
    interfaces.flatMap((details) => {
      const { sw_if_index, interface_dev_type } = details;
      const kind = kindOf(details);
      if (kind === undefined) return [];
      const address = pci.get(sw_if_index);
      const told = {
        kind,
        ...(address !== undefined && { pci: address }),
        ...(kind === 'dev_port' && { driver: interface_dev_type }),
      };
      return [[sw_if_index, told as Partial<UplinkDevice> & Pick<UplinkDevice, 'kind'>]];
    }),
  );
}
