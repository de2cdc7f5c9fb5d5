/**
 * What a pod sends and receives, heard in its own network namespace. VPP captures what comes in at its Ethernet input alone: what a pod sends
 * by its tun it cannot capture.
 */
import type { PodWhy } from '../debug/why.js';
import { PacketFilterError } from '../host/libc.js';
import { LinuxHost } from '../host/netlink/linux-host.js';

import { type ListenTo, listenToPackets } from '../host/packet-socket.js';
import { OWN_NAMESPACE_PATH } from '../linux/network.js';
import type { Interruption } from './interruption.js';
import { link_types, type Packet, pcapFile } from './pcap-file.js';
import { NodeRefused } from './usage.js';

export interface PodCapture {
  readonly packets: number;
  readonly seconds: number;
  readonly bytes: number;
  readonly filter: string | undefined;
}

type Device = Pick<PodWhy, 'interface' | 'netns' | 'addresses'>;

/** libpcap's own number of what files call `LINKTYPE_RAW`. */
const dlt_raw = 12;

/** Where the device of the pod is. Throws NodeRefused where it is not what VPP made, or another pod's. */
function deviceOf(pod: string, { interface: name, netns, addresses }: Device) {
  const host = new LinuxHost();
  const id = host.identify(netns);
  const lost = () =>
    new NodeRefused(
      `device ${name} of pod ${pod} is not in ${netns}: \`calico-vpp-node why ${pod}\` says how it stands; --interface takes one of VPP`,
    );
  if (id === undefined || id === host.identify(OWN_NAMESPACE_PATH)) throw lost();
  const namespace = host.open(netns, id);
  try {
    const link = namespace.link(name);
    if (link?.kind !== 'tun') throw lost();
    const there = namespace.addresses(link.index).map(({ prefix }) => prefix.replace(/\/.*/, ''));
    if (!addresses.some((address) => there.includes(address))) throw lost();
    // A tap has a hardware address, a tun has none.
    return { id, link: link.index, is_ethernet: link.mac !== undefined };
  } finally {
    namespace.close();
  }
}

/** The file. Ends after `packets` or `seconds`, with the device, or when interrupted. */
export async function capturePod(
  pod: string,
  device: Device,
  { packets: packets_max, seconds, bytes, filter }: PodCapture,
  interruption: Interruption,
  say: (text: string) => void,
): Promise<Buffer> {
  const { id, link, is_ethernet } = deviceOf(pod, device);
  const link_type = is_ethernet ? link_types.ethernet : link_types.raw;
  const packets: Packet[] = [];
  let end = (): void => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const to: ListenTo = {
    netns: device.netns,
    id,
    link,
    packet_bytes: bytes,
    ...(filter !== undefined && {
      filter: { link_type: is_ethernet ? link_types.ethernet : dlt_raw, expression: filter },
    }),
  };
  const listener = listening(
    to,
    (packet) => {
      if (packets.length < packets_max) packets.push(packet);
      if (packets.length === packets_max) end();
    },
    () => end(),
  );
  try {
    await interruption.wait(
      seconds,
      (left) => say(`up to ${packets_max} packets of ${device.interface} of pod ${pod}, ${left} s left`),
      ended,
    );
    const missed = listener.missed();
    say(`${packets.length} packets${missed > 0 ? `; ${missed} more came too fast` : ''}`);
  } finally {
    listener.close();
  }
  return pcapFile(link_type, packets);
}

function listening(...of: Parameters<typeof listenToPackets>) {
  try {
    return listenToPackets(...of);
  } catch (error) {
    const { message } = error as Error;
    if (error instanceof PacketFilterError)
      throw new NodeRefused(
        `the filter ${JSON.stringify(of[0].filter?.expression)} is not to be had: ${message}`,
      );
    throw new NodeRefused(`packets of ${of[0].netns} cannot be heard: ${message}`);
  }
}
