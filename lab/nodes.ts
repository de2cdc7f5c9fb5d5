/**
 * Several nodes in one network, each with pods of its own, all of it network namespaces:
 *
 *   [n1] eth0 ──┐
 *   [n2] eth0 ──┼─ bridge [router] bridge ──┬── eth0 [n3]
 *               └─        one subnet, or two
 *
 * Pods have addresses of the block that IPAM has given to their node. The router knows only its own subnets: what it does not know
 * it drops. No two addresses share their last 32 bits (`topology.ts` says why).
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import type { NetworkNamespace } from '../src/linux/network.js';
import { NetnsLab } from './netns.js';
import type { Inside, Site } from './site.js';
import { removeStale } from './stale.js';
import type { Ends, Pod } from './topology.js';

export interface NodesOptions {
  /** The subnet of each node, counted from 0: their number is that of the nodes. Two nodes in one when absent. */
  readonly subnets?: readonly (0 | 1)[];
  /** Of each node; one when absent. */
  readonly pods?: number;
  /** Nodes have no IPv6 but link-local addresses; their pods' IPv6 addresses lead nowhere. */
  readonly only_ip4?: boolean;
  /** Of the nodes' uplinks; 1500 when absent. */
  readonly mtu?: number;
  /** Each node has a second uplink, in a subnet that is the same for all and in which its router is `second_gateway`. */
  readonly two_uplinks?: boolean;
  /** Each node has a second link, by which it reaches `router_address` though its VPP forwards nothing. */
  readonly management?: boolean;
}

export interface NodeSite extends Site {
  /** `n1`, `n2`, … */
  readonly name: string;
  readonly node: Required<Ends>;
  /** By its second uplink, if it has one. */
  readonly second?: Required<Ends>;
  /** With their lengths. */
  readonly subnet: Required<Ends>;
  /** Those of the node's subnet. */
  readonly gateway: Required<Ends>;
  /** What IPAM has given to the node. */
  readonly blocks: Required<Ends>;
  readonly pods: readonly Pod[];
}

/** All blocks are in these. */
export const pools = { ip4: '10.44.0.0/16', ip6: 'fd44::/64' } as const;

export const router = 'router';
/** That every node reaches, whatever its subnet: where a server of the cluster listens. */
export const router_address = { ip4: '10.9.0.1', ip6: 'fd09::b1' } as const;

/** The router's, by subnet. */
export const gateways = [
  { ip4: '10.0.0.1', ip6: 'fd00::1' },
  { ip4: '10.0.1.1', ip6: 'fd01::f:1' },
] as const;
/** Of the second uplinks. */
export const second_gateway = { ip4: '10.2.0.1', ip6: 'fd02::f:1' } as const;
export const second_bridge = 'br2';
const subnets = [
  { ip4: '10.0.0.0/24', ip6: 'fd00::/64' },
  { ip4: '10.0.1.0/24', ip6: 'fd01::/64' },
] as const;

export class Nodes implements Inside {
  readonly lab = new NetnsLab();
  readonly sites: readonly NodeSite[];
  readonly #children = new Set<ChildProcess>();

  readonly #families: readonly ('ip4' | 'ip6')[];

