/**
 * The other end of the uplinks, in a network namespace of the same machine: routers with what hosts ask them for, as a
 * script with the configurations of Debian's servers in it. Pure.
 */
import { gateway_script } from './recipe.js';

export interface GatewayNetwork {
  /** Cards that are its other ends; several are bridged, as for a bond. */
  readonly devices: readonly string[];
  /** Of a VLAN: its cards speak 802.1Q. */
  readonly vlan?: number;
  readonly address4: `${string}/24`;
  readonly address6: `${string}/64`;
  /** Leases of so many seconds for addresses that end in 50 to 99. */
  readonly dhcp4_lease_s?: number;
  /** Advertises itself, its prefix and its name server; what is advertised lives so many seconds. */
  readonly advertised_s?: number;
  /** Leases of so many seconds; needs advertisements, which point to it. */
  readonly dhcp6_lease_s?: number;
}

/** Addresses beyond the gateway: reached by a default route alone. */
export const far = { address4: '198.51.100.1', address6: '2001:db8:ffff::1', name: 'far.example' } as const;

/** What the script makes the namespace's name. */
export const gateway_namespace = 'gw';

export function gatewayFiles(networks: readonly GatewayNetwork[]): Record<string, string> {
  return { [gateway_script]: gatewayScript(networks) };
}

function gatewayScript(networks: readonly GatewayNetwork[]): string {
  return `#!/bin/bash
set -e
mkdir -p /run/lab
cd /run/lab
# Quotes in the configurations below are none of this script's.
write() { cat > "$1"; }
inside() { ip netns exec ${gateway_namespace} "$@"; }
ip netns add ${gateway_namespace}
inside sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0
ip -n ${gateway_namespace} link set lo up
ip -n ${gateway_namespace} address add ${far.address4}/32 dev lo
ip -n ${gateway_namespace} address add ${far.address6}/128 dev lo
${networks.map(networkScript).join('')}
write dnsmasq.conf <<'END'
no-resolv
no-hosts
bind-dynamic
except-interface=lo
pid-file=
address=/${far.name}/${far.address4}
END
inside dnsmasq -k -C dnsmasq.conf &> dnsmasq.log &
`;
}

function networkScript(network: GatewayNetwork, index: number): string {
  const { devices, vlan, address4, address6 } = network;
  const inside = `ip -n ${gateway_namespace}`;
  const bridge = `net${index}`;
  const port = vlan === undefined ? bridge : `${bridge}.${vlan}`;
  return `${inside} link add ${bridge} type bridge
${devices
  .map(
    (device) => `until [ -e /sys/class/net/${device} ]; do sleep 0.1; done
ip link set ${device} netns ${gateway_namespace}
${inside} link set ${device} master ${bridge} up
`,
  )
  .join('')}${inside} link set ${bridge} up
${vlan === undefined ? '' : `${inside} link add link ${bridge} name ${port} type vlan id ${vlan}\n${inside} link set ${port} up\n`}${inside} address add ${address4} dev ${port}
${inside} address add ${address6} dev ${port}
${dhcp4(network, port)}${advertisements(network, port)}${dhcp6(network, port)}`;
}

const prefix4 = (address: string): string => address.slice(0, address.lastIndexOf('.'));
/** `fd07::1/64` to `fd07::`. */
const prefix6 = (address: string): string => address.slice(0, address.lastIndexOf('::') + 2);
const plain = (address: string): string => address.slice(0, address.indexOf('/'));

function dhcp4({ address4, dhcp4_lease_s: lease_s }: GatewayNetwork, port: string): string {
  if (lease_s === undefined) return '';
  const prefix = prefix4(address4);
  return `write dhcp4-${port}.conf <<'END'
authoritative;
default-lease-time ${lease_s};
max-lease-time ${lease_s};
min-lease-time ${lease_s};
subnet ${prefix}.0 netmask 255.255.255.0 {
  range ${prefix}.50 ${prefix}.99;
  option routers ${plain(address4)};
  option domain-name-servers ${plain(address4)};
  option domain-name "lab.example";
}
END
touch dhcp4-${port}.leases
inside dhcpd -4 -f -cf dhcp4-${port}.conf -lf dhcp4-${port}.leases -pf dhcp4-${port}.pid ${port} &> dhcp4-${port}.log &
`;
}

function advertisements({ address6, advertised_s, dhcp6_lease_s }: GatewayNetwork, port: string): string {
  if (advertised_s === undefined) return '';
  return `write radvd-${port}.conf <<'END'
interface ${port} {
  AdvSendAdvert on;
  MinRtrAdvInterval 3;
  MaxRtrAdvInterval ${Math.max(4, Math.floor(advertised_s / 4))};
  AdvDefaultLifetime ${advertised_s};
  AdvManagedFlag ${dhcp6_lease_s === undefined ? 'off' : 'on'};
  prefix ${prefix6(address6)}/64 {
    AdvAutonomous ${dhcp6_lease_s === undefined ? 'on' : 'off'};
    AdvValidLifetime ${2 * advertised_s};
    AdvPreferredLifetime ${advertised_s};
  };
  RDNSS ${plain(address6)} { AdvRDNSSLifetime ${advertised_s}; };
};
END
inside radvd -n -m logfile -l radvd-${port}.log -C radvd-${port}.conf -p radvd-${port}.pid &> radvd-${port}.out &
`;
}

function dhcp6({ address6, dhcp6_lease_s: lease_s }: GatewayNetwork, port: string): string {
  if (lease_s === undefined) return '';
  const prefix = prefix6(address6);
  return `write dhcp6-${port}.conf <<'END'
authoritative;
default-lease-time ${lease_s};
preferred-lifetime ${lease_s};
option dhcp-renewal-time ${Math.floor(lease_s / 2)};
option dhcp-rebinding-time ${Math.floor((lease_s * 4) / 5)};
subnet6 ${prefix}/64 {
  range6 ${prefix}1000 ${prefix}1fff;
  option dhcp6.name-servers ${plain(address6)};
}
END
touch dhcp6-${port}.leases
inside dhcpd -6 -f -cf dhcp6-${port}.conf -lf dhcp6-${port}.leases -pf dhcp6-${port}.pid ${port} &> dhcp6-${port}.log &
`;
}
