/** A cluster in namespaces: nodes, each with the real program and a VPP of its own, and an API server that they read Calico's objects from. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
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
  /** That the API server has from the beginning. */
  readonly objects?: readonly Json[];
  readonly across?: 'Always' | 'CrossSubnet';
  /**
   * Nodes have a service account, as in a pod, in place of a kubeconfig: the library that reads one takes 80 MB of each. Its files are seen in mount
   * namespaces of their own alone.
   */
  readonly service_account?: true;
  /** Of all nodes, beside what is set here. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Several VPPs start at the same time, on whatever cores there are. */
const ready_ms = 120_000;

const api_port = 6443;

export class LabCluster {
  readonly nodes: Nodes;
  readonly traffic: Traffic;
  #server: RemoteApiServer | undefined;
  readonly #running: RunningNode<NodeSite>[] = [];
  #account: string | undefined;

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

  async #begin(options: LabClusterOptions): Promise<void> {
    const { vpp, encapsulation = 'flat', across, environment, service_account, objects = [] } = options;
    const { sites } = this.nodes;
    if (service_account) this.#account = mkdtempSync(join(tmpdir(), `cvn-${process.pid}-`));
    this.#server = await RemoteApiServer.start(
      router_address.ip4,
      api_port,
      (argv) => this.nodes.spawn(router, argv, { stdio: ['pipe', 'pipe', 'inherit'] }),
      this.#account,
    );
    await this.setPools(encapsulation, across);
    await this.server.put(...sites.map(kubernetesNode), ...sites.flatMap(blocksOf), ...objects);
    for (const site of sites) {
      const node = new RunningNode(this.#account === undefined ? site : inPod(site, this.#account), {
        vpp,
        ...(environment && { environment }),
      });
      this.#running.push(node);
      node.setEnvironment({
        CALICOVPP_KUBERNETES: 'on',
        ...(this.#account === undefined
          ? { KUBECONFIG: writeKubeconfig(node.directory) }
          : { KUBERNETES_SERVICE_HOST: router_address.ip4, KUBERNETES_SERVICE_PORT: `${api_port}` }),
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
    if (this.#account !== undefined) rmSync(this.#account, { recursive: true, force: true });
  }
}

/** The same site, in which programs see a service account where the kubelet puts it, in a /var of their own. */
function inPod(site: NodeSite, account: string): NodeSite {
  const at = '/var/run/secrets/kubernetes.io/serviceaccount';
  const script = `mount -t tmpfs none /var && mkdir -p ${at} && cp ${account}/* ${at} && exec "$@"`;
  const words = ['unshare', '--mount', '--propagation', 'slave', 'sh', '-c', script, 'sh'];
  return { ...site, spawn: (name, argv, options) => site.spawn(name, [...words, ...argv], options) };
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
