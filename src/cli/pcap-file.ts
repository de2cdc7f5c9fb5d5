/** Files of pcap: as VPP writes them, and as others read them. Pure. */

/** As tcpdump and Wireshark know them: `LINKTYPE_ETHERNET`, and `LINKTYPE_RAW`, IPv4 or IPv6 without anything before it. */
export const link_types = { ethernet: 1, raw: 101 } as const;

export interface Packet {
  readonly at_us: bigint;
  readonly bytes: Uint8Array;
  /** On the wire; `bytes` may be fewer. */
  readonly original_length: number;
}

const magic = 0xa1b2c3d4;
const header_bytes = 24;
const record_bytes = 16;
const snap_bytes = 65_535;

export function pcapFile(link_type: number, packets: readonly Packet[]): Buffer {
  const header = Buffer.alloc(header_bytes);
  header.writeUInt32LE(magic, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(snap_bytes, 16);
  header.writeUInt32LE(link_type, 20);
  const parts: Uint8Array[] = [header];
  for (const { at_us, bytes, original_length } of packets) {
    const record = Buffer.alloc(record_bytes);
    record.writeUInt32LE(Number(at_us / 1_000_000n) >>> 0, 0);
    record.writeUInt32LE(Number(at_us % 1_000_000n), 4);
    record.writeUInt32LE(bytes.length, 8);
    record.writeUInt32LE(original_length, 12);
    parts.push(record, bytes);
  }
  return Buffer.concat(parts);
}

/** Of a file in this machine's order of bytes, as VPP writes it; what is cut off at its end is left away. Undefined: it is none. */
export function packetsOf(file: Buffer): readonly Packet[] | undefined {
  if (file.length < header_bytes || file.readUInt32LE(0) !== magic) return undefined;
  const packets: Packet[] = [];
  for (let at = header_bytes; at + record_bytes <= file.length; ) {
    const [seconds, microseconds] = [file.readUInt32LE(at), file.readUInt32LE(at + 4)];
    const [kept, original_length] = [file.readUInt32LE(at + 8), file.readUInt32LE(at + 12)];
    const begin = at + record_bytes;
    at = begin + kept;
    if (at > file.length) break;
    packets.push({
      at_us: BigInt(seconds) * 1_000_000n + BigInt(microseconds),
      bytes: file.subarray(begin, at),
      original_length,
    });
  }
  return packets;
}

const ether_types = { ip4: 0x0800, ip6: 0x86dd } as const;
const ethernet_bytes = 14;

/**
 * Which IP packet begins with the first byte, by its length, which is that of all there is. The destination of an Ethernet frame would have
 * to begin with 4 or 6, and to have that length in its bytes as well.
 */
function ipAt({ bytes, original_length }: Packet): keyof typeof ether_types | undefined {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (data.length < 20) return undefined;
  const [version, words] = [data[0]! >> 4, data[0]! & 15];
  if (version === 4 && words >= 5 && data.readUInt16BE(2) === original_length) return 'ip4';
  if (version === 6 && data.readUInt16BE(4) + 40 === original_length) return 'ip6';
  return undefined;
}

/**
 * VPP calls all of its captures Ethernet, also what it hands to a tun, which has no Ethernet header. Such packets get one here, of
 * addresses that are zero, so that one file has all of them and is read rightly.
 */
export function asEthernet(packets: readonly Packet[]): readonly Packet[] {
  return packets.map((packet) => {
    const family = ipAt(packet);
    if (family === undefined) return packet;
    const header = Buffer.alloc(ethernet_bytes);
    header.writeUInt16BE(ether_types[family], 12);
    return {
      ...packet,
      bytes: Buffer.concat([header, packet.bytes]),
      original_length: packet.original_length + ethernet_bytes,
    };
  });
}
