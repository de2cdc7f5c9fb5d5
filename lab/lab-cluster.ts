/** A cluster in namespaces: nodes, each with the real program and a VPP of its own, and an API server that they read Calico's objects from. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { blockOf, blocksOf, type Encapsulation, ipPool, kubernetesNode } from './k8s/calico-objects.js';
import { RemoteApiServer } from './k8s/remote.js';
import type { Json } from './k8s/store.js';
import { type NodeSite, Nodes, type NodesOptions, pools, router, router_address } from './nodes.js';
import { type NodeOptions, RunningNode } from './running-node.js';
import { Traffic } from './traffic.js';

export interface LabClusterOptions extends NodesOptions {
  readonly vpp: NodeOptions['vpp'];
  readonly encapsulation?: Encapsulation;
  readonly across?: 'Always' | 'CrossSubnet';
  /** Of all nodes, beside what is set here. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Several VPPs start at the same time, on whatever cores there are. */
const ready_ms = 60_000;

const api_port = 6443;

export class LabCluster {
  readonly nodes: Nodes;
  readonly traffic: Traffic;
  #server: RemoteApiServer | undefined;
  readonly #running: RunningNode<NodeSite>[] = [];

  private constructor(options: NodesOptions) {
    this.nodes = new Nodes(options);
    this.traffic = new Traffic(this.nodes);
  }

  /** Resolves when all nodes are ready and have their pods. */
  static async start(options: LabClusterOptions): Promise<LabCluster> {
    const cluster = new LabCluster({ management: 'stand_in' in options.vpp, ...options });
    try {
      await cluster.#begin(options);
      return cluster;
    } catch (error) {
      await cluster.close();
      throw error;
    }
  }

  async #begin({ vpp, encapsulation = 'flat', across, environment }: LabClusterOptions): Promise<void> {
    const { sites } = this.nodes;
    this.#server = await RemoteApiServer.start(router_address.ip4, api_port, (argv) =>
      this.nodes.spawn(router, argv, { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    await this.setPools(encapsulation, across);
    await this.server.put(...sites.map(kubernetesNode), ...sites.flatMap(blocksOf));
    for (const site of sites) {
      const node = new RunningNode(site, { vpp });
      this.#running.push(node);
      node.setEnvironment({
        CALICOVPP_KUBERNETES: 'on',
        KUBECONFIG: writeKubeconfig(node.directory),
        CALICOVPP_ROUTE_SOURCE: 'ipam',
        ...environment,
      });
      node.launch();
    }
    for (const node of this.#running) {
      await node.untilReady(ready_ms);
      for (const pod of node.topology.pods) await node.add(pod);
    }
  }

  get server(): RemoteApiServer {
    if (this.#server === undefined) throw new Error('the cluster has no API server');
    return this.#server;
  }

  get running(): readonly RunningNode<NodeSite>[] {
    return this.#running;
  }

  /** Both pools, changed where they are there already. */
  async setPools(encapsulation: Encapsulation, across?: 'Always' | 'CrossSubnet'): Promise<void> {
    await this.server.put(...this.pools(encapsulation, across));
  }

  pools(encapsulation: Encapsulation, across?: 'Always' | 'CrossSubnet'): readonly Json[] {
    return [
      ipPool('pool-ip4', pools.ip4, encapsulation, across),
      ipPool('pool-ip6', pools.ip6, encapsulation, across),
    ];
  }

  /** IPAM gives one more block to a node. */
  async giveBlock({ name }: Pick<NodeSite, 'name'>, cidr: string): Promise<void> {
    await this.server.put(...blockOf(name, cidr));
  }

  async takeBlock({ name }: Pick<NodeSite, 'name'>, cidr: string): Promise<void> {
    await this.server.remove(...blockOf(name, cidr));
  }

  /** Ends all and removes it; may be called twice. */
  async close(): Promise<void> {
    for (const node of this.#running) await node.close();
    this.traffic.close();
    await this.#server?.kill();
    this.#server = undefined;
    this.nodes.close();
  }
}

/** Of the API server; answers its path. */
function writeKubeconfig(directory: string): string {
  const path = join(directory, 'kubeconfig.json');
  const name = 'lab';
  // Without TLS: the client library wants to be told that this is meant.
  const cluster = { server: `http://${router_address.ip4}:${api_port}`, 'insecure-skip-tls-verify': true };
  const document = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster }],
    users: [{ name, user: {} }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    'current-context': name,
  };
  writeFileSync(path, JSON.stringify(document));
  return path;
}
