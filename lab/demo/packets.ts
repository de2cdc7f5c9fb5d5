/** Which packets the demo sends, as data, and how long an outage of them was. */
import { far, type Topology } from '../topology.js';
import type { ProbeReport, Prober, Traffic } from '../traffic.js';

interface Flow {
  readonly name: string;
  readonly from: string;
  readonly ip4: string;
  readonly ip6: string;
}

function flows({ node, outside, pods }: Topology): readonly Flow[] {
  const [first, second] = pods;
  const to = ({ ip4 = '', ip6 = '' }): { ip4: string; ip6: string } => ({ ip4, ip6 });
  return [
    { name: 'pod p1 to pod p2', from: 'p1', ...to(second!) },
    { name: 'pod p1 to its host', from: 'p1', ...to(node) },
    { name: 'host to pod p1', from: 'node', ...to(first!) },
    { name: 'pod p1 to the gateway', from: 'p1', ...to(outside) },
    { name: 'pod p1 beyond the gateway', from: 'p1', ...to(far) },
    { name: 'gateway to pod p1', from: 'outside', ...to(first!) },
    { name: 'gateway to host', from: 'outside', ...to(node) },
  ];
}

const pings = 3;

export interface PingTable {
  readonly rows: readonly (readonly string[])[];
  readonly all_answered: boolean;
}

export async function pingAll(topology: Topology, traffic: Traffic): Promise<PingTable> {
  const rows = await Promise.all(
    flows(topology).map(async ({ name, from, ip4, ip6 }) => {
      const answers = await Promise.all(
        [ip4, ip6].map((target) => traffic.ping(from, target, { count: pings })),
      );
      return { name, targets: [ip4, ip6], answers };
    }),
  );
  return {
    rows: rows.map(({ name, targets, answers }) => [
      name,
      ...targets.map((target, at) => `${target}: ${answers[at]} of ${pings}`),
    ]),
    all_answered: rows.every(({ answers }) => answers.every((answered) => answered === pings)),
  };
}

const transfer_bytes = 50_000_000;

/** One TCP connection from pod to pod; undefined when not all arrived. */
export async function tcpRate({ pods }: Topology, traffic: Traffic): Promise<string | undefined> {
  const { whole, mbit_s } = await traffic.tcp('p1', 'p2', pods[1]!.ip4, { bytes: transfer_bytes });
  return whole
    ? `${transfer_bytes / 1e6} MB in one TCP connection from p1 to p2: ${mbit_s} Mbit/s`
    : undefined;
}

export interface WatchedFlow {
  readonly name: string;
  readonly report: ProbeReport;
}

/** Echo requests every 10 ms on several ways at once, each a flow that begins before a fault and goes on after it. */
export class Watch {
  readonly #probers: readonly { readonly name: string; readonly prober: Prober }[];

  constructor(topology: Topology, traffic: Traffic) {
    const { node, outside, pods } = topology;
    this.#probers = [
      { name: 'gateway to host', from: 'outside', target: node.ip4! },
      { name: 'gateway to pod p1', from: 'outside', target: pods[0]!.ip4 },
      { name: 'pod p1 to pod p2', from: 'p1', target: pods[1]!.ip4 },
      { name: 'pod p1 to the gateway', from: 'p1', target: outside.ip4! },
    ].map(({ name, from, target }) => ({ name, prober: traffic.probe(from, target) }));
  }

  /** Every way answers; rejects after the deadline. */
  async untilAnswered(deadline_ms: number): Promise<void> {
    await Promise.all(this.#probers.map(({ prober }) => prober.untilAnswered(deadline_ms)));
  }

  stop(): Promise<WatchedFlow[]> {
    return Promise.all(
      this.#probers.map(async ({ name, prober }) => ({ name, report: await prober.stop() })),
    );
  }
}
