import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { type NodeOptions, RunningNode } from '../../lab/running-node.js';
import { Topology } from '../../lab/topology.js';
import { fetchDebug } from '../../src/debug/client.js';

/** A cluster and a user of a kubeconfig. */
export interface Kubeconfig {
  readonly cluster: Readonly<Record<string, unknown>>;
  readonly user: Readonly<Record<string, unknown>>;
}

/** The whole program with an API server, and what it makes of it. */
export class NodeScene {
  readonly topology = new Topology();
  readonly node: RunningNode;

  constructor(test: Test, vpp: NodeOptions['vpp'], { cluster, user }: Kubeconfig) {
    test.teardown(() => this.topology.close());
    const kubeconfig = join(test.testdir({}), 'kubeconfig');
    writeFileSync(
      kubeconfig,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name: 'c', cluster }],
        users: [{ name: 'u', user }],
        contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
        'current-context': 'x',
      }),
    );
    this.node = new RunningNode(this.topology, {
      vpp,
      environment: { CALICOVPP_KUBERNETES: 'on', KUBECONFIG: kubeconfig, CALICOVPP_ROUTE_SOURCE: 'ipam' },
    });
    test.teardown(() => this.node.close());
  }

  /** Prefixes of pools to which Linux has a route of ours, with its MTU. */
  pools(): string[] {
    return this.topology.within('node', (namespace) =>
      namespace
        .routes()
        .filter(({ protocol, metrics }) => protocol === 77 && metrics?.mtu !== undefined)
        .map(({ prefix, metrics }) => `${prefix} ${metrics?.mtu}`)
        .sort(),
    );
  }

  /** What the node says of its reading, by kind. */
  async sync(): Promise<Record<string, Record<string, unknown>>> {
    const { body } = await fetchDebug(this.node.config.paths.debug_socket, '/debug/sync');
    return JSON.parse(body).sync.cluster;
  }

  async until(what: string, holds: () => Promise<boolean> | boolean, deadline_ms = 180_000): Promise<void> {
    const end = performance.now() + deadline_ms;
    while (!(await holds())) {
      if (performance.now() > end)
        throw new Error(
          `never seen: ${what}\n${JSON.stringify(await this.sync())}\n${this.node.lastWords()}`,
        );
      await sleep(50);
    }
  }

  /** Resolves when Linux has routes to these, and no others. */
  hasPools(...wanted: string[]): Promise<void> {
    return this.until(`routes to ${wanted}`, () => String(this.pools()) === String(wanted));
  }
}
