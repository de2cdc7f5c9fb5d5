/** What VPP's command line is told to trace and to capture packets. Pure. */
import { UsageError } from './usage.js';

/** Graph nodes that packets of an uplink come in by, by its driver: names are those that VPP 26.10 registers. */
export const uplink_input_nodes: Readonly<Record<string, string>> = {
  af_packet: 'af-packet-input',
  af_xdp: 'af_xdp-input',
  dpdk: 'dpdk-input',
  rdma: 'rdma-input',
  virtio: 'virtio-input',
  vmxnet3: 'vmxnet3-input',
  iavf: 'port-rx-eth',
  ige: 'port-rx-eth',
  none: 'dpdk-input',
};

export const uplink_input_default = 'af-packet-input';

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

/**
 * The graph node that polls an interface, in what `show interface rx-placement` writes. A node is named once, also where its queues go on
 * under the next thread. VPP says it itself, because it is not always the same: tuns of pods are `tap-input` since 26.10, `virtio-input` before.
 */
export function inputNodeOf(text: string, interface_name: string): string | undefined {
  let node: string | undefined;
  for (const line of text.split('\n')) {
    node = /^\s*node (\S+):\s*$/.exec(line)?.[1] ?? node;
    if (/^\s+(\S+) queue \d+ /.exec(line)?.[1] === interface_name) return node;
  }
  return undefined;
}

/** Has VPP traced packets, in what `show trace` writes? */
export const hasTraced = (text: string): boolean => /^Packet \d+\s*$/m.test(text);

/** The filter function in use, in what `show trace filter function` and its like write. */
export const chosenFilter = (text: string): string | undefined =>
  /^\(\*\) name:([A-Za-z0-9_]{1,64}) /m.exec(text)?.[1];
