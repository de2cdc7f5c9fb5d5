/** What is on a wire of the lab: captured by tcpdump, and read as far as the tests look at it. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { patience } from '../../lab/patience.js';

/** An IP packet, without the Ethernet around it. */
export interface Packet {
  readonly version: 4 | 6;
  readonly src: string;
  readonly dst: string;
  /** IANA's number of what is in it. */
  readonly protocol: number;
  readonly ttl: number;
  /** Of IPv4. */
  readonly dont_fragment: boolean;
  /** A part of a packet. */
  readonly fragment: boolean;
  /** With its header, in bytes. */
  readonly length: number;
  /** As much of it as was captured. */
  readonly payload: Buffer;
}

export interface Vxlan {
  readonly src_port: number;
  readonly dst_port: number;
  readonly vni: number;
  readonly flags: number;
  readonly payload: Buffer;
}

export interface BgpOpen {
  readonly version: number;
  readonly asn: number;
  readonly hold_time_s: number;
  readonly router_id: string;
  /** By code, in the order in which they come. */
  readonly capabilities: readonly { readonly code: number; readonly value: Buffer }[];
}

export const protocols = { icmp: 1, ipip: 4, tcp: 6, udp: 17, ip6_in_ip: 41, icmp6: 58 } as const;

const captured_bytes = 256;
const ip6Text = (bytes: Buffer): string => {
  const words = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(2 * at).toString(16));
  return new URL(`http://[${words.join(':')}]/`).hostname.slice(1, -1);
};

export function readIp(bytes: Buffer): Packet | undefined {
  const version = (bytes[0] ?? 0) >> 4;
  if (version === 4 && bytes.length >= 20) {
    const fragment = bytes.readUInt16BE(6);
    return {
      version,
      src: bytes.subarray(12, 16).join('.'),
      dst: bytes.subarray(16, 20).join('.'),
      protocol: bytes[9]!,
      ttl: bytes[8]!,
      dont_fragment: (fragment & 0x4000) !== 0,
      fragment: (fragment & 0x3fff) !== 0,
      length: bytes.readUInt16BE(2),
      payload: bytes.subarray((bytes[0]! & 15) * 4),
    };
  }
  if (version !== 6 || bytes.length < 40) return undefined;
  return {
    version,
    src: ip6Text(bytes.subarray(8, 24)),
    dst: ip6Text(bytes.subarray(24, 40)),
    protocol: bytes[6]!,
    ttl: bytes[7]!,
    dont_fragment: false,
    fragment: bytes[6] === 44,
    length: 40 + bytes.readUInt16BE(4),
    payload: bytes.subarray(40),
  };
}

/** Of a UDP packet. */
export function readVxlan({ payload }: Packet): Vxlan {
  return {
    src_port: payload.readUInt16BE(0),
    dst_port: payload.readUInt16BE(2),
    flags: payload[8]!,
    vni: payload.readUIntBE(12, 3),
    payload: payload.subarray(16),
  };
}

/** Where a TCP packet begins with an OPEN of BGP. */
export function readOpen({ protocol, payload }: Packet): BgpOpen | undefined {
  if (protocol !== protocols.tcp) return undefined;
  const bgp = payload.subarray((payload[12]! >> 4) * 4);
  if (bgp.length < 29 || bgp.readUIntBE(0, 6) !== 0xffffffffffff || bgp[18] !== 1) return undefined;
  const capabilities: { code: number; value: Buffer }[] = [];
  const end = 29 + bgp[28]!;
  for (let at = 29; at + 2 <= end; ) {
    const [type, length] = [bgp[at]!, bgp[at + 1]!];
    for (let of = at + 2; type === 2 && of < at + 2 + length; of += 2 + bgp[of + 1]!)
      capabilities.push({ code: bgp[of]!, value: bgp.subarray(of + 2, of + 2 + bgp[of + 1]!) });
    at += 2 + length;
  }
  return {
    version: bgp[19]!,
    asn: bgp.readUInt16BE(20),
    hold_time_s: bgp.readUInt16BE(22),
    router_id: bgp.subarray(24, 28).join('.'),
    capabilities,
  };
}

/** What passes by an interface of a namespace, from when it resolves. */
export class Capture {
  readonly #directory = mkdtempSync(join(tmpdir(), 'wire-'));
  readonly #child: ChildProcess;

  private constructor(inside: (argv: readonly string[]) => [string, string[]], link: string) {
    // At once: else what has come in the last second is lost with the end.
    const how = ['--immediate-mode', '-U', '-n', '-s', `${captured_bytes}`];
    const argv = ['tcpdump', '-i', link, ...how, '-w', this.#file, 'ip or ip6'];
    this.#child = spawn(...inside(argv), { stdio: ['ignore', 'ignore', 'pipe'] });
  }

  static async of(inside: (argv: readonly string[]) => [string, string[]], link: string): Promise<Capture> {
    const capture = new Capture(inside, link);
    await once(capture.#child.stderr!, 'data');
    return capture;
  }

  get #file(): string {
    return join(this.#directory, 'pcap');
  }

  /** All packets by now, of which one has to be; waits for it, and answers no such where it does not come. */
  async until(
    holds: (packets: readonly Packet[]) => boolean,
    deadline_ms = 30_000 * patience,
  ): Promise<readonly Packet[]> {
    const deadline = performance.now() + deadline_ms;
    for (;;) {
      const packets = this.#read();
      if (holds(packets) || performance.now() > deadline) return packets;
      await sleep(50);
    }
  }

  /** The file has a header of 24 bytes, and one of 16 before each frame. */
  #read(): readonly Packet[] {
    const bytes = readFileSync(this.#file);
    const packets: Packet[] = [];
    for (let at = 24; at + 16 <= bytes.length; ) {
      const length = bytes.readUInt32LE(at + 8);
      const frame = bytes.subarray(at + 16, at + 16 + length);
      if (frame.length < length) break;
      const packet = readIp(frame.subarray(14));
      if (packet !== undefined) packets.push(packet);
      at += 16 + length;
    }
    return packets;
  }

  /** Ends it; answers all. */
  async stop(): Promise<readonly Packet[]> {
    if (this.#child.exitCode === null) {
      this.#child.kill('SIGINT');
      await once(this.#child, 'exit');
    }
    const packets = this.#read();
    rmSync(this.#directory, { recursive: true, force: true });
    return packets;
  }
}
