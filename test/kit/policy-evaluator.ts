/**
 * What Calico says of a packet, as plainly as possible: the oracle that the compiler is compared with. It shares nothing with the product
 * but the data that Felix sends, compares addresses bit by bit, and is slow.
 */
import type {
  HostEndpoint,
  Icmp,
  Policy,
  PortRange,
  Rule,
  Rules,
  Side,
  Tier,
  WorkloadEndpoint,
} from '../../src/felix/messages.js';

/** A flow's first packet. */
export interface Packet {
  readonly family: 4 | 6;
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** 0 where the protocol has none. */
  readonly source_port: number;
  readonly destination_port: number;
  readonly icmp?: { readonly type: number; readonly code: number };
}

export interface World {
  readonly policies: ReadonlyMap<string, Policy>;
  readonly profiles: ReadonlyMap<string, Rules>;
  /** Members as Felix writes them: prefixes, or address, protocol and port. */
  readonly sets: ReadonlyMap<string, readonly string[]>;
  readonly local_pods: readonly string[];
  readonly node_addresses: readonly string[];
  readonly endpoint_to_host: 'allow' | 'deny';
  /** `protocol:port`, which no host endpoint closes. */
  readonly failsafe_inbound: readonly string[];
  readonly failsafe_outbound: readonly string[];
  readonly vxlan_port: number | undefined;
}

export type Direction = 'ingress' | 'egress';
export type Verdict = 'allow' | 'deny';

/** At a pod's interface in this network; undefined: in the default one, which the node is in. */
export function judgeWorkload(
  world: World,
  endpoint: WorkloadEndpoint | undefined,
  direction: Direction,
  packet: Packet,
  network?: string,
): Verdict {
  if (network === undefined && direction === 'ingress' && world.node_addresses.includes(packet.source))
    return 'allow';
  if (direction === 'egress' && packet.protocol === 17 && packet.destination_port === world.vxlan_port)
    return 'deny';
  if (endpoint?.active !== true) return 'deny';
  return (
    judgeTiers(world, endpoint.tiers, direction, packet, network) ??
    judgeProfiles(world, endpoint, direction, packet)
  );
}

/** What ends at the node, or begins there. */
export function judgeHost(
  world: World,
  endpoint: HostEndpoint | undefined,
  direction: Direction,
  packet: Packet,
): Verdict {
  const { local_pods } = world;
  if (direction === 'ingress' && local_pods.includes(packet.source)) return world.endpoint_to_host;
  if (endpoint === undefined) return 'allow';
  if (direction === 'egress' && local_pods.includes(packet.destination)) return 'allow';
  const failsafe = direction === 'ingress' ? world.failsafe_inbound : world.failsafe_outbound;
  if (failsafe.includes(`${packet.protocol}:${packet.destination_port}`)) return 'allow';
  return (
    judgeTiers(world, endpoint.tiers, direction, packet) ?? judgeProfiles(world, endpoint, direction, packet)
  );
}

/** What passes the node; what is the node's own is let by. */
export function judgeForwarded(
  world: World,
  endpoint: HostEndpoint | undefined,
  direction: Direction,
  packet: Packet,
  network?: string,
): Verdict {
  const own = direction === 'ingress' ? packet.destination : packet.source;
  if (endpoint === undefined) return 'allow';
  if (network === undefined && world.node_addresses.includes(own)) return 'allow';
  return judgeTiers(world, endpoint.forward, direction, packet, network) ?? 'allow';
}

/** Undefined: the last tier has handed it on. Rules for other networks than this one are not there. */
function judgeTiers(
  world: World,
  tiers: readonly Tier[],
  direction: Direction,
  packet: Packet,
  network?: string,
): Verdict | undefined {
  for (const tier of tiers) {
    const refs = (direction === 'ingress' ? tier.ingress : tier.egress).filter(({ staged }) => !staged);
    if (refs.length === 0) continue;
    let decided: Verdict | 'pass' | undefined;
    for (const { key } of refs) {
      const rules = rulesOf(world.policies.get(key)!, direction).filter((rule) => rule.network === network);
      decided = judgeRules(world, rules, packet);
      if (decided !== undefined) break;
    }
    if (decided === 'allow' || decided === 'deny') return decided;
    if (decided === undefined && tier.end === 'deny') return 'deny';
  }
  return undefined;
}

function judgeProfiles(
  world: World,
  { profiles }: { readonly profiles: readonly string[] },
  direction: Direction,
  packet: Packet,
): Verdict {
  for (const name of profiles) {
    const decided = judgeRules(world, rulesOf(world.profiles.get(name)!, direction), packet);
    if (decided !== undefined) return decided === 'allow' ? 'allow' : 'deny';
  }
  return 'deny';
}

function rulesOf(policy: Rules, direction: Direction): readonly Rule[] {
  return direction === 'ingress' ? policy.inbound : policy.outbound;
}

