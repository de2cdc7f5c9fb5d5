/** A node for the benchmarks: the real program with a real VPP, in namespaces, with its files in memory as in production. */
import { existsSync } from 'node:fs';
import { type CniTarget, cniAdd, cniDel } from '../lab/cni-driver.js';
import { canUseNetns } from '../lab/netns.js';
import { findRealVpp } from '../lab/real-vpp.js';
import { type RunningNode, startNode } from '../lab/running-node.js';
import { type Pod, Topology } from '../lab/topology.js';
import { CannotRun } from './figures.js';

/** What /run is on a host: a tmpfs. */
const memory_directory = '/dev/shm';

/** Runs `measure` with a node and sandboxes for `pods`, and removes all of it. */
export async function withNode(
  pods: number,
  measure: (node: RunningNode) => Promise<void>,
  environment: Readonly<Record<string, string>> = {},
): Promise<void> {
  const vpp = findRealVpp();
  if (!vpp.usable) throw new CannotRun(vpp.why);
  const why = canUseNetns();
  if (why !== undefined) throw new CannotRun(why);
  if (existsSync(memory_directory)) process.env.TMPDIR = memory_directory;
  const topology = new Topology({ pods });
  try {
    const node = await startNode(topology, {
      vpp,
      environment: {
        CALICOVPP_MAX_PODS: String(Math.max(110, pods)),
        ...environment,
      },
    });
    try {
      await measure(node);
    } finally {
      await node.close();
    }
  } finally {
    topology.close();
  }
}

/** Addresses of the pod at this place, of both families: those of the topology, and more where it has none. */
export function addressesAt(at: number): string[] {
  return [`10.44.${(at + 11) >> 8}.${(at + 11) & 255}/32`, `fd44::${(0xa1 + at).toString(16)}/128`];
}

async function timed(call: () => Promise<{ readonly successful: boolean; readonly errorMessage: string }>) {
  const began_ms = performance.now();
  const reply = await call();
  const ms = performance.now() - began_ms;
  if (!reply.successful) throw new Error(reply.errorMessage);
  return ms;
}

/** Calls of the plugin on one node: each answers the milliseconds that it took, and throws what it was refused for. */
export class Plugin {
  readonly #socket: string;
  readonly #pods: readonly Pod[];

  constructor(node: RunningNode) {
    this.#socket = node.config.paths.cni_socket;
    this.#pods = node.topology.pods;
  }

  add(at: number): Promise<number> {
    const target = this.#target(at);
    return timed(() => cniAdd({ ...target, ips: addressesAt(at), pod: this.#pods[at]!.name }));
  }

  del(at: number): Promise<number> {
    const target = this.#target(at);
    return timed(() => cniDel(target));
  }

  /** A DEL of what was never there: the price of a call alone. */
  nothing(): Promise<number> {
    return timed(() => cniDel({ socket: this.#socket, netns: '/nowhere' }));
  }

  #target(at: number): CniTarget {
    return { socket: this.#socket, netns: this.#pods[at]!.netns };
  }
}

/** The numbers from `from` up to and without `to`. */
export function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
}
