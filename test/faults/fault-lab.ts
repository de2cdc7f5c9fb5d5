/**
 * What every fault starts from and must end in: a node on a real VPP with two connected pods, and after the fault the same
 * node again, with packets, with VPP as it was, and in the end with Linux as it was before the first start.
 */

import { strict as assert } from 'node:assert';
import { patience } from '../../lab/patience.js';
import type { RealVpp } from '../../lab/real-vpp.js';
import { type NodeOptions, RunningNode, waitFor } from '../../lab/running-node.js';
import { type Pod, Topology, type TopologyOptions } from '../../lab/topology.js';
import { type IpState, ipState, ipStateIs, type ProbeReport, Traffic } from '../../lab/traffic.js';

export interface Fault {
  readonly name: string;
  /** What happens, and what has to come of it. */
  readonly what: string;
  /** Makes the fault happen and waits until the node has got over it; throws where it has not. */
  run(lab: FaultLab): Promise<Gaps | undefined>;
  readonly topology?: TopologyOptions;
  readonly node?: Omit<Partial<NodeOptions>, 'vpp'>;
  /** The node is not started for it, or its end is not a stop: the fault does both. */
  readonly by_itself?: true;
  /** What it needs and this machine has not. */
  readonly skip?: string;
}

/** The longest silence during a fault. */
export interface Gaps {
  /** From outside to the node. */
  readonly host_ms: number;
  /** From one pod to the other, and from outside to a pod. */
  readonly pods_ms: number;
  /** Echo requests that were never answered, of all probers. */
  readonly lost: number;
}

export class FaultLab {
  readonly topology: Topology;
  readonly traffic: Traffic;
  readonly node: RunningNode;
  /** The node's namespace before anything was started. */
  readonly before: IpState;
  #fingerprint: Fingerprint = {};

  constructor(vpp: Extract<RealVpp, { usable: true }>, fault: Pick<Fault, 'topology' | 'node'>) {
    this.topology = new Topology(fault.topology);
    this.traffic = new Traffic(this.topology);
    this.before = ipState(this.topology, 'node');
    this.node = new RunningNode(this.topology, { vpp, ...fault.node });
  }

  get pods(): readonly [Pod, Pod] {
    return this.topology.pods as readonly [Pod, Pod];
  }

  /** The node runs and its pods are connected. */
  async begin(): Promise<void> {
    // So that Linux knows the gateways as answering, and the take-over has to prove that VPP reaches them.
    assert.equal(await this.ping('node', this.topology.outside), true, 'the gateways answer Linux');
    this.node.launch();
    await this.node.untilReady();
    for (const pod of this.pods) await this.node.add(pod);
    await this.connected();
    this.#fingerprint = await this.node.fingerprint();
  }

  /** Pings without pause while something happens, until everything answers again. */
  async watching(run: () => Promise<unknown>): Promise<Gaps> {
    const [p1, p2] = this.pods;
    const { node } = this.topology;
    const host = this.traffic.probe('outside', node.ip4 ?? node.ip6!);
    const pods = [
      this.traffic.probe('p1', p2.ip6),
      this.traffic.probe('outside', node.ip4 ? p1.ip4 : p1.ip6),
    ];
    const all = [host, ...pods];
    try {
      await Promise.all(all.map((prober) => prober.untilAnswered(2000)));
      await run();
      await Promise.all(all.map((prober) => prober.untilAnswered(15_000)));
    } catch (error) {
      await Promise.all(all.map((prober) => prober.stop()));
      throw error;
    }
    const [host_report, ...pod_reports] = (await Promise.all(all.map((prober) => prober.stop()))) as [
      ProbeReport,
      ...ProbeReport[],
    ];
    return {
      host_ms: host_report.longest_gap_ms,
      pods_ms: Math.max(...pod_reports.map(({ longest_gap_ms }) => longest_gap_ms)),
      lost: [host_report, ...pod_reports].reduce((sum, { lost }) => sum + lost, 0),
    };
  }

  /** Everybody reaches everybody, in every family that the node has. */
  async connected(): Promise<void> {
    const { node, outside } = this.topology;
    const [p1, p2] = this.pods;
    const pairs = [
      ['outside', node],
      ['node', outside],
      ['p1', p2],
      ['p2', outside],
      ['p1', node],
      ['node', p1],
      ['outside', p2],
    ] as const;
    const wanted = pairs.flatMap(([from, to]) =>
      (['ip4', 'ip6'] as const).flatMap((family) =>
        node[family] && to[family] ? [{ from, address: to[family] }] : [],
      ),
    );
    await Promise.all(wanted.map(({ from, address }) => this.traffic.untilReachable(from, address, 5000)));
  }

  private async ping(from: string, to: { readonly ip4?: string; readonly ip6?: string }): Promise<boolean> {
    for (const address of [to.ip4, to.ip6])
      if (address && (await this.traffic.ping(from, address, { count: 1 })) !== 1) return false;
    return true;
  }

  /** The node has got over it: ready, VPP holds what it should and nothing else, as before, and packets pass. */
  async settled(): Promise<void> {
    await this.node.untilReady();
    await this.node.untilConverged();
    let differs: string[] = [];
    await waitFor(
      async () => {
        differs = changes(this.#fingerprint, await this.node.fingerprint());
        return differs.length === 0;
      },
      3000 * patience,
      () => `VPP's command line says something else than before:\n${differs.join('\n')}`,
    );
    await this.connected();
  }

  /** SIGTERM: the node ends well and Linux is as it was. */
  async end(): Promise<void> {
    assert.deepEqual(await this.node.stop(), { code: 0, signal: null }, 'a stopped node exits with 0');
    await this.isLinuxAgain();
  }

  async isLinuxAgain(): Promise<void> {
    assert.deepEqual(await ipStateIs(this.topology, 'node', this.before), [], 'Linux has its network back');
    assert.equal(this.node.vppPid(), undefined, 'VPP has ended');
  }

  async close(): Promise<void> {
    this.traffic.close();
    await this.node.close();
    this.topology.close();
  }
}

type Fingerprint = Readonly<Record<string, string>>;

/** The lines that are in one and not in the other. */
function changes(before: Fingerprint, now: Fingerprint): string[] {
  return Object.keys({ ...before, ...now }).flatMap((part) => {
    const [was, is] = [before, now].map((all) => all[part]?.split('\n') ?? []) as [string[], string[]];
    return [
      ...was.filter((line) => !is.includes(line)).map((line) => `${part} - ${line}`),
      ...is.filter((line) => !was.includes(line)).map((line) => `${part} + ${line}`),
    ];
  });
}

/** Runs a fault from beginning to end. Throws with the end of the node's log where it fails. */
export async function runFault(
  vpp: Extract<RealVpp, { usable: true }>,
  fault: Fault,
): Promise<Gaps | undefined> {
  const lab = new FaultLab(vpp, fault);
  try {
    if (fault.by_itself) return await fault.run(lab);
    await lab.begin();
    const gaps = await fault.run(lab);
    await lab.settled();
    await lab.end();
    return gaps;
  } catch (error) {
    throw new Error(`${(error as Error).message}\nthe node's last words:\n${lab.node.lastWords()}`, {
      cause: error,
    });
  } finally {
    await lab.close();
  }
}
