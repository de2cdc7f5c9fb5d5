/** What people are told of routes and tunnels to other nodes: what is wrong with what was told, what VPP refuses, how peers and tunnels are. */
import type { FelixConfiguration } from '../calico/kinds/felix-configuration.js';
import type { Clock } from '../clock.js';
import type { Connectivity } from '../desired/connectivity.js';
import { felixFaults } from '../desired/felix-faults.js';
import type { IpamRoutes } from '../desired/ipam-routes.js';
import type { NetworkRoutes } from '../desired/network-routes.js';
import type { NodeAddresses } from '../desired/node-addresses.js';
import type { Encryption } from './encryption.js';
import type { IkeTunnels } from './ike-tunnels.js';
import type { OwnSidsTold } from './own-sids.js';
import type { RouteWriter } from './route-writer.js';

/** For people: what keeps routes from VPP. Bounded: a hundred objects each. */
export interface ConnectivityReport {
  /** Who tells the routes. */
  readonly source: 'bgp' | 'ipam';
  /** What has not told all that there is yet. */
  readonly unsynced: readonly string[];
  /** By object of the input, what is wrong with it and what to do. */
  readonly faults: Readonly<Record<string, string>>;
  /** By object of VPP, why it was refused. It is tried again. */
  readonly refused: Readonly<Record<string, string>>;
  /** By node, how WireGuard with it is. */
  readonly wireguard: Readonly<Record<string, string>>;
  /** By address of a node, how the IPsec tunnel to it is. */
  readonly ipsec: Readonly<Record<string, string>>;
  /** By node, how packets go there by SRv6. */
  readonly srv6: Readonly<Record<string, string>>;
  /** How many there are, shown or not. */
  readonly faulty_count: number;
  readonly refused_count: number;
}

export interface ReportParts {
  readonly node_name: string;
  readonly clock: Pick<Clock, 'now_ms'>;
  readonly plan: Connectivity;
  readonly networks: NetworkRoutes;
  readonly nodes: NodeAddresses;
  /** Absent: routes come from BGP. */
  readonly ipam: IpamRoutes | undefined;
  readonly sids: OwnSidsTold;
  readonly encryption: Encryption;
  readonly ike: IkeTunnels;
  readonly writer: RouteWriter;
  readonly felix: () => Iterable<FelixConfiguration>;
  readonly unsynced: () => readonly string[];
}

/** Of what is wrong, so much is named. */
const named_max = 100;

function* someOf<T>(all: Iterable<T>, max: number): Iterable<T> {
  let left = max;
  for (const each of all) {
    if (left === 0) return;
    left -= 1;
    yield each;
  }
}

/** How many faults there are, named or not. */
export function faultyCount(parts: ReportParts): number {
  const { plan, networks, nodes, ipam, sids, encryption, ike } = parts;
  return (
    plan.counts.faulty +
    networks.counts.faulty +
    nodes.shared_count +
    (ipam?.faulty_count ?? 0) +
    (sids.fault === undefined ? 0 : 1) +
    encryption.fault_count +
    ike.fault_count
  );
}

export function connectivityReport(parts: ReportParts): ConnectivityReport {
  const { plan, writer, encryption, ike, ipam } = parts;
  const now_ms = parts.clock.now_ms();
  return {
    source: ipam === undefined ? 'bgp' : 'ipam',
    unsynced: parts.unsynced(),
    faults: faultsOf(parts),
    refused: writer.refused(),
    wireguard: encryption.status(plan.wantedPeers(), now_ms),
    ipsec: ike.status(plan.ikeTunnels(), now_ms),
    srv6: Object.fromEntries(someOf(plan.policies.status(), named_max)),
    faulty_count: faultyCount(parts),
    refused_count: writer.gauges().refused,
  };
}

function faultsOf(parts: ReportParts): Readonly<Record<string, string>> {
  const { plan, networks, nodes, ipam, sids, encryption, ike, node_name } = parts;
  const faults: Record<string, string> = {};
  const { far } = plan.counts;
  if (far > 0 && ipam !== undefined) {
    faults.routers = `have to know the way to ${far} prefixes, which go without a tunnel to nodes of other subnets, and without BGP nobody tells them: set ipipMode or vxlanMode of their pools to CrossSubnet, or give the routers these routes`;
  }
  if (sids.fault !== undefined) faults.SRv6 = `is not done: ${sids.fault}`;
  let left = named_max;
  const felix = [...parts.felix()].flatMap((each) => [...felixFaults(each, node_name)]);
  for (const source of [
    felix,
    encryption.faults(),
    ike.faults(),
    nodes.faults(),
    // Of two nodes with one address it knows which is a peer.
    plan.faults(),
    networks.faults(),
    ipam?.faults() ?? [],
  ]) {
    for (const [object, text] of source) {
      if (left === 0) return faults;
      left -= 1;
      faults[object] = text;
    }
  }
  return faults;
}
