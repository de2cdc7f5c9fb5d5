/**
 * Hosts as people have them, as data: what an administrator, a DHCP client or a routing daemon may have done to the namespace
 * with the uplink `eth0` (and to that of its other end, `peer0`). A line is a command of `ip`, or `sysctl PATH VALUE`, or
 * `tc …`; `eth1` and `eth2` are further links with a carrier.
 */

export interface OddHost {
  readonly name: string;
  readonly setup: readonly string[];
  readonly peer?: readonly string[];
  /** Link kinds that not every kernel has. */
  readonly needs?: readonly string[];
  /** Of the uplinks; `eth0` when absent. */
  readonly uplinks?: readonly string[];
  /** The uplink is not taken over: what the refusal says. */
  readonly refused?: RegExp;
  /** Destinations of routes that an earlier node has left on the uplink: they are gone for good. */
  readonly leftovers?: readonly string[];
  /** What is not given back, as `ip -d -j addr` calls it where it shows it, and what `check` says of it. */
  readonly lost?: Readonly<Record<string, RegExp>>;
}

export const ip4 = 'addr add 10.0.0.2/24 dev eth0';
export const ip6 = 'addr add 2001:db8::2/64 dev eth0 nodad';
export const default4 = 'route add default via 10.0.0.1';
export const default6 = '-6 route add default via fe80::1 dev eth0';
export const both = [ip4, ip6];
export const plain = [...both, default4, default6];
export const conf = (family: 4 | 6, name: string, value: string | number): string =>
  `sysctl net/ipv${family}/conf/eth0/${name} ${value}`;
export const eth1 = 'addr add 192.168.7.1/24 dev eth1';
