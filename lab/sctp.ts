/**
 * SCTP without an SCTP: INIT chunks made and read here, for a VPP that is handed them by its packet generator as if a pod had sent them, and that records
 * what it sends to a pod. Linux need not know the protocol.
 */
import { bitsOf } from '../src/ip/bits.js';
import { canonicalAddress } from '../src/ip/spelling.js';

export interface SctpPacket {
  readonly source: string;
  readonly destination: string;
  readonly source_port: number;
  readonly destination_port: number;
}

export interface SeenSctp extends SctpPacket {
  /** CRC32c of the whole is what it says. */
  readonly whole: boolean;
}

const sctp = 132;
const common_bytes = 12;
const init_bytes = 20;

const crc_table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0x82f6_3b78 : value >>> 1;
  return value;
});

/** As RFC 9260 has it: over the packet, with zeros in place of the checksum. */
export function crc32c(packet: Buffer): number {
  let crc = 0xffff_ffff;
  for (const [at, byte] of packet.entries())
    crc = (crc >>> 8) ^ crc_table[(crc ^ (at >= 8 && at < common_bytes ? 0 : byte)) & 0xff]!;
  return ~crc >>> 0;
}

/** An IP packet with the first chunk of an association. */
export function sctpInit({ source, destination, source_port, destination_port }: SctpPacket): Buffer {
  const packet = Buffer.alloc(common_bytes + init_bytes);
  packet.writeUInt16BE(source_port, 0);
  packet.writeUInt16BE(destination_port, 2);
  packet[common_bytes] = 1;
  packet.writeUInt16BE(init_bytes, common_bytes + 2);
  packet.writeUInt32BE(0x1234_5678, common_bytes + 4);
  packet.writeUInt32BE(65_535, common_bytes + 8);
  packet.writeUInt16BE(1, common_bytes + 12);
  packet.writeUInt16BE(1, common_bytes + 14);
  packet.writeUInt32BE(1, common_bytes + 16);
  packet.writeUInt32LE(crc32c(packet), 8);
  const [from, to] = [source, destination].map((address) => Buffer.from(bitsOf(address).bytes, 'latin1'));
  return Buffer.concat([header(from!, to!, packet.length), packet]);
}

function header(from: Buffer, to: Buffer, length: number): Buffer {
  if (from.length === 16) {
    const ip6 = Buffer.alloc(8);
    ip6[0] = 0x60;
    ip6.writeUInt16BE(length, 4);
    ip6[6] = sctp;
    ip6[7] = 64;
    return Buffer.concat([ip6, from, to]);
  }
  const ip4 = Buffer.alloc(12);
  ip4[0] = 0x45;
  ip4.writeUInt16BE(20 + length, 2);
  ip4[8] = 64;
  ip4[9] = sctp;
  const whole = Buffer.concat([ip4, from, to]);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += whole.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  whole.writeUInt16BE(~sum & 0xffff, 10);
  return whole;
}

const pcap_header_bytes = 24;
const record_header_bytes = 16;
const pcap_magic = 0xa1b2_c3d4;
const raw_ip = 101;

export function pcapOf(packets: readonly Buffer[]): Buffer {
  const start = Buffer.alloc(pcap_header_bytes);
  start.writeUInt32LE(pcap_magic, 0);
  start.writeUInt16LE(2, 4);
  start.writeUInt16LE(4, 6);
  start.writeUInt32LE(65_535, 16);
  start.writeUInt32LE(raw_ip, 20);
  const records = packets.flatMap((packet) => {
    const record = Buffer.alloc(record_header_bytes);
    record.writeUInt32LE(packet.length, 8);
    record.writeUInt32LE(packet.length, 12);
    return [record, packet];
  });
  return Buffer.concat([start, ...records]);
}

/** Those of SCTP, of packets whose IP header begins behind so many bytes. */
export function sctpIn(pcap: Buffer, link_bytes = 0): readonly SeenSctp[] {
  const seen: SeenSctp[] = [];
  for (let at = pcap_header_bytes; at + record_header_bytes <= pcap.length; ) {
    const length = pcap.readUInt32LE(at + 8);
    const packet = pcap.subarray(at + record_header_bytes + link_bytes, at + record_header_bytes + length);
    at += record_header_bytes + length;
    const is_ip4 = packet[0] === 0x45;
    if (!is_ip4 && (packet[0] ?? 0) >> 4 !== 6) continue;
    if (packet[is_ip4 ? 9 : 6] !== sctp) continue;
    const [from, to, body] = is_ip4 ? [12, 16, 20] : [8, 24, 40];
    const bytes = is_ip4 ? 4 : 16;
    const end = is_ip4 ? packet.readUInt16BE(2) : body + packet.readUInt16BE(4);
    const chunk = packet.subarray(body, end);
    seen.push({
      source: addressIn(packet.subarray(from, from + bytes)),
      destination: addressIn(packet.subarray(to, to + bytes)),
      source_port: chunk.readUInt16BE(0),
      destination_port: chunk.readUInt16BE(2),
      whole: chunk.readUInt32LE(8) === crc32c(chunk),
    });
  }
  return seen;
}

function addressIn(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(at * 2).toString(16));
  return canonicalAddress(groups.join(':'))!;
}
