/**
 * What an ADD costs VPP itself: the messages that the node sends for a pod, sent by a bare client to the same VPP, each
 * after the reply to the one before, or in waves. The pods stay, as those of the node do: memory that VPP has used before
 * is cheaper. The node does not look at what belongs to nobody before its second audit, which this does not live to see.
 */
import { join } from 'node:path';
import { type Client, connect, unixTransport } from 'vpp-binapi-ts';
import { memoryFile } from '../lab/memory-file.js';
import type { RunningNode } from '../lab/running-node.js';
import { systemClock } from '../src/clock.js';
import { desiredPod, type PodInputs } from '../src/desired/pod.js';
import { podTables } from '../src/desired/tables.js';
import type { PodSpec } from '../src/pod/spec.js';
import { PodState } from '../src/pods/pod-state.js';
import type { Operation } from '../src/reconcile/operation.js';
import { reconcile } from '../src/reconcile/reconcile.js';
import { Executor } from '../src/vpp-conn/execute.js';
import { openFibSources } from '../src/vpp-conn/fib-sources.js';
import { Handles } from '../src/vpp-conn/handles.js';
import { Quarantine } from '../src/vpp-conn/quarantine.js';
import { Registry } from '../src/vpp-conn/registry.js';

/** Far from the slots that the node gives its pods. */
const slot_first = 5000;
const mtu = 1500;

export class BarePods {
  readonly #vpp: Client;
  readonly #executor: Executor;
  /** Another pod of the same kind. */
  readonly #like: PodSpec;
  readonly #inputs: Omit<PodInputs, 'tables'>;
  #made = 0;

  private constructor(vpp: Client, handles: Handles, like: PodSpec, inputs: Omit<PodInputs, 'tables'>) {
    this.#vpp = vpp;
    this.#executor = new Executor({
      connections: { prompt: vpp, bulk: vpp },
      handles,
      registry: new Registry(memoryFile(), 'bench'),
      quarantine: new Quarantine(memoryFile(), () => undefined),
      clock: systemClock,
    });
    this.#like = like;
    this.#inputs = inputs;
  }

  /** The node must have a pod already. */
  static async connect(node: RunningNode): Promise<BarePods> {
    const { records } = new PodState(join(node.config.paths.run_dir, 'pods')).load();
    const vpp = await connect({ transport: unixTransport(node.config.paths.api_socket), name: 'bench' });
    const handles = new Handles();
    await openFibSources(vpp, handles);
    const { gates, pods } = node.config;
    return new BarePods(vpp, handles, records[0]!.spec, {
      mtu,
      gso: gates.gso,
      node: {},
      redirects: [],
      workers: 0,
      held: false,
      default_verdict: pods.default_verdict,
    });
  }

  /** Milliseconds for a pod in this namespace, one message after the other. */
  serial(netns: string): Promise<number> {
    return this.#measure(this.#operations(netns).map((operation) => [operation]));
  }

  inWaves(netns: string): Promise<number> {
    return this.#measure([this.#operations(netns)]);
  }

  #operations(netns: string): Operation[] {
    this.#made += 1;
    const addresses = { ip4: [`10.45.0.${this.#made}`], ip6: [`fd45::${this.#made}`] };
    const tables = podTables(slot_first + this.#made);
    return reconcile(desiredPod({ ...this.#like, netns, addresses }, { ...this.#inputs, tables }), []);
  }

  async #measure(steps: readonly (readonly Operation[])[]): Promise<number> {
    const began_ms = performance.now();
    for (const operations of steps) {
      const transaction = {
        generation: 0,
        owner: 'bench',
        operations,
        on_error: 'continue',
        urgency: 'urgent',
      } as const;
      const { error } = await this.#executor.run(transaction, () => false);
      if (error !== undefined) throw error;
    }
    return performance.now() - began_ms;
  }

  close(): void {
    this.#vpp.close();
  }
}