function judgeRules(world: World, rules: readonly Rule[], packet: Packet): Verdict | 'pass' | undefined {
  for (const rule of rules) {
    if (rule.action === 'log' || !matches(world, rule, packet)) continue;
    if (rule.action === 'allow' || rule.action === '') return 'allow';
    if (rule.action === 'pass' || rule.action === 'next-tier') return 'pass';
    return 'deny';
  }
  return undefined;
}

const numbers: Readonly<Record<string, number>> = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  icmpv6: 58,
  sctp: 132,
  udplite: 136,
};

function numberOf(protocol: number | string): number {
  return typeof protocol === 'number' ? protocol : numbers[protocol.toLowerCase()]!;
}

function matches(world: World, rule: Rule, packet: Packet): boolean {
  if (rule.ip_version !== 0 && rule.ip_version !== packet.family) return false;
  // A list of prefixes without one of the packet's family leaves the family out.
  for (const { nets } of [rule.src, rule.dst, rule.not_src, rule.not_dst])
    if (nets.length > 0 && !nets.some((net) => familyOf(net) === packet.family)) return false;
  if (rule.protocol !== undefined && numberOf(rule.protocol) !== packet.protocol) return false;
  if (rule.not_protocol !== undefined && numberOf(rule.not_protocol) === packet.protocol) return false;
  if (rule.icmp !== undefined && !meetsIcmp(rule.icmp, packet)) return false;
  if (rule.not_icmp !== undefined && (packet.icmp === undefined || meetsIcmp(rule.not_icmp, packet)))
    return false;
  if (asksPorts(rule) && ![6, 17, 132].includes(packet.protocol)) return false;
  const { source, destination, source_port, destination_port } = packet;
  if (!meets(world, rule.src, packet, source, source_port)) return false;
  if (!meets(world, rule.dst, packet, destination, destination_port)) return false;
  if (!rule.services.every((id) => inPortSet(world, id, packet, destination, destination_port))) return false;
  if (meetsAny(world, rule.not_src, packet, source, source_port)) return false;
  return !meetsAny(world, rule.not_dst, packet, destination, destination_port);
}

function asksPorts({ src, dst, not_src, not_dst, services }: Rule): boolean {
  return (
    services.length > 0 ||
    [src, dst, not_src, not_dst].some(({ ports, named_ports }) => ports.length + named_ports.length > 0)
  );
}

function meetsIcmp({ type, code }: Icmp, { icmp }: Packet): boolean {
  return icmp !== undefined && icmp.type === type && (code === undefined || icmp.code === code);
}

function meets(world: World, side: Side, packet: Packet, address: string, port: number): boolean {
  if (side.nets.length > 0 && !side.nets.some((net) => within(net, address))) return false;
  if (!side.sets.every((id) => inSet(world, id, address))) return false;
  if (side.ports.length + side.named_ports.length === 0) return true;
  return (
    side.ports.some((range) => inRange(range, port)) ||
    side.named_ports.some((id) => inPortSet(world, id, packet, address, port))
  );
}

function meetsAny(world: World, side: Side, packet: Packet, address: string, port: number): boolean {
  return (
    side.nets.some((net) => within(net, address)) ||
    side.sets.some((id) => inSet(world, id, address)) ||
    side.ports.some((range) => inRange(range, port)) ||
    side.named_ports.some((id) => inPortSet(world, id, packet, address, port))
  );
}

function inRange({ first, last }: PortRange, port: number): boolean {
  return first <= port && port <= last;
}

function inSet(world: World, id: string, address: string): boolean {
  return world.sets.get(id)!.some((member) => within(member, address));
}

function inPortSet(world: World, id: string, packet: Packet, address: string, port: number): boolean {
  return world.sets.get(id)!.some((member) => {
    const [host = '', name = '', number = ''] = member.split(/,|:(?=\d+$)/);
    return bitsOf(host) === bitsOf(address) && numberOf(name) === packet.protocol && Number(number) === port;
  });
}

function familyOf(text: string): 4 | 6 {
  return text.includes(':') ? 6 : 4;
}

function within(net: string, address: string): boolean {
  if (familyOf(net) !== familyOf(address)) return false;
  const [base = '', length] = net.split('/');
  const bits = bitsOf(base);
  return (
    bits.slice(0, length === undefined ? bits.length : Number(length)) ===
    bitsOf(address).slice(0, length === undefined ? bits.length : Number(length))
  );
}

/** An address as zeros and ones. */
function bitsOf(address: string): string {
  let bits = known_bits.get(address);
  if (bits === undefined) {
    bits = spelledOut(address);
    known_bits.set(address, bits);
  }
  return bits;
}

/** Tests ask for few addresses, and often. */
const known_bits = new Map<string, string>();

function spelledOut(address: string): string {
  if (familyOf(address) === 4)
    return address
      .split('.')
      .map((byte) => Number(byte).toString(2).padStart(8, '0'))
      .join('');
  const [head = '', tail] = address.split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':'));
  const front = groups(head);
  const back = groups(tail ?? '');
  const zeros = Array.from({ length: 8 - front.length - back.length }, () => '0');
  return [...front, ...zeros, ...back]
    .map((group) => Number.parseInt(group, 16).toString(2).padStart(16, '0'))
    .join('');
}
