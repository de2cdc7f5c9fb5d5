/**
 * A small network for the demo and the tests, all of it network namespaces:
 *
 *   p1 … pn    [node] eth0 ──── out0 [outside] far0 ──── eth0 [far]
 *
 * `node` is where a node runs, `pN` are the sandboxes of its pods, still empty. `outside` is the node's gateway and knows the
 * way to the pods; behind it, over a link of small MTU, is `far`. VPP takes an IPv6 flow whose ends share their last 32 bits
 * for one of its own and translates it, so no two addresses here do.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { NetworkNamespace, NewRoute } from '../src/linux/network.js';
import { NetnsLab } from './netns.js';
import { checksumInSoftware, cutBefore } from './offload.js';
import type { Site } from './site.js';
import { removeStale } from './stale.js';

/** Addresses of one end, without length. */
export interface Ends {
  readonly ip4?: string;
  readonly ip6?: string;
}

export interface Pod extends Required<Ends> {
  /** `p1`: also the name of its namespace. */
  readonly name: string;
  /** Path of its namespace. */
  readonly netns: string;
}

interface Cable {
  readonly uplink: string;
  readonly peer: string;
  readonly node: readonly string[];
  readonly outside: readonly string[];
}

interface Variant {
  readonly cables: readonly Cable[];
  /** Of the node; `via` is a cable's uplink. */
  readonly routes: readonly { readonly prefix: string; readonly via: string; readonly gateway?: string }[];
  readonly node: Ends;
  readonly outside: Ends;
  /** Further addresses of the node, on its loopback. */
  readonly loopback?: readonly string[];
}

const main_cable: Cable = {
  uplink: 'eth0',
  peer: 'out0',
  node: ['10.0.0.2/24', 'fd00::2/64'],
  outside: ['10.0.0.1/24', 'fd00::1/64'],
};
const second_cable: Cable = {
  uplink: 'eth1',
  peer: 'out1',
  node: ['10.1.0.12/24', 'fd01::12/64'],
  outside: ['10.1.0.11/24', 'fd01::11/64'],
};
const defaults = [
  { prefix: '0.0.0.0/0', via: 'eth0', gateway: '10.0.0.1' },
  { prefix: '::/0', via: 'eth0', gateway: 'fd00::1' },
];
const plain: Variant = {
  cables: [main_cable],
  routes: defaults,
  node: { ip4: '10.0.0.2', ip6: 'fd00::2' },
  outside: { ip4: '10.0.0.1', ip6: 'fd00::1' },
};

/** How the node is connected. */
export const variants = {
  plain,
  ip4_only: {
    cables: [{ ...main_cable, node: ['10.0.0.2/24'], outside: ['10.0.0.1/24'] }],
    routes: defaults.slice(0, 1),
    node: { ip4: '10.0.0.2' },
    outside: { ip4: '10.0.0.1' },
  },
  ip6_only: {
    cables: [{ ...main_cable, node: ['fd00::2/64'], outside: ['fd00::1/64'] }],
    routes: defaults.slice(1),
    node: { ip6: 'fd00::2' },
    outside: { ip6: 'fd00::1' },
  },
  /** As clouds do it: the node's address is alone in its prefix, the gateway is on the link nevertheless. */
  on_link_gateway: {
    ...plain,
    cables: [{ ...main_cable, node: ['10.0.0.2/32', 'fd00::2/128'] }],
    routes: [{ prefix: '10.0.0.1/32', via: 'eth0' }, { prefix: 'fd00::1/128', via: 'eth0' }, ...defaults],
  },
  /**
   * As keepalived and kube-vip do it: one more address inside the subnet, with a full mask. And as load balancers and local name servers do:
   * addresses on the loopback.
   */
  virtual_address: {
    ...plain,
    cables: [{ ...main_cable, node: [...main_cable.node, '10.0.0.200/32', 'fd00::2c8/128'] }],
    loopback: ['198.51.100.7/32', 'fd77::7/128'],
  },
  two_uplinks: { ...plain, cables: [main_cable, second_cable] },
} satisfies Readonly<Record<string, Variant>>;
export type VariantName = keyof typeof variants;

export const virtual_addresses = {
  of_uplink: ['10.0.0.200', 'fd00::2c8'],
  of_loopback: ['198.51.100.7', 'fd77::7'],
} as const;
export const pod_prefixes = { ip4: '10.44.0.0/24', ip6: 'fd44::/64' } as const;
/** Reached over a link that only its router knows to be of this MTU. */
export const far = { ip4: '10.9.0.2', ip6: 'fd09::b2', mtu: 1300 } as const;

export interface TopologyOptions {
  /** `plain` when absent. */
  readonly variant?: VariantName;
  /** Two when absent. */
  readonly pods?: number;
  /** Of the node's ends of its cables; 1500, as the other ends have, when absent. */
  readonly mtu?: number;
  /** Receive and transmit queues of the cables. */
  readonly queues?: number;
  /**
   * At which ends of the cables checksums, and the cutting of segments, are left to the device; at both when absent. XDP on the node's end takes packets as they are, and those
   * that come from a device with offloading have none.
   */
  readonly offload?: 'node' | 'nowhere';
}

export class Topology implements Site {
  readonly name = 'node';
  readonly vpp_netns = 'vpp';
  readonly lab = new NetnsLab();
  readonly uplinks: readonly string[];
  readonly node: Ends;
  readonly outside: Ends;
  readonly pods: readonly Pod[];
  readonly #children = new Set<ChildProcess>();

