/** A node and a pod as inputs of `desired`, for the tests to vary. */

import { interface_spec_default } from '../../src/config/interface-spec.js';
import { type NodeInputs, type Uplink, uplinkTag } from '../../src/desired/node-inputs.js';
import type { PodInputs } from '../../src/desired/pod.js';
import { podTables } from '../../src/desired/tables.js';
import { desiredNode } from '../../src/desired/uplink.js';
import type { Address, NextHop, Route } from '../../src/linux/network.js';
import type { VppObject } from '../../src/objects/object.js';
import { keyOf } from '../../src/objects/object.js';
import type { Path } from '../../src/objects/routing.js';
import type { PodSpec } from '../../src/pod/spec.js';

export const uplink_mac = '02:00:00:00:00:01';

export function address(prefix: string, changes: Partial<Address> = {}): Address {
  const family = prefix.includes(':') ? 6 : 4;
  const link_local = prefix.startsWith('fe80:');
  return { link: 2, family, prefix, scope: link_local ? 253 : 0, flags: 0x80, ...changes };
}

/** Through link 2 unless `hops` says otherwise: `10.0.0.1`, or `10.0.0.1 dev 3`, or `dev 3`. */
export function linuxRoute(
  prefix: string,
  hops: readonly string[] = [],
  changes: Partial<Route> = {},
): Route {
  const family = prefix.includes(':') ? 6 : 4;
  return {
    family,
    prefix,
    table: 254,
    type: 'unicast',
    protocol: 4,
    scope: 0,
    metric: family === 6 ? 1024 : 0,
    next_hops: (hops.length === 0 ? [''] : hops).map((text): NextHop => {
      const [, gateway, oif] = /^(\S*?)\s*(?:dev (\d+))?$/.exec(text) ?? [];
      return { oif: Number(oif ?? 2), ...(gateway && { gateway }) };
    }),
    ...changes,
  };
}

export function uplinkOf(changes: Partial<Uplink> = {}): Uplink {
  const { name = 'eth0', mac = uplink_mac } = changes;
  return {
    name,
    index: 0,
    is_main: true,
    mac,
    mtu: 1500,
    addresses: [address('10.0.0.2/24'), address('fd00::2/64'), address('fe80::1:2/64')],
    routes: [
      linuxRoute('10.0.0.0/24', [], { protocol: 2, scope: 253, prefsrc: '10.0.0.2' }),
      linuxRoute('0.0.0.0/0', ['10.0.0.1']),
      linuxRoute('fd00::/64', [], { protocol: 2, metric: 256 }),
      linuxRoute('fe80::/64', [], { protocol: 2, metric: 256 }),
      linuxRoute('::/0', ['fe80::1']),
    ],
    link: 2,
    host_addresses: [],
    neighbours: [],
    physical_network: '',
    rx_mode: 'interrupt',
    device: {
      kind: 'af_packet',
      tag: uplinkTag(name),
      host_if_name: name,
      mac,
      rx_queues: 1,
      tx_queues: 1,
      rx_frames_per_block: 1024,
      tx_frames_per_block: 1024,
      gso: true,
      qdisc_bypass: false,
      version_3: false,
    },
    ...changes,
  };
}

export function nodeOf(changes: Partial<NodeInputs> = {}): NodeInputs {
  return {
    uplinks: [uplinkOf()],
    tap_address: '169.254.0.1/32',
    tap: { rx_ring_size: 1024, tx_ring_size: 1024, rx_mode: 'adaptive' },
    host_namespace: 'pid:1',
    gso: true,
    neighbours: {
      ip4: { max_number: 50_000, max_age_s: 30 },
      ip6: { max_number: 50_000, max_age_s: 30 },
    },
    cnat: 'stock',
    service_prefixes: ['10.96.0.0/16', 'fd00:96::/112'],
    default_gateways: [],
    redirects: [],
    uplink_128_to_64: true,
    ...changes,
  };
}

export function podOf(changes: Partial<PodSpec> = {}): PodSpec {
  const { netns = '/var/run/netns/cni-1', interface_name = 'eth0' } = changes;
  return {
    key: `netns:${netns},if:${interface_name}`,
    interface_name,
    netns,
    workload: { orchestrator: 'k8s', namespace: 'default', pod: 'web', endpoint: 'eth0' },
    addresses: { ip4: ['10.1.0.5'], ip6: ['fd01::5'] },
    routes: ['0.0.0.0/0', '::/0'],
    mtu: 0,
    allow_ip_forwarding: false,
    host_ports: [{ protocol: 'tcp', host_port: 8080, container_port: 80 }],
    allowed_source_prefixes: [],
    network_name: '',
    interface_spec: { ...interface_spec_default, is_l3: true, rx_mode: 'adaptive' },
    interface_type: 'tun',
    ...changes,
  };
}

export function podInputsOf(changes: Partial<PodInputs> = {}): PodInputs {
  return {
    tables: podTables(0),
    mtu: 1440,
    gso: true,
    node: { ip4: '10.0.0.2', ip6: 'fd00::2' },
    redirects: [],
    workers: 0,
    held: false,
    default_verdict: 'allow',
    ...changes,
  };
}

/** An object on one line: its key, and for routes the way out. */
export function inWords(object: VppObject): string {
  if (object.kind !== 'route') return keyOf(object);
  return `${keyOf(object)} ${object.paths.map(pathInWords).join(' + ')}`;
}

function pathInWords(path: Path): string {
  switch (path.via) {
    case 'interface':
      return `${path.interface} ${path.next_hop}`;
    case 'next_hop':
      return `by ${path.next_hop}`;
    case 'lookup':
      return `table ${path.table_id}`;
    case 'drop':
    case 'unreachable':
      return path.via;
  }
}

/** The routes of a table, in words: `10.0.0.0/8 main-eth0 10.0.0.1`. */
export function routesOf(inputs: NodeInputs, table_id = 0): string[] {
  return desiredNode(inputs, true)
    .filter((object) => object.kind === 'route' && object.table_id === table_id)
    .map((route) => inWords(route).replace(`route:node/${table_id}/`, ''));
}
