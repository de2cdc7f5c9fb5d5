/** What a link in another network namespace receives and sends, as Linux gives it to whoever listens (`AF_PACKET`). */
import { closeSync } from 'node:fs';
import { isSameNamespace, type NamespaceId } from '../linux/network.js';
import { errorCode } from './files.js';
import {
  AF_PACKET,
  attachPacketFilter,
  bindPacket,
  deviceControl,
  MSG_DONTWAIT,
  MSG_TRUNC,
  onReadable,
  receive,
  SOCK_RAW,
  SOL_PACKET,
  SOL_SOCKET,
  setSocketOption,
  socket,
  socketOption64,
} from './libc.js';
import { namespaceIdOf } from './netlink/namespace.js';
import { enterNamespace, openNamespace } from './netns.js';

const SIOCGSTAMP = 0x8906;
const SO_RCVBUFFORCE = 33;
const PACKET_STATISTICS = 6;
/** The kernel keeps so many bytes of packets, with its own of each, until they are read. */
const receive_buffer_bytes = 4 << 20;
/** Packets read before others have their turn. */
const burst = 64;

export interface HeardPacket {
  /** Cut off behind the bytes that were asked for. */
  readonly bytes: Uint8Array;
  readonly original_length: number;
  /** Of the machine's clock, when the kernel had it. */
  readonly at_us: bigint;
}

export interface PacketListener {
  /** Packets that came while nobody read, and were not kept. */
  missed(): number;
  close(): void;
}

export interface ListenTo {
  readonly netns: string;
  /** Of the namespace that was looked at before; another one in its place is an error. */
  readonly id: NamespaceId;
  readonly link: number;
  readonly packet_bytes: number;
  /** An expression of pcap, for packets that begin as those of this link type of libpcap do. */
  readonly filter?: { readonly link_type: number; readonly expression: string };
}

/** Throws SystemCallError or PacketFilterError. `on_end`: the link is gone, or down; nothing comes any more. */
export function listenToPackets(
  { netns, id, link, packet_bytes, filter }: ListenTo,
  on_packet: (packet: HeardPacket) => void,
  on_end: () => void,
): PacketListener {
  // Of no protocol: nothing comes before it is bound, with its filter in place.
  const fd = socketIn(netns, id);
  try {
    setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer_bytes);
    if (filter !== undefined) attachPacketFilter(fd, filter.link_type, filter.expression);
    stampOf(fd);
    bindPacket(fd, link);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  const buffer = Buffer.alloc(packet_bytes);
  let open = true;
  const readSome = (): void => {
    for (let n = 0; n < burst && open; n += 1) {
      let original_length: number;
      try {
        original_length = receive(fd, buffer, MSG_DONTWAIT | MSG_TRUNC);
      } catch (error) {
        if (errorCode(error) !== 'EAGAIN') on_end();
        return;
      }
      const bytes = Buffer.from(buffer.subarray(0, Math.min(original_length, packet_bytes)));
      on_packet({ bytes, original_length, at_us: stampOf(fd) });
    }
  };
  const poll = onReadable(fd, readSome);
  return {
    // `struct tpacket_stats`: packets, then those that were lost, since it was asked last.
    missed: () => (open ? Number(socketOption64(fd, SOL_PACKET, PACKET_STATISTICS) >> 32n) : 0),
    close() {
      if (!open) return;
      open = false;
      poll.close();
      closeSync(fd);
    },
  };
}

function socketIn(netns: string, id: NamespaceId): number {
  const namespace = openNamespace(netns);
  try {
    if (!isSameNamespace(namespaceIdOf(namespace), id))
      throw new Error(`${netns} is another network namespace by now`);
    return enterNamespace(namespace, () => socket(AF_PACKET, SOCK_RAW, 0));
  } finally {
    closeSync(namespace);
  }
}

/** When the kernel had the packet that was read last. To ask for the first time makes it take notice; it knows of none yet. */
function stampOf(fd: number): bigint {
  const timeval = Buffer.alloc(16);
  try {
    deviceControl(fd, SIOCGSTAMP, timeval, 'packet socket');
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  return timeval.readBigInt64LE(0) * 1_000_000n + timeval.readBigInt64LE(8);
}