  constructor({ variant = 'plain', pods = 2, mtu = 1500, queues = 1, offload }: TopologyOptions = {}) {
    removeStale();
    const chosen: Variant = variants[variant];
    this.node = chosen.node;
    this.outside = chosen.outside;
    this.uplinks = chosen.cables.map(({ uplink }) => uplink);
    try {
      for (const cable of chosen.cables) {
        const near = { namespace: 'node', name: cable.uplink, addresses: cable.node };
        const other = { namespace: 'outside', name: cable.peer, addresses: cable.outside };
        this.lab.veth(near, other, queues);
        this.#setMtu('node', cable.uplink, mtu);
        if (offload !== undefined) checksumInSoftware(this.lab.namespace('outside'), cable.peer);
        if (offload !== 'nowhere') continue;
        checksumInSoftware(this.lab.namespace('node'), cable.uplink);
        cutBefore(this.lab.namespace('node'), cable.uplink);
      }
      this.#addRouter(chosen.cables);
      for (const route of chosen.routes) this.#addRoute('node', route.prefix, route.via, route.gateway);
      for (const prefix of chosen.loopback ?? []) this.#addToLoopback(prefix);
      this.#addPodRoutes();
      this.pods = Array.from({ length: pods }, (_, at) => ({
        name: `p${at + 1}`,
        netns: this.lab.namespace(`p${at + 1}`),
        ip4: `10.44.0.${11 + at}`,
        ip6: `fd44::${(0xa1 + at).toString(16)}`,
      }));
    } catch (error) {
      this.lab.close();
      throw error;
    }
  }

  /** The command line that runs `argv` inside. */
  inside(name: string, argv: readonly string[]): [string, string[]] {
    return ['nsenter', [`--net=${this.lab.namespace(name)}`, '--', ...argv]];
  }

  /** A process inside, ended by `close()` at the latest. */
  spawn(name: string, argv: readonly string[], options: Parameters<typeof spawn>[2] = {}): ChildProcess {
    const child = spawn(...this.inside(name, argv), options);
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  /** Works on the namespace through netlink. */
  within<T>(name: string, run: (namespace: NetworkNamespace) => T): T {
    const namespace = this.lab.host.open(this.lab.namespace(name));
    try {
      return run(namespace);
    } finally {
      namespace.close();
    }
  }

  /** The namespace with all that is in it goes, and comes back empty. */
  renewPod(pod: Pod): void {
    this.removePod(pod);
    this.lab.host.createNamed(pod.name);
    this.within(pod.name, (namespace) => namespace.apply({ do: 'set_link', link: 1, up: true }));
  }

  removePod(pod: Pod): void {
    this.lab.host.removeNamed(pod.name);
  }

  /** Cuts the cable of the first uplink at its far end, or mends it: the node's end loses its carrier. */
  setCarrier(on: boolean): void {
    const { peer } = main_cable;
    this.within('outside', (outside) =>
      outside.apply({ do: 'set_link', link: outside.link(peer)!.index, up: on }),
    );
    if (on) this.#addPodRoutes();
  }

  /** Ends what runs inside and removes all; may be called twice. */
  close(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    this.lab.close();
  }

  #setMtu(name: string, link: string, mtu: number): void {
    this.within(name, (namespace) =>
      namespace.apply({ do: 'set_link', link: namespace.link(link)!.index, mtu }),
    );
  }

  #addRoute(name: string, prefix: string, link: string, gateway?: string): void {
    this.within(name, (namespace) => {
      const oif = namespace.link(link)!.index;
      const route: NewRoute = {
        family: prefix.includes(':') ? 6 : 4,
        prefix,
        next_hops: [gateway === undefined ? { oif } : { oif, gateway }],
        ...(gateway === undefined && { scope: prefix.includes(':') ? 0 : link_scope }),
      };
      namespace.apply({ do: 'replace_route', route });
    });
  }

  #addToLoopback(prefix: string): void {
    this.within('node', (namespace) =>
      namespace.apply({
        do: 'add_address',
        address: { link: 1, family: prefix.includes(':') ? 6 : 4, prefix },
      }),
    );
  }

  /** Linux forgets them whenever the link goes down. */
  #addPodRoutes(): void {
    for (const family of ['ip4', 'ip6'] as const) {
      const { [family]: gateway } = this.node;
      if (gateway) this.#addRoute('outside', pod_prefixes[family], main_cable.peer, gateway);
    }
  }

  #addRouter(cables: readonly Cable[]): void {
    const ends = [
      { namespace: 'outside', name: 'far0', addresses: ['10.9.0.1/24', 'fd09::b1/64'] },
      { namespace: 'far', name: 'eth0', addresses: [`${far.ip4}/24`, `${far.ip6}/64`] },
    ] as const;
    this.lab.veth(...ends);
    this.#setMtu('outside', 'far0', far.mtu);
    this.#addRoute('far', '0.0.0.0/0', 'eth0', '10.9.0.1');
    this.#addRoute('far', '::/0', 'eth0', 'fd09::b1');
    this.within('outside', (outside) => {
      outside.writeSysctl('net/ipv4/ip_forward', '1');
      outside.writeSysctl('net/ipv6/conf/all/forwarding', '1');
      for (const { peer } of cables) outside.writeSysctl(`net/ipv6/conf/${peer}/keep_addr_on_down`, '1');
    });
  }
}

const link_scope = 253;
