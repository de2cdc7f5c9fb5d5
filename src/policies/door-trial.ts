/**
 * Which doors a VPP has, by packets: between two interfaces of VPP's packet generator, of which nothing may be sent to the second. It leaves
 * VPP as no node can use it, so that it is tried on one of its own. The words are those of VPP's command line. Pure but for what it is given to speak with.
 */
import type { DoorName } from './doors.js';

/** Those that packets tell of. The table of sessions would have to be filled, and fragments are lost, not let through. */
export type TriedDoor = Extract<
  DoorName,
  'dead_first_packet' | 'quoted_flow' | 'other_protocols' | 'poisoned_errors'
>;

export interface DoorTrial {
  /** As VPP says. */
  readonly vpp: string;
  readonly is_open: Readonly<Record<TriedDoor, boolean>>;
}

/** Answers what VPP writes. */
export type VppCli = (command: string) => Promise<string>;

const open_pod = { name: 'pg0', ip: '198.51.100.1', own: '192.0.2.1' } as const;
const isolated_pod = { name: 'pg1', ip: '198.51.100.2', own: '192.0.2.2' } as const;
type Pod = typeof open_pod | typeof isolated_pod;
/** Where the open pod sends its error: to itself. */
const other_ip = '198.51.100.3';

const protocols = { icmp: 1, udp: 17, gre: 47 } as const;
const destination_port = 2000;
/** VPP polls the generator in each round of its loop, and reads commands in a later one. */
const looks_max = 100;

const route = (to: Pod): string => `${to.ip}/32 via ${to.name}`;
/** npol's words: 0 is allow, 1 is deny. */
const verdict = ({ name }: Pod, ingress: 0 | 1): string =>
  `npol interface configure ${name} rx-policy-def 0 rx-profile-def 0 tx-policy-def ${ingress} tx-profile-def ${ingress}`;

/** Rejects where VPP cannot be told, or does not judge at all: nothing is known of its doors then. */
export async function tryDoors(cli: VppCli): Promise<DoorTrial> {
  const vpp = (await cli('show version')).trim().split('\n')[0] ?? '';
  for (const { name, own, ip } of [open_pod, isolated_pod]) {
    await cli(`create packet-generator interface ${name} mode ip4`);
    await cli(`set interface ip address ${name} ${own}/32`);
    await cli(`set interface state ${name} up`);
    await cli(`set cnat feature ${name}`);
    await cli(`ip route add ${ip}/32 via ${name}`);
  }
  await cli(`ip route add ${other_ip}/32 via ${open_pod.name}`);
  for (const pod of [open_pod, isolated_pod]) await cli(verdict(pod, 0));

  let sent = 0;
  /** Whether it comes out again at the other one. */
  const passes = async (from: Pod, packet: Uint8Array): Promise<boolean> => {
    sent += 1;
    const hex = Buffer.from(packet).toString('hex');
    const size = `${packet.length}-${packet.length}`;
    await cli(
      `packet-generator new { name s${sent} limit 1 interface ${from.name} node ip4-input size ${size} data { hex 0x${hex} } }`,
    );
    await cli('clear interfaces');
    await cli(`packet-generator enable-stream s${sent}`);
    for (let looks = 0; counterIn(await cli(`show interface ${from.name}`), 'rx packets') !== 1; looks += 1)
      if (looks === looks_max)
        throw new Error(`VPP has not sent packet ${sent}: is its packet generator there?`);
    const to = from === open_pod ? isolated_pod : open_pod;
    return counterIn(await cli(`show interface ${to.name}`), 'tx packets') > 0;
  };
  const flow = (source_port: number): Uint8Array =>
    udp(open_pod.ip, isolated_pod.ip, source_port, destination_port);
  const gre = ({ ip }: Pod, to: Pod): Uint8Array => ip4(ip, to.ip, protocols.gre, new Uint8Array(24));

  if (!(await passes(open_pod, flow(1001)))) throw new Error('nothing passes, whatever is allowed');
  await cli(verdict(isolated_pod, 1));
  if (await passes(open_pod, flow(1002)))
    throw new Error('what npol is to deny passes: does this VPP have the plugins cnat and npol?');

  const other_protocols = await passes(open_pod, gre(open_pod, isolated_pod));

  await cli(`ip route del ${route(isolated_pod)}`);
  await passes(open_pod, flow(1003));
  await cli(`ip route add ${route(isolated_pod)}`);
  const dead_first_packet = await passes(open_pod, flow(1003));

  const quoted = udp(isolated_pod.ip, open_pod.ip, destination_port, 1004);
  await passes(open_pod, portUnreachable(open_pod.ip, other_ip, quoted));
  const quoted_flow = await passes(open_pod, flow(1004));

  // Last: it stays.
  const is_clean = await passes(isolated_pod, gre(isolated_pod, open_pod));
  await passes(isolated_pod, udp(isolated_pod.ip, open_pod.ip, 1005, destination_port, 1));
  const poisoned_errors = is_clean && !(await passes(isolated_pod, gre(isolated_pod, open_pod)));

  return { vpp, is_open: { dead_first_packet, quoted_flow, other_protocols, poisoned_errors } };
}

/** VPP leaves out counters that are 0. */
function counterIn(text: string, name: string): number {
  return Number(new RegExp(`${name}\\s+(\\d+)`).exec(text)?.[1] ?? 0);
}

// --- packets

const bytesOf = (ip: string): number[] => ip.split('.').map(Number);
const u16 = (value: number): number[] => [value >> 8, value & 255];

/** RFC 1071. */
function checksum(bytes: readonly number[]): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += (bytes[at]! << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

function ip4(
  source: string,
  destination: string,
  protocol: number,
  payload: Uint8Array,
  ttl = 64,
): Uint8Array {
  const length = 20 + payload.length;
  const header = [0x45, 0, ...u16(length), 0, 1, 0, 0, ttl, protocol, 0, 0];
  header.push(...bytesOf(source), ...bytesOf(destination));
  header.splice(10, 2, ...u16(checksum(header)));
  return Uint8Array.of(...header, ...payload);
}

/** Without a checksum, as UDP over IPv4 may be. */
function udp(source: string, destination: string, from: number, to: number, ttl?: number): Uint8Array {
  const payload = [...u16(from), ...u16(to), ...u16(26), 0, 0, ...new Uint8Array(18)];
  return ip4(source, destination, protocols.udp, Uint8Array.of(...payload), ttl);
}

function portUnreachable(source: string, destination: string, quoted: Uint8Array): Uint8Array {
  const message = [3, 3, 0, 0, 0, 0, 0, 0, ...quoted];
  message.splice(2, 2, ...u16(checksum(message)));
  return ip4(source, destination, protocols.icmp, Uint8Array.of(...message));
}
