/** Pods for property tests: few addresses, names and values, so that they often meet. */
import fc from 'fast-check';
import { desiredPod, type PodInputs } from '../../src/desired/pod.js';
import { podTables } from '../../src/desired/tables.js';
import type { Family } from '../../src/ip/text.js';
import type { VppObject } from '../../src/objects/object.js';
import type { HostPort, PodSpec, PortRange } from '../../src/pod/spec.js';
import { podKey } from '../../src/pod/spec.js';

export function podSpec(n: number, changes: Partial<PodSpec> = {}): PodSpec {
  const netns = `/var/run/netns/pod${n}`;
  const interface_name = 'eth0';
  return {
    key: podKey(netns, interface_name),
    interface_name,
    netns,
    workload: { orchestrator: 'k8s', namespace: 'default', pod: `pod${n}`, endpoint: 'eth0' },
    addresses: { ip4: [`10.0.0.${n}`], ip6: [] },
    routes: ['0.0.0.0/0'],
    mtu: 0,
    allow_ip_forwarding: false,
    host_ports: [],
    allowed_source_prefixes: [],
    network_name: '',
    interface_spec: {
      rx_queues: 1,
      tx_queues: 1,
      rx_ring_size: 1024,
      tx_ring_size: 1024,
      is_l3: true,
      rx_mode: 'adaptive',
    },
    interface_type: 'tun',
    ...changes,
  };
}

export const inputs: PodInputs = {
  tables: podTables(0),
  mtu: 1500,
  gso: true,
  node: { ip4: '192.0.2.1', ip6: '2001:db8::1' },
  redirects: [],
  workers: 0,
  held: false,
  default_verdict: 'allow',
};

const memif_ports: readonly PortRange[] = [
  { protocol: 'tcp', first: 80, last: 90 },
  { protocol: 'udp', first: 53, last: 53 },
];

/** A pod with number `n`: addresses of different numbers never meet. */
export function arbitrarySpec(n: number): fc.Arbitrary<PodSpec> {
  const host_port = fc.record({
    protocol: fc.constantFrom('tcp' as const, 'udp' as const),
    host_port: fc.constantFrom(1000 * n, 1000 * n + 1),
    container_port: fc.constantFrom(80, 443),
  }) satisfies fc.Arbitrary<HostPort>;
  return fc
    .record({
      ip4: fc.subarray([`10.0.${n}.1`, `10.0.${n}.2`]),
      ip6: fc.subarray([`fd00:${n}::1`, `fd00:${n}::2`]),
      is_l3: fc.boolean(),
      rx_queues: fc.constantFrom(1, 2),
      rx_ring_size: fc.constantFrom(512, 1024),
      allowed: fc.subarray(['172.16.0.0/24', 'fd99::/64']),
      host_ports: fc.array(host_port, { maxLength: 2 }),
      memif: fc.option(fc.record({ is_l3: fc.boolean(), ports: fc.subarray([...memif_ports]) })),
      vcl: fc.boolean(),
    })
    .filter(({ ip4, ip6 }) => ip4.length + ip6.length > 0)
    .map(({ ip4, ip6, is_l3, rx_queues, rx_ring_size, allowed, host_ports, memif, vcl }) => {
      const base = podSpec(n);
      return {
        ...base,
        addresses: { ip4, ip6 },
        routes: ['0.0.0.0/0', '::/0'].filter((prefix) => (prefix.includes(':') ? ip6 : ip4).length > 0),
        allowed_source_prefixes: allowed.filter((prefix) => (prefix.includes(':') ? ip6 : ip4).length > 0),
        host_ports,
        interface_spec: { ...base.interface_spec, is_l3, rx_queues, rx_ring_size },
        interface_type: is_l3 ? ('tun' as const) : ('tap' as const),
        ...(memif !== null && { memif }),
        ...(memif === null && vcl && { vcl: true as const }),
      };
    });
}

/** What VPP should hold of pod `n`, in the tables of one of a few slots that are its own. */
export function arbitraryPod(n: number): fc.Arbitrary<{ spec: PodSpec; objects: VppObject[] }> {
  return fc
    .record({
      spec: arbitrarySpec(n),
      slot: fc.constantFrom(3 * n, 3 * n + 1),
      workers: fc.constantFrom(0, 2),
      gso: fc.boolean(),
      redirects: fc.subarray<Family>([4, 6]),
      ip4: fc.constantFrom('192.0.2.1', '192.0.2.2'),
    })
    .map(({ spec, slot, workers, gso, redirects, ip4 }) => ({
      spec,
      objects: desiredPod(spec, {
        ...inputs,
        tables: podTables(slot),
        workers,
        gso,
        redirects,
        node: { ip4, ip6: '2001:db8::1' },
      }),
    }));
}
