/** What VPP's command line is told to trace and to capture packets. Pure. */
import { UsageError } from './usage.js';

/** Graph nodes by which packets come in, by driver of the uplink; pods are tuns and taps. */
export const input_nodes: Readonly<Record<string, string>> = {
  af_packet: 'af-packet-input',
  af_xdp: 'af-xdp-input',
  avf: 'avf-input',
  dpdk: 'dpdk-input',
  rdma: 'rdma-input',
  virtio: 'virtio-input',
  vmxnet3: 'vmxnet3-input',
  none: 'dpdk-input',
  memif: 'memif-input',
  pod: 'virtio-input',
};

export const input_node_default = 'af-packet-input';

const node_pattern = /^[A-Za-z0-9_.-]{1,64}$/;
const interface_pattern = /^[A-Za-z0-9_./:-]{1,64}$/;

/** Nothing that VPP would read as more than one word. */
export function checkedNode(name: string): string {
  if (node_pattern.test(name)) return name;
  throw new UsageError(`${JSON.stringify(name)} is no graph node of VPP: \`vppctl show node\` has them`);
}

export function checkedInterface(name: string): string {
  if (interface_pattern.test(name)) return name;
  throw new UsageError(`${JSON.stringify(name)} is no interface of VPP: \`vppctl show interface\` has them`);
}

/** The name of the interface with this index, in what `show interface` writes. */
export function interfaceName(text: string, sw_if_index: number): string | undefined {
  for (const line of text.split('\n')) {
    const [, name, index] = /^(\S+)\s+(\d+)\s+(?:up|down)\s/.exec(line) ?? [];
    if (Number(index) === sw_if_index) return name;
  }
  return undefined;
}