  constructor({
    subnets: places = [0, 0],
    pods = 1,
    mtu = 1500,
    management = false,
    only_ip4 = false,
    two_uplinks = false,
  }: NodesOptions = {}) {
    this.#families = only_ip4 ? ['ip4'] : ['ip4', 'ip6'];
    removeStale();
    try {
      this.#addRouter(new Set(places));
      this.sites = places.map((subnet, at) => this.#addNode(at + 1, subnet, pods, mtu, two_uplinks));
      if (two_uplinks) this.#addSecondUplinks();
      if (management) for (const [at, { name }] of this.sites.entries()) this.#addManagement(name, at + 1);
    } catch (error) {
      this.lab.close();
      throw error;
    }
  }

  inside(name: string, argv: readonly string[]): [string, string[]] {
    return ['nsenter', [`--net=${this.lab.namespace(name)}`, '--', ...argv]];
  }

  spawn(name: string, argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const child = spawn(...this.inside(name, argv), options);
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  /** The router learns the way to these prefixes, as it does from BGP. */
  teachRouter(site: NodeSite): void {
    for (const family of ['ip4', 'ip6'] as const) {
      this.lab.run(router, 'ip', 'route', 'replace', site.blocks[family], 'via', site.node[family]);
    }
  }

  /** The node is not heard any more, or again. */
  setCable(site: NodeSite, on: boolean): void {
    this.lab.run(router, 'ip', 'link', 'set', site.name, on ? 'up' : 'down');
  }

  /** Ends what runs inside and removes all; may be called twice. */
  close(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    this.lab.close();
  }

  #addRouter(used: ReadonlySet<0 | 1>): void {
    for (const subnet of used) {
      const bridge = `br${subnet}`;
      const { ip4, ip6 } = gateways[subnet];
      this.lab.namespace(router);
      this.lab.run(router, 'ip', 'link', 'add', bridge, 'type', 'bridge');
      this.lab.run(router, 'ip', 'addr', 'add', `${ip4}/24`, 'dev', bridge);
      this.lab.run(router, 'ip', 'addr', 'add', `${ip6}/64`, 'dev', bridge, 'nodad');
      this.lab.run(router, 'ip', 'link', 'set', bridge, 'up');
    }
    for (const family of ['ip4', 'ip6'] as const) {
      const length = family === 'ip4' ? 32 : 128;
      this.lab.run(router, 'ip', 'addr', 'add', `${router_address[family]}/${length}`, 'dev', 'lo');
    }
    this.#within(router, (namespace) => {
      // As a router: with an address of another subnet as sender of its ARP requests VPP answers none.
      namespace.writeSysctl('net/ipv4/conf/all/arp_announce', '2');
      namespace.writeSysctl('net/ipv4/ip_forward', '1');
      namespace.writeSysctl('net/ipv6/conf/all/forwarding', '1');
    });
  }

  #addNode(number: number, subnet: 0 | 1, pods: number, mtu: number, two_uplinks: boolean): NodeSite {
    const name = `n${number}`;
    const node = subnet === 0 ? { ip4: `10.0.0.1${number}`, ip6: `fd00::1${number}` } : second(number);
    this.lab.veth(
      {
        namespace: name,
        name: 'eth0',
        addresses: this.#families.map((family) => `${node[family]}/${family === 'ip4' ? 24 : 64}`),
      },
      { namespace: router, name },
    );
    this.lab.run(router, 'ip', 'link', 'set', name, 'master', `br${subnet}`);
    this.lab.run(name, 'ip', 'link', 'set', 'eth0', 'mtu', `${mtu}`);
    const gateway = gateways[subnet];
    for (const family of this.#families) {
      this.lab.run(name, 'ip', 'route', 'add', 'default', 'via', gateway[family]);
    }
    return {
      name,
      vpp_netns: `vpp-${name}`,
      lab: this.lab,
      uplinks: two_uplinks ? ['eth0', 'eth1'] : ['eth0'],
      node,
      ...(two_uplinks && { second: { ip4: `10.2.0.2${number}`, ip6: `fd02::f:2${number}` } }),
      subnet: subnets[subnet],
      gateway,
      blocks: { ip4: `10.44.${number}.0/26`, ip6: `fd44::${number}:0/122` },
      pods: Array.from({ length: pods }, (_, at): Pod => {
        const pod = `${name}p${at + 1}`;
        return {
          name: pod,
          netns: this.lab.namespace(pod),
          ip4: `10.44.${number}.${11 + at}`,
          ip6: `fd44::${number}:${11 + at}`,
        };
      }),
      inside: (...given) => this.inside(...given),
      spawn: (...given) => this.spawn(...given),
    };
  }

  #addSecondUplinks(): void {
    const { ip4, ip6 } = second_gateway;
    this.lab.run(router, 'ip', 'link', 'add', second_bridge, 'type', 'bridge');
    this.lab.run(router, 'ip', 'addr', 'add', `${ip4}/24`, 'dev', second_bridge);
    this.lab.run(router, 'ip', 'addr', 'add', `${ip6}/64`, 'dev', second_bridge, 'nodad');
    this.lab.run(router, 'ip', 'link', 'set', second_bridge, 'up');
    for (const { name, second } of this.sites) {
      const addresses = this.#families.map((family) => `${second![family]}/${family === 'ip4' ? 24 : 64}`);
      this.lab.veth(
        { namespace: name, name: 'eth1', addresses },
        { namespace: router, name: secondPort(name) },
      );
      this.lab.run(router, 'ip', 'link', 'set', secondPort(name), 'master', second_bridge);
    }
  }

  #addManagement(name: string, number: number): void {
    const near = { namespace: name, name: 'mgmt0', addresses: [`10.9.${number}.2/24`] };
    this.lab.veth(near, { namespace: router, name: `${name}m`, addresses: [`10.9.${number}.1/24`] });
    this.lab.run(name, 'ip', 'route', 'add', router_address.ip4, 'via', `10.9.${number}.1`);
  }

  #within(name: string, run: (namespace: NetworkNamespace) => void): void {
    const namespace = this.lab.host.open(this.lab.namespace(name));
    try {
      run(namespace);
    } finally {
      namespace.close();
    }
  }
}

/** The router's end of the node's second cable. */
export const secondPort = (node: string): string => `${node}b`;

function second(number: number): Required<Ends> {
  return { ip4: `10.0.1.1${number}`, ip6: `fd01::f:1${number}` };
}
